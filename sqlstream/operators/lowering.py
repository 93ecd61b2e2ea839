"""Logical plan to physical plan: which operator runs each node, and where rows are exchanged between tasks.

Equal logical nodes become one physical node, so a subquery used twice runs once, and all uses of a table in a job
read one scan: the united columns, the filters OR-ed. What cannot run as a stream is refused here, with a hint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from sqlstream.connectors.base import ScanColumn, ScanRequest
from sqlstream.errors import InternalError, NotSupported
from sqlstream.expressions import Call, Column, Expr, conjunction, conjuncts, shift, substitute
from sqlstream.functions.aggregates import AGGREGATES
from sqlstream.functions.render import to_duckdb
from sqlstream.operators.aggregation import can_share_slices
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.calc import Calc
from sqlstream.operators.changelog import Changelog
from sqlstream.operators.deduplicate import Deduplicate
from sqlstream.operators.exchange import Exchange
from sqlstream.operators.group_aggregate import GroupAggregate
from sqlstream.operators.interval_join import IntervalJoin
from sqlstream.operators.join import Join
from sqlstream.operators.lookup_join import LookupJoin, LookupTable
from sqlstream.operators.over_aggregate import OverAggregate
from sqlstream.operators.over_changelog import OverChangelog
from sqlstream.operators.session_window import SessionWindowAggregate
from sqlstream.operators.sink import Collect, Sink
from sqlstream.operators.source_scan import SourceScan
from sqlstream.operators.target import Target
from sqlstream.operators.top_n import TopN
from sqlstream.operators.union import UnionAll
from sqlstream.operators.unnest import Unnest
from sqlstream.operators.values import Values
from sqlstream.operators.window_aggregate import SliceAggregate, WindowAggregate
from sqlstream.operators.window_function import WindowFunction
from sqlstream.optimize.drop_watermarks import uses_rowtime
from sqlstream.plan import nodes
from sqlstream.plan.arrival import knows_arrival
from sqlstream.plan.time_bounds import time_bounds
from sqlstream.types import (
    BOOLEAN,
    ROWTIME,
    WINDOW_ENDS,
    WINDOW_STARTS,
    Schema,
)  # fmt: skip


@dataclass
class Lowering:
    """Lowers all statements of one job together."""

    parallelism: int = 1
    _made: dict[nodes.Node, PhysicalNode] = field(default_factory=dict)
    _scans: dict[int, tuple[SourceScan, list[ScanColumn]]] = field(default_factory=dict)
    _uses: dict[int, dict[nodes.Scan, None]] = field(default_factory=dict)  # a set in order: plans must not vary

    def job(self, targets: list[Target]) -> tuple[PhysicalNode, ...]:
        """The roots (Sink, Collect) of the job."""
        for t in targets:
            self._collect(t.plan)
        self._timed = any(uses_rowtime(t.plan) for t in targets)
        self._ordered = any(_wants_arrival(t.plan) for t in targets)
        return _updates_as_wanted(tuple(self._root(t) for t in targets))

    # ---- roots

    def _root(self, target: Target) -> PhysicalNode:
        node = self.lower(target.plan)
        if not node.traits.append_only:
            if target.sink is not None and not target.sink.changelog:
                raise NotSupported(
                    f"table {target.table} takes inserts only, and this query's rows can change: {_why(target.plan)}",
                    hint="write to a format with changes ('format' = 'debezium-json'), or make the query append-only, "
                    "for example by grouping over a window",
                )
            node = self._spread(Changelog((node,), node.traits.key))
        if target.sink is None:
            # The caller reads one stream.
            if self.parallelism > 1:
                node = Exchange((node,), ())
            return Collect((node,), target.output)
        return Sink((node,), target.table, target.sink, target.output)

    # ---- nodes

    def lower(self, node: nodes.Node) -> PhysicalNode:
        if node not in self._made:
            method = _LOWER.get(type(node))
            if method is None:
                raise InternalError(f"{type(node).__name__} has no lowering")
            self._made[node] = self._spread(method(self, node))
        return self._made[node]

    def _spread(self, node: PhysicalNode) -> PhysicalNode:
        """Puts an Exchange below where rows must meet and do not yet."""
        if self.parallelism == 1:
            return node
        inputs = []
        for child, keys in zip(node.inputs, node.distribution(), strict=True):
            if keys is None or _distributed(child) == keys:
                inputs.append(child)
            else:
                inputs.append(Exchange((child,), keys))
        return node if tuple(inputs) == node.inputs else replace(node, inputs=tuple(inputs))

    def _project(self, node: nodes.Project) -> PhysicalNode:
        if isinstance(node.input, nodes.Filter):
            return _calc(self.lower(node.input.input), node.exprs, node.input.condition, node.schema)
        return _calc(self.lower(node.input), node.exprs, None, node.schema)

    def _filter(self, node: nodes.Filter) -> PhysicalNode:
        return _calc(self.lower(node.input), _all(node.schema), node.condition, node.schema)

    def _values(self, node: nodes.Values) -> PhysicalNode:
        return Values((), node.columns, node.rows)

    def _union(self, node: nodes.Union) -> PhysicalNode:
        return UnionAll(tuple(self.lower(i) for i in node.all_inputs), node.schema)

    def _unnest(self, node: nodes.Unnest) -> PhysicalNode:
        return Unnest((self.lower(node.input),), node.column, node.kind, node.ordinality, node.schema)

    def _window(self, node: nodes.Window) -> PhysicalNode:
        if node.spec.kind == "SESSION":
            raise NotSupported(
                "a SESSION window must be grouped right above it",
                hint="GROUP BY window_start, window_end and the SESSION's PARTITION BY columns",
            )
        return WindowFunction((self.lower(node.input),), node)

    def _aggregate(self, node: nodes.Aggregate) -> PhysicalNode:
        for c in node.calls:
            if not AGGREGATES[c.function].streaming:
                raise NotSupported(
                    f"{c.function} cannot run as a stream", hint="SET 'execution.runtime-mode' = 'batch'"
                )
        below = node.input
        marks = [node.schema[i].time for i in range(len(node.keys))]
        session = _session_below(below)
        if session is not None:
            return self._session(node, *session)
        end = next((i for i, m in enumerate(marks) if m in WINDOW_ENDS), None)
        if end is None:
            return GroupAggregate((self.lower(below),), node.keys, node.calls, node.schema)
        domain = WINDOW_ENDS[marks[end] or ""]
        sliced = _sliced(node)
        if sliced is not None and can_share_slices(node.calls):
            window, keys, calls = sliced
            lowered = self.lower(window.input)
            if lowered.traits.append_only:
                width = len(window.input.schema)
                return SliceAggregate(
                    (lowered,),
                    tuple(k for k in keys if k < width),
                    window.time_column,
                    window.spec,
                    domain,
                    calls,
                    node.schema,
                    tuple(k if k < width else width - 1 - k for k in keys),
                )
        start = next((i for i, m in enumerate(marks) if m in WINDOW_STARTS), None)
        return WindowAggregate(
            (self.lower(below),),
            node.keys,
            None if start is None else node.keys[start],
            node.keys[end],
            domain,
            node.calls,
            node.schema,
        )

    def _session(self, node: nodes.Aggregate, window: nodes.Window, at: list[int]) -> PhysicalNode:
        """GROUP BY over a SESSION window: `at` maps the aggregate's input columns to the window's."""
        width = len(window.input.schema)
        keys = [at[k] for k in node.keys]
        others = [k for k in keys if k < width]
        if set(others) != set(window.partition):
            raise NotSupported(
                "a SESSION window must be grouped by its PARTITION BY columns, window_start and window_end",
                hint="GROUP BY window_start, window_end and exactly the PARTITION BY columns",
            )
        calls = tuple(
            replace(c, args=tuple(at[a] for a in c.args), filter=None if c.filter is None else at[c.filter])
            for c in node.calls
        )
        if any(a >= width for c in calls for a in (*c.args, *(() if c.filter is None else (c.filter,)))):
            raise NotSupported("aggregates over window_start or window_end of a SESSION are not supported")

        def place(offset: int) -> int | None:
            return keys.index(width + offset) if width + offset in keys else None

        return SessionWindowAggregate(
            (self.lower(window.input),),
            tuple(others),
            window.time_column,
            window.spec.size,
            window.domain,
            calls,
            node.schema,
            place(0),
            place(1),
            place(2),
        )

    def _join(self, node: nodes.Join) -> PhysicalNode:
        left, right = self.lower(node.left), self.lower(node.right)
        bounds = time_bounds(node.residual, node.left.schema, node.right.schema)
        both_append = left.traits.append_only and right.traits.append_only
        if node.windowed is None and bounds is not None and both_append and node.kind not in ("SEMI", "ANTI"):
            return IntervalJoin(
                (left, right), node.kind, node.left_keys, node.right_keys, bounds.left_time, bounds.right_time,
                bounds.lower, bounds.upper, bounds.rest, node.schema, bounds.domain, node.null_safe,
            )  # fmt: skip
        domain = ROWTIME
        if node.windowed is not None:
            domain = WINDOW_ENDS[node.left.schema[node.windowed[0]].time or ""]
        return Join(
            (left, right), node.kind, node.left_keys, node.right_keys, node.null_safe, node.residual, node.schema,
            node.windowed, domain,
        )  # fmt: skip

    def _lookup_join(self, node: nodes.LookupJoin) -> PhysicalNode:
        below: nodes.Node = node.lookup
        exprs: tuple[Expr, ...] = _all(below.schema)
        while not isinstance(below, nodes.Scan):
            if isinstance(below, nodes.Project):
                exprs = tuple(substitute(e, below.exprs) for e in exprs)
                below = below.input
            else:
                raise NotSupported(
                    "a lookup join takes a table, or a view of plain columns of one", hint="join with the table itself"
                )
        scan = below
        table = LookupTable(
            scan.table,
            scan.source,
            ScanRequest(scan.columns),
            tuple((f"c{i}", to_duckdb(e)) for i, e in enumerate(exprs)),
            None if scan.predicate is None else to_duckdb(scan.predicate),
            node.lookup.schema,
        )
        return LookupJoin(
            (self.lower(node.input),), table, node.kind, node.left_keys, node.right_keys, node.residual, node.schema
        )

    def _over(self, node: nodes.Over) -> PhysicalNode:
        below = self.lower(node.input)
        if below.traits.append_only and node.in_time_order:
            mark = node.input.schema[node.order[0].column].time
            assert mark is not None
            return OverAggregate((below,), node.partition, node.order, node.calls, mark, node.schema)
        return OverChangelog((below,), node.partition, node.order, node.calls, node.schema)

    def _top_n(self, node: nodes.TopN) -> PhysicalNode:
        below = self.lower(node.input)
        if node.first <= 1 == node.last and node.function == "ROW_NUMBER" and below.traits.append_only:
            keep = "last" if node.keeps_last else "first"
            return Deduplicate((below,), node.partition, node.order, keep, node.schema)
        rank = node.rank is not None
        return TopN((below,), node.partition, node.order, node.first, node.last, node.function, rank, node.schema)

    def _sort(self, node: nodes.Sort) -> PhysicalNode:
        if node.limit is None:
            raise NotSupported(
                "ORDER BY without LIMIT needs the whole input: it cannot run as a stream",
                hint="add LIMIT n, or SET 'execution.runtime-mode' = 'batch'",
            )
        below = self.lower(node.input)
        return TopN(
            (below,), (), node.order, node.offset + 1, node.offset + node.limit, "ROW_NUMBER", False, node.schema
        )

    # ---- scans

    def _collect(self, node: nodes.Node) -> None:
        if isinstance(node, nodes.Scan):
            self._uses.setdefault(id(node.source), {})[node] = None
        inputs = node.inputs[:1] if isinstance(node, nodes.LookupJoin) else node.inputs
        for i in inputs:
            self._collect(i)

    def _scan(self, node: nodes.Scan) -> PhysicalNode:
        key = id(node.source)
        if key not in self._scans:
            self._scans[key] = self._united(node)
        scan, columns = self._scans[key]
        at = [columns.index(c) for c in node.columns]
        if at == list(range(len(columns))) and len(self._uses[key]) == 1:
            return scan
        exprs = tuple(Column(c.type, at[i], n) for i, (c, n) in enumerate(zip(node.columns, node.names, strict=True)))
        condition = None if node.predicate is None else shift(node.predicate, lambda i: at[i])
        if condition == scan.predicate:
            condition = None  # the scan has filtered
        return Calc((scan,), exprs, condition, node.schema)

    def _united(self, node: nodes.Scan) -> tuple[SourceScan, list[ScanColumn]]:
        """One scan for all uses of a source in this job."""
        uses = sorted(self._uses[id(node.source)], key=lambda s: [c.path for c in s.columns])
        columns: list[ScanColumn] = []
        names: list[str] = []
        for u in uses:
            for c, n in zip(u.columns, u.names, strict=True):
                if c not in columns:
                    columns.append(c)
                    names.append(n)

        def placed(u: nodes.Scan, e: Expr) -> Expr:
            return shift(e, lambda i: columns.index(u.columns[i]))

        predicate: Expr | None = None
        if all(u.predicate is not None for u in uses):
            for u in uses:
                assert u.predicate is not None
                p = placed(u, u.predicate)
                if predicate is None:
                    predicate = p
                elif p != predicate and p not in _disjuncts(predicate):
                    predicate = Call(BOOLEAN, "OR", (predicate, p))
        marked = next((u for u in uses if u.watermark is not None), None)
        watermark = None
        if marked is not None and self._timed:
            assert marked.watermark is not None
            watermark = placed(marked, marked.watermark)
        timed = next((u for u in uses if u.time_column is not None), None)
        time_column = None if timed is None else columns.index(timed.columns[timed.time_column])  # type: ignore[index]
        scan = SourceScan(
            (), node.table, node.source, tuple(columns), tuple(names), predicate, watermark, time_column,
            row_wm=self._timed, arrival=self._ordered,
        )  # fmt: skip
        return scan, columns


def _calc(below: PhysicalNode, exprs: tuple[Expr, ...], condition: Expr | None, output: Schema) -> Calc:
    """A Calc over `below`; one that only picks and filters (a use of a shared scan) becomes part of it."""
    if isinstance(below, Calc) and all(isinstance(e, Column) for e in below.exprs):
        parts = [*conjuncts(below.condition), *(substitute(c, below.exprs) for c in conjuncts(condition))]
        exprs = tuple(substitute(e, below.exprs) for e in exprs)
        return Calc(below.inputs, exprs, conjunction(parts), output)
    return Calc((below,), exprs, condition, output)


def _disjuncts(e: Expr) -> list[Expr]:
    return [d for a in e.args for d in _disjuncts(a)] if isinstance(e, Call) and e.function == "OR" else [e]


def _all(schema: Schema) -> tuple[Expr, ...]:
    return tuple(Column(c.type, i, c.name) for i, c in enumerate(schema))


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
        exprs = (*_all(window.input.schema), *(e for e, _ in computed))
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


def _session_below(node: nodes.Node) -> tuple[nodes.Window, list[int]] | None:
    """The SESSION window right below, and where its columns went."""
    found = _window_below(node)
    return found if found is not None and found[0].spec.kind == "SESSION" else None


def _sliced(node: nodes.Aggregate) -> tuple[nodes.Window, tuple[int, ...], tuple[nodes.AggCall, ...]] | None:
    """The window right below an aggregate, with keys and calls over the window's columns; None when there is none."""
    found = _window_below(node.input)
    if found is None or found[0].spec.kind == "SESSION":
        return None
    below, at = found
    width = len(below.input.schema)
    keys = tuple(at[k] for k in node.keys)
    calls = tuple(
        replace(c, args=tuple(at[a] for a in c.args), filter=None if c.filter is None else at[c.filter])
        for c in node.calls
    )
    if any(a >= width for c in calls for a in (*c.args, *(() if c.filter is None else (c.filter,)))):
        return None
    return below, keys, calls


def _distributed(node: PhysicalNode) -> tuple[int, ...] | None:
    """The columns by whose key groups the rows of `node` are spread; None: by nothing known."""
    if isinstance(node, Exchange):
        return node.keys
    if isinstance(node, Calc):
        below = _distributed(node.inputs[0])
        if below is None:
            return None
        where = {e.index: i for i, e in reversed(list(enumerate(node.exprs))) if isinstance(e, Column)}
        return tuple(where[k] for k in below) if all(k in where for k in below) else None
    if isinstance(node, (WindowFunction, Changelog, Deduplicate, TopN, OverAggregate, OverChangelog, LookupJoin)):
        # Input columns come first in the output, and rows stay in their task.
        return _distributed(node.inputs[0])
    if isinstance(node, (GroupAggregate, WindowAggregate)):
        below = _distributed(node.inputs[0])
        if below is None or not all(k in node.keys for k in below):
            return None
        return tuple(node.keys.index(k) for k in below)
    return None


def _wants_arrival(node: nodes.Node) -> bool:
    """Whether any operator goes by arrival order and can know it."""
    if isinstance(node, nodes.Aggregate) and any(AGGREGATES[c.function].needs_arrival for c in node.calls):
        return knows_arrival(node.input)
    if isinstance(node, (nodes.TopN, nodes.Over)) and knows_arrival(node.input):
        return True
    return any(_wants_arrival(i) for i in node.inputs)


def _why(node: nodes.Node) -> str:
    """What makes a plan's rows change, in a word for the message."""
    for n, text in (
        (nodes.Aggregate, "GROUP BY"),
        (nodes.TopN, "top-N"),
        (nodes.Join, "outer JOIN"),
        (nodes.Over, "OVER"),
    ):
        if isinstance(node, n):
            return text
    for i in node.inputs:
        return _why(i)
    return "its source has changes"


_LOWER: dict[type, Callable[[Lowering, nodes.Node], PhysicalNode]] = {
    nodes.Scan: Lowering._scan,  # type: ignore[dict-item]
    nodes.Values: Lowering._values,  # type: ignore[dict-item]
    nodes.Project: Lowering._project,  # type: ignore[dict-item]
    nodes.Filter: Lowering._filter,  # type: ignore[dict-item]
    nodes.Window: Lowering._window,  # type: ignore[dict-item]
    nodes.Aggregate: Lowering._aggregate,  # type: ignore[dict-item]
    nodes.Join: Lowering._join,  # type: ignore[dict-item]
    nodes.LookupJoin: Lowering._lookup_join,  # type: ignore[dict-item]
    nodes.Over: Lowering._over,  # type: ignore[dict-item]
    nodes.TopN: Lowering._top_n,  # type: ignore[dict-item]
    nodes.Sort: Lowering._sort,  # type: ignore[dict-item]
    nodes.Union: Lowering._union,  # type: ignore[dict-item]
    nodes.Unnest: Lowering._unnest,  # type: ignore[dict-item]
}


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


def physical_tree(root: PhysicalNode) -> str:
    """EXPLAIN's text of a physical plan, with changelog mode."""
    return "\n".join(text for _, text in physical_lines(root))


def physical_lines(root: PhysicalNode, indent: int = 0) -> Iterator[tuple[PhysicalNode, str]]:
    """That text by its lines, with the nodes that they are about."""
    mode = "I" if root.traits.append_only else "I,UB,UA,D" if root.traits.before else "I,UA,D"
    details = root.details()
    yield root, "  " * indent + f"{root.name}({details + ', ' if details else ''}changelogMode=[{mode}])"
    for i in root.inputs:
        yield from physical_lines(i, indent + 1)
