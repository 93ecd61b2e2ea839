"""Avro records both ways: bytes of Avro's specification, and random schemas and values beside fastavro."""

from __future__ import annotations

import datetime as dt
import io
import json
import struct
from dataclasses import replace
from decimal import Decimal
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from connector_cases import schema, table
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlstream.contracts import ScanColumn
from sqlstream.errors import DataError, NotSupported
from sqlstream.formats.avro.decoder import RecordReader, Wants
from sqlstream.formats.avro.encode_program import Unfit
from sqlstream.formats.avro.encoder import RecordWriter
from sqlstream.formats.avro.flink import schema_of, text_of
from sqlstream.formats.avro.format import program
from sqlstream.formats.avro.schema import SchemaError, parse
from sqlstream.formats.messages import Texts
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    SMALLINT,
    STRING,
    TINYINT,
    Column,
    Field,
    Schema,
    Type,
    array,
    decimal,
    map_of,
    row,
    timestamp,
    timestamp_ltz,
)

UTC = dt.UTC
TIME3 = Type("TIME", 3)


def plain(value: Any, t: Type) -> Any:
    """A value of Arrow's as fastavro has it: rows by their names, maps as dictionaries."""
    if value is None:
        return None
    if t.kind == "ROW":
        return {f.name: plain(v, f.type) for f, v in zip(t.fields, value.values(), strict=True)}
    if t.kind == "ARRAY":
        return [plain(v, t.element) for v in value]
    if t.kind == "MAP":
        return {k: plain(v, t.element) for k, v in value}
    return value


def decoded(messages: list[bytes], writer: Any, columns: Schema) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """The rows, and why other messages are malformed."""
    wants = Wants.of([ScanColumn((c.name,), c.type) for c in columns])
    texts = Texts.of(messages)
    arrays, _, reasons = RecordReader(parse(json.dumps(writer)), wants).read(texts.buffer, *texts.places())
    for a in arrays:
        a.validate(full=True)
    rows = zip(*(a.to_pylist() for a in arrays), strict=True) if arrays else []
    return [{c.name: plain(v, c.type) for c, v in zip(columns, r, strict=True)} for r in rows], reasons


def encoded(rows: list[dict[str, Any]], target: Any, columns: Schema) -> list[bytes]:
    arrays = [pa.array([pairs(r[c.name], c.type) for r in rows], c.type.arrow_outside()) for c in columns]
    writer = RecordWriter(program(parse(json.dumps(target)), table(columns)), "t")
    return list(writer.texts(arrays, len(rows)).array().to_pylist())


def pairs(value: Any, t: Type) -> Any:
    """As Arrow is given it: maps as pairs."""
    if value is None:
        return None
    if t.kind == "ROW":
        return {f.name: pairs(value[f.name], f.type) for f in t.fields}
    if t.kind == "ARRAY":
        return [pairs(v, t.element) for v in value]
    if t.kind == "MAP":
        return [(k, pairs(v, t.element)) for k, v in value.items()]
    return value


def by_fastavro(rows: list[dict[str, Any]], writer: Any) -> list[bytes]:
    parsed, out = fastavro.parse_schema(writer), []
    for r in rows:
        one = io.BytesIO()
        fastavro.schemaless_writer(one, parsed, r)
        out.append(one.getvalue())
    return out


def record(**fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": "r", "fields": [{"name": n, "type": t} for n, t in fields.items()]}


def long(n: int) -> str:
    """A number that is not negative, zigzag, seven bits a byte, as hexadecimal."""
    n, out = 2 * n, bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n]).hex()


# ---- the specification


@pytest.mark.parametrize(
    ("writer", "t", "value", "data"),
    [
        ("long", BIGINT, 0, "00"), ("long", BIGINT, -1, "01"), ("long", BIGINT, 1, "02"), ("long", BIGINT, -64, "7f"),
        ("long", BIGINT, 64, "8001"), ("long", BIGINT, 2**63 - 1, "feffffffffffffffff01"), ("long", BIGINT, -(2**63), "ffffffffffffffffff01"),
        ("int", INT, -(2**31), "ffffffff0f"), ("int", TINYINT, -128, "ff01"), ("int", BIGINT, 7, "0e"), ("int", DOUBLE, 7.0, "0e"),
        ("string", STRING, "foo", "06666f6f"), ("bytes", STRING, "foo", "06666f6f"), ("string", BYTES_TYPE, b"foo", "06666f6f"),
        ("boolean", BOOLEAN, True, "01"), ("float", FLOAT, 1.5, "0000c03f"), ("float", DOUBLE, 1.5, "0000c03f"),
        ("double", DOUBLE, -0.1, struct.pack("<d", -0.1).hex()),
        (["null", "string"], STRING, None, "00"), (["null", "string"], STRING, "a", "020261"), (["string", "null"], STRING, None, "02"),
        ({"type": "array", "items": "long"}, array(BIGINT), [3, 27], "04063600"),
        ({"type": "array", "items": "long"}, array(BIGINT), [3, 27], "0304063600"),  # a block that says how many bytes it has
        ({"type": "array", "items": "long"}, array(BIGINT), [3, 27, 1], "0406360202" + "00"),
        ({"type": "array", "items": "long"}, array(BIGINT), [], "00"),
        ({"type": "map", "values": "long"}, map_of(STRING, BIGINT), {"a": 1}, "0202610200"),
        ({"type": "enum", "name": "e", "symbols": ["A", "B"]}, STRING, "B", "02"),
        ({"type": "fixed", "name": "f", "size": 2}, BYTES_TYPE, b"\x00\xff", "00ff"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, decimal(4, 2), Decimal("-1.28"), "0280"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, decimal(4, 2), Decimal("1.28"), "040080"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, decimal(6, 4), Decimal("1.2800"), "040080"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 3}, decimal(4, 2), Decimal("-1.29"), "04fafb"),
        ({"type": "fixed", "name": "f", "size": 3, "logicalType": "decimal", "precision": 6, "scale": 0}, decimal(38, 0), Decimal(-2), "fffffe"),
        ({"type": "int", "logicalType": "date"}, DATE, dt.date(1969, 12, 31), "01"),
        ({"type": "int", "logicalType": "time-millis"}, TIME3, dt.time(0, 0, 1, 1000), "d20f"),
        ({"type": "long", "logicalType": "time-micros"}, TIME3, dt.time(0, 0, 0, 1000), "d20f"),
        ({"type": "long", "logicalType": "timestamp-millis"}, timestamp(3), dt.datetime(1969, 12, 31, 23, 59, 59, 999000), "01"),
        ({"type": "long", "logicalType": "timestamp-millis"}, timestamp_ltz(3), dt.datetime(1970, 1, 1, tzinfo=UTC), "00"),
        ({"type": "long", "logicalType": "timestamp-micros"}, timestamp(3), dt.datetime(1969, 12, 31, 23, 59, 59, 999000), "01"),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, timestamp(6), dt.datetime(1970, 1, 1, 0, 0, 0, 64), "8001"),
        ({"type": "long", "logicalType": "timestamp-nanos"}, timestamp(6), dt.datetime(1969, 12, 31, 23, 59, 59, 999999), "01"),
        (["int", "double"], DOUBLE, 7.0, "000e"), (["int", "double"], DOUBLE, 2.0, "02" + struct.pack("<d", 2.0).hex()),
        (["null", "int", "string"], STRING, "a", "040261"), (["null", "int", "string"], STRING, None, "00"), (["null", "int", "string"], INT, 7, "020e"),
        ([{"type": "enum", "name": "e", "symbols": ["A", "B"]}, "string"], STRING, "B", "0002"),
        ([{"type": "enum", "name": "e", "symbols": ["A", "B"]}, "string"], STRING, "z", "02027a"),
        ("long", FLOAT, float(2**60 + 2**37), long(2**60 + 2**36 + 1)),  # rounded once
        ("long", timestamp(3), dt.datetime(1970, 1, 1, 0, 0, 0, 1000), "02"), ("long", timestamp(6), dt.datetime(1970, 1, 1, 0, 0, 0, 1), "02"),
        (record(a="long", b="string"), row(("b", STRING), ("a", BIGINT)), {"b": "foo", "a": 27}, "3606666f6f"),
        (record(a="long", b="string"), row(("b", STRING), ("c", BIGINT)), {"b": "foo", "c": None}, "3606666f6f"),
    ],
    ids=str,
)  # fmt: skip
def test_bytes_of_the_specification(writer: Any, t: Type, value: Any, data: str) -> None:
    columns = schema(("x", t))
    assert decoded([bytes.fromhex(data)], record(x=writer), columns) == ([{"x": value}], {})


def test_flinks_schema_of_a_table() -> None:
    """flink-avro's AvroSchemaConverter, by its documentation of data types."""
    columns = schema(
        ("a", BIGINT.null(False)), ("b", STRING), ("c", timestamp(3)), ("d", decimal(10, 2)), ("e", row(("f", TINYINT), ("g", row(("h", DATE))))),
        ("i", array(TIME3.null(False))), ("j", map_of(STRING, BYTES_TYPE)),
    )  # fmt: skip
    made = schema_of(columns, True, "t")

    def optional(name: str, t: Any) -> dict[str, Any]:
        return {"name": name, "type": ["null", t], "default": None}

    inner = {"type": "record", "name": "record_e_g", "fields": [optional("h", {"type": "int", "logicalType": "date"})]}
    assert made == {
        "type": "record", "name": "record", "namespace": "org.apache.flink.avro.generated",
        "fields": [
            {"name": "a", "type": "long"}, optional("b", "string"), optional("c", {"type": "long", "logicalType": "timestamp-millis"}),
            optional("d", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}),
            optional("e", {"type": "record", "name": "record_e", "fields": [optional("f", "int"), optional("g", inner)]}),
            optional("i", {"type": "array", "items": {"type": "int", "logicalType": "time-millis"}}),
            optional("j", {"type": "map", "values": ["null", "bytes"]}),
        ],
    }  # fmt: skip
    fastavro.parse_schema(json.loads(text_of(made)))
    for t in (timestamp(6), timestamp_ltz(3), Type("TIME", 6), map_of(INT, INT)):
        with pytest.raises(NotSupported, match="table t: column x: Avro has no form for"):
            schema_of(schema(("x", t)), True, "t")
    logical = [("timestamp", "millis", 3), ("timestamp", "micros", 6)]
    for kind, unit, p in logical:
        fields = schema_of(schema(("x", timestamp(p)), ("y", timestamp_ltz(p))), False, "t")["fields"]
        assert [f["type"][1]["logicalType"] for f in fields] == [f"local-{kind}-{unit}", f"{kind}-{unit}"]


# ---- beside fastavro

_STAMPS = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31))
_MILLIS = _STAMPS.map(lambda x: x.replace(microsecond=x.microsecond // 1000 * 1000))
LEAVES: dict[Type, Any] = {
    BOOLEAN: st.booleans(),
    **{t: st.integers(-(2**b), 2**b - 1) for t, b in ((TINYINT, 7), (SMALLINT, 15), (INT, 31), (BIGINT, 63))},
    FLOAT: st.floats(width=32, allow_nan=False),
    DOUBLE: st.floats(allow_nan=False),
    STRING: st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    BYTES_TYPE: st.binary(max_size=20),
    DATE: st.dates(),
    TIME3: st.times().map(lambda x: x.replace(microsecond=x.microsecond // 1000 * 1000)),
    timestamp(3): _MILLIS,
    timestamp(6): _STAMPS,
    timestamp_ltz(3): _MILLIS.map(lambda x: x.replace(tzinfo=UTC)),
    timestamp_ltz(6): _STAMPS.map(lambda x: x.replace(tzinfo=UTC)),
    **{
        decimal(p, s): st.integers(-(10**p) + 1, 10**p - 1).map(lambda n, s=s: Decimal((n < 0, tuple(map(int, str(abs(n)))), -s)))
        for p, s in ((1, 0), (5, 2), (18, 18), (38, 10))
    },
}  # fmt: skip


def _nullable(types: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    return st.tuples(types, st.booleans()).map(lambda p: p[0].null(p[1]))


TYPES = st.recursive(
    _nullable(st.sampled_from(list(LEAVES))),
    lambda inner: _nullable(
        st.one_of(
            inner.map(array),
            inner.map(lambda t: map_of(STRING.null(False), t)),
            st.lists(inner, min_size=1, max_size=3).map(
                lambda ts: Type("ROW", fields=tuple(Field(f"f{i}", t) for i, t in enumerate(ts)))
            ),
        )
    ),
    max_leaves=5,
)


def values(t: Type) -> st.SearchStrategy[Any]:
    if t.kind == "ROW":
        found: Any = st.fixed_dictionaries({f.name: values(f.type) for f in t.fields})
    elif t.kind == "ARRAY":
        found = st.lists(values(t.element), max_size=3)
    elif t.kind == "MAP":
        found = st.dictionaries(st.text(max_size=3).filter(lambda s: s.isascii()), values(t.element), max_size=3)
    else:
        found = LEAVES[t.null()]
    return st.none() | found if t.nullable else found


@st.composite
def tables(draw: Any) -> tuple[Schema, list[dict[str, Any]]]:
    types = draw(st.lists(TYPES, min_size=1, max_size=4))
    columns = Schema(tuple(Column(f"c{i}", t) for i, t in enumerate(types)))
    return columns, draw(
        st.lists(st.fixed_dictionaries({c.name: values(c.type) for c in columns}), min_size=1, max_size=4)
    )


@settings(max_examples=150, deadline=None)
@given(tables())
def test_random_tables(made: tuple[Schema, list[dict[str, Any]]]) -> None:
    """What fastavro writes is read, and what is written it reads, and are the same bytes."""
    columns, rows = made
    target = schema_of(columns, False, "t")
    messages = by_fastavro(rows, target)
    assert decoded(messages, target, columns) == (rows, {})
    assert encoded(rows, target, columns) == messages


BRANCHES: dict[Any, tuple[Any, st.SearchStrategy[Any]]] = {
    "null": ("null", st.none()), "int": ("int", st.integers(-(2**31), 2**31 - 1)), "long": ("long", st.integers(-(2**63), 2**63 - 1)),
    "float": ("float", st.floats(width=32, allow_nan=False)), "double": ("double", st.floats(allow_nan=False)),
    "string": ("string", st.text(st.characters(exclude_categories=["Cs"]), max_size=4)), "bytes": ("bytes", st.binary(max_size=4)),
    "e": ({"type": "enum", "name": "e", "symbols": ["A", "B"]}, st.sampled_from(["A", "B"])),
    "e2": ({"type": "enum", "name": "e2", "symbols": ["B", "C", "A"]}, st.sampled_from(["A", "B", "C"])),
    "f": ({"type": "fixed", "name": "f", "size": 3}, st.binary(min_size=3, max_size=3)), "boolean": ("boolean", st.booleans()),
}  # fmt: skip
# What Avro's resolution of schemas reads as a column, and texts of enums.
FITS: list[tuple[Type, set[str], Any]] = [
    (DOUBLE, {"int", "long", "float", "double"}, float), (FLOAT, {"int", "long", "float"}, np.float32), (BIGINT, {"int", "long"}, int),
    (STRING, {"string", "e", "e2"}, str), (BYTES_TYPE, {"bytes", "f"}, bytes), (BOOLEAN, {"boolean"}, bool),
]  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(BRANCHES)), min_size=2, max_size=5, unique=True), st.sampled_from(FITS), st.data()
)
def test_branches_of_unions(names: list[str], reader: tuple[Type, set[str], Any], data: Any) -> None:
    """Each value as its own branch says, also in lists; that of a branch which is none of the column's is malformed, and no other."""
    t, fit, made = reader
    picked = data.draw(st.lists(st.integers(0, len(names) - 1), min_size=1, max_size=6))
    values = [(names[i], data.draw(BRANCHES[names[i]][1])) for i in picked]
    writer = record(x=[BRANCHES[n][0] for n in names], l={"type": "array", "items": [BRANCHES[n][0] for n in names]})
    if {"e", "e2", "f"} & set(names):  # a name is said once
        writer["fields"][1]["type"]["items"] = [n if n in ("e", "e2", "f") else BRANCHES[n][0] for n in names]
    rows = [{"x": (n, v), "l": [(n, v), (n, v)]} for n, v in values]
    messages = by_fastavro(rows, writer)
    good = fit | {"null"}
    found, reasons = decoded(messages, writer, schema(("x", t), ("l", array(t))))
    expected = [None if v is None else made(v) for n, v in values if n in good]
    if t is FLOAT:
        expected = [None if v is None else float(v) for v in expected]
    allowed = {"string", "bytes"} if t.kind in ("STRING", "VARCHAR", "VARBINARY") else set()
    if not allowed & set(names) - fit:
        assert found == [{"x": v, "l": [v, v]} for v in expected]
        assert sorted(reasons) == [i for i, (n, _) in enumerate(values) if n not in good]


def test_unions_are_written_as_the_branch_that_fits() -> None:
    """As fastavro and Avro's own writer find it by a value's class."""
    e = {"type": "enum", "name": "e", "symbols": ["A"]}
    for branches, t, value, branch in [
        (["int", "double"], DOUBLE, 1.0, "double"), (["long", "int"], INT, 7, "int"), (["int", "long"], BIGINT, 7, "long"),
        (["null", "int", "string"], STRING, "a", "string"), (["null", "int", "string"], INT, None, "null"), ([e, "string"], STRING, "A", "string"),
        (["double", "float"], FLOAT, 0.5, "float"), ([{"type": "fixed", "name": "f", "size": 1}, "bytes"], BYTES_TYPE, b"ab", "bytes"),
        (["null", "double", {"type": "array", "items": ["string", "long"]}], array(BIGINT), [3], "array"),
    ]:  # fmt: skip
        columns, writer = schema(("x", t)), record(x=branches)
        names = [b if isinstance(b, str) else b.get("name", b["type"]) for b in branches]
        messages = encoded([{"x": value}], writer, columns)
        assert messages[0][0] == 2 * names.index(branch)
        assert decoded(messages, writer, columns) == ([{"x": value}], {})
    with pytest.raises(Unfit, match="field x is int, and the column is DOUBLE"):
        encoded([{"x": 1.0}], record(x=["int", "string"]), schema(("x", DOUBLE)))


# Fields of a writer that nobody wants.
EXTRA: list[tuple[Any, Any]] = [
    ("null", None), ("boolean", True), ("long", -(2**60)), ("float", 1.0), ("double", 2.0), ("bytes", b"xyz"), ("string", "é"),
    (["string", "null", "int"], 5), ({"type": "fixed", "name": "x5", "size": 5}, b"12345"), ({"type": "enum", "name": "e9", "symbols": ["Q"]}, "Q"),
    ({"type": "array", "items": {"type": "map", "values": "string"}}, [{"a": "b"}, {}]), ({"type": "array", "items": "null"}, [None] * 200),
    ({"type": "record", "name": "tree", "fields": [{"name": "v", "type": "int"}, {"name": "of", "type": {"type": "array", "items": "tree"}}]},
     {"v": 1, "of": [{"v": 2, "of": []}, {"v": 3, "of": [{"v": 4, "of": []}]}]}),
    ({"type": "record", "name": "chain", "fields": [{"name": "next", "type": ["null", "chain"]}]}, {"next": {"next": None}}),
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    tables(),
    st.lists(st.sampled_from(EXTRA), max_size=6, unique_by=lambda x: str(x[0])),
    st.randoms(use_true_random=False),
)
def test_fields_that_nobody_wants(
    made: tuple[Schema, list[dict[str, Any]]], extra: list[tuple[Any, Any]], rng: Any
) -> None:
    """They stand anywhere among those that are, which come in any order; and columns that the writer has not are NULL."""
    columns, rows = made
    target = schema_of(columns, False, "t")
    more = [{"name": f"x{i}", "type": t} for i, (t, _) in enumerate(extra)]
    target["fields"] += more
    rng.shuffle(target["fields"])
    messages = by_fastavro([{**r, **{f"x{i}": v for i, (_, v) in enumerate(extra)}} for r in rows], target)
    wanted = Schema((*(c for c in columns if rng.random() < 0.7), Column("missing", STRING)))
    expected = [{**{c.name: r[c.name] for c in wanted if c.name in r}, "missing": None} for r in rows]
    assert decoded(messages, target, wanted) == (expected, {})


@settings(max_examples=60, deadline=None)
@given(tables(), st.data())
def test_messages_that_are_cut_or_changed(made: tuple[Schema, list[dict[str, Any]]], data: Any) -> None:
    """They are malformed, or mean something; those beside them stay what they are."""
    columns, rows = made
    target = schema_of(columns, False, "t")
    messages = by_fastavro(rows, target)
    i = data.draw(st.integers(0, len(messages) - 1))
    wrong = bytearray(messages[i])
    if wrong and data.draw(st.booleans()):
        wrong[data.draw(st.integers(0, len(wrong) - 1))] = data.draw(st.integers(0, 255))
    else:
        wrong = wrong[: data.draw(st.integers(0, max(len(wrong) - 1, 0)))]
    if not wrong or not messages[i]:
        return
    messages[i] = bytes(wrong)
    found, reasons = decoded(messages, target, columns)
    assert set(reasons) <= {i} and len(found) + len(reasons) == len(messages)
    if not reasons:
        del found[i]
    assert found == rows[:i] + rows[i + 1 :]


# ---- what is wrong


@pytest.mark.parametrize(
    ("writer", "t", "data", "reason"),
    [
        ("long", BIGINT, "80", "it ends before its values do"),
        ("long", BIGINT, "ff" * 10 + "01", "a number has more than ten bytes"),
        ("string", STRING, "0861", "it ends before its values do"),
        ("string", STRING, "01", "it ends before its values do"),
        (["null", "string"], STRING, "04", "a union has no such branch"),
        (["null", "string"], STRING.null(False), "00", "field x is NULL but its column is NOT NULL"),
        ("long", INT, "80808080" + "20", "field x: the number does not fit INT"),
        ("int", TINYINT, "8002", "field x: the number does not fit TINYINT"),
        ("string", BIGINT, "0261", "field x is string, which is no BIGINT"),
        (["int", "string"], BIGINT, "020261", "field x is string, which is no BIGINT"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 0}, decimal(2, 0), "0264", "field x: the number does not fit DECIMAL(2, 0)"),
        ("bytes", decimal(38, 0), "22" + "01" * 17, "a decimal has more than 16 bytes"),
        ({"type": "enum", "name": "e", "symbols": ["A"]}, STRING, "02", "field x: the number does not fit STRING"),
        ({"type": "array", "items": "null"}, array(INT), "808080808010", "a list is said to be longer than the message"),
        ({"type": "long", "logicalType": "timestamp-millis"}, timestamp(3), "ffffffffffffffffff01", "the number does not fit TIMESTAMP(3)"),
        (record(y="long"), row(("z", BIGINT.null(False))), "02", "has no field x.z, which is NOT NULL"),
        ({"type": "array", "items": "int"}, array(INT), "ffffffffffffffffff01" + "00" + "00", "a list is said to be longer"),
        ({"type": "array", "items": "null"}, array(INT), "808008" * 2 + "00", "a list is said to be longer than the message"),
        ("string", STRING, "feffffffffffffffff01" + "61", "it ends before its values do"),
        ([record(y="int") | {"name": "a"}, record(y="double") | {"name": "b"}], row(("y", DOUBLE)), "02" + "00" * 8, "field x.y is double, which is no DOUBLE, as in another record of its union"),
        (["int", "string"], BIGINT, "020261", "field x is string, which is no BIGINT"),
        ({"type": "int", "logicalType": "date"}, DATE, "feffffff0f", "field x: the number does not fit DATE"),
        ("long", timestamp(6), "feffffffffffffffff01", "the number does not fit TIMESTAMP(6)"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 1}, decimal(2, 0), "0403e3", "does not fit DECIMAL(2, 0)"),
        ({"type": "array", "items": ["null", "int"]}, array(INT.null(False)), "020000", "field x[] is NULL but its column is NOT NULL"),
    ],
    ids=str,
)  # fmt: skip
def test_malformed(writer: Any, t: Type, data: str, reason: str) -> None:
    good, columns = record(x=writer), schema(("x", t))
    rows, reasons = decoded([bytes.fromhex(data)], good, columns)
    assert rows == [] and reason in reasons[0]


def test_values_that_fit_just_so() -> None:
    """99.4 is 99 of two digits, 99.5 is none; a list that has nothing of what is wanted may have NULLs; a record of a union may lack fields."""
    tenths = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 1}
    assert decoded([bytes.fromhex("0403e2")], record(x=tenths), schema(("x", decimal(2, 0)))) == (
        [{"x": Decimal(99)}],
        {},
    )
    other = ["null", {"type": "record", "name": "q", "fields": []}]
    texts = schema(("x", array(STRING)), ("y", row(("z", STRING))))
    writer = record(x={"type": "array", "items": other}, y=record(z=other) | {"name": "w"})
    assert decoded([bytes.fromhex("02000000")], writer, texts)[0] == [{"x": [None], "y": {"z": None}}]
    assert "which is no STRING" in decoded([bytes.fromhex("02020000")], writer, texts)[1][0]
    two = [record(a="long", b="long") | {"name": "two"}, record(a="long") | {"name": "one"}]
    rows, reasons = decoded([bytes.fromhex(x) for x in ("000204", "0206", "000802")], record(x=two), schema(("x", row(("a", BIGINT), ("b", BIGINT)))))  # fmt: skip
    assert (rows, reasons) == ([{"x": {"a": 1, "b": 2}}, {"x": {"a": 3, "b": None}}, {"x": {"a": 4, "b": 1}}], {})


def test_records_that_come_often_are_passed_over() -> None:
    """Each has the one before twice: 2 ** 40 fields, of which the writer has said what they are in 40 lines. And a long chain of names."""
    often: list[Any] = [{"type": "record", "name": "r0", "fields": [{"name": "v", "type": "null"}]}]
    for i in range(1, 41):
        of = [{"name": n, "type": ["null", f"r{i - 1}"]} for n in "ab"]
        often.append({"type": "record", "name": f"r{i}", "fields": of})
    writer = record(d=["null", *often], y="long")
    message = bytes([82]) + b"\2" * 40 + b"\0" * 40 + b"\6"
    assert decoded([message], writer, schema(("y", BIGINT))) == ([{"y": 3}], {})
    chain: list[Any] = [{"type": "record", "name": "c0", "fields": []}]
    chain += [
        {"type": "record", "name": f"c{i}", "fields": [{"name": "n", "type": f"c{i - 1}"}]} for i in range(1, 3000)
    ]
    assert decoded([b"\2\6"], record(d=["null", *chain], y="long"), schema(("y", BIGINT))) == ([{"y": 3}], {})


def test_empty_messages() -> None:
    """One that has no byte is cut, unless its schema has nothing; one that is NULL is none."""
    wants = Wants.of([ScanColumn(("x",), BIGINT)])
    texts = Texts.of([b"\2", b"", None, b"\4"])
    reader = RecordReader(parse(json.dumps(record(x="long"))), wants)
    arrays, rows, reasons = reader.read(texts.buffer, *texts.places())
    assert (
        arrays[0].to_pylist() == [1, 2] and rows.tolist() == [0, 2] and reasons == {1: "it ends before its values do"}
    )
    assert decoded([b"", b""], record(), schema(("x", BIGINT))) == ([{"x": None}] * 2, {})


@pytest.mark.parametrize(
    ("writer", "data"),
    [
        ({"type": "array", "items": "int"}, "01" + "ffffffffffffffffff01" + "0200"),  # a block that says that it has less than no bytes
        ({"type": "array", "items": "int"}, "01" + "feffffffffffffffff01" + "0200"),
        ("string", "ffffffffffffffffff01" + "61"), ("bytes", "feffffffffffffffff01"), ("double", "00"),
        ({"type": "fixed", "name": "f", "size": 2**31}, "00"), ({"type": "map", "values": "null"}, "02" + "08" + "61"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_passed_over_does_not_go_beyond_its_message(writer: Any, data: str) -> None:
    found = decoded([bytes.fromhex(data + "02"), b""], record(x=writer, y="long"), schema(("y", BIGINT)))
    assert found == ([], dict.fromkeys((0, 1), "it ends before its values do"))


def test_a_long_chain_is_deep() -> None:
    writer = record(x={"type": "record", "name": "c", "fields": [{"name": "n", "type": ["null", "c"]}]}, y="long")
    columns = schema(("y", BIGINT))
    assert decoded([b"\x02" * 900 + b"\x00\x02"], writer, columns) == ([{"y": 1}], {})
    assert decoded([b"\x02" * 5000 + b"\x00\x02"], writer, columns) == ([], {0: "it is nested too deeply"})


def test_a_column_that_the_writer_has_not() -> None:
    rows, reasons = decoded([b"\x02"], record(x="long"), schema(("y", BIGINT.null(False))))
    assert rows == [] and "has no field y, and its column is NOT NULL" in reasons[0]


def test_text_that_is_no_utf_8() -> None:
    """As Java reads it."""
    assert decoded([b"\x04a\xff"], record(x="string"), schema(("x", STRING))) == ([{"x": "a\ufffd"}], {})


def test_a_key_that_is_there_twice() -> None:
    """The last one counts, as in Java's maps."""
    writer = record(x=["null", {"type": "map", "values": "long"}])
    wants = Wants.of([ScanColumn(("x",), map_of(STRING, BIGINT))])
    messages = by_fastavro([{"x": {"b": 5}}, {"x": None}, {"x": {"a": 7, "b": 8}}], writer)
    twice = b"\x02" + b"\x06" + b"\x02a\x02" + b"\x02b\x04" + b"\x02a\x06" + b"\x00"
    texts = Texts.of([messages[0], twice, *messages[1:]])
    (made,), _, _ = RecordReader(parse(json.dumps(writer)), wants).read(texts.buffer, *texts.places())
    made.validate(full=True)
    assert made.to_pylist() == [[("b", 5)], [("b", 2), ("a", 3)], None, [("a", 7), ("b", 8)]]


def test_paths_into_records() -> None:
    inner = {
        "type": "record",
        "name": "i",
        "fields": [{"name": "p", "type": "long"}, {"name": "q", "type": ["null", "string"]}],
    }
    messages = by_fastavro(
        [{"r": {"p": 1, "q": "a"}, "z": 9}, {"r": None, "z": 8}], record(r=["null", inner], z="long")
    )
    t = row(("q", STRING), ("p", BIGINT))
    for columns, expected in (
        ([(("r", "q"), STRING), (("z",), BIGINT)], [["a", None], [9, 8]]),
        ([(("r", "q"), STRING), (("r", "p"), BIGINT)], [["a", None], [1, None]]),
        ([(("r",), t), (("r", "p"), BIGINT)], [[{"f0": "a", "f1": 1}, None], [1, None]]),
        ([(("r", "no"), STRING)], [[None, None]]),
    ):
        texts = Texts.of(messages)
        reader = RecordReader(
            parse(json.dumps(record(r=["null", inner], z="long"))), Wants.of([ScanColumn(p, x) for p, x in columns])
        )
        arrays, of, _ = reader.read(texts.buffer, *texts.places())
        assert [a.to_pylist() for a in arrays] == expected and of.tolist() == [0, 1]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"type": "record"}',
        '"nothing"',
        '{"type": "array"}',
        '{"type": "record", "name": "r", "fields": [{"name": "x"}]}',
        "7", "[]", '["int", ["int"]]', '{"type": 5}', '{"type": "record", "name": 5, "fields": []}', '{"type": "record", "name": "r", "fields": 5}',
        '{"type": "record", "name": "r", "fields": [5]}', '{"type": "fixed", "name": "f", "size": -1}', '{"type": "fixed", "name": "f", "size": "x"}',
        '{"type": "fixed", "name": "f", "size": 1e99}', '{"type": "enum", "name": "e", "symbols": [1]}', '{"type": "enum", "name": "e", "symbols": "A"}',
        '{"type": "record", "name": "r", "fields": [{"name": "x", "type": "int"}, {"name": "x", "type": "int"}]}',
        '{"type": "bytes", "logicalType": "decimal", "precision": 1000000000, "scale": 1000000000}', "[" * 100_000,
        '{"type": "array", "items": ' * 400 + '"int"' + "}" * 400,
    ],
    ids=lambda x: x[:40],
)  # fmt: skip
def test_no_schema(text: str) -> None:
    with pytest.raises(SchemaError):
        parse(text)


# ---- writing by a schema that is given


def test_a_schema_with_other_forms() -> None:
    columns = schema(
        ("a", STRING),
        ("b", timestamp_ltz(6)),
        ("c", BYTES_TYPE),
        ("d", decimal(4, 2)),
        ("e", INT),
        ("t", Type("TIME", 6)),
    )
    target = {
        "type": "record", "name": "x",
        "fields": [
            {"name": "t", "type": {"type": "long", "logicalType": "time-micros"}},
            {"name": "a", "type": ["null", {"type": "enum", "name": "k", "symbols": ["N", "Y"]}]},
            {"name": "b", "type": [{"type": "long", "logicalType": "timestamp-micros"}, "null"]},
            {"name": "c", "type": ["null", {"type": "fixed", "name": "f", "size": 2}]},
            {"name": "d", "type": {"type": "fixed", "name": "g", "size": 4, "logicalType": "decimal", "precision": 4, "scale": 2}},
            {"name": "e", "type": ["string", "long", "null"]},
        ],
    }  # fmt: skip
    at = dt.datetime(2024, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
    rows = [{"a": "Y", "b": at, "c": b"ab", "d": Decimal("-3.10"), "e": 7, "t": dt.time(1, 2, 3, 4)},
            {"a": None, "b": None, "c": None, "d": Decimal("99.99"), "e": None, "t": dt.time(0)}]  # fmt: skip
    messages = encoded(rows, target, columns)
    read = [fastavro.schemaless_reader(io.BytesIO(m), fastavro.parse_schema(target), None) for m in messages]
    assert read == rows
    for wrong, error in (({"a": "Z"}, "column a: 'Z' is none of N, Y"), ({"c": b"abc"}, "column c has 3 bytes, and the schema wants 2"),
                         ({"d": None}, "column d is NULL, and the schema has no null for it")):  # fmt: skip
        with pytest.raises(DataError, match=error):
            encoded([{**rows[0], **wrong}], target, columns)
    for other in (
        schema(("a", STRING)),
        schema(*((c.name, BOOLEAN) for c in columns)),
        replace(columns, columns=columns.columns[:-1]),
    ):
        with pytest.raises(Unfit):
            encoded([], target, other)


def test_schemas_that_do_not_hold_what_is_written() -> None:
    small = {"type": "fixed", "name": "g", "size": 2, "logicalType": "decimal", "precision": 6, "scale": 0}
    with pytest.raises(Unfit, match=r"field x is fixed of 2 bytes, which do not hold DECIMAL\(6, 0\)"):
        encoded([], record(x=small), schema(("x", decimal(6, 0))))


def test_lists_may_be_deep() -> None:
    t, target, value = INT, "int", 7
    for _ in range(70):
        t, target, value = array(t), {"type": "array", "items": ["null", target]}, [value]  # type: ignore[assignment]
    columns, writer, rows = schema(("x", t)), record(x=["null", target]), [{"x": value}]
    assert decoded(encoded(rows, writer, columns), writer, columns) == (rows, {})


def test_many_rows_and_long_ones() -> None:
    """Buffers grow, and messages go on where one had no room."""
    columns = schema(("n", BIGINT), ("x", array(STRING)))
    rows = [{"n": i, "x": ["y" * (i % 7)] * (i % 50)} for i in range(3000)] + [{"n": -1, "x": ["z" * 100_000] * 20}]
    target = schema_of(columns, True, "t")
    messages = by_fastavro(rows, target)
    assert encoded(rows, target, columns) == messages
    assert decoded(messages, target, columns) == (rows, {})
    assert np.all(np.array([len(m) for m in messages]) > 0)
