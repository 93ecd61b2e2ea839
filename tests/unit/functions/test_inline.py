"""Python functions whose body stands in SQL: how they are kept, and what else reads their text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sqlstream.errors import BindError
from sqlstream.session import Session
from sqlstream.sql.formatter import formatted
from sqlstream.sql.splitter import substitute

COMMENTED = """CREATE FUNCTION tagged(x INT, `y z` STRING NOT NULL) RETURNS ROW<a INT, b STRING> LANGUAGE PYTHON AS $$
    # it's one quote, and ${no} variable
    text = '''two
    lines; -- and no comment'''
    return {"a": x, "b": text}
$$"""
FIRST = COMMENTED.replace("`y z`", "y")


def rows(session: Session, sql: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for result in session.execute(sql):
        for batch, _ in result.batches():
            found += zip(*(c.to_pylist() for c in batch.columns), strict=True)
    return found


def test_the_catalog_keeps_it(tmp_path: Path) -> None:
    options = {"table.catalog-store.file.path": str(tmp_path / "kept")}
    session = Session(options=options)
    rows(session, FIRST)
    shown = [({"a": 1, "b": "two\nlines; -- and no comment"},)]
    assert rows(session, "SELECT tagged(1, 'x') AS r") == shown
    kept = next((tmp_path / "kept").glob("*.sql")).read_text()
    assert "# it's one quote, and ${no} variable" in kept
    assert rows(Session(options=options), "SELECT tagged(1, 'x') AS r") == shown


def test_another_body_is_another_function() -> None:
    for mode in ("batch", "streaming"):
        session = Session(options={"execution.runtime-mode": mode})
        for n in (1, 2):
            create = f"CREATE OR REPLACE FUNCTION f(x INT) RETURNS INT LANGUAGE PYTHON AS $$ return x + {n} $$"
            assert rows(session, f"{create}; SELECT f(a) AS x FROM (VALUES (10)) AS t(a)") == [(10 + n,)]


def test_variables_of_scripts_are_not_in_it() -> None:
    script = "SELECT '${v}'; " + FIRST + "; SELECT 'a$$', '${v}', '$$', ${v}"
    assert substitute(script, {"v": "x"}) == script.replace("${v}", "x")


def test_fmt_leaves_it_alone() -> None:
    body = FIRST[FIRST.index("$$") :]
    assert body in formatted(FIRST + ";")


def test_an_argument_must_be_a_name_of_python() -> None:
    with pytest.raises(BindError, match="'y z' is no name of an argument in Python"):
        rows(Session(), COMMENTED)
