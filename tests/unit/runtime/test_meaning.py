"""What counts for the meaning of an operator, and what does not: state is kept by it."""

from __future__ import annotations

import pytest

from sqlstream import pipeline
from sqlstream.runtime.graph import JobGraph
from sqlstream.runtime.meaning import meanings
from sqlstream.session import Session
from sqlstream.sql import statements as st

TABLES = """
CREATE TABLE t (k INT, v INT, s STRING, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '2' SECOND)
  WITH ('connector' = 'datagen');
CREATE TABLE u (k INT, v INT, s STRING, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '2' SECOND)
  WITH ('connector' = 'datagen');
CREATE TABLE o (a INT, b BIGINT) WITH ('connector' = 'blackhole');
CREATE TABLE o2 (a INT, b BIGINT) WITH ('connector' = 'blackhole');
"""
COUNTED = "INSERT INTO o SELECT k, COUNT(*) FROM t GROUP BY k"
WINDOWED = (
    "INSERT INTO o2 SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(at), INTERVAL '1' SECOND)) "
    "GROUP BY k, window_start, window_end"
)


def graph(*inserts: str, tables: str = TABLES, options: dict[str, str] | None = None) -> JobGraph:
    session = Session(options={"execution.runtime-mode": "streaming", **(options or {})})
    list(session.execute(tables))
    parsed = [session.parse(i) for i in inserts]
    targets = pipeline.bind_targets(session.environment, tuple(s for s in parsed if isinstance(s, st.Insert)))
    assert len(targets) == len(inserts)
    return pipeline.job_graph(session.environment, targets)


def stateful(g: JobGraph) -> dict[str, str]:
    return {n.name: h for n, h in zip(g.nodes, g.hashes, strict=True) if n.states()}


def sink(g: JobGraph, table: str = "o") -> str:
    (record,) = [r for r in g.marks.values() if r.name == "Sink" and r.table == table]
    return record.hash


SAME = [
    (COUNTED, "INSERT INTO o SELECT x, COUNT(*) AS many FROM (SELECT k AS x FROM t) GROUP BY x"),
    (
        "INSERT INTO o SELECT k, COUNT(*) FROM t WHERE v > 1 AND s = 'a' GROUP BY k",
        "INSERT INTO o SELECT k, COUNT(*) FROM t WHERE s = 'a' AND v > 1 GROUP BY k",
    ),
    (
        "INSERT INTO o SELECT k, v FROM (SELECT k, v FROM t UNION ALL SELECT k, v FROM u)",
        "INSERT INTO o SELECT k, v FROM (SELECT k, v FROM u UNION ALL SELECT k, v FROM t)",
    ),
]


@pytest.mark.parametrize("one, other", SAME)
def test_the_same(one: str, other: str) -> None:
    a, b = graph(one), graph(other)
    assert (stateful(a), sink(a)) == (stateful(b), sink(b))


DIFFERENT = [
    (COUNTED, "INSERT INTO o SELECT k, COUNT(v) FROM t GROUP BY k"),
    (COUNTED, "INSERT INTO o SELECT k, COUNT(*) FROM u GROUP BY k"),
    (COUNTED, "INSERT INTO o SELECT k, COUNT(*) FROM t WHERE v > 1 GROUP BY k"),
    (COUNTED, "INSERT INTO o SELECT v, COUNT(*) FROM t GROUP BY v"),
    (COUNTED, "INSERT INTO o SELECT k + 1, COUNT(*) FROM t GROUP BY k + 1"),
    (
        "INSERT INTO o SELECT k, COUNT(*) FROM t WHERE v > 1 OR s = 'a' GROUP BY k",
        "INSERT INTO o SELECT k, COUNT(*) FROM t WHERE v > 1 OR s = 'b' GROUP BY k",
    ),
]


@pytest.mark.parametrize("one, other", DIFFERENT)
def test_different(one: str, other: str) -> None:
    a, b = graph(one), graph(other)
    assert stateful(a) != stateful(b)
    assert sink(a) != sink(b)


ABOVE = [
    (COUNTED, "INSERT INTO o SELECT k + 1, COUNT(*) FROM t GROUP BY k"),
    (COUNTED, "INSERT INTO o SELECT k, COUNT(*) FROM t GROUP BY k HAVING COUNT(*) > 3"),
]


@pytest.mark.parametrize("one, other", ABOVE)
def test_what_is_done_above_state_leaves_it(one: str, other: str) -> None:
    a, b = graph(one), graph(other)
    assert stateful(a) == stateful(b)
    assert sink(a) != sink(b)


BESIDE = [
    WINDOWED,
    "INSERT INTO o2 SELECT v, k FROM t",
    "INSERT INTO o2 SELECT k, v FROM t WHERE s = 'x' OR v = 9",
    "INSERT INTO o2 SELECT k, COUNT(*) FROM t WHERE v > 3 GROUP BY k",
    "INSERT INTO o2 SELECT a.k, b.v FROM t a JOIN u b ON a.k = b.k",
    "INSERT INTO o2 SELECT k, n FROM (SELECT k, COUNT(*) AS n FROM t GROUP BY k) WHERE n > 3",
    "INSERT INTO o2 SELECT k, COUNT(*) FROM t WHERE v > 1 OR s IN ('a', 'b') GROUP BY k",
]


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize(
    "insert",
    [
        COUNTED,
        "INSERT INTO o SELECT k, COUNT(*) FROM t WHERE v > 1 OR s = 'a' GROUP BY k",
        "INSERT INTO o SELECT k, COUNT(*) FROM t WHERE v > 1 AND s LIKE 'a%' GROUP BY k",
        "INSERT INTO o SELECT k, SUM(v) FROM t WHERE s = 'x' GROUP BY k",
        WINDOWED.replace("o2", "o"),
        "INSERT INTO o SELECT a.k, b.v FROM t a JOIN u b ON a.k = b.k AND a.v > 3",
    ],
)
def test_other_statements_change_nothing(insert: str, beside: str) -> None:
    """They share a scan, which then has more columns and another filter, and hidden columns."""
    alone, both = graph(insert), graph(beside, insert)
    assert sink(alone) == sink(both)
    assert set(stateful(alone).values()) <= {h for n, h in zip(both.nodes, both.hashes, strict=True) if n.states()}
    assert len(set(both.ids)) == len(both.ids)
    assert graph(insert, options={"parallelism.default": "3"}).marks == alone.marks


def test_what_live_times_and_options_leave() -> None:
    alone = graph(COUNTED)
    assert stateful(graph(COUNTED, options={"table.exec.state.ttl": "1 h"})) == stateful(alone)


def test_the_watermark_counts_where_it_is_waited_for() -> None:
    other = TABLES.replace("INTERVAL '2'", "INTERVAL '5'")
    assert stateful(graph(COUNTED, tables=other)) == stateful(graph(COUNTED))
    assert stateful(graph(WINDOWED, tables=other)) != stateful(graph(WINDOWED))


def test_the_time_zone_counts_where_local_times_are_computed() -> None:
    berlin = {"table.local-time-zone": "Europe/Berlin"}
    assert graph(COUNTED, options=berlin).marks == graph(COUNTED).marks
    local = "INSERT INTO o SELECT k, COUNT(*) FROM t GROUP BY k, CAST(TO_TIMESTAMP_LTZ(v, 0) AS DATE)"
    assert stateful(graph(local, options=berlin)) != stateful(graph(local))
    ltz = TABLES.replace("at TIMESTAMP(3)", "at TIMESTAMP_LTZ(3)")
    assert stateful(graph(WINDOWED, tables=ltz, options=berlin)) != stateful(graph(WINDOWED, tables=ltz))


def test_a_table_that_was_not_read_adds_nothing_to_a_union_so_far() -> None:
    both = "(SELECT k, v, at FROM t UNION ALL SELECT k, v, at FROM u)"
    one, two = graph(COUNTED), graph(COUNTED.replace("FROM t", f"FROM {both}"))
    assert sink(one) != sink(two)
    assert meanings(two.nodes, empty={"u"})[-1] == one.hashes[-1]
    assert meanings(two.nodes, empty={"t"})[-1] != one.hashes[-1]
    view = "CREATE VIEW w AS SELECT k, v, at FROM t UNION ALL SELECT k, v, at FROM u;"
    windowed = graph(WINDOWED.replace("TABLE t", "TABLE w"), tables=TABLES + view)
    assert meanings(windowed.nodes, empty={"u"})[-1] != graph(WINDOWED).hashes[-1]  # late rows are others


def test_a_table_that_is_another_one() -> None:
    g = graph(COUNTED)
    assert not set(meanings(g.nodes, other={"t"})[1:]) & set(g.hashes)
