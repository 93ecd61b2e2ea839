"""The chain of files that the state of a task lies in, read: files come to a local disk, those of a store are opened, and
the rows are what the Arrow files say over what the store has.

    with opened_store(files, place) as store:
        for part in Chain(deltas, states, store).rows():
            ...
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlstream.checkpoint.manifest import TABLE, FileEntry, StateSchema
from sqlstream.checkpoint.storage import CheckpointStorage, failing_as
from sqlstream.checkpoint.writer import link
from sqlstream.errors import CheckpointError
from sqlstream.state.clusters import parted
from sqlstream.state.files import ROWS_A_PASS, Newest, StateRows
from sqlstream.state.packed import block_key
from sqlstream.state.rocks import Store, StoreMemory, completed
from sqlstream.state.spec import StateSpec
from sqlstream.state.stored import ALL_GROUPS, StoredState


@dataclass(frozen=True)
class Chain:
    """`counted`: the files in Arrow, in their order, and how many rows each has; `states`: all that they have rows of, which
    are of `key_groups` [lo, hi); `store`: what they were folded into, if they were."""

    counted: Sequence[tuple[Path, int]]
    states: Sequence[StoredState]
    store: Store | None = None
    key_groups: tuple[int, int] = ALL_GROUPS

    @property
    def files(self) -> list[Path]:
        """Those in Arrow, in their order."""
        return [path for path, _ in self.counted]

    @property
    def specs(self) -> dict[int, StateSpec]:
        """The states by number."""
        return {s.number: s.spec for s in self.states}

    def rows(
        self, wanted: Collection[StoredState] | None = None, groups: tuple[int, int] = ALL_GROUPS
    ) -> Iterator[StateRows]:
        """The rows of some states (None: all), each once; those of logs that stay in their order. Of key groups [lo, hi)."""
        read = self.states if wanted is None else wanted
        some = ALL_GROUPS if self.within(groups) else groups
        if self.store is not None:
            for state in read:
                if state.spec.stays:
                    for rows in state.rows(self.store, some):
                        yield StateRows(state.number, state.spec, rows)
        newest = Newest(self.files, self.specs, {s.number for s in read}, None if some == ALL_GROUPS else some)
        for part in newest:
            if not part.deleted and len(part.rows):
                yield part
        if self.store is None:
            return
        for state in read:
            if state.spec.stays:
                continue
            seen = newest.seen[state.number]
            for rows in state.rows(self.store, groups):
                left = rows.filter(seen.find(rows.keys, len(rows)) < 0) if seen.index.size else rows
                if len(left):
                    yield StateRows(state.number, state.spec, left)

    def by_groups(
        self, states: Sequence[StoredState], work: Path, groups: tuple[int, int] = ALL_GROUPS
    ) -> Iterator[StateRows]:
        """`rows` in bounded memory: a chain with many rows is parted by key groups first. `work`: a directory for files in
        between, which must not be there and is gone afterwards."""
        lo, hi = max(groups[0], self.key_groups[0]), min(groups[1], self.key_groups[1])
        counted = sum(n for _, n in self.counted)
        if lo >= hi:
            return
        if counted <= ROWS_A_PASS:
            yield from self.rows(states, groups)
            return
        yield from self.rows([s for s in states if s.spec.stays], groups)
        others = [s for s in states if not s.spec.stays]
        if not others:
            return
        done = lo
        for path, (first, end) in parted(self.files, counted, self.specs, {s.number for s in others}, work, (lo, hi)):
            if done < first:
                yield from replace(self, counted=()).rows(others, (done, first))
            yield from replace(self, counted=[(path, 0)], key_groups=(first, end)).rows(others, (first, end))
            done = end
        if done < hi:
            yield from replace(self, counted=()).rows(others, (done, hi))

    def within(self, groups: tuple[int, int]) -> bool:
        """Whether all rows are of key groups [lo, hi)."""
        return groups[0] <= self.key_groups[0] and self.key_groups[1] <= groups[1]


def spec_of(state: StateSchema, store: Store | None) -> StateSpec:
    """A state as a manifest describes it; of one of format 4, which does not say whether rows stay, as its store has it."""
    spec = state.spec()
    if spec.stays or store is None:
        return spec
    first, last = block_key(state.number, 0), block_key(state.number, (1 << 64) - 1)
    in_blocks = next(store.scan(first, last, 1), None) is not None
    return replace(spec, log=True, stays=True) if in_blocks else spec


@contextmanager
def opened_store(
    files: Sequence[tuple[FileEntry, Path]], place: Path, memory: StoreMemory | None = None
) -> Iterator[Store | None]:
    """The store that these files are, opened in `place`, which goes at the end; None without files."""
    if not files:
        yield None
        return
    try:
        link_store(files, place)
        store = Store(place, memory, new=False)
        try:
            yield store
        finally:
            store.close()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def link_store(files: Sequence[tuple[FileEntry, Path]], place: Path) -> None:
    """Files of a store, wherever they are, under their names in a new directory, where it can be opened."""
    with failing_as("make the directory", str(place)):
        place.mkdir(parents=True)
    for f, path in files:
        with failing_as("copy", str(path)):
            if f.kind == TABLE:
                link(path, place / f.path)
            else:  # RocksDB goes on writing it
                shutil.copyfile(path, place / f.path)
    with failing_as("write", str(place)):
        completed(place)


def local_file(
    storage: CheckpointStorage, entry: FileEntry, work: Path, cache: Path | None = None, tables: bool = True
) -> Path:
    """A state file on a local disk, in the storage itself, in `cache` or brought to `work`; whole and unchanged (of RocksDB's
    tables only if `tables`: else as long as it should be), or CheckpointError."""
    name = entry.name.rsplit("/", 1)[-1]
    path = storage.local_path(entry.name)
    if path is None and cache is not None and (cache / name).exists():
        path = cache / name
    if path is None:
        path = work / name
        storage.fetch(entry.name, path)
    if not path.exists():
        raise CheckpointError(f"{storage.shown(entry.name)} is missing")
    with failing_as("read", str(path)):
        whole = entry.kind == TABLE and not tables or storage.hashes.of(path) == entry.sha256
        if path.stat().st_size != entry.size or not whole:
            raise CheckpointError(f"{storage.shown(entry.name)} is damaged: it is not the file that the manifest names")
    return path
