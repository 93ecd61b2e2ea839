"""What the compiled loop writes of rows is what DuckDB's expressions write of them, to the byte."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from harness.seed import random_of

from sqlstream.formats import csv_encode, json_encode, text_rows
from sqlstream.formats.base import Encoder
from sqlstream.formats.conversion import ISO_STANDARD, SQL_STANDARD
from sqlstream.formats.csv_encode import CsvEncoder
from sqlstream.formats.json_encode import JsonEncoder
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    SMALLINT,
    STRING,
    TIME,
    TINYINT,
    Column,
    Schema,
    Type,
    array,
    decimal,
    map_of,
    row,
    timestamp,
    timestamp_ltz,
)

LETTERS = "abcdefghijk ,;\t|'\"\\#\n\r\x00\x01\x1f\x7féß東😀\ufeffﻠ\u2028"
START = datetime(1, 1, 1)
MICROSECONDS = int((datetime(9999, 12, 31, 23, 59, 59) - START).total_seconds()) * 1_000_000


def a_string(rng: random.Random) -> str:
    size = rng.choice((0, 1, 3, 7, 8, 9, 16, 31, 100))
    letters = LETTERS if rng.random() < 0.4 else "abcdefghijk é"
    return "".join(rng.choice(letters) for _ in range(size))


def an_integer(bits: int) -> Any:
    return lambda rng: rng.choice(
        (0, 1, -1, 9, 10, 99, 100, -(2**bits), 2**bits - 1, rng.randrange(-(2**bits), 2**bits) >> rng.randrange(bits))
    )


def a_decimal(precision: int, scale: int) -> Any:
    def made(rng: random.Random) -> Decimal:
        digits = rng.choice((0, 1, 10**precision - 1, rng.randrange(10 ** rng.randrange(1, precision + 1))))
        return Decimal((rng.randrange(2), tuple(map(int, str(digits))), -scale))

    return made


def a_time(rng: random.Random) -> datetime:
    micros = rng.randrange(MICROSECONDS) // 10 ** rng.randrange(7) * 10 ** rng.randrange(7)
    return START + timedelta(
        microseconds=rng.choice((micros % MICROSECONDS, 0, MICROSECONDS, rng.randrange(5_000_000)))
    )


VALUES: dict[Type, Any] = {
    TINYINT: an_integer(7), SMALLINT: an_integer(15), INT: an_integer(31), BIGINT: an_integer(63), BOOLEAN: lambda rng: rng.random() < 0.5,
    STRING: a_string, Type("VARCHAR", 5): a_string, decimal(1, 0): a_decimal(1, 0), decimal(10, 2): a_decimal(10, 2), decimal(5, 5): a_decimal(5, 5),
    decimal(18, 6): a_decimal(18, 6), decimal(18, 18): a_decimal(18, 18), decimal(19, 3): a_decimal(19, 3), decimal(38, 38): a_decimal(38, 38),
    DATE: lambda rng: (a_time(rng)).date(), timestamp(3): a_time, timestamp(6): a_time, timestamp_ltz(3): lambda rng: a_time(rng).replace(tzinfo=UTC),
    TIME: lambda rng: a_time(rng).time(), DOUBLE: lambda rng: rng.choice((0.0, -0.0, 1.5, 1e300, 1e-7, float("nan"), float("inf"), rng.uniform(-1e9, 1e9))),
    FLOAT: lambda rng: rng.choice((0.5, -1.25, 3e38)), BYTES_TYPE: lambda rng: rng.randbytes(rng.randrange(9)),
    array(INT): lambda rng: [rng.randrange(9)] * rng.randrange(3), row(("x", INT), ("ÿ", STRING)): lambda rng: {"f0": 1, "f1": a_string(rng)},
    map_of(STRING, INT): lambda rng: [(a_string(rng), 1)],
}  # fmt: skip
NAMES = ("a", "é", 'q"q', "back\\slash", "a,b", "x" * 40, "", "东京", "\n", "A")


def a_batch(rng: random.Random, rows: int, types: list[Type]) -> tuple[Schema, pa.RecordBatch]:
    schema = Schema(tuple(Column(rng.choice(NAMES) + str(i), t) for i, t in enumerate(types)))
    arrays = []
    for t in types:
        nulls = rng.choice((0.0, 0.0, 0.1, 1.0))
        arrays.append(pa.array([None if rng.random() < nulls else VALUES[t](rng) for _ in range(rows + 7)], t.arrow()))
    batch = pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(types))])
    return schema, batch.slice(rng.randrange(7), rows)


def encoded(encoder: Encoder, batch: pa.RecordBatch, compiled: bool) -> bytes:
    worth = {"is_worth_it": lambda batch: compiled}
    with patch.multiple(json_encode, **worth), patch.multiple(csv_encode, **worth):
        return b"".join(b.to_pybytes() for b in encoder.encode(batch, None))


def same(encoder: Encoder, batch: pa.RecordBatch) -> None:
    expected = encoded(encoder, batch, False)
    assert encoded(encoder, batch, True) == expected


@pytest.mark.parametrize("n", range(12))
def test_json(n: int) -> None:
    rng = random_of("json rows", n)
    types = rng.sample(list(VALUES), rng.choice((1, 3, 8, len(VALUES))))
    schema, batch = a_batch(rng, rng.choice((0, 1, 50, 500)), types)
    for ignore_null in (False, True):
        same(JsonEncoder(schema, rng.choice((SQL_STANDARD, ISO_STANDARD)), ignore_null), batch)


DIALECTS = [
    (",", '"', "", ""),
    (";", "'", "", "NULL"),
    ("\t", '"', "\\", "\\N"),
    ("|", '"', "", "null"),
    ("¦", '"', "", ""),
    (".", '"', "", ""),
    ("é", "'", "#", "-"),
    (",", '"', '"', ""),
]


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
def test_csv(dialect: tuple[str, str, str, str]) -> None:
    rng = random_of("csv rows", *dialect)
    flat = [t for t in VALUES if t.kind not in ("ARRAY", "ROW", "MAP")]
    for count in (1, 6, len(flat)):
        schema, batch = a_batch(rng, rng.choice((1, 50, 500)), rng.sample(flat, count))
        same(CsvEncoder(schema, *dialect, header=False), batch)


def test_a_value_longer_than_a_buffer() -> None:
    schema = Schema((Column("a", STRING), Column("b", INT)))
    long = 'x"' * text_rows.ROOM
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["a", long, None, long, "b"]), pa.array([1, 2, 3, 4, 5], pa.int32())], names=["c0", "c1"]
    )
    same(JsonEncoder(schema), batch)
    same(CsvEncoder(schema, ",", '"', "", "", header=False), batch)


@pytest.mark.parametrize(
    "years", [("9999-12-31", "0001-01-01"), ("10000-01-01", "0001-01-01"), ("9999-12-31", "0000-12-31")]
)
def test_years_of_other_forms(years: tuple[str, str]) -> None:
    days = [
        (date(9999, 12, 31) - date(1970, 1, 1)).days + (years[0] == "10000-01-01"),
        -719_162 - (years[1] == "0000-12-31"),
    ]
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(days, pa.int32()).cast(pa.date32()),
            pa.array([d * 86_400_000_000 for d in days]).cast(pa.timestamp("us")),
        ],
        names=["c0", "c1"],
    )
    same(JsonEncoder(Schema((Column("d", DATE), Column("t", timestamp(6))))), batch)


def test_who_writes_much_has_the_loop() -> None:
    """Few rows are DuckDB's; the loop has the others, once it is there."""
    batch = pa.RecordBatch.from_arrays([pa.array(range(1000))], names=["c0"])
    text_rows.KERNEL.load()
    assert text_rows.is_worth_it(batch)
    with patch.object(text_rows.TextRows, "written", return_value=[pa.py_buffer(b"loop")]):
        assert JsonEncoder(Schema((Column("a", BIGINT),))).encode(batch, None) == [pa.py_buffer(b"loop")]
