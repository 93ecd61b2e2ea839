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
        (
            "from sqlstream.cli.main import main\ntry: main(['--version'])\nexcept SystemExit: pass",
            "pyarrow duckdb numpy",
        ),
        (
            "from sqlstream.cli.main import main\ntry: main(['run', 'x.sql', '--otput'])\nexcept SystemExit: pass",
            "pyarrow duckdb numpy sqlglot",
        ),
        (
            "from sqlstream.cli.main import main\nassert main(['-c', 'SELECT 1', '-D', 'parallelism=2']) == 2",
            "pyarrow duckdb numpy sqlglot",
        ),
        (
            "from sqlstream.cli.main import main\nassert main(['completion', 'jobs']) == 0",
            "pyarrow duckdb numpy sqlglot",
        ),
        (
            "from sqlstream.cli.main import main\nmain(['-c', 'SELECT 1'])",
            "numba fsspec asyncio prompt_toolkit pygments",
        ),
        # up to its prompt the shell needs only its editor
        ("import sqlstream.shell.main, sqlstream.shell.prompt", "pyarrow duckdb sqlglot numpy numba fsspec"),
        ("import sqlstream\nsqlstream.connect().execute('SELECT 1').fetchall()", "numba fsspec asyncio"),
        (
            "import sqlstream\nsqlstream.connect().execute('SELECT SUM(x) FROM (VALUES (1)) t(x)').fetchall()",
            "numba sqlstream.aggregates.streaming sqlstream.operators.aggregation",
        ),
    ],
)
def test_lazy_imports(code: str, without: str) -> None:
    check = f"{code}\nimport sys\nprint('loaded:', *[m for m in {without.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"
