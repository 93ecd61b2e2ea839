"""Names and what they stand for. Kept in memory, or as a directory of `.sql` text that a person can read.

There is one catalog, with databases. What is in it is known by its identity (`databases.identity`), and what a name means is
resolved by the database that is current.
Temporary objects hide permanent ones of the same name and are never kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlstream.catalog import information_schema
from sqlstream.catalog.databases import DATABASE, Database, check_catalog, database_of, identity, quoted
from sqlstream.catalog.objects import Files, Function, Table, View, looks_like_files
from sqlstream.errors import BindError, NotSupported, Position, RunError, SqlStreamError, did_you_mean
from sqlstream.own_files import LARGE, read_text, replace_text
from sqlstream.sql.statements import FileName, Options

FILE = "catalog.sql"

Object = Table | View | Function


class Catalog:
    """Tables and views share one space of names; functions have their own (names fold case, as in Flink)."""

    def __init__(self) -> None:
        self._relations: dict[bool, dict[str, Table | View]] = {False: {}, True: {}}
        self._functions: dict[bool, dict[str, Function]] = {False: {}, True: {}}
        self._databases: dict[str, Database] = {DATABASE: Database(DATABASE)}
        self._kept = _Kept()
        self.current = DATABASE  # the database that names mean which say none
        self._session: str | None = None  # that of the session, where names are resolved as in a view's text
        self.otherwise: Callable[[str], Table | None] | None = None  # asked for a table that is not there
        self.files: Callable[[Files], Table] | None = None  # who makes tables of files that nobody declared

    def copy(self) -> Catalog:
        """The same names; changes to one do not show in the other."""
        made = Catalog()
        made._relations = {k: dict(v) for k, v in self._relations.items()}
        made._functions = {k: dict(v) for k, v in self._functions.items()}
        made._databases = dict(self._databases)
        made._kept = replace(self._kept)
        made.current = self.current
        return made

    def shared(self) -> Catalog:
        """The same names, for another session: changes to one show in the other."""
        made = Catalog()
        made._relations, made._functions, made._kept = self._relations, self._functions, self._kept
        made._databases, made.current = self._databases, self.current
        return made

    # ---- databases

    def databases(self) -> list[str]:
        """Their names, sorted; information_schema, which nobody made, is not among them."""
        return sorted(self._databases)

    def database(self, name: tuple[str, ...], position: Position | None = None) -> Database:
        """The database of a name, `[catalog.]database`; the current one of (). BindError where there is none."""
        name = name or (self.current,)
        if information_schema.is_named(name[-1]):
            database_of((*name[:-1], DATABASE), self._databases, position)  # its catalog
            return Database(information_schema.NAME, "what the catalog holds")
        return self._databases[database_of(name, self._databases, position)]

    def _refuse_information(self, database: str, position: Position | None) -> None:
        """BindError of the database that is changed by no one."""
        if database == information_schema.NAME:
            raise NotSupported(
                f"{database} shows what the catalog holds: nothing is made, changed or dropped in it",
                hint="name a database: default_database.t",
                position=position,
                subject=database,
            )

    @property
    def session_database(self) -> str:
        """The database that is current in the session, also while names mean those of another."""
        return self._session or self.current

    def at(self, database: str) -> Catalog:
        """The same, where names mean those of that database."""
        if database == self.current:
            return self
        made = self.shared()
        made.current, made._session = database, self.session_database
        made.otherwise, made.files = self.otherwise, self.files
        return made

    def create_database(self, database: Database, if_not_exists: bool, position: Position) -> bool:
        """True when made; one that is there is an error unless `if_not_exists`."""
        name = database.name
        self._refuse_information(name.lower(), position)
        if name in self._databases:
            if if_not_exists:
                return False
            hint = "CREATE DATABASE IF NOT EXISTS, or ALTER DATABASE"
            raise BindError(f"database '{name}' exists already", hint=hint, position=position, subject=name)
        self._databases[name] = database
        return True

    def alter_database(self, database: Database) -> None:
        """Another description of one that is there."""
        self._refuse_information(database.name, None)
        self._databases[database.name] = database

    def drop_database(self, name: tuple[str, ...], cascade: bool, position: Position) -> None:
        """With all that is in it, where it may be (`cascade`)."""
        found = self.database(name, position).name
        self._refuse_information(found, position)
        if found in (DATABASE, self.current):
            why = "is the default one" if found == DATABASE else "is the current one"
            hint = "it stays" if found == DATABASE else f"USE {DATABASE}; DROP DATABASE {found}"
            raise NotSupported(
                f"database '{found}' {why}: it cannot be dropped", hint=hint, position=position, subject=found
            )
        inside = [o.name for o in self.objects() if o.database == found]
        if inside and not cascade:
            raise BindError(
                f"database '{found}' is not empty: tables, views and functions of it: {len(inside)}",
                hint=f"SHOW TABLES FROM {found}; DROP DATABASE {found} CASCADE drops all with it",
                position=position,
                subject=found,
            )
        others = [o.name for o in self.objects() if not isinstance(o, Function) and found == o.within != o.database]
        if others:
            raise BindError(
                f"database '{found}' was current when {', '.join(others)} was made, whose text may name what is in it",
                hint="drop that first",
                position=position,
                subject=found,
            )
        spaces: tuple[dict[str, Any], ...] = (*self._relations.values(), *self._functions.values())
        for space in spaces:
            for key in [k for k, o in space.items() if o.database == found]:
                del space[key]
        del self._databases[found]

    def objects(self) -> list[Object]:
        """All there is, in the order in which it was made: what is temporary last."""
        relations = [o for temporary in (False, True) for o in self._relations[temporary].values()]
        return [*relations, *(f for temporary in (False, True) for f in self._functions[temporary].values())]

    def knows(self, name: tuple[str, ...]) -> bool:
        """Whether there is a database of this name, `[catalog.]database`; the current one, (), is there."""
        try:
            self.database(name)
        except BindError:
            return False
        return True

    def use_catalog(self, name: str, position: Position | None = None) -> None:
        """USE CATALOG: of the one there is the current database stays."""
        check_catalog(name, position)

    def use(self, name: tuple[str, ...], position: Position | None = None) -> None:
        """USE: names that say no database mean this one's from here on."""
        self.current = self.database(name, position).name

    def identity(self, name: tuple[str, ...], position: Position | None = None) -> str:
        """What the object of a name is known by here, be there one or not. BindError where there is no such database."""
        return self.place(name, position)[0]

    def place(self, name: tuple[str, ...], position: Position | None = None) -> tuple[str, str]:
        """The identity, and the database, that a name means here. BindError where there is no such database."""
        if len(name) == 1 and name[0].startswith("$"):  # it stands for a parameter
            return name[0], DATABASE
        database = self.database(name[:-1], position).name
        last = name[-1].lower() if database == information_schema.NAME else name[-1]
        return identity(database, last), database

    # ---- reading

    def relation(self, name: tuple[str, ...], position: Position | None = None, options: Options = ()) -> Table | View:
        """The table or view; BindError with the nearest names. `options`: of a hint, they win over the table's."""
        if isinstance(name[0], FileName):
            return self.table_of(Files(name[0], options), position)
        found = self.find(self.identity(name, position))
        if found is None and len(name) == 1:
            if self.otherwise is not None:
                found = self.otherwise(name[0])
            if found is None and self.files is not None and looks_like_files(name[0]):
                return self.table_of(Files(name[0], options), position)
        if found is None:
            raise BindError(
                f"there is no table or view '{'.'.join(name)}'",
                hint=self._near(name),
                position=position,
                subject=name[-1],
            )
        if not options:
            return found
        if isinstance(found, View):
            raise BindError(
                f"hint OPTIONS: '{found.name}' is a view, which has none",
                hint="the hint stands behind a table's name, also within the view",
                position=position,
            )
        return replace(found, options=tuple({**found.option_map, **dict(options)}.items()))

    def table_of(self, files: Files, position: Position | None = None) -> Table:
        """The table that files are, their columns told from what is in them."""
        if self.files is None:
            raise BindError(f"'{files.path}': files without CREATE TABLE are for sessions", position=position)
        try:
            return self.files(files)
        except SqlStreamError as e:
            e.position = e.position or position
            raise

    def find(self, name: str) -> Table | View | None:
        """The table or view, the temporary one first; None when there is none. `name` is an identity, and case counts."""
        found = self._relations[True].get(name) or self._relations[False].get(name)
        return information_schema.TABLES.get(name) if found is None else found

    def function(self, name: str) -> Function | None:
        """The function, the temporary one first; None when there is none. `name` as a call has it, `[[catalog.]database.]name`."""
        *qualifiers, last = name.split(".")
        found = self._function(identity(self.current, name)) or self._function(name, system=True)
        if found is None and qualifiers and self.knows(tuple(qualifiers)):
            found = self._function(self.identity((*qualifiers, last)))
        return found

    def _function(self, name: str, system: bool = False) -> Function | None:
        key = name.lower()
        found = self._functions[True].get(key) or self._functions[False].get(key)
        return None if found is None or system and not found.system else found

    def names(self) -> list[str]:
        """The identities of all tables and views, sorted; not of those that stand for parameters."""
        return sorted(n for n in {*self._relations[False], *self._relations[True]} if not n.startswith("$"))

    def tables(self, database: str | None = None) -> list[str]:
        """SHOW TABLES: the names in a database (None: the current one), sorted; views are in it, as in Flink."""
        return sorted(found.local_name for found in self._found(database))

    def views(self, database: str | None = None) -> list[str]:
        """The names that mean a view, sorted: a view that a temporary table hides is not in it."""
        return sorted(found.local_name for found in self._found(database) if isinstance(found, View))

    def functions(self, database: str | None = None) -> list[str]:
        """Users' functions that a database has or that are of none, as they were written, sorted; Flink's own are not in the
        catalog."""
        wanted = database or self.current
        return sorted({f.local_name for f in self.all_functions() if f.system or f.database == wanted})

    def all_functions(self) -> list[Function]:
        """Users' functions of all databases, by name; a temporary one in place of one that it hides."""
        return [f for _, f in sorted({**self._functions[False], **self._functions[True]}.items())]

    def spelled(self, found: Table | View) -> str:
        """How a table or view is called from here, without quotes: those of other databases with them."""
        return found.local_name if found.database == self.current else ".".join(found.path)

    def _found(self, database: str | None) -> list[Table | View]:
        if (database or self.current) == information_schema.NAME:
            return list(information_schema.TABLES.values())
        found = (self.find(n) for n in self.names())
        return [f for f in found if f is not None and f.database == (database or self.current)]

    def _near(self, name: tuple[str, ...]) -> str:
        """A hint for a table or view that there is not: of its name in another database, or of names that are like it."""
        database = self.database(name[:-1]).name
        there = [f for n in self.names() if (f := self.find(n)) is not None]
        elsewhere = [".".join(f.path) for f in there if f.local_name == name[-1]]
        if elsewhere:
            return f"there is {' and '.join(elsewhere)}"
        return did_you_mean(name[-1], [f.local_name for f in there if f.database == database], "tables and views")

    # ---- writing

    def add(
        self, item: Object, if_not_exists: bool = False, position: Position | None = None, or_replace: bool = False
    ) -> bool:
        """True when added; an existing name is an error unless `if_not_exists`, or `or_replace` for one of its kind."""
        self._refuse_information(item.database, position)
        self._refuse_like(item, position)
        if isinstance(item, Function):
            functions = self._functions[item.temporary]
            if item.name.lower() in functions and not or_replace:
                if if_not_exists:
                    return False
                raise BindError(f"function '{item.name}' exists already", position=position)
            functions[item.name.lower()] = item
            return True
        space = self._relations[item.temporary]
        there = space.get(item.name)
        if there is not None and not (or_replace and isinstance(there, type(item))):
            if if_not_exists:
                return False
            hint = "DROP it first, or CREATE OR REPLACE, or CREATE … IF NOT EXISTS"
            if or_replace:
                hint = f"it is a {'view' if isinstance(there, View) else 'table'}: DROP it first"
            raise BindError(f"'{item.name}' exists already", hint=hint, position=position, subject=item.name)
        space[item.name] = item
        return True

    def _refuse_like(self, item: Object, position: Position | None) -> None:
        """BindError where another object has the same identity: `a.b` of the default database, and b of database a."""
        taken = self._function(item.name) if isinstance(item, Function) else self.find(item.name)
        if taken is not None and taken.database != item.database:
            raise BindError(
                f"'{item.name}' of {item.database} and of {taken.database} cannot be told from each other",
                hint="choose a name without a dot",
                position=position,
            )

    def replace(self, item: Table | View) -> None:
        """Another description of a table or view that is there, in its place."""
        self._refuse_information(item.database, None)
        self._relations[item.temporary][item.name] = item

    def rename(self, item: Table | View, to: tuple[str, ...], position: Position) -> None:
        """Another name for it, in its database; views that read it under the old one have to be made anew."""
        self._refuse_information(item.database, position)
        if self.database(to[:-1], position).name != item.database:
            raise NotSupported(
                f"'{item.name}' cannot be moved to another database",
                hint=f"CREATE TABLE … LIKE {item.name}, and DROP this one",
                position=position,
            )
        space, name = self._relations[item.temporary], identity(item.database, to[-1])
        if name == item.name:
            raise BindError(f"'{name}' is its name", hint="RENAME TO another one", position=position, subject=to[-1])
        if name in space:
            hint = "RENAME TO another one"
            raise BindError(f"'{name}' exists already", hint=hint, position=position, subject=to[-1])
        renamed = replace(item, name=name)
        self._refuse_like(renamed, position)
        others = dict(space)
        space.clear()
        space.update((name, renamed) if n == item.name else (n, other) for n, other in others.items())

    def drop(
        self,
        kind: str,
        name: tuple[str, ...],
        temporary: bool,
        if_exists: bool,
        position: Position,
        system: bool = False,
    ) -> None:
        """DROP {TABLE|VIEW|FUNCTION}; `system`: a function of no database."""
        if if_exists and not self.knows(name[:-1]):
            return
        short, database = (name[-1], "") if system else self.place(name, position)
        self._refuse_information(database, position)
        if kind == "FUNCTION":
            functions = self._functions[temporary]
            if functions.pop(short.lower(), None) is None and not if_exists:
                raise BindError(
                    f"there is no {'temporary ' if temporary else ''}function '{short}'",
                    hint=did_you_mean(name[-1], self.functions(), "functions"),
                    position=position,
                    subject=name[-1],
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
            raise BindError(
                f"'{short}' is a {other}", hint=f"DROP {other.upper()} {short}", position=position, subject=name[-1]
            )
        if if_exists:
            return
        hidden = self._relations[not temporary].get(short)
        hint = f"DROP {'TEMPORARY ' if not temporary else ''}{kind} {short}" if hidden is not None else self._near(name)
        raise BindError(
            f"there is no {'temporary ' if temporary else ''}{kind.lower()} '{short}'",
            hint=hint,
            position=position,
            subject=name[-1],
        )

    def forget_temporary(self, name: str) -> None:
        """Drops the temporary table or view, if it is there."""
        self._relations[True].pop(name, None)

    # ---- on disk

    def was_read(self, text: str) -> None:
        """The permanent objects are those of this text, which `kept_catalog` gave."""
        self._kept.there, self._kept.written = text, self._text()

    def save(self, directory: Path) -> None:
        """Writes the permanent objects, if there are others than before: whole and atomically, readable by their owner only
        (options hold secrets). RunError where somebody else has written since: what they did is not undone."""
        text = self._text()
        if text == self._kept.written:
            return
        target = directory / FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with _alone(directory):
                if kept_catalog(directory) != self._kept.there:
                    raise RunError(
                        f"{target} was changed by another process after this session had read it: it is left as it is",
                        hint="begin again: a new session reads it",
                    )
                replace_text(target, text, mode=0o600)
        except OSError as e:
            raise RunError(f"catalog cannot be written: {target}: {e.strerror}") from None
        self._kept.there = self._kept.written = text

    def _text(self) -> str:
        """The statements that make the permanent objects."""
        parts = [d.ddl() for d in self._databases.values() if d != Database(DATABASE)]
        parts += [f.ddl() for f in self._functions[False].values()]
        current = DATABASE
        for kind in (Table, View):
            for item in self._relations[False].values():
                if not isinstance(item, kind):
                    continue
                if item.within != current:
                    current = item.within
                    parts.append(f"USE {quoted(current)}")
                parts.append(item.ddl(hide_secrets=False) if isinstance(item, Table) else item.ddl())
        return "".join(p + ";\n\n" for p in parts)


@dataclass
class _Kept:
    """What the file has had in it when this process saw it last (`there`; None: there was none), and the objects that it is
    as they are `written`."""

    there: str | None = None
    written: str = ""


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Others that write into this directory so wait."""
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # file systems that have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def kept_catalog(directory: Path) -> str | None:
    """The statements that `Catalog.save` wrote; None when there are none. RunError when they cannot be read."""
    file = directory / FILE
    try:
        return read_text(file, LARGE)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        reason = (e.strerror if isinstance(e, OSError) else None) or str(e)
        raise RunError(
            f"catalog cannot be read: {file}: {reason}", hint="mend the file, or remove it: its tables are then gone"
        ) from None
