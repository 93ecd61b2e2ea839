"""GROUP BY in two phases, as whole jobs: skewed groups, options that change between runs, what EXPLAIN ANALYZE tells."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from harness.rows import Fold
from harness.seed import random_of, said
from harness.ways import read_sink

from sqlstream import pipeline
from sqlstream.errors import CheckpointError
from sqlstream.runtime.graph import JobGraph
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session
from sqlstream.sql import statements as st
from sqlstream.types import BIGINT, INT, STRING, Column, Schema

PHASES = "table.optimizer.agg-phase-strategy"
ROWS = 90_000
TABLES = """
CREATE TABLE t (k INT, v INT, s STRING) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json');
CREATE TABLE o (k INT, n BIGINT, v BIGINT, s STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'debezium-json');
"""
BY_KEY = "INSERT INTO o SELECT k, COUNT(*), SUM(CAST(v AS BIGINT)), MAX(s) FROM t GROUP BY k"
OF_ALL = "INSERT INTO o SELECT CAST(NULL AS INT), COUNT(*), SUM(CAST(v AS BIGINT)), MAX(s) FROM t"
# A group goes from one count to the next: what is counted above comes and goes.
OF_COUNTS = "INSERT INTO o SELECT CAST(n AS INT), COUNT(*), SUM(k), 'x' FROM (SELECT k, COUNT(*) AS n FROM t GROUP BY k) GROUP BY n"
OUT = Schema((Column("k", INT), Column("n", BIGINT), Column("v", BIGINT), Column("s", STRING)))

Row = tuple[int | None, int, int, str]


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, str]]:
    """Half of them of one group; of the first file few groups, of the second many."""
    monkeypatch.chdir(tmp_path)
    rng = random_of("two phases")
    (tmp_path / "in").mkdir()
    out = []
    for name, groups in (("a", 30), ("b", 40_000)):
        mine = [
            (0 if rng.random() < 0.5 else rng.randrange(groups), rng.randrange(-9, 10), rng.choice("abc"))
            for _ in range(ROWS // 2)
        ]
        lines = (json.dumps({"k": k, "v": v, "s": s}) for k, v, s in mine)
        (tmp_path / "in" / f"{name}.json").write_text("\n".join(lines) + "\n")
        out += mine
    return out


def by_key(rows: list[tuple[int, int, str]], one: bool = False) -> Counter[Row]:
    found: dict[int | None, list[tuple[int, str]]] = {}
    for k, v, s in rows:
        found.setdefault(None if one else k, []).append((v, s))
    return Counter((k, len(g), sum(v for v, _ in g), max(s for _, s in g)) for k, g in found.items())


def of_counts(rows: list[tuple[int, int, str]]) -> Counter[Row]:
    found: dict[int, list[int]] = {}
    for k, n in Counter(k for k, _, _ in rows).items():
        found.setdefault(n, []).append(k)
    return Counter((n, len(g), sum(g), "x") for n, g in found.items())


def run(sql: str, options: dict[str, str], after: int | None = None) -> Progress:
    """A run of the job, stopped after so many epochs."""
    epochs = 0

    def watch(progress: Progress) -> None:
        nonlocal epochs
        epochs += 1
        if epochs == after:
            assert session.current_job is not None
            session.current_job.stop()

    session = Session(
        options={
            "execution.runtime-mode": "streaming",
            "pipeline.name": "job",
            "execution.checkpointing.interval": "0",
            **options,
        },
        on_progress=watch,
    )
    *_, result = session.execute(TABLES + sql)
    assert result.progress is not None
    return result.progress


@pytest.mark.parametrize("sql", [BY_KEY, OF_ALL, OF_COUNTS], ids=["by key", "of all", "of counts"])
def test_a_job_goes_on_in_other_phases(sql: str, rows: list[tuple[int, int, str]]) -> None:
    rng = random.Random(random_of("phases").random())
    phases = rng.sample(["AUTO", "TWO_PHASE", "ONE_PHASE"], 3)
    tasks = [rng.choice(["2", "3"]), *rng.sample(["1", "2", "3"], 2)]
    states = []
    for i, (phase, n) in enumerate(zip(phases, tasks, strict=True)):
        options = {
            PHASES: phase,
            "parallelism.default": n,
            "execution.epoch.max-rows": "20000",
            "execution.epoch.random-seed": str(rng.randrange(1, 2**31)),
        }
        states.append(run(sql, options, None if i == 2 else rng.choice([1, 2])))
    assert states[0].rows_in < ROWS and states[-1].state == "FINISHED"
    fold: Fold = read_sink(Path("out"), OUT)
    want = of_counts(rows) if sql is OF_COUNTS else by_key(rows, sql is OF_ALL)
    assert Counter(fold.rows) == want, said(f"{phases} in {tasks} tasks")


SPLIT = {"table.optimizer.distinct-agg.split.enabled": "true", "table.optimizer.distinct-agg.split.bucket-num": "5"}
DIFFERENT = "INSERT INTO o SELECT k, COUNT(DISTINCT v), SUM(CAST(v AS BIGINT)), MAX(s) FROM t GROUP BY k"
SMALL = {"execution.epoch.max-rows": "20000"}


def different(rows: list[tuple[int, int, str]]) -> Counter[Row]:
    values: dict[int | None, set[int]] = {}
    for k, v, _ in rows:
        values.setdefault(k, set()).add(v)
    return Counter((k, len(values[k]), total, s) for k, _, total, s in by_key(rows))


def test_a_job_goes_on_with_its_buckets_at_another_parallelism(rows: list[tuple[int, int, str]]) -> None:
    assert run(DIFFERENT, {**SPLIT, **SMALL, "parallelism.default": "2"}, 2).rows_in < ROWS
    for other in ({}, {**SPLIT, "table.optimizer.distinct-agg.split.bucket-num": "6"}):
        with pytest.raises(CheckpointError, match="the plan of job job is not that of its checkpoint"):
            run(DIFFERENT, {**SMALL, **other})
    assert run(DIFFERENT, {**SPLIT, **SMALL, "parallelism.default": "3"}).state == "FINISHED"
    assert Counter(read_sink(Path("out"), OUT).rows) == different(rows)


def test_a_job_that_began_without_buckets_stays_so(rows: list[tuple[int, int, str]]) -> None:
    assert run(DIFFERENT, {**SMALL, "parallelism.default": "2"}, 2).rows_in < ROWS
    assert run(DIFFERENT, {**SPLIT, **SMALL, "parallelism.default": "2"}).state == "FINISHED"
    assert Counter(read_sink(Path("out"), OUT).rows) == different(rows)


def graph(sql: str, **options: str) -> JobGraph:
    session = Session(options={"execution.runtime-mode": "streaming", **options})
    list(session.execute(TABLES))
    insert = session.parse(sql)
    assert isinstance(insert, st.Insert)
    return pipeline.job_graph(session.environment, pipeline.bind_targets(session.environment, (insert,)))


@pytest.mark.parametrize("sql", [BY_KEY, OF_ALL, OF_COUNTS])
def test_a_plan_means_the_same_in_any_phases(sql: str) -> None:
    one = graph(sql)
    for tasks in ("1", "2"):
        for phase in ("AUTO", "TWO_PHASE", "ONE_PHASE"):
            other = graph(sql, **{"parallelism.default": tasks, PHASES: phase})
            local = any(n.name == "LocalAggregate" for n in other.nodes)
            assert local == (tasks == "2" and phase != "ONE_PHASE")
            assert (other.fingerprint, other.marks, other.text) == (one.fingerprint, one.marks, one.text)


def test_there_is_one_phase_where_rows_stay() -> None:
    """In the tasks in which the groups below have left them."""
    nested = "INSERT INTO o SELECT k, COUNT(*), SUM(n), MAX(s) FROM (SELECT k, s, COUNT(*) AS n FROM t GROUP BY k, s) GROUP BY k"
    below = "INSERT INTO o SELECT k, COUNT(*), SUM(n), 'x' FROM (SELECT k, COUNT(*) AS n FROM t GROUP BY k) GROUP BY k"
    options = {"parallelism.default": "2", PHASES: "TWO_PHASE"}
    assert [n.name for n in graph(nested, **options).nodes].count("LocalAggregate") == 1  # MAX over what can go
    assert [n.name for n in graph(below, **options).nodes].count("LocalAggregate") == 1  # by k they lie already


def test_explain_analyze_and_the_metrics_tell_what_the_first_phase_saved(rows: list[tuple[int, int, str]]) -> None:
    session = Session(options={"execution.runtime-mode": "streaming", "parallelism.default": "2", PHASES: "TWO_PHASE"})
    *_, result = session.execute(TABLES + f"EXPLAIN ANALYZE {OF_ALL}")
    ((batch, _),) = result.batches()
    (line,) = [x for x in batch.column(0)[0].as_py().splitlines() if "LocalAggregate" in x]
    given, sent = (int(x.replace(",", "")) for x in line.split()[:2])
    assert given == ROWS and 2 <= sent < 20
