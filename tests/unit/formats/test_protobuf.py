"""Protocol Buffers both ways: bytes of the encoding's documentation, and random messages beside Google's library."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from connector_cases import schema, table
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from message_cases import rows_of

from sqlstream.contracts import ScanColumn, ScanRequest, TableContext
from sqlstream.errors import BindError, DataError, OptionError, UserError
from sqlstream.formats.messages import Texts
from sqlstream.formats.protobuf.format import ProtobufFormat
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DOUBLE,
    FLOAT,
    INT,
    STRING,
    TINYINT,
    Schema,
    Type,
    array,
    map_of,
    row,
)

_KINDS = ["double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "bytes", "uint32", "sfixed32", "sfixed64",
          "sint32", "sint64"]  # fmt: skip


def fields(*given: tuple[str, int, str, str]) -> str:
    """(name, number, type, label or what else there is) as text of FieldDescriptorProtos."""
    out = []
    for name, number, kind, more in given:
        t = (
            f"type: TYPE_{kind.upper()}"
            if kind in _KINDS
            else f"type: TYPE_{'ENUM' if kind.endswith('Color') else 'MESSAGE'} type_name: '{kind}'"
        )
        out.append(f"field {{ name: '{name}' number: {number} {t} {more or 'label: LABEL_OPTIONAL'} }}")
    return " ".join(out)


REPEATED = "label: LABEL_REPEATED"
_ENTRY = "nested_type {{ name: '{name}' options {{ map_entry: true }} {fields} }}"


def body(syntax: str) -> str:
    """Messages of all that there is."""
    unpacked = f"{REPEATED} options {{ packed: false }}"
    singles = [(f"a_{k}", i + 1, k, "") for i, k in enumerate(_KINDS)]
    lists = [(f"r_{k}", i + 21, k, REPEATED) for i, k in enumerate(_KINDS)]
    inner = [("id", 1, "int64", ""), ("tags", 2, "string", REPEATED), ("next", 3, ".shop.Inner", "")]
    maps = "".join(
        _ENTRY.format(name=f"{n}Entry", fields=fields(("key", 1, k, ""), ("value", 2, v, "")))
        for n, k, v in (("M", "string", "int32"), ("N", "int64", ".shop.Inner"))
    )
    more = [
        ("color", 41, ".shop.Color", ""), ("colors", 42, ".shop.Color", REPEATED), ("inner", 43, ".shop.Inner", ""),
        ("inners", 44, ".shop.Inner", REPEATED), ("m", 45, ".shop.All.MEntry", REPEATED), ("n", 46, ".shop.All.NEntry", REPEATED),
        ("unpacked", 2000, "sint32", unpacked),
    ]  # fmt: skip
    return f"""name: 'my_shop.proto' package: 'shop' syntax: '{syntax}' options {{ java_package: 'com.shop' }}
        enum_type {{ name: 'Color' value {{ name: 'RED' number: 0 }} value {{ name: 'BLUE' number: 5 }} }}
        message_type {{ name: 'Inner' {fields(*inner)} }}
        message_type {{ name: 'All' {maps} {fields(*singles, *lists, *more)} }}"""


BIG_NUMBERS = """name: 'numbers.proto' package: 'old' syntax: 'proto3'
    enum_type { name: 'Big' value { name: 'NONE' number: 0 } value { name: 'MANY' number: 300 } }
    message_type { name: 'Numbers' field { name: 'big' number: 1 type: TYPE_ENUM type_name: '.old.Big' label: LABEL_OPTIONAL } }"""
PROTO2 = """name: 'old.proto' package: 'old' syntax: 'proto2'
    message_type { name: 'Old'
        field { name: 'must' number: 1 type: TYPE_INT32 label: LABEL_REQUIRED }
        field { name: 'n' number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL default_value: '7' }
        field { name: 's' number: 3 type: TYPE_STRING label: LABEL_OPTIONAL default_value: 'none' }
        field { name: 'f' number: 4 type: TYPE_DOUBLE label: LABEL_OPTIONAL default_value: '-1.5' }
        field { name: 'l' number: 5 type: TYPE_INT32 label: LABEL_REPEATED }
        field { name: 'i' number: 6 type: TYPE_MESSAGE type_name: '.old.Old.In' label: LABEL_OPTIONAL }
        nested_type { name: 'In' field { name: 'x' number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL } } }"""


class Files:
    """A descriptor file, and Google's classes of its messages."""

    def __init__(self, path: Path, *texts: str) -> None:
        files = descriptor_pb2.FileDescriptorSet()
        self.path, pool = path, descriptor_pool.DescriptorPool()
        for t in texts:
            text_format.Parse(t, files.file.add())
            pool.Add(files.file[-1])
        path.write_bytes(files.SerializeToString())
        self._pool = pool

    def make(self, name: str) -> Any:
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("protobuf") / "all.desc", body("proto3"), PROTO2, BIG_NUMBERS)


def described(
    files: Files, columns: Schema, name: str = "shop.All", **more: str
) -> tuple[TableContext, dict[str, Any]]:
    options = {o.key: o.default for o in ProtobufFormat.options}
    options |= {"protobuf.message-class-name": name, "protobuf.descriptor-file": str(files.path)}
    options |= {f"protobuf.{k.replace('_', '-')}": v for k, v in more.items()}
    return table(columns), options


def decoded(
    files: Files, messages: list[bytes], columns: Schema, request: list[ScanColumn] | None = None, **more: Any
) -> tuple[list[tuple[Any, ...]], dict[int, str]]:
    t, options = described(files, columns, **more)
    wanted = request or [ScanColumn((c.name,), c.type) for c in columns]
    return rows_of(ProtobufFormat().decoder(t, ScanRequest(tuple(wanted)), options), wanted, messages)


def encoded(files: Files, rows: list[dict[str, Any]], columns: Schema, **more: Any) -> list[bytes]:
    t, options = described(files, columns, **more)
    arrays = [pa.array([r.get(c.name) for r in rows], c.type.arrow_outside()) for c in columns]
    batch = pa.RecordBatch.from_arrays(arrays, names=list(columns.names))
    return [v or b"" for v in ProtobufFormat().encoder(t, options).messages(batch, None).array().to_pylist()]


INNER = row(("id", BIGINT), ("tags", array(STRING)))
TYPES = {"double": DOUBLE, "float": FLOAT, "bool": BOOLEAN, "string": STRING, "bytes": BYTES_TYPE,
         **{k: BIGINT for k in _KINDS if k.endswith("64")}, **{k: INT for k in _KINDS if k.endswith("32")}}  # fmt: skip
ALL = schema(
    *((f"a_{k}", TYPES[k]) for k in _KINDS), *((f"r_{k}", array(TYPES[k])) for k in _KINDS), ("color", STRING), ("colors", array(STRING)),
    ("inner", INNER), ("inners", array(INNER)), ("m", map_of(STRING, INT)), ("n", map_of(BIGINT, INNER)), ("unpacked", array(INT)),
)  # fmt: skip


# ---- the encoding's documentation


def test_bytes_of_the_documentation(files: Files) -> None:
    """https://protobuf.dev/programming-guides/encoding: 150 is 96 01, "testing" is 07 74 …, and so on."""
    number = lambda n, wire: bytes([n << 3 | wire])  # noqa: E731
    cases = [
        (schema(("a_int64", BIGINT)), number(3, 0) + b"\x96\x01", 150),
        (schema(("a_int32", INT)), number(5, 0) + b"\xfe" + b"\xff" * 8 + b"\x01", -2),
        (schema(("a_string", STRING)), number(9, 2) + b"\x07testing", "testing"),
        (schema(("a_double", DOUBLE)), number(1, 1) + struct.pack("<d", 0.1), 0.1),
        (schema(("a_fixed32", INT)), number(7, 5) + struct.pack("<i", -5), -5),
        (schema(("a_sint64", BIGINT)), number(15, 0) + b"\x03", -2),
        (schema(("a_bool", BOOLEAN)), number(8, 0) + b"\x80\x01", True),
        (schema(("r_int32", array(INT))), b"\xca\x01\x06\x03\x8e\x02\x9e\xa7\x05", [3, 270, 86942]),  # packed, and then not
        (schema(("r_int32", array(INT))), b"\xc8\x01\x03\xc8\x01\x8e\x02", [3, 270]),
        (schema(("a_int64", BIGINT)), number(3, 0) + b"\x01" + number(3, 0) + b"\x02", 2),  # the last one counts
        (schema(("inner", INNER)), b"\xda\x02\x02\x08\x01\xda\x02\x03\x12\x01a\xda\x02\x03\x12\x01b", (1, ["a", "b"])),  # parts are merged
    ]  # fmt: skip
    for columns, data, value in cases:
        for more in (
            b"",
            b"\xa0\x06\x01",
            b"\xa2\x06\x03abc",
            b"\xa3\x06\x08\x01\xa4\x06",
            b"\xa5\x06abcd",
        ):  # fields that nobody knows
            assert decoded(files, [more + data + more], columns) == ([(value,)], {}), (columns, data, more)


# ---- beside Google's library

_I32, _I64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200) | st.text(max_size=3).filter(str.isascii)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **{k: _I64 if k.endswith("64") else _I32 for k in _KINDS if k[-2:] in ("32", "64")},
    "double": st.floats(allow_nan=False), "float": st.floats(width=32, allow_nan=False), "bool": st.booleans(), "string": _TEXT,
    "bytes": st.binary(max_size=200),
}  # fmt: skip
_INNER = st.fixed_dictionaries({}, optional={"id": _I64, "tags": st.lists(_TEXT, max_size=3)})
ROWS = st.fixed_dictionaries(
    {},
    optional={
        **{f"a_{k}": v for k, v in VALUES.items()}, **{f"r_{k}": st.lists(v, max_size=4) for k, v in VALUES.items()},
        "color": st.sampled_from(["RED", "BLUE"]), "colors": st.lists(st.sampled_from(["RED", "BLUE"]), max_size=3), "inner": _INNER,
        "inners": st.lists(_INNER, max_size=3), "m": st.dictionaries(st.text(max_size=3).filter(str.isascii), _I32, max_size=3),
        "n": st.dictionaries(_I64, _INNER, max_size=3), "unpacked": st.lists(_I32, max_size=3),
    },
)  # fmt: skip
NUMBERS = {"RED": 0, "BLUE": 5}


def message_of(files: Files, given: dict[str, Any]) -> Any:
    """Google's message of a row; numbers without a sign are those of the same bits."""
    made = files.make("shop.All")()

    def unsigned(kind: str, v: Any) -> Any:
        return v % 2 ** int(kind[-2:]) if kind in ("uint32", "uint64", "fixed32", "fixed64") else v

    def fill(inner: Any, value: dict[str, Any]) -> None:
        inner.SetInParent()
        if "id" in value:
            inner.id = value["id"]
        inner.tags.extend(value.get("tags", []))

    for name, v in given.items():
        kind = name[2:]
        if name.startswith("a_"):
            setattr(made, name, unsigned(kind, v))
        elif name.startswith("r_") or name == "unpacked":
            getattr(made, name).extend(unsigned(kind, x) for x in v)
        elif name == "color":
            made.color = NUMBERS[v]
        elif name == "colors":
            made.colors.extend(NUMBERS[x] for x in v)
        elif name == "inner":
            fill(made.inner, v)
        elif name == "inners":
            for x in v:
                fill(made.inners.add(), x)
        elif name == "m":
            made.m.update(v)
        else:
            for k, x in v.items():
                fill(made.n[k], x)
    return made


_ZERO = {"BOOLEAN": False, "VARCHAR": "", "VARBINARY": b"", "INT": 0, "BIGINT": 0, "FLOAT": 0.0, "DOUBLE": 0.0}


def expected(given: dict[str, Any], columns: Schema, defaults: bool) -> tuple[Any, ...]:
    """The row by Flink's rules for proto3: what is no message and not repeated is never NULL."""

    def inner(v: dict[str, Any]) -> tuple[Any, ...]:
        return v.get("id", 0), v.get("tags") or ([] if defaults else None)

    out: list[Any] = []
    for c in columns:
        v = given.get(c.name)
        if c.type.kind == "ARRAY":
            v = [inner(x) if c.name == "inners" else x for x in v] if v else [] if defaults else None
        elif c.type.kind == "MAP":
            v = {k: inner(x) if c.name == "n" else x for k, x in v.items()} if v else {} if defaults else None
        elif c.type.kind == "ROW":
            v = inner(v) if v is not None else inner({}) if defaults else None
        elif v is None:
            v = "RED" if c.name == "color" else _ZERO[c.type.kind]
        out.append(v)
    return tuple(out)


@settings(max_examples=150, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=4), st.booleans())
def test_random_messages(files: Files, rows: list[dict[str, Any]], defaults: bool) -> None:
    messages = [message_of(files, r).SerializeToString(deterministic=True) for r in rows]
    found, refused = decoded(files, messages, ALL, read_default_values=defaults)
    assert (found, refused) == ([expected(r, ALL, defaults) for r in rows], {})


def by_name(value: Any, t: Type) -> Any:
    """As Arrow is given it: whole rows, and maps as pairs."""
    if value is None:
        return None
    if t.kind == "ROW":
        return {f.name: by_name(value.get(f.name), f.type) for f in t.fields}
    if t.kind == "ARRAY":
        return [by_name(v, t.element) for v in value]
    if t.kind == "MAP":
        return [(k, by_name(v, t.element)) for k, v in value.items()]
    return value


@settings(max_examples=150, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_random_rows(files: Files, rows: list[dict[str, Any]]) -> None:
    """What is written means to Google's library what was meant."""
    found = encoded(files, [{n: by_name(v, ALL[ALL.names.index(n)].type) for n, v in r.items()} for r in rows], ALL)
    for data, r in zip(found, rows, strict=True):
        read = files.make("shop.All").FromString(data)
        assert read == message_of(files, r)
        assert len(data) == len(message_of(files, r).SerializeToString())


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=3), st.data())
def test_messages_that_are_cut_or_changed(files: Files, rows: list[dict[str, Any]], data: Any) -> None:
    """They are malformed, or mean something, as they do to Google's library; those beside them stay what they are."""
    good = message_of(files, {"a_int32": 7}).SerializeToString()
    wrong = bytearray(message_of(files, rows[0]).SerializeToString()) or bytearray(b"\x08")
    if data.draw(st.booleans()):
        wrong[data.draw(st.integers(0, len(wrong) - 1))] = data.draw(st.integers(0, 255))
    else:
        wrong = wrong[: data.draw(st.integers(1, len(wrong)))]
    found, refused = decoded(files, [good, bytes(wrong), good], ALL)
    assert found[0] == found[-1] == expected({"a_int32": 7}, ALL, False) and set(refused) <= {1}
    assert len(found) + len(refused) == 3


def test_paths_and_nothing(files: Files) -> None:
    messages = [
        message_of(files, r).SerializeToString()
        for r in ({"inner": {"id": 5}}, {"a_int32": 1}, {"inner": {}, "a_int32": 2})
    ]
    columns = schema(("inner", INNER), ("a_int32", INT))
    request = [ScanColumn(("inner", "id"), BIGINT)]
    assert decoded(files, messages, columns, request) == ([(5,), (None,), (0,)], {})
    t, options = described(files, columns)
    nothing = ProtobufFormat().decoder(t, ScanRequest(()), options).messages()
    assert nothing is not None and nothing(Texts.of(messages)).records.num_rows == 3


def test_a_message_without_a_byte_has_all_its_defaults(files: Files) -> None:
    """proto3 writes such a row so; a message that is NULL is none."""
    columns = schema(("a_int32", INT), ("a_string", STRING), ("inner", INNER))
    assert message_of(files, {"a_int32": 0}).SerializeToString() == b""
    t, options = described(files, columns)
    request = ScanRequest(tuple(ScanColumn((c.name,), c.type) for c in columns))
    read = ProtobufFormat().decoder(t, request, options).messages()
    assert read is not None
    found = read(Texts.of([None, b"", b"\x28\x07", b"", None, b""]))
    assert found.records.column(0).to_pylist() == [0, 7, 0, 0] and found.records.column(1).to_pylist() == [""] * 4
    assert found.of.tolist() == [1, 2, 3, 5] and found.refused == []
    assert ProtobufFormat().encoder(t, options).messages(pa.record_batch({"a_int32": [0], "a_string": [""], "inner": pa.array([None], INNER.arrow_outside())}), None).values() == [b""]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("ff" * 10 + "01", "a number has more than ten bytes"),
        ("808080808001" + "00", "it has a field that is none"),  # a number of a field of more than 29 bits
        ("00", "it has a field that is none"), ("07", "it has a field that is none"), ("0c", "it has a field that is none"),
        ("7a" + "ffffffffffffffff7f", "it ends before its values do"), ("fa7f" + "ffffffff0f", "it ends before its values do"),
        ("fb7f" * 200 + "fc7f" * 200, "it is nested too deeply"), ("fb7f", "it ends before its values do"), ("fd7f" + "00", "it ends before its values do"),
        ("da02" + "05" + "1a05", "it ends before its values do"),  # a message within goes beyond its own
    ],
)  # fmt: skip
def test_hostile_bytes(files: Files, data: str, reason: str) -> None:
    columns = schema(("a_string", STRING), ("inner", INNER), ("r_int64", array(BIGINT)))
    found, refused = decoded(files, [bytes.fromhex(data)], columns)
    assert found == [] and reason in refused[0]


@pytest.mark.parametrize(
    "text", [b"\xff", b"ab\xc3", b"x" * 40 + b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]
)
def test_a_string_of_proto3_is_utf8(files: Files, text: bytes) -> None:
    """Java's parser refuses others, wherever they stand; a character does not go on in the field behind it."""

    def of(number: int, data: bytes) -> bytes:
        key = number << 3 | 2
        head = bytes([key]) if key < 128 else bytes([key & 127 | 128, key >> 7])
        return head + bytes([len(data)]) + data

    f = {d.name: d.number for d in files.make("shop.All").DESCRIPTOR.fields}
    behind = of(f["a_string"], "é€😀".encode() * 4)
    columns = schema(("a_string", STRING), ("r_string", array(STRING)), ("inner", INNER), ("m", map_of(STRING, INT)))
    messages = [
        of(f["a_string"], text) + behind,
        of(f["r_string"], text) + behind,
        of(f["inner"], of(2, text)),
        of(f["m"], of(1, text)),
        behind,
    ]
    found, refused = decoded(files, messages, columns)
    assert [r[0] for r in found] == ["é€😀" * 4]
    assert refused == dict.fromkeys(range(4), "a string is not UTF-8")
    for m in messages[:4]:
        with pytest.raises(DecodeError):
            files.make("shop.All").FromString(m)


def test_a_string_of_proto2_may_be_anything(files: Files) -> None:
    """Java reads it with replacement characters."""
    number = files.make("old.Old").DESCRIPTOR.fields_by_name["s"].number
    message = files.make("old.Old")(must=1).SerializeToString() + bytes([number << 3 | 2, 2]) + b"a\xff"
    assert decoded(files, [message], schema(("s", STRING)), name="old.Old") == ([("a\ufffd",)], {})


def test_a_type_may_be_deep(files: Files) -> None:
    """More rows within one another than messages may have."""
    t = row(("id", BIGINT))
    value: dict[str, Any] = {"id": 1}
    for _ in range(60):
        t, value = row(("id", BIGINT), ("next", t)), {"id": 1, "next": value}
    columns = schema(("inner", t))
    (data,) = encoded(files, [{"inner": value}], columns)
    ((found,),), refused = decoded(files, [data], columns)
    assert refused == {}
    for _ in range(60):
        found = found[1]
    assert found == (1,)


# ---- Flink's rules


def test_proto2_has_nulls_and_defaults(files: Files) -> None:
    columns = schema(("n", INT), ("s", STRING), ("f", DOUBLE), ("l", array(INT)), ("i", row(("x", INT))))
    old = files.make("old.Old")
    messages = [old(must=1).SerializeToString(), old(must=1, n=0, s="", i={}).SerializeToString()]
    assert decoded(files, messages, columns, name="old.Old")[0] == [
        (None, None, None, None, None),
        (0, "", None, None, (None,)),
    ]
    assert decoded(files, messages, columns, name="old.Old", read_default_values=True)[0] == [
        (7, "none", -1.5, [], (0,)),
        (0, "", -1.5, [], (0,)),
    ]
    columns = schema(("must", INT), ("n", INT), ("s", STRING))
    written = encoded(files, [{"must": 1, "n": 0, "s": None}], columns, name="old.Old")
    assert written == [old(must=1, n=0).SerializeToString()]
    with pytest.raises(DataError, match="column must is NULL, and the message's field is required"):
        encoded(files, [{"must": None}], columns, name="old.Old")
    strict = schema(("n", INT.null(False)))
    assert decoded(files, messages, strict, name="old.Old") == (
        [(0,)],
        {0: "field n is NULL but its column is NOT NULL"},
    )


def test_enums(files: Files) -> None:
    """As names and as numbers; a number without a name, and a name that there is not."""
    data = b"\xc8\x02\x05"
    assert decoded(files, [data, b"\xc8\x02\x09"], schema(("color", STRING)))[0] == [("BLUE",), ("UNRECOGNIZED",)]
    assert decoded(files, [data], schema(("color", INT)))[0] == [(5,)]
    assert encoded(files, [{"color": "BLUE"}, {"color": "RED"}, {"color": "GREEN"}], schema(("color", STRING))) == [
        data,
        b"",
        b"",
    ]
    assert encoded(files, [{"color": 5}, {"color": 9}], schema(("color", INT))) == [data, b""]


def test_nulls_in_lists_and_maps(files: Files) -> None:
    """Protocol Buffers have none: defaults stand for them, and a literal for texts."""
    columns = schema(
        ("r_string", array(STRING)), ("r_int32", array(INT)), ("inners", array(INNER)), ("m", map_of(STRING, INT))
    )
    given = {
        "r_string": ["a", None],
        "r_int32": [1, None],
        "inners": [None, {"id": 1, "tags": None}],
        "m": [("k", None)],
    }
    (data,) = encoded(files, [given], columns, write_null_string_literal="NULL")
    made = files.make("shop.All").FromString(data)
    assert list(made.r_string) == ["a", "NULL"] and list(made.r_int32) == [1, 0] and dict(made.m) == {"k": 0}
    assert [x.id for x in made.inners] == [0, 1]


def test_a_key_that_is_there_twice(files: Files) -> None:
    one, two = (message_of(files, {"m": {"a": n}}).SerializeToString() for n in (1, 2))
    t, options = described(files, schema(("m", map_of(STRING, INT))))
    read = ProtobufFormat().decoder(t, ScanRequest((ScanColumn(("m",), map_of(STRING, INT)),)), options).messages()
    assert read is not None and read(Texts.of([one + two, one])).records.column(0).to_pylist() == [
        [("a", 2)],
        [("a", 1)],
    ]


@pytest.mark.parametrize("name", ["shop.All", "com.shop.MyShop$All", "old.Old.In", "old.OldOuterClass$Old$In"])
def test_names_of_messages(files: Files, name: str) -> None:
    """Their own, or those of Java's classes."""
    t, options = described(files, schema(("a_int32" if "All" in name else "x", INT)), name=name)
    ProtobufFormat().check(t, options)


@pytest.mark.parametrize(
    ("columns", "more", "kind", "reason"),
    [
        (schema(("a_int", INT)), {}, BindError, "column a_int: message shop.All has no such field"),
        (schema(("a_int64", INT)), {}, BindError, "column a_int64 is INT, and the message's field is int64"),
        (schema(("r_int64", BIGINT)), {}, BindError, "the message's field is repeated int64"),
        (schema(("inner", row(("idd", BIGINT)))), {}, BindError, "column inner.idd: message shop.Inner has no such field"),
        (schema(("inner", STRING)), {}, BindError, "the message's field is message shop.Inner"),
        (schema(("m", array(INT))), {}, BindError, "the message's field is a map"),
        (schema(("big", TINYINT)), {"name": "old.Numbers"}, BindError, "column big is TINYINT, and the message's field is enum"),
        (schema(("a_int64", BIGINT)), {"name": "shop.Al"}, OptionError, "has no message 'shop.Al'"),
        (schema(("a_int64", BIGINT)), {"descriptor_file": "no.desc"}, OptionError, "no.desc cannot be read: No such file"),
        (schema(("a_int64", BIGINT)), {"descriptor_file": __file__}, OptionError, "is no descriptor file"),
    ],
)  # fmt: skip
def test_mistakes(files: Files, columns: Schema, more: dict[str, str], kind: type[UserError], reason: str) -> None:
    t, options = described(files, columns, **more)
    with pytest.raises(kind, match=reason.replace(".", r"\.")) as e:
        ProtobufFormat().check(t, options)
    assert e.value.hint


def test_many_rows_and_long_ones(files: Files) -> None:
    columns = schema(("a_int64", BIGINT), ("inners", array(INNER)))
    rows = [
        {"a_int64": i, "inners": [{"id": j, "tags": ["y" * (i % 9)] * (j % 4)} for j in range(i % 30)]}
        for i in range(1, 2000)
    ]
    rows.append({"a_int64": -1, "inners": [{"id": 0, "tags": ["z" * 100_000] * 10}]})
    messages = encoded(files, rows, columns)
    made = files.make("shop.All").FromString(messages[-1])
    assert made.a_int64 == -1 and len(made.inners[0].tags) == 10
    found, refused = decoded(files, messages, columns)
    assert not refused and len(found) == 2000
    assert found == [expected(r, columns, False) for r in rows]
