"""Which files a path means, their metadata, remote ones, and the errors of paths."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path

import fsspec
import pytest
from connector_cases import file_table, read, read_from, read_positions, relation, schema, source_of, whole

from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.errors import DataError, OptionError, RunError
from sqlstream.types import BIGINT, INT, STRING, timestamp_ltz

A = schema(("a", INT))


def put(path: Path, *numbers: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f'{{"a":{n}}}\n' for n in numbers))
    return path


def test_directory_in_depth_sorted_without_hidden(tmp_path: Path) -> None:
    put(tmp_path / "d" / "b.json", 2)
    put(tmp_path / "d" / "a.json", 1)
    put(tmp_path / "d" / "c" / "x.json", 3)
    put(tmp_path / "d" / "_staging" / "x.json", 9)
    put(tmp_path / "d" / ".hidden.json", 9)
    put(tmp_path / "d" / "_SUCCESS", 9)
    (tmp_path / "d" / "empty.json").write_text("")
    tab = file_table(tmp_path / "d", A, format="json")
    splits = source_of(tab).splits()
    assert [s.number for s in splits] == list(range(len(splits)))
    assert read(tab)[0] == relation(tab) == [(1,), (2,), (3,)]


def test_globs_and_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "x1.json", 1)
    put(tmp_path / "x2.json", 2)
    put(tmp_path / "y.json", 3)
    put(tmp_path / "[z].json", 4)
    monkeypatch.chdir(tmp_path)
    for path, rows in (("x*.json", [1, 2]), ("x[2].json", [2]), ("[z].json", [4]), ("./y.json", [3])):
        tab = file_table(path, A, format="json")
        assert read(tab)[0] == relation(tab) == [(n,) for n in rows]
    assert read(file_table(f"file://{tmp_path}/y.json", A, format="json"))[0] == [(3,)]


def test_empty_directory(tmp_path: Path) -> None:
    tab = file_table(tmp_path, A, format="json")
    assert read(tab)[0] == relation(tab) == []


@pytest.mark.parametrize("name", ["none.json", "none/none.json", "none*.json"])
def test_missing(name: str, tmp_path: Path) -> None:
    tab = file_table(tmp_path / name, A, format="json")
    for way in (read, relation):
        with pytest.raises(DataError, match="none") as e:
            way(tab)
        assert e.value.hint and str(tmp_path) in str(e.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(tmp_path: Path) -> None:
    path = put(tmp_path / "f.json", 1)
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        read(file_table(path, A, format="json"))


def test_unreadable_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "f.json", 1)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sqlstream.connectors.paths._find_local", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read(file_table(path, A, format="json"))


def test_deleted_between_listing_and_reading(tmp_path: Path) -> None:
    path = put(tmp_path / "f.json", 1)
    source = source_of(file_table(path, A, format="json"))
    (split,) = source.splits()
    path.unlink()
    with pytest.raises(DataError, match="does not exist"):
        source.reader(split, None, whole(A))


def test_a_job_that_goes_on_reads_the_files_it_began_with(tmp_path: Path) -> None:
    put(tmp_path / "b.json", 2)
    source = source_of(file_table(tmp_path, A, format="json"))
    known = tuple(source.splits())
    put(tmp_path / "a.json", 1)
    assert source.splits(known) == list(known)
    assert [(s.id.rpartition("/")[2], s.number) for s in known] == [("b.json", 0)]


def test_metadata_columns(tmp_path: Path) -> None:
    put(tmp_path / "a.json", 1)
    put(tmp_path / "it's.json", 2)
    os.utime(tmp_path / "a.json", ns=(0, 1_500_000_000_123_456_789))
    request = ScanRequest(
        (
            ScanColumn(("$metadata", "file.name"), STRING),
            ScanColumn(("a",), INT),
            ScanColumn(("$metadata", "file.path"), STRING),
            ScanColumn(("$metadata", "file.size"), BIGINT),
            ScanColumn(("$metadata", "file.modification-time"), timestamp_ltz(3)),
        )
    )
    tab = file_table(tmp_path, A, format="json")
    rows = read(tab, request)[0]
    assert rows == relation(tab, request)
    assert [r[:4] for r in rows] == [
        ("a.json", 1, str(tmp_path / "a.json"), 8),
        ("it's.json", 2, str(tmp_path / "it's.json"), 8),
    ]
    assert rows[0][4].isoformat() == "2017-07-14T02:40:00.123000+00:00"
    one = file_table(tmp_path / "a.json", A, format="json")
    assert read(one, request)[0] == relation(one, request) == rows[:1]


def test_many_splits_same_rows_in_every_way(tmp_path: Path) -> None:
    rnd = random.Random(3)
    n = 0
    for i in range(5):
        count = rnd.randrange(200)
        put(tmp_path / f"{i}.json", *range(n, n + count))
        n += count
    tab = file_table(tmp_path, A, format="json")
    assert read(tab, batch=lambda: rnd.randrange(1, 50))[0] == relation(tab) == [(i,) for i in range(n)]


def test_remote_files() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe("/bucket/in/a.json", b'{"a":1}\n{"a":2}\n')
    fs.pipe("/bucket/in/_x.json", b'{"a":9}\n')
    fs.pipe("/bucket/in/sub/b.json", b'{"a":3}\n')
    for path in ("memory://bucket/in", "memory://bucket/in/**"):
        tab = file_table(path, A, format="json")
        assert read(tab)[0] == relation(tab) == [(1,), (2,), (3,)]
    one = file_table("memory://bucket/in/a.json", A, format="json")
    position = read_positions(one, 1)[0][0]
    assert read_from(one, position) == [(2,)]
    with pytest.raises(DataError):
        read(file_table("memory://bucket/none.json", A, format="json"))


def test_unknown_scheme() -> None:
    with pytest.raises(OptionError) as e:
        read(file_table("nope://x/y", A, format="json"))
    assert e.value.hint


def test_sources_and_splits_pickle(tmp_path: Path) -> None:
    put(tmp_path / "a.json", 1)
    tab = file_table(tmp_path, A, format="json")
    source, splits = pickle.loads(pickle.dumps((source_of(tab), source_of(tab).splits())))
    reader = source.reader(splits[0], None, whole(A))
    got = reader.poll(10)
    assert got is not None and got.batch.num_rows == 1
    reader.close()


def test_closing_in_the_middle(tmp_path: Path) -> None:
    put(tmp_path / "a.json", *range(300_000))
    source = source_of(file_table(tmp_path, A, format="json"))
    (split,) = source.splits()
    reader = source.reader(split, None, whole(A))
    assert reader.poll(5) is not None
    reader.close()
    reader.close()
    assert reader.poll(5) is None


def test_io_error_while_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("sqlstream.connectors.paths._find_local", broken)
    with pytest.raises(RunError, match="Input/output error"):
        read(file_table(tmp_path, A, format="json"))
