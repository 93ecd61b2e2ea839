"""The file sink: staged, prepared, published once, cleaned; formats; and errors of the disk."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import connector_cases
import pyarrow as pa
import pytest
from connector_cases import file_table, read, schema

from sqlstream.connectors.registry import connector
from sqlstream.contracts import Sink, SinkTask, Stage, TableContext
from sqlstream.errors import CheckpointError, OptionError, RunError
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    INT,
    STRING,
    TIME,
    Schema,
    array,
    decimal,
    map_of,
    row,
    timestamp,
    timestamp_ltz,
)

A = schema(("a", BIGINT), ("b", STRING))
TASK = SinkTask("my job", "r1", 0)


def sink_of(path: Path | str, columns: Schema = A, **options: str) -> Sink:
    options.setdefault("format", "json")
    return connector_cases.sink_of(file_table(path, columns, **options))


def batch(*numbers: int) -> pa.RecordBatch:
    return pa.record_batch({"a": list(numbers), "b": [f"x{n}" for n in numbers]})


def published(path: Path) -> list[int]:
    return sorted(
        json.loads(line)["a"] for f in path.glob("part-*") if f.is_file() for line in f.read_text().splitlines()
    )


def test_nothing_is_visible_before_commit(tmp_path: Path) -> None:
    sink = pickle.loads(pickle.dumps(sink_of(tmp_path)))
    writer, committer = sink.writer(TASK), sink.committer(TASK)
    writer.write(batch(1, 2), None)
    writer.flush()
    assert published(tmp_path) == []
    first = json.loads(json.dumps(writer.prepare(1)))
    assert published(tmp_path) == [] and len(first) == 1
    writer.write(batch(3), None)  # the next checkpoint's rows do not get into the first
    committer.commit(first)
    assert published(tmp_path) == [1, 2]
    # relative to the path: a copied or moved directory publishes into itself
    assert first == [{"staged": "_staging/my~20job/part-r1-0-0.json", "final": "part-my~20job-r1-0-1-0.json"}]
    committer.commit(first)
    committer.commit(writer.prepare(2))
    assert published(tmp_path) == [1, 2, 3]
    assert writer.prepare(3) == []
    assert read(file_table(tmp_path, A, format="json"))[0] == [(1, "x1"), (2, "x2"), (3, "x3")]


def test_crash_before_the_checkpoint_leaves_nothing(tmp_path: Path) -> None:
    sink = sink_of(tmp_path)
    writer = sink.writer(TASK)
    writer.write(batch(1), None)
    first = writer.prepare(1)
    writer.write(batch(2), None)
    writer.prepare(2)  # prepared, but checkpoint 2 never completed; the process is gone
    again = SinkTask("my job", "r1", 0)
    committer = sink.committer(again)
    committer.commit(first)
    committer.abort()
    assert published(tmp_path) == [1]
    assert list((tmp_path / "_staging").rglob("part-*")) == []
    writer = sink.writer(again)
    writer.write(batch(2), None)
    committer.commit(writer.prepare(2))
    assert published(tmp_path) == [1, 2]


def test_clean_leaves_other_jobs_alone(tmp_path: Path) -> None:
    sink = sink_of(tmp_path)
    other = SinkTask("my job2", "r1", 0)
    writers = sink.writer(TASK), sink.writer(other)
    for w in writers:
        w.write(batch(1), None)
    mine, theirs = (w.prepare(1) for w in writers)
    sink.committer(TASK).commit(mine)
    sink.committer(TASK).abort()
    sink.committer(other).commit(theirs)
    assert published(tmp_path) == [1, 1]
    sink.committer(TASK).abort()
    assert published(tmp_path) == [1, 1]


def test_clean_leaves_other_runs_alone(tmp_path: Path) -> None:
    """Two unnamed jobs, or two of one name in different directories, may write into one path."""
    sink = sink_of(tmp_path)
    other = SinkTask(TASK.job, "r2", 0)
    writer = sink.writer(other)
    writer.write(batch(1), None)
    theirs = writer.prepare(1)
    sink.committer(TASK).abort()
    sink.committer(other).commit(theirs)
    assert published(tmp_path) == [1]


def test_close_publishes_nothing_and_removes_what_is_open(tmp_path: Path) -> None:
    sink = sink_of(tmp_path, sink_rolling__policy_file__size="1 kb")
    writer = sink.writer(TASK)
    for n in range(3):
        writer.write(batch(*range(n * 40_000, n * 40_000 + 40_000)), None)
    writer.close()
    assert published(tmp_path) == [] and list((tmp_path / "_staging").rglob("part-*")) == []


def test_rolling_by_size(tmp_path: Path) -> None:
    sink = sink_of(tmp_path, sink_rolling__policy_file__size="100 kb")
    writer = sink.writer(TASK)
    for n in range(3):
        writer.write(batch(*range(n * 40_000, n * 40_000 + 40_000)), None)
    done = writer.prepare(5)
    sink.committer(TASK).commit(done)
    assert [c["final"] for c in done] == [f"part-my~20job-r1-0-5-{i}.json" for i in range(3)]
    assert published(tmp_path) == list(range(120_000))


def test_lost_staged_file_is_an_error(tmp_path: Path) -> None:
    sink = sink_of(tmp_path)
    writer = sink.writer(TASK)
    writer.write(batch(1), None)
    done = writer.prepare(1)
    os.remove(tmp_path / done[0]["staged"])
    with pytest.raises(RunError, match="gone from"):
        sink.committer(TASK).commit(done)


def test_what_a_reader_took_away_was_published(tmp_path: Path) -> None:
    sink = sink_of(tmp_path)
    writer, committer = sink.writer(TASK), sink.committer(TASK)
    writer.write(batch(1), None)
    one = writer.prepare(1)
    writer.write(batch(2), None)
    two = writer.prepare(2)
    committer.commit(one)
    (tmp_path / one[0]["final"]).unlink()
    assert committer.recover([*one, *two], Stage.COMMITTING) == [str(tmp_path / one[0]["final"])]
    assert published(tmp_path) == [2]


def test_all_that_was_staged_is_gone(tmp_path: Path) -> None:
    sink = sink_of(tmp_path)
    writer = sink.writer(TASK)
    writer.write(batch(1), None)
    done = writer.prepare(1)
    shutil.rmtree(tmp_path / "_staging")
    with pytest.raises(RunError, match="rows of this checkpoint are lost"):
        sink.committer(TASK).recover(done, Stage.COMMITTING)


def test_another_file_of_that_name_is_never_overwritten_nor_the_staged_one_dropped(tmp_path: Path) -> None:
    sink = sink_of(tmp_path)
    writer = sink.writer(TASK)
    writer.write(batch(1), None)
    done = writer.prepare(1)
    (tmp_path / done[0]["final"]).write_text("mine\n")
    with pytest.raises(RunError, match="another file has its name"):
        sink.committer(TASK).commit(done)
    assert (tmp_path / done[0]["final"]).read_text() == "mine\n"
    assert (tmp_path / done[0]["staged"]).exists()


@pytest.mark.parametrize(
    "staged, final",
    [
        ("../../victim", "part-my~20job-r1-0-1-0.json"),
        ("_staging/my~20job/../../victim", "part-my~20job-r1-0-1-0.json"),
        ("/etc/passwd", "part-my~20job-r1-0-1-0.json"),
        ("_staging/my~20job/part-r1-0-0.json", "../part-my~20job-r1-0-1-0.json"),
        ("_staging/my~20job/part-r1-0-0.json", "part-my~20job-r1/../../x.json"),
        ("_staging/my~20job/part-r1-0-0.json", "data.json"),
        ("_staging/other/part-r1-0-0.json", "part-my~20job-r1-0-1-0.json"),
        ("_staging/my~20job/part-r1-0-0.json", None),
        (7, ["part-my~20job-r1-0-1-0.json"]),
    ],
)
def test_a_committable_that_is_not_ours_is_refused(tmp_path: Path, staged: Any, final: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    with pytest.raises(CheckpointError, match="no part file of this job"):
        sink_of(out).committer(TASK).commit([{"staged": staged, "final": final}])
    with pytest.raises(CheckpointError, match="no part file of this job"):
        sink_of(out).committer(TASK).recover(["part"], Stage.COMMITTING)  # type: ignore[list-item]
    assert victim.read_text() == "mine" and list(out.iterdir()) == []


def test_nothing_is_deleted_through_a_link(tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    (victim / "my~20job").mkdir(parents=True)
    (victim / "my~20job" / "part-r1-0-0.json").write_text("mine")
    (out / "_staging").symlink_to(victim)
    with pytest.raises(RunError, match="nothing is deleted or replaced outside"):
        sink_of(out).committer(TASK).abort()
    assert (victim / "my~20job" / "part-r1-0-0.json").read_text() == "mine"


def test_object_store() -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    sink = sink_of("memory://sink/out")
    writer, committer = sink.writer(TASK), sink.committer(TASK)
    writer.write(batch(1), None)
    done = writer.prepare(1)
    assert fs.find("/sink/out") == ["/sink/out/_staging/my~20job/part-r1-0-0.json"]
    committer.commit(done)
    committer.commit(done)
    writer.write(batch(2), None)
    writer.prepare(2)
    committer.abort()
    assert fs.find("/sink/out") == ["/sink/out/part-my~20job-r1-0-1-0.json"]
    assert read(file_table("memory://sink/out", A, format="json"))[0] == [(1, "x1")]


VALUES = schema(
    ("i", INT), ("s", STRING), ("b", BOOLEAN), ("d", DOUBLE), ("n", decimal(10, 2)), ("t", timestamp(3)),
    ("z", timestamp_ltz(3)), ("dd", DATE), ("tt", TIME), ("y", BYTES_TYPE), ("r", row(("x", INT), ("q`\"", STRING))),
    ("l", array(timestamp(3))), ("m", map_of(STRING, DOUBLE)),
)  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {
        "i": 1, "s": 'a"\\\n\té😀,', "b": True, "d": 1e300, "n": Decimal("1.50"),
        "t": dt.datetime(2020, 1, 1, 0, 0, 0, 120000), "z": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        "dd": dt.date(2020, 1, 31), "tt": dt.time(1, 2, 3), "y": b"\x00hi", "r": {"x": 1, "q`\"": None},
        "l": [dt.datetime(1969, 12, 31, 23, 59, 59, 999000), None], "m": [("k", 0.5), ("l", None)],
    },
    dict.fromkeys(VALUES.names),
    {"i": -5, "s": "", "d": float("inf"), "r": {"x": None, "q`\"": "z"}, "l": [], "m": []},
]  # fmt: skip


def write(path: Path, columns: Schema, rows: list[dict[str, Any]], **options: str) -> str:
    sink = sink_of(path, columns, **options)
    writer = sink.writer(TASK)
    full = [{c: r.get(c) for c in columns.names} for r in rows]
    writer.write(pa.RecordBatch.from_pylist(full, schema=columns.arrow_outside()), None)
    (done,) = writer.prepare(1)
    sink.committer(TASK).commit([done])
    return str(path / done["final"])


@pytest.mark.parametrize("format", ["json", "parquet"])
def test_values_come_back(format: str, tmp_path: Path) -> None:
    write(tmp_path, VALUES, ROWS, format=format)
    got = [dict(zip(VALUES.names, r, strict=True)) for r in read(file_table(tmp_path, VALUES, format=format))[0]]
    for g in got:
        if g["r"] is not None:
            g["r"] = {"x": g["r"]["f0"], 'q`"': g["r"]["f1"]}
    assert got == [{c: r.get(c) for c in VALUES.names} for r in ROWS]


def test_json_text_is_flinks(tmp_path: Path) -> None:
    columns = schema(
        ("t", timestamp(3)), ("u", timestamp(3)), ("n", decimal(5, 2)), ("z", timestamp_ltz(3)), ("d", DOUBLE)
    )
    rows = [
        {"t": dt.datetime(2020, 1, 1), "u": dt.datetime(2020, 1, 1, 1, 2, 3, 45000), "n": Decimal("1.50"),
         "z": dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "d": float("nan")},
        {},
    ]  # fmt: skip
    text = Path(write(tmp_path / "a", columns, rows)).read_text()
    assert text == (
        '{"t":"2020-01-01 00:00:00","u":"2020-01-01 01:02:03.045","n":1.50,"z":"2020-01-01 00:00:00Z","d":"NaN"}\n'
        '{"t":null,"u":null,"n":null,"z":null,"d":null}\n'
    )
    text = Path(
        write(tmp_path / "b", columns, rows, json_encode_ignore__null__fields="true",
              json_timestamp__format_standard="ISO-8601")
    ).read_text()  # fmt: skip
    assert text.splitlines()[1] == "{}"
    assert '"u":"2020-01-01T01:02:03.045"' in text


def test_csv_values_come_back(tmp_path: Path) -> None:
    columns = Schema(VALUES.columns[:10])
    write(tmp_path, columns, ROWS, format="csv", csv_null__literal="NULL", csv_header="true")
    tab = file_table(tmp_path, columns, format="csv", csv_null__literal="NULL", csv_header="true")
    assert read(tab)[0] == [tuple(r.get(c) for c in columns.names) for r in ROWS]


@pytest.mark.parametrize(
    "options",
    [
        {"csv_field__delimiter": ";"},
        {"csv_field__delimiter": "."},
        {"csv_quote__character": "'"},
        {"csv_escape__character": "\\"},
        {"csv_allow__comments": "true"},
    ],
)
def test_csv_dialects_come_back(options: dict[str, str], tmp_path: Path) -> None:
    columns = schema(("s", STRING), ("d", DOUBLE))
    rows = [{"s": s, "d": 1.5} for s in ("a;b", "it's", '"q"', "#c", "x\\", "l\nm", " s ", ".")]
    write(tmp_path, columns, rows, format="csv", **options)
    assert read(file_table(tmp_path, columns, format="csv", **options))[0] == [(r["s"], 1.5) for r in rows]


def test_path_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("")
    writer = sink_of(path).writer(TASK)
    writer.write(batch(1), None)
    with pytest.raises(RunError, match="cannot write: Not a directory") as e:
        writer.prepare(1)
    assert str(path) in str(e.value)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_full_or_unwritable_disk(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of the system, the path, no staged file left, nothing published."""
    sink = sink_of(tmp_path)
    writer = sink.writer(TASK)

    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("sqlstream.connectors.file_sink.os.fsync", full)
    writer.write(batch(1), None)
    with pytest.raises(RunError, match=os.strerror(code)) as e:
        writer.prepare(1)
    assert str(tmp_path) in e.value.message and e.value.hint
    writer.close()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_file_size_limit_of_the_system(tmp_path: Path) -> None:
    """A write that the kernel itself refuses, in a process of its own."""
    program = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
import sys; sys.path[:0] = {[str(Path(__file__).parent), os.getcwd()]!r}
from test_file_sink import *
writer = sink_of({str(tmp_path)!r}).writer(TASK)
try:
    for n in range(5):
        writer.write(batch(*range(40_000)), None)
    writer.prepare(1)
except RunError as e:
    print(e.message)
writer.close()
"""
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert "cannot write: File too large" in out.stdout, out.stderr
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_refused_tables(tmp_path: Path) -> None:
    t = TableContext("t", A, {"path": str(tmp_path), "format": "json", "sink.paralelism": "2"})
    with pytest.raises(OptionError, match="unknown option 'sink.paralelism'"):
        connector(t, "filesystem")


def test_append_only_formats(tmp_path: Path) -> None:
    assert [sink_of(tmp_path, format=f).changelog for f in ("json", "csv", "parquet", "debezium-json")] == [
        False,
        False,
        False,
        True,
    ]
