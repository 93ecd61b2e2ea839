"""Calls of process table functions: f(input => TABLE t PARTITION BY k, n => 3, on_time => DESCRIPTOR(ts), uid => 'x')."""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlstream.catalog.catalog import Catalog
from sqlstream.catalog.objects import Function
from sqlstream.errors import BindError, NotSupported, did_you_mean
from sqlstream.expressions import Column, Literal
from sqlstream.functions.typing import implicit
from sqlstream.plan import nodes
from sqlstream.plan.expression_binder import ExpressionBinder, coerce
from sqlstream.plan.scope import Scope
from sqlstream.process_functions.function import ArgumentTrait
from sqlstream.process_functions.signature import ON_TIME, UID, Argument, Signature, resolve
from sqlstream.sql.ast import Descriptor, TableArgument, TableFunction, exp, position_of
from sqlstream.types import ROWTIME

_UID = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]*")


def bind_process_function(
    function: Function,
    node: TableFunction,
    table: Callable[[TableArgument], tuple[nodes.Node, Scope]],
    catalog: Catalog,
) -> nodes.Node:
    """The call as a ProcessTableFunction over its table."""
    name, signature = function.name, resolve(function.path)
    given = _given(name, signature, node)
    argument = given[signature.table]
    if not isinstance(argument, TableArgument):
        raise BindError(
            f"{name}: argument '{signature.table}' is a table", hint=_example(name, signature),
            position=position_of(argument),
        )  # fmt: skip
    if argument.args.get("order") is not None:
        raise NotSupported(
            f"{name}: ORDER BY of a table argument is not supported",
            hint="with on_time rows come in the order of their watermarks; keep rows in a state until a timer fires",
            position=position_of(argument.args["order"]),
        )
    plan, scope = table(argument)
    partition = _partition(name, signature, argument, scope, catalog)
    on_time = None
    if ON_TIME in given:
        on_time = _on_time(name, given[ON_TIME], plan, scope, catalog)
    elif ArgumentTrait.REQUIRE_ON_TIME in signature.traits:
        raise BindError(
            f"{name} needs on_time", hint="on_time => DESCRIPTOR(ts), ts being a column with a watermark",
            position=position_of(node),
        )  # fmt: skip
    arguments = tuple(
        (a.name, _constant(name, a, given[a.name], catalog)) for a in signature.arguments if a.name in given
    )
    return nodes.ProcessTableFunction(
        plan,
        function.path,
        plan.schema.names,
        arguments,
        tuple(signature.fields()),
        partition,
        on_time,
        ArgumentTrait.PASS_COLUMNS_THROUGH in signature.traits,
        _uid(name, given.get(UID)),
        name,
    )


def _given(name: str, signature: Signature, node: TableFunction) -> dict[str, exp.Expression]:
    """The arguments by name. All that must be there are."""
    names = [signature.table, *(a.name for a in signature.arguments), ON_TIME, UID]
    folded = {n.casefold(): n for n in names}
    given: dict[str, exp.Expression] = {}
    for i, a in enumerate(node.expressions):
        if isinstance(a, exp.Kwarg):
            key, value = a.this.name, a.expression
            if key not in names:
                key = folded.get(key.casefold(), key)
        elif i >= len(names):
            raise BindError(
                f"{name} takes at most {len(names)} arguments", hint=_example(name, signature), position=position_of(a)
            )
        elif any(isinstance(b, exp.Kwarg) for b in node.expressions[:i]):
            raise BindError(f"{name}: an argument without a name behind one with a name", position=position_of(a))
        else:
            key, value = names[i], a
        if key not in names:
            raise BindError(
                f"{name} has no argument '{key}'", hint=did_you_mean(key, names, "arguments"), position=position_of(a)
            )
        if key in given:
            raise BindError(f"{name}: argument '{key}' is given twice", position=position_of(a))
        given[key] = value
    needed = [signature.table, *(a.name for a in signature.arguments if not a.optional)]
    missing = [n for n in needed if n not in given]
    if missing:
        raise BindError(
            f"{name}: argument '{missing[0]}' is missing", hint=_example(name, signature), position=position_of(node)
        )
    return given


def _example(name: str, signature: Signature) -> str:
    by = " PARTITION BY k" if signature.by_key else ""
    scalars = "".join(f", {a.name} => …" for a in signature.arguments if not a.optional)
    return f"{name}({signature.table} => TABLE t{by}{scalars})"


def _partition(
    name: str, signature: Signature, argument: TableArgument, scope: Scope, catalog: Catalog
) -> tuple[int, ...] | None:
    written = argument.args.get("partition_by") or []
    if not signature.by_key:
        if written:
            raise BindError(
                f"{name} takes row by row: its table has no PARTITION BY",
                hint="a function with set semantics has (traits = (ArgumentTrait.SET_SEMANTIC_TABLE,))",
                position=position_of(written[0]),
            )
        return None
    if not written and ArgumentTrait.OPTIONAL_PARTITION_BY not in signature.traits:
        raise BindError(
            f"{name}: the table '{signature.table}' has set semantics, and needs PARTITION BY",
            hint=_example(name, signature),
            position=position_of(argument),
        )
    columns: list[int] = []
    for p in written:
        key = ExpressionBinder(scope, catalog).bind(p)
        if not isinstance(key, Column):
            raise NotSupported(
                f"{name}: PARTITION BY takes columns", hint="compute it in a subquery: TABLE (SELECT …)",
                position=position_of(p),
            )  # fmt: skip
        columns.append(key.index)
    return tuple(dict.fromkeys(columns))


def _on_time(name: str, argument: exp.Expression, plan: nodes.Node, scope: Scope, catalog: Catalog) -> int:
    if not isinstance(argument, Descriptor) or len(argument.expressions) != 1:
        raise BindError(f"{name}: on_time is a DESCRIPTOR of one column", position=position_of(argument))
    time = ExpressionBinder(scope, catalog).bind(exp.column(argument.expressions[0]))
    assert isinstance(time, Column)
    if plan.schema[time.index].time != ROWTIME:
        raise BindError(
            f"{name}: on_time '{time.name}' is no event-time attribute",
            hint=f"declare it in CREATE TABLE: WATERMARK FOR {time.name} AS …; "
            "a regular join or aggregate loses time attributes",
            position=position_of(argument.expressions[0]),
        )
    return time.index


def _constant(name: str, argument: Argument, node: exp.Expression, catalog: Catalog) -> Literal:
    if isinstance(node, TableArgument | Descriptor):
        raise BindError(f"{name}: argument '{argument.name}' is {argument.type.text()}", position=position_of(node))
    e = ExpressionBinder(Scope(), catalog).bind(node)
    if not implicit(e.type, argument.type):
        raise BindError(
            f"{name}: argument '{argument.name}' must be {argument.type.text()}, not {e.type.text()}",
            position=position_of(node),
        )
    e = coerce(e, argument.type)
    if not isinstance(e, Literal):
        raise NotSupported(
            f"{name}: argument '{argument.name}' must be a constant",
            hint="write its value; what differs by row belongs into the table: TABLE (SELECT …)",
            position=position_of(node),
        )
    return e


def _uid(name: str, node: exp.Expression | None) -> str | None:
    if node is None:
        return None
    if not (isinstance(node, exp.Literal) and node.is_string and _UID.fullmatch(node.this)):
        raise BindError(
            f"{name}: uid is a text of letters, digits, - and _ that begins with a letter", position=position_of(node)
        )
    return str(node.this)
