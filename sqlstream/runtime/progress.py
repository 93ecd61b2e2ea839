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
    late_rows: int = 0
    skipped_records: int = 0
    messages: list[str] = field(default_factory=list)
