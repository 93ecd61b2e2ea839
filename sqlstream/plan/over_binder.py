"""OVER: window functions become columns of Over nodes, one node for each partition and order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlstream.aggregates.registry import AGGREGATES
from sqlstream.errors import BindError, NotSupported, did_you_mean
from sqlstream.expressions import Call, Cast, Column, Expr, Literal
from sqlstream.plan import nodes
from sqlstream.plan.aggregate_calls import bound_arguments, is_aggregate, with_nulls
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.joins import with_columns
from sqlstream.plan.over_functions import OVER_FUNCTIONS
from sqlstream.sql.ast import exp, position_of
from sqlstream.sql.printing import sql_of
from sqlstream.types import PROCTIME, Type
from sqlstream.types import Column as SchemaColumn


@dataclass(frozen=True)
class _Call:
    function: str
    args: tuple[Expr, ...]
    constants: tuple[object, ...]
    partition: tuple[Expr, ...]
    order: tuple[tuple[Expr, bool, bool], ...]  # expression, ascending, nulls first
    frame: nodes.Frame | None
    distinct: bool
    filter: Expr | None
    type: Type
    ignores_nulls: bool = False

    @property
    def reads(self) -> tuple[Expr, ...]:
        """What of the rows it is over."""
        where = () if self.filter is None else (self.filter,)
        return (*self.args, *where, *self.partition, *(o[0] for o in self.order))


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
        call, where, nulls = node.this, None, None
        if isinstance(call, exp.Filter):
            call, where = call.this, call.expression.this
        if isinstance(call, (exp.IgnoreNulls, exp.RespectNulls)):
            call, nulls = call.this, call
        if isinstance(call, exp.Filter):
            call, where = call.this, call.expression.this
        if isinstance(call, exp.WithinGroup):
            raise NotSupported(
                "ORDER BY within a call with OVER is not supported",
                hint="rows come in the order of OVER (… ORDER BY …)",
                position=position_of(node),
            )
        spec = self._spec(node)
        name = call.this.upper()
        function = None if is_aggregate(call) else OVER_FUNCTIONS.get(name)
        distinct = False
        default: Expr | None = None
        if function is not None:
            given = [self._below.bind(a) for a in call.expressions]
            if name == "LAG" and len(given) == 3 and _is_of_the_row(given[2]):
                default = given.pop()
            bound, constants = _arguments(name, given, node)
        elif is_aggregate(call):
            made = bound_arguments(call, self._below)
            name = made.function.name
            bound, constants, distinct = list(made.args), made.constants, made.distinct
        else:
            known = [*OVER_FUNCTIONS, *AGGREGATES]
            raise BindError(
                f"there is no window function '{name}'",
                hint=did_you_mean(name, known, "functions"),
                position=position_of(node),
            )
        if where is not None and function is not None:
            raise NotSupported(
                f"{name} takes no FILTER",
                hint=f"aggregates do; or CASE WHEN … inside {name}" if bound else "aggregates do",
                position=position_of(where),
            )
        condition = self._below.condition(where) if where is not None else None
        ignores = False
        if function is None:
            condition = with_nulls(node.this, made, condition, self._below)
        elif nulls is not None and not function.nulls:
            raise NotSupported(
                f"{name} takes no IGNORE NULLS or RESPECT NULLS",
                hint=f"those that do: {', '.join(f.name for f in OVER_FUNCTIONS.values() if f.nulls)}",
                position=position_of(node),
            )
        else:  # the row itself, which LAG(x, 0) is of, is there in any case
            ignores = isinstance(nulls, exp.IgnoreNulls) and constants[0] != 0
        partition = tuple(self._below.bind(p) for p in spec.args.get("partition_by") or [])
        order = []
        for o in spec.args["order"].expressions if spec.args.get("order") is not None else []:
            ascending = not o.args.get("desc")
            first = o.args.get("nulls_first")
            order.append((self._below.bind(o.this), ascending, ascending if first is None else bool(first)))
        if not order and function is not None:
            raise BindError(
                f"{name} needs ORDER BY in OVER (…)",
                hint=f"{name}(…) OVER (PARTITION BY k ORDER BY ts)",
                position=position_of(node),
            )
        by_arrival = len(order) == 1 and order[0][1] and self._is_clock(order[0][0])
        frame = None
        if function is None or function.framed:
            frame = self._frame(spec.args.get("spec"), [o[0].type for o in order], node)
            if by_arrival and frame == nodes.Frame("RANGE", None, 0):
                frame = nodes.Frame("ROWS", None, 0)
        elif spec.args.get("spec") is not None:
            raise BindError(
                f"{name} takes no frame: ROWS and RANGE are for aggregates",
                hint="leave it out; of a WINDOW that others need with it, write this one's in OVER (…)",
                position=position_of(node),
            )
        elif by_arrival and name in ("RANK", "DENSE_RANK"):
            name = "ROW_NUMBER"
        if function is not None:
            t = function.type or bound[0].type.null()
        else:
            t = made.type_of(occupied=condition is None and frame is not None and frame.has_current)
        over = _Call(name, tuple(bound), constants, partition, tuple(order), frame, distinct, condition, t, ignores)
        value = self._column(over, sql_of(call))
        if default is None:
            return value
        if ignores:  # a row so far before gives a value
            return self.binder.call("COALESCE", [value, Cast(t.null(default.type.nullable), default)])
        # The first rows, which have no row so far before them, take what their own columns say.
        count = OVER_FUNCTIONS["ROW_NUMBER"].type
        assert count is not None
        number = self._column(replace(over, function="ROW_NUMBER", args=(), constants=(), type=count), "ROW_NUMBER")
        early = self.binder.call("<=", [number, Literal(count, constants[0])])
        return self.binder.call("CASE", [early, Cast(t.null(default.type.nullable), default), value])

    def _column(self, over: _Call, text: str) -> Column:
        """The call's column: a place of its own until plan() knows the columns, counted down from -1."""
        if over not in self._calls:
            self._calls.append(over)
        return Column(over.type, -1 - self._calls.index(over), text)

    def _is_clock(self, e: Expr) -> bool:
        """Whether it is processing time, by which, as in Flink, rows come one after the other: none ties with another, however
        many come within a millisecond."""
        if isinstance(e, Column):
            return self._below.scope.schema[e.index].time == PROCTIME
        return isinstance(e, Call) and e.function == "PROCTIME"

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

    def _frame(self, spec: exp.Expression | None, order: list[Type], node: exp.Expression) -> nodes.Frame:
        if spec is None:
            return nodes.Frame("RANGE", None, 0 if order else None)
        kind = spec.args["kind"].upper()
        preceding = self._bound(spec, "start", kind, order, node)
        following = self._bound(spec, "end", kind, order, node)
        if preceding is not None and following is not None and -preceding > following:
            raise BindError("the frame ends before it begins", position=position_of(node))
        return nodes.Frame(kind, preceding, following)

    def _bound(
        self, spec: exp.Expression, which: str, kind: str, order: list[Type], node: exp.Expression
    ) -> int | None:
        """How far a frame reaches: from its beginning back, to its end on."""
        outward, inward = ("PRECEDING", "FOLLOWING") if which == "start" else ("FOLLOWING", "PRECEDING")
        bound, side = spec.args.get(which) or "CURRENT ROW", spec.args.get(f"{which}_side")
        if bound == "CURRENT ROW":
            return 0
        if bound == "UNBOUNDED":
            if side == inward:
                begins = "begins" if which == "start" else "ends"
                raise BindError(f"a frame never {begins} with UNBOUNDED {inward}", position=position_of(node))
            return None
        distance = self._below.bind(bound)
        far = _distance(distance, kind, str(side), node)
        if kind == "RANGE":
            _check_range(distance.type, order, bound, str(side))
        return far if side == outward else -far

    @property
    def calls(self) -> bool:
        """Whether there are any."""
        return bool(self._calls)

    def plan(self, plan: nodes.Node, ttl: int | None) -> tuple[nodes.Node, Callable[[Expr], Expr]]:
        """The plan with the calls' columns, and a function that puts them into expressions. `ttl`: hint STATE_TTL."""
        if not self._calls:
            return plan, lambda e: e
        wanted = [e for c in self._calls for e in c.reads]
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
                        None if c.filter is None else position[c.filter],
                        c.ignores_nulls,
                    )
                )
            order = tuple(nodes.SortKey(position[e], asc, nf) for e, asc, nf in first.order)
            plan = nodes.Over(plan, tuple(position[p] for p in first.partition), order, tuple(calls), ttl=ttl)

        def place(e: Expr) -> Expr:
            return e.transform(
                lambda x: replace(x, index=where[x.index]) if isinstance(x, Column) and x.index < 0 else None
            )

        return plan, place


def _arguments(name: str, given: list[Expr], node: exp.Expression) -> tuple[list[Expr], tuple[object, ...]]:
    """The arguments of a function of OVER that are columns, and those that are constants."""
    if name in ("LAG", "LEAD"):
        if not 1 <= len(given) <= 3:
            raise BindError(f"{name} takes 1 to 3 arguments", position=position_of(node))
        offset = _whole(given[1], name, 0, node) if len(given) > 1 else 1
        default = _constant(given[2], name, node) if len(given) > 2 else None
        return given[:1], (offset, default)
    if name == "NTH_VALUE":
        if len(given) != 2:
            raise BindError(
                f"{name} takes a value and the number of a row",
                hint=f"{name}(x, 2): x of the second row of the frame",
                position=position_of(node),
            )
        return given[:1], (_whole(given[1], name, 1, node),)
    if name == "NTILE":
        if len(given) != 1:
            raise BindError("NTILE takes the number of groups", position=position_of(node))
        return [], (_whole(given[0], name, 1, node),)
    if given:
        raise BindError(f"{name} takes no argument", position=position_of(node))
    return [], ()


def _is_of_the_row(e: Expr) -> bool:
    return not isinstance(_plain(e), Literal)


def _plain(e: Expr) -> Expr:
    """The constant that a cast of NULL, or of a whole number to a wider one, comes to."""
    if not isinstance(e, Cast):
        return e
    inner = _plain(e.arg)
    if not isinstance(inner, Literal):
        return e
    if inner.value is None:
        return Literal(e.type, None)
    wider = ("TINYINT", "SMALLINT", "INT", "BIGINT")
    if inner.type.kind in wider and e.type.kind in wider[wider.index(inner.type.kind) :]:
        return Literal(e.type, inner.value)
    return e


def _constant(e: Expr, what: str, node: exp.Expression) -> object:
    e = _plain(e)
    if not isinstance(e, Literal):
        raise NotSupported(f"{what}: this argument must be a constant", position=position_of(node))
    return e.value


def _whole(e: Expr, what: str, least: int, node: exp.Expression) -> int:
    """A constant number of rows or groups."""
    value = _constant(e, what, node)
    if not e.type.is_integer or not isinstance(value, int) or value < least:
        raise BindError(f"{what} takes a whole number from {least} on, not {e}", position=position_of(node))
    return value


def _check_range(distance: Type, order: list[Type], start: exp.Expression, side: str) -> None:
    """RANGE … PRECEDING is a distance along the one column of the order: an interval of a time, a number of numbers."""
    what = f"RANGE BETWEEN {sql_of(start)} {side}" if side == "PRECEDING" else f"RANGE … {sql_of(start)} {side}"
    if len(order) != 1:
        raise BindError(f"{what} needs one column in ORDER BY, not {len(order)}", position=position_of(start))
    (key,) = order
    if distance.is_interval and not key.is_timestamp or not distance.is_interval and not key.is_numeric:
        hint = "ROWS counts rows, whatever they are ordered by"
        if key.kind == "DATE":
            hint = "ORDER BY CAST(… AS TIMESTAMP(3))"
        raise BindError(
            f"{what} does not fit ORDER BY a column of type {key.text()}", hint=hint, position=position_of(start)
        )


def _distance(e: Expr, kind: str, side: str, node: exp.Expression) -> int:
    if (
        isinstance(e, Literal)
        and (e.type.is_integer or (kind == "RANGE" and e.type.kind == "INTERVAL_DAY"))
        and e.value >= 0
    ):
        return int(e.value)
    raise BindError(
        f"{kind} BETWEEN takes " + ("a whole number" if kind == "ROWS" else "a constant interval") + f" {side}",
        position=position_of(node),
    )
