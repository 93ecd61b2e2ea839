"""A logical plan as one DuckDB query: the batch mode, and the oracle that streaming is tested against.

Every node becomes one common table expression with columns c0, c1, …; equal nodes become one. With `watermark`
the query gives what streaming has shown when the watermark stood there (the input is up to the caller): windows
that have closed, OVER rows whose time has passed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import singledispatch

import duckdb

from sqlstream.aggregates.registry import aggregate
from sqlstream.batches import Kind
from sqlstream.connectors.bad_records import FoundBad
from sqlstream.connectors.relation import relation_of
from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.errors import InternalError, NotSupported
from sqlstream.expressions import Expr, shift
from sqlstream.formats.conversion import quoted
from sqlstream.functions.constants import literal
from sqlstream.functions.user import UserFunction
from sqlstream.plan import nodes
from sqlstream.plan.nodes.leaves import WATERMARK_PATH
from sqlstream.plan.over_functions import OVER_FUNCTIONS
from sqlstream.plan.table_binder import MADE, PROCTIME_PATH
from sqlstream.rendering.bounds import skip_of
from sqlstream.rendering.expressions import to_duckdb
from sqlstream.time_zones import window_zone
from sqlstream.types import STRING, WINDOW_ENDS, Schema

ScanSql = Callable[[nodes.Scan, bool], str]


class BatchRenderer:
    """Renders one plan: each kind of node as `relation` says.

    scan_sql(scan, arrival) gives a SELECT of c0…, with `_op` where it gives `changes`, with `_ord` when `arrival`.
    zone: the session's.
    used: the Python functions that the SQL calls, once it is rendered.
    tables: where the rows of a RecursiveRef are.
    """

    def __init__(self, scan_sql: ScanSql, watermark: int | None = None, zone: str = "UTC") -> None:
        self.scan_sql = scan_sql
        self.zone = zone
        self.watermark = watermark
        self.used: set[UserFunction] = set()
        self.tables: dict[nodes.RecursiveRef, str] = {}
        self._ctes: list[str] = []
        self._names: dict[tuple[nodes.Node, bool], str] = {}
        self._numbers = itertools.count()
        self._steps: list[
            tuple[nodes.RecursiveRef, list[str]]
        ] = []  # those that are being rendered, with their expressions

    def sql(self, plan: nodes.Node) -> str:
        """One SELECT of the plan's columns c0, c1, …; `used` is complete when it returns."""
        return self.select(plan, "*")

    def select(self, plan: nodes.Node, items: str) -> str:
        """`items` over the plan's columns c0, c1, …"""
        name = self.render(plan, False)
        tables = ",\n     ".join(self._ctes)  # a line each, for who reads EXPLAIN
        return f"WITH {tables}\nSELECT {items} FROM {name}"

    def render(self, node: nodes.Node, arrival: bool) -> str:
        """Name of the node's table expression; it has `_ord` if `arrival`."""
        key = (node, arrival)
        if key not in self._names:
            body = relation(node, self, arrival)
            name = f"n{next(self._numbers)}"
            self._ctes_of(node).append(f"{name} AS ({body})")
            self._names[key] = name
        return self._names[key]

    def _ctes_of(self, node: nodes.Node) -> list[str]:
        """Where its expression stands: within the innermost step whose rows it reads."""
        return next((ctes for ref, ctes in reversed(self._steps) if ref in node.walk()), self._ctes)

    def step(self, node: nodes.Node, ref: nodes.RecursiveRef, name: str) -> str:
        """A SELECT of the node's columns over the rows of `ref`, which are called `name`. What does not read them stands outside."""
        ctes: list[str] = []
        for read in _beside(node, ref):
            # Once, and not for each step: it may be a file.
            whole = self.render(read, False)
            if whole.endswith("m"):
                continue
            self._ctes_of(read).append(f"{whole}m AS MATERIALIZED (SELECT * FROM {whole})")
            self._names[read, False] = f"{whole}m"
        before = set(self._names)
        self._steps.append((ref, ctes))
        self.tables[ref] = name
        last = self.render(node, False)
        self._steps.pop()
        for key in self._names.keys() - before:
            if ref in key[0].walk():
                del self._names[key]
        return f"WITH {', '.join(ctes)} SELECT * FROM {last}"

    def closed(self, schema: Schema, keys: list[str]) -> list[str]:
        """Conditions that windows among the key columns have closed; [] without a watermark."""
        if self.watermark is None:
            return []
        return [self.passed(f"c{i}", mark) for i in range(len(keys)) if (mark := schema[i].time) in WINDOW_ENDS]

    def passed(self, end: str, mark: str | None) -> str:
        """Condition that the window that ends at `end` has closed."""
        assert self.watermark is not None and mark is not None
        return f"epoch_us({end}) <= {window_zone(WINDOW_ENDS[mark], self.zone).passed_at(self.watermark)}"


def _beside(node: nodes.Node, ref: nodes.RecursiveRef) -> Iterator[nodes.Node]:
    """The relations that a step over `ref` reads."""
    if ref not in node.walk():
        yield node
    elif node != ref:
        for i in node.inputs:
            yield from _beside(i, ref)


@singledispatch
def relation(node: nodes.Node, r: BatchRenderer, arrival: bool) -> str:
    """A SELECT of the node's columns c0, c1, … over its inputs' expressions; with `_ord` if `arrival`."""
    raise InternalError(f"batch has no form of {type(node).__name__}")


# ---- leaves


@relation.register(nodes.Scan)
def _scan(node: nodes.Scan, r: BatchRenderer, arrival: bool) -> str:
    body = r.scan_sql(node, arrival)
    if node.predicate is None:
        return body
    return f"SELECT * FROM ({body}) WHERE {to_duckdb(node.predicate, r.used)}"


@relation.register(nodes.BadRecords)
def _bad_records(node: nodes.BadRecords, r: BatchRenderer, arrival: bool) -> str:
    columns = tuple(ScanColumn(PROCTIME_PATH if c.name == "bad_time" else (c.name,), c.type) for c in node.schema)
    found = FoundBad(node.table, node.source)
    return r.scan_sql(nodes.Scan(f"bad records of {node.table}", found, columns, tuple(node.schema.names)), arrival)


@relation.register(nodes.Values)
def _values(node: nodes.Values, r: BatchRenderer, arrival: bool) -> str:
    names = ", ".join(f"c{i}" for i in range(len(node.columns)))
    if not node.rows:
        nulls = ", ".join(f"{literal(None, c.type)} AS c{i}" for i, c in enumerate(node.columns))
        return f"SELECT {nulls} WHERE FALSE"
    rows = ", ".join(
        "("
        + ", ".join(f"CAST({literal(v, c.type)} AS {c.type.duckdb()})" for v, c in zip(row, node.columns, strict=True))
        + ")"
        for row in node.rows
    )
    return f"SELECT * FROM (VALUES {rows}) v({names})"


@relation.register(nodes.ChangelogNormalize)
def _changelog_normalize(node: nodes.ChangelogNormalize, r: BatchRenderer, arrival: bool) -> str:
    columns = ", ".join(f"c{i}" for i in range(len(node.schema)))
    last = f"row_number() OVER ({partition_sql(node.key)} ORDER BY _ord DESC) = 1"
    records = f"SELECT * FROM {r.render(node.input, True)} WHERE _op <> {Kind.UPDATE_BEFORE:d} QUALIFY {last}"
    return f"SELECT {columns} FROM ({records}) WHERE _op <> {Kind.DELETE:d}"


@relation.register(nodes.Versions)
def _versions(node: nodes.Versions, r: BatchRenderer, arrival: bool) -> str:
    width = len(node.input.schema)
    items = [*(f"c{i}" for i in range(width)), f"_op <> {Kind.DELETE:d} AS c{width}", *(["_ord"] if arrival else [])]
    return f"SELECT {', '.join(items)} FROM {r.render(node.input, arrival)} WHERE _op <> {Kind.UPDATE_BEFORE:d}"


# ---- row by row


@relation.register(nodes.Project)
def _project(node: nodes.Project, r: BatchRenderer, arrival: bool) -> str:
    source = r.render(node.input, arrival)
    items = [f"{to_duckdb(e, r.used)} AS c{i}" for i, e in enumerate(node.exprs)]
    return f"SELECT {', '.join(items + (['_ord'] if arrival else []))} FROM {source}"


@relation.register(nodes.Filter)
def _filter(node: nodes.Filter, r: BatchRenderer, arrival: bool) -> str:
    return f"SELECT * FROM {r.render(node.input, arrival)} WHERE {to_duckdb(node.condition, r.used)}"


@relation.register(nodes.BatchTime)
def _batch_time(node: nodes.BatchTime, r: BatchRenderer, arrival: bool) -> str:
    return f"SELECT * FROM {r.render(node.input, arrival)}"


@relation.register(nodes.Window)
def _window(node: nodes.Window, r: BatchRenderer, arrival: bool) -> str:
    source = r.render(node.input, arrival)
    return window_sql(node, source, "_ord" if arrival else None, r.zone)


@relation.register(nodes.Unnest)
def _unnest(node: nodes.Unnest, r: BatchRenderer, arrival: bool) -> str:
    return unnest_sql(node, r.render(node.input, False))


@relation.register(nodes.Expand)
def _expand(node: nodes.Expand, r: BatchRenderer, arrival: bool) -> str:
    source = r.render(node.input, arrival)
    items = []
    for i in range(len(node.schema) - 1):
        ids = [str(n) for columns, n in zip(node.nulled, node.ids, strict=True) if i in columns]
        items.append(f"CASE WHEN _e NOT IN ({', '.join(ids)}) THEN c{i} END AS c{i}" if ids else f"c{i}")
    sets = ", ".join(f"({n})" for n in node.ids)
    items += [f"CAST(_e AS BIGINT) AS c{len(node.schema) - 1}", *(["_ord"] if arrival else [])]
    return f"SELECT {', '.join(items)} FROM {source}, (VALUES {sets}) AS e(_e)"


@relation.register(nodes.RecursiveRef)
def _recursive_ref(node: nodes.RecursiveRef, r: BatchRenderer, arrival: bool) -> str:
    return f"SELECT * FROM {r.tables[node]}"


@relation.register(nodes.Recursion)
def _recursion(node: nodes.Recursion, r: BatchRenderer, arrival: bool) -> str:
    anchor, name = r.render(node.anchor, False), f"r{node.ref.level}"
    step = r.step(node.step, node.ref, name)
    columns = ", ".join(f"c{i}" for i in range(len(node.schema)))
    word = "UNION" if node.distinct else "UNION ALL"
    return f"WITH RECURSIVE {name}({columns}) AS (SELECT * FROM {anchor} {word} ({step})) SELECT * FROM {name}"


@relation.register(nodes.Union)
def _union(node: nodes.Union, r: BatchRenderer, arrival: bool) -> str:
    return " UNION ALL ".join(f"SELECT * FROM {r.render(i, False)}" for i in node.all_inputs)


# ---- groups


@relation.register(nodes.Aggregate)
def _aggregate(node: nodes.Aggregate, r: BatchRenderer, arrival: bool) -> str:
    schema = node.input.schema
    ordered = node.wants_arrival and node.input.knows_arrival
    source = r.render(node.input, ordered)
    items = [f"c{k} AS c{i}" for i, k in enumerate(node.keys)]
    for i, c in enumerate(node.calls):
        known = aggregate(c.function)
        r.used.update(known.called)
        sql = known.duckdb(
            [f"c{a}" for a in c.args],
            [schema[a].type for a in c.args],
            distinct=c.distinct,
            filter=None if c.filter is None else f"c{c.filter}",
            order=", ".join([*([sort_sql(c.order)] if c.order else []), *(["_ord"] if ordered else [])]) or None,
            result=c.column.type,
            constants=c.constants,
        )
        items.append(f"{sql} AS c{len(node.keys) + i}")
    text = f"SELECT {', '.join(items)} FROM {source}"
    if node.keys:
        text += " GROUP BY " + ", ".join(f"c{k}" for k in node.keys)
    closed = r.closed(node.schema, [f"c{k}" for k in node.keys])
    return f"SELECT * FROM ({text}) WHERE {closed[0]}" if closed else text


@relation.register(nodes.Over)
def _over(node: nodes.Over, r: BatchRenderer, arrival: bool) -> str:
    ordered = node.input.knows_arrival
    source = r.render(node.input, ordered)
    width = len(node.input.schema)
    items = [f"c{i}" for i in range(width)]
    tie = "_ord" if ordered else ", ".join(f"c{i}" for i in range(width))
    for i, c in enumerate(node.calls):
        items.append(f"{over_sql(node, c, tie)} AS c{width + i}")
    r.used.update(called(node.calls))
    if arrival:
        items.append("_ord")
    text = f"SELECT {', '.join(items)} FROM {placed(node, tie, source)}"
    if r.watermark is not None and node.in_time_order:
        text = f"SELECT * FROM ({text}) WHERE epoch_us(c{node.order[0].column}) <= {r.watermark}"
    return text


@relation.register(nodes.TopN)
def _topn(node: nodes.TopN, r: BatchRenderer, arrival: bool) -> str:
    ordered = node.input.knows_arrival
    source = r.render(node.input, ordered)
    width = len(node.input.schema)
    tie = ""
    if node.function == "ROW_NUMBER":
        tie = ("_ord" + (" DESC" if node.keeps_last else "")) if ordered else ", ".join(f"c{i}" for i in range(width))
    order = ", ".join(x for x in (sort_sql(node.order), tie) if x)
    over = f"OVER ({partition_sql(node.partition)} ORDER BY {order})"
    items = [f"c{i}" for i in range(width)]
    inner = f"SELECT {', '.join(items)}, {node.function.lower()}() {over} AS _rank FROM {source}"
    if node.rank is not None:
        items.append(f"CAST(_rank AS BIGINT) AS c{width}")
    text = f"SELECT {', '.join(items)} FROM ({inner}) WHERE _rank BETWEEN {node.first} AND {node.last}"
    if r.watermark is not None and node.window_end is not None:
        text += f" AND {r.passed(f'c{node.window_end}', node.input.schema[node.window_end].time)}"
    return text


@relation.register(nodes.Sort)
def _sort(node: nodes.Sort, r: BatchRenderer, arrival: bool) -> str:
    text = f"SELECT * FROM {r.render(node.input, False)}"
    if node.order:
        text += f" ORDER BY {sort_sql(node.order)}"
    if node.limit is not None:
        text += f" LIMIT {node.limit}"
    if node.offset:
        text += f" OFFSET {node.offset}"
    return text


# ---- joins


@relation.register(nodes.Join)
def _join(node: nodes.Join, r: BatchRenderer, arrival: bool) -> str:
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


@relation.register(nodes.LookupJoin)
def _lookupjoin(node: nodes.LookupJoin, r: BatchRenderer, arrival: bool) -> str:
    left, right = r.render(node.input, arrival), r.render(node.lookup, False)
    on = join_condition(node.left_keys, node.right_keys, node.null_safe, node.residual, len(node.input.schema), r.used)
    items = [f"l.c{i} AS c{i}" for i in range(len(node.input.schema))]
    items += [f"r.c{i} AS c{len(node.input.schema) + i}" for i in range(len(node.lookup.schema))]
    if arrival:
        items.append("l._ord")
    return f"SELECT {', '.join(items)} FROM {left} l {node.kind} JOIN {right} r ON {on}"


@relation.register(nodes.SnapshotJoin)
def _snapshot_join(node: nodes.SnapshotJoin, r: BatchRenderer, arrival: bool) -> str:
    width = len(node.input.schema)
    left, right = r.render(node.input, arrival), r.render(node.right, False)
    on = join_condition(node.left_keys, node.right_keys, node.null_safe, node.residual, width, r.used)
    items = [f"l.c{i} AS c{i}" for i in range(width)]
    items += [f"r.c{i} AS c{width + i}" for i in range(len(node.right.schema))]
    items += ["l._ord"] if arrival else []
    return f"SELECT {', '.join(items)} FROM {left} l {node.kind} JOIN {right} r ON {on}"


@relation.register(nodes.TemporalJoin)
def _temporal_join(node: nodes.TemporalJoin, r: BatchRenderer, arrival: bool) -> str:
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


@relation.register(nodes.AsofJoin)
def _asof_join(node: nodes.AsofJoin, r: BatchRenderer, arrival: bool) -> str:
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


# ---- pieces, shared with streaming operators that ask DuckDB


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


def window_sql(node: nodes.Window, source: str, order: str | None = None, zone: str = "UTC") -> str:
    """SELECT of the input's columns, window_start, window_end, window_time; rows without a time are left out.

    zone  the session's: windows over TIMESTAMP_LTZ lie in its local time
    """
    width = len(node.input.schema)
    spec = node.spec
    columns = ", ".join([f"c{i}" for i in range(width)])
    hidden = f", {order}" if order else ""
    time = node.input.schema[node.time_column]
    zoned = time.type.kind == "TIMESTAMP_LTZ"
    local = zoned and not window_zone(node.domain, zone).is_utc
    at = f"timezone({literal(zone, STRING)}, c{node.time_column})" if local else f"c{node.time_column}"
    rows = f"SELECT *, epoch_us({at}) AS _t FROM {source} WHERE c{node.time_column} IS NOT NULL"

    def out(start: str, end: str, inner: str) -> str:
        time = f"{'make_timestamptz' if zoned else 'make_timestamp'}({end} - 1000)"
        if local:
            # A local time that never comes is the jump over it; DuckDB gives it as if clocks had not been put forward.
            name = literal(zone, STRING)
            inner = f"SELECT *, timezone({name}, make_timestamp({end} - 1000)) AS _x FROM ({inner})"
            inner = f"SELECT *, epoch_us(timezone({name}, _x)) - ({end} - 1000) AS _jump FROM ({inner})"
            time = f"_x - to_microseconds(CASE WHEN _jump = 0 THEN 0 ELSE ({end} - 1000) % _jump END)"
        return (
            f"SELECT {columns}, make_timestamp({start}) AS c{width}, make_timestamp({end}) AS c{width + 1}, "
            f"{time} AS c{width + 2}{hidden} FROM ({inner})"
        )

    def floor(step: int) -> str:
        return f"(_t - (((_t - {spec.offset}) % {step}) + {step}) % {step})"

    if spec.kind == "TUMBLE":
        return out("_s", f"(_s + {spec.size})", f"SELECT *, {floor(spec.size)} AS _s FROM ({rows})")
    if spec.kind == "HOP":
        starts = f"SELECT *, unnest(range({floor(spec.slide)}, _t - {spec.size}, -{spec.slide})) AS _s FROM ({rows})"
        return out("_s", f"(_s + {spec.size})", starts)
    if spec.kind == "CUMULATE":
        based = f"SELECT *, {floor(spec.size)} AS _s FROM ({rows})"
        first = f"_s + {spec.slide} * ((_t - _s) // {spec.slide} + 1)"
        return out(
            "_s", "_e", f"SELECT *, unnest(range({first}, _s + {spec.size} + 1, {spec.slide})) AS _e FROM ({based})"
        )
    keys = partition_sql(node.partition)
    first = f"SELECT *, CASE WHEN _t - lag(_t) OVER ({keys} ORDER BY _t) <= {spec.size} THEN 0 ELSE 1 END AS _f FROM ({rows})"
    numbered = f"SELECT *, sum(_f) OVER ({keys} ORDER BY _t RANGE UNBOUNDED PRECEDING) AS _n FROM ({first})"
    by = f"{keys}, _n" if keys else "PARTITION BY _n"
    bounded = f"SELECT *, min(_t) OVER ({by}) AS _s, max(_t) OVER ({by}) + {spec.size} AS _e FROM ({numbered})"
    return out("_s", "_e", bounded)


def unnest_sql(node: nodes.Unnest, source: str) -> str:
    """`source` with a row for each element of a column: the source's columns, then the element's, then its number."""
    width = len(node.input.schema)
    t = node.input.schema[node.column].type
    value = f"c{node.column}" if t.kind == "ARRAY" else f"map_entries(c{node.column})"
    if t.kind == "MULTISET":  # each element as often as it is there
        value = f"flatten(list_transform({value}, lambda e: list_resize([e.key], e.value, e.key)))"
    if node.kind == "LEFT":
        value = f"CASE WHEN len({value}) > 0 THEN {value} ELSE [NULL] END"
    inner = f"SELECT *, unnest({value}) AS _x"
    if node.ordinality:
        inner += f", unnest(range(1, greatest(len({value}), 0) + 1)) AS _o"
    inner += f" FROM {source}"
    items = [f"c{i}" for i in range(width)]
    parts = len(node.columns)
    if parts == 1 and not (t.kind != "MAP" and t.element.kind == "ROW"):
        items.append(f"_x AS c{width}")
    else:
        items += [f"struct_extract_at(_x, {i + 1}) AS c{width + i}" for i in range(parts)]
    if node.ordinality:
        items.append(f"CAST(_o AS INTEGER) AS c{width + parts}")
    return f"SELECT {', '.join(items)} FROM ({inner})"


def scan_request(node: nodes.Scan, zone: str) -> ScanRequest:
    """What a scan decodes, in the session's zone: its stored columns (a request for none gives rows all the same)."""
    stored = [i for i, c in enumerate(node.columns) if c.path not in MADE]
    kept = None if node.predicate is None else shift(node.predicate, stored.index)
    return ScanRequest(tuple(node.columns[i] for i in stored), zone=zone, skip=skip_of(kept, None), filter=kept)


def source_sql(connection: duckdb.DuckDBPyConnection | None, proctime: int, zone: str = "UTC") -> ScanSql:
    """Scans as the connectors give them to DuckDB; PROCTIME() is `proctime` (µs), read once; `zone`: the session's.

    Without a connection scans only name their tables, and nothing is looked for: that is what EXPLAIN shows.
    """

    def scan(node: nodes.Scan, arrival: bool) -> str:
        stored = [(i, c) for i, c in enumerate(node.columns) if c.path not in MADE]
        relation = quoted(node.table)
        if connection is not None:
            relation = relation_of(node.source, connection, scan_request(node, zone))
        items = {i: f"c{n} AS c{i}" for n, (i, _) in enumerate(stored)}
        for i, c in enumerate(node.columns):
            if c.path == PROCTIME_PATH:
                items[i] = f"make_timestamptz({proctime} - {proctime} % 1000) AS c{i}"
            elif c.path == WATERMARK_PATH:
                items[i] = f"CAST(NULL AS {c.type.duckdb()}) AS c{i}"
        text = f"SELECT {', '.join(items[i] for i in range(len(node.columns)))}"
        if node.changes:
            text += ", _op"
        if arrival:
            text += ", row_number() OVER () AS _ord"
        if not (node.source.append_only or node.changes):
            relation = net_sql(relation, len(stored))
        return f"{text} FROM {relation}"

    return scan


def no_scans(node: nodes.Scan, arrival: bool) -> str:
    """For plans without tables."""
    raise InternalError(f"a scan of {node.table} where none can be")


def net_sql(relation: str, width: int) -> str:
    """The rows that the changes of a changelog without a key leave: each as often as it was added and not taken back."""
    columns = ", ".join(f"c{i}" for i in range(width))
    count = f"CAST(sum(CASE WHEN _op IN ({Kind.INSERT:d}, {Kind.UPDATE_AFTER:d}) THEN 1 ELSE -1 END) AS BIGINT) AS _n"
    if not columns:
        return f"(SELECT unnest(range(_n)) FROM (SELECT {count} FROM {relation}))"
    return f"(SELECT {columns}, unnest(range(_n)) FROM (SELECT {columns}, {count} FROM {relation} GROUP BY {columns}))"


@relation.register(nodes.ProcessTableFunction)
@relation.register(nodes.ToChangelog)
@relation.register(nodes.FromChangelog)
def _stream_only(node: nodes.Node, r: BatchRenderer, arrival: bool) -> str:
    what = (
        f"process table function {node.function}"
        if isinstance(node, nodes.ProcessTableFunction)
        else type(node).__name__
    )
    raise NotSupported(
        f"{what} runs as a stream only: it cannot be in a table that is looked up",
        hint="write its rows to a table with INSERT INTO, and look that up",
    )
