"""One call as DuckDB text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlstream.types import Type


@dataclass(frozen=True)
class Fold:
    """A DuckDB aggregate that can go on from its own value: what rows have come to stands for them.

    function, args  over rows: `function(args)`
    type            what its value is in DuckDB
    state           the type that the value is kept in
    again           the aggregate that folds such values
    value           what one row gives to `again`
    placed          `again` also takes where the row stands (arg_min, arg_max)
    nothing         what a row gives to `again` that does not count
    """

    function: str
    args: str
    type: str
    state: Type
    again: str
    value: str
    placed: bool = False
    nothing: str = "NULL"


@dataclass(frozen=True)
class Sql:
    """A call as its function's `sql` sees it. `fold` and `agg` write one DuckDB aggregate with the call's modifiers.

    args, types  SQL text and type of each argument
    result       type of the call
    order        SQL of the order of rows: the call's own, then arrival; or None
    over         "OVER (…)", or None
    constants    arguments that are no columns, as Python values
    repeatable   over the same rows in the same order the result must be the same to the last digit, whatever else is
                 in the statement: DuckDB adds doubles up in an order of its own
    """

    args: tuple[str, ...]
    types: tuple[Type, ...]
    result: Type
    distinct: bool = False
    filter: str | None = None
    order: str | None = None
    over: str | None = None
    repeatable: bool = False
    constants: tuple[Any, ...] = ()

    def doubles(self, function: str, x: str) -> str:
        """A DuckDB aggregate of doubles, which depends on their order."""
        if not self.repeatable:
            return self.agg(function, x)
        items = self.agg("list", x, distinct=self.distinct, order=None if self.distinct else self.order)
        return f"list_aggregate({f'list_sort({items})' if self.distinct else items}, '{function}')"

    def fold(self, fold: Fold, *, distinct: bool | None = None) -> str:
        """An aggregate that running frames can carry along."""
        return self.agg(fold.function, fold.args, distinct=distinct)

    def agg(
        self,
        function: str,
        args: str,
        *,
        distinct: bool | None = None,
        order: str | None = None,
        where: str | None = None,
    ) -> str:
        """An aggregate that only its rows give. distinct: None takes the call's."""
        word = "DISTINCT " if (self.distinct if distinct is None else distinct) else ""
        text = f"{function}({word}{args}{f' ORDER BY {order}' if order else ''})"
        conditions = [c for c in (self.filter, where) if c is not None]
        if conditions:
            text += f" FILTER (WHERE {' AND '.join(f'({c})' for c in conditions)})"
        return f"{text} {self.over}" if self.over else text

    def cast(self, text: str) -> str:
        """`text` as the call's type."""
        return f"CAST({text} AS {self.result.duckdb()})"
