"""A batch query: a logical plan over inputs that end, as one DuckDB query."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import duckdb
import pyarrow as pa

from sqlstream import duck, threads
from sqlstream.batch.failure import blamed
from sqlstream.clock import Clock
from sqlstream.connectors.relation import first_error
from sqlstream.errors import Canceled, DataError, SqlStreamError
from sqlstream.optimize import optimize
from sqlstream.plan import nodes
from sqlstream.plan.sources import scans
from sqlstream.rendering.relations import BatchRenderer
from sqlstream.rendering.scans import scan_request, source_sql
from sqlstream.types import as_schema

_AGAIN = 0.05  # seconds between two interrupts


class BatchQuery:
    """Runs once. `interrupt` ends it from any thread and at any time: before its first row is asked for, too.

    DuckDB forgets an interrupt when a statement begins, and a query is more than one of them. So the query remembers it: it
    looks before it begins and after each batch, and whatever it does in between is interrupted again and again.
    """

    def __init__(self, plan: nodes.Node, zone: str, clock: Clock) -> None:
        self._plan = optimize(plan, watermarks=False)
        self._zone = zone
        self._now = clock.now()
        self._interrupted = threading.Event()
        self._lock = threading.RLock()  # held for moments; the handler of a signal may come while its own thread has it
        self._working: duckdb.DuckDBPyConnection | None = None  # while it makes rows

    def interrupt(self) -> None:
        """The rows end with Canceled."""
        if self._interrupted.is_set():
            return
        self._interrupted.set()
        if self._tell():
            threads.start("interrupt", self._repeat)

    def _repeat(self) -> None:
        pause = threading.Event()
        while self._tell():
            pause.wait(_AGAIN)

    def _tell(self) -> bool:
        """Interrupts what is being done. False where nothing is: what follows looks first."""
        with self._lock:
            working = self._working
            if working is not None:
                duck.interrupt([working])
        for scan in scans(self._plan):
            scan.source.cancel()
        return working is not None

    def _work(self, connection: duckdb.DuckDBPyConnection | None) -> None:
        """From here on the connection is to be interrupted; none, where it is None."""
        with self._lock:
            self._working = connection
        if connection is not None:
            self._check()

    def _check(self) -> None:
        if self._interrupted.is_set():
            raise Canceled("the query was canceled")

    def rows(self) -> Iterator[pa.RecordBatch]:
        """The plan's rows, in the engine's names and types. Errors name the record or the expression."""
        self._check()
        con = duck.connect(os.cpu_count() or 1, self._zone)
        try:
            self._work(con)
            renderer = self._renderer(con)
            sql = renderer.sql(self._plan)
            duck.prepare_functions(con, renderer.used)
            want = self._plan.schema.arrow()
            for batch in con.sql(sql).to_arrow_reader(65536):
                rows = as_schema(batch, want)
                self._work(None)
                yield rows
                self._work(con)
        except Exception as e:
            raise self._explained(e, con) from None
        finally:
            self._work(None)
            con.close()

    def _explained(self, e: Exception, connection: duckdb.DuckDBPyConnection) -> SqlStreamError:
        """What is to be said of an error: that the query was canceled, or what in the data or the SQL made it."""
        try:
            self._check()
            error = self._malformed()
            if error is None:
                error = duck.translate(e)
                if isinstance(error, DataError) and not isinstance(e, SqlStreamError):
                    error = blamed(error, self._plan, connection, lambda: self._renderer(connection))
            self._check()
            return error
        except Canceled as canceled:
            return canceled

    def _renderer(self, connection: duckdb.DuckDBPyConnection) -> BatchRenderer:
        return BatchRenderer(source_sql(connection, self._now, self._zone), zone=self._zone)

    def _malformed(self) -> SqlStreamError | None:
        """The record that made the query fail, if one did: file, line and text."""
        errors = (first_error(s.source, scan_request(s, self._zone), self._check) for s in scans(self._plan))
        return next((e for e in errors if e is not None), None)
