"""Rows written exactly once: staged in the database before a checkpoint, and taken on in one transaction behind it.

Decision 093. `prepare` puts a task's rows, as compressed Arrow streams, into table `sqlstream_staged`, where nobody looks.
`commit` takes those of all tasks and of all tables that the job writes in this database on, deletes them there, and sets the
number of the checkpoint in `sqlstream_checkpoints`, all in one transaction: so readers see whole checkpoints, and whoever
commits again sees by the number that it was done. Both tables are made in the first schema of the search path, if they are
not there. What is staged and not known to a checkpoint is of nobody, and `abort` deletes it.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.jdbc.database import Database, DbConnection
from sqlstream.connectors.jdbc.sink import Gathered, JdbcSink, Repeated
from sqlstream.connectors.jdbc.target import Target
from sqlstream.contracts import Committable, SinkCommitter, SinkTask, SinkWriter
from sqlstream.errors import CheckpointError, DataError, RunError
from sqlstream.types import Column, Schema, from_arrow

STAGED_BYTES = 32 << 20  # in memory, before they are staged in the middle of a checkpoint's time
PART_BYTES = 8 << 20  # of Arrow's columns, in one part


def owner_of(task: SinkTask, place: str) -> str:
    """Whose rows they are: a run's, in a database, as a user."""
    return f"{task.job}/{task.run}/{place}"


def make_tables(database: Database, connection: DbConnection) -> None:
    """Both of ours, unless they are there. RunError, which says what to do, where that is not allowed."""
    if all(database.has_table(connection, n) for n in ("sqlstream_staged", "sqlstream_checkpoints")):
        return
    staging = database.staging
    try:
        if staging.alone:
            connection.rows(staging.alone)
        for statement in staging.tables:
            connection.execute(statement)
    except RunError as e:
        raise RunError(
            f"{e.message}: exactly-once writing keeps rows in tables of its own until their checkpoint is complete",
            hint=f"who may do so: {'; '.join(staging.tables)}; and GRANT SELECT, INSERT, UPDATE, DELETE on both. Or "
            "'sink.delivery-guarantee' = 'at-least-once'",
        ) from e


class StagingWriter(SinkWriter):
    """One task's rows between two checkpoints."""

    def __init__(self, sink: JdbcSink, task: SinkTask) -> None:
        self._sink, self._owner = sink, owner_of(task, sink.place)
        self._database = sink.database
        self._waiting = Gathered(sink.table.primary_key)
        self._repeated = Repeated(sink.connect, sink.writes.retries)
        self._batch, self._kinds = uuid.uuid4().hex, list[str]()
        self._target: Target
        self._repeated.first(self._begin)

    def _begin(self, connection: DbConnection) -> None:
        t = self._sink.table  # says now what is wrong with the table
        self._target = self._database.target(connection, self._sink.name, t.schema, t.primary_key)
        make_tables(self._database, connection)

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self._waiting.write(batch, kinds)
        if self._waiting.bytes >= STAGED_BYTES:
            self._stage()

    def prepare(self, checkpoint: int) -> list[Committable]:
        self._stage()
        batch, kinds = self._batch, self._kinds
        self._batch, self._kinds = uuid.uuid4().hex, []
        if not kinds:
            return []
        t = self._sink.table
        told = {"table": self._sink.name, "key": list(t.primary_key), "batch": batch, "kinds": kinds}
        return [{"checkpoint": checkpoint, "batches": [told]}]

    def _stage(self) -> None:
        changes = self._waiting.take()
        for change in changes:  # the commit is behind the checkpoint, when it is too late to leave a row out
            self._target.check(change)
        parts = [(kind, part) for kind, rows in changes for part in _parts(rows)]
        if not parts:
            return
        first = len(self._kinds)

        def insert(connection: DbConnection) -> None:
            staging = self._database.staging
            if staging.durable:
                connection.execute(staging.durable)
            values = ", ".join(map(self._database.parameter, range(1, 5)))
            for n, (_, part) in enumerate(parts):
                connection.execute(
                    f"INSERT INTO sqlstream_staged VALUES ({values}){staging.mine}",
                    (self._owner, self._batch, first + n, part),
                )

        self._repeated.do(insert)
        self._kinds += [kind for kind, _ in parts]

    def close(self) -> None:
        self._repeated.close()


class StagingCommitter(SinkCommitter):
    """Takes on what is staged, for all sinks of a run that write in one database."""

    def __init__(self, sink: JdbcSink, task: SinkTask) -> None:
        self._sink, self._owner, self._task = sink, owner_of(task, sink.place), task
        self._database = sink.database
        self._repeated = Repeated(
            sink.connect, sink.writes.retries, keeps=False
        )  # nobody says when the last commit was

    def combine(self, prepared: list[Committable], now: int) -> list[Committable]:
        return _together(prepared)

    def commit(self, committables: list[Committable]) -> None:
        for c in _together(committables):
            try:
                self._repeated.do(partial(self._commit, committable=c))
            except DataError as e:
                number = int(c["checkpoint"])
                raise DataError(
                    f"{e.message}: rows of checkpoint {number}, which is complete, and they are tried again whenever the job goes on",
                    hint="let the table take them (a constraint less, a wider column) until then; or begin anew from an earlier savepoint, "
                    "with a query that leaves them out",
                ) from e

    def _commit(self, connection: DbConnection, committable: Committable) -> None:
        staging, number, mine = self._database.staging, int(committable["checkpoint"]), self._database.text(self._owner)
        if staging.durable:
            connection.execute(staging.durable)
        # Of two processes that believe to be this run one waits here for the other.
        connection.execute(f"INSERT INTO sqlstream_checkpoints VALUES ({mine}, 0, CURRENT_TIMESTAMP){staging.mine}")
        ((last,),) = connection.rows(f"SELECT checkpoint FROM sqlstream_checkpoints WHERE owner = {mine}{staging.lock}")
        if last >= number:
            return
        targets: dict[tuple[str, str], Target] = {}
        for batch in committable["batches"]:
            which = f"owner = {mine} AND batch = {self._database.text(str(batch['batch']))}"
            for part, kind in enumerate(batch["kinds"]):
                found = connection.rows(
                    f"SELECT {self._database.quoted('rows')} FROM sqlstream_staged WHERE {which} AND part = {part}"
                )
                if not found:
                    raise CheckpointError(
                        f"table {self._sink.table.name}: rows that were staged for checkpoint {number} are gone from "
                        "sqlstream_staged, and are not in the table",
                        hint="restore the database to the time of the checkpoint, or start anew with --fresh",
                    )
                with pa.ipc.open_stream(pa.py_buffer(found[0][0])) as rows:
                    for r in rows:
                        key = (str(batch["table"]), str(r.schema))
                        if key not in targets:
                            targets[key] = self._target(connection, batch, r)
                        try:
                            targets[key].apply((kind, r))
                        except DataError as e:  # `where` is a table of the job's, and this may be another one's
                            raise DataError(f"{e.message} (table {batch['table']} there)", hint=e.hint) from e
            connection.execute(f"DELETE FROM sqlstream_staged WHERE {which}")
        at = self._database.quoted("at")
        connection.execute(
            f"UPDATE sqlstream_checkpoints SET checkpoint = {number}, {at} = CURRENT_TIMESTAMP WHERE owner = {mine}"
        )

    def _target(self, connection: DbConnection, batch: dict[str, Any], rows: pa.RecordBatch) -> Target:
        """The table that a batch is for."""
        schema = Schema(tuple(Column(f.name, from_arrow(f.type)) for f in rows.schema))
        # keys alone are deleted: which columns rows are known by was looked at when the writer was made
        return self._database.target(connection, str(batch["table"]), schema, tuple(batch["key"]))

    def abort(self) -> None:
        self._repeated.do(self._abort)

    def _abort(self, connection: DbConnection) -> None:
        if self._database.has_table(connection, "sqlstream_staged"):
            connection.execute(f"DELETE FROM sqlstream_staged WHERE owner = {self._database.text(self._owner)}")

    def published(self, after: int) -> list[str]:
        found: list[str] = []

        def look(connection: DbConnection) -> None:
            if self._database.has_table(connection, "sqlstream_checkpoints"):
                where = f"owner = {self._database.text(self._owner)} AND checkpoint > {int(after)}"
                rows = connection.rows(f"SELECT checkpoint FROM sqlstream_checkpoints WHERE {where}")
                found[:] = [f"checkpoint {n} in database {self._sink.address.database}" for (n,) in rows]

        self._repeated.do(look)
        return found

    def others(self) -> list[str]:
        found: list[str] = []

        def look(connection: DbConnection) -> None:
            if self._database.has_table(connection, "sqlstream_checkpoints"):
                prefix = f"{self._task.job}/"
                mine, others = self._database.text(self._owner), self._database.text(prefix)
                rows = connection.rows(
                    f"SELECT owner FROM sqlstream_checkpoints WHERE substr(owner, 1, {len(prefix)}) = {others} "
                    f"AND owner <> {mine} AND checkpoint > 0"
                )
                found[:] = [f"database {self._sink.address.database}, run {o.split('/')[1]}" for (o,) in rows]

        self._repeated.do(look)
        return found


def _together(committables: list[Committable]) -> list[Committable]:
    """One for each checkpoint, with what all have for it."""
    by_number: dict[int, list[Any]] = {}
    for c in committables:
        by_number.setdefault(int(c["checkpoint"]), []).extend(c["batches"])
    return [{"checkpoint": n, "batches": batches} for n, batches in sorted(by_number.items())]


def _parts(rows: pa.RecordBatch) -> list[bytes]:
    """Rows as Arrow streams of a bounded size, compressed."""
    size = max(1, int(rows.num_rows * min(1.0, PART_BYTES / max(1, rows.nbytes))))
    parts = []
    for at in range(0, rows.num_rows, size):
        buffer = pa.BufferOutputStream()
        with pa.ipc.new_stream(buffer, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
            stream.write_batch(rows.slice(at, size))
        parts.append(buffer.getvalue().to_pybytes())
    return parts
