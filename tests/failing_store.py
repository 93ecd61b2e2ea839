"""A store for checkpoints that can be away, hang, and lose its answers: `failing://…`; and a clock that does not wait."""

from __future__ import annotations

import threading
import time
from typing import Any

import fsspec
import numpy as np
from fsspec.implementations.memory import MemoryFileSystem


class Failing(MemoryFileSystem):  # type: ignore[misc]
    """What it does is of the class: the same for all who open it."""

    protocol = "failing"
    store: dict[str, Any] = {}
    pseudo_dirs: list[str] = [""]
    away = False  # nothing can be read or written
    lost = 0  # so many of the next writes of manifests succeed, and say that they did not
    gate: threading.Event | None = None  # writes of files wait for it
    calls = 0
    asked_at: list[float] = []  # by `clock`, when it was away
    clock: SkippingClock | None = None

    @classmethod
    def reset(cls) -> None:
        cls.store, cls.pseudo_dirs, cls.away, cls.lost, cls.gate, cls.calls = {}, [""], False, 0, None, 0
        cls.asked_at = []

    @classmethod
    def _ask(cls) -> None:
        cls.calls += 1
        if cls.away:
            cls.asked_at.append(0.0 if cls.clock is None else cls.clock.monotonic())
            raise ConnectionError("the store is away")

    def pipe_file(self, path: str, value: bytes, **more: Any) -> None:
        self._ask()
        if Failing.gate is not None:
            Failing.gate.wait(60)
        super().pipe_file(path, value, **more)
        if Failing.lost and path.endswith("manifest.json"):
            Failing.lost -= 1
            raise TimeoutError("no answer")

    def put_file(self, lpath: str, rpath: str, **more: Any) -> None:
        self._ask()
        if Failing.gate is not None:
            Failing.gate.wait(60)
        super().put_file(lpath, rpath, **more)

    def cat_file(self, path: str, **more: Any) -> bytes:
        self._ask()
        return super().cat_file(path, **more)  # type: ignore[no-any-return]

    def get_file(self, rpath: str, lpath: str, **more: Any) -> None:
        self._ask()
        super().get_file(rpath, lpath, **more)

    def find(self, path: str, **more: Any) -> Any:
        self._ask()
        return super().find(path, **more)

    def info(self, path: str, **more: Any) -> Any:
        self._ask()
        return super().info(path, **more)


fsspec.register_implementation("failing", Failing, clobber=True)


class SkippingClock:
    """The computer's, and what it was to wait for, half a second or more, is over at once. `at`: what is done when it comes to a time."""

    def __init__(self) -> None:
        self.skipped = 0.0
        self.waits: list[float] = []
        self.at: list[tuple[float, Any]] = []
        self._start = time.monotonic()

    def monotonic(self) -> float:
        return time.monotonic() - self._start + self.skipped

    def now(self) -> int:
        return int((1_700_000_000 + self.monotonic()) * 1e6)

    def rows(self, split: int, first: int, count: int) -> np.ndarray:
        return np.full(count, self.now(), np.int64)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if seconds < 0.5:  # the loop's own look at its sources
            return event.wait(seconds)
        self.waits.append(seconds)
        self.skipped += seconds
        for when, what in list(self.at):
            if self.monotonic() >= when:
                self.at.remove((when, what))
                what()
        return event.is_set()
