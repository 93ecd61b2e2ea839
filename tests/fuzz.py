"""Random queries over random inputs against the oracle, ever new ones: the long form of test_epoch_consistency.py.

    python tests/fuzz.py --minutes 30
    SQLSTREAM_SEED=7 python tests/fuzz.py --minutes 5 --processes 1

A failure is made small and shown as a script. Ends with how many queries ran by each seed, and status 1 if one failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def hunt(number: int, processes: int, minutes: float, findings: multiprocessing.Queue[tuple[int, int]]) -> None:
    """Every `processes`-th example until the time is over; puts how many ran, and how many failed."""
    from harness.generated import KINDS, Example
    from harness.minimal import minimal
    from harness.seed import said

    end, done, failed, n = time.monotonic() + minutes * 60, 0, 0, number
    while time.monotonic() < end:
        kind = list(KINDS)[n // processes % 3 == 2]  # two of three at every epoch
        example = Example.of(kind, n)
        with tempfile.TemporaryDirectory() as name:
            failure = example.failure(Path(name) / "example")
        done, n = done + 1, n + processes
        if failure is not None:
            failed += 1
            smallest, failure = minimal(example, failure)
            print(said(f"{kind} {example.number}: {failure!r}\n{smallest.script()}"), flush=True)
    findings.put((done, failed))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    os.environ.setdefault("SQLSTREAM_SEED", "new")
    from harness.seed import SEED

    context = multiprocessing.get_context("spawn")
    findings = context.Queue()
    workers = [
        context.Process(target=hunt, args=(i, given.processes, given.minutes, findings)) for i in range(given.processes)
    ]
    for worker in workers:
        worker.start()
    found = []
    for worker in workers:
        worker.join()
        if worker.exitcode == 0:
            found.append(findings.get())
    done, failed = (sum(f[i] for f in found) for i in (0, 1))
    died = len(workers) - len(found)
    print(f"{done} queries, {failed} failed, {died} processes died; seed {SEED}, {given.minutes:g} minutes")
    return 1 if failed or died else 0


if __name__ == "__main__":
    sys.exit(main())
