"""FROM: tables, views, subqueries, table functions and joins as plans with their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Self

from sqlstream.catalog import information_schema
from sqlstream.catalog.catalog import Catalog
from sqlstream.catalog.objects import Function, Table, View
from sqlstream.contracts import Source
from sqlstream.errors import BindError, NotSupported, SqlStreamError, did_you_mean
from sqlstream.expressions import Column, Expr, conjunction
from sqlstream.functions.scalar import SCALARS
from sqlstream.functions.typing import common
from sqlstream.functions.user import is_table_function
from sqlstream.plan import nodes
from sqlstream.plan.asof_join import bind_asof_join
from sqlstream.plan.changelog_binder import CHANGELOG_FUNCTIONS, bind_changelog_function
from sqlstream.plan.columns import renamed, unique_names, unsorted
from sqlstream.plan.correlation import has_subquery, parts_of
from sqlstream.plan.expression_binder import ExpressionBinder, coerce
from sqlstream.plan.files_binder import FILE_FUNCTIONS, alias_of, files_of
from sqlstream.plan.information_schema import information
from sqlstream.plan.joins import join, with_columns
from sqlstream.plan.lateral_binder import bind_lateral, bind_table_call, conditioned
from sqlstream.plan.on_subqueries import join_on
from sqlstream.plan.pivot_binder import pivoted, unpivoted
from sqlstream.plan.process_function_binder import bind_process_function
from sqlstream.plan.recursion import OwnRows, RecursiveQuery, bind_recursion, check_order, reads
from sqlstream.plan.scope import Scope
from sqlstream.plan.snapshot_join import EXAMPLE, SNAPSHOT, bind_snapshot_join
from sqlstream.plan.sources import bounded
from sqlstream.plan.state_binder import NAME as STATE
from sqlstream.plan.state_binder import bind_state
from sqlstream.plan.state_ttl import StateTtl
from sqlstream.plan.table_binder import TableBinder, bind_table
from sqlstream.plan.temporal_join import temporal_join
from sqlstream.plan.window_binder import WINDOW_FUNCTIONS, bind_window_function
from sqlstream.process_functions.signature import is_process_function
from sqlstream.sql.ast import (
    JoinGroup,
    Pivoted,
    TableArgument,
    TableFunction,
    Unpivoted,
    exp,
    hints,
    position_of,
)  # fmt: skip
from sqlstream.sql.printing import sql_of
from sqlstream.sql.statements import FileName, Options
from sqlstream.types import INT, PROCTIME, ROWTIME, Schema
from sqlstream.types import Column as SchemaColumn

# A relation of one row, for SELECT without FROM.
DUAL = nodes.Values((SchemaColumn("ZERO", INT.null(False)),), ((0,),))

_AS_OF = "… AS o [LEFT] JOIN t FOR SYSTEM_TIME AS OF o.ts AS t ON o.k = t.k"

# The table functions there are, by name: what binds a call, given how a TABLE argument is bound.
TABLE_FUNCTIONS = {
    **dict.fromkeys(WINDOW_FUNCTIONS, bind_window_function),
    **dict.fromkeys(CHANGELOG_FUNCTIONS, bind_changelog_function),
}


# What a name of WITH stands for: its query and what binds it; a query that reads itself, also within it; or a plan, that only its
# alias names (`correlation.py`).
Named = tuple[exp.Expression, "FromBinder"] | RecursiveQuery | OwnRows | nodes.Node


class FromBinder(ABC):
    """Binds relations. CTEs and views are bound where they are used, each with its own scope."""

    def __init__(
        self,
        catalog: Catalog,
        tables: TableBinder,
        ctes: dict[str, Named] | None = None,
        depth: int = 0,
    ) -> None:
        self.catalog = catalog
        self.tables = tables
        self.ctes = ctes or {}
        self.depth = depth
        if depth > 40:
            raise BindError("views nest too deeply", hint="does a view read itself?")

    @abstractmethod
    def query(self, node: exp.Expression, per: int = 0) -> nodes.Node:
        """The plan of a query. `per`: LIMIT holds for each of the values of so many columns, the last ones."""

    @abstractmethod
    def _where(
        self, plan: nodes.Node, scope: Scope, condition: exp.Expression, ttl: StateTtl | None = None
    ) -> nodes.Node:
        """`plan`, whose names are `scope`, where `condition` is true."""

    def beside(self, name: str, named: Named) -> Self:
        """What binds queries that see `named` under `name` as well."""
        return type(self)(self.catalog, self.tables, {**self.ctes, name: named}, self.depth)

    def from_clause(self, node: exp.Select, ttl: StateTtl | None = None) -> tuple[nodes.Node, Scope]:
        """FROM of a SELECT, or one row without columns. `ttl`: its hints."""
        if node.args.get("from_") is None:
            return DUAL, replace(Scope.of(None, DUAL.schema), visible=())
        first = node.args["from_"].this
        if isinstance(first, exp.Unnest):
            plan, scope = self._unnest(DUAL, Scope.of(None, Schema(())), first, "CROSS", first)
            plan = nodes.keep(plan, range(1, len(plan.schema)))
            scope = scope.renamed(plan.schema)
        else:
            plan, scope = self.relation(first, ttl)
        for j in node.args.get("joins") or []:
            plan, scope = self._join(plan, scope, j, ttl)
        return plan, scope

    def within(self, node: exp.Expression) -> Self:
        """What binds the parts of a query, which see the queries of its WITH."""
        clause = node.args.get("with_")
        if clause is None:
            return self
        ctes = dict(self.ctes)
        named: set[str] = set()
        binder = self
        recursive = bool(clause.args.get("recursive"))
        if recursive:
            names = [cte.args["alias"].this.name for cte in clause.expressions]
            check_order(names, [cte.this for cte in clause.expressions])
        for cte in clause.expressions:
            name = cte.args["alias"].this.name
            if name in named:
                raise BindError(f"two queries in WITH are called '{name}'", position=position_of(cte.args["alias"]))
            named.add(name)
            # A CTE sees those before it, and itself only where it is recursive.
            ctes[name] = RecursiveQuery(cte, binder) if recursive and reads(cte.this, name) else (cte, binder)
            binder = type(self)(self.catalog, self.tables, dict(ctes), self.depth)
        return binder

    def relation(self, node: exp.Expression, ttl: StateTtl | None = None) -> tuple[nodes.Node, Scope]:
        """One FROM item with its names. `ttl`: the hints of the SELECT that it stands in."""
        if isinstance(node, exp.Table):
            return self._table(node)
        if isinstance(node, exp.Subquery):
            plan = unsorted(self.query(node.this if not node.args.get("with_") else node))
            return self.aliased(plan, node.args.get("alias"), None, node)
        if isinstance(node, exp.Lateral):
            return self.relation(node.this, ttl)
        if isinstance(node, TableFunction):
            return self._table_function(node)
        if isinstance(node, exp.Values):
            return self.aliased(self.query(node), node.args.get("alias"), None, node)
        if isinstance(node, JoinGroup):
            plan, scope = self.relation(node.this, ttl)
            for j in node.args["joins"]:
                plan, scope = self._join(plan, scope, j, ttl)
            return plan, scope
        if isinstance(node, (Pivoted, Unpivoted)):
            turned = pivoted if isinstance(node, Pivoted) else unpivoted
            return self.aliased(
                turned(*self.relation(node.this), node, self.catalog), node.args.get("alias"), None, node
            )
        raise NotSupported(f"this in FROM is not supported: {sql_of(node)[:80]}", position=position_of(node))

    def aliased(
        self,
        plan: nodes.Node,
        alias: exp.Expression | None,
        default: str | None,
        node: exp.Expression,
        database: str | None = None,
    ) -> tuple[nodes.Node, Scope]:
        """`plan` under the names that an alias (else `default`, of a `database`) gives it and its columns. `node`: where they
        stand."""
        renames = alias is not None and alias.this is not None
        name = alias.this.name if alias is not None and renames else default
        if alias is not None and alias.args.get("columns"):
            names = [c.name for c in alias.args["columns"]]
            plan = renamed(plan, names, node)
        return plan, Scope.of(name, plan.schema, None if renames else database)

    def _table(self, node: exp.Table) -> tuple[nodes.Node, Scope]:
        name = self._name(node)
        if len(name) == 1 and name[0] in self.ctes:
            named = self.ctes[name[0]]
            if isinstance(named, nodes.Node):
                return named, replace(Scope.of(name[0], named.schema), visible=())
            if isinstance(named, OwnRows | RecursiveQuery):
                plan = named.ref if isinstance(named, OwnRows) else bind_recursion(named.binder, named.cte, name[0])
                return self.aliased(plan, node.args.get("alias"), name[0], node)
            cte, binder = named
            plan, _ = binder.aliased(unsorted(binder.query(cte.this)), cte.args.get("alias"), name[0], node)
            return self.aliased(plan, node.args.get("alias"), name[0], node)
        if node.args.get("version") is not None:
            raise NotSupported(
                "FOR SYSTEM_TIME AS OF is for the right side of a join",
                hint="… JOIN t FOR SYSTEM_TIME AS OF o.proctime AS t ON …",
                position=position_of(node),
            )
        found = self.catalog.relation(name, position_of(node), self._options(node))
        of_files = isinstance(name[0], FileName)
        database = None if of_files else self.catalog.database(name[:-1]).name
        if isinstance(found, Table):
            alias = alias_of(name[0]) if of_files else name[-1]
            return self.aliased(self._scan(found, node), node.args.get("alias"), alias, node, database)
        try:
            plan = unsorted(
                type(self)(self.catalog.at(found.within), self.tables, None, self.depth + 1).query(found.query)
            )
        except SqlStreamError as e:
            # Positions inside belong to the view's text.
            e.position = position_of(node)
            e.message = f"in view {found.name}: {e.message}"
            raise
        plan = _named_as_view(plan, found, node)
        return self.aliased(plan, node.args.get("alias"), name[-1], node, database)

    def _name(self, node: exp.Table) -> tuple[str, ...]:
        parts = (node.args.get("catalog"), node.args.get("db"), node.this)
        return tuple(FileName(p.name) if isinstance(p, exp.Literal) else p.name for p in parts if p is not None)

    def _scan(self, table: Table, node: exp.Expression) -> nodes.Node:
        if table.database == information_schema.NAME and not table.options:
            return information(table, self.catalog, self._columns_of if self.tables.opens else None)
        try:
            return self.tables.scan(table)
        except SqlStreamError as e:
            e.position = e.position or position_of(node)
            raise

    def _columns_of(self, relation: Table | View) -> Schema:
        """The columns of a table or view, whose tables are not opened for it."""
        if isinstance(relation, Table):
            return bind_table(relation, self.catalog, Source(), self.tables.time_zone).schema
        binder = type(self)(self.catalog.at(relation.within), self.tables.described(), None, self.depth + 1)
        plan = binder.query(relation.query)
        return _named_as_view(plan, relation, relation.query).schema

    def _options(self, node: exp.Expression) -> Options:
        found: dict[str, str] = {}
        for h in hints(node):
            if h.name != "OPTIONS":
                raise NotSupported(
                    f"hint {h.name} is not supported on a table",
                    hint=f"a table has hint OPTIONS('key' = 'value'); {h.name} may stand behind SELECT",
                    position=position_of(node),
                )
            found.update(h.options)
        return tuple(found.items())

    def _table_function(self, node: TableFunction) -> tuple[nodes.Node, Scope]:
        name = str(node.this).upper()
        declared = self.catalog.function(node.this)
        if declared is None and name in FILE_FUNCTIONS:
            files = files_of(name, node, self._options(node))
            plan = self._scan(self.catalog.table_of(files, position_of(node)), node)
            return self.aliased(plan, node.args.get("alias"), alias_of(files.path), node)
        if node.args.get("hints"):
            raise NotSupported(
                f"hints behind {name}(…) are not supported",
                hint="a hint stands behind SELECT, a table's name, or a function that reads files",
                position=position_of(node),
            )

        def table(argument: TableArgument) -> tuple[nodes.Node, Scope]:
            return self.relation(argument.this)

        if declared is not None and self._function_of_values(node) is not None:
            plan, scope = bind_table_call(self, DUAL, Scope.of(None, Schema(())), declared, node, "CROSS", node)
            plan = nodes.keep(plan, range(1, len(plan.schema)))
            return plan, scope.renamed(plan.schema)
        if declared is not None and is_process_function(declared.path):
            plan = bind_process_function(declared, node, table, self.catalog)
        elif name == SNAPSHOT and declared is None:
            raise BindError("SNAPSHOT stands in a join, behind LATERAL", hint=EXAMPLE, position=position_of(node))
        elif name == STATE:
            plan = bind_state(node, self.tables.states)
        elif name in TABLE_FUNCTIONS:
            plan = TABLE_FUNCTIONS[name](name, node, table, self.catalog)
        elif declared is not None:
            raise BindError(
                f"{declared.name} is a function of a row's values, not of a table",
                hint=f"SELECT {declared.name}(…) FROM …; sqlstream.udtf declares a table function",
                position=position_of(node),
            )
        elif name in SCALARS and not SCALARS[name].operator:
            raise BindError(
                f"{name} gives a value, not rows",
                hint=f"SELECT {name}(…) FROM …; UNNEST({name}(…)) where it is an ARRAY",
                position=position_of(node),
            )
        else:
            *database, _ = node.this.split(".")
            self.catalog.database(tuple(database), position_of(node))
            known = [
                *TABLE_FUNCTIONS,
                *FILE_FUNCTIONS,
                SNAPSHOT,
                STATE,
                *(f for f in self.catalog.functions() if self._is_of_tables(f)),
            ]
            raise NotSupported(
                f"table function {name} is not supported",
                hint=did_you_mean(name, known, "table functions"),
                position=position_of(node),
            )
        return self.aliased(plan, node.args.get("alias"), None, node)

    def _function_of_values(self, node: TableFunction) -> Function | None:
        """The Python table function that is called, which gives rows for the values of one."""
        declared = self.catalog.function(node.this)
        return declared if declared is not None and is_table_function(declared.path) else None

    def _is_of_tables(self, name: str) -> bool:
        declared = self.catalog.function(name)
        try:
            return declared is not None and (is_process_function(declared.path) or is_table_function(declared.path))
        except BindError:  # its module has gone
            return False

    def _join(self, left: nodes.Node, scope: Scope, node: exp.Join, ttl: StateTtl | None) -> tuple[nodes.Node, Scope]:
        side = (node.args.get("side") or "").upper()
        kind = side or ("CROSS" if (node.args.get("kind") or "").upper() == "CROSS" else "INNER")
        item = node.this
        if (node.args.get("method") or "").upper() == "ASOF":
            return bind_asof_join(self, left, scope, kind, node)
        if isinstance(item, exp.Unnest):
            return self._unnest(left, scope, item, kind, node)
        if isinstance(item, exp.Table) and item.args.get("version") is not None:
            return self._as_of(left, scope, item, kind, node)
        if isinstance(item, exp.Lateral):
            return bind_lateral(self, left, scope, item.this, kind, node)
        if isinstance(item, TableFunction) and item.args.get("lateral"):
            if str(item.this).upper() == SNAPSHOT and self.catalog.function(item.this) is None:
                return bind_snapshot_join(self, left, scope, item, kind, node)
            called = self._function_of_values(item)
            if called is not None:
                return bind_table_call(self, left, scope, called, item, kind, node)
        right, right_scope = self.relation(item, ttl)
        lives = (None, None) if ttl is None else (ttl.of(scope), ttl.of(right_scope))
        both = scope.beside(right_scope, position_of(item))
        using = [i.name for i in node.args.get("using") or []]
        if (node.args.get("method") or "").upper() == "NATURAL":
            using = [n for n in scope.names() if n in right_scope.names()]
            if not using:
                raise BindError("NATURAL JOIN: the tables have no column of one name", position=position_of(node))
        if using:
            return self._join_using(left, scope, right, right_scope, kind, using, node, lives)
        condition: Expr | None = None
        above: list[exp.Expression] = []  # what an inner join may leave to a filter
        if node.args.get("on") is not None:
            parts = parts_of(node.args["on"])
            above = [p for p in parts if kind == "INNER" and has_subquery(p)]
            if kind != "INNER" and any(has_subquery(p) for p in parts):
                plan = join_on(self, (left, scope), (right, right_scope), both, kind, parts, lives)
                return plan, both.renamed(plan.schema)
            binder = ExpressionBinder(both, self.catalog)
            condition = conjunction([binder.condition(p) for p in parts if p not in above])
        elif kind != "CROSS":
            raise BindError(f"{kind} JOIN needs ON or USING", position=position_of(node))
        plan = join(left, right, "INNER" if kind == "CROSS" else kind, condition, lives)
        for part in above:
            plan = self._where(plan, both, part)
        return plan, both.renamed(plan.schema)

    def _join_using(
        self,
        left: nodes.Node,
        scope: Scope,
        right: nodes.Node,
        right_scope: Scope,
        kind: str,
        names: list[str],
        node: exp.Join,
        lives: tuple[int | None, int | None],
    ) -> tuple[nodes.Node, Scope]:
        """A join by columns of one name."""
        binder = ExpressionBinder(scope.joined(right_scope), self.catalog)
        pairs = self.pairs(scope, right_scope, names, node)
        plan = join(left, right, kind, conjunction([binder.call("=", [a, b]) for a, b in pairs]), lives)
        return self.paired(plan, binder, kind, dict(zip(names, pairs, strict=True)))

    def pairs(
        self, scope: Scope, right_scope: Scope, names: list[str], node: exp.Expression
    ) -> list[tuple[Column, Column]]:
        """The columns of these names of both sides, over both."""
        found: list[tuple[Column, Column]] = []
        for name in names:
            a, b = (s.resolve((name,), position_of(node)) for s in (scope, right_scope))
            assert isinstance(a, Column) and isinstance(b, Column)
            found.append((a, replace(b, index=b.index + scope.width)))
        return found

    def paired(
        self, plan: nodes.Node, binder: ExpressionBinder, kind: str, pairs: dict[str, tuple[Column, Column]]
    ) -> tuple[nodes.Node, Scope]:
        """A join by columns of one name, `plan`, whose names are those of `binder`: each pair is seen as one,
        COALESCE(left, right), before all other columns."""
        both = binder.scope
        exprs: list[Expr] = [Column(c.type, i, c.name) for i, c in enumerate(plan.schema)]
        columns, shown = list(plan.schema.columns), []
        for name, (a, b) in pairs.items():
            mine, theirs = exprs[a.index], exprs[b.index]
            one = {"RIGHT": theirs, "FULL": binder.call("COALESCE", [mine, theirs])}.get(kind, mine)
            one = coerce(one, common([mine.type, theirs.type], f"USING ({name})").null(one.type.nullable))
            if isinstance(one, Column):
                shown.append(one.index)
                continue
            shown.append(len(exprs))
            exprs.append(one)
            columns.append(SchemaColumn(name, one.type))
        both = both.renamed(plan.schema)
        if len(exprs) > both.width:
            plan = nodes.Project(plan, tuple(exprs), tuple(columns))
            both = both.joined(Scope.of(None, Schema(tuple(columns[both.width :]))))
        shown += [
            i for i in both.visible if i not in shown and not any(i in (a.index, b.index) for a, b in pairs.values())
        ]
        return plan, replace(both, visible=tuple(shown))

    def _as_of(
        self, left: nodes.Node, scope: Scope, item: exp.Table, kind: str, node: exp.Join
    ) -> tuple[nodes.Node, Scope]:
        moment = ExpressionBinder(scope, self.catalog).bind(item.args["version"].expression)
        mark = scope.schema[moment.index].time if isinstance(moment, Column) else None
        plain = item.copy()
        plain.set("version", None)
        right, right_scope = self.relation(plain)
        if mark not in (PROCTIME, ROWTIME):
            raise NotSupported(
                "FOR SYSTEM_TIME AS OF takes a time attribute of the left side",
                hint="a column with a WATERMARK, as it is, or one of processing time: p AS PROCTIME()",
                position=position_of(item),
            )
        what = "a lookup join" if mark == PROCTIME else "a temporal join"
        if kind not in ("INNER", "LEFT"):
            raise NotSupported(f"{what} is INNER or LEFT, not {kind}", hint=_AS_OF, position=position_of(node))
        if node.args.get("on") is None:
            raise BindError(f"{what} needs ON", hint=_AS_OF, position=position_of(node))
        both = scope.beside(right_scope, position_of(item))
        condition = ExpressionBinder(both, self.catalog).condition(node.args["on"])
        if mark == ROWTIME:
            assert isinstance(moment, Column)
            try:
                plan = temporal_join(left, moment, right, item.name, self._primary_key(plain), kind, condition)
            except SqlStreamError as e:
                e.position = e.position or position_of(item)
                raise
            return plan, both.renamed(plan.schema)
        if not bounded(right):
            raise NotSupported(
                f"table {item.name} is unbounded: it cannot be looked up", hint="remove its 'source.monitor-interval'",
                position=position_of(item),
            )  # fmt: skip
        plan = _as_lookup(join(left, right, kind, condition))
        return plan, both.renamed(plan.schema)

    def _primary_key(self, node: exp.Table) -> tuple[str, ...]:
        """The PRIMARY KEY of a table; () of what is none."""
        name = self._name(node)
        if len(name) == 1 and name[0] in self.ctes:
            return ()
        found = self.catalog.relation(name, position_of(node), self._options(node))
        return found.primary_key if isinstance(found, Table) else ()

    def _unnest(
        self, left: nodes.Node, scope: Scope, item: exp.Unnest, kind: str, node: exp.Join
    ) -> tuple[nodes.Node, Scope]:
        if kind not in ("CROSS", "INNER", "LEFT"):
            raise NotSupported(f"UNNEST with {kind} JOIN is not supported", position=position_of(node))
        value = ExpressionBinder(scope, self.catalog).bind(item.expressions[0])
        t = value.type
        if t.kind in ("ARRAY", "MULTISET"):
            element = t.element
            made = [(f.name, f.type) for f in element.fields] if element.kind == "ROW" else [("EXPR$0", element)]
        elif t.kind == "MAP":
            made = [("KEY", t.fields[0].type), ("VALUE", t.fields[1].type)]
        else:
            raise BindError(
                f"UNNEST takes an ARRAY, MAP or MULTISET, not {t.text()}",
                hint="fields of a ROW are written row.field",
                position=position_of(item),
            )
        alias = item.args.get("alias")
        names = [c.name for c in alias.args.get("columns") or []] if alias is not None else []
        ordinality = bool(item.args.get("offset"))
        if ordinality and t.kind == "MULTISET":
            raise NotSupported(
                "UNNEST of a MULTISET takes no WITH ORDINALITY: its elements stand in no order",
                hint="ARRAY_AGG gives an ARRAY, which has one",
                position=position_of(item),
            )
        if len(names) > len(made) + ordinality:
            raise BindError(
                f"UNNEST gives {len(made) + ordinality} columns, and {len(names)} names are given",
                hint="a ROW gives a column for each field, a MAP key and value, WITH ORDINALITY one more",
                position=position_of(alias or item),
            )
        wide, (at,) = with_columns(left, [value])
        columns = tuple(
            SchemaColumn(names[i] if i < len(names) else n, ty.null(True)) for i, (n, ty) in enumerate(made)
        )
        out: nodes.Node = nodes.Unnest(wide, at, columns, "LEFT" if kind == "LEFT" else "INNER", ordinality)
        if len(wide.schema) > len(left.schema):
            width = len(left.schema)
            out = nodes.keep(out, [*range(width), *range(len(wide.schema), len(out.schema))])
        if ordinality and len(names) > len(made):
            out = renamed(out, [*(c.name for c in out.schema.columns[:-1]), names[len(made)]], item)
        right_schema = Schema(out.schema.columns[len(left.schema) :])
        name = alias.this.name if alias is not None and alias.this is not None else None
        both = scope.beside(Scope.of(name, right_schema), position_of(alias or item)).renamed(out.schema)
        return conditioned(self, out, both, kind, node, "UNNEST"), both


def _named_as_view(plan: nodes.Node, view: View, node: exp.Expression) -> nodes.Node:
    """The rows of a view's query, under the names that the view gives, or with each name once."""
    names = list(view.columns) or unique_names(plan.schema)
    return plan if names == list(plan.schema.names) else renamed(plan, names, node)


def _as_lookup(made: nodes.Node) -> nodes.Node:
    """The Join at the top of `made` as a LookupJoin; Projects above stay."""
    if isinstance(made, nodes.Project):
        return replace(made, input=_as_lookup(made.input))
    assert isinstance(made, nodes.Join)
    return nodes.LookupJoin(
        made.input, made.right, made.kind, made.left_keys, made.right_keys, made.null_safe, made.residual
    )
