"""Arrow arrays as NumPy views, and back, without copies where the layouts agree.

Everything takes arrays however they are chunked, sliced or dictionary encoded: `plain` comes first.
A validity is a bool array, or the empty array `ALL` when nothing is NULL (that is what kernels expect).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from sqlstream.errors import DataError
from sqlstream.state import arena_kernels
from sqlstream.state.memory import grown as grown

Array = np.ndarray[Any, Any]

ALL: Array = np.empty(0, np.bool_)
INT32_MAX = 2**31 - 1


def is_bytes(t: pa.DataType) -> bool:
    """Types whose values are kept as byte strings with int32 offsets."""
    return bool(pt.is_string(t) or pt.is_binary(t))


def is_words(t: pa.DataType) -> bool:
    """Types of fixed width that fit in one 64-bit word."""
    return bool(
        pt.is_boolean(t)
        or pt.is_integer(t)
        or t == pa.float32()
        or t == pa.float64()
        or pt.is_temporal(t)
        and not pt.is_interval(t)
    )


def is_pair(t: pa.DataType) -> bool:
    """Whether `fixed` gives two words a value: decimals."""
    return bool(pt.is_decimal128(t))


def combined(a: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array, whatever the chunks."""
    if isinstance(a, pa.ChunkedArray):
        a = a.combine_chunks()
        if isinstance(a, pa.ChunkedArray):  # older Arrow when there is no chunk, or too much for one
            a = pa.concat_arrays(a.chunks) if a.num_chunks else pa.array([], a.type)
    return a


def plain(a: pa.Array | pa.ChunkedArray, to: pa.DataType | None = None) -> pa.Array:
    """`a` as one array without dictionary, extension or view encoding; cast to `to` if given."""
    a = combined(a)
    while True:
        t = a.type
        if to is not None and t.equals(to):
            return a
        if pt.is_dictionary(t):
            a = a.dictionary_decode()
        elif isinstance(t, pa.BaseExtensionType):
            a = a.storage
        elif pt.is_run_end_encoded(t):
            a = pc.run_end_decode(a)
        else:
            break
    if to is not None:
        return a.cast(to)
    if pt.is_large_string(t) or pt.is_string_view(t):
        return a.cast(pa.string())
    if pt.is_large_binary(t) or pt.is_fixed_size_binary(t) or pt.is_binary_view(t):
        return a.cast(pa.binary())
    if pt.is_timestamp(t) and t.unit != "us":
        return a.cast(pa.timestamp("us", t.tz))
    if pt.is_duration(t) and t.unit != "us":
        return a.cast(pa.duration("us"))
    if pt.is_time32(t) or (pt.is_time64(t) and t.unit != "us"):
        return a.cast(pa.time64("us"))
    if pt.is_decimal(t) and not pt.is_decimal128(t):
        return a.cast(pa.decimal128(t.precision, t.scale))
    if t == pa.float16():
        return a.cast(pa.float32())
    return a


def validity(a: pa.Array) -> Array:
    """True where not NULL, or `ALL`."""
    if a.null_count == 0:
        return ALL
    bits = a.buffers()[0]
    if bits is None:  # pa.null()
        return np.zeros(len(a), np.bool_)
    return _bits(bits, a.offset, len(a))


def _bits(buffer: pa.Buffer, offset: int, n: int) -> Array:
    start = offset // 8
    raw = np.frombuffer(buffer, np.uint8)[start : (offset + n + 7) // 8]
    return np.unpackbits(raw, bitorder="little")[offset - start * 8 :][:n].view(np.bool_)


def dtype_of(t: pa.DataType) -> np.dtype[Any]:
    """The NumPy type that holds values of a `is_words` type: times are integers."""
    if pt.is_boolean(t):
        return np.dtype(np.bool_)
    if pt.is_temporal(t):
        return np.dtype(np.int32 if t.bit_width == 32 else np.int64)
    dtype: np.dtype[Any] = np.dtype(t.to_pandas_dtype())
    return dtype


def fixed(a: pa.Array) -> Array:
    """Values of a `is_words` (1-D) or `is_pair` array ((n, 2) int64: low, high); anything where NULL."""
    n, t = len(a), a.type
    data = a.buffers()[1]
    if data is None or n == 0:
        return np.zeros((n, 2) if is_pair(t) else n, np.int64 if is_pair(t) else dtype_of(t))
    if pt.is_boolean(t):
        return _bits(data, a.offset, n)
    if is_pair(t):
        pair = np.frombuffer(data, np.int64, count=2 * n, offset=16 * a.offset).reshape(n, 2)
        return pair if pair.flags.aligned else pair.copy()
    dtype = dtype_of(t)
    out = np.frombuffer(data, dtype, count=n, offset=dtype.itemsize * a.offset)
    return out if out.flags.aligned else out.copy()


def byte_strings(a: pa.Array) -> tuple[Array, Array]:
    """Data (uint8) and offsets (int32, n + 1) of a `is_bytes` array."""
    n = len(a)
    _, offsets, data = a.buffers()
    if n == 0 or offsets is None:
        return np.empty(0, np.uint8), np.zeros(n + 1, np.int32)
    o = np.frombuffer(offsets, np.int32, count=n + 1, offset=4 * a.offset)
    d = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return d, o if o.flags.aligned else o.copy()


def _valid_buffer(valid: Array) -> tuple[pa.Buffer | None, int]:
    if valid.size == 0 or valid.all():
        return None, 0
    return pa.py_buffer(np.packbits(valid, bitorder="little")), int(valid.size - np.count_nonzero(valid))


def from_fixed(values: Array, valid: Array, t: pa.DataType) -> pa.Array:
    """The Arrow array of `values` as `fixed` gives them. Takes ownership of the arrays."""
    n = len(values)
    bits, nulls = _valid_buffer(valid)
    if pt.is_boolean(t):
        data = np.packbits(values, bitorder="little")
    elif is_pair(t):
        data = np.ascontiguousarray(values)
    else:
        data = np.ascontiguousarray(values, dtype_of(t))
    return pa.Array.from_buffers(t, n, [bits, pa.py_buffer(data)], nulls)


def from_bytes(data: Array, offsets: Array, valid: Array, t: pa.DataType) -> pa.Array:
    """The Arrow array of byte strings end to end (offsets int32). Takes ownership of the arrays."""
    bits, nulls = _valid_buffer(valid)
    buffers = [bits, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(t, len(offsets) - 1, buffers, nulls)


def gather(arena: Array, spans: Array, slots: Array, t: pa.DataType) -> pa.Array:
    """The byte strings at `slots` of an arena as an Arrow array."""
    total = arena_kernels.total_length(spans, slots)
    if total > INT32_MAX:
        raise DataError(f"{len(slots)} strings of {total} bytes do not fit in one Arrow array (2 GiB)")
    offsets, out = np.empty(len(slots) + 1, np.int32), np.empty(total, np.uint8)
    arena_kernels.gather_bytes(arena, spans, slots, offsets, out)
    return from_bytes(out, offsets, spans[slots, 1] >= 0, t)


def no_spans(n: int) -> Array:
    """Spans of n NULLs."""
    spans = np.zeros((n, 2), np.int32)
    spans[:, 1] = -1
    return spans


def grown_spans(spans: Array, n: int) -> Array:
    """Spans with n rows, the new ones NULL."""
    out = grown(spans, n)
    out[len(spans) :, 1] = -1
    return out


def as_slots(slots: Any) -> Array:
    """As kernels take them: int64, contiguous. Copied only where they are not so already."""
    return np.ascontiguousarray(slots, np.int64)
