"""The Python functions that a text calls come with it: rendering says which, and nobody searches the text for them."""

from __future__ import annotations

import re

import pytest

from sqlstream import duck
from sqlstream.expressions import Call, Column, Expr, UserCall
from sqlstream.functions.scalar import SCALARS
from sqlstream.functions.user import UserFunction, resolve
from sqlstream.rendering.expressions import predicate, to_duckdb
from sqlstream.session import Session
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script
from sqlstream.types import BOOLEAN, STRING

CALLED = re.compile(r"\bpy_udf_\w+")


def shout(text: str) -> str:
    return text.upper() + "!"


shout.deterministic = True  # type: ignore[attr-defined]
PATH = f"{__name__}.shout"
S = Column(STRING, 0)


def expressions(sql: str) -> tuple[Expr, ...]:
    session = Session()
    for _ in session.execute("CREATE TABLE t (s STRING, p STRING, n INT, b BYTES) WITH ('connector' = 'filesystem', "
                             "'path' = 'nowhere', 'format' = 'json')"):  # fmt: skip
        pass
    (statement,) = parse_script(f"SELECT {sql} FROM t")
    assert isinstance(statement, st.Select)
    return session.environment.bind(statement.query).exprs  # type: ignore[attr-defined,no-any-return]


# what goes to Python, with patterns that are not constant and letters beyond ASCII
OURS = (
    "UPPER(s)", "LOWER(s)", "s LIKE p", "s LIKE p ESCAPE '!'", "s SIMILAR TO p", "REGEXP(s, p)",
    "CAST(b AS STRING)", "REGEXP_EXTRACT(s, p, n)", "REGEXP_EXTRACT(s, p, 1) IS NULL", "REGEXP_REPLACE(s, p, s)", "REGEXP_EXTRACT(s, '(?=a)b')",
)  # fmt: skip


@pytest.mark.parametrize("sql", OURS)
def test_functions_of_ours(sql: str) -> None:
    used: set[UserFunction] = set()
    (e,) = expressions(sql)
    text = to_duckdb(e, used)
    assert {f.sql_name for f in used} == set(CALLED.findall(text)) != set()


def test_no_function_calls_what_it_does_not_declare() -> None:
    """Over all calls of the documentation, too."""
    for f in SCALARS.values():
        if not f.example or f.volatile:
            continue
        used: set[UserFunction] = set()
        text = " ".join(to_duckdb(e, used) for e in expressions(f.example))
        assert {u.sql_name for u in used} == set(CALLED.findall(text)), f.name


def test_a_user_function_is_handed_over_and_runs() -> None:
    used: set[UserFunction] = set()
    e = Call(
        BOOLEAN, "AND", (Call(BOOLEAN, "=", (UserCall(STRING, PATH, (S,)), S)), Call(BOOLEAN, "IS NOT NULL", (S,)))
    )
    text = predicate(e, used)
    assert used == {resolve(PATH)}
    con = duck.connect()
    try:
        duck.prepare_functions(con, used)
        duck.prepare_functions(con, used)  # once is enough, twice is no error
        assert con.execute(f"SELECT {text} FROM (VALUES ('A!'), ('a')) t(c0)").fetchall() == [(False,), (False,)]
    finally:
        con.close()


@pytest.mark.parametrize("operator", ["AND", "OR"])
def test_what_is_light_is_looked_at_first_among_what_cannot_fail(operator: str) -> None:
    parts = ("REGEXP(s, 'a+')", "LOWER(s) = 'x'", "10 / n > 1", "s LIKE 'b%'", "n IN (1, 2)", "REGEXP(s, p)", "n > 5")
    (e,) = expressions(f" {operator} ".join(parts))
    text = predicate(e, set())
    places = [text.index(part) for part in ("lower(c0)", "'a+'", "flink_div(", "IN (", "'b%'", "matches_", "> 5")]
    assert places == sorted(places), text
