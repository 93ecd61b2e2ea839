"""Rows on a terminal: a box that fits its width, types under the names, long results cut in the middle."""

from __future__ import annotations

from collections import deque

import pyarrow as pa

from sqlstream.cli.cells import Cells
from sqlstream.cli.layout import ASCII, COLOURED, PLAIN, UNICODE, Box, Head, escaped, fit, width
from sqlstream.cli.of_jobs import counted
from sqlstream.cli.output import Output, is_right
from sqlstream.cli.terminal import Terminal
from sqlstream.types import TIMES, Schema

_WHOLE = 1 << 30  # columns of a screen that cuts nothing
_SLACK = 1.25  # columns of a stream are so much wider than a value that did not fit


def heads(schema: Schema, names: list[str], changes: bool) -> tuple[Head, ...]:
    """The heads of a result's columns; `op` of changes has no type of SQL."""
    return tuple(
        Head(
            escaped(n),
            "" if changes and i == 0 else c.type.text(),
            is_right(c.type),
            is_right(c.type) or c.type.kind in TIMES or (changes and i == 0),
        )
        for i, (n, c) in enumerate(zip(names, schema, strict=True))
    )


def drawn(terminal: Terminal, columns: tuple[Head, ...], wanted: list[int], changes: bool = False) -> Box:
    """A box for columns that want these widths, as this terminal draws it."""
    screen = _WHOLE if terminal.most_rows is None else terminal.screen()[0]
    return Box(
        columns,
        fit(wanted, screen, [h.rigid for h in columns]),
        UNICODE if terminal.speaks_unicode else ASCII,
        COLOURED if terminal.paints else PLAIN,
        changes,
    )


class Boxed(Output):
    """A result that ends. It is drawn at its end; of many rows the first and the last are kept."""

    def begin(self) -> None:
        self._cells = Cells(self.schema, self.zone, readable=True)
        most = self.terminal.most_rows
        self._first: int | None = None if most is None else (most + 1) // 2
        self._last = 0 if most is None else most // 2
        self._top: list[pa.RecordBatch] = []
        self._kept = 0
        self._bottom: deque[pa.RecordBatch] = deque()
        self._in_bottom = 0

    def _write(self, batch: pa.RecordBatch) -> None:
        if self._first is None:
            self._top.append(batch)
            self._kept += batch.num_rows
            return
        take = min(self._first - self._kept, batch.num_rows)
        if take:
            self._top.append(batch.slice(0, take))
            self._kept += take
        rest = batch.slice(take)
        if not rest.num_rows or not self._last:
            return
        rest = rest.slice(max(rest.num_rows - self._last, 0))
        self._bottom.append(rest)
        self._in_bottom += rest.num_rows
        while self._in_bottom - self._bottom[0].num_rows >= self._last:
            self._in_bottom -= self._bottom.popleft().num_rows

    def end(self) -> None:
        top = [row for b in self._top for row in self._cells.rows(b)]
        bottom = [row for b in self._bottom for row in self._cells.rows(b)]
        bottom = bottom[len(bottom) - self._last :] if self._last and len(bottom) > self._last else bottom
        columns = heads(self.schema, self.names, self.changes)
        wanted = [max(width(h.name), width(h.type) if len(h.type) <= 24 else 0) for h in columns]
        for row in (*top, *bottom):
            for i, value in enumerate(row):
                size = 4 if value is None else width(value)
                if size > wanted[i]:
                    wanted[i] = size
        shown = len(top) + len(bottom)
        foot = f"{counted(self.count, 'row')} ({shown:,} shown)" if shown < self.count else ""
        box = drawn(self.terminal, columns, wanted, self.changes)
        if box.fitted.hidden:
            visible = len(box.fitted.shown) - 1
            foot += f"{'  ' if foot else ''}{counted(len(columns), 'column')} ({visible} shown)"
        lines = [*box.head(), *(box.row(r) for r in top)]
        if shown < self.count:
            lines += box.dots()
        lines += [box.row(r) for r in bottom]
        self.terminal.text("".join(line + "\n" for line in (*lines, *box.end(foot))))

    def close(self) -> None:
        self._cells.close()


class Rolling(Output):
    """Rows as they come. A value that is too wide for its column widens it, with a new head, while the screen has room;
    after that it is cut."""

    def begin(self) -> None:
        self._cells = Cells(self.schema, self.zone, readable=True)
        self._heads = heads(self.schema, self.names, self.changes)
        self._wanted = [0] * len(self._heads)
        self._box: Box | None = None

    def _write(self, batch: pa.RecordBatch) -> None:
        columns = self._cells.columns(batch)
        lines = []
        if self._grown(columns) or self._box is None:
            made = drawn(self.terminal, self._heads, self._wanted, self.changes)
            if self._box is None or made.fitted != self._box.fitted:
                lines = [] if self._box is None else self._box.end()
                self._box = made
                lines += made.head()
        lines += [self._box.row(row) for row in zip(*columns, strict=True)]
        self.terminal.text("".join(line + "\n" for line in lines))

    def _grown(self, columns: list[list[str | None]]) -> bool:
        grown = False
        for i, values in enumerate(columns):
            size = max((4 if v is None else width(v) for v in values), default=0)
            if self._box is None:
                head = self._heads[i]
                size = max(size, width(head.name), width(head.type) if len(head.type) <= 24 else 0)
            if size > self._wanted[i]:
                self._wanted[i] = size if self._box is None else int(size * _SLACK)
                grown = True
        return grown

    def end(self) -> None:
        if self._box is None:
            self._grown([[] for _ in self._heads])
            self._box = drawn(self.terminal, self._heads, self._wanted, self.changes)
            self.terminal.text("".join(line + "\n" for line in self._box.head()))
        self.terminal.text("".join(line + "\n" for line in self._box.end()))

    def close(self) -> None:
        self._cells.close()
