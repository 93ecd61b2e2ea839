"""Trees hold the nodes that `sql/ast.py` lists, with those arguments, and every node knows its place."""

import pytest
from sql_samples import QUERIES, SPELLINGS

from sqlstream.errors import Position
from sqlstream.sql import ast as contract
from sqlstream.sql import parse_expression, parse_query
from sqlstream.sql.ast import exp, position_of

_GROUPS = [
    ("this expression", "And Or Add Sub Mul Div Mod DPipe EQ NEQ LT LTE GT GTE NullSafeEQ NullSafeNEQ Is Like"),
    ("this expression", "SimilarTo Escape Dot Kwarg PropertyEQ"),
    ("this", "Not Neg Paren Null Boolean HexString Var Star Placeholder Where Having Qualify"),
    ("this", "IgnoreNulls RespectNulls Exists Any All From Lateral"),
    ("expressions", "Array Tuple Distinct Group GroupingSets Rollup Cube Order Hint With"),
    ("this expression distinct with_ order limit offset emit", "Union Except Intersect"),
]
NODES = {
    **{name: arguments for arguments, names in _GROUPS for name in names.split()},
    "Select": "with_ hint distinct expressions from_ joins where group having windows qualify order limit offset emit",
    "Values": "expressions order limit offset emit",
    "Subquery": "this alias with_ order limit offset emit",
    "CTE": "this alias",
    "Limit": "expression",
    "Offset": "expression",
    "Ordered": "this desc nulls_first",
    "Join": "this side kind on using method",
    "Table": "this db catalog alias hints version",
    "Version": "this kind expression",
    "Unnest": "expressions alias offset",
    "TableFunction": "this expressions alias lateral",
    "TableArgument": "this partition_by order",
    "Descriptor": "expressions",
    "JoinGroup": "this joins",
    "Pivoted": "this expressions columns values alias",
    "Unpivoted": "this values name expressions nulls alias",
    "TableAlias": "this columns",
    "Alias": "this alias",
    "Identifier": "this quoted",
    "Column": "this table db catalog",
    "Bracket": "this expressions",
    "Literal": "this is_string",
    "TypedLiteral": "this kind",
    "Interval": "this unit",
    "IntervalSpan": "this expression",
    "Anonymous": "this expressions",
    "Filter": "this expression",
    "WithinGroup": "this expression",
    "Window": "this partition_by order spec alias",
    "WindowSpec": "kind start end start_side end_side",
    "Cast": "this to",
    "TryCast": "this to",
    "DataType": "this kind",
    "Case": "this ifs default",
    "If": "this true",
    "Map": "keys values",
    "Between": "this low high symmetric",
    "In": "this expressions query",
}
# sqlglot's own constructors set these, always to the same
_DEFAULTS = {"DataType": {"nested"}, "Interval": set()}
SQL = QUERIES + [s for s, _ in SPELLINGS]


@pytest.mark.parametrize("sql", SQL)
def test_only_listed_nodes_and_arguments(sql):
    for node in parse_query(sql).walk():
        name = type(node).__name__
        assert name in NODES, f"{name} is not in the contract"
        used = {key for key, value in node.args.items() if value not in (None, [], False)}
        extra = used - set(NODES[name].split()) - _DEFAULTS.get(name, set())
        assert not extra, f"{name} has {extra}"


def test_the_docstring_lists_every_node():
    for name in NODES:
        assert name in contract.__doc__, name


def test_every_listed_node_occurs():
    seen = {type(node).__name__ for sql in SQL for node in parse_query(sql).walk()}
    seen |= {type(node).__name__ for node in parse_expression("a > ALL (SELECT 1)").walk()}
    assert set(NODES) - seen == set()


@pytest.mark.parametrize("sql", SQL)
def test_every_node_has_its_place(sql):
    tree = parse_query(sql)
    lines = sql.splitlines()
    for node in tree.walk():
        place = position_of(node)
        if place is None:  # nothing in it was written: TRIM's ' ', the lists of MAP[], an omitted count
            assert isinstance(node, (exp.Array, exp.Literal, exp.Limit)), repr(node)
            continue
        assert 1 <= place.line <= len(lines) and 1 <= place.column <= len(lines[place.line - 1])
        if isinstance(node, exp.Identifier) and "line" in node.meta:
            text = sql[node.meta["start"] : node.meta["end"]]
            assert (text[1:-1].replace("``", "`") if text[0] == "`" else text) == node.this


@pytest.mark.parametrize(
    ("sql", "kind", "column"),
    [
        ("SELECT a + b FROM t", exp.Add, 8),
        ("SELECT 1 + f(b) FROM t", exp.Anonymous, 12),
        ("SELECT (a) = 1 FROM t", exp.EQ, 8),
        ("SELECT x.y.z FROM t", exp.Column, 8),
        ("SELECT a FROM t JOIN u ON TRUE", exp.Join, 17),
        ("SELECT a FROM db.t", exp.Table, 15),
        ("SELECT SUM(x) OVER (ORDER BY y) FROM t", exp.Window, 8),
        ("SELECT a, CAST(b AS INT) FROM t", exp.DataType, 21),
        ("SELECT a AS b FROM t", exp.Alias, 8),
        ("SELECT a NOT IN (1) FROM t", exp.Not, 8),
        ("SELECT a FROM t GROUP BY b", exp.Group, 17),
        ("SELECT a.b[1].c.d FROM t", exp.Dot, 8),
    ],
)
def test_places(sql, kind, column):
    assert position_of(parse_query(sql).find(kind)) == Position(1, column)
