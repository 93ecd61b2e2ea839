"""Text to values by compiled loops: the same as the checked SQL for every text, or left to it."""

from __future__ import annotations

import random

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from sqlstream import duck
from sqlstream.formats.conversion import ISO_STANDARD, SQL_STANDARD, convert
from sqlstream.formats.text_columns import TextColumns
from sqlstream.types import Type

INTEGERS = [
    "0", "-0", "1", "-1", "127", "128", "-128", "-129", "32767", "32768", "2147483647", "2147483648", "-2147483648",
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "999999999999999999",
    "1000000000000000000", "007", "1.0", "1.7", "1e3", "+5", " 5", "5 ", "", "-", "--1", "1-2", "true", "0x10", "1_0",
    "12345678901234567890123", "٣",
]  # fmt: skip
TIMES = [
    "2020-01-02 03:04:05", "2020-01-02 03:04:05.1", "2020-01-02 03:04:05.123", "2020-01-02 03:04:05.123456",
    "2020-01-02 03:04:05.1234567", "2020-01-02 03:04:05.", "1969-12-31 23:59:59.999999", "0001-01-01 00:00:00",
    "9999-12-31 23:59:59.999", "2020-02-29 00:00:00", "2021-02-29 00:00:00", "1900-02-29 00:00:00", "2000-02-29 00:00:00",
    "2020-13-01 00:00:00", "2020-00-01 00:00:00", "2020-01-32 00:00:00", "2020-04-31 00:00:00", "2020-01-01 24:00:00",
    "2020-01-01 00:60:00", "2020-01-01 00:00:60", "2020-01-01T00:00:00", "2020-01-01T00:00:00.5Z", "2020-01-01 00:00:00Z",
    "2020-01-01 00:00:00.250Z", "2020-01-01 00:00:00+02", "2020-01-01", "20-01-01 00:00:00", "2020-1-1 0:0:0", "", "x",
    "2020/01/01 00:00:00", "2020-01-01 00.00.00", "-001-01-01 00:00:00", "2020-01-01 00:00:00 ", "0000-01-01 00:00:00",
]  # fmt: skip
TYPES = [
    (Type("TINYINT"), INTEGERS), (Type("SMALLINT"), INTEGERS), (Type("INT"), INTEGERS), (Type("BIGINT"), INTEGERS),
    *((Type(kind, precision=p), TIMES) for kind in ("TIMESTAMP", "TIMESTAMP_LTZ") for p in (0, 1, 3, 6)),
]  # fmt: skip


def by_sql(connection: duckdb.DuckDBPyConnection, t: Type, texts: list[str | None], standard: str) -> list | None:
    connection.register("given", pa.record_batch([pa.array(texts, pa.string())], ["c0"]))
    try:
        return (
            connection.sql(f"SELECT {convert(t, 'c0', standard)} FROM given")
            .to_arrow_table()
            .column(0)
            .cast(pa.int64())
            .to_pylist()
        )
    except duckdb.Error:
        return None


def by_loops(connection: duckdb.DuckDBPyConnection, t: Type, texts: list[str | None], standard: str) -> list | None:
    batch = pa.record_batch([pa.array(texts, pa.string())], ["c0"])
    try:
        (column,) = TextColumns((t,), standard).values(batch, connection).columns
    except duckdb.Error:
        return None
    assert column.type == t.arrow()
    return column.cast(pa.int64()).to_pylist()


@pytest.mark.parametrize("standard", [SQL_STANDARD, ISO_STANDARD])
@pytest.mark.parametrize(("t", "texts"), TYPES, ids=lambda x: str(x) if isinstance(x, Type) else "")
def test_each_text_alone(t: Type, texts: list[str], standard: str) -> None:
    connection = duck.connect(1)
    for text in texts:
        assert by_loops(connection, t, [text], standard) == by_sql(connection, t, [text], standard), text
    good = [x for x in texts if by_sql(connection, t, [x], standard) is not None]
    assert good
    mixed = [*good, None, *good]
    assert by_loops(connection, t, mixed, standard) == by_sql(connection, t, mixed, standard)
    connection.close()


def test_random_values() -> None:
    connection, rng = duck.connect(1), random.Random(3)
    numbers: list[str | None] = [str(rng.randint(-(10**k), 10**k)) for k in range(19) for _ in range(50)]
    numbers[::17] = [None] * len(numbers[::17])
    assert by_loops(connection, Type("BIGINT"), numbers, SQL_STANDARD) == [
        None if n is None else int(n) for n in numbers
    ]
    words = np.random.default_rng(3).integers(-62_000_000_000_000_000, 250_000_000_000_000_000, 2000)
    times = pa.array(words).cast(pa.timestamp("us"))
    texts = [str(x) for x in times.to_pylist()]
    t = Type("TIMESTAMP", precision=6)
    assert by_loops(connection, t, texts, SQL_STANDARD) == words.tolist()
    connection.close()


def test_the_loops_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts in the usual form need no SQL."""
    batch = pa.record_batch([["1", "-22", None], ["2020-01-02 03:04:05.06", None, "1970-01-01 00:00:00"]], ["c0", "c1"])
    columns = TextColumns((Type("INT"), Type("TIMESTAMP", precision=3)), SQL_STANDARD)
    monkeypatch.setattr(TextColumns, "_checked", None)
    made = columns.values(batch, None)  # type: ignore[arg-type]
    assert made.column(0).to_pylist() == [1, -22, None]
    assert [str(x) for x in made.column(1).to_pylist()] == ["2020-01-02 03:04:05.060000", "None", "1970-01-01 00:00:00"]
