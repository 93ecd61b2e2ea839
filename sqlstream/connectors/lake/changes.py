"""Changes of rows that a key knows, as several have gathered them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

DELETED = "_sqlstream_deleted"  # the column of a file of changes that says so


def last_of_each(changes: pa.Table, key: tuple[str, ...]) -> pa.Table:
    """The last one of each key: two statements may have written to one table."""
    names = [f"k{i}" for i in range(len(key))]
    keys = pa.table([changes.column(k) for k in key], names=names)
    at = keys.append_column("last", pa.array(np.arange(changes.num_rows)))
    found = at.group_by(names, use_threads=False).aggregate([("last", "max")]).column("last_max")
    return changes if len(found) == changes.num_rows else changes.take(pa.array(np.sort(found.to_numpy())))
