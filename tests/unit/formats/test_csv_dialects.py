"""Every delimiter, quote, escape and null literal works in both ways of reading and in the sink, or is refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from connector_cases import file_table, read, relation, schema
from test_round_trips import written

from sqlstream.errors import DataError, OptionError
from sqlstream.types import DOUBLE, STRING, timestamp

COLUMNS = schema(("a", STRING), ("d", DOUBLE), ("t", timestamp(3)))


@pytest.mark.parametrize(
    "delimiter", ["\\t", "\t", "\\u0001", "\x01", "\\u00a7", "§", "|", ";", " ", "-", ".", ":", "\\\\", "😀", "\x02"]
)
@pytest.mark.parametrize("quote", ['"', "'", "«"])
def test_delimiters_and_quotes(delimiter: str, quote: str, tmp_path: Path) -> None:
    options = {"csv_field__delimiter": delimiter, "csv_quote__character": quote}
    rows = [
        [f"x{delimiter}y{quote}z", -1.5, dt.datetime(2024, 1, 2, 3, 4, 5)],
        ["§«\"'", 1e300, None],
        ["", None, None],
    ]
    tab = written(COLUMNS, rows, tmp_path / "t", format="csv", **options)
    expected = [tuple(r) for r in rows]
    assert read(tab)[0] == relation(tab) == expected


@pytest.mark.parametrize("quote", ['"', "'"])
def test_an_escape_that_is_the_quote(quote: str, tmp_path: Path) -> None:
    """Quotes are doubled once."""
    options = {"csv_quote__character": quote, "csv_escape__character": quote}
    rows = [[f"x{quote}y,z", 1.0, None], [quote, None, None], [quote * 3, None, None]]
    tab = written(COLUMNS, rows, tmp_path / "t", format="csv", **options)
    assert read(tab)[0] == relation(tab) == [tuple(r) for r in rows]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"csv_field__delimiter": ""}, "csv.field-delimiter is one character, not ''"),
        ({"csv_field__delimiter": "||"}, "csv.field-delimiter is one character, not '||'"),
        ({"csv_field__delimiter": "\n"}, "csv.field-delimiter cannot be"),
        ({"csv_field__delimiter": "\\n"}, "csv.field-delimiter cannot be"),
        ({"csv_field__delimiter": "\\u0000"}, "csv.field-delimiter cannot be"),
        ({"csv_field__delimiter": "a"}, "csv.field-delimiter cannot be 'a'"),
        ({"csv_field__delimiter": '"'}, "csv.field-delimiter and csv.quote-character are both"),
        ({"csv_field__delimiter": ";", "csv_escape__character": ";"}, "and csv.escape-character are both"),
        ({"csv_quote__character": ""}, "csv.quote-character is one character"),
        ({"csv_quote__character": "''"}, "csv.quote-character is one character"),
        ({"csv_escape__character": "ab"}, "csv.escape-character is one character"),
        ({"csv_null__literal": "a,b"}, "csv.null-literal 'a,b' holds the csv.field-delimiter"),
        ({"csv_null__literal": '"'}, "holds the csv.quote-character"),
        ({"csv_null__literal": "\\N", "csv_escape__character": "\\"}, "holds the csv.escape-character"),
    ],
)
def test_refused(options: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("x,1,\n")
    tab = file_table(tmp_path / "f.csv", COLUMNS, format="csv", **options)
    for way in (read, relation):
        with pytest.raises(OptionError) as e:
            way(tab)
        assert message in e.value.message


def test_without_quotes(tmp_path: Path) -> None:
    options = {"format": "csv", "csv_disable__quote__character": "true"}
    tab = written(COLUMNS, [['a"b', 1.0, None]], tmp_path / "t", **options)
    assert read(tab)[0] == relation(tab) == [('a"b', 1.0, None)]
    for n, value in enumerate(("a,b", "a\nb", "#a")):
        with pytest.raises(DataError, match="csv without quotes cannot hold"):
            written(COLUMNS, [[value, None, None]], tmp_path / str(n), **options)
