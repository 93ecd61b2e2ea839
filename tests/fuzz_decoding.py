"""Random lines of JSON decoded with the scanner and without, ever new ones: the long form of test_decoding.py.

    python tests/fuzz_decoding.py --minutes 30
    SQLSTREAM_SEED=7 python tests/fuzz_decoding.py --minutes 5 --processes 1
    SQLSTREAM_SEED=7 python tests/fuzz_decoding.py --example 4711

Where two ways differ, the smallest lines that show it are printed with the table and what is read of it. Ends with how many lines
were decoded, how many of them in place, and status 1 if a way differed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHOWN = 20  # differences that a process looks into


def hunt(number: int, processes: int, minutes: float, findings: multiprocessing.Queue[tuple[int, int, int]]) -> None:
    """Every `processes`-th example until the time is over; puts how many lines there were, how many in place, and what differed."""
    from harness.decoding_examples import Example, check

    end, lines, scanned, failed, n = time.monotonic() + minutes * 60, 0, 0, 0, number
    while time.monotonic() < end and failed < SHOWN:
        found = check(Example.of(n))
        lines, scanned, n = lines + found.lines, scanned + found.scanned, n + processes
        for text in found.differences:
            failed += 1
            print(text, flush=True)
    findings.put((lines, scanned, failed))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--example", type=int, help="this one alone")
    given = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    os.environ.setdefault("SQLSTREAM_SEED", "new")
    from harness.decoding_examples import Example, check
    from harness.seed import SEED

    if given.example is not None:
        found = check(Example.of(given.example))
        print(*found.differences, f"{found.lines} lines, {found.scanned} in place", sep="\n")
        return 1 if found.differences else 0
    context = multiprocessing.get_context("spawn")
    findings = context.Queue()
    workers = [
        context.Process(target=hunt, args=(i, given.processes, given.minutes, findings)) for i in range(given.processes)
    ]
    for worker in workers:
        worker.start()
    found_by = []
    for worker in workers:
        worker.join()
        if worker.exitcode == 0:
            found_by.append(findings.get())
    lines, scanned, failed = (sum(f[i] for f in found_by) for i in range(3))
    died = len(workers) - len(found_by)
    print(
        f"{lines} lines, {scanned} in place, {failed} differences, {died} processes died; seed {SEED}, {given.minutes:g} minutes"
    )
    return 1 if failed or died else 0


if __name__ == "__main__":
    sys.exit(main())
