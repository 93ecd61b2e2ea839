"""What a user waits for before the work begins: `python benchmarks/startup.py`. See README.md.

Every figure is the median of several processes, which run alone; the idle figures are one run each.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import nexmark
import nexmark_sql
import reports
import sqlstream_call

HERE = Path(__file__).resolve().parent
EVENTS = 100
COLD, WARM = ("q4", "q5", "q20"), ("q0", "q5")

GROWING = """
CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json',
  'source.monitor-interval' = '1 s');
"""
PAUSED = """
CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1');
"""
JOB = """
CREATE TABLE counts (a INT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO counts SELECT a, COUNT(*) FROM t GROUP BY a;
"""


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str
    goal: float | None = None


def environment(cache: Path | None = None) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(nexmark_sql.ROOT), os.environ.get("PYTHONPATH"))))
    env = os.environ | {"PYTHONPATH": path}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    return env | ({"XDG_CACHE_HOME": str(cache), "TMPDIR": str(cache)} if cache is not None else {})


def seconds_of(command: list[str], cache: Path | None = None) -> float:
    """Wall time of a process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, env=environment(cache))
    return time.perf_counter() - started


def first_row_seconds(command: list[str], cache: Path | None = None) -> float:
    """From the start of a process to its first output."""
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, env=environment(cache)) as process:
        assert process.stdout is not None
        assert process.stdout.read(1), f"{command} writes nothing"
        return time.perf_counter() - started


def prompt_seconds() -> float:
    """From the start of the shell on a terminal to its first prompt."""
    ours, its = os.openpty()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        env = environment() | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": home}
        process = subprocess.Popen(
            [sys.executable, "-m", "sqlstream"], stdin=its, stdout=its, stderr=its, env=env, start_new_session=True
        )
        os.close(its)
        seen = b""
        while b"sqlstream>" not in seen:
            seen += os.read(ours, 4096)  # OSError where it ends before
        seconds = time.perf_counter() - started
        process.kill()
        process.wait()
        os.close(ours)
    return seconds


def job_seconds(query: str, data: Path, cache: Path | None = None) -> float:
    """What `sqlstream_runner.py` says of a streaming job with checkpoints."""
    with tempfile.TemporaryDirectory() as scratch:
        script = nexmark_sql.script(query, data)
        options = {"parallelism.default": "1", **sqlstream_call.checkpointing(1.0, Path(scratch))}
        command, job, env = sqlstream_call.call(script.setup, script.statements[-1], options)
        done = subprocess.run(
            command, input=json.dumps(job), text=True, check=True, capture_output=True, env=environment(cache) | env
        )
    seconds: float = json.loads(done.stdout)["seconds"]
    return seconds


def idle_percent(script: str, seconds: float) -> float:
    """Processor time of a job that has nothing to do, of one core. The first seconds are its start."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "rows.json").write_text('{"a": 1}\n')
        text = script.format(path=Path(scratch) / "rows.json") + JOB
        spent = []
        for wait in (3.0, 3.0 + seconds):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            process = subprocess.Popen(
                [sys.executable, "-m", "sqlstream", "-c", text], stderr=subprocess.DEVNULL, env=environment()
            )
            time.sleep(wait)
            process.terminate()
            process.wait()
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return max(0.0, spent[1] - spent[0]) / seconds * 100


def fresh(measure: Callable[[Path], float]) -> float:
    with tempfile.TemporaryDirectory() as cache:
        return measure(Path(cache))


def measure(runs: int, idle_seconds: float) -> list[Figure]:
    data = nexmark.prepare(EVENTS, 1)

    def median(once: Callable[[], float]) -> float:
        return statistics.median(once() for _ in range(runs))

    sqlstream = ["-m", "sqlstream"]
    seconds_of([*sqlstream, "-c", "SELECT 1"])  # bytecode and page cache
    seconds_of([*sqlstream, "warmup"])
    job_seconds("q5", data)
    figures = [
        Figure("sqlstream --version", median(lambda: seconds_of([*sqlstream, "--version"])), "s", 0.15),
        Figure("import sqlstream", median(lambda: seconds_of(["-c", "import sqlstream"])), "s", 0.3),
        Figure("first row of SELECT 1", median(lambda: first_row_seconds([*sqlstream, "-c", "SELECT 1"])), "s", 0.4),
        Figure("prompt of the shell", median(prompt_seconds), "s", 0.4),
    ]
    for q in COLD:
        cold = median(lambda q=q: fresh(lambda cache: job_seconds(q, data, cache)))  # type: ignore[misc]
        figures.append(Figure(f"{q}, {EVENTS} events, no kernels cached", cold, "s", 3.0))
    for q in WARM:
        warm = median(lambda q=q: job_seconds(q, data))  # type: ignore[misc]
        figures.append(Figure(f"{q}, {EVENTS} events, kernels cached", warm, "s"))
    figures.append(
        Figure("warmup, empty cache", fresh(lambda cache: seconds_of([*sqlstream, "warmup"], cache)), "s"),
    )
    for name, script in (("growing file", GROWING), ("datagen, a row a second", PAUSED)):
        figures.append(Figure(f"idle job, {name}", idle_percent(script, idle_seconds), "% of a core", 2.0))
    return figures


def table(figures: list[Figure]) -> str:
    rows = []
    for f in figures:
        digits = 1 if f.unit.startswith("%") else 2
        goal = "" if f.goal is None else f"{f.goal:.{digits}f}"
        verdict = "" if f.goal is None else "met" if f.value <= f.goal else "MISSED"
        rows.append((f.name, f"{f.value:.{digits}f} {f.unit}", goal, verdict))
    return reports.table(("", "measured", "goal", ""), rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5, help="processes a figure; their median counts")
    parser.add_argument("--idle-seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    figures = measure(args.runs, args.idle_seconds)
    print(table(figures))
    reports.write_json(args.json, {"figures": [asdict(f) for f in figures]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
