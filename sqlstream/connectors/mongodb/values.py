"""Columns as PyMongo has their values, and back: documents come and go as dictionaries, one by one.

BSON's types beside the engine's are those of Flink's connector: a date has milliseconds, DECIMAL is Decimal128, and a STRING takes in ObjectIds, UUIDs and the like.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import pyarrow as pa

from sqlstream.connectors.messages.clients import library
from sqlstream.errors import DataError, NotSupported
from sqlstream.types import Type

ID = "_id"
Value = Callable[[Any], Any]
_EPOCH = dt.datetime(1970, 1, 1)
_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}


class Unfit(ValueError):
    """A value is not of the column's type."""


def check(t: Type, where: str) -> None:
    """NotSupported for a type that BSON has no form for."""
    if t.kind == "MAP" and not t.fields[0].type.is_string:
        raise NotSupported(f"{where}: {t.text()}: the names of fields are texts")
    if t.is_timestamp and (t.precision is None or t.precision > 3):
        raise NotSupported(f"{where}: {t.text()}: MongoDB's dates have milliseconds", hint=f"{t.kind}(3)")
    if t.kind in ("TIME", "INTERVAL_DAY", "INTERVAL_MONTH", "MULTISET"):
        raise NotSupported(f"{where}: MongoDB has no {t.text()}", hint="CAST it to STRING")
    for f in t.fields:
        check(f.type, where)
    if t.kind == "ARRAY":
        check(t.element, where)


# ---- to documents


def to_bson(t: Type) -> Value:
    """What makes a value of PyMongo's of one that Arrow gives."""
    bson = library("bson", "mongodb", "mongodb")
    return _nullable(_to(t, bson))


def _nullable(value: Value) -> Value:
    return lambda v: None if v is None else value(v)


def _to(t: Type, bson: Any) -> Value:
    kind = t.kind
    if kind == "BIGINT":
        found: Value = bson.int64.Int64
        return found
    if kind == "DECIMAL":
        made: Value = bson.decimal128.Decimal128
        return made
    if kind == "DATE":
        return lambda v: dt.datetime(v.year, v.month, v.day)
    if kind == "ROW":
        names, inner = [f.name for f in t.fields], [_nullable(_to(f.type, bson)) for f in t.fields]
        return lambda v: {n: f(x) for n, f, x in zip(names, inner, v.values(), strict=True)}
    if kind == "ARRAY":
        each = _nullable(_to(t.element, bson))
        return lambda v: [each(x) for x in v]
    if kind == "MAP":
        value = _nullable(_to(t.fields[1].type, bson))
        return lambda v: {k: value(x) for k, x in v}
    return lambda v: v


def documents(rows: pa.RecordBatch, types: Mapping[str, Type]) -> list[dict[str, Any]]:
    """The rows, by the names of their columns."""
    names = rows.schema.names
    columns = [[f(v) for v in c.to_pylist()] for c, f in ((rows.column(n), to_bson(types[n])) for n in names)]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def ids(rows: pa.RecordBatch, key: Sequence[str], types: Mapping[str, Type]) -> list[Any]:
    """What documents are known by, as in Flink: the value of a key of one column (a text that is an ObjectId's is one), or the values of several by their names."""
    found = documents(rows.select(list(key)), types)
    if len(key) > 1:
        return found
    return [_object_id(d[key[0]]) for d in found]


def _object_id(value: Any) -> Any:
    bson = library("bson", "mongodb", "mongodb")
    return bson.ObjectId(value) if isinstance(value, str) and bson.ObjectId.is_valid(value) else value


def asked(name: str, values: Sequence[Any]) -> list[Any]:
    """What a field is compared with: for `_id`, a text that may be an ObjectId is both."""
    if name != ID:
        return list(values)
    return [x for v in values for x in dict.fromkeys((v, _object_id(v)))]


# ---- from documents


def from_bson(t: Type) -> Value:
    """What makes the engine's value of PyMongo's. Unfit."""
    return _nullable(_from(t, library("bson", "mongodb", "mongodb")))


def _from(t: Type, bson: Any) -> Value:
    kind = t.kind
    if t.is_string:
        return lambda v: _text(v, bson)
    if kind in _BITS:
        return lambda v: _integer(v, t, bson)
    if kind in ("FLOAT", "DOUBLE"):
        return lambda v: float(_number(v, t, bson))
    if kind == "DECIMAL":
        return lambda v: _decimal(v, t, bson)
    if kind == "BOOLEAN":
        return lambda v: v if isinstance(v, bool) else _unfit(v, t)
    if kind in ("BINARY", "VARBINARY"):
        return lambda v: (
            bytes(v) if isinstance(v, bytes) else v.binary if isinstance(v, bson.ObjectId) else _unfit(v, t)
        )
    if kind == "DATE":
        return lambda v: _time(v, t, bson).date()
    if t.is_timestamp:
        step = 10 ** (3 - (t.precision or 0)) * 1000
        return lambda v: _floored(_time(v, t, bson), step)
    if kind == "ROW":
        inner = [(f.name, f"f{i}", from_bson(f.type)) for i, f in enumerate(t.fields)]
        return lambda v: {own: f(v.get(name)) for name, own, f in inner} if isinstance(v, Mapping) else _unfit(v, t)
    if kind == "ARRAY":
        each = from_bson(t.element)
        return lambda v: [each(x) for x in v] if isinstance(v, list) else _unfit(v, t)
    value = from_bson(t.fields[1].type)
    return lambda v: [(k, value(x)) for k, x in v.items()] if isinstance(v, Mapping) else _unfit(v, t)


def _unfit(v: Any, t: Type) -> NoReturn:
    shown = repr(v)
    raise Unfit(f"{shown if len(shown) <= 80 else shown[:80] + '…'} is no {t.text()}")


def _text(v: Any, bson: Any) -> str:
    if isinstance(v, str):
        return v
    if isinstance(v, bson.Regex):
        return str(v.pattern)
    if isinstance(v, dict | list | bool | int | float | bytes):
        # as Flink has them: JSON
        return str(bson.json_util.dumps(v, json_options=bson.json_util.RELAXED_JSON_OPTIONS))
    if isinstance(v, dt.datetime):
        return v.isoformat(sep=" ", timespec="milliseconds")
    return str(v)


def _number(v: Any, t: Type, bson: Any) -> Any:
    if isinstance(v, bson.decimal128.Decimal128):
        return v.to_decimal()
    return v if isinstance(v, int | float) and not isinstance(v, bool) else _unfit(v, t)


def _integer(v: Any, t: Type, bson: Any) -> int:
    n, bits = _number(v, t, bson), _BITS[t.kind]
    try:
        whole = int(n)
    except (OverflowError, ValueError):
        return _unfit(v, t)
    return whole if whole == n and -(2 ** (bits - 1)) <= whole < 2 ** (bits - 1) else _unfit(v, t)


def _decimal(v: Any, t: Type, bson: Any) -> decimal.Decimal:
    n = _number(v, t, bson)
    try:
        exact = decimal.Decimal(repr(n)) if isinstance(n, float) else decimal.Decimal(n)
        context = decimal.Context(
            prec=t.precision or 38, rounding=decimal.ROUND_HALF_UP, traps=[decimal.InvalidOperation]
        )
        return exact.quantize(decimal.Decimal(1).scaleb(-(t.scale or 0)), context=context)
    except decimal.InvalidOperation:
        _unfit(v, t)


def _time(v: Any, t: Type, bson: Any) -> dt.datetime:
    if isinstance(v, bson.timestamp.Timestamp):
        return dt.datetime.fromtimestamp(v.time, dt.UTC).replace(tzinfo=None)
    return v.replace(tzinfo=None) if isinstance(v, dt.datetime) else _unfit(v, t)


def _floored(v: dt.datetime, step: int) -> int:
    """Microseconds since 1970, of whole steps."""
    return (v - _EPOCH) // dt.timedelta(microseconds=1) // step * step


def columns(
    found: Sequence[Mapping[str, Any]], paths: Sequence[tuple[tuple[str, ...], Type]], where: str
) -> list[pa.Array]:
    """The columns that documents have at paths. DataError, which names the document, where a value is not of its type, or NULL is not allowed."""
    out = []
    for path, t in paths:
        convert, values = from_bson(t), []
        for document in found:
            try:
                value = convert(_at(document, path))
            except Unfit as e:
                raise DataError(
                    f"{where}: document {document.get(ID)!r}: field {'.'.join(path)}: {e}",
                    hint="the types of the columns must be those of the fields",
                ) from None
            if value is None and not t.nullable:
                raise DataError(
                    f"{where}: document {document.get(ID)!r}: field {'.'.join(path)} is NULL but its column is NOT NULL"
                )
            values.append(value)
        out.append(pa.array(values, t.arrow()))
    return out


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(name)
    return document
