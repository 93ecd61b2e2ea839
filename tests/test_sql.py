"""Every query of `sql/*.slt`, four ways: they give the rows written beside it, and so each other's.

The session's zone and the size of epochs are drawn for each query. So is which stream is asked beside batch: one task, several, or one that is
stopped and restored, from one number of tasks to another; `pytest --every` asks all. `pytest -m slow tests/test_sql.py` runs all
of them in zones on both sides of UTC, in epochs of one row.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Setting:
    """What must not matter to the rows: the session's zone, and whether each epoch takes one row only."""

    zone: str
    single: bool

    def __str__(self) -> str:
        return f"in {self.zone}{', epochs of one row' if self.single else ''}"


# Far from UTC on either side, with a change of clocks and with half hours.
WEST, EAST = "America/Los_Angeles", "Asia/Kolkata"


def case_of(query: slt.Query, directory: Path, setting: Setting, late: bool = True) -> ways.Case:
    tables = [i.ddl(i.write(directory / query.file, late)) for i in query.inputs]
    size = max((i.rows for i in query.inputs), default=1)
    return ways.Case((*tables, *query.statements), query.sql, size, query.clock_ms, setting.zone, setting.single)


@pytest.fixture(autouse=True)
def every_row_group_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in Parquet has row groups of two rows, and none is read to save a statement."""
    monkeypatch.setattr("sqlstream.formats.parquet.LEAST_SKIPPED", 1)


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.id)
def test_query(query: slt.Query, directory: Path, pytestconfig: pytest.Config) -> None:
    rng = random_of(query.id)
    setting = Setting(rng.choice(("UTC", WEST, EAST)), rng.random() < 0.25)
    several = rng.choice(("streaming", "parallel"))
    drawn = "restored" if random_of(query.id, "restored").random() < 0.5 else several
    every = pytestconfig.getoption("--every")
    check(query, directory, rng, setting, ("streaming", "parallel", "restored") if every else (drawn,))


@pytest.mark.slow
@pytest.mark.parametrize("zone", [WEST, EAST])
@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.id)
def test_query_in_zones_row_by_row(query: slt.Query, zone: str, directory: Path) -> None:
    check(query, directory, random_of(query.id, zone), Setting(zone, single=True), ("streaming",))


def check(query: slt.Query, directory: Path, rng: random.Random, setting: Setting, streaming: tuple[str, ...]) -> None:
    """Runs `query` in batch and the `streaming` ways."""
    try:
        if query.error is not None:
            fails(query, directory, setting)
        else:
            agrees(query, directory, rng, setting, streaming)
    except AssertionError as e:
        raise AssertionError(said(f"{query.id} {setting}: {e}\n{query.sql}")) from None


def agrees(query: slt.Query, directory: Path, rng: random.Random, setting: Setting, streaming: tuple[str, ...]) -> None:
    case = case_of(query, directory, setting)
    answers: dict[str, ways.Answer] = {}
    if query.only != "streaming":
        batch_case = case_of(query, directory, setting, late=False) if query.late is not None else case
        answers["batch"], in_order = ways.batch(batch_case, directory)
        if query.ordered and query.expected is not None:
            wanted = [rows.expected_row(line, answers["batch"].schema) for line in query.expected]
            assert in_order == wanted, "batch: not in this order"
    if query.only != "batch":
        for way in streaming:
            answers[way] = getattr(ways, way)(case, directory, rng)
            assert answers[way].late == (query.late or 0), f"{way}: {answers[way].late} late rows"
    first = next(iter(answers.values()))
    elsewhere = query.zoned and setting.zone != "UTC"
    expected = first.fold.rows if query.expected is None or elsewhere else written(query.expected, first.schema)
    for way, answer in answers.items():
        difference = rows.difference(answer.fold.rows, expected, answer.schema)
        assert difference is None, f"{way}: {difference}"
    if query.types:
        derived = ", ".join(c.type.text() for c in first.schema)
        assert re.sub(r"\s+", " ", query.types) == derived, f"types are {derived}"


def written(lines: tuple[str, ...], schema: Schema) -> Counter[rows.Row]:
    return Counter(rows.expected_row(line, schema) for line in lines)


def fails(query: slt.Query, directory: Path, setting: Setting) -> None:
    case = case_of(query, directory, setting)
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
