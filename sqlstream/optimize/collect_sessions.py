"""A SESSION window whose rows are wanted, not one aggregate of each session: the sessions collect their rows and give them
when they close.

As in Flink sessions are made of the rows of each PARTITION BY, or of all, before anything else groups, joins or ranks them.
"""

from __future__ import annotations

from dataclasses import replace

from sqlstream.aggregates.registry import aggregate
from sqlstream.expressions import Call, Column
from sqlstream.plan import nodes
from sqlstream.types import Column as SchemaColumn
from sqlstream.types import Field, Type


def collect_sessions(node: nodes.Node) -> nodes.Node:
    """The rule: such a Window becomes an Aggregate of whole rows and an Unnest of these. Where the arrival of rows is not known
    it stays, and cannot run as a stream: rows have no order to be kept in."""
    if grouped_session(node) is not None:
        # Window, perhaps below a Project: it stays, and what is below it is looked at.
        (below,) = node.inputs
        (inner,) = below.inputs
        if isinstance(below, nodes.Window):
            return node.with_inputs((below.with_inputs((collect_sessions(inner),)),))
        (innermost,) = inner.inputs
        window = inner.with_inputs((collect_sessions(innermost),))
        return node.with_inputs((below.with_inputs((window,)),))
    node = node.with_inputs(tuple(map(collect_sessions, node.inputs))) if node.inputs else node
    if isinstance(node, nodes.Window) and node.spec.kind == "SESSION" and node.input.knows_arrival:
        return _collected(node)
    return node


def grouped_session(node: nodes.Node) -> nodes.Window | None:
    """The SESSION window right below an aggregate of each session (perhaps through a Project); None where there is no such, or
    its groups are no sessions, or a call reads what the window gives."""
    if not isinstance(node, nodes.Aggregate):
        return None
    project = node.input if isinstance(node.input, nodes.Project) else None
    window = node.input if project is None else project.input
    if not isinstance(window, nodes.Window) or window.spec.kind != "SESSION":
        return None
    width = len(window.input.schema)
    # Of each column of the aggregate's input that of the window; None: computed.
    at: list[int | None] = list(range(len(window.schema)))
    if project is not None:
        at = [e.index if isinstance(e, Column) else None for e in project.exprs]
        computed = (e for e in project.exprs if not isinstance(e, Column))
        if any(isinstance(x, Column) and x.index >= width for e in computed for x in e.walk()):
            return None
    keys = [at[k] for k in node.keys]
    marks = [k for k in keys if k is not None and k >= width]
    others = [k for k in keys if k is None or k < width]
    if not marks or set(others) != set(window.partition):
        return None
    read = [at[a] for c in node.calls for a in c.reads]
    return None if any(a is not None and a >= width for a in read) else window


def _collected(window: nodes.Window) -> nodes.Node:
    width, partition = len(window.input.schema), window.partition
    columns = tuple(Column(c.type, i, c.name) for i, c in enumerate(window.schema))
    row = Type("ROW", fields=tuple(Field(f"EXPR${i}", c.type) for i, c in enumerate(columns[:width])), nullable=False)
    whole = Call(row, "ROW", columns[:width])
    keys = (*(columns[p] for p in partition), *columns[width:])
    named = (*(window.schema[k.index] for k in keys), SchemaColumn("$row", row))
    rows = aggregate("ARRAY_AGG").type_of((row,), occupied=True)
    sessions = nodes.Aggregate(
        nodes.Project(window, (*keys, whole), named),
        tuple(range(len(keys))),
        (nodes.AggCall("ARRAY_AGG", (len(keys),), SchemaColumn("$rows", rows)),),
    )
    given = tuple(replace(c, time=None) for c in window.schema.columns[:width])
    unnested = nodes.Unnest(sessions, len(keys), given)
    marks = range(len(partition), len(keys))
    exprs = tuple(
        Column(unnested.schema[i].type, i, unnested.schema[i].name)
        for i in (*range(len(keys) + 1, len(unnested.schema)), *marks)
    )
    return nodes.Project(unnested, exprs, window.schema.columns)
