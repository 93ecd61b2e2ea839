"""Tables of CSV, and what is read of them: every type, in every dialect of the format."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from harness.json_shapes import METADATA, NAMES, a_scalar, derived
from sqlstream.contracts import ScanColumn, ScanRequest, TableContext
from sqlstream.formats.base import Decoder
from sqlstream.formats.csv import CsvFormat
from sqlstream.types import STRING, Column, Schema, Type

PLAIN: dict[str, object] = {
    "csv.field-delimiter": ",",
    "csv.quote-character": '"',
    "csv.disable-quote-character": False,
    "csv.escape-character": "",
    "csv.allow-comments": False,
    "csv.ignore-parse-errors": False,
    "csv.null-literal": None,
    "csv.header": False,
}
NULLS = ("", "", "NULL", "null", "N/A", "-", "0", "1", "é", "a b", "x" * 40)


@dataclass(frozen=True)
class CsvShape:
    """What is read of a table's records, and how. `columns`: all that a record has."""

    columns: tuple[tuple[str, Type], ...]
    request: ScanRequest
    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    comments: bool = False
    null: str | None = None
    skips: bool = True
    keeps: bool = True
    header: bool = False
    name = CsvFormat.name

    @property
    def options(self) -> dict[str, object]:
        quotes = {"csv.quote-character": self.quote} if self.quote else {"csv.disable-quote-character": True}
        return PLAIN | quotes | {
            "csv.field-delimiter": self.delimiter,
            "csv.escape-character": self.escape,
            "csv.allow-comments": self.comments,
            "csv.ignore-parse-errors": self.skips,
            "csv.null-literal": self.null,
            "csv.header": self.header,
        }  # fmt: skip

    def decoder(self) -> Decoder:
        """As the connector makes it."""
        schema = Schema(tuple(Column(n, t) for n, t in self.columns))
        return CsvFormat().decoder(TableContext("t", schema, {}), self.request, self.options)

    def __str__(self) -> str:
        columns = ", ".join(f"`{n}` {t}" for n, t in self.columns)
        read = ", ".join(f"`{c.path[-1]}` {c.type}" for c in self.request.columns)
        also = "".join(f", {alias} = {sql}" for alias, sql in self.request.derived)
        flags = [n for n in ("comments", "skips", "keeps", "header") if getattr(self, n)]
        dialect = (
            f"delimiter {self.delimiter!r}, quote {self.quote!r}, escape {self.escape!r}, null literal {self.null!r}"
        )
        return f"table ({columns}); read ({read}{also}); {dialect}; {' '.join(flags)}"


def a_csv_shape(rng: random.Random) -> CsvShape:
    """What is read of some table."""
    names = rng.sample(NAMES, rng.choice((1, 2, 3, 4, 5, 6, 7, 12)))
    columns = tuple((n, a_scalar(rng).null(rng.random() > 0.06)) for n in names)
    read = [ScanColumn((n,), t) for n, t in columns if rng.random() < rng.choice((0.3, 0.8, 1.0))]
    if rng.random() < 0.3:
        rng.shuffle(read)
    if rng.random() < 0.03 and read:
        read.append(rng.choice(read))  # twice
    if rng.random() < 0.04:
        read.insert(rng.randrange(len(read) + 1), ScanColumn((METADATA, "file.name"), STRING))
    shape = CsvShape(columns, ScanRequest(tuple(read), derived(rng, read)))
    skips = rng.random() < 0.8
    return replace(_dialect(shape, rng), skips=skips, keeps=skips and rng.random() < 0.8)


def _dialect(shape: CsvShape, rng: random.Random) -> CsvShape:
    delimiter = rng.choice((",", ",", ",", ";", "\t", "|", " ", ":", ".", "-", "+", "#", "'", "\x01", "¦"))
    quote = rng.choice(('"', '"', '"', '"', "'", "", "#", " ", "~", "§"))
    escape = rng.choice(("", "", "", "\\", "\\", quote, "'", "#", " ", "^"))
    if delimiter in (quote, escape):
        return _dialect(shape, rng)
    null = rng.choice((None, None, *NULLS))
    if null and any(c and c in null for c in (delimiter, quote, escape)):
        null = None
    return replace(shape, delimiter=delimiter, quote=quote, escape=escape, null=null, comments=rng.random() < 0.2)
