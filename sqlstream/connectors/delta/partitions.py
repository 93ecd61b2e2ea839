"""Values of partitions, as Delta's log has them: texts."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.print import column_text
from sqlstream.types import from_arrow


def partition_texts(values: pa.Array) -> pa.Array:
    """An empty string is NULL there."""
    t = values.type
    if pa.types.is_timestamp(t):
        return pc.strftime(values.cast(pa.timestamp("us", t.tz)), format="%Y-%m-%d %H:%M:%S", locale="C")
    encoded = values.dictionary_encode()
    texts = column_text(encoded.dictionary, from_arrow(t))
    texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    return texts.take(encoded.indices)
