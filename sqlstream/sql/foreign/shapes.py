"""Trees that Flink has another form for, as sqlglot trees: each rule is a function of a query's whole tree."""

from __future__ import annotations

from sqlglot import exp, transforms

# where GROUP BY, and where HAVING, do not know the aliases of SELECT
_NO_ALIAS_IN_GROUP_BY = ("trino", "tsql")
_NO_ALIAS_IN_HAVING = ("postgres", "trino", "tsql")


def group_by_items(tree: exp.Expression, dialect: str) -> exp.Expression:
    """GROUP BY 1, GROUP BY an alias, GROUP BY ALL; HAVING and QUALIFY by an alias: the expressions themselves.

    A column of an alias' name comes first everywhere but in ClickHouse. Which columns there are is not known here:
    `meta["aliases"]` of the tree has the names that were taken for aliases.
    """
    taken: set[str] = set()
    for select in tree.find_all(exp.Select):
        items = list(select.expressions)
        aliases = {i.alias: i.this for i in items if isinstance(i, exp.Alias)}
        # an alias that its own expression uses as a column's name is that column
        named = {k: v for k, v in aliases.items() if all(c.name != k for c in v.find_all(exp.Column))}
        in_group = {} if dialect in _NO_ALIAS_IN_GROUP_BY else named
        in_having = {} if dialect in _NO_ALIAS_IN_HAVING else named
        taken |= _names(select.args.get("group")) & set(in_group)
        taken |= (_names(select.args.get("having")) | _names(select.args.get("qualify"))) & set(in_having)

        group = select.args.get("group")
        if group is not None and group.args.get("all"):
            plain = [i.unalias() for i in items if not _aggregates(i)]
            select.set("group", exp.Group(expressions=[p.copy() for p in plain]) if plain else None)
        elif group is not None:
            group.set("expressions", [_item(e, items, in_group) for e in group.expressions])
        for clause in ("having", "qualify"):
            if select.args.get(clause) is not None:
                select.args[clause].set("this", _named(select.args[clause].this, in_having))
        order = select.args.get("order")
        if order is not None and any(
            e.this.name.upper() == "ALL" for e in order.expressions if isinstance(e.this, exp.Column | exp.Var)
        ):
            last = order.expressions[0]
            made = [
                exp.Ordered(
                    this=exp.Literal.number(n + 1), desc=last.args.get("desc"), nulls_first=last.args.get("nulls_first")
                )
                for n in range(len(items))
            ]
            order.set("expressions", made)
    tree.meta["aliases"] = frozenset(n.lower() for n in taken)
    return tree


def _names(clause: exp.Expression | None) -> set[str]:
    return set() if clause is None else {c.name for c in clause.find_all(exp.Column) if not c.table}


def ambiguous_alias(tree: exp.Expression, dialect: str) -> exp.Expression | None:
    """An alias that may be a column: which of the two is meant, is another one there than in Flink."""
    for select in tree.find_all(exp.Select):
        for item in select.expressions:
            if not isinstance(item, exp.Alias) or (isinstance(item.this, exp.Column) and item.this.name == item.alias):
                continue
            own = any(c.name == item.alias for c in item.this.find_all(exp.Column))
            if dialect == "bigquery" and own and item.alias in _names(select.args.get("group")):
                return item
            others = [e for e in select.expressions if e is not item]
            clauses = [*others, select.args.get("where"), *((select.args.get("group"),) if own else ())]
            # in Postgres and SQL Server an alias is one only where it stands alone
            keys = select.args["order"].expressions if select.args.get("order") else []
            inside = [k for k in keys if not isinstance(k.this, exp.Column)]
            if dialect in ("postgres", "tsql") and any(item.alias in _names(k) for k in inside):
                return item
            if dialect == "clickhouse" and any(item.alias in _names(c) for c in clauses):
                return item
    return None


def _aggregates(item: exp.Expression) -> bool:
    return any(f.find_ancestor(exp.Window) is None for f in item.find_all(exp.AggFunc))


def _item(e: exp.Expression, items: list[exp.Expression], named: dict[str, exp.Expression]) -> exp.Expression:
    if isinstance(e, exp.Literal) and not e.is_string and 0 < int(e.this) <= len(items):
        return items[int(e.this) - 1].unalias().copy()
    if isinstance(e, exp.Column) and not e.table and e.name in named:
        return named[e.name].copy()
    return e


def _named(e: exp.Expression, named: dict[str, exp.Expression]) -> exp.Expression:
    def one(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Column) and not node.table and node.name in named:
            return exp.Paren(this=named[node.name].copy())
        return node

    return e.transform(one)


def explode_in_from(tree: exp.Expression) -> exp.Expression:
    """`LATERAL VIEW explode(x) t AS y` (Spark), `FROM t, UNNEST(x) AS y` (BigQuery): CROSS JOIN UNNEST(x) AS t (y)."""
    for select in tree.find_all(exp.Select):
        laterals = select.args.get("laterals") or []
        for lateral in laterals:
            if not (lateral.args.get("view") and type(lateral.this) is exp.Explode) or lateral.args.get("outer"):
                return tree  # refused by name
        for lateral in laterals:
            join = exp.Join(
                this=exp.Unnest(expressions=[lateral.this.this], alias=lateral.args.get("alias")), kind="CROSS"
            )
            select.append("joins", join)
        select.set("laterals", None)
    for unnest in tree.find_all(exp.Unnest):
        alias = unnest.args.get("alias")
        if alias is not None and alias.this is None and alias.columns:
            alias.set("this", exp.to_identifier(f"{alias.columns[0].name}_items"))
    return tree


def distinct_on(tree: exp.Expression) -> exp.Expression:
    """SELECT DISTINCT ON (…): the first row by ROW_NUMBER. With a LIMIT its ORDER BY is the result's, too.

    Without one it only says which row is the first: a stream could not sort its result.
    """

    def one(node: exp.Expression) -> exp.Expression:
        distinct = node.args.get("distinct") if isinstance(node, exp.Select) else None
        if distinct is None or not distinct.args.get("on"):
            return node
        order, names = node.args.get("order"), {i.unalias(): i.alias_or_name for i in node.expressions}
        names |= {exp.column(n): n for n in names.values()}
        limits = {k: node.args[k] for k in ("limit", "offset") if node.args.get(k)}
        keys = [] if order is None or not limits else [e.copy() for e in order.expressions]
        if any(k.this not in names for k in keys):
            return node  # refused by name
        for k in limits:
            node.set(k, None)
        made = transforms.eliminate_distinct_on(node)
        for key in keys:
            key.set("this", exp.column(names[key.this]))
        made.set("order", exp.Order(expressions=keys) if keys else None)
        for k, v in limits.items():
            made.set(k, v)
        return made

    return tree.transform(one)


def semi_joins(tree: exp.Expression) -> exp.Expression:
    """LEFT SEMI and ANTI JOIN: [NOT] EXISTS."""
    return tree.transform(lambda n: transforms.eliminate_semi_and_anti_joins(n) if isinstance(n, exp.Select) else n)


def join_kinds(tree: exp.Expression) -> exp.Expression:
    """A comma, and a JOIN without a condition, are cross joins."""
    for join in tree.find_all(exp.Join):
        bare = not join.args.get("on") and not join.args.get("using") and not join.method
        if not join.kind and not join.side and bare:
            join.set("kind", "CROSS")
        if join.kind == "OUTER":
            join.set("kind", None)
    return tree


def plus_of_strings(tree: exp.Expression) -> exp.Expression:
    """`a + 'x'` joins strings in SQL Server."""

    def text(node: exp.Expression) -> bool:
        if isinstance(node, exp.Add):
            return text(node.this) or text(node.expression)
        return (
            isinstance(node, exp.National)
            or (isinstance(node, exp.Literal) and node.is_string)
            or (isinstance(node, exp.Cast) and node.is_type(*exp.DataType.TEXT_TYPES))
        )

    for node in [n for n in tree.find_all(exp.Add) if text(n)]:
        joined = exp.DPipe(this=node.this, expression=node.expression)
        if node is tree:
            tree = joined
        else:
            node.replace(joined)
    return tree


def plain_nodes(tree: exp.Expression) -> exp.Expression:
    """Raw strings are strings; NULLs are nothing to ANY_VALUE in any case."""

    def one(node: exp.Expression) -> exp.Expression:
        if isinstance(node, (exp.RawString, exp.National)):
            return exp.Literal.string(str(node.this))
        if isinstance(node, exp.IgnoreNulls) and isinstance(node.this, exp.AnyValue):
            return node.this
        return node

    return tree.transform(one)


SHAPES = (plain_nodes, distinct_on, semi_joins, explode_in_from, join_kinds)
