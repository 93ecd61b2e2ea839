"""As `prune_columns`, but a part of the query that stands in it several times stays one: it gives what any of its readers needs.

`WITH g AS (SELECT k, COUNT(*) AS n, MAX(v) AS m …) SELECT … FROM g AS a JOIN g AS b ON a.n = b.m`: one group with both, and not
two of which each keeps its own state. Parts that have no state are cheap to have twice. Within one statement only: what
one statement of a set keeps does not depend on the others (decision 042).
"""

from __future__ import annotations

from collections import Counter

from sqlstream.optimize.prune_columns import prune_one, pruned
from sqlstream.plan import nodes

_STATEFUL = (nodes.Aggregate, nodes.Join, nodes.TopN, nodes.Over, nodes.TemporalJoin)


def prune_shared(plan: nodes.Node) -> nodes.Node:
    """The rule: every node and scan gives what is read above it, a part that stands there several times what is read above any."""
    repeated = _repeated(plan)
    needed_of: dict[nodes.Node, set[int]] = {}

    def prune(node: nodes.Node, needed: set[int]) -> nodes.Pruned:
        if node in repeated and not _keys_alone(node, needed):
            needed_of[node] = needed = needed | needed_of.get(node, set())
        return prune_one(node, needed, prune)

    made = pruned(plan, prune)
    if not repeated:
        return made
    while True:
        before = {n: set(c) for n, c in needed_of.items()}
        made = pruned(plan, prune)
        if needed_of == before:
            return made


def _keys_alone(node: nodes.Node, needed: set[int]) -> bool:
    """Whether it is DISTINCT to who reads it: then its rows only come, and they change where there is a number as well."""
    return isinstance(node, nodes.Aggregate) and all(i < len(node.keys) for i in needed)


def _repeated(plan: nodes.Node) -> frozenset[nodes.Node]:
    """The parts with state that stand in the plan more than once."""
    met = Counter(n for n in plan.walk() if isinstance(n, _STATEFUL))
    return frozenset(n for n, times in met.items() if times > 1)
