"""Result rows on standard output: as a table, CSV, JSON lines, Markdown, or a value a line.

Where rows can change, a first column `op` says how: +I, -U, +U, -D. Values are made text by DuckDB; only lines for eyes are
put together in Python. On a terminal a table is drawn to its size (`boxes.py`); anywhere else it is whole.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.batches import KIND_TEXT
from sqlstream.cli import text
from sqlstream.cli.cells import Cells
from sqlstream.cli.layout import escaped, escaped_text, width
from sqlstream.cli.of_jobs import counted
from sqlstream.cli.terminal import Terminal
from sqlstream.plan.columns import unique_names
from sqlstream.results import Result
from sqlstream.types import STRING, Column, Schema, Type, inside

# Columns of a stream are at least so wide, as the next rows' values are not known.
_STREAM_WIDTHS = {"TINYINT": 4, "SMALLINT": 6, "INT": 11, "BIGINT": 12, "FLOAT": 12, "DOUBLE": 20, "VARCHAR": 20}
_ENOUGH = 1024  # rows that a table's first widths are taken from


class Output(ABC):
    """One result's rows: `begin`, any number of `rows`, `end` unless an error ended them, and always `close`."""

    def __init__(self, result: Result, terminal: Terminal, zone: str) -> None:
        assert result.schema is not None
        self.terminal = terminal
        self.zone = zone
        self.stream = result.streaming
        self.changes = not result.append_only
        op = (Column("op", STRING),) if self.changes else ()
        self.schema = Schema((*op, *result.schema))
        self.names = unique_names(self.schema)
        self._shown = result.schema
        self.count = 0

    def begin(self) -> None:  # noqa: B027  # most forms have nothing to do
        """Before the first row."""

    def rows(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        """Writes a batch; `kinds` None means that all are inserts."""
        self.count += batch.num_rows
        batch = inside(batch, self._shown)
        if self.changes:
            codes = np.zeros(batch.num_rows, np.int8) if kinds is None else np.asarray(kinds, np.int8)
            op = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(KIND_TEXT)).dictionary_decode()
            batch = pa.RecordBatch.from_arrays(
                [op, *batch.columns], names=[f"c{i}" for i in range(batch.num_columns + 1)]
            )
        self._write(batch)

    @abstractmethod
    def _write(self, batch: pa.RecordBatch) -> None: ...

    def end(self) -> None:  # noqa: B027
        """After the last row."""

    def close(self) -> None:  # noqa: B027
        """Always last."""


class Lines(Output):
    """A line a row, by one SQL expression. On a terminal, what would move its cursor is shown as an escape; else all is as it
    is."""

    line: str

    def _put(self, data: bytes | memoryview) -> None:
        if self.terminal.draws:
            self.terminal.text(escaped_text(bytes(data).decode()))
        else:
            self.terminal.write(data)

    def _write(self, batch: pa.RecordBatch) -> None:
        from sqlstream.formats.json_encode import lines

        for buffer in lines(batch, self.line):
            self._put(memoryview(buffer))


class Csv(Lines):
    """RFC 4180, the columns' names first; NULL is nothing, an empty string is quotes."""

    def begin(self) -> None:
        self.line = text.csv_line(self.schema)
        self._put(text.csv_head(self.names).encode())


class Json(Lines):
    """An object a row; NULL is null."""

    def begin(self) -> None:
        self.line = text.json_line(self.names, self.schema)


class Table(Output):
    """Columns as wide as the values so far; a later, wider value widens its column from there on.

    Rows of a batch query are kept back until there are enough to judge the widths by; a stream's are shown at once.
    """

    def begin(self) -> None:
        self._cells = Cells(self.schema, self.zone)
        self._right = [is_right(c.type) for c in self.schema]
        self._names = [self._shown_text(escaped(n)) for n in self.names]
        self._widths = [width(n) for n in self._names]
        if self.stream:
            self._widths = [max(w, _stream_width(c.type)) for w, c in zip(self._widths, self.schema, strict=True)]
        if self.changes:
            self._widths[0] = 2
        self._headed = False
        self._waiting: list[pa.RecordBatch] = []

    def _write(self, batch: pa.RecordBatch) -> None:
        if self.stream or self._headed:
            self._show(batch)
        else:
            self._waiting.append(batch)
            if self.count >= _ENOUGH:
                self._show_waiting()

    def _show_waiting(self) -> None:
        if self._waiting:
            self._show(pa.concat_batches(self._waiting))
            self._waiting = []

    def _show(self, batch: pa.RecordBatch) -> None:
        columns = [self._column(i, values) for i, values in enumerate(self._cells.columns(batch))]
        form = "| " + " | ".join("{}" if cells.padded else "{:" + cells.spec + "}" for cells in columns) + " |\n"
        head = "" if self._headed else self._head()
        body = "".join(form.format(*row) for row in zip(*(c.cells for c in columns), strict=True))
        self.terminal.text(head + body)

    def _column(self, i: int, values: list[str | None]) -> _Column:
        cells = ["NULL" if v is None else self._shown_text(v) for v in values]
        if "".join(cells).isascii():
            self._widths[i] = max(self._widths[i], max(map(len, cells), default=0))
            return _Column(cells, f"{'>' if self._right[i] else ''}{self._widths[i]}", False)
        self._widths[i] = max(self._widths[i], max(map(width, cells), default=0))
        return _Column([c + " " * (self._widths[i] - width(c)) for c in cells], "", True)

    def _shown_text(self, value: str) -> str:
        return value

    def _head(self) -> str:
        self._headed = True
        return f"{self._rule()}{self._titles()}{self._rule()}"

    def _titles(self) -> str:
        names = [
            " " * (w - width(n)) + n if right else n + " " * (w - width(n))
            for n, w, right in zip(self._names, self._widths, self._right, strict=True)
        ]
        return f"| {' | '.join(names)} |\n"

    def _rule(self) -> str:
        return "+" + "+".join("-" * (w + 2) for w in self._widths) + "+\n"

    def end(self) -> None:
        self._show_waiting()
        self.terminal.text(("" if self._headed else self._head()) + (self._rule() if self.count else ""))

    def close(self) -> None:
        self._cells.close()


class Markdown(Table):
    """A table of Markdown: numbers are right-aligned, `|` in a value is written `\\|`."""

    def _shown_text(self, value: str) -> str:
        return value.replace("|", "\\|")

    def _head(self) -> str:
        self._headed = True
        marks = ("-" * (w + 1) + (":" if r else "-") for w, r in zip(self._widths, self._right, strict=True))
        return f"{self._titles()}|{'|'.join(marks)}|\n"

    def end(self) -> None:
        self._show_waiting()
        self.terminal.text("" if self._headed else self._head())


class Vertical(Output):
    """A line for each value, under a line for each row; values are whole."""

    def begin(self) -> None:
        self._cells = Cells(self.schema, self.zone, readable=True)
        names = [escaped(n) for n in self.names]
        size = max(map(width, names), default=0)
        self._lines = [n + " " * (size - width(n)) for n in names]
        self._number = 0

    def _write(self, batch: pa.RecordBatch) -> None:
        lines = []
        for row in self._cells.rows(batch):
            self._number += 1
            lines.append(f"-[ RECORD {self._number} ]".ljust(width(self._lines[0]) + 8, "-"))
            lines += [
                f"{name} | {'NULL' if v is None else v}".rstrip() for name, v in zip(self._lines, row, strict=True)
            ]
        self.terminal.text("".join(line + "\n" for line in lines))

    def close(self) -> None:
        self._cells.close()


class _Column:
    def __init__(self, cells: list[str], spec: str, padded: bool) -> None:
        self.cells, self.spec, self.padded = cells, spec, padded


class Text(Output):
    """The one column of EXPLAIN and SHOW CREATE, as it is."""

    def _write(self, batch: pa.RecordBatch) -> None:
        for value in batch.column(0).to_pylist():
            self.terminal.text(f"{value}\n")


FORMS: dict[str, type[Output]] = {
    "table": Table,
    "csv": Csv,
    "json": Json,
    "jsonl": Json,
    "markdown": Markdown,
    "vertical": Vertical,
}


def output(result: Result, form: str, terminal: Terminal, zone: str) -> Output:
    """The writer of a result's rows in the form that --output names."""
    assert result.schema is not None
    if form == "table" and (result.kind == "EXPLAIN" or result.schema.names == ("result",) and result.kind == "SHOW"):
        return Text(result, terminal, zone)
    if form == "table" and terminal.draws:
        from sqlstream.cli.boxes import Boxed, Rolling

        return (Rolling if result.streaming else Boxed)(result, terminal, zone)
    return FORMS[form](result, terminal, zone)


def is_right(t: Type) -> bool:
    """Whether a column's values end at its right edge."""
    return t.is_numeric or t.is_interval


def _stream_width(t: Type) -> int:
    if t.is_timestamp:
        return 19 + (1 + t.precision if t.precision else 0)
    if t.kind == "DECIMAL":
        return min((t.precision or 0) + 2, 12)
    return _STREAM_WIDTHS.get(t.kind, 0)


def written(result: Result, writer: Output, canceled: Callable[[], bool]) -> Written:
    """Writes all rows of a result; what came of it. The result and the writer are closed."""
    started = time.monotonic()
    first: float | None = None
    try:
        writer.begin()
        for batch, kinds in result.batches():
            if first is None and batch.num_rows:
                first = time.monotonic() - started
            writer.rows(batch, kinds)
            if canceled():
                break
        writer.end()
    finally:
        result.close()
        writer.close()
    return Written(writer.count, time.monotonic() - started, first)


@dataclass(frozen=True)
class Written:
    """How many rows were written, in how many seconds, and after how many the first one came."""

    rows: int
    seconds: float
    first: float | None = None
    noun: str = "row"

    def __str__(self) -> str:
        first = "" if self.first is None else f" (first row {self.first:.3f} s)"
        return f"{counted(self.rows, self.noun)} in {self.seconds:.3f} s{first}"
