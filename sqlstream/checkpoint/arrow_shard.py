"""The state of one task in Arrow files alone (`hashmap`): the chain is base and deltas, merged now and then."""

from __future__ import annotations

from pathlib import Path

from sqlstream.checkpoint.chain import Chain
from sqlstream.checkpoint.manifest import BASE, DELTA, FileEntry
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.checkpoint.writer import MOST_FILES, SMALL_BASE, Base, StateShard
from sqlstream.state.spec import StateSpec
from sqlstream.state.stored import StoredState


class ArrowShard(StateShard):
    """The chain is merged into a new base when the deltas have outgrown half of the base and most rows of the chain are
    overwritten or gone: state that only grows is never written twice. Unless `incremental`, with each share that
    changed anything: a checkpoint is a base alone."""

    def __init__(
        self, storage: CheckpointStorage, directory: Path, states: tuple[StateSpec, ...], incremental: bool = True
    ) -> None:
        super().__init__(storage, directory, states)
        self.incremental = incremental

    def close(self) -> None:
        """Nothing is open."""

    def _take_over(self, files: tuple[FileEntry, ...]) -> None:
        self._base = Base(0, tuple(f for f in files if f.kind == BASE))
        # Numbers of shares begin at 1 in each process.
        self._deltas = [(0, f) for f in files if f.kind == DELTA]

    def _whole(self, number: int, files: list[FileEntry]) -> None:
        self._base, self._deltas = Base(number, tuple(files)), []

    def _chain(self, number: int) -> list[FileEntry]:
        return [*self._base.files, *(f for n, f in self._deltas if n <= number)]

    def _compact(self, number: int) -> None:
        if not self._deltas or self.incremental and not self._outgrown():
            return
        states = [StoredState(s, i) for i, s in enumerate(self.states)]
        chain = Chain(self._counted(self._chain(number)), states)
        merged = self._written(chain.by_groups(states, self.directory / f"parts-{number}"), BASE)
        self._base, self._deltas = Base(number, tuple(merged)), [d for d in self._deltas if d[0] > number]

    def _outgrown(self) -> bool:
        deltas = [f for _, f in self._deltas]
        base = sum(f.size for f in self._base.files)
        if len(deltas) > MOST_FILES:
            return True
        garbage = sum(f.rows for f in (*self._base.files, *deltas)) - self._live
        return sum(f.size for f in deltas) > max(base // 2, SMALL_BASE) and garbage > self._live
