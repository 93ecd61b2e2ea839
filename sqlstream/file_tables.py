"""Tables that nobody declared: 'logs/*.json' in FROM, read_json(…), stdin. Each becomes an ordinary table of connector
'filesystem', whose columns and options are told from its files (`connectors/sampling.py`)."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlstream import ddl
from sqlstream.catalog.objects import COLUMNS, PARTITIONED_BY, STANDARD_INPUT, Files, Table, like, quoted
from sqlstream.connectors.streams import STDIN
from sqlstream.environment import Environment
from sqlstream.errors import BindError, DataError, SqlStreamError
from sqlstream.options import find
from sqlstream.plan.table_binder import context
from sqlstream.secrets import learn, shown_value
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script

# Connectors, and what reads checkpoints, are imported where files are read: other queries start without them.
if TYPE_CHECKING:
    from sqlstream.connectors.sampling import Told
    from sqlstream.runtime.tables import Tables

_ARGUMENT = "an argument of a function that reads files is the body of a CREATE TABLE: 'id BIGINT, name STRING'"


class FileTables:
    """Makes them for the statements of a session. What one statement asks for twice is one table."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._made: dict[Files, Table] = {}
        self._writes = False  # the statement is a job that writes
        self._before: Tables | None = None  # tables of the job that goes on, once that was asked for

    def begin(self, statement: st.Statement) -> None:
        """A statement begins: files are looked at anew. A durable job that goes on keeps the columns that it began with."""
        self._made.clear()
        self._writes = isinstance(statement, st.Insert | st.StatementSet)
        self._before = None

    def __call__(self, files: Files) -> Table:
        """The table of these files. Errors say what is wrong with them, or with what was said of them."""
        if files not in self._made:
            self._made[files] = self._table(files)
        return self._made[files]

    def _table(self, files: Files) -> Table:
        env = self._environment
        path = files.path
        if path in (STANDARD_INPUT, "-", STDIN) and not os.path.exists(os.path.join(env.working_directory, path)):
            path = STDIN
        if path == STDIN:
            _check_stdin()
        learn("path", path)
        name = STANDARD_INPUT if path == STDIN else shown_value("", path)
        given = {"connector": "filesystem", "path": path, **dict(files.options)}
        if given["connector"] != "filesystem":
            raise BindError(f"'{name}' is read by connector filesystem", hint="CREATE TABLE names another connector")
        said = None if files.columns is None else _body(files.columns, "columns")
        empty = Table(name, (), options=tuple(given.items()), working_directory=env.working_directory)
        if said is not None and any(c.type is not None and c.metadata is None for c in said.columns):
            return ddl.table_of(env, name, self._said(said, empty))
        made = self._declared(self._remembered(empty) or self._told(empty), given, files)
        if said is not None:
            made = like(ddl.table_of(env, name, made), replace(said, like=st.LikeDef((name,))))
        return replace(ddl.table_of(env, name, made), undeclared=True)

    def _said(self, said: st.CreateTable, table: Table) -> st.CreateTable:
        """The table whose columns are known; how its files are read is still told from them, if they are there."""
        from sqlstream.connectors.sampling import format_by_name

        given = table.option_map
        try:
            found = self._told(table, columns=False)
        except DataError:
            if "format" not in given and (form := format_by_name(given["path"])) is not None:
                given["format"] = form
            return replace(said, options=tuple(given.items()))
        stored = {c.name for c in said.columns if c.type is not None and c.metadata is None}
        partitions = tuple(n for n, _ in found.partitions if n in stored)
        return replace(said, options=tuple({**given, **found.options}.items()), partitioned_by=partitions)

    def _remembered(self, table: Table) -> Told | None:
        """What a job that goes on has found in these files when it began."""
        from sqlstream.connectors.filesystem import FilesystemConnector
        from sqlstream.connectors.sampling import Told
        from sqlstream.runtime.begun import tables_of
        from sqlstream.runtime.directory import JobDirectory, locate

        env = self._environment
        if self._before is None:
            o = env.settings
            place = locate(o.name, o.checkpoint_dir, env.jobs, env.working_directory) if self._writes else None
            self._before = {} if place is None or env.fresh else tables_of(JobDirectory(*place, env.stores))
        options = dict(self._before.get(table.name, {}))
        columns, partitions = options.pop(COLUMNS, None), options.pop(PARTITIONED_BY, "")
        if columns is None:
            return None
        names = {p.strip("`") for p in partitions.split(", ")}
        stored = [(c.name, c.type) for c in _body(columns, COLUMNS).columns if c.type is not None]
        known = FilesystemConnector().known_options(options)
        return Told(
            [c for c in stored if c[0] not in names],
            {
                k: v
                for k, v in options.items()
                if k not in table.option_map and (option := find(known, k)) and option.compared == "value"
            },
            [c for c in stored if c[0] in names],
        )

    def _told(self, table: Table, columns: bool = True) -> Told:
        from sqlstream.connectors.filesystem import FilesystemConnector

        env = self._environment
        options = tuple((k, v) for k, v in table.options if k != "connector")
        ctx = context(replace(table, options=options), env.time_zone, env.stores, env.clock.monotonic)
        try:
            return FilesystemConnector().told(ctx, True, lambda: env.canceled, columns)
        except DataError as e:
            if table.name == STANDARD_INPUT and e.message.startswith("no data"):
                raise DataError(
                    "there is nothing in standard input",
                    hint="one statement reads it, to its end; a script that is read from it (run -) leaves nothing",
                ) from e
            raise

    def _declared(self, found: Told, given: dict[str, str], files: Files) -> st.CreateTable:
        columns = {n: st.ColumnDef(n, t) for n, t in (*found.columns, *found.partitions)}
        if files.types is not None:
            body = _body(files.types, "types")
            if body.watermark is not None or body.primary_key:
                raise BindError(
                    "argument 'types' is of columns alone",
                    hint="columns => 'WATERMARK FOR ts AS ts, …' adds to the columns that are found",
                )
            columns |= {c.name: c for c in body.columns}
        return st.CreateTable(
            ("t",),
            tuple(columns.values()),
            partitioned_by=tuple(n for n, _ in found.partitions),
            options=tuple({**given, **found.options}.items()),
        )


def _check_stdin() -> None:
    try:
        terminal = os.isatty(0)
        os.fstat(0)
    except OSError:
        raise DataError("standard input is closed", hint="cat x.json | sqlstream -c 'SELECT * FROM stdin'") from None
    if terminal:
        raise DataError(
            "standard input is a terminal: nothing is written to it that could be read as a table",
            hint="cat x.json | sqlstream -c 'SELECT * FROM stdin'",
        )


def _body(text: str, argument: str) -> st.CreateTable:
    """The text as what stands in the parentheses of CREATE TABLE."""
    try:
        (made,) = parse_script(f"CREATE TABLE {quoted('t')} ({text}) WITH ('connector' = 'filesystem')")
    except SqlStreamError as e:
        e.message, e.position, e.sql = f"argument '{argument}': {e.message}", None, None
        e.hint = e.hint or _ARGUMENT
        raise
    except ValueError:
        raise BindError(f"argument '{argument}' is no list of columns", hint=_ARGUMENT) from None
    assert isinstance(made, st.CreateTable)
    return replace(made, options=())
