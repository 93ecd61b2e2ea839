"""A call over running values: what a partition has come to takes part as one more row before the others."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from sqlstream.aggregates.sql import Fold, Sql

# What a row is in the statement: what the partition came to before, a row that came out before, a row that is due.
CARRY, BEFORE, DUE = 0, 1, 2


class Whole(Exception):
    """Nothing shorter than the rows stands for the call."""


@dataclass(frozen=True)
class Partial:
    """A running value of a partition: its column in DuckDB and in the state."""

    name: str
    type: pa.DataType
    sql: str  # over the window A
    stored: str  # what goes to the state, from `name`


@dataclass(frozen=True)
class Carried(Sql):
    """Writes a call over running values instead of rows; collects those in `partials`. Whole where it cannot."""

    partials: list[Partial] = field(default_factory=list)

    def fold(self, fold: Fold, *, distinct: bool | None = None) -> str:
        if self.distinct if distinct is None else distinct:
            raise Whole
        name = f"_p{len(self.partials)}"
        given = (
            fold.value if self.filter is None else f"CASE WHEN {self.filter} THEN {fold.value} ELSE {fold.nothing} END"
        )
        value = f"CASE WHEN _s = {CARRY} THEN {name} ELSE {given} END"
        if fold.placed:
            value += f", CASE WHEN _s = {CARRY} THEN 0 ELSE _i END"
        sql = f"CAST({fold.again}({value}) {self.over} AS {fold.type})"
        stored = f"CAST({name}_now AS {fold.state.duckdb()})"
        self.partials.append(Partial(name, fold.state.arrow(), sql, stored))
        return f"{name}_now"

    def agg(
        self,
        function: str,
        args: str,
        *,
        distinct: bool | None = None,
        order: str | None = None,
        where: str | None = None,
    ) -> str:
        raise Whole
