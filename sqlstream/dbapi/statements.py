"""Statements of one connection: each on a thread of its own, so that Ctrl-C, `cancel` and `close` get through to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from sqlstream.dbapi.names import QueryCanceled
from sqlstream.session import Session

T = TypeVar("T")
STEP = 0.2  # seconds of one wait


class Statements:
    """Runs them one at a time, in whatever thread asks; `cancel` comes from any other."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._lock = threading.Lock()
        self._running: threading.Event | None = None  # set when the statement that runs has ended
        self._canceled = False

    def run(self, work: Callable[[], T]) -> T:
        """`work`'s value or error; QueryCanceled after `cancel`.

        KeyboardInterrupt meanwhile ends what the session runs, waits for it, and goes on. The work has a thread of its
        own, since the main one could not be interrupted inside DuckDB or a kernel.
        """
        done = threading.Event()  # and no join: one that was interrupted takes the thread for ended (bpo-45274)
        values: list[T] = []
        failures: list[BaseException] = []

        def body() -> None:
            try:
                values.append(work())
            except BaseException as e:
                failures.append(e)
            done.set()

        with self._lock:
            self._running, self._canceled = done, False
        try:
            if threading.current_thread() is threading.main_thread():
                threading.Thread(target=body, name="statement", daemon=True).start()
            else:
                body()
            try:
                while not done.wait(STEP):  # Ctrl-C right before a wait without end would be seen only after it
                    continue
            except KeyboardInterrupt:
                self.session.cancel()
                done.wait()
                raise
        finally:
            with self._lock:
                canceled, self._running = self._canceled, None
                self.session.resume()
        if canceled:
            raise QueryCanceled("the statement was canceled")
        if failures:
            raise failures[0]
        return values[0]

    def cancel(self, wait: bool = False) -> None:
        """Ends the statement that runs, if any: a durable job with a last checkpoint. `wait`: until it has ended."""
        with self._lock:
            running = self._running
            if running is None:
                return
            self._canceled = True
            self.session.cancel()
        if wait:
            running.wait()
