"""Values of types that the scanner has none for (ARRAY, MAP, BYTES, …), of their JSON."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.formats.base import Malformed
from sqlstream.formats.cursor import Slot
from sqlstream.formats.json_records import JsonRecords, Leaf
from sqlstream.formats.json_scan.plan import ScanPlan
from sqlstream.formats.readers import LONGEST_OBJECT
from sqlstream.state.arrays import byte_strings
from sqlstream.types import rename_array


class RawValues:
    """By the records layer, of lines that are made of it."""

    def __init__(self, plan: ScanPlan, cursor: duckdb.DuckDBPyConnection) -> None:
        leaves = tuple(Leaf(f"x{c.string}", (f"x{c.string}",), c.type.null()) for c in plan.raw)
        self._records = JsonRecords(leaves, plan.standard)
        self._types = [c.type.arrow() for c in plan.raw]
        self._cursor, self._slot = cursor, Slot()

    def __call__(self, texts: list[pa.Array]) -> list[pa.Array]:
        """Raises DuckDB's errors."""
        there = np.zeros(len(texts[0]), np.bool_)
        for text in texts:
            there |= text.is_valid().to_numpy(zero_copy_only=False)
        count = int(np.count_nonzero(there))
        if not count:
            return [pa.nulls(len(there), t) for t in self._types]
        table = self._values([text.filter(pa.array(there)) for text in texts])
        if table.num_rows != count:
            raise Malformed
        at = pa.array(np.cumsum(there) - 1, mask=~there)
        values = (rename_array(pa.concat_arrays(c.chunks), t) for c, t in zip(table.columns, self._types, strict=True))
        return [a.take(at) for a in values]

    def _values(self, texts: list[pa.Array]) -> pa.Table:
        parts: list[Any] = []
        for i, (leaf, text) in enumerate(zip(self._records.leaves, texts, strict=True)):
            parts += [f'{"," if i else "{"}"{leaf.name}":', text]
        lines = pc.binary_join_element_wise(*parts, "}\n", "", null_handling="replace", null_replacement="null")
        data = byte_strings(lines)[0].tobytes()
        longest = LONGEST_OBJECT if len(data) < LONGEST_OBJECT else 2 * len(data)
        with self._slot.holding(self._records.numbers.quoted(data)):
            return self._cursor.sql(self._records.sql((self._slot.path,), longest=longest)).to_arrow_table()
