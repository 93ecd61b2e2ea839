"""CREATE and DROP: what they change in the catalog."""

from __future__ import annotations

import sys
from dataclasses import replace

from sqlstream import pipeline
from sqlstream.catalog.catalog import local
from sqlstream.catalog.objects import Files, Function, Table, View, like
from sqlstream.contracts import Source
from sqlstream.environment import Environment
from sqlstream.errors import BindError, NotSupported, did_you_mean
from sqlstream.functions import user
from sqlstream.plan.table_binder import bind_table, connector_of
from sqlstream.process_functions import signature
from sqlstream.results import Result
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script
from sqlstream.sql.printing import sql_of


def create_table(env: Environment, s: st.CreateTable, following: st.Statement | str | None = None) -> Result:
    """Also CREATE TABLE … LIKE, and … AS SELECT, which fills the table and takes it away when that fails."""
    s = completed(env, s)
    name = local(s.name, s.position)
    if env.catalog.find(name) is not None and s.if_not_exists:
        return Result("DDL", message=f"table {name} exists already")
    env.catalog.add(table_of(env, name, s), s.if_not_exists, s.position)
    env.save()
    if s.query is None:
        return Result("DDL", message=f"table {name} created")
    try:
        return pipeline.insert(env, (st.Insert((name,), s.query, position=s.position),), following)
    except BaseException:
        env.catalog.drop("TABLE", (name,), s.temporary, True, s.position)
        env.save()
        raise


def completed(env: Environment, s: st.CreateTable) -> st.CreateTable:
    """A statement with what LIKE or its query gives it."""
    if (files := _files_of(s)) is not None:  # as LIKE 'path': its files say what it leaves open
        s = like(env.catalog.table_of(files, s.position), replace(s, like=st.LikeDef(s.name)))
    if s.like is not None:
        base = env.catalog.relation(s.like.source, s.position)
        if not isinstance(base, Table):
            raise BindError(f"'{base.name}' is a view: LIKE takes a table", position=s.position)
        s = like(base, s)
    if s.query is None:
        return s
    if s.columns:
        raise NotSupported(
            "CREATE TABLE … AS SELECT takes its columns from the query",
            hint="leave the columns out",
            position=s.position,
        )
    schema = env.bind(s.query).schema
    return replace(s, columns=tuple(st.ColumnDef(c.name, c.type) for c in schema))


def _files_of(s: st.CreateTable) -> Files | None:
    """Those of a table of which nothing but their path is said."""
    options = {"connector": "filesystem", **dict(s.options)}
    silent = s.like is None and s.query is None and not s.columns and "format" not in options
    if not silent or "path" not in options or options["connector"] != "filesystem":
        return None
    return Files(options["path"], tuple(options.items()))


def table_of(env: Environment, name: str, s: st.CreateTable) -> Table:
    """The table, checked: its connector's options, computed columns, key and watermark. Nothing is opened."""
    table = Table(
        name,
        s.columns,
        s.watermark,
        s.primary_key,
        s.constraint,
        s.comment,
        s.partitioned_by,
        s.options,
        s.temporary,
        env.working_directory,
    )
    connector, context = connector_of(table, env.time_zone, env.stores)
    for key in s.partitioned_by if s.columns else ():
        if table.column(key) is None:
            raise BindError(
                f"table {name}: PARTITIONED BY '{key}': there is no such column",
                hint=did_you_mean(key, [c.name for c in s.columns], "columns"),
                subject=key,
            )
    if not s.columns:
        table = _inferred(table, connector.ddl_columns(context))
    bind_table(table, env.catalog, Source(), env.time_zone)
    return table


def _inferred(table: Table, body: str | None) -> Table:
    if body is None:
        raise BindError(
            f"table {table.name} has no columns, and its connector knows none",
            hint="CREATE TABLE t (a INT, …) WITH (…)",
        )
    (made,) = parse_script(f"CREATE TABLE t ({body}) WITH ('connector' = 'x')")
    assert isinstance(made, st.CreateTable)
    return replace(table, columns=made.columns, watermark=table.watermark or made.watermark)


def create_view(env: Environment, s: st.CreateView) -> Result:
    """Binds the query, so that mistakes are found now."""
    plan = env.bind(s.query)
    if s.columns and len(s.columns) != len(plan.schema):
        raise BindError(
            f"{len(s.columns)} names for {len(plan.schema)} columns",
            hint=f"the query's columns are {', '.join(plan.schema.names)}",
            position=s.position,
        )
    name = local(s.name, s.position)
    query, text = s.query, s.query_text
    if "dialect" in query.meta:  # the catalog is Flink SQL
        query = env.spelled(query)
        text = sql_of(query)
    view = View(name, query, text, s.columns, s.comment, s.temporary)
    added = env.catalog.add(view, s.if_not_exists, s.position)
    env.save()
    return Result("DDL", message=f"view {name} " + ("created" if added else "exists already"))


def create_function(env: Environment, s: st.CreateFunction) -> Result:
    """Imports the function, so that mistakes are found now."""
    if s.language.upper() != "PYTHON":
        raise NotSupported(
            f"functions in {s.language} are not supported",
            hint="LANGUAGE PYTHON, AS 'module.function'",
            position=s.position,
        )
    if env.working_directory not in sys.path:
        sys.path.append(env.working_directory)
    if signature.is_process_function(s.path):
        signature.resolve(s.path)
    else:
        user.resolve(s.path)
    name = local(s.name, s.position)
    env.catalog.add(Function(name, s.path, s.temporary), s.if_not_exists, s.position)
    env.save()
    return Result("DDL", message=f"function {name} created")


def drop(env: Environment, s: st.Drop) -> Result:
    """DROP TABLE, VIEW, FUNCTION."""
    env.catalog.drop(s.kind, s.name, s.temporary, s.if_exists, s.position)
    env.save()
    return Result("DDL", message=f"{s.kind.lower()} {s.name[-1]} dropped")
