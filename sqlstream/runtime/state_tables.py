"""State as tables: what a checkpoint or a savepoint has, by operator and state, as rows for queries and for people.

    SELECT * FROM sqlstream.state('job')                                   the operators and their states
    SELECT * FROM sqlstream.state('job', 'GroupAggregate-1a2b3c4d')        the rows of one
    SELECT * FROM sqlstream.state('/backup/savepoint-job-…', …)            out of a savepoint

A job is looked at by the newest complete checkpoint in its directory, also while it runs; nothing of it is changed. Which
checkpoint that is, is decided when the statement begins.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.checkpoint.coordinator import CheckpointCoordinator, manifest_name
from sqlstream.checkpoint.manifest import Manifest, OperatorState, StateSchema
from sqlstream.checkpoint.state_rows import TaskRows, shown, shown_schema
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.connectors.derive import Derivation
from sqlstream.contracts import ScanRequest, Source, SourceBatch, Split, SplitReader
from sqlstream.errors import BindError, CheckpointError, OptionError, did_you_mean
from sqlstream.options import SessionOptions
from sqlstream.runtime.jobs import JobView
from sqlstream.runtime.savepoints import directory_of
from sqlstream.savepoint.reader import SavedRows
from sqlstream.savepoint.record import METADATA, SavedOperator
from sqlstream.state.spec import WRITTEN
from sqlstream.stores import ENVIRONMENT, Stores
from sqlstream.types import BIGINT, STRING, Schema, as_type, from_arrow, rename_array, timestamp_ltz
from sqlstream.types import Column as SchemaColumn

_CHECKPOINT = "/chk-"
LISTED = Schema(
    (
        SchemaColumn("operator", STRING),
        SchemaColumn("name", STRING),
        SchemaColumn("state", STRING),
        SchemaColumn("rows", BIGINT),
        SchemaColumn("bytes", BIGINT),
        SchemaColumn("oldest", timestamp_ltz(3)),
        SchemaColumn("columns", STRING),
    )
)


@dataclass(frozen=True)
class Summary:
    """A state in figures. `bytes`: of its rows as Arrow columns, which is about what they take in memory. `oldest`: when the
    row that was not written for the longest time was, in µs; None where rows live for ever."""

    operator: str
    name: str
    state: str
    rows: int
    bytes: int
    oldest: int | None
    columns: str


class Stored(ABC):
    """The state of a job at one moment. `title`: what it is, for people; `number`: of the checkpoint."""

    title: str
    number: int

    @abstractmethod
    def operators(self) -> dict[str, tuple[str, tuple[StateSchema, ...]]]:
        """By id: the operator's name, and its states."""

    @abstractmethod
    def batches(self, operator: str, state: StateSchema) -> Iterator[pa.RecordBatch]:
        """The rows of a state under the users' names. CheckpointError when a file is damaged or gone."""

    @abstractmethod
    def disk(self, operator: str) -> int:
        """Bytes of the files that have the operator's state; some of them may be those of other checkpoints, too."""

    def summaries(self) -> Iterator[Summary]:
        """All states, all of whose rows are read for it."""
        for operator, (name, states) in self.operators().items():
            for state in states:
                rows = size = 0
                oldest: int | None = None
                for batch in self.batches(operator, state):
                    rows, size = rows + batch.num_rows, size + batch.nbytes
                    if state.value and state.value[-1][0] == WRITTEN and batch.num_rows:
                        first = pc.min(batch.column(batch.num_columns - 1)).as_py()
                        oldest = first if oldest is None else min(first, oldest)
                columns = ", ".join(f"{f.name} {from_arrow(f.type)}" for f in shown_schema(state))
                yield Summary(operator, name, state.name, rows, size, oldest, columns)


class OfCheckpoint(Stored):
    """A checkpoint's."""

    def __init__(self, storage: CheckpointStorage, manifest: Manifest) -> None:
        self._storage, self.manifest = storage, manifest
        self.number = manifest.checkpoint_id
        self.title = f"checkpoint {manifest.checkpoint_id} of {manifest.created}"

    def operators(self) -> dict[str, tuple[str, tuple[StateSchema, ...]]]:
        return {key: (o.name, o.states) for key, o in self.manifest.operators.items() if o.states}

    def batches(self, operator: str, state: StateSchema) -> Iterator[pa.RecordBatch]:
        found: OperatorState = self.manifest.operators[operator]
        with tempfile.TemporaryDirectory(prefix="sqlstream-state-") as work:
            for task in found.tasks:
                with TaskRows(self._storage, found, task, Path(work) / f"task-{task.subtask}") as rows:
                    for some in rows.of(state):
                        yield shown(state, some)

    def disk(self, operator: str) -> int:
        files = {f.name: f.size for t in self.manifest.operators[operator].tasks for f in t.files}
        return sum(files.values())


class OfSavepoint(Stored):
    """A savepoint's."""

    def __init__(self, url: str, stores: Stores) -> None:
        self._url, self._stores = url, stores
        self.record = SavedRows(url, Path("."), stores).record
        self.number = self.record.checkpoint_id
        self.title = f"savepoint {self.record.id} of {self.record.created}"

    def operators(self) -> dict[str, tuple[str, tuple[StateSchema, ...]]]:
        return {k: (o.name, tuple(s.schema for s in o.states)) for k, o in self.record.operators.items() if o.states}

    def batches(self, operator: str, state: StateSchema) -> Iterator[pa.RecordBatch]:
        found: SavedOperator = self.record.operators[operator]
        with tempfile.TemporaryDirectory(prefix="sqlstream-state-") as work:
            for saved in found.states:
                if saved.schema.name == state.name:
                    yield from SavedRows(self._url, Path(work), self._stores).batches(saved)

    def disk(self, operator: str) -> int:
        return sum(p.size for s in self.record.operators[operator].states for p in s.pieces)


# ---- finding it


def at_path(path: str, stores: Stores = ENVIRONMENT) -> Stored | None:
    """The savepoint, or the directory chk-<n> of a checkpoint, at a path or URL; None: it is neither."""
    root, _, number = path.rstrip("/").rpartition(_CHECKPOINT)
    if root and number.isdecimal():
        storage = CheckpointStorage(root, stores)
        return OfCheckpoint(storage, Manifest.from_json(storage.read(manifest_name(int(number)))))
    with contextlib.suppress(NotADirectoryError):
        if CheckpointStorage(path, stores).stat(METADATA) is not None:
            return OfSavepoint(path, stores)
    return None


def of_job(
    view: JobView, checkpoint: int | None, options: SessionOptions, stores: Stores = ENVIRONMENT, root: str = "."
) -> list[Stored]:
    """The checkpoints that a job keeps, oldest first; only that of the number `checkpoint` if it is given.

    CheckpointError when there is none.
    """
    directory = directory_of(view, options.checkpoint_dir, stores, root)
    state = directory.read()
    name = view.place.name
    if state is None:
        raise CheckpointError(f"job {name} has no checkpoint")
    storage = CheckpointStorage(directory.place(state), stores)
    coordinator = CheckpointCoordinator(storage, f"{state.job}/{state.run}")
    kept = coordinator.checkpoints()
    if not kept:
        raise CheckpointError(f"job {name} has no complete checkpoint yet")
    if checkpoint is not None and checkpoint not in kept:
        have = ", ".join(map(str, kept))
        raise CheckpointError(
            f"checkpoint {checkpoint} of job {name} is not kept: there are {have}",
            hint="'execution.checkpointing.num-retained' says how many are kept; a savepoint stays",
        )
    return [OfCheckpoint(storage, coordinator.manifest(n)) for n in (kept if checkpoint is None else [checkpoint])]


# ---- as a table


@dataclass(frozen=True)
class StateTable:
    """What a call of sqlstream.state gives: its columns, and the source of its rows."""

    schema: Schema
    source: Source


def table(stored: Stored, operator: str | None, state: str | None) -> StateTable:
    """The list of states; or, given an operator, by its id or its name, the rows of its state, or of the one named `state`.

    BindError when there is no such one, or there are several.
    """
    if operator is None:
        return StateTable(LISTED, StateSource(LISTED, lambda: _listed(stored)))
    found = stored.operators()
    keys = [key for key, (name, _) in found.items() if operator in (key, name)]
    if not keys:
        raise BindError(
            f"{stored.title} has no operator '{operator}' with state",
            hint=did_you_mean(operator, [*found], "operators"),
        )
    if len(keys) > 1:
        raise BindError(f"there are several operators '{operator}': {', '.join(keys)}", hint="name one by its id")
    (key,) = keys
    schemas = {s.name: s for s in found[key][1]}
    if state is None and len(schemas) > 1:
        raise BindError(
            f"{key} has several states: {', '.join(schemas)}",
            hint=f"sqlstream.state('…', '{key}', '{next(iter(schemas))}')",
        )
    wanted = next(iter(schemas)) if state is None else state
    if wanted not in schemas:
        raise BindError(f"{key} has no state '{wanted}'", hint=did_you_mean(wanted, [*schemas], "states"))
    schema = Schema(tuple(SchemaColumn(f.name, from_arrow(f.type)) for f in shown_schema(schemas[wanted])))
    return StateTable(schema, StateSource(schema, lambda: stored.batches(key, schemas[wanted])))


def _listed(stored: Stored) -> Iterator[pa.RecordBatch]:
    rows = list(stored.summaries())
    columns: list[list[Any]] = [
        [r.operator for r in rows],
        [r.name for r in rows],
        [r.state for r in rows],
        [r.rows for r in rows],
        [r.bytes for r in rows],
        [r.oldest for r in rows],
        [r.columns for r in rows],
    ]
    yield pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, LISTED.arrow(), strict=True)], names=LISTED.names
    )


class StateSource(Source):
    """Rows that `batches` gives, the same each time it is called, under the names of `schema`."""

    def __init__(self, schema: Schema, batches: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        self.schema, self.batches = schema, batches

    def splits(self, known: tuple[Split, ...] = (), *checkpoint: Any) -> list[Split]:
        return list(known) or [Split("state")]

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        return _Reader(self, request, first_row)


class _Reader(SplitReader):
    """Batch after batch; those that were read before are read again, and left out."""

    def __init__(self, source: StateSource, request: ScanRequest, first_row: int) -> None:
        self._schema, self._request = source.schema, request
        self._batches = source.batches()
        self._derivation = Derivation(request)
        self._next, self._skip, self._over = first_row, first_row, False
        self._rest: pa.RecordBatch | None = None

    def poll(self, max_rows: int) -> SourceBatch | None:
        batch = self._rest
        while batch is None or not batch.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                self._over = True
                return None
            skipped = min(self._skip, batch.num_rows)
            self._skip, batch = self._skip - skipped, batch.slice(skipped)
        self._rest = batch.slice(max_rows)
        some = self._derivation.of(_requested(batch.slice(0, max_rows), self._schema, self._request))
        first, self._next = self._next, self._next + some.num_rows
        return SourceBatch(some, first, {"row": self._next})

    @property
    def finished(self) -> bool:
        return self._over

    def close(self) -> None:
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()


def _requested(batch: pa.RecordBatch, schema: Schema, request: ScanRequest) -> pa.RecordBatch:
    """The columns that are asked for, in the engine's types; without any, column `one`."""
    wanted = request.arrow_schema()
    arrays = []
    for c, f in zip(request.columns, wanted, strict=True):
        at = schema.names.index(c.path[0])
        array, t = batch.column(at), schema[at].type
        for name in c.path[1:]:
            place = [child.name for child in t.fields].index(name)
            array, t = pc.struct_field(array, place), t.fields[place].type
        arrays.append(rename_array(array, f.type) if t.fields else as_type(array, f.type))
    if not arrays:
        wanted, arrays = pa.schema([("one", pa.int32())]), [pa.array([1] * batch.num_rows, pa.int32())]
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def stored_of(
    named: str,
    checkpoint: int | None,
    find: Callable[[str], JobView],
    options: SessionOptions,
    stores: Stores,
    root: str,
) -> Stored:
    """What `sqlstream.state('<named>')` is about: the path of a savepoint or a checkpoint, else a job, which `find` finds."""
    if "/" in named or os.sep in named:
        path = named if "://" in named else str((Path(root) / named).resolve())
        found = at_path(path, stores)
        if found is not None and checkpoint is not None:
            raise OptionError(f"{named} is one state: checkpoint => {checkpoint} is for jobs")
        if found is not None:
            return found
    return of_job(find(named), checkpoint, options, stores, root)[-1]
