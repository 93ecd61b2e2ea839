"""The operator contract: a physical node (plain data) and the running operator that it makes.

An operator is a function of an epoch: it takes one delta for each input, all of the same epoch, and returns one
delta. It never sees a part of an epoch, so what leaves it is true of the whole input so far: epoch consistency
holds by construction (docs/decisions/001). It runs single-threaded, in a task that owns some key groups.

    PhysicalNode   frozen, picklable, printable; derives schema, changelog, key at birth; refuses to be wrong
    Operator       `step(deltas) -> Delta`; keeps keyed state in `StateTable`s from its context;
                   everything that must survive a restart is in those tables or in `snapshot()`'s small dict
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa

from sqlstream.batches import HIDDEN_TYPES, OP, ORD, WM, Delta
from sqlstream.errors import InternalError
from sqlstream.operators.distribution import Spread
from sqlstream.operators.state_names import shown
from sqlstream.plan.nodes import told_by
from sqlstream.types import Column, Schema

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
        """The names of the hidden columns that are there, in their order."""
        return (
            *(() if self.append_only else (OP,)),
            *((WM,) if self.row_wm else ()),
            *((ORD,) if self.arrival else ()),
        )


@dataclass(frozen=True)
class PhysicalNode(ABC):
    """One operator of a job. Subclasses add fields, set `schema` and `traits` in __post_init__, and make operators.

    What is abstract here has no answer that is safe to assume.
    """

    inputs: tuple[PhysicalNode, ...]
    schema: Schema = field(init=False, compare=False)
    traits: Traits = field(init=False, compare=False)
    # Which of the columns of `distribution` rows are gathered by, in order, where an input lies so already: some of
    # them are enough for equal rows to meet. None: all.
    by: tuple[int, ...] | None = field(default=None, kw_only=True)

    # The operator's name in EXPLAIN, metrics and manifests: Flink's where Flink has it.
    name: ClassVar[str]
    # What makes its rows change where those of its inputs do not, in a word for messages; "" when nothing does.
    changes: ClassVar[str]
    # What query would give its rows once and for all, for a hint after "or".
    once: ClassVar[str] = "make the query append-only, for example by grouping over a window"

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

    @abstractmethod
    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        """For each input, the columns whose equal values must meet in one task.

        () means all rows in one task; None means anywhere. The planner puts an `Exchange` where the input is
        not already distributed so.
        """

    @abstractmethod
    def spread(self) -> Spread | None:
        """By which output columns rows lie in their tasks; None: by nothing known. The parallelism does not matter."""

    def gathering(self, i: int) -> tuple[int, ...] | None:
        """The columns by whose key group rows of input `i` go to a task; None: they stay where they are."""
        keys = self.distribution()[i]
        return keys if keys is None or self.by is None else tuple(keys[p] for p in self.by)

    def placed(self, i: int) -> Spread | None:
        """How the rows of input `i` lie when they have come where `distribution` wants them."""
        keys, have = self.gathering(i), self.inputs[i].spread()
        return have if keys is None or (have is not None and have.meets(keys)) else Spread.by(keys)

    @abstractmethod
    def details(self) -> str:
        """What EXPLAIN prints in brackets after the name."""

    def identity(self) -> tuple[Any, ...]:
        """What of it must be the same for a job to go on from a checkpoint, apart from its inputs: descriptions."""
        return tuple(getattr(self, f.name) for f in told_by(self) if f.name != "inputs")

    def meaning(self) -> tuple[Any, ...]:
        """What of its identity decides what it keeps and what its rows are: also where only other statements of the job
        have changed (`runtime/meaning.py`)."""
        return self.identity()

    def waits(self) -> bool:
        """Whether the watermark decides what it gives."""
        return False

    def drops_late(self) -> tuple[int, ...]:
        """The inputs of which it drops late rows."""
        return ()

    def remembers(self) -> bool:
        """Whether what it gives depends on what came before."""
        return bool(self.states())

    def states(self) -> tuple[StateSpec, ...]:
        """The keyed states, by name and schema. Their leading key columns are those of `distribution()`."""
        return ()

    def lifetimes(self) -> tuple[tuple[str, int], ...]:
        """The states whose rows live for a time, by their names in Flink's plans: how long, in µs. () for none."""
        return ()

    def placed_states(self) -> tuple[StateSpec, ...]:
        """The states with the key groups that `by` gives their rows, and what people see of them: as they are made, and
        in the manifest."""
        states = tuple(replace(s, shown=shown(self, s)) for s in self.states())
        if self.by is None:
            return states
        n = len(self.distribution()[0] or ())
        if any(s.leading != n for s in states):
            raise InternalError(f"{self.name}: a state that does not lie by the {n} columns of the input")
        return tuple(replace(s, by=self.by) for s in states)

    def state_column(self, state: str, name: str) -> Column | None:
        """The column of the input that a state has under this name; None where it is the operator's own."""
        inputs = self.inputs[1:] if state == "right" else self.inputs
        schema = inputs[0].schema if inputs else self.schema
        place = int(name[1:]) if name[:1] == "c" and name[1:].isdecimal() else len(schema)
        return schema[place] if place < len(schema) else None

    def sent(self, i: int, phases: str) -> PhysicalNode:
        """What of input `i` goes to other tasks, where an exchange is needed: the input, or what a first phase here makes of it.
        phases: AUTO, ONE_PHASE or TWO_PHASE."""
        return self.inputs[i]

    def without_before(self) -> PhysicalNode:
        """This node for a reader that needs no -U. Whoever cannot save any work by it stays as it is."""
        return self

    def operator(self, context: OperatorContext) -> Operator:
        """A new running half, for one task. What runs sources, sinks, Exchange, LateRows and BadRecords needs more: they have none."""
        raise InternalError(f"{type(self).__name__} has no running half")


@dataclass(frozen=True)
class Way(PhysicalNode):
    """A node that is on the way from one operator to another where there are several tasks: no part of what a plan means, and
    not in a checkpoint."""

    changes = ""


@dataclass(frozen=True)
class RowByRow(PhysicalNode):
    """A node that takes each row by itself, in whatever task it is; the output begins with the input's columns."""

    changes = ""

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (None,)

    def spread(self) -> Spread | None:
        return self.placed(0)


class Late(Protocol):
    """Who is handed late rows: counted, and seen by who wants to."""

    def __call__(self, rows: pa.RecordBatch, marks: np.ndarray, side: int = 0) -> None:
        """Rows of input `side` (hidden columns may follow), and for each the watermark that it came after, in µs."""


def _uncounted(rows: int) -> None:
    """Where nobody asks how many were lost."""


@dataclass
class OperatorContext:
    """What a running operator may use. One for each (node, task)."""

    node_id: str
    subtask: int
    parallelism: int
    clock: Clock
    state: Callable[[StateSpec], StateTable]
    late: Late
    # Restored value of `Operator.snapshot()` of each old task whose key groups meet ours; [] when starting anew.
    restored: list[dict[str, Any]] = field(default_factory=list)
    time_zone: str = "UTC"
    # Told how many retractions an epoch brought of rows that are not there, their time being over.
    lost: Callable[[int], None] = _uncounted


class Operator:
    """Running half. Override `step`; the rest has defaults that do nothing."""

    def __init__(self, context: OperatorContext) -> None:
        self.context = context

    def open(self) -> None:
        """Called once, after the state tables were restored and before the first step: rebuild derived indexes."""

    def step(self, inputs: list[Delta]) -> Delta:
        """Takes the epoch's deltas, returns the output's. Its time is `meet([d.time for d in inputs])`, or less.

        May keep references to input batches (they are immutable). Must not keep rows in Python objects.
        """
        raise InternalError(f"{type(self).__name__}.step")

    def snapshot(self) -> dict[str, Any]:
        """Small JSON-able facts of this epoch besides the state tables (emitted watermarks, counters)."""
        return {}

    def close(self) -> None:
        """Called once at the end, also after a failure."""
