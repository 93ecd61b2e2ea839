"""Rules: how the text of a call is made from sqlglot's node of it.

A template names the arguments it takes, `SUBSTRING({this}, {start})`; one that the query gives and the template does not
name makes the call one that has no equal. A function of (printer, node) is for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sqlglot import exp


class Printer(Protocol):
    """What a rule needs of the printer that calls it."""

    dialect_of_query: str  # "" where it is not known

    def sql(self, expression: Any, key: str | None = None) -> str:
        """The text of a node, or of its part `key`."""

    def argument(self, value: Any) -> str:
        """An argument of a call as text."""

    def json_path(self, node: exp.Expression) -> str:
        """The path of a JSON function's call."""

    def refused(self, node: exp.Expression, how: str = "") -> Exception:
        """The error to raise where Flink has nothing that means `node`."""


Rule = Callable[[Printer, exp.Expression], str]
# parts of a call that say nothing of its answer, or what every rule looks at by itself
_ANY = ("is_numeric", "safe", "dialect", "is_left", "coalesce", "is_string", "big_int", "zero_start", "return_type")


def form(*templates: str, ignore: tuple[str, ...] = ()) -> Rule:
    """The first template that names just the arguments which are given."""

    def rule(printer: Printer, node: exp.Expression) -> str:
        given = {k: v for k, v in node.args.items() if v not in (None, False, []) and k not in (*_ANY, *ignore)}
        for t in templates:
            if all(f"{{{k}}}" in t for k in given) and t.count("{") == len(given):
                return t.format(**{k: printer.argument(v) for k, v in given.items()})
        raise printer.refused(node, f"with {', '.join(given)}")

    return rule


def number(node: Any) -> int | None:
    """The whole number that a node is, if it is one."""
    if isinstance(node, exp.Neg):
        inner = number(node.this)
        return None if inner is None else -inner
    if isinstance(node, exp.Literal) and str(node.this).isdigit():
        return int(node.this)
    return None


def only(printer: Printer, node: exp.Expression, *keys: str) -> None:
    """Refuses a call that gives more than these."""
    for k, v in node.args.items():
        if v not in (None, False, []) and k not in (*_ANY, *keys):
            raise printer.refused(node, f"with {k.replace('_', ' ')}")


def operand(printer: Printer, node: Any) -> str:
    """The text of a node beside an operator: in parentheses where it is one itself."""
    text = printer.sql(node)
    is_operator = isinstance(node, (exp.Binary, exp.Unary, exp.Between, exp.In))
    return f"({text})" if is_operator and not isinstance(node, (exp.Func, exp.Paren, exp.Dot)) else text
