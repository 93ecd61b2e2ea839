"""State files: what a checkpoint stores of an operator's keyed states, as Arrow streams, one after the other.

A stream holds rows of one state: those to write (columns `key.<name>`, then `value.<name>`) or the keys of those
that are gone. Its schema's metadata says which: `state`, `number`, `rows` (upserts or deletes), `format`. Any Arrow
reader reads them, and so does DuckDB. Rows of a file have distinct keys, in no order; of the files of a chain, later
ones win. Writing and reading leave Python's lock alone (docs/decisions/007).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from sqlstream.errors import CheckpointError
from sqlstream.state.index import HashIndex
from sqlstream.state.spec import StateSpec
from sqlstream.state.table import Rows

FORMAT = 2
SUFFIX = ".arrow"
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
_NO_COLUMNS = "row"  # a stream of rows without columns has this one, so that they can be counted


@dataclass(frozen=True)
class StateRows:
    """Rows of one state. `deleted`: they are gone, and have keys only."""

    number: int
    spec: StateSpec
    rows: Rows
    deleted: bool = False


def write_file(path: Path, parts: Iterable[StateRows]) -> int:
    """Writes a state file, and gives the number of its rows. Without a row, or after an error, there is no file."""
    rows, writer, before = 0, None, (-1, False)
    try:
        with pa.OSFile(str(path), "wb") as file:
            for part in parts:
                batch = _batch(part)
                if not batch.num_rows:
                    continue
                if writer is None or before != (part.number, part.deleted):
                    if writer is not None:
                        writer.close()
                    writer, before = (
                        pa.ipc.new_stream(file, batch.schema, options=_OPTIONS),
                        (part.number, part.deleted),
                    )
                writer.write_batch(batch)
                rows += batch.num_rows
            if writer is not None:
                writer.close()
    except BaseException as e:
        path.unlink(missing_ok=True)
        if isinstance(e, OSError | pa.ArrowException):
            raise _failed("cannot write state file", path, e) from e
        raise
    if not rows:
        path.unlink(missing_ok=True)
    return rows


def read_file(path: Path, specs: dict[int, StateSpec]) -> Iterator[StateRows]:
    """The rows of a file, by batches. `specs`: the states by number. CheckpointError when it is no such file."""
    try:
        with pa.OSFile(str(path), "rb") as file:
            size = file.size()
            while file.tell() < size:
                stream = pa.ipc.open_stream(file)
                spec, number, deleted = _described(path, stream.schema, specs)
                for batch in stream:
                    width = len(spec.key)
                    keys, values = (
                        batch.columns[:width],
                        [] if deleted else batch.columns[width : width + len(spec.value)],
                    )
                    yield StateRows(number, spec, Rows(batch.num_rows, keys, values), deleted)
    except (OSError, pa.ArrowException) as e:
        raise _failed("cannot read state file", path, e) from e


def live_rows(chain: Sequence[Path], specs: dict[int, StateSpec]) -> Iterator[StateRows]:
    """The rows that a chain of files comes to: each key once, as its last file has it; none that is gone.

    Reads the last file first, and keeps an index of the keys that it met.
    """
    seen = {number: HashIndex(list(spec.key.types)) for number, spec in specs.items()}
    for path in reversed(chain):
        for part in read_file(path, specs):
            _, fresh = seen[part.number].upsert(part.rows.keys, len(part.rows))
            if part.deleted or not fresh.any():
                continue
            yield part if fresh.all() else StateRows(part.number, part.spec, part.rows.filter(fresh))


def _batch(part: StateRows) -> pa.RecordBatch:
    spec, rows = part.spec, part.rows
    fields = [pa.field(f"key.{f.name}", f.type) for f in spec.key]
    arrays = [*rows.keys]
    if not part.deleted:
        fields += [pa.field(f"value.{f.name}", f.type) for f in spec.value]
        arrays += rows.values
    if not arrays:
        fields, arrays = [pa.field(_NO_COLUMNS, pa.int8())], [pa.array(np.zeros(len(rows), np.int8))]
    described = {
        "format": str(FORMAT),
        "state": spec.name,
        "number": str(part.number),
        "rows": "deletes" if part.deleted else "upserts",
    }
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, described))


def _described(path: Path, schema: pa.Schema, specs: dict[int, StateSpec]) -> tuple[StateSpec, int, bool]:
    said = {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()}
    if said.get("format") != str(FORMAT):
        raise CheckpointError(
            f"{path} has state of format {said.get('format')}, this version reads format {FORMAT}",
            hint="use the version of sqlstream that wrote the checkpoint, or a newer one",
        )
    number, deleted = int(said["number"]), said["rows"] == "deletes"
    if number not in specs:
        raise CheckpointError(
            f"{path} has rows of state number {number}, which the checkpoint's manifest does not name"
        )
    spec = specs[number]
    expected = [*spec.key.types, *([] if deleted else spec.value.types)]
    if expected and list(schema.types) != expected:
        raise CheckpointError(
            f"{path}: rows of state {spec.name} are not in the form of its schema",
            hint="the checkpoint is damaged, or was written with another schema",
        )
    return spec, number, deleted


def _failed(doing: str, path: Path, error: BaseException) -> CheckpointError:
    text = str(error)
    full = "No space left" in text or "File too large" in text or "quota" in text.lower()
    out = CheckpointError(
        f"{doing} {path}: {text}", hint="free space on that disk, or move the directory" if full else None
    )
    out.transient = full
    return out
