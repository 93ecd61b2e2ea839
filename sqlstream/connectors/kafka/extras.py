"""What is written of a message beside its value and its key: its time, and its headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.kafka.metadata import HEADERS, TIMESTAMP
from sqlstream.errors import DataError

Array = np.ndarray[Any, Any]
# rd_kafka_vu_t: a kind (rd_kafka_vtype_t), and up to three words.
UNIT = np.dtype({
    "names": ["kind", "a", "b", "c"], "formats": ["u4", "u8", "u8", "u8"], "offsets": [0, 8, 16, 24], "itemsize": 72,
})  # fmt: skip
RKT, PARTITION, VALUE, KEY, FLAGS, TIME, HEADER = 2, 3, 4, 5, 7, 8, 9


@dataclass(frozen=True)
class Columns:
    """The table's columns that are written so. `zone`: in which a time without a zone is meant."""

    timestamp: str | None
    headers: str | None
    zone: str

    @staticmethod
    def of(columns: Mapping[str, str], zone: str) -> Columns | None:
        """Of columns by their METADATA keys; None: there are none."""
        return Columns(columns.get(TIMESTAMP), columns.get(HEADERS), zone) if columns else None

    def extras(self, batch: pa.RecordBatch) -> Extras:
        """Of the rows. DataError where a column is of a type that says none."""
        times = None if self.timestamp is None else self._milliseconds(batch.column(self.timestamp))
        headers = None if self.headers is None else Headers(self._map(batch.column(self.headers)))
        return Extras(times, headers)

    def _milliseconds(self, column: pa.Array) -> Array:
        if not pa.types.is_timestamp(column.type):
            raise DataError(f"METADATA column '{self.timestamp}' is no time", hint="declare it TIMESTAMP_LTZ(3)")
        if column.type.tz is None:
            column = pc.assume_timezone(column, self.zone, ambiguous="earliest", nonexistent="earliest")
        words = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        made: Array = pc.fill_null(words, 0).to_numpy(zero_copy_only=False) // 1000
        return made

    def _map(self, column: pa.Array) -> pa.Array:
        if not pa.types.is_map(column.type):
            raise DataError(f"METADATA column '{self.headers}' has no headers", hint="declare it MAP<STRING, BYTES>")
        return column


@dataclass(frozen=True)
class Extras:
    """Of messages. `times`: int64, ms since 1970; 0: now."""

    times: Array | None
    headers: Headers | None

    def units(
        self, topic: int, flags: int, partitions: Array, values: tuple[Array, Array], keys: tuple[Array, Array] | None
    ) -> tuple[Array, Array]:
        """What rd_kafka_produceva is given: for all messages, and where those of each begin (one more for the end). Values and keys are
        pointers and sizes."""
        n = len(values[0])
        more = self.headers.counts if self.headers is not None else np.zeros(n, np.int64)
        fixed = 4 + (keys is not None) + (self.times is not None)
        begins = np.concatenate([[0], np.cumsum(more + fixed)]).astype(np.int64)
        units, at = np.zeros(int(begins[-1]), UNIT), begins[:-1].copy()
        for kind, a, b in (
            (RKT, topic, 0), (FLAGS, flags, 0), (PARTITION, partitions.astype(np.int64).view(np.uint64), 0), (VALUE, *values),
            *(((KEY, *keys),) if keys is not None else ()), *(((TIME, self.times.view(np.uint64), 0),) if self.times is not None else ()),
        ):  # fmt: skip
            units["kind"][at], units["a"][at], units["b"][at] = kind, a, b
            at += 1
        if self.headers is not None:
            self.headers.put(units, np.repeat(at, more), more)
        return units, begins


class Headers:
    """A column of maps from names to bytes, NULL where there are none."""

    def __init__(self, column: pa.Array) -> None:
        entry = pa.struct([pa.field("key", pa.string(), False), pa.field("value", pa.binary())])
        entries = column.cast(pa.list_(entry))
        self.counts: Array = (
            pc.fill_null(pc.list_value_length(entries), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        )
        names, values = entries.flatten().flatten()
        self._names, self._name_at = _joined(pc.binary_join_element_wise(names.cast(pa.binary()), b"", b"\0"))
        self._there = values.is_valid().to_numpy(zero_copy_only=False)
        self._values, self._value_at = _joined(pc.fill_null(values, b""))

    def put(self, units: Array, firsts: Array, counts: Array) -> None:
        """Into units: those of each message behind one another, the first of which is at `firsts` of each header of it."""
        within = np.arange(len(firsts)) - np.repeat(np.cumsum(counts) - counts, counts)
        at = firsts + within
        units["kind"][at] = HEADER
        units["a"][at] = self._names.ctypes.data + self._name_at[:-1]
        units["b"][at] = np.where(self._there, self._values.ctypes.data + self._value_at[:-1], 0)
        units["c"][at] = np.diff(self._value_at)


def _joined(values: pa.Array) -> tuple[Array, Array]:
    """Byte strings one behind the other, and where each begins (one more for the end)."""
    sizes = pc.binary_length(values).to_numpy(zero_copy_only=False).astype(np.uint64)
    data = np.frombuffer(b"".join(values.to_pylist()) + b"\0", np.uint8)
    return data, np.concatenate([[0], np.cumsum(sizes)]).astype(np.uint64)
