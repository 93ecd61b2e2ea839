"""Columns as the kernels of Protobuf have them (physical types, see `proto_columns.py`) as the table's, and back. Whole arrays."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.formats.confluent.proto_columns import ABSENT
from sqlstream.state.arrays import byte_strings, plain
from sqlstream.types import Type

Array = np.ndarray[Any, Any]
SECOND, DAY = 1_000_000, 86_400_000_000  # microseconds
_MOST_SECONDS = 2**63 // SECOND - 1
_RANGE = {"TINYINT": 7, "SMALLINT": 15, "INT": 31}
_YEARS = (1, 9999)


def read(a: pa.Array, given: Type, t: Type) -> tuple[pa.Array, Array | None]:
    """An array of physical type `given` as one of type `t`, and which values are none of it (None: all are)."""
    if given.null() == t.null():
        return a, None
    if given.null() == ABSENT:
        return pa.nulls(len(a), t.arrow()), None
    if given.kind == "ROW" and t.kind != "ROW":
        return _value(a, given, t)
    if given.kind == "ROW":
        children, bad = _all(a.flatten(), given, t)
        return pa.StructArray.from_arrays(children, fields=list(t.arrow()), mask=_mask(a)), bad
    if given.kind in ("ARRAY", "MAP"):
        lengths, items = _items(a)
        if t.kind == "ARRAY":
            made, bad = read(items, given.element, t.element)
            out = pa.ListArray.from_arrays(_offsets(lengths), made, type=t.arrow(), mask=_mask(a))
        elif given.kind == "MAP":
            (keys, values), bad = _all(items.flatten(), given, t)
            out = pa.MapArray.from_arrays(_offsets(lengths), keys, values, t.arrow(), mask=_mask(a))
        else:
            out, bad = _map(a, lengths, *_all(items.flatten(), given.element, t), t)
        if bad is None:
            return out, None
        of = np.zeros(len(a), np.bool_)
        of[_owners(lengths)[bad]] = True
        return out, of
    return _narrow(a, t)


def write(a: pa.Array, t: Type, given: Type) -> pa.Array:
    """An array of type `t` as one of physical type `given`."""
    if given.null() == t.null():
        return a
    a = plain(a)
    if given.kind == "ROW":
        alike = t.kind == "ROW"
        parts = (
            [write(x, f.type, g.type) for x, f, g in zip(a.flatten(), t.fields, given.fields, strict=True)]
            if alike
            else _parts(a, t, given)
        )
        return pa.StructArray.from_arrays(parts, names=[f"f{i}" for i in range(len(parts))], mask=_mask(a))
    lengths, items = _items(a)
    if t.kind == "ARRAY":
        return pa.ListArray.from_arrays(_offsets(lengths), write(items, t.element, given.element), mask=_mask(a))
    fields = (given if given.kind == "MAP" else given.element).fields
    keys, values = (write(x, f.type, g.type) for x, f, g in zip(items.flatten(), t.fields, fields, strict=True))
    if given.kind == "MAP":
        return pa.MapArray.from_arrays(_offsets(lengths), keys, values, mask=_mask(a))
    entries = pa.StructArray.from_arrays([keys, values], names=["f0", "f1"])
    return pa.ListArray.from_arrays(_offsets(lengths), entries, mask=_mask(a))


def _all(arrays: list[pa.Array], given: Type, t: Type) -> tuple[list[pa.Array], Array | None]:
    """Those of the fields of types."""
    made: list[pa.Array] = []
    bad: Array | None = None
    for a, g, f in zip(arrays, given.fields, t.fields, strict=True):
        found, wrong = read(a, g.type, f.type)
        made.append(found)
        if wrong is not None:
            bad = wrong if bad is None else bad | wrong
    return made, bad


def _owners(lengths: Array) -> Array:
    """Whose each item is."""
    return np.repeat(np.arange(len(lengths)), lengths)


def _map(
    a: pa.Array, lengths: Array, entries: list[pa.Array], bad: Array | None, t: Type
) -> tuple[pa.Array, Array | None]:
    """A list of entries as a map: of those with one key the last one counts, and one without a key is none."""
    keys, values = entries
    if keys.null_count:
        none = keys.is_null().to_numpy(zero_copy_only=False)
        bad = none if bad is None else bad | none
    coded = keys.dictionary_encode()
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
    owners = _owners(lengths)
    _, last = np.unique((owners * (len(coded.dictionary) + 1) + codes + 1)[::-1], return_index=True)
    kept = np.sort(len(owners) - 1 - last)
    kept = kept[codes[kept] >= 0]
    counts, taken = np.bincount(owners[kept], minlength=len(lengths)), pa.array(kept)
    return (
        pa.MapArray.from_arrays(_offsets(counts), keys.take(taken), values.take(taken), t.arrow(), mask=_mask(a)),
        bad,
    )


def _mask(a: pa.Array) -> pa.Array | None:
    return a.is_null() if a.null_count else None


def _items(a: pa.Array) -> tuple[Array, pa.Array]:
    """How many items each list or map has, and all of them; of a map these are its entries."""
    if pa.types.is_map(a.type):
        entry = pa.struct([pa.field("key", a.type.key_type, False), pa.field("value", a.type.item_type)])
        a = a.cast(pa.list_(entry))
    return pc.fill_null(pc.list_value_length(a), 0).to_numpy(zero_copy_only=False), plain(a.flatten())


def _offsets(lengths: Array) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _integers(a: pa.Array) -> Array:
    """As 64 bits; 0 for NULL."""
    found: Array = pc.fill_null(a, 0).to_numpy(zero_copy_only=False)
    return found.astype(np.int64)


def _narrow(a: pa.Array, t: Type) -> tuple[pa.Array, Array | None]:
    """Integers of fewer bits."""
    values, bits = _integers(a), _RANGE[t.kind]
    wrong = (values < -(1 << bits)) | (values >= 1 << bits)
    made = pa.array(np.where(wrong, 0, values).astype(f"i{(bits + 1) // 8}"), t.arrow(), mask=_nulls(a))
    return made, wrong if wrong.any() else None


def _nulls(a: pa.Array) -> Array | None:
    return a.is_null().to_numpy(zero_copy_only=False) if a.null_count else None


# ---- messages that stand for values


def _value(a: pa.Array, given: Type, t: Type) -> tuple[pa.Array, Array | None]:
    """A message as the value that it stands for, NULL where it is not there."""
    children, nulls = a.flatten(), _nulls(a)
    if len(children) == 1:  # a wrapper
        return read(children[0], given.fields[0].type, t)
    if t.kind == "DECIMAL":
        return _decimals(children[0], _integers(children[2]), nulls, t)
    numbers = [_integers(c) for c in children]
    if t.kind == "DATE":
        values, wrong = _days(*numbers)
    elif t.kind == "TIME":
        values, wrong = _times(*numbers)
    else:
        seconds, nanos = numbers
        wrong = (seconds > _MOST_SECONDS) | (seconds < -_MOST_SECONDS) | (nanos < 0) | (nanos >= 1_000_000_000)
        values = np.where(wrong, 0, seconds) * SECOND + np.where(wrong, 0, nanos) // 1000
    if t.kind != "DATE":
        values -= values % 10 ** (6 - (6 if t.precision is None else t.precision))
    if nulls is not None:
        wrong &= ~nulls
    kind = np.int32 if t.kind == "DATE" else np.int64
    valid = None if nulls is None else pa.py_buffer(np.packbits(~nulls, bitorder="little"))
    made = pa.Array.from_buffers(t.arrow(), len(a), [valid, pa.py_buffer(values.astype(kind))])
    return made, wrong if wrong.any() else None


def _days(years: Array, months: Array, days: Array) -> tuple[Array, Array]:
    """Days since 1970."""
    wrong = (years < _YEARS[0]) | (years > _YEARS[1]) | (months < 1) | (months > 12)
    month = (np.where(wrong, 0, (years - 1970) * 12 + months - 1)).astype("M8[M]")
    first, end = (m.astype("M8[D]").astype(np.int64) for m in (month, month + 1))
    found = first + days - 1
    wrong |= (found < first) | (found >= end)
    return np.where(wrong, 0, found), wrong


def _times(hours: Array, minutes: Array, seconds: Array, nanos: Array) -> tuple[Array, Array]:
    """Microseconds since midnight."""
    wrong = np.zeros(len(hours), np.bool_)
    for part, most in ((hours, 24), (minutes, 60), (seconds, 60), (nanos, 1_000_000_000)):
        wrong |= (part < 0) | (part >= most)
    found = ((hours * 60 + minutes) * 60 + seconds) * SECOND + nanos // 1000
    return np.where(wrong, 0, found), wrong


def _decimals(texts: pa.Array, scales: Array, nulls: Array | None, t: Type) -> tuple[pa.Array, Array | None]:
    """Of the bytes of whole numbers, the highest one first, and how many of their digits stand behind the point."""
    data, offsets = byte_strings(pc.fill_null(texts, b""))
    begins, ends = offsets[:-1].astype(np.int64), offsets[1:].astype(np.int64)
    sizes = ends - begins
    if not len(data):
        data = np.zeros(1, np.uint8)
    sign = np.where((sizes > 0) & (data[np.minimum(begins, len(data) - 1)] > 127), 255, 0).astype(np.uint8)
    words: Array = np.empty((len(sizes), 16), np.uint8)
    wrong = (scales < 0) | (scales > 38)
    for i in range(16):  # from the lowest on
        at = ends - 1 - i
        words[:, i] = np.where(i < sizes, data[np.clip(at, 0, len(data) - 1)], sign)
    for i in range(16, int(sizes.max(initial=0))):  # those above say the sign again, or it is too large
        wrong |= (i < sizes) & (data[np.clip(ends - 1 - i, 0, len(data) - 1)] != sign)
    wrong |= (sizes > 16) & ((words[:, 15] > 127) != (sign > 127))
    if nulls is not None:
        wrong &= ~nulls
    valid = np.ones(len(sizes), np.bool_) if nulls is None else ~nulls
    out = pa.nulls(len(sizes), t.arrow())
    for scale in np.unique(scales[valid & ~wrong]).tolist():
        mine = valid & ~wrong & (scales == scale)
        found, large = _scaled(
            pa.Array.from_buffers(pa.decimal128(38, scale), len(sizes), [None, pa.py_buffer(words)]), mine, t
        )
        wrong |= large
        out = pc.if_else(pa.array(mine & ~large), found, out)
    return out, wrong if wrong.any() else None


def _scaled(a: pa.Array, mine: Array, t: Type) -> tuple[pa.Array, Array]:
    """Those that are `mine` as DECIMALs of a type, rounded, and which are too large for it."""
    a = pc.if_else(pa.array(mine), a, pa.scalar(None, a.type))
    wide = pa.decimal256(76, max(t.scale or 0, a.type.scale))
    found = pc.round(a.cast(wide), t.scale, "half_towards_infinity")
    most = Decimal((0, (9,) * (t.precision or 0), -(t.scale or 0)))
    too_large = pc.fill_null(pc.greater(pc.abs(found), pa.scalar(most, wide)), False)
    kept = pc.if_else(too_large, pa.scalar(None, wide), found)
    return kept.cast(t.arrow()), too_large.to_numpy(zero_copy_only=False)


def _parts(a: pa.Array, t: Type, given: Type) -> list[pa.Array]:
    """The fields of the message that stands for values."""
    if len(given.fields) == 1:
        return [write(a, t, given.fields[0].type)]
    if t.kind == "DECIMAL":
        n = len(a)
        return [_unscaled(a), pa.array(np.full(n, t.precision, np.int32)), pa.array(np.full(n, t.scale, np.int32))]
    if t.kind == "DATE":
        return [pc.fill_null(f(a), 0).cast(pa.int32()) for f in (pc.year, pc.month, pc.day)]
    values = _integers(a.cast(pa.int64()))
    if t.kind == "TIME":
        seconds = values // SECOND
        numbers = (seconds // 3600, seconds // 60 % 60, seconds % 60, values % SECOND * 1000)
        return [pa.array(x.astype(np.int32)) for x in numbers]
    return [pa.array(values // SECOND), pa.array((values % SECOND * 1000).astype(np.int32))]


def _unscaled(a: pa.Array) -> pa.Array:
    """The whole numbers of decimals as bytes, the highest one first, no more than are needed: Java's BigInteger.toByteArray."""
    n = len(a)
    if not n:
        return pa.array([], pa.binary())
    words = np.frombuffer(a.buffers()[1], np.uint8, 16 * (a.offset + n)).reshape(-1, 16)[a.offset :, ::-1].copy()
    if a.null_count:
        words[a.is_null().to_numpy(zero_copy_only=False)] = 0
    sign = np.where(words[:, 0] > 127, 255, 0).astype(np.uint8)
    same = np.cumprod(words == sign[:, None], axis=1).sum(axis=1)  # bytes that say the sign alone
    same = np.minimum(same, 15)
    first = words[np.arange(n), same]
    same -= ((first > 127) != (sign > 127)) & (same > 0)
    kept = np.arange(16) >= same[:, None]
    return pa.Array.from_buffers(pa.binary(), n, [None, _offsets(16 - same).buffers()[1], pa.py_buffer(words[kept])])
