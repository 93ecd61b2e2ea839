"""The tutorial's commands, one after the other from nothing, each with what it prints.

Numbers differ from run to run where they are of time, processes and progress: such lines are compared with `#` for each number.
What comes with time (a job's rate, the next minute) is asked for again until it is there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tutorial" / "first-stream.md").read_text()
STEPS = [tuple(b.removeprefix("$ ").split("\n", 1)) for b in re.findall(r"^```console\n(.*?)^```$", PAGE, re.M | re.S)]
EXACT = ("init", "catalog", "validate", "-c")  # commands whose output is the same each time
SECONDS = 120.0
_NUMBER, _UNIT = re.compile(r"-?\d[\d,.]*"), re.compile(r"\b(s|min|h|d)\b")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment with the command, and a home of its own; jobs that are left are stopped."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "sqlstream"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m sqlstream "$@"\n')
    command.chmod(0o755)
    home = tmp_path / "you"
    home.mkdir()
    known = {k: v for k, v in os.environ.items() if not k.startswith("SQLSTREAM_")}
    environment = {
        **known, "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"), "XDG_CACHE_HOME": cache(), "PYTHONIOENCODING": "utf-8",
    }  # fmt: skip
    environment.pop("XDG_CONFIG_HOME", None)
    yield environment
    for job in ("per_minute", "feed"):
        subprocess.run(
            [str(command), "cancel", str(home / "demo" / ".sqlstream" / job)], env=environment, capture_output=True
        )


def cache() -> str:
    """The kernels that are compiled stay compiled."""
    return os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")


def normal(text: str, home: Path) -> list[list[str]]:
    """Its lines in words, without what is another thing each time."""
    text = text.replace(str(home), "/home/you").replace(os.path.realpath(home), "/home/you")
    return [_UNIT.sub("t", _NUMBER.sub("#", line)).split() for line in text.splitlines()]


def test_first_stream(shell: dict[str, str]) -> None:
    home = Path(shell["HOME"])
    place = home
    assert len(STEPS) <= 10
    began = time.monotonic()
    for command, shown in STEPS:
        written, _, then = command.partition(" && cd ")
        deadline = time.monotonic() + SECONDS
        while True:
            done = subprocess.run(
                ["sh", "-c", f"{written} 2>&1"], cwd=place, env=shell, capture_output=True, text=True, timeout=SECONDS
            )
            same = done.returncode == 0 and (
                done.stdout == shown
                if written.split()[1] in EXACT
                else normal(done.stdout, home) == normal(shown, Path("/home/you"))
            )
            # A job that has just begun has written nothing yet.
            again = written.split()[1] in ("jobs", "run", "-c") and time.monotonic() < deadline
            if same or not again:
                break
        assert same, f"{command}\n{done.stdout}\ninstead of\n{shown}"
        if then:
            place = place / then
    assert time.monotonic() - began < 300
