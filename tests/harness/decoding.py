"""Blocks of records decoded in several ways, which must agree: rows to the last bit, errors to the letter, malformed records and
their places. Where two do not, `smallest` finds the lines, and of them the bytes, that it takes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.csv_shapes import CsvShape
from harness.json_shapes import Shape
from sqlstream.connectors.block_decoder import BlockDecoder, ToolPool
from sqlstream.connectors.blocks import PADDING, Block
from sqlstream.contracts import BadRecord
from sqlstream.errors import SqlStreamError
from sqlstream.formats.scan.loading import SWITCH

AnyShape = Shape | CsvShape
FILE = "lines"
FAULT = "a fault"


@dataclass(frozen=True)
class Outcome:
    """What decoding a block gave."""

    batch: pa.RecordBatch | None = None
    bad: tuple[tuple[BadRecord, int], ...] = ()
    skipped: int = 0
    error: tuple[str, str, str | None] | None = None
    scanned: int = field(default=0, compare=False)  # lines that needed no exact path

    def differs(self, other: Outcome) -> str | None:
        """What of it is another than in `other`, or is wrong whatever that is."""
        if self.error is not None and self.error[0] == FAULT:
            return self.error[1]
        if self.error != other.error:
            return f"error {self.error}\n   but {other.error}"
        if self.skipped != other.skipped:
            return f"{self.skipped} skipped, but {other.skipped}"
        if self.bad != other.bad:
            mine, its = next(
                ((a, b) for a, b in zip(self.bad, other.bad, strict=False) if a != b), (self.bad, other.bad)
            )
            return f"malformed {mine}\n      but {its}"
        return rows_differ(self.batch, other.batch)


def rows_differ(a: pa.RecordBatch | None, b: pa.RecordBatch | None) -> str | None:
    """What is in one batch and not in the other: types, number of rows, or the first value."""
    if a is None or b is None:
        return None if a is b else f"{a and a.num_rows} rows, but {b and b.num_rows}"
    if a.schema != b.schema or str(a.schema) != str(b.schema):
        return f"schema {a.schema}\n   but {b.schema}"
    if a.num_rows != b.num_rows:
        return f"{a.num_rows} rows, but {b.num_rows}"
    for name, x, y in zip(a.schema.names, a.columns, b.columns, strict=True):
        if not same(x, y):
            n = next(n for n in range(len(x)) if not same(x.slice(n, 1), y.slice(n, 1)))
            return f"row {n}, {name}: {x[n].as_py()!r}, but {y[n].as_py()!r}"
    return None


def same(x: pa.Array, y: pa.Array) -> bool:
    """To the bit: NaN is itself, and 0.0 is not -0.0."""
    if pa.types.is_floating(x.type):
        words = pa.int64() if x.type == pa.float64() else pa.int32()
        return bool(x.view(words).equals(y.view(words)))
    if pa.types.is_struct(x.type):
        return bool(x.is_valid().equals(y.is_valid())) and all(map(same, x.flatten(), y.flatten()))
    if pa.types.is_nested(x.type):  # a MAP is a list of pairs
        lists = [a.cast(pa.list_(pa.struct([a.type.key_field, a.type.item_field]))) if pa.types.is_map(a.type) else a
                 for a in (x, y)]  # fmt: skip
        a, b = lists
        return bool(pc.list_value_length(a).equals(pc.list_value_length(b))) and same(a.flatten(), b.flatten())
    return bool(x.equals(y))


class Way:
    """A way to decode blocks. `switch`: with the scanner on or off."""

    def __init__(self, name: str, switch: str | None = None) -> None:
        self.name, self.switch = name, switch

    def decode(self, shape: AnyShape, data: bytes, line: int = 1) -> Outcome:
        with switched(self.switch):
            decoder = blocks(shape)
            return outcome_of(decoder, lambda: self._decoded(decoder, data, line))

    def _decoded(self, decoder: BlockDecoder, data: bytes, line: int) -> pa.RecordBatch | None:
        return decoder.decode(data, line)


class Poisoned(Way):
    """With bytes behind the block that would go on with it."""

    TAILS = (b'9" :1.5e3,}]', b'"', b"\\", b"}\n{}\n", b"0" * 40, b"\xff\xbf", b" \t", b"\n\n", b"e+1")

    def _decoded(self, decoder: BlockDecoder, data: bytes, line: int) -> pa.RecordBatch | None:
        tail = self.TAILS[(len(data) + sum(data[-8:])) % len(self.TAILS)]
        buffer = np.frombuffer(bytearray(data + (tail * PADDING)[:PADDING]), np.uint8)
        return decoder.decode(Block(buffer, 0, len(data)), line)


class OneByOne(Way):
    """Every line as a block of its own."""

    def decode(self, shape: AnyShape, data: bytes, line: int = 1) -> Outcome:
        batches: list[pa.RecordBatch] = []
        bad: list[tuple[BadRecord, int]] = []
        rows = 0
        with switched(self.switch):
            decoder = blocks(shape)
            for n, text in enumerate(data.split(b"\n")):
                one = outcome_of(decoder, lambda text=text, n=n: decoder.decode(text + b"\n", line + n))
                if one.error is not None:
                    return one
                bad += [(record, rows + before) for record, before in one.bad]
                if one.batch is not None:
                    rows += one.batch.num_rows
                    batches.append(one.batch)
            return Outcome(whole(batches, bool(bad)), tuple(bad), decoder.skipped)


class Cut(Way):
    """In blocks of whole records, as they are cut of a file that is read by pieces of some bytes."""

    def decode(self, shape: AnyShape, data: bytes, line: int = 1) -> Outcome:
        batches: list[pa.RecordBatch] = []
        bad: list[tuple[BadRecord, int]] = []
        rows, at, size = 0, 0, 1 + sum(data[-9:]) % 500
        with switched(self.switch):
            decoder, cutting = blocks(shape), shape.decoder()
            while at < len(data):
                piece = data[at : at + size]
                cut = cutting.cut(piece) if at + size < len(data) else len(piece)
                if not cut:
                    size *= 2
                    continue
                one = outcome_of(decoder, lambda piece=piece, cut=cut, line=line: decoder.decode(piece[:cut], line))
                if one.error is not None:
                    return one
                bad += [(record, rows + before) for record, before in one.bad]
                if one.batch is not None:
                    rows += one.batch.num_rows
                    batches.append(one.batch)
                at, line = at + cut, line + decoder.lines
            return Outcome(whole(batches, bool(bad)), tuple(bad), decoder.skipped, scanned=decoder.scanned)


EXACT, ONE_BY_ONE = Way("exact", "off"), OneByOne("one by one", "off")
SCANNER, POISONED, CUT = Way("scanner", "on"), Poisoned("poisoned", "on"), Cut("cut", "on")


class Wrong(Way):
    """The exact way over lines that were changed before: what a decoder would say that has not seen what was changed."""

    def __init__(self, name: str, pattern: bytes, by: bytes) -> None:
        super().__init__(name, "off")
        self._pattern, self._by = re.compile(pattern), by

    def _decoded(self, decoder: BlockDecoder, data: bytes, line: int) -> pa.RecordBatch | None:
        return decoder.decode(self._pattern.sub(self._by, data), line)


WRONG = (
    Wrong("leading zeros", rb":0+(\d)", rb":\1"),
    Wrong("a lone surrogate", rb"\\ud83d(?!\\u)", b"?"),
    Wrong("an escape that is none", rb'\\x"', b'x"'),
    Wrong("text behind the object", rb"\}[^}\n]+(?=\n)", b"}"),
    Wrong("-0.0 is 0.0", rb":-0\.0(?=[,}])", b":0.0"),
    Wrong("decimals as doubles", rb"(\.\d{16})\d+", rb"\1"),
    Wrong("the sixteenth digit", rb"(?<![\d.])([1-9]\d{14})[1-9](?=[,}])", rb"\g<1>0"),
    Wrong("control characters", rb"[\x01-\x08]", b""),
    Wrong("bytes that are no UTF-8", rb"[\xc0\xc1\xf5-\xff]", b""),
    Wrong("blank lines are not counted", rb"\n\n", b"\n"),
    Wrong("the last line, cut off", rb"\n[^\n]+\Z", b"\n"),
    Wrong("a second comma", rb",,", b","),
    Wrong("milliseconds only", rb"(:\d\d\.\d{3})\d+", rb"\1"),
    Wrong("keys in capitals", rb'"PRICE"', b'"price"'),
    Wrong("keys that are escaped", rb'"\\u0061"', b'"a"'),
    Wrong("an exponent", rb"e\+?0(?=[,}])", b""),
    Wrong("nul", rb"\bnul\b", b"null"),
    Wrong("two objects in a line", rb"\}\s*\{", b"}\n{"),
)
WRONG_CSV = (
    Wrong("a quote within a field is none", rb'(?<=[^,"\s])"(?=[^,"\s])', b""),
    Wrong("doubled quotes are two", rb'""', b'""""'),
    Wrong("a CR is data", rb"\r(?!\n)", b"x"),
    Wrong("a CR and an LF are two line ends", rb"\r\n", b"\n\n"),
    Wrong("blank lines are records", rb"\n\n", b"\n,\n"),
    Wrong("blank lines are not counted", rb"\n\n", b"\n"),
    Wrong("the last record, cut off", rb"\n[^\n]+\Z", b"\n"),
    Wrong("bytes that are no UTF-8", rb"[\xc0\xc1\xf5-\xff]", b""),
    Wrong("text behind a quote", rb'" x', b'"'),
    Wrong("no blanks behind a quote", rb'"  (?=[,\n])', b'" x'),
    Wrong("leading zeros", rb"(?<=[,\n])0+(\d)", rb"x\1"),
    Wrong("a plus", rb"(?<=[,\n])\+(\d)", rb"x\1"),
    Wrong("a plus and a minus", rb"(?<=[,\n])\+-(\d)", rb"-\1"),
    Wrong("blanks before numbers", rb"(?<=[,\n]) +(\d)", rb"x\1"),
    Wrong("blanks behind numbers", rb"(\d) +(?=[,\n])", rb"\1x"),
    Wrong("capitals", rb"TRUE", b"x"),
    Wrong("a number that is true", rb"(?<=[,\n])1(?=[,\n])", b"true"),
    Wrong("-0.0 is 0.0", rb"(?<=[,\n])-0\.0(?=[,\n])", b"0.0"),
    Wrong("decimals as doubles", rb"(\.\d{16})\d+", rb"\1"),
    Wrong("milliseconds only", rb"(:\d\d\.\d{3})\d+", rb"\1"),
    Wrong("NUL", rb"\x00", b""),
    Wrong("comments are not counted", rb"(?m)^#[^\r\n]*\n", b""),
    Wrong("a mark is none", rb"\xef\xbb\xbf", b""),
    Wrong("escapes are data", rb"\\", rb"\\\\"),
    Wrong("an n is one", rb"\\n", b"n"),
    Wrong("an escaped line end ends", rb"\\\n", b"\n"),
    Wrong("NULL in quotes is text", rb'"NULL"', b'"NULL "'),
    Wrong("no text is NULL", rb"NULL", b""),
)


def whole(batches: list[pa.RecordBatch], empty: bool) -> pa.RecordBatch | None:
    """One batch of them; without rows there is none, unless it may be `empty`."""
    filled = [b for b in batches if b.num_rows]
    if not filled:
        return batches[0] if batches and empty else None
    return pa.concat_batches(filled)


def outcome_of(decoder: BlockDecoder, decode: Callable[[], pa.RecordBatch | None]) -> Outcome:
    try:
        batch = decode()
    except SqlStreamError as e:
        decoder.take_bad()
        return Outcome(error=(type(e).__name__, e.message, e.hint))
    except Exception as e:  # no user may see such a one
        return Outcome(error=(FAULT, f"{type(e).__name__}: {e}", None))
    try:
        if batch is not None:
            batch.validate(full=True)
    except pa.ArrowInvalid as e:
        return Outcome(error=(FAULT, str(e), None))
    return Outcome(batch, tuple(decoder.take_bad()), decoder.skipped, scanned=decoder.scanned)


def blocks(shape: AnyShape) -> BlockDecoder:
    """What decodes blocks of a file with such records, as the connector makes it."""
    names = {"file.name": "'lines'"}
    return BlockDecoder(shape.decoder(), shape.request, names, FILE, shape.name, shape.skips, ToolPool(), shape.keeps)


def accepted(shape: AnyShape, records: list[bytes]) -> list[bool]:
    """Which records the exact way takes, of those that it tells from one another."""
    outcome = EXACT.decode(shape, b"".join(records))
    if outcome.error is not None:
        return [False] * len(records)
    decoder, lines = shape.decoder(), [1]
    for record in records:
        lines.append(lines[-1] + decoder.lines(record))
    refused = {record.line for record, _ in outcome.bad}
    return [line not in refused for line in lines[:-1]]


@contextmanager
def switched(to: str | None) -> Iterator[None]:
    """With the scanner `on` or `off`; None: as it is."""
    before = os.environ.get(SWITCH)
    if to is not None:
        os.environ[SWITCH] = to
    try:
        yield
    finally:
        if to is not None:
            os.environ.pop(SWITCH)
            os.environ.update({} if before is None else {SWITCH: before})
