"""Python functions: of a row at a time, and of Arrow arrays; their types and mistakes."""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sqlstream import udf, udtf
from sqlstream.errors import BindError, DataError
from sqlstream.session import Session

MODULE = '''
import pyarrow as pa
import pyarrow.compute as pc
from sqlstream import udf, udtf

called = []

@udf(input_types=["BIGINT", "STRING"], result_type="STRING", func_type="arrow")
def labelled(n, text):
    called.append(len(n))
    return pc.binary_join_element_wise(text, n.cast(pa.string()), "-")

@udf(input_types="INT", result_type="BIGINT", func_type="arrow")
def listed(n):
    return [None if x is None else 2 * x for x in n.to_pylist()]

@udf(input_types="ROW<a BIGINT, b STRING>", result_type="ROW<b STRING, a BIGINT>", func_type="arrow")
def turned(r):
    return pa.StructArray.from_arrays([r.field("b"), r.field("a")], ["b", "a"])

@udf(input_types="BIGINT", result_type="ARRAY<ROW<x BIGINT>>", func_type="arrow")
def boxed(n):
    return [[{"x": x}] for x in n.to_pylist()]

@udf(input_types="BIGINT", result_type="ROW<x BIGINT>", func_type="arrow")
def nulls(n):
    return pa.nulls(len(n))

@udf(input_types="MAP<STRING, ROW<a BIGINT, b STRING>>", result_type="STRING", func_type="arrow")
def shown(m):
    return [str(x) for x in m.to_pylist()]

@udf(input_types="BIGINT", result_type="ROW<x BIGINT>", func_type="arrow")
def misnamed(n):
    return pa.StructArray.from_arrays([n], ["y"])

@udf(input_types=["INT"], result_type="INT", func_type="arrow")
def too_few(n):
    return n[:1]

@udf(input_types="INT", result_type="INT NOT NULL", func_type="arrow")
def lacks(n):
    return pa.nulls(len(n))

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

@udf(input_types=[int], result_type="INT")
def classes(n): ...

@udf(input_types=["INTT"], result_type="INT")
def nonsense(n): ...

@udf(result_type=int)
def result(n: int): ...

@udf(input_types="ROW<a BIGINT, b STRING>", result_type="ARRAY<ROW<b STRING, a BIGINT>>")
def listed_rows(r):
    return None if r is None else [{"b": r["b"], "a": r["a"]}, (r["b"] + "!", 1 // (r["a"] - 3))]

@udf(result_type="ROW<x BIGINT>")
def constant():
    return {"x": 7}

@udtf(result_types=["BIGINT"])
def counted(n: int):
    called.append(n)
    yield n

@udtf(result_types=["BIGINT"], deterministic=False)
def thrice():
    called.append(None)
    yield from (1, 2, 3)

@udf(result_type="DECIMAL(10, 2)")
def typed(n: int) -> float:
    import decimal
    return decimal.Decimal(n) / 4
'''  # fmt: skip


@dataclass(frozen=True)
class Run:
    """Runs statements; `given.` in them stands for the module of this test."""

    session: Session
    module: str

    def __call__(self, sql: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for result in self.session.execute(sql.replace("given.", f"{self.module}.")):
            for batch, _ in result.batches():
                rows += zip(*(c.to_pylist() for c in batch.columns), strict=True)
        return rows


@pytest.fixture(params=["batch", "streaming"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    name = f"given_{request.param}_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return Run(Session(options={"execution.runtime-mode": request.param}), name)


NUMBERS = "(VALUES (1, 'a'), (2, 'b'), (NULL, 'c'), (4, NULL)) AS t (n, s)"


def create(name: str) -> str:
    return f"CREATE TEMPORARY FUNCTION f AS 'given.{name}' LANGUAGE PYTHON;"


def test_an_arrow_function_takes_many_rows(run: Run) -> None:
    rows = run(create("labelled") + f"SELECT f(n, s) AS x FROM {NUMBERS}")
    assert sorted(rows, key=str) == [("a-1",), ("b-2",), (None,), (None,)]
    assert max(sys.modules[run.module].called) == 4


def test_it_may_give_anything_that_is_an_array(run: Run) -> None:
    assert sorted(run(create("listed") + f"SELECT f(n) AS x FROM {NUMBERS} WHERE n < 4")) == [(2,), (4,)]


def test_fields_of_rows_have_their_names(run: Run) -> None:
    rows = "(VALUES (ROW(CAST(1 AS BIGINT), 'x')), (NULL)) AS t (r)"
    assert sorted(run(create("turned") + f"SELECT f(r).a AS a, f(r).b AS b FROM {rows}"), key=str) == [
        (1, "x"),
        (None, None),
    ]
    boxed = create("boxed").replace(" f ", " g ")
    assert run(boxed + "SELECT g(CAST(7 AS BIGINT)) AS x") == [([{"x": 7}],)]


def test_rows_that_are_values_have_their_names(run: Run) -> None:
    rows = "(VALUES (ROW(CAST(1 AS BIGINT), 'x')), (NULL)) AS t (r)"
    made = run(create("listed_rows") + f"SELECT f(r) AS x FROM {rows}")
    assert sorted(made, key=str) == [(None,), ([{"b": "x", "a": 1}, {"b": "x!", "a": -1}],)]
    with pytest.raises(DataError, match=r"listed_rows\(\{'a': 3, 'b': 'x'\},\): ZeroDivisionError.*\.py:\d+"):
        run(create("listed_rows").replace(" f ", " h ") + "SELECT h(ROW(CAST(3 AS BIGINT), 'x')) AS x")
    assert run(create("constant").replace(" f ", " g ") + f"SELECT g().x AS x FROM {NUMBERS}") == [(7,)] * 4


def test_nothing_is_a_row_of_any_fields_and_maps_hold_rows(run: Run) -> None:
    assert run(create("nulls") + "SELECT f(CAST(7 AS BIGINT)) AS x") == [(None,)]
    made = create("shown").replace(" f ", " g ") + "SELECT g(MAP['k', ROW(CAST(1 AS BIGINT), 'v')]) AS x"
    assert run(made) == [("[('k', {'a': 1, 'b': 'v'})]",)]


def test_every_statement_of_a_process_may_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB keeps no reference to a function beyond the connection that it was registered on."""
    (tmp_path / "of_many_statements.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    for name, value in [("listed", 2), ("typed", 0.25)] * 4:
        session = Session(options={"execution.runtime-mode": "streaming"})
        sql = f"CREATE FUNCTION f AS 'of_many_statements.{name}' LANGUAGE PYTHON; SELECT f(n) FROM (VALUES (1), (1)) AS t (n)"
        *_, result = session.execute(sql)
        assert [float(x) for batch, _ in result.batches() for x in batch.column(0).to_pylist()] == [value, value]
        gc.collect()


def test_a_declared_type_comes_before_hints(run: Run) -> None:
    assert str(run(create("typed") + "SELECT f(1) AS x")[0][0]) == "0.25"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("too_few", "too_few gave 1 values for "),
        ("fails", "fails: ValueError: no numbers today"),
        ("lacks", "lacks gave NULL, which is no INT NOT NULL"),
        ("text", "text: ArrowInvalid"),
    ],
)
def test_what_goes_wrong_names_the_function(run: Run, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(create(name) + f"SELECT f(n) AS x FROM {NUMBERS}")


def test_a_row_with_other_fields_is_refused(run: Run) -> None:
    with pytest.raises(DataError, match="misnamed: TypeError: fields y instead of x"):
        run(create("misnamed") + "SELECT f(CAST(n AS BIGINT)) AS x FROM " + NUMBERS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("untyped", "the type of parameter 'n' is not known"),
        ("one", "2 input_types for 1 parameters"),
        ("nothing", "needs an argument"),
        ("classes", "the type of parameter 'n' is <class 'int'>, not SQL text"),
        ("nonsense", "'INTT' is no type for parameter 'n'"),
        ("result", "the type of the result is <class 'int'>, not SQL text"),
    ],
)
def test_mistakes_of_declaration(run: Run, name: str, message: str) -> None:
    with pytest.raises(BindError, match=message):
        run(create(name))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(BindError, match="'pandas' is none of general, arrow") as e:
        udf(func_type="pandas")
    assert "to_pandas()" in str(e.value)


def test_a_table_function_is_called_once_for_a_row(run: Run) -> None:
    rows = run(
        create("counted") + f"SELECT n, x, x + 1 AS y, s FROM {NUMBERS}, LATERAL TABLE(f(n)) AS l(x) WHERE n IN (1, 4)"
    )
    assert sorted(rows) == [(1, 1, 2, "a"), (4, 4, 5, None)]
    assert sorted(sys.modules[run.module].called) == [1, 4]
    del sys.modules[run.module].called[:]
    again = create("thrice").replace(" f ", " g ")
    assert sorted(run(again + f"SELECT n, x FROM {NUMBERS}, LATERAL TABLE(g()) AS l(x) WHERE n < 4")) == [
        (n, x) for n in (1, 2) for x in (1, 2, 3)
    ]
    assert len(sys.modules[run.module].called) == 2


def test_a_table_function_says_what_it_gives() -> None:
    with pytest.raises(BindError, match="udtf needs result_types"):
        udtf(lambda n: [n])
    with pytest.raises(BindError, match="udtf takes a function, not int"):
        udtf(result_types="INT")(1)


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("raise ValueError('not today')", "f", r"its module raised ValueError: not today \(.*broken_0\.py:1\)"),
        ("import math\nmath.nothing", "f", r"its module raised AttributeError: .*nothing.*broken_1\.py:2\)"),
        ("def f(:", "f", r"its module raised SyntaxError: .*broken_2\.py, line 1"),
        ("import nowhere_at_all", "f", "no module named 'nowhere_at_all'"),
        ("class F:\n    def evaluate(self, n: int) -> int: return n", "F", "is a class without a method eval"),
    ],
)
def test_what_is_no_function_is_told(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, path: str, message: str
) -> None:
    cases = request.node.callspec.indices["text"]
    (tmp_path / f"broken_{cases}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BindError, match=message):
        list(Session().execute(f"CREATE FUNCTION f AS 'broken_{cases}.{path}'"))
