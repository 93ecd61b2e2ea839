"""A savepoint out of the files of a checkpoint, beside whatever goes on.

It is there when `_metadata` is: on a local disk it is written under a name that begins with a dot, and renamed then; on
an object store, which cannot rename, that file comes last. What a killed process left goes with the next savepoint of the
same run there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sqlstream import faults
from sqlstream.checkpoint.manifest import Manifest, OperatorState, TaskState
from sqlstream.checkpoint.state_rows import TaskRows, shown
from sqlstream.checkpoint.storage import CheckpointStorage, failing_as, sha256_of
from sqlstream.errors import CheckpointError
from sqlstream.own_files import OwnDirectory, sync_directory
from sqlstream.savepoint.record import METADATA, Piece, Record, SavedOperator, SavedState, Savepoint
from sqlstream.stores import ENVIRONMENT, Stores

ROWS_A_PIECE = 1 << 21
ROWS_A_GROUP, BYTES_A_GROUP = 1 << 17, 64 << 20
NOT_SAID = ("finished", "drained", "state", "inherited", "claimed", "savepoint")  # metrics of a checkpoint only


def write_savepoint(
    storage: CheckpointStorage,
    manifest: Manifest,
    directory: str,
    origin: str,
    work: Path,
    stores: Stores = ENVIRONMENT,
    check: Callable[[], object] = object,
) -> Savepoint:
    """The savepoint of a checkpoint whose files are in `storage`, and whose output is published, in `directory`.

    `work`: a local directory of the caller's. `check` is called again and again, and may raise what ends it.
    CheckpointError when it could not be written; then nothing of it is left.
    """
    place = _Place(directory, manifest, stores)
    try:
        faults.point("before-savepoint")
        place.begin()
        operators = {key: _operator(storage, key, o, place, work, check) for key, o in manifest.operators.items()}
        metrics = {k: v for k, v in manifest.metrics.items() if k not in NOT_SAID}
        record = Record(
            place.id,
            origin,
            datetime.now(UTC).isoformat(timespec="milliseconds"),
            manifest.job_name,
            manifest.run_id,
            manifest.checkpoint_id,
            manifest.epoch,
            manifest.plan_fingerprint,
            manifest.plan,
            manifest.parallelism,
            bool(manifest.metrics.get("drained")),
            operators=operators,
            nodes=manifest.nodes,
            sources=manifest.sources,
            sinks=manifest.sinks,
            metrics=metrics,
            tables=manifest.tables,
        )
        faults.point("before-metadata")
        place.complete(record.to_json())
        faults.point("after-metadata")
        return Savepoint(place.shown, record)
    except BaseException as e:
        place.forget()
        if isinstance(e, CheckpointError) and getattr(e.__cause__, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            e.hint = "free space on that disk, or name a directory on another one for the savepoint"
        raise


def _operator(
    storage: CheckpointStorage,
    key: str,
    operator: OperatorState,
    place: _Place,
    work: Path,
    check: Callable[[], object],
) -> SavedOperator:
    pieces: dict[str, list[Piece]] = {s.name: [] for s in operator.states}
    for task in operator.tasks if operator.states else ():
        if not task.files:
            continue
        with TaskRows(storage, operator, task, work / f"rows-{uuid.uuid4().hex[:8]}") as rows:
            for s in operator.states:
                folder = f"{named(key)}/{named(s.name)}"
                batches = (shown(s, some) for some in rows.of(s))
                pieces[s.name] += _pieces(place, f"{folder}/part-{task.subtask}", task, batches, work, check)
    states = tuple(SavedState(s, tuple(pieces[s.name])) for s in operator.states)
    return SavedOperator(operator.name, states, tuple(replace(t, files=()) for t in operator.tasks))


def _pieces(
    place: _Place,
    name: str,
    task: TaskState,
    batches: Iterator[pa.RecordBatch],
    work: Path,
    check: Callable[[], object],
) -> Iterator[Piece]:
    """The rows in files of bounded size."""
    n, groups = 0, _groups(batches)
    first = next(groups, None)
    while first is not None:
        n, rows, file = n + 1, 0, f"{name}-{n}.parquet"
        path = place.local(file, work)
        with failing_as("write", place.named(file)):
            path.parent.mkdir(parents=True, exist_ok=True)
            with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
                while first is not None and rows < ROWS_A_PIECE:
                    check()
                    writer.write_table(first)
                    rows += first.num_rows
                    first = next(groups, None)
            with open(path, "rb") as f:
                os.fsync(f.fileno())
        piece = Piece(file, path.stat().st_size, sha256_of(path), rows, task.subtask)
        place.put(file, path)
        faults.point("mid-savepoint")
        yield piece


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches gathered to tables that are worth a row group."""
    some: list[pa.RecordBatch] = []
    for batch in batches:
        some.append(batch)
        if sum(b.num_rows for b in some) >= ROWS_A_GROUP or sum(b.nbytes for b in some) >= BYTES_A_GROUP:
            yield pa.Table.from_batches(some)
            some = []
    if some:
        yield pa.Table.from_batches(some)


class _Place:
    """Where one savepoint is written."""

    def __init__(self, directory: str, manifest: Manifest, stores: Stores) -> None:
        parent = directory.rstrip("/") or "/"
        # A run's id is its own: what begins like this and is not complete was left by a process that was killed.
        self._ours = f"savepoint-{named(manifest.job_name)}-{manifest.run_id}-"
        self.id = f"{manifest.run_id}-{uuid.uuid4().hex[:12]}"
        self._name = f"savepoint-{named(manifest.job_name)}-{self.id}"
        self._parent = CheckpointStorage(parent, stores)
        self.is_local = self._parent.is_local
        self._written = f".{self._name}" if self.is_local else self._name
        self._storage = CheckpointStorage(f"{parent}/{self._written}", stores)
        self.shown = self._parent.shown(self._name) if self.is_local else f"{parent}/{self._name}"
        self._own = OwnDirectory(self._parent.root) if self.is_local else None

    def begin(self) -> None:
        """What a killed process of this run left here goes."""
        if self._own is None:
            names = [f.name for f in self._parent.files()]
            done = {n.partition("/")[0] for n in names if n.endswith(f"/{METADATA}") and n.count("/") == 1}
            ours = [n for n in names if n.startswith(self._ours) and n.partition("/")[0] not in done]
            self._parent.delete(ours)
            return
        root = self._own.root
        with failing_as("make the directory", root):
            os.makedirs(root, exist_ok=True)
            for name in os.listdir(root):
                if name.startswith(f".{self._ours}"):
                    self._own.remove_tree(name)
            os.mkdir(self._storage.root)

    def named(self, name: str) -> str:
        """A file of it, for messages."""
        return self._storage.shown(name)

    def local(self, name: str, work: Path) -> Path:
        """Where a file is written: in its place, or where it is uploaded from."""
        return self._storage.local_path(name) or work / f"piece-{self.id}.parquet"

    def put(self, name: str, path: Path) -> None:
        """The file is whole."""
        if not self.is_local:
            try:
                self._storage.put_file(name, path)
            finally:
                path.unlink(missing_ok=True)

    def complete(self, metadata: str) -> None:
        """From now on it is a savepoint."""
        self._storage.put(METADATA, metadata.encode())
        if self.is_local:
            with failing_as("write", self.shown):
                for folder, _, _ in os.walk(self._storage.root, topdown=False):
                    sync_directory(folder)
                os.rename(self._storage.root, self._parent.place(self._name))
                sync_directory(self._parent.root)

    def forget(self) -> None:
        """It failed."""
        with contextlib.suppress(Exception):
            if self._own is not None:
                self._own.remove_tree(self._written)
            else:
                self._storage.delete([f.name for f in self._storage.files()])


def delete_savepoint(path: str, record: Record, stores: Stores = ENVIRONMENT) -> None:
    """Deletes the files of a savepoint that `record` names, `_metadata` first, and the directories left empty."""
    storage = CheckpointStorage(path, stores)
    storage.delete([METADATA, *(p.name for p in record.pieces())])
    if storage.is_local:
        parent, _, name = storage.root.rpartition("/")
        own = OwnDirectory(parent)
        for folder in sorted({p.name.partition("/")[0] for p in record.pieces()}):
            own.remove_directory(f"{name}/{folder}")
        own.remove_directory(name)


def named(name: str) -> str:
    """A name as that of a directory: letters, digits, `_`, `-`, `~`; different names stay different."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda m: f"~{ord(m.group()):x}", name) or "~"
