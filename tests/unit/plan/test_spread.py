"""Where rows lie, and what is exchanged because of it."""

from __future__ import annotations

import pytest

from sqlstream.operators.distribution import Spread, places_in
from sqlstream.runtime.graph import JobGraph
from sqlstream.session import Session
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script

TABLES = """
CREATE TABLE o (id INT, k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
CREATE TABLE p (k STRING, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
"""
TUMBLE = "TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '5' SECOND))"


def exchanges(query: str) -> list[str]:
    """What the exchanges of the query's plan in two tasks go by, but for the one that gathers the result."""
    from sqlstream import pipeline
    from sqlstream.operators.target import Target

    session = Session(options={"parallelism.default": "2", "execution.runtime-mode": "streaming"})
    for _ in session.execute(TABLES):
        pass
    (statement,) = parse_script(query)
    assert isinstance(statement, st.Select)
    plan = session.environment.bind(statement.query)
    graph: JobGraph = pipeline.job_graph(session.environment, [Target(plan, plan.schema)])
    return sorted(n.details() for n in graph.nodes if n.name == "Exchange" and n.details() != "single")


@pytest.mark.parametrize(
    "query, wanted",
    [
        ("SELECT o.k, COUNT(*) FROM o JOIN p ON o.k = p.k GROUP BY o.k", ["hash[k]", "hash[k]"]),
        ("SELECT p.k, COUNT(*) FROM o JOIN p ON o.k = p.k GROUP BY p.k", ["hash[k]", "hash[k]"]),
        ("SELECT o.k, n, COUNT(*) FROM o JOIN p ON o.k = p.k GROUP BY n, o.k", ["hash[k]", "hash[k]"]),
        ("SELECT o.k, COUNT(*) FROM o LEFT JOIN p ON o.k = p.k GROUP BY o.k", ["hash[k]", "hash[k]"]),
        # the right key is NULL in every task
        ("SELECT p.k, COUNT(*) FROM o LEFT JOIN p ON o.k = p.k GROUP BY p.k", ["hash[k]", "hash[k]", "hash[k]"]),
        ("SELECT o.k, COUNT(*) FROM o FULL JOIN p ON o.k = p.k GROUP BY o.k", ["hash[k]", "hash[k]", "hash[k]"]),
        ("SELECT k, COUNT(*) FROM o WHERE k IN (SELECT k FROM p) GROUP BY k", ["hash[k]", "hash[k]"]),
        ("SELECT n, id FROM o JOIN p ON o.k = p.k AND o.id = p.n GROUP BY id, n, o.k", ["hash[k, id]", "hash[k, n]"]),
        ("SELECT a.v FROM o JOIN p ON o.k = p.k JOIN o AS a ON a.v = o.v AND a.k = p.k", ["hash[k]"] * 3),
        (
            f"SELECT k, MAX(s) FROM (SELECT k, window_end, SUM(v) AS s FROM {TUMBLE} "
            "GROUP BY k, window_start, window_end) GROUP BY k",
            ["hash[k]"],
        ),
        (
            f"SELECT k, window_end, MAX(s) FROM (SELECT k, v, window_start, window_end, COUNT(DISTINCT id) AS s "
            f"FROM {TUMBLE} GROUP BY k, v, window_start, window_end) GROUP BY k, window_start, window_end",
            ["hash[k, v]", "hash[k, window_start, window_end]"],
        ),
        # by the window alone every row of now would be in one task
        (
            f"SELECT v, window_end, COUNT(*) FROM (SELECT window_start, window_end, SUM(v) AS v FROM {TUMBLE} "
            "GROUP BY window_start, window_end, k, id) GROUP BY window_start, window_end, v",
            ["hash[k, id]", "hash[window_start, window_end, v]"],
        ),
        ("SELECT DISTINCT c FROM (SELECT k, COUNT(*) AS c FROM o GROUP BY k)", ["hash[c]", "hash[k]"]),
        (
            "SELECT k, SUM(c) FROM (SELECT k, COUNT(*) AS c FROM o GROUP BY k UNION ALL "
            "SELECT k, COUNT(*) FROM p GROUP BY k) GROUP BY k",
            ["hash[k]", "hash[k]"],
        ),
        ("SELECT k, COUNT(*) FROM (SELECT k FROM o UNION ALL SELECT k FROM p) GROUP BY k", ["hash[k]"]),
    ],
)
def test_what_is_exchanged(query: str, wanted: list[str]) -> None:
    assert exchanges(query) == wanted


def test_spreads() -> None:
    by = Spread.by((0, 2))
    assert by.meets((0, 2)) and not by.meets((2, 0)) and not by.meets((0,))
    assert by.moved(places_in([2, 0, 2])) == Spread((frozenset({1}), frozenset({0, 2})))
    assert by.moved(places_in([2, None])) is None
    assert Spread(()).moved(places_in([])) == Spread(())
    assert by.joined(Spread.by((5, 6))).meets((5, 2))
    assert by.common(Spread.by((0, 2))) == by and by.common(Spread.by((0, 1))) is None and by.common(Spread(())) is None
