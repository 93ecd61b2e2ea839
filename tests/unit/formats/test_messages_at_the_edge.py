"""Messages without a byte, and messages that begin with a byte order mark: what Flink does with each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from connector_cases import schema, table
from harness.schema_registry import SchemaRegistry

from sqlstream.connectors.messages.parts import Part, with_message
from sqlstream.contracts import ScanColumn
from sqlstream.formats.base import Format
from sqlstream.formats.confluent.avro import ConfluentAvroFormat
from sqlstream.formats.confluent.debezium_avro import DebeziumAvroFormat
from sqlstream.formats.confluent.framing import SHORT
from sqlstream.formats.confluent.json import ConfluentJsonFormat
from sqlstream.formats.confluent.protobuf import ConfluentProtobufFormat
from sqlstream.formats.debezium_json import DebeziumJsonFormat
from sqlstream.formats.json import JsonFormat
from sqlstream.formats.messages import Texts
from sqlstream.types import BIGINT, STRING

COLUMNS = schema(("id", BIGINT), ("name", STRING))
MARK = b"\xef\xbb\xbf"


def read(
    form: Format, messages: list[bytes | None], **more: Any
) -> tuple[list[tuple[int, Any, Any]], list[tuple[int, str]]]:
    """Rows with the numbers of their messages, and malformed messages."""
    request = with_message([ScanColumn((c.name,), c.type) for c in COLUMNS])
    options = {o.key: o.default for o in form.options if not o.key.endswith("*")}
    options |= {f"{form.name}.{k}": v for k, v in more.items()}
    found = Part(form.decoder(table(COLUMNS), request, options), request).columns(Texts.of(messages))
    rows = zip(found.of.tolist(), *(a.to_pylist() for a in found.columns), strict=True)
    return [(i, n, name) for i, n, name in rows], [(r.message, r.reason) for r in found.refused]


# ---- without a byte


@pytest.mark.parametrize("form", [ConfluentAvroFormat(), ConfluentJsonFormat(), ConfluentProtobufFormat()])
@pytest.mark.parametrize("messages", [[b""], [None, b"", None, b""], [b"\1", b"", b"\0"]])
def test_without_the_number_of_a_schema(form: Format, messages: list[bytes | None]) -> None:
    """Flink: a message that is NULL has no row, and one that ends before its number is an error."""
    with SchemaRegistry() as registry:
        rows, refused = read(form, messages, url=registry.url)
    assert rows == []
    assert [n for n, _ in refused] == [i for i, m in enumerate(messages) if m is not None]
    assert {r for i, r in refused if messages[i] == b""} == {SHORT}


def test_beside_others() -> None:
    """Those before and behind one without a byte stay what they are."""
    row = b'\0\0\0\0\1{"id":%d,"name":"x"}'
    rows, refused = read(ConfluentJsonFormat(), [row % 1, b"", None, row % 2, b"\0\0\0\0\1", row % 3])
    assert rows == [(0, 1, "x"), (3, 2, "x"), (5, 3, "x")]
    assert [n for n, _ in refused] == [1, 4] and refused[0][1] == SHORT
    avro = b"\0\0\0\0\1\x02\x02x"
    with SchemaRegistry() as registry:
        fields = [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]
        registry.add({"type": "record", "name": "r", "fields": fields})
        rows, refused = read(ConfluentAvroFormat(), [avro, b"", None, avro, b""], url=registry.url)
    assert rows == [(0, 1, "x"), (3, 1, "x")] and refused == [(1, SHORT), (4, SHORT)]


def test_tombstones_of_debezium() -> None:
    """Flink: NULL or without a byte, they say that a key is gone, which its deletion did."""
    with SchemaRegistry() as registry:
        assert read(DebeziumAvroFormat(), [None, b"", None], url=registry.url) == ([], [])
    assert read(DebeziumJsonFormat(), [None, b"", None]) == ([], [])


# ---- a mark


def _plain(n: int) -> bytes:
    return json.dumps({"id": n, "name": "é"}, ensure_ascii=False).encode()


def _change(n: int) -> bytes:
    return b'{"before":null,"after":%s,"op":"c"}' % _plain(n)


@pytest.mark.parametrize("lines", ["", "\n"], ids=["one line", "lines within"])
@pytest.mark.parametrize("marked", [(0,), (1,), (0, 1, 2), ()], ids=str)
@pytest.mark.parametrize("kind", ["json", "debezium", "confluent"])
def test_a_byte_order_mark(kind: str, marked: tuple[int, ...], lines: str) -> None:
    """Jackson, given the bytes of a message, passes over one, wherever the message stands; and over no other."""
    form: Format = {"json": JsonFormat(), "debezium": DebeziumJsonFormat(), "confluent": ConfluentJsonFormat()}[kind]
    make = {"json": _plain, "debezium": _change, "confluent": _plain}[kind]
    head = b"\0\0\0\0\1" if kind == "confluent" else b""
    messages: list[bytes | None] = [head + (MARK if n in marked else b"") + lines.encode() + make(n) for n in range(3)]
    assert read(form, messages) == ([(n, n, "é") for n in range(3)], [])


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("wrong", [MARK + MARK + b'{"id":9}', b" " + MARK + b'{"id":9}', b'{"id":' + MARK + b"9}"])
def test_a_mark_where_there_may_be_none(wrong: bytes, at: int) -> None:
    messages: list[bytes | None] = [_plain(1), _plain(2)]
    messages.insert(at, wrong)
    rows, refused = read(JsonFormat(), messages)
    assert [r[1] for r in rows] == [1, 2] and [n for n, _ in refused] == [at]
