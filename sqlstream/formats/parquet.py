"""Format 'parquet': columns by name, as Flink does; append-only.

A column that a file does not have is NULL. A column whose type in the file cannot hold the table's without loss
(DOUBLE for BIGINT) is an error that names both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import IO, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sqlstream.batches import NO_WATERMARK
from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.errors import DataError
from sqlstream.formats import row_groups
from sqlstream.formats.base import Decoder, Encoder, Format, Part, Sample
from sqlstream.formats.conversion import checked_not_null, quoted, reason_of
from sqlstream.formats.cursor import own_cursor
from sqlstream.formats.inference import column_type, fitted
from sqlstream.formats.json import with_derived
from sqlstream.formats.readers import FILE, LONGEST_OBJECT, METADATA, ROW_NUMBER, Paths, bloom_call, parquet_call
from sqlstream.formats.stretches import Bounds, Judged, Stretch, constant_bounds, judged
from sqlstream.types import Schema, Type, inside, outside

_INTEGERS = ("tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint", "hugeint")
_STAMPS = ("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns")
# Strings and bytes are one physical type, and Flink reads either as the table says.
_TEXTS = ("varchar", "enum", "uuid", "blob")
_BYTES = ("blob", "varchar")
_ACCEPTED = {
    "BOOLEAN": ("boolean",), "DATE": ("date",), "TIME": ("time", "time_ns", "time with time zone"), "FLOAT": ("float",),
    "DOUBLE": ("float", "double"), "CHAR": _TEXTS, "VARCHAR": _TEXTS, "BINARY": _BYTES, "VARBINARY": _BYTES,
    "TIMESTAMP": _STAMPS, "TIMESTAMP_LTZ": ("timestamp with time zone", "timestamptz_ns", *_STAMPS),
    "TINYINT": _INTEGERS, "SMALLINT": _INTEGERS, "INT": _INTEGERS, "BIGINT": _INTEGERS,
    "INTERVAL_DAY": ("bigint",), "INTERVAL_MONTH": ("integer",),
}  # fmt: skip
MAGIC = b"PAR1"
LEAST_SKIPPED = 32_768  # rows between two stretches that are read
MOST_DIGITS = 38  # of a DECIMAL
FIRST_ROWS = 20_000  # of a file that is not here, to tell columns from


@dataclass(frozen=True)
class Found:
    """A column of a file: DuckDB's name of it (it renames one that differs from another by case) and type."""

    name: str
    type: Any
    digits: int = 0  # of a decimal, when DuckDB gives a DOUBLE for it


@dataclass(frozen=True)
class ParquetDecoder(Decoder):
    """Columns to rows, by their names in each file."""

    request: ScanRequest
    names: tuple[str, ...]  # of the table's columns
    blocks = False

    def is_whole(self, file: Any) -> bool:
        """The end names the columns, and is written last."""
        if file.seek(0, 2) < 2 * len(MAGIC):
            return False
        file.seek(-len(MAGIC), 2)
        return bool(file.read(len(MAGIC)) == MAGIC)

    def records(
        self,
        paths: Paths,
        file: bool = False,
        block: bool = False,
        longest: int = LONGEST_OBJECT,
        row: int = 0,
        end: int | None = None,
    ) -> str:
        """Neighbouring files of one schema are read by one call: each file's types are its own."""
        groups = [tuple(g) for _, g in groupby(paths, _schema_key)] if len(paths) > 1 else [paths]
        return " UNION ALL ".join(self._records(group, file, row, end) for group in groups)

    def _records(self, paths: Paths, file: bool, row: int, end: int | None) -> str:
        there = columns_of(own_cursor(), paths)
        bounded = row > 0 or end is not None
        numbered = bounded and ROW_NUMBER not in there
        also = f", r.{FILE}" if file else ""
        values = [f"{v} AS c{i}" for i, v in self._values(there)]
        where = ""
        if numbered:  # row groups beside these rows are not read
            where = f" WHERE r.{ROW_NUMBER} >= {row}" + (f" AND r.{ROW_NUMBER} < {end}" if end is not None else "")
        elif bounded:
            where = (f" LIMIT {end - row}" if end is not None else "") + f" OFFSET {row}"
        return f"SELECT {', '.join(values) or '1 AS one'}{also} FROM {parquet_call(paths, numbered, file)} AS r{where}"

    def _values(self, there: dict[str, Found]) -> list[tuple[int, str]]:
        return [
            (i, self._value(c.path, c.type, there)) for i, c in enumerate(self.request.columns) if c.path[0] != METADATA
        ]

    def explained(self, path: str, error: str) -> str:
        there = columns_of(own_cursor(), (path,))
        for i, value in self._values(there):
            try:
                own_cursor().sql(f"SELECT max(hash({value})) FROM {parquet_call((path,))} AS r").fetchall()
            except duckdb.Error as e:
                return f"column {'.'.join(self.request.columns[i].path)}: {reason_of(e)}"
        return error

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        columns = [
            f"{constants[c.path[1]]} AS c{i}" if c.path[0] == METADATA else f"c{i}"
            for i, c in enumerate(self.request.columns)
        ]
        return with_derived(f"SELECT {', '.join(columns) or '1 AS one'} FROM {records}", self.request)

    def resumed(self, path: str, constants: Mapping[str, str], row: int, end: int | None = None) -> str:
        return self.rows(f"({self.records((path,), row=row, end=end)})", constants)

    def stretches(self, path: str, file: Any, constants: Mapping[str, str]) -> list[Stretch]:
        request, skip = self.request, self.request.skip
        if skip is None:
            return [Stretch()]
        metadata = _metadata(file)
        known = constant_bounds(request, skip, constants)
        there, numbers, arrays = columns_of(own_cursor(), (path,)), row_groups.leaves(metadata), dict[str, pa.Array]()
        for i in skip.columns:
            c = request.columns[i]
            if i in known or c.path[0] == METADATA:
                continue
            _, found = _found(c.path, there)
            if found is None:
                known[i] = Bounds.constant(f"CAST(NULL AS {c.type.duckdb()})")
            elif (leaf := numbers.get(".".join(c.path))) is not None and not found.digits:
                made = row_groups.bounds(metadata, leaf, str(found.type.id))
                if made is not None:
                    arrays |= {f"{name}{i}": a for name, a in zip(made.schema.names, made.columns, strict=True)}
                    low, high = (
                        from_column(c.type.null(), f"CAST({x}{i} AS {found.type})", found, ".".join(c.path))
                        for x in ("least", "greatest")
                    )
                    known[i] = Bounds(low, high, f"may_be_null{i}", f"unknown{i}")
        ends = row_groups.ends(metadata)
        given = pa.RecordBatch.from_arrays([ends, *arrays.values()], names=["ends", *arrays])
        absent = self._absent(path, there, len(ends))
        of = zip(judged(request, skip, known, given), absent, strict=True)
        return _together(ends.to_pylist(), [replace(j, wanted=j.wanted and not no) for j, no in of])

    def _absent(self, path: str, there: dict[str, Found], groups: int) -> np.ndarray:
        """Which row groups, by Bloom filters, have none of the values that a column must have."""
        out = np.zeros(groups, bool)
        for i, values in self.request.skip.equal if self.request.skip else ():
            name, *inside = self.request.columns[i].path
            found = there.get(name)
            if found is None or inside or str(found.type.id) not in (*_INTEGERS, "varchar"):
                continue
            missing = np.ones(groups, bool)
            for value in values:
                asked = f"SELECT bloom_filter_excludes FROM {bloom_call(path, found.name, value)} ORDER BY row_group_id"
                try:
                    missing &= own_cursor().sql(asked).to_arrow_table().column(0).to_numpy()
                except duckdb.Error:  # the column's type has no such value
                    missing[:] = False
            out |= missing
        return out

    def _value(self, path: tuple[str, ...], t: Type, there: dict[str, Found]) -> str:
        x, found = _found(path, there)
        value = f"CAST(NULL AS {t.duckdb()})"
        if found is not None:
            value = from_column(t, x, found, ".".join(path))
        return checked_not_null(t, value) if len(path) == 1 else value


def _found(path: tuple[str, ...], there: dict[str, Found]) -> tuple[str, Found | None]:
    """A column or a field of one in a file, and SQL of it."""
    found = there.get(path[0])
    x = "r." + quoted(found.name) if found else ""
    for name in path[1:]:
        if found is None:
            break
        found = _children(found.type).get(name)
        x += "." + quoted(found.name) if found else ""
    return x, found


def _together(ends: list[int], judged: list[Judged]) -> list[Stretch]:
    """Row groups as stretches of such as are read, by one statement each, and such as are not. A few rows between two that are
    read are read with them: a statement costs more."""
    runs: list[Stretch] = []
    for end, j in zip(ends, judged, strict=True):
        last = runs[-1] if runs else Stretch(end=0, row_groups=0)
        if not runs or last.skipped != j.skipped:
            runs.append(last := Stretch(last.end or 0, last.end, j.skipped, NO_WATERMARK, 0))
        mark = last.mark if j.mark is None or not j.skipped else max(last.mark, j.mark)
        runs[-1] = replace(last, end=end, mark=mark, row_groups=last.row_groups + 1)
    out: list[Stretch] = []
    for i, run in enumerate(runs):
        if run.skipped and 0 < i < len(runs) - 1 and (run.end or 0) - run.first < LEAST_SKIPPED:
            run = replace(run, skipped=False)
        if out and not run.skipped and not out[-1].skipped:
            run = replace(out.pop(), end=run.end)
        out.append(run)
    return out


def from_column(t: Type, x: str, found: Found, shown: str, depth: int = 0) -> str:
    """SQL of the engine's value of `t` from a column of a file; DataError if it cannot be."""
    there = found.type
    kind = str(there.id)
    if kind == "null":  # nothing but NULLs was written
        return f"CAST(NULL AS {t.duckdb()})"
    if t.kind == "ROW" and kind == "struct":
        children = _children(there)
        parts = []
        for i, f in enumerate(t.fields):
            child = children.get(f.name)
            inner = f"{x}.{quoted(child.name)}" if child else ""
            value = from_column(f.type, inner, child, f"{shown}.{f.name}", depth) if child else "NULL"
            parts.append(f"f{i} := CAST({value} AS {f.type.duckdb()})")
        return f"CASE WHEN {x} IS NOT NULL THEN struct_pack({', '.join(parts)}) END"
    e = f"e{depth}"
    if t.kind == "ARRAY" and kind == "list":
        element = from_column(t.element, e, Found("", there.children[0][1]), shown, depth + 1)
        return f"list_transform({x}, lambda {e}: {element})"
    if t.kind == "MAP" and kind == "map":
        key = from_column(t.fields[0].type, f"{e}.key", Found("", there.children[0][1]), shown, depth + 1)
        value = from_column(t.element, f"{e}.value", Found("", there.children[1][1]), shown, depth + 1)
        entries = f"list_transform(map_entries({x}), lambda {e}: struct_pack(k := {key}, v := {value}))"
        return f"CASE WHEN {x} IS NOT NULL THEN map_from_entries({entries}) END"
    accepted = _ACCEPTED.get(t.kind, ())
    if t.kind == "DECIMAL":
        if kind == "decimal":
            sizes = dict(there.children)
            accepted = ("decimal",) if int(sizes["scale"]) <= (t.scale or 0) else ()
        else:
            accepted = _INTEGERS
    if kind not in accepted or found.digits:
        written = f"a decimal of {found.digits} digits" if found.digits else str(there)
        raise DataError(
            f"column {shown} is {written} in the parquet file, but {t} in the table",
            hint=f"a DECIMAL has {MOST_DIGITS} digits at most: leave the column out"
            if found.digits
            else "declare the column with the file's type and CAST it in the query",
        )
    if t.is_timestamp:
        return _stamp(t, x, kind)
    if t.kind == "TIME":
        return _time(t, x, kind)
    if kind == "blob" and t.is_string:
        return f"decode({x})"
    if kind == "varchar" and not t.is_string:
        return f"encode({x})"
    value = f"CAST({x} AS {t.duckdb()})"
    # statistics leave NaN out, and DuckDB concludes from them that there is none: a CASE is as far as they go
    return f"CASE WHEN {x} IS NOT NULL THEN {value} END" if kind in ("float", "double") else value


def _stamp(t: Type, x: str, kind: str) -> str:
    step = 10 ** (6 - (6 if t.precision is None else t.precision))
    if step == 1 and kind in ("timestamp", "timestamp with time zone"):
        return f"{x} AT TIME ZONE 'UTC'" if t.kind == "TIMESTAMP_LTZ" and kind == "timestamp" else x
    us = _floored(f"epoch_ns({x})", 1000) + " // 1000" if kind.endswith("_ns") else f"epoch_us({x})"
    x = f"make_timestamp({_floored(us, step)})"
    return f"{x} AT TIME ZONE 'UTC'" if t.kind == "TIMESTAMP_LTZ" else x


def _time(t: Type, x: str, kind: str) -> str:
    step = 10 ** (6 - (t.precision or 0))
    us = f"epoch_ns({x}) // 1000" if kind == "time_ns" else f"epoch_us(CAST({x} AS TIME))"
    return f"CAST(make_timestamp({_floored(us, step)}) AS TIME)"


def _floored(x: str, step: int) -> str:
    """Integer `x` floored to a multiple: a cast would round, and % keeps the sign."""
    return f"(({x}) - ((({x}) % {step}) + {step}) % {step})" if step > 1 else f"({x})"


def columns_of(cursor: duckdb.DuckDBPyConnection, paths: Paths) -> dict[str, Found]:
    """The columns of files of one schema, by their names in the file."""
    schema = None if "://" in paths[0] else _metadata(paths[0]).schema
    relation = cursor.sql(f"SELECT * FROM {parquet_call(paths)}")
    found = [Found(n, t) for n, t in zip(relation.columns, relation.types, strict=True)]
    if schema is None:  # the file is lent to DuckDB
        return {c.name: c for c in found}
    digits: dict[str, int] = {}
    for i in range(len(schema)):
        leaf = schema.column(i)
        if leaf.logical_type.type == "DECIMAL" and leaf.precision > MOST_DIGITS:
            digits[leaf.path.split(".")[0]] = leaf.precision
    names = schema.to_arrow_schema().names
    return {n: replace(c, digits=digits.get(n, 0)) for n, c in zip(names, found, strict=True)}


def _schema_key(path: str) -> str:
    return str(_metadata(path).schema).partition("\n")[2]  # the first line has the object's address


def _metadata(file: Any) -> Any:
    """Of a path, or an open file."""
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as e:
        if isinstance(e, FileNotFoundError):
            raise
        named = f"{file}: " if isinstance(file, str) else ""
        raise DataError(f"{named}it is not a parquet file: {str(e).splitlines()[0]}") from e


def _children(there: Any) -> dict[str, Found]:
    return {n: Found(n, t) for n, t in there.children} if str(there.id) == "struct" else {}


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
    """Rows as a parquet file; its schema is the table's."""

    schema: Schema

    def part(self, file: IO[bytes]) -> Part:
        return _ParquetPart(self.schema, file)


class ParquetFormat(Format):
    """`'format' = 'parquet'`: append-only, for reading and writing; without options."""

    name = "parquet"
    extension = "parquet"
    blocks = messages = False

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        return ParquetDecoder(request, table.schema.names)

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        return ParquetEncoder(table.schema)

    def beginning(self, file: Any, target: str) -> None:
        source = pq.ParquetFile(file)
        with pq.ParquetWriter(target, source.schema_arrow) as writer:
            batch = next(source.iter_batches(FIRST_ROWS), None)
            if batch is not None:
                writer.write_batch(batch)

    def infer(
        self, cursor: duckdb.DuckDBPyConnection, sample: Sample, options: Mapping[str, Any]
    ) -> list[tuple[str, Type]]:
        out, paths = [], sample.paths
        for name, found in columns_of(cursor, paths[:1]).items():
            if found.digits:
                raise DataError(
                    f"column {name} is a decimal of {found.digits} digits in the parquet file",
                    hint=f"a DECIMAL has {MOST_DIGITS} digits at most: write the columns, without this one",
                )
            t = column_type(found.type)
            out.append((name, _fitted(cursor, paths, t, f"r.{quoted(found.name)}", found)))
        return out


def _fitted(cursor: duckdb.DuckDBPyConnection, paths: Paths, t: Type, x: str, found: Found) -> Type:
    """`fitted`, also for the fields of a ROW."""
    if t.kind == "ROW":
        children = _children(found.type)
        fields = (
            replace(f, type=_fitted(cursor, paths, f.type, f"{x}.{quoted(f.name)}", children[f.name])) for f in t.fields
        )
        return replace(t, fields=tuple(fields))
    if not t.is_timestamp and t.kind != "TIME":
        return t
    return fitted(cursor, f"SELECT {from_column(t, x, found, '')} AS x FROM {parquet_call(paths[:1])} AS r", "x", t)
