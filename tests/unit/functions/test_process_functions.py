"""Process table functions: what a class declares, its mistakes, and what calls of it in a session do."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from sqlstream.errors import BindError, NotSupported, UserError
from sqlstream.process_functions.function import row_class
from sqlstream.process_functions.signature import Argument, is_process_function, resolve
from sqlstream.session import Session
from sqlstream.types import BIGINT, INTERVAL_DAY, STRING, array

MODULE = """
from datetime import timedelta
from sqlstream import *

SET, ROW = ArgumentTrait.SET_SEMANTIC_TABLE, ArgumentTrait.ROW_SEMANTIC_TABLE

class Good(ProcessTableFunction):
    result_type = "ROW<a BIGINT, b STRING NOT NULL>"
    one = ValueStateDescriptor("first", "BIGINT")

    def eval(self, ctx, rows, gap: timedelta, words: list[str] | None = None, n: int = 3): ...

class Derived(Good):
    two = MapStateDescriptor("second", "STRING", "DOUBLE")

    def on_timer(self, ctx): ...

class Plain(ProcessTableFunction):
    result_type = "BIGINT"
    def eval(self, ctx, input): ...

class NoResult(ProcessTableFunction):
    def eval(self, ctx, input): ...

class WrongResult(ProcessTableFunction):
    result_type = "BIGGINT"
    def eval(self, ctx, input): ...

class NoEval(ProcessTableFunction):
    result_type = "BIGINT"

class NoRow(Plain):
    def eval(self, ctx): ...

class Many(Plain):
    def eval(self, ctx, *rows): ...

class Untyped(Plain):
    def eval(self, ctx, input, n): ...

class Reserved(Plain):
    def eval(self, ctx, input, uid: str): ...

class Both(Plain):
    traits = (SET, ROW)

class Neither(Plain):
    traits = ()

class Text(Plain):
    traits = "SET_SEMANTIC_TABEL"

class RowsWithState(Plain):
    traits = (ROW,)
    one = ValueStateDescriptor("one", "BIGINT")

class RowsOptional(Plain):
    traits = (ROW, ArgumentTrait.OPTIONAL_PARTITION_BY)

class Through(Plain):
    traits = (SET, ArgumentTrait.PASS_COLUMNS_THROUGH)
    def on_timer(self, ctx): ...

class Twice(Plain):
    one = ValueStateDescriptor("one", "BIGINT")
    two = ValueStateDescriptor("one", "BIGINT")

class Broken(Plain):
    def open(self):
        raise OSError("no such model")

def scalar(x: int) -> int:
    return x
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "declared_functions.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "declared_functions", raising=False)


def test_what_a_class_declares() -> None:
    s = resolve("declared_functions.Derived")
    assert s.table == "rows" and s.by_key and s.timers
    assert s.arguments == (
        Argument("gap", INTERVAL_DAY, False),
        Argument("words", array(STRING), True),
        Argument("n", BIGINT, True),
    )
    assert [(a, d.name) for a, d in s.states] == [("one", "first"), ("two", "second")]
    assert s.fields() == [("a", BIGINT), ("b", STRING.null(False))]
    assert not resolve("declared_functions.Good").timers
    assert resolve("declared_functions.Plain").fields() == [("EXPR$0", BIGINT)]
    assert is_process_function("declared_functions.Plain") and not is_process_function("declared_functions.scalar")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scalar", "is no process table function"),
        ("NoResult", "has no result_type"),
        ("WrongResult", "result_type: 'BIGGINT' is no type"),
        ("NoEval", "has no method eval"),
        ("NoRow", "eval takes the context and a row at least"),
        ("Many", "parameter 'rows' of eval must be positional"),
        ("Untyped", "argument 'n' has no type hint"),
        ("Reserved", "every call has an argument 'uid'"),
        ("Both", "set semantics or row semantics"),
        ("Neither", "set semantics or row semantics"),
        ("Text", "'SET_SEMANTIC_TABEL' is no ArgumentTrait"),
        ("RowsWithState", "has states or timers, which are kept by key"),
        ("RowsOptional", "OPTIONAL_PARTITION_BY is for a table with set semantics"),
        ("Through", "has no row whose columns could pass through"),
        ("Twice", "'one' and 'two' are both state 'one'"),
    ],
)
def test_mistakes_are_told(name: str, message: str) -> None:
    with pytest.raises(BindError, match=message):
        resolve(f"declared_functions.{name}")


def run(made: Session, sql: str) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for result in made.execute(sql):
        for b, _ in result.batches():
            rows += zip(*b.to_pydict().values(), strict=True)
    return rows


def test_mistakes_are_found_when_it_is_created(tmp_path: Path) -> None:
    s = Session(None, {}, str(tmp_path))
    with pytest.raises(BindError, match="has no result_type"):
        run(s, "CREATE FUNCTION f AS 'declared_functions.NoResult' LANGUAGE PYTHON")
    with pytest.raises(BindError, match="module 'declared_functions' has no 'Nothing'"):
        run(s, "CREATE FUNCTION f AS 'declared_functions.Nothing' LANGUAGE PYTHON")
    assert s.catalog.functions() == []


def test_a_function_of_values_is_none_of_tables(tmp_path: Path) -> None:
    s = Session(None, {}, str(tmp_path))
    run(s, "CREATE FUNCTION f AS 'declared_functions.scalar' LANGUAGE PYTHON")
    with pytest.raises(BindError, match="f is a function of a row's values, not of a table"):
        run(s, "SELECT * FROM f(TABLE (VALUES (1)))")


def test_what_open_raises_is_told(tmp_path: Path) -> None:
    s = Session(None, {}, str(tmp_path))
    run(s, "CREATE FUNCTION f AS 'declared_functions.Broken' LANGUAGE PYTHON")
    with pytest.raises(
        UserError, match=r"Broken: OSError: no such model \(.*declared_functions.py:\d+\), when it begins"
    ):
        run(s, "SELECT * FROM f(TABLE (SELECT 1 AS x) PARTITION BY x)")


def test_a_uid_is_of_one_call(tmp_path: Path) -> None:
    s = Session(None, {}, str(tmp_path))
    run(s, "CREATE FUNCTION f AS 'declared_functions.Plain' LANGUAGE PYTHON")
    one, two = (f"SELECT * FROM f(TABLE (SELECT {n} AS x) PARTITION BY x, uid => 'same')" for n in (1, 2))
    run(s, f"{one} UNION ALL {one}")  # equal calls are one
    with pytest.raises(BindError, match="two process table functions have uid 'same'"):
        run(s, f"{one} UNION ALL {two}")


def test_batch_refuses_it_with_a_hint(tmp_path: Path) -> None:
    s = Session(None, {"execution.runtime-mode": "batch"}, str(tmp_path))
    run(s, "CREATE FUNCTION f AS 'declared_functions.Plain' LANGUAGE PYTHON")
    with pytest.raises(NotSupported, match="runs as a stream only") as e:
        run(s, "SELECT * FROM f(TABLE (SELECT 1 AS x) PARTITION BY x)")
    assert "'execution.runtime-mode' = 'streaming'" in str(e.value)


def test_rows() -> None:
    row = row_class(("a", "count", "two words"))((1, datetime.date(2024, 1, 1), None))
    assert (row.a, row["count"], row["two words"], row[1:]) == (1, datetime.date(2024, 1, 1), None, row[1:])
    assert callable(row.count)  # what tuples have stays theirs
    assert repr(row) == "Row(a=1, count=datetime.date(2024, 1, 1), two words=None)"
    assert row.as_dict() == {"a": 1, "count": datetime.date(2024, 1, 1), "two words": None}
