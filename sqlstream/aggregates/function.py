"""AggregateFunction: what there is to know of an aggregate function. Its type rule is Flink's, and its DuckDB text
gives exactly Flink's answer, casts included; so does its streaming half."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from sqlstream.aggregates.sql import Sql
from sqlstream.errors import BindError
from sqlstream.expressions import Expr
from sqlstream.types import Type

if TYPE_CHECKING:
    from sqlstream.aggregates.streaming.half import Call, Groups, Half
    from sqlstream.functions.user import UserFunction
    from sqlstream.functions.user_aggregates import UserAggregate

TypeRule = Callable[[tuple[Type, ...]], Type]

COMPARABLE = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL", "CHAR", "VARCHAR",
    "BINARY", "VARBINARY", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ", "INTERVAL_DAY", "INTERVAL_MONTH",
)  # fmt: skip


@dataclass(frozen=True)
class AggregateFunction:
    """One aggregate function.

    arity           least and greatest number of arguments
    result          argument types -> type of the call (`type_of` adds whether it may be NULL); BindError for wrong ones
    sql             its DuckDB text
    streaming       its streaming half, as "module:Class" below `aggregates.streaming`, or what makes one of a call and groups
    nulls           when a call is NULL: "never"; when no row counts ("none"); also when few rows do ("few")
    takes_distinct  False: DISTINCT changes nothing
    refuses_distinct  DISTINCT is not supported
    takes_order     ORDER BY may stand in it
    constant        which argument is a constant and no column, and what its value is (BindError for what is none)
    nulls_are_rows  a row whose argument is NULL counts, unless IGNORE NULLS is written
    needs_arrival   goes by arrival: the planner gives the input `_ord` where it can, the renderer `order`
    user            the Python function that it is; its name is then the path of that
    """

    name: str
    arity: tuple[int, int]
    result: TypeRule
    sql: Callable[[Sql], str]
    streaming: str
    nulls: Literal["never", "none", "few"] = "none"
    takes_distinct: bool = True
    refuses_distinct: bool = False
    takes_order: bool = False
    constant: tuple[int, Callable[[Expr], Any]] | None = None
    nulls_are_rows: bool = False
    needs_arrival: bool = False
    user: UserAggregate | None = None

    @property
    def shown(self) -> str:
        """What messages call it."""
        return self.name if self.user is None else self.user.shown

    @property
    def called(self) -> tuple[UserFunction, ...]:
        """The Python functions that its DuckDB text calls."""
        return () if self.user is None else (self.user.over_lists,)

    def type_of(self, types: tuple[Type, ...], occupied: bool = False) -> Type:
        """The call's type. `occupied`: there is always a row that FILTER lets through.

        BindError when number or types of the arguments are wrong.
        """
        low, high = self.arity
        if not low <= len(types) <= high:
            expected = str(low) if low == high else f"{low} to {high}"
            if self.user is not None:
                raise BindError(
                    f"{self.shown} takes {expected} argument{'' if expected == '1' else 's'}, not {len(types)}",
                    hint=f"they are {', '.join(t.null().text() for t in self.user.arguments)}",
                )
            raise BindError(
                f"{self.name} takes {expected} argument{'' if str(expected) == '1' else 's'}, not {len(types)}",
                hint=f"write {self.name}(x)",
            )
        full = occupied and not any(t.nullable for t in types)
        return self.result(types).null(self.nulls == "few" or (self.nulls == "none" and not full))

    def duckdb(
        self,
        args: Sequence[str],
        types: Sequence[Type],
        *,
        distinct: bool = False,
        filter: str | None = None,
        order: str | None = None,
        over: str | None = None,
        result: Type | None = None,
        repeatable: bool = False,
        constants: tuple[Any, ...] = (),
    ) -> str:
        """The call in DuckDB, of exactly the type `result` (default: `type_of(types)`).

        args    SQL of each argument, of the DuckDB types of `types`; none for COUNT(*)
        filter  SQL of FILTER's condition
        order   SQL of the order of rows; only looked at where `needs_arrival`
        over    "OVER (…)": the call as a window function; without `order` it goes by the window's order
        repeatable, constants  see `Sql`
        """
        t = result or self.type_of(tuple(types))
        call = Sql(tuple(args), tuple(types), t, distinct, filter, order, over, repeatable, constants)
        return self.sql(call)

    def half(self) -> Callable[[Call, Groups], Half]:
        """What makes its streaming half, imported now."""
        module, _, name = self.streaming.partition(":")
        half: Callable[[Call, Groups], Half] = getattr(import_module(f"sqlstream.aggregates.streaming.{module}"), name)
        return half


def numeric(name: str, t: Type) -> Type:
    """`t` where it is a number, else BindError."""
    if not t.is_numeric:
        raise BindError(f"{name} takes a number, not {t.text()}", hint="CAST the argument to a numeric type")
    return t


def same(name: str) -> TypeRule:
    """The argument's type, which must be one whose values compare."""

    def result(types: tuple[Type, ...]) -> Type:
        if types[0].kind not in COMPARABLE:
            raise BindError(f"{name} does not take {types[0].text()}", hint="use a field of it")
        return types[0]

    return result
