"""Files that grow: appended bytes, incomplete lines, replaced files, resumption. A clock by hand; no sleeping."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import fsspec
import pytest
from connector_cases import file_table, schema, source_of, whole

from sqlstream.contracts import Source, SplitReader
from sqlstream.errors import DataError
from sqlstream.types import INT, STRING

A = schema(("a", INT))


class HandClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def watching(path: Path | str, **options: str) -> tuple[Source, HandClock]:
    options.setdefault("format", "json")
    columns = schema(("a", INT), ("b", STRING)) if options["format"] == "csv" else A
    source: Any = source_of(file_table(path, columns, source_monitor__interval="1 s", **options))
    source.clock = HandClock()
    return source, source.clock


def drain(reader: SplitReader, clock: HandClock, batch: int = 100) -> tuple[list[int], Any]:
    """All that is there now, and the position after it."""
    clock.now += 1
    rows: list[int] = []
    position = None
    while (got := reader.poll(batch)) is not None:
        rows += got.batch.column(0).to_pylist()
        position = got.position
    assert not reader.finished
    return rows, position


def test_appended_bytes_and_incomplete_lines(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"a":1}\n{"a":2}\n{"a')
    source, clock = watching(path)
    assert not source.bounded
    (split,) = source.splits()
    reader = source.reader(split, None, whole(A))
    assert drain(reader, clock)[0] == [1, 2]
    assert drain(reader, clock)[0] == []
    with path.open("a") as f:
        f.write('":3}')
    assert drain(reader, clock)[0] == []
    with path.open("a") as f:
        f.write('\n{"a":4}\n')
    rows, position = drain(reader, clock)
    assert rows == [3, 4]
    assert position["row"] == 4 and position["byte"] == 32 and position["line"] == 5


def test_interval_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"a":1}\n')
    source, clock = watching(path)
    (split,) = source.splits()
    reader = source.reader(split, None, whole(A))
    assert drain(reader, clock)[0] == [1]
    with path.open("a") as f:
        f.write('{"a":2}\n')
    assert reader.poll(10) is None  # looked just now
    clock.now += 0.5
    assert reader.poll(10) is None
    clock.now += 0.6
    assert reader.poll(10) is not None


def test_new_files(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text('{"a":1}\n')
    source, clock = watching(tmp_path)
    known = source.splits()
    (tmp_path / "a.json").write_text('{"a":2}\n')
    assert source.new_splits() == []  # within the interval
    clock.now += 2
    (new,) = source.new_splits()
    assert [Path(s.info["path"]).name for s in (*known, new)] == ["b.json", "a.json"]
    assert new.number == known[0].number + 1
    clock.now += 2
    assert source.new_splits() == []


def test_deleted_after_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"a":1}\n')
    source, clock = watching(path)
    (split,) = source.splits()
    reader = source.reader(split, None, whole(A))
    _, position = drain(reader, clock)
    path.unlink()
    again, later = watching(path)
    assert again.splits((split,), {split.id: position}) == [split]
    for r, c in ((reader, clock), (again.reader(split, position, whole(A)), later)):
        for _ in range(5):
            c.now += 1
            assert r.poll(10) is None
        assert r.finished
    assert source.notes() == again.notes() == []  # nothing of it is lost


def test_malformed_line_has_its_number(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"a":1}\n\n')
    source, clock = watching(path)
    (split,) = source.splits()
    reader = source.reader(split, None, whole(A))
    drain(reader, clock)
    with path.open("a") as f:
        f.write('{"a":2}\n{"a":2.5}\n')
    with pytest.raises(DataError, match="line 4.*2.5 is not a INT"):
        drain(reader, clock)
    ignoring, clock = watching(path, json_ignore__parse__errors="true")
    (split,) = ignoring.splits()
    reader = ignoring.reader(split, None, whole(A))
    assert drain(reader, clock)[0] == [1, 2]
    assert reader.skipped_records == 1


def test_byte_order_mark_and_long_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlstream.connectors.growing.BLOCK", 16)
    path = tmp_path / "f.json"
    path.write_bytes(b"\xef\xbb")
    source, clock = watching(path)
    (split,) = source.splits()
    reader = source.reader(split, None, whole(A))
    assert drain(reader, clock)[0] == []
    path.write_bytes(b'\xef\xbb\xbf{"a":1,"z":"' + b"x" * 500 + b'"}\n{"a":2}\n')
    assert drain(reader, clock)[0] == [1, 2]


@pytest.mark.parametrize("seed", range(3))
def test_any_appends_any_batches_any_restarts(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlstream.connectors.growing.BLOCK", 120)
    rnd = random.Random(seed)
    text, rows = "", []
    for i in range(150):
        if rnd.random() < 0.1:
            text += rnd.choice(["\n", "bad\n", '{"a":true}\n'])
        else:
            text += f'{{"a":{i}}}\n'
            rows.append(i)
    data = text.encode()
    path = tmp_path / "f.json"
    path.write_bytes(b"")
    source, clock = watching(path, json_ignore__parse__errors="true")
    (split,) = source.splits()
    position: Any = None
    reader = source.reader(split, None, whole(A))
    got: list[int] = []
    written = 0
    while written < len(data) or len(got) < len(rows):
        step = min(rnd.randrange(0, 200), len(data) - written)
        with path.open("ab") as f:
            f.write(data[written : written + step])
        written += step
        for _ in range(rnd.randrange(1, 6)):
            clock.now += 1
            if (batch := reader.poll(rnd.randrange(1, 12))) is not None:
                assert batch.first_row == len(got)
                got += batch.batch.column(0).to_pylist()
                position = batch.position
        if rnd.random() < 0.2:
            reader = source.reader(split, position, whole(A))
    assert got == rows


def test_csv_waits_for_the_closing_quote(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text('1,x\n2,"y\n')
    source, clock = watching(path, format="csv")
    (split,) = source.splits()
    request = whole(schema(("a", INT), ("b", STRING)))
    reader = source.reader(split, None, request)
    assert drain(reader, clock)[0] == [1]
    with path.open("a") as f:
        f.write('z"\n3,q\n')
    assert drain(reader, clock)[0] == [2, 3]


def test_compressed_files_are_read_once(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "f.json.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n{"a":2}\n'))
    source, clock = watching(path)
    (split,) = source.splits()
    reader = source.reader(split, None, whole(A))
    rows = []
    while not reader.finished:
        if (got := reader.poll(10)) is not None:
            rows += got.batch.column(0).to_pylist()
    assert rows == [1, 2]
    reader.close()


def test_remote_file_that_grows() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe("/growing/f.json", b'{"a":1}\n{"a')
    source, clock = watching("memory://growing/f.json")
    (split,) = source.splits()
    reader = source.reader(split, None, whole(A))
    assert drain(reader, clock)[0] == [1]
    fs.pipe("/growing/f.json", b'{"a":1}\n{"a":2}\n')
    assert drain(reader, clock)[0] == [2]


def test_all_there_was_is_said_so_and_the_rest_waits_for_the_next_look(tmp_path: Path) -> None:
    """Else a file that is always appended to would be read on for as long as an epoch may read."""
    path = tmp_path / "f.json"
    path.write_text('{"a":1}\n{"a":2}\n{"a":3}\n')
    source, clock = watching(path)
    (split,) = source.splits()
    reader = source.reader(split, None, whole(A))
    first = reader.poll(2)
    assert first is not None and not first.drained  # the third row is waiting
    second = reader.poll(2)
    assert second is not None and second.drained
    with path.open("a") as f:
        f.write('{"a":4}\n')
    assert reader.poll(2) is None
    clock.now += 1
    third = reader.poll(2)
    assert third is not None and third.drained
