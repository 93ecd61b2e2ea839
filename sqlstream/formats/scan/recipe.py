"""What a format says of how its blocks are scanned for a request."""

from __future__ import annotations

import duckdb

from sqlstream.errors import InternalError
from sqlstream.formats.scan.block import BlockScanner
from sqlstream.formats.scan.loading import Loading


class Recipe:
    """Plain data: picklable. `Decoder.scanned` gives it."""

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
