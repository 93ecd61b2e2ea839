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
from sqlstream.batches import END
from sqlstream.operators.target import Target
from sqlstream.optimize import optimize
from sqlstream.pipeline import job_graph
from sqlstream.plan import nodes
from sqlstream.rendering.relations import BatchRenderer
from sqlstream.runtime.job import Job
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script

EXAMPLES = int(os.environ.get("SQLSTREAM_EXAMPLES", "80"))
POSITION_BITS = 40
Consumed = dict[str, dict[int, int]]  # of each table's splits, by number, how many rows


@dataclass
class Oracle:
    """Answers for the input's first rows of each split."""

    con: duckdb.DuckDBPyConnection
    plan: nodes.Node
    records: tuple[tuple[generator.Record, ...], ...]

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
        con.execute(
            "CREATE TABLE changes (split INTEGER, pos BIGINT, sign INTEGER, id INTEGER, k VARCHAR, j INTEGER, v INTEGER, "
            "x DOUBLE)"
        )
        changes = [
            (s, n, sign, r.id, r.k, r.j, r.v, r.x)
            for s, part in enumerate(data.changes)
            for n, (sign, r) in enumerate(part)
        ]
        con.executemany("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", changes)
        return Oracle(con, plan, data.records)

    def answer(self, consumed: Consumed, watermark: int) -> Counter[rows.Row]:
        def scan(node: nodes.Scan, arrival: bool) -> str:
            ends = consumed.get(node.table, {})
            taken = " OR ".join(f"split = {s} AND pos < {n}" for s, n in ends.items()) or "FALSE"
            items = [f"{c.path[0]} AS c{i}" for i, c in enumerate(node.columns)]
            if node.table == "t":
                items += [f"(split::BIGINT << {POSITION_BITS}) + pos AS _ord"] if arrival else []
                return f"SELECT {', '.join(items)} FROM input_rows WHERE {taken}"
            if node.table == "p":
                rows = ", ".join(map(_literal, self.left(ends)))
                names = "id, k, j, v, x, _op, _ord"
                return f"SELECT {', '.join([*items, '_op', '_ord'])} FROM (VALUES {rows}) AS p({names}) WHERE id >= 0"
            assert not arrival, "a changelog without a key has no arrival order"
            net = f"SELECT id, k, j, v, x FROM changes WHERE {taken} GROUP BY ALL HAVING sum(sign) > 0"
            return f"SELECT {', '.join(items)} FROM ({net})"

        sql = BatchRenderer(scan, watermark=watermark).sql(self.plan)
        found: Counter[rows.Row] = Counter()
        for batch in self.con.sql(sql).to_arrow_reader(65536):
            found.update(rows.rows_of(batch, self.plan.schema))
        return found

    def left(self, ends: dict[int, int]) -> list[generator.Row]:
        """The rows that the consumed records of table p leave (and one of key -1)."""
        there = {-1: generator.Row(-1, None, None, None, None, None, None)}
        for split, n in sorted(ends.items()):
            for op, row in self.records[split][:n]:
                if op == "d":
                    there.pop(row.id, None)
                else:
                    there[row.id] = row
        return list(there.values())


def _literal(row: generator.Row) -> str:
    """A row of table p as SQL, as an insert."""
    k = "CAST(NULL AS VARCHAR)" if row.k is None else f"'{row.k}'"
    j, v = ("CAST(NULL AS INTEGER)" if n is None else str(n) for n in (row.j, row.v))
    x = "CAST(NULL AS DOUBLE)" if row.x is None else f"CAST({row.x} AS DOUBLE)"
    return f"({row.id}, {k}, {j}, {v}, {x}, 0, {row.id})"


def plan_of(session: Session, sql: str) -> nodes.Node:
    (statement,) = parse_script(sql)
    assert isinstance(statement, st.Select)
    return session.environment.bind(statement.query)


def run(session: Session, plan: nodes.Node, check: Callable[[Job, rows.Fold, Progress], None]) -> None:
    """Runs the plan as a stream; `check` sees the job and what it has shown after every epoch."""
    fold = rows.Fold(plan.schema)
    graph = job_graph(session.environment, [Target(optimize(plan), plan.schema)])
    job = Job(
        graph,
        "query",
        replace(session.settings, interval=0),
        receive=fold.add,
        on_epoch=lambda progress: check(job, fold, progress),
    )
    job.run()


def consumed(job: Job) -> Consumed:
    """How many rows of each split the sources have given."""
    out: Consumed = {}
    for worker in job._workers:
        for scan in worker.scans.values():
            out.setdefault(scan.node.table, {}).update({s.split.number: s.rows for s in scan.splits})
    return out


def watermark_of(job: Job, table: str) -> int:
    """The watermark of one source; END where it is not read."""
    scans = [s for w in job._workers for s in w.scans.values() if s.node.table == table]
    return min((s.watermark()[0] for s in scans), default=END)


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
        data.write(directory)
        return Example(number, rng, data, text, directory)

    @property
    def setup(self) -> tuple[str, ...]:
        return tuple(self.data.setup(self.directory))

    @property
    def sizes(self) -> Consumed:
        parts = {"t": self.data.splits, "h": self.data.changes, "p": self.data.records}
        return {table: {i: len(s) for i, s in enumerate(splits)} for table, splits in parts.items()}

    def session(self, options: dict[str, str]) -> Session:
        return ways.Case(self.setup, "").session(self.directory, options)

    def oracle(self) -> Oracle:
        return Oracle.over(self.data, optimize(plan_of(self.session({}), self.text.oracle)))

    def explained(self, e: AssertionError) -> AssertionError:
        lines = [f"t, split {i}: {r.json()}" for i, s in enumerate(self.data.splits) for r in s]
        lines += [f"h, split {i}: {sign:+} {r.json()}" for i, s in enumerate(self.data.changes) for sign, r in s]
        lines += [f"p, split {i}: {op} {r.json()}" for i, s in enumerate(self.data.records) for op, r in s]
        shown = "\n".join(lines)
        where = f"example {self.number}, delay {self.data.delay} s"
        return AssertionError(said(f"{where}: {e}\n{self.text.stream}\n{shown}"))


@pytest.mark.share(2)
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
        watermark = watermark_of(job, "t")
        expected = oracle.answer(at, watermark)
        difference = rows.difference(fold.rows, expected, fold.schema)
        assert difference is None, (
            f"{options}, epoch {progress.epoch}, rows of each split {at}, watermark {watermark}: {difference}"
        )

    try:
        run(session, plan_of(session, example.text.stream), check)
    except AssertionError as e:
        raise example.explained(e) from None
    finally:
        oracle.con.close()
    assert epochs


@pytest.mark.share(2)
@pytest.mark.parametrize("number", range(EXAMPLES // 2))
def test_stopped_and_restored(number: int, tmp_path: Path) -> None:
    """The same kind of queries as jobs that are stopped after an epoch and restored at another parallelism."""
    example = Example.of(number, "restored", tmp_path)
    oracle = example.oracle()
    try:
        expected = oracle.answer(example.sizes, END)
        case = ways.Case(example.setup, example.text.stream, 12)
        answer = ways.restored(case, tmp_path, example.random)
        difference = rows.difference(answer.fold.rows, expected, answer.schema)
        assert difference is None, difference
    except AssertionError as e:
        raise example.explained(e) from None
    finally:
        oracle.con.close()
