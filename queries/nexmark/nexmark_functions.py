"""The Python function of q14."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream import udf


@udf(input_types=["STRING", "STRING"], result_type="BIGINT", func_type="arrow")
def count_char(text: pa.Array, char: pa.Array) -> pa.Array:
    """How often `char` occurs in `text`, for many rows at a time; NULL gives NULL."""
    chars = pc.unique(char).to_pylist()
    if len(chars) == 1 and chars[0] and len(chars[0].encode()) == 1:  # as a rule it is a constant
        return _count_byte(text, ord(chars[0]))
    pairs = zip(text.to_pylist(), char.to_pylist(), strict=True)
    return pa.array([None if t is None or c is None else t.count(c) for t, c in pairs], pa.int64())


def _count_byte(text: pa.Array, byte: int) -> pa.Array:
    """Of an ASCII character: in UTF-8 its byte is part of no other one."""
    _, offsets, data = text.buffers()
    ends = np.frombuffer(offsets, np.int32, len(text) + 1, 4 * text.offset)
    found = np.flatnonzero(np.frombuffer(data or b"", np.uint8) == byte)
    counts = np.diff(np.searchsorted(found, ends))
    return pa.array(counts, mask=np.asarray(text.is_null()) if text.null_count else None)
