"""The state of one task in a store (RocksDB): deltas are the changelog, the store is what they are folded into.

A checkpoint names the files of the store as they were after a fold, and the deltas since. A fold takes each key once, in
its newest form, in the background; a checkpoint does not wait for one. Between folds the store has exactly what the
deltas up to `folded` came to, which is what rows that left memory rely on (`state/cold.py`). Why so: decision 030.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlstream import faults
from sqlstream.checkpoint.chain import Chain, opened_store
from sqlstream.checkpoint.manifest import BASE, SHARED, STORE, TABLE, FileEntry
from sqlstream.checkpoint.storage import CheckpointStorage, failing_as, sha256_of
from sqlstream.checkpoint.writer import MOST_FILES, Base, StateShard, link
from sqlstream.errors import CheckpointError
from sqlstream.state.arrays import Array
from sqlstream.state.clusters import clustered
from sqlstream.state.cold import ColdRows
from sqlstream.state.encoding import Packed
from sqlstream.state.files import StateRows
from sqlstream.state.rocks import SST, Store, StoreMemory, StoreSettings, lasting
from sqlstream.state.spec import StateSpec
from sqlstream.state.stored import StoredState
from sqlstream.state.table import StateTable
from sqlstream.threads import lock, wait

SMALL, LARGE = 64 << 20, 256 << 20  # bytes of deltas: below the first no reason to fold, beyond the second always one
FIRST_SECONDS = 20.0  # of a shard, before size is a reason
LEISURE = 3  # times as long as a fold took, until size is a reason for another
LONG_LEISURE = 20  # the same, until SMALL is reason enough: restarts read less, for a twentieth of the time


class Background(Protocol):
    """Threads to fold on."""

    def submit(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        """Has a thread call `work`."""


@dataclass(frozen=True)
class Folding:
    """When deltas are folded. `interval`: seconds. `changelog` False: at every checkpoint, which waits for it.
    `incremental` False: checkpoints have all rows in Arrow files of their own. `hot_rows`: see `StateTable.attach`."""

    interval: float = 600.0
    changelog: bool = True
    incremental: bool = True
    hot_rows: int | None = None
    memory: StoreMemory | None = None
    store: StoreSettings = StoreSettings()
    say: Callable[[str], object] = str
    after: Callable[[], object] = object  # called when a fold has ended: it took memory
    now: Callable[[], float] = time.monotonic


class StoreShard(StateShard):
    """`place`: the store's directory, which is made when it is first needed. `folded` may be read on any thread."""

    def __init__(
        self,
        storage: CheckpointStorage,
        directory: Path,
        states: tuple[StateSpec, ...],
        place: Path,
        background: Background,
        folding: Folding,
    ) -> None:
        super().__init__(storage, directory, states)
        self.place, self.folding = place, folding
        self.stored = [StoredState(s, i) for i, s in enumerate(states)]
        self.folded = 0  # the last share that is in the store
        self.folds = 0
        self._background = background
        self._store: Store | None = None
        self._exists = False  # the store's directory was made
        self._made: list[Base] = []  # of later shares than that of the base: the first since then, and the last
        self._fold: Future[None] | None = None
        self._rewritten: tuple[list[FileEntry], list[FileEntry]] = (
            [],
            [],
        )  # a chain, and all its rows in files of their own
        self._digests: dict[str, tuple[str, int]] = {}  # of the store's tables: hash and size
        self._snapshots = 0
        self._ended = self._begun = self.folding.now()
        self._took = 0.0
        self._closing = False
        self._failed: CheckpointError | None = None
        self._living: list[tuple[StoredState, StateTable]] = []  # states whose rows leave memory, and live for a time
        # One fold at a time. Whoever takes this and `_running` takes this first. A reader of the store takes neither:
        # the epoch does not wait for an upload.
        self._at_work = lock()
        self._opening = lock()

    def store(self) -> Store:
        """The store, opened; anew after a write that failed. From any thread."""
        with self._opening:
            if self._store is not None and self._store.broken:
                self._store.close()
                self._store = None
            if self._store is None:  # one that is gone must not be taken for one that has nothing
                self._store = Store(self.place, self.folding.memory, self.folding.store, new=not self._exists)
                self._exists = True
            return self._store

    def get(self, keys: Packed) -> tuple[Array, Packed]:
        """Which of the keys the store has, and their values. From any thread."""
        while True:
            store = self.store()
            try:
                found = store.get(keys)
            except CheckpointError:
                if store is self._store:
                    raise
                continue  # it was opened anew meanwhile
            faults.point("after-fetch")
            return found

    def attach(self, tables: dict[str, StateTable], all_away: bool) -> None:
        """Rows of tables that are reached by key may leave memory. `all_away`: the store has rows of them already."""
        self._living = [(s, tables[s.spec.name]) for s in self.stored if s.spec.cold and s.spec.ttl]
        for stored in self.stored:
            if stored.spec.cold:
                tables[stored.spec.name].attach(
                    ColdRows(stored.spec, stored.codec, self, all_away), self.folding.hot_rows
                )

    def built(self) -> None:
        """The store was filled before the first share: it is the base, though no checkpoint names its files yet."""
        self._base, self._made = self._snapshot(0), []

    @property
    def fold_seconds(self) -> float:
        """How long the last fold took."""
        return self._took

    def sizes(self) -> tuple[int, int, int]:
        """Bytes of deltas since the last fold; the store's sorted files as of that, and their bytes. From any thread."""
        since = sum(f.size for n, f in list(self._deltas) if n > self.folded)
        made = list(self._made)
        tables = [f.size for f in (made[-1] if made else self._base).files if f.kind == TABLE]
        return since, len(tables), sum(tables)

    def figures(self, names: tuple[str, ...]) -> dict[str, int]:
        """RocksDB's own (`Store.metrics`); none while there is no store."""
        store = self._store
        if not names or store is None:
            return {}
        with contextlib.suppress(CheckpointError):  # it was closed meanwhile
            return store.metrics(names)
        return {}

    def fold_soon(self) -> bool:
        """In the background, what was prepared last is written and folded. False: another fold is at work."""
        if self.busy:
            return False
        self._settle()
        self._fold = self._background.submit(self._try_to_fold, self._prepared)
        return True

    @property
    def failing(self) -> bool:
        """Whether the last fold that ended has failed."""
        return self._failed is not None

    def wait(self) -> None:
        """Until no fold is at work, since rows must leave memory. CheckpointError when the last one has failed."""
        if self._fold is not None:
            wait(self._fold)
            self._fold.result()
        if self._failed is not None:
            error, self._failed = self._failed, None
            hint = f"{error.hint}; or " if error.hint else ""
            raise CheckpointError(
                f"the memory for state is used up, and no row can leave it for the store in {self.place}: {error.message}",
                hint=f"{hint}let state have more memory (taskmanager.memory.managed.size). The job goes on from its last "
                "checkpoint when it is started again",
            ) from error

    def close(self) -> None:
        """Ends a fold that is at work, and closes the store."""
        self._closing = True
        with self._at_work:  # one that waits for its turn will do nothing
            pass
        if self._store is not None:
            self._store.close()

    def run(self, number: int) -> tuple[FileEntry, ...]:
        if self.folding.changelog:
            return super().run(number)
        with self._at_work:
            return super().run(number)

    # ---- the chain

    def _take_over(self, files: tuple[FileEntry, ...]) -> None:
        # Numbers of shares begin at 1 in each process.
        store = tuple(f for f in files if f.in_store)
        self._base, self._exists = Base(-1, store), bool(store)
        self.folded = -1
        self._deltas = [(0, f) for f in files if not f.in_store]
        self._digests = {f.path: (f.sha256, f.size) for f in store if f.kind == TABLE}

    def _whole(self, number: int, files: list[FileEntry]) -> None:
        self._deltas += [(number, f) for f in files]

    def _blank(self) -> bool:
        return False

    def _compact(self, number: int) -> None:
        if not self.folding.changelog:
            self._fold_up_to(number)
        elif not self.busy:
            self._settle()
            if self._due():
                self._fold = self._background.submit(self._try_to_fold, number)
        self._adopt(number)

    def _adopt(self, number: int) -> None:
        """The last base that no later share is in than `number`, nor than any that a checkpoint still asks for."""
        number = min(number, *self._asked) if self._asked else number
        if usable := [b for b in self._made if b.number <= number]:
            self._base = usable[-1]
            self._made = [b for b in self._made if b.number > number]
            self._deltas = [(n, f) for n, f in self._deltas if n > self._base.number]

    def _needed(self) -> set[str]:
        return super()._needed() | {f.name for b in self._made for f in b.files} | {f.name for f in self._rewritten[1]}

    def _complete(self, number: int) -> list[FileEntry]:
        """Of checkpoints that are not incremental: all rows in files that no other one names, unless nothing changed."""
        chain = self._chain(number)
        if self.folding.incremental:
            return chain
        if self._rewritten[0] != chain:
            self._rewritten = chain, self._written(self._rows(chain), BASE)
        return self._rewritten[1]

    def _rows(self, chain: list[FileEntry]) -> Iterator[StateRows]:
        """What a chain comes to; from the base as it was when it was made, since the store may be ahead."""
        deltas = [f for f in chain if not f.in_store]
        base = [(f, self._local(f.name)) for f in chain if f.in_store]
        states = [StoredState(s, i) for i, s in enumerate(self.states)]
        self._snapshots += 1
        with opened_store(base, self.directory / f"whole-{self._snapshots}", self.folding.memory) as store:
            rows = Chain(self._counted(deltas), states, store)
            yield from rows.by_groups(states, self.directory / f"parts-of-whole-{self._snapshots}")

    # ---- folding

    @property
    def busy(self) -> bool:
        """Whether a fold is at work."""
        return self._fold is not None and not self._fold.done()

    def _due(self) -> bool:
        deltas = [f for n, f in self._deltas if n > self.folded]
        if not deltas:
            return False
        now = self.folding.now()
        if now - self._ended >= self.folding.interval or len(deltas) > MOST_FILES:
            return True
        size, base = sum(f.size for f in deltas), sum(f.size for f in self._base.files)
        rested = now - self._ended
        if now - self._begun < FIRST_SECONDS or rested < LEISURE * self._took:
            return False
        return size > (SMALL if rested >= LONG_LEISURE * self._took else min(max(base // 2, SMALL), LARGE))

    def _settle(self) -> None:
        """Raises what ended the last fold, unless it was a failure that may pass."""
        fold = self._fold
        if fold is not None and fold.done() and (error := fold.exception()) is not None:
            raise error

    def _try_to_fold(self, number: int) -> None:
        """`_fold_up_to` for the background: a failure is said, and tried again when the next fold is due."""
        try:
            self._fold_up_to(number)
        except CheckpointError as e:
            if self._failed is None:
                self.folding.say(f"warning: state was not folded into {self.place}: {e.message}")
            self._failed = e
            self._ended = self.folding.now()

    def _fold_up_to(self, number: int) -> None:
        with self._at_work:
            if number <= self.folded or self._closing:
                return
            started = self.folding.now()
            with self._running:
                self._write_queued(number)
                files = [f for n, f in self._deltas if self.folded < n <= number]
            faults.point("before-fold")
            if files and not self._written_to_store(files, number):
                return
            with self._running:
                self.folded, self.folds = number, self.folds + 1
                self._adopt(number)
                self._forget_old()
            self._failed = None
            self._ended = self.folding.now()
            self._took = self._ended - started
            self.folding.after()
            faults.point("after-fold")

    def _written_to_store(self, files: list[FileEntry], number: int) -> bool:
        """Deltas up to share `number` go into the store, and what is over leaves it. False: the shard was closed."""
        begun = [s.next_block for s in self.stored]
        try:
            store = self.store()
            for part in clustered(
                self._counted(files), dict(enumerate(self.states)), self.directory / f"parts-{number}"
            ):
                if self._closing:
                    return False
                stored = self.stored[part.number]
                if part.deleted:
                    stored.delete(store, part.rows)
                else:
                    stored.write(store, part.rows)
                faults.point("mid-fold")
            for stored, table in self._living:
                stored.sweep(store, table.now)
            self._snapshot(number)
        except BaseException:
            # Rows with keys are written again in their place; blocks of a log must be, too.
            for stored, block in zip(self.stored, begun, strict=True):
                stored.next_block = block
            raise
        return True

    def _snapshot(self, number: int) -> Base:
        """The store's files as they are now, in the shard's directory: the base for checkpoints from `number` on."""
        self._snapshots += 1
        place = self.directory / f"snapshot-{self._snapshots}"
        entries: dict[Path, FileEntry] = {}
        faults.point("before-snapshot")
        try:
            for path in self.store().snapshot(place):
                if not lasting(path.name):
                    continue
                kind = TABLE if path.suffix == SST else STORE
                digest, size = self._digests.get(path.name, ("", 0))
                if not digest:
                    with failing_as("read", str(path)):
                        digest, size = sha256_of(path), path.stat().st_size
                entries[path] = FileEntry(f"{SHARED}/{digest}.{kind}", size, digest, kind, 0, path.name)
            with self._running:
                for path, entry in entries.items():
                    with failing_as("write", str(path)):
                        link(path, self._local(entry.name))
                made = Base(number, tuple(sorted(entries.values(), key=lambda e: e.path)))
                self._made = [*self._made[:1], made]
        finally:
            shutil.rmtree(place, ignore_errors=True)
        self._digests = {e.path: (e.sha256, e.size) for e in entries.values() if e.kind == TABLE}
        faults.point("after-snapshot")
        return made
