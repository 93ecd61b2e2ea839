"""Functions of ARRAY, MAP and ROW, and what makes these."""

from __future__ import annotations

from collections.abc import Sequence

from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Expr, Literal
from sqlstream.functions.scalar_function import Nulls, ScalarFunction, Typing, function
from sqlstream.functions.typing import common
from sqlstream.types import BIGINT, BOOLEAN, INT, Field, Type, array, map_of


def _row_rule(args: Sequence[Expr]) -> Typing:
    t = Type("ROW", fields=tuple(Field(f"EXPR${i}", a.type) for i, a in enumerate(args)))
    return Typing((None,) * len(args), t)


def _row(args: list[str], types: list[Type], result: Type) -> str:
    return "{" + ", ".join(f"'f{i}': {a}" for i, a in enumerate(args)) + "}"


def _array_rule(args: Sequence[Expr]) -> Typing:
    if not args:
        raise NotSupported("an empty ARRAY[] has no type", hint="CAST(NULL AS ARRAY<…>)")
    t = common([a.type for a in args], "ARRAY")
    return Typing((t,) * len(args), array(t))


def _map_rule(args: Sequence[Expr]) -> Typing:
    """Key, value, key, value, …"""
    k = common([a.type for a in args[::2]], "MAP keys")
    v = common([a.type for a in args[1::2]], "MAP values")
    return Typing((k, v) * (len(args) // 2), map_of(k, v))


def _map(args: list[str], types: list[Type], result: Type) -> str:
    return f"MAP {{{', '.join(f'{k}: {v}' for k, v in zip(args[::2], args[1::2], strict=True))}}}"


def _item_rule(args: Sequence[Expr]) -> Typing:
    t, index = args[0].type, args[1].type
    if t.kind == "ARRAY":
        if not index.is_integer and index.kind != "NULL":
            raise BindError(f"an array index must be an integer, not {index.text()}")
        constant = args[1]
        if isinstance(constant, Literal) and constant.value is not None and constant.value < 1:
            raise BindError(
                f"an array index counts from 1: there is no {constant.value}", hint="the first element is x[1]"
            )
        return Typing((None, None), t.element)
    if t.kind == "MAP":
        return Typing((None, t.fields[0].type), t.fields[1].type)
    raise BindError(
        f"[…] takes an ARRAY or MAP, not {t.text()}",
        hint="a field of a ROW is written row.field" if t.kind == "ROW" else "SUBSTRING(x FROM 1 FOR 1) of a text",
    )


def _item(args: list[str], types: list[Type], result: Type) -> str:
    """DuckDB counts a position below 0 from the end."""
    collection, index = args
    if types[0].kind == "MAP" or index.isdigit():
        return f"{collection}[{index}]"
    return f"{collection}[CASE WHEN {index} > 0 THEN {index} END]"


def _cardinality_rule(args: Sequence[Expr]) -> Typing:
    _collection(args[0].type, ("ARRAY", "MAP", "MULTISET"), "CARDINALITY")
    return Typing((None,), INT)


def _collection(t: Type, kinds: tuple[str, ...], what: str) -> None:
    if t.kind not in (*kinds, "NULL"):
        raise BindError(f"{what} takes {' or '.join(kinds)}, not {t.text()}")


def _contains_rule(args: Sequence[Expr]) -> Typing:
    t, element = args[0].type, args[1].type
    _collection(t, ("ARRAY",), "ARRAY_CONTAINS")
    if t.kind == "NULL":
        return Typing((None, None), BOOLEAN)
    wanted = common([t.element, element], "ARRAY_CONTAINS")
    return Typing((array(wanted), wanted), BOOLEAN.null(t.nullable))


def _contains(args: list[str], types: list[Type], result: Type) -> str:
    """NULL is an element like any other (DuckDB answers NULL)."""
    items, item = args
    call = f"list_contains({items}, {item})"
    if not types[1].nullable:
        return call
    return f"CASE WHEN {item} IS NULL THEN len({items}) > list_count({items}) ELSE {call} END"


def _cardinality(args: list[str], types: list[Type], result: Type) -> str:
    return f"CAST({'cardinality' if types[0].kind == 'MAP' else 'len'}({args[0]}) AS INTEGER)"


FUNCTIONS = (
    ScalarFunction("ROW", _row_rule, _row, 1, None, Nulls.NEVER, example="ROW(1, 'a')"),
    ScalarFunction("ARRAY", _array_rule, "[{all}]", 0, None, Nulls.NEVER, operator=True, example="ARRAY[1, 2]"),
    # by whose elements a row comes so often (`plan/set_operations.py`)
    function("COPIES", (BIGINT,), array(BIGINT.null(False)), "range({0})", operator=True),
    ScalarFunction("MAP", _map_rule, _map, 2, None, Nulls.NEVER, operator=True),
    ScalarFunction("ITEM", _item_rule, _item, 2, 2, Nulls.MAYBE, operator=True),
    ScalarFunction("CARDINALITY", _cardinality_rule, _cardinality, 1, 1, example="CARDINALITY(ARRAY[1, 2])"),
    ScalarFunction(
        "ARRAY_CONTAINS", _contains_rule, _contains, 2, 2, Nulls.RULE, example="ARRAY_CONTAINS(ARRAY[1, 2], 2)"
    ),
)
