"""Expressions as EXPLAIN and messages show them: SQL that one could write."""

from __future__ import annotations

import pytest

from sqlstream.plan import nodes
from sqlstream.session import Session
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script

TABLE = """CREATE TABLE t (a INT, b INT, s STRING, ok BOOLEAN, ts TIMESTAMP(3), d DATE, tm TIME, l TIMESTAMP_LTZ(3),
  m MAP<STRING, INT>, x ARRAY<INT>, r ROW<f INT, g ROW<h STRING>>, bin BYTES) WITH ('connector' = 'filesystem', 'path' = 'nowhere', 'format' = 'json')"""


@pytest.mark.parametrize(
    "sql, text",
    [
        ("a > 1 AND b < 2 AND (ok OR a = b)", "a > 1 AND b < 2 AND (ok OR a = b)"),
        ("NOT (a > 1 OR ok IS TRUE)", "NOT (a > 1 OR ok IS TRUE)"),
        ("(a + b) * 2 - a * b", "(a + b) * 2 - a * b"),
        ("a - (b - 1)", "a - (b - 1)"),
        ("a - b - 1 + a * 2 / b", "a - b - 1 + a * 2 / b"),
        ("-(a + b)", "-(a + b)"),
        ("ts - INTERVAL '5' SECOND", "ts - INTERVAL '5' SECOND"),
        ("ts + INTERVAL '90' MINUTE", "ts + INTERVAL '90' MINUTE"),
        ("ts + INTERVAL '36' HOUR", "ts + INTERVAL '36' HOUR"),
        ("ts + INTERVAL '1.25' SECOND", "ts + INTERVAL '1.25' SECOND"),
        ("ts - INTERVAL '14' MONTH", "ts - INTERVAL '14' MONTH"),
        ("ts - INTERVAL '2' YEAR", "ts - INTERVAL '2' YEAR"),
        ("TIMESTAMP '2024-01-01 00:00:00.5'", "TIMESTAMP '2024-01-01 00:00:00.5'"),
        ("d = DATE '2024-02-29'", "d = DATE '2024-02-29'"),
        ("tm = TIME '12:30:00'", "tm = TIME '12:30:00'"),
        ("EXTRACT(YEAR FROM ts)", "EXTRACT(YEAR FROM ts)"),
        ("FLOOR(ts TO DAY)", "FLOOR(ts TO DAY)"),
        ("CEIL(CAST(a AS DOUBLE))", "CEIL(CAST(a AS DOUBLE))"),
        ("CASE WHEN a > 1 THEN 'it''s' END", "CASE WHEN a > 1 THEN 'it''s' END"),
        ("s LIKE 'a%' AND s IS NULL", "s LIKE 'a%' AND s IS NULL"),
        ("(a IS NULL) = ok", "(a IS NULL) = ok"),
        ("x[1] + m['k']", "x[1] + m['k']"),
        ("ARRAY[a, b]", "ARRAY[a, b]"),
        ("r.g.h", "r.g.h"),
        ("TRY_CAST(s AS DECIMAL(10, 2))", "TRY_CAST(s AS DECIMAL(10, 2))"),
        ("UPPER(s)", "UPPER(s)"),
        ("bin = X'0aff'", "bin = X'0aff'"),
        ("a IS NOT DISTINCT FROM b", "a IS NOT DISTINCT FROM b"),
        ("CURRENT_DATE", "CURRENT_DATE"),
    ],
)
def test_expression(sql: str, text: str) -> None:
    session = Session()
    for _ in session.execute(TABLE):
        pass
    (statement,) = parse_script(f"SELECT {sql} FROM t")
    assert isinstance(statement, st.Select)
    plan = session.environment.bind(statement.query)
    assert isinstance(plan, nodes.Project)
    assert str(plan.exprs[0]) == text
