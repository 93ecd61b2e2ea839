"""Rows of events of the binary log: those of a transaction and table that follow each other are taken apart together.

With a PRIMARY KEY a row is known by it: a change gives the row as it is now, and -D for a key that is gone or became another.
Without one it gives the row before it, too; the log has it, as binlog_row_image is FULL.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.batches import OP, Kind
from sqlstream.connectors.jdbc.mysql_types import reading
from sqlstream.connectors.mysql_cdc import events
from sqlstream.connectors.mysql_cdc.binlog import Part
from sqlstream.connectors.mysql_cdc.events import BinlogTable
from sqlstream.connectors.mysql_cdc.row_kernels import take_apart
from sqlstream.connectors.mysql_cdc.values import Values, db_column
from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.errors import OptionError, RunError
from sqlstream.types import STRING, timestamp_ltz

METADATA = {
    "database_name": STRING.null(False), "table_name": STRING.null(False), "op_ts": timestamp_ltz(3).null(False),
    "row_kind": STRING.null(False),
}  # fmt: skip
_MOST = 1000  # forms of tables that are remembered
_KINDS = pa.array(["+I", "-U", "+U", "-D"])


class Rows:
    """Makes batches for `request`. `key`: names of the columns, as they are here, that rows are known by; () when all of them do. `zone`:
    of TIMESTAMP columns that are TIMESTAMP here. `appends`: changes are rows, whatever their kind."""

    def __init__(
        self, request: ScanRequest, key: Sequence[str], key_types: ScanRequest, zone: str, where: str, appends: bool
    ) -> None:
        self._request, self._key, self._key_columns = request, tuple(key), key_types.columns
        self._zone, self._where, self._appends = zone, where, appends
        self._schema = request.arrow_schema().append(pa.field(OP, pa.int8()))
        self._values: dict[int, tuple[BinlogTable, dict[str, tuple[int, Values]]]] = {}

    def _of(self, table: BinlogTable) -> dict[str, tuple[int, Values]]:
        """By names here, the numbers of the columns that are wanted, and what their values are. RunError where one is not there."""
        known = self._values.get(id(table))
        if known is None:
            made = {}
            for c in (*self._request.columns, *self._key_columns):
                if c.path[0] != "$metadata" and c.path[0] not in made:
                    made[c.path[0]] = self._column(table, c)
            if len(self._values) >= _MOST:
                self._values.clear()
            known = self._values[id(table)] = table, made
        return known[1]

    def _column(self, table: BinlogTable, wanted: ScanColumn) -> tuple[int, Values]:
        name = wanted.path[0]
        exact = [n for n, c in enumerate(table.columns) if c.name == name]
        found = exact or [n for n, c in enumerate(table.columns) if c.name.lower() == name.lower()]
        if len(found) != 1:
            raise RunError(
                f"{self._where}: {table.database}.{table.name} has no column '{name}' any more: it was dropped, or has another name",
                hint="bring it back; or declare the table as it is now, and start anew with --fresh",
            )
        column = table.columns[found[0]]
        try:
            return found[0], Values(column, reading(db_column(column), wanted.type, self._where, self._zone))
        except OptionError as e:
            raise RunError(f"{e.message}, in changes of {table.database}.{table.name}", hint=e.hint) from e

    def changed(self, part: Part) -> pa.RecordBatch:
        """c0, c1, … and `_op` of events of one table. RunError where what the log has is not enough."""
        table = part.table
        assert table is not None
        data, starts, ends, kinds = self._joined(part.messages, len(table.columns))
        widths = np.array([c.width for c in table.columns], np.int64)
        counts, none = np.zeros(len(starts), np.int64), np.zeros(1, np.int64)
        given = (data, starts, ends, len(starts), len(widths), widths)
        n = take_apart(*given, 0, none, none, counts)
        begins, sizes = np.empty(max(n, 0) * len(widths), np.int64), np.empty(max(n, 0) * len(widths), np.int64)
        if n < 0 or take_apart(*given, 1, begins, sizes, counts) != n:
            raise RunError(
                f"{self._where}: rows in the log are not of the columns that it says {table.database}.{table.name} has"
            )
        of = np.repeat(kinds, counts)
        updates = np.flatnonzero(of == Kind.UPDATE_AFTER)
        ops = of.copy()
        ops[updates[0::2]] = Kind.UPDATE_BEFORE  # the row before, then the row
        columns = self._of(table)

        def values(name: str, at: np.ndarray) -> pa.Array:
            j, made = columns[name]
            places = at * len(widths) + j
            return made.of(data, begins[places], sizes[places])

        kept = np.arange(n)
        if self._key and not self._appends:
            before = np.flatnonzero(ops == Kind.UPDATE_BEFORE)
            moved = np.zeros(n, np.bool_)
            for name in self._key if len(before) else ():
                moved[before] |= np.asarray(
                    pc.not_equal(values(name, before), values(name, before + 1)).fill_null(False)
                )
            ops[moved] = Kind.DELETE
            kept = np.flatnonzero((ops != Kind.UPDATE_BEFORE) | moved)
        return self._batch(values, kept, ops[kept].astype(np.int8), table.database, table.name, part.time)

    def _joined(
        self, messages: Sequence[tuple[int, bytes]], columns: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The events' bytes, and of each where its rows begin and end, and their kind."""
        starts, ends, kinds, base = [], [], [], 0
        bitmap = (columns + 7) // 8
        whole = (1 << columns) - 1
        for kind, body in messages:
            at = 8
            if kind in events.SECOND:
                at += struct.unpack_from("<H", body, at)[0]
            at += {252: 3, 253: 4, 254: 9}.get(body[at], 1)
            updates = kind in events.UPDATES
            for _ in range(2 if updates else 1):
                if int.from_bytes(body[at : at + bitmap], "little") & whole != whole:
                    raise RunError(
                        f"{self._where}: a change has not all columns in the log: binlog_row_image was not FULL",
                        hint="SET GLOBAL binlog_row_image = 'FULL', and start anew with --fresh",
                    )
                at += bitmap
            starts.append(base + at)
            ends.append(base + len(body))
            kinds.append(Kind.UPDATE_AFTER if updates else Kind.INSERT if kind in events.INSERTS else Kind.DELETE)
            base += len(body)
        data = np.frombuffer(b"".join(b for _, b in messages), np.uint8)
        return data, np.array(starts, np.int64), np.array(ends, np.int64), np.array(kinds, np.int8)

    def _batch(
        self, values: Any, kept: np.ndarray, ops: np.ndarray, database: str, table: str, time: int
    ) -> pa.RecordBatch:
        arrays = []
        for c in self._request.columns:
            if c.path[0] != "$metadata":
                arrays.append(values(c.path[0], kept))
            else:
                arrays.append(_metadata(c.path[1], ops, database, table, time))
        return pa.RecordBatch.from_arrays([*arrays, pa.array(ops)], schema=self._schema)

    def scanned(self, rows: pa.RecordBatch, database: str, table: str) -> pa.RecordBatch:
        """A scan's rows, of the columns that are none of the metadata, as inserts."""
        found = iter(rows.columns)
        ops = np.full(rows.num_rows, Kind.INSERT, np.int8)
        arrays = [
            _metadata(c.path[1], ops, database, table, 0) if c.path[0] == "$metadata" else next(found)
            for c in self._request.columns
        ]
        return pa.RecordBatch.from_arrays([*arrays, pa.array(ops)], schema=self._schema)

    def nothing(self) -> pa.RecordBatch:
        """No rows."""
        return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in self._schema], schema=self._schema)


def _metadata(key: str, ops: np.ndarray, database: str, table: str, time: int) -> pa.Array:
    if key == "row_kind":
        return _KINDS.take(pa.array(ops))
    if key == "op_ts":
        return pa.repeat(pa.scalar(time, pa.timestamp("us", "UTC")), len(ops))
    return pa.repeat(pa.scalar(database if key == "database_name" else table, pa.string()), len(ops))
