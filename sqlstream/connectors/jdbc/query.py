"""What rows of a table are selected by, whatever database it is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlstream.connectors.jdbc.conditions import condition
from sqlstream.connectors.jdbc.database import Database, DbConnection
from sqlstream.connectors.jdbc.readings import Reading
from sqlstream.connectors.jdbc.tables import DbColumn, DbTable
from sqlstream.contracts import ScanRequest


@dataclass(frozen=True)
class Query:
    """A statement but for the rows' limits. `columns`: those of the request there."""

    there: DbTable
    columns: tuple[DbColumn, ...]
    readings: tuple[Reading, ...]
    request: ScanRequest
    conditions: tuple[str, ...]
    where: str

    @staticmethod
    def of(
        database: Database,
        connection: DbConnection,
        name: str,
        request: ScanRequest,
        where: str,
        ranges: str | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> Query:
        """Looks the table up. `ranges`: the column of which `info` has the bounds. OptionError when it is not what it is declared to be."""
        there = database.find_table(connection, name)
        columns = tuple(there.column(c.path[0], where) for c in request.columns)
        readings = tuple(database.reading(d, c.type, where) for d, c in zip(columns, request.columns, strict=True))
        conditions = []
        if ranges is not None and info is not None:
            column = database.quoted(there.column(ranges, where).name)
            conditions.append(f"{column} BETWEEN {info['from']} AND {info['to']}")
        if (asked := condition(request.filter, dict(enumerate(columns)), database)) is not None:
            conditions.append(asked)
        return Query(there, columns, readings, request, tuple(conditions), where)

    def sql(self, more: Sequence[str] = (), extra: Sequence[str] = (), order: str = "") -> str:
        """The statement: columns, then `extra`, of rows for which all conditions and `more` are true. In `order` the table is
        `t`: a name alone would be that of what is selected."""
        items = ", ".join([*(r.sql for r in self.readings), *extra]) or "1"
        where = " AND ".join([*self.conditions, *more])
        return f"SELECT {items} FROM {self.there.sql} t" + (f" WHERE {where}" if where else "") + order

    def rows(self, found: pa.RecordBatch) -> pa.RecordBatch:
        """c0, c1, … of what the driver gave."""
        schema = self.request.arrow_schema()
        if not len(schema):
            return pa.RecordBatch.from_arrays([pa.repeat(pa.scalar(1, pa.int32()), found.num_rows)], names=["one"])
        arrays = [r.values(found.column(i)) for i, r in enumerate(self.readings)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)
