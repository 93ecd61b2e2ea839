"""Columns of a table without columns, told from its files; and the data read back with them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from connector_cases import file_table, schema

from sqlstream.connectors.registry import connector
from sqlstream.contracts import TableContext
from sqlstream.errors import DataError


def columns(path: Path, **options: str) -> str | None:
    t = file_table(path, schema(), **options)
    t = TableContext(t.name, t.schema, {k: v for k, v in t.options.items() if k != "connector"})
    return connector(t, "filesystem").ddl_columns(t)


@pytest.mark.parametrize(
    ("text", "ddl"),
    [
        ('{"a":1,"b":"x","c":1.5,"d":true,"e":null}\n', "`a` BIGINT, `b` STRING, `c` DOUBLE, `d` BOOLEAN, `e` STRING"),
        ('{"t":"2020-01-01 00:00:00.1"}\n', "`t` TIMESTAMP(3)"),
        ('{"t":"2020-01-01 00:00:00Z"}\n', "`t` TIMESTAMP_LTZ(3)"),
        ('{"t":"2020-01-01T00:00:00"}\n', "`t` STRING"),
        ('{"t":"2020-01-01"}\n', "`t` DATE"),
        (
            '{"r":{"x":1,"t":"2020-01-01 00:00:00"},"l":[1]}\n',
            "`r` ROW<`x` BIGINT, `t` TIMESTAMP(3)>, `l` ARRAY<BIGINT>",
        ),
        ('{"a":1}\n{"a":"x"}\n', "`a` STRING"),
        ('{"a`b":1}\n', "`a``b` BIGINT"),
    ],
)
def test_json(text: str, ddl: str, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text(text)
    assert columns(path, format="json") == ddl


def test_iso_json(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"t":"2020-01-01T00:00:00"}\n')
    assert columns(path, format="json", json_timestamp__format_standard="ISO-8601") == "`t` TIMESTAMP(3)"


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("id,name,at\n1,x,2020-01-01 00:00:00\n2,,2020-01-02 00:00:00.5\n")
    assert columns(path, format="csv", csv_header="true") == "`id` BIGINT, `name` STRING, `at` TIMESTAMP(3)"
    path.write_text("1;2.5\n")
    assert columns(path, format="csv", csv_field__delimiter=";") == "`f0` BIGINT, `f1` DOUBLE"


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"a": pa.array([1], pa.int32()), "s": [{"x": 1.5}]}), path)
    assert columns(path, format="parquet") == "`a` INT, `s` ROW<`x` DOUBLE>"


def test_times_keep_what_the_file_has(tmp_path: Path) -> None:
    stamp, time = [1_704_067_200_123_456], [3_723_456_789]
    table = pa.table(
        {
            "s": pa.array([1], pa.timestamp("s")),
            "ms": pa.array([1], pa.timestamp("ms")),
            "whole": pa.array([1_000], pa.timestamp("us")),
            "us": pa.array(stamp, pa.timestamp("us")),
            "ns": pa.array([stamp[0] * 1000], pa.timestamp("ns")),
            "z": pa.array([stamp[0] * 1000], pa.timestamp("ns", "UTC")),
            "t": pa.array(time, pa.time64("us")),
            "t0": pa.array([5], pa.time32("s")),
            "r": pa.array([{"x": stamp[0]}], pa.struct([("x", pa.timestamp("us"))])),
            "n": pa.nulls(1),
        }
    )
    pq.write_table(table, tmp_path / "f.parquet")
    assert columns(tmp_path / "f.parquet", format="parquet") == (
        "`s` TIMESTAMP(3), `ms` TIMESTAMP(3), `whole` TIMESTAMP(3), `us` TIMESTAMP(6), `ns` TIMESTAMP(6), "
        "`z` TIMESTAMP_LTZ(6), `t` TIME(6), `t0` TIME(0), `r` ROW<`x` TIMESTAMP(6)>, `n` STRING"
    )
    text = "a,b,c,d\n2024-01-01 00:00:00.123456,01:02:03.456789,01:02:03,2024-01-01 00:00:00.5Z\n"
    (tmp_path / "f.csv").write_text(text)
    assert columns(tmp_path / "f.csv", format="csv", csv_header="true") == (
        "`a` TIMESTAMP(6), `b` TIME(6), `c` TIME(0), `d` TIMESTAMP_LTZ(3)"
    )
    (tmp_path / "f.json").write_text('{"a":"2024-01-01 00:00:00.123456","b":"01:02:03.456"}\n')
    assert columns(tmp_path / "f.json", format="json") == "`a` TIMESTAMP(6), `b` TIME(3)"


def test_decimals_of_too_many_digits(tmp_path: Path) -> None:
    pq.write_table(pa.table({"d": pa.array([1], pa.decimal256(50, 2))}), tmp_path / "f.parquet")
    with pytest.raises(DataError, match="column d is a decimal of 50 digits"):
        columns(tmp_path / "f.parquet", format="parquet")


def test_all_of_a_csv_is_looked_at(tmp_path: Path) -> None:
    """Not a sample of it: what comes late counts."""
    lines = [f"{i},{i}," for i in range(30_000)] + ["1.5,x,"]
    (tmp_path / "f.csv").write_text("\n".join(lines))
    assert columns(tmp_path / "f.csv", format="csv") == "`f0` DOUBLE, `f1` STRING, `f2` STRING"


def test_all_of_a_json_file_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('{"a":1}\n' * 30_000 + '{"a":1.5,"b":true}\n')
    assert columns(tmp_path / "f.json", format="json") == "`a` DOUBLE, `b` BOOLEAN"


def test_debezium(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"before":null,"after":{"a":1,"b":"x"},"op":"c"}\n')
    assert columns(path, format="debezium-json") == "`a` BIGINT, `b` STRING"


def test_no_data(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text("")
    with pytest.raises(DataError, match="no data"):
        columns(path, format="json")


def test_csv_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("\ufeffa;b c\r\n1;x\r\n")
    found = columns(tmp_path / "f.csv", format="csv", csv_header="true", csv_field__delimiter=";")
    assert found == "`a` BIGINT, `b c` STRING"
