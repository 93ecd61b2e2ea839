"""A data file that is not its rows as they stand in it: rows were deleted, columns have defaults, it is ORC or Avro, or the catalog
says how it is reached. pyiceberg reads it, and gives the columns as the table has them now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.decode_ahead import DecodeAhead
from sqlstream.connectors.derive import Derivation
from sqlstream.connectors.iceberg.catalog import Place
from sqlstream.contracts import ScanRequest, SourceBatch, SplitReader
from sqlstream.errors import DataError
from sqlstream.types import Type, rename_array

BATCH = 65_536


class ScanReader(SplitReader):
    """A position is {"row": n}: how many rows were given."""

    def __init__(
        self, place: Place, table: Any, task: Any, position: Any, request: ScanRequest, first_row: int
    ) -> None:
        self._place, self._table, self._task, self._request = place, table, task, request
        self._row = int(position["row"]) if position else first_row
        self._left: pa.RecordBatch | None = None
        self._finished = False
        self._ahead = DecodeAhead(self._batches(self._row), depth=2)

    def poll(self, max_rows: int) -> SourceBatch | None:
        if self._finished:
            return None
        batch, self._left = self._left, None
        batch = batch if batch is not None else self._ahead.next(None)
        if batch is None:
            self._finished = self._ahead.ended
            return None
        if batch.num_rows > max_rows:
            batch, self._left = batch.slice(0, max_rows), batch.slice(max_rows)
        first, self._row = self._row, self._row + batch.num_rows
        return SourceBatch(batch, first, {"row": self._row})

    @property
    def finished(self) -> bool:
        return self._finished

    def close(self) -> None:
        self._finished = True
        self._ahead.close()

    def _batches(self, skip: int) -> Iterator[pa.RecordBatch]:
        from pyiceberg.expressions import AlwaysTrue
        from pyiceberg.io.pyarrow import ArrowScan

        derivation = Derivation(self._request)
        names = list(dict.fromkeys(c.path[0] for c in self._request.columns))
        schema = self._table.schema()
        # a request for nothing has as many rows
        projected = schema.select(*(names or [schema.fields[0].name]))
        with self._place.reported("read"):
            found = ArrowScan(self._table.metadata, self._table.io, projected, AlwaysTrue()).to_record_batches(
                [self._task]
            )
            for whole in found:
                if skip >= whole.num_rows:
                    skip -= whole.num_rows
                    continue
                for at in range(skip, whole.num_rows, BATCH):
                    yield derivation.of(self._rows(whole.slice(at, BATCH)))
                skip = 0

    def _rows(self, found: pa.RecordBatch) -> pa.RecordBatch:
        want = self._request.arrow_schema()
        if not len(want):
            return pa.RecordBatch.from_arrays([pa.repeat(pa.scalar(1, pa.int32()), found.num_rows)], names=["one"])
        arrays = []
        for c, f in zip(self._request.columns, want, strict=True):
            at = found.column(c.path[0])
            for name in c.path[1:]:
                at = pc.struct_field(at, name)
            try:
                arrays.append(rename_array(declared(at, c.type), f.type))
            except (pa.ArrowException, KeyError) as e:
                raise DataError(
                    f"table {self._place.table}: column {'.'.join(c.path)} is {at.type} in {self._place.name}, and {c.type} here",
                    hint="declare it as it is there, and CAST in the query",
                ) from e
        return pa.RecordBatch.from_arrays(arrays, schema=want)


def declared(values: pa.Array, t: Type) -> pa.Array:
    """A column of a table with the fields that `t` names, in its order, and times cut to its precision."""
    kind = values.type
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if t.kind == "ROW" and pa.types.is_struct(kind):
        children = [declared(pc.struct_field(values, f.name), f.type) for f in t.fields]
        fields = [pa.field(f.name, c.type) for f, c in zip(t.fields, children, strict=True)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=values.is_null())
    if t.kind == "ARRAY" and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        small = values.cast(pa.list_(kind.value_type))
        small = pa.concat_arrays([small, small.slice(0, 0)])  # without an offset of its own
        inner = declared(small.values, t.element)
        return pa.ListArray.from_arrays(small.offsets, inner, mask=small.is_null() if small.null_count else None)
    if pa.types.is_large_string(kind):
        return values.cast(pa.string())
    if pa.types.is_large_binary(kind):
        return values.cast(pa.binary())
    if t.is_timestamp and t.precision is not None and t.precision < 6:
        units = {0: "second", 3: "millisecond"}
        return (
            pc.floor_temporal(values, 10 ** (6 - t.precision), "microsecond")
            if t.precision not in units
            else pc.floor_temporal(values, 1, units[t.precision])
        )
    return values
