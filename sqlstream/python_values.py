"""Columns as Python values, and back.

ROW         a dict by field names (as a value also a tuple or list in their order)
MAP         a dict
ARRAY       a list (as a value also a tuple)
INTERVAL    a timedelta of days and less, an int of months
TIMESTAMP   a datetime without zone; TIMESTAMP_LTZ: one in UTC
DECIMAL     a Decimal (as a value also an int)
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.types import Type, rename_array

_EPOCH = datetime.datetime(1970, 1, 1)
_MICROSECOND = datetime.timedelta(microseconds=1)
_NUMBERS: tuple[type, ...] = (int, np.integer)
_CLASSES: dict[str, tuple[type, ...]] = {
    "BOOLEAN": (bool, np.bool_),
    **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "BIGINT", "INTERVAL_MONTH"), _NUMBERS),
    **dict.fromkeys(("FLOAT", "DOUBLE"), (float, np.floating, *_NUMBERS)),
    "DECIMAL": (decimal.Decimal, int),
    **dict.fromkeys(("CHAR", "VARCHAR"), (str,)),
    **dict.fromkeys(("BINARY", "VARBINARY"), (bytes, bytearray, memoryview)),
    "DATE": (datetime.date,),
    "TIME": (datetime.time,),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_LTZ"), (datetime.datetime,)),
    "INTERVAL_DAY": (datetime.timedelta,),
    "ARRAY": (list, tuple),
    "MAP": (Mapping,),
    "ROW": (Mapping, list, tuple),
    "NULL": (),
}


class ValueMismatch(ValueError):
    """Value `at` of those given is none of the type."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at


def check_class(value: Any, t: Type) -> None:
    """ValueMismatch for a value of a class that the type has none of; what is in it, `arrow_values` sees. Fast."""
    if value is not None and type(value) not in _CLASSES[t.kind]:
        _check([value], t.null())


def python_values(array: pa.Array, t: Type) -> list[Any]:
    """A column as Python values, whether its rows have their fields' names or the engine's."""
    values: list[Any] = rename_array(array, t.arrow_outside()).to_pylist(maps_as_pydicts="lossy")
    if t.kind == "INTERVAL_DAY":
        return [None if v is None else datetime.timedelta(microseconds=v) for v in values]
    return values


def arrow_values(values: Sequence[Any], t: Type) -> pa.Array:
    """Python values as a column of the engine's type. ValueMismatch for one that is none of `t`: nothing is cast but
    an int to a number that holds it, and what a TIMESTAMP(p) or TIME(p) does not hold is cut off."""
    _check(values, t)
    try:
        return _array(values, t)
    except ValueMismatch:
        raise
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        for i, v in enumerate(values):  # which one it was
            try:
                _array([v], t)
            except (pa.ArrowException, OverflowError, ValueError, TypeError) as e:
                raise ValueMismatch(i, f"{v!r} is no {t.text()}: {e}") from None
        raise


def micros(time: datetime.datetime) -> int:
    """Microseconds since 1970 of a datetime: of an instant if it has a zone, else of the wall clock."""
    if time.tzinfo is not None:
        time = time.astimezone(datetime.UTC).replace(tzinfo=None)
    return (time - _EPOCH) // _MICROSECOND


def moment(micros: int, utc: bool) -> datetime.datetime:
    """The datetime again; `utc`: as an instant."""
    time = _EPOCH + datetime.timedelta(microseconds=micros)
    return time.replace(tzinfo=datetime.UTC) if utc else time


def _check(values: Sequence[Any], t: Type) -> None:
    """ValueMismatch unless all are of classes that the type has. Looks at classes, and at values if one is wrong."""
    classes = _CLASSES[t.kind]
    wrong = {c for c in set(map(type, values)) if c is not type(None) and not _fits(c, classes, t.kind)}
    if wrong:
        at = next(i for i, v in enumerate(values) if type(v) in wrong)
        raise ValueMismatch(at, f"{values[at]!r} ({type(values[at]).__name__}) is no {t.text()}")
    if not t.nullable and None in values:
        raise ValueMismatch(list(values).index(None), f"None is no {t}")


def _fits(c: type, classes: tuple[type, ...], kind: str) -> bool:
    if c is bool:
        return kind == "BOOLEAN"
    return issubclass(c, classes) and not (kind == "DATE" and issubclass(c, datetime.datetime))


def _array(values: Sequence[Any], t: Type) -> pa.Array:
    nested = _NESTED.get(t.kind)
    if nested is not None:
        return nested(values, t)
    if t.kind == "INTERVAL_DAY":
        return pa.array(values, pa.duration("us")).cast(pa.int64())
    made = pa.array(values, t.arrow())
    if t.kind in ("TIME", "TIMESTAMP", "TIMESTAMP_LTZ") and t.precision is not None and t.precision < 6:
        unit = 10 ** (6 - t.precision)
        ticks = made.cast(pa.int64())
        ticks = pc.subtract(ticks, pa.array(np.mod(ticks.fill_null(0).to_numpy(), unit)))
        return ticks.cast(t.arrow())
    return made


def _list(values: Sequence[Any], t: Type) -> pa.Array:
    offsets, mask = _offsets(values)
    items = _within(values, lambda v: v, t.fields[0].type)
    return pa.ListArray.from_arrays(offsets, items, type=t.arrow(), mask=mask)


def _map(values: Sequence[Any], t: Type) -> pa.Array:
    offsets, mask = _offsets(values)
    keys = _within(values, lambda v: v.keys(), t.fields[0].type.null(False))
    items = _within(values, lambda v: v.values(), t.fields[1].type)
    return pa.MapArray.from_arrays(offsets, keys, items, t.arrow(), mask=mask)


def _row(values: Sequence[Any], t: Type) -> pa.Array:
    names = [f.name for f in t.fields]
    for i, v in enumerate(values):
        if isinstance(v, Mapping):
            if set(v) != set(names):
                raise ValueMismatch(i, f"{v!r} has not the fields {', '.join(names)}")
        elif v is not None and len(v) != len(names):
            raise ValueMismatch(i, f"{v!r} has {len(v)} values, not {len(names)} ({', '.join(names)})")
    nulls = pa.array([v is None for v in values], pa.bool_())

    def fields_of(j: int, name: str, of: Type) -> pa.Array:
        return arrow_values(
            [None if v is None else v[name] if isinstance(v, Mapping) else v[j] for v in values],
            of.null(of.nullable or t.nullable and None in values),
        )

    columns = [fields_of(j, f.name, f.type) for j, f in enumerate(t.fields)]
    return pa.StructArray.from_arrays(columns, fields=list(t.arrow()), mask=nulls)


_NESTED: dict[str, Callable[[Sequence[Any], Type], pa.Array]] = {"ARRAY": _list, "MAP": _map, "ROW": _row}


def _offsets(values: Sequence[Any]) -> tuple[pa.Array, pa.Array]:
    lengths = accumulate((0 if v is None else len(v) for v in values), initial=0)
    return pa.array(lengths, pa.int32()), pa.array([v is None for v in values], pa.bool_())


def _within(values: Sequence[Any], parts: Callable[[Any], Any], t: Type) -> pa.Array:
    """The parts of all values end to end; a mismatch is said of the value that it is part of."""
    owners, flat = [], []
    for i, v in enumerate(values):
        if v is not None:
            items = list(parts(v))
            flat += items
            owners += [i] * len(items)
    try:
        return arrow_values(flat, t)
    except ValueMismatch as e:
        raise ValueMismatch(owners[e.at], str(e)) from None
