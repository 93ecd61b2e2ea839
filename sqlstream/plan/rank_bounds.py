"""What a condition says of a rank: for top-N, and for views that keep the last row of a key."""

from __future__ import annotations

from sqlstream.expressions import Call, Column, Expr, Literal

_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}


def rank_bound(c: Expr, rank: int) -> tuple[str, int] | None:
    """`rank op constant` as (op, constant)."""
    if not (isinstance(c, Call) and c.function in _TURNED):
        return None
    a, b = c.args
    op = c.function
    if isinstance(b, Column) and isinstance(a, Literal):
        a, b, op = b, a, _TURNED[op]
    if (
        isinstance(a, Column)
        and a.index == rank
        and isinstance(b, Literal)
        and b.type.is_integer
        and b.value is not None
    ):
        return op, int(b.value)
    return None
