"""What keyed states are: Flink's descriptors. Plain data; imports nothing that a batch query does without.

    ValueStateDescriptor("count", "BIGINT")
    ListStateDescriptor("seen", "ROW<at TIMESTAMP(3), what STRING>", ttl=timedelta(hours=1))
    MapStateDescriptor("latest", "STRING", "DOUBLE")
    ReducingStateDescriptor("sum", operator.add, "BIGINT")
    AggregatingStateDescriptor("mean", Mean(), "ROW<n BIGINT, total DOUBLE>")

A function marked `udf(func_type="arrow")` takes arrays of many rows: states of many keys at once need such.
As a class attribute a descriptor stands for the state of the key at hand, once an operator has put it there.
"""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

import pyarrow as pa

from sqlstream.errors import BindError, UserError
from sqlstream.functions.user import ARROW, GENERAL
from sqlstream.state.spec import StateSpec
from sqlstream.types import Type

if TYPE_CHECKING:  # views have state's compiled loops
    from sqlstream.keyed_state.folds import AggregatingState, ReducingState  # noqa: F401
    from sqlstream.keyed_state.lists import ListState  # noqa: F401
    from sqlstream.keyed_state.maps import MapState  # noqa: F401
    from sqlstream.keyed_state.values import ValueState  # noqa: F401

S = TypeVar("S")  # the view of one key

VALUE, ENTRY, AT = "_value", "_key", "_at"
# Types that a state, an argument or a result may have: those whose values Python has.
KINDS = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL", "CHAR", "VARCHAR", "BINARY",
    "VARBINARY", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ", "INTERVAL_DAY", "INTERVAL_MONTH", "ARRAY", "MAP", "ROW",
)  # fmt: skip


def declared(text: str | Type, what: str) -> Type:
    """The type that SQL text names. BindError, with `what` it is for, when it names none that Python has values of."""
    from sqlstream.sql.types import parse_type

    if isinstance(text, str):
        try:
            t = parse_type(text)
        except UserError as e:
            raise BindError(f"{what}: '{text}' is no type: {e.message}", hint=e.hint) from None
    elif isinstance(text, Type):
        t = text
    else:
        raise BindError(f"{what}: {text!r} is no type", hint="types are SQL text, for example 'BIGINT'")
    wrong = next((k for k in _kinds(t) if k not in KINDS), None)
    if wrong is not None:
        raise BindError(f"{what}: values of type {wrong} do not go to Python", hint="cast them in the query")
    return t


def _kinds(t: Type) -> Iterator[str]:
    yield t.kind
    for f in t.fields:
        yield from _kinds(f.type)


class AggregateFunction(ABC):
    """What an AggregatingState does with values. Subclass it; the type of accumulators is the descriptor's.

    With `func_type = "arrow"` everything is arrays: `create_accumulator` gets the number of them.
    """

    func_type = GENERAL

    @abstractmethod
    def create_accumulator(self, *count: int) -> Any:
        """An accumulator of no values."""

    @abstractmethod
    def add(self, value: Any, accumulator: Any) -> Any:
        """The accumulator with one value more; the one given may be changed and returned."""

    @abstractmethod
    def get_result(self, accumulator: Any) -> Any:
        """What its values come to."""

    def merge(self, a: Any, b: Any) -> Any:
        """The accumulator of the values of both, those of `a` first. Only functions over arrays need it."""
        raise BindError(
            f"{type(self).__name__} has no method merge", hint="an aggregate function over arrays adds accumulators up"
        )


@dataclass(frozen=True)
class StateDescriptor(ABC, Generic[S]):
    """A keyed state. `ttl`: how long a value lives after it was written, by processing time (zero: for good; None: as
    'table.exec.state.ttl' says); of a list each element, of a map each entry has its own time. A value whose time is over
    is not seen any more."""

    name: str
    ttl: datetime.timedelta | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name.isidentifier()):
            raise BindError(f"state {self.name!r}: its name must be a word, as it is in checkpoints")
        if self.ttl is not None and not (
            isinstance(self.ttl, datetime.timedelta) and self.ttl >= datetime.timedelta(0)
        ):
            raise BindError(f"state {self.name}: its ttl is {self.ttl!r}", hint="a timedelta, or None")

    @abstractmethod
    def spec(self, key: pa.Schema, ttl: int = 0) -> StateSpec:
        """The table that keeps it, for the columns `key` by which an operator's rows are gathered; `ttl` (µs, 0: for
        good) is for a state that says nothing of it."""

    def lifetime(self, ttl: int = 0) -> int:
        """How long its values live, µs; 0: for good. What is longer than time is as long as time."""
        return ttl if self.ttl is None else min(self.ttl // datetime.timedelta(microseconds=1), 1 << 61)

    def declared(self, text: str | Type) -> Type:
        """A type of the state's."""
        return declared(text, f"state {self.name}").null()

    if TYPE_CHECKING:

        @overload
        def __get__(self, of: None, owner: type) -> Self: ...
        @overload
        def __get__(self, of: object, owner: type) -> S: ...
        def __get__(self, of: object, owner: type) -> Any: ...


class _OneType(StateDescriptor[S]):
    """A state whose rows have one value, of `type`."""

    type: str | Type

    def __post_init__(self) -> None:
        super().__post_init__()
        self.value_type  # noqa: B018 - a wrong type is refused now

    @cached_property
    def value_type(self) -> Type:
        """The type of a value, an element or an accumulator."""
        return self.declared(self.type)

    def spec(self, key: pa.Schema, ttl: int = 0) -> StateSpec:
        # Its rows are reached by their key alone, so they may leave memory.
        value = pa.schema([(VALUE, self.value_type.arrow())])
        return StateSpec(self.name, key, value, cold=len(key) > 0).living(self.lifetime(ttl))


@dataclass(frozen=True)
class ValueStateDescriptor(_OneType["ValueState"]):
    """One value a key: `ValueStateDescriptor(name, type)`."""

    type: str | Type = ""


@dataclass(frozen=True)
class ListStateDescriptor(_OneType["ListState"]):
    """A list a key, that is appended to without being read: `ListStateDescriptor(name, type of its elements)`."""

    type: str | Type = ""

    def spec(self, key: pa.Schema, ttl: int = 0) -> StateSpec:
        value = pa.schema([(VALUE, self.value_type.arrow())])
        made = StateSpec(self.name, key.append(pa.field(AT, pa.int64())), value, len(key), log=True)
        return made.living(self.lifetime(ttl))


@dataclass(frozen=True)
class MapStateDescriptor(StateDescriptor["MapState"]):
    """A map a key, whose entries are read and written one by one: `MapStateDescriptor(name, key_type, value_type)`."""

    key_type: str | Type = ""
    value_type: str | Type = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.types[0].fields:
            raise BindError(f"state {self.name}: a map's keys are of {self.types[0].text()}", hint="use a plain type")

    @cached_property
    def types(self) -> tuple[Type, Type]:
        """Of keys and of values."""
        return self.declared(self.key_type), self.declared(self.value_type)

    def spec(self, key: pa.Schema, ttl: int = 0) -> StateSpec:
        k, v = self.types
        value = pa.schema([(VALUE, v.arrow()), (AT, pa.int64())])
        return StateSpec(self.name, key.append(pa.field(ENTRY, k.arrow())), value, len(key)).living(self.lifetime(ttl))


class Fold(_OneType[S]):
    """A state that is added to by a `function`."""

    function: Any

    @property
    def arrow(self) -> bool:
        """Whether its function takes arrays."""
        return bool(getattr(self.function, "func_type", GENERAL) == ARROW)


@dataclass(frozen=True)
class ReducingStateDescriptor(Fold["ReducingState"]):
    """One value a key, to which others are added: `ReducingStateDescriptor(name, function, type)`. The function takes
    two values (what there is, what is added) for one, and must be associative."""

    function: Callable[[Any, Any], Any]
    type: str | Type = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.function):
            raise BindError(f"state {self.name}: {self.function!r} is no function of two values")


@dataclass(frozen=True)
class AggregatingStateDescriptor(Fold["AggregatingState"]):
    """An accumulator a key, to which values are added: `AggregatingStateDescriptor(name, function, type)`; the type is
    that of the accumulators."""

    function: AggregateFunction
    type: str | Type = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.function, AggregateFunction):
            raise BindError(f"state {self.name}: {self.function!r} is no AggregateFunction")
