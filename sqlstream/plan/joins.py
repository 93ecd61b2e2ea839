"""Making joins: a condition split into equal keys and the rest."""

from __future__ import annotations

from sqlstream.expressions import Call, Column, Expr, conjunction, conjuncts, shift
from sqlstream.plan import nodes
from sqlstream.types import PROCTIME
from sqlstream.types import Column as SchemaColumn


def join(
    left: nodes.Node,
    right: nodes.Node,
    kind: str,
    condition: Expr | None,
    ttl: tuple[int | None, int | None] = (None, None),
) -> nodes.Node:
    """Joins on `condition` (over left columns then right columns).

    Equalities between an expression of the left and one of the right become keys: expressions are computed in
    Projects below and dropped again above. INNER joins take one-sided conditions as filters below; SEMI and ANTI
    give the left columns only. `ttl`: hints STATE_TTL by input.
    """
    width = len(left.schema)
    left_keys: list[Expr] = []
    right_keys: list[Expr] = []
    safe: list[bool] = []
    rest: list[Expr] = []
    for c in conjuncts(condition):
        pair = equality(c, width)
        if pair is None:
            rest.append(c)
        else:
            left_keys.append(pair[0])
            right_keys.append(shift(pair[1], lambda i: i - width))
            safe.append(pair[2])
    # One-sided conditions hold below the side whose unmatched rows are not kept.
    keep_left, keep_right = kind in ("LEFT", "FULL", "ANTI"), kind in ("RIGHT", "FULL")
    residual: list[Expr] = []
    for c in rest:
        used = c.columns()
        if used and not keep_left and max(used) < width:
            left = nodes.Filter(left, c)
        elif used and not keep_right and min(used) >= width:
            right = nodes.Filter(right, shift(c, lambda i: i - width))
        else:
            residual.append(c)
    wide_left, lk = with_columns(left, left_keys)
    wide_right, rk = with_columns(right, right_keys)
    moved = [shift(c, lambda i: i if i < width else i - width + len(wide_left.schema)) for c in residual]
    out = nodes.Join(wide_left, wide_right, kind, lk, rk, tuple(safe), conjunction(moved), ttl=ttl)
    extra_left = len(wide_left.schema) - width
    if kind in ("SEMI", "ANTI"):
        return nodes.keep(out, range(width)) if extra_left else out
    if extra_left or len(wide_right.schema) > len(right.schema):
        start = len(wide_left.schema)
        return nodes.keep(out, [*range(width), *range(start, start + len(right.schema))])
    return out


def equality(c: Expr, width: int) -> tuple[Expr, Expr, bool] | None:
    """(left expression, right expression, null-safe) when `c` equates the two sides."""
    if not (isinstance(c, Call) and c.function in ("=", "IS NOT DISTINCT FROM")):
        return None
    a, b = c.args
    ca, cb = a.columns(), b.columns()
    if not ca or not cb:
        return None
    safe = c.function != "="
    if max(ca) < width <= min(cb):
        return a, b, safe
    if max(cb) < width <= min(ca):
        return b, a, safe
    return None


def with_columns(node: nodes.Node, exprs: list[Expr]) -> tuple[nodes.Node, tuple[int, ...]]:
    """`node` with `exprs` as columns (plain columns stay where they are), and their positions."""
    out: list[Expr] = [Column(c.type, i, c.name) for i, c in enumerate(node.schema)]
    columns = list(node.schema.columns)
    at: list[int] = []
    for e in exprs:
        if isinstance(e, Column):
            at.append(e.index)
            continue
        if e in out:
            at.append(out.index(e))
            continue
        at.append(len(out))
        out.append(e)
        clock = isinstance(e, Call) and e.function == "PROCTIME"
        columns.append(SchemaColumn(f"$f{len(out) - 1}", e.type, PROCTIME if clock else None))
    if len(out) == len(node.schema):
        return node, tuple(at)
    return nodes.Project(node, tuple(out), tuple(columns)), tuple(at)
