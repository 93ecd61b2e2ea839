"""Checkpoints: what a checkpoint each second costs in throughput, and its memory.

    python benchmarks/checkpoints.py --events 10000000 --json checkpoints.json

`benchmarks/README.md` says what is measured and how to read it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import nexmark_sql
import processes
import reports
import sqlstream_call

GOAL = 0.9  # of the rate without checkpoints


def measure(query: str, events: int, seconds: float) -> processes.Finished:
    """The query over the embedded generator, with a checkpoint every so many seconds (0: none)."""
    s = nexmark_sql.generated(query, events)
    with tempfile.TemporaryDirectory(prefix="checkpoints-") as scratch:
        options = sqlstream_call.checkpointing(seconds, Path(scratch))
        finished = sqlstream_call.run(s.setup, s.statements[-1], options)
    if finished.result is None:
        raise SystemExit(f"{query}: {finished.error}")
    print(f"{query}, every {seconds:g} s: {finished.result['seconds']:.2f} s", file=sys.stderr)
    return finished


def compare(query: str, events: int, seconds: float, runs: int) -> dict[str, Any]:
    """Medians of `runs` pairs, which take turns so that both meet the same moods of the machine."""
    pairs = [(measure(query, events, 0), measure(query, events, seconds)) for _ in range(runs)]
    without, with_ = zip(*pairs, strict=True)
    rates = [[events / f.result["seconds"] for f in side if f.result is not None] for side in (without, with_)]
    ratio = statistics.median(b / a for a, b in zip(*rates, strict=True))
    return {
        "rate": statistics.median(rates[0]),
        "rate_with": statistics.median(rates[1]),
        "ratio": ratio,
        "checkpoints": statistics.median(f.result["checkpoints"] for f in with_ if f.result is not None),
        "peak_bytes": max(f.peak_bytes for f in without),
        "peak_bytes_with": max(f.peak_bytes for f in with_),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--queries", default="q0,q4,q17,q18,q20")
    parser.add_argument("--seconds", type=float, default=1.0, help="between checkpoints")
    parser.add_argument("--runs", type=int, default=1, help="the median of so many pairs is shown")
    parser.add_argument("--json", type=Path, help="write all figures there")
    a = parser.parse_args()
    found = {}
    for query in a.queries.split(","):
        found[query] = compare(query, a.events, a.seconds, a.runs)
        reports.write_json(a.json, {"events": a.events, "interval": a.seconds, "runs": a.runs, "queries": found})
    head = ["query", "k ev/s", "with checkpoints", "ratio", "goal", "checkpoints", "MB", "MB with"]
    rows = [
        [
            query,
            *(f"{f[k] / 1e3:,.0f}" for k in ("rate", "rate_with")),
            f"{f['ratio']:.2f}",
            f"{GOAL:g}",
            f"{f['checkpoints']:g}",
            *(f"{f[k] / 1e6:,.0f}" for k in ("peak_bytes", "peak_bytes_with")),
        ]
        for query, f in found.items()
    ]
    print(reports.table(head, rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
