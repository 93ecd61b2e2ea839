"""Which expression made a batch query fail. DuckDB does not say: each is run alone, those nearest to the input first.

Only errors in the data are looked into, and only on the way to telling one: a query that runs well pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import duckdb

from sqlstream import duck
from sqlstream.batch.render import BatchRenderer
from sqlstream.errors import Canceled, DataError
from sqlstream.expressions import Column, Expr, shortened
from sqlstream.functions.render import to_duckdb
from sqlstream.plan import nodes


def blamed(
    error: DataError, plan: nodes.Node, connection: duckdb.DuckDBPyConnection, renderer: Callable[[], BatchRenderer]
) -> DataError:
    """`error` with the expression that raises it, where one of `plan` does when it is run alone."""
    for label, sql in _parts(plan, renderer):
        try:
            duck.prepare_functions(connection, sql)
            connection.execute(sql).fetchall()
        except Exception as e:
            found = duck.translate(e, label)
            if isinstance(found, Canceled):
                raise found from None
            return found if isinstance(found, DataError) else error
    return error


def _parts(node: nodes.Node, renderer: Callable[[], BatchRenderer]) -> Iterator[tuple[str, str]]:
    """What can fail in the data, as (label, query); inputs before what reads them."""
    for i in node.inputs:
        yield from _parts(i, renderer)
    if isinstance(node, nodes.Scan) and node.predicate is not None:
        yield _condition(replace(node, predicate=None), node.predicate, renderer)
    elif isinstance(node, nodes.Filter):
        yield _condition(node.input, node.condition, renderer)
    elif isinstance(node, nodes.Project):
        for e, c in zip(node.exprs, node.schema, strict=True):
            if not isinstance(e, Column):
                # hash, as an aggregate that need not look at values would not be asked for any
                sql = renderer().select(node.input, f"max(hash({to_duckdb(e)}))")
                yield f"column '{c.name}' = {shortened(e)}", sql
    elif isinstance(node, nodes.Aggregate):
        for call in node.calls:
            one = replace(node, calls=(call,))
            sql = renderer().select(one, f"max(hash(c{len(node.keys)}))")
            yield call.text(node.input.schema), sql


def _condition(below: nodes.Node, condition: Expr, renderer: Callable[[], BatchRenderer]) -> tuple[str, str]:
    return f"WHERE {shortened(condition)}", renderer().select(below, f"max(hash({to_duckdb(condition)}))")
