"""FLOAT and DOUBLE as Java has them: DuckDB's macros against Python's shortest digits and exact decimals."""

from __future__ import annotations

import math
import random
import struct
from decimal import ROUND_HALF_UP, Decimal

import pyarrow as pa
import pytest

from sqlstream import duck
from sqlstream.connectors.print import value_text
from sqlstream.formats.number_texts import number_texts
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
    given = [1.1, 16777216.0, 3.4028235e38, 1e-45, 1.0e-3, -2.5e-7, -3.7699002e25, 1.2345675e15]
    wanted = ["1.1", "1.6777216E7", "3.4028235E38", "1.4E-45", "0.001", "-2.5E-7", "-3.7699002E25", "1.2345675E15"]
    assert ask(number_text("x", FLOAT), given, pa.float32()) == wanted
    singles = pa.array(given, pa.float32()).to_pylist()
    assert [value_text(x, FLOAT) for x in singles] == wanted


# Half-way between two shorter texts that both give the number back: the even one, as Java 17 and 21 show them.
HALVED = {
    20.5234375: "20.523438", -158.953125: "-158.95312", 42956.3125: "42956.312", -2348667.25: "-2348667.2", 3150637.75: "3150637.8",
    401060.875: "401060.88", 7.32421875e-4: "7.324219E-4", 1000000.0625: "1000000.06", 2097152.5: "2097152.5", 8388607.5: "8388607.5",
}  # fmt: skip


def test_half_of_a_digit_is_even() -> None:
    assert ask(number_text("x", FLOAT), [*HALVED], pa.float32()) == [*HALVED.values()]
    assert [value_text(x, FLOAT) for x in HALVED] == [*HALVED.values()]
    rng = random.Random(3)
    given = pa.array([rng.randrange(2**24) * 2.0 ** -rng.randint(1, 23) for _ in range(20_000)], pa.float32())
    texts = ask(number_text("x", FLOAT), given.to_pylist(), pa.float32())
    assert texts == [value_text(x, FLOAT) for x in given.to_pylist()]


@pytest.mark.parametrize("t", [pa.float32(), pa.float64()])
def test_texts_by_arrow(t: pa.DataType) -> None:
    """As DuckDB's, of numbers without an exponent."""
    kind, rng = FLOAT if t == pa.float32() else DOUBLE, random.Random(4)
    given = [0.0, -0.0, 1.0, -100.0, 0.001, 9999999.0, *HALVED, *(10 ** rng.uniform(-2.9, 6.9) for _ in range(5000))]
    given = [x for x in given if not 0 < abs(x) < 1e-3]
    given += [round(x, 2) for x in given]
    found = number_texts(pa.array(given, t))
    assert found is not None and found.to_pylist() == ask(number_text("x", kind), given, t)
    found = number_texts(pa.array([None, 1.5, None], t).slice(1))
    assert found is not None and found.to_pylist()[0] == "1.5"
    for other in (1e7, 9.9e-4, math.nan, -math.inf):
        assert number_texts(pa.array([1.0, other], t)) is None


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
