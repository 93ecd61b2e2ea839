"""The streaming halves of JSON_OBJECTAGG and JSON_ARRAYAGG."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.aggregates.json import TWICE
from sqlstream.aggregates.streaming.kept import GroupRows, Kept
from sqlstream.errors import DataError
from sqlstream.state.arrays import Array


class ArrayText(Kept):
    """JSON_ARRAYAGG."""

    def of_rows(self, rows: GroupRows, slots: Array) -> pa.Array:
        rows = rows.repeated()
        return pc.binary_join_element_wise("[", pc.binary_join(rows.as_lists(rows.args[0]), ","), "]", "")


class ObjectText(Kept):
    """JSON_OBJECTAGG."""

    ordered = False

    def needed(self) -> tuple[int, ...]:
        return self.args[1:]

    def of_rows(self, rows: GroupRows, slots: Array) -> pa.Array:
        rows = rows.repeated()
        keys, values = rows.args
        if keys.null_count:
            raise DataError(TWICE)
        if len(keys) > 1:
            again = pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1)).to_numpy(zero_copy_only=False)
            again[rows.offsets[(rows.offsets > 0) & (rows.offsets < len(keys))] - 1] = False
            if again.any():
                raise DataError(TWICE)
        members = pc.binary_join_element_wise(keys, values, ":").take(pa.array(_by_key(keys, rows.offsets)))
        return pc.binary_join_element_wise("{", pc.binary_join(rows.as_lists(members), ","), "}", "")


def _by_key(keys: pa.Array, offsets: Array) -> Array:
    """The order of members within their groups: by what the keys say, not by how JSON writes it."""
    if pc.any(pc.match_substring(keys, "\\")).as_py():
        said = pa.array([json.loads(k) for k in keys.to_pylist()], pa.string())
    else:
        said = pc.binary_slice(pc.cast(keys, pa.binary()), 1, -1)
    group = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return np.lexsort((pc.rank(said, tiebreaker="dense").to_numpy(), group))
