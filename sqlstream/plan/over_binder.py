"""OVER: window functions become columns of Over nodes, one node for each partition and order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlstream.errors import BindError, NotSupported, did_you_mean
from sqlstream.expressions import Column, Expr, Literal
from sqlstream.functions.aggregates import AGGREGATES
from sqlstream.plan import nodes
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.joins import with_columns
from sqlstream.sql.ast import exp, position_of, sql_of
from sqlstream.types import BIGINT, DOUBLE, Type
from sqlstream.types import Column as SchemaColumn

RANKINGS: dict[str, Type] = {
    "ROW_NUMBER": BIGINT.null(False), "RANK": BIGINT.null(False), "DENSE_RANK": BIGINT.null(False),
    "NTILE": BIGINT.null(False), "PERCENT_RANK": DOUBLE.null(False), "CUME_DIST": DOUBLE.null(False),
}  # fmt: skip
_SHIFTS = ("LAG", "LEAD")


@dataclass(frozen=True)
class _Call:
    function: str
    args: tuple[Expr, ...]
    constants: tuple[object, ...]
    partition: tuple[Expr, ...]
    order: tuple[tuple[Expr, bool, bool], ...]  # expression, ascending, nulls first
    frame: nodes.Frame | None
    distinct: bool
    type: Type


class OverStage:
    """Collects OVER calls met by `binder`; `plan()` adds their columns and says where they are."""

    def __init__(self, below: ExpressionBinder, windows: list[exp.Expression]) -> None:
        self._below = below
        self._named = {w.this.name: w for w in windows}
        self._calls: list[_Call] = []

        def hook(node: exp.Expression) -> Expr | None:
            if isinstance(node, exp.Window):
                return self._over(node)
            return below.hook(node) if below.hook is not None else None

        self.binder = ExpressionBinder(below.scope, below.catalog, hook)

    def _over(self, node: exp.Expression) -> Expr:
        call = node.this
        if isinstance(call, (exp.IgnoreNulls, exp.RespectNulls)):
            raise NotSupported("IGNORE NULLS is not supported", position=position_of(node))
        if isinstance(call, exp.Filter):
            raise NotSupported(
                "FILTER with OVER is not supported", hint="CASE WHEN … inside", position=position_of(node)
            )
        spec = self._spec(node)
        name = call.this.upper()
        args = list(call.expressions)
        distinct = len(args) == 1 and isinstance(args[0], exp.Distinct)
        if distinct:
            args = list(args[0].expressions)
        if len(args) == 1 and isinstance(args[0], exp.Star):
            args = []
        bound = [self._below.bind(a) for a in args]
        constants: tuple[object, ...] = ()
        if name in RANKINGS:
            t = RANKINGS[name]
            if name == "NTILE":
                constants = (_constant(bound[0], "NTILE", node),)
                bound = []
            elif bound:
                raise BindError(f"{name} takes no argument", position=position_of(node))
        elif name in _SHIFTS:
            if not 1 <= len(bound) <= 3:
                raise BindError(f"{name} takes 1 to 3 arguments", position=position_of(node))
            offset = _constant(bound[1], name, node) if len(bound) > 1 else 1
            default = _constant(bound[2], name, node) if len(bound) > 2 else None
            constants, bound = (offset, default), bound[:1]
            t = bound[0].type.null()
        elif name in AGGREGATES:
            t = AGGREGATES[name].type_of(tuple(b.type for b in bound))
            if name != "COUNT":
                t = t.null(any(b.type.nullable for b in bound))
        else:
            known = [*RANKINGS, *_SHIFTS, *AGGREGATES]
            raise BindError(
                f"there is no window function '{name}'",
                hint=did_you_mean(name, known, "functions"),
                position=position_of(node),
            )
        partition = tuple(self._below.bind(p) for p in spec.args.get("partition_by") or [])
        order = []
        for o in spec.args["order"].expressions if spec.args.get("order") is not None else []:
            ascending = not o.args.get("desc")
            first = o.args.get("nulls_first")
            order.append((self._below.bind(o.this), ascending, ascending if first is None else bool(first)))
        if not order and (name in RANKINGS or name in _SHIFTS):
            raise BindError(f"{name} needs ORDER BY in OVER (…)", position=position_of(node))
        frame = None
        if name not in RANKINGS and name not in _SHIFTS:
            frame = self._frame(spec.args.get("spec"), bool(order), node)
        made = _Call(name, tuple(bound), constants, partition, tuple(order), frame, distinct, t)
        if made not in self._calls:
            self._calls.append(made)
        # A place of its own until plan() knows the columns: counted down from -1.
        return Column(t, -1 - self._calls.index(made), sql_of(call))

    def _spec(self, node: exp.Expression) -> exp.Expression:
        alias = node.args.get("alias")
        if alias is None:
            return node
        if alias.name not in self._named:
            raise BindError(
                f"there is no WINDOW '{alias.name}'",
                hint=did_you_mean(alias.name, self._named, "windows"),
                position=position_of(node),
            )
        return self._named[alias.name]

    def _frame(self, spec: exp.Expression | None, ordered: bool, node: exp.Expression) -> nodes.Frame:
        if spec is None:
            return nodes.Frame("RANGE", None, 0 if ordered else None)
        kind = spec.args["kind"].upper()
        start, end = spec.args.get("start"), spec.args.get("end") or "CURRENT ROW"
        if start == "CURRENT ROW":
            preceding: int | None = 0
        elif start == "UNBOUNDED":
            preceding = None
        elif spec.args.get("start_side") == "PRECEDING":
            preceding = _distance(self._below.bind(start), kind, node)
        else:
            raise NotSupported("a frame begins with … PRECEDING or CURRENT ROW", position=position_of(node))
        if end == "CURRENT ROW":
            following: int | None = 0
        elif end == "UNBOUNDED" and spec.args.get("end_side") == "FOLLOWING":
            following = None
        else:
            raise NotSupported("a frame ends with CURRENT ROW or UNBOUNDED FOLLOWING", position=position_of(node))
        return nodes.Frame(kind, preceding, following)

    def plan(self, plan: nodes.Node) -> tuple[nodes.Node, Callable[[Expr], Expr]]:
        """The plan with the calls' columns, and a function that puts them into expressions."""
        if not self._calls:
            return plan, lambda e: e
        wanted = [e for c in self._calls for e in (*c.args, *c.partition, *(o[0] for o in c.order))]
        plan, at = with_columns(plan, wanted)
        position = dict(zip(wanted, at, strict=True))
        where: dict[int, int] = {}
        groups: dict[tuple[object, object], list[int]] = {}
        for i, c in enumerate(self._calls):
            groups.setdefault((c.partition, c.order), []).append(i)
        for members in groups.values():
            first = self._calls[members[0]]
            width = len(plan.schema)
            calls = []
            for n, i in enumerate(members):
                c = self._calls[i]
                where[-1 - i] = width + n
                calls.append(
                    nodes.OverCall(
                        c.function,
                        tuple(position[a] for a in c.args),
                        SchemaColumn(f"$o{i}", c.type),
                        c.frame,
                        c.constants,
                        c.distinct,
                    )
                )
            order = tuple(nodes.SortKey(position[e], asc, nf) for e, asc, nf in first.order)
            plan = nodes.Over(plan, tuple(position[p] for p in first.partition), order, tuple(calls))

        def place(e: Expr) -> Expr:
            return e.transform(
                lambda x: replace(x, index=where[x.index]) if isinstance(x, Column) and x.index < 0 else None
            )

        return plan, place


def _constant(e: Expr, what: str, node: exp.Expression) -> object:
    if not isinstance(e, Literal):
        raise NotSupported(f"{what}: this argument must be a constant", position=position_of(node))
    return e.value


def _distance(e: Expr, kind: str, node: exp.Expression) -> int:
    if (
        isinstance(e, Literal)
        and (e.type.is_integer or (kind == "RANGE" and e.type.kind == "INTERVAL_DAY"))
        and e.value >= 0
    ):
        return int(e.value)
    raise BindError(
        f"{kind} BETWEEN takes " + ("a whole number" if kind == "ROWS" else "a constant interval") + " PRECEDING",
        position=position_of(node),
    )
