"""Parts of `state.py` that are one job each, from made-up rows to `blackhole`: speed, memory, and how epochs go on.

What a job does is told by row numbers, so that its phases follow each other in one run: keys are first filled, each
once, then touched again. A trace of the epochs tells when each phase began and ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import control_groups
import flink_runner
import processes
import sqlstream_call
from state_figures import Failed, Figure, Setting, percentile

ALL_AT_ONCE = 1_000_000_000  # rows a second: as many as the job takes
PRIMES = (6_700_417, 15_485_863)  # a number times a prime, modulo: all keys, in an order that looks like none
FLINK, PARALLELISM = "flink", 2  # in place of a backend: the peer
RECENT = 50  # of so many keys the last one is recent


class Epoch(NamedTuple):
    """What the trace of a run says at the end of an epoch (`sqlstream_runner.Trace`)."""

    seconds: float
    rows: int
    waited: float
    checkpoints: int
    barriers: float


@dataclass(frozen=True)
class Job:
    """Statements before the measured one, that one, and the rows of all its sources."""

    setup: tuple[str, ...]
    statement: str
    rows: int


def scattered(position: str, keys: int, prime: int = PRIMES[0]) -> str:
    """SQL: the key that was filled at this position."""
    return f"MOD(({position}) * {prime}, {keys})"


def numbers(name: str, rows: int, rate: int = ALL_AT_ONCE) -> str:
    """A table of `rows` rows: their number, and one at random below 2^40."""
    return (
        f"CREATE TABLE {name} (n BIGINT, r BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '{rate}', "
        f"'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '{rows - 1}', "
        f"'fields.r.min' = '0', 'fields.r.max' = '{1 << 40}')"
    )


def grouped(key: str) -> str:
    """COUNT, SUM and MAX by the key."""
    return (
        "CREATE TABLE discarded WITH ('connector' = 'blackhole') AS SELECT k, COUNT(*) AS c, SUM(n) AS s, MAX(n) AS m "
        f"FROM (SELECT {key} AS k, n FROM numbers) AS keyed GROUP BY k"
    )


# ---- state that does not fit


def keys(setting: Setting) -> list[Figure]:
    """A GROUP BY: each key once; then keys of the last fiftieth; then keys from all over."""
    total, more = setting.sizes.of(50_000_000), setting.sizes.of(5_000_000)
    if setting.backend == FLINK:
        return [_keys_of_flink(setting, total)]
    position = (
        f"CASE WHEN n < {total} THEN n WHEN n < {total + more} THEN {total - 1} - MOD(r, {total // RECENT}) "
        f"ELSE MOD(r, {total}) END"
    )
    rows = total + 2 * more
    epochs, memory = _in_little_memory(
        setting, Job((numbers("numbers", rows),), grouped(scattered(position, total)), rows), "keys"
    )
    bounds = [_reached(epochs, n) for n in (0, total, total + more, rows)]
    names = (("each key once", total, 400e3), ("recent keys", more, 800e3), ("keys at random", more, 100e3))
    rates = [
        Figure(f"keys: {name}", n / (b - a), "rows/s", goal)
        for (name, n, goal), a, b in zip(names, bounds[:-1], bounds[1:], strict=True)
    ]
    return [*rates, *memory]


def _keys_of_flink(setting: Setting, rows: int) -> Figure:
    """Flink on RocksDB: each key once, with the same managed memory and no control group, which a JVM with its heap would
    not fit into. Its sequences are made in memory before the first row, so the keys are numbers at random below 2^40."""
    options = flink_runner.options(PARALLELISM, setting.sizes.checkpoint_seconds, setting.scratch / "checkpoints")
    table = (
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', "
        f"'rows-per-second' = '{ALL_AT_ONCE}', 'number-of-rows' = '{{rows}}', "
        f"'fields.n.min' = '0', 'fields.n.max' = '{1 << 40}')"
    )
    sink = "CREATE TABLE discarded (k BIGINT, c BIGINT, s BIGINT, m BIGINT) WITH ('connector' = 'blackhole')"
    statement = "INSERT INTO discarded SELECT n, COUNT(*), SUM(n), MAX(n) FROM numbers GROUP BY n"
    call = {
        "setup": [table.format(rows=rows), sink],
        "job": statement,
        "warmup": {"setup": [table.format(rows=min(rows, 1_000_000)), sink], "job": statement},
        "options": options | {"taskmanager.memory.managed.size": f"{setting.sizes.managed_mb}mb"},
        "log_directory": str(setting.scratch),
    }
    finished = processes.run(
        [flink_runner.python(), str(Path(flink_runner.__file__))],
        call,
        cwd=setting.scratch,
        env=os.environ | {"FLINK_LOG_DIR": str(setting.scratch)},
        timeout=setting.sizes.timeout,
    )
    if finished.result is None:
        raise Failed(str(finished.error))
    return Figure("keys: each key once", rows / finished.result["seconds"], "rows/s", 400e3)


def join(setting: Setting) -> list[Figure]:
    """A regular join of two tables, each of whose rows finds one in the other, anywhere."""
    side = setting.sizes.of(20_000_000)
    statement = (
        "CREATE TABLE discarded WITH ('connector' = 'blackhole') AS SELECT a.k, a.text, b.n "
        f"FROM (SELECT {scattered('n', side)} AS k, 'row ' || CAST(n AS STRING) AS text FROM a) AS a "
        f"JOIN (SELECT {scattered('n', side, PRIMES[1])} AS k, n FROM b) AS b ON a.k = b.k"
    )
    job = Job((numbers("a", side), numbers("b", side)), statement, 2 * side)
    epochs, memory = _in_little_memory(setting, job, "join")
    return [Figure("join: rows of both sides", 2 * side / epochs[-1].seconds, "rows/s", 200e3), *memory]


def _in_little_memory(setting: Setting, job: Job, name: str) -> tuple[list[Epoch], list[Figure]]:
    """Runs it in a control group; its epochs, and figures of its memory."""
    if reason := control_groups.missing():
        raise Failed(f"needs a control group: {reason}")
    sizes = setting.sizes
    options = setting.options(sizes.checkpoint_seconds)
    options["taskmanager.memory.managed.size"] = f"{sizes.managed_mb} mb"
    with control_groups.limited(sizes.group_bytes) as group:
        try:
            finished, epochs = _run(setting, job, options, group.inside)
        except Failed as e:
            raise Failed(f"killed for want of memory: {e}" if group.killed else str(e)) from None
        used = group.most_used
    goal = sizes.managed_mb * 1.048576 + 400
    return epochs, [
        Figure(f"{name}: resident memory", finished.peak_bytes / 1e6, "MB", goal, most=True),
        Figure(f"{name}: of it without mapped files", finished.peak_private_bytes / 1e6, "MB"),
        Figure(f"{name}: control group (of {sizes.group_bytes / 1e6:,.0f} MB)", used / 1e6, "MB"),
    ]


# ---- epochs and checkpoints


def pause(setting: Setting) -> list[Figure]:
    """A GROUP BY of keys that are there, at random: at a steady rate, then as fast as it goes."""
    total = setting.sizes.of(5_000_000)
    rate, seconds = 200_000, max(60 * setting.sizes.scale, 15.0)
    steady, fast = int(total + rate * seconds), total + max(10 * total, 20_000_000)
    groups = grouped(scattered(f"CASE WHEN n < {total} THEN n ELSE MOD(r, {total}) END", total))
    return [
        *_pauses(setting.inside("steady"), groups, total, steady, rate, f"pause at {rate:,} rows/s"),
        *_pauses(setting.inside("fast"), groups, total, fast, ALL_AT_ONCE, "pause at full speed"),
    ]


def chained(setting: Setting) -> list[Figure]:
    """State whose rows are found through other rows: of an outer join, each of whose left rows counts the rows that it
    meets; and of the newest rows of each key."""
    total, rate = setting.sizes.of(1_000_000), 200_000
    rows = int(total + rate * max(30 * setting.sizes.scale, 10.0))
    discarded = "CREATE TABLE discarded WITH ('connector' = 'blackhole') AS SELECT"
    joined = (
        f"{discarded} a.k, a.n, b.n AS m FROM (SELECT {scattered('n', total)} AS k, n FROM numbers WHERE n < {total}) AS a "
        f"LEFT JOIN (SELECT MOD(r, {total}) AS k, n FROM numbers WHERE n >= {total}) AS b ON a.k = b.k"
    )
    newest = (
        f"{discarded} k, n FROM (SELECT k, n, ROW_NUMBER() OVER (PARTITION BY k ORDER BY n DESC) AS place "
        f"FROM (SELECT MOD(r, {total}) AS k, n FROM numbers) AS keyed) AS placed WHERE place <= 2"
    )
    return [
        *_pauses(setting.inside("join"), joined, total, rows, rate, "pause of a join"),
        *_pauses(setting.inside("top-n"), newest, total, rows, rate, "pause of a top-n"),
    ]


def _pauses(setting: Setting, statement: str, total: int, rows: int, rate: int, name: str) -> Iterator[Figure]:
    """With a checkpoint a second and RocksDB taking the changelog in often, then without both."""
    job = Job((numbers("numbers", rows, rate),), statement, rows)
    _, with_ = _run(setting, job, setting.options(1, setting.sizes.fold_seconds))
    _, without = _run(setting, job, {"execution.checkpointing.interval": "0"})
    barriers = [
        (b.barriers - a.barriers) * 1000
        for a, b in zip(with_, with_[1:], strict=False)
        if a.rows >= total and b.checkpoints > a.checkpoints
    ]
    yield Figure(f"{name}: 50th percentile", percentile(barriers, 0.5), "ms")
    yield Figure(f"{name}: 99th percentile", percentile(barriers, 0.99), "ms", 50, most=True)
    yield Figure(f"{name}: longest of {len(barriers)}", max(barriers), "ms")
    for what, epochs in (("checkpoints", with_), ("none", without)):
        lasted = _lasted(epochs, total)
        for share in (0.5, 0.99, 1.0):
            which = "longest" if share == 1 else f"{share * 100:.0f}th percentile"
            yield Figure(f"{name}, epoch with {what}: {which}", percentile(lasted, share), "ms")


def _lasted(epochs: list[Epoch], after: int) -> list[float]:
    """Milliseconds of each epoch that had rows, behind the first `after` rows; with all that is done between epochs,
    without waiting for rows."""
    return [
        (b.seconds - a.seconds - (b.waited - a.waited)) * 1000
        for a, b in zip(epochs, epochs[1:], strict=False)
        if a.rows >= after and b.rows > a.rows
    ]


# ---- runs and traces


def _run(
    setting: Setting, job: Job, options: Mapping[str, str], inside: Sequence[str] = ()
) -> tuple[processes.Finished, list[Epoch]]:
    """Runs it to its end. Failed says how far it got."""
    trace = setting.scratch / "trace"
    finished = sqlstream_call.run(
        job.setup,
        job.statement,
        {**options, "io.tmp.dirs": str(setting.scratch)},
        timeout=setting.sizes.timeout,
        inside=inside,
        trace=trace,
    )
    epochs = [_epoch(line) for line in trace.read_text().splitlines()] if trace.exists() else []
    if finished.result is None or not epochs or epochs[-1].rows != job.rows:
        got = f"; {epochs[-1].rows:,} rows of {job.rows:,} in {epochs[-1].seconds:.0f} s" if epochs else ""
        raise Failed(f"{finished.error or 'it ended early'}{got}")
    return finished, epochs


def _epoch(line: str) -> Epoch:
    seconds, rows, waited, checkpoints, barriers = line.split()
    return Epoch(float(seconds), int(rows), float(waited), int(checkpoints), float(barriers))


def _reached(epochs: Sequence[Epoch], rows: int) -> float:
    """Seconds from the start until so many rows were done; between two epochs a straight line."""
    seconds, done = 0.0, 0
    for e in epochs:
        if e.rows >= rows:
            share = 0.0 if e.rows == done else (rows - done) / (e.rows - done)
            return seconds + share * (e.seconds - seconds)
        seconds, done = e.seconds, e.rows
    raise Failed(f"only {done:,} rows of {rows:,}")
