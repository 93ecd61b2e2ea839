"""Python functions: of a row at a time, and of Arrow arrays; their types and mistakes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from sqlstream import udf
from sqlstream.errors import BindError, DataError
from sqlstream.session import Session

MODULE = '''
import pyarrow as pa
import pyarrow.compute as pc
from sqlstream import udf

called = []

@udf(input_types=["BIGINT", "STRING"], result_type="STRING", func_type="arrow")
def labelled(n, text):
    called.append(len(n))
    return pc.binary_join_element_wise(text, n.cast(pa.string()), "-")

@udf(input_types="INT", result_type="BIGINT", func_type="arrow")
def listed(n):
    return [None if x is None else 2 * x for x in n.to_pylist()]

@udf(input_types=["INT"], result_type="INT", func_type="arrow")
def too_few(n):
    return n[:1]

@udf(input_types=["INT"], result_type="INT", func_type="arrow")
def fails(n):
    raise ValueError("no numbers today")

@udf(input_types=["INT"], result_type="INT", func_type="arrow")
def text(n):
    return ["many"] * len(n)

@udf(func_type="arrow")
def untyped(n): ...

@udf(input_types=["INT", "INT"], result_type="INT")
def one(n): ...

@udf(input_types=["INT"], result_type="INT", func_type="arrow")
def nothing(): ...

@udf(result_type="DECIMAL(10, 2)")
def typed(n: int) -> float:
    import decimal
    return decimal.Decimal(n) / 4
'''  # fmt: skip


@pytest.fixture(params=["batch", "streaming"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    name = f"given_{request.param}_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    session = Session(options={"execution.runtime-mode": request.param})

    def run(sql: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for result in session.execute(sql.replace("given.", f"{name}.")):
            for batch, _ in result.batches():
                rows += zip(*(c.to_pylist() for c in batch.columns), strict=True)
        return rows

    run.module = name  # type: ignore[attr-defined]
    return run


NUMBERS = "(VALUES (1, 'a'), (2, 'b'), (NULL, 'c'), (4, NULL)) AS t (n, s)"


def create(name: str) -> str:
    return f"CREATE TEMPORARY FUNCTION f AS 'given.{name}' LANGUAGE PYTHON;"


def test_an_arrow_function_takes_many_rows(run: Any) -> None:
    rows = run(create("labelled") + f"SELECT f(n, s) AS x FROM {NUMBERS}")
    assert sorted(rows, key=str) == [("a-1",), ("b-2",), (None,), (None,)]
    assert max(sys.modules[run.module].called) == 4


def test_it_may_give_anything_that_is_an_array(run: Any) -> None:
    assert sorted(run(create("listed") + f"SELECT f(n) AS x FROM {NUMBERS} WHERE n < 4")) == [(2,), (4,)]


def test_a_declared_type_comes_before_hints(run: Any) -> None:
    assert str(run(create("typed") + "SELECT f(1) AS x")[0][0]) == "0.25"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("too_few", "too_few gave 1 values for "),
        ("fails", "fails: ValueError: no numbers today"),
        ("text", "text: ArrowInvalid"),
    ],
)
def test_what_goes_wrong_names_the_function(run: Any, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(create(name) + f"SELECT f(n) AS x FROM {NUMBERS}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("untyped", "the type of parameter 'n' is not known"),
        ("one", "2 input_types for 1 parameters"),
        ("nothing", "needs an argument"),
    ],
)
def test_mistakes_of_declaration(run: Any, name: str, message: str) -> None:
    with pytest.raises(BindError, match=message):
        run(create(name))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(BindError, match="'pandas' is none of general, arrow") as e:
        udf(func_type="pandas")
    assert "to_pandas()" in str(e.value)
