"""Restart strategies against scripted sequences of failures: delays and attempts as Flink's documentation has them."""

from __future__ import annotations

import errno
import random
import threading

import duckdb
import pytest

from sqlstream import duck
from sqlstream.checkpoint.history import History
from sqlstream.checkpoint.lock import LockLost
from sqlstream.errors import CheckpointError, DataError, OptionError, RunError
from sqlstream.options import SessionOptions
from sqlstream.runtime.checkpoints import TooManyFailed, TooSlow
from sqlstream.runtime.progress import Progress
from sqlstream.runtime.restarts import (
    ExponentialDelay,
    FailureRate,
    FixedDelay,
    NoRestart,
    RestartStrategy,
    strategy_of,
)
from sqlstream.runtime.supervisor import Supervisor


def delays(strategy: RestartStrategy, times: list[float]) -> list[float | None]:
    """What it says of failures at these times."""
    return [strategy.failed(t) for t in times]


def test_none() -> None:
    assert delays(NoRestart(), [0.0]) == [None]


def test_fixed_delay_has_so_many_attempts_however_far_apart() -> None:
    assert delays(FixedDelay(3, 10.0), [0, 11, 1e6, 2e6]) == [10.0, 10.0, 10.0, None]
    assert delays(FixedDelay(0, 10.0), [0]) == [None]


def test_failure_rate_is_exceeded_within_the_interval() -> None:
    """Flink's example: 3 in 5 minutes, a delay of 10 s."""
    assert delays(FailureRate(3, 300.0, 10.0), [0, 60, 120, 299]) == [10.0, 10.0, 10.0, None]
    assert delays(FailureRate(3, 300.0, 10.0), [0, 60, 120, 301, 361, 421]) == [10.0] * 6
    assert delays(FailureRate(1, 60.0, 1.0), [0, 61, 122, 150]) == [1.0, 1.0, 1.0, None]


def test_exponential_delay_grows_to_its_bound() -> None:
    strategy = ExponentialDelay(1.0, 60.0, 1.5, 3600.0, 0.0)
    now, seen = 0.0, []
    for _ in range(14):
        delay = strategy.failed(now)
        assert delay is not None
        seen.append(delay)
        now += delay + 0.5  # it fails again half a second after it was started
    assert seen[:4] == [1.0, 1.5, 2.25, 3.375]
    assert seen == [pytest.approx(min(1.5**n, 60.0)) for n in range(14)] and seen[-1] == 60.0


def test_exponential_delay_begins_anew_after_a_good_time() -> None:
    """The time counts from when the attempt was started, not from the failure before."""
    strategy = ExponentialDelay(1.0, 60.0, 2.0, 100.0, 0.0)
    assert delays(strategy, [0, 1, 3]) == [1.0, 2.0, 4.0]  # started at 7
    assert strategy.failed(106.9) == 8.0  # it ran 99.9 s; started at 114.9
    assert strategy.failed(214.9) == 1.0


def test_exponential_delay_may_have_a_number_of_attempts() -> None:
    """They count anew when the delay does."""
    strategy = ExponentialDelay(1.0, 60.0, 2.0, 100.0, 0.0, attempts=2)
    assert delays(strategy, [0, 2, 5]) == [1.0, 2.0, None]
    strategy = ExponentialDelay(1.0, 60.0, 2.0, 100.0, 0.0, attempts=2)
    assert delays(strategy, [0, 2, 104, 106, 109]) == [1.0, 2.0, 1.0, 2.0, None]


def test_jitter_is_a_part_of_the_delay_and_never_leaves_its_bounds() -> None:
    found = []
    for seed in range(200):
        strategy = ExponentialDelay(1.0, 10.0, 4.0, 3600.0, 0.25, rng=random.Random(seed))
        found.append(delays(strategy, [0, 2, 8]))
    first, second, third = ([f[n] for f in found] for n in range(3))
    assert all(d is not None and 1.0 <= d <= 1.25 for d in first) and len(set(first)) > 50
    assert min(second) < 3.2 and max(second) > 4.8 and all(d is not None and 3.0 <= d <= 5.0 for d in second)
    assert all(d is not None and 7.5 <= d <= 10.0 for d in third) and 10.0 in third


def test_defaults_are_those_of_flink() -> None:
    strategy = strategy_of(SessionOptions(), checkpoints=True)
    assert isinstance(strategy, ExponentialDelay)
    assert (strategy.initial, strategy.longest, strategy.multiplier) == (1.0, 60.0, 1.5)
    assert (strategy.reset, strategy.jitter, strategy.attempts) == (3600.0, 0.1, None)
    assert isinstance(strategy_of(SessionOptions(), checkpoints=False), NoRestart)
    fixed = strategy_of(SessionOptions(restart="fixed-delay"), checkpoints=False)
    assert isinstance(fixed, FixedDelay) and (fixed.attempts, fixed.delay) == (1, 1.0)
    rate = strategy_of(SessionOptions(restart="failure-rate"), checkpoints=True)
    assert isinstance(rate, FailureRate) and (rate.most, rate.interval, rate.delay) == (1, 60.0, 1.0)
    with pytest.raises(OptionError, match="initial-backoff.*2 min is more than max-backoff, 1 min"):
        strategy_of(SessionOptions(initial_backoff=120_000_000), checkpoints=True)


@pytest.mark.parametrize("name", ["off", "disable", "none", "FixedDelay", "failurerate", "exponentialdelay"])
@pytest.mark.parametrize("key", ["restart-strategy", "restart-strategy.type"])
def test_names_are_those_of_flink(key: str, name: str) -> None:
    kinds = {"f": "fixed-delay", "e": "exponential-delay"}
    meant = "failure-rate" if name == "failurerate" else kinds.get(name.lower()[0], "none")
    assert SessionOptions.of({key: name}).restart == meant


# ---- the supervisor


class Waiting:
    """A clock that does not wait: waiting takes it on. `at`: what happens at times."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.waited: list[float] = []
        self.at: list[tuple[float, threading.Event]] = []

    def now(self) -> int:
        return int(self.seconds * 1e6)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        end = self.seconds + seconds
        for when, what in self.at:
            if self.seconds <= when < end:
                what.set()
                if what is event:
                    end = when
        self.waited.append(end - self.seconds)
        self.seconds = end
        return event.is_set()


class Job:
    """Attempts that fail as a script says: (seconds that it runs, its error or None)."""

    def __init__(
        self, strategy: RestartStrategy, script: list[tuple[float, Exception | None]], history: History
    ) -> None:
        self.clock, self.progress, self.stop = Waiting(), Progress(), threading.Event()
        self.said: list[str] = []
        self.recorded: list[tuple[str, str]] = []
        self.script = script
        self.supervisor = Supervisor(
            strategy,
            self.progress,
            self.clock,  # type: ignore[arg-type]
            self.stop,
            self.said.append,
            lambda state, message: self.recorded.append((state, message)),
            history,
        )

    def attempt(self) -> None:
        seconds, error = self.script.pop(0)
        self.supervisor.running()
        self.progress.state = "RUNNING"
        self.clock.seconds += seconds
        if error is not None:
            raise error


def test_attempts_are_made_told_and_kept(tmp_path: object) -> None:
    history = History(tmp_path / "failures.jsonl")  # type: ignore[operator]
    job = Job(FixedDelay(5, 7.0), [(3, RunError("no disk")), (4, RunError("no net", hint="h")), (5, None)], history)
    job.supervisor.run(job.attempt)
    assert job.clock.waited == [7.0, 7.0] and job.progress.attempt == 3 and job.clock.seconds == 126.0
    assert [state for state, _ in job.recorded] == ["RESTARTING", "RESTARTING"]
    assert job.recorded[0][1].startswith("no disk; attempt 2 at 20")
    assert job.said == [
        "warning: attempt 1 failed: no disk; the next one begins in 7.0 s",
        "warning: attempt 2 failed: no net; the next one begins in 7.0 s (hint: h)",
    ]
    kept = history.read()
    assert [(k["attempt"], k["message"], k["delay"], k["transient"]) for k in kept] == [
        (1, "no disk", 7.0, True),
        (2, "no net", 7.0, True),
    ]
    assert (job.progress.failure, job.progress.backoff_until) == ("no net", None)


def test_the_last_failure_is_the_jobs(tmp_path: object) -> None:
    history = History(tmp_path / "failures.jsonl")  # type: ignore[operator]
    job = Job(FixedDelay(1, 7.0), [(3, RunError("one")), (4, RunError("two"))], history)
    with pytest.raises(RunError, match="two"):
        job.supervisor.run(job.attempt)
    assert job.said[-1] == "warning: attempt 2 was the last one: restart-strategy.fixed-delay.attempts = 1"
    assert history.read()[-1]["delay"] is None


def test_a_wrong_record_is_no_reason_for_another_attempt(tmp_path: object) -> None:
    history = History(tmp_path / "failures.jsonl")  # type: ignore[operator]
    job = Job(FixedDelay(9, 7.0), [(3, DataError("malformed record")), (4, None)], history)
    with pytest.raises(DataError):
        job.supervisor.run(job.attempt)
    assert job.clock.waited == [] and history.read()[0]["transient"] is False


def test_what_fails_before_anything_ran_is_told_at_once(tmp_path: object) -> None:
    history = History(tmp_path / "failures.jsonl")  # type: ignore[operator]
    job = Job(FixedDelay(9, 7.0), [], history)

    def attempt() -> None:
        raise RunError("no bucket")

    with pytest.raises(RunError, match="no bucket"):
        job.supervisor.run(attempt)
    assert job.clock.waited == [] and history.read() == []


def test_a_job_that_waits_can_be_stopped(tmp_path: object) -> None:
    history = History(tmp_path / "failures.jsonl")  # type: ignore[operator]
    job = Job(FixedDelay(9, 60.0), [(3, RunError("one"))], history)
    job.clock.at = [(110.0, job.stop)]
    job.supervisor.run(job.attempt)
    assert job.progress.state == "CANCELED" and job.recorded[-1] == ("CANCELED", "")
    assert job.clock.seconds == 110.0


def endless() -> ExponentialDelay:
    return ExponentialDelay(1.0, 60.0, 1.5, 3600.0, 0.0)


def test_what_fails_in_the_same_way_and_gets_no_further_has_an_end(tmp_path: object) -> None:
    """Nothing outside says that it may pass: as a damaged file does, each time at the same record."""
    history = History(tmp_path / "failures.jsonl")  # type: ignore[operator]
    job = Job(endless(), [(3, RunError("in/a.gz: the data is damaged"))] * 20, history)
    with pytest.raises(RunError, match="damaged"):
        job.supervisor.run(job.attempt)
    assert len(history.read()) == 10 and history.read()[-1]["delay"] is None
    assert sum(job.clock.waited) == pytest.approx(sum(1.5**n for n in range(9)))
    assert job.said[-1] == (
        "warning: attempt 10 was the last one: 10 failed in the same way and got no further, so another would, too"
    )


def named(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        named(RunError("cannot write"), OSError(errno.ENOSPC, "No space left on device")),
        named(CheckpointError("cannot write"), ConnectionError("away")),
        named(TooManyFailed("checkpoint 3 failed"), TooSlow("it was not complete after 10 min")),
        LockLost("the directory is not what it was"),
        MemoryError(),
        duck.translate(duckdb.IOException("Could not write: No space left on device")),
    ],
    ids=repr,
)
def test_what_is_away_may_be_so_for_long(tmp_path: object, error: Exception) -> None:
    job = Job(endless(), [*[(3.0, error)] * 200, (5.0, None)], History(tmp_path / "failures.jsonl"))  # type: ignore[operator]
    job.supervisor.run(job.attempt)
    assert job.progress.attempt == 201 and max(job.clock.waited) == 60.0


def test_a_job_that_gets_further_or_fails_otherwise_goes_on(tmp_path: object) -> None:
    script: list[tuple[float, Exception | None]] = [(3.0, RunError("odd" if n % 2 else "even")) for n in range(50)]
    job = Job(endless(), [*script, (5.0, None)], History(tmp_path / "failures.jsonl"))  # type: ignore[operator]
    job.supervisor.run(job.attempt)
    job = Job(endless(), [*[(3.0, RunError("x"))] * 50, (5.0, None)], History(tmp_path / "failures.jsonl"))  # type: ignore[operator]

    def attempt() -> None:
        job.progress.checkpoint = job.progress.attempt // 5  # one in five attempts takes one
        job.attempt()

    job.supervisor.run(attempt)
    assert job.progress.attempt == 51


def test_a_number_of_attempts_that_somebody_has_chosen_counts(tmp_path: object) -> None:
    """Flink's fixed-delay has so many; so has exponential-delay with attempts-before-reset-backoff."""
    for strategy in (FixedDelay(15, 1.0), ExponentialDelay(1.0, 60.0, 1.5, 3600.0, 0.0, attempts=15)):
        job = Job(strategy, [(3.0, RunError("x"))] * 20, History(tmp_path / "failures.jsonl"))  # type: ignore[operator]
        with pytest.raises(RunError):
            job.supervisor.run(job.attempt)
        assert job.progress.attempt == 16
