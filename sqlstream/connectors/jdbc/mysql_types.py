"""Which columns of MySQL a column of a type may read and write, and what becomes of the values.

Values come as texts, floats with all their digits. TIMESTAMP columns hold moments: they are TIMESTAMP_LTZ, or TIMESTAMP in a zone
that the table names. Values that the type here cannot hold are errors, also MySQL's own zero dates, unless they are to be NULL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.jdbc.mysql import quoted
from sqlstream.connectors.jdbc.readings import Reading
from sqlstream.connectors.jdbc.tables import DbColumn
from sqlstream.connectors.jdbc.texts import of_texts
from sqlstream.errors import DataError, OptionError
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    SMALLINT,
    STRING,
    TIME,
    TINYINT,
    Type,
    decimal,
    timestamp,
    timestamp_ltz,
)

INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "year")
UNSIGNED = ("tinyint unsigned", "smallint unsigned", "mediumint unsigned", "int unsigned", "bigint unsigned")
DECIMALS = ("decimal", "decimal unsigned")
FLOATS = ("float", "double", "float unsigned", "double unsigned")
CHARACTERS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
BINARIES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
WORDS = ("enum", "set", "json", "uuid", "inet4", "inet6")
_WHOLE = (*INTEGERS, *UNSIGNED)
_NUMBERS = (*_WHOLE, *DECIMALS, *FLOATS)
_SPATIAL = (
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
)
# By the kind of a type here: columns that it reads.
_READ = {
    "BOOLEAN": ("tinyint", "tinyint unsigned", "bit"),
    **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "BIGINT"), (*_WHOLE, "bit")),
    "DECIMAL": (*_WHOLE, *DECIMALS), "FLOAT": _NUMBERS, "DOUBLE": _NUMBERS, "DATE": ("date",), "TIME": ("time",),
    "TIMESTAMP": ("datetime", "timestamp"), "TIMESTAMP_LTZ": ("timestamp",),
    **dict.fromkeys(("BINARY", "VARBINARY"), (*BINARIES, "bit")),
    **dict.fromkeys(("CHAR", "VARCHAR"), (*_NUMBERS, *CHARACTERS, *WORDS, "date", "time", "datetime", "timestamp")),
}  # fmt: skip
_OF_THERE = {
    "tinyint": TINYINT, "tinyint unsigned": SMALLINT, "smallint": SMALLINT, "smallint unsigned": INT, "mediumint": INT,
    "mediumint unsigned": INT, "int": INT, "int unsigned": BIGINT, "bigint": BIGINT, "bigint unsigned": decimal(20, 0), "year": INT,
    "float": FLOAT, "float unsigned": FLOAT, "double": DOUBLE, "double unsigned": DOUBLE, "date": DATE, "time": TIME,
    "timestamp": timestamp_ltz(6), "datetime": timestamp(6), **dict.fromkeys(BINARIES, BYTES_TYPE),
}  # fmt: skip


def type_of(column: DbColumn) -> Type:
    """The type here that holds what a column does."""
    if column.type.startswith("tinyint(1)") or column.type == "bit(1)":
        return BOOLEAN
    if column.base in DECIMALS:
        digits = re.search(r"\((\d+)", column.type)
        precision = int(digits[1]) if digits else 10
        return decimal(precision, column.scale or 0) if precision <= 38 else STRING
    if column.base in ("datetime", "timestamp"):
        return (timestamp if column.base == "datetime" else timestamp_ltz)(column.scale or 0)
    return BYTES_TYPE if column.base == "bit" else _OF_THERE.get(column.base, STRING)


@dataclass(frozen=True)
class MysqlReading(Reading):
    """Of texts. `base`: the column's type there. `zone`: of TIMESTAMP columns that are TIMESTAMP here. `zero_is_null`: '0000-00-00'."""

    base: str = ""
    zone: str = "UTC"
    zero_is_null: bool = False

    def values(self, found: pa.Array) -> pa.Array:
        t = self.type
        if t.kind == "BOOLEAN":
            return pc.invert(pc.equal(found, "0"))
        if t.kind in ("DATE", "TIMESTAMP", "TIMESTAMP_LTZ"):
            found = self._without_zero(found)
        if t.kind == "TIMESTAMP" and self.base == "timestamp":
            moments = of_texts(found, timestamp_ltz(6), self.where)
            return super().values(pc.local_timestamp(moments.cast(pa.timestamp("us", self.zone))))
        return super().values(of_texts(found, t, self.where))

    def _without_zero(self, found: pa.Array) -> pa.Array:
        zero = pc.starts_with(found, "0000-00-00")
        if not pc.any(zero).as_py():
            return found
        if not self.zero_is_null:
            raise DataError(
                f"{self.where} has a value that is no {self.type.null()}: 0000-00-00, MySQL's word for no date",
                hint="declare the column STRING; or ?zeroDateTimeBehavior=CONVERT_TO_NULL in 'url'",
            )
        return pc.if_else(zero, pa.scalar(None, pa.string()), found)


def reading(column: DbColumn, t: Type, where: str, zone: str = "UTC", zero_is_null: bool = False) -> MysqlReading:
    """How a column there is read as a type here. OptionError where it cannot be."""
    told = f"{where}: column {column.name} ({column.type})"
    if column.base not in _READ.get(t.kind, ()) or (
        column.base == "bit" and t.kind == "BOOLEAN" and column.type != "bit(1)"
    ):
        hint = f"declare it {type_of(column)}"
        if column.base in _SPATIAL:
            hint = "read a view with ST_AsText(…), which is a STRING"
        raise OptionError(f"{told} is no {t.null()}", hint=hint, subject=column.name)
    name = quoted(column.name)
    sql = name
    if column.base.startswith("float") or (column.base == "bit" and t.kind not in ("BINARY", "VARBINARY")):
        sql = f"({name} + 0)"  # a float with all its digits, bits as a number
    elif t.is_string and column.base not in CHARACTERS:
        sql = f"CAST({name} AS CHAR)"
    wire = pa.binary() if t.kind in ("BINARY", "VARBINARY") else pa.string()
    return MysqlReading(sql, t, told, wire, column.base, zone, zero_is_null)


# What may be written, by the kind of a type here; MySQL makes what it has of it, and what does not fit is its error.
_TIMES = ("date", "datetime", "timestamp")
_WRITTEN = {
    "BOOLEAN": ("tinyint", "tinyint unsigned", "bit"),
    **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "BIGINT", "DECIMAL"), _NUMBERS),
    "FLOAT": (*FLOATS, *DECIMALS), "DOUBLE": (*FLOATS, *DECIMALS), "DATE": _TIMES, "TIME": ("time",), "TIMESTAMP": ("datetime", "date"),
    "TIMESTAMP_LTZ": ("timestamp",), **dict.fromkeys(("BINARY", "VARBINARY"), (*BINARIES, "bit")),
}  # fmt: skip


@dataclass(frozen=True)
class MysqlWriting:
    """How a column is written: its values as constants of a statement, in UTF-8 and bytes."""

    column: DbColumn
    type: Type
    zone: str = "UTC"

    def values(self, rows: pa.Array, where: str) -> pa.Array:
        """Constants; NULL's too. DataError for what MySQL has no constant for."""
        kind = self.type.kind
        if kind == "BOOLEAN":
            texts = pc.if_else(rows, "1", "0").cast(pa.binary())
        elif self.type.is_integer or kind == "DECIMAL":
            texts = rows.cast(pa.string()).cast(pa.binary())
        elif kind in ("FLOAT", "DOUBLE"):
            if not pc.all(pc.is_finite(rows)).as_py() and len(rows.drop_null()):
                raise DataError(
                    f"{where}: column {self.column.name} ({self.column.type}): MySQL has no NaN and no Infinity"
                )
            texts = rows.cast(pa.float64()).cast(pa.string()).cast(pa.binary())
            texts = pc.binary_join_element_wise(texts, pa.scalar(b"e0"), b"")
            texts = pc.replace_substring_regex(texts, b"(e[+-]?\\d+)e0$", b"\\1")
        else:
            texts = in_quotes(self._text(rows), b"_binary'" if kind in ("BINARY", "VARBINARY") else b"'")
        return texts.fill_null(b"NULL")

    def _text(self, rows: pa.Array) -> pa.Array:
        if pa.types.is_binary(rows.type):
            return rows
        if self.type.is_timestamp:
            if self.type.kind == "TIMESTAMP" and self.column.base == "timestamp" and self.zone != "UTC":
                rows = pc.assume_timezone(rows, self.zone, ambiguous="earliest", nonexistent="latest").cast(
                    pa.timestamp("us", "UTC")
                )
            return pc.strftime(rows, "%Y-%m-%d %H:%M:%S").cast(pa.binary())
        return rows.cast(pa.string()).cast(pa.binary())


def in_quotes(texts: pa.Array, before: bytes) -> pa.Array:
    """Texts as string constants of UTF-8 or bytes."""
    for found, instead in ((b"\\", b"\\\\"), (b"'", b"''")):
        texts = pc.replace_substring(texts, found, instead)
    return pc.binary_join_element_wise(pa.scalar(before), texts, pa.scalar(b"'"), b"")


def writing(column: DbColumn, t: Type, where: str, zone: str = "UTC") -> MysqlWriting:
    """How a type here is written to a column there. OptionError where it cannot be."""
    scalar = t.kind in _WRITTEN or t.is_string
    if not scalar:
        raise OptionError(
            f"{where}: column {column.name}: {t.null()} cannot be written to a database",
            hint="JSON_STRING(…) makes a string of it, which a JSON column takes",
            subject=column.name,
        )
    texts = column.base in CHARACTERS and t.kind not in ("BINARY", "VARBINARY")
    moment = t.kind == "TIMESTAMP" and column.base == "timestamp"
    if (
        texts
        or moment
        or column.base in _WRITTEN.get(t.kind, ())
        or (t.is_string and column.base not in (*BINARIES, "bit", *_SPATIAL))
    ):
        return MysqlWriting(column, t, zone)
    raise OptionError(
        f"{where}: {t.null()} cannot be written to column {column.name}, which is {column.type} in the database",
        hint=f"declare it {type_of(column)}, and CAST in the query",
        subject=column.name,
    )
