"""A job that is asked things, and has faults where it reads, does and answers that, in savepoints, and between attempts."""

from __future__ import annotations

import signal
from pathlib import Path

import kill
import pytest
from harness.asking import Asker, Asking
from harness.seed import SEED

OPTIONS = [
    "run", "job.sql", "-D", "pipeline.name=kill", "-D", "execution.checkpointing.interval=10 ms",
    "-D", "execution.epoch.max-rows=100", "-D", "parallelism.default=2",
]  # fmt: skip
REQUESTS = ("checkpoint", "savepoint", "restart", "stop with savepoint")
CONTROL = ("request-read", "before-request", "before-answer")
SAVING = ("before-savepoint", "mid-savepoint", "before-metadata", "after-metadata")
CASES = [
    *((point, request) for point in CONTROL for request in REQUESTS),
    *((point, request) for point in SAVING for request in ("savepoint", "stop with savepoint")),
    ("between-attempts", "restart"),
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> kill.Bench:
    return kill.Bench(tmp_path_factory.mktemp("control"), 2_000, SEED)


@pytest.mark.share(6)
@pytest.mark.parametrize("action", ["kill", "raise", "delay"])
@pytest.mark.parametrize("point, request_", CASES)
def test_a_fault_where_something_is_asked(bench: kill.Bench, point: str, request_: str, action: str) -> None:
    """The job is killed; or who asked is told, or loses the connection, and the job goes on; and all rows are right."""
    name = list(kill.SETS)[CASES.index((point, request_)) % 2]
    bench.prepare(name)
    place = bench.place(name)
    fatal = action == "raise" and point == "between-attempts"
    with bench.watcher(name, place) as watcher:
        # The first request passes, and the job has state then; the second one meets the fault.
        life = kill.start(place, OPTIONS, f"{point}:{2 if point in CONTROL else 1}:{action}")
        with Asker(place / ".sqlstream/kill", (Asking("checkpoint"), Asking(request_))) as asker:
            status = life.wait()
        assert asker.answer("checkpoint") is not None, (asker.refused, life.text())
        if action == "kill":
            assert status == -signal.SIGKILL, (status, life.text())
            # a restart is answered when the job knows of it
            assert bool(asker.refused) == (point != "between-attempts"), asker.answers
        elif fatal:
            assert status == 1 and "fault at between-attempts" in life.text(), life.text()
        else:
            assert status == 0, life.text()
            told = [message for _, message in asker.refused]
            if action == "delay":  # it may have come to its end meanwhile
                assert all("has ended" in t or "ended before" in t or "has finished" in t for t in told), told
            else:
                expected = "ended before it answered" if point == "before-answer" else f"fault at {point}"
                assert told and all(expected in t for t in told), told
        for made in (place / "saved").glob("*"):
            assert action == "kill" or (made / "_metadata").exists(), "what failed has left something"
        status, said = kill.run(place, OPTIONS)
        assert status == 0, said
    assert not watcher.problems, watcher.problems
    bench.check(name, place)


def test_a_client_that_is_lost_leaves_the_control_alone(bench: kill.Bench) -> None:
    """Whose answer fails loses the connection; the next one is answered."""
    bench.prepare("append")
    place = bench.place("append")
    life = kill.start(place, OPTIONS, "before-answer:1-2:raise")
    asked = tuple(Asking("checkpoint") for _ in range(4))
    with Asker(place / ".sqlstream/kill", asked) as asker:
        assert life.wait() == 0, life.text()
    assert [name for name, _ in asker.refused] == ["checkpoint"] * 2 and len(asker.answers) == 2
    bench.check("append", place)


@pytest.mark.slow
def test_savepoints_of_a_job_that_is_restarted(bench: kill.Bench, tmp_path: Path) -> None:
    """A branch begins from each that was answered, beside what was written up to there (`kill.branch`)."""
    outcome = kill.Outcome()
    n = 0
    while not (outcome.branches and outcome.answered["savepoint"] and outcome.answered["restart"]):
        kill.kill_until_done(bench, list(kill.SETS)[n % 2], SEED + n, 6, outcome)
        n += 1
