"""After every epoch, what a query has shown is the batch answer over exactly the rows consumed so far.

Generated queries over generated inputs (several splits, times out of order, late rows, NULLs). After each epoch the
rows received so far, folded, are compared with the batch renderer's SQL at the epoch's watermark, over the rows that
the job's sources stand behind. Late rows are left out by the oracle's own conditions (harness/generator.py).

SQLSTREAM_EXAMPLES=2000 for more; SQLSTREAM_SEED repeats a run, and one example of it by its number.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pytest
from harness import generator, rows, ways
from harness.seed import random_of, said

from sqlstream import duck
from sqlstream.batch.render import BatchRenderer
from sqlstream.batches import END
from sqlstream.operators.target import Target
from sqlstream.optimize import optimize
from sqlstream.plan import nodes
from sqlstream.runtime.job import Job
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script

EXAMPLES = int(os.environ.get("SQLSTREAM_EXAMPLES", "100"))
POSITION_BITS = 40


@dataclass
class Oracle:
    """Answers for the input's first rows of each split."""

    con: duckdb.DuckDBPyConnection
    plan: nodes.Node

    @staticmethod
    def over(data: generator.Data, plan: nodes.Node) -> Oracle:
        con = duck.connect(1)
        con.execute(
            "CREATE TABLE input_rows (split INTEGER, pos BIGINT, id INTEGER, k VARCHAR, j INTEGER, v INTEGER, x DOUBLE, "
            "ts TIMESTAMP, wm TIMESTAMP)"
        )
        values = [
            (s, n, r.id, r.k, r.j, r.v, r.x, r.ts, r.wm)
            for s, split in enumerate(data.splits)
            for n, r in enumerate(split)
        ]
        if values:
            con.executemany("INSERT INTO input_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        return Oracle(con, plan)

    def answer(self, consumed: dict[int, int], watermark: int) -> Counter[rows.Row]:
        taken = " OR ".join(f"split = {s} AND pos < {n}" for s, n in consumed.items()) or "FALSE"

        def scan(node: nodes.Scan, arrival: bool) -> str:
            items = [f"{c.path[0]} AS c{i}" for i, c in enumerate(node.columns)]
            items += [f"(split::BIGINT << {POSITION_BITS}) + pos AS _ord"] if arrival else []
            return f"SELECT {', '.join(items)} FROM input_rows WHERE {taken}"

        sql = BatchRenderer(scan, watermark=watermark).sql(self.plan)
        found: Counter[rows.Row] = Counter()
        for batch in self.con.sql(sql).to_arrow_reader(65536):
            found.update(rows.rows_of(batch, self.plan.schema))
        return found


def plan_of(session: Session, sql: str) -> nodes.Node:
    (statement,) = parse_script(sql)
    assert isinstance(statement, st.Select)
    return session._bind(statement.query)


def run(session: Session, plan: nodes.Node, check: Callable[[Job, rows.Fold, Progress], None]) -> None:
    """Runs the plan as a stream; `check` sees the job and what it has shown after every epoch."""
    fold = rows.Fold(plan.schema)
    graph = session._graph([Target(optimize(plan), plan.schema)])
    job = Job(
        graph,
        replace(session._job_options("query"), interval=0),
        receive=fold.add,
        on_epoch=lambda progress: check(job, fold, progress),
    )
    job.run()


def consumed(job: Job) -> dict[int, int]:
    """How many rows of each split the sources have given."""
    return {s.split.number: s.rows for w in job._workers for scan in w.scans.values() for s in scan.splits}


@dataclass(frozen=True)
class Example:
    """A generated query over a generated input; `random` is for what is left to choose."""

    number: int
    random: random.Random
    data: generator.Data
    text: generator.Text
    directory: Path

    @staticmethod
    def of(number: int, kind: str, directory: Path) -> Example:
        rng = random_of(kind, number)
        data = generator.data(rng)
        text = generator.Queries(rng).query(rng.choice([0, 0, 1, 1, 2]))
        data.write(directory / "t")
        return Example(number, rng, data, text, directory)

    @property
    def setup(self) -> tuple[str, ...]:
        return tuple(self.data.setup(self.directory / "t"))

    def session(self, options: dict[str, str]) -> Session:
        return ways.Case(self.setup, "").session(self.directory, options)

    def oracle(self) -> Oracle:
        return Oracle.over(self.data, optimize(plan_of(self.session({}), self.text.oracle)))

    def explained(self, e: AssertionError) -> AssertionError:
        shown = "\n".join(f"split {i}: {r.json()}" for i, s in enumerate(self.data.splits) for r in s)
        where = f"example {self.number}, delay {self.data.delay} s"
        return AssertionError(said(f"{where}: {e}\n{self.text.stream}\n{shown}"))


@pytest.mark.parametrize("number", range(EXAMPLES))
def test_every_epoch(number: int, tmp_path: Path) -> None:
    example = Example.of(number, "epochs", tmp_path)
    rng = example.random
    options = {
        "execution.runtime-mode": "streaming",
        "parallelism.default": str(rng.choice([1, 1, 3])),
        "execution.epoch.max-rows": str(rng.choice([1, 4, 12])),
        "execution.epoch.random-seed": str(rng.randrange(1, 2**31)),
    }
    session = example.session(options)
    oracle = example.oracle()
    epochs = 0

    def check(job: Job, fold: rows.Fold, progress: Progress) -> None:
        nonlocal epochs
        epochs += 1
        at = consumed(job)
        expected = oracle.answer(at, progress.watermark)
        difference = rows.difference(fold.rows, expected, fold.schema)
        assert difference is None, (
            f"{options}, epoch {progress.epoch}, rows of each split {at}, watermark {progress.watermark}: {difference}"
        )

    try:
        run(session, plan_of(session, example.text.stream), check)
    except AssertionError as e:
        raise example.explained(e) from None
    finally:
        oracle.con.close()
    assert epochs


@pytest.mark.parametrize("number", range(EXAMPLES // 2))
def test_stopped_and_restored(number: int, tmp_path: Path) -> None:
    """The same kind of queries as jobs that are stopped after an epoch and restored at another parallelism."""
    example = Example.of(number, "restored", tmp_path)
    oracle = example.oracle()
    try:
        sizes = {i: len(s) for i, s in enumerate(example.data.splits)}
        expected = oracle.answer(sizes, END)
        case = ways.Case(example.setup, example.text.stream, 12)
        answer = ways.restored(case, tmp_path, example.random)
        difference = rows.difference(answer.fold.rows, expected, answer.schema)
        assert difference is None, difference
    except AssertionError as e:
        raise example.explained(e) from None
    finally:
        oracle.con.close()
