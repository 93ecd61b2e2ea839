"""The rows of operators' states, out of the files of a checkpoint, whichever backend wrote them: for savepoints, for
tables of state, for who wants to know.

    with TaskRows(storage, operator, task, work) as rows:
        for some in rows.of(state):          # `Rows`, each row once, in pieces
            batch = shown(state, some)       # under the users' names

Nothing is written into the checkpoint's directories: files of a store are linked into `work`, a new directory of the
caller's, files of a remote storage come there, and what lies there goes at the end. Memory is bounded: a long chain of files is
parted by key groups there first.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pyarrow as pa

from sqlstream.checkpoint.chain import Chain, local_file, opened_store, spec_of
from sqlstream.checkpoint.manifest import OperatorState, StateSchema, TaskState
from sqlstream.checkpoint.storage import CheckpointStorage, failing_as
from sqlstream.state.stored import StoredState
from sqlstream.state.table import Rows
from sqlstream.threads import mapped
from sqlstream.types import rename_array

_ROW = "row"  # of a state without columns


class TaskRows:
    """What one task of an operator had. A context; `work` must not be there yet. CheckpointError when a file is gone or
    damaged."""

    def __init__(self, storage: CheckpointStorage, operator: OperatorState, task: TaskState, work: Path) -> None:
        self._storage, self._operator, self._task, self._work = storage, operator, task, work
        self._chain = Chain((), ())
        self._read = 0  # states
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as closing:
            closing.callback(shutil.rmtree, self._work, ignore_errors=True)
            with failing_as("make the directory", str(self._work)):
                self._work.mkdir(parents=True)
            files = self._task.files
            places = mapped(self._storage.transfers, lambda f: local_file(self._storage, f, self._work), files)
            found = list(zip(files, places, strict=True))
            store = closing.enter_context(opened_store([f for f in found if f[0].in_store], self._work / "store"))
            states = [StoredState(spec_of(s, store), s.number) for s in self._operator.states]
            deltas = [(path, f.rows) for f, path in found if not f.in_store]
            self._chain = Chain(deltas, states, store, self._task.key_groups)
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def of(self, state: StateSchema) -> Iterator[Rows]:
        """The rows of a state, each once; those of a log that stays in their order."""
        of = next(s for s in self._chain.states if s.number == state.number)
        self._read += 1
        return (part.rows for part in self._chain.by_groups([of], self._work / f"parts-{self._read}"))


def shown_schema(state: StateSchema) -> pa.Schema:
    """The columns of a state as people see them, the key's first: each name once, ROW fields by their names."""
    spec = state.spec()
    if spec.shown is not None:
        return spec.shown
    made = pa.schema([*spec.key, *spec.value])
    if len(set(made.names)) < len(made):  # one name in key and value
        made = pa.schema([*spec.key, *(f.with_name(f"value.{f.name}") for f in spec.value)])
    return made


def shown(state: StateSchema, rows: Rows) -> pa.RecordBatch:
    """Rows of a state under the users' names. Of one without any columns: a column `row`, so that they can be counted."""
    schema = shown_schema(state)
    if not len(schema):
        return pa.record_batch({_ROW: pa.array([0] * len(rows), pa.int8())})
    arrays = [rename_array(a, f.type) for a, f in zip((*rows.keys, *rows.values), schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def hidden(state: StateSchema, batch: pa.RecordBatch) -> Rows:
    """What `shown` gave as rows again; columns go by their places."""
    spec = state.spec()
    width, fields = len(spec.key), [*spec.key, *spec.value]
    arrays = [rename_array(a, f.type) for a, f in zip(batch.columns, fields, strict=False)]
    return Rows(batch.num_rows, arrays[:width], arrays[width : len(fields)])
