"""The columns that a schema has: for files of which nobody has declared them."""

from __future__ import annotations

from sqlstream.errors import DataError
from sqlstream.formats.avro.schema import Node
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    STRING,
    Field,
    Type,
    array,
    decimal,
    map_of,
    timestamp,
    timestamp_ltz,
)

_MOST_DIGITS = 38  # of a DECIMAL
_LOGICAL = {
    "date": DATE, "time-millis": Type("TIME", 3), "time-micros": Type("TIME", 6),
    "timestamp-millis": timestamp_ltz(3), "timestamp-micros": timestamp_ltz(6), "timestamp-nanos": timestamp_ltz(6),
    "local-timestamp-millis": timestamp(3), "local-timestamp-micros": timestamp(6), "local-timestamp-nanos": timestamp(6),
}  # fmt: skip
_KINDS = {
    "boolean": BOOLEAN, "int": INT, "long": BIGINT, "float": FLOAT, "double": DOUBLE, "string": STRING, "enum": STRING,
    "bytes": BYTES_TYPE, "fixed": BYTES_TYPE,
}  # fmt: skip


def columns_of(schema: Node) -> list[tuple[str, Type]]:
    """Of a record. DataError where it is none, or a field has no type here."""
    if schema.kind != "record":
        raise DataError(f"its records are {schema.text}, not a record", hint="a table has the fields of a record")
    return [(f.name, _type(f.type, f.name, ())) for f in schema.fields]


def _type(node: Node, shown: str, within: tuple[Node, ...]) -> Type:
    inner = node.inner
    if inner in within:
        raise DataError(f"field {shown}: its records are in themselves", hint="write the columns, without this one")
    if inner.kind == "record":
        within = (*within, inner)
        return Type(
            "ROW", fields=tuple(Field(f.name, _type(f.type, f"{shown}.{f.name}", within)) for f in inner.fields)
        )
    if inner.item is not None:
        item = _type(inner.item, f"{shown}[]", within)
        return array(item) if inner.kind == "array" else map_of(STRING, item)
    if inner.logical == "decimal":
        if inner.precision > _MOST_DIGITS:
            raise DataError(
                f"field {shown} is a decimal of {inner.precision} digits",
                hint=f"a DECIMAL has {_MOST_DIGITS} digits at most: write the columns, without this one",
            )
        return decimal(inner.precision, inner.scale)
    found = _LOGICAL.get(inner.logical) or _KINDS.get(inner.kind)
    if found is None:
        raise DataError(
            f"field {shown} is {inner.text}, which no column is", hint="write the columns, without this one"
        )
    return found
