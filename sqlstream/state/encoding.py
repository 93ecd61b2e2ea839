"""Canonical bytes: nested key values (ROW, ARRAY, MAP) as byte strings that are equal just when the values are.

    row     NULL bitmap (one bit a column, little-endian), then the columns that are not NULL:
              fixed width   the value, little-endian (booleans 1 byte, decimals 16)
              strings       length (4 bytes) and bytes
              ROW           length and a row of its fields
              ARRAY         length and: number of elements, their lengths (4 bytes each), each as a row
              MAP           as an ARRAY of ROWs of key and value, in the order of their keys' bytes

-0.0 is 0.0 and there is one NaN. The bytes decide key groups, by their hash: they are part of the durable format.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from sqlstream.errors import DataError, InternalError
from sqlstream.state import packing_kernels
from sqlstream.state.arrays import (
    INT32_MAX,
    Array,
    byte_strings,
    fixed,
    from_bytes,
    is_bytes,
    is_pair,
    is_words,
    plain,
    validity,
)
from sqlstream.state.fields import Field, heads, pack_fields
from sqlstream.state.fields import Packed as Packed


def encode_rows(arrays: list[pa.Array], n: int) -> Packed:
    """Rows of n values of each array."""
    fields = [canonical_field(plain(a)) for a in arrays]
    return pack_fields(heads(fields, n), fields)


def canonical_bytes(a: pa.Array) -> pa.Array:
    """Nested values as binary: equal values give equal bytes, different ones different; NULL stays NULL."""
    valid = validity(a)
    blobs = spread(_blobs(a.drop_null() if valid.size else a), valid)
    if blobs.offsets[-1] > INT32_MAX:
        raise DataError(f"{len(a)} keys of {blobs.offsets[-1]} bytes do not fit in one Arrow array (2 GiB)")
    return from_bytes(blobs.data, blobs.offsets.astype(np.int32), valid, pa.binary())


def canonical_field(a: pa.Array) -> Field:
    """A `plain` column in the form that is the same for equal values."""
    t, valid = a.type, validity(a)
    if is_words(t) or is_pair(t):
        values = fixed(a)
        if values.dtype.kind == "f":
            values = values + values.dtype.type(0)  # -0.0 + 0.0 is 0.0
            values[np.isnan(values)] = np.nan
        return little_endian(values), valid
    return exact_field(a) or (spread(_blobs(a.drop_null() if valid.size else a), valid), valid)


def exact_field(a: pa.Array) -> Field | None:
    """A `plain` column as it is; None if it is nested."""
    t, valid = a.type, validity(a)
    if pt.is_null(t):
        return np.empty((len(a), 0), np.uint8), np.zeros(len(a), np.bool_)
    if is_bytes(t):
        data, offsets = byte_strings(a)
        return Packed(data, offsets.astype(np.int64)), valid
    return (little_endian(fixed(a)), valid) if is_words(t) or is_pair(t) else None


def little_endian(values: Array) -> Array:
    """Values of `fixed` as (n, width) bytes; a view where it can be."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    width = values.itemsize * (values.shape[1] if values.ndim == 2 else 1)
    return little.view(np.uint8).reshape(len(values), width)


def spread(blobs: Packed, valid: Array) -> Packed:
    """Byte strings of the valid rows only, as of all rows."""
    if not valid.size:
        return blobs
    offsets = np.zeros(len(valid) + 1, np.int64)
    offsets[1:][valid] = np.diff(blobs.offsets)
    return Packed(blobs.data, np.cumsum(offsets))


def _blobs(a: pa.Array) -> Packed:
    """Nested values without NULLs."""
    t, n = a.type, len(a)
    a = a.take(pa.array(np.arange(n)))  # offset 0 and nothing between the values
    if pt.is_struct(t):
        return encode_rows([a.field(i) for i in range(t.num_fields)], n)
    if pt.is_map(t):
        first = _first(a)
        keys, items = a.keys[: first[-1]], a.items[: first[-1]]
        order = _entry_order(keys, first)
        keys, items = keys.take(order), items.take(order)
        elements = pa.StructArray.from_arrays([keys, items], ["k", "v"])
    elif pt.is_list(t) or pt.is_large_list(t):
        first = _first(a)
        elements = a.values[: first[-1]]
    elif pt.is_fixed_size_list(t):
        first = np.arange(n + 1) * t.list_size
        elements = a.values[: first[-1]]
    else:
        raise InternalError(f"a value of Arrow type {t} cannot be kept in state")
    rows = encode_rows([elements], int(first[-1]))
    offsets = 4 * np.arange(n + 1) + 4 * first + rows.offsets[first]
    out = np.empty(int(offsets[-1]), np.uint8)
    packing_kernels.pack_lists(out, offsets[:-1].copy(), first, rows.data, rows.offsets)
    return Packed(out, offsets)


def _first(a: pa.Array) -> Array:
    """Offsets of a list or map array that begins at 0."""
    return np.asarray(a.offsets.to_numpy(zero_copy_only=False), np.int64)


def _entry_order(keys: pa.Array, first: Array) -> pa.Array:
    """Indices that sort the entries of each map by the bytes of their keys."""
    rows = encode_rows([keys], len(keys))
    of_map = np.repeat(np.arange(len(first) - 1), np.diff(first))
    table = pa.table({"m": of_map, "k": as_binary(rows)})
    return pc.sort_indices(table, [("m", "ascending"), ("k", "ascending")])


def as_binary(rows: Packed) -> pa.Array:
    """As a large_binary array; no copy."""
    return pa.Array.from_buffers(
        pa.large_binary(), len(rows), [None, pa.py_buffer(rows.offsets), pa.py_buffer(rows.data)], 0
    )
