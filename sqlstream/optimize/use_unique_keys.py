"""What rows that are told by a key do not need: DISTINCT, groups and ranks of one row each, DISTINCT within an aggregate."""

from __future__ import annotations

from dataclasses import replace

from sqlstream.expressions import Call, Cast, Column, Expr, Literal
from sqlstream.plan import nodes
from sqlstream.plan.unique_keys import is_unique, unique_keys
from sqlstream.types import BIGINT, BOOLEAN, WINDOW_ENDS, WINDOW_STARTS
from sqlstream.types import Column as SchemaColumn

_FIRST = ("MIN", "MAX", "FIRST_VALUE", "LAST_VALUE")  # the value of a group's one row


def use_unique_keys(node: nodes.Node) -> nodes.Node:
    """The rule: an Aggregate whose groups are of one row, and a TopN whose partitions are, become a Project; a call loses the
    DISTINCT that changes nothing."""
    return _used(node, False)


def _used(node: nodes.Node, free: bool) -> nodes.Node:
    """`free`: no operator above, and no sink, tells rows by this node's key."""
    below = free or isinstance(node, nodes.Aggregate)
    inputs = tuple(
        _used(n, below or i == 1 and isinstance(node, nodes.Join) and node.kind in ("SEMI", "ANTI"))
        for i, n in enumerate(node.inputs)
    )
    if inputs != node.inputs:
        node = node.with_inputs(inputs)
    if isinstance(node, nodes.Aggregate):
        node = _without_distinct(node)
        if node.ttl is None and not _windowed(node) and _by_key(node.input, node.keys, free):
            return _of_one_row(node)
    if isinstance(node, nodes.TopN) and _ranks_firsts(node) and _by_key(node.input, node.partition, free):
        return _first(node)
    return node


def _ranks_firsts(node: nodes.TopN) -> bool:
    return node.ttl is None and node.window_end is None and node.first <= 1 <= node.last


def _windowed(node: nodes.Aggregate) -> bool:
    return any(c.time in (*WINDOW_STARTS, *WINDOW_ENDS) for c in (node.input.schema[k] for k in node.keys))


def _by_key(rows: nodes.Node, columns: tuple[int, ...], free: bool) -> bool:
    """Whether `columns` hold a key of `rows`. Where they are the key that a sink knows rows by, they must be all of it: of an
    update that changes another column of them, a row with the old value went."""
    if not columns:
        return False
    if free:
        return is_unique(rows, columns)
    return frozenset(columns) in unique_keys(rows) and _plain(rows)


def _plain(rows: nodes.Node) -> bool:
    """Whether the rows are a group's, a partition's or a table's: with the one key that their operator knows."""
    while isinstance(rows, nodes.Project | nodes.Filter):
        rows = rows.input
    return isinstance(rows, nodes.Aggregate | nodes.TopN | nodes.ChangelogNormalize)


def _without_distinct(node: nodes.Aggregate) -> nodes.Aggregate:
    """DISTINCT goes from calls of which the values in a group differ anyway, and from those that do not mind."""

    def needless(call: nodes.AggCall) -> bool:
        return call.distinct and (call.function in ("MIN", "MAX") or is_unique(node.input, (*node.keys, *call.args)))

    calls = tuple(replace(c, distinct=False) if needless(c) else c for c in node.calls)
    return node if calls == node.calls else replace(node, calls=calls)


def _of_one_row(node: nodes.Aggregate) -> nodes.Node:
    """The Project that is the Aggregate; the Aggregate where a call has no simple value of one row."""
    width = len(node.keys)
    exprs: list[Expr] = [_column(node.input, k) for k in node.keys]
    for call, column in zip(node.calls, node.schema.columns[width:], strict=True):
        value = _value(node, call, column)
        if value is None:
            return node
        exprs.append(value)
    return nodes.Project(node.input, tuple(exprs), node.schema.columns)


def _value(node: nodes.Aggregate, call: nodes.AggCall, column: SchemaColumn) -> Expr | None:
    """A call's value of a group of one row."""
    zero: Expr = Literal(column.type.null(), None)
    argument = _column(node.input, call.args[0]) if call.args else None
    if call.function == "COUNT" and len(call.args) < 2:
        zero, one = Literal(column.type, 0), Literal(column.type, 1)
        value: Expr = one if argument is None else Call(column.type, "CASE", (_is_null(argument), zero, one))
    elif argument is None or len(call.args) > 1:
        return None
    elif call.function in _FIRST and argument.type.null() == column.type.null():
        value = argument
    elif call.function == "SUM" and (argument.type.is_integer or argument.type.kind == "DECIMAL"):
        value = argument if argument.type.null() == column.type.null() else Cast(column.type, argument)
    else:
        return None
    if call.filter is not None:
        taken = Call(BOOLEAN.null(False), "IS TRUE", (_column(node.input, call.filter),))
        value = Call(column.type, "CASE", (taken, value, zero))
    return value


def _is_null(e: Expr) -> Expr:
    return Call(BOOLEAN.null(False), "IS NULL", (e,))


def _first(node: nodes.TopN) -> nodes.Node:
    exprs: list[Expr] = [_column(node.input, i) for i in range(len(node.input.schema))]
    if node.rank is not None:
        exprs.append(Literal(BIGINT.null(False), 1))
    return nodes.Project(node.input, tuple(exprs), node.schema.columns)


def _column(node: nodes.Node, i: int) -> Column:
    return Column(node.schema[i].type, i, node.schema[i].name)
