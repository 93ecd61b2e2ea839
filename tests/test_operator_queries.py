"""The benchmark's queries of operators that Nexmark has not, against the hand-written SQL that DuckDB is measured with."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from harness import rows, ways
from harness.seed import random_of, said

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import duckdb_runner  # noqa: E402
import nexmark_sql  # noqa: E402

EVENTS = 20_000


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file, so that no row is late."""
    directory = tmp_path_factory.mktemp("operators") / "events"
    generator = [sys.executable, "-m", "sqlstream.connectors.nexmark"]
    subprocess.run(
        [*generator, "--events", str(EVENTS), "--files", "1", "--output", str(directory)], check=True, cwd=ROOT
    )
    return directory


@pytest.mark.parametrize("query", nexmark_sql.OPERATORS)
def test_duckdbs_answer(query: str, events: Path, tmp_path: Path) -> None:
    script = nexmark_sql.script(query, events)
    case = ways.Case(script.setup, script.select, EVENTS)
    connection = duckdb_runner.connect(str(events / "*.json"), str(nexmark_sql.SIDE_INPUT), threads=2)
    expected = connection.execute(nexmark_sql.duckdb_sql(query)).fetchall()
    connection.close()
    assert expected
    for way in (ways.streaming, ways.parallel, ways.restored):
        answer = way(case, tmp_path, random_of(query, way.__name__))
        types = [f.type for f in answer.schema]
        theirs = Counter(tuple(rows.value(v, t) for v, t in zip(row, types, strict=True)) for row in expected)
        difference = rows.difference(answer.fold.rows, theirs, answer.schema)
        assert difference is None, said(f"{query}, {way.__name__}: {difference}")
