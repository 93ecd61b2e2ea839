"""Queries: SELECT, VALUES, set operations, WITH, and what orders and limits them."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from sqlstream.sql.lexer import NUMBER
from sqlstream.sql.relations import RelationGrammar

_SET_OPERATIONS = {"UNION": exp.Union, "EXCEPT": exp.Except, "INTERSECT": exp.Intersect}
_QUERY_STARTS = ("SELECT", "WITH", "VALUES")
_BEHIND_QUERY = (")", "UNION", "EXCEPT", "INTERSECT", "ORDER", "LIMIT", "OFFSET", "FETCH")
_GROUPINGS = {"ROLLUP": exp.Rollup, "CUBE": exp.Cube}


class QueryGrammar(RelationGrammar):
    """Queries, whatever they begin with: WITH, SELECT, VALUES or a parenthesis."""

    def statement_query(self) -> exp.Expression:
        """The query that a statement ends with, perhaps with EMIT behind it."""
        return self.emitted(self.query())

    def emitted(self, query: exp.Expression) -> exp.Expression:
        """`EMIT ON WINDOW CLOSE` or `EMIT CHANGES` behind a statement's query, set on it."""
        token = self.token
        if self.accept("EMIT"):
            if self.at("FINAL"):
                self.unsupported(self.token, "EMIT FINAL is not supported", "EMIT ON WINDOW CLOSE says the same")
            if self.accept("CHANGES"):
                said = "CHANGES"
            else:
                self.expect("ON", "WINDOW", "CLOSE")
                said = "ON WINDOW CLOSE"
            query.set("emit", self.mark(exp.Var(this=said), token, self.previous))
        return query

    def query(self) -> exp.Expression:
        """`[WITH …] body [ORDER BY …] [LIMIT …] [OFFSET …] [FETCH …]`."""
        with self.nested():
            with_ = self._with() if self.at("WITH") else None
            body = self._set_operation()
            self._modifiers(body)
            if with_ is not None:
                if isinstance(body, exp.Values):
                    body = exp.Subquery(this=body)
                body.set("with_", with_)
            elif not _modified(body) and isinstance(body, exp.Subquery):
                return body.this  # parentheses around all of it
            return body

    def _modifiers(self, body: exp.Expression) -> None:
        """ORDER BY, LIMIT, OFFSET and FETCH of a body, set on it."""
        parts: dict[str, exp.Expression] = {}
        if order := self.order_by():
            parts["order"] = order
        while True:
            token = self.token
            if self.at("LIMIT") and "limit" not in parts:
                self.advance()
                if not self.accept("ALL"):
                    parts["limit"] = self.mark(exp.Limit(expression=self._count()), token)
                if self.at(","):
                    self.fail("expected OFFSET", "write LIMIT count OFFSET start")
            elif self.at("OFFSET") and "offset" not in parts:
                self.advance()
                parts["offset"] = self.mark(exp.Offset(expression=self._count()), token)
                if self.at("ROW", "ROWS"):
                    self.advance()
            elif self.at("FETCH") and "limit" not in parts:
                self.advance()
                self.choose("FIRST", "NEXT")
                count = self._count() if self.token.kind == NUMBER or self.at("?") else exp.Literal.number("1")
                parts["limit"] = self.mark(exp.Limit(expression=count), token)
                self.choose("ROW", "ROWS")
                self.expect("ONLY")
            else:
                break
        for key, part in parts.items():
            body.set(key, part)

    def _count(self) -> exp.Expression:
        token = self.token
        if token.key != "?" and (token.kind != NUMBER or not token.text.isdigit()):
            self.fail("expected a whole number")
        return self._primary()

    def _with(self) -> exp.Expression:
        token = self.expect("WITH")
        # a name, too: WITH recursive AS (…)
        recursive = True if self.at("RECURSIVE") and self.ahead(1).key not in ("AS", "(") else None
        if recursive:
            self.advance()
        return self.mark(exp.With(expressions=self.csv(self._cte), recursive=recursive), token)

    def _cte(self) -> exp.Expression:
        token = self.token
        name = self.identifier("the name of a WITH query")
        columns = None
        if self.at("("):
            columns = self.parenthesised(lambda: self.csv(lambda: self.identifier("a column's name")))
        self.expect("AS")
        alias = self.mark(exp.TableAlias(this=name, columns=columns), token)
        return self.mark(exp.CTE(this=self.parenthesised(self.query), alias=alias), token)

    # ---- bodies

    def _set_operation(self) -> exp.Expression:
        """UNION and EXCEPT, from the left; INTERSECT binds more tightly."""
        left = self._intersection()
        while self.at("UNION", "EXCEPT"):
            left = self._operation(left, self._intersection)
        return left

    def _intersection(self) -> exp.Expression:
        left = self._body()
        while self.at("INTERSECT"):
            left = self._operation(left, self._body)
        return left

    def _operation(self, left: exp.Expression, right: Callable[[], exp.Expression]) -> exp.Expression:
        token = self.advance()
        distinct = not self.accept("ALL")
        if distinct:
            self.accept("DISTINCT")
        node = _SET_OPERATIONS[token.key]
        return self.mark(node(this=left, expression=right(), distinct=distinct), token)

    def _body(self) -> exp.Expression:
        token = self.token
        if self.at("SELECT"):
            return self._select()
        if self.accept("VALUES"):
            return self.mark(exp.Values(expressions=self.csv(self._row_of_values)), token)
        if self.accept("TABLE"):
            source = self.mark(exp.From(this=self.table_name()), token)
            star = self.mark(exp.Star(), token)
            return self.mark(exp.Select(expressions=[star], from_=source), token)
        if self.at("("):
            return self.scalar_subquery()
        if self.at("FROM"):
            self.fail("expected a query", "write SELECT * FROM …")
        self.fail("expected a query (SELECT, VALUES or WITH)")

    def _row_of_values(self) -> exp.Expression:
        token = self.token
        row = self.expression()
        if isinstance(row, exp.Tuple):
            return row
        if isinstance(row, exp.Paren):
            row = row.this
        return self.mark(exp.Tuple(expressions=[row]), token)

    def _select(self) -> exp.Expression:
        token = self.expect("SELECT")
        parts: dict[str, object] = {}
        if self.at("/*+"):
            parts["hint"] = self.hint()
        distinct = self.token
        if self.accept("DISTINCT"):
            parts["distinct"] = self.mark(exp.Distinct(), distinct)
        else:
            self.accept("ALL")
        parts["expressions"] = self.csv(self._item)
        if self.accept("FROM"):
            parts["from_"], parts["joins"] = self.from_clause()
        for key, word, rule in (
            ("where", "WHERE", lambda: exp.Where(this=self.expression())),
            ("group", "GROUP", self._group),
            ("having", "HAVING", lambda: exp.Having(this=self.expression())),
            ("windows", "WINDOW", lambda: self.csv(self._named_window)),
            ("qualify", "QUALIFY", lambda: exp.Qualify(this=self.expression())),
        ):
            first = self.token
            if self.accept(word):
                found = rule()
                parts[key] = found if isinstance(found, list) else self.mark(found, first)
        return self.mark(exp.Select(**parts), token)

    def _item(self) -> exp.Expression:
        token = self.token
        if self.accept("*"):
            if self.at("EXCEPT", "EXCLUDE", "REPLACE") and self.ahead(1).key == "(":
                self.fail("expected FROM", "list the columns: Flink has no * EXCEPT")
            return self.mark(exp.Star(), token)
        if star := self._qualified_star():
            return star
        if self.at("FROM"):
            self.fail("expected an expression", "is there a comma too many before FROM?")
        this = self.expression()
        if self.accept("AS"):
            alias = self.identifier("an alias")
        elif self.at_name() and not self.at_emit():
            alias = self.identifier()
        else:
            return this
        return exp.Alias(this=this, alias=alias)

    def _qualified_star(self) -> exp.Expression | None:
        """`t.*`, `d.t.*`, or None: fields' stars are Flink's `t.row.*` too."""
        length = 0
        while self.ahead(2 * length + 1).key == "." and self.ahead(2 * length).key not in (".", "("):
            length += 1
        if not length or self.ahead(2 * length).key != "*":
            return None
        parts = []
        for _ in range(length):
            parts.append(self.identifier())
            self.expect(".")
        star = self.token
        self.expect("*")
        if len(parts) > 3:
            self.fail_at(star, "a star has at most three names before it")
        return self.column([*parts, self.mark(exp.Star(), star)])

    # ---- clauses

    def order_by(self) -> exp.Expression | None:
        token = self.token
        if not self.accept("ORDER"):
            return None
        self.expect("BY")
        return self.mark(exp.Order(expressions=self.csv(self.ordering)), token)

    def ordering(self) -> exp.Expression:
        this = self.expression()
        desc = self.at("DESC")
        if self.at("ASC", "DESC"):
            self.advance()
        nulls_first = None
        if self.accept("NULLS"):
            nulls_first = self.choose("FIRST", "LAST") == "FIRST"
        return exp.Ordered(this=this, desc=desc, nulls_first=nulls_first)

    def _group(self) -> exp.Expression:
        self.expect("BY")
        return exp.Group(expressions=self.csv(self._grouping))

    def _grouping(self) -> exp.Expression:
        token = self.token
        node = None
        if self.accept("GROUPING", "SETS"):
            node = exp.GroupingSets
        elif self.at("ROLLUP", "CUBE") and self.ahead(1).key == "(":
            node = _GROUPINGS[self.advance().key]
        if node is not None:
            with self.nested():
                sets = self.parenthesised(lambda: self.csv(self._grouping))
            return self.mark(node(expressions=sets), token, self.previous)
        if self.accept("(", ")"):
            return self.mark(exp.Tuple(expressions=[]), token)
        return self.expression()

    def _named_window(self) -> exp.Expression:
        name = self.identifier("a window's name")
        self.expect("AS")
        return exp.Window(this=name, **self.parenthesised(self.window))

    # ---- what a parenthesis begins

    def query_follows(self, index: int) -> bool:
        """Whether the parenthesis at `index` holds a query, not an expression or a join."""
        start = index
        while self.tokens[index].key == "(":
            index += 1
        if self.tokens[index].key not in _QUERY_STARTS and not self._explicit_table(index):
            return False
        # ((SELECT …) + 1): the query is only what the innermost holds
        return all(self._behind(i) in _BEHIND_QUERY for i in range(start + 1, index))

    def _explicit_table(self, index: int) -> bool:
        """`(TABLE t)` as opposed to `(TABLE(f(x)) JOIN …)`."""
        return self.tokens[index].key == "TABLE" and self.tokens[index + 1].key != "("

    def _behind(self, index: int) -> str:
        """The key of the token behind the parenthesis that the one at `index` opens."""
        close = self._closing().get(index)
        return "" if close is None else self.tokens[min(close + 1, len(self.tokens) - 1)].key

    def _closing(self) -> dict[int, int]:
        if self._pairs is None:
            self._pairs = {}
            opened: list[int] = []
            for i, token in enumerate(self.tokens):
                if token.key == "(":
                    opened.append(i)
                elif token.key == ")" and opened:
                    self._pairs[opened.pop()] = i
        return self._pairs

    _pairs: dict[int, int] | None = None


def _modified(query: exp.Expression) -> bool:
    return any(query.args.get(key) is not None for key in ("order", "limit", "offset"))
