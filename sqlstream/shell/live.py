"""The result of a stream in a view that moves: as it is now, or its last changes; with the keys of Flink's client.

The rows are taken on a thread of their own. The view is drawn anew when it is time, whatever the stream's pace, and when a
key is hit; it ends with Q, with the result where that ends, or with Ctrl-C; then the query and its job have ended, too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent
from prompt_toolkit.layout import FormattedTextControl, Layout, Window
from prompt_toolkit.output import ColorDepth

from sqlstream.cli.boxes import drawn, heads
from sqlstream.cli.cells import Cells
from sqlstream.cli.layout import LEAST, Box, Head, cut, width
from sqlstream.cli.of_jobs import counted
from sqlstream.cli.output import Written
from sqlstream.cli.progress import Watch, windows
from sqlstream.plan.columns import unique_names
from sqlstream.results import Result
from sqlstream.shell.chart import Series
from sqlstream.shell.current import Appended, Changed, Changes, Current, Row
from sqlstream.shell.results import Pulled
from sqlstream.types import STRING, Column, Schema

if TYPE_CHECKING:
    from sqlstream.runtime.job import Job
    from sqlstream.shell.shell import Shell

PACES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)  # seconds between two drawings
_USUAL = PACES.index(0.5)
_SOON = 1.0  # seconds that a result which ends may take without a view
_FRAME = 8  # lines of the screen that are not rows
_REVERSE = "\x1b[7m"
_PLAIN = "\x1b[0m"
_BOLD = "\x1b[1m"
_DIM = "\x1b[2m"


def view(shell: Shell, result: Result, mode: str, most: int, plot: Series | None = None) -> None:
    """Shows a result until the user has seen enough, or to its end; what it was last is printed. `plot`: it begins as one."""
    assert result.schema is not None
    cells = Cells(result.schema, shell.session.settings.time_zone, readable=True)
    try:
        made: type[Current] = Changes if mode == "changelog" else Appended if result.append_only else Changed
        current = made(result.schema, cells, most)
        feed = Feed(result, current)
        started = time.monotonic()
        try:
            if not (result.bounded and _ended(shell, feed, _SOON)):
                Live(shell, result, feed, mode, plot).run()
            shell.stopped = not feed.done
        finally:
            shell.call(feed.close)
        if feed.error is not None:
            raise feed.error
        _print(shell, result, current, mode)
        if shell.session.settings.print_time:
            first = None if feed.first is None else feed.first - started
            noun = "row" if result.append_only else "change"
            done = Written(current.received, (feed.ended or time.monotonic()) - started, first, noun)
            shell.terminal.say(str(done) + ("" if feed.done else "; the query was stopped"))
    finally:
        cells.close()


def _ended(shell: Shell, feed: Feed, seconds: float) -> bool:
    """Whether the result has ended within so many seconds."""
    shell.call(lambda: feed.over.wait(seconds))
    return feed.done


def _print(shell: Shell, result: Result, current: Current, mode: str) -> None:
    """The last rows, where they stay on the screen."""
    most = min(shell.terminal.most_rows or current.count, max(shell.terminal.screen()[1] - _FRAME, 3))
    rows = current.rows(max(current.count - most, 0), current.count)
    columns = heads_of(result, mode)
    box = drawn(shell.terminal, columns, widths(columns, rows), mode == "changelog")
    foot = f"the last {len(rows):,} of {current.count:,}" if len(rows) < current.count else ""
    lines = [*box.head(), *(box.row(r) for r in rows), *box.end(foot)]
    shell.terminal.text("".join(line + "\n" for line in lines))


def heads_of(result: Result, mode: str) -> tuple[Head, ...]:
    """Heads of the columns of a view."""
    assert result.schema is not None
    changes = mode == "changelog"
    schema = Schema(((Column("op", STRING),) if changes else ()) + tuple(result.schema))
    return heads(schema, unique_names(schema), changes)


def widths(columns: tuple[Head, ...], rows: list[Row]) -> list[int]:
    """How wide columns want to be."""
    out = [max(width(h.name), width(h.type) if len(h.type) <= 24 else 0) for h in columns]
    for row in rows:
        out = [max(w, 4 if v is None else width(v)) for w, v in zip(out, row, strict=True)]
    return out


class Feed:
    """Takes a result's rows into what is shown, on a thread."""

    def __init__(self, result: Result, current: Current) -> None:
        self.lock = threading.Lock()  # of `current`
        self.current = current
        self.first: float | None = None  # when the first row came
        self.ended: float | None = None
        self.done = False  # whether the result has ended by itself
        self.over = threading.Event()
        self.on_rows: Callable[[], None] = lambda: None  # the first ones, and the end
        self.error: BaseException | None = None
        self._pulled = Pulled(result)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._closed:
                item: Any = self._pulled.get(0.1)
                if item is None:
                    if self._pulled.done:
                        self.done = self._pulled.error is None and not self._closed
                        self.error = self._pulled.error
                        break
                    continue
                batch, kinds = item
                if not batch.num_rows:
                    continue
                with self.lock:
                    self.current.add(batch, kinds)
                if self.first is None:
                    self.first = time.monotonic()
                    self.on_rows()
        except BaseException as e:
            self.error = e
        self.ended = time.monotonic()
        self.over.set()
        self.on_rows()

    def close(self) -> None:
        """Ends the query, if it has not ended."""
        self._closed = True
        self._pulled.close()
        self._thread.join()


@dataclass
class Looked:
    """What the user looks at. `page` None: the last one, whichever that is; `row`: the one that is marked on it."""

    page: int | None = None
    row: int = 0
    column: int = 0  # the first one that is shown
    order: tuple[int, bool] | None = None
    detail: bool = False
    chart: bool = False
    pace: int = _USUAL
    asked: str | None = None  # digits of a page that is being typed


class Live:
    """The view. `run` returns when it has ended."""

    def __init__(self, shell: Shell, result: Result, feed: Feed, mode: str, plot: Series | None = None) -> None:
        self._terminal = shell.terminal
        self._feed = feed
        self._mode = mode
        self._heads = heads_of(result, mode)
        self._closes = result.bounded  # the view ends with it
        self._look = Looked(chart=plot is not None)
        self._job: Job | None = shell.session.current_job
        self._started = time.monotonic()
        self._watch = None if self._job is None else Watch(windows(self._job.graph), self._started)
        self._status = ""
        self._status_at = 0.0
        self._rows: list[Row] = []
        self._series = plot or Series()
        coloured = shell.terminal.paints
        self._application: Application[None] = Application(
            Layout(Window(FormattedTextControl(self._text, show_cursor=False), wrap_lines=False)),
            key_bindings=self._keys(),
            full_screen=True,
            color_depth=None if coloured else ColorDepth.DEPTH_1_BIT,
        )
        self._over = threading.Event()

    def run(self) -> None:
        """Shows it until Q, Ctrl-C, or its end."""
        self._feed.on_rows = self._moved
        clock = threading.Thread(target=self._tick, name="view", daemon=True)
        clock.start()
        try:
            self._application.run(pre_run=self._moved)
        finally:
            self._feed.on_rows = lambda: None
            self._over.set()
            clock.join()

    # ---- threads

    def _moved(self) -> None:
        """From the feed: the first rows, or the end."""
        loop = self._application.loop
        if self._feed.over.is_set() and (self._closes or self._feed.error is not None) and loop is not None:
            loop.call_soon_threadsafe(self._leave)
        self._application.invalidate()

    def _leave(self) -> None:
        if self._application.is_running and not self._application.is_done:
            self._application.exit()

    def _tick(self) -> None:
        while not self._over.wait(PACES[self._look.pace]):
            self._application.invalidate()

    # ---- the screen

    def _text(self) -> ANSI:
        size = self._application.output.get_size()
        return ANSI("\n".join(self._lines(size.columns, size.rows)))

    def _lines(self, columns: int, lines: int) -> list[str]:
        room = max(lines - _FRAME, 1)
        look = self._look
        with self._feed.lock:
            current = self._feed.current
            count = current.count
            pages = max(-(-count // room), 1)
            page = pages - 1 if look.page is None else min(look.page, pages - 1)
            start = max(count - room, 0) if look.page is None else page * room
            self._rows = current.rows(start, start + room, look.order)
            self._series.take(self._heads, current)
            received, dropped = current.received, current.dropped
        look.row = max(min(look.row, len(self._rows) - 1), 0)
        title = self._title(columns, page, pages, count)
        if look.detail and self._rows:
            body = self._detail(columns, lines - 3)
        elif look.chart:
            body = self._series.lines(columns, lines - 4)
        else:
            body = self._table(columns, room)
        status = self._told(columns, count, received, dropped)
        body = (body + [""] * lines)[: lines - 3]
        return [title, *body, status, self._help(columns)]

    def _title(self, columns: int, page: int, pages: int, count: int) -> str:
        look = self._look
        if look.asked is not None:
            return f"{_BOLD}Go to page: {look.asked}{_PLAIN}"
        name = {"table": "Table", "changelog": "Changelog"}.get(self._mode, self._mode)
        where = f"Page: {'Last' if look.page is None else page + 1} of {pages}"
        left = f"SQL Query Result ({name})   {where}"
        if look.order is not None:
            column, descends = look.order
            left += f"   Sorted: {self._heads[column].name} {'↓' if descends else '↑'}"
        left += f"   Refresh: {PACES[look.pace]:g} s"
        right = f"Updated: {time.strftime('%H:%M:%S')}"
        free = columns - width(left) - width(right)
        return _BOLD + (left + " " * free + right if free > 0 else cut(left, columns)) + _PLAIN

    def _table(self, columns: int, room: int) -> list[str]:
        shown = self._shown(columns)
        wanted = widths(self._heads, self._rows)
        box = drawn(self._terminal, tuple(self._heads[i] for i in shown), [wanted[i] for i in shown], shown[0] == 0
                    and self._mode == "changelog")  # fmt: skip
        lines = box.head()
        for n, row in enumerate(self._rows):
            values = [row[i] for i in shown]
            if n == self._look.row and self._rows:
                plain = Box(box.heads, box.fitted, box.border)
                lines.append(_REVERSE + plain.row(values) + _PLAIN)
            else:
                lines.append(box.row(values))
        return [*lines, *box.end()]

    def _shown(self, columns: int) -> list[int]:
        """The columns that are shown: those from the first one on that the screen holds."""
        wanted = widths(self._heads, self._rows)
        shown: list[int] = []
        left = columns - 1
        for i in range(self._look.column, len(self._heads)):
            need = (wanted[i] if self._heads[i].rigid else min(wanted[i], LEAST)) + 3
            if shown and need > left:
                break
            shown.append(i)
            left -= need
        return shown

    def _detail(self, columns: int, room: int) -> list[str]:
        """The marked row, a value a line, whole."""
        row = self._rows[self._look.row]
        size = max(width(h.name) for h in self._heads)
        lines: list[str] = [""]
        for head, value in zip(self._heads, row, strict=True):
            text = "NULL" if value is None else value
            step = max(columns - size - 5, 1)
            parts = [text[i : i + step] for i in range(0, len(text), step)] or [""]
            lines.append(f" {_BOLD}{head.name.ljust(size)}{_PLAIN} │ {parts[0]}")
            lines += [f" {' ' * size} │ {part}" for part in parts[1:]]
        return lines[:room]

    def _told(self, columns: int, count: int, received: int, dropped: int) -> str:
        """The line that says how the stream is."""
        now = time.monotonic()
        if now - self._status_at >= 0.4 or not self._status:
            self._status_at = now
            rows = counted(count, "row")
            if received != count:
                rows += f", {counted(received, 'change') if self._mode != 'tableau' else received}"
            if dropped:
                rows += f", the oldest {dropped:,} are gone"
            if self._feed.over.is_set():
                rows += "; it has ended"
            more = ""
            if self._job is not None and self._watch is not None:
                more = self._watch.line(self._job.progress, now, time.time(), max(columns - width(rows) - 4, 10))
            self._status = f"{rows}   {more}"
        return _DIM + cut(self._status, columns - 1) + _PLAIN

    def _help(self, columns: int) -> str:
        if self._look.detail:
            text = "Q Back   ↑/↓ Row"
        else:
            text = (
                "Q Quit   +/- Refresh   G Goto Page   L Last   N/P Next/Prev Page   ↑/↓ Row   O Open Row   S Sort   ←/→ "
                "Columns   C Chart"
            )
        return _REVERSE + cut(text, columns - 1) + _PLAIN

    # ---- keys

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        look = self._look

        def on(*names: str) -> Callable[[Callable[[], None]], None]:
            def add(action: Callable[[], None]) -> None:
                for name in names:
                    keys.add(name)(lambda event: action())

            return add

        @on("q", "Q", "escape", "c-d")
        def _() -> None:
            if look.asked is not None:
                look.asked = None
            elif look.detail:
                look.detail = False
            else:
                self._leave()

        @on("c-c")
        def _() -> None:
            self._leave()

        @on("+")
        def _() -> None:
            look.pace = max(look.pace - 1, 0)

        @on("-")
        def _() -> None:
            look.pace = min(look.pace + 1, len(PACES) - 1)

        @on("n", "N", "pagedown")
        def _() -> None:
            if look.page is not None:
                page, pages = look.page + 1, self._pages()
                look.page = page if page < pages - 1 else None

        @on("p", "P", "pageup")
        def _() -> None:
            look.page = max((self._pages() - 1 if look.page is None else look.page) - 1, 0)

        @on("l", "L", "end")
        def _() -> None:
            look.page = None

        @on("home")
        def _() -> None:
            look.page = 0

        @on("g", "G")
        def _() -> None:
            look.asked = ""

        @on("up")
        def _() -> None:
            look.row = max(look.row - 1, 0)

        @on("down")
        def _() -> None:
            look.row += 1

        @on("left")
        def _() -> None:
            look.column = max(look.column - 1, 0)

        @on("right")
        def _() -> None:
            look.column = min(look.column + 1, len(self._heads) - 1)

        @on("o", "O")
        def _() -> None:
            look.detail = bool(self._rows)

        @on("s", "S")
        def _() -> None:
            self._sort()

        @on("c", "C")
        def _() -> None:
            look.chart = not look.chart

        @on("r", "R")
        def _() -> None:
            self._application.invalidate()

        @on("enter")
        def _() -> None:
            if look.asked:
                page = int(look.asked) - 1
                look.page = page if 0 <= page < self._pages() - 1 else None
            look.asked = None

        @keys.add("<any>")
        def _(event: KeyPressEvent) -> None:
            if look.asked is not None and event.data.isdecimal() and len(look.asked) < 9:
                look.asked += event.data

        @keys.add("backspace")
        def _(event: KeyPressEvent) -> None:
            if look.asked:
                look.asked = look.asked[:-1]

        return keys

    def _pages(self) -> int:
        room = max(self._application.output.get_size().rows - _FRAME, 1)
        with self._feed.lock:
            return max(-(-self._feed.current.count // room), 1)

    def _sort(self) -> None:
        """By the first column that is shown: up, down, as the rows came; changes have one order."""
        look = self._look
        if self._mode == "changelog":
            return
        column = look.column
        if look.order is None or look.order[0] != column:
            look.order = (column, False)
        else:
            look.order = None if look.order[1] else (column, True)
        if look.page is None and look.order is not None:
            look.page = 0
