"""GROUP BY: grouping expressions and aggregate calls become columns of an Aggregate over a Project.

Several grouping sets are one group more: an Expand between them gives each row once for each set, with the set's number as a
key.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from sqlstream.errors import BindError, InternalError, NotSupported, SqlStreamError
from sqlstream.expressions import Call, Column, Expr, Literal
from sqlstream.plan import nodes
from sqlstream.plan.aggregate_calls import AggregateCall, bound_call, innermost, is_aggregate
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.window_binder import auxiliary, group_window, group_window_spec, in_windows, time_attribute
from sqlstream.sql.ast import exp, position_of
from sqlstream.sql.printing import sql_of
from sqlstream.types import BIGINT, BOOLEAN, INT, PROCTIME, Type
from sqlstream.types import Column as SchemaColumn

MOST_OF_CUBE = 8
_Set = tuple[int, ...]  # a grouping set: the places of its keys, in order


def has_aggregate(node: exp.Expression) -> bool:
    """Whether an aggregate that is no OVER call stands in `node` (subqueries apart)."""
    return any(True for _ in _grouped(node))


def aggregates_in(node: exp.Expression) -> list[exp.Expression]:
    """The aggregates in `node` that are no OVER calls, each with what stands behind it (subqueries apart)."""
    return [n for n in _grouped(node) if auxiliary(n) is None]


def _grouped(node: exp.Expression) -> Iterator[exp.Expression]:
    """What in `node` needs groups: aggregates, and the auxiliary functions of windows."""
    if isinstance(node, exp.Window):
        # The call itself is a window function; its arguments, partition and order may hold aggregates.
        call = innermost(node.this)
        order = node.args.get("order")
        filters = [n.expression.this for n in node.this.walk(prune=lambda n: n is call) if isinstance(n, exp.Filter)]
        parts = [*call.expressions, *filters, *(node.args.get("partition_by") or [])]
        for part in [*parts, *([] if order is None else [o.this for o in order.expressions])]:
            yield from _grouped(part)
    elif is_aggregate(innermost(node)) or auxiliary(node) is not None:
        yield node
    elif not isinstance(node, exp.Query):
        for child in node.iter_expressions():
            if isinstance(child, exp.Expression):
                yield from _grouped(child)


class AggregateStage:
    """Collects what SELECT, HAVING, … need of the groups; `plan()` then makes the nodes.

    `binder` binds expressions over the Aggregate's output: keys first, then calls in the order they came. `arguments`
    binds those of the calls.
    """

    def __init__(self, plan: nodes.Node, arguments: ExpressionBinder, group: exp.Expression | None) -> None:
        scope, catalog = arguments.scope, arguments.catalog
        self._catalog = catalog
        self._input = plan
        self._raw = ExpressionBinder(scope, catalog)
        self._arguments = arguments
        self._keys: list[Expr] = []
        self._asked: list[tuple[exp.Expression, Expr]] = []  # keys with subqueries
        self._window: tuple[exp.Expression, nodes.WindowSpec, int, int] | None = None  # node, spec, time, key position
        self._calls: list[AggregateCall] = []
        self._names: list[str] = []
        self._planned = False
        self.binder = ExpressionBinder(scope, catalog, self._hook)
        items = [self._sets_of(i) for i in group.expressions] if group is not None else []
        # What stands beside one another holds together: each set of one with each of the others.
        self._sets = [_union(list(chosen)) for chosen in product(*items)]
        if len(self._sets) > 1 and self._window is not None and self._window[1].kind == "SESSION":
            raise NotSupported(
                "GROUP BY SESSION(…) has one grouping set: each would have sessions of its own",
                hint="UNION ALL of one GROUP BY for each set",
                position=position_of(group) if group is not None else None,
            )

    def _sets_of(self, item: exp.Expression) -> list[_Set]:
        """The grouping sets of an item of GROUP BY, whose keys are added."""
        if isinstance(item, exp.Paren):
            return self._sets_of(item.this)
        if isinstance(item, exp.Tuple):
            return [_union([s for i in item.expressions for s in self._sets_of(i)])]
        if isinstance(item, exp.GroupingSets):
            return [s for i in item.expressions for s in self._sets_of(i)]
        if isinstance(item, (exp.Rollup, exp.Cube)):
            parts = [_union(self._sets_of(i)) for i in item.expressions]
            if isinstance(item, exp.Rollup):
                return [_union(parts[:n]) for n in range(len(parts), -1, -1)]
            if len(parts) > MOST_OF_CUBE:
                raise NotSupported(
                    f"CUBE of {len(parts)} has {2 ** len(parts):,} grouping sets",
                    hint=f"take {MOST_OF_CUBE} at most, or write the sets that are wanted: GROUPING SETS ((a, b), (a), …)",
                    position=position_of(item),
                )
            chosen = product(*((part, ()) for part in parts))
            return [_union(list(c)) for c in chosen]
        return [self._key(item)]

    def _key(self, item: exp.Expression) -> _Set:
        """The keys that an expression stands for: three for a window, else one."""
        if group_window(item) is not None:
            if self._window is not None:
                raise BindError("GROUP BY has two windows", position=position_of(item))
            time = time_attribute(self._raw.bind(item.expressions[0]), self._input.schema, item.this.upper(), item)
            at = len(self._keys)
            self._window = (item, group_window_spec(item, self._catalog), time, at)
            width = len(self._input.schema)
            windowed = in_windows(self._input, self._window[1], time, (), item)
            for i in range(3):
                c = windowed.schema[width + i]
                self._keys.append(Column(c.type, width + i, c.name))
            return (at, at + 1, at + 2)
        if has_aggregate(item):
            raise BindError(
                "an aggregate cannot stand in GROUP BY",
                hint="compute it in a subquery, and group by its column",
                position=position_of(item),
            )
        if isinstance(item, exp.Literal) and not item.is_string:
            raise NotSupported(
                "GROUP BY takes expressions, not positions", hint="write the expression", position=position_of(item)
            )
        asked = item.find(exp.Query) is not None  # what it asks for is a column behind those of FROM
        e = (self._arguments if asked else self._raw).bind(item)
        if asked:
            self._asked.append((item, e))
        if e not in self._keys:
            self._keys.append(e)
        return (self._keys.index(e),)

    def grouped(self, node: exp.Expression) -> Expr | None:
        """The column of a key that is made with a subquery; None where `node` is none."""
        return next((self._at(e, "") for item, e in self._asked if item == node), None)

    def column(self, e: Column, node: exp.Expression) -> Expr:
        """A column that `*` stands for: it must be a key."""
        if e in self._keys:
            return self._at(e, e.name)
        raise BindError(
            f"column '{e.name}' is neither grouped nor aggregated",
            hint="write the columns of GROUP BY, and aggregates, in place of *",
            position=position_of(node),
        )

    @property
    def _expands(self) -> bool:
        """Whether there are several grouping sets: behind the keys stands the number of the set."""
        return len(self._sets) > 1

    def _at(self, key: Expr, name: str) -> Column:
        """A key as a column of the output: NULL in sets that it is not in."""
        k = self._keys.index(key)
        everywhere = all(k in s for s in self._sets)
        return Column(key.type if everywhere else key.type.null(), k, name or f"key{k}")

    def _grouping(self, node: exp.Expression) -> Expr:
        """GROUPING(a), GROUPING_ID(a, b, …): a bit for each expression, 1 where it is not in the row's grouping set; GROUP_ID():
        how often the set came before."""
        name, bits = node.this.upper(), list[int]()
        if bool(node.expressions) == (name == "GROUP_ID"):
            takes = "nothing" if name == "GROUP_ID" else "expressions of GROUP BY"
            raise BindError(f"{name} takes {takes}", position=position_of(node))
        for a in node.expressions:
            raw = self._raw.bind(a)
            if raw not in self._keys:
                raise BindError(
                    f"{name}: {sql_of(a)} is no expression of GROUP BY",
                    hint="it says whether a row is grouped by one",
                    position=position_of(a),
                )
            bits.append(self._keys.index(raw))
        whole = BIGINT.null(False)

        def number(i: int) -> Expr:
            s = self._sets[i]
            if name == "GROUP_ID":
                return Literal(whole, self._sets[:i].count(s))
            return Literal(whole, sum(1 << n for n, k in enumerate(reversed(bits)) if k not in s))

        e = Column(whole, len(self._keys), "$e")
        cases: list[Expr] = []
        for i in range(len(self._sets) - 1):
            cases += [Call(BOOLEAN.null(False), "=", (e, Literal(whole, i))), number(i)]
        last = number(len(self._sets) - 1)
        return Call(whole, "CASE", (*cases, last)) if cases else last

    def _hook(self, node: exp.Expression) -> Expr | None:
        if is_aggregate(innermost(node)):
            return self._aggregate(node)
        if isinstance(node, exp.Anonymous) and node.this.upper() in ("GROUPING", "GROUPING_ID", "GROUP_ID"):
            return self._grouping(node)
        found = auxiliary(node)
        if found is not None:
            return self._auxiliary(node, *found)
        if group_window(node) is not None and self._window is not None:
            raise BindError(
                f"{sql_of(node)} stands only in GROUP BY",
                hint=f"{node.this.upper()}_START(…) or _END(…)",
                position=position_of(node),
            )
        if not has_aggregate(node) and not isinstance(node, (exp.Literal, exp.Paren)):
            try:
                raw = self._raw.bind(node)
            except SqlStreamError:
                return None
            if raw in self._keys:
                return self._at(raw, getattr(raw, "name", ""))
            if isinstance(raw, Column):
                raise BindError(
                    f"column '{raw.name}' is neither grouped nor aggregated",
                    hint=f"add it to GROUP BY, or aggregate it: MAX({raw.name})",
                    position=position_of(node),
                )
        return None

    def _aggregate(self, node: exp.Expression) -> Expr:
        inner = innermost(node)
        if any(has_aggregate(a) for a in inner.expressions):
            raise BindError(
                "an aggregate cannot stand inside another",
                hint="compute the inner one in a subquery: SELECT SUM(n) FROM (SELECT COUNT(*) AS n …)",
                position=position_of(node),
            )
        try:
            call = bound_call(node, self._arguments)
            t = self._type(call)
        except SqlStreamError as e:
            e.position = e.position or position_of(node)
            raise
        if call not in self._calls:
            if self._planned:
                raise InternalError(f"an aggregate that was not seen: {sql_of(node)}")
            self._calls.append(call)
            self._names.append(sql_of(inner))
        i = self._calls.index(call)
        return Column(t, len(self._keys) + self._expands + i, self._names[i])

    def _type(self, call: AggregateCall) -> Type:
        return call.type_of(bool(self._keys))  # with GROUP BY there is always a row

    def _auxiliary(self, node: exp.Expression, window: str, part: int) -> Expr:
        if self._window is None:
            raise BindError(
                f"{node.this} needs GROUP BY {window}(…)",
                hint=f"or FROM {window}(TABLE t, DESCRIPTOR(ts), …), which has columns window_start and window_end",
                position=position_of(node),
            )
        item, _, time, at = self._window
        if item.this.upper() != window or [sql_of(a) for a in item.expressions] != [
            sql_of(a) for a in node.expressions
        ]:
            raise BindError(f"{sql_of(node)} does not match GROUP BY {sql_of(item)}", position=position_of(node))
        by_event_time = self._input.schema[time].time != PROCTIME
        if node.this.upper().endswith("_ROWTIME") and not by_event_time:
            raise BindError(
                f"{node.this}: a window of processing time has no event time",
                hint=f"{window}_PROCTIME(…)",
                position=position_of(node),
            )
        if node.this.upper().endswith("_PROCTIME") and by_event_time:
            return self._raw.bind(exp.Anonymous(this="PROCTIME"))
        c = self._keys[at + part]
        assert isinstance(c, Column)
        return Column(c.type, at + part, c.name)

    def plan(self, source: nodes.Node, ttl: int | None) -> nodes.Node:
        """Project of keys and arguments (a Window between, for group windows), then Aggregate.

        source  the plan that it began with, and columns behind it for subqueries in arguments
        ttl     hint STATE_TTL
        """
        self._planned = True
        keys = list(self._keys)
        if self._window is not None:
            _, spec, time, at = self._window
            others = [k for i, k in enumerate(keys) if not at <= i < at + 3]
            partition: tuple[int, ...] = ()
            if spec.kind == "SESSION":
                from sqlstream.plan.joins import with_columns

                source, partition = with_columns(source, others)
            shift_by = len(source.schema) - len(self._input.schema)
            there = dict(zip(others, partition, strict=False))
            keys = [
                Column(k.type, k.index + shift_by, k.name) if at <= i < at + 3 and isinstance(k, Column)
                else Column(k.type, there[k], getattr(k, "name", "")) if k in there
                else k
                for i, k in enumerate(keys)
            ]  # fmt: skip
            source = in_windows(source, spec, time, partition, self._window[0])
        exprs: list[Expr] = []
        columns: list[SchemaColumn] = []

        def place(e: Expr, first: int = 0) -> int:
            if e in exprs[first:]:
                return exprs.index(e, first)
            exprs.append(e)
            if isinstance(e, Column):
                columns.append(source.schema[e.index])
            else:
                columns.append(SchemaColumn(f"$f{len(exprs) - 1}", e.type))
            return len(exprs) - 1

        key_at = tuple(place(k) for k in keys)
        own = len(exprs) if self._expands else 0  # an aggregate reads also what is NULL as a key
        calls = []
        for c, n in zip(self._calls, self._names, strict=True):
            args = tuple(place(a, own) for a in c.args)
            where = place(c.filter, own) if c.filter is not None else None
            order = tuple(o.key(place(o.by, own)) for o in c.order)
            column = SchemaColumn(n, self._type(c))
            calls.append(nodes.AggCall(c.function.name, args, column, c.distinct, where, c.constants, order))
        if not exprs:
            place(Literal(INT.null(False), 0))  # COUNT(*) alone reads no column; a relation has at least one
        below: nodes.Node = nodes.Project(source, tuple(exprs), tuple(columns))
        if self._expands:
            nulled = tuple(tuple(key_at[k] for k in range(len(keys)) if k not in s) for s in self._sets)
            below = nodes.Expand(below, nulled, tuple(range(len(self._sets))))
            key_at = (*key_at, len(below.schema) - 1)
        return nodes.Aggregate(below, key_at, tuple(calls), ttl=ttl)


def _union(sets: list[_Set]) -> _Set:
    """The keys that are in any of them."""
    return tuple(sorted({k for s in sets for k in s}))
