"""Nested values (ROW, ARRAY, MAP of any depth) as byte strings, and back as they were: what a packed row has of them.

A value is a segment of one element; a segment of k elements, of all columns one after the other, is

    validity      a bit an element (not for the value itself, which is not NULL)
    fixed width   the values, little-endian (booleans 1 byte), NULLs too
    strings       lengths (4 bytes each), then the bytes
    ROW           a segment of k elements for each field
    ARRAY         the numbers of elements (4 bytes each; none where the type has them), then the segment of them all
    MAP           the same with a segment of keys and one of values, in their order

So that encoding and decoding take a step for each column of the type, whatever the rows. Nothing is normalised:
-0.0, the order of a map and its repeated keys stay. Unlike the canonical encoding, equal values may differ here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyarrow import types as pt

from sqlstream.errors import CheckpointError, DataError, InternalError
from sqlstream.state import packing_kernels
from sqlstream.state.arrays import ALL, INT32_MAX, Array, fixed, validity
from sqlstream.state.fields import Packed

Segments = tuple[Array, Array]  # bytes (uint8), and the bounds of each row's in them (int64)


def encode_nested(a: pa.Array) -> Packed:
    """Values without NULLs. InternalError when the type cannot be kept."""
    a = a.take(pa.array(np.arange(len(a))))  # offset 0 and nothing between the values, in the children too
    parts = [*_content(a, np.arange(len(a) + 1))]
    offsets = np.zeros(len(a) + 1, np.int64)
    for _, bounds in parts:
        offsets += bounds
    out, at = np.empty(int(offsets[-1]), np.uint8), offsets[:-1].copy()
    for data, bounds in parts:
        packing_kernels.pack_segments(out, at, data, bounds)
    return Packed(out, offsets)


def decode_nested(blobs: Packed, t: pa.DataType, what: str) -> pa.Array:
    """The values of type `t`, without NULLs. CheckpointError (about `what`) when these are not the bytes of such."""
    reader = _Reader(blobs, what)
    out = reader.content(t, np.arange(len(blobs) + 1), ALL)
    reader.finish()
    return out


def _segment(a: pa.Array, first: Array) -> Iterator[Segments]:
    """Elements first[i] to first[i + 1] of `a`, of each row i."""
    bounds = _bit_bounds(first)
    bits = np.zeros(int(bounds[-1]), np.uint8)
    packing_kernels.pack_bits(bits, validity(a), first, bounds)
    yield bits, bounds
    yield from _content(a, first)


def _content(a: pa.Array, first: Array) -> Iterator[Segments]:
    """`_segment` without the validity."""
    t, n = a.type, int(first[-1])
    if pt.is_null(t):
        return
    if pt.is_boolean(t):
        yield fixed(a).view(np.uint8), first
    elif pt.is_struct(t):
        for i in range(t.num_fields):
            yield from _segment(a.field(i), first)
    elif pt.is_fixed_size_list(t):
        yield from _segment(a.values[: n * t.list_size], first * t.list_size)
    elif (size := _offset_size(t)) is not None:
        if not n:
            return
        offsets = np.frombuffer(a.buffers()[1], f"<i{size}", count=n + 1, offset=size * a.offset).astype(np.int64)
        yield np.diff(offsets).astype("<u4").view(np.uint8), 4 * first
        begin, end = int(offsets[0]), int(offsets[-1])
        inner = offsets[first] - begin
        if pt.is_map(t):
            yield from _segment(a.keys[begin:end], inner)
            yield from _segment(a.items[begin:end], inner)
        elif pt.is_list(t) or pt.is_large_list(t):
            yield from _segment(a.values[begin:end], inner)
        elif begin < end:
            yield np.frombuffer(a.buffers()[2], np.uint8)[begin:end], inner
    else:
        width = _width(t)
        if n:
            yield np.frombuffer(a.buffers()[1], np.uint8, count=width * n, offset=width * a.offset), width * first


def _bit_bounds(first: Array) -> Array:
    bounds = np.zeros(len(first), np.int64)
    np.cumsum((np.diff(first) + 7) >> 3, out=bounds[1:])
    return bounds


def _offset_size(t: pa.DataType) -> int | None:
    """Bytes of an offset, of types that have such."""
    if pt.is_string(t) or pt.is_binary(t) or pt.is_list(t) or pt.is_map(t):
        return 4
    return 8 if pt.is_large_string(t) or pt.is_large_binary(t) or pt.is_large_list(t) else None


def _width(t: pa.DataType) -> int:
    """Bytes of a value of fixed width."""
    if isinstance(t, pa.BaseExtensionType) or not (
        pt.is_primitive(t) or pt.is_decimal(t) or pt.is_fixed_size_binary(t)
    ):
        raise InternalError(f"a value of Arrow type {t} cannot be kept in state")
    return int(t.bit_width) // 8


class _Reader:
    """Goes over the rows' bytes, a segment of every row at a time."""

    def __init__(self, blobs: Packed, what: str) -> None:
        self._data, self._what = blobs.data, what
        self._at, self._end = blobs.offsets[:-1].copy(), np.ascontiguousarray(blobs.offsets[1:])

    def finish(self) -> None:
        """CheckpointError unless all was read."""
        if (self._at != self._end).any():
            raise self._damaged("it is longer than it says")

    def content(self, t: pa.DataType, first: Array, valid: Array) -> pa.Array:
        """What `_content` gave."""
        n = int(first[-1])
        if pt.is_null(t):
            return pa.nulls(n)
        bits, nulls = None, 0
        if valid.size and not valid.all():
            bits, nulls = pa.py_buffer(np.packbits(valid, bitorder="little")), int(n - np.count_nonzero(valid))
        if pt.is_boolean(t):
            data = np.packbits(self._take(first), bitorder="little")
            return pa.Array.from_buffers(t, n, [bits, pa.py_buffer(data)], nulls)
        if pt.is_struct(t):
            children = [self._segment(t.field(i).type, first) for i in range(t.num_fields)]
            return pa.Array.from_buffers(t, n, [bits], nulls, children=children)
        if pt.is_fixed_size_list(t):
            child = self._segment(t.value_type, first * t.list_size)
            return pa.Array.from_buffers(t, n, [bits], nulls, children=[child])
        if (size := _offset_size(t)) is not None:
            offsets = np.zeros(n + 1, np.int64)
            np.cumsum(self._take(4 * first).view("<u4"), dtype=np.int64, out=offsets[1:])
            inner = offsets[first]
            if pt.is_map(t):
                entries = pa.struct([t.key_field, t.item_field])
                children = [self._segment(f.type, inner) for f in entries]
                if children[0].null_count:  # Arrow ends the process
                    raise self._damaged("a key of a map is NULL")
                rest = [pa.Array.from_buffers(entries, int(offsets[-1]), [None], 0, children=children)]
            elif pt.is_list(t) or pt.is_large_list(t):
                rest = [self._segment(t.value_type, inner)]
            else:
                rest, data = [], self._take(inner)
            if size == 4 and offsets[-1] > INT32_MAX:
                raise DataError(f"{n} values of {offsets[-1]} bytes or elements do not fit in one Arrow array")
            buffers = [bits, pa.py_buffer(offsets.astype(f"<i{size}"))]
            if rest:
                return pa.Array.from_buffers(t, n, buffers, nulls, children=rest)
            return pa.Array.from_buffers(t, n, [*buffers, pa.py_buffer(data)], nulls)
        data = self._take(_width(t) * first)
        return pa.Array.from_buffers(t, n, [bits, pa.py_buffer(data)], nulls)

    def _segment(self, t: pa.DataType, first: Array) -> pa.Array:
        """What `_segment` gave. The validity is read first: that it is there bounds the elements by the bytes."""
        bounds = _bit_bounds(first)
        bits = self._take(bounds)
        valid = np.empty(int(first[-1]), np.bool_)
        packing_kernels.unpack_bits(bits, bounds, first, valid)
        return self.content(t, first, valid)

    def _take(self, bounds: Array) -> Array:
        """The next bounds[i + 1] - bounds[i] bytes of each row."""
        if not packing_kernels.has_segments(self._at, self._end, bounds):
            raise self._damaged("it is shorter than it says")
        out = np.empty(int(bounds[-1]), np.uint8)
        packing_kernels.unpack_segments(self._data, self._at, bounds, out)
        return out

    def _damaged(self, how: str) -> CheckpointError:
        return CheckpointError(f"{self._what} cannot be read: {how}")
