"""sqlstream: one query as a job from JSON files to `blackhole`, timed inside the process from submit to end.

Job: setup and job (SQL statements), options (SET), module_path, profile, trace. Result: seconds, checkpoints, epochs,
rows, late_rows, timings (when profile), version. `trace` names a file for what `Trace` notes of each epoch. It uses the
session directly, as the shell, the command line and the DB-API do.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, TextIO


class Trace:
    """Writes a line at the end of each epoch: seconds since `started`, rows in so far, seconds waited for sources,
    checkpoints begun before this epoch's, seconds that epochs stood for them."""

    def __init__(self, file: TextIO) -> None:
        self.started = 0.0
        self.session: Any = None
        self._file = file

    def __call__(self, progress: Any) -> None:
        t = self.session.current_job.times
        seconds = time.perf_counter() - self.started
        print(seconds, progress.rows_in, t.waiting, t.checkpoints, t.barriers, file=self._file)


def measure(job: dict[str, Any]) -> dict[str, Any]:
    if not job.get("trace"):
        return _measure(job, None)
    with open(job["trace"], "w", buffering=1) as file:  # by lines: they are there when the process is killed
        return _measure(job, Trace(file))


def _measure(job: dict[str, Any], trace: Trace | None) -> dict[str, Any]:
    sys.path.insert(0, job["module_path"])
    import sqlstream
    from sqlstream.session import Session

    session = Session(options=job["options"], on_progress=trace)
    for statement in job["setup"]:
        list(session.execute(statement))
    started = time.perf_counter()
    if trace is not None:
        trace.session, trace.started = session, started
    *_, result = session.execute(job["job"])
    seconds = time.perf_counter() - started
    profiled = job.get("profile") and session.current_job is not None
    progress = result.progress
    return {
        "seconds": seconds,
        "checkpoints": None if progress is None else progress.checkpoint or 0,
        "epochs": None if progress is None else progress.epoch,
        "rows": None if progress is None else progress.rows_out,
        "late_rows": None if progress is None else progress.late_rows,
        "timings": session.current_job.timings() if profiled else None,
        "version": getattr(sqlstream, "__version__", ""),
    }


if __name__ == "__main__":
    print(json.dumps(measure(json.load(sys.stdin))))
