"""Stores of RocksDB: rows come back, in the order of their bytes; snapshots are whole; damage and full disks are said."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from harness.small_disk import small_disk

from sqlstream.errors import CheckpointError
from sqlstream.options import STORE_BY_LEVEL, STORE_LEVELS, STORE_METRICS, STORE_PROPERTIES, STORE_STATISTICS
from sqlstream.state.byte_order import key_order
from sqlstream.state.encoding import Packed
from sqlstream.state.rocks import SST, Store, StoreMemory, StoreSettings

END = b"\xff" * 8
SMALL = StoreSettings(write_buffer_bytes=1 << 20, file_bytes=1 << 18, level_bytes=1 << 20)


def packed(strings: list[bytes]) -> Packed:
    sizes = np.array([0, *map(len, strings)], np.int64)
    return Packed(np.frombuffer(b"".join(strings), np.uint8), np.cumsum(sizes))


def put(store: Store, rows: dict[bytes, bytes]) -> None:
    store.write(packed(list(rows)), packed(list(rows.values())))


def got(store: Store, keys: list[bytes]) -> list[bytes | None]:
    found, values = store.get(packed(keys))
    assert found.dtype == np.bool_ and len(found) == len(keys) and len(values) == found.sum()
    rest = iter(values.tolist())
    return [next(rest) if there else None for there in found]


def rows(store: Store, lo: bytes = b"", hi: bytes = END, part: int = 1000) -> list[tuple[bytes, bytes]]:
    out = []
    for keys, values in store.scan(lo, hi, part):
        assert 0 < len(keys) == len(values) <= part
        out += zip(keys.tolist(), values.tolist(), strict=True)
    return out


def scattered(n: int, seed: int = 0) -> dict[bytes, bytes]:
    r = random.Random(seed)
    return {i.to_bytes(8, "big"): r.randbytes(r.randrange(60)) for i in r.sample(range(10 * n), n)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(Store(tmp_path / "store")) as out:
        yield out


# ---- rows


def test_rows_come_back(store: Store) -> None:
    some = {
        b"": b"",
        b"a": b"",
        b"\x00": b"\x00\xff",
        b"a\x00": b"x",
        b"\xff\xff": os.urandom(3 << 20),
        b"b" * 5000: b"y",
    }
    put(store, some)
    asked = [b"zzz", *some, b"\x01", b"a\x00\x00"]
    assert got(store, asked) == [some.get(k) for k in asked]
    assert rows(store) == sorted(some.items())
    store.flush()
    assert got(store, asked) == [some.get(k) for k in asked]
    assert rows(store) == sorted(some.items())
    assert got(store, []) == [] and rows(store, b"c", b"d") == []
    store.write(packed([]), packed([]))
    store.write(packed([]), None)


def test_many_rows(store: Store) -> None:
    some = scattered(100_000)
    put(store, some)
    store.flush()
    newer = dict.fromkeys(random.Random(1).sample(sorted(some), 30_000), b"newer")
    put(store, newer)
    some |= newer
    asked = [i.to_bytes(8, "big") for i in random.Random(2).sample(range(1_000_000), 200_000)]
    assert got(store, asked) == [some.get(k) for k in asked]
    assert rows(store, part=7777) == sorted(some.items())


def test_reading_keeps_no_threads(store: Store) -> None:
    """A job has many stores: threads that each kept would be hundreds."""
    put(store, scattered(20_000))
    before = threading.active_count()
    assert got(store, [*scattered(20_000)]) == [*scattered(20_000).values()]
    assert threading.active_count() <= before


@pytest.mark.parametrize("width", [1, 4, 9, 24, None])
@pytest.mark.parametrize("prefix", [b"", b"\x01\x00\x7f", b"the same beginning of all"])
def test_order_is_that_of_bytes(width: int | None, prefix: bytes) -> None:
    r = random.Random(width)
    keys = sorted(
        {
            prefix + bytes(r.choices(b"\x00\x01\x7f\x80\xff", k=r.randrange(12) if width is None else width))
            for _ in range(3000)
        }
    )
    r.shuffle(keys)
    order = key_order(packed(keys))
    assert order is not None and [keys[i] for i in order] == sorted(keys)
    assert key_order(packed(sorted(keys))) is None


def test_a_known_order_is_taken(store: Store) -> None:
    keys = [b"c", b"a", b"b"]
    store.write(packed(keys), packed([b"3", b"1", b"2"]), np.array([1, 2, 0]))
    assert rows(store) == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]


def test_deletes(store: Store) -> None:
    some = scattered(20_000)
    put(store, some)
    store.flush()
    gone = random.Random(3).sample(sorted(some), 5_000)
    store.write(packed([*gone, b"never there"]), None)
    rest = {k: v for k, v in some.items() if k not in set(gone)}
    assert rows(store) == sorted(rest.items())
    assert got(store, list(some)) == [rest.get(k) for k in some]
    put(store, {gone[0]: b"again"})
    assert got(store, gone[:2]) == [b"again", None]


def test_ranges(store: Store) -> None:
    some = {bytes([a, b]): bytes([b]) for a in range(5) for b in range(256)}
    put(store, some)
    lo, hi = bytes([1, 200]), bytes([3])
    inside = {k: v for k, v in some.items() if lo <= k < hi}
    assert lo in inside and hi not in inside
    assert rows(store, lo, hi, 100) == sorted(inside.items())
    store.delete_range(lo, hi)
    assert rows(store) == sorted((k, v) for k, v in some.items() if k not in inside)
    assert got(store, list(some)) == [None if k in inside else v for k, v in some.items()]
    put(store, {lo: b"again"})
    assert rows(store, lo, hi) == [(lo, b"again")]


def test_copies_of_a_range(store: Store, tmp_path: Path) -> None:
    some = scattered(5_000)
    put(store, some)
    middle = sorted(some)[2500]
    with contextlib.closing(Store(tmp_path / "other")) as other:
        put(other, {middle: b"older"})
        other.copy_range(store, middle, END)
        assert rows(other) == sorted((k, v) for k, v in some.items() if k >= middle)


def test_a_scan_sees_what_was_there_when_it_began(store: Store) -> None:
    some = scattered(1_000)
    put(store, some)
    scan = store.scan(b"", END, 10)
    first, _ = next(scan)
    put(store, dict.fromkeys(some, b"new"))
    store.delete_range(b"", END)
    store.flush()
    rest = [k for keys, _ in scan for k in keys.tolist()]
    assert first.tolist() + rest == sorted(some)


# ---- snapshots


def test_a_snapshot_while_writing_goes_on(store: Store, tmp_path: Path) -> None:
    some = scattered(30_000)
    put(store, some)
    stop = threading.Event()

    def write() -> None:
        i = 0
        while not stop.is_set():
            put(store, {b"\xf0" + (1000 * i + j).to_bytes(8, "big"): bytes(50) for j in range(1000)})
            i += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        snapshots = [store.snapshot(tmp_path / f"snapshot-{i}") for i in range(3)]
    finally:
        stop.set()
        writer.join()
    for files in snapshots:
        assert {f.parent for f in files} == {files[0].parent} and sorted(files[0].parent.iterdir()) == files
        ssts = [f for f in files if f.suffix == SST]
        assert ssts and all(f.stat().st_nlink > 1 for f in ssts)
        fresh = tmp_path / f"restored-{files[0].parent.name}"
        fresh.mkdir()
        for f in files:
            os.link(f, fresh / f.name) if f.suffix == SST else shutil.copy(f, fresh)
        before = {f.name: f.read_bytes() for f in files}
        with contextlib.closing(Store(fresh, settings=SMALL)) as restored:
            assert rows(restored, hi=b"\xf0") == sorted(some.items())
            later = len(rows(restored, b"\xf0"))
            assert later % 1000 == 0  # a write is there as a whole: they are small
            restored.delete_range(b"", END)
            put(restored, {b"k": b"v"})
            restored.flush()
        assert {f.name: f.read_bytes() for f in files} == before
    shared = [{f.name for f in files if f.suffix == SST} for files in snapshots]
    assert shared[0] & shared[1]


def test_a_snapshot_has_a_directory_of_its_own(store: Store, tmp_path: Path) -> None:
    put(store, {b"a": b"b"})
    store.snapshot(tmp_path / "s")
    with pytest.raises(CheckpointError, match=str(tmp_path / "store")):
        store.snapshot(tmp_path / "s")
    put(store, {b"b": b"c"})  # the store is none the worse
    assert len(rows(store)) == 2


# ---- damage


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A directory with a store that was closed; keys are a and the numbers below 20,000, values are noise."""
    with contextlib.closing(Store(tmp_path / "left")) as s:
        r = random.Random(0)
        put(s, {b"a%05d" % i: r.randbytes(100) for i in range(20_000)})
        s.flush()
    return tmp_path / "left"


@pytest.mark.parametrize("memory", [None, StoreMemory(cache_bytes=8 << 20)])
def test_a_flipped_byte_is_found(left: Path, memory: StoreMemory | None) -> None:
    (sst,) = left.glob("*" + SST)
    flip(sst, sst.stat().st_size // 2)
    with contextlib.closing(Store(left, memory)) as s:
        for read in (
            lambda: rows(s),
            lambda: rows(s, b"a05", b"a15"),
            lambda: got(s, [b"a%05d" % i for i in range(20_000)]),
        ):
            with pytest.raises(CheckpointError, match=f"cannot read {left}: Corruption.*") as e:
                read()
            assert "start from a checkpoint" in str(e.value) and not e.value.transient
        assert len(rows(s, b"a00", b"a05")) == 5_000  # the rest is as it was


@pytest.mark.parametrize(
    "kind, harm", [(SST, "gone"), (SST, "cut"), ("MANIFEST", "gone"), ("CURRENT", "gone"), ("CURRENT", "cut")]
)
def test_lost_files_are_found_at_open(left: Path, kind: str, harm: str) -> None:
    (file,) = [f for f in left.iterdir() if kind in f.name]
    if harm == "gone":
        file.unlink()
    else:
        os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(CheckpointError, match=f"cannot open {left}: ") as e, contextlib.closing(Store(left)) as s:
        rows(s)
    assert "start from a checkpoint" in str(e.value) and not e.value.transient


# ---- who may open it


def test_one_store_a_directory(store: Store) -> None:
    put(store, {b"a": b"b"})
    with pytest.raises(CheckpointError, match=f"cannot open {store.directory}: .*") as e:
        Store(store.directory)
    assert "each needs a directory of its own" in str(e.value)
    program = "import sys, pathlib; from sqlstream.state.rocks import Store; Store(pathlib.Path(sys.argv[1]))"
    other = subprocess.run([sys.executable, "-c", program, str(store.directory)], capture_output=True, text=True)
    assert other.returncode and f"CheckpointError: cannot open {store.directory}: " in other.stderr, other.stderr
    assert "each needs a directory of its own" in other.stderr
    assert got(store, [b"a"]) == [b"b"]
    store.close()
    with contextlib.closing(Store(store.directory)) as again:
        assert got(again, [b"a"]) == [b"b"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_no_right_to_write(left: Path) -> None:
    for p in (left, *left.parents):
        if p.name.startswith("pytest-of-") or p.parent.name.startswith(("pytest-", "popen-")):
            p.chmod(0o755)
    os.seteuid(65534)
    try:
        for directory in (left, left / "new"):
            with pytest.raises(CheckpointError, match=f"cannot open {directory}: .*Permission denied") as e:
                Store(directory)
            assert "let this user write there" in str(e.value) and not e.value.transient
    finally:
        os.seteuid(0)


# ---- a full disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    with small_disk(tmp_path / "disk", "8m") as path:
        yield path


def filled(disk: Path, but: int) -> Path:
    """A file that leaves `but` bytes of the disk."""
    file, free = disk / "filler", os.statvfs(disk)
    file.write_bytes(bytes(free.f_bavail * free.f_frsize - but))
    return file


def test_a_full_disk(disk: Path) -> None:
    """An error that may pass, with the path; opened again when there is room, the store takes the rows."""
    old, new = scattered(1_000), scattered(20_000, 1)
    with contextlib.closing(Store(disk / "store")) as store:
        put(store, old)
        store.flush()
        filler = filled(disk, 100_000)
        put(store, new)  # in memory
        with pytest.raises(CheckpointError, match=f"cannot write {store.directory}: .*No space left on device") as e:
            store.flush()
        assert e.value.transient and "hint: free space on that disk" in str(e.value)
        for write in (store.flush, lambda: put(store, old), lambda: store.snapshot(disk / "snapshot")):
            with pytest.raises(
                CheckpointError, match=f"{store.directory} can only be read since a write failed: .*"
            ) as e:
                write()
            assert e.value.transient and "open it again" in str(e.value) and "No space left" in str(e.value)
        assert got(store, sorted(old)[:100]) == [(old | new)[k] for k in sorted(old)[:100]]
        filler.unlink()
    with contextlib.closing(Store(disk / "store")) as store:
        assert set(old) <= {k for k, _ in rows(store)}
        put(store, new)
        store.flush()
        assert rows(store) == sorted((old | new).items())


def test_a_snapshot_on_a_full_disk(store: Store, disk: Path) -> None:
    """Nothing stays of it, and the store goes on."""
    some = scattered(20_000)
    put(store, some)
    filler = filled(disk, 100_000)
    with pytest.raises(CheckpointError, match=f"{disk / 'snapshot'} of {store.directory}: .*No space left") as e:
        store.snapshot(disk / "snapshot")
    assert e.value.transient and list(disk.iterdir()) == [filler]
    filler.unlink()
    store.snapshot(disk / "snapshot")
    put(store, {b"a": b"b"})
    store.flush()
    with contextlib.closing(Store(disk / "snapshot")) as copy:
        assert rows(copy) == sorted(some.items())


def test_compaction_on_a_full_disk(disk: Path) -> None:
    """Who writes on without room for compaction gets an error, and does not wait for ever."""
    r = random.Random(0)
    some = {b"%05d" % i: r.randbytes(100) for i in range(20_000)}
    with contextlib.closing(Store(disk / "store", settings=SMALL)) as store:
        put(store, some)
        store.flush()
        while any(store.metrics(["num-running-compactions", "compaction-pending"]).values()):
            time.sleep(0.01)
        filler = filled(disk, 1 << 20)  # room for many small files, and not for all rows anew
        with pytest.raises(CheckpointError, match=f"cannot write {store.directory}: ") as e:
            for _ in range(100):
                newer = {k: r.randbytes(100) for k in r.sample(sorted(some), 200)}
                some |= newer
                put(store, newer)
                store.flush()
        assert e.value.transient and "free space on that disk" in str(e.value)
        filler.unlink()
    with contextlib.closing(Store(disk / "store", settings=SMALL)) as store:
        put(store, newer)
        store.flush()
        assert rows(store) == sorted(some.items())


def test_writers_wait_while_compaction_is_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a limit while it comes forward; until the second error where it does not."""
    files, errors, asked = iter([40, 30, 3, 40, 40, 40, 40]), iter([7, 7, 7, 7, 8, 8, 9]), []

    class Behind:
        def property_value(self, name: str) -> str:
            asked.append(name)
            return str(next(files))

        def property_int_value(self, name: str) -> int:
            return next(errors)

    with monkeypatch.context() as m:
        m.setattr(store, "_db", Behind())
        store._wait_for_compaction()
        assert asked == ["rocksdb.num-files-at-level0"] * 3
        with pytest.raises(CheckpointError, match="RocksDB fails to compact its 40 new files") as e:
            store._wait_for_compaction()
    assert e.value.transient and next(files, None) is None
    put(store, {b"a": b"b"})  # the store is none the worse


# ---- the end


def descriptors() -> list[str]:
    return sorted(
        os.readlink(f"/proc/self/fd/{d}") for d in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{d}")
    )


def test_nothing_stays_open(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    store = Store(directory, settings=SMALL)
    put(store, scattered(50_000))
    store.flush()
    got(store, list(scattered(50_000)))
    scan = store.scan(b"", END, 10)
    next(scan)
    assert any(str(directory) in d for d in descriptors())
    store.close()
    store.close()
    assert not any(str(directory) in d for d in descriptors())
    with pytest.raises(CheckpointError, match="closed"):
        next(scan)
    for use in (
        lambda: got(store, [b"a"]),
        lambda: put(store, {b"a": b"b"}),
        store.flush,
        lambda: store.metrics(["num-snapshots"]),
        lambda: rows(store),
    ):
        with pytest.raises(CheckpointError, match=f"{directory}: the store is closed"):
            use()
    Store(directory).close()


def test_closing_waits_for_calls_under_way(tmp_path: Path) -> None:
    some = scattered(50_000)
    with contextlib.closing(Store(tmp_path / "store")) as store:
        put(store, some)
        begun = threading.Semaphore(0)
        out: list[list[bytes | None]] = []
        ends: list[str] = []

        def read() -> None:
            try:
                while True:
                    out.append(got(store, list(some)))
                    begun.release()
            except CheckpointError as e:
                ends.append(e.message)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for r in readers:
            r.start()
        for _ in range(3):
            begun.acquire()
        store.close()
        for r in readers:
            r.join()
    assert all(o == list(some.values()) for o in out)
    assert ends == 2 * [f"cannot read {store.directory}: the store is closed"]


def test_metrics(tmp_path: Path) -> None:
    memory = StoreMemory(cache_bytes=4 << 20, buffer_bytes=8 << 20)
    with contextlib.closing(Store(tmp_path / "a", memory)) as a, contextlib.closing(Store(tmp_path / "b", memory)) as b:
        put(a, scattered(10_000))
        m = a.metrics(STORE_METRICS)
        levels = {f"{STORE_BY_LEVEL}{i}" for i in range(STORE_LEVELS)}
        assert set(m) == {*STORE_PROPERTIES, *levels} - {STORE_BY_LEVEL}
        assert m["num-files-at-level0"] == 0
        assert m["estimate-num-keys"] == m["num-entries-active-mem-table"] == 10_000
        assert m["cur-size-all-mem-tables"] > 300_000 and m["total-sst-files-size"] == 0 == m["background-errors"]
        a.flush()
        got(a, list(scattered(10_000)))
        m = a.metrics(STORE_METRICS)
        assert m["total-sst-files-size"] == sum(f.stat().st_size for f in (tmp_path / "a").glob("*" + SST)) > 0
        assert m["num-files-at-level0"] == 1 and a.metrics(["num-snapshots"]) == {"num-snapshots": 0}
        assert m["num-entries-active-mem-table"] == 0 and m["num-live-versions"] == 1
        assert b.metrics(STORE_METRICS)["block-cache-usage"] == m["block-cache-usage"] > 100_000  # one cache
        assert m["block-cache-capacity"] == 4 << 20


def test_statistics(tmp_path: Path) -> None:
    """What RocksDB counts is what was asked of it; without the setting it counts nothing."""
    memory = StoreMemory(cache_bytes=4 << 20, buffer_bytes=8 << 20)
    rows = scattered(10_000)
    with contextlib.closing(Store(tmp_path / "a", memory, StoreSettings(statistics=True))) as a:
        put(a, rows)
        m = a.metrics(STORE_STATISTICS)
        assert set(m) == set(STORE_STATISTICS)
        assert m["bytes-written"] > sum(len(k) + len(v) for k, v in rows.items()) and m["block-cache-hit"] == 0
        a.flush()
        got(a, list(rows))
        m = a.metrics(STORE_STATISTICS)
        assert m["bytes-read"] == sum(len(v) for v in rows.values())
        assert m["block-cache-miss"] > 0 and m["block-cache-hit"] > m["block-cache-miss"]
        got(a, [b"not there" + bytes([i]) for i in range(200)])
        assert a.metrics(["bloom-filter-useful"])["bloom-filter-useful"] > 150
    with contextlib.closing(Store(tmp_path / "b", memory)) as b:
        put(b, rows)
        assert b.metrics(STORE_STATISTICS) == {}


@pytest.mark.parametrize(
    "settings", [SMALL, StoreSettings(block_bytes=1 << 15, compression=("none", "zstd"), filter_bits=0, read_threads=1)]
)
def test_settings_hold_for_what_is_opened_again(tmp_path: Path, settings: StoreSettings) -> None:
    some = scattered(20_000)
    for _ in range(3):
        with contextlib.closing(Store(tmp_path / "store", settings=settings)) as store:
            put(store, some)
            assert got(store, list(some)) == list(some.values())
    options = max((tmp_path / "store").glob("OPTIONS-*")).read_text()
    assert f"write_buffer_size={settings.write_buffer_bytes}" in options
    assert f"block_size={settings.block_bytes}" in options
    assert f"target_file_size_base={settings.file_bytes}" in options
