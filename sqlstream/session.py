"""A session: SQL text in, results out.

    text -> sql.parser -> statement -> the function that runs it: pipeline.py (queries), ddl.py, show.py, explain.py

The shell, the command line and the DB-API sit on this. A session is used by one thread at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from sqlstream import ddl, explain, job_control, pipeline, show
from sqlstream.catalog.catalog import FILE, Catalog, kept_catalog
from sqlstream.catalog.databases import DATABASE
from sqlstream.catalog.objects import Table, View
from sqlstream.clock import Clock, SystemClock
from sqlstream.environment import Environment
from sqlstream.errors import DataError, NotSupported, OptionError, RunError, SqlStreamError
from sqlstream.file_tables import FileTables
from sqlstream.options import DEFAULT_DIALECT, SESSION_OPTIONS, SessionOptions, find, over, shown
from sqlstream.results import Result, table_result
from sqlstream.runtime.allowed import Allowed
from sqlstream.runtime.progress import Progress
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script, parse_statement, place_of
from sqlstream.sql.splitter import substitute
from sqlstream.types import Schema

if TYPE_CHECKING:
    from sqlstream.runtime.batch_job import BatchJob
    from sqlstream.runtime.job import Job

CATALOG_PATH = "table.catalog-store.file.path"


class Session:
    """`options`: defaults given from outside (-D); SET wins over them. `path`: where the catalog is kept; None: where they say.

    `allowed`: what jobs may lose that go on changed. `checks`: jobs do not run, but it is said what would become of them.
    `dry`: statements are parsed, bound and planned, and nothing runs; what they create is in a catalog that is not kept.
    """

    def __init__(
        self,
        path: Path | None = None,
        options: dict[str, str] | None = None,
        working_directory: str | None = None,
        clock: Clock | None = None,
        fresh: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        on_message: Callable[[str], None] | None = None,
        on_late: Callable[[str, pa.RecordBatch], None] | None = None,
        on_job: Callable[[Job | BatchJob], None] | None = None,
        allowed: Allowed | None = None,
        checks: bool = False,
        dry: bool = False,
    ) -> None:
        self.environment = Environment(
            None,  # until what is there is read
            dict(options or {}),
            working_directory or os.getcwd(),
            clock or SystemClock(),
            fresh,
            on_progress,
            on_message,
            on_late,
            on_job,
            allowed or Allowed(),
            checks,
            dry,
        )
        self._take(Catalog())
        if path is None and (kept := self.environment.settings.catalog_path) is not None:
            path = Path(self.environment.working_directory, kept)
        if path is not None and (text := kept_catalog(path)) is not None:
            self._read(text, str(path / FILE))
            self.environment.catalog.was_read(text)
        self.environment.path = None if dry else path

    def _read(self, text: str, source: str) -> None:
        """What was kept. Views are taken as they are, also where what they read stands behind them, or has gone: that is said
        when they are used."""
        try:
            for s in parse_script(text, source, None, DEFAULT_DIALECT):
                if isinstance(s, st.CreateView):
                    ddl.kept_view(self.environment, s)
                else:
                    self.statement(s)
            self.environment.catalog.use((DATABASE,))  # the text says for each of its statements which was current
        except SqlStreamError as e:
            raise e.located(text, source) from None

    def _take(self, catalog: Catalog) -> None:
        self._files = FileTables(self.environment)
        self.environment.catalog = catalog
        catalog.files = self._files

    # ---- scripts and statements

    def execute(
        self,
        text: str,
        source: str | None = None,
        variables: dict[str, str] | None = None,
        then: str | None = None,
    ) -> Iterator[Result]:
        """Runs the statements one after the other, each when the one before was taken. Errors know their place.

        `then`: the script that runs after this one; a job that never ends is refused before it.
        """
        self.environment.file = os.path.abspath(source) if source is not None and os.path.isfile(source) else None
        return self._run_all(text, source, variables, self.environment.settings.dialect, then)

    def _run_all(
        self, text: str, source: str | None, variables: dict[str, str] | None, dialect: str, then: str | None = None
    ) -> Iterator[Result]:
        try:
            if variables is not None:
                text = substitute(text, variables, source)
            given = SessionOptions.of(self.environment.given).dialect
            statements = parse_script(text, source, None, dialect, given)
            for s, following in zip_longest(statements, statements[1:], fillvalue=then):
                assert isinstance(s, st.Statement)
                result = self.statement(s, following)
                result.place = (text, source, s.position)
                yield result
        except SqlStreamError as e:
            raise e.located(text, source) from None

    def explained(
        self, text: str, source: str | None = None, variables: dict[str, str] | None = None, kinds: tuple[str, ...] = ()
    ) -> Iterator[tuple[st.Statement, Result]]:
        """The plan of each query, INSERT and statement set of a script, with its statement; `kinds`: of EXPLAIN. Other
        statements are run, as `execute` does: in a session that is `dry` they have no effect beyond it."""
        try:
            text = substitute(text, variables or {}, source)
            given = SessionOptions.of(self.environment.given).dialect
            for s in parse_script(text, source, None, self.environment.settings.dialect, given):
                planned: st.Statement = s
                if isinstance(s, st.CreateTable) and s.query is not None:
                    self.statement(s)
                    planned = st.Insert(s.name, s.query, position=s.position, text=s.text)
                if isinstance(planned, (st.Select, st.Insert, st.StatementSet)):
                    planned = st.Explain(planned, kinds, position=s.position, text=s.text)
                result = self.statement(planned)
                if result.kind == "EXPLAIN":
                    result.place = (text, source, s.position)
                    yield s, result
        except SqlStreamError as e:
            raise e.located(text, source) from None

    def parse(self, text: str) -> st.Statement:
        """The one statement of a text, in the session's dialect."""
        return parse_statement(text, dialect=self.environment.settings.dialect)

    def statement(self, s: st.Statement, following: st.Statement | str | None = None) -> Result:
        """Runs one statement. Rows of a query come when its result is read; an INSERT has ended on return.

        `following` stands behind it in the script, or is the name of the next one: an INSERT that never ends is refused there.
        """
        try:
            self._files.begin(s)
            return self._run(s, following)
        except SqlStreamError as e:
            if e.position in (None, s.position) and e.subject is not None:
                e.position = place_of(s, e.subject) or e.position
            if e.position is None and not isinstance(e, (DataError, RunError)):  # these have a place of their own
                e.position = s.position
            raise

    def _run(self, s: st.Statement, following: st.Statement | str | None) -> Result:
        env = self.environment
        match s:
            case st.Select():
                return pipeline.select(env, s)
            case st.Insert():
                return pipeline.insert(env, (s,), following)
            case st.StatementSet():
                return pipeline.insert(env, s.inserts, following)
            case st.CreateTable():
                return ddl.create_table(env, s, following)
            case st.CreateView():
                return ddl.create_view(env, s)
            case st.CreateFunction():
                return ddl.create_function(env, s)
            case st.AlterTable():
                return ddl.alter_table(env, s)
            case st.AlterView():
                return ddl.alter_view(env, s)
            case st.Drop():
                return ddl.drop(env, s)
            case st.CreateDatabase():
                return ddl.create_database(env, s)
            case st.AlterDatabase():
                return ddl.alter_database(env, s)
            case st.DropDatabase():
                return ddl.drop_database(env, s)
            case st.Use():
                return ddl.use(env, s)
            case st.SetOption():
                return self._set_option(s)
            case st.ResetOption():
                return self._reset_option(s)
            case st.CreateSavepoint() | st.StopJob() | st.DescribeJob() if env.dry:
                return Result("JOB", message="not run")
            case st.CreateSavepoint():
                return job_control.create_savepoint(env, s)
            case st.StopJob():
                return job_control.stop_job(env, s)
            case st.Show():
                return show.show(env, s)
            case st.Describe():
                return show.describe(env, s.name, s.position)
            case st.DescribeDatabase():
                return show.describe_database(env, s)
            case st.DescribeFunction():
                return show.describe_function(env, s)
            case st.DescribeJob():
                return show.describe_job(env, s.job)
            case st.Explain():
                return explain.explain(env, s)
        raise NotSupported(f"{type(s).__name__} is not supported", position=s.position)

    def beside(self, on_job: Callable[[Job | BatchJob], None]) -> Session:
        """Another session with the catalog and options of now, for a job that runs beside this one's statements."""
        env = self.environment
        options = {k: v for k, v in over(env.given, env.changed).items() if k != CATALOG_PATH}
        made = Session(
            None,
            options,
            env.working_directory,
            env.clock,
            env.fresh,
            None,
            env.on_message,
            env.on_late,
            on_job,
            env.allowed,
        )
        made._take(env.catalog.copy())
        made.environment.jobs = env.jobs
        return made

    def share(self, other: Session) -> None:
        """Takes the other session's catalog for its own: what one creates, the other sees, and it is kept in one place."""
        ours, theirs = self.environment, other.environment
        ours.catalog, ours.path = theirs.catalog.shared(), theirs.path
        ours.working_directory = theirs.working_directory

    def columns_of(self, relation: Table | View) -> Schema:
        """The columns of a table or view of the catalog."""
        return show.columns_of(self.environment, relation)

    def twin(self) -> Session:
        """Another session in this one's place, with its catalog and options: what runs here is no part of it."""
        env = self.environment
        made = self.beside(lambda job: None)
        other = made.environment
        other.path, other.given, other.changed, other.on_job = env.path, dict(env.given), dict(env.changed), env.on_job
        other.catalog = env.catalog
        return made

    # ---- SET and RESET

    def _set_option(self, s: st.SetOption) -> Result:
        env = self.environment
        if s.key is None:
            values = {o.key: o.default_text() or None for o in SESSION_OPTIONS if not o.key.endswith(".*")}
            for k, v in shown(over(env.given, env.changed)).items():
                declared = find(SESSION_OPTIONS, k)
                values[declared.key if declared is not None and k in declared.former else k] = v
            rows: list[list[str | None]] = [[k, v] for k, v in sorted(values.items())]
            return table_result("SHOW", ["key", "value"], rows)
        assert s.value is not None
        env.check_option(s.key, s.value)
        if s.key == CATALOG_PATH:
            raise OptionError(
                f"option '{s.key}' is read when a session begins", hint="give it with -D, or in sqlstream.toml"
            )
        env.changed[s.key] = s.value
        return Result("SET", message=f"{s.key} = {shown({s.key: s.value})[s.key]}")

    def _reset_option(self, s: st.ResetOption) -> Result:
        env = self.environment
        if s.key is None:
            env.changed.clear()
            return Result("SET", message="all options are reset")
        if find(SESSION_OPTIONS, s.key) is None:
            env.check_option(s.key, "")
        env.changed.pop(s.key, None)
        return Result("SET", message=f"{s.key} is reset")

    # ---- for those who sit on it

    @property
    def catalog(self) -> Catalog:
        """Its tables, views and functions."""
        return self.environment.catalog

    @property
    def current_job(self) -> Job | None:
        """The job that was started last."""
        return self.environment.job

    @property
    def settings(self) -> SessionOptions:
        """The session's options, converted, as they are now."""
        return self.environment.settings

    def cancel(self) -> None:
        """Ends what runs, from any thread: a job after its epoch with a last checkpoint, a batch query at once.

        What is started later ends at once too, until `resume`.
        """
        self.environment.cancel()

    def resume(self) -> None:
        """Takes statements again after `cancel`."""
        self.environment.resume()

    @property
    def canceled(self) -> bool:
        """Whether `cancel` was called, and not `resume` since."""
        return self.environment.canceled
