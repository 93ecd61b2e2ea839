"""What a csv record is: the one definition, for every way in which csv is read (Flink's, which is that of Jackson).

- A record ends at LF, CR or CRLF outside quotes, whichever stands there: they may be mixed. The last record of a file
  needs no end. A line without any character is no record, but in a table of one column it is an empty field.
- A quote opens a quoted field only as the first character of the field (a blank before it makes it data); in any other
  field quotes are data. Inside quotes delimiters and line ends are data, and a doubled quote is one quote.
- After the closing quote blanks are passed over. Anything else before the delimiter or the line end makes the record
  malformed, and so does a quote that is never closed; such a record ends where it would with the rest of the field as
  data, or with the file.
- The escape character, if there is one, makes the next character data, inside quotes and outside; \\n, \\r, \\t and \\0
  are what they are in C.
- With comments allowed, a line that begins with # where a record would begin is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.formats import csv_kernels as kernels
from sqlstream.formats.base import Bad
from sqlstream.formats.csv_scan.cut import last_end
from sqlstream.formats.scan.loading import Loading

_CUT = Loading(last_end)
_NOTHING = np.empty(0, np.int64)
_REASONS = {
    kernels.UNCLOSED: "its quote is not closed",
    kernels.AFTER_QUOTE: "only the delimiter or the end of the line may stand after a closing quote",
}


@dataclass(frozen=True)
class CsvSyntax:
    """The characters that structure a file. `quote`, `escape`: empty for none. `width`: columns of the table."""

    delimiter: str
    quote: str
    escape: str
    comments: bool
    width: int

    def whole(self, block: bytes | memoryview) -> int:
        """How many leading bytes of `block` are whole records, when more may follow it."""
        if self._is_plain and _CUT.is_there(len(block)):
            delimiter, quote, _ = self.characters
            return int(last_end(_bytes(block), int(delimiter[0]), int(quote[0]) if len(quote) else -1))
        return int(self._split(_bytes(block), False, _NOTHING, _NOTHING, _NOTHING.view(np.uint8), _no_records())[1][0])

    def first(self, block: bytes, complete: bool) -> tuple[int, list[str]] | None:
        """(bytes, fields) of the record that `block` begins with; None when it has no whole one. `complete`: no more
        follows."""
        records = self.records(block, final=complete)
        if not len(records):
            return None
        fields: list[bytes] = records.text(np.arange(records.first_fields[1])).cast(pa.binary()).to_pylist()
        return int(records.begins[1]), [f.decode("utf-8", "replace") for f in fields]

    def records(self, block: bytes, final: bool = True) -> CsvRecords:
        """The whole records of `block`. `final`: the last one needs no line end."""
        data = _bytes(block)
        lines = int(np.count_nonzero(data == kernels.LF)) + int(np.count_nonzero(data == kernels.CR)) + 1
        most = lines + (int(np.count_nonzero(data == self.delimiter.encode()[0])) if self.delimiter else 0)
        starts, sizes, escaped = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.uint8)
        records = np.empty((lines, 5), np.int64)
        count, total = self._split(data, final, starts, sizes, escaped, records)
        return CsvRecords(self, data, starts, sizes, escaped, records[:count], total)

    def _split(self, data: Any, final: bool, starts: Any, sizes: Any, escaped: Any, records: Any) -> tuple[int, Any]:
        total = np.zeros(kernels.TOTAL, np.int64)
        single = int(self.width == 1)
        count = kernels.split(
            data, *self.characters, int(self.comments), single, int(final), starts, sizes, escaped, records, total
        )
        return count, total

    @cached_property
    def _is_plain(self) -> bool:
        """Whether quotes alone say where records end."""
        delimiter, quote, escape = self.characters
        return len(delimiter) == 1 and len(quote) < 2 and not len(escape) and not self.comments

    @cached_property
    def characters(self) -> tuple[Any, Any, Any]:
        """Delimiter, quote and escape as bytes. An escape that is the quote is what doubled quotes are already."""
        escape = "" if self.escape == self.quote else self.escape
        return _bytes(self.delimiter.encode()), _bytes(self.quote.encode()), _bytes(escape.encode())


@dataclass(frozen=True)
class CsvRecords:
    """The records of a block, as places in its bytes."""

    syntax: CsvSyntax
    data: Any
    starts: Any
    sizes: Any
    escaped: Any
    records: Any  # (first field, first byte, first line from 0, what is wrong, the byte behind it), a row each
    total: Any  # bytes, fields, lines of all

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def first_fields(self) -> Any:
        """The number of the first field of each record, then that of all fields."""
        return np.append(self.records[:, 0], self.total[1])

    @cached_property
    def begins(self) -> Any:
        """The first byte of each record, then that after the last."""
        return np.append(self.records[:, 1], self.total[0])

    @cached_property
    def bad(self) -> list[Bad]:
        """The malformed ones, in order."""
        width = self.syntax.width
        counts = np.diff(self.first_fields)
        why: dict[int, str] = {}
        for i in np.flatnonzero(counts != width).tolist():
            why[i] = f"it has {counts[i]} fields, the table {width} columns"
        for i in self._not_utf8():
            why[i] = "it is not UTF-8"
        for i in np.flatnonzero(self.records[:, 3]).tolist():
            why[i] = _REASONS[int(self.records[i, 3])]
        return [self.refused(i, why[i]) for i in sorted(why)]

    def refused(self, record: int, reason: str) -> Bad:
        """Record number `record` as a malformed one, before which all are taken for good."""
        begin, end = self.records[record, 1], self.records[record, 4]
        return Bad(int(self.records[record, 2]) + 1, reason, self.data[begin:end].tobytes().rstrip(b"\r\n"), record)

    @cached_property
    def good(self) -> Any:
        """The numbers of the records that are well formed."""
        if not self.bad:
            return np.arange(len(self))
        lines = np.array([b.line - 1 for b in self.bad])
        return np.flatnonzero(~np.isin(self.records[:, 2], lines))

    def columns(self, wanted: Sequence[int]) -> pa.RecordBatch:
        """The texts of columns `wanted` of the good records, as x0, x3, …; `one` if none is wanted."""
        firsts = np.ascontiguousarray(self.records[self.good, 0])
        names = [f"x{i}" for i in wanted]
        arrays = [self.text(firsts + i) for i in wanted]
        if not arrays:
            return pa.RecordBatch.from_arrays([pa.array(np.ones(len(firsts), np.int32))], ["one"])
        return pa.RecordBatch.from_arrays(arrays, names)

    def text(self, fields: Any) -> pa.Array:
        """The texts of fields, by their numbers. They are UTF-8, as `bad` has made sure."""
        offsets = np.empty(len(fields) + 1, np.int32)
        out = np.empty(int(self.sizes[fields].sum()), np.uint8)
        _, quote, escape = self.syntax.characters
        kernels.take(self.data, quote, escape, self.starts, self.sizes, self.escaped, fields, offsets, out)
        return pa.StringArray.from_buffers(len(fields), pa.py_buffer(offsets), pa.py_buffer(out))

    def _not_utf8(self) -> list[int]:
        found: list[int] = []
        begins, view, at = self.begins, memoryview(self.data), 0
        while at < begins[-1]:
            try:
                str(view[at : begins[-1]], "utf-8")
                break
            except UnicodeDecodeError as e:
                record = int(np.searchsorted(begins, at + e.start, "right")) - 1
                if record >= 0 and at + e.start < self.records[record, 4]:  # else it is in a comment
                    found.append(record)
                at = int(begins[record + 1])
        return found


def _bytes(data: bytes | memoryview) -> Any:
    return np.frombuffer(data, np.uint8)


def _no_records() -> Any:
    return np.empty((0, 5), np.int64)
