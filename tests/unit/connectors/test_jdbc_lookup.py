"""Lookup joins with tables of a real PostgreSQL: keys of all types, in one query an epoch, by an index."""

from __future__ import annotations

import datetime
import threading
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from connector_cases import schema, source_of
from harness.servers import PostgreSQL, wanted

from sqlstream.connectors.jdbc.database import Disconnected
from sqlstream.connectors.jdbc.keyed import Asked
from sqlstream.contracts import KeyedReader, ScanColumn, ScanRequest, TableContext
from sqlstream.errors import NotSupported, OptionError
from sqlstream.session import Session
from sqlstream.sql.types import parse_type
from sqlstream.types import INT, STRING, Type


@pytest.fixture(scope="module")
def database(postgresql: PostgreSQL) -> str:
    return postgresql.database()


@pytest.fixture
def psql(postgresql: PostgreSQL, database: str) -> Callable[[str], str]:
    return lambda sql: postgresql.psql(sql, database)


@pytest.fixture
def url(postgresql: PostgreSQL, database: str) -> str:
    return postgresql.url(database)


@pytest.fixture
def name() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


def asking(url: str, name: str, types: list[Type]) -> KeyedReader:
    """Rows (k0, k1, …, v) by all columns but the last."""
    columns = schema(*((f"k{i}", t) for i, t in enumerate(types)), ("v", INT))
    t = TableContext("t", columns, {"connector": "jdbc", "url": url, "table-name": name})
    request = ScanRequest(tuple(ScanColumn((c.name,), c.type) for c in columns))
    return source_of(t).keyed_reader(request, tuple(range(len(types))))


def found(reader: KeyedReader, *keys: pa.Array) -> list[tuple[Any, ...]]:
    try:
        return sorted(tuple(r.values()) for r in reader.rows(keys).to_pylist())
    finally:
        reader.close()


D, DT = Decimal, datetime.datetime
KEYS = [
    ("int", "INT", [1, -5], [2]),
    ("smallint", "BIGINT", [1, 7], [2**40]),
    ("bigint", "BIGINT", [2**62, -1], [0]),
    ("numeric(6,2)", "DECIMAL(8, 2)", [D("1.50"), D("-2.00")], [D("1.51")]),
    ("int", "DECIMAL(8, 2)", [D("1")], [D("1.50")]),
    ("text", "STRING", ["a", "", "it's {\"x\\y\"}, é"], ["A", "nu\0l", "NULL", "a "]),
    ("varchar(9)", "STRING", ["NULL", "b"], ["c"]),
    ("char(3)", "STRING", ["x  "], ["y  "]),
    ("uuid", "STRING", ["c0ffee00-0000-4000-8000-000000000000"], ["no uuid", "C0FFEE00-0000-4000-8000-000000000000"]),
    ("jsonb", "STRING", ['{"a": 1}'], ['{"a":1}']),
    ("date", "DATE", [datetime.date(2026, 1, 2), datetime.date(1969, 1, 1)], [datetime.date(1, 1, 1)]),
    ("time", "TIME", [datetime.time(1, 2, 3)], [datetime.time(1, 2)]),
    ("timestamp", "TIMESTAMP(6)", [DT(2026, 1, 2, 3, 4, 5, 678901), DT(2026, 1, 2)], [DT(2026, 1, 2, 3, 4, 5)]),
    ("timestamptz(3)", "TIMESTAMP_LTZ(3)", [DT(2026, 1, 2, 3, 4, 5, 678000, datetime.UTC)], [DT(2026, 1, 2, tzinfo=datetime.UTC)]),
    ("boolean", "BOOLEAN", [True], [False]),
]  # fmt: skip


@pytest.mark.parametrize(("there", "here", "held", "others"), KEYS, ids=[f"{k[0]}-{k[1]}" for k in KEYS])
def test_keys_of_each_type(
    psql: Callable[[str], str], url: str, name: str, there: str, here: str, held: list[Any], others: list[Any]
) -> None:
    t = parse_type(here)
    psql(f"CREATE TABLE {name} (k0 {there}, v int)")
    rows = ["('" + str(v).replace("'", "''") + f"', {n})" for n, v in enumerate(held)]
    psql(f"INSERT INTO {name} VALUES {', '.join(rows)}, (NULL, 9)")
    asked = pa.array([*held[:1], *others], t.arrow())
    assert found(asking(url, name, [t]), asked) == [(held[0], 0)]
    assert len(found(asking(url, name, [t]), pa.array(held, t.arrow()))) == len(held)
    assert found(asking(url, name, [t]), pa.array(others[-1:], t.arrow())) == []


def test_several_columns_are_one_key(psql: Callable[[str], str], url: str, name: str) -> None:
    psql(
        f"CREATE TABLE {name} (k0 int, k1 text, v int); INSERT INTO {name} SELECT i / 10, 'n' || i % 10, i FROM generate_series(0, 99) i"
    )
    keys = (pa.array([1, 1, 2, 50], pa.int32()), pa.array(["n1", "n2", "n1", "n1"]))
    assert found(asking(url, name, [INT, STRING]), *keys) == [(1, "n1", 11), (1, "n2", 12), (2, "n1", 21)]


def test_many_keys_take_few_queries(psql: Callable[[str], str], url: str, name: str) -> None:
    psql(
        f"CREATE TABLE {name} (k0 int PRIMARY KEY, v int); INSERT INTO {name} SELECT i, i FROM generate_series(1, 100000) i"
    )
    psql(f"ANALYZE {name}")
    reader = asking(url, name, [INT])
    assert reader.rows([pa.array(range(50_000, 150_000), pa.int32())]).num_rows == 50_001
    reader.close()


def test_an_index_is_used(psql: Callable[[str], str], url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    psql(
        f"CREATE TABLE {name} (k0 uuid, k1 smallint, v int, PRIMARY KEY (k0, k1)); "
        f"INSERT INTO {name} SELECT gen_random_uuid(), i % 100, i FROM generate_series(1, 20000) i; ANALYZE {name}"
    )
    said: list[str] = []
    ours = Asked.sql
    monkeypatch.setattr(Asked, "sql", lambda self, keys: said.append(sql := ours(self, keys) or "") or sql)
    keys = (pa.array([str(uuid.UUID(int=7))]), pa.array([3], pa.int64()))
    assert found(asking(url, name, [STRING, parse_type("BIGINT")]), *keys) == []
    plan = psql(f"EXPLAIN {said[0]}")
    assert "Index" in plan and "Seq Scan" not in plan, plan


# ---- joins

ORDERS = (
    "CREATE TABLE o (k INT, p AS PROCTIME()) WITH ('connector' = 'filesystem', 'path' = 'o.csv', 'format' = 'csv');"
)
JOIN = "SELECT k, name FROM o LEFT JOIN t FOR SYSTEM_TIME AS OF o.p AS t ON o.k = t.id"


def joined(
    url: str, name: str, script: str, columns: str = "id INT, name STRING", **options: str
) -> list[tuple[Any, ...]]:
    """The rows of the last statement, streaming, beside table t."""
    given = {"connector": "jdbc", "url": url, "table-name": name, **options}
    listed = ", ".join(f"'{k}' = '{v}'" for k, v in given.items())
    rows: list[tuple[Any, ...]] = []
    session = Session(options={"execution.runtime-mode": "streaming"})
    for result in session.execute(f"{ORDERS} CREATE TABLE t ({columns}) WITH ({listed}); {script}"):
        rows = [tuple(r.values()) for batch, _ in result.batches() for r in batch.to_pylist()]
    return rows


@pytest.mark.parametrize("cache", ["NONE", "PARTIAL", "FULL"])
def test_orders_meet_their_names(
    psql: Callable[[str], str], url: str, name: str, cache: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "o.csv").write_text("1\n2\n\n3\n1\n")
    psql(f"CREATE TABLE {name} (id bigint, name text); INSERT INTO {name} VALUES (1, 'one'), (3, 'three'), (3, 'drei')")
    expected = [(1, "one"), (1, "one"), (2, None), (3, "drei"), (3, "three"), (None, None)]
    for tasks in (1, 2):
        rows = joined(url, name, f"SET 'parallelism.default' = '{tasks}'; {JOIN}", **{"lookup.cache": cache})
        assert sorted(rows, key=str) == expected
    narrow = JOIN.replace("LEFT JOIN", "JOIN") + " AND t.name <> 'drei' AND CHAR_LENGTH(t.name) > o.k"
    assert sorted(joined(url, name, narrow, **{"lookup.cache": cache})) == [(1, "one"), (1, "one"), (3, "three")]


def test_what_cannot_be_asked_is_refused(
    psql: Callable[[str], str], url: str, name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "o.csv").write_text("1\n")
    psql(f"CREATE TABLE {name} (id bigint, name text, f float8, n numeric); INSERT INTO {name} VALUES (1, 'one', 1, 1)")
    for condition, columns, error, text in [
        ("o.k < t.id", "id INT, name STRING", NotSupported, "asks it for the rows of keys"),
        ("o.k = t.id + 1", "id INT, name STRING", NotSupported, "not for what is computed of one"),
        ("o.k = t.f", "f DOUBLE, name STRING", OptionError, r"column f \(double precision\), as DOUBLE, is no key"),
        ("o.k = t.n", "n DECIMAL(10, 0), name STRING", OptionError, "is no key that its rows can be asked for by"),
    ]:
        with pytest.raises(error, match=text) as e:
            joined(url, name, JOIN.replace("o.k = t.id", condition), columns)
        assert e.value.hint
        whole = joined(url, name, JOIN.replace("o.k = t.id", condition), columns, **{"lookup.cache": "FULL"})
        assert len(whole) == 1


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"lookup.partial-cache.max-rows": "5"}, "'lookup.partial-cache.max-rows' is for 'lookup.cache' = 'PARTIAL'"),
        ({"lookup.cache.ttl": "5 s"}, "'lookup.cache.ttl' is for 'lookup.cache' = 'PARTIAL'"),
        ({"lookup.full-cache.periodic-reload.interval": "5 s"}, "is for 'lookup.cache' = 'FULL'"),
        (
            {"lookup.cache": "PARTIAL", "lookup.full-cache.periodic-reload.interval": "5 s"},
            "is for 'lookup.cache' = 'FULL'",
        ),
    ],
)
def test_options_of_another_cache_are_refused(given: dict[str, str], text: str) -> None:
    t = TableContext(
        "t", schema(("id", INT)), {"connector": "jdbc", "url": "postgresql://h/d", "table-name": "x", **given}
    )
    with pytest.raises(OptionError, match=text):
        source_of(t)


def test_former_options_cache_without_being_told() -> None:
    given = {"lookup.cache.max-rows": "5", "lookup.cache.ttl": "2 s"}
    t = TableContext(
        "t", schema(("id", INT)), {"connector": "jdbc", "url": "postgresql://h/d", "table-name": "x", **given}
    )
    cache = source_of(t).keyed
    assert cache is not None and (cache.rows, cache.after_write, cache.missing) == (5, 2_000_000, True)


def test_a_server_that_comes_back_is_asked_again(name: str) -> None:
    wanted(PostgreSQL)
    with PostgreSQL() as server:
        server.psql(f"CREATE TABLE {name} (k0 int, v int); INSERT INTO {name} VALUES (1, 2)")
        reader = asking(server.url(), name, [INT])
        keys = [pa.array([1], pa.int32())]
        assert reader.rows(keys).num_rows == 1
        server.kill()
        again = threading.Timer(0.5, server.start)
        again.start()
        assert reader.rows(keys).num_rows == 1
        again.join()
        server.stop()
        reader._retries = 0  # type: ignore[attr-defined]
        with pytest.raises(Disconnected):
            reader.rows(keys)
        reader.close()
