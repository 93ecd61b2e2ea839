"""Ctrl-C and SIGTERM stop a job with a last checkpoint; running it again resumes; --fresh starts anew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cli_driver import JOB, UNBOUNDED, Done, sqlstream, start, stopped, until

from sqlstream.cli import run
from sqlstream.cli.main import main


def run_for_a_while(directory: Path, number: int, *arguments: str) -> Done:
    """Runs job.sql until it has a checkpoint of its own (or has begun), then sends the signal."""
    state = directory / ".sqlstream" / "j" / "job.json"
    before = set(directory.glob(".sqlstream/j/runs/*/chk-*/manifest.json"))
    process = start("run", "job.sql", *arguments, cwd=directory)
    until(state.exists)
    until(lambda: json.loads(state.read_text())["state"] == "RUNNING" if state.exists() else False)
    until(lambda: set(directory.glob(".sqlstream/j/runs/*/chk-*/manifest.json")) - before)
    return stopped(process, number)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rows_in(directory: Path) -> int:
    newest = max(
        directory.glob(".sqlstream/j/runs/*/chk-*/manifest.json"), key=lambda p: json.loads(p.read_text())["created"]
    )
    return int(json.loads(newest.read_text())["metrics"]["rows_in"])


def test_a_durable_job_stops_resumes_and_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "job.sql").write_text(
        "SET 'pipeline.name' = 'j'; SET 'execution.checkpointing.interval' = '200 ms';" + JOB
    )
    first = run_for_a_while(tmp_path, signal.SIGINT)
    assert first.status == 130, first.err
    assert "(CANCELED)\nstopped at checkpoint " in first.err and "Traceback" not in first.err
    state = json.loads((tmp_path / ".sqlstream" / "j" / "job.json").read_text())
    assert state["state"] == "CANCELED"
    read = rows_in(tmp_path)
    assert read > 0

    second = run_for_a_while(tmp_path, signal.SIGTERM)
    assert second.status == 143
    assert "job j resumes from checkpoint " in second.err and f"{read:,} rows in" in second.err
    assert rows_in(tmp_path) >= read

    third = run_for_a_while(tmp_path, signal.SIGINT, "--fresh")
    assert third.status == 130 and "resumes" not in third.err.splitlines()[0]
    assert json.loads((tmp_path / ".sqlstream" / "j" / "job.json").read_text())["run"] != state["run"]


def test_a_job_without_a_name_says_that_it_starts_anew(tmp_path: Path) -> None:
    process = start("-c", JOB, cwd=tmp_path)
    assert process.stderr is not None
    first = process.stderr.readline().decode()
    assert first.startswith("this job is not durable")
    done = stopped(process)
    assert done.status == 130 and done.err.endswith("starts it anew\n")


def test_an_endless_query(tmp_path: Path) -> None:
    process = start("-c", UNBOUNDED + "SELECT n FROM numbers", "--output", "csv", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == b"n\n"
    process.stdout.readline()
    done = stopped(process)
    assert done.status == 130 and done.err == ""
    assert done.out == "" or done.out.endswith("\n")


_VALUES = "(VALUES " + ", ".join(f"({i})" for i in range(100)) + ")"
_TABLES = ", ".join(f"{_VALUES} AS t{i}(x{i})" for i in range(7))
INSIDE_DUCKDB = f"SELECT 1 AS begins; SELECT SUM(x0 + x1 + x2 + x3 + x4 + x5 * x6) FROM {_TABLES}"


def test_a_query_that_duckdb_has_not_begun(tmp_path: Path) -> None:
    for _ in range(4):
        process = start("-c", INSIDE_DUCKDB, cwd=tmp_path)
        assert process.stdout is not None
        process.stdout.readline()  # of the first result: the second query is being made
        done = stopped(process)
        assert done.status == 130 and done.err == ""


def test_a_query_inside_duckdb(tmp_path: Path) -> None:
    process = start("-c", INSIDE_DUCKDB, cwd=tmp_path)
    assert process.stdout is not None
    for _ in range(5):  # the first result
        process.stdout.readline()
    before = cpu_seconds(process.pid)
    until(lambda: cpu_seconds(process.pid) > before + 0.3)
    started = time.monotonic()
    done = stopped(process)
    assert done.status == 130 and done.err == ""
    assert time.monotonic() - started < 10


def test_nothing_after_the_signal_is_begun(tmp_path: Path) -> None:
    process = start("-c", UNBOUNDED + "SELECT n FROM numbers; SELECT 'next'", "--output", "csv", cwd=tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    assert "next" not in stopped(process).out


def test_the_second_signal_does_not_wait(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\n"
        "def wait(x: int) -> int:\n    pathlib.Path('called').touch()\n    time.sleep(60)\n    return x\n"
    )
    sql = "CREATE TEMPORARY FUNCTION wait AS 'slow.wait' LANGUAGE PYTHON; SELECT 1 AS a; SELECT wait(1) AS a"
    process = start("-c", sql, cwd=tmp_path)
    assert process.stdout is not None
    until((tmp_path / "called").exists)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # at once: `timeout` signals the process and its group
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.6)
    done = stopped(process)
    assert done.status == 130 and "without waiting" in done.err


def test_fresh_leaves_published_files(tmp_path: Path) -> None:
    (tmp_path / "job.sql").write_text("""
        SET 'pipeline.name' = 'j';
        CREATE TABLE n (a INT) WITH ('connector' = 'datagen', 'number-of-rows' = '10');
        CREATE TABLE o (a INT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
        INSERT INTO o SELECT a FROM n;
    """)

    def files() -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir() if p.name[0] not in "._"}

    assert sqlstream("run", "job.sql", cwd=tmp_path).status == 0
    before = files()
    again = sqlstream("run", "job.sql", cwd=tmp_path)
    assert again.status == 0 and "job j has finished: nothing to do" in again.err
    assert files() == before
    fresh = sqlstream("run", "job.sql", "--fresh", cwd=tmp_path)
    assert fresh.status == 0, fresh.err
    after = files()
    assert before.items() <= after.items() and len(after) == 2 * len(before)


def test_a_signal_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run", interrupted)
    assert main(["-c", "SELECT 1"]) == 130
