"""sqlstream: one query as a job from JSON files to `blackhole`, timed inside the process from submit to end.

Job: setup and job (SQL statements), options (SET), module_path, profile. Result: seconds, checkpoints, epochs, rows,
late_rows, timings (when profile), version. It uses the session directly, as the shell, the command line and the DB-API do.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def measure(job: dict[str, Any]) -> dict[str, Any]:
    sys.path.insert(0, job["module_path"])
    import sqlstream
    from sqlstream.session import Session

    session = Session(options=job["options"])
    for statement in job["setup"]:
        list(session.execute(statement))
    started = time.perf_counter()
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
