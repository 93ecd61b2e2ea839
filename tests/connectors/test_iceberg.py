"""Connector 'iceberg', over a catalog in SQLite and one behind REST; what it writes is read by pyiceberg, and what it reads is written by it."""

from __future__ import annotations

import datetime
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import kill_lakes
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness.lakes import Following, create, plain, run, write, wrong
from harness.rest_catalog import RestCatalogServer
from harness.seed import SEED
from object_store import BUCKET, KEY, SECRET, ObjectStore
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import EqualTo
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    MonthTransform,
    TruncateTransform,
    YearTransform,
)
from pyiceberg.types import (
    DateType,
    DecimalType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
)
from s3fs import S3FileSystem

from sqlstream.cli.main import main
from sqlstream.connectors.iceberg.connector import IcebergConnector
from sqlstream.contracts import SinkTask, Stage
from sqlstream.errors import CheckpointError, DataError, NotSupported, OptionError
from sqlstream.testing.connectors import SinkContract, SourceContract, table

UTC = datetime.UTC
COLUMNS = """b BOOLEAN, i8 TINYINT, i16 SMALLINT, i32 INT, i64 BIGINT NOT NULL, f32 FLOAT, f64 DOUBLE, d DECIMAL(20, 4), s STRING,
  y BYTES, day DATE, tm TIME(6), at TIMESTAMP(6), instant TIMESTAMP_LTZ(6), r ROW<x INT, y ARRAY<STRING>>, m MAP<STRING, BIGINT>"""
VALUES: dict[str, list[Any]] = {
    "b": [True, None, False],
    "i8": [-128, None, 127],
    "i16": [-32768, None, 32767],
    "i32": [-(2**31), None, 2**31 - 1],
    "i64": [-(2**63), 0, 2**63 - 1],
    "f32": [-0.5, None, 1.5],
    "f64": [-1e300, None, float("inf")],
    "d": [Decimal("-1234567890123456.7891"), None, Decimal("0.0001")],
    "s": ["", None, "ü" * 100],
    "y": [b"\x00\xff", None, b""],
    "day": [datetime.date(1969, 12, 31), None, datetime.date(2026, 2, 28)],
    "tm": [datetime.time(0, 0), None, datetime.time(23, 59, 59, 999999)],
    "at": [datetime.datetime(1969, 12, 31, 23, 59, 59, 999999), None, datetime.datetime(2026, 1, 1, 1, 2, 3, 4)],
    "instant": [datetime.datetime(2026, 1, 1, 1, 2, 3, 4, UTC), None, datetime.datetime(1970, 1, 1, tzinfo=UTC)],
    "r": [{"x": 1, "y": ["a", None]}, None, {"x": None, "y": []}],
    "m": [[("k", 1), ("l", None)], None, []],
}


def all_types() -> pa.Table:
    kinds = [pa.bool_(), pa.int32(), pa.int32(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.decimal128(20, 4),
             pa.string(), pa.binary(), pa.date32(), pa.time64("us"), pa.timestamp("us"), pa.timestamp("us", "UTC"),
             pa.struct([("x", pa.int32()), ("y", pa.list_(pa.string()))]), pa.map_(pa.string(), pa.int64())]  # fmt: skip
    arrays = [pa.array(v, t) for v, t in zip(VALUES.values(), kinds, strict=True)]
    return pa.table(arrays, schema=pa.schema([pa.field(n, t, n != "i64") for n, t in zip(VALUES, kinds, strict=True)]))


class Lake:
    """A catalog in a directory, as pyiceberg sees it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.options = {
            "connector": "iceberg", "catalog-name": "lake", "catalog-type": "sql", "uri": f"sqlite:///{directory}/catalog.db",
            "warehouse": str(directory / "warehouse"), "catalog-database": "db",
        }  # fmt: skip
        self.catalog = SqlCatalog("lake", uri=self.options["uri"], warehouse=self.options["warehouse"])
        self.catalog.create_namespace_if_not_exists("db")

    def ddl(self, columns: str, name: str = "t", partitioned: str = "", **options: str) -> str:
        more = {k.replace("__", "-"): v for k, v in options.items()}
        return create(columns, {**self.options, **more}, name, partitioned)

    def context(self, columns: str, **options: str) -> Any:
        return table(
            IcebergConnector(), columns, {k: v for k, v in {**self.options, **options}.items() if k != "connector"}
        )

    def table(self, name: str = "t") -> Table:
        return self.catalog.load_table(("db", name))

    def put(self, rows: pa.Table, name: str = "t", spec: PartitionSpec | None = None) -> Table:
        """Adds rows, by pyiceberg."""
        if not self.catalog.table_exists(("db", name)):
            self.catalog.create_table(("db", name), rows.schema, **({"partition_spec": spec} if spec else {}))
        t = self.table(name)
        t.append(rows)
        return t

    def seen(self, name: str = "t", snapshot: int | None = None) -> list[dict[str, Any]]:
        found = self.table(name).scan(snapshot_id=snapshot).to_arrow()
        return found.sort_by([(found.schema.names[0], "ascending")]).to_pylist()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    made = Lake(tmp_path)
    yield made
    made.catalog.close()


def longs(*a: int) -> pa.Table:
    return pa.table({"a": pa.array(a, pa.int64())})


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_values_of_all_types_are_read(lake: Lake, mode: str) -> None:
    for _ in range(2):
        lake.put(all_types())
    got = run(lake.directory, lake.ddl(COLUMNS), "SELECT * FROM t", mode=mode)
    expected = [tuple(VALUES[c][n] for c in VALUES) for n in range(3)]
    assert [tuple(plain(v) for v in r) for r in got] == [tuple(plain(v) for v in r) for r in 2 * expected]


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_values_of_all_types_are_written(lake: Lake, mode: str) -> None:
    lake.put(all_types(), "s")
    run(lake.directory, lake.ddl(COLUMNS, "s"), lake.ddl(COLUMNS), "INSERT INTO t SELECT * FROM s", mode=mode)
    expected, found = all_types(), lake.table().scan().to_arrow()
    for name in expected.schema.names:
        assert found.column(name).to_pylist() == expected.column(name).to_pylist(), name
    assert lake.table().schema().as_struct() == lake.table("s").schema().as_struct()


def test_a_table_is_made_as_it_is_declared(lake: Lake) -> None:
    t = lake.ddl("a BIGINT NOT NULL, p STRING, PRIMARY KEY (a) NOT ENFORCED", partitioned="p",
                 **{"write.upsert.enabled": "true", "format-version": "2", "write.parquet.compression-codec": "snappy"})  # fmt: skip
    run(lake.directory, t, "INSERT INTO t VALUES (1, 'x')")
    made = lake.table()
    assert [f.required for f in made.schema().fields] == [True, False]
    assert made.schema().identifier_field_names() == {"a"}
    assert [(f.name, str(f.transform)) for f in made.spec().fields] == [("p", "identity")]
    assert made.properties["write.parquet.compression-codec"] == "snappy" and made.format_version == 2
    (file,) = made.inspect.files()["file_path"].to_pylist()
    assert pq.read_metadata(file.removeprefix("file://")).row_group(0).column(0).compression == "SNAPPY"
    said = ", ".join(f"'{k}' = '{v}'" for k, v in lake.options.items())
    found = run(lake.directory, f"CREATE TABLE t WITH ({said})", "DESCRIBE t")
    assert [r[:4] for r in found] == [("a", "BIGINT", "FALSE", "PRI(a)"), ("p", "STRING", "TRUE", None)]


STAMPS = [
    datetime.datetime(2026, 1, 31, 23, 59, 59, 999999),
    datetime.datetime(1969, 12, 31, 23, 0),
    None,
    datetime.datetime(2026, 2, 1),
]
TRANSFORMS = {
    "identity string": (StringType(), "STRING", IdentityTransform(), ["a", "a/b %c=ü'", None, ""]),
    "identity long": (LongType(), "BIGINT", IdentityTransform(), [1, -5, None, 2**40]),
    "identity date": (DateType(), "DATE", IdentityTransform(), [datetime.date(1960, 1, 1), datetime.date(2026, 1, 2), None, datetime.date(2026, 1, 2)]),
    "identity decimal": (DecimalType(10, 2), "DECIMAL(10, 2)", IdentityTransform(), [Decimal("1.50"), Decimal("-0.01"), None, Decimal("100.00")]),
    "identity timestamp": (TimestampType(), "TIMESTAMP(6)", IdentityTransform(), STAMPS),
    "year": (TimestampType(), "TIMESTAMP(6)", YearTransform(), STAMPS),
    "month": (TimestampType(), "TIMESTAMP(6)", MonthTransform(), STAMPS),
    "day": (TimestampType(), "TIMESTAMP(6)", DayTransform(), STAMPS),
    "day of date": (DateType(), "DATE", DayTransform(), [datetime.date(1960, 1, 1), datetime.date(2026, 1, 2), None, datetime.date(2026, 1, 2)]),
    "hour": (TimestamptzType(), "TIMESTAMP_LTZ(6)", HourTransform(), [s and s.replace(tzinfo=UTC) for s in STAMPS]),
    "bucket": (StringType(), "STRING", BucketTransform(3), ["a", "b", None, "c"]),
    "truncate": (StringType(), "STRING", TruncateTransform(2), ["abc", "abd", None, "b"]),
    "truncate decimal": (DecimalType(10, 2), "DECIMAL(10, 2)", TruncateTransform(50), [Decimal("1.49"), Decimal("-0.01"), None, Decimal("100.00")]),
}  # fmt: skip


@pytest.mark.parametrize("which", TRANSFORMS)
def test_partitions_of_each_transform(lake: Lake, which: str) -> None:
    """Each row is in the partition that pyiceberg puts it in, and a file has the statistics that it gives it."""
    kind, sql, transform, values = TRANSFORMS[which]
    schema = Schema(NestedField(1, "a", LongType()), NestedField(2, "p", kind), NestedField(3, "q", StringType()))
    spec = PartitionSpec(
        PartitionField(2, 1000, transform, "p_part"), PartitionField(3, 1001, IdentityTransform(), "q"), spec_id=0
    )
    for name in ("ours", "theirs"):
        lake.catalog.create_table(("db", name), schema, partition_spec=spec)
    arrow = lake.table("ours").schema().as_arrow()
    rows = pa.table({"a": range(4), "p": values, "q": ["x", "y", "x", "y"]}, schema=arrow)
    lake.table("theirs").append(rows)
    columns = f"a BIGINT, p {sql}, q STRING"
    run(lake.directory, lake.ddl(columns, "s", catalog__table="theirs"), lake.ddl(columns, "t", catalog__table="ours"),
        "INSERT INTO t SELECT * FROM s")  # fmt: skip
    for name in ("ours", "theirs"):
        assert [r["a"] for r in lake.seen(name)] == [0, 1, 2, 3]
        got = run(lake.directory, lake.ddl(columns, "t", catalog__table=name), "SELECT * FROM t")
        assert sorted(tuple(plain(v) for v in r) for r in got) == [
            tuple(plain(v) for v in r.values()) for r in rows.to_pylist()
        ]
    parts = []
    for name in ("ours", "theirs"):
        found = lake.table(name).inspect.files().to_pylist()
        wanted = (
            "partition",
            "record_count",
            "value_counts",
            "null_value_counts",
            "lower_bounds",
            "upper_bounds",
            "spec_id",
        )
        parts.append(sorted(str({k: f[k] for k in wanted}) for f in found))
    assert parts[0] == parts[1]


def test_files_are_closed_when_they_have_their_size(lake: Lake) -> None:
    rows = pa.table({"a": range(600_000), "s": [str(i * 7919 % 1_000_003) for i in range(600_000)]})
    pq.write_table(rows, lake.directory / "in.parquet")
    run(
        lake.directory,
        "CREATE TABLE s (a BIGINT, s STRING) WITH ('connector' = 'filesystem', 'path' = 'in.parquet', 'format' = 'parquet')",
        lake.ddl("a BIGINT, s STRING", **{"write.target-file-size-bytes": str(2 << 20)}),
        "INSERT INTO t SELECT * FROM s",
    )
    assert len(lake.table().inspect.files()) > 1
    assert lake.table().scan().to_arrow().sort_by("a").to_pydict() == rows.to_pydict()


def test_files_of_which_a_filter_leaves_nothing_are_not_opened(lake: Lake) -> None:
    for begin in (0, 100):
        lake.put(pa.table({"a": range(begin, begin + 10), "s": [f"{begin + i:03d}" for i in range(10)]}))
    first = Path(min(lake.table().scan(EqualTo("a", 1)).plan_files(), key=str).file.file_path.removeprefix("file://"))
    first.rename(lake.directory / "elsewhere")
    for mode in ("batch", "streaming"):
        for condition in ("a >= 105", "s > '104'", "a > 104 AND s IS NOT NULL"):
            got = run(lake.directory, lake.ddl("a BIGINT, s STRING"), f"SELECT a FROM t WHERE {condition}", mode=mode)
            assert got == [(a,) for a in range(105, 110)], (mode, condition)
        assert run(lake.directory, lake.ddl("a BIGINT"), "SELECT a FROM t WHERE a > 1000", mode=mode) == []
        e = wrong(
            lake.directory,
            "SELECT a FROM t WHERE a < 5",
            lake.ddl("a BIGINT"),
            f"SET 'execution.runtime-mode' = '{mode}'",
        )
        assert isinstance(e, DataError) and first.name in e.message


def test_snapshots_of_the_past(lake: Lake) -> None:
    for n in range(3):
        t = lake.put(longs(n))
        time.sleep(0.005)
    history = t.history()
    t.manage_snapshots().create_tag(history[1].snapshot_id, "second").create_branch(
        history[0].snapshot_id, "old"
    ).commit()
    read = lambda **options: sorted(run(lake.directory, lake.ddl("a BIGINT", **options), "SELECT a FROM t"))  # noqa: E731
    assert read() == [(0,), (1,), (2,)]
    assert read(snapshot__id=str(history[0].snapshot_id)) == read(branch="old") == [(0,)]
    assert read(tag="second") == read(**{"as-of-timestamp": str(history[1].timestamp_ms)}) == [(0,), (1,)]
    start = str(history[0].snapshot_id)
    assert read(start__snapshot__id=start) == [(1,), (2,)]
    assert read(start__snapshot__id=start, end__snapshot__id=str(history[1].snapshot_id)) == [(1,)]
    select = "SELECT a FROM t /*+ OPTIONS('tag' = 'second') */"
    assert len(run(lake.directory, lake.ddl("a BIGINT"), select)) == 2
    for option, value in (
        ("snapshot-id", "5"),
        ("tag", "third"),
        ("branch", "b"),
        ("as-of-timestamp", "5"),
        ("start-snapshot-id", "5"),
    ):
        e = wrong(lake.directory, "SELECT a FROM t", lake.ddl("a BIGINT", **{option: value}))
        assert isinstance(e, OptionError) and f"option '{option}'" in e.message, e.message


def test_columns_that_were_renamed_added_and_made_wider(lake: Lake) -> None:
    t = lake.put(pa.table({"a": pa.array([1], pa.int32()), "b": ["x"], "r": [{"x": 5, "y": "p"}]}))
    with t.update_schema() as u:
        u.rename_column("b", "c")
        u.rename_column("r.x", "z")
    with t.update_schema() as u:
        u.add_column("b", LongType())  # another one, of a former name
        u.update_column("a", LongType())
    t.append(pa.table({"a": [2**40], "c": ["y"], "r": [{"z": 6, "y": "q"}], "b": [7]}))
    columns = "a BIGINT, b BIGINT, c STRING, r ROW<z BIGINT, y STRING>"
    for mode in ("batch", "streaming"):
        got = run(lake.directory, lake.ddl(columns), "SELECT a, b, c, r.z, r.y FROM t", mode=mode)
        assert sorted(got) == [(1, None, "x", 5, "p"), (2**40, 7, "y", 6, "q")]
        for condition, expected in (("a > 5", [2**40]), ("a < 5", [1]), ("b = 7", [2**40]), ("b IS NULL", [1])):
            got = run(lake.directory, lake.ddl(columns), f"SELECT a FROM t WHERE {condition}", mode=mode)
            assert got == [(a,) for a in expected], (mode, condition)
    run(lake.directory, lake.ddl("c STRING, a BIGINT"), "INSERT INTO t VALUES ('z', 3)")
    assert [(r["a"], r["b"], r["c"]) for r in lake.seen()] == [(1, None, "x"), (3, None, "z"), (2**40, 7, "y")]


def test_files_without_ids_of_fields(lake: Lake) -> None:
    """As `add_files` takes them: their columns are known by a name mapping."""
    rows = pa.table({"a": pa.array([1, 2], pa.int64()), "s": ["x", None]})
    pq.write_table(rows, lake.directory / "there.parquet")
    lake.catalog.create_table(("db", "t"), rows.schema)
    lake.table().add_files([str(lake.directory / "there.parquet")])
    for mode in ("batch", "streaming"):
        assert run(lake.directory, lake.ddl("s STRING, a BIGINT"), "SELECT a, s FROM t", mode=mode) == [
            (1, "x"),
            (2, None),
        ]
        assert run(lake.directory, lake.ddl("s STRING, a BIGINT"), "SELECT COUNT(*) FROM t", mode=mode)[-1] == (2,)


def with_deleted_rows(lake: Lake, rows: int, deleted: list[int]) -> None:
    """A file of positional deletes, as other writers make them (the table specification's "Row-level Deletes")."""
    t = lake.put(pa.table({"a": range(rows), "s": [str(i) for i in range(rows)]}))
    (task,) = t.scan().plan_files()
    path = f"{lake.directory}/deletes.parquet"
    schema = pa.schema([
        pa.field("file_path", pa.string(), False, {"PARQUET:field_id": "2147483546"}),
        pa.field("pos", pa.int64(), False, {"PARQUET:field_id": "2147483545"}),
    ])  # fmt: skip
    pq.write_table(pa.table({"file_path": [task.file.file_path] * len(deleted), "pos": deleted}, schema=schema), path)
    file = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES, file_path=path, file_format=FileFormat.PARQUET, partition=task.file.partition,
        record_count=len(deleted), file_size_in_bytes=Path(path).stat().st_size, equality_ids=None, key_metadata=None,
        sort_order_id=None,
    )  # fmt: skip
    file.spec_id = 0
    from pyiceberg.manifest import ManifestContent
    from pyiceberg.table.update.snapshot import _FastAppendFiles

    class Deletes(_FastAppendFiles):
        def new_manifest_writer(self, spec: PartitionSpec) -> Any:
            writer = super().new_manifest_writer(spec)
            writer.content = lambda: ManifestContent.DELETES
            writer._meta["content"] = "deletes"
            return writer

        def _summary(self, snapshot_properties: Any = None) -> Any:
            from pyiceberg.table.snapshots import Operation, Summary

            return Summary(operation=Operation.DELETE)

    with t.transaction() as transaction:
        update = transaction.update_snapshot()
        made = update.fast_append()
        made.__class__ = Deletes
        made.append_data_file(file)
        made.commit()
    assert lake.table().scan().to_arrow().num_rows == rows - len(deleted)


def test_rows_that_are_deleted_in_a_file_are_not_read(lake: Lake) -> None:
    with_deleted_rows(lake, 1000, [0, 1, 500, 999])
    kept = [(a, str(a)) for a in range(1000) if a not in (0, 1, 500, 999)]
    for mode in ("batch", "streaming"):
        assert run(lake.directory, lake.ddl("a BIGINT, s STRING"), "SELECT a, s FROM t", mode=mode) == kept
        assert run(lake.directory, lake.ddl("a BIGINT"), "SELECT COUNT(*) FROM t WHERE a >= 500", mode=mode)[-1] == (
            498,
        )
    run(
        lake.directory,
        lake.ddl("a BIGINT NOT NULL, s STRING, PRIMARY KEY (a) NOT ENFORCED"),
        "INSERT INTO t VALUES (1, 'new'), (2, 'two')",
    )
    expected = {a: s for a, s in kept} | {1: "new", 2: "two"}
    assert {r["a"]: r["s"] for r in lake.seen()} == expected


class TestDeletedRows(SourceContract):
    """Positions of a file that has not all its rows."""

    connector, columns = IcebergConnector, "a BIGINT, s STRING"

    @pytest.fixture(autouse=True)
    def _there(self, lake: Lake) -> None:
        with_deleted_rows(lake, 12, [0, 3, 4, 11])
        self.options = {k: v for k, v in lake.options.items() if k != "connector"}


class TestSource(SourceContract):
    connector, columns = IcebergConnector, "a BIGINT, p STRING, s STRING"

    @pytest.fixture(autouse=True)
    def _there(self, lake: Lake) -> None:
        for n in range(3):
            lake.put(pa.table({"a": range(4 * n, 4 * n + 4), "p": list("xxyy"), "s": ["a", None, "", "ü"]}))
        self.options = {k: v for k, v in lake.options.items() if k != "connector"}


class TestSink(SinkContract):
    connector, columns = IcebergConnector, "a BIGINT, p STRING"
    written = pa.record_batch({"a": pa.array([1, 2, 3], pa.int64()), "p": ["x", "y", "x"]})

    @pytest.fixture(autouse=True)
    def _there(self, lake: Lake) -> None:
        lake.put(pa.table({"a": [0], "p": ["x"]}))
        self.lake = lake
        self.options = {k: v for k, v in lake.options.items() if k != "connector"}

    def seen(self, t: Any) -> list[tuple[Any, ...]]:
        return [(r["a"], r["p"]) for r in self.lake.seen()]


# ---- commits


def put(t: Any, rows: dict[str, Any], task: SinkTask, checkpoint: int) -> list[Any]:
    return write(IcebergConnector, t, rows, task, checkpoint)


def committer_of(t: Any, run_: str = "run") -> Any:
    return IcebergConnector().sink(t).committer(SinkTask("job", run_, 0))


def test_a_checkpoint_is_one_snapshot_and_says_which(lake: Lake) -> None:
    t = lake.context("a BIGINT")
    committer = committer_of(t, "r1")
    parts = [c for n in range(3) for c in put(t, {"a": [n]}, SinkTask("job", "r1", n), 7)]
    together = committer.combine(parts, 0)
    assert len(together) == 1
    committer.commit(together)
    (snapshot,) = lake.table().snapshots()
    said = snapshot.summary.additional_properties
    assert (said["flink.job-id"], said["flink.max-committed-checkpoint-id"]) == ("job.r1", "7")
    assert said["added-records"] == said["added-data-files"] == said["total-records"] == "3"
    assert snapshot.summary.operation.value == "append"
    assert lake.seen() == [{"a": 0}, {"a": 1}, {"a": 2}]
    assert committer.published(6) == ["checkpoint 7 in the Iceberg table lake.db.t"] and committer.published(7) == []
    other = committer_of(t, "r2")
    assert other.others() == ["run r1 in the Iceberg table lake.db.t"] and other.published(0) == []


def test_nothing_written_is_no_snapshot(lake: Lake) -> None:
    t = lake.context("a BIGINT")
    assert put(t, {"a": []}, SinkTask("job", "run", 0), 1) == []
    assert committer_of(t).combine([], 0) == []


@pytest.mark.parametrize("columns", ["a BIGINT", "a BIGINT, PRIMARY KEY (a) NOT ENFORCED"])
def test_of_two_that_commit_a_checkpoint_one_does(lake: Lake, columns: str) -> None:
    """A process that was believed dead, and the one that goes on."""
    t = lake.context(columns)
    task = SinkTask("job", "run", 0)
    parts = [put(t, {"a": [n]}, task, n + 1) for n in range(5)]
    errors: list[BaseException] = []
    barrier = threading.Barrier(3)

    def commit() -> None:
        committer = committer_of(t)
        try:
            for p in parts:
                barrier.wait()
                committer.commit(p)
        except BaseException as e:
            errors.append(e)
            barrier.abort()

    threads = [threading.Thread(target=commit) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert lake.seen() == [{"a": n} for n in range(5)]
    assert len(lake.table().snapshots()) == 5


def test_commits_go_on_beside_other_writers(lake: Lake) -> None:
    t = lake.context("a BIGINT")
    put(t, {"a": []}, SinkTask("job", "run", 0), 1)  # makes the table
    committer, end, theirs = committer_of(t), threading.Event(), []

    def others() -> None:
        while not end.is_set():
            try:
                lake.table().append(longs(-1 - len(theirs)))
            except CommitFailedException:
                continue
            theirs.append(-1 - len(theirs))
            time.sleep(0.05)

    thread = threading.Thread(target=others)
    thread.start()
    try:
        for n in range(1, 11):
            committer.commit(put(t, {"a": [n]}, SinkTask("job", "run", 0), n))
    finally:
        end.set()
        thread.join()
    assert sorted(r["a"] for r in lake.seen()) == sorted([*theirs, *range(1, 11)])


def test_a_checkpoint_that_was_committed_half_way_is_recovered(lake: Lake) -> None:
    t, task = lake.context("a BIGINT"), SinkTask("job", "run", 0)
    one, two = put(t, {"a": [1]}, task, 1), put(t, {"a": [2]}, task, 2)
    committer_of(t).commit(one)
    for before in (Stage.COMMITTING, Stage.COMMITTING, Stage.COMMITTED):
        committer = committer_of(t)
        assert committer.recover(one, before) == []
        assert committer.recover(two, before) == []
        committer.abort()
    assert lake.seen() == [{"a": 1}, {"a": 2}]


def test_a_snapshot_that_said_so_and_expired_is_not_made_again(lake: Lake) -> None:
    t, task = lake.context("a BIGINT"), SinkTask("job", "run", 0)
    one = put(t, {"a": [1]}, task, 1)
    committer_of(t).commit(one)
    (ours,) = lake.table().snapshots()
    lake.table().append(longs(9))
    made = lake.table()
    made.maintenance.expire_snapshots().by_id(ours.snapshot_id).commit()
    assert len(lake.table().snapshots()) == 1
    committer_of(t).recover(one, Stage.COMMITTING)
    assert lake.seen() == [{"a": 1}, {"a": 9}]


def test_what_is_prepared_and_given_up_is_removed(lake: Lake) -> None:
    t, task = lake.context("a BIGINT"), SinkTask("job", "run", 0)
    committer = committer_of(t)
    committer.commit(committer.combine(put(t, {"a": [1]}, task, 1), 0))
    committer.combine(put(t, {"a": [2]}, task, 2), 0)
    data = lake.directory / "warehouse/db/t/data"
    assert len(list(data.glob("*.parquet"))) == 2
    committer.abort()
    assert len(list(data.glob("*.parquet"))) == 1
    writer = IcebergConnector().sink(t).writer(task)
    writer.write(pa.record_batch({"a": pa.array([4], pa.int64())}), None)
    writer.close()
    assert len(list(data.glob("*.parquet"))) == 1 and lake.seen() == [{"a": 1}]


@pytest.mark.parametrize("path", ["/etc/x.parquet", "{table}/../../x.parquet", 5])
def test_a_checkpoint_that_somebody_changed_names_nothing_outside(lake: Lake, path: Any) -> None:
    t = lake.context("a BIGINT")
    (c,) = put(t, {"a": [1]}, SinkTask("job", "run", 0), 1)
    c["files"][0]["path"] = str(path).format(table=lake.table().location())
    with pytest.raises(CheckpointError, match="somebody changed"):
        committer_of(t).commit([c])


def test_a_partitioning_that_changed_under_a_checkpoint_is_an_error(lake: Lake) -> None:
    t = lake.context("a BIGINT")
    one = put(t, {"a": [1]}, SinkTask("job", "run", 0), 1)
    with lake.table().update_spec() as u:
        u.add_identity("a")
    with pytest.raises(CheckpointError, match="is partitioned otherwise now"):
        committer_of(t).commit(one)


# ---- INSERT OVERWRITE, and rows that a key knows


def test_insert_overwrite(lake: Lake) -> None:
    t = lake.ddl("a BIGINT, p STRING", partitioned="p")
    run(lake.directory, t, "INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, CAST(NULL AS STRING)), (4, 'z')")
    before = lake.table().current_snapshot().snapshot_id
    run(lake.directory, t, "INSERT OVERWRITE t VALUES (5, 'x'), (6, CAST(NULL AS STRING))")
    assert [(r["a"], r["p"]) for r in lake.seen()] == [(2, "y"), (4, "z"), (5, "x"), (6, None)]
    run(lake.directory, t, "INSERT OVERWRITE t PARTITION (p = 'z') SELECT 1 WHERE FALSE")
    assert [(r["a"], r["p"]) for r in lake.seen()] == [(2, "y"), (5, "x"), (6, None)]
    assert len(lake.seen(snapshot=before)) == 4, "what was there before is there still"
    u = lake.ddl("a BIGINT", "u")
    run(lake.directory, u, "INSERT INTO u VALUES (1), (2)")
    run(lake.directory, u, "INSERT OVERWRITE u VALUES (3)")
    assert lake.seen("u") == [{"a": 3}]


@pytest.mark.parametrize("partitioned", ["", "p"])
def test_rows_of_a_key_take_each_others_place(lake: Lake, partitioned: str) -> None:
    """By two columns, one of them a partition's; files without such rows stay as they are."""
    row = lambda k, v, p="a": {"k": k, "p": p, "v": v}  # noqa: E731
    changes = [
        ("c", None, row(1, "a")), ("c", None, row(2, "b")), ("c", None, row(3, None)), ("c", None, row(1, "b", "b")),
        ("u", row(1, "a"), row(1, "A")), ("d", row(2, "b"), None), ("c", None, row(4, "d")),
    ]  # fmt: skip
    (lake.directory / "in").mkdir()
    (lake.directory / "in/1.json").write_text(
        "".join(json.dumps({"op": o, "before": b, "after": a}) + "\n" for o, b, a in changes)
    )
    s = "CREATE TABLE s (k INT, p STRING, v STRING) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'debezium-json')"
    t = lake.ddl(
        "k INT NOT NULL, p STRING NOT NULL, v STRING, PRIMARY KEY (k, p) NOT ENFORCED", partitioned=partitioned
    )
    run(lake.directory, t, "INSERT INTO t VALUES (3, 'a', 'old'), (9, 'a', 'kept')")
    run(lake.directory, t, "INSERT INTO t VALUES (100, 'z', 'far')")
    (far,) = (f.file.file_path for f in lake.table().scan(EqualTo("k", 100)).plan_files())
    for size in ("1", "1000"):
        run(lake.directory, s, t, f"SET 'execution.epoch.max-rows' = '{size}'",
            "INSERT INTO t SELECT * FROM s ON CONFLICT DO DEDUPLICATE", mode="streaming")  # fmt: skip
        assert sorted((r["k"], r["p"], r["v"]) for r in lake.seen()) == [
            (1, "a", "A"), (1, "b", "b"), (3, "a", None), (4, "a", "d"), (9, "a", "kept"), (100, "z", "far"),
        ]  # fmt: skip
    assert far in lake.table().inspect.files()["file_path"].to_pylist()
    assert not list((lake.directory / "warehouse/db/t/_sqlstream").iterdir()), "changes that were merged are gone"


def test_with_upsert_off_rows_are_appended(lake: Lake) -> None:
    t = lake.ddl("k INT NOT NULL, PRIMARY KEY (k) NOT ENFORCED", **{"write.upsert.enabled": "false"})
    for _ in range(2):
        run(lake.directory, t, "INSERT INTO t VALUES (1)")
    assert lake.seen() == [{"k": 1}, {"k": 1}]


def test_changes_are_merged_once(lake: Lake) -> None:
    t, task = lake.context("k INT, v INT, PRIMARY KEY (k) NOT ENFORCED"), SinkTask("job", "run", 0)
    one, two = put(t, {"k": [1], "v": [1]}, task, 1), put(t, {"k": [1], "v": [2]}, task, 2)
    committer = committer_of(t)
    committer.commit(one)
    committer.commit(two)
    committer.commit(one)  # its file is gone; it was done
    assert lake.seen() == [{"k": 1, "v": 2}]
    three = put(t, {"k": [2], "v": [3]}, task, 3)
    for file in (lake.directory / "warehouse/db/t/_sqlstream").iterdir():
        file.unlink()
    with pytest.raises(CheckpointError, match="is gone"):
        committer.commit(three)


# ---- following


def following(lake: Lake, **options: str) -> Following:
    given = {"streaming": "true", "monitor-interval": "20 ms", **{k.replace("__", "-"): v for k, v in options.items()}}
    return Following(lake.directory, lake.ddl("a BIGINT", **given), "SELECT a FROM t")


def test_what_is_added_is_followed(lake: Lake) -> None:
    lake.put(longs(1, 2))
    with following(lake, starting__strategy="TABLE_SCAN_THEN_INCREMENTAL") as f:
        f.until(lambda: len(f.rows) == 2)
        for n in range(3, 8):
            lake.put(longs(n))
        f.until(lambda: len(f.rows) == 7)
        assert [r[0] for r in f.rows] == list(range(1, 8))


STRATEGIES: dict[str, tuple[Callable[[Any], dict[str, str]], list[int]]] = {
    "default": (lambda h: {}, [2]),
    "scan": (lambda h: {"starting-strategy": "TABLE_SCAN_THEN_INCREMENTAL"}, [0, 1, 2]),
    "latest": (lambda h: {"starting-strategy": "INCREMENTAL_FROM_LATEST_SNAPSHOT"}, [2]),
    "earliest": (lambda h: {"starting-strategy": "INCREMENTAL_FROM_EARLIEST_SNAPSHOT"}, [0, 1, 2]),
    "id": (lambda h: {"start-snapshot-id": str(h[1].snapshot_id)}, [1, 2]),
    "id said": (
        lambda h: {"starting-strategy": "INCREMENTAL_FROM_SNAPSHOT_ID", "start-snapshot-id": str(h[0].snapshot_id)},
        [0, 1, 2],
    ),
    "time": (lambda h: {"start-snapshot-timestamp": str(h[1].timestamp_ms)}, [1, 2]),
    "time between": (lambda h: {"start-snapshot-timestamp": str(h[0].timestamp_ms + 1)}, [1, 2]),
    "time to come": (lambda h: {"start-snapshot-timestamp": str(h[2].timestamp_ms + 10**9)}, []),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_where_following_begins(lake: Lake, strategy: str) -> None:
    for n in range(3):
        t = lake.put(longs(n))
        time.sleep(0.005)
    options, expected = STRATEGIES[strategy]
    with following(lake, **options(t.history())) as f:
        f.until(lambda: len(f.rows) == len(expected))
        time.sleep(0.1)
        lake.put(longs(9))
        f.until(lambda: len(f.rows) == len(expected) + 1)
        first = [r[0] for r in f.rows[: len(expected)]]  # of one snapshot, files are in no order
        assert (sorted(first) if strategy == "scan" else first) == expected and f.rows[-1] == (9,)


@pytest.mark.parametrize("what", ["rename", "drop", "make anew"])
def test_a_table_that_becomes_another_while_it_is_followed(lake: Lake, what: str) -> None:
    lake.put(longs(1))
    with following(lake) as f:
        f.until(lambda: len(f.rows) == 1)
        if what == "rename":
            with lake.table().update_schema() as u:
                u.rename_column("a", "b")
            lake.table().append(pa.table({"b": pa.array([2], pa.int64())}))
        else:
            lake.catalog.drop_table(("db", "t"))
            if what == "make anew":
                lake.put(longs(2))
        error, said = (
            (OptionError, "has no column 'a'") if what == "rename" else (DataError, "is gone|is another one now")
        )
        with pytest.raises(error, match=said):
            f.until(lambda: False)
        assert f.rows == [(1,)]


def test_a_job_does_not_go_on_with_a_table_that_was_made_anew(lake: Lake) -> None:
    lake.put(longs(1))
    t = lake.context("a BIGINT", streaming="true")
    known = tuple(IcebergConnector().source(t).splits())
    assert IcebergConnector().source(t).splits(known) == list(known)
    lake.catalog.drop_table(("db", "t"))
    lake.put(longs(2))
    with pytest.raises(CheckpointError, match="another table than the one that was read"):
        IcebergConnector().source(t).splits(known)


def test_a_table_without_snapshots_is_followed(lake: Lake) -> None:
    lake.catalog.create_table(("db", "t"), longs().schema)
    with following(lake) as f:
        time.sleep(0.1)
        lake.put(longs(1))
        f.until(lambda: f.rows == [(1,)])


@pytest.mark.parametrize("what", ["delete", "overwrite"])
def test_rows_that_go_are_an_error_unless_it_is_said_that_they_are_not(lake: Lake, what: str) -> None:
    lake.put(longs(1, 2))
    lake.put(longs(3))
    strategy = {"starting-strategy": "TABLE_SCAN_THEN_INCREMENTAL"}
    with (
        following(lake, **strategy) as f,
        following(lake, **strategy, **{f"streaming-skip-{what}-snapshots": "true"}) as g,
    ):
        f.until(lambda: len(f.rows) == 3)
        g.until(lambda: len(g.rows) == 3)
        lake.table().delete("a = 3" if what == "delete" else "a = 2")
        with pytest.raises(DataError, match="is followed as one that is added to") as e:
            f.until(lambda: False)
        assert e.value.hint and f"streaming-skip-{what}-snapshots" in e.value.hint
        lake.put(longs(9))
        g.until(lambda: len(g.rows) == 4)
        assert g.rows[3:] == [(9,)]


# ---- a catalog behind REST, and an object store


def test_a_rest_catalog(tmp_path: Path) -> None:
    server = RestCatalogServer(tmp_path, "very-hidden-word")
    try:
        options = {"connector": "iceberg", "catalog-name": "far", "catalog-type": "rest", "uri": server.uri, "catalog-database": "db",
                   "token": "very-hidden-word"}  # fmt: skip
        t = create("a BIGINT, p STRING", options, partitioned="p")
        for n in range(2):
            run(tmp_path, t, f"INSERT INTO t VALUES ({n}, 'x'), ({n + 10}, 'y')", mode="streaming")
        for mode in ("batch", "streaming"):
            assert sorted(run(tmp_path, t, "SELECT a FROM t WHERE p = 'x'", mode=mode)) == [(0,), (1,)]
        found = server.catalog.load_table(("db", "t")).scan().to_arrow()
        assert sorted(found["a"].to_pylist()) == [0, 1, 10, 11] and server.commits == 2
        keyed = create("k INT NOT NULL, v STRING, PRIMARY KEY (k) NOT ENFORCED", options, "u")
        for value in ("(1, 'a'), (2, 'b')", "(2, 'c')"):
            run(tmp_path, keyed, f"INSERT INTO u VALUES {value}")
        assert sorted(run(tmp_path, keyed, "SELECT * FROM u")) == [(1, "a"), (2, "c")]
        e = wrong(tmp_path, "SELECT a FROM t", create("a BIGINT", {**options, "token": "another-word"}))
        assert "another-word" not in str(e) and "token" in (e.hint or "")
    finally:
        server.close()


@pytest.mark.parametrize("said", ["environment", "session"])
def test_tables_in_an_object_store(lake: Lake, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore()
    try:
        set_options = []
        if said == "environment":
            for name, value in store.environment().items():
                monkeypatch.setenv(name, value)
            S3FileSystem.clear_instance_cache()
        else:
            options = {"endpoint": store.endpoint, "access-key": KEY, "secret-key": SECRET, "path.style.access": "true"}
            set_options = [f"SET 's3.{k}' = '{v}'" for k, v in options.items()]
        lake.options["warehouse"] = f"s3://{BUCKET}/warehouse"
        t = lake.ddl("a BIGINT, p STRING", partitioned="p")
        for values in ("(1, 'x'), (2, 'y/z')", "(3, 'x')"):
            run(lake.directory, *set_options, t, f"INSERT INTO t VALUES {values}", mode="streaming")
        for mode in ("batch", "streaming"):
            assert sorted(run(lake.directory, *set_options, t, "SELECT * FROM t", mode=mode)) == [
                (1, "x"),
                (2, "y/z"),
                (3, "x"),
            ]
        theirs = {
            "s3.endpoint": store.endpoint,
            "s3.access-key-id": KEY,
            "s3.secret-access-key": SECRET,
            "s3.region": "us-east-1",
        }
        catalog = SqlCatalog("lake", **{"uri": lake.options["uri"], **theirs})
        assert sorted(catalog.load_table(("db", "t")).scan().to_arrow()["a"].to_pylist()) == [1, 2, 3]
        catalog.close()
    finally:
        store.stop()


# ---- mistakes


def test_mistakes_say_what_to_do(lake: Lake) -> None:
    lake.put(pa.table({"a": [1], "p": ["x"]}), spec=None)
    select, insert = "SELECT * FROM t", "INSERT INTO t VALUES (1, 'x')"
    e = wrong(lake.directory, select, lake.ddl("a BIGINT", catalog__table="nothing"))
    assert isinstance(e, DataError) and "there is no Iceberg table lake.db.nothing" in e.message
    e = wrong(lake.directory, select, lake.ddl("A BIGINT"))
    assert isinstance(e, OptionError) and "has no column 'A'" in e.message and "did you mean a?" in (e.hint or "")
    e = wrong(lake.directory, select, lake.ddl("a STRING"))
    assert isinstance(e, DataError) and "column a is BIGINT in the parquet file" in e.message
    e = wrong(lake.directory, insert, lake.ddl("a DECIMAL(30, 0), p STRING"))
    assert isinstance(e, OptionError) and "column 'a' is DECIMAL(30, 0), and int64 in the Iceberg table" in e.message
    e = wrong(lake.directory, insert, lake.ddl("a BIGINT, q STRING"))
    assert isinstance(e, OptionError) and "has no column 'q'" in e.message
    e = wrong(lake.directory, insert, lake.ddl("a BIGINT, p STRING", partitioned="p"))
    assert isinstance(e, OptionError) and "is partitioned by ()" in e.message
    e = wrong(lake.directory, "INSERT INTO t VALUES (INTERVAL '1' DAY)", lake.ddl("a INTERVAL DAY"))
    assert isinstance(e, NotSupported) and "INTERVAL" in e.message
    for options, said in (
        ({"snapshot-id": "1", "streaming": "true"}, "is for 'streaming' = 'false'"),
        ({"monitor-interval": "1 s"}, "is for 'streaming' = 'true'"),
        ({"snapshot-id": "1", "tag": "x"}, "both set"),
        ({"streaming": "true", "starting-strategy": "INCREMENTAL_FROM_SNAPSHOT_ID"}, "goes with"),
        ({"end-snapshot-id": "1"}, "goes with 'start-snapshot-id'"),
        ({"catalog-type": "hadoop"}, "hadoop"),
        ({"catalog-impl": "com.example.Catalog"}, "is Java's"),
        ({"catalog-tble": "x"}, "unknown option"),
        ({"write.format.default": "orc"}, "written as parquet"),
        ({"write.upsert.enabled": "true"}, "needs a PRIMARY KEY"),
    ):
        e = wrong(
            lake.directory,
            insert if "write" in next(iter(options)) else select,
            lake.ddl("a BIGINT, p STRING", **options),
        )
        assert said in e.message, (options, e.message)
    without = {k: v for k, v in lake.options.items() if k != "uri"}
    e = wrong(lake.directory, select, create("a BIGINT", without))
    assert isinstance(e, OptionError) and "option 'uri' is missing" in e.message


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """docs/connectors/iceberg.md: its SQL, run, prints its tables."""
    page = (Path(__file__).parents[2] / "docs/connectors/iceberg.md").read_text()
    sql = next(b for kind, b in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S) if kind == "sql")
    (shown,) = (b for kind, b in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S) if not kind)
    (tmp_path / "page.sql").write_text(sql)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "page.sql"]) == 0
    assert capsys.readouterr().out == shown


def test_killed_at_random(tmp_path: Path) -> None:
    """The long form: kill_lakes.py."""
    outcome, n = kill_lakes.Outcome(), 0
    while outcome.kills < 2:
        kill_lakes.one_job("iceberg", tmp_path / str(n), SEED + n, outcome, 2, size=1000)
        n += 1
    assert outcome.looks and outcome.theirs


def test_killed_while_it_follows(tmp_path: Path) -> None:
    outcome = kill_lakes.Outcome()
    kill_lakes.one_following("iceberg", tmp_path / "job", SEED, outcome, 2, versions=8)
    assert outcome.kills == 2
