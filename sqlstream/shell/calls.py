"""Work that Ctrl-C ends. It runs on a thread, and the main thread waits and listens: whatever the work does, a compiled
loop or a query within DuckDB, Ctrl-C is heard at once. The first one asks the work to end; the second one leaves it behind.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
_STEP = 0.05  # seconds of one wait


class Interrupted(Exception):
    """Ctrl-C ended the work."""


class Abandoned(Interrupted):
    """A second Ctrl-C: the work was left behind, and may still run."""


@contextlib.contextmanager
def listening() -> Iterator[list[int]]:
    """While it lasts, Ctrl-C adds to the list and does nothing else."""
    heard: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGINT, before)


def call(work: Callable[[], T], cancel: Callable[[], None]) -> T:
    """What `work` returns, or raises. `cancel` is called in the main thread at Ctrl-C and returns soon; Interrupted when the
    work then ends, however it does."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            outcome.append(work())
        except BaseException as e:
            failure.append(e)

    with listening() as heard:
        worker = threading.Thread(target=body, name="statement", daemon=True)
        worker.start()
        asked = False
        while worker.is_alive():
            worker.join(_STEP)
            if heard and not asked:
                asked = True
                cancel()
            if len(heard) > 1 and worker.is_alive():
                raise Abandoned
    if heard:
        raise Interrupted
    if failure:
        raise failure[0]
    return outcome[0]
