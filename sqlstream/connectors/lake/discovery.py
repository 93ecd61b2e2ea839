"""A table of a lake is asked for what is new once an interval, on a thread: a log, or a catalog, may take its time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlstream.contracts import Split
from sqlstream.errors import RunError
from sqlstream.threads import start

NOTES = 20  # that are kept until somebody asks


class Discovery:
    """`look` gives what is new; it is called by one thread at a time. `seconds`: the clock, by which `interval` is."""

    def __init__(
        self, look: Callable[[], list[Split]], interval: float, seconds: Callable[[], float], table: str
    ) -> None:
        self._look, self._interval, self._seconds, self._table = look, interval, seconds, table
        self._lock = threading.Lock()
        self._found: list[Split] = []
        self._failed: Exception | None = None
        self._looking = False
        self._looked = seconds()
        self._notes: list[str] = []

    def new(self) -> list[Split]:
        """What was found since this was last called. Raises what looking has found to be wrong for good; what may pass is a note."""
        with self._lock:
            found, self._found = self._found, []
            failed, self._failed = self._failed, None
        if failed is not None:
            raise failed
        if not self._looking and self._seconds() - self._looked >= self._interval:
            self._looking = True  # before: the thread may have ended when `start` comes back
            start("sqlstream-lake-discovery", self._run)
        return found

    def notes(self) -> list[str]:
        """What there is to say since this was last called."""
        with self._lock:
            said, self._notes = self._notes, []
        return said

    def note(self, text: str) -> None:
        """Something to say."""
        with self._lock:
            if text not in self._notes and len(self._notes) < NOTES:
                self._notes.append(text)

    def _run(self) -> None:
        try:
            found = self._look()
            with self._lock:
                self._found += found
        except RunError as e:
            self.note(f"warning: {e.message}; table {self._table} is looked at again later")
        except Exception as e:
            with self._lock:
                self._failed = e
        finally:
            self._looked, self._looking = self._seconds(), False
