"""Connector 'mysql-cdc' on a real MariaDB: what tables have and what becomes of them, each change once."""

from __future__ import annotations

import json
import random
import re
import struct
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from connector_cases import relation, schema
from harness.servers import MariaDB, wanted

from sqlstream.batches import OP, Kind
from sqlstream.connectors.jdbc.mysql_types import reading
from sqlstream.connectors.mysql_cdc import events, snapshot
from sqlstream.connectors.mysql_cdc.binlog import Binlog, Followed, Stream, first_asked
from sqlstream.connectors.mysql_cdc.connector import MysqlCdcConnector
from sqlstream.connectors.mysql_cdc.events import BinlogColumn, Event, Statement, width_of_decimal
from sqlstream.connectors.mysql_cdc.gtids import MARIADB, MYSQL, Gtids
from sqlstream.connectors.mysql_cdc.source import MysqlCdcSource
from sqlstream.connectors.mysql_cdc.values import Values, db_column, json_text
from sqlstream.contracts import ScanColumn, ScanRequest, Split, SplitReader, TableContext
from sqlstream.errors import CheckpointError, DataError, OptionError, RunError, SqlStreamError
from sqlstream.session import Session
from sqlstream.sql.types import parse_type
from sqlstream.types import INT, STRING, Schema, Type, timestamp_ltz

AB = schema(("a", INT), ("b", STRING))
Row = tuple[Any, ...]


class Table:
    """A table of a database, and readers of its changes."""

    def __init__(self, server: MariaDB, database: str, columns: str = "a int PRIMARY KEY, b text") -> None:
        self.server, self.database = server, database
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.sql(f"CREATE TABLE {self.name} ({columns})")
        self.readers: list[SplitReader] = []

    def sql(self, sql: str) -> str:
        return self.server.sql(re.sub(r"\bt\b", self.name, sql), self.database)

    def source(
        self, columns: Schema = AB, key: tuple[str, ...] = ("a",), zone: str = "UTC", **options: str
    ) -> MysqlCdcSource:
        given = {
            "hostname": "127.0.0.1", "port": str(self.server.port), "username": "root",
            "password": self.server.password, "database-name": self.database, "table-name": self.name,
            **{k.replace("__", "-").replace("_", "."): v for k, v in options.items()},
        }  # fmt: skip
        source = MysqlCdcConnector().source(TableContext("t", columns, given, key, time_zone=zone))
        assert isinstance(source, MysqlCdcSource)
        return source

    def reader(
        self, source: MysqlCdcSource, position: Any = None, metadata: dict[str, Type] | None = None
    ) -> SplitReader:
        columns = [ScanColumn((c.name,), c.type) for c in source.table.schema]
        columns += [ScanColumn(("$metadata", k), t) for k, t in (metadata or {}).items()]
        made = source.reader(Split("0"), position, ScanRequest(tuple(columns)), 0)
        self.readers.append(made)
        return made

    def close(self) -> None:
        for r in self.readers:
            r.close()


@pytest.fixture(scope="module")
def database(mariadb: MariaDB) -> str:
    return mariadb.database()


@pytest.fixture
def made(mariadb: MariaDB, database: str, request: pytest.FixtureRequest) -> Callable[..., Table]:
    def make(*columns: str) -> Table:
        table = Table(mariadb, database, *columns)
        request.addfinalizer(table.close)
        return table

    return make


KINDS = {Kind.INSERT: "+I", Kind.UPDATE_BEFORE: "-U", Kind.UPDATE_AFTER: "+U", Kind.DELETE: "-D"}


def polled(reader: SplitReader, most: int = 1000) -> tuple[list[tuple[str, Row]], Any]:
    """What came with one poll, with its kinds; and the position. None: nothing."""
    got = reader.poll(most)
    if got is None:
        return [], None
    rows = [tuple(v for k, v in r.items() if k != OP) for r in got.batch.to_pylist()]
    if OP not in got.batch.schema.names:
        return [("", r) for r in rows], got.position
    return [(KINDS[Kind(o)], r) for o, r in zip(got.batch.column(OP).to_pylist(), rows, strict=True)], got.position


def until(
    reader: SplitReader, done: Callable[[list[tuple[str, Row]]], bool], seconds: float = 30
) -> list[tuple[str, Row]]:
    """All that comes until it is enough."""
    found: list[tuple[str, Row]] = []
    end = time.monotonic() + seconds
    while not done(found):
        assert time.monotonic() < end, found[-20:]
        rows, position = polled(reader)
        found += rows
        if position is None:
            time.sleep(0.01)
    return found


def test_what_is_there_then_what_changes(made: Callable[..., Table]) -> None:
    t = made()
    t.sql("INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, NULL)")
    reader = t.reader(t.source())
    assert until(reader, lambda rows: len(rows) == 3) == [("+I", (1, "one")), ("+I", (2, "two")), ("+I", (3, None))]
    t.sql(
        "UPDATE t SET b = 'zwei' WHERE a = 2; DELETE FROM t WHERE a = 1; UPDATE t SET a = 4 WHERE a = 3; INSERT INTO t VALUES (5, '')"
    )
    assert until(reader, lambda rows: len(rows) == 5) == [
        ("+U", (2, "zwei")), ("-D", (1, "one")), ("-D", (3, None)), ("+U", (4, None)), ("+I", (5, "")),
    ]  # fmt: skip
    t.sql("TRUNCATE t")
    with pytest.raises(DataError, match=r"table t: \w+\.\w+ was truncated"):
        until(reader, lambda rows: bool(rows))


@pytest.mark.parametrize("word", ["DROP TABLE IF EXISTS nothing, `t` /* comment */", "RENAME TABLE t TO t2"])
def test_a_table_that_goes_is_an_error(made: Callable[..., Table], word: str) -> None:
    t = made()
    reader = t.reader(t.source())
    polled(reader)
    t.sql(word)
    with pytest.raises(DataError, match="was (dropped|renamed), which is no change of rows"):
        until(reader, lambda rows: bool(rows))


@pytest.mark.parametrize("by_locks", [False, True])
def test_rows_come_in_the_snapshot_or_in_the_log(
    made: Callable[..., Table], monkeypatch: pytest.MonkeyPatch, by_locks: bool
) -> None:
    """Somebody inserts all the time while snapshots begin: each row comes, and none twice."""
    if by_locks:  # MySQL's way
        monkeypatch.setattr(snapshot, "_maria", lambda connection: False)
    t = made()
    ended = threading.Event()

    def write() -> None:
        n = 0
        while not ended.is_set():
            t.sql(";".join(f"INSERT INTO t VALUES ({n + i}, 'x')" for i in range(40)))
            n += 40
        t.sql("INSERT INTO t VALUES (-1, 'end')")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        readers = []
        for _ in range(4):
            readers.append(t.reader(t.source()))
            polled(readers[-1])
            time.sleep(0.05)
    finally:
        ended.set()
        writer.join()
    last = int(t.sql("SELECT max(a) FROM t"))
    for n, reader in enumerate(readers):
        found = until(reader, lambda rows: bool(rows) and rows[-1][1][0] == -1 or any(r[1][0] == -1 for r in rows))
        seen = Counter(row[0] for _, row in found)
        assert max(seen.values()) == 1, n
        assert set(seen) >= set(range(min(k for k in seen if k >= 0), last + 1))


def test_without_a_key_rows_come_whole(made: Callable[..., Table]) -> None:
    t = made("a int, b text")
    t.sql("INSERT INTO t VALUES (1, 'x'), (1, 'x')")
    reader = t.reader(t.source(key=()))
    assert until(reader, lambda rows: len(rows) == 2) == 2 * [("+I", (1, "x"))]
    t.sql("UPDATE t SET b = 'y'; DELETE FROM t")
    changed = [("-U", (1, "x")), ("+U", (1, "y"))] * 2
    assert until(reader, lambda rows: len(rows) == 6) == changed + 2 * [("-D", (1, "y"))]


TYPES = {
    "i1": ("tinyint", "TINYINT", ["-128", "127"]), "u1": ("tinyint unsigned", "SMALLINT", ["0", "255"]),
    "bo": ("tinyint(1)", "BOOLEAN", ["0", "1"]), "i2": ("smallint", "SMALLINT", ["-32768", "1"]),
    "u2": ("smallint unsigned", "INT", ["65535", "0"]), "i3": ("mediumint", "INT", ["-8388608", "8388607"]),
    "u3": ("mediumint unsigned", "BIGINT", ["16777215", "1"]), "i4": ("int", "STRING", ["-2147483648", "2147483647"]),
    "u4": ("int unsigned", "BIGINT", ["4294967295", "0"]), "i8": ("bigint", "BIGINT", ["-9223372036854775808", "9223372036854775807"]),
    "u8": ("bigint unsigned", "DECIMAL(20, 0)", ["18446744073709551615", "0"]), "f4": ("float", "FLOAT", ["0.1", "-1e30"]),
    "f8": ("double", "DOUBLE", ["1.7976931348623157e308", "-0.1"]), "fs": ("double", "STRING", ["0.5", "-2.25"]),
    "d1": ("decimal(5,2)", "DECIMAL(5, 2)", ["-1.05", "999.99"]), "d2": ("decimal(38,9)", "DECIMAL(38, 9)", ["-12345678901234567890123456789.123456789", "0.000000001"]),
    "d3": ("decimal(10,0)", "STRING", ["-1234567890", "0"]), "d4": ("decimal(20,4)", "DECIMAL(20, 2)", ["1.005", "-99.995"]),
    "d5": ("decimal(65,30)", "STRING", ["-12345678901234567890123456789012345.123456789012345678901234567890", "1"]),
    "d6": ("decimal(18,18)", "DECIMAL(18, 18)", ["-0.999999999999999999", "0.000000000000000001"]),
    "c1": ("char(5)", "STRING", ["'ab'", "''"]), "c2": ("varchar(300)", "STRING", ["'é\\n\\\\'", "repeat('x', 300)"]),
    "c3": ("text", "STRING", ["repeat('long', 15000)", "''"]), "l1": ("varchar(20) CHARACTER SET latin1", "STRING", ["'naïve €'", "'x'"]),
    "l2": ("text CHARACTER SET ucs2", "STRING", ["'ñ'", "''"]), "b1": ("varbinary(10)", "BYTES", ["x'00ff27'", "''"]),
    "b2": ("binary(4)", "BYTES", ["x'ab00'", "x'00000000'"]), "b3": ("blob", "BYTES", ["x'0102'", "''"]),
    "e2": ("enum('é','€') CHARACTER SET latin1", "STRING", ["'€'", "'é'"]), "e3": ("set('ä','ö') CHARACTER SET ucs2", "STRING", ["'ä,ö'", "'ö'"]),
    "e1": ("enum('x','y''z')", "STRING", ["'y''z'", "'x'"]), "s1": ("set('a','b','c')", "STRING", ["'a,c'", "''"]),
    "bi": ("bit(12)", "BYTES", ["b'101010101010'", "b'1'"]), "bj": ("bit(12)", "INT", ["b'101010101010'", "b'1'"]), "bk": ("bit(1)", "BOOLEAN", ["b'1'", "b'0'"]),
    "l3": ("varchar(9) CHARACTER SET latin1", "STRING", ["x'8180'", "x'9dff'"]), "yf": ("year", "STRING", ["0000", "2026"]),
    "ye": ("year", "INT", ["2026", "1901"]), "da": ("date", "DATE", ["'0999-12-31'", "'9999-12-31'"]), "db": ("date", "STRING", ["'2026-02-03'", "'1000-01-01'"]),
    "t0": ("time", "TIME", ["'23:59:59'", "'00:00:00'"]), "t1": ("time(6)", "STRING", ["'-838:59:58.123456'", "'-00:00:00.000001'"]),
    "t2": ("time(3)", "STRING", ["'-01:02:03.500'", "'100:00:00.001'"]),
    "t3": ("time(1)", "STRING", ["'-01:02:03.5'", "'00:00:00.1'"]),
    "m0": ("datetime", "TIMESTAMP(0)", ["'1969-12-31 23:59:59'", "'1000-01-01 00:00:00'"]), "m6": ("datetime(6)", "TIMESTAMP(6)", ["'9999-12-31 23:59:59.999999'", "'2026-01-02 03:04:05.000001'"]),
    "m3": ("datetime(3)", "TIMESTAMP(1)", ["'2026-01-02 03:04:05.678'", "'1969-12-31 23:59:59.999'"]), "ms": ("datetime(2)", "STRING", ["'2026-01-02 03:04:05.67'", "'1000-01-01 00:00:00'"]),
    "z0": ("timestamp NULL", "TIMESTAMP_LTZ(0)", ["'2026-06-01 12:00:00'", "'1970-01-01 00:00:01'"]), "z6": ("timestamp(6) NULL", "TIMESTAMP_LTZ(6)", ["'2026-06-01 12:00:00.123456'", "'2001-01-01 00:00:00'"]),
    "z3": ("timestamp(3) NULL", "TIMESTAMP(3)", ["'2026-07-01 10:00:00.5'", "'2026-01-01 10:00:00'"]), "js": ("json", "STRING", ["'{\"a\": [1, null, \"é\"]}'", "'1'"]),
}  # fmt: skip


def test_values_are_those_of_a_scan(made: Callable[..., Table]) -> None:
    """A row that was there and one that comes are the same."""
    t = made("id int PRIMARY KEY, " + ", ".join(f"{n} {there}" for n, (there, _, _) in TYPES.items()))
    columns = schema(("id", INT), *((n, parse_type(h)) for n, (_, h, _) in TYPES.items()))
    rows = [", ".join(v[k] for _, _, v in TYPES.values()) for k in (0, 1)]
    t.sql(
        f"SET NAMES utf8mb4; SET time_zone = '+00:00'; INSERT INTO t VALUES (1, {rows[0]}); INSERT INTO t VALUES (2, {rows[1]}); INSERT INTO t (id) VALUES (3)"
    )
    reader = t.reader(t.source(columns, ("id",), "Europe/Berlin"))
    there = until(reader, lambda rows: len(rows) == 3)
    t.sql("CREATE TEMPORARY TABLE same AS SELECT * FROM t; DELETE FROM t; INSERT INTO t SELECT * FROM same")
    came = until(reader, lambda rows: len(rows) == 6)[3:]
    for (_, a), (_, b) in zip(there, came, strict=True):
        assert dict(zip(columns.names, a, strict=True)) == dict(zip(columns.names, b, strict=True))
    values = dict(zip(columns.names, there[0][1], strict=True))
    assert values["u8"] == Decimal(2**64 - 1) and values["l1"] == "naïve €" and values["b2"] == b"\xab\0\0\0"
    assert values["z3"].isoformat() == "2026-07-01T12:00:00.500000" and values["t1"] == "-838:59:58.123456"
    assert there[2][1] == (3, *(None,) * len(TYPES))


def test_dates_that_are_none(made: Callable[..., Table]) -> None:
    t = made("a int PRIMARY KEY, b date, c datetime(2)")
    reader = t.reader(t.source(schema(("a", INT), ("b", STRING), ("c", STRING))))
    strict = t.reader(t.source(schema(("a", INT), ("b", parse_type("DATE")))))
    polled(reader), polled(strict)
    t.sql("SET sql_mode = ''; INSERT INTO t VALUES (1, '0000-00-00', '0000-00-00')")
    assert until(reader, bool) == [("+I", (1, "0000-00-00", "0000-00-00 00:00:00.00"))]
    with pytest.raises(DataError, match="column b .* 0000-00-00, MySQL's word for no date"):
        until(strict, bool)
    t.sql("SET sql_mode = ''; INSERT INTO t VALUES (2, '2026-00-00', NULL)")
    with pytest.raises(DataError, match="a date without a month or a day"):
        until(reader, bool)


def test_a_decimal_of_each_size() -> None:
    """As the manual of MySQL packs one: nine digits in four bytes, the first bit turned, all of those below zero."""
    assert width_of_decimal(14, 4) == 7
    column = BinlogColumn("n", events.NEWDECIMAL, 7, precision=14, digits=4)
    made = Values(column, reading(db_column(column), parse_type("DECIMAL(14, 4)"), "t"))
    plus = bytes.fromhex("810DFB38D204D2")  # of MySQL's source, decimal2bin: 1234567890.1234
    minus = bytes(0xFF ^ b for b in plus)
    data = np.frombuffer(plus + minus, np.uint8)
    assert made.of(data, np.array([0, 7, 0]), np.array([7, 7, -1])).to_pylist() == [
        Decimal("1234567890.1234"), Decimal("-1234567890.1234"), None,
    ]  # fmt: skip


def test_json_of_mysql() -> None:
    """MariaDB's JSON is text; MySQL's has a form of its own (its source: json_binary.h)."""
    # {"a": 1, "b": "x"}: two keys, 24 bytes; entries of keys (offset, length) and values (type, offset), then both
    body = (
        struct.pack("<HH", 2, 22)
        + struct.pack("<HHHH", 18, 1, 19, 1)
        + struct.pack("<BHBH", 5, 1, 12, 20)
        + b"ab"
        + b"\x01x"
    )
    assert json.loads(json_text(b"\0" + body)) == {"a": 1, "b": "x"}
    assert json_text(b"\x04\x01") == "true" and json_text(b"\x05\xff\xff") == "-1" and json_text(b"") == "null"
    with pytest.raises(DataError, match="is not understood"):
        json_text(b"\x0e\x0a\x08\0")


@pytest.mark.parametrize("keyed", [True, False])
def test_no_gap_and_no_repeat(made: Callable[..., Table], keyed: bool) -> None:
    """Somebody writes all the time, in transactions of one and of many rows; readers die and go on from positions of theirs."""
    r = random.Random(3)
    t = made("a int PRIMARY KEY, b text" if keyed else "n int AUTO_INCREMENT PRIMARY KEY, a int, b text")
    t.sql("INSERT INTO t (a, b) SELECT seq, 'old' FROM seq_1_to_3000")
    ended = threading.Event()

    def write() -> None:
        for n in range(25):
            first = r.randrange(3000)
            t.sql(
                f"BEGIN; UPDATE t SET b = 'u{n}' WHERE a BETWEEN {first} AND {first + r.choice((0, 300))}; SAVEPOINT x; "
                f"DELETE FROM t WHERE a = {r.randrange(3000)}; ROLLBACK TO x; DELETE FROM t WHERE a = {r.randrange(3000)}; "
                f"INSERT INTO t (a, b) SELECT seq, 'n{n}' FROM seq_{10000 + n * 50}_to_{10049 + n * 50}; COMMIT"
            )
            if n % 9 == 5:
                t.sql("FLUSH BINARY LOGS")
        t.sql("INSERT INTO t (a, b) VALUES (-1, 'end')")
        ended.set()

    writer = threading.Thread(target=write)
    source = t.source(key=("a",) if keyed else ())
    reader = t.reader(source)
    rows, position = polled(reader, 700)
    writer.start()
    state: Counter[Row] = Counter(row for _, row in rows)
    by_key: dict[int, str] = {row[0]: row[1] for _, row in rows}
    lives, seen_end = 1, False
    while not seen_end:
        in_snapshot = position is None or "snapshot" in position
        if r.random() < 0.08 and (keyed or not in_snapshot):  # it dies, and goes on from a checkpoint
            reader.close()
            again = json.loads(json.dumps(position))
            if not in_snapshot and r.random() < 0.3:  # on a replica, by its ids
                again = {**again, "server": "another"}
            reader = t.reader(source, again)
            lives += 1
        found, at = polled(reader, r.choice((1, 50, 400)))
        position = at or position
        for kind, row in found:
            state[row] += 1 if kind in ("+I", "+U") else -1
            if kind == "-D":
                by_key.pop(row[0], None)
            elif kind != "-U":
                by_key[row[0]] = row[1]
            seen_end = seen_end or row[0] == -1 and "snapshot" not in at
        if at is None:
            time.sleep(0.005)
    writer.join()
    assert ended.is_set() and lives > 3
    there = [(int(a), b) for a, b in (line.split("\t") for line in t.sql("SELECT a, b FROM t").splitlines())]
    assert by_key == dict(there) if keyed else +state == Counter(there) and -state == Counter()


def test_what_the_server_has_no_more_is_an_error(made: Callable[..., Table]) -> None:
    wanted(MariaDB)
    with MariaDB() as server:
        t = Table(server, server.database())
        source = t.source()
        reader = t.reader(source)
        _, position = polled(reader)
        t.sql("INSERT INTO t VALUES (1, 'x'); FLUSH BINARY LOGS; INSERT INTO t VALUES (2, 'y'); FLUSH BINARY LOGS")
        t.close()
        last = t.sql("SHOW BINARY LOGS").splitlines()[-1].split("\t")[0]
        while len(t.sql("SHOW BINARY LOGS").splitlines()) > 1:  # one that somebody still reads stays
            t.sql(f"PURGE BINARY LOGS TO '{last}'")
        for at in (position, {**position, "server": "another"}):
            again = t.reader(source, at)
            with pytest.raises(CheckpointError, match="does not have the binary log from there on any more") as e:
                until(again, lambda rows: False)
            assert "--fresh" in str(e.value.hint)
        with pytest.raises(CheckpointError, match="the log of another server"):
            t.reader(source, {"file": "x", "pos": 4, "server": "another"}).poll(1)
        # a server that comes back is gone on with
        reader = t.reader(t.source(scan_startup_mode="latest-offset"))
        polled(reader)
        t.sql("INSERT INTO t VALUES (3, 'z')")
        position = until_position(reader)
        server.kill()
        with pytest.raises(RunError) as gone:
            until(reader, lambda rows: False)
        assert gone.value.transient
        server.start()
        t.sql("INSERT INTO t VALUES (4, 'again')")
        assert until(t.reader(source, position), bool) == [("+I", (4, "again"))]
        t.close()


def until_position(reader: SplitReader) -> Any:
    """That behind the next rows."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        rows, position = polled(reader)
        if rows:
            return position
        time.sleep(0.01)
    return None


def test_a_job_begins_where_it_is_told_to(made: Callable[..., Table]) -> None:
    t = made()
    t.sql("INSERT INTO t VALUES (1, 'x')")
    file, pos = t.sql("SHOW MASTER STATUS").split("\t")[:2]
    gtid = t.sql("SELECT @@gtid_binlog_pos").strip()
    time.sleep(2.1)
    millis = int(float(t.sql("SELECT UNIX_TIMESTAMP(NOW(6))")) * 1000)
    t.sql("INSERT INTO t VALUES (2, 'y'), (3, 'z')")
    two = [("+I", (2, "y")), ("+I", (3, "z"))]
    offset = "scan_startup_specific__offset_"
    for more, expected in [
        ({"scan_startup_mode": "earliest-offset"}, [("+I", (1, "x")), *two]),
        ({"scan_startup_mode": "specific-offset", f"{offset}file": file, f"{offset}pos": pos}, two),
        (
            {
                "scan_startup_mode": "specific-offset",
                f"{offset}file": file,
                f"{offset}pos": pos,
                f"{offset}skip__rows": "1",
            },
            two[1:],
        ),
        ({"scan_startup_mode": "specific-offset", f"{offset}gtid__set": gtid}, two),
        ({"scan_startup_mode": "timestamp", "scan_startup_timestamp__millis": str(millis - 500)}, two),
    ]:
        reader = t.reader(t.source(**more))
        many = len(expected)
        assert until(reader, lambda rows, many=many: len(rows) >= many) == expected, more  # type: ignore[misc]
        reader.close()
    latest = t.reader(t.source(scan_startup_mode="latest-offset"))
    polled(latest)
    t.sql("INSERT INTO t VALUES (4, '')")
    assert until(latest, bool) == [("+I", (4, ""))]


def test_a_snapshot_ends(made: Callable[..., Table]) -> None:
    t = made()
    t.sql("INSERT INTO t SELECT seq, 'x' FROM seq_1_to_300")
    source = t.source(scan_startup_mode="snapshot")
    assert source.bounded
    reader = t.reader(source)
    assert len(until(reader, lambda rows: len(rows) == 300)) == 300
    assert reader.poll(1) is None and reader.finished
    options = {**source.table.options, "connector": "mysql-cdc"}
    assert sorted(r[0] for r in relation(TableContext("t", AB, options, ("a",)))) == list(range(1, 301))


def test_several_tables_and_what_is_known_of_changes(mariadb: MariaDB) -> None:
    databases = sorted([mariadb.database(), mariadb.database()])
    for n, d in enumerate(databases):
        mariadb.sql(
            f"CREATE TABLE orders_{n} (b text, a int PRIMARY KEY, c int); INSERT INTO orders_{n} VALUES ('x', {n}, 1)",
            d,
        )
        mariadb.sql("CREATE TABLE other (a int); CREATE TABLE my_orders_7 (a int)", d)
    t = Table(mariadb, databases[0])
    metadata = {"database_name": STRING, "table_name": STRING, "op_ts": timestamp_ltz(3), "row_kind": STRING}
    source = t.source(**{"database__name": "|".join(databases), "table__name": "orders_[0-9]+"})
    reader = t.reader(source, None, metadata)
    found = until(reader, lambda rows: len(rows) == 2)
    assert [(r[0], r[2], r[3], r[4].timestamp(), r[5]) for _, r in found] == [
        (0, databases[0], "orders_0", 0, "+I"), (1, databases[1], "orders_1", 0, "+I"),
    ]  # fmt: skip
    mariadb.sql("INSERT INTO other VALUES (1); UPDATE orders_1 SET b = 'y'; CREATE TABLE orders_22 (a int, b text); INSERT INTO orders_22 VALUES (5, 'z')", databases[1])  # fmt: skip
    found = until(reader, lambda rows: len(rows) == 2)
    assert [(k, r[0], r[1], r[3], r[5]) for k, r in found] == [
        ("+U", 1, "y", "orders_1", "+U"),
        ("+I", 5, "z", "orders_22", "+I"),
    ]
    assert abs(found[0][1][4].timestamp() - time.time()) < 60
    appends = t.source(**{"database__name": databases[1], "table__name": "orders_1", "scan_read__changelog__as__append__only_enabled": "true"})  # fmt: skip
    assert appends.append_only
    reader = t.reader(appends, None, {"row_kind": STRING})
    until(reader, lambda rows: len(rows) == 1)
    mariadb.sql("UPDATE orders_1 SET b = 'z'; DELETE FROM orders_1", databases[1])
    assert until(reader, lambda rows: len(rows) == 3) == [
        ("", (1, "y", "-U")),
        ("", (1, "z", "+U")),
        ("", (1, "z", "-D")),
    ]
    t.close()


def test_a_table_may_get_other_columns(made: Callable[..., Table]) -> None:
    t = made()
    reader = t.reader(t.source())
    polled(reader)
    t.sql("INSERT INTO t VALUES (1, 'x'); ALTER TABLE t ADD c int FIRST, ADD d json; INSERT INTO t VALUES (7, 2, 'y', NULL); "
          "ALTER TABLE t MODIFY a bigint; INSERT INTO t VALUES (7, 3, 'z', NULL); ALTER TABLE t CHANGE c e varchar(9); UPDATE t SET e = 'new'")  # fmt: skip
    found = until(reader, lambda rows: len(rows) == 6)
    assert found == [
        ("+I", (1, "x")),
        ("+I", (2, "y")),
        ("+I", (3, "z")),
        ("+U", (1, "x")),
        ("+U", (2, "y")),
        ("+U", (3, "z")),
    ]
    t.sql("ALTER TABLE t MODIFY b blob; INSERT INTO t VALUES ('', 4, 'x', NULL)")
    with pytest.raises(RunError, match=r"column b \(blob\) is no STRING, in changes of"):
        until(reader, bool)
    other = t.reader(t.source(schema(("a", INT), ("e", STRING))))
    until(other, lambda rows: len(rows) == 4)
    assert "snapshot" not in polled(other)[1]  # it has ended, and its transaction, for which an ALTER waits
    t.sql("ALTER TABLE t DROP e; INSERT INTO t VALUES (5, 'x', NULL)")
    with pytest.raises(RunError, match="has no column 'e' any more: it was dropped, or has another name"):
        until(other, bool)


def test_what_is_logged_in_another_way_is_an_error(made: Callable[..., Table]) -> None:
    t = made()
    reader, other = t.reader(t.source()), made()
    polled(reader)
    t.sql(f"SET SESSION binlog_format = 'STATEMENT'; INSERT INTO {other.name} VALUES (1, 'x')")
    t.sql("INSERT INTO t VALUES (1, 'x')")
    assert until(reader, bool) == [("+I", (1, "x"))]
    t.sql("SET SESSION binlog_format = 'STATEMENT'; INSERT INTO t VALUES (2, 'x')")
    with pytest.raises(RunError, match="a statement that changes it is in the log, and not the rows: INSERT INTO"):
        until(reader, bool)
    reader = t.reader(t.source(scan_startup_mode="latest-offset"))
    polled(reader)
    t.sql("SET SESSION binlog_row_image = 'MINIMAL'; UPDATE t SET b = 'y' WHERE a = 1")
    with pytest.raises(RunError, match="binlog_row_image was not FULL"):
        until(reader, bool)


def test_a_table_that_is_given_another_name_or_robbed_of_a_partition(made: Callable[..., Table]) -> None:
    t = made(
        "a int PRIMARY KEY, b text) PARTITION BY RANGE (a) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20)"
    )
    reader, other = t.reader(t.source()), t.reader(t.source())
    polled(reader), polled(other)
    t.sql("INSERT INTO t VALUES (1, 'x'), (11, 'y')")
    t.sql("ALTER TABLE t TRUNCATE PARTITION p0")
    with pytest.raises(DataError, match=r"table t: \w+\.\w+ was robbed of a partition, which is no change of rows"):
        until(reader, lambda rows: len(rows) > 2)
    reader = t.reader(t.source(scan_startup_mode="latest-offset"))
    polled(reader)
    t.sql(f"ALTER TABLE t RENAME TO {t.name}_old")
    with pytest.raises(DataError, match=r"was renamed"):
        until(reader, bool)


def test_columns_that_cannot_be_read_are_passed_over(made: Callable[..., Table]) -> None:
    t = made("a int PRIMARY KEY, x text COMPRESSED, y varchar(2000) COMPRESSED, b text")
    reader = t.reader(t.source())
    polled(reader)
    t.sql("INSERT INTO t VALUES (1, repeat('x', 3000), repeat('y', 900), 'b'), (2, NULL, '', 'c')")
    assert until(reader, lambda rows: len(rows) == 2) == [("+I", (1, "b")), ("+I", (2, "c"))]


def test_a_type_that_is_not_known_is_an_error() -> None:
    body = bytes([1, 0, 0, 0, 0, 0, 1, 0, 1]) + b"d\0" + b"\1t\0" + bytes([1, 77, 0, 0]) + bytes([4, 2, 1]) + b"a"
    with pytest.raises(RunError, match=r"table t: d\.t has a column of a type that is not known, .*: number 77"):
        events.table_of(body, {}, "table t")


def test_ids_of_transactions_are_looked_at_before_they_are_sent(made: Callable[..., Table]) -> None:
    t = made()
    source = t.source(scan_startup_mode="specific-offset", scan_startup_specific__offset_gtid__set="0-1-1', @a = '")
    with pytest.raises(OptionError, match="is no set of mariadb's global transaction ids"):
        t.reader(source).poll(1)


def test_what_a_statement_says() -> None:
    for text, ends, tables in [
        ("BEGIN", False, []), ("COMMIT", True, []), ("SAVEPOINT `x`", False, []), ("ROLLBACK TO `x`", False, []), ("ROLLBACK", True, []),
        ("CREATE TABLE t (a int)", True, []), ("ALTER TABLE t ADD b int", True, []), ("truncate table `a``b`.t", True, [("truncated", "a`b", "t")]),
        ("TRUNCATE t", True, [("truncated", "d", "t")]), ("DROP TABLE IF EXISTS `t`,x.u /* generated by server */", True, [("dropped", "d", "t"), ("dropped", "x", "u")]),
        ("DROP TEMPORARY TABLE t", True, []), ("RENAME TABLE t TO u", True, [("renamed", "d", "t")]), ("XA END X'78',X'',1", False, []),
        ("ALTER TABLE t RENAME TO u", True, [("renamed", "d", "t")]), ("alter table x.`t` add a int, rename `u`", True, [("renamed", "x", "t")]),
        ("ALTER TABLE t RENAME COLUMN a TO b, RENAME INDEX i TO j", True, []), ("ALTER TABLE t COMMENT 'to RENAME t'", True, []),
        ("ALTER TABLE t DROP PARTITION p0", True, [("robbed of a partition", "d", "t")]), ("ALTER TABLE t ADD `rename ` int", True, []),
        ("ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u", True, [("given or robbed of a partition", "d", "t")]),
        ("DROP DATABASE IF EXISTS `shop`", True, [("dropped", "shop", "")]), ("CREATE OR REPLACE TABLE t (a int)", True, [("replaced", "d", "t")]),
    ]:  # fmt: skip
        statement = Statement("d", text)
        assert (statement.ends, statement.tables()) == (ends, tables), text
    said = Statement("d", "insert into `my t` select 1").tables()
    assert (events.STATEMENT, "d", "my t") in said


def test_sets_of_ids() -> None:
    maria = Gtids(MARIADB, "0-1-42, 10-3-7")
    maria.add("0-2-43")
    assert str(maria) == "0-2-43,10-3-7"
    a, b = "19d69c1e-ae97-4b8c-a1ef-9e12ba966457", "1c2aad49-ae92-409a-b4df-d05a03e4702e"
    mysql = Gtids(MYSQL, f"{a}:1-3,\n{b}:42")
    for gtid in (f"{a}:4", f"{b}:44"):
        mysql.add(gtid)
    assert str(mysql) == f"{a}:1-4,{b}:42:44"
    # COM_BINLOG_DUMP_GTID: how many servers; of each its id, how many intervals, and these, whose ends are behind them
    assert mysql.encoded() == struct.pack("<Q", 2) + bytes.fromhex(a.replace("-", "")) + struct.pack("<QQQ", 1, 1, 5) + bytes.fromhex(b.replace("-", "")) + struct.pack("<QQQQQ", 2, 42, 43, 44, 45)  # fmt: skip
    with pytest.raises(OptionError, match="is no set of mariadb's"):
        Gtids(MARIADB, "x")


def test_a_server_that_does_not_log_enough_is_told_so() -> None:
    wanted(MariaDB)
    with MariaDB() as server:  # its own: what is set is the whole server's
        t = Table(server, server.database())
        for name, value in (
            ("binlog_format", "MIXED"),
            ("binlog_row_image", "MINIMAL"),
            ("binlog_row_metadata", "NO_LOG"),
        ):
            before = t.sql(f"SELECT @@GLOBAL.{name}").strip()
            t.sql(f"SET GLOBAL {name} = '{value}'")
            with pytest.raises(OptionError, match=f"table t: the server has {name} = {value}") as e:
                t.source().splits()
            assert "SET GLOBAL" in str(e.value.hint)
            t.sql(f"SET GLOBAL {name} = '{before}'")
        assert t.source().splits() == [Split("0")]


def test_what_is_wrong_is_said(made: Callable[..., Table]) -> None:
    t = made("a int PRIMARY KEY, b text, u uuid")
    cases: list[tuple[Callable[[], MysqlCdcSource], type[SqlStreamError], str]] = [
        (lambda: t.source(password="wr0ng"), RunError, "Access denied"),
        (lambda: t.source(database__name="nope"), OptionError, "no table is called"),
        (lambda: t.source(schema(("a", INT), ("c", STRING))), OptionError, "has no column 'c'"),
        (lambda: t.source(schema(("a", INT), ("b", INT))), OptionError, r"column b \(text\) is no INT"),
        (
            lambda: t.source(schema(("a", INT), ("u", STRING))),
            OptionError,
            r"column u \(uuid\): such values are not read",
        ),
        (lambda: t.source(table__name="("), OptionError, "is no regular expression"),
        (lambda: t.source(server__id="9-3"), OptionError, "is no number and no range"),
        (lambda: t.source(debezium_snapshot_mode="never"), OptionError, "there is no Debezium here"),
        (
            lambda: t.source(scan_startup_mode="specific-offset"),
            OptionError,
            "needs 'scan.startup.specific-offset.file'",
        ),
        (lambda: t.source(scan_startup_mode="timestamp"), OptionError, "needs 'scan.startup.timestamp-millis'"),
        (
            lambda: t.source(scan_startup_specific__offset_pos="4"),
            OptionError,
            "is for 'scan.startup.mode' = 'specific-offset'",
        ),
        (lambda: t.source(jdbc_properties_useSLL="true"), OptionError, "parameter 'useSLL' means nothing"),
    ]
    for source, error, text in cases:
        with pytest.raises(error, match=text) as e:
            source().splits()
        assert "wr0ng" not in str(e.value)


def test_a_quiet_log_moves_on(made: Callable[..., Table]) -> None:
    t, other = made(), made()
    reader = t.reader(t.source(heartbeat_interval="1 ms"))
    first: Any = None
    while first is None or "snapshot" in first:
        first = polled(reader)[1] or first
    for n in range(3):
        other.sql(f"INSERT INTO t VALUES ({n}, 'x')")
    at, end = first, time.monotonic() + 20
    while at["pos"] == first["pos"] and at["file"] == first["file"] and time.monotonic() < end:
        found, position = polled(reader)
        assert found == []
        at = position or at
        time.sleep(0.01)
    assert at["pos"] > first["pos"] or at["file"] > first["file"]


def test_files_of_the_log_may_be_larger_than_32_bits_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions of events are the lower half of theirs. Where the server cannot be asked for a position, what was read already comes again,
    and is passed over."""
    gib = 1 << 30
    followed, begun = Followed("d", "t"), {"file": "b.1", "pos": 3 * gib, "server": "s", "gtid": "0-1-1"}

    def rotate(file: str, at: int, ends: int = 0) -> Event:
        return Event(0, events.ROTATE, 1, ends, struct.pack("<Q", at) + file.encode())

    def event(kind: int, ends: int, body: bytes = b"") -> Event:
        return Event(0, kind, 1, ends % 2**32, body)

    def transaction(n: int, ends: int) -> list[Event]:
        return [event(events.MARIADB_GTID, ends - 100, struct.pack("<QIB", n, 0, 0)), event(events.XID, ends, bytes(8))]

    def places(stream: Stream, *taken: Event) -> list[Any]:
        found: list[Any] = []
        monkeypatch.setattr(stream, "put", lambda part: found.append(part.ends))
        for e in taken:
            stream._take(e)
        return [{k: v for k, v in p.items() if k != "server"} for p in found]

    class Silent(Binlog):
        """Has nothing to say."""

        def __init__(self) -> None:
            self.where, self.kind, self.checksums = "t", MARIADB, False

        def packets(self) -> list[bytes]:
            time.sleep(0.001)
            return []

        def close(self) -> None:
            """There is no server."""

        hang_up = close

    def stream(place: dict[str, Any]) -> Stream:
        made = Stream(Silent(), place, followed, {}, 0, "s")
        made.close()
        return made

    log = [*transaction(2, 4 * gib - 50), *transaction(3, 4 * gib + 500), *transaction(4, 5 * gib), *transaction(5, 6 * gib), *transaction(6, 8 * gib - 1), *transaction(7, 9 * gib)]  # fmt: skip
    head = [rotate("b.1", 3 * gib), event(events.FORMAT, 256), event(163, 300)]
    tail = [rotate("b.2", 4, 9 * gib + 40), rotate("b.2", 4), event(events.FORMAT, 256), *transaction(8, 1000)]
    low = 4 * gib - 50
    told = [
        {"file": "b.1", "pos": low, "gtid": "0-1-2"},
        *({"file": "b.1", "pos": at, "low": low, "gtid": f"0-1-{n}"}
          for n, at in ((3, 4 * gib + 500), (4, 5 * gib), (5, 6 * gib), (6, 8 * gib - 1), (7, 9 * gib))),
        {"file": "b.2", "pos": 1000, "gtid": "0-1-8"},
    ]  # fmt: skip
    assert places(stream(begun), *head, *log, *tail) == told
    for n, place in enumerate(told):  # from each of these places on, exactly what is behind it comes
        asked = first_asked(place)
        assert asked < 2**32
        at, again = ([*log, *tail], told[n + 1 :]) if place["file"] == "b.1" else ([], [])
        behind = [rotate("b.1", asked), event(events.FORMAT, 256), event(163, 300)]
        behind += at[2 if asked == low else 0 :]
        assert places(stream({**place, "server": "s"}), *behind) == again
    # by ids alone it is not known how often positions have begun anew: they are told from the next file on
    by_ids = places(stream({"gtid": "0-1-3", "server": "s"}), rotate("b.1", 4), *log[4:], *tail)
    assert by_ids == [{"gtid": f"0-1-{n}"} for n in range(4, 8)] + told[-1:]


def test_the_page_shows_what_happens(mariadb: MariaDB) -> None:
    """docs/connectors/mysql-cdc.md: its query over its changes comes to its table."""
    page = (Path(__file__).parents[3] / "docs/connectors/mysql-cdc.md").read_text()
    (script,) = re.findall(r"^```sql\n(.*?)^```$", page, re.M | re.S)
    (changes,) = re.findall(r"^```\n(INSERT.*?)^```$", page, re.M | re.S)
    (shown,) = re.findall(r"^```\n(\+.*?)^```$", page, re.M | re.S)
    expected = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in shown.splitlines()[3:-1]]
    database = mariadb.database()
    first = ", ".join(re.findall(r"`(\(\d, .*?\))`", page))
    mariadb.sql("CREATE TABLE orders (id bigint PRIMARY KEY, customer text, amount decimal(10, 2))", database)
    mariadb.sql(f"INSERT INTO orders VALUES {first}", database)
    for found, there in (("localhost", "127.0.0.1"), ("3306", str(mariadb.port)), ("'ann'", "'root'"),
                         ("secret", mariadb.password), ("shop", database)):  # fmt: skip
        script = script.replace(found, there)
    state: dict[str, Row] = {}
    with closing_all(Session(options={"execution.runtime-mode": "streaming"}), script) as rows:
        for batch, kinds in rows:
            for n, row in enumerate(batch.to_pylist()):
                values = tuple(str(v) for v in row.values())
                if kinds is not None and kinds[n] == Kind.DELETE:
                    del state[values[0]]
                else:
                    state[values[0]] = values
            if len(state) == 2 and changes:  # once, however many batches come meanwhile
                mariadb.sql(changes, database)
                changes = ""
            if list(state.values()) == expected:
                break


@contextmanager
def closing_all(session: Session, script: str) -> Iterator[Iterator[Any]]:
    """The rows of a script's last statement, which is ended behind."""
    *_, last = session.execute(script)
    try:
        yield last.batches()
    finally:
        last.close()


def test_numbers_of_all_widths() -> None:
    for width in (1, 2, 3, 4, 8):
        t = {1: events.TINY, 2: events.SHORT, 3: events.INT24, 4: events.LONG, 8: events.LONGLONG}[width]
        values = [0, 1, -1, (1 << (8 * width - 1)) - 1, -(1 << (8 * width - 1))]
        column = BinlogColumn("n", t, width)
        made = Values(column, reading(db_column(column), parse_type("BIGINT"), "t"))
        data = np.frombuffer(b"".join(v.to_bytes(width, "little", signed=True) for v in values), np.uint8)
        found = made.of(data, np.arange(5) * width, np.full(5, width))
        assert found.to_pylist() == values and found.type == pa.int64()
