"""Ctrl-C and SIGTERM: the first one asks the work to end well, the second one ends the process.

What follows the first within `SAME` seconds is still the first: `timeout` and others send a signal to the process and
once more to its group.

The work runs on a thread of its own and the main thread only waits, so a signal is handled at once whatever the work
is doing: a query inside DuckDB, a compiled kernel, a write. Where a signal is ignored (`nohup`, a job in the
background of a script) it stays ignored.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

SAME = 0.3
SOON = 3.0  # seconds after which it is said that it still goes on
STEP = 0.2  # seconds of one wait
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_interruptible(work: Callable[[], int], cancel: Callable[[], None]) -> int:
    """What `work` returns; 128 + the signal if one came and all ended well. An exception of `work` is raised here.

    `cancel` is called in the main thread and must return soon; `work` must then end by itself.
    """
    outcome: list[int] = []
    failure: list[BaseException] = []
    received: list[int] = []
    first, told = 0.0, False

    def body() -> None:
        try:
            outcome.append(work())
        except BaseException as e:
            failure.append(e)

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if received and time.monotonic() - first < SAME:
            return
        received.append(number)
        if len(received) == 1:
            first = time.monotonic()
        else:
            os.write(2, b"\nsqlstream: ended without waiting for the job\n")
            os._exit(128 + number)
        cancel()

    if threading.current_thread() is not threading.main_thread():
        return work()
    before = {s: signal.getsignal(s) for s in _SIGNALS}
    for s, old in before.items():
        if old != signal.SIG_IGN:
            signal.signal(s, handler)
    try:
        worker = threading.Thread(target=body, name="sqlstream", daemon=True)
        worker.start()
        # Step by step: a signal that comes right before a wait without end would be seen only after it.
        while worker.is_alive():
            worker.join(STEP)
            if received and not told and time.monotonic() - first > SOON and worker.is_alive():
                told = True
                os.write(2, b"\nsqlstream: waits for what is under way to end; once more, and it ends without that\n")
    finally:
        for s, old in before.items():  # the process ends now: a second Ctrl-C must not change its exit status
            signal.signal(s, signal.SIG_IGN if received else old)
    if failure:
        raise failure[0]
    if received and outcome[0] == 0:
        return 128 + received[0]
    return outcome[0]
