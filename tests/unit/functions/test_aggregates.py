"""Aggregate functions: types, and what their DuckDB text answers (hand-checked; Flink's answers)."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from sqlstream.aggregates.registry import AGGREGATES
from sqlstream.errors import BindError
from sqlstream.types import BIGINT, DOUBLE, INT, STRING, TINYINT, Type, array, decimal


def answer(function: str, values: list[Any], t: Type, **more: Any) -> Any:
    """The call over x = values, with o = 1, 2, … as arrival."""
    con = duckdb.connect()
    con.execute(f"CREATE TABLE t (x {t.duckdb()}, o BIGINT)")
    if values:
        con.executemany("INSERT INTO t VALUES (?, ?)", [(v, i) for i, v in enumerate(values)])
    return con.execute(f"SELECT {AGGREGATES[function].duckdb(['x'], [t], **more)} FROM t").fetchone()[0]  # type: ignore[index]


@pytest.mark.parametrize(
    ("function", "argument", "result"),
    [
        ("SUM", TINYINT, TINYINT),
        ("SUM", decimal(5, 2), decimal(38, 2)),
        ("AVG", INT, INT),
        ("AVG", decimal(5, 2), decimal(38, 6)),
        ("AVG", decimal(20, 9), decimal(38, 9)),
        ("COUNT", STRING, BIGINT.null(False)),
        ("MAX", STRING.null(False), STRING),
        ("VAR_POP", INT, INT),
        ("STDDEV_SAMP", decimal(5, 2), DOUBLE),
    ],
)
def test_types(function: str, argument: Type, result: Type) -> None:
    assert AGGREGATES[function].type_of((argument,)) == result


@pytest.mark.parametrize(
    ("function", "types"), [("SUM", (STRING,)), ("MIN", (array(INT),)), ("AVG", ()), ("LISTAGG", (INT,))]
)
def test_wrong_arguments(function: str, types: tuple[Type, ...]) -> None:
    with pytest.raises(BindError):
        AGGREGATES[function].type_of(types)


@pytest.mark.parametrize(
    ("function", "values", "t", "more", "expected"),
    [
        ("AVG", [-7, 2], INT, {}, -2),
        ("AVG", [2**63 - 1, 2**63 - 1], BIGINT, {}, 2**63 - 1),
        ("AVG", [Decimal("0.01"), Decimal("0.00"), Decimal("0.00")], decimal(5, 2), {}, Decimal("0.003333")),
        ("AVG", [Decimal(-5), 1, 1, 1, 0, 0], decimal(38, 0), {}, Decimal("-0.333333")),
        ("AVG", [Decimal("0.5"), 0, 0, 0, 0, 0, 0, 0] * 8, decimal(9, 5), {}, Decimal("0.062500")),
        ("SUM", [2**63 - 1, 1, -1], BIGINT, {}, 2**63 - 1),
        ("SUM", [], INT, {}, None),
        ("SUM", [math.inf, 1.0], DOUBLE, {}, math.inf),
        ("VAR_POP", [10, -7, 2], BIGINT, {}, 48),
        ("VAR_POP", [5, -5, 5], BIGINT, {"distinct": True}, 25),
        ("STDDEV_POP", [10, -7, 2], BIGINT, {}, 6),
        ("VAR_SAMP", [1], BIGINT, {}, None),
        ("FIRST_VALUE", [None, "b", "a"], STRING, {"order": "o"}, "b"),
        ("LAST_VALUE", ["b", "a", None], STRING, {"order": "o"}, "a"),
        ("FIRST_VALUE", ["b", "a"], STRING, {}, "a"),
        ("LISTAGG", ["b", None, "a", "b"], STRING, {"order": "o"}, "b,a,b"),
        ("LISTAGG", ["b", None, "a", "b"], STRING, {"order": "o", "distinct": True}, "b,a"),
        ("LISTAGG", ["b", "", "a"], STRING, {}, ",a,b"),
        ("LISTAGG", [None], STRING, {}, None),
        ("COUNT", [1, 1, None], INT, {"distinct": True}, 1),
        ("MAX", [1, 5, 3], INT, {"filter": "x < 4"}, 3),
    ],
)
def test_answers(function: str, values: list[Any], t: Type, more: Any, expected: Any) -> None:
    assert answer(function, values, t, **more) == expected


def test_overflow_is_an_error() -> None:
    with pytest.raises(duckdb.Error):
        answer("SUM", [2**63 - 1, 1], BIGINT)
    with pytest.raises(duckdb.Error):
        answer("SUM", [100, 100], TINYINT)


def test_over_goes_by_the_windows_order() -> None:
    con = duckdb.connect()
    con.execute("CREATE TABLE t AS SELECT * FROM (VALUES (1, 'b'), (2, NULL), (3, 'a')) v(o, x)")
    over = "OVER (ORDER BY o DESC)"
    sql = ", ".join(AGGREGATES[f].duckdb(["x"], [STRING], over=over) for f in ("FIRST_VALUE", "LAST_VALUE", "LISTAGG"))
    assert con.execute(f"SELECT {sql} FROM t ORDER BY o").fetchall() == [
        ("a", "b", "a,b"),
        ("a", "a", "a"),
        ("a", "a", "a"),
    ]
