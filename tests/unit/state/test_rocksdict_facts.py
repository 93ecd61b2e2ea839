"""What DESIGN.md says of rocksdict and we rely on. A failure here after an upgrade says what to change."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import rocksdict

from sqlstream.errors import CheckpointError
from sqlstream.state.rocks import RocksStore, write_sst

ROWS = [(f"key-{i:06d}".encode(), os.urandom(40)) for i in range(5000)]


def block(rows: list) -> list:
    return [([k for k, _ in rows], [v for _, v in rows])]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(bytes(data))


def raw() -> rocksdict.Options:
    return rocksdict.Options(raw_mode=True)


def test_later_files_win_and_tombstones_delete(tmp_path: Path) -> None:
    assert write_sst(tmp_path / "a.sst", block(ROWS)) == 5000
    assert write_sst(tmp_path / "b.sst", block([(ROWS[0][0], b"new"), (ROWS[1][0], None), (b"zz", None)])) == 3
    with RocksStore(tmp_path / "db") as store:
        store.ingest([tmp_path / "a.sst", tmp_path / "b.sst"])
        got = [(k, v) for keys, values in store.scan(b"") for k, v in zip(keys, values, strict=True)]
        assert got == [(ROWS[0][0], b"new"), *ROWS[2:]]
        assert store.get_many([ROWS[0][0], ROWS[1][0], b"nothing"]) == [b"new", None, None]
        part = [k for keys, _ in store.scan(ROWS[10][0], ROWS[20][0]) for k in keys]
        assert part == [k for k, _ in ROWS[10:20]]
    assert (tmp_path / "a.sst").exists()  # ingesting copies: the chain stays


def test_plain_iteration_hides_corruption_and_ours_does_not(tmp_path: Path) -> None:
    write_sst(tmp_path / "a.sst", block(ROWS))
    flip(tmp_path / "a.sst", os.path.getsize(tmp_path / "a.sst") // 2)
    db = rocksdict.Rdict(str(tmp_path / "plain"), raw())
    db.ingest_external_file([str(tmp_path / "a.sst")])
    assert len(list(db.keys())) < 5000  # no error
    db.close()
    with RocksStore(tmp_path / "db") as store:
        store.ingest([tmp_path / "a.sst"])
        with pytest.raises(CheckpointError, match=r"(?i)corrupt|checksum"):
            for _ in store.scan(b""):
                pass


@pytest.mark.parametrize("cut", [0, 10, 5000])
def test_a_truncated_file_is_an_error(tmp_path: Path, cut: int) -> None:
    write_sst(tmp_path / "a.sst", block(ROWS))
    data = (tmp_path / "a.sst").read_bytes()
    (tmp_path / "a.sst").write_bytes(data[:cut])
    with RocksStore(tmp_path / "db") as store, pytest.raises(CheckpointError, match="a.sst"):
        store.ingest([tmp_path / "a.sst"])


def test_no_rows_no_file(tmp_path: Path) -> None:
    assert write_sst(tmp_path / "a.sst", []) == write_sst(tmp_path / "a.sst", [([], [])]) == 0
    assert not (tmp_path / "a.sst").exists()


def test_keys_must_ascend(tmp_path: Path) -> None:
    for keys in ([b"b", b"a"], [b"a", b"a"]):
        with pytest.raises(CheckpointError, match="ascending"):
            write_sst(tmp_path / "a.sst", [(keys, [b"", b""])])
        assert not (tmp_path / "a.sst").exists()


def test_a_store_is_fresh(tmp_path: Path) -> None:
    with RocksStore(tmp_path / "db"):
        pass
    with pytest.raises(CheckpointError, match="exists"):
        RocksStore(tmp_path / "db")


def test_files_of_a_database_cannot_be_ingested(tmp_path: Path) -> None:
    db = rocksdict.Rdict(str(tmp_path / "db"), raw())
    db[b"a"] = b"1"
    db.flush()
    (sst,) = tmp_path.glob("db/*.sst")
    with RocksStore(tmp_path / "other") as store, pytest.raises(CheckpointError, match="version"):
        store.ingest([sst])
    db.close()


def test_empty_keys_and_values_and_a_megabyte(tmp_path: Path) -> None:
    rows = [(b"", b""), (b"\0", b"x" * (1 << 20)), (b"\xff" * 1000, b"")]
    write_sst(tmp_path / "a.sst", block(rows))
    with RocksStore(tmp_path / "db") as store:
        store.ingest([tmp_path / "a.sst"])
        got = [(k, v) for keys, values in store.scan(b"") for k, v in zip(keys, values, strict=True)]
    assert got == rows


def test_without_the_log_what_was_not_flushed_is_gone(tmp_path: Path) -> None:
    """Why a store is never opened again: only the files that it was made from survive."""
    script = f"""
import os, signal, rocksdict
db = rocksdict.Rdict({str(tmp_path / "db")!r}, rocksdict.Options(raw_mode=True))
w = rocksdict.WriteOptions(); w.disable_wal = True; db.set_write_options(w)
db[b"a"] = b"1"
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    db = rocksdict.Rdict(str(tmp_path / "db"), raw())
    assert db.get(b"a") is None
    db.close()
