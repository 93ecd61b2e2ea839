"""The rows of a stream's result as they are now, for a view: bounded, and changed by its changes.

Rows are tuples of text, None for NULL. What looks the same is the same here: a change that takes a row away takes one that
looks so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.batches import KIND_TEXT
from sqlstream.cli.cells import Cells
from sqlstream.types import Schema, inside

Row = tuple[str | None, ...]
CHANGES = 1000  # that a changelog holds, as Flink's client does
_UPDATE_BEFORE, _UPDATE_AFTER, _DELETE = 1, 2, 3


class Current(ABC):
    """What has come of a result. Not to be used by two threads at a time."""

    def __init__(self, schema: Schema, cells: Cells, most: int) -> None:
        self.schema = schema
        self.cells = cells
        self.most = most
        self.received = 0  # rows, or changes of rows
        self.dropped = 0  # rows that had to go, since there are more than `most`

    def add(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        """Takes a batch under the users' names; `kinds` None: all are inserts."""
        self.received += batch.num_rows
        self._add(inside(batch, self.schema), kinds)

    @abstractmethod
    def _add(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None: ...

    @property
    @abstractmethod
    def count(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def rows(self, start: int, stop: int, order: tuple[int, bool] | None = None) -> list[Row]:
        """Rows of these numbers, in the order of a column (its number, whether it descends), else as they came."""


class Appended(Current):
    """Rows that stay as they are: the last ones, as batches. Only what is looked at becomes text."""

    def __init__(self, schema: Schema, cells: Cells, most: int) -> None:
        super().__init__(schema, cells, most)
        self._batches: deque[pa.RecordBatch] = deque()
        self._count = 0

    def _add(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self._batches.append(batch)
        self._count += batch.num_rows
        while (excess := self._count - self.most) > 0:
            first = self._batches.popleft()
            gone = min(excess, first.num_rows)
            if gone < first.num_rows:
                self._batches.appendleft(first.slice(gone))
            self._count -= gone
            self.dropped += gone

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self._count

    def rows(self, start: int, stop: int, order: tuple[int, bool] | None = None) -> list[Row]:
        """See `Current.rows`."""
        if order is not None and self._batches:
            table = pa.Table.from_batches(self._batches)
            column, descends = order
            key = table.column(column)
            if pa.types.is_nested(key.type):
                order = None
            else:
                indices = pc.sort_indices(key, sort_keys=[("", "descending" if descends else "ascending")])
                part = table.take(indices.slice(start, max(stop - start, 0)))
                return [row for b in part.combine_chunks().to_batches() for row in self.cells.rows(b)]
        found: list[Row] = []
        at = 0
        for batch in self._batches:
            if at >= stop:
                break
            if at + batch.num_rows > start:
                first = max(start - at, 0)
                found += self.cells.rows(batch.slice(first, min(stop - at, batch.num_rows) - first))
            at += batch.num_rows
        return found


class Changed(Current):
    """Rows that changes add, alter and take away. An altered row stays where it is.

    A loop over rows: what people look at changes no faster than they can see, and a reader who is slow slows the job.
    """

    def __init__(self, schema: Schema, cells: Cells, most: int) -> None:
        super().__init__(schema, cells, most)
        self._rows: dict[int, Row] = {}  # by number, in the order they came
        self._places: dict[Row, list[int]] = {}
        self._next = 0

    def _add(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        codes = [0] * batch.num_rows if kinds is None else kinds.tolist()
        vacant: list[int] = []  # places of rows whose new value comes next
        for row, kind in zip(self.cells.rows(batch), codes, strict=True):
            if kind in (_UPDATE_BEFORE, _DELETE):
                places = self._places.get(row)
                if not places:
                    continue  # it had to go before
                place = places.pop()
                if not places:
                    del self._places[row]
                if kind == _UPDATE_BEFORE:
                    vacant.append(place)
                else:
                    del self._rows[place]
                continue
            if kind == _UPDATE_AFTER and vacant:
                place = vacant.pop()
            else:
                place, self._next = self._next, self._next + 1
            self._rows[place] = row
            self._places.setdefault(row, []).append(place)
        for place in vacant:
            del self._rows[place]
        while len(self._rows) > self.most:
            place = next(iter(self._rows))
            row = self._rows.pop(place)
            self._places[row].remove(place)
            if not self._places[row]:
                del self._places[row]
            self.dropped += 1

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def rows(self, start: int, stop: int, order: tuple[int, bool] | None = None) -> list[Row]:
        """See `Current.rows`."""
        if order is None:
            return list(islice(self._rows.values(), start, stop))
        column, descends = order
        numeric = self.schema[column].type.is_numeric

        def key(row: Row) -> tuple[bool, float | str]:
            value = row[column]
            return (value is None, "" if value is None else float(value) if numeric else value)

        there = [r for r in self._rows.values() if r[column] is not None]
        nulls = [r for r in self._rows.values() if r[column] is None]
        return [*sorted(there, key=key, reverse=descends), *nulls][start:stop]


class Changes(Current):
    """The last changes, oldest first; the first value of each says how the row changed."""

    def __init__(self, schema: Schema, cells: Cells, most: int = CHANGES) -> None:
        super().__init__(schema, cells, min(most, CHANGES))
        self._rows: deque[Row] = deque(maxlen=self.most)

    def _add(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        skipped = max(batch.num_rows - self.most, 0)
        self.dropped += max(len(self._rows) + batch.num_rows - self.most, 0)
        codes = [0] * batch.num_rows if kinds is None else kinds.tolist()
        rows = self.cells.rows(batch.slice(skipped))
        self._rows.extend((KIND_TEXT[k], *r) for k, r in zip(codes[skipped:], rows, strict=True))

    @property
    def count(self) -> int:
        """How many changes there are."""
        return len(self._rows)

    def rows(self, start: int, stop: int, order: tuple[int, bool] | None = None) -> list[Row]:
        """See `Current.rows`; changes have one order."""
        return list(islice(self._rows, start, stop))
