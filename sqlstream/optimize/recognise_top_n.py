"""`ROW_NUMBER() OVER (…) AS rn … WHERE rn <= n` is a TopN: it keeps n rows a partition, not all."""

from __future__ import annotations

from sqlstream.expressions import Expr, Literal, conjunction, conjuncts
from sqlstream.plan import nodes
from sqlstream.plan.over_functions import RANKINGS
from sqlstream.plan.rank_bounds import rank_bound
from sqlstream.types import BOOLEAN


def recognise_top_n(node: nodes.Node) -> nodes.Node:
    """The rule: a Filter that bounds the one ranking of an Over from above becomes a TopN, under what else it asks."""
    node = node.with_inputs(tuple(recognise_top_n(i) for i in node.inputs)) if node.inputs else node
    if not (isinstance(node, nodes.Filter) and isinstance(node.input, nodes.Over)):
        return node
    over = node.input
    if len(over.calls) != 1 or over.calls[0].function not in RANKINGS:
        return node
    rank = len(over.schema) - 1
    first, last = 1, None
    rest: list[Expr] = []
    for c in conjuncts(node.condition):
        bound = rank_bound(c, rank)
        if bound is None:
            rest.append(c)
            continue
        op, n = bound
        if op in ("<", "<=", "="):
            n_last = n - 1 if op == "<" else n
            last = n_last if last is None else min(last, n_last)
        if op in (">", ">=", "="):
            first = max(first, n + 1 if op == ">" else n)
    if last is None:
        return node
    if last < first:  # no row has such a rank
        first, last, rest = 1, 1, [*rest, Literal(BOOLEAN.null(False), False)]
    call = over.calls[0]
    top: nodes.Node = nodes.TopN(
        over.input, over.partition, over.order, first, last, call.function, call.column.name, ttl=over.ttl
    )
    whole = conjunction(rest)
    return top if whole is None else nodes.Filter(top, whole)
