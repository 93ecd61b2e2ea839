"""Somebody at another terminal who asks things of a running job, at any moment: also when it is dying."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlstream.checkpoint.lock import holder
from sqlstream.errors import SqlStreamError
from sqlstream.runtime.client import ask
from sqlstream.runtime.jobs import JobPlace
from sqlstream.runtime.status import read_status

SAVED = "saved"  # where savepoints go
# By name: the request, and its fields.
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "checkpoint": ("checkpoint", {}),
    "savepoint": ("savepoint", {"savepoint": SAVED}),
    "restart": ("restart", {}),
    "stop": ("stop", {}),
    "stop with savepoint": ("stop", {"savepoint": SAVED}),
    "drain": ("stop", {"savepoint": SAVED, "drain": True}),
    "cancel": ("cancel", {}),
}


@dataclass(frozen=True)
class Asking:
    """One request: its name, and how long after the one before, or after the job is there (s)."""

    name: str
    after: float = 0.0


@dataclass
class Asker:
    """Makes requests while it lasts. `answers`: by name, in order; `refused`: what was said instead."""

    directory: Path  # the job's
    plan: tuple[Asking, ...]
    answers: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Asker:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """To be called when the process is gone: whatever was asked is answered or refused then."""
        self._over.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), f"a request hangs: {self.answers}, {self.refused} of {self.plan}"

    def answer(self, name: str) -> dict[str, Any] | None:
        """To the last request of this name."""
        return next((answer for asked, answer in reversed(self.answers) if asked == name), None)

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """How many were answered, and refused, by name."""
        return Counter(n for n, _ in self.answers), Counter(n for n, _ in self.refused)

    def _ask(self) -> None:
        place = JobPlace(self.directory.name, self.directory)
        for asking in self.plan:
            while not self._listens():
                if self._over.wait(0.005):
                    return
            if self._over.wait(asking.after):
                return
            request, fields = REQUESTS[asking.name]
            # a savepoint's directory is the asker's, as at the command line
            fields = fields | {k: str(self.directory.parent.parent / v) for k, v in fields.items() if k == "savepoint"}
            try:
                self.answers.append((asking.name, ask(place, request, wait=True, **fields)))
            except SqlStreamError as e:
                self.refused.append((asking.name, e.message))

    def _listens(self) -> bool:
        """Whether somebody runs the job, and has begun to listen."""
        found, status = holder(self.directory), read_status(self.directory)
        return found is not None and found.owner != "" and status is not None and status.owner == found.owner
