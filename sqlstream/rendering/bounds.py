"""What a scan's filter and watermark say of many rows at once, by the bounds of their columns: see `contracts.Skip`.

A comparison is decided by bounds where each side is a constant, or grows with one column: the column itself, a cast that keeps
the order, a time and an interval. Whatever else a filter says may hold, so it keeps nothing from being read.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.contracts import Skip
from sqlstream.expressions import Call, Cast, Column, Expr, Literal, conjuncts
from sqlstream.functions.scalar import volatile
from sqlstream.rendering.expressions import to_duckdb
from sqlstream.types import BOOLEAN

LEAST, GREATEST, MAY_BE_NULL, UNKNOWN = "l", "h", "n", "u"  # before a column's number
_ORDERED = ("DECIMAL", "DATE", "TIMESTAMP", "TIMESTAMP_LTZ", "BOOLEAN")
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}
_NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "<>", "<>": "="}
TRUE, FALSE = Literal(BOOLEAN, True), Literal(BOOLEAN, False)


def skip_of(predicate: Expr | None, watermark: Expr | None) -> Skip | None:
    """By which rows `predicate` leaves nothing of; None where no bounds can tell, or tell the watermark after them."""
    if predicate is None:
        return None
    wanted, equal = _possible(predicate), _equalities(predicate)
    if wanted == TRUE:
        return None
    mark, unmarked = "NULL", _or([])
    if watermark is not None:
        if (reached := _end(watermark, GREATEST)) is None:
            return None
        mark, unmarked = f"epoch_us({_text(reached)})", _or([_Bound.of(c, UNKNOWN) for c in _columns(watermark)])
    columns = {c.index for e in (predicate, watermark) if e is not None for c in _columns(e)}
    return Skip(_text(wanted), mark, _text(unmarked), tuple(sorted(columns)), equal)


def _equalities(predicate: Expr) -> tuple[tuple[int, tuple[str, ...]], ...]:
    found = []
    for e in conjuncts(predicate):
        column = e.args[0] if isinstance(e, Call) and e.function in ("=", "IN") else None
        if isinstance(e, Call) and isinstance(column, Column) and all(isinstance(x, Literal) for x in e.args[1:]):
            found.append((column, tuple(to_duckdb(x, set()) for x in e.args[1:])))
    return tuple((c.index, values) for c, values in found if c.type.is_integer or c.type.kind == "VARCHAR")


@dataclass(frozen=True)
class _Bound(Expr):
    """One of the four things that are known of a column."""

    which: str
    index: int

    @staticmethod
    def of(c: Column, which: str) -> _Bound:
        return _Bound(c.type if which in (LEAST, GREATEST) else BOOLEAN, which, c.index)


def _text(e: Expr) -> str:
    """SQL; a bound is `l0`, `h0`, `n0` or `u0`."""
    bounds = list(dict.fromkeys(x for x in e.walk() if isinstance(x, _Bound)))
    placed = e.transform(lambda x: Column(x.type, bounds.index(x)) if isinstance(x, _Bound) else None)
    return to_duckdb(placed, set(), lambda i: f"{bounds[i].which}{bounds[i].index}")


def _columns(e: Expr) -> list[Column]:
    return list(dict.fromkeys(x for x in e.walk() if isinstance(x, Column)))


def _possible(e: Expr) -> Expr:
    """Whether `e` may be true of one of the rows: TRUE, FALSE, or a condition over bounds that is never NULL."""
    if isinstance(e, Literal):
        return TRUE if e.value else FALSE
    if isinstance(e, Column):
        return _compared("=", e, TRUE)
    if not isinstance(e, Call):
        return TRUE
    if e.function == "AND":
        return _and([_possible(a) for a in e.args])
    if e.function == "OR":
        return _or([_possible(a) for a in e.args])
    if e.function in _FLIPPED:
        return _compared(e.function, *e.args)
    if e.function == "IN":
        return _or([_compared("=", e.args[0], item) for item in e.args[1:]])
    if e.function == "IS TRUE":
        return _possible(e.args[0])
    if e.function in ("IS NULL", "IS NOT NULL") and isinstance(e.args[0], Column):
        return _null(e.args[0]) if e.function == "IS NULL" else _not_null(e.args[0])
    return _impossible(e.args[0]) if e.function == "NOT" else TRUE


def _impossible(e: Expr) -> Expr:
    """`_possible` of NOT `e`."""
    if isinstance(e, Column):
        return _compared("=", e, FALSE)
    if not isinstance(e, Call):
        return TRUE
    if e.function == "AND":
        return _or([_impossible(a) for a in e.args])
    if e.function == "OR":
        return _and([_impossible(a) for a in e.args])
    if e.function == "NOT":
        return _possible(e.args[0])
    if e.function in _NEGATED and e.args[0].type.kind not in ("FLOAT", "DOUBLE"):  # NaN is neither above nor below
        return _compared(_NEGATED[e.function], *e.args)
    if e.function == "IN":
        return _and([_compared("<>", e.args[0], item) for item in e.args[1:]])
    if e.function == "IS NULL" and isinstance(e.args[0], Column):
        return _not_null(e.args[0])
    return TRUE


def _compared(op: str, a: Expr, b: Expr) -> Expr:
    """Bounds need not be exact, nor do they look at NaN: so `<>` is told of numbers and times alone."""
    if not _ordered(a) or not _ordered(b) or (op == "<>" and (a.type.is_string or a.type.kind in ("FLOAT", "DOUBLE"))):
        return TRUE
    ends = [_end(x, which) for x in (a, b) for which in (LEAST, GREATEST)]
    columns = [*_columns(a), *_columns(b)]
    if not columns or any(x is None for x in ends):
        return TRUE
    low_a, high_a, low_b, high_b = (x for x in ends if x is not None)
    if op in ("<", "<="):
        told: Expr = Call(BOOLEAN, op, (low_a, high_b))
    elif op in (">", ">="):
        told = Call(BOOLEAN, op, (high_a, low_b))
    else:
        parts = (Call(BOOLEAN, "<=", (low_a, high_b)), Call(BOOLEAN, "<=", (low_b, high_a)))
        if op == "<>":  # all of both are one value otherwise
            parts = (Call(BOOLEAN, "<", (low_a, high_b)), Call(BOOLEAN, "<", (low_b, high_a)))
        told = Call(BOOLEAN, "AND" if op == "=" else "OR", parts)
    unknown = _or([_Bound.of(c, UNKNOWN) for c in columns])
    return Call(BOOLEAN, "COALESCE", (told, unknown))  # NULL: a bound is unknown, or one side is NULL in all rows


def _ordered(e: Expr) -> bool:
    return e.type.is_numeric or e.type.is_string or e.type.kind in _ORDERED


def _end(e: Expr, which: str) -> Expr | None:
    """The least or greatest value of `e`, where bounds tell it."""
    if isinstance(e, Column):
        return _Bound.of(e, which)
    if not _columns(e):
        return None if volatile(e) else e
    arg: Expr | None = None
    if isinstance(e, Cast) and not e.lenient and _keeps_order(e):
        arg = _end(e.arg, which)
        return None if arg is None else Cast(e.type, arg)
    if isinstance(e, Call) and e.function in ("+", "-") and e.type.is_timestamp:
        time, by = e.args
        if time.type == e.type and isinstance(by, Literal) and by.type.kind == "INTERVAL_DAY":
            arg = _end(time, which)
            return None if arg is None else Call(e.type, e.function, (arg, by))
    return None


def _keeps_order(e: Cast) -> bool:
    source, target = e.arg.type, e.type
    if source.is_integer or source.kind == "DECIMAL":
        return target.is_numeric
    return source.kind == "TIMESTAMP" and target.kind in ("TIMESTAMP", "DATE")


def _null(c: Column) -> Expr:
    return _Bound.of(c, MAY_BE_NULL)


def _not_null(c: Column) -> Expr:
    if not _ordered(c):
        return TRUE
    return _or([_Bound.of(c, UNKNOWN), Call(BOOLEAN, "IS NOT NULL", (_Bound.of(c, LEAST),))])


def _and(parts: list[Expr]) -> Expr:
    return _joined("AND", parts, TRUE, FALSE)


def _or(parts: list[Expr]) -> Expr:
    return _joined("OR", parts, FALSE, TRUE)


def _joined(function: str, parts: list[Expr], nothing: Expr, decided: Expr) -> Expr:
    if decided in parts:
        return decided
    rest = tuple(dict.fromkeys(p for p in parts if p != nothing))
    return nothing if not rest else rest[0] if len(rest) == 1 else Call(BOOLEAN, function, rest)
