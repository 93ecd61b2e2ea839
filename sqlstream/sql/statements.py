"""Typed statements: what the parser makes of SQL text, and all that later stages see of it.

Queries stay sqlglot trees (`sql/ast.py` says of which nodes); everything around them is a frozen dataclass.
Options (`WITH (...)`) keep their order. Names are tuples of their parts, outermost first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from sqlstream.errors import Position
from sqlstream.types import Type

Name = tuple[str, ...]


class FileName(str):
    """The only part of a name that was written as a string: the path of files."""

    __slots__ = ()


Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Statement:
    """One statement. `text` is its source without the `;`; `position` is where it starts in the script."""

    text: str = field(kw_only=True, default="", compare=False)
    position: Position = field(kw_only=True, default=Position(1, 1), compare=False)


# ---- parts of CREATE TABLE


@dataclass(frozen=True)
class ColumnDef:
    """`name TYPE [NOT NULL]`, `name TYPE METADATA [FROM 'key'] [VIRTUAL]` or `name AS expr`."""

    name: str
    type: Type | None = None
    computed: exp.Expression | None = None
    computed_text: str | None = None  # the expression as written, for SHOW CREATE
    metadata: str | None = None  # metadata key (the column's name without FROM)
    virtual: bool = False
    comment: str | None = None
    position: Position | None = field(default=None, compare=False)


@dataclass(frozen=True)
class WatermarkDef:
    """`WATERMARK FOR column AS expr`."""

    column: str
    expression: exp.Expression
    text: str
    position: Position | None = field(default=None, compare=False)


@dataclass(frozen=True)
class LikeDef:
    """`LIKE source (INCLUDING ALL EXCLUDING WATERMARKS …)`; `options` are (verb, feature) pairs in order."""

    source: Name
    options: tuple[tuple[str, str], ...] = ()


# ---- DDL


@dataclass(frozen=True)
class CreateTable(Statement):
    """`CREATE [OR REPLACE] TABLE name (columns, WATERMARK …, PRIMARY KEY …) WITH (…)`, LIKE another, or AS a query.

    Without columns they are the connector's to know (`Connector.ddl_columns`), or those of `like` or `query`.
    """

    name: Name
    columns: tuple[ColumnDef, ...] = ()
    watermark: WatermarkDef | None = None
    primary_key: tuple[str, ...] = ()
    constraint: str | None = None
    comment: str | None = None
    partitioned_by: tuple[str, ...] = ()
    options: Options = ()
    like: LikeDef | None = None
    query: exp.Expression | None = None  # CREATE TABLE … AS SELECT
    temporary: bool = False
    if_not_exists: bool = False
    or_replace: bool = False


@dataclass(frozen=True)
class CreateView(Statement):
    """`CREATE VIEW name [(columns)] AS query`; `query_text` is the query as it was written."""

    name: Name
    query: exp.Expression
    query_text: str
    columns: tuple[str, ...] = ()
    comment: str | None = None
    temporary: bool = False
    if_not_exists: bool = False
    or_replace: bool = False


@dataclass(frozen=True)
class CreateFunction(Statement):
    """`CREATE [TEMPORARY [SYSTEM]] FUNCTION [IF NOT EXISTS] f AS 'module.attribute' [LANGUAGE PYTHON]`, or
    `… f(x TYPE, …) RETURNS TYPE LANGUAGE PYTHON AS $$ body $$`, which has a body and no path."""

    name: Name
    path: str
    language: str = "PYTHON"
    temporary: bool = False
    if_not_exists: bool = False
    or_replace: bool = False
    parameters: tuple[tuple[str, Type], ...] = ()
    returns: Type | None = None
    body: str | None = None
    system: bool = False


@dataclass(frozen=True)
class Drop(Statement):
    """`kind` is TABLE, VIEW or FUNCTION; `system`: a function of no database."""

    kind: str
    name: Name
    if_exists: bool = False
    temporary: bool = False
    system: bool = False


@dataclass(frozen=True)
class Added:
    """ADD or MODIFY (`modify`) of ALTER TABLE: columns, each with its place (None: the end, or where it is; "": first; else
    behind the column of that name), a watermark, a key."""

    columns: tuple[tuple[ColumnDef, str | None], ...] = ()
    watermark: WatermarkDef | None = None
    primary_key: tuple[str, ...] = ()
    constraint: str | None = None
    modify: bool = False


@dataclass(frozen=True)
class Dropped:
    """DROP of ALTER TABLE."""

    columns: tuple[str, ...] = ()
    primary_key: bool = False
    constraint: str | None = None
    watermark: bool = False


@dataclass(frozen=True)
class RenamedColumn:
    """RENAME a TO b."""

    before: str
    after: str


@dataclass(frozen=True)
class ChangedOptions:
    """SET ('key' = 'value'), or RESET ('key')."""

    given: Options = ()
    reset: tuple[str, ...] = ()


Alteration = Added | Dropped | RenamedColumn | ChangedOptions


@dataclass(frozen=True)
class AlterTable(Statement):
    """`ALTER TABLE [IF EXISTS] t ADD | MODIFY | DROP | RENAME | SET | RESET …`; `rename`: RENAME TO, or one alteration."""

    name: Name
    alteration: Alteration | None = None
    rename: Name | None = None
    if_exists: bool = False


@dataclass(frozen=True)
class AlterView(Statement):
    """`ALTER VIEW v RENAME TO w`, or `AS query`."""

    name: Name
    rename: Name | None = None
    query: exp.Expression | None = None
    query_text: str = ""


# ---- DML and queries


@dataclass(frozen=True)
class Select(Statement):
    """A query on its own: its result goes to the caller."""

    query: exp.Expression


@dataclass(frozen=True)
class Insert(Statement):
    """`INSERT {INTO|OVERWRITE} table [PARTITION (k=v)] [(columns)] query [ON CONFLICT DO …]`; VALUES is a query too.
    `conflict`: NOTHING, ERROR or DEDUPLICATE; None without the clause."""

    table: Name
    query: exp.Expression
    columns: tuple[str, ...] = ()
    overwrite: bool = False
    partition: tuple[tuple[str, exp.Expression], ...] = ()
    conflict: str | None = None


@dataclass(frozen=True)
class StatementSet(Statement):
    """`EXECUTE STATEMENT SET BEGIN insert; … END`: one job."""

    inserts: tuple[Insert, ...]


# ---- the session


@dataclass(frozen=True)
class SetOption(Statement):
    """`SET 'key' = 'value'`; without a key it lists."""

    key: str | None = None
    value: str | None = None


@dataclass(frozen=True)
class ResetOption(Statement):
    """`RESET 'key'`; without a key all options are as at the start."""

    key: str | None = None


@dataclass(frozen=True)
class CreateSavepoint(Statement):
    """`CREATE SAVEPOINT [FOR JOB 'name'] ['directory']`; without them: of the job `pipeline.name`, where the options say."""

    job: str | None = None
    path: str | None = None


@dataclass(frozen=True)
class StopJob(Statement):
    """`STOP JOB 'name' [WITH SAVEPOINT [WITH DRAIN]]`."""

    job: str
    savepoint: bool = False
    drain: bool = False


@dataclass(frozen=True)
class CreateDatabase(Statement):
    """`CREATE DATABASE [IF NOT EXISTS] name [COMMENT '…'] [WITH (…)]`."""

    name: Name
    comment: str | None = None
    options: Options = ()
    if_not_exists: bool = False


@dataclass(frozen=True)
class DropDatabase(Statement):
    """`DROP DATABASE [IF EXISTS] name [RESTRICT | CASCADE]`; `cascade`: with all that is in it."""

    name: Name
    if_exists: bool = False
    cascade: bool = False


@dataclass(frozen=True)
class AlterDatabase(Statement):
    """`ALTER DATABASE name SET ('key' = 'value', …)`."""

    name: Name
    options: Options


@dataclass(frozen=True)
class Use(Statement):
    """`USE [catalog.]database`, or `USE CATALOG name` (`catalog`)."""

    name: Name
    catalog: bool = False


@dataclass(frozen=True)
class Show(Statement):
    """`kind`: TABLES, VIEWS, FUNCTIONS, COLUMNS, PARTITIONS, JOBS, CATALOGS, DATABASES, CURRENT CATALOG, CURRENT DATABASE, CREATE TABLE,
    CREATE VIEW; `name`: behind FROM or IN, or of what is created; `like` is a LIKE pattern. `user`: of functions, only
    the users' own. `partition`: of partitions, those with these values."""

    kind: str
    name: Name = ()
    like: str | None = None
    negated: bool = False
    case_insensitive: bool = False
    user: bool = False
    partition: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True)
class Describe(Statement):
    """`DESCRIBE name`: the columns of a table or view."""

    name: Name


@dataclass(frozen=True)
class DescribeDatabase(Statement):
    """`DESCRIBE DATABASE [EXTENDED] name`: what is known of a database."""

    name: Name
    extended: bool = False


@dataclass(frozen=True)
class DescribeFunction(Statement):
    """`DESCRIBE FUNCTION [EXTENDED] name`: what is known of a function, one of Flink's or of a user."""

    name: Name
    extended: bool = False


@dataclass(frozen=True)
class DescribeJob(Statement):
    """`DESCRIBE JOB 'name'`: how a job is; a name as `find_job` takes it."""

    job: str


@dataclass(frozen=True)
class Explain(Statement):
    """`EXPLAIN [PLAN FOR | ANALYZE | kinds…] statement`; `statement` is a Select, Insert or StatementSet.

    `analyze`: the statement is run, and its operators' work is shown.
    """

    statement: Statement
    kinds: tuple[str, ...] = ()
    analyze: bool = False
