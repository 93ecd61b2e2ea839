"""What the nodes of all joins of two streams share: equal keys, and a residual condition."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from sqlstream.errors import InternalError
from sqlstream.expressions import Expr, named
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.distribution import Spread
from sqlstream.operators.pairs import LEFT_ONLY, Residual
from sqlstream.types import Schema

KINDS = ("INNER", "LEFT", "RIGHT", "FULL", "SEMI", "ANTI")


@dataclass(frozen=True)
class EquiJoin(PhysicalNode):
    """`kind`: INNER, LEFT, RIGHT, FULL, SEMI, ANTI. Keys are pairs of columns of one type; none: a cross join.

    `null_safe[i]`: key i compares by IS NOT DISTINCT FROM. `residual` is over left columns, then right columns.
    A join adds the fields of its own, and the output's schema at the end.
    """

    kind: str
    left_keys: tuple[int, ...]
    right_keys: tuple[int, ...]
    null_safe: tuple[bool, ...]
    residual: Expr | None

    def check(self, output: Schema) -> None:
        """Refuses a join that cannot be."""
        left, right = (n.schema for n in self.inputs)
        if self.kind not in KINDS:
            raise InternalError(f"join kind {self.kind}")
        if len(self.null_safe) != len(self.left_keys):
            raise InternalError("join: null_safe is not of the keys")
        check_keys(left, right, self.left_keys, self.right_keys)
        want = len(left) if self.left_only else len(left) + len(right)
        if len(output) != want:
            raise InternalError(f"join: {len(output)} output columns, not {want}")

    @property
    def left_only(self) -> bool:
        """Whether left rows come out alone: SEMI, ANTI."""
        return self.kind in LEFT_ONLY

    def output_key(self) -> tuple[int, ...]:
        """The columns that identify a row of the output, where those of the inputs are known; else ()."""
        left, right = (n.traits.key for n in self.inputs)
        if self.left_only:
            return left
        shifted = tuple(len(self.inputs[0].schema) + k for k in right)
        # A side that is unique on the join keys meets each row of the other at most once.
        if left and right and set(right) <= set(self.right_keys) and self.kind in ("INNER", "LEFT"):
            return left
        if left and right and set(left) <= set(self.left_keys) and self.kind in ("INNER", "RIGHT"):
            return shifted
        return (*left, *shifted) if left and right else ()

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.left_keys, self.right_keys)

    def spread(self) -> Spread | None:
        """By the keys of the sides whose columns are not filled with NULLs."""
        left, right = self.placed(0), self.placed(1)
        assert left is not None and right is not None
        width = len(self.inputs[0].schema)
        if self.kind in ("LEFT", *LEFT_ONLY):
            return left
        moved = right.moved(lambda c: (width + c,))
        if self.kind == "INNER" and moved is not None:
            return left.joined(moved)
        return moved if self.kind == "RIGHT" else None

    def details(self) -> str:
        left, right = (n.schema for n in self.inputs)
        parts = [self.kind, on_text(left, right, self.left_keys, self.right_keys, self.null_safe), *self.own_details()]
        return ", ".join([*parts, *([] if self.residual is None else [f"where={named(self.residual, left, right)}"])])

    @abstractmethod
    def own_details(self) -> tuple[str, ...]:
        """What EXPLAIN prints between the keys and the residual condition."""

    def residual_in(self, time_zone: str) -> Residual | None:
        """The residual condition, running."""
        left, right = (n.schema for n in self.inputs)
        return None if self.residual is None else Residual(self.residual, left, right, time_zone)


def check_keys(left: Schema, right: Schema, left_keys: tuple[int, ...], right_keys: tuple[int, ...]) -> None:
    """Refuses keys that do not pair, or are of two types."""
    if len(left_keys) != len(right_keys):
        raise InternalError("join: the sides have different numbers of keys")
    for a, b in zip(left_keys, right_keys, strict=True):
        if left[a].type.arrow() != right[b].type.arrow():
            raise InternalError(f"join: {left[a].type} = {right[b].type} needs a cast")


def on_text(
    left: Schema,
    right: Schema,
    left_keys: tuple[int, ...],
    right_keys: tuple[int, ...],
    null_safe: tuple[bool, ...],
) -> str:
    """The keys as EXPLAIN prints them."""
    on = ", ".join(
        f"{left[a].name} {'IS NOT DISTINCT FROM' if safe else '='} {right[b].name}"
        for a, b, safe in zip(left_keys, right_keys, null_safe, strict=True)
    )
    return f"on=[{on}]"
