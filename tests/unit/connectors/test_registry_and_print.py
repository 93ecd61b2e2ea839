"""The registries, options of connectors, print's lines, blackhole."""

from __future__ import annotations

import datetime as dt
import pickle
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from connector_cases import schema

from sqlstream.connectors.print import column_text, value_text
from sqlstream.connectors.registry import CONNECTORS, connector
from sqlstream.contracts import SinkTask, TableContext
from sqlstream.errors import OptionError
from sqlstream.formats.registry import FORMATS, format_of
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    INT,
    STRING,
    TIME,
    Type,
    array,
    decimal,
    map_of,
    row,
    timestamp,
    timestamp_ltz,
)

A = schema(("a", INT), ("b", STRING))


def context(**options: str) -> TableContext:
    return TableContext("t", A, {k.replace("__", "-").replace("_", "."): v for k, v in options.items()})


def test_names_are_the_classes_own() -> None:
    assert all(c.name == name for name, c in CONNECTORS.items())
    assert all(f.name == name for name, f in FORMATS.items())
    for known in [*CONNECTORS.values(), *FORMATS.values()]:
        assert all(o.doc or o.required for o in known.options)


@pytest.mark.parametrize(
    ("name", "options", "message", "hint"),
    [
        (
            "filesytem",
            {},
            "unknown connector 'filesytem' .*there are: alert, blackhole, clickhouse, datagen, delta, ",
            "filesystem",
        ),
        (None, {}, "option 'connector' is missing", "nexmark"),
        ("print", {"print__identifer": "x"}, "unknown option 'print-identifer'", "print-identifier"),
        ("filesystem", {"path": "x"}, "option 'format' is missing", ""),
        ("filesystem", {"format": "json"}, "option 'path' is missing", ""),
        (
            "filesystem",
            {"path": "x", "format": "json", "json_ignore__parse__error": "true"},
            "unknown option",
            "errors",
        ),
        ("filesystem", {"path": "x", "format": "json", "csv_header": "true"}, "unknown option 'csv.header'", ""),
        ("blackhole", {"x": "1"}, "unknown option 'x'", ""),
    ],
)
def test_wrong_options(name: str | None, options: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(OptionError, match=message) as e:
        connector(context(**options), name)
    assert hint in (e.value.hint or "")


def test_unknown_format() -> None:
    with pytest.raises(OptionError, match="unknown format 'jason'") as e:
        format_of(context(format="jason"))
    assert "json" in (e.value.hint or "")
    with pytest.raises(OptionError, match="unknown format 'jason'"):
        connector(context(path="x", format="jason"), "filesystem")


VALUES: list[tuple[Type, Any, str]] = [
    (INT, None, "null"),
    (BOOLEAN, True, "true"),
    (DOUBLE, 1.5, "1.5"),
    (DOUBLE, 1e10, "1.0E10"),
    (DOUBLE, 1.25e-5, "1.25E-5"),
    (DOUBLE, 0.0, "0.0"),
    (DOUBLE, float("inf"), "Infinity"),
    (DOUBLE, float("nan"), "NaN"),
    (decimal(38, 2), Decimal("100.00"), "100.00"),
    (timestamp(3), dt.datetime(2020, 1, 1), "2020-01-01T00:00"),
    (timestamp(3), dt.datetime(2020, 1, 1, 0, 0, 5), "2020-01-01T00:00:05"),
    (timestamp(3), dt.datetime(2020, 1, 1, 0, 0, 5, 120000), "2020-01-01T00:00:05.120"),
    (timestamp(6), dt.datetime(2020, 1, 1, 0, 0, 5, 120001), "2020-01-01T00:00:05.120001"),
    (timestamp_ltz(3), dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "2020-01-01T00:00:00Z"),
    (DATE, dt.date(2020, 1, 1), "2020-01-01"),
    (TIME, dt.time(1, 2), "01:02"),
    (BYTES_TYPE, b"\x01\xff", "[1, -1]"),
    (array(INT), [1, None], "[1, null]"),
    (map_of(STRING, BIGINT), [("k", 1)], "{k=1}"),
    (row(("x", INT), ("y", STRING)), {"x": 1, "y": None}, "+I[1, null]"),
]


@pytest.mark.parametrize(("t", "value", "text"), VALUES)
def test_print_values(t: Type, value: Any, text: str) -> None:
    assert value_text(value, t) == text
    if t.kind != "ROW":  # its fields have the users’ names at the edge only
        assert column_text(pa.array([value, None], t.arrow()), t).to_pylist() == [text, "null"]


def test_print(capsys: pytest.CaptureFixture[str]) -> None:
    batch = pa.record_batch({"a": [1, 2, 2, None], "b": ["x", None, "y", "z"]})
    task = SinkTask("j", "r", 0)
    sink = pickle.loads(pickle.dumps(connector(context(), "print").sink(context())))
    assert sink.changelog
    writer = sink.writer(task)
    writer.write(batch, np.array([0, 1, 2, 3], np.int8))
    assert capsys.readouterr().out == ""
    writer.flush()
    assert capsys.readouterr().out == "+I[1, x]\n-U[2, null]\n+U[2, y]\n-D[null, z]\n"
    named = context(print__identifier="P", standard__error="true")
    writer = connector(named, "print").sink(named).writer(task)
    writer.write(batch.slice(0, 1), None)
    writer.flush()
    got = capsys.readouterr()
    assert (got.out, got.err) == ("", "P> +I[1, x]\n")
    assert writer.prepare(1) == []


def test_blackhole() -> None:
    sink = pickle.loads(pickle.dumps(connector(context(), "blackhole").sink(context())))
    task = SinkTask("j", "r", 0)
    writer = sink.writer(task)
    writer.write(pa.record_batch({"a": [1]}), None)
    assert sink.changelog and writer.prepare(1) == []
    sink.committer(task).commit([])
    writer.close()
