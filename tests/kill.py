"""Kills durable jobs at random moments until they are done, and checks that nothing is lost, repeated or half seen.

    python tests/kill.py --minutes 30 --seed 7

A round makes inputs and a script of two jobs (append-only sinks; changelog sinks), takes what an undisturbed run
gives, then runs the script as a durable job again and again at random parallelism: SIGKILL after a random time or at
a random fault point, sometimes SIGINT or SIGTERM. Meanwhile `Watcher` reads the sinks' directories as any reader would.
Processes are forked from a server that has the imports done, so one starts in a few hundredths of a second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEVER = ("Traceback (most recent call last)", "internal error", "Exception in thread", "Segmentation fault")

TABLES = """
CREATE TABLE bids (auction INT, bidder INT, price INT, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '2' SECOND)
  WITH ('connector' = 'filesystem', 'path' = '../bids', 'format' = 'json');
CREATE TABLE auctions (id INT, seller INT, category INT, opened TIMESTAMP(3),
  WATERMARK FOR opened AS opened - INTERVAL '2' SECOND)
  WITH ('connector' = 'filesystem', 'path' = '../auctions', 'format' = 'json');
"""


@dataclass(frozen=True)
class Sink:
    """One INSERT of a script: its table's columns, its query, and whether rows are taken back."""

    name: str
    columns: str
    query: str
    changelog: bool = False


APPEND = (
    Sink(
        "filtered",
        "auction INT, price INT, at TIMESTAMP(3), price2 BIGINT",
        "SELECT auction, price, at, CAST(price AS BIGINT) * 2 FROM bids WHERE MOD(auction, 3) <> 1",
    ),
    Sink(
        "tumbled",
        "auction INT, w_end TIMESTAMP(3), n BIGINT, total BIGINT, lowest INT, bidders BIGINT",
        "SELECT auction, window_end, COUNT(*), SUM(price), MIN(price), COUNT(DISTINCT bidder) "
        "FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(at), INTERVAL '3' SECOND)) GROUP BY auction, window_start, window_end",
    ),
    Sink(
        "joined",
        "id INT, seller INT, price INT, opened TIMESTAMP(3), at TIMESTAMP(3)",
        "SELECT a.id, a.seller, b.price, a.opened, b.at FROM auctions a JOIN bids b ON a.id = b.auction "
        "AND b.at BETWEEN a.opened AND a.opened + INTERVAL '4' SECOND",
    ),
)
CHANGES = (
    Sink(
        "grouped",
        "auction INT, n BIGINT, total BIGINT, highest INT",
        "SELECT auction, COUNT(*), SUM(price), MAX(price) FROM bids GROUP BY auction",
        True,
    ),
    Sink(
        "top",
        "auction INT, bidder INT, price INT, at TIMESTAMP(3), r BIGINT",
        "SELECT auction, bidder, price, at, r FROM (SELECT *, ROW_NUMBER() OVER "
        "(PARTITION BY auction ORDER BY price DESC, at, bidder) AS r FROM bids) WHERE r <= 3",
        True,
    ),
    Sink(
        "outer_joined",
        "id INT, seller INT, total BIGINT",
        "SELECT a.id, a.seller, b.total FROM auctions a LEFT JOIN "
        "(SELECT auction, SUM(price) AS total FROM bids WHERE price > 300 GROUP BY auction) b ON a.id = b.auction",
        True,
    ),
    Sink(
        "two_levels",
        "category INT, best_avg BIGINT, n BIGINT",
        "SELECT category, AVG(final), COUNT(*) FROM (SELECT a.id, a.category, MAX(CAST(b.price AS BIGINT)) AS final "
        "FROM auctions a JOIN bids b ON a.id = b.auction AND b.at BETWEEN a.opened AND a.opened + INTERVAL '6' SECOND "
        "GROUP BY a.id, a.category) GROUP BY category",
        True,
    ),
)
SETS = {"append": APPEND, "changes": CHANGES}


def script(sinks: tuple[Sink, ...]) -> str:
    tables = [
        f"CREATE TABLE {s.name} ({s.columns}) WITH ('connector' = 'filesystem', 'path' = 'out/{s.name}', "
        f"'format' = '{'debezium-json' if s.changelog else 'json'}');"
        for s in sinks
    ]
    inserts = [f"INSERT INTO {s.name} {s.query};" for s in sinks]
    return "\n".join([TABLES, *tables, "EXECUTE STATEMENT SET BEGIN", *inserts, "END;"])


def write_inputs(directory: Path, rows: int, seed: int) -> None:
    """Bids in three files and auctions in two; times out of order, some late."""
    r = random.Random(seed)
    start = 1_700_000_000_000

    def stamp(i: int) -> str:
        late = r.choice((0, 0, 0, 400, 1500, 1500, 6000 if r.random() < 0.1 else 100))
        ms = start + i * 40_000 // rows - r.randrange(late + 1)
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03d}"

    places = {"bids": 3, "auctions": 2}
    files = {}
    for name, n in places.items():
        (directory / name).mkdir(parents=True)
        files[name] = [(directory / name / f"{k}.json").open("w") for k in range(n)]
    keys = 300
    for i in range(rows):
        bid = {
            "auction": min(r.randrange(keys), r.randrange(keys)),
            "bidder": r.randrange(60),
            "price": r.randrange(1000),
        }
        r.choice(files["bids"]).write(json.dumps({**bid, "at": stamp(i)}) + "\n")
        if i % (max(rows // keys, 1)) == 0:
            auction = {"id": i * keys // rows, "seller": r.randrange(9), "category": r.randrange(5), "opened": stamp(i)}
            r.choice(files["auctions"]).write(json.dumps(auction) + "\n")
    for group in files.values():
        for f in group:
            f.close()


# ---- processes


def _child(arguments: list[str], directory: str, log: str, fault: str | None) -> None:
    """In the new process: the command line, with its output in a file."""
    os.chdir(directory)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for fd in (1, 2):
        os.dup2(handle, fd)
    import faulthandler

    faulthandler.register(signal.SIGUSR1)
    from sqlstream.cli import script
    from sqlstream.cli.main import main
    from sqlstream.runtime import faults

    interruptible = script.run_interruptible

    def ready(work: Callable[[], int], cancel: Callable[[], None]) -> int:
        def begun() -> int:
            Path(log).with_suffix(".ready").touch()
            return work()

        return interruptible(begun, cancel)

    script.run_interruptible = ready
    faults.arm(fault)
    status = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "sqlstream.cli.main",
        "sqlstream.cli.script",
        "sqlstream.runtime.job",
        "sqlstream.operators.lowering",
        "pyarrow.json",
    ]
)


@dataclass
class Run:
    """A started `sqlstream` process."""

    process: multiprocessing.process.BaseProcess
    log: Path

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def signal(self, number: int) -> None:
        """Sends it once the process is far enough to take it: the fork server's children ignore SIGINT at first."""
        while number != signal.SIGKILL and self.process.is_alive() and not self.log.with_suffix(".ready").exists():
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, number)

    def wait(self, seconds: float = 120) -> int:
        """Its exit status, negative for a signal. Says what it said when it hangs."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            os.kill(self.process.pid or 0, signal.SIGUSR1)  # where its threads are
            time.sleep(0.5)
            self.process.kill()
            self.process.join()
            raise AssertionError(f"still running after {seconds} s: {self.text()}")
        for bad in NEVER:
            assert bad not in self.text(), self.text()
        return self.process.exitcode


_started = 0


def start(directory: Path, arguments: list[str], fault: str | None = None) -> Run:
    global _started
    _started += 1
    log = directory / f"log-{_started}.txt"
    process = _SERVER.Process(target=_child, args=(arguments, str(directory), str(log), fault), daemon=True)
    process.start()
    return Run(process, log)


def run(directory: Path, arguments: list[str], fault: str | None = None) -> tuple[int, str]:
    """Exit status and what it said."""
    started = start(directory, arguments, fault)
    status = started.wait()
    return status, started.text()


# ---- what a reader sees


def published(directory: Path) -> list[Path]:
    """The part files that a reader takes, in (checkpoint, subtask, n) order."""
    found = [p for p in directory.glob("*") if not p.name.startswith(("_", ".")) and p.is_file()]
    return sorted(found, key=_order)


def _order(path: Path) -> tuple[int, int, int]:
    subtask, checkpoint, n = path.name.split(".")[0].rsplit("-", 3)[1:]
    return int(checkpoint), int(subtask), int(n)


def lines(directory: Path) -> list[str]:
    return [line for p in published(directory) for line in p.read_text().splitlines()]


def fold(changes: list[str], where: str = "") -> Counter[str]:
    """The rows that debezium-json lines leave; each delete must meet its row."""
    rows: Counter[str] = Counter()
    for text in changes:
        change = json.loads(text)
        if change["op"] == "c":
            rows[json.dumps(change["after"])] += 1
            continue
        row = json.dumps(change["before"])
        assert rows[row] > 0, f"{where}: {text} takes back a row that is not there"
        rows[row] -= 1
        if not rows[row]:
            del rows[row]
    return rows


@dataclass
class Watcher:
    """Looks at the sinks' directories all the time: what was seen once stays, whole, and is never seen again."""

    directory: Path
    expected: dict[str, Counter[str]]  # append-only sinks: all rows that there may be
    problems: list[str] = field(default_factory=list)
    _seen: dict[Path, tuple[int, int, str]] = field(default_factory=dict)
    _rows: dict[str, Counter[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        self.look()
        for path, (_, _, text) in self._seen.items():
            if path.exists() and path.read_text() != text:
                self.problems.append(f"{path} has changed")

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.look()

    def look(self) -> None:
        there = set()
        for path in [p for d in self.directory.glob("*") for p in d.glob("*") if p.suffix == ".json"]:
            status = path.stat()
            there.add(path)
            before = self._seen.get(path)
            if before is None:
                self._new(path, status)
            elif (status.st_ino, status.st_size) != before[:2]:
                self.problems.append(f"{path} has changed")
        self.problems += [f"{path} has gone" for path in self._seen.keys() - there]

    def _new(self, path: Path, status: os.stat_result) -> None:
        text = path.read_text()
        self._seen[path] = (status.st_ino, status.st_size, text)
        if not text.endswith("\n"):
            self.problems.append(f"{path} was seen before it was whole")
        name = path.parent.name
        if name not in self.expected:
            return
        rows = self._rows.setdefault(name, Counter())
        rows.update(text.splitlines())
        extra = rows - self.expected[name]
        if extra:
            self.problems.append(f"{path}: rows that should not be there (again): {list(extra)[:3]}")


# ---- a round


@dataclass
class Outcome:
    kills: int = 0
    stops: int = 0
    lives: int = 0
    files: int = 0
    points: Counter[str] = field(default_factory=Counter)


class Bench:
    """Inputs and what undisturbed runs give of them."""

    def __init__(self, directory: Path, rows: int, seed: int) -> None:
        self.directory = directory
        self.rows = rows
        write_inputs(directory, rows, seed)
        self.expected: dict[str, Counter[str]] = {}
        self._jobs = 0

    def prepare(self, name: str) -> None:
        """The undisturbed run of a set, once."""
        sinks = SETS[name]
        if sinks[0].name in self.expected:
            return
        place = self.place(name)
        status, said = run(place, ["run", "job.sql"])
        assert status == 0, said
        for s in sinks:
            found = lines(place / "out" / s.name)
            self.expected[s.name] = fold(found, s.name) if s.changelog else Counter(found)
            assert found, s.name

    def place(self, name: str) -> Path:
        """A new directory with the script of a set."""
        self._jobs += 1
        place = self.directory / f"{name}-{self._jobs}"
        place.mkdir()
        (place / "job.sql").write_text(script(SETS[name]))
        return place

    def check(self, name: str, place: Path) -> int:
        """That the sinks hold what an undisturbed run gives. The number of files."""
        files = 0
        for s in SETS[name]:
            directory = place / "out" / s.name
            files += len(published(directory))
            found = lines(directory)
            got = fold(found, str(directory)) if s.changelog else Counter(found)
            missing, extra = self.expected[s.name] - got, got - self.expected[s.name]
            assert not missing and not extra, (
                f"{directory}: {missing.total()} rows missing, {extra.total()} too many; "
                f"missing {list(missing)[:3]}, extra {list(extra)[:3]}"
            )
            left = [p for p in (directory / "_staging").rglob("*") if p.is_file()]
            assert not left, f"left in staging: {left}"
        return files

    def watcher(self, name: str, place: Path) -> Watcher:
        expected = {s.name: self.expected[s.name] for s in SETS[name] if not s.changelog}
        return Watcher(place / "out", expected)


def arguments(r: random.Random, rows: int, slow: bool = True) -> list[str]:
    """Of one life of a job: any parallelism, any checkpoint interval, small epochs."""
    epoch = r.choice((rows // 150, rows // 80, rows // 40)) if slow else rows // 10
    interval = r.choice((50, 100, 200))
    return [
        "run", "job.sql", "-D", "pipeline.name=kill", "-D", f"execution.checkpointing.interval={interval} ms",
        "-D", f"parallelism.default={r.randint(1, 3)}", "-D", f"execution.epoch.max-rows={max(epoch, 10)}",
    ]  # fmt: skip


def moments(r: random.Random) -> Iterator[tuple[str | None, float, int]]:
    """(fault point, seconds, signal) of each life's end, for ever."""
    from sqlstream.runtime import faults

    while True:
        kind = r.random()
        if kind < 0.25:
            yield f"{r.choice(faults.POINTS[:-1])}:{r.randint(1, 5)}", 1.5, signal.SIGKILL
        elif kind < 0.35:
            yield None, r.uniform(0.3, 0.8), r.choice((signal.SIGINT, signal.SIGTERM))
        elif kind < 0.55:
            yield None, r.uniform(0.0, 0.3), signal.SIGKILL
        else:
            yield None, r.uniform(0.3, 0.9), signal.SIGKILL


def kill_until_done(bench: Bench, name: str, seed: int, most: int, outcome: Outcome) -> None:
    """One job, ended `most` times at most, then left alone until it has finished."""
    r = random.Random(seed)
    bench.prepare(name)
    place = bench.place(name)
    ends = moments(r)
    with bench.watcher(name, place) as watcher:
        for _ in range(most):
            fault, seconds, number = next(ends)
            life = start(place, arguments(r, bench.rows), fault)
            outcome.lives += 1
            life.process.join(seconds)
            if life.process.exitcode is None:
                life.signal(number)
            status = life.wait()
            if status == 0:
                break
            if status == -signal.SIGKILL:
                outcome.kills += 1
                if fault is not None and seconds and number == signal.SIGKILL:
                    outcome.points[fault.split(":")[0]] += 1
            else:
                # A signal that came before Python had its handlers is one more way to die.
                assert status in (128 + number, -number), f"exit status {status}: {life.text()}"
                outcome.stops += 1
            assert not watcher.problems, watcher.problems
        status, said = run(place, arguments(r, bench.rows, slow=False))
        assert status == 0, said
    assert not watcher.problems, watcher.problems
    outcome.files += bench.check(name, place)
    shutil.rmtree(place)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rows", type=int, default=30_000)
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    end = time.monotonic() + given.minutes * 60
    outcome, n = Outcome(), 0
    while time.monotonic() < end:
        seed = given.seed * 1000 + n
        directory = Path(tempfile.mkdtemp(prefix="kill-"))
        bench = Bench(directory, random.Random(seed).choice((given.rows, given.rows // 4)), seed)
        for name in SETS:
            try:
                kill_until_done(bench, name, seed, 12, outcome)
            except AssertionError as e:
                print(f"round {n} ({name}, seed {seed}) in {directory}: {e}", flush=True)
                return 1
        shutil.rmtree(directory)
        n += 1
        print(f"round {n}: {outcome}", flush=True)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
