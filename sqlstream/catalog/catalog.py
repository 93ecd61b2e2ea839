"""Names and what they stand for. Kept in memory, or as a directory of `.sql` text that a person can read.

There is one catalog and one database as yet (`default_catalog.default_database`); names may be written with them.
Temporary objects hide permanent ones of the same name and are never kept.
"""

from __future__ import annotations

import os
from pathlib import Path

from sqlstream.catalog.objects import Function, Table, View
from sqlstream.errors import BindError, Position, RunError, did_you_mean

CATALOG, DATABASE = "default_catalog", "default_database"
FILE = "catalog.sql"

Object = Table | View | Function


class Catalog:
    """Tables and views share one space of names; functions have their own (names fold case, as in Flink)."""

    def __init__(self) -> None:
        self._relations: dict[bool, dict[str, Table | View]] = {False: {}, True: {}}
        self._functions: dict[bool, dict[str, Function]] = {False: {}, True: {}}

    def copy(self) -> Catalog:
        """The same names; changes to one do not show in the other."""
        made = Catalog()
        made._relations = {k: dict(v) for k, v in self._relations.items()}
        made._functions = {k: dict(v) for k, v in self._functions.items()}
        return made

    # ---- reading

    def relation(self, name: tuple[str, ...], position: Position | None = None) -> Table | View:
        """The table or view; BindError with the nearest names."""
        found = self.find(local(name, position))
        if found is None:
            raise BindError(
                f"there is no table or view '{'.'.join(name)}'",
                hint=did_you_mean(name[-1], self.names(), "tables and views"),
                position=position,
            )
        return found

    def find(self, name: str) -> Table | View | None:
        return self._relations[True].get(name) or self._relations[False].get(name)

    def function(self, name: str) -> Function | None:
        key = name.lower()
        return self._functions[True].get(key) or self._functions[False].get(key)

    def names(self) -> list[str]:
        return sorted({*self._relations[False], *self._relations[True]})

    def tables(self) -> list[str]:
        """SHOW TABLES: views are in it, as in Flink."""
        return self.names()

    def views(self) -> list[str]:
        return [n for n in self.names() if isinstance(self.find(n), View)]

    def functions(self) -> list[str]:
        return sorted({f.name for space in self._functions.values() for f in space.values()})

    # ---- writing

    def add(self, item: Object, if_not_exists: bool = False, position: Position | None = None) -> bool:
        """True when added; an existing name is an error unless `if_not_exists`."""
        if isinstance(item, Function):
            functions = self._functions[item.temporary]
            if item.name.lower() in functions:
                if if_not_exists:
                    return False
                raise BindError(f"function '{item.name}' exists already", position=position)
            functions[item.name.lower()] = item
            return True
        space = self._relations[item.temporary]
        if item.name in space:
            if if_not_exists:
                return False
            raise BindError(
                f"'{item.name}' exists already", hint="DROP it first, or CREATE … IF NOT EXISTS", position=position
            )
        space[item.name] = item
        return True

    def drop(self, kind: str, name: tuple[str, ...], temporary: bool, if_exists: bool, position: Position) -> None:
        """DROP {TABLE|VIEW|FUNCTION}."""
        short = local(name, position)
        if kind == "FUNCTION":
            functions = self._functions[temporary]
            if functions.pop(short.lower(), None) is None and not if_exists:
                raise BindError(
                    f"there is no {'temporary ' if temporary else ''}function '{short}'",
                    hint=did_you_mean(short, self.functions(), "functions"),
                    position=position,
                )
            return
        wanted = Table if kind == "TABLE" else View
        space = self._relations[temporary]
        found = space.get(short)
        if isinstance(found, wanted):
            del space[short]
            return
        if found is not None:
            other = "view" if wanted is Table else "table"
            raise BindError(f"'{short}' is a {other}", hint=f"DROP {other.upper()} {short}", position=position)
        if if_exists:
            return
        hidden = self._relations[not temporary].get(short)
        if hidden is not None:
            hint = f"DROP {'TEMPORARY ' if not temporary else ''}{kind} {short}"
        else:
            hint = did_you_mean(short, self.names(), "tables and views")
        raise BindError(
            f"there is no {'temporary ' if temporary else ''}{kind.lower()} '{short}'", hint=hint, position=position
        )

    # ---- on disk

    def save(self, directory: Path) -> None:
        """Writes the permanent objects, whole and atomically, readable by their owner only (options hold secrets)."""
        parts = [f.ddl() for f in self._functions[False].values()]
        parts += [t.ddl(hide_secrets=False) for t in self._relations[False].values() if isinstance(t, Table)]
        parts += [v.ddl() for v in self._relations[False].values() if isinstance(v, View)]
        target = directory / FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            temporary = target.with_suffix(".tmp")
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as f:
                f.write("".join(p + ";\n\n" for p in parts))
                f.flush()
                os.fsync(f.fileno())
            os.replace(temporary, target)
        except OSError as e:
            raise RunError(f"catalog cannot be written: {target}: {e.strerror}") from None


def local(name: tuple[str, ...], position: Position | None = None) -> str:
    """The last part of a name whose catalog and database, if written, are the default ones."""
    qualifiers = name[:-1]
    if qualifiers and qualifiers not in ((DATABASE,), (CATALOG, DATABASE)):
        raise BindError(
            f"there is no database '{'.'.join(qualifiers)}'",
            hint=f"there is one database, {CATALOG}.{DATABASE}; leave it out",
            position=position,
        )
    return name[-1]
