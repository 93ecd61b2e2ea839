"""A savepoint's rows: each file is compared with what `_metadata` says of it before anything of it is believed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sqlstream.checkpoint.state_rows import hidden, shown_schema
from sqlstream.checkpoint.storage import CheckpointStorage, failing_as
from sqlstream.errors import CheckpointError
from sqlstream.savepoint.record import METADATA, Piece, Record, SavedState
from sqlstream.state.table import Rows
from sqlstream.stores import ENVIRONMENT, Stores

READ_ROWS = 1 << 16


class SavedRows:
    """The savepoint at `url`. `work`: a directory that files of a remote store come to, one by one."""

    def __init__(self, url: str, work: Path, stores: Stores = ENVIRONMENT) -> None:
        self.storage = CheckpointStorage(url.rstrip("/").removesuffix(f"/{METADATA}"), stores)
        self._work = work
        where = self.storage.shown(METADATA)
        if self.storage.stat(METADATA) is None:
            raise CheckpointError(
                f"{self.storage.url} is no savepoint: there is no {METADATA}",
                hint="name the directory savepoint-<job>-<id>; one without this file was not completed",
            )
        self.record = Record.from_json(self.storage.read(METADATA), where)

    def verify(self) -> None:
        """CheckpointError, with the file's name, unless every file is there as it was written."""
        for piece in self.record.pieces():
            with self._local(piece):
                pass

    def rows(self, state: SavedState, subtask: int | None = None) -> Iterator[Rows]:
        """The rows of a state, or those that one task had, in their order."""
        for batch in self.batches(state, subtask):
            yield hidden(state.schema, batch)

    def batches(self, state: SavedState, subtask: int | None = None) -> Iterator[pa.RecordBatch]:
        """The same under the users' names."""
        for piece in state.pieces:
            if subtask is None or piece.subtask == subtask:
                with self._local(piece) as path:
                    yield from _read(path, piece, state, self.storage.shown(piece.name))

    def _local(self, piece: Piece) -> _Local:
        return _Local(self.storage, piece, self._work)


class _Local:
    """A context: a piece on a local disk, whole."""

    def __init__(self, storage: CheckpointStorage, piece: Piece, work: Path) -> None:
        self._storage, self._piece, self._work = storage, piece, work
        self._fetched: Path | None = None

    def __enter__(self) -> Path:
        piece, shown = self._piece, self._storage.shown(self._piece.name)
        path = self._storage.local_path(piece.name)
        if path is None:
            self._fetched = path = self._work / piece.name.replace("/", "-")
            if self._storage.stat(piece.name) is not None:
                self._storage.fetch(piece.name, path)
        if not path.is_file():
            raise _damaged(shown, "is missing")
        with failing_as("read", shown):
            size = path.stat().st_size
        if size != piece.size:
            raise _damaged(shown, f"has {size} bytes instead of {piece.size}")
        if self._storage.hashes.of(path) != piece.sha256:
            raise _damaged(shown, "is damaged: it is not the file that was written")
        return path

    def __exit__(self, *_: object) -> None:
        if self._fetched is not None:
            self._fetched.unlink(missing_ok=True)


def _read(path: Path, piece: Piece, state: SavedState, shown: str) -> Iterator[pa.RecordBatch]:
    expected = shown_schema(state.schema)
    with failing_as("read", shown), pq.ParquetFile(path) as file:
        if file.metadata.num_rows != piece.rows:
            raise _damaged(shown, f"has {file.metadata.num_rows} rows instead of {piece.rows}")
        if len(expected) and list(file.schema_arrow.types) != list(expected.types):
            raise _damaged(shown, "has rows in another form than its state")
        yield from file.iter_batches(READ_ROWS)


def _damaged(file: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"{file} {what}", hint="the savepoint is damaged: take another one, or restore the file from a backup"
    )
