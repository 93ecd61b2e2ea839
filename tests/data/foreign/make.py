"""Wrote the files beside it: python make.py, with pandas 3.1 and polars 2.1 installed. The project needs neither.

The files are kept as they are, since other versions of these libraries write other bytes; what is in them stands in
tests/unit/formats/test_foreign_files.py, by hand. debezium.json and debezium_schema.json are typed by hand from what
Debezium 2.7 sends for PostgreSQL (decimal.handling.mode=precise, time.precision.mode=adaptive).
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

HERE = Path(__file__).parent
UTC = dt.UTC


def pandas_files() -> None:
    """Missing values, text with quotes and line ends, timestamps with and without a zone, an index, categories."""
    df = pd.DataFrame(
        {
            "id": pd.array([1, 2, None], dtype="Int64"),
            "price": [1.5, np.nan, -2e-7],
            "name": ['say "hi", twice', "Zoë\n2nd line", None],
            "ok": pd.array([True, None, False], dtype="boolean"),
            "at": pd.to_datetime(["2024-02-29 23:59:59.123456", None, "1969-12-31 00:00:00"], format="ISO8601"),
            "zoned": pd.to_datetime(["2024-03-31 00:30:00", "2024-03-31 01:30:00", None]).tz_localize("UTC"),
            "kind": pd.Categorical(["a", "b", "a"]),
        }
    )
    df.to_json(HERE / "pandas.json", orient="records", lines=True)
    df.to_json(HERE / "pandas_iso.json", orient="records", lines=True, date_format="iso", date_unit="us")
    df.to_csv(HERE / "pandas.csv", index=False)
    df.to_csv(HERE / "pandas_index.csv.gz", compression={"method": "gzip", "mtime": 1})
    df.to_parquet(HERE / "pandas.parquet")
    df.set_index("id").to_parquet(HERE / "pandas_index.parquet")


def polars_files() -> None:
    """Nested values, unsigned numbers, decimals, dates, times, durations of no column of ours, and empty text."""
    df = pl.DataFrame(
        {
            "id": pl.Series([1, 2, None], dtype=pl.UInt32),
            "big": pl.Series([2**63 - 1, -(2**63), None], dtype=pl.Int64),
            "price": pl.Series([Decimal("1.10"), Decimal("-99999.99"), None], dtype=pl.Decimal(10, 2)),
            "name": ["", 'a,"b"', None],
            "day": [dt.date(2024, 2, 29), dt.date(1, 1, 1), None],
            "clock": [dt.time(23, 59, 59, 999000), dt.time(0, 0), None],
            "at": [dt.datetime(2024, 2, 29, 12, 30, 0, 123456), dt.datetime(1969, 12, 31, 23, 59, 59), None],
            "zoned": pl.Series(
                [dt.datetime(2024, 3, 31, 0, 30, tzinfo=UTC), None, dt.datetime(1970, 1, 1, tzinfo=UTC)],
                dtype=pl.Datetime("us", "UTC"),
            ),
        }
    )
    df.write_csv(HERE / "polars.csv")
    nested = df.with_columns(
        pl.Series("list", [[1, None], [], None], dtype=pl.List(pl.Int64)),
        pl.Series("row", [{"x": 1, "y": "a"}, {"x": None, "y": "b"}, None]),
    )
    nested.write_parquet(HERE / "polars.parquet", compression="zstd")
    nested.write_ndjson(HERE / "polars.ndjson")


if __name__ == "__main__":
    pandas_files()
    polars_files()
