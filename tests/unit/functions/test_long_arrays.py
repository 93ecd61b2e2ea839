"""Functions of arrays that are sorted, because they are long: as they answer for short ones, and in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from harness.seed import random_of

from sqlstream import duck
from sqlstream.functions import arrays
from sqlstream.functions.scalar import SCALARS
from sqlstream.types import INT, array

Values = list[Any]


def unique(values: Values) -> Values:
    return list(dict.fromkeys(values))


ANSWERS: dict[str, Callable[[Values, Values], Values]] = {
    "ARRAY_DISTINCT": lambda a, b: unique(a),
    "ARRAY_UNION": lambda a, b: unique(a + b),
    "ARRAY_EXCEPT": lambda a, b: [x for x in unique(a) if x not in b],
    "ARRAY_INTERSECT": lambda a, b: [x for x in unique(a) if x in b],
}
ELEMENTS: dict[str, Callable[[int], Any]] = {
    "number": lambda n: n,
    "text": lambda n: "x" * n,
    "row": lambda n: {"f0": n},
}


def text(name: str) -> str:
    """The call over the columns a and b."""
    args = ["a", "b"][: 1 if name == "ARRAY_DISTINCT" else 2]
    return SCALARS[name].text(args, [array(INT)] * len(args), array(INT))


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("name", ANSWERS)
def test_long_arrays_answer_as_short_ones(name: str, element: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_SHORT", 3)
    drawn = random_of(name, element)
    numbers = [
        [[drawn.choice([None, *range(6)]) for _ in range(drawn.randrange(12))] for _ in range(2)] for _ in range(300)
    ]

    def made(values: Values) -> Values:
        return [None if n is None else ELEMENTS[element](n) for n in values]

    con = duck.connect()
    con.register("given", pa.table({"a": [made(a) for a, _ in numbers], "b": [made(b) for _, b in numbers]}))
    found = [row[0] for row in con.execute(f"SELECT {text(name)} FROM given").fetchall()]
    assert found == [made(ANSWERS[name](a, b)) for a, b in numbers]


@pytest.mark.parametrize("name", ANSWERS)
def test_time_does_not_grow_as_the_square_of_the_length(name: str) -> None:
    started = time.perf_counter()
    rows = "SELECT list(i // 2) AS a, list(i) AS b FROM range(300000) AS r(i)"
    found = duck.connect().execute(f"SELECT len({text(name)}) FROM ({rows}) AS t").fetchone()
    assert found == ({"ARRAY_UNION": 300_000, "ARRAY_EXCEPT": 0}.get(name, 150_000),)
    assert time.perf_counter() - started < 20  # it would be minutes, if each element were looked for in all
