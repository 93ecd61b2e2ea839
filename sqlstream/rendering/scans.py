"""Tables as FROM items: what a scan asks of its connector, and the SELECT over what it gives."""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from sqlstream.batches import Kind
from sqlstream.connectors.relation import relation_of
from sqlstream.contracts import ScanRequest
from sqlstream.errors import InternalError
from sqlstream.expressions import shift
from sqlstream.formats.conversion import quoted
from sqlstream.plan import nodes
from sqlstream.plan.nodes.leaves import WATERMARK_PATH
from sqlstream.plan.table_binder import MADE, PROCTIME_PATH
from sqlstream.rendering.bounds import skip_of

ScanSql = Callable[
    [nodes.Scan, bool], str
]  # a SELECT of c0…, with `_op` where it gives `changes`, with `_ord` when told to


def scan_request(node: nodes.Scan, zone: str) -> ScanRequest:
    """What a scan decodes, in the session's zone: its stored columns (a request for none gives rows all the same)."""
    stored = [i for i, c in enumerate(node.columns) if c.path not in MADE]
    kept = None if node.predicate is None else shift(node.predicate, stored.index)
    return ScanRequest(tuple(node.columns[i] for i in stored), zone=zone, skip=skip_of(kept, None), filter=kept)


def source_sql(connection: duckdb.DuckDBPyConnection | None, proctime: int, zone: str = "UTC") -> ScanSql:
    """Scans as the connectors give them to DuckDB; PROCTIME() is `proctime` (µs), read once; `zone`: the session's.

    Without a connection scans only name their tables, and nothing is looked for: that is what EXPLAIN shows.
    """

    def scan(node: nodes.Scan, arrival: bool) -> str:
        stored = [(i, c) for i, c in enumerate(node.columns) if c.path not in MADE]
        relation = quoted(node.table)
        if connection is not None:
            relation = relation_of(node.source, connection, scan_request(node, zone))
        items = {i: f"c{n} AS c{i}" for n, (i, _) in enumerate(stored)}
        for i, c in enumerate(node.columns):
            if c.path == PROCTIME_PATH:
                items[i] = f"make_timestamptz({proctime} - {proctime} % 1000) AS c{i}"
            elif c.path == WATERMARK_PATH:
                items[i] = f"CAST(NULL AS {c.type.duckdb()}) AS c{i}"
        text = f"SELECT {', '.join(items[i] for i in range(len(node.columns)))}"
        if node.changes:
            text += ", _op"
        if arrival:
            text += ", row_number() OVER () AS _ord"
        if not (node.source.append_only or node.changes):
            relation = net_sql(relation, len(stored))
        return f"{text} FROM {relation}"

    return scan


def no_scans(node: nodes.Scan, arrival: bool) -> str:
    """For plans without tables."""
    raise InternalError(f"a scan of {node.table} where none can be")


def net_sql(relation: str, width: int) -> str:
    """The rows that the changes of a changelog without a key leave: each as often as it was added and not taken back."""
    columns = ", ".join(f"c{i}" for i in range(width))
    count = f"CAST(sum(CASE WHEN _op IN ({Kind.INSERT:d}, {Kind.UPDATE_AFTER:d}) THEN 1 ELSE -1 END) AS BIGINT) AS _n"
    if not columns:
        return f"(SELECT unnest(range(_n)) FROM (SELECT {count} FROM {relation}))"
    return f"(SELECT {columns}, unnest(range(_n)) FROM (SELECT {columns}, {count} FROM {relation} GROUP BY {columns}))"
