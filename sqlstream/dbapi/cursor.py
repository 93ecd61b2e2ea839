"""The DB-API's cursor: statements one after the other, each with its rows (`rows.py`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlstream import errors
from sqlstream.dbapi.many import insert_many
from sqlstream.dbapi.names import mapped
from sqlstream.dbapi.parameters import Parameters, bind_parameters
from sqlstream.dbapi.registered import Variables, caller
from sqlstream.dbapi.rows import Rows
from sqlstream.results import Result
from sqlstream.session import Session

if TYPE_CHECKING:
    from types import TracebackType


class Cursor(Rows):
    """One statement at a time; executing the next one closes the last result."""

    lastrowid = None  # PEP 249 has it; rows have no ids

    def execute(self, sql: str, parameters: Parameters | None = None) -> Cursor:
        """Runs one statement; `?` in it are filled in from a sequence, or `:name` from a mapping."""
        return self.execute_for(caller(), sql, parameters)

    def execute_for(self, frame: Variables | None, sql: str, parameters: Parameters | None = None) -> Cursor:
        """`execute` for the code of this frame, whose variables may be tables."""
        session = self._ready()
        with mapped():
            check_text(sql)
            sql = bind_parameters(sql, parameters, session.environment.settings.dialect)
            try:
                statement = session.parse(sql)
                with self.connection._variables(frame, session):
                    result = self.connection._statements.run(lambda: session.statement(statement))
            except errors.SqlStreamError as e:
                raise e.located(sql) from None
        result.place = (sql, None, statement.position)
        self._take(result)
        return self

    def executescript(self, sql: str) -> Cursor:
        """Runs several statements; the rows of the last one can be fetched, those of others are not computed."""
        return self.executescript_for(caller(), sql)

    def executescript_for(self, frame: Variables | None, sql: str) -> Cursor:
        """`executescript` for the code of this frame."""
        session = self._ready()

        def all_of_them() -> Result | None:
            last = None
            for result in session.execute(sql):
                if last is not None:
                    last.close()
                last = result
            return last

        with mapped():
            check_text(sql)
            with self.connection._variables(frame, session):
                last = self.connection._statements.run(all_of_them)
        if last is not None:
            self._take(last)
        return self

    def executemany(self, sql: str, seq_of_parameters: Iterable[Parameters]) -> Cursor:
        """INSERT INTO … VALUES (…) of many rows, in one job that is bound once: the parameters of each row as `execute` has
        them. `rowcount` says how many there were."""
        session = self._ready()
        with mapped():
            check_text(sql)
            rows = list(seq_of_parameters)
            registered = self.connection._registered
            result = self.connection._statements.run(lambda: insert_many(session, registered, sql, rows))
        self.rowcount = len(rows)
        result.close()
        return self

    def _ready(self) -> Session:
        self._check()
        self._release()
        self._reset()
        return self.connection._session

    # ---- end

    def cancel(self) -> None:
        """Ends the query of the last `execute`, from any thread: who waits for a row, or fetches one later, gets QueryCanceled."""
        if (pump := self._pump) is not None:
            pump.cancel()

    def close(self) -> None:
        """Ends what still runs for the result, from any thread, and waits for it. May be called again."""
        self._closed = True
        self._release()

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """PEP 249 has it; there is nothing to set."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """PEP 249 has it; there is nothing to set."""

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._release()


def check_text(sql: object) -> None:
    """ParseError for what is no text."""
    if not isinstance(sql, str):
        raise errors.ParseError(f"a statement is a str, not {type(sql).__name__}")
