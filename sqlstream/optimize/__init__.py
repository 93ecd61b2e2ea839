"""Logical plan to logical plan. One rule a file, named like its file; they run once, in this order."""

from __future__ import annotations

from sqlstream.optimize.collect_sessions import collect_sessions
from sqlstream.optimize.drop_watermarks import drop_watermarks, uses_rowtime
from sqlstream.optimize.fold_known_values import fold_known_values
from sqlstream.optimize.merge_projects import merge_projects
from sqlstream.optimize.prune_columns import prune_columns
from sqlstream.optimize.push_filters import push_filters
from sqlstream.optimize.push_proctime import push_proctime
from sqlstream.optimize.recognise_top_n import recognise_top_n
from sqlstream.plan import nodes

# push_proctime first: filters pushed later may use the column that it makes.
# push_filters before recognise_top_n: it brings `rn <= n` down to the OVER.
# collect_sessions last: it must see what stands right above a window in the end.
# merge_projects again and again: the rules between leave Projects that can merge or do nothing.
RULES = (
    push_proctime,
    merge_projects,
    push_filters,
    fold_known_values,
    merge_projects,
    recognise_top_n,
    prune_columns,
    merge_projects,
    collect_sessions,
)


def optimize(plan: nodes.Node, watermarks: bool = True) -> nodes.Node:
    """The same relation (names and types of its columns too), cheaper to run.

    `watermarks`: whether the job waits for watermarks anywhere (`uses_rowtime`); batch never does.
    """
    if not watermarks:
        plan = drop_watermarks(plan)
    for rule in RULES:
        plan = rule(plan)
    return plan


__all__ = ["RULES", "optimize", "uses_rowtime"]
