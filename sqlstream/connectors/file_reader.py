"""Reads one complete file.

`_statement` is one way, for local files (and parquet wherever it is): one DuckDB statement over the file, streamed
in file order; the position is {"row": n}, and resuming skips n rows. `_blocks` is the other, for everything else
(remote files, other compressions, byte order marks), from the row on where a statement failed, and for lines of JSON,
which a scanner takes in faster than a statement (unless the first of them are unusual): blocks of whole records
decoded from memory, a malformed one found and named, or skipped and counted; the position adds the block's place,
{"row", "byte", "line", "skip"}: seek to `byte` (of the decompressed bytes), decode on, drop `skip` rows. Files that are packed in
blocks of their own (Avro) are read by these (`packed.py`), with positions of the same form.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from sqlstream import stores as remote
from sqlstream.connectors.block_decoder import BlockDecoder, ToolPool
from sqlstream.connectors.blocks import BOM, parts_of, values_a_record, whole_records
from sqlstream.connectors.decode_ahead import DecodeAhead
from sqlstream.connectors.derive import Derivation, conform
from sqlstream.connectors.packed import packed_pieces
from sqlstream.connectors.paths import (
    compression_of,
    damaged_hint,
    is_local,
    missing,
    open_binary,
    opened,
    opens_by_name,
)
from sqlstream.connectors.pieces import Piece, Place
from sqlstream.connectors.scanning import is_best, is_scanned
from sqlstream.connectors.streams import is_stream
from sqlstream.contracts import UNKNOWN, Passed, Pending, ScanRequest, SourceBatch, SplitReader
from sqlstream.duck import FAILURES
from sqlstream.errors import CheckpointError, DataError, RunError
from sqlstream.formats.base import Decoder
from sqlstream.formats.cursor import Slot, own_cursor, scan_cursor
from sqlstream.formats.readers import LONGEST_OBJECT
from sqlstream.formats.stretches import Stretch, is_wanted
from sqlstream.stores import ENVIRONMENT, Stores

BATCH = 131_072  # rows: what is derived from them costs a millisecond a batch beside its rows
FEWEST, TOO_LONG = 2048, "maximum total string size"  # DuckDB's, when the strings of a batch have more than 2 GiB
HEAD = 65_536
NO_ROWS = pa.RecordBatch.from_arrays([pa.array([], pa.int8())], names=["none"])


@dataclass(frozen=True)
class FileScan:
    """How to read one file."""

    path: str
    decoder: Decoder
    request: ScanRequest
    constants: Mapping[str, str]
    format: str
    skips: bool
    stores: Stores = ENVIRONMENT
    pool: ToolPool = field(default_factory=ToolPool)
    keeps: bool = False  # malformed records
    undeclared: bool = False  # the table's columns were told from its files
    name: str = ""  # as errors have it: that of a pipe of which the path is a copy
    size: int | None = None  # bytes, if that is known

    def blocks(self) -> BlockDecoder:
        """What decodes blocks of it."""
        return BlockDecoder(
            self.decoder,
            self.request,
            self.constants,
            self.name or self.path,
            self.format,
            self.skips,
            self.pool,
            self.keeps,
            self.undeclared,
        )


class FileReader(SplitReader):
    """The rows of one file in order, decoded ahead on a thread; `first_row` counts where no position is known.

    DataError: the file is not there, or a record is malformed. CheckpointError: part of a pipe was read before.
    """

    def __init__(self, scan: FileScan, position: Any, first_row: int = 0) -> None:
        self._scan = scan
        self._decoding: BlockDecoder | None = None
        self._piece: Piece | None = None
        self._finished = self._ended = False  # what is read of the file is taken; there is no more to read
        if is_local(scan.path) and not os.path.exists(scan.path):
            raise missing(scan.path)
        self._canceled: threading.Event | None = None
        if is_stream(scan.path):
            if position:
                raise CheckpointError(
                    f"{scan.path} is a pipe or a device: what the job has read of it is gone, so it cannot go on",
                    hint="write what comes from it to files, or start anew with --fresh",
                )
            self._canceled = threading.Event()
        position = position or {"row": first_row}
        self._size = None if self._canceled is not None else scan.size
        self._bytewise = compression_of(scan.path) is None  # else its positions are of what it holds
        self._from = self._at = int(position.get("byte", 0)) if self._bytewise else 0
        self._ahead = DecodeAhead(self._pieces(position), depth=2)

    def poll(self, max_rows: int) -> SourceBatch | None:
        if self._finished:
            return None
        # What a stream has not given yet is not waited for: there are other splits, and the job may be asked to stop.
        piece = self._piece or self._ahead.next(None if self._canceled is None else 0)
        self._piece = None
        if piece is None:
            self._finished = self._ahead.ended
            return None
        rows = min(max_rows, piece.batch.num_rows)
        if rows < piece.batch.num_rows:
            self._piece = piece.rest(rows)
        bad, position = piece.bad_up_to(rows), piece.position(rows)
        self._at = position.get("byte", self._at) if self._bytewise else 0
        return SourceBatch(piece.batch.slice(0, rows), piece.row, position, bad=bad, passed=piece.passed)

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def skipped_records(self) -> int:
        return self._decoding.skipped if self._decoding else 0

    @property
    def bytes_read(self) -> int | None:
        """Of a file whose positions are no bytes of it all of them, when it was read."""
        if self._size is None:
            return None
        return max(0, (self._size if self._finished else min(self._at, self._size)) - self._from)

    @property
    def pending(self) -> Pending:
        return UNKNOWN if self._size is None else Pending(bytes=0 if self._finished else max(0, self._size - self._at))

    def close(self) -> None:
        self._finished = True
        if self._canceled is not None:
            self._canceled.set()
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
            raise RunError(f"{self._scan.path}: {e}", hint=hint or damaged_hint(self._scan.path)) from e

    def _read(self, position: Mapping[str, int]) -> Iterator[Piece]:
        scan = self._scan
        if not is_wanted(scan.request, scan.constants):
            yield Piece(NO_ROWS, position["row"], passed=Passed(files=1))
            return
        if scan.decoder.packs:
            yield from packed_pieces(scan, Place(position))
            return
        by_rows = "byte" not in position
        if by_rows and is_local(scan.path) and is_best(scan.decoder, os.path.getsize(scan.path)):
            place = Place(position)
            yield from self._blocks(place, unless_left=True)
            if self._ended:
                return
            position = {"row": place.row + place.skip}
        if by_rows and by_statement(scan.path, scan.decoder):
            row = position["row"]
            try:
                for piece in self._statements(row):
                    yield piece
                    row += piece.batch.num_rows + (piece.passed.rows if piece.passed else 0)
                return
            except (*FAILURES, pa.ArrowException, OSError) as e:
                # DuckDB's, when the stream starts; Arrow's or an OSError with DuckDB's text, later in it
                if isinstance(e, OSError) and not is_local(scan.path):
                    raise
                if not scan.decoder.blocks:
                    why = str(e).splitlines()[0]
                    why = scan.decoder.explained(scan.path, why) if opens_by_name(scan.path) else why
                    raise DataError(f"{scan.path}: {why}") from e
                position = {"row": row}  # and find the malformed record on the careful way
        yield from self._blocks(Place(position))

    def _statements(self, row: int) -> Iterator[Piece]:
        """By a statement for each stretch that is to be read."""
        for s in self._stretches():
            if s.end is None or s.end > row:
                row = max(row, s.first)
                if s.skipped:
                    assert s.end is not None
                    yield Piece(NO_ROWS, row, passed=Passed(s.end - row, s.mark, s.row_groups))
                else:
                    yield from self._of_stretch(row, s.end)
                row = s.end or row

    def _stretches(self) -> list[Stretch]:
        scan = self._scan
        if scan.request.skip is None or scan.decoder.blocks:
            return [Stretch()]
        with for_statement(scan.path, scan.stores) as path, open_binary(scan.path, scan.stores) as file:
            return scan.decoder.stretches(path, file, scan.constants)

    def _of_stretch(self, row: int, end: int | None) -> Iterator[Piece]:
        """By statement; a second one, in smaller batches, from the row on whose strings are too long for one batch."""
        rows = BATCH
        while True:
            try:
                for batch in self._statement(row, end, rows):
                    yield Piece(batch, row)
                    row += batch.num_rows
                return
            except (*FAILURES, pa.ArrowException, OSError) as e:
                if TOO_LONG not in str(e) or rows == FEWEST:
                    raise
                rows = FEWEST

    def _statement(self, row: int, end: int | None, rows: int) -> Iterator[pa.RecordBatch]:
        scan, cursor = self._scan, scan_cursor(self._scan.request)
        with for_statement(scan.path, scan.stores) as path:
            texts = scan.decoder.texts()
            if texts is None:
                sql = scan.decoder.resumed(path, scan.constants, row, end)
            else:
                sql = scan.decoder.resumed_texts(path, scan.constants, row)
                derivation, checking = Derivation(scan.request), own_cursor()
            for batch in cursor.sql(sql).to_arrow_reader(rows):
                if not batch.num_rows:
                    continue
                if texts is not None:
                    batch = derivation.of(texts.values(batch, checking))
                yield conform(batch, scan.request)

    def _blocks(self, place: Place, unless_left: bool = False) -> Iterator[Piece]:
        """By blocks from `place` on, which goes along. `unless_left`: it ends where a scanner leaves the first lines, and a statement
        can go on from there."""
        scan = self._scan
        self._decoding = decoding = scan.blocks()
        many = is_local(scan.path) and self._canceled is None and is_scanned(scan.decoder)
        values, first = values_a_record(scan.request), place.row
        with opened(scan.path, place.byte, scan.stores, self._canceled) as file:
            for head, block in whole_records(file, scan.decoder, place.byte == 0, many):
                place.passed(len(head), scan.decoder.lines(head))
                for part in parts_of(block, scan.decoder, values):
                    unless_left = unless_left and place.row == first
                    piece = place.take(part, decoding)
                    if piece is not None:
                        yield piece
                    left = unless_left and decoding.left and not decoding.skipped
                    if left and by_statement(scan.path, scan.decoder):
                        decoding.rest()
                        return
        decoding.rest()
        self._ended = True


def by_statement(path: str, decoder: Decoder) -> bool:
    """Whether one DuckDB statement can read the file."""
    if not decoder.blocks:
        return decoder.statement
    if not decoder.statement or not opens_by_name(path) or is_stream(path) or compression_of(path):
        return False  # DuckDB checks no checksum of gzip's, nor does it say how long records are
    if has_long_records(path):
        return False
    with opened(path, 0) as file:
        start = file.read(HEAD)
    if len(start) > os.path.getsize(path):
        return False  # as files in /proc, of which the size says nothing
    mark = len(BOM) if start.startswith(BOM) else 0
    try:
        if decoder.head(start[mark:], complete=len(start) < HEAD) is None:
            return False
    except DataError as e:
        raise named(e, path) from e
    if len(start) - mark == 1:
        return False  # DuckDB takes a JSON file of one byte for an empty one, whatever the byte is
    if mark and not decoder.byte_order_mark:
        return False
    with opened(path, 0) as file:
        return decoder.plain(file)


def has_long_records(path: str) -> bool:
    """Whether a record of the local file may be too long for DuckDB: a piece of half that size has no line end."""
    piece = LONGEST_OBJECT // 2
    size = os.path.getsize(path)
    if size <= LONGEST_OBJECT:
        return False
    with open(path, "rb") as file:
        for begin in range(0, size - piece, piece):
            file.seek(begin)
            left = piece
            while left > 0 and b"\n" not in (read := file.read(min(HEAD, left))):
                left -= len(read)
            if left <= 0:
                return True
    return False


@contextlib.contextmanager
def for_statement(path: str, stores: Stores) -> Iterator[str]:
    """The path by which DuckDB reads the file: one that it cannot open is opened here, and lent to it."""
    if opens_by_name(path):
        yield path
        return
    with open_binary(path, stores) as file, Slot().holding(file) as lent:
        yield lent


def named(error: DataError, path: str) -> DataError:
    """`error` with the file's path in its message."""
    return error if path in error.message else DataError(f"{path}: {error.message}", hint=error.hint)
