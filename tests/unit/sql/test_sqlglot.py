"""What sqlglot's users get: `flink` among its dialects, trees of its own classes, text in Flink SQL."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest
import sqlglot
from sql_samples import QUERIES
from sqlglot import exp

from sqlstream.sql.dialect import Flink
from sqlstream.sql.parser import parse_query
from sqlstream.sql.printing import sql_of


def test_an_entry_point_names_the_dialect() -> None:
    (found,) = importlib.metadata.entry_points(group="sqlglot.dialects", name="flink")
    assert found.load() is Flink


def test_sqlglot_finds_it_alone() -> None:
    code = "import sqlglot; print(sqlglot.parse_one('SELECT `a b` FROM t', read='flink').sql('flink'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "SELECT `a b` FROM t\n", done.stderr


@pytest.mark.parametrize("sql", QUERIES)
def test_trees_print_and_read_back(sql: str) -> None:
    printed = sqlglot.parse_one(sql, read=Flink).sql(Flink)
    assert sql_of(parse_query(printed)) == printed


def test_functions_have_sqlglots_classes() -> None:
    tree = sqlglot.parse_one("SELECT SUM(x), COUNT(DISTINCT y), UPPER(n), a / b, my_own(1) FROM t", read=Flink)
    for node in (exp.Sum, exp.Count, exp.Distinct, exp.Upper, exp.Anonymous):
        assert tree.find(node) is not None, node
    assert tree.find(exp.Div).args["typed"]


@pytest.mark.parametrize(
    ("sql", "dialect", "text"),
    [
        ("SELECT COUNT(*), `a b` FROM t", "postgres", 'SELECT COUNT(*), "a b" FROM t'),
        ("SELECT LISTAGG(x, ',') FROM t", "duckdb", "SELECT LISTAGG(x, ',') FROM t"),
        ("SELECT CHAR_LENGTH(x) FROM t", "snowflake", "SELECT LENGTH(x) FROM t"),
    ],
)
def test_flink_to_others(sql: str, dialect: str, text: str) -> None:
    assert sqlglot.transpile(sql, read=Flink, write=dialect) == [text]


@pytest.mark.parametrize(
    ("sql", "dialect", "text"),
    [
        ("SELECT x::text, string_agg(y, ',') FROM t", "postgres", "SELECT CAST(x AS STRING), LISTAGG(y, ',') FROM t"),
        ("SELECT IF(a, b, c), x / 2 FROM t", "mysql", "SELECT CASE WHEN a THEN b ELSE c END, CAST(x AS DOUBLE) / NULLIF(2, 0) FROM t"),
        ("SELECT date_trunc('month', ts) FROM t", "trino", "SELECT FLOOR(ts TO MONTH) FROM t"),
    ],
)  # fmt: skip
def test_others_to_flink(sql: str, dialect: str, text: str) -> None:
    assert sqlglot.transpile(sql, read=dialect, write=Flink) == [text]
