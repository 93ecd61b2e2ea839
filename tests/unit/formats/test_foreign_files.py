"""Files as pandas, polars and Debezium write them (tests/data/foreign/make.py), by every reader of both modes.

What is expected was written by hand from what the script put in.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from connector_cases import connector_of, file_table, read, relation, schema

from sqlstream.errors import DataError
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    INT,
    STRING,
    Schema,
    Type,
    array,
    decimal,
    row,
    timestamp,
    timestamp_ltz,
)

FILES = Path(__file__).parents[2] / "data" / "foreign"
ISO = {"json_timestamp__format_standard": "ISO-8601"}
NAMED = {"csv_header": "true"}


def both(name: str, columns: Schema, **options: str) -> list[tuple[Any, ...]]:
    """The rows of a file, which all ways of reading agree on."""
    t = file_table(FILES / name, columns, **options)
    rows = read(t)[0]
    assert read(t, batch=1)[0] == rows
    if (fast := relation_of(t)) is not None:
        assert fast == rows
    return rows


def relation_of(t: Any) -> Any:
    """What batch reads by one statement; None where it takes the rows of the readers."""
    try:
        return relation(t)
    except AssertionError:
        return None


def inferred(name: str, **options: str) -> str | None:
    found, t = connector_of(file_table(FILES / name, Schema(()), **options))
    return found.ddl_columns(t)


# ---- pandas

NAMES: list[str | None] = ['say "hi", twice', "Zoë\n2nd line", None]
AT = [dt.datetime(2024, 2, 29, 23, 59, 59, 123456), None, dt.datetime(1969, 12, 31)]
ZONED = [dt.datetime(2024, 3, 31, 0, 30, tzinfo=dt.UTC), dt.datetime(2024, 3, 31, 1, 30, tzinfo=dt.UTC), None]
PANDAS = schema(
    ("id", BIGINT),
    ("price", DOUBLE),
    ("name", STRING),
    ("ok", BOOLEAN),
    ("at", timestamp(6)),
    ("zoned", timestamp_ltz(3)),
    ("kind", STRING),
)
PANDAS_ROWS = list(zip([1, 2, None], [1.5, None, -2e-7], NAMES, [True, None, False], AT, ZONED, "aba", strict=True))
# csv has no NULL beside '': a missing STRING is ''
PANDAS_CSV = [(*r[:2], r[2] or "", *r[3:]) for r in PANDAS_ROWS]


def test_pandas_json() -> None:
    """Its default: times as milliseconds since 1970, which are numbers."""
    columns = schema(*((c.name, BIGINT if c.type.is_timestamp else c.type) for c in PANDAS))
    at, zoned = [1709251199123, None, -86400000], [1711845000000, 1711848600000, None]
    expected = [(*r[:4], at[i], zoned[i], r[6]) for i, r in enumerate(PANDAS_ROWS)]
    assert both("pandas.json", columns, format="json") == expected
    assert inferred("pandas.json", format="json") == (
        "`id` BIGINT, `price` DOUBLE, `name` STRING, `ok` BOOLEAN, `at` BIGINT, `zoned` BIGINT, `kind` STRING"
    )
    with pytest.raises(DataError, match="1709251199123 is not a TIMESTAMP") as refused:
        both("pandas.json", PANDAS, format="json")
    assert refused.value.hint is not None and "TO_TIMESTAMP_LTZ(x, 3)" in refused.value.hint


def test_pandas_json_with_iso_times() -> None:
    assert both("pandas_iso.json", PANDAS, format="json", **ISO) == PANDAS_ROWS
    with pytest.raises(DataError) as refused:
        both("pandas_iso.json", PANDAS, format="json")
    assert refused.value.hint == "'json.timestamp-format.standard' = 'ISO-8601' reads such times"


def test_pandas_csv() -> None:
    assert both("pandas.csv", PANDAS, format="csv", **NAMED) == PANDAS_CSV
    assert inferred("pandas.csv", format="csv", **NAMED) == (
        "`id` BIGINT, `price` DOUBLE, `name` STRING, `ok` BOOLEAN, `at` TIMESTAMP(6), `zoned` TIMESTAMP_LTZ(3), "
        "`kind` STRING"
    )
    with pytest.raises(DataError, match="id is not a BIGINT") as refused:
        both("pandas.csv", PANDAS, format="csv")
    assert refused.value.hint == "'csv.header' = 'true' takes the first line for the names of the columns"


def test_pandas_csv_with_its_index() -> None:
    """Its default: a first column without a name."""
    expected = [(i, *r) for i, r in enumerate(PANDAS_CSV)]
    columns = schema(("n", INT), *((c.name, c.type) for c in PANDAS))
    assert both("pandas_index.csv.gz", columns, format="csv", **NAMED) == expected
    assert str(inferred("pandas_index.csv.gz", format="csv", **NAMED)).startswith("`f0` BIGINT, `id` BIGINT, `price`")
    with pytest.raises(DataError, match="the header is"):
        both("pandas_index.csv.gz", schema(("n", INT), ("id", BIGINT)), format="csv", **NAMED)


@pytest.mark.parametrize("name", ["pandas.parquet", "pandas_index.parquet"])
def test_pandas_parquet(name: str) -> None:
    """Text in dictionaries and in large strings; an index is a column, the last one."""
    assert both(name, PANDAS, format="parquet") == PANDAS_ROWS


# ---- polars

POLARS = (
    ("id", BIGINT),
    ("big", BIGINT),
    ("price", decimal(10, 2)),
    ("name", STRING),
    ("day", DATE),
    ("clock", Type("TIME", 3)),
    ("at", timestamp(6)),
    ("zoned", timestamp_ltz(3)),
)
NESTED = (("list", array(BIGINT)), ("row", row(("x", BIGINT), ("y", STRING))))
POLARS_ROWS: list[tuple[Any, ...]] = [
    (
        1, 2**63 - 1, Decimal("1.10"), "", dt.date(2024, 2, 29), dt.time(23, 59, 59, 999000),
        dt.datetime(2024, 2, 29, 12, 30, 0, 123456), dt.datetime(2024, 3, 31, 0, 30, tzinfo=dt.UTC),
    ),
    (
        2, -(2**63), Decimal("-99999.99"), 'a,"b"', dt.date(1, 1, 1), dt.time(0, 0),
        dt.datetime(1969, 12, 31, 23, 59, 59), None,
    ),
    (None, None, None, None, None, None, None, dt.datetime(1970, 1, 1, tzinfo=dt.UTC)),
]  # fmt: skip
LISTS: list[Any] = [[1, None], [], None]
# the fields of a ROW have numbers for names within
STRUCTS: list[Any] = [{"f0": 1, "f1": "a"}, {"f0": None, "f1": "b"}, None]


def test_polars_parquet() -> None:
    expected = [(*r, LISTS[i], STRUCTS[i]) for i, r in enumerate(POLARS_ROWS)]
    assert both("polars.parquet", schema(*POLARS, *NESTED), format="parquet") == expected


def test_polars_json() -> None:
    """It writes times without a zone with a blank, and those with a zone with a T: two standards in one file."""
    columns = schema(*POLARS[:-1], ("zoned", STRING), *NESTED)
    zoned = ["2024-03-31T00:30:00+00:00", None, "1970-01-01T00:00:00+00:00"]
    expected = [(*r[:-1], zoned[i], LISTS[i], STRUCTS[i]) for i, r in enumerate(POLARS_ROWS)]
    assert both("polars.ndjson", columns, format="json") == expected


def test_polars_csv() -> None:
    """Times with a T are STRING; those of nanoseconds have their milliseconds."""
    columns = schema(*POLARS[:-2], ("at", STRING), ("zoned", STRING))
    at = ["2024-02-29T12:30:00.123456", "1969-12-31T23:59:59.000000", ""]
    zoned = ["2024-03-31T00:30:00.000000+0000", "", "1970-01-01T00:00:00.000000+0000"]
    expected = [(*r[:3], r[3] or "", *r[4:6], at[i], zoned[i]) for i, r in enumerate(POLARS_ROWS)]
    assert both("polars.csv", columns, format="csv", **NAMED) == expected


# ---- Debezium

ORDERS = schema(
    ("id", INT),
    ("price", BYTES_TYPE),
    ("name", STRING),
    ("created", BIGINT),
    ("day", INT),
    ("zoned", timestamp_ltz(3)),
    ("ok", BOOLEAN),
)
FIRST = (
    1, b"\x04\xd2", "Zoë", 1709251199123456, 19782, dt.datetime(2024, 2, 29, 23, 59, 59, 123000, dt.UTC), True,
)  # fmt: skip
SECOND = (2, b"\xfb", None, -1, -1, dt.datetime(1969, 12, 31, 23, 59, 59, 999000, dt.UTC), None)
CHANGED = (2, b"\x02\x54\x0b\xe3\xff", "x", -1, -1, None, False)


@pytest.mark.parametrize(("name", "include"), [("debezium.json", "false"), ("debezium_schema.json", "true")])
def test_debezium(name: str, include: str) -> None:
    """Precise decimals are base64 of the unscaled number, a MicroTimestamp and a Date are numbers, null is a tombstone."""
    options = {
        "format": "debezium-json",
        "debezium__json_schema__include": include,
        "debezium__json_timestamp__format_standard": "ISO-8601",
    }
    expected = [(*FIRST, 0), (*SECOND, 0), (*SECOND, 1), (*CHANGED, 2), (*FIRST, 3)]
    assert both(name, ORDERS, **options) == expected
    assert inferred(name, **options) == (
        "`id` BIGINT, `price` STRING, `name` STRING, `created` BIGINT, `day` BIGINT, `zoned` TIMESTAMP_LTZ(6), "
        "`ok` BOOLEAN"
    )
    for column, declared, hint in (
        ("price", decimal(10, 2), "'decimal.handling.mode' = 'string'"),
        ("created", timestamp(6), "TO_TIMESTAMP_LTZ(x, 3)"),
        ("day", DATE, "TIMESTAMPADD(DAY, x, DATE '1970-01-01')"),
    ):
        other = schema(*((c.name, declared if c.name == column else c.type) for c in ORDERS))
        with pytest.raises(DataError, match="is not a") as refused:
            both(name, other, **options)
        assert hint in str(refused.value.hint)
