"""What must not be imported where: start-up is part of the interface."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli_driver import environment


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("import sqlstream", "pyarrow duckdb sqlglot numpy numba argparse"),
        ("from sqlstream.cli.main import main\ntry: main(['--version'])\nexcept SystemExit: pass", "pyarrow duckdb numpy"),
        ("from sqlstream.cli.main import main\nmain(['-c', 'SELECT 1'])", "numba fsspec asyncio"),
        ("import sqlstream\nsqlstream.connect().execute('SELECT 1').fetchall()", "numba fsspec asyncio"),
    ],
)
def test_lazy_imports(code: str, without: str) -> None:
    check = f"{code}\nimport sys\nprint('loaded:', *[m for m in {without.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"
