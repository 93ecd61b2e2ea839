"""What a catalog holds: tables, views and functions, as frozen descriptions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlstream.options import shown
from sqlstream.sql.ast import exp
from sqlstream.sql.statements import ColumnDef, CreateTable, Options, WatermarkDef
from sqlstream.types import Column, Schema


@dataclass(frozen=True)
class Table:
    """A table: its columns as declared, and how to reach it. `working_directory` resolves relative paths."""

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

    @property
    def option_map(self) -> dict[str, str]:
        return dict(self.options)

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
        out = (
            f"CREATE {'TEMPORARY ' if self.temporary else ''}TABLE {quoted(self.name)} (\n" + ",\n".join(lines) + "\n)"
        )
        if self.comment:
            out += f"\nCOMMENT {text(self.comment)}"
        if self.partitioned_by:
            out += f"\nPARTITIONED BY ({', '.join(quoted(k) for k in self.partitioned_by)})"
        options = shown(self.option_map) if hide_secrets else self.option_map
        if options:
            out += "\nWITH (\n" + ",\n".join(f"  {text(k)} = {text(v)}" for k, v in options.items()) + "\n)"
        return out


@dataclass(frozen=True)
class View:
    """A named query. Bound anew at each use, with the catalog of then."""

    name: str
    query: exp.Expression
    query_text: str
    columns: tuple[str, ...] = ()
    comment: str | None = None
    temporary: bool = False

    def ddl(self) -> str:
        columns = f" ({', '.join(quoted(c) for c in self.columns)})" if self.columns else ""
        comment = f"\nCOMMENT {text(self.comment)}" if self.comment else ""
        kind = "TEMPORARY VIEW" if self.temporary else "VIEW"
        return f"CREATE {kind} {quoted(self.name)}{columns}{comment} AS\n{self.query_text}"


@dataclass(frozen=True)
class Function:
    """A Python scalar function under an SQL name."""

    name: str
    path: str
    temporary: bool = False

    def ddl(self) -> str:
        kind = "TEMPORARY FUNCTION" if self.temporary else "FUNCTION"
        return f"CREATE {kind} {quoted(self.name)} AS {text(self.path)} LANGUAGE PYTHON"


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


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


__all__ = ["Function", "Table", "View", "like", "quoted", "text"]
