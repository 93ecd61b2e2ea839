"""PEP 249 over bounded and unbounded results.

    with sqlstream.connect(":memory:", **{"pipeline.name": "orders"}) as connection:
        cursor = connection.cursor().execute("SELECT city, COUNT(*) FROM visits WHERE day > ? GROUP BY city", [3])
        for row in cursor: ...

An unbounded SELECT returns at once; `fetchone` waits for the next row, iteration may go on without end, and closing
the cursor stops the job behind it. Where rows can change, they come as a changelog: a first column `op` says +I, -U,
+U or -D. An INSERT has ended when `execute` returns; `submit` starts one beside the program. Ctrl-C raises
KeyboardInterrupt at once while waiting; a job of an INSERT is stopped first, with a last checkpoint if it is durable.

    parameters, values   what goes in                 rows, pump     what comes out
    objects, registered  Python objects as tables     jobs           what runs beside
"""

from __future__ import annotations

from sqlstream.dbapi.connection import Connection, connect
from sqlstream.dbapi.cursor import Cursor
from sqlstream.dbapi.jobs import Job
from sqlstream.dbapi.names import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    DatabaseError,
    DataError,
    Date,
    DateFromTicks,
    Error,
    FetchTimeout,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    QueryCanceled,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
    Warning,
)
from sqlstream.dbapi.relation import Relation, default_connection, sql

apilevel = "2.0"
threadsafety = 1
paramstyle = "qmark"

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "FetchTimeout",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "Job",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "QueryCanceled",
    "Relation",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "connect",
    "default_connection",
    "paramstyle",
    "sql",
    "threadsafety",
]
