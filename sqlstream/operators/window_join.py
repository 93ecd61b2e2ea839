"""WindowJoin: a join whose keys have the window end of both sides.

State: the rows of windows that are still open. Out: when the watermark (or the clock) passes a window's end, all of
its pairs and unmatched rows at once, for every kind; then the window is forgotten. Append-only where the inputs are:
a changing input may change a window's rows until it closes.

A row is late when its own `_wm` had passed the end of its window, or when the window was already joined.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import NO_WATERMARK, Delta, meet
from sqlstream.errors import InternalError
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.equi_join import EquiJoin
from sqlstream.operators.pairs import LEFT_ONLY, KeyTable, Output, never_equal
from sqlstream.operators.row_store import BatchRows, Layout
from sqlstream.operators.window_rows import WindowRows
from sqlstream.state.arrays import Array
from sqlstream.state.spec import StateSpec
from sqlstream.types import PROCTIME, Schema


@dataclass(frozen=True)
class WindowJoin(EquiJoin):
    """`ends`: (left column, right column), the window ends, which are among the keys; `domain`: what closes them."""

    ends: tuple[int, int]
    domain: str
    output: Schema

    name = "WindowJoin"
    changes = ""

    def waits(self) -> bool:
        return self.domain != PROCTIME

    def __post_init__(self) -> None:
        self.check(self.output)
        if self.ends not in zip(self.left_keys, self.right_keys, strict=True):
            raise InternalError("WindowJoin: the windows' ends are not among the keys")
        both = all(n.traits.append_only for n in self.inputs)
        self.derive(self.output, Traits(append_only=both, key=self.output_key()))

    def drops_late(self) -> tuple[int, ...]:
        return tuple(i for i, n in enumerate(self.inputs) if n.traits.row_wm) if self.waits() else ()

    def own_details(self) -> tuple[str, ...]:
        return (f"close={self.inputs[0].schema[self.ends[0]].name}",)

    def layouts(self) -> tuple[Layout, Layout]:
        """How the rows of left and right are kept."""
        left, right = self.inputs
        return Layout.of("left", left, self.left_keys), Layout.of("right", right, self.right_keys)

    def states(self) -> tuple[StateSpec, ...]:
        left, right = self.layouts()
        return left.spec(), right.spec()

    def operator(self, context: OperatorContext) -> Operator:
        return WindowJoinOperator(self, context)


class WindowJoinOperator(Operator):
    """The running half: rows wait for the end of their window, and are joined then."""

    def __init__(self, node: WindowJoin, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        left, right = node.inputs
        layouts = node.layouts()
        self.left, self.right = (
            WindowRows(node, 0, node.ends[0], node.domain, layouts[0], context),
            WindowRows(node, 1, node.ends[1], node.domain, layouts[1], context),
        )
        self.out = Output(node.arrow_schema(), left.schema, right.schema, node.left_only)
        self.residual = node.residual_in(context.time_zone)
        # A task that another's rows come to has not closed what that one has not.
        self.closed = min((r["closed"] for r in context.restored), default=NO_WATERMARK)

    def open(self) -> None:
        self.left.open()
        self.right.open()

    def step(self, inputs: list[Delta]) -> Delta:
        time = meet([d.time for d in inputs])
        self.left.take_in(inputs[0], self.closed)
        self.right.take_in(inputs[1], self.closed)
        watermark = time.of(self.node.domain)
        if watermark > self.closed:
            self.closed = watermark
            self._join(*self.left.closing(watermark), *self.right.closing(watermark))
        return Delta(self.out.take(), time)

    def _join(self, left: pa.RecordBatch, left_copies: Array, right: pa.RecordBatch, right_copies: Array) -> None:
        node, out = self.node, self.out
        if not left.num_rows and not right.num_rows:
            return
        ls, rs = BatchRows(left), BatchRows(right)
        left_matched, right_matched = np.zeros(left.num_rows, np.bool_), np.zeros(right.num_rows, np.bool_)
        for i, j in self._pairs(left, right):
            if self.residual is not None:
                holds = self.residual.holds(ls, i, rs, j)
                i, j = i[holds], j[holds]
            if not node.left_only:
                out.pairs(ls, i, rs, j, left_copies[i] * right_copies[j])
            left_matched[i], right_matched[j] = True, True
        if node.kind in ("LEFT", "FULL", *LEFT_ONLY):
            at = np.flatnonzero(left_matched if node.kind == "SEMI" else ~left_matched)
            out.left(ls, at, left_copies[at])
        if node.kind in ("RIGHT", "FULL"):
            at = np.flatnonzero(~right_matched)
            out.right(rs, at, right_copies[at])

    def _pairs(self, left: pa.RecordBatch, right: pa.RecordBatch) -> Iterator[tuple[Array, Array]]:
        """All pairs with equal keys."""
        node = self.node
        table = KeyTable([right.column(k) for k in node.right_keys], right.num_rows)
        outside = never_equal(left, node.left_keys, node.null_safe)
        for i, j in table.probe([left.column(k) for k in node.left_keys], left.num_rows):
            yield (i[~outside[i]], j[~outside[i]]) if outside.size else (i, j)

    def snapshot(self) -> dict[str, Any]:
        return {"closed": self.closed}

    def close(self) -> None:
        if self.residual is not None:
            self.residual.close()
