"""What a process table function declares, read from its class."""

from __future__ import annotations

import datetime
import inspect
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlstream.errors import BindError, did_you_mean
from sqlstream.functions import user
from sqlstream.keyed_state.descriptors import StateDescriptor, declared
from sqlstream.process_functions.function import ArgumentTrait, ProcessTableFunction
from sqlstream.types import INTERVAL_DAY, Type

ON_TIME, UID = "on_time", "uid"


@dataclass(frozen=True)
class Argument:
    """A scalar argument. `optional`: its parameter has a default."""

    name: str
    type: Type
    optional: bool


@dataclass(frozen=True)
class Signature:
    """`table`: the name of the table argument. `states`: by the attribute that each is."""

    path: str
    table: str
    arguments: tuple[Argument, ...]
    result: Type
    traits: frozenset[ArgumentTrait]
    states: tuple[tuple[str, StateDescriptor[Any]], ...]
    timers: bool

    @property
    def by_key(self) -> bool:
        """Whether it has set semantics."""
        return ArgumentTrait.SET_SEMANTIC_TABLE in self.traits

    def fields(self) -> list[tuple[str, Type]]:
        """Its result's columns."""
        if self.result.kind == "ROW":
            return [(f.name, f.type) for f in self.result.fields]
        return [(user.ANYWHERE, self.result)]


def is_process_function(path: str) -> bool:
    """Whether the object at 'module.attribute' is a process table function's class. BindError when there is none."""
    found: Any = user.load(path)
    return isinstance(found, type) and issubclass(found, ProcessTableFunction)


def resolve(path: str) -> Signature:
    """What the class at 'module.Class' declares. BindError says what is wrong with it."""
    found: Any = user.load(path)
    what = f"process table function '{path}'"
    if not (isinstance(found, type) and issubclass(found, ProcessTableFunction)):
        raise BindError(f"'{path}' is no process table function", hint="derive it from sqlstream.ProcessTableFunction")
    table, arguments = _parameters(found, what)
    result = getattr(found, "result_type", None)
    if result is None:
        raise BindError(f"{what} has no result_type", hint="result_type = 'ROW<n BIGINT, word STRING>'")
    traits = _traits(found, what)
    states = tuple(_states(found, what))
    timers = callable(getattr(found, "on_timer", None))
    if ArgumentTrait.SET_SEMANTIC_TABLE not in traits and (states or timers):
        raise BindError(
            f"{what} takes row by row, and has states or timers, which are kept by key",
            hint="traits = (ArgumentTrait.SET_SEMANTIC_TABLE,), and PARTITION BY in the call",
        )
    if timers and ArgumentTrait.PASS_COLUMNS_THROUGH in traits:
        raise BindError(f"{what}: what a timer gives has no row whose columns could pass through")
    return Signature(path, table, arguments, declared(result, f"{what}: result_type"), traits, states, timers)


def _parameters(found: type[ProcessTableFunction], what: str) -> tuple[str, tuple[Argument, ...]]:
    function = getattr(found, "eval", None)
    if not callable(function):
        raise BindError(f"{what} has no method eval", hint="def eval(self, ctx, input): …")
    try:
        hints = typing.get_type_hints(function)
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, NameError, ValueError) as e:
        raise BindError(f"{what}: the type hints of eval cannot be read: {e}") from None
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.KEYWORD_ONLY):
            raise BindError(f"{what}: parameter '{p.name}' of eval must be positional")
    if len(parameters) < 3:
        raise BindError(f"{what}: eval takes the context and a row at least", hint="def eval(self, ctx, input): …")
    _, _, table, *rest = parameters
    taken = next((p.name for p in (table, *rest) if p.name in (ON_TIME, UID)), None)
    if taken is not None:
        raise BindError(f"{what}: every call has an argument '{taken}', so eval cannot have one")
    arguments = tuple(
        Argument(p.name, _hinted(hints.get(p.name), found, what, p.name), p.default is not p.empty) for p in rest
    )
    return table.name, arguments


def _hinted(hint: Any, found: type, what: str, name: str) -> Type:
    plain = [h for h in typing.get_args(hint) or (hint,) if h is not type(None)]
    if plain == [datetime.timedelta]:
        return INTERVAL_DAY
    return user.hinted_type(hint, f"{found.__module__}.{found.__name__}", f"argument '{name}'")


def _traits(found: type[ProcessTableFunction], what: str) -> frozenset[ArgumentTrait]:
    traits = [found.traits] if isinstance(found.traits, ArgumentTrait | str) else list(found.traits)
    wrong = next((t for t in traits if not isinstance(t, ArgumentTrait)), None)
    if wrong is not None:
        hint = did_you_mean(str(wrong), ArgumentTrait.__members__, "traits")
        raise BindError(f"{what}: {wrong!r} is no ArgumentTrait", hint=hint)
    a, b = ArgumentTrait.SET_SEMANTIC_TABLE, ArgumentTrait.ROW_SEMANTIC_TABLE
    if (a in traits) == (b in traits):
        raise BindError(f"{what}: its table has set semantics or row semantics: one of {a.name}, {b.name}")
    if ArgumentTrait.OPTIONAL_PARTITION_BY in traits and a not in traits:
        raise BindError(f"{what}: OPTIONAL_PARTITION_BY is for a table with set semantics")
    return frozenset(traits)


def _states(found: type, what: str) -> Iterator[tuple[str, StateDescriptor[Any]]]:
    names: dict[str, str] = {}
    members = {n: v for c in reversed(found.__mro__) for n, v in vars(c).items()}
    for attribute, d in members.items():
        if not isinstance(d, StateDescriptor):
            continue
        if d.name in names:
            raise BindError(f"{what}: '{names[d.name]}' and '{attribute}' are both state '{d.name}'")
        names[d.name] = attribute
        yield attribute, d
