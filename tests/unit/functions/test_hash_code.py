"""HASH_CODE, by which DISTINCT values lie in buckets: it is in the state of jobs, so it stays what it is."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest

from sqlstream import duck
from sqlstream.functions.scalar import scalar
from sqlstream.types import BIGINT, BOOLEAN, DATE, INT, STRING, TINYINT, Type, decimal

MOST = 2**31 - 1


def code(value: str, t: Type) -> Any:
    text = scalar("HASH_CODE").text([f"CAST({value} AS {t.duckdb()})"], [t], INT)
    ((found, made),) = duck.shared().sql(f"SELECT x, typeof(x) FROM (SELECT {text} AS x)").fetchall()
    assert made == "INTEGER"
    return found


@pytest.mark.parametrize("x", [0, 1, -1, 1024, 2**31, 2**63 - 1, -(2**63)])
def test_of_whole_numbers(x: int) -> None:
    assert code(str(x), BIGINT) == (abs(x) % 2147483629) * 2654435761 // 65536 % MOST
    if abs(x) < 100:
        assert code(str(x), TINYINT) == code(str(x), BIGINT)


@pytest.mark.parametrize(
    ("value", "t", "text"),
    [
        ("''", STRING, ""),
        ("'é'", STRING, "é"),
        ("1.5", decimal(10, 2), "1.50"),
        ("'2024-02-29'", DATE, "2024-02-29"),
        ("true", BOOLEAN, "true"),
    ],
)
def test_of_what_has_one_text(value: str, t: Type, text: str) -> None:
    assert code(value, t) == int.from_bytes(hashlib.md5(text.encode()).digest(), "little") % MOST


def test_of_null() -> None:
    assert code("NULL", BIGINT) is None and code("NULL", STRING) is None


@pytest.mark.parametrize("step", [1, 7, 1000, 1024, 65536])
def test_numbers_lie_in_all_buckets(step: int) -> None:
    text = scalar("HASH_CODE").text(["i"], [BIGINT], INT)
    rows = duck.shared().sql(f"SELECT {text} % 64 FROM (SELECT i * {step} AS i FROM range(6400) AS r(i))").fetchall()
    filled = Counter(b for (b,) in rows)
    assert len(filled) == 64 and max(filled.values()) < 300, filled
