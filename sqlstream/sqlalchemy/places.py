"""Where tables are kept whose CREATE TABLE says nothing of it, such as those of `DataFrame.to_sql`.

A table is what its connector has, and a program that knows nothing of connectors names none. Such tables are Parquet files in
a directory of the catalog's (`<catalog>/tables/<name>`), or, where that is in memory, in one that goes with the engine. What
is in it is the dialect's: DROP TABLE removes it.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote


class Places:
    """`options`: those that such a table has instead, `{table}` in them being its name."""

    def __init__(self, options: Mapping[str, str] | None) -> None:
        self._options = options
        self._directory: Path | None = None

    def within(self, catalog: str) -> None:
        """The catalog's directory, or ':memory:'."""
        if self._directory is None and catalog != ":memory:":
            self._directory = Path(catalog).absolute() / "tables"

    def options(self, table: str) -> dict[str, str]:
        """What stands behind its WITH."""
        if self._options is not None:
            return {k: v.replace("{table}", table) for k, v in self._options.items()}
        return {"connector": "filesystem", "path": str(self._place(table)), "format": "parquet"}

    def make(self, table: str, options: Mapping[str, str]) -> None:
        """For a table that was created here: an empty directory, so that it is an empty table."""
        if self._owns(table, options):
            self._place(table).mkdir(parents=True, exist_ok=True)

    def forget(self, table: str, options: Mapping[str, str]) -> None:
        """Removes what a dropped table has left, if it was kept here."""
        if self._owns(table, options):
            shutil.rmtree(self._place(table), ignore_errors=True)

    def _owns(self, table: str, options: Mapping[str, str]) -> bool:
        return self._options is None and options.get("path") == str(self._place(table))

    def _place(self, table: str) -> Path:
        if self._directory is None:
            made = tempfile.mkdtemp(prefix="sqlstream-")
            weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
            self._directory = Path(made)
        return self._directory / quote(table, safe="").replace(".", "%2E")  # a table may be named ..
