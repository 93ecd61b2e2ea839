"""Reads a file that may grow: what is appended is decoded in blocks cut at the last whole record.

The position is that of `file_reader.py`, {"row", "byte", "line", "skip"}, with what tells the file from others: "head"
(how many of its first bytes, and their digest), "tail" (the digest of those just before `byte`), and "size" where the
file had more. A last record without its end waits, a header too. Where the file is, and whether it changed, its `Watch`
says. Files that cannot grow (compressed, parquet) wait until they are whole, and are read once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlstream import stores as remote
from sqlstream.connectors.block_decoder import BlockDecoder
from sqlstream.connectors.blocks import BOM, LONGEST, Block
from sqlstream.connectors.file_reader import FileReader, FileScan, named
from sqlstream.connectors.fingerprint import WINDOW, Mark, digest, is_whole, piece
from sqlstream.connectors.paths import BLOCK, damaged_hint, is_local, open_binary
from sqlstream.connectors.pieces import Piece, Place
from sqlstream.connectors.watch import Watch, WatchedFile
from sqlstream.contracts import Pending, SourceBatch, SplitReader
from sqlstream.errors import DataError, RunError

UPTO = "upto"  # in the info of a split: where its reader stops


class GrowingReader(SplitReader):
    """`file`: what `watch` knows of it; None when it has ended before. `upto`: it is read no further (bytes)."""

    def __init__(
        self,
        scan: FileScan,
        position: Any,
        first_row: int,
        watch: Watch,
        file: WatchedFile | None,
        upto: int | None = None,
    ) -> None:
        self._upto = upto
        self._scan = scan
        self._watch, self._file = watch, file
        self._seen = -1  # the file's version when it was last looked into
        self._whole: FileReader | None = None
        position = position or {}
        self._place = Place({"row": first_row, **position})
        self._from = self._given = self._place.byte  # where what it gives begins, and where what was given ends
        self._mark = Mark.of(position)
        self._mark_before = self._mark
        self._piece: Piece | None = None
        self._wanted = BLOCK
        self._at_end = False  # what was taken last was all there was
        self._finished = file is None
        self._blocks: BlockDecoder | None = None

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def skipped_records(self) -> int:
        readers = (self._blocks.skipped if self._blocks else 0, self._whole.skipped_records if self._whole else 0)
        return sum(readers)

    @property
    def bytes_read(self) -> int | None:
        return self._given - self._from if self._whole is None else self._whole.bytes_read

    @property
    def pending(self) -> Pending:
        if self._whole is not None:
            return self._whole.pending
        size = 0 if self._file is None or self._finished else self._file.size
        return Pending(bytes=max(0, (size if self._upto is None else min(size, self._upto)) - self._given))

    @property
    def superseded(self) -> bool:
        return self._file is not None and self._watch.superseded(self._file)

    @property
    def wakes_closed(self) -> bool:
        return True

    def rest(self, wake: Callable[[], None]) -> bool:
        if self._file is None or self._piece is not None or self._file.version != self._seen:
            return False
        self._file.wake = wake
        if self._blocks is not None:
            self._blocks.rest()
        return self._file.version == self._seen  # else something came just now

    def close(self) -> None:
        if self._blocks is not None:
            self._blocks.rest()
        if self._whole:
            self._whole.close()

    def poll(self, max_rows: int) -> SourceBatch | None:
        file = self._file
        if file is None or self._finished:
            return None
        self._watch.look()
        if self._piece is None and (file.version != self._seen or not self._at_end):
            self._guarded(self._look, file)
        if self._whole is not None:
            return self._rest_of_archive(self._whole, file, max_rows)
        if self._piece is None:
            if file.ended and file.version == self._seen:
                self._finish(file)
            return None
        return self._taken(self._piece, max_rows)

    def _taken(self, piece: Piece, max_rows: int) -> SourceBatch:
        rows = min(max_rows, piece.batch.num_rows)
        self._piece = piece.rest(rows) if rows < piece.batch.num_rows else None
        position: dict[str, Any] = piece.position(rows)
        mark = self._mark if position["byte"] == self._place.byte else self._mark_before
        position |= {"head": [mark.size_of_head, mark.head], "tail": mark.tail}
        if mark.size > mark.byte:
            position["size"] = mark.size
        self._given = position["byte"]
        drained = self._piece is None and self._at_end
        return SourceBatch(piece.batch.slice(0, rows), piece.row, position, drained, piece.bad_up_to(rows))

    def _finish(self, file: WatchedFile) -> None:
        self._finished = True
        self._watch.done(file)

    # ---- files that grow

    def _guarded(self, look: Callable[[WatchedFile], None], file: WatchedFile) -> None:
        path = file.path or self._scan.path
        try:
            with remote.os_errors():
                look(file)
        except DataError as e:
            raise named(e, path) from e.__cause__
        except FileNotFoundError:
            self._seen = file.version  # the watch will find it elsewhere, or say that it is gone
        except PermissionError as e:
            raise DataError(f"{path} cannot be read: {remote.reason(e)}", hint=remote.hint(e, path)) from e
        except OSError as e:
            raise RunError(f"{path}: {e}", hint=remote.hint(e, path) or damaged_hint(path)) from e

    def _look(self, file: WatchedFile) -> None:
        """Take in what the file has more."""
        seen, path, size = file.version, file.path, file.size
        if path is None:
            self._seen, self._at_end = seen, True
        elif not self._watch.grows(path):
            self._open_archive(path, file.size, seen)
        else:
            if is_local(path):
                status = os.stat(path)
                if file.key is not None and (status.st_dev, status.st_ino) != file.key:
                    self._seen, self._at_end = seen, True  # the watch will find it under another name
                    return
                size = status.st_size
            self._take(file, path, size if self._upto is None else min(size, self._upto))
            self._seen = seen

    def _take(self, file: WatchedFile, path: str, size: int) -> None:
        begin = max(0, self._place.byte - WINDOW)
        data = piece(path, begin, min(size, self._place.byte + self._wanted), self._scan.stores)
        before, data = data[: self._place.byte - begin], data[self._place.byte - begin :]
        if len(before) < self._place.byte - begin or (self._mark.tail and digest(before) != self._mark.tail):
            self._at_end = True
            self._watch.suspect(file)
            return
        head: int | None = 0
        if self._place.byte == 0:
            if len(data) < len(BOM) and BOM.startswith(data):
                self._at_end = True
                return
            mark = len(BOM) if data.startswith(BOM) else 0
            head = self._scan.decoder.head(data[mark:], complete=False)
            head = None if head is None else mark + head
        cut = 0 if head is None else self._scan.decoder.cut(data[head:])
        at_end = self._place.byte + len(data) >= size
        if head is None or not cut:
            if not at_end:
                if self._wanted >= LONGEST:
                    raise DataError(f"{path}: a record is longer than {LONGEST // 2**20} MB")
                self._wanted *= 2
                return self._take(file, path, size)
            self._at_end = True  # an incomplete last record: wait for its end
            self._watch.read(file, replace(self._mark, size=size))
            return
        self._wanted, self._at_end = BLOCK, at_end
        self._advance(path, before, data, head, cut, size)
        self._watch.read(file, self._mark)

    def _advance(self, path: str, before: bytes, data: bytes, head: int, cut: int, size: int) -> None:
        place = self._place
        place.passed(head, self._scan.decoder.lines(data[:head]))
        self._mark_before = self._marked(path, place.byte, size, before + data[:head])
        self._piece = place.take(Block.of(data[head : head + cut]), self._decoding())
        self._mark = self._marked(path, place.byte, size, before + data[: head + cut])

    def _decoding(self) -> BlockDecoder:
        if self._blocks is None:
            self._blocks = self._scan.blocks()
        return self._blocks

    def _marked(self, path: str, byte: int, size: int, before: bytes) -> Mark:
        """The mark at `byte`; `before` are the bytes in front of it, WINDOW at least where there are so many."""
        mark = self._mark
        if mark.size_of_head < min(byte, WINDOW):
            start = before if len(before) >= byte else piece(path, 0, min(byte, WINDOW), self._scan.stores)
            mark = replace(mark, size_of_head=min(byte, WINDOW), head=digest(start[: min(byte, WINDOW)]))
        return replace(mark, byte=byte, size=size, tail=digest(before[-WINDOW:]))

    # ---- files that do not

    def _open_archive(self, path: str, size: int, seen: int) -> None:
        self._seen, self._at_end = seen, True
        if size and self._is_whole(path):
            place, scan = self._place, replace(self._scan, path=path, size=size)
            assert self._file is not None
            self._mark = self._watch.opened(self._file)
            self._whole = FileReader(scan, place.position() if place.byte else None, place.row + place.skip)

    def _is_whole(self, path: str) -> bool:
        """Whether nobody is still writing it."""
        if not self._scan.decoder.blocks:
            with open_binary(path, self._scan.stores) as file:
                return self._scan.decoder.is_whole(file)
        return is_whole(path, self._scan.stores)

    def _rest_of_archive(self, whole: FileReader, file: WatchedFile, max_rows: int) -> SourceBatch | None:
        got = whole.poll(max_rows)
        if whole.finished:
            self._finish(file)
        if got is None:
            return None
        return replace(got, position=got.position | {"size": self._mark.size, "whole": self._mark.whole})
