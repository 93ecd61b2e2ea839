"""What a job says of itself in `<job directory>/status.json`: the newest word, for every terminal and for monitors.

Written by the process that runs the job, about once a second and at each change; whole or not at all, and not synced. The
last one of a job that ended stays. It says nothing of whether the job runs: that says the lock (`checkpoint/lock.py`),
which is why a copy of a directory, or what a killed process left, is never taken for a running job (`jobs.py`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sqlstream.own_files import from_json, read_text, replace_text

FILE = "status.json"


@dataclass(frozen=True)
class Status:
    """Times are ISO 8601 in UTC, spans seconds, rates rows a second. Spans and rates do not follow the machine's clock when
    that is set; `lag` alone is by it: how far event time is behind it.

    `owner`: the holder of the lock who wrote it. `socket`: where it listens, "" where it does not. `log`: a submitted
    job's. `watermark`: event time. `held_by`: the split that has held it back for long. `backoff`: until the next attempt.
    `pending…`: what is there for the sources and not read yet; None where they cannot tell. `reconnects`: connections of sources that
    were lost and made again. `metrics`: URL of the endpoint for Prometheus. `window…`: what was counted in the last minutes (option metrics.window).
    """

    job: str
    state: str
    owner: str = ""
    pid: int = 0
    host: str = ""
    version: str = ""
    file: str | None = None
    parallelism: int = 1
    socket: str = ""
    log: str | None = None
    started: str = ""
    updated: str = ""
    uptime: float = 0.0
    attempt: int = 1
    rows_in: int = 0
    rows_out: int = 0
    rows_in_rate: float = 0.0
    rows_out_rate: float = 0.0
    watermark: str | None = None
    held_by: str | None = None
    lag: float | None = None
    late_rows: int = 0
    bad_rows: int = 0
    state_rows: int = 0
    state_bytes: int = 0
    checkpoint: int | None = None
    checkpoint_time: str | None = None
    checkpoint_age: float | None = None
    checkpoint_duration: float | None = None
    checkpoint_size: int | None = None
    failed_checkpoints: int = 0
    failure: str | None = None
    failure_time: str | None = None
    backoff: float | None = None
    message: str | None = None
    metrics: str | None = None
    pending_records: int | None = None
    pending_bytes: int | None = None
    reconnects: int = 0
    restarts: int = 0
    window: str = ""
    window_failed_checkpoints: int = 0
    window_restarts: int = 0
    window_late_rows: int = 0
    window_bad_rows: int = 0

    def value(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @staticmethod
    def of(value: Any) -> Status:
        """From JSON; what a later version says beside is left out. ValueError where it is something else."""
        known = {f.name for f in fields(Status)}
        if isinstance(value, dict):
            value = {k: v for k, v in value.items() if k in known}
        status: Status = from_json(Status, value)
        return status


def read_status(directory: Path) -> Status | None:
    """The newest word of a job; None where there is none that can be read."""
    try:
        return Status.of(json.loads(read_text(directory / FILE)))
    except (OSError, ValueError, OverflowError, RecursionError):
        return None


def write_status(directory: Path, status: Status) -> None:
    """Takes the place of the one before. OSError as the system says: a full disk, a directory that is gone."""
    replace_text(directory / FILE, json.dumps(status.value(), indent=2) + "\n", sync=False)
