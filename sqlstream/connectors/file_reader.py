"""Reads one complete file.

`_statement` is the fast way, for local files (and parquet wherever it is): one DuckDB statement over the file, streamed in file order; the
position is {"row": n}, and resuming skips n rows. `_blocks` is the careful way, for everything else (remote files,
other compressions, byte order marks) and from the row on where the statement failed: blocks of whole records decoded
from memory, a malformed one found and named, or skipped and counted; the position adds the block's place, {"row",
"byte", "line", "skip"}: seek to `byte` (of the decompressed bytes), decode on, drop `skip` rows.

Measured on Nexmark JSON, q0's columns, one thread: 1.2 M events/s by statement (DuckDB's unchecked types 1.6 M),
0.9 M by blocks of 8 MB.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from sqlstream import stores as remote
from sqlstream.connectors.base import ScanRequest, SourceBatch, SplitReader
from sqlstream.connectors.block_decoder import BlockDecoder
from sqlstream.connectors.decode_ahead import DecodeAhead
from sqlstream.connectors.derive import Derivation, conform
from sqlstream.connectors.paths import compression_of, is_local, missing, open_binary
from sqlstream.errors import DataError, RunError
from sqlstream.formats.base import Decoder
from sqlstream.formats.conversion import literal
from sqlstream.formats.cursor import Slot, own_cursor
from sqlstream.stores import ENVIRONMENT, Stores

BATCH = 131_072  # rows: what is derived from them costs a millisecond a batch beside its rows
FEWEST, TOO_LONG = 2048, "maximum total string size"  # DuckDB's, when the strings of a batch have more than 2 GiB
BLOCK = 8 * 2**20
LONGEST = 256 * 2**20  # bytes of a record, before it is called a broken file
BOM = b"\xef\xbb\xbf"
HEAD = 65_536


@dataclass(frozen=True)
class FileScan:
    """How to read one file."""

    path: str
    decoder: Decoder
    request: ScanRequest
    constants: Mapping[str, str]
    format: str
    ignore: bool
    stores: Stores = ENVIRONMENT


@dataclass
class Piece:
    """Rows and where they begin: `place` is None for the statement, else (byte, line) of the block and after it."""

    batch: pa.RecordBatch
    row: int
    before: tuple[int, int] | None = None
    after: tuple[int, int] | None = None
    skip: int = 0

    def position(self, rows: int) -> dict[str, int]:
        """The position after the first `rows` rows of it."""
        row = self.row + rows
        if self.before is None or self.after is None:
            return {"row": row}
        if rows == self.batch.num_rows:
            return {"row": row, "byte": self.after[0], "line": self.after[1], "skip": 0}
        return {"row": row, "byte": self.before[0], "line": self.before[1], "skip": self.skip + rows}

    def rest(self, rows: int) -> Piece:
        return Piece(self.batch.slice(rows), self.row + rows, self.before, self.after, self.skip + rows)


class FileReader(SplitReader):
    def __init__(self, scan: FileScan, position: Any, first_row: int = 0) -> None:
        self._scan = scan
        self._decoding: BlockDecoder | None = None
        self._piece: Piece | None = None
        self._finished = False
        position = position or {"row": first_row}
        if is_local(scan.path) and not os.path.exists(scan.path):
            raise missing(scan.path)
        self._ahead = DecodeAhead(self._pieces(position), depth=2)

    def poll(self, max_rows: int) -> SourceBatch | None:
        if self._finished:
            return None
        piece = self._piece or self._ahead.next()
        self._piece = None
        if piece is None:
            self._finished = True
            return None
        rows = min(max_rows, piece.batch.num_rows)
        if rows < piece.batch.num_rows:
            self._piece = piece.rest(rows)
        return SourceBatch(piece.batch.slice(0, rows), piece.row, piece.position(rows))

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def skipped_records(self) -> int:
        return self._decoding.skipped if self._decoding else 0

    def close(self) -> None:
        self._finished = True
        self._ahead.close()

    def _pieces(self, position: Mapping[str, int]) -> Iterator[Piece]:
        try:
            with remote.os_errors():
                yield from self._read(position)
        except DataError as e:
            raise named(e, self._scan.path) from e.__cause__
        except PermissionError as e:
            hint = remote.hint(e, self._scan.path)
            raise DataError(f"{self._scan.path} cannot be read: {remote.reason(e)}", hint=hint) from e
        except FileNotFoundError as e:
            raise missing(self._scan.path, e) from e
        except (OSError, EOFError) as e:
            hint = remote.hint(e, self._scan.path) if isinstance(e, OSError) else None
            raise RunError(f"{self._scan.path}: {e}", hint=hint) from e

    def _read(self, position: Mapping[str, int]) -> Iterator[Piece]:
        scan = self._scan
        if "byte" not in position and by_statement(scan.path, scan.decoder):
            row = position["row"]
            try:
                for piece in self._statements(row):
                    yield piece
                    row += piece.batch.num_rows
                return
            except (duckdb.Error, pa.ArrowException, OSError) as e:
                # DuckDB's, when the stream starts; Arrow's or an OSError with DuckDB's text, later in it
                if isinstance(e, OSError) and not is_local(scan.path):
                    raise
                if not scan.decoder.blocks:
                    raise DataError(f"{scan.path}: {str(e).splitlines()[0]}") from e
                position = {"row": row}  # and find the malformed record on the careful way
        yield from self._blocks(position)

    def _statements(self, row: int) -> Iterator[Piece]:
        """By statement; a second one, in smaller batches, from the row on at which strings are too long for one batch."""
        rows = BATCH
        while True:
            try:
                for batch in self._statement(row, rows):
                    yield Piece(batch, row)
                    row += batch.num_rows
                return
            except (duckdb.Error, pa.ArrowException, OSError) as e:
                if TOO_LONG not in str(e) or rows == FEWEST:
                    raise
                rows = FEWEST

    def _statement(self, row: int, rows: int) -> Iterator[pa.RecordBatch]:
        scan, cursor = self._scan, own_cursor()
        with for_statement(scan.path, scan.stores) as path:
            texts = scan.decoder.texts()
            if texts is None:
                sql = scan.decoder.resumed(literal(path), scan.constants, row)
            else:
                sql = scan.decoder.resumed_texts(literal(path), scan.constants, row)
                derivation, checking = Derivation(scan.request), own_cursor()
            for batch in cursor.sql(sql).to_arrow_reader(rows):
                if not batch.num_rows:
                    continue
                if texts is not None:
                    batch = derivation.of(texts.values(batch, checking))
                yield conform(batch, scan.request)

    def _blocks(self, position: Mapping[str, int]) -> Iterator[Piece]:
        scan = self._scan
        self._decoding = BlockDecoder(scan.decoder, scan.request, scan.constants, scan.path, scan.format, scan.ignore)
        at, line = position.get("byte", 0), position.get("line", 1)
        # with a place the rows before it are done; without one all rows count from the start of the file
        skip = position.get("skip", 0) if "byte" in position else position["row"]
        row = position["row"] - skip
        with opened(scan.path, at, scan.stores) as file:
            for head, data in whole_records(file, scan.decoder, at == 0):
                at, line = at + len(head), line + head.count(b"\n")
                after = (at + len(data), line + newlines(data))
                batch = self._decoding.decode(data, line)
                rows = batch.num_rows if batch is not None else 0
                if batch is not None and rows > skip:
                    piece = Piece(batch, row, (at, line), after)
                    yield piece.rest(skip) if skip else piece
                row, skip = row + rows, max(0, skip - rows)
                at, line = after


def by_statement(path: str, decoder: Decoder) -> bool:
    """Whether one DuckDB statement can read the file."""
    if not decoder.blocks:
        return True
    if not decoder.statement or not is_local(path) or compression_of(path) not in (None, "gzip", "zstd"):
        return False
    with opened(path, 0) as file:
        start = file.read(HEAD)
    mark = len(BOM) if start.startswith(BOM) else 0
    try:
        decoder.head(start[mark:])
    except DataError as e:
        raise named(e, path) from e
    if len(start) - mark == 1:
        return False  # DuckDB takes a JSON file of one byte for an empty one, whatever the byte is
    return decoder.byte_order_mark or not mark


@contextlib.contextmanager
def for_statement(path: str, stores: Stores) -> Iterator[str]:
    """The path by which DuckDB reads the file: a remote one is opened here, and lent to it."""
    if is_local(path):
        yield path
        return
    with open_binary(path, stores) as file, Slot().holding(file) as lent:
        yield lent


def named(error: DataError, path: str) -> DataError:
    """`error` with the file's path in its message."""
    return error if path in error.message else DataError(f"{path}: {error.message}", hint=error.hint)


def newlines(data: bytes) -> int:
    """How many lines end in `data`; three times as fast as bytes.count()."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == 10))


class opened:
    """`with opened(path, byte, stores) as file`: a binary file, decompressed, standing at `byte`."""

    def __init__(self, path: str, byte: int, stores: Stores = ENVIRONMENT) -> None:
        self._raw = open_binary(path, stores)
        compression = compression_of(path)
        self._file: Any = self._raw
        if compression:
            self._file = pa.CompressedInputStream(pa.PythonFile(self._raw, "r"), compression)
            while byte > 0 and (got := len(self._file.read(min(byte, BLOCK)))):
                byte -= got
        elif byte:
            self._raw.seek(byte)

    def __enter__(self) -> Any:
        return self._file

    def __exit__(self, *exc: object) -> None:
        self._raw.close()


def whole_records(file: Any, decoder: Decoder, start: bool) -> Iterator[tuple[bytes, bytes]]:
    """(head, block) to the end of `file`: blocks of whole records; the last record needs no newline.

    `start`: the file stands at its first byte, so a byte order mark and the format's own head come before the
    first block, as `head`; else it is empty.
    """
    rest = b""
    head = b""
    while True:
        got = file.read(BLOCK)
        data = rest + got if rest else got
        if start and (len(data) >= len(BOM) or not got):
            mark = len(BOM) if data.startswith(BOM) else 0
            size = mark + decoder.head(data[mark:])
            head, data, start = data[:size], data[size:], False
        cut = decoder.cut(data) if got else len(data)
        if cut:
            yield head, data[:cut]
            head = b""
        elif len(data) > LONGEST:
            raise DataError(f"a record is longer than {LONGEST // 2**20} MB: the file is not of this format")
        if not got:
            return
        rest = data[cut:]
