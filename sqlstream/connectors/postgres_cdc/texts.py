"""Values of the texts that PostgreSQL writes (in UTC, ISO dates, hexadecimal bytea): the same as those of a scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.jdbc.postgres_types import reading
from sqlstream.connectors.jdbc.readings import Reading
from sqlstream.connectors.jdbc.tables import DbColumn
from sqlstream.connectors.jdbc.texts import of_texts
from sqlstream.errors import DataError, OptionError, RunError
from sqlstream.types import Type

SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "3",
}
# Types by their numbers, which are the same everywhere.
_OWN = {
    16: "bool", 17: "bytea", 20: "int8", 21: "int2", 23: "int4", 25: "text", 700: "float4", 701: "float8", 1042: "bpchar", 1043: "varchar",
    1082: "date", 1083: "time", 1114: "timestamp", 1184: "timestamptz", 1700: "numeric",
}  # fmt: skip
_HEX = np.zeros(256, np.uint8)
_HEX[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)


@dataclass(frozen=True)
class TextReading:
    """How a column's texts are read. `scanned`: how a scan reads the column."""

    column: DbColumn
    type: Type
    scanned: Reading
    where: str

    def as_sent(self, number: int) -> TextReading:
        """Of texts of another of PostgreSQL's own types, where a change has such. RunError where it cannot be read."""
        base = _OWN.get(number, self.column.base)
        if base == self.column.base:
            return self
        try:
            return TextReading.of(DbColumn(self.column.name, base, base, None, False, False), self.type, self.where)
        except OptionError as e:
            raise RunError(f"{e.message}, which changes of the table have", hint=e.hint) from e

    @staticmethod
    def of(column: DbColumn, t: Type, where: str) -> TextReading:
        """OptionError where it cannot be read."""
        if t.kind == "ARRAY":
            raise OptionError(
                f"{where}: column {column.name} ({column.type}): arrays are not read from a stream of changes",
                hint="declare it STRING: {1,2,3}",
                subject=column.name,
            )
        return TextReading(column, t, reading(column, t, where), where)

    def values(self, texts: pa.Array) -> pa.Array:
        """DataError for a text that is no value of the type."""
        t = self.type
        try:
            if t.is_string:
                if self.column.base != "bool":
                    return texts
                return pc.if_else(pc.equal(texts, "t"), "true", "false")  # as a cast writes it
            if t.kind == "BOOLEAN":
                return pc.equal(texts, "t")
            if t.kind in ("BINARY", "VARBINARY"):
                return _bytes(texts)
            if t.kind == "DECIMAL":
                return of_texts(texts, t, self.scanned.where)
            if t.kind == "TIME":
                dated = pc.binary_join_element_wise(pa.scalar("1970-01-01"), texts, " ")
                return dated.cast(pa.timestamp("us")).cast(t.arrow())
            found = texts.cast(_FIRST.get(self.column.base, t.arrow()))
        except pa.ArrowInvalid as e:
            raise DataError(
                f"{self.scanned.where} has a value that is no {t.null()}: {e}",
                hint="declare the column STRING, which reads anything",
            ) from e
        return self.scanned.values(found)


# What a scan gets of a column, from which its values are made.
_FIRST = {
    "int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64(), "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"), "date": pa.date32(),
}  # fmt: skip


def _bytes(texts: pa.Array) -> pa.Array:
    r"""Of `\x00ff`."""
    bare = pc.utf8_slice_codeunits(texts, 2)
    if isinstance(bare, pa.ChunkedArray):
        bare = bare.combine_chunks()
    offsets = np.frombuffer(bare.buffers()[1], np.int32)[bare.offset : bare.offset + len(bare) + 1]
    data = bare.buffers()[2]
    digits = (
        _HEX[np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]] if data is not None else np.zeros(0, np.uint8)
    )
    out = digits[0::2] << 4 | digits[1::2]
    places = ((offsets - offsets[0]) // 2).astype(np.int32)
    valid = None if not bare.null_count else pa.array(bare.is_valid()).buffers()[1]
    return pa.Array.from_buffers(pa.binary(), len(bare), [valid, pa.py_buffer(places), pa.py_buffer(out)])
