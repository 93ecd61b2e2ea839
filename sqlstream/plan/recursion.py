"""WITH RECURSIVE r AS (anchor UNION [ALL] step): a query that reads its own rows.

    parts of the UNION that do not read r     its first rows
    the others, each reading r once in FROM   what follows from rows

Types are those of the first part, and as wide as the steps make them. What a step may do with r is what makes of more rows more rows:
else there is no answer that is the same in whatever order rows come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Column
from sqlstream.functions.typing import common
from sqlstream.plan import nodes
from sqlstream.plan.columns import aligned, renamed, unsorted
from sqlstream.sql.ast import exp, position_of
from sqlstream.types import Column as SchemaColumn
from sqlstream.types import Type

if TYPE_CHECKING:
    from sqlstream.plan.from_binder import FromBinder

_FORM = "WITH RECURSIVE r AS (SELECT … FROM t UNION SELECT … FROM r JOIN t ON …)"
_WIDENINGS = 5  # how often the types of a step may make those of r wider


@dataclass(frozen=True)
class OwnRows:
    """What the name of a recursive query stands for within it."""

    ref: nodes.RecursiveRef


@dataclass(frozen=True)
class RecursiveQuery:
    """What it stands for outside: the query, and what binds it."""

    cte: exp.Expression
    binder: FromBinder


def reads(query: exp.Expression, name: str) -> bool:
    """Whether a relation of this name is read anywhere in it."""
    return any(
        t.this.name == name and t.args.get("db") is None and isinstance(t.this, exp.Identifier)
        for t in query.find_all(exp.Table)
    )


def check_order(names: list[str], queries: list[exp.Expression]) -> None:
    """NotSupported where a query of WITH RECURSIVE reads one that stands behind it."""
    for i, query in enumerate(queries):
        later = next((n for n in names[i + 1 :] if reads(query, n)), None)
        if later is not None:
            raise NotSupported(
                f"'{names[i]}' reads '{later}', which stands behind it: queries that read each other are not supported",
                hint=f"put '{later}' first; of two that need each other make one, with a column that tells their rows apart",
                position=position_of(query),
            )


def bind_recursion(queries: FromBinder, cte: exp.Expression, name: str) -> nodes.Node:
    """The rows of the query `cte`, which reads itself as `name`."""
    body = cte.this
    binder = queries.within(body)
    for key in ("order", "limit", "offset"):
        if body.args.get(key) is not None:
            raise NotSupported(
                f"{key.upper()} of a recursive query is not supported",
                hint="put it behind the query that reads it",
                position=position_of(body.args[key]),
            )
    distinct, parts = _parts(body, name)
    first = [p for p in parts if not reads(p, name)]
    following = [p for p in parts if reads(p, name)]
    if not first:
        raise BindError(
            f"recursive query '{name}' has no part that does not read '{name}': it has no first rows",
            hint=_FORM,
            position=position_of(body),
        )
    plans = [unsorted(binder.query(p)) for p in first]
    _same_width(plans, first, len(plans[0].schema))
    plans = aligned(plans, "UNION")
    anchor = plans[0] if len(plans) == 1 else nodes.Union(tuple(plans))
    alias = cte.args["alias"]
    if alias.args.get("columns"):
        anchor = renamed(anchor, [c.name for c in alias.args["columns"]], alias)
    level = sum(isinstance(named, OwnRows) for named in queries.ctes.values())
    types = [c.type for c in anchor.schema]
    for _ in range(_WIDENINGS):
        columns = tuple(SchemaColumn(n, t) for n, t in zip(anchor.schema.names, types, strict=True))
        ref = nodes.RecursiveRef(name, columns, level)
        within = binder.beside(name, OwnRows(ref))
        steps = [unsorted(within.query(p)) for p in following]
        _same_width(steps, following, len(types))
        wider = _common([ref, anchor, *steps])
        if wider == types:
            break
        types = wider
    else:
        raise BindError(
            f"recursive query '{name}': its types grow with each step, {', '.join(t.text() for t in types)}",
            hint="CAST what the step computes to the type that the first part has",
            position=position_of(body),
        )
    for part, step in zip(following, steps, strict=True):
        _check(step, ref, part)
    _, anchor, *steps = aligned([ref, anchor, *steps], "UNION")
    anchor = nodes.Project(
        anchor, tuple(Column(c.type, i, c.name) for i, c in enumerate(anchor.schema)), columns
    )  # no time is a time attribute
    return nodes.Recursion(anchor, steps[0] if len(steps) == 1 else nodes.Union(tuple(steps)), ref, distinct)


def _parts(body: exp.Expression, name: str) -> tuple[bool, list[exp.Expression]]:
    """Whether they are put together by UNION, and the parts, down to those that read `name` or have no part that does."""
    if not isinstance(body, exp.Union):
        raise NotSupported(
            f"recursive query '{name}' is no UNION: its first rows, and what follows from them",
            hint=_FORM,
            position=position_of(body),
        )
    distinct = bool(body.args.get("distinct"))

    def parts(node: exp.Expression) -> list[exp.Expression]:
        while isinstance(node, exp.Subquery) and not any(
            node.args.get(k) for k in ("with_", "order", "limit", "offset")
        ):
            node = node.this
        if not isinstance(node, exp.Union) or not reads(node, name):
            return [node]
        if bool(node.args.get("distinct")) != distinct:
            raise NotSupported(
                f"recursive query '{name}' has UNION and UNION ALL",
                hint="one of them throughout: UNION keeps each row once",
                position=position_of(node),
            )
        return [*parts(node.this), *parts(node.expression)]

    return distinct, parts(body)


def _same_width(plans: list[nodes.Node], parts: list[exp.Expression], width: int) -> None:
    for plan, part in zip(plans, parts, strict=True):
        if len(plan.schema) != width:
            raise BindError(
                f"UNION: the queries have {width} and {len(plan.schema)} columns",
                hint="select as many in all parts",
                position=position_of(part),
            )


def _common(plans: list[nodes.Node]) -> list[Type]:
    return [common([p.schema[i].type for p in plans], f"UNION, column {i + 1}") for i in range(len(plans[0].schema))]


def _check(step: nodes.Node, ref: nodes.RecursiveRef, part: exp.Expression) -> None:
    """NotSupported for what a step cannot do with the rows of the query itself."""

    def visit(node: nodes.Node) -> int:
        """How often `node` reads them."""
        if node == ref:
            return 1
        times = 0
        for below in node.inputs:
            found = visit(below) if ref in below.walk() else 0
            why = _why_not(node, below) if found else None
            if why is not None:
                raise NotSupported(
                    f"{why} '{ref.name}' within the recursive query '{ref.name}': with more rows of it there could be fewer",
                    hint=f"do it with the rows of '{ref.name}' in the query that reads it",
                    position=position_of(part),
                )
            times += found
        return times

    if visit(step) != 1:
        raise NotSupported(
            f"a part of recursive query '{ref.name}' reads '{ref.name}' more than once",
            hint="read it once, and join it with the tables that it is made of: FROM r JOIN t ON …",
            position=position_of(part),
        )


def _why_not(node: nodes.Node, below: nodes.Node) -> str | None:
    """What `node` does with the rows of `below`; None for what it may do."""
    if isinstance(node, (nodes.Project, nodes.Filter, nodes.Unnest)):
        return None
    if isinstance(node, nodes.Join):
        left = below is node.left
        if (
            node.kind == "INNER"
            or (node.kind in ("LEFT", "SEMI", "ANTI") and left)
            or (node.kind == "RIGHT" and not left)
        ):
            return None
        if node.kind in ("SEMI", "ANTI"):
            return "IN or EXISTS of"
        return f"a {node.kind} JOIN that fills up with NULLs"
    if isinstance(node, nodes.Aggregate):
        return "an aggregate of" if node.calls else "DISTINCT of"
    if isinstance(node, (nodes.TopN, nodes.Sort)):
        return "LIMIT of"
    return {
        nodes.Over: "OVER of", nodes.Window: "a window of", nodes.Union: "a UNION ALL below a join of",
        nodes.LookupJoin: "a lookup join of", nodes.TemporalJoin: "a temporal join of", nodes.AsofJoin: "an ASOF join of",
        nodes.SnapshotJoin: "LATERAL SNAPSHOT of",
    }.get(type(node), f"{type(node).__name__} of")  # fmt: skip
