"""Where the arrays of keyed state live: in memory while they fit the budget, beyond it in mapped files.

    a = zeros((n, 2), np.int64)
    a = grown(a, m)              # longer; what is new is 0

In memory an array has address space for many times its length, of which the system gives only what is touched: it
grows in place, without a copy (copying and touching new pages took two thirds of the time of a growing table).

An array that would take the process beyond `MEMORY.limit` (`taskmanager.memory.managed.size`) is made as a file in
`io.tmp.dirs`, mapped into memory: operators work on it as on any other, and the operating system keeps the pages that
are used and writes the others out, as it does for every file. Tables grow by doubling, so it is the largest arrays
that go to files; a mapped one grows in its file, also without a copy. The files have no name (nothing stays behind a
killed process) and their space is taken before they are mapped: a full disk is an error here, never a signal later.
They hold nothing durable; that is what checkpoints are for. Why so: docs/decisions/030.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.errors import CheckpointError

Array = np.ndarray[Any, Any]

SMALLEST = 1 << 18  # bytes; smaller arrays are neither counted nor mapped
MANAGED_FRACTION = 0.4  # of the memory that the process may use, as Flink's default


RESERVED = 32  # times its length that an array in memory can become in place
_ANONYMOUS = (
    getattr(mmap, "MAP_PRIVATE", 2) | getattr(mmap, "MAP_ANONYMOUS", 32) | getattr(mmap, "MAP_NORESERVE", 0x4000)
)


@dataclass
class _Counted:
    """Bytes of the budget that a region has taken."""

    size: int


@dataclass
class _Region:
    """Address space of an array in memory, which may become as long as `buffer`."""

    buffer: mmap.mmap
    counted: _Counted

    def view(self, shape: tuple[int, ...] | int, dtype: np.dtype[Any], size: int) -> Array:
        return np.frombuffer(self.buffer, dtype, count=size // dtype.itemsize).reshape(shape)


@dataclass
class _File:
    """The file behind a mapped array: a descriptor of its own, to grow it; its size in bytes."""

    descriptor: int
    size: int


class Memory:
    """The budget of a process. Safe to use from several threads."""

    def __init__(self, limit: int | None = None, directories: tuple[str, ...] = (), smallest: int = SMALLEST) -> None:
        self.limit = default_limit() if limit is None else limit
        self.directories = directories
        self.smallest = smallest
        self.used = 0  # bytes of counted arrays in memory
        self.mapped = 0  # bytes of files
        self._homes: dict[int, _Region | _File] = {}  # by id of the array
        self._lock = threading.RLock()  # a collection inside it may end arrays
        self._next = 0

    def zeros(self, shape: tuple[int, ...] | int, dtype: Any) -> Array:
        """A new array of zeros; in a file where memory would go beyond the limit. RunError: no room on disk."""
        dtype = np.dtype(dtype)
        size = _bytes(shape, dtype)
        if size < self.smallest:
            return np.zeros(shape, dtype)
        if not self._fits(size):
            return self._map(self._create(), shape, dtype, size)
        region = self._reserve(size)
        if region is None:
            try:
                out = np.zeros(shape, dtype)
            except MemoryError:
                self._released(size)
                raise
            weakref.finalize(out, self._released, size).atexit = False
            return out
        return self._at_home(region.view(shape, dtype, size), region)

    def grown(self, a: Array, n: int, fill: int = 0) -> Array:
        """`a` with n rows, the new ones `fill`. The old array is not to be used any more: they may share memory."""
        with self._lock:
            home = self._homes.get(id(a))
        shape = (n, *a.shape[1:])
        size = _bytes(shape, a.dtype)
        if isinstance(home, _File):
            out = self._map(os.dup(home.descriptor), shape, a.dtype, size)
        elif isinstance(home, _Region) and size <= len(home.buffer) and self._fits(size - home.counted.size):
            home.counted.size = size
            out = self._at_home(home.view(shape, a.dtype, size), home)
        else:
            out = self.zeros(shape, a.dtype)
            out[: len(a)] = a
        if fill:
            out[len(a) :] = fill
        return out

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more would stay in memory."""
        with self._lock:
            return self.used + size <= self.limit

    def is_mapped(self, a: Array) -> bool:
        """Whether it lies in a file."""
        with self._lock:
            return isinstance(self._homes.get(id(a)), _File)

    def _fits(self, size: int) -> bool:
        """Takes `size` bytes of the budget, if they are there."""
        with self._lock:
            fits = self.used + size <= self.limit
            self.used += size if fits else 0
            return fits

    def _released(self, size: int) -> None:
        with self._lock:
            self.used -= size

    def _reserve(self, size: int) -> _Region | None:
        """Address space; None where the system gives none that is not backed (strict overcommit, other systems)."""
        if not hasattr(mmap, "MAP_ANONYMOUS"):
            return None
        try:
            buffer = mmap.mmap(-1, RESERVED * size, flags=_ANONYMOUS)
        except (OSError, OverflowError):
            return None
        counted = _Counted(size)
        weakref.finalize(buffer, lambda: self._released(counted.size)).atexit = False
        return _Region(buffer, counted)

    def _at_home(self, out: Array, home: _Region | _File) -> Array:
        with self._lock:
            self._homes[id(out)] = home
        weakref.finalize(out, self._left, id(out)).atexit = False
        return out

    def _left(self, key: int) -> None:
        with self._lock:
            home = self._homes.pop(key)
            if isinstance(home, _File):
                self.mapped -= home.size
                os.close(home.descriptor)

    def _create(self) -> int:
        with self._lock:
            place = self.directories[self._next % len(self.directories)] if self.directories else tempfile.gettempdir()
            self._next += 1
        try:
            Path(place).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(prefix="sqlstream-state-", dir=place) as file:
                return os.dup(file.fileno())
        except OSError as e:
            raise _failed(f"cannot make a file for state in {place}", e) from e

    def _map(self, file: int, shape: tuple[int, ...] | int, dtype: np.dtype[Any], size: int) -> Array:
        """The file's first `size` bytes as an array; the file is made as long. Takes the descriptor."""
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file, 0, size)
            else:
                os.ftruncate(file, size)
            buffer = mmap.mmap(file, size)
        except OSError as e:
            os.close(file)
            raise _failed(f"cannot take {size:,} bytes of disk for state", e) from e
        with self._lock:
            self.mapped += size
        return self._at_home(
            np.frombuffer(buffer, dtype, count=size // dtype.itemsize).reshape(shape), _File(file, size)
        )


def _bytes(shape: tuple[int, ...] | int, dtype: np.dtype[Any]) -> int:
    return dtype.itemsize * (math.prod(shape) if isinstance(shape, tuple) else shape)


def _failed(what: str, error: OSError) -> CheckpointError:
    out = CheckpointError(
        f"{what}: {error.strerror or error}",
        hint="free space there, name other directories in io.tmp.dirs, or raise taskmanager.memory.managed.size",
    )
    out.transient = True
    return out


def default_limit() -> int:
    """Bytes: a fraction of the machine's memory, or of the control group's where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return int(total * MANAGED_FRACTION)


# The process's own. Limit and directories follow from the jobs that run (`runtime/process.py`).
MEMORY = Memory()


def zeros(shape: tuple[int, ...] | int, dtype: Any) -> Array:
    """`Memory.zeros` of this process."""
    return MEMORY.zeros(shape, dtype)


def grown(a: Array, n: int, fill: int = 0) -> Array:
    """`a` with n rows, the new ones `fill`. The old array is not to be used any more."""
    return MEMORY.grown(a, n, fill)


def stored(a: pa.Array) -> pa.Array:
    """An Arrow array that state keeps: as it is while it fits, else in a mapped file."""
    size = a.nbytes
    if size < MEMORY.smallest:
        return a
    batch = pa.record_batch([a], ["a"])
    target = MEMORY.zeros(pa.ipc.get_record_batch_size(batch) + 64, np.uint8)
    if not MEMORY.is_mapped(target):
        return a
    with pa.FixedSizeBufferWriter(pa.py_buffer(target)) as writer:
        writer.write(batch.serialize())
    return pa.ipc.read_record_batch(pa.py_buffer(target), batch.schema).column(0)
