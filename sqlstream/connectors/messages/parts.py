"""The value of messages, or their key, by a format: which rows they make, and which of them are malformed.

A format decodes blocks of lines. Messages are given to it as such a block, each a line, and as many records must come of it
as there are messages: then none has taken in what belongs to another. Where that is not so, halves are looked at, down to
the single message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.batches import OP
from sqlstream.connectors.block_decoder import BlockTools, brief
from sqlstream.connectors.blocks import Block
from sqlstream.connectors.scanning import concat_rows
from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.duck import FAILURES, Given
from sqlstream.formats.base import Decoder, Malformed
from sqlstream.formats.messages import NEWLINE, Records, Refused, Texts
from sqlstream.formats.readers import METADATA
from sqlstream.types import BIGINT

MESSAGE = "message"  # the metadata key of a hidden column: which message a row is of
NO_MESSAGES = np.empty(0, np.int64)


@dataclass(frozen=True)
class Columns:
    """Rows: `columns` as the request has them, `op` of a changelog, and which message each row is of, ascending."""

    columns: list[pa.Array]
    op: pa.Array | None
    of: np.ndarray
    refused: list[Refused]


def with_message(columns: Sequence[ScanColumn]) -> ScanRequest:
    """A request for columns of a part, and behind them which message a row is of."""
    return ScanRequest((*columns, ScanColumn((METADATA, MESSAGE), BIGINT)))


class Part:
    """Decodes the values of messages, or their keys. `request`: of `with_message`. For one thread at a time."""

    def __init__(self, decoder: Decoder, request: ScanRequest) -> None:
        self.decoder, self._request = decoder, request
        constants = {MESSAGE: MESSAGE}
        self._tools = BlockTools(decoder, request, constants)
        self._given = Given(self._tools.cursor, "message_records")
        self._ruled = decoder.rows("message_records", constants)
        recipe = decoder.scanned()
        self._scanned = (
            decoder.rows(f"({recipe.ruled('SELECT * FROM message_records')})", constants) if recipe is not None else ""
        )

    def columns(self, texts: Texts) -> Columns:
        """The rows of messages. Those that are NULL or empty have none. Raises DuckDB's errors."""
        messages = self.decoder.messages()
        if messages is not None:
            return self._rows(messages(texts), ruled=True)
        texts, refused = self.decoder.bare(texts)
        found = self._of_lines(texts)
        if refused:
            found.refused.extend(refused)
            found.refused.sort(key=lambda r: r.message)
        return found

    def _of_lines(self, texts: Texts) -> Columns:
        found = self._by_scanner(texts)
        if found is not None:
            try:
                return self._rows(found, ruled=False)
            except FAILURES:
                pass  # a rule is broken: which message's, the others say
        return self._rows(self._exactly(self._single(texts.lines), texts.there), ruled=True)

    def _by_scanner(self, texts: Texts) -> Records | None:
        block, there = Block(texts.buffer, 0, texts.size), texts.there
        if not len(there) or np.count_nonzero(texts.buffer[: texts.size] == NEWLINE) != len(there):
            return None
        found = self._tools.scanning.records(block)
        if found is None:
            return None
        records, bad = found
        refused = [Refused(int(there[b.line - 1]), b.reason) for b in bad]
        of = np.delete(there, [b.line - 1 for b in bad]) if bad else there
        return Records(records, of, refused) if records.num_rows == len(of) else None

    def _single(self, lines: list[bytes]) -> list[bytes]:
        """Messages of several lines as lines that mean the same, where the format has such."""
        return [self.decoder.single_line(x) if b"\n" in x else x for x in lines]

    def _exactly(self, lines: list[bytes], of: np.ndarray) -> Records:
        """By the statement, and where it fails, message by message."""
        if not lines:
            return Records(concat_rows(self._layer(b"")), NO_MESSAGES, [])
        alone = len(lines) == 1
        if alone or not any(b"\n" in x for x in lines):
            found = self._block(lines, of)
            if found is not None:
                return found
        if alone:
            return self._one(lines[0], of)
        middle = len(lines) // 2
        first, then = self._exactly(lines[:middle], of[:middle]), self._exactly(lines[middle:], of[middle:])
        records = concat_rows(pa.concat_tables([pa.Table.from_batches([x.records]) for x in (first, then)]))
        return Records(records, np.concatenate([first.of, then.of]), [*first.refused, *then.refused])

    def _block(self, lines: list[bytes], of: np.ndarray) -> Records | None:
        data = b"\n".join(lines) + b"\n"
        try:
            table = self._layer(data)
            return Records(concat_rows(table), of, []) if table.num_rows == len(lines) else None
        except (*FAILURES, Malformed):
            examined = self.decoder.examine(self._tools.cursor, data)
        if examined is None or not examined.bad or examined.records.num_rows + len(examined.bad) != len(lines):
            return None
        at = [0 if len(lines) == 1 else b.line - 1 for b in examined.bad]
        refused = [Refused(int(of[i]), b.reason) for i, b in zip(at, examined.bad, strict=True)]
        return Records(concat_rows(examined.records), np.delete(of, at), refused)

    def _one(self, line: bytes, of: np.ndarray) -> Records:
        """A message by itself, whose record is not one, or malformed. Of several records the first one counts, as in Flink."""
        try:
            records = concat_rows(self._layer(line + b"\n")).slice(0, 1)
            return Records(records, of[: records.num_rows], [])
        except (*FAILURES, Malformed) as e:
            return Records(
                concat_rows(self._layer(b"")), NO_MESSAGES, [Refused(int(of[0]), brief(e) or "it is not one record")]
            )

    def _layer(self, data: bytes) -> pa.Table:
        """The records layer of whole lines."""
        fields = self.decoder.fields(data)
        if fields is not None:
            return self._tools.given.run(self._tools.records, fields)
        return self._tools.records_of(data)

    def _rows(self, found: Records, ruled: bool) -> Columns:
        width = len(self._request.columns) - 1
        if self.decoder.records_are_rows:
            arrays = [found.records.column(f"c{i}") for i in range(width)]
            return Columns(arrays, None, found.of, found.refused)
        records = found.records.append_column(pa.field(MESSAGE, pa.int64()), pa.array(found.of))
        rows = concat_rows(self._given.run(self._ruled if ruled else self._scanned, records))
        op = rows.column(OP) if OP in rows.schema.names else None
        of = rows.column(f"c{width}").to_numpy(zero_copy_only=False)
        return Columns([rows.column(f"c{i}") for i in range(width)], op, of, found.refused)
