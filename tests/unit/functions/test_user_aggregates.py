"""Python aggregate functions: how they are declared, what is wrong with them, and what is kept of their groups.

What they give stands in sql/user_aggregates.slt.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sqlstream import udaf
from sqlstream.errors import BindError, DataError, NotSupported
from sqlstream.functions.user_aggregates import Folding, resolve
from sqlstream.operators.aggregation import Aggregation
from sqlstream.plan import nodes
from sqlstream.session import Session
from sqlstream.types import Column, Schema

MODULE = """
from sqlstream import udaf

class Base:
    def create_accumulator(self) -> list[int]: return [0]
    def accumulate(self, acc, x: int): acc[0] += x
    def get_value(self, acc) -> int: return acc[0]

class NoValue:
    def create_accumulator(self): return [0]
    def accumulate(self, acc, x: int): ...

class Needs(Base):
    def __init__(self, n): ...

class Untyped(Base):
    def accumulate(self, acc, x): ...

class NoResult(Base):
    def get_value(self, acc): ...

class Nothing(Base):
    def accumulate(self, acc): ...

class Keywords(Base):
    def accumulate(self, acc, *, x: int): ...

class TwoTypes(Base):
    input_types = ("INT", "INT")

class NoType(Base):
    accumulator_type = "ROOW<a INT>"

class Another(Base):
    accumulator_type = "BIGINT"

class Breaks(Base):
    def create_accumulator(self): raise ValueError("not today")
    accumulator_type = "ARRAY<BIGINT>"

class Uncertain(Base): ...
udaf(Uncertain, deterministic=False)

@udaf(func_type="arrow")
def untyped(x): ...

@udaf(input_types=["INT", "INT"], result_type="INT", func_type="arrow")
def one(x): ...

class Several(Base):
    input_types = ("BIGINT", "BIGINT")
    def accumulate(self, acc, *values): acc[0] += sum(values)
several = Several()
"""


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"aggregates_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoValue", "has no method get_value"),
        ("Needs", "its class cannot be called: TypeError"),
        ("Untyped", "parameter 'x' has no type hint"),
        ("NoResult", "the result has no type hint"),
        ("Nothing", "takes no argument"),
        ("Keywords", "parameter 'x' must be positional"),
        ("TwoTypes", "2 input_types for 1 parameters"),
        ("NoType", "'ROOW<a INT>' is no type for accumulators"),
        ("Another", r"as an accumulator \(BIGINT\) \[0\] \(list\) is no BIGINT"),
        ("Breaks", r"create_accumulator: ValueError: not today \(.*\.py:\d+\)"),
        ("Uncertain", "is not deterministic"),
        ("untyped", "the type of parameter 'x' is not known"),
        ("one", "2 input_types for 1 parameters"),
        ("several.x", "no module named"),
    ],
)
def test_a_mistake_is_told_when_it_is_created(given: str, name: str, message: str) -> None:
    with pytest.raises(BindError, match=message):
        list(Session().execute(f"CREATE FUNCTION f AS '{given}.{name}' LANGUAGE PYTHON"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def accumulate(acc, x): ...", "has no method create_accumulator, get_value"),
        ("import nothing_of_this_name\ndef accumulate(acc, x): ...", "its body raised ModuleNotFoundError"),
        ("def accumulate(acc, x: ...", r"never closed \(line 1 of its body"),
    ],
)
def test_so_is_one_of_a_body(body: str, message: str) -> None:
    with pytest.raises(BindError, match=message):
        list(Session().execute(f"CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE PYTHON AS $$\n{body}\n$$"))


def test_the_decorator_says_what_it_takes() -> None:
    with pytest.raises(BindError, match="'pandas' is none of general, arrow") as e:
        udaf(func_type="pandas")
    assert e.value.hint is not None and "to_pandas" in e.value.hint
    with pytest.raises(BindError, match="udaf: f has no method create_accumulator, accumulate, get_value"):

        @udaf(result_type="INT")
        def f(x: int) -> None: ...

    with pytest.raises(BindError, match="udaf: int is no function of arrays"):
        udaf(1, func_type="arrow")


def test_any_number_of_values_where_their_types_are_said(given: str) -> None:
    create = f"CREATE FUNCTION f AS '{given}.several' LANGUAGE PYTHON;"
    sql = "SELECT f(a, b) AS x FROM (VALUES (1, 2), (3, 4)) AS t (a, b)"
    results = list(Session(options={"execution.runtime-mode": "batch"}).execute(create + sql))
    assert [v for b, _ in results[-1].batches() for v in b.column(0).to_pylist()] == [10]


def test_a_listing_of_what_has_no_order_is_refused_where_rows_change() -> None:
    sql = """
    CREATE FUNCTION f AS 'harness.aggregate_functions.last_of' LANGUAGE PYTHON;
    CREATE TABLE t (k INT, v BIGINT, PRIMARY KEY (k) NOT ENFORCED)
      WITH ('connector' = 'filesystem', 'path' = 'nothing', 'format' = 'debezium-json');
    SET 'execution.runtime-mode' = 'streaming';
    EXPLAIN SELECT f(CAST(ROW(v, 'a') AS ROW<a BIGINT, b STRING>), 'a') FROM t;
    """
    with pytest.raises(NotSupported, match="are listed by their values, and ROW<.*> has no order"):
        list(Session().execute(sql))


ALL = (
    "ROW<i BIGINT, d DECIMAL(10, 2), t TIMESTAMP(3), s INTERVAL DAY, a ARRAY<ROW<x INT>>, m MAP<STRING, ARRAY<INT>>, b BYTES>",
    [1, Decimal("1.50"), datetime.datetime(2024, 1, 1), datetime.timedelta(1), [{"x": 1}], {"k": [1, None]}, b"x"],
)


class Keeps:
    """Its accumulators hold values of many types."""

    accumulator_type, result_type, input_types = ALL[0], "STRING", ("INT",)

    def create_accumulator(self) -> Any:
        return list(ALL[1])

    def accumulate(self, acc: Any, x: Any) -> None:
        acc[0] += x
        acc[4].append({"x": x})
        acc[5]["k"].append(x)

    def get_value(self, acc: Any) -> Any:
        return repr(acc)


def test_accumulators_are_the_same_after_they_were_kept() -> None:
    f = resolve(f"{__name__}.Keeps")
    folding = f.folding()
    kept = folding.empty(2)
    for values in ([2], [3]):
        accumulators = folding.taken(kept)
        folding.take(accumulators, [1], None, [pa.array(values, pa.int32())])
        kept = folding.stored(accumulators)
    untouched, changed = folding.taken(kept)
    assert untouched == ALL[1]
    assert changed == [6, *ALL[1][1:4], [{"x": 1}, {"x": 2}, {"x": 3}], {"k": [1, None, 2, 3]}, b"x"]


def test_an_accumulator_is_of_the_class_that_made_it() -> None:
    f = resolve("harness.aggregate_functions.sums")
    folding = f.folding()
    (made,) = folding.taken(folding.empty(1))
    assert type(made).__name__ == "Both" and (made.total, made.rows) == (0, 0)
    with pytest.raises(DataError, match=r"as an accumulator \(ROW<.*>\) 'text' \(str\) is no BIGINT"):
        made.total = "text"
        folding.stored([made])
    assert isinstance(f.made(), Folding)


@udaf(input_types="MAP<STRING, INT>", result_type="MAP<STRING, INT>", func_type="arrow")
def first_map(x: pa.Array) -> pa.Scalar:
    """One of what it was given."""
    return x[0]


@udaf(input_types="INTERVAL DAY", result_type="INTERVAL DAY", func_type="arrow")
def first_interval(x: pa.Array) -> pa.Scalar:
    """The same of what is a number in Arrow."""
    return x[0]


def test_scalars_of_arrow_are_values() -> None:
    for name, values in (("first_map", [[("a", 1)], [("b", 2)]]), ("first_interval", [1_000_000, 2])):
        f = resolve(f"{__name__}.{name}")
        column = pa.array(values, f.arguments[0].arrow())
        assert f.values(f.made(), [0, 1, 2], [column]).to_pylist() == values


APPENDED, CHANGING, SLICES = {"append_only": True}, {"append_only": False}, {"append_only": True, "merging": True}


@pytest.mark.parametrize(
    ("function", "distinct", "groups", "rows"),
    [
        ("sums", False, APPENDED, False),
        ("sums", True, APPENDED, True),
        ("sums", False, CHANGING, False),
        ("sums", False, SLICES, True),  # it has no merge
        ("Words", False, SLICES, False),
        ("Words", False, CHANGING, True),  # nor this a retract
        ("Joined", False, APPENDED, True),  # nor this a type of its accumulators
        ("spread", False, APPENDED, True),
    ],
)
def test_what_is_kept_of_a_group(function: str, distinct: bool, groups: dict[str, Any], rows: bool) -> None:
    path = f"harness.aggregate_functions.{function}"
    f = resolve(path)
    call = nodes.AggCall(path, (0,), Column("x", f.result), distinct)
    kept = Aggregation((call,), Schema((Column("v", f.arguments[0]),)), arrival=True, **groups)
    assert (bool(kept.indexes), bool(kept.fields())) == (rows, not rows)
