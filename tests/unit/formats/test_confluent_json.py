"""JSON with the numbers of schemas: what stands behind them is read as format 'json' reads it, and a JSON Schema of columns."""

from __future__ import annotations

import json
import struct
from typing import Any

import pyarrow as pa
import pytest
from connector_cases import schema, table
from harness.schema_registry import SchemaRegistry
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlstream.connectors.messages.parts import Part, with_message
from sqlstream.contracts import ScanColumn
from sqlstream.errors import OptionError
from sqlstream.formats.confluent.framing import EMPTY, MAGIC
from sqlstream.formats.confluent.json import ConfluentJsonFormat
from sqlstream.formats.confluent.json_schema import schema_of
from sqlstream.formats.json import JsonFormat
from sqlstream.formats.messages import Texts
from sqlstream.types import (  # fmt: skip
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    STRING,
    TINYINT,
    Schema,
    array,
    decimal,
    map_of,
    row,
    timestamp,
    timestamp_ltz,
)

FORMAT = ConfluentJsonFormat()
# Of confluent-kafka 2.16.1: JSONSerializer of {"id": 7, "name": "ü"} by a schema of the number 10, whose byte is a line end.
CONFLUENT = bytes.fromhex("000000000a7b226964223a372c226e616d65223a22c3bc227d")


def options(**more: Any) -> dict[str, Any]:
    given = {f"json-confluent.{k.replace('__', '-').replace('_', '.')}": v for k, v in more.items()}
    return {o.key: o.default for o in FORMAT.options if not o.key.endswith("*")} | given


def read(
    columns: Schema, messages: list[bytes | None], **more: Any
) -> tuple[list[tuple[Any, ...]], list[tuple[int, str]]]:
    """Rows, and malformed messages."""
    request = with_message([ScanColumn((c.name,), c.type) for c in columns])
    part = Part(FORMAT.decoder(table(columns), request, options(**more)), request)
    found = part.columns(Texts.of(messages))
    rows = [tuple(r) for r in zip(found.of.tolist(), *(a.to_pylist() for a in found.columns), strict=True)]
    return rows, [(r.message, r.reason) for r in found.refused]


def test_messages_of_confluents_serializer() -> None:
    columns = schema(("id", BIGINT), ("name", STRING))
    ours = b"\0\0\0\x0a\x0a" + b'{"name":null,"id":8}'
    assert read(columns, [CONFLUENT, None, ours]) == ([(0, 7, "ü"), (2, 8, None)], [])


def test_malformed_messages() -> None:
    """Each by its own reason, beside those that are not, in either way of reading."""
    columns = schema(("id", BIGINT), ("inner", row(("x", INT))))
    good = b"\0\0\0\0\x01" + b'{"id": 1, "inner": {"x": 2}}'
    messages = [good, b'{"id": 1}', b"\0\0\0\0\x01", b"\0\0\0\0\x01{", good]
    rows, refused = read(columns, messages)
    assert [r[:2] for r in rows] == [(0, 1), (4, 1)]
    assert refused[:2] == [(1, MAGIC), (2, EMPTY)] and [n for n, _ in refused] == [1, 2, 3]
    rows, refused = read(columns, messages, fail__on__missing__field=True)
    assert [r[:2] for r in rows] == [(0, 1), (4, 1)] and [n for n, _ in refused] == [1, 2, 3]
    decoder = FORMAT.decoder(table(columns), with_message([]), options())
    assert decoder.hint(MAGIC) == "format 'json' reads messages without the number of a schema"
    assert FORMAT.shown(good) == '{"id": 1, "inner": {"x": 2}}' and FORMAT.shown(b"{}") == "{}"


_ODD = (
    b'{"id": 1, "name": "a"}', b' {"id":2}\n', b'{"id":\n3,\n"name":null}', b'{"id": 4}{"id": 5}', b'{"id": 6}\n{"id": 7}', b"null", b" ", b"\n", b"[]", b"{", b'"x"',
    b'{"id": "x"}', b'{"name": "\xff"}', b'{"id": 8, "id": 9}', b'{"name": {"a": [1]}, "id": 10}', b"{}", b'{"ID": 12}',
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(_ODD), min_size=1, max_size=4), st.booleans())
def test_what_stands_behind_the_number_is_json(messages: list[bytes], strict: bool) -> None:
    """It means what format 'json' takes it for, malformed or not."""
    columns = schema(("id", BIGINT), ("name", STRING))
    request = with_message([ScanColumn((c.name,), c.type) for c in columns])
    plain = {k.replace("-confluent", ""): v for k, v in options(fail__on__missing__field=strict).items()}
    part = Part(JsonFormat().decoder(table(columns), request, plain), request)
    found = part.columns(Texts.of(messages))
    rows = [tuple(r) for r in zip(found.of.tolist(), *(a.to_pylist() for a in found.columns), strict=True)]
    framed = [b"\0\0\0\0\x0a" + m for m in messages]
    expected = rows, [(r.message, r.reason) for r in found.refused]
    got = read(columns, framed, fail__on__missing__field=strict)
    assert (got[0], [n for n, _ in got[1]]) == (expected[0], [n for n, _ in expected[1]])


def test_the_schema_of_columns() -> None:
    """As Confluent's JsonSchemaData makes it of the same Connect schema, but for times, which are text here."""
    columns = schema(
        ("id", BIGINT.null(False)), ("flag", BOOLEAN), ("small", TINYINT.null(False)), ("f", FLOAT), ("price", decimal(10, 2).null(False)),
        ("data", BYTES_TYPE.null(False)), ("day", DATE.null(False)), ("at", timestamp(3).null(False)), ("seen", timestamp_ltz(3).null(False)),
        ("tags", array(STRING).null(False)), ("m", map_of(STRING, DOUBLE.null(False)).null(False)), ("r", row(("x", INT.null(False)), ("y", STRING))),
    )  # fmt: skip
    null = {"type": "null"}
    expected = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Record",
        "type": "object",
        "properties": {
            "id": {"type": "integer", "connect.type": "int64", "connect.index": 0},
            "flag": {"oneOf": [null, {"type": "boolean"}], "connect.index": 1},
            "small": {"type": "integer", "connect.type": "int8", "connect.index": 2},
            "f": {"oneOf": [null, {"type": "number", "connect.type": "float32"}], "connect.index": 3},
            "price": {
                "type": "number", "title": "org.apache.kafka.connect.data.Decimal", "connect.type": "bytes", "connect.version": 1,
                "connect.parameters": {"scale": "2", "connect.decimal.precision": "10"}, "connect.index": 4,
            },
            "data": {"type": "string", "contentEncoding": "base64", "connect.type": "bytes", "connect.index": 5},
            "day": {"type": "string", "format": "date", "connect.index": 6},
            "at": {"type": "string", "connect.index": 7},
            "seen": {"type": "string", "connect.index": 8},
            "tags": {"type": "array", "items": {"oneOf": [null, {"type": "string"}]}, "connect.index": 9},
            "m": {
                "type": "object", "connect.type": "map", "additionalProperties": {"type": "number", "connect.type": "float64"},
                "connect.index": 10,
            },
            "r": {
                "oneOf": [
                    null,
                    {
                        "title": "Record_r",
                        "type": "object",
                        "properties": {
                            "x": {"type": "integer", "connect.type": "int32", "connect.index": 0},
                            "y": {"oneOf": [null, {"type": "string"}], "connect.index": 1},
                        },
                        "required": ["x"],
                        "additionalProperties": False,
                    },
                ],
                "connect.index": 11,
            },
        },
        "required": ["id", "small", "price", "data", "day", "at", "seen", "tags", "m"],
        "additionalProperties": False,
    }  # fmt: skip
    assert schema_of(columns, "SQL") == expected
    iso = schema_of(schema(("seen", timestamp_ltz(3))), "ISO-8601")
    assert iso["properties"]["seen"]["oneOf"][1] == {"type": "string", "format": "date-time"}


def test_rows_are_messages() -> None:
    """Behind the number of the schema that the registry has then."""
    columns = schema(("id", BIGINT.null(False)), ("name", STRING))
    with SchemaRegistry() as registry:
        registry.add({"type": "object"}, first=9, kind="JSON")
        chosen = options(url=registry.url, subject="x-value", encode_ignore__null__fields=True)
        encoder = FORMAT.encoder(table(columns), chosen)
        batch = pa.record_batch([pa.array([1, 2], pa.int64()), pa.array(["a\n", None])], names=["id", "name"])
        before = b"\0" + struct.pack(">I", 10)
        assert encoder.messages(batch, None).values() == [before + b'{"id":1,"name":"a\\n"}', before + b'{"id":2}']
        assert encoder.messages(batch.slice(0, 0), None).values() == []
        assert registry.more[9] == {"schemaType": "JSON"} and registry.asked == ["POST /subjects/x-value/versions"]
        assert json.loads(registry.schemas[9]) == schema_of(columns, "SQL")
        assert read(columns, encoder.messages(batch, None).values()) == ([(0, 1, "a\n"), (1, 2, None)], [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "it is no JSON"),
        ("[]", "it is no object"),
        ('{"type": "array"}', 'it is of "array", and rows are objects'),
        ('{"required": ["other"]}', 'it requires "other", which is no column'),
        (
            '{"properties": {"other": {}}, "additionalProperties": false}',
            "it has no property 'id', and allows no others",
        ),
    ],
)
def test_a_schema_that_is_given(text: str, reason: str) -> None:
    t = table(schema(("id", BIGINT)))
    with pytest.raises(OptionError, match=f"option 'json-confluent.schema': {reason}"):
        FORMAT.check(t, options(schema=text))
    FORMAT.check(t, options(schema='{"properties": {"id": {}, "other": {}}, "additionalProperties": false}'))


def test_what_is_missing_to_write() -> None:
    t = table(schema(("id", BIGINT)))
    FORMAT.check(t, options())  # it can be read
    for more, reason in (({}, "url' is missing"), ({"url": "http://x"}, "subject' is missing")):
        with pytest.raises(OptionError, match=f"option 'json-confluent.{reason}"):
            FORMAT.encoder(t, options(**more))
    with pytest.raises(OptionError, match="option 'json-confluent.url' = 'x' is no URL"):
        FORMAT.check(t, options(url="x"))
