"""How many epochs a job runs that has nothing to do."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.session import Session

SCRIPT = """
SET 'pipeline.name' = 'idle';
SET 'execution.checkpointing.dir' = 'checkpoints';
SET 'execution.checkpointing.interval' = '20 ms';
CREATE TABLE events (k INT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json', 'source.monitor-interval' = '20 ms');
CREATE TABLE nothing (k INT) WITH ('connector' = 'blackhole');
INSERT INTO nothing SELECT k FROM events;
"""


def test_a_slow_checkpoint_store_does_not_make_an_idle_job_spin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next checkpoint is long due while the one before is still written: the job waits, and runs no epochs."""
    put, writing, written, epochs = CheckpointStorage.put, threading.Event(), threading.Event(), list[float]()

    def slow_put(self: CheckpointStorage, name: str, data: bytes) -> None:
        if name.endswith("manifest.json"):
            writing.set()
            written.wait(20)
        put(self, name, data)

    monkeypatch.setattr(CheckpointStorage, "put", slow_put)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.json").write_text('{"k": 1}\n')
    session = Session(working_directory=str(tmp_path), on_progress=lambda p: epochs.append(time.monotonic()))

    def stop_in_the_middle() -> None:
        writing.wait(20)
        job = session.current_job
        assert job is not None
        waited = job.times.waiting
        while job.times.waiting < waited + 0.4 and len(epochs) < 50:
            time.sleep(0.01)
        session.cancel()
        written.set()

    stopping = threading.Thread(target=stop_in_the_middle)
    stopping.start()
    for result in session.execute(SCRIPT):
        last = result
    stopping.join()
    assert last.progress is not None and last.progress.checkpoint is not None
    assert len(epochs) < 50
