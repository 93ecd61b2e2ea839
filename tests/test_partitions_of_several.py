"""Partitions that several statements of a job write: they are complete when all of them are past."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

SCRIPT = """
CREATE TABLE ahead (id INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH (
  'connector' = 'filesystem', 'path' = 'ahead.json', 'format' = 'json');
CREATE TABLE behind (id INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH (
  'connector' = 'filesystem', 'path' = 'behind.json', 'format' = 'json', 'source.monitor-interval' = '10 ms');
CREATE TABLE out (id INT, dt STRING, `hour` STRING) PARTITIONED BY (dt, `hour`) WITH (
  'connector' = 'filesystem', 'path' = 'out', 'format' = 'json', 'sink.partition-commit.policy.kind' = 'success-file',
  'sink.partition-commit.trigger' = 'partition-time', 'sink.partition-commit.delay' = '1 h',
  'partition.time-extractor.timestamp-pattern' = '$dt $hour:00:00');
EXECUTE STATEMENT SET BEGIN
INSERT INTO out SELECT id, DATE_FORMAT(ts, 'yyyy-MM-dd'), DATE_FORMAT(ts, 'HH') FROM ahead;
INSERT INTO out SELECT id, DATE_FORMAT(ts, 'yyyy-MM-dd'), DATE_FORMAT(ts, 'HH') FROM behind;
END;
"""


def minutes(path: Path, first: int, count: int) -> None:
    """Rows of a minute each, appended."""
    with path.open("a") as f:
        for i in range(first, first + count):
            at = datetime(2026, 1, 1) + timedelta(minutes=i)
            f.write(json.dumps({"id": i, "ts": f"{at:%Y-%m-%d %H:%M:%S}"}) + "\n")


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("name", [None, "job"])
def test_complete_when_all_statements_are_past(tmp_path: Path, tasks: int, name: str | None) -> None:
    minutes(tmp_path / "ahead.json", 0, 300)
    minutes(tmp_path / "behind.json", 0, 90)
    seen: list[set[str]] = []
    waited = 0

    def look(progress: Progress) -> None:
        """Ten epochs without rows, in each of which a checkpoint may be published, before and after more comes."""
        nonlocal waited
        waited = waited + 1 if progress.rows_in == (390 if not seen else 450) else 0
        if waited == 10:
            seen.append({p.parent.name for p in (tmp_path / "out").rglob("_SUCCESS")})
            waited = 0
            if len(seen) == 1:
                minutes(tmp_path / "behind.json", 90, 60)
            else:
                session.cancel()

    options = {"execution.runtime-mode": "streaming", "execution.checkpointing.interval": "1 ms",
               "parallelism.default": str(tasks), **({"pipeline.name": name} if name else {})}  # fmt: skip
    session = Session(options=options, working_directory=str(tmp_path), on_progress=look)
    for _ in session.execute(SCRIPT):
        pass
    assert seen == [{"hour=00"}, {"hour=00", "hour=01"}]
