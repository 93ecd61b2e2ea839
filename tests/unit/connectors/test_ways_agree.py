"""Property: whatever the files, the streaming reader's rows are the batch relation's rows, in order."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import duckdb
from connector_cases import file_table, read, relation, schema, source_of, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlstream.connectors.relation import first_error
from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.errors import DataError
from sqlstream.types import BIGINT, BOOLEAN, DOUBLE, INT, STRING, array, decimal, row, timestamp

COLUMNS = schema(
    ("a", INT), ("d", DOUBLE), ("s", STRING), ("n", decimal(12, 3)), ("b", BOOLEAN), ("t", timestamp(3)),
    ("r", row(("x", BIGINT), ("y", STRING))), ("l", array(INT)),
)  # fmt: skip
VALUES: dict[str, Any] = {
    "a": st.integers(-(2**31), 2**31 - 1) | st.sampled_from([1.0, 1.5, "7", "x", True, 2**40]),
    "d": st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["1e3", "q", True]),
    "s": st.text(max_size=8),
    "n": st.integers(-999, 999) | st.sampled_from([1.25, 10**12, "5.5"]),
    "b": st.booleans() | st.sampled_from([1, "true", "no"]),
    "t": st.sampled_from(["2020-01-01 00:00:00.12", "1969-12-31 23:59:59.9999", "2020-01-01T00:00:00", 5]),
    "r": st.fixed_dictionaries({}, optional={"x": st.integers(-5, 5) | st.just("z"), "y": st.text(max_size=3)}),
    "l": st.lists(st.integers(0, 9) | st.none(), max_size=3),
}
OBJECTS = st.fixed_dictionaries({}, optional={k: st.none() | v for k, v in VALUES.items()})
LINES = st.lists(OBJECTS.map(json.dumps) | st.sampled_from(["", " ", "{", "7"]), max_size=6)


def of_batch(tab: Any, request: ScanRequest) -> Any:
    """The rows of the relation, or DataError's text when DuckDB refuses them."""
    try:
        return relation(tab, request)
    except duckdb.Error:
        return str(first_error(source_of(tab), request))


def of_reader(tab: Any, request: ScanRequest) -> Any:
    try:
        return read(tab, request, batch=2)[0]
    except DataError as e:
        return str(e)


@settings(max_examples=60, deadline=None)
@given(files=st.lists(LINES, min_size=1, max_size=2), leaves=st.booleans(), ignore=st.booleans())
def test_json(files: list[list[str]], leaves: bool, ignore: bool) -> None:
    request = whole(COLUMNS)
    if leaves:
        request = ScanRequest(
            (ScanColumn(("r", "x"), BIGINT), ScanColumn(("t",), timestamp(3)), ScanColumn(("a",), INT)),
            (("d0", "c2 IS NULL"),),
        )
    with tempfile.TemporaryDirectory() as directory:
        for i, lines in enumerate(files):
            Path(directory, f"{i}.json").write_text("\n".join(lines))
        tab = file_table(directory, COLUMNS, format="json", json_ignore__parse__errors=str(ignore).lower())
        streamed = of_reader(tab, request)
        assert isinstance(streamed, list) or not ignore
        assert streamed == of_batch(tab, request)
