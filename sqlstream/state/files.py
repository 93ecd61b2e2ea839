"""State files: what a checkpoint stores of an operator's keyed states, as Arrow streams, one after the other.

A stream holds rows of one state: those to write (columns `key.<name>`, then `value.<name>`) or the keys of those
that are gone. Its schema's metadata says which: `state`, `number`, `rows` (upserts or deletes), `format`. Any Arrow
reader reads them, and so does DuckDB. Rows of a file have distinct keys, in no order; of the files of a chain, later
ones win. Writing and reading leave Python's lock alone (docs/decisions/030).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from sqlstream.errors import CheckpointError
from sqlstream.state.index import HashIndex
from sqlstream.state.keys import key_groups
from sqlstream.state.rows import Rows
from sqlstream.state.spec import StateSpec

FORMAT = 2
SUFFIX = ".arrow"
OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
FEW_FILES = 3
ROWS_A_PASS = 1 << 21
_NO_COLUMNS = "row"  # a stream of rows without columns has this one, so that they can be counted


@dataclass(frozen=True)
class StateRows:
    """Rows of one state. `deleted`: they are gone, and have keys only."""

    number: int
    spec: StateSpec
    rows: Rows
    deleted: bool = False


class StateWriter:
    """Writes a state file, part by part."""

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path, self._file = path, pa.OSFile(str(path), "wb")
        self._stream: pa.RecordBatchStreamWriter | None = None
        self._kind = (-1, False)  # number and rows of the stream

    def write(self, part: StateRows) -> None:
        """Adds rows."""
        batch = stored_batch(part)
        if not batch.num_rows:
            return
        if self._stream is None or self._kind != (part.number, part.deleted):
            self._end_stream()
            self._stream = pa.ipc.new_stream(self._file, batch.schema, options=OPTIONS)
            self._kind = (part.number, part.deleted)
        self._stream.write_batch(batch)
        self.rows += batch.num_rows

    def close(self) -> None:
        """The file is whole; without a row there is none."""
        self._end_stream()
        self._file.close()
        if not self.rows:
            self._path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """There is no file, whatever was written."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()


def write_file(path: Path, parts: Iterable[StateRows]) -> int:
    """Writes a state file, and gives the number of its rows. Without a row, or after an error, there is no file."""
    with writing(path):
        writer = StateWriter(path)
        try:
            for part in parts:
                writer.write(part)
            writer.close()
        except BaseException:
            writer.abandon()
            raise
    return writer.rows


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of the disk are CheckpointErrors, about a state file there."""
    try:
        yield
    except (OSError, pa.ArrowException) as e:
        raise _failed("cannot write state file", path, e) from e


def read_file(path: Path, specs: dict[int, StateSpec]) -> Iterator[StateRows]:
    """The rows of a file, by batches. `specs`: the states by number. CheckpointError when it is no such file."""
    try:
        with pa.OSFile(str(path), "rb") as file:
            size = file.size()
            while file.tell() < size:
                stream = pa.ipc.open_stream(file)
                yield from stream_rows(stream, path, specs)
    except (OSError, pa.ArrowException) as e:
        raise _failed("cannot read state file", path, e) from e


class Newest:
    """The newest rows of a chain of files: each key once, as the last file that names it has it, gone or not.

    `seen`: by state number, an index of the keys that were met; complete when the rows have been read. Rows of a log
    that stay are met once anyway: they are in no index, and come in the order of the chain. `wanted`: the numbers of
    the states to read; None: all. `groups`: the key groups [lo, hi) to read; None: all.
    """

    def __init__(
        self,
        chain: Sequence[Path],
        specs: dict[int, StateSpec],
        wanted: set[int] | None = None,
        groups: tuple[int, int] | None = None,
    ) -> None:
        self._chain, self._specs, self._groups = chain, specs, groups
        read = specs if wanted is None else {n: specs[n] for n in wanted}
        self._staying = {n for n, s in read.items() if s.stays}
        self.seen = {n: HashIndex(list(s.key.types)) for n, s in read.items() if not s.stays}

    def __iter__(self) -> Iterator[StateRows]:
        for path in self._chain if self._staying else ():
            yield from self._read(path, self._staying)
        for path in reversed(self._chain) if self.seen else ():
            for part in self._read(path, self.seen):
                _, fresh = self.seen[part.number].upsert(part.rows.keys, len(part.rows))
                if fresh.all():
                    yield part
                elif fresh.any():
                    yield StateRows(part.number, part.spec, part.rows.filter(fresh), part.deleted)

    def _read(self, path: Path, numbers: Container[int]) -> Iterator[StateRows]:
        """The rows of these states in one file."""
        for part in read_file(path, self._specs):
            if part.number in numbers:
                yield part if self._groups is None else _of_groups(part, self._groups)


def in_turn(
    chain: Sequence[tuple[Path, int]], specs: dict[int, StateSpec], wanted: set[int] | None = None
) -> Iterator[StateRows]:
    """The rows of a chain of files, each with the number of its rows, for one who takes them one after another: of a key
    the newest comes last. Each file is read once. Of neighbouring files with not too many rows for an index of their keys
    each key comes once; where they are few, older rows are rather taken, too, than looked for. `wanted`: see `Newest`."""
    for run in _runs(chain):
        if len(run) > FEW_FILES:
            yield from Newest(run, specs, wanted)
            continue
        for path in run:
            for part in read_file(path, specs):
                if wanted is None or part.number in wanted:
                    yield part


def _runs(chain: Sequence[tuple[Path, int]]) -> Iterator[list[Path]]:
    """Neighbouring files that have some `ROWS_A_PASS` rows together, in their order."""
    run: list[Path] = []
    rows = 0
    for path, count in chain:
        if run and rows + count > ROWS_A_PASS:
            yield run
            run, rows = [], 0
        run.append(path)
        rows += count
    if run:
        yield run


def _of_groups(part: StateRows, groups: tuple[int, int]) -> StateRows:
    of = key_groups([part.rows.keys[j] for j in part.spec.placing], len(part.rows))
    return replace(part, rows=part.rows.filter((groups[0] <= of) & (of < groups[1])))


def stream_rows(stream: pa.RecordBatchReader, where: Path | str, specs: dict[int, StateSpec]) -> Iterator[StateRows]:
    """The rows of one stream, by batches. CheckpointError when they are of no state of `specs`."""
    spec, number, deleted = _described(where, stream.schema, specs)
    for batch in stream:
        width = len(spec.key)
        keys, values = batch.columns[:width], [] if deleted else batch.columns[width : width + len(spec.value)]
        yield StateRows(number, spec, Rows(batch.num_rows, keys, values), deleted)


def stored_batch(part: StateRows) -> pa.RecordBatch:
    """The rows as they are in a stream."""
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


def _described(path: Path | str, schema: pa.Schema, specs: dict[int, StateSpec]) -> tuple[StateSpec, int, bool]:
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
