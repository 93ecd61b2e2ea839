"""FLOAT and DOUBLE as Java has them: DuckDB's macros against Python's shortest digits and exact decimals."""

from __future__ import annotations

import math
import random
import struct
from decimal import ROUND_HALF_UP, Decimal

import pyarrow as pa

from sqlstream import duck
from sqlstream.connectors.print import value_text
from sqlstream.functions.numbers import number_text, rounded
from sqlstream.types import DOUBLE, FLOAT

EDGES = [
    0.0,
    -0.0,
    1e-3,
    9.99e-4,
    1e7,
    9999999.999,
    5e-324,
    1e-323,
    1e23,
    9.999999999999999e22,
    math.nan,
    math.inf,
    -math.inf,
]


def ask(sql: str, values: list[float], kind: pa.DataType) -> list[object]:
    con = duck.connect(1)
    con.register("given", pa.table({"x": pa.array(values, kind)}))
    return [v for (v,) in con.sql(f"SELECT {sql} FROM given").fetchall()]


def test_text_is_the_shortest_that_gives_the_number_back() -> None:
    rng = random.Random(1)
    doubles = [struct.unpack("d", rng.randbytes(8))[0] for _ in range(3000)]
    doubles += [rng.choice((-1, 1)) * 10 ** rng.uniform(-8, 20) for _ in range(3000)] + EDGES
    for x, text in zip(doubles, ask(number_text("x", DOUBLE), doubles, pa.float64()), strict=True):
        assert text == value_text(x, DOUBLE)
        assert float(str(text)) == x or math.isnan(x)
        assert ("E" in str(text)) == (math.isfinite(x) and x != 0 and not 1e-3 <= abs(x) < 1e7)


def test_floats_have_digits_of_their_own() -> None:
    given = [1.1, 16777216.0, 3.4028235e38, 1e-45, 1.0e-3, -2.5e-7]
    wanted = ["1.1", "1.6777216E7", "3.4028235E38", "1.4E-45", "0.001", "-2.5E-7"]
    assert ask(number_text("x", FLOAT), given, pa.float32()) == wanted
    singles = pa.array(given, pa.float32()).to_pylist()
    assert [value_text(x, FLOAT) for x in singles] == wanted


def test_an_argument_is_evaluated_once() -> None:
    texts = ask(number_text("(random() * 1e9)", DOUBLE), [1.0] * 2000, pa.float64())
    assert all(("E" in str(t)) == (float(str(t)) >= 1e7) for t in texts)


def test_rounding_goes_by_the_digits_that_show() -> None:
    rng = random.Random(2)
    for places in (0, 1, 2, 5):
        values = [rng.choice((-1, 1)) * rng.uniform(0, 10 ** rng.randint(-3, 9)) for _ in range(2000)]
        values += [float(f"{rng.randint(-9999, 9999)}.{rng.randint(0, 10**places)}5") for _ in range(2000)]
        wanted = [float(Decimal(repr(x)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)) for x in values]
        assert ask(rounded("x", str(places)), values, pa.float64()) == wanted
