"""JSON_OBJECTAGG and JSON_ARRAYAGG, over texts of JSON: what the calls' arguments are is made of them by the planner
(`plan/json_binder.py`). They skip values that are NULL, and are never NULL themselves.

Elements go by arrival, as in ARRAY_AGG, or by their texts; members of an object by their keys, which are all different.
"""

from __future__ import annotations

from sqlstream.aggregates.collections import listed
from sqlstream.aggregates.function import AggregateFunction
from sqlstream.aggregates.sql import Sql
from sqlstream.errors import BindError
from sqlstream.types import STRING, Type

TWICE = "JSON_OBJECTAGG: a key is NULL or comes twice"


def _array_type(types: tuple[Type, ...]) -> Type:
    if not types[0].is_string:
        raise BindError(f"JSON_ARRAYAGG takes texts of JSON, not {types[0].text()}")
    return STRING


def _object_type(types: tuple[Type, ...]) -> Type:
    if not all(t.is_string for t in types):
        raise BindError("JSON_OBJECTAGG takes texts of JSON")
    return STRING


def _array_sql(c: Sql) -> str:
    return c.cast(f"'[' || coalesce(array_to_string({listed(c, f'{c.args[0]} IS NOT NULL')}, ','), '') || ']'")


def _object_sql(c: Sql) -> str:
    key, value = c.args
    given = f"{value} IS NOT NULL"
    member = f"{{'k': json_extract_string({key}, '$'), 'm': {key} || ':' || {value}}}"
    members = f"list_transform(list_sort({c.agg('list', member, where=given)}), lambda x: x.m)"
    keys = c.agg("list", key, where=given)
    # list_unique does not count NULLs
    return c.cast(
        f"CASE WHEN list_unique({keys}) < len({keys}) THEN error('{TWICE}') "
        f"ELSE '{{' || coalesce(array_to_string({members}, ','), '') || '}}' END"
    )


FUNCTIONS = (
    AggregateFunction(
        "JSON_ARRAYAGG",
        (1, 1),
        _array_type,
        _array_sql,
        "json:ArrayText",
        nulls="never",
        takes_order=True,
        needs_arrival=True,
    ),
    AggregateFunction("JSON_OBJECTAGG", (2, 2), _object_type, _object_sql, "json:ObjectText", nulls="never"),
)
