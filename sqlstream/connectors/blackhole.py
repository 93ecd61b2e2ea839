"""Connector 'blackhole': takes rows and forgets them. For benchmarks. Like Flink's it is not told of the row before an update."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.connectors.base import Connector, Sink, SinkTask, SinkWriter, TableContext


class BlackholeWriter(SinkWriter):
    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        """Nothing is kept, so nothing has to be made durable."""


class BlackholeSink(Sink):
    changelog = True
    update_before = False

    def writer(self, task: SinkTask) -> SinkWriter:
        return BlackholeWriter()


class BlackholeConnector(Connector):
    name = "blackhole"

    def sink(self, table: TableContext) -> Sink:
        return BlackholeSink()
