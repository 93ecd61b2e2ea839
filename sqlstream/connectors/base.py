"""The contracts of connectors: what a table's outside gives (Source) and takes (Sink).

A connector is one class in one file and one line in `connectors/registry.py`. It declares its options; the
registry checks them. Everything that is shipped to tasks (Connector, Source, Split, Sink) is picklable; readers
and writers are made in the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from sqlstream.errors import InternalError, NotSupported, SqlStreamError
from sqlstream.options import Option
from sqlstream.stores import ENVIRONMENT, Stores
from sqlstream.types import Schema, Type


@dataclass(frozen=True)
class TableContext:
    """What a connector is told of a table. `schema`: its physical columns (no computed, no metadata ones)."""

    name: str
    schema: Schema
    options: Mapping[str, str]  # as written, without 'connector'
    primary_key: tuple[str, ...] = ()
    partitioned_by: tuple[str, ...] = ()
    working_directory: str = "."
    time_zone: str = "UTC"
    stores: Stores = ENVIRONMENT


@dataclass(frozen=True)
class ScanColumn:
    """A leaf or whole column to decode: ("bid", "auction") is field auction of ROW column bid.

    ("$metadata", key) is a METADATA column. A path through a NULL row gives NULL.
    """

    path: tuple[str, ...]
    type: Type


@dataclass(frozen=True)
class ScanRequest:
    """What to decode. Delivered as columns c0, c1, … of the engine's Arrow types (`Type.arrow()`).

    `derived`: (alias, DuckDB expression over c0, c1, …) to append to every batch: a reader that decodes with
    DuckDB puts them into its one statement, any other has a `Derivation`. Rows are never dropped by a reader:
    positions count all rows, and the watermark looks at all of them. A request for nothing gives a column `one`.
    """

    columns: tuple[ScanColumn, ...]
    derived: tuple[tuple[str, str], ...] = ()

    def arrow_schema(self) -> pa.Schema:
        return pa.schema([(f"c{i}", c.type.arrow()) for i, c in enumerate(self.columns)])


@dataclass(frozen=True)
class Split:
    """A part of a source that is read in one order, e.g. a file. `id` is stable across runs; `info` is JSON-able."""

    id: str
    info: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0  # order of discovery, stable across restarts; the high bits of `_ord`


@dataclass
class SourceBatch:
    """Rows of one split in its order.

    batch      c0…, then the derived aliases, then `_op` (int8) when the format is a changelog
    first_row  ordinal of the first row within the split (counts rows delivered, skipped bad ones not)
    position   JSON-able; reading on from it gives exactly the rows after this batch
    drained    these are all the rows there were: asking again makes sense in the next epoch only. A reader that does
               not set it for rows that come one by one is asked until it has none, and the epoch grows meanwhile
    """

    batch: pa.RecordBatch
    first_row: int
    position: Any
    drained: bool = False


class SplitReader:
    """Reads one split. Made in the task; may decode ahead on threads of its own, in order."""

    def poll(self, max_rows: int) -> SourceBatch | None:
        """Up to `max_rows` rows. None: nothing there now (ask later, or `finished`). Blocks only while decoding."""
        raise InternalError("SplitReader.poll")

    @property
    def finished(self) -> bool:
        """True when a bounded split has given everything."""
        raise InternalError("SplitReader.finished")

    @property
    def skipped_records(self) -> int:
        """Malformed records skipped by option so far (in this reader)."""
        return 0

    def close(self) -> None:
        """Also called in the middle of reading."""


class Source:
    """A scannable table. Picklable."""

    bounded: bool = True
    append_only: bool = True  # False: batches carry `_op`
    # Malformed records that reading its `relation` has skipped by option.
    skipped_records: int = 0

    def splits(self, known: tuple[Split, ...] = ()) -> list[Split]:
        """All splits there are now, `known` ones first and unchanged; called again from time to time if unbounded.

        Raises DataError / RunError when the path does not exist or cannot be read.
        """
        raise InternalError("Source.splits")

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        """A reader from `position` (None: the start)."""
        raise InternalError("Source.reader")

    def diagnose(self, request: ScanRequest) -> SqlStreamError | None:
        """After a statement over `relation()` failed inside DuckDB: the error of this source that explains it.

        Reads the splits again through `reader()`, which names file, line and record; None when they read well.
        """
        from sqlstream.connectors.relation import first_error

        return first_error(self, request)

    def relation(self, connection: duckdb.DuckDBPyConnection, request: ScanRequest) -> str:
        """Batch: SQL of a FROM item giving c0, c1, … (then derived, then `_op`) over all splits, in (split, position) order.

        May register views or Arrow readers on `connection`. The default reads the splits through `reader()`.
        """
        from sqlstream.connectors.relation import register_splits

        return register_splits(self, connection, request)


class SinkWriter:
    """Writes one task's rows. What is written becomes visible to readers only by `SinkCommitter.commit`."""

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        """`batch` under the users' column names; `kinds` (int8 `Kind`) is None for inserts only. Order matters."""
        raise InternalError("SinkWriter.write")

    def flush(self) -> None:
        """End of an epoch: a sink that shows rows at once (print) does it now."""

    def prepare(self, checkpoint: int) -> list[dict[str, Any]]:
        """Make all rows written since the last prepare durable, still invisible; returns JSON-able committables."""
        return []

    def close(self) -> None:
        """Also after a failure: must not publish."""


class SinkCommitter:
    def commit(self, committables: list[dict[str, Any]]) -> None:
        """Publish. Idempotent: called again after a restore with what may already be published."""

    def clean(self, keep: list[dict[str, Any]]) -> None:
        """On start of a run: remove staged leftovers of this run that are not among `keep`."""

    def published(self, after: int) -> list[str]:
        """What this run has published for checkpoints later than `after`, as far as the sink can tell."""
        return []


@dataclass(frozen=True)
class SinkTask:
    """Who writes: names of files and transactions are made of it. `durable`: the run takes checkpoints."""

    job: str
    run: str
    subtask: int
    durable: bool = True


class Sink:
    """A writable table. Picklable. `changelog`: accepts updates and deletes (else the planner refuses them).

    `update_before`: wants the row before an update, too (-U). Not, where the new row takes the place of the old one.
    """

    changelog: bool = False
    update_before: bool = True

    def writer(self, task: SinkTask) -> SinkWriter:
        raise InternalError("Sink.writer")

    def committer(self, task: SinkTask) -> SinkCommitter:
        return SinkCommitter()


class Connector:
    """What a `'connector' = '…'` value means. Override what it can do."""

    name: str = ""
    options: tuple[Option, ...] = ()

    def known_options(self, given: Mapping[str, str]) -> tuple[Option, ...]:
        """Options valid for a table with `given` ones (a format adds its own)."""
        return self.options

    def ddl_columns(self, table: TableContext) -> str | None:
        """For a CREATE TABLE without columns: the body it stands for (columns and watermark), as SQL; None: none.

        The file connector infers it from the files; nexmark knows it.
        """
        return None

    def metadata(self, table: TableContext) -> Mapping[str, Type]:
        """METADATA keys that can be read, with their types."""
        return {}

    def source(self, table: TableContext) -> Source:
        raise NotSupported(f"table {table.name}: connector '{self.name}' cannot be read from")

    def sink(self, table: TableContext) -> Sink:
        raise NotSupported(f"table {table.name}: connector '{self.name}' cannot be written to")
