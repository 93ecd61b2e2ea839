"""CREATE, ALTER, DROP and USE: what they change in the catalog."""

from __future__ import annotations

import sys
from dataclasses import replace

from sqlstream import pipeline
from sqlstream.catalog.alterations import altered
from sqlstream.catalog.catalog import Catalog
from sqlstream.catalog.databases import CATALOG, DATABASE, Database, check_catalog
from sqlstream.catalog.objects import Files, Function, Table, View, like
from sqlstream.contracts import Source
from sqlstream.environment import Environment
from sqlstream.errors import BindError, NotSupported, Position, did_you_mean
from sqlstream.functions import user, user_aggregates
from sqlstream.functions.inline import Inline
from sqlstream.plan.table_binder import bind_table, connector_of
from sqlstream.process_functions import signature
from sqlstream.results import Result
from sqlstream.sql import statements as st
from sqlstream.sql.ast import exp
from sqlstream.sql.parser import parse_script
from sqlstream.sql.printing import sql_of
from sqlstream.types import Schema


def create_table(env: Environment, s: st.CreateTable, following: st.Statement | str | None = None) -> Result:
    """Also CREATE TABLE … LIKE, and … AS SELECT, which fills the table and takes it away when that fails (what it replaced is
    back then)."""
    filling = None if s.query is None else filling_of(env, s, s.query)
    s = completed(env, s)
    name = env.catalog.identity(s.name, s.position)
    if env.catalog.find(name) is not None and s.if_not_exists:
        return Result("DDL", message=f"table {name} exists already")
    before = env.catalog.find(name)
    env.catalog.add(named_table(env, s), s.if_not_exists, s.position, s.or_replace)
    env.save()
    if filling is None:
        return Result("DDL", message=f"table {name} created")
    try:
        return pipeline.insert(env, (filling,), following)
    except BaseException:
        env.catalog.drop("TABLE", s.name, s.temporary, True, s.position)
        if before is not None and before.temporary == s.temporary:
            env.catalog.add(before)
        env.save()
        raise


def filling_of(env: Environment, s: st.CreateTable, query: exp.Expression) -> st.Insert:
    """The INSERT of CREATE TABLE … AS SELECT, by the names of the query's columns where the statement has columns too."""
    columns = tuple(c.name for c in env.bind(query).schema) if s.columns else ()
    return st.Insert(s.name, query, columns, position=s.position)


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
    return replace(s, columns=_beside_query(s.columns, env.bind(s.query).schema, s.position))


def _beside_query(
    given: tuple[st.ColumnDef, ...], query: Schema, position: Position | None
) -> tuple[st.ColumnDef, ...]:
    """The columns of CREATE TABLE (given) AS query. Names alone order those of the query; else new columns come first, and
    those of the query keep their places, with the types given for them."""
    made = {c.name: st.ColumnDef(c.name, c.type) for c in query}
    if given and all(c.type is None and c.computed is None for c in given):
        for c in given:
            if c.name not in made:
                raise BindError(
                    f"CREATE TABLE … AS SELECT: the query has no column '{c.name}'",
                    hint=did_you_mean(c.name, list(made), "columns"),
                    position=c.position,
                )
        if missing := [n for n in made if n not in {c.name for c in given}]:
            raise BindError(
                f"CREATE TABLE … AS SELECT: the names leave out the query's column '{missing[0]}'",
                hint="name all columns of the query, or select fewer",
                position=position,
            )
        return tuple(made[c.name] for c in given)
    new = []
    for c in given:
        if c.name not in made:
            new.append(c)
        elif c.computed is not None or c.metadata is not None:
            raise BindError(
                f"CREATE TABLE … AS SELECT: '{c.name}' is a column of the query: it is neither computed nor metadata",
                hint="give one of them another name",
                position=c.position,
            )
        else:
            made[c.name] = c
    return (*new, *made.values())


def _files_of(s: st.CreateTable) -> Files | None:
    """Those of a table of which nothing but their path is said."""
    options = {"connector": "filesystem", **dict(s.options)}
    silent = s.like is None and s.query is None and not s.columns and "format" not in options
    if not silent or "path" not in options or options["connector"] != "filesystem":
        return None
    return Files(options["path"], tuple(options.items()))


def named_table(env: Environment, s: st.CreateTable) -> Table:
    """The table of a statement as the catalog names it, checked as by `table_of`."""
    name, database = env.catalog.place(s.name, s.position)
    return table_of(env, name, s, database, env.catalog.current)


def table_of(env: Environment, name: str, s: st.CreateTable, database: str = DATABASE, within: str = DATABASE) -> Table:
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
        database=database,
        within=within,
    )
    return checked(env, table)


def checked(env: Environment, table: Table) -> Table:
    """The table, with its connector's columns where it has none of its own."""
    connector, context = connector_of(table, env.time_zone, env.stores)
    for key in table.partitioned_by if table.columns else ():
        if table.column(key) is None:
            raise BindError(
                f"table {table.name}: PARTITIONED BY '{key}': there is no such column",
                hint=did_you_mean(key, [c.name for c in table.columns], "columns"),
                subject=key,
            )
    if not table.columns:
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
    key = table.primary_key or made.primary_key
    return replace(table, columns=made.columns, watermark=table.watermark or made.watermark, primary_key=key)


def create_view(env: Environment, s: st.CreateView) -> Result:
    """Binds the query, so that mistakes are found now."""
    name = env.catalog.identity(s.name, s.position)
    view = _view(env, name, s.query, s.query_text, s.columns, s.comment, s.temporary, s)
    added = env.catalog.add(view, s.if_not_exists, s.position, s.or_replace)
    env.save()
    return Result("DDL", message=f"view {name} " + ("created" if added else "exists already"))


def kept_view(env: Environment, s: st.CreateView) -> None:
    """As the catalog's file has it; it was bound when it was made."""
    name, database = env.catalog.place(s.name, s.position)
    view = View(name, s.query, s.query_text, s.columns, s.comment, database=database, within=env.catalog.current)
    env.catalog.add(view, False, s.position)


def _view(
    env: Environment, name: str, query: exp.Expression, text: str, columns: tuple[str, ...], comment: str | None,
    temporary: bool, s: st.CreateView | st.AlterView,
) -> View:  # fmt: skip
    _refuse_circle(env, name, query, s)
    plan = env.bind(query)
    if columns and len(columns) != len(plan.schema):
        raise BindError(
            f"{len(columns)} names for {len(plan.schema)} columns",
            hint=f"the query's columns are {', '.join(plan.schema.names)}",
            position=s.position,
        )
    if "dialect" in query.meta:  # the catalog is Flink SQL
        query = env.spelled(query)
        text = sql_of(query)
    _, database = env.catalog.place(s.name)
    return View(name, query, text, columns, comment, temporary, database, env.catalog.current)


def _refuse_circle(env: Environment, name: str, query: exp.Expression, s: st.CreateView | st.AlterView) -> None:
    """BindError where a view of this name, made of the query, would read itself."""
    catalog = env.catalog
    ways: list[tuple[str, ...]] = [(name, other) for other in _reads(query, catalog)]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        if way[-1] == name:
            if isinstance(catalog.find(name), View):
                raise BindError(
                    f"view {name} would read itself: {' → '.join(way)}", position=s.position, subject=s.name[-1]
                )
            continue
        found = None if way[-1] in seen else catalog.find(way[-1])
        seen.add(way[-1])
        if isinstance(found, View):
            ways += [(*way, other) for other in _reads(found.query, catalog.at(found.within))]


def _reads(query: exp.Expression, catalog: Catalog) -> list[str]:
    """The identities of the tables and views that a query names, without those of its WITH."""
    own = {cte.alias for cte in query.find_all(exp.CTE)}
    named = (tuple(p.name for p in t.parts) for t in query.find_all(exp.Table))
    return [catalog.identity(n) for n in named if n[0] not in own and catalog.knows(n[:-1])]


def create_function(env: Environment, s: st.CreateFunction) -> Result:
    """Imports the function, or compiles its body, so that mistakes are found now."""
    if s.language.upper() != "PYTHON":
        raise NotSupported(
            f"functions in {s.language} are not supported",
            hint="LANGUAGE PYTHON, AS 'module.function'",
            position=s.position,
        )
    name, database, path = s.name[-1], DATABASE, s.path
    if not s.system:
        name, database = env.catalog.place(s.name, s.position)
    if s.body is not None:
        path = Inline(name, tuple((n, str(t)) for n, t in s.parameters), str(s.returns), s.body).path
    if env.working_directory not in sys.path:
        sys.path.append(env.working_directory)
    if signature.is_process_function(path):
        signature.resolve(path)
    elif user_aggregates.is_aggregate(path):
        user_aggregates.resolve(path)
    else:
        user.resolve(path)
    made = Function(name, path, s.temporary, database, s.system)
    env.catalog.add(made, s.if_not_exists, s.position, s.or_replace)
    env.save()
    return Result("DDL", message=f"function {name} created")


def alter_table(env: Environment, s: st.AlterTable) -> Result:
    """Its definition alone: files stay as they are."""
    if s.if_exists and not env.catalog.knows(s.name[:-1]):
        return Result("DDL", message=f"there is no table {'.'.join(s.name)}")
    name = env.catalog.identity(s.name, s.position)
    table = env.catalog.find(name)
    if table is None and s.if_exists:
        return Result("DDL", message=f"there is no table {name}")
    table = env.catalog.relation(s.name, s.position)
    if not isinstance(table, Table):
        raise BindError(f"'{name}' is a view", hint=f"ALTER VIEW {name} …", position=s.position, subject=name)
    if s.rename is not None:
        return _rename(env, table, s.rename, s)
    assert s.alteration is not None
    columns = tuple(replace(c, position=None) for c in table.columns)  # in the text of another statement
    watermark = None if table.watermark is None else replace(table.watermark, position=None)
    made = altered(replace(table, columns=columns, watermark=watermark), s.alteration)
    env.catalog.replace(checked(env, made))
    env.save()
    return Result("DDL", message=f"table {name} altered")


def alter_view(env: Environment, s: st.AlterView) -> Result:
    """Binds the new query, so that mistakes are found now."""
    name = env.catalog.identity(s.name, s.position)
    view = env.catalog.relation(s.name, s.position)
    if not isinstance(view, View):
        raise BindError(f"'{name}' is a table", hint=f"ALTER TABLE {name} …", position=s.position, subject=name)
    if s.rename is not None:
        return _rename(env, view, s.rename, s)
    assert s.query is not None
    env.catalog.replace(_view(env, name, s.query, s.query_text, (), view.comment, view.temporary, s))
    env.save()
    return Result("DDL", message=f"view {name} altered")


def _rename(env: Environment, item: Table | View, to: st.Name, s: st.Statement) -> Result:
    env.catalog.rename(item, to, s.position)
    env.save()
    kind = "table" if isinstance(item, Table) else "view"
    return Result("DDL", message=f"{kind} {item.name} renamed to {to[-1]}")


def create_database(env: Environment, s: st.CreateDatabase) -> Result:
    """A new space of names."""
    for c in s.name[:-1]:
        check_catalog(c, s.position)
    if len(s.name) > 2:
        raise BindError(
            f"'{'.'.join(s.name)}' is no database's name", hint=f"{CATALOG}.{s.name[-1]}", position=s.position
        )
    made = env.catalog.create_database(Database(s.name[-1], s.comment, s.options), s.if_not_exists, s.position)
    env.save()
    return Result("DDL", message=f"database {s.name[-1]} " + ("created" if made else "exists already"))


def alter_database(env: Environment, s: st.AlterDatabase) -> Result:
    """SET: what is kept with it."""
    found = env.catalog.database(s.name, s.position)
    options = tuple({**dict(found.options), **dict(s.options)}.items())
    env.catalog.alter_database(replace(found, options=options))
    env.save()
    return Result("DDL", message=f"database {found.name} altered")


def drop_database(env: Environment, s: st.DropDatabase) -> Result:
    """Of tables their definitions alone: files stay as they are."""
    if s.if_exists and not env.catalog.knows(s.name):
        return Result("DDL", message=f"there is no database {s.name[-1]}")
    env.catalog.drop_database(s.name, s.cascade, s.position)
    env.save()
    return Result("DDL", message=f"database {s.name[-1]} dropped")


def use(env: Environment, s: st.Use) -> Result:
    """USE, USE CATALOG: of the session alone."""
    if s.catalog:
        env.catalog.use_catalog(s.name[0], s.position)
        return Result("DDL", message=f"catalog {s.name[0]} is used")
    env.catalog.use(s.name, s.position)
    return Result("DDL", message=f"database {env.catalog.current} is used")


def drop(env: Environment, s: st.Drop) -> Result:
    """DROP TABLE, VIEW, FUNCTION."""
    env.catalog.drop(s.kind, s.name, s.temporary, s.if_exists, s.position, s.system)
    env.save()
    return Result("DDL", message=f"{s.kind.lower()} {s.name[-1]} dropped")
