"""The vectors that the kernels fill, and Arrow arrays of them."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.formats.binary import read_layout as y
from sqlstream.formats.binary.columns import (
    BITS,
    EITHER,
    LISTS,
    NOTHING,
    NUMERAL,
    PAIRS,
    REAL,
    ROWS,
    SINGLE,
    STRING,
    SYMBOL,
    WORDS,
    ColumnPlan,
)
from sqlstream.types import Type

Array = np.ndarray[Any, Any]
_NARROW = {"TINYINT": np.int8, "SMALLINT": np.int16, "INT": np.int32, "DATE": np.int32}
_PADDING = 16


class Vectors:
    """Room for the values of `count` messages of `size` bytes, in `width` vectors; `texts`: which of them have texts. A vector that is full
    grows: the bytes of the messages bound how far."""

    def __init__(self, width: int, texts: set[int], count: int, size: int) -> None:
        self.about: Array = np.zeros(width * y.VECTOR_WORDS, np.int64)
        rows, room = max(count, 1), size + _PADDING
        for v in range(width):
            at = v * y.VECTOR_WORDS
            self.about[at + y.BASE], self.about[at + y.ROOM] = v * rows, rows
        for n, v in enumerate(sorted(texts)):
            at = v * y.VECTOR_WORDS
            self.about[at + y.TEXT_BASE], self.about[at + y.TEXT_ROOM] = n * room, room - _PADDING
        self.words: Array = np.empty(width * rows, np.int64)
        self.valid: Array = np.empty(width * rows, np.uint8)
        self.text: Array = np.empty(max(len(texts), 1) * room, np.uint8)

    def grow(self, full: int) -> None:
        """Twice the room, at the end of what there is, for the vector that the kernel says is full."""
        v = abs(full) - 1
        at, about = v * y.VECTOR_WORDS, self.about
        if full > 0:
            base, room, count = int(about[at + y.BASE]), int(about[at + y.ROOM]), int(about[at + y.COUNT])
            about[at + y.BASE], about[at + y.ROOM] = len(self.words), 2 * room
            words, valid = self.words[base : base + count], self.valid[base : base + count]
            self.words = np.concatenate([self.words, words, np.empty(2 * room - count, np.int64)])
            self.valid = np.concatenate([self.valid, valid, np.empty(2 * room - count, np.uint8)])
            return
        base, room, used = (int(about[at + i]) for i in (y.TEXT_BASE, y.TEXT_ROOM, y.TEXT_COUNT))
        about[at + y.TEXT_BASE], about[at + y.TEXT_ROOM] = len(self.text), 2 * room
        text = self.text[base : base + used]
        self.text = np.concatenate([self.text, text, np.empty(2 * room + _PADDING - used, np.uint8)])

    def count(self, v: int) -> int:
        """How many values a vector has."""
        return int(self.about[v * y.VECTOR_WORDS + y.COUNT])

    def array(self, c: ColumnPlan, rows: int) -> pa.Array:
        """The first `rows` values of a column, as the engine has them."""
        t = c.type
        if c.form == NOTHING:
            if c.children:
                children = [self.array(child, rows) for child in c.children.values()]
                return pa.StructArray.from_arrays(children, names=[f"f{i}" for i in range(len(children))])
            return pa.nulls(rows, t.arrow())
        if c.form == EITHER:
            return pc.coalesce(*(self.array(child, rows) for child in c.children.values()))
        base = int(self.about[c.vector * y.VECTOR_WORDS + y.BASE])
        words, (nulls, bits) = self.words[base : base + rows], self._validity(base, rows)
        if c.form == ROWS:
            if not c.children:
                return pa.Array.from_buffers(t.arrow(), rows, [bits], nulls, children=[])
            children = [self.array(child, rows) for child in c.children.values()]
            return pa.Array.from_buffers(t.arrow(), rows, [bits], nulls, children=children)
        if c.form in (LISTS, PAIRS):
            return self._list(c, rows, words, bits, nulls)
        if c.form in (STRING, "bytes"):
            return self._text(c, rows, words, bits, nulls)
        if c.form == NUMERAL:
            return self._decimal(c, rows, words, bits, nulls)
        if c.form == SYMBOL and c.numbers:
            return self._named(c, words, bits, rows, nulls)
        if c.form == SYMBOL:
            codes = pa.Array.from_buffers(pa.int64(), rows, [bits, pa.py_buffer(words)], nulls)
            return pc.take(pa.array(c.symbols, pa.string()), codes)
        return pa.Array.from_buffers(t.arrow(), rows, [bits, _numbers(c.form, t, words)], nulls)

    @staticmethod
    def _named(c: ColumnPlan, words: Array, bits: pa.Buffer | None, rows: int, nulls: int) -> pa.Array:
        """The names of numbers."""
        numbers = pa.Array.from_buffers(pa.int64(), rows, [bits, pa.py_buffer(words)], nulls)
        names = pc.take(pa.array(c.symbols, pa.string()), pc.index_in(numbers, pa.array(c.numbers, pa.int64())))
        return names if c.other is None else pc.if_else(numbers.is_valid(), pc.fill_null(names, c.other), names)

    def _validity(self, base: int, rows: int) -> tuple[int, pa.Buffer | None]:
        valid = self.valid[base : base + rows]
        nulls = rows - int(np.count_nonzero(valid))
        return nulls, pa.py_buffer(np.packbits(valid, bitorder="little")) if nulls else None

    def _list(self, c: ColumnPlan, rows: int, ends: Array, bits: pa.Buffer | None, nulls: int) -> pa.Array:
        offsets = _offsets(ends)
        children = list(c.children.values())
        inner = self.count(children[0].level)
        arrays = [self.array(child, inner) for child in children]
        arrow = c.type.arrow()
        if c.form == LISTS:
            return pa.Array.from_buffers(arrow, rows, [bits, offsets], nulls, children=arrays)
        kept = _last_of_each(arrays[0], ends)
        if kept is not None:
            arrays, offsets = [a.take(pa.array(kept)) for a in arrays], _offsets(np.searchsorted(kept, ends))
        made = pa.StructArray.from_arrays(arrays, fields=[arrow.key_field, arrow.item_field])
        return pa.Array.from_buffers(arrow, rows, [bits, offsets], nulls, children=[made])

    def _text(self, c: ColumnPlan, rows: int, ends: Array, bits: pa.Buffer | None, nulls: int) -> pa.Array:
        at = c.vector * y.VECTOR_WORDS
        base, used = int(self.about[at + y.TEXT_BASE]), int(self.about[at + y.TEXT_COUNT])
        buffers = [bits, _offsets(ends), pa.py_buffer(self.text[base : base + used])]
        made = pa.Array.from_buffers(pa.binary(), rows, buffers, nulls)
        if not c.type.is_string:
            return made
        try:
            return made.cast(pa.string())
        except pa.ArrowInvalid:  # as Java reads it: with replacement characters
            return pa.array(
                [None if v is None else v.decode("utf-8", "replace") for v in made.to_pylist()], pa.string()
            )

    def _decimal(self, c: ColumnPlan, rows: int, low: Array, bits: pa.Buffer | None, nulls: int) -> pa.Array:
        base = int(self.about[c.high * y.VECTOR_WORDS + y.BASE])
        pairs = np.empty((rows, 2), np.int64)
        pairs[:, 0], pairs[:, 1] = low, self.words[base : base + rows]
        if nulls:
            pairs[self.valid[base : base + rows] == 0] = 0
        arrow = c.type.arrow()
        if c.scale == c.type.scale:
            return pa.Array.from_buffers(arrow, rows, [bits, pa.py_buffer(pairs)], nulls)
        made = pa.Array.from_buffers(pa.decimal128(38, c.scale), rows, [bits, pa.py_buffer(pairs)], nulls)
        if c.scale < (c.type.scale or 0):
            return made.cast(pa.decimal256(76, c.type.scale)).cast(arrow)
        # One by one: Arrow's division of wide numbers is wrong for some. A writer with more digits than its reader is rare.
        unit, exact = Decimal(1).scaleb(-(c.type.scale or 0)), Context(prec=76, rounding=ROUND_HALF_UP)
        rounded = [None if v is None else v.quantize(unit, context=exact) for v in made.to_pylist()]
        return pa.array(rounded, arrow)


def _last_of_each(keys: pa.Array, ends: Array) -> Array | None:
    """Which entries of maps are left where of those of one key the last one counts: their places, ascending; None: all."""
    counts = np.diff(ends, prepend=0)
    if not len(counts) or counts.max() < 2:
        return None
    coded = keys.dictionary_encode()
    entries = np.repeat(np.arange(len(counts)), counts) * max(len(coded.dictionary), 1) + coded.indices.to_numpy()
    _, last = np.unique(entries[::-1], return_index=True)
    return None if len(last) == len(entries) else np.sort(len(entries) - 1 - last)


def _offsets(ends: Array) -> pa.Buffer:
    made = np.zeros(len(ends) + 1, np.int32)
    made[1:] = ends
    return pa.py_buffer(made)


def _numbers(form: str, t: Type, words: Array) -> pa.Buffer:
    if form == BITS:
        return pa.py_buffer(np.packbits((words & 1).astype(np.uint8), bitorder="little"))  # anything where it is NULL
    if t.kind in ("FLOAT", "DOUBLE"):
        if form == SINGLE:
            values: Array = words.astype(np.int32).view(np.float32)
        elif form == REAL:
            values = words.view(np.float64)
        else:
            assert form == WORDS
            values = words.astype(np.float32 if t.kind == "FLOAT" else np.float64)  # rounded once, as by Java
        with np.errstate(all="ignore"):
            return pa.py_buffer(np.ascontiguousarray(values.astype(np.float32 if t.kind == "FLOAT" else np.float64)))
    return pa.py_buffer(words.astype(_NARROW[t.kind]) if t.kind in _NARROW else words)
