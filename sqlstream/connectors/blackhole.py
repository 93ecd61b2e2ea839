"""Connector 'blackhole': takes rows and forgets them, for benchmarks. As in Flink without rows before an update."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.contracts import Connector, Sink, SinkTask, SinkWriter, TableContext


class BlackholeWriter(SinkWriter):
    """Takes rows, and forgets them."""

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        """Nothing is kept, so nothing has to be made durable."""


class BlackholeSink(Sink):
    """Takes any change. As in Flink it knows rows by the table's PRIMARY KEY, if there is one."""

    changelog = True
    update_before = False

    def __init__(self, primary_key: tuple[str, ...] = ()) -> None:
        self.primary_key = primary_key

    def writer(self, task: SinkTask) -> SinkWriter:
        return BlackholeWriter()


class BlackholeConnector(Connector):
    """`'connector' = 'blackhole'`: without options, for writing only."""

    name = "blackhole"

    def sink(self, table: TableContext) -> Sink:
        return BlackholeSink(table.primary_key)
