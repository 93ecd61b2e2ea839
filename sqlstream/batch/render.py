"""A logical plan as one DuckDB query: the batch mode, and the oracle that streaming is tested against.

Every node becomes one common table expression with columns c0, c1, …; equal nodes become one. With `watermark`
the query gives what streaming has shown when the watermark stood there (the input is up to the caller): windows
that have closed, OVER rows whose time has passed.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from sqlstream.batches import Kind
from sqlstream.connectors.base import ScanRequest
from sqlstream.errors import InternalError
from sqlstream.expressions import Expr
from sqlstream.formats.conversion import quoted
from sqlstream.functions.aggregates import AGGREGATES
from sqlstream.functions.render import literal, to_duckdb
from sqlstream.plan import nodes
from sqlstream.plan.arrival import knows_arrival
from sqlstream.plan.table_binder import PROCTIME_PATH
from sqlstream.plan.time_bounds import time_bounds
from sqlstream.time_zones import window_zone
from sqlstream.types import PROCTIME, ROWTIME, STRING, WINDOW_ENDS, Schema

ScanSql = Callable[[nodes.Scan, bool], str]


class BatchRenderer:
    """Renders one plan. `scan_sql(scan, arrival)` gives a SELECT of c0…, with `_ord` when `arrival`. `zone`: the session's."""

    def __init__(self, scan_sql: ScanSql, watermark: int | None = None, zone: str = "UTC") -> None:
        self._scan_sql = scan_sql
        self._zone = zone
        self._watermark = watermark
        self._ctes: list[str] = []
        self._names: dict[tuple[nodes.Node, bool], str] = {}

    def sql(self, plan: nodes.Node) -> str:
        return self.select(plan, "*")

    def select(self, plan: nodes.Node, items: str) -> str:
        """`items` over the plan's columns c0, c1, …"""
        name = self._render(plan, False)
        return f"WITH {', '.join(self._ctes)} SELECT {items} FROM {name}"

    def _render(self, node: nodes.Node, arrival: bool) -> str:
        """Name of the node's table expression; it has `_ord` if `arrival`."""
        key = (node, arrival)
        if key not in self._names:
            body = self._body(node, arrival)
            name = f"n{len(self._ctes)}"
            self._ctes.append(f"{name} AS ({body})")
            self._names[key] = name
        return self._names[key]

    def _body(self, node: nodes.Node, arrival: bool) -> str:
        method = getattr(self, "_" + type(node).__name__.lower(), None)
        if method is None:
            raise InternalError(f"batch has no form of {type(node).__name__}")
        return str(method(node, arrival))

    # ---- leaves

    def _scan(self, node: nodes.Scan, arrival: bool) -> str:
        body = self._scan_sql(node, arrival)
        if node.predicate is None:
            return body
        return f"SELECT * FROM ({body}) WHERE {to_duckdb(node.predicate)}"

    def _values(self, node: nodes.Values, arrival: bool) -> str:
        names = ", ".join(f"c{i}" for i in range(len(node.columns)))
        if not node.rows:
            nulls = ", ".join(f"{literal(None, c.type)} AS c{i}" for i, c in enumerate(node.columns))
            return f"SELECT {nulls} WHERE FALSE"
        rows = ", ".join(
            "(" + ", ".join(f"CAST({literal(v, c.type)} AS {c.type.duckdb()})" for v, c in zip(row, node.columns, strict=True)) + ")"
            for row in node.rows
        )
        return f"SELECT * FROM (VALUES {rows}) v({names})"

    # ---- row by row

    def _project(self, node: nodes.Project, arrival: bool) -> str:
        source = self._render(node.input, arrival)
        items = [f"{to_duckdb(e)} AS c{i}" for i, e in enumerate(node.exprs)]
        return f"SELECT {', '.join(items + (['_ord'] if arrival else []))} FROM {source}"

    def _filter(self, node: nodes.Filter, arrival: bool) -> str:
        return f"SELECT * FROM {self._render(node.input, arrival)} WHERE {to_duckdb(node.condition)}"

    def _window(self, node: nodes.Window, arrival: bool) -> str:
        source = self._render(node.input, arrival)
        return window_sql(node, source, "_ord" if arrival else None, self._zone)

    def _unnest(self, node: nodes.Unnest, arrival: bool) -> str:
        return unnest_sql(node, self._render(node.input, False))

    def _union(self, node: nodes.Union, arrival: bool) -> str:
        return " UNION ALL ".join(f"SELECT * FROM {self._render(i, False)}" for i in node.all_inputs)

    # ---- groups

    def _aggregate(self, node: nodes.Aggregate, arrival: bool) -> str:
        schema = node.input.schema
        ordered = any(AGGREGATES[c.function].needs_arrival for c in node.calls) and knows_arrival(node.input)
        source = self._render(node.input, ordered)
        items = [f"c{k} AS c{i}" for i, k in enumerate(node.keys)]
        for i, c in enumerate(node.calls):
            sql = AGGREGATES[c.function].duckdb(
                [f"c{a}" for a in c.args],
                [schema[a].type for a in c.args],
                distinct=c.distinct,
                filter=None if c.filter is None else f"c{c.filter}",
                order="_ord" if ordered else None,
                result=c.column.type,
            )
            items.append(f"{sql} AS c{len(node.keys) + i}")
        text = f"SELECT {', '.join(items)} FROM {source}"
        if node.keys:
            text += " GROUP BY " + ", ".join(f"c{k}" for k in node.keys)
        closed = self._closed(node.schema, [f"c{k}" for k in node.keys])
        return f"SELECT * FROM ({text}) WHERE {closed[0]}" if closed else text

    def _closed(self, schema: Schema, keys: list[str]) -> list[str]:
        """Conditions that windows among the key columns have closed; [] without a watermark."""
        if self._watermark is None:
            return []
        return [self._passed(f"c{i}", mark) for i in range(len(keys)) if (mark := schema[i].time) in WINDOW_ENDS]

    def _passed(self, end: str, mark: str | None) -> str:
        """Condition that the window that ends at `end` has closed."""
        assert self._watermark is not None and mark is not None
        return f"epoch_us({end}) <= {window_zone(WINDOW_ENDS[mark], self._zone).passed_at(self._watermark)}"

    def _over(self, node: nodes.Over, arrival: bool) -> str:
        ordered = knows_arrival(node.input)
        source = self._render(node.input, ordered)
        width = len(node.input.schema)
        items = [f"c{i}" for i in range(width)]
        tie = "_ord" if ordered else ", ".join(f"c{i}" for i in range(width))
        for i, c in enumerate(node.calls):
            items.append(f"{over_sql(node, c, tie)} AS c{width + i}")
        if arrival:
            items.append("_ord")
        text = f"SELECT {', '.join(items)} FROM {source}"
        if self._watermark is not None and node.order:
            first = node.order[0].column
            if node.input.schema[first].time in (ROWTIME, PROCTIME):
                text = f"SELECT * FROM ({text}) WHERE epoch_us(c{first}) <= {self._watermark}"
        return text

    def _topn(self, node: nodes.TopN, arrival: bool) -> str:
        ordered = knows_arrival(node.input)
        source = self._render(node.input, ordered)
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
        return f"SELECT {', '.join(items)} FROM ({inner}) WHERE _rank BETWEEN {node.first} AND {node.last}"

    def _sort(self, node: nodes.Sort, arrival: bool) -> str:
        text = f"SELECT * FROM {self._render(node.input, False)}"
        if node.order:
            text += f" ORDER BY {sort_sql(node.order)}"
        if node.limit is not None:
            text += f" LIMIT {node.limit}"
        if node.offset:
            text += f" OFFSET {node.offset}"
        return text

    # ---- joins

    def _join(self, node: nodes.Join, arrival: bool) -> str:
        left, right = self._render(node.left, False), self._render(node.right, False)
        on = join_condition(node.left_keys, node.right_keys, node.null_safe, node.residual, len(node.left.schema))
        if node.kind in ("SEMI", "ANTI"):
            word = "EXISTS" if node.kind == "SEMI" else "NOT EXISTS"
            text = f"SELECT l.* FROM {left} l WHERE {word} (SELECT 1 FROM {right} r WHERE {on})"
        else:
            items = [f"l.c{i} AS c{i}" for i in range(len(node.left.schema))]
            items += [f"r.c{i} AS c{len(node.left.schema) + i}" for i in range(len(node.right.schema))]
            text = f"SELECT {', '.join(items)} FROM {left} l {node.kind} JOIN {right} r ON {on}"
        pair = node.windowed
        if self._watermark is None:
            return text
        if pair is None:
            return self._timed_join(node, left, right, on) or text
        a = f"c{pair[0]}"
        end = a if node.kind in ("SEMI", "ANTI") else f"coalesce({a}, c{len(node.left.schema) + pair[1]})"
        return f"SELECT * FROM ({text}) WHERE {self._passed(end, node.left.schema[pair[0]].time)}"

    def _timed_join(self, node: nodes.Join, left: str, right: str, on: str) -> str | None:
        """An outer interval join: an unmatched row shows once no row that is still to come can match it."""
        bounds = time_bounds(node.residual, node.left.schema, node.right.schema)
        if bounds is None or node.kind not in ("LEFT", "RIGHT", "FULL"):
            return None

        def done(side: str, keys: tuple[int, ...], time: int, reach: int) -> str:
            c = f"{side}.c{time}"
            never = [f"{side}.c{k} IS NULL" for k, safe in zip(keys, node.null_safe, strict=True) if not safe]
            return " OR ".join([*never, f"{c} IS NULL", f"epoch_us({c}) + {reach} < {self._watermark}"])

        items = [f"l.c{i} AS c{i}" for i in range(len(node.left.schema))]
        items += [f"r.c{i} AS c{len(node.left.schema) + i}" for i in range(len(node.right.schema))]
        sides = [f"(SELECT *, TRUE AS _there FROM {x})" for x in (left, right)]
        return (
            f"SELECT {', '.join(items)} FROM {sides[0]} l {node.kind} JOIN {sides[1]} r ON {on} "
            "WHERE l._there AND r._there "
            f"OR r._there IS NULL AND ({done('l', node.left_keys, bounds.left_time, -bounds.lower)}) "
            f"OR l._there IS NULL AND ({done('r', node.right_keys, bounds.right_time, bounds.upper)})"
        )

    def _lookupjoin(self, node: nodes.LookupJoin, arrival: bool) -> str:
        left, right = self._render(node.input, arrival), self._render(node.lookup, False)
        on = join_condition(
            node.left_keys, node.right_keys, (False,) * len(node.left_keys), node.residual, len(node.input.schema)
        )
        items = [f"l.c{i} AS c{i}" for i in range(len(node.input.schema))]
        items += [f"r.c{i} AS c{len(node.input.schema) + i}" for i in range(len(node.lookup.schema))]
        if arrival:
            items.append("l._ord")
        return f"SELECT {', '.join(items)} FROM {left} l {node.kind} JOIN {right} r ON {on}"


# ---- pieces, shared with streaming operators that ask DuckDB


def join_condition(
    left_keys: tuple[int, ...], right_keys: tuple[int, ...], null_safe: tuple[bool, ...], residual: Expr | None, width: int
) -> str:
    """ON of a join between `l` and `r`."""
    parts = [
        f"l.c{a} {'IS NOT DISTINCT FROM' if s else '='} r.c{b}"
        for a, b, s in zip(left_keys, right_keys, null_safe, strict=True)
    ]
    if residual is not None:
        parts.append(to_duckdb(residual, lambda i: f"l.c{i}" if i < width else f"r.c{i - width}"))
    return " AND ".join(parts) or "TRUE"


def sort_sql(order: tuple[nodes.SortKey, ...]) -> str:
    return ", ".join(
        f"c{k.column} {'ASC' if k.ascending else 'DESC'} NULLS {'FIRST' if k.nulls_first else 'LAST'}" for k in order
    )


def partition_sql(partition: tuple[int, ...]) -> str:
    return "PARTITION BY " + ", ".join(f"c{p}" for p in partition) if partition else ""


def over_sql(node: nodes.Over, call: nodes.OverCall, tie: str) -> str:
    """One OVER call. `tie` orders equal rows where their order shows: ROWS frames, ROW_NUMBER, LAG, LEAD."""
    frame = call.frame
    row_based = frame.unit == "ROWS" if frame is not None else call.function in ("ROW_NUMBER", "LAG", "LEAD", "NTILE")
    order = sort_sql(node.order)
    if row_based and order:
        order = f"{order}, {tie}"
    over = partition_sql(node.partition) + (f" ORDER BY {order}" if order else "")
    if frame is not None:
        timed = bool(node.order) and node.input.schema[node.order[0].column].type.is_timestamp
        over += " " + frame_sql(frame, timed)
    over = f"OVER ({over.strip()})"
    args = [f"c{a}" for a in call.args]
    if call.function in AGGREGATES:
        return AGGREGATES[call.function].duckdb(
            args,
            [node.input.schema[a].type for a in call.args],
            distinct=call.distinct,
            order=_over_arrival(node, call, tie),
            over=over,
            result=call.column.type,
        )
    if call.function in ("LAG", "LEAD"):
        offset, default = call.constants
        args.append(str(offset))
        if default is not None:
            args.append(literal(default, call.column.type))
    elif call.function == "NTILE":
        args = [str(call.constants[0])]
    return f"CAST({call.function.lower()}({', '.join(args)}) {over} AS {call.column.type.duckdb()})"


def _over_arrival(node: nodes.Over, call: nodes.OverCall, tie: str) -> str | None:
    """What FIRST_VALUE and the like go by among rows of equal time: arrival, where it is known."""
    if not AGGREGATES[call.function].needs_arrival or tie != "_ord" or not node.order or not node.order[0].ascending:
        return None
    return f"(c{node.order[0].column}, _ord)"


def frame_sql(frame: nodes.Frame, timed: bool) -> str:
    if frame.preceding is None:
        start = "UNBOUNDED PRECEDING"
    elif frame.preceding == 0:
        start = "CURRENT ROW"
    elif frame.unit == "RANGE" and timed:
        start = f"to_microseconds({frame.preceding}) PRECEDING"
    else:
        start = f"{frame.preceding} PRECEDING"
    end = "UNBOUNDED FOLLOWING" if frame.following is None else "CURRENT ROW"
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
        return out("_s", "_e", f"SELECT *, unnest(range({first}, _s + {spec.size} + 1, {spec.slide})) AS _e FROM ({based})")
    keys = partition_sql(node.partition)
    first = f"SELECT *, CASE WHEN _t - lag(_t) OVER ({keys} ORDER BY _t) <= {spec.size} THEN 0 ELSE 1 END AS _f FROM ({rows})"
    numbered = f"SELECT *, sum(_f) OVER ({keys} ORDER BY _t RANGE UNBOUNDED PRECEDING) AS _n FROM ({first})"
    by = f"{keys}, _n" if keys else "PARTITION BY _n"
    bounded = f"SELECT *, min(_t) OVER ({by}) AS _s, max(_t) OVER ({by}) + {spec.size} AS _e FROM ({numbered})"
    return out("_s", "_e", bounded)


def unnest_sql(node: nodes.Unnest, source: str) -> str:
    width = len(node.input.schema)
    t = node.input.schema[node.column].type
    value = f"c{node.column}" if t.kind == "ARRAY" else f"map_entries(c{node.column})"
    if node.kind == "LEFT":
        value = f"CASE WHEN len({value}) > 0 THEN {value} ELSE [NULL] END"
    inner = f"SELECT *, unnest({value}) AS _x"
    if node.ordinality:
        inner += f", unnest(range(1, greatest(len({value}), 0) + 1)) AS _o"
    inner += f" FROM {source}"
    items = [f"c{i}" for i in range(width)]
    parts = len(node.columns)
    if parts == 1 and not (t.kind == "ARRAY" and t.element.kind == "ROW"):
        items.append(f"_x AS c{width}")
    else:
        items += [f"struct_extract_at(_x, {i + 1}) AS c{width + i}" for i in range(parts)]
    if node.ordinality:
        items.append(f"CAST(_o AS INTEGER) AS c{width + parts}")
    return f"SELECT {', '.join(items)} FROM ({inner})"


def scan_request(node: nodes.Scan) -> ScanRequest:
    """What a scan decodes: its stored columns (a request for none gives rows all the same)."""
    return ScanRequest(tuple(c for c in node.columns if c.path != PROCTIME_PATH))


def source_sql(connection: duckdb.DuckDBPyConnection | None, proctime: int) -> ScanSql:
    """Scans as the connectors give them to DuckDB; PROCTIME() is `proctime` (µs), read once.

    Without a connection scans only name their tables, and nothing is looked for: that is what EXPLAIN shows.
    """

    def scan(node: nodes.Scan, arrival: bool) -> str:
        stored = [(i, c) for i, c in enumerate(node.columns) if c.path != PROCTIME_PATH]
        relation = quoted(node.table)
        if connection is not None:
            relation = node.source.relation(connection, scan_request(node))
        items = {i: f"c{n} AS c{i}" for n, (i, _) in enumerate(stored)}
        for i, c in enumerate(node.columns):
            if c.path == PROCTIME_PATH:
                items[i] = f"make_timestamptz({proctime} - {proctime} % 1000) AS c{i}"
        text = f"SELECT {', '.join(items[i] for i in range(len(node.columns)))}"
        if arrival:
            text += ", row_number() OVER () AS _ord"
        if not node.source.append_only:
            relation = net_sql(relation, len(stored))
        return f"{text} FROM {relation}"

    return scan


def net_sql(relation: str, width: int) -> str:
    """The rows that the changes of a changelog leave: each as often as it was added and not taken back."""
    columns = ", ".join(f"c{i}" for i in range(width))
    count = f"CAST(sum(CASE WHEN _op IN ({Kind.INSERT:d}, {Kind.UPDATE_AFTER:d}) THEN 1 ELSE -1 END) AS BIGINT) AS _n"
    if not columns:
        return f"(SELECT unnest(range(_n)) FROM (SELECT {count} FROM {relation}))"
    return f"(SELECT {columns}, unnest(range(_n)) FROM (SELECT {columns}, {count} FROM {relation} GROUP BY {columns}))"
