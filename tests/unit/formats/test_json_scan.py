"""Blocks by the scanner and by DuckDB alone: the same rows, or the same error; and what the scanner is there for, it takes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sqlstream.connectors.block_decoder import BlockDecoder, ToolPool
from sqlstream.connectors.blocks import PADDING
from sqlstream.contracts import ScanColumn, ScanRequest, TableContext
from sqlstream.errors import DataError
from sqlstream.formats.debezium_json import DebeziumJsonFormat
from sqlstream.formats.json import JsonFormat
from sqlstream.formats.json_scan.plan import ScanPlan
from sqlstream.formats.json_scan.recipe import JsonRecipe
from sqlstream.formats.json_scan.scanner import LineScanner
from sqlstream.formats.scan.doubles import TENS
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    STRING,
    TIME,
    Column,
    Schema,
    Type,
    array,
    decimal,
    map_of,
    row,
    timestamp,
    timestamp_ltz,
)  # fmt: skip

PLAIN = {"json.fail-on-missing-field": False, "json.timestamp-format.standard": "SQL"}
ISO = PLAIN | {"json.timestamp-format.standard": "ISO-8601"}


def request_of(*columns: tuple[str, Type], derived: tuple[tuple[str, str], ...] = ()) -> ScanRequest:
    return ScanRequest(tuple(ScanColumn(tuple(path.split(".")), t) for path, t in columns), derived)


def decoder_of(request: ScanRequest, options: dict[str, Any] = PLAIN, skips: bool = False) -> BlockDecoder:
    decoder = JsonFormat().decoder(TableContext("t", Schema(()), {}), request, options)
    return BlockDecoder(decoder, request, {}, "f.json", "json", skips, ToolPool(), keeps=skips)


def plan_of(request: ScanRequest, options: dict[str, Any] = PLAIN) -> ScanPlan:
    recipe = decoder_of(request, options).decoder.scanned()
    assert isinstance(recipe, JsonRecipe)
    return recipe.plan


class Ways:
    """Decodes blocks by both ways."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._set = monkeypatch.setenv

    def one(self, way: str, request: ScanRequest, blocks: list[bytes], options: dict[str, Any], skips: bool) -> Any:
        self._set("SQLSTREAM_SCANNER", way)
        decoder, out, line = decoder_of(request, options, skips), [], 1
        for block in blocks:
            try:
                batch = decoder.decode(block, line)
            except DataError as e:
                return [*out, str(e)], decoder
            line += decoder.lines
            if batch is not None:
                batch.validate(full=True)
                assert batch.schema.equals(request.arrow_schema()) or request.derived
            out.append((None if batch is None else [tuple(map(repr, r.values())) for r in batch.to_pylist()], line))
            out.append(decoder.take_bad())
        return [*out, decoder.skipped], decoder

    def agree(
        self, request: ScanRequest, lines: list[Any], options: dict[str, Any] = PLAIN, skips: bool = False
    ) -> int:
        """How many lines the scanner has taken in place."""
        data = b"\n".join(x.encode() if isinstance(x, str) else x for x in lines) + b"\n"
        scanned, by_scanner = self.one("on", request, [data], options, skips)
        exact, by_statement = self.one("off", request, [data], options, skips)
        assert scanned == exact
        assert by_statement.scanned == 0
        return by_scanner.scanned

    def accept_alike(self, request: ScanRequest, lines: list[Any], options: dict[str, Any] = PLAIN) -> None:
        """What the scanner accepts is well formed, and the same."""
        given = [x.encode() if isinstance(x, str) else x for x in lines]
        plan = plan_of(request, options)
        scanner, fine, values = LineScanner(plan), list[bytes](), list[Any]()
        for line in given:
            scanned = scanner.scan(*padded(line + b"\n"))
            assert scanned is not None
            if not len(scanned.unusual):
                fine.append(line)
                values += [tuple(map(repr, r.values())) for r in scanned.batch.to_pylist()]
        ((found, _), bad, _), _ = self.one("off", request, [b"\n".join(fine) + b"\n"], options, skips=True)
        if not plan.raw:  # else what is raw may still be malformed
            assert not bad
            assert (found or []) == values
        self.agree(request, given, options, skips=True)


def padded(data: bytes, behind: bytes = b"") -> tuple[np.ndarray, int, int]:
    return np.frombuffer(data + (behind + bytes(PADDING))[:PADDING], np.uint8).copy(), 0, len(data)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch)


NUMBERS = [
    "0", "1", "-1", "12", "127", "-128", "128", "32768", "2147483647", "2147483648", "-2147483648", "-2147483649",
    "12345678", "123456789", "999999999999999999", "1234567890123456789", "9223372036854775807", "-9223372036854775807",
    "-9223372036854775808", "9223372036854775808", "99999999999999999999", "18446744073709551616", "-0", "0.0", "-0.0", "1.0",
    "1.5", "-1.50", "0.1", "0.30000000000000004", "123456.789", "1.005", "1.004", "99999999.994", "99999999.995", "0.000001",
    "0.00012345678901234567", "12345678901234.5678", "1.2345678901234567", "0.123456789012345678901", "1e3", "1E+3", "1e-3",
    "1.5e2", "1e22", "1e23", "8.5e22", "9007199254740993", "9007199254740992.5", "1e308", "1.7976931348623157e308", "1e309",
    "5e-324", "2.2250738585072014e-308", "1e-400", "16777217", "3.4028235e38", "3.5e38", "1e-45", "1e100", "1e-100",
    "01", "1.", ".5", "+1", "--1", "1e", "1e+", "0x10", "NaN", "nul", "1 ", "1x", "00", "1.0000000596046448", "true", "[1]",
]  # fmt: skip
TIMES = [
    "2020-01-02 03:04:05", "2020-01-02 03:04:05.1", "2020-01-02 03:04:05.123", "2020-01-02 03:04:05.123456",
    "2020-01-02 03:04:05.1234567", "2020-01-02 03:04:05.123456789", "2020-01-02 03:04:05.1234567891", "2020-01-02 03:04:05.",
    "1969-12-31 23:59:59.999999", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999", "2020-02-29 00:00:00",
    "2021-02-29 00:00:00", "1900-02-29 00:00:00", "2000-02-29 00:00:00", "2020-13-01 00:00:00", "2020-00-01 00:00:00",
    "2020-01-32 00:00:00", "2020-04-31 00:00:00", "2020-01-01 24:00:00", "2020-01-01 00:60:00", "2020-01-01 00:00:60",
    "2020-01-01T00:00:00", "2020-01-01T00:00", "2020-01-01T00:00:00.5Z", "2020-01-01 00:00:00Z", "2020-01-01 00:00:00.25Z",
    "2020-01-01 00:00:00+02", "2020-01-01 00:00:00+02:00", "2020-01-01 00:00:00.5-14:30", "2020-01-01 00:00:00+15:00",
    "2020-01-01 00:00:00+02:60", "2020-01-01T00:00:00+00:00", "2020-01-01", "20-01-01 00:00:00", "2020-1-1 0:0:0", "", "x",
    "2020/01/01 00:00:00", "2020-01-01 00:00:00 ", "2020-01-0a 00:00:00", "2020-01-01 00:0a:00",
    "\\u0000", "03:04:05", "03:04:05.5", "23:59:59.999999", "03:60:00", "03:04:5", "12:34:56.1234567", "9999-12-31",
    "2020-02-30", "1970-01-01", "1600-03-01",
]  # fmt: skip
STRINGS = [
    '""', '"a"', '"plain text"', '"with \\"quote"', '"\\\\"', '"\\\\\\\\\\""', '"tab\\t"', '"\\u0041"', '"\\u00e9"',
    '"\\u6771"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ude00"', '"\\u0000"', '"\\u001f"', '"\\x"', '"é"', '"東京 данные"', '"😀"',
    '"a/b\\/c"', '"' + "x" * 70 + '"', '"' + "y" * 63 + '\\\\"', '"' + "\\\\" * 40 + '"', '"' + "z" * 31 + '"', '"' + "é" * 40 + '"',
    '"\\b\\f\\n\\r"', "'x'", '"\\u12"', '"\\uD83D\\u0041"', '"\\uFFFF"', '"\x7f"', '"\t"', "1", "-5", "1.50", "-0", "true", "false", "null",
    "[1, 2]", '{"q" : 1.0}', "123456789012345678901", '"' + "ab\\n" * 30 + '"', '"' + "€" * 11 + '"', '"' + "\\u20ac" * 12 + '"',
]  # fmt: skip
NESTED = [
    "{}", "[]", '[1,2,{"a":[]}]', '{"x":1}', '{"x":{"y":{"z":[{}]}}}', "[[[]]]", "[1,]", "{,}", '{"a":1,}', "[1 2]", '{"a" 1}',
    "[" * 70 + "]" * 70, "[" * 50 + "]" * 50, '[{"s":"\\\\\\""}]', "[null,true,false,-1.5e3]", "[tru]", "[01]", '["\\q"]', '["\x01"]',
    '{"k\\u0041":1}', '{"x":1}}', "[1]]", "[", '{"x":', "undefined", "", '"a" ', "/*c*/1", '[ 1 , "a" ]', '{ "x" : 1 , "y" : [ ] }',
]  # fmt: skip
CASES = [
    *((Type(kind), NUMBERS) for kind in ("TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "BOOLEAN")),
    *((decimal(p, s), NUMBERS) for p, s in ((10, 2), (18, 0), (18, 18), (19, 3), (38, 0), (38, 18), (38, 30))),
    *((t(p), TIMES) for t in (timestamp, timestamp_ltz) for p in (0, 3, 6)),
    (DATE, TIMES), (TIME, TIMES), (Type("TIME", 3), TIMES), (Type("TIME", 6), TIMES),
    (STRING, [*STRINGS, *NUMBERS]), (Type("VARCHAR", 3), STRINGS), (BOOLEAN, ["true", '"true"', '"TRUE"', "1", "tru", "truE"]),
    (row(("x", INT), ("y", row(("z", array(STRING))))), NESTED),
    (BYTES_TYPE, ['"AQI="', '"AQI"', "5"]), (array(INT), NESTED), (map_of(STRING, decimal(30, 10)), NESTED),
]  # fmt: skip


@pytest.mark.parametrize("options", [PLAIN, ISO], ids=["SQL", "ISO"])
@pytest.mark.parametrize(("t", "values"), CASES, ids=lambda x: str(x) if isinstance(x, Type) else "")
def test_each_value(ways: Ways, t: Type, values: list[str], options: dict[str, Any]) -> None:
    """As itself and in quotes, of a column and of a field that nobody wants."""
    texts = (
        [f'"{v}"' for v in values] if values is TIMES else [*values, *(f'"{v}"' for v in NUMBERS if values is NUMBERS)]
    )
    lines = [f'{{"a":{text},"b":7}}' for text in texts]
    ways.accept_alike(request_of(("a", t), ("b", INT)), lines, options)
    if options is PLAIN:
        ways.accept_alike(request_of(("b", INT)), lines, options)


LINES = [
    "", " ", "\t", "\r", "null", "7", "[]", "{}", '{"a":1}', ' {"a":1}', '{"a":1} ', '{"a":1}\r', '{ "a" : 1 , "b" : 2 }', '{"a":1,"a":2}',
    '{"b":1,"b":2}', '{"A":1}', '{"a":1}{"a":2}', '{"a":1} x', '{"a":1', '{"a":1,}', '{,"a":1}', '{"a" 1}', '{"a":}', '{"a":1 "b":2}',
    '{"\\u0061":7}', '{"a\\"":7,"a":1}', b'\xff{"a":1}', b'{"a":1,"x":"\xff"}', b'{"a":1,"x":"\xc0\x80"}', b'{"a":1,"x":"\xed\xa0\x80"}',
    b'{"a":1,"\xc3\xa9":"\xf0\x9f\x98\x80"}', b'{"a":1,"x":"\xf5\x80\x80\x80"}', b'{"a":1,"x":"\x00"}', b'{"a":1}\x00', b'\x0b', b'{"a"\r:1}',
    '{"a":null,"o":null}', '{"o":{"x":5}}', '{"o":5}', '{"o":{"x":1,"x":2}}', '{"o":{"x":1},"o":{"x":2}}', '{"o":{}}', '{"o":[]}',
    '{"o":{"x":1}', '{"p":{"a":1,"b":{"c":[1,2]}},"a":3}', '{"' + "k" * 1100 + '":1,"a":2}', '{"' + "k" * 80 + '":1,"a":2}', '{"":1,"a":2}',
]  # fmt: skip


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("missing", [False, True])
def test_each_line_alone_and_among_others(ways: Ways, missing: bool, skips: bool) -> None:
    options = PLAIN | {"json.fail-on-missing-field": missing}
    request = request_of(("a", BIGINT), ("o.x", INT))
    usual = ['{"a":1,"b":2,"o":{"x":3}}'] * 20
    ways.accept_alike(request, LINES, options)
    ways.agree(request, [x for line in LINES for x in (line, *usual)], options, skips=True)
    for line in LINES[:: 1 if skips else 7]:
        ways.agree(request, [*usual, line, *usual], options, skips)


def test_not_null(ways: Ways) -> None:
    request = request_of(("a", BIGINT.null(False)), ("o.x", INT.null(False)))
    for line in ('{"a":1,"o":{"x":1}}', '{"a":null}', '{"o":{"x":1}}', '{"a":1}', '{"a":1,"o":{"x":null}}'):
        ways.agree(request, [line, '{"a":1}'])
    assert ways.agree(request, ['{"a":1,"o":null}'] * 10) == 10


def test_usual_lines_are_taken_in_place(ways: Ways) -> None:
    types = (
        ("i", INT), ("l", BIGINT), ("s", STRING), ("t", timestamp(3)), ("z", timestamp_ltz(6)), ("d", DOUBLE), ("f", FLOAT),
        ("b", BOOLEAN), ("c", decimal(12, 2)), ("w", decimal(38, 18)), ("y", DATE), ("h", Type("TIME", 3)), ("o.x", BIGINT),
        ("o.p", row(("q", DOUBLE), ("r", STRING))),
    )  # fmt: skip
    rnd = random.Random(1)

    def line(n: int) -> str:
        value = {
            "i": n, "l": n * 10**9, "s": "é\n" * (n % 9) + "text", "t": f"2020-01-02 03:{n % 60:02d}:05.{n:03d}",
            "z": f"2020-01-02 03:04:05.{n}Z", "d": rnd.uniform(-1, 1) * 10 ** rnd.randrange(-8, 20), "f": n / 8, "b": n % 2 == 0,
            "c": n / 100, "w": n + 0.5, "y": f"19{n % 100:02d}-02-03", "h": "01:02:03.5", "other": {"a": [n, {"b": "x"}]},
            "o": {"x": n, "p": {"q": n / 4, "r": "s" * n}},
        }  # fmt: skip
        keys = list(value)
        if n % 10 == 0:
            rnd.shuffle(keys)
        return json.dumps(
            {k: value[k] for k in keys if rnd.random() > 0.02}, separators=((",", ":") if n % 3 else (", ", ": "))
        )

    lines = [line(n) for n in range(1, 500)]
    assert ways.agree(request_of(*types), lines) == 499
    assert ways.agree(request_of(("o.p", row(("q", DOUBLE))), ("i", INT), ("i", INT.null(False))), lines[1:2]) >= 0


def test_derived_columns_and_no_columns(ways: Ways) -> None:
    lines = [f'{{"a":{n}}}' for n in range(100)]
    assert ways.agree(request_of(("a", BIGINT), derived=(("_keep", "c0 > 5"), ("_w", "c0 + 1"))), lines) == 100
    assert ways.agree(request_of(derived=(("_keep", "1 + 1"),)), lines) == 100
    assert (
        ways.agree(request_of(("a", BIGINT), derived=(("_keep", "CAST(c0 AS TINYINT)"),)), [*lines, '{"a":1000}']) == 0
    )


def test_many_keys_and_spellings(ways: Ways) -> None:
    """More keys than are learned, long ones, and wanted ones among them."""
    rnd = random.Random(2)
    wanted = [(f"k{n}", BIGINT) for n in range(0, 300, 7)] + [
        ("o.k1", STRING),
        ("o.q.k1", STRING),
        ("é", INT),
        ("a b", INT),
    ]

    def key() -> str:
        return rnd.choice(
            [f"k{rnd.randrange(3000)}", "x" * rnd.randrange(1, 90), f"k{rnd.randrange(40)}", "é", "a b", "o"]
        )

    def text(depth: int) -> str:
        blank = rnd.choice(["", "", "", " "])
        fields: list[str] = []
        if depth < 0:
            return "{}"
        for k in {key() for _ in range(rnd.randrange(12))}:
            inner = (
                text(depth - 1)
                if k == "o" or (depth and not k.startswith("k") and len(k) > 3)
                else str(rnd.randrange(99))
            )
            fields.append(f'"{k}"{blank}:{blank}{inner if depth or k != "o" else "null"}')
        return "{" + blank + f"{blank},{blank}".join(fields) + "}"

    for _ in range(3):
        assert ways.agree(request_of(*wanted), [text(3) for _ in range(2000)]) > 1900


def test_wide_and_deep(ways: Ways) -> None:
    names = [f"column {n}" for n in range(1500)]
    lines = [json.dumps({name: n for n, name in enumerate(names)}) for _ in range(3)]
    assert ways.agree(request_of(*((name, INT) for name in names)), lines) == 3
    path = ".".join(f"level{n}" for n in range(40))
    inner: Any = 5
    for name in reversed(path.split(".")):
        inner = {"before": [1], name: inner, "behind": "x" * 500}
    assert ways.agree(request_of((path, INT)), [json.dumps(inner)] * 3) == 3


def test_long_lines_and_an_end_without_a_newline(ways: Ways) -> None:
    request = request_of(("a", BIGINT), ("s", STRING))
    lines = [json.dumps({"x": "y" * n, "s": "z\n" * n, "a": n}) for n in (0, 1, 63, 64, 65, 10_000, 300_000)]
    assert ways.agree(request, lines) == 7
    for data in (b'{"a":1}', b'{"a":1}\n\n', b"\n", b" ", b'{"a":1}\r', b'{"a":1', b'{"s":"x'):
        assert ways.one("on", request, [data], PLAIN, False)[0] == ways.one("off", request, [data], PLAIN, False)[0]


def test_a_byte_order_mark_within_a_file(ways: Ways) -> None:
    """Is no blank, and where the first unusual line begins with it that is no beginning of a file."""
    lines = ['{"a":1}', '\ufeff{"a":2}', '{"a":3.0}', '\ufeff{"a":4}']
    ways.agree(request_of(("a", BIGINT)), lines, skips=True)
    ways.agree(request_of(("a", BIGINT)), lines)


def test_zeros_are_no_time(ways: Ways) -> None:
    """Though the minute that is remembered of no line yet is all zeros."""
    ways.accept_alike(
        request_of(("t", timestamp(3))), [b'{"t":"' + bytes(16) + b':00"}', '{"t":"1970-01-01 00:00:01"}']
    )


def test_without_room_a_block_is_left_to_others(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many texts may be as long as a long line."""

    def refused(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("sqlstream.formats.scan.block.Buffers", refused)
    assert ways.agree(request_of(("a", BIGINT), ("s", STRING)), ['{"a":1,"s":"x"}', '{"a":x}', "{}"], skips=True) == 0


def test_what_is_behind_a_block_does_not_matter() -> None:
    plan = plan_of(request_of(("a", BIGINT), ("s", STRING), ("t", timestamp(3)), ("d", DOUBLE)))
    poison = [
        b"9" * PADDING,
        b'"' * PADDING,
        b"\xff" * PADDING,
        b"}\n" * 64,
        b"",
        b':00","a":1}\n' * 11,
        b" " * PADDING,
    ]
    whole = b'{"a":12,"s":"x\\n","t":"2020-01-02 03:04:05.5","d":1.5e5,"x":[{"y":true}],"z":"\xc3\xa9"}'
    for size in range(len(whole) + 1):
        results = []
        for behind in poison:
            scanned = LineScanner(plan).scan(*padded(whole[:size] + b"\n", behind))
            assert scanned is not None
            results.append((scanned.batch.to_pylist(), scanned.unusual.tolist()))
        assert all(r == results[0] for r in results), whole[:size]


def test_blocks_after_one_another(ways: Ways) -> None:
    """What was learned of one block holds for the next, whatever stands there; blocks of unusual lines are left to others."""
    request = request_of(("a", BIGINT), ("s", STRING))
    usual = b"".join(b'{"s":"x%d","b":[],"a":%d}\n' % (n, n) for n in range(1000))
    unusual = b'{"a":1.0,"s":"x"}\n' * 1000
    short = b"{}\n" * 5000
    blocks = [usual, unusual, short, usual[: len(usual) // 2].rpartition(b"\n")[0] + b"\n", unusual + usual, usual]
    scanned, by_scanner = ways.one("on", request, blocks, PLAIN, False)
    assert scanned == ways.one("off", request, blocks, PLAIN, False)[0]
    assert by_scanner.scanned == 1000 + 5000 + blocks[3].count(b"\n") + 1000


def test_columns_of_the_file(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    request = request_of(("$metadata.file", STRING), ("a", INT))
    for way in ("on", "off"):
        monkeypatch.setenv("SQLSTREAM_SCANNER", way)
        decoder = JsonFormat().decoder(TableContext("t", Schema(()), {}), request, PLAIN)
        blocks = BlockDecoder(decoder, request, {"file": "'here'"}, "f", "json", False, ToolPool())
        batch = blocks.decode(b'{"a":1}\n{"a":2}\n', 1)
        assert batch is not None
        assert batch.to_pylist() == [{"c0": "here", "c1": 1}, {"c0": "here", "c1": 2}]


@pytest.mark.parametrize("key", [(), ("id",)])
@pytest.mark.parametrize("wrapped", [False, True])
def test_changes(monkeypatch: pytest.MonkeyPatch, key: tuple[str, ...], wrapped: bool) -> None:
    """Envelopes of debezium-json: their rules hold, and malformed ones are found."""
    columns = (Column("id", BIGINT), Column("name", STRING), Column("w", decimal(10, 2)))
    request = request_of(*((c.name, c.type) for c in columns), derived=(("_keep", "c0 > 1"),))
    options = {"debezium-json.schema-include": wrapped, "debezium-json.timestamp-format.standard": "SQL"}
    decoder = DebeziumJsonFormat().decoder(TableContext("t", Schema(columns), {}, key), request, options)

    def line(n: int) -> str:
        before, after = ({"id": n // m, "name": f"{m} {n}", "w": n / m} for m in (2, 4))
        op = "cudrx"[n % 5 if n % 100 == 99 else n % 4]
        change = {
            "before": before if op in "ud" and n % 90 else None, "after": after if op != "d" else None,
            "source": {"db": "x", "ts_ms": n}, "op": op, "ts_ms": n,
        }  # fmt: skip
        return json.dumps({"schema": {"type": "struct", "fields": []}, "payload": change} if wrapped else change)

    def decoded(way: str, lines: list[str]) -> Any:
        monkeypatch.setenv("SQLSTREAM_SCANNER", way)
        blocks = BlockDecoder(decoder, request, {}, "f", "debezium-json", True, ToolPool(), keeps=True)
        batch = blocks.decode("\n".join([*lines, "null", ""]).encode(), 1)
        assert batch is not None
        return batch.to_pydict(), blocks.take_bad(), blocks.scanned

    good = [line(n) for n in range(1000) if n % 90 and n % 100 != 99]
    (rows, bad, scanned), (exact, exact_bad, _) = (decoded(way, good) for way in ("on", "off"))
    assert (rows, bad) == (exact, exact_bad) == (rows, [])
    assert scanned == len(good)
    every = [line(n) for n in range(1000)]
    assert decoded("on", every)[:2] == decoded("off", every)[:2]
    assert len(decoded("on", every)[1]) > 9


def test_doubles_are_exactly_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLSTREAM_SCANNER", "on")
    rnd = random.Random(3)
    texts = [repr(rnd.uniform(-1, 1) * 10.0 ** rnd.randrange(-280, 280)) for _ in range(20_000)]
    texts += [f"{rnd.randrange(10 ** rnd.randrange(1, 18))}e{rnd.randrange(-99, 99)}" for _ in range(20_000)]
    texts += [f"{2**53 + 2 * n + 1}" for n in range(500)] + [
        f"{rnd.randrange(10**9)}.{rnd.randrange(10**8)}" for _ in range(999)
    ]
    decoder = decoder_of(request_of(("a", DOUBLE)))
    batch = decoder.decode("".join(f'{{"a":{x}}}\n' for x in texts).encode(), 1)
    assert batch is not None
    assert batch.column(0).equals(pa.array([float(x) for x in texts]))
    assert decoder.scanned > 0.98 * len(texts)
    assert TENS.tolist() == [10**n for n in range(19)]


@pytest.mark.parametrize("cpu", ["x86-64", pytest.param("x86-64-v3", marks=pytest.mark.slow)])
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names of processors of that kind")
def test_other_processors(cpu: str) -> None:
    """The same tests of values, by code for a processor that has less."""
    names = ["usual_lines", "each_value", "behind_a_block", "doubles"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", " or ".join(names)],
        env=os.environ | {"NUMBA_CPU_NAME": cpu},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
