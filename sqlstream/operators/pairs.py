"""What all joins share: finding equal keys within an epoch, the residual condition, and building output rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.batches import OP, Kind
from sqlstream.expressions import Expr
from sqlstream.functions.user import UserFunction
from sqlstream.operators.evaluate import Evaluator
from sqlstream.operators.row_store import RowSource
from sqlstream.rendering.expressions import predicate
from sqlstream.state.arrays import ALL, Array, validity
from sqlstream.state.index import HashIndex
from sqlstream.types import Schema

# Pairs are made, filtered and emitted so many at a time: a join without keys makes very many.
PAIRS_A_PIECE = 1 << 20
LEFT_ONLY = ("SEMI", "ANTI")


def never_equal(rows: pa.RecordBatch, keys: tuple[int, ...], null_safe: tuple[bool, ...]) -> Array:
    """True for rows with a NULL in a key that compares by `=`, or `ALL` (the empty array) when there are none."""
    out = ALL
    for k, safe in zip(keys, null_safe, strict=True):
        valid = validity(rows.column(k))
        if not safe and valid.size:
            out = ~valid if not out.size else out | ~valid
    return out


def pieces(counts: Array) -> Iterator[slice]:
    """Slices of rows with about `PAIRS_A_PIECE` matches together; `counts`: of each. None when there are none."""
    ends = np.cumsum(counts)
    start, total = 0, int(ends[-1]) if len(ends) else 0
    if total == 0:
        return
    while start < len(counts):
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + PAIRS_A_PIECE, side="right")))
        yield slice(start, end)
        start = end


class Probed(Protocol):
    """Rows that are found by their keys."""

    def probe(self, keys: list[pa.Array], n: int) -> Iterator[tuple[Array, Array]]:
        """(index into the probing rows, index into these), in the order of both; in pieces."""


class KeyTable:
    """A hash table over the rows of one batch: `probe` gives all pairs with equal keys (NULL equals NULL here)."""

    def __init__(self, keys: list[pa.Array], n: int) -> None:
        self._index = HashIndex([k.type for k in keys])
        slots, _ = self._index.upsert(keys, n)
        self._rows = np.argsort(slots, kind="stable")
        self._count = np.bincount(slots, minlength=1)
        self._first = np.cumsum(self._count) - self._count

    def probe(self, keys: list[pa.Array], n: int) -> Iterator[tuple[Array, Array]]:
        """(index into the probing rows, index into the table's rows), in the order of both; in pieces."""
        slots = self._index.find(keys, n)
        known = np.flatnonzero(slots >= 0)
        slots = slots[known]
        for piece in pieces(self._count[slots]):
            here = slots[piece]
            count = self._count[here]
            at = np.repeat(known[piece], count)
            offset = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count)
            yield at, self._rows[np.repeat(self._first[here], count) + offset]


class Residual:
    """A condition over left and right columns, for pairs that are given by index. Reads only the columns it needs."""

    def __init__(self, condition: Expr, left: Schema, right: Schema, time_zone: str) -> None:
        used = sorted(condition.columns())
        self._left = [i for i in used if i < len(left)]
        self._right = [i - len(left) for i in used if i >= len(left)]
        types = [left[i].type.arrow() for i in self._left] + [right[i].type.arrow() for i in self._right]
        self._schema = pa.schema([(f"c{i}", t) for i, t in zip(used, types, strict=True)])
        functions = set[UserFunction]()
        self._evaluator = Evaluator([("keep", predicate(condition, functions))], None, time_zone, functions)

    def holds(self, left: RowSource, li: Array, right: RowSource, ri: Array) -> Array:
        """Whether the condition is true, for each pair."""
        if not len(li):
            return np.empty(0, np.bool_)
        columns = (left.columns(li, self._left) if self._left else []) + (
            right.columns(ri, self._right) if self._right else []
        )
        if columns:
            batch = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        else:
            batch = pa.RecordBatch.from_arrays([pa.array(li)], names=["row"])
        keep = self._evaluator.run(batch).column(0)
        return np.asarray(pc.fill_null(keep, False).to_numpy(zero_copy_only=False))

    def close(self) -> None:
        """Its connection is gone; not to be asked any more."""
        self._evaluator.close()


class Output:
    """Builds a join's output batches: left columns, right columns, `_op` where the output is a changelog, and `_wm`."""

    def __init__(self, schema: pa.Schema, left: Schema, right: Schema, left_only: bool) -> None:
        self._schema = schema
        self._left, self._right = left, right
        self._left_only = left_only
        self.batches: list[pa.RecordBatch] = []

    def pairs(
        self,
        left: RowSource,
        li: Array,
        right: RowSource,
        ri: Array,
        weight: Array | None = None,
        marks: Array | None = None,
    ) -> None:
        """Rows `li` of `left` beside rows `ri` of `right`, each `weight` times (None: once); `marks`: their `_wm`."""
        self._emit(left, li, right, ri, weight, marks)

    def left(self, left: RowSource, li: Array, weight: Array | None = None, marks: Array | None = None) -> None:
        """Left rows without a right one: padded with NULLs, or alone (SEMI, ANTI)."""
        self._emit(left, li, None, li, weight, marks)

    def right(self, right: RowSource, ri: Array, weight: Array | None = None, marks: Array | None = None) -> None:
        """Right rows without a left one, padded with NULLs."""
        self._emit(None, ri, right, ri, weight, marks)

    def take(self) -> list[pa.RecordBatch]:
        """The batches made since the last call, in order."""
        out, self.batches = self.batches, []
        return out

    def _emit(
        self,
        left: RowSource | None,
        li: Array,
        right: RowSource | None,
        ri: Array,
        weight: Array | None,
        marks: Array | None,
    ) -> None:
        if weight is not None:
            many = np.abs(weight)
            if len(many) and (many != 1).any():
                li, ri, weight = np.repeat(li, many), np.repeat(ri, many), np.repeat(weight, many)
        if not len(li):
            return
        columns = _side(left, li, self._left)
        if not self._left_only:
            columns += _side(right, ri, self._right)
        if OP in self._schema.names:
            op = np.zeros(len(li), np.int8) if weight is None else operations(weight)
            columns.append(pa.array(op))
        if marks is not None:
            columns.append(pa.array(marks))
        self.batches.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))


def operations(weight: Array) -> Array:
    """`_op` by sign: +I or -D."""
    return np.where(weight > 0, np.int8(Kind.INSERT), np.int8(Kind.DELETE))


def _side(source: RowSource | None, at: Array, schema: Schema) -> list[pa.Array]:
    if source is None:
        return [pa.nulls(len(at), c.type.arrow()) for c in schema]
    return source.columns(at, list(range(len(schema))))
