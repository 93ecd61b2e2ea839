"""Protobuf with the numbers of schemas, beside Google's library: schemas as registries have them, values that messages stand for, and the
message of a table's columns."""

from __future__ import annotations

import base64
import datetime as dt
import struct
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from connector_cases import schema, table
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, timestamp_pb2, wrappers_pb2
from harness.schema_registry import SchemaRegistry
from hypothesis import given, settings
from hypothesis import strategies as st
from message_cases import rows_of

from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.errors import BindError, NotSupported, OptionError
from sqlstream.formats.confluent import proto_files
from sqlstream.formats.confluent.framing import PLACE
from sqlstream.formats.confluent.proto_derived import derived
from sqlstream.formats.confluent.protobuf import ConfluentProtobufFormat
from sqlstream.formats.messages import Texts
from sqlstream.types import (  # fmt: skip
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    SMALLINT,
    STRING,
    Schema,
    Type,
    array,
    decimal,
    map_of,
    row,
    timestamp,
    timestamp_ltz,
)

FORMAT = ConfluentProtobufFormat()
TIME6 = Type("TIME", 6)


# The built-in files of Confluent's registry, from their documentation.
def _plain_message(package: str, file: str, message: str, *fields: tuple[str, str]) -> str:
    made = "".join(
        f"field {{ name: '{n}' number: {i} type: TYPE_{kind} label: LABEL_OPTIONAL }}"
        for i, (n, kind) in enumerate(fields, 1)
    )
    return f"name: '{file}' package: '{package}' syntax: 'proto3' message_type {{ name: '{message}' {made} }}"


KNOWN = (
    _plain_message("google.type", "google/type/date.proto", "Date", *((n, "INT32") for n in ("year", "month", "day"))),
    _plain_message(
        "google.type",
        "google/type/timeofday.proto",
        "TimeOfDay",
        *((n, "INT32") for n in ("hours", "minutes", "seconds", "nanos")),
    ),
    _plain_message(
        "confluent.type",
        "confluent/type/decimal.proto",
        "Decimal",
        ("value", "BYTES"),
        ("precision", "UINT32"),
        ("scale", "INT32"),
    ),
)
# Types by names as they stand in a text, and without saying what they are: so does Confluent's registry.
ORDER = """package: 'shop' syntax: 'proto3' dependency: 'google/protobuf/timestamp.proto' dependency: 'google/protobuf/wrappers.proto'
    dependency: 'google/type/date.proto' dependency: 'google/type/timeofday.proto' dependency: 'confluent/type/decimal.proto'
    message_type { name: 'Order'
        field { name: 'id' number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }
        field { name: 'note' number: 2 type: TYPE_STRING label: LABEL_OPTIONAL proto3_optional: true oneof_index: 0 }
        field { name: 'at' number: 3 type_name: 'google.protobuf.Timestamp' label: LABEL_OPTIONAL }
        field { name: 'day' number: 4 type_name: '.google.type.Date' label: LABEL_OPTIONAL }
        field { name: 'clock' number: 5 type_name: 'google.type.TimeOfDay' label: LABEL_OPTIONAL }
        field { name: 'price' number: 6 type_name: 'confluent.type.Decimal' label: LABEL_OPTIONAL }
        field { name: 'count' number: 7 type_name: 'google.protobuf.Int64Value' label: LABEL_OPTIONAL }
        field { name: 'size' number: 8 type: TYPE_INT64 label: LABEL_OPTIONAL }
        field { name: 'lines' number: 9 type_name: 'Line' label: LABEL_REPEATED }
        field { name: 'state' number: 10 type_name: 'State' label: LABEL_OPTIONAL }
        field { name: 'unsigned' number: 11 type: TYPE_UINT32 label: LABEL_OPTIONAL }
        nested_type { name: 'Line' field { name: 'paid' number: 1 type_name: 'google.type.Date' label: LABEL_REPEATED }
                      field { name: 'x' number: 2 type: TYPE_FLOAT label: LABEL_OPTIONAL } }
        enum_type { name: 'State' value { name: 'OPEN' number: 0 } value { name: 'SENT' number: 3 } }
        oneof_decl { name: '_note' } }
    message_type { name: 'Other' nested_type { name: 'Deep' field { name: 'id' number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL } } }"""


def file_of(text: str, name: str = "") -> Any:
    found = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    found.name = name or found.name
    return found


def base64_of(text: str) -> str:
    return base64.b64encode(file_of(text).SerializeToString()).decode()


class Google:
    """Google's classes of files, which are given in the order of what they import."""

    def __init__(self, *files: Any) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        self.pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
        self.pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
        for f in (*map(file_of, KNOWN), *files):
            self.pool.Add(f)

    def make(self, name: str) -> Any:
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))


@pytest.fixture(scope="module")
def order() -> Any:
    return Google(file_of(ORDER, "order.proto")).make("shop.Order")


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as found:
        yield found


@pytest.fixture(scope="module")
def kept() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as found:
        yield found


def framed(number: int, message: Any, place: bytes = b"\0") -> bytes:
    return b"\0" + struct.pack(">I", number) + place + message.SerializeToString()


def options(registry: SchemaRegistry | None, **more: Any) -> dict[str, Any]:
    found = {o.key: o.default for o in FORMAT.options if not o.key.endswith("*")}
    found |= {
        "protobuf-confluent.url": registry.url if registry else "http://x",
        "protobuf-confluent.subject": "x-value",
    }
    return found | {f"protobuf-confluent.{k.replace('_', '-')}": v for k, v in more.items()}


def read(
    registry: SchemaRegistry, columns: Schema, messages: list[Any], request: list[ScanColumn] | None = None
) -> tuple[list[tuple[Any, ...]], dict[int, str]]:
    wanted = request or [ScanColumn((c.name,), c.type) for c in columns]
    return rows_of(FORMAT.decoder(table(columns), ScanRequest(tuple(wanted)), options(registry)), wanted, messages)


def written(registry: SchemaRegistry, columns: Schema, rows: list[tuple[Any, ...]], **more: Any) -> list[bytes]:
    arrays = [pa.array(v, c.type.arrow_outside()) for v, c in zip(zip(*rows, strict=True), columns, strict=True)]
    batch = pa.RecordBatch.from_arrays(arrays, names=list(columns.names))
    encoder = FORMAT.encoder(table(columns), options(registry, **more))
    return [v or b"" for v in encoder.messages(batch, None).values()]


# ---- reading


def test_values_that_messages_stand_for(registry: SchemaRegistry, order: Any) -> None:
    n = registry.add(base64_of(ORDER), kind="PROTOBUF")
    full = order(id=7, note="x", at={"seconds": -1, "nanos": 999_999_999}, day={"year": 2024, "month": 2, "day": 29},
                 clock={"hours": 23, "minutes": 59, "seconds": 58, "nanos": 7000}, price={"value": b"\xfe\x0c", "precision": 5, "scale": 1},
                 count={"value": 0}, size=2**40, lines=[{"paid": [{"year": 1, "month": 1, "day": 1}], "x": 0.5}, {}], state=3,
                 unsigned=2**32 - 1)  # fmt: skip
    columns = schema(
        ("id", BIGINT), ("note", STRING), ("at", timestamp(3)), ("day", DATE), ("clock", TIME6), ("price", decimal(10, 2)), ("count", BIGINT),
        ("size", BIGINT), ("lines", array(row(("x", DOUBLE), ("paid", array(DATE)), ("gone", INT)))), ("state", STRING), ("unsigned", BIGINT),
        ("other", map_of(STRING, INT)),
    )  # fmt: skip
    rows, refused = read(registry, columns, [framed(n, full), None, framed(n, order())])
    lines = [(0.5, [dt.date(1, 1, 1)], None), (0.0, None, None)]
    assert refused == {} and rows == [
        (7, "x", dt.datetime(1969, 12, 31, 23, 59, 59, 999000), dt.date(2024, 2, 29), dt.time(23, 59, 58, 7), Decimal("-50.00"), 0, 2**40, lines,
         "SENT", 2**32 - 1, None),
        # what has no presence has its default; what is optional, or a message, is NULL
        (0, None, None, None, None, None, None, 0, None, "OPEN", 0, None),
    ]  # fmt: skip
    assert registry.asked == [f"GET /schemas/ids/{n}?format=serialized"]
    assert read(registry, columns, [framed(n, full)], [ScanColumn(("note",), STRING)]) == ([("x",)], {})
    nothing = FORMAT.decoder(table(columns), ScanRequest(()), options(registry)).messages()
    assert nothing is not None and nothing(Texts.of([framed(n, full)] * 3)).records.num_rows == 3


# Of confluent-kafka 2.16.1: what its ProtobufSerializer registers for a file with shop.Inner, whose second message is B, and for one with
# shop.First and shop.Outer, which imports it; and a message of Outer (its schema's number is 12), and of B (11).
CONFLUENT = (
    "Cgtpbm5lci5wcm90bxIEc2hvcCInCgVJbm5lchIJCgF4GAEgASgFGgMKAUEaDgoBQhIJCgF5GAEgASgDYgZwcm90bzM=",
    "CgtvdXRlci5wcm90bxIEc2hvcBoLaW5uZXIucHJvdG8aHGNvbmZsdWVudC90eXBlL2RlY2ltYWwucHJvdG8aFmdvb2dsZS90eXBlL2RhdGUucHJvdG8iBwoFRmlyc3QiawoFT3V0ZXIS"
    "GgoFaW5uZXIYASABKAsyCy5zaG9wLklubmVyEiYKBXByaWNlGAIgASgLMhcuY29uZmx1ZW50LnR5cGUuRGVjaW1hbBIeCgNkYXkYAyABKAsyES5nb29nbGUudHlwZS5EYXRlYgZwcm90bzM=",
    bytes.fromhex("000000000c02020a02080512080a02fb2e100418021a0708e80f1002181d"),
    bytes.fromhex("000000000b04000208ffffffffffffffffff01"),
)


def test_messages_of_confluents_serializer(registry: SchemaRegistry) -> None:
    inner, outer, of_outer, of_b = CONFLUENT
    registry.add(inner, first=11, kind="PROTOBUF", subject="inner.proto")
    registry.add(outer, kind="PROTOBUF", references=[{"name": "inner.proto", "subject": "inner.proto", "version": 1}])
    columns = schema(("inner", row(("x", INT))), ("price", decimal(10, 2)), ("day", DATE), ("y", BIGINT))
    assert read(registry, columns, [of_b, of_outer]) == (
        [(None, None, None, -1), ((5,), Decimal("-12.34"), dt.date(2024, 2, 29), None)],
        {},
    )


def test_messages_of_several_schemas_and_places(registry: SchemaRegistry, order: Any) -> None:
    """Those of a file are told by their places; what is wrong with one is said of that alone."""
    deep = Google(file_of(ORDER, "order.proto")).make("shop.Other.Deep")
    n = registry.add(base64_of(ORDER), kind="PROTOBUF")
    avro = registry.add({"type": "record", "name": "r", "fields": []})
    messages = [
        framed(n, order(id=1), b"\x02\x00"), framed(n, deep(id=2), b"\x04\x02\x00"), framed(n, order(), b"\x02\x08"), framed(n, order(), b"\x01"),
        framed(avro, order()), framed(99, order()), b"\0\0", b"x" * 9, framed(n, order(id=3)), framed(n, order(id=4))[:-1],
    ]  # fmt: skip
    rows, refused = read(registry, schema(("id", BIGINT)), messages)
    assert rows == [(1,), (2,), (3,)] and sorted(refused) == [2, 3, 4, 5, 6, 7, 9]
    assert "it has no message at 4" in refused[2] and refused[3] == PLACE
    assert f"schema {avro} of the registry {registry.url} is of type AVRO, not PROTOBUF" == refused[4]
    assert "does not know schema 99" in refused[5] and "shorter" in refused[6] and "first byte is not 0" in refused[7]


def test_values_that_are_none_of_their_columns(registry: SchemaRegistry, order: Any) -> None:
    """They make their message malformed, wherever they are in it."""
    n = registry.add(base64_of(ORDER), kind="PROTOBUF")
    columns = schema(
        ("size", INT), ("day", DATE), ("clock", TIME6), ("price", decimal(4, 2)), ("at", timestamp_ltz(3)),
        ("lines", array(row(("paid", array(DATE))))), ("id", SMALLINT),
    )  # fmt: skip
    cases = {
        "size": order(size=2**31), "day": order(day={"year": 2023, "month": 2, "day": 29}), "clock": order(clock={"hours": 24}),
        "price": order(price={"value": b"\x27\x10", "scale": 2}), "at": order(at={"nanos": -1}),
        "lines": order(lines=[{}, {"paid": [{"year": 1, "month": 1, "day": 1}, {"year": 1}]}]), "id": order(id=-32769),
    }  # fmt: skip
    good = order(id=-32768, size=-(2**31), price={"value": b"\x27\x0f", "scale": 2})
    messages = [m for wrong in cases.values() for m in (framed(n, good), framed(n, wrong))]
    rows, refused = read(registry, columns, messages)
    assert rows == [(-(2**31), None, None, Decimal("99.99"), None, None, -32768)] * len(cases)
    assert {i: r.partition(":")[0] for i, r in refused.items()} == {
        2 * i + 1: f"field {c}" for i, c in enumerate(cases)
    }
    for column, reason in (
        (("note", INT), "column note is INT, and the message's field is string"),
        (("at", BIGINT), "column at is BIGINT, and the message's field is message google.protobuf.Timestamp"),
        (("lines", STRING), r"column lines is STRING, and the message's field is repeated shop.Order.Line"),
    ):
        assert reason in read(registry, schema(column), [framed(n, order())])[1][0]
    rows, refused = read(
        registry, schema(("note", STRING.null(False))), [framed(n, order()), framed(n, order(note=""))]
    )
    assert rows == [("",)] and refused == {0: "field note is NULL but its column is NOT NULL"}


def test_maps_of_messages(registry: SchemaRegistry) -> None:
    """Their keys may be what no map of Protobuf has; of one key the last value counts, and an entry without one is malformed."""
    text = """package: 'shop' syntax: 'proto3' dependency: 'google/type/date.proto' message_type { name: 'M'
        field { name: 'm' number: 1 type_name: 'Entry' label: LABEL_REPEATED } field { name: 'n' number: 2 type_name: 'Plain' label: LABEL_REPEATED }
        nested_type { name: 'Entry' field { name: 'key' number: 1 type_name: 'google.type.Date' label: LABEL_OPTIONAL }
                      field { name: 'value' number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL } }
        nested_type { name: 'Plain' field { name: 'value' number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
                      field { name: 'key' number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL } } }"""
    message, n = Google(file_of(text, "m.proto")).make("shop.M"), registry.add(base64_of(text), kind="PROTOBUF")
    one, two = ({"year": 2000, "month": 1, "day": d} for d in (1, 2))
    messages = [
        message(m=[{"key": one, "value": 1}, {"key": two, "value": 2}, {"key": one, "value": 3}], n=[{"key": 1}, {"key": 1, "value": "x"}]),
        message(m=[{"key": one}, {"value": 2}]), message(m=[{"key": {"year": 1}}]), message(), message(m=[{"key": two, "value": 4}]),
    ]  # fmt: skip
    columns = schema(("m", map_of(DATE, INT)), ("n", map_of(SMALLINT, STRING)))
    rows, refused = read(registry, columns, [framed(n, m) for m in messages])
    first, second = dt.date(2000, 1, 1), dt.date(2000, 1, 2)
    assert rows == [({second: 2, first: 3}, {1: "x"}), (None, None), ({second: 4}, None)]
    assert refused == dict.fromkeys((1, 2), "field m: a value is no MAP<DATE, INT>")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(10**38) + 1, 10**38 - 1), st.integers(0, 38)), min_size=1, max_size=5),
    st.integers(0, 10),
)
def test_decimals(values: list[tuple[int, int]], scale: int) -> None:
    """As Java's BigDecimal has them: rounded half up to the column's scale, and NULL of none."""
    from sqlstream.formats.confluent import proto_values
    from sqlstream.formats.confluent.proto_known import DECIMAL, physical

    t, given_type = decimal(38, scale), physical(DECIMAL)
    data = [{"f0": v.to_bytes((v.bit_length() // 8) + 1, "big", signed=True), "f1": 38, "f2": s} for v, s in values]
    found, wrong = proto_values.read(pa.array([*data, None], given_type.arrow()), given_type, t)
    expected: list[Decimal | None] = []
    for v, s in values:
        unit = 10 ** max(s - scale, 0)
        whole = (abs(v) * 10 ** max(scale - s, 0) + unit // 2) // unit
        whole = -whole if v < 0 else whole
        expected.append(
            Decimal((int(v < 0), tuple(map(int, str(abs(whole)))), -scale)) if abs(whole) < 10**38 else None
        )
    assert found.to_pylist() == [*expected, None]
    assert (wrong is not None and wrong.tolist() or [False] * (len(data) + 1)) == [x is None for x in expected] + [
        False
    ]
    back = proto_values.write(found, t, given_type)
    assert [x and int.from_bytes(x["f0"], "big", signed=True) for x in back.to_pylist()] == [
        None if x is None else int(x.scaleb(scale, _wide())) for x in found.to_pylist()
    ]


def _wide() -> Any:
    from decimal import Context

    return Context(prec=80)


# ---- schemas that import others

INNER = "name: 'inner.proto' package: 'shop' syntax: 'proto3' message_type { name: 'Inner' field { name: 'x' number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL } }"
OUTER = """name: 'outer.proto' package: 'shop' syntax: 'proto3' dependency: 'inner.proto' message_type { name: 'Outer'
    field { name: 'inner' number: 1 type: TYPE_MESSAGE type_name: '.shop.Inner' label: LABEL_OPTIONAL } }"""
TEXTS = (
    'syntax = "proto3"; package shop; message Inner { int32 x = 1; }',
    'syntax = "proto3"; package shop; import "inner.proto"; import "google/protobuf/wrappers.proto"; import "confluent/meta.proto";\n'
    'message Outer { Inner inner = 1 [(confluent.field_meta).doc = "x"]; google.protobuf.StringValue s = 2; }',
)


@pytest.mark.parametrize("forms", ["base64", "text", "both"])
def test_imports(registry: SchemaRegistry, forms: str) -> None:
    if forms != "base64":
        pytest.importorskip("grpc_tools")
    inner = registry.add(
        base64_of(INNER) if forms == "base64" else TEXTS[0] if forms == "text" else base64_of(INNER),
        kind="PROTOBUF",
        subject="i n",
    )
    references = [{"name": "inner.proto", "subject": "i n", "version": 1}]
    outer = registry.add(base64_of(OUTER) if forms == "base64" else TEXTS[1], kind="PROTOBUF", references=references)
    message = Google(file_of(INNER), file_of(OUTER)).make("shop.Outer")(inner={"x": 5})
    columns = schema(("inner", row(("x", INT))))
    assert read(registry, columns, [framed(outer, message)]) == ([((5,),)], {}) and outer != inner
    assert registry.asked == [
        f"GET /schemas/ids/{outer}?format=serialized", "GET /subjects/i%20n/versions/1?deleted=true&format=serialized",
    ]  # fmt: skip


def test_text_that_cannot_be_read(registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    n = registry.add('syntax = "proto3"; message X { int32 x = }', kind="PROTOBUF")
    evil = registry.add("import 'x';", kind="PROTOBUF", references=[{"name": "../../x", "subject": "s", "version": 1}])
    registry.add("message Y {}", kind="PROTOBUF", subject="s")
    pytest.importorskip("grpc_tools")
    message = b"\0" + struct.pack(">I", n) + b"\0"
    reason = read(registry, schema(("x", INT)), [message])[1][0]
    assert (
        f"schema {n} of the registry {registry.url} cannot be read: protoc does not understand it: sqlstream-main.proto:1:"
        in reason
    )
    assert (
        "imports '../../x', which is no name of a file"
        in read(registry, schema(("x", INT)), [b"\0" + struct.pack(">I", evil) + b"\0"])[1][0]
    )
    monkeypatch.setattr(proto_files.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    reason = read(registry, schema(("x", INT)), [message])[1][0]
    assert "there is no protoc here that compiles it: pip install" in reason


# ---- writing

ALL = schema(
    ("id", BIGINT.null(False)), ("name", STRING), ("small", SMALLINT), ("ok", BOOLEAN), ("f", FLOAT.null(False)), ("d", DOUBLE), ("data", BYTES_TYPE),
    ("price", decimal(10, 2)), ("day", DATE), ("clock", TIME6), ("at", timestamp(6)), ("seen", timestamp_ltz(3)), ("r", row(("x", INT), ("at", timestamp(3)))),
    ("rows", array(row(("x", INT.null(False))))), ("tags", array(STRING)), ("m", map_of(STRING, DATE)), ("mr", map_of(INT, row(("x", INT)))),
    ("odd", map_of(DATE, INT)), ("grid", array(array(INT))),
)  # fmt: skip
TEXT = """syntax = "proto3";
import "google/protobuf/timestamp.proto";
import "google/type/date.proto";
import "google/type/timeofday.proto";
import "confluent/type/decimal.proto";

message Row {
  int64 id = 1;
  optional string name = 2;
  optional int32 small = 3;
  optional bool ok = 4;
  float f = 5;
  optional double d = 6;
  optional bytes data = 7;
  .confluent.type.Decimal price = 8;
  .google.type.Date day = 9;
  .google.type.TimeOfDay clock = 10;
  .google.protobuf.Timestamp at = 11;
  .google.protobuf.Timestamp seen = 12;
  r_Row r = 13;
  repeated rows_Row rows = 14;
  repeated string tags = 15;
  map<string, .google.type.Date> m = 16;
  map<int32, mr_Row> mr = 17;
  repeated odd_Entry odd = 18;
  repeated grid_Value grid = 19;
  message r_Row {
    optional int32 x = 1;
    .google.protobuf.Timestamp at = 2;
  }
  message rows_Row {
    int32 x = 1;
  }
  message mr_Row {
    optional int32 x = 1;
  }
  message odd_Entry {
    .google.type.Date key = 1;
    optional int32 value = 2;
  }
  message grid_Value {
    repeated int32 value = 1;
  }
}
"""
UTC = dt.UTC
ROWS: list[tuple[Any, ...]] = [
    (1, "ü", -5, False, 0.5, 0.0, b"", Decimal("-12.34"), dt.date(1969, 12, 31), dt.time(1, 2, 3, 4), dt.datetime(1960, 1, 2, 3, 4, 5, 6),
     dt.datetime(2024, 1, 1, tzinfo=UTC), (7, dt.datetime(2024, 1, 1)), [(1,), (0,)], ["a", ""], {"k": dt.date(2024, 2, 29)}, {3: (4,)},
     {dt.date(2000, 1, 1): 2}, [[1, 2], [3]]),
    (0, *[None] * 3, 0.0, *[None] * 14),
]  # fmt: skip


def outside(value: Any, t: Type) -> Any:
    """As Arrow is given it."""
    if value is None:
        return None
    if t.kind == "ROW":
        return {f.name: outside(v, f.type) for f, v in zip(t.fields, value, strict=True)}
    if t.kind == "ARRAY":
        return [outside(v, t.element) for v in value]
    if t.kind == "MAP":
        return [(k, outside(v, t.element)) for k, v in value.items()]
    return value


def test_the_message_of_columns(registry: SchemaRegistry) -> None:
    """Its text is what protoc takes for the same message, by which Google's library reads what was written; and it is read again."""
    assert derived(ALL, "t").text == TEXT
    rows = [tuple(outside(v, c.type) for v, c in zip(r, ALL, strict=True)) for r in ROWS]
    messages = written(registry, ALL, rows)
    assert registry.schemas == [TEXT] and registry.more == [{"schemaType": "PROTOBUF"}]
    assert [m[:6] for m in messages] == [b"\0\0\0\0\x01\0"] * 2
    assert messages[1][6:] == b""
    pytest.importorskip("grpc_tools")
    assert read(registry, ALL, [*messages]) == (ROWS, {})
    (file,) = [f for f in proto_files._by_protoc({"x.proto": TEXT}, []) if f.name == "x.proto"]
    found = Google(file).make("Row").FromString(messages[0][6:])
    assert (found.id, found.name, found.small, found.ok, found.HasField("ok"), found.data) == (
        1,
        "ü",
        -5,
        False,
        True,
        b"",
    )
    assert (found.price.value, found.price.precision, found.price.scale) == (b"\xfb\x2e", 10, 2)
    assert (found.at.ToDatetime(), found.seen.ToDatetime()) == (
        dt.datetime(1960, 1, 2, 3, 4, 5, 6),
        dt.datetime(2024, 1, 1),
    )
    assert (found.clock.hours, found.clock.nanos, found.m["k"].day, found.mr[3].x) == (1, 4000, 29, 4)
    assert [list(g.value) for g in found.grid] == [[1, 2], [3]] and found.odd[0].key.year == 2000


_I16, _I32, _I64 = (st.integers(-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (16, 32, 64))
_TEXT, _DATES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.dates()
_MILLIS = st.datetimes().map(lambda x: x.replace(microsecond=x.microsecond // 1000 * 1000))
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "id": _I64, "name": _TEXT, "small": _I16, "ok": st.booleans(), "f": st.floats(width=32, allow_nan=False), "d": st.floats(allow_nan=False),
    "data": st.binary(max_size=5), "price": st.integers(-(10**10) + 1, 10**10 - 1).map(lambda x: Decimal(x).scaleb(-2)), "day": _DATES,
    "clock": st.times(), "at": st.datetimes(), "seen": _MILLIS.map(lambda x: x.replace(tzinfo=UTC)),
    "r": st.tuples(st.none() | _I32, st.none() | _MILLIS), "rows": st.lists(st.tuples(_I32), min_size=1, max_size=3),
    "tags": st.lists(_TEXT, min_size=1, max_size=3), "m": st.dictionaries(_TEXT, _DATES, min_size=1, max_size=3),
    "mr": st.dictionaries(_I32, st.tuples(st.none() | _I32), min_size=1, max_size=3),
    "odd": st.dictionaries(_DATES, st.none() | _I32, min_size=1, max_size=3),
    "grid": st.lists(st.lists(_I32, min_size=1, max_size=3), min_size=1, max_size=3),
}  # fmt: skip
_ROW = st.tuples(*(_VALUES[c.name] if not c.type.nullable else st.none() | _VALUES[c.name] for c in ALL))


@settings(max_examples=40, deadline=None)
@given(st.lists(_ROW, min_size=1, max_size=3))
def test_random_rows_come_back(kept: SchemaRegistry, rows: list[tuple[Any, ...]]) -> None:
    pytest.importorskip("grpc_tools")
    encoded = written(kept, ALL, [tuple(outside(v, c.type) for v, c in zip(r, ALL, strict=True)) for r in rows])
    assert read(kept, ALL, [*encoded]) == (rows, {})


def test_columns_without_a_form() -> None:
    for column, reason in (
        (("two words", INT), "column two words has a name that no field of Protobuf has"),
        (("i", Type("INTERVAL_DAY")), "column i is INTERVAL DAY TO SECOND"),
        (
            ("r", row(("x", Type("MULTISET", fields=STRING_FIELD)))),
            r"column r.x is MULTISET<STRING>, which has no form in Protobuf",
        ),
    ):
        with pytest.raises(NotSupported, match=reason):
            derived(schema(column), "t")


STRING_FIELD = array(STRING).fields


@pytest.fixture
def files(tmp_path: Path) -> Path:
    found = descriptor_pb2.FileDescriptorSet(file=[file_of(INNER), file_of(OUTER), file_of(ORDER, "order.proto")])
    path = tmp_path / "all.desc"
    path.write_bytes(found.SerializeToString())
    return path


def test_a_message_of_a_descriptor_file(registry: SchemaRegistry, files: Path) -> None:
    """Its file is registered, and before it what that imports, by their names, as Confluent's clients do."""
    columns = schema(("inner", row(("x", SMALLINT))))
    messages = written(registry, columns, [({"x": 5},)], message_class_name="shop.Outer", descriptor_file=str(files))
    assert messages == [b"\0\0\0\0\x02\0\x0a\x02\x08\x05"]
    assert registry.asked == [
        "POST /subjects/inner.proto/versions",
        "POST /subjects/inner.proto",
        "POST /subjects/x-value/versions",
    ]
    assert registry.more[1] == {
        "schemaType": "PROTOBUF",
        "references": [{"name": "inner.proto", "subject": "inner.proto", "version": 1}],
    }
    assert [
        file_of(t) == descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(s))
        for t, s in zip((INNER, OUTER), registry.schemas, strict=True)
    ] == [True, True]
    assert read(registry, columns, messages) == ([((5,),)], {})
    deep = written(
        registry,
        schema(("id", INT)),
        [(3,)],
        message_class_name="shop.Other.Deep",
        descriptor_file=str(files),
        subject="deep",
    )
    assert deep == [b"\0\0\0\0\x03\x04\x02\0\x08\x03"]


def test_mistakes_are_explained(files: Path, tmp_path: Path) -> None:
    t = table(schema(("id", BIGINT)))
    for more, error in (
        (
            {"message_class_name": "shop.Order"},
            "option 'protobuf-confluent.message-class-name' without 'protobuf-confluent.descriptor-file'",
        ),
        ({"message_class_name": "shop.Ordr", "descriptor_file": str(files)}, "has no message 'shop.Ordr'"),
        ({"message_class_name": "x", "descriptor_file": str(tmp_path / "no")}, "cannot be read"),
        ({"url": "x"}, "is no URL"),
    ):
        with pytest.raises(OptionError, match=error):
            FORMAT.check(t, options(None, **more))
    with pytest.raises(BindError, match="column id is BIGINT, and the message's field is int32"):
        FORMAT.encoder(t, options(None, message_class_name="shop.Order", descriptor_file=str(files)))
    with pytest.raises(OptionError, match="option 'protobuf-confluent.subject' is missing"):
        FORMAT.encoder(t, options(None, subject=None))
    lonely = tmp_path / "lonely.desc"
    lonely.write_bytes(descriptor_pb2.FileDescriptorSet(file=[file_of(OUTER)]).SerializeToString())
    with pytest.raises(OptionError, match="has no file 'inner.proto', which others import"):
        FORMAT.check(t, options(None, message_class_name="shop.Outer", descriptor_file=str(lonely)))
