"""What belongs to the process and not to a job: Python's switch interval, the memory of keyed state (that of stores
is a part of it), the allocator.

Jobs enter and leave (`PROCESS.running`), in any order and from any thread; what holds follows from those that are
inside. When the last one leaves, the switch interval and the memory's limit are what they were before the first.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sqlstream.options import SessionOptions
from sqlstream.state.memory import MEMORY, Memory
from sqlstream.state.rocks import StoreMemory

# How long a thread may keep Python's lock from others. An epoch takes the lock some fifty times, and each time waits so
# long while the background writes a checkpoint.
SWITCH_SECONDS = 0.00002

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # of glibc's mallopt
KEPT, LARGEST_KEPT = 64 << 20, 16 << 20  # bytes by each arena; bytes of an array
ARENAS = 2  # of freed memory, whatever threads there are


# Of managed memory, what stores have: a part, and not less than the first (they would write files of some rows each), nor
# more than the second (more than is folded at a time is of no use to them; arrays have use for it).
OF_STORES = 8
LEAST_OF_STORES, MOST_OF_STORES = 8 << 20, 64 << 20


@dataclass(frozen=True)
class _Share:
    """What one job wants of the process's memory. `limit`: bytes; None leaves it to the machine. `fixed`: bytes for
    stores beside that. `buffered`: of what stores have, the part that is for rows on their way into files; None: the job
    has no stores that share memory with others."""

    limit: int | None
    directories: tuple[str, ...]
    fixed: int | None = None
    buffered: float | None = None


class Process:
    """The settings of a process, counted. `memory` is what they are applied to; `stores`: what jobs' stores share."""

    def __init__(self, memory: Memory = MEMORY) -> None:
        self._memory = memory
        self.stores = StoreMemory()
        self._lock = threading.Lock()
        self._shares: list[_Share] = []
        self._before: tuple[float, int, tuple[str, ...]] = (0.0, 0, ())
        self._pool: pa.MemoryPool | None = None

    @contextlib.contextmanager
    def running(self, options: SessionOptions, local: Path, durable: bool = False) -> Iterator[StoreMemory]:
        """While a job runs. `local`: its own directory, for state beyond memory unless the options name others. Gives the
        memory of its stores, which only a durable job has.

        Limits that jobs were given add up; a job without one may have what the machine's default allows.
        """
        named = tuple(d.strip() for d in (options.tmp_dirs or "").split(",") if d.strip())
        fixed = None if options.store_memory is None else options.store_memory * options.parallelism
        shares = durable and options.backend != "hashmap" and (options.store_managed or fixed is not None)
        share = _Share(
            options.managed_memory, named or (str(local),), fixed, options.store_buffered if shares else None
        )
        with self._lock:
            if not self._shares:
                self._before = (sys.getswitchinterval(), self._memory.limit, self._memory.directories)
                sys.setswitchinterval(SWITCH_SECONDS)
                _keep_freed()
                self._pool = _take_pool()
            self._shares.append(share)
            self._apply()
        try:
            yield self.stores if shares else StoreMemory(options.store_cache, 0)
        finally:
            with self._lock:
                self._shares = [s for s in self._shares if s is not share]
                self._apply()

    def _apply(self) -> None:
        if not self._shares:
            interval, self._memory.limit, self._memory.directories = self._before
            sys.setswitchinterval(interval)
            if self._pool is not None:
                pa.set_memory_pool(self._pool)
                self._pool = None
            return
        given = sum(s.limit or 0 for s in self._shares)
        open_ = any(s.limit is None for s in self._shares)
        limit = max(given, self._before[1]) if open_ else given
        self._memory.limit = limit - self._give_stores(limit)
        self._memory.directories = tuple(dict.fromkeys(d for s in self._shares for d in s.directories))

    def _give_stores(self, limit: int) -> int:
        """Sizes the stores' memory; what it takes of the `limit`."""
        shares = [s for s in self._shares if s.buffered is not None]
        if not shares:
            return 0
        managed = any(s.fixed is None for s in shares)
        part = min(limit // OF_STORES, MOST_OF_STORES) if managed else 0
        size = max(part + sum(s.fixed or 0 for s in shares), LEAST_OF_STORES)
        buffers = int(size * sum(s.buffered or 0 for s in shares) / len(shares))
        self.stores.resize(size - buffers, buffers)
        return part


def _keep_freed() -> None:
    """Asks the C library to keep memory that is freed, for the next epoch, instead of giving it back.

    An epoch makes and frees arrays of some megabytes. Given back, each page of them is made and cleared anew when it is
    first touched: a third of the time of a GROUP BY over a million keys. Does nothing where there is no glibc. It stays
    so when jobs have left: the C library does not say what its settings were.

    Threads share few arenas: what one that has ended freed is of use to those of the next attempt.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(ARENA_MAX, ARENAS)
        mallopt(MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(TRIM_THRESHOLD, KEPT)


def _take_pool() -> pa.MemoryPool | None:
    """Has Arrow take its memory from the C library, too, and gives the pool that it had; None where that stays, since the
    user has chosen it. mimalloc keeps what threads had that ended: a job grew with each attempt (decision 014)."""
    if "ARROW_DEFAULT_MEMORY_POOL" in os.environ:
        return None
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    return before


def trim() -> None:
    """Gives memory that is freed back to the system after all: for after work that took much, or between attempts."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


PROCESS = Process()
