"""`executemany`: an INSERT of VALUES whose parameters are columns, so that it is bound once, and one job writes all rows.

INSERT INTO t VALUES (?, UPPER(?))  ->  INSERT INTO t SELECT `p0`, UPPER(`p1`) FROM `$parameters`
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from sqlstream import errors
from sqlstream.connectors.python_source import TableObject
from sqlstream.dbapi.names import ProgrammingError, not_supported
from sqlstream.dbapi.parameters import Parameters, Place, check_kind, places_of, replaced, values_of
from sqlstream.dbapi.registered import Registered
from sqlstream.dbapi.values import plain, type_of
from sqlstream.python_values import ValueMismatch, arrow_values
from sqlstream.results import Result
from sqlstream.session import Session
from sqlstream.sql.lexer import END, tokenize
from sqlstream.sql.source import Source
from sqlstream.types import INT, Column, Schema, Type

_TABLE = "$parameters"


def insert_many(session: Session, registered: Registered, sql: str, rows: Sequence[Parameters]) -> Result:
    """Runs it to its end. ProgrammingError for another statement, and where a row's parameters do not fit."""
    word, start, end = _values(sql)
    places = places_of(sql)
    if any(not start <= p.start < end for p in places):
        raise ProgrammingError("executemany: parameters stand between the brackets of VALUES")
    columns: list[list[object]] = [[] for _ in places]
    for n, row in enumerate(rows, 1):
        try:
            check_kind(row)
            for column, value in zip(columns, values_of(places, row), strict=True):
                column.append(plain(value))
        except ProgrammingError as e:
            raise ProgrammingError(f"row {n}: {e}") from None
    types = [_type(p, i, column) for i, (p, column) in enumerate(zip(places, columns, strict=True), 1)]
    schema = Schema(tuple(Column(f"p{i}", t) for i, t in enumerate(types) if t.kind != "NULL"))
    arrays = [
        _array(column, t, i) for i, (column, t) in enumerate(zip(columns, types, strict=True), 1) if t.kind != "NULL"
    ]
    if not arrays:  # rows that are all alike
        schema, arrays = Schema((Column("p", INT),)), [pa.array([0] * len(rows), pa.int32())]

    def text(i: int) -> str:
        return "NULL" if types[i].kind == "NULL" else f"`p{i}`"

    body = sql[start:end]
    shifted = [Place(p.start - start, p.end - start, p.name) for p in places]
    statement = session.parse(f"{sql[:word]}SELECT {replaced(body, shifted, text)} FROM `{_TABLE}`")
    if not rows:
        return Result("INSERT")
    data = pa.table(arrays, names=list(schema.names))
    with registered.holding(_TABLE, TableObject(data), schema, f"parameters-{_digest(data)}"):
        return session.statement(statement)


def _values(sql: str) -> tuple[int, int, int]:
    """Where VALUES stands, and where what is in its brackets begins and ends."""
    tokens = tokenize(Source(sql))
    keys = [t.key for t in tokens]
    if keys[0] == "INSERT" and "VALUES" in keys:
        at = keys.index("VALUES") + 1
        depth = 0
        for i in range(at, len(tokens)):
            depth += (keys[i] == "(") - (keys[i] == ")")
            if not depth:
                rest = [t for t in tokens[i + 1 :] if t.key != ";" and t.kind != END]
                if keys[at] == "(" and not rest:
                    return tokens[at - 1].start, tokens[at].end, tokens[i].start
                break
    raise not_supported(
        "executemany takes INSERT INTO … VALUES (…) with one row of parameters", "execute runs any other statement"
    )


def _type(place: Place, n: int, values: list[object]) -> Type:
    try:
        return type_of(values)
    except ProgrammingError as e:
        raise type(e)(f"parameter {place.name or n}: {e}") from None


def _array(values: list[object], t: Type, n: int) -> pa.Array:
    try:
        return arrow_values([_of_type(v, t) for v in values] if _has_double(t) else values, t)
    except ValueMismatch as e:
        raise errors.DataError(f"row {e.at + 1}, parameter {n}: {e}") from None


def _has_double(t: Type) -> bool:
    return t.kind == "DOUBLE" or any(_has_double(f.type) for f in t.fields)


def _of_type(value: Any, t: Type) -> Any:
    """Decimals as the floats that they are together with."""
    if isinstance(value, Decimal) and t.kind == "DOUBLE":
        return float(value)
    if isinstance(value, list):
        return [_of_type(v, t.element) for v in value]
    if isinstance(value, dict) and t.kind == "MAP":
        return {_of_type(k, t.fields[0].type): _of_type(v, t.element) for k, v in value.items()}
    if isinstance(value, dict):
        return {f.name: _of_type(value[f.name], f.type) for f in t.fields}
    return value


def _digest(data: pa.Table) -> str:
    """Of the rows: a durable job is another one where they are others."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write_table(data)
    return hashlib.blake2b(sink.getvalue(), digest_size=8).hexdigest()
