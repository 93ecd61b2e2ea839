"""Connector 'clickhouse': what it says, to a server that knows these statements, and (-m slow) to ClickHouse itself, which chdb has in it."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from harness.clickhouse import ClickHouse, Table
from harness.queues import ROOT, declared, error_of
from harness.web import Answer, Asked, Web

import sqlstream
from sqlstream.batches import Kind
from sqlstream.connectors.clickhouse.connector import ClickHouseConnector
from sqlstream.connectors.messages.clients import Unreachable
from sqlstream.contracts import Committable, SinkTask
from sqlstream.errors import DataError, RunError
from sqlstream.testing.connectors import table

WINDOW = "MergeTree ORDER BY tuple() SETTINGS non_replicated_deduplication_window = 100"
KN = {"k": "String", "n": "Int64"}
TASK = SinkTask("job", "run", 0)
KEYED = "k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED"


@pytest.fixture
def server() -> Iterator[ClickHouse]:
    made = ClickHouse(
        {
            "t": Table(dict(KN)),
            "known": Table(dict(KN), full=WINDOW),
            "replacing": Table(dict(KN), "ReplacingMergeTree", "ReplacingMergeTree ORDER BY k", "k"),
            "versions": Table(
                {**KN, "v": "UInt64", "gone": "UInt8"}, "ReplacingMergeTree", "ReplacingMergeTree(v, gone) ORDER BY k SETTINGS index_granularity = 8192", "k",
            ),
        }
    )  # fmt: skip
    yield made
    made.close()


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        c.execute("SET 'execution.runtime-mode' = 'streaming'")
        yield c


def sink(server: ClickHouse, name: str, columns: str = "k STRING, n BIGINT", **more: str) -> Any:
    given = {
        "url": server.url,
        "table-name": name,
        **{k.replace("__", "-").replace("_", "."): v for k, v in more.items()},
    }
    return ClickHouseConnector().sink(table(ClickHouseConnector(), columns, given))


def rows(*values: tuple[str, int]) -> pa.RecordBatch:
    return pa.record_batch({"k": [v[0] for v in values], "n": pa.array([v[1] for v in values], pa.int64())})


def as_rows(*values: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"k": k, "n": n} for k, n in values]


def test_rows_are_added_as_epochs_end(connection: Any, server: ClickHouse) -> None:
    connection.execute(declared("t", "k STRING, n BIGINT", "clickhouse", {"url": server.url, "sink.batch-size": "2"}))
    connection.execute("""INSERT INTO t VALUES ('a', 1), ('b''"', 2), ('c', 3)""")
    assert server.tables["t"].rows == as_rows(("a", 1), ("b'\"", 2), ("c", 3))
    assert len([s for s in server.said if s.startswith("INSERT")]) == 2


def test_an_insert_whose_answer_was_lost_is_taken_once(server: ClickHouse) -> None:
    """It is sent again with its token. Where the engine knows none, as every insert, it may come twice."""
    for name, times in (("known", 1), ("t", 2)):
        w = sink(server, name).writer(TASK)
        server.broken = ["INSERT"]
        w.write(rows(("a", 1)), None)
        w.flush()
        w.close()
        assert server.tables[name].rows == as_rows(("a", 1)) * times


def staged(server: ClickHouse, s: Any, *values: tuple[str, int]) -> list[Committable]:
    w = s.writer(TASK)
    w.write(rows(*values), None)
    w.flush()
    out: list[Committable] = w.prepare(1)
    w.close()
    return out


def test_exactly_once_rows_wait_for_their_checkpoint(server: ClickHouse) -> None:
    s = sink(server, "known", sink_delivery__guarantee="exactly-once")
    first = staged(server, s, ("a", 1), ("b", 2))
    assert server.tables["known"].rows == [] and len(first) == 1
    committer = s.committer(TASK)
    server.broken = ["DROP"]  # its answer is lost: it is said again, of a table that is gone
    committer.commit(first)
    committer.commit(first)
    assert server.tables["known"].rows == as_rows(("a", 1), ("b", 2))
    second = staged(server, s, ("c", 3))
    server.failures = [("DROP", Answer(403, b"Code: 497. DB::Exception: Not enough privileges"))]
    with pytest.raises(RunError, match="Not enough privileges"):
        committer.commit(second)  # the rows are there, and what was staged, too: as if the process had died between
    s.committer(TASK).commit(second)
    assert server.tables["known"].rows == as_rows(("a", 1), ("b", 2), ("c", 3))
    staged(server, s, ("never", 0))
    assert any(t.startswith("sqlstream_staged_") for t in server.tables)
    s.committer(TASK).abort()
    assert not any(t.startswith("sqlstream_staged_") for t in server.tables)
    assert len(server.tables["known"].rows) == 3
    w = s.writer(TASK)
    assert w.prepare(2) == []
    w.close()
    with pytest.raises(DataError, match="names 'other', which this run has not staged"):
        committer.commit([{"staged": "other"}])


def test_a_staged_table_that_is_gone_is_no_other_whose_name_begins_so(server: ClickHouse) -> None:
    s = sink(server, "known", sink_delivery__guarantee="exactly-once")
    w = s.writer(TASK)
    made: list[Committable] = []
    for n in range(10):
        w.write(rows(("a", n)), None)
        made += w.prepare(n + 1)
    w.close()
    assert made[9]["staged"] == made[0]["staged"] + "0"  # …_1 and …_10
    s.committer(TASK).commit(made[:1])
    s.committer(TASK).commit(made[:1])  # as after a failure: it is gone, and the tenth is there
    s.committer(TASK).commit(made[1:])
    assert server.tables["known"].rows == as_rows(*(("a", n) for n in range(10)))


def test_rows_of_a_key(server: ClickHouse) -> None:
    """A ReplacingMergeTree keeps the last; with a version that grows, and with a column that says that a row is gone."""
    kinds = np.array([Kind.INSERT, Kind.UPDATE_AFTER, Kind.DELETE, Kind.DELETE], np.int8)
    w = sink(server, "versions", KEYED).writer(TASK)
    w.write(rows(("a", 1), ("b", 1), ("c", 1), ("d", 1)), None)
    w.flush()
    w.write(rows(("a", 2), ("b", 2), ("c", 1), ("a", 2)), kinds)
    w.flush()
    w.close()
    versions = server.tables["versions"]
    assert versions.final() == as_rows(("b", 2), ("d", 1))
    first, then = {r["v"] for r in versions.rows[:4]}, {r["v"] for r in versions.rows[4:]}
    assert max(first) < min(then) and [r["gone"] for r in versions.rows] == [0, 0, 0, 0, 0, 1, 1]
    w = sink(server, "replacing", KEYED).writer(TASK)
    w.write(rows(("a", 1), ("b", 1)), None)
    w.flush()
    w.write(rows(("a", 2)), np.array([Kind.UPDATE_AFTER], np.int8))
    w.flush()
    assert server.tables["replacing"].final() == as_rows(("a", 2), ("b", 1))
    w.write(rows(("a", 2)), np.array([Kind.DELETE], np.int8))
    with pytest.raises(DataError, match=r"rows go, and `default`.`replacing` has no column that says so") as e:
        w.flush()
    assert "ReplacingMergeTree(version, is_deleted)" in str(e.value.hint)
    w.close()
    w = sink(server, "replacing", KEYED, sink_ignore__delete="true").writer(TASK)
    w.write(rows(("a", 2)), np.array([Kind.DELETE], np.int8))
    w.flush()
    w.close()
    assert server.tables["replacing"].final() == as_rows(("a", 2), ("b", 1))


def test_what_may_pass_is_tried_again_and_the_rest_is_told(server: ClickHouse) -> None:
    w = sink(server, "t").writer(TASK)
    server.failures = [("INSERT", Answer(500, b"Code: 252. DB::Exception: Too many parts")), ("INSERT", Answer(503))]
    w.write(rows(("a", 1)), None)
    w.flush()
    assert w.bytes_sent == len(b'{"k":"a","n":1}\n')
    assert server.tables["t"].rows == as_rows(("a", 1))
    server.failures = [
        ("INSERT", Answer(500, b"Code: 53. DB::Exception: Type mismatch"))
    ]  # older servers answer all with 500
    w.write(rows(("a", 1)), None)
    with pytest.raises(DataError, match="Type mismatch"):
        w.flush()
    w.write(pa.record_batch({"k": pa.nulls(1, pa.string()), "n": pa.array([1], pa.int64())}), None)
    with pytest.raises(DataError, match="Cannot insert NULL value"):
        w.flush()
    w.close()
    w = sink(server, "t", sink_max__retries="0").writer(TASK)
    server.failures = [("INSERT", Answer(500, b"Code: 202. DB::Exception: Too many simultaneous queries"))]
    w.write(rows(("a", 1)), None)
    with pytest.raises(Unreachable):
        w.flush()
    w.close()


def test_what_is_wrong_is_told(connection: Any, server: ClickHouse) -> None:
    for columns, wrong, message in (
        ("k STRING, n BIGINT", {"table-name": "tt"}, "there is no table default.tt"),
        ("k STRING, m BIGINT", {"table-name": "t"}, "`default`.`t` has no column 'm'"),
        (KEYED, {"table-name": "t"}, "is a MergeTree, which knows no keys"),
        (
            "k STRING, n BIGINT, PRIMARY KEY (k, n) NOT ENFORCED",
            {"table-name": "replacing"},
            "keeps one row of each (k)",
        ),
        (
            "k STRING, n BIGINT",
            {"table-name": "t", "sink.delivery-guarantee": "exactly-once"},
            "does not know an insert that it has seen",
        ),
        (
            KEYED,
            {"table-name": "replacing", "sink.delivery-guarantee": "exactly-once"},
            "is for a table without PRIMARY KEY",
        ),
        (
            "k STRING, n BIGINT, gone INT, PRIMARY KEY (k) NOT ENFORCED",
            {"table-name": "versions"},
            "whether a row is gone, which is known here",
        ),
        (
            "k STRING, n BIGINT, v BIGINT, PRIMARY KEY (k) NOT ENFORCED",
            {"table-name": "versions"},
            "column 'v' is the version",
        ),
        ("k BYTES", {"table-name": "t"}, "rows go as JSON, which has no BYTES"),
        ("k STRING, n BIGINT", {"url": "localhost:8123"}, "it is not of the form http://host/path"),
        ("k STRING, n BIGINT", {"url": "http://127.0.0.1:9", "sink.max-retries": "0"}, "does not answer"),
        ("k STRING, n BIGINT", {"table-name": "t", "sink.ignore-delete": "true"}, "is for a table with PRIMARY KEY"),
    ):
        connection.execute("DROP TEMPORARY TABLE IF EXISTS w")
        connection.execute(declared("w", columns, "clickhouse", {"url": server.url, **wrong}))
        names = [c.split() for c in columns.split(", ") if not c.startswith(("PRIMARY", "n) NOT"))]
        query = ", ".join(f"CAST({'1' if t in ('BIGINT', 'INT') else repr('a')} AS {t})" for _, t in names)
        said = error_of(connection, f"INSERT INTO w SELECT {query}")
        assert message in said, said
    server.failures = [("SELECT engine", Answer(403, b"Code: 516. DB::Exception: default: Authentication failed"))]
    connection.execute(
        declared(
            "u", "k STRING, n BIGINT", "clickhouse", {"url": server.url, "username": "ann", "password": "very hidden"}
        )
    )
    said = error_of(connection, "INSERT INTO u VALUES ('a', 1)")
    assert "Authentication failed" in said and "very hidden" not in said
    assert server.web.asked[-1].headers["X-ClickHouse-Key"] == "very hidden"
    assert "cannot be read from" in error_of(connection, "SELECT * FROM u")


def test_the_page_is_as_shown(tmp_path: Path) -> None:
    server = ClickHouse(
        {
            "totals": Table({"customer": "String", "amount": "Decimal(10, 2)", "v": "UInt64", "gone": "UInt8"}, "ReplacingMergeTree",
                            "ReplacingMergeTree(v, gone) ORDER BY customer", "customer"),
            "payments": Table({"id": "Int64", "at": "DateTime64(3)", "amount": "Decimal(10, 2)"}, full=WINDOW),
        }
    )  # fmt: skip
    try:
        page = (ROOT / "docs/connectors/clickhouse.md").read_text()
        script = "\n".join(re.findall(r"```sql\n(CREATE TABLE totals .*?|INSERT .*?)```", page, re.S)).replace(
            "http://localhost:8123", server.url
        )
        (tmp_path / "page.sql").write_text(script)
        done = subprocess.run(
            [sys.executable, "-m", "sqlstream", "run", "page.sql"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert sorted(server.tables["totals"].final(), key=str) == [
            {"customer": "ann", "amount": 7.25},
            {"customer": "bob", "amount": 7.5},
        ]
        assert server.tables["payments"].rows == [{"id": 1, "at": "2026-01-02 03:04:05", "amount": 5.0}]
    finally:
        server.close()


# ---- ClickHouse itself


class Embedded:
    """ClickHouse's own engine behind its HTTP interface, as far as that is asked here."""

    def __init__(self, directory: Path) -> None:
        self.session = pytest.importorskip("chdb.session").Session(str(directory))
        self.session.query("CREATE DATABASE IF NOT EXISTS default ENGINE = Atomic")
        self.web = Web(self._answer)
        self.url = self.web.url

    def run(self, sql: str) -> str:
        return str(self.session.query(sql, "TabSeparated"))

    def _answer(self, asked: Asked) -> Answer:
        from urllib.parse import parse_qs, urlsplit

        given = {k: v[0] for k, v in parse_qs(urlsplit(asked.path).query).items()}
        sql = given.pop("query", None)
        data = asked.body.decode() if sql is not None else ""
        sql = sql if sql is not None else asked.body.decode()
        settings = ", ".join(f"{k} = '{v}'" for k, v in given.items())
        if settings and sql.startswith("INSERT") and " FORMAT " in sql:
            sql = sql.replace(" FORMAT JSONEachRow", f" SETTINGS {settings} FORMAT JSONEachRow\n{data}")
        elif settings:
            sql = f"{sql} SETTINGS {settings}"
        try:
            return Answer(body=str(self.session.query(sql, "TabSeparated")).encode())
        except Exception as e:
            return Answer(400, str(e).encode())

    def close(self) -> None:
        self.web.close()
        self.session.close()


@pytest.mark.slow
def test_clickhouse_itself_takes_what_is_said(tmp_path: Path, connection: Any) -> None:
    server: Any = Embedded(tmp_path / "data")
    try:
        name = f"t{uuid.uuid4().hex[:8]}"
        server.run(
            f"CREATE TABLE {name} (k String, n Int64, d Decimal(10, 2), at DateTime64(3), z DateTime64(3, 'UTC'), x Nullable(Float64), l Array(Int32)) "
            "ENGINE = MergeTree ORDER BY tuple() SETTINGS non_replicated_deduplication_window = 100"
        )
        columns = "k STRING, n BIGINT, d DECIMAL(10, 2), `at` TIMESTAMP(3), z TIMESTAMP_LTZ(3), x DOUBLE, l ARRAY<INT>"
        connection.execute(
            declared(
                "t",
                columns,
                "clickhouse",
                {"url": server.url, "table-name": name, "sink.delivery-guarantee": "exactly-once"},
            )
        )
        connection.execute(
            "INSERT INTO t VALUES ('a\"', 1, 12.50, TIMESTAMP '2026-01-02 03:04:05.678', TO_TIMESTAMP_LTZ(1767323045678, 3), CAST(NULL AS DOUBLE), ARRAY[1, 2])"
        )
        assert (
            server.run(f"SELECT k, n, d, z, x, l FROM {name}") == 'a"\t1\t12.5\t2026-01-02 03:04:05.678\t\\N\t[1,2]\n'
        )
        server.run(f"CREATE TABLE u{name} (k String, n Int64) {WINDOW.replace('MergeTree', 'ENGINE = MergeTree', 1)}")
        s = sink(server, f"u{name}", sink_delivery__guarantee="exactly-once")
        first = staged(server, s, ("a", 1), ("b", 2))
        (kept,) = (c["staged"] for c in first)
        server.run(f"CREATE TABLE copy{name} AS {kept}")
        server.run(f"INSERT INTO copy{name} SELECT * FROM {kept}")
        s.committer(TASK).commit(first)
        server.run(f"RENAME TABLE copy{name} TO {kept}")  # as if the process had died before it dropped it
        s.committer(TASK).commit(first)
        assert server.run(f"SELECT k, n FROM u{name} ORDER BY k") == "a\t1\nb\t2\n"
        server.run(
            f"CREATE TABLE r{name} (k String, n Int64, v UInt64, gone UInt8) ENGINE = ReplacingMergeTree(v, gone) ORDER BY k"
        )
        w = sink(server, f"r{name}", KEYED).writer(TASK)
        w.write(rows(("a", 1), ("b", 1), ("c", 1)), None)
        w.flush()
        w.write(rows(("a", 2), ("b", 1)), np.array([Kind.UPDATE_AFTER, Kind.DELETE], np.int8))
        w.flush()
        w.close()
        assert server.run(f"SELECT k, n FROM r{name} FINAL ORDER BY k") == "a\t2\nc\t1\n"
        with pytest.raises(DataError, match="Code: "):
            w = sink(server, name, "k STRING, n BIGINT").writer(TASK)
            w.write(pa.record_batch({"k": pa.nulls(1, pa.string()), "n": pa.array([1], pa.int64())}), None)
            w.flush()
    finally:
        server.close()
