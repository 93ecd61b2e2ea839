"""Python values as SQL: their types, and literals.

What a value is decides its type, as Python's database modules have it:

    bool                BOOLEAN             date                DATE
    int                 INT, BIGINT or      time                TIME
                        DECIMAL(p, 0)       datetime            TIMESTAMP(6); with a zone TIMESTAMP_LTZ(6), the instant
    float               DOUBLE              timedelta           INTERVAL DAY TO SECOND
    Decimal             DECIMAL(p, s)       list, tuple, array  ARRAY
    str, UUID           STRING              namedtuple,         ROW of its fields
    bytes, bytearray,   BYTES               dataclass
    memoryview                              dict                MAP; ROW where its values have no type in common

An enum's member is its value. Scalars and missing values of NumPy, pandas and Arrow are known by what they can do, so
that none is imported here.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlstream import types as sql
from sqlstream.catalog.objects import quoted
from sqlstream.dbapi.names import ProgrammingError
from sqlstream.types import Type

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_PRECISION = 38  # of Flink's widest DECIMAL


# ---- what a value is


def plain(value: Any) -> Any:
    """The value as one of Python's own classes, whatever is in it too. A ROW is a `RowValue`."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if value is None or type(value) in (bool, int, float, str, bytes, Decimal):
        return value
    module, name = type(value).__module__.partition(".")[0], type(value).__name__
    if name in ("NAType", "NaTType") and module == "pandas":
        return None
    if module == "numpy" and name in ("datetime64", "timedelta64"):
        # in finer units than microseconds Python would get a bare number
        return value.item() if name == "datetime64" and _in_days(value) else value.astype(f"{name}[us]").item()
    if module == "numpy" and hasattr(value, "item") and not hasattr(value, "__len__"):
        return value.item()
    if module == "pyarrow" and hasattr(value, "as_py"):
        return plain(value.as_py())
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return RowValue({f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return RowValue({n: plain(v) for n, v in zip(value._fields, value, strict=True)})
    if isinstance(value, Mapping):
        return {plain(k): plain(v) for k, v in value.items()}
    if is_sequence(value) and not isinstance(value, (str, bytes)):
        return [plain(v) for v in value]
    return value


class RowValue(dict[str, Any]):
    """The fields of a ROW, by name."""


def is_sequence(value: Any) -> bool:
    """Lists, tuples, and what behaves like one (NumPy's arrays, pandas' Series)."""
    return isinstance(value, Sequence) or (hasattr(value, "__len__") and hasattr(value, "tolist"))


def _in_days(value: Any) -> bool:
    return str(value.dtype) == "datetime64[D]"


# ---- its type


class NoCommonType(ProgrammingError):
    """Values that cannot stand in one column."""


def type_of(values: Iterable[Any]) -> Type:
    """The type that plain values have in common: NULL where all are None. ProgrammingError for one that has no SQL type,
    NoCommonType where they have none together."""
    found = sql.NULL
    for value in values:
        found = _common(found, _type(value))
    return found


def _type(value: Any) -> Type:
    if value is None:
        return sql.NULL
    if isinstance(value, bool):
        return sql.BOOLEAN
    if isinstance(value, int):
        return _of_int(value)
    if isinstance(value, float):
        return sql.DOUBLE
    if isinstance(value, Decimal):
        return _of_decimal(value)
    if isinstance(value, dict):
        return _of_dict(value)
    if isinstance(value, list):
        return sql.array(type_of(value))
    if isinstance(value, datetime.datetime):
        return sql.timestamp(6) if value.tzinfo is None else sql.timestamp_ltz(6)
    if isinstance(value, datetime.time) and value.tzinfo is not None:
        raise ProgrammingError("it cannot be a time with a time zone")
    for cls, t in _CLASSES:
        if isinstance(value, cls):
            return t
    raise ProgrammingError(f"it cannot be a {type(value).__name__}")


_CLASSES: tuple[tuple[type, Type], ...] = (
    (str, sql.STRING),
    (bytes, sql.BYTES_TYPE),
    (datetime.date, sql.DATE),
    (datetime.time, Type("TIME", 6)),
    (datetime.timedelta, sql.INTERVAL_DAY),
)


def _of_int(value: int) -> Type:
    if -(2**31) <= value < 2**31:
        return sql.INT
    if -(2**63) <= value < 2**63:
        return sql.BIGINT
    return _decimal(len(str(abs(value))), 0)


def _of_decimal(value: Decimal) -> Type:
    if not value.is_finite():
        raise ProgrammingError(f"it cannot be Decimal('{value}'): SQL has no such DECIMAL")
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    scale = max(-exponent, 0)
    return _decimal(max(len(digits) + max(exponent, 0), scale, 1), scale)


def _decimal(precision: int, scale: int) -> Type:
    if precision > _PRECISION:
        raise ProgrammingError(f"it cannot be a number of {precision} digits: DECIMAL has {_PRECISION}")
    return sql.decimal(precision, scale)


def _of_dict(value: dict[Any, Any]) -> Type:
    if not isinstance(value, RowValue):
        try:
            key, item = type_of(value), type_of(value.values())
        except NoCommonType:
            if not all(isinstance(k, str) for k in value):
                raise
        else:
            if None in value:
                raise ProgrammingError("a key of a MAP is not None")
            return sql.map_of(key.null(False), item)
    return sql.row(*((k, _type(v)) for k, v in value.items()))


_WIDTH = {"INT": 10, "BIGINT": 19}


def _common(a: Type, b: Type) -> Type:
    if a == b or b.kind == "NULL":
        return a
    if a.kind == "NULL":
        return b
    kinds = {a.kind, b.kind}
    if kinds <= {"INT", "BIGINT"}:
        return sql.BIGINT
    if kinds <= {"INT", "BIGINT", "DECIMAL", "DOUBLE"}:
        return sql.DOUBLE if "DOUBLE" in kinds else _wider(a, b)
    if kinds == {"ARRAY"}:
        return sql.array(_common(a.element, b.element))
    if kinds == {"MAP"}:
        return sql.map_of(_common(a.fields[0].type, b.fields[0].type), _common(a.element, b.element))
    if kinds == {"ROW"} and {f.name for f in a.fields} == {f.name for f in b.fields}:
        other = {f.name: f.type for f in b.fields}
        return sql.row(*((f.name, _common(f.type, other[f.name])) for f in a.fields))
    raise NoCommonType(f"{a.text()} and {b.text()} do not go together")


def _wider(a: Type, b: Type) -> Type:
    sizes = [((t.precision or 0), (t.scale or 0)) if t.kind == "DECIMAL" else (_WIDTH[t.kind], 0) for t in (a, b)]
    scale = max(s for _, s in sizes)
    return _decimal(max(p - s for p, s in sizes) + scale, scale)


# ---- as text


def literal(value: Any) -> str:
    """A Python value as SQL. ProgrammingError for one that has no SQL type."""
    return _literal(plain(value))


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        if _of_int(value).kind == "BIGINT" and value == -(2**63):  # its digits alone are no BIGINT
            return f"CAST('{int(value)}' AS BIGINT)"
        return str(int(value)) if value >= 0 else f"({int(value)})"
    if isinstance(value, float):
        return f"CAST('{_number(value)}' AS DOUBLE)"
    if isinstance(value, Decimal):
        t = _of_decimal(value)
        text = format(value, "f")
        # without a point a number of more digits than its own would be read as an integer
        return f"CAST('{text}' AS {t.text()})" if t.scale == 0 else f"({text})" if value < 0 else text
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, datetime.datetime):
        return _timestamp(value)
    if isinstance(value, datetime.date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, datetime.timedelta):
        return _interval(value)
    t = _type(value)
    if isinstance(value, datetime.time):
        return f"TIME '{value.isoformat()}'"
    if t.kind == "ARRAY":
        if not len(value):
            raise ProgrammingError("an empty list has no type: write CAST(ARRAY[] AS …) into the statement")
        return f"ARRAY[{', '.join(map(_literal, value))}]"
    if t.kind == "MAP":
        if not value:
            raise ProgrammingError("an empty dict has no type: write CAST(NULL AS MAP<…>) into the statement")
        return f"MAP[{', '.join(f'{_literal(k)}, {_literal(v)}' for k, v in value.items())}]"
    return _row(value, t)


def _row(value: Mapping[str, Any], t: Type) -> str:
    for f in t.fields:
        if f.type.kind == "NULL":
            raise ProgrammingError(f"None has no type in a ROW: field {f.name} needs a value, or CAST in the statement")
    fields = ", ".join(f"{quoted(f.name)} {f.type}" for f in t.fields)
    return f"CAST(ROW({', '.join(map(_literal, value.values()))}) AS ROW<{fields}>)"


def _text(value: str) -> str:
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        raise ProgrammingError("it has half a surrogate pair, which is no character")
    return "'" + value.replace("'", "''") + "'"


def _number(value: float) -> str:
    number = float(value)  # a subclass may print as something else
    if math.isfinite(number):
        return repr(number)
    return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(number, "NaN")


def _timestamp(value: datetime.datetime) -> str:
    """TIMESTAMP without, TIMESTAMP_LTZ with a zone: the instant, whatever the session's zone."""
    if value.tzinfo is None:
        return f"TIMESTAMP '{value.isoformat(' ', 'microseconds')}'"
    us = (value - _EPOCH) // datetime.timedelta(microseconds=1)
    ms, rest = divmod(us, 1000)
    instant = f"TO_TIMESTAMP_LTZ({ms}, 3)"
    return f"(CAST({instant} AS TIMESTAMP_LTZ(6)) + INTERVAL '0.{rest:06d}' SECOND)" if rest else instant


def _interval(value: datetime.timedelta) -> str:
    us = value // datetime.timedelta(microseconds=1)
    seconds, us = divmod(abs(us), 1_000_000)
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    sign = "-" if value < datetime.timedelta(0) else ""
    return f"INTERVAL '{sign}{days} {h:02d}:{m:02d}:{s:02d}.{us:06d}' DAY TO SECOND"
