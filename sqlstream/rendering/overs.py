"""OVER calls, and the orders and partitions of rows: shared with streaming operators that ask DuckDB."""

from __future__ import annotations

from sqlstream.aggregates.registry import aggregate
from sqlstream.functions.constants import literal
from sqlstream.functions.user import UserFunction
from sqlstream.plan import nodes
from sqlstream.plan.over_functions import OVER_FUNCTIONS


def sort_sql(order: tuple[nodes.SortKey, ...]) -> str:
    """What stands behind ORDER BY; "" without keys."""
    return ", ".join(
        f"c{k.column} {'ASC' if k.ascending else 'DESC'} NULLS {'FIRST' if k.nulls_first else 'LAST'}" for k in order
    )


def partition_sql(partition: tuple[int, ...]) -> str:
    """PARTITION BY and the columns; "" without any, when all rows are one partition."""
    return "PARTITION BY " + ", ".join(f"c{p}" for p in partition) if partition else ""


def over_sql(node: nodes.Over, call: nodes.OverCall, tie: str, repeatable: bool = False) -> str:
    """One OVER call, over rows with `_place` (`placed`). `repeatable`: see `Sql`.

    `tie` orders equal rows where their order shows: ROWS frames, ROW_NUMBER, LAG, LEAD.
    """
    frame = call.frame
    row_based = frame.unit == "ROWS" if frame is not None else OVER_FUNCTIONS[call.function].by_rows
    order = sort_sql(node.order)
    if row_based and order:
        order = f"{order}, {tie}"
    over = partition_sql(node.partition) + (f" ORDER BY {order}" if order else "")
    if frame is not None:
        timed = bool(node.order) and node.input.schema[node.order[0].column].type.is_timestamp
        over += " " + frame_sql(frame, timed)
    over = f"OVER ({over.strip()})"
    args = [f"c{a}" for a in call.args]
    if call.function not in OVER_FUNCTIONS:
        known = aggregate(call.function)
        return known.duckdb(
            args,
            [node.input.schema[a].type for a in call.args],
            distinct=call.distinct,
            order="_place" if known.needs_arrival or repeatable else None,
            over=over,
            result=call.column.type,
            repeatable=repeatable,
            constants=call.constants,
            filter=None if call.filter is None else f"c{call.filter}",
        )
    nulls = " IGNORE NULLS" if call.ignores_nulls else ""
    if call.function in ("LAG", "LEAD"):
        offset, default = call.constants
        args.append(str(offset))
        if default is not None:
            args.append(literal(default, call.column.type))
    elif call.function == "NTILE":
        args = [str(call.constants[0])]
    elif call.function == "NTH_VALUE":
        args.append(f"{call.constants[0]} ORDER BY _place")
    return f"CAST({call.function.lower()}({', '.join(args)}{nulls}) {over} AS {call.column.type.duckdb()})"


def called(calls: tuple[nodes.OverCall, ...]) -> set[UserFunction]:
    """The Python functions that the calls are of."""
    return {f for c in calls if c.function not in OVER_FUNCTIONS for f in aggregate(c.function).called}


def placed(node: nodes.Over, tie: str, source: str, repeatable: bool = False) -> str:
    """`source` with `_place`, where calls go by it: a row's place in its partition, for those that go by order among
    peers of a RANGE frame too."""
    if not any(_goes_by_place(c, repeatable) for c in node.calls):
        return source
    order = ", ".join(x for x in (sort_sql(node.order), tie) if x)
    over = f"OVER ({partition_sql(node.partition)} ORDER BY {order})"
    return f"(SELECT *, row_number() {over} AS _place FROM {source})"


def _goes_by_place(call: nodes.OverCall, repeatable: bool) -> bool:
    if call.function not in OVER_FUNCTIONS:
        return repeatable or aggregate(call.function).needs_arrival
    return OVER_FUNCTIONS[call.function].framed


def frame_sql(frame: nodes.Frame, timed: bool) -> str:
    """The frame of an OVER. `timed`: the order is by a time, so that RANGE's bounds are intervals (µs)."""

    def bound(distance: int | None, side: str, other: str) -> str:
        if distance is None:
            return f"UNBOUNDED {side}"
        if distance == 0:
            return "CURRENT ROW"
        size = f"to_microseconds({abs(distance)})" if frame.unit == "RANGE" and timed else str(abs(distance))
        return f"{size} {side if distance > 0 else other}"

    start, end = (
        bound(frame.preceding, "PRECEDING", "FOLLOWING"),
        bound(frame.following, "FOLLOWING", "PRECEDING"),
    )
    return f"{frame.unit} BETWEEN {start} AND {end}"
