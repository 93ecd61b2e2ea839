"""Calc: filter and project, one DuckDB statement a batch. No state; hidden columns go through.

Columns that only move are not copied through DuckDB: with a condition it says of each row whether it holds
(`rendering.expressions.predicate`), or Arrow does where it can, and Arrow filters them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

import pyarrow as pa

from sqlstream.batches import Delta
from sqlstream.errors import DataError, NotSupported
from sqlstream.expressions import (
    Column,
    Expr,
    UserCall,
    conjunction,
    conjuncts,
    labelled,
    named,
    selected,
    shortened,
    substitute,
)
from sqlstream.functions import user
from sqlstream.functions.user import UserFunction
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, RowByRow, Traits
from sqlstream.operators.distribution import Spread, places_in
from sqlstream.operators.evaluate import Evaluator
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.operators.unnest import Unnest
from sqlstream.plan import nodes
from sqlstream.rendering.arrow import by_arrow
from sqlstream.rendering.expressions import predicate, to_duckdb
from sqlstream.types import Schema, as_schema, as_type


@dataclass(frozen=True)
class Calc(RowByRow):
    """Rows for which `condition` is true, as `exprs`."""

    exprs: tuple[Expr, ...]
    condition: Expr | None
    output: Schema
    name = "Calc"

    def __post_init__(self) -> None:
        below = self.inputs[0].traits
        where = {e.index: i for i, e in reversed(list(enumerate(self.exprs))) if isinstance(e, Column)}
        key = tuple(where[k] for k in below.key) if below.key and all(k in where for k in below.key) else ()
        # What nothing is taken from has no update that changes nothing.
        paired = below.paired and self.condition is None and len(where) == len(self.inputs[0].schema)
        traits = Traits(below.append_only, key, below.row_wm, below.arrival, below.single, paired, below.before)
        self.derive(self.output, traits)

    def spread(self) -> Spread | None:
        below = self.placed(0)
        columns = (e.index if isinstance(e, Column) else None for e in self.exprs)
        return None if below is None else below.moved(places_in(columns))

    def details(self) -> str:
        below = self.inputs[0].schema
        select = selected(self.exprs, self.output, below)
        return f"select=[{select}]" + (
            f", where=[{named(self.condition, below)}]" if self.condition is not None else ""
        )

    def without_before(self) -> PhysicalNode:
        return replace(self, inputs=(self.inputs[0].without_before(),)) if self.traits.paired else self

    def operator(self, context: OperatorContext) -> Operator:
        return CalcOperator(self, context)


def calc(below: PhysicalNode, exprs: tuple[Expr, ...], condition: Expr | None, output: Schema) -> Calc:
    """A Calc over `below`; one that only picks and filters (a use of a shared scan) becomes part of it."""
    if isinstance(below, Calc) and all(isinstance(e, Column) for e in below.exprs):
        parts = [*conjuncts(below.condition), *(substitute(c, below.exprs) for c in conjuncts(condition))]
        exprs = tuple(substitute(e, below.exprs) for e in exprs)
        return Calc(below.inputs, exprs, conjunction(parts), output)
    return Calc((below,), exprs, condition, output)


def all_columns(schema: Schema) -> tuple[Expr, ...]:
    """Every column as it is."""
    return tuple(Column(c.type, i, c.name) for i, c in enumerate(schema))


@lower.register(nodes.Project)
def _project(node: nodes.Project, job: Lowering) -> PhysicalNode:
    condition = node.input.condition if isinstance(node.input, nodes.Filter) else None
    below = job.lower(node.input.input if isinstance(node.input, nodes.Filter) else node.input)
    if not below.traits.append_only:
        _refuse_uncertain(node.exprs)
    if isinstance(below, Unnest) and not any(below.column in e.columns() for e in (*node.exprs, *conjuncts(condition))):
        below = below.without_array()
    return calc(below, node.exprs, condition, node.schema)


def _refuse_uncertain(exprs: tuple[Expr, ...]) -> None:
    """NotSupported for a table function that may give other rows for a row that goes than it gave when this came."""
    for call in (x for e in exprs for x in e.walk() if isinstance(x, UserCall)):
        f = user.resolve(call.path)
        if f.table and not f.deterministic:
            raise NotSupported(
                f"{call.name} is not deterministic, and the rows that it is called for can change: what it gave for one "
                "could not be taken back",
                hint="declare udtf(…, deterministic=True) if equal values give equal rows, or call it below what makes "
                "rows change (GROUP BY, top-N, outer JOIN)",
            )


@lower.register(nodes.Filter)
def _filter(node: nodes.Filter, job: Lowering) -> PhysicalNode:
    return calc(job.lower(node.input), all_columns(node.schema), node.condition, node.schema)


class CalcOperator(Operator):
    """The running half. A DataError names the expression that raised it."""

    def __init__(self, node: Calc, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        self._schema = node.arrow_schema()
        hidden = node.traits.hidden
        used = set[UserFunction]()
        where = None if node.condition is None else to_duckdb(node.condition, used)
        moved = all(isinstance(e, Column) for e in node.exprs)
        self._chosen, self._filtered = where is not None and moved, where is not None and not moved
        computed = [i for i, e in enumerate(node.exprs) if self._filtered or not isinstance(e, Column)]
        self._computed = {i: n for n, i in enumerate(computed)}
        select = [(f"c{i}", to_duckdb(node.exprs[i], used)) for i in computed]
        if self._filtered:
            select += [(h, h) for h in hidden]
        if self._chosen:
            assert node.condition is not None
            select, where = [("keep", predicate(node.condition, used))], None
        self._by_arrow = by_arrow(node.condition) if self._chosen and node.condition is not None else None
        self._evaluator = Evaluator(select, where, context.time_zone, used) if select else None

    def step(self, inputs: list[Delta]) -> Delta:
        (delta,) = inputs
        out = [self._apply(b) for b in delta.batches if b.num_rows]
        return Delta([b for b in out if b.num_rows], delta.time)

    def _apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._chosen:
            moved = [batch.column(e.index) for e in self.node.exprs if isinstance(e, Column)]
            moved += [batch.column(h) for h in self.node.traits.hidden]
            return pa.RecordBatch.from_arrays(moved, schema=self._schema).filter(self._kept(batch))
        made = self._made(batch)
        if self._filtered:
            assert made is not None
            return as_schema(made, self._schema)
        arrays: list[pa.Array] = []
        for i, e in enumerate(self.node.exprs):
            if i in self._computed:
                assert made is not None
                arrays.append(as_type(made.column(self._computed[i]), self._schema.field(i).type))
            else:
                assert isinstance(e, Column)
                arrays.append(batch.column(e.index))
        arrays += [batch.column(h) for h in self.node.traits.hidden]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _kept(self, batch: pa.RecordBatch) -> pa.Array:
        """Of each row, whether the condition holds; NULL: it does not."""
        if self._by_arrow is not None:
            with contextlib.suppress(pa.ArrowInvalid):
                return self._by_arrow(batch)
        made = self._made(batch)
        assert made is not None
        return made.column(0)

    def _made(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        try:
            return self._evaluator.run(batch) if self._evaluator is not None else None
        except DataError as error:
            raise self._explained(error, batch) from None

    def _explained(self, error: DataError, batch: pa.RecordBatch) -> DataError:
        """The error with the expression that raised it: each is tried alone."""
        zone, used = self.context.time_zone, set[UserFunction]()
        where = None if self.node.condition is None else to_duckdb(self.node.condition, used)
        parts: list[tuple[str, str, str | None]] = []
        if where is not None:
            parts.append((f"WHERE {shortened(self.node.condition)}", "1", where))
        for x, c in zip(self.node.exprs, self.node.output, strict=True):
            parts.append((labelled(x, c.name), to_duckdb(x, used), where))
        for label, sql, condition in parts:
            evaluator = Evaluator([("c0", sql)], condition, zone, used)
            try:
                evaluator.run(batch)
            except DataError as e:
                return DataError(f"{label}: {e.message}", hint=e.hint)
            finally:
                evaluator.close()
        return error

    def close(self) -> None:
        if self._evaluator is not None:
            self._evaluator.close()
