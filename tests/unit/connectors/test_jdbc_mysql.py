"""Connector 'jdbc' with MySQL, on a real MariaDB: values, names, positions, what is asked of the server, and what it says."""

from __future__ import annotations

import datetime
import json
import os
import pickle
import re
import resource
import sys
import threading
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from connector_cases import connector_of, read, relation, schema, sink_of, source_of, whole
from harness.servers import MariaDB, wanted

from sqlstream.batches import Kind
from sqlstream.cli.main import main
from sqlstream.connectors.jdbc import mysql_database, mysql_rows, mysql_target
from sqlstream.connectors.jdbc.conditions import condition
from sqlstream.connectors.jdbc.connector import JdbcConnector
from sqlstream.connectors.jdbc.database import Disconnected
from sqlstream.connectors.jdbc.databases import database as database_of
from sqlstream.connectors.jdbc.databases import parsed
from sqlstream.connectors.jdbc.tables import DbColumn
from sqlstream.contracts import ScanRequest, SinkTask, TableContext
from sqlstream.errors import CheckpointError, DataError, OptionError, RunError, SqlStreamError
from sqlstream.expressions import Call, Column, Expr, Literal
from sqlstream.literals import quoted
from sqlstream.runtime.failures import from_outside, passes
from sqlstream.session import Session
from sqlstream.sql.types import parse_type
from sqlstream.testing.connectors import SinkContract, SourceContract
from sqlstream.types import BIGINT, BOOLEAN, DATE, DOUBLE, INT, STRING, Schema, decimal, timestamp

Rows = list[tuple[Any, ...]]
AB = schema(("a", INT), ("b", STRING))
Sql = Callable[[str], str]


@pytest.fixture(scope="module")
def database(mariadb: MariaDB) -> str:
    return mariadb.database()


@pytest.fixture
def sql(mariadb: MariaDB, database: str) -> Sql:
    return lambda sql: mariadb.sql(sql, database)


@pytest.fixture
def options(mariadb: MariaDB, database: str) -> dict[str, str]:
    url = f"jdbc:mysql://{mariadb.address}/{database}"
    return {"connector": "jdbc", "url": url, "username": "root", "password": mariadb.password}


@pytest.fixture
def name() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


def declared(
    options: dict[str, str], name: str, columns: Schema = AB, key: tuple[str, ...] = (), **more: str
) -> TableContext:
    given = {k.replace("__", "-").replace("_", "."): v for k, v in more.items()}
    return TableContext("t", columns, {**options, "table-name": name, **given}, key)


def ran(options: dict[str, str], name: str, columns: str, script: str) -> Rows:
    """The rows of the last statement of a script over table t."""
    given = ", ".join(f"'{k}' = {quoted(v)}" for k, v in {**options, "table-name": name}.items())
    found: Rows = []
    for result in Session().execute(f"CREATE TABLE t {columns} WITH ({given}); {script}"):
        found = [tuple(r.values()) for batch, _ in result.batches() for r in batch.to_pylist()]
    return found


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


# ---- the contracts


class Made:
    connector, columns = JdbcConnector, "a INT, b STRING"
    options: dict[str, str]

    @pytest.fixture(autouse=True)
    def _table(self, sql: Sql, options: dict[str, str], name: str) -> None:
        sql(
            f"CREATE TABLE {name} (a int PRIMARY KEY, b text); INSERT INTO {name} VALUES (1, 'x'), (2, NULL), (3, ''), (4, 'y')"
        )
        given = {k: v for k, v in options.items() if k != "connector"}
        self.options = {**given, "table-name": name, "sink.delivery-guarantee": "exactly-once"}
        self.sql = sql


class TestSource(Made, SourceContract):
    pass


class TestSink(Made, SinkContract):
    written = pa.record_batch({"a": pa.array([7, 8], pa.int32()), "b": ["p", None]})

    def seen(self, t: TableContext) -> Rows:
        lines = self.sql(f"SELECT a, COALESCE(b, '<null>') FROM {t.options['table-name']}").splitlines()
        rows = [line.split("\t") for line in lines]
        return [(int(a), None if b == "<null>" else b) for a, b in rows]


# ---- values

TYPES = {
    "a": ("tinyint(1)", "BOOLEAN", True),
    "b": ("tinyint", "TINYINT", -128),
    "b2": ("tinyint unsigned", "SMALLINT", 255),
    "c": ("smallint unsigned", "INT", 65535),
    "c2": ("mediumint", "INT", -8388608),
    "c3": ("int unsigned", "BIGINT", 4294967295),
    "d": ("bigint", "BIGINT", -(2**63)),
    "d2": ("bigint unsigned", "DECIMAL(20, 0)", Decimal(2**64 - 1)),
    "e": ("float", "FLOAT", float(np.float32(0.1))),
    "f": ("double", "DOUBLE", -1.7976931348623157e308),
    "f2": ("double", "DOUBLE", 5e-324),
    "g": ("decimal(38,9)", "DECIMAL(38, 9)", Decimal("-12345678901234567890123456789.123456789")),
    "h": ("decimal(10,2)", "DECIMAL(20, 2)", Decimal("1.10")),
    "i": ("text", "STRING", "é\n\t\\ \"quoted\" 'x' \0 \U0001f600"),
    "i2": ("varchar(20) CHARACTER SET latin1", "STRING", "naïve \\'"),
    "j": ("varchar(5)", "STRING", ""),
    "k": ("char(3)", "CHAR(3)", "x"),
    "l": ("varbinary(20)", "BYTES", b"\x00\xff\\'\n\x1a"),
    "l2": ("longblob", "BYTES", b""),
    "l3": ("bit(9)", "BYTES", b"\x01\x02"),
    "l4": ("bit(1)", "BOOLEAN", True),
    "m": ("date", "DATE", datetime.date(1, 1, 1)),
    "n": ("time", "TIME", datetime.time(23, 59, 59)),
    "o": ("datetime(6)", "TIMESTAMP(6)", datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)),
    "o2": ("datetime", "TIMESTAMP(0)", datetime.datetime(1969, 12, 31, 23, 59, 59)),
    "p": ("timestamp(3) NULL", "TIMESTAMP_LTZ(3)", datetime.datetime(2026, 3, 4, 5, 6, 7, 890000, datetime.UTC)),
    "q": ("uuid", "STRING", "c0ffee00-0000-4000-8000-000000000000"),
    "r": ("json", "STRING", '{"a": [1, null]}'),
    "s": ("enum('bad','so-so')", "STRING", "so-so"),
    "u": ("set('x','y','z')", "STRING", "x,z"),
    "v": ("year", "INT", 2026),
}  # fmt: skip


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_all_types_go_there_and_back(sql: Sql, options: dict[str, str], name: str, guarantee: str) -> None:
    sql(f"CREATE TABLE {name} ({', '.join(f'{c} {t[0]}' for c, t in TYPES.items())})")
    columns = schema(*((c, parse_type(t[1])) for c, t in TYPES.items()))
    t = declared(options, name, columns, sink_delivery__guarantee=guarantee)
    values = [v[2] for v in TYPES.values()]
    write(t, [values, [None] * len(values)])
    expected = [tuple(values), (None,) * len(values)]
    assert read(t)[0] == expected == relation(t)
    said = sql(f"SELECT g, HEX(i), o, p, HEX(l), f FROM {name} WHERE a")
    assert said == (
        "-12345678901234567890123456789.123456789\tC3A90A095C202271756F7465642220277827200020F09F9880\t9999-12-31 23:59:59.999999\t2026-03-04 05:06:07.890\t00FF5C270A1A\t"
        "-1.7976931348623157e308\n"
    )


def test_a_table_without_columns_has_those_of_the_database(sql: Sql, options: dict[str, str], name: str) -> None:
    sql(
        f"CREATE TABLE {name} (a int unsigned, `B``b` decimal(5,1), c varchar(36), d bigint unsigned, e timestamp(3) NULL, f tinyint(1), "
        "g datetime, h bit(1), i bit(4), j json, PRIMARY KEY (c, a))"
    )
    connector, own = connector_of(declared(options, name, Schema(())))
    assert connector.ddl_columns(own) == (
        "`a` BIGINT, `B``b` DECIMAL(5, 1), `c` STRING, `d` DECIMAL(20, 0), `e` TIMESTAMP_LTZ(3), `f` BOOLEAN, `g` TIMESTAMP(0), "
        "`h` BOOLEAN, `i` BYTES, `j` STRING, PRIMARY KEY (`c`, `a`) NOT ENFORCED"
    )


@pytest.mark.parametrize(
    ("there", "here", "value", "text"),
    [
        (
            "datetime",
            "TIMESTAMP(3)",
            "0000-00-00",
            r"column a \(datetime\) has a value that is no TIMESTAMP\(3\): 0000-00-00",
        ),
        ("date", "DATE", "2026-02-00", r"column a \(date\) has a value that is no DATE"),
        ("time", "TIME", "-01:00:00", "has a value that is no TIME"),
        ("time", "TIME", "838:59:59", "has a value that is no TIME"),
        ("decimal(10,2)", "DECIMAL(3, 2)", "1000", r"a value that is no DECIMAL\(3, 2\)"),
        ("bigint", "INT", "2147483648", "a value that is no INT"),
        ("tinyint unsigned", "TINYINT", "128", "a value that is no TINYINT"),
    ],
)
def test_values_that_the_type_cannot_hold_are_errors(
    sql: Sql, options: dict[str, str], name: str, there: str, here: str, value: str, text: str
) -> None:
    sql(f"SET sql_mode = ''; CREATE TABLE {name} (a {there}); INSERT INTO {name} VALUES ('{value}')")
    with pytest.raises(SqlStreamError, match=f"table t: .*{text}"):
        read(declared(options, name, schema(("a", parse_type(here)))))


def test_dates_that_are_none_and_local_times(sql: Sql, options: dict[str, str], name: str) -> None:
    sql(
        f"SET sql_mode = ''; CREATE TABLE {name} (a date, b timestamp NULL); INSERT INTO {name} VALUES ('0000-00-00', '2026-07-01 10:00:00')"
    )
    url = f"{options['url']}?zeroDateTimeBehavior=CONVERT_TO_NULL&connectionTimeZone=Europe/Berlin"
    t = declared({**options, "url": url}, name, schema(("a", DATE), ("b", timestamp(0))))
    assert read(t)[0] == [(None, datetime.datetime(2026, 7, 1, 12))]
    write(t, [[datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1)]])
    assert sql(f"SELECT * FROM {name} WHERE a > 0") == "2026-01-01\t2025-12-31 23:00:00\n"


@pytest.mark.parametrize(
    ("there", "here", "hint"),
    [
        ("text", "INT", "declare it STRING"),
        ("timestamp NULL", "DATE", "TIMESTAMP_LTZ"),
        ("datetime(3)", "TIMESTAMP_LTZ(3)", "TIMESTAMP(3)"),
        ("blob", "STRING", "BYTES"),
        ("json", "ROW<a INT>", "STRING"),
        ("point", "STRING", "ST_AsText"),
    ],
)
def test_types_that_do_not_fit_are_refused(
    sql: Sql, options: dict[str, str], name: str, there: str, here: str, hint: str
) -> None:
    sql(f"CREATE TABLE {name} (a {there})")
    with pytest.raises(OptionError, match=r"table t: column a \(.*\) is no ") as e:
        read(declared(options, name, schema(("a", parse_type(here)))))
    assert hint in str(e.value.hint)


def test_a_value_may_be_larger_than_a_packet(sql: Sql, options: dict[str, str], name: str) -> None:
    """A packet of the protocol has 16 MiB at most: what is larger comes in several."""
    sql(f"CREATE TABLE {name} (a int PRIMARY KEY, b longblob)")
    sql(f"INSERT INTO {name} VALUES (1, 'x'), (2, REPEAT('ab', 7900000)), (3, 'y')")
    sql("SET GLOBAL max_allowed_packet = 67108864")
    try:
        sql(
            f"UPDATE {name} SET b = REPEAT('abc', 7000000) WHERE a = 2; INSERT INTO {name} VALUES (4, REPEAT('z', 16777206))"
        )
        rows = read(declared(options, name, schema(("a", INT), ("b", parse_type("BYTES")))))[0]
    finally:
        sql("SET GLOBAL max_allowed_packet = 16777216")
    assert [(a, len(b), b[:2]) for a, b in rows] == [
        (1, 1, b"x"),
        (2, 21000000, b"ab"),
        (3, 1, b"y"),
        (4, 16777206, b"zz"),
    ]
    with pytest.raises(RunError, match="packet") as e:
        write(
            declared(options, name, schema(("a", INT), ("b", parse_type("BYTES"))), sink_max__retries="0"),
            [[9, b"x" * (17 << 20)]],
        )
    assert "max_allowed_packet" in str(e.value.hint or e.value)


def test_rows_come_in_pieces_of_any_size(
    sql: Sql, options: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a packet is cut by what came does not matter."""
    sql(
        f"CREATE TABLE {name} (a int PRIMARY KEY, b text); INSERT INTO {name} SELECT seq, REPEAT('x', seq % 700) FROM seq_1_to_400"
    )
    expected = [(i, "x" * (i % 700)) for i in range(1, 401)]
    for size in (7, 300, 5000):
        monkeypatch.setattr(mysql_rows, "READ", size)
        monkeypatch.setattr(mysql_rows, "TOGETHER", size)
        assert read(declared(options, name))[0] == expected


# ---- names


def test_names_may_have_anything_in_them(sql: Sql, options: dict[str, str], name: str) -> None:
    sql(
        f"CREATE TABLE `{name} T.``t; --%s` (`a``b` int, `c d'%` text, `select` char(36), PRIMARY KEY (`select`, `a``b`))"
    )
    columns = schema(("a`b", INT), ("c d'%", STRING), ("select", STRING))
    ids = [str(uuid.UUID(int=n)) for n in range(3)]
    for guarantee in ("at-least-once", "exactly-once"):
        t = declared(options, f"`{name} T.``t; --%s`", columns, ("select", "a`b"), sink_delivery__guarantee=guarantee)
        write(t, [[n, f"{guarantee}'\\%", ids[n]] for n in range(3)])
        expected = [(n, f"{guarantee}'\\%", ids[n]) for n in range(3)]
        assert sorted(read(t)[0]) == expected == sorted(relation(t))


def test_names_are_found_whatever_their_case(mariadb: MariaDB, sql: Sql, options: dict[str, str], name: str) -> None:
    other = mariadb.database()
    mariadb.sql(f"CREATE TABLE {name} (userid int); INSERT INTO {name} VALUES (7)", other)
    for said in (f"{other}.{name.upper()}", f"`{other}`.`{name}`", f'"{other}"."{name}"'):
        assert ran(options, said, "(userId INT)", "SELECT userId FROM t") == [(7,)]


# ---- reading


@pytest.mark.parametrize("key", ["a", "b, a", "h", "d, a", "e, a"])
def test_positions_hold_while_other_rows_come_and_go(
    sql: Sql, options: dict[str, str], name: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_database, "BLOCK", 60)
    sql(
        f"CREATE TABLE {name} (a bigint unsigned, b varchar(9), h binary(8), d datetime(6), e enum('z','y','x'), PRIMARY KEY ({key})); "
        f"INSERT INTO {name} SELECT 18446744073709551115 + seq, concat('x''', seq % 7), unhex(lpad(hex(seq), 16, '0')), "
        f"from_unixtime(seq / 8), 1 + seq % 3 FROM seq_1_to_500"
    )
    t = declared(options, name, schema(("a", decimal(20, 0)), ("b", STRING)))
    source = source_of(t)
    (split,) = source.splits()
    position, rows = None, Rows()
    while True:
        reader = source.reader(split, position, whole(t.schema), len(rows))
        got = reader.poll(47)
        reader.close()
        if got is None:
            break
        rows += [tuple(r.values()) for r in got.batch.to_pylist()]
        position = json.loads(json.dumps(got.position))
    assert sorted(int(a) - 18446744073709551115 for a, _ in rows) == list(range(1, 501))


def test_a_table_without_a_key_is_read_from_its_start_only(sql: Sql, options: dict[str, str], name: str) -> None:
    sql(f"CREATE TABLE {name} (a int, b text); INSERT INTO {name} VALUES (1, 'x'), (2, 'y')")
    t = declared(options, name)
    (split,) = source_of(t).splits()
    assert read(t)[0] == [(1, "x"), (2, "y")]
    reader = source_of(t).reader(split, {"key": []}, whole(t.schema), 1)
    with pytest.raises(CheckpointError, match="cannot go on in the middle") as e:
        reader.poll(1)
    reader.close()
    assert "PRIMARY KEY" in str(e.value.hint)


def test_all_rows_are_of_one_moment(
    sql: Sql, options: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_database, "BLOCK", 10)
    sql(f"CREATE TABLE {name} (a int PRIMARY KEY, b text); INSERT INTO {name} SELECT seq, 'old' FROM seq_1_to_100")
    t = declared(options, name)
    (split,) = source_of(t).splits()
    reader = source_of(t).reader(split, None, whole(t.schema))
    first = reader.poll(5)
    sql(f"UPDATE {name} SET b = 'new'; INSERT INTO {name} SELECT seq, 'new' FROM seq_101_to_200")
    assert first is not None
    rows = first.batch.to_pylist()
    while not reader.finished:
        if (got := reader.poll(50)) is not None:
            rows += got.batch.to_pylist()
    reader.close()
    assert [r["c0"] for r in rows] == list(range(1, 101)) and {r["c1"] for r in rows} == {"old"}


def test_parts(sql: Sql, options: dict[str, str], name: str) -> None:
    sql(f"CREATE TABLE {name} (a int unsigned, b text); INSERT INTO {name} SELECT seq, 'x' FROM seq_1_to_100")
    more = {"scan_partition_column": "a", "scan_partition_num": "3", "scan_partition_lower__bound": "11"}
    t = declared(options, name, **more, scan_partition_upper__bound="90")
    assert len(source_of(t).splits()) == 3
    assert sorted(read(t)[0]) == [(i, "x") for i in range(11, 91)] == sorted(relation(t))


# ---- what is asked of the server

A, S, D = Column(INT, 0, "a"), Column(STRING, 1, "s"), Column(DATE, 2, "d")
F, N, T = Column(DOUBLE, 3, "f"), Column(decimal(5, 1), 4, "n"), Column(timestamp(3), 5, "t")
B, T6 = Column(BOOLEAN, 6, "b"), Column(timestamp(6), 5, "t")
THERE = dict(enumerate([
    DbColumn("a", "int unsigned", "int(10) unsigned", 0, False, False), DbColumn("s`", "varchar", "varchar(9)", None, False, False),
    DbColumn("d", "date", "date", None, False, False), DbColumn("f", "double", "double", None, False, False),
    DbColumn("n", "decimal", "decimal(5,1)", 1, False, False), DbColumn("t", "datetime", "datetime(6)", 6, False, False),
    DbColumn("b", "tinyint", "tinyint(1)", 0, False, False),
]))  # fmt: skip


def call(function: str, *args: Expr) -> Expr:
    return Call(BOOLEAN, function, args)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (call("<", Literal(INT, -5), A), "`a` > -5"),
        (call("=", S, Literal(STRING, "it's \\")), "`s``` = 'it''s \\\\'"),
        (call("<>", S, Literal(STRING, "a")), None),
        (call("<", F, Literal(DOUBLE, 1.0)), None),
        (call(">=", N, Literal(decimal(3, 1), Decimal("1.5"))), "`n` >= 1.5"),
        (call(">", D, Literal(DATE, 0)), "`d` > '1970-01-01'"),
        (call(">", T, Literal(timestamp(3), 0)), None),
        (call(">", T6, Literal(timestamp(6), 1)), "`t` > '1970-01-01 00:00:00.000001'"),
        (call("IS NULL", F), "`f` IS NULL"),
        (B, None),
        (call("NOT", B), None),
    ],
)
def test_what_of_a_filter_is_asked(asked: Expr, expected: str | None) -> None:
    assert condition(asked, THERE, database_of("mysql")) == expected


def test_a_filter_is_left_to_the_server(sql: Sql, options: dict[str, str], name: str) -> None:
    # a day that is none: who reads it fails
    sql(f"SET sql_mode = ''; CREATE TABLE {name} (a int, b date, s varchar(9)); INSERT INTO {name} SELECT seq, IF(seq = 5, '0000-00-00', '2026-01-01'), concat('x', seq) FROM seq_1_to_9")  # fmt: skip
    for mode in ("batch", "streaming"):
        set_mode = f"SET 'execution.runtime-mode' = '{mode}'"
        columns = "(a INT, b DATE, s STRING)"
        assert len(ran(options, name, columns, f"{set_mode}; SELECT b FROM t WHERE a > 5 AND a < 8")) == 2
        assert ran(
            options, name, columns, f"{set_mode}; SELECT a FROM t WHERE s IN ('x3', 'X4') AND b IS NOT NULL"
        ) == [(3,)]
        assert ran(options, name, columns, f"{set_mode}; SELECT COUNT(a) FROM t") == [(9,)]
        with pytest.raises(SqlStreamError, match="table t: column b .* 0000-00-00"):
            ran(options, name, columns, f"{set_mode}; SELECT b FROM t WHERE a > 4")


# ---- lookups


def asking(t: TableContext, keys: tuple[int, ...], filter_: Any = None) -> Callable[..., Rows]:
    reader = source_of(t).keyed_reader(ScanRequest(whole(t.schema).columns, filter=filter_), keys)

    def ask(*keys: pa.Array) -> Rows:
        return sorted((tuple(r.values()) for r in reader.rows(list(keys)).to_pylist()), key=str)

    return ask


DT = datetime.datetime
KEYS = [
    ("int", "INT", [1, -5], [2]),
    ("bigint unsigned", "DECIMAL(20, 0)", [Decimal(2**64 - 1), Decimal(1)], [Decimal(0)]),
    ("decimal(6,2)", "DECIMAL(8, 2)", [Decimal("1.50"), Decimal("-2.00")], [Decimal("1.51")]),
    ("varchar(40) COLLATE utf8mb4_bin", "STRING", ["a", "", "it's {\"x\\y\"}, é"], ["A", "nu\0l", "NULL"]),
    ("varchar(9) CHARACTER SET latin1", "STRING", ["é", "b"], ["c"]),
    ("uuid", "STRING", ["c0ffee00-0000-4000-8000-000000000000"], ["c0ffee00-0000-4000-8000-000000000001"]),
    ("enum('x','y')", "STRING", ["x"], ["z"]),
    ("date", "DATE", [datetime.date(2026, 1, 2), datetime.date(1969, 1, 1)], [datetime.date(1, 1, 1)]),
    ("time", "TIME", [datetime.time(1, 2, 3)], [datetime.time(1, 2)]),
    ("datetime(6)", "TIMESTAMP(6)", [DT(2026, 1, 2, 3, 4, 5, 678901), DT(2026, 1, 2)], [DT(2026, 1, 2, 3, 4, 5)]),
    ("timestamp(3) NULL", "TIMESTAMP_LTZ(3)", [DT(2026, 1, 2, 3, 4, 5, 678000, datetime.UTC)], [DT(2026, 1, 2, tzinfo=datetime.UTC)]),
]  # fmt: skip


@pytest.mark.parametrize(("there", "here", "held", "others"), KEYS, ids=[f"{k[0]}-{k[1]}" for k in KEYS])
def test_keys_of_each_type(
    sql: Sql, options: dict[str, str], name: str, there: str, here: str, held: list[Any], others: list[Any]
) -> None:
    t = parse_type(here)
    sql(f"CREATE TABLE {name} (k0 {there}, v int)")
    rows = [
        "('" + re.sub(r"\+00:00$", "", str(v)).replace("\\", "\\\\").replace("'", "''") + f"', {n})"
        for n, v in enumerate(held)
    ]
    sql(f"INSERT INTO {name} VALUES {', '.join(rows)}, (NULL, 9)")
    ask = asking(declared(options, name, schema(("k0", t), ("v", INT))), (0,))
    assert ask(pa.array([*held[:1], *others], t.arrow())) == [(held[0], 0)]
    assert len(ask(pa.array(held, t.arrow()))) == len(held)
    assert ask(pa.array(others[-1:], t.arrow())) == []


def test_many_keys_of_several_columns_are_found_by_an_index(sql: Sql, options: dict[str, str], name: str) -> None:
    sql(
        f"CREATE TABLE {name} (k0 int, k1 varchar(9), v int, PRIMARY KEY (k0, k1)); "
        f"INSERT INTO {name} SELECT seq DIV 10, concat('n', seq % 10), seq FROM seq_0_to_99999; ANALYZE TABLE {name}"
    )
    t = declared(options, name, schema(("k0", INT), ("k1", STRING), ("v", INT)))
    keys = pa.array([1, 1, 2, 50000], pa.int32()), pa.array(["n1", "n2", "n1", "n1"])
    assert asking(t, (0, 1))(*keys) == [(1, "n1", 11), (1, "n2", 12), (2, "n1", 21)]
    sql("FLUSH STATUS")
    many = pa.array(range(0, 6000), pa.int32()), pa.array(["n3"] * 6000)
    begun = time.monotonic()
    assert len(asking(t, (0, 1))(*many)) == 6000
    assert len(asking(t, (0,))(pa.array(range(9000, 12000), pa.int32()))) == 10000
    assert time.monotonic() - begun < 10


def test_what_cannot_be_asked_is_refused(sql: Sql, options: dict[str, str], name: str) -> None:
    sql(f"CREATE TABLE {name} (a float, b tinyint(1), c datetime(6), v int)")
    columns = schema(("a", parse_type("DECIMAL(5, 1)")), ("b", BOOLEAN), ("c", timestamp(3)), ("v", INT))
    for key in (1, 2):
        with pytest.raises(OptionError, match="is no key that its rows can be asked for by"):
            asking(declared(options, name, Schema(columns.columns[1:])), (key - 1,))(
                pa.array([None], columns[key].type.arrow())
            )


@pytest.mark.parametrize("cache", ["NONE", "PARTIAL", "FULL"])
def test_orders_meet_their_names(
    sql: Sql, options: dict[str, str], name: str, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "o.csv").write_text("1\n2\n\n3\n1\n")
    sql(f"CREATE TABLE {name} (id bigint, name text); INSERT INTO {name} VALUES (1, 'one'), (3, 'three'), (3, 'drei')")
    script = (
        "CREATE TABLE o (k INT, p AS PROCTIME()) WITH ('connector' = 'filesystem', 'path' = 'o.csv', 'format' = 'csv');"
        "SET 'execution.runtime-mode' = 'streaming'; "
        "SELECT k, name FROM o LEFT JOIN t FOR SYSTEM_TIME AS OF o.p AS t ON o.k = t.id"
    )
    rows = ran({**options, "lookup.cache": cache}, name, "(id INT, name STRING)", script)
    assert sorted(rows, key=str) == [(1, "one"), (1, "one"), (2, None), (3, "drei"), (3, "three"), (None, None)]


# ---- writing


def changes(t: TableContext, *epochs: list[tuple[str, Any, Any]], run: str) -> None:
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
@pytest.mark.parametrize("key", ["a", "b, a"])
def test_rows_take_the_places_of_those_of_their_keys(
    sql: Sql, options: dict[str, str], name: str, guarantee: str, key: str
) -> None:
    sql(f"CREATE TABLE {name} (a int, b varchar(9), c int DEFAULT 1, PRIMARY KEY ({key})); INSERT INTO {name} VALUES (0, '0', 5), (1, '1', 5), (2, '2', 5)")  # fmt: skip
    by = tuple(k.strip() for k in key.split(","))
    t = declared(options, name, AB, by, sink_delivery__guarantee=guarantee)
    first = [("+I", 3, "3"), ("+U", 1, "1"), ("-D", 2, "2"), ("-D", 9, "9")]
    changes(t, first, [("-D", 3, "3"), ("+I", 4, "4"), ("+U", 1, "1"), ("+I", 0, "0")], run=f"{guarantee}{key}{name}")
    assert sql(f"SELECT * FROM {name} ORDER BY a") == "0\t0\t5\n1\t1\t5\n4\t4\t1\n"


def test_many_rows_take_several_statements(
    sql: Sql, options: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_target, "STATEMENT", 1000)
    monkeypatch.setattr(mysql_target, "KEYS", 30)
    sql(f"CREATE TABLE {name} (a int PRIMARY KEY, b text)")
    t = declared(options, name, AB, ("a",))
    changes(t, [("+I", i, "x" * (i % 90)) for i in range(500)] + [("+I", 500, "y" * 5000)], run=name)
    assert sql(f"SELECT count(*), sum(length(b)) FROM {name}") == f"501\t{sum(i % 90 for i in range(500)) + 5000}\n"
    changes(t, [("-D", i, None) for i in range(0, 400)], run=f"{name}/2")
    assert sql(f"SELECT count(*), min(a) FROM {name}") == "101\t400\n"


def test_what_is_wrong_with_a_table_is_said_before_anything_is_written(
    sql: Sql, options: dict[str, str], name: str
) -> None:
    sql(
        f"CREATE TABLE {name} (a int, b text, c int GENERATED ALWAYS AS (a + 1) STORED, UNIQUE (b(10)), d int DEFAULT (1 + 1))"
    )
    for t, text, hint in [
        (declared(options, name, AB, ("a",)), "has no unique index of these columns", "ADD PRIMARY KEY"),
        (declared(options, name, AB, ("b",)), "has no unique index of these columns", "ADD PRIMARY KEY"),
        (
            declared(options, name, schema(("a", BOOLEAN))),
            r"BOOLEAN cannot be written to column a, which is int\(11\)",
            "INT",
        ),
        (
            declared(options, name, schema(("c", INT))),
            "the database makes the values of column c itself",
            "leave it out",
        ),
        (declared(options, name, schema(("bb", STRING))), "has no column 'bb'", "did you mean b"),
        (declared(options, f"{name}y", AB), f"the database has no table '{name}y'", f"did you mean {name}"),
        (declared(options, name, schema(("b", parse_type("MAP<STRING, INT>")))), "cannot be written", "JSON"),
    ]:
        with pytest.raises(OptionError, match=f"table t: .*{text}") as e:
            sink_of(t).writer(SinkTask("job", "run", 0))
        assert hint in str(e.value.hint)
    write(declared(options, name, schema(("d", INT))), [[5]])
    assert sql(f"SELECT d FROM {name}") == "5\n"


def test_a_record_that_the_table_does_not_take_is_shown(sql: Sql, options: dict[str, str], name: str) -> None:
    sql(f"CREATE TABLE {name} (a int CHECK (a < 10), b varchar(3) NOT NULL, c enum('x') DEFAULT 'x', d float)")
    for row, columns, text in [
        ([10, "x"], AB, "CONSTRAINT .* failed"),
        ([1, "long"], AB, r"Data too long for column 'b'; in \{\"a\": 1, \"b\": \"long\"\}"),
        ([1, None], AB, "Column 'b' cannot be null"),
        (
            [2**40, "x"],
            schema(("a", BIGINT), ("b", STRING)),
            r"Out of range value for column 'a'; in \{\"a\": 1099511627776",
        ),
        (["y", "x"], schema(("c", STRING), ("b", STRING)), r"Data truncated for column 'c'; in \{\"c\": \"y\""),
        ([float("nan"), "x"], schema(("d", DOUBLE), ("b", STRING)), "MySQL has no NaN"),
    ]:
        ok = [1 if not columns[0].type.is_string else "x", "ok"]
        with pytest.raises(DataError, match=f"table t: .*{text}"):
            write(declared(options, name, columns), [ok, row])
        assert sql(f"SELECT count(*) FROM {name}") == "0\n"


def test_another_unique_index_does_not_put_a_row_in_the_place_of_another(
    sql: Sql, options: dict[str, str], name: str
) -> None:
    """MySQL would change the row that it meets, and leave the new one out."""
    sql(
        f"CREATE TABLE {name} (a int PRIMARY KEY, b varchar(9), c int, UNIQUE (b)); INSERT INTO {name} VALUES (1, 'x', 5), (2, 'y', 5)"
    )
    t = declared(options, name, AB, ("a",))
    with pytest.raises(
        DataError, match=f"table t: a row of another key has the same values in a unique index of .*{name}"
    ):
        write(t, [[3, "y"]])
    assert sql(f"SELECT a, b, c FROM {name} ORDER BY a") == "1\tx\t5\n2\ty\t5\n"
    write(t, [[1, "z"], [3, "x"], [2, "y"]])
    assert sql(f"SELECT a, b, c FROM {name} ORDER BY a") == "1\tz\t5\n2\ty\t5\n3\tx\tNULL\n"


def test_words_of_an_enum_are_no_type(sql: Sql, options: dict[str, str], name: str) -> None:
    sql(
        f"CREATE TABLE {name} (a int PRIMARY KEY, b enum('unsigned', 'zerofill') CHARACTER SET latin1); INSERT INTO {name} VALUES (1, 'zerofill')"
    )
    assert ran(options, name, "", "SELECT a, b FROM t WHERE b = 'zerofill'") == [(1, "zerofill")]


def test_more_files_are_open_than_select_knows(sql: Sql, options: dict[str, str], name: str) -> None:
    sql(f"CREATE TABLE {name} (a int PRIMARY KEY, b text); INSERT INTO {name} VALUES (1, 'x')")
    files = [os.dup(0) for _ in range(1100)] if resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 2000 else []
    try:
        assert ran(options, name, "(a INT, b STRING)", "SELECT a, b FROM t") == [(1, "x")]
    finally:
        for f in files:
            os.close(f)


def test_values_that_are_too_large_are_found_before_the_checkpoint(
    sql: Sql, options: dict[str, str], name: str
) -> None:
    sql(f"CREATE TABLE {name} (a tinyint unsigned, b varchar(3), c decimal(4, 1) unsigned)")
    columns = schema(("a", INT), ("b", STRING), ("c", decimal(10, 2)))
    t = declared(options, name, columns, sink_delivery__guarantee="exactly-once")
    write(t, [[255, "abc  ", Decimal("999.94")], [None, None, None]], name)
    for row, text in [
        ([256, "x", Decimal(1)], r"column a \(tinyint\(3\) unsigned\) cannot hold a value; in \{\"a\": 256"),
        ([-1, "x", Decimal(1)], r"column a \(tinyint\(3\) unsigned\) cannot hold a value; in \{\"a\": -1"),
        ([1, "äöüß", None], r"column b \(varchar\(3\)\) cannot hold a value"),
        ([1, None, Decimal(1000)], r"column c \(decimal\(4,1\) unsigned\) cannot hold a value"),
    ]:
        with pytest.raises(DataError, match=f"table t: {text}"):
            write(t, [[1, "x", None], row], name)
        assert sql(f"SELECT count(*) FROM sqlstream_staged WHERE owner LIKE '%{name}%'") == "0\n"
    assert sql(f"SELECT count(*) FROM {name}") == "2\n"


def test_zero_is_a_key_too(sql: Sql, options: dict[str, str], name: str) -> None:
    sql(f"CREATE TABLE {name} (a int AUTO_INCREMENT PRIMARY KEY, b text)")
    write(declared(options, name), [[0, "x"], [5, "y"]])
    assert sql(f"SELECT a FROM {name} ORDER BY a") == "0\n5\n"


def test_what_no_checkpoint_knows_goes_and_what_one_knows_comes_once(
    mariadb: MariaDB, options: dict[str, str], name: str
) -> None:
    own = mariadb.database()
    options = {**options, "url": f"jdbc:mariadb://{mariadb.address}/{own}"}

    def sql(statement: str) -> str:
        return mariadb.sql(statement, own)

    sql("CREATE TABLE t (a int, b text); CREATE TABLE u (a int, b text, CHECK (a > 5))")
    task = SinkTask("a job", name, 0)
    sinks = [sink_of(declared(options, n, sink_delivery__guarantee="exactly-once")) for n in ("t", "u")]
    assert sinks[0].place == sinks[1].place != ""
    staged = []
    for n, sink in enumerate(sinks):
        writer = sink.writer(task)
        writer.write(pa.record_batch({"a": pa.array([n], pa.int32()), "b": ["x"]}), None)
        staged += writer.prepare(1)
        writer.write(pa.record_batch({"a": pa.array([n + 10], pa.int32()), "b": ["y"]}), None)
        writer.prepare(2)
        writer.close()
    counts = "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u), (SELECT count(*) FROM sqlstream_staged)"
    assert sql(counts) == "0\t0\t4\n"
    committer = sinks[0].committer(task)
    (one,) = committer.combine(staged, 0)
    # of the two tables one does not take its row: neither has any
    with pytest.raises(DataError, match="CONSTRAINT"):
        committer.commit([one])
    assert sql(counts) == "0\t0\t4\n" and committer.published(0) == []
    sql("DROP TABLE u; CREATE TABLE u (a int, b text)")
    for _ in range(2):
        sinks[0].committer(task).commit([json.loads(json.dumps(one))])
    assert sql(counts) == "1\t1\t2\n"
    assert len(committer.published(0)) == 1 and committer.published(1) == []
    assert len(sinks[0].committer(SinkTask("a job", "another", 0)).others()) == 1
    assert sinks[0].committer(SinkTask("A JOB", "another", 0)).others() == []
    committer.abort()
    assert sql(counts) == "1\t1\t0\n"
    lost = {"checkpoint": 3, "batches": [{"table": "t", "key": [], "batch": "gone", "kinds": ["append"]}]}
    with pytest.raises(CheckpointError, match="staged for checkpoint 3 are gone"):
        committer.commit([lost])


# ---- options, and servers that are not there


def test_a_server_that_goes_and_comes_back(name: str) -> None:
    wanted(MariaDB)
    with MariaDB() as server:
        own = server.database()
        server.sql(f"CREATE TABLE {name} (a int, b text)", own)
        given = {"connector": "jdbc", "url": f"mysql://root:{server.password}@{server.address}/{own}"}
        writer = sink_of(declared(given, name, sink_max__retries="5")).writer(SinkTask("job", "run", 0))
        rows = pa.record_batch({"a": pa.array([1], pa.int32()), "b": ["x"]})
        server.kill()
        again = threading.Timer(1.2, server.start)
        again.start()
        writer.write(rows, None)
        writer.prepare(1)
        again.join()
        assert server.sql(f"SELECT * FROM {name}", own) == "1\tx\n"
        hasty = sink_of(declared(given, name, sink_max__retries="0")).writer(SinkTask("job", "run", 1))
        server.kill()
        with pytest.raises(Disconnected, match="table t: ") as e:
            hasty.write(rows, None)
            hasty.prepare(2)
        assert passes(e.value) and from_outside(e.value)
        with pytest.raises(Disconnected, match="cannot connect to mysql at 127.0.0.1"):
            read(declared(given, name))
        hasty.close()
        writer.close()


@pytest.mark.parametrize(
    ("given", "text", "hint"),
    [
        ({"url": "jdbc:mysql://h/"}, "names no database", "database"),
        ({"url": "jdbc:mysql://h/d?useSSLL=true"}, "parameter 'useSSLL' means nothing", "useSSL"),
        ({"url": "jdbc:mysql://h/d?sslMode=SOME"}, "sslMode is disabled, preferred, .*, and not 'SOME'", ""),
        ({"url": "jdbc:mysql://h/d?serverTimezone=Mars"}, "there is no time zone 'Mars'", "Europe"),
        ({"url": "mysql://u:p@h/d", "username": "v"}, "'username' and the user in 'url' are not the same", ""),
        ({"driver": "org.postgresql.Driver"}, "is no driver of mysql", "com.mysql.cj.jdbc.Driver"),
        ({"url": "jdbc:mysql://h/d?connectTimeout=soon"}, "connectTimeout is a number of milliseconds", ""),
        ({"url": "mysql://ann:s3cr/et@h/d"}, "a port in it is no number", "%2F"),
    ],
)
def test_options_that_cannot_be(given: dict[str, str], text: str, hint: str) -> None:
    t = TableContext("t", AB, {"connector": "jdbc", "url": "mysql://h/d", "table-name": "x", **given})
    with pytest.raises(OptionError, match=f"table t: .*{text}") as e:
        source_of(t)
    assert hint in str(e.value.hint or "") and "s3cr" not in str(e.value)


def test_certificates_that_are_not_there(options: dict[str, str], name: str) -> None:
    with pytest.raises(OptionError, match="table t: the certificates for mysql cannot be read: .*No such file"):
        ran({**options, "url": f"{options['url']}?ssl_ca=nowhere.pem"}, name, "(a INT)", "SELECT a FROM t")


def test_what_java_says_and_means_nothing_here_is_let_through() -> None:
    url = "jdbc:mariadb://h1:1,h2/d?useSSL=false&rewriteBatchedStatements=true&characterEncoding=UTF-8&connectTimeout=5000"
    address = parsed(url, "u", "p", 60, "t")
    assert (address.kind, address.hosts, address.database, address.user) == ("mysql", "h1:1,h2", "d", "u")
    assert dict(address.parameters) == {"connect_timeout": "5", "ssl_mode": "disabled"}
    assert "p" not in repr(address).replace("mysql", "").partition("user=")[2]


def test_a_package_that_is_not_installed_is_named(
    options: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(OptionError, match="needs a package that is not installed") as e:
        read(declared(options, name))
    assert "sqlstream-engine[mysql]" in str(e.value.hint)


# ---- the page


def test_the_page_shows_what_happens(
    mariadb: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/connectors/mysql.md: its SQL, run, prints its table."""
    page = (Path(__file__).parents[3] / "docs/connectors/mysql.md").read_text()
    (script,) = re.findall(r"^```sql\n(.*?)^```$", page, re.M | re.S)
    (shown,) = re.findall(r"^```\n(\+.*?)^```$", page, re.M | re.S)
    (rows,) = re.findall(r"and the orders (.*?), the last query", page, re.S)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_PASSWORD", mariadb.password)
    (tmp_path / "orders.csv").write_text("".join(f"{r}\n" for r in re.findall(r"`(.*?)`", rows)))
    own = mariadb.database()
    mariadb.sql(
        "CREATE TABLE customers (id bigint PRIMARY KEY, name text); INSERT INTO customers VALUES (1, 'ann'), (2, 'bob'); "
        "CREATE TABLE totals (customer varchar(50) PRIMARY KEY, orders bigint, amount decimal(38, 2))",
        own,
    )
    for found, there in (("localhost:3306/shop", f"{mariadb.address}/{own}"), ("'ann'", "'root'"),
                         ("ann:", "root:"), ("secret", mariadb.password)):  # fmt: skip
        script = script.replace(found, there)
    (tmp_path / "page.sql").write_text(script)
    assert main(["run", "page.sql"]) == 0
    assert shown in capsys.readouterr().out
