"""An INSERT of a shell becomes a job: a process of its own, which goes on when the shell is left.

It is started as `sqlstream submit` does it, with a script of what the session has: its options, the tables, views and
functions that the statement names, and the statement. The script goes through a pipe, since options hold secrets.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlstream.catalog.catalog import Catalog
from sqlstream.catalog.databases import DATABASE
from sqlstream.catalog.objects import Function, Table, View, quoted, text
from sqlstream.errors import ParseError, RunError, SqlStreamError
from sqlstream.sql import statements as st
from sqlstream.sql.lexer import QUOTED, STRING, WORD, tokenize
from sqlstream.sql.printing import sql_of
from sqlstream.sql.source import Source

if TYPE_CHECKING:
    from sqlstream.runtime.jobs import JobPlace, JobView
    from sqlstream.shell.shell import Shell

_OF_THE_SHELL = ("sql-client.", "table.dml-sync", "table.catalog-store.", "pipeline.name")
_DIALECT = "table.sql-dialect"


class BackgroundJob:
    """A job that this shell has started."""

    def __init__(self, place: JobPlace) -> None:
        self.place = place
        self.told = False  # whether its end was said

    def look(self) -> JobView:
        """How it is."""
        from sqlstream.runtime.jobs import look

        return look(self.place)


def writes(shell: Shell, s: st.Statement) -> bool:
    """Whether a statement becomes a job of its own: it writes, and reads tables. Constants are written at once: that takes
    less time than a process needs to start."""
    from sqlstream import pipeline
    from sqlstream.plan.sources import scans

    env = shell.session.environment
    if env.settings.dml_sync:
        return False
    if isinstance(s, st.CreateTable):
        return s.query is not None
    if not isinstance(s, (st.Insert, st.StatementSet)):
        return False
    try:
        targets = pipeline.bind_targets(env, s.inserts if isinstance(s, st.StatementSet) else (s,))
    except SqlStreamError as e:
        e.position = e.position or s.position
        raise
    return any(scans(t.plan) for t in targets)


def start(shell: Shell, s: st.Statement) -> None:
    """Starts the job of a statement and says its name. Its mistakes are found here, where their place is known."""
    session = shell.session
    if isinstance(s, st.CreateTable):
        _start_filled(shell, s)
        return
    assert isinstance(s, (st.Insert, st.StatementSet))
    shell.call(lambda: session.statement(st.Explain(s, position=s.position)))
    tables = [s.table] if isinstance(s, st.Insert) else [i.table for i in s.inserts]
    _submit(shell, s.text, _name(shell, tables[0][-1] if len(tables) == 1 else "statement-set"))


def _start_filled(shell: Shell, s: st.CreateTable) -> None:
    """CREATE TABLE … AS SELECT: the table is here, its rows are a job's. Without the job there is no table."""
    from sqlstream.ddl import completed, filling_of

    session = shell.session
    assert s.query is not None
    insert = filling_of(session.environment, s, s.query)
    columns = f" ({', '.join(map(quoted, insert.columns))})" if insert.columns else ""
    insert = replace(insert, text=f"INSERT INTO {'.'.join(map(quoted, s.name))}{columns} {sql_of(s.query)}")
    made = completed(session.environment, s)
    there = session.catalog.find(session.catalog.identity(s.name)) is not None
    shell.call(lambda: session.statement(replace(made, query=None)))
    if there:
        return
    try:
        start(shell, insert)
    except BaseException:
        session.statement(st.Drop("TABLE", s.name, True, s.temporary))
        raise


def _name(shell: Shell, table: str) -> str:
    """The job's name: pipeline.name, or one that no job has had."""
    from sqlstream.runtime.directory import locate, safe_name
    from sqlstream.runtime.jobs import is_job

    settings = shell.session.settings
    if settings.name is not None:
        return settings.name
    base = name = safe_name(f"insert-into_{table}")
    for n in range(2, 1_000_000):
        found = locate(name, settings.checkpoint_dir, 0, shell.session.environment.working_directory)
        if found is None or not is_job(found[1]):
            break
        name = f"{base}-{n}"
    return name


def script_of(options: dict[str, str], catalog: Catalog, statement: str) -> str:
    """What another process needs for a statement: the options, what it names in the catalog, and itself."""
    kept = {k: v for k, v in options.items() if not k.startswith(_OF_THE_SHELL)}
    dialect = kept.pop(_DIALECT, None)
    parts = [f"SET {text(k)} = {text(v)}" for k, v in kept.items()]
    parts += _named(catalog, statement, list(kept.values()))
    if catalog.current != DATABASE:
        parts += [_database(catalog.current), f"USE {quoted(catalog.current)}"]
    if dialect is not None:  # the catalog is Flink's
        parts.append(f"SET '{_DIALECT}' = {text(dialect)}")
    return "".join(f"{p};\n" for p in [*parts, statement.strip().rstrip(";")])


def _named(catalog: Catalog, statement: str, values: list[str]) -> list[str]:
    """The definitions of what a statement names, of what those name, and so on: functions, tables, and views behind what
    they read. As temporary ones: the new process may know kept ones of these names, and must not write them."""
    words = set(values) | _words(statement)
    functions: dict[str, Function] = {}
    relations: dict[str, tuple[Table | View, str]] = {}
    of_name: dict[str, list[Table | View]] = {}  # in any database: a word does not say in which
    for identity in catalog.names():
        if (relation := catalog.find(identity)) is not None:
            of_name.setdefault(relation.local_name, []).append(relation)
    functions_of_name: dict[str, list[Function]] = {}
    for f in catalog.all_functions():
        functions_of_name.setdefault(f.local_name.lower(), []).append(f)

    def take(found: set[str]) -> None:
        for word in sorted(found):
            for function in functions_of_name.get(word.lower(), ()):
                functions.setdefault(function.name.lower(), replace(function, temporary=True))
            for relation in of_name.get(word, ()):
                if relation.name in relations:
                    continue
                made = replace(relation, temporary=True)
                ddl = made.ddl(hide_secrets=False) if isinstance(made, Table) else made.ddl()
                relations[relation.name] = made, ddl  # it may name itself
                take(_words(ddl) - {word})
                relations[relation.name] = relations.pop(relation.name)

    take(words)
    used = {f.database for f in functions.values()} | {d for r, _ in relations.values() for d in (r.database, r.within)}
    out = [_database(d) for d in sorted(used) if d != DATABASE]
    out += [f.ddl() for f in functions.values()]
    current = DATABASE
    for relation, ddl in relations.values():
        if relation.within != current:
            current = relation.within
            out.append(f"USE {quoted(current)}")
        out.append(ddl)
    return [*out, f"USE {quoted(DATABASE)}"] if current != DATABASE else out


def _database(name: str) -> str:
    return f"CREATE DATABASE IF NOT EXISTS {quoted(name)}"


def _words(sql: str) -> set[str]:
    """Names in a text, also those in strings: options name tables, too."""
    try:
        tokens = tokenize(Source(sql))
    except ParseError:
        return set()
    found = {t.text for t in tokens if t.kind in (WORD, QUOTED)}
    strings = (t.text for t in tokens if t.kind == STRING)
    return found | {part for s in strings for part in (s, s.rpartition(".")[2])}


def _submit(shell: Shell, statement: str, name: str) -> None:
    env = shell.session.environment
    script = script_of({**env.given, **env.changed}, env.catalog, statement)
    command = [sys.executable, "-m", "sqlstream", "submit", "-", "--name", name]
    command += ["--fresh"] if shell.settings.fresh else []
    for flag, names in (("--start-empty", env.allowed.start_empty), ("--keep-output", env.allowed.keep_output)):
        for n in sorted(names):
            command += [flag, n]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=env.working_directory,
        start_new_session=True,  # Ctrl-C is for the shell
    )

    def started() -> tuple[str, str]:
        out, err = process.communicate(script.encode())
        return out.decode(errors="replace").strip(), err.decode(errors="replace").strip()

    from sqlstream.cli.of_jobs import waiting
    from sqlstream.shell import calls

    try:
        with waiting(shell.terminal, lambda: f"starting {name}"):
            out, err = calls.call(started, process.terminate)
    except calls.Interrupted:
        _take_back(shell, name)
        raise
    if process.returncode != 0:
        raise RunError(err.removeprefix("error: ") or f"the job's process ended with status {process.returncode}")
    place = _place(shell, name)
    if out:
        shell.terminal.say(out)
    if place is not None:
        shell.jobs.append(BackgroundJob(place))
        if out:
            shell.terminal.say(f"SHOW JOBS lists it, DESCRIBE JOB '{name}' tells how it is, STOP JOB '{name}' ends it")


def _place(shell: Shell, name: str) -> JobPlace | None:
    with contextlib.suppress(SqlStreamError):
        return shell.session.environment.job_named(name).place
    return None


def _take_back(shell: Shell, name: str) -> None:
    """A job that was canceled while it started: it may run already."""
    place = _place(shell, name)
    if place is None:
        return
    from sqlstream.runtime.client import ask
    from sqlstream.runtime.jobs import look

    if look(place).running:
        with contextlib.suppress(SqlStreamError):
            ask(place, "stop", wait=False, savepoint=None, drain=False)


def ended(shell: Shell) -> None:
    """Says of each job that this shell has started that it has ended, once."""
    for job in shell.jobs:
        if job.told:
            continue
        with contextlib.suppress(SqlStreamError):
            view = job.look()
            if not view.running:
                job.told = True
                s = view.status
                why = f": {s.message}" if s.message and s.state == "FAILED" else ""
                shell.terminal.say(f"job {job.place.name} {s.state}, {s.rows_in:,} rows in, {s.rows_out:,} out{why}")


def going_on(shell: Shell) -> list[JobView]:
    """The jobs that this shell has started and that run."""
    found = []
    for job in shell.jobs:
        with contextlib.suppress(SqlStreamError):
            view = job.look()
            if view.running:
                found.append(view)
    return found
