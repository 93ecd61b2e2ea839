"""Columns of values that lie in a block of bytes, as places and lengths: how messages of databases are taken apart."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.connectors.value_kernels import gather


def texts_at(data: np.ndarray, begins: np.ndarray, sizes: np.ndarray, t: pa.DataType | None = None) -> pa.Array:
    """Strings (or `t`: binary) of `data` (uint8) that begin at places and have lengths (int64); a negative length is NULL."""
    begins, sizes = np.ascontiguousarray(begins), np.ascontiguousarray(sizes)
    offsets = np.zeros(len(begins) + 1, np.int64)
    np.cumsum(np.maximum(sizes, 0), out=offsets[1:])
    out = np.empty(int(offsets[-1]), np.uint8)
    gather(data, begins, sizes, len(begins), out)
    null = sizes < 0
    valid = None if not null.any() else pa.array(~null).buffers()[1]
    buffers = [valid, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(out)]
    return pa.Array.from_buffers(pa.string() if t is None else t, len(begins), buffers)
