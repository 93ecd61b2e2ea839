"""Kept: the half of a call whose result is made of all rows of a group, in order: ARRAY_AGG, LISTAGG, PERCENTILE, ….

Rows are in order by the call's ORDER BY, then by arrival where that is known and rows stay, else by their values, as
the DuckDB text of the call has them. NULLs come last where nothing says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.aggregates.streaming.extremes import ranks
from sqlstream.aggregates.streaming.half import Call, Groups, Half
from sqlstream.aggregates.streaming.value_index import Held, Indexed
from sqlstream.errors import InternalError, NotSupported
from sqlstream.state.arrays import Array, fixed, is_bytes, is_pair, validity
from sqlstream.state.index import HashIndex


@dataclass(frozen=True)
class GroupRows:
    """The rows of some groups, one group after the other. offsets: where each group begins, and where the last one ends.
    args: the call's arguments."""

    offsets: Array
    args: list[pa.Array]
    counts: Array

    @property
    def sizes(self) -> Array:
        """How many rows each group has."""
        return np.diff(self.offsets)

    def repeated(self) -> GroupRows:
        """Each row as often as it is there."""
        if (self.counts == 1).all():
            return self
        at = pa.array(np.repeat(np.arange(len(self.counts)), self.counts))
        ends = np.concatenate([[0], np.cumsum(self.counts)])
        return GroupRows(ends[self.offsets], [a.take(at) for a in self.args], np.ones(len(at), np.int64))

    def as_lists(self, values: pa.Array, mask: Array | None = None) -> pa.ListArray:
        """The values of the rows as a list a group, NULL where `mask`."""
        return pa.ListArray.from_arrays(
            pa.array(self.offsets.astype(np.int32)), values, mask=None if mask is None else pa.array(mask)
        )


class Kept(Half):
    """A subclass gives `of_rows`. ordered: the result depends on the order of rows."""

    ordered = True

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        self.args = self.of_the_rows(call)
        columns = tuple(dict.fromkeys((*self.args, *(k.column for k in call.order))))
        self.of = Indexed(columns, tuple(dict.fromkeys(self.needed())), self.ordered and groups.arrival)
        self.index = groups.index(self.of, call)
        self.index.listed = True
        if self.ordered and not self.of.ordered:
            for t in call.types[: len(self.args)]:
                if t.kind in ("ROW", "ARRAY", "MAP", "MULTISET"):
                    raise NotSupported(
                        f"{call.text}: rows that change, or whose arrival is not known, are listed by their values, and "
                        f"{t.null().text()} has no order",
                        hint="take JSON_STRING(…) of it",
                    )

    def result(self, slots: Array) -> pa.Array:
        return self.of_rows(self._rows(slots), slots)

    def of_the_rows(self, call: Call) -> tuple[int, ...]:
        """The arguments that are kept of each row."""
        return call.args

    def needed(self) -> tuple[int, ...]:
        """Those of them that are not NULL in the rows that count."""
        return self.args

    def of_rows(self, rows: GroupRows, slots: Array) -> pa.Array:
        """The call's value for each of the groups `slots`, of the call's type."""
        raise InternalError(f"{type(self).__name__}.of_rows")

    def _rows(self, slots: Array) -> GroupRows:
        held, call = self.index.held(slots, self.call.filter), self.call
        column = dict(zip(self.of.columns, held.columns, strict=True))
        at = self._order(held, column)
        counts = held.counts[at]
        if call.distinct and len(at):
            args = [pa.array(held.group[at]), *(column[a].take(pa.array(at)) for a in self.args)]
            _, first = HashIndex([a.type for a in args]).upsert(args, len(at))
            at, counts = at[first], np.ones(int(first.sum()), np.int64)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(held.group[at], minlength=len(slots)))])
        taken = pa.array(at)
        return GroupRows(offsets.astype(np.int64), [column[a].take(taken) for a in self.args], counts)

    def _order(self, held: Held, column: dict[int, pa.Array]) -> Array:
        keys: list[Array] = []  # the least significant first, as lexsort takes them
        if held.order is not None:
            keys.append(held.order)
        else:
            for a in reversed(self.args):
                if not pa.types.is_nested(column[a].type):
                    keys += sort_keys(column[a], ascending=True, nulls_first=False)
        for k in reversed(self.call.order):
            keys += sort_keys(column[k.column], ascending=k.ascending, nulls_first=k.nulls_first)
        return np.lexsort((*keys, held.group))


def sort_keys(values: pa.Array, *, ascending: bool, nulls_first: bool) -> list[Array]:
    """The order of values as whole numbers, the least significant first. NaN is greatest, strings go by their bytes."""
    valid = validity(values)
    words = _ordered(values)
    if not ascending:
        words = [~w for w in words]
    if not valid.size:
        return words
    return [*(np.where(valid, w, 0) for w in words), valid if nulls_first else ~valid]


def _ordered(values: pa.Array) -> list[Array]:
    t = values.type
    if is_pair(t):
        pairs = fixed(values)
        low = np.ascontiguousarray(pairs[:, 0]) ^ np.int64(-(2**63))
        return [low, np.ascontiguousarray(pairs[:, 1])]
    if is_bytes(t):
        return [pc.rank(values, sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.int64)]
    return [ranks(values)]
