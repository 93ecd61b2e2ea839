"""Whole jobs in simulated worlds: 200 seeds. A failing one says the command that replays it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(__file__).with_name("simulation.py")
SEEDS, TOGETHER = 200, 10
ENVIRONMENT = {**os.environ, "PYTHONHASHSEED": "0"}


def simulate(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(COMMAND), *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.share(5)
@pytest.mark.parametrize("first", range(0, SEEDS, TOGETHER))
def test_seeds(first: int) -> None:
    done = simulate("--here", "--first", first, "--seeds", TOGETHER)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-4000:]}"


@pytest.mark.share(3)
@pytest.mark.parametrize("seed", [5, 22, 26])  # a hashmap job, one with crashes, one of several tasks
def test_the_same_seed_is_the_same_run(seed: int) -> None:
    first, again = (simulate("--seed", seed, "--trace").stderr.splitlines() for _ in range(2))
    assert len(first) > 100
    assert first == again
