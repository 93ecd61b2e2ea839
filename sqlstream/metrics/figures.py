"""What a job is at one moment, as the metrics of the registry are taken from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlstream.metrics.operators import OperatorMetrics
from sqlstream.metrics.state import StateMetrics


@dataclass(frozen=True)
class OperatorFigures:
    """Of one operator in one task. `id`: as in `sqlstream state`; `name`: a source's and a sink's has their table. Rates are
    a second; `busy`: ms of work a second; `lag`: ms from its watermark to now, `idle`: ms since its last row, a source's."""

    id: str
    name: str
    subtask: int
    done: OperatorMetrics
    source: bool = False
    sink: bool = False
    in_rate: float = 0.0
    out_rate: float = 0.0
    busy: float = 0.0
    lag: float | None = None
    idle: float | None = None
    state: StateMetrics | None = None
    uploaded: int | None = None  # bytes, for the last checkpoint
    kept: int | None = None  # bytes of all its files in that checkpoint

    @property
    def rows_out(self) -> int:
        """What it gave to those behind it, or wrote into its table."""
        return self.done.sent if self.sink else self.done.rows_out


@dataclass(frozen=True)
class CheckpointFigures:
    """Counts since the job's first run. What there was none of yet is -1, as in Flink; times are ms, sizes bytes.

    `age`: since the last one that was completed, or since the start of the process while there is none; None where no
    checkpoints are taken.
    """

    total: int = 0
    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    last_id: int = -1
    last_completed: int = -1
    last_duration: int = -1
    last_size: int = -1
    last_full_size: int = -1
    restored: int = -1
    age: float | None = None


@dataclass(frozen=True)
class WindowFigures:
    """A number over the last minutes, by function: sum and range of a counter, max and range of another number."""

    window: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class JobFigures:
    """Of a job. `running`, `restarting`: ms that it is in that state, else 0. Rows count since the process began, also over
    restarts. `watermark`: ms since 1970, `lag`: ms from it to now; None while there is none. `recent`: by what is counted.
    """

    job: str
    id: str
    host: str
    version: str
    state: str
    parallelism: int
    running: float = 0.0
    restarting: float = 0.0
    restarts: int = 0
    rows_in: int = 0
    rows_out: int = 0
    late_rows: int = 0
    bad_rows: int = 0
    watermark: int | None = None
    lag: float | None = None
    state_rows: int = 0
    state_bytes: int = 0
    checkpoints: CheckpointFigures = CheckpointFigures()
    recent: Mapping[str, WindowFigures] = field(default_factory=dict)
    operators: tuple[OperatorFigures, ...] = ()
