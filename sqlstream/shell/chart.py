"""Numbers over time as a plot of dots: Braille characters, two dots wide and four high each."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlstream.cli.layout import Head, cut, padded
from sqlstream.errors import NotSupported, OptionError, did_you_mean

if TYPE_CHECKING:
    from sqlstream.shell.current import Current
    from sqlstream.shell.shell import Shell

POINTS = 2000  # of a line that are kept
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_COLOURS = ("\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m", "\x1b[31m", "\x1b[34m")
_END = "\x1b[0m"
_MOST_LINES = len(_COLOURS)
_LABEL = 12


class Series:
    """Lines of numbers: of rows that stay, each row's numbers in the order they came; of a result that changes, the numbers
    of its rows at each look, over time. `only`: these columns."""

    def __init__(self, only: Sequence[str] = ()) -> None:
        self.only = tuple(only)
        self._points: dict[str, deque[tuple[float, float]]] = {}
        self._seen = 0
        self._before: list[tuple[str | None, ...]] = []
        self._moving: set[int] = set()  # columns of a result that changes whose values have: the others tell rows apart

    def take(self, heads: Sequence[Head], current: Current) -> None:
        """Looks at what has come since the last time."""
        from sqlstream.shell.current import Changed

        columns = [i for i, h in enumerate(heads) if h.right and (not self.only or h.name in self.only)]
        if len(heads) != len(current.schema):
            return  # of changes there is nothing to draw
        if isinstance(current, Changed):
            self._take_changed(heads, current.rows(0, _MOST_LINES), columns)
            return
        fresh = min(current.received - self._seen, current.count, POINTS)
        first = current.received - fresh
        self._seen = current.received
        for n, row in enumerate(current.rows(current.count - fresh, current.count)):
            for c in columns[:_MOST_LINES]:
                self._add(heads[c].name, float(first + n), row[c])

    def _take_changed(self, heads: Sequence[Head], rows: list[tuple[str | None, ...]], columns: list[int]) -> None:
        moved = {c for old, new in zip(self._before, rows, strict=False) for c in columns if old[c] != new[c]}
        if not moved <= self._moving:
            self._moving |= moved
            self._points.clear()  # they were named by columns that are no names
        self._before = rows
        drawn = [c for c in columns if c in self._moving] or columns[-1:]
        for row in rows:
            name = " ".join(str(row[i]) for i in range(len(heads)) if i not in drawn)
            for c in drawn:
                self._add(f"{heads[c].name} {name}".strip(), time.monotonic(), row[c])

    def _add(self, name: str, x: float, value: str | None) -> None:
        if name not in self._points and len(self._points) >= _MOST_LINES:
            return
        try:
            y = float(value) if value is not None else float("nan")
        except ValueError:
            return
        if y == y and abs(y) != float("inf"):
            self._points.setdefault(name, deque(maxlen=POINTS)).append((x, y))

    def lines(self, columns: int, rows: int, coloured: bool = True) -> list[str]:
        """The plot on so many columns and rows of a screen."""
        if not self._points:
            return ["", " no numbers yet; a plot is of numeric columns"]
        legend = "   ".join(
            f"{_COLOURS[i] if coloured else ''}● {name} {points[-1][1]:g}{_END if coloured else ''}"
            for i, (name, points) in enumerate(self._points.items())
        )
        return [legend, *plot(list(self._points.values()), columns - 1, max(rows - 2, 1), coloured)]


def plot(lines: Sequence[Sequence[tuple[float, float]]], columns: int, rows: int, coloured: bool = True) -> list[str]:
    """Lines of points as text of that size, their range of values at the left."""
    wide = max(columns - _LABEL - 2, 1)
    xs = [x for line in lines for x, _ in line]
    ys = [y for line in lines for _, y in line]
    low, high = min(ys), max(ys)
    if low == high:
        low, high = low - 1, high + 1
    left, right = min(xs), max(xs)
    across, down = wide * 2 - 1, rows * 4 - 1
    dots = [[0] * wide for _ in range(rows)]
    owner = [[0] * wide for _ in range(rows)]

    def put(px: int, py: int, line: int) -> None:
        dots[py // 4][px // 2] |= _DOTS[py % 4][px % 2]
        owner[py // 4][px // 2] = line

    for n, line in enumerate(lines):
        before: tuple[int, int] | None = None
        for x, y in line:
            px = across if right == left else round((x - left) / (right - left) * across)
            py = round((high - y) / (high - low) * down)
            if before is not None and px > before[0]:
                for step in range(before[0], px):  # the way from the point before
                    put(step, round(before[1] + (py - before[1]) * (step - before[0]) / (px - before[0])), n)
            put(px, py, n)
            before = (px, py)
    out = []
    for r in range(rows):
        label = (
            f"{high:g}"
            if r == 0
            else f"{low:g}"
            if r == rows - 1
            else f"{(low + high) / 2:g}"
            if r == rows // 2
            else ""
        )
        text = ""
        for c in range(wide):
            char = chr(0x2800 + dots[r][c]) if dots[r][c] else " "
            text += f"{_COLOURS[owner[r][c]]}{char}{_END}" if coloured and dots[r][c] else char
        out.append(f"{padded(cut(label, _LABEL), _LABEL, '>')} ┤{text.rstrip() if not coloured else text}")
    return out


def chart(shell: Shell, query: str, rest: str) -> None:
    """`\\chart [COLUMN …]`: the query once more, as a plot."""
    from sqlstream.cli.boxes import heads
    from sqlstream.cli.cells import Cells
    from sqlstream.plan.columns import unique_names
    from sqlstream.shell.current import Appended, Changed

    only = [name.strip("`,") for name in rest.replace(",", " ").split()]
    result = shell.query(query)
    if result.schema is None:
        raise NotSupported("a plot is of rows", hint="SELECT …; and then \\chart")
    columns = heads(result.schema, unique_names(result.schema), False)
    for name in only:
        if name not in [h.name for h in columns]:
            raise OptionError(
                f"there is no column '{name}'", hint=did_you_mean(name, [h.name for h in columns], "columns")
            )
    if not any(h.right for h in columns):
        raise NotSupported("the query has no numbers", hint="SELECT COUNT(*) …, or a numeric column")
    if shell.interactive and result.streaming:
        from sqlstream.shell.live import view

        view(shell, result, "table", shell.session.settings.most_shown, Series(only))
        return
    cells = Cells(result.schema, shell.session.settings.time_zone)
    try:
        made = Appended if result.append_only else Changed
        current = made(result.schema, cells, POINTS)

        def read() -> None:
            for batch, kinds in result.batches():
                current.add(batch, kinds)

        shell.call(read)
        series = Series(only)
        series.take(columns, current)
    finally:
        result.close()
        cells.close()
    wide, high = shell.terminal.screen()
    text = series.lines(wide, min(high - 4, 20), shell.terminal.paints)
    shell.terminal.text("".join(line + "\n" for line in text))
