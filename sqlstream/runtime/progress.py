"""What a job tells of itself while it runs. Apart from the job, so that those who only read it do not load one."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlstream.batches import NO_WATERMARK


@dataclass
class Progress:
    """What a job tells while it runs; the console, the shell and tests look at it."""

    state: str = "CREATED"
    rows_in: int = 0
    rows_out: int = 0
    epoch: int = 0
    watermark: int = NO_WATERMARK
    checkpoint: int | None = None
    checkpoint_time: float | None = None
    checkpoint_moment: float | None = None  # of the last one that this process completed, by the clock's `monotonic`
    late_rows: int = 0
    skipped_records: int = 0
    pending_records: int | None = None  # that are there for the sources, and not read, as far as they can tell
    pending_bytes: int | None = None
    reconnects: int = 0  # connections of sources that were lost and made again
    lost_changes: int = 0  # retractions of rows whose time to live was over
    messages: list[str] = field(default_factory=list)
    held_by: str | None = None  # the split that has held the watermark back for long
    attempt: int = 1  # of this process, from its start or a restart
    checkpoint_duration: float | None = None  # seconds, of the last one
    checkpoint_size: int | None = None  # bytes of all its files
    failed_checkpoints: int = 0
    state_rows: int = 0  # in memory
    state_bytes: int = 0  # in memory (arrays of 256 KB and more), mapped files and RocksDB's files, of the process
    saved: bool = False  # stopped with a savepoint: FINISHED is its state, though its inputs have not ended
    drained: bool = False  # and its windows are closed: nothing goes on from there
    failure: str | None = None  # what made the attempt before fail, or the job
    failure_time: float | None = None
    backoff_until: float | None = None  # when the next attempt begins, by the wall clock

    def begin(self) -> None:
        """An attempt begins: its counts are those of the checkpoint that it goes on from, if there is one."""
        self.rows_in = self.rows_out = self.epoch = self.late_rows = self.skipped_records = self.lost_changes = 0
        self.watermark, self.held_by, self.checkpoint = NO_WATERMARK, None, None
        self.pending_records = self.pending_bytes = None
