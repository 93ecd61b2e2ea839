"""Functions of arrays: ARRAY_…; what they give keeps the order of the first array.

NULL is an element like any other, and two of them are equal; DuckDB's list functions leave it out, or answer NULL.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlstream.errors import BindError
from sqlstream.expressions import Expr
from sqlstream.functions.numbers import once
from sqlstream.functions.scalar_function import Nulls, Rule, ScalarFunction, Text, Typing
from sqlstream.functions.typing import common, implicit
from sqlstream.types import BOOLEAN, INT, STRING, Type, array


def of_array(a: Expr, what: str) -> Type:
    """The type of an argument that is to be an array. BindError when it is none."""
    if a.type.kind not in ("ARRAY", "NULL"):
        raise BindError(f"{what} takes ARRAY, not {a.type.text()}", hint="ARRAY[1, 2]")
    return a.type


def _element(t: Type) -> Type:
    return t if t.kind == "NULL" else t.element


def _with_element(name: str, gives: Type | None = None) -> Rule:
    """(array, element): brought to one type of elements; gives an array of these, or `gives`."""

    def rule(args: Sequence[Expr]) -> Typing:
        t = of_array(args[0], name)
        e = common([_element(t), args[1].type], name)
        wanted = array(e)
        return Typing((wanted, e), (wanted if gives is None else gives).null(t.nullable or t.kind == "NULL"))

    return rule


def _arrays(name: str) -> Rule:
    """Any number of arrays, brought to one type."""

    def rule(args: Sequence[Expr]) -> Typing:
        types = [of_array(a, name) for a in args]
        t = common(types, name)
        return Typing((t,) * len(args), t)

    return rule


def _one(name: str, *more: Type, element: bool = False) -> Rule:
    """An array, then arguments of the types `more`; gives the array's type, or that of its elements."""

    def rule(args: Sequence[Expr]) -> Typing:
        t = of_array(args[0], name)
        for i, (a, wanted) in enumerate(zip(args[1:], more, strict=False)):
            if not implicit(a.type, wanted):
                raise BindError(
                    f"{name}: argument {i + 2} must be {wanted.text()}, not {a.type.text()}",
                    hint=f"CAST({a} AS {wanted.text()})",
                )
        gives = _element(t).null() if element else t
        return Typing((None, *more[: len(args) - 1]), gives)

    return rule


def _join_rule(args: Sequence[Expr]) -> Typing:
    t = of_array(args[0], "ARRAY_JOIN")
    if not implicit(_element(t), STRING):
        raise BindError(
            f"ARRAY_JOIN takes an array of STRING, not {t.text()}", hint="ARRAY_JOIN(CAST(a AS ARRAY<STRING>), ',')"
        )
    return Typing((array(STRING), *(STRING,) * (len(args) - 1)), STRING)


def _there(sql: str, *of: str) -> str:
    """`sql` where none of `of` is NULL."""
    return f"CASE WHEN {' AND '.join(f'{x} IS NOT NULL' for x in of)} THEN {sql} END"


# Arrays of fewer elements are looked through for each of their elements, which is quicker than to sort them.
_SHORT = 40


def _sorted(x: str) -> str:
    """The elements of the list `x` with their places, sorted: equal ones stand together, the first before the others."""
    return f"list_sort(list_transform({x}, lambda e, i: {{'e': e, 'i': i}}))"


def _first_of_equals(pairs: str, condition: str) -> str:
    """The elements of the sorted `pairs` (e, i) for whose p and the one before, q, the condition holds, by their places."""
    found = f"list_filter(s, lambda p, j: {condition.replace('q.', 's[j - 1].')})"
    by_place = f"list_sort(list_transform({found}, lambda p: {{'i': p.i, 'e': p.e}}))"
    return f"list_transform([{pairs}], lambda s: list_transform({by_place}, lambda p: p.e))[1]"


_NEW = "(j = 1 OR p.e IS DISTINCT FROM q.e)"


def _distinct(x: str) -> str:
    """Each element once, at its first place."""
    short = f"list_filter({x}, lambda e, i: list_position({x}, e) = i)"
    return f"CASE WHEN len({x}) < {_SHORT} THEN {short} ELSE {_first_of_equals(_sorted(x), _NEW)} END"


def _union(args: list[str], types: list[Type], result: Type) -> str:
    return once(f"({args[0]} || {args[1]})", _distinct)


def _compared(within: bool) -> Text:
    """What of the first array is in the second (`within`), or is not there; each element once.

    Longer arrays are sorted together, those of the second before equal ones of the first, with the place 0.
    """
    pairs = "list_sort(list_concat(list_transform($1, lambda e: {'e': e, 'i': 0::BIGINT}), list_transform($0, lambda e, i: {'e': e, 'i': i})))"
    condition = "p.i > 0 AND j > 1 AND q.i = 0 AND p.e IS NOT DISTINCT FROM q.e" if within else f"p.i > 0 AND {_NEW}"
    there = "IS NOT NULL" if within else "IS NULL"

    def sql(args: list[str], types: list[Type], result: Type) -> str:
        short = f"list_filter($0, lambda e, i: list_position($1, e) {there} AND list_position($0, e) = i)"
        long = _first_of_equals(pairs, condition)
        return _of_rest(args, f"CASE WHEN len($0) + len($1) < {_SHORT} THEN {short} ELSE {long} END")

    return sql


def _appended(args: list[str], types: list[Type], result: Type) -> str:
    return once(args[0], lambda x: _there(f"list_append({x}, {args[1]})", x))


def _prepended(args: list[str], types: list[Type], result: Type) -> str:
    return once(args[0], lambda x: _there(f"list_prepend({args[1]}, {x})", x))


def _concat(args: list[str], types: list[Type], result: Type) -> str:
    out = args[0]
    for a in args[1:]:
        out = f"({out} || {a})"
    return out


def _once_distinct(args: list[str], types: list[Type], result: Type) -> str:
    return once(args[0], _distinct)


def _position(args: list[str], types: list[Type], result: Type) -> str:
    return f"CASE WHEN {args[1]} IS NOT NULL THEN coalesce(list_position({args[0]}, {args[1]}), CASE WHEN {args[0]} IS NOT NULL THEN 0 END) END"


def _remove(args: list[str], types: list[Type], result: Type) -> str:
    return _of_rest(args, "list_filter($0, lambda e: e IS DISTINCT FROM $1)", (0,))


def _joined(args: list[str], types: list[Type], result: Type) -> str:
    """NULLs are left out, or written as the third argument says."""
    there = (
        "list_transform($0, lambda e: coalesce(e, $2))"
        if len(args) == 3
        else "list_filter($0, lambda e: e IS NOT NULL)"
    )
    behind = f"list_transform({there}, lambda e: $1 || e)"  # DuckDB joins by a constant alone
    return _of_rest(args, f"coalesce(substring(array_to_string({behind}, ''), length($1) + 1), '')")


def _of_rest(args: list[str], sql: str, needed: tuple[int, ...] = ()) -> str:
    """`sql` over $0, $1, …, which stand for arguments that are each evaluated once; NULL where one of them (of `needed`) is."""
    fields = ", ".join(f"'a{i}': {a}" for i, a in enumerate(args))

    def made(x: str) -> str:
        text = sql
        for i in range(len(args)):
            text = text.replace(f"${i}", f"{x}.a{i}")
        return _there(text, *(f"{x}.a{i}" for i in needed or range(len(args))))

    return once(f"{{{fields}}}", made)


def _slice(args: list[str], types: list[Type], result: Type) -> str:
    """Positions count from 1, those below 0 from the end; 0 is the first."""
    start = "CASE WHEN $1 = 0 THEN 1 ELSE $1 END"
    end = "2147483647" if len(args) == 2 else "CASE WHEN $2 = 0 THEN 1 ELSE $2 END"
    return _of_rest(args, f"list_slice($0, {start}, {end})")


def _sort(args: list[str], types: list[Type], result: Type) -> str:
    up = args[1] if len(args) > 1 else "TRUE"
    first = args[2] if len(args) > 2 else up
    ways = " ".join(
        f"WHEN {'' if u else 'NOT '}({up}) AND {'' if f else 'NOT '}({first}) "
        f"THEN list_sort({args[0]}, '{'ASC' if u else 'DESC'}', 'NULLS {'FIRST' if f else 'LAST'}')"
        for u in (True, False)
        for f in (True, False)
    )
    return f"CASE {ways} END"


def _single(args: list[str], types: list[Type], result: Type) -> str:
    return once(
        args[0],
        lambda x: f"CASE WHEN len({x}) > 1 THEN error('ELEMENT: the array has more than one element') ELSE {x}[1] END",
    )


FUNCTIONS = (
    ScalarFunction("ARRAY_APPEND", _with_element("ARRAY_APPEND"), _appended, 2, 2, Nulls.RULE, example="ARRAY_APPEND(ARRAY[1, 2], 3)"),
    ScalarFunction("ARRAY_PREPEND", _with_element("ARRAY_PREPEND"), _prepended, 2, 2, Nulls.RULE, example="ARRAY_PREPEND(ARRAY[1, 2], 3)"),
    ScalarFunction("ARRAY_CONCAT", _arrays("ARRAY_CONCAT"), _concat, 1, None, example="ARRAY_CONCAT(ARRAY[1], ARRAY[2])"),
    ScalarFunction("ARRAY_DISTINCT", _one("ARRAY_DISTINCT"), _once_distinct, 1, 1, example="ARRAY_DISTINCT(ARRAY[1, 2, 1])"),
    ScalarFunction("ARRAY_EXCEPT", _arrays("ARRAY_EXCEPT"), _compared(within=False), 2, 2,
                   example="ARRAY_EXCEPT(ARRAY[1, 2], ARRAY[2])"),
    ScalarFunction("ARRAY_INTERSECT", _arrays("ARRAY_INTERSECT"), _compared(within=True), 2, 2,
                   example="ARRAY_INTERSECT(ARRAY[1, 2], ARRAY[2, 3])"),
    ScalarFunction("ARRAY_UNION", _arrays("ARRAY_UNION"), _union, 2, 2, example="ARRAY_UNION(ARRAY[1, 2], ARRAY[2, 3])"),
    ScalarFunction("ARRAY_JOIN", _join_rule, _joined, 2, 3, example="ARRAY_JOIN(ARRAY['a', 'b'], ',')"),
    ScalarFunction("ARRAY_MAX", _one("ARRAY_MAX", element=True), "list_max({0})", 1, 1, Nulls.MAYBE, example="ARRAY_MAX(ARRAY[1, 3, 2])"),
    ScalarFunction("ARRAY_MIN", _one("ARRAY_MIN", element=True), "list_min({0})", 1, 1, Nulls.MAYBE, example="ARRAY_MIN(ARRAY[1, 3, 2])"),
    ScalarFunction("ARRAY_POSITION", _with_element("ARRAY_POSITION", INT), _position, 2, 2, example="ARRAY_POSITION(ARRAY[5, 6], 6)"),
    ScalarFunction("ARRAY_REMOVE", _with_element("ARRAY_REMOVE"), _remove, 2, 2, Nulls.RULE, example="ARRAY_REMOVE(ARRAY[5, 6, 5], 5)"),
    ScalarFunction("ARRAY_REVERSE", _one("ARRAY_REVERSE"), "list_reverse({0})", 1, 1, example="ARRAY_REVERSE(ARRAY[1, 2])"),
    ScalarFunction("ARRAY_SLICE", _one("ARRAY_SLICE", INT, INT), _slice, 2, 3, example="ARRAY_SLICE(ARRAY[1, 2, 3], 2, 3)"),
    ScalarFunction("ARRAY_SORT", _one("ARRAY_SORT", BOOLEAN, BOOLEAN), _sort, 1, 3, example="ARRAY_SORT(ARRAY[3, 1, 2])"),
    ScalarFunction("ELEMENT", _one("ELEMENT", element=True), _single, 1, 1, Nulls.MAYBE, example="ELEMENT(ARRAY[5])"),
)  # fmt: skip
