"""Runs one operator as a job would: epochs in, rows out, checkpoints, restarts at another parallelism.

    left = source(schema(k=BIGINT, v=STRING))              # append-only; changelog=True, key=(0,), row_wm=True, …
    run = Run(SomeNode((left,), ...))
    run.epoch([(1, "a"), (2, "b")], watermark=10)          # rows of input 0; gives the rows that came out
    run.epoch([("+I", 1, "a"), ("-D", 2, "b")])            # a changelog input: row kind first
    run.rows                                               # the folded output, sorted
    run.restart(parallelism=3)                             # state goes through checkpoints, by key group

A row that has hidden columns ends with them, in the order of `traits.hidden` (without `_op`). Every batch that
leaves is checked against `node.arrow_schema()`, and no row may be retracted that is not there.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from sqlstream.batches import END, KIND_TEXT, NO_WATERMARK, OP, Delta, Time, meet, visible
from sqlstream.clock import PositionClock
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.distribution import Spread
from sqlstream.state.keys import KEY_GROUPS, key_groups
from sqlstream.state.table import Rows, StateSpec, StateTable
from sqlstream.types import Column, Schema, Type

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Input(PhysicalNode):
    """A leaf that tests feed."""

    output: Schema
    properties: Traits
    name = "Input"
    changes = "input"

    def __post_init__(self) -> None:
        self.derive(self.output, self.properties)

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return ()

    def spread(self) -> Spread | None:
        return None

    def details(self) -> str:
        return ""


def schema(**columns: Type | tuple[Type, str]) -> Schema:
    """`schema(k=BIGINT, t=(timestamp(3), ROWTIME))`."""
    return Schema(tuple(Column(n, *t) if isinstance(t, tuple) else Column(n, t) for n, t in columns.items()))


def source(
    columns: Schema,
    changelog: bool = False,
    key: tuple[int, ...] = (),
    row_wm: bool = False,
    arrival: bool = False,
) -> Input:
    return Input((), columns, Traits(not changelog, key, row_wm, arrival))


def batch(node: PhysicalNode, rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows as a batch of the columns of `node`; of a changelog each begins with its kind (+I, -U, +U, -D)."""
    want = node.arrow_schema()
    if not node.traits.append_only:
        at = len(node.schema)
        rows = [(*r[1 : at + 1], KIND_TEXT.index(r[0]), *r[at + 1 :]) for r in rows]
    columns = [pa.array([_plain(r[i], f.type) for r in rows], f.type) for i, f in enumerate(want)]
    return pa.RecordBatch.from_arrays(columns, schema=want)


def _plain(value: Any, t: pa.DataType) -> Any:
    return (
        pa.scalar(value, pa.int64()).cast(t).as_py() if isinstance(value, int) and pa.types.is_timestamp(t) else value
    )


def tuples(b: pa.RecordBatch) -> list[Row]:
    """Rows of a batch; timestamps as int µs, doubles that are NaN as the text 'NaN'."""
    columns = []
    for c in b.columns:
        if pa.types.is_timestamp(c.type):
            c = c.cast(pa.int64())
        columns.append([_hashable(v) for v in c.to_pylist()])
    return list(zip(*columns, strict=True)) if columns else [()] * b.num_rows


def _hashable(v: Any) -> Any:
    if isinstance(v, float) and v != v:
        return "NaN"
    if isinstance(v, list):
        return tuple(_hashable(x) for x in v)
    return tuple(sorted(v.items())) if isinstance(v, dict) else v


def ordered(rows: Any) -> list[Row]:
    """Sorted, also where there are NULLs or mixed types."""
    return sorted(
        rows, key=lambda r: tuple((v is None, str(type(v)), v) if v is not None else (True, "", 0) for v in r)
    )


@dataclass
class Task:
    operator: Operator
    tables: dict[str, StateTable]
    groups: range
    # What checkpoints wrote: for each state, tables that hold what is durable.
    durable: dict[str, StateTable] = field(default_factory=dict)


class Run:
    """`node`'s operator in `parallelism` tasks. `phases`: rows lie in any task, and what the node has sent of them (`sent`)
    comes to its tasks; None: they come by themselves."""

    def __init__(self, node: PhysicalNode, parallelism: int = 1, clock: Any = None, phases: str | None = None) -> None:
        self.node: PhysicalNode = pickle.loads(pickle.dumps(node))
        self.phases = phases
        self.clock = clock or PositionClock()
        self.late: list[Row] = []
        self.lost = 0
        self.folded: Counter[Row] = Counter()
        self.times = [Time() for _ in node.inputs]
        self.time = Time()
        self.tasks: list[Task] = []
        self._start(parallelism, [], [])

    @property
    def rows(self) -> list[Row]:
        return ordered(self.folded.elements())

    @property
    def state_rows(self) -> int:
        return sum(t.size for task in self.tasks for t in task.tables.values())

    def _start(
        self, parallelism: int, durable: list[dict[str, StateTable]], snapshots: list[tuple[range, Any]]
    ) -> None:
        self.tasks = []
        senders = [] if self.phases is None else [self.node.sent(i, self.phases) for i in range(len(self.node.inputs))]
        ways = [(i, s) for i, s in enumerate(senders) if s is not self.node.inputs[i]]
        self.locals = {i: [s.operator(self._context(t, parallelism)) for t in range(parallelism)] for i, s in ways}
        for i in range(parallelism):
            groups = range(i * KEY_GROUPS // parallelism, (i + 1) * KEY_GROUPS // parallelism)
            tables = {s.name: StateTable(s) for s in self.node.states()}
            for old in durable:
                for name, table in old.items():
                    slots = table.slots()
                    slots = slots[np.isin(table.key_groups(slots), np.arange(groups.start, groups.stop))]
                    if len(slots):
                        tables[name].load(Rows(len(slots), table.keys(slots), table.values(slots).columns))

            def state(spec: StateSpec, tables: dict[str, StateTable] = tables) -> StateTable:
                made = tables[spec.name].spec
                same = made == (spec if spec.ttl else spec.living(made.ttl))
                assert same, f"state {spec.name} is not as states() declares it"
                return tables[spec.name]

            restored = [s for g, s in snapshots if g.start < groups.stop and groups.start < g.stop]
            context = OperatorContext("n", i, parallelism, self.clock, state, self._late, restored, lost=self._lose)
            operator = self.node.operator(context)
            operator.open()
            self.tasks.append(
                Task(
                    operator,
                    tables,
                    groups,
                    {s.name: StateTable(replace(s, log=False, stays=False, ttl=0)) for s in self.node.states()},
                )
            )
            for name, table in tables.items():  # what was restored is durable
                slots = table.slots()
                if len(slots):
                    self.tasks[-1].durable[name].load(Rows(len(slots), table.keys(slots), table.values(slots).columns))

    def _lose(self, rows: int) -> None:
        self.lost += rows

    def _late(self, rows: pa.RecordBatch, marks: np.ndarray, side: int = 0) -> None:
        assert len(marks) == rows.num_rows
        self.late += tuples(visible(rows, len(self.node.inputs[side].schema)))

    def epoch(
        self,
        *inputs: Sequence[Row] | list[pa.RecordBatch],
        watermark: Any = None,
        proctime: int | None = None,
    ) -> list[Row]:
        """One epoch. `watermark`: of all inputs, or a list of one each; None: as before. Rows that came out, with
        their kinds if the output is a changelog, sorted."""
        node = self.node
        marks = watermark if isinstance(watermark, list) else [watermark] * len(self.times)
        for i, (mark, old) in enumerate(zip(marks, self.times, strict=True)):
            self.times[i] = Time(
                old.watermark if mark is None else mark, old.proctime if proctime is None else proctime, False
            )
        feeds: list[list[Delta]] = [[] for _ in self.tasks]
        for x, source_node in enumerate(node.inputs):
            given = inputs[x] if x < len(inputs) else []
            batches = [b if isinstance(b, pa.RecordBatch) else None for b in given]
            if not given or batches[0] is None:
                batches = [batch(source_node, given)] if given else []  # type: ignore[arg-type]
            for b in batches:
                assert b is not None and b.schema.equals(source_node.arrow_schema()), b
            if x in self.locals:
                batches = self._sent(x, batches)  # type: ignore[arg-type]
            keys = node.distribution()[x]
            for t, feed in zip(self.tasks, feeds, strict=True):
                mine = []
                for b in batches:
                    assert b is not None
                    if keys is None:
                        where = np.arange(b.num_rows) % len(self.tasks) == self.tasks.index(t)
                    else:
                        group = key_groups([b.column(f"c{k}") for k in keys], b.num_rows)
                        where = (group >= t.groups.start) & (group < t.groups.stop)
                    mine.append(b.filter(pa.array(where)))
                feed.append(Delta([b for b in mine if b.num_rows], self.times[x]))
        out: list[Row] = []
        times = []
        for t, feed in zip(self.tasks, feeds, strict=True):
            for table in t.tables.values():
                if (now := min(x.proctime for x in self.times)) != END:
                    table.begin(now)
            delta = t.operator.step(feed)
            times.append(delta.time)
            for b in delta.batches:
                assert b.schema.equals(node.arrow_schema()), f"\n{b.schema}\nis not\n{node.arrow_schema()}"
                b.validate(full=True)
                out += self._fold(b)
        for row, n in list(self.folded.items()):
            assert n >= 0, f"retracted but not there: {row}"
            if n == 0:
                del self.folded[row]
        self.time = meet(times)
        return ordered(out)

    def _sent(self, x: int, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        out = []
        for i, sender in enumerate(self.locals[x]):
            mine = [b.filter(pa.array(np.arange(b.num_rows) % len(self.tasks) == i)) for b in batches]
            out += sender.step([Delta(mine, self.times[x])]).batches
        return out

    def _context(self, i: int, parallelism: int) -> OperatorContext:
        def none(spec: StateSpec) -> StateTable:
            raise AssertionError(f"state {spec.name} on the way")

        return OperatorContext("n", i, parallelism, self.clock, none, self._late)

    def _fold(self, b: pa.RecordBatch) -> list[Row]:
        width = len(self.node.schema)
        rows = tuples(b.select(range(width)))
        if OP not in b.schema.names:
            self.folded.update(rows)
            return rows
        ops = b.column(b.schema.get_field_index(OP)).to_pylist()
        for r, op in zip(rows, ops, strict=True):
            self.folded[r] += 1 if op in (0, 2) else -1
        return [(KIND_TEXT[op], *r) for r, op in zip(rows, ops, strict=True)]

    def end(self) -> list[Row]:
        """The end of input: time is +infinity."""
        return self.epoch(watermark=END, proctime=END)

    def checkpoint(self) -> None:
        """Writes what changed, as deltas, over what earlier checkpoints wrote."""
        for t in self.tasks:
            for name, table in t.tables.items():
                changes, durable = table.changes(), t.durable[name]
                for gone in changes.deleted:
                    slots = durable.find(gone.keys, len(gone))
                    durable.delete(slots[slots >= 0])
                for rows in changes.upserts:
                    if len(rows):
                        durable.load(rows)

    def restart(self, parallelism: int | None = None) -> None:
        """Checkpoint, crash, and start from what was checkpointed."""
        self.checkpoint()
        old = [(t.groups, json.loads(json.dumps(t.operator.snapshot()))) for t in self.tasks]
        self.close()
        self._start(parallelism or len(self.tasks), [t.durable for t in self.tasks], old)

    def close(self) -> None:
        for t in self.tasks:
            t.operator.close()


_duckdb: list[duckdb.DuckDBPyConnection] = []


def query(sql: str, **tables: tuple[Schema, Sequence[Row]]) -> list[Row]:
    """What DuckDB says: `query("SELECT * FROM l", l=(schema, rows))`; columns go by the schema's names."""
    if not _duckdb:
        _duckdb.append(duckdb.connect(config={"threads": 1}))
        _duckdb[0].execute("SET TimeZone = 'UTC'")
    for name, (columns, rows) in tables.items():
        b = batch(source(columns), list(rows))
        _duckdb[0].register(name, b.rename_columns(list(columns.names)))
    table = _duckdb[0].sql(sql).to_arrow_table()
    return ordered(r for b in table.to_batches() for r in tuples(b))


__all__ = ["END", "NO_WATERMARK", "Input", "Run", "batch", "ordered", "query", "schema", "source", "tuples"]
