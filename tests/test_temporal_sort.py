"""ORDER BY time of a stream: its rows come in that order, whatever the epochs and the tasks, and late ones are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness.seed import random_of

from sqlstream.session import Session

TABLE = """
CREATE TABLE t (id INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json');
"""


@pytest.mark.parametrize("parallelism", [1, 3])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_rows_come_in_the_order_of_their_time(tmp_path: Path, parallelism: int, size: int) -> None:
    rng = random_of("temporal sort", parallelism, size)
    (tmp_path / "in").mkdir()
    seconds = [max(0, i // 3 + rng.randint(-3, 0)) for i in range(150)]  # none is late
    for part in range(2):
        rows = [{"id": i, "ts": f"2024-01-01 00:00:{s:02}"} for i, s in enumerate(seconds) if i % 2 == part]
        (tmp_path / "in" / f"{part}.json").write_text("".join(json.dumps(r) + "\n" for r in rows))
    options = {
        "execution.runtime-mode": "streaming", "execution.epoch.max-rows": str(size), "parallelism.default": str(parallelism),
    }  # fmt: skip
    session = Session(options=options, working_directory=str(tmp_path))
    result = list(session.execute(TABLE + "SELECT id FROM t ORDER BY ts, id DESC;"))[-1]
    got = [row["id"] for batch, _ in result.batches() for row in batch.to_pylist()]
    assert got == sorted(range(150), key=lambda i: (seconds[i], -i))


def test_late_rows_are_counted(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    lines = [{"id": i, "ts": f"2024-01-01 00:00:{s:02}"} for i, s in enumerate([1, 20, 3, 17])]
    (tmp_path / "in" / "a.json").write_text("".join(json.dumps(r) + "\n" for r in lines))
    options = {"execution.runtime-mode": "streaming", "execution.epoch.max-rows": "1"}
    session = Session(options=options, working_directory=str(tmp_path))
    result = list(session.execute(TABLE + "SELECT id FROM t ORDER BY ts;"))[-1]
    assert [row["id"] for batch, _ in result.batches() for row in batch.to_pylist()] == [0, 3, 1]
    assert result.progress is not None and result.progress.late_rows == 1
