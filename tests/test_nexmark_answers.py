"""Nexmark's queries, four ways, against the answers that Flink gave; q6, q12 and q13 against DuckDB.

Flink's answers lie beside the checkout (see nexmark_answers.py). q12's windows are of processing time: the clock is a
function of the row's position, so that batch has an answer too.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import nexmark_answers
import pytest
from harness import rows, ways
from harness.seed import random_of, said

from sqlstream.sql.parser import parse_script

ANSWERS = nexmark_answers.load()
ROOT = Path(__file__).resolve().parents[1]
EVENTS = 20_000
pytestmark = pytest.mark.skipif(ANSWERS is None, reason=nexmark_answers.MISSING)
# q0, q1, … of the shared answers; the other three are the project's own files.
QUERIES = () if ANSWERS is None else ANSWERS.queries
UNANSWERED = ("q6", "q12", "q13")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("nexmark")
    assert ANSWERS is not None
    ANSWERS.unpack(directory)
    return directory


def shared_case(query: str, place: Path) -> ways.Case:
    assert ANSWERS is not None
    return ways.Case((ANSWERS.ddl(place / "events.jsonl"),), ANSWERS.sql(query), EVENTS)


def own_case(query: str, place: Path) -> ways.Case:
    """queries/nexmark/<query>.sql over the shared events instead of its generator."""
    assert ANSWERS is not None
    text = (ROOT / "queries" / "nexmark" / f"{query}.sql").read_text()
    text = text.replace("'queries/nexmark", f"'{ROOT}/queries/nexmark")
    _, *setup, sql = [s.text for s in parse_script(text)]
    events = parse_script(ANSWERS.ddl(place / "events.jsonl"))[0].text
    return ways.Case((events, *setup), sql, EVENTS, step_ms=1)


WAYS = {
    "batch": lambda case, place, rng: ways.batch(case, place)[0],
    "streaming": lambda case, place, rng: ways.streaming(case, place, rng),
    "parallel": lambda case, place, rng: ways.parallel(case, place, rng),
    "restored": lambda case, place, rng: ways.restored(case, place, rng),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("query", QUERIES)
def test_flinks_answer(query: str, way: str, place: Path) -> None:
    assert ANSWERS is not None
    rng: random.Random = random_of(query, way)
    answer = WAYS[way](shared_case(query, place), place, rng)
    expected = ANSWERS.expected(query)
    difference = nexmark_answers.compare(answer.schema.names, answer.fold.rows.elements(), expected)
    assert difference is None, said(f"{query}, {way}: {difference}")
    assert answer.late == 0, said(f"{query}, {way}: {answer.late} late rows")


@pytest.mark.parametrize("query", UNANSWERED)
def test_duckdbs_answer(query: str, place: Path) -> None:
    """Flink cannot run q6, and has no reproducible answer to the other two."""
    case = own_case(query, place)
    expected, _ = ways.batch(case, place)
    assert expected.fold.rows, f"{query} has no rows"
    for way in ("streaming", "parallel", "restored"):
        answer = WAYS[way](case, place, random_of(query, way))
        difference = rows.difference(answer.fold.rows, Counter(expected.fold.rows), answer.schema)
        assert difference is None, said(f"{query}, {way}: {difference}")
