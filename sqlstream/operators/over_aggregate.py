"""OverAggregate: OVER calls over append-only rows in time order, with frames that end at the current row.

Rows wait until time passes theirs, then they come out in time order with their results, once and for all. DuckDB
computes each epoch's rows in one statement. State:

    rows      rows that wait; and rows that later frames still reach: the last n of a partition (ROWS n PRECEDING,
              LAG n), those not older than the frame (RANGE), or all (unbounded frames of calls with DISTINCT,
              LISTAGG, and VAR or STDDEV of doubles, which nothing shorter than their rows stands for)
    running   for calls from UNBOUNDED PRECEDING on: a row a partition with what they have come to, which takes part
              in the statement as one more row before the others

Frames by RANGE take in rows of equal time; ROWS and ROW_NUMBER order rows of equal time by arrival, if known, else
by their content. Late: a row that is not after the watermark it carries. Rows without a time are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.batch.render import frame_sql, sort_sql
from sqlstream.batches import END, ORD, Delta, concat, meet
from sqlstream.errors import InternalError
from sqlstream.functions.aggregates import AGGREGATES, Sql
from sqlstream.functions.render import literal
from sqlstream.operators.accumulators import Array, Uniques
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.evaluate import Evaluator
from sqlstream.operators.row_store import TimeIndex
from sqlstream.operators.window_aggregate import WindowNode, WindowOperator
from sqlstream.plan.nodes import OverCall, SortKey, order_text
from sqlstream.state.arrays import fixed, validity
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.table import StateSpec
from sqlstream.types import Schema, Type

RANKINGS = ("ROW_NUMBER", "RANK", "DENSE_RANK")
# What a row is in the statement: what the partition came to before, a row that came out before, a row that is due.
CARRY, BEFORE, DUE = 0, 1, 2


class Whole(Exception):
    """Nothing shorter than the rows stands for the call."""


@dataclass(frozen=True)
class Partial:
    """A running value of a partition: its column in DuckDB and in the state."""

    name: str
    type: pa.DataType
    sql: str  # over the window A
    stored: str  # what goes to the state, from `name`


@dataclass(frozen=True)
class Recorder(Sql):
    """Writes a call over running values instead of rows; collects those in `partials`."""

    partials: list[Partial] = field(default_factory=list)

    def agg(
        self,
        function: str,
        args: str,
        *,
        distinct: bool | None = None,
        order: str | None = None,
        where: str | None = None,
    ) -> str:
        if (self.distinct if distinct is None else distinct) or order is not None or where is not None:
            raise Whole
        t = self.types[0] if self.types else None
        wide = function == "sum" and t is not None and (t.is_integer or t.is_interval)
        if function == "count":
            arrow, x, how = pa.int64(), "1" if args == "*" else f"CASE WHEN {args} IS NULL THEN 0 ELSE 1 END", "sum"
        elif function == "sum" or function == "fsum":
            assert t is not None
            decimal = t.kind == "DECIMAL"
            arrow = pa.float64() if not (wide or decimal) else pa.decimal128(38, (t.scale or 0) if decimal else 0)
            x, how = (f"CAST({args} AS DECIMAL(38, 0))" if wide else args), function
        elif function in ("min", "max", "arg_min", "arg_max"):
            assert t is not None
            arrow, x, how = t.arrow(), args.split(",")[0], function
        else:
            raise Whole
        name = f"_p{len(self.partials)}"
        value = f"CASE WHEN _s = {CARRY} THEN {name} ELSE {x} END"
        if how.startswith("arg_"):
            value += f", CASE WHEN _s = {CARRY} THEN 0 ELSE _i END"
        sql = f"{how}({value}) {self.over}"
        stored = f"{name}_now"
        if function == "count":
            sql = f"CAST({sql} AS BIGINT)"
        elif wide:
            sql, stored = f"CAST({sql} AS HUGEINT)", f"CAST({name}_now AS DECIMAL(38, 0))"
        self.partials.append(Partial(name, arrow, sql, stored))
        return f"{name}_now"


@dataclass(frozen=True)
class OverAggregate(WindowNode):
    """Input columns, then one column a call. order: the time column, ascending, first."""

    partition: tuple[int, ...]
    order: tuple[SortKey, ...]
    calls: tuple[OverCall, ...]
    domain: str
    output: Schema
    name = "OverAggregate"

    def __post_init__(self) -> None:
        traits = self.inputs[0].traits
        if not traits.append_only or not self.order or not self.order[0].ascending:
            raise InternalError("OverAggregate: needs append-only input in ascending order of time")
        for c in self.calls:
            if c.frame is not None and c.frame.following != 0:
                raise InternalError("OverAggregate: a frame ends after the current row")
            if c.frame is None and c.function not in (*RANKINGS, "LAG"):
                raise InternalError(f"OverAggregate: {c.function} without a frame")
        self.derive(self.output, Traits(key=traits.key))

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.partition,)

    def details(self) -> str:
        s = self.inputs[0].schema
        return (
            f"partition=[{', '.join(s[p].name for p in self.partition)}], order=[{order_text(s, self.order)}], "
            f"calls=[{', '.join(c.function for c in self.calls)}]"
        )

    def statement(self) -> Statement:
        return Statement(self)

    def states(self) -> tuple[StateSpec, ...]:
        columns = self.inputs[0].schema.arrow()
        keys = [(f"k{p}", columns.field(p).type) for p in self.partition]
        kept = [*columns, *([pa.field(ORD, pa.int64())] if self.inputs[0].traits.arrival else [])]
        rows = StateSpec(
            "rows",
            pa.schema([*keys, ("id", pa.int64())]),
            pa.schema([*kept, pa.field("done", pa.bool_())]),
            len(self.partition),
        )
        partials = self.statement().partials
        if not partials:
            return (rows,)
        return (rows, StateSpec("running", pa.schema(keys), pa.schema([(p.name, p.type) for p in partials])))

    def operator(self, context: OperatorContext) -> Operator:
        return OverOperator(context, self)


class Statement:
    """The DuckDB statement, what it carries from epoch to epoch, and how far back its frames reach."""

    def __init__(self, node: OverAggregate) -> None:
        self._schema = node.inputs[0].schema
        self.partials: list[Partial] = []
        self.reach_rows, self.reach_time, self.reach_all = 0, -1, False
        width = len(self._schema)
        by = [f"c{p}" for p in node.partition]
        self._sort = sort_sql(node.order)
        tie = ORD if node.inputs[0].traits.arrival else ", ".join(f"c{i}" for i in range(width))
        # A: what was carried, then the rows that are due. B: rows that came out before, then those due.
        self._a = f"PARTITION BY {', '.join([*by, f'_s = {BEFORE}'])} ORDER BY least(_s, {BEFORE})"
        self._b = f"PARTITION BY {', '.join([*by, f'_s = {CARRY}'])} ORDER BY"
        self._timed = self._schema[node.order[0].column].type.is_timestamp
        if any(c.function in RANKINGS for c in node.calls):
            self._count_ranks()
        inner: list[str] = []
        results = [self._call(c, inner, f"_r{i}") for i, c in enumerate(node.calls)]
        inner += [f"{p.sql} AS {p.name}_now" for p in self.partials]
        back = f"row_number() OVER (PARTITION BY {', '.join([*by, f'_s = {CARRY}'])} ORDER BY _i DESC) AS _back"
        columns = ", ".join(f"c{i}" for i in range(width))
        hidden = f", {ORD}" if node.inputs[0].traits.arrival else ""
        select = [f"{r} AS c{width + i}" for i, r in enumerate(results)]
        select += [f"{p.stored} AS {p.name}" for p in self.partials]
        self.sql = (
            f"SELECT {', '.join([columns + hidden, '_s, _slot, _back', *select])} FROM ("
            f"SELECT {', '.join([columns + hidden, '_s, _slot, _i', back, *inner])} FROM ("
            f"SELECT *, row_number() OVER (ORDER BY {self._sort}, {tie}) AS _i FROM input)) "
            f"WHERE _s <> {CARRY} ORDER BY _i"
        )

    @property
    def keeps(self) -> bool:
        """Whether rows are kept after they came out."""
        return self.reach_all or self.reach_rows > 0 or self.reach_time >= 0

    @property
    def expires(self) -> bool:
        """Whether time alone says which rows are kept."""
        return self.reach_time >= 0 and not self.reach_all and not self.reach_rows

    def _count_ranks(self) -> None:
        """How many rows, and how many distinct orders, a partition has had."""
        for name, function in (("_n", "row_number"), ("_d", "dense_rank")):
            order = f"{self._a}, _i" if name == "_n" else f"{self._a}, {self._sort}"
            sql = f"coalesce(first_value({name}) OVER ({self._a}), 0) + {function}() OVER ({order}) - 1"
            self.partials.append(Partial(name, pa.int64(), f"CAST({sql} AS BIGINT)", f"{name}_now"))

    def _call(self, call: OverCall, inner: list[str], name: str) -> str:
        """The call's result over the columns of the inner query."""
        if call.function in RANKINGS:
            if call.function == "ROW_NUMBER":
                return _cast("_n_now", call.column.type)
            if call.function == "DENSE_RANK":
                return _cast("_d_now", call.column.type)
            rank = f"rank() OVER ({self._a}, {self._sort}) - 1"
            inner.append(f"coalesce(first_value(_n) OVER ({self._a}), 0) + {rank} AS {name}")
            return _cast(name, call.column.type)
        if call.function == "LAG":
            offset, default = call.constants
            self.reach_rows = max(self.reach_rows, int(offset))
            more = "" if default is None else f", {literal(default, call.column.type)}"
            inner.append(f"lag(c{call.args[0]}, {offset}{more}) OVER ({self._b} _i) AS {name}")
            return _cast(name, call.column.type)
        frame = call.frame
        assert frame is not None
        known = AGGREGATES[call.function]
        args, types = tuple(f"c{a}" for a in call.args), tuple(self._schema[a].type for a in call.args)
        if frame.preceding is None:
            order = "_i" if frame.unit == "ROWS" else self._sort
            unit = f"{frame.unit} BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
            over = f"OVER ({self._a}, {order} {unit})"
            found = list(self.partials)
            try:
                sql = known.sql(Recorder(args, types, call.column.type, call.distinct, None, "_i", over, found))
                self.partials[:] = found
                return sql
            except Whole:
                self.reach_all = True
        elif frame.unit == "ROWS":
            self.reach_rows = max(self.reach_rows, frame.preceding)
        else:
            self.reach_time = max(self.reach_time, frame.preceding)
        order = "_i" if frame.unit == "ROWS" else self._sort
        over = f"OVER ({self._b} {order} {frame_sql(frame, self._timed)})"
        inner.append(
            f"{known.duckdb(args, types, distinct=call.distinct, order='_i', over=over, result=call.column.type)} AS {name}"
        )
        return name


def _cast(sql: str, t: Type) -> str:
    return f"CAST({sql} AS {t.duckdb()})"


class OverOperator(WindowOperator):
    def __init__(self, context: OperatorContext, node: OverAggregate) -> None:
        super().__init__(context, node, len(node.inputs[0].schema))
        self.node = node
        self._time = node.order[0].column
        self._statement = node.statement()
        self._evaluator = Evaluator.of(self._statement.sql, context.time_zone)
        self._next = max((int(s["rows"]) for s in context.restored), default=0)
        self._waiting, self._old = TimeIndex(), TimeIndex()
        self._uniques = Uniques()
        schema = node.inputs[0].schema
        # Partitions that have rows that came out before, and those rows.
        self._partitions = HashIndex([schema[p].type.arrow() for p in node.partition])
        self._chains = MultiMap()
        arrival = node.inputs[0].traits.arrival
        self._asked = pa.schema(
            [
                *schema.arrow(),
                *([pa.field(ORD, pa.int64())] if arrival else []),
                pa.field("_s", pa.int8()),
                pa.field("_slot", pa.int64()),
                *(pa.field(p.name, p.type) for p in self._statement.partials),
            ]
        )
        self._kept = self._width + arrival  # columns of a row in the state, and first in `_asked`

    def open(self) -> None:
        specs = self.node.states()
        self._table = self.context.state(specs[0])
        self._running = self.context.state(specs[1]) if len(specs) > 1 else None
        slots = self._table.slots()
        if not len(slots):
            return
        done = self._table.fixed("done").data[slots]
        self._waiting.add(self._times(slots[~done]), slots[~done])
        self._remember(slots[done])

    def snapshot(self) -> dict[str, Any]:
        return super().snapshot() | {"rows": self._next}

    def close(self) -> None:
        self._evaluator.close()

    def step(self, inputs: list[Delta]) -> Delta:
        out = Delta(time=meet([d.time for d in inputs]))
        upto = out.time.of(self.node.domain)
        # A row that carries no watermark may have the time's own: it waits until time is past it.
        upto = max(upto if self._judges or upto == END else max(upto, -END) - 1, self._closed)
        batch = concat(inputs[0].batches)
        due: list[pa.RecordBatch] = []
        if batch is not None:
            column = batch.column(self._time)
            none = ~validity(column) if column.null_count else None
            late = fixed(column) <= self.bounds(batch)
            batch = self.without(batch, late if none is None else late & ~none, none)
            if batch.num_rows:
                now = fixed(batch.column(self._time)) <= upto
                self._wait(batch.filter(pa.array(~now)))
                if now.any():
                    rows = batch.filter(pa.array(now))
                    due.append(self._given(self._columns(rows), DUE, np.full(rows.num_rows, -1)))
        if upto > self._closed:
            self._closed = upto
            slots = self._waiting.take(upto)
            if len(slots):
                due.append(self._given(self._stored(slots), DUE, slots))
        if due:
            rows = self._evaluate(due)
            if rows.num_rows:
                out.batches.append(rows)
        self._expire()
        return out

    # --- rows in the state -------------------------------------------------------------------------------

    def _columns(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """What is kept of input rows: the visible columns, and the arrival."""
        columns = [batch.column(i) for i in range(self._width)]
        return columns if self._kept == self._width else [*columns, batch.column(batch.schema.get_field_index(ORD))]

    def _stored(self, slots: Array) -> list[pa.Array]:
        return self._table.values(slots).columns[: self._kept]  # type: ignore[no-any-return]

    def _times(self, slots: Array) -> Array:
        return self._table.fixed(f"c{self._time}").data[slots]

    def _insert(self, columns: list[pa.Array], done: bool) -> Array:
        n = len(columns[0])
        keys = [columns[p] for p in self.node.partition]
        slots, _ = self._table.upsert([*keys, pa.array(np.arange(self._next, self._next + n))])
        self._next += n
        self._table.put(slots, [*columns, pa.array(np.full(n, done))])
        return slots

    def _wait(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            slots = self._insert(self._columns(batch), False)
            self._waiting.add(self._times(slots), slots)

    def _remember(self, slots: Array) -> None:
        """Rows that came out and that later frames reach."""
        owner, _ = self._partitions.upsert(self._table.keys(slots)[:-1], len(slots))
        self._chains.add(owner, slots)
        if self._statement.expires:
            self._old.add(self._times(slots), slots)

    def _forget(self, slots: Array) -> None:
        if not len(slots):
            return
        owner = self._partitions.find(self._table.keys(slots)[:-1], len(slots))
        self._chains.remove(owner, slots)
        self._table.delete(slots)
        owner = np.unique(owner[owner >= 0])
        self._partitions.delete(owner[self._chains.counts(owner) == 0])

    # --- the statement -----------------------------------------------------------------------------------

    def _given(self, columns: list[pa.Array], what: int, slots: Array) -> pa.RecordBatch:
        n = len(slots)
        arrays = [*columns, pa.array(np.full(n, what, np.int8)), pa.array(slots)]
        arrays += [pa.nulls(n, f.type) for f in list(self._asked)[len(arrays) :]]
        return pa.RecordBatch.from_arrays(arrays, schema=self._asked)

    def _evaluate(self, due: list[pa.RecordBatch]) -> pa.RecordBatch:
        rows = pa.concat_batches(due)
        keys = [rows.column(p) for p in self.node.partition]
        parts = list(due)
        if self._statement.keeps:
            owner = self._partitions.find(keys, rows.num_rows)
            owner = np.unique(owner[owner >= 0])
            _, slots = self._chains.probe(owner)
            parts.append(self._given(self._stored(slots), BEFORE, slots))
        if self._running is not None:
            slots, _ = self._running.upsert(keys, rows.num_rows)
            touched, _ = self._uniques.of(slots, self._running.capacity)
            carry = self._given(
                [pa.nulls(len(touched), f.type) for f in list(self._asked)[: self._kept]], CARRY, touched
            )
            columns = list(carry.columns)
            for p, k in zip(self.node.partition, self._running.keys(touched), strict=True):
                columns[p] = k
            columns[self._kept + 2 :] = self._running.values(touched).columns
            parts.append(pa.RecordBatch.from_arrays(columns, schema=self._asked))
        made = self._evaluator.run(pa.concat_batches(parts))
        is_due = pc.equal(made.column(self._kept), DUE)
        came = made.filter(is_due)
        if self._running is not None:
            self._carry(came)
        if self._statement.keeps:
            self._retain(made)
        else:
            slots = fixed(came.column(self._kept + 1))
            self._table.delete(slots[slots >= 0])
        calls = [came.column(self._kept + 3 + i) for i in range(len(self.node.calls))]
        arrays = [*(came.column(i) for i in range(self._width)), *calls]
        return pa.RecordBatch.from_arrays(
            [a if a.type == f.type else a.cast(f.type) for a, f in zip(arrays, self._schema, strict=True)],
            schema=self._schema,
        )

    def _carry(self, came: pa.RecordBatch) -> None:
        """Of each partition the last row's running values hold."""
        assert self._running is not None
        slots, _ = self._running.upsert([came.column(p) for p in self.node.partition], came.num_rows)
        first = self._kept + 3 + len(self.node.calls)
        values = [came.column(first + i) for i in range(len(self._statement.partials))]
        self._running.put(slots, [v.cast(p.type) for v, p in zip(values, self._statement.partials, strict=True)])

    def _retain(self, made: pa.RecordBatch) -> None:
        """Keeps what later frames reach, of the partitions at hand."""
        s, slots, back = (fixed(made.column(self._kept + i)) for i in range(3))
        keep = np.full(len(s), self._statement.reach_all)
        keep |= back <= self._statement.reach_rows
        if self._statement.reach_time >= 0:
            keep |= fixed(made.column(self._time)) >= self._bound()
        stored = slots >= 0
        self._forget(slots[stored & ~keep])
        stays = slots[stored & keep & (s == DUE)]
        if len(stays):
            self._table.fixed("done").data[stays] = True
            self._table.touch(stays)
            self._remember(stays)
        fresh = ~stored & keep
        if fresh.any():
            mask = pa.array(fresh)
            columns = [made.column(i).filter(mask) for i in range(self._kept)]
            want = list(self._asked)
            self._remember(
                self._insert([c.cast(want[i].type) for i, c in enumerate(columns)], True)
            )  # fmt: skip

    def _bound(self) -> int:
        """Rows before this time are out of reach of RANGE frames."""
        return self._closed - self._statement.reach_time if self._closed > -END // 2 else self._closed

    def _expire(self) -> None:
        """RANGE alone: rows out of reach, also of partitions that get no rows any more."""
        if not self._statement.expires:
            return
        slots = self._old.take(self._bound() - 1)
        slots = slots[self._table.fixed("done").data[slots]]
        self._forget(slots[self._times(slots) < self._bound()])
