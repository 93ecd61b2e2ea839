"""Functions of maps: MAP_…"""

from __future__ import annotations

from collections.abc import Sequence

from sqlstream.errors import BindError
from sqlstream.expressions import Expr
from sqlstream.functions.arrays import of_array
from sqlstream.functions.numbers import once
from sqlstream.functions.scalar_function import ScalarFunction, Typing
from sqlstream.functions.typing import common
from sqlstream.types import Type, array, map_of, row


def _of_map(a: Expr, what: str) -> Type:
    if a.type.kind != "MAP":
        raise BindError(f"{what} takes MAP, not {a.type.text()}", hint="MAP['a', 1]")
    return a.type


def _keys_rule(args: Sequence[Expr]) -> Typing:
    return Typing((None,), array(_of_map(args[0], "MAP_KEYS").fields[0].type))


def _values_rule(args: Sequence[Expr]) -> Typing:
    return Typing((None,), array(_of_map(args[0], "MAP_VALUES").fields[1].type))


def _entries_rule(args: Sequence[Expr]) -> Typing:
    key, value = (f.type for f in _of_map(args[0], "MAP_ENTRIES").fields)
    return Typing((None,), array(row(("key", key), ("value", value))))


def _entries(args: list[str], types: list[Type], result: Type) -> str:
    return f"list_transform(map_entries({args[0]}), lambda e: {{'f0': e.key, 'f1': e.value}})"


def _from_arrays_rule(args: Sequence[Expr]) -> Typing:
    keys, values = (of_array(a, "MAP_FROM_ARRAYS") for a in args)
    if "NULL" in (keys.kind, values.kind):
        raise BindError("MAP_FROM_ARRAYS: NULL has no type", hint="CAST(NULL AS ARRAY<STRING>)")
    return Typing((None, None), map_of(keys.element, values.element))


def _from_arrays(args: list[str], types: list[Type], result: Type) -> str:
    """Of a key that comes more than once the last value, at its first place."""

    def made(x: str) -> str:
        lengths = f"len({x}.k) <> len({x}.v)"
        first = f"list_filter({x}.k, lambda e, i: list_position({x}.k, e) = i)"
        last = f"list_transform({first}, lambda e: {x}.v[len({x}.k) + 1 - list_position(list_reverse({x}.k), e)])"
        return (
            f"CASE WHEN {x}.k IS NULL OR {x}.v IS NULL THEN NULL "
            f"WHEN {lengths} THEN error('MAP_FROM_ARRAYS: there are ' || len({x}.k) || ' keys and ' || len({x}.v) || ' values') "
            f"ELSE map({first}, {last}) END"
        )

    return once(f"{{'k': {args[0]}, 'v': {args[1]}}}", made)


def _union_rule(args: Sequence[Expr]) -> Typing:
    t = common([_of_map(a, "MAP_UNION") for a in args], "MAP_UNION")
    return Typing((t,) * len(args), t)


def _union(args: list[str], types: list[Type], result: Type) -> str:
    fields = ", ".join(f"'m{i}': {a}" for i, a in enumerate(args))
    each = [f"m{i}" for i in range(len(args))]
    return once(
        f"{{{fields}}}",
        lambda x: (
            f"CASE WHEN {' AND '.join(f'{x}.{m} IS NOT NULL' for m in each)} "
            f"THEN map_concat({', '.join(f'{x}.{m}' for m in each)}) END"
        ),
    )


FUNCTIONS = (
    ScalarFunction("MAP_KEYS", _keys_rule, "map_keys({0})", 1, 1, example="MAP_KEYS(MAP['a', 1])"),
    ScalarFunction("MAP_VALUES", _values_rule, "map_values({0})", 1, 1, example="MAP_VALUES(MAP['a', 1])"),
    ScalarFunction("MAP_ENTRIES", _entries_rule, _entries, 1, 1, example="MAP_ENTRIES(MAP['a', 1])"),
    ScalarFunction(
        "MAP_FROM_ARRAYS",
        _from_arrays_rule,
        _from_arrays,
        2,
        2,
        example="MAP_FROM_ARRAYS(ARRAY['a', 'b'], ARRAY[1, 2])",
    ),
    ScalarFunction("MAP_UNION", _union_rule, _union, 1, None, example="MAP_UNION(MAP['a', 1], MAP['b', 2])"),
)
