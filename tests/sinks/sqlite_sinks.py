"""Two connectors on an SQLite database, written as connector authors would: by two-phase commit, and by key.

    python tests/sinks/sqlite_sinks.py run job.sql      # sqlstream with them

`sqlite-log`: inserts, exactly once. `prepare` stores rows under the name of a transaction, `commit` moves them.
`sqlite-upsert`: the rows by their key, exactly once, in the same way: what is prepared are changes by key.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.registry import CONNECTORS
from sqlstream.connectors.upsert import UpsertSink, UpsertWriter
from sqlstream.contracts import Committable, Connector, Sink, SinkCommitter, SinkTask, SinkWriter, Stage, TableContext
from sqlstream.options import Option, read

SCHEMA = """
CREATE TABLE IF NOT EXISTS prepared (owner TEXT, name TEXT, n INTEGER, key TEXT, value TEXT, PRIMARY KEY (name, n));
CREATE TABLE IF NOT EXISTS log (value TEXT);
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT);
"""
Change = tuple[str, str | None]  # a key ("" in the log) and its row, None when it is gone


def opened(path: str) -> sqlite3.Connection:
    made = sqlite3.connect(path, timeout=60)
    made.executescript(SCHEMA)
    return made


class Transactions:
    """A task's changes since the last checkpoint, and where they go."""

    def __init__(self, path: str, table: str, task: SinkTask) -> None:
        self._path, self._table, self._task = path, table, task
        self.changes: list[Change] = []

    def prepare(self, checkpoint: int) -> list[Committable]:
        changes, self.changes = self.changes, []
        if not changes:
            return []
        mine = owner(self._table, self._task)
        name = f"{mine}/{self._task.subtask}/{checkpoint}"
        with closing(opened(self._path)) as db, db:
            rows = [(mine, name, n, *change) for n, change in enumerate(changes)]
            db.execute("DELETE FROM prepared WHERE name = ?", (name,))
            db.executemany("INSERT INTO prepared VALUES (?, ?, ?, ?, ?)", rows)
        return [{"transaction": name}]


def owner(table: str, task: SinkTask) -> str:
    return f"{table}/{task.job}/{task.run}"


class Committer(SinkCommitter):
    """A transaction that is committed is not there any more: so committing it again does nothing."""

    def __init__(self, path: str, table: str, task: SinkTask, apply: str) -> None:
        self._path, self._owner, self._apply = path, owner(table, task), apply

    def commit(self, committables: list[Committable]) -> None:
        for c in committables:
            with closing(opened(self._path)) as db, db:
                db.execute("BEGIN IMMEDIATE")
                found = db.execute(
                    "SELECT key, value FROM prepared WHERE name = ? ORDER BY n", (c["transaction"],)
                ).fetchall()
                for key, value in found:
                    if self._apply == "log":
                        db.execute("INSERT INTO log VALUES (?)", (value,))
                    elif value is None:
                        db.execute("DELETE FROM state WHERE key = ?", (key,))
                    else:
                        db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, value))
                db.execute("DELETE FROM prepared WHERE name = ?", (c["transaction"],))

    def abort(self) -> None:
        with closing(opened(self._path)) as db, db:
            db.execute("DELETE FROM prepared WHERE owner = ?", (self._owner,))

    def recover(self, committables: list[Committable], before: Stage) -> list[str]:
        self.commit(committables)  # also what is committed: nothing is left of it
        return []


class LogWriter(SinkWriter):
    def __init__(self, path: str, table: str, task: SinkTask) -> None:
        self._transactions = Transactions(path, table, task)

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self._transactions.changes += [("", json.dumps(row)) for row in batch.to_pylist()]

    def prepare(self, checkpoint: int) -> list[Committable]:
        return self._transactions.prepare(checkpoint)


class KeyWriter(UpsertWriter):
    def __init__(self, path: str, table: TableContext, task: SinkTask) -> None:
        super().__init__(table.primary_key)
        self._names = table.primary_key
        self._transactions = Transactions(path, table.name, task)

    def _key_of(self, row: dict[str, Any]) -> str:
        return json.dumps([row[n] for n in self._names])

    def upsert(self, rows: pa.RecordBatch) -> None:
        self._transactions.changes += [(self._key_of(r), json.dumps(r)) for r in rows.to_pylist()]

    def delete(self, keys: pa.RecordBatch) -> None:
        self._transactions.changes += [(self._key_of(r), None) for r in keys.to_pylist()]

    def prepare(self, checkpoint: int) -> list[Committable]:
        return self._transactions.prepare(checkpoint)


@dataclass(frozen=True)
class LogSink(Sink):
    path: str
    table: str

    def writer(self, task: SinkTask) -> SinkWriter:
        return LogWriter(self.path, self.table, task)

    def committer(self, task: SinkTask) -> SinkCommitter:
        return Committer(self.path, self.table, task, "log")


class KeySink(UpsertSink):
    def __init__(self, table: TableContext, path: str) -> None:
        super().__init__(table)
        self._path = path

    def writer(self, task: SinkTask) -> SinkWriter:
        return KeyWriter(self._path, self.table, task)

    def committer(self, task: SinkTask) -> SinkCommitter:
        return Committer(self._path, self.table.name, task, "state")


class LogConnector(Connector):
    name = "sqlite-log"
    options = (Option("path", required=True),)

    def sink(self, table: TableContext) -> Sink:
        return LogSink(read(table.options, self.options, f"table {table.name}")["path"], table.name)


class KeyConnector(LogConnector):
    name = "sqlite-upsert"

    def sink(self, table: TableContext) -> Sink:
        return KeySink(table, read(table.options, self.options, f"table {table.name}")["path"])


def register() -> None:
    CONNECTORS[LogConnector.name] = LogConnector
    CONNECTORS[KeyConnector.name] = KeyConnector


if __name__ == "__main__":
    from sqlstream.cli.main import main

    register()
    sys.exit(main(sys.argv[1:]))
