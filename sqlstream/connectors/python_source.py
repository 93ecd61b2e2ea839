"""Arrow data of a Python program as rows: tables that are there, and streams of batches that come.

A table is cut into splits of SPLIT rows; nothing is copied but columns whose Arrow type is none of the engine's. A
stream is one split, read on a thread of its own. A position is {"row": n}. A job that goes on reads a table from where
it stood, and has a stream made anew, of which it leaves out as many rows: it must be the same one. A stream that is
there once (an iterator) cannot be gone on with.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.batches import KIND_TEXT, OP
from sqlstream.connectors.derive import Derivation
from sqlstream.connectors.python import ReadObject
from sqlstream.connectors.relation import register_splits
from sqlstream.contracts import Pending, ScanColumn, ScanRequest, Source, SourceBatch, Split, SplitReader, TableContext
from sqlstream.errors import CheckpointError, DataError, RunError, SqlStreamError
from sqlstream.types import INTERVAL_DAY, Column, Schema, Type, array, from_arrow, map_of, rename_array, row

SPLIT = 1_000_000  # rows
BATCH = 65_536
CHANGE = "op"  # the column of a changelog's batches that says what each row is: +I, -U, +U or -D

Batches = Callable[[], Iterator[pa.RecordBatch]]


# ---- Arrow's columns as the engine's


def usual(t: pa.DataType) -> pa.DataType:
    """The plain type of the same values: of dictionaries, views, large and fixed ones. DataError for one that has none."""
    if isinstance(t, pa.BaseExtensionType):
        return usual(t.storage_type)
    if pa.types.is_dictionary(t) or pa.types.is_run_end_encoded(t):
        return usual(t.value_type)
    if pa.types.is_list(t) or pa.types.is_large_list(t) or pa.types.is_fixed_size_list(t):
        return pa.list_(usual(t.value_type))
    if pa.types.is_list_view(t) or pa.types.is_large_list_view(t):
        return pa.list_(usual(t.value_type))
    if pa.types.is_map(t):
        return pa.map_(usual(t.key_type), usual(t.item_type))
    if pa.types.is_struct(t):
        return pa.struct([(t.field(i).name, usual(t.field(i).type)) for i in range(t.num_fields)])
    if pa.types.is_decimal(t):
        if t.precision > 38 or t.scale < 0:
            raise DataError(f"{t} is wider than DECIMAL(38, …)", hint="cast it before it is registered")
        return pa.decimal128(t.precision, t.scale)
    if pa.types.is_timestamp(t) and t.unit == "ns":
        return pa.timestamp("us", t.tz)
    for is_of, plain in _USUAL:
        if is_of(t):
            return plain
    return t


_USUAL: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_binary_view, pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
    (pa.types.is_date64, pa.date32()),
    (pa.types.is_time, pa.time64("us")),
    (pa.types.is_duration, pa.duration("us")),
    (pa.types.is_float16, pa.float32()),
    (pa.types.is_null, pa.string()),
)


def as_column(values: pa.Array, t: Type) -> pa.Array:
    """An array of the engine's type; the same buffers where it is. pa.ArrowInvalid for a value that is none of `t`."""
    want = t.arrow()
    if values.type == want:
        return values
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    plain = usual(values.type)
    if pa.types.is_timestamp(values.type) and values.type.unit == "ns":
        values = pc.floor_temporal(values, unit="microsecond")
    if values.type != plain:
        values = values.cast(plain)
    if pa.types.is_duration(plain):
        values = values.cast(pa.int64())
    if t.is_timestamp:
        values = _at(values.cast(pa.timestamp("us", values.type.tz)), t.precision).cast(want)
    return rename_array(values, want)


def _at(values: pa.Array, precision: int | None) -> pa.Array:
    """Timestamps (µs) as exact as TIMESTAMP(precision)."""
    digits = 6 if precision is None else precision
    return values if digits >= 6 else pc.floor_temporal(values, multiple=10 ** (6 - digits), unit="microsecond")


class Columns:
    """Batches of a program, under their own names, as a request wants them. For one thread at a time."""

    def __init__(self, table: str, request: ScanRequest, changelog: bool) -> None:
        self._table, self._request, self._changelog = table, request, changelog
        self._derivation = Derivation(request)
        self._schema = request.arrow_schema()

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """c0…, what is derived, `_op`. DataError where a column is missing or of another type."""
        arrays = [self._column(batch, c) for c in self._request.columns]
        schema = self._schema
        if not arrays:
            schema, arrays = pa.schema([("one", pa.int32())]), [pa.array([1] * batch.num_rows, pa.int32())]
        made = self._derivation.of(pa.RecordBatch.from_arrays(arrays, schema=schema))
        return made.append_column(OP, self._kinds(batch)) if self._changelog else made

    def _column(self, batch: pa.RecordBatch, c: ScanColumn) -> pa.Array:
        name = c.path[0]
        try:
            values = batch.column(name)
            for field in c.path[1:]:
                values = pc.struct_field(values, field)
            return as_column(values, c.type)
        except KeyError:
            there = ", ".join(batch.schema.names)
            raise DataError(f"table {self._table}: a batch has no column '{name}' (there are: {there})") from None
        except (pa.ArrowException, ValueError) as e:
            raise DataError(f"table {self._table}: column '{'.'.join(c.path)}' is no {c.type.text()}: {e}") from None

    def _kinds(self, batch: pa.RecordBatch) -> pa.Array:
        if CHANGE not in batch.schema.names:
            raise DataError(f"table {self._table}: a batch of changes has no column '{CHANGE}' (+I, -U, +U or -D)")
        codes = pc.index_in(batch.column(CHANGE).cast(pa.string()), pa.array(KIND_TEXT))
        if codes.null_count:
            wrong = batch.column(CHANGE).filter(codes.is_null())[0].as_py()
            raise DataError(f"table {self._table}: '{CHANGE}' is {wrong!r}, and not one of {', '.join(KIND_TEXT)}")
        return codes.cast(pa.int8())


def columns_of(schema: pa.Schema) -> Schema:
    """The columns of a table whose batches have this schema; TIMESTAMPs as exact as Arrow's unit."""
    columns = []
    for f in schema:
        try:
            columns.append(Column(f.name, _type(usual(f.type))))
        except DataError as e:
            raise DataError(f"column '{f.name}': {e.message}", hint=e.hint) from None
    return Schema(tuple(columns))


_PRECISION = {"s": 0, "ms": 3, "us": 6}


def _type(t: pa.DataType) -> Type:
    """Of a usual one."""
    if pa.types.is_timestamp(t):
        return Type("TIMESTAMP" if t.tz is None else "TIMESTAMP_LTZ", _PRECISION[t.unit])
    if pa.types.is_time(t):
        return Type("TIME", 6)
    if pa.types.is_duration(t):
        return INTERVAL_DAY
    if pa.types.is_struct(t):
        return row(*((t.field(i).name, _type(t.field(i).type)) for i in range(t.num_fields)))
    if pa.types.is_map(t):
        return map_of(_type(t.key_type).null(False), _type(t.item_type))
    if pa.types.is_list(t):
        return array(_type(t.value_type))
    return from_arrow(t)


# ---- a table that is there


class TableObject(ReadObject):
    """An Arrow table."""

    def __init__(self, data: pa.Table, changelog: bool = False) -> None:
        self._data, self._changelog = data, changelog

    def source(self, table: TableContext) -> Source:
        """Its rows."""
        return TableSource(table.name, self._data, self._changelog)


class TableSource(Source):
    """The rows of an Arrow table."""

    def __init__(self, name: str, data: pa.Table, changelog: bool) -> None:
        self._name, self._data = name, data
        self.append_only = not changelog

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        rows = self._data.num_rows
        made = [
            Split(f"rows-{i}", {"from": start, "to": min(start + SPLIT, rows)}, i)
            for i, start in enumerate(range(0, max(rows, 1), SPLIT))
        ]
        if known and [(s.id, dict(s.info)) for s in known] != [(s.id, dict(s.info)) for s in made]:
            raise CheckpointError(
                f"table {self._name} has {rows:,} rows, and had another number when the job's checkpoint was taken",
                hint="register the same object, or give the job another pipeline.name",
            )
        return list(known) or made

    def pending(self, split: Split, position: Any) -> Pending:
        return Pending(split.info["to"] - split.info["from"] - (int(position["row"]) if position else 0))

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        start, end = split.info["from"], split.info["to"]
        at = int(position["row"]) if position else first_row
        columns = Columns(self._name, request, not self.append_only)
        return TableReader(self._data.slice(start, end - start), at, columns)

    def relation(self, connection: duckdb.DuckDBPyConnection, request: ScanRequest) -> str | None:
        if (
            request.derived
            or not request.columns
            or not self.append_only
            or any(len(c.path) > 1 for c in request.columns)
        ):
            return None
        columns = Columns(self._name, request, False)
        batches = [columns.of(b) for b in self._data.to_batches()]
        name = f"_python_{id(self._data)}_{len(request.columns)}"
        connection.register(name, pa.Table.from_batches(batches, request.arrow_schema()))
        return name


class TableReader(SplitReader):
    """Row after row."""

    def __init__(self, data: pa.Table, at: int, columns: Columns) -> None:
        self._data, self._at, self._columns = data, at, columns

    def poll(self, max_rows: int) -> SourceBatch | None:
        if self.finished:
            return None
        first = self._at
        rows = self._data.slice(first, min(max_rows, BATCH)).combine_chunks().to_batches()[0]
        self._at += rows.num_rows
        return SourceBatch(self._columns.of(rows), first, {"row": self._at})

    @property
    def pending(self) -> Pending:
        return Pending(self._data.num_rows - self._at)

    @property
    def finished(self) -> bool:
        return bool(self._at >= self._data.num_rows)


# ---- a stream that comes


class StreamObject(ReadObject):
    """Batches that `opened` makes, or, `once`, gives the one time that there is. `schema`: of its batches."""

    def __init__(self, opened: Batches, once: bool, bounded: bool, changelog: bool = False) -> None:
        self._opened, self.once, self._bounded, self._changelog = opened, once, bounded, changelog
        self._lock = threading.Lock()
        self._taken = False

    def source(self, table: TableContext) -> Source:
        """Its rows, as they come."""
        return StreamSource(table.name, self, self._bounded, self._changelog)

    def open(self, table: str, from_start: bool) -> Iterator[pa.RecordBatch]:
        """The batches from the first one. RunError where they are there once, and were taken before."""
        with self._lock:
            if self.once and (self._taken or not from_start):
                raise RunError(
                    f"table {table}: its iterator was read before, and gives its rows once",
                    hint="register a function that makes an iterator: it is called for each query",
                )
            self._taken = True
        return self._opened()


class StreamSource(Source):
    """The rows of a stream: one split, to which no others come."""

    settled = True

    def __init__(self, name: str, stream: StreamObject, bounded: bool, changelog: bool) -> None:
        self._name, self._stream, self.bounded = name, stream, bounded
        self.append_only = not changelog
        self._kept: list[pa.RecordBatch] | None = None

    def splits(self, known: tuple[Split, ...] = (), *checkpoint: Any) -> list[Split]:
        return list(known) or [Split("rows")]

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        return f"the iterator of table {self._name} gives its rows once" if self._stream.once else None

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        at = int(position["row"]) if position else first_row
        batches = iter(self._kept) if self._kept is not None else self._stream.open(self._name, at == 0)
        return StreamReader(self._name, batches, at, Columns(self._name, request, not self.append_only))

    def relation(self, connection: duckdb.DuckDBPyConnection, request: ScanRequest) -> str | None:
        if self._kept is None:  # a statement may scan it more than once, each time for other columns
            self._kept = list(_told(self._name, self._stream.open(self._name, True)))
        return register_splits(self, connection, request)


def _told(table: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches; what goes wrong in the program's code names the table."""
    try:
        yield from batches
    except SqlStreamError:
        raise
    except Exception as e:
        raise RunError(f"table {table}: its iterator failed: {type(e).__name__}: {e}") from e


class StreamReader(SplitReader):
    """Takes batches on a thread of its own, a few ahead, so that a poll never waits for one."""

    def __init__(self, table: str, batches: Iterator[pa.RecordBatch], at: int, columns: Columns) -> None:
        self._columns, self._at, self._skip = columns, at, at
        self._queue: queue.Queue[pa.RecordBatch | BaseException | None] = queue.Queue(8)
        self._closed = threading.Event()
        self._batch: pa.RecordBatch | None = None
        self._over = False
        self._batches = batches
        self._thread = threading.Thread(target=self._run, args=(table,), name=f"table {table}", daemon=True)
        self._thread.start()

    def poll(self, max_rows: int) -> SourceBatch | None:
        while self._batch is None:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return None
            if item is None:
                self._over = True
                return None
            if isinstance(item, BaseException):
                raise item
            skipped = min(self._skip, item.num_rows)
            self._skip -= skipped
            self._batch = item.slice(skipped) if skipped < item.num_rows else None
        first, rows = self._at, self._batch.slice(0, max_rows)
        self._at += rows.num_rows
        self._batch = self._batch.slice(max_rows) if rows.num_rows < self._batch.num_rows else None
        drained = self._batch is None and self._queue.empty()
        return SourceBatch(self._columns.of(rows), first, {"row": self._at}, drained)

    @property
    def finished(self) -> bool:
        return self._over

    def close(self) -> None:
        self._closed.set()

    def _run(self, table: str) -> None:
        try:
            for batch in _told(table, self._batches):
                if not self._put(batch):
                    break
            else:
                self._put(None)
        except BaseException as e:
            self._put(e)
        finally:
            close = getattr(self._batches, "close", None)
            if close is not None and self._closed.is_set():
                close()

    def _put(self, item: pa.RecordBatch | BaseException | None) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
