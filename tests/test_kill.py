"""Jobs killed at random moments and at each fault point: outputs as if nothing had happened. The long form: kill.py."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import kill
import pytest
from harness.seed import SEED, said

from sqlstream.runtime import faults


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> kill.Bench:
    return kill.Bench(tmp_path_factory.mktemp("kill"), 8_000, SEED)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> kill.Bench:
    return kill.Bench(tmp_path_factory.mktemp("faults"), 3_000, SEED)


def test_killed_at_random(bench: kill.Bench) -> None:
    """At least 25 SIGKILLs in jobs that all end with the right output."""
    outcome = kill.Outcome()
    n = 0
    while outcome.kills < 25:
        for name in kill.SETS:
            try:
                kill.kill_until_done(bench, name, SEED + n, 12, outcome)
            except AssertionError as e:
                raise AssertionError(said(str(e))) from e
            n += 1
    print(outcome)


@pytest.mark.parametrize("name, point", [(list(kill.SETS)[i % 2], point) for i, point in enumerate(faults.POINTS)])
def test_killed_at_a_fault_point(small: kill.Bench, name: str, point: str) -> None:
    """Two lives end at the point, the third one ends well."""
    small.prepare(name)
    place = small.place(name)
    arguments = ["run", "job.sql", "-D", "pipeline.name=kill", "-D", "execution.checkpointing.interval=10 ms"]
    arguments += ["-D", "execution.epoch.max-rows=250"]
    # Reached in a first life: the second checkpoint's. What only a start has: that of a job with a checkpoint.
    starting = point in ("republished", "restored")
    with small.watcher(name, place) as watcher:
        if starting:
            assert kill.run(place, arguments, "after-manifest:2")[0] == -signal.SIGKILL
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


@pytest.mark.parametrize("point", ["after-prepare", "after-upload", "before-manifest", "mid-publish", "restored"])
def test_an_error_at_a_fault_point(small: kill.Bench, point: str) -> None:
    """An error instead of a kill: told without a traceback, and the job resumes."""
    small.prepare("append")
    place = small.place("append")
    arguments = ["run", "job.sql", "-D", "pipeline.name=kill", "-D", "execution.checkpointing.interval=10 ms"]
    arguments += ["-D", "execution.epoch.max-rows=250", "-D", "parallelism.default=2"]
    with small.watcher("append", place) as watcher:
        status, said = kill.run(place, arguments, f"{point}:{1 if point == 'restored' else 3}:raise")
        assert (status, f"fault at {point}" in said) == (1, True), said
        assert json.loads((place / ".sqlstream/kill/job.json").read_text())["state"] == "FAILED"
        status, said = kill.run(place, arguments)
        assert status == 0, said
    assert not watcher.problems, watcher.problems
    small.check("append", place)


def test_every_fault_point_is_somewhere() -> None:
    files = {p.stem: p.read_text() for p in (Path(faults.__file__).parent).glob("*.py")}
    batch = files.pop("batch_job")  # its job passes some of them, once each
    source = "".join(files.values())
    for name in faults.POINTS:
        assert source.count(f'faults.point("{name}")') == 1 and batch.count(f'faults.point("{name}")') <= 1, name
