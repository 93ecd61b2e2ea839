"""When the scanner's kernel is there. It is a long one, and nobody waits for it: until it is there DuckDB decodes.

A process that has read enough for it to pay loads it in the background: from the cache, where `sqlstream warmup` or a process
before this one has left it (0.03 s), else compiled by another process (some seconds), since a compilation in this one would
take Python's lock from all that runs. The environment variable SQLSTREAM_JSON_SCANNER says otherwise: `off` never uses it, `on`
waits for it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading

from sqlstream.formats.json_scan.lines import scan_lines
from sqlstream.state.kernel_cache import CACHE

SWITCH, ON, OFF = "SQLSTREAM_JSON_SCANNER", "on", "off"
ENOUGH = 2**20  # bytes: as long to decode by DuckDB as to load the kernel from the cache
PATIENCE = 5.0  # seconds that the interpreter's end waits for what is being loaded

_COMPILE = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "from sqlstream.formats.json_scan.lines import scan_lines; scan_lines.compile()"
)


class _Loading:
    """`read`: bytes that this process has decoded without it."""

    def __init__(self) -> None:
        self.read = 0
        self.there = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, size: int) -> None:
        """So many bytes more were decoded."""
        with self._lock:
            self.read += size
            if self._thread is None and self.read >= ENOUGH:
                # No thread of a scheduler's: when it is done changes nothing but the time that is taken.
                self._thread = threading.Thread(target=self._load, name="sqlstream-scanner", daemon=True)
                self._thread.start()

    def _load(self) -> None:
        if not CACHE.keeps(scan_lines.file):
            with contextlib.suppress(OSError):
                path = os.pathsep.join(filter(None, sys.path))
                subprocess.run(
                    [sys.executable, "-c", _COMPILE],
                    env={**os.environ, "PYTHONPATH": path},
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
        if CACHE.keeps(scan_lines.file):
            scan_lines.load()
            self.there = True

    def finish(self) -> None:
        """Machine code is not to be loaded while the interpreter ends; a compilation goes on without it."""
        if self._thread is not None and CACHE.keeps(scan_lines.file):
            self._thread.join(PATIENCE)


_loading = _Loading()
atexit.register(_loading.finish)


def is_allowed() -> bool:
    """Whether it may be used."""
    return os.environ.get(SWITCH) != OFF


def is_there(size: int) -> bool:
    """Whether it can be called now, for so many bytes."""
    if os.environ.get(SWITCH) == ON:
        scan_lines.load()
        return True
    if not _loading.there and is_allowed():
        _loading.begin(size)
    return _loading.there and is_allowed()
