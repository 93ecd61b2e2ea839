"""A source as one relation of a batch query: its own statement, or its splits read one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pyarrow as pa

from sqlstream.connectors.derive import Derivation
from sqlstream.contracts import ScanRequest, Source, Split
from sqlstream.errors import InternalError, SqlStreamError

_names = itertools.count()
BATCH = 65_536


def relation_of(source: Source, connection: duckdb.DuckDBPyConnection, request: ScanRequest) -> str:
    """The FROM item that gives all rows of a bounded `source` (`Source.relation`)."""
    return source.relation(connection, request) or register_splits(source, connection, request)


def register_splits(source: Source, connection: duckdb.DuckDBPyConnection, request: ScanRequest) -> str:
    """Register the rows of a bounded `source` on `connection`; the FROM item that names them.

    Each scan of it reads the splits anew, so a statement may name it more than once.
    """
    if not source.bounded:
        raise InternalError("relation() of an unbounded source")
    name = f"_splits_{next(_names)}"
    connection.register(name, _Splits(source, source.splits(), request))
    return name


def first_error(
    source: Source, request: ScanRequest, check: Callable[[], None] = lambda: None
) -> SqlStreamError | None:
    """After a statement over a relation failed inside DuckDB: the error of `source` that explains it.

    Reads the splits again through `reader()`, which names file, line and record; None when they read well. `check` is called
    between batches: what it raises, such as Canceled, ends the reading too.
    """
    try:
        for _ in _read(source, source.splits(), request):
            check()
    except SqlStreamError as e:
        return e
    return None


class _Splits:
    """Splits as an Arrow stream, by Arrow's PyCapsule interface: DuckDB asks for a new one with each scan."""

    def __init__(self, source: Source, splits: list[Split], request: ScanRequest) -> None:
        self._source, self._splits, self._request = source, splits, request
        self._schema = row_schema(request, source.append_only)

    def __arrow_c_schema__(self) -> Any:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        batches = _read(self._source, self._splits, self._request)
        return pa.RecordBatchReader.from_batches(self._schema, batches).__arrow_c_stream__(requested_schema)


def _read(source: Source, splits: list[Split], request: ScanRequest) -> Iterator[pa.RecordBatch]:
    skipped = 0
    for split in splits:
        reader = source.reader(split, None, request)
        try:
            while not reader.finished:
                got = reader.poll(BATCH)
                if got is not None and got.bad:
                    source.found_bad = {**source.found_bad, **{(split.id, b.line): b for b in got.bad}}
                if got is not None and got.batch.num_rows:
                    yield got.batch
        finally:
            # A statement may read a source more than once, and other columns of it each time.
            skipped += reader.skipped_records
            source.skipped_records = max(source.skipped_records, skipped)
            reader.close()


def row_schema(request: ScanRequest, append_only: bool) -> pa.Schema:
    """What batches for `request` look like: c0, c1, …, the derived columns, `_op`; `one` if there is none of these."""
    schema = request.arrow_schema()
    empty = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
    schema = Derivation(request).of(empty).schema
    if not append_only:
        return schema.append(pa.field("_op", pa.int8()))
    return schema if len(schema) else pa.schema([("one", pa.int32())])
