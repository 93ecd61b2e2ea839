"""Conditions move towards the scans: through Projects, windows, groups and unions, into joins, into the scan itself."""

from __future__ import annotations

from dataclasses import replace

from sqlstream.expressions import Column, Expr, UserCall, conjunction, conjuncts, shift, substitute
from sqlstream.functions import user
from sqlstream.functions.scalar import volatile
from sqlstream.plan import nodes
from sqlstream.plan.joins import join
from sqlstream.plan.table_binder import MADE


def push_filters(node: nodes.Node) -> nodes.Node:
    """The rule: each part of an AND stands as low as it may without changing the answer."""
    return _push(node, [])


def _push(node: nodes.Node, parts: list[Expr]) -> nodes.Node:
    """`node` filtered by all of `parts` (over its columns), as far down as they may go."""
    if isinstance(node, nodes.Filter):
        return _push(node.input, [*conjuncts(node.condition), *parts])
    if isinstance(node, nodes.Project):
        down: list[Expr] = []
        stay: list[Expr] = []
        for p in parts:
            used = p.columns()
            (stay if any(volatile(node.exprs[i]) for i in used) or volatile(p) else down).append(p)
        below = _push(node.input, [substitute(p, node.exprs) for p in down])
        return _filter(replace(node, input=below), stay)
    if isinstance(node, nodes.Scan):
        made = {i for i, c in enumerate(node.columns) if c.path in MADE}  # no reader knows them
        down = [p for p in parts if not volatile(p) and not made & p.columns()]
        stay = [p for p in parts if p not in down]
        if down:
            node = replace(node, predicate=conjunction([*conjuncts(node.predicate), *down]))
        return _filter(node, stay)
    if isinstance(node, nodes.Window):
        # A session depends on its other rows, so only its keys may be filtered below.
        width = len(node.input.schema)
        allowed = set(node.partition) if node.spec.kind == "SESSION" else set(range(width))
        down, stay = _split(parts, allowed)
        return _filter(replace(node, input=_push(node.input, down)), stay)
    if isinstance(node, nodes.Aggregate):
        down, stay = _split(parts, set(range(len(node.keys))) if node.keys else set())
        keys = node.keys
        below = _push(node.input, [shift(p, lambda i: keys[i]) for p in down])
        return _filter(replace(node, input=below), stay)
    if isinstance(node, (nodes.Over, nodes.TopN)):
        down, stay = _split(parts, set(node.partition))
        return _filter(replace(node, input=_push(node.input, down)), stay)
    if isinstance(node, nodes.ChangelogNormalize):
        down, stay = _split(parts, set(node.key))  # of the others only the last record of a key is a row
        return _filter(replace(node, input=_push(node.input, down)), stay)
    if isinstance(node, nodes.Expand):
        down, stay = _split(parts, set(range(len(node.input.schema))) - node.changed)
        return _filter(replace(node, input=_push(node.input, down)), stay)
    if isinstance(node, nodes.Unnest) and _calls(node):
        down, stay = _split(parts, set(range(len(node.input.schema))) - {node.column})
        return _filter(replace(node, input=_push(node.input, down)), stay)
    if isinstance(node, nodes.Union):
        return nodes.Union(tuple(_push(i, list(parts)) for i in node.all_inputs))
    if isinstance(node, nodes.Join):
        return _push_into_join(node, parts)
    if isinstance(node, nodes.LookupJoin):
        down, stay = _split(parts, set(range(len(node.input.schema))))
        return _filter(replace(node, input=_push(node.input, down), lookup=_push(node.lookup, [])), stay)
    if isinstance(node, (nodes.TemporalJoin, nodes.AsofJoin, nodes.SnapshotJoin)):
        down, stay = _split(parts, set(range(len(node.input.schema))))
        return _filter(replace(node, input=_push(node.input, down), right=_push(node.right, [])), stay)
    node = node.with_inputs(tuple(_push(i, []) for i in node.inputs)) if node.inputs else node
    return _filter(node, parts)


def _calls(node: nodes.Unnest) -> bool:
    """Whether it takes apart what a table function gives: this need not be called for rows that are left out."""
    call = node.input.exprs[node.column] if isinstance(node.input, nodes.Project) else None
    return isinstance(call, UserCall) and user.resolve(call.path).table


def _push_into_join(node: nodes.Join, parts: list[Expr]) -> nodes.Node:
    width = len(node.input.schema)
    if node.kind == "INNER":
        plain, stay = [p for p in parts if not volatile(p)], [p for p in parts if volatile(p)]
        if plain:
            on = [_equal(node, i) for i in range(len(node.left_keys))]
            made = join(
                node.input, node.right, "INNER", conjunction([*on, *conjuncts(node.residual), *plain]), node.ttl
            )
            # One-sided conditions became Filters on the sides: go on with those; keys added a Project on top.
            return _filter(_descend(made), stay)
        return _filter(_descend(node), stay)
    left: list[Expr] = []
    right: list[Expr] = []
    stay = []
    for p in parts:
        used = p.columns()
        if volatile(p) or not used:
            stay.append(p)
        elif max(used) < width and node.kind in ("LEFT", "SEMI", "ANTI"):
            left.append(p)
        elif min(used) >= width and node.kind == "RIGHT":
            right.append(shift(p, lambda i: i - width))
        else:
            stay.append(p)
    return _filter(replace(node, input=_push(node.input, left), right=_push(node.right, right)), stay)


def _descend(node: nodes.Node) -> nodes.Node:
    if isinstance(node, nodes.Project):
        return replace(node, input=_descend(node.input))
    assert isinstance(node, nodes.Join)
    return replace(node, input=_push(node.input, []), right=_push(node.right, []))


def _equal(node: nodes.Join, i: int) -> Expr:
    from sqlstream.expressions import Call
    from sqlstream.types import BOOLEAN

    a, b = node.left_keys[i], node.right_keys[i]
    x = Column(node.input.schema[a].type, a, node.input.schema[a].name)
    y = Column(node.right.schema[b].type, len(node.input.schema) + b, node.right.schema[b].name)
    return Call(BOOLEAN, "IS NOT DISTINCT FROM" if node.null_safe[i] else "=", (x, y))


def _split(parts: list[Expr], allowed: set[int]) -> tuple[list[Expr], list[Expr]]:
    down = [p for p in parts if p.columns() and p.columns() <= allowed and not volatile(p)]
    return down, [p for p in parts if p not in down]


def _filter(node: nodes.Node, parts: list[Expr]) -> nodes.Node:
    whole = conjunction(parts)
    return node if whole is None else nodes.Filter(node, whole)
