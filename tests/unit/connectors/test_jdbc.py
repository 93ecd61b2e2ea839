"""Connector 'jdbc' on a real PostgreSQL: values, names, positions, what is asked of the server, and what it says."""

from __future__ import annotations

import datetime
import json
import pickle
import re
import sys
import threading
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from connector_cases import connector_of, read, relation, schema, sink_of, source_of, table, whole
from harness.servers import PostgreSQL, wanted

from sqlstream.batches import Kind
from sqlstream.cli.main import main
from sqlstream.connectors.jdbc.conditions import condition
from sqlstream.connectors.jdbc.database import Disconnected
from sqlstream.connectors.jdbc.databases import database as database_of
from sqlstream.connectors.jdbc.databases import parsed
from sqlstream.connectors.jdbc.postgres import uri as uri_of
from sqlstream.connectors.jdbc.tables import DbColumn
from sqlstream.contracts import SinkTask, TableContext
from sqlstream.errors import CheckpointError, DataError, OptionError, SqlStreamError
from sqlstream.expressions import Call, Column, Expr, Literal
from sqlstream.runtime.failures import from_outside, passes
from sqlstream.session import Session
from sqlstream.sql.types import parse_type
from sqlstream.types import BIGINT, BOOLEAN, DATE, DOUBLE, INT, STRING, Schema, decimal, timestamp

Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def database(postgresql: PostgreSQL) -> str:
    return postgresql.database()


@pytest.fixture
def psql(postgresql: PostgreSQL, database: str) -> Callable[[str], str]:
    return lambda sql: postgresql.psql(sql, database)


@pytest.fixture
def options(postgresql: PostgreSQL, database: str) -> dict[str, str]:
    url = f"jdbc:postgresql://{postgresql.address}/{database}"
    return {"connector": "jdbc", "url": url, "username": "postgres", "password": postgresql.password}


@pytest.fixture
def name() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


def declared(
    options: dict[str, str], name: str, columns: Schema, key: tuple[str, ...] = (), **more: str
) -> TableContext:
    made = table(columns, **more)
    return TableContext("t", columns, {**options, "table-name": name, **made.options}, key)


def sql(options: dict[str, str], name: str, columns: str, script: str) -> Rows:
    """The rows of the last statement of a script over table t."""
    given = ", ".join(f"'{k}' = '{v}'" for k, v in {**options, "table-name": name}.items())
    found: Rows = []
    for result in Session().execute(f"CREATE TABLE t {columns} WITH ({given}); {script}"):
        found = [tuple(r.values()) for batch, _ in result.batches() for r in batch.to_pylist()]
    return found


# ---- values

TYPES = {
    "a": ("boolean", "BOOLEAN", True),
    "b": ("smallint", "SMALLINT", -32768),
    "b2": ("smallint", "TINYINT", 127),
    "c": ("integer", "INT", 2147483647),
    "d": ("bigint", "BIGINT", -(2**63)),
    "e": ("real", "FLOAT", 1.5),
    "f": ("double precision", "DOUBLE", -1e300),
    "g": ("numeric(38,9)", "DECIMAL(38, 9)", Decimal("-12345678901234567890123456789.123456789")),
    "h": ("numeric", "DECIMAL(20, 2)", Decimal("1.10")),
    "i": ("text", "STRING", "é\n\t\\ \"quoted\" 'x' \U0001f600"),
    "j": ("varchar(5)", "STRING", ""),
    "k": ("char(3)", "CHAR(3)", "x  "),
    "l": ("bytea", "BYTES", b"\x00\xff\\"),
    "m": ("date", "DATE", datetime.date(1, 1, 1)),
    "n": ("time", "TIME", datetime.time(23, 59, 59)),
    "o": ("timestamp", "TIMESTAMP(6)", datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)),
    "p": ("timestamptz", "TIMESTAMP_LTZ(3)", datetime.datetime(2026, 3, 4, 5, 6, 7, 890000, datetime.UTC)),
    "q": ("uuid", "STRING", "c0ffee00-0000-4000-8000-000000000000"),
    "r": ("jsonb", "STRING", '{"a": [1, null]}'),
    "s": ("inet", "STRING", "10.0.0.1/8"),
    "u": ("int[]", "ARRAY<INT>", [1, None, 3]),
    "v": ("text[]", "ARRAY<STRING>", ["a", "", None, 'b,"{}\\']),
    "w": ("mood", "STRING", "so-so"),
    "x": ("timestamp(0)", "TIMESTAMP(0)", datetime.datetime(1969, 12, 31, 23, 59, 59)),
    "y": ("interval", "STRING", "1 day 02:00:00"),
    "z": ("positive", "INT", 5),
}  # fmt: skip


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_all_types_go_there_and_back(
    psql: Callable[[str], str], options: dict[str, str], name: str, guarantee: str
) -> None:
    psql(
        "DO $$ BEGIN CREATE TYPE mood AS ENUM ('bad', 'so-so'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); "
        f"EXCEPTION WHEN duplicate_object THEN NULL; END $$; CREATE TABLE {name} "
        f"({', '.join(f'{c} {t[0]}' for c, t in TYPES.items())})"
    )
    columns = schema(*((c, parse_type(t[1])) for c, t in TYPES.items()))
    t = declared(options, name, columns, sink_delivery__guarantee=guarantee)
    values = [v[2] for v in TYPES.values()]
    write(t, [values, [None] * len(values)])
    expected = [tuple(values), (None,) * len(values)]
    assert read(t)[0] == expected == relation(t)
    said = psql(
        f"SELECT g, i = E'é\\n\\t\\\\ \"quoted\" ''x'' \U0001f600', o, p, r->'a'->0, w > 'bad' FROM {name} WHERE a"
    )
    assert (
        said == "-12345678901234567890123456789.123456789|t|9999-12-31 23:59:59.999999|2026-03-04 05:06:07.89+00|1|t\n"
    )


def write(t: TableContext, rows: list[list[Any]], run: str = "run") -> None:
    """Rows as a task of a job writes them, committed."""
    task = SinkTask("job", f"{run}/{t.options['table-name']}", 0)
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


def test_a_table_without_columns_has_those_of_the_database(
    psql: Callable[[str], str], options: dict[str, str], name: str
) -> None:
    psql(f'CREATE TABLE {name} (a int, "B`b" numeric(5,1)[], c uuid, d numeric, e timestamptz, PRIMARY KEY (c, a))')
    connector, own = connector_of(declared(options, name, Schema(())))
    assert connector.ddl_columns(own) == (
        "`a` INT, `B``b` ARRAY<DECIMAL(5, 1)>, `c` STRING, `d` DECIMAL(38, 18), `e` TIMESTAMP_LTZ(6), "
        "PRIMARY KEY (`a`, `c`) NOT ENFORCED"
    )
    assert sql(options, name, "", "SELECT COUNT(*) FROM t") == [(0,)]


@pytest.mark.parametrize(
    ("there", "here", "value", "text"),
    [
        ("timestamp", "TIMESTAMP(3)", "infinity", r"column a \(timestamp without time zone\) has 'infinity'"),
        ("timestamptz", "TIMESTAMP_LTZ(3)", "-infinity", "has 'infinity', or a year"),
        ("date", "DATE", "0044-03-15 BC", "has 'infinity', or a year"),
        ("numeric", "DECIMAL(10, 2)", "NaN", r"column a \(numeric\) has a value that is no DECIMAL\(10, 2\)"),
        ("numeric", "DECIMAL(3, 2)", "1000", r"a value that is no DECIMAL\(3, 2\)"),
        ("bigint", "INT", "2147483648", "integer out of range"),
        ("int", "TINYINT", "128", "a value that is no TINYINT"),
        ("time", "TIME", "24:00:00", r"column a \(time without time zone\) has 24:00:00"),
        ("numeric", "DECIMAL(10, 2)", "-Infinity", r"column a \(numeric\) has a value that is no DECIMAL\(10, 2\)"),
    ],
)
def test_values_that_the_type_cannot_hold_are_errors(
    psql: Callable[[str], str], options: dict[str, str], name: str, there: str, here: str, value: str, text: str
) -> None:
    psql(f"CREATE TABLE {name} (a {there}); INSERT INTO {name} VALUES ('{value}')")
    with pytest.raises(SqlStreamError, match=f"table t: .*{text}"):
        read(declared(options, name, schema(("a", parse_type(here)))))


@pytest.mark.parametrize(
    ("there", "here", "hint"),
    [
        ("text", "INT", "declare it STRING"),
        ("numeric(5)", "BIGINT", "DECIMAL"),
        ("timestamptz", "TIMESTAMP(3)", "TIMESTAMP_LTZ"),
        ("int[]", "INT", "ARRAY"),
        ("jsonb", "ROW<a INT>", "STRING reads anything"),
    ],
)
def test_types_that_do_not_fit_are_refused(
    psql: Callable[[str], str], options: dict[str, str], name: str, there: str, here: str, hint: str
) -> None:
    psql(f"CREATE TABLE {name} (a {there})")
    with pytest.raises(OptionError, match=r"table t: column a \(.*\) is no ") as e:
        read(declared(options, name, schema(("a", parse_type(here)))))
    assert e.value.hint is not None and hint in e.value.hint


def test_a_domain_is_what_it_is_of(psql: Callable[[str], str], options: dict[str, str], name: str) -> None:
    psql(
        f"CREATE DOMAIN {name}_d AS int CHECK (value > 0); CREATE DOMAIN {name}_e AS {name}_d; CREATE TYPE {name}_c AS ENUM ('a', 'B c')"
    )
    psql(f"CREATE TABLE {name} (a {name}_e PRIMARY KEY, b {name}_c); INSERT INTO {name} VALUES (1, 'a')")
    t = declared(options, name, schema(("a", INT), ("b", STRING)), ("a",))
    write(t, [[2, "B c"], [1, "B c"]])
    assert sorted(read(t)[0]) == [(1, "B c"), (2, "B c")] == sorted(relation(t))
    with pytest.raises(DataError, match="violates check constraint"):
        write(t, [[-1, "a"]])


# ---- names


def test_names_may_have_anything_in_them(psql: Callable[[str], str], options: dict[str, str], name: str) -> None:
    psql(
        f'CREATE SCHEMA "{name} ""S"; CREATE TABLE "{name} ""S"."T.""t; --" '
        '("a""b" int, "c d\'" text, "select" uuid, PRIMARY KEY ("select", "a""b"))'
    )
    columns = schema(('a"b', INT), ("c d'", STRING), ("select", STRING))
    ids = [str(uuid.UUID(int=n)) for n in range(3)]
    for guarantee in ("at-least-once", "exactly-once"):
        t = declared(
            options, f'"{name} ""S"."T.""t; --"', columns, ("select", 'a"b'), sink_delivery__guarantee=guarantee
        )
        write(t, [[n, f"{guarantee}'\\", ids[n]] for n in range(3)])
        expected = [(n, f"{guarantee}'\\", ids[n]) for n in range(3)]
        assert sorted(read(t)[0]) == expected == sorted(relation(t))


def test_a_database_may_have_another_encoding(postgresql: PostgreSQL, name: str) -> None:
    database = f"latin_{name}"
    postgresql.psql(f"CREATE DATABASE {database} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    postgresql.psql("SET client_encoding = 'UTF8'; CREATE TABLE t (\"\u00fc\" text PRIMARY KEY, b text)", database)
    t = declared(
        {"connector": "jdbc", "url": postgresql.url(database)}, "t", schema(("ü", STRING), ("b", STRING)), ("ü",)
    )
    write(t, [["é", "ß"], ["x", "naïve"]])
    assert read(t)[0] == [("é", "ß"), ("x", "naïve")]
    source = source_of(t)
    reader = source.keyed_reader(whole(t.schema), (0,))
    assert reader.rows([pa.array(["é", "ö"])]).to_pylist() == [{"c0": "é", "c1": "ß"}]
    reader.close()
    with pytest.raises(DataError, match="has no equivalent in encoding"):
        write(t, [["\u4f60", ""]])


def test_names_are_found_whatever_their_case(psql: Callable[[str], str], options: dict[str, str], name: str) -> None:
    psql(f"CREATE TABLE {name} (userid int); INSERT INTO {name} VALUES (7)")
    assert sql(options, f"Public.{name.upper()}", "(userId INT)", "SELECT userId FROM t") == [(7,)]
    psql(f'CREATE TABLE "{name}X" (a int); CREATE TABLE "{name}x" (a int)')
    with pytest.raises(OptionError, match=f"'{name.upper()}X' may mean public"):
        sql(options, f"{name.upper()}X", "(a INT)", "SELECT a FROM t")
    assert sql(options, f"{name}X", "(a INT)", "SELECT a FROM t") == []


# ---- reading


def test_positions_hold_while_other_rows_come_and_go(
    psql: Callable[[str], str], options: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlstream.connectors.jdbc.postgres_database.BLOCKS", 2)
    psql(
        f"CREATE TABLE {name} (a int, b text); INSERT INTO {name} SELECT i, repeat('x', 300) FROM generate_series(1, 500) i"
    )
    t = declared(options, name, schema(("a", INT)))
    source = source_of(t)
    (split,) = source.splits()
    reader = source.reader(split, None, whole(t.schema))
    rows: Rows = []
    while len(rows) < 200:
        got = reader.poll(13)
        assert got is not None and got.first_row == len(rows)
        rows += [tuple(r.values()) for r in got.batch.to_pylist()]
    reader.close()
    psql(
        f"DELETE FROM {name} WHERE a < 190 OR a = 400; INSERT INTO {name} SELECT i, '' FROM generate_series(1001, 1300) i"
    )
    reader = source.reader(split, json.loads(json.dumps(got.position)), whole(t.schema), len(rows))
    while not reader.finished:
        if (got := reader.poll(50)) is not None:
            rows += [tuple(r.values()) for r in got.batch.to_pylist()]
    reader.close()
    # what was there when the split was made, once; of what came later those that found room in its blocks
    assert [a for (a,) in rows if a <= 500] == [i for i in range(1, 501) if i != 400]
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize("kind", ["parts", "partitioned", "view", "parent"])
def test_what_is_no_plain_table_is_read_on_too(
    psql: Callable[[str], str], options: dict[str, str], name: str, kind: str
) -> None:
    fill = f"INSERT INTO {name} SELECT i, 'x' || i % 7 FROM generate_series(1, 300) i"
    if kind == "partitioned":
        psql(
            f"CREATE TABLE {name} (a int, b text) PARTITION BY HASH (a); "
            f"CREATE TABLE {name}_0 PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER 0); "
            f"CREATE TABLE {name}_1 PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER 1); {fill}"
        )
    elif kind == "parent":
        psql(f"CREATE TABLE {name} (a int, b text); CREATE TABLE {name}_1 () INHERITS ({name}); {fill}; "
             f"INSERT INTO {name}_1 VALUES (999, 'y')")  # fmt: skip
    else:
        psql(f"CREATE TABLE {name} (a int, b text); {fill}")
    more: dict[str, str] = {}
    if kind == "parts":
        more = {"scan_partition_column": "a", "scan_partition_num": "3"}
        more.update({"scan_partition_lower__bound": "11", "scan_partition_upper__bound": "300"})
    if kind == "view":
        psql(f"ALTER TABLE {name} RENAME TO {name}_0; CREATE VIEW {name} AS SELECT * FROM {name}_0 ORDER BY a DESC")
    t = declared(options, name, schema(("a", INT), ("b", STRING)), ("b", "a") if kind == "view" else (), **more)
    source = source_of(t)
    splits = source.splits()
    assert len(splits) == (3 if kind == "parts" else 1)
    expected = [(i, f"x{i % 7}") for i in range(11 if kind == "parts" else 1, 301)]
    expected += [(999, "y")] if kind == "parent" else []
    found: Rows = []
    for split in splits:
        position, count = None, 0
        while True:  # a new reader for each batch
            reader = source.reader(split, position, whole(t.schema), count)
            got = reader.poll(37)
            reader.close()
            if got is None:
                break
            found += [tuple(r.values()) for r in got.batch.to_pylist()]
            position, count = json.loads(json.dumps(got.position)), count + got.batch.num_rows
    assert sorted(found) == expected == sorted(relation(t))


def test_a_view_without_a_key_is_not_gone_on_with(
    psql: Callable[[str], str], options: dict[str, str], name: str
) -> None:
    psql(f"CREATE VIEW {name} AS SELECT generate_series(1, 10) AS a")
    t = declared(options, name, schema(("a", INT)))
    source = source_of(t)
    (split,) = source.splits()
    assert read(t)[0] == [(i,) for i in range(1, 11)]
    reader = source.reader(split, {"key": []}, whole(t.schema), 3)
    with pytest.raises(CheckpointError, match="cannot go on in the middle") as e:
        reader.poll(1)
    reader.close()
    assert "PRIMARY KEY" in str(e.value.hint)


# ---- what is asked of the server

A, S, D = Column(INT, 0, "a"), Column(STRING, 1, "s"), Column(DATE, 2, "d")
F, N, T = Column(DOUBLE, 3, "f"), Column(decimal(5, 1), 4, "n"), Column(timestamp(3), 5, "t")
B = Column(BOOLEAN, 6, "b")
THERE = {
    i: DbColumn(n, base, base, scale, False, False)
    for i, (n, base, scale) in enumerate(
        [("a", "int8", None), ('s"', "text", None), ("d", "date", None), ("f", "float8", None), ("n", "numeric", 1),
         ("t", "timestamp", None), ("b", "bool", None)]
    )
}  # fmt: skip


def call(function: str, *args: Expr) -> Expr:
    return Call(BOOLEAN, function, args)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (call("=", A, Literal(INT, 5)), '"a" = 5'),
        (call("<", Literal(INT, -5), A), '"a" > -5'),
        (call("=", S, Literal(STRING, "it's \\")), "\"s\"\"\" = E'it''s \\\\'"),
        (call("IN", S, Literal(STRING, "a"), Literal(STRING, "b")), "\"s\"\"\" IN ('a', 'b')"),
        (call("<>", S, Literal(STRING, "a")), None),
        (call("<", S, Literal(STRING, "a")), None),
        (call("<", F, Literal(DOUBLE, 1.0)), None),
        (call(">=", N, Literal(decimal(3, 1), Decimal("1.5"))), '"n" >= 1.5'),
        (call("<>", A, Literal(INT, 5)), '"a" <> 5'),
        (call(">", D, Literal(DATE, 0)), "\"d\" > DATE '1970-01-01'"),
        (call(">", T, Literal(timestamp(3), 0)), None),
        (call("=", A, Literal(INT, None)), None),
        (call("IS NULL", F), '"f" IS NULL'),
        (call("AND", call("=", A, Literal(INT, 1)), call("<", F, Literal(DOUBLE, 1.0))), '"a" = 1'),
        (call("OR", call("=", A, Literal(INT, 1)), call("<", F, Literal(DOUBLE, 1.0))), None),
        (call("OR", call("=", A, Literal(INT, 1)), B), '("a" = 1 OR "b")'),
        (call("NOT", B), 'NOT "b"'),
        (call("NOT", call("=", A, Literal(INT, 1))), None),
        (call("=", A, Column(INT, 0, "a")), None),
    ],
)
def test_what_of_a_filter_is_asked(asked: Expr, expected: str | None) -> None:
    assert condition(asked, THERE, database_of("postgresql")) == expected


def test_a_filter_and_the_columns_are_left_to_the_server(
    psql: Callable[[str], str], options: dict[str, str], name: str
) -> None:
    psql(
        f"CREATE TABLE {name} (a int, b text, c timestamp); INSERT INTO {name} SELECT i, 'x', now() FROM generate_series(1, 9) i"
    )
    # what the server must not look at: a division by zero
    psql(f"ALTER TABLE {name} RENAME TO {name}_0; CREATE VIEW {name} AS SELECT a, 1 / (a - 5) AS b FROM {name}_0")
    for mode in ("batch", "streaming"):
        script = f"SET 'execution.runtime-mode' = '{mode}'; SELECT b FROM t WHERE a > 5 AND a < 8"
        assert sql(options, name, "(a INT, b INT)", script) == [(1,), (0,)]
        assert sql(options, name, "(a INT, b INT)", "SELECT COUNT(a) FROM t") == [(9,)]
        with pytest.raises(SqlStreamError, match="table t: division by zero"):
            sql(options, name, "(a INT, b INT)", "SELECT b FROM t WHERE a > 4")


# ---- writing


def changes(t: TableContext, *epochs: list[tuple[str, Any, Any]], guarantee: str) -> None:
    """Epochs of changes (+I, +U, -D) of rows (a, b)."""
    task = SinkTask("job", f"{guarantee}/{t.options['table-name']}", 0)
    sink = sink_of(t)
    writer = sink.writer(task)
    for epoch in epochs:
        kinds, a, b = zip(*epoch, strict=True)
        codes = np.array([{"+I": Kind.INSERT, "+U": Kind.UPDATE_AFTER, "-D": Kind.DELETE}[k] for k in kinds], np.int8)
        writer.write(pa.record_batch({"a": pa.array(a, pa.int32()), "b": pa.array(b, pa.string())}), codes)
        writer.flush()
    staged = writer.prepare(1)
    writer.close()
    sink.committer(task).commit(staged)


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
@pytest.mark.parametrize("there", ["int, b text", "smallint, b jsonb"])
def test_rows_take_the_places_of_those_of_their_keys(
    psql: Callable[[str], str], options: dict[str, str], name: str, guarantee: str, there: str
) -> None:
    psql(
        f"CREATE TABLE {name} (a {there}, c int DEFAULT 1, PRIMARY KEY (a)); INSERT INTO {name} VALUES (1, '1', 5), (2, '2', 5)"
    )
    t = declared(options, name, schema(("a", INT), ("b", STRING)), ("a",), sink_delivery__guarantee=guarantee)
    first = [("+I", 3, "30"), ("+U", 1, "10"), ("-D", 2, None), ("-D", 9, None)]
    changes(t, first, [("-D", 3, None), ("+I", 4, "40"), ("+U", 1, "11"), ("+I", 2, "20")], guarantee=guarantee)
    assert psql(f"SELECT * FROM {name} ORDER BY a") == "1|11|5\n2|20|5\n4|40|1\n"


def test_what_is_wrong_with_a_table_is_said_before_anything_is_written(
    psql: Callable[[str], str], options: dict[str, str], name: str
) -> None:
    psql(f"CREATE TABLE {name} (a int, b text, c int GENERATED ALWAYS AS (a + 1) STORED)")
    ab = schema(("a", INT), ("b", STRING))
    for t, text, hint in [
        (declared(options, name, ab, ("a",)), r"has no unique index of these columns", "ADD PRIMARY KEY"),
        (declared(options, name, schema(("a", STRING), ("b", INT))), None, ""),
        (
            declared(options, name, schema(("a", BOOLEAN))),
            r"BOOLEAN cannot be written to column a, which is integer",
            "INT",
        ),
        (
            declared(options, name, schema(("c", INT))),
            "the database makes the values of column c itself",
            "leave it out",
        ),
        (declared(options, name, schema(("bb", STRING))), "has no column 'bb'", "did you mean b"),
        (declared(options, f"{name}y", ab), f"the database has no table '{name}y'", f"did you mean {name}"),
        (
            declared(options, name, schema(("b", parse_type("MAP<STRING, INT>")))),
            "MAP<STRING, INT> cannot be written",
            "JSON",
        ),
    ]:
        if text is None:
            write(t, [["7", 8]])  # as PostgreSQL reads a number, and writes one
            assert psql(f"SELECT a, b FROM {name}") == "7|8\n"
            continue
        with pytest.raises(OptionError, match=f"table t: .*{text}") as e:
            sink_of(t).writer(SinkTask("job", "run", 0))
        assert hint in str(e.value.hint)


def test_a_record_that_the_table_does_not_take_is_shown(
    psql: Callable[[str], str], options: dict[str, str], name: str
) -> None:
    psql(f"CREATE TABLE {name} (a int CHECK (a < 10), b varchar(3))")
    t = declared(options, name, schema(("a", BIGINT), ("b", STRING)))
    for row, text in [
        ([10, "x"], r'violates check constraint .*; in \{"a": 10, "b": "x"\}'),
        ([1, "long"], r'value too long for type character varying\(3\); in \{"a": 1, "b": "long"\}'),
        ([1, "a\0b"], r'invalid byte sequence .*; in \{"a": 1, "b": "a\\u0000b"\}'),
        ([2**40, "x"], "column a \\(integer\\) cannot hold a value"),
    ]:
        with pytest.raises(DataError, match=f"table t: .*{text}"):
            write(t, [[1, "ok"], row])
        assert psql(f"SELECT count(*) FROM {name}") == "0\n"


def test_values_that_are_too_large_are_found_before_the_checkpoint(
    psql: Callable[[str], str], options: dict[str, str], name: str
) -> None:
    """Behind it none can be left out any more."""
    psql(f"CREATE TABLE {name} (a smallint, b varchar(3), c numeric(4, 1))")
    columns = schema(("a", INT), ("b", STRING), ("c", decimal(10, 2)))
    t = declared(options, name, columns, sink_delivery__guarantee="exactly-once")
    write(t, [[32767, "abc  ", Decimal("-999.94")], [None, None, None]], name)
    staged = f"SELECT count(*) FROM sqlstream_staged WHERE owner LIKE '%{name}%'"
    for row, text in [
        ([40000, "x", Decimal(1)], r"column a \(smallint\) cannot hold a value"),
        ([1, "äöüß", None], r"column b \(character varying\(3\)\) cannot hold a value; in \{\"a\": 1, \"b\": \"äöüß\""),
        ([1, None, Decimal(-1000)], r"column c \(numeric\(4,1\)\) cannot hold a value; in"),
    ]:
        with pytest.raises(DataError, match=f"table t: {text}"):
            write(t, [[1, "x", None], row], name)
        assert psql(staged) == "0\n"
    assert psql(f"SELECT count(*) FROM {name}") == "2\n"


def test_a_value_may_be_huge(psql: Callable[[str], str], options: dict[str, str], name: str) -> None:
    psql(f"CREATE TABLE {name} (a text, b bytea)")
    for guarantee in ("at-least-once", "exactly-once"):
        t = declared(
            options, name, schema(("a", STRING), ("b", parse_type("BYTES"))), sink_delivery__guarantee=guarantee
        )
        write(t, [["é" * (12 << 20), bytes(range(256)) * (1 << 14)], ["", b""]], guarantee)
    ((a, b), small, *_) = read(t)[0]
    assert a == "é" * (12 << 20) and b == bytes(range(256)) * (1 << 14) and small == ("", b"")
    assert psql(f"SELECT count(*), max(length(a)) FROM {name}") == f"4|{12 << 20}\n"


def test_what_no_checkpoint_knows_goes_and_what_one_knows_comes_once(
    psql: Callable[[str], str], options: dict[str, str], name: str
) -> None:
    psql(f"CREATE TABLE {name} (a int, b text); CREATE TABLE {name}_2 (a int, b text)")
    task = SinkTask("a job", name, 0)
    ab = schema(("a", INT), ("b", STRING))
    sinks = [sink_of(declared(options, n, ab, sink_delivery__guarantee="exactly-once")) for n in (name, f"{name}_2")]
    assert sinks[0].place == sinks[1].place != ""
    staged = []
    for n, sink in enumerate(sinks):
        writer = sink.writer(task)
        writer.write(pa.record_batch({"a": pa.array([n], pa.int32()), "b": ["x"]}), None)
        staged += writer.prepare(1)
        writer.write(pa.record_batch({"a": pa.array([n + 10], pa.int32()), "b": ["y"]}), None)
        writer.prepare(2)
        writer.close()
    counts = f"SELECT (SELECT count(*) FROM {name}), (SELECT count(*) FROM {name}_2), (SELECT count(*) FROM sqlstream_staged WHERE owner LIKE 'a job/{name}/%')"
    assert psql(counts) == "0|0|4\n"
    committer = sinks[0].committer(task)
    (one,) = committer.combine(staged, 0)
    # of the two tables one does not take its row: neither has any
    psql(f"ALTER TABLE {name}_2 ADD CHECK (a > 5)")
    with pytest.raises(DataError, match="violates check constraint"):
        committer.commit([one])
    assert psql(counts) == "0|0|4\n" and committer.published(0) == []
    psql(f"ALTER TABLE {name}_2 DROP CONSTRAINT {name}_2_a_check")
    for _ in range(2):
        sinks[0].committer(task).commit([json.loads(json.dumps(one))])
    assert psql(counts) == "1|1|2\n"
    assert len(committer.published(0)) == 1 and committer.published(1) == []
    assert len(sinks[0].committer(SinkTask("a job", "another", 0)).others()) == 1
    committer.abort()
    assert psql(counts) == "1|1|0\n"
    lost = {"checkpoint": 3, "batches": [{"table": name, "key": [], "batch": "gone", "kinds": ["append"]}]}
    with pytest.raises(CheckpointError, match="staged for checkpoint 3 are gone"):
        committer.commit([lost])


# ---- options, and servers that are not there


def test_a_server_that_goes_and_comes_back(name: str) -> None:
    wanted(PostgreSQL)
    with PostgreSQL() as server:
        server.psql(f"CREATE TABLE {name} (a int, b text)")
        given = {"connector": "jdbc", "url": server.url()}
        ab = schema(("a", INT), ("b", STRING))
        t = declared(given, name, ab, sink_max__retries="5")
        writer = sink_of(t).writer(SinkTask("job", "run", 0))
        rows = pa.record_batch({"a": pa.array([1], pa.int32()), "b": ["x"]})
        server.kill()
        again = threading.Timer(1.2, server.start)
        again.start()
        writer.write(rows, None)
        writer.prepare(1)
        again.join()
        assert server.psql(f"SELECT * FROM {name}") == "1|x\n"
        patient = writer
        hasty = sink_of(declared(given, name, ab, sink_max__retries="0")).writer(SinkTask("job", "run", 1))
        server.kill()
        with pytest.raises(Disconnected, match="table t: ") as e:
            hasty.write(rows, None)
            hasty.prepare(2)
        assert passes(e.value) and from_outside(e.value)
        with pytest.raises(Disconnected, match="cannot connect to postgresql at 127.0.0.1"):
            read(t)
        hasty.close()
        patient.close()


@pytest.mark.parametrize(
    ("given", "text", "hint"),
    [
        ({"url": "jdbc:oracle:thin:@h:1:x"}, "'jdbc:oracle:' is no database", "jdbc:postgresql"),
        ({"url": "jdbc:postgresql://h/"}, "names no database", "database"),
        ({"url": "postgresql://ann:s3cr/et@h/d"}, "a port in it is no number", "%2F"),
        ({"url": "postgresql://ann:s3cr?et@h/d"}, "a port in it is no number", "%3F"),
        ({"url": "jdbc:postgresql://h/d?sslmod=require"}, "parameter 'sslmod' means nothing", "sslmode"),
        ({"url": "postgresql://u:p@h/d", "username": "v"}, "'username' and the user in 'url' are not the same", ""),
        ({"driver": "com.mysql.cj.jdbc.Driver"}, "is no driver of postgresql", "org.postgresql.Driver"),
        ({"scan.partition.num": "3"}, "goes with 'scan.partition.column'", "all of"),
        ({"table-name": " "}, "'table-name' is empty", ""),
        (
            {"sink.delivery-guarantee": "exactly-once", "sink.buffer-flush.interval": "1 s"},
            "appear with checkpoints",
            "leave",
        ),
        ({"sink.bufer-flush.interval": "1 s"}, "unknown option", "sink.buffer-flush.interval"),
    ],
)
def test_options_that_cannot_be(given: dict[str, str], text: str, hint: str) -> None:
    t = TableContext(
        "t", schema(("a", INT)), {"connector": "jdbc", "url": "postgresql://h/d", "table-name": "x", **given}
    )
    with pytest.raises(OptionError, match=f"table t: .*{text}") as e:
        source_of(t), sink_of(t)
    assert hint in str(e.value.hint) and "s3cr" not in str(e.value)


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("jdbc:postgresql://h:5433/d", "postgresql://h:5433/d"),
        ("jdbc:postgresql:d", "postgresql:///d"),
        ("jdbc:postgresql://h/d?user=u%20v&password=p%40&ssl=true", "postgresql://u%20v:p%40@h/d?sslmode=verify-full"),
        ("postgresql://u:p%2Fw@h1:1,h2:2/d%20e?sslmode=require", "postgresql://u:p%2Fw@h1:1,h2:2/d%20e?sslmode=require"),
        ("jdbc:postgresql://h/d?currentSchema=a,b&targetServerType=master",
         "postgresql://h/d?target_session_attrs=primary&options=-csearch_path%3Da%2Cb"),
        ("jdbc:postgresql://[::1]:5432/d", "postgresql://[::1]:5432/d"),
    ],
)  # fmt: skip
def test_urls(url: str, uri: str) -> None:
    address = parsed(url, None, None, 7, "t")
    base, _, query = uri_of(address).partition("?")
    wanted_base, _, wanted_query = uri.partition("?")
    assert base == wanted_base and f"&{query}".endswith(f"&{wanted_query}" if wanted_query else query)
    assert "connect_timeout=7" in query and "password" not in repr(address)


def test_a_package_that_is_not_installed_is_named(
    options: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql.dbapi", None)
    with pytest.raises(OptionError, match="needs a package that is not installed") as e:
        read(declared(options, name, schema(("a", INT))))
    assert "sqlstream-engine[postgres]" in str(e.value.hint)


# ---- the page


def test_the_page_shows_what_happens(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/connectors/postgres.md: its SQL, run, prints its table."""
    page = (Path(__file__).parents[3] / "docs/connectors/postgres.md").read_text()
    (script,) = re.findall(r"^```sql\n(.*?)^```$", page, re.M | re.S)
    (shown,) = re.findall(r"^```\n(\+.*?)^```$", page, re.M | re.S)
    (rows,) = re.findall(r"and the orders (.*?), the last query", page, re.S)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_PASSWORD", postgresql.password)
    (tmp_path / "orders.csv").write_text("".join(f"{r}\n" for r in re.findall(r"`(.*?)`", rows)))
    database = postgresql.database()
    postgresql.psql(
        "CREATE TABLE customers (id bigint PRIMARY KEY, name text); INSERT INTO customers VALUES (1, 'ann'), (2, 'bob'); "
        "CREATE TABLE totals (customer text PRIMARY KEY, orders bigint, amount numeric)",
        database,
    )
    for found, there in (("localhost:5432/shop", f"{postgresql.address}/{database}"), ("'ann'", "'postgres'"),
                         ("ann:", "postgres:"), ("secret", postgresql.password)):  # fmt: skip
        script = script.replace(found, there)
    (tmp_path / "page.sql").write_text(script)
    assert main(["run", "page.sql"]) == 0
    assert shown in capsys.readouterr().out
