"""Reads a file that may grow: what is appended is decoded in blocks cut at the last whole record.

The position is {"row", "byte", "line", "skip", "tail"}: that of `file_reader.py`, and a digest of the bytes just
before `byte`, by which a file replaced or cut short is told from one that grew. A last record without its end
waits. A file deleted after it was read is no error. Files that cannot grow (compressed, parquet) are read once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

from sqlstream import stores as remote
from sqlstream.connectors.base import SourceBatch, SplitReader
from sqlstream.connectors.block_decoder import BlockDecoder
from sqlstream.connectors.file_reader import BLOCK, BOM, LONGEST, FileReader, FileScan, Piece, named, newlines
from sqlstream.connectors.paths import compression_of, is_local
from sqlstream.errors import DataError, RunError

TAIL = 256  # bytes before the position that are compared


class GrowingReader(SplitReader):
    """`clock`: seconds; the file is looked at once every `interval` seconds, more often while it has more to give."""

    def __init__(
        self, scan: FileScan, position: Any, first_row: int, interval: float, clock: Callable[[], float]
    ) -> None:
        self._scan = scan
        self.clock = clock
        self._interval = interval
        self._looked: float | None = None
        self._whole: FileReader | None = None
        position = position or {}
        self._row = int(position.get("row", first_row))
        self._byte, self._line = int(position.get("byte", 0)), int(position.get("line", 1))
        self._skip = int(position.get("skip", 0 if "byte" in position else self._row))
        self._row -= self._skip
        self._tail: str | None = position.get("tail")
        self._tail_before: str | None = None
        self._checked = (-1, 0)  # size and time of the file when its tail was last found right
        self._piece: Piece | None = None
        self._wanted = BLOCK
        self._at_end = False  # what was taken last was all there was
        if compression_of(scan.path) or not scan.decoder.blocks:
            self._whole = FileReader(scan, position or None, first_row)
            return
        self._decoding = BlockDecoder(scan.decoder, scan.request, scan.constants, scan.path, scan.format, scan.ignore)

    @property
    def finished(self) -> bool:
        return False

    @property
    def skipped_records(self) -> int:
        return self._whole.skipped_records if self._whole else self._decoding.skipped

    def close(self) -> None:
        if self._whole:
            self._whole.close()

    def poll(self, max_rows: int) -> SourceBatch | None:
        if self._whole:
            return self._whole.poll(max_rows)
        if self._piece is None and not self._look():
            return None
        piece = self._piece
        if piece is None:
            return None
        rows = min(max_rows, piece.batch.num_rows)
        self._piece = piece.rest(rows) if rows < piece.batch.num_rows else None
        position: dict[str, Any] = piece.position(rows)
        position["tail"] = self._tail if position["skip"] == 0 else self._tail_before
        drained = self._piece is None and self._at_end
        return SourceBatch(piece.batch.slice(0, rows), piece.row, position, drained)

    def _look(self) -> bool:
        """Take in what the file has more. False: nothing now."""
        now = self.clock()
        if self._looked is not None and now - self._looked < self._interval:
            return False
        try:
            with remote.os_errors():
                more = self._take()
        except DataError as e:
            raise named(e, self._scan.path) from e.__cause__
        except FileNotFoundError:
            more = False  # deleted: what was read of it stands
        except PermissionError as e:
            hint = remote.hint(e, self._scan.path)
            raise DataError(f"{self._scan.path} cannot be read: {remote.reason(e)}", hint=hint) from e
        except OSError as e:
            raise RunError(f"{self._scan.path}: {e}", hint=remote.hint(e, self._scan.path)) from e
        self._looked = None if more and not self._at_end else now
        return more

    def _take(self) -> bool:
        size, modified = self._status()
        if size < self._byte:
            raise self._replaced(f"it has {size} bytes, and {self._byte} were read")
        if (size, modified) == self._checked:
            return False
        begin = max(0, self._byte - TAIL)
        data = self._range(begin, min(size, self._byte + self._wanted))
        before, data = data[: self._byte - begin], data[self._byte - begin :]
        if self._tail is not None and digest(before) != self._tail:
            raise self._replaced("the bytes before the position are others")
        head = 0
        if self._byte == 0:
            if len(data) < len(BOM) and data and BOM.startswith(data):
                return False
            mark = len(BOM) if data.startswith(BOM) else 0
            head = mark + self._scan.decoder.head(data[mark:])
        cut = self._scan.decoder.cut(data[head:])
        if not cut:
            if self._byte + len(data) < size:
                if self._wanted >= LONGEST:
                    raise DataError(f"{self._scan.path}: a record is longer than {LONGEST // 2**20} MB")
                self._wanted *= 2
                return self._take()
            self._checked = (size, modified)  # an incomplete last record: wait for its end
            return False
        self._wanted = BLOCK
        self._at_end = self._byte + len(data) >= size
        self._advance(before, data, head, cut)
        return True

    def _advance(self, before: bytes, data: bytes, head: int, cut: int) -> None:
        self._line += data[:head].count(b"\n")
        self._tail_before = digest((before + data[:head])[-TAIL:])
        start, line = self._byte + head, self._line
        body = data[head : head + cut]
        batch = self._decoding.decode(body, line)
        self._byte, self._line = start + cut, line + newlines(body)
        self._tail = digest((before + data[: head + cut])[-TAIL:])
        rows = batch.num_rows if batch is not None else 0
        if batch is not None and rows > self._skip:
            piece = Piece(batch, self._row, (start, line), (self._byte, self._line))
            self._piece = piece.rest(self._skip) if self._skip else piece
        self._row, self._skip = self._row + rows, max(0, self._skip - rows)

    def _replaced(self, what: str) -> DataError:
        return DataError(
            f"{self._scan.path} was replaced or cut short while it was read: {what}",
            hint="append to files, or write new ones; a job that read the old bytes cannot take them back",
        )

    def _status(self) -> tuple[int, int]:
        if is_local(self._scan.path):
            status = os.stat(self._scan.path)
            return status.st_size, status.st_mtime_ns
        fs, inner = self._scan.stores.filesystem(self._scan.path)
        fs.invalidate_cache()
        return int(fs.info(inner)["size"]), 0

    def _range(self, begin: int, end: int) -> bytes:
        if is_local(self._scan.path):
            with open(self._scan.path, "rb") as file:
                file.seek(begin)
                return file.read(end - begin)
        fs, inner = self._scan.stores.filesystem(self._scan.path)
        return bytes(fs.cat_file(inner, start=begin, end=end))


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
