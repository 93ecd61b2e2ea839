"""Connector 'postgres-cdc' on a real PostgreSQL: what a table has and what becomes of it, each change once."""

from __future__ import annotations

import json
import random
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from connector_cases import schema
from harness.servers import PostgreSQL

from sqlstream.batches import OP, Kind
from sqlstream.connectors.postgres_cdc.connector import PostgresCdcConnector
from sqlstream.connectors.postgres_cdc.source import CdcSource
from sqlstream.contracts import ScanColumn, ScanRequest, Split, SplitReader, TableContext
from sqlstream.errors import CheckpointError, DataError, OptionError, RunError, SqlStreamError
from sqlstream.session import Session
from sqlstream.sql.types import parse_type
from sqlstream.types import BIGINT, BOOLEAN, INT, STRING, Schema

AB = schema(("a", INT), ("b", STRING))
Row = tuple[Any, ...]


class Table:
    """A table of a database, and readers of its changes, by a slot of its own."""

    def __init__(self, server: PostgreSQL, database: str, columns: str = "a int PRIMARY KEY, b text") -> None:
        self.server, self.database = server, database
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.psql(f"CREATE TABLE {self.name} ({columns})")
        self.readers: list[SplitReader] = []
        self.split: Split | None = None

    def psql(self, sql: str) -> str:
        return self.server.psql(sql.replace(" t ", f" {self.name} "), self.database)

    def source(self, columns: Schema = AB, key: tuple[str, ...] = ("a",), **options: str) -> CdcSource:
        given = {
            "hostname": "127.0.0.1", "port": str(self.server.port), "username": "postgres",
            "password": self.server.password, "database-name": self.database, "schema-name": "public",
            "table-name": self.name, "slot.name": self.name, "debezium.publication.name": self.name,
            **{k.replace("__", "-").replace("_", "."): v for k, v in options.items()},
        }  # fmt: skip
        source = PostgresCdcConnector().source(TableContext("t", columns, given, key))
        assert isinstance(source, CdcSource)
        return source

    def reader(self, source: CdcSource, position: Any = None) -> SplitReader:
        split = self.split = self.split or source.splits()[0]
        columns = tuple(ScanColumn((c.name,), c.type) for c in source.table.schema)
        made = source.reader(split, position, ScanRequest(columns), 0)
        self.readers.append(made)
        return made

    def close(self) -> None:
        for r in self.readers:
            r.close()
        self.split = None
        end = time.monotonic() + 20
        drop = f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{self.name}' AND NOT active"
        left = f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{self.name}'"
        while self.psql(left) != "0\n" and time.monotonic() < end:
            self.psql(drop)


@pytest.fixture(scope="module")
def database(postgresql: PostgreSQL) -> str:
    return postgresql.database()


@pytest.fixture
def made(postgresql: PostgreSQL, database: str, request: pytest.FixtureRequest) -> Callable[..., Table]:
    def make(*columns: str) -> Table:
        table = Table(postgresql, database, *columns)
        request.addfinalizer(table.close)
        return table

    return make


def polled(reader: SplitReader, most: int = 1000) -> tuple[list[tuple[str, Row]], Any]:
    """What came with one poll, with its kinds; and the position. None: nothing."""
    got = reader.poll(most)
    if got is None:
        return [], None
    kinds = {Kind.INSERT: "+I", Kind.UPDATE_BEFORE: "-U", Kind.UPDATE_AFTER: "+U", Kind.DELETE: "-D"}
    rows = [tuple(v for k, v in r.items() if k != OP) for r in got.batch.to_pylist()]
    return [(kinds[Kind(o)], r) for o, r in zip(got.batch.column(OP).to_pylist(), rows, strict=True)], got.position


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
    t.psql("INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, NULL)")
    reader = t.reader(t.source())
    assert until(reader, lambda rows: len(rows) == 3) == [("+I", (1, "one")), ("+I", (2, "two")), ("+I", (3, None))]
    t.psql(
        "UPDATE t SET b = 'zwei' WHERE a = 2; DELETE FROM t WHERE a = 1; UPDATE t SET a = 4 WHERE a = 3; INSERT INTO t VALUES (5, '')"
    )
    assert until(reader, lambda rows: len(rows) == 5) == [
        ("+U", (2, "zwei")), ("-D", (1, None)), ("-D", (3, None)), ("+U", (4, None)), ("+I", (5, "")),
    ]  # fmt: skip
    t.psql("TRUNCATE t ")
    with pytest.raises(DataError, match="table t: it was truncated"):
        until(reader, lambda rows: bool(rows))


def test_what_comes_before_the_slot_is_in_the_snapshot(made: Callable[..., Table]) -> None:
    """The split is made of an empty table; rows come before its reader begins."""
    t = made()
    source = t.source()
    reader = t.reader(source)
    t.psql("INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, 100) i")
    rows, position = polled(reader, 30)
    t.psql("INSERT INTO t SELECT i, 'y' FROM generate_series(101, 200) i")
    reader.close()  # in the middle of the snapshot
    again = t.reader(source, position)
    seen = {r[0] for _, r in rows}
    until(again, lambda found: seen | {r[0] for _, r in found} == set(range(1, 201)))


def test_without_a_key_rows_come_whole(made: Callable[..., Table]) -> None:
    t = made("a int, b text")
    with pytest.raises(OptionError, match="do not say which row they are of") as e:
        t.reader(t.source(key=())).poll(1)
    assert "REPLICA IDENTITY FULL" in str(e.value.hint)
    t.psql("ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 'x'), (1, 'x')")
    reader = t.reader(t.source(key=()))
    assert until(reader, lambda rows: len(rows) == 2) == 2 * [("+I", (1, "x"))]
    t.psql("UPDATE t SET b = 'y'; DELETE FROM t ")
    changed = [("-U", (1, "x")), ("+U", (1, "y"))] * 2
    assert until(reader, lambda rows: len(rows) == 6) == changed + 2 * [("-D", (1, "y"))]


TYPES = {
    "bool": ("boolean", "true"), "i2": ("smallint", "-7"), "i4": ("int", "7"), "i8": ("bigint", "9223372036854775807"),
    "f4": ("real", "0.1"), "f8": ("double precision", "'NaN'"), "n": ("numeric", "-12.345"), "n2": ("numeric(30,2)", "18446744073709551615"),
    "tx": ("text", "E'é\\n''\\t\\\\'"), "v": ("varchar(5)", "''"), "c": ("char(3)", "'x'"), "by": ("bytea", "'\\x00ff10'"),
    "d": ("date", "'0999-12-31'"), "tm": ("time", "'23:59:59.123456'"), "ts": ("timestamp", "'1969-12-31 23:59:59.999999'"),
    "tz": ("timestamptz", "'2026-06-01 12:00:00.5+02'"), "u": ("uuid", "'c0ffee00-0000-4000-8000-000000000000'"),
    "j": ("jsonb", "'{\"a\": [1]}'"), "ar": ("int[]", "'{1,NULL}'"), "iv": ("interval", "'1 day 02:00'"), "bs": ("boolean", "false"),
}  # fmt: skip
HERE = [
    "BOOLEAN", "SMALLINT", "INT", "BIGINT", "FLOAT", "STRING", "DECIMAL(10, 2)", "DECIMAL(38, 3)", "STRING", "STRING", "STRING",
    "BYTES", "DATE", "TIME", "TIMESTAMP(3)", "TIMESTAMP_LTZ(6)", "STRING", "STRING", "STRING", "STRING", "STRING",
]  # fmt: skip


def test_values_are_those_of_a_scan(made: Callable[..., Table]) -> None:
    """A row that was there and one that comes are the same."""
    t = made("id int PRIMARY KEY, " + ", ".join(f"{n} {there}" for n, (there, _) in TYPES.items()))
    columns = schema(("id", INT), *((n, parse_type(h)) for n, h in zip(TYPES, HERE, strict=True)))
    values = ", ".join(v for _, v in TYPES.values())
    t.psql(f"INSERT INTO t VALUES (1, {values})")
    t.psql("INSERT INTO t (id) VALUES (2)")
    reader = t.reader(t.source(columns, ("id",)))
    there = until(reader, lambda rows: len(rows) == 2)
    t.psql(f"INSERT INTO t VALUES (1, {values}) ON CONFLICT (id) DO UPDATE SET i2 = -7")
    t.psql("UPDATE t SET id = 2 WHERE id = 2")
    came = until(reader, lambda rows: len(rows) == 2)
    assert [r for _, r in came] == [r for _, r in there]
    assert there[1][1] == (2, *(None,) * len(TYPES))
    t.psql("INSERT INTO t (id, ts) VALUES (3, 'infinity')")
    with pytest.raises(DataError, match=r"column ts \(timestamp without time zone\) has"):
        until(reader, lambda rows: bool(rows))


def test_large_values_that_stay_are_not_sent(made: Callable[..., Table]) -> None:
    t = made("a int PRIMARY KEY, b text, c int")
    t.psql("ALTER TABLE t ALTER COLUMN b SET STORAGE EXTERNAL; INSERT INTO t VALUES (1, repeat('x', 100000), 1)")
    columns = schema(("a", INT), ("c", INT))
    reader = t.reader(t.source(columns))
    until(reader, lambda rows: len(rows) == 1)
    t.psql("UPDATE t SET c = 2")
    assert until(reader, lambda rows: len(rows) == 1) == [("+U", (1, 2))]
    reader.close()
    t.close()
    reader = t.reader(t.source())
    until(reader, lambda rows: len(rows) == 1)
    t.psql("UPDATE t SET c = 3")
    with pytest.raises(RunError, match="has left the large value of column b as it was") as e:
        until(reader, lambda rows: bool(rows))
    assert "REPLICA IDENTITY FULL" in str(e.value.hint)
    reader.close()
    t.close()
    t.psql("ALTER TABLE t REPLICA IDENTITY FULL")
    reader = t.reader(t.source())
    until(reader, lambda rows: len(rows) == 1)
    t.psql("UPDATE t SET c = 4; UPDATE t SET a = 2")
    assert until(reader, lambda rows: len(rows) == 3) == [
        ("+U", (1, "x" * 100000)), ("-D", (1, "x" * 100000)), ("+U", (2, "x" * 100000)),
    ]  # fmt: skip


@pytest.mark.parametrize("keyed", [True, False])
def test_no_gap_and_no_repeat(made: Callable[..., Table], keyed: bool) -> None:
    """Somebody writes all the time, in transactions of one and of many rows; readers die and go on from positions of theirs."""
    r = random.Random(3)
    t = made("a int PRIMARY KEY, b text" if keyed else "a int, b text")
    if not keyed:
        t.psql("ALTER TABLE t REPLICA IDENTITY FULL")
    t.psql("INSERT INTO t SELECT i, 'old' FROM generate_series(1, 3000) i")
    ended = threading.Event()

    def write() -> None:
        for n in range(25):
            first = r.randrange(3000)
            t.psql(
                f"BEGIN; UPDATE t SET b = 'u{n}' WHERE a BETWEEN {first} AND {first + r.choice((0, 300))}; "
                f"DELETE FROM t WHERE a = {r.randrange(3000)}; INSERT INTO t SELECT i, 'n{n}' FROM generate_series({10000 + n * 50}, {10049 + n * 50}) i; COMMIT"
            )
        t.psql("INSERT INTO t VALUES (-1, 'end')")
        ended.set()

    writer = threading.Thread(target=write)
    source = t.source(key=("a",) if keyed else ())
    reader = t.reader(source)
    rows, position = polled(reader, 700)
    writer.start()  # the slot is there, the rest of the snapshot is not read yet
    state: Counter[Row] = Counter(row for _, row in rows)
    by_key: dict[int, str] = {row[0]: row[1] for _, row in rows}
    lives, seen_end = 1, False
    while not seen_end:
        in_snapshot = position is None or "snapshot" in position
        if r.random() < 0.08 and (keyed or not in_snapshot):  # it dies, and goes on from a checkpoint
            reader.close()
            reader = t.reader(source, json.loads(json.dumps(position)))
            lives += 1
        found, at = polled(reader, r.choice((1, 50, 400)))
        position = at or position
        for kind, row in found:
            state[row] += 1 if kind in ("+I", "+U") else -1
            if kind == "-D":
                by_key.pop(row[0], None)
            elif kind != "-U":
                by_key[row[0]] = row[1]
            # in a snapshot that is gone on with it may stand before changes that are to come
            seen_end = seen_end or row[0] == -1 and "snapshot" not in at
        if at is None:
            time.sleep(0.005)
    writer.join()
    assert ended.is_set() and lives > 3
    lines = t.psql("SELECT a, b FROM t ").splitlines()
    there = [(int(a), b) for a, b in (line.split("|") for line in lines)]
    assert by_key == dict(there) if keyed else +state == Counter(there) and -state == Counter()


def confirmed(t: Table) -> str:
    return t.psql(f"SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{t.name}'").strip()


def test_a_place_is_confirmed_when_a_checkpoint_has_it(made: Callable[..., Table]) -> None:
    t = made()
    source = t.source()
    reader = t.reader(source)
    _, beginning = polled(reader)
    before = confirmed(t)
    t.psql("INSERT INTO t VALUES (1, 'x')")
    position = beginning
    while position["lsn"] == beginning["lsn"] or position["skip"]:  # the transaction is whole
        position = polled(reader)[1] or position
    time.sleep(0.3)
    assert confirmed(t) == before
    source.checkpointed({"0": position})
    reader.close()  # the last word that it says
    end = time.monotonic() + 10
    while confirmed(t) == before and time.monotonic() < end:
        time.sleep(0.02)
    assert confirmed(t) > before
    again = t.reader(source, position)
    t.psql("INSERT INTO t VALUES (2, 'y')")
    assert until(again, lambda rows: bool(rows)) == [("+I", (2, "y"))]
    again.close()
    with pytest.raises(CheckpointError, match="has gone on behind the checkpoint"):
        t.reader(source, beginning).poll(1)
    t.close()
    with pytest.raises(CheckpointError, match=f"replication slot '{t.name}' is gone"):
        t.reader(source, position).poll(1)


def test_a_quiet_stream_moves_on(made: Callable[..., Table]) -> None:
    """Others write, and the server is to let go of its log."""
    t, other = made(), made()
    source = t.source(heartbeat_interval_ms="1 ms")
    reader = t.reader(source)
    _, first = polled(reader)
    for n in range(3):
        other.psql(f"INSERT INTO t VALUES ({n}, 'x')")
    place = first["lsn"]
    end = time.monotonic() + 20
    while place == first["lsn"] and time.monotonic() < end:
        found, position = polled(reader)
        assert found == []
        place = position["lsn"] if position else place
        time.sleep(0.01)
    assert place > first["lsn"]


def test_only_changes_from_now_on(made: Callable[..., Table]) -> None:
    t = made()
    t.psql("INSERT INTO t VALUES (1, 'x')")
    reader = t.reader(t.source(scan_startup_mode="latest-offset"))
    polled(reader)
    t.psql("INSERT INTO t VALUES (2, 'y')")
    assert until(reader, lambda rows: bool(rows)) == [("+I", (2, "y"))]


def test_what_is_wrong_is_said(made: Callable[..., Table]) -> None:
    t = made("a int, b text")
    t.psql("INSERT INTO t VALUES (1, 'x')")
    cases: list[tuple[CdcSource, type[SqlStreamError], str]] = [
        (t.source(), OptionError, r"its PRIMARY KEY is \(a\), and changes of public\.\w+ say \(nothing\)"),
        (t.source(password="wr0ng"), RunError, "password authentication failed"),
        (t.source(schema__name="nope"), OptionError, "the database has no table"),
        (t.source(schema(("a", INT), ("c", STRING))), OptionError, "PRIMARY KEY"),
    ]
    for source, error, text in cases:
        with pytest.raises(error, match=text) as e:
            t.reader(source).poll(1)
        assert "wr0ng" not in str(e.value)
    t.psql("ALTER TABLE t ADD PRIMARY KEY (a)")
    with pytest.raises(OptionError, match="publication '.*' is not there"):
        t.reader(t.source(debezium_publication_autocreate_mode="disabled")).poll(1)
    with pytest.raises(OptionError, match="arrays are not read from a stream"):
        t.psql("ALTER TABLE t ADD c int[]")
        t.reader(t.source(schema(("a", INT), ("c", parse_type("ARRAY<INT>"))))).poll(1)
    t.psql(f"SELECT pg_create_logical_replication_slot('{t.name}', 'test_decoding')")
    with pytest.raises(OptionError, match="is of plugin test_decoding"):
        t.reader(t.source()).poll(1)


def test_changes_of_another_type_than_the_catalogs(made: Callable[..., Table]) -> None:
    """What was logged before an ALTER TABLE, or behind it, is read as it was written, or is an error."""
    t = made("a int PRIMARY KEY, b boolean, c int")
    columns = schema(("a", INT), ("b", BOOLEAN), ("c", BIGINT))
    reader = t.reader(t.source(columns))
    polled(reader)
    t.psql("INSERT INTO t VALUES (1, true, 7)")
    t.psql("ALTER TABLE t ALTER c TYPE bigint")
    t.psql(f"INSERT INTO t VALUES (2, false, {2**40})")
    assert until(reader, lambda rows: len(rows) == 2) == [("+I", (1, True, 7)), ("+I", (2, False, 2**40))]
    t.psql("ALTER TABLE t ALTER b TYPE text USING b::text; INSERT INTO t VALUES (3, 'true', 1)")
    with pytest.raises(RunError, match=r"column b \(text\) is no BOOLEAN, which changes of the table have"):
        until(reader, bool)
    t.psql("ALTER TABLE t DROP b; INSERT INTO t VALUES (4, 1)")
    other = t.reader(t.source(schema(("a", INT), ("b", BOOLEAN))))
    with pytest.raises(SqlStreamError, match="has no column 'b'"):
        polled(other)


def test_columns_that_are_computed_are_not_sent(made: Callable[..., Table]) -> None:
    t = made("a int PRIMARY KEY, b text, c int GENERATED ALWAYS AS (a * 2) STORED")
    with pytest.raises(OptionError, match="table t: column c is computed by the server") as e:
        t.reader(t.source(schema(("a", INT), ("c", INT)))).poll(1)
    assert "compute it here" in str(e.value.hint)
    reader = t.reader(t.source())
    polled(reader)
    t.psql("INSERT INTO t VALUES (1, 'x')")
    assert until(reader, bool) == [("+I", (1, "x"))]


def test_a_publication_that_leaves_something_out_is_told(made: Callable[..., Table]) -> None:
    t = made()
    t.psql(f"CREATE PUBLICATION {t.name} FOR TABLE {t.name} WITH (publish = 'insert, delete')")
    with pytest.raises(OptionError, match="leaves out what is done by update") as e:
        t.reader(t.source()).poll(1)
    assert "SET (publish = " in str(e.value.hint)
    parts = made("a int PRIMARY KEY, b text) PARTITION BY RANGE (a")
    parts.psql(f"CREATE TABLE {parts.name}_1 PARTITION OF {parts.name} FOR VALUES FROM (0) TO (10)")
    parts.psql(f"CREATE PUBLICATION {parts.name} FOR TABLE {parts.name}")
    with pytest.raises(OptionError, match="to be its partitions'") as e:
        parts.reader(parts.source()).poll(1)
    parts.psql(f"ALTER PUBLICATION {parts.name} SET (publish_via_partition_root = true)")
    reader = parts.reader(parts.source())
    polled(reader)
    parts.psql("INSERT INTO t VALUES (1, 'x')")
    assert until(reader, bool) == [("+I", (1, "x"))]


def test_who_may_make_no_publication_is_told_what_is_missing(made: Callable[..., Table]) -> None:
    """PostgreSQL's documentation of CREATE PUBLICATION: the CREATE privilege on the database, and the table's owner."""
    table = made()
    who = f"u{table.name}"
    table.psql(f"CREATE ROLE {who} LOGIN REPLICATION PASSWORD 'rights-of-{who}'")
    try:
        table.psql(f"GRANT SELECT ON {table.name} TO {who}")
        source = table.source(username=who, password=f"rights-of-{who}")
        with pytest.raises(
            RunError, match=f"publication '{table.name}' is not there, and the user may not make it"
        ) as e:
            table.reader(source).poll(1)
        assert "permission denied for database" in e.value.message
        assert f'GRANT CREATE ON DATABASE "{table.database}" TO "{who}"' in (e.value.hint or "")
        table.psql(f"CREATE PUBLICATION {table.name}")
        with pytest.raises(
            RunError, match=f"publication '{table.name}' has not the table, and the user may not add it"
        ):
            table.reader(source).poll(1)
        table.psql(f"ALTER PUBLICATION {table.name} ADD TABLE {table.name}")
        table.psql("INSERT INTO t VALUES (1, 'x')")
        assert until(table.reader(source), bool) == [("+I", (1, "x"))]
    finally:
        table.close()
        table.psql(f"DROP OWNED BY {who}; DROP ROLE {who}")


def test_names_of_slots(made: Callable[..., Table]) -> None:
    for name in ("a-b", 'x"y', "A", "x" * 64):
        with pytest.raises(OptionError, match="PostgreSQL's slots have names of small letters, digits and _"):
            made().source(slot_name=name)


def test_the_page_shows_what_happens(postgresql: PostgreSQL) -> None:
    """docs/connectors/postgres-cdc.md: its query over its changes comes to its table."""
    page = (Path(__file__).parents[3] / "docs/connectors/postgres-cdc.md").read_text()
    (script,) = re.findall(r"^```sql\n(.*?)^```$", page, re.M | re.S)
    (changes,) = re.findall(r"^```\n(INSERT.*?)^```$", page, re.M | re.S)
    (shown,) = re.findall(r"^```\n(\+.*?)^```$", page, re.M | re.S)
    wanted = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in shown.splitlines()[3:-1]]
    database = postgresql.database()
    first = ", ".join(re.findall(r"`(\(\d, .*?\))`", page))
    postgresql.psql("CREATE TABLE orders (id bigint PRIMARY KEY, customer text, amount numeric(10, 2))", database)
    postgresql.psql(f"INSERT INTO orders VALUES {first}", database)
    for found, there in (("localhost", "127.0.0.1"), ("5432", str(postgresql.port)), ("'ann'", "'postgres'"),
                         ("secret", postgresql.password), ("shop", database)):  # fmt: skip
        script = script.replace(found, there)
    slot = f"{database}_page"
    state: dict[str, Row] = {}
    with closing_all(
        Session(options={"execution.runtime-mode": "streaming"}), script.replace("totals_of_orders", slot)
    ) as rows:
        for batch, kinds in rows:
            for n, row in enumerate(batch.to_pylist()):
                values = tuple(str(v) for v in row.values())
                if kinds is not None and kinds[n] == Kind.DELETE:
                    del state[values[0]]
                else:
                    state[values[0]] = values
            if len(state) == 2 and changes:  # once, however many batches come meanwhile
                postgresql.psql(changes, database)
                changes = ""
            if list(state.values()) == wanted:
                break
    end = time.monotonic() + 20
    drop = (
        f"SELECT pg_drop_replication_slot('{slot}') FROM pg_replication_slots WHERE slot_name = '{slot}' AND NOT active"
    )
    while not postgresql.psql(drop, database) and time.monotonic() < end:
        time.sleep(0.05)


@contextmanager
def closing_all(session: Session, script: str) -> Iterator[Iterator[Any]]:
    """The rows of a script's last statement, which is ended behind."""
    *_, last = session.execute(script)
    try:
        yield last.batches()
    finally:
        last.close()
