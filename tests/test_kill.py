"""Jobs killed at random moments and at each fault point: outputs as if nothing had happened. The long form: kill.py."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from pathlib import Path

import kill
import pytest
from harness.output_readers import successes
from harness.seed import SEED, said

from sqlstream import faults


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> kill.Bench:
    return kill.Bench(tmp_path_factory.mktemp("kill"), 8_000, SEED)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> kill.Bench:
    return kill.Bench(tmp_path_factory.mktemp("faults"), 3_000, SEED)


def test_killed_at_random(bench: kill.Bench) -> None:
    """At least 15 SIGKILLs in jobs that all end with the right output."""
    outcome = kill.Outcome()
    n = 0
    while outcome.kills < 15:
        for name in kill.SETS:
            try:
                kill.kill_until_done(bench, name, SEED + n, 12, outcome)
            except AssertionError as e:
                raise AssertionError(said(str(e))) from e
            n += 1
    print(outcome)


def test_killed_at_random_at_least_once(bench: kill.Bench) -> None:
    """With rows shown epoch by epoch nothing is lost, and nothing is made up."""
    outcome = kill.Outcome()
    n = 100
    while outcome.kills < 6:
        kill.kill_until_done(bench, "append", SEED + n, 8, outcome, at_least_once=True)
        n += 1


def test_what_is_rejected_is_what_is_no_json(small: kill.Bench) -> None:
    """What the rounds compare with: each line that was cut short, once."""
    small.prepare("append")
    lines = [line for p in small.directory.glob("bids/*.json") for line in p.read_text().splitlines()]
    found = Counter(json.loads(row)["bad_record"] for row in small.expected["rejected"].elements())
    assert found == Counter(line for line in lines if not line.endswith("}")) != Counter()


FOLDING = (
    "before-copy", "after-delta", "before-fold", "mid-fold", "before-snapshot", "after-snapshot", "after-fold",
    "after-leave", "after-fetch",
)  # fmt: skip
SAVING = ("before-savepoint", "mid-savepoint", "before-metadata", "after-metadata")
SAVEPOINTS = [
    "-D", "execution.checkpointing.savepoint.interval=20 ms", "-D", "execution.checkpointing.savepoint-dir=saved",
]  # fmt: skip
# What is reached when somebody asks: test_control_faults.py; when a job begins from a savepoint: test_savepoints.py; a
# changed one: test_changed_jobs.py.
ELSEWHERE = (
    "request-read", "before-request", "before-answer", "between-attempts", "mid-recovery", "after-recovery",
    "before-changed", "after-changed",
)  # fmt: skip
REACHED = [p for p in faults.POINTS if p not in ELSEWHERE]


@pytest.mark.share(3)
@pytest.mark.parametrize("name, point", [(list(kill.SETS)[i % 2], point) for i, point in enumerate(REACHED)])
def test_killed_at_a_fault_point(small: kill.Bench, name: str, point: str) -> None:
    """Two lives end at the point, the third one ends well."""
    small.prepare(name)
    place = small.place(name)
    arguments = ["run", "job.sql", "-D", "pipeline.name=kill", "-D", "execution.checkpointing.interval=10 ms"]
    arguments += ["-D", "execution.epoch.max-rows=250"]
    if point in (*FOLDING, "before-verifying"):
        name, arguments = "changes", [*arguments, *kill.COLD]
        small.prepare(name)
        place = small.place(name)
    if point in SAVING:
        name, arguments = "changes", [*arguments, *SAVEPOINTS]
        small.prepare(name)
        place = small.place(name)
    # Reached in a first life: the second checkpoint's. What only a start has: that of a job with a checkpoint.
    starting = point in ("republished", "mid-restore", "restored", "before-verifying")
    with small.watcher(name, place) as watcher:
        if starting:
            assert kill.run(place, arguments, "after-manifest:4")[0] == -signal.SIGKILL
        for parallelism, nth in ((1, 1 if starting else 2), (2, 1)):
            nth = 1 if point in ("job-recorded", "before-finished") else nth
            life = [*arguments, "-D", f"parallelism.default={parallelism}"]
            status, said = kill.run(place, life, f"{point}:{nth}")
            if point == "before-finished" and parallelism == 2:
                assert (status, "has finished" in said) == (0, True)
                continue
            assert status == -signal.SIGKILL, (status, said)
        status, said = kill.run(place, [*arguments, "-D", "parallelism.default=3"])
        assert status == 0, said
    assert not watcher.problems, watcher.problems
    small.check(name, place)
    state = json.loads((place / ".sqlstream/kill/job.json").read_text())
    assert state["state"] == "FINISHED"
    assert not (place / ".sqlstream/kill/work").exists()


def test_killed_again_before_the_next_checkpoint(small: kill.Bench) -> None:
    """What a resumed job has published and then staged anew has the names of what was staged before."""
    small.prepare("changes")
    place = small.place("changes")
    arguments = ["run", "job.sql", "-D", "pipeline.name=kill", "-D", "execution.checkpointing.interval=10 ms"]
    arguments += ["-D", "execution.epoch.max-rows=250", "-D", "parallelism.default=2"]
    with small.watcher("changes", place) as watcher:
        for fault in ("after-manifest:1", "before-manifest:1", "before-manifest:1"):
            status, said = kill.run(place, arguments, fault)
            assert status == -signal.SIGKILL, (status, said)
        status, said = kill.run(place, arguments)
        assert status == 0, said
    assert not watcher.problems, watcher.problems
    small.check("changes", place)


@pytest.mark.share(3)
@pytest.mark.parametrize(
    "point", ["after-prepare", "mid-upload", "after-upload", "before-manifest", "mid-publish", "restored", *FOLDING]
)
def test_an_error_at_a_fault_point(small: kill.Bench, point: str) -> None:
    """An error instead of a kill: told without a traceback, and the job resumes."""
    name = "changes" if point in FOLDING else "append"
    small.prepare(name)
    place = small.place(name)
    arguments = ["run", "job.sql", "-D", "pipeline.name=kill", "-D", "execution.checkpointing.interval=10 ms"]
    arguments += ["-D", "execution.epoch.max-rows=250", "-D", "parallelism.default=2"]
    arguments += [*(kill.COLD if point in FOLDING else []), "-D", "restart-strategy.type=none"]
    with small.watcher(name, place) as watcher:
        status, said = kill.run(place, arguments, f"{point}:{1 if point == 'restored' else 2}:raise")
        assert (status, f"fault at {point}" in said) == (1, True), said
        assert json.loads((place / ".sqlstream/kill/job.json").read_text())["state"] == "FAILED"
        status, said = kill.run(place, arguments)
        assert status == 0, said
    assert not watcher.problems, watcher.problems
    small.check(name, place)


BACKGROUND = ("mid-upload", "after-upload", "before-manifest", "after-manifest")
QUICK = ["-D", "restart-strategy.exponential-delay.initial-backoff=10 ms"]


@pytest.mark.share(3)
@pytest.mark.parametrize(
    "point", [*BACKGROUND, "after-prepare", "before-publish", "mid-publish", "after-publish", *FOLDING]
)
def test_an_error_is_tried_again(small: kill.Bench, point: str) -> None:
    """The process starts the job again, from its last checkpoint: once for each of three errors in a row."""
    name = "changes" if point in FOLDING else "append"
    small.prepare(name)
    place = small.place(name)
    arguments = ["run", "job.sql", "-D", "pipeline.name=kill", "-D", "execution.checkpointing.interval=10 ms"]
    arguments += ["-D", "execution.epoch.max-rows=250", "-D", "parallelism.default=2", *QUICK]
    arguments += kill.COLD if point in FOLDING else []
    with small.watcher(name, place) as watcher:
        status, said = kill.run(place, arguments, f"{point}:4-6:raise")
        assert (status, "the next one begins in" in said, f"fault at {point}" in said) == (0, True, True), said
    assert not watcher.problems, watcher.problems
    small.check(name, place)
    told = [json.loads(line) for line in (place / ".sqlstream/kill/failures.jsonl").read_text().splitlines()]
    assert all(t["transient"] and f"fault at {point}" in t["message"] for t in told) and 1 <= len(told) <= 3
    assert json.loads((place / ".sqlstream/kill/job.json").read_text())["state"] == "FINISHED"


@pytest.mark.share(4)
@pytest.mark.parametrize("backend", range(len(kill.BACKENDS)))
@pytest.mark.parametrize("point", BACKGROUND)
def test_checkpoints_that_fail_are_tolerated(small: kill.Bench, point: str, backend: int) -> None:
    """What they had taken goes with the next one. After a kill the job goes on from the last that is complete."""
    name = list(kill.SETS)[backend % 2]
    small.prepare(name)
    place = small.place(name)
    arguments = ["run", "job.sql", "-D", "pipeline.name=kill", "-D", "execution.checkpointing.interval=10 ms"]
    arguments += ["-D", "execution.epoch.max-rows=250", "-D", "parallelism.default=2", *kill.BACKENDS[backend]]
    arguments += ["-D", "execution.checkpointing.tolerable-failed-checkpoints=100", "-D", "restart-strategy.type=none"]
    with small.watcher(name, place) as watcher:
        status, said = kill.run(place, arguments, f"{point}:4-11:raise")
        assert status == 0 and "warning: checkpoint " in said and f": fault at {point}" in said, said
    assert not watcher.problems, watcher.problems
    small.check(name, place)
    assert not (place / ".sqlstream/kill/failures.jsonl").exists()


@pytest.mark.share(3)
@pytest.mark.parametrize("point", [*FOLDING, "mid-upload", "after-upload", "after-manifest", "mid-publish"])
def test_a_delay_at_a_fault_point(small: kill.Bench, point: str) -> None:
    """All else goes on meanwhile: other epochs, rows that leave and come back, the next fold."""
    small.prepare("changes")
    place = small.place("changes")
    arguments = ["run", "job.sql", "-D", "pipeline.name=kill", "-D", "execution.checkpointing.interval=10 ms"]
    arguments += ["-D", "execution.epoch.max-rows=100", *kill.COLD]
    with small.watcher("changes", place) as watcher:
        status, said = kill.run(place, arguments, f"{point}:2:delay")
        assert status == 0, said
    assert not watcher.problems, watcher.problems
    small.check("changes", place)


def test_partitions_are_complete_while_the_job_runs(small: kill.Bench) -> None:
    """Not only at its end: killed late, the first ones have success files, and the last ones do not."""
    small.prepare("append")
    place = small.place("append")
    arguments = ["run", "job.sql", "-D", "pipeline.name=kill", "-D", "execution.checkpointing.interval=10 ms"]
    arguments += ["-D", "execution.epoch.max-rows=250"]
    with small.watcher("append", place) as watcher:
        status, said = kill.run(place, arguments, "before-finished:1")
        assert status == -signal.SIGKILL, said
    assert not watcher.problems, watcher.problems
    found = {p.parent.name for p in successes(place / "out/parted")}
    assert found == {p.parent.name for p in kill.published(place / "out/parted")} and len(found) >= 4
    shutil.rmtree(place)
    place = small.place("append")
    with small.watcher("append", place) as watcher:
        status, said = kill.run(place, arguments, "after-publish:6")
        assert status == -signal.SIGKILL, said
    assert not watcher.problems, watcher.problems
    early = {p.parent.name for p in successes(place / "out/parted")}
    assert set() < early < found


def test_every_fault_point_is_somewhere() -> None:
    package = Path(faults.__file__).parent
    parts = ("runtime", "checkpoint", "savepoint")
    files = {p: p.read_text() for part in parts for p in (package / part).glob("*.py")}
    batch = files.pop(package / "runtime" / "batch_job.py")  # its job passes some of them, once each
    source = "".join(files.values())
    for name in faults.POINTS:
        assert source.count(f'faults.point("{name}")') == 1 and batch.count(f'faults.point("{name}")') <= 1, name
