"""The cookbook, and the tutorials of SQL: each script prints what stands below it, and as a stream has the same rows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import sqlstream
from sqlstream.cli.arguments import Settings
from sqlstream.cli.script import Script, run_script

DOCS = Path(__file__).parents[1] / "docs"
TEXTS = [(DOCS / name).read_text() for name in ("cookbook.md", "tutorial/windows.md", "tutorial/joins.md")]
FILES = [f for text in TEXTS for f in re.findall(r"^```csv\n# (\S+)\n(.*?)^```$", text, re.M | re.S)]
RECIPES = [
    r for text in TEXTS for r in re.findall(r"^```sql\n-- (\S+)\n(.*?)^```\n\n```text\n(.*?)^```$", text, re.M | re.S)
]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in FILES:
        (tmp_path / name).write_text(content)


def test_every_recipe_has_its_output() -> None:
    assert len(RECIPES) == sum(text.count("```sql\n") for text in TEXTS) >= 17
    assert len({name for name, _ in FILES}) == len(FILES)


@pytest.mark.parametrize(("name", "sql", "shown"), RECIPES, ids=[r[0] for r in RECIPES])
def test_recipe(name: str, sql: str, shown: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status = run_script(Script(sql, name, str(tmp_path)), Settings({}, {}))
    out, err = capfd.readouterr()
    assert (status, out) == (0, shown), err


@pytest.mark.parametrize(("name", "sql", "shown"), [r for r in RECIPES if "'batch'" not in r[1]], ids=lambda v: v[:9])
def test_recipe_as_a_stream(name: str, sql: str, shown: str) -> None:
    unordered = re.sub(r"\nORDER BY [^()]*;\n$", ";\n", sql)
    assert unordered.endswith(";\n") and not re.search(r"^ORDER BY", unordered, re.M)
    left: Counter[Any] = Counter()
    with sqlstream.connect(**{"execution.runtime-mode": "streaming"}, changelog="row_kind") as connection:
        cursor = connection.cursor().executescript(unordered)
        for row in cursor:
            left[tuple(map(_text, row))] += -1 if cursor.row_kind in ("-U", "-D") else 1
    rows = [tuple(c.strip() for c in line.strip("|").split("|")) for line in shown.splitlines() if line[0] == "|"]
    assert +left == Counter(rows[1:])


def _text(value: Any) -> str:
    text = "NULL" if value is None else str(value)
    return f"{text}.000" if re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text) else text


def test_exactly_once(tmp_path: Path) -> None:
    """The page's programs, of which one kills the other."""
    page = (DOCS / "tutorial" / "exactly-once.md").read_text()
    job, program = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    (shown,) = re.findall(r"^```text\n(.*?)^```$", page, re.M | re.S)
    (tmp_path / "job.py").write_text(job)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, timeout=240, env={**os.environ, "PYTHONPATH": str(DOCS.parent)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, shown), done.stderr
