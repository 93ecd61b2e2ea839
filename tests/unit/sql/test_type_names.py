"""Type names: Flink's spellings and defaults, and back from what `str(Type)` prints."""

import pytest

from sqlstream.errors import NotSupported, ParseError
from sqlstream.sql import parse_expression, parse_type, to_type
from sqlstream.sql.ast import exp
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    INTERVAL_DAY,
    INTERVAL_MONTH,
    NULL,
    STRING,
    Type,
    array,
    decimal,
    map_of,
    row,
    timestamp,
    timestamp_ltz,
)

TYPES = [
    ("BOOLEAN", BOOLEAN),
    ("tinyint", Type("TINYINT")),
    ("INTEGER", INT),
    ("BIGINT NOT NULL", BIGINT.null(False)),
    ("INT NULL", INT),
    ("FLOAT", FLOAT),
    ("DOUBLE", DOUBLE),
    ("DOUBLE PRECISION", DOUBLE),
    ("DECIMAL", decimal(10, 0)),
    ("DEC(5)", decimal(5, 0)),
    ("NUMERIC(38, 38)", decimal(38, 38)),
    ("CHAR", Type("CHAR", 1)),
    ("CHARACTER(3)", Type("CHAR", 3)),
    ("CHAR VARYING(3)", Type("VARCHAR", 3)),
    ("VARCHAR", STRING),
    ("VARBINARY", BYTES_TYPE),
    ("VARCHAR(2147483647)", STRING),
    ("STRING", STRING),
    ("BINARY", Type("BINARY", 1)),
    ("VARBINARY(7)", Type("VARBINARY", 7)),
    ("BYTES", BYTES_TYPE),
    ("DATE", DATE),
    ("TIME", Type("TIME", 0)),
    ("TIME(3) WITHOUT TIME ZONE", Type("TIME", 3)),
    ("TIMESTAMP", timestamp(6)),
    ("TIMESTAMP(3)", timestamp(3)),
    ("TIMESTAMP(3) WITHOUT TIME ZONE", timestamp(3)),
    ("TIMESTAMP(3) WITH LOCAL TIME ZONE", timestamp_ltz(3)),
    ("TIMESTAMP_LTZ", timestamp_ltz(6)),
    ("TIMESTAMP_LTZ(3) NOT NULL", timestamp_ltz(3).null(False)),
    ("INTERVAL DAY TO SECOND(3)", INTERVAL_DAY),
    ("INTERVAL HOUR", INTERVAL_DAY),
    ("INTERVAL YEAR(4) TO MONTH", INTERVAL_MONTH),
    ("NULL", NULL),
    ("ARRAY<INT NOT NULL> NOT NULL", array(INT.null(False)).null(False)),
    ("INT NOT NULL ARRAY", array(INT.null(False))),
    ("ARRAY<ARRAY<ARRAY<STRING>>>", array(array(array(STRING)))),
    ("MAP<STRING, ARRAY<INT>>", map_of(STRING, array(INT))),
    ("ROW<a INT, `b c` STRING NOT NULL>", row(("a", INT), ("b c", STRING.null(False)))),
    ("ROW(a INT, b ROW<c DATE>)", row(("a", INT), ("b", row(("c", DATE))))),
    ("ROW<a INT 'a comment', timestamp TIMESTAMP(3)>", row(("a", INT), ("timestamp", timestamp(3)))),
    ("ROW<>", row()),
    ("ROW<A INT, a INT>", row(("A", INT), ("a", INT))),
]


@pytest.mark.parametrize(("text", "type_"), TYPES, ids=[t for t, _ in TYPES])
def test_parse(text, type_):
    assert parse_type(text) == type_
    assert to_type(parse_expression(f"CAST(x AS {text})").args["to"]) == type_


@pytest.mark.parametrize("type_", [t for _, t in TYPES] + [parse_type("MULTISET<INT>")], ids=str)
def test_what_types_print_reads_back(type_):
    assert parse_type(str(type_)) == type_


def test_types_built_by_sqlglot():
    assert to_type(exp.DataType.build("int")) == INT
    assert to_type(exp.DataType.build("decimal(5, 2)")) == decimal(5, 2)


ERRORS = [
    ("INTT", ParseError, "there is no type INTT", "did you mean INT"),
    ("TEXT", ParseError, "there is no type TEXT", "write STRING"),
    ("", ParseError, "expected a type, found the end of the statement", None),
    ("INT INT", ParseError, "expected the end of the type, found INT", None),
    ("DECIMAL(39, 2)", ParseError, "the precision of DECIMAL is from 1 to 38", None),
    ("DECIMAL(5, 6)", ParseError, "the scale of DECIMAL is from 0 to 5", None),
    ("DECIMAL(a)", ParseError, "expected a whole number, found a", None),
    ("CHAR(0)", ParseError, "the length of CHAR is from 1 to 2147483647", None),
    ("VARCHAR(99999999999999999999)", ParseError, "the length of VARCHAR is from", None),
    ("TIMESTAMP(9)", NotSupported, "TIMESTAMP(9) is finer than a microsecond", "use TIMESTAMP(6) or less"),
    ("TIMESTAMP_LTZ(7)", NotSupported, "TIMESTAMP_LTZ(7) is finer than a microsecond", "TIMESTAMP_LTZ(6)"),
    ("TIMESTAMP(3) WITH TIME ZONE", NotSupported, "WITH TIME ZONE is not supported", "TIMESTAMP_LTZ(3)"),
    ("RAW('a', 'b')", NotSupported, "the type RAW is not supported", "BYTES"),
    ("ARRAY<INT", ParseError, "expected >, found the end", None),
    ("ROW<a INT, a INT>", ParseError, "the field a is there twice", None),
    ("ROW<INT>", ParseError, "expected a type, found >", None),
    ("ARRAY<" * 500 + "INT" + ">" * 500, ParseError, "nested more than", None),
]


@pytest.mark.parametrize(("text", "kind", "message", "hint"), ERRORS, ids=[e[0][:30] for e in ERRORS])
def test_errors(text, kind, message, hint):
    with pytest.raises(kind) as error:
        parse_type(text)
    assert message in error.value.message
    assert error.value.position is not None
    assert hint is None or hint in error.value.hint
