"""A durable INSERT in batch mode: all of its output or none, once, whatever it is killed at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
SET 'execution.runtime-mode' = 'batch';
SET 'pipeline.name' = 'sums';
CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 't.json', 'format' = 'json');
CREATE TABLE sums (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'sums', 'format' = 'json');
CREATE TABLE counts (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'counts', 'format' = 'json');
EXECUTE STATEMENT SET BEGIN
  INSERT INTO sums SELECT k, SUM(v) FROM t GROUP BY k ORDER BY k;
  INSERT INTO counts SELECT COUNT(*) FROM t;
END;
"""
SUMS = [{"k": "a", "v": 4}, {"k": "b", "v": 2}]


def run(place: Path, *arguments: str, fault: str = "", script: str = SCRIPT) -> subprocess.CompletedProcess[str]:
    (place / "t.json").write_text('{"k":"a","v":1}\n{"k":"b","v":2}\n{"k":"a","v":3}\n')
    (place / "job.sql").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **({"SQLSTREAM_FAULT": fault} if fault else {})}
    command = [sys.executable, "-m", "sqlstream", "run", "job.sql", *arguments]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=120)


def shown(place: Path, table: str) -> list[dict[str, object]]:
    files = [f for f in sorted((place / table).glob("*")) if f.name[0] not in "_."]
    return [json.loads(line) for f in files for line in f.read_text().splitlines()]


def staged(place: Path) -> list[Path]:
    return [f for f in place.glob("*/_staging/**/*") if f.is_file()]


def state(place: Path) -> str:
    return str(json.loads((place / ".sqlstream/sums/job.json").read_text())["state"])


def test_it_has_finished_when_run_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert first.returncode == 0, first.stderr
    assert "3 rows into sums, counts" in first.stderr and state(tmp_path) == "FINISHED"
    again = run(tmp_path)
    assert again.returncode == 0, again.stderr
    assert "job sums has finished: nothing to do" in again.stderr
    assert shown(tmp_path, "sums") == SUMS and shown(tmp_path, "counts") == [{"n": 3}]
    assert run(tmp_path, "--fresh").returncode == 0
    assert shown(tmp_path, "counts") == [{"n": 3}, {"n": 3}]
    assert not staged(tmp_path)


@pytest.mark.parametrize("point", ["after-prepare:1", "after-prepare:2", "before-manifest:1"])
def test_killed_before_its_checkpoint_it_begins_anew(tmp_path: Path, point: str) -> None:
    assert run(tmp_path, fault=point).returncode == -signal.SIGKILL
    assert staged(tmp_path) and not shown(tmp_path, "sums") and not shown(tmp_path, "counts")
    assert run(tmp_path).returncode == 0
    assert shown(tmp_path, "sums") == SUMS and shown(tmp_path, "counts") == [{"n": 3}]
    assert not staged(tmp_path) and state(tmp_path) == "FINISHED"


@pytest.mark.parametrize("point", ["after-manifest:1", "mid-publish:1", "before-finished:1"])
def test_killed_after_its_checkpoint_it_publishes_what_is_left(tmp_path: Path, point: str) -> None:
    assert run(tmp_path, fault=point).returncode == -signal.SIGKILL
    again = run(tmp_path)
    assert again.returncode == 0 and "has finished" in again.stderr
    assert shown(tmp_path, "sums") == SUMS and shown(tmp_path, "counts") == [{"n": 3}]
    assert not staged(tmp_path) and state(tmp_path) == "FINISHED"


def test_a_failure_shows_nothing(tmp_path: Path) -> None:
    bad = SCRIPT.replace("SELECT COUNT(*) FROM t", "SELECT 1 / (COUNT(*) - 3) FROM t")
    failed = run(tmp_path, script=bad)
    assert failed.returncode == 1 and "division by zero" in failed.stderr
    assert not staged(tmp_path) and not shown(tmp_path, "sums") and state(tmp_path) == "FAILED"
    assert run(tmp_path).returncode == 0
    assert shown(tmp_path, "sums") == SUMS


def test_another_plan_is_refused(tmp_path: Path) -> None:
    assert run(tmp_path).returncode == 0
    other = run(tmp_path, script=SCRIPT.replace("SUM(v)", "MAX(v)"))
    assert other.returncode == 1 and "the plan of job sums is not that of its checkpoint" in other.stderr
    assert shown(tmp_path, "counts") == [{"n": 3}]


def test_null_for_a_column_that_takes_none(tmp_path: Path) -> None:
    script = SCRIPT.replace("counts (n BIGINT)", "counts (n BIGINT NOT NULL)").replace(
        "COUNT(*) FROM t", "NULLIF(1, 1) FROM t"
    )
    failed = run(tmp_path, script=script)
    assert failed.returncode == 1 and "NULL for column 'n', which is NOT NULL" in failed.stderr
