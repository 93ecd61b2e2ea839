"""JOIN as a stream: which of the join operators runs it.

window ends among the keys                   WindowJoin
times at most so far apart, inputs grow      IntervalJoin
INNER JOINs in a row by one key              MultiJoin, by option or where it keeps less
else                                         Join
"""

from __future__ import annotations

from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.interval_join import IntervalJoin
from sqlstream.operators.join import Join
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.operators.multi_join import Chain, MultiJoin
from sqlstream.operators.pairs import LEFT_ONLY
from sqlstream.operators.window_join import WindowJoin
from sqlstream.plan import nodes
from sqlstream.types import WINDOW_ENDS


@lower.register(nodes.Join)
def _join(node: nodes.Join, job: Lowering) -> PhysicalNode:
    joined = _joined(node, job)
    if joined is not None:
        return joined
    left, right = job.lower(node.left), job.lower(node.right)
    bounds, ends = node.bounds, node.windowed
    grow = left.traits.append_only and right.traits.append_only
    keys = (node.kind, node.left_keys, node.right_keys, node.null_safe)
    if ends is not None:
        domain = WINDOW_ENDS[node.left.schema[ends[0]].time or ""]
        return job.hinted(WindowJoin((left, right), *keys, node.residual, ends, domain, node.schema), *node.ttl)
    if bounds is not None and grow and node.kind not in LEFT_ONLY:
        made = IntervalJoin(
            (left, right), *keys, bounds.rest, bounds.left_time, bounds.right_time, bounds.lower, bounds.upper,
            bounds.domain, node.schema,
        )  # fmt: skip
        return job.hinted(made, *node.ttl)
    ttl = (job.ttl(node.ttl[0]), job.ttl(node.ttl[1]))
    return Join((left, right), *keys, node.residual, node.schema, ttl=ttl)


def _joined(node: nodes.Join, job: Lowering) -> MultiJoin | None:
    """The joins that end in `node` as one, where the option asks for it or, for AUTO, where it does the same and keeps less: of
    inputs that grow each pair is made as often as by two Joins, unless a condition has thinned out the pairs that they keep."""
    chain = Chain.of(node) if job.multi_join != "false" else None
    if chain is None or len(chain.inputs) < 3:
        return None
    inputs, lives = tuple(map(job.lower, chain.inputs)), tuple(map(job.ttl, chain.ttl))
    if job.multi_join == "AUTO" and not (
        all(i.traits.append_only for i in inputs) and not any(lives) and all(r is None for r in chain.residuals[:-1])
    ):
        return None
    return MultiJoin(inputs, chain.keys, chain.residuals, node.schema, ttl=lives)
