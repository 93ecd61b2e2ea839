"""Which expression made a batch query fail. DuckDB does not say: each is run alone, those nearest to the input first.

Only errors in the data are looked into, and only on the way to telling one: a query that runs well pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import duckdb

from sqlstream import duck
from sqlstream.aggregates.overflow import overflow
from sqlstream.errors import Canceled, DataError
from sqlstream.expressions import Column, Expr, labelled, shortened
from sqlstream.functions.user import UserFunction
from sqlstream.plan import nodes
from sqlstream.rendering.expressions import to_duckdb
from sqlstream.rendering.relations import BatchRenderer
from sqlstream.types import Column as SchemaColumn


@dataclass(frozen=True)
class Part:
    """What can fail: a query of its own, the Python functions that it calls, and of an aggregate call its column."""

    label: str
    sql: str
    used: set[UserFunction]
    call: SchemaColumn | None = None


def blamed(
    error: DataError, plan: nodes.Node, connection: duckdb.DuckDBPyConnection, renderer: Callable[[], BatchRenderer]
) -> DataError:
    """`error` with the expression that raises it, where one of `plan` does when it is run alone."""
    for part in _parts(plan, renderer):
        try:
            duck.prepare_functions(connection, part.used)
            connection.execute(part.sql).fetchall()
        except Exception as e:
            found = duck.translate(e, part.label)
            if part.call is not None and isinstance(e, (duckdb.OutOfRangeException, duckdb.ConversionException)):
                found = overflow(part.call.name, part.call.type)  # its arguments have been looked at
            if isinstance(found, Canceled):
                raise found from None
            return found if isinstance(found, DataError) else error
    return error


def _parts(node: nodes.Node, renderer: Callable[[], BatchRenderer]) -> Iterator[Part]:
    """What can fail in the data; inputs before what reads them."""
    for i in node.inputs:
        yield from _parts(i, renderer)
    if isinstance(node, nodes.Scan) and node.predicate is not None:
        yield _alone(renderer(), replace(node, predicate=None), node.predicate, f"WHERE {shortened(node.predicate)}")
    elif isinstance(node, nodes.Filter):
        yield _alone(renderer(), node.input, node.condition, f"WHERE {shortened(node.condition)}")
    elif isinstance(node, nodes.Project):
        for e, c in zip(node.exprs, node.schema, strict=True):
            if not isinstance(e, Column):
                yield _alone(renderer(), node.input, e, labelled(e, c.name))
    elif isinstance(node, nodes.Aggregate):
        for call in node.calls:
            r = renderer()
            sql = r.select(replace(node, calls=(call,)), f"max(hash(c{len(node.keys)}))")
            yield Part(call.column.name, sql, r.used, call.column)


def _alone(r: BatchRenderer, below: nodes.Node, e: Expr, label: str) -> Part:
    """`e` over the rows of `below`; hashed, as an aggregate that need not look at values would not be asked for any."""
    return Part(label, r.select(below, f"max(hash({to_duckdb(e, r.used)}))"), r.used)
