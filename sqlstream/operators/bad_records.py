"""BadRecords: the malformed records that a table's scan has left out in the epoch, each with the rows that stand around it.

    Sink(table=rejected)
      Calc(select=[bad_line, bad_record])
        BadRecords(table=t)
          Source(table=t, …)             what has read them: its rows go elsewhere

It has no state: what was read of a split up to its position in a checkpoint is in the table with that checkpoint. Which
records are malformed depends on the columns that the job reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from sqlstream.batches import Delta
from sqlstream.connectors.bad_records import columns_of
from sqlstream.contracts import BadRecord
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, RowByRow, Traits
from sqlstream.operators.distribution import Spread
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.operators.source_scan import united
from sqlstream.operators.values import Values
from sqlstream.plan import nodes
from sqlstream.types import Schema


@dataclass(frozen=True)
class BadRecords(RowByRow):
    """Of the scan of `table` below."""

    table: str
    name = "BadRecords"

    def __post_init__(self) -> None:
        self.derive(Schema(nodes.BAD_COLUMNS), Traits())

    def spread(self) -> Spread | None:
        return None  # they lie where they were read

    def details(self) -> str:
        return f"table={self.table}"

    def running(self, context: OperatorContext, take: Callable[[], Sequence[BadRecord]]) -> BadRecordsOperator:
        """The running half: `take` gives what the scan of the same task has left out, once."""
        return BadRecordsOperator(self, context, take)


@lower.register(nodes.BadRecords)
def _bad_records(node: nodes.BadRecords, job: Lowering) -> PhysicalNode:
    if id(node.source) not in job.uses:  # nothing of the table is read
        return Values((), nodes.BAD_COLUMNS, ())
    return BadRecords((united(node.source, job),), node.table)


class BadRecordsOperator(Operator):
    """The running half: the scan's rows are no concern of it, only that they were read before."""

    def __init__(self, node: BadRecords, context: OperatorContext, take: Callable[[], Sequence[BadRecord]]) -> None:
        super().__init__(context)
        self._node, self._take = node, take

    def step(self, inputs: list[Delta]) -> Delta:
        found = self._take()
        return Delta([told(self._node.table, found, self.context.clock.now())] if found else [], inputs[0].time)


def told(table: str, records: Sequence[BadRecord], now: int) -> pa.RecordBatch:
    """Malformed records of a table as c0, c1, … of `BAD_COLUMNS`; `now` in µs."""
    schema = Schema(nodes.BAD_COLUMNS).arrow()
    time = pa.array([now - now % 1000] * len(records), pa.int64())
    columns = [*columns_of(table, records).values(), time]
    return pa.RecordBatch.from_arrays([c.cast(f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
