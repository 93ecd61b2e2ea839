"""A query inside another that speaks of the outer one's row, as a relation of its own.

    (SELECT x FROM u WHERE u.k = s.k AND u.v > 3)

becomes `SELECT x, u.k FROM u WHERE u.v > 3`, whose last column is to be equal to s.k: whoever asked for it joins with it.
Where the outer row is spoken of in another way, the values that are spoken of are a relation, each once (`$outer`), and
the query is computed for all of them together:

    (SELECT x FROM u WHERE u.v < s.v)   SELECT x, o.v FROM (SELECT DISTINCT v FROM s) AS o, u WHERE u.v < o.v

Either way the last columns say whose rows they are: GROUP BY has them as well, LIMIT and OVER hold for each of their values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Column, Expr, conjunction
from sqlstream.plan import nodes
from sqlstream.plan.aggregate_binder import has_aggregate
from sqlstream.plan.columns import unsorted
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.scope import Scope
from sqlstream.sql.ast import JoinGroup, column_parts, exp, position_of
from sqlstream.types import Column as SchemaColumn

if TYPE_CHECKING:
    from sqlstream.plan.from_binder import FromBinder

OUTER = "$outer"


@dataclass(frozen=True)
class Dependent:
    """`plan`: the columns of the query, then one for each of `outer`, expressions over the outer row that it must equal.

    `safe[i]`: by IS NOT DISTINCT FROM. Nothing in `outer`: the query does not speak of the outer row.
    """

    plan: nodes.Node
    outer: tuple[Expr, ...] = ()
    safe: tuple[bool, ...] = ()

    @property
    def width(self) -> int:
        """How many columns the query has."""
        return len(self.plan.schema) - len(self.outer)

    @property
    def keys(self) -> tuple[int, ...]:
        """The columns behind those of the query."""
        return tuple(range(self.width, len(self.plan.schema)))


def equal(binder: ExpressionBinder, of: Dependent, right: nodes.Node, keys: Sequence[int], width: int) -> Expr | None:
    """That a row of `right`, behind one of `width` columns, is of that outer row. `keys`: where `of.keys` are in it."""
    parts = []
    for e, safe, k in zip(of.outer, of.safe, keys, strict=True):
        c = right.schema[k]
        parts.append(binder.call("IS NOT DISTINCT FROM" if safe else "=", [e, Column(c.type, width + k, c.name)]))
    return conjunction(parts)


def unwrapped(query: exp.Expression) -> exp.Expression:
    """The query in parentheses that are nothing but parentheses."""
    while isinstance(query, exp.Subquery) and not any(
        query.args.get(k) for k in ("with_", "order", "limit", "offset", "alias")
    ):
        query = query.this
    return query


def one_row(query: exp.Expression) -> bool:
    """Whether it is a SELECT of aggregates without GROUP BY: of no rows, too, it gives one row."""
    if not isinstance(query, exp.Select) or query.args.get("group") is not None or query.args.get("offset") is not None:
        return False
    limit = query.args.get("limit")
    if limit is not None and limit.expression.name == "0":
        return False
    return query.args.get("having") is not None or any(has_aggregate(e) for e in query.expressions)


def parts_of(node: exp.Expression) -> list[exp.Expression]:
    """The conditions that are joined by AND."""
    if isinstance(node, exp.Paren):
        return parts_of(node.this) if isinstance(node.this, (exp.And, exp.Paren)) else [node]
    return [*parts_of(node.this), *parts_of(node.expression)] if isinstance(node, exp.And) else [node]


def own_nodes(node: exp.Expression) -> list[exp.Expression]:
    """It and all below it but what stands in queries in it."""
    return [n for n in node.walk(prune=lambda n: isinstance(n, exp.Query)) if not isinstance(n, exp.Query)]


def has_subquery(node: exp.Expression) -> bool:
    """Whether a query stands in it."""
    return node.find(exp.Subquery, exp.Exists) is not None


def dependent(
    queries: FromBinder, query: exp.Expression, outer: ExpressionBinder, plan: nodes.Node, grouped: bool = False
) -> Dependent:
    """`query` as a relation. `plan`: what `outer` binds over. `grouped`: a SELECT of aggregates has a row only for
    values that have rows; without it such a query that speaks of the outer row is refused."""
    query = unwrapped(query)
    try:
        return Dependent(unsorted(queries.query(query)))
    except BindError as e:
        wrong = e
    query = query.copy()
    spoken = spoken_of(queries, query, outer.scope)
    if not spoken:
        raise wrong
    if not isinstance(query, exp.Select):
        return _of_parts(queries, query, spoken, outer, plan)
    if one_row(query) and not grouped:
        raise NotSupported(
            "a query of aggregates without GROUP BY that speaks of the outer row cannot stand here",
            hint="compare with it: x = (SELECT MAX(…) … WHERE …)",
            position=position_of(query),
        )
    keys = _by_equality(query, spoken, outer)
    if keys is None:
        queries, keys = _by_values(queries, query, spoken, outer, plan)
    _add_keys(query, [k.inner for k in keys])
    made = queries.query(query, per=len(keys))
    return Dependent(made, tuple(k.outer for k in keys), tuple(k.safe for k in keys))


@dataclass(frozen=True)
class _Key:
    """An expression of the inner query that is to equal one of the outer row."""

    inner: exp.Expression
    outer: Expr
    safe: bool


def _by_equality(query: exp.Expression, spoken: list[exp.Expression], outer: ExpressionBinder) -> list[_Key] | None:
    """The conditions `inner = outer` of WHERE, which are taken away; None where the outer row is spoken of elsewhere."""
    where = query.args.get("where")
    if where is None:
        return None
    left = {id(c) for c in spoken}
    keys: list[_Key] = []
    rest: list[exp.Expression] = []
    for part in parts_of(where.this):
        pair = _pair(part, left)
        if pair is None:
            rest.append(part)
            continue
        keys.append(_Key(pair[0], outer.bind(pair[1]), isinstance(part, exp.NullSafeEQ)))
        left -= {id(c) for c in pair[1].find_all(exp.Column)}
    if left:
        return None
    query.set("where", exp.Where(this=exp.and_(*rest, copy=False)) if rest else None)
    return keys


def _pair(part: exp.Expression, spoken: set[int]) -> tuple[exp.Expression, exp.Expression] | None:
    """The sides of an equality, the inner query's first, where one speaks of the outer row alone, the other not of it."""
    part = part.unnest()
    if not isinstance(part, (exp.EQ, exp.NullSafeEQ)) or has_subquery(part):
        return None
    sides = (part.this, part.expression)
    of_outer = [{id(c) in spoken for c in s.find_all(exp.Column)} for s in sides]
    if of_outer == [{False}, {True}]:
        return sides
    return (sides[1], sides[0]) if of_outer == [{True}, {False}] else None


def _by_values(
    queries: FromBinder, query: exp.Expression, spoken: list[exp.Expression], outer: ExpressionBinder, plan: nodes.Node
) -> tuple[FromBinder, list[_Key]]:
    """The query beside a relation of the values that it speaks of, each once, and what binds it."""
    relation, once, values = _values(queries, spoken, outer, plan)
    keys = [_Key(_column(relation, i, query), e, True) for i, e in enumerate(values)]
    _put_beside(query, relation)
    return queries.beside(relation, once), keys


def _values(
    queries: FromBinder, spoken: list[exp.Expression], outer: ExpressionBinder, plan: nodes.Node
) -> tuple[str, nodes.Node, list[Expr]]:
    """What is spoken of as a relation, each of the values once: its name, which stands in the query from now on; it; the values."""
    name = f"{OUTER}{len(queries.ctes)}"
    values: list[Expr] = []
    for c in spoken:
        e = outer.bind(c)
        if e not in values:
            values.append(e)
        c.replace(_column(name, values.index(e), c))
    columns = tuple(SchemaColumn(f"$o{i}", e.type) for i, e in enumerate(values))
    return name, nodes.Aggregate(nodes.Project(plan, tuple(values), columns), tuple(range(len(values))), ()), values


def _put_beside(query: exp.Expression, relation: str) -> None:
    """Has FROM of a SELECT begin with that relation."""
    first, joins = query.args.get("from_"), query.args.get("joins") or []
    query.set("from_", exp.From(this=exp.Table(this=exp.to_identifier(relation, quoted=True))))
    if first is not None:
        own = JoinGroup(this=first.this, joins=joins) if joins else first.this
        query.set("joins", [exp.Join(this=own, kind="CROSS")])


def _of_parts(
    queries: FromBinder, query: exp.Expression, spoken: list[exp.Expression], outer: ExpressionBinder, plan: nodes.Node
) -> Dependent:
    """A set operation: each of its parts is computed for all the values that any of them speaks of, and has these behind its
    columns, so that rows of one outer row meet no others'."""
    ours = {id(c) for c in spoken}
    speaking = {id(part) for part in _parts(query) if any(id(c) in ours for c in part.find_all(exp.Column))}
    relation, once, values = _values(queries, spoken, outer, plan)
    keys = [_column(relation, i, query) for i in range(len(values))]
    for part in _parts(query):
        if id(part) not in speaking:
            # beside each of the values are all its rows
            made = exp.Select(expressions=[exp.Star()], from_=exp.From(this=exp.Subquery(this=part.copy())))
            made.meta.update(part.meta)
            part.replace(made)
            part = made
        elif one_row(part):
            raise NotSupported(
                "in a set operation a query of aggregates without GROUP BY cannot speak of the outer row",
                hint="give it GROUP BY, or make it a value: (SELECT MAX(…) … WHERE …)",
                position=position_of(part),
            )
        _put_beside(part, relation)
        _add_keys(part, keys)
    made_of = queries.beside(relation, once).query(query, per=len(keys))
    return Dependent(made_of, tuple(values), tuple(True for _ in values))


def _parts(query: exp.Expression) -> list[exp.Expression]:
    """The queries that a set operation is made of."""
    if isinstance(query, (exp.Union, exp.Except, exp.Intersect)):
        return [*_parts(query.this), *_parts(query.expression)]
    return _parts(query.this) if isinstance(query, exp.Subquery) else [query]


def _column(relation: str, i: int, like: exp.Expression) -> exp.Expression:
    made = exp.column(exp.to_identifier(f"$o{i}", quoted=True), table=exp.to_identifier(relation, quoted=True))
    made.meta.update(like.meta)
    return made


def _add_keys(query: exp.Expression, keys: list[exp.Expression]) -> None:
    """Has `query` give the keys behind its columns, and go by them in all that it does."""
    group, having = query.args.get("group"), query.args.get("having")
    grouped = group is not None or having is not None or any(has_aggregate(e) for e in query.expressions)
    clauses = [*query.expressions, *(query.args[part] for part in ("qualify", "order") if query.args.get(part))]
    calls = [w for c in clauses for w in own_nodes(c) if isinstance(w, exp.Window) and w.args.get("alias") is None]
    for window in [*calls, *(query.args.get("windows") or [])]:
        window.set("partition_by", [*(window.args.get("partition_by") or []), *(k.copy() for k in keys)])
    if grouped:
        group = group or exp.Group(expressions=[])
        group.set("expressions", [*group.expressions, *(k.copy() for k in keys)])
        query.set("group", group)
    named = [exp.Alias(this=k.copy(), alias=exp.to_identifier(f"$k{i}", quoted=True)) for i, k in enumerate(keys)]
    query.set("expressions", [*query.expressions, *named])


def spoken_of(queries: FromBinder, query: exp.Expression, outer: Scope) -> list[exp.Expression]:
    """The columns in `query` that mean one of the outer row."""
    try:
        return [c for c in _foreign(queries, query) if outer.knows(column_parts(c))]
    except BindError as e:
        raise _in_from(query, e, outer) from None


def _in_from(query: exp.Expression, wrong: BindError, outer: Scope) -> BindError | NotSupported:
    """Why a FROM in `query` cannot be bound: `wrong`, unless it speaks of the outer row."""
    for c in query.find_all(exp.Column):
        if position_of(c) == wrong.position and outer.knows(column_parts(c)):
            return NotSupported(
                f"in FROM of a subquery {'.'.join(column_parts(c))} of the outer row is not known",
                hint="speak of it in WHERE of the subquery itself; UNNEST of it may stand in the outer FROM",
                position=wrong.position,
            )
    return wrong


def _foreign(queries: FromBinder, query: exp.Expression) -> list[exp.Expression]:
    """The columns in `query` that no FROM in it has."""
    queries = queries.within(query)
    if isinstance(query, exp.Subquery):
        return _foreign(queries, query.this)
    if isinstance(query, (exp.Union, exp.Except, exp.Intersect)):
        return [*_foreign(queries, query.this), *_foreign(queries, query.expression)]
    if not isinstance(query, exp.Select):
        return list(query.find_all(exp.Column))
    _, scope = queries.from_clause(query)
    aliases = {e.alias for e in query.expressions if isinstance(e, exp.Alias)}
    found: list[exp.Expression] = []

    def visit(node: exp.Expression, known: set[str]) -> None:
        if isinstance(node, exp.Query):
            found.extend(c for c in _foreign(queries, node) if not scope.knows(column_parts(c)))
        elif isinstance(node, exp.Column):
            parts = column_parts(node)
            if not isinstance(node.this, exp.Star) and not scope.knows(parts) and parts[0] not in known:
                found.append(node)
        else:
            for child in node.iter_expressions():
                visit(child, known)

    for part in ("expressions", "where", "group", "having", "windows", "qualify", "order"):
        value = query.args.get(part)
        for node in value if isinstance(value, list) else [] if value is None else [value]:
            visit(node, aliases if part == "order" else set())
    return found
