"""Random rows of every type, and all its limits, come back equal through the sink and the readers of each format.

What a format cannot hold: csv has no text for an empty BYTES beside NULL, and tells a NULL STRING from '' only by
'csv.null-literal', which then is no value; it has no ROW, ARRAY or MAP. Keys of a MAP in JSON are STRING.
"""

from __future__ import annotations

import datetime as dt
import math
import random
import struct
import tempfile
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from connector_cases import file_table, read, relation, schema, sink_of
from harness.seed import random_of, said

from sqlstream.contracts import SinkTask, TableContext
from sqlstream.formats.registry import FORMATS
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
NULL_LITERAL = "NULL!"
FIRST, LAST = dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999)


def _time(precision: int) -> Type:
    return Type("TIME", precision)


def _floored(precision: int) -> Any:
    step = 10 ** (6 - precision)
    return lambda x: x.replace(microsecond=x.microsecond // step * step)


def _decimals(precision: int, scale: int) -> list[Any]:
    most = 10**precision - 1
    return [Decimal(n).scaleb(-scale, Context(prec=60)) for n in (most, -most, 0, 1, -1, 10 ** (precision - 1))]


_FLOATS = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e7, 9999999.0]
_DOUBLES = [*_FLOATS, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e22, 1e23, 1e-3, 0.1,
            123456789012345680.0]  # fmt: skip
_SINGLES = [*_FLOATS, 1.401298464324817e-45, 1.1754943508222875e-38, 3.4028234663852886e38, 0.10000000149011612]
TEXTS = ["", " ", " a ", '"', '""', 'a"b', '"a" b', ",", "a,b", "\n", "\r", "\r\n", "a\nb", "\\", "\\n", "#", "#a", "null",
         "NULL", "NaN", "\x00", "\x01", "\x1f", "\x7f", "\u2028", "\ufeff", "\U0001f600", "é", "e\u0301", "1", "true", "{}",
         "'", "''", ";", "\t", "a\x00b"]  # fmt: skip
_BEFORE_1970 = dt.datetime(1969, 12, 31, 23, 59, 59, 999999)
_TIMES = [dt.time(0), dt.time(23, 59, 59, 999999), dt.time(1, 2, 3, 40)]
_STAMPS = [FIRST, LAST, _BEFORE_1970, dt.datetime(2024, 2, 29, 1, 2, 3, 100_000)]

EDGES: dict[Type, list[Any]] = {
    BOOLEAN: [True, False],
    **{t: [-(2**b), 2**b - 1, 0] for t, b in ((TINYINT, 7), (SMALLINT, 15), (INT, 31), (BIGINT, 63))},
    FLOAT: _SINGLES,
    DOUBLE: _DOUBLES,
    **{decimal(p, s): _decimals(p, s) for p, s in ((38, 18), (38, 0), (38, 38), (5, 2))},
    STRING: TEXTS,
    BYTES_TYPE: [b"\x00", b"\xff\xfe", bytes(range(256)), b","],
    DATE: [FIRST.date(), LAST.date(), dt.date(1970, 1, 1)],
    **{_time(p): [_floored(p)(x) for x in _TIMES] for p in (0, 3, 6)},
    **{timestamp(p): [_floored(p)(x) for x in _STAMPS] for p in (0, 1, 3, 6)},
    **{timestamp_ltz(p): [_floored(p)(x).replace(tzinfo=UTC) for x in _STAMPS] for p in (0, 3, 6)},
}
for _edges in EDGES.values():
    _edges.append(None)


def text_of(rng: random.Random) -> str:
    """Any of Unicode's characters but surrogates, of every length of UTF-8."""
    most = rng.choice([0x7F, 0x7FF, 0xD7FF, 0x10FFFF])
    codes = (rng.randint(0, most) for _ in range(rng.randint(0, 12)))
    return "".join(chr(c) for c in codes if not 0xD800 <= c <= 0xDFFF)


def value_of(t: Type, rng: random.Random) -> Any:
    """A random value of a type, often one of its edges or NULL: ROW as a dictionary, MAP as pairs."""
    if rng.random() < 0.1:
        return None
    if t.kind == "ROW":
        return {f.name: value_of(f.type, rng) for f in t.fields}
    if t.kind == "ARRAY":
        return [value_of(t.element, rng) for _ in range(rng.randint(0, 3))]
    if t.kind == "MAP":
        keys = [k for _ in range(rng.randint(0, 3)) if (k := value_of(t.fields[0].type, rng)) is not None]
        return [(k, value_of(t.element, rng)) for k in dict.fromkeys(keys)]
    if rng.random() < 0.3:
        return rng.choice(EDGES[t])
    if t.is_integer:
        return rng.randint(min(EDGES[t][:3]), max(EDGES[t][:3]))
    if t.kind == "DECIMAL":
        most = 10 ** rng.randint(1, t.precision or 1) - 1
        return Decimal(rng.randint(-most, most)).scaleb(-(t.scale or 0), Context(prec=60))
    if t.kind == "DOUBLE":
        return struct.unpack("<d", rng.randbytes(8))[0]
    if t.kind == "FLOAT":
        return struct.unpack("<f", rng.randbytes(4))[0]
    if t.kind == "VARCHAR":
        return text_of(rng)
    if t.kind == "VARBINARY":
        return rng.randbytes(rng.randint(1, 9))
    if t.kind == "BOOLEAN":
        return rng.random() < 0.5
    stamp = FIRST + dt.timedelta(microseconds=rng.randrange((LAST - FIRST) // dt.timedelta(microseconds=1)))
    if t.kind == "DATE":
        return stamp.date()
    stamp = _floored(6 if t.precision is None else t.precision)(stamp)
    return stamp.time() if t.kind == "TIME" else stamp.replace(tzinfo=UTC if t.kind == "TIMESTAMP_LTZ" else None)


NESTED = [
    row(("a b", INT), ("ü", decimal(38, 18)), ("q\"'`", STRING), ("t", timestamp_ltz(3)), ("r", row(("x", DOUBLE)))),
    array(STRING),
    array(decimal(38, 18)),
    array(row(("x", BIGINT), ("y", array(DOUBLE)))),
    array(array(BYTES_TYPE)),
    map_of(STRING, INT),
    map_of(STRING, decimal(38, 18)),
    map_of(STRING, row(("x", timestamp(6)), ("y", FLOAT))),
    map_of(STRING, array(map_of(STRING, _time(3)))),
]


def same(a: Any, b: Any) -> bool:
    """Equal as values of the type: NaN is NaN, -0.0 is not 0.0, rows by position."""
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return len(a) == len(b) and all(map(same, a.values(), b.values()))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


def written(columns: Schema, rows: list[list[Any]], place: Path, **options: str) -> TableContext:
    """The table over what its sink has written of the rows."""
    tab = file_table(place, columns, **options)
    sink = sink_of(tab)
    task = SinkTask("j", "r", 0)
    want = columns.arrow_outside()
    arrays = [pa.array([r[i] for r in rows], f.type) for i, f in enumerate(want)]
    kinds = np.zeros(len(rows), np.int8) if sink.changelog else None
    writer = sink.writer(task)
    try:
        writer.write(pa.RecordBatch.from_arrays(arrays, schema=want), kinds)
        sink.committer(task).commit(writer.prepare(1))
    finally:
        writer.close()
    return tab


def comes_back(types: list[Type], rows: list[list[Any]], **options: str) -> None:
    columns = schema(("id", INT), *((f"v{i}", t) for i, t in enumerate(types)))
    rows = [[i, *r] for i, r in enumerate(rows)]
    with tempfile.TemporaryDirectory() as place:
        tab = written(columns, rows, Path(place) / "t", **options)
        for way in (lambda: read(tab)[0], lambda: relation(tab)):
            found = way()
            assert len(found) == len(rows)
            for i, t in enumerate(types, 1):
                for before, after in zip(rows, found, strict=True):
                    assert same(before[i], after[i]), f"{t}: {before[i]!r} came back as {after[i]!r} ({options})"


def random_rows(types: list[Type]) -> list[list[Any]]:
    print(said(""))
    rng = random_of("round trips")
    return [[value_of(t, rng) for t in types] for _ in range(60)]


JSON = [{"format": "json"}, {"format": "json", "json_timestamp__format_standard": "ISO-8601"},
        {"format": "debezium-json"}, {"format": "json", "json_encode_ignore__null__fields": "true"},
        {"format": "canal-json"}, {"format": "maxwell-json"}, {"format": "ogg-json"}]  # fmt: skip
CSV = [{}, {"csv_field__delimiter": ";"}, {"csv_field__delimiter": "\\t"}, {"csv_quote__character": "'"},
       {"csv_escape__character": "\\"}, {"csv_header": "true"}, {"csv_allow__comments": "true"}]  # fmt: skip
FLAT = [*EDGES]
OTHER_KEYS = [map_of(t, STRING) for t in (INT, BIGINT, DATE, decimal(38, 18), timestamp(3), BYTES_TYPE)]


@pytest.mark.parametrize("options", JSON, ids=str)
def test_json(options: dict[str, str]) -> None:
    comes_back([*FLAT, *NESTED], random_rows([*FLAT, *NESTED]), **options)


@pytest.mark.parametrize("options", CSV, ids=str)
@pytest.mark.parametrize("literal", [False, True])
def test_csv(options: dict[str, str], literal: bool) -> None:
    rows = [["" if v is None and t.is_string and not literal else v for v, t in zip(r, FLAT, strict=True)]
            for r in random_rows(FLAT)]  # fmt: skip
    comes_back(FLAT, rows, format="csv", **options, **({"csv_null__literal": NULL_LITERAL} if literal else {}))


def test_parquet() -> None:
    types = [*FLAT, *NESTED, *OTHER_KEYS]
    comes_back(types, random_rows(types), format="parquet")


# Flink's schema has names as Java's, texts for keys, and no times that are more precise.
AVRO = [
    t
    for t in FLAT
    if t.kind not in ("TIME", "TIMESTAMP", "TIMESTAMP_LTZ") or (t.precision or 0) <= (3 if t.kind == "TIME" else 6)
]


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "zstandard"])
def test_avro(codec: str) -> None:
    types = [
        *AVRO,
        array(STRING),
        array(row(("x", BIGINT), ("y", array(DOUBLE)))),
        map_of(STRING, row(("x", timestamp(3)), ("y", FLOAT))),
    ]
    options = {"format": "avro", "avro_codec": codec, "avro.timestamp_mapping.legacy": "false"}
    comes_back(types, random_rows(types), **options)


ALL = [*JSON, *({"format": "csv", "csv_null__literal": NULL_LITERAL, **o} for o in CSV), {"format": "parquet"}]


def test_every_format_is_tried() -> None:
    assert {*(o["format"] for o in ALL), "avro"} == {n for n, f in FORMATS.items() if f.files}


@pytest.mark.parametrize("options", ALL, ids=str)
def test_limits(options: dict[str, str]) -> None:
    """All edges of every type, and NULL."""
    most = max(len(e) for e in EDGES.values())
    comes_back(FLAT, [[EDGES[t][i % len(EDGES[t])] for t in FLAT] for i in range(most)], **options)


@pytest.mark.parametrize("options", [{"format": "json"}, {"format": "csv", "csv_null__literal": NULL_LITERAL}], ids=str)
def test_text_in_a_table_of_one_column(options: dict[str, str], tmp_path: Path) -> None:
    """Also at the start of a file: a byte order mark is one only where a tool has put it."""
    for n, texts in enumerate([TEXTS, *([t] for t in ("\ufeff", "", "\x00", "#", "\ufeffa", "\n"))]):
        tab = written(schema(("v", STRING)), [[t] for t in texts], tmp_path / str(n), **options)
        assert [r[0] for r in read(tab)[0]] == [r[0] for r in relation(tab)] == texts
