"""SQL types as SQLAlchemy's, and back.

SQLAlchemy's generic types become what holds all their values: Float is DOUBLE (FLOAT up to 24 bits), String without a length
STRING, Numeric without digits DECIMAL(38, 18), DateTime TIMESTAMP(6), with `timezone` TIMESTAMP_LTZ(6). For what only SQL
has there are the classes here.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from sqlalchemy import types as sa
from sqlalchemy.sql.compiler import GenericTypeCompiler
from sqlalchemy.sql.sqltypes import _AbstractInterval
from sqlalchemy.sql.type_api import NativeForEmulated, TypeEngine, to_instance

from sqlstream.catalog.objects import quoted
from sqlstream.dbapi.values import literal
from sqlstream.types import MAX_LENGTH, Type

DOUBLE = sa.DOUBLE


class Literals:
    """A value that stands in a statement is written as the DB-API writes it: DATE '…', x'…'."""

    def literal_processor(self, dialect: Any) -> Callable[[Any], str]:
        """From a Python value to SQL."""
        return literal


class STRING(sa.Text):
    """Text of any length."""

    __visit_name__ = "STRING"


class BYTES(Literals, sa.LargeBinary):
    """Bytes of any number."""

    __visit_name__ = "BYTES"


class TINYINT(sa.SmallInteger):
    """-128 to 127."""

    __visit_name__ = "TINYINT"


class DATE(Literals, sa.DATE):
    """A day."""


class TIME(Literals, sa.TIME):
    """A time of day; `precision`: digits behind the seconds."""

    def __init__(self, precision: int = 6) -> None:
        super().__init__()
        self.precision = precision


class TIMESTAMP(Literals, sa.TIMESTAMP):
    """A wall-clock time without a zone: a datetime without one."""

    def __init__(self, precision: int = 6, timezone: bool = False) -> None:
        super().__init__(timezone)
        self.precision = precision


class TIMESTAMP_LTZ(TIMESTAMP):
    """An instant: a datetime in UTC."""

    def __init__(self, precision: int = 6) -> None:
        super().__init__(precision, timezone=True)


class ARRAY(Literals, sa.ARRAY):
    """Elements of one type: a list."""


class INTERVAL(Literals, NativeForEmulated, _AbstractInterval):
    """Days to microseconds: a timedelta."""

    __visit_name__ = "INTERVAL"
    native = True

    @classmethod
    def adapt_emulated_to_native(cls, interval: Any, **kw: Any) -> INTERVAL:
        """For SQLAlchemy's Interval."""
        return cls()

    @property
    def python_type(self) -> type:
        """timedelta."""
        return datetime.timedelta


class INTERVAL_YEAR_TO_MONTH(TypeEngine):
    """A number of months: an int."""

    __visit_name__ = "INTERVAL_YEAR_TO_MONTH"


class MAP(TypeEngine):
    """Keys of one type and values of one: a dict."""

    __visit_name__ = "MAP"

    def __init__(self, key: Any, value: Any) -> None:
        self.key, self.value = to_instance(key), to_instance(value)


class MULTISET(TypeEngine):
    """Elements, and how often each is there: a dict."""

    __visit_name__ = "MULTISET"

    def __init__(self, element: Any) -> None:
        self.element = to_instance(element)


class ROW(TypeEngine):
    """Named fields: a dict. `ROW(("city", String), ("zip", Integer))`."""

    __visit_name__ = "ROW"

    def __init__(self, *fields: tuple[str, Any]) -> None:
        self.fields = tuple((name, to_instance(t)) for name, t in fields)

    def __repr__(self) -> str:
        return f"ROW({', '.join(map(repr, self.fields))})"


# What SQLAlchemy's own types are here.
COLUMN_TYPES: dict[Any, Any] = {
    sa.Date: DATE,
    sa.Time: TIME,
    sa.DateTime: TIMESTAMP,
    sa.LargeBinary: BYTES,
    sa.Interval: INTERVAL,
    sa.ARRAY: ARRAY,
}

_PLAIN: dict[str, Any] = {
    "BOOLEAN": sa.BOOLEAN,
    "TINYINT": TINYINT,
    "SMALLINT": sa.SMALLINT,
    "INT": sa.INTEGER,
    "BIGINT": sa.BIGINT,
    "FLOAT": sa.FLOAT,
    "DOUBLE": sa.DOUBLE,
    "DATE": DATE,
    "INTERVAL_DAY": INTERVAL,
    "INTERVAL_MONTH": INTERVAL_YEAR_TO_MONTH,
}
_SIZED: dict[str, Any] = {
    "CHAR": sa.CHAR,
    "VARCHAR": sa.VARCHAR,
    "BINARY": sa.BINARY,
    "VARBINARY": sa.VARBINARY,
    "TIME": TIME,
    "TIMESTAMP": TIMESTAMP,
    "TIMESTAMP_LTZ": TIMESTAMP_LTZ,
}


def of_type(t: Type) -> Any:
    """A column's type, as SQLAlchemy has it."""
    if t.kind in ("VARCHAR", "VARBINARY") and t.precision in (None, MAX_LENGTH):
        return STRING() if t.kind == "VARCHAR" else BYTES()
    if t.kind in _PLAIN:
        return _PLAIN[t.kind]()
    if t.kind in _SIZED:
        return _SIZED[t.kind](t.precision)
    if t.kind == "DECIMAL":
        return sa.DECIMAL(t.precision, t.scale)
    if t.kind == "ARRAY":
        dimensions, item = 1, t.element
        while item.kind == "ARRAY":
            dimensions, item = dimensions + 1, item.element
        return ARRAY(of_type(item), dimensions=dimensions)
    if t.kind == "MAP":
        return MAP(of_type(t.fields[0].type), of_type(t.element))
    if t.kind == "MULTISET":
        return MULTISET(of_type(t.element))
    if t.kind == "ROW":
        return ROW(*((f.name, of_type(f.type)) for f in t.fields))
    return sa.NullType()


class _TypeCompiler(GenericTypeCompiler):
    """SQLAlchemy's types as SQL."""

    def visit_STRING(self, type_: Any, **kw: Any) -> str:
        return "STRING"

    visit_TEXT = visit_CLOB = visit_NCLOB = visit_JSON = visit_STRING

    def visit_VARCHAR(self, type_: Any, **kw: Any) -> str:
        return f"VARCHAR({type_.length})" if type_.length else "STRING"

    visit_NVARCHAR = visit_VARCHAR

    def visit_CHAR(self, type_: Any, **kw: Any) -> str:
        return f"CHAR({type_.length})" if type_.length else "CHAR"

    visit_NCHAR = visit_CHAR

    def visit_BYTES(self, type_: Any, **kw: Any) -> str:
        return "BYTES"

    visit_BLOB = visit_BYTES

    def visit_VARBINARY(self, type_: Any, **kw: Any) -> str:
        return f"VARBINARY({type_.length})" if type_.length else "BYTES"

    def visit_TINYINT(self, type_: Any, **kw: Any) -> str:
        return "TINYINT"

    def visit_INTEGER(self, type_: Any, **kw: Any) -> str:
        return "INT"

    def visit_float(self, type_: Any, **kw: Any) -> str:
        return "DOUBLE" if type_.precision is None or type_.precision > 24 else "FLOAT"

    def visit_REAL(self, type_: Any, **kw: Any) -> str:
        return "FLOAT"

    def visit_DOUBLE_PRECISION(self, type_: Any, **kw: Any) -> str:
        return "DOUBLE"

    def visit_DECIMAL(self, type_: Any, **kw: Any) -> str:
        if type_.precision is None:
            return "DECIMAL(38, 18)"  # DECIMAL alone is DECIMAL(10, 0), and cuts
        return f"DECIMAL({type_.precision}, {type_.scale or 0})"

    visit_NUMERIC = visit_DECIMAL

    def visit_TIME(self, type_: Any, **kw: Any) -> str:
        return f"TIME({getattr(type_, 'precision', 6)})"

    def visit_TIMESTAMP(self, type_: Any, **kw: Any) -> str:
        kind = "TIMESTAMP_LTZ" if type_.timezone else "TIMESTAMP"
        return f"{kind}({getattr(type_, 'precision', 6)})"

    visit_DATETIME = visit_TIMESTAMP

    def visit_INTERVAL(self, type_: Any, **kw: Any) -> str:
        return "INTERVAL DAY TO SECOND(6)"

    def visit_INTERVAL_YEAR_TO_MONTH(self, type_: Any, **kw: Any) -> str:
        return "INTERVAL YEAR TO MONTH"

    def visit_ARRAY(self, type_: Any, **kw: Any) -> str:
        text = str(self.process(type_.item_type, **kw))
        for _ in range(type_.dimensions or 1):
            text = f"ARRAY<{text}>"
        return text

    def visit_MAP(self, type_: Any, **kw: Any) -> str:
        return f"MAP<{self.process(type_.key, **kw)}, {self.process(type_.value, **kw)}>"

    def visit_MULTISET(self, type_: Any, **kw: Any) -> str:
        return f"MULTISET<{self.process(type_.element, **kw)}>"

    def visit_ROW(self, type_: Any, **kw: Any) -> str:
        return f"ROW<{', '.join(f'{quoted(name)} {self.process(t, **kw)}' for name, t in type_.fields)}>"
