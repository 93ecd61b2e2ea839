"""FROM: tables, subqueries, table functions, joins."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from sqlstream.sql.ast import JoinGroup, Pivoted, TableFunction, Unpivoted
from sqlstream.sql.expressions import ExpressionGrammar
from sqlstream.sql.lexer import NUMBER, STRING, Token

_SIDES = ("LEFT", "RIGHT", "FULL")


class RelationGrammar(ExpressionGrammar):
    """What may stand in FROM, and the joins between."""

    def from_clause(self) -> tuple[exp.Expression, list[exp.Expression]]:
        """The From behind the word FROM, and the joins of its Select."""
        token = self.token
        first, joins = self._joined()
        while comma := self.accept(","):
            this, more = self._joined()
            if all(_flat(join) for join in more):
                joins += [self.mark(exp.Join(this=this, kind="CROSS"), comma), *more]
            else:
                # a comma binds less than JOIN, which shows in outer joins and in USING
                group = self.mark(JoinGroup(this=this, joins=more), comma)
                joins.append(self.mark(exp.Join(this=group, kind="CROSS"), comma))
        return self.mark(exp.From(this=first), token), joins

    def _joined(self) -> tuple[exp.Expression, list[exp.Expression]]:
        """A relation and the joins behind it, up to a comma."""
        first = self.relation()
        joins = []
        while join := self._join():
            joins.append(join)
        return first, joins

    def _join(self) -> exp.Expression | None:
        token = self.token
        method = self.advance().key if self.at("NATURAL") or self._asof() else None
        side, kind = None, None
        if self.at(*_SIDES):
            side = self.advance().key
            self.accept("OUTER")
        elif self.accept("CROSS"):
            kind = "CROSS"
        elif self.accept("INNER") or self.at("JOIN") or method:
            kind = "INNER"
        else:
            return None
        if self.at("SEMI", "ANTI"):
            self.fail("expected JOIN", "write WHERE [NOT] EXISTS (SELECT …), or IN")
        self.expect("JOIN")
        this = self.relation()
        on, using = None, None
        matched = self.parenthesised(self.expression) if method == "ASOF" and self.accept("MATCH_CONDITION") else None
        if self.accept("ON"):
            on = self.expression()
        elif self.accept("USING"):
            using = self.parenthesised(lambda: self.csv(lambda: self.identifier("a column's name")))
        if kind == "CROSS" or method == "NATURAL":
            if on is not None or using is not None:
                self.fail_at(token, f"a {method or kind} JOIN has no condition", "leave it out, or write JOIN … ON")
        elif on is None and using is None and matched is None:
            self.fail("expected ON or USING", "a join without a condition is a CROSS JOIN")
        parts = {"on": on, "using": using, "method": method, "match_condition": matched}
        return self.mark(exp.Join(this=this, side=side, kind=kind, **parts), token)

    def _asof(self) -> bool:
        """Whether an ASOF JOIN follows, and not an alias of that name."""
        return self.at("ASOF") and self.ahead(1).key in ("JOIN", "LEFT", "INNER", "RIGHT", "FULL", "CROSS")

    # ---- one relation

    def relation(self) -> exp.Expression:
        """A table, query, function call or list in parentheses, with its alias and all else that may follow it."""
        with self.nested():
            node = self._plain_relation()
            while self._turns():
                token = self.token
                node = self._pivoted(node) if self.at("PIVOT") else self._unpivoted(node)
                self.mark(node, token, self.previous)
            return node

    def _plain_relation(self) -> exp.Expression:
        """One without PIVOT and UNPIVOT."""
        token = self.token
        if self.at("("):
            return self._in_brackets()
        if self.at("LATERAL"):
            return self._lateral()
        if self.at("UNNEST"):
            return self._unnest()
        if self.at_sequence("TABLE", "("):
            return self._table_function(lateral=False)
        if self.at("TABLE"):
            self.fail("expected a table or a subquery", "write the table's name alone")
        node = self.table_name()
        if self.at("("):
            return self._hinted(self._call(token, tuple(str(p.name) for p in node.parts)))
        return self._table_suffixes(node)

    def table_name(self) -> exp.Expression:
        """A table's name, or the path of files as a string: a Table either way."""
        token = self.token
        if token.kind == STRING:
            return self.mark(exp.Table(this=self.mark(exp.Literal.string(self._path()), token)), token)
        parts = [self.identifier("a table's name")]
        while self.accept("."):
            parts.append(self.identifier("a name behind the dot"))
        if len(parts) > 3:
            self.fail_at(token, "a name in FROM is [catalog.][database.]name", "a column's field is written in SELECT")
        keys = ("this", "db", "catalog")
        node = exp.Table(**dict(zip(keys, reversed(parts), strict=False)))
        return self.mark(node, token, self.previous)

    def _table_suffixes(self, table: exp.Expression) -> exp.Expression:
        if self.at("/*+"):
            table.set("hints", [self.hint()])
        token = self.token
        if self.accept("FOR", "SYSTEM_TIME"):
            self.expect("AS")
            self.expect("OF")
            version = exp.Version(this="TIMESTAMP", kind="AS OF", expression=self.expression())
            table.set("version", self.mark(version, token))
        self._refuse_suffixes()
        return self.alias(table)

    def _refuse_suffixes(self) -> None:
        token = self.token
        if token.key == "MATCH_RECOGNIZE":
            self.unsupported(
                token,
                "MATCH_RECOGNIZE is not supported",
                "simple patterns can be written with LAG(…) OVER (PARTITION BY … ORDER BY rowtime)",
            )
        if token.key == "TABLESAMPLE":
            self.unsupported(token, "TABLESAMPLE is not supported", "filter with RAND() < fraction")

    def alias(self, node: exp.Expression) -> exp.Expression:
        """Add `[AS] name [(columns)]` to a relation if it follows."""
        token = self.token
        if self.accept("AS") or (self.at_name() and not self._goes_on()):
            name = self.identifier("an alias")
            columns = None
            if self.at("("):
                columns = self.parenthesised(lambda: self.csv(lambda: self.identifier("a column's name")))
            node.set("alias", self.mark(exp.TableAlias(this=name, columns=columns), token, self.previous))
        self._refuse_suffixes()
        return node

    def _in_brackets(self) -> exp.Expression:
        token = self.token
        if self.query_follows(self.at_index):
            return self.alias(self.scalar_subquery())
        self.expect("(")
        this, joins = self._joined()
        self.expect(")")
        if not joins:
            return this
        return self.mark(JoinGroup(this=this, joins=joins), token, self.previous)

    def _lateral(self) -> exp.Expression:
        token = self.expect("LATERAL")
        if self.at("("):
            return self.mark(exp.Lateral(this=self.alias(self.scalar_subquery())), token)
        if self.at_sequence("TABLE", "("):
            return self._table_function(lateral=True)
        call = self.token
        name = self.name("TABLE(f(…)) or (SELECT …)")
        return self.alias(self._call(call, name, lateral=True))

    def _table_function(self, lateral: bool) -> exp.Expression:
        self.expect("TABLE", "(")
        token = self.token
        name = self.name("a table function")
        if not self.at("("):
            self.fail("expected ( behind the function's name", "a table is written by its name alone")
        node = self._call(token, name, lateral)
        self.expect(")")
        return self._hinted(node)

    def _hinted(self, call: exp.Expression) -> exp.Expression:
        if self.at("/*+"):
            call.set("hints", [self.hint()])
        return self.alias(call)

    def _call(self, first: Token, name: tuple[str, ...], lateral: bool = False) -> exp.Expression:
        """The call of a table function, behind its name, which begins at `first`."""
        arguments = self.parenthesised(lambda: [] if self.at(")") else self.csv(self.argument))
        node = TableFunction(this=".".join(name), expressions=arguments, lateral=lateral or None)
        return self.mark(node, first, self.previous)

    def _unnest(self) -> exp.Expression:
        token = self.expect("UNNEST")
        this = self.parenthesised(self.expression)
        ordinality = True if self.accept("WITH", "ORDINALITY") else None
        return self.alias(self.mark(exp.Unnest(expressions=[this], offset=ordinality), token))

    # ---- PIVOT, UNPIVOT

    def at_emit(self) -> bool:
        """Whether the clause EMIT follows, and not an alias of that name."""
        return any(self.at_sequence("EMIT", *words) for words in (("CHANGES",), ("FINAL",), ("ON", "WINDOW", "CLOSE")))

    def _turns(self) -> bool:
        """Whether PIVOT or UNPIVOT follows, and not an alias of that name."""
        return self.at_sequence("PIVOT", "(") or (
            self.at("UNPIVOT") and self.ahead(1).key in ("(", "INCLUDE", "EXCLUDE")
        )

    def _goes_on(self) -> bool:
        """Whether a word follows that is an alias elsewhere."""
        return self._turns() or self._asof() or self.at_emit() or self.at_sequence("MATCH_CONDITION", "(")

    def _pivoted(self, this: exp.Expression) -> exp.Expression:
        self.expect("PIVOT", "(")
        calls = self.csv(lambda: self._named(self.expression()))
        self.expect("FOR")
        columns = self._names(lambda: self.column([self.identifier("a column's name")]))
        self.expect("IN")
        if self.at("(") and self.query_follows(self.at_index):
            self.unsupported(
                self.token,
                "PIVOT with a query in IN is not supported",
                "write the values: a query's columns must be known before it reads a row",
            )
        values = self.parenthesised(lambda: self.csv(lambda: self._named(self.expression())))
        self.expect(")")
        return self.alias(Pivoted(this=this, expressions=calls, columns=columns, values=values))

    def _unpivoted(self, this: exp.Expression) -> exp.Expression:
        self.expect("UNPIVOT")
        nulls = True if self.at("INCLUDE") else None
        if self.accept("INCLUDE") or self.accept("EXCLUDE"):
            self.expect("NULLS")
        self.expect("(")
        values = self._names(lambda: self.identifier("a name for the values"))
        self.expect("FOR")
        if self.at("("):
            self.fail("expected one name", "UNPIVOT gives one column with the names of those that it takes apart")
        name = self.identifier("a name for the names")
        self.expect("IN")
        columns = self.parenthesised(lambda: self.csv(self._unpivoted_item))
        self.expect(")")
        return self.alias(Unpivoted(this=this, values=values, name=name, expressions=columns, nulls=nulls))

    def _unpivoted_item(self) -> exp.Expression:
        """A column, or several in brackets, and what the name is to be: a name or a text."""
        token = self.token
        columns = self._names(lambda: self.column([self.identifier("a column's name")]))
        one = token.key != "("
        item = columns[0] if one else self.mark(exp.Tuple(expressions=columns), token, self.previous)
        if self.token.kind == STRING or (self.at("AS") and self.ahead(1).kind == STRING):
            self.accept("AS")
            return exp.Alias(this=item, alias=self.string_literal())
        return self._named(item)

    def _named(self, item: exp.Expression) -> exp.Expression:
        if self.accept("AS") or self.at_name():
            return exp.Alias(this=item, alias=self.identifier("a name"))
        return item

    def _names(self, rule: Callable[[], exp.Expression]) -> list[exp.Expression]:
        """One, or several in brackets."""
        return self.parenthesised(lambda: self.csv(rule)) if self.at("(") else [rule()]

    # ---- hints

    def hint(self) -> exp.Expression:
        """`/*+ NAME(…), … */` as a Hint."""
        token = self.expect("/*+")
        calls = self.csv(self._hint_call)
        self.expect("*/")
        return self.mark(exp.Hint(expressions=calls), token, self.previous)

    def _hint_call(self) -> exp.Expression:
        token = self.token
        name = str(self.identifier("a hint's name").this)
        items: list[exp.Expression] = []
        if self.at("(") and not self.accept("(", ")"):
            items = self.parenthesised(lambda: self.csv(self._hint_item))
        return self.mark(exp.Anonymous(this=name, expressions=items), token)

    def _hint_item(self) -> exp.Expression:
        token = self.token
        if token.kind == STRING:
            key = self.string_literal()
        elif token.kind == NUMBER:
            return self.mark(exp.Literal.number(self.advance().text), token)
        else:
            parts = [self.identifier("a hint's option")]
            while self.accept("."):
                parts.append(self.identifier())
            if not self.at("="):
                return self.column(parts)
            key = self.mark(exp.Literal.string(self.text_since(token)), token)
        if not self.accept("="):
            return key
        return self.mark(exp.PropertyEQ(this=key, expression=self.string_literal()), token)


def _flat(join: exp.Expression) -> bool:
    return join.args.get("side") in (None, "LEFT") and not join.args.get("using") and not join.args.get("method")
