"""The contract of connectors as tests.

    SourceContract     a source that ends, called as batch queries and tasks do
    SinkContract       a sink that commits, likewise
    StreamContract     a source that jobs read, which are stopped, rescaled and killed, and whose server goes   } streams.py
    DeliveryContract   a sink that jobs write to, likewise                                                      }

    class TestTail(SourceContract):
        connector, columns, options = TailConnector, "a BIGINT, b STRING", {"path": "rows.txt"}

pytest runs the methods `test_…` of a class derived from one of them (unittest's TestCase beside it does as well). For the first two the table
must have rows, in several splits if the connector has such, and the same ones each time; `made` may make it before each test.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from sqlstream.connectors.relation import relation_of
from sqlstream.contracts import Connector, ScanColumn, ScanRequest, Sink, SinkTask, Source, Split, TableContext
from sqlstream.errors import InternalError
from sqlstream.options import read
from sqlstream.sql.parser import parse_script
from sqlstream.sql.statements import CreateTable
from sqlstream.testing.streams import DeliveryContract, StreamContract
from sqlstream.types import Column, Schema

__all__ = [
    "Contract",
    "DeliveryContract",
    "Row",
    "SinkContract",
    "SourceContract",
    "StreamContract",
    "stage",
    "table",
    "whole",
]

Row = tuple[Any, ...]
Batches = list[tuple[int, int, Any]]  # of each: its first row's number, how many rows, and the position behind it
SIZES = (1, 3, 1000)  # rows a poll


def table(connector: Connector, columns: str, options: Mapping[str, str], name: str = "t") -> TableContext:
    """A table as its connector is told of it. `columns`: as in CREATE TABLE, physical ones. OptionError as for users."""
    (statement,) = parse_script(f"CREATE TABLE {name} ({columns})")
    assert isinstance(statement, CreateTable)
    found = Schema(tuple(Column(c.name, c.type) for c in statement.columns if c.type is not None))
    given = {k: str(v) for k, v in options.items()}
    read(given, connector.known_options(given), f"table {name}")
    return TableContext(name, found, given, statement.primary_key)


def whole(schema: Schema) -> ScanRequest:
    """A request for all columns."""
    return ScanRequest(tuple(ScanColumn((c.name,), c.type) for c in schema))


def rows_from(
    source: Source, split: Split, position: Any, request: ScanRequest, size: int, first: int = 0
) -> tuple[list[Row], Batches]:
    """The rows of a split from a position on, `size` a poll, and where its batches stand."""
    rows: list[Row] = []
    batches: Batches = []
    reader = source.reader(split, position, request, first)
    try:
        while not reader.finished:
            got = reader.poll(size)
            if got is not None and got.batch.num_rows:
                rows += [tuple(r.values()) for r in got.batch.to_pylist()]
                batches.append((got.first_row, got.batch.num_rows, got.position))
        assert reader.poll(size) is None, "a reader that is finished gives something"
    finally:
        reader.close()
    return rows, batches


def stream(source: Source, request: ScanRequest, size: int = 1000) -> list[Row]:
    """The rows of all splits, as a stream reads them."""
    return [r for split in source.splits() for r in rows_from(source, split, None, request, size)[0]]


def batch(source: Source, request: ScanRequest) -> list[Row]:
    """The rows as a batch query reads them."""
    with duckdb.connect() as connection:
        found = connection.sql(f"SELECT * FROM {relation_of(source, connection, request)}").to_arrow_table()
        return [tuple(r.values()) for r in found.to_pylist()]


def stage(sink: Sink, task: SinkTask, rows: pa.RecordBatch) -> Callable[[], None]:
    """Writes rows as a task does, up to a checkpoint. What it gives commits them, as another process would."""
    sink = pickle.loads(pickle.dumps(sink))
    writer = sink.writer(task)
    writer.write(rows, np.zeros(rows.num_rows, np.int8) if sink.changelog else None)
    writer.flush()
    staged = json.loads(json.dumps(writer.prepare(1)))
    writer.close()
    return lambda: sink.committer(task).commit(staged)


class Contract:
    """`connector`, `columns` (as in CREATE TABLE) and `options` (as in WITH) of the table that is tried."""

    connector: type[Connector]
    columns: str
    options: Mapping[str, str]

    def made(self) -> TableContext:
        """The table, with its rows."""
        return table(self.connector(), self.columns, self.options)


class SourceContract(Contract):
    """Of a source that is bounded."""

    def source(self, t: TableContext) -> Source:
        """As a task gets it."""
        made: Source = pickle.loads(pickle.dumps(self.connector().source(t)))
        return made

    def test_splits_are_the_same_another_time(self) -> None:
        """And they go into checkpoints, with ids of their own, and come back from there."""
        t = self.made()
        splits = self.source(t).splits()
        assert splits, "there are no splits"
        assert self.source(t).splits() == splits, "the splits of another time are others"
        assert len({s.id for s in splits}) == len(splits), "two splits have one id"
        json.dumps([dict(s.info) for s in splits])
        known = tuple(pickle.loads(pickle.dumps(splits)))
        assert tuple(self.source(t).splits(known)) == known, "known splits come back as others"

    def test_both_ways_give_the_same_rows(self) -> None:
        """Batch and stream, whatever the size of what is polled."""
        t = self.made()
        rows = batch(self.source(t), whole(t.schema))
        assert rows, "the table has no rows"
        for size in SIZES:
            assert stream(self.source(t), whole(t.schema), size) == rows, f"polls of {size} rows give others"

    def test_reading_goes_on_from_each_position(self) -> None:
        """A position is all that reading on needs, and rows are numbered through."""
        t = self.made()
        request, source = whole(t.schema), self.source(t)
        for split in source.splits():
            for size in SIZES[:2]:
                rows, batches = rows_from(source, split, None, request, size)
                done = 0
                for first, n, position in batches:
                    assert first == done, f"{split.id}: row {done} is called {first}"
                    assert n <= size, f"{split.id}: {n} rows came of a poll for {size}"
                    done += n
                    again = json.loads(json.dumps(position))
                    left = rows_from(source, split, again, request, size, done)[0]
                    assert left == rows[done:], f"{split.id}: from position {again} other rows come than before"
                assert done == len(rows)

    def test_a_request_for_nothing_has_all_rows(self) -> None:
        """COUNT(*) asks for no column."""
        t = self.made()
        n = len(batch(self.source(t), whole(t.schema)))
        assert len(batch(self.source(t), ScanRequest(()))) == n
        assert len(stream(self.source(t), ScanRequest(()))) == n

    def test_columns_come_in_the_order_of_the_request_then_what_is_derived(self) -> None:
        """Filters and watermarks are derived of the columns that are asked for."""
        t = self.made()
        columns = [ScanColumn((c.name,), c.type) for c in reversed([*t.schema])]
        n = len(columns)  # behind them is the kind of the change, if rows can change
        request = ScanRequest(tuple(columns), (("d0", f"c{n - 1} IS NULL"), ("d1", f"c{n - 1}")))
        rows = [(*reversed(r[:n]), r[0] is None, r[0], *r[n:]) for r in batch(self.source(t), whole(t.schema))]
        assert batch(self.source(t), request) == rows
        assert stream(self.source(t), request) == rows

    def test_it_says_how_much_it_has_read_and_what_is_left(self) -> None:
        """As far as it knows: what is not known is None, and never 0 while something is there."""
        t = self.made()
        request, source = whole(t.schema), self.source(t)
        for split in source.splits():
            begin = source.pending(split, None)
            reader, rows = source.reader(split, None, request), 0
            try:
                while not reader.finished:
                    got = reader.poll(1000)
                    rows += got.batch.num_rows if got is not None else 0
                left, size = reader.pending, reader.bytes_read
            finally:
                reader.close()
            assert left.records in (None, 0) and left.bytes in (None, 0), f"{split.id}: at its end there is {left}"
            assert begin.records is None or begin.records >= rows, f"{split.id}: {rows} rows of {begin.records} records"
            assert None in (begin.bytes, size) or size == begin.bytes, (
                f"{split.id}: {size} bytes were read of {begin.bytes}"
            )

    def test_a_relation_is_scanned_as_often_as_a_statement_names_it(self) -> None:
        """As in a join of the table with itself."""
        t = self.made()
        with duckdb.connect() as connection:
            found = relation_of(self.source(t), connection, whole(t.schema))
            both = connection.execute(f"SELECT * FROM {found} UNION ALL SELECT * FROM {found}").fetchall()
            once = connection.execute(f"SELECT * FROM {found}").fetchall()
        assert sorted(both, key=str) == sorted(2 * once, key=str)


class SinkContract(Contract):
    """Of a sink whose rows are seen when they are committed. `written`: rows to write, under the table's names; `seen`: all that a reader
    of the table sees now, as rows of Python values, in any order."""

    written: pa.RecordBatch

    def seen(self, t: TableContext) -> list[Row]:
        """Override."""
        raise InternalError("SinkContract.seen is to be overridden")

    def test_what_is_committed_is_there_once(self) -> None:
        """Not before, and not twice however often it is committed, also by another process than the one that wrote it."""
        t = self.made()
        before, rows = self.seen(t), [tuple(r.values()) for r in self.written.to_pylist()]
        commit = stage(self.connector().sink(t), SinkTask("job", "run", 0), self.written)
        assert sorted(self.seen(t), key=str) == sorted(before, key=str), "rows are seen before they are committed"
        for _ in range(2):
            commit()
        assert sorted(self.seen(t), key=str) == sorted([*before, *rows], key=str)

    def test_what_no_checkpoint_knows_is_never_seen(self) -> None:
        """The process died before: another one aborts what it left."""
        t = self.made()
        before = self.seen(t)
        stage(self.connector().sink(t), SinkTask("job", "run", 0), self.written)
        self.connector().sink(t).committer(SinkTask("job", "run", 0)).abort()
        assert sorted(self.seen(t), key=str) == sorted(before, key=str)
