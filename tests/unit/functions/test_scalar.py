"""The registry of scalar functions: what each object says is what its calls do."""

from __future__ import annotations

import pickle

import pytest

from sqlstream import duck
from sqlstream.errors import BindError, InternalError
from sqlstream.expressions import Call, Cast, Literal, symbol
from sqlstream.functions.scalar import SCALARS, scalar, volatile
from sqlstream.functions.scalar_function import Nulls, takes
from sqlstream.rendering.expressions import to_duckdb
from sqlstream.types import BIGINT, BOOLEAN, DOUBLE, INT, STRING, Type

ONE = Literal(INT.null(False), 1)
NOTHING = Literal(INT, None)


def test_an_unknown_name_raises() -> None:
    with pytest.raises(InternalError, match="no scalar function 'NONE'"):
        to_duckdb(Call(INT, "NONE", (ONE,)), set())


def test_names_in_plans_are_registered() -> None:
    assert all(name == f.name for name, f in SCALARS.items())
    assert all(scalar(f.stands_for).rule is not None for f in SCALARS.values() if f.stands_for)


def test_the_number_of_arguments() -> None:
    with pytest.raises(BindError, match=r"SUBSTRING takes 2 to 3 arguments, not 1"):
        scalar("SUBSTRING").typing([Literal(STRING, "a")])
    with pytest.raises(BindError, match=r"PI takes 0 arguments, not 1"):
        scalar("PI").typing([ONE])
    with pytest.raises(BindError, match=r"COALESCE takes at least 1 argument, not 0"):
        scalar("COALESCE").typing([])


def test_the_types_of_arguments() -> None:
    rule = takes("F", (STRING, INT), DOUBLE)
    assert rule([Literal(STRING, "a"), ONE]).result == DOUBLE
    with pytest.raises(BindError, match=r"F: argument 2 must be INT, not STRING"):
        rule([Literal(STRING, "a"), Literal(STRING, "b")])


@pytest.mark.parametrize(
    ("nulls", "types", "nullable"),
    [
        (Nulls.PASS, [INT.null(False), INT.null(False)], False),
        (Nulls.PASS, [INT.null(False), INT], True),
        (Nulls.PASS, [Type("NULL")], True),
        (Nulls.ALL, [INT.null(False), INT], False),
        (Nulls.ALL, [INT, INT], True),
        (Nulls.NEVER, [INT], False),
        (Nulls.MAYBE, [INT.null(False)], True),
        (Nulls.RULE, [INT], False),
    ],
)
def test_when_the_result_may_be_null(nulls: Nulls, types: list[Type], nullable: bool) -> None:
    assert nulls.nullable(types, BOOLEAN.null(False)) is nullable


def test_units_are_arguments() -> None:
    call = Call(BIGINT, "EXTRACT", (symbol("YEAR"), Literal(Type("DATE", nullable=False), 0)))
    assert str(call).startswith("EXTRACT(YEAR")
    assert pickle.loads(pickle.dumps(call)) == call
    assert duck.shared().execute(f"SELECT {to_duckdb(call, set())}").fetchall() == [(1970,)]
    with pytest.raises(BindError, match="a unit of time is needed"):
        scalar("EXTRACT").typing([ONE, ONE])


def test_what_is_volatile_is_evaluated_once() -> None:
    """LEFT looks twice at a length: of a random one it may not see two, one below 0 and one not."""
    rand = Call(DOUBLE.null(False), "RAND", ())
    assert volatile(Call(DOUBLE, "POWER", (rand, rand))) and not volatile(ONE)
    length = Cast(INT, Call(DOUBLE, "-", (rand, Literal(DOUBLE, 0.5))))
    sql = to_duckdb(Call(STRING, "LEFT", (Literal(STRING, "ab"), length)), set())
    assert sql.count("random()") == 1
    assert duck.shared().execute(f"SELECT count(*) FROM range(1000) WHERE {sql} NOT IN ('', 'a')").fetchall() == [(0,)]
