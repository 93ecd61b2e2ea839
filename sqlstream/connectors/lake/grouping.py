"""The rows of a batch by the values of their partition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

Key = tuple[Any, ...]


def grouped(rows: pa.RecordBatch, values: Sequence[pa.Array]) -> Iterator[tuple[Key, pa.RecordBatch]]:
    """`rows` by what they have in `values` (as Python values, None for NULL), in their order within each group. Without
    `values` they are one group."""
    if not values or not rows.num_rows:
        yield (None,) * len(values), rows
        return
    codes = np.zeros(rows.num_rows, np.int64)
    levels: list[list[Any]] = []
    for v in values:
        encoded = v.dictionary_encode()
        level = [*encoded.dictionary.to_pylist(), None]
        codes = codes * len(level) + encoded.indices.fill_null(len(level) - 1).to_numpy(zero_copy_only=False)
        # a product of many long levels does not fit 64 bits: numbers of those that are there do
        found, codes = np.unique(codes, return_inverse=True)
        levels = [[level[i % len(level)] for i in found]] if not levels else [
            *([x[i // len(level)] for i in found] for x in levels),
            [level[i % len(level)] for i in found],
        ]  # fmt: skip
    keys = list(zip(*levels, strict=True))
    if len(keys) == 1:
        yield keys[0], rows
        return
    order = np.argsort(codes, kind="stable")
    sorted_rows = rows.take(pa.array(order))
    ends = np.cumsum(np.bincount(codes, minlength=len(keys)))
    for key, begin, end in zip(keys, [0, *ends[:-1]], ends, strict=True):
        yield key, sorted_rows.slice(int(begin), int(end - begin))
