"""The default of `Source.relation`: the splits read one after the other through their readers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import duckdb
import pyarrow as pa

from sqlstream.connectors.base import ScanRequest, Source, Split
from sqlstream.errors import InternalError, SqlStreamError

_names = itertools.count()
BATCH = 65_536


def register_splits(source: Source, connection: duckdb.DuckDBPyConnection, request: ScanRequest) -> str:
    """Register an Arrow reader over all splits of a bounded `source`; the FROM item that names it.

    It can be scanned once. A table with no rows at all is registered as an empty one of the right types.
    """
    if not source.bounded:
        raise InternalError("relation() of an unbounded source")
    splits = source.splits()
    batches = _read(source, splits, request)
    first = next(batches, None)
    name = f"_splits_{next(_names)}"
    if first is None:
        connection.register(name, pa.table(_empty(request, source.append_only)))
    else:
        rest = itertools.chain([first], batches)
        connection.register(name, pa.RecordBatchReader.from_batches(first.schema, rest))
    return name


def first_error(source: Source, request: ScanRequest) -> SqlStreamError | None:
    """The error that reading all splits of `source` ends with, if it does."""
    try:
        for _ in _read(source, source.splits(), request):
            pass
    except SqlStreamError as e:
        return e
    return None


def _read(source: Source, splits: list[Split], request: ScanRequest) -> Iterator[pa.RecordBatch]:
    for split in splits:
        reader = source.reader(split, None, request)
        try:
            while not reader.finished:
                got = reader.poll(BATCH)
                if got is not None and got.batch.num_rows:
                    yield got.batch
        finally:
            reader.close()


def _empty(request: ScanRequest, append_only: bool) -> pa.RecordBatch:
    from sqlstream.connectors.derive import derive
    from sqlstream.formats.cursor import own_cursor

    schema = request.arrow_schema()
    batch = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
    batch = derive(own_cursor(), batch, request)
    if not append_only:
        batch = batch.append_column(pa.field("_op", pa.int8()), pa.array([], pa.int8()))
    return batch
