"""What one operator of a task has done: counted once an epoch, never by rows."""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.batches import NO_WATERMARK


@dataclass
class OperatorMetrics:
    """Written by the operator's task, read by anybody. It counts on when the job is started again.

    `seconds`: of work, without waiting for other tasks. `rows_in`: a source's are those it read. `rows_out`: a sink's are
    in `sent`. `late`: rows dropped since they came too late. `skipped`: malformed records of a source that were left out.
    `row_groups_skipped`, `files_skipped`: what a source did not read, as its filter leaves nothing of it. Watermarks are µs.

    Of sources and sinks, None where it is not known: `bytes_in`, `bytes_sent`: as they are outside; `pending_records`,
    `pending_bytes`: what is there and unread, as of the last second; `fetch_lag`, `emit_lag`: µs from the time of the last row's
    event to when it came here, and to when it was handed on; `idle_since`: seconds of the job's clock, when the last row came, or
    reading began; `reconnects`: connections that were lost and made again; `send_errors`: rows of what could not be written;
    `send_time`: seconds that the last epoch's rows took.
    """

    rows_in: int = 0
    rows_out: int = 0
    seconds: float = 0.0
    sent: int = 0
    late: int = 0
    skipped: int = 0
    row_groups_skipped: int = 0
    files_skipped: int = 0
    input_watermark: int = NO_WATERMARK
    output_watermark: int = NO_WATERMARK
    bytes_in: int | None = None
    pending_records: int | None = None
    pending_bytes: int | None = None
    fetch_lag: int | None = None
    emit_lag: int | None = None
    idle_since: float | None = None
    reconnects: int = 0
    bytes_sent: int | None = None
    send_errors: int = 0
    send_time: float | None = None

    def add(self, other: OperatorMetrics) -> None:
        """Takes another task's numbers in."""
        self.rows_in += other.rows_in
        self.rows_out += other.rows_out
        self.seconds += other.seconds
        self.row_groups_skipped += other.row_groups_skipped
        self.files_skipped += other.files_skipped
