"""Writes the state of one task: the chain of a base and deltas that its checkpoints consist of.

    pending = shard.prepare({"totals": table.changes()})   # at the barrier; cheap
    files = pending.run()                                  # on a background thread; writes and uploads

Every checkpoint names the whole chain, base first. A delta holds the rows changed since the last one. `run` merges
the chain into a new base (newest wins, tombstones dropped) when the deltas have outgrown half of the base and most
rows of the chain are overwritten or gone: state that only grows is never written twice. A file
is uploaded once, as shared/<sha256>.arrow; without changes nothing is.

Nothing is lost when a checkpoint fails: changes stay queued until their file is written, files stay in the chain
and are uploaded with the next checkpoint. Only one pending runs at a time, in the order of `prepare`.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlstream.checkpoint.manifest import BASE, DELTA, SHARED, FileEntry, StateSchema
from sqlstream.checkpoint.storage import CheckpointStorage, failing_as, sha256_of
from sqlstream.errors import CheckpointError, InternalError
from sqlstream.state.files import SUFFIX, StateRows, live_rows, write_file
from sqlstream.state.spec import StateSpec
from sqlstream.state.table import StateChanges

ROWS_A_FILE = 1 << 21
SMALL_BASE = 1 << 16
MOST_FILES = 200


@dataclass(frozen=True)
class Pending:
    """A checkpoint's share of one shard, to be run in the background."""

    shard: StateShard
    number: int

    def run(self) -> tuple[FileEntry, ...]:
        """The files of the checkpoint, all of them uploaded. CheckpointError when that failed."""
        return self.shard.run(self.number)


class StateShard:
    """The chain of one task of one operator.

    `directory` is the task's own, on a local disk; local copies of the chain are kept there for merging.
    `states` must keep their order for as long as the chain lives: their numbers are in the files.
    """

    def __init__(self, storage: CheckpointStorage, directory: Path, states: tuple[StateSpec, ...]) -> None:
        self.storage, self.directory, self.states = storage, directory, states
        self._numbers = {s.name: i for i, s in enumerate(states)}
        self._chain: list[FileEntry] = []
        self._uploaded: set[str] = set()
        self._queue: list[tuple[int, int, dict[str, StateChanges] | list[FileEntry]]] = []
        self._prepared = self._ran = self._files = 0
        self._live = 0
        self._running = threading.Lock()
        with failing_as("make the directory", str(directory)):
            directory.mkdir(parents=True, exist_ok=True)

    def schemas(self) -> tuple[StateSchema, ...]:
        """For the manifest."""
        return tuple(StateSchema.of(s, i) for i, s in enumerate(self.states))

    def resume(self, files: tuple[FileEntry, ...], local: dict[str, Path]) -> None:
        """Go on with the chain of the checkpoint that the tables were restored from (`local`: its files here)."""
        for f in files:
            with failing_as("copy", str(local[f.name])):
                _link(local[f.name], self._local(f.name))
        self._chain = list(files)
        self._uploaded = {f.name for f in files}

    def prepare(self, changes: dict[str, StateChanges], full: bool = False) -> Pending:
        """Take the changes of one epoch. `full`: they are the whole state, and the chain starts anew."""
        if full and set(changes) != set(self._numbers):
            raise InternalError(f"a full checkpoint of {sorted(changes)}, the states are {sorted(self._numbers)}")
        if any(c.full != full for c in changes.values()):
            raise InternalError("full changes make a full checkpoint, and only they")
        self._prepared += 1
        live = sum(c.live for c in changes.values())
        if full:
            # A whole state may be larger than memory: it is written now, a piece at a time, from the tables.
            with self._running:
                self._queue.append((self._prepared, live, self._write(changes, BASE)))
        else:
            self._queue.append((self._prepared, live, changes))
        return Pending(self, self._prepared)

    def run(self, number: int) -> tuple[FileEntry, ...]:
        with self._running:
            if number <= self._ran:
                raise InternalError(f"checkpoint share {number} runs after {self._ran}")
            while self._queue and self._queue[0][0] <= number:
                _, self._live, what = self._queue[0]
                if isinstance(what, list):
                    self._chain = what
                else:
                    self._chain = self._chain + self._write(what, DELTA if self._chain else BASE)
                self._queue.pop(0)
            if self._outgrown():
                self._merge()
            for f in self._chain:
                if f.name not in self._uploaded:
                    self.storage.put_file(f.name, self._local(f.name))
                    self._uploaded.add(f.name)
            self._forget_old()
            self._ran = number
            return tuple(self._chain)

    def _local(self, name: str) -> Path:
        return self.directory / name.rsplit("/", 1)[-1]

    def _write(self, changes: dict[str, StateChanges], kind: str) -> list[FileEntry]:
        return self._written(self._parts(changes, kind), kind)

    def _parts(self, changes: dict[str, StateChanges], kind: str) -> Iterator[StateRows]:
        for name, change in changes.items():
            number = self._numbers[name]
            for rows in change.deleted if kind == DELTA else ():
                yield StateRows(number, change.spec, rows, deleted=True)
            for rows in change.upserts:
                yield StateRows(number, change.spec, rows)

    def _written(self, parts: Iterator[StateRows], kind: str) -> list[FileEntry]:
        """Files of bounded size; a row is in one of them only."""
        out = []
        while (first := next(parts, None)) is not None:
            self._files += 1
            path = self.directory / f"writing-{self._files}{SUFFIX}"
            rows = write_file(path, _some(first, parts, ROWS_A_FILE))
            if not rows:
                continue
            digest, size = sha256_of(path), path.stat().st_size
            entry = FileEntry(f"{SHARED}/{digest}{SUFFIX}", size, digest, kind, rows)
            with failing_as("write", str(path)):
                os.replace(path, self._local(entry.name))
            out.append(entry)
        return out

    def _outgrown(self) -> bool:
        deltas = [f.size for f in self._chain if f.kind == DELTA]
        base = sum(f.size for f in self._chain if f.kind == BASE)
        if len(deltas) > MOST_FILES:
            return True
        garbage = sum(f.rows for f in self._chain) - self._live
        return sum(deltas) > max(base // 2, SMALL_BASE) and garbage > self._live

    def _merge(self) -> None:
        """The chain as a new base. CheckpointError when a file of it is damaged: that must not become a good file."""
        for f in self._chain:
            if sha256_of(path := self._local(f.name)) != f.sha256:
                raise CheckpointError(f"{path} is damaged: it is not as it was written")
        specs = dict(enumerate(self.states))
        self._chain = self._written(live_rows([self._local(f.name) for f in self._chain], specs), BASE)

    def _forget_old(self) -> None:
        queued = [f for _, _, what in self._queue if isinstance(what, list) for f in what]
        names = {f.name for f in (*self._chain, *queued)}
        for path in self.directory.glob(f"*{SUFFIX}"):
            if f"{SHARED}/{path.name}" not in names:
                path.unlink(missing_ok=True)
        self._uploaded &= names


def _some(first: StateRows, parts: Iterator[StateRows], rows: int) -> Iterator[StateRows]:
    """`first` and the next parts, until there are so many rows."""
    part: StateRows | None = first
    while part is not None:
        yield part
        rows -= len(part.rows)
        part = next(parts, None) if rows > 0 else None


def _link(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
