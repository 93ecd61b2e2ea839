"""A job whose directory is moved, unmounted or deleted while it runs: it writes nothing to what stands in its place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_restarts import Project

from sqlstream import faults
from sqlstream.checkpoint.lock import JobLock, LockLost
from sqlstream.errors import JobLocked
from sqlstream.runtime.jobs import LOST, JobPlace, look
from sqlstream.runtime.progress import Progress


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    faults.arm(None)
    yield
    faults.arm(None)


class Moved(Project):
    """Its directory is moved to `away` when some rows are read."""

    def __init__(self, place: Path, **options: object) -> None:
        super().__init__(place, url=None, **options)
        self.away = place / "away"
        self.on_epoch = self._look

    def _look(self, p: Progress) -> None:
        if p.rows_in >= 600 and not self.away.exists():
            self.job.rename(self.away)
            self.moved()

    def moved(self) -> None:
        """Right after."""


@pytest.mark.parametrize("tolerable", [0, 1_000_000])
def test_it_waits_and_goes_on_when_the_directory_is_back(tmp_path: Path, tolerable: int) -> None:
    """Nothing is made in its place meanwhile: else it could not come back."""
    project = Moved(tmp_path, **{"execution.checkpointing.tolerable-failed-checkpoints": tolerable})
    seen: list[bool] = []

    def back() -> None:
        if not project.away.exists():
            return
        seen.append(project.job.exists())
        project.away.rename(project.job)
        project.on_epoch = lambda p: None

    look_ = project.on_epoch

    def later(p: Progress) -> None:
        look_(p)
        if p.failed_checkpoints >= 5:
            back()
        elif project.away.exists():
            time.sleep(0.02)  # for a checkpoint to fail: five do, long before the last row

    if tolerable:
        project.on_epoch = later
    # else, and where a checkpoint was whole but not yet published at that moment: then the attempt ends
    project.clock.at.append((1800.0, back))
    progress = project.run()
    assert (progress.state, seen) == ("FINISHED", [False])
    assert progress.attempt > 1 or tolerable
    project.check()
    assert any("is not what it was" in str(line) for line in project.said)
    if progress.attempt > 1:
        assert sum(project.clock.waits) > 1700 and len(project.clock.waits) < 60  # a minute apart at last


def test_another_process_that_has_the_job_ends_it(tmp_path: Path) -> None:
    project = Moved(tmp_path)
    held: list[JobLock] = []

    def moved() -> None:
        held.append(JobLock(project.job, "j").acquire())
        (project.job / "work").mkdir()
        (project.job / "status.json").write_text("{}")

    project.moved = moved  # type: ignore[method-assign]
    with pytest.raises(JobLocked, match="job j is running already"):
        project.run()
    # the other's, as it was; `runs`: files of a checkpoint that was being written at that moment
    assert {p.name for p in project.job.iterdir()} - {"runs"} == {"lock", "status.json", "work"}
    assert (project.job / "status.json").read_text() == "{}"
    held[0].release()
    assert look(JobPlace("j", project.away)).status.state == LOST


def test_a_directory_without_the_jobs_record_is_no_reason_to_begin_anew(tmp_path: Path) -> None:
    """As the directory below a mount is when that is gone: else all rows would be written again."""
    project = Moved(tmp_path, **{"restart-strategy.type": "fixed-delay"})
    project.moved = lambda: project.job.mkdir()  # type: ignore[method-assign]
    with pytest.raises(LockLost, match="the record of job j is gone"):
        project.run()
    for left in project.job.iterdir():
        # `runs`: files of a checkpoint that was being written at that moment
        assert left.name in ("lock", "failures.jsonl", "status.json", "control.sock", "runs"), left


def test_another_run_of_the_job_ends_it(tmp_path: Path) -> None:
    project = Moved(tmp_path)

    def moved() -> None:
        other = Project(tmp_path, url=None)
        other.options["execution.checkpointing.interval"] = "0"
        other.run()

    project.moved = moved  # type: ignore[method-assign]
    with pytest.raises(JobLocked, match="another run of job j was begun"):
        project.run()
    assert project.state()["state"] == "FINISHED"  # the other's
