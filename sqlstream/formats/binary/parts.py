"""Columns as vectors that are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.errors import DataError
from sqlstream.formats.binary import write_layout as y
from sqlstream.state.arrays import byte_strings, plain

Array = np.ndarray[Any, Any]
ITEMS = -1  # in a path: into the items of a list
# What the words of a vector are.
WORDS, SINGLE, REAL, TEXTS, LOW, HIGH, SYMBOLS, LENGTHS, ROWS = (
    "words", "single", "real", "texts", "low", "high", "symbols", "lengths", "rows",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A vector: what it is made of is at `path` in column `column`: numbers of fields (of a MAP's items: key, value), and ITEMS.

    shown     as an error names it
    symbols   of an enum, by their places
    size      of fixed bytes; 0: any
    numbers   of an enum: what the names are written as, and any other one, and NULL, is written as the first
    fill      what is written for a text that is NULL
    """

    column: int
    path: tuple[int, ...]
    form: str
    shown: str
    symbols: tuple[str, ...] = ()
    size: int = 0
    numbers: tuple[int, ...] = ()
    fill: str | bytes | None = None


class Columns:
    """Columns as the vectors that parts of a program say."""

    def __init__(self, parts: list[Part], columns: list[pa.Array], table: str) -> None:
        self._columns, self._table = [plain(c) for c in columns], table
        self._found: dict[tuple[int, tuple[int, ...]], pa.Array] = {}
        words: list[Array] = []
        valid: list[Array] = []
        ends: list[Array] = []
        text: list[Array] = []
        self.vectors: Array = np.zeros(max(len(parts), 1) * y.VECTOR_WORDS, np.int64)
        at = ends_at = size = 0
        for v, p in enumerate(parts):
            a = self._array(p.column, p.path)
            if p.fill is not None:
                a = pc.fill_null(a, p.fill)
            self.vectors[v * y.VECTOR_WORDS + y.WORD_PLACE] = at
            self.vectors[v * y.VECTOR_WORDS + y.TEXT_PLACE] = ends_at
            words.append(self._words(p, a))
            valid.append(a.is_valid().to_numpy(zero_copy_only=False).astype(np.uint8))
            at += len(a)
            if p.form == TEXTS:
                data, offsets = byte_strings(plain(a))
                begin, end = int(offsets[0]), int(offsets[-1])
                self._sized(p, a, offsets)
                ends.append(offsets.astype(np.int64) + (size - begin))
                text.append(data[begin:end])
                size, ends_at = size + end - begin, ends_at + len(offsets)
        self.size = size + 10 * at
        self.words, self.valid = _joined(words, np.int64), _joined(valid, np.uint8)
        self.ends, self.text = _joined(ends, np.int64), _joined([*text, np.zeros(8, np.uint8)], np.uint8)

    def _array(self, column: int, path: tuple[int, ...]) -> pa.Array:
        """What is at a path, NULL where what it is in is, without the items of lists that are NULL."""
        if not path:
            return self._columns[column]
        key = (column, path)
        if key not in self._found:
            above = self._array(column, path[:-1])
            if path[-1] == ITEMS:
                self._found[key] = _items(above)
            else:
                for i, a in enumerate(above.flatten()):
                    self._found[(column, (*path[:-1], i))] = plain(a)
        return self._found[key]

    def _words(self, p: Part, a: pa.Array) -> Array:
        found: Array = self._found_words(p, a)
        return found

    def _found_words(self, p: Part, a: pa.Array) -> Any:
        if p.form in (TEXTS, ROWS):
            return np.zeros(len(a), np.int64)
        if p.form == LENGTHS:
            return pc.fill_null(pc.list_value_length(_as_list(a)), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        if p.form in (LOW, HIGH):
            if not len(a):
                return np.empty(0, np.int64)
            pairs = np.frombuffer(a.buffers()[1], np.int64, 2 * (a.offset + len(a))).reshape(-1, 2)[a.offset :]
            return np.ascontiguousarray(pairs[:, int(p.form == HIGH)])
        if p.form == SYMBOLS and p.numbers:
            return _numbers(p, a)
        if p.form == SYMBOLS:
            found = pc.index_in(a, pa.array(p.symbols, a.type))
            unknown = pc.and_(pc.is_null(found), pc.is_valid(a))
            if pc.any(unknown).as_py():
                value = a.filter(unknown)[0].as_py()
                raise DataError(f"table {self._table}: column {p.shown}: '{value}' is none of {', '.join(p.symbols)}")
            return pc.fill_null(found, 0).to_numpy(zero_copy_only=False).astype(np.int64)
        if pa.types.is_boolean(a.type):
            return pc.fill_null(a, False).to_numpy(zero_copy_only=False).astype(np.int64)
        if pa.types.is_date32(a.type) or pa.types.is_time32(a.type):
            a = a.cast(pa.int32())
        elif pa.types.is_temporal(a.type):
            a = a.cast(pa.int64())
        values = pc.fill_null(a, 0).to_numpy(zero_copy_only=False)
        if p.form == SINGLE:
            return values.astype(np.float32).view(np.int32).astype(np.int64)
        if p.form == REAL:
            return values.astype(np.float64).view(np.int64)
        return values.astype(np.int64)

    def _sized(self, p: Part, a: pa.Array, offsets: Array) -> None:
        """Fixed bytes are as many as the schema says."""
        if p.size:
            wrong = (np.diff(offsets) != p.size) & a.is_valid().to_numpy(zero_copy_only=False)
            if wrong.any():
                n = int(np.diff(offsets)[wrong][0])
                raise DataError(f"table {self._table}: column {p.shown} has {n} bytes, and the schema wants {p.size}")


def _numbers(p: Part, a: pa.Array) -> Array:
    """What the values of an enum are written as."""
    known = pa.array(p.symbols, a.type) if p.symbols else pa.array(p.numbers, a.type)
    at: Array = pc.fill_null(pc.index_in(a, known), 0).to_numpy(zero_copy_only=False)
    return np.array(p.numbers, np.int64)[at]


def _as_list(a: pa.Array) -> pa.Array:
    """A map as a list of its entries."""
    if not pa.types.is_map(a.type):
        return a
    entry = pa.struct([pa.field("key", a.type.key_type, False), pa.field("value", a.type.item_type)])
    return a.cast(pa.list_(entry))


def _items(a: pa.Array) -> pa.Array:
    return plain(_as_list(a).flatten())


def _joined(arrays: list[Array], kind: Any) -> Array:
    return np.concatenate(arrays) if arrays else np.empty(0, kind)
