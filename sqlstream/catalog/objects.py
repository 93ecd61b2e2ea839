"""What a catalog holds: tables, views and functions, as frozen descriptions."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sqlstream.catalog.databases import DATABASE, quoted, text
from sqlstream.functions.inline import inline, is_inline
from sqlstream.options import shown
from sqlstream.sql.ast import exp
from sqlstream.sql.statements import ColumnDef, CreateTable, Options, WatermarkDef
from sqlstream.types import Column, Schema


class Named:
    """What has a name in a database. `name` is its identity (`databases.identity`); `within`: the database that was current
    when it was made, of which the names in its text are that say none."""

    name: str
    database: str
    within: str

    @property
    def local_name(self) -> str:
        """Its name without the database."""
        return self.name if self.database == DATABASE else self.name[len(self.database) + 1 :]

    @property
    def path(self) -> tuple[str, str]:
        """Its database and its name there."""
        return self.database, self.local_name

    @property
    def written(self) -> str:
        """Its name in a statement that makes it where `within` is current."""
        plain = self.database == self.within == DATABASE
        return quoted(self.local_name) if plain else f"{quoted(self.database)}.{quoted(self.local_name)}"


@dataclass(frozen=True)
class Table(Named):
    """A table: its columns as declared, and how to reach it. `working_directory` resolves relative paths. `undeclared`: its
    columns are those that were found in its files."""

    name: str
    columns: tuple[ColumnDef, ...]
    watermark: WatermarkDef | None = None
    primary_key: tuple[str, ...] = ()
    constraint: str | None = None
    comment: str | None = None
    partitioned_by: tuple[str, ...] = ()
    options: Options = ()
    temporary: bool = False
    working_directory: str = "."
    undeclared: bool = False
    database: str = DATABASE
    within: str = DATABASE

    @property
    def option_map(self) -> dict[str, str]:
        """The WITH options by key, in the order written, 'connector' among them."""
        return dict(self.options)

    @property
    def remembered(self) -> dict[str, str]:
        """What a job remembers of it: its options, and the columns that were found in files."""
        if not self.undeclared:
            return self.option_map
        columns = ", ".join(
            f"{quoted(c.name)} {c.type}" for c in self.columns if c.computed is None and c.metadata is None
        )
        partitions = {PARTITIONED_BY: ", ".join(map(quoted, self.partitioned_by))} if self.partitioned_by else {}
        return {**self.option_map, COLUMNS: columns, **partitions}

    def physical(self) -> Schema:
        """Columns that are stored: neither computed nor metadata."""
        return Schema(
            tuple(
                Column(c.name, c.type.null(c.type.nullable and c.name not in self.primary_key))
                for c in self.columns
                if c.type is not None and c.metadata is None and c.computed is None
            )
        )

    def column(self, name: str) -> ColumnDef | None:
        """The column of that name, computed and metadata ones too; None when there is none."""
        return next((c for c in self.columns if c.name == name), None)

    def ddl(self, hide_secrets: bool = True) -> str:
        """CREATE TABLE text that makes the same table; secrets hidden unless it is for the catalog's own file."""
        lines = []
        for c in self.columns:
            line = f"  {quoted(c.name)} "
            if c.computed is not None:
                line += f"AS {c.computed_text}"
            else:
                line += str(c.type)
                if c.metadata is not None:
                    line += f" METADATA FROM {text(c.metadata)}" + (" VIRTUAL" if c.virtual else "")
            if c.comment:
                line += f" COMMENT {text(c.comment)}"
            lines.append(line)
        if self.watermark is not None:
            lines.append(f"  WATERMARK FOR {quoted(self.watermark.column)} AS {self.watermark.text}")
        if self.primary_key:
            constraint = f"CONSTRAINT {quoted(self.constraint)} " if self.constraint else ""
            keys = ", ".join(quoted(k) for k in self.primary_key)
            lines.append(f"  {constraint}PRIMARY KEY ({keys}) NOT ENFORCED")
        out = f"CREATE {'TEMPORARY ' if self.temporary else ''}TABLE {self.written} (\n" + ",\n".join(lines) + "\n)"
        if self.comment:
            out += f"\nCOMMENT {text(self.comment)}"
        if self.partitioned_by:
            out += f"\nPARTITIONED BY ({', '.join(quoted(k) for k in self.partitioned_by)})"
        options = shown(self.option_map) if hide_secrets else self.option_map
        if options:
            out += "\nWITH (\n" + ",\n".join(f"  {text(k)} = {text(v)}" for k, v in options.items()) + "\n)"
        return out


COLUMNS, PARTITIONED_BY = "columns", "partitioned by"  # in what is remembered of a table that nobody declared
STANDARD_INPUT = "stdin"  # a table's name where there is no such table
_FILE = re.compile(r"\.(json|jsonl|ndjson|csv|tsv|parquet)(\.(gz|zst|bz2|lz4))?$", re.I)


@dataclass(frozen=True)
class Files:
    """Files that are a table without being declared: `'path'`, `read_json('path', …)`, `stdin`.

    `options`: what is said of them, as in WITH; the format and all else is told from what is in them. `columns`: the body
    of a CREATE TABLE; without stored columns in it these are told from the files too. `types`: those of some columns, as
    that body has them.
    """

    path: str
    options: Options = ()
    columns: str | None = None
    types: str | None = None


def looks_like_files(name: str) -> bool:
    """Whether a name that is no table's is taken for files: it ends as those of formats do, or is standard input's."""
    return name == STANDARD_INPUT or _FILE.search(name) is not None


@dataclass(frozen=True)
class View(Named):
    """A named query. Bound anew at each use, with the catalog of then."""

    name: str
    query: exp.Expression
    query_text: str
    columns: tuple[str, ...] = ()
    comment: str | None = None
    temporary: bool = False
    database: str = DATABASE
    within: str = DATABASE

    def ddl(self) -> str:
        """CREATE VIEW text that makes the same view; the query as it was written."""
        columns = f" ({', '.join(quoted(c) for c in self.columns)})" if self.columns else ""
        comment = f"\nCOMMENT {text(self.comment)}" if self.comment else ""
        kind = "TEMPORARY VIEW" if self.temporary else "VIEW"
        return f"CREATE {kind} {self.written}{columns}{comment} AS\n{self.query_text}"


@dataclass(frozen=True)
class Function:
    """A Python function, or a process table function's class, under an SQL name. The path of one whose body stands in SQL holds
    it (`functions.inline`). `name` is its identity; `system`: it is of no database, and found from all."""

    name: str
    path: str
    temporary: bool = False
    database: str = DATABASE
    system: bool = False

    @property
    def local_name(self) -> str:
        """Its name without the database."""
        return self.name if self.database == DATABASE else self.name[len(self.database) + 1 :]

    def ddl(self) -> str:
        """CREATE FUNCTION text that makes the same function."""
        kind = "TEMPORARY SYSTEM FUNCTION" if self.system else "TEMPORARY FUNCTION" if self.temporary else "FUNCTION"
        name = quoted(self.local_name)
        if self.database != DATABASE:
            name = f"{quoted(self.database)}.{name}"
        if is_inline(self.path):
            f = inline(self.path)
            parameters = ", ".join(f"{quoted(n)} {t}" for n, t in f.parameters)
            return f"CREATE {kind} {name}({parameters}) RETURNS {f.returns} LANGUAGE PYTHON AS $${f.body}$$"
        return f"CREATE {kind} {name} AS {text(self.path)} LANGUAGE PYTHON"


def like(base: Table, statement: CreateTable) -> CreateTable:
    """`statement` (CREATE TABLE … LIKE base) with what it takes from `base`.

    Default INCLUDING ALL OVERWRITING OPTIONS. Features: ALL, CONSTRAINTS, PARTITIONS, GENERATED, OPTIONS,
    WATERMARKS, METADATA; verbs INCLUDING, EXCLUDING, OVERWRITING.
    """
    assert statement.like is not None
    features = ("CONSTRAINTS", "PARTITIONS", "GENERATED", "OPTIONS", "WATERMARKS", "METADATA")
    verbs = {f: "INCLUDING" for f in features} | {"OPTIONS": "OVERWRITING"}
    for verb, feature in statement.like.options:
        if feature == "ALL":
            for f in features:
                verbs[f] = verb if not (verb == "INCLUDING" and f == "OPTIONS") else "OVERWRITING"
    for verb, feature in statement.like.options:
        if feature in features:
            verbs[feature] = verb
    names = {c.name for c in statement.columns}
    taken: list[ColumnDef] = []
    for c in base.columns:
        kind = "GENERATED" if c.computed is not None else "METADATA" if c.metadata is not None else None
        if kind is not None and verbs[kind] == "EXCLUDING":
            continue
        if c.name not in names:
            taken.append(c)
    options = {} if verbs["OPTIONS"] == "EXCLUDING" else base.option_map
    options.update(dict(statement.options))
    take_watermark = statement.watermark is None and verbs["WATERMARKS"] != "EXCLUDING"
    take_key = not statement.primary_key and verbs["CONSTRAINTS"] != "EXCLUDING"
    take_partitions = not statement.partitioned_by and verbs["PARTITIONS"] != "EXCLUDING"
    return replace(
        statement,
        columns=(*taken, *statement.columns),
        watermark=base.watermark if take_watermark else statement.watermark,
        primary_key=base.primary_key if take_key else statement.primary_key,
        partitioned_by=base.partitioned_by if take_partitions else statement.partitioned_by,
        options=tuple(options.items()),
        like=None,
    )


__all__ = ["STANDARD_INPUT", "Files", "Function", "Table", "View", "like", "looks_like_files", "quoted", "text"]
