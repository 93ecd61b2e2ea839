"""How rows are fetched: timeouts, changes, Arrow; and where parameters stand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import sqlstream
from sqlstream.dbapi.parameters import places_of

NUMBERS = "SELECT a, b FROM (VALUES (1, 'x'), (2, NULL), (3, 'z')) AS t(a, b)"
NEVER = "CREATE TABLE never (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = '10', 'fields.a.max' = '3', 'fields.a.min' = '1')"


@pytest.fixture
def connection() -> Iterator[sqlstream.Connection]:
    with sqlstream.connect(fetch_timeout=0.05) as made:
        made.execute(NEVER)
        yield made


FETCHES = ["fetchone", "fetchmany", "fetch_record_batch", "__next__"]


@pytest.mark.parametrize("fetch", FETCHES)
def test_a_fetch_that_takes_too_long_can_be_tried_again(fetch: str, connection: sqlstream.Connection) -> None:
    cursor = connection.execute("SELECT a FROM never WHERE a > 5")
    for _ in range(2):
        with pytest.raises(sqlstream.FetchTimeout, match="within 0.05 s; the query goes on"):
            getattr(cursor, fetch)()
    assert issubclass(sqlstream.FetchTimeout, sqlstream.OperationalError)


def test_no_row_is_lost_by_a_timeout(connection: sqlstream.Connection) -> None:
    def slow() -> Iterator[dict[str, int]]:
        for i in range(4):
            time.sleep(0.1)
            yield {"a": i}

    for fetch in ("fetchone", "fetchall", "fetch_arrow_table"):
        connection.register("slow", slow, schema="a INT", bounded=True)
        connection.execute("SET 'execution.runtime-mode' = 'streaming'")
        cursor = connection.execute("SELECT a FROM slow")
        got: list[int] = []
        timeouts = 0
        deadline = time.monotonic() + 60
        while len(got) < 4 and time.monotonic() < deadline:
            try:
                found: Any = getattr(cursor, fetch)()
                rows = (
                    [found]
                    if fetch == "fetchone"
                    else found
                    if fetch == "fetchall"
                    else zip(*found.columns, strict=True)
                )
                got += [int(str(r[0])) for r in rows]
            except sqlstream.FetchTimeout:
                timeouts += 1
        assert got == [0, 1, 2, 3] and timeouts > 0


def test_how_changes_come() -> None:
    query = "SELECT MAX(a) AS m FROM (VALUES (1), (1)) AS t(a)"
    streaming = {"execution.runtime-mode": "streaming"}
    with sqlstream.connect(**streaming) as connection:
        cursor = connection.execute(query)
        assert [d[0] for d in cursor.description or ()] == ["op", "m"]
        assert cursor.fetchone() == ("+I", 1) and cursor.row_kind == "+I"
        cursor = connection.execute(NUMBERS)
        assert cursor.fetchone() is not None and cursor.row_kind is None
    with sqlstream.connect(changelog="row_kind", **streaming) as connection:
        cursor = connection.execute(query)
        assert cursor.fetchone() == (1,) and cursor.row_kind == "+I"
        assert connection.execute(query).fetch_arrow_table().column_names == ["m"]
    with sqlstream.connect(changelog="none", **streaming) as connection:
        with pytest.raises(sqlstream.NotSupportedError, match="'changelog' is 'none'"):
            connection.execute(query)
        assert len(connection.execute(NUMBERS).fetchall()) == 3
    with pytest.raises(sqlstream.ProgrammingError, match="column, row_kind, none"):
        sqlstream.connect(changelog="nothing")


def test_arrow() -> None:
    connection = sqlstream.connect()
    schema = pa.schema([("a", pa.int32()), ("b", pa.string())])
    rows = [(1, "x"), (2, None), (3, "z")]
    assert connection.execute(NUMBERS).arrow_schema == schema
    assert pa.schema(connection.execute(NUMBERS)) == schema
    table = pa.table(connection.execute(NUMBERS))
    assert table.schema == schema and sorted(zip(*table.to_pydict().values(), strict=True)) == rows
    reader = pa.RecordBatchReader.from_stream(connection.execute(NUMBERS))
    assert sum(batch.num_rows for batch in reader) == 3
    assert connection.execute(NUMBERS).fetch_record_batch_reader().read_all().num_rows == 3
    assert sum(b.num_rows for b in connection.execute(NUMBERS).fetch_record_batches()) == 3
    cursor = connection.execute(NUMBERS)  # noqa: F841  DuckDB reads it
    assert sorted(duckdb.sql("SELECT a, b FROM cursor").fetchall()) == rows
    polars, pandas = pytest.importorskip("polars"), pytest.importorskip("pandas")
    assert polars.DataFrame(connection.execute(NUMBERS)).columns == ["a", "b"]
    assert isinstance(connection.execute(NUMBERS).pl(), polars.DataFrame)
    assert isinstance(connection.execute(NUMBERS).df(), pandas.DataFrame)
    with pytest.raises(sqlstream.ProgrammingError, match="no query"):
        pa.table(connection.execute("CREATE TEMPORARY VIEW v AS SELECT 1 AS x"))


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch, connection: sqlstream.Connection) -> None:
    import sys

    for name, method in (("pandas", "df"), ("polars", "pl")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(sqlstream.NotSupportedError, match=rf"pip install 'sqlstream-engine\[{name}\]'"):
            getattr(connection.execute(NUMBERS), method)()


PLACES = [
    ("SELECT :a, x FROM t WHERE b=:b AND c IN (:c,:a)", "abca"),
    ("SELECT ':a', \":a\", `:a` -- :a\n/* :a */ FROM t", ""),
    ("SELECT x::a, y[1:a], m[b:a] FROM t", ""),
    ("SELECT MAP {'k':a, 'l' :b}, {k:a} FROM t", ""),
    ("SELECT CAST(:a AS ROW<x INT, y:b>), TIME '10:00:00', INTERVAL '1:2' MINUTE TO SECOND", "a"),
    ("INSERT INTO t VALUES (:a, :a + 1, -:b)", "aab"),
    ("SELECT $$ :a $$, x':b', U&':c'", ""),
    (":a", "a"),
]


@pytest.mark.parametrize(("sql", "names"), PLACES, ids=range(len(PLACES)))
def test_where_named_parameters_stand(sql: str, names: str) -> None:
    try:
        found = [p.name for p in places_of(sql)]
    except sqlstream.Error:
        found = []
    assert found == list(names)


@pytest.mark.parametrize("dialect", ["duckdb", "postgres", "snowflake", "spark"])
def test_named_parameters_in_other_dialects(dialect: str) -> None:
    connection = sqlstream.connect()
    connection.execute(f"SET 'table.sql-dialect' = '{dialect}'")
    sql = "SELECT :a, ':a', CAST(:b AS INT) -- :a"
    assert connection.execute(sql, {"a": "it is", "b": 5}).fetchall() == [("it is", ":a", 5)]


@pytest.mark.parametrize(
    ("sql", "parameters", "text"),
    [
        ("SELECT :a", {}, "parameter :a, and none of that name"),
        ("SELECT :a", [1], "by name"),
        ("SELECT :a", None, "by name"),
        ("SELECT ?", {"a": 1}, "give a sequence"),
        ("SELECT ?, :a", {"a": 1}, "both kinds"),
        ("SELECT :a", {"a": object()}, "parameter a: it cannot be a object"),
    ],
)
def test_named_parameters_that_do_not_fit(
    sql: str, parameters: Any, text: str, connection: sqlstream.Connection
) -> None:
    with pytest.raises(sqlstream.ProgrammingError, match=text):
        connection.execute(sql, parameters)
