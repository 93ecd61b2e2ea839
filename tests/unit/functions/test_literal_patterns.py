"""Patterns that are texts: what is found by searching is what Python's `re` finds, for all short inputs over a few characters."""

from __future__ import annotations

import re
from itertools import product

import duckdb
import pytest

from sqlstream.functions import literal_patterns, regular_expressions
from sqlstream.functions.java_patterns import parse
from sqlstream.types import STRING

INPUTS = ["".join(t) for n in range(8) for t in product("&ia=", repeat=n)]

# A pattern, a group, and whether a search does.
CASES = [
    ("(&|^)i=([^&]*)", 2, True),
    ("(&|^)i=([^&]+)", 2, True),
    ("(?:^|&)i=([^&a]*).*", 1, True),
    ("[&=]i([^&=]*)", 1, True),
    ("[&=]i([^&=]+)", 1, True),
    ("&&([^&]*)", 1, True),
    ("&a&([^&]*)+", 1, False),
    ("&i(a|=)([^&]*+)", 2, True),
    ("^i=([^&]*)", 1, True),
    ("^i=([^&]+)", 1, True),
    ("^(i|a)=([^&]+)", 2, True),
    ("(?:=|=i)([^=]*)", 1, False),  # which of the two is preferred
    ("(?:^|)=([^=]*)", 1, False),
    ("i=([^&]*)", 1, False),  # may go on beyond the next i=
    ("&i=(a*)", 1, False),
    ("&i=([^&]*)a", 1, False),
    ("&i=([^&]*?)", 1, False),
    ("&i^=([^&]*)", 1, False),
    ("^i([^\ud800]*)", 1, False),
]


def asked(sql: str) -> list[object]:
    with duckdb.connect() as c:
        c.execute("CREATE TABLE t AS SELECT unnest($1) AS x", [INPUTS])
        return [v for (v,) in c.execute(f"SELECT {sql} FROM t").fetchall()]


@pytest.mark.parametrize(("pattern", "group", "quick"), CASES)
def test_extract(pattern: str, group: int, quick: bool) -> None:
    sql = regular_expressions.extract(["x", f"'{pattern}'", str(group)], [STRING] * 3, STRING)
    assert (literal_patterns.extract(parse(pattern), group, "x", "by_re2") is not None) == quick
    assert ("split_part" in sql or "substr(" in sql) == quick
    found = [re.search(pattern, x) for x in INPUTS]
    if "java_matching" not in sql:  # Python's is compared elsewhere
        assert asked(sql) == [None if m is None else m[group] for m in found]


@pytest.mark.parametrize(
    ("pattern", "quick"),
    [
        ("i=", True),
        ("^i=", True),
        ("(&|^)i=([^&]*)", True),
        ("[ai]=", True),
        ("(?i:I)=", True),
        ("(&|^)i=([^&]+)", False),
        ("i=$", False),
        ("i=\\b", False),
        ("[^&]=", False),
        ("a*", False),
        ("(a|)", False),
        ("a|i&|^=|&&", True),
        ("a|i|=|&|x", False),  # too many
        ("(?=a)i", False),
    ],
)
def test_matches(pattern: str, quick: bool) -> None:
    sql = regular_expressions.matches(["x", f"'{pattern}'"])
    assert (literal_patterns.matches(parse(pattern), "x") is not None) == quick
    if "java_matching" not in sql:
        assert asked(sql) == [re.search(pattern, x) is not None for x in INPUTS]


def test_null_and_characters_of_several_bytes() -> None:
    sql = regular_expressions.extract(["x", "'(ß|^é)([^ß]*)'", "2"], [STRING] * 3, STRING)
    assert "split_part" in sql
    texts = [None, "éßa", "aßé€ß", "aéb", "", "é"]
    with duckdb.connect() as c:
        c.execute("CREATE TABLE t AS SELECT unnest($1) AS x", [texts])
        assert [v for (v,) in c.execute(f"SELECT {sql} FROM t").fetchall()] == [None, "", "é€", None, None, ""]
        matched = regular_expressions.matches(["x", "'ß'"])
        assert [v for (v,) in c.execute(f"SELECT {matched} FROM t").fetchall()] == [None, True, True, *[False] * 3]
