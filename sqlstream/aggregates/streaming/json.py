"""The streaming halves of JSON_OBJECTAGG and JSON_ARRAYAGG."""

from __future__ import annotations

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
        members = pc.binary_join_element_wise(keys, values, ":")
        return pc.binary_join_element_wise("{", pc.binary_join(rows.as_lists(members), ","), "}", "")
