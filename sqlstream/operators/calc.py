"""Calc: filter and project, one DuckDB statement a batch. No state; hidden columns go through.

Columns that only move are not copied through DuckDB: with a condition it says of each row whether it holds
(`render.predicate`), and Arrow filters them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa

from sqlstream.batches import Delta
from sqlstream.errors import DataError
from sqlstream.expressions import Column, Expr, shortened
from sqlstream.functions.render import predicate, to_duckdb
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.evaluate import Evaluator
from sqlstream.types import Schema


@dataclass(frozen=True)
class Calc(PhysicalNode):
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

    def details(self) -> str:
        select = ", ".join(
            f"{e} AS {c.name}" if str(e) != c.name else c.name for e, c in zip(self.exprs, self.output, strict=True)
        )
        return f"select=[{select}]" + (f", where=[{self.condition}]" if self.condition is not None else "")

    def without_before(self) -> PhysicalNode:
        return replace(self, inputs=(self.inputs[0].without_before(),)) if self.traits.paired else self

    def operator(self, context: OperatorContext) -> Operator:
        return CalcOperator(self, context)


class CalcOperator(Operator):
    def __init__(self, node: Calc, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        self._schema = node.arrow_schema()
        hidden = node.traits.hidden
        where = None if node.condition is None else to_duckdb(node.condition)
        moved = all(isinstance(e, Column) for e in node.exprs)
        self._chosen, self._filtered = where is not None and moved, where is not None and not moved
        computed = [i for i, e in enumerate(node.exprs) if self._filtered or not isinstance(e, Column)]
        self._computed = {i: n for n, i in enumerate(computed)}
        select = [(f"c{i}", to_duckdb(node.exprs[i])) for i in computed]
        if self._filtered:
            select += [(h, h) for h in hidden]
        if self._chosen:
            assert node.condition is not None
            select, where = [("keep", predicate(node.condition))], None
        self._evaluator = Evaluator(select, where, context.time_zone) if select else None

    def step(self, inputs: list[Delta]) -> Delta:
        (delta,) = inputs
        out = [self._apply(b) for b in delta.batches if b.num_rows]
        return Delta([b for b in out if b.num_rows], delta.time)

    def _apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        try:
            made = self._evaluator.run(batch) if self._evaluator is not None else None
        except DataError as error:
            raise self._explained(error, batch) from None
        if self._chosen:
            assert made is not None
            moved = [batch.column(e.index) for e in self.node.exprs if isinstance(e, Column)]
            moved += [batch.column(h) for h in self.node.traits.hidden]
            return pa.RecordBatch.from_arrays(moved, schema=self._schema).filter(made.column(0))
        if self._filtered:
            assert made is not None
            return pa.RecordBatch.from_arrays(
                [_typed(made.column(i), f.type) for i, f in enumerate(self._schema)], schema=self._schema
            )
        arrays: list[pa.Array] = []
        for i, e in enumerate(self.node.exprs):
            if i in self._computed:
                assert made is not None
                arrays.append(_typed(made.column(self._computed[i]), self._schema.field(i).type))
            else:
                assert isinstance(e, Column)
                arrays.append(batch.column(e.index))
        arrays += [batch.column(h) for h in self.node.traits.hidden]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _explained(self, error: DataError, batch: pa.RecordBatch) -> DataError:
        """The error with the expression that raised it: each is tried alone."""
        zone = self.context.time_zone
        where = None if self.node.condition is None else to_duckdb(self.node.condition)
        parts: list[tuple[str, str, str | None]] = []
        if where is not None:
            parts.append((f"WHERE {shortened(self.node.condition)}", "1", where))
        for x, c in zip(self.node.exprs, self.node.output, strict=True):
            parts.append((f"column '{c.name}' = {shortened(x)}", to_duckdb(x), where))
        for label, sql, condition in parts:
            evaluator = Evaluator([("c0", sql)], condition, zone)
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


def _typed(array: pa.Array, to: pa.DataType) -> pa.Array:
    """DuckDB names zones and nullability its own way."""
    return array if array.type == to else array.cast(to)
