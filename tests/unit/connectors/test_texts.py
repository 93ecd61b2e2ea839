"""Values of texts, as databases write them."""

from __future__ import annotations

import random
from decimal import ROUND_HALF_UP, Decimal, localcontext

import pyarrow as pa
import pytest

from sqlstream.connectors.jdbc.texts import of_texts
from sqlstream.errors import DataError
from sqlstream.types import decimal


@pytest.mark.parametrize("scale", [0, 1, 2, 9, 19, 38])
def test_decimals_are_rounded_half_up(scale: int) -> None:
    r = random.Random(scale)
    numbers = [r.randrange(10 ** r.randrange(1, 38)) for _ in range(2000)]
    # limbs of ones, at which Arrow's own division fails
    numbers += [(1 << bits) + more for bits in (32, 64, 96) for more in (-1, 0, 1) for _ in range(20)]
    with localcontext() as context:
        context.prec = 120
        values = [Decimal(n * r.choice((1, -1))).scaleb(-r.randrange(39)) for n in numbers]
        values += [Decimal(x) for x in ("0.5", "-0.5", "1.005", "-1.005", "1e3")]
        values = [v for v in values if abs(v) < Decimal(10) ** (38 - scale) * Decimal("0.99")]
        expected = [v.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP) for v in values]
    found = of_texts(pa.array([*map(str, values), None], pa.string()), decimal(38, scale), "column a")
    assert found.to_pylist() == [*expected, None]


def test_what_is_no_number_is_an_error() -> None:
    for text in ("", "x", "1e", "1.2.3", "NaN", "12345"):
        with pytest.raises(DataError, match=r"column a has a value that is no DECIMAL\(4, 2\)"):
            of_texts(pa.array(["1.5", text]), decimal(4, 2), "column a")
