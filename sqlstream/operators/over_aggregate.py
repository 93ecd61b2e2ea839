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
        self.derive(self.output, Traits(key=traits.key, arrival=traits.arrival))

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
    """The DuckDB statement, what it carries from epoch to epoch, and how far back its frames reach.

    It is over `columns` of the rows (those that calls, partition and order read), `_s`, `_i` (their place in order,
    from 1; 0 for what was carried) and the carried values; it gives `_i`, a column a call, and the values to carry.
    """

    def __init__(self, node: OverAggregate) -> None:
        self._schema = node.inputs[0].schema
        self.partials: list[Partial] = []
        self.reach_rows, self.reach_time, self.reach_all = 0, -1, False
        used = {*node.partition, *(k.column for k in node.order), *(a for c in node.calls for a in c.args)}
        self.columns = tuple(sorted(used))
        self._sort = sort_sql(node.order)
        self._timed = self._schema[node.order[0].column].type.is_timestamp
        running = [c for c in node.calls if self._runs(c)]
        for c in node.calls:
            if c not in running:
                self._reach(c)
        # A: what was carried, then the rows that are due. B: rows that came out before, then those due.
        by = [f"c{p}" for p in node.partition]
        a, b = [*by, *([f"_s = {BEFORE}"] if self.keeps else [])], [*by, *([f"_s = {CARRY}"] if running else [])]
        self._a = (f"PARTITION BY {', '.join(a)} " if a else "") + f"ORDER BY least(_s, {BEFORE})"
        self._b = (f"PARTITION BY {', '.join(b)} " if b else "") + "ORDER BY"
        if any(c.function in RANKINGS for c in node.calls):
            self._count_ranks()
        inner: list[str] = []
        results = [self._call(c, inner, f"_r{i}", c in running) for i, c in enumerate(node.calls)]
        inner += [f"{p.sql} AS {p.name}_now" for p in self.partials]
        select = [f"{r} AS r{i}" for i, r in enumerate(results)]
        select += [f"{p.stored} AS {p.name}" for p in self.partials]
        self.sql = f"SELECT {', '.join(['_i', *select])} FROM (SELECT {', '.join(['_s, _i', *inner])} FROM input)"
        self.sql += f" WHERE _s = {DUE}"
        # Without arrival rows that tie are told apart by all their columns.
        tie = ", ".join(f"c{i}" for i in range(len(self._schema)))
        by_arrival = node.inputs[0].traits.arrival and len(node.order) == 1
        self.sorting = None if by_arrival else f"SELECT _row FROM input ORDER BY {self._sort}, {tie}"

    def _runs(self, call: OverCall) -> bool:
        """Whether running values stand for the call."""
        if call.function in RANKINGS:
            return True
        if call.frame is None or call.frame.preceding is not None:
            return False
        try:
            AGGREGATES[call.function].sql(self._recorder(call, "", []))
        except Whole:
            return False
        return True

    def _recorder(self, call: OverCall, over: str, partials: list[Partial]) -> Recorder:
        args, types = tuple(f"c{a}" for a in call.args), tuple(self._schema[a].type for a in call.args)
        return Recorder(args, types, call.column.type, call.distinct, None, "_i", over, partials)

    def _reach(self, call: OverCall) -> None:
        if call.function == "LAG":
            self.reach_rows = max(self.reach_rows, int(call.constants[0]))
        elif call.frame is None or call.frame.preceding is None:
            self.reach_all = True
        elif call.frame.unit == "ROWS":
            self.reach_rows = max(self.reach_rows, call.frame.preceding)
        else:
            self.reach_time = max(self.reach_time, call.frame.preceding)

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

    def _call(self, call: OverCall, inner: list[str], name: str, running: bool) -> str:
        """The call's result over the columns of the inner query."""
        if call.function == "ROW_NUMBER":
            return _cast("_n_now", call.column.type)
        if call.function == "DENSE_RANK":
            return _cast("_d_now", call.column.type)
        if call.function == "RANK":
            rank = f"rank() OVER ({self._a}, {self._sort}) - 1"
            inner.append(f"coalesce(first_value(_n) OVER ({self._a}), 0) + {rank} AS {name}")
            return _cast(name, call.column.type)
        if call.function == "LAG":
            offset, default = call.constants
            more = "" if default is None else f", {literal(default, call.column.type)}"
            inner.append(f"lag(c{call.args[0]}, {offset}{more}) OVER ({self._b} _i) AS {name}")
            return _cast(name, call.column.type)
        frame = call.frame
        assert frame is not None
        order = "_i" if frame.unit == "ROWS" else self._sort
        known = AGGREGATES[call.function]
        if running:
            over = f"OVER ({self._a}, {order} {frame.unit} BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
            return known.sql(self._recorder(call, over, self.partials))
        args, types = [f"c{a}" for a in call.args], [self._schema[a].type for a in call.args]
        over = f"OVER ({self._b} {order} {frame_sql(frame, self._timed)})"
        sql = known.duckdb(args, types, distinct=call.distinct, order="_i", over=over, result=call.column.type)
        inner.append(f"{sql} AS {name}")
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
        self._arrival = node.inputs[0].traits.arrival
        kept = [*schema.arrow(), *([pa.field(ORD, pa.int64())] if self._arrival else [])]
        # A row in an epoch: what is kept of it, what it is, its slot or -1.
        self._row = pa.schema([*kept, pa.field("_s", pa.int8()), pa.field("_slot", pa.int64())])
        self._kept = len(kept)
        columns = [self._row.field(i) for i in self._statement.columns]
        marks = [pa.field("_s", pa.int8()), pa.field("_i", pa.int64())]
        partials = [pa.field(p.name, p.type) for p in self._statement.partials]
        self._asked = pa.schema([*columns, *marks, *partials])
        sorting = self._statement.sorting
        self._sorter = None if sorting is None else Evaluator.of(sorting, context.time_zone)

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
        if self._sorter is not None:
            self._sorter.close()

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
        return [*columns, batch.column(batch.schema.get_field_index(ORD))] if self._arrival else columns

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
        arrays = [*columns, pa.array(np.full(len(slots), what, np.int8)), pa.array(slots)]
        return pa.RecordBatch.from_arrays(arrays, schema=self._row)

    def _evaluate(self, due: list[pa.RecordBatch]) -> pa.RecordBatch:
        rows = pa.concat_batches(due)
        if self._statement.keeps:
            owner = self._partitions.find([rows.column(p) for p in self.node.partition], rows.num_rows)
            _, slots = self._chains.probe(np.unique(owner[owner >= 0]))
            if len(slots):
                rows = pa.concat_batches([rows, self._given(self._stored(slots), BEFORE, slots)])
        rows = self._in_order(rows)
        is_due = fixed(rows.column(self._kept)) == DUE
        came = rows.filter(pa.array(is_due))
        made = self._evaluator.run(self._asked_of(rows, came))
        made = made.take(pa.array(np.argsort(fixed(made.column(0)), kind="stable")))
        calls = len(self.node.calls)
        if self._running is not None:
            # Of each partition the last row's running values hold.
            slots, _ = self._running.upsert([came.column(p) for p in self.node.partition], came.num_rows)
            values = made.columns[1 + calls :]
            types = [p.type for p in self._statement.partials]
            self._running.put(slots, [v.cast(t) for v, t in zip(values, types, strict=True)])
        if self._statement.keeps:
            self._retain(rows)
        else:
            slots = fixed(came.column(self._kept + 1))
            self._table.delete(slots[slots >= 0])
        arrays = [*came.columns[: self._width], *made.columns[1 : 1 + calls], *came.columns[self._width : self._kept]]
        return pa.RecordBatch.from_arrays(
            [a if a.type == f.type else a.cast(f.type) for a, f in zip(arrays, self._schema, strict=True)],
            schema=self._schema,
        )

    def _in_order(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """By the OVER's order; rows that tie by arrival, else by content."""
        if self._sorter is None:
            times = fixed(rows.column(self._time))
            order = pa.array(np.lexsort((fixed(rows.column(self._width)), times)))
        else:
            numbered = rows.append_column("_row", pa.array(np.arange(rows.num_rows)))
            order = self._sorter.run(numbered).column(0)
        return rows.take(order)

    def _asked_of(self, rows: pa.RecordBatch, came: pa.RecordBatch) -> pa.RecordBatch:
        """What the statement is over: `rows` in order, and what the partitions of `came` have come to."""
        n, columns = rows.num_rows, self._statement.columns
        arrays = [rows.column(c) for c in columns]
        arrays += [rows.column(self._kept), pa.array(np.arange(1, n + 1))]
        arrays += [pa.nulls(n, p.type) for p in self._statement.partials]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._asked)
        if self._running is None:
            return batch
        keys = [came.column(p) for p in self.node.partition]
        slots, _ = self._running.upsert(keys, came.num_rows)
        touched, _ = self._uniques.of(slots, self._running.capacity)
        carry = dict(zip(self.node.partition, self._running.keys(touched), strict=True))
        n = len(touched)
        arrays = [carry[c] if c in carry else pa.nulls(n, rows.column(c).type) for c in columns]
        arrays += [pa.array(np.full(n, CARRY, np.int8)), pa.array(np.zeros(n, np.int64))]
        arrays += self._running.values(touched).columns
        return pa.concat_batches([batch, pa.RecordBatch.from_arrays(arrays, schema=self._asked)])

    def _retain(self, rows: pa.RecordBatch) -> None:
        """Keeps what later frames reach, of the partitions at hand."""
        s, slots = fixed(rows.column(self._kept)), fixed(rows.column(self._kept + 1))
        keep = np.full(len(s), self._statement.reach_all)
        if self._statement.reach_rows:
            keys = [rows.column(p) for p in self.node.partition]
            owner, _ = HashIndex([k.type for k in keys]).upsert(keys, len(s))
            keep |= last_of(owner, self._statement.reach_rows)
        if self._statement.reach_time >= 0:
            keep |= fixed(rows.column(self._time)) >= self._bound()
        stored = slots >= 0
        self._forget(slots[stored & ~keep])
        stays = slots[stored & keep & (s == DUE)]
        if len(stays):
            self._table.fixed("done").data[stays] = True
            self._table.touch(stays)
            self._remember(stays)
        fresh = rows.filter(pa.array(~stored & keep))
        if fresh.num_rows:
            self._remember(self._insert(fresh.columns[: self._kept], True))

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


def last_of(owner: Array, n: int) -> Array:
    """True for the last n rows of each owner."""
    order = np.argsort(owner, kind="stable")
    size = np.bincount(owner)
    end = np.cumsum(size)[owner[order]]
    out = np.empty(len(owner), np.bool_)
    out[order] = end - np.arange(len(owner)) <= n
    return out
