"""Expressions, by operator precedence as in Calcite, Flink's parser."""

from __future__ import annotations

from sqlglot import exp

from sqlstream.sql.ast import TypedLiteral
from sqlstream.sql.calls import CallGrammar
from sqlstream.sql.intervals import interval_value
from sqlstream.sql.lexer import BINARY, NUMBER, STRING
from sqlstream.sql.words import BARE, CALLABLE, RESERVED

# how tightly operators bind; Calcite's numbers, where || binds like *
_OR, _AND, _NOT, _IS, _COMPARE, _RANGE, _PLUS, _TIMES, _SIGN = 22, 24, 26, 28, 30, 32, 40, 60, 80
_BINARY = {
    "OR": (_OR, exp.Or),
    "AND": (_AND, exp.And),
    "=": (_COMPARE, exp.EQ),
    "<>": (_COMPARE, exp.NEQ),
    "!=": (_COMPARE, exp.NEQ),
    "<": (_COMPARE, exp.LT),
    "<=": (_COMPARE, exp.LTE),
    ">": (_COMPARE, exp.GT),
    ">=": (_COMPARE, exp.GTE),
    "OVERLAPS": (_COMPARE, exp.Overlaps),
    "+": (_PLUS, exp.Add),
    "-": (_PLUS, exp.Sub),
    "*": (_TIMES, exp.Mul),
    "/": (_TIMES, exp.Div),
    "%": (_TIMES, exp.Mod),
    "||": (_TIMES, exp.DPipe),
}
_POSTFIX = {"IS": _IS, "BETWEEN": _RANGE, "LIKE": _RANGE, "SIMILAR": _RANGE, "IN": _RANGE, "NOT": _RANGE}
_NEGATABLE = ("BETWEEN", "LIKE", "SIMILAR", "IN")
_CONNECTORS = (exp.And, exp.Or)
_QUANTIFIERS = {"ANY": exp.Any, "SOME": exp.Any, "ALL": exp.All}
_TYPED = ("DATE", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ")
_PLURALS = {f"{unit}S": unit for unit in ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND")}


class ExpressionGrammar(CallGrammar):
    """All of an expression but what a query is. Nodes are marked with their places."""

    placeholders = 0  # how many `?` were read

    def expression(self, floor: int = 0) -> exp.Expression:
        """An expression of operators that bind more tightly than `floor`."""
        self.deepen()
        left = self._prefix()
        while True:
            key = self.token.key
            if key == "AT" and self.at_sequence("AT", "TIME", "ZONE"):
                self.unsupported(
                    self.token,
                    "AT TIME ZONE is not supported",
                    "CONVERT_TZ(text, 'UTC', 'Asia/Tokyo') of a text; CAST(x AS TIMESTAMP_LTZ(3)) by the session's zone",
                )
            if key in _BINARY and _BINARY[key][0] > floor:
                left = self._binary(left, *_BINARY[key])
            elif _POSTFIX.get(key, 0) > floor and (key != "NOT" or self.ahead(1).key in _NEGATABLE):
                left = self._predicate(left)
            else:
                self.nesting -= 1
                return left

    def _prefix(self) -> exp.Expression:
        token = self.token
        if token.key not in ("NOT", "-", "+"):
            return self._suffixes(self._primary())
        self.advance()
        if token.key == "NOT":
            return self.mark(exp.Not(this=self.expression(_NOT - 1)), token)
        operand = self.expression(_SIGN - 1)
        return self.mark(exp.Neg(this=operand), token) if token.key == "-" else operand

    def _binary(self, left: exp.Expression, power: int, node: type[exp.Expression]) -> exp.Expression:
        key = self.advance().key
        if node in _CONNECTORS:
            operands = [left, self.expression(power)]
            while self.accept(key):
                operands.append(self.expression(power))
            return _balanced(node, operands)
        if power == _COMPARE and self.at(*_QUANTIFIERS) and self.ahead(1).key == "(":
            quantifier = self.advance()
            right = _QUANTIFIERS[quantifier.key](this=self.scalar_subquery())
            return node(this=left, expression=self.mark(right, quantifier))
        return node(this=left, expression=self.expression(power))

    # ---- predicates

    def _predicate(self, left: exp.Expression) -> exp.Expression:
        if self.accept("IS"):
            return self._is(left)
        negated = self.accept("NOT") is not None
        word = self.advance().key
        if word == "BETWEEN":
            found = self._between(left)
        elif word == "IN":
            found = self._in(left)
        else:
            if word == "SIMILAR":
                self.expect("TO")
            node = exp.Like if word == "LIKE" else exp.SimilarTo
            found = node(this=left, expression=self.expression(_RANGE))
            if self.accept("ESCAPE"):
                found = exp.Escape(this=found, expression=self.expression(_RANGE))
        return exp.Not(this=found) if negated else found

    def _is(self, left: exp.Expression) -> exp.Expression:
        negated = self.accept("NOT") is not None
        if self.accept("DISTINCT"):
            self.expect("FROM")
            node = exp.NullSafeEQ if negated else exp.NullSafeNEQ
            return node(this=left, expression=self.expression(_COMPARE))
        token = self.token
        if self.accept("NULL") or self.accept("UNKNOWN"):
            right = exp.Null()
        elif self.accept("TRUE") or self.accept("FALSE"):
            right = exp.Boolean(this=token.key == "TRUE")
        elif self.accept("JSON"):
            kind = self.advance().key if self.at("VALUE", "SCALAR", "ARRAY", "OBJECT") else "VALUE"
            right = exp.Var(this=f"JSON {kind}")
        else:
            self.fail("expected NULL, TRUE, FALSE, UNKNOWN, JSON or DISTINCT FROM")
        found = exp.Is(this=left, expression=self.mark(right, token))
        return exp.Not(this=found) if negated else found

    def _between(self, left: exp.Expression) -> exp.Expression:
        symmetric = self.accept("SYMMETRIC") is not None
        if not symmetric:
            self.accept("ASYMMETRIC")
        low = self.expression(_RANGE)
        self.expect("AND")
        high = self.expression(_RANGE)
        return exp.Between(this=left, low=low, high=high, symmetric=symmetric or None)

    def _in(self, left: exp.Expression) -> exp.Expression:
        if self.at("(") and self.query_follows(self.at_index):
            return exp.In(this=left, query=self.scalar_subquery())
        return exp.In(this=left, expressions=self.parenthesised(lambda: self.csv(self.expression)))

    # ---- operands

    def _suffixes(self, this: exp.Expression) -> exp.Expression:
        """Fields and elements behind an operand: `.f`, `[i]`."""
        while True:
            if self.accept("["):
                index = self.expression()
                self.expect("]")
                this = exp.Bracket(this=this, expressions=[index])
            elif self.accept("."):
                this = exp.Dot(this=this, expression=self.identifier("a field's name"))
            else:
                return this

    def _primary(self) -> exp.Expression:
        token, after = self.token, self.ahead(1)
        if token.kind == NUMBER:
            return self.mark(exp.Literal(this=self.advance().text, is_string=False), token)
        if token.kind == STRING:
            return self.string_literal()
        if token.kind == BINARY:
            return self._binary_literal()
        key = token.key
        if key == "(":
            return self._in_parentheses()
        if key in ("NULL", "UNKNOWN") and after.key not in (".", "("):
            self.advance()
            return self.mark(exp.Null(), token)
        if key in ("TRUE", "FALSE"):
            self.advance()
            return self.mark(exp.Boolean(this=key == "TRUE"), token)
        if key == "?":
            self.advance()
            self.placeholders += 1
            return self.mark(exp.Placeholder(this=str(self.placeholders - 1)), token)
        if key == "CASE":
            return self._case()
        if key in ("CAST", "TRY_CAST"):
            return self._cast()
        if key == "EXISTS":
            self.advance()
            return self.mark(exp.Exists(this=self.parenthesised(self.query)), token)
        if key == "INTERVAL":
            return self._interval()
        if key in _TYPED and after.kind == STRING:
            self.advance()
            return self.mark(TypedLiteral(this=self.string_literal(), kind=key), token, after)
        if key in ("ARRAY", "MAP") and after.key == "[":
            return self._collection()
        if key == "ROW" and after.key == "(":
            self.advance()
            items = self.parenthesised(lambda: [] if self.at(")") else self.csv(self.expression))
            return self.mark(exp.Tuple(expressions=items), token, self.previous)
        if key == "MULTISET" and after.key in ("[", "("):
            self.unsupported(token, "MULTISET[…] is not supported", "use ARRAY[…]")
        if key == "ARRAY" and after.key == "(":
            self.unsupported(token, "ARRAY(query) is not supported", "aggregate with ARRAY_AGG(x)")
        if key in BARE and after.key != "(":
            self.advance()
            return self.mark(exp.Anonymous(this=token.text, expressions=[]), token)
        if key in RESERVED and not (key in CALLABLE and after.key == "("):
            self.fail("expected an expression", self.quoting())
        return self._reference()

    def _reference(self) -> exp.Expression:
        """A column, or the call of a function by its possibly qualified name."""
        token = self.token
        if token.key in CALLABLE:
            return self.call(self.advance(), token.text)
        if not self.at_name():
            self.fail("expected an expression")
        parts = [self.identifier()]
        while self.at(".") and self.ahead(1).key != "*":
            self.advance()
            parts.append(self.identifier("a name behind the dot"))
        if self.at("("):
            return self.call(token, ".".join(str(p.this) for p in parts))
        return self.column(parts)

    def column(self, parts: list[exp.Expression]) -> exp.Expression:
        """A Column of up to four parts; Dots for the rest."""
        head, rest = parts[:4], parts[4:]
        keys = ("this", "table", "db", "catalog")
        node = exp.Column(**dict(zip(keys, reversed(head), strict=False)))
        node.meta.update(head[0].meta, end=head[-1].meta["end"])
        for part in rest:
            node = exp.Dot(this=node, expression=part)
        return node

    def string_literal(self) -> exp.Expression:
        """A string literal, as a Literal."""
        token = self.token
        return self.mark(exp.Literal(this=self.string(), is_string=True), token)

    def _binary_literal(self) -> exp.Expression:
        token = self.advance()
        digits = token.text
        if len(digits) % 2 or any(c not in "0123456789abcdefABCDEF" for c in digits):
            self.fail_at(token, "a binary literal is an even number of hexadecimal digits", "write it like X'0aFF'")
        return self.mark(exp.HexString(this=digits), token)

    def _in_parentheses(self) -> exp.Expression:
        token = self.token
        if self.query_follows(self.at_index):
            return self.scalar_subquery()
        items = self.parenthesised(lambda: self.csv(self.expression))
        node = exp.Paren(this=items[0]) if len(items) == 1 else exp.Tuple(expressions=items)
        return self.mark(node, token, self.previous)

    def scalar_subquery(self) -> exp.Expression:
        """A query in parentheses where a value is wanted, as a Subquery."""
        token = self.token
        return self.mark(exp.Subquery(this=self.parenthesised(self.query)), token)

    def _case(self) -> exp.Expression:
        token = self.expect("CASE")
        operand = None if self.at("WHEN") else self.expression()
        branches = []
        while when := self.accept("WHEN"):
            condition = self.expression()
            if self.at(","):
                self.fail("expected THEN", "write one WHEN for each value")
            self.expect("THEN")
            branches.append(self.mark(exp.If(this=condition, true=self.expression()), when))
        if not branches:
            self.fail("expected WHEN")
        default = self.expression() if self.accept("ELSE") else None
        self.expect("END")
        return self.mark(exp.Case(this=operand, ifs=branches, default=default), token, self.previous)

    def _cast(self) -> exp.Expression:
        token = self.advance()
        self.expect("(")
        this = self.expression()
        self.expect("AS")
        to = self.data_type_node()
        self.expect(")")
        node = exp.Cast if token.key == "CAST" else exp.TryCast
        return self.mark(node(this=this, to=to), token, self.previous)

    def _collection(self) -> exp.Expression:
        token = self.advance()
        self.expect("[")
        items = [] if self.at("]") else self.csv(self.expression)
        self.expect("]")
        if token.key == "ARRAY":
            return self.mark(exp.Array(expressions=items), token, self.previous)
        if len(items) % 2:
            self.fail_at(token, "a MAP has a value for each key", "write it like MAP['a', 1, 'b', 2]")
        keys, values = exp.Array(expressions=items[::2]), exp.Array(expressions=items[1::2])
        return self.mark(exp.Map(keys=keys, values=values), token, self.previous)

    def _interval(self) -> exp.Expression:
        token = self.expect("INTERVAL")
        sign = self.advance().key if self.at("-", "+") else ""
        if self.token.kind == NUMBER:
            self.fail("expected a string", f"write INTERVAL '{self.token.text}' …")
        text = self.token
        if text.kind != STRING:
            self.fail("expected a string")
        value = self.string_literal()
        if sign == "-":
            bare = text.text.strip()
            value.set("this", bare[1:] if bare.startswith("-") else f"-{bare}")
        unit = self._interval_unit()
        to = self._interval_unit() if self.accept("TO") else None
        try:
            interval_value(str(value.this), unit.name, to.name if to else None)
        except ValueError as error:
            self.fail_at(text, str(error))
        span = exp.IntervalSpan(this=unit, expression=to) if to else unit
        interval = exp.Interval(this=value, unit=span)
        interval.set("unit", span)  # the constructor makes a unit of its own, without a place
        return self.mark(interval, token, self.previous)

    def _interval_unit(self) -> exp.Expression:
        token = self.token
        unit = _PLURALS.get(token.key, token.key)
        if unit not in _PLURALS.values():
            self.fail("expected a unit, SECOND to YEAR")
        self.advance()
        if self.accept("("):  # the precision of its digits, which changes nothing here
            self.csv(lambda: self.advance() if self.token.kind == NUMBER else self.fail("expected a number"))
            self.expect(")")
        return self.mark(exp.Var(this=unit), token)


def _balanced(node: type[exp.Expression], operands: list[exp.Expression]) -> exp.Expression:
    """One tree of all operands, of logarithmic depth: a thousand ORs must not exhaust a recursive reader."""
    while len(operands) > 1:
        pairs = [node(this=a, expression=b) for a, b in zip(operands[::2], operands[1::2], strict=False)]
        operands = pairs + ([operands[-1]] if len(operands) % 2 else [])
    return operands[0]
