"""INTERSECT and EXCEPT: groups of equal rows over both sides, by how often each side has them. NULLs are equal here.

With ALL a row comes as often as both sides have it, or as often as the left has it more than the right: the number of
copies becomes an array of so many elements, which Unnest makes rows of.
"""

from __future__ import annotations

from sqlstream.expressions import Call, Column, Expr, Literal
from sqlstream.plan import nodes
from sqlstream.types import BIGINT, BOOLEAN, array
from sqlstream.types import Column as SchemaColumn

_NUMBER = BIGINT.null(False)
_ZERO = Literal(_NUMBER, 0)


def intersection(left: nodes.Node, right: nodes.Node, distinct: bool) -> nodes.Node:
    """INTERSECT [ALL] of two queries of the same columns."""
    width = len(left.schema)
    counted = _counted(left, right)
    on_left, on_right = Column(BIGINT, width, "$l"), Column(BIGINT, width + 1, "$r")
    if distinct:
        both = Call(BOOLEAN, "AND", (_more(on_left), _more(on_right)))
        return nodes.keep(nodes.Filter(counted, both), range(width))
    return _copies(counted, Call(BIGINT, "LEAST", (on_left, on_right)), width)


def difference(left: nodes.Node, right: nodes.Node, distinct: bool) -> nodes.Node:
    """EXCEPT [ALL] of two queries of the same columns."""
    width = len(left.schema)
    counted = _counted(left, right)
    on_left, on_right = Column(BIGINT, width, "$l"), Column(BIGINT, width + 1, "$r")
    if distinct:
        left_only = Call(BOOLEAN, "AND", (_more(on_left), Call(BOOLEAN, "=", (on_right, _ZERO))))
        return nodes.keep(nodes.Filter(counted, left_only), range(width))
    return _copies(counted, Call(BIGINT, "-", (on_left, on_right)), width)


def _counted(left: nodes.Node, right: nodes.Node) -> nodes.Node:
    """Each row once, and how often the left ($l) and the right ($r) have it."""
    width = len(left.schema)
    both = nodes.Union((_flagged(left, 1, 0), _flagged(right, 0, 1)))
    sums = tuple(nodes.AggCall("SUM", (width + i,), SchemaColumn(n, BIGINT)) for i, n in enumerate(("$l", "$r")))
    return nodes.Aggregate(both, tuple(range(width)), sums)


def _flagged(side: nodes.Node, a: int, b: int) -> nodes.Node:
    exprs = [Column(c.type, i, c.name) for i, c in enumerate(side.schema)]
    marks = [Literal(_NUMBER, a), Literal(_NUMBER, b)]
    columns = (*side.schema.columns, SchemaColumn("$l", _NUMBER), SchemaColumn("$r", _NUMBER))
    return nodes.Project(side, (*exprs, *marks), columns)


def _more(count: Expr) -> Expr:
    return Call(BOOLEAN, ">", (count, _ZERO))


def _copies(counted: nodes.Node, number: Expr, width: int) -> nodes.Node:
    """The first `width` columns of each row, `number` times."""
    some = nodes.Filter(counted, _more(number))
    copies = Call(array(_NUMBER), "COPIES", (number,))
    exprs = (*(Column(c.type, i, c.name) for i, c in enumerate(some.schema.columns[:width])), copies)
    listed = nodes.Project(some, exprs, (*some.schema.columns[:width], SchemaColumn("$copies", copies.type)))
    return nodes.keep(nodes.Unnest(listed, width, (SchemaColumn("$copy", BIGINT),)), range(width))
