"""ProcessTableFunction: a user's Python class over rows by key, with state and timers.

In: append-only rows, or changes for a class that declares SUPPORT_UPDATES: an epoch's net ones, in the order that
`changelog.py` gives them. State: what the class declares, its timers, and with `on_time` rows that wait. Out: append-only
rows, what the class yields for a row or a timer.

With `on_time` rows come to the class in the order of the watermarks that they carry (and of arrival where these are
equal), whatever split they are of, and before a row come the timers that fire by its watermark: as if all splits were
read in that order (docs/decisions/018 and 033). So a row waits until time here is past the watermark that it carries;
one that moved the watermark of the slowest split does not wait at all. An edge whose rows carry no watermark has none
that is late: such a row goes by a watermark right before its own time. Without `on_time` rows come as they arrive.

Processing-time timers fire at the beginning of an epoch, before its rows. Those that are left when input ends do not
fire, as in Flink; event-time timers all do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import END, NO_WATERMARK, OP, ORD, WM, Delta, Kind, concat, hidden, meet, visible
from sqlstream.errors import BindError, DataError, InternalError, NotSupported
from sqlstream.keyed_state.states import KeyedStates
from sqlstream.keyed_state.timers import EVENT, PROCESSING, Timers, TimerService, TimerTable, timers_spec
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.changelog import paired, repeated
from sqlstream.operators.distribution import Spread, places_in
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.operators.row_store import Layout, RowStore, distinct, net
from sqlstream.operators.user_calls import UserCalls
from sqlstream.plan import nodes
from sqlstream.plan.nodes import TUNING
from sqlstream.process_functions.function import ArgumentTrait, row_class
from sqlstream.process_functions.signature import Signature, resolve
from sqlstream.python_values import moment, python_values
from sqlstream.state.arrays import Array
from sqlstream.state.spec import StateSpec
from sqlstream.state.time_index import TimeIndex
from sqlstream.types import Schema

# Names that no state of a user's can have: theirs are words.
HELD, TIMERS = "held-rows", "timers-"
MOST_AT_THE_END = 10_000  # timers of a key that timers register one after the other once input has ended


@dataclass(frozen=True)
class ProcessTableFunction(PhysicalNode):
    """`call` is the logical node, without what is below it: its fields, and its schema as `output`."""

    path: str
    names: tuple[str, ...]
    arguments: tuple[tuple[str, Any], ...]
    results: tuple[tuple[str, Any], ...]
    partition: tuple[int, ...] | None
    on_time: int | None
    through: bool
    kept: tuple[int, ...]
    output: Schema
    text: str
    ttl: int = field(default=0, kw_only=True, metadata=TUNING)

    name = "ProcessTableFunction"
    changes = ""

    def __post_init__(self) -> None:
        if not self.inputs[0].traits.append_only and self.on_time is not None:
            raise InternalError("ProcessTableFunction: rows that change have no time")
        self.derive(self.output, Traits(row_wm=self.on_time is not None))

    def identity(self) -> tuple[Any, ...]:
        return (
            self.path,
            self.names,
            self.arguments,
            self.results,
            self.partition,
            self.on_time,
            self.through,
            self.by,
        )

    def waits(self) -> bool:
        return self.on_time is not None

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.partition,)

    def spread(self) -> Spread | None:
        below = self.placed(0)
        return None if below is None else below.moved(places_in(self.kept))

    def details(self) -> str:
        return self.text

    def signature(self) -> Signature:
        """What its class declares: of its module as it is now."""
        return resolve(self.path)

    def states(self) -> tuple[StateSpec, ...]:
        if self.partition is None:
            return ()
        declared = self.signature()
        specs = [d.spec(self.key(), self.ttl) for _, d in declared.states]
        if declared.timers:
            specs.append(timers_spec(TIMERS, self.key()))
        if self.on_time is not None:
            specs.append(self.held().spec())
        return tuple(specs)

    def lifetimes(self) -> tuple[tuple[str, int], ...]:
        return tuple((d.name, d.lifetime(self.ttl)) for _, d in self.signature().states)

    def key(self) -> pa.Schema:
        """The columns by which its states are kept."""
        columns = self.inputs[0].schema.arrow()
        return pa.schema([columns.field(c) for c in self.partition or ()])

    def held(self) -> Layout:
        """Rows that wait, with what they are ordered by."""
        arrival = [(ORD, pa.int64())] if self.inputs[0].traits.arrival else []
        return Layout.of(HELD, self.inputs[0], self.partition or (), ((WM, pa.int64()), *arrival))

    def operator(self, context: OperatorContext) -> Operator:
        return ProcessTableFunctionOperator(self, context)


@lower.register(nodes.ProcessTableFunction)
def _process_table_function(node: nodes.ProcessTableFunction, job: Lowering) -> PhysicalNode:
    below = job.lower(node.input)
    if not below.traits.append_only:
        if ArgumentTrait.SUPPORT_UPDATES not in resolve(node.path).traits:
            raise NotSupported(
                f"{node.function} takes rows that never change, and those of its table can",
                hint="call it below what makes rows change (GROUP BY, top-N, outer JOIN), group over a window, "
                "or declare ArgumentTrait.SUPPORT_UPDATES and look at ctx.row_kind()",
            )
        if node.on_time is not None:
            raise NotSupported(
                f"{node.function}: on_time of rows that change is not supported",
                hint="leave on_time out, or call it below what makes rows change",
            )
    if node.uid is not None and job.uids.setdefault(node.uid, node) != node:
        raise BindError(
            f"two process table functions have uid '{node.uid}': {job.uids[node.uid].details()}; {node.details()}",
            hint="a uid names one call of a job",
        )
    return ProcessTableFunction(
        (below,), node.path, node.names, node.arguments, node.results, node.partition, node.on_time, node.through,
        node.kept, node.schema, node.details(),
        ttl=job.ttl(None),
    )  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """An epoch's rows in the order in which they come: visible columns, the watermark of each, and what it does."""

    batch: pa.RecordBatch
    marks: Array
    kinds: list[Kind] | None = None  # None: all are inserts


class ProcessTableFunctionOperator(Operator):
    """The running half: an epoch's rows and timers one by one through the class, between bulk reads and writes."""

    def __init__(self, node: ProcessTableFunction, context: OperatorContext) -> None:
        super().__init__(context)
        self._node, self._schema = node, node.arrow_schema()
        below = node.inputs[0]
        self._input, self._width = below.schema, len(below.schema)
        columns = below.schema.arrow()
        self._empty = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in columns], schema=columns)
        self._row = row_class(node.names)
        self._declared = node.signature()
        self._utc = None if node.on_time is None else below.schema[node.on_time].type.kind == "TIMESTAMP_LTZ"
        self._waiting = TimeIndex()
        self._held: RowStore | None = None
        self._timers: TimerTable | None = None
        self._service: TimerService | None = None
        self._again: Counter[int] = Counter()  # timers at the end of input, by key

    def open(self) -> None:
        node, declared, state = self._node, self._declared, self.context.state
        self._states = KeyedStates((d for _, d in declared.states), node.key(), state, node.ttl)
        if declared.timers:
            self._timers = TimerTable(state(timers_spec(TIMERS, node.key())))
            unit = 1 if node.on_time is None else 10 ** (6 - (self._input[node.on_time].type.precision or 0))
            self._service = TimerService(self._timers, self._states.key, self._utc, unit)
        if node.on_time is not None and node.partition is not None:
            self._held = RowStore(node.held(), state(node.held().spec()))
            slots = self._held.table.slots()
            self._waiting.add(self._held.table.fixed(WM).data[slots], slots)
        self._calls = UserCalls(declared, dict(node.arguments), self._states, self._service)

    def close(self) -> None:
        self._calls.close()

    def step(self, inputs: list[Delta]) -> Delta:
        time = meet([d.time for d in inputs])
        out = Delta(time=time)
        upto = time.watermark if self._node.on_time is not None else NO_WATERMARK
        rows = self._rows(concat(inputs[0].batches), upto)
        now = self.context.clock.now() if time.proctime in (END, NO_WATERMARK) else time.proctime
        fired = self._taken(EVENT, upto)
        clocked = self._taken(PROCESSING, now)
        n = rows.batch.num_rows
        if not (n or len(fired) or len(clocked)):
            self._states.begin([], 0)
            return out
        keys = [
            pa.concat_arrays([rows.batch.column(c), fired.keys[i], clocked.keys[i]])
            for i, c in enumerate(self._node.partition or ())
        ]
        numbers, first = distinct(keys, n + len(fired) + len(clocked))
        keys = [k.filter(pa.array(first)) for k in keys]
        self._states.begin(keys, int(np.count_nonzero(first)))
        self._calls.begin(list(zip(*self._python(keys, self._node.partition or ()), strict=True)) or [()])
        if self._service is not None:
            self._service.clock = now
            self._service.begin(fired, numbers[n : n + len(fired)], upto)
        self._fire(clocked, numbers[n + len(fired) :])
        self._evaluate(rows, numbers[:n].tolist())
        self._fire_due(upto, last=True)
        self._states.flush()
        if self._service is not None:
            self._service.flush()
        made = self._made(rows)
        if made is not None:
            out.batches.append(made)
            self._calls.clear()
        return out

    # ---- which rows

    def _rows(self, batch: pa.RecordBatch | None, upto: int) -> Rows:
        """Those whose turn has come: of the batch, and of those that waited."""
        if batch is not None and not self._node.inputs[0].traits.append_only:
            return self._changes(batch)
        arrival = None if batch is None else hidden(batch, ORD)
        if batch is None:
            rows, marks = self._empty, np.empty(0, np.int64)
        else:
            rows, marks = visible(batch, self._width), self._marks(batch)
        if self._held is not None:
            ahead = marks >= upto  # a row that is before it may still come from the slowest split
            due = self._waiting.take(max(upto - 1, NO_WATERMARK))
            if ahead.any():
                self._hold(rows.filter(pa.array(ahead)), marks[ahead], None if arrival is None else arrival[ahead])
                rows, marks = rows.filter(pa.array(~ahead)), marks[~ahead]
                arrival = None if arrival is None else arrival[~ahead]
            if len(due):
                table = self._held.table
                rows = pa.concat_batches([self._held.rows(due), rows])
                marks = np.concatenate([table.fixed(WM).data[due], marks])
                if self._node.inputs[0].traits.arrival:
                    arrived = np.empty(0, np.int64) if arrival is None else arrival
                    arrival = np.concatenate([table.fixed(ORD).data[due], arrived])
                self._held.delete(due)
        order = np.lexsort((marks,) if arrival is None else (arrival, marks))
        if (order == np.arange(len(order))).all():
            return Rows(rows, marks)
        return Rows(rows.take(pa.array(order)), marks[order])

    def _changes(self, batch: pa.RecordBatch) -> Rows:
        """The net changes of rows that may change."""
        below = self._node.inputs[0].traits
        if not below.paired:
            batch = paired(*repeated(*net(batch, self._width)), below.key, below.single)
        ops = hidden(batch, OP)
        assert ops is not None
        return Rows(visible(batch, self._width), self._marks(batch), [Kind(k) for k in ops.tolist()])

    def _marks(self, batch: pa.RecordBatch) -> Array:
        """The watermark that each row goes by."""
        if self._node.on_time is None:
            return np.full(batch.num_rows, NO_WATERMARK)
        marks = hidden(batch, WM)
        if marks is not None:
            return marks
        times = batch.column(self._node.on_time).cast(pa.int64())
        return np.asarray(times.fill_null(NO_WATERMARK + 1).to_numpy() - 1)

    def _hold(self, rows: pa.RecordBatch, marks: Array, arrival: Array | None) -> None:
        assert self._held is not None
        extras = [pa.array(x) for x in (marks, arrival) if x is not None]
        self._waiting.add(marks, self._held.add(rows, None, extras))

    def _taken(self, domain: int, upto: int) -> Timers:
        if self._timers is None:
            none = np.empty(0, np.int64)
            keys = [pa.array([], f.type) for f in self._node.key()]
            return Timers(keys, none, pa.array([], pa.string()), none, none, none)
        return self._timers.take(domain, upto)

    def _python(self, columns: list[pa.Array], which: tuple[int, ...] | range) -> list[list[Any]]:
        return [python_values(c, self._input[i].type) for c, i in zip(columns, which, strict=True)]

    # ---- the calls

    def _evaluate(self, rows: Rows, keys: list[int]) -> None:
        node, calls = self._node, self._calls
        n = rows.batch.num_rows
        columns = self._python(rows.batch.columns, range(self._width))
        made = map(self._row, zip(*columns, strict=True))
        times: list[Any] = [None] * n
        micros: list[int | None] = [None] * n
        if node.on_time is not None:
            times = columns[node.on_time]
            micros = rows.batch.column(node.on_time).cast(pa.int64()).to_pylist()
        for i, (row, key, mark) in enumerate(zip(made, keys, rows.marks.tolist(), strict=True)):
            self._fire_due(mark)
            if self._service is not None:
                self._service.watermark = mark
            calls.at(key, times[i], micros[i], mark)
            calls.evaluate(row, i, Kind.INSERT if rows.kinds is None else rows.kinds[i])

    def _fire(self, timers: Timers, keys: Array) -> None:
        """Timers of processing time."""
        names = timers.names.to_pylist()
        for key, time, name in zip(keys.tolist(), timers.times.tolist(), names, strict=True):
            self._calls.at(key, moment(time, True), None, NO_WATERMARK)
            self._calls.on_timer(name)

    def _fire_due(self, mark: int, last: bool = False) -> None:
        """Timers of event time that fire by a watermark; `last`: the epoch's."""
        if self._service is None:
            return
        before = self._service.registered
        for firing in self._service.due(mark):
            self._service.watermark = firing.due
            if last and mark == END and firing.order > before:
                self._not_for_ever(firing.key)
            # A row of its time is not late: the watermark before it is the last that has not fired it.
            self._calls.at(firing.key, moment(firing.time, bool(self._utc)), firing.time, firing.due - 1)
            self._calls.on_timer(firing.name)

    def _not_for_ever(self, key: int) -> None:
        """Of a timer that a timer registered when input had ended."""
        self._again[key] += 1
        if self._again[key] > MOST_AT_THE_END:
            raise DataError(
                f"process table function {self._node.path}: input has ended, and on_timer registers a timer each time "
                f"that one fires ({MOST_AT_THE_END:,} times for one key)",
                hint="register the next timer only when rows have come since the last one",
            )

    # ---- what comes of it

    def _made(self, rows: Rows) -> pa.RecordBatch | None:
        calls, node = self._calls, self._node
        if not calls.rows:
            return None
        results = calls.results()
        if node.through:
            index = pa.array(calls.sources)
            kept = [rows.batch.column(c).take(index) for c in node.kept]
        else:
            kept = self._states.key.take(calls.keys)
        columns = [*kept, *results]
        if node.on_time is not None:
            columns.append(pa.array(calls.micros, pa.int64()).cast(self._schema.field(len(columns)).type))
            columns.append(pa.array(calls.marks, pa.int64()))
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)
