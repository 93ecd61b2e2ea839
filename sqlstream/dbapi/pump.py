"""Takes the batches of a result on a thread of its own, so that who waits for one can be interrupted."""

from __future__ import annotations

import queue
import threading

from sqlstream.dbapi.names import InterfaceError, QueryCanceled
from sqlstream.results import Result, Rows

_STEP = 0.1  # seconds between looks at what else there is to do, while waiting


class Pump:
    """From the first `get` on, at most two batches ahead. `cancel` and `close` may come from another thread than the one
    that waits, and before it."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._queue: queue.Queue[Rows | BaseException | None] = queue.Queue(2)
        self._closed = threading.Event()
        self._canceled = False
        self._over = False
        self._lock = threading.Lock()  # of the one below
        self._thread: threading.Thread | None = None

    def get(self, timeout: float | None) -> Rows | None:
        """The next batch with rows, None at the end. queue.Empty after `timeout` seconds; else what ended it."""
        if self._over:
            return None
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="rows", daemon=True)
                self._thread.start()
        while True:
            if self._canceled:
                self._over = True
                raise QueryCanceled("the query was canceled")
            if self._closed.is_set():
                raise InterfaceError("the cursor was closed while a row was waited for")
            try:
                item = self._queue.get(timeout=_STEP if timeout is None else min(timeout, _STEP))
            except queue.Empty:
                if timeout is not None:
                    timeout -= _STEP
                    if timeout <= 0:
                        raise
                continue
            if item is None or isinstance(item, BaseException):
                self._over = True
                if item is not None:
                    raise item
            return item

    def cancel(self) -> None:
        """Ends the result; who waits for a batch gets QueryCanceled."""
        self._canceled = True
        self.close()

    def close(self) -> None:
        """Ends the result and waits for it; who waits for a batch gets InterfaceError."""
        with self._lock:
            self._closed.set()
            thread = self._thread
        self._result.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        batches = self._result.batches()
        try:
            for batch, kinds in batches:
                if batch.num_rows and not self._put((batch, kinds)):
                    return
            self._put(None)
        except BaseException as e:
            self._put(e)
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    def _put(self, item: Rows | BaseException | None) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=_STEP)
                return True
            except queue.Full:
                continue
        return False
