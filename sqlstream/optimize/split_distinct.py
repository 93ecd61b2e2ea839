"""COUNT(DISTINCT b) GROUP BY a in two levels: by a and a bucket of b, and of these by a. So the values of one large group lie in many
tasks.

    SELECT a, COUNT(DISTINCT b), SUM(c) FROM t GROUP BY a
    SELECT a, SUM(n), SUM(s) FROM (SELECT a, COUNT(DISTINCT b) AS n, SUM(c) AS s FROM t GROUP BY a, MOD(HASH_CODE(b), 1024)) GROUP BY a

Equal values are in one bucket, so what is counted in one is counted in no other. Of several columns b1, b2 an Expand gives each row
once for each of them: in copy i the bucket is of b_i, and it counts for the calls over b_i; those without DISTINCT count the first.

It is Flink's split, of its conditions those that say when: all calls are COUNT, SUM, AVG, MIN and MAX; no windows; and the result is
the same, so no sum of FLOAT or DOUBLE, which would be rounded twice, nor of decimals of which parts may overflow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sqlstream.expressions import Call, Cast, Column, Expr, Literal
from sqlstream.plan import nodes
from sqlstream.types import BIGINT, BOOLEAN, INT, WINDOW_ENDS, WINDOW_STARTS, Type, decimal
from sqlstream.types import Column as SchemaColumn

BUCKETS = 1024
_SUMS = ("SUM", "AVG")
_SPLIT = ("COUNT", "MIN", "MAX", *_SUMS)
# What is the same has the same text. Not FLOAT and DOUBLE, whose -0.0 is 0.0; nor local times, whose text is of a zone.
_BUCKETED = ("CHAR", "VARCHAR", "BINARY", "VARBINARY", "DATE", "TIME", "TIMESTAMP", "BOOLEAN", "DECIMAL")


def into(buckets: int) -> Callable[[nodes.Node], nodes.Node]:
    """The rule for so many buckets."""

    def rule(node: nodes.Node) -> nodes.Node:
        return split_distinct(node, buckets)

    rule.__name__ = split_distinct.__name__
    return rule


def split_distinct(node: nodes.Node, buckets: int = BUCKETS) -> nodes.Node:
    """The rule: each Aggregate that has DISTINCT calls, and of which all calls can be made of parts."""
    if node.inputs:
        node = node.with_inputs(tuple(split_distinct(i, buckets) for i in node.inputs))
    return _Split(node, buckets).plan() if isinstance(node, nodes.Aggregate) and _splits(node) else node


def _splits(node: nodes.Aggregate) -> bool:
    schema = node.input.schema
    windowed = any(schema[k].time in (*WINDOW_STARTS, *WINDOW_ENDS) for k in node.keys)
    plain = node.ttl is None and node.emit is None and not windowed
    return plain and any(c.distinct for c in node.calls) and all(_parts(c, node) for c in node.calls)


def _parts(call: nodes.AggCall, node: nodes.Aggregate) -> bool:
    if call.function not in _SPLIT or len(call.args) > 1 or call.order or call.constants:
        return False
    types = [node.input.schema[a].type for a in call.args]
    if call.function in _SUMS and not all(t.is_integer or t.kind == "DECIMAL" and _fits(t) for t in types):
        return False
    return not call.distinct or all(t.is_integer or t.kind in _BUCKETED for t in types)


def _fits(t: Type) -> bool:
    """Whether no part of a sum of this decimal overflows, with 10,000 million values: all together may not, or may alone."""
    assert t.precision is not None
    return t.precision <= 28


@dataclass
class _Split:
    """Makes the levels. partial: the calls of the first, final: of the second. keys: the columns of the first by which it groups."""

    node: nodes.Aggregate
    buckets: int
    partial: list[nodes.AggCall] = field(default_factory=list)
    final: list[nodes.AggCall] = field(default_factory=list)
    keys: int = 0

    def plan(self) -> nodes.Node:
        """The Project over both levels."""
        node, n = self.node, len(self.node.keys)
        distinct = list(dict.fromkeys(c.args[0] for c in node.calls if c.distinct))
        below, further, calls = self._below(distinct)
        self.keys = n + len(further)
        values = [self._value(c, column) for c, column in zip(calls, node.schema.columns[n:], strict=True)]
        first = nodes.Aggregate(below, (*node.keys, *further), tuple(self.partial))
        second = nodes.Aggregate(first, tuple(range(n)), tuple(self.final))
        keys = [Column(second.schema[i].type, i, second.schema[i].name) for i in range(n)]
        return nodes.Project(second, (*keys, *values), node.schema.columns)

    def _below(self, distinct: list[int]) -> tuple[nodes.Node, tuple[int, ...], tuple[nodes.AggCall, ...]]:
        """The rows of the first level, the columns by which it groups besides, and the calls over these rows."""
        rows = self.node.input
        n, m = len(rows.schema), len(distinct)
        below = _with(rows, [(f"$bucket_{rows.schema[d].name}", self._bucket(d)) for d in distinct])
        buckets = tuple(range(n, n + m))
        if m == 1:
            return below, buckets, self.node.calls
        copies = nodes.Expand(below, tuple(tuple(b for b in buckets if b != own) for own in buckets), tuple(range(m)))
        filters: dict[Expr, int] = {}
        calls = []
        for c in self.node.calls:
            copy = distinct.index(c.args[0]) if c.distinct else 0
            taken: Expr = Call(BOOLEAN.null(False), "=", (_column(copies, n + m), Literal(BIGINT.null(False), copy)))
            if c.filter is not None:
                taken = Call(BOOLEAN, "AND", (taken, _column(copies, c.filter)))
            calls.append(replace(c, filter=filters.setdefault(taken, n + m + 1 + len(filters))))
        named = [(f"$copy_{i}", e) for i, e in enumerate(filters)]
        return _with(copies, named), (*buckets, n + m), tuple(calls)

    def _bucket(self, column: int) -> Expr:
        value = _column(self.node.input, column)
        t = INT.null(value.type.nullable)
        return Call(t, "%", (Call(t, "HASH_CODE", (value,)), Literal(INT.null(False), self.buckets)))

    def _value(self, call: nodes.AggCall, column: SchemaColumn) -> Expr:
        """The result of a call over the second level."""
        if call.function == "COUNT":
            return self._count(call, column)
        if call.function == "AVG":
            of = f"({'DISTINCT ' if call.distinct else ''}{self.node.input.schema[call.args[0]].name})"
            total = self._sum(call, _wide(self._type(call)), f"SUM{of}")
            count = self._count(call, SchemaColumn(f"COUNT{of}", BIGINT.null(False)))
            return _average(total, count, self._type(call), column.type)
        if call.function == "SUM":
            return self._sum(call, column.type, column.name)
        kept = replace(call, distinct=False)
        return self._of(kept, nodes.AggCall(call.function, (), column))

    def _type(self, call: nodes.AggCall) -> Type:
        return self.node.input.schema[call.args[0]].type

    def _sum(self, call: nodes.AggCall, result: Type, name: str) -> Expr:
        # Of the parts one may be greater than all together.
        part = SchemaColumn(name, _wide(self._type(call)))
        return self._of(
            replace(call, function="SUM", column=part), nodes.AggCall("SUM", (), SchemaColumn(name, result))
        )

    def _count(self, call: nodes.AggCall, column: SchemaColumn) -> Expr:
        part = replace(call, function="COUNT", column=replace(column, type=BIGINT.null(False)))
        keyed = bool(self.node.keys)  # a group has at least one part
        made = self._of(part, nodes.AggCall("SUM", (), replace(column, type=BIGINT.null(not keyed))))
        return made if keyed else Call(BIGINT.null(False), "COALESCE", (made, Literal(BIGINT.null(False), 0)))

    def _of(self, part: nodes.AggCall, whole: nodes.AggCall) -> Column:
        """`whole` over what `part` gives in the first level, as a column of the second."""
        if part not in self.partial:
            self.partial.append(part)
        whole = replace(whole, args=(self.keys + self.partial.index(part),))
        if whole not in self.final:
            self.final.append(whole)
        at = len(self.node.keys) + self.final.index(whole)
        return Column(whole.column.type, at, whole.column.name)


def _wide(t: Type) -> Type:
    """Of sums that no number of values overflows, or few."""
    return BIGINT if t.is_integer and t.kind != "BIGINT" else decimal(38, t.scale or 0)


def _average(total: Expr, count: Expr, t: Type, result: Type) -> Expr:
    """As AVG divides: whole numbers are truncated, decimals rounded half up; NULL of nothing."""
    some = Call(BIGINT, "NULLIF", (count, Literal(BIGINT.null(False), 0)))
    if t.kind == "BIGINT":  # less the rest it has no fraction
        total = Call(total.type, "-", (total, Call(total.type, "%", (total, some))))
    if t.is_integer:
        return Cast(result, Call(total.type, "/", (total, some)))
    return Call(result, "/", (total, some))


def _with(node: nodes.Node, more: list[tuple[str, Expr]]) -> nodes.Project:
    """The rows with columns more."""
    columns = [SchemaColumn(name, e.type) for name, e in more]
    own = [_column(node, i) for i in range(len(node.schema))]
    return nodes.Project(node, (*own, *(e for _, e in more)), (*node.schema.columns, *columns))


def _column(node: nodes.Node, i: int) -> Column:
    return Column(node.schema[i].type, i, node.schema[i].name)
