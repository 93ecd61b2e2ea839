"""Connector 'jdbc' with SQLite and DuckDB: files as databases."""

from __future__ import annotations

import datetime
import json
import pickle
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from connector_cases import connector_of, read, relation, schema, sink_of, source_of, whole

from sqlstream.batches import Kind
from sqlstream.cli.main import main
from sqlstream.connectors.jdbc import sqlite_database
from sqlstream.connectors.jdbc.connector import JdbcConnector
from sqlstream.connectors.jdbc.database import Passing
from sqlstream.contracts import ScanRequest, SinkTask, TableContext
from sqlstream.errors import CheckpointError, DataError, OptionError, SqlStreamError
from sqlstream.expressions import Call, Column, Literal
from sqlstream.literals import quoted
from sqlstream.session import Session
from sqlstream.sql.types import parse_type
from sqlstream.testing.connectors import SinkContract, SourceContract
from sqlstream.types import BOOLEAN, INT, STRING, Schema

Rows = list[tuple[Any, ...]]
AB = schema(("a", INT), ("b", STRING))


class File:
    """A database of a kind, and a table of it as it is declared here."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind, self.path = kind, path
        self.url = f"jdbc:{kind}:{path}"
        self.run("CREATE TABLE IF NOT EXISTS empty (x INTEGER)")

    def run(self, *statements: str) -> Rows:
        """The rows of the last one."""
        found: Rows = []
        if self.kind == "sqlite":
            with sqlite3.connect(self.path, isolation_level=None) as one:
                for s in statements:
                    found = one.execute(s).fetchall()
            one.close()
        else:
            with duckdb.connect(str(self.path)) as other:
                for s in statements:
                    found = other.execute(s).fetchall()
        return found

    def table(self, columns: Schema = AB, key: tuple[str, ...] = (), name: str = "t", **more: str) -> TableContext:
        given = {k.replace("__", "-").replace("_", "."): v for k, v in more.items()}
        options = {"connector": "jdbc", "url": self.url, "table-name": name, **given}
        return TableContext("t", columns, options, key)

    def sql(self, columns: str, script: str, name: str = "t", **options: str) -> Rows:
        """The rows of the last statement of a script over table t."""
        given = {"connector": "jdbc", "url": self.url, "table-name": name, **options}
        listed = ", ".join(f"'{k}' = {quoted(v)}" for k, v in given.items())
        found: Rows = []
        for result in Session().execute(f"CREATE TABLE t {columns} WITH ({listed}); {script}"):
            found = [tuple(r.values()) for batch, _ in result.batches() for r in batch.to_pylist()]
        return found


@pytest.fixture(params=["sqlite", "duckdb"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> File:
    return File(request.param, tmp_path / "a file's database.db")


@pytest.fixture
def sqlite(tmp_path: Path) -> File:
    return File("sqlite", tmp_path / "one.db")


@pytest.fixture
def duck(tmp_path: Path) -> File:
    return File("duckdb", tmp_path / "one.duckdb")


def write(t: TableContext, rows: list[list[Any]], run: str = "run") -> None:
    """Rows as a task of a job writes them, committed."""
    task = SinkTask("job", run, 0)
    sink = pickle.loads(pickle.dumps(sink_of(t)))
    writer = sink.writer(task)
    arrays = [pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), t.schema.arrow(), strict=True)]
    try:
        writer.write(pa.RecordBatch.from_arrays(arrays, names=list(t.schema.names)), None)
        writer.flush()
        staged = json.loads(json.dumps(writer.prepare(1)))
    finally:
        writer.close()
    sink.committer(task).commit(staged)


# ---- the contracts


def contracts(kind: str) -> tuple[type[SourceContract], type[SinkContract]]:
    class Made:
        connector, columns = JdbcConnector, "a INT, b STRING"
        options: Mapping[str, str]
        file: File

        @pytest.fixture(autouse=True)
        def _file(self, tmp_path: Path) -> None:
            self.file = File(kind, tmp_path / "contract")
            self.file.run(
                "CREATE TABLE t (a INTEGER, b TEXT)", "INSERT INTO t VALUES (1, 'x'), (2, NULL), (3, ''), (4, 'y')"
            )
            given = {"url": self.file.url, "table-name": "t", "sink.delivery-guarantee": "exactly-once"}
            self.options = given

    class Reads(Made, SourceContract):
        pass

    class Writes(Made, SinkContract):
        written = pa.record_batch({"a": pa.array([7, 8], pa.int32()), "b": ["p", None]})

        def seen(self, t: TableContext) -> Rows:
            return self.file.run("SELECT a, b FROM t")

    return Reads, Writes


TestSqliteSource, TestSqliteSink = contracts("sqlite")
TestDuckDBSource, TestDuckDBSink = contracts("duckdb")

# ---- values

Z = datetime.UTC
SQLITE_TYPES = {
    "a": ("BOOLEAN", "BOOLEAN", True),
    "b": ("SMALLINT", "TINYINT", -128),
    "c": ("INT", "INT", 2147483647),
    "d": ("BIGINT", "BIGINT", -(2**63)),
    "e": ("REAL", "FLOAT", 1.5),
    "f": ("DOUBLE PRECISION", "DOUBLE", -1e300),
    "g": ("TEXT", "DECIMAL(38, 9)", Decimal("-12345678901234567890123456789.123456789")),
    "h": ("DECIMAL(9, 2)", "DECIMAL(9, 2)", Decimal("1.10")),
    "i": ("TEXT", "STRING", "é\n\t\\ \"quoted\" 'x' \U0001f600"),
    "j": ("VARCHAR(5)", "STRING", ""),
    "l": ("BLOB", "BYTES", b"\x00\xff\\"),
    "m": ("DATE", "DATE", datetime.date(1, 1, 1)),
    "n": ("TIME", "TIME", datetime.time(23, 59, 59)),
    "o": ("DATETIME", "TIMESTAMP(6)", datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)),
    "p": ("TIMESTAMP", "TIMESTAMP_LTZ(3)", datetime.datetime(2026, 3, 4, 5, 6, 7, 890000, Z)),
    "q": ("INTEGER", "BOOLEAN", False),
}  # fmt: skip
DUCKDB_TYPES = {
    "a": ("BOOLEAN", "BOOLEAN", True),
    "b": ("TINYINT", "TINYINT", -128),
    "b2": ("USMALLINT", "INT", 65535),
    "c": ("INTEGER", "INT", 2147483647),
    "d": ("BIGINT", "BIGINT", -(2**63)),
    "d2": ("UBIGINT", "DECIMAL(20, 0)", Decimal(2**64 - 1)),
    "e": ("FLOAT", "FLOAT", 1.5),
    "f": ("DOUBLE", "DOUBLE", -1e300),
    "g": ("DECIMAL(38, 9)", "DECIMAL(38, 9)", Decimal("-12345678901234567890123456789.123456789")),
    "i": ("VARCHAR", "STRING", "é\n\t\\ \"quoted\" 'x' \U0001f600"),
    "l": ("BLOB", "BYTES", b"\x00\xff\\"),
    "m": ("DATE", "DATE", datetime.date(1, 1, 1)),
    "n": ("TIME", "TIME", datetime.time(23, 59, 59)),
    "o": ("TIMESTAMP", "TIMESTAMP(6)", datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)),
    "o2": ("TIMESTAMP_S", "TIMESTAMP(0)", datetime.datetime(1969, 12, 31, 23, 59, 59)),
    "p": ("TIMESTAMPTZ", "TIMESTAMP_LTZ(3)", datetime.datetime(2026, 3, 4, 5, 6, 7, 890000, Z)),
    "q": ("UUID", "STRING", "c0ffee00-0000-4000-8000-000000000000"),
    "r": ("ENUM ('bad', 'so-so')", "STRING", "so-so"),
    "u": ("INTEGER[]", "ARRAY<INT>", [1, None, 3]),
    "v": ("VARCHAR[]", "ARRAY<STRING>", ["a", "", None, "b,\"'{}\\"]),
}  # fmt: skip


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_all_types_go_there_and_back(file: File, guarantee: str) -> None:
    types: dict[str, tuple[str, str, Any]] = SQLITE_TYPES if file.kind == "sqlite" else DUCKDB_TYPES
    file.run(f"CREATE TABLE t ({', '.join(f'{c} {t[0]}' for c, t in types.items())})")
    t = file.table(schema(*((c, parse_type(t[1])) for c, t in types.items())), sink_delivery__guarantee=guarantee)
    values = [v[2] for v in types.values()]
    write(t, [values, [None] * len(values)])
    expected = [tuple(values), (None,) * len(values)]
    assert read(t)[0] == expected == relation(t)


def test_what_sqlite_has_may_have_been_written_by_others(sqlite: File) -> None:
    """Texts of times in the forms that SQLite's functions know, and numbers of any kind."""
    sqlite.run(
        "CREATE TABLE t (a TIMESTAMP, b TIMESTAMP, c TIME, d NUMERIC, e, f INTEGER)",
        "INSERT INTO t VALUES ('2026-01-02 03:04', '2026-01-02T03:04:05+02:00', '03:04', 1.25, 7, 1)",
        "INSERT INTO t VALUES ('2026-01-02', '2026-01-02 03:04:05', '03:04:05', '1e2', 'seven', 0)",
    )
    types = ("TIMESTAMP(3)", "TIMESTAMP_LTZ(3)", "TIME", "DECIMAL(5, 1)", "STRING", "BOOLEAN")
    t = sqlite.table(schema(*((n, parse_type(x)) for n, x in zip("abcdef", types, strict=True))))
    at = datetime.datetime
    assert read(t)[0] == [
        (at(2026, 1, 2, 3, 4), at(2026, 1, 2, 1, 4, 5, tzinfo=Z), datetime.time(3, 4), Decimal("1.3"), "7", True),
        (at(2026, 1, 2), at(2026, 1, 2, 3, 4, 5, tzinfo=Z), datetime.time(3, 4, 5), Decimal("100.0"), "seven", False),
    ]


@pytest.mark.parametrize(
    ("kind", "there", "here", "value", "text"),
    [
        ("sqlite", "INTEGER", "INT", "'x'", r"column a \(INTEGER\) has a value that is no INT"),
        ("sqlite", "INTEGER", "INT", "2147483648", "has a value that is no INT"),
        ("sqlite", "INTEGER", "BIGINT", "1.5", "has a value that is no BIGINT"),
        ("sqlite", "TEXT", "TIMESTAMP(3)", "'2026-13-01 00:00:00'", r"has a value that is no TIMESTAMP\(3\)"),
        ("sqlite", "DATE", "DATE", "20454", "has a value that is no DATE"),
        ("sqlite", "DATE", "DATE", "'0000-01-01'", "a year that is not in 1 to 9999"),
        ("duckdb", "BIGINT", "INT", "2147483648", "out of range"),
        ("duckdb", "DECIMAL(10, 1)", "DECIMAL(3, 1)", "1000", r"out of range for DECIMAL\(3, 1\)"),
        ("duckdb", "TIMESTAMP", "TIMESTAMP(3)", "'infinity'", "has 'infinity', or a year"),
        ("duckdb", "DATE", "DATE", "'0044-03-15 (BC)'", "has 'infinity', or a year"),
    ],
)
def test_values_that_the_type_cannot_hold_are_errors(
    tmp_path: Path, kind: str, there: str, here: str, value: str, text: str
) -> None:
    file = File(kind, tmp_path / "db")
    file.run(f"CREATE TABLE t (a {there})", f"INSERT INTO t VALUES ({value})")
    with pytest.raises(SqlStreamError, match=f"table t: .*{text}"):
        read(file.table(schema(("a", parse_type(here)))))


def test_a_table_without_columns_has_those_of_the_database(sqlite: File, duck: File) -> None:
    sqlite.run(
        'CREATE TABLE t (a INT, "B`b" DECIMAL(5,1), c VARCHAR(9), d NUMERIC, e DATETIME, f BLOB, g, h DOUBLE, '
        "i AS (a + 1), PRIMARY KEY (c, a)) WITHOUT ROWID"
    )
    connector, own = connector_of(sqlite.table(Schema(())))
    assert connector.ddl_columns(own) == (
        "`a` BIGINT, `B``b` DECIMAL(5, 1), `c` STRING, `d` DECIMAL(38, 18), `e` TIMESTAMP(6), `f` BYTES, `g` BYTES, "
        "`h` DOUBLE, `i` BYTES, PRIMARY KEY (`c`, `a`) NOT ENFORCED"
    )
    duck.run("CREATE TABLE t (a INT, b DECIMAL(5,1)[], c UUID, d UINTEGER, e TIMESTAMPTZ, PRIMARY KEY (c, a))")
    connector, own = connector_of(duck.table(Schema(())))
    assert connector.ddl_columns(own) == (
        "`a` INT, `b` ARRAY<DECIMAL(5, 1)>, `c` STRING, `d` BIGINT, `e` TIMESTAMP_LTZ(6), PRIMARY KEY (`c`, `a`) NOT ENFORCED"
    )
    assert duck.sql("", "SELECT COUNT(*) FROM t") == [(0,)]


# ---- names


def test_names_may_have_anything_in_them(file: File) -> None:
    file.run(
        'CREATE TABLE "T.""t; --" ("a""b" INTEGER, "c d\'" TEXT, "select" TEXT, PRIMARY KEY ("select", "a""b"))',
    )
    columns = schema(('a"b', INT), ("c d'", STRING), ("select", STRING))
    for guarantee in ("at-least-once", "exactly-once"):
        t = file.table(columns, ("select", 'a"b'), '"T.""t; --"', sink_delivery__guarantee=guarantee)
        write(t, [[n, f"{guarantee}'\\", "x'"] for n in range(3)], guarantee)
        expected = [(n, f"{guarantee}'\\", "x'") for n in range(3)]
        assert sorted(read(t)[0]) == expected == sorted(relation(t))
    assert file.sql('(`A"B` INT)', 'SELECT SUM(`A"B`) FROM t', '"t.""T; --"') == [(3,)]


# ---- reading


@pytest.mark.parametrize("form", ["table", "keyed", "view"])
def test_reading_goes_on_behind_each_position(file: File, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_database, "BLOCK", 50)
    key = ", PRIMARY KEY (b, a)" if form == "keyed" else ""
    without = " WITHOUT ROWID" if key and file.kind == "sqlite" else ""
    values = ", ".join(f"({i}, 'x{i % 7}')" for i in range(300))
    file.run(f"CREATE TABLE t0 (a INTEGER, b TEXT{key}){without}", f"INSERT INTO t0 VALUES {values}")
    file.run("CREATE VIEW v AS SELECT * FROM t0 ORDER BY a DESC")
    t = file.table(AB, ("b", "a") if form == "view" else (), "v" if form == "view" else "t0")
    source = source_of(t)
    (split,) = source.splits()
    position, found, first = None, Rows(), 0
    while True:  # a new reader for each batch
        reader = source.reader(split, position, whole(t.schema), first)
        got = reader.poll(37)
        reader.close()
        if got is None:
            break
        found += [tuple(r.values()) for r in got.batch.to_pylist()]
        position, first = json.loads(json.dumps(got.position)), first + got.batch.num_rows
    assert sorted(found) == [(i, f"x{i % 7}") for i in range(300)] == sorted(relation(t))


def test_a_key_of_no_type_is_gone_on_with(sqlite: File) -> None:
    """SQLite orders numbers before texts there, whatever they look like."""
    sqlite.run("CREATE TABLE t (a PRIMARY KEY) WITHOUT ROWID", "INSERT INTO t VALUES (2), (10), ('1'), ('it''s')")
    t = sqlite.table(schema(("a", STRING)))
    source = source_of(t)
    (split,) = source.splits()
    first = source.reader(split, None, whole(t.schema))
    got = first.poll(2)
    first.close()
    assert got is not None and got.batch.to_pylist() == [{"c0": "2"}, {"c0": "10"}]
    rest = source.reader(split, got.position, whole(t.schema), 2)
    assert (again := rest.poll(9)) is not None and again.batch.to_pylist() == [{"c0": "1"}, {"c0": "it's"}]
    rest.close()


def test_a_view_without_a_key_is_not_gone_on_with(file: File) -> None:
    file.run("CREATE VIEW v AS SELECT 1 AS a UNION ALL SELECT 2")
    t = file.table(schema(("a", INT)), name="v")
    (split,) = source_of(t).splits()
    assert sorted(read(t)[0]) == [(1,), (2,)]
    reader = source_of(t).reader(split, {"key": []}, whole(t.schema), 1)
    with pytest.raises(CheckpointError, match="cannot go on in the middle") as e:
        reader.poll(1)
    reader.close()
    assert "PRIMARY KEY" in str(e.value.hint)


def test_parts(file: File) -> None:
    values = ", ".join(f"({i}, 'x')" for i in range(1, 101))
    file.run("CREATE TABLE t (a INTEGER, b TEXT)", f"INSERT INTO t VALUES {values}")
    more = {"scan_partition_column": "a", "scan_partition_num": "3"}
    more.update({"scan_partition_lower__bound": "11", "scan_partition_upper__bound": "100"})
    t = file.table(AB, **more)
    assert len(source_of(t).splits()) == 3
    assert sorted(read(t)[0]) == [(i, "x") for i in range(11, 101)] == sorted(relation(t))
    with pytest.raises(OptionError, match=r"b is (TEXT|VARCHAR), and its bounds are numbers"):
        source_of(file.table(AB, **{**more, "scan_partition_column": "b"})).splits()


def test_a_filter_and_the_columns_are_left_to_the_database(file: File) -> None:
    values = ", ".join(f"({i}, 'x{i}')" for i in range(1, 10))
    file.run("CREATE TABLE t0 (a INTEGER, s TEXT)", f"INSERT INTO t0 VALUES {values}")
    # what must not be looked at is no number
    file.run("CREATE VIEW t AS SELECT a, CASE WHEN a = 5 THEN 'x' ELSE a END AS b, s FROM t0"
             if file.kind == "sqlite" else "CREATE VIEW t AS SELECT a, CAST(CASE WHEN a = 5 THEN 'x' ELSE '1' END AS INT) AS b, s FROM t0")  # fmt: skip
    for mode in ("batch", "streaming"):
        set_mode = f"SET 'execution.runtime-mode' = '{mode}'"
        assert len(file.sql("(a INT, b INT, s STRING)", f"{set_mode}; SELECT b FROM t WHERE a > 5 AND a < 8")) == 2
        one = file.sql("(a INT, b INT, s STRING)", f"{set_mode}; SELECT a FROM t WHERE s IN ('x3', 'it''s') AND b > 0")
        assert one == [(3,)]
        assert file.sql("(a INT, b INT)", f"{set_mode}; SELECT COUNT(a) FROM t") == [(9,)]
        with pytest.raises(SqlStreamError, match="table t: "):
            file.sql("(a INT, b INT)", f"{set_mode}; SELECT b FROM t WHERE a > 4")


# ---- lookups


def asking(t: TableContext, keys: tuple[int, ...], filter_: Any = None) -> Callable[..., Rows]:
    reader = source_of(t).keyed_reader(ScanRequest(whole(t.schema).columns, filter=filter_), keys)

    def ask(*keys: pa.Array) -> Rows:
        return sorted(tuple(r.values()) for r in reader.rows(list(keys)).to_pylist())

    return ask


def test_rows_are_asked_for_by_their_keys(file: File) -> None:
    values = ", ".join(f"({i // 10}, 'n{i % 10}', {i})" for i in range(100))
    file.run("CREATE TABLE t (k0 INTEGER, k1 TEXT, v INTEGER)", f"INSERT INTO t VALUES {values}")
    file.run("INSERT INTO t VALUES (NULL, 'it''s', 100), (7, '', 101)")
    t = file.table(schema(("k0", INT), ("k1", STRING), ("v", INT)))
    ints, both = asking(t, (0,)), asking(t, (0, 1))
    assert [v for _, _, v in ints(pa.array([3, 50, 7], pa.int32()))] == [*range(30, 40), 101, *range(70, 80)]
    assert ints(pa.array([50], pa.int32())) == []
    keys = pa.array([1, 1, 2, 50, 7], pa.int32()), pa.array(["n1", "n2", "n1", "n1", ""])
    assert both(*keys) == [(1, "n1", 11), (1, "n2", 12), (2, "n1", 21), (7, "", 101)]
    assert asking(t, (1,))(pa.array(["it's", "nu\0l", "N1"])) == [(None, "it's", 100)]
    narrow = Call(BOOLEAN, ">", (Column(INT, 2, "v"), Literal(INT, 35)))
    assert [v for _, _, v in asking(t, (0,), narrow)(pa.array([3], pa.int32()))] == [36, 37, 38, 39]


def test_keys_of_each_type_of_duckdb(duck: File) -> None:
    D, DT = Decimal, datetime.datetime
    for n, (there, here, held, other) in enumerate([
        ("DECIMAL(6,2)", "DECIMAL(8, 2)", D("1.50"), D("1.51")), ("UUID", "STRING", "c0ffee00-0000-4000-8000-000000000000", "x"),
        ("DATE", "DATE", datetime.date(2026, 1, 2), datetime.date(1, 1, 1)), ("TIME", "TIME", datetime.time(1, 2, 3), datetime.time(1, 2)),
        ("TIMESTAMP", "TIMESTAMP(6)", DT(2026, 1, 2, 3, 4, 5, 678901), DT(2026, 1, 2)),
        ("TIMESTAMPTZ", "TIMESTAMP_LTZ(6)", DT(2026, 1, 2, 3, 4, 5, 678000, Z), DT(2026, 1, 2, tzinfo=Z)), ("BOOLEAN", "BOOLEAN", True, False),
    ]):  # fmt: skip
        t = parse_type(here)
        duck.run(f"CREATE TABLE t{n} (k0 {there}, v INT)", f"INSERT INTO t{n} VALUES ('{held}', 1), (NULL, 2)")
        ask = asking(duck.table(schema(("k0", t), ("v", INT)), name=f"t{n}"), (0,))
        assert ask(pa.array([held, other], t.arrow())) == [(held, 1)]
        assert ask(pa.array([other], t.arrow())) == []


@pytest.mark.parametrize("cache", ["NONE", "PARTIAL", "FULL"])
def test_orders_meet_their_names(file: File, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "o.csv").write_text("1\n2\n\n3\n1\n")
    file.run("CREATE TABLE t (id BIGINT, name TEXT)", "INSERT INTO t VALUES (1, 'one'), (3, 'three'), (3, 'drei')")
    script = (
        "CREATE TABLE o (k INT, p AS PROCTIME()) WITH ('connector' = 'filesystem', 'path' = 'o.csv', 'format' = 'csv');"
        "SET 'execution.runtime-mode' = 'streaming'; "
        "SELECT k, name FROM o LEFT JOIN t FOR SYSTEM_TIME AS OF o.p AS t ON o.k = t.id"
    )
    rows = file.sql("(id INT, name STRING)", script, **{"lookup.cache": cache})
    assert sorted(rows, key=str) == [(1, "one"), (1, "one"), (2, None), (3, "drei"), (3, "three"), (None, None)]


# ---- writing


def changes(t: TableContext, *epochs: list[tuple[str, Any, Any]], run: str = "run") -> None:
    """Epochs of changes (+I, +U, -D) of rows (a, b)."""
    task = SinkTask("job", run, 0)
    writer = sink_of(t).writer(task)
    for epoch in epochs:
        kinds, a, b = zip(*epoch, strict=True)
        codes = np.array([{"+I": Kind.INSERT, "+U": Kind.UPDATE_AFTER, "-D": Kind.DELETE}[k] for k in kinds], np.int8)
        writer.write(pa.record_batch({"a": pa.array(a, pa.int32()), "b": pa.array(b, pa.string())}), codes)
        writer.flush()
    staged = writer.prepare(1)
    writer.close()
    sink_of(t).committer(task).commit(staged)


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_rows_take_the_places_of_those_of_their_keys(file: File, guarantee: str) -> None:
    file.run(
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, c INTEGER DEFAULT 1)",
        "INSERT INTO t VALUES (1, '1', 5), (2, '2', 5)",
    )
    more = {} if guarantee == "exactly-once" else {"sink_buffer__flush_max__rows": "1"}
    t = file.table(AB, ("a",), sink_delivery__guarantee=guarantee, **more)
    first = [("+I", 3, "30"), ("+U", 1, "10"), ("-D", 2, None), ("-D", 9, None)]
    changes(t, first, [("-D", 3, None), ("+I", 4, "40"), ("+U", 1, "11"), ("+I", 2, "20")])
    # a row that was deleted and has come again is a new one where both were written, and is the old one where they came to an update
    last = {1: ("11", 5), 2: ("20", 1 if more else 5), 4: ("40", 1)}
    assert {a: (b, c) for a, b, c in file.run("SELECT * FROM t")} == last


def test_what_is_wrong_with_a_table_is_said_before_anything_is_written(file: File) -> None:
    generated = "c INTEGER GENERATED ALWAYS AS (a + 1)" + (" STORED" if file.kind == "sqlite" else "")
    file.run(f"CREATE TABLE t (a INTEGER, b TEXT, {generated})")
    for t, text, hint in [
        (file.table(AB, ("a",)), "has no unique index of these columns", "ADD PRIMARY KEY"),
        (file.table(schema(("c", INT))), "the database makes the values of column c itself", "leave it out"),
        (file.table(schema(("bb", STRING))), "has no column 'bb'", "did you mean b"),
        (file.table(AB, name="tt"), "the database has no table 'tt'", "did you mean t"),
        (file.table(schema(("b", parse_type("MAP<STRING, INT>")))), "MAP<STRING, INT> cannot be written", "JSON"),
    ]:
        with pytest.raises(OptionError, match=f"table t: .*{text}") as e:
            sink_of(t).writer(SinkTask("job", "run", 0))
        assert hint in str(e.value.hint)


def test_a_record_that_the_table_does_not_take_is_an_error(file: File) -> None:
    file.run("CREATE TABLE t (a INTEGER CHECK (a < 10), b TEXT NOT NULL)")
    for row, text in [([10, "x"], "[Cc][Hh][Ee][Cc][Kk] constraint failed"), ([1, None], "NOT NULL constraint failed")]:
        shown = r".*; in \{\"a\": " + str(row[0]) if file.kind == "sqlite" else ""
        with pytest.raises(DataError, match=f"table t: .*{text}{shown}"):
            write(file.table(), [[1, "ok"], row])
        assert file.run("SELECT count(*) FROM t") == [(0,)]


def test_values_that_are_too_large_are_found_before_the_checkpoint(duck: File) -> None:
    duck.run("CREATE TABLE t (a UTINYINT, b DECIMAL(4, 1))")
    t = duck.table(schema(("a", INT), ("b", parse_type("DECIMAL(10, 2)"))), sink_delivery__guarantee="exactly-once")
    write(t, [[255, Decimal("999.94")]])
    for row, text in [([256, None], r"column a \(UTINYINT\)"), ([None, Decimal(1000)], r"column b \(DECIMAL\(4,1\)\)")]:
        with pytest.raises(DataError, match=f"table t: {text} cannot hold a value"):
            write(t, [row])
        assert duck.run("SELECT count(*) FROM sqlstream_staged") == [(0,)]


def test_sqlite_has_no_nan(sqlite: File) -> None:
    sqlite.run("CREATE TABLE t (a REAL)")
    with pytest.raises(DataError, match="column a: SQLite has no NaN"):
        write(sqlite.table(schema(("a", parse_type("DOUBLE")))), [[float("inf")], [float("nan")]])


def test_what_no_checkpoint_knows_goes_and_what_one_knows_comes_once(file: File) -> None:
    file.run("CREATE TABLE t (a INTEGER, b TEXT)", "CREATE TABLE u (a INTEGER, b TEXT NOT NULL)")
    task = SinkTask("a job", "the run", 0)
    sinks = [sink_of(file.table(name=n, sink_delivery__guarantee="exactly-once")) for n in ("t", "u")]
    assert sinks[0].place == sinks[1].place != ""
    staged = []
    for n, sink in enumerate(sinks):
        writer = sink.writer(task)
        b = "x" if n == 0 else None
        writer.write(pa.record_batch({"a": pa.array([n], pa.int32()), "b": pa.array([b], pa.string())}), None)
        staged += writer.prepare(1)
        writer.write(pa.record_batch({"a": pa.array([n + 10], pa.int32()), "b": ["y"]}), None)
        writer.prepare(2)
        writer.close()
    counts = "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u), (SELECT count(*) FROM sqlstream_staged)"
    assert file.run(counts) == [(0, 0, 4)]
    committer = sinks[0].committer(task)
    (one,) = committer.combine(staged, 0)
    # of the two tables one does not take its row: neither has any
    with pytest.raises(DataError, match="NOT NULL"):
        committer.commit([one])
    assert file.run(counts) == [(0, 0, 4)] and committer.published(0) == []
    file.run("DROP TABLE u", "CREATE TABLE u (a INTEGER, b TEXT)")
    for _ in range(2):
        sinks[0].committer(task).commit([json.loads(json.dumps(one))])
    assert file.run(counts) == [(1, 1, 2)]
    assert len(committer.published(0)) == 1 and committer.published(1) == []
    assert len(sinks[0].committer(SinkTask("a job", "another", 0)).others()) == 1
    committer.abort()
    assert file.run(counts) == [(1, 1, 0)]
    lost = {"checkpoint": 3, "batches": [{"table": "t", "key": [], "batch": "gone", "kinds": ["append"]}]}
    with pytest.raises(CheckpointError, match="staged for checkpoint 3 are gone"):
        committer.commit([lost])


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_a_table_is_read_while_another_of_the_file_is_written(
    file: File, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that waits for its turn keeps no lock."""
    monkeypatch.setattr(sqlite_database, "BLOCK", 100)
    file.run("CREATE TABLE t (a INTEGER, b TEXT)", "CREATE TABLE u (a INTEGER PRIMARY KEY, b TEXT)")
    file.run(f"INSERT INTO t VALUES {', '.join(f'({i}, {i % 5})' for i in range(1000))}")
    script = (
        f"CREATE TABLE u (a INT, b STRING, PRIMARY KEY (a) NOT ENFORCED) WITH ('connector' = 'jdbc', "
        f"'url' = {quoted(file.url)}, 'table-name' = 'u'); SET 'execution.runtime-mode' = '{mode}'; SET 'execution.epoch.max-rows' = '150'; "
        "INSERT INTO u SELECT a, b FROM t"
    )
    file.sql("(a INT, b STRING)", script)
    assert file.run("SELECT count(*), sum(a) FROM u") == [(1000, 499500)]


# ---- locks


def test_a_file_that_is_locked_is_tried_again(sqlite: File) -> None:
    sqlite.run("CREATE TABLE t (a INTEGER, b TEXT)")
    sqlite.url += "?busy_timeout=10"
    rows = [[1, "x"]]
    holder = sqlite3.connect(sqlite.path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Passing, match=r"database is locked: another process.* writes to .*one\.db") as e:
        write(sqlite.table(sink_max__retries="0"), rows)
    assert "busy_timeout" in str(e.value.hint)
    again = threading.Timer(0.4, lambda: holder.execute("COMMIT"))
    again.start()
    write(sqlite.table(sink_max__retries="2"), rows)
    again.join()
    holder.close()
    assert sqlite.run("SELECT * FROM t") == [(1, "x")]


def test_a_file_that_another_process_has_is_tried_again(duck: File) -> None:
    duck.run("CREATE TABLE t (a INTEGER, b TEXT)")
    hold = f"import duckdb, sys; c = duckdb.connect({str(duck.path)!r}); print(1, flush=True); sys.stdin.readline()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None and other.stdout is not None and other.stdout.readline() == "1\n"
        with pytest.raises(Passing, match="is open in another process") as e:
            write(duck.table(sink_max__retries="0"), [[1, "x"]])
        assert "access_mode=read_only" in str(e.value.hint)
        again = threading.Timer(0.4, other.stdin.close)
        again.start()
        write(duck.table(sink_max__retries="3"), [[1, "x"]])
        again.join()
    assert duck.run("SELECT * FROM t") == [(1, "x")]


# ---- options


@pytest.mark.parametrize(
    ("url", "more", "text", "hint"),
    [
        ("jdbc:sqlite::memory:", {}, "names no file", "jdbc:sqlite:path"),
        ("jdbc:duckdb:", {}, "names no file", "jdbc:duckdb:path"),
        ("jdbc:sqlite:x?busy_timeot=1", {}, "parameter 'busy_timeot' means nothing", "busy_timeout"),
        ("jdbc:sqlite:x?busy_timeout=long", {}, "busy_timeout is a number of milliseconds, and not 'long'", ""),
        (
            "jdbc:sqlite:x?journal_mode=wall",
            {},
            "journal_mode is delete, truncate, persist, memory, wal, off, and not 'wall'",
            "",
        ),
        ("jdbc:sqlite:x?mode=r0", {}, "mode is ro, rw, and not 'r0'", ""),
        ("jdbc:duckdb:x?access_mode=often", {}, "access_mode is read_only or read_write, and not 'often'", ""),
        ("jdbc:sqlite:x", {"username": "u"}, "sqlite has files, and no users", "leave it out"),
        ("jdbc:sqlite:x", {"driver": "org.postgresql.Driver"}, "is no driver of sqlite", "org.sqlite.JDBC"),
        ("jdbc:oracle:thin:@h:1:x", {}, "'jdbc:oracle:' is no database", "jdbc:sqlite:file"),
    ],
)
def test_options_that_cannot_be(url: str, more: dict[str, str], text: str, hint: str) -> None:
    t = TableContext("t", AB, {"connector": "jdbc", "url": url, "table-name": "x", **more})
    with pytest.raises(OptionError, match=f"table t: .*{text}") as e:
        source_of(t)
    assert hint in str(e.value.hint or "")


def test_names_of_files_begin_in_the_working_directory(file: File) -> None:
    file.run("CREATE TABLE t (a INTEGER, b TEXT)", "INSERT INTO t VALUES (1, 'x')")
    for path in (file.path.name, str(file.path), f"//{file.path}", f"sub/../{file.path.name}"):
        options = {"connector": "jdbc", "url": f"jdbc:{file.kind}:{path}", "table-name": "t"}
        t = TableContext("t", AB, options, working_directory=str(file.path.parent))
        assert read(t)[0] == [(1, "x")]
    with pytest.raises(OptionError, match="there is no file .*other"):
        read(TableContext("t", AB, {"connector": "jdbc", "url": f"jdbc:{file.kind}:other", "table-name": "t"}))
    (file.path.parent / "text").write_text("no database, and longer than a header of one is " * 100)
    with pytest.raises(SqlStreamError, match="table t: .*text"):
        read(
            TableContext(
                "t", AB, {"connector": "jdbc", "url": f"jdbc:{file.kind}:{file.path.parent}/text", "table-name": "t"}
            )
        )


def test_several_may_read_a_file_of_duckdb(duck: File) -> None:
    duck.run("CREATE TABLE t (a INTEGER, b TEXT)", "INSERT INTO t VALUES (1, 'x')")
    duck.url += "?access_mode=read_only"
    with duckdb.connect(str(duck.path), read_only=True):
        assert read(duck.table())[0] == [(1, "x")]
    with duckdb.connect(str(duck.path)), pytest.raises(OptionError, match="is open in this process already"):
        read(duck.table())


# ---- the page


def test_the_page_shows_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/connectors/sqlite-and-duckdb.md: its SQL, run, prints its table."""
    page = (Path(__file__).parents[3] / "docs/connectors/sqlite-and-duckdb.md").read_text()
    (script,) = re.findall(r"^```sql\n(.*?)^```$", page, re.M | re.S)
    (shown,) = re.findall(r"^```\n(\+.*?)^```$", page, re.M | re.S)
    shell = re.findall(r"^\$ (sqlite3|duckdb) (\S+) \"(.*?)\"$", page, re.M)
    monkeypatch.chdir(tmp_path)
    for program, path, statements in shell:
        kind = "sqlite" if program == "sqlite3" else "duckdb"
        File(kind, tmp_path / path).run(*statements.split("; "))
    (rows,) = re.findall(r"and the orders (.*?), the last query", page, re.S)
    (tmp_path / "orders.csv").write_text("".join(f"{r}\n" for r in re.findall(r"`(.*?)`", rows)))
    (tmp_path / "page.sql").write_text(script)
    assert main(["run", "page.sql"]) == 0
    assert shown in capsys.readouterr().out
