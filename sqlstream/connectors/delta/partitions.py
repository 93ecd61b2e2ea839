"""Values of partitions, as Delta's log has them: texts."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.print import column_text
from sqlstream.errors import NotSupported
from sqlstream.types import Schema, from_arrow


def check_partitions(where: str, partitions: Iterable[str], columns: Schema) -> None:
    """NotSupported: bytes, which delta-rs writes and reads as texts of them (`[97, 98]`), and others otherwise."""
    for c in columns:
        if c.name in partitions and c.type.kind in ("BINARY", "VARBINARY"):
            raise NotSupported(
                f"{where}: the Delta table is partitioned by column '{c.name}' of type {c.type}: values of such partitions are not "
                "written and read alike",
                hint="partition by a text of the bytes",
            )


def check_merged(where: str, partitions: Iterable[str], columns: Schema) -> None:
    """NotSupported: numbers with a point, of which delta-rs's MERGE writes -1.50 as -1.-50, and then nobody can open the table. (What is
    written without a PRIMARY KEY has our texts, which delta-rs reads.)"""
    for c in columns:
        if c.name in partitions and c.type.kind == "DECIMAL" and c.type.scale:
            raise NotSupported(
                f"{where}: the Delta table is partitioned by column '{c.name}' of type {c.type.null().text()}, and has a PRIMARY KEY here: delta-rs's "
                "MERGE does not write values below 0 of such partitions so that they can be read again",
                hint="partition by a whole number or a text, CAST(… AS STRING); or leave the PRIMARY KEY out: rows then only come",
            )


def partition_texts(values: pa.Array) -> pa.Array:
    """An empty string is NULL there."""
    t = values.type
    if pa.types.is_timestamp(t):
        return pc.strftime(values.cast(pa.timestamp("us", t.tz)), format="%Y-%m-%d %H:%M:%S", locale="C")
    encoded = values.dictionary_encode()
    texts = column_text(encoded.dictionary, from_arrow(t))
    texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    return texts.take(encoded.indices)
