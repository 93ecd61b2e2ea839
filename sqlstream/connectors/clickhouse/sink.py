"""Rows into a table: added as epochs end (at least once), or staged in a table beside it until their checkpoint is complete (exactly once); with a PRIMARY
KEY in the place of those of their keys, as far as the engine keeps the last of each.

An insert that is sent again, since nobody knows whether it came, has the same token: an engine that knows tokens takes it once.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from sqlstream.connectors.clickhouse.client import Client, literal, quoted
from sqlstream.connectors.clickhouse.tables import There, check, table_there
from sqlstream.connectors.http.client import Request
from sqlstream.connectors.messages.encoder import PartEncoder
from sqlstream.connectors.upsert import UpsertSink, UpsertWriter
from sqlstream.contracts import Committable, Sink, SinkCommitter, SinkTask, SinkWriter, TableContext
from sqlstream.errors import DataError, OptionError
from sqlstream.formats.json_encode import JsonEncoder
from sqlstream.types import BIGINT, INT, Column, Schema

# How rows are read: times in any form that our JSON has, and NULL never as something else.
SETTINGS = {
    "date_time_input_format": "best_effort",
    "input_format_null_as_default": "0",
    "input_format_skip_unknown_fields": "0",
}
TOKEN = "insert_deduplication_token"
PREFIX = "sqlstream_staged_"


@dataclass(frozen=True)
class Target:
    """`rows`: of an insert, at most; `ignores`: rows that go stay. `settings`: more of them, of all statements."""

    table: TableContext
    request: Request
    url: str
    database: str
    name: str
    encoder: PartEncoder
    rows: int
    retries: int
    ignores: bool
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """What errors begin with."""
        return f"table {self.table.name}"

    @property
    def full_name(self) -> str:
        """The table's."""
        return f"{quoted(self.database)}.{quoted(self.name)}"

    def client(self) -> Client:
        """A new one."""
        return Client(self.request, self.url, self.retries, self.settings)


class _Inserts:
    """Adds rows to a table by requests of some thousands."""

    def __init__(self, target: Target) -> None:
        self.target, self.client = target, target.client()

    def add(self, name: str, columns: Sequence[str], encoder: PartEncoder, rows: pa.RecordBatch) -> int:
        """`encoder`: of the columns. How many bytes it was."""
        listed, sent = ", ".join(map(quoted, columns)), 0
        for at in range(0, rows.num_rows, self.target.rows):
            texts = encoder.encode(rows.slice(at, self.target.rows), None)
            data = bytes(texts.buffer[: texts.size])
            self.client.do(
                f"INSERT INTO {name} ({listed}) FORMAT JSONEachRow", data, {**SETTINGS, TOKEN: uuid.uuid4().hex}
            )
            sent += len(data)
        return sent


class ClickHouseSink(Sink):
    """Of rows that come."""

    def __init__(self, target: Target, exactly_once: bool) -> None:
        self._target, self._exactly_once = target, exactly_once

    def writer(self, task: SinkTask) -> SinkWriter:
        return ClickHouseWriter(self._target, task, self._exactly_once)

    def committer(self, task: SinkTask) -> SinkCommitter:
        return StagingCommitter(self._target, task) if self._exactly_once else SinkCommitter()


class ClickHouseWriter(SinkWriter):
    """Rows are gathered until there are enough for an insert, or the epoch ends. `staged`: into a table of this task's, which a checkpoint takes."""

    def __init__(self, target: Target, task: SinkTask, staged: bool) -> None:
        self._target, self._inserts = target, _Inserts(target)
        try:
            check(table_there(self._inserts.client, target.database, target.name), target.table, target.where, staged)
        except BaseException:
            self.close()
            raise
        self._prefix = f"{_place(target, task)}_{task.subtask}_{uuid.uuid4().hex[:8]}" if staged else ""
        self._made = 0
        self._begun = ""  # the table that is filled
        self._batches: list[pa.RecordBatch] = []

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self._batches.append(batch)
        if sum(b.num_rows for b in self._batches) >= self._target.rows:
            self.flush()

    def flush(self) -> None:
        batches, self._batches = self._batches, []
        if batches:
            t = self._target
            self.sent(self._inserts.add(self._place(), t.table.schema.names, t.encoder, pa.concat_batches(batches)))

    def _place(self) -> str:
        t = self._target
        if not self._prefix:
            return t.full_name
        if not self._begun:
            self._made += 1
            self._begun = f"{self._prefix}_{self._made}"
            name = f"{quoted(t.database)}.{quoted(self._begun)}"
            self._inserts.client.do(
                f"CREATE TABLE IF NOT EXISTS {name} AS {t.full_name} ENGINE = MergeTree ORDER BY tuple()"
            )
        return f"{quoted(t.database)}.{quoted(self._begun)}"

    def prepare(self, checkpoint: int) -> list[Committable]:
        self.flush()
        begun, self._begun = self._begun, ""
        return [{"staged": begun}] if begun else []

    def close(self) -> None:
        self._inserts.client.close()


def _place(target: Target, task: SinkTask) -> str:
    """What the names of tables begin with in which a run stages what it writes to a table."""
    said = "\0".join((task.job, task.run, target.table.name, target.name))
    return PREFIX + hashlib.sha256(said.encode()).hexdigest()[:16]


class StagingCommitter(SinkCommitter):
    """Adds what is staged, by an insert whose token is the staged table's name, and drops that: its being gone says that it was done."""

    def __init__(self, target: Target, task: SinkTask) -> None:
        self._target, self._place = target, _place(target, task)

    def commit(self, committables: list[Committable]) -> None:
        if not committables:
            return
        t, client = self._target, self._target.client()
        columns = ", ".join(map(quoted, t.table.schema.names))
        try:
            for c in committables:
                name = str(c["staged"])
                if not name.startswith(self._place):
                    raise DataError(f"{t.where}: a checkpoint names '{name}', which this run has not staged")
                if name not in self._there(client, name):  # others may begin so: …_1, …_10
                    continue
                staged = f"{quoted(t.database)}.{quoted(name)}"
                # one thread, so that blocks are the same another time
                settings = {TOKEN: name, "insert_deduplicate": "1", "max_threads": "1", "max_insert_threads": "1"}
                client.do(f"INSERT INTO {t.full_name} ({columns}) SELECT {columns} FROM {staged}", b"", settings)
                client.do(f"DROP TABLE IF EXISTS {staged}")
        finally:
            client.close()

    def _there(self, client: Client, prefix: str) -> list[str]:
        at = f"database = {literal(self._target.database)} AND startsWith(name, {literal(prefix)})"
        return [r["name"] for r in client.found(f"SELECT name FROM system.tables WHERE {at}")]

    def abort(self) -> None:
        client = self._target.client()
        try:
            for name in self._there(client, self._place):
                client.do(f"DROP TABLE IF EXISTS {quoted(self._target.database)}.{quoted(name)}")
        finally:
            client.close()


class ClickHouseUpsertSink(UpsertSink):
    """Of a table with a PRIMARY KEY, over a ReplacingMergeTree of that order."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.table)
        self._target = target

    def writer(self, task: SinkTask) -> SinkWriter:
        return ClickHouseUpsertWriter(self._target)


class ClickHouseUpsertWriter(UpsertWriter):
    """Once in effect, as each epoch ends: the last row of a key is left when parts are merged, and to those who read with FINAL."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.table.primary_key)
        self._target, self._inserts = target, _Inserts(target)
        try:
            self._there = self._checked()
        except BaseException:
            self.close()
            raise
        self._version = 0
        schema = target.table.schema
        keys = tuple(c for c in schema if c.name in target.table.primary_key)
        self._of_rows = self._with_own(Schema(tuple(schema)), deleted=False)
        self._of_keys = self._with_own(Schema(keys), deleted=True)

    def _checked(self) -> There:
        t = self._target
        there = table_there(self._inserts.client, t.database, t.name)
        check(there, t.table, t.where, False)
        if (
            there.version in t.table.schema.names
            and there.deleted is not None
            and there.deleted not in t.table.schema.names
        ):
            raise OptionError(
                f"{t.where}: column '{there.version}' is the version of {there.name}, and a row that goes has none of its own",
                hint="leave it out of the table here: versions are then numbers of the writing",
                subject=there.version,
            )
        if there.deleted in t.table.schema.names:
            raise OptionError(
                f"{t.where}: column '{there.deleted}' says of {there.name} whether a row is gone, which is known here",
                hint="leave it out of the table here",
                subject=there.deleted,
            )
        return there

    def _with_own(self, schema: Schema, deleted: bool) -> PartEncoder:
        """An encoder of these columns, with those that the engine has for itself."""
        own = [
            Column(n, t)
            for n, t in ((self._there.version, BIGINT), (self._there.deleted, INT))
            if n is not None and n not in schema.names
        ]
        names = (*schema.names, *(c.name for c in own))
        return PartEncoder(names, names, JsonEncoder(Schema((*schema, *own)), "SQL", False))

    def _put(self, rows: pa.RecordBatch, encoder: PartEncoder, deleted: int) -> None:
        arrays, names = list(rows.columns), list(rows.schema.names)
        there = self._there
        if there.version is not None and there.version not in names:
            # greater than before, also than those of an earlier process
            self._version = max(self._version + 1, time.time_ns() // 1000)
            arrays.append(pa.repeat(self._version, rows.num_rows))
            names.append(there.version)
        if there.deleted is not None:
            arrays.append(pa.repeat(pa.scalar(deleted, pa.int32()), rows.num_rows))
            names.append(there.deleted)
        made = pa.RecordBatch.from_arrays(arrays, names=names)
        self.sent(self._inserts.add(self._target.full_name, names, encoder, made))

    def upsert(self, rows: pa.RecordBatch) -> None:
        self._put(rows, self._of_rows, 0)

    def delete(self, keys: pa.RecordBatch) -> None:
        t = self._target
        if self._there.deleted is not None:
            self._put(keys.select([c.name for c in t.table.schema if c.name in t.table.primary_key]), self._of_keys, 1)
        elif not t.ignores:
            raise DataError(
                f"{t.where}: rows go, and {self._there.name} has no column that says so",
                hint="ENGINE = ReplacingMergeTree(version, is_deleted) has one; 'sink.ignore-delete' = 'true' leaves such rows there",
            )

    def close(self) -> None:
        self._inserts.client.close()
