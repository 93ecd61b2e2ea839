"""A generated query over a generated input, run as a stream beside the oracle: the batch renderer's SQL over the rows that the
job's sources stand behind, at the epoch's watermark. `failure` is what a run of an example has of wrong."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from harness import generator, rows, ways
from harness.seed import random_of
from sqlstream import duck
from sqlstream.batches import END
from sqlstream.operators.target import Target
from sqlstream.optimize import FORMER_RULES, optimize
from sqlstream.pipeline import job_graph
from sqlstream.plan import nodes
from sqlstream.rendering.relations import BatchRenderer
from sqlstream.runtime.job import Job
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script

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
        if changes:
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
    """A generated query over a generated input. `kind`: how it is run, one of KINDS. `choice`: the seed of what is left to
    choose there, so that a smaller one runs as it did."""

    kind: str
    number: int
    choice: int
    data: generator.Data
    text: generator.Text

    @staticmethod
    def of(kind: str, number: int) -> Example:
        rng = random_of(kind, number)
        data = generator.data(rng)
        text = generator.Queries(rng).query(rng.choice([0, 0, 1, 1, 2]))
        return Example(kind, number, rng.randrange(1, 2**31), data, text)

    def setup(self, directory: Path) -> list[str]:
        return self.data.setup(directory)

    def failure(self, directory: Path) -> Exception | None:
        """What is wrong of a run in `directory`, which must be empty: an AssertionError, or what the engine raised."""
        self.data.write(directory)
        session = ways.Case(self.setup(directory), "").session(directory, {})
        # Without the rules that rewrite joins and groups: what those make is compared with what was written.
        oracle = Oracle.over(self.data, optimize(plan_of(session, self.text.oracle), rules=FORMER_RULES))
        try:
            KINDS[self.kind](self, oracle, directory)
        except Exception as e:
            return e
        finally:
            oracle.con.close()
        return None

    @property
    def sizes(self) -> Consumed:
        parts = {"t": self.data.splits, "h": self.data.changes, "p": self.data.records}
        return {table: {i: len(s) for i, s in enumerate(splits)} for table, splits in parts.items()}

    def script(self) -> str:
        """The query with the statements and the files that it needs."""
        needed, wanted = [], self.text.stream
        for statement in reversed(self.setup(Path("."))):
            if re.search(rf"\b{statement.split()[2]}\b", wanted):
                needed.append(statement)
                wanted += statement
        tables = {s.split()[2] for s in needed if s.startswith("CREATE TABLE")}
        files = [f"-- {name}\n{text}" for name, text in self.data.files() if name.split("/")[0] in tables]
        return "\n".join([*files, *(f"{s};" for s in reversed(needed)), f"{self.text.stream};"])


def every_epoch(example: Example, oracle: Oracle, directory: Path) -> None:
    """After each epoch, what was shown is the oracle's answer."""
    rng = random.Random(example.choice)
    options = {
        "execution.runtime-mode": "streaming",
        "parallelism.default": str(rng.choice([1, 1, 3])),
        "execution.epoch.max-rows": str(rng.choice([1, 4, 12])),
        "execution.epoch.random-seed": str(rng.randrange(1, 2**31)),
        "table.optimizer.multi-join.enabled": rng.choice(["true", "false"]),
        "table.optimizer.join-reorder-enabled": rng.choice(["true", "false"]),
        "table.optimizer.agg-phase-strategy": rng.choice(["ONE_PHASE", "TWO_PHASE"]),
        "table.optimizer.distinct-agg.split.enabled": rng.choice(["true", "false"]),
        "table.optimizer.distinct-agg.split.bucket-num": rng.choice(["1", "3"]),
    }
    session = ways.Case(example.setup(directory), "").session(directory, options)
    epochs = 0

    def check(job: Job, fold: rows.Fold, progress: Progress) -> None:
        nonlocal epochs
        epochs += 1
        at = consumed(job)
        watermark = watermark_of(job, "t")
        difference = rows.difference(fold.rows, oracle.answer(at, watermark), fold.schema)
        assert difference is None, (
            f"{options}, epoch {progress.epoch}, rows of each split {at}, watermark {watermark}: {difference}"
        )

    run(session, plan_of(session, example.text.stream), check)
    assert epochs


def stopped_and_restored(example: Example, oracle: Oracle, directory: Path) -> None:
    """As a job that is stopped after an epoch and restored at another parallelism, in the end."""
    case = ways.Case(example.setup(directory), example.text.stream, 12)
    answer = ways.restored(case, directory, random.Random(example.choice))
    difference = rows.difference(answer.fold.rows, oracle.answer(example.sizes, END), answer.schema)
    assert difference is None, difference


KINDS: dict[str, Callable[[Example, Oracle, Path], None]] = {"epochs": every_epoch, "restored": stopped_and_restored}
