"""Blocks of CSV by the scanner and by DuckDB alone: the same rows, or the same error; and what the scanner is there for, it takes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import Any

import pytest

from sqlstream.connectors.block_decoder import BlockDecoder, ToolPool
from sqlstream.contracts import ScanColumn, ScanRequest, TableContext
from sqlstream.errors import DataError
from sqlstream.formats.csv import CsvFormat
from sqlstream.formats.csv_records import CsvSyntax
from sqlstream.formats.scan.loading import OFF, ON, SWITCH
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    STRING,
    Column,
    Schema,
    Type,
    decimal,
    timestamp,
    timestamp_ltz,
)

PLAIN: dict[str, Any] = {
    "csv.field-delimiter": ",", "csv.quote-character": '"', "csv.disable-quote-character": False, "csv.escape-character": "",
    "csv.allow-comments": False, "csv.null-literal": None, "csv.header": False,
}  # fmt: skip
AB = (("a", BIGINT), ("s", STRING))
Columns = tuple[tuple[str, Type], ...]


def decoder_of(columns: Columns, read: tuple[str, ...], skips: bool = False, **options: Any) -> BlockDecoder:
    """`options`: with _ for what is no name in Python."""
    given = PLAIN | {"csv." + k.replace("_", "-"): v for k, v in options.items()}
    types = dict(columns)
    request = ScanRequest(tuple(ScanColumn((n,), types[n]) for n in read))
    table = TableContext("t", Schema(tuple(Column(n, t) for n, t in columns)), {})
    decoder = CsvFormat().decoder(table, request, given)
    return BlockDecoder(decoder, request, {}, "f.csv", "csv", skips, ToolPool(), keeps=skips)


class Ways:
    """Decodes blocks by both ways, each from the beginning of line 1."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._set = monkeypatch.setenv

    def each(self, way: str, blocks: list[bytes], decoder: BlockDecoder) -> list[Any]:
        self._set(SWITCH, way)
        found: list[Any] = []
        for data in blocks:
            skipped = decoder.skipped
            try:
                batch = decoder.decode(data, 1)
            except DataError as e:
                found.append(str(e))
                continue
            if batch is not None:
                batch.validate(full=True)
            rows = None if batch is None else [tuple(map(repr, r.values())) for r in batch.to_pylist()]
            found.append((rows, decoder.lines, decoder.skipped - skipped, decoder.take_bad()))
        return found

    def agree(
        self,
        *blocks: bytes,
        columns: Columns = AB,
        read: tuple[str, ...] | None = None,
        skips: bool = True,
        **options: Any,
    ) -> int:
        """How many records the scanner has taken in place."""
        read = tuple(n for n, _ in columns) if read is None else read
        decoders = [decoder_of(columns, read, skips, **options) for _ in (ON, OFF)]
        scanned, exact = (self.each(way, list(blocks), d) for way, d in zip((ON, OFF), decoders, strict=True))
        for data, one, other in zip(blocks, scanned, exact, strict=True):
            assert one == other, data
        assert decoders[1].scanned == 0
        return decoders[0].scanned


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch)


TYPES = {
    "i": INT, "l": BIGINT, "s": STRING, "t": timestamp(3), "z": timestamp_ltz(6), "d": DOUBLE, "f": FLOAT, "b": BOOLEAN,
    "c": decimal(12, 2), "w": decimal(38, 18), "y": DATE, "h": Type("TIME", 3), "x": BYTES_TYPE,
}  # fmt: skip


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_usual_records_are_taken_in_place(ways: Ways, end: bytes) -> None:
    rnd = random.Random(1)

    def record(n: int) -> bytes:
        text = '"' + 'é, ""\n' * (n % 5) + 'x"' if n % 3 else "plain text " * (n % 4)
        values = [
            f"{n}", f"00{n * 10**9}" if n % 7 else f" {n} ", text, f"2020-01-02 03:{n % 60:02d}:05.{n:03d}", f'"2020-01-02 03:04:05.{n}Z"',
            repr(rnd.uniform(-1, 1) * 10 ** rnd.randrange(-8, 15)), f"{n / 8}", ("true", "FALSE", "True")[n % 3], f"{n / 100}",
            f"+{n}.5", f"19{n % 100:02d}-02-03", "01:02:03.5", "AQI=",
        ]  # fmt: skip
        return ",".join(v if rnd.random() > 0.02 else "" for v in values).encode()

    data = end.join(record(n) for n in range(1, 500))
    columns = tuple(TYPES.items())
    assert ways.agree(data + end, columns=columns) == 499
    assert ways.agree(data, columns=columns) == 499
    for name in TYPES:
        assert ways.agree(data, columns=columns, read=(name,)) == 499
    assert ways.agree(data, columns=columns, read=()) == 499


TEXTS = [
    b"1,a\n", b'1,"a"\n', b'1,"a""b"\n', b'"1","a,b"\n', b'1,"a\nb\r\nc\rd"\n', b'1,"a"  \n', b'1,"a"x\n', b'1,"a"x"b,c"\n', b'1,a"b"c\n',
    b'1, "a"\n', b'1,"a', b'1,"a\n', b'1,"', b'1,""\n', b'1,""""\n', b'"",""\n', b",\n", b"1\n", b"1,a,b\n", b"\n\n1,a\n\n", b"\r\r1,a\r\r\n", b"1,a\r",
    b"1,a\x00b\n", b"1,\xc3\xa9\n", b"1,\xff\n", b'1,"\xff"\n', b"\xff,a\n", b"1,a\xc3\n", b'1,"a\xc3"\n', b"#1,a\n", b"1,#a\n", b'#"\n1,a\n', b"1,a\\,b\n",
    b"1,a\\\nb\n", b"1,a\\\r\nb,c\n", b"1,a\\", b'1,"a\\"b"\n', b'1,"a\\', b"1,\\N\n", b"\\1,a\n", b"1,N/A\n", b"N/A,N/A\n", b'"N/A","N/A"\n', b"1,N\\/A\n",
    b"1,'a'\n", b"1;a\n", b"1\ta\n", b"1 a\n", b"\xef\xbb\xbf1,a\n", b"x,a\n", b"1.,a\n", b"1.0,a\n", b"+-1,a\n", b"+1,a\n", b"1 ,a\n", b"- 1,a\n", b" ,a\n",
    b"1," + b"x" * 300 + b"\n", b'1,"' + b'x""' * 100 + b'"\n', b"1," + b"\xc3\xa9" * 100 + b"\n", b"9223372036854775807,\n", b"9223372036854775808,\n",
]  # fmt: skip
DIALECTS: list[dict[str, Any]] = [
    {}, {"escape_character": "\\"}, {"escape_character": '"'}, {"allow_comments": True}, {"null_literal": "N/A"}, {"null_literal": ""},
    {"null_literal": "1"}, {"disable_quote_character": True}, {"quote_character": "'"}, {"field_delimiter": ";"}, {"field_delimiter": "\\t"},
    {"field_delimiter": " "}, {"field_delimiter": "¦"}, {"allow_comments": True, "quote_character": "#", "escape_character": "\\"},
    {"null_literal": "N/A", "escape_character": "\\"},
]  # fmt: skip


@pytest.mark.parametrize("options", DIALECTS, ids=str)
def test_records_of_each_dialect(ways: Ways, options: dict[str, Any]) -> None:
    """Among usual ones; `test_decoding.py` has them by thousands."""
    among = b"".join(b"7,text\n" * 20 + text for text in TEXTS)
    halves = [b"".join(TEXTS[: len(TEXTS) // 2]), b"".join(TEXTS[len(TEXTS) // 2 :])]
    ways.agree(among, *halves, **options)
    ways.agree(among, *halves, columns=(("s", STRING),), **options)
    ways.agree(among, columns=(("a", INT.null(False)), ("s", STRING.null(False))), **options)


def test_each_record_alone(ways: Ways) -> None:
    ways.agree(*TEXTS, escape_character="\\")
    ways.agree(*TEXTS[::3], skips=False)


def test_nothing_but_plain_fields_of_others_is_passed_over(ways: Ways) -> None:
    """Fields that nobody reads are looked at as strictly: quotes, UTF-8, how many there are."""
    columns = tuple((f"c{n}", STRING) for n in range(9))
    fields = [b"a", b'"b,c"', b"", b'"d\ne"', b'f"g', b"\xc3\xa9", b'"h""i"', b"j" * 70, b"k"]
    usual = b",".join(fields) + b"\n"
    changed = []
    for at in range(9):
        assert ways.agree(usual * 3, columns=columns, read=(f"c{at}",)) == 3
        for wrong in (b'"x', b'"x"y', b"\xc3", b"x,y", b"\xff" * 40, b'"\xed\xa0\x80"'):
            changed.append(usual + b",".join([*fields[:at], wrong, *fields[at + 1 :]]) + b"\n" + usual)
    for read in ((), ("c0",), ("c8",), ("c4",)):
        ways.agree(*changed, columns=columns, read=read)
    assert ways.agree(usual.replace(b",k", b"") * 3, columns=columns, read=("c0",)) == 0


def test_unusual_blocks_are_left_to_others(ways: Ways) -> None:
    assert ways.agree(b"1.0,x\n" * 1000) == 0
    assert ways.agree(b"1,x\n" * 1000 + b"1.0,x\n" * 100) == 1000


def test_lines_are_counted_as_they_stand(ways: Ways) -> None:
    """In quotes, behind an escape, in comments; the malformed record has its own."""
    data = b'1,"a\nb"\n\r\n1,a\\\nb\n1,a\\\r\n#c\n1,"\\\n\\\r\n"\r1,"\n\nx\n'
    for scanner in (ON, OFF):
        decoder = decoder_of(AB, ("a", "s"), skips=True, escape_character="\\", allow_comments=True)
        ((_, _, _, bad),) = ways.each(scanner, [data], decoder)
        assert [b.line for b, _ in bad] == [11]
        assert decoder.lines == 13


def test_a_bad_record_ends_before_a_comment(ways: Ways) -> None:
    data = b"#\xff\n1,a\nx,b\n# about c\n2,c\n#\xff\n"
    for scanner in (ON, OFF):
        ((rows, _, _, bad),) = ways.each(scanner, [data], decoder_of(AB, ("a",), skips=True, allow_comments=True))
        assert (rows, [b.record for b, _ in bad]) == ([("1",), ("2",)], [b"x,b"])
    ways.agree(data, read=(), allow_comments=True)


def test_blocks_are_cut_as_records_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the loop that looks for nothing else, and by the one that all records come from."""
    rnd = random.Random(5)
    for _ in range(1000):
        delimiter, quote = rnd.choice(((",", '"'), (" ", "'"), ("\t", '"'), (",", ""), ('"', "'")))
        syntax = CsvSyntax(delimiter, quote, rnd.choice(("", quote)), False, rnd.choice((1, 3)))
        pieces = [
            "word",
            "x" * 70,
            "\n",
            "\r",
            "\r\n",
            " ",
            delimiter,
            quote,
            quote * 2,
            delimiter + quote,
            quote + delimiter,
        ]
        data = "".join(rnd.choices(pieces, k=rnd.choice((3, 10, 80)))).encode()
        monkeypatch.setenv(SWITCH, ON)
        cut = syntax.whole(data)
        monkeypatch.setenv(SWITCH, OFF)
        assert cut == syntax.whole(data), data


@pytest.mark.parametrize("cpu", ["x86-64", pytest.param("x86-64-v3", marks=pytest.mark.slow)])
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names of processors of that kind")
def test_other_processors(cpu: str) -> None:
    """The same tests of records, by code for a processor that has less."""
    names = ["usual_records", "fields_of_others", "cut"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", " or ".join(names)],
        env=os.environ | {"NUMBA_CPU_NAME": cpu},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
