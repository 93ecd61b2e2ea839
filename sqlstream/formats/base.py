"""The contract of formats, and what decoding asks of one.

A `Decoder` writes SQL in two layers. The *records* layer gives one row a record, its fields checked and converted;
the *rows* layer above makes the requested c0, c1, …, the derived columns and `_op` of them (a Debezium update is one
record and two rows). When a block does not decode, its records layer is made again, tolerantly, from single lines
(`examine`), and the same rows layer stands on what is good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import duckdb
import numpy as np
import pyarrow as pa

from sqlstream.connectors.base import ScanRequest, TableContext
from sqlstream.errors import InternalError, NotSupported
from sqlstream.formats.text_columns import TextColumns
from sqlstream.options import Option


@dataclass(frozen=True)
class Bad:
    """A malformed record: its 1-based line within the block, why, and its text."""

    line: int
    reason: str
    text: str


@dataclass
class Examined:
    """A block looked at record by record: `records` (columns of the records layer) has the good ones, in order."""

    records: pa.Table
    bad: list[Bad] = field(default_factory=list)


class Decoder:
    """Decodes one table's records for one request. Plain data: picklable."""

    blocks = True  # can decode a file in blocks; False: only whole files (parquet)
    byte_order_mark = True  # that statement copes with one

    @property
    def statement(self) -> bool:
        """Whether one statement can decode a whole file."""
        return True

    def records(self, source: str, file: bool = False, block: bool = False) -> str:
        """SQL of the records layer. `source`: a SQL list or literal of paths. `file`: adds `_file`, the path read.

        `block`: the source is a block of a file without its head.
        """
        raise InternalError("Decoder.records")

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        """SQL of the rows layer over FROM item `records`. `constants`: SQL of `$metadata` columns, by key."""
        raise InternalError("Decoder.rows")

    def resumed(self, source: str, constants: Mapping[str, str], row: int) -> str:
        """SQL of the rows of one file from row `row` on, in order."""
        sql = self.rows(f"({self.records(source)})", constants)
        return f"{sql} OFFSET {row}" if row else sql

    def texts(self) -> TextColumns | None:
        """Which columns `resumed_texts` gives as text, if there is such a way: faster where casts are dear."""
        return None

    def resumed_texts(self, source: str, constants: Mapping[str, str], row: int) -> str:
        """As `resumed`, with the columns of `texts()` as text, and without the derived ones."""
        raise InternalError("Decoder.resumed_texts")

    def clean(self, block: bytes) -> bytes:
        """A block without what the statement would trip over (comments)."""
        return block

    def head(self, block: bytes) -> int:
        """How many bytes at the start of a file, after a byte order mark, are no record (a CSV header)."""
        return 0

    def cut(self, block: bytes) -> int:
        """How many leading bytes of `block` are whole records; 0: not one is."""
        raise InternalError("Decoder.cut")

    def examine(self, cursor: duckdb.DuckDBPyConnection, block: bytes) -> Examined | None:
        """Look at a block of whole records one by one; None when this cannot be done for the request."""
        return None


class Part:
    """One file being written in a format."""

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        raise InternalError("Part.write")

    def finish(self) -> None:
        """Write what ends the file; the caller closes it."""


class Encoder:
    """Turns batches (users' names) into bytes. Plain data: picklable."""

    def encode(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> list[pa.Buffer]:
        """The bytes of whole records, for formats whose files are nothing but records."""
        raise InternalError("Encoder.encode")

    def head(self) -> bytes:
        """What stands at the beginning of a file."""
        return b""

    def part(self, file: IO[bytes]) -> Part:
        return _RecordsPart(self, file)


class _RecordsPart(Part):
    def __init__(self, encoder: Encoder, file: IO[bytes]) -> None:
        self._encoder, self._file = encoder, file
        file.write(encoder.head())

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        for buffer in self._encoder.encode(batch, kinds):
            self._file.write(memoryview(buffer))


class Format:
    """What a `'format' = '…'` value means."""

    name: str = ""
    extension: str = ""
    changelog: bool = False  # rows carry `_op`
    options: tuple[Option, ...] = ()

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        raise NotSupported(f"table {table.name}: format '{self.name}' cannot be read")

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        raise NotSupported(f"table {table.name}: format '{self.name}' cannot be written")

    def infer(
        self, cursor: duckdb.DuckDBPyConnection, source: str, options: Mapping[str, Any]
    ) -> list[tuple[str, Any]]:
        """Columns (name, Type) sniffed from files, `source` being a SQL list of paths."""
        raise NotSupported(f"format '{self.name}' cannot tell its columns", hint="write the columns in CREATE TABLE")
