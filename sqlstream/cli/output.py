"""Result rows on standard output: as a table, as CSV, or as JSON lines. Each batch is written when it comes.

Where rows can change, a first column `op` says how: +I, -U, +U, -D. Values are made text by DuckDB; only a table's
lines are put together in Python, for eyes do not read millions of them.
"""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa

from sqlstream import duck
from sqlstream.batches import KIND_TEXT
from sqlstream.cli import text
from sqlstream.cli.terminal import Terminal
from sqlstream.formats.conversion import quoted
from sqlstream.results import Result, unique_names
from sqlstream.types import STRING, Column, Schema, Type, inside

# Columns of a stream are at least so wide, as the next rows' values are not known.
_STREAM_WIDTHS = {"TINYINT": 4, "SMALLINT": 6, "INT": 11, "BIGINT": 12, "FLOAT": 12, "DOUBLE": 20, "VARCHAR": 20}
_ENOUGH = 1024  # rows that a table's first widths are taken from
# What would move a terminal's cursor or turn the writing direction; shown as an escape.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


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
    """A line a row, by one SQL expression."""

    line: str

    def _write(self, batch: pa.RecordBatch) -> None:
        from sqlstream.formats.json_encode import lines

        for buffer in lines(batch, self.line):
            self.terminal.write(memoryview(buffer))


class Csv(Lines):
    def begin(self) -> None:
        self.line = text.csv_line(self.schema)
        self.terminal.write(text.csv_head(self.names).encode())


class Json(Lines):
    def begin(self) -> None:
        self.line = text.json_line(self.names, self.schema)


class Table(Output):
    """Columns as wide as the values so far; a later, wider value widens its column from there on.

    Rows of a batch query are kept back until there are enough to judge the widths by; a stream's are shown at once.
    """

    def begin(self) -> None:
        self._connection = duck.connect(1)
        cells = [quoted(f"c{i}") for i in range(len(self.schema))]
        texts = [text.table_text(c.type, x, self.zone) for c, x in zip(self.schema, cells, strict=True)]
        self._query = f"SELECT {', '.join(f'{t} AS c{i}' for i, t in enumerate(texts))} FROM cells"
        self._right = [c.type.is_numeric or c.type.is_interval for c in self.schema]
        self._names = [escaped(n) for n in self.names]
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
        self._connection.register("cells", batch)
        texts = self._connection.sql(self._query).to_arrow_table()
        self._connection.unregister("cells")
        columns = [self._column(i, texts.column(i).to_pylist()) for i in range(len(self.names))]
        form = "| " + " | ".join("{}" if cells.padded else "{:" + cells.spec + "}" for cells in columns) + " |\n"
        head = "" if self._headed else self._head()
        body = "".join(form.format(*row) for row in zip(*(c.cells for c in columns), strict=True))
        self.terminal.text(head + body)

    def _column(self, i: int, values: list[str | None]) -> _Cells:
        cells = ["NULL" if v is None else v for v in values]
        joined = "".join(cells)
        if _CONTROL.search(joined):
            cells = [escaped(c) for c in cells]
        if joined.isascii():
            self._widths[i] = max(self._widths[i], max(map(len, cells), default=0))
            return _Cells(cells, f"{'>' if self._right[i] else ''}{self._widths[i]}", False)
        self._widths[i] = max(self._widths[i], max(map(width, cells), default=0))
        return _Cells([c + " " * (self._widths[i] - width(c)) for c in cells], "", True)

    def _head(self) -> str:
        self._headed = True
        names = [
            " " * (w - width(n)) + n if right else n + " " * (w - width(n))
            for n, w, right in zip(self._names, self._widths, self._right, strict=True)
        ]
        return f"{self._rule()}| {' | '.join(names)} |\n{self._rule()}"

    def _rule(self) -> str:
        return "+" + "+".join("-" * (w + 2) for w in self._widths) + "+\n"

    def end(self) -> None:
        self._show_waiting()
        self.terminal.text(("" if self._headed else self._head()) + (self._rule() if self.count else ""))

    def close(self) -> None:
        self._connection.close()


class _Cells:
    def __init__(self, cells: list[str], spec: str, padded: bool) -> None:
        self.cells, self.spec, self.padded = cells, spec, padded


class Text(Output):
    """The one column of EXPLAIN and SHOW CREATE, as it is."""

    def _write(self, batch: pa.RecordBatch) -> None:
        for value in batch.column(0).to_pylist():
            self.terminal.text(f"{value}\n")


OUTPUTS: dict[str, type[Output]] = {"table": Table, "csv": Csv, "json": Json}


def output(result: Result, form: str, terminal: Terminal, zone: str) -> Output:
    """The writer of a result's rows in the form that --output names."""
    assert result.schema is not None
    if form == "table" and (result.kind == "EXPLAIN" or result.schema.names == ("result",) and result.kind == "SHOW"):
        return Text(result, terminal, zone)
    return OUTPUTS[form](result, terminal, zone)


def _stream_width(t: Type) -> int:
    if t.is_timestamp:
        return 19 + (1 + t.precision if t.precision else 0)
    if t.kind == "DECIMAL":
        return min((t.precision or 0) + 2, 12)
    return _STREAM_WIDTHS.get(t.kind, 0)


def escaped(value: str) -> str:
    """Control characters as \\n, \\t, \\x1b, so that a value cannot move the cursor."""
    return _CONTROL.sub(lambda m: repr(m.group())[1:-1], value)


@lru_cache(65_536)
def width(value: str) -> int:
    """How many columns of a terminal `value` takes: East Asian wide characters two, combining ones none."""
    if value.isascii():
        return len(value)
    return sum(_character_widths(value))


def _character_widths(value: str) -> Iterator[int]:
    for c in value:
        if unicodedata.combining(c) or c in "\u200b\u200c\u200d\ufe0e\ufe0f":
            yield 0
        else:
            yield 2 if unicodedata.east_asian_width(c) in "WF" else 1
