"""Logical plan to logical plan. One rule a file, named like its file; they run once, in this order."""

from __future__ import annotations

from sqlstream.optimize.merge_projects import merge_projects
from sqlstream.optimize.prune_columns import prune_columns
from sqlstream.optimize.push_filters import push_filters
from sqlstream.optimize.push_proctime import push_proctime
from sqlstream.optimize.recognise_top_n import recognise_top_n
from sqlstream.plan import nodes

# push_proctime first: filters pushed later may use the column that it makes.
# push_filters before recognise_top_n: it brings `rn <= n` down to the OVER.
# merge_projects last: pruning leaves Projects that do nothing.
RULES = (push_proctime, merge_projects, push_filters, recognise_top_n, prune_columns, merge_projects)


def optimize(plan: nodes.Node) -> nodes.Node:
    """The same relation (names and types of its columns too), cheaper to run."""
    for rule in RULES:
        plan = rule(plan)
    return plan
