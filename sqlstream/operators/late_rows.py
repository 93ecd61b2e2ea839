"""LateRows: the rows of one input that an operator has dropped as late, in the epoch in which it dropped them.

    Sink(table=late)
      Calc(select=[id, at, late_watermark])    the table's columns, by name
        LateRows
          WindowAggregate(…)                   what dropped them: its own rows go elsewhere

Its columns are those of that input, under their names, then `LATE_COLUMNS`, but for such as the input has itself. It has
no state: a row is dropped once, in an epoch of some checkpoint, and is in the table with that.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from sqlstream.batches import END, KIND_TEXT, OP, Delta, hidden, visible
from sqlstream.contracts import Sink as TableSink
from sqlstream.errors import BindError, did_you_mean
from sqlstream.expressions import Column as ColumnOf
from sqlstream.expressions import Expr, Literal
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, RowByRow, Traits
from sqlstream.operators.calc import Calc
from sqlstream.operators.distribution import Spread
from sqlstream.operators.sink import Sink
from sqlstream.plan.expression_binder import coerce
from sqlstream.plan.insert_binder import storable
from sqlstream.types import FORMER_ROWTIME, ROWTIME, STRING, Column, Schema, Type, timestamp, timestamp_ltz

OPERATOR, WATERMARK, EVENT_TIME, KIND = "late_operator", "late_watermark", "late_event_time", "late_kind"
LATE_COLUMNS = (OPERATOR, WATERMARK, EVENT_TIME, KIND)


@dataclass(frozen=True)
class LateTable:
    """The table that takes late rows; `output`: the columns that can be written."""

    table: str
    sink: TableSink
    output: Schema
    options: dict[str, str] = field(default_factory=dict)


@dataclass
class Dropped:
    """Rows of one input of an operator that were late in this epoch, each batch with the watermarks they came after."""

    batches: list[tuple[pa.RecordBatch, np.ndarray]] = field(default_factory=list)

    def take(self) -> list[tuple[pa.RecordBatch, np.ndarray]]:
        """Those of the epoch, once."""
        taken, self.batches = self.batches, []
        return taken


@dataclass(frozen=True)
class LateRows(RowByRow):
    """Of input `side` of the operator below."""

    side: int
    name = "LateRows"

    def __post_init__(self) -> None:
        given = self.source.schema
        more = [Column(n, t) for n, t in zip(LATE_COLUMNS, self._types(), strict=True) if n not in given.names]
        self.derive(Schema((*given, *more)), Traits())

    @property
    def source(self) -> PhysicalNode:
        """What gives the rows."""
        return self.inputs[0].inputs[self.side]

    @property
    def event_time(self) -> int | None:
        """Which of the columns is the rows' time, if that is still among them."""
        return next((i for i, c in enumerate(self.source.schema) if c.time in (ROWTIME, FORMER_ROWTIME)), None)

    def _types(self) -> tuple[Type, ...]:
        at = self.event_time
        local = at is not None and self.source.schema[at].type.kind == "TIMESTAMP_LTZ"
        time = timestamp_ltz(3) if local else timestamp(3)
        return STRING.null(False), time, time, STRING.null(False)

    def spread(self) -> Spread | None:
        return None  # they lie where they were dropped

    def waits(self) -> bool:
        return True

    def details(self) -> str:
        return "" if len(self.inputs[0].inputs) == 1 else f"input={('left', 'right')[self.side]}"

    def running(self, context: OperatorContext, dropper: str, dropped: Dropped) -> LateRowsOperator:
        """The running half: it takes what operator `dropper` of the same task has `dropped`."""
        return LateRowsOperator(self, context, dropper, dropped)


class LateRowsOperator(Operator):
    """The running half: its input's rows are no concern of it, only that they were made before."""

    def __init__(self, node: LateRows, context: OperatorContext, dropper: str, dropped: Dropped) -> None:
        super().__init__(context)
        self._schema, self._width, self._event_time = node.arrow_schema(), len(node.source.schema), node.event_time
        self._more = node.schema.names[self._width :]
        self._dropper, self._dropped = dropper, dropped

    def step(self, inputs: list[Delta]) -> Delta:
        return Delta([self._told(rows, marks) for rows, marks in self._dropped.take()], inputs[0].time)

    def _told(self, rows: pa.RecordBatch, marks: np.ndarray) -> pa.RecordBatch:
        columns = list(visible(rows, self._width).columns)
        for name, f in zip(self._more, list(self._schema)[self._width :], strict=True):
            columns.append(self._column(name, f.type, rows, marks))
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _column(self, name: str, type_: pa.DataType, rows: pa.RecordBatch, marks: np.ndarray) -> pa.Array:
        if name == OPERATOR:
            return pa.repeat(pa.scalar(self._dropper, type_), rows.num_rows)
        if name == WATERMARK:  # at the end of the inputs there is no time that a column could hold
            return pa.array(marks, pa.int64(), mask=marks == END).cast(type_)
        if name == EVENT_TIME:
            if self._event_time is None:
                return pa.nulls(rows.num_rows, type_)
            return rows.column(self._event_time).cast(type_)
        kinds = hidden(rows, OP)
        if kinds is None:
            return pa.repeat(pa.scalar(KIND_TEXT[0], type_), rows.num_rows)
        return pa.array(KIND_TEXT).take(pa.array(kinds)).cast(type_)


def late_sinks(roots: tuple[PhysicalNode, ...], late: LateTable) -> list[Sink]:
    """A sink for each input of which an operator of the job drops late rows. BindError where the table is not for them."""
    found = [LateRows((n,), side) for n in _all(roots) for side in n.drops_late()]
    known = {name for rows in found for name in rows.schema.names if not name.startswith("$")}
    unknown = next((c for c in late.output if c.name not in known), None)
    if found and unknown is not None:
        raise BindError(
            f"table {late.table} ('table.exec.late-rows.sink'): column '{unknown.name}' is in no row that may be late: "
            f"{'; '.join(_listed(rows) for rows in found)}",
            hint=did_you_mean(unknown.name, sorted(known), "columns")
            or "these operators have the columns only that their query reads; name others in the query, or leave them out",
        )
    return [Sink((_fitted(rows, late),), late.table, late.sink, late.output) for rows in found]


def _fitted(rows: LateRows, late: LateTable) -> Calc:
    """The rows with the table's columns."""
    where = f"table {late.table} ('table.exec.late-rows.sink')"
    names = Counter(rows.schema.names)
    if not rows.source.traits.append_only and KIND not in late.output.names:
        raise BindError(
            f"{where}: rows of {rows.inputs[0].name} may be late that take others back, which it does not tell apart",
            hint=f"declare a column {KIND} STRING: '+I', '-U', '+U' or '-D'",
        )
    exprs: list[Expr] = []
    for c in late.output:
        if names[c.name] > 1:
            raise BindError(
                f"{where}: {names[c.name]} columns of {_listed(rows)} are called '{c.name}'",
                hint="give them names of their own in the query (AS)",
            )
        if not names[c.name]:
            if not c.type.nullable:
                raise BindError(
                    f"{where}: column '{c.name}' is NOT NULL, and {_listed(rows)} has none of that name",
                    hint="leave NOT NULL out",
                )
            exprs.append(Literal(c.type, None))
            continue
        i = rows.schema.names.index(c.name)
        given = rows.schema[i].type
        if not storable(given, c.type):
            raise BindError(
                f"{where}: column '{c.name}' is {c.type.text()}, and in {_listed(rows)} it is {given.text()}",
                hint=f"declare it as {given.null().text()}",
            )
        exprs.append(coerce(ColumnOf(given, i, c.name), c.type))
    return Calc((rows,), tuple(exprs), None, late.output)


def _listed(rows: LateRows) -> str:
    columns = ", ".join(c.name for c in rows.source.schema if not c.name.startswith("$"))
    return f"{rows.inputs[0].name}({columns})"


def _all(roots: tuple[PhysicalNode, ...]) -> list[PhysicalNode]:
    """Each node once, inputs first."""
    met: dict[int, PhysicalNode] = {}

    def visit(node: PhysicalNode) -> None:
        if id(node) not in met:
            for i in node.inputs:
                visit(i)
            met[id(node)] = node

    for r in roots:
        visit(r)
    return list(met.values())
