"""Records of checkpoints, and the files that they are kept in."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sqlstream.checkpoint.history import History
from sqlstream.checkpoint.statistics import (
    COMPLETED,
    FAILED,
    FILE,
    IN_PROGRESS,
    SAVEPOINT,
    OperatorStatistics,
    Restored,
    Statistics,
    SubtaskStatistics,
    read,
)

TASKS = {
    "3": OperatorStatistics("GroupAggregate", [SubtaskStatistics(0, 1, 2, 30, 70, 2), SubtaskStatistics(1, 1, 3, 5, 6)])
}


def test_a_checkpoint_from_its_trigger_to_its_end(tmp_path: Path) -> None:
    s = Statistics(History(tmp_path / FILE))
    record = s.begin(7, 1_000, num_subtasks=2)
    assert (s.counts.total, s.counts.in_progress) == (1, 1) and s.now().history[0].status == IN_PROGRESS
    s.end(record.completed(1_250, TASKS, async_duration=200))
    found = read(tmp_path)
    (r,) = found.history
    assert (r.status, r.end_to_end_duration, r.alignment_duration, r.async_duration) == (COMPLETED, 250, 0, 200)
    assert (r.checkpointed_size, r.state_size, r.num_acknowledged_subtasks) == (35, 76, 2)
    assert r.tasks["3"].subtasks[1].async_duration == 3
    assert found.counts == s.counts and (found.counts.completed, found.counts.in_progress) == (1, 0)
    assert s.now().history == found.history


def test_failures_restores_and_what_is_not_kept(tmp_path: Path) -> None:
    s = Statistics(History(tmp_path / FILE))
    for n in range(1, 5):
        record = s.begin(n, n * 1_000)
        s.end(record.failed(n * 1_000 + 9, "no disk") if n == 2 else record.completed(n * 1_000 + 5))
    s.end(s.begin(5, 5_000, checkpoint_type=SAVEPOINT).completed(5_001, external_path="/s/5"))
    s.restore(Restored(4, 6_000))
    s.discard([1, 3, 5])
    for found in (s.now(), read(tmp_path)):
        assert [r.id for r in found.history if r.discarded] == [1, 2, 3]
        failed = found.latest(FAILED)
        assert failed is not None and (failed.id, failed.failure_message, failed.failure_timestamp) == (
            2,
            "no disk",
            2_009,
        )
        newest, savepoint = found.latest(COMPLETED, savepoint=False), found.latest(COMPLETED, savepoint=True)
        assert newest is not None and newest.id == 4
        assert savepoint is not None and savepoint.external_path == "/s/5"
        assert found.restored == [Restored(4, 6_000)]
        assert (found.failures(2_009), found.failures(2_010)) == (1, 0)
        assert (found.counts.total, found.counts.completed, found.counts.failed, found.counts.restored) == (5, 4, 1, 1)


def test_counts_go_on_in_the_next_process(tmp_path: Path) -> None:
    for n in range(3):
        s = Statistics(History(tmp_path / FILE, limit=600))  # so that the first lines are gone
        s.end(s.begin(n, n).completed(n))
    found = read(tmp_path)
    assert found.counts.total == found.counts.completed == 3 and len(found.history) < 3


def test_no_directory_has_no_checkpoints(tmp_path: Path) -> None:
    assert read(tmp_path / "none").history == []


# ---- the file


def test_half_a_line_is_skipped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    history = History(tmp_path / "h.jsonl")
    history.append({"n": 1})
    with history.path.open("ab") as f:
        f.write(b'{"n": 2, "text": "abc')  # a process was killed
    history.append({"n": 3})
    assert [line["n"] for line in history.read()] == [1, 3]


@pytest.mark.parametrize("rubbish", [b"\xff\xfe\n", b"[1, 2]\n", b"null\n", b"{" * 100_000 + b"\n", b"\n\n"])
def test_what_is_no_line_of_ours_is_skipped(tmp_path: Path, rubbish: bytes) -> None:
    s = Statistics(History(tmp_path / FILE))
    s.end(s.begin(1, 1).completed(2))
    with (tmp_path / FILE).open("ab") as f:
        f.write(rubbish)
        f.write(json.dumps({"checkpoint": {"id": "x"}, "counts": 3}).encode() + b"\n")
    s.end(s.begin(2, 3).completed(4))
    assert [r.id for r in read(tmp_path).history] == [1, 2]
    assert Statistics(History(tmp_path / FILE)).counts.completed == 2


def test_files_are_bounded(tmp_path: Path) -> None:
    history = History(tmp_path / "h.jsonl", limit=1_000)
    for n in range(1_000):
        history.append({"n": n})
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 2_000 and len(list(tmp_path.iterdir())) == 2
    seen = [line["n"] for line in history.read()]
    assert seen == list(range(1_000 - len(seen), 1_000)) and len(seen) > 90


def test_where_nothing_can_be_written_nothing_fails(tmp_path: Path) -> None:
    History(tmp_path / "none" / "h.jsonl").append({"n": 1})
    (tmp_path / "d.jsonl").mkdir()
    History(tmp_path / "d.jsonl").append({"n": 1})
    assert History(tmp_path / "d.jsonl").read() == []
    os.symlink(tmp_path / "elsewhere", tmp_path / "link.jsonl")
    History(tmp_path / "link.jsonl").append({"n": 1})  # never through a link
    assert not (tmp_path / "elsewhere").exists()
