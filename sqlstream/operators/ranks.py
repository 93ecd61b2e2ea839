"""Top-N and ORDER BY as streams.

window start and end in the partition    WindowTopN
one row a partition of rows that only come    Deduplicate
ORDER BY a time, without LIMIT    TemporalSort
else    TopN
"""

from __future__ import annotations

from sqlstream.errors import NotSupported
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.deduplicate import Deduplicate
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.operators.temporal_sort import temporal_sort
from sqlstream.operators.top_n import TopN
from sqlstream.operators.window_top_n import WindowTopN
from sqlstream.plan import nodes
from sqlstream.types import WINDOW_ENDS


@lower.register(nodes.TopN)
def _top_n(node: nodes.TopN, job: Lowering) -> PhysicalNode:
    below = job.lower(node.input)
    end = node.window_end
    if end is not None:
        domain = WINDOW_ENDS[node.input.schema[end].time or ""]
        return WindowTopN(
            (below,), node.partition, node.order, end, domain, node.first, node.last, node.function,
            node.rank is not None, node.keeps_last, node.schema,
        )  # fmt: skip
    if node.first <= 1 == node.last and node.function == "ROW_NUMBER" and below.traits.append_only:
        keep = "last" if node.keeps_last else "first"
        return Deduplicate((below,), node.partition, node.order, keep, node.schema, ttl=job.ttl(node.ttl))
    rank = node.rank is not None
    return TopN(
        (below,), node.partition, node.order, node.first, node.last, node.function, rank, node.schema,
        ttl=job.ttl(node.ttl),
    )  # fmt: skip


@lower.register(nodes.Sort)
def _sort(node: nodes.Sort, job: Lowering) -> PhysicalNode:
    below = job.lower(node.input)
    if node.limit is None:
        if node.offset == 0 and node.in_time_order and below.traits.append_only:
            return temporal_sort(below, node, job)
        if node.offset:
            raise NotSupported(
                "OFFSET without LIMIT needs the whole input: it cannot run as a stream",
                hint="add LIMIT n; or SET 'execution.runtime-mode' = 'batch'",
            )
        raise NotSupported(
            "ORDER BY without LIMIT needs the whole input: it cannot run as a stream",
            hint="add LIMIT n; ORDER BY a time attribute first, ascending, of rows that only come; "
            "or SET 'execution.runtime-mode' = 'batch'",
        )
    first, last = node.offset + 1, node.offset + node.limit
    return TopN((below,), (), node.order, first, last, "ROW_NUMBER", False, node.schema, ttl=job.ttl(None))
