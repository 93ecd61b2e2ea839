"""The durable form of state: rows of bytes, encoded and decoded a column at a time. Format 1.

    row     NULL bitmap (one bit a column, little-endian), then the columns that are not NULL:
              fixed width   the value, little-endian (booleans 1 byte, decimals 16)
              strings       length (4 bytes) and bytes
              ROW           length and a row of its fields
              ARRAY         length and: number of elements, their lengths (4 bytes each), each as a row
              MAP           as an ARRAY of ROWs of key and value
    key     key group (2 bytes, big-endian), state number (2 bytes, big-endian), row of the canonical key
    value   format (1 byte), row of the key columns that canonical form may change, then of the value columns

Canonical: -0.0 as 0.0, one NaN, map entries in the order of their keys' bytes. A row is self-delimiting, so
different keys of one schema have different bytes; their order means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from sqlstream.errors import CheckpointError, DataError, InternalError
from sqlstream.state import kernels
from sqlstream.state.arrays import (
    ALL,
    INT32_MAX,
    Array,
    byte_strings,
    combined,
    dtype_of,
    fixed,
    from_bytes,
    from_fixed,
    gather,
    is_bytes,
    is_pair,
    is_words,
    plain,
    validity,
)

FORMAT = 1
PREFIX = 4


@dataclass(frozen=True)
class Packed:
    """Byte strings end to end: i is data[offsets[i]:offsets[i + 1]]; offsets are int64."""

    data: Array
    offsets: Array

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def tolist(self) -> list[bytes]:
        data, o = self.data.tobytes(), self.offsets.tolist()
        return [data[a:b] for a, b in zip(o, o[1:], strict=False)]

    def pick(self, order: Array) -> Packed:
        """Some of them, in another order."""
        offsets = np.empty(len(order) + 1, np.int64)
        out = np.empty(int((self.offsets[order + 1] - self.offsets[order]).sum()), np.uint8)
        kernels.pick_rows(self.data, self.offsets, order, offsets, out)
        return Packed(out, offsets)

    @staticmethod
    def joined(parts: list[Packed]) -> Packed:
        """One after the other."""
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0, *(p.offsets[-1] for p in parts)])
        offsets = [p.offsets[:-1] + s for p, s in zip(parts, starts, strict=False)]
        return Packed(np.concatenate([p.data for p in parts]), np.concatenate([*offsets, starts[-1:]]))

    @staticmethod
    def of(strings: list[bytes]) -> Packed:
        offsets = np.zeros(len(strings) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, strings), np.int64, len(strings)), out=offsets[1:])
        return Packed(np.frombuffer(b"".join(strings), np.uint8), offsets)


# --- encoding ----------------------------------------------------------------------------------------------


def encode_rows(arrays: list[pa.Array], n: int, *, prefix: Array | None = None, canonical: bool = False) -> Packed:
    """Rows of n values of each array, after the bytes of `prefix` (n, p)."""
    columns = [_fields(plain(a), canonical) for a in arrays]
    bitmap = np.zeros((n, -(-len(arrays) // 8)), np.uint8)
    for j, (_, valid) in enumerate(columns):
        if valid.size:
            bitmap[:, j >> 3] |= (~valid).view(np.uint8) << np.uint8(j & 7)
    head = bitmap if prefix is None else np.hstack([prefix, bitmap])
    offsets = np.zeros(n + 1, np.int64)
    sizes = offsets[1:]
    sizes[:] = head.shape[1]
    for part, valid in columns:
        size = part.shape[1] if isinstance(part, np.ndarray) else np.diff(part.offsets) + 4
        sizes += np.where(valid, size, 0) if valid.size else size
    np.cumsum(sizes, out=sizes)
    out, at = np.empty(int(offsets[-1]), np.uint8), offsets[:-1].copy()
    kernels.pack_fixed(out, at, np.ascontiguousarray(head), ALL)
    for part, valid in columns:
        if isinstance(part, np.ndarray):
            kernels.pack_fixed(out, at, part, valid)
        else:
            kernels.pack_bytes(out, at, part.data, part.offsets, valid)
    return Packed(out, offsets)


def canonical_bytes(a: pa.Array) -> pa.Array:
    """Nested values as binary: equal values give equal bytes, different ones different; NULL stays NULL."""
    valid = validity(a)
    blobs = _spread(_blobs(a.drop_null() if valid.size else a, canonical=True), valid)
    if blobs.offsets[-1] > INT32_MAX:
        raise DataError(f"{len(a)} keys of {blobs.offsets[-1]} bytes do not fit in one Arrow array (2 GiB)")
    return from_bytes(blobs.data, blobs.offsets.astype(np.int32), valid, pa.binary())


def _fields(a: pa.Array, canonical: bool) -> tuple[Array | Packed, Array]:
    """A column as (n, width) bytes or as byte strings, and its validity."""
    t, valid, n = a.type, validity(a), len(a)
    if pt.is_null(t):
        return np.empty((n, 0), np.uint8), np.zeros(n, np.bool_)
    if is_bytes(t):
        data, offsets = byte_strings(a)
        return Packed(data, offsets.astype(np.int64)), valid
    if is_words(t) or is_pair(t):
        values = fixed(a)
        if canonical and values.dtype.kind == "f":
            values = values + values.dtype.type(0)  # -0.0 + 0.0 is 0.0
            values[np.isnan(values)] = np.nan
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        return little.view(np.uint8).reshape(n, -1 if n else 1), valid
    return _spread(_blobs(a.drop_null() if valid.size else a, canonical), valid), valid


def _spread(blobs: Packed, valid: Array) -> Packed:
    """Byte strings of the valid rows only, as of all rows."""
    if not valid.size:
        return blobs
    offsets = np.zeros(len(valid) + 1, np.int64)
    offsets[1:][valid] = np.diff(blobs.offsets)
    return Packed(blobs.data, np.cumsum(offsets))


def _blobs(a: pa.Array, canonical: bool) -> Packed:
    """Nested values without NULLs."""
    t, n = a.type, len(a)
    a = a.take(pa.array(np.arange(n)))  # offset 0 and nothing between the values
    if pt.is_struct(t):
        return encode_rows([a.field(i) for i in range(t.num_fields)], n, canonical=canonical)
    if pt.is_map(t):
        first = _first(a)
        keys, items = a.keys[: first[-1]], a.items[: first[-1]]
        if canonical:
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
    rows = encode_rows([elements], int(first[-1]), canonical=canonical)
    offsets = 4 * np.arange(n + 1) + 4 * first + rows.offsets[first]
    out = np.empty(int(offsets[-1]), np.uint8)
    kernels.pack_lists(out, offsets[:-1].copy(), first, rows.data, rows.offsets)
    return Packed(out, offsets)


def _first(a: pa.Array) -> Array:
    """Offsets of a list or map array that begins at 0."""
    return np.asarray(a.offsets.to_numpy(zero_copy_only=False), np.int64)


def _entry_order(keys: pa.Array, first: Array) -> pa.Array:
    """Indices that sort the entries of each map by the bytes of their keys."""
    rows = encode_rows([keys], len(keys), canonical=True)
    of_map = np.repeat(np.arange(len(first) - 1), np.diff(first))
    table = pa.table({"m": of_map, "k": as_binary(rows)})
    return pc.sort_indices(table, [("m", "ascending"), ("k", "ascending")])


def as_binary(rows: Packed) -> pa.Array:
    """As a large_binary array; no copy."""
    return pa.Array.from_buffers(
        pa.large_binary(), len(rows), [None, pa.py_buffer(rows.offsets), pa.py_buffer(rows.data)], 0
    )


# --- decoding ----------------------------------------------------------------------------------------------


def decode_rows(data: Array, at: Array, types: list[pa.DataType]) -> list[pa.Array]:
    """The columns of the rows that begin at `at` (int64), which is moved to their ends.

    Raises CheckpointError when the bytes are no such rows.
    """
    n = len(at)
    bitmap = np.empty((n, -(-len(types) // 8)), np.uint8)
    _check(kernels.unpack_fixed(data, at, ALL, bitmap))
    out = []
    for j, t in enumerate(types):
        valid = (bitmap[:, j >> 3] >> np.uint8(j & 7)) & 1 == 0
        out.append(_decode(data, at, ALL if valid.all() else valid, t))
    return out


def _decode(data: Array, at: Array, valid: Array, t: pa.DataType) -> pa.Array:
    n = len(at)
    if pt.is_null(t):
        return pa.nulls(n)
    if is_words(t) or is_pair(t):
        dtype = np.dtype(np.int64) if is_pair(t) else dtype_of(t)
        raw = np.empty((n, 16 if is_pair(t) else dtype.itemsize), np.uint8)
        _check(kernels.unpack_fixed(data, at, valid, raw))
        values = raw.view(dtype.newbyteorder("<"))
        return from_fixed(values if is_pair(t) else values.reshape(n), valid, t)
    spans = np.empty((n, 2), np.int64)
    _check(kernels.unpack_bytes(data, at, valid, spans))
    if is_bytes(t):
        return gather(data, spans, np.arange(n), t)
    values = combined(_nested(data, spans[valid] if valid.size else spans, t))
    if not valid.size:
        return values
    return values.take(pa.array(np.cumsum(valid) - 1, mask=~valid))


def _nested(data: Array, spans: Array, t: pa.DataType) -> pa.Array:
    """Nested values without NULLs, at these (offset, length)."""
    n, begins = len(spans), spans[:, 0].copy()
    if pt.is_struct(t):
        ends = spans.sum(axis=1)
        fields = [t.field(i) for i in range(t.num_fields)]
        children = decode_rows(data, begins, [f.type for f in fields])
        _check(bool((begins == ends).all()))
        if not fields:
            return pa.array([{}] * n, t)
        return pa.StructArray.from_arrays(children, fields=fields)
    counts = np.empty((n, 4), np.uint8)
    _check(kernels.unpack_fixed(data, begins, ALL, counts))
    first = np.zeros(n + 1, np.int64)
    np.cumsum(counts.view("<u4").reshape(n), out=first[1:])
    total = int(first[-1])
    _check(4 * total <= len(data))
    starts = np.empty(total, np.int64)
    _check(kernels.unpack_lists(data, spans, first, starts))
    offsets = pa.array(first, pa.int32())
    if pt.is_map(t):
        ((entries),) = decode_rows(data, starts, [pa.struct([("k", t.key_type), ("v", t.item_type)])])
        return pa.MapArray.from_arrays(offsets, entries.field(0), entries.field(1), type=t)
    (elements,) = decode_rows(data, starts, [t.value_type])
    if pt.is_fixed_size_list(t):
        return pa.FixedSizeListArray.from_arrays(elements, type=t)
    if pt.is_large_list(t):
        return pa.LargeListArray.from_arrays(pa.array(first), elements, type=t)
    return pa.ListArray.from_arrays(offsets, elements, type=t)


def _check(fits: bool) -> None:
    if not fits:
        raise CheckpointError(
            "a row of state is not in the form of its schema",
            hint="the checkpoint is damaged, or was written with another schema",
        )
