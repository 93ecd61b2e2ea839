"""sqlstream: one query as a job from JSON files to `blackhole`, timed inside the process from submit to end.

Job: setup and job (SQL statements), options (SET), module_path. Result: seconds, checkpoints, version.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any


def measure(job: dict[str, Any]) -> dict[str, Any]:
    sys.path.insert(0, job["module_path"])
    import sqlstream

    connection = sqlstream.connect(":memory:")
    cursor = connection.cursor()
    for key, value in job["options"].items():
        cursor.execute(f"SET '{key}' = '{value}'")
    for statement in job["setup"]:
        cursor.execute(statement)
    started = time.perf_counter()
    cursor.execute(job["job"])
    seconds = time.perf_counter() - started
    connection.close()
    directory = job["options"].get("execution.checkpointing.dir")
    return {
        "seconds": seconds,
        "checkpoints": None if directory is None else _checkpoints(Path(directory)),
        "version": getattr(sqlstream, "__version__", ""),
    }


def _checkpoints(directory: Path) -> int:
    """How many were completed: they are numbered from 1 on, and the last ones are kept."""
    numbers = (re.fullmatch(r"chk-0*(\d+)", p.parent.name) for p in directory.rglob("manifest.json"))
    return max((int(n[1]) for n in numbers if n), default=0)


if __name__ == "__main__":
    print(json.dumps(measure(json.load(sys.stdin))))
