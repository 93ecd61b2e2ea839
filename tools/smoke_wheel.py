"""Builds the wheel as a release does, installs it into a fresh environment, and runs it from an empty directory.

python tools/smoke_wheel.py          # needs `build`; leaves the archives in dist/
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]

FROM_PYTHON = """
import sqlstream
with sqlstream.connect() as connection:
    rows = connection.execute("SELECT SUM(x) FROM (VALUES (1), (2), (3)) AS t(x)").fetchall()
    assert rows == [(6,)], rows
"""
STREAM = """
SET 'execution.runtime-mode' = 'streaming';
CREATE TABLE numbers (x BIGINT) WITH (
  'connector' = 'datagen', 'number-of-rows' = '1000',
  'fields.x.kind' = 'sequence', 'fields.x.start' = '1', 'fields.x.end' = '1000'
);
SELECT x, COUNT(*) AS n FROM numbers WHERE x > 998 GROUP BY x;
"""


def main() -> None:
    """Raises CalledProcessError or AssertionError when the wheel does not work."""
    subprocess.run([sys.executable, "-m", "build", "--outdir", "dist"], cwd=ROOT, check=True)
    wheel = max((ROOT / "dist").glob("*.whl"), key=lambda p: p.stat().st_mtime)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        venv.create(place / "env", with_pip=True)
        binaries = place / "env" / "bin"
        subprocess.run([binaries / "pip", "install", "--quiet", wheel], check=True)
        (place / "stream.sql").write_text(STREAM)

        def sqlstream(*arguments: str) -> str:
            command = [binaries / "sqlstream", *arguments]
            return subprocess.run(command, cwd=place, check=True, capture_output=True, text=True).stdout

        assert sqlstream("--version").startswith("sqlstream "), "no version"
        assert sqlstream("-c", "SELECT 'a' AS x", "--output", "json") == '{"x":"a"}\n'
        streamed = sorted(sqlstream("run", "stream.sql", "--output", "csv").splitlines())
        assert [line for line in streamed if line.endswith(",1")], streamed
        sqlstream("samples")
        assert len(sqlstream("run", "queries/nexmark/q5.sql", "--output", "json").splitlines()) == 58, "Nexmark q5"
        subprocess.run([binaries / "python", "-c", FROM_PYTHON], cwd=place, check=True)
    print(f"ok {wheel.name}")


if __name__ == "__main__":
    main()
