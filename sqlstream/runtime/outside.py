"""What a source and a sink say of the outside, into an operator's metrics: their counts go on where an attempt before has left them."""

from __future__ import annotations

from sqlstream.metrics.operators import OperatorMetrics
from sqlstream.operators.sink import SinkOperator
from sqlstream.operators.source_scan import ScanTask


class Outside:
    """Of one operator in one attempt: what is in the metrics already."""

    def __init__(self) -> None:
        self._bytes = self._failed = 0

    def read(self, metrics: OperatorMetrics, scan: ScanTask, subtask: int) -> None:
        """Of a source, after an epoch. It is one for all tasks and attempts: the first task has what it says of itself."""
        metrics.bytes_in = self._grown(metrics.bytes_in, scan.bytes_read)
        metrics.fetch_lag, metrics.emit_lag, metrics.idle_since = scan.fetch_lag, scan.emit_lag, scan.row_came
        if not subtask:
            metrics.reconnects = scan.node.source.reconnects

    def wrote(self, metrics: OperatorMetrics, sink: SinkOperator) -> None:
        """Of a sink, likewise, and when writing has failed."""
        metrics.bytes_sent = self._grown(metrics.bytes_sent, sink.writer.bytes_sent)
        metrics.send_errors, self._failed = metrics.send_errors + sink.failed - self._failed, sink.failed
        metrics.send_time = sink.send_time

    def _grown(self, before: int | None, now: int | None) -> int | None:
        if now is None:
            return before
        grown, self._bytes = now - self._bytes, now
        return (before or 0) + grown
