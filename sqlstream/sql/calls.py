"""Function calls: arguments, the functions with a syntax of their own, FILTER, null treatment and OVER."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from sqlglot import exp

from sqlstream.sql.ast import Descriptor, TableArgument
from sqlstream.sql.cursor import needs_quotes
from sqlstream.sql.lexer import NUMBER, QUOTED, STRING, WORD, Token
from sqlstream.sql.types import TypeGrammar
from sqlstream.sql.words import UNITS

_BEHIND_LISTED = (",", "ORDER", "ASC", "DESC", "NULLS")
_TRIMS = ("BOTH", "LEADING", "TRAILING")
_JSON = (
    "JSON_VALUE",
    "JSON_QUERY",
    "JSON_EXISTS",
    "JSON_OBJECT",
    "JSON_ARRAY",
    "JSON_OBJECTAGG",
    "JSON_ARRAYAGG",
)
_JSON_OBJECTS = ("JSON_OBJECT", "JSON_OBJECTAGG")


class CallGrammar(TypeGrammar, ABC):
    """Calls. The layers above give `expression`, `query`, `table_name` and `order_by`."""

    @abstractmethod
    def expression(self, floor: int = 0) -> exp.Expression:
        """An expression of operators that bind more tightly than `floor`."""

    @abstractmethod
    def query(self) -> exp.Expression:
        """A whole query, with its order and limit."""

    @abstractmethod
    def query_follows(self, index: int) -> bool:
        """Whether the parenthesis at token `index` holds a query."""

    @abstractmethod
    def table_name(self) -> exp.Expression:
        """A table's name with its qualifiers, as a Table."""

    @abstractmethod
    def ordering(self) -> exp.Expression:
        """One item of ORDER BY, with its direction and where NULLs stand."""

    @abstractmethod
    def order_by(self) -> exp.Expression | None:
        """`ORDER BY …` as an Order; None when it does not follow."""

    def call(self, name: Token, text: str) -> exp.Expression:
        """The call of the function `text`, behind its name, with all that may follow it."""
        arguments = self._arguments(text.upper())
        order = next((a for a in arguments if isinstance(a, exp.Order)), None)
        node = self.mark(exp.Anonymous(this=text, expressions=[a for a in arguments if a is not order]), name)
        if order is not None:
            node = exp.WithinGroup(this=node, expression=order)
        return self._over(self._nulls(self._filter(self._within(self._nulls(node)))))

    def _arguments(self, name: str) -> list[exp.Expression]:
        self.expect("(")
        if self.accept(")"):
            return []
        special = _SPECIAL.get(name)
        if special is not None:
            found = special(self)
        elif name in _JSON:
            found = self._json_arguments(name)
        else:
            found = self._plain_arguments()
        self.expect(")")
        return found

    def _plain_arguments(self) -> list[exp.Expression]:
        token = self.token
        if self.accept("*"):
            return [self.mark(exp.Star(), token)]
        if self.accept("DISTINCT"):
            return [self.mark(exp.Distinct(expressions=self.csv(self.argument)), token), *self._ordered()]
        self.accept("ALL")
        return [*self.csv(self.argument), *self._ordered()]

    def _ordered(self) -> list[exp.Expression]:
        """ORDER BY behind the arguments of an aggregate; nothing where it does not follow."""
        order = self.order_by()
        return [] if order is None else [order]

    def argument(self) -> exp.Expression:
        """An argument: an expression, `name => argument`, `TABLE t …` or `DESCRIPTOR(c)`."""
        token, after = self.token, self.ahead(1)
        if after.key == "=>" and token.kind in (WORD, QUOTED):
            self.advance()
            # any word may name an argument: Flink wants `OFFSET` quoted, and no one reads it wrongly without
            name = self.mark(exp.Identifier(this=token.text, quoted=needs_quotes(token.text)), token)
            self.expect("=>")
            return self.mark(exp.Kwarg(this=name, expression=self.argument()), token)
        if token.key == "TABLE":
            return self._table_argument()
        if token.key == "DESCRIPTOR" and after.key == "(":
            self.advance()
            columns = self.parenthesised(lambda: self.csv(lambda: self.identifier("a column's name")))
            return self.mark(Descriptor(expressions=columns), token, self.previous)
        if token.key == "MODEL" and after.kind in (WORD, QUOTED):
            self.unsupported(token, "models are not supported", "call a Python function in its place")
        return self.expression()

    def _table_argument(self) -> exp.Expression:
        token = self.expect("TABLE")
        this = self.scalar_query() if self.at("(") else self.table_name()
        partition = None
        if self.accept("PARTITION", "BY"):
            if self.at("("):
                partition = self.parenthesised(lambda: self.csv(self.expression))
            else:
                partition = self._listed(self.expression)
        order = None
        if first := self.accept("ORDER", "BY"):
            order = self.mark(exp.Order(expressions=self._listed(self.ordering)), first)
        node = TableArgument(this=this, partition_by=partition, order=order)
        return self.mark(node, token, self.previous)

    def _listed(self, rule: Callable[[], exp.Expression]) -> list[exp.Expression]:
        """A list among arguments: a comma belongs to it where a bare name follows, else to the arguments."""
        items = [rule()]
        while self.at(",") and self.ahead(1).kind in (WORD, QUOTED) and self.ahead(2).key in _BEHIND_LISTED:
            self.advance()
            items.append(rule())
        return items

    def scalar_query(self) -> exp.Expression:
        """A query in parentheses, as a Subquery."""
        token = self.token
        return self.mark(exp.Subquery(this=self.parenthesised(self.query)), token)

    # ---- behind the call

    def _within(self, call: exp.Expression) -> exp.Expression:
        if not self.accept("WITHIN", "GROUP"):
            return call
        self.expect("(")
        order = self.order_by()
        if order is None:
            self.fail("expected ORDER BY", "write WITHIN GROUP (ORDER BY a)")
        self.expect(")")
        return exp.WithinGroup(this=call, expression=order)

    def _filter(self, call: exp.Expression) -> exp.Expression:
        if not self.accept("FILTER", "("):
            return call
        where = self.expect("WHERE")
        condition = self.mark(exp.Where(this=self.expression()), where)
        self.expect(")")
        return exp.Filter(this=call, expression=condition)

    def _nulls(self, call: exp.Expression) -> exp.Expression:
        if self.accept("IGNORE", "NULLS"):
            return exp.IgnoreNulls(this=call)
        if self.accept("RESPECT", "NULLS"):
            return exp.RespectNulls(this=call)
        return call

    def _over(self, call: exp.Expression) -> exp.Expression:
        if not self.accept("OVER"):
            return call
        if not self.at("("):
            return exp.Window(this=call, alias=self.identifier("a window's name or ("))
        return exp.Window(this=call, **self.parenthesised(self.window))

    def window(self) -> dict[str, exp.Expression]:
        """What stands between the parentheses of OVER and WINDOW, as the arguments of a Window."""
        parts: dict[str, exp.Expression] = {}
        if self.at_name() and self.token.key not in ("ROWS", "RANGE"):
            parts["alias"] = self.identifier()
        if self.accept("PARTITION", "BY"):
            parts["partition_by"] = self.csv(self.expression)
        if order := self.order_by():
            parts["order"] = order
        if self.at("ROWS", "RANGE"):
            parts["spec"] = self._frame()
        return parts

    def _frame(self) -> exp.Expression:
        token = self.advance()
        if self.accept("BETWEEN"):
            start, start_side = self._bound()
            self.expect("AND")
            end, end_side = self._bound()
        else:
            start, start_side = self._bound()
            end, end_side = "CURRENT ROW", None
        node = exp.WindowSpec(kind=token.key, start=start, start_side=start_side, end=end, end_side=end_side)
        return self.mark(node, token, self.previous)

    def _bound(self) -> tuple[exp.Expression | str, str | None]:
        if self.accept("CURRENT", "ROW"):
            return "CURRENT ROW", None
        if self.accept("UNBOUNDED"):
            return "UNBOUNDED", self.choose("PRECEDING", "FOLLOWING")
        return self.expression(), self.choose("PRECEDING", "FOLLOWING")

    # ---- functions with a syntax of their own

    def unit(self) -> exp.Expression:
        """A time unit as a Var."""
        token = self.token
        key = token.key.removeprefix("SQL_TSI_")
        if key not in UNITS and key[:-1] not in UNITS:
            self.fail("expected a unit of time such as DAY or SECOND")
        self.advance()
        return self.mark(exp.Var(this=key if key in UNITS else key[:-1]), token)

    def _extract(self) -> list[exp.Expression]:
        unit = self.unit()
        self.expect("FROM")
        return [unit, self.expression()]

    def _rounding(self) -> list[exp.Expression]:
        this = self.expression()
        return [this, self.unit()] if self.accept("TO") else [this, *self._more()]

    def _timestamp_arithmetic(self) -> list[exp.Expression]:
        return [self.unit(), *self._more()]

    def _substring(self) -> list[exp.Expression]:
        this = self.expression()
        if not self.accept("FROM"):
            return [this, *self._more()]
        start = self.expression()
        return [this, start, self.expression()] if self.accept("FOR") else [this, start]

    def _position(self) -> list[exp.Expression]:
        # above IN, so that the IN of the syntax is not taken for the operator
        this = self.expression(32)
        if not self.accept("IN"):
            return [this, *self._more()]
        text = self.expression()
        return [this, text, self.expression()] if self.accept("FROM") else [this, text]

    def _overlay(self) -> list[exp.Expression]:
        this = self.expression()
        if not self.accept("PLACING"):
            return [this, *self._more()]
        new = self.expression()
        self.expect("FROM")
        start = self.expression()
        return [this, new, start, self.expression()] if self.accept("FOR") else [this, new, start]

    def _trim(self) -> list[exp.Expression]:
        first = self.token
        side = self.mark(exp.Var(this=self.advance().key), first) if self.at(*_TRIMS) else None
        if side is None:
            this = self.expression()
            if not self.accept("FROM"):
                return [this, *self._more()]
            return [self.expression(), this, self.mark(exp.Var(this="BOTH"), first)]
        characters = self.mark(exp.Literal.string(" "), first) if self.at("FROM") else self.expression()
        self.expect("FROM")
        return [self.expression(), characters, side]

    def _more(self) -> list[exp.Expression]:
        """The arguments behind a first one."""
        return self.csv(self.argument) if self.accept(",") else []

    # ---- JSON

    def _json_arguments(self, name: str) -> list[exp.Expression]:
        found: list[exp.Expression] = []
        if not self.at("NULL", "ABSENT") or self.ahead(1).key != "ON":
            if name in _JSON_OBJECTS:
                for pair in self.csv(self._json_pair):
                    found.extend(pair)
            else:
                found.extend(self.csv(self.expression))
                found.extend(self._ordered())
        while clause := self._json_clause():
            found.append(clause)
        return found

    def _json_pair(self) -> list[exp.Expression]:
        if self.at("KEY") and self.ahead(1).kind in (STRING, WORD, QUOTED, NUMBER):
            self.advance()
        key = self.expression()
        if not self.accept(":"):
            self.expect("VALUE")
        return [key, self.expression()]

    def _json_clause(self) -> exp.Expression | None:
        token = self.token
        if self.accept("RETURNING"):
            return self._clause(token, "RETURNING", self.data_type_node())
        if self.accept("WITHOUT"):
            self.accept("ARRAY")
            self.expect("WRAPPER")
            return self._clause(token, "WRAPPER", self._keyword(token, "WITHOUT"))
        if self.accept("WITH"):
            kind = self.advance().key if self.at("CONDITIONAL", "UNCONDITIONAL") else "UNCONDITIONAL"
            self.accept("ARRAY")
            self.expect("WRAPPER")
            return self._clause(token, "WRAPPER", self._keyword(token, kind))
        if self.accept("DEFAULT"):
            return self._on_clause(token, self.expression())
        for words in (
            ("EMPTY", "ARRAY"),
            ("EMPTY", "OBJECT"),
            ("NULL",),
            ("ERROR",),
            ("ABSENT",),
            ("TRUE",),
            ("FALSE",),
            ("UNKNOWN",),
        ):
            if self.at_sequence(*words, "ON"):
                self.accept(*words)
                return self._on_clause(token, self._keyword(token, "_".join(words)))
        return None

    def _on_clause(self, token: Token, value: exp.Expression) -> exp.Expression:
        self.expect("ON")
        return self._clause(token, f"ON_{self.choose('EMPTY', 'ERROR', 'NULL')}", value)

    def _clause(self, token: Token, name: str, value: exp.Expression) -> exp.Expression:
        return self.mark(exp.Kwarg(this=self._keyword(token, name), expression=value), token)

    def _keyword(self, token: Token, text: str) -> exp.Expression:
        return self.mark(exp.Var(this=text), token)


_SPECIAL = {
    "EXTRACT": CallGrammar._extract,
    "CEIL": CallGrammar._rounding,
    "CEILING": CallGrammar._rounding,
    "FLOOR": CallGrammar._rounding,
    "TIMESTAMPADD": CallGrammar._timestamp_arithmetic,
    "TIMESTAMPDIFF": CallGrammar._timestamp_arithmetic,
    "SUBSTRING": CallGrammar._substring,
    "POSITION": CallGrammar._position,
    "OVERLAY": CallGrammar._overlay,
    "TRIM": CallGrammar._trim,
}
