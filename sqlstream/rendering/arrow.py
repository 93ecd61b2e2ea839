"""Typed scalar expressions by Arrow's own functions, of those that it computes as DuckDB does: logic, comparisons of what is told
apart exactly, whole numbers, times and intervals.

A DuckDB statement takes half a millisecond or more before its first row, Arrow a few microseconds. `by_arrow` is None for every
other expression. What fails for a value raises pa.ArrowInvalid, and what is to be said of it is DuckDB's: who asks Arrow asks that
then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.expressions import Call, Cast, Column, Expr, Literal
from sqlstream.types import INTEGERS, Type

Datum = Any  # an array, or a scalar where it is of constants alone
_EXACT = (*INTEGERS, "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMP_LTZ", "VARCHAR")


@dataclass(frozen=True)
class ByArrow:
    """The values of `expr` over the columns of a batch by their places; as their numbers of µs, if `in_us`."""

    expr: Expr
    in_us: bool = False

    def __call__(self, batch: pa.RecordBatch) -> pa.Array:
        value = _value(self.expr, batch)
        array = value if isinstance(value, pa.Array) else pa.repeat(value, batch.num_rows)
        return array.view(pa.int64()) if self.in_us else array


def by_arrow(e: Expr, in_us: bool = False) -> ByArrow | None:
    """What computes `e`, where Arrow does. A condition may have NULL where it does not hold."""
    return ByArrow(e, in_us) if _is_computed(e) else None


def _is_computed(e: Expr) -> bool:
    if e.type.kind not in _EXACT:
        return False
    if isinstance(e, Column | Literal):
        return True
    if isinstance(e, Cast):
        return not e.lenient and _widens(e.arg.type, e.type) and _is_computed(e.arg)
    if not isinstance(e, Call) or e.function not in _FUNCTIONS:
        return False
    fits, _ = _FUNCTIONS[e.function]
    return fits(e) and all(_is_computed(a) or _is_interval(a) for a in e.args)


def _value(e: Expr, batch: pa.RecordBatch) -> Datum:
    if isinstance(e, Column):
        return batch.column(e.index)
    if isinstance(e, Literal):
        return pa.scalar(e.value, pa.duration("us") if _is_interval(e) else e.type.arrow())
    if isinstance(e, Cast):
        return _value(e.arg, batch).cast(e.type.arrow())
    assert isinstance(e, Call)
    _, compute = _FUNCTIONS[e.function]
    return compute(e, [_value(a, batch) for a in e.args])


# ---- which calls: by the types of their arguments


def _widens(source: Type, target: Type) -> bool:
    both = source.is_integer and target.is_integer
    return both and INTEGERS.index(source.kind) <= INTEGERS.index(target.kind)


def _is_interval(e: Expr) -> bool:
    return isinstance(e, Literal) and e.type.kind == "INTERVAL_DAY" and e.value is not None


def _alike(e: Call) -> bool:
    """All of one kind, or all whole numbers."""
    kinds = {a.type.kind for a in e.args}
    return len(kinds) == 1 or kinds <= {*INTEGERS}


def _of_conditions(e: Call) -> bool:
    return all(a.type.kind == "BOOLEAN" for a in e.args)


def _among_constants(e: Call) -> bool:
    first, *items = e.args
    return all(isinstance(a, Literal) and a.value is not None and a.type.kind == first.type.kind for a in items)


def _of_cases(e: Call) -> bool:
    return all(v.type.kind == e.type.kind for v in (*e.args[1::2], e.args[-1]))


def _same(e: Call) -> bool:
    return all(a.type.kind == e.type.kind for a in e.args)


def _sums(e: Call) -> bool:
    """Of whole numbers; of a time and an interval behind it."""
    a, b = e.args
    if e.type.is_integer:
        return _alike(e)
    return e.type.is_timestamp and a.type.kind == e.type.kind and _is_interval(b)


def _products(e: Call) -> bool:
    return e.type.is_integer and _alike(e)


def _remainders(e: Call) -> bool:
    divisor = e.args[1]
    return e.type.is_integer and _alike(e) and isinstance(divisor, Literal) and (divisor.value or 0) > 0


# ---- their values


def _folded(function: Callable[[Datum, Datum], Datum]) -> _Compute:
    def compute(e: Call, args: list[Datum]) -> Datum:
        found = args[0]
        for a in args[1:]:
            found = function(found, a)
        return found

    return compute


def _simple(function: Callable[..., Datum]) -> _Compute:
    return lambda e, args: function(*args)


def _sum(function: Callable[[Datum, Datum], Datum]) -> _Compute:
    """In the width of the result, where whole numbers overflow as DuckDB's do."""

    def compute(e: Call, args: list[Datum]) -> Datum:
        return function(*(a.cast(e.type.arrow()) for a in args) if e.type.is_integer else args)

    return compute


def _remainder(e: Call, args: list[Datum]) -> Datum:
    """With the sign of what is divided; the divisor is a constant above 0."""
    a, b = (x.cast(pa.int64()) for x in args)
    return pc.subtract(a, pc.multiply(pc.divide(a, b), b)).cast(e.type.arrow())


def _among(e: Call, args: list[Datum]) -> Datum:
    x = args[0]
    found = pc.is_in(x, value_set=pa.array([a.value for a in e.args[1:] if isinstance(a, Literal)], x.type))
    return pc.if_else(pc.is_valid(x), found, None)


def _case(e: Call, args: list[Datum]) -> Datum:
    value = args[-1]
    for condition, then in zip(args[-3::-2], args[-2::-2], strict=True):
        value = pc.if_else(pc.fill_null(condition, False), then, value)
    return value


_Compute = Callable[[Call, list[Datum]], Datum]
_FUNCTIONS: dict[str, tuple[Callable[[Call], bool], _Compute]] = {
    "=": (_alike, _simple(pc.equal)),
    "<>": (_alike, _simple(pc.not_equal)),
    "<": (_alike, _simple(pc.less)),
    "<=": (_alike, _simple(pc.less_equal)),
    ">": (_alike, _simple(pc.greater)),
    ">=": (_alike, _simple(pc.greater_equal)),
    "IN": (_among_constants, _among),
    "AND": (_of_conditions, _folded(pc.and_kleene)),
    "OR": (_of_conditions, _folded(pc.or_kleene)),
    "NOT": (_of_conditions, _simple(pc.invert)),
    "IS NULL": (lambda e: True, _simple(pc.is_null)),
    "IS NOT NULL": (lambda e: True, _simple(pc.is_valid)),
    "IS TRUE": (_of_conditions, lambda e, args: pc.fill_null(args[0], False)),
    "IS FALSE": (_of_conditions, lambda e, args: pc.fill_null(pc.invert(args[0]), False)),
    "CASE": (_of_cases, _case),
    "COALESCE": (_same, _simple(pc.coalesce)),
    "+": (_sums, _sum(pc.add_checked)),
    "-": (_sums, _sum(pc.subtract_checked)),
    "*": (_products, _sum(pc.multiply_checked)),
    "%": (_remainders, _remainder),
}
