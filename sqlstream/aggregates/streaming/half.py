"""Half: the streaming half of an aggregate function, made for one call.

It says which parts it needs and makes results of them. Calls share parts, so that SUM(x), AVG(x) and COUNT(x) keep
one sum and one count. Rows that are taken back are the parts' affair: one that `takes_back` gets them with signs; one
that does not is told by a ValueIndex what to forget. So every half runs over appended and over changing input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from sqlstream.aggregates.streaming.part import Part
from sqlstream.aggregates.streaming.value_index import Indexed, ValueIndex
from sqlstream.errors import InternalError
from sqlstream.state.arrays import Array
from sqlstream.types import Type

P = TypeVar("P", bound=Part)


@dataclass(frozen=True)
class Ordering:
    """One item of ORDER BY within a call."""

    column: int
    ascending: bool
    nulls_first: bool


@dataclass(frozen=True)
class Call:
    """One call over columns of an operator's input. function: its name, or path. text: as messages name it. constants: arguments
    that are no columns."""

    function: str
    args: tuple[int, ...]
    types: tuple[Type, ...]
    result: Type
    text: str
    distinct: bool = False
    filter: int | None = None
    constants: tuple[object, ...] = ()
    order: tuple[Ordering, ...] = ()


class Groups(Protocol):
    """Who keeps the parts (`operators.aggregation.Aggregation`).

    append_only  rows are never taken back
    arrival      rows carry their place of arrival
    merging      groups are merged with others
    """

    append_only: bool
    arrival: bool
    merging: bool

    def part(
        self,
        kind: type[P],
        argument: int | tuple[int, ...] | None,
        call: Call,
        distinct: bool = False,
        beside: int | None = None,
    ) -> P:
        """The part of this kind over the argument (None: over rows; several: with those where they are NULL), where FILTER
        holds; over different values only.
        beside: a second argument, of a part that takes back; only rows that give both count."""

    def index(self, of: Indexed, call: Call) -> ValueIndex:
        """Which rows of these columns each group holds."""

    def read(self, part: Part, slots: Array) -> Any:
        """`part.read(slots)`, read once for all calls of one result."""


class Half:
    """A subclass declares its parts in `__init__`, and gives the call's column in `result`."""

    def __init__(self, call: Call, groups: Groups) -> None:
        self.call, self.groups = call, groups

    def result(self, slots: Array) -> pa.Array:
        """The call's value for each of these groups, of the call's type."""
        raise InternalError(f"{type(self).__name__}.result")

    @property
    def grows(self) -> bool:
        """Whether each row of an append-only input changes the result, for certain."""
        return False
