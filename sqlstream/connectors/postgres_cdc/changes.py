"""Rows of pgoutput's messages: those of a transaction that follow each other are taken apart together.

With a PRIMARY KEY a row is known by it: a change gives the row as it is now, and -D for a key that is gone or became another.
Without one it gives the row before it, too, for which the table's REPLICA IDENTITY must be FULL.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.batches import OP, Kind
from sqlstream.connectors.jdbc.tables import DbTable
from sqlstream.connectors.postgres_cdc.change_kernels import (
    DELETED_KEY,
    DELETED_ROW,
    NULL,
    OLD_KEY,
    OLD_ROW,
    UNCHANGED,
    UPDATED,
    take_apart,
)
from sqlstream.connectors.postgres_cdc.texts import TextReading
from sqlstream.connectors.values import texts_at
from sqlstream.contracts import ScanRequest
from sqlstream.errors import DataError, RunError
from sqlstream.types import STRING, timestamp_ltz

METADATA = {
    "op_ts": timestamp_ltz(3).null(False), "table_name": STRING.null(False), "schema_name": STRING.null(False),
    "database_name": STRING.null(False),
}  # fmt: skip


@dataclass(frozen=True)
class Relation:
    """A table as the stream says it is: from then on its messages have these columns, of types by their numbers. `identity`: d, n, f or
    i."""

    number: int
    schema: str
    name: str
    identity: str
    columns: tuple[str, ...]
    types: tuple[int, ...]

    @staticmethod
    def of(message: bytes) -> Relation:
        """Of a message R."""
        (number,) = struct.unpack_from(">i", message, 1)
        schema, name, rest = message[5:].split(b"\0", 2)
        (count,) = struct.unpack_from(">h", rest, 1)
        identity, rest, columns, types = chr(rest[0]), rest[3:], [], []
        for _ in range(count):
            column, rest = rest[1:].split(b"\0", 1)
            columns.append(column.decode())
            types.append(struct.unpack_from(">I", rest)[0])
            rest = rest[8:]
        return Relation(number, schema.decode(), name.decode(), identity, tuple(columns), tuple(types))


class Changes:
    """Makes batches for `request` of messages. `key`: the columns there that rows are known by; () when all of them do."""

    def __init__(self, request: ScanRequest, there: DbTable, key: Sequence[str], database: str, where: str) -> None:
        self._where, self.there, self._key = where, there, tuple(key)
        self._constants: Mapping[str, str] = {
            "table_name": there.name, "schema_name": there.schema, "database_name": database,
        }  # fmt: skip
        self._columns: list[TextReading | str] = []
        for c in request.columns:
            if c.path[0] == "$metadata":
                self._columns.append(c.path[1])
            else:
                self._columns.append(TextReading.of(there.column(c.path[0], where), c.type, where))
        self._schema = request.arrow_schema().append(pa.field(OP, pa.int8()))
        self._of = [TextReading.of(there.columns[k], STRING, where) for k in self._key]
        self._sent: tuple[Relation | None, dict[str, TextReading]] = None, {}

    def _readings(self, relation: Relation) -> dict[str, TextReading]:
        """By the names of columns there, how the texts of a relation are read: it may be older or newer than the catalog. RunError where
        it has not what is wanted."""
        if self._sent[0] is not relation:
            made = {}
            for c in self._columns:
                if isinstance(c, TextReading):
                    made[c.column.name] = c.as_sent(self._type_in(relation, c.column.name))
            for c in self._of:
                self._type_in(relation, c.column.name)
            self._sent = relation, made
        return self._sent[1]

    def _type_in(self, relation: Relation, column: str) -> int:
        if column not in relation.columns:
            raise RunError(
                f"{self._where}: changes of {relation.schema}.{relation.name} have no column '{column}': it was dropped, or has another "
                "name, or the publication leaves it out",
                hint="bring it back; or declare the table as it is now, and start anew with --fresh",
            )
        return relation.types[relation.columns.index(column)]

    def rows(self, relation: Relation, messages: Sequence[bytes], time: int) -> pa.RecordBatch:
        """c0, c1, … and `_op` of messages I, U and D of one relation, committed at `time` (µs). RunError where what the stream
        has is not enough."""
        readings = self._readings(relation)
        lengths = np.fromiter(map(len, messages), np.int64, len(messages))
        starts = np.cumsum(lengths) - lengths
        data = np.frombuffer(b"".join(messages), np.uint8)
        width = len(relation.columns)
        kinds, of = np.empty(2 * len(messages), np.int64), np.empty(2 * len(messages), np.int64)
        begins, sizes = (np.empty(2 * len(messages) * width, np.int64) for _ in range(2))
        n = take_apart(data, starts, len(messages), width, kinds, of, begins, sizes)
        if n < 0:
            raise RunError(
                f"{self._where}: a change has not the columns that were announced: {', '.join(relation.columns)}"
            )
        kinds, of = kinds[:n], of[:n]
        tuples = _Tuples(data, begins[: n * width].reshape(n, width), sizes[: n * width].reshape(n, width), relation)
        before = (kinds == OLD_KEY) | (kinds == OLD_ROW)
        self._fill_unchanged(tuples, kinds, before)
        if self._key:
            moved = np.zeros(n, np.bool_)
            old = np.flatnonzero(before)
            if len(old):
                for column in self._of:
                    texts = [tuples.texts(column.column.name, at) for at in (old, old + 1)]
                    moved[old] |= np.asarray(pc.not_equal(*texts).fill_null(False).to_numpy(zero_copy_only=False))
            kept = np.flatnonzero(~before | moved)
        else:
            self._want_whole(kinds)
            kept = np.arange(n)
        ops = np.full(n, Kind.INSERT, np.int8)
        ops[kinds == UPDATED] = Kind.UPDATE_AFTER
        ops[(kinds == DELETED_KEY) | (kinds == DELETED_ROW) | before] = Kind.DELETE
        if not self._key:
            ops[before] = Kind.UPDATE_BEFORE
        return self._batch(tuples, readings, kept, ops[kept], time)

    def _batch(
        self, tuples: _Tuples, readings: Mapping[str, TextReading], kept: np.ndarray, ops: np.ndarray, time: int
    ) -> pa.RecordBatch:
        arrays: list[pa.Array] = []
        for c in self._columns:
            if isinstance(c, str):
                value: Any = time - time % 1000 if c == "op_ts" else self._constants[c]
                t = pa.timestamp("us", "UTC") if c == "op_ts" else pa.string()
                arrays.append(pa.repeat(pa.scalar(value, t), len(kept)))
            else:
                arrays.append(readings[c.column.name].values(tuples.texts(c.column.name, kept)))
        return pa.RecordBatch.from_arrays([*arrays, pa.array(ops)], schema=self._schema)

    def snapshot(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """A scan's rows, of the columns that are none of the metadata, as inserts."""
        scanned = iter(rows.columns)
        arrays: list[pa.Array] = []
        for c in self._columns:
            if isinstance(c, str):
                t = pa.timestamp("us", "UTC") if c == "op_ts" else pa.string()
                arrays.append(pa.repeat(pa.scalar(0 if c == "op_ts" else self._constants[c], t), rows.num_rows))
            else:
                arrays.append(next(scanned))
        ops = pa.array(np.full(rows.num_rows, Kind.INSERT, np.int8))
        return pa.RecordBatch.from_arrays([*arrays, ops], schema=self._schema)

    def nothing(self) -> pa.RecordBatch:
        """No rows."""
        return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in self._schema], schema=self._schema)

    def _fill_unchanged(self, tuples: _Tuples, kinds: np.ndarray, before: np.ndarray) -> None:
        """A large value that an UPDATE has not touched is not sent: it is that of the row before, if this is there."""
        row, column = np.nonzero(tuples.sizes == UNCHANGED)
        if not len(row):
            return
        known = (row > 0) & (kinds[row - 1] == OLD_ROW) & (kinds[row] == UPDATED)
        tuples.begins[row[known], column[known]] = tuples.begins[row[known] - 1, column[known]]
        tuples.sizes[row[known], column[known]] = tuples.sizes[row[known] - 1, column[known]]
        wanted = {c.column.name for c in self._columns if isinstance(c, TextReading)}
        lost = next((tuples.relation.columns[j] for j in column[~known] if tuples.relation.columns[j] in wanted), None)
        if lost is not None:
            raise RunError(
                f"{self._where}: an UPDATE has left the large value of column {lost} as it was, and so PostgreSQL does not send it",
                hint=f"ALTER TABLE {self.there.sql} REPLICA IDENTITY FULL, and start anew with --fresh; or leave the column out",
            )
        tuples.sizes[row[~known], column[~known]] = NULL

    def _want_whole(self, kinds: np.ndarray) -> None:
        updates, old = np.count_nonzero(kinds == UPDATED), np.count_nonzero(kinds == OLD_ROW)
        if updates != old or (kinds == DELETED_KEY).any():
            raise DataError(
                f"{self._where}: it has no PRIMARY KEY here, and PostgreSQL does not send rows as they were before",
                hint=f"ALTER TABLE {self.there.sql} REPLICA IDENTITY FULL; or declare PRIMARY KEY (…) NOT ENFORCED",
            )


@dataclass
class _Tuples:
    """Where the values of tuples lie in `data`: of each tuple and column."""

    data: np.ndarray
    begins: np.ndarray
    sizes: np.ndarray
    relation: Relation

    def texts(self, column: str, at: np.ndarray) -> pa.Array:
        """Those of a column in the tuples `at`, NULL where it is."""
        j = self.relation.columns.index(column)
        return texts_at(self.data, self.begins[at, j], self.sizes[at, j])
