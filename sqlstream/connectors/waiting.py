"""How long rows wait before a sink sends them: Flink's `sink.buffer-flush.*`, `sink.bulk-flush.*`.

Rows wait over the ends of epochs until there are enough of them or they are old enough, and never over a checkpoint: what a
checkpoint has read is outside when it is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.contracts import Committable, SinkWriter
from sqlstream.errors import InternalError


@dataclass(frozen=True)
class Limits:
    """Of what waits: so many rows, so many bytes of columns (0: any number), for so many µs (0: until the epoch ends)."""

    rows: int = 0
    interval: int = 0
    bytes: int = 0


class Waiting:
    """What waits. `seconds`: the clock's."""

    def __init__(self, limits: Limits, seconds: Callable[[], float]) -> None:
        self._limits, self._seconds = limits, seconds
        self._rows = self._bytes = 0
        self._since = 0.0

    def came(self, batch: pa.RecordBatch) -> bool:
        """These wait as well; whether there are enough to be sent."""
        if not self._rows:
            self._since = self._seconds()
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        most = self._limits
        return bool(0 < most.rows <= self._rows or 0 < most.bytes <= self._bytes)

    def over(self) -> bool:
        """At the end of an epoch: whether some wait, and have for long enough."""
        return self._rows > 0 and self._seconds() - self._since >= self._limits.interval / 1e6

    def sent(self) -> None:
        """Nothing waits any more."""
        self._rows = self._bytes = 0


class WaitingWriter(SinkWriter):
    """A writer whose rows wait. Override `keep` and `send`; `seconds`: the clock's."""

    def __init__(self, limits: Limits, seconds: Callable[[], float]) -> None:
        self._waiting = Waiting(limits, seconds)

    def keep(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        """These wait, as they come to `write`."""
        raise InternalError("WaitingWriter.keep")

    def send(self) -> None:
        """What waits goes out; it may be nothing."""
        raise InternalError("WaitingWriter.send")

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self.keep(batch, kinds)
        if self._waiting.came(batch):
            self._send_all()

    def flush(self) -> None:
        if self._waiting.over():
            self._send_all()

    def prepare(self, checkpoint: int) -> list[Committable]:
        self._send_all()
        return []

    def _send_all(self) -> None:
        self._waiting.sent()
        self.send()
