"""State: what each backend does where state outgrows memory, at checkpoints and at restarts, beside the goals.

    python benchmarks/state.py
    python benchmarks/state.py --parts keys,join --backends rocksdb --scale 1
    python benchmarks/state.py --parts nexmark --events 10000000 --flink --json state.json

`benchmarks/README.md` says what is measured and how to read it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import reports
import state_checkpoints
import state_jobs
import state_nexmark
from state_figures import Failed, Figure, Part, Setting, Sizes, shown, table

PARTS: dict[str, Callable[[Setting], list[Figure]]] = {
    "keys": state_jobs.keys,
    "join": state_jobs.join,
    "upload": state_checkpoints.upload,
    "pause": state_jobs.pause,
    "chained": state_jobs.chained,
    "restart": state_checkpoints.restart,
}
BACKENDS = ("hashmap", "rocksdb")
OF_FLINK = ("nexmark", "keys")  # parts that Flink runs too


# ---- the parts that are figures of one run


def measure(name: str, backends: list[str], sizes: Sizes, runs: int, scratch: Path | None) -> Part:
    """Runs of the backends take turns, so that they meet the same moods of the machine."""
    part = Part({b: [] for b in backends}, {})
    for _ in range(runs):
        for backend in backends:
            if backend in part.failures:
                continue
            with tempfile.TemporaryDirectory(prefix="state-", dir=scratch, ignore_cleanup_errors=True) as place:
                try:
                    figures = PARTS[name](Setting(backend, Path(place), sizes))
                except Failed as e:
                    part.failures[backend] = str(e)
                except Exception:
                    part.failures[backend] = traceback.format_exc()
                else:
                    part.runs[backend].append(figures)
                    for f in figures:
                        print(f"{backend}, {f.name}: {shown(f.value)} {f.unit}", file=sys.stderr)
    return part


# ---- the command line


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = ["nexmark", *PARTS]
    parser.add_argument("--parts", default=",".join(names), help="default: all")
    parser.add_argument("--backends", default=",".join(BACKENDS), help="default: both")
    parser.add_argument("--scale", type=float, default=0.1, help="1: the sizes that the goals are about")
    parser.add_argument("--runs", type=int, default=1, help="the median of so many is shown")
    parser.add_argument("--checkpoint-seconds", type=float, default=5.0, help="between checkpoints of keys and join")
    parser.add_argument("--fold-seconds", type=float, default=5.0, help="between RocksDB's turns in pause and restart")
    parser.add_argument("--events", type=int, default=1_000_000, help="of Nexmark")
    parser.add_argument(
        "--queries", default=",".join(state_nexmark.STATEFUL), help="of Nexmark; default: all with state"
    )
    parser.add_argument("--flink", action="store_true", help="measure Flink too (Nexmark: or show what was kept; keys)")
    parser.add_argument("--events-flink", type=int, help="of Flink's Nexmark; default: as --events")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one run")
    parser.add_argument("--scratch", type=Path, help="where runs have their files; default: the system's place")
    parser.add_argument("--json", type=Path, help="write all figures there")
    a = parser.parse_args()
    parts, backends = a.parts.split(","), a.backends.split(",")
    for given, known in ((parts, names), (backends, BACKENDS)):
        if unknown := [g for g in given if g not in known]:
            parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was begun is cleaned up
    sizes = Sizes(a.scale, a.checkpoint_seconds, a.fold_seconds, a.timeout)
    found: dict[str, Any] = {}
    failed = False
    print(f"python {' '.join(sys.argv)}: {reports.now()}, {reports.machine()}\n")
    for name in parts:
        if name == "nexmark":
            shown_table, failures, figures = state_nexmark.compare(
                a.queries.split(","), backends, a.events, a.events_flink or a.events, a.runs, a.flink, a.timeout
            )
        else:
            engines = [*backends, state_jobs.FLINK] if a.flink and name in OF_FLINK else backends
            part = measure(name, engines, sizes, a.runs, a.scratch)
            shown_table, figures = table(part, backends, engines[len(backends) :]), asdict(part)
            failures = [f"{name} on {b}: {why}" for b, why in part.failures.items()]
        print("\n\n".join([f"**{name}**", shown_table, *failures]), end="\n\n", flush=True)
        found[name] = figures
        failed |= bool(failures)
        reports.write_json(a.json, {"command": sys.argv, "sizes": asdict(sizes), "parts": found})
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
