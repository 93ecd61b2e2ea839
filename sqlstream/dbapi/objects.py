"""What Python programs have rows in, as objects of connector 'python': frames, Arrow data, iterators, functions.

    pa.Table, pa.RecordBatch, pandas and Polars frames,        a table that is there
    {column: values}, [{column: value}, …]
    pa.RecordBatchReader, a cursor, all that is a stream       a stream that ends, and is read once
    to Arrow (`__arrow_c_stream__`)
    an iterator, a generator, an asynchronous one              a stream without end, which is read once
    a function that makes one of these                         a stream without end, made anew for each query

An item of a stream is a batch, a table, a frame, a row ({column: value}) or a list of rows.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlstream.connectors.python import PythonObject
from sqlstream.connectors.python_source import StreamObject, TableObject
from sqlstream.dbapi.names import ProgrammingError


@dataclass(frozen=True)
class Found:
    """An object, and the schema of its batches."""

    item: PythonObject
    schema: pa.Schema


def object_of(
    value: Any, schema: pa.Schema | None = None, bounded: bool | None = None, changelog: bool = False
) -> Found:
    """`schema`: of a stream's batches; else its first item is taken to see. `bounded`: whether a stream ends.
    ProgrammingError for what has no rows."""
    table = table_of(value)
    if table is not None:
        if bounded is False:
            raise ProgrammingError("a table that is there ends: it is bounded")
        return Found(TableObject(table, changelog), table.schema)
    if isinstance(value, pa.RecordBatchReader):
        stream = StreamObject(lambda: iter(value), True, bounded is not False, changelog)
        return Found(stream, value.schema)
    if hasattr(value, "__arrow_c_stream__"):
        return object_of(pa.RecordBatchReader.from_stream(value), schema, bounded, changelog)
    if isinstance(value, (AsyncIterable, Iterator)):
        items = _items(value)
        if schema is None:
            schema, items = _first(items)
        return Found(StreamObject(lambda: _batches(items, schema), True, bool(bounded), changelog), schema)
    if not callable(value) or isinstance(value, type):
        raise ProgrammingError(f"a {type(value).__name__} has no rows: {_HINT}")
    make: Callable[[], Any] = value
    if schema is None:
        items = _items(make())
        schema, _ = _first(items)
        _close(items)
    return Found(StreamObject(lambda: _batches(_items(make()), schema), False, bool(bounded), changelog), schema)


_HINT = "give a table or frame, an iterator of batches, or a function that makes one"


def table_of(value: Any) -> pa.Table | None:
    """All rows of a table, frame, or list of rows; None for anything else. Copies where the program's form is another."""
    if isinstance(value, pa.Table):
        return value
    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    library = type(value).__module__.partition(".")[0]
    try:
        if library == "pandas" and hasattr(value, "columns"):
            return pa.Table.from_pandas(value, preserve_index=False)
        if library == "polars":
            return pa.table(value.collect() if hasattr(value, "collect") else value)
        if isinstance(value, Mapping):
            return pa.table(dict(value))
        if isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            return pa.Table.from_pylist(value)
    except (pa.ArrowException, TypeError, ValueError) as e:
        raise ProgrammingError(f"it cannot be a table: {e}") from e
    return None


def is_replaced(value: Any) -> bool:
    """Whether a variable of this value is a table in a query that names it: frames and Arrow's data only."""
    library = type(value).__module__.partition(".")[0]
    if library in ("pandas", "polars"):
        return hasattr(value, "columns") and hasattr(value, "dtypes" if library == "pandas" else "schema")
    return isinstance(value, (pa.Table, pa.RecordBatch, pa.RecordBatchReader))


# ---- items of a stream


def _first(items: Iterator[Any]) -> tuple[pa.Schema, Iterator[Any]]:
    """The schema of the first item, and all items. ProgrammingError where there is none, or none can be waited for."""
    if getattr(items, "of_this_thread", False):
        raise ProgrammingError(
            "the event loop that runs here would wait for itself to see the first item: give schema=…, as "
            "'id INT, ts TIMESTAMP(3)'"
        )
    try:
        for item in items:
            schema = next((b.schema for b in _batches(iter([item]), None)), None)
            if schema is not None:
                return schema, itertools.chain([item], items)
    except ProgrammingError:
        raise
    except Exception as e:
        raise ProgrammingError(f"its first item cannot be had: {type(e).__name__}: {e}") from e
    raise ProgrammingError("the stream is empty, so its columns are not known: give schema=…")


def _batches(items: Iterator[Any], schema: pa.Schema | None) -> Iterator[pa.RecordBatch]:
    try:
        for item in items:
            if isinstance(item, pa.RecordBatch):
                yield item
                continue
            if isinstance(item, Mapping):
                item = [item]
            if isinstance(item, list):
                yield from pa.Table.from_pylist(item, schema).to_batches()
                continue
            table = table_of(item)
            if table is None and hasattr(item, "__arrow_c_stream__"):
                table = pa.table(item)
            if table is None:
                raise TypeError(f"an item is a {type(item).__name__}, and neither a batch nor a row")
            yield from table.to_batches()
    finally:
        _close(items)


def _close(items: Iterator[Any]) -> None:
    """Ends a generator, and what else can be closed."""
    close = getattr(items, "close", None)
    if close is not None:
        close()


def _items(value: Any) -> Iterator[Any]:
    """The items of an iterable; of an asynchronous one, as they come."""
    if isinstance(value, AsyncIterable):
        from sqlstream.dbapi.async_items import AsyncItems  # here: asyncio takes its time to load

        return AsyncItems(value)
    if table_of(value) is not None or not isinstance(value, Iterable):
        return iter([value])
    return iter(value)
