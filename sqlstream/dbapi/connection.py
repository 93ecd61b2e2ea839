"""`connect`, and the connection: a session, and the cursors over it."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlstream.contracts import Sink
from sqlstream.dbapi.cursor import Cursor
from sqlstream.dbapi.names import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
    mapped,
    not_supported,
)
from sqlstream.dbapi.parameters import Parameters
from sqlstream.dbapi.registered import Registered, Variables, Watermark, caller
from sqlstream.dbapi.rows import CHANGELOGS
from sqlstream.dbapi.statements import Statements
from sqlstream.distribution import clash
from sqlstream.session import Session

if TYPE_CHECKING:
    from types import TracebackType

    from sqlstream.dbapi.jobs import Job
    from sqlstream.dbapi.relation import Relation


def connect(
    path: str | os.PathLike[str] = ":memory:",
    *,
    fetch_timeout: float | None = None,
    changelog: str = "column",
    replacement_scans: bool = True,
    config: bool = False,
    options: Mapping[str, object] | None = None,
    **more: Any,
) -> Connection:
    """A connection. `path`: the directory that keeps the catalog, or ':memory:'. `options`, and all other keywords: session
    options by key.

    `config`: whether `sqlstream.toml` and the environment count, below these, as they do for the command line
    (`sqlstream.configuration`); the catalog is then where they say, unless `path` is given.

    `fetch_timeout`: seconds that a fetch waits for its first row before FetchTimeout; by default it waits for ever
    (`Cursor.timeout`). `changelog`: how the rows of a query come that can change: each with a first column `op` ('+I',
    '-U', '+U', '-D'), or ('row_kind') without it, as `Cursor.row_kind` says it; or ('none') such queries are refused. `replacement_scans`: whether a name in a query that is no
    table may be a variable of the calling code that is a frame or Arrow data.
    """
    if changelog not in CHANGELOGS:
        raise ProgrammingError(f"changelog is one of {', '.join(CHANGELOGS)}, not {changelog!r}")
    if (other := clash()) is not None:
        warnings.warn(other, RuntimeWarning, stacklevel=2)
    place = None if os.fspath(path) == ":memory:" else Path(path)
    texts = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in {**(options or {}), **more}.items()}
    if config:
        from sqlstream.configuration import collected, values

        with mapped():
            texts = values(collected(Path.cwd(), os.environ, texts, "connect"))
    return Connection(place, texts, fetch_timeout, changelog, replacement_scans)


_open: weakref.WeakSet[Connection] = weakref.WeakSet()


class Connection:
    """A session. Used by one thread at a time. As a context manager it closes at the end."""

    Warning, Error, InterfaceError, DatabaseError = Warning, Error, InterfaceError, DatabaseError
    DataError, OperationalError, IntegrityError = DataError, OperationalError, IntegrityError
    InternalError, ProgrammingError, NotSupportedError = InternalError, ProgrammingError, NotSupportedError

    def __init__(
        self,
        path: Path | None,
        options: dict[str, str],
        fetch_timeout: float | None = None,
        changelog: str = "column",
        replacement_scans: bool = True,
    ) -> None:
        self.fetch_timeout, self.changelog = fetch_timeout, changelog
        self.messages: list[tuple[type[Exception], str]] = []
        self._closed = False
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()
        self._jobs: list[Job] = []
        with mapped():
            session = Session(path, options, on_message=lambda text: self.messages.append((Warning, text)))
        self._session = session
        self._statements = Statements(session)
        self._registered = Registered(session)
        self._replaces = replacement_scans
        _open.add(self)

    def cursor(self) -> Cursor:
        """A new cursor; statements of one connection run one at a time."""
        self._check()
        made = Cursor(self, self.fetch_timeout, self.changelog)
        self._cursors.add(made)
        return made

    def execute(self, sql: str, parameters: Parameters | None = None) -> Cursor:
        """A new cursor that has executed `sql`."""
        return self.cursor().execute_for(caller(), sql, parameters)

    def executemany(self, sql: str, seq_of_parameters: Iterable[Parameters]) -> Cursor:
        """A new cursor that has inserted many rows."""
        return self.cursor().executemany(sql, seq_of_parameters)

    def another(self) -> Connection:
        """A connection for another thread: the same catalog (what one creates, the other sees), options as they are now."""
        self._check()
        env = self._session.environment
        made = Connection(None, {**env.given, **env.changed}, self.fetch_timeout, self.changelog, self._replaces)
        made._session.share(self._session)
        return made

    @property
    def session(self) -> Session:
        """What runs the statements, for those who need its catalog; one thread at a time."""
        return self._session

    def sql(self, query: str, parameters: Parameters | None = None) -> Relation | None:
        """The rows of a statement as a relation with `.df()`, `.arrow()`, `.pl()`, `.show()`, `.fetchall()`; None where it has
        no rows."""
        from sqlstream.dbapi.relation import Relation

        cursor = self.cursor().execute_for(caller(), query, parameters)
        return None if cursor.description is None else Relation(cursor)

    # ---- jobs

    def submit(self, sql: str, parameters: Parameters | None = None) -> Job:
        """Starts an INSERT or a statement set, which runs beside the program until it ends or is stopped: its handle.

        Several may run at once. Each has the catalog and options of now. Errors of the statement are raised here, those of
        the run by `Job.wait`. `close`, and the end of the interpreter, stop it.
        """
        from sqlstream.dbapi.jobs import submitted

        self._check()
        job = submitted(self._session, sql, parameters, lambda session: self._variables(caller(), session))
        self._jobs.append(job)
        return job

    @property
    def jobs(self) -> list[Job]:
        """Those that were submitted, ended ones too."""
        return list(self._jobs)

    # ---- Python objects as tables

    def register(
        self,
        name: str,
        value: Any,
        *,
        schema: pa.Schema | str | None = None,
        bounded: bool | None = None,
        watermark: Watermark | None = None,
        primary_key: Sequence[str] = (),
        changelog: bool = False,
    ) -> Connection:
        """Makes `value` a temporary table `name`, in the place of one that was registered before.

        `value`: Arrow data, a pandas or Polars frame, {column: values}, a list of rows ({column: value}); or a stream: a
        RecordBatchReader, an iterator (also an asynchronous one) of batches, frames or rows, or a function that makes one,
        which is called for each query: an iterator alone can be read once, and not by a job that goes on later.
        `schema`: the columns, as Arrow has them or as SQL ("id INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts"); else a
        stream's first item is taken to see. `bounded`: whether a stream ends; an iterator does not, unless this says so.
        `watermark`: the column of event time, and how late rows may be (a timedelta). `primary_key`: its columns.
        `changelog`: batches have a column `op` that says +I, -U, +U or -D of each row.
        """
        self._check()
        with mapped():
            self._registered.add(name, value, schema, bounded, watermark, primary_key, changelog)
        return self

    def register_sink(
        self,
        name: str,
        target: Callable[..., Any] | Sink,
        schema: pa.Schema | str,
        *,
        changelog: bool = False,
        primary_key: Sequence[str] = (),
    ) -> Connection:
        """Makes a function a temporary table `name` that INSERT writes to: it is called with each RecordBatch, or,
        `changelog`, with a batch and an array of +I, -U, +U, -D; without, queries whose rows change are refused.

        Rows come at least once: after a failure those since the last checkpoint come again. A `sqlstream.contracts.Sink`
        in its place is written in two phases, and so exactly once.
        """
        self._check()
        with mapped():
            self._registered.add_sink(name, target, schema, changelog, primary_key)
        return self

    def unregister(self, name: str) -> Connection:
        """Takes back what `register` or `register_sink` made. What runs goes on."""
        self._check()
        self._registered.remove(name)
        return self

    def _variables(self, frame: Variables | None, session: Session) -> AbstractContextManager[None]:
        """For a statement: the variables of the code that runs it."""
        return self._registered.variables(frame if self._replaces else None, session)

    # ---- transactions, and the end

    def commit(self) -> None:
        """Nothing to do: a statement's effect is there when it has ended."""
        self._check()

    def rollback(self) -> None:
        """NotSupportedError: there are no transactions."""
        raise not_supported("there are no transactions to roll back", "a job's results are published by checkpoints")

    def cancel(self) -> None:
        """Ends what runs, from any thread; who waits gets QueryCanceled. A durable job takes a last checkpoint."""
        self._statements.cancel()
        for cursor in list(self._cursors):
            cursor.cancel()

    def close(self) -> None:
        """Ends what runs, from any thread, and waits for it; closes the cursors. May be called again."""
        self._closed = True
        self._statements.cancel(wait=True)
        for job in self._running_jobs():
            job.ask_to_stop()
        for job in self._running_jobs():
            job.await_end()
            self.messages.append(
                (Warning, f"job {job.name} was stopped, since its connection was closed ({job.status})")
            )
        for cursor in list(self._cursors):
            cursor.close()
        self._registered.close()

    def _running_jobs(self) -> list[Job]:
        return [j for j in self._jobs if not j.done]

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError("the connection is closed")

    def __enter__(self) -> Connection:
        self._check()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@atexit.register
def _close_all() -> None:
    """Jobs and queries must not outlive the interpreter's other modules."""
    for connection in list(_open):
        names = [j.name for j in connection._running_jobs()]
        with contextlib.suppress(Exception):
            connection.close()
            for name in names:
                print(f"sqlstream: job {name} was stopped at the end of the program", file=sys.stderr)
