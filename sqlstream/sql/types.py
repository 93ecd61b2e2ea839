"""Type names: Flink's text to `sqlstream.types.Type`.

`parse_type` reads what users write and what `str(Type)` prints; `to_type` reads the DataType nodes of trees.
Defaults: DECIMAL is DECIMAL(10, 0), CHAR(1), BINARY(1), TIMESTAMP(6), TIME(0); VARCHAR and VARBINARY without a
length have no limit, as STRING and BYTES (a limit of 1 would cut values silently). What Flink has
and we have not (time zones in values, precision beyond microseconds, RAW) is NotSupported, with a hint.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NoReturn

from sqlglot import exp

from sqlstream.errors import did_you_mean
from sqlstream.sql.cursor import Cursor
from sqlstream.sql.lexer import NUMBER, STRING, WORD, Token, tokenize
from sqlstream.sql.source import Source
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
    MAX_LENGTH,
    NULL,
    SMALLINT,
    TINYINT,
    Field,
    Type,
    array,
    decimal,
    map_of,
    row,
)
from sqlstream.types import (
    STRING as STRING_TYPE,
)

MAX_PRECISION = 6
MAX_DECIMAL = 38

_PLAIN = {
    "BOOLEAN": BOOLEAN,
    "TINYINT": TINYINT,
    "SMALLINT": SMALLINT,
    "INT": INT,
    "INTEGER": INT,
    "BIGINT": BIGINT,
    "FLOAT": FLOAT,
    "STRING": STRING_TYPE,
    "BYTES": BYTES_TYPE,
    "DATE": DATE,
    "NULL": NULL,
}
_LENGTHS = {
    "CHAR": "CHAR",
    "CHARACTER": "CHAR",
    "VARCHAR": "VARCHAR",
    "BINARY": "BINARY",
    "VARBINARY": "VARBINARY",
}
_DEFAULT_LENGTHS = {"CHAR": 1, "VARCHAR": MAX_LENGTH, "BINARY": 1, "VARBINARY": MAX_LENGTH}
_DECIMALS = ("DECIMAL", "DEC", "NUMERIC")
_TIMES = {"TIME": 0, "TIMESTAMP": 6, "TIMESTAMP_LTZ": 6}
_MONTHS = ("YEAR", "MONTH")
_DAYS = ("DAY", "HOUR", "MINUTE", "SECOND")
_OTHER = {
    "RAW": "RAW types need Java classes; use BYTES",
    "VARIANT": "keep the JSON text in a STRING and read it with JSON_VALUE",
    "STRUCTURED": "use ROW<…>",
}
_NAMES = (*_PLAIN, *_LENGTHS, *_DECIMALS, *_TIMES, "DOUBLE", "INTERVAL", "ARRAY", "MAP", "MULTISET", "ROW")
_FOREIGN = {
    "TEXT": "STRING",
    "BLOB": "BYTES",
    "BYTEA": "BYTES",
    "REAL": "FLOAT",
    "BOOL": "BOOLEAN",
    "LONG": "BIGINT",
    "DATETIME": "TIMESTAMP(3)",
    "TIMESTAMPTZ": "TIMESTAMP_LTZ(3)",
    "STRUCT": "ROW<name TYPE, …>",
    "INT64": "BIGINT",
    "INT32": "INT",
    "INT16": "SMALLINT",
    "INT8": "TINYINT",
    "FLOAT64": "DOUBLE",
    "FLOAT32": "FLOAT",
    "NUMBER": "DECIMAL(38, 0), BIGINT or DOUBLE",
    "MONEY": "DECIMAL(19, 4)",
    "UUID": "STRING",
    "JSON": "STRING",
    "JSONB": "STRING",
    "LIST": "ARRAY<TYPE>",
    "HASHMAP": "MAP<TYPE, TYPE>",
    "SERIAL": "BIGINT",
    "UINT": "BIGINT",
    "CLOB": "STRING",
    "NVARCHAR": "STRING",
}


def parse_type(text: str) -> Type:
    """The type that `text` names; ParseError or NotSupported with its place."""
    source = Source(text)
    grammar = TypeGrammar(source, tokenize(source))
    found = grammar.data_type()
    if grammar.token.kind != "END":
        grammar.fail("expected the end of the type")
    return found


def to_type(node: exp.Expression) -> Type:
    """The type of a DataType node: of our trees, or any that sqlglot can print for Flink."""
    kind = node.args.get("kind")
    return _cached(str(kind) if kind else str(node.sql()))


_cached = lru_cache(maxsize=512)(parse_type)


class TypeGrammar(Cursor):
    """Types, each with its nullability."""

    def data_type_node(self) -> exp.Expression:
        """A DataType node; `to_type` gives its Type."""
        first = self.token
        found = self.data_type()
        node = exp.DataType(this=exp.DataType.Type.USERDEFINED, kind=str(found))
        return self.mark(node, first, self.previous)

    def data_type(self) -> Type:
        """A type as Flink writes it, `INT ARRAY` and `NOT NULL` too."""
        with self.nested():
            found = self._nullability(self._base())
            while self.at("ARRAY", "MULTISET"):  # the postfix form: INT ARRAY
                found = self._nullability(array(found) if self.advance().key == "ARRAY" else _multiset(found))
            return found

    def _nullability(self, found: Type) -> Type:
        if self.accept("NOT", "NULL"):
            return found.null(False)
        self.accept("NULL")
        return found

    def _base(self) -> Type:
        token = self.token
        if token.kind != WORD:
            self.fail("expected a type")
        word = token.key
        self.advance()
        if word in _PLAIN:
            return _PLAIN[word]
        if word == "DOUBLE":
            self.accept("PRECISION")
            return DOUBLE
        if word in _LENGTHS:
            kind = _LENGTHS[word]
            if kind == "CHAR" and self.accept("VARYING"):
                kind = "VARCHAR"
            length = self._number(1, MAX_LENGTH, _DEFAULT_LENGTHS[kind], f"the length of {kind}")
            return Type(kind, length)
        if word in _DECIMALS:
            return self._decimal(token)
        if word in _TIMES:
            return self._time(token)
        if word == "INTERVAL":
            return self._interval_type()
        if word == "ROW":
            return self._row()
        if word in ("ARRAY", "MULTISET"):
            self.expect("<")
            element = self.data_type()
            self.expect(">")
            return array(element) if word == "ARRAY" else _multiset(element)
        if word == "MAP":
            self.expect("<")
            key = self.data_type()
            self.expect(",")
            value = self.data_type()
            self.expect(">")
            return map_of(key, value)
        if word in _OTHER:
            self.unsupported(token, f"the type {word} is not supported", _OTHER[word])
        self._unknown(token)

    def _unknown(self, token: Token) -> NoReturn:
        hint = _FOREIGN.get(token.key)
        self.fail_at(
            token,
            f"there is no type {token.text}",
            f"write {hint}" if hint else did_you_mean(token.key, _NAMES, "types"),
        )

    def _number(self, low: int, high: int, default: int, what: str) -> int:
        """`(n)` within bounds, or the default."""
        if not self.accept("("):
            return default
        value = self._integer(low, high, what)
        self.expect(")")
        return value

    def _integer(self, low: int, high: int, what: str) -> int:
        token = self.token
        if token.kind != NUMBER or not token.text.isascii() or not token.text.isdigit():
            self.fail("expected a whole number")
        if len(token.text) > 12 or not low <= int(token.text) <= high:
            self.fail_at(token, f"{what} is from {low} to {high}", f"write a number up to {high}")
        self.advance()
        return int(token.text)

    def _decimal(self, token: Token) -> Type:
        precision, scale = 10, 0
        if self.accept("("):
            precision = self._integer(1, MAX_DECIMAL, "the precision of DECIMAL")
            if self.accept(","):
                scale = self._integer(0, precision, "the scale of DECIMAL")
            self.expect(")")
        return decimal(precision, scale)

    def _time(self, token: Token) -> Type:
        kind, precision = token.key, _TIMES[token.key]
        if self.accept("("):
            number = self.token
            precision = self._integer(0, 9, f"the precision of {kind}")
            if precision > MAX_PRECISION:
                self.unsupported(
                    number,
                    f"{kind}({precision}) is finer than a microsecond",
                    f"times are kept in microseconds: use {kind}({MAX_PRECISION}) or less",
                )
            self.expect(")")
        if kind != "TIMESTAMP_LTZ":
            zone = self.token
            if self.accept("WITH", "LOCAL", "TIME", "ZONE"):
                if kind == "TIME":
                    self.fail_at(zone, "TIME has no time zone")
                return Type("TIMESTAMP_LTZ", precision)
            if self.accept("WITH", "TIME", "ZONE"):
                self.unsupported(
                    zone,
                    f"{kind} WITH TIME ZONE is not supported",
                    "use TIMESTAMP_LTZ(3): an instant, shown in the session's time zone",
                )
            self.accept("WITHOUT", "TIME", "ZONE")
        return Type(kind, precision)

    def _interval_type(self) -> Type:
        first = self._type_unit(*_MONTHS, *_DAYS)
        months = first in _MONTHS
        if self.accept("TO"):
            self._type_unit(*(_MONTHS if months else _DAYS))
        return INTERVAL_MONTH if months else INTERVAL_DAY

    def _type_unit(self, *units: str) -> str:
        unit = self.choose(*units)
        self._number(0, 9, default=0, what=f"the precision of {unit}")
        return unit

    def _row(self) -> Type:
        close = ">"
        if self.accept("<>"):  # the lexer's one token for an empty list
            return row()
        if self.accept("("):
            close = ")"
        else:
            self.expect("<")
        fields: list[Field] = []
        if not self.at(close):
            self.csv(lambda: fields.append(self._field(fields)))
        self.expect(close)
        return Type("ROW", fields=tuple(fields))

    def _field(self, before: list[Field]) -> Field:
        token = self.token
        name = str(self.identifier("a field's name").this)
        if any(f.name == name for f in before):
            self.fail_at(token, f"the field {name} is there twice", "give one of them another name")
        found = self.data_type()
        if self.token.kind == STRING:  # a field's comment
            self.advance()
        return Field(name, found)


def _multiset(element: Type) -> Type:
    return Type("MULTISET", fields=(Field("element", element),))
