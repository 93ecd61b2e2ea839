"""What a durable job believes that is about to go on, before it is bound: the tables of its last checkpoint."""

from __future__ import annotations

from sqlstream.checkpoint.coordinator import CheckpointCoordinator
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.errors import CheckpointError
from sqlstream.runtime.directory import JobDirectory
from sqlstream.runtime.tables import Tables


def tables_of(directory: JobDirectory) -> Tables:
    """They, by name; none where nothing was begun. What is wrong with its checkpoint is for the job to say."""
    if not directory.path.is_dir():
        return {}
    try:
        state = directory.read()
        if state is None:
            return {}
        storage = CheckpointStorage(directory.place(state), directory.stores)
        coordinator = CheckpointCoordinator(storage, f"{state.job}/{state.run}")
        there = coordinator.checkpoints()
        return coordinator.manifest(there[-1]).tables if there else {}
    except CheckpointError:
        return {}
