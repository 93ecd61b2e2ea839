"""Records of CSV by thousands: most of them good, and what one can do wrong in the others. As `json_lines`."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.csv_shapes import CsvShape
from harness.decoding import accepted
from harness.json_lines import mutated
from harness.json_values import BROKEN_BYTES, good, odd
from harness.seed import random_of
from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.formats.conversion import SQL_STANDARD
from sqlstream.types import INT, Type

LEGAL, OTHER = 20_000, 4000  # records a block


@dataclass(frozen=True)
class Oddness:
    """How much of a block is unusual: shares of fields and records, and (`bytes`) how many places are changed for each record.

    `legal`: only as far as records are well formed, and of the columns' types.
    """

    legal: bool
    value: float
    written: float
    records: float
    ends: float
    bytes: float


def an_oddness(rng: random.Random, legal: bool) -> Oddness:
    share = (0.0, 0.0, 0.001, 0.01, 0.1, 0.5)
    return Oddness(
        legal,
        value=rng.choice(share),
        written=rng.choice(share),
        records=rng.choice(share[:-1]),
        ends=rng.choice((0.0, 0.0, 0.01, 1.0)),
        bytes=0.0 if legal else rng.choice(share[:-1]),
    )


def text_of(value: bytes) -> bytes:
    """The text that a JSON value has."""
    if value[:1] != b'"':
        return b"" if value == b"null" else value
    try:
        return json.loads(value, strict=False).encode("utf-8", "replace")
    except ValueError:
        return value.strip(b'"')


def dressed(text: bytes, rng: random.Random) -> bytes:
    """Text of a number or the like as it also stands in files."""
    return rng.choice((
        b" " + text, text + b" ", b"\t" + text + b"  ", b"+" + text, b"0" + text, b"000" + text, text.upper(), text.title(), text + b".",
        text + b".0", text + b"e0", b"-" + text, b" +" + text, b"+-" + text, b"+ " + text, b"00", b"-007", text + b"\x00", b" ", b"\x0b" + text,
    ))  # fmt: skip


@cache
def values(t: Type) -> tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...]]:
    """Texts of a type: usual ones, good ones that are written in an unusual way, and others."""
    rng = random_of("values of csv", t)
    usual = [text_of(good(t, rng, SQL_STANDARD).encode("utf-8", "surrogatepass")) for _ in range(250)]
    made = [text_of(odd(t, rng, SQL_STANDARD)) for _ in range(500)] + [dressed(v, rng) for v in usual]
    table = CsvShape((("v", t), ("n", INT)), ScanRequest((ScanColumn(("v",), t),)))
    legal = accepted(table, [b'"' + v.replace(b'"', b'""') + b'",1\n' for v in made])
    unusual = [v for v, is_good in zip(made, legal, strict=True) if is_good]
    others = [v for v, is_good in zip(made, legal, strict=True) if not is_good]
    return tuple(usual), tuple(unusual) or (b"",), tuple(others) or BROKEN_BYTES


@dataclass(frozen=True)
class Writer:
    """Fields of a dialect. `always`: they are in quotes, where they may or must not be."""

    delimiter: bytes
    quote: bytes
    escape: bytes
    always: bool

    @staticmethod
    def of(shape: CsvShape, always: bool) -> Writer:
        escape = "" if shape.escape == shape.quote else shape.escape
        return Writer(shape.delimiter.encode(), shape.quote.encode(), escape.encode(), always)

    @property
    def special(self) -> tuple[bytes, ...]:
        return tuple(c for c in (self.delimiter, b"\n", b"\r", self.escape) if c)

    def field(self, text: bytes) -> bytes:
        """So that it is read as it is; without what cannot be written where there are neither quotes nor an escape."""
        needs = any(c in text for c in self.special) or text.startswith((self.quote or b"\xff", b"#"))
        if self.quote and (needs or self.always):
            return self.quote + self.escaped(text) + self.quote
        for c in self.special:
            text = text.replace(c, b"")
        return text.lstrip(b"#" + self.quote)

    def escaped(self, text: bytes) -> bytes:
        if self.escape:
            text = text.replace(self.escape, self.escape * 2)
        return text.replace(self.quote, (self.escape or self.quote) + self.quote)

    def otherwise(self, text: bytes, rng: random.Random) -> bytes:
        """Well formed, though hardly anybody writes so."""
        q, e, d = self.quote, self.escape, self.delimiter
        ways = [self.field(text)]
        if q:
            enclosed = q + self.escaped(text) + q
            ways += [
                enclosed,
                enclosed,
                enclosed + b"  " if d != b" " else enclosed,
                q + q + (b"" if d == b" " else b" "),
            ]
            ways += [
                q + self.escaped(text + d + text + b"\n\r\n\r" + q + text) + q,
                b"x" + self.field(text).strip(q) + q + b"y",
            ]
        if e:
            place = rng.randrange(len(text) + 1)
            ways += [
                text[:place].join(
                    (b"", e + rng.choice((b"n", b"r", b"t", b"0", b"x", d, b"\n", b"\r", b"\r\n", e, q or b"y")))
                )
            ]
            ways += [
                (
                    q
                    + self.escaped(text)
                    + e
                    + rng.choice((b"n", b"\n", b"\r\n", d, e, q or b"z", b"0", "é".encode()))
                    + q
                )
                if q
                else text
            ]
        return rng.choice(ways)

    def wrong(self, text: bytes, rng: random.Random) -> bytes:
        """Not as it should be: perhaps another field, or several, or malformed."""
        q, e, d = self.quote, self.escape or b"\\", self.delimiter
        return rng.choice((
            q + text, text + q, q + text + q + b"x", q + text + q + q, b" " + q + text + q, text + d, d + text, e + text, text + e, q + text + e + q,
            text + b"\n", b"\r" + text, b"#" + text, q + b"\n", q, e, d, q * 3, q * 3 + text, q + text + q + b" x" + d, b"\x00", rng.choice(BROKEN_BYTES), b"\xef\xbb\xbf" + text,
        ))  # fmt: skip


ENDS = (b"\n", b"\n", b"\n", b"\r\n", b"\r\n", b"\r", b"\n\n", b"\n\r\n", b"\r\r")
RECORDS = (
    b"", b"", b"#", b"# a comment", b'#"', b'# "open', b"#\r", b"##,,", b'"', b'""', b'"a', b'"a"b', b"'", b",", b",,,,,,,,,,,,,", b" ", b"\t", b"\\", b"a\\", b"\xff",
    b"\xc3", b'"\xff"', b"\xef\xbb\xbf", b"1", b"1,2", b'"1","2"', b'"a\n#b",2', b'"x""', b"\x00", b"long " * 4000, b'"' + b"long\n" * 300 + b'"', b"x" * 63, b"x" * 64, b"x" * 65,
)  # fmt: skip


def block(shape: CsvShape, rng: random.Random, most: int) -> bytes:
    """A block of up to `most` records for the shape's columns."""
    legal = rng.random() < 0.5
    oddness = an_oddness(rng, legal)
    count = min(most, LEGAL if legal else OTHER)
    count = rng.randrange(count // 2, count)
    numbers = np.random.default_rng(rng.randrange(2**63))
    writer = Writer.of(shape, rng.random() < 0.2)
    parts: list[pa.Array] = []
    for i, (_, t) in enumerate(shape.columns):
        pool, usual = _pool(t, shape, writer, oddness, rng)
        some = numbers.integers(0, usual, count)
        unusual = numbers.random(count) < (oddness.value + oddness.written) / len(shape.columns)
        some[unusual] = numbers.integers(0, len(pool), int(unusual.sum()))
        parts += [pa.scalar(writer.delimiter)] * (i > 0) + [pool.take(pa.array(some))]
    made = pc.binary_join_element_wise(*parts, pa.scalar(b"")) if len(parts) > 1 else parts[0]
    if oddness.records and not legal:
        places = numbers.random(count) < oddness.records
        made = pc.replace_with_mask(
            made, pa.array(places), pa.array(rng.choices(RECORDS, k=int(places.sum())), pa.binary())
        )
    ends = pa.array(
        rng.choices(ENDS, k=20) if oddness.ends else [rng.choice((b"\n", b"\n", b"\r\n", b"\r"))], pa.binary()
    )
    which = np.where(numbers.random(count) < oddness.ends, numbers.integers(0, len(ends), count), 0)
    joined = pc.binary_join_element_wise(made, ends.take(pa.array(which)), pa.scalar(b""))
    data = b"".join(joined.to_pylist())
    return mutated(data, int(oddness.bytes * count) + (oddness.bytes > 0), rng, _special(writer))


def _special(writer: Writer) -> tuple[bytes, ...]:
    """Pieces that mean something."""
    own = (
        writer.delimiter,
        writer.quote,
        writer.escape,
        writer.quote * 2,
        writer.escape + b"n",
        writer.escape + writer.quote,
    )
    line = (b"\n", b"\r", b"\r\n", b"\n\n", b" ", b"#", b"\t", b"\\")
    return (*(c for c in own if c), *line, *line, writer.quote + writer.delimiter, writer.delimiter + writer.quote)


def _pool(t: Type, shape: CsvShape, writer: Writer, oddness: Oddness, rng: random.Random) -> tuple[pa.Array, int]:
    """Fields of a column, and how many of them are usual: those stand first."""
    usual, unusual, others = values(t.null())
    null = (shape.null or "").encode()
    texts = [null if v == b"" and rng.random() < 0.5 else v for v in rng.choices(usual, k=200)]
    if oddness.legal and not t.nullable:
        texts = [v for v in texts if v and v != null] or [b"1"]
    fields = [writer.field(v) for v in texts]
    count = len(fields)
    if oddness.value:
        fields += [writer.field(v) for v in rng.choices(unusual, k=100) if v or t.nullable]
        fields += [] if oddness.legal else [writer.field(v) for v in rng.choices(others, k=100)]
    if oddness.written:
        other = replace(writer, always=True)
        fields += [
            rng.choice((other, writer)).otherwise(v, rng)
            for v in rng.choices(usual, k=100)
            if not oddness.legal or t.is_string
        ]
        fields += [] if oddness.legal else [writer.wrong(v, rng) for v in rng.choices(usual, k=60)]
    return pa.array(fields, pa.binary()), count
