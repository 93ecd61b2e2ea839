"""LookupJoin: each left row meets the rows of a bounded table as it is at that moment.

The table is read into memory when the task starts (again after a restart, and every `refresh` µs of the clock where
that is given); every task reads all of it, so left rows need not be exchanged. No state. Changes of the table do
not change rows that left earlier; a left row that is retracted meets the table again, so for a left side that is
not append-only the table must stay as it is, and `refresh` is ignored.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.batches import OP, Delta, meet
from sqlstream.connectors.base import ScanRequest, Source
from sqlstream.errors import InternalError, NotSupported
from sqlstream.expressions import Expr
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.changelog import repeated
from sqlstream.operators.evaluate import Evaluator
from sqlstream.operators.pairs import KeyTable, Residual, check, never_equal
from sqlstream.operators.row_store import EMPTY, BatchRows, net
from sqlstream.types import Schema

ROWS_A_POLL = 1 << 17


@dataclass(frozen=True)
class LookupTable:
    """What to read: `request` of `source`, then `select` (alias c0…, DuckDB SQL over c0…) of rows where `where`."""

    name: str
    source: Source
    request: ScanRequest
    select: tuple[tuple[str, str], ...]
    where: str | None
    schema: Schema

    def read(self, time_zone: str) -> pa.RecordBatch:
        """All rows as one batch."""
        if not self.source.bounded:
            raise NotSupported(f"table {self.name}: a lookup join needs a bounded table")
        changes = () if self.source.append_only else ((OP, OP),)
        evaluator = Evaluator([*self.select, *changes], self.where, time_zone)
        batches = []
        for split in self.source.splits():
            reader = self.source.reader(split, None, self.request)
            try:
                while True:
                    part = reader.poll(ROWS_A_POLL)
                    if part is not None:
                        batches.append(evaluator.run(part.batch))
                    elif reader.finished:
                        break
                    else:
                        time.sleep(0.001)
            finally:
                reader.close()
        evaluator.close()
        schema = self.schema.arrow()
        if not batches:
            return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
        all_ = pa.concat_batches(batches)
        if not self.source.append_only:
            rows, counts = net(all_, len(schema))
            all_, _ = repeated(rows.filter(pa.array(counts > 0)), counts[counts > 0])
        return pa.RecordBatch.from_arrays(all_.columns, schema=schema)


@dataclass(frozen=True)
class LookupJoin(PhysicalNode):
    """INNER or LEFT. Output: left columns, then the table's; hidden columns go through."""

    table: LookupTable
    kind: str
    left_keys: tuple[int, ...]
    right_keys: tuple[int, ...]
    residual: Expr | None
    output: Schema
    refresh: int | None = None

    name = "LookupJoin"

    def __post_init__(self) -> None:
        (left,) = self.inputs
        if self.kind not in ("INNER", "LEFT"):
            raise InternalError(f"lookup join of kind {self.kind}")
        check(self.kind, left.schema, self.table.schema, self.left_keys, self.right_keys, self.output)
        t = left.traits
        # A left row may meet several rows of the table: its key is no key any more.
        self.derive(self.output, Traits(t.append_only, (), t.row_wm, t.arrival))

    def details(self) -> str:
        left, right = self.inputs[0].schema, self.table.schema
        on = ", ".join(
            f"{left[a].name} = {right[b].name}" for a, b in zip(self.left_keys, self.right_keys, strict=True)
        )
        text = f"{self.kind}, table={self.table.name}, on=[{on}]"
        return text if self.residual is None else text + f", where={self.residual}"

    def operator(self, context: OperatorContext) -> Operator:
        return LookupJoinOperator(self, context)


class LookupJoinOperator(Operator):
    def __init__(self, node: LookupJoin, context: OperatorContext) -> None:
        super().__init__(context)
        self.node, self.schema = node, node.arrow_schema()
        left = node.inputs[0]
        self.width = len(left.schema)
        self.residual = (
            None
            if node.residual is None
            else Residual(node.residual, left.schema, node.table.schema, context.time_zone)
        )
        self.refresh = node.refresh if left.traits.append_only else None

    def open(self) -> None:
        self._load()

    def _load(self) -> None:
        node = self.node
        rows = node.table.read(self.context.time_zone)
        outside = never_equal(rows, node.right_keys, (False,) * len(node.right_keys))
        if outside.size:
            rows = rows.filter(pa.array(~outside))
        self.rows = BatchRows(rows)
        self.table = KeyTable([rows.column(k) for k in node.right_keys], rows.num_rows)
        self.loaded = self.context.clock.now()

    def step(self, inputs: list[Delta]) -> Delta:
        if self.refresh is not None and self.context.clock.now() - self.loaded >= self.refresh:
            self._load()
        batches = [self._joined(b) for b in inputs[0].batches if b.num_rows]
        return Delta([b for b in batches if b.num_rows], meet([d.time for d in inputs]))

    def _joined(self, b: pa.RecordBatch) -> pa.RecordBatch:
        """Rows in the order of the left ones."""
        node = self.node
        left, parts = BatchRows(b), []
        for at, found in self.table.probe([b.column(k) for k in node.left_keys], b.num_rows):
            if self.residual is not None:
                holds = self.residual.holds(left, at, self.rows, found)
                at, found = at[holds], found[holds]
            parts.append((at, found))
        at, found = (np.concatenate(x) for x in zip(*parts, strict=True)) if parts else (EMPTY, EMPTY)
        missing = None
        if node.kind == "LEFT":
            alone = np.flatnonzero(np.bincount(at, minlength=b.num_rows) == 0)
            if len(alone):
                order = np.argsort(np.concatenate([at, alone]), kind="stable")
                missing = order >= len(at)
                at = np.concatenate([at, alone])[order]
                found = np.concatenate([found, np.zeros(len(alone), np.int64)])[order]
        whole = missing is None and len(at) == b.num_rows and (at == np.arange(len(at))).all()
        rows = b if whole else b.take(pa.array(at))
        index = pa.array(found, mask=missing)
        right = [c.take(index) for c in self.rows.batch.columns]
        columns = [*rows.columns[: self.width], *right, *rows.columns[self.width :]]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def close(self) -> None:
        if self.residual is not None:
            self.residual.close()
