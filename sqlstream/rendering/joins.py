"""Joins as SELECTs over the expressions of their inputs, for `relations`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sqlstream.expressions import Expr
from sqlstream.functions.user import UserFunction
from sqlstream.plan import nodes
from sqlstream.rendering.expressions import to_duckdb
from sqlstream.rendering.overs import partition_sql

if TYPE_CHECKING:
    from sqlstream.rendering.relations import BatchRenderer


def join(node: nodes.Join, r: BatchRenderer, arrival: bool) -> str:
    """A match of equal keys and what else ON says; with a watermark what a stream has shown by then."""
    left, right = r.render(node.left, False), r.render(node.right, False)
    on = join_condition(node.left_keys, node.right_keys, node.null_safe, node.residual, len(node.left.schema), r.used)
    if node.kind in ("SEMI", "ANTI"):
        word = "EXISTS" if node.kind == "SEMI" else "NOT EXISTS"
        text = f"SELECT l.* FROM {left} l WHERE {word} (SELECT 1 FROM {right} r WHERE {on})"
    else:
        items = [f"l.c{i} AS c{i}" for i in range(len(node.left.schema))]
        items += [f"r.c{i} AS c{len(node.left.schema) + i}" for i in range(len(node.right.schema))]
        text = f"SELECT {', '.join(items)} FROM {left} l {node.kind} JOIN {right} r ON {on}"
    pair = node.windowed
    if r.watermark is None:
        return text
    if pair is None:
        return _timed_join(r, node, left, right, on) or text
    a = f"c{pair[0]}"
    end = a if node.kind in ("SEMI", "ANTI") else f"coalesce({a}, c{len(node.left.schema) + pair[1]})"
    return f"SELECT * FROM ({text}) WHERE {r.passed(end, node.left.schema[pair[0]].time)}"


def lookup_join(node: nodes.LookupJoin, r: BatchRenderer, arrival: bool) -> str:
    """With a table that is asked for what it holds."""
    left, right = r.render(node.input, arrival), r.render(node.lookup, False)
    on = join_condition(node.left_keys, node.right_keys, node.null_safe, node.residual, len(node.input.schema), r.used)
    items = [f"l.c{i} AS c{i}" for i in range(len(node.input.schema))]
    items += [f"r.c{i} AS c{len(node.input.schema) + i}" for i in range(len(node.lookup.schema))]
    if arrival:
        items.append("l._ord")
    return f"SELECT {', '.join(items)} FROM {left} l {node.kind} JOIN {right} r ON {on}"


def snapshot_join(node: nodes.SnapshotJoin, r: BatchRenderer, arrival: bool) -> str:
    """With what a table of files holds."""
    width = len(node.input.schema)
    left, right = r.render(node.input, arrival), r.render(node.right, False)
    on = join_condition(node.left_keys, node.right_keys, node.null_safe, node.residual, width, r.used)
    items = [f"l.c{i} AS c{i}" for i in range(width)]
    items += [f"r.c{i} AS c{width + i}" for i in range(len(node.right.schema))]
    items += ["l._ord"] if arrival else []
    return f"SELECT {', '.join(items)} FROM {left} l {node.kind} JOIN {right} r ON {on}"


def temporal_join(node: nodes.TemporalJoin, r: BatchRenderer, arrival: bool) -> str:
    """With the version of a table that held at the row's time."""
    ordered, width = node.right.knows_arrival, len(node.input.schema)
    left, right = r.render(node.input, arrival), r.render(node.right, ordered)
    # ASOF takes `=` alone; in structs NULL equals NULL.
    pairs = zip(node.left_keys, node.right_keys, node.null_safe, strict=True)
    on = [f"row(l.c{a}) = row(r.c{b})" if safe else f"l.c{a} = r.c{b}" for a, b, safe in pairs]
    on.append(f"l.c{node.left_time} >= r.c{node.right_time}")
    tie = "_ord DESC" if ordered else ", ".join(f"c{i}" for i in range(len(node.right.schema)))
    last = f"row_number() OVER ({partition_sql((*node.right_keys, node.right_time))} ORDER BY {tie}) = 1"
    versions = f"(SELECT * FROM {right} WHERE c{node.right_time} IS NOT NULL QUALIFY {last})"
    there = [f"r.c{node.right_time} IS NOT NULL"] + ([] if node.there is None else [f"r.c{node.there}"])
    holds = " AND ".join([*there, join_condition((), (), (), node.residual, width, r.used)])
    items = [f"l.c{i} AS c{i}" for i in range(width)]
    items += [f"r.c{i} AS c{width + i}" for i in range(len(node.right.schema))]
    hidden = ["_ord"] if arrival else []
    items += [*(f"l.{h}" for h in hidden), f"{holds} AS _holds"]
    pairs_sql = f"SELECT {', '.join(items)} FROM {left} l ASOF LEFT JOIN {versions} r ON {' AND '.join(on)}"
    given = [f"c{i}" for i in range(width)]
    if node.kind == "INNER":
        given += [f"c{i}" for i in range(width, len(node.schema))]
    else:
        given += [f"CASE WHEN _holds THEN c{i} END AS c{i}" for i in range(width, len(node.schema))]
    where = ["_holds"] if node.kind == "INNER" else []
    if r.watermark is not None:
        where.append(f"(c{node.left_time} IS NULL OR epoch_us(c{node.left_time}) <= {r.watermark})")
    text = f"SELECT {', '.join([*given, *hidden])} FROM ({pairs_sql})"
    return f"{text} WHERE {' AND '.join(where)}" if where else text


def asof_join(node: nodes.AsofJoin, r: BatchRenderer, arrival: bool) -> str:
    """With the row that is nearest in time."""
    width, right_width = len(node.input.schema), len(node.right.schema)
    left, right = r.render(node.input, arrival), r.render(node.right, False)
    pairs = zip(node.left_keys, node.right_keys, node.null_safe, strict=True)
    # ASOF takes `=` alone; in structs NULL equals NULL.
    on = [f"row(l.c{a}) = row(r.c{b})" if safe else f"l.c{a} = r.c{b}" for a, b, safe in pairs]
    on.append(f"l.c{node.left_time} {node.comparison} r.c{node.right_time}")
    # DuckDB would take any of equal times
    tie = ", ".join(f"c{i} ASC NULLS LAST" for i in range(right_width))
    first = f"row_number() OVER ({partition_sql((*node.right_keys, node.right_time))} ORDER BY {tie}) = 1"
    nearest = f"(SELECT * FROM {right} WHERE c{node.right_time} IS NOT NULL QUALIFY {first})"
    items = [f"l.c{i} AS c{i}" for i in range(width)] + [f"r.c{i} AS c{width + i}" for i in range(right_width)]
    items += ["l._ord"] if arrival else []
    text = f"SELECT {', '.join(items)} FROM {left} l ASOF {node.kind} JOIN {nearest} r ON {' AND '.join(on)}"
    if r.watermark is None or not node.timed:
        return text
    if node.backward:
        return f"SELECT * FROM ({text}) WHERE c{node.left_time} IS NULL OR epoch_us(c{node.left_time}) <= {r.watermark}"
    keys = zip(node.left_keys, node.null_safe, strict=True)
    never = " OR ".join(f"c{k} IS NULL" for k in (*(k for k, safe in keys if not safe), node.left_time))
    answer = f"c{width + node.right_time}"
    return f"SELECT * FROM ({text}) WHERE epoch_us({answer}) <= {r.watermark} OR {answer} IS NULL AND ({never})"


def _timed_join(r: BatchRenderer, node: nodes.Join, left: str, right: str, on: str) -> str | None:
    """An outer interval join: an unmatched row shows once no row that is still to come can match it."""
    bounds = node.bounds
    if bounds is None or node.kind not in ("LEFT", "RIGHT", "FULL"):
        return None

    def done(side: str, keys: tuple[int, ...], time: int, reach: int) -> str:
        c = f"{side}.c{time}"
        never = [f"{side}.c{k} IS NULL" for k, safe in zip(keys, node.null_safe, strict=True) if not safe]
        return " OR ".join([*never, f"{c} IS NULL", f"epoch_us({c}) + {reach} < {r.watermark}"])

    items = [f"l.c{i} AS c{i}" for i in range(len(node.left.schema))]
    items += [f"r.c{i} AS c{len(node.left.schema) + i}" for i in range(len(node.right.schema))]
    sides = [f"(SELECT *, TRUE AS _there FROM {x})" for x in (left, right)]
    return (
        f"SELECT {', '.join(items)} FROM {sides[0]} l {node.kind} JOIN {sides[1]} r ON {on} "
        "WHERE l._there AND r._there "
        f"OR r._there IS NULL AND ({done('l', node.left_keys, bounds.left_time, -bounds.lower)}) "
        f"OR l._there IS NULL AND ({done('r', node.right_keys, bounds.right_time, bounds.upper)})"
    )


def join_condition(
    left_keys: tuple[int, ...],
    right_keys: tuple[int, ...],
    null_safe: tuple[bool, ...],
    residual: Expr | None,
    width: int,
    used: set[UserFunction],
) -> str:
    """ON of a join between `l` and `r`."""
    parts = [
        f"l.c{a} {'IS NOT DISTINCT FROM' if s else '='} r.c{b}"
        for a, b, s in zip(left_keys, right_keys, null_safe, strict=True)
    ]
    if residual is not None:
        parts.append(to_duckdb(residual, used, lambda i: f"l.c{i}" if i < width else f"r.c{i - width}"))
    return " AND ".join(parts) or "TRUE"


# Which of them renders which node, as `relation` is registered.
JOINS: Mapping[type[nodes.Node], Callable[..., str]] = {
    nodes.Join: join,
    nodes.LookupJoin: lookup_join,
    nodes.SnapshotJoin: snapshot_join,
    nodes.TemporalJoin: temporal_join,
    nodes.AsofJoin: asof_join,
}
