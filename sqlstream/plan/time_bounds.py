"""Conditions that bound the time between two rows: what makes a join an interval join."""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.expressions import Call, Column, Expr, Literal, conjunction, conjuncts
from sqlstream.types import INTERVAL_DAY, PROCTIME, ROWTIME, Schema


@dataclass(frozen=True)
class TimeBounds:
    """left.time BETWEEN right.time + lower AND right.time + upper (µs). Columns count within their own side."""

    left_time: int
    right_time: int
    lower: int
    upper: int
    domain: str
    rest: Expr | None


def time_bounds(condition: Expr | None, left: Schema, right: Schema) -> TimeBounds | None:
    """The two-sided bound in `condition` (over left then right columns), or None."""
    width = len(left)
    lower: tuple[int, int, int] | None = None  # left column, right column, distance
    upper: tuple[int, int, int] | None = None
    used: list[Expr] = []
    parts = conjuncts(condition)
    for c in parts:
        bound = _bound(c, left, right, width)
        if bound is None:
            continue
        a, b, op, distance = bound
        if op in (">", ">=") and (lower is None or lower[:2] == (a, b)):
            d = distance + (1 if op == ">" else 0)
            lower = (a, b, d if lower is None else max(lower[2], d))
            used.append(c)
        elif op in ("<", "<=") and (upper is None or upper[:2] == (a, b)):
            d = distance - (1 if op == "<" else 0)
            upper = (a, b, d if upper is None else min(upper[2], d))
            used.append(c)
    if lower is None or upper is None or lower[:2] != upper[:2]:
        return None
    domain = left[lower[0]].time
    assert domain is not None
    rest = conjunction([c for c in parts if c not in used])
    return TimeBounds(lower[0], lower[1], lower[2], upper[2], domain, rest)


def _bound(c: Expr, left: Schema, right: Schema, width: int) -> tuple[int, int, str, int] | None:
    """`l.t op r.t + distance` as (l.t, r.t, op, distance)."""
    if not (isinstance(c, Call) and c.function in ("<", "<=", ">", ">=", "=")):
        return None
    x, y = _moved(c.args[0]), _moved(c.args[1])
    if x is None or y is None or c.function == "=":
        return None
    (i, dx), (j, dy) = x, y
    op = c.function
    if i >= width > j:
        i, dx, j, dy = j, dy, i, dx
        op = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}[op]
    if not i < width <= j:
        return None
    a, b = left[i].time, right[j - width].time
    if a != b or a not in (ROWTIME, PROCTIME):
        return None
    return i, j - width, op, dy - dx


def _moved(e: Expr) -> tuple[int, int] | None:
    """Column plus a constant distance, µs."""
    if isinstance(e, Column):
        return e.index, 0
    if isinstance(e, Call) and e.function in ("+", "-"):
        time, by = e.args
        if time.type.is_interval and e.function == "+":
            time, by = by, time
        inner = _moved(time)
        if inner is not None and isinstance(by, Literal) and by.type == INTERVAL_DAY.null(False):
            return inner[0], inner[1] + (by.value if e.function == "+" else -by.value)
    return None
