"""A job in a thread that outlives the main one; and threads that take work."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from sqlstream.batches import Time
from sqlstream.runtime.channels import LocalChannels, TaskFailed
from sqlstream.threads import OperatingSystem, Thread, Threads, scheduled, wait

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import sys, threading
from sqlstream.session import Session

def work():
    threading.main_thread().join()
    options = {"execution.runtime-mode": sys.argv[1], "parallelism.default": "2", "pipeline.name": "j"}
    session = Session(options=options)
    for result in session.execute(
        "CREATE TABLE o (a INT) WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');"
        "INSERT INTO o SELECT a FROM (VALUES (1), (2)) AS t(a); SELECT SUM(a) FROM o;"
    ):
        for batch, _ in result.batches():
            print(batch.to_pylist())

threading.Thread(target=work).start()
"""


@pytest.mark.parametrize("mode", ["streaming", "batch"])
def test_an_insert_in_a_thread_that_outlives_the_main_one(tmp_path: Path, mode: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert ": 3}]" in done.stdout.splitlines()[-1]


def test_results_and_errors_come_by_futures() -> None:
    meet = threading.Barrier(2)
    with Threads(2, "t") as threads:
        both = [threads.submit(meet.wait, 60) for _ in range(2)]  # at once, on two threads
        assert sorted(f.result() for f in both) == [0, 1]
        failed = threads.submit(int, "x")
        with pytest.raises(ValueError, match="invalid literal"):
            failed.result()
    assert not [t for t in threading.enumerate() if t.name.startswith("t-")]


def test_who_waits_for_a_task_that_failed_waits_no_longer() -> None:
    """The other tasks of an exchange end, each with TaskFailed, and what had come is not taken for all of it."""
    channels = LocalChannels(3)
    with Threads(2, "task") as pool:
        futures = [pool.submit(channels.exchange, 7, t, [[], [], []], Time()) for t in (0, 1)]
        assert not wait(futures[0], 0.01)
        channels.fail()
        for future in futures:
            assert wait(future, 30) and isinstance(future.exception(), TaskFailed)


def test_an_exchange_gives_what_all_have_sent_in_their_order() -> None:
    channels = LocalChannels(3)
    parts = [[[pa.record_batch({"c0": [10 * t + to]})] for to in range(3)] for t in range(3)]
    with Threads(3, "task") as pool:
        futures = [pool.submit(channels.exchange, 7, t, parts[t], Time(t)) for t in (2, 0, 1)]
    found = {t: f.result() for t, f in zip((2, 0, 1), futures, strict=True)}
    for to, delta in found.items():
        assert [b.column("c0").to_pylist() for b in delta.batches] == [[to], [10 + to], [20 + to]]
        assert delta.time.watermark == 0  # the least


def test_threads_are_made_by_who_schedules() -> None:
    made: list[str] = []

    class Told(OperatingSystem):
        def start(self, name: str, body: Callable[[], None]) -> Thread:
            made.append(name)
            return super().start(name, body)

    with scheduled(Told()), Threads(2, "work") as pool:
        assert pool.submit(int, "3").result() == 3
    with Threads(1, "other"):
        pass
    assert made == ["work-0", "work-1"]
