"""Rows of keyed state as byte strings, for a store of keys and values, and back.

    key      state number (1 byte), key group (2 bytes, big-endian), canonical bytes of the key (`encoding.py`)
    value    layout version (1 byte), NULL bitmap (one bit a column, little-endian), the columns that are not NULL:
             fixed width little-endian, strings and nested values (`nested.py`) with their length (4 bytes)

Columns of a value are first the key columns of which canonical bytes lose something (`table.lossy`: -0.0, the order of
maps), as they came, then the value columns. Rows of one key group are together, in no order that means anything.

Rows of a log that stay are kept by blocks instead: one Arrow stream of many, behind its checksum, under

    key      state number (1 byte), 0xFFFF, block number (8 bytes, big-endian)

How far a state's rows were looked through for those whose time to live is over (`StoredState.sweep`) is under

    key      0xFF, state number (1 byte)
    value    up to what time (8 bytes, µs, little-endian), the key group that is next (2 bytes, little-endian)

Packing and unpacking are compiled loops without Python's lock. On one core of a shared server, ns a row, of 1 M rows:

    key and value                                      packed    unpacked
    BIGINT; BIGINT, BIGINT, DOUBLE, TIMESTAMP              21          16    (one value in ten NULL: 21, 17)
    STRING of 20 bytes; the same                           26          18
    MAP of two strings and BIGINTs, value alone            48          33
    the first by blocks of 4,096 rows                      43          34
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.errors import CheckpointError, DataError, InternalError
from sqlstream.state import packing_kernels
from sqlstream.state.arrays import (
    INT32_MAX,
    Array,
    dtype_of,
    from_bytes,
    from_fixed,
    is_bytes,
    is_pair,
    is_words,
    plain,
    validity,
)
from sqlstream.state.encoding import canonical_field, exact_field, spread
from sqlstream.state.fields import Field, Packed, heads, pack_fields, unpack_fields
from sqlstream.state.files import OPTIONS, StateRows, stored_batch, stream_rows
from sqlstream.state.keys import key_groups
from sqlstream.state.nested import decode_nested, encode_nested
from sqlstream.state.rows import Rows, lossy
from sqlstream.state.spec import KEY_GROUPS, StateSpec

VERSION = 1  # of the layout of values
LAST_NUMBER = 254
_BLOCKS = b"\xff\xff"  # where a row has its key group
_SWEPT = b"\xff"  # where a row has the number of its state
_CHECKSUM = 8


class RowCodec:
    """Packs the rows of one state, which has `number` among the states of its task, and unpacks them.

    Columns may come as any layout of the schema's types; they leave with exactly these types. Bytes that are no rows
    of this state are a CheckpointError, as far as their lengths tell: nothing else of them is checked.
    """

    def __init__(self, spec: StateSpec, number: int) -> None:
        self.spec = spec
        self.prefix = _number(number)
        self._number = number
        self._key_types: list[pa.DataType] = list(spec.key.types)
        self._canonical = [plain(pa.nulls(0, t)).type for t in self._key_types]
        self._lost = [j for j, t in enumerate(self._key_types) if lossy(t)]
        self._value_types = [*(self._key_types[j] for j in self._lost), *spec.value.types]
        self._what = f"row of state {spec.name}"

    def group_range(self, lo: int, hi: int) -> tuple[bytes, bytes]:
        """The bounds of the store's keys of key groups lo to hi - 1: those from the first on, below the second."""
        if not 0 <= lo <= hi <= KEY_GROUPS:
            raise InternalError(f"key groups {lo} to {hi} of {KEY_GROUPS}")
        return self.prefix + lo.to_bytes(2, "big"), self.prefix + hi.to_bytes(2, "big")

    def keys(self, keys: list[pa.Array], n: int) -> Packed:
        """The store's keys of n rows; equal keys give equal bytes."""
        arrays = [plain(a, t) for a, t in zip(keys, self._key_types, strict=True)]
        fields = [canonical_field(plain(a)) for a in arrays]
        head = heads(fields, n, 3)
        head[:, 0] = self._number
        groups = key_groups([arrays[j] for j in self.spec.placing], n)
        head[:, 1:3] = groups.astype(">u2").view(np.uint8).reshape(n, 2)
        return pack_fields(head, fields)

    def values(self, keys: list[pa.Array], values: list[pa.Array], n: int) -> Packed:
        """The store's values of n rows."""
        columns = [*(keys[j] for j in self._lost), *values]
        fields = [_field(plain(a, t)) for a, t in zip(columns, self._value_types, strict=True)]
        head = heads(fields, n, 1)
        head[:, 0] = VERSION
        return pack_fields(head, fields)

    def rows(self, keys: Packed, values: Packed) -> Rows:
        """The rows of the store's keys and values. CheckpointError when they are none."""
        if len(keys) != len(values):
            raise InternalError(f"{self._what}: {len(keys)} keys, {len(values)} values")
        head, fields = unpack_fields(keys, 3, [_width(t) for t in self._canonical], self._what)
        if (head[:, 0] != self._number).any():
            raise CheckpointError(f"{self._what} cannot be read: it is of another state")
        originals, columns = self.decode_values(values)
        out = dict(zip(self._lost, originals, strict=True))
        for j, (t, canonical, field) in enumerate(zip(self._key_types, self._canonical, fields, strict=True)):
            if j not in out:
                a = _array(canonical, field, self._what)
                out[j] = a if canonical == t else a.cast(t)
        return Rows(len(keys), [out[j] for j in range(len(out))], columns)

    def decode_values(self, values: Packed) -> tuple[list[pa.Array], list[pa.Array]]:
        """The key columns that canonical bytes lose something of, as they came; and the value columns."""
        head, fields = unpack_fields(values, 1, [_width(t) for t in self._value_types], self._what)
        other = np.flatnonzero(head[:, 0] != VERSION)
        if len(other):
            raise CheckpointError(
                f"{self._what} cannot be read: its layout is {head[other[0], 0]}, this version reads layout {VERSION}",
                hint="the checkpoint is damaged, or was written by a newer version of sqlstream",
            )
        columns = [_array(t, f, self._what) for t, f in zip(self._value_types, fields, strict=True)]
        return columns[: len(self._lost)], columns[len(self._lost) :]


def block_key(number: int, block: int) -> bytes:
    """The store's key of a block of a log: after the keys of all rows of this state, in the order of the blocks."""
    return _number(number) + _BLOCKS + block.to_bytes(8, "big")


def sweep_key(number: int) -> bytes:
    """The store's key of how far a state was swept: among those of no state's rows."""
    return _SWEPT + _number(number)


def encode_sweep(upto: int, group: int) -> bytes:
    """How far a state was swept: up to what time, and the key group that is next."""
    return upto.to_bytes(8, "little", signed=True) + group.to_bytes(2, "little")


def decode_sweep(data: bytes) -> tuple[int, int]:
    """What `encode_sweep` was given."""
    return int.from_bytes(data[:8], "little", signed=True), int.from_bytes(data[8:], "little")


def encode_block(rows: Rows, spec: StateSpec) -> bytes:
    """Rows of a log as one value of the store."""
    keys = [plain(a, t) for a, t in zip(rows.keys, spec.key.types, strict=True)]
    values = [plain(a, t) for a, t in zip(rows.values, spec.value.types, strict=True)]
    batch = stored_batch(StateRows(0, spec, Rows(len(rows), keys, values)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=OPTIONS) as writer:
        writer.write_batch(batch)
    stream = sink.getvalue()
    body: bytes = stream.to_pybytes()
    return _checksum(np.frombuffer(stream, np.uint8)) + body


def decode_block(data: bytes, spec: StateSpec) -> Rows:
    """The rows of a block. CheckpointError when it is damaged, or has rows of another schema."""
    what = f"block of state {spec.name}"
    stream = np.frombuffer(data, np.uint8)[_CHECKSUM:]
    if _checksum(stream) != data[:_CHECKSUM]:
        raise CheckpointError(f"{what} cannot be read: its bytes are damaged")
    (part,) = stream_rows(pa.ipc.open_stream(pa.py_buffer(stream)), what, {0: spec})
    return part.rows


def _checksum(stream: Array) -> bytes:
    digest: int = packing_kernels.checksum(stream)
    return digest.to_bytes(_CHECKSUM, "little", signed=True)


def _number(number: int) -> bytes:
    if not 0 <= number <= LAST_NUMBER:
        raise InternalError(f"state number {number} of a task: more than {LAST_NUMBER}")
    return bytes([number])


def _field(a: pa.Array) -> Field:
    """A column as it is."""
    valid = validity(a)
    return exact_field(a) or (spread(encode_nested(a.drop_null() if valid.size else a), valid), valid)


def _width(t: pa.DataType) -> int | None:
    """Bytes of a value of `_field`; None: byte strings."""
    if is_words(t) or is_pair(t):
        return 16 if is_pair(t) else dtype_of(t).itemsize
    return 0 if t == pa.null() else None


def _array(t: pa.DataType, field: Field, what: str) -> pa.Array:
    """The column that `_field` gave."""
    part, valid = field
    if isinstance(part, Packed):
        return _strings(t, part, valid) if is_bytes(t) else _nested(t, part, valid, what)
    if t == pa.null():
        return pa.nulls(len(part))
    if is_pair(t):
        return from_fixed(part.view(np.int64), valid, t)
    return from_fixed(part.reshape(-1).view(dtype_of(t)), valid, t)


def _strings(t: pa.DataType, part: Packed, valid: Array) -> pa.Array:
    if part.offsets[-1] > INT32_MAX:
        raise DataError(f"{len(part)} strings of {part.offsets[-1]} bytes do not fit in one Arrow array (2 GiB)")
    return from_bytes(part.data, part.offsets.astype(np.int32), valid, t)


def _nested(t: pa.DataType, part: Packed, valid: Array, what: str) -> pa.Array:
    if not valid.size:
        return decode_nested(part, t, what)
    some = Packed(part.data, np.concatenate([part.offsets[:1], part.offsets[1:][valid]]))
    return decode_nested(some, t, what).take(pa.array(np.cumsum(valid) - 1, mask=~valid))
