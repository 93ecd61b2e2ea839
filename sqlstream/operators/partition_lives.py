"""Rows of a partition that live for a time together: as long as any row of it comes or goes.

For operators whose rows stand in an order that changes (top-n, OVER of rows that change): without some of its rows a
partition would have another order than was told. So does Flink, which keeps the order of a partition as one value. When
the time of a row is over, the partition's last write says whether it is; a partition's time is that of its last written
row, so nothing more is durable.
"""

from __future__ import annotations

import numpy as np

from sqlstream.operators.row_store import EMPTY
from sqlstream.state.arrays import Array, grown
from sqlstream.state.spec import WRITTEN
from sqlstream.state.table import StateTable
from sqlstream.state.ttl import expired


class PartitionLives:
    """`table`: the rows. Partitions are small numbers."""

    def __init__(self, table: StateTable) -> None:
        self._table = table
        self._written: Array = np.zeros(256, np.int64)

    def restored(self, partitions: Array, slots: Array) -> None:
        """The rows of a checkpoint, and their partitions."""
        if not self._table.spec.ttl or not len(slots):
            return
        self._grow(partitions)
        written = self._table.fixed(WRITTEN).data[slots]
        self._written[partitions] = written
        np.maximum.at(self._written, partitions, written)

    def write(self, partitions: Array, slots: Array) -> None:
        """Rows of these partitions come or go in this epoch; `slots`: a row that stays of each that has one."""
        if self._table.spec.ttl and len(partitions):
            self._grow(partitions)
            self._written[partitions] = self._table.now
            self._table.touch(slots)

    def over(self, slots: Array, partitions: Array) -> Array:
        """Which of these rows go, whose own time is over: those of partitions whose time is."""
        if not len(slots):
            return EMPTY
        written = self._written[partitions]
        lives = ~expired(written, self._table.now, self._table.spec.ttl)
        self._table.renew(slots[lives], written[lives])
        return slots[~lives]

    def _grow(self, partitions: Array) -> None:
        if (most := int(partitions.max())) >= len(self._written):
            self._written = grown(self._written, max(most + 1, 2 * len(self._written)))
