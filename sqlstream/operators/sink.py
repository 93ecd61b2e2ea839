"""Sink: hands the epoch's changes to a table's writer, under the users' names and in an order that reads well.

The planner puts a Changelog before it where the rows can change. A NULL in a NOT NULL column is an error.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import OP, Delta, hidden, visible
from sqlstream.contracts import Sink as TableSink
from sqlstream.contracts import SinkTask, SinkWriter
from sqlstream.errors import InternalError
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, RowByRow
from sqlstream.operators.distribution import Spread
from sqlstream.operators.exchange import Exchange
from sqlstream.operators.target import refuse_nulls
from sqlstream.plan.nodes import TUNING
from sqlstream.types import Schema, outside


@dataclass(frozen=True)
class Sink(RowByRow):
    """Writes into `table`; `output` has the table's column names and types. `tasks`: how many write, the first ones, which alone get
    rows; 0: all."""

    table: str
    sink: TableSink
    output: Schema
    tasks: int = field(default=0, metadata=TUNING)
    name = "Sink"

    def __post_init__(self) -> None:
        if len(self.output) != len(self.inputs[0].schema):
            raise InternalError("Sink: columns differ in number")
        self.derive(self.output, self.inputs[0].traits)

    def key(self) -> tuple[int, ...]:
        """Which columns the table knows rows by."""
        return tuple(self.output.names.index(name) for name in self.sink.primary_key)

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.key() or None,)

    def identity(self) -> tuple[Any, ...]:
        return (*super().identity(), self.output.names)  # they are in what it writes

    def details(self) -> str:
        return f"table={self.table}, columns=[{', '.join(self.output.names)}]"

    def writes_where(self, other: Sink) -> bool:
        """Whether two statements write to one place."""
        return self.table == other.table or bool(self.sink.place) and self.sink.place == other.sink.place

    def writing(self, context: OperatorContext, task: SinkTask) -> SinkOperator:
        """The running half, with a writer of its own for `task`."""
        writes = not self.tasks or context.subtask < self.tasks
        return SinkOperator(self, context, self.sink.writer(task) if writes else SinkWriter())

    def written_by(self, tasks: int) -> Sink:
        """The same, written by so many tasks; 0: by all."""
        if not tasks:
            return self
        return replace(self, inputs=(Exchange(self.inputs, (), tasks),), tasks=tasks)


class SinkOperator(Operator):
    """Gives the table's writer what comes; `rows_written` counts changes. `send_time`: seconds that those of the last epoch took which
    had any; `failed`: changes that were under way when writing failed."""

    def __init__(self, node: Sink, context: OperatorContext, writer: SinkWriter) -> None:
        super().__init__(context)
        self.node = node
        self.writer = writer
        self.rows_written = self.failed = 0
        self.send_time: float | None = None
        self._epoch = self._waiting = 0  # changes of the epoch; those since the last `prepare`
        self.muted = False  # what comes was published before: it is not written again

    def step(self, inputs: list[Delta]) -> Delta:
        (delta,) = inputs
        self._epoch, begun = 0, time.perf_counter()
        for b in delta.batches:
            if not b.num_rows:
                continue
            refuse_nulls(self.node.table, self.node.output, b)
            if self.muted:
                continue
            self._epoch += b.num_rows
            with self._sending():
                self.writer.write(outside(visible(b, len(self.node.output)), self.node.output), hidden(b, OP))
            self.rows_written += b.num_rows
        self.writer.advance(delta.time)
        with self._sending():
            self.writer.flush()
        if self._epoch:
            self._waiting += self._epoch
            self.send_time = time.perf_counter() - begun
        return Delta([], delta.time)

    def prepare(self, checkpoint: int) -> list[dict[str, Any]]:
        """The writer's, for a checkpoint: what makes the rows written since the last one visible."""
        self._epoch, self._waiting = self._waiting, 0
        with self._sending():
            return self.writer.prepare(checkpoint)

    @contextlib.contextmanager
    def _sending(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self.failed += self._epoch
            raise

    def close(self) -> None:
        self.writer.close()


Receive = Callable[[pa.RecordBatch, "np.ndarray | None"], None]


@dataclass(frozen=True)
class Collect(PhysicalNode):
    """The result of a query: batches go to whoever asked."""

    output: Schema
    name = "Collect"
    changes = ""

    def __post_init__(self) -> None:
        self.derive(self.output, self.inputs[0].traits)

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return ((),)  # the caller reads one stream

    def spread(self) -> Spread | None:
        return self.placed(0)

    def details(self) -> str:
        return f"columns=[{', '.join(self.output.names)}]"


class CollectOperator(Operator):
    """Gives `receive` what comes, under the users' names; `rows_written` counts changes."""

    def __init__(self, node: Collect, context: OperatorContext, receive: Receive) -> None:
        super().__init__(context)
        self.node = node
        self.rows_written = 0
        self._receive = receive

    def step(self, inputs: list[Delta]) -> Delta:
        (delta,) = inputs
        for b in delta.batches:
            if b.num_rows:
                self._receive(outside(visible(b, len(self.node.output)), self.node.output), hidden(b, OP))
                self.rows_written += b.num_rows
        return Delta([], delta.time)
