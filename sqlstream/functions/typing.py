"""Type rules: how operands meet, and what arithmetic gives. Flink's (LogicalTypeMerging), errors as BindError."""

from __future__ import annotations

from dataclasses import replace

from sqlstream.errors import BindError
from sqlstream.types import DOUBLE, INTEGERS, MAX_LENGTH, NULL, Type, decimal

_DIGITS = {"TINYINT": 3, "SMALLINT": 5, "INT": 10, "BIGINT": 19}


def as_decimal(t: Type) -> Type:
    """An integer type as the DECIMAL that holds it."""
    return t if t.kind == "DECIMAL" else decimal(_DIGITS[t.kind], 0)


def limited(precision: int, scale: int) -> Type:
    """DECIMAL(precision, scale) brought under 38 digits, giving up scale down to 6 first (Flink's rule)."""
    if precision <= 38:
        return decimal(precision, scale)
    digits = precision - scale
    return decimal(38, max(38 - digits, min(scale, 6)))


def common(types: list[Type], what: str) -> Type:
    """The type that all of `types` convert to without a cast by the user. BindError when there is none."""
    nullable = any(t.nullable or t.kind == "NULL" for t in types)
    known = [t for t in types if t.kind != "NULL"]
    if not known:
        return NULL
    out = known[0]
    for t in known[1:]:
        out = _pair(out, t, what)
    return out.null(nullable)


def _pair(a: Type, b: Type, what: str) -> Type:
    if a.null() == b.null():
        return a
    if a.is_string and b.is_string:
        if a.kind == b.kind == "CHAR" and a.precision == b.precision:
            return a
        return Type("VARCHAR", max(a.precision or MAX_LENGTH, b.precision or MAX_LENGTH))
    if a.is_numeric and b.is_numeric:
        if "DOUBLE" in (a.kind, b.kind) or ("FLOAT" in (a.kind, b.kind) and a.kind != b.kind):
            return DOUBLE if "DOUBLE" in (a.kind, b.kind) or "DECIMAL" in (a.kind, b.kind) else Type("FLOAT")
        if "DECIMAL" in (a.kind, b.kind):
            x, y = as_decimal(a), as_decimal(b)
            scale = max(x.scale or 0, y.scale or 0)
            digits = max((x.precision or 0) - (x.scale or 0), (y.precision or 0) - (y.scale or 0))
            return limited(digits + scale, scale)
        return a if INTEGERS.index(a.kind) >= INTEGERS.index(b.kind) else b
    if a.kind == b.kind and a.kind in ("TIMESTAMP", "TIMESTAMP_LTZ", "TIME", "BINARY", "VARBINARY"):
        return replace(a, precision=max(a.precision or 0, b.precision or 0))
    if a.is_timestamp and b.is_timestamp:
        return Type("TIMESTAMP_LTZ", max(a.precision or 0, b.precision or 0))
    if {a.kind, b.kind} == {"DATE", "TIMESTAMP"}:
        return a if a.kind == "TIMESTAMP" else b
    if {a.kind, b.kind} <= {"BINARY", "VARBINARY"}:
        return Type("VARBINARY", max(a.precision or 0, b.precision or 0))
    if a.kind == b.kind and a.fields and len(a.fields) == len(b.fields):
        return replace(
            a,
            fields=tuple(
                replace(f, type=common([f.type, g.type], what)) for f, g in zip(a.fields, b.fields, strict=True)
            ),
        )
    raise BindError(f"{what}: {a.text()} and {b.text()} do not go together", hint="CAST one of them")


def comparable(a: Type, b: Type, what: str) -> Type:
    """The type to compare `a` and `b` in; a string constant compares with times and numbers as Flink casts it."""
    if a.is_string and (b.is_numeric or b.kind in ("DATE", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ", "BOOLEAN")):
        return b if not b.is_numeric else DOUBLE if not b.is_integer else b
    if b.is_string and not a.is_string and a.kind not in ("NULL", "ROW", "ARRAY", "MAP"):
        return comparable(b, a, what)
    return common([a, b], what)


def arithmetic(op: str, a: Type, b: Type) -> Type:
    """The type of `a op b` for + - * / %. Integers stay integers, also under division."""
    nullable = a.nullable or b.nullable
    if any(not t.is_numeric and t.kind != "NULL" for t in (a, b)):
        times = any(t.is_timestamp or t.kind in ("DATE", "TIME") for t in (a, b))
        texts = op == "+" and any(t.is_string for t in (a, b))
        how = f"time {op} INTERVAL '1' DAY, or TIMESTAMPADD" if times else "CAST to a number"
        hint = "CAST to a number, such as CAST(x AS DOUBLE); || puts texts together" if texts and not times else how
        raise BindError(f"'{op}' does not take {a.text()} and {b.text()}", hint=hint)
    if a.kind == "NULL" or b.kind == "NULL":
        return (b if a.kind == "NULL" else a).null()
    if a.kind != "DECIMAL" and b.kind != "DECIMAL" or "DOUBLE" in (a.kind, b.kind) or "FLOAT" in (a.kind, b.kind):
        if op == "%" and a.is_integer and b.is_integer:
            return b.null(nullable)
        return common([a, b], op).null(nullable)
    x, y = as_decimal(a), as_decimal(b)
    p1, s1, p2, s2 = x.precision or 0, x.scale or 0, y.precision or 0, y.scale or 0
    if op in ("+", "-"):
        scale = max(s1, s2)
        out = limited(max(p1 - s1, p2 - s2) + scale + 1, scale)
    elif op == "*":
        out = limited(p1 + p2 + 1, s1 + s2) if p1 + p2 + 1 > 38 else decimal(p1 + p2, s1 + s2)
    elif op == "/":
        scale = max(6, s1 + p2 + 1)
        out = limited(p1 - s1 + s2 + scale, scale)
    else:
        scale = max(s1, s2)
        out = limited(min(p1 - s1, p2 - s2) + scale, scale)
    return out.null(nullable)


def implicit(source: Type, target: Type) -> bool:
    """Whether a function's argument of type `source` may be given for `target` without CAST."""
    if source.kind == "NULL" or source.kind == target.kind:
        return True
    if source.is_string and target.is_string:
        return True
    if source.is_numeric and target.is_numeric:
        widths = ["TINYINT", "SMALLINT", "INT", "BIGINT", "DECIMAL", "FLOAT", "DOUBLE"]
        # Narrowing whole numbers is allowed where a function takes INT (positions, lengths): overflow is an error.
        return widths.index(source.kind) <= widths.index(target.kind) or (source.is_integer and target.is_integer)
    return source.is_timestamp and target.is_timestamp
