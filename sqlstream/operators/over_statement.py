"""The DuckDB statement by which an OverAggregate computes an epoch's rows, and how far back its frames reach."""

from __future__ import annotations

import pyarrow as pa

from sqlstream.aggregates.registry import aggregate
from sqlstream.errors import InternalError
from sqlstream.functions.constants import literal
from sqlstream.operators.over_carried import BEFORE, CARRY, DUE, Carried, Partial, Whole
from sqlstream.operators.window_operator import MILLISECOND
from sqlstream.plan.nodes import OverCall, SortKey
from sqlstream.plan.over_functions import RANKINGS
from sqlstream.rendering.overs import frame_sql, sort_sql
from sqlstream.types import Schema, Type, array


class Statement:
    """The DuckDB statement, what it carries from epoch to epoch, and how far back its frames reach.

    It is over `columns` of the rows (those that calls, partition and order read), `_s`, `_i` (their place in order,
    from 1; 0 for what was carried) and the carried values; it gives `_i`, a column a call, and the values to carry.
    With `lives` also over `_life`: rows of a partition of another life are out of reach.
    """

    def __init__(
        self,
        rows: Schema,
        partition: tuple[int, ...],
        order: tuple[SortKey, ...],
        calls: tuple[OverCall, ...],
        arrival: bool,
        lives: bool = False,
    ) -> None:
        self._schema = rows
        self.partials: list[Partial] = []
        self.reach_rows, self.reach_time, self.reach_all = 0, -1, False
        used = {*partition, *(k.column for k in order), *(a for c in calls for a in c.reads)}
        self.columns = tuple(sorted(used))
        self._sort = sort_sql(order)
        self._timed = self._schema[order[0].column].type.is_timestamp
        running = [c for c in calls if self._runs(c)]
        for c in calls:
            if c not in running:
                self._reach(c)
        # A: what was carried, then the rows that are due. B: rows that came out before, then those due.
        by = [*(f"c{p}" for p in partition), *(["_life"] if lives else [])]
        a, b = [*by, *([f"_s = {BEFORE}"] if self.keeps else [])], [*by, *([f"_s = {CARRY}"] if running else [])]
        self._a = (f"PARTITION BY {', '.join(a)} " if a else "") + f"ORDER BY least(_s, {BEFORE})"
        self._b = (f"PARTITION BY {', '.join(b)} " if b else "") + "ORDER BY"
        ranks = any(c.function in RANKINGS for c in running)
        nths = [c for c in running if c.function == "NTH_VALUE"]
        numbers: list[str] = []  # each row's number in its partition, to be compared in a window
        if ranks or any(not c.ignores_nulls for c in nths):
            self._count("_n", "row_number", f"{self._a}, _i")
            numbers.append(f"{self.partials[0].sql} AS _at")
        for x in sorted({c.args[0] for c in nths if c.ignores_nulls}):
            self._count_values(x)
            numbers.append(f"{self.partials[-1].sql} AS _at{x}")
        source = f"(SELECT *, {', '.join(numbers)} FROM input)" if nths else "input"
        if ranks:
            self._count("_d", "dense_rank", f"{self._a}, {self._sort}")
        inner: list[str] = []
        results = [self._call(c, inner, f"_r{i}", c in running) for i, c in enumerate(calls)]
        inner += [f"{p.sql} AS {p.name}_now" for p in self.partials]
        select = [f"{r} AS r{i}" for i, r in enumerate(results)]
        select += [f"{p.stored} AS {p.name}" for p in self.partials]
        self.sql = f"SELECT {', '.join(['_i', *select])} FROM (SELECT {', '.join(['_s, _i', *inner])} FROM {source})"
        self.sql += f" WHERE _s = {DUE}"
        # Without arrival rows that tie are told apart by all their columns.
        tie = ", ".join(f"c{i}" for i in range(len(self._schema)))
        by_arrival = arrival and len(order) == 1
        self.sorting = None if by_arrival else f"SELECT _row FROM input ORDER BY {self._sort}, {tie}"

    def _runs(self, call: OverCall) -> bool:
        """Whether running values stand for the call."""
        if call.function in RANKINGS or (call.function == "LAG" and call.ignores_nulls):
            return True
        if call.frame is None or call.frame.preceding is not None:
            return False
        if call.function == "NTH_VALUE":
            return True
        try:
            aggregate(call.function).sql(self._carried(call, "", []))
        except Whole:
            return False
        return True

    def _carried(self, call: OverCall, over: str, partials: list[Partial]) -> Carried:
        args, types = tuple(f"c{a}" for a in call.args), tuple(self._schema[a].type for a in call.args)
        return Carried(
            args,
            types,
            call.column.type,
            call.distinct,
            _filter(call),
            "_i",
            over,
            constants=call.constants,
            partials=partials,
        )

    def _reach(self, call: OverCall) -> None:
        if call.function == "LAG":
            self.reach_rows = max(self.reach_rows, int(call.constants[0]))
        elif call.frame is None or call.frame.preceding is None:
            self.reach_all = True
        elif call.frame.unit == "ROWS":
            self.reach_rows = max(self.reach_rows, call.frame.preceding, 1)  # one at least: the last that came out
        else:
            self.reach_time = max(self.reach_time, call.frame.preceding)

    @property
    def keeps(self) -> bool:
        """Whether rows are kept after they came out."""
        return self.reach_all or self.reach_rows > 0 or self.reach_time >= 0

    @property
    def remembered(self) -> int:
        """For how long after its last row a partition is known, where time alone says which rows are kept."""
        return self.reach_time + self.reach_time // 2 + MILLISECOND

    @property
    def expires(self) -> bool:
        """Whether time alone says which rows are kept."""
        return self.reach_time >= 0 and not self.reach_all and not self.reach_rows

    def _count(self, name: str, function: str, order: str) -> None:
        """How many rows, or distinct orders, a partition has had."""
        sql = f"coalesce(first_value({name}) OVER ({self._a}), 0) + {function}() OVER ({order}) - 1"
        self.partials.append(Partial(name, pa.int64(), f"CAST({sql} AS BIGINT)", f"{name}_now"))

    def _count_values(self, x: int) -> None:
        """How many values a column of a partition has had, without NULLs."""
        upto = f"OVER ({self._a}, _i ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        sql = f"coalesce(first_value(_v{x}) OVER ({self._a}), 0) + count({_due(x)}) {upto}"
        self.partials.append(Partial(f"_v{x}", pa.int64(), f"CAST({sql} AS BIGINT)", f"_v{x}_now"))

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
            if call.ignores_nulls:
                return self._carried_lag(call, inner, name)
            more = "" if default is None else f", {literal(default, call.column.type)}"
            inner.append(f"lag(c{call.args[0]}, {offset}{more}) OVER ({self._b} _i) AS {name}")
            return _cast(name, call.column.type)
        frame = call.frame
        if frame is None:
            raise InternalError(f"OverAggregate: {call.function} has no running value")
        order = "_i" if frame.unit == "ROWS" else self._sort
        carried = f"OVER ({self._a}, {order} {frame.unit} BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        of_rows = f"OVER ({self._b} {order} {frame_sql(frame, self._timed)})"
        if call.function == "NTH_VALUE":
            (x,), (n,) = call.args, call.constants
            if running:
                here = f"_at{x} = {n} AND c{x} IS NOT NULL" if call.ignores_nulls else f"_at = {n}"
                return self._carried_nth(x, here, call.column.type, carried)
            nulls = " IGNORE NULLS" if call.ignores_nulls else ""
            inner.append(f"nth_value(c{x}, {n} ORDER BY _i{nulls}) {of_rows} AS {name}")
            return _cast(name, call.column.type)
        known = aggregate(call.function)
        if running:
            return known.sql(self._carried(call, carried, self.partials))
        args, types = [f"c{a}" for a in call.args], [self._schema[a].type for a in call.args]
        sql = known.duckdb(
            args,
            types,
            distinct=call.distinct,
            order="_i",
            over=of_rows,
            result=call.column.type,
            constants=call.constants,
            filter=_filter(call),
        )
        inner.append(f"{sql} AS {name}")
        return name

    def _carried_lag(self, call: OverCall, inner: list[str], name: str) -> str:
        """The nth of the values before a row that are not NULL, counted backwards: carried are the last n of a partition, the
        last one first."""
        (x,), (n, default), t = call.args, call.constants, call.column.type
        last = f"_p{len(self.partials)}"
        before = f"count({_due(x)}) OVER ({self._a}, _i ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
        lags = [
            f"CASE WHEN {before} >= {j} THEN lag({_due(x)}, {j} IGNORE NULLS) OVER ({self._a}, _i) "
            f"ELSE first_value({last}) OVER ({self._a})[{j} - {before}] END"
            for j in range(1, n + 1)
        ]
        now = [f"CASE WHEN c{x} IS NULL THEN {a} ELSE {b} END" for a, b in zip(lags, [f"c{x}", *lags], strict=False)]
        kept = array(t)
        self.partials.append(Partial(last, kept.arrow(), _cast(f"[{', '.join(now)}]", kept), f"{last}_now"))
        given = lags[-1] if default is None else f"coalesce({lags[-1]}, {literal(default, t)})"
        inner.append(f"{given} AS {name}")
        return _cast(name, t)

    def _carried_nth(self, x: int, here: str, t: Type, over: str) -> str:
        """A column's value in the row of a partition that `here` is true of, once that has come: it stays."""
        name = f"_p{len(self.partials)}"
        sql = f"any_value(CASE WHEN _s = {CARRY} THEN {name} WHEN {here} THEN c{x} END) {over}"
        self.partials.append(Partial(name, t.arrow(), _cast(sql, t), f"{name}_now"))
        return f"{name}_now"


def _filter(call: OverCall) -> str | None:
    return None if call.filter is None else f"c{call.filter}"


def _due(x: int) -> str:
    """A column of the rows that are due."""
    return f"CASE WHEN _s = {DUE} THEN c{x} END"


def _cast(sql: str, t: Type) -> str:
    return f"CAST({sql} AS {t.duckdb()})"
