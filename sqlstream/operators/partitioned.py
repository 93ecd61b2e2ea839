"""What operators have in common that work on the rows of a partition in an order: top-n, deduplication, OVER of rows that change."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from sqlstream.batches import ORD
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.distribution import Spread
from sqlstream.operators.row_store import Layout
from sqlstream.plan.nodes import TUNING, SortKey, order_text


@dataclass(frozen=True)
class Partitioned(PhysicalNode):
    """The input's columns come first in the output. No partition: all rows are one, in one task."""

    partition: tuple[int, ...]
    order: tuple[SortKey, ...]
    ttl: int = field(default=0, kw_only=True, metadata=TUNING)

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.partition,)

    def spread(self) -> Spread | None:
        return self.placed(0)

    def place(self) -> str:
        """Partition and order, as EXPLAIN prints them."""
        schema = self.inputs[0].schema
        keys = ", ".join(schema[p].name for p in self.partition)
        return f"partition=[{keys}], order=[{order_text(schema, self.order)}]"

    @property
    def by_arrival(self) -> bool:
        """Whether ties are broken by `_ord`."""
        return self.inputs[0].traits.append_only and self.inputs[0].traits.arrival

    def layout(self) -> Layout:
        """How its rows are kept, where they are."""
        extras = ((ORD, pa.int64()),) if self.by_arrival else ()
        return Layout.of("rows", self.inputs[0], self.partition, extras)
