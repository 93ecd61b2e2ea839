"""A file of which a version of the table has not all rows: some were deleted, and the file stayed as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.contracts import SourceBatch, SplitReader


class MaskedReader(SplitReader):
    """The rows of `rows`, a reader of the whole file from the row on that `position` names, for which `kept` is true (one a row
    of the file). A position is {"row", "given"}: the row of the file, and how many of those before it were given."""

    def __init__(self, rows: SplitReader, kept: np.ndarray, position: Any, first_row: int) -> None:
        self._rows, self._kept = rows, kept
        self._at = int(position["row"]) if position else 0
        self._given = int(position["given"]) if position else first_row

    def poll(self, max_rows: int) -> SourceBatch | None:
        while (got := self._rows.poll(max_rows)) is not None:
            n = got.batch.num_rows
            kept = self._kept[self._at : self._at + n]
            self._at += n
            if not kept.any():
                continue
            batch = got.batch if kept.all() else got.batch.filter(pa.array(kept))
            first, self._given = self._given, self._given + batch.num_rows
            return SourceBatch(batch, first, {"row": self._at, "given": self._given})
        return None

    @property
    def finished(self) -> bool:
        return self._rows.finished

    def close(self) -> None:
        self._rows.close()
