"""Changes of rows that a key knows, made of an Iceberg table by writing the files that have such rows anew (copy on write)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sqlstream.connectors.iceberg.data_files import DataFiles
from sqlstream.connectors.lake.changes import DELETED, last_of_each
from sqlstream.contracts import SinkTask
from sqlstream.errors import CheckpointError

if TYPE_CHECKING:
    from sqlstream.connectors.iceberg.sink import IcebergSink

AT = "_sqlstream_at"


def rewritten(
    sink: IcebergSink, table: Any, paths: list[str], task: SinkTask
) -> tuple[list[dict[str, Any]], list[Any]]:
    """New files, as `DataFiles` says them, and the data files that they take the places of."""
    from sqlstream.connectors.iceberg.sink import name_of

    changes = last_of_each(_read(sink, table, paths), sink.key)
    keys = changes.select(list(sink.key))
    files = DataFiles(table, [f.name for f in table.schema().fields], f"{name_of(task)}-merged")
    gone = []
    head = table.metadata.snapshot_by_name(sink.branch)
    if head is not None:
        for found in table.scan(snapshot_id=head.snapshot_id, row_filter=_near(sink.key, keys)).plan_files():
            rows = _rows(table, found)
            hit = _matching(rows, keys, sink.key)
            if not hit.any():
                continue
            gone.append(found.file)
            if not hit.all():
                _write(files, rows.filter(pa.array(~hit)))
    new = changes.filter(pc.invert(changes.column(DELETED))).drop_columns([DELETED])
    if new.num_rows:
        _write(files, new)
    return files.finish(), gone


def _read(sink: IcebergSink, table: Any, paths: list[str]) -> pa.Table:
    tables = []
    for path in paths:
        try:
            with table.io.new_input(path).open() as file:
                tables.append(pq.read_table(file))
        except FileNotFoundError as e:
            raise CheckpointError(
                f"table {sink.table.name}: {path}, which a checkpoint has prepared, is gone, and its rows are not in the table",
                hint="put it back, or start anew with --fresh",
            ) from e
    return pa.concat_tables(tables)


def _near(key: tuple[str, ...], keys: pa.Table) -> Any:
    """What leaves out files that have no row of these keys, by their least and greatest values."""
    from pyiceberg.expressions import AlwaysTrue, And, GreaterThanOrEqual, LessThanOrEqual

    out: Any = AlwaysTrue()
    for name in key:
        column = keys.column(name)
        t = column.type
        if not (pa.types.is_integer(t) or pa.types.is_string(t)):
            continue
        low, high = pc.min(column).as_py(), pc.max(column).as_py()
        out = And(out, And(GreaterThanOrEqual(name, low), LessThanOrEqual(name, high)))
    return out


def _rows(table: Any, task: Any) -> pa.Table:
    """All rows of a file, without those that are deleted in it, as the table is now."""
    from pyiceberg.expressions import AlwaysTrue
    from pyiceberg.io.pyarrow import ArrowScan

    scan = ArrowScan(table.metadata, table.io, table.schema(), AlwaysTrue())
    return scan.to_table([task])


def _matching(rows: pa.Table, keys: pa.Table, key: tuple[str, ...]) -> np.ndarray:
    """Which of the rows have one of the keys."""
    hit = np.zeros(rows.num_rows, bool)
    if len(key) == 1:
        column = rows.column(key[0])
        return np.asarray(pc.is_in(column.cast(keys.column(key[0]).type), keys.column(key[0]).combine_chunks()))
    mine = rows.select(list(key)).cast(keys.schema).append_column(AT, pa.array(np.arange(rows.num_rows)))
    found = mine.join(keys, list(key), join_type="left semi")
    hit[found.column(AT).to_numpy()] = True
    return hit


def _write(files: DataFiles, rows: pa.Table) -> None:
    want = files.schema
    columns = [
        rows.column(f.name).cast(f.type)
        if f.name in rows.schema.names
        else pa.chunked_array([pa.nulls(rows.num_rows, f.type)])
        for f in want
    ]
    for batch in pa.table(columns, schema=want).to_batches():
        files.write(batch)
