"""Aggregation: the calls of one aggregate over groups that are slots of a state table.

Made twice: in the plan half, to say which value columns and which further tables it needs, and in the running
half. It decides which parts (accumulators.py) and value indexes (value_index.py) the calls share.

    a call                  append-only input             changelog input
    COUNT, SUM, AVG, VAR    parts                         parts, with signs
    MIN, MAX                Extreme                       Extreme + ValueIndex
    FIRST, LAST_VALUE       First by arrival, else as MIN, MAX
    … DISTINCT              the same parts, fed by what appears in and vanishes from a ValueIndex
    LISTAGG                 ValueIndex, by arrival or else sorted
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from sqlstream.errors import InternalError, NotSupported
from sqlstream.functions.aggregates import AGGREGATES
from sqlstream.operators import aggregate_kernels as kernels
from sqlstream.operators.accumulators import (
    EVERY,
    Array,
    Columns,
    Count,
    DoubleSquares,
    DoubleSum,
    Extreme,
    First,
    Last,
    Part,
    Rows,
    SmallSum,
    Squares,
    WideSum,
    extreme,
    narrowed,
    two_product,
    two_sum,
    widened,
)
from sqlstream.operators.value_index import ValueIndex
from sqlstream.plan.nodes import AggCall
from sqlstream.state.arrays import from_fixed, validity
from sqlstream.state.table import StateSpec, StateTable
from sqlstream.types import Schema

Key = tuple[type[Part], int | None, int | None, bool]
Finish = Callable[[Array], pa.Array]


class Separator(Part):
    """LISTAGG's separator: a constant, kept from the group's first row."""

    types = (pa.string(),)

    def start(self, slots: Array) -> None:
        """NULL until there is a row."""

    def add(self, rows: Rows) -> None:
        c = self.columns[0]
        new = ~c.valid[rows.slots]
        if new.any():
            c.set(rows.slots[new], rows.values.filter(pa.array(new)))  # type: ignore[union-attr]


class Batch(Protocol):
    """A record batch, or what stands for one."""

    def column(self, i: int) -> pa.Array: ...


class Aggregation:
    """append_only, arrival: of the input. counted: also counts rows (`rows_of`). freed: `free` will be called."""

    def __init__(
        self,
        calls: Sequence[AggCall],
        schema: Schema,
        *,
        append_only: bool,
        arrival: bool,
        counted: bool = False,
        freed: bool = False,
    ) -> None:
        self.schema, self.append_only, self.freed = schema, append_only, freed
        self.arrival = arrival and append_only
        self.parts: dict[Key, Part] = {}
        self.indexes: dict[tuple[int, bool], ValueIndex] = {}
        self._residues: list[tuple[DoubleSum, Count]] = []
        self._read: dict[Part, Array] = {}
        self.counted = self._count(None, None, False) if counted else None
        self._finish = [self._call(c) for c in calls]
        self._all_counted = any(c.function == "COUNT" and self._is_every(c) for c in calls)

    # --- what it needs -----------------------------------------------------------------------------------

    def fields(self) -> list[pa.Field]:
        """Value columns of the group table."""
        return [f for p in self.parts.values() for f in p.fields()]

    def specs(self, keys: pa.Schema, distribution: int) -> list[StateSpec]:
        """Further tables; `keys` is the group table's key."""
        return [i.spec(keys, distribution) for i in self.indexes.values()]

    def _part(self, kind: type[Part], argument: int | None, filter: int | None, distinct: bool) -> Part:
        key = (kind, argument, filter, distinct)
        if key not in self.parts:
            name = kind.__name__.lower()
            name += "" if argument is None else f"_c{argument}"
            name += "" if filter is None else f"_if_c{filter}"
            name += "_distinct" if distinct else ""
            t = None if argument is None else self.schema[argument].type.arrow()
            part = self.parts[key] = kind(name, t)
            if distinct:
                self._index(argument, filter).parts[filter].append(part)
        return self.parts[key]

    def _index(self, argument: int | None, filter: int | None, ordered: bool = False) -> ValueIndex:
        assert argument is not None
        key = (argument, ordered)
        if key not in self.indexes:
            t = self.schema[argument].type.arrow()
            self.indexes[key] = ValueIndex(argument, t, ordered, self.freed)
        self.indexes[key].use(filter)
        return self.indexes[key]

    def _count(self, argument: int | None, filter: int | None, distinct: bool) -> Count:
        if argument is not None and not distinct and not self.schema[argument].type.nullable:
            argument = None
        part = self._part(Count, argument, filter, distinct)
        assert isinstance(part, Count)
        return part

    def _is_every(self, call: AggCall) -> bool:
        """Whether a COUNT leaves no row out."""
        given = not call.args or (not call.distinct and not self.schema[call.args[0]].type.nullable)
        return given and call.filter is None

    def _extreme(self, greatest: bool, argument: int, filter: int | None) -> Finish:
        kind = extreme(greatest, self.schema[argument].type.arrow())
        if self.append_only:
            part = self._part(kind, argument, filter, False)
        else:
            known = (kind, argument, filter, True) in self.parts
            index = self._index(argument, filter)
            part = self._part(kind, argument, filter, True)
            if not known:
                # `_part` lists it with the sums: extremes are told of losses in another way.
                index.parts[filter].remove(part)
                assert isinstance(part, Extreme)
                index.extremes[filter].append(part)
        assert isinstance(part, Extreme)
        return part.get

    # --- calls -------------------------------------------------------------------------------------------

    def _call(self, call: AggCall) -> Finish:
        name, result = call.function, call.column.type.arrow()
        known = AGGREGATES.get(name)
        if known is None:
            raise InternalError(f"{name} is not an aggregate function")
        if not known.streaming:
            raise NotSupported(
                f"{name} is not available in a streaming query", hint="run it over bounded inputs, or use LISTAGG"
            )
        distinct = call.distinct or name == "APPROX_COUNT_DISTINCT"
        if name in ("COUNT", "APPROX_COUNT_DISTINCT"):
            argument = call.args[0] if call.args else None
            count = self._count(argument, call.filter, distinct and argument is not None)
            return lambda s: pa.array(self._number(count, s), pa.int64())
        (argument, *rest) = call.args
        if name in ("MIN", "MAX"):
            return self._extreme(name == "MAX", argument, call.filter)
        if name in ("FIRST_VALUE", "LAST_VALUE"):
            if not self.arrival:
                return self._extreme(name == "LAST_VALUE", argument, call.filter)
            end = self._part(Last if name == "LAST_VALUE" else First, argument, call.filter, False)
            assert isinstance(end, First)
            return end.get
        if name == "LISTAGG":
            return self._listagg(argument, rest[0] if rest else None, call.filter, distinct)
        if name in ("SUM", "$SUM0", "AVG"):
            return self._sum(name, argument, call.filter, distinct, result)
        return self._deviation(name, argument, call.filter, distinct, result)

    def _sums(self, argument: int, filter: int | None, distinct: bool) -> tuple[Part, Count]:
        t = self.schema[argument].type
        kind: type[Part] = WideSum
        if t.kind in ("TINYINT", "SMALLINT", "INT", "INTERVAL_MONTH"):
            kind = SmallSum
        elif t.kind in ("FLOAT", "DOUBLE"):
            kind = DoubleSum
        count = self._count(argument, filter, distinct)
        total = self._part(kind, argument, filter, distinct)
        if isinstance(total, DoubleSum):
            self._leave_none(total, count)
        return total, count

    def _leave_none(self, total: DoubleSum, count: Count) -> None:
        if not self.append_only and (total, count) not in self._residues:
            self._residues.append((total, count))

    def _sum(self, name: str, argument: int, filter: int | None, distinct: bool, result: pa.DataType) -> Finish:
        total, count = self._sums(argument, filter, distinct)
        scale = self.schema[argument].type.scale or 0
        if isinstance(total, DoubleSum):

            def double(slots: Array) -> pa.Array:
                n, x = self._number(count, slots), total.get(slots)
                given = np.ones(len(n), np.bool_) if name == "$SUM0" else n > 0
                if name == "AVG":
                    x = x / np.maximum(n, 1)
                return from_fixed(np.where(given, x, 0.0), given, pa.float64()).cast(result)

            return double
        assert isinstance(total, SmallSum | WideSum)

        def exact(slots: Array) -> pa.Array:
            n, pairs = self._number(count, slots), self._pairs(total, slots)
            given = np.ones(len(n), np.bool_) if name == "$SUM0" else n > 0
            if name == "AVG":
                out = np.empty_like(pairs)
                digits = result.scale - scale if pa.types.is_decimal(result) else -1
                kernels.pair_divide(pairs, n, digits, out)
                pairs = out
            return narrowed(pairs, given, result, name)

        return exact

    def _pairs(self, part: SmallSum | WideSum | Squares, slots: Array) -> Array:
        """128-bit sums at `slots`, read once for all calls of one `result`."""
        if part not in self._read:
            self._read[part] = part.pairs(slots)
        return self._read[part]

    def _number(self, part: Count, slots: Array) -> Array:
        """Counts at `slots`, likewise."""
        if part not in self._read:
            self._read[part] = part.get(slots)
        return self._read[part]

    def _deviation(self, name: str, argument: int, filter: int | None, distinct: bool, result: pa.DataType) -> Finish:
        less = 0 if name.endswith("_POP") else 1
        root = name.startswith("STDDEV")
        count = self._count(argument, filter, distinct)
        if self.schema[argument].type.is_integer:
            total, _ = self._sums(argument, filter, distinct)
            squares = self._part(Squares, argument, filter, distinct)
            assert isinstance(total, SmallSum | WideSum) and isinstance(squares, Squares)

            def integers(slots: Array) -> pa.Array:
                from sqlstream.operators.deviation_kernels import variance

                n = self._number(count, slots)
                out = np.empty(len(n), np.int64)
                over = variance(self._pairs(total, slots), self._pairs(squares, slots), n, less, out)
                if root:
                    out = np.trunc(np.sqrt(out.astype(np.float64))).astype(np.int64)
                pairs = widened(out)
                if over:
                    pairs[:, 1] = np.int64(2**62)
                return narrowed(pairs, n > less, result, name)

            return integers
        sums = self._part(DoubleSum, argument, filter, distinct)
        power = self._part(DoubleSquares, argument, filter, distinct)
        assert isinstance(sums, DoubleSum) and isinstance(power, DoubleSquares)
        self._leave_none(sums, count)
        self._leave_none(power, count)

        def doubles(slots: Array) -> pa.Array:
            n = self._number(count, slots)
            given = n > less
            var = deviation(sums.pair(slots), power.pair(slots), n) / np.maximum(n - less, 1)
            var = np.where((sums.odd(slots) == 0) & (power.odd(slots) == 0), var, np.nan)
            return from_fixed(np.where(given, np.sqrt(var) if root else var, 0.0), given, pa.float64()).cast(result)

        return doubles

    def _listagg(self, argument: int, separator: int | None, filter: int | None, distinct: bool) -> Finish:
        index = self._index(argument, filter, self.arrival)
        index.listed = True
        kept = None if separator is None else self._part(Separator, separator, None, False)

        def lists(slots: Array) -> pa.Array:
            if kept is None:
                separators = pa.array([","]).take(pa.array(np.zeros(len(slots), np.int64)))
            else:
                separators = kept.columns[0].get(slots)
            return index.lists(slots, filter, distinct, separators)

        return lists

    # --- running -----------------------------------------------------------------------------------------

    def open(self, table: Columns, state: Callable[[StateSpec], StateTable] | None = None) -> None:
        """`table`: the group table, or Scratch. `state` gives the tables of `specs`."""
        for part in self.parts.values():
            part.open(table)
        if self.indexes and state is not None:
            assert isinstance(table, StateTable)
            spec = table.spec
            for index in self.indexes.values():
                index.open(state(index.spec(spec.key, spec.distribution)), table.find)

    def start(self, slots: Array) -> None:
        """New groups."""
        for part in self.parts.values():
            part.start(slots)

    def add(
        self,
        slots: Array,
        signs: Array,
        batch: Batch,
        keys: list[pa.Array],
        order: Array | None = None,
    ) -> None:
        """Rows of an epoch into their groups. signs: EVERY, or one a row. keys: their group key columns."""
        chosen = Selection(slots, signs, batch, order)
        for (_, argument, filter, distinct), part in self.parts.items():
            if not distinct:
                part.add(chosen.rows(argument, filter))
        for index in self.indexes.values():
            masks = {f: chosen.mask(None, f) for f in index.filters}
            keep = chosen.mask(index.argument, None)
            if None not in masks:
                some = np.logical_or.reduce([m for m in masks.values() if m is not None])
                keep = some if keep is None else keep & some
            values = batch.column(index.argument)
            if keep is None:
                index.update(keys, slots, signs, values, order, masks)
            elif keep.any():
                mask = pa.array(keep)
                index.update(
                    [k.filter(mask) for k in keys],
                    slots[keep],
                    signs[keep] if len(signs) else signs,
                    values.filter(mask),
                    None if order is None else order[keep],
                    {f: None if m is None else m[keep] for f, m in masks.items()},
                )
        if len(signs):
            for total, count in self._residues:
                total.clear(slots[count.get(slots) == 0])

    def merge(self, into: Array, other: Aggregation, slots: Array) -> None:
        """Partial results in `slots` of `other` into `into` of this one. Only of mergeable calls."""
        for part, given in zip(self.parts.values(), other.parts.values(), strict=True):
            part.merge(into, given, slots)

    def result(self, slots: Array) -> list[pa.Array]:
        """One column a call."""
        self._read = {}
        return [f(slots) for f in self._finish]

    @property
    def counts_rows(self) -> bool:
        """Whether each row changes its group's result, for certain: there are no signs, and COUNT(*) is among the calls."""
        return self.append_only and self._all_counted

    def rows_of(self, slots: Array) -> Array:
        """How many rows each group has."""
        assert self.counted is not None
        return self.counted.get(slots)

    def free(self, slots: Array) -> None:
        """Forget groups: what is kept of them outside the group table."""
        for index in self.indexes.values():
            index.free(slots)


class Selection:
    """Rows of a batch by argument (not NULL) and filter (true), each made once."""

    def __init__(self, slots: Array, signs: Array, batch: Batch, order: Array | None) -> None:
        self._slots, self._signs, self._batch, self._order = slots, signs, batch, order
        self._rows: dict[tuple[int | None, int | None], Rows] = {}
        self._masks: dict[tuple[int | None, int | None], Array | None] = {}

    def mask(self, argument: int | None, filter: int | None) -> Array | None:
        """Which rows; None: all."""
        key = (argument, filter)
        if key not in self._masks:
            mask: Array | None = None
            if filter is not None:
                mask = self._batch.column(filter).fill_null(False).to_numpy(zero_copy_only=False)
            if argument is not None:
                valid = validity(self._batch.column(argument))
                if valid.size:
                    mask = valid if mask is None else mask & valid
            self._masks[key] = mask
        return self._masks[key]

    def rows(self, argument: int | None, filter: int | None) -> Rows:
        key = (argument, filter)
        if key not in self._rows:
            values = None if argument is None else self._batch.column(argument)
            mask = self.mask(argument, filter)
            if mask is None:
                self._rows[key] = Rows(self._slots, self._signs, values, self._order)
            else:
                self._rows[key] = Rows(
                    self._slots[mask],
                    self._signs[mask] if len(self._signs) else EVERY,
                    None if values is None else values.filter(pa.array(mask)),
                    None if self._order is None else self._order[mask],
                )
        return self._rows[key]


def deviation(sums: tuple[Array, Array], squares: tuple[Array, Array], n: Array) -> Array:
    """squares - sums**2 / n in double-doubles, not below 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        count = np.maximum(n, 1).astype(np.float64)
        mean = sums[0] / count
        p, e = two_product(mean, count)
        rest = ((sums[0] - p) - e + sums[1]) / count  # mean + rest is sum / n
        high, low = two_product(sums[0], mean)
        low = low + sums[0] * rest + sums[1] * mean
        s, t = two_sum(squares[0], -high)
        out = s + (t + squares[1] - low)
        # Less than this is rounding: about 106 bits are exact. So is what larger values leave behind when they went.
        out = np.where(n > 1, out, np.where(np.isfinite(squares[0]), 0.0, np.nan))
        return np.where(out > squares[0] * 2.0**-98, out, np.where(np.isnan(out), out, 0.0))


def can_share_slices(calls: Sequence[AggCall]) -> bool:
    """Whether partial results of these calls over append-only input can be merged."""
    return all(not c.distinct and AGGREGATES[c.function].mergeable for c in calls)
