"""Flink, the peer: one query in a mini cluster of its own, streaming, from the same files to `blackhole`.

Two halves. `python()` makes a virtual environment with Flink in it, beside this file or where
SQLSTREAM_FLINK_VENV says. Run as a script by that environment's Python it measures one job.

Job: setup and job (SQL statements), warmup (the same over a few events, or None), options (Flink's configuration),
log_directory. Result: seconds (the job's own run time), wall_seconds (from submit to its result), session_seconds
(start of the JVM and the session), warmup_seconds, checkpoints, version, java.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

VERSION = "2.3.0"

# What Flink cannot run on these tables, in the words of its errors.
REFUSED = {
    "q6": "OVER on a changing input, 'The window can only be ordered by a single time column.'",
    "over_changes": "OVER on a changing input, as q6",
    "lateral": "a correlated subquery with ORDER BY and LIMIT, its optimizer ends with an error",
    "recursive": "WITH RECURSIVE in streaming mode",
    "q13": "lookup in files, 'Processing-time temporal join is not supported yet.'",
}


def python() -> str:
    """The Python of the environment with Flink; the first call downloads about 400 MB from the package index."""
    home = Path(os.environ.get("SQLSTREAM_FLINK_VENV", Path(__file__).parent / ".venv-flink"))
    executable = home / "bin" / "python"
    installed = home / f"apache-flink-{VERSION}"
    if not installed.exists():
        print(f"installing apache-flink {VERSION} into {home}", file=sys.stderr)
        venv.create(home, with_pip=True)
        subprocess.run([executable, "-m", "pip", "install", "--quiet", f"apache-flink=={VERSION}"], check=True)
        installed.touch()  # last: an interrupted installation is done again
    return str(executable)


def options(parallelism: int, checkpoint_seconds: float, directory: Path) -> dict[str, str]:
    """Flink's configuration: what its documentation recommends for throughput, with durable state as here."""
    chosen = {
        "parallelism.default": str(parallelism),
        "taskmanager.numberOfTaskSlots": str(parallelism),
        "taskmanager.memory.managed.size": "1gb",
        "taskmanager.memory.network.min": "128mb",
        "taskmanager.memory.network.max": "128mb",
        "restart-strategy.type": "none",  # a failure is a result, not something to repeat
        "state.backend.type": "rocksdb",
        "pipeline.object-reuse": "true",
        "table.exec.mini-batch.enabled": "true",
        "table.exec.mini-batch.allow-latency": "1 s",
        "table.exec.mini-batch.size": "50000",
        "table.local-time-zone": "UTC",
    }
    if checkpoint_seconds:
        chosen |= {
            "execution.checkpointing.incremental": "true",
            "execution.checkpointing.interval": f"{checkpoint_seconds * 1000:.0f} ms",
            "execution.checkpointing.dir": directory.as_uri(),
        }
    return chosen


def measure(job: dict[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    from pyflink.common import Configuration
    from pyflink.java_gateway import get_gateway
    from pyflink.table import EnvironmentSettings, TableEnvironment

    configuration = Configuration()
    for key, value in job["options"].items():
        configuration.set_string(key, value)
    settings = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration).build()

    def run(script: dict[str, Any]) -> tuple[str, float, float]:
        """A job in a session of its own: its id, its own seconds, and those from submit to its result."""
        session = TableEnvironment.create(settings)
        for statement in script["setup"]:
            session.execute_sql(statement)
        submitted = time.perf_counter()
        client = session.execute_sql(script["job"]).get_job_client()
        result = client.get_job_execution_result().result()
        wall = time.perf_counter() - submitted
        return str(client.get_job_id()), result.get_net_runtime() / 1000, wall

    java = get_gateway().jvm.System.getProperty("java.version")
    session_seconds = time.perf_counter() - started
    warmup_seconds = run(job["warmup"])[2] if job["warmup"] else None
    job_id, seconds, wall = run(job)
    return {
        "seconds": seconds,
        "wall_seconds": wall,
        "session_seconds": session_seconds,
        "warmup_seconds": warmup_seconds,
        "checkpoints": _checkpoints(Path(job["log_directory"]), job_id),
        "version": VERSION,
        "java": java,
    }


def _checkpoints(directory: Path, job_id: str) -> int:
    """How many of the job's checkpoints were completed: the coordinator logs each."""
    marks = ("Completed checkpoint", f"for job {job_id}")
    lines = (line for log in directory.glob("*.log") for line in log.read_text(errors="replace").splitlines())
    return sum(all(mark in line for mark in marks) for line in lines)


if __name__ == "__main__":
    print(json.dumps(measure(json.load(sys.stdin))), flush=True)
