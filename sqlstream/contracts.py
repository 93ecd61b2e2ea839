"""The contracts of a table's outside: what it gives (Source, split by split) and takes (Sink).

Connectors and formats import them from here.

A connector is one class in one file and one line in `connectors/registry.py`. It declares its options; the
registry checks them. Everything that is shipped to tasks (Connector, Source, Split, Sink) is picklable; readers
and writers are made in the task.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from sqlstream.batches import NO_WATERMARK, Time
from sqlstream.errors import InternalError, NotSupported
from sqlstream.expressions import Expr
from sqlstream.functions.user import UserFunction
from sqlstream.options import Option
from sqlstream.stores import ENVIRONMENT, Stores
from sqlstream.types import Schema, Type

FAIL, SKIP = "fail", "skip"


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
    seconds: Callable[[], float] = time.monotonic  # what is paced goes by it
    undeclared: bool = False  # its columns are those that were found in it
    metadata: tuple[tuple[str, str], ...] = ()  # METADATA columns that are written, too (not VIRTUAL): name and key


@dataclass(frozen=True)
class ScanColumn:
    """A leaf or whole column to decode: ("bid", "auction") is field auction of ROW column bid.

    ("$metadata", key) is a METADATA column. A path through a NULL row gives NULL.
    """

    path: tuple[str, ...]
    type: Type


@dataclass(frozen=True)
class Skip:
    """Which rows need not be read, told by what is known of many together: a row group of a file, or a file.

    SQL over a row for each such stretch, which has for column i of the request `l{i}` and `h{i}`, the least and the greatest
    value or what is below and above them (NULL: all rows have NULL, or it is not known), `n{i}`, whether a row may have NULL,
    and `u{i}`, whether the bounds are not known. `wanted`: FALSE where the filter leaves no row. `mark`: the greatest
    watermark of the rows (µs; NULL: none), and `unmarked`, whether that is not known; a table without a watermark has NULL and
    FALSE. `columns`: those that are looked at. `equal`: columns that have one of some values, SQL too, in each row that is
    left.
    """

    wanted: str
    mark: str
    unmarked: str
    columns: tuple[int, ...]
    equal: tuple[tuple[int, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class ScanRequest:
    """What to decode. Delivered as columns c0, c1, … of the engine's Arrow types (`Type.arrow()`).

    `derived`: (alias, DuckDB expression over c0, c1, …) to append to every batch: a reader that decodes with
    DuckDB puts them into its one statement, any other has a `Derivation`. `computed`: of some of them, what makes them of a batch
    of c0, c1, … without a statement, or raises pa.ArrowInvalid, and leaves it to DuckDB. Rows are never dropped by a reader:
    positions count all rows, and the watermark looks at all of them. `skip`: rows that it may pass over, and says so
    (`SourceBatch.passed`). A request for nothing (all that is read of the table is computed) gives a column `one`, as many
    rows as there are.
    `zone`: the session's, in which derived columns are evaluated. `functions`: the Python functions that they call.
    `filter`: a condition over the columns, of rows that alone are wanted where it is given: a source whose own engine can
    tell leaves others out, any part of them, and they count nowhere. Whoever asked looks at the condition again.
    """

    columns: tuple[ScanColumn, ...]
    derived: tuple[tuple[str, str], ...] = ()
    zone: str = "UTC"
    functions: frozenset[UserFunction] = frozenset()
    skip: Skip | None = None
    computed: tuple[tuple[str, Callable[[pa.RecordBatch], pa.Array]], ...] = ()
    filter: Expr | None = None

    def arrow_schema(self) -> pa.Schema:
        """The requested columns c0, c1, …, without `derived` and hidden ones."""
        return pa.schema([(f"c{i}", c.type.arrow()) for i, c in enumerate(self.columns)])


@dataclass(frozen=True)
class Split:
    """A part of a source that is read in one order, e.g. a file. `id` is stable across runs; `info` is JSON-able."""

    id: str
    info: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0  # order of discovery, stable across restarts; the high bits of `_ord`


@dataclass(frozen=True)
class BadRecord:
    """A malformed record that its table lets go to another one: its file, its line there (from 1), why, its bytes."""

    file: str
    line: int
    reason: str
    record: bytes


@dataclass(frozen=True)
class Passed:
    """Rows that were not read, as the filter leaves none of them: how many, and the greatest watermark of them (µs). A whole
    file of a table without a watermark is passed over uncounted: nothing follows it. `row_groups`, `files`: how many."""

    rows: int = 0
    mark: int = NO_WATERMARK
    row_groups: int = 0
    files: int = 0

    def __add__(self, other: Passed) -> Passed:
        return Passed(
            self.rows + other.rows,
            max(self.mark, other.mark),
            self.row_groups + other.row_groups,
            self.files + other.files,
        )


@dataclass(frozen=True)
class Pending:
    """What is there and was not taken yet: records, and bytes of them. None: not known, which is another thing than none."""

    records: int | None = None
    bytes: int | None = None

    def __add__(self, other: Pending) -> Pending:
        """Of both; not known where it is not known of one."""
        return Pending(_both(self.records, other.records), _both(self.bytes, other.bytes))


def _both(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


UNKNOWN = Pending()


def known(some: Iterable[Pending]) -> Pending:
    """Of all, as far as it is known."""
    found = [(p.records, p.bytes) for p in some]
    records, sizes = (
        ([n for n in column if n is not None] for column in zip(*found, strict=True)) if found else ([], [])
    )
    return Pending(sum(records) if records else None, sum(sizes) if sizes else None)


@dataclass
class SourceBatch:
    """Rows of one split in its order.

    batch      c0…, then the derived aliases, then `_op` (int8) when the format is a changelog
    first_row  ordinal of the first row within the split (counts rows delivered, skipped bad ones not)
    position   JSON-able; reading on from it gives exactly the rows after this batch
    drained    these are all the rows there were: asking again makes sense in the next epoch only. A reader that does
               not set it for rows that come one by one is asked until it has none, and the epoch grows meanwhile
    bad        malformed records that stand up to there and come with no other batch, where a table takes them
    passed     the rows behind `first_row` that were passed over; the batch has none then, and what columns it has means nothing
    fetched    when they came from outside, in µs since 1970; None: just now
    """

    batch: pa.RecordBatch
    first_row: int
    position: Any
    drained: bool = False
    bad: Sequence[BadRecord] = ()
    passed: Passed | None = None
    fetched: int | None = None

    def __post_init__(self) -> None:
        if not self.batch.num_columns:
            raise InternalError("a batch without columns has no rows: a request for nothing gives a column `one`")


class SplitReader:
    """Reads one split. Made in the task; may decode ahead on threads of its own, in order."""

    def poll(self, max_rows: int) -> SourceBatch | None:
        """Up to `max_rows` rows. None: nothing there now (ask later, or `finished`). Blocks only while decoding.

        For no rows: the malformed records that stand before the next row, if any do.
        """
        raise InternalError("SplitReader.poll")

    @property
    def finished(self) -> bool:
        """True when a bounded split has given everything."""
        raise InternalError("SplitReader.finished")

    @property
    def superseded(self) -> bool:
        """All of the split was read that there is, and a later one has taken its place: it holds back no watermark."""
        return False

    def rest(self, wake: Callable[[], None]) -> bool:
        """Whether the split has nothing now, and `wake` will be called (from any thread) when polling makes sense
        again. False: it is to be polled. Asked when a poll has given nothing."""
        return False

    @property
    def wakes_closed(self) -> bool:
        """Whether `wake` is also called when the reader was closed meanwhile: then not many are kept open that rest, and a new one
        goes on from the position."""
        return False

    @property
    def skipped_records(self) -> int:
        """Malformed records skipped by option so far (in this reader)."""
        return 0

    @property
    def bytes_read(self) -> int | None:
        """Bytes of what its batches were made of so far (in this reader), as they are outside: of messages, of a file. None: not
        known. Asked each epoch: it is counted by batches."""
        return None

    @property
    def pending(self) -> Pending:
        """What of the split is behind its last batch, as far as that is known without asking anybody who takes long. Asked once a
        second."""
        return UNKNOWN

    def close(self) -> None:
        """Also called in the middle of reading."""


@dataclass(frozen=True)
class LookupCache:
    """How long a lookup join goes on with what it has read of a table: until the table's splits change, or, when
    `full`, for good, and with `reload` (µs) for so long."""

    full: bool = False
    reload: int | None = None


@dataclass(frozen=True)
class KeyedCache:
    """What a lookup join remembers of the keys that it has asked a table for: so many of them (None: all; 0: none), those
    without rows too if `missing`, and for how long after they were asked for, or used last (µs; None: for good)."""

    rows: int | None = 0
    after_write: int | None = None
    after_access: int | None = None
    missing: bool = True


class KeyedReader:
    """Reads rows of a table by their keys, as the table is when it is asked. Made in the task; for one thread at a time."""

    def rows(self, keys: Sequence[pa.Array]) -> pa.RecordBatch:
        """The rows whose key columns have the values of one of the keys, in any order; others may be among them. `keys`: their
        columns; none is NULL, and none is there twice. Columns c0, c1, … of the request."""
        raise InternalError("KeyedReader.rows")

    def close(self) -> None:
        """It is not asked any more."""


class Source:
    """A scannable table. Picklable."""

    bounded: bool = True
    live: bool = False  # bounded, but it is waited for: it ends when who writes it does
    settled: bool = False  # unbounded, and no splits will come: it ends when those of the start have
    lookup: LookupCache = LookupCache()
    keyed: KeyedCache | None = (
        None  # a lookup join asks it for the rows of keys (`keyed_reader`), and does not read it whole
    )
    by_key_alone: bool = False  # of those that are `keyed`: their rows cannot be read through
    append_only: bool = True  # False: batches carry `_op`
    # What becomes of malformed records: FAIL, SKIP, or the name of the table that takes them.
    bad_records: str = FAIL
    # Of those that reading its `relation` has left out, how many, and (where a table takes them) which, by split and line.
    skipped_records: int = 0
    found_bad: Mapping[tuple[str, int], BadRecord] = MappingProxyType({})

    @property
    def bad_table(self) -> str | None:
        """The name of the table that takes malformed records, if one does."""
        return None if self.bad_records in (FAIL, SKIP) else self.bad_records

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        """All splits there are when a job starts, `known` ones first and unchanged. Without `known` a bounded source's
        are equal to those of another time where their rows are the same.

        `known`: those of its checkpoint; `positions`: how far each was read, by id; `finished`: the ids of those that
        were read to their end. A bounded source then gives these alone. Raises DataError / RunError when the path does
        not exist or cannot be read, CheckpointError when a split is not what it was.
        """
        raise InternalError("Source.splits")

    def partitions(self) -> list[str]:
        """The names of the partitions there are, `d=2026-01-01/hour=10`, sorted; of a table without PARTITIONED BY there are none."""
        return []

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        """Why the splits of a checkpoint cannot be read once more from their starts, to the same rows; None: they can."""
        return None

    def ended(self, known: tuple[Split, ...]) -> list[Split]:
        """Splits that a batch query has read to their ends, as they are now: where one has grown, `info` says by 'upto'
        where that end was (bytes). Their readers stop there. CheckpointError when one is not what it was."""
        return list(known)

    def hurry(self, hurried: bool) -> None:
        """Whether readers that are made from now on give rows as fast as they are asked for, whatever their pace: those of
        the past, which a changed job reads again."""

    def begins(self, durable: bool) -> None:
        """A job begins to read it, which takes checkpoints (`checkpointed`) if it is `durable`. Before `splits`."""

    def look(self) -> None:
        """A round of reading begins: a source whose readers rest looks, now and then, whether to wake them. From any
        thread."""

    def new_splits(self) -> list[Split]:
        """Those that came since `splits` or `new_splits` was last called; asked now and then if unbounded."""
        return []

    def forgotten(self) -> list[str]:
        """The ids of finished splits that will never be asked for again, since it was last asked."""
        return []

    def checkpointed(self, positions: Mapping[str, Any]) -> None:
        """A checkpoint is complete and published, from which the job would go on at these positions, by the splits' ids: what
        stands before them is not asked for again, unless somebody goes back to an older one."""

    def pending(self, split: Split, position: Any) -> Pending:
        """What of a split that no reader has open is not read, as `SplitReader.pending`. Asked once for each."""
        return UNKNOWN

    @property
    def reconnects(self) -> int:
        """How often a connection was lost, or could not be made, and that was not the end of it: it was tried again. So far, in this
        process."""
        return 0

    def notes(self) -> list[str]:
        """What to say to who runs the job (what it cannot read, what is lost), since it was last asked."""
        return []

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        """A reader from `position` (None: the start)."""
        raise InternalError("Source.reader")

    def keyed_reader(self, request: ScanRequest, keys: tuple[int, ...]) -> KeyedReader:
        """Rows by the values of columns `keys` of the request. Of a source with `keyed`."""
        raise InternalError("Source.keyed_reader")

    def cancel(self) -> None:
        """Ends a `relation` that waits for what it reads, with Canceled. From any thread."""

    def give_up(self) -> None:
        """The job is to end: what waits for somebody's answer (a reader that is made, a question for keys) ends within a second, with
        Canceled. From any thread, and in the handler of a signal. A job that is stopped so goes on from the checkpoint before."""

    def relation(self, connection: duckdb.DuckDBPyConnection, request: ScanRequest) -> str | None:
        """Batch: SQL of a FROM item giving c0, c1, … (then derived, `_op`) over all splits, in (split, position) order.

        May register views or Arrow readers on `connection`. None: the splits are read through `reader()`
        (`connectors/relation.py`).
        """
        return None


# ---- sinks: two-phase commit
#
# Each checkpoint of a job is a transaction of each of its sinks:
#
#   prepare  every task's writer makes what it has durable, invisibly, and says in *committables* how to show it
#   combine  the one committer of the run sees those of all tasks, before they go into the checkpoint
#   commit   when the checkpoint is complete: what it knows becomes visible. Again and again is as good as once
#   abort    what was prepared and no checkpoint knows will never be committed: it goes
#   withdraw a batch query that is not durable could not commit all: what it did commit goes, too
#   recover  when a job goes on from a checkpoint: commit what that knows; `abort` follows and takes the rest
#
# A process may die between any two of these calls and in the middle of each. Between `prepare` and the end of `commit`
# nothing but the committables is needed: they are JSON-able, and a later process's committer has nothing else.


Committable = dict[str, Any]


class Stage(Enum):
    """How far a process before this one had come with the committables of a checkpoint that the job goes on from."""

    PREPARED = "prepared"  # nothing of it was committed
    COMMITTING = "committing"  # it had begun to: some may be visible, and readers may have taken such away
    COMMITTED = "committed"  # all of it was


class SinkWriter:
    """Writes one task's rows. What is written becomes visible to readers only by `SinkCommitter.commit`.

    `bytes_sent`: of what it has written so far, as it is outside: of messages, of files that are whole. None: not known.
    """

    bytes_sent: int | None = None

    def sent(self, size: int) -> None:
        """So many bytes more were written."""
        self.bytes_sent = (self.bytes_sent or 0) + size

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        """`batch` under the users' column names; `kinds` (int8 `Kind`) is None for inserts only. Order matters."""
        raise InternalError("SinkWriter.write")

    def advance(self, time: Time) -> None:
        """How far the rows have come that this task was given: after those of an epoch, before its `flush`."""

    def flush(self) -> None:
        """End of an epoch: a sink that shows rows at once (print) does it now."""

    def prepare(self, checkpoint: int) -> list[Committable]:
        """Make all rows written since the last prepare durable, still invisible; returns JSON-able committables."""
        return []

    def close(self) -> None:
        """Also after a failure: must not publish."""


class SinkCommitter:
    """Publishes what the writers of all tasks have prepared: one for a sink of a run.

    The defaults are those of a sink that shows rows as they are written, and so has nothing to publish. A sink whose
    `abort` cannot tell by itself what is left over (a transaction's name in a database is made of `SinkTask`) cannot
    be exactly-once.
    """

    def combine(self, prepared: list[Committable], now: int) -> list[Committable]:
        """What goes into the checkpoint, of what all tasks have prepared for it; committed in this order. `now`: the
        clock's, in µs. For what a sink does once for all tasks; what it remembers for that goes into a committable, and
        comes back by `recover`."""
        return prepared

    def commit(self, committables: list[Committable]) -> None:
        """Publish. Idempotent: called again with what may already be published."""

    def abort(self) -> None:
        """Remove what this run has prepared and not committed: it never will be. On start, after `recover`."""

    def withdraw(self, committables: list[Committable]) -> None:
        """Committing these, or what other sinks of the job have, has failed half-way, and nobody will go on with it: none
        is to be visible, as far as that can be. `abort` follows."""

    def recover(self, committables: list[Committable], before: Stage) -> list[str]:
        """After a restart, for each checkpoint that the job goes on from: commit what it knows, as far as `before` says
        that this is still to be done. The names of what was committed and taken away by readers since are given back.
        """
        if before is not Stage.COMMITTED:
            self.commit(committables)
        return []

    def published(self, after: int) -> list[str]:
        """What this run has published for checkpoints later than `after`, as far as the sink can tell."""
        return []

    def others(self) -> list[str]:
        """What other runs of the job have published, as far as the sink can tell."""
        return []


@dataclass(frozen=True)
class SinkTask:
    """Who writes: names of files and transactions are made of it, and of the table's (a job may write several).
    `subtask`: the task's number, another one for each statement that writes to the same place. `durable`: the run takes
    checkpoints."""

    job: str
    run: str
    subtask: int
    durable: bool = True


class Sink:
    """A writable table. Picklable. `changelog`: accepts updates and deletes (else the planner refuses them).

    `update_before`: wants the row before an update, too (-U). Not, where the new row takes the place of the old one.
    `waits_for_watermark`: does something when it passes, so it is computed for it. `primary_key`: it knows rows by the
    values of these columns (`connectors/upsert.py`): those of one key come to one task. `place`: where it writes; what
    several statements of a job write to one place goes through one committer. "": each has its own.
    """

    changelog: bool = False
    update_before: bool = True
    waits_for_watermark: bool = False
    primary_key: tuple[str, ...] = ()
    place: str = ""

    def writer(self, task: SinkTask) -> SinkWriter:
        """A new writer for one task of a run. May make directories and connections; publishes nothing."""
        raise InternalError("Sink.writer")

    def committer(self, task: SinkTask) -> SinkCommitter:
        """The committer of a run; `task` names the job and the run, its subtask does not matter."""
        return SinkCommitter()

    def give_up(self) -> None:
        """The job is to end: a writer that waits for somebody's answer waits for seconds at most, and what is not known to be written
        then is an error, which says so. From any thread, and in the handler of a signal."""

    def overwriting(self, partition: pa.RecordBatch | None) -> Sink:
        """This sink, for INSERT OVERWRITE in batch: what is committed takes the place of what is there, in the whole
        table, or in the partitions that rows come for. `partition`: a row of the partition columns, where each of them has
        one value: that one is replaced also when no row comes. NotSupported where it cannot."""
        raise NotSupported(
            "INSERT OVERWRITE: this connector cannot replace what was written",
            hint="it is for 'connector' = 'filesystem'",
        )


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
        """What a scan of the table reads. NotSupported when there is none; OptionError for wrong options."""
        raise NotSupported(f"table {table.name}: connector '{self.name}' cannot be read from")

    def sink(self, table: TableContext) -> Sink:
        """What an INSERT into the table writes to. NotSupported when there is none; OptionError for wrong options."""
        raise NotSupported(f"table {table.name}: connector '{self.name}' cannot be written to")
