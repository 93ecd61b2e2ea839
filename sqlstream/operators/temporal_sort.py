"""TemporalSort: ORDER BY of a stream by its time: rows wait until time passes theirs, and come out in order, once and for all.

It is an OverAggregate of one partition that counts its rows, of whose rows the count is left out: so it waits, restores and
drops what is late as that does.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.calc import all_columns, calc
from sqlstream.operators.lowering import Lowering
from sqlstream.operators.over_aggregate import OverAggregate
from sqlstream.plan import nodes
from sqlstream.plan.nodes import OverCall, order_text
from sqlstream.types import BIGINT, Column, Schema


@dataclass(frozen=True)
class TemporalSort(OverAggregate):
    """The input's columns, and the number of each row."""

    name = "TemporalSort"

    def details(self) -> str:
        return f"orderBy=[{order_text(self.inputs[0].schema, self.order)}]"


def temporal_sort(below: PhysicalNode, node: nodes.Sort, job: Lowering) -> PhysicalNode:
    """`below`, append-only, in the order of `node`, which begins with a time."""
    count = OverCall("ROW_NUMBER", (), Column("$n", BIGINT.null(False)))
    time = node.schema[node.order[0].column].time
    assert time is not None
    numbered = Schema((*node.schema.columns, count.column))
    made = job.once(node, lambda: TemporalSort((below,), (), node.order, (count,), time, numbered))
    return calc(made, all_columns(node.schema), None, node.schema)
