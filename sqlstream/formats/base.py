"""The contract of formats, and what decoding asks of one.

A `Decoder` writes SQL in two layers. The *records* layer gives one row a record, its fields checked and converted;
the *rows* layer above makes the requested c0, c1, …, the derived columns and `_op` of them (a Debezium update is one
record and two rows). When a block does not decode, its records layer is made again, tolerantly, from single lines
(`examine`), and the same rows layer stands on what is good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa

from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.errors import InternalError, NotSupported
from sqlstream.formats.messages import MessageRecords, Refused, Texts
from sqlstream.formats.readers import LONGEST_OBJECT, Paths
from sqlstream.formats.stretches import Stretch
from sqlstream.formats.text_columns import TextColumns
from sqlstream.options import Option
from sqlstream.types import Type

if TYPE_CHECKING:
    from sqlstream.formats.scan.recipe import Recipe


@dataclass(frozen=True)
class Bad:
    """A malformed record: its 1-based line within the block, why, its bytes, and how many good records stand before it."""

    line: int
    reason: str
    record: bytes
    after: int = 0

    @property
    def text(self) -> str:
        """As far as it can be shown."""
        return self.record.decode("utf-8", "replace")


class Malformed(Exception):
    """A block has a malformed record; `Decoder.examine` says which."""


@dataclass
class Examined:
    """A block looked at record by record: `records` (columns of the records layer) has the good ones, in order."""

    records: pa.Table
    bad: list[Bad] = field(default_factory=list)


@dataclass(frozen=True)
class Packed:
    """Rows of a file from byte `begin` to `end`, where reading can go on: columns c0, c1, … of the request but those of METADATA."""

    begin: int
    end: int
    rows: int
    columns: list[pa.Array]


class Decoder:
    """Decodes one table's records for one request. Plain data: picklable."""

    blocks = True  # can decode a file in blocks; False: only whole files (parquet)
    byte_order_mark = True  # that statement copes with one
    packs = False  # files are read by `packed`, and in no other way

    def packed(self, file: Any, begin: int) -> Iterator[Packed]:
        """The rows of an open file from byte `begin` on, which was the `end` of some; 0: from its start. DataError where it is damaged."""
        raise InternalError("Decoder.packed")

    @property
    def statement(self) -> bool:
        """Whether one statement can decode a whole file."""
        return True

    def plain(self, file: Any) -> bool:
        """Whether one statement reads this file as blocks are read; looks through it, where that depends on it."""
        return True

    def records(self, paths: Paths, file: bool = False, block: bool = False, longest: int = LONGEST_OBJECT) -> str:
        """SQL of the records layer over the files of these names. `file`: adds `readers.FILE`, the path read.

        `block`: it is a block of a file without its head, or the relation `fields`. `longest`: bytes of the longest
        record.
        """
        raise InternalError("Decoder.records")

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        """SQL of the rows layer over FROM item `records`. `constants`: SQL of `$metadata` columns, by key."""
        raise InternalError("Decoder.rows")

    def stretches(self, path: str, file: Any, constants: Mapping[str, str]) -> list[Stretch]:
        """The rows of a file, of this path to DuckDB and open besides, in order: which of them are to be read."""
        return [Stretch()]

    def resumed(self, path: str, constants: Mapping[str, str], row: int, end: int | None = None) -> str:
        """SQL of the rows of one file from row `row` on, in order; to row `end` where `stretches` has said one."""
        sql = self.rows(f"({self.records((path,))})", constants)
        return f"{sql} OFFSET {row}" if row else sql

    def texts(self) -> TextColumns | None:
        """Which columns `resumed_texts` gives as text, if there is such a way: faster where casts are dear."""
        return None

    def resumed_texts(self, path: str, constants: Mapping[str, str], row: int) -> str:
        """As `resumed`, with the columns of `texts()` as text, and without the derived ones."""
        raise InternalError("Decoder.resumed_texts")

    def is_whole(self, file: Any) -> bool:
        """Whether nobody is still writing a file that is not read in blocks."""
        return True

    def head(self, block: bytes, complete: bool = True) -> int | None:
        """How many bytes at the start of a file, after a byte order mark, are no record (a CSV header).

        None: more bytes are needed to tell, and `complete` says whether these are all there are.
        """
        return 0

    def explained(self, path: str, error: str) -> str:
        """After DuckDB's `error` on a file that is not decoded in blocks: what is wrong, with the column."""
        return error

    def scanned(self) -> Recipe | None:
        """How a scanner takes blocks in without `records`; None where none can."""
        return None

    @property
    def records_are_rows(self) -> bool:
        """Whether a record is a row, and columns c0, c1, … of the records layer are those of the rows layer."""
        return False

    def cut(self, block: bytes | memoryview) -> int:
        """How many leading bytes of `block` are whole records; 0: not one is."""
        raise InternalError("Decoder.cut")

    def lines(self, block: bytes) -> int:
        """How many lines end in `block`."""
        return int(np.count_nonzero(np.frombuffer(block, np.uint8) == 10))

    def fields(self, block: bytes) -> pa.RecordBatch | None:
        """The fields of a block's records as text: the relation `fields` that `records` reads for a block. Malformed
        when a record is. None, always: the statement splits blocks itself.
        """
        return None

    def exact(self, block: bytes) -> bytes:
        """A block in a form of which the statement loses nothing."""
        return block

    def messages(self) -> MessageRecords | None:
        """What makes records of messages, each a record, where these are no lines of text; None: they are."""
        return None

    def bare(self, texts: Texts) -> tuple[Texts, list[Refused]]:
        """Messages as the lines that they are without what stands before their records, and those that are malformed for that: in their
        places is nothing."""
        return texts, []

    def single_line(self, message: bytes) -> bytes:
        """A message of several lines, as one line that means the same, where there is such a form; else as it is."""
        return message

    def hint(self, reason: str) -> str | None:
        """What to do about a malformed record but skipping it, by the reason that was found."""
        return None

    def examine(self, cursor: duckdb.DuckDBPyConnection, block: bytes) -> Examined | None:
        """Look at a block of whole records one by one; None when this cannot be done for the request."""
        return None


class Part:
    """One file being written in a format."""

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        """The batch, under the users' names; `kinds` (int8 `Kind`) is None for inserts only, or append-only formats."""
        raise InternalError("Part.write")

    def finish(self) -> None:
        """Write what ends the file; the caller closes it."""


class Encoder:
    """Turns batches (users' names) into bytes. Plain data: picklable."""

    def encode(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> list[pa.Buffer]:
        """The bytes of whole records, for formats whose files are nothing but records."""
        raise InternalError("Encoder.encode")

    def messages(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> Texts:
        """Each row, or change, as a message by itself. Of records that are lines, that is each without its end."""
        found = Texts.of_lines(self.encode(batch, kinds), batch.num_rows)
        if found is not None:
            return found
        rows = [(batch.slice(i, 1), None if kinds is None else kinds[i : i + 1]) for i in range(batch.num_rows)]
        return Texts.of([b"".join(bytes(b) for b in self.encode(*row)).removesuffix(b"\n") for row in rows])

    def head(self) -> bytes:
        """What stands at the beginning of a file."""
        return b""

    def part(self, file: IO[bytes]) -> Part:
        """A file in which nothing is yet, begun. The caller opened it, and closes it."""
        return _RecordsPart(self, file)


class _RecordsPart(Part):
    def __init__(self, encoder: Encoder, file: IO[bytes]) -> None:
        self._encoder, self._file = encoder, file
        file.write(encoder.head())

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        for buffer in self._encoder.encode(batch, kinds):
            self._file.write(memoryview(buffer))


@dataclass(frozen=True)
class Sample:
    """The beginnings of some files: whole records, decompressed, without byte order marks, in files that DuckDB opens.

    `names`: of these files, as users know them. `whole`: whether there is nothing behind them. `piped`: they are no files, but
    what comes from a pipe.
    """

    paths: Paths
    names: tuple[str, ...]
    whole: bool = True
    piped: bool = False

    def data(self, file: int = 0) -> bytes:
        """What stands in one of them."""
        return Path(self.paths[file]).read_bytes()

    def named(self, text: str) -> str:
        """A message with the files' own names for the samples'."""
        for path, name in zip(self.paths, self.names, strict=True):
            text = text.replace(path, name)
        return text


class Format:
    """What a `'format' = '…'` value means. `blocks`: its files are records one behind the other."""

    name: str = ""
    extension: str = ""
    blocks = True
    messages = True  # a record may be a message by itself
    files = True  # records may stand in files
    text = True  # records are text
    changelog: bool = False  # rows carry `_op`
    # What is known of a message beside its columns, by METADATA keys: columns of the request whose path is (METADATA, key).
    metadata: Mapping[str, Type] = MappingProxyType({})
    # Whether schemas are registered under the option '<name>.subject', which a connector may know.
    registers = False
    options: tuple[Option, ...] = ()

    def check(self, table: TableContext, options: Mapping[str, Any]) -> None:
        """Refuses options of messages that do not go together, and files of theirs that are not there, before anything is read or
        written. OptionError, NotSupported."""

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        """How to read the table's files for a request. NotSupported where it has no form for a type."""
        raise NotSupported(f"table {table.name}: format '{self.name}' cannot be read")

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        """How to write the table's rows. NotSupported where it has no form for a type."""
        raise NotSupported(f"table {table.name}: format '{self.name}' cannot be written")

    def beginning(self, file: Any, target: str) -> None:
        """Of files that are no records one behind the other: writes a file that is the beginning of an open one, and has its columns."""
        raise InternalError("Format.beginning")

    def shown(self, record: bytes) -> str:
        """A malformed record as an error shows it."""
        return record.decode("utf-8", "replace") if self.text else f"0x{record.hex()}"

    def whole(self, block: bytes, options: Mapping[str, Any]) -> int:
        """How many leading bytes of the beginning of a file are whole records; 0: not one is."""
        return block.rfind(b"\n") + 1

    def guess(
        self, cursor: duckdb.DuckDBPyConnection, sample: Sample, given: Mapping[str, str], options: Mapping[str, Any]
    ) -> dict[str, str]:
        """Options of the format that are not `given`, as files of a table look that nobody has declared. `options`: all,
        converted."""
        return {}

    def infer(
        self, cursor: duckdb.DuckDBPyConnection, sample: Sample, options: Mapping[str, Any]
    ) -> list[tuple[str, Type]]:
        """Columns that all of the sample decodes as. DataError, which names file and line, where it is malformed."""
        raise NotSupported(f"format '{self.name}' cannot tell its columns", hint="write the columns in CREATE TABLE")
