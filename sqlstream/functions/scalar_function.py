"""What a scalar function is: one object with its type rule, its NULL rule, its DuckDB text and its volatility.

Operators are functions, too, and so is what has a syntax of its own (CASE, EXTRACT, CAST apart). `functions/scalar.py`
registers them; the binder, the renderer, the optimiser and the documentation ask the objects and know no names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from sqlstream.errors import BindError
from sqlstream.expressions import Expr
from sqlstream.functions.typing import common, implicit
from sqlstream.functions.user import UserFunction
from sqlstream.types import Type


class Nulls(Enum):
    """When a function gives NULL: by this its result is nullable or not."""

    PASS = "when an argument is NULL"
    MAYBE = "when an argument is NULL, and for values that it has no answer for"
    NEVER = "never"
    ALL = "when all arguments are NULL"
    RULE = "as the type rule says"

    def nullable(self, types: Sequence[Type], result: Type) -> bool:
        """Whether the result over arguments of `types` may be NULL; `result` is what the type rule says."""
        if self is Nulls.PASS:
            return any(_may_be_null(t) for t in types)
        if self is Nulls.ALL:
            return all(t.nullable or t.kind == "NULL" for t in types)
        return result.nullable if self is Nulls.RULE else self is Nulls.MAYBE


def _may_be_null(t: Type) -> bool:
    """Also a row that is there, with a field that is not: a comparison with it is not known."""
    return t.nullable or t.kind == "NULL" or t.kind == "ROW" and any(_may_be_null(f.type) for f in t.fields)


@dataclass(frozen=True)
class Typing:
    """What arguments are cast to (None: left as they are), and the result's type, but whether it may be NULL."""

    arguments: tuple[Type | None, ...]
    result: Type


# The type rule: from the arguments, that it may refuse with a BindError.
Rule = Callable[[Sequence[Expr]], Typing]
# A text made of the arguments' texts, their types and the result's.
Text = Callable[[list[str], list[Type], Type], str]
# The DuckDB text: a template, {0} {1} … its arguments and {all} all of them; or a `Text`. A word (SYMBOL) comes as it is.
Template = str | Text


@dataclass(frozen=True)
class ScalarFunction:
    """A function or operator.

    least, most: how many arguments it takes; most None: any number.
    operator: it has a syntax of its own and is not called by its name.
    volatile: two evaluations may differ; never folded, pushed into a source or evaluated twice for one row.
    volatile_alone: it is so where it has no argument.
    light: it takes little time and fails for no value; conditions of such alone are looked at before others that fail for none.
    total: it fails for no value where all arguments but the first are constants.
    is_null: the text of `f(…) IS NULL`, where that is cheaper than the value.
    example: a call for the documentation, whose value is not NULL unless NULL is what the function is for.
    stands_for: the name in plans of what has two names.
    python: the Python functions that its text may call.
    """

    name: str
    rule: Rule
    sql: Template
    least: int
    most: int | None
    nulls: Nulls = Nulls.PASS
    operator: bool = False
    volatile: bool = False
    is_null: Template | None = None
    example: str = ""
    stands_for: str = ""
    python: tuple[UserFunction, ...] = ()
    volatile_alone: bool = False
    light: bool = False
    total: bool = False

    def called_in(self, text: str) -> list[UserFunction]:
        """Those of `python` that a text of it calls."""
        return [f for f in self.python if f.sql_name in text]

    def check_count(self, n: int) -> None:
        """BindError unless it takes `n` arguments."""
        if n >= self.least and (self.most is None or n <= self.most):
            return
        if self.most is None:
            many = f"at least {self.least}"
        else:
            many = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
        raise BindError(
            f"{self.name} takes {many} argument{'' if many.endswith(' 1') or many == '1' else 's'}, not {n}",
            hint=f"for example {self.example}" if self.example else None,
        )

    def typing(self, args: Sequence[Expr]) -> Typing:
        """The types for a call over `args`, nullability included. BindError when it does not take them."""
        self.check_count(len(args))
        typing = self.rule(args)
        t = typing.result
        if t.kind == "CHAR":
            t = Type("VARCHAR", t.precision)
        return Typing(typing.arguments, t.null(self.nulls.nullable([a.type for a in args], typing.result)))

    def text(self, args: list[str], types: list[Type], result: Type) -> str:
        """Its DuckDB text over the texts of its arguments."""
        return render(self.sql, args, types, result)


def render(sql: Template, args: list[str], types: list[Type], result: Type) -> str:
    """The text of a template."""
    if callable(sql):
        return sql(args, types, result)
    return sql.replace("{all}", ", ".join(args)) if "{all}" in sql else sql.format(*args)


def takes(name: str, wanted: tuple[Type | None, ...], gives: Type | Callable[[list[Type]], Type]) -> Rule:
    """The rule of a function of fixed types: one for each argument, the last one for the rest; None: any."""

    def rule(args: Sequence[Expr]) -> Typing:
        types = [wanted[min(i, len(wanted) - 1)] for i in range(len(args))]
        for i, (a, t) in enumerate(zip(args, types, strict=True)):
            if t is not None and not implicit(a.type, t):
                raise BindError(
                    f"{name}: argument {i + 1} must be {t.text()}, not {a.type.text()}",
                    hint=f"CAST({a} AS {t.text()})",
                )
        if not callable(gives):
            return Typing(tuple(types), gives)
        given = [a.type if t is None else t for a, t in zip(args, types, strict=True)]
        return Typing(tuple(types), gives(given))

    return rule


def merged(name: str, gives: Callable[[Type], Type] = lambda t: t) -> Rule:
    """The rule of a function whose arguments are brought to one type, of which its own is made."""

    def rule(args: Sequence[Expr]) -> Typing:
        t = common([a.type for a in args], name)
        return Typing((t,) * len(args), gives(t))

    return rule


def function(
    name: str,
    wanted: tuple[Type | None, ...],
    gives: Type | Callable[[list[Type]], Type],
    sql: Template,
    example: str = "",
    *,
    least: int = -1,
    most: int | None = -1,
    nulls: Nulls = Nulls.PASS,
    operator: bool = False,
    volatile: bool = False,
    is_null: Template | None = None,
    python: tuple[UserFunction, ...] = (),
    light: bool = False,
    total: bool = False,
) -> ScalarFunction:
    """A function that takes as many arguments as it has types (`least`, `most`: fewer or more)."""
    fewest, utmost = len(wanted) if least == -1 else least, len(wanted) if most == -1 else most
    rule = takes(name, wanted, gives)
    return ScalarFunction(
        name,
        rule,
        sql,
        fewest,
        utmost,
        nulls,
        operator,
        volatile,
        is_null,
        example,
        python=python,
        light=light,
        total=total,
    )


def alias(name: str, of: ScalarFunction, example: str) -> ScalarFunction:
    """Another name of a function. Plans have the one name."""
    return replace(of, name=name, example=example, stands_for=of.stands_for or of.name)
