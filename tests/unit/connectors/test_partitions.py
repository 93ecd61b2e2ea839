"""PARTITIONED BY: directories as Hive's and Flink's, written and read back; which partitions are complete, and when."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import connector_cases
import numpy as np
import pyarrow as pa
import pytest
from connector_cases import file_table, read, relation, schema

from sqlstream.batches import END, NO_WATERMARK, Time
from sqlstream.connectors import file_sink
from sqlstream.connectors.file_sink import FileSink, FileWriter
from sqlstream.connectors.partition_commit import TimeExtractor
from sqlstream.connectors.partitions import Partitions, escaped, unescaped
from sqlstream.contracts import SinkTask, Stage, TableContext
from sqlstream.errors import CheckpointError, DataError, NotSupported, OptionError, RunError
from sqlstream.session import Session
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    INT,
    STRING,
    TIME,
    Column,
    Schema,
    Type,
    decimal,
    timestamp,
    timestamp_ltz,
)

A = schema(("a", BIGINT), ("dt", STRING))
TASK = SinkTask("j", "r", 0)
SUCCESS = {"sink.partition-commit.policy.kind": "success-file"}
DAY = 86_400_000_000


def partitioned(path: Path, columns: Schema = A, by: tuple[str, ...] = ("dt",), **options: str) -> TableContext:
    t = file_table(path, columns, **{"format": "json"})
    given = {k: v for k, v in options.items() if k != "more"}
    return replace(t, partitioned_by=by, options={**t.options, **given})


def sink_of(t: TableContext) -> FileSink:
    made = connector_cases.sink_of(t)
    assert isinstance(made, FileSink)
    return made


def rows(*pairs: tuple[int, str | None]) -> pa.RecordBatch:
    a, dt = zip(*pairs, strict=True)
    return pa.record_batch({"a": pa.array(a, pa.int64()), "dt": pa.array(dt, pa.string())})


def visible(path: Path) -> dict[str, list[int]]:
    """The numbers by partition, as a reader of files sees them."""
    out: dict[str, list[int]] = {}
    for f in sorted(path.rglob("part-*")):
        if "_staging" not in f.parts:
            found = [json.loads(line) for line in f.read_text().splitlines()]
            assert all(row.keys() == {"a"} for row in found)  # the columns of the directories are not in the files
            out.setdefault(str(f.parent.relative_to(path)), []).extend(r["a"] for r in found)
    return out


def complete(path: Path, name: str = "_SUCCESS") -> set[str]:
    return {str(f.parent.relative_to(path)) for f in path.rglob(name)}


# ---- names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01 10:00", "2026-01-01 10%3A00"),
        ("a/b", "a%2Fb"),
        ("50%", "50%25"),
        ("k=v", "k%3Dv"),
        ("..", ".."),
        ("a\tb\0", "a%09b%00"),
        ("[x]{y}^*?#\"'\\", "%5Bx%5D%7By}%5E%2A%3F%23%22%27%5C"),
        ("größe€", "größe€"),
    ],
)
def test_names_are_hives(text: str, name: str) -> None:
    assert escaped(text) == name and unescaped(name) == text


VALUES: list[tuple[Type, list[Any], str]] = [
    (STRING, ["x", "a/b", "..", ".", "%2F", "=", "\0", "ä 'q' \"", "a" * 100, "null", "NULL", None], "x"),
    (INT, [1, -7, 0, None], "1"),
    (BIGINT, [2**63 - 1, -(2**63), None], "9223372036854775807"),
    (DOUBLE, [1.5, 1e20, -0.0, float("inf"), float("nan"), None], "1.5"),
    (decimal(10, 2), [Decimal("1.50"), Decimal("-0.01"), None], "1.50"),
    (BOOLEAN, [True, False, None], "true"),
    (DATE, [date(2026, 1, 1), date(1, 1, 1), None], "2026-01-01"),
    (timestamp(3), [datetime(2026, 1, 1, 10), datetime(2026, 1, 1, 10, 0, 1, 120_000), None], "2026-01-01T10%3A00"),
    (timestamp(6), [datetime(2026, 1, 1, 10, 0, 0, 1), None], "2026-01-01T10%3A00%3A00.000001"),
]


@pytest.mark.parametrize(("kind", "values", "first"), VALUES, ids=lambda v: v.text() if isinstance(v, Type) else "")
@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_values_come_back(tmp_path: Path, kind: Type, values: list[Any], first: str, form: str) -> None:
    columns = schema(("p", kind), ("a", BIGINT))
    t = partitioned(tmp_path, columns, ("p",), format=form)
    sink = sink_of(t)
    writer, committer = sink.writer(TASK), sink.committer(TASK)
    given = pa.record_batch({"p": pa.array(values, kind.arrow()), "a": pa.array(range(len(values)), pa.int64())})
    writer.write(given, None)
    committer.commit(committer.combine(writer.prepare(1), 0))
    assert (tmp_path / f"p={first}").is_dir() and (tmp_path / "p=__DEFAULT_PARTITION__").is_dir()
    wanted = sorted(map(repr, zip(values, range(len(values)), strict=True)))
    assert sorted(map(repr, read(t)[0])) == wanted
    assert sorted(map(repr, relation(t))) == wanted


@pytest.mark.parametrize("seed", range(4))
def test_any_string_comes_back(tmp_path: Path, seed: int) -> None:
    r = random.Random(seed)
    alphabet = "ab=/%:'\"\\ \n\t\0{[]^.~_*?#äß€😀\x7f0\u00a0"
    texts = {"".join(r.choice(alphabet) for _ in range(r.randrange(1, 12))) for _ in range(60)}
    pairs = [(t, u) for t in sorted(texts) for u in r.sample(sorted(texts), 2)]
    columns = schema(("a", BIGINT), ("k=/1", STRING), ("l", STRING))
    t = partitioned(tmp_path, columns, ("l", "k=/1"))
    sink = sink_of(t)
    writer, committer = sink.writer(TASK), sink.committer(TASK)
    keys, texts_of_l = zip(*pairs, strict=True)
    writer.write(pa.record_batch({"a": list(range(len(pairs))), "k=/1": list(keys), "l": list(texts_of_l)}), None)
    committer.commit(committer.combine(writer.prepare(1), 0))
    wanted = sorted((i, *p) for i, p in enumerate(pairs))
    assert sorted(read(t)[0]) == wanted == sorted(relation(t))


def test_null_and_empty_are_one_partition(tmp_path: Path) -> None:
    t = partitioned(tmp_path, **{"partition.default-name": "none"})
    sink = sink_of(t)
    writer, committer = sink.writer(TASK), sink.committer(TASK)
    writer.write(rows((1, ""), (2, None), (3, "x")), None)
    committer.commit(writer.prepare(1))
    assert visible(tmp_path) == {"dt=none": [1, 2], "dt=x": [3]}
    assert sorted(read(t)[0], key=repr) == [(1, None), (2, None), (3, "x")]


def test_files_outside_of_partitions_are_named(tmp_path: Path) -> None:
    (tmp_path / "dt=1").mkdir()
    (tmp_path / "dt=1" / "a.json").write_text('{"a": 1}\n')
    assert read(partitioned(tmp_path))[0] == [(1, "1")]
    with pytest.raises(DataError, match="'1x' is no INT"):
        (tmp_path / "dt=1x").mkdir()
        (tmp_path / "dt=1x" / "a.json").write_text('{"a": 1}\n')
        relation(partitioned(tmp_path, schema(("a", BIGINT), ("dt", INT))))
    (tmp_path / "b.json").write_text('{"a": 1}\n')
    with pytest.raises(DataError, match=r"b\.json is in no partition"):
        read(partitioned(tmp_path))


@pytest.mark.parametrize(
    ("by", "options", "error", "text"),
    [
        (("dz",), {}, OptionError, "no such stored column"),
        (("t",), {}, NotSupported, "TIME"),
        (("l",), {}, NotSupported, "TIMESTAMP_LTZ"),
        (("_h",), {}, NotSupported, "begin with _"),
        (("dt", "dt"), {}, OptionError, "twice"),
        (("dt",), {"sink.partition-commit.policy.kind": "metastore"}, NotSupported, "metastore"),
        (("dt",), {"sink.partition-commit.policy.kind": "custom"}, OptionError, "policy.class' goes with"),
        (("dt",), {"sink.partition-commit.policy.class": "a.B"}, OptionError, "policy.class' goes with"),
        (
            ("dt",),
            {"sink.partition-commit.policy.kind": "custom", "sink.partition-commit.policy.class": "nothing.There"},
            OptionError,
            "no module named 'nothing'",
        ),
        (
            ("dt",),
            {"sink.partition-commit.policy.kind": "custom", "sink.partition-commit.policy.class": "fractions.Fraction"},
            OptionError,
            "no method commit",
        ),
        (("dt",), {"sink.partition-commit.policy.kind": "success"}, OptionError, "success-file"),
        ((), SUCCESS, OptionError, "PARTITIONED BY"),
        (("dt",), {"partition.time-extractor.kind": "custom"}, OptionError, "time-extractor.class' goes with"),
        (("dt",), {"partition.time-extractor.timestamp-formatter": "yyyy-QQ"}, OptionError, "the letter 'Q'"),
        (("dt",), {"partition.time-extractor.timestamp-formatter": "HH:mm"}, OptionError, "no year"),
        (("dt",), {"auto-compaction": "true"}, NotSupported, "rename"),
        (("dt",), {"compaction.file-size": "1 mb"}, NotSupported, "rename"),
        (("dt",), {**SUCCESS, "sink.partition-commit.success-file.name": "a/b"}, OptionError, "no file's name"),
        (("dt",), {"partition.default-name": ""}, OptionError, "empty"),
    ],
)
def test_refused(tmp_path: Path, by: tuple[str, ...], options: Mapping[str, str], error: Any, text: str) -> None:
    columns = schema(("a", BIGINT), ("t", TIME), ("l", timestamp_ltz(3)), ("_h", INT), ("dt", STRING))
    with pytest.raises(error, match=text) as e:
        sink_of(partitioned(tmp_path, columns, by, **options))
    assert e.value.hint or by == ("dt", "dt") or "default-name" in str(options) or "a/b" in str(options)


def test_a_table_has_other_columns(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="would have none"):
        sink_of(partitioned(tmp_path, A, ("dt", "a")))


# ---- many partitions, sizes and ages


def test_many_partitions_have_few_files_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_sink, "OPEN", 4)
    monkeypatch.setattr(file_sink, "GATHERED", 50)
    t = partitioned(tmp_path)
    sink = sink_of(t)
    writer, committer = FileWriter(sink, TASK), sink.committer(TASK)
    pairs = [(i, f"p{i * 7919 % 40}") for i in range(2000)]
    for i in range(0, len(pairs), 10):
        writer.write(rows(*pairs[i : i + 10]), None)
        assert len(writer._open) <= 4 and writer._rows < 60
    prepared = writer.prepare(1)
    assert not writer._open and not writer._buckets
    committer.commit(prepared)
    wanted: dict[str, list[int]] = {}
    for a, dt in pairs:
        wanted.setdefault(f"dt={dt}", []).append(a)
    assert {d: sorted(n) for d, n in visible(tmp_path).items()} == wanted


def test_parts_are_closed_by_size_and_age(tmp_path: Path) -> None:
    options = {
        "sink.rolling-policy.rollover-interval": "10 min",
        "sink.rolling-policy.inactivity-interval": "3 min",
        "sink.rolling-policy.check-interval": "1 min",
        "sink.rolling-policy.file-size": "64 kb",
    }
    writer = FileWriter(sink_of(partitioned(tmp_path, **options)), TASK)
    now = 0.0
    writer.clock = lambda: now
    many = rows(*((i, "x") for i in range(file_sink.ENCODE_ROWS)))
    writer.write(many, None)
    assert len(writer._closed) == 1  # by its size
    writer._limit = 1 << 40
    closed = []
    for minute in range(30):
        now = minute * 60.0
        if minute < 15:
            writer.write(many, None)
        writer.flush()
        closed.append(len(writer._closed))
    # ten minutes old at minute 10; begun anew at 11, and nothing came for three minutes after 14
    assert [m for m in range(1, 30) if closed[m] > closed[m - 1]] == [10, 17]
    now += 30
    writer.write(many, None)
    writer.flush()
    assert len(writer._open) == 1
    writer.close()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


# ---- complete partitions


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("pattern", "formatter", "zone", "directory", "time"),
    [
        (None, None, "UTC", "dt=2026-01-02/hour=5", "2026-01-02"),
        (None, None, "UTC", "dt=2026-1-2 3%3A04%3A05/hour=5", "2026-01-02T03:04:05"),
        ("$dt $hour:00:00", None, "UTC", "dt=2026-01-02/hour=5", "2026-01-02T05:00"),
        ("$dt $hour:00:00", None, "Asia/Shanghai", "dt=2026-01-02/hour=05", "2026-01-01T21:00"),
        ("$dt$hour", "yyyyMMddHH", "UTC", "dt=20260102/hour=05", "2026-01-02T05:00"),
        ("$dt", "dd.MM.yyyy", "UTC", "dt=02.01.2026/hour=x", "2026-01-02"),
        ("$dt", "yyyy'W'MM''dd", "UTC", "dt=2026W01%2702/hour=x", "2026-01-02"),
    ],
)
def test_the_time_of_a_partition(
    pattern: str | None, formatter: str | None, zone: str, directory: str, time: str
) -> None:
    partitions = Partitions("t", (Column("dt", STRING), Column("hour", STRING)), "none")
    assert TimeExtractor(pattern, formatter, zone).time(partitions, directory) == at(time)


def test_the_time_of_partitions_whose_names_begin_alike() -> None:
    """$day is no $d with something behind it, and a value is no pattern."""
    partitions = Partitions("t", (Column("d", STRING), Column("day", STRING), Column("s", STRING)), "none")
    found = TimeExtractor("$day-$d", None, "UTC").time(partitions, "d=07/day=2026-01/s=$d")
    assert found == at("2026-01-07")
    with pytest.raises(DataError, match="has no time: '\\$d'"):
        TimeExtractor("$s", None, "UTC").time(partitions, "d=2026-01-02/day=x/s=$d")


def test_the_time_of_a_partition_behind_all_times() -> None:
    """As the last day there is, which stands for no day."""
    partitions = Partitions("t", (Column("dt", STRING),), "none")
    extractor = TimeExtractor(None, None, "America/New_York")
    assert extractor.time(partitions, "dt=9999-12-31") == at("9999-12-31T05:00")
    with pytest.raises(DataError, match="is before the year 1 or behind 9999"):
        extractor.time(partitions, "dt=9999-12-31 23%3A00%3A00")


@pytest.mark.parametrize("text", ["x" * 253, "\u00e9" * 127, "/" * 85])
def test_a_partition_whose_name_is_too_long_is_no_checkpoints(tmp_path: Path, text: str) -> None:
    """255 bytes are the most that file systems take. A checkpoint that had it could never be published."""
    writer = sink_of(partitioned(tmp_path / "out")).writer(TASK)
    writer.write(rows((1, text[:80])), None)
    with pytest.raises(DataError, match="255 is the most"):
        writer.write(rows((1, text)), None)
    writer.close()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_jobs_name_that_is_too_long_for_files(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="too long"):
        sink_of(partitioned(tmp_path / "out")).writer(replace(TASK, job="j" * 200))


def test_a_partition_without_time_is_an_error(tmp_path: Path) -> None:
    writer = sink_of(partitioned(tmp_path, **SUCCESS, **{"sink.partition-commit.trigger": "partition-time"})).writer(
        TASK
    )
    for dt in ("x", None, "2026-02-30"):
        with pytest.raises(DataError, match="has no time") as e:
            writer.write(rows((1, dt)), None)
        assert e.value.hint and "timestamp-pattern" in e.value.hint


class Run:
    """A sink with two tasks, from checkpoint to checkpoint, each through JSON."""

    def __init__(self, path: Path, **options: str) -> None:
        self.sink = sink_of(partitioned(path, **SUCCESS, **options))
        self.path = path
        self.checkpoint = 0
        self.restart()

    def restart(self) -> None:
        self.writers = [self.sink.writer(SinkTask("j", "r", i)) for i in range(2)]
        self.committer = self.sink.committer(TASK)

    def prepare(self, marks: tuple[Any, Any], *given: tuple[int, str], now: int = 0) -> list[dict[str, Any]]:
        self.checkpoint += 1
        for row in given:
            self.writers[row[0] % 2].write(rows(row), None)
        for w, m in zip(self.writers, marks, strict=True):
            w.advance(m if isinstance(m, Time) else Time(m))
        prepared = [c for w in self.writers for c in w.prepare(self.checkpoint)]
        made: list[dict[str, Any]] = json.loads(json.dumps(self.committer.combine(prepared, now)))
        return made

    def take(self, marks: tuple[Any, Any], *given: tuple[int, str], now: int = 0) -> list[dict[str, Any]]:
        made = self.prepare(marks, *given, now=now)
        for c in made:
            self.committer.commit([c])
        return made


TIME_OF = {"sink.partition-commit.trigger": "partition-time", "sink.partition-commit.delay": "1 d"}


def test_partition_time(tmp_path: Path) -> None:
    run = Run(tmp_path, **TIME_OF)
    assert run.sink.waits_for_watermark
    run.take((at("2026-01-01T10:00"), NO_WATERMARK), (1, "2026-01-01"), (2, "2026-01-02"))
    assert complete(tmp_path) == set()
    # the slowest task says what time it is; and it has to be past it
    run.take((at("2026-01-05"), at("2026-01-02")))
    assert complete(tmp_path) == set()
    run.take((at("2026-01-05"), at("2026-01-02") + 1), (3, "2026-01-01"))
    assert complete(tmp_path) == {"dt=2026-01-01"}
    # idle tasks hold nothing back
    run.take((at("2026-01-05"), Time(NO_WATERMARK, 0, True)))
    assert complete(tmp_path) == {"dt=2026-01-01", "dt=2026-01-02"}
    # rows that come later complete their partition again
    (tmp_path / "dt=2026-01-01/_SUCCESS").unlink()
    run.take((at("2026-01-05"), at("2026-01-05")), (4, "2026-01-01"))
    assert complete(tmp_path) == {"dt=2026-01-01", "dt=2026-01-02"}
    run.take((at("2026-01-05"), at("2026-01-05")), (5, "2026-01-09"))
    assert "dt=2026-01-09" not in complete(tmp_path)
    run.take((END, END))
    assert "dt=2026-01-09" in complete(tmp_path)


def test_process_time(tmp_path: Path) -> None:
    run = Run(tmp_path, **{"sink.partition-commit.delay": "1 h"})
    assert not run.sink.waits_for_watermark
    hour = DAY // 24
    run.take((0, 0), (1, "a"), now=5)
    run.take((0, 0), (2, "a"), (3, "b"), now=hour)
    run.take((0, 0), now=hour + 5)
    assert complete(tmp_path) == set()
    run.take((0, 0), now=hour + 6)
    assert complete(tmp_path) == {"dt=a"}
    run.take((END, END), now=hour + 7)
    assert complete(tmp_path) == {"dt=a", "dt=b"}


def test_without_delay_it_is_at_once_and_has_the_name_that_is_wanted(tmp_path: Path) -> None:
    done = {"sink.partition-commit.success-file.name": "done"}
    run = Run(tmp_path, **done)
    run.take((0, 0), (1, "a"), (2, "b"), now=5)
    assert complete(tmp_path, "done") == {"dt=a", "dt=b"}
    assert sorted(read(partitioned(tmp_path, **done))[0]) == [
        (1, "a"),
        (2, "b"),
    ]  # no reader of the table takes it for data


def test_pending_partitions_are_in_the_checkpoint(tmp_path: Path) -> None:
    run = Run(tmp_path, **TIME_OF)
    early = at("2026-01-01")
    made = run.take((early, early), (1, "2026-01-01"), (2, "2026-01-02"))
    for before in (Stage.PREPARED, Stage.COMMITTING, Stage.COMMITTED):
        run.restart()
        for c in made:
            run.committer.recover([c], before)
        run.committer.abort()
        assert complete(tmp_path) == set()
        made = run.take((early, early))
    # killed when the checkpoint that completes them was there, before anything of it was published
    late = at("2026-02-01")
    made = run.prepare((late, late), (3, "2026-01-02"))
    assert complete(tmp_path) == set()
    run.restart()
    for c in made:
        run.committer.recover([c], Stage.PREPARED)
    run.committer.abort()
    assert complete(tmp_path) == {"dt=2026-01-01", "dt=2026-01-02"}
    assert visible(tmp_path) == {"dt=2026-01-01": [1], "dt=2026-01-02": [2, 3]}
    assert run.take((late, late)) == [{"pending": {}}]


def test_the_success_file_comes_last(tmp_path: Path) -> None:
    made = Run(tmp_path).prepare((END, END), (1, "a"), (2, "b"), (3, "a"))
    kinds = [next(iter(c)) for c in made]
    assert kinds == ["staged"] * 2 + ["success"] * 2 + ["pending"]


@pytest.mark.parametrize(
    "made",
    [
        {"success": "../dt=a"},
        {"success": "dt=a/.."},
        {"success": "dx=a"},
        {"success": 1},
        {"remove": "../x"},
        {"remove": "_staging/j/x"},
        {"remove": "dt=a/.hidden"},
        {"remove": None},
        {"pending": {"dz=1": 1}},
        {"pending": {"dt=1": "1"}},
        {"pending": []},
        {"staged": "_staging/j/part-r-0-0.json", "final": "part-j-r-0-1-0.json"},
        {"staged": "_staging/j/part-r-0-0.json", "final": "dt=a/../dt=b/part-j-r-0-1-0.json"},
        {"staged": "_staging/j/part-r-0-0.json", "final": "dt=a/b/part-j-r-0-1-0.json"},
        {"staged": "_staging/j/part-r-0-0.json", "final": "dt=a/part-other-r-0-1-0.json"},
        {"watermark": 1, "idle": False},
        {},
        "part",
        None,
    ],
)
def test_what_is_none_of_ours_is_refused(tmp_path: Path, made: Any) -> None:
    run = Run(tmp_path)
    run.take((0, 0), (1, "a"))
    with pytest.raises(CheckpointError):
        run.committer.recover([made], Stage.COMMITTING)
    assert visible(tmp_path) == {"dt=a": [1]}


def test_a_partition_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "t/dt=a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="outside"):
        Run(tmp_path / "t").take((0, 0), (1, "a"))
    assert not list((tmp_path / "elsewhere").iterdir())


# ---- whole statements


CLASSES = """
import json
from datetime import datetime


class Compact:
    def extract(self, keys, values):
        assert keys == ["day", "hour"]
        return datetime.strptime("".join(values), "%Y%m%d%H")


class Announce:
    def __init__(self, path, word):
        self.path, self.word = path, word

    def commit(self, partition):
        with open(self.path, "a") as file:
            file.write(json.dumps([self.word, partition.path, partition.keys, partition.values]) + chr(10))


class Fails(Announce):
    def commit(self, partition):
        raise KeyError("nobody listens")
"""


@pytest.mark.parametrize("kind", ["custom", "success-file,custom"])
def test_classes_of_the_users_say_when_and_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    (tmp_path / "partition_policies.py").write_text(CLASSES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "partition_policies", raising=False)
    columns = schema(("a", BIGINT), ("day", STRING), ("hour", STRING))
    options = {
        "sink.partition-commit.trigger": "partition-time", "sink.partition-commit.delay": "1 h",
        "partition.time-extractor.kind": "custom", "partition.time-extractor.class": "partition_policies.Compact",
        "sink.partition-commit.policy.kind": kind, "sink.partition-commit.policy.class": "partition_policies.Announce",
        "sink.partition-commit.policy.class.parameters": f"{tmp_path}/told.json;ready",
    }  # fmt: skip
    t = partitioned(tmp_path / "out", columns, ("day", "hour"), **options)
    task = SinkTask("job", "run", 0)
    sink = sink_of(t)
    writer, committer = sink.writer(task), sink.committer(task)
    batch = {"a": pa.array([1, 2], pa.int64()), "day": ["20260101", "20260101"], "hour": ["09", "10"]}
    writer.write(pa.record_batch(batch), None)
    writer.advance(Time(at("2026-01-01 10:30:00"), 0))
    prepared = committer.combine(writer.prepare(1), 0)
    for _ in range(2):  # a second time, as after a failure
        committer.commit(prepared)
    path = f"{tmp_path}/out/day=20260101/hour=09"
    said = [json.loads(line) for line in (tmp_path / "told.json").read_text().splitlines()]
    assert said == 2 * [["ready", path, ["day", "hour"], ["20260101", "09"]]]
    assert complete(tmp_path / "out") == ({"day=20260101/hour=09"} if "success-file" in kind else set())
    fails = sink_of(
        partitioned(
            tmp_path / "out",
            columns,
            ("day", "hour"),
            **{**options, "sink.partition-commit.policy.class": "partition_policies.Fails"},
        )
    )
    with pytest.raises(RunError, match="partition_policies.Fails raised KeyError: 'nobody listens'"):
        fails.committer(task).commit([{"success": "day=20260101/hour=09"}])


def result(session: Session, sql: str) -> list[tuple[Any, ...]]:
    out: list[tuple[Any, ...]] = []
    for r in session.execute(sql):
        for batch, kinds in r.batches():
            assert kinds is None or not np.any(kinds)
            out += [tuple(row.values()) for row in batch.to_pylist()]
    return sorted(out, key=repr)


def run_sql(session: Session, sql: str) -> None:
    for r in session.execute(sql):
        for _ in r.batches():
            pass


WAYS = [("streaming", 1), ("streaming", 3), ("batch", 1)]


@pytest.fixture(params=WAYS, ids=lambda w: f"{w[0]}-{w[1]}")
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Session]:
    mode, tasks = request.param
    s = Session(working_directory=str(tmp_path))
    run_sql(s, f"SET 'execution.runtime-mode' = '{mode}'; SET 'parallelism.default' = '{tasks}';")
    yield s


@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_a_table_is_written_and_read(session: Session, tmp_path: Path, form: str) -> None:
    run_sql(
        session,
        "CREATE TABLE t (a INT, dt DATE, s STRING, hour INT) PARTITIONED BY (dt, hour) WITH ('connector' = 'filesystem', "
        f"'path' = 't', 'format' = '{form}', 'sink.partition-commit.policy.kind' = 'success-file');"
        "INSERT INTO t (s, dt, a, hour) VALUES ('x', DATE '2026-01-01', 1, 10), ('y', DATE '2026-01-01', 2, 11), "
        "('z', CAST(NULL AS DATE), 3, 10), ('x', DATE '2026-01-02', 4, 10)",
    )
    names = {
        "dt=2026-01-01/hour=10",
        "dt=2026-01-01/hour=11",
        "dt=2026-01-02/hour=10",
        "dt=__DEFAULT_PARTITION__/hour=10",
    }
    assert complete(tmp_path / "t") == names
    day = date(2026, 1, 1)
    assert result(session, "SELECT * FROM t WHERE hour = 10") == [
        (1, day, "x", 10),
        (3, None, "z", 10),
        (4, date(2026, 1, 2), "x", 10),
    ]
    assert result(session, "SELECT hour FROM t WHERE a = 2") == [(11,)]
    assert result(session, "SELECT hour, s FROM t WHERE dt = DATE '2026-01-01'") == [(10, "x"), (11, "y")]
    assert not list((tmp_path / "t").rglob("_staging/*/*"))
