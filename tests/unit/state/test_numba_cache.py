"""Compiled kernels are kept where we may write, never in the package, and their absence is only slow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sqlstream.state
from sqlstream.state import numba_cache

PACKAGE = Path(sqlstream.state.__file__).parent


def test_first_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, second = numba_cache.candidates("1.2")
    assert first == tmp_path / "sqlstream/numba-1.2"
    assert numba_cache.usable(first) and first.stat().st_mode & 0o777 == 0o700 and not list(first.iterdir())
    assert second.name == "numba-1.2" and str(os.getuid()) in str(second)


def test_directories_of_others_are_not_used(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/numba").mkdir()
    (tmp_path / "a/numba").chmod(0o777)
    assert not numba_cache.usable(tmp_path / "a/numba")
    (tmp_path / "file").write_text("")
    assert not numba_cache.usable(tmp_path / "file/numba")


def test_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core import config

    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(numba_cache, "usable", lambda _: False)
    with pytest.warns(RuntimeWarning, match="XDG_CACHE_HOME"):
        assert numba_cache.prepare() is False
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    assert numba_cache.prepare() is True


@pytest.mark.parametrize("writable", [True, False])
def test_a_read_only_install_works(tmp_path: Path, writable: bool) -> None:
    """A copy of the kernels that cannot be written, with a cache directory or with none at all."""
    install = tmp_path / "install/sqlstream/state"
    install.mkdir(parents=True)
    (install.parent / "__init__.py").write_text("")
    (install / "__init__.py").write_text("")
    # Only the shortest kernels are compiled, since without a cache every start pays for all of them.
    text = (PACKAGE / "kernels.py").read_text()
    end = text.index("# --- hash tables")
    (install / "kernels.py").write_text(text[:end])
    (install / "numba_cache.py").write_text((PACKAGE / "numba_cache.py").read_text())
    for d in (install, install.parent):
        d.chmod(0o555)
    cache = tmp_path / "cache"
    cache.mkdir()
    code = f"""
import os, tempfile, warnings
from sqlstream.state import numba_cache
if not {writable}:
    numba_cache.usable = lambda _: False
from sqlstream.state import kernels
import numpy as np
h = np.ones(1, np.uint64)
kernels.combine_words(h, np.zeros(1, np.int64), np.empty(0, np.bool_))
print(h[0] != 0, kernels.CACHED)
"""
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "install"), "XDG_CACHE_HOME": str(cache)}
    env.pop("NUMBA_CACHE_DIR", None)
    run = subprocess.run(
        [sys.executable, "-B", "-c", code], capture_output=True, text=True, env=env, check=False, cwd=tmp_path
    )
    assert run.stdout.split() == ["True", str(writable)], run.stderr
    assert ("no writable cache directory" in run.stderr) == (not writable)
    assert bool(list(cache.rglob("*.nbc"))) == writable
    assert {p.name for p in install.iterdir()} == {"__init__.py", "kernels.py", "numba_cache.py"}
    for d in (install, install.parent):
        d.chmod(0o755)


def test_our_own_cache_is_not_in_the_package() -> None:
    assert not list(PACKAGE.rglob("*.nbi"))
