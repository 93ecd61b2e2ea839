"""Values of interval literals."""

import pytest

from sqlstream.errors import ParseError
from sqlstream.sql import parse_expression
from sqlstream.sql.ast import interval_value

SECOND = 1_000_000
DAY = 86_400 * SECOND

INTERVALS = [
    ("'1' DAY", DAY),
    ("'10' SECONDS", 10 * SECOND),
    ("'90' MINUTE", 90 * 60 * SECOND),
    ("'-1' HOUR", -3600 * SECOND),
    ("-'1' HOUR", -3600 * SECOND),
    ("-'-1' HOUR", 3600 * SECOND),
    ("+'1' HOUR", 3600 * SECOND),
    ("'0.001' SECOND", 1000),
    ("'1.5' SECOND(3, 1)", 1_500_000),
    ("'0.000001' SECOND", 1),
    ("'1:30' MINUTE TO SECOND", 90 * SECOND),
    ("'1:00:00.25' HOUR TO SECOND", 3600 * SECOND + 250_000),
    ("'2 03' DAY TO HOUR", 2 * DAY + 3 * 3600 * SECOND),
    ("'1 02:03:04.5' DAY TO SECOND", DAY + 7384 * SECOND + 500_000),
    ("'1' WEEK", 7 * DAY),
]
MONTHS = [("'1' YEAR", 12), ("'1-2' YEAR TO MONTH", 14), ("'-3' MONTHS", -3), ("'1' QUARTER", 3)]


@pytest.mark.parametrize(("text", "value"), INTERVALS)
def test_days(text, value):
    assert interval_value(parse_expression(f"INTERVAL {text}")) == ("INTERVAL_DAY", value)


@pytest.mark.parametrize(("text", "value"), MONTHS)
def test_months(text, value):
    assert interval_value(parse_expression(f"INTERVAL {text}")) == ("INTERVAL_MONTH", value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'x' DAY", "'x' is not an interval of DAY"),
        ("'1.5' DAY", "'1.5' is not an interval of DAY"),
        ("'' SECOND", "'' is not an interval of SECOND"),
        ("'1:60' MINUTE TO SECOND", "60 is too many for the SECOND"),
        ("'1-12' YEAR TO MONTH", "12 is too many for the MONTH"),
        ("'1' DAY TO MONTH", "there is no interval of DAY TO MONTH"),
        ("'1' MONTH TO DAY", "there is no interval of MONTH TO DAY"),
        ("'1' SECOND TO DAY", "there is no interval of SECOND TO DAY"),
        ("'0.0000001' SECOND", "finer than a microsecond"),
        ("'99999999999999' DAY", "too long an interval"),
        ("'1' FORTNIGHT", "expected a unit, SECOND to YEAR, found FORTNIGHT"),
        ("5 DAY", "expected a string, found 5"),
        ("x DAY", "expected a string, found x"),
    ],
)
def test_errors(text, message):
    with pytest.raises(ParseError) as error:
        parse_expression(f"INTERVAL {text}")
    assert message in error.value.message
