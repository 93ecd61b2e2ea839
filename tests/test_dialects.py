"""Queries in other dialects (`dialects/*.slt`): the rows that they have there, in batch and in streaming."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from harness import rows, slt, ways
from harness.seed import random_of
from test_sql import EAST, WEST, Setting, case_of, run_any, written

from sqlstream.options import DIALECTS

PLACE = Path(__file__).parent / "dialects"
QUERIES = [(d, q) for d in DIALECTS for q in slt.load(PLACE / f"{d}.slt", PLACE / "tables.slt")]


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dialects")


def test_there_are_enough() -> None:
    assert len(QUERIES) >= 150


@pytest.mark.parametrize(("dialect", "query"), QUERIES, ids=[q.id for _, q in QUERIES])
def test_query(dialect: str, query: slt.Query, directory: Path) -> None:
    rng = random_of(query.id)
    made = case_of(
        query, directory, Setting("UTC" if query.zoned else rng.choice(("UTC", WEST, EAST)), rng.random() < 0.25)
    )
    case = replace(made, setup=(*made.setup, f"SET 'table.sql-dialect' = '{dialect}'"))
    if query.error is not None:
        error = ways.failure(lambda: run_any(case, directory, {}))
        assert error is not None and re.search(query.error, str(error)), error
        return
    assert query.expected is not None
    answer, in_order = ways.batch(case, directory)
    expected = written(query.expected, answer.schema)
    assert (difference := rows.difference(answer.fold.rows, expected, answer.schema)) is None, f"batch: {difference}"
    if query.ordered:
        assert in_order == [rows.expected_row(line, answer.schema) for line in query.expected]
    for way in (ways.streaming, ways.parallel):
        if "ORDER BY" in query.sql and not re.search(r"LIMIT|TOP|FETCH|OVER|DISTINCT ON", query.sql):
            continue  # refused in a stream: it needs the whole input
        fold = way(case, directory, rng).fold
        assert (difference := rows.difference(fold.rows, expected, answer.schema)) is None, (
            f"{way.__name__}: {difference}"
        )
