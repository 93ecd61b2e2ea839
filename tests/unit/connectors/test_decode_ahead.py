"""What is being decoded when the interpreter ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import sqlstream

SCRIPT = """
from sqlstream.connectors.decode_ahead import DecodeAhead
from sqlstream.formats.cursor import own_cursor
def items():
    cursor = own_cursor()
    while True:
        yield cursor.sql("SELECT sum(range) FROM range(3_000_000)").fetchall()
ahead = DecodeAhead(items(), depth=10**9)
print(ahead.next())
"""


def test_a_reader_that_nobody_closes_ends_with_the_interpreter() -> None:
    """Its thread is in DuckDB then, which must not be taken away from it."""
    env = {**os.environ, "PYTHONPATH": str(Path(sqlstream.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[(4499998500000,)]\n", "")
