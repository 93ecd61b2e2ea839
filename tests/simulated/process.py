"""What a process has by chance, taken from the seed instead: names, random numbers, the time that work takes."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import random
import time
from collections.abc import Iterator
from typing import Any

from simulated.scheduler import Scheduler
from sqlstream.checkpoint.coordinator import CheckpointCoordinator
from sqlstream.runtime import job as job_module
from sqlstream.state import rocks
from sqlstream.state.rocks import StoreSettings

UNCOMPACTED = 10_000  # new files of a store, more than any has here


class Uncontrolled:
    """Instead of `Control`, whose sockets are the machine's: the world calls the job as it does."""

    def __init__(self, *given: Any) -> None:
        pass

    def __enter__(self) -> Uncontrolled:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


@contextlib.contextmanager
def pinned(seed: int, scheduler: Scheduler) -> Iterator[None]:
    """Within it the process has nothing by chance."""
    chance = random.Random(f"process {seed}")
    control, options = job_module.Control, StoreSettings.options
    new_files, rocks._MOST_NEW_FILES = rocks._MOST_NEW_FILES, UNCOMPACTED
    urandom, thread_time, perf_counter = os.urandom, time.thread_time, time.perf_counter
    looks = itertools.count()

    def quiet(settings: StoreSettings, memory: Any) -> Any:
        """RocksDB compacts on threads of its own: not at all, then, and nobody waits until it has."""
        made = options(settings, memory)
        made.set_level_zero_file_num_compaction_trigger(UNCOMPACTED)
        made.set_level_zero_slowdown_writes_trigger(UNCOMPACTED)
        made.set_level_zero_stop_writes_trigger(UNCOMPACTED)
        return made

    graces = dict(CheckpointCoordinator.__init__.__kwdefaults__ or {})

    random.seed(seed)
    os.urandom = chance.randbytes
    time.thread_time = lambda: 0.0
    time.perf_counter = lambda: next(looks) * 20e-6  # what has a budget of time gets on as far each time
    job_module.Control = Uncontrolled  # type: ignore[assignment, misc]
    StoreSettings.options = quiet  # type: ignore[method-assign]
    # a sweep has something to do within a run; what a dead process wrote may come 5 s later
    CheckpointCoordinator.__init__.__kwdefaults__.update(grace=10.0, retired_grace=chance.choice([0.0, 0.5]))
    gc.disable()  # finalizers run where the counts of references end
    try:
        yield
    finally:
        os.urandom, time.thread_time, time.perf_counter = urandom, thread_time, perf_counter
        job_module.Control = control  # type: ignore[misc]
        rocks._MOST_NEW_FILES = new_files
        StoreSettings.options = options  # type: ignore[method-assign]
        CheckpointCoordinator.__init__.__kwdefaults__.update(graces)
        gc.enable()
