"""The buffers that a kernel fills, and Arrow arrays of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.formats.scan.layout import MOST_DIGITS, PADDING
from sqlstream.formats.scan.plan import ColumnPlan, ScannedColumn

Array = np.ndarray[Any, Any]
_NARROW = {"TINYINT": np.int8, "SMALLINT": np.int16, "INT": np.int32, "DATE": np.int32}


class Buffers:
    """Room for the columns of `rows` rows of a block of `size` bytes."""

    def __init__(self, plan: ColumnPlan, rows: int, size: int) -> None:
        self.plan, self.rows = plan, rows
        self.region = size + PADDING
        slots, strings = max(plan.slots, 1), max(plan.strings, 1)
        self.words: Array = np.empty((slots, rows), np.int64)
        self.valid: Array = np.zeros((slots, rows), np.uint8)
        self.offsets: Array = np.zeros((strings, rows + 1), np.int32)
        self.texts = np.empty(plan.strings * self.region + PADDING, np.uint8)
        self.filled: Array = np.zeros(strings, np.int64)

    def grow(self, rows: int) -> None:
        """Room for more rows."""
        used, self.rows = self.rows, rows
        for name in ("words", "valid", "offsets"):
            setattr(self, name, np.pad(getattr(self, name), ((0, 0), (0, rows - used))))

    def arrays(self, rows: int, raw: Mapping[int, pa.Array]) -> list[pa.Array]:
        """Those of the plan's columns, of the first `rows` rows. `raw`: the values of those that are raw, by their string."""
        return [self._array(c, rows, raw) for c in self.plan.columns]

    def text(self, c: ScannedColumn, rows: int) -> pa.Array:
        """The text of a column that has one; what the values are made of, if it is raw."""
        nulls, bits = self._validity(c.slot, rows)
        begin = c.string * self.region
        text = self.texts[begin : begin + int(self.filled[c.string])]
        ends = self.offsets[c.string, : rows + 1]
        return pa.Array.from_buffers(pa.string(), rows, [bits, pa.py_buffer(ends), pa.py_buffer(text)], nulls)

    def _array(self, c: ScannedColumn, rows: int, raw: Mapping[int, pa.Array]) -> pa.Array:
        if c.presence:
            there = np.ones(rows, np.uint8) if c.slot < 0 else self.valid[c.slot, :rows]
            return pa.Array.from_buffers(pa.bool_(), rows, [None, _packed(there)], 0)
        if c.string >= 0:
            return raw[c.string] if c.raw else self.text(c, rows)
        nulls, bits = self._validity(c.slot, rows)
        if c.fields:
            fields = [self._array(f, rows, raw) for f in c.fields]
            named = pa.struct([(f.name, a.type) for f, a in zip(c.fields, fields, strict=True)])
            return pa.Array.from_buffers(named, rows, [bits], nulls, children=fields)
        return pa.Array.from_buffers(c.type.arrow(), rows, [bits, self._values(c, rows)], nulls)

    def _validity(self, slot: int, rows: int) -> tuple[int, pa.Buffer | None]:
        valid = self.valid[slot, :rows]
        nulls = rows - int(np.count_nonzero(valid))
        return nulls, _packed(valid) if nulls else None

    def _values(self, c: ScannedColumn, rows: int) -> pa.Buffer:
        words = self.words[c.slot, :rows]
        if c.type.kind == "BOOLEAN":
            return _packed((words & 1).astype(np.uint8))  # anything where it is NULL
        if c.type.kind == "FLOAT":
            with np.errstate(all="ignore"):
                return pa.py_buffer(words.view(np.float64).astype(np.float32))
        if c.type.kind == "DECIMAL":
            pairs = np.empty((rows, 2), np.int64)
            pairs[:, 0] = words
            pairs[:, 1] = self.words[c.slot + 1, :rows] if _is_wide(c) else words >> 63
            return pa.py_buffer(pairs)
        if c.type.kind in _NARROW:
            words = words.astype(_NARROW[c.type.kind])
        return pa.py_buffer(words)


def _is_wide(c: ScannedColumn) -> bool:
    return c.type.precision is not None and c.type.precision > MOST_DIGITS


def _packed(bits: Array) -> pa.Buffer:
    return pa.py_buffer(np.packbits(bits, bitorder="little"))
