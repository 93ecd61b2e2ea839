"""A logical plan as one DuckDB query: the batch mode, and the oracle that streaming is tested against.

Every node becomes one common table expression with columns c0, c1, …; equal nodes become one. With `watermark`
the query gives what streaming has shown when the watermark stood there (the input is up to the caller): windows
that have closed, OVER rows whose time has passed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import singledispatch

from sqlstream.aggregates.registry import aggregate
from sqlstream.batches import Kind
from sqlstream.connectors.bad_records import FoundBad
from sqlstream.contracts import ScanColumn
from sqlstream.errors import InternalError, NotSupported
from sqlstream.functions.constants import literal
from sqlstream.functions.user import UserFunction
from sqlstream.plan import nodes
from sqlstream.plan.table_binder import PROCTIME_PATH
from sqlstream.rendering.expressions import to_duckdb
from sqlstream.rendering.joins import JOINS
from sqlstream.rendering.overs import called, over_sql, partition_sql, placed, sort_sql
from sqlstream.rendering.scans import ScanSql
from sqlstream.rendering.windows import window_sql
from sqlstream.time_zones import window_zone
from sqlstream.types import WINDOW_ENDS, Schema


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


for _kind, _form in JOINS.items():
    relation.register(_kind, _form)
