"""The values of Arrow batches as text, a list for each column."""

from __future__ import annotations

import pyarrow as pa

from sqlstream import duck
from sqlstream.cli import text
from sqlstream.cli.layout import escaped
from sqlstream.formats.conversion import quoted
from sqlstream.types import Schema


class Cells:
    """Texts of batches in the engine's columns (c0, c1, …); used by one thread at a time. `close` it.

    `readable`: nested values as Flink's client shows them, `(1, x)`, and not as JSON.
    """

    def __init__(self, schema: Schema, zone: str, readable: bool = False) -> None:
        self._connection = duck.connect(1, zone)
        shown = text.readable_text if readable else text.table_text
        texts = [shown(c.type, quoted(f"c{i}"), zone) for i, c in enumerate(schema)]
        self._query = f"SELECT {', '.join(f'{t} AS c{i}' for i, t in enumerate(texts))} FROM cells"

    def columns(self, batch: pa.RecordBatch) -> list[list[str | None]]:
        """A list of texts for each column, NULL as None; nothing in them moves a cursor."""
        self._connection.register("cells", batch)
        try:
            table = self._connection.sql(self._query).to_arrow_table()
        finally:
            self._connection.unregister("cells")
        return [
            [None if v is None else escaped(v) for v in table.column(i).to_pylist()] for i in range(table.num_columns)
        ]

    def rows(self, batch: pa.RecordBatch) -> list[tuple[str | None, ...]]:
        """The same, by rows."""
        return list(zip(*self.columns(batch), strict=True)) if batch.num_columns else [()] * batch.num_rows

    def close(self) -> None:
        """Gives up what it needed."""
        self._connection.close()
