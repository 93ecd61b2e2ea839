"""Compressed files: checked to the end, and read alike by readers and batch relations."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from connector_cases import file_table, read, relation, schema, source_of, whole

from sqlstream.connectors.relation import first_error
from sqlstream.errors import SqlStreamError
from sqlstream.types import INT

A = schema(("a", INT))
LINES = b"".join(b'{"a":%d}\n' % i for i in range(20_000))


def answers(path: Path) -> tuple[object, object]:
    """Rows or error, of the reader and of batch."""
    tab = file_table(path, A, format="json")
    out: list[object] = []
    try:
        out.append(read(tab)[0])
    except SqlStreamError as e:
        out.append(e.message)
    try:
        out.append(relation(tab))
    except (duckdb.Error, SqlStreamError):
        error = first_error(source_of(tab), whole(A))
        out.append(error.message if error else None)
    return out[0], out[1]


@pytest.mark.parametrize("codec", ["gz", "zst", "bz2"])
def test_whole(codec: str, tmp_path: Path) -> None:
    name = {"gz": "gzip", "zst": "zstd", "bz2": "bz2"}[codec]
    with pa.CompressedOutputStream(str(tmp_path / f"f.{codec}"), name) as out:
        out.write(LINES)
    rows = [(i,) for i in range(20_000)]
    assert answers(tmp_path / f"f.{codec}") == (rows, rows)


def test_two_members(tmp_path: Path) -> None:
    (tmp_path / "f.gz").write_bytes(gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"a":2}\n'))
    assert answers(tmp_path / "f.gz") == ([(1,), (2,)], [(1,), (2,)])


@pytest.mark.parametrize("damage", ["checksum", "length", "cut", "cut in the head", "not gzip"])
def test_damaged(damage: str, tmp_path: Path) -> None:
    data = bytearray(gzip.compress(LINES))
    if damage == "checksum":
        data[-8] ^= 1
    elif damage == "length":
        data[-2] ^= 1
    else:
        data = {"cut": data[:-20], "cut in the head": data[:5], "not gzip": bytearray(LINES)}[damage]
    path = tmp_path / "f.json.gz"
    path.write_bytes(data)
    of_reader, of_batch = answers(path)
    assert isinstance(of_reader, str) and str(path) in of_reader, of_reader
    assert of_batch == of_reader


@pytest.mark.parametrize("codec", ["gz", "zst", "bz2"])
def test_of_no_bytes(codec: str, tmp_path: Path) -> None:
    """As an empty file: no rows."""
    (tmp_path / f"f.{codec}").touch()
    assert answers(tmp_path / f"f.{codec}") == ([], [])


@pytest.mark.parametrize("codec", ["zst", "bz2"])
def test_cut(codec: str, tmp_path: Path) -> None:
    with pa.CompressedOutputStream(str(tmp_path / "whole"), {"zst": "zstd", "bz2": "bz2"}[codec]) as out:
        out.write(LINES)
    (tmp_path / f"f.{codec}").write_bytes((tmp_path / "whole").read_bytes()[:-20])
    of_reader, of_batch = answers(tmp_path / f"f.{codec}")
    assert isinstance(of_reader, str) and f"f.{codec}" in of_reader
    assert of_batch == of_reader


def test_what_is_no_archive_has_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "f.json.gz"
    path.write_bytes(LINES)
    with pytest.raises(SqlStreamError) as refused:
        read(file_table(path, A, format="json"))
    assert str(path) in refused.value.message
    assert refused.value.hint is not None and "it is no gzip file, or damaged" in refused.value.hint
