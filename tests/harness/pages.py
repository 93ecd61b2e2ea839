"""Pages of the documentation as what they tell their readers to do: files that they write, commands that they run."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path


def files(page: str) -> dict[str, str]:
    """Blocks whose first line is a comment with a file's name."""
    return dict(re.findall(r"^```(?:sql|json|python)?\n(?:--|#) (\S+)\n(.*?)^```$", page, re.M | re.S))


def steps(page: str) -> list[tuple[str, str]]:
    """Commands with what they show on standard output; "" where nothing stands below one."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, shown = part.partition("\n")
            found.append((command, shown))
    return found


def matches(shown: str, out: str) -> bool:
    """`…` is anything within a line, and at a line of its own any lines."""
    pattern = "".join(
        r"(?:.*\n)*" if line == "…" else re.sub("…", ".*", re.escape(line).replace(re.escape("…"), "…")) + r"\n"
        for line in shown.splitlines()
    )
    return re.fullmatch(pattern, out) is not None


def follow(page: str, place: Path, environment: Mapping[str, str]) -> None:
    """Write the page's files below `place`, and run its commands there one after the other: each prints what is shown."""
    for name, content in files(page).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
    for command, shown in steps(page):
        done = subprocess.run(
            ["bash", "-c", command], cwd=place, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert matches(shown, done.stdout), f"$ {command}\n{done.stdout}\nand not\n{shown}\n{done.stderr}"
