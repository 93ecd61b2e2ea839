"""Growth: what more keys, more events and less memory cost a streaming job.

    python benchmarks/growth.py --json growth.json
    python benchmarks/growth.py --parts keys --rows 10000000 --keys 10000,1000000,10000000

`benchmarks/README.md` says what is measured and how to read it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import control_groups
import nexmark_sql
import processes
import reports
import sqlstream_call

MORE = 10  # times as many events
KEYS_GOAL, EVENTS_GOAL = 2.0, 10.5


@dataclass(frozen=True)
class Run:
    """`limit`: what the run was told or allowed, for reading."""

    name: str
    rows: int
    seconds: float
    peak_bytes: int
    limit: str = "-"

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


def group_by(
    rows: int, keys: int, options: Mapping[str, str] | None = None, inside: Sequence[str] = (), limit: str = "-"
) -> Run:
    """COUNT, SUM and MAX of `rows` rows by `keys` keys, each of which comes equally often, in no order."""
    setup = (
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000000', "
        f"'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '{rows - 1}')",
    )
    scattered = f"MOD(n * 6700417, {keys})"  # a prime: 0, …, keys - 1 shuffled
    job = (
        "CREATE TABLE discarded WITH ('connector' = 'blackhole') AS SELECT k, COUNT(*) AS c, SUM(n) AS s, MAX(n) AS m "
        f"FROM (SELECT {scattered} AS k, n FROM numbers) AS scattered GROUP BY k"
    )
    return _run(f"{keys:,} keys", rows, sqlstream_call.run(setup, job, options, inside=inside), limit)


def nexmark(query: str, events: int) -> Run:
    s = nexmark_sql.generated(query, events)
    return _run(f"{query}, {events:,} events", events, sqlstream_call.run(s.setup, s.statements[-1]))


def _run(name: str, rows: int, finished: processes.Finished, limit: str = "-") -> Run:
    if finished.result is None:
        raise SystemExit(f"{name}: {finished.error}")
    run = Run(name, rows, finished.result["seconds"], finished.peak_bytes, limit)
    print(f"{run.name}, limit {run.limit}: {run.seconds:.2f} s", file=sys.stderr)
    return run


# ---- the parts


def keys(rows: int, numbers: list[int]) -> list[Run]:
    return [group_by(rows, n) for n in numbers]


def events(query: str, fewer: int) -> list[Run]:
    return [nexmark(query, fewer), nexmark(query, MORE * fewer)]


def memory(rows: int, number: int, budget: int) -> list[Run]:
    """The same state in memory, beyond a budget of it, and in a process that may not have as much."""
    small = group_by(rows, 10_000)
    free = group_by(rows, number)
    options = {"taskmanager.memory.managed.size": f"{budget} mb"}
    runs = [small, free, group_by(rows, number, options, limit=f"state {budget} MB")]
    if reason := control_groups.missing():
        print(f"no run with less memory than the state: {reason}", file=sys.stderr)
        return runs
    allowed = small.peak_bytes + (free.peak_bytes - small.peak_bytes) // 2
    with control_groups.limited(allowed) as group:
        limit = f"state {budget} MB, process {allowed / 1e6:,.0f} MB"
        last = group_by(rows, number, options, group.inside, limit)
        runs.append(replace(last, limit=f"{limit} (used {group.most_used / 1e6:,.0f})"))
    return runs


# ---- the command line


def table(runs: list[Run], goal: float | None, times: bool) -> str:
    """`goal`: how often the first run's time a later one may take, of as many rows or (`times`) of more."""
    rows = []
    for r in runs:
        ratio = (r.seconds if times else 1 / r.rate) / (runs[0].seconds if times else 1 / runs[0].rate)
        shown = "-" if goal is None else f"{goal:g}"
        cells = [f"{r.rate / 1e3:,.0f}", f"{r.seconds:.2f}", f"{ratio:.2f}", shown, f"{r.peak_bytes / 1e6:,.0f}"]
        rows.append([r.name, *cells, r.limit])
    return reports.table(["", "k rows/s", "seconds", "times the first", "goal", "peak MB", "limit"], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", default="keys,events,memory", help="default: all three")
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the GROUP BY")
    parser.add_argument("--keys", default="10000,1000000,10000000")
    parser.add_argument("--query", default="q5", help="Nexmark query of the events' part")
    parser.add_argument("--events", type=int, default=1_000_000, help=f"and {MORE} times as many")
    parser.add_argument("--budget", type=int, default=64, help="MB of state in memory, for the part memory")
    parser.add_argument("--json", type=Path, help="write all figures there")
    a = parser.parse_args()
    numbers = [int(n) for n in a.keys.split(",")]
    done: dict[str, list[Run]] = {}
    for part in a.parts.split(","):
        if part == "keys":
            done[part] = keys(a.rows, numbers)
            print(table(done[part], KEYS_GOAL, times=False), end="\n\n")
        elif part == "events":
            done[part] = events(a.query, a.events)
            print(table(done[part], EVENTS_GOAL, times=True), end="\n\n")
        elif part == "memory":
            done[part] = memory(a.rows, numbers[-1], a.budget)
            print(table(done[part], None, times=False), end="\n\n")
        else:
            parser.error(f"unknown part {part}; there are keys, events, memory")
    reports.write_json(a.json, {"parts": {p: [asdict(r) for r in runs] for p, runs in done.items()}})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
