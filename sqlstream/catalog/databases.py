"""Databases: spaces of names within the one catalog there is, and names as they are written: [catalog.][database.]name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlstream.errors import BindError, Position, did_you_mean

CATALOG, DATABASE = "default_catalog", "default_database"


@dataclass(frozen=True)
class Database:
    """A space of names, and what was said of it."""

    name: str
    comment: str | None = None


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
