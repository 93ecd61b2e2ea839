"""The Python function of q14."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream import udf


@udf(input_types=["STRING", "STRING"], result_type="BIGINT", func_type="arrow")
def count_char(text: pa.Array, char: pa.Array) -> pa.Array:
    """How often `char` occurs in `text`, for many rows at a time; NULL gives NULL."""
    chars = pc.unique(char).to_pylist()
    if len(chars) == 1 and chars[0]:  # as a rule it is a constant
        return pc.count_substring(text, chars[0]).cast(pa.int64())
    pairs = zip(text.to_pylist(), char.to_pylist(), strict=True)
    return pa.array([None if t is None or c is None else t.count(c) for t, c in pairs], pa.int64())
