"""Constants as DuckDB SQL."""

from __future__ import annotations

import math
from decimal import Decimal

from sqlstream.errors import InternalError
from sqlstream.types import Type


def literal(value: object, t: Type) -> str:
    """A constant of type `t`; Python value as in `Literal`."""
    if value is None:
        return f"CAST(NULL AS {t.duckdb()})" if t.kind != "NULL" else "NULL"
    if t.kind == "BOOLEAN":
        return "TRUE" if value else "FALSE"
    if t.is_string:
        text = str(value)
        if "\0" in text:
            return "(" + " || chr(0) || ".join(_quote(p) for p in text.split("\0")) + ")"
        return _quote(text)
    if t.kind in ("BINARY", "VARBINARY"):
        assert isinstance(value, bytes)
        return f"unhex('{value.hex()}')"
    if t.kind == "INT" and value != -(1 << 31):  # DuckDB negates 2147483648, which is a BIGINT
        return str(value) if int(value) >= 0 else f"({value})"  # type: ignore[call-overload]
    if t.is_integer or t.is_interval:
        return f"CAST({value} AS {t.duckdb()})"
    if t.kind == "DECIMAL":
        assert isinstance(value, Decimal | int)
        return f"CAST({format(value, 'f')} AS {t.duckdb()})"
    if t.kind in ("FLOAT", "DOUBLE"):
        number = float(value)  # type: ignore[arg-type]
        if math.isinf(number) or math.isnan(number):
            return f"CAST('{number}' AS {t.duckdb()})"
        return f"CAST({number!r} AS {t.duckdb()})"
    if t.kind == "TIMESTAMP":
        return f"make_timestamp(CAST({value} AS BIGINT))"
    if t.kind == "TIMESTAMP_LTZ":
        return f"make_timestamptz(CAST({value} AS BIGINT))"
    if t.kind == "DATE":
        return f"(DATE '1970-01-01' + {value})"
    if t.kind == "TIME":
        return f"CAST(make_timestamp(CAST({value} AS BIGINT)) AS TIME)"
    raise InternalError(f"no literal of type {t}")


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
