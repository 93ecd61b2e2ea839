"""`%load_ext sqlstream` in IPython and Jupyter: SQL in cells.

    %%sqlstream                        rows that end: a table; others: a live view until the kernel's stop button
    SELECT …

    x = %sqlstream SELECT 1 AS a       the result as a value (`sqlstream.Relation`)
    %%sqlstream -o x -c connection     … of a cell, as variable x; on a connection of yours

Variables of the notebook that are frames or Arrow data are tables, as they are for `execute`.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Any

from IPython.core.magic import Magics, line_cell_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from IPython.display import display

from sqlstream.dbapi import Connection, Cursor, Error, FetchTimeout, ProgrammingError, Relation, default_connection
from sqlstream.dbapi.html import SHOWN, html_table, shown

_REFRESH = 0.25  # seconds between two pictures


class LiveView:
    """What a continuous query has given: the last rows, or, where rows change, the result as it is now."""

    def __init__(self, cursor: Cursor, most: int) -> None:
        self._cursor = cursor
        self._most = most
        self._last: deque[tuple[Any, ...]] = deque(maxlen=most)
        self._now: Counter[tuple[str, ...]] = Counter()  # rows that change, by their texts: values need not be hashable
        self._values: dict[tuple[str, ...], tuple[Any, ...]] = {}
        self.changes = 0
        self.running = True
        self._changing = cursor.changelog == "column" and cursor.changing
        names = [d[0] for d in cursor.description or ()]
        self.columns = names[1:] if self._changing else names
        self._types = cursor.types[1:] if self._changing else cursor.types

    def follow(self, seconds: float | None, show: Any) -> None:
        """Takes rows and calls `show` after some, until the query ends, `seconds` are over, or Ctrl-C."""
        self._cursor.timeout = _REFRESH
        until = None if seconds is None else time.monotonic() + seconds
        drawn = 0.0
        try:
            while until is None or time.monotonic() < until:
                try:
                    batch = self._cursor.fetch_record_batch()
                except FetchTimeout:
                    batch = False
                if batch is None:
                    break
                if batch:
                    self._add(batch)
                if time.monotonic() - drawn >= _REFRESH:
                    show(self)
                    drawn = time.monotonic()
        except KeyboardInterrupt:
            pass  # that is how it is stopped
        finally:
            self.running = False
            self._cursor.close()
        show(self)

    def _add(self, batch: Any) -> None:
        self.changes += batch.num_rows
        if not self._changing:
            self._last.extend(self._cursor.python_rows(batch.slice(max(batch.num_rows - self._most, 0))))
            return
        for kind, *values in self._cursor.python_rows(batch):
            key = tuple(map(str, values))
            if kind in ("+I", "+U"):
                self._now[key] += 1
                self._values[key] = tuple(values)
            else:
                self._now[key] -= 1
                if self._now[key] <= 0:
                    del self._now[key], self._values[key]

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """The rows that are shown."""
        if not self._changing:
            return list(self._last)
        return [self._values[k] for k, n in list(self._now.items())[: self._most] for _ in range(n)][: self._most]

    @property
    def note(self) -> str:
        """How far it is."""
        what = "change" if self._changing else "row"
        state = "running: the stop button ends it" if self.running else "stopped"
        total = f", {sum(self._now.values()):,} rows now" if self._changing else ""
        return f"{self.changes:,} {what}{'' if self.changes == 1 else 's'}{total}; {state}"

    def _repr_html_(self) -> str:
        return html_table(self.columns, self._types, self.rows, self.note)

    def __repr__(self) -> str:
        lines = [" | ".join(self.columns), *(" | ".join(map(shown, r)) for r in self.rows), f"({self.note})"]
        return "\n".join(lines)


@magics_class
class SqlStreamMagics(Magics):
    """%sqlstream and %%sqlstream."""

    @magic_arguments()
    @argument("-o", "--output", metavar="NAME", help="the variable that takes the result, which is not shown then")
    @argument("-c", "--connection", metavar="NAME", help="the variable that has the connection")
    @argument("-n", "--rows", type=int, default=SHOWN, help="how many rows a live view shows")
    @argument("-s", "--seconds", type=float, help="how long a live view goes on")
    @line_cell_magic
    def sqlstream(self, line: str, cell: str | None = None) -> Relation | None:
        """Runs SQL."""
        given = parse_argstring(self.sqlstream, "" if cell is None else line)
        try:
            return self._run(line if cell is None else cell, given)
        except Error as e:
            raise _Shown(str(e)) from None

    def _run(self, sql: str, given: Any) -> Relation | None:
        cursor = self._connection(given.connection).cursor()
        cursor.executescript_for(self.shell.user_ns, sql)
        if cursor.description is None:
            return None
        view = LiveView(cursor, given.rows) if cursor.endless else None
        if view is not None:
            view.follow(given.seconds, _Picture(self.shell).show)
        result = view or Relation(cursor)
        if given.output is not None:
            self.shell.user_ns[given.output] = result
            return None
        return result if isinstance(result, Relation) else None  # a view is on the screen already

    def _connection(self, name: str | None) -> Connection:
        if name is None:
            return default_connection()
        found = self.shell.user_ns.get(name)
        if not isinstance(found, Connection):
            raise ProgrammingError(f"{name} is no variable with a connection: {name} = sqlstream.connect()")
        return found


class _Shown(Exception):
    """An error of SQL: what is wrong and where, and no frames of the program."""

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


class _Picture:
    """One place of the notebook that is drawn again and again; in a terminal, which has none, the last picture alone."""

    def __init__(self, shell: Any) -> None:
        self._moves = hasattr(shell, "kernel")
        self._handle: Any = None

    def show(self, view: LiveView) -> None:
        """Draws it."""
        if self._handle is not None:
            self._handle.update(view)
        elif self._moves:
            self._handle = display(view, display_id=True)
        elif not view.running:
            display(view)


def load(shell: Any) -> None:
    """For %load_ext."""
    shell.register_magics(SqlStreamMagics)
