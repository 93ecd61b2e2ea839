"""DuckDB, opened our way: in memory, no extension installs, the session's zone, Flink's helpers as macros.

DuckDB evaluates scalar expressions in both modes and whole queries in batch. A connection has one pending result
at a time, so whoever streams takes a cursor of its own. Integers overflow with an error, as in both modes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
from collections.abc import Iterable

import duckdb
import pyarrow as pa

from sqlstream.errors import Canceled, DataError, RunError, SqlStreamError
from sqlstream.functions import numbers, times
from sqlstream.functions.failures import advice, plain
from sqlstream.functions.user import UserFunction

# Flink's answers where DuckDB's differ; used by functions/. NULL / 0 is NULL. Macros have no lambdas over rows: they inline.
MACROS = (
    "flink_div(a, b) AS CASE WHEN b = 0 AND a IS NOT NULL THEN error('division by zero') ELSE a // b END",
    "flink_mod(a, b) AS CASE WHEN b = 0 AND a IS NOT NULL THEN error('division by zero') ELSE a % b END",
    "flink_substring(s, p, n) AS CASE WHEN n < 0 THEN NULL WHEN length(s) + p < 0 THEN '' ELSE substring(s, CASE WHEN p = 0 THEN 1 ELSE p END, n) END",
    "flink_position(x, s, n) AS CASE WHEN x = '' AND n IS NOT NULL AND s IS NOT NULL THEN 1 WHEN instr(substring(s, greatest(n, 1)), x) = 0 AND n IS NOT NULL "
    "THEN 0 ELSE CAST(instr(substring(s, greatest(n, 1)), x) + CASE WHEN n > 1 THEN CAST(n AS BIGINT) - 1 WHEN n IS NOT NULL THEN 0 END AS INTEGER) END",
    # the first byte of UTF-8, signed, as Java has bytes
    "flink_ascii(s) AS CASE WHEN s = '' THEN 0 WHEN unicode(s) < 128 THEN unicode(s) WHEN unicode(s) < 2048 THEN (unicode(s) >> 6) - 64 "
    "WHEN unicode(s) < 65536 THEN (unicode(s) >> 12) - 32 ELSE (unicode(s) >> 18) - 16 END",
    "flink_split_index(s, sep, i) AS CASE WHEN i >= 0 AND sep IS NOT NULL THEN CASE WHEN sep = '' THEN regexp_split_to_array(nullif(s, ''), '\\s') ELSE str_split(nullif(s, ''), sep) END[CAST(i AS BIGINT) + 1] END",
    *numbers.MACROS,
    *times.MACROS,
)

# What a statement raises. The second, where DuckDB has cut its message within a character: what it says is in `object`.
FAILURES = (duckdb.Error, UnicodeDecodeError)

_lock = threading.Lock()


def connect(threads: int = 1, time_zone: str = "UTC") -> duckdb.DuckDBPyConnection:
    """A fresh in-memory database."""
    con = duckdb.connect(
        ":memory:",
        config={
            "threads": threads,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": True,
        },
    )
    con.execute(f"SET TimeZone = '{time_zone.replace(chr(39), chr(39) * 2)}'")
    for m in MACROS:
        con.execute(f"CREATE MACRO {m}")
    return con


_shared: duckdb.DuckDBPyConnection | None = None


def shared(time_zone: str = "UTC") -> duckdb.DuckDBPyConnection:
    """A cursor of this process's database for scalar expressions: one thread, the caller's."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = connect(1)
    return cursor(_shared, time_zone)


def cursor(con: duckdb.DuckDBPyConnection, time_zone: str = "UTC") -> duckdb.DuckDBPyConnection:
    """A second connection to the same database; the zone is set anew (it is per connection)."""
    cur = con.cursor()
    cur.execute(f"SET TimeZone = '{time_zone.replace(chr(39), chr(39) * 2)}'")
    return cur


class Given:
    """The relation `name` of a connection: the rows of one batch after another.

    It is registered once, since to register each batch costs as much as the rest of a statement over a few rows.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, name: str) -> None:
        self._connection, self._name = con, name
        self._schema: pa.Schema | None = None
        self._batch: pa.RecordBatch | None = None

    def run(self, sql: str, batch: pa.RecordBatch) -> pa.Table:
        """The rows of a query over `batch`. Raises DuckDB's errors."""
        self._batch = batch
        try:
            if batch.schema != self._schema:  # DuckDB has asked for the schema when it was registered
                self._connection.register(self._name, self)
                self._schema = batch.schema
            return self._connection.sql(sql).to_arrow_table(max(batch.num_rows, 1))
        finally:
            self._batch = None

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        assert self._batch is not None
        reader = pa.RecordBatchReader.from_batches(self._batch.schema, [self._batch])
        return reader.__arrow_c_stream__(requested_schema)


def interrupt(connections: list[duckdb.DuckDBPyConnection]) -> None:
    """Ends the statements that run on them, which raise `Canceled` by way of `translate`. From any thread."""
    for con in list(connections):
        with contextlib.suppress(duckdb.Error):  # closed in the meantime
            con.interrupt()


def prepare_functions(con: duckdb.DuckDBPyConnection, functions: Iterable[UserFunction]) -> None:
    """Registers Python functions on the database of `con`, once each: those that rendering found in what will run."""
    for f in functions:
        name = f.sql_name
        with _lock:
            if con.execute("SELECT 1 FROM duckdb_functions() WHERE function_name = ? LIMIT 1", [name]).fetchall():
                continue
            con.create_function(
                name,
                f.guarded(),
                [duckdb.sqltype(t.duckdb()) for t in f.parameters],
                duckdb.sqltype(f.result.duckdb()),
                null_handling="special",
                side_effects=not f.deterministic,
                type="arrow" if f.in_arrays else "native",
            )


def translate(e: Exception, what: str = "") -> SqlStreamError:
    """DuckDB's error as ours, without DuckDB's own hints and SQL."""
    if isinstance(e, SqlStreamError):
        return e
    if isinstance(e, duckdb.InterruptException):
        return Canceled("the query was canceled")
    first = plain(str(e)) or type(e).__name__
    first = re.sub(r"^\w* ?Python exception occurred while executing the UDF: (DataError: )?", "", first)
    # Our names for columns mean nothing to users.
    first = re.sub(r'\s*when casting from source column "?c\d+"?', "", first)
    prefix = f"{what}: " if what else ""
    if isinstance(e, (duckdb.IOException, duckdb.OutOfMemoryException)):
        error = RunError(prefix + first)
        error.transient = any(os.strerror(n) in first for n in (errno.ENOSPC, errno.EDQUOT))  # it has no number for us
        return error
    return DataError(prefix + first, hint=advice(first))
