"""The name on the index, and what is said where another tool's files lie among ours."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from sqlstream import distribution

ROOT = Path(__file__).parents[2]


def test_the_name_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == distribution.NAME
    assert project["scripts"].keys() == {"sqlstream"}


def test_no_text_installs_the_other_tool() -> None:
    """`pip install sqlstream` and `sqlstream[…]` would fetch another project's package."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    wrong = []
    for name in files:
        if (
            name
            and name != "tests/unit/test_distribution.py"
            and (ROOT / name).suffix in (".py", ".md", ".toml", ".yml", "")
        ):
            text = (ROOT / name).read_text(errors="replace") if (ROOT / name).is_file() else ""
            wrong += [
                f"{name}: {m[0]}" for m in re.finditer(r"pip install ['\"]?sqlstream(?!-engine)|sqlstream\[\w", text)
            ]
    assert not wrong


def test_a_clash_is_recognised(tmp_path: Path) -> None:
    assert distribution.clash(tmp_path) is None
    (tmp_path / "sqlstream_engine-0.1.0.dist-info").mkdir()
    assert distribution.clash(tmp_path) is None
    (tmp_path / "sqlstream-0.6.3.dist-info").mkdir()
    text = distribution.clash(tmp_path)
    assert text is not None and str(tmp_path) in text and distribution.NAME in text


def test_the_clash_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from sqlstream import connect
    from sqlstream.cli import main
    from sqlstream.dbapi import connection

    monkeypatch.setattr(main, "clash", lambda: "two of them")
    monkeypatch.setattr(connection, "clash", lambda: "two of them")
    assert main.main(["-c", "SELECT 1"]) == 0
    assert "warning: two of them" in capsys.readouterr().err
    with pytest.warns(RuntimeWarning, match="two of them"):
        connect().close()
