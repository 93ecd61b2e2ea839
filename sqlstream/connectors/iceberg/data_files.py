"""Data files of an Iceberg table: written by partition, and said as JSON until a snapshot names them."""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlstream.connectors.file_store import reported
from sqlstream.connectors.iceberg.schema import arrow_schema
from sqlstream.connectors.lake.grouping import Key, grouped
from sqlstream.connectors.lake.parts import Parts, Written
from sqlstream.connectors.paths import absolute, is_local

TARGET = 512 << 20  # bytes of a file; Iceberg's default
_BOUNDS = ("lower_bounds", "upper_bounds")
_COUNTS = ("column_sizes", "value_counts", "null_value_counts", "nan_value_counts")


@dataclass(frozen=True)
class _Directory:
    """Of a partition, as the table's location provider asks for it."""

    path: str

    def to_path(self) -> str:
        return self.path


class DataFiles:
    """Files of `table` (as it is now) that rows are written to; `names`: the columns that are written. `prefix`: what the names of
    files begin with."""

    def __init__(self, table: Any, names: list[str], prefix: str) -> None:
        from pyiceberg.io.pyarrow import compute_statistics_plan, parquet_path_to_id_mapping

        self._table, self._prefix = table, prefix
        schema = table.schema()
        written = schema.select(*names)
        self.schema = arrow_schema(written)
        self._spec = table.spec()
        self._types = [f.field_type for f in self._spec.partition_type(schema).fields]
        self._sources = [(schema.find_column_name(f.source_id), schema.find_field(f.source_id).field_type, f.transform)
                         for f in self._spec.fields]  # fmt: skip
        properties = table.metadata.properties
        self._plan = compute_statistics_plan(written, properties)
        self._ids = parquet_path_to_id_mapping(written)
        target = int(properties.get("write.target-file-size-bytes", TARGET))
        settings = _settings(properties)
        self._parts = Parts(self.schema, self._create, self.remove, target, settings)

    @property
    def partition_columns(self) -> set[str]:
        """The columns by whose values rows are grouped."""
        return {str(name) for name, _, _ in self._sources}

    def write(self, rows: pa.RecordBatch) -> None:
        """Rows of `schema`."""
        values = [
            _stored(transform.pyarrow_transform(kind)(_field(rows, name))) for name, kind, transform in self._sources
        ]
        for key, part in grouped(rows, values):
            self._parts.write(key, part)

    def finish(self) -> list[dict[str, Any]]:
        """What was written since the last time, as files."""
        return [self._said(w) for w in self._parts.finish()]

    def discard(self) -> None:
        """What was not given by `finish` goes."""
        self._parts.discard()

    def remove(self, path: str) -> None:
        """A file that no snapshot will name."""
        remove(self._table.io, path)

    def _create(self, key: Key) -> tuple[str, Any]:
        directory = None
        if key:
            from pyiceberg.typedef import Record

            directory = _Directory(self._spec.partition_to_path(Record(*key), self._table.schema()))
        path = self._table.location_provider().new_data_location(f"{self._prefix}-{uuid.uuid4()}.parquet", directory)
        return path, create(self._table.io, path)

    def _said(self, w: Written) -> dict[str, Any]:
        from pyiceberg.conversions import to_bytes
        from pyiceberg.io.pyarrow import data_file_statistics_from_parquet_metadata

        found = data_file_statistics_from_parquet_metadata(w.metadata, self._plan, self._ids).to_serialized_dict()
        partition = [None if v is None else _text(to_bytes(t, v)) for v, t in zip(w.key, self._types, strict=True)]
        return {
            "path": w.path,
            "size": w.size,
            "rows": w.rows,
            "spec": self._spec.spec_id,
            "partition": partition,
            "splits": found["split_offsets"],
            **{k: {str(i): _text(b) for i, b in found[k].items()} for k in _BOUNDS},
            **{k: {str(i): n for i, n in found[k].items()} for k in _COUNTS},
        }


def data_file(table: Any, said: dict[str, Any]) -> Any:
    """What `finish` said, as a snapshot has it. KeyError, ValueError where somebody changed it."""
    from pyiceberg.conversions import from_bytes
    from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
    from pyiceberg.typedef import Record

    spec = table.specs()[said["spec"]]
    types = [f.field_type for f in spec.partition_type(table.schema()).fields]
    values = [
        None if b is None else from_bytes(t, base64.b64decode(b)) for b, t in zip(said["partition"], types, strict=True)
    ]
    made = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=str(said["path"]),
        file_format=FileFormat.PARQUET,
        partition=Record(*values),
        file_size_in_bytes=int(said["size"]),
        record_count=int(said["rows"]),
        split_offsets=list(said["splits"]),
        sort_order_id=None,
        equality_ids=None,
        key_metadata=None,
        **{k: {int(i): base64.b64decode(b) for i, b in said[k].items()} for k in _BOUNDS},
        **{k: {int(i): int(n) for i, n in said[k].items()} for k in _COUNTS},
    )
    made.spec_id = spec.spec_id
    return made


def create(io: Any, path: str) -> Any:
    """A new file, open. One on a local disk is the system's, which can be told to be durable."""
    local = absolute(path, "/") if is_local(path) or path.startswith("file:") else None
    with reported(path, "write"):
        if local is not None:
            os.makedirs(os.path.dirname(local), exist_ok=True)
            return open(local, "xb")
        return io.new_output(path).create()


def remove(io: Any, path: str) -> None:
    """A file goes; gone already is fine."""
    try:
        io.delete(path)
    except FileNotFoundError:
        return


def sync(paths: Iterable[str]) -> None:
    """Files on a local disk, and their names, are safe against a crash of the machine."""
    directories = set()
    for path in paths:
        if is_local(path) or path.startswith("file:"):
            local = absolute(path, "/")
            directories.add(os.path.dirname(local))
            _sync(local)
    for d in directories:
        _sync(d)


def _sync(path: str) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # somebody has cleaned up
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _field(rows: pa.RecordBatch, path: str) -> pa.Array:
    """A column, or a field of one."""
    if path in rows.schema.names:
        return rows.column(path)
    name, *inside = path.split(".")
    at = rows.column(name)
    for n in inside:
        at = at.field(n)
    return at


def _stored(values: pa.Array) -> pa.Array:
    """As Iceberg keeps values of a partition: times as numbers."""
    t = values.type
    if pa.types.is_date32(t):
        return values.cast(pa.int32())
    if pa.types.is_timestamp(t) or pa.types.is_time64(t):
        return values.cast(pa.int64())
    if isinstance(t, pa.ExtensionType):
        return values.storage
    return values


def _settings(properties: Any) -> dict[str, Any]:
    """Of Arrow's ParquetWriter, by the table's properties."""
    codec = properties.get("write.parquet.compression-codec", "zstd").lower()
    level = properties.get("write.parquet.compression-level")
    return {
        "compression": "none" if codec == "uncompressed" else codec,
        "compression_level": None if level in (None, "null") else int(level),
        "data_page_size": int(properties.get("write.parquet.page-size-bytes", 1 << 20)),
        "dictionary_pagesize_limit": int(properties.get("write.parquet.dict-size-bytes", 2 << 20)),
        "store_decimal_as_integer": True,
    }


def stored_values(table: Any, values: dict[str, Any]) -> list[Any]:
    """The partition that has these values, by the names of its fields or of the columns that they are made of."""
    out = []
    schema = table.schema()
    for f in table.spec().fields:
        source = schema.find_field(f.source_id)
        value = values.get(f.name, values.get(source.name))
        array = pa.array([value], arrow_schema(schema).field(source.name).type)
        out.append(_stored(f.transform.pyarrow_transform(source.field_type)(array)).to_pylist()[0])
    return out
