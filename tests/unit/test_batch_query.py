"""A batch query is interrupted wherever it is: before DuckDB has begun, within DuckDB, between batches, while an error is explained."""

from __future__ import annotations

import linecache
import sys
import threading
import time
from types import FrameType
from typing import Any

import pytest

from sqlstream.batch import query as batch
from sqlstream.batch.query import BatchQuery
from sqlstream.errors import Canceled, DataError
from sqlstream.session import Session

VALUES = "(VALUES " + ", ".join(f"({i})" for i in range(100)) + ")"
TABLES = ", ".join(f"{VALUES} AS t{i}(x{i})" for i in range(7))
LONG = {
    "one row": f"SELECT SUM(x0 + x1 + x2 + x3 + x4 + x5 * x6) FROM {TABLES}",
    "many rows": f"SELECT x0, x1, x2, x3, x4, x5, x6 FROM {TABLES}",
}


def query_of(sql: str) -> BatchQuery:
    session = Session()
    statement: Any = session.parse(sql)
    return BatchQuery(session.environment.bind(statement.query), "UTC", session.environment.clock)


def run(query: BatchQuery, interrupted_at: int) -> list[str]:
    """Runs the query, which is interrupted by its own thread right before the line of its module of this number, counted from
    1 as they are run. All of them."""
    lines: list[str] = []

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename != batch.__file__ or frame.f_code.co_name not in ("rows", "_work", "_explained"):
            return None
        if event == "line":
            lines.append(linecache.getline(batch.__file__, frame.f_lineno).strip())
            if len(lines) == interrupted_at:
                query.interrupt()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for _ in query.rows():
            pass
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("kind", LONG)
def test_interrupted_at_every_line(kind: str) -> None:
    lines = run(query_of("SELECT 1"), 0)
    # where DuckDB's statement begins, of which the first batch is the end
    begins = next(i for i, line in enumerate(lines, 1) if "to_arrow_reader" in line)
    assert begins > 8
    for at in range(1, begins + (20 if kind == "many rows" else 1)):  # with many, a whole turn of the loop more
        started = time.monotonic()
        with pytest.raises(Canceled):
            run(query_of(LONG[kind]), at)
        assert time.monotonic() - started < 5, f"line {at}"
        assert not [t for t in threading.enumerate() if t.name == "interrupt" and not _ends(t)]


def _ends(thread: threading.Thread) -> bool:
    thread.join(5)
    return not thread.is_alive()


def test_interrupted_while_an_error_is_explained() -> None:
    failing = "SELECT CAST('x' || CAST(a AS STRING) AS INT) FROM (VALUES (1)) AS t(a)"
    with pytest.raises(DataError):
        run(query_of(failing), 0)
    explained = 0
    for at in range(1, 60):
        try:
            run(query_of(failing), at)
        except Canceled:
            assert not explained, f"line {at}"
        except DataError:  # at this line and those behind it it had been explained
            explained = explained or at
    assert explained > 20


def test_interrupted_before_it_runs() -> None:
    query = query_of(LONG["one row"])
    query.interrupt()
    query.interrupt()
    with pytest.raises(Canceled):
        next(query.rows())


def test_rows_that_are_left_lying_keep_no_thread() -> None:
    query = query_of(LONG["many rows"])
    rows = query.rows()
    next(rows)
    query.interrupt()
    assert not [t for t in threading.enumerate() if t.name == "interrupt"]
    with pytest.raises(Canceled):
        next(rows)


def test_what_has_ended_is_interrupted_without_effect() -> None:
    query = query_of("SELECT 1")
    assert sum(b.num_rows for b in query.rows()) == 1
    query.interrupt()


@pytest.mark.parametrize("word", ["UNION", "UNION ALL"])
def test_a_recursion_without_an_end(word: str) -> None:
    query = query_of(f"WITH RECURSIVE r AS (SELECT 1 AS x {word} SELECT x + 1 FROM r) SELECT x FROM r")
    timer = threading.Timer(0.3, query.interrupt)
    timer.start()
    with pytest.raises(Canceled):
        for _ in query.rows():
            pass
    timer.join()
