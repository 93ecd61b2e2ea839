"""The streaming halves of ARRAY_AGG and COLLECT."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming.kept import GroupRows, Kept
from sqlstream.state.arrays import Array


class Collected(Kept):
    """ARRAY_AGG."""

    def needed(self) -> tuple[int, ...]:
        return ()

    def of_rows(self, rows: GroupRows, slots: Array) -> pa.Array:
        rows = rows.repeated()
        return rows.as_lists(rows.args[0], rows.sizes == 0).cast(self.call.result.arrow())


class Counts(Kept):
    """COLLECT: each value with its number."""

    ordered = False

    def of_rows(self, rows: GroupRows, slots: Array) -> pa.Array:
        offsets, (values,) = pa.array(rows.offsets.astype(np.int32)), rows.args
        return pa.MapArray.from_arrays(offsets, values, pa.array(rows.counts.astype(np.int32))).cast(
            self.call.result.arrow()
        )
