"""Names and what they stand for. Kept in memory, or as a directory of `.sql` text that a person can read.

There is one catalog, and one database as yet (`default_catalog.default_database`); names may be written with them.
Temporary objects hide permanent ones of the same name and are never kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sqlstream.catalog.databases import DATABASE, Database, check_catalog, database_of
from sqlstream.catalog.objects import Files, Function, Table, View, looks_like_files
from sqlstream.errors import BindError, Position, RunError, SqlStreamError, did_you_mean
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
        """Their names, sorted."""
        return sorted(self._databases)

    def database(self, name: tuple[str, ...], position: Position | None = None) -> Database:
        """The database of a name, `[catalog.]database`; the current one of (). BindError where there is none."""
        return self._databases[database_of(name, self._databases, position) if name else self.current]

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

    def local(self, name: tuple[str, ...], position: Position | None = None) -> str:
        """The last part of a name, whose database there is."""
        self.database(name[:-1], position)
        return name[-1]

    # ---- reading

    def relation(self, name: tuple[str, ...], position: Position | None = None, options: Options = ()) -> Table | View:
        """The table or view; BindError with the nearest names. `options`: of a hint, they win over the table's."""
        if isinstance(name[0], FileName):
            return self.table_of(Files(name[0], options), position)
        found = self.find(self.local(name, position))
        if found is None and len(name) == 1:
            if self.otherwise is not None:
                found = self.otherwise(name[0])
            if found is None and self.files is not None and looks_like_files(name[0]):
                return self.table_of(Files(name[0], options), position)
        if found is None:
            raise BindError(
                f"there is no table or view '{'.'.join(name)}'",
                hint=did_you_mean(name[-1], self.names(), "tables and views"),
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
        """The table or view, the temporary one first; None when there is none. `name` is one part, and case counts."""
        return self._relations[True].get(name) or self._relations[False].get(name)

    def function(self, name: str) -> Function | None:
        """The function, the temporary one first; None when there is none. `name` as a call has it, `[[catalog.]database.]name`."""
        return self._function(name) or self._function(self._without_database(name))

    def _function(self, name: str) -> Function | None:
        key = name.lower()
        return self._functions[True].get(key) or self._functions[False].get(key)

    def _without_database(self, name: str) -> str:
        """A function's own name in a qualified one of a database that there is."""
        *qualifiers, last = name.split(".")
        return last if qualifiers and self.knows(tuple(qualifiers)) else name

    def names(self) -> list[str]:
        """All tables and views, sorted; not those that stand for parameters."""
        return sorted(n for n in {*self._relations[False], *self._relations[True]} if not n.startswith("$"))

    def tables(self) -> list[str]:
        """SHOW TABLES: views are in it, as in Flink."""
        return self.names()

    def views(self) -> list[str]:
        """The names that mean a view, sorted: a view that a temporary table hides is not in it."""
        return [n for n in self.names() if isinstance(self.find(n), View)]

    def functions(self) -> list[str]:
        """Users' functions as they were written, sorted; Flink's own are not in the catalog."""
        return sorted({f.name for space in self._functions.values() for f in space.values()})

    # ---- writing

    def add(
        self, item: Object, if_not_exists: bool = False, position: Position | None = None, or_replace: bool = False
    ) -> bool:
        """True when added; an existing name is an error unless `if_not_exists`, or `or_replace` for one of its kind."""
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

    def replace(self, item: Table | View) -> None:
        """Another description of a table or view that is there, in its place."""
        self._relations[item.temporary][item.name] = item

    def rename(self, item: Table | View, name: str, position: Position) -> None:
        """Another name for it; views that read it under the old one have to be made anew."""
        space = self._relations[item.temporary]
        if name == item.name:
            raise BindError(f"'{name}' is its name", hint="RENAME TO another one", position=position, subject=name)
        if name in space:
            raise BindError(f"'{name}' exists already", hint="RENAME TO another one", position=position, subject=name)
        others = dict(space)
        space.clear()
        space.update((name, replace(item, name=name)) if n == item.name else (n, other) for n, other in others.items())

    def drop(self, kind: str, name: tuple[str, ...], temporary: bool, if_exists: bool, position: Position) -> None:
        """DROP {TABLE|VIEW|FUNCTION}."""
        if if_exists and not self.knows(name[:-1]):
            return
        short = self.local(name, position)
        if kind == "FUNCTION":
            functions = self._functions[temporary]
            if functions.pop(short.lower(), None) is None and not if_exists:
                raise BindError(
                    f"there is no {'temporary ' if temporary else ''}function '{short}'",
                    hint=did_you_mean(short, self.functions(), "functions"),
                    position=position,
                    subject=short,
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
                f"'{short}' is a {other}", hint=f"DROP {other.upper()} {short}", position=position, subject=short
            )
        if if_exists:
            return
        hidden = self._relations[not temporary].get(short)
        if hidden is not None:
            hint = f"DROP {'TEMPORARY ' if not temporary else ''}{kind} {short}"
        else:
            hint = did_you_mean(short, self.names(), "tables and views")
        raise BindError(
            f"there is no {'temporary ' if temporary else ''}{kind.lower()} '{short}'",
            hint=hint,
            position=position,
            subject=short,
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
        parts = [f.ddl() for f in self._functions[False].values()]
        parts += [t.ddl(hide_secrets=False) for t in self._relations[False].values() if isinstance(t, Table)]
        parts += [v.ddl() for v in self._relations[False].values() if isinstance(v, View)]
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
