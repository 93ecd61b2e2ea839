"""A Python program's function as a table that is written.

It is called with each batch as it comes, at most one call at a time, and not again for rows of a checkpoint that was
complete: after a failure those since then come again (at least once). A program that needs more gives a `contracts.Sink`,
with its two phases, as connectors have it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import KIND_TEXT
from sqlstream.contracts import Sink, SinkTask, SinkWriter, Source, TableContext
from sqlstream.errors import NotSupported, RunError, SqlStreamError


class WrittenObject:
    """One that is written only."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def source(self, table: TableContext) -> Source:
        """NotSupported."""
        raise NotSupported(
            f"table {table.name}: connector 'python' cannot be read from where its object takes rows",
            hint="register makes a table that is read",
        )

    def sink(self, table: TableContext) -> Sink:
        """The sink itself."""
        return self._sink


class FunctionSink(Sink):
    """`function(batch)`; or, `changelog`, `function(batch, kinds)`, `kinds` an array of +I, -U, +U, -D."""

    def __init__(self, name: str, function: Callable[..., Any], changelog: bool) -> None:
        self.name, self.function, self.changelog = name, function, changelog
        self._lock = threading.Lock()

    def writer(self, task: SinkTask) -> SinkWriter:
        return FunctionWriter(self)

    def call(self, *arguments: Any) -> None:
        """RunError when it fails."""
        try:
            with self._lock:
                self.function(*arguments)
        except SqlStreamError:
            raise
        except Exception as e:
            raise RunError(f"table {self.name}: its function failed: {type(e).__name__}: {e}") from e


class FunctionWriter(SinkWriter):
    """Calls the function of its sink."""

    def __init__(self, sink: FunctionSink) -> None:
        self._sink = sink

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        if not self._sink.changelog:
            return self._sink.call(batch)
        codes = np.zeros(batch.num_rows, np.int8) if kinds is None else kinds
        self._sink.call(batch, pa.array(KIND_TEXT).take(pa.array(codes)))
