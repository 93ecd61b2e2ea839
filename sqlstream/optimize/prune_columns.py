"""Only columns that somebody reads are kept; of a ROW column only the fields that are read are decoded."""

from __future__ import annotations

from dataclasses import replace

from sqlstream.contracts import ScanColumn
from sqlstream.expressions import Column, Expr, FieldOf, Literal
from sqlstream.plan import nodes
from sqlstream.plan.table_binder import PROCTIME_PATH, PROCTIME_TYPE
from sqlstream.types import INT
from sqlstream.types import Column as SchemaColumn


def prune_columns(plan: nodes.Node) -> nodes.Node:
    """The rule: every node and scan gives what is read above it; the plan's own columns stay, in their order."""
    return pruned(plan, _prune)


def pruned(plan: nodes.Node, prune: nodes.Prune) -> nodes.Node:
    """`plan` with what `prune` leaves of it, and its own columns in their order."""
    width = len(plan.schema)
    made, at = prune(plan, set(range(width)))
    if len(made.schema) == width and all(at[i] == i for i in range(width)):
        return made
    return replace(nodes.keep(made, [at[i] for i in range(width)]), columns=plan.schema.columns)


def _prune(node: nodes.Node, needed: set[int]) -> nodes.Pruned:
    return prune_one(node, needed, _prune)


def prune_one(node: nodes.Node, needed: set[int], prune: nodes.Prune) -> nodes.Pruned:
    """`node` with at least the columns `needed`, and where they are now: each node answers for itself. `prune` does its inputs."""
    if not needed:
        return _rows_alone(node, prune)
    if isinstance(node, nodes.Project) and _of_scan(node.input):
        # Where it is known which fields of a ROW are read, the scan decodes those alone.
        order = sorted(needed)
        below, exprs = _reading(node.input, [node.exprs[i] for i in order])
        made = nodes.Project(below, tuple(exprs), tuple(node.columns[i] for i in order))
        return made, {old: new for new, old in enumerate(order)}
    return node.pruned(needed, prune)


def _rows_alone(node: nodes.Node, prune: nodes.Prune) -> nodes.Pruned:
    """`node` where only its rows count, as for COUNT(*): with a column, since a relation has one, but none is decoded for it.
    So a value that is not of its type is met by those queries alone that read it, in batch as in streams."""
    if isinstance(node, nodes.Scan):
        made, at = node.pruned(set(), prune)
        return (made, at) if len(made.schema) else (_clocked(node), {})
    if isinstance(node, nodes.Project) and not isinstance(node.exprs[0], Literal):
        return prune(constant(node.input), {0})
    if isinstance(node, nodes.Union):
        return prune(nodes.Union(tuple(map(constant, node.all_inputs))), {0})
    if isinstance(node, nodes.Filter | nodes.Join):
        return node.pruned(set(), prune)  # with what they read themselves
    return node.pruned({0}, _prune)


def constant(node: nodes.Node) -> nodes.Project:
    """As many rows as `node` has, of a constant."""
    value = Literal(INT.null(False), 0)
    return nodes.Project(node, (value,), (SchemaColumn("$row", value.type),))


def _clocked(scan: nodes.Scan) -> nodes.Scan:
    """A scan that reads nothing: the clock stands for each row. Rows that may be taken back keep a column of theirs, by which
    they are told."""
    if not scan.source.append_only:
        made, _ = scan.pruned({0}, _prune)
        assert isinstance(made, nodes.Scan)
        return made
    return replace(scan, columns=(ScanColumn(PROCTIME_PATH, PROCTIME_TYPE),), names=("$proctime",), time_column=None)


def _of_scan(node: nodes.Node) -> bool:
    """Whether its rows are some of a scan's, with its columns."""
    if isinstance(node, nodes.Filter | nodes.ChangelogNormalize):
        return _of_scan(node.input)
    return isinstance(node, nodes.Scan)


def _reading(node: nodes.Node, exprs: list[Expr]) -> tuple[nodes.Node, list[Expr]]:
    """`node` with only what `exprs` read and what it reads itself; and `exprs` over it."""
    if isinstance(node, nodes.Filter):
        below, (condition, *exprs) = _reading(node.input, [node.condition, *exprs])
        return nodes.Filter(below, condition), exprs
    if isinstance(node, nodes.ChangelogNormalize):
        key = [Column(node.schema[k].type, k, node.schema[k].name) for k in node.key]
        below, exprs = _reading(node.input, [*key, *exprs])
        there = tuple(k.index for k in exprs[: len(key)] if isinstance(k, Column))
        return nodes.ChangelogNormalize(below, there), exprs[len(key) :]
    assert isinstance(node, nodes.Scan)
    return _fields(node, exprs)


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
    paths = {p for e in everything for p in _paths(e)}
    if not paths:
        return _clocked(scan), exprs
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

    made = replace(
        scan,
        columns=tuple(columns),
        names=tuple(names),
        watermark=None if scan.watermark is None else rewrite(scan.watermark),
        predicate=None if scan.predicate is None else rewrite(scan.predicate),
        time_column=least.index((scan.time_column,))
        if scan.time_column is not None and (scan.time_column,) in types
        else None,
    )
    return made, [rewrite(e) for e in exprs]
