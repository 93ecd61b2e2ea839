"""Columns that a statement gives as text, and their values, made beside DuckDB.

A checked cast in SQL (conversion.py) costs 30 ns for an integer and 80 to 200 ns for a timestamp; a compiled loop over
the text takes 5 and 15, and is as strict: what is not in the usual form goes through the SQL after all, which knows
the rarer forms and raises on what is none. Measured on Nexmark q7's columns, one thread: 1.13 M events/s by SQL alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from sqlstream.formats import text_kernels
from sqlstream.formats.conversion import ISO_STANDARD, checked_not_null, convert
from sqlstream.state.arrays import byte_strings, from_fixed, validity
from sqlstream.types import Type

_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}


def is_fast(t: Type) -> bool:
    """Whether values of this type have a loop."""
    return t.kind in _BITS or t.kind in ("TIMESTAMP", "TIMESTAMP_LTZ")


@dataclass(frozen=True)
class TextColumns:
    """`types[i]`: the type of column ci where it is text, None where it is a value already."""

    types: tuple[Type | None, ...]
    standard: str

    def values(self, batch: pa.RecordBatch, cursor: duckdb.DuckDBPyConnection) -> pa.RecordBatch:
        """`batch` with values in place of text. duckdb.Error when a text is no value of its type."""
        arrays, rest = batch.columns, list[int]()
        for i, t in enumerate(self.types):
            if t is not None:
                made = self._made(t, arrays[i])
                if made is None:
                    rest.append(i)
                else:
                    arrays[i] = made
        if rest:
            for i, made in zip(rest, self._checked(batch, rest, cursor), strict=True):
                arrays[i] = made
        return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)

    def _made(self, t: Type, text: pa.Array) -> pa.Array | None:
        if text.null_count and not t.nullable:
            return None
        data, offsets = byte_strings(text)
        valid, words = validity(text), np.empty(len(text), np.int64)
        if t.kind in _BITS:
            greatest = 2 ** (_BITS[t.kind] - 1) - 1
            done = text_kernels.parse_integers(data, offsets, valid, -greatest - 1, greatest, words)
        else:
            separator = ord("T") if self.standard == ISO_STANDARD else ord(" ")
            step = 10 ** (6 - (6 if t.precision is None else t.precision))
            zone = int(t.kind == "TIMESTAMP_LTZ")
            done = text_kernels.parse_timestamps(data, offsets, valid, separator, zone, step, words)
        return from_fixed(words, valid, t.arrow()) if done == len(text) else None

    def _checked(self, batch: pa.RecordBatch, columns: list[int], cursor: duckdb.DuckDBPyConnection) -> list[pa.Array]:
        expressions = []
        for i in columns:
            t = self.types[i]
            assert t is not None
            expressions.append(f"{checked_not_null(t, convert(t, f'c{i}', self.standard))} AS c{i}")
        cursor.register("texts", batch)
        try:
            table = cursor.sql(f"SELECT {', '.join(expressions)} FROM texts").to_arrow_table().combine_chunks()
        finally:
            cursor.unregister("texts")
        return [c.chunk(0) if c.num_chunks else pa.array([], c.type) for c in table.columns]
