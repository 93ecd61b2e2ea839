"""What a format says of how its blocks are scanned for a request."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from sqlstream.errors import InternalError
from sqlstream.formats.scan.block import BlockScanner
from sqlstream.formats.scan.loading import Loading
from sqlstream.state.arrays import byte_strings


class Recipe:
    """Plain data: picklable. `Decoder.scanned` gives it. `line_ends`: bytes that end a line where no other follows.
    `needs_kernel`: without the kernel a statement over a whole file is faster than blocks of it."""

    line_ends = b"\n"
    needs_kernel = False

    @property
    def loading(self) -> Loading:
        """When the kernel is there."""
        raise InternalError("Recipe.loading")

    def scanner(self, cursor: duckdb.DuckDBPyConnection) -> BlockScanner:
        """A new scanner. `cursor`: for values that it leaves to DuckDB."""
        raise InternalError("Recipe.scanner")

    def ruled(self, records: str) -> str:
        """The records (SQL), raising where a rule is broken that is not of one value."""
        return records

    def joined(self, records: pa.BinaryArray) -> bytes:
        """Records as one block."""
        data, ends = byte_strings(records)
        return data[ends[0] : ends[-1]].tobytes()
