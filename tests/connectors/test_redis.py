"""Connector 'redis' against a real server. What must come is reasoned from what Redis documents."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from harness.queues import Job, both_ways, declared, error_of, fetching, page_of, until
from harness.servers import Redis

import sqlstream
from sqlstream.connectors.redis.connector import RedisConnector
from sqlstream.contracts import SinkTask
from sqlstream.testing.connectors import stage, table

redis_library = pytest.importorskip("redis")


class Keys:
    """What tests do with a server, by redis-py itself. `prefix`: of their own keys."""

    def __init__(self, server: Redis) -> None:
        self.options = {"url": f"redis://{server.address}"}
        self.prefix = f"t{uuid.uuid4().hex[:8]}"
        self.server = redis_library.Redis(port=server.port, password=server.password or None, decode_responses=True)

    def add(self, rows: list[dict[str, Any]], key: str = "s") -> None:
        for row in rows:
            self.server.xadd(f"{self.prefix}:{key}", row)

    def entries(self, key: str = "o") -> list[dict[str, str]]:
        return [e[1] for e in self.server.xrange(f"{self.prefix}:{key}")]


@pytest.fixture
def keys(redis: Redis) -> Iterator[Keys]:
    made = Keys(redis)
    yield made
    made.server.close()


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        c.execute("SET 'execution.runtime-mode' = 'streaming'")
        yield c


ORDERS = "CREATE VIEW o AS SELECT id, k, PROCTIME() AS now FROM (VALUES (1, 'a'), (2, 'b'), (3, 'none'), (4, 'a')) AS v (id, k)"


def looked_up(connection: Any, columns: str, **more: Any) -> list[Any]:
    options = {k: v for k, v in more.items() if k != "options"}
    connection.execute(
        declared("d", f"k STRING, {columns}, PRIMARY KEY (k) NOT ENFORCED", "redis", more["options"], **options)
    )
    connection.execute(
        "CREATE TEMPORARY TABLE src (id BIGINT, k STRING, now AS PROCTIME()) WITH ('connector' = 'filesystem', 'format' = 'csv', 'path' = 'src.csv')"
    )
    Path("src.csv").write_text("1,a\n2,b\n3,none\n4,a\n")
    rows = connection.execute(
        "SELECT src.id, d.* FROM src LEFT JOIN d FOR SYSTEM_TIME AS OF src.now ON src.k = d.k"
    ).fetchall()
    return sorted(r[1:] if r[0] == "+I" else r for r in rows)


def test_hashes_are_looked_up(connection: Any, keys: Keys) -> None:
    p = keys.prefix
    keys.server.hset(
        f"{p}:a", mapping={"n": "5", "price": "12.50", "at": "2026-01-02 03:04:05", "tags": '["x","y"]', "other": "1"}
    )
    keys.server.hset(f"{p}:b", mapping={"price": "1"})
    found = looked_up(
        connection,
        "n INT, price DECIMAL(10, 2), `at` TIMESTAMP(3), tags ARRAY<STRING>",
        options=keys.options,
        key=f"{p}:{{k}}",
    )
    from datetime import datetime
    from decimal import Decimal

    a = ("a", 5, Decimal("12.50"), datetime(2026, 1, 2, 3, 4, 5), ["x", "y"])
    assert found == [
        (1, *a), (2, "b", None, Decimal("1.00"), None, None), (3, None, None, None, None, None), (4, *a),
    ]  # fmt: skip


def test_strings_are_looked_up(connection: Any, keys: Keys) -> None:
    p = keys.prefix
    keys.server.set(f"{p}:a", '{"n": 5}')
    keys.server.set(f"{p}:b", '{"n": "x"}')
    options = {**keys.options, "data-type": "string", "format": "json"}
    with pytest.raises(Exception, match=f"key {p}:b: malformed value"):
        looked_up(connection, "n INT", options=options, key=f"{p}:{{k}}")
    keys.server.set(f"{p}:b", "{}")
    connection.execute("DROP TEMPORARY TABLE d")
    connection.execute("DROP TEMPORARY TABLE src")
    assert looked_up(connection, "n INT", options=options, key=f"{p}:{{k}}") == [
        (1, "a", 5), (2, "b", None), (3, None, None), (4, "a", 5),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["hash", "string"])
def test_rows_are_written_by_their_key(connection: Any, keys: Keys, kind: str) -> None:
    options = {**keys.options, "data-type": kind, **({"format": "json"} if kind == "string" else {})}
    columns = "k STRING, n BIGINT, price DECIMAL(10, 2), PRIMARY KEY (k) NOT ENFORCED"
    connection.execute(declared("o", columns, "redis", options, key=f"{keys.prefix}:{{k}}", sink_ttl="1 h"))
    changes = [("a", 1), ("b", 1), ("a", 2), ("c", 1), ("c", -1)]
    Path("in.json").write_text("".join(
        json.dumps({"op": "d" if n < 0 else "c", "before": {"k": k, "n": 1} if n < 0 else None, "after": None if n < 0 else {"k": k, "n": n}}) + "\n"
        for k, n in changes
    ))  # fmt: skip
    connection.execute(
        "CREATE TABLE i (k STRING, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'debezium-json')"
    )
    connection.execute("INSERT INTO o SELECT k, SUM(n), CASE WHEN k = 'a' THEN 2.5 END FROM i GROUP BY k")
    p = keys.prefix
    if kind == "hash":
        assert keys.server.hgetall(f"{p}:a") == {"n": "3", "price": "2.50"}
        assert keys.server.hgetall(f"{p}:b") == {"n": "1"}
    else:
        assert json.loads(keys.server.get(f"{p}:a")) == {"n": 3, "price": 2.5}
    assert sorted(keys.server.keys(f"{p}:*")) == [f"{p}:a", f"{p}:b"]
    assert 3_500_000 < keys.server.pttl(f"{p}:a") <= 3_600_000


def test_entries_of_a_stream_are_rows(connection: Any, keys: Keys) -> None:
    keys.add([{"id": i, "name": f"n{i}"} for i in range(10)])
    first = keys.server.xrange(f"{keys.prefix}:s")[4][0]
    columns = "id BIGINT, name STRING, e STRING METADATA FROM 'id' VIRTUAL, t TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL"
    of = {"data-type": "stream", "key": f"{keys.prefix}:s", "scan.bounded.mode": "latest"}
    connection.execute(declared("t", columns, "redis", {**keys.options, **of}))
    assert both_ways(connection, "SELECT COUNT(*), SUM(id), MAX(name), COUNT(DISTINCT e) FROM t") == [
        (10, 45, "n9", 10)
    ]
    assert both_ways(connection, "SELECT TIMESTAMPDIFF(MINUTE, t, CURRENT_TIMESTAMP) FROM t WHERE id = 1") == [(0,)]
    connection.execute(
        declared("u", "id BIGINT", "redis", {**keys.options, **of}, scan_startup_mode="id", scan_startup_id=first)
    )
    assert both_ways(connection, "SELECT id FROM u") == [(i,) for i in range(5, 10)]
    later = str(int(time.time() * 1000) + 1000)
    for n, more in enumerate(
        [{"scan_startup_mode": "latest"}, {"scan_startup_mode": "timestamp", "scan_startup_timestamp__millis": later}]
    ):
        connection.execute(declared(f"l{n}", "id BIGINT", "redis", {**keys.options, **of}, **more))
        assert both_ways(connection, f"SELECT id FROM l{n}") == []
    keys.server.xadd(f"{keys.prefix}:v", {"value": '{"id": 7}', "other": "x"})
    keys.server.xadd(f"{keys.prefix}:v", {"value": "{"})
    of["key"] = f"{keys.prefix}:v"
    connection.execute(
        declared("v", "id BIGINT", "redis", {**keys.options, **of}, format="json", source_bad__records="skip")
    )
    assert both_ways(connection, "SELECT id FROM v") == [(7,)]


@pytest.mark.parametrize("fault", ["before-publish:2", "mid-publish:2", "after-publish:3"])
def test_each_entry_is_there_once_wherever_the_job_dies(keys: Keys, tmp_path: Path, fault: str) -> None:
    keys.add([{"id": i} for i in range(500)])
    of = {**keys.options, "data-type": "stream"}
    job = Job(
        tmp_path,
        declared("t", "id BIGINT", "redis", of, key=f"{keys.prefix}:s", scan_bounded_mode="latest"),
        declared("o", "id BIGINT", "redis", of, key=f"{keys.prefix}:o", sink_delivery__guarantee="exactly-once"),
        "INSERT INTO o SELECT id FROM t",
    )
    assert job.run(fault) < 0
    assert job.run() == 0, job.said
    assert [int(e["id"]) for e in keys.entries()] == list(range(500))
    assert not keys.server.keys("sqlstream:staged*")


def test_what_is_staged_is_seen_once_or_never(keys: Keys) -> None:
    options = {
        **keys.options,
        "data-type": "stream",
        "key": f"{keys.prefix}:o",
        "sink.delivery-guarantee": "exactly-once",
    }
    sink = RedisConnector().sink(table(RedisConnector(), "a BIGINT, b STRING", options))
    rows = pa.record_batch({"a": pa.array(range(2500), pa.int64()), "b": pa.array([None] * 2500, pa.string())})
    commit = stage(sink, SinkTask("job", "run", 0), rows)
    assert keys.entries() == []
    for _ in range(2):
        commit()
    assert keys.entries() == [{"a": str(i)} for i in range(2500)]
    stage(sink, SinkTask("job", "run", 0), rows)
    sink.committer(SinkTask("job", "run", 0)).abort()
    assert not keys.server.keys("sqlstream:staged*")


def test_what_is_published_on_channels(connection: Any, keys: Keys) -> None:
    of = {**keys.options, "data-type": "channel", "format": "json"}
    connection.execute(
        declared("t", "id BIGINT, c STRING METADATA FROM 'channel' VIRTUAL", "redis", of, key=f"{keys.prefix}.*")
    )
    connection.execute(declared("o", "id BIGINT", "redis", of, key=f"{keys.prefix}.x"))
    found = fetching(connection, "SELECT id, c FROM t LIMIT 3")
    until(lambda: keys.server.publish(f"{keys.prefix}.y", '{"id": 1}'))
    with sqlstream.connect() as other:
        other.execute(declared("o", "id BIGINT", "redis", of, key=f"{keys.prefix}.x"))
        other.execute("INSERT INTO o VALUES (2), (3)")
    assert [r[-2:] for r in found.result(30)] == [
        (1, f"{keys.prefix}.y"), (2, f"{keys.prefix}.x"), (3, f"{keys.prefix}.x"),
    ]  # fmt: skip


def test_mistakes_are_explained(connection: Any, keys: Keys) -> None:
    def said(columns: str = "k STRING, n INT, PRIMARY KEY (k) NOT ENFORCED", write: bool = False, **more: str) -> str:
        t = f"e{time.monotonic_ns()}"
        given = {k: v for k, v in keys.options.items() if k not in more}
        made = declared(t, columns, "redis", given, **more)
        return error_of(connection, made, f"INSERT INTO {t} VALUES ('a', 1)" if write else f"SELECT * FROM {t}")

    assert "the keys of Redis are not read through" in said(key="x:{k}")
    assert "there is no column 'j'" in said(key="x:{j}")
    assert "option 'key' is made of nothing" in said(key="x")
    assert "it has no PRIMARY KEY" in said("k STRING, n INT", key="x:{k}")
    assert "cannot stand in a key" in said("k DOUBLE, n INT, PRIMARY KEY (k) NOT ENFORCED", key="x:{k}")
    assert "option 'format' is missing" in said(key="x:{k}", data__type="string", write=True)
    assert "option 'scan.startup.mode' is for 'data-type' = 'stream'" in said(key="x:{k}", scan_startup_mode="latest")
    assert "is not of the form redis://host:6379/0" in said(key="x:{k}", url="127.0.0.1:1")
    assert "redis://127.0.0.1:1 does not answer" in said(
        key="x:{k}", url="redis://127.0.0.1:1", write=True, sink_max__retries="0"
    )
    keys.server.set(f"{keys.prefix}:s", "x")
    assert "has a string" in said("n INT", key=f"{keys.prefix}:s", data__type="stream", scan_bounded_mode="latest")


def test_the_page_is_as_shown(redis: Redis, keys: Keys, tmp_path: Path) -> None:
    database = 7  # nobody else's
    out, shown = page_of("redis", tmp_path, {"localhost:6379/0": f"{redis.address}/{database}"})
    found = redis_library.Redis(port=redis.port, db=database)
    found.flushdb()
    found.close()
    assert out == shown
