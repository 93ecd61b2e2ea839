"""sqlglot's compiled parts beside it: its Python source is what runs here."""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sqlstream.sql import plain_sqlglot

ENDING = importlib.machinery.EXTENSION_SUFFIXES[0]


def test_python_source_comes_first(tmp_path: Path) -> None:
    (tmp_path / f"both{ENDING}").touch()
    (tmp_path / "both.py").touch()
    (tmp_path / f"compiled{ENDING}").touch()
    (tmp_path / "plain.py").touch()

    def origin(name: str) -> str | None:
        spec = plain_sqlglot._PythonFirst.find_spec(name, [str(tmp_path)])
        return None if spec is None else spec.origin

    assert origin("sqlglot.both") == str(tmp_path / "both.py")
    # what has one form only, and other packages, are Python's own business
    assert [origin(n) for n in ("sqlglot.compiled", "sqlglot.plain", "sqlglot.none", "other.both")] == [None] * 4


def test_too_late_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    plain_sqlglot.ensure()  # as it is
    core = ModuleType("sqlglot.expressions.core")
    core.__file__ = f"/site-packages/sqlglot/expressions/core{ENDING}"
    monkeypatch.setitem(sys.modules, "sqlglot.expressions.core", core)
    with pytest.raises(RuntimeError, match="pip uninstall sqlglotc"):
        plain_sqlglot.ensure()
