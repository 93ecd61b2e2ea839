"""What an operator means: a hash of what it keeps and gives, which stays while that stays, whatever else changes.

A job that goes on as another one keeps the state of operators that mean what they meant. So all of this is left out:
where an operator stands in the plan, how many tasks there are, names of columns inside a query, how long state lives,
whether an update comes with the row before it; and what only other statements of the job want: the columns and filters
that a scan which they share has for them. Filters count as a set of conditions, the inputs of a UNION ALL as a bag.
The watermark of a table counts for operators that wait for it, the session's time zone where local times are computed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlstream.expressions import Call, Column, Expr, conjuncts, shift, substitute
from sqlstream.operators.bad_records import BadRecords
from sqlstream.operators.base import PhysicalNode, Way
from sqlstream.operators.calc import Calc
from sqlstream.operators.lookup_join import LookupJoin
from sqlstream.operators.sink import Sink
from sqlstream.operators.source_scan import SourceScan
from sqlstream.operators.union import UnionAll
from sqlstream.runtime.fingerprint import encoded, fingerprint

_LOCAL = ("TIMESTAMP_LTZ", "UNIX_TIMESTAMP", "FROM_UNIXTIME", "CURRENT_", "LOCALTIME")  # what depends on the time zone


@dataclass(frozen=True)
class _Rows:
    """Rows as expressions over those of `base`, a hash; `names`: what the base's columns are called there.

    `conditions`: what holds for the rows, encoded; of an OR its parts, each the set of its conditions.
    """

    base: str
    names: tuple[Any, ...]
    exprs: tuple[Expr, ...]
    conditions: dict[str, frozenset[frozenset[str]]] = field(default_factory=dict)
    empty: bool = False  # there were none so far

    def text(self, e: Expr) -> str:
        """An expression over the base, whatever else the base has."""
        order = list(dict.fromkeys(x.index for x in e.walk() if isinstance(x, Column)))
        return _json([encoded(shift(e, order.index)), [self.names[i] for i in order]])

    def where(self, condition: Expr | None) -> dict[str, frozenset[frozenset[str]]]:
        """`conditions` with this one, which is over the base."""
        return {**self.conditions, **dict(self._condition(c) for c in conjuncts(condition))}

    def _condition(self, e: Expr) -> tuple[str, frozenset[frozenset[str]]]:
        parts = _disjuncts(e)
        if len(parts) == 1:
            return self.text(e), frozenset()
        ways = frozenset(frozenset(self._condition(c)[0] for c in conjuncts(p)) for p in parts)
        return fingerprint(sorted(sorted(w) for w in ways)), ways

    def hash(self) -> str:
        """What they are. An OR says nothing where one of its parts holds, as of a scan that others share."""
        kept = []
        for text, ways in self.conditions.items():
            others = self.conditions.keys() - {text}
            narrower = any(w and w < ways for w in self.conditions.values())
            if not narrower and not any(w <= others for w in ways):
                kept.append(text)
        return fingerprint([self.base, [self.text(e) for e in self.exprs], sorted(kept)])


class _Meanings:
    """`other`: tables that are not what they were; `empty`: those of which nothing was read so far."""

    def __init__(self, zone: str, other: Collection[str], empty: Collection[str]) -> None:
        self._zone, self._other, self._empty = zone, other, empty
        self._rows: dict[tuple[int, bool], _Rows] = {}
        self._own: dict[tuple[int, bool], str] = {}
        self._watermarks: dict[int, frozenset[str]] = {}

    def own(self, node: PhysicalNode, strict: bool = False) -> str:
        """The hash of a node. `strict`: inputs without rows so far count, since their time does."""
        key = (id(node), strict)
        if key not in self._own:
            self._own[key] = self._hash(node, strict or node.waits())
        return self._own[key]

    def _hash(self, node: PhysicalNode, strict: bool) -> str:
        if isinstance(node, SourceScan):
            return fingerprint(["Source", node.table, *sorted(self._marks(node))])
        if isinstance(node, Way):
            return self.own(node.inputs[0], strict)
        if isinstance(node, BadRecords):  # of the table, whatever is read of it
            return fingerprint(["BadRecords", node.table, *(["another table"] if node.table in self._other else [])])
        if isinstance(node, (Calc, UnionAll)):
            return self.rows(node, strict).hash()
        inputs = [self.rows(i, strict) for i in node.inputs]
        told: list[Any] = [type(node).__name__, encoded(node.meaning()), [i.hash() for i in inputs]]
        if node.waits():
            told.append(sorted(self._marks(node)))
        if isinstance(node, LookupJoin) and node.table.name in self._other:
            told.append("another table")
        return fingerprint([*told, *self._local(told, node)])

    def _local(self, told: Any, node: PhysicalNode) -> list[str]:
        """The time zone, where it matters."""
        columns = [c.type.kind for i in node.inputs for c in i.schema] if not isinstance(node, (Calc, Sink)) else []
        matters = any(k in _LOCAL for k in columns) or any(word in _json(told) for word in _LOCAL)
        return [self._zone] if matters else []

    def rows(self, node: PhysicalNode, strict: bool) -> _Rows:
        """The rows that a node gives."""
        key = (id(node), strict)
        if key not in self._rows:
            self._rows[key] = self._given(node, strict)
        return self._rows[key]

    def _given(self, node: PhysicalNode, strict: bool) -> _Rows:
        if isinstance(node, Way):
            return self.rows(node.inputs[0], strict)
        if isinstance(node, SourceScan):
            return self._read(node, strict)
        if isinstance(node, Calc):
            return self._computed(node, self.rows(node.inputs[0], strict), strict)
        if isinstance(node, UnionAll):
            inputs = [self.rows(i, strict) for i in node.inputs]
            filled = [i for i in inputs if not i.empty]
            if len(filled) == 1:
                return filled[0]
            base = fingerprint(["Union", sorted(i.hash() for i in filled or inputs)])
            return self._over(base, node, empty=not filled)
        return self._over(self.own(node, strict), node)

    def _over(self, base: str, node: PhysicalNode, empty: bool = False) -> _Rows:
        """All columns of a node that is a base."""
        columns = tuple(Column(c.type, i) for i, c in enumerate(node.schema))
        return _Rows(base, tuple(range(len(columns))), columns, empty=empty)

    def _read(self, node: SourceScan, strict: bool) -> _Rows:
        base = ["Source", node.table, *(["another table"] if node.table in self._other else [])]
        names = tuple([list(c.path), encoded(c.type)] for c in node.columns)
        columns = tuple(Column(c.type, i) for i, c in enumerate(node.columns))
        rows = _Rows(fingerprint(base), names, columns, empty=not strict and node.table in self._empty)
        return _Rows(rows.base, names, columns, rows.where(node.predicate), rows.empty)

    def _computed(self, node: Calc, below: _Rows, strict: bool) -> _Rows:
        """A Calc as part of what is below, unless expressions would be written into expressions: they might grow."""
        picks = all(isinstance(e, Column) for e in below.exprs)
        if not picks and not all(isinstance(e, Column) for e in node.exprs):
            below = self._over(fingerprint(["Calc", below.hash()]), node.inputs[0], below.empty)
        exprs = tuple(substitute(e, below.exprs) for e in node.exprs)
        condition = None if node.condition is None else substitute(node.condition, below.exprs)
        rows = _Rows(below.base, below.names, exprs, below.where(condition), below.empty)
        texts = [rows.text(e) for e in exprs] + list(rows.conditions)
        if zone := self._local(texts, node):
            return _Rows(fingerprint([rows.base, zone]), rows.names, exprs, rows.conditions, rows.empty)
        return rows

    def _marks(self, node: PhysicalNode) -> frozenset[str]:
        """The watermarks of all tables below a node."""
        if id(node) not in self._watermarks:
            found = frozenset[str]().union(*(self._marks(i) for i in node.inputs))
            if isinstance(node, SourceScan):
                rows = self._read(node, True)
                mark = None if node.watermark is None else rows.text(node.watermark)
                found = frozenset([_json([node.table, mark])])
            self._watermarks[id(node)] = found
        return self._watermarks[id(node)]


def meanings(
    nodes: Sequence[PhysicalNode], zone: str = "UTC", other: Collection[str] = (), empty: Collection[str] = ()
) -> tuple[str, ...]:
    """The hash of each node (what is on the way to an operator has that of its input).

    To compare with a plan of before: `other` are the tables that are not what they were, `empty` those that it did not
    read. What a UNION ALL takes from the latter is left out, except below what waits for their watermark.
    """
    made = _Meanings(zone, other, empty)
    return tuple(made.own(n) for n in nodes)


def _disjuncts(e: Expr) -> list[Expr]:
    return [d for a in e.args for d in _disjuncts(a)] if isinstance(e, Call) and e.function == "OR" else [e]


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
