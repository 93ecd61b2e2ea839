"""LATERAL SNAPSHOT: a join with a table as it stands when a row is processed.

[LEFT] JOIN LATERAL SNAPSHOT(input => TABLE t, on_time => DESCRIPTOR(ts), load_completed_time => TIMESTAMP_LTZ '…',
                             load_completed_idle_timeout => INTERVAL '10' SECOND, state_ttl => INTERVAL '1' DAY) AS s ON l.k = s.k
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlstream.errors import BindError, NotSupported, did_you_mean
from sqlstream.expressions import Expr
from sqlstream.functions.scalar import volatile
from sqlstream.plan import nodes
from sqlstream.plan.expression_binder import ExpressionBinder, coerce
from sqlstream.plan.joins import join
from sqlstream.plan.scope import Scope
from sqlstream.plan.window_binder import length
from sqlstream.sql.ast import Descriptor, TableArgument, TableFunction, exp, position_of
from sqlstream.types import ROWTIME, timestamp_ltz

if TYPE_CHECKING:
    from sqlstream.plan.from_binder import FromBinder

SNAPSHOT = "SNAPSHOT"
EXAMPLE = "… JOIN LATERAL SNAPSHOT(input => TABLE t, on_time => DESCRIPTOR(ts)) AS s ON l.k = s.k"
_ARGUMENTS = ("input", "on_time", "load_completed_time", "load_completed_idle_timeout", "state_ttl")


def bind_snapshot_join(
    queries: FromBinder, left: nodes.Node, scope: Scope, item: TableFunction, kind: str, node: exp.Join
) -> tuple[nodes.Node, Scope]:
    """`left`, whose names are `scope`, and beside each row those of the table that SNAPSHOT, `item`, is called with."""
    if kind not in ("INNER", "LEFT", "CROSS"):
        raise NotSupported(
            f"LATERAL SNAPSHOT is an INNER or LEFT join, not {kind}", hint=EXAMPLE, position=position_of(node)
        )
    on = node.args.get("on")
    if on is None:
        raise BindError(
            "LATERAL SNAPSHOT needs ON, with at least one equality", hint=EXAMPLE, position=position_of(node)
        )
    given = _given(item)
    argument = given["input"]
    if not isinstance(argument, TableArgument):
        raise BindError("SNAPSHOT: argument 'input' is a table", hint=EXAMPLE, position=position_of(argument))
    if argument.args.get("partition_by") or argument.args.get("order"):
        raise BindError(
            "SNAPSHOT: its table has no PARTITION BY and no ORDER BY: ON says what belongs together",
            hint=EXAMPLE,
            position=position_of(argument),
        )
    right, inner = queries.relation(argument.this)
    on_time, timed = _on_time(given.get("on_time"), right)
    named, names = queries.aliased(right, item.args.get("alias"), inner.relations[0].alias, item)
    both = scope.beside(names, position_of(item))
    condition = ExpressionBinder(both, queries.catalog).condition(on)

    def duration(name: str) -> int | None:
        return length(given[name], queries.catalog, f"SNAPSHOT: {name}") if name in given else None

    binder = ExpressionBinder(Scope(), queries.catalog)
    load_time = _load_time(given["load_completed_time"], binder) if "load_completed_time" in given else None
    idle, ttl = duration("load_completed_idle_timeout"), duration("state_ttl")

    def made(plan: nodes.Node) -> nodes.Node:
        """The Join at its top as a SnapshotJoin; Projects above stay."""
        if isinstance(plan, nodes.Project):
            return replace(plan, input=made(plan.input))
        assert isinstance(plan, nodes.Join)
        if not plan.left_keys:
            raise BindError(
                "LATERAL SNAPSHOT needs at least one equality in ON", hint=EXAMPLE, position=position_of(on)
            )
        return nodes.SnapshotJoin(
            plan.input, plan.right, plan.kind, plan.left_keys, plan.right_keys, plan.null_safe, plan.residual, on_time,
            timed, load_time, idle, ttl,
        )  # fmt: skip

    plan = made(join(left, named, "LEFT" if kind == "LEFT" else "INNER", condition))
    return plan, both.renamed(plan.schema)


def _given(node: TableFunction) -> dict[str, exp.Expression]:
    given: dict[str, exp.Expression] = {}
    for i, a in enumerate(node.expressions):
        if not isinstance(a, exp.Kwarg) and i >= len(_ARGUMENTS):
            raise BindError(
                f"SNAPSHOT takes at most {len(_ARGUMENTS)} arguments", hint=EXAMPLE, position=position_of(a)
            )
        key, value = (a.this.name.lower(), a.expression) if isinstance(a, exp.Kwarg) else (_ARGUMENTS[i], a)
        if key not in _ARGUMENTS:
            raise BindError(
                f"SNAPSHOT has no argument '{key}'",
                hint=did_you_mean(key, _ARGUMENTS, "arguments"),
                position=position_of(a),
            )
        if key in given:
            raise BindError(f"SNAPSHOT: argument '{key}' is given twice", position=position_of(a))
        given[key] = value
    if "input" not in given:
        raise BindError("SNAPSHOT: argument 'input' is missing", hint=EXAMPLE, position=position_of(node))
    return given


def _on_time(node: exp.Expression | None, table: nodes.Node) -> tuple[str | None, bool]:
    """The column, and whether it has a watermark."""
    if node is None:
        return None, False
    if not isinstance(node, Descriptor) or len(node.expressions) != 1:
        raise BindError(
            "SNAPSHOT: on_time is a DESCRIPTOR of one column",
            hint="on_time => DESCRIPTOR(ts)",
            position=position_of(node),
        )
    name = str(node.expressions[0].name)
    column = next((c for c in table.schema if c.name == name), None)
    if column is None:
        raise BindError(
            f"SNAPSHOT: there is no column '{name}' in the table",
            hint=did_you_mean(name, table.schema.names, "columns"),
            position=position_of(node),
        )
    return name, column.time == ROWTIME


def _load_time(node: exp.Expression, binder: ExpressionBinder) -> Expr:
    bound = binder.bind(node)
    if not bound.type.is_timestamp or volatile(bound):
        raise BindError(
            "SNAPSHOT: load_completed_time is a constant TIMESTAMP_LTZ",
            hint="load_completed_time => TIMESTAMP_LTZ '2024-01-01 00:00:00'; left out it is the time when the job begins",
            position=position_of(node),
        )
    return coerce(bound, timestamp_ltz(3)) if bound.type.kind != "TIMESTAMP_LTZ" else bound
