"""What every node of the logical plan is, and is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, ClassVar

from sqlstream.expressions import Expr, shift
from sqlstream.options import duration_text
from sqlstream.types import Column, Schema

# The metadata of a field that may be another when a job goes on: it is no part of the plan's fingerprint.
TUNING = {"tuning": True}
# Of a field that came later, with the default by which all was as before: it is a part where it says something else. So jobs
# go on that an earlier version began.
LATER = {"later": True}


def told_by(value: Any) -> Iterator[Field[Any]]:
    """The fields of a description that say what it is: those that are compared, without what is only `TUNING`, and without
    what is `LATER` and says nothing."""
    return (f for f in fields(value) if f.compare and f.metadata != TUNING and not _says_nothing(f, value))


def _says_nothing(f: Field[Any], value: Any) -> bool:
    return f.metadata == LATER and getattr(value, f.name) == f.default


# Old position -> new position of the columns that are left.
Mapping = dict[int, int]


@dataclass(frozen=True)
class Node(ABC):
    """A relation. What is abstract here has no answer that is safe to assume: a node without it cannot be made."""

    schema: Schema = field(init=False, compare=False, repr=False)

    # The module of `operators/` that lowers it. A name, since batch runs without the operators.
    lowered_in: ClassVar[str]
    # Whether a batch query can give its rows.
    runs_as_batch: ClassVar[bool] = True

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The relations that it reads."""
        return ()

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        """This node over other inputs of the same columns."""
        return self

    @property
    def streams(self) -> tuple[Node, ...]:
        """The inputs that run as operators of a job of their own; a table that is looked up does not."""
        return self.inputs

    @property
    @abstractmethod
    def waits_for_watermark(self) -> bool:
        """Whether its operator closes anything by the watermark (whatever its inputs do)."""

    @property
    @abstractmethod
    def wants_arrival(self) -> bool:
        """Whether it goes by the order in which its input arrived, where that is known."""

    @property
    def goes_by_arrival(self) -> bool:
        """Whether it does, and can."""
        return self.wants_arrival and all(i.knows_arrival for i in self.inputs)

    @property
    @abstractmethod
    def knows_arrival(self) -> bool:
        """Whether its rows can carry the place, (split, position), where their source row stood."""

    @abstractmethod
    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        """The node with at least the columns `needed` (never empty), and where they are now; `prune` does an input."""

    @abstractmethod
    def details(self) -> str:
        """What EXPLAIN prints in brackets."""

    def derive(self, columns: tuple[Column, ...] | Schema) -> None:
        """Sets the schema; called once from __post_init__."""
        object.__setattr__(self, "schema", columns if isinstance(columns, Schema) else Schema(columns))

    def column_names(self, indexes: tuple[int, ...]) -> str:
        """Names of output columns, for `details`."""
        return ", ".join(self.schema[i].name for i in indexes)

    def walk(self) -> Iterator[Node]:
        """The node and all below it."""
        yield self
        for i in self.inputs:
            yield from i.walk()


Pruned = tuple[Node, Mapping]
Prune = Callable[[Node, set[int]], Pruned]


@dataclass(frozen=True)
class OneInput(Node):
    """A node over one relation (`input`); joins have a second one."""

    input: Node

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        return replace(self, input=inputs[0])

    def of_input(self, needed: set[int]) -> set[int]:
        """Those of the columns `needed` that are input columns, for nodes whose output begins with their input."""
        return {i for i in needed if i < len(self.input.schema)}


def in_order(needed: set[int]) -> tuple[list[int], Mapping]:
    """Only the columns `needed`, in their order, and where they are then."""
    order = sorted(needed)
    return order, {old: new for new, old in enumerate(order)}


def moved(e: Expr, at: Mapping) -> Expr:
    """`e` over columns that are where `at` says."""
    return shift(e, lambda i: at[i])


def all_at(columns: tuple[int, ...], at: Mapping) -> tuple[int, ...]:
    """Where `columns` are now."""
    return tuple(at[c] for c in columns)


def ttl_text(**hints: int | None) -> str:
    """Hints STATE_TTL by input, as EXPLAIN prints them; "" without any."""
    given = [f"{side}={duration_text(ttl)}" for side, ttl in hints.items() if ttl is not None]
    return f"stateTtlHints=[{', '.join(given)}]" if given else ""


def tree(node: Node, indent: int = 0) -> str:
    """The plan as EXPLAIN prints it: stable text, one node a line."""
    details = node.details()
    lines = ["  " * indent + type(node).__name__ + (f"({details})" if details else "")]
    lines += [tree(i, indent + 1) for i in node.inputs]
    return "\n".join(lines)
