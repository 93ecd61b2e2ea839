"""CREATE TABLE … AS SELECT with columns of its own: which the table has then, in which order, and what stands in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlstream.session import Session

WITH = "WITH ('connector' = 'filesystem', 'path' = 'made', 'format' = 'json')"
QUERY = "SELECT item, n FROM (VALUES ('pen', 2), ('ink', 5)) AS sold(item, n)"


def run(session: Session, sql: str) -> list[dict[str, object]]:
    last = list(session.execute(sql))[-1]
    return [row for batch, _ in last.batches() for row in batch.to_pylist()]


@pytest.mark.parametrize("mode", ["batch", "streaming"])
@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        # names alone: an order of the query's columns
        ("(n, item)", [{"n": 2, "item": "pen"}, {"n": 5, "item": "ink"}]),
        # new columns come first, with NULL
        ("(note STRING)", [{"note": None, "item": "pen", "n": 2}, {"note": None, "item": "ink", "n": 5}]),
        # columns of the query stay where they are, of another type
        ("(n DOUBLE, note STRING)", [{"note": None, "item": "pen", "n": 2.0}, {"note": None, "item": "ink", "n": 5.0}]),
        ("(twice AS n * 2)", [{"twice": 4, "item": "pen", "n": 2}, {"twice": 10, "item": "ink", "n": 5}]),
    ],
)
def test_columns_beside_a_query(tmp_path: Path, mode: str, columns: str, expected: list[dict[str, object]]) -> None:
    session = Session(None, {"execution.runtime-mode": mode}, str(tmp_path))
    run(session, f"CREATE TABLE t {columns} {WITH} AS {QUERY};")
    found = run(session, "SELECT * FROM t;")
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert all(list(row) == list(expected[0]) for row in found)


def test_a_key_of_a_column_that_the_query_gives(tmp_path: Path) -> None:
    session = Session(None, {"execution.runtime-mode": "streaming"}, str(tmp_path))
    options = WITH.replace("'json'", "'debezium-json'")
    query = "SELECT k, COUNT(*) AS n FROM (VALUES ('a'), ('b'), ('a')) AS t(k) GROUP BY k"
    run(session, f"CREATE TABLE t (k STRING, PRIMARY KEY (k) NOT ENFORCED) {options} AS {query};")
    session.execute("SET 'execution.runtime-mode' = 'batch';")
    assert sorted(run(session, "SELECT k, n FROM t;"), key=str) == [{"k": "a", "n": 2}, {"k": "b", "n": 1}]
