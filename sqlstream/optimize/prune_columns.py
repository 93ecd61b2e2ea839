"""Only columns that somebody reads are kept; of a ROW column only the fields that are read are decoded."""

from __future__ import annotations

from dataclasses import replace

from sqlstream.connectors.base import ScanColumn
from sqlstream.expressions import Column, Expr, FieldOf, shift
from sqlstream.plan import nodes
from sqlstream.plan.joins import keep
from sqlstream.types import WINDOW_ENDS

Mapping = dict[int, int]  # old position -> new position


def prune_columns(plan: nodes.Node) -> nodes.Node:
    width = len(plan.schema)
    made, at = _prune(plan, set(range(width)))
    if len(made.schema) == width and all(at[i] == i for i in range(width)):
        return made
    return _named(keep(made, [at[i] for i in range(width)]), plan)


def _named(made: nodes.Node, like: nodes.Node) -> nodes.Node:
    assert isinstance(made, nodes.Project)
    return replace(made, columns=like.schema.columns)


def _prune(node: nodes.Node, needed: set[int]) -> tuple[nodes.Node, Mapping]:
    """`node` with at least the columns `needed`, and where they are now."""
    if not needed:
        needed = {0}
    if isinstance(node, nodes.Scan):
        return _scan(node, needed)
    if isinstance(node, nodes.Values):
        order = sorted(needed)
        rows = tuple(tuple(r[i] for i in order) for r in node.rows)
        return nodes.Values(tuple(node.columns[i] for i in order), rows), _map(order)
    if isinstance(node, nodes.Project):
        return _project(node, needed)
    if isinstance(node, nodes.Filter):
        below, at = _prune(node.input, needed | node.condition.columns())
        return nodes.Filter(below, _moved(node.condition, at)), at
    if isinstance(node, nodes.Window):
        return _window(node, needed)
    if isinstance(node, nodes.Aggregate):
        return _aggregate(node, needed)
    if isinstance(node, (nodes.Join, nodes.LookupJoin)):
        return _join(node, needed)
    if isinstance(node, nodes.Over):
        return _over(node, needed)
    if isinstance(node, nodes.TopN):
        width = len(node.input.schema)
        reads = {i for i in needed if i < width} | set(node.partition) | {k.column for k in node.order}
        below, at = _prune(node.input, reads)
        rank = node.rank if width in needed else None
        made = replace(node, input=below, partition=_all(node.partition, at), order=_order(node.order, at), rank=rank)
        return made, at if rank is None else {**at, width: len(below.schema)}
    if isinstance(node, nodes.Sort):
        below, at = _prune(node.input, needed | {k.column for k in node.order})
        return replace(node, input=below, order=_order(node.order, at)), at
    if isinstance(node, nodes.Union):
        order = sorted(needed)
        inputs = []
        for i in node.all_inputs:
            below, at = _prune(i, needed)
            exact = len(below.schema) == len(order) and all(at[c] == n for n, c in enumerate(order))
            inputs.append(below if exact else keep(below, [at[c] for c in order]))
        return nodes.Union(tuple(inputs)), _map(order)
    if isinstance(node, nodes.Unnest):
        width = len(node.input.schema)
        below, at = _prune(node.input, {i for i in needed if i < width} | {node.column})
        new = len(below.schema)
        made_unnest = replace(node, input=below, column=at[node.column])
        return made_unnest, {**at, **{width + i: new + i for i in range(len(node.schema) - width)}}
    raise AssertionError(f"prune_columns: {type(node).__name__}")


def _map(order: list[int]) -> Mapping:
    return {old: new for new, old in enumerate(order)}


def _moved(e: Expr, at: Mapping) -> Expr:
    return shift(e, lambda i: at[i])


def _all(columns: tuple[int, ...], at: Mapping) -> tuple[int, ...]:
    return tuple(at[c] for c in columns)


def _order(keys: tuple[nodes.SortKey, ...], at: Mapping) -> tuple[nodes.SortKey, ...]:
    return tuple(replace(k, column=at[k.column]) for k in keys)


def _scan(node: nodes.Scan, needed: set[int]) -> tuple[nodes.Node, Mapping]:
    reads = set(needed)
    for e in (node.watermark, node.predicate):
        if e is not None:
            reads |= e.columns()
    order = sorted(reads)
    at = _map(order)
    made = replace(
        node,
        columns=tuple(node.columns[i] for i in order),
        names=tuple(node.names[i] for i in order),
        watermark=None if node.watermark is None else _moved(node.watermark, at),
        predicate=None if node.predicate is None else _moved(node.predicate, at),
        time_column=at.get(node.time_column) if node.time_column is not None else None,
    )
    return made, at


def _project(node: nodes.Project, needed: set[int]) -> tuple[nodes.Node, Mapping]:
    order = sorted(needed)
    exprs = [node.exprs[i] for i in order]
    columns = tuple(node.columns[i] for i in order)
    if isinstance(node.input, nodes.Scan):
        scan, rewritten = _fields(node.input, exprs)
        return nodes.Project(scan, tuple(rewritten), columns), _map(order)
    reads = {c for e in exprs for c in e.columns()}
    below, at = _prune(node.input, reads)
    return nodes.Project(below, tuple(_moved(e, at) for e in exprs), columns), _map(order)


# ---- fields of ROW columns

_Path = tuple[int, ...]  # a scan column, then field positions


def _path(e: Expr) -> _Path | None:
    if isinstance(e, Column):
        return (e.index,)
    if isinstance(e, FieldOf):
        inner = _path(e.arg)
        return None if inner is None else (*inner, e.index)
    return None


def _paths(e: Expr) -> set[_Path]:
    own = _path(e)
    if own is not None:
        return {own}
    return {p for c in e.children() for p in _paths(c)}


def _fields(scan: nodes.Scan, exprs: list[Expr]) -> tuple[nodes.Scan, list[Expr]]:
    """The scan decoding only the paths that `exprs`, the filter and the watermark read; and `exprs` over it."""
    everything = [*exprs, *(e for e in (scan.watermark, scan.predicate) if e is not None)]
    paths = {p for e in everything for p in _paths(e)} or {(0,)}
    if scan.time_column is not None:
        paths = {(p[0],) if p[0] == scan.time_column else p for p in paths}
    least = sorted(p for p in paths if not any(p[:n] in paths for n in range(1, len(p))))
    columns, names = [], []
    types = {}
    for p in least:
        c, t, name = scan.columns[p[0]], scan.columns[p[0]].type, scan.names[p[0]]
        path = c.path
        for f in p[1:]:
            field = t.fields[f]
            t = field.type.null(field.type.nullable or t.nullable)
            path, name = (*path, field.name), f"{name}.{field.name}"
        columns.append(ScanColumn(path, t))
        names.append(name)
        types[p] = t

    def rewrite(e: Expr) -> Expr:
        def leaf(x: Expr) -> Expr | None:
            p = _path(x)
            return Column(types[p], least.index(p), names[least.index(p)]) if p in types else None

        return e.transform(leaf)

    made = nodes.Scan(
        scan.table,
        scan.source,
        tuple(columns),
        tuple(names),
        None if scan.watermark is None else rewrite(scan.watermark),
        None if scan.predicate is None else rewrite(scan.predicate),
        least.index((scan.time_column,)) if scan.time_column is not None and (scan.time_column,) in types else None,
    )
    return made, [rewrite(e) for e in exprs]


# ---- nodes with more than one kind of column


def _window(node: nodes.Window, needed: set[int]) -> tuple[nodes.Node, Mapping]:
    width = len(node.input.schema)
    reads = {i for i in needed if i < width} | {node.time_column} | set(node.partition)
    below, at = _prune(node.input, reads)
    made = replace(node, input=below, time_column=at[node.time_column], partition=_all(node.partition, at))
    new = len(below.schema)
    return made, {**at, **{width + i: new + i for i in range(3)}}


def _aggregate(node: nodes.Aggregate, needed: set[int]) -> tuple[nodes.Node, Mapping]:
    n = len(node.keys)
    keys = list(range(n))
    marks = [node.schema[i].time for i in keys]
    if any(m in WINDOW_ENDS for m in marks):
        # window_time follows from window_end: as a key it is needed only where it is read
        keys = [i for i in keys if i in needed or not _is_window_time(node, i)]
    calls = [i for i in range(len(node.calls)) if n + i in needed]
    if not keys and not calls:
        calls = [0]
    reads = {node.keys[i] for i in keys}
    for i in calls:
        c = node.calls[i]
        reads |= set(c.args) | (set() if c.filter is None else {c.filter})
    below, at = _prune(node.input, reads)
    made = nodes.Aggregate(
        below,
        tuple(at[node.keys[i]] for i in keys),
        tuple(
            replace(
                node.calls[i],
                args=_all(node.calls[i].args, at),
                filter=None if node.calls[i].filter is None else at[node.calls[i].filter],  # type: ignore[index]
            )
            for i in calls
        ),
    )
    mapping = {old: new for new, old in enumerate(keys)}
    mapping.update({n + i: len(keys) + new for new, i in enumerate(calls)})
    return made, mapping


def _is_window_time(node: nodes.Aggregate, key: int) -> bool:
    return node.schema[key].name == "window_time" and node.schema[key].time in ("ROWTIME", "PROCTIME")


def _join(node: nodes.Join | nodes.LookupJoin, needed: set[int]) -> tuple[nodes.Node, Mapping]:
    left, right = node.inputs
    width = len(left.schema)
    residual = node.residual.columns() if node.residual is not None else set()
    reads = needed | residual
    new_left, at_left = _prune(left, {i for i in reads if i < width} | set(node.left_keys))
    new_right, at_right = _prune(right, {i - width for i in reads if i >= width} | set(node.right_keys))
    shifted = len(new_left.schema)
    at = {**at_left, **{width + old: shifted + new for old, new in at_right.items()}}
    changes = {
        "left_keys": _all(node.left_keys, at_left),
        "right_keys": _all(node.right_keys, at_right),
        "residual": None if node.residual is None else _moved(node.residual, at),
    }
    if isinstance(node, nodes.Join):
        return replace(node, input=new_left, right=new_right, **changes), at  # type: ignore[arg-type]
    return replace(node, input=new_left, lookup=new_right, **changes), at  # type: ignore[arg-type]


def _over(node: nodes.Over, needed: set[int]) -> tuple[nodes.Node, Mapping]:
    width = len(node.input.schema)
    calls = [i for i in range(len(node.calls)) if width + i in needed]
    if not calls:
        return _prune(node.input, needed)
    reads = {i for i in needed if i < width} | set(node.partition) | {k.column for k in node.order}
    for i in calls:
        reads |= set(node.calls[i].args)
    below, at = _prune(node.input, reads)
    made = nodes.Over(
        below,
        _all(node.partition, at),
        _order(node.order, at),
        tuple(replace(node.calls[i], args=_all(node.calls[i].args, at)) for i in calls),
    )
    new = len(below.schema)
    return made, {**at, **{width + i: new + n for n, i in enumerate(calls)}}
