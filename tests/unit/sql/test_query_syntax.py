"""Queries read and print the same; other spellings come to the same trees."""

import pytest
import sqlglot
from sql_samples import QUERIES, SPELLINGS

from sqlstream.sql import parse_expression, parse_query, parse_statement
from sqlstream.sql.ast import TypedLiteral, column_parts, exp, hints
from sqlstream.sql.dialect import Flink
from sqlstream.sql.printing import sql_of
from sqlstream.sql.statements import Select


@pytest.mark.parametrize("sql", QUERIES)
def test_queries_print_as_they_were_written(sql):
    tree = parse_query(sql)
    assert sql_of(tree) == sql
    assert parse_query(sql_of(tree)) == tree
    statement = parse_statement(sql)
    assert isinstance(statement, Select)
    assert statement.query == tree


@pytest.mark.parametrize(("sql", "printed"), SPELLINGS, ids=[s for s, _ in SPELLINGS])
def test_other_spellings(sql, printed):
    assert sql_of(parse_query(sql)) == printed
    assert parse_query(sql) == parse_query(printed)


def test_sqlglot_reads_with_the_same_grammar():
    sql = "SELECT a FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' DAY)"
    assert sqlglot.parse_one(sql, read=Flink) == parse_query(sql)
    assert sqlglot.parse_one("a + f(b)", read=Flink) == parse_expression("a + f(b)")


SHAPES = [
    ("a.b", exp.Column(this=exp.to_identifier("b"), table=exp.to_identifier("a"))),
    ("f(x, 1)", exp.Anonymous(this="f", expressions=[exp.column("x"), exp.Literal.number(1)])),
    ("Count(*)", exp.Anonymous(this="Count", expressions=[exp.Star()])),
    ("s(DISTINCT x)", exp.Anonymous(this="s", expressions=[exp.Distinct(expressions=[exp.column("x")])])),
    ("a IS NOT NULL", exp.Not(this=exp.Is(this=exp.column("a"), expression=exp.Null()))),
    ("CURRENT_DATE", exp.Anonymous(this="CURRENT_DATE", expressions=[])),
    ("EXTRACT(DAY FROM x)", exp.Anonymous(this="EXTRACT", expressions=[exp.Var(this="DAY"), exp.column("x")])),
    ("DATE '2020-01-01'", TypedLiteral(this=exp.Literal.string("2020-01-01"), kind="DATE")),
    ("date", exp.column("date")),
    ("a || b * c", exp.Mul(this=exp.DPipe(this=exp.column("a"), expression=exp.column("b")), expression=exp.column("c"))),
    ("NOT a = b", exp.Not(this=exp.EQ(this=exp.column("a"), expression=exp.column("b")))),
    ("LOG10(x)", exp.Anonymous(this="LOG10", expressions=[exp.column("x")])),
    ("x[1]", exp.Bracket(this=exp.column("x"), expressions=[exp.Literal.number(1)])),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "tree"), SHAPES, ids=[s for s, _ in SHAPES])
def test_shapes(sql, tree):
    assert parse_expression(sql) == tree


@pytest.mark.parametrize("upper", ["A", "`A`"])
def test_names_keep_their_case_and_forget_their_quotes(upper):
    assert parse_expression(upper) != parse_expression("a")
    assert parse_expression("`a`") == parse_expression("a")
    assert column_parts(parse_expression(f"`t`.{upper}")) == ("t", "A")


def test_long_chains_of_and_are_shallow():
    tree = parse_expression(" AND ".join(f"c{i}" for i in range(1000)))
    depth, level = 0, [tree]
    while level:
        depth, level = depth + 1, [child for node in level for child in node.iter_expressions()]
    assert depth < 15
    assert [c.name for c in tree.find_all(exp.Column, bfs=False)] == [f"c{i}" for i in range(1000)]


def test_hints():
    query = parse_query("SELECT /*+ state_ttl('a'='1d'), BROADCAST(b) */ * FROM t /*+ OPTIONS(x.y = 'z') */")
    ttl, broadcast = hints(query)
    assert (ttl.name, ttl.options) == ("STATE_TTL", (("a", "1d"),))
    assert (broadcast.name, broadcast.arguments) == ("BROADCAST", ("b",))
    assert hints(query.args["from_"].this)[0].options == (("x.y", "z"),)
    assert hints(parse_query("SELECT 1")) == ()
