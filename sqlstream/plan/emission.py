"""Which aggregates of windows tell results besides those of windows that close: by EMIT, and by `table.exec.emit.*`.

It is those whose rows go to the query's result by operators that may take changes: what other windows, joins in time,
OVER or process table functions read is told once, so that these see no more than what is final.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlstream.errors import BindError, NotSupported, Position
from sqlstream.plan import nodes
from sqlstream.plan.nodes.emission import ONCE, Emission
from sqlstream.plan.over_functions import RANKINGS
from sqlstream.types import WINDOW_ENDS, WINDOW_STARTS

_TAKE_CHANGES = (
    nodes.Project, nodes.Filter, nodes.Union, nodes.Unnest, nodes.Expand, nodes.ToChangelog, nodes.Aggregate, nodes.TopN
)  # fmt: skip
_OPTIONS = "'table.exec.emit.early-fire.enabled' and 'table.exec.emit.late-fire.enabled'"


@dataclass
class _Found:
    """What stands where results would be told: how many aggregates of windows, and what else closes windows."""

    aggregates: int = 0
    closing: nodes.Node | None = None


def changes(plan: nodes.Node, position: Position | None) -> nodes.Node:
    """EMIT CHANGES: the windows that the query's rows are of tell what they have after each epoch. A query whose rows come at
    once, or change, stays as it is. NotSupported where its windows can only be told when they close."""
    found = _Found()
    made = _told(plan, lambda n: replace(n, emit=n.emit or Emission(early=0)), found)
    if found.closing is not None:
        raise NotSupported(
            f"EMIT CHANGES: {_named(found.closing)} gives its rows when windows close",
            hint="leave the clause out; aggregates by TUMBLE, HOP and CUMULATE can tell what they have so far",
            position=position,
        )
    return made


def on_close(plan: nodes.Node, position: Position | None) -> nodes.Node:
    """EMIT ON WINDOW CLOSE: its windows are told once, whatever the options say. BindError for a query whose rows are not those of
    windows."""
    if (other := _no_window(plan)) is not None:
        raise BindError(
            f"EMIT ON WINDOW CLOSE: {_named(other)} has no windows that close",
            hint="GROUP BY window_start, window_end over TABLE(TUMBLE(…)); or leave the clause out",
            position=position,
        )
    return _once(plan)


def _once(node: nodes.Node) -> nodes.Node:
    made = node.with_inputs(tuple(map(_once, node.inputs))) if node.inputs else node
    return replace(made, emit=made.emit or ONCE) if isinstance(made, nodes.Aggregate) and made.windowed else made


def settled(plan: nodes.Node, options: Emission) -> nodes.Node:
    """The plan of a statement, where its queries have said what they want: the options say the rest. NotSupported where they want
    what windows cannot."""
    if not options.once:
        found = _Found()
        plan = _told(plan, lambda n: replace(n, emit=_both(n.emit, options)), found)
        if found.closing is not None and _is_session(found.closing):
            raise NotSupported(
                f"options {_OPTIONS}: a SESSION window gives its result when it closes",
                hint="RESET them for this statement, or write EMIT ON WINDOW CLOSE behind the query",
            )
    return _without_once(plan)


def _both(said: Emission | None, options: Emission) -> Emission:
    if said is None:
        return options
    return said if said.once else replace(options, early=said.early)


def _without_once(plan: nodes.Node) -> nodes.Node:
    """Where nothing is told besides, the plan is that of a statement without a word about it."""
    inputs = tuple(map(_without_once, plan.inputs))
    made = plan.with_inputs(inputs) if any(a is not b for a, b in zip(inputs, plan.inputs, strict=True)) else plan
    return replace(made, emit=None) if isinstance(made, nodes.Aggregate) and made.emit == ONCE else made


def _told(node: nodes.Node, make: Callable[[nodes.Aggregate], nodes.Aggregate], found: _Found) -> nodes.Node:
    """`node` with `make` done to the aggregates of windows that tell."""
    if isinstance(node, nodes.Aggregate) and node.windowed and not _is_session(node):
        found.aggregates += 1
        node = make(node)
    elif _closes(node):
        if not (isinstance(node, nodes.Aggregate) and node.emit == ONCE):
            found.closing = found.closing or node
        return node
    elif not _takes_changes(node):
        return node
    return node.with_inputs(tuple(_told(i, make, found) for i in node.inputs))


def _takes_changes(node: nodes.Node) -> bool:
    """Whether it takes rows that change, and waits for no time."""
    if isinstance(node, nodes.Join):
        return node.bounds is None
    if isinstance(node, nodes.Over):
        return not node.in_time_order and not node.waits_for_watermark
    if isinstance(node, nodes.Sort):
        return not node.waits_for_watermark
    return isinstance(node, _TAKE_CHANGES)


def _closes(node: nodes.Node) -> bool:
    """Whether its rows are of windows, and come when these close. (A ranking in windows is no TopN before it is optimised.)"""
    if isinstance(node, nodes.Join):
        return node.windowed is not None
    if isinstance(node, nodes.Over):
        marks = {node.input.schema[p].time for p in node.partition}
        ranks = all(c.function in RANKINGS for c in node.calls)
        return ranks and not marks.isdisjoint(WINDOW_ENDS) and not marks.isdisjoint(WINDOW_STARTS)
    return isinstance(node, nodes.Aggregate) and node.windowed


def _is_session(node: nodes.Node) -> bool:
    """Whether the windows of an aggregate are sessions: the next ones below it."""
    while len(node.inputs) == 1:
        (node,) = node.inputs
        if isinstance(node, nodes.Window):
            return node.spec.kind == "SESSION"
    return False


def _no_window(node: nodes.Node) -> nodes.Node | None:
    """What gives rows of the query that are not of windows that close; None: all are."""
    if _closes(node):
        return None
    if isinstance(node, (nodes.Project, nodes.Filter, nodes.Union)):
        return next((f for i in node.inputs if (f := _no_window(i)) is not None), None)
    return node


def _named(node: nodes.Node) -> str:
    if isinstance(node, nodes.Aggregate):
        return "GROUP BY a SESSION window" if _is_session(node) else "a GROUP BY without window_start and window_end"
    if isinstance(node, nodes.Over):
        return "a ranking in windows" if _closes(node) else "OVER without windows"
    if isinstance(node, nodes.Join):
        return "a join of windows" if node.windowed is not None else "a join without windows"
    return "this query"
