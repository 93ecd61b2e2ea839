"""Every query of `sql/*.slt`, four ways: they give the rows written beside it, and so each other's."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest
from harness import rows, slt, ways
from harness.seed import random_of, said

from sqlstream.types import Schema

FILES = sorted((Path(__file__).parent / "sql").glob("*.slt"))
QUERIES = [q for f in FILES for q in slt.load(f)]


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sql")


def case_of(query: slt.Query, directory: Path, late: bool = True) -> ways.Case:
    tables = [i.ddl(i.write(directory / query.file, late)) for i in query.inputs]
    size = max((i.rows for i in query.inputs), default=1)
    return ways.Case((*tables, *query.statements), query.sql, size, query.clock_ms)


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.id)
def test_query(query: slt.Query, directory: Path) -> None:
    rng = random_of(query.id)
    try:
        if query.error is not None:
            fails(query, directory, rng)
        else:
            agrees(query, directory, rng)
    except AssertionError as e:
        raise AssertionError(said(f"{query.id}: {e}\n{query.sql}")) from None


def agrees(query: slt.Query, directory: Path, rng: random.Random) -> None:
    case = case_of(query, directory)
    answers: dict[str, ways.Answer] = {}
    if query.only != "streaming":
        batch_case = case_of(query, directory, late=False) if query.late is not None else case
        answers["batch"], in_order = ways.batch(batch_case, directory)
        if query.ordered and query.expected is not None:
            wanted = [rows.expected_row(line, answers["batch"].schema) for line in query.expected]
            assert in_order == wanted, "batch: not in this order"
    if query.only != "batch":
        answers["streaming"] = ways.streaming(case, directory, rng)
        answers["parallel"] = ways.parallel(case, directory, rng)
        answers["restored"] = ways.restored(case, directory, rng)
        for way in ("streaming", "parallel", "restored"):
            assert answers[way].late == (query.late or 0), f"{way}: {answers[way].late} late rows"
    first = next(iter(answers.values()))
    expected = first.fold.rows if query.expected is None else written(query.expected, first.schema)
    for way, answer in answers.items():
        difference = rows.difference(answer.fold.rows, expected, answer.schema)
        assert difference is None, f"{way}: {difference}"
    if query.types:
        derived = ", ".join(c.type.text() for c in first.schema)
        assert re.sub(r"\s+", " ", query.types) == derived, f"types are {derived}"


def written(lines: tuple[str, ...], schema: Schema) -> Counter[rows.Row]:
    return Counter(rows.expected_row(line, schema) for line in lines)


def fails(query: slt.Query, directory: Path, rng: random.Random) -> None:
    case = case_of(query, directory)
    runs = {
        "batch": lambda: run_any(case, directory, {"execution.runtime-mode": "batch"}),
        "streaming": lambda: run_any(case, directory, {"execution.runtime-mode": "streaming"}),
    }
    for way, run in runs.items():
        if query.only in (None, way):
            error = ways.failure(run)
            assert error is not None, f"{way}: no error"
            assert re.search(query.error or "", str(error)), f"{way}: another error: {error}"


def run_any(case: ways.Case, directory: Path, options: dict[str, str]) -> None:
    for result in case.session(directory, options).execute(case.sql):
        for _ in result.batches():
            pass
