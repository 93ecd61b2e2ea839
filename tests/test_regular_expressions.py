"""Regular expressions against a table of Java's answers: as constants, where RE2 may do it, and as values of rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sqlstream.errors import SqlStreamError
from sqlstream.session import Session

TABLE = Path(__file__).parent / "expected" / "regular_expressions.txt"
Case = tuple[str, str, int, str | None]


def cases() -> list[Case]:
    lines = [x for x in TABLE.read_text().splitlines() if x.strip() and not x.startswith(("#", "text "))]
    out = []
    for line in lines:
        text, pattern, group, answer = (cell.strip() for cell in line.rsplit(" | ", 3))
        out.append((json.loads(text), json.loads(pattern), int(group), None if answer == "-" else json.loads(answer)))
    return out


CASES = cases()


def column(sql: str, mode: str, directory: Path) -> list[object]:
    session = Session(None, {"execution.runtime-mode": mode}, str(directory))
    return [v for b, _ in list(session.execute(sql))[-1].batches() for v in b.column(0).to_pylist()]


def setup(directory: Path, rows: list[Case]) -> str:
    lines = [json.dumps({"s": s, "p": p, "g": g}) for s, p, g, _ in rows]
    (directory / "t.json").write_text("".join(x + "\n" for x in lines))
    options = "'connector' = 'filesystem', 'path' = 't.json', 'format' = 'json'"
    return f"CREATE TABLE t (s STRING, p STRING, g INT) WITH ({options})"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize(("text", "pattern", "group", "answer"), CASES)
def test_constant(text: str, pattern: str, group: int, answer: str | None, tmp_path: Path) -> None:
    table = setup(tmp_path, [(text, pattern, group, answer)])
    select = f"SELECT REGEXP_EXTRACT(s, {quoted(pattern)}, {group}) FROM t"
    assert column(f"{table}; {select}", "batch", tmp_path) == [answer]
    if pattern and group == 0:
        found = column(f"{table}; SELECT REGEXP(s, {quoted(pattern)}) FROM t", "batch", tmp_path)
        assert found == [answer is not None]
        asked = column(f"{table}; SELECT REGEXP_EXTRACT(s, {quoted(pattern)}) IS NULL FROM t", "batch", tmp_path)
        assert asked == [answer is None]


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_of_rows(mode: str, tmp_path: Path) -> None:
    """The pattern is a column's, so all is Python's; RE2's own cases of scripts apart."""
    rows = [c for c in CASES if "IsLatin" not in c[1]]
    sql = f"{setup(tmp_path, rows)}; SELECT ARRAY[s, p, CAST(g AS STRING), REGEXP_EXTRACT(s, p, g)] FROM t"
    found = column(sql, mode, tmp_path)
    assert sorted(map(str, found)) == sorted(str([s, p, str(g), a]) for s, p, g, a in rows)


@pytest.mark.parametrize(
    ("text", "pattern", "replacement", "answer"),
    [
        ("abcdefghijkl", "(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)", "$10", "jl"),
        ("abc", "(a)(b)", "$2$1", "bac"),
        ("abc", "(a)", "$12", "a2bc"),  # there is no group 12: group 1, then a 2
        ("baaac", "a*", "-", "-b--c-"),  # an empty match behind another one counts
        ("abc", "", "-", "-a-b-c-"),
        ("a.b", r"\.", r"\$", "a$b"),
        ("a.b", r"\.", r"\\", r"a\b"),
        ("xaya", "(?<=y)a", "[$0]", "xay[a]"),
        ("aab\n", "b$", "c", "aac\n"),
        ("a1b22", r"\p{Digit}+", "#", "a#b#"),
        ("ac", "(b)?c", "<$1>", "a<>"),
        ("añb", "[^a-z]", "", "ab"),
    ],
)
def test_replace(text: str, pattern: str, replacement: str, answer: str, tmp_path: Path) -> None:
    table = setup(tmp_path, [(text, pattern, 0, None)])
    constant = f"SELECT REGEXP_REPLACE(s, {quoted(pattern)}, {quoted(replacement)}) FROM t"
    of_rows = f"SELECT REGEXP_REPLACE(s, p, {quoted(replacement)}) FROM t"
    for select in (constant, of_rows):
        assert column(f"{table}; {select}", "batch", tmp_path) == [answer]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("a(", "a group is not closed, at character 3"),
        ("a)", r"a \) without \("),
        ("[a", "a class is not closed"),
        ("*a", "nothing before '*'"),
        ("[z-a]", "illegal range"),
        (r"\p{Nonsense}", r"\\p{Nonsense} is not known"),
        (r"\p{InGreek}", r"\\p{InGreek} is not known"),
        (r"\y", r"unknown escape \\y"),
        (r"(a)\2", "there is no group 2"),
        (r"a\G", r"\\G is not supported"),
        ("(?U)a", "flag U"),
        ("(?<=a+)b", "no obvious maximum length"),
        ("a{3,2}", "illegal repetition range"),
        (r"\p{IsLatin}(?=a)", "together with look-around"),
    ],
)
def test_refused(pattern: str, said: str, tmp_path: Path) -> None:
    """By the planner, with its place."""
    for function in (f"REGEXP('x', {quoted(pattern)})", f"REGEXP_EXTRACT('x', {quoted(pattern)})"):
        with pytest.raises(SqlStreamError, match=said.replace("*", r"\*").replace("{", r"\{")) as e:
            column(f"SELECT 1, {function}", "batch", tmp_path)
        assert str(e.value).startswith("line 1:11: REGEXP")
