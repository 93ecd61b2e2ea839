"""Kernels that nobody waits for, since there is another way to do what they do.

A process that has done enough for it to pay loads such a kernel in the background: from the cache, where `sqlstream warmup` or a
process before this one has left it (0.03 s), else compiled by another process (some seconds), since a compilation in this one
would take Python's lock from all that runs. Without a directory to keep it in the other way does it to the end.

The other way takes some milliseconds a time, however little it is given: messages that come a few at a time are decoded in 5 ms each few
without the kernel, and in 0.2 ms by it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading

from sqlstream.state.kernel import Kernel
from sqlstream.state.kernel_cache import CACHE

PATIENCE = 5.0  # seconds that the interpreter's end waits for what is being loaded
FEW = 8  # times that take as long in the other way as to load a kernel from the cache, however little there is
MANY = 200  # times for which one is compiled


class Background:
    """When a kernel is there. `enough`: bytes that are done without it before it is loaded."""

    def __init__(self, kernel: Kernel, enough: int) -> None:
        self._kernel, self._enough = kernel, enough
        self._done = self._times = 0
        self._there = self._compiling = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        atexit.register(self._finish)

    def load(self) -> None:
        """It is there, whatever that takes."""
        self._kernel.load()
        self._there = True

    def load_cached(self) -> None:
        """It is there, unless it would have to be compiled."""
        if not self._there and self._is_cached():
            self.load()

    def is_there(self, size: int) -> bool:
        """Whether it can be called now, for so many bytes."""
        if not self._there:
            self._begin(size)
        return self._there

    def _begin(self, size: int) -> None:
        with self._lock:
            self._done += size
            self._times += 1
            worth = self._done >= self._enough or self._times >= MANY
            if self._thread is None and (worth or self._times == FEW and self._is_cached()):
                # No thread of a scheduler's: when it is done changes nothing but the time that is taken.
                self._thread = threading.Thread(target=self._load, name=f"sqlstream-{self._kernel.name}", daemon=True)
                self._thread.start()

    def _is_cached(self) -> bool:
        return CACHE.read(self._kernel.file) is not None

    def _load(self) -> None:
        if not self._is_cached() and CACHE.directory is not None:
            self._compiling = True
            loop = self._kernel.loop
            compiling = (
                "import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN); os.nice(10); "
                f"from {loop.__module__} import {loop.__name__} as k; k.compile()"
            )
            with contextlib.suppress(OSError):
                path = os.pathsep.join(filter(None, sys.path))
                subprocess.run(
                    [sys.executable, "-c", compiling],
                    env={**os.environ, "PYTHONPATH": path},
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
            self._compiling = False
        if self._is_cached():
            self.load()

    def _finish(self) -> None:
        """Machine code is not to be loaded while the interpreter ends; a compilation goes on without it."""
        if self._thread is not None and not self._compiling:
            self._thread.join(PATIENCE)
