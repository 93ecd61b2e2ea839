"""Runs whole jobs in a simulated world, a seed each: the same seed is the same run, event by event.

    python tests/simulation.py --seeds 200            # 0 to 199
    python tests/simulation.py --minutes 30           # ever new ones
    python tests/simulation.py --seed 123 --trace     # one, and all that happens in it

What may befall a job, and what must be true in the end, stands in `simulated/world.py`.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
PATIENCE = 300  # real seconds for a seed
BATCH = 20  # seeds by one process


def run(seed: int, trace: bool = False) -> list[str]:
    """One seed; its trace. Raises AssertionError."""
    from simulated.world import World

    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    try:
        with tempfile.TemporaryDirectory(prefix="simulation-") as place:
            return World(seed, Path(place).resolve(), trace).run()
    finally:
        faulthandler.cancel_dump_traceback_later()


def here(first: int, count: int, trace: bool) -> int:
    """Seeds one after the other in this process, which ends with the first that fails: what it had is in the way of others."""
    for seed in range(first, first + count):
        try:
            run(seed, trace)
        except Exception as e:
            known = isinstance(e, AssertionError)
            text = str(e) if known else "".join(traceback.format_exception(e))
            print(
                f"seed {seed} fails: {text[:8000]}\n  replay: python tests/simulation.py --seed {seed} --trace",
                flush=True,
            )
            os._exit(1 + seed - first)
    return 0


def elsewhere(first: int, count: int) -> tuple[int, bool]:
    """The same in another process, up to the first that fails; how many it has run, and whether the last one failed."""
    environment = {**os.environ, "PYTHONHASHSEED": "0"}  # the order of sets
    command = [sys.executable, __file__, "--here", "--first", str(first), "--seeds", str(count)]
    status = subprocess.run(command, env=environment, check=False).returncode
    if status < 0 or status > count:
        print(f"a process for the seeds from {first} on died: {status}")
        return count, True
    return (status, True) if status else (count, False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if (given.here or given.seed is not None) and os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
    if given.here or given.seed is not None:
        faulthandler.enable()
        sys.path[:0] = [str(HERE), str(HERE.parent)]
        return here(given.first, given.seeds, given.trace) if given.here else here(given.seed, 1, given.trace)
    began, done, failed = time.monotonic(), 0, 0
    while time.monotonic() - began < given.minutes * 60 if given.minutes is not None else done < given.seeds:
        count, wrong = elsewhere(given.first + done, min(BATCH, given.seeds - done) if given.minutes is None else BATCH)
        done, failed = done + count, failed + wrong
    print(f"{done} seeds, {failed} failed, {time.monotonic() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
