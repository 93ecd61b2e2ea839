"""The operator contract: a physical node (plain data) and the running operator that it makes.

An operator is a function of an epoch: it takes one delta for each input, all of the same epoch, and returns one
delta. It never sees a part of an epoch, so what leaves it is true of the whole input so far: epoch consistency
holds by construction (docs/decisions/001). It runs single-threaded, in a task that owns some key groups.

    PhysicalNode   frozen, picklable, printable; derives schema, changelog, key at birth; refuses to be wrong
    Operator       `step(deltas) -> Delta`; keeps keyed state in `StateTable`s from its context;
                   everything that must survive a restart is in those tables or in `snapshot()`'s small dict
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlstream.batches import HIDDEN_TYPES, OP, ORD, WM, Delta
from sqlstream.errors import InternalError
from sqlstream.types import Schema

if TYPE_CHECKING:
    from sqlstream.clock import Clock
    from sqlstream.state.table import StateSpec, StateTable


@dataclass(frozen=True)
class Traits:
    """What is known of an edge: hidden columns, and the key that identifies a row of the current result.

    append_only  no `_op` column, rows never change
    key          column positions that identify a live row at any epoch's end; () when none is known.
                 (An append-only stream may have one too.)
    row_wm       `_wm` is there: an operator that closes things by time judges lateness by it.
                 Where absent, no row of this edge is ever late.
    arrival      `_ord` is there
    single       there is never more than one live row: it is its own key, without columns
    paired       an epoch's changes are net, and in the order that `changelog.py` gives them
    before       an update is its -U and its +U; else the +U alone, for who knows rows by their key
    """

    append_only: bool = True
    key: tuple[int, ...] = ()
    row_wm: bool = False
    arrival: bool = False
    single: bool = False
    paired: bool = False
    before: bool = True

    @property
    def hidden(self) -> tuple[str, ...]:
        return (*(() if self.append_only else (OP,)), *((WM,) if self.row_wm else ()), *((ORD,) if self.arrival else ()))


@dataclass(frozen=True)
class PhysicalNode:
    """One operator of a job. Subclasses add fields, set `schema` and `traits` in __post_init__, and make operators."""

    inputs: tuple[PhysicalNode, ...]
    schema: Schema = field(init=False, compare=False)
    traits: Traits = field(init=False, compare=False)

    # The operator's name in EXPLAIN, metrics and manifests: Flink's where Flink has it.
    name = "Operator"

    def derive(self, schema: Schema, traits: Traits) -> None:
        """Called once from __post_init__ of the subclass."""
        object.__setattr__(self, "schema", schema)
        object.__setattr__(self, "traits", traits)

    def arrow_schema(self) -> pa.Schema:
        """Visible and hidden columns of the batches that leave this node."""
        s = self.schema.arrow()
        for h in self.traits.hidden:
            s = s.append(pa.field(h, HIDDEN_TYPES[h]))
        return s

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        """For each input, the columns whose equal values must meet in one task.

        () means all rows in one task; None means anywhere. The planner puts an `Exchange` where the input is
        not already distributed so.
        """
        return tuple(None for _ in self.inputs)

    def details(self) -> str:
        """What EXPLAIN prints in brackets after the name."""
        return ""

    def states(self) -> tuple[StateSpec, ...]:
        """The keyed states, by name and schema; in the manifest and the plan fingerprint."""
        return ()

    def without_before(self) -> PhysicalNode:
        """This node for a reader that needs no -U. Whoever cannot save any work by it stays as it is."""
        return self

    def operator(self, context: OperatorContext) -> Operator:
        raise InternalError(f"{type(self).__name__} has no running half")


@dataclass
class OperatorContext:
    """What a running operator may use. One for each (node, task)."""

    node_id: str
    subtask: int
    parallelism: int
    clock: Clock
    state: Callable[[StateSpec], StateTable]
    # Hands dropped late rows (input's visible columns) to the job: counted, and readable by the user.
    late: Callable[[pa.RecordBatch], None]
    # Restored value of `Operator.snapshot()` of each old task whose key groups meet ours; [] when starting anew.
    restored: list[dict[str, Any]] = field(default_factory=list)
    time_zone: str = "UTC"


class Operator:
    """Running half. Override `step`; the rest has defaults that do nothing."""

    def __init__(self, context: OperatorContext) -> None:
        self.context = context

    def open(self) -> None:
        """Called once, after the state tables were restored and before the first step: rebuild derived indexes."""

    def step(self, inputs: list[Delta]) -> Delta:
        """Takes the epoch's deltas, returns the output's. Sets the output's time: `meet([d.time for d in inputs])`, or less.

        May keep references to input batches (they are immutable). Must not keep rows in Python objects.
        """
        raise InternalError(f"{type(self).__name__}.step")

    def snapshot(self) -> dict[str, Any]:
        """Small JSON-able facts of this epoch besides the state tables (emitted watermarks, counters)."""
        return {}

    def close(self) -> None:
        """Called once at the end, also after a failure."""
