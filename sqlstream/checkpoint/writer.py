"""Writes the state of one task: the chain of files that its checkpoints consist of.

    pending = shard.prepare({"totals": table.changes()})   # at the barrier; cheap
    files = pending.run()                                  # on a background thread; writes and uploads

A chain is a base and the deltas since. A delta holds the rows changed since the last one, and a checkpoint names all of
them that are not in its base. Where the base is and how deltas get into it is the backend's: an `ArrowShard`
(`hashmap`) merges its chain into Arrow files, a `StoreShard` (`rocksdb`) folds its deltas into a store. Checkpoints
that are not incremental name no file of others: their rows are all written anew.

A file is uploaded once, as shared/<sha256>.<suffix>; without changes nothing is. Nothing is lost when a checkpoint
fails: changes stay queued until their file is written, files stay in the chain and are uploaded with the next
checkpoint. Only one pending runs at a time, in the order of `prepare`.
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlstream import faults
from sqlstream.checkpoint.manifest import BASE, DELTA, SHARED, FileEntry, StateSchema
from sqlstream.checkpoint.storage import CheckpointStorage, failing_as, sha256_of
from sqlstream.errors import CheckpointError, InternalError
from sqlstream.state.changes import StateChanges
from sqlstream.state.files import SUFFIX, StateRows, write_file
from sqlstream.state.spec import StateSpec
from sqlstream.threads import lock, mapped

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


@dataclass(frozen=True)
class Base:
    """What the deltas up to share `number` came to: files of one kind."""

    number: int
    files: tuple[FileEntry, ...] = ()


@dataclass
class _Share:
    """What was prepared. `changes` are written when it is run; those of a whole state were (`files`)."""

    number: int
    live: int
    changes: dict[str, StateChanges] = field(default_factory=dict)
    files: list[FileEntry] | None = None


class StateShard(ABC):
    """The chain of one task of one operator.

    `directory` is the task's own, on a local disk; local copies of the chain are kept there.
    `states` must keep their order for as long as the chain lives: their numbers are in the files.
    """

    def __init__(self, storage: CheckpointStorage, directory: Path, states: tuple[StateSpec, ...]) -> None:
        self.storage, self.directory, self.states = storage, directory, states
        self._numbers = {s.name: i for i, s in enumerate(states)}
        self._base = Base(0)
        self._deltas: list[tuple[int, FileEntry]] = []  # with the number of their share, in order
        self._uploaded: set[str] = set()
        self._queue: list[_Share] = []
        self._asked: set[int] = set()  # shares of checkpoints that were not run
        self._prepared = self._ran = self._written_files = 0
        self._live = 0
        self.uploaded = 0  # bytes, by the last `run`
        self._running = lock()
        with failing_as("make the directory", str(directory)):
            directory.mkdir(parents=True, exist_ok=True)

    def schemas(self) -> tuple[StateSchema, ...]:
        """For the manifest."""
        return tuple(StateSchema.of(s, i) for i, s in enumerate(self.states))

    def resume(self, files: tuple[FileEntry, ...], local: dict[str, Path]) -> None:
        """Go on with the chain of the checkpoint that the tables were restored from (`local`: its files here)."""
        for f in files:
            with failing_as("copy", str(local[f.name])):
                link(local[f.name], self._local(f.name))
        self._uploaded = {f.name for f in files}
        self._take_over(files)

    def prepare(self, changes: dict[str, StateChanges], full: bool = False, asked: bool = True) -> Pending:
        """Take the changes of one epoch. `full`: they are the whole state, and the chain starts anew. `asked`: a checkpoint
        asks for them, which will be run; else they wait for the next one."""
        if full and set(changes) != set(self._numbers):
            raise InternalError(f"a full checkpoint of {sorted(changes)}, the states are {sorted(self._numbers)}")
        if any(c.full != full for c in changes.values()):
            raise InternalError("full changes make a full checkpoint, and only they")
        self._prepared += 1
        share = _Share(self._prepared, sum(c.live for c in changes.values()), changes)
        if full:
            # A whole state may be larger than memory: it is written now, a piece at a time, from the tables.
            with self._running:
                share.files = self._written(self._parts(changes, BASE), BASE)
        self._queue.append(share)
        if asked:
            self._asked.add(share.number)
        return Pending(self, self._prepared)

    def run(self, number: int) -> tuple[FileEntry, ...]:
        """Writes and uploads what was prepared up to share `number`; the chain that stands for it, base first.

        On a background thread, in the order of the numbers. After a CheckpointError a later share brings what was left.
        """
        with self._running:
            if number <= self._ran:
                raise InternalError(f"checkpoint share {number} runs after {self._ran}")
            self._write_queued(number)
            self._asked.difference_update(
                [n for n in [*self._asked] if n <= number]
            )  # `prepare` may add some meanwhile
            self._compact(number)
            files = self._complete(number)
            new = {f.name: f.size for f in files if f.name not in self._uploaded}
            self.uploaded = sum(new.values())
            mapped(self.storage.transfers, self._upload, new)
            self._forget_old()
            self._ran = number
            return tuple(files)

    def _upload(self, name: str) -> None:
        self.storage.put_file(name, self._local(name))
        self._uploaded.add(name)
        faults.point("mid-upload")

    # ---- the backend's

    @abstractmethod
    def close(self) -> None:
        """Nothing more will be run."""

    @abstractmethod
    def _take_over(self, files: tuple[FileEntry, ...]) -> None:
        """The chain of a checkpoint, to go on with."""

    @abstractmethod
    def _compact(self, number: int) -> None:
        """After the deltas of share `number` were written: may put some of them into the base."""

    @abstractmethod
    def _whole(self, number: int, files: list[FileEntry]) -> None:
        """`files` are the whole state; of share `number`."""

    # ---- for them

    def _complete(self, number: int) -> list[FileEntry]:
        """The files that a checkpoint of share `number` names."""
        return self._chain(number)

    def _chain(self, number: int) -> list[FileEntry]:
        """The files of a checkpoint of share `number`."""
        return [*self._base.files, *(f for n, f in self._deltas if self._base.number < n <= number)]

    def _write_queued(self, number: int) -> None:
        while self._queue and self._queue[0].number <= number:
            share = self._queue[0]
            self._live = share.live
            if share.files is not None:
                self._whole(share.number, share.files)
            elif self._blank():
                self._whole(share.number, self._written(self._parts(share.changes, BASE), BASE))
            else:
                made = self._written(self._parts(share.changes, DELTA), DELTA)
                self._deltas += [(share.number, f) for f in made]
            self._queue.pop(0)
            faults.point("after-delta")

    def _blank(self) -> bool:
        """Whether nothing was ever stored."""
        return not self._base.files and not self._deltas

    def _local(self, name: str) -> Path:
        return self.directory / name.rsplit("/", 1)[-1]

    def _parts(self, changes: dict[str, StateChanges], kind: str) -> Iterator[StateRows]:
        for name, change in changes.items():
            number = self._numbers[name]
            for rows in change.deleted if kind == DELTA else ():
                yield StateRows(number, change.spec, rows, deleted=True)
            faults.point("before-copy")
            for rows in change.upserts:
                yield StateRows(number, change.spec, rows)

    def _written(self, parts: Iterator[StateRows], kind: str) -> list[FileEntry]:
        """Files of bounded size; a row is in one of them only."""
        out = []
        while (first := next(parts, None)) is not None:
            self._written_files += 1
            path = self.directory / f"writing-{self._written_files}{SUFFIX}"
            rows = write_file(path, _some(first, parts, ROWS_A_FILE))
            if not rows:
                continue
            digest, size = sha256_of(path), path.stat().st_size
            entry = FileEntry(f"{SHARED}/{digest}{SUFFIX}", size, digest, kind, rows)
            with failing_as("write", str(path)):
                os.replace(path, self._local(entry.name))
            out.append(entry)
        return out

    def _check(self, files: list[FileEntry]) -> list[Path]:
        """Where files of the chain are. CheckpointError when one is damaged: that must not become a good file."""
        paths = [self._local(f.name) for f in files]
        for f, path in zip(files, paths, strict=True):
            if sha256_of(path) != f.sha256:
                raise CheckpointError(f"{path} is damaged: it is not as it was written")
        return paths

    def _counted(self, files: list[FileEntry]) -> list[tuple[Path, int]]:
        """Where files of the chain are, and how many rows they have. CheckpointError when one is damaged."""
        return list(zip(self._check(files), (f.rows for f in files), strict=True))

    def _needed(self) -> set[str]:
        """Names of files that are still read or named."""
        queued = [f for share in self._queue for f in share.files or ()]
        return {f.name for f in (*self._base.files, *(f for _, f in self._deltas), *queued)}

    def _forget_old(self) -> None:
        names = self._needed()
        with failing_as("delete files in", str(self.directory)):
            for path in self.directory.iterdir():
                if f"{SHARED}/{path.name}" not in names and path.is_file():
                    path.unlink(missing_ok=True)
        self._uploaded &= names


def _some(first: StateRows, parts: Iterator[StateRows], rows: int) -> Iterator[StateRows]:
    """`first` and the next parts, until there are so many rows."""
    part: StateRows | None = first
    while part is not None:
        yield part
        rows -= len(part.rows)
        part = next(parts, None) if rows > 0 else None


def link(source: Path, target: Path) -> None:
    """A second name of a file, or a copy where that cannot be."""
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
