"""The parts of a filter that a database may evaluate: those of which it keeps every row that the filter lets through.

The engine looks at all conditions of a filter again, so what is asked of the database may let more through and must never
let less: its `=` between strings may go by a collation that ignores case, and is asked; `<>` and `<` between strings are not.
Numbers with fractions in binary and NaN are left to the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlstream.connectors.jdbc.database import Database
from sqlstream.connectors.jdbc.tables import DbColumn
from sqlstream.expressions import Call, Column, Expr, Literal, conjuncts
from sqlstream.types import Type

_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}


def condition(filter_: Expr | None, columns: Mapping[int, DbColumn], database: Database) -> str | None:
    """SQL that is true of each row that `filter_` is true of. `columns`: those there by their positions in the filter. None:
    nothing of it can be asked."""
    asking = _Asking(columns, database)
    parts = [sql for e in conjuncts(filter_) if (sql := asking.sql(e)) is not None]
    return " AND ".join(parts) if parts else None


@dataclass(frozen=True)
class _Asking:
    columns: Mapping[int, DbColumn]
    database: Database

    def sql(self, e: Expr) -> str | None:
        if isinstance(e, Column):
            return self._name(e) if self._comparable(e) else None
        if not isinstance(e, Call):
            return None
        if e.function in ("AND", "OR"):
            asked = [self.sql(a) for a in e.args]
            if e.function == "AND":
                asked = [a for a in asked if a is not None]
            return f"({f' {e.function} '.join(asked)})" if asked and None not in asked else None  # type: ignore[arg-type]
        if e.function == "NOT" and isinstance(e.args[0], Column) and self._comparable(e.args[0]):
            return f"NOT {self._name(e.args[0])}"
        if e.function in ("IS NULL", "IS NOT NULL") and isinstance(e.args[0], Column):
            return f"{self._name(e.args[0])} {e.function}"
        if e.function in _FLIPPED and len(e.args) == 2:
            a, b = e.args
            if isinstance(a, Literal):
                return self._compared(_FLIPPED[e.function], b, (a,))
            return self._compared(e.function, a, (b,))
        if e.function == "IN":
            return self._compared("IN", e.args[0], e.args[1:])
        return None

    def _name(self, column: Column) -> str:
        return self.database.quoted(self.columns[column.index].name)

    def _comparable(self, column: Column) -> bool:
        return self.columns[column.index].base in self.database.alike.get(column.type.kind, ())

    def _compared(self, op: str, column: Expr, values: tuple[Expr, ...]) -> str | None:
        if not isinstance(column, Column) or not self._comparable(column):
            return None
        there = self.columns[column.index]
        if column.type.is_string and op not in ("=", "IN"):
            return None
        if column.type.is_timestamp and (column.type.precision or 0) < (6 if there.scale is None else there.scale):
            return None  # here its values are cut to the precision
        if column.type.kind == "DECIMAL" and not self._exact(there, column.type):
            return None  # here they are rounded
        constants = [self._constant(v, column.type, there) for v in values]
        if None in constants:
            return None
        name = self._name(column)
        listed = ", ".join(c for c in constants if c is not None)
        return f"{name} IN ({listed})" if op == "IN" else f"{name} {op} {listed}"

    def _exact(self, column: DbColumn, t: Type) -> bool:
        return column.base not in self.database.decimals or column.scale is not None and column.scale <= (t.scale or 0)

    def _constant(self, e: Expr, t: Type, column: DbColumn) -> str | None:
        """A constant as the database writes it, of the kind of `t`."""
        if not isinstance(e, Literal) or e.value is None:
            return None
        if t.is_string:
            return self.database.text(e.value) if e.type.is_string and "\0" not in e.value else None
        if t.is_integer or t.kind == "DECIMAL":
            return str(e.value) if e.type.is_integer or e.type.kind == "DECIMAL" else None
        return self.database.constant(e, t, column) if e.type.kind == t.kind else None
