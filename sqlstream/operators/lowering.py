"""Logical plan to physical plan: which operator runs each node, and where rows are exchanged between tasks.

Each operator's file says how its node is lowered (`lower.register`). Equal logical nodes become one physical node, so a
subquery used twice runs once. What cannot run as a stream is refused, with a hint.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from functools import singledispatch
from importlib import import_module
from typing import TYPE_CHECKING

from sqlstream.errors import InternalError, NotSupported
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.changelog import Changelog
from sqlstream.operators.exchange import Exchange
from sqlstream.operators.sink import Collect, Sink
from sqlstream.operators.sink_materializer import Conflicts, changes_key, conflicts_resolved
from sqlstream.operators.target import Target
from sqlstream.optimize.drop_watermarks import uses_rowtime
from sqlstream.plan import nodes
from sqlstream.sink_options import sink_tasks

if TYPE_CHECKING:
    from sqlstream.operators.late_rows import LateTable


@singledispatch
def lower(node: nodes.Node, job: Lowering) -> PhysicalNode:
    """The operator that runs `node`, over `job.lower(input)`; exchanges are put below it afterwards.

    Registered in the module of `operators/` that the node names (`Node.lowered_in`). NotSupported, with a hint, for
    what cannot run as a stream.
    """
    raise InternalError(f"{type(node).__name__} has no lowering")


class Lowering:
    """Lowers all statements of one job together.

    uses     the scans of each source (by `id`), in an order that does not vary
    timed    whether any operator waits for the watermark
    awaited  what OVERs stand below such operators, or sinks that do
    ordered  whether any goes by arrival order and can know it
    uids     the calls of process table functions that have one

    `ttl`: how long rows of state live without being written, in µs; 0: for ever. `conflicts`: where rows can
    meet in one PRIMARY KEY of the table that they go to. `multi_join`: true, false or AUTO, whether INNER JOINs by
    one key are one operator.
    `phases`: of aggregates, in several tasks (`PhysicalNode.sent`).
    """

    def __init__(
        self,
        parallelism: int = 1,
        ttl: int = 0,
        conflicts: Conflicts | None = None,
        multi_join: str = "AUTO",
        recursion_limit: int = 10_000,
        phases: str = "AUTO",
    ) -> None:
        self.recursion_limit, self.phases = recursion_limit, phases
        self.parallelism, self.multi_join = parallelism, multi_join
        self._ttl, self._conflicts = ttl, conflicts or Conflicts()
        self.uses: dict[int, dict[nodes.Scan, None]] = {}
        self.timed = self.ordered = False
        self.awaited: set[nodes.Over] = set()
        self.uids: dict[str, nodes.Node] = {}
        self._made: dict[nodes.Node, PhysicalNode] = {}
        self._shared: dict[Hashable, PhysicalNode] = {}

    def job(self, targets: list[Target], late: LateTable | None = None) -> tuple[PhysicalNode, ...]:
        """The roots (Sink, Collect) of the job. `late`: the table that late rows go to."""
        plans = [t.plan for t in targets]
        for n in (n for p in plans for n in _streamed(p)):
            if isinstance(n, nodes.Scan):
                self.uses.setdefault(id(n.source), {})[n] = None
            self.ordered = self.ordered or n.goes_by_arrival
        self.timed = any(map(uses_rowtime, plans)) or any(t.waits_for_watermark for t in targets)
        for t in targets:
            below = [i for n in t.plan.walk() if n.waits_for_watermark for i in n.inputs]
            roots_of = [t.plan] if t.waits_for_watermark else below
            self.awaited.update(n for root in roots_of for n in root.walk() if isinstance(n, nodes.Over))
        roots = _updates_as_wanted(tuple(self._root(t) for t in targets))
        if late is not None:
            from sqlstream.operators.late_rows import late_sinks

            roots = (*roots, *map(self._spread, late_sinks(roots, late)))
        # Behind all else: rows are in order, and lie by the table's key, where these exchanges take them.
        options = {t.table: t.tables.get(t.table, {}) for t in targets} | ({late.table: late.options} if late else {})
        return tuple(
            r.written_by(sink_tasks(r.table, options[r.table], self.parallelism)) if isinstance(r, Sink) else r
            for r in roots
        )

    def lower(self, node: nodes.Node) -> PhysicalNode:
        """The operator that gives the rows of `node`, wherever they are."""
        if node not in self._made:
            import_module(f"sqlstream.operators.{node.lowered_in}")
            self._made[node] = self._spread(lower(node, self))
        return self._made[node]

    def once(self, key: Hashable, make: Callable[[], PhysicalNode]) -> PhysicalNode:
        """What the first call for `key` made: for a node that several logical ones share."""
        if key not in self._shared:
            self._shared[key] = self._spread(make())
        return self._shared[key]

    def ttl(self, hint: int | None) -> int:
        """How long rows of an operator's state live: what hint STATE_TTL says for its input, else the option; µs."""
        return self._ttl if hint is None else hint

    def hinted(self, made: PhysicalNode, *hints: int | None) -> PhysicalNode:
        """`made`, which hints STATE_TTL are for. NotSupported where its state does not live by processing time."""
        if not made.lifetimes() and any(h is not None for h in hints):
            raise NotSupported(
                f"hint STATE_TTL: the state of {made.name} goes as time passes, not when nobody writes it",
                hint="leave the hint out",
            )
        return made

    def _root(self, target: Target) -> PhysicalNode:
        node = self.lower(target.plan)
        if not node.traits.append_only and target.sink is not None and not target.sink.changelog:
            cause = first_changing(node)
            raise NotSupported(
                f"table {target.table} takes inserts only, and this query's rows can change: {cause.changes}",
                hint=f"write to a format with changes ('format' = 'debezium-json'), or {cause.once}",
            )
        if (one := conflicts_resolved(node, target, self._conflicts, self._ttl)) is not node:
            node = self._spread(one)
        if not node.traits.append_only:
            node = self._spread(Changelog((node,), changes_key(node, target, self._conflicts)))
        if target.sink is None:
            return self._spread(Collect((node,), target.output))
        return self._spread(Sink((node,), target.table, target.sink, target.output))

    def _spread(self, node: PhysicalNode) -> PhysicalNode:
        """Puts an Exchange below where rows must meet and do not yet.

        How state lies follows from the plan alone: with one task nothing is exchanged, and all else is the same.
        """
        by = _already(node)
        if by != node.by:
            node = replace(node, by=by)
        if self.parallelism == 1:
            return node
        inputs = []
        for i, child in enumerate(node.inputs):
            keys, have = node.gathering(i), child.spread()
            there = keys is None or (have is not None and have.meets(keys))
            inputs.append(child if there else Exchange((node.sent(i, self.phases),), keys or ()))
        return node if tuple(inputs) == node.inputs else replace(node, inputs=tuple(inputs))


def _already(node: PhysicalNode) -> tuple[int, ...] | None:
    """For `by`: which columns, of those that rows must meet by, most inputs are spread by; None: all, or none.

    Not by times and columns of windows alone: all rows of the window that is open would lie in one task.
    """
    wanted = node.distribution()
    found: dict[tuple[int, ...] | None, int] = {None: 0}
    for child, keys in zip(node.inputs, wanted, strict=True):
        have = child.spread()
        if not keys or have is None or not have.columns:
            continue
        if have.meets(keys):
            found[None] += 1
            continue
        by = tuple(next((p for p, k in enumerate(keys) if k in same), -1) for same in have.columns)
        if -1 not in by and any(child.schema[keys[p]].time is None for p in by):
            found[by] = found.get(by, 0) + 1
    return max(found, key=lambda by: found[by])


def _streamed(node: nodes.Node) -> Iterator[nodes.Node]:
    """The nodes that run as operators."""
    yield node
    for i in node.streams:
        yield from _streamed(i)


def first_changing(node: PhysicalNode) -> PhysicalNode:
    """What makes rows of `node` change, for a message: the first operator whose own input only grows."""
    for i in node.inputs:
        if not i.traits.append_only:
            return first_changing(i)
    if not node.changes:
        raise InternalError(f"{type(node).__name__} gives changes and does not say why")
    return node


def _updates_as_wanted(roots: tuple[PhysicalNode, ...]) -> tuple[PhysicalNode, ...]:
    """Without -U on the way to sinks that do not want it; not below a node that others read as well."""
    readers: dict[int, int] = {}

    def count(node: PhysicalNode) -> None:
        readers[id(node)] = readers.get(id(node), 0) + 1
        if readers[id(node)] == 1:
            for i in node.inputs:
                count(i)

    def alone(node: PhysicalNode) -> bool:
        return readers[id(node)] == 1 and all(alone(i) for i in node.inputs if not i.traits.append_only)

    for r in roots:
        count(r)
    out: list[PhysicalNode] = []
    for r in roots:
        if isinstance(r, Sink) and not r.sink.update_before and not r.traits.append_only:
            (changelog,) = r.inputs
            assert isinstance(changelog, Changelog)
            changelog = changelog.without_before() if alone(changelog) else replace(changelog, before=False)
            r = replace(r, inputs=(changelog,))
        out.append(r)
    return tuple(out)
