"""Connector 'delta', over tables on a local disk; what it writes is read by delta-rs itself, and what it reads is written by it."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import struct
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import kill_lakes
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from harness import lakes
from harness.lakes import create, plain, run, wrong
from harness.seed import SEED
from object_store import BUCKET, KEY, SECRET, ObjectStore
from pyroaring import BitMap
from s3fs import S3FileSystem

from sqlstream.cli.main import main
from sqlstream.connectors.delta.connector import DeltaConnector
from sqlstream.contracts import ScanColumn, ScanRequest, SinkTask, Stage
from sqlstream.errors import CheckpointError, DataError, NotSupported, OptionError, RunError, SqlStreamError
from sqlstream.testing.connectors import SinkContract, SourceContract, table

UTC = datetime.UTC
COLUMNS = """b BOOLEAN, i8 TINYINT, i16 SMALLINT, i32 INT, i64 BIGINT NOT NULL, f32 FLOAT, f64 DOUBLE, d DECIMAL(20, 4), s STRING,
  y BYTES, day DATE, at TIMESTAMP(6), instant TIMESTAMP_LTZ(6), r ROW<x INT, y ARRAY<STRING>>, m MAP<STRING, BIGINT>"""
VALUES = {
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
    "at": [datetime.datetime(1969, 12, 31, 23, 59, 59, 999999), None, datetime.datetime(2026, 1, 1, 1, 2, 3, 4)],
    "instant": [datetime.datetime(2026, 1, 1, 1, 2, 3, 4, UTC), None, datetime.datetime(1970, 1, 1, tzinfo=UTC)],
    "r": [{"x": 1, "y": ["a", None]}, None, {"x": None, "y": []}],
    "m": [[("k", 1), ("l", None)], None, []],
}


def ddl(columns: str, path: Path | str, name: str = "t", partitioned: str = "", **options: str) -> str:
    return create(columns, {"connector": "delta", "table-path": str(path), **options}, name, partitioned)


def seen(path: Path, version: int | None = None) -> list[dict[str, Any]]:
    found = pa.table(DeltaTable(str(path), version=version).to_pyarrow_table())
    return found.sort_by([(found.schema.names[0], "ascending")]).to_pylist()


def all_types() -> pa.Table:
    kinds = [pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.decimal128(20, 4),
             pa.string(), pa.binary(), pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"),
             pa.struct([("x", pa.int32()), ("y", pa.list_(pa.string()))]), pa.map_(pa.string(), pa.int64())]  # fmt: skip
    arrays = [pa.array(v, t) for v, t in zip(VALUES.values(), kinds, strict=True)]
    fields = [pa.field(n, t, n != "i64") for n, t in zip(VALUES, kinds, strict=True)]
    return pa.table(arrays, schema=pa.schema(fields))


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_values_of_all_types_are_read(tmp_path: Path, mode: str) -> None:
    write_deltalake(str(tmp_path / "t"), all_types())
    write_deltalake(str(tmp_path / "t"), all_types(), mode="append")
    got = run(tmp_path, ddl(COLUMNS, "t"), "SELECT * FROM t", mode=mode)
    expected = [tuple(VALUES[c][n] for c in VALUES) for n in range(3)]
    assert [tuple(plain(v) for v in r) for r in got] == [tuple(plain(v) for v in r) for r in 2 * expected]


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_values_of_all_types_are_written(tmp_path: Path, mode: str) -> None:
    write_deltalake(str(tmp_path / "s"), all_types())
    run(tmp_path, ddl(COLUMNS, "s", "s"), ddl(COLUMNS, "t"), "INSERT INTO t SELECT * FROM s", mode=mode)
    written = DeltaTable(str(tmp_path / "t"))
    assert json.loads(written.schema().to_json()) == json.loads(DeltaTable(str(tmp_path / "s")).schema().to_json())
    expected, found = all_types(), pa.table(written.to_pyarrow_table())
    for name in expected.schema.names:
        assert found.column(name).to_pylist() == expected.column(name).to_pylist(), name


def test_a_table_is_made_as_it_is_declared(tmp_path: Path) -> None:
    t = ddl("a BIGINT NOT NULL, p STRING", "t", partitioned="p", **{"delta.appendOnly": "true"})
    run(tmp_path, t, "INSERT INTO t VALUES (1, 'x')")
    made = DeltaTable(str(tmp_path / "t"))
    assert made.metadata().partition_columns == ["p"]
    assert made.metadata().configuration == {"delta.appendOnly": "true"}
    assert [f.nullable for f in made.schema().fields] == [False, True]
    assert run(tmp_path, ddl("a BIGINT NOT NULL, p STRING", "t"), "SELECT * FROM t") == [(1, "x")]
    found = run(
        tmp_path, f"CREATE TABLE t WITH ('connector' = 'delta', 'table-path' = '{tmp_path / 't'}')", "DESCRIBE t"
    )
    assert [r[:3] for r in found] == [("a", "BIGINT", "FALSE"), ("p", "STRING", "TRUE")]


PARTITIONS = {
    "STRING": ["a", "a/b %c=ü'", None, " x "],
    "INT": [1, -5, None, 7],
    "DATE": [datetime.date(2026, 1, 2), datetime.date(1960, 1, 1), None, datetime.date(9999, 12, 31)],
    "TIMESTAMP(6)": [datetime.datetime(2026, 1, 2, 3, 4, 5, 678901), datetime.datetime(1960, 1, 1), None, None],
    "TIMESTAMP_LTZ(6)": [
        datetime.datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
        datetime.datetime(1960, 1, 1, tzinfo=UTC),
        None,
        None,
    ],
    "BOOLEAN": [True, False, None, True],
    "DECIMAL(10, 2)": [Decimal("1.50"), Decimal("2.25"), None, Decimal("100.00")],  # delta-rs writes -0.01 as 0.-1,
}


@pytest.mark.parametrize("kind", PARTITIONS)
def test_partitions_of_each_type(tmp_path: Path, kind: str) -> None:
    """Of tables that we write, read by delta-rs; and of those that it writes, read by us."""
    values = PARTITIONS[kind]
    of_type = {"STRING": pa.string(), "INT": pa.int32(), "DATE": pa.date32(), "TIMESTAMP(6)": pa.timestamp("us"),
               "TIMESTAMP_LTZ(6)": pa.timestamp("us", "UTC"), "BOOLEAN": pa.bool_(),
               "DECIMAL(10, 2)": pa.decimal128(10, 2)}[kind]  # fmt: skip
    rows = pa.table({"a": pa.array(range(4), pa.int64()), "p": pa.array(values, of_type), "q": ["1", "2", "1", "2"]})
    write_deltalake(str(tmp_path / "theirs"), rows, partition_by=["p", "q"])
    columns = f"a BIGINT, p {kind}, q STRING"
    run(
        tmp_path, ddl(columns, "theirs", "s"), ddl(columns, "ours", partitioned="p, q"), "INSERT INTO t SELECT * FROM s"
    )
    expected = rows.to_pylist()
    assert seen(tmp_path / "ours") == expected
    for name in ("theirs", "ours"):
        got = run(tmp_path, ddl(columns, name), "SELECT * FROM t")
        assert sorted(tuple(plain(v) for v in r) for r in got) == [tuple(r.values()) for r in expected]
    assert run(tmp_path, ddl(columns, "ours"), "SELECT a FROM t WHERE p IS NULL AND q = '1'") == [(2,)]


def test_partitions_of_numbers_below_zero(tmp_path: Path) -> None:
    """The protocol's text of a decimal is its usual one. delta-rs's own writing, which a MERGE is, has 0.-1 for -0.01: refused."""
    columns, rows = "a BIGINT, p DECIMAL(10, 2)", "(1, -1.50), (2, -0.01), (3, 2.05)"
    t = ddl(columns, "t", partitioned="p")
    run(tmp_path, t, f"INSERT INTO t VALUES {rows}")
    added = pa.table(DeltaTable(str(tmp_path / "t")).get_add_actions(flatten=True))
    assert sorted(added["partition.p"].to_pylist()) == [Decimal("-1.50"), Decimal("-0.01"), Decimal("2.05")]
    log = "\n".join(f.read_text() for f in sorted((tmp_path / "t" / "_delta_log").glob("*.json")))
    values = [json.loads(x)["add"]["partitionValues"]["p"] for x in log.splitlines() if '"add"' in x]
    assert sorted(values) == ["-0.01", "-1.50", "2.05"]
    assert sorted(run(tmp_path, t, "SELECT a FROM t WHERE p < 0")) == [(1,), (2,)]
    for there in ("t", "new"):
        keyed = ddl(f"{columns}, PRIMARY KEY (a, p) NOT ENFORCED", there, partitioned="p")
        e = wrong(tmp_path, f"INSERT INTO t VALUES {rows}", keyed)
        assert isinstance(e, NotSupported) and "column 'p' of type DECIMAL(10, 2), and has a PRIMARY KEY" in e.message
    whole = ddl("a BIGINT, p DECIMAL(10, 0), PRIMARY KEY (a, p) NOT ENFORCED", "whole", partitioned="p")
    run(tmp_path, whole, "INSERT INTO t VALUES (1, -15), (2, 7)")
    assert sorted(run(tmp_path, whole, "SELECT a, p FROM t")) == [(1, Decimal(-15)), (2, Decimal(7))]


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_a_version_that_was_vacuumed(tmp_path: Path, mode: str) -> None:
    for n in range(2):
        write_deltalake(str(tmp_path / "t"), pa.table({"a": [n]}), mode="overwrite")
    DeltaTable(str(tmp_path / "t")).vacuum(0, dry_run=False, enforce_retention_duration=False)
    e = wrong(tmp_path, "SELECT * FROM t", ddl("a BIGINT", "t", versionAsOf="0"), mode=mode)
    assert "which the table's log names, is not there" in e.message and "VACUUM" in (e.hint or "")


def test_bytes_are_no_partition(tmp_path: Path) -> None:
    """delta-rs writes and reads them as a text of theirs, and no two readers as the same one."""
    t = ddl("a BIGINT, p BYTES", "t", partitioned="p")
    assert "partitioned by column 'p' of type BYTES" in wrong(tmp_path, "INSERT INTO t VALUES (1, x'61')", t).message
    write_deltalake(str(tmp_path / "t"), pa.table({"a": [1], "p": [b"a"]}), partition_by=["p"])
    assert "partitioned by column 'p'" in wrong(tmp_path, "SELECT * FROM t", t).message
    assert run(tmp_path, ddl("a BIGINT", "t"), "SELECT * FROM t") == [(1,)]


def test_a_value_that_is_no_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    t = ddl("a BIGINT, p STRING", "t", partitioned="p")
    e = wrong(tmp_path, f"INSERT INTO t VALUES (1, '{'x' * 300}')", t)
    assert isinstance(e, RunError) and "/p=xxx" in e.message and "name too long" in e.message


def test_many_values_of_partitions_in_one_batch(tmp_path: Path) -> None:
    """More than files are open at once, and each row is where it belongs."""
    rows = pa.table({"a": range(1000), "p": [i * i % 150 for i in range(1000)]})
    pq.write_table(rows, tmp_path / "in.parquet")
    run(
        tmp_path,
        "CREATE TABLE s (a BIGINT, p BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in.parquet', 'format' = 'parquet')",
        ddl("a BIGINT, p BIGINT", "t", partitioned="p"),
        "INSERT INTO t SELECT * FROM s",
    )
    assert seen(tmp_path / "t") == rows.to_pylist()


def test_files_are_closed_when_they_have_their_size(tmp_path: Path) -> None:
    rows = pa.table({"a": range(600_000), "s": [str(i * 7919 % 1_000_003) for i in range(600_000)]})
    pq.write_table(rows, tmp_path / "in.parquet")
    run(
        tmp_path,
        "CREATE TABLE s (a BIGINT, s STRING) WITH ('connector' = 'filesystem', 'path' = 'in.parquet', 'format' = 'parquet')",
        ddl("a BIGINT, s STRING", "t", **{"sink.target-file-size": "2 mb"}),
        "INSERT INTO t SELECT * FROM s",
    )
    made = DeltaTable(str(tmp_path / "t"))
    assert len(made.file_uris()) > 1
    assert seen(tmp_path / "t") == rows.to_pylist()


def test_statistics_let_readers_leave_files_out(tmp_path: Path) -> None:
    """By delta-rs: what the log says of a file bounds what is in it."""
    write_deltalake(str(tmp_path / "s"), all_types())
    run(tmp_path, ddl(COLUMNS, "s", "s"), ddl(COLUMNS, "t"), "INSERT INTO t SELECT * FROM s")
    (said,) = pa.table(DeltaTable(str(tmp_path / "t")).get_add_actions(flatten=True)).to_pylist()
    assert said["num_records"] == 3
    for name in ("i8", "i16", "i32", "i64", "d", "s", "day", "at", "instant"):
        values = [v for v in VALUES[name] if v is not None]
        assert said[f"null_count.{name}"] == 3 - len(values)
        assert said[f"min.{name}"] is None or said[f"min.{name}"] <= min(values), name
        assert said.get(f"max.{name}") is None or said[f"max.{name}"] >= max(values), name
    assert said["min.i64"] == -(2**63) and said["max.day"] == datetime.date(2026, 2, 28)
    assert said.get("min.f64") is None, "NaN is above all, and Parquet does not tell of it"


def test_files_of_which_a_filter_leaves_nothing_are_not_opened(tmp_path: Path) -> None:
    for begin in (0, 100):
        rows = pa.table(
            {"a": range(begin, begin + 10), "p": [begin] * 10, "s": [f"{begin + i:03d}" for i in range(10)]}
        )
        write_deltalake(str(tmp_path / "t"), rows, mode="append", partition_by=["p"])
    (tmp_path / "t/p=0").rename(tmp_path / "elsewhere")
    columns = "a BIGINT, p BIGINT, s STRING"
    for mode in ("batch", "streaming"):
        for condition in ("a >= 105", "s > '104'", "p = 100 AND a > 104"):
            got = run(tmp_path, ddl(columns, "t"), f"SELECT a FROM t WHERE {condition}", mode=mode)
            assert got == [(a,) for a in range(105, 110)], (mode, condition)
        with pytest.raises(SqlStreamError, match=r"p=0/.*\.parquet"):
            run(tmp_path, ddl(columns, "t"), "SELECT a FROM t WHERE a < 5", mode=mode)
        assert run(tmp_path, ddl(columns, "t"), "SELECT a FROM t WHERE a > 1000", mode=mode) == []


def test_versions_and_times_of_the_past(tmp_path: Path) -> None:
    for n in range(3):
        write_deltalake(str(tmp_path / "t"), pa.table({"a": [n]}), mode="append")
        if n == 1:
            time.sleep(0.01)
            between = datetime.datetime.now(UTC)
            time.sleep(0.01)
    read = lambda **options: sorted(run(tmp_path, ddl("a BIGINT", "t", **options), "SELECT a FROM t"))  # noqa: E731
    assert read(versionAsOf="0") == [(0,)]
    assert read() == [(0,), (1,), (2,)]
    assert read(timestampAsOf=between.isoformat(timespec="milliseconds").removesuffix("+00:00")) == [(0,), (1,)]
    assert run(tmp_path, ddl("a BIGINT", "t"), "SELECT a FROM t /*+ OPTIONS('versionAsOf' = '0') */") == [(0,)]
    with pytest.raises(SqlStreamError, match="9"):
        read(versionAsOf="9")


def test_columns_that_came_later_are_null_before(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "t"), pa.table({"a": [1]}))
    write_deltalake(str(tmp_path / "t"), pa.table({"a": [2], "b": ["x"]}), mode="append", schema_mode="merge")
    for mode in ("batch", "streaming"):
        assert sorted(run(tmp_path, ddl("a BIGINT, b STRING", "t"), "SELECT * FROM t", mode=mode)) == [
            (1, None),
            (2, "x"),
        ]


def renamed(path: Path) -> None:
    """A table whose columns have other names in its files, as other writers make them (delta-rs does not)."""
    write_deltalake(
        str(path), pa.table({"col-1": [1, 2], "col-2": [{"f-1": 5}, None], "p-1": ["x", "x"]}), partition_by=["p-1"]
    )
    log = path / "_delta_log/00000000000000000000.json"
    said = [json.loads(line) for line in log.read_text().splitlines()]
    name = lambda n, i: {"delta.columnMapping.id": i, "delta.columnMapping.physicalName": n}  # noqa: E731
    inner = {"name": "x", "type": "long", "nullable": True, "metadata": name("f-1", 4)}
    fields = [
        {"name": "a", "type": "long", "nullable": True, "metadata": name("col-1", 1)},
        {"name": "r", "type": {"type": "struct", "fields": [inner]}, "nullable": True, "metadata": name("col-2", 2)},
        {"name": "p", "type": "string", "nullable": True, "metadata": name("p-1", 3)},
    ]
    for action in said:
        if "metaData" in action:
            m = action["metaData"]
            m["schemaString"] = json.dumps({"type": "struct", "fields": fields})
            m["partitionColumns"] = ["p"]
            m["configuration"] = {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "4"}
        if "protocol" in action:
            action["protocol"] = {"minReaderVersion": 2, "minWriterVersion": 5}
    log.write_text("".join(json.dumps(a) + "\n" for a in said))


def test_columns_by_the_names_that_files_have_for_them(tmp_path: Path) -> None:
    renamed(tmp_path / "t")
    columns = "a BIGINT, r ROW<x BIGINT>, p STRING"
    for mode in ("batch", "streaming"):
        got = run(tmp_path, ddl(columns, "t"), "SELECT a, r.x, p FROM t", mode=mode)
        assert got == [(1, 5, "x"), (2, None, "x")]
        assert run(tmp_path, ddl(columns, "t"), "SELECT r FROM t WHERE a = 1", mode=mode) == [({"x": 5},)]
    with pytest.raises(NotSupported, match="columnMapping"):
        run(tmp_path, ddl(columns, "t"), "INSERT INTO t VALUES (1, ROW(1), 'x')")


def with_deleted_rows(path: Path, rows: int, deleted: list[int]) -> None:
    """A table of one file of which rows are deleted by a vector in the log (the protocol's "Deletion Vectors")."""
    write_deltalake(str(path), pa.table({"a": range(rows)}))
    log = path / "_delta_log/00000000000000000000.json"
    said = [json.loads(line) for line in log.read_text().splitlines()]
    bitmap = BitMap(deleted).serialize()
    data = struct.pack("<IQI", 1681511377, 1, 0) + bitmap  # of 64 bits: one of 32, for the numbers below 2^32
    data += b"\0" * (-len(data) % 4)
    for action in said:
        if "protocol" in action:
            features = ["deletionVectors"]
            action["protocol"] = {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": features,
                "writerFeatures": features,
            }
        if "metaData" in action:
            action["metaData"]["configuration"] = {"delta.enableDeletionVectors": "true"}
        if "add" in action:
            action["add"]["deletionVector"] = {
                "storageType": "i", "pathOrInlineDv": z85(data), "sizeInBytes": 16 + len(bitmap), "cardinality": len(deleted),
            }  # fmt: skip
    log.write_text("".join(json.dumps(a) + "\n" for a in said))


def z85(data: bytes) -> str:
    """ZeroMQ's base 85 (https://rfc.zeromq.org/spec/32/)."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    out = ""
    for (n,) in struct.iter_unpack(">I", data):
        out += "".join(digits[n // 85**i % 85] for i in range(4, -1, -1))
    return out


def test_rows_that_are_deleted_in_a_file_are_not_read(tmp_path: Path) -> None:
    with_deleted_rows(tmp_path / "t", 1000, [0, 1, 2, 500, 999])
    kept = [a for a in range(1000) if a not in (0, 1, 2, 500, 999)]
    for mode in ("batch", "streaming"):
        assert run(tmp_path, ddl("a BIGINT", "t"), "SELECT a FROM t", mode=mode) == [(a,) for a in kept]
        assert run(tmp_path, ddl("a BIGINT", "t"), "SELECT COUNT(*) FROM t WHERE a > 499", mode=mode)[-1] == (498,)


class TestDeletedRows(SourceContract):
    """Positions of a file that has not all its rows."""

    connector, columns = DeltaConnector, "a BIGINT"

    @pytest.fixture(autouse=True)
    def _there(self, tmp_path: Path) -> None:
        with_deleted_rows(tmp_path / "t", 12, [0, 3, 4, 11])
        self.options = {"table-path": str(tmp_path / "t")}


class TestSource(SourceContract):
    connector, columns = DeltaConnector, "a BIGINT, p STRING, s STRING"

    @pytest.fixture(autouse=True)
    def _there(self, tmp_path: Path) -> None:
        for n in range(3):
            rows = pa.table({"a": range(4 * n, 4 * n + 4), "p": list("xxyy"), "s": ["a", None, "", "ü"]})
            write_deltalake(str(tmp_path / "t"), rows, mode="append", partition_by=["p"])
        self.options = {"table-path": str(tmp_path / "t")}


class TestSink(SinkContract):
    connector, columns = DeltaConnector, "a BIGINT, p STRING"
    written = pa.record_batch({"a": pa.array([1, 2, 3], pa.int64()), "p": ["x", "y", "x"]})

    @pytest.fixture(autouse=True)
    def _there(self, tmp_path: Path) -> None:
        write_deltalake(str(tmp_path / "t"), pa.table({"a": [0], "p": ["x"]}), partition_by=["p"])
        self.options = {"table-path": str(tmp_path / "t")}

    def seen(self, t: Any) -> list[tuple[Any, ...]]:
        return [(r["a"], r["p"]) for r in seen(Path(t.options["table-path"]))]


# ---- commits


def write(t: Any, rows: dict[str, Any], task: SinkTask, checkpoint: int) -> list[Any]:
    return lakes.write(DeltaConnector, t, rows, task, checkpoint)


def test_a_checkpoint_is_one_version_and_says_which(tmp_path: Path) -> None:
    t = table(DeltaConnector(), "a BIGINT", {"table-path": str(tmp_path / "t")})
    committer = DeltaConnector().sink(t).committer(SinkTask("job", "r1", 0))
    parts = [c for n in range(3) for c in write(t, {"a": [n]}, SinkTask("job", "r1", n), 7)]
    together = committer.combine(parts, 0)
    assert len(together) == 1
    committer.commit(together)
    made = DeltaTable(str(tmp_path / "t"))
    assert made.version() == 1 and seen(tmp_path / "t") == [{"a": 0}, {"a": 1}, {"a": 2}]
    assert made.transaction_version("sqlstream/job/r1") == 7
    said = made.history(1)[0]
    assert (said["sqlstream.job"], said["sqlstream.run"], said["sqlstream.checkpoint"]) == ("job", "r1", "7")
    assert committer.published(6) == [f"checkpoint 7 in the Delta table at {tmp_path / 't'}"]
    assert committer.published(7) == []
    other = DeltaConnector().sink(t).committer(SinkTask("job", "r2", 0))
    assert other.others() == [f"run r1 in the Delta table at {tmp_path / 't'}"] and other.published(0) == []


def test_nothing_written_is_no_version(tmp_path: Path) -> None:
    t = table(DeltaConnector(), "a BIGINT", {"table-path": str(tmp_path / "t")})
    assert write(t, {"a": []}, SinkTask("job", "run", 0), 1) == []
    committer = DeltaConnector().sink(t).committer(SinkTask("job", "run", 0))
    assert committer.combine([], 0) == []


@pytest.mark.parametrize("columns", ["a BIGINT", "a BIGINT, PRIMARY KEY (a) NOT ENFORCED"])
def test_of_two_that_commit_a_checkpoint_one_does(tmp_path: Path, columns: str) -> None:
    """A process that was believed dead, and the one that goes on."""
    t = table(DeltaConnector(), columns, {"table-path": str(tmp_path / "t")})
    task = SinkTask("job", "run", 0)
    parts = [write(t, {"a": [n]}, task, n + 1) for n in range(5)]
    errors: list[BaseException] = []
    barrier = threading.Barrier(4)

    def commit() -> None:
        committer = DeltaConnector().sink(t).committer(task)
        try:
            for p in parts:
                barrier.wait()
                committer.commit(p)
        except BaseException as e:
            errors.append(e)
            barrier.abort()

    threads = [threading.Thread(target=commit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert seen(tmp_path / "t") == [{"a": n} for n in range(5)]
    assert DeltaTable(str(tmp_path / "t")).version() == 5


def test_commits_go_on_beside_other_writers(tmp_path: Path) -> None:
    t = table(DeltaConnector(), "a BIGINT", {"table-path": str(tmp_path / "t")})
    committer = DeltaConnector().sink(t).committer(SinkTask("job", "run", 0))
    write(t, {"a": []}, SinkTask("job", "run", 0), 1)  # makes the table
    end = threading.Event()
    theirs = []

    def others() -> None:
        while not end.is_set():
            write_deltalake(str(tmp_path / "t"), pa.table({"a": [-1 - len(theirs)]}), mode="append")
            theirs.append(-1 - len(theirs))

    thread = threading.Thread(target=others)
    thread.start()
    try:
        for n in range(1, 11):
            committer.commit(write(t, {"a": [n]}, SinkTask("job", "run", 0), n))
    finally:
        end.set()
        thread.join()
    assert sorted(r["a"] for r in seen(tmp_path / "t")) == sorted([*theirs, *range(1, 11)])


def test_a_checkpoint_that_was_committed_half_way_is_recovered(tmp_path: Path) -> None:
    t = table(DeltaConnector(), "a BIGINT", {"table-path": str(tmp_path / "t")})
    task = SinkTask("job", "run", 0)
    one, two = write(t, {"a": [1]}, task, 1), write(t, {"a": [2]}, task, 2)
    DeltaConnector().sink(t).committer(task).commit(one)
    for before in (Stage.COMMITTING, Stage.COMMITTING, Stage.COMMITTED):
        committer = DeltaConnector().sink(t).committer(task)
        assert committer.recover(one, before) == []
        assert committer.recover(two, before) == []
        committer.abort()
    assert seen(tmp_path / "t") == [{"a": 1}, {"a": 2}]


def test_what_is_prepared_and_given_up_is_removed(tmp_path: Path) -> None:
    t = table(DeltaConnector(), "a BIGINT", {"table-path": str(tmp_path / "t")})
    task = SinkTask("job", "run", 0)
    committer = DeltaConnector().sink(t).committer(task)
    kept = committer.combine(write(t, {"a": [1]}, task, 1), 0)
    committer.commit(kept)
    committer.combine(write(t, {"a": [2]}, task, 2), 0)
    assert len(list((tmp_path / "t").glob("*.parquet"))) == 2
    committer.abort()
    assert len(list((tmp_path / "t").glob("*.parquet"))) == 1
    writer = DeltaConnector().sink(t).writer(task)
    writer.write(pa.record_batch({"a": pa.array([3], pa.int64())}), None)
    writer.prepare(3)
    writer.write(pa.record_batch({"a": pa.array([4], pa.int64())}), None)
    writer.close()
    assert seen(tmp_path / "t") == [{"a": 1}]


@pytest.mark.parametrize("path", ["../x.parquet", "/etc/x.parquet", "a/../../x", 5])
def test_a_checkpoint_that_somebody_changed_names_nothing_outside(tmp_path: Path, path: Any) -> None:
    t = table(DeltaConnector(), "a BIGINT", {"table-path": str(tmp_path / "t")})
    (c,) = write(t, {"a": [1]}, SinkTask("job", "run", 0), 1)
    c["files"][0]["path"] = path
    with pytest.raises(CheckpointError, match="somebody changed"):
        DeltaConnector().sink(t).committer(SinkTask("job", "run", 0)).commit([c])


# ---- INSERT OVERWRITE, and rows that a key knows


def test_insert_overwrite(tmp_path: Path) -> None:
    t = ddl("a BIGINT, p STRING", "t", partitioned="p")
    run(tmp_path, t, "INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, CAST(NULL AS STRING)), (4, 'z')")
    run(tmp_path, t, "INSERT OVERWRITE t VALUES (5, 'x'), (6, CAST(NULL AS STRING))")
    assert [(r["a"], r["p"]) for r in seen(tmp_path / "t")] == [(2, "y"), (4, "z"), (5, "x"), (6, None)]
    run(tmp_path, t, "INSERT OVERWRITE t PARTITION (p = 'z') SELECT 1 WHERE FALSE")
    assert [(r["a"], r["p"]) for r in seen(tmp_path / "t")] == [(2, "y"), (5, "x"), (6, None)]
    u = ddl("a BIGINT", "u", "u")
    run(tmp_path, u, "INSERT INTO u VALUES (1), (2)")
    run(tmp_path, u, "INSERT OVERWRITE u VALUES (3)")
    assert seen(tmp_path / "u") == [{"a": 3}]
    assert seen(tmp_path / "u", 1) == [{"a": 1}, {"a": 2}], "what was there before is there still"


def test_rows_of_a_key_take_each_others_place(tmp_path: Path) -> None:
    changes = [
        ("c", None, {"k": 1, "v": "a"}), ("c", None, {"k": 2, "v": "b"}), ("c", None, {"k": 3, "v": None}),
        ("u", {"k": 1, "v": "a"}, {"k": 1, "v": "A"}), ("d", {"k": 2, "v": "b"}, None), ("c", None, {"k": 4, "v": "d"}),
    ]  # fmt: skip
    (tmp_path / "in").mkdir()
    (tmp_path / "in/1.json").write_text(
        "".join(json.dumps({"op": o, "before": b, "after": a}) + "\n" for o, b, a in changes)
    )
    s = "CREATE TABLE s (k INT, v STRING) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'debezium-json')"
    t = ddl("k INT, v STRING, PRIMARY KEY (k) NOT ENFORCED", "t")
    write_deltalake(str(tmp_path / "t"), pa.table({"k": pa.array([3, 9], pa.int32()), "v": ["old", "kept"]}))
    for size in ("1", "1000"):
        run(
            tmp_path,
            s,
            t,
            f"SET 'execution.epoch.max-rows' = '{size}'",
            "INSERT INTO t SELECT * FROM s ON CONFLICT DO DEDUPLICATE",
            mode="streaming",
        )
        assert seen(tmp_path / "t") == [
            {"k": 1, "v": "A"}, {"k": 3, "v": None}, {"k": 4, "v": "d"}, {"k": 9, "v": "kept"},
        ]  # fmt: skip
    assert not list((tmp_path / "t/_sqlstream").iterdir()), "changes that were merged are gone"


def test_changes_are_merged_once(tmp_path: Path) -> None:
    """Also where what they were merged of has changed since."""
    t = table(DeltaConnector(), "k INT, v INT, PRIMARY KEY (k) NOT ENFORCED", {"table-path": str(tmp_path / "t")})
    task = SinkTask("job", "run", 0)
    one = write(t, {"k": [1], "v": [1]}, task, 1)
    two = write(t, {"k": [1], "v": [2]}, task, 2)
    committer = DeltaConnector().sink(t).committer(task)
    committer.commit(one)
    committer.commit(two)
    committer.commit(one)  # its file is gone; it was done
    assert seen(tmp_path / "t") == [{"k": 1, "v": 2}]
    three = write(t, {"k": [2], "v": [3]}, task, 3)
    for file in (tmp_path / "t/_sqlstream").iterdir():
        file.unlink()
    with pytest.raises(CheckpointError, match="is gone"):
        committer.commit(three)


def test_two_statements_that_write_the_same_keys(tmp_path: Path) -> None:
    t = table(DeltaConnector(), "k INT, v INT, PRIMARY KEY (k) NOT ENFORCED", {"table-path": str(tmp_path / "t")})
    committer = DeltaConnector().sink(t).committer(SinkTask("job", "run", 0))
    parts = [c for n in range(2) for c in write(t, {"k": [1, n + 2], "v": [n, n]}, SinkTask("job", "run", n), 1)]
    committer.commit(committer.combine(parts, 0))
    assert seen(tmp_path / "t") == [{"k": 1, "v": 1}, {"k": 2, "v": 0}, {"k": 3, "v": 1}]
    u = table(DeltaConnector(), "k INT, v INT", {"table-path": str(tmp_path / "t")})
    with pytest.raises(OptionError, match="with and without a PRIMARY KEY"):
        committer.combine([*parts, *write(u, {"k": [1], "v": [1]}, SinkTask("job", "run", 2), 1)], 0)


def test_changes_that_no_checkpoint_knows_are_removed(tmp_path: Path) -> None:
    t = table(DeltaConnector(), "k INT, v INT, PRIMARY KEY (k) NOT ENFORCED", {"table-path": str(tmp_path / "t")})
    write(t, {"k": [1], "v": [1]}, SinkTask("job", "run", 0), 1)
    write(t, {"k": [1], "v": [1]}, SinkTask("job", "other", 0), 1)
    DeltaConnector().sink(t).committer(SinkTask("job", "run", 0)).abort()
    (left,) = (tmp_path / "t/_sqlstream").iterdir()
    assert left.name.startswith("job-other-")


# ---- following


def following(directory: Path, **options: str) -> lakes.Following:
    given = {"mode": "streaming", "updateCheckIntervalMillis": "20", **options}
    table_ = ddl("a BIGINT", given.pop("table-path", str(directory / "t")), **given)
    return lakes.Following(directory, table_, "SELECT a FROM t")


def test_what_is_added_is_followed(tmp_path: Path) -> None:
    put = lambda *a: write_deltalake(str(tmp_path / "t"), pa.table({"a": a}), mode="append")  # noqa: E731
    put(1, 2)
    f = following(tmp_path)
    try:
        f.until(lambda: len(f.rows) == 2)
        for n in range(3, 8):
            put(n)
        f.until(lambda: len(f.rows) == 7)
        DeltaTable(str(tmp_path / "t")).optimize.compact()  # the same rows in other files
        put(8)
        f.until(lambda: len(f.rows) == 8)
        assert [r[0] for r in f.rows] == list(range(1, 9))
    finally:
        f.close()


@pytest.mark.parametrize("begin, expected", [("1", [1, 2, 9]), ("0", [0, 1, 2, 9]), ("latest", [9]), ("3", [9])])
def test_where_following_begins(tmp_path: Path, begin: str, expected: list[int]) -> None:
    for n in range(3):
        write_deltalake(str(tmp_path / "t"), pa.table({"a": [n]}), mode="append")
    f = following(tmp_path, startingVersion=begin)
    try:
        f.until(lambda: len(f.rows) == len(expected) - 1)
        time.sleep(0.2)  # it has looked
        write_deltalake(str(tmp_path / "t"), pa.table({"a": [9]}), mode="append")
        f.until(lambda: len(f.rows) == len(expected))
        assert [r[0] for r in f.rows] == expected
    finally:
        f.close()


def test_following_begins_at_a_time(tmp_path: Path) -> None:
    for n in range(3):
        if n == 2:
            time.sleep(0.01)
            at = datetime.datetime.now(UTC).isoformat(timespec="milliseconds")
        write_deltalake(str(tmp_path / "t"), pa.table({"a": [n]}), mode="append")
    f = following(tmp_path, startingTimestamp=at)
    try:
        f.until(lambda: bool(f.rows))
        assert f.rows == [(2,)]
    finally:
        f.close()


@pytest.mark.parametrize("what", ["delete a file", "change rows", "overwrite"])
def test_rows_that_go_are_an_error_unless_it_is_said_that_they_are_not(tmp_path: Path, what: str) -> None:
    def change() -> None:
        t = DeltaTable(str(tmp_path / "t"))
        if what == "delete a file":
            t.delete("a = 3")
        elif what == "change rows":
            t.update(updates={"a": "20"}, predicate="a = 2")
        else:
            write_deltalake(t, pa.table({"a": [7]}), mode="overwrite")

    def fresh() -> None:
        write_deltalake(str(tmp_path / "t"), pa.table({"a": [1, 2]}), mode="overwrite")
        write_deltalake(str(tmp_path / "t"), pa.table({"a": [3]}), mode="append")

    option = "ignoreDeletes" if what == "delete a file" else "ignoreChanges"
    expected = {"delete a file": [], "change rows": [1, 20], "overwrite": [7]}[what]
    fresh()
    f = following(tmp_path)
    try:
        f.until(lambda: len(f.rows) == 3)
        change()
        with pytest.raises(DataError, match="is followed as one that is added to") as e:
            f.until(lambda: False)
        assert e.value.hint and option in e.value.hint
    finally:
        f.close()
    fresh()
    f = following(tmp_path, **{option: "true"})
    try:
        f.until(lambda: len(f.rows) == 3)
        change()
        write_deltalake(str(tmp_path / "t"), pa.table({"a": [9]}), mode="append")
        f.until(lambda: (9,) in f.rows)
        assert sorted(r[0] for r in f.rows[3:]) == sorted([*expected, 9])
    finally:
        f.close()


def test_a_log_that_was_cleaned_up_is_an_error(tmp_path: Path) -> None:
    t = tmp_path / "t"
    for n in range(4):
        write_deltalake(str(t), pa.table({"a": [n]}), mode="append")
    DeltaTable(str(t)).create_checkpoint()
    for n in range(3):
        (t / f"_delta_log/{n:020d}.json").unlink()
    with pytest.raises(DataError, match="version 1 .* is there no more; the oldest is 3"):
        f = following(tmp_path, startingVersion="1")
        try:
            f.until(lambda: False)
        finally:
            f.close()


def test_a_table_that_was_made_anew_is_not_gone_on_with(tmp_path: Path) -> None:
    """Its versions begin at 0 again: behind the one that was read nothing comes for long, and then what comes is not all."""

    def anew(versions: int) -> None:
        shutil.rmtree(tmp_path / "t", ignore_errors=True)
        for n in range(versions):
            write_deltalake(str(tmp_path / "t"), pa.table({"a": [n]}), mode="append")

    anew(3)
    f = following(tmp_path)
    try:
        f.until(lambda: len(f.rows) == 3)
        anew(1)
        with pytest.raises(DataError, match="its newest one is 0|there is no Delta table"):
            f.until(lambda: False)
    finally:
        f.close()
    t = table(DeltaConnector(), "a BIGINT", {"table-path": str(tmp_path / "t"), "mode": "streaming"})
    known = tuple(DeltaConnector().source(t).splits())
    assert DeltaConnector().source(t).splits(known) == list(known)
    anew(5)
    with pytest.raises(CheckpointError, match="another table than the one that was read"):
        DeltaConnector().source(t).splits(known)


def test_a_column_that_gets_another_name_while_the_table_is_followed(tmp_path: Path) -> None:
    """Its rows would be NULL, or those of a column that has its name now."""
    renamed(tmp_path / "t")
    log = tmp_path / "t/_delta_log"
    said = [json.loads(line) for line in (log / f"{0:020d}.json").read_text().splitlines()]
    (described,) = (a for a in said if "metaData" in a)
    described["metaData"]["schemaString"] = described["metaData"]["schemaString"].replace('"name": "a"', '"name": "b"')
    f = following(tmp_path)
    try:
        f.until(lambda: len(f.rows) == 2)
        (tmp_path / "next").write_text(json.dumps(described) + "\n")
        (tmp_path / "next").rename(log / f"{1:020d}.json")
        with pytest.raises(OptionError, match="has no column 'a'"):
            f.until(lambda: False)
    finally:
        f.close()


# ---- object stores


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    store = ObjectStore()
    yield store
    store.stop()


@pytest.mark.parametrize("said", ["environment", "session"])
def test_tables_in_an_object_store(
    store: ObjectStore, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, set_options = f"s3://{BUCKET}/{said}/t", []
    if said == "environment":
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
    else:
        options = {"endpoint": store.endpoint, "access-key": KEY, "secret-key": SECRET, "path.style.access": "true"}
        set_options = [f"SET 's3.{k}' = '{v}'" for k, v in options.items()]
    t = ddl("a BIGINT, p STRING", url, partitioned="p")
    for values in ("(1, 'x'), (2, 'y/z')", "(3, 'x')"):
        run(tmp_path, *set_options, t, f"INSERT INTO t VALUES {values}", mode="streaming")
    for mode in ("batch", "streaming"):
        assert sorted(run(tmp_path, *set_options, t, "SELECT * FROM t", mode=mode)) == [(1, "x"), (2, "y/z"), (3, "x")]
        assert run(tmp_path, *set_options, t, "SELECT a FROM t WHERE p = 'y/z'", mode=mode) == [(2,)]
    theirs = {"AWS_ENDPOINT_URL": store.endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
              "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}  # fmt: skip
    found = pa.table(DeltaTable(url, storage_options=theirs).to_pyarrow_table())
    assert sorted(found.column("a").to_pylist()) == [1, 2, 3]
    keyed = ddl("k INT, v STRING, PRIMARY KEY (k) NOT ENFORCED", f"s3://{BUCKET}/{said}/u", "u")
    for value in ("(1, 'a'), (2, 'b')", "(2, 'c')"):
        run(tmp_path, *set_options, keyed, f"INSERT INTO u VALUES {value}", mode="streaming")
    assert sorted(run(tmp_path, *set_options, keyed, "SELECT * FROM u")) == [(1, "a"), (2, "c")]


def test_a_table_in_a_store_is_followed(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    url = f"s3://{BUCKET}/followed/t"
    put = lambda n: run(tmp_path, ddl("a BIGINT", url), f"INSERT INTO t VALUES ({n})")  # noqa: E731
    put(1)
    f = following(tmp_path, **{"table-path": url})
    try:
        f.until(lambda: f.rows == [(1,)])
        put(2)
        f.until(lambda: f.rows == [(1,), (2,)])
    finally:
        f.close()


# ---- mistakes


def test_mistakes_say_what_to_do(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "t"), pa.table({"a": [1], "p": ["x"]}), partition_by=["p"])
    select = "SELECT * FROM t"
    e = wrong(tmp_path, select, ddl("a BIGINT", "nowhere"))
    assert isinstance(e, DataError) and "there is no Delta table" in e.message and "table-path" in (e.hint or "")
    e = wrong(tmp_path, select, ddl("A BIGINT", "t"))
    assert isinstance(e, OptionError) and "has no column 'A'" in e.message and "did you mean a?" in (e.hint or "")
    e = wrong(tmp_path, select, ddl("a STRING", "t"))
    assert isinstance(e, DataError) and "column a is BIGINT in the parquet file" in e.message
    e = wrong(tmp_path, "INSERT INTO t VALUES (1)", ddl("a DECIMAL(30, 0)", "t"))
    assert isinstance(e, OptionError) and "column 'a' is DECIMAL(30, 0), and int64 in the Delta table" in e.message
    e = wrong(tmp_path, "INSERT INTO t VALUES (1, 'x')", ddl("a BIGINT, p STRING", "t", partitioned="a"))
    assert isinstance(e, OptionError) and "is partitioned by (p)" in e.message
    e = wrong(tmp_path, "INSERT INTO t VALUES (1, 'x')", ddl("a BIGINT, q STRING", "t"))
    assert isinstance(e, OptionError) and "has no column 'q'" in e.message
    e = wrong(tmp_path, "INSERT INTO t VALUES (TIME '10:00:00')", ddl("a TIME", "u"))
    assert isinstance(e, NotSupported) and "TIME" in e.message
    for options, said in (
        ({"versionAsOf": "1", "mode": "streaming"}, "is for 'mode' = 'batch'"),
        ({"startingVersion": "1"}, "is for 'mode' = 'streaming'"),
        ({"versionAsOf": "1", "timestampAsOf": "2026-01-01"}, "both set"),
        ({"timestampAsOf": "yesterday"}, "is no time"),
        ({"mode": "streaming", "startingVersion": "first"}, "is no version"),
        ({"table-pth": "x"}, "unknown option"),
    ):
        e = wrong(tmp_path, select, ddl("a BIGINT", "t", **options))
        assert isinstance(e, OptionError) and said in e.message, (options, e.message)


def test_tables_whose_writers_have_more_to_see_to_are_refused(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "t"), pa.table({"a": [1]}))
    DeltaTable(str(tmp_path / "t")).alter.add_constraint({"positive": "a > 0"})
    e = wrong(tmp_path, "INSERT INTO t VALUES (1)", ddl("a BIGINT", "t"))
    assert isinstance(e, NotSupported) and "delta.constraints.positive" in e.message
    assert run(tmp_path, ddl("a BIGINT", "t"), "SELECT a FROM t") == [(1,)]


def test_the_table_of_an_existing_type_that_is_wider(tmp_path: Path) -> None:
    write_deltalake(
        str(tmp_path / "t"),
        pa.table({"b": pa.array([], pa.float64()), "a": pa.array([], pa.int64()), "c": pa.array([], pa.string())}),
    )
    run(tmp_path, ddl("a INT, b FLOAT", "t"), "INSERT INTO t VALUES (1, CAST(0.5 AS FLOAT))")
    assert seen(tmp_path / "t") == [{"b": 0.5, "a": 1, "c": None}]


def test_a_request_in_the_files_own_names() -> None:
    from sqlstream.connectors.lake.columns import ABSENT, Names, physical
    from sqlstream.types import BIGINT, STRING, array, row

    names = Names(
        {
            "r": (
                "col-1",
                Names(
                    {"x": ("f-1", Names()), "l": ("f-2", Names({"element": ("element", Names({"y": ("g", Names())}))}))}
                ),
            )
        }
    )
    t = row(("x", BIGINT), ("l", array(row(("y", STRING), ("z", STRING)))))
    request = ScanRequest((ScanColumn(("r",), t), ScanColumn(("r", "x"), BIGINT), ScanColumn(("s",), STRING)))
    found = physical(request, names)
    assert [c.path for c in found.columns] == [("col-1",), ("col-1", "f-1"), (ABSENT,)]
    assert found.columns[0].type == row(("f-1", BIGINT), ("f-2", array(row(("g", STRING), (ABSENT, STRING)))))
    assert found.columns[0].type.arrow() == t.arrow()


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """docs/connectors/delta.md: its SQL, run, prints its tables."""
    page = (Path(__file__).parents[2] / "docs/connectors/delta.md").read_text()
    (sql,) = re.findall(r"^```sql\n(.*?)^```$", page, re.M | re.S)
    (shown,) = (b for kind, b in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S) if not kind)
    (tmp_path / "page.sql").write_text(sql)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "page.sql"]) == 0
    assert capsys.readouterr().out == shown


def test_killed_at_random(tmp_path: Path) -> None:
    """The long form: kill_lakes.py."""
    outcome, n = kill_lakes.Outcome(), 0
    while outcome.kills < 2:
        kill_lakes.one_job("delta", tmp_path / str(n), SEED + n, outcome, 2, size=1000)
        n += 1
    assert outcome.looks and outcome.theirs


def test_killed_while_it_follows(tmp_path: Path) -> None:
    outcome = kill_lakes.Outcome()
    kill_lakes.one_following("delta", tmp_path / "job", SEED, outcome, 2, versions=8)
    assert outcome.kills == 2
