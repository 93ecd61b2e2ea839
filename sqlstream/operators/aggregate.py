"""GROUP BY as a stream: which of the aggregate operators runs it.

a SESSION window right below       SessionWindowAggregate; SessionChangesAggregate, where its rows change
another window right below         SliceAggregate, where rows are only added
window_end among the keys          WindowAggregate
those, but told before they close  GroupWindowAggregate
else                               GroupAggregate
"""

from __future__ import annotations

from dataclasses import replace

from sqlstream.expressions import Column
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.calc import all_columns
from sqlstream.operators.group_aggregate import GroupAggregate
from sqlstream.operators.group_window_aggregate import GroupWindowAggregate
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.operators.session_changes import SessionChangesAggregate
from sqlstream.operators.session_window import SessionWindowAggregate
from sqlstream.operators.slice_aggregate import SliceAggregate
from sqlstream.operators.window_aggregate import WindowAggregate
from sqlstream.optimize.collect_sessions import grouped_session
from sqlstream.plan import nodes
from sqlstream.types import PROCTIME, WINDOW_ENDS, WINDOW_STARTS


@lower.register(nodes.Aggregate)
def _aggregate(node: nodes.Aggregate, job: Lowering) -> PhysicalNode:
    told = _told(node)
    found = None if told is not None else _window_below(node.input)
    if found is not None and (found[0].spec.kind != "SESSION" or grouped_session(node) is not None):
        made = (_session if found[0].spec.kind == "SESSION" else _sliced)(node, *found, job)
        if made is not None:
            return job.hinted(made, node.ttl)
    marks = [node.schema[i].time for i in range(len(node.keys))]
    end = next((i for i, m in enumerate(marks) if m in WINDOW_ENDS), None)
    below = job.lower(node.input)
    if end is None:
        return GroupAggregate((below,), node.keys, node.calls, node.schema, ttl=job.ttl(node.ttl))
    domain = WINDOW_ENDS[marks[end] or ""]
    if told is not None:
        tells = GroupWindowAggregate((below,), node.keys, node.keys[end], domain, node.calls, told, node.schema)
        return job.hinted(tells, node.ttl)
    start = next((i for i, m in enumerate(marks) if m in WINDOW_STARTS), None)
    made = WindowAggregate(
        (below,),
        node.keys,
        None if start is None else node.keys[start],
        node.keys[end],
        domain,
        node.calls,
        node.schema,
    )
    return job.hinted(made, node.ttl)


def _told(node: nodes.Aggregate) -> nodes.Emission | None:
    """What the windows of an aggregate tell besides; None: nothing. By processing time no row is late."""
    emit = node.emit
    if emit is not None and PROCTIME in (WINDOW_ENDS.get(node.schema[i].time or "") for i in range(len(node.keys))):
        emit = replace(emit, late=None, lateness=0)
    return None if emit is None or emit.once else emit


def _window_below(node: nodes.Node) -> tuple[nodes.Window, list[int]] | None:
    """The window right below (perhaps through a Project), and where its columns went.

    What the Project computes from a row alone is computed below the window instead: an aggregate then sees columns.
    """
    if isinstance(node, nodes.Window):
        return node, list(range(len(node.schema)))
    if not (isinstance(node, nodes.Project) and isinstance(node.input, nodes.Window)):
        return None
    window = node.input
    width = len(window.input.schema)
    computed = [(e, c) for e, c in zip(node.exprs, node.schema, strict=True) if not isinstance(e, Column)]
    if any(isinstance(x, Column) and x.index >= width for e, _ in computed for x in e.walk()):
        return None
    if computed:
        exprs = (*all_columns(window.input.schema), *(e for e, _ in computed))
        columns = (*window.input.schema.columns, *(c for _, c in computed))
        window = replace(window, input=nodes.Project(window.input, exprs, columns))
    at, made = [], width
    for e in node.exprs:
        if isinstance(e, Column):
            at.append(e.index if e.index < width else e.index + len(computed))
        else:
            at.append(made)
            made += 1
    return window, at


def _sliced(node: nodes.Aggregate, window: nodes.Window, at: list[int], job: Lowering) -> PhysicalNode | None:
    """The window and the aggregate in one operator; None where that cannot be. `at` maps the aggregate's input columns
    to the window's."""
    width = len(window.input.schema)
    keys, calls = [at[k] for k in node.keys], tuple(c.over(at) for c in node.calls)
    ends = [WINDOW_ENDS[m] for i in range(len(keys)) if (m := node.schema[i].time) in WINDOW_ENDS and m is not None]
    if not ends or any(a >= width for c in calls for a in c.reads):
        return None
    below = job.lower(window.input)
    if not below.traits.append_only:
        return None
    return SliceAggregate(
        (below,),
        tuple(k for k in keys if k < width),
        window.time_column,
        window.spec,
        ends[0],
        calls,
        node.schema,
        tuple(k if k < width else width - 1 - k for k in keys),
    )


def _session(node: nodes.Aggregate, window: nodes.Window, at: list[int], job: Lowering) -> PhysicalNode:
    """GROUP BY over a SESSION window: `at` maps the aggregate's input columns to the window's."""
    width = len(window.input.schema)
    keys = [at[k] for k in node.keys]
    others = [k for k in keys if k < width]
    calls = tuple(c.over(at) for c in node.calls)

    def place(offset: int) -> int | None:
        return keys.index(width + offset) if width + offset in keys else None

    below = job.lower(window.input)
    kind = SessionWindowAggregate if below.traits.append_only else SessionChangesAggregate
    return kind(
        (below,),
        tuple(others),
        window.time_column,
        window.spec.size,
        window.domain,
        calls,
        place(0),
        place(1),
        place(2),
        node.schema,
    )
