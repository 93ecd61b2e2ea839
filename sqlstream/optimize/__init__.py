"""Logical plan to logical plan. One rule a file, named like its file; they run once, in this order."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from sqlstream.optimize.collect_sessions import collect_sessions
from sqlstream.optimize.drop_watermarks import drop_watermarks, uses_rowtime
from sqlstream.optimize.fold_constants import fold_constants
from sqlstream.optimize.fold_known_values import fold_known_values
from sqlstream.optimize.merge_projects import merge_projects
from sqlstream.optimize.prune_columns import prune_columns
from sqlstream.optimize.prune_shared import prune_shared
from sqlstream.optimize.push_filters import push_filters
from sqlstream.optimize.push_proctime import push_proctime
from sqlstream.optimize.recognise_top_n import recognise_top_n
from sqlstream.optimize.remove_joins import remove_joins
from sqlstream.optimize.reorder_joins import reorder_joins
from sqlstream.optimize.split_distinct import into, split_distinct
from sqlstream.optimize.strengthen_joins import strengthen_joins
from sqlstream.optimize.thin_semi_joins import thin_semi_joins
from sqlstream.optimize.use_unique_keys import use_unique_keys
from sqlstream.plan import nodes

Rule = Callable[[nodes.Node], nodes.Node]

# push_proctime first: filters pushed later may use the column that it makes.
# fold_constants before the rules that look into conditions.
# strengthen_joins before push_filters, which goes further into inner joins.
# push_filters before recognise_top_n: it brings `rn <= n` down to the OVER.
# reorder_joins when conditions are at the joins that they are of, and before anything depends on their order.
# use_unique_keys before remove_joins: of a group of one row a LEFT join may be all that is left to go.
# split_distinct after use_unique_keys, which takes DISTINCT away, and before prune_shared: it leaves columns behind.
# thin_semi_joins after prune_shared: calls that nobody reads are no longer there.
# collect_sessions last: it must see what stands right above a window in the end.
# merge_projects again and again: the rules between leave Projects that can merge or do nothing.
ALL_RULES: tuple[Rule, ...] = (
    push_proctime,
    merge_projects,
    fold_constants,
    strengthen_joins,
    push_filters,
    fold_known_values,
    merge_projects,
    recognise_top_n,
    reorder_joins,
    use_unique_keys,
    remove_joins,
    split_distinct,
    prune_shared,
    thin_semi_joins,
    merge_projects,
    collect_sessions,
)
# 'table.optimizer.join-reorder-enabled', 'table.optimizer.distinct-agg.split.enabled'
OPTIONAL = (reorder_joins, split_distinct)
RULES = tuple(r for r in ALL_RULES if r not in OPTIONAL)
# Those that came after the first release of each: jobs that began without them keep the plans that they have.
LATER: tuple[Rule, ...] = (fold_constants, strengthen_joins, use_unique_keys, remove_joins, thin_semi_joins)
FORMER_RULES = tuple(prune_columns if r is prune_shared else r for r in RULES if r not in LATER)


def rules_with(reorder: bool, buckets: int) -> tuple[Rule, ...]:
    """Those of a stream whose joins may be reordered, or whose DISTINCT calls are split into so many buckets (0: they are not)."""
    optional: dict[Rule, tuple[Rule, ...]] = {
        reorder_joins: (reorder_joins,) if reorder else (),
        split_distinct: (into(buckets),) if buckets else (),
    }
    return tuple(chosen for r in ALL_RULES for chosen in optional.get(r, (r,)))


@dataclass(frozen=True)
class Step:
    """What one rule made of a plan."""

    rule: str
    before: nodes.Node
    after: nodes.Node

    def difference(self) -> str:
        """The plan with what the rule took away (-) and what it put there (+), as EXPLAIN prints plans; "" where that is the
        same."""
        before, after = (nodes.tree(n).splitlines() for n in (self.before, self.after))
        lines = difflib.unified_diff(before, after, n=len(before) + len(after), lineterm="")
        return "\n".join(list(lines)[3:])  # not the head


def optimize(
    plan: nodes.Node, watermarks: bool = True, rules: tuple[Rule, ...] = RULES, trace: list[Step] | None = None
) -> nodes.Node:
    """The same relation (names and types of its columns too), cheaper to run.

    `watermarks`: whether the job waits for watermarks anywhere (`uses_rowtime`); batch never does. `trace` is told of each rule
    that changes the plan, in order.
    """
    for rule in rules if watermarks else (drop_watermarks, *rules):
        before, plan = plan, rule(plan)
        if trace is not None and plan != before:
            trace.append(Step(rule.__name__, before, plan))
    return plan


__all__ = ["ALL_RULES", "FORMER_RULES", "OPTIONAL", "RULES", "Rule", "Step", "optimize", "rules_with", "uses_rowtime"]
