"""A job, its users, and what befalls them, all from one seed; and what must be true in the end.

The world feeds tables, asks for savepoints, checkpoints, restarts, stops and cancellations, makes store and disk fail, kills
the process and starts it again. Then all is well again, and the job is to come to its end: in time, with each row once.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from simulated import disk as disks
from simulated import store as stores
from simulated.disk import Disk
from simulated.process import pinned
from simulated.scheduler import Killed, Scheduler, SimulatedClock
from simulated.store import Objects, SimulatedFileSystem
from sqlstream import faults, threads
from sqlstream.checkpoint.coordinator import CheckpointCoordinator
from sqlstream.checkpoint.history import History
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.errors import InternalError, SqlStreamError
from sqlstream.runtime.job import Job
from sqlstream.runtime.progress import Progress
from sqlstream.savepoint.reader import SavedRows
from sqlstream.session import Session

LIMIT = 3_000.0  # virtual seconds
STEPS = 100_000
_MADE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.+]+")  # when a manifest was written, by the machine's clock
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

SINKS = {
    "plain": ("k INT, v INT", "json", "SELECT k, v FROM t WHERE k <> 1"),
    "grouped": (
        "k INT, n BIGINT, total BIGINT", "debezium-json", "SELECT k, COUNT(*), SUM(CAST(v AS BIGINT)) FROM t GROUP BY k"
    ),
    "tumbled": (
        "k INT, w TIMESTAMP(3), n BIGINT", "json",
        "SELECT k, window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(at), INTERVAL '2' SECOND)) "
        "GROUP BY k, window_start, window_end",
    ),
    "paired": (
        "v INT, u INT", "json",
        "SELECT a.v, b.v FROM t AS a JOIN t AS b ON a.k = b.k AND b.at BETWEEN a.at AND a.at + INTERVAL '1' SECOND",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """Of the table."""

    k: int
    v: int
    ms: int

    def line(self) -> str:
        return json.dumps({"k": self.k, "v": self.v, "at": _time(self.ms)}) + "\n"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(BEGIN.timestamp() + ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def expected(sink: str, rows: list[Row]) -> Counter[tuple[Any, ...]]:
    """What a sink has in the end."""
    if sink == "plain":
        return Counter((r.k, r.v) for r in rows if r.k != 1)
    if sink == "grouped":
        n, total = Counter(r.k for r in rows), Counter[int]()
        for r in rows:
            total[r.k] += r.v
        return Counter({(k, n[k], total[k]): 1 for k in n})
    if sink == "tumbled":
        n2 = Counter((r.k, (r.ms // 2000 + 1) * 2000) for r in rows)
        return Counter({(k, _time(end)[:-4], c): 1 for (k, end), c in n2.items()})
    return Counter((a.v, b.v) for a in rows for b in rows if a.k == b.k and a.ms <= b.ms <= a.ms + 1000)


@dataclass
class Plan:
    """What the seed has chosen."""

    seed: int
    growing: bool
    remote: bool
    remote_sinks: bool
    sinks: list[str]
    files: list[list[Row]]
    options: dict[str, str]
    chaos: float  # virtual seconds
    exactly: bool
    hostile: float  # how much befalls it
    lists_lag: bool = False

    @classmethod
    def of(cls, seed: int) -> Plan:
        r = random.Random(f"plan {seed}")
        growing = r.random() < 0.6
        count, keys = r.choice([40, 120, 250]), r.choice([2, 7, 40])
        rows, ms = [], 0
        for v in range(count):
            ms += r.choice([0, 5, 40, 200])
            rows.append(Row(r.randrange(keys), v, ms))
        files: list[list[Row]] = [[] for _ in range(r.choice([1, 1, 2, 3]))]
        for row in rows:
            r.choice(files).append(row)
        backend = r.choice(["hashmap", "rocksdb", "rocksdb"])
        remote, exactly = r.random() < 0.6, r.random() < 0.85
        o: dict[str, str] = {
            "pipeline.name": "j",
            "execution.runtime-mode": "streaming",
            "parallelism.default": str(r.choice([1, 1, 2, 3])),
            "execution.epoch.max-rows": str(r.choice([1, 5, 20, 60] if growing else [1, 3, 8])),
            "execution.checkpointing.mode": "EXACTLY_ONCE" if exactly else "AT_LEAST_ONCE",
            "execution.checkpointing.interval": r.choice(["1 ms", "5 ms", "20 ms", "200 ms"]),
            "execution.checkpointing.min-pause": r.choice(["0 s", "0 s", "10 ms", "300 ms"]),
            "execution.checkpointing.timeout": r.choice(["3 s", "10 s", "30 s"]),
            "execution.checkpointing.tolerable-failed-checkpoints": str(r.choice([0, 0, 1, 3])),
            "execution.checkpointing.num-retained": str(r.choice([1, 2, 2, 3])),
            "execution.checkpointing.savepoint-dir": "saved",
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            "state.backend.type": backend,
        }
        if backend == "rocksdb":
            o["state.changelog.periodic-materialize.interval"] = r.choice(["10 ms", "500 ms", "10 min"])
            if r.random() < 0.3:
                o["state.backend.hot-rows"] = r.choice(["1", "8"])
            if r.random() < 0.2:
                o["state.changelog.enabled"] = "false"
        elif r.random() < 0.3:
            o["execution.checkpointing.incremental"] = "false"
        if remote:
            o["execution.checkpointing.dir"] = "simulated://cp"
            if r.random() < 0.3:
                o["execution.checkpointing.local-backup.enabled"] = "true"
        o |= r.choice(
            [
                {"restart-strategy.type": "none"},
                {
                    "restart-strategy.type": "fixed-delay",
                    "restart-strategy.fixed-delay.attempts": str(r.choice([1, 3, 1000])),
                    "restart-strategy.fixed-delay.delay": r.choice(["0 s", "300 ms", "5 s"]),
                },
                {
                    "restart-strategy.type": "exponential-delay",
                    "restart-strategy.exponential-delay.jitter-factor": "0",
                    "restart-strategy.exponential-delay.initial-backoff": r.choice(["50 ms", "1 s"]),
                    "restart-strategy.exponential-delay.max-backoff": r.choice(["1 s", "10 s"]),
                    "restart-strategy.exponential-delay.backoff-multiplier": "2.0",
                    "restart-strategy.exponential-delay.reset-backoff-threshold": "20 s",
                },
                {
                    "restart-strategy.type": "failure-rate",
                    "restart-strategy.failure-rate.max-failures-per-interval": str(r.choice([1, 3])),
                    "restart-strategy.failure-rate.failure-rate-interval": "10 s",
                    "restart-strategy.failure-rate.delay": "200 ms",
                },
            ]
        )
        sinks = sorted(r.sample(list(SINKS), r.choice([1, 2, 2, 3])))
        if not exactly:
            sinks = sorted({*sinks, "plain"})
        return cls(
            seed,
            growing,
            remote,
            r.random() < 0.4,
            sinks,
            files,
            o,
            r.choice([1.0, 4.0, 12.0]),
            exactly,
            r.choice([0.3, 1.0, 3.0]),
            remote and r.random() < 0.3,
        )

    @property
    def rows(self) -> list[Row]:
        """All that the table has in the end."""
        return [row for file in self.files for row in file]

    @property
    def script(self) -> str:
        """Tables and statements."""
        more = ", 'source.monitor-interval' = '50 ms', 'source.idle-when-superseded' = 'false'" if self.growing else ""
        out = [
            "CREATE TABLE t (k INT, v INT, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '1' SECOND) WITH "
            f"('connector' = 'filesystem', 'path' = 'in', 'format' = 'json'{more});"
        ]
        for sink in self.sinks:
            columns, form, _ = SINKS[sink]
            out.append(
                f"CREATE TABLE {sink} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{self.place(sink)}', "
                f"'format' = '{form}');"
            )
        inserts = [f"INSERT INTO {s} {SINKS[s][2]};" for s in self.sinks]
        return "\n".join([*out, "EXECUTE STATEMENT SET BEGIN", *inserts, "END;"])

    def place(self, sink: str) -> str:
        """Where a sink writes."""
        return f"simulated://out/{sink}" if self.remote_sinks else sink


@dataclass
class Outcome:
    """Of a process. `error`: what it ended with; None: well, or it was killed."""

    state: str
    error: BaseException | None = None
    killed: bool = False
    said: list[str] = field(default_factory=list)


class World:
    """`run` raises AssertionError (also `Stuck`) where something is not as it must be."""

    def __init__(self, seed: int, place: Path, keep: bool = False, plan: Plan | None = None) -> None:
        self.plan = plan or Plan.of(seed)
        self.seed, self.place = seed, place / "w"
        (self.place / "in").mkdir(parents=True)
        self.scheduler = Scheduler(seed, LIMIT, STEPS, keep)
        self.random = random.Random(f"world {seed}")
        self.clock = SimulatedClock(self.scheduler)
        self.disk = Disk(self.scheduler, self.place)
        self.store = Objects(self.scheduler)
        self.job: Job | None = None
        self.healed = False
        self.troubled = False  # something was wrong since the process began
        self.fed = False
        self.over = False  # the job has come to the end of its inputs
        self.drained: Future[Any] | None = None
        self.power = False
        self.outcomes: list[Outcome] = []
        self.begun: list[tuple[float, int, int]] = []  # when attempts began: time, process, attempt
        self.saved: list[Future[Any]] = []
        self.completed = 0
        self.scheduler.on_crash = self._crashed

    # ---- the whole

    def run(self) -> list[str]:
        """The trace."""
        with ExitStack() as stack:
            stack.enter_context(pinned(self.seed, self.scheduler))
            stack.enter_context(self.disk.patched())
            stack.enter_context(threads.scheduled(self.scheduler))
            stack.enter_context(faults.watched(self._point))
            stack.enter_context(self._filesystem())
            self.scheduler.run(self._world)
        return self.scheduler.trace

    @contextmanager
    def _filesystem(self) -> Iterator[None]:
        SimulatedFileSystem.objects = self.store
        yield

    def _world(self) -> None:
        s = self.scheduler
        self._feed_first()
        if self.plan.growing:
            s.start("feeder", self._feed, outside=True)
        else:
            self.fed = True
        s.start("weather", self._weather, outside=True)
        s.start("user", self._user, outside=True)
        while True:
            outcome = self._process()
            self._judge(outcome)
            if self.over:
                break
            s.sleep(self.random.choice([0.0, 0.05, 1.0] if outcome.error is None else [0.05, 1.0, 5.0]))
        s.until(lambda: self.healed)
        again = self._process()
        assert again.state == "FINISHED" and again.error is None, self._told(again, "a finished job, once more")
        self._check_output()
        self._check_saved()
        self._check_restarts()
        self._check_swept()

    # ---- processes

    def _process(self) -> Outcome:
        """One, from its start to its end."""
        s, out = self.scheduler, Outcome("FAILED")
        self.outcomes.append(out)
        self.troubled = not self.healed
        if not self.healed and self.random.random() < 0.35 * self.plan.hostile:
            s.crash_at = s.effects + self.random.choice([5, 30, 100, 300]) + self.random.randint(0, 40)
            self.power = self.random.random() < 0.4
        s.note(f"process {len(self.outcomes)} begins")

        def body() -> None:
            try:
                out.state = self._execute(out)
            except Killed:
                raise
            except BaseException as e:
                out.error = e

        s.start("job", body)
        s.until(lambda: not s.inside)
        ended, self.job, s.crash_at = self.job, None, None
        if out.state == "FINISHED" and ended is not None:
            drained = self.drained is not None and self.drained.done() and self.drained.exception() is None
            self.over = drained or not ended.progress.saved
        if s.dead:
            out.killed, out.error = True, None
            out.state = "KILLED"
            self.disk.put_back()
            s.revive()
            self.store.died()
            self._check_checkpoints()
        s.note(f"process ends: {out.state} {type(out.error).__name__ if out.error else ''}")
        return out

    def _execute(self, out: Outcome) -> str:
        def began(job: Any) -> None:
            self.job = job

        session = Session(
            options=self.plan.options,
            working_directory=str(self.place),
            clock=self.clock,  # type: ignore[arg-type]
            on_message=lambda text: self._said(out, text),
            on_job=began,
        )
        progress = Progress()
        for result in session.execute(self.plan.script):
            progress = result.progress or progress
        return progress.state

    def _said(self, out: Outcome, text: str) -> None:
        out.said.append(text)
        line = _MADE.sub("…", text.splitlines()[0].replace(f"{self.place}/", ""))
        self.scheduler.note(f"says: {line[:200]}")

    def _judge(self, out: Outcome) -> None:
        """Whether it may have ended so."""
        e = out.error
        if out.killed or (e is None and out.state in ("FINISHED", "CANCELED")):
            return
        assert isinstance(e, SqlStreamError) and not isinstance(e, InternalError), self._told(out, "a bug")
        assert self.troubled, self._told(out, "nothing was wrong")

    def _told(self, out: Outcome, what: str) -> str:
        trace = "" if out.error is None else "".join(traceback.format_exception(out.error))
        return f"{what}: {out.state}\n{trace}\n" + "\n".join(out.said)

    def _point(self, name: str) -> None:
        self.scheduler.effect(name)
        if name == "job-recorded" and self.job is not None:
            self.begun.append((self.scheduler.time, len(self.outcomes), self.job.progress.attempt))
        if name == "after-manifest":
            self.completed += 1
            self._check_checkpoints()

    def _crashed(self) -> None:
        self.disk.set_aside(self.power)

    # ---- what befalls it

    def _feed_first(self) -> None:
        for i, rows in enumerate(self.plan.files):
            # a file that came later would begin behind the watermark
            some = rows if not self.plan.growing else rows[: self.random.randint(1, max(len(rows), 1))]
            self._append(i, "".join(r.line() for r in some))
        self._left = [len(rows) for rows in self.plan.files]
        self._given = [
            sum(1 for _ in (self.place / "in" / f"f{i}.json").open()) if self._file(i).exists() else 0
            for i in range(len(self.plan.files))
        ]

    def _file(self, i: int) -> Path:
        return self.place / "in" / f"f{i}.json"

    def _append(self, i: int, text: str) -> None:
        with self._file(i).open("a") as file:
            file.write(text)
        self.disk._stamp(self._file(i))

    def _feed(self) -> None:
        """A thread of the world: the files grow."""
        s, r = self.scheduler, self.random
        lines = [[row.line() for row in rows] for rows in self.plan.files]
        todo = [(i, line) for i, rows in enumerate(lines) for line in rows[self._given[i] :]]
        r.shuffle(todo)
        todo.sort(key=lambda t: 0)  # files in a mixed order; each in its own
        at = [self._given[i] for i in range(len(lines))]
        for i, _ in todo:
            line = lines[i][at[i]]
            at[i] += 1
            if r.random() < 0.05:
                half = r.randrange(len(line))
                self._append(i, line[:half])
                s.sleep(r.choice([0.01, 0.2]))
                self._append(i, line[half:])
            else:
                self._append(i, line)
            if r.random() < 0.1:
                s.sleep(r.choice([0.01, 0.1, self.plan.chaos / 5]))
        self.fed = True
        s.note("all is fed")

    def _weather(self) -> None:
        """A thread of the world: the store and the disk fail, and recover."""
        s, r, plan = self.scheduler, self.random, self.plan
        end = plan.chaos
        while s.time < end:
            s.sleep(r.choice([0.05, 0.3, 1.0]) / plan.hostile)
            if s.time >= end:
                break
            kinds = [
                w
                for w in stores.WEATHERS
                if w not in (stores.FINE, stores.LATE) or (w == stores.LATE and plan.lists_lag)
            ]
            if r.random() < 0.5:
                self.store.weather = r.choice(kinds)
            else:
                self.disk.weather = r.choice([disks.FLAKY, disks.FULL])
            self.troubled = True
            s.note(f"weather: store {self.store.weather}, disk {self.disk.weather}")
            s.sleep(r.choice([0.05, 0.5, 3.0, 20.0 if r.random() < 0.3 else 1.0]))
            self.store.weather, self.disk.weather = stores.FINE, disks.FINE
            s.note("weather: fine")
        s.crash_at, s.slow = None, 0.0
        self.healed = True
        s.note("all is well from now on")

    def _user(self) -> None:
        """A thread of the world: asks for this and that; at last for the end."""
        s, r = self.scheduler, self.random
        actions = [
            self._ask_savepoint,
            self._ask_checkpoint,
            self._ask_restart,
            self._stop,
            self._cancel,
            self._stop_with,
        ]
        weights = [3, 3, 2, 1, 1, 1]
        while not self.healed:
            s.sleep(r.choice([0.1, 0.5, 2.0]) / self.plan.hostile)
            if not self.healed and self.job is not None and not s.dead:
                action = r.choices(actions, weights)[0]
                self._asked(action)
        if not self.plan.growing:
            return
        while not self.over:
            s.sleep(0.1)  # first: when all is over, time leaps
            job = self.job
            if (
                self.fed
                and job is not None
                and job.progress.rows_in >= len(self.plan.rows)
                and job.progress.state == "RUNNING"
            ):
                s.note("user: the end")
                self._asked(self._drain)
                s.until(lambda job=job: self.job is not job)

    def _asked(self, action: Callable[[Job], Any]) -> None:
        job = self.job
        assert job is not None
        try:
            self.scheduler.note(f"user: {action.__name__.strip('_')}")
            action(job)
        except SqlStreamError as e:
            self.scheduler.note(f"user is told: {e.message}")

    def _drain(self, job: Job) -> None:
        self.drained = job.stop("saved", True)

    def _ask_savepoint(self, job: Job) -> None:
        self.saved.append(job.savepoint())

    def _ask_checkpoint(self, job: Job) -> None:
        job.checkpoint()

    def _ask_restart(self, job: Job) -> None:
        job.restart()

    def _stop(self, job: Job) -> None:
        job.stop()

    def _cancel(self, job: Job) -> None:
        job.cancel()

    def _stop_with(self, job: Job) -> None:
        future = job.stop("", False)
        assert future is not None
        self.saved.append(future)

    # ---- what must be true

    def _storage(self) -> Iterator[tuple[str, Callable[[str], bytes | None], set[str]]]:
        """Each run's checkpoints: its name, how a file is read, and all names."""
        runs = self.place / ".sqlstream/j/runs"
        if self.plan.remote:
            found = {
                k.removeprefix("cp/j/runs/"): v for k, v in self.store.objects.items() if k.startswith("cp/j/runs/")
            }
            for run in sorted({k.split("/")[0] for k in found}):
                names = {k.removeprefix(f"{run}/") for k in found if k.startswith(f"{run}/")}
                yield run, lambda n, run=run: found[f"{run}/{n}"][0] if f"{run}/{n}" in found else None, names
            return
        for place in sorted(runs.iterdir()) if runs.is_dir() else ():
            names = {
                str(p.relative_to(place)) for p in place.rglob("*") if p.is_file() and not p.name.startswith(".tmp")
            }
            yield place.name, lambda n, place=place: (place / n).read_bytes() if (place / n).exists() else None, names

    def _check_checkpoints(self) -> None:
        """What the manifests that are kept name is there, and is what it was.

        Only theirs: of one that was retired a loss of power may bring the manifest back, and not the files.
        """
        kept = int(self.plan.options["execution.checkpointing.num-retained"])
        for run, read, names in self._storage():
            complete: list[tuple[int, str, dict[str, Any]]] = []
            for name in (n for n in names if n.endswith("manifest.json")):
                with suppress(ValueError):  # half of one: it was never complete
                    complete.append((int(name.removeprefix("chk-").split("/")[0]), name, json.loads(read(name) or b"")))
            for _, name, manifest in sorted(complete)[-kept:]:
                for entry in _entries(manifest):
                    data = read(entry["name"])
                    assert data is not None, f"run {run}: {name} names {entry['name']}, which is not there"
                    assert hashlib.sha256(data).hexdigest() == entry["sha256"], f"run {run}: {entry['name']} is damaged"

    def _check_output(self) -> None:
        for sink in self.plan.sinks:
            got, want = self._output(sink), expected(sink, self.plan.rows)
            if self.plan.exactly:
                assert got == want, f"{sink}: lost {want - got}, too many {got - want}"
            elif sink == "plain":
                assert not want - got, f"{sink}: lost {want - got}"
                assert set(got) <= set(want), f"{sink}: rows that were never there"
            staged = [n for n in self._names(sink) if "_staging" in n]
            assert not staged, f"{sink}: staged files are left: {staged}"

    def _check_saved(self) -> None:
        """A savepoint that was told of is there, whole, whatever happened since."""
        for future in self.saved:
            if future.done() and future.exception() is None and future.result() is not None:
                SavedRows(future.result().path, self.place / "work" / "check").verify()

    def _names(self, sink: str) -> list[str]:
        if self.plan.remote_sinks:
            return sorted(k for k in self.store.objects if k.startswith(f"out/{sink}/"))
        return sorted(str(p) for p in (self.place / sink).rglob("*") if p.is_file())

    def _output(self, sink: str) -> Counter[tuple[Any, ...]]:
        rows: Counter[tuple[Any, ...]] = Counter()
        for name in self._names(sink):
            if "/_" in name or "/." in name.removeprefix(str(self.place)):
                continue
            data = self.store.objects[name][0] if self.plan.remote_sinks else Path(name).read_bytes()
            for line in data.decode().splitlines():
                value = json.loads(line)
                if sink != "grouped":
                    rows[tuple(value.values())] += 1
                    continue
                for side, n in (("before", -1), ("after", 1)):
                    if value.get(side) is not None:
                        rows[tuple(value[side].values())] += n
        return Counter({row: n for row, n in rows.items() if n})

    def _check_restarts(self) -> None:
        """Each attempt began when the strategy says, after the failure before it."""
        failures = History(self.place / ".sqlstream/j/failures.jsonl").read()
        for f in failures:
            assert f["transient"] or f["delay"] is None
        o = self.plan.options
        kind = o["restart-strategy.type"]
        delays = [f["delay"] for f in failures if f["delay"] is not None]
        if kind == "none":
            assert not delays
        elif kind == "fixed-delay":
            assert set(delays) <= {_seconds(o["restart-strategy.fixed-delay.delay"])}
        elif kind == "failure-rate":
            assert set(delays) <= {0.2}
        else:
            first = _seconds(o["restart-strategy.exponential-delay.initial-backoff"])
            most = _seconds(o["restart-strategy.exponential-delay.max-backoff"])
            assert all(first <= d <= most for d in delays)

    def _check_swept(self) -> None:
        """Long after, a sweep leaves what manifests name and nothing else."""
        self.scheduler.time += 10_000
        for run, _, _ in self._storage():
            state = json.loads((self.place / ".sqlstream/j/job.json").read_text())
            if run != state["run"]:
                continue
            url = f"simulated://cp/j/runs/{run}" if self.plan.remote else str(self.place / ".sqlstream/j/runs" / run)
            coordinator = CheckpointCoordinator(
                CheckpointStorage(url), f"j/{run}", retained=int(self.plan.options["execution.checkpointing.num-retained"]),
                clock=self.clock,  # type: ignore[arg-type]
            )  # fmt: skip
            coordinator.sweep()
            self.scheduler.time += 10_000
            coordinator.sweep()
        for run, read, names in self._storage():
            manifests = [n for n in names if n.endswith("manifest.json")]
            named = {e["name"] for n in manifests for e in _entries(json.loads(read(n) or b"{}"))}
            left = {n for n in names if n.startswith("shared/")} - named
            assert not left, f"run {run}: nobody names {left}"
            assert len(manifests) <= int(self.plan.options["execution.checkpointing.num-retained"]), manifests


def _entries(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    out = []
    for operator in manifest.get("operators", {}).values():
        for task in operator["tasks"]:
            out += task["files"]
    return out


def _seconds(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"ms": 0.001, "s": 1.0, "min": 60.0}[unit]
