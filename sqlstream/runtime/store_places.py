"""Where the stores of a job lie: in its work directory, or in those that `state.backend.rocksdb.localdir` names."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlstream.checkpoint.storage import failing_as
from sqlstream.options import SessionOptions
from sqlstream.own_files import OwnDirectory
from sqlstream.state.rocks import StoreMemory


@dataclass(frozen=True)
class StoreShare:
    """What the stores of a job have: memory, and directories that tasks take in turn."""

    memory: StoreMemory
    places: tuple[Path, ...]


@contextlib.contextmanager
def store_places(options: SessionOptions, local: Path) -> Iterator[tuple[Path, ...]]:
    """Directories for the tasks of a job, in turn. `local`: its work directory, which nobody else has meanwhile.

    In a named directory the job has one of its own, by a hash of `local`: what a killed process left there goes now. They
    are gone afterwards.
    """
    named = [d.strip() for d in (options.store_directories or "").split(",") if d.strip()]
    if not named:
        yield (local,)
        return
    mine = f"sqlstream-{hashlib.sha256(str(local.resolve()).encode()).hexdigest()[:16]}"
    places = tuple(Path(d) / mine for d in dict.fromkeys(named))
    try:
        for place in places:
            with failing_as("make the directory", str(place)):
                OwnDirectory(str(place.parent)).remove_tree(place.name)
                place.mkdir(parents=True)
        yield places
    finally:
        for place in places:
            with contextlib.suppress(OSError):
                OwnDirectory(str(place.parent)).remove_tree(place.name)
