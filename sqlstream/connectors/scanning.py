"""Blocks of text by a scanner (`formats/scan`), with DuckDB for the records that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from sqlstream.connectors.blocks import BOM, NEWLINE, Block
from sqlstream.connectors.derive import Derivation
from sqlstream.contracts import ScanRequest
from sqlstream.duck import FAILURES, Given
from sqlstream.formats.base import Bad, Decoder, Malformed
from sqlstream.formats.readers import METADATA
from sqlstream.formats.scan import loading
from sqlstream.formats.scan.block import BlockScanner, Scanned
from sqlstream.formats.scan.columns import Array
from sqlstream.types import rename_array

Records = Callable[[bytes], pa.Table]  # the records layer of whole lines; raises as DuckDB does


@dataclass(frozen=True)
class Decoded:
    """The rows of a block, and its malformed records: lines from 1 of the block, and how many of the rows stand before each."""

    rows: pa.RecordBatch
    bad: list[Bad]


def is_scanned(decoder: Decoder) -> bool:
    """Whether blocks are the fast way to read a file, be it local or not."""
    return loading.is_allowed() and decoder.scanned() is not None


def is_best(decoder: Decoder, size: int) -> bool:
    """Whether blocks are the fast way to read a file of so many bytes, which a statement could read."""
    recipe = decoder.scanned() if loading.is_allowed() else None
    return recipe is not None and (recipe.loading.is_near(size) or not recipe.needs_kernel)


class Scanning:
    """The rows of blocks for a request, while the kernel is there and most lines are as it knows them. For one thread at a
    time. Of the block that it was given last, `lines`: how many there are; `taken`: how many it has taken in itself; `left`: whether
    it has left the block, as most lines are unusual."""

    def __init__(
        self,
        decoder: Decoder,
        request: ScanRequest,
        constants: Mapping[str, str],
        cursor: duckdb.DuckDBPyConnection,
        records: Records,
    ) -> None:
        self._recipe = decoder.scanned() if loading.is_allowed() else None
        self._of = (decoder, request, constants, cursor)
        self._records = records
        self.taken, self.lines, self.left = 0, 0, False

    @cached_property
    def _scanner(self) -> BlockScanner:
        assert self._recipe is not None
        return self._recipe.scanner(self._of[-1])

    @cached_property
    def _rows(self) -> Rows:
        return Rows(*self._of)

    def decode(self, block: Block) -> Decoded | None:
        """The block's rows; None where it is left to others as a whole."""
        found = self.records(block)
        if found is None:
            return None
        records, bad = found
        try:
            rows = self._rows.of(records)
        except (*FAILURES, Malformed):
            return None  # what is wrong with which record is for others to say
        if rows.num_rows != records.num_rows:  # a record is not a row: they come behind all of them
            bad = [replace(b, after=rows.num_rows) for b in bad]
        return Decoded(rows, bad)

    def records(self, block: Block) -> tuple[pa.RecordBatch, list[Bad]] | None:
        """The records layer of the block, whose rules nobody has looked at yet, and its malformed records. None: as of `decode`."""
        self.taken, self.lines, self.left = 0, 0, False
        if self._recipe is None or not len(block) or not self._recipe.loading.is_there(len(block)):
            return None
        end, data = block.end, block.buffer
        ends, behind = int(data[end - 1]) in self._recipe.line_ends, None
        if data[end - 1] != NEWLINE:
            behind, data[end] = int(data[end]), NEWLINE
            end += 1
        try:
            scanned = self._scanner.scan(data, block.start, end)
            if scanned is None:
                self.left = True
                return None
            self.lines = scanned.lines - (not ends)
            records, bad = self._whole(scanned, block)
        except (*FAILURES, Malformed):
            return None
        except MemoryError:  # a long line, and many columns of texts
            self.left = True
            return None
        finally:
            if behind is not None:  # perhaps of the next block
                data[block.end] = behind
        self.taken = scanned.batch.num_rows - len(scanned.unusual)
        return records, bad

    def _whole(self, scanned: Scanned, block: Block) -> tuple[pa.RecordBatch, list[Bad]]:
        """All good records, with those of the unusual lines, and the malformed ones among these."""
        places = scanned.unusual
        if not len(places):
            return scanned.batch, []
        assert self._recipe is not None
        found, bad = self._examined(self._recipe.joined(_texts(block, places[:, 1:3])))
        refused = np.array([b.after + n for n, b in enumerate(bad)], np.int64)
        good = np.delete(places[:, 0], refused)
        if found.num_rows != len(good):
            raise Malformed  # a line without a record, or with several
        rows = scanned.batch.num_rows
        order = np.arange(rows)
        order[good] = rows + np.arange(len(good))
        order = pa.array(np.delete(order, places[refused, 0]))
        arrays = []
        for i, array in enumerate(scanned.batch.columns):
            more = (
                rename_array(pa.concat_arrays(found.column(i).chunks), array.type) if len(good) else array.slice(0, 0)
            )
            arrays.append(pa.concat_arrays([array, more]).take(order))
        before = places[refused, 0] - np.arange(len(bad))
        bad = [
            replace(b, line=line + 1, after=after)
            for b, line, after in zip(bad, places[refused, 3].tolist(), before.tolist(), strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, names=scanned.batch.schema.names), bad

    def _examined(self, lines: bytes) -> tuple[pa.Table, list[Bad]]:
        """The records of unusual lines, and which of these are malformed. Raises as DuckDB does where that cannot be said."""
        if lines.startswith(BOM):  # which DuckDB passes over where a file begins: this is none
            raise Malformed
        try:
            return self._records(lines), []
        except (*FAILURES, Malformed):
            decoder, _, _, cursor = self._of
            examined = decoder.examine(cursor, lines)
            if examined is None or not examined.bad:
                raise
            return examined.records, examined.bad


class Rows:
    """The rows layer over records that are there already: by a statement of its own, or, where records are rows, of their
    columns and a `Derivation`."""

    def __init__(
        self, decoder: Decoder, request: ScanRequest, constants: Mapping[str, str], cursor: duckdb.DuckDBPyConnection
    ) -> None:
        self._request = request
        direct = decoder.records_are_rows and len(request.columns) > 0
        recipe = decoder.scanned()
        assert recipe is not None
        self._sql = decoder.rows(f"({recipe.ruled('SELECT * FROM scanned')})", constants)
        self._given = Given(cursor, "scanned")
        self._derivation = Derivation(request) if direct else None
        self._constants = {
            i: cursor.sql(f"SELECT {constants[c.path[1]]} AS x").to_arrow_table().column(0).cast(c.type.arrow())[0]
            for i, c in enumerate(request.columns)
            if direct and c.path[0] == METADATA
        }

    def of(self, records: pa.RecordBatch) -> pa.RecordBatch:
        """Raises DuckDB's errors."""
        if self._derivation is None:
            return concat_rows(self._given.run(self._sql, records))
        columns: list[Any] = []
        for i in range(len(self._request.columns)):
            constant = self._constants.get(i)
            columns.append(records.column(f"c{i}") if constant is None else pa.repeat(constant, records.num_rows))
        batch = pa.RecordBatch.from_arrays(columns, schema=self._request.arrow_schema())
        return self._derivation.of(batch)


def _texts(block: Block, places: Array) -> pa.BinaryArray:
    """The records of the block that have their (begin, end) in `places`, in order."""
    # They, and what stands between them, are values in the block's buffer.
    ends = np.minimum(places.reshape(-1), block.end).astype(np.int32)
    values = pa.Array.from_buffers(pa.binary(), len(ends) - 1, [None, pa.py_buffer(ends), pa.py_buffer(block.buffer)])
    return values.take(pa.array(np.arange(0, len(values), 2)))


def concat_rows(table: pa.Table) -> pa.RecordBatch:
    """The table as one batch, which may have no rows."""
    batches = table.combine_chunks().to_batches()
    if batches:
        return batches[0]
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in table.schema], schema=table.schema)
