"""FOR SYSTEM_TIME AS OF an event time: the right side as the versions of its rows, and the join with them.

    a table with PRIMARY KEY and WATERMARK    its records; what does not last is a version, too
    the last row of each key (ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) = 1)    the rows that it chooses from

Projects and Filters above stay. What a Filter leaves out is no row while its version is valid: the one before does not
come back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Cast, Column, Expr, Literal, conjunction, conjuncts, shift, substitute
from sqlstream.plan import nodes
from sqlstream.plan.joins import equality, with_columns
from sqlstream.plan.rank_bounds import rank_bound
from sqlstream.types import BIGINT, ROWTIME
from sqlstream.types import Column as SchemaColumn

_VERSIONED = (
    "it takes a table with PRIMARY KEY and WATERMARK, or a view of the last rows, or the first: "
    "ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) = 1"
)


@dataclass(frozen=True)
class _Versions:
    """`plan`: the columns of the relation, then whether the version is a row (`there`), where it may be none.

    `key`: for each column of the key the columns that have it, or a wider integer that tells it; `names`: its columns'.
    """

    plan: nodes.Node
    exprs: tuple[Expr, ...]
    key: tuple[int, ...]
    names: tuple[str, ...]
    time: int
    there: int | None

    def keyed(self, e: Expr) -> int | None:
        """The column of the key that `e` (over the relation) tells, if any."""
        e = substitute(e, self.exprs)
        while isinstance(e, Cast) and e.type.is_integer and e.arg.type.is_integer and _widens(e):
            e = e.arg
        return e.index if isinstance(e, Column) and e.index in self.key else None


def _widens(e: Cast) -> bool:
    order = ("TINYINT", "SMALLINT", "INT", "BIGINT")
    return order.index(e.type.kind) >= order.index(e.arg.type.kind)


def temporal_join(
    left: nodes.Node,
    time: Column,
    right: nodes.Node,
    name: str,
    declared: tuple[str, ...],
    kind: str,
    condition: Expr | None,
) -> nodes.Node:
    """`left` with the version of `right` that was valid at `time`, a column of `left`. `condition` is over both.

    `declared`: the PRIMARY KEY of `right` where it is a table. BindError and NotSupported without a position.
    """
    versions, width = _versions(right, name, declared), len(left.schema)
    a, b = left.schema[time.index].type, right.schema[versions.time].type
    if a.kind != b.kind:
        raise BindError(
            f"a temporal join compares times of one type, and {time.name} is {a.text()}, "
            f"{right.schema[versions.time].name} of {name} {b.text()}",
            hint="declare both as TIMESTAMP(3), or both as TIMESTAMP_LTZ(3)",
        )
    pairs: dict[int, tuple[Expr, Expr, bool]] = {}
    rest: list[Expr] = []
    for c in conjuncts(condition):
        pair = equality(c, width)
        keyed = None if pair is None else versions.keyed(shift(pair[1], lambda i: i - width))
        if pair is None or keyed is None or keyed in pairs:
            rest.append(c)
        else:
            pairs[keyed] = (pair[0], shift(pair[1], lambda i: i - width), pair[2])
    missing = [n for k, n in zip(versions.key, versions.names, strict=True) if k not in pairs]
    if missing:
        raise NotSupported(
            f"a temporal join needs equal keys, and ON says nothing of {', '.join(missing)}, by which {name} has its versions",
            hint=f"ON … AND {missing[0]} = …: all of ({', '.join(versions.names)})",
        )
    chosen = [pairs[k] for k in versions.key]
    residual: list[Expr] = []
    for c in rest:
        used = c.columns()
        if kind == "INNER" and used and max(used) < width:
            left = nodes.Filter(left, c)
        else:
            residual.append(c)
    wide_left, left_keys = with_columns(left, [p[0] for p in chosen])
    wide_right, right_keys = with_columns(versions.plan, [p[1] for p in chosen])
    start = len(wide_left.schema)
    moved = [shift(c, lambda i: i if i < width else i - width + start) for c in residual]
    made = nodes.TemporalJoin(
        wide_left, wide_right, kind, left_keys, right_keys, tuple(p[2] for p in chosen), time.index, versions.time,
        versions.there, conjunction(moved),
    )  # fmt: skip
    if len(made.schema) == width + len(right.schema):
        return made
    return nodes.keep(made, [*range(width), *range(start, start + len(right.schema))])


def _versions(right: nodes.Node, name: str, declared: tuple[str, ...]) -> _Versions:
    """The rows of `right` as they have been."""
    node = right
    exprs: tuple[Expr, ...] = tuple(Column(c.type, i, c.name) for i, c in enumerate(right.schema))
    where: list[Expr] = []
    while isinstance(node, nodes.Project | nodes.Filter):
        if isinstance(node, nodes.Project):
            below = node.exprs
            exprs, where = tuple(substitute(e, below) for e in exprs), [substitute(e, below) for e in where]
        else:
            where += conjuncts(node.condition)
        node = node.input
    order: int | None = None  # the column that the time must be
    if isinstance(node, nodes.ChangelogNormalize):
        key = node.key
        node = nodes.Versions(node.input)
        there = len(node.schema) - 1
        where.append(Column(node.schema[there].type, there, node.schema[there].name))
    elif isinstance(node, nodes.Over) and _numbers_by_time(node):
        rank = len(node.schema) - 1
        first = [c for c in where if rank_bound(c, rank) in (("=", 1), ("<=", 1), ("<", 2))]
        if not first:
            raise _refused(name)
        one = Literal(BIGINT.null(False), 1)
        known = (*(Column(c.type, i, c.name) for i, c in enumerate(node.input.schema)), one)
        where = [substitute(c, known) for c in where if rank_bound(c, rank) is None]
        exprs = tuple(substitute(e, known) for e in exprs)
        key, order = node.partition, node.order[0].column
        # of the last row of a key each row is a version, of the first only this
        node = nodes.Filter(_counted(node), first[0]) if node.order[0].ascending else node.input
    elif isinstance(node, nodes.Scan) and node.source.append_only and declared:
        key = tuple(node.names.index(n) for n in declared)
    else:
        raise _refused(name)
    time = _time(right, exprs, order)
    if time is None:
        raise NotSupported(
            f"{name} has no time attribute: it is not known from when on its rows were valid",
            hint="declare a WATERMARK, and let views select its column",
        )
    condition = conjunction(where)
    columns = list(right.schema.columns)
    if condition is not None:
        columns.append(SchemaColumn("$there", condition.type))
    made = nodes.Project(node, (*exprs, *([] if condition is None else [condition])), tuple(columns))
    names = tuple(node.schema[k].name for k in key)
    # The keys are told by the relation's own columns and `there` is none of them.
    return _Versions(made, exprs, key, names, time, None if condition is None else len(columns) - 1)


def _numbers_by_time(over: nodes.Over) -> bool:
    """Whether rank 1 is the last row of a key by event time, or the first."""
    first = over.order[0] if len(over.order) == 1 else None
    return (
        len(over.calls) == 1
        and over.calls[0].function == "ROW_NUMBER"
        and bool(over.partition)
        and first is not None
        and over.input.schema[first.column].time == ROWTIME
    )


def _counted(over: nodes.Over) -> nodes.Over:
    """The same numbers as a running count: of a ROW_NUMBER the planner would make a top-n, whose first row may be another
    one yet, while what OVER gives by event time is final."""
    call = replace(over.calls[0], function="COUNT", args=(), frame=nodes.Frame("ROWS", None, 0))
    return replace(over, calls=(call,))


def _time(right: nodes.Node, exprs: tuple[Expr, ...], order: int | None) -> int | None:
    for i, (c, e) in enumerate(zip(right.schema, exprs, strict=True)):
        if c.time == ROWTIME and (order is None or isinstance(e, Column) and e.index == order):
            return i
    return None


def _refused(name: str) -> NotSupported:
    return NotSupported(f"{name} is no versioned table: what its rows were at a time is not known", hint=_VERSIONED)
