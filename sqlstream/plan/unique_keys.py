"""Unique keys of a relation: sets of columns of which no two of its rows agree, NULL being a value like any other.

Only keys that rows cannot break are derived: of GROUP BY, of a table whose rows are told by their key, of the one row of a
partition. A PRIMARY KEY that nobody enforces says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlstream.expressions import Column
from sqlstream.plan import nodes
from sqlstream.types import Type

Keys = frozenset[frozenset[int]]
_MOST = 8  # of a relation: joins of joins would multiply them


def unique_keys(node: nodes.Node) -> Keys:
    """Those that are known; the empty set is one where there is one row at most."""
    return frozenset(sorted(_keys(node), key=lambda k: (len(k), sorted(k)))[:_MOST])


def is_unique(node: nodes.Node, columns: Iterable[int]) -> bool:
    """Whether no two rows agree on `columns`."""
    wanted = frozenset(columns)
    return any(k <= wanted for k in unique_keys(node))


def _keys(node: nodes.Node) -> Keys:
    match node:
        case nodes.Filter() | nodes.Over() | nodes.Sort() | nodes.TemporalJoin():
            return unique_keys(node.input)
        case nodes.Project():
            return _projected(node)
        case nodes.Aggregate():
            return _of(node, range(len(node.keys)))
        case nodes.ChangelogNormalize():
            return _of(node, node.key)
        case nodes.TopN():
            one = node.function == "ROW_NUMBER" and node.first == node.last
            return unique_keys(node.input) | (_of(node, node.partition) if one else frozenset())
        case nodes.Values():
            return frozenset([frozenset[int]()]) if len(node.rows) < 2 else frozenset()
        case nodes.Join():
            return _joined(node)
    return frozenset()


def _of(node: nodes.Node, columns: Iterable[int]) -> Keys:
    """The key of `columns`. None with a number in it that can be equal in two ways (-0.0): rows that differ as groups may be
    the same to a comparison."""
    key = frozenset(columns)
    return frozenset([key]) if all(_exact(node.schema[c].type) for c in key) else frozenset()


def _exact(t: Type) -> bool:
    return t.kind not in ("FLOAT", "DOUBLE", "CHAR") and all(_exact(f.type) for f in t.fields)


def _projected(node: nodes.Project) -> Keys:
    where = {e.index: i for i, e in reversed(list(enumerate(node.exprs))) if isinstance(e, Column)}
    below = unique_keys(node.input)
    return frozenset(frozenset(where[c] for c in k) for k in below if all(c in where for c in k))


def _joined(node: nodes.Join) -> Keys:
    left, right = unique_keys(node.input), unique_keys(node.right)
    if node.kind in ("SEMI", "ANTI"):
        return left
    width = len(node.input.schema)
    shifted = frozenset(frozenset(width + c for c in k) for k in right)
    out = {a | b for a in left for b in shifted} if node.kind != "FULL" else set[frozenset[int]]()
    # A side that is unique on the join keys meets each row of the other at most once.
    if node.kind in ("INNER", "LEFT") and is_unique(node.right, node.right_keys):
        out |= left
    if node.kind in ("INNER", "RIGHT") and is_unique(node.input, node.left_keys):
        out |= shifted
    return frozenset(out)
