"""Random JSON and CSV decoded with a scanner and without, ever new: the long form of test_decoding.py.

    python tests/fuzz_decoding.py --minutes 30
    python tests/fuzz_decoding.py --format csv --minutes 30
    python tests/fuzz_decoding.py --of files --minutes 10
    SQLSTREAM_SEED=7 python tests/fuzz_decoding.py --minutes 5 --processes 1
    SQLSTREAM_SEED=7 python tests/fuzz_decoding.py --of lines --example 4711

`lines`: blocks of lines, with bytes behind them that would go on with them. `parts` (of CSV): blocks as they are cut of others. `guarded`: the same, with nothing behind what may be
read and written: who touches it dies. `files`: files that are compressed, cut into blocks of any size, read on from any position, or
growing (`harness/decoding_files.py`).

Where two ways differ, what shows it is printed with the table and what is read of it. Ends with how many lines were decoded, how
many of them in place, and status 1 if a way differed or a process died.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SHOWN = 20  # differences that a process looks into
KINDS = {"json": ("lines", "guarded", "files"), "csv": ("lines", "parts", "guarded", "files")}


def looked_into(format: str, kind: str, number: int, most: int | None = None) -> Any:
    """What example `number` of a kind shows; of at most so many lines."""
    from harness.decoding import CUT
    from harness.decoding_examples import FEW, MOST, Example, check, with_all_columns
    from harness.decoding_files import FileExample, check_file
    from harness.guarded import GUARDED

    if kind == "files":
        return check_file(FileExample.of(number, format))
    if kind == "parts":
        return check(with_all_columns(Example.of(number, most or FEW, format)), [CUT])
    example = Example.of(number, most or MOST, format)
    return check(example, GUARDED) if kind == "guarded" else check(example)


def hunt(
    format: str, kinds: list[str], numbers: range, minutes: float, most: int | None, findings: Any, at: Any
) -> None:
    """Looks into examples until the time is over; puts how many lines there were, how many in place, and what differed. `at`: the
    number of the one that it looks into."""
    end, lines, scanned, failed = time.monotonic() + minutes * 60, 0, 0, 0
    for n in numbers:
        if time.monotonic() > end or failed >= SHOWN:
            break
        at.value = n
        for kind in kinds:
            found = looked_into(format, kind, n, most)
            lines, scanned = lines + found.lines, scanned + found.scanned
            for text in found.differences:
                failed += 1
                print(f"{format}, {kind}: {text}", flush=True)
    findings.put((lines, scanned, failed))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=sorted(KINDS), default="json")
    parser.add_argument("--of", help="which examples")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--examples", type=int, default=sys.maxsize, help="and no more than so many")
    parser.add_argument("--lines", type=int, help="of a block, at most")
    parser.add_argument("--example", type=int, help="this one alone")
    given = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    os.environ.setdefault("SQLSTREAM_SEED", "new")
    from harness.seed import SEED

    all_kinds = KINDS[given.format]
    kinds = given.of.split(",") if given.of else list(all_kinds)
    if unknown := {*kinds} - {*all_kinds}:
        parser.error(f"--of {unknown.pop()}: there are {', '.join(all_kinds)}")
    if given.example is not None:
        found = [looked_into(given.format, kind, given.example, given.lines) for kind in kinds]
        print(*(d for f in found for d in f.differences), sep="\n")
        return 1 if any(f.differences for f in found) else 0
    context = multiprocessing.get_context("spawn")
    findings, workers = context.Queue(), []
    for i in range(given.processes):
        at = context.Value("q", -1)
        numbers = range(i, given.examples, given.processes)
        worker = context.Process(
            target=hunt, args=(given.format, kinds, numbers, given.minutes, given.lines, findings, at)
        )
        worker.start()
        workers.append((worker, at))
    found_by, died = [], 0
    for worker, at in workers:
        worker.join()
        if worker.exitcode == 0:
            found_by.append(findings.get())
        else:
            died += 1
            print(f"died with {worker.exitcode} at example {at.value}", flush=True)
    lines, scanned, failed = (sum(f[i] for f in found_by) for i in range(3))
    print(
        f"{lines} lines, {scanned} in place, {failed} differences, {died} processes died; seed {SEED}, {given.minutes:g} minutes"
    )
    return 1 if failed or died else 0


if __name__ == "__main__":
    sys.exit(main())
