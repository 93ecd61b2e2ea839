"""Values of the bytes that rows are in the binary log: the same as those of a scan."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.jdbc.mysql_types import MysqlReading
from sqlstream.connectors.jdbc.readings import Reading
from sqlstream.connectors.jdbc.tables import DbColumn
from sqlstream.connectors.jdbc.texts import of_texts
from sqlstream.connectors.mysql_cdc import charsets, events
from sqlstream.connectors.mysql_cdc.events import BinlogColumn
from sqlstream.connectors.values import texts_at
from sqlstream.errors import DataError

_CHARACTERS = (
    events.STRING,
    events.VARCHAR,
    events.VAR_STRING,
    events.BLOB,
    events.TINY_BLOB,
    events.MEDIUM_BLOB,
    events.LONG_BLOB,
)
_BASES = {
    events.TINY: "tinyint", events.SHORT: "smallint", events.INT24: "mediumint", events.LONG: "int", events.LONGLONG: "bigint",
    events.FLOAT: "float", events.DOUBLE: "double", events.YEAR: "year", events.NEWDECIMAL: "decimal", events.DATE: "date",
    events.DATETIME2: "datetime", events.TIMESTAMP2: "timestamp", events.TIME2: "time", events.ENUM: "enum", events.SET: "set",
    events.JSON: "json", events.BIT: "bit", events.GEOMETRY: "geometry",
}  # fmt: skip
_ZERO = "0000-00-00"


def db_column(column: BinlogColumn) -> DbColumn:
    """As the catalog would have it."""
    base = _BASES.get(column.type, "")
    if column.type in _CHARACTERS:
        binary = column.charset == "binary"
        base = ("binary" if binary else "char") if column.type == events.STRING else ("blob" if binary else "text")
    base = f"{base} unsigned" if column.unsigned and base != "year" else base
    declared = {"decimal": f"decimal({column.precision},{column.digits})", "bit": f"bit({column.precision})"}.get(
        base.partition(" ")[0], base
    )
    digits = (
        column.digits if column.type in (events.NEWDECIMAL, events.DATETIME2, events.TIMESTAMP2, events.TIME2) else None
    )
    return DbColumn(column.name, base, declared, digits, False, False)


class Values:
    """Values of a column, as `reading` says what they are here."""

    def __init__(self, column: BinlogColumn, reading: MysqlReading) -> None:
        self.column, self.reading = column, reading

    def of(self, data: np.ndarray, begins: np.ndarray, sizes: np.ndarray) -> pa.Array:
        """Of bytes in `data`, which begin at places; a negative size is NULL. DataError for those that the type cannot hold."""
        column, reading, t = self.column, self.reading, self.reading.type
        null = sizes < 0
        if column.type in _CHARACTERS:
            found = self._characters(data, begins, sizes)
            return found if not pa.types.is_string(found.type) else reading.values(found)
        if column.type == events.JSON:
            return reading.values(_json(data, begins, sizes))
        raw = _fixed(data, begins, null, column.width)
        if column.type in (events.ENUM, events.SET):
            return reading.values(self._words(_unsigned(raw[:, ::-1]), null))
        if column.type in (events.DATE, events.DATETIME2, events.TIMESTAMP2):
            return self._times(raw, null)
        if column.type == events.TIME2:
            return self._time(raw, null)
        if column.type == events.NEWDECIMAL:
            return self._decimals(raw, null)
        if column.type == events.BIT:
            if t.kind in ("BINARY", "VARBINARY"):
                return texts_at(data, begins, sizes, pa.binary())
            numbers = pa.array(_unsigned(raw), mask=null)
        elif column.type in (events.FLOAT, events.DOUBLE):
            floats = np.ascontiguousarray(raw).view("<f4" if column.type == events.FLOAT else "<f8").reshape(-1)
            numbers = pa.array(floats, mask=null)
        elif column.type == events.YEAR:
            years = raw[:, 0].astype(np.int64)
            numbers = pa.array(np.where(years == 0, 0, years + 1900), mask=null)
            if t.is_string:
                return reading.values(pc.utf8_lpad(numbers.cast(pa.string()), 4, "0"))
        else:
            numbers = pa.array(self._integers(raw), mask=null)
        return self._numbers(numbers)

    def _numbers(self, numbers: pa.Array) -> pa.Array:
        t = self.reading.type
        if t.kind == "BOOLEAN":
            return pc.not_equal(numbers, 0)
        if t.is_string or t.kind == "DECIMAL":
            wide = numbers.cast(pa.float64()) if pa.types.is_floating(numbers.type) else numbers
            return self.reading.values(wide.cast(pa.string()))
        if t.kind == "FLOAT":
            return numbers.cast(pa.float32(), safe=False)
        if t.kind == "DOUBLE":
            return numbers.cast(pa.float64(), safe=False)
        return Reading.values(self.reading, numbers)

    def _integers(self, raw: np.ndarray) -> np.ndarray:
        found = _unsigned(raw[:, ::-1])
        if self.column.unsigned:
            return found
        bits = 8 * self.column.width
        signed = found.astype(np.int64)
        return signed if bits == 64 else np.where(signed >= 1 << (bits - 1), signed - (1 << bits), signed)

    def _characters(self, data: np.ndarray, begins: np.ndarray, sizes: np.ndarray) -> pa.Array:
        if self.column.charset == "binary":
            found = texts_at(data, begins, sizes, pa.binary())
            if self.column.type != events.STRING or not self.column.length:
                return found
            return _padded(found, self.column.length)
        if charsets.is_utf8(self.column.charset):
            return texts_at(data, begins, sizes)
        try:
            return _decoded(texts_at(data, begins, sizes, pa.binary()), charsets.decoder(self.column.charset))
        except (LookupError, UnicodeDecodeError) as e:
            raise DataError(
                f"{self.reading.where} has characters of {self.column.charset} that are not understood: {e}"
            ) from e

    def _words(self, numbers: np.ndarray, null: np.ndarray) -> pa.Array:
        words = self.column.words
        unique, at = np.unique(numbers, return_inverse=True)
        if self.column.type == events.ENUM:
            texts = [words[int(n) - 1] if 0 < n <= len(words) else "" for n in unique]
        else:
            texts = [",".join(w for k, w in enumerate(words) if int(n) >> k & 1) for n in unique]
        return pa.array(texts, pa.string()).take(pa.array(at, mask=null))

    def _times(self, raw: np.ndarray, null: np.ndarray) -> pa.Array:
        """Dates and times with them."""
        column, reading = self.column, self.reading
        if column.type == events.TIMESTAMP2:
            us = _unsigned(raw[:, :4]).astype(np.int64) * 1_000_000 + _fraction(raw[:, 4:], column.digits)
            zero = us == 0  # what TIMESTAMP has for no date
            day = np.zeros(len(raw), np.bool_)
        else:
            us, zero, day = _of_days(raw, column)
        zero, day = zero & ~null, day & ~null
        if zero.any() and not reading.type.is_string and not reading.zero_is_null:
            raise DataError(
                f"{reading.where} has a value that is no {reading.type.null()}: {_ZERO}, MySQL's word for no date",
                hint="declare the column STRING",
            )
        if day.any():
            raise DataError(
                f"{reading.where} has a value that is no {reading.type.null()}: a date without a month or a day",
                hint="read a view without such rows" if reading.type.is_string else "declare the column STRING",
            )
        moments = pa.array(us, pa.timestamp("us"), mask=null | zero)
        if reading.type.is_string:
            texts = _said(moments, column)
            nothing = (
                _ZERO
                if column.type == events.DATE
                else f"{_ZERO} 00:00:00" + ("." + "0" * column.digits if column.digits else "")
            )
            return pc.if_else(pa.array(zero), nothing, texts) if zero.any() else texts
        if column.type == events.DATE:
            return Reading.values(reading, moments.cast(pa.date32()))
        if column.type == events.TIMESTAMP2:
            moments = moments.cast(pa.timestamp("us", "UTC"))
            if reading.type.kind == "TIMESTAMP":
                moments = pc.local_timestamp(moments.cast(pa.timestamp("us", reading.zone)))
        return Reading.values(reading, moments)

    def _time(self, raw: np.ndarray, null: np.ndarray) -> pa.Array:
        """Hours, minutes and seconds, which may be more than a day, or less than nothing."""
        digits = self.column.digits
        size = (digits + 1) // 2
        packed = _unsigned(raw).astype(np.int64) - (1 << (23 + 8 * size))
        negative, packed = packed < 0, np.abs(packed)
        whole, part = packed >> (8 * size), packed & ((1 << (8 * size)) - 1)
        hours, minutes, seconds = whole >> 12 & 0x3FF, whole >> 6 & 0x3F, whole & 0x3F
        us = part * 10 ** (6 - 2 * size) + 1_000_000 * (seconds + 60 * (minutes + 60 * hours))
        if self.reading.type.is_string:
            sign = pa.array(np.where(negative, "-", "")).cast(pa.string())
            two = [pc.utf8_lpad(pa.array(x).cast(pa.string()), 2, "0") for x in (hours, minutes, seconds)]
            texts = pc.binary_join_element_wise(pc.binary_join_element_wise(sign, two[0], ""), *two[1:], ":")
            if digits:
                six = pc.utf8_lpad(pa.array(us % 1_000_000).cast(pa.string()), 6, "0")
                texts = pc.binary_join_element_wise(texts, pc.utf8_slice_codeunits(six, 0, digits), ".")
            return pc.if_else(pa.array(null), pa.scalar(None, pa.string()), texts)
        if ((negative & (us > 0) | (us >= 86_400_000_000)) & ~null).any():
            raise DataError(
                f"{self.reading.where} has a value that is no {self.reading.type.null()}: it is not within a day",
                hint="declare the column STRING",
            )
        return Reading.values(self.reading, pa.array(us, pa.int64(), mask=null).cast(pa.time64("us")))

    def _decimals(self, raw: np.ndarray, null: np.ndarray) -> pa.Array:
        unscaled = _unscaled(raw, self.column)
        if self.column.precision > 38:
            digits = self.column.digits
            texts = [None if n else _with_point(int(v), digits) for v, n in zip(unscaled, null, strict=True)]
            return self.reading.values(pa.array(texts, pa.string()))
        exact = _decimal128(unscaled, null, self.column.precision, self.column.digits)
        t = self.reading.type
        if t.kind == "DECIMAL" and (t.scale or 0) >= self.column.digits:
            return Reading.values(self.reading, exact)
        texts = exact.cast(pa.string())
        return (
            self.reading.values(texts)
            if t.kind in ("DECIMAL", "FLOAT", "DOUBLE") or t.is_string
            else of_texts(texts, t, self.reading.where)
        )


def _with_point(unscaled: int, digits: int) -> str:
    """A decimal of any size, as one writes it."""
    said = str(abs(unscaled)).zfill(digits + 1)
    return f"{'-' if unscaled < 0 else ''}{said[: len(said) - digits]}" + (f".{said[-digits:]}" if digits else "")


def _fixed(data: np.ndarray, begins: np.ndarray, null: np.ndarray, width: int) -> np.ndarray:
    """The bytes of values of one width, a row each; zeros of NULL."""
    places = np.where(null, 0, begins)[:, None] + np.arange(width)[None, :]
    raw = data[np.minimum(places, len(data) - 1)] if len(data) else np.zeros(places.shape, np.uint8)
    raw[null] = 0
    return np.ascontiguousarray(raw)


def _unsigned(raw: np.ndarray) -> np.ndarray:
    """Numbers whose first byte is the highest."""
    out = np.zeros(len(raw), np.uint64)
    for k in range(raw.shape[1]):
        out <<= np.uint64(8)
        out |= raw[:, k]
    return out


def _fraction(raw: np.ndarray, digits: int) -> np.ndarray:
    """µs of what stands behind the seconds."""
    us: np.ndarray = _unsigned(raw).astype(np.int64) * 10 ** (6 - 2 * ((digits + 1) // 2))
    return us


def _of_days(raw: np.ndarray, column: BinlogColumn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """µs, which are zero dates, and which have no month or no day."""
    if column.type == events.DATE:
        packed = _unsigned(raw[:, ::-1]).astype(np.int64)
        year, month, day = packed >> 9, packed >> 5 & 15, packed & 31
        us = np.zeros(len(raw), np.int64)
    else:
        packed = _unsigned(raw[:, :5]).astype(np.int64) - 0x8000000000
        days, clock = packed >> 17, packed & 0x1FFFF
        year, month, day = (days >> 5) // 13, (days >> 5) % 13, days & 31
        us = 1_000_000 * ((clock >> 12) * 3600 + (clock >> 6 & 63) * 60 + (clock & 63)) + _fraction(
            raw[:, 5:], column.digits
        )
    zero = (year == 0) & (month == 0) & (day == 0)
    broken = ~zero & ((month == 0) | (day == 0))
    months = ((year - 1970) * 12 + np.maximum(month, 1) - 1).astype("datetime64[M]")
    since = months.astype("datetime64[D]").astype(np.int64) + np.maximum(day, 1) - 1
    return since * 86_400_000_000 + us, zero, broken


def _said(moments: pa.Array, column: BinlogColumn) -> pa.Array:
    if column.type == events.DATE:
        return pc.strftime(moments, "%Y-%m-%d")
    texts = pc.strftime(moments, "%Y-%m-%d %H:%M:%S")  # with six digits
    return pc.utf8_slice_codeunits(texts, 0, 20 + column.digits if column.digits else 19)


def _unscaled(raw: np.ndarray, column: BinlogColumn) -> np.ndarray:
    """Of DECIMALs, without their points: nine digits in four bytes, the first bit turned, and all of those below zero."""
    raw = raw.copy()
    positive = raw[:, 0] & 0x80 != 0
    raw[:, 0] ^= 0x80
    raw[~positive] ^= 0xFF
    whole = column.precision - column.digits
    groups = [whole % 9, *[9] * (whole // 9), *[9] * (column.digits // 9), column.digits % 9]
    wide = column.precision > 18
    out: Any = np.zeros(len(raw), object if wide else np.int64)
    at = 0
    for n in groups:
        size = (n + 1) // 2 if n < 9 else 4
        if n:
            part = _unsigned(raw[:, at : at + size]).astype(np.int64)
            out = out * 10**n + (part.astype(object) if wide else part)
        at += size
    signed: np.ndarray = np.where(positive, out, -out)
    return signed


def _decimal128(unscaled: np.ndarray, null: np.ndarray, precision: int, scale: int) -> pa.Array:
    low: np.ndarray
    if unscaled.dtype == object:
        low, high = (unscaled & 0xFFFFFFFFFFFFFFFF).astype(np.uint64), (unscaled >> 64).astype(np.int64)
        words = np.stack([low, high.view(np.uint64)], axis=1)
    else:
        words = np.stack([unscaled.view(np.uint64), (unscaled >> 63).view(np.uint64)], axis=1)
    valid = pa.array(~null).buffers()[1] if null.any() else None
    return pa.Array.from_buffers(
        pa.decimal128(max(1, precision), scale), len(null), [valid, pa.py_buffer(np.ascontiguousarray(words))]
    )


def _padded(found: pa.Array, length: int) -> pa.Array:
    """BINARY(n), of which the log leaves zeros at the end out."""
    sizes = pc.binary_length(found).fill_null(0).to_numpy(zero_copy_only=False)
    if len(sizes) and (sizes == length).all():
        return found
    out = np.zeros((len(found), length), np.uint8)
    data = found.buffers()[2]
    out[np.arange(length)[None, :] < sizes[:, None]] = (
        np.frombuffer(data, np.uint8)[: int(sizes.sum())] if data is not None else 0
    )
    valid = None if not found.null_count else pa.array(found.is_valid()).buffers()[1]
    offsets = np.arange(len(found) + 1, dtype=np.int32) * length
    return pa.Array.from_buffers(pa.binary(), len(found), [valid, pa.py_buffer(offsets), pa.py_buffer(out)])


def _decoded(found: pa.Array, decode: charsets.Decode) -> pa.Array:
    """Each text that is there once."""
    told = found.dictionary_encode()
    words = pa.array([decode(v) for v in told.dictionary.to_pylist()], pa.string())
    return words.take(told.indices)


def _json(data: np.ndarray, begins: np.ndarray, sizes: np.ndarray) -> pa.Array:
    """MySQL's binary JSON as texts. A Python loop: by the library, value by value."""
    texts = []
    for value in texts_at(data, begins, sizes, pa.binary()).to_pylist():
        texts.append(None if value is None else json_text(value))
    return pa.array(texts, pa.string())


def json_text(value: bytes) -> str:
    """Of one value. Decimals within it become doubles, dates texts. DataError for what the library does not know."""
    from pymysqlreplication.json_binary import parse_json

    try:
        return json.dumps(_plain(parse_json(value[0], value[1:])) if value else None, ensure_ascii=False)
    except (ValueError, TypeError, IndexError, KeyError) as e:
        raise DataError(f"a JSON value has something in it that is not understood: {e}") from e


def _plain(found: Any) -> Any:
    if isinstance(found, bytes):
        return found.decode()
    if isinstance(found, Decimal):
        return int(found) if found == found.to_integral_value() else float(found)
    if isinstance(found, (date, timedelta)):
        return str(found)
    if isinstance(found, dict):
        return {_plain(k): _plain(v) for k, v in found.items()}
    return [_plain(v) for v in found] if isinstance(found, list) else found
