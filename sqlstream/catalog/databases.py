"""Databases: spaces of names within the one catalog there is, and names as they are written: [catalog.][database.]name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlstream.errors import BindError, Position, did_you_mean
from sqlstream.sql.statements import Options

CATALOG, DATABASE = "default_catalog", "default_database"


@dataclass(frozen=True)
class Database:
    """A space of names, and what was said of it. `options` mean nothing to us, and are kept for who wrote them."""

    name: str
    comment: str | None = None
    options: Options = ()

    def ddl(self) -> str:
        """CREATE DATABASE text that makes the same; of the default one, which is there, ALTER DATABASE."""
        if self.name == DATABASE:
            options = ", ".join(f"{text(k)} = {text(v)}" for k, v in self.options)
            return f"ALTER DATABASE {quoted(self.name)} SET ({options})"
        out = f"CREATE DATABASE {quoted(self.name)}"
        if self.comment is not None:
            out += f"\nCOMMENT {text(self.comment)}"
        if self.options:
            out += "\nWITH (\n" + ",\n".join(f"  {text(k)} = {text(v)}" for k, v in self.options) + "\n)"
        return out


def identity(database: str, name: str) -> str:
    """What an object is called in the catalog, in messages and in the state of jobs: those of the default database by their
    name alone, as in versions that knew no other."""
    return name if database == DATABASE else f"{database}.{name}"


def quoted(name: str) -> str:
    """An SQL identifier in backticks."""
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """An SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def check_catalog(name: str, position: Position | None = None) -> None:
    """BindError where there is no such catalog."""
    if name == CATALOG:
        return
    near = did_you_mean(name, [CATALOG])
    raise BindError(
        f"there is no catalog '{name}'",
        hint=near if near.startswith("did you mean") else f"there is one catalog, {CATALOG}",
        position=position,
        subject=name,
    )


def database_of(qualifiers: tuple[str, ...], known: Iterable[str], position: Position | None = None) -> str:
    """The database that `[catalog.]database` names; BindError where there is none of `known` databases."""
    if len(qualifiers) > 2:
        raise BindError(
            f"'{'.'.join(qualifiers)}' is no database: its name has two parts at most",
            hint=f"{CATALOG}.{DATABASE}",
            position=position,
        )
    *catalog, name = qualifiers
    for c in catalog:
        check_catalog(c, position)
    known = tuple(known)
    if name not in known:
        hint = did_you_mean(name, known, "databases")
        if name == CATALOG:
            hint = f"{CATALOG} is the catalog: {CATALOG}.{DATABASE} is a database of it"
        raise BindError(f"there is no database '{name}'", hint=hint, position=position, subject=name)
    return name
