"""Latency: how long after a row was due in the source its result is in the sink, at a steady rate.

    python benchmarks/latency.py --rate 50000 --seconds 30 --json latency.json

`benchmarks/README.md` says what is measured and how to read it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import reports

ROOT = Path(__file__).resolve().parent.parent
STOPPED = 143  # by SIGTERM, which is never ignored (Ctrl-C is, in the background of a script)
PIPE_BYTES = 1 << 20  # so that the engine does not wait for the reader of its pipe
MONITOR, CHECKPOINT = 0.1, 1.0  # seconds: intervals of the files' part
APPEND = 0.005  # seconds between two writes into the growing file


@dataclass(frozen=True)
class Measured:
    """Milliseconds after which a row's result was there; one figure a row that was due after the warm-up."""

    milliseconds: np.ndarray
    goal: float  # for the 99th percentile

    def figures(self) -> dict[str, float]:
        p50, p99, most = np.percentile(self.milliseconds, (50, 99, 100))
        figures = {"p50": p50, "p99": p99, "max": most, "goal_p99": self.goal}
        return {"rows": len(self.milliseconds), **{k: round(float(v), 1) for k, v in figures.items()}}


# ---- from the generator to print


@dataclass(frozen=True)
class Printed:
    """A query whose rows end with the time of the youngest event that they are made of."""

    select: str
    columns: str
    goal: float
    grouped: bool = False  # the first column is a key, and a row tells of all earlier events of that key


QUERIES = {
    "stateless": Printed(
        "SELECT auction, bidder, price * 2, `dateTime` FROM bid",
        "auction BIGINT, bidder BIGINT, price BIGINT, due TIMESTAMP(3)",
        20,
    ),
    "GROUP BY": Printed(
        "SELECT auction, COUNT(*), MAX(price), MAX(`dateTime`) FROM bid GROUP BY auction",
        "auction BIGINT, bids BIGINT, price BIGINT, due TIMESTAMP(3)",
        50,
        grouped=True,
    ),
    "join": Printed(
        "SELECT b.auction, b.price, a.category, GREATEST(a.`dateTime`, b.`dateTime`) "
        "FROM bid b JOIN auction a ON b.auction = a.id",
        "auction BIGINT, price BIGINT, category BIGINT, due TIMESTAMP(3)",
        50,
    ),
}


def script(query: Printed, events: int, rate: int) -> str:
    """The query over paced events whose event time is the time at which they are due."""
    tables = (ROOT / "catalog" / "nexmark.sql").read_text()
    options = {
        "events.num": events,
        "first-event.rate": rate,
        "rate.limited": "true",
        "base-time": "now",
    }
    given = ", ".join(f"'{k}' = '{v}'" for k, v in options.items())
    return (
        tables.replace("'events.num' = '1000000'", given)
        + f"\nCREATE TABLE results ({query.columns}) WITH ('connector' = 'print');"
        + f"\nINSERT INTO results {query.select};\n"
    )


def printed(query: Printed, rate: int, seconds: float, warmup: float) -> Measured:
    """Runs the query as a durable job with the default options, and reads what it prints."""
    events = int(rate * (seconds + warmup))
    with tempfile.TemporaryDirectory(prefix="latency-") as scratch:
        arrived, lines = _output(script(query, events, rate), Path(scratch))
    fields = pc.extract_regex(lines, r"^\+[IU]\[(?P<key>\d+), .*, (?P<due>[^, ]+)\]$")
    kept = fields.is_valid().to_numpy(zero_copy_only=False)
    arrived, fields = arrived[kept], fields.filter(pa.array(kept))
    due = _milliseconds(fields.field("due"))
    if query.grouped:
        key = fields.field("key").cast(pa.int64()).to_numpy(zero_copy_only=False)
        due, arrived = _of_each_event(key, due, arrived, events, rate)
    measured = due >= due.min() + warmup * 1000
    return Measured(arrived[measured] - due[measured], query.goal)


def _milliseconds(times: pa.Array) -> np.ndarray:
    return times.cast(pa.timestamp("ms")).cast(pa.int64()).to_numpy(zero_copy_only=False)


def _of_each_event(
    key: np.ndarray, due: np.ndarray, arrived: np.ndarray, events: int, rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """When each bid was due, and when the first row of its auction came that tells of it."""
    from sqlstream.connectors.nexmark_generator import EventBatch, NexmarkConfig
    from sqlstream.connectors.nexmark_strings import StringPools

    config = NexmarkConfig(base_time=0, first_rate=rate, next_rate=rate)
    numbers = np.arange(events, dtype=np.int64)
    auction = EventBatch(config, StringPools(0), numbers).column(("bid", "auction"))
    bids = auction.is_valid().to_numpy(zero_copy_only=False)
    when = config.times(numbers[bids]) // 1000
    base = due.max() - when.max()  # the last bid is in the last row
    auctions = auction.drop_null().to_numpy()
    scale = 1 << 32
    rows = key * scale + (due - base)
    order = np.argsort(rows, kind="stable")
    found = np.searchsorted(rows[order], auctions * scale + when)
    return when + base, arrived[order][found]


# ---- from a growing file to files

FILES = """
CREATE TABLE growing (n BIGINT, due BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'input', 'format' = 'json', 'source.monitor-interval' = '{monitor:.0f} ms');
CREATE TABLE results (n BIGINT, due BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'output', 'format' = 'json');
SET 'execution.checkpointing.interval' = '{checkpoint:.0f} ms';
INSERT INTO results SELECT n + 1, due FROM growing;
"""


def files(rate: int, seconds: float, warmup: float) -> Measured:
    """Appends rows to a file at their time, and looks for published files until all rows are there."""
    with tempfile.TemporaryDirectory(prefix="latency-") as scratch:
        place = Path(scratch)
        (place / "input").mkdir()
        (place / "output").mkdir()
        sql = FILES.format(monitor=MONITOR * 1000, checkpoint=CHECKPOINT * 1000)
        with _engine(sql, place) as process, ThreadPoolExecutor(1) as pool:
            count = pool.submit(_append, place / "input" / "rows.json", rate, seconds + warmup)
            appeared = _appearing(place / "output", lambda: process.poll() is None and not count.done())
            process.send_signal(signal.SIGTERM)
        due, arrived = [], []
        for when, path in appeared:
            rows = pyarrow.json.read_json(path).column("due").to_numpy()
            due.append(rows)
            arrived.append(np.full(len(rows), when * 1000))
    all_due, all_arrived = np.concatenate(due), np.concatenate(arrived)
    if len(all_due) != count.result():
        raise SystemExit(f"{count.result():,} rows were appended, {len(all_due):,} came out")
    measured = all_due >= all_due.min() + warmup * 1000
    return Measured(all_arrived[measured] - all_due[measured], 20 + (MONITOR + CHECKPOINT) * 1000)


def _append(path: Path, rate: int, seconds: float) -> int:
    """Rows that say when they were due, ms, written within APPEND seconds of that; their number, when all are out."""
    began, n = time.time(), 0
    with path.open("a") as out:
        while n < rate * seconds:
            time.sleep(APPEND)
            ready = min(int((time.time() - began) * rate), int(rate * seconds))
            out.write("".join(f'{{"n": {i}, "due": {int((began + i / rate) * 1000)}}}\n' for i in range(n, ready)))
            out.flush()
            n = ready
    time.sleep(2 * (MONITOR + CHECKPOINT))
    return n


def _appearing(directory: Path, going_on: Callable[[], bool]) -> list[tuple[float, Path]]:
    """Files as they are published, and when."""
    found: dict[Path, float] = {}
    while going_on():
        for path in directory.glob("*.json"):
            found.setdefault(path, time.time())
        time.sleep(0.002)
    return [(when, path) for path, when in found.items()]


def _output(sql: str, scratch: Path) -> tuple[np.ndarray, pa.Array]:
    """The lines that the script prints, and when each was there, ms."""
    with _engine(sql, scratch, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pipe = process.stdout.fileno()
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        times, chunks = [], []
        while chunk := os.read(pipe, PIPE_BYTES):
            times.append(time.time())
            chunks.append(chunk)
    data = b"".join(chunks)
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    of = np.searchsorted(np.cumsum([len(c) for c in chunks]), ends, side="right")
    offsets = np.concatenate(([0], ends + 1)).astype(np.int32)
    lines = pa.Array.from_buffers(pa.string(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    return np.array(times)[of] * 1000, pc.ascii_rtrim(lines, "\n")


@contextlib.contextmanager
def _engine(sql: str, scratch: Path, **arguments: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`sqlstream run` of the script as a durable job; ended when the block is left."""
    file = scratch / "job.sql"
    file.write_text(sql)
    options = ["-D", f"execution.checkpointing.dir={scratch / 'checkpoints'}", "-D", "pipeline.name=latency"]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "sqlstream", "run", str(file), *options]
    with open(scratch / "errors", "w+b") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stderr=errors,
            cwd=scratch,
            env=os.environ | {"PYTHONPATH": path},
            **arguments,
        )
        try:
            yield process
            process.wait()
        finally:
            process.kill()
            process.wait()
        if process.returncode not in (0, STOPPED):
            errors.seek(0)
            raise SystemExit(f"the job failed: {errors.read().decode()[-2000:]}")


# ---- the command line


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, default=50_000, help="events a second")
    parser.add_argument("--seconds", type=float, default=30, help="measured; three checkpoints by default")
    parser.add_argument("--warmup", type=float, default=5, help="seconds before that, not measured")
    parser.add_argument("--queries", default=",".join([*QUERIES, "files"]), help="default: all")
    parser.add_argument("--json", type=Path, help="write all figures there")
    a = parser.parse_args()
    parts: dict[str, Callable[[], Measured]] = {
        name: (lambda q=q: printed(q, a.rate, a.seconds, a.warmup)) for name, q in QUERIES.items()
    }
    parts["files"] = lambda: files(a.rate, a.seconds, a.warmup)
    results = {}
    for name in a.queries.split(","):
        results[name] = parts[name]().figures()
        print(f"{name}: {results[name]}", file=sys.stderr)
    head = ["ms", "50th", "99th", "goal", "max", "rows"]
    rows = [
        [n, f"{r['p50']:.1f}", f"{r['p99']:.1f}", f"{r['goal_p99']:g}", f"{r['max']:.1f}", f"{r['rows']:,}"]
        for n, r in results.items()
    ]
    print(reports.table(head, rows))
    reports.write_json(a.json, {"rate": a.rate, "seconds": a.seconds, "milliseconds": results})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
