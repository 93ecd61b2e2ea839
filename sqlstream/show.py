"""SHOW, DESCRIBE, and the syntax tree of EXPLAIN: catalog objects as small tables of text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from sqlstream.aggregates.registry import AGGREGATES
from sqlstream.catalog.catalog import Catalog
from sqlstream.catalog.databases import CATALOG, check_catalog
from sqlstream.catalog.objects import Function, Table, View
from sqlstream.contracts import Source
from sqlstream.environment import Environment
from sqlstream.errors import BindError, NotSupported, Position, did_you_mean
from sqlstream.functions import user
from sqlstream.functions.inline import is_inline
from sqlstream.functions.scalar import SCALARS
from sqlstream.functions.user_aggregates import is_aggregate
from sqlstream.options import shown
from sqlstream.plan.columns import renamed
from sqlstream.plan.from_binder import TABLE_FUNCTIONS
from sqlstream.plan.over_functions import OVER_FUNCTIONS
from sqlstream.plan.table_binder import bind_table, connector_of
from sqlstream.process_functions.signature import is_process_function
from sqlstream.results import Result, table_result
from sqlstream.secrets import redacted
from sqlstream.sql import statements as st
from sqlstream.types import Schema

# What SHOW lists: the column, and the names of a database (None: the current one).
_LISTS: dict[str, tuple[str, Callable[[Catalog, str | None], list[str]]]] = {
    "TABLES": ("table name", Catalog.tables),
    "VIEWS": ("view name", Catalog.views),
    "FUNCTIONS": (
        "function name",
        lambda catalog, database: sorted({*catalog.functions(database), *system_functions()}),
    ),
    "CATALOGS": ("catalog name", lambda catalog, database: [CATALOG]),
    "DATABASES": ("database name", lambda catalog, database: catalog.databases()),
    "CURRENT CATALOG": ("current catalog name", lambda catalog, database: [CATALOG]),
    "CURRENT DATABASE": ("current database name", lambda catalog, database: [catalog.current]),
}


def show(env: Environment, s: st.Show) -> Result:
    """SHOW TABLES, VIEWS, FUNCTIONS, COLUMNS, PARTITIONS, JOBS, CATALOGS, DATABASES, CURRENT …, CREATE TABLE, CREATE VIEW."""
    catalog = env.catalog
    if s.kind in _LISTS:
        database = None
        if s.kind == "DATABASES" and s.name:
            check_catalog(".".join(s.name), s.position)
        elif s.name:
            database = catalog.database(s.name, s.position).name
        title, names = _LISTS[s.kind]
        if s.user:
            names = Catalog.functions
        return table_result("SHOW", [title], [[n] for n in names(catalog, database) if _wanted(s, n)])
    if s.kind == "PARTITIONS":
        return _partitions(env, s)
    if s.kind == "JOBS":
        return _jobs(env, s)
    if s.kind in ("CREATE TABLE", "CREATE VIEW"):
        found = catalog.relation(s.name, s.position)
        wanted = Table if s.kind == "CREATE TABLE" else View
        if not isinstance(found, wanted):
            other = "VIEW" if wanted is Table else "TABLE"
            raise BindError(
                f"'{found.name}' is a {other.lower()}", hint=f"SHOW CREATE {other} {found.name}", position=s.position
            )
        return table_result("SHOW", ["result"], [[redacted(found.ddl())]])
    if s.kind == "COLUMNS" and s.name:
        return describe(env, s.name, s.position, s)
    if s.kind == "COLUMNS":
        raise NotSupported("SHOW COLUMNS needs a table", hint="SHOW COLUMNS FROM t", position=s.position)
    raise NotSupported(f"SHOW {s.kind} is not supported", position=s.position)


def system_functions() -> dict[str, str]:
    """What kind each of Flink's functions is that there are, by name: scalar, aggregate, window or table."""
    found = {f.name: "scalar" for f in SCALARS.values() if not f.operator}
    found |= dict.fromkeys(AGGREGATES, "aggregate")
    found |= {n: "window" for n in OVER_FUNCTIONS if n not in found}
    return found | dict.fromkeys(TABLE_FUNCTIONS, "table")


def _wanted(s: st.Show, name: str) -> bool:
    if s.like is None:
        return True
    pattern = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in s.like)
    flags = re.S | (re.I if s.case_insensitive else 0)
    return (re.fullmatch(pattern, name, flags) is not None) != s.negated


def describe(
    env: Environment, name: tuple[str, ...], position: Position | None = None, only: st.Show | None = None
) -> Result:
    """A relation's columns, in Flink's columns: name, type, null, key, extras, watermark. `only`: those it likes."""
    relation = env.catalog.relation(name, position)
    return _described(columns_of(env, relation), relation if isinstance(relation, Table) else None, only)


def describe_database(env: Environment, s: st.DescribeDatabase) -> Result:
    """What is known of a database, a row for each, in the columns of Flink's DESCRIBE CATALOG."""
    database = env.catalog.database(s.name, s.position)
    rows: list[list[str | None]] = [["catalog", CATALOG], ["name", database.name], ["comment", database.comment]]
    if s.extended:
        rows += [[k, v] for k, v in shown(dict(database.options)).items()]
    return table_result("SHOW", ["info name", "info value"], rows)


def columns_of(env: Environment, relation: Table | View) -> Schema:
    """The columns of a table, computed ones too, or of a view, whose query is bound for it."""
    if isinstance(relation, Table):
        return bind_table(relation, env.catalog, Source(), env.time_zone).schema
    plan = env.bind(relation.query, within=relation.within)
    if relation.columns:
        plan = renamed(plan, list(relation.columns), relation.query)
    return plan.schema


def _described(schema: Schema, table: Table | None, only: st.Show | None) -> Result:
    rows: list[list[str | None]] = []
    for c in schema:
        key = extras = watermark = None
        if table is not None:
            declared = table.column(c.name)
            assert declared is not None
            if c.name in table.primary_key:
                key = f"PRI({', '.join(table.primary_key)})"
            if declared.computed is not None:
                extras = f"AS {declared.computed_text}"
            elif declared.metadata is not None:
                extras = f"METADATA FROM '{declared.metadata}'" + (" VIRTUAL" if declared.virtual else "")
            if table.watermark is not None and table.watermark.column == c.name:
                watermark = table.watermark.text
        text = c.type.text() + (f" *{c.time}*" if c.time in ("ROWTIME", "PROCTIME") else "")
        if only is None or _wanted(only, c.name):
            comment = None if table is None or declared is None else declared.comment
            rows.append([c.name, text, "TRUE" if c.type.nullable else "FALSE", key, extras, watermark, comment])
    names = ["name", "type", "null", "key", "extras", "watermark", "comment"]
    commented = table is not None and any(c.comment for c in table.columns)
    return table_result("SHOW", names if commented else names[:-1], rows if commented else [r[:-1] for r in rows])


def _partitions(env: Environment, s: st.Show) -> Result:
    """The partitions of a table of files that there are; with PARTITION (…) those of these values."""
    table = env.catalog.relation(s.name, s.position)
    if not isinstance(table, Table) or not table.partitioned_by:
        raise BindError(
            f"'{table.name}' has no partitions", hint="CREATE TABLE … PARTITIONED BY (a) has", position=s.position
        )
    for column, _ in s.partition:
        if column not in table.partitioned_by:
            raise BindError(
                f"'{column}' is no partition column of {table.name}",
                hint=f"partition columns: {', '.join(table.partitioned_by)}",
                position=s.position,
            )
    from sqlstream.connectors.partitions import escaped

    connector, context = connector_of(table, env.time_zone, env.stores, env.clock.monotonic)
    found = connector.source(context).partitions()
    default = context.options.get("partition.default-name", "__DEFAULT_PARTITION__")
    wanted = {f"{escaped(c)}={escaped(v if v else default)}" for c, v in s.partition}
    return table_result("SHOW", ["partition name"], [[p] for p in found if wanted <= set(p.split("/"))])


def describe_function(env: Environment, s: st.DescribeFunction) -> Result:
    """What is known of a function, a row for each, in the columns of Flink's."""
    name = ".".join(s.name)
    declared = env.catalog.function(name)
    kind = None if declared is not None else system_functions().get(name.upper())
    if declared is None and kind is None:
        known = [*system_functions(), *env.catalog.functions()]
        raise BindError(
            f"there is no function '{name}'", hint=did_you_mean(name, known, "functions"), position=s.position
        )
    rows: list[list[str | None]] = [["is system function", _said(declared is None or declared.system)]]
    rows.append(["is temporary", _said(declared is not None and declared.temporary)])
    if declared is not None:
        rows += [
            ["class name", declared.path if not is_inline(declared.path) else None],
            ["function language", "PYTHON"],
        ]
    if not s.extended:
        return table_result("SHOW", ["info name", "info value"], rows)
    if declared is not None:
        rows += _of_python(declared)
    else:
        known_as = SCALARS.get(name.upper())
        certain = known_as is None or not (known_as.volatile or known_as.volatile_alone)
        rows += [["kind", (kind or "").upper()], ["requirements", "[]"], ["is deterministic", _said(certain)]]
        if known_as is not None and known_as.example:
            rows.append(["example", known_as.example])
    return table_result("SHOW", ["info name", "info value"], rows)


def _said(yes: bool) -> str:
    return "true" if yes else "false"


def _of_python(declared: Function) -> list[list[str | None]]:
    """What EXTENDED says of a user's function, which is loaded for it."""
    if is_process_function(declared.path):
        return [["kind", "PROCESS_TABLE"], ["requirements", "[]"]]
    if is_aggregate(declared.path):
        return [["kind", "AGGREGATE"], ["requirements", "[]"]]
    f = user.resolve(declared.path)
    signature = f"{declared.local_name}({', '.join(t.text() for t in f.arguments)}) => {f.result.text()}"
    return [
        ["kind", "TABLE" if f.table else "SCALAR"],
        ["requirements", "[]"],
        ["is deterministic", _said(f.deterministic)],
        ["signature", signature],
    ]


_JOB = ("job name", "status", "start time", "rows in", "rows out", "checkpoint", "directory")


def _jobs(env: Environment, s: st.Show) -> Result:
    from sqlstream.runtime.client import currents  # with fsspec, for which a session that asks for no jobs has no time

    rows: list[list[str | None]] = []
    for v in currents(Path(env.working_directory)):
        job = v.status
        if _wanted(s, v.place.name):
            checkpoint = None if job.checkpoint is None else str(job.checkpoint)
            counts = [str(job.rows_in), str(job.rows_out), checkpoint]
            rows.append([v.place.name, job.state, job.started or None, *counts, str(v.place.directory)])
    return table_result("SHOW", list(_JOB), rows)


def describe_job(env: Environment, job: str) -> Result:
    """How one job is, a row for each thing that is known of it."""
    from sqlstream.runtime.client import current
    from sqlstream.runtime.jobs import find_job

    view = current(find_job(job, Path(env.working_directory)))
    values = {"directory": str(view.place.directory), **view.status.value()}
    return table_result("SHOW", ["name", "value"], [[k, str(v)] for k, v in values.items() if v not in (None, "")])


def syntax_tree(s: st.Statement) -> str:
    """The query's syntax tree as sqlglot shows it."""
    if isinstance(s, (st.Select, st.Insert)):
        head = f"INSERT INTO {'.'.join(s.table)}\n" if isinstance(s, st.Insert) else ""
        return head + repr(s.query)
    if isinstance(s, st.StatementSet):
        return "\n".join(syntax_tree(i) for i in s.inserts)
    return s.text
