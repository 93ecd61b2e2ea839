"""Windows: table functions TUMBLE, HOP, CUMULATE, SESSION, and the older form inside GROUP BY."""

from __future__ import annotations

from collections.abc import Callable

from sqlstream.catalog.catalog import Catalog
from sqlstream.errors import BindError, NotSupported, Position
from sqlstream.expressions import Column, Literal
from sqlstream.plan import nodes
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.scope import Scope
from sqlstream.sql.ast import Descriptor, TableArgument, TableFunction, exp, position_of
from sqlstream.types import FORMER_ROWTIME, PROCTIME, ROWTIME, Schema

# Argument names after DATA and TIMECOL; the last ones of each are optional.
_ARGUMENTS = {
    "TUMBLE": ("SIZE", "OFFSET"),
    "HOP": ("SLIDE", "SIZE", "OFFSET"),
    "CUMULATE": ("STEP", "SIZE", "OFFSET"),
    "SESSION": ("GAP",),
}
WINDOW_FUNCTIONS = tuple(_ARGUMENTS)
EXAMPLE = {
    "TUMBLE": "TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' MINUTE)",
    "HOP": "HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '5' MINUTE, INTERVAL '10' MINUTE)",
    "CUMULATE": "CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '2' MINUTE, INTERVAL '10' MINUTE)",
    "SESSION": "SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '5' MINUTE)",
}


def bind_window_function(
    name: str,
    node: TableFunction,
    table: Callable[[TableArgument], tuple[nodes.Node, Scope]],
    catalog: Catalog,
) -> nodes.Node:
    """TUMBLE(TABLE t, DESCRIPTOR(ts), …) as a Window over t."""
    names = ("DATA", "TIMECOL", *_ARGUMENTS[name])
    given: dict[str, exp.Expression] = {}
    for i, a in enumerate(node.expressions):
        if isinstance(a, exp.Kwarg):
            key, value = a.this.name.upper(), a.expression
        elif i < len(names):
            key, value = names[i], a
        else:
            raise BindError(f"{name} takes at most {len(names)} arguments", hint=EXAMPLE[name], position=position_of(a))
        if key not in names or key in given:
            raise BindError(
                f"{name} has no argument {key}, or has it twice", hint=EXAMPLE[name], position=position_of(a)
            )
        given[key] = value
    needed = [n for n in names if n != "OFFSET"]
    missing = [n for n in needed if n not in given]
    if missing:
        raise BindError(f"{name}: {missing[0]} is missing", hint=EXAMPLE[name], position=position_of(node))
    data, descriptor = given["DATA"], given["TIMECOL"]
    if not isinstance(data, TableArgument) or not isinstance(descriptor, Descriptor):
        raise BindError(f"{name} takes a TABLE and a DESCRIPTOR first", hint=EXAMPLE[name], position=position_of(node))
    plan, scope = table(data)
    time = ExpressionBinder(scope, catalog).bind(exp.column(descriptor.expressions[0]))
    column = time_attribute(time, plan.schema, name, descriptor)
    lengths = {k: length(given[k], catalog, f"{name}: {k}") for k in _ARGUMENTS[name] if k in given}
    partition: list[int] = []
    for p in data.args.get("partition_by") or []:
        key = ExpressionBinder(scope, catalog).bind(p)
        if not isinstance(key, Column):
            raise NotSupported(f"{name}: PARTITION BY takes columns", position=position_of(p))
        partition.append(key.index)
    if partition and name != "SESSION":
        raise NotSupported(f"{name}: PARTITION BY is for SESSION", position=position_of(node))
    spec = window_spec(name, lengths, node)
    return in_windows(plan, spec, column, tuple(partition), descriptor)


def window_spec(name: str, lengths: dict[str, int], node: exp.Expression) -> nodes.WindowSpec:
    """Checks the lengths."""
    offset = lengths.get("OFFSET", 0)
    size = lengths["GAP"] if name == "SESSION" else lengths["SIZE"]
    slide = lengths.get("SLIDE") or lengths.get("STEP") or 0
    if size <= 0 or any(v <= 0 for k, v in lengths.items() if k != "OFFSET"):
        raise BindError(f"{name}: lengths must be above zero", hint=EXAMPLE[name], position=position_of(node))
    if name == "CUMULATE" and size % slide:
        raise BindError(
            "CUMULATE: the size must be a multiple of the step", hint=EXAMPLE[name], position=position_of(node)
        )
    return nodes.WindowSpec(name, size, slide, offset)


def time_attribute(time: object, schema: Schema, what: str, node: exp.Expression) -> int:
    """The column's position; BindError when it is no time attribute, and none that batch could take for one."""
    if not isinstance(time, Column):
        raise BindError(f"{what}: the time must be a column", position=position_of(node))
    if schema[time.index].time == FORMER_ROWTIME:
        raise BindError(
            f"{what}: '{schema[time.index].name}' is no time attribute any more: its rows are in windows",
            hint="window_time is one",
            position=position_of(node),
        )
    if schema[time.index].time not in (ROWTIME, PROCTIME) and not schema[time.index].type.is_timestamp:
        name = schema[time.index].name
        raise no_time_attribute(f"{what}: '{name}'", name, position_of(node))
    return time.index


def no_time_attribute(what: str, name: str, position: Position | None) -> BindError:
    """Why a column is no time of windows: `what` names it, with the function."""
    return BindError(
        f"{what} is no time attribute",
        hint=f"declare it in CREATE TABLE: WATERMARK FOR {name} AS …, or p AS PROCTIME(); "
        "a regular join or aggregate loses time attributes. In batch any TIMESTAMP will do",
        position=position,
    )


def in_windows(
    plan: nodes.Node, spec: nodes.WindowSpec, time: int, partition: tuple[int, ...], node: exp.Expression
) -> nodes.Window:
    """The rows of `plan` in windows over a column of times; of one that is no time attribute in batch alone."""
    if plan.schema[time].time not in (ROWTIME, PROCTIME):
        plan = nodes.BatchTime(plan, time, spec.kind, plan.schema[time].name, position_of(node))
    return nodes.Window(plan, spec, time, partition)


def length(node: exp.Expression, catalog: Catalog, what: str) -> int:
    """A constant day-to-second interval, µs."""
    e = ExpressionBinder(Scope(), catalog).bind(node)
    if not isinstance(e, Literal) or e.type.kind != "INTERVAL_DAY":
        raise BindError(
            f"{what} takes a constant interval",
            hint="INTERVAL '10' SECOND, '5' MINUTE, '1' HOUR, '7' DAY",
            position=position_of(node),
        )
    return int(e.value)


# ---- GROUP BY TUMBLE(ts, INTERVAL …): Flink's older form

GROUP_WINDOWS = ("TUMBLE", "HOP", "SESSION")
_AUXILIARY = {"START": 0, "END": 1, "ROWTIME": 2, "PROCTIME": 2}


def group_window(node: exp.Expression) -> str | None:
    """The window's name when `node` is a group window, else None."""
    if isinstance(node, exp.Anonymous) and node.this.upper() in GROUP_WINDOWS:
        return str(node.this.upper())
    return None


def auxiliary(node: exp.Expression) -> tuple[str, int] | None:
    """TUMBLE_START(…) -> ('TUMBLE', 0); 0 start, 1 end, 2 time. None when it is none of these."""
    if not isinstance(node, exp.Anonymous):
        return None
    head, _, tail = node.this.upper().rpartition("_")
    return (head, _AUXILIARY[tail]) if head in GROUP_WINDOWS and tail in _AUXILIARY else None


def group_window_spec(node: exp.Anonymous, catalog: Catalog) -> nodes.WindowSpec:
    """TUMBLE(ts, size), HOP(ts, slide, size), SESSION(ts, gap)."""
    name = node.this.upper()
    names = {"TUMBLE": ("SIZE",), "HOP": ("SLIDE", "SIZE"), "SESSION": ("GAP",)}[name]
    if len(node.expressions) != len(names) + 1:
        raise BindError(
            f"{name} in GROUP BY takes a time column and {len(names)} interval(s)", position=position_of(node)
        )
    lengths = {n: length(a, catalog, f"{name}: {n}") for n, a in zip(names, node.expressions[1:], strict=True)}
    return window_spec(name, lengths, node)
