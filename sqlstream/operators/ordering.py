"""ORDER BY over Arrow columns as int64 arrays: the smaller comes first.

`sortable` is exact among the rows given (strings are ranked among them), so it orders one epoch's candidates.
`coarse` is comparable across batches: where it differs it decides, where it is equal the rows may still differ. It
is what operators keep to drop, early, the rows that cannot matter.

-0.0 equals 0.0, NaN is greater than every number, strings compare by bytes: DuckDB's order, and Flink's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.operators.join_kernels import sort_groups
from sqlstream.plan.nodes import SortKey
from sqlstream.state.arrays import Array, as_slots, byte_strings, fixed, is_bytes, is_pair, is_words, plain, validity
from sqlstream.state.keys import canonical, stable_hash

LEAST, GREATEST = np.int64(-(2**63)), np.int64(2**63 - 1)
SIGN = np.uint64(1 << 63)


def sortable(a: pa.Array, key: SortKey) -> list[Array]:
    """Keys for `sort`, the most significant first."""
    a = plain(a)
    valid = validity(a)
    values = _exact(a)
    if not key.ascending:
        values = [~v for v in values]
    if not valid.size:
        return values
    flag = valid if key.nulls_first else ~valid
    return [flag.astype(np.int64), *(np.where(valid, v, np.int64(0)) for v in values)]


def coarse(a: pa.Array, key: SortKey) -> Array:
    """One int64 for each row; never greater for a row that comes first."""
    a = plain(a)
    valid = validity(a)
    if is_words(a.type):
        values = _exact(a)[0]
    elif is_pair(a.type):
        values = _exact(a.cast(pa.float64()))[0]
    elif is_bytes(a.type):
        values = _prefix(a)
    else:
        return np.zeros(len(a), np.int64)
    if not key.ascending:
        values = ~values
    return np.where(valid, values, LEAST if key.nulls_first else GREATEST) if valid.size else values


def by_hash(columns: list[pa.Array], n: int) -> Array:
    """An order for rows that have none: the same in every run."""
    return stable_hash([canonical(plain(c)) for c in columns], n).view(np.int64)


def _exact(a: pa.Array) -> list[Array]:
    """Ascending keys; anything where NULL."""
    t = a.type
    if is_words(t):
        values = fixed(a)
        if values.dtype.kind == "f":
            doubles = values.astype(np.float64) + 0.0
            bits = doubles.view(np.int64)
            bits = np.where(bits < 0, bits ^ GREATEST, bits)
            return [np.where(np.isnan(doubles), GREATEST, bits)]
        return [values.astype(np.int64, copy=False)]
    if is_pair(t):
        words = fixed(a)
        low = np.ascontiguousarray(words[:, 0]).view(np.uint64) ^ SIGN
        return [np.ascontiguousarray(words[:, 1]), low.view(np.int64)]
    if is_bytes(t):
        return [pc.rank(a, sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.int64)]
    # Nested values have no order in SQL: any that all runs agree on.
    return [by_hash([a], len(a))]


def _prefix(a: pa.Array) -> Array:
    """The first 8 bytes as a number."""
    data, offsets = byte_strings(a)
    start, length = offsets[:-1].astype(np.int64), np.diff(offsets)
    out = np.zeros(len(a), np.uint64)
    if len(data):
        for k in range(8):
            there = length > k
            byte = np.where(there, data[np.where(there, start + k, 0)], 0).astype(np.uint64)
            out = (out << np.uint64(8)) | byte
    return (out ^ SIGN).view(np.int64)


def sort(group: Array, keys: list[Array], groups: int) -> tuple[Array, Array]:
    """The order by group (of 0..groups - 1), then keys; and, in that order, True where a row differs from the one
    before."""
    n = len(group)
    matrix = np.stack(keys, axis=1) if keys else np.empty((n, 0), np.int64)
    order = np.empty(n, np.int64)
    sort_groups(as_slots(group), matrix, np.zeros(groups + 1, np.int64), order, np.empty(n, np.int64))
    new = np.zeros(n, np.bool_)
    new[:1] = True
    for k in (group, *keys):
        sorted_ = k[order]
        new[1:] |= sorted_[1:] != sorted_[:-1]
    return order, new


def break_ties(order: Array, new: Array, columns: Callable[[], list[pa.Array]]) -> Array:
    """`order` with rows that are equal so far ordered by `columns()`, each ascending with NULLs last."""
    if new.all():
        return order
    peers = np.cumsum(new) - 1
    tied = np.bincount(peers)[peers] > 1
    at = np.flatnonzero(tied)
    rows = pa.array(order[at])
    keys: list[Array] = []
    for c in columns():
        keys += sortable(plain(c).take(rows), SortKey(0, True, False))
    groups = np.cumsum(new[at]) - 1
    inner, _ = sort(groups, keys, int(groups[-1]) + 1)
    out = order.copy()
    out[at] = order[at][inner]
    return out
