"""EXPLAIN: what is shown, in which order, and the fingerprint, which does not depend on it."""

from __future__ import annotations

import json
import re

import pytest

from sqlstream import pipeline
from sqlstream.errors import NotSupported
from sqlstream.operators.calc import Calc
from sqlstream.runtime.graph import JobGraph
from sqlstream.session import Session
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script

TABLES = """
CREATE TABLE e (k INT, v BIGINT, t TIMESTAMP(3), WATERMARK FOR t AS t - INTERVAL '5' SECOND)
  WITH ('connector' = 'datagen', 'number-of-rows' = '10');
CREATE TABLE o (k INT, n BIGINT) WITH ('connector' = 'blackhole');
"""


def session(**options: str) -> Session:
    made = Session(options=options)
    for _ in made.execute(TABLES):
        pass
    return made


def explained(sql: str, **options: str) -> dict[str, str]:
    """The sections by their titles, in order."""
    (result,) = session(**options).execute(sql)
    ((batch, _),) = result.batches()
    (text,) = batch.column(0).to_pylist()
    parts = re.split(r"^== (.*) ==$\n", text, flags=re.M)
    return {title: body.strip("\n") for title, body in zip(parts[1::2], parts[2::2], strict=True)}


GROUPED = "SELECT k, COUNT(*) AS n FROM e WHERE v > 3 GROUP BY k"


def test_what_runs_comes_first_with_its_exchanges() -> None:
    found = explained(f"EXPLAIN INSERT INTO o {GROUPED}", **{"parallelism.default": "2"})
    assert list(found) == ["Physical Plan (streaming, 2 tasks)", "Optimized Logical Plan", "Logical Plan"]
    names = [line.strip().partition("(")[0] for line in found["Physical Plan (streaming, 2 tasks)"].splitlines()]
    assert names == ["Sink", "Changelog", "GroupAggregate", "Exchange", "LocalAggregate", "Calc", "Source"]
    assert "Exchange(hash[k], changelogMode=[I])" in found["Physical Plan (streaming, 2 tasks)"]
    assert "filter=v > 3" in found["Physical Plan (streaming, 2 tasks)"]


def test_a_batch_query_is_duckdbs() -> None:
    found = explained(f"EXPLAIN PLAN FOR {GROUPED}")
    first = "Optimized Logical Plan (batch: one query of DuckDB's)"
    assert list(found) == [first, "Logical Plan", "DuckDB SQL"]
    names = [line.strip().partition("(")[0] for line in found[first].splitlines()]
    assert names == ["Aggregate", "Project", "Scan"]
    lines = found["DuckDB SQL"].splitlines()
    assert (
        lines[0].startswith("WITH n0 AS (SELECT")
        and lines[1].startswith("     n1 AS (")
        and lines[-1].startswith("SELECT")
    )


def test_several_queries_in_another_dialect() -> None:
    options = {"execution.runtime-mode": "batch", "table.sql-dialect": "duckdb"}
    found = explained("EXPLAIN SELECT k, COUNT(*) AS n FROM e GROUP BY ALL", **options)
    assert list(found)[0].startswith("Optimized Logical Plan") and list(found)[-2:] == ["Flink SQL", "DuckDB SQL"]


def test_watermarks_are_sql() -> None:
    window = "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(t), INTERVAL '1' MINUTE)) GROUP BY window_end"
    found = explained(f"EXPLAIN {window}", **{"execution.runtime-mode": "streaming"})
    assert "watermark=t - INTERVAL '5' SECOND" in found["Physical Plan (streaming, 1 task)"]


def test_more_on_request() -> None:
    found = explained(f"EXPLAIN SYNTAX_TREE, CHANGELOG_MODE {GROUPED}")
    assert list(found)[-2:] == ["Abstract Syntax Tree", "DuckDB SQL"] and found["Abstract Syntax Tree"].startswith(
        "Select("
    )
    options = {"execution.runtime-mode": "streaming", "parallelism.default": "2"}
    found = explained(f"EXPLAIN JSON_EXECUTION_PLAN {GROUPED}", **options)
    nodes = json.loads(found["Physical Execution Plan"])["nodes"]
    assert [(n["type"], n["pact"], n["parallelism"]) for n in nodes] == [
        ("Source", "Data Source", 2), ("Calc", "Operator", 2), ("LocalAggregate", "Operator", 2), ("GroupAggregate", "Operator", 2),
        ("Changelog", "Operator", 2), ("Collect", "Data Sink", 2),
    ]  # fmt: skip
    ways = [p["ship_strategy"] for n in nodes for p in n.get("predecessors", [])]
    assert ways == ["FORWARD", "FORWARD", "HASH", "FORWARD", "GLOBAL"]


def test_the_trace_tells_what_each_rule_did() -> None:
    asked = "EXPLAIN OPTIMIZER_TRACE SELECT a FROM (SELECT k AS a, v FROM e) WHERE v > 3"
    found = explained(asked)["Optimizer Trace"].splitlines()
    names = [line for line in found if line[0].isdigit()]
    assert names == ["1. drop_watermarks", "2. push_filters", "3. merge_projects", "4. prune_shared"], found
    assert found[found.index("2. push_filters") + 1 : found.index("3. merge_projects")] == [
        " Project(a)",
        "-  Filter(v > 3)",
        "-    Project(k AS a, v)",
        "-      Scan(table=e, columns=[k, v, t])",
        "+  Project(k AS a, v)",
        "+    Scan(table=e, columns=[k, v, t], filter=v > 3)",
    ]


def test_the_trace_of_a_set_is_by_statement() -> None:
    sets = f"EXECUTE STATEMENT SET BEGIN INSERT INTO o {GROUPED}; INSERT INTO o SELECT k, v FROM e; END"
    found = explained(f"EXPLAIN OPTIMIZER_TRACE {sets}")["Optimizer Trace"].splitlines()
    assert found.count("INSERT INTO o:") == 2 and found[-1] == "+Scan(table=e, columns=[k, v])"
    values = "EXPLAIN OPTIMIZER_TRACE VALUES (1), (2)"
    assert explained(values)["Optimizer Trace"] == "no rule changed the plan"


@pytest.mark.parametrize("kind", ["ESTIMATED_COST", "PLAN_ADVICE"])
def test_what_there_is_not_is_refused(kind: str) -> None:
    with pytest.raises(NotSupported, match=f"EXPLAIN {kind}"):
        explained(f"EXPLAIN {kind} {GROUPED}")


def graph(sql: str, **options: str) -> JobGraph:
    made = session(**options)
    (statement,) = parse_script(f"INSERT INTO o {sql}")
    assert isinstance(statement, st.Insert)
    return pipeline.job_graph(made.environment, pipeline.bind_targets(made.environment, (statement,)))


JOINED = "SELECT e.k, COUNT(*) FROM e JOIN e AS f ON e.k = f.k AND e.v > f.v GROUP BY e.k"


@pytest.mark.parametrize("sql", [GROUPED, JOINED])
def test_the_fingerprint_is_the_plans(sql: str) -> None:
    one, two = graph(sql), graph(sql, **{"parallelism.default": "2"})
    assert one.fingerprint == two.fingerprint and one.text == two.text
    assert len(two.nodes) > len(one.nodes)


def test_names_inside_a_query_and_printing_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    before = graph(GROUPED)
    assert graph(GROUPED.replace(" AS n", " AS many")).fingerprint == before.fingerprint
    monkeypatch.setattr(Calc, "details", lambda self: "printed in another way")
    assert graph(GROUPED).fingerprint == before.fingerprint


@pytest.mark.parametrize(
    "changed",
    [
        "SELECT k, COUNT(*) AS n FROM e WHERE v > 4 GROUP BY k",
        "SELECT k, COUNT(v) AS n FROM e WHERE v > 3 GROUP BY k",
        "SELECT k, COUNT(DISTINCT v) AS n FROM e WHERE v > 3 GROUP BY k",
        "SELECT CAST(v AS INT), COUNT(*) AS n FROM e WHERE v > 3 GROUP BY v",
        "SELECT k, v FROM e WHERE v > 3",
        "SELECT k, COUNT(*) AS n FROM e WHERE v > CAST('3' AS SMALLINT) GROUP BY k",
    ],
)
def test_what_is_computed_does(changed: str) -> None:
    assert graph(changed).fingerprint != graph(GROUPED).fingerprint


def test_a_table_of_a_query_is_explained_and_not_made() -> None:
    session = Session()
    (made,) = session.execute("EXPLAIN CREATE TABLE t WITH ('connector' = 'blackhole') AS SELECT 1 AS one")
    (row,) = [r for batch, _ in made.batches() for r in batch.to_pylist()]
    assert "Project(1 AS one)" in row["plan"]
    (shown,) = session.execute("SHOW TABLES")
    assert [r for batch, _ in shown.batches() for r in batch.to_pylist()] == []
