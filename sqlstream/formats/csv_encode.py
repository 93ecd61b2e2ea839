"""CSV of Arrow batches, by one DuckDB projection. A field is quoted only when it must be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from sqlstream.formats.base import Encoder
from sqlstream.formats.conversion import SQL_STANDARD, literal
from sqlstream.formats.json_encode import lines, texts, time_text
from sqlstream.formats.text_rows import Style, TextRows, is_worth_it, is_written
from sqlstream.types import Schema, Type, inside

_IN_VALUES = " -:.+/="  # what stands in numbers, times and base 64


@dataclass(frozen=True)
class CsvEncoder(Encoder):
    """Rows as CSV. DataError for a value that cannot be written where quoting is off."""

    schema: Schema
    delimiter: str
    quote: str
    escape: str
    null: str
    header: bool

    def head(self) -> bytes:
        if not self.header:
            return b""
        names = [self._quoted_name(n) for n in self.schema.names]
        return (self.delimiter.join(names) + "\n").encode()

    @cached_property
    def _rows(self) -> TextRows | None:
        """None where the loop does not know the dialect."""
        dialect = self.delimiter, self.quote, self.escape
        if not self.quote or not all(c.isascii() for c in dialect) or set(dialect) & set(_IN_VALUES):
            return None
        delimiter, quote, escape = (c.encode() for c in dialect)
        style = Style(
            b"", delimiter, b"\n", self.null.encode(), (b"",) * len(self.schema), dialect=(delimiter, quote, escape)
        )
        return TextRows(self.schema, style)

    def encode(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> list[pa.Buffer]:
        batch = inside(batch, self.schema)
        if self._rows is not None and is_worth_it(batch):
            others = {i: self._field(c.type, f"c{i}") for i, c in enumerate(self.schema) if not is_written(c.type)}
            found = self._rows.written(batch, texts(batch, others))
            if found is not None:
                return found
        fields = [f"coalesce({self._field(c.type, f'c{i}')}, {literal(self.null)})" for i, c in enumerate(self.schema)]
        between = f", {literal(self.delimiter)}, "
        return lines(batch, f"concat({between.join(fields)})")

    def _field(self, t: Type, x: str) -> str:
        if t.kind in ("BINARY", "VARBINARY"):
            return f"to_base64({x})"
        if not t.is_string:
            text = time_text(t, x, SQL_STANDARD)
            return self._enclosed(text) if {self.delimiter, self.quote, self.escape} & set(_IN_VALUES) else text
        return self._enclosed(x)

    def _enclosed(self, x: str) -> str:
        special = [self.delimiter, self.quote, "\n", "\r", self.escape, "#", "\ufeff"]
        needs = " OR ".join(f"contains({x}, {literal(s)})" for s in dict.fromkeys(special) if s)
        if not self.quote:
            why = literal("csv without quotes cannot hold a value with a delimiter, line end, escape character or #: ")
            return f"CASE WHEN {needs} THEN error({why} || {x}) ELSE {x} END"
        body = x
        if self.escape and self.escape != self.quote:
            body = f"replace({body}, {literal(self.escape)}, {literal(self.escape * 2)})"
        body = f"replace({body}, {literal(self.quote)}, {literal((self.escape or self.quote) + self.quote)})"
        return f"CASE WHEN {needs} THEN {literal(self.quote)} || {body} || {literal(self.quote)} ELSE {x} END"

    def _quoted_name(self, name: str) -> str:
        if not self.quote or not any(s in name for s in (self.delimiter, self.quote, "\n", "\r")):
            return name
        return self.quote + name.replace(self.quote, (self.escape or self.quote) + self.quote) + self.quote
