"""What a checkpoint of a running job uploads: nothing but its manifest when nothing changed, little when little did."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import kill

KEYS = 1_000_000
SCRIPT = """
SET 'pipeline.name' = 'size';
CREATE TABLE events (k BIGINT, v INT)
  WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'json', 'source.monitor-interval' = '20 ms');
CREATE TABLE totals (k BIGINT, n BIGINT, total BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO totals SELECT k, COUNT(*), SUM(v) FROM events GROUP BY k;
"""


def newest(run: Path) -> dict:
    manifests = sorted(run.glob("chk-*/manifest.json"), key=lambda p: int(p.parent.name.split("-")[1]))
    return json.loads(manifests[-1].read_text())


def until(job: kill.Run, place: Path, rows: int, later: int = 0) -> tuple[Path, dict]:
    """The run's directory and the first manifest seen that has so many rows in, and is later than one."""
    end = time.monotonic() + 60
    while True:
        assert time.monotonic() < end and job.process.exitcode is None, job.text()
        for run in (place / ".sqlstream/size/runs").glob("*"):
            if list(run.glob("chk-*/manifest.json")):
                manifest = newest(run)
                if manifest["metrics"]["rows_in"] == rows and manifest["checkpoint_id"] > later:
                    return run, manifest
        time.sleep(0.02)


def shared(run: Path) -> dict[str, int]:
    return {p.name: p.stat().st_size for p in (run / "shared").glob("*.arrow")}


def test_unchanged_and_a_hundredth_of_a_million_keys(tmp_path: Path) -> None:
    (tmp_path / "job.sql").write_text(SCRIPT)
    (tmp_path / "in.json").write_text("".join([f'{{"k":{i * 7919 % KEYS},"v":{i % 100}}}\n' for i in range(KEYS)]))
    job = kill.start(tmp_path, ["run", "job.sql", "-D", "execution.checkpointing.interval=100 ms"])
    run, first = until(job, tmp_path, KEYS)
    _, settled = until(job, tmp_path, KEYS, first["checkpoint_id"])
    before = shared(run)
    full = sum(f["size"] for o in settled["operators"].values() for t in o["tasks"] for f in t["files"])
    assert full > 5_000_000
    _, third = until(job, tmp_path, KEYS, settled["checkpoint_id"] + 2)
    assert shared(run) == before  # checkpoints of unchanged state
    assert len((run / f"chk-{third['checkpoint_id']}/manifest.json").read_bytes()) < 20_000

    with open(tmp_path / "in.json", "a") as f:
        f.write("".join([f'{{"k":{i * 100},"v":1}}\n' for i in range(KEYS // 100)]))
    until(job, tmp_path, KEYS + KEYS // 100)
    uploaded = {name: size for name, size in shared(run).items() if name not in before}
    assert 0 < sum(uploaded.values()) < full / 10, (sum(uploaded.values()), full)
    job.signal(signal.SIGINT)
    assert job.wait() == 130
