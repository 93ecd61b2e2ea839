"""OVER as a stream: OverAggregate where rows come in time order and only come, OverAhead where frames end behind their rows,
else OverChangelog."""

from __future__ import annotations

from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.operators.over_aggregate import OverAggregate
from sqlstream.operators.over_ahead import OverAhead
from sqlstream.operators.over_changelog import OverChangelog
from sqlstream.plan import nodes
from sqlstream.types import PROCTIME


@lower.register(nodes.Over)
def _over(node: nodes.Over, job: Lowering) -> PhysicalNode:
    below = job.lower(node.input)
    if below.traits.append_only and node.in_time_order:
        mark = node.input.schema[node.order[0].column].time
        assert mark is not None
        ttl = job.ttl(node.ttl) if mark == PROCTIME else 0
        made = OverAggregate((below,), node.partition, node.order, node.calls, mark, node.schema, ttl=ttl)
        return job.hinted(made, node.ttl)
    reach = node.reach if below.traits.append_only else None
    if reach is not None and not (reach.rows_ahead and node in job.awaited):
        return job.hinted(OverAhead((below,), node.partition, node.order, node.calls, reach, node.schema), node.ttl)
    return OverChangelog((below,), node.partition, node.order, node.calls, node.schema, ttl=job.ttl(node.ttl))
