"""Rows as bytes of text, a line each, by one compiled loop: what JSON lines and CSV have in common.

Numbers of up to 64 bits, times and strings are written by the loop, in one pass over the rows. Other values (floating point
numbers, wide decimals, what is nested) are made text by DuckDB, as all would be without it, and copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.formats import encode_kernels as k
from sqlstream.state.arrays import ALL, byte_strings, fixed, plain, validity
from sqlstream.state.background import Background
from sqlstream.types import Schema, Type

Array = np.ndarray[Any, Any]
KERNEL = Background(k.put_rows, 2**22)  # bytes: as long by DuckDB as to load it
MOST = 2**29  # bytes: texts of more are perhaps of no one Arrow array
ROOM = 2**20  # bytes of a buffer
NARROW = 18  # digits that 64 bits hold
# Days and microseconds of the years 1 to 9999: others are written in other ways.
_DAYS = (-719_162, 2_932_896)
_TIMES = (_DAYS[0] * 86_400_000_000, (_DAYS[1] + 1) * 86_400_000_000 - 1)
_KINDS = {
    "BOOLEAN": k.BOOLEAN,
    "DATE": k.DATE,
    "TIMESTAMP": k.TIMESTAMP,
    "TIMESTAMP_LTZ": k.TIMESTAMP,
    "DECIMAL": k.DECIMAL,
}


def is_written(t: Type) -> bool:
    """Whether the loop writes values of this type itself."""
    return t.is_integer or t.is_string or t.kind in _KINDS and not (t.kind == "DECIMAL" and (t.precision or 0) > NARROW)


def is_worth_it(batch: pa.RecordBatch) -> bool:
    """Whether the loop is to write these rows."""
    return batch.num_columns > 0 and batch.nbytes < MOST and KERNEL.is_there(batch.nbytes)


@dataclass(frozen=True)
class Style:
    """How rows are written. `keys`: what stands before the values of each column; `null`: what stands for NULL, None: the column is
    left out. `quotes`: around times and, in JSON, strings. CSV has `dialect`: delimiter, quote and escape, of a byte each."""

    begin: bytes
    between: bytes
    end: bytes
    null: bytes | None
    keys: tuple[bytes, ...]
    separator: bytes = b" "
    quotes: bool = False
    dialect: tuple[bytes, bytes, bytes] | None = None


class TextRows:
    """Writes rows of one schema."""

    def __init__(self, schema: Schema, style: Style) -> None:
        self._types = [c.type for c in schema]
        parts = [b"true", b"false", style.begin, style.between, style.end, style.null or b"", *style.keys]
        places = np.cumsum([0, *map(len, parts)])
        self._literals = np.frombuffer(b"".join(parts), np.uint8)
        self._style = np.zeros(k.STYLE, np.int64)
        for i, at in enumerate((k.BEGIN, k.BETWEEN, k.END, k.NULL), 2):
            self._style[[at, at + 1]] = places[i : i + 2]
        self._style[k.LEAVES_NULL], self._style[k.IS_JSON] = style.null is None, style.dialect is None
        if style.dialect is not None:
            delimiter, quote, escape = style.dialect
            characters = np.frombuffer(delimiter + quote + (escape or b"\0"), np.uint8)
            self._style[[k.DELIMITER, k.QUOTE, k.ESCAPE]] = characters
            # without an escape character the quote stands for it here
            eight = np.repeat(np.frombuffer(delimiter + quote + (escape or quote), np.uint8), 8).view(np.int64)
            self._style[[k.DELIMITERS, k.QUOTES, k.ESCAPES]] = eight
        self._columns = np.zeros((len(schema), k.WIDTH), np.int64)
        for i, t in enumerate(self._types):
            row = self._columns[i]
            row[k.KIND] = self._kind(t)
            row[[k.KEY, k.KEY_END]] = places[6 + i : 8 + i]
            row[k.ARGUMENT] = (t.scale or 0) if t.kind == "DECIMAL" else style.separator[0]
            row[k.ENCLOSED] = k.QUOTATION * (style.quotes and row[k.KIND] in (k.STRING, k.DATE, k.TIMESTAMP))
            row[k.ZONE] = t.kind == "TIMESTAMP_LTZ"
        self._most = len(self._literals) + len(schema) * (k.LONGEST + len(style.between) + len(style.null or b""))

    @staticmethod
    def _kind(t: Type) -> int:
        if not is_written(t):
            return k.TEXT
        return k.STRING if t.is_string else k.INTEGER if t.is_integer else _KINDS[t.kind]

    def written(self, batch: pa.RecordBatch, texts: Mapping[int, pa.Array]) -> list[pa.Buffer] | None:
        """The bytes of the rows; `texts`: of the columns that DuckDB has made text of. None where some time is of no year that
        the loop knows."""
        rows = batch.num_rows
        columns, base = self._columns.copy(), 0
        words: list[Array] = []
        valid: list[Array] = []
        data: list[Array] = []
        offsets: list[Array] = []
        for i, t in enumerate(self._types):
            a = plain(texts.get(i, batch.column(i)))
            mask = validity(batch.column(i))
            columns[i, k.VALID] = -1
            if mask is not ALL and mask.size:
                columns[i, k.VALID] = len(valid)
                valid.append(mask)
            if i in texts or t.is_string:
                bytes_, at = byte_strings(a)
                begin, end = int(at[0]), int(at[-1])
                columns[i, k.PLACE] = len(offsets)
                offsets.append(at.astype(np.int64) + (base - begin))
                data.append(bytes_[begin:end])
                base += end - begin
                continue
            values = fixed(a)
            values = values[:, 0] if values.ndim == 2 else values.astype(np.int64, copy=False)
            least, greatest = _DAYS if t.kind == "DATE" else _TIMES
            if t.kind in ("DATE", "TIMESTAMP", "TIMESTAMP_LTZ") and rows and not _within(values, mask, least, greatest):
                return None
            columns[i, k.PLACE] = len(words)
            words.append(values)
        return self._run(
            columns,
            np.array(words, np.int64) if words else np.empty((0, rows), np.int64),
            np.array(valid, np.bool_) if valid else np.empty((0, rows), np.bool_),
            np.concatenate(data) if data else np.empty(0, np.uint8),
            np.array(offsets, np.int64) if offsets else np.empty((0, rows + 1), np.int64),
            rows,
        )

    def _run(
        self, columns: Array, words: Array, valid: Array, data: Array, offsets: Array, rows: int
    ) -> list[pa.Buffer]:
        out, row, room = [], 0, ROOM
        filled = np.array([0, rows], np.int64)
        while row < rows:
            buffer = np.empty(room, np.uint8)
            row = k.put_rows(
                row, columns, words, valid, data, offsets, self._literals, self._style, self._most, buffer, filled
            )
            if filled[0]:
                out.append(pa.py_buffer(buffer[: filled[0]]))
            else:  # not even one row has room
                room = 2 * room
        return out


def _within(values: Array, mask: Array, least: int, greatest: int) -> bool:
    there = values[mask] if mask.size else values
    return not len(there) or bool(there.min() >= least and there.max() <= greatest)
