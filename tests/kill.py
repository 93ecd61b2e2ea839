"""Kills durable jobs at random moments until they are done, and checks that nothing is lost, repeated or half seen.

    python tests/kill.py --minutes 30 --seed 7

Checkpoints fail, too, and attempts that are started again within a process, by errors at fault points. Somebody asks for
savepoints, restarts and ends of the job at random moments.

A round makes inputs, and takes jobs with many sinks (append-only ones, with partitions among them; changelog sinks) and
Nexmark queries with state. It takes what an undisturbed run gives, then runs the job again and again at random
parallelism, with random backends: SIGKILL after a random time or at a random fault point, sometimes SIGINT or SIGTERM. A job that
was stopped with a savepoint goes on by itself, or from that, moved, as a new run. From one of the savepoints that are left another
job begins elsewhere, beside what was written up to there. What a drained job has written must be the answer over what it had read.
Meanwhile `Watcher` reads the sinks' directories as any reader would.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.asking import SAVED, Asker, Asking
from harness.kill_jobs import FUNCTIONS, NEXMARK, SETS, WORK, cut_inputs, write_inputs
from harness.lives import Run, run, start
from harness.output_readers import Watcher, checkpoint_of, fold, lines, published, successes

from sqlstream import faults
from sqlstream.checkpoint.history import History
from sqlstream.checkpoint.manifest import Manifest
from sqlstream.checkpoint.statistics import read

__all__ = ["BACKENDS", "COLD", "SETS", "Bench", "Outcome", "Run", "Watcher", "fold", "kill_until_done", "lines",
           "published", "run", "start"]  # fmt: skip


@dataclass
class Outcome:
    """What happened so far."""

    kills: int = 0
    errors: int = 0
    stops: int = 0
    lives: int = 0
    restarts: int = 0  # within a process
    failed: int = 0  # checkpoints
    files: int = 0
    jobs: int = 0
    restored: int = 0  # from a savepoint of a job that was stopped
    branches: int = 0  # jobs that began elsewhere, from a savepoint of one that went on
    drained: int = 0
    points: Counter[str] = field(default_factory=Counter)  # reached, by what happened there
    answered: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


class Bench:
    """Inputs and what undisturbed runs give of them."""

    def __init__(self, directory: Path, rows: int, seed: int) -> None:
        write_inputs(directory, rows, seed)
        self._begin(directory, rows)

    def _begin(self, directory: Path, rows: int) -> None:
        self.directory = directory
        self.rows = rows
        self.expected: dict[str, Counter[str]] = {}
        self._jobs = 0

    def cut(self, directory: Path, positions: dict[str, int]) -> Bench:
        """Another one, with the first rows of each file only."""
        out = Bench.__new__(Bench)
        cut_inputs(self.directory, directory, positions)
        out._begin(directory, self.rows)
        return out

    def prepare(self, name: str) -> None:
        """The undisturbed run of a job, once."""
        sinks = WORK[name].sinks
        if sinks[0].name in self.expected:
            return
        place = self.place(name)
        status, said = run(place, ["run", "job.sql"])
        assert status == 0, said
        for s in sinks:
            found = lines(place / "out" / s.name)
            self.expected[s.name] = fold(found, s.name) if s.changelog else Counter(found)

    def place(self, name: str) -> Path:
        """A new directory with the script of a job."""
        self._jobs += 1
        place = self.directory / f"{name}-{self._jobs}"
        place.mkdir()
        (place / "job.sql").write_text(WORK[name].sql)
        (place / "kill_functions.py").write_text(FUNCTIONS)
        return place

    def check(self, name: str, place: Path, at_least: bool = False, complete: bool = True) -> int:
        """That the sinks hold what an undisturbed run gives (`at_least`: each row so often, or more). `complete`: and say
        so of their partitions. The number of files."""
        files = 0
        for s in WORK[name].sinks:
            directory = place / "out" / s.name
            files += len(published(directory))
            found = lines(directory)
            got = fold(found, str(directory)) if s.changelog else Counter(found)
            missing, extra = self.expected[s.name] - got, got - self.expected[s.name]
            if at_least:
                extra = Counter({row: n for row, n in extra.items() if row not in self.expected[s.name]})
            assert not missing and not extra, (
                f"{directory}: {missing.total()} rows missing, {extra.total()} too many; "
                f"missing {list(missing)[:3]}, extra {list(extra)[:3]}"
            )
            if s.partitions and complete:
                without = {p.parent for p in published(directory)} - {p.parent for p in successes(directory)}
                assert not without, f"no success file in {without}"
            left = [p for p in (directory / "_staging").rglob("*") if p.is_file()]
            assert not left, f"left in staging: {left}"
        return files

    def watcher(self, name: str, place: Path) -> Watcher:
        expected = {s.name: self.expected[s.name] for s in WORK[name].sinks if not s.changelog}
        return Watcher(place / "out", expected)


# Rows in RocksDB that are reached by key are out of memory after each epoch, and folds go on all the time.
COLD = [
    "-D", "state.backend.type=rocksdb", "-D", "state.backend.hot-rows=1",
    "-D", "state.changelog.periodic-materialize.interval=1 ms",
]  # fmt: skip
BACKENDS: tuple[list[str], ...] = (
    ["-D", "state.backend.type=hashmap"],
    [*COLD[:2], "-D", "state.changelog.enabled=false"],
    COLD,
    [
        *COLD[:2],
        "-D",
        "state.changelog.periodic-materialize.interval=50 ms",
        "-D",
        "taskmanager.memory.managed.size=1mb",
    ],
)
AT_LEAST_ONCE = ["-D", "execution.checkpointing.mode=AT_LEAST_ONCE"]


def arguments(r: random.Random, rows: int, slow: bool = True) -> list[str]:
    """Of one life of a job: any state backend, any parallelism, any checkpoint interval, small epochs."""
    epoch = r.choice((rows // 150, rows // 80, rows // 40)) if slow else rows // 10
    interval = r.choice((50, 100, 200))
    tolerable = r.choice((0, 0, 3, 100))
    return [
        "run", "job.sql", "-D", "pipeline.name=kill", "-D", f"execution.checkpointing.interval={interval} ms",
        "-D", f"parallelism.default={r.randint(1, 3)}", "-D", f"execution.epoch.max-rows={max(epoch, 10)}",
        "-D", f"execution.checkpointing.tolerable-failed-checkpoints={tolerable}",
        "-D", "restart-strategy.exponential-delay.initial-backoff=10 ms",
        "-D", f"restart-strategy.exponential-delay.max-backoff={r.choice((20, 500))} ms",
        *r.choice(BACKENDS),
    ]  # fmt: skip


# ---- how a life ends

RECOVERY = ("mid-recovery", "after-recovery")
CHANGED = ("before-changed", "after-changed")
# What is reached when something was asked, and what that is.
ASKED = {
    "request-read": ("checkpoint", "savepoint", "restart", "stop with savepoint"),
    "before-request": ("checkpoint", "savepoint", "restart", "stop with savepoint"),
    "before-answer": ("checkpoint", "savepoint", "restart", "stop with savepoint"),
    "between-attempts": ("restart",),
    **dict.fromkeys(
        ("before-savepoint", "mid-savepoint", "before-metadata", "after-metadata"), ("savepoint", "stop with savepoint")
    ),
}
ANYTHING = ("savepoint", "savepoint", "restart", "restart", "checkpoint", "stop with savepoint", "stop", "cancel")


@dataclass(frozen=True)
class Moment:
    """A fault point, and what is asked; after so many seconds a signal."""

    fault: str | None
    seconds: float
    signal: int
    asked: tuple[Asking, ...] = ()


def moments(r: random.Random, drains: bool) -> Iterator[Moment]:
    """For ever. `drains`: a job may be drained."""
    points = [p for p in faults.POINTS[:-1] if p not in (*RECOVERY, *CHANGED)]
    while True:
        kind = r.random()
        number = r.choice((0, 0, 1, 2, 3))
        asked = tuple(Asking(r.choice(ANYTHING), r.uniform(0, 0.3)) for _ in range(number))
        if drains and r.random() < 0.04:
            asked = (*asked, Asking("drain", r.uniform(0, 0.3)))
        if kind < 0.45:
            point = r.choice(points)
            if point in ASKED:
                asked = (Asking(r.choice(ASKED[point]), r.uniform(0, 0.2)), *asked)
            yield Moment(fault(r, point), 5.0, signal.SIGKILL, asked)
        elif kind < 0.55:
            yield Moment(None, r.uniform(0.3, 0.8), r.choice((signal.SIGINT, signal.SIGTERM)), asked)
        elif kind < 0.65:
            yield Moment(None, r.uniform(0.0, 0.3), signal.SIGKILL, asked)
        else:
            yield Moment(None, r.uniform(0.3, 0.9), signal.SIGKILL, asked)


def fault(r: random.Random, point: str) -> str:
    """Something happens at this point, at the n-th passing."""
    action = r.choice(("kill", "kill", "raise", "raise", "delay"))
    first = r.randint(1, 2 if point in ASKED else 5)
    times = f"{first}" if action == "kill" else f"{first}-{first + r.choice((0, 1, 4))}"
    return f"{point}:{times}:{action}"


# ---- a job


class Killed:
    """One job that is ended again and again. `begins`: it goes on from this savepoint, as a run of its own."""

    def __init__(
        self, bench: Bench, name: str, place: Path, r: random.Random, outcome: Outcome, more: list[str]
    ) -> None:
        self.bench, self.name, self.place = bench, name, place
        self.job = place / ".sqlstream/kill"
        self._rows = WORK[name].rows or bench.rows
        self._random, self._outcome, self._more = r, outcome, more
        self._recovery: list[str] = []  # options

    def begins(self, saved: Path, fresh: bool) -> None:
        """The next life begins from this savepoint, which is moved. `fresh`: as a new run of a job that has some."""
        moved = saved.rename(self.place / f"moved-{saved.name}")
        self._recovery = ["-D", f"execution.state-recovery.path={moved}", *(["--fresh"] if fresh else [])]

    def live(self, moment: Moment) -> Asker:
        """One life. What it was asked."""
        r, outcome = self._random, self._outcome
        life = start(self.place, [*arguments(r, self._rows), *self._more, *self._recovery], moment.fault)
        outcome.lives += 1
        with Asker(self.job, moment.asked) as asker:
            life.process.join(moment.seconds)
            reached = life.process.exitcode is not None
            if not reached:
                life.signal(moment.signal)
            status = life.wait()
        self._recovery = [a for a in self._recovery if a != "--fresh"]
        answered, refused = asker.counts()
        outcome.answered += answered
        outcome.refused += refused
        point = "" if moment.fault is None else moment.fault.split(":")[0]
        if point and (reached or f"fault at {point}" in life.text()):
            outcome.points[f"{point}:{moment.fault.split(':')[2]}" if moment.fault else ""] += 1
        if status == -signal.SIGKILL:
            outcome.kills += 1
        elif status == 1:
            assert point and f"fault at {point}" in life.text(), f"exit status {status}: {life.text()}"
            outcome.errors += 1
        elif status != 0:
            # A signal that came before Python had its handlers is one more way to die.
            number = moment.signal
            assert not reached and status in (128 + number, -number), f"exit status {status}: {life.text()}"
            outcome.stops += 1
        for name in ("savepoint", "stop with savepoint", "drain"):
            answer = asker.answer(name)
            assert answer is None or (Path(answer["savepoint"]) / "_metadata").exists(), answer
        for path in self.savepoints():
            assert (path / "_metadata").exists(), f"half of a savepoint is seen: {path}"
        return asker if status == 0 else Asker(self.job, ())

    def savepoints(self) -> list[Path]:
        """Those that are there."""
        return sorted((self.place / SAVED).glob("savepoint-*"))

    def newest(self) -> Manifest | None:
        """Of its newest checkpoint."""
        record = json.loads((self.job / "job.json").read_text()) if (self.job / "job.json").exists() else None
        found = [] if record is None else [*(self.job / "runs" / record["run"]).glob("chk-*/manifest.json")]
        if not found:
            return None
        return Manifest.from_json(max(found, key=lambda p: int(p.parent.name[4:])).read_text())

    def over(self) -> bool:
        """Whether nothing is left to do."""
        m = self.newest()
        return m is not None and bool(m.metrics.get("finished") or m.metrics.get("drained"))

    def end(self) -> None:
        """It is left alone until it is done."""
        status, said = run(self.place, [*arguments(self._random, self._rows, slow=False), *self._more, *self._recovery])
        assert status == 0 and self.over(), said
        self._outcome.restarts += sum(f["delay"] is not None for f in History(self.job / "failures.jsonl").read())
        self._outcome.failed += read(self.job).counts.failed
        self._outcome.jobs += 1

    def drained(self) -> dict[str, int] | None:
        """Of a drained job: how many lines it has read of each file."""
        m = self.newest()
        if m is None or not m.metrics.get("drained"):
            return None
        splits: dict[str, Any] = {k: s for source in m.sources.values() for k, s in source.items()}
        return {"/".join(name.split("/")[-2:]): s["rows"] + s.get("bad", 0) for name, s in splits.items()}


def kill_until_done(
    bench: Bench, name: str, seed: int, most: int, outcome: Outcome, at_least_once: bool = False
) -> None:
    """One job, ended `most` times at most, then left alone until it has finished. In exactly-once mode another one begins
    from one of its savepoints, if there is one."""
    r = random.Random(f"{seed}:{name}:{at_least_once}")
    bench.prepare(name)
    place = bench.place(name)
    job = Killed(bench, name, place, r, outcome, AT_LEAST_ONCE if at_least_once else [])
    # such a job may show rows twice: readers see no more than that files stay as they are
    watcher = Watcher(place / "out", {}) if at_least_once else bench.watcher(name, place)
    with watcher:
        for moment in itertools.islice(moments(r, name in SETS and not at_least_once), most):
            asker = job.live(moment)
            if job.over():
                break
            assert not watcher.problems, watcher.problems
            ended = asker.answer("stop with savepoint")
            if ended is not None and not at_least_once and r.random() < 0.6:
                job.begins(Path(ended["savepoint"]), fresh=True)
                outcome.restored += 1
        job.end()
    positions = job.drained()
    if (
        positions is not None
    ):  # windows are closed before their time: readers have seen what an undisturbed run never gives
        outcome.drained += 1
        less = bench.cut(bench.directory / f"read-by-{place.name}", positions)
        less.prepare(name)
        outcome.files += less.check(name, place)
    else:
        assert not watcher.problems, watcher.problems
        outcome.files += bench.check(name, place, at_least_once)
        if not at_least_once:
            branch(bench, name, job, r, outcome)
    shutil.rmtree(place)


def branch(bench: Bench, name: str, job: Killed, r: random.Random, outcome: Outcome) -> None:
    """Another job begins from a savepoint of one that went on, beside what that had written up to there."""
    found = job.savepoints()
    if not found:
        return
    saved = r.choice(found)
    number = json.loads((saved / "_metadata").read_text())["checkpoint_id"]
    place = bench.place(name)
    for path in [p for s in WORK[name].sinks for p in published(job.place / "out" / s.name)]:
        if checkpoint_of(path) <= number:
            copy = place / path.relative_to(job.place)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    saved = saved.rename(place / saved.name)
    outcome.branches += 1
    other = Killed(bench, name, place, r, outcome, [])
    other.begins(saved, fresh=False)
    with bench.watcher(name, place) as watcher:
        other.live(Moment(fault(r, r.choice(RECOVERY)), 5.0, signal.SIGKILL))
        for moment in itertools.islice(moments(r, False), 2):
            if not other.over():
                other.live(moment)
        other.end()
    assert not watcher.problems, watcher.problems
    outcome.files += bench.check(name, place, complete=False)
    shutil.rmtree(place)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rows", type=int, default=30_000)
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="kill-state-")  # the user's list of jobs is none of ours
    end = time.monotonic() + given.minutes * 60
    outcome, failures = Outcome(), 0
    queries = itertools.cycle(NEXMARK)
    for n in itertools.count():
        seed = given.seed * 1000 + n
        directory = Path(tempfile.mkdtemp(prefix="kill-"))
        bench = Bench(directory, random.Random(seed).choice((given.rows, given.rows // 4)), seed)
        works = [
            *((name, False) for name in SETS),
            ("append", True),
            *((q, False) for q in itertools.islice(queries, 3)),
        ]
        good = True
        for name, at_least_once in works:
            if time.monotonic() >= end:
                break
            try:
                kill_until_done(bench, name, seed, 12, outcome, at_least_once)
            except AssertionError as e:
                good = False
                failures += 1
                print(f"round {n} ({name}, seed {seed}) in {directory}: {e}", flush=True)
        if good:
            shutil.rmtree(directory)
        print(f"{time.strftime('%H:%M:%S')} round {n}: {failures} failures, {outcome}", flush=True)
        if time.monotonic() >= end:
            return 1 if failures else 0
    raise AssertionError("rounds do not end by themselves")


if __name__ == "__main__":
    sys.exit(main())
