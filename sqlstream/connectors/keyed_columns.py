"""Which columns of a lookup's request are of the key that it is asked for, and which are read: for connectors that make what they ask
for (a URL, a name) from columns, whose rows then have what was asked for, whatever the answer says of it."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from sqlstream.contracts import ScanColumn, ScanRequest


class KeyedColumns:
    """`names`: the columns that keys are made of; `keys`: those of the request that the join says something of."""

    def __init__(self, request: ScanRequest, keys: tuple[int, ...], names: tuple[str, ...]) -> None:
        self._request = request
        said = [request.columns[k].path[0] for k in keys]
        self.lacking = [c for c in names if c not in said]  # what the join says nothing of
        self._at = {c: said.index(c) for c in names if c in said}
        self._own = [i for i, c in enumerate(request.columns) if c.path[0] in names]
        self._others = [i for i in range(len(request.columns)) if i not in self._own]

    @property
    def read(self) -> list[ScanColumn]:
        """The columns that an answer gives."""
        return [self._request.columns[i] for i in self._others]

    def of(self, keys: Sequence[pa.Array]) -> dict[str, pa.Array]:
        """The columns of keys, by their names."""
        return {c: keys[i] for c, i in self._at.items()}

    def rows(self, keys: Sequence[pa.Array], at: pa.Array, read: Sequence[pa.Array]) -> pa.RecordBatch:
        """What was read, each row with its key's columns: that of keys[at]."""
        by_name, columns = self.of(keys), dict(zip(self._others, read, strict=True))
        for i in self._own:
            c = self._request.columns[i]
            columns[i] = by_name[c.path[0]].take(at).cast(c.type.arrow())
        return pa.RecordBatch.from_arrays(
            [columns[i] for i in range(len(columns))], schema=self._request.arrow_schema()
        )
