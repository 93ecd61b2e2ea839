"""Durable jobs whose checkpoints and attempts fail: nothing is lost, repeated or hidden, and nothing stays open."""

from __future__ import annotations

import gc
import gzip
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import kill
import pytest
from failing_store import Failing, SkippingClock

from sqlstream import faults
from sqlstream.checkpoint.history import History
from sqlstream.checkpoint.statistics import COMPLETED, FAILED, read
from sqlstream.errors import DataError, SqlStreamError
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

ROWS = 2_000
SCRIPT = """
CREATE TABLE t (k INT, v INT) WITH ('connector' = 'filesystem', 'path' = '{place}/in', 'format' = 'json');
CREATE TABLE o (k INT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{place}/out', 'format' = 'debezium-json');
CREATE TABLE p (k INT, v INT) WITH ('connector' = 'filesystem', 'path' = '{place}/plain', 'format' = 'json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO o SELECT k, COUNT(*) FROM t GROUP BY k;
INSERT INTO p SELECT k, v FROM t;
END;
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    Failing.reset()
    faults.arm(None)
    yield
    faults.arm(None)
    Failing.reset()


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


class Project:
    """A job in this process, with a clock that does not wait."""

    def __init__(self, place: Path, url: str | None = "failing:///cp", **options: object) -> None:
        self.place, self.clock = place, SkippingClock()
        Failing.clock = self.clock
        self.said: list[str] = []
        self.on_epoch: Callable[[Progress], None] = lambda p: None
        (place / "in").mkdir(exist_ok=True)
        rows = (json.dumps({"k": i % 37, "v": i}) for i in range(ROWS))
        (place / "in/rows.json").write_text("\n".join(rows) + "\n")
        self.options = {
            "pipeline.name": "j",
            "execution.runtime-mode": "streaming",
            "execution.epoch.max-rows": "20",
            "execution.checkpointing.interval": "1 ms",
            **({} if url is None else {"execution.checkpointing.dir": url}),
            **{str(k): str(v) for k, v in options.items()},
        }
        self.session: Session | None = None

    def run(self, **more: str) -> Progress:
        self.session = Session(
            options={**self.options, **more},
            working_directory=str(self.place),
            clock=self.clock,  # type: ignore[arg-type]
            on_message=self.said.append,
            on_progress=lambda p: self.on_epoch(p),
        )
        progress = Progress()
        for result in self.session.execute(SCRIPT.format(place=self.place)):
            progress = result.progress or progress
        return progress

    @property
    def job(self) -> Path:
        return self.place / ".sqlstream/j"

    def check(self) -> None:
        """Both sinks have what an undisturbed run gives."""
        plain = [json.loads(line) for line in kill.lines(self.place / "plain")]
        assert Counter((r["k"], r["v"]) for r in plain) == Counter((i % 37, i) for i in range(ROWS))
        want = Counter(i % 37 for i in range(ROWS))
        assert kill.fold(kill.lines(self.place / "out")) == Counter(
            json.dumps({"k": k, "n": n}) for k, n in want.items()
        )
        for sink in ("out", "plain"):
            assert not [p for p in (self.place / sink / "_staging").rglob("*") if p.is_file()]

    def committables(self) -> list[str]:
        """What the kept manifests have sinks show: nothing is in two of them."""
        manifests = [json.loads(f.getvalue()) for name, f in Failing.store.items() if name.endswith("/manifest.json")]
        return [json.dumps([sink, c]) for m in manifests for sink, parts in m["sinks"].items() for c in parts]

    def state(self) -> dict[str, object]:
        state: dict[str, object] = json.loads((self.job / "job.json").read_text())
        return state

    def failures(self) -> list[dict[str, object]]:
        return History(self.job / "failures.jsonl").read()


BACKENDS = [{"state.backend.type": "hashmap"}, {"state.backend.type": "rocksdb", "state.backend.hot-rows": "1"}]


@pytest.mark.parametrize("backend", BACKENDS, ids=["hashmap", "rocksdb"])
def test_a_store_that_is_away_for_an_hour(tmp_path: Path, backend: dict[str, str]) -> None:
    """No row is lost or repeated, and it is not asked all the time: attempts are a minute apart at last."""
    project = Project(tmp_path, **backend)

    def away(p: Progress) -> None:
        time.sleep(0.003)
        if p.epoch >= 30 and p.checkpoint is not None and not Failing.asked_at and not project.clock.at:
            Failing.away = True
            project.clock.at.append((project.clock.monotonic() + 3600, lambda: setattr(Failing, "away", False)))

    project.on_epoch = away
    progress = project.run()
    assert progress.state == "FINISHED" and project.clock.skipped >= 3600
    project.check()
    failures = project.failures()
    # ten attempts until the delay is a minute, then one a minute (0.9 to 1 with jitter); never two at once
    assert 60 <= len(failures) == progress.attempt - 1 <= 80
    assert project.clock.waits[0] < 1.2 and all(53 <= w <= 60 for w in project.clock.waits[12:])
    assert "the store is away" in str(failures[0]["message"]) and all(f["transient"] for f in failures)
    assert len(Failing.asked_at) <= 6 * len(failures)  # calls within an attempt, not a storm
    assert progress.failure is not None and progress.backoff_until is None
    found = read(project.job)
    assert found.counts.failed >= 1 and found.counts.restored >= 1
    assert "the store is away" in str(found.latest(FAILED).failure_message)  # type: ignore[union-attr]


@pytest.mark.parametrize("backend", BACKENDS, ids=["hashmap", "rocksdb"])
@pytest.mark.parametrize("parallelism", [1, 3])
def test_within_what_is_tolerated_the_job_reads_on(tmp_path: Path, backend: dict[str, str], parallelism: int) -> None:
    options = {
        **backend,
        "execution.checkpointing.tolerable-failed-checkpoints": 1000,
        "parallelism.default": parallelism,
    }
    project = Project(tmp_path, **options)
    seen: list[int] = []

    def away(p: Progress) -> None:
        Failing.away = 20 <= p.epoch < 60
        seen.append(len(kill.published(tmp_path / "plain")))
        time.sleep(0.003)

    project.on_epoch = away
    progress = project.run()
    assert progress.state == "FINISHED" and progress.attempt == 1 and project.failures() == []
    project.check()
    assert progress.failed_checkpoints >= 3
    assert max(Counter(project.committables()).values()) == 1
    assert seen[30] == seen[55] < seen[-1]  # nothing is shown without a checkpoint; then all of it
    found = read(project.job)
    failed = [r for r in found.history if r.status == FAILED]
    assert found.counts.failed == len(failed) == progress.failed_checkpoints
    assert all(r.failure_message and "the store is away" in r.failure_message and r.discarded for r in failed)
    assert any("in a row): cannot write" in text for text in project.said)


def test_more_in_a_row_than_are_tolerated(tmp_path: Path) -> None:
    """Three are; the fourth is a failure of the job, and a success between them counts anew."""
    project = Project(
        tmp_path,
        **{"execution.checkpointing.tolerable-failed-checkpoints": 3, "restart-strategy.type": "none"},
    )
    faults.arm("before-manifest:4-6:raise")
    assert project.run().state == "FINISHED"
    project.check()
    assert [r.status for r in read(project.job).history[2:8]] == [
        COMPLETED,
        FAILED,
        FAILED,
        FAILED,
        COMPLETED,
        COMPLETED,
    ]
    other = tmp_path / "other"
    other.mkdir()
    Failing.reset()
    project = Project(other, **{**project.options})
    faults.arm("before-manifest:4-7:raise")
    with pytest.raises(SqlStreamError, match=r"checkpoint 7 failed \(4 in a row\): fault at before-manifest"):
        project.run()
    assert project.state()["state"] == "FAILED"
    faults.arm(None)
    assert project.run().state == "FINISHED"
    project.check()


def test_a_checkpoint_that_hangs_is_given_up(tmp_path: Path) -> None:
    """It is counted when its time is over. When the store answers at last, it is not complete after all."""
    project = Project(
        tmp_path,
        **{
            "execution.checkpointing.timeout": "30 ms",
            "execution.checkpointing.tolerable-failed-checkpoints": 1000,
            "state.backend.type": "hashmap",
        },
    )
    gate = threading.Event()

    def hang(p: Progress) -> None:
        if p.epoch == 20:
            Failing.gate = gate
        if p.epoch == 90 or p.failed_checkpoints >= 3:
            Failing.gate = None
            gate.set()
        time.sleep(0.005)

    project.on_epoch = hang
    progress = project.run()
    assert progress.state == "FINISHED" and progress.attempt == 1
    project.check()
    failed = [r for r in read(project.job).history if r.status == FAILED]
    assert failed and all(r.failure_message == "it was not complete after 30 ms" for r in failed)
    assert all((r.end_to_end_duration or 0) >= 30 for r in failed)
    kept = {int(p.split("chk-")[1].split("/")[0]) for p in Failing.store if "chk-" in p}
    assert kept and not kept & {r.id for r in failed}


@pytest.mark.parametrize("tolerable", [0, 5])
def test_answers_that_are_lost(tmp_path: Path, tolerable: int) -> None:
    """The manifest is written, and the store says that it is not."""
    project = Project(tmp_path, **{"execution.checkpointing.tolerable-failed-checkpoints": tolerable})

    def lose(p: Progress) -> None:
        if p.epoch == 25 and p.attempt == 1:
            Failing.lost = 2
        time.sleep(0.002)

    project.on_epoch = lose
    progress = project.run()
    assert progress.state == "FINISHED" and progress.failed_checkpoints >= 1
    assert progress.attempt == (1 if tolerable else 3)
    project.check()


def test_a_wrong_record_fails_at_once(tmp_path: Path) -> None:
    project = Project(tmp_path)
    path = tmp_path / "in/rows.json"
    path.write_text(path.read_text() + '{"k": "no number"}\n')
    with pytest.raises(DataError, match="malformed record"):
        project.run()
    assert project.clock.waits == [] and project.state()["state"] == "FAILED"
    (failure,) = project.failures()
    assert (failure["transient"], failure["delay"]) == (False, None)


@pytest.mark.parametrize("damage", ["cut", "changed", "no gzip"])
def test_a_damaged_file_does_not_loop_for_ever(tmp_path: Path, damage: str) -> None:
    """It may be one that is still being copied, so it may be tried again; then it is what it is."""
    project = Project(tmp_path)
    data = gzip.compress(b"".join(b'{"k": 1, "v": %d}\n' % i for i in range(5_000)))
    middle = len(data) // 2
    changed = data[:middle] + bytes(255 - b for b in data[middle : middle + 40]) + data[middle + 40 :]
    wrong = {"cut": data[:middle], "changed": changed, "no gzip": b"no gzip"}[damage]
    (tmp_path / "in/zz.json.gz").write_bytes(wrong)
    with pytest.raises(SqlStreamError, match=r"zz\.json\.gz"):
        project.run()
    assert project.state()["state"] == "FAILED" and len(project.clock.waits) <= 30
    assert project.failures()[-1]["delay"] is None


def test_a_nameless_job_is_not_started_again(tmp_path: Path) -> None:
    project = Project(tmp_path, url=None)
    del project.options["pipeline.name"]
    faults.arm("mid-publish:3:raise")
    with pytest.raises(SqlStreamError, match="fault at mid-publish"):
        project.run()
    assert project.clock.waits == []


def test_a_job_that_waits_says_so_and_can_be_stopped(tmp_path: Path) -> None:
    project = Project(tmp_path, **{"restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.delay": "1 h"})
    seen: list[tuple[str, object]] = []

    def stop() -> None:
        assert project.session is not None and project.session.current_job is not None
        p = project.session.current_job.progress
        seen.append((p.state, project.state()["state"]))
        assert p.backoff_until is not None and p.backoff_until > time.time() + 3000 and "fault" in str(p.failure)
        assert "; attempt 2 at " in str(project.state()["message"])
        project.session.cancel()

    project.clock.at.append((1800.0, stop))
    faults.arm("before-publish:5:raise")
    assert project.run().state == "CANCELED"
    assert seen == [("RESTARTING", "RESTARTING")] and project.state()["state"] == "CANCELED"
    faults.arm(None)
    assert project.run().state == "FINISHED"
    project.check()


@pytest.mark.parametrize(
    "retention, how, kept",
    [
        ("RETAIN_ON_CANCELLATION", "cancel", True),
        ("DELETE_ON_CANCELLATION", "cancel", False),
        ("DELETE_ON_CANCELLATION", "stop", True),
        ("DELETE_ON_CANCELLATION", "fail", True),
        ("NO_EXTERNALIZED_CHECKPOINTS", "fail", False),
        ("NO_EXTERNALIZED_CHECKPOINTS", "cancel", False),
        ("NO_EXTERNALIZED_CHECKPOINTS", "stop", True),
    ],
)
def test_what_becomes_of_checkpoints(tmp_path: Path, retention: str, how: str, kept: bool) -> None:
    """Stopped, a job always goes on from there."""
    option = "execution.checkpointing.externalized-checkpoint-retention"
    project = Project(tmp_path, **{option: retention, "restart-strategy.type": "none"})

    def end(p: Progress) -> None:
        if p.epoch == 40 and how != "fail":
            assert project.session is not None and project.session.current_job is not None
            getattr(project.session.current_job, how)()
        time.sleep(0.001)

    project.on_epoch = end
    if how == "fail":
        faults.arm("before-publish:9:raise")
        with pytest.raises(SqlStreamError):
            project.run()
        faults.arm(None)
    else:
        assert project.run().state == "CANCELED"
    assert bool([p for p in Failing.store if "chk-" in p]) == kept
    assert project.state()["state"] == ("FAILED" if how == "fail" else "CANCELED")
    project.on_epoch = lambda p: None
    before = Counter(kill.lines(tmp_path / "plain"))
    assert project.run().state == "FINISHED"
    if kept:
        project.check()
    else:  # it began anew: what was published stays
        assert Counter(kill.lines(tmp_path / "plain")).total() == before.total() + ROWS


def test_a_pause_between_checkpoints(tmp_path: Path) -> None:
    project = Project(tmp_path, **{"execution.checkpointing.min-pause": "60 ms"})
    project.on_epoch = lambda p: time.sleep(0.004)
    assert project.run().state == "FINISHED"
    records = [r for r in read(project.job).history if r.status == COMPLETED]
    ends = [r.trigger_timestamp + (r.end_to_end_duration or 0) for r in records]
    between = [b.trigger_timestamp - end for end, b in zip(ends, records[1:], strict=False)]
    assert len(records) >= 3 and all(gap >= 58 for gap in between[:-1])  # the last one is the job's end


def test_a_record_of_each_checkpoint(tmp_path: Path) -> None:
    project = Project(tmp_path, **{"parallelism.default": 2, "state.backend.type": "hashmap"})
    project.on_epoch = lambda p: time.sleep(0.001)
    progress = project.run()
    found = read(project.job)
    assert found.counts.completed == len(found.history) and found.counts.failed == found.counts.in_progress == 0
    record = found.history[-2]
    assert record.num_acknowledged_subtasks == record.num_subtasks == 2 and record.alignment_duration == 0
    (aggregate,) = [t for t in record.tasks.values() if t.name == "GroupAggregate"]
    assert [s.index for s in aggregate.subtasks] == [0, 1]
    assert 0 < record.checkpointed_size <= record.state_size == sum(t.state_size for t in record.tasks.values())
    assert record.checkpointed_size == sum(s.checkpointed_size for t in record.tasks.values() for s in t.subtasks)
    assert found.history[0].discarded and not found.history[-1].discarded
    assert progress.checkpoint == found.history[-1].id and progress.checkpoint_duration is not None
    assert progress.checkpoint_size is not None


def test_fifty_restarts_leave_nothing_open(tmp_path: Path) -> None:
    """Threads, files, stores, work directories: each attempt closes its own."""
    project = Project(tmp_path, url=None, **{"state.backend.type": "rocksdb", "parallelism.default": 2})
    counted: dict[int, tuple[int, int]] = {}

    def count(p: Progress) -> None:
        if p.attempt in (5, 50) and p.attempt not in counted:
            gc.collect()
            counted[p.attempt] = (threading.active_count(), len(os.listdir("/proc/self/fd")))

    project.on_epoch = count
    faults.arm("before-publish:2-51:raise")
    progress = project.run()
    assert progress.state == "FINISHED" and progress.attempt == 51
    project.check()
    (threads, files), (threads_after, files_after) = counted.values()
    assert threads_after <= threads + 1 and files_after <= files + 3
    assert not (project.job / "work").exists()


@pytest.mark.parametrize("mode", ["EXACTLY_ONCE", "AT_LEAST_ONCE"])
def test_a_job_that_is_stopped_while_its_store_is_away(tmp_path: Path, mode: str) -> None:
    """It ends without a last checkpoint, says so, and goes on from the one before."""
    project = Project(tmp_path, **{"execution.checkpointing.mode": mode})

    def stop(p: Progress) -> None:
        if p.epoch >= 40 and p.checkpoint is not None and not Failing.away:
            Failing.away = True
            assert project.session is not None
            project.session.cancel()

    project.on_epoch = stop
    progress = project.run()
    assert (progress.state, progress.attempt, project.clock.waits) == ("CANCELED", 1, [])
    assert any("the last checkpoint failed" in text for text in project.said)
    assert project.state()["state"] == "CANCELED"
    Failing.away, project.on_epoch = False, lambda p: None
    assert project.run().state == "FINISHED"
    if mode == "EXACTLY_ONCE":
        project.check()
    else:
        plain = [json.loads(line) for line in kill.lines(tmp_path / "plain")]
        assert {r["v"] for r in plain} == set(range(ROWS))


def test_the_checkpoint_at_the_end_is_tried_again(tmp_path: Path) -> None:
    project = Project(
        tmp_path,
        **{"execution.checkpointing.interval": "1 h", "execution.checkpointing.tolerable-failed-checkpoints": 10},
    )

    def away(p: Progress) -> None:
        if p.rows_in == ROWS and not project.clock.at and not Failing.asked_at:
            Failing.away = True
            project.clock.at.append((project.clock.monotonic() + 4 * 3600, lambda: setattr(Failing, "away", False)))

    project.on_epoch = away
    progress = project.run()
    assert (progress.state, progress.attempt, progress.failed_checkpoints) == ("FINISHED", 1, 4)
    assert project.clock.waits == [3600.0] * 4
    project.check()


def test_files_that_grow_are_read_on_after_a_restart(tmp_path: Path) -> None:
    """An attempt knows nothing of what the one before had open: files that grew, came, and were rotated meanwhile."""
    project = Project(tmp_path, url=None)
    script = SCRIPT.replace("'path' = '{place}/in'", "'path' = '{place}/in', 'source.monitor-interval' = '10 ms'")
    inputs = tmp_path / "in"
    whole = (inputs / "rows.json").read_text().splitlines(keepends=True)
    (inputs / "rows.json").write_text("".join(whole[:500]))
    steps: dict[int, Callable[[], object]] = {
        1: lambda: append(inputs / "rows.json", "".join(whole[500:900])),
        2: lambda: (inputs / "rows-2.json").write_text("".join(whole[900:1500])),
        3: lambda: (inputs / "rows-2.json").rename(inputs / "rows-1.json"),
        4: lambda: (inputs / "rows-3.json").write_text("".join(whole[1500:])),
    }
    wanted = {1: 500, 2: 900, 3: 1500, 4: 1500}

    def on_epoch(p: Progress) -> None:
        if p.attempt in wanted and p.rows_in == wanted[p.attempt] and (p.checkpoint or 0) > 2:
            steps.pop(p.attempt, lambda: None)()
            wanted.pop(p.attempt)
            faults.arm("before-publish:1:raise")
        if p.rows_in == ROWS and project.session is not None:
            project.session.cancel()

    project.on_epoch = on_epoch
    session = project.session = Session(
        options=project.options,
        working_directory=str(tmp_path),
        clock=project.clock,  # type: ignore[arg-type]
        on_message=project.said.append,
        on_progress=lambda p: project.on_epoch(p),
    )
    for result in session.execute(script.format(place=tmp_path)):
        progress = result.progress
    assert progress is not None and progress.attempt == 5 and not steps
    project.check()
