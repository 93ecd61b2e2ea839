"""Format 'parquet': columns by name, as Flink does; append-only.

A column that a file does not have is NULL. A column whose type in the file cannot hold the table's without loss
(DOUBLE for BIGINT) is an error that names both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sqlstream.connectors.base import ScanRequest, TableContext
from sqlstream.errors import DataError
from sqlstream.formats.base import Decoder, Encoder, Format, Part
from sqlstream.formats.conversion import checked_not_null, quoted
from sqlstream.formats.cursor import own_cursor
from sqlstream.formats.inference import column_type
from sqlstream.formats.json import METADATA, with_derived
from sqlstream.types import Schema, Type, inside, outside

_INTEGERS = ("tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint", "hugeint")
_STAMPS = ("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns")
_ACCEPTED = {
    "BOOLEAN": ("boolean",), "DATE": ("date",), "TIME": ("time", "time_ns"), "FLOAT": ("float",),
    "DOUBLE": ("float", "double"), "CHAR": ("varchar", "enum", "uuid"), "VARCHAR": ("varchar", "enum", "uuid"),
    "BINARY": ("blob",), "VARBINARY": ("blob",), "TIMESTAMP": _STAMPS,
    "TIMESTAMP_LTZ": ("timestamp with time zone", *_STAMPS),
    "TINYINT": _INTEGERS, "SMALLINT": _INTEGERS, "INT": _INTEGERS, "BIGINT": _INTEGERS,
}  # fmt: skip


@dataclass(frozen=True)
class ParquetDecoder(Decoder):
    request: ScanRequest
    names: tuple[str, ...]  # of the table's columns
    blocks = False

    def records(self, source: str, file: bool = False, block: bool = False, row: int = 0) -> str:
        options = ("union_by_name=true" if source.startswith("[") else "file_row_number=true") + (
            ", filename='_file'" if file else ""
        )
        relation = own_cursor().sql(f"SELECT * FROM read_parquet({source}, {options})")
        there = _outside_names(source, relation)
        also = ", r._file" if file else ""
        values = [
            f"{self._value(c.path, c.type, there)} AS c{i}"
            for i, c in enumerate(self.request.columns)
            if c.path[0] != METADATA
        ]
        where = f" WHERE r.file_row_number >= {row}" if row else ""
        return f"SELECT {', '.join(values) or '1 AS one'}{also} FROM read_parquet({source}, {options}) AS r{where}"

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        columns = [
            f"{constants[c.path[1]]} AS c{i}" if c.path[0] == METADATA else f"c{i}"
            for i, c in enumerate(self.request.columns)
        ]
        return with_derived(f"SELECT {', '.join(columns) or '1 AS one'} FROM {records}", self.request)

    def resumed(self, source: str, constants: Mapping[str, str], row: int) -> str:
        # row groups before the row are not read
        return self.rows(f"({self.records(source, row=row)})", constants)

    def _value(self, path: tuple[str, ...], t: Type, there: dict[str, tuple[str, Any]]) -> str:
        found = there.get(path[0])
        x = "r." + quoted(found[0]) if found else ""
        for name in path[1:]:
            if found is None:
                break
            found = _children(found[1]).get(name)
            x += "." + quoted(found[0]) if found else ""
        value = f"CAST(NULL AS {t.duckdb()})"
        if found is not None:
            value = from_column(t, x, found[1], ".".join(path))
        return checked_not_null(t, value) if len(path) == 1 else value


def from_column(t: Type, x: str, there: Any, shown: str, depth: int = 0) -> str:
    """SQL of the engine's value of `t` from a column whose type in the file is `there`; DataError if it cannot be."""
    kind = str(there.id)
    if t.kind == "ROW" and kind == "struct":
        children = _children(there)
        parts = []
        for i, f in enumerate(t.fields):
            child = children.get(f.name)
            inner = f"{x}.{quoted(child[0])}" if child else ""
            value = from_column(f.type, inner, child[1], f"{shown}.{f.name}", depth) if child else "NULL"
            parts.append(f"f{i} := CAST({value} AS {f.type.duckdb()})")
        return f"CASE WHEN {x} IS NOT NULL THEN struct_pack({', '.join(parts)}) END"
    e = f"e{depth}"
    if t.kind == "ARRAY" and kind == "list":
        element = from_column(t.element, e, there.children[0][1], shown, depth + 1)
        return f"list_transform({x}, lambda {e}: {element})"
    if t.kind == "MAP" and kind == "map":
        key = from_column(t.fields[0].type, f"{e}.key", there.children[0][1], shown, depth + 1)
        value = from_column(t.element, f"{e}.value", there.children[1][1], shown, depth + 1)
        entries = f"list_transform(map_entries({x}), lambda {e}: struct_pack(k := {key}, v := {value}))"
        return f"CASE WHEN {x} IS NOT NULL THEN map_from_entries({entries}) END"
    accepted = _ACCEPTED.get(t.kind, ())
    if t.kind == "DECIMAL":
        if kind == "decimal":
            sizes = dict(there.children)
            accepted = ("decimal",) if int(sizes["scale"]) <= (t.scale or 0) else ()
        else:
            accepted = _INTEGERS
    if kind not in accepted:
        raise DataError(
            f"column {shown} is {there} in the parquet file, but {t} in the table",
            hint="declare the column with the file's type and CAST it in the query",
        )
    if t.is_timestamp:
        return _stamp(t, x, kind)
    return f"CAST({x} AS {t.duckdb()})"


def _stamp(t: Type, x: str, kind: str) -> str:
    p = 6 if t.precision is None else t.precision
    step = 10 ** (6 - p)
    if kind == "timestamp_ns":  # a cast would round; nanoseconds floor
        us = f"(epoch_ns({x}) - ((epoch_ns({x}) % 1000) + 1000) % 1000) // 1000"
    elif step == 1 and kind in ("timestamp", "timestamp with time zone"):
        us = ""
    else:
        us = f"epoch_us({x})"
    if us:
        floored = f"({us}) - ((({us}) % {step}) + {step}) % {step}" if step > 1 else us
        x = f"make_timestamp({floored})"
        return f"{x} AT TIME ZONE 'UTC'" if t.kind == "TIMESTAMP_LTZ" else x
    return f"{x} AT TIME ZONE 'UTC'" if t.kind == "TIMESTAMP_LTZ" and kind == "timestamp" else x


def _outside_names(source: str, relation: duckdb.DuckDBPyRelation) -> dict[str, tuple[str, Any]]:
    """Column name in the file -> (DuckDB's name, type): DuckDB renames a name that differs from one before by case."""
    names = relation.columns
    if not source.startswith("["):
        path = source[1:-1].replace("''", "'")
        if "://" not in path:
            own = pq.read_schema(path).names
            if len(own) <= len(names):
                return {n: (d, t) for n, d, t in zip(own, names, relation.types, strict=False)}
    return {n: (n, t) for n, t in zip(names, relation.types, strict=True)}


def _children(there: Any) -> dict[str, tuple[str, Any]]:
    return {n: (n, t) for n, t in there.children} if str(there.id) == "struct" else {}


class _ParquetPart(Part):
    def __init__(self, schema: Schema, file: IO[bytes]) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(file, schema.arrow_outside(), compression="snappy")

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self._writer.write_batch(outside(inside(batch, self._schema), self._schema))

    def finish(self) -> None:
        self._writer.close()


@dataclass(frozen=True)
class ParquetEncoder(Encoder):
    schema: Schema

    def part(self, file: IO[bytes]) -> Part:
        return _ParquetPart(self.schema, file)


class ParquetFormat(Format):
    name = "parquet"
    extension = "parquet"

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        return ParquetDecoder(request, table.schema.names)

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        return ParquetEncoder(table.schema)

    def infer(
        self, cursor: duckdb.DuckDBPyConnection, source: str, options: Mapping[str, Any]
    ) -> list[tuple[str, Any]]:
        relation = cursor.sql(f"SELECT * FROM read_parquet({source})")
        return [(n, column_type(t)) for n, t in zip(relation.columns, relation.types, strict=True)]
