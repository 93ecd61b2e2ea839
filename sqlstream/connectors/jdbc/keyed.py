"""Rows of a database's table by keys, for lookup joins: one query for all keys that an epoch wants.

The keys go as arrays in the statement, made of Arrow's columns outside Python, and are compared with the column as it is
there, so that an index is of use. Keys that no row can have (a string with NUL, text that is no uuid) are not asked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.jdbc.conditions import condition
from sqlstream.connectors.jdbc.postgres import Connection, Disconnected, Passing, quoted, text
from sqlstream.connectors.jdbc.postgres_table import DbColumn, DbTable, find_table
from sqlstream.connectors.jdbc.postgres_types import reading
from sqlstream.connectors.jdbc.scan import JdbcSource, Query
from sqlstream.contracts import KeyedReader, ScanRequest
from sqlstream.errors import OptionError
from sqlstream.types import Type

KEYS_A_QUERY = 20_000
LONGEST_REST = 10.0  # seconds between two tries
_ARRAYS = {
    "BOOLEAN": "bool", "TINYINT": "int2", "SMALLINT": "int2", "INT": "int4", "BIGINT": "int8", "DECIMAL": "numeric",
    "DATE": "date", "TIME": "time", "TIMESTAMP": "timestamp", "TIMESTAMP_LTZ": "timestamptz",
}  # fmt: skip
_UUID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"  # as PostgreSQL writes one: no other text is that of a row


class JdbcKeyedReader(KeyedReader):
    """`retries`: of a query that failed for a reason that may pass."""

    def __init__(self, source: JdbcSource, request: ScanRequest, keys: tuple[int, ...], retries: int) -> None:
        self._source, self._request, self._keys, self._retries = source, request, keys, retries
        self._connection: Connection | None = None
        self._asked: Asked | None = None

    def rows(self, keys: Sequence[pa.Array]) -> pa.RecordBatch:
        found: list[pa.RecordBatch] = []
        for at in range(0, len(keys[0]), KEYS_A_QUERY):
            found += self._repeated([k.slice(at, KEYS_A_QUERY) for k in keys])
        if not found:
            schema = self._request.arrow_schema()
            return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
        return found[0] if len(found) == 1 else pa.concat_batches(found)

    def _repeated(self, keys: list[pa.Array]) -> list[pa.RecordBatch]:
        attempt = 0
        while True:
            try:
                return self._found(keys)
            except (Disconnected, Passing):
                self.close()
                if attempt == self._retries:
                    raise
                time.sleep(min(2.0**attempt, LONGEST_REST))
                attempt += 1

    def _found(self, keys: list[pa.Array]) -> list[pa.RecordBatch]:
        if self._connection is None:
            self._connection = self._source.connect()
            self._asked = None
        if self._asked is None:
            self._asked = Asked.of(self._source, self._connection, self._request, self._keys)
        sql = self._asked.sql(keys)
        if sql is None:
            return []
        return [self._asked.query.rows(b) for b in self._connection.stream(sql) if b.num_rows]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Asked:
    """The statement, but for the keys."""

    def __init__(self, query: Query, columns: list[DbColumn], types: list[Type]) -> None:
        self.query, self._columns, self._types = query, columns, types

    @staticmethod
    def of(source: JdbcSource, connection: Connection, request: ScanRequest, keys: tuple[int, ...]) -> Asked:
        """Looks the table up. OptionError where it is not what it is declared to be, or cannot be asked by such keys."""
        there: DbTable = find_table(connection, source.name)
        columns = [there.column(c.path[0], source.where) for c in request.columns]
        readings = tuple(reading(d, c.type, source.where) for d, c in zip(columns, request.columns, strict=True))
        more = condition(request.filter, dict(enumerate(columns)))
        for k in keys:
            _check(columns[k], request.columns[k].type, source.where)
        query = Query(there, readings, request, () if more is None else (more,), source.where)
        return Asked(query, [columns[k] for k in keys], [request.columns[k].type for k in keys])

    def sql(self, keys: list[pa.Array]) -> str | None:
        """None: no row can have any of these keys."""
        possible = pa.array(np.ones(len(keys[0]), np.bool_))
        for k, c in zip(keys, self._columns, strict=True):
            if pa.types.is_string(k.type):
                possible = pc.and_(possible, pc.invert(pc.match_substring(k, "\0")))
            if c.base == "uuid":
                possible = pc.and_(possible, pc.match_substring_regex(k, _UUID))
        keys = [k.filter(possible) for k in keys]
        if not len(keys[0]):
            return None
        pairs = list(zip(self._columns, self._types, keys, strict=True))
        arrays = [f"{text(_array_text(k))}::{_array_type(c, t)}[]" for c, t, k in pairs]
        sides = [_side(c, t) for c, t, _ in pairs]
        if len(pairs) == 1:
            return self.query.sql((f"{sides[0]} = ANY ({arrays[0]})",))
        names = ", ".join(f"k{i}" for i in range(len(pairs)))
        wanted = f"({', '.join(sides)}) IN (SELECT {names} FROM unnest({', '.join(arrays)}) AS k({names}))"
        return self.query.sql((wanted,))


def _check(column: DbColumn, t: Type, where: str) -> None:
    """OptionError where two values may be one here, or one two there, as comparing goes."""
    rounded = (
        t.kind == "DECIMAL" and column.base == "numeric" and (column.scale is None or column.scale > (t.scale or 0))
    )
    digits = re.match(r"timestamp\((\d)\)", column.type)
    cut = t.is_timestamp and (t.precision or 0) < (int(digits[1]) if digits else 6)
    if t.kind in ("FLOAT", "DOUBLE", "ARRAY", "BINARY", "VARBINARY") or rounded or cut:
        exact = {"DECIMAL": "with as many digits", "TIMESTAMP": "TIMESTAMP(6)", "TIMESTAMP_LTZ": "TIMESTAMP_LTZ(6)"}
        raise OptionError(
            f"{where}: column {column.name} ({column.type}), as {t.null()}, is no key that its rows can be asked for by",
            hint=f"declare it {exact[t.kind]}" if t.kind in exact else "'lookup.cache' = 'FULL' reads the table whole",
            subject=column.name,
        )


def _side(column: DbColumn, t: Type) -> str:
    """The column as it is compared."""
    name = f"t.{quoted(column.name)}"
    return name if not t.is_string or column.base in ("text", "varchar", "bpchar", "uuid") else f"{name}::text"


def _array_type(column: DbColumn, t: Type) -> str:
    if t.is_string:
        return column.base if column.base in ("uuid", "bpchar") else "text"
    if t.kind == "DECIMAL" and column.base in ("int2", "int4", "int8"):
        return "numeric"
    return _ARRAYS[t.kind]


def _array_text(values: pa.Array) -> str:
    """'{…}' of values none of which is NULL."""
    if pa.types.is_timestamp(values.type):
        values = pc.strftime(values, "%Y-%m-%d %H:%M:%S" + ("+00" if values.type.tz else ""))
    texts = values.cast(pa.string())
    if not pa.types.is_integer(values.type) and not pa.types.is_decimal(values.type):
        for found, instead in (("\\", "\\\\"), ('"', '\\"')):
            texts = pc.replace_substring(texts, found, instead)
        texts = pc.binary_join_element_wise(pa.scalar('"'), texts, pa.scalar('"'), "")
    whole = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    return "{" + str(pc.binary_join(whole, ",")[0].as_py()) + "}"
