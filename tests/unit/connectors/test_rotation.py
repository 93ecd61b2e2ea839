"""Files that are renamed, cut, replaced, deleted and compressed while they are watched: each row once. A clock by hand."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from connector_cases import file_table, schema, source_of, whole

from sqlstream.contracts import Split
from sqlstream.errors import CheckpointError
from sqlstream.types import INT

A = schema(("a", INT))


class Reading:
    """A job over a growing source, without the job: polls all splits, and can be stopped and resumed."""

    def __init__(self, path: Path | str, **options: str) -> None:
        self.path, self.options = path, options
        self.now = 0.0
        self.rows: list[int] = []
        self.said: list[str] = []
        self.splits: list[Split] = []
        self.positions: dict[str, Any] = {}
        self.finished: set[str] = set()
        self.begin()

    def begin(self) -> None:
        options = {"format": "json", **self.options}
        self.source: Any = source_of(file_table(self.path, A, source_monitor__interval="1 s", **options))
        self.source.clock = lambda: self.now
        self.now += 1
        found = self.source.splits(tuple(self.splits), self.positions, self.finished)
        assert found[: len(self.splits)] == self.splits
        self.readers: dict[str, Any] = {}
        self._add(found)

    def _add(self, splits: list[Split]) -> None:
        for s in splits:
            if s not in self.splits:
                self.splits.append(s)
            if s.id not in self.finished:
                position = self.positions.get(s.id)
                self.readers[s.id] = self.source.reader(s, position, whole(A), position["row"] if position else 0)
        numbers = [s.number for s in self.splits]
        assert numbers == sorted(set(numbers))
        assert len({s.id for s in self.splits}) == len(self.splits)

    def look(self, times: int = 4, batch: int = 100) -> list[int]:
        """The rows that came in so many looks."""
        before = len(self.rows)
        for _ in range(times):
            self.now += 1
            self._add(self.source.new_splits())
            for key, reader in list(self.readers.items()):
                while (got := reader.poll(batch)) is not None:
                    assert got.first_row == (self.positions[key]["row"] if key in self.positions else 0)
                    self.rows += got.batch.column(0).to_pylist()
                    self.positions[key] = json.loads(json.dumps(got.position))
                if reader.finished:
                    del self.readers[key]
                    self.finished.add(key)
            self.said += self.source.notes()
        return self.rows[before:]

    def resume(self) -> None:
        """Stopped, and begun anew from what a checkpoint keeps. Files that are gone are forgotten by it."""
        self.begin()


def rows(*numbers: int) -> str:
    return "".join(f'{{"a":{n}}}\n' for n in numbers)


def append(path: Path, *numbers: int) -> None:
    with path.open("a") as f:
        f.write(rows(*numbers))


def renamed(log: Path) -> None:
    log.rename(log.with_name("app.log.1"))


def recreated(log: Path) -> None:
    renamed(log)
    log.write_text("")


def copied_and_cut(log: Path) -> None:
    shutil.copy(log, log.with_name("app.log.1"))
    os.truncate(log, 0)


def deleted(log: Path) -> None:
    log.unlink()


def compressed(log: Path) -> None:
    log.with_name("app.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()


def in_place(log: Path) -> None:
    """As editors do: a new file with the old content, renamed over the old one."""
    new = log.with_name("_new")
    new.write_bytes(log.read_bytes())
    new.rename(log)


def linked(log: Path) -> None:
    os.link(log, log.with_name("app.log.1"))
    log.unlink()


def into_a_directory(log: Path) -> None:
    (log.parent / "old").mkdir()
    log.rename(log.parent / "old" / "app.log")


WAYS = [renamed, recreated, copied_and_cut, deleted, compressed, in_place, linked, into_a_directory]


@pytest.mark.parametrize("while_down", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [2, 200])  # less than a fingerprint, and more
def test_each_row_once(way: Callable[[Path], None], while_down: bool, count: int, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    append(log, *range(count))
    reading = Reading(tmp_path)
    assert reading.look() == list(range(count))
    way(log)
    if while_down:
        reading.resume()
    assert reading.look() == []
    append(log, 1001, 1002)
    assert reading.look() == [1001, 1002]
    reading.resume()
    append(log, 1003)
    assert reading.look() == [1003]
    assert reading.said == []


@pytest.mark.parametrize("way", [renamed, copied_and_cut, compressed, linked, in_place])
@pytest.mark.parametrize("count", [3, 300])
def test_what_was_not_read_yet_is_read_under_the_new_name(
    way: Callable[[Path], None], count: int, tmp_path: Path
) -> None:
    """The job is down while rows are appended and the file is rotated."""
    log = tmp_path / "app.log"
    append(log, *range(count))
    reading = Reading(tmp_path)
    reading.look()
    append(log, 1000, 1001)
    way(log)
    reading.resume()
    assert reading.look() == [1000, 1001]
    assert reading.said == []


def test_rotated_many_times(tmp_path: Path) -> None:
    """logrotate: app.log -> app.log.1 -> app.log.2.gz, the last one deleted."""
    reading = Reading(tmp_path)
    log = tmp_path / "app.log"
    rnd = random.Random(1)
    written = 0
    for i in range(40):
        for _ in range(rnd.randrange(1, 4)):
            append(log, *range(written, written := written + rnd.randrange(1, 30)))
            if rnd.random() < 0.7:
                reading.look(1, batch=rnd.choice([1, 7, 100]))
        if i % 4 == 3:
            (tmp_path / "app.log.2.gz").unlink(missing_ok=True)
            reading.look(4)
            if (one := tmp_path / "app.log.1").exists():
                (tmp_path / "app.log.2.gz").write_bytes(gzip.compress(one.read_bytes()))
                one.unlink()
            log.rename(one)
        if rnd.random() < 0.3:
            reading.resume()
    assert sorted(reading.rows + reading.look(6)) == list(range(written)), reading.said
    assert reading.said == []


@pytest.mark.parametrize("text", [rows(9), rows(8, 9), rows(8, 9, 3)])
@pytest.mark.parametrize("while_down", [False, True])
def test_other_content_in_the_same_file_is_a_new_file(text: str, while_down: bool, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    append(path, 1, 2)
    reading = Reading(path)
    reading.look()
    path.write_text(text)
    os.utime(path, ns=(1, 1))
    if while_down:
        reading.resume()
    assert "".join(rows(n) for n in reading.look()) == text
    append(path, 77)
    assert reading.look() == [77]


def test_files_that_begin_alike_are_all_read(tmp_path: Path) -> None:
    for name in "abc":
        append(tmp_path / name, *range(100))
    reading = Reading(tmp_path)
    assert sorted(reading.look()) == sorted([*range(100)] * 3)
    shutil.copy(tmp_path / "a", tmp_path / "d")  # nothing happens to a: it is a file of its own
    append(tmp_path / "d", 500)
    assert reading.look() == [*range(100), 500]
    append(tmp_path / "b", 501)
    assert reading.look() == [501]


def packed(name: str, *numbers: int) -> bytes:
    """A file that cannot grow, as its name says."""
    if name.endswith(".gz"):
        return gzip.compress(rows(*numbers).encode())
    out = io.BytesIO()
    pq.write_table(pa.table({"a": pa.array(numbers, pa.int32())}), out)
    return out.getvalue()


@pytest.mark.parametrize("name", ["a.json.gz", "a.parquet"])
@pytest.mark.parametrize("while_down", [False, True])
def test_an_inode_that_is_used_again_is_no_file_that_was_read(name: str, while_down: bool, tmp_path: Path) -> None:
    """Most file systems give the number of a file that was deleted to the next one."""
    a, b = tmp_path / name, tmp_path / f"b{name}"
    a.write_bytes(packed(name, 1, 2))
    reading = Reading(tmp_path, format="parquet" if name.endswith("parquet") else "json")
    assert reading.look() == [1, 2]
    a.rename(b)
    assert reading.look() == []
    b.write_bytes(packed(name, 3, 4))  # the same inode
    if while_down:
        reading.resume()
    assert reading.look() == [3, 4]
    os.utime(b)
    if while_down:
        reading.resume()
    assert reading.look() == []
    other = tmp_path / "new"
    other.write_bytes(packed(name, 5))
    other.rename(b)  # the same name
    if while_down:
        reading.resume()
    assert reading.look() == [5]
    assert reading.said == []


def test_rows_appended_to_an_archive_that_was_read_are_said_to_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(packed(path.name, 1))
    reading = Reading(tmp_path)
    assert reading.look() == [1]
    with path.open("ab") as f:
        f.write(packed(path.name, 2))
    assert reading.look() == []
    (said,) = reading.said
    assert "a.json.gz grew after it was read" in said and "left out" in said


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("pause", [1, 3])
def test_a_copy_that_takes_long_is_none_until_it_is_complete(pack: bool, pause: int, tmp_path: Path) -> None:
    """Of copytruncate, or of gzip: the original is there until the copy is complete."""
    log, copy = tmp_path / "app.log", tmp_path / ("app.log.1.gz" if pack else "app.log.1")
    append(log, *range(1000))
    reading = Reading(tmp_path)
    assert reading.look() == list(range(1000))
    data = log.read_bytes() if not pack else gzip.compress(log.read_bytes())
    for end in range(0 if pack or pause == 1 else 500, len(data), len(data) // 5 + 1):
        copy.write_bytes(data[:end])
        assert reading.look(pause) == []
    copy.write_bytes(data)
    log.unlink() if pack else os.truncate(log, 0)
    assert reading.look() == []
    append(log, 1000)
    assert reading.look() == [1000]
    assert reading.said == []


def test_a_beginning_of_another_file_is_read_when_nobody_writes_it(tmp_path: Path) -> None:
    append(tmp_path / "a", *range(100))
    reading = Reading(tmp_path)
    reading.look()
    append(tmp_path / "b", *range(50))
    assert reading.look(20) == list(range(50))


def test_a_link_is_followed_to_what_it_leads_to_now(tmp_path: Path) -> None:
    """As those of a directory of logs of containers."""
    place, links = tmp_path / "place", tmp_path / "links"
    place.mkdir(), links.mkdir()
    append(place / "app", 1)
    (links / "app.log").symlink_to(place / "app")
    (links / "later.log").symlink_to(place / "later")
    reading = Reading(links)
    assert reading.look() == [1]
    (place / "app").rename(place / "app.1")
    append(place / "app", 2)
    assert reading.look() == [2]
    (place / "app").unlink()
    assert reading.look() == []
    append(place / "app", 3)
    append(place / "later", 4)
    assert sorted(reading.look()) == [3, 4]


def test_a_copied_directory_resumes(tmp_path: Path) -> None:
    """All inodes differ, and so does the device after a restart of the machine."""
    before, after = tmp_path / "one", tmp_path / "two"
    before.mkdir()
    append(before / "a", *range(100))
    append(before / "b", 1)
    (before / "c").write_text("")
    reading = Reading(before)
    reading.look()
    shutil.copytree(before, after)
    shutil.rmtree(before)
    after.rename(before)
    reading.resume()
    append(before / "a", 200)
    append(before / "c", 201)
    assert reading.look() == [200, 201]
    assert reading.said == []


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    append(a, *range(50))
    reading = Reading(tmp_path)
    reader = reading.readers[reading.splits[0].id]
    got = reader.poll(10)
    reading.positions[reading.splits[0].id] = got.position  # and the job ends
    append(b, 1)
    a.unlink()
    reading.resume()
    assert reading.look() == [1]
    (said,) = reading.said
    assert str(a) in said and "bytes are lost" in said
    with b.open("a") as f:
        f.write('{"a":')
    reading.look()
    b.unlink()
    reading.look()
    assert "b.json was deleted or replaced before it was read to its end: the last 5 of its 13 bytes" in reading.said[1]
    assert reading.source._watch.files == {}  # nothing is remembered of what is gone


@pytest.mark.parametrize("name", ["a.json.gz", "a.json.bz2"])
def test_an_archive_waits_until_it_is_whole(name: str, tmp_path: Path) -> None:
    pack = gzip.compress if name.endswith("gz") else bz2.compress
    data = pack(rows(*range(5000)).encode())
    path = tmp_path / name
    path.write_bytes(b"")
    reading = Reading(tmp_path)
    for end in (3, 40, len(data) // 2, len(data) - 3):
        path.write_bytes(data[:end])
        os.utime(path, ns=(end, end))
        assert reading.look() == []
    path.write_bytes(data)
    assert reading.look() == list(range(5000))
    assert len(reading.finished) == 1
    reading.resume()
    assert reading.look() == []
    path.unlink()
    reading.look()
    assert reading.said == []


def test_a_parquet_file_waits_until_it_is_whole(tmp_path: Path) -> None:
    data = packed("a.parquet", *range(100))
    path = tmp_path / "a.parquet"
    reading = Reading(tmp_path, format="parquet")
    for end in (0, 4, 100):
        path.write_bytes(data[:end])
        os.utime(path, ns=(end, end))
        assert reading.look() == []
    path.write_bytes(data)
    assert reading.look() == list(range(100))


def test_a_header_that_is_half_written_waits(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("")
    reading = Reading(tmp_path, format="csv", csv_header="true")
    for text, expected in (("\ufeff", []), ("a", []), ("\r", []), ("\n1", []), ("2\n", [12])):
        with path.open("a", newline="") as f:
            f.write(text)
        assert reading.look() == expected


def test_an_unreadable_directory_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "a-secret"
    secret.mkdir()
    append(secret / "x.json", 1)
    scandir = os.scandir
    closed = True

    def refusing(path: Any) -> Any:  # root reads everything, so permissions alone do not show it
        if closed and str(path) == str(secret):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    monkeypatch.setattr("sqlstream.connectors.filesystem.find_files", lambda *a: [])
    append(tmp_path / "b.json", 2)
    reading = Reading(tmp_path)
    assert reading.look() == [2]
    append(tmp_path / "c.json", 3)
    assert reading.look() == [3]
    assert len(reading.said) == 1 and str(secret) in reading.said[0] and "Permission denied" in reading.said[0]
    closed = False
    assert reading.look() == [1]


def test_remote_files_are_rotated() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe("/rotation/a.json", rows(*range(100)).encode())
    reading = Reading("memory://rotation")
    assert reading.look() == list(range(100))
    fs.mv("/rotation/a.json", "/rotation/a.1.json")
    assert reading.look() == []
    fs.pipe("/rotation/a.json", rows(200).encode())
    fs.pipe("/rotation/a.1.json", rows(*range(100), 201).encode())
    assert sorted(reading.look()) == [200, 201]
    reading.resume()
    fs.pipe("/rotation/b.json", rows(300).encode())
    assert reading.look() == [300]
    assert reading.said == []


# ---- bounded files


def test_a_bounded_file_that_is_replaced_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    append(path, *range(1000))
    source: Any = source_of(file_table(tmp_path, A, format="json"))
    known = tuple(Split(s.id, json.loads(json.dumps(s.info)), s.number) for s in source.splits())
    assert source.splits(known) == list(known)
    os.utime(path, ns=(1, 1))  # touched, not changed
    assert source.splits(known) == list(known)
    append(tmp_path / "b.json", 1)  # what came later is no part of the job
    assert source.splits(known) == list(known)
    path.write_text(rows(*range(1, 1001))[: path.stat().st_size])
    with pytest.raises(CheckpointError, match=r"table t: .*a\.json is not the file that the checkpoint has read") as e:
        source.splits(known)
    assert e.value.hint
    append(path, 1)
    with pytest.raises(CheckpointError):
        source.splits(known)
    path.unlink()
    assert source.splits(known) == list(known)
