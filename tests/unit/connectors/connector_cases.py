"""What the connector tests share: making tables, and reading them in every way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from sqlstream.connectors.registry import connector
from sqlstream.connectors.relation import relation_of
from sqlstream.contracts import Connector, ScanColumn, ScanRequest, Sink, Source, TableContext
from sqlstream.types import Column, Schema, Type

Row = tuple[Any, ...]


def schema(*columns: tuple[str, Type]) -> Schema:
    return Schema(tuple(Column(n, t) for n, t in columns))


def table(columns: Schema, name: str = "t", **options: str) -> TableContext:
    """Options as keywords: `__` is a dash, `_` a dot; a name that has a dot is one already."""
    given = {k if "." in k else k.replace("__", "-").replace("_", "."): str(v) for k, v in options.items()}
    return TableContext(name, columns, given)


def file_table(path: Path | str, columns: Schema, **options: str) -> TableContext:
    return table(columns, connector="filesystem", path=str(path), **options)


def whole(columns: Schema) -> ScanRequest:
    return ScanRequest(tuple(ScanColumn((c.name,), c.type) for c in columns))


def connector_of(t: TableContext) -> tuple[Connector, TableContext]:
    """The connector that `t` names, and the table as it is told of it."""
    own = replace(t, options={k: v for k, v in t.options.items() if k != "connector"})
    return connector(own, t.options["connector"]), own


def source_of(t: TableContext) -> Source:
    found, own = connector_of(t)
    return found.source(own)


def sink_of(t: TableContext) -> Sink:
    found, own = connector_of(t)
    return found.sink(own)


def read(
    t: TableContext, request: ScanRequest | None = None, batch: Any = 1000, source: Source | None = None
) -> tuple[list[Row], int]:
    """(rows of all splits in order, malformed records skipped). `batch`: rows a poll, or a function giving them."""
    source = source or source_of(t)
    request = request or whole(t.schema)
    rows: list[Row] = []
    skipped = 0
    for split in source.splits():
        reader = source.reader(split, None, request)
        try:
            while not reader.finished:
                got = reader.poll(batch() if callable(batch) else batch)
                if got is not None:
                    rows += [tuple(r.values()) for r in got.batch.to_pylist()]
            skipped += reader.skipped_records
        finally:
            reader.close()
    return rows, skipped


def read_positions(t: TableContext, batch: int, request: ScanRequest | None = None) -> list[tuple[Any, int, list[Row]]]:
    """(position after, first row, rows) of each batch of the only split."""
    source = source_of(t)
    (split,) = source.splits()
    out = []
    reader = source.reader(split, None, request or whole(t.schema))
    try:
        while not reader.finished:
            got = reader.poll(batch)
            if got is not None:
                out.append((got.position, got.first_row, [tuple(r.values()) for r in got.batch.to_pylist()]))
    finally:
        reader.close()
    return out


def read_from(t: TableContext, position: Any, request: ScanRequest | None = None) -> list[Row]:
    """The rows after `position` of the only split."""
    source = source_of(t)
    (split,) = source.splits()
    reader = source.reader(split, position, request or whole(t.schema))
    rows: list[Row] = []
    try:
        while not reader.finished:
            got = reader.poll(7)
            if got is not None:
                rows += [tuple(r.values()) for r in got.batch.to_pylist()]
    finally:
        reader.close()
    return rows


def relation(t: TableContext, request: ScanRequest | None = None) -> list[Row]:
    """The rows as batch reads them."""
    connection = duckdb.connect()
    try:
        found = relation_of(source_of(t), connection, request or whole(t.schema))
        out = connection.sql(f"SELECT * FROM {found}").to_arrow_table()
        return [tuple(r.values()) for r in out.to_pylist()]
    finally:
        connection.close()
