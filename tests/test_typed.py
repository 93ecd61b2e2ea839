"""The annotations that users' programs are checked against: the package says that it has some (py.typed)."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "data" / "typed_program.py"
ROOT = Path(__file__).parents[1]


def test_a_program_passes_strict_checks(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed: extra dev")
    assert (ROOT / "sqlstream" / "py.typed").exists()
    cache = ROOT / ".mypy_cache"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache), str(PROGRAM)],
        cwd=ROOT, capture_output=True, text=True, timeout=600, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import sqlstream\nsqlstream.connect(fetch_timeout='soon')\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache), str(wrong)],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert "fetch_timeout" in done.stdout and done.returncode == 1, done.stdout


def test_the_program_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names = runpy.run_path(str(PROGRAM))
    names["main"]()
    assert capsys.readouterr().out == "1\n['a']\nFINISHED True\n"
