"""Columns of a table without columns, told from its files; and the data read back with them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from connector_cases import file_table, schema

from sqlstream.connectors.base import TableContext
from sqlstream.connectors.registry import connector
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


def test_debezium(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"before":null,"after":{"a":1,"b":"x"},"op":"c"}\n')
    assert columns(path, format="debezium-json") == "`a` BIGINT, `b` STRING"


def test_no_data(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text("")
    with pytest.raises(DataError, match="no data"):
        columns(path, format="json")
