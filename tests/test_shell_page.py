"""docs/shell.md: its statements on a terminal, and what it shows is seen there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "unit" / "shell"))
PAGE = (ROOT / "docs" / "shell.md").read_text()


def seen(shown: str, text: str) -> bool:
    """Whether each line of what is shown is on the screen, `…` at its end standing for anything."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for wanted in shown.splitlines():
        start = " ".join(wanted.split())
        exact = not start.endswith("…")
        start = start.rstrip("…")
        if not any(line == start if exact else line.startswith(start) for line in lines):
            return False
    return True


def test_what_is_shown_is_seen(tmp_path: Path) -> None:
    from screen import Screen

    blocks = re.findall(r"^```sql\n(.*?)^```\n\n```text\n(.*?)^```$", PAGE, re.M | re.S)
    assert len(blocks) == PAGE.count("```sql\n") > 5
    with Screen(tmp_path, columns=80, lines=40) as s:
        s.prompt()
        for sql, shown in blocks:
            for line in sql.splitlines():
                s.enter(line)
            s.until(lambda text, shown=shown: seen(shown, text) and text.endswith("sqlstream>"))
        s.type("\x04")
        assert s.ended() == 0


def test_what_comes_through_a_pipe(tmp_path: Path) -> None:
    (command,) = re.findall(r"^```console\n(.*?)^```$", PAGE, re.M | re.S)
    line, shown = command.removeprefix("$ ").split("\n", 1)
    line = line.replace("| sqlstream", f"| {sys.executable} -m sqlstream")
    done = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stdout) == (0, shown), done.stderr


def test_the_commands_of_the_page_are_there() -> None:
    from sqlstream.shell.commands import BY_NAME

    (table,) = re.findall(r"^## Commands\n(.*?)^## ", PAGE, re.M | re.S)
    named = set(re.findall(r"(?<![\w`])(\\[a-z?!]+|\.[a-z]+)", table.replace("`", " ").replace("~/.config", "")))
    assert named - {".sql"} <= set(BY_NAME) and len(named) > 15
