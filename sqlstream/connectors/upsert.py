"""Sinks whose rows are known by a primary key: a database's table, a compacted topic.

A connector has a Sink derived from `UpsertSink` and a writer derived from `UpsertWriter`, which is given, at the end of
each epoch, one thing a key: the row as it is now, or that it is gone. What a writer does with them until `prepare` and
`SinkCommitter.commit` is its own: a transaction (exactly once), or writing them at once, which a restart repeats and
the key makes good.

The planner sees to the rest. Rows of one key come to one task; a query whose rows change is keyed by the table's PRIMARY
KEY, or says by ON CONFLICT what becomes of rows that meet, or is refused: the row before an update is not asked for, since
its key is that of the row after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from sqlstream.batches import Kind
from sqlstream.connectors.waiting import Limits, WaitingWriter
from sqlstream.contracts import Sink, SinkWriter, TableContext
from sqlstream.errors import InternalError, OptionError

_LAST = "last"


class UpsertSink(Sink):
    """Of a table with a PRIMARY KEY. OptionError without one."""

    changelog = True
    update_before = False

    def __init__(self, table: TableContext) -> None:
        if not table.primary_key:
            raise OptionError(
                f"table {table.name}: its connector knows rows by their key, and it has none",
                hint="PRIMARY KEY (…) NOT ENFORCED in CREATE TABLE",
            )
        self.table = table

    @property
    def primary_key(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.table.primary_key


def last_of_keys(batch: pa.RecordBatch, key: Sequence[str]) -> np.ndarray:
    """The places of the last row of each key, ascending."""
    keys = pa.table([batch.column(k) for k in key], names=[f"k{i}" for i in range(len(key))])
    at = keys.append_column(_LAST, pa.array(np.arange(batch.num_rows)))
    found = at.group_by(keys.column_names, use_threads=False).aggregate([(_LAST, "max")])
    return np.sort(found.column(f"{_LAST}_max").to_numpy())


class UpsertWriter(SinkWriter):
    """Override `upsert` and `delete` (and `prepare`, `close`). `key`: the names of the primary key's columns."""

    def __init__(self, key: tuple[str, ...]) -> None:
        self._key = list(key)
        self._batches: list[pa.RecordBatch] = []
        self._gone: list[np.ndarray] = []

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        gone = np.zeros(batch.num_rows, bool)
        if kinds is not None:
            gone = (kinds == Kind.DELETE) | (kinds == Kind.UPDATE_BEFORE)
        self._batches.append(batch)
        self._gone.append(gone)

    def flush(self) -> None:
        """What the epoch's changes come to: the last one of each key."""
        batches, gone = self._batches, self._gone
        if not batches:
            return
        self._batches, self._gone = [], []
        batch = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
        last = last_of_keys(batch, self._key)
        deleted = np.concatenate(gone)[last]
        if len(now := last[~deleted]):
            self.upsert(batch.take(pa.array(now)))
        if len(before := last[deleted]):
            self.delete(batch.select(self._key).take(pa.array(before)))

    def upsert(self, rows: pa.RecordBatch) -> None:
        """These rows take the places of those of their keys; each key is there once, in the order of the changes."""
        raise InternalError("UpsertWriter.upsert")

    def delete(self, keys: pa.RecordBatch) -> None:
        """The rows of these keys, which may not be there, are gone. Columns: the key's."""
        raise InternalError("UpsertWriter.delete")


class WaitingUpsertWriter(WaitingWriter, UpsertWriter):
    """An `UpsertWriter` whose changes wait: a key that changes again meanwhile is written once. What waits is written before a checkpoint."""

    def __init__(self, key: tuple[str, ...], limits: Limits, seconds: Callable[[], float]) -> None:
        UpsertWriter.__init__(self, key)
        WaitingWriter.__init__(self, limits, seconds)

    def keep(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        UpsertWriter.write(self, batch, kinds)

    def send(self) -> None:
        UpsertWriter.flush(self)
