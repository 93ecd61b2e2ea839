"""Two jobs of every kind of state that rows leave again, a checkpoint a second, little memory, for as long as wanted:
whatever processes and directories hold must stay what it is, and the answer must be that of a batch run.

    python tests/soak.py --minutes 60

GROUP BY of ever new keys, deduplication, top-n and regular joins whose rows live for a time, COUNT(DISTINCT), windows,
sessions, OVER, an interval join, partitions; over files that grow. One job keeps its process: it is restarted in place, and savepoints
are taken. The other one is stopped and started, killed, begins from a savepoint that was moved, at another parallelism, and is
changed: a statement is added, another one dropped. Readers take published files away. A line is fitted through the second
half of what was measured. Then the files end, both jobs are drained, and their rows are compared with those of a batch run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
from harness import measured
from harness.measured import Measured
from harness.soak_script import BATCH, GROWING, SETTINGS, STATEMENTS, Statement, added, script

from sqlstream.checkpoint.lock import holder
from sqlstream.runtime.status import Status, read_status

ROOT = Path(__file__).resolve().parent.parent
NAME = "soak"


# ---- what goes on beside


class Beside:
    """A thread that does something again and again; what went wrong there is raised at the end."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Beside:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        self.check()
        self.step()

    def _run(self) -> None:
        try:
            while not self._over.wait(self._every):
                self.step()
        except BaseException as e:
            self._error = e

    def step(self) -> None:
        """What it does."""
        raise NotImplementedError

    def check(self) -> None:
        """Raises what went wrong."""
        if self._error is not None:
            raise self._error


class Inputs(Beside):
    """Bids in two files and asks in one, so many bids a second. Rows are a function of their number; an id comes three times,
    an auction sixty times, within a second of event time."""

    START = 1_700_000_000_000

    def __init__(self, directory: Path, rate: int, seed: int) -> None:
        super().__init__(0.2)
        self._rate, self._random = rate, random.Random(seed)
        for name in ("bids", "asks"):
            (directory / name).mkdir(parents=True)
        self._bids = [(directory / "bids" / f"{n}.json").open("w") for n in range(2)]
        self._asks = (directory / "asks/0.json").open("w")
        self._began = time.monotonic()
        self.rows = self.asks = 0

    def step(self) -> None:
        until = int((time.monotonic() - self._began) * self._rate)
        for n in range(self.rows, until):
            id_ = n // 3
            if n % 3 == 0:
                self._late = self._random.randrange(400)
                if id_ % 5:
                    self.asks += 1
                    self._asks.write(f'{{"id": {id_}, "auction": {id_ // 20}, "at": "{self._stamp(n)}"}}\n')
            self._bids[self._random.randrange(2)].write(
                f'{{"id": {id_}, "auction": {n // 60}, "bidder": {self._random.randrange(997)}, '
                f'"price": {self._random.randrange(1000)}, "at": "{self._stamp(n)}"}}\n'
            )
        self.rows = until
        for file in (*self._bids, self._asks):
            file.flush()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        for file in (*self._bids, self._asks):
            file.close()

    def _stamp(self, n: int) -> str:
        ms = self.START + n * 1000 // self._rate - self._late
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03d}"


class Reader(Beside):
    """Takes what a job has published, as readers of files do: `taken/<sink>` has all lines, with their partition."""

    def __init__(self, project: Path) -> None:
        super().__init__(0.5)
        self._out, self.taken = project / "out", project.parent / "taken" / project.name
        self.taken.mkdir(parents=True)

    def step(self) -> None:
        for sink in self._out.glob("*"):
            complete = [*sink.rglob("_SUCCESS")]  # nothing comes to these partitions any more
            parts = [p for p in sink.rglob("*.json") if not any(n[0] in "._" for n in p.relative_to(sink).parts)]
            with (self.taken / sink.name).open("a") as taken:
                for part in parts:
                    where = "" if part.parent == sink else f"{part.parent.relative_to(sink)} "
                    taken.writelines(where + line for line in part.read_text().splitlines(keepends=True))
                    part.unlink()
            for success in complete:
                success.unlink()
                success.parent.rmdir()


@dataclass
class Job:
    """One of the jobs, by the command line. `seen`: what was measured of it."""

    project: Path
    settings: str
    form: int = 0  # of the statements
    parallelism: int = 1
    seen: list[Measured] = field(default_factory=list)
    longest: float = 0.0  # seconds for which it did nothing

    @property
    def directory(self) -> Path:
        return self.project / ".sqlstream" / NAME

    @property
    def statements(self) -> tuple[Statement, ...]:
        return (*STATEMENTS, added(self.form)) if self.form else STATEMENTS

    def call(self, *arguments: str) -> str:
        """What `sqlstream …` says."""
        done = subprocess.run(
            [sys.executable, "-m", "sqlstream", *arguments],
            cwd=self.project,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0 and "Traceback" not in said, (
            f"{arguments}: {done.returncode}: {said}\n{self.log()[-5000:]}"
        )
        return done.stdout

    def log(self) -> str:
        return "".join(p.read_text() for p in sorted((self.directory / "log").glob("*")))

    def status(self) -> Status | None:
        return read_status(self.directory)

    def pid(self) -> int | None:
        found = holder(self.directory)
        return found.pid if found is not None and found.pid else None

    # ---- what is done to it

    def start(self, *more: str) -> None:
        (self.project / "job.sql").write_text(script(self.settings, self.statements, GROWING))
        self.call("submit", "job.sql", "-D", f"parallelism.default={self.parallelism}", *more)

    def restart(self) -> None:
        self.call("restart", str(self.directory))

    def stop_and_start(self) -> None:
        self.call("stop", str(self.directory))
        self.start()

    def kill(self) -> None:
        pid = self.pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.pid() is None, "the killed process is gone")
        self.start()

    def savepoint(self) -> None:
        made = Path(self.call("savepoint", str(self.directory), "saved").strip())
        assert (made / "_metadata").exists(), made
        shutil.rmtree(made)

    def restore(self) -> None:
        """It ends with a savepoint, which is moved, and begins from there as a new run, at another parallelism."""
        made = Path(self.call("stop", str(self.directory), "--savepoint", "saved").strip())
        moved = made.rename(self.project / "moved")
        self.parallelism = 3 - self.parallelism
        self.start("--fresh", "-D", f"execution.state-recovery.path={moved}")
        shutil.rmtree(moved)

    def change(self) -> None:
        """One statement goes, another one comes."""
        self.call("stop", str(self.directory))
        self.form += 1
        self.start()

    def finish(self, rows: int) -> None:
        """All inputs are written: when it has read so many rows, it ends as if there were no more."""
        until(lambda: self.rows() >= rows, f"{self.project} has read {rows} rows")
        made = Path(self.call("stop", str(self.directory), "--savepoint", "saved", "--drain").strip())
        shutil.rmtree(made)
        status = self.status()
        assert status is not None and (status.state, status.rows_in) == ("FINISHED", rows), (
            f"{status}\n{self.log()[-5000:]}"
        )

    def rows(self) -> int:
        status = self.status()
        return 0 if status is None else status.rows_in

    def end(self) -> None:
        """Whatever went wrong, no process is left."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def until(condition: Callable[[], bool], what: str, seconds: float = 600) -> None:
    """Waits for it."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


class Measuring(Beside):
    """Looks at the jobs twice a second."""

    def __init__(self, jobs: list[Job]) -> None:
        super().__init__(0.5)
        self._jobs = jobs
        self._rows = {j.project: (0, time.monotonic()) for j in jobs}

    def step(self) -> None:
        now = time.monotonic()
        for job in self._jobs:
            pid = job.pid()
            if pid is not None and (found := measured.measured(pid, job.project, now)) is not None:
                job.seen.append(found)
            status = job.status()
            rows, since = self._rows[job.project]
            job.longest = max(job.longest, now - since)
            if status is not None and status.rows_in != rows:
                self._rows[job.project] = (status.rows_in, now)


# ---- a soak


@dataclass
class Soaked:
    """What came of it. `wrong`: rows that a job has more or less often than the batch run, and warnings."""

    jobs: dict[str, Job]
    events: dict[str, list[float]]  # seconds that each took
    rows: int
    wrong: list[str]
    compared: int  # rows of the batch run

    def growing(self) -> list[str]:
        """What has grown in the second half."""
        return [
            f"{name}: {line.what} by {line.added:,.0f}"
            for name, job in self.jobs.items()
            for line in measured.lines(job.seen[len(job.seen) // 2 :])
            if line.grows
        ]

    def text(self) -> str:
        """The tables for people."""
        halves = {
            name: (job.seen[: len(job.seen) // 2], job.seen[len(job.seen) // 2 :]) for name, job in self.jobs.items()
        }
        took = [f"{name}: {len(s)} times, {min(s):.1f} to {max(s):.1f} s" for name, s in sorted(self.events.items())]
        return "\n".join([*(measured.table(name, *both) for name, both in halves.items()), *took])


def soak(directory: Path, minutes: float, *, rate: int, ttl: int, hot: int = 2000, seed: int = 1, every: float = 40,
         say: Callable[[str], None] = lambda text: None) -> Soaked:  # fmt: skip
    """Runs both jobs for so long, with something happening to one of them `every` so many seconds."""
    settings = SETTINGS.format(ttl=ttl, hot=hot)
    steady, changing = Job(directory / "steady", settings), Job(directory / "changing", settings)
    jobs = {"steady": steady, "changing": changing}
    for job in jobs.values():
        job.project.mkdir()
    what: Iterator[tuple[str, Callable[[], None]]] = _events(steady, changing)
    events: dict[str, list[float]] = {}
    inputs = Inputs(directory / "in", rate, seed)
    readers = [Reader(job.project) for job in jobs.values()]
    with contextlib.ExitStack() as stack:
        for job in jobs.values():
            stack.callback(job.end)
        for reader in readers:
            stack.enter_context(reader)
        with inputs:
            for job in jobs.values():
                job.start()
            with Measuring([*jobs.values()]) as measuring:
                end = time.monotonic() + minutes * 60
                while (begun := time.monotonic()) < end or len(events) < KINDS:
                    name, act = next(what)
                    act()
                    events.setdefault(name, []).append(time.monotonic() - begun)
                    say(f"{name} took {events[name][-1]:.1f} s")
                    for n, job in jobs.items():
                        say(f"  {n}: {job.seen[-1].text() if job.seen else 'nothing measured'}")
                    for beside in (inputs, measuring, *readers):
                        beside.check()
                    time.sleep(max(min(begun + every, end) - time.monotonic(), 0))
        for job in jobs.values():
            job.finish(inputs.rows + inputs.asks)
    wrong, compared = compare(directory, jobs, {name: r.taken for name, r in zip(jobs, readers, strict=True)})
    for name, job in jobs.items():
        if wrong and job.longest > ttl:
            wrong.append(
                f"{name} did nothing for {job.longest:.0f} s: longer than its state lives, so this may be right"
            )
        wrong += [f"{name} said: {line}" for line in job.log().splitlines() if SAYS.search(line)]
    return Soaked(jobs, events, inputs.rows, wrong, compared)


KINDS = 6
# What a job has no reason to say. One that is killed while it publishes does not know what readers have taken; the files end
# before it does.
SAYS = re.compile(r"warning(?!.*(a reader has taken it away since|holds the watermark))|Traceback|error")


def _events(steady: Job, changing: Job) -> Iterator[tuple[str, Callable[[], None]]]:
    """For ever, in turns."""
    while True:
        yield "changed", changing.change
        yield "restarted", steady.restart
        yield "stopped and started", changing.stop_and_start
        yield "savepoint", steady.savepoint
        yield "restored from a savepoint", changing.restore
        yield "restarted", steady.restart
        yield "killed", changing.kill
        yield "savepoint", steady.savepoint
        yield "restarted", changing.restart
        yield "restarted", steady.restart


def compare(directory: Path, jobs: dict[str, Job], taken: dict[str, Path]) -> tuple[list[str], int]:
    """Where a job's rows are not those of a batch run over the same files; how many rows that has."""
    statements = {s.name: s for job in jobs.values() for s in job.statements}
    batch = directory / "batch"
    batch.mkdir()
    (batch / "job.sql").write_text(script(BATCH, tuple(statements.values()), ""))
    done = subprocess.run(
        [sys.executable, "-m", "sqlstream", "run", "job.sql"], cwd=batch, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    reader = Reader(batch)
    reader.step()
    wrong, compared = [], 0
    for name, job in jobs.items():
        for s in job.statements:
            expected, got = reader.taken / s.name, taken[name] / s.name
            rows, differences, example = _difference(s, expected, got)
            compared += rows
            if differences or not rows:
                wrong.append(f"{name}: {s.name}: {differences} of {rows} rows, such as {example}")
    return wrong, compared


def _difference(statement: Statement, expected: Path, got: Path) -> tuple[int, int, str]:
    """Rows that are expected, those that are there another number of times, and one of these."""
    text = "read_csv('{}', columns={{'line': 'VARCHAR'}}, delim='\x01', quote='', escape='', header=false, auto_detect=false)"
    changes = (
        "SELECT line->>'before' AS line, -1 AS n FROM {0} WHERE line->>'before' IS NOT NULL "
        "UNION ALL SELECT line->>'after', 1 FROM {0} WHERE line->>'after' IS NOT NULL"
    )
    one = (changes if statement.changelog else "SELECT line, 1 AS n FROM {0}").format
    with duckdb.connect() as connection:
        connection.execute("SET memory_limit = '2GB'")
        left, right = (one(text.format(path)) for path in (expected, got))
        connection.execute(
            f"CREATE TABLE found AS SELECT line, SUM(e) AS e, SUM(g) AS g FROM (SELECT line, n AS e, 0 AS g FROM ({left}) UNION ALL "
            f"SELECT line, 0, n FROM ({right})) GROUP BY line"
        )
        counted = connection.execute(
            "SELECT SUM(e), COUNT(*) FILTER (e <> g), ANY_VALUE(found) FILTER (e <> g) FROM found"
        ).fetchone()
    assert counted is not None
    return int(counted[0] or 0), counted[1], str(counted[2])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=int, default=300)
    parser.add_argument("--ttl", type=int, default=180)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()

    def say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    say(f"seed {given.seed}")
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    os.environ["XDG_STATE_HOME"] = str(directory / "state")
    soaked = soak(directory, given.minutes, rate=given.rate, ttl=given.ttl, seed=given.seed, say=say)
    problems = soaked.growing() + soaked.wrong
    print(soaked.text(), f"{soaked.rows:,} bids, {soaked.compared:,} rows compared", sep="\n")
    print(*problems or ["nothing has grown, and every row is right"], sep="\n")
    if problems:
        print(f"see {directory}")
    else:
        shutil.rmtree(directory)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
