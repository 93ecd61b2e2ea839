"""The one door to RocksDB (`rocksdict`, imported when the first store opens): a `Store` keeps byte strings by key.

A store is a directory of its own. What was written is there for every reader at once, and in the directory after
`flush`; a process that dies leaves nothing that must survive (there is no write-ahead log): what lasts is a `snapshot`.
Everything goes in bulk, as byte strings end to end (`encoding.Packed`); keys are in the order of their bytes.

    store = Store(directory)
    store.write(keys, values)
    found, values = store.get(keys)
    store.snapshot(elsewhere)             # a directory that another store can be opened in

Python's lock: rocksdict holds it while rows go in and come out, so they do in small parts; it lets go of it while
RocksDB looks up keys, flushes and compacts. What was measured, and the settings that came of it: docs/decisions/031.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.errors import CheckpointError
from sqlstream.options import STORE_BY_LEVEL, STORE_LEVELS, STORE_STATISTICS
from sqlstream.state.arrays import Array
from sqlstream.state.byte_order import key_order
from sqlstream.state.encoding import Packed, as_binary
from sqlstream.threads import mapped

_LIST = "MANIFEST-"
SST = ".sst"  # suffix of the files that never change; the other files of a snapshot are small, and its own
_READ_AHEAD = 2 << 20  # bytes, of a scan
_WRITTEN = 8192  # rows at a time, under Python's lock (2 ms)
_GOT = 1024  # rows at a time, by each thread
_FEWEST_GOT = 256  # rows for which a thread is worth while
_MOST_NEW_FILES = 18  # where compaction is behind; from 20 on RocksDB slows writers down
_PAUSE = 0.005  # seconds


@dataclass
class StoreMemory:
    """Memory that stores share: a cache of blocks (0: none; the operating system caches files, at less cost, and in the
    form that they are compressed to), and what is written and not yet in files (0: as much as each store's own settings
    allow).
    """

    cache_bytes: int = 0
    buffer_bytes: int = 64 << 20

    def resize(self, cache_bytes: int, buffer_bytes: int) -> None:
        """Other sizes, also for stores that are open; a cache only for those that had one when they were opened."""
        self.cache_bytes, self.buffer_bytes = cache_bytes, buffer_bytes
        if "cache" in self.__dict__:
            self.cache.set_capacity(cache_bytes)
        if "buffers" in self.__dict__:
            self.buffers.set_buffer_size(buffer_bytes)

    @cached_property
    def cache(self) -> Any:
        """rocksdict's block cache."""
        from rocksdict import Cache

        return Cache(self.cache_bytes)

    @cached_property
    def buffers(self) -> Any:
        """rocksdict's manager of write buffers. It flushes when they are full, and never lets a writer wait."""
        from rocksdict import WriteBufferManager

        return WriteBufferManager(self.buffer_bytes, False)


@dataclass(frozen=True)
class StoreSettings:
    """How a store lays out its files, and with how many threads: Flink's `state.backend.rocksdb.*`.

    `compression`: by level, the last one for those below (none, lz4, lz4hc, zstd, snappy, zlib, bz2). `filter_bits` of a
    Bloom filter per key; 0: no filter. `threads` of flushes and compactions; `read_threads` of a `get`. `open_files`: -1
    for all. `statistics`: RocksDB counts what it reads and writes, which costs it some time.
    """

    block_bytes: int = 4096
    compression: tuple[str, ...] = ("lz4",)
    filter_bits: int = 10
    write_buffer_bytes: int = 32 << 20
    write_buffers: int = 4
    file_bytes: int = 64 << 20
    level_bytes: int = 256 << 20
    threads: int = 2
    read_threads: int = 16
    open_files: int = -1
    statistics: bool = False

    def options(self, memory: StoreMemory) -> Any:
        """As rocksdict takes them."""
        import rocksdict as r

        table = r.BlockBasedOptions()
        table.set_block_size(self.block_bytes)
        table.set_format_version(6)
        if self.filter_bits:
            table.set_bloom_filter(self.filter_bits, False)
        options = r.Options(raw_mode=True)
        if memory.cache_bytes:
            table.set_block_cache(memory.cache)
        else:
            table.disable_cache()
        options.set_write_buffer_manager(memory.buffers)
        options.set_advise_random_on_open(False)  # keys are got in their order: the system may read ahead
        options.set_block_based_table_factory(table)
        kinds = [getattr(r.DBCompressionType, name)() for name in self.compression]
        options.set_compression_per_level((kinds + 7 * kinds[-1:])[:7])
        options.set_write_buffer_size(self.write_buffer_bytes)
        options.set_max_write_buffer_number(self.write_buffers)
        options.set_target_file_size_base(self.file_bytes)
        options.set_max_bytes_for_level_base(self.level_bytes)
        env = r.Env()
        env.lower_thread_pool_cpu_priority()
        options.set_env(env)
        options.set_max_background_jobs(self.threads)
        options.set_max_open_files(self.open_files)
        options.set_level_zero_slowdown_writes_trigger(_MOST_NEW_FILES + 2)
        options.set_bytes_per_sync(1 << 20)  # written out as it comes, not as 64 MB of dirty pages that nobody can take
        options.set_keep_log_file_num(1)
        options.set_stats_dump_period_sec(0)
        options.set_stats_persist_period_sec(0)
        if self.statistics:
            options.enable_statistics()
        return options


def lasting(name: str) -> bool:
    """Whether a file of a snapshot is one that a store cannot be opened without: a table, or the list of them. What the
    others say is the same in all snapshots, or follows from the list's name: `completed` makes it."""
    return name.endswith(SST) or name.startswith(_LIST)


def completed(directory: Path) -> None:
    """Makes of the lasting files of a snapshot a directory that a store can be opened in."""
    current = directory / "CURRENT"
    lists = [p.name for p in directory.iterdir() if p.name.startswith(_LIST)]
    if lists and not current.exists():
        current.write_text(f"{max(lists)}\n")


class Store:
    """One RocksDB. Safe to use from several threads.

    Every failure is a CheckpointError that names the directory; `transient` when the disk was full. After a write that
    failed only reads go on: close the store and open it again (it then has what it had at some time after the last
    `flush` that succeeded), and write again.
    """

    def __init__(
        self,
        directory: Path,
        memory: StoreMemory | None = None,
        settings: StoreSettings = StoreSettings(),
        *,
        new: bool = True,
    ) -> None:
        """Opens what is in `directory`, or (`new`) makes a store there where there is none. Files there that are links to others' stay as they
        are when they are SSTs; the small files of a snapshot must be copies. RocksDB notices lost SSTs here, and
        damaged ones when it reads the place; a MANIFEST that is cut it may take for an older one: who restores a
        snapshot compares hashes.
        """
        self.directory = directory
        self._settings = settings
        self._failure: CheckpointError | None = None  # of the write since which there are only reads
        self._users, self._idle, self._closed = 0, threading.Condition(), False
        self._scans: set[_Scan] = set()
        with self._explained("cannot open"):
            import rocksdict

            options = settings.options(memory or StoreMemory())
            options.create_if_missing(new)
            self._options = options
            # Named as a column family, too: else those of an existing store keep the options of its last time.
            self._db: Any = rocksdict.Rdict(str(directory), options, {"default": options})
            quick = rocksdict.WriteOptions()
            quick.disable_wal = True
            quick.no_slowdown = True  # RocksDB would wait, and hold Python's lock
            self._db.set_write_options(quick)

    @property
    def broken(self) -> bool:
        """Whether a write failed: only reads go on."""
        return self._failure is not None

    # ---- writing

    def write(self, keys: Packed, values: Packed | None, order: Array | None = None) -> None:
        """Puts rows, or deletes them (`values` None). Keys are distinct. `order` sorts them, where it is known."""
        if order is None:
            order = key_order(keys)
        names, contents = as_binary(keys), None if values is None else as_binary(values)
        for start in range(0, len(keys), _WRITTEN):
            some = slice(start, start + _WRITTEN)
            self._write(_some(names, some, order), [] if contents is None else _some(contents, some, order))

    def _write(self, keys: list[bytes], values: list[bytes]) -> None:
        from rocksdict import WriteBatch

        while True:
            self._wait_for_compaction()
            with self._writing():
                batch = WriteBatch(raw_mode=True)
                deque(map(batch.put, keys, values) if values else map(batch.delete, keys), maxlen=0)
                try:
                    return self._db.write(batch)  # type: ignore[no-any-return]
                except Exception as e:
                    if "Result incomplete" not in str(e):  # RocksDB would have waited
                        raise
            time.sleep(_PAUSE)

    def delete_range(self, lo: bytes, hi: bytes) -> None:
        """Deletes the keys in [lo, hi)."""
        self._wait_for_compaction()
        with self._writing():
            self._db.delete_range(lo, hi)

    def _wait_for_compaction(self) -> None:
        """Until there are few enough new files: here, and not in RocksDB, which waits with Python's lock, or for ever.

        CheckpointError (the store is none the worse) when compaction fails again and again.
        """
        before = None
        while True:
            with self._using("cannot write"):
                files = int(self._db.property_value("rocksdb.num-files-at-level0"))
                errors = self._db.property_int_value("rocksdb.background-errors")
            if files < _MOST_NEW_FILES:
                return
            before = errors if before is None else before
            if errors > before + 1:
                out = CheckpointError(
                    f"cannot write {self.directory}: RocksDB fails to compact its {files} new files (its LOG there tells)",
                    hint="free space on that disk, or move the directory (state.backend.rocksdb.localdir)",
                )
                out.transient = True
                raise out
            time.sleep(_PAUSE)

    def copy_range(self, other: Store, lo: bytes, hi: bytes) -> None:
        """Puts the rows of another store that are in [lo, hi)."""
        for keys, values in other.scan(lo, hi):
            self.write(keys, values, None)

    def flush(self) -> None:
        """What was written is in files when it returns."""
        self._wait_for_compaction()
        with self._writing():
            self._db.flush(True)

    def snapshot(self, directory: Path) -> list[Path]:
        """Flushes, and makes `directory` (which must not be there) with all that was written before the call.

        Gives its files. Those with suffix `SST` are links where the file system is the store's own, have names of their
        own for as long as the store lives, and never change.
        """
        from rocksdict import Checkpoint

        self.flush()  # without Python's lock, which create_checkpoint holds
        if directory.exists():
            raise CheckpointError(f"cannot make snapshot {directory} of {self.directory}: there is something already")
        try:
            with self._using(f"cannot make snapshot {directory} of"):
                Checkpoint(self._db).create_checkpoint(str(directory))
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        return sorted(directory.iterdir())

    # ---- reading

    def get(self, keys: Packed) -> tuple[Array, Packed]:
        """Which of the keys there are (bool), and the values of those, in the order of `keys`."""
        n, order = len(keys), key_order(keys)
        names = as_binary(keys)
        if order is not None:
            names = names.take(pa.array(order))
        size = max(_FEWEST_GOT, -(-n // self._settings.read_threads))  # neighbours by one thread: files are read ahead
        parts = [names[a : a + size] for a in range(0, n, size)]
        with self._using("cannot read"):
            got = mapped(self._settings.read_threads, self._get, parts)
        values = pa.concat_arrays(got) if got else pa.array([], pa.large_binary())
        if order is not None:
            places = np.empty(n, np.int64)
            places[order] = np.arange(n)
            values = values.take(pa.array(places))
        return values.is_valid().to_numpy(zero_copy_only=False), _packed(values.drop_null())

    def _get(self, keys: pa.Array) -> pa.Array:
        some = (keys[a : a + _GOT] for a in range(0, len(keys), _GOT))
        return pa.concat_arrays([pa.array(self._db.get(k.to_pylist()), pa.large_binary()) for k in some])

    def scan(self, lo: bytes, hi: bytes, rows: int = 1 << 16) -> Iterator[tuple[Packed, Packed]]:
        """Keys and values in [lo, hi) as they are at the call of the first, in order, in parts of up to `rows`."""
        with self._using("cannot read"):
            scan = _Scan(self._db, lo, hi)
            self._scans.add(scan)
        try:
            while True:
                with self._using("cannot read"):
                    keys, values = scan.next(rows)
                if not keys:
                    return
                yield _packed(pa.array(keys, pa.large_binary())), _packed(pa.array(values, pa.large_binary()))
        finally:
            self._scans.discard(scan)

    def metrics(self, names: Iterable[str]) -> dict[str, int]:
        """RocksDB's own figures, by the names of `options.STORE_METRICS`; that by level has the level behind its name. What
        its statistics count is there where the settings want them, since the store was opened."""
        counted = [n for n in names if n in STORE_STATISTICS]
        leveled = [f"{n}{i}" for n in names if n == STORE_BY_LEVEL for i in range(STORE_LEVELS)]
        values: dict[str, int | None] = {}
        with self._using("cannot read"):
            for name in leveled:
                values[name] = int(self._db.property_value(f"rocksdb.{name}"))
            for name in names:
                if name not in STORE_STATISTICS and name != STORE_BY_LEVEL:
                    values[name] = self._db.property_int_value(f"rocksdb.{name}")
            if counted:
                text = self._options.get_statistics() or ""
                found = dict(re.findall(r"^rocksdb\.([\w.]+) COUNT : (\d+)$", text, re.M))
                if found:
                    values |= {n: sum(int(found.get(c, 0)) for c in STORE_STATISTICS[n]) for n in counted}
        return {name: value for name, value in values.items() if value is not None}

    # ---- the end

    def close(self) -> None:
        """Lets go of the directory, when calls under way are done. Scans that are not at their end fail then."""
        with self._idle:
            if self._closed:
                return
            self._closed = True
            self._idle.wait_for(lambda: self._users == 0)
        for scan in list(self._scans):
            scan.close()  # an iterator would keep the database open
        with contextlib.suppress(Exception):  # it flushes, which may fail; nobody counts on what was not flushed
            self._db.close()

    @contextlib.contextmanager
    def _using(self, doing: str) -> Iterator[None]:
        """One call: the store stays open through it, and failures are explained."""
        with self._idle:
            if self._closed:
                raise CheckpointError(f"{doing} {self.directory}: the store is closed")
            self._users += 1
        try:
            with self._explained(doing):
                yield
        finally:
            with self._idle:
                self._users -= 1
                self._idle.notify_all()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        if self._failure is not None:
            again = CheckpointError(
                f"{self.directory} can only be read since a write failed: {self._failure.message}",
                hint="close the store, open it again and write again",
            )
            again.transient = self._failure.transient
            raise again
        try:
            with self._using("cannot write"):
                yield
        except CheckpointError as e:
            self._failure = e
            raise

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except CheckpointError:
            raise
        except Exception as e:  # rocksdict has no other class
            raise _failed(doing, self.directory, e) from e


class _Scan:
    """A position in a range of the database, as it was when the scan began."""

    def __init__(self, db: Any, lo: bytes, hi: bytes) -> None:
        from rocksdict import ReadOptions

        options = ReadOptions()
        options.set_iterate_upper_bound(hi)
        options.set_readahead_size(_READ_AHEAD)
        self._at: Any = db.iter(options)
        self._at.seek(lo)

    def next(self, rows: int) -> tuple[list[bytes], list[bytes]]:
        """Keys and values of the next rows; none at the end."""
        at = self._at
        keys: list[bytes] = []
        values: list[bytes] = []
        if at is None:
            raise CheckpointError("the store was closed before a scan was at its end")
        key, value, step = at.key, at.value, at.next  # rocksdict gives rows one by one, here as well as by `items`,
        while len(keys) < rows and (name := key()) is not None:  # which does not tell damage from the end
            keys.append(name)
            values.append(value())
            step()
        at.status()
        return keys, values

    def close(self) -> None:
        """Lets go of the database."""
        self._at = None


def _some(a: pa.Array, some: slice, order: Array | None) -> list[bytes]:
    out: list[bytes] = (a[some] if order is None else a.take(pa.array(order[some]))).to_pylist()
    return out


def _packed(a: pa.Array) -> Packed:
    """Of a large_binary array without NULLs."""
    n = len(a)
    _, offsets, data = a.buffers()
    if n == 0 or offsets is None:
        return Packed(np.empty(0, np.uint8), np.zeros(n + 1, np.int64))
    o = np.frombuffer(offsets, np.int64, count=n + 1, offset=8 * a.offset)
    d = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return Packed(d[o[0] : o[-1]], o - o[0] if o[0] else o)


def _failed(doing: str, directory: Path, error: Exception) -> CheckpointError:
    text = str(error)
    low = text.lower()
    full = "no space left" in low or "file too large" in low or "quota" in low
    if full:
        hint = "free space on that disk, or move the directory (state.backend.rocksdb.localdir)"
    elif "lock hold by current process" in low or "while lock file" in low:
        hint = "another store has the directory open; each needs a directory of its own"
    elif "too many open files" in low:
        hint = "let the process open more files (ulimit -n)"
    elif "permission denied" in low or "read-only file system" in low:
        hint = "let this user write there, or move the directory (state.backend.rocksdb.localdir)"
    elif "corruption" in low or "no such file" in low or "does not exist" in low:
        hint = "files there are damaged or gone: start from a checkpoint"
    else:
        hint = None
    out = CheckpointError(f"{doing} {directory}: {text}", hint=hint)
    out.transient = full
    return out
