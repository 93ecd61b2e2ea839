"""Recursion (WITH RECURSIVE): the rows of a fixed point, kept and followed. All rows are in one task.

Inputs: the first rows (`anchor`), then the relations that the step reads beside the query's own rows. State:

    rows      the rows of the answer; of UNION ALL with how often each is there
    input0    the first rows, where they may be needed again
    input1 …  those of the relations

Out: what an epoch changes, net. The step is a query of DuckDB's over tables that hold what the states do: `r` the answer, `b1`, …
the relations, and `d0`, … the rows of these that came last. It makes of more rows more rows, and of each row by itself. So an
epoch in which rows only come is gone through seminaively: its first rows, and what its rows of a relation make of the answer as it was
(one relation after the other, those before with their new rows), are new; and what new rows make is new, until no row is.

An epoch that takes rows away, or brings rows to a relation of which more make less (`grows` says which do not), is computed anew from the
inputs, and the difference is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream import duck
from sqlstream.batches import Delta, concat, meet
from sqlstream.errors import DataError, InternalError, NotSupported
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.changelog import repeated, with_operations
from sqlstream.operators.distribution import Spread
from sqlstream.operators.evaluate import one_batch
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.operators.pairs import operations
from sqlstream.operators.row_store import EMPTY, MOST_KEYS, Change, Layout, RowStore, distinct, net
from sqlstream.plan import nodes
from sqlstream.plan.nodes import TUNING, told_by
from sqlstream.rendering.relations import BatchRenderer
from sqlstream.rendering.scans import no_scans
from sqlstream.state.arrays import Array
from sqlstream.state.index import HashIndex
from sqlstream.state.sets import among
from sqlstream.state.spec import StateSpec
from sqlstream.types import Column, Schema, as_schema

OPTION = "table.exec.recursion.max-iterations"


@dataclass(frozen=True)
class Recursion(PhysicalNode):
    """`step`: over RecursiveRefs, number 0 for the rows of the answer, i for input i. `grows[i]`: more rows of input i only bring
    rows. `limit`: how many steps one epoch may take."""

    label: str
    step: nodes.Node
    distinct: bool
    grows: tuple[bool, ...]
    output: Schema
    limit: int = field(metadata=TUNING)

    name = "Recursion"
    changes = "a recursive query of rows that change, or joined by LEFT JOIN or NOT EXISTS,"

    def __post_init__(self) -> None:
        if len(self.grows) != len(self.inputs):
            raise InternalError("Recursion: it is not known of all inputs whether rows grow with them")
        width = len(self.output)
        if width > MOST_KEYS:
            raise NotSupported(
                f"a recursive query of {width} columns: at most {MOST_KEYS} identify a row", hint="select fewer columns"
            )
        key = tuple(range(width)) if self.distinct else ()
        self.derive(self.output, Traits(append_only=not self.starts_anew, key=key))

    @property
    def starts_anew(self) -> bool:
        """Whether there may be an epoch that is computed anew."""
        return not all(g and n.traits.append_only for g, n in zip(self.grows, self.inputs, strict=True))

    def identity(self) -> tuple[Any, ...]:
        # A plan's nodes are left out of what is told of an operator, as its inputs are: the step is none.
        return (*super().identity(), _structure(self.step))

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return tuple(() for _ in self.inputs)

    def spread(self) -> Spread | None:
        return self.placed(0)

    def details(self) -> str:
        how = "seminaive, anew after deletions" if self.starts_anew else "seminaive"
        return f"{self.label}, {'UNION' if self.distinct else 'UNION ALL'}, {how}, step=[{_text(self.step)}]"

    def layouts(self) -> tuple[Layout, tuple[Layout | None, ...]]:
        """How the answer is kept, and the inputs (None: not at all)."""
        width = len(self.output)
        rows = Layout("rows", self.output.arrow(), (), tuple(range(width)), not self.distinct)
        kept = (Layout.of(f"input{i}", n, ()) if i or self.starts_anew else None for i, n in enumerate(self.inputs))
        return rows, tuple(kept)

    def states(self) -> tuple[StateSpec, ...]:
        rows, kept = self.layouts()
        return (rows.spec(), *(k.spec() for k in kept if k is not None))

    def state_column(self, state: str, name: str) -> Column | None:
        schema = self.output if state == "rows" else self.inputs[int(state.removeprefix("input"))].schema
        place = int(name[1:]) if name[:1] == "c" and name[1:].isdecimal() else len(schema)
        return schema[place] if place < len(schema) else None

    def operator(self, context: OperatorContext) -> Operator:
        return RecursionOperator(self, context)


def _text(node: nodes.Node) -> str:
    """A step as EXPLAIN prints it, in a line: what is done with the rows, the last first."""
    own, details = type(node).__name__, node.details()
    text = f"{own}({details})" if details else own
    below = [_text(i) for i in node.inputs if any(isinstance(n, nodes.RecursiveRef) and not n.number for n in i.walk())]
    return f"{text} of {' and '.join(below)}" if below and not isinstance(node.inputs[0], nodes.RecursiveRef) else text


def _structure(node: nodes.Node) -> tuple[Any, ...]:
    own = (getattr(node, f.name) for f in told_by(node))
    told = tuple(v for v in own if not isinstance(v, nodes.Node) and not _holds_nodes(v))
    return (type(node).__name__, told, tuple(map(_structure, node.inputs)))


def _holds_nodes(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(v, nodes.Node) for v in value)


@lower.register(nodes.RecursiveRef)
def _recursive_ref(node: nodes.RecursiveRef, job: Lowering) -> PhysicalNode:
    raise InternalError(f"the rows of {node.name} outside of it")


@lower.register(nodes.Recursion)
def _recursion(node: nodes.Recursion, job: Lowering) -> PhysicalNode:
    read: list[nodes.Node] = []
    grows = [True]

    def cut(n: nodes.Node, more: bool) -> nodes.Node:
        """`n` with a place for each relation that it reads. `more`: whether more rows of it only bring rows."""
        if n == node.ref:
            return n
        if node.ref not in n.walk():
            read.append(n)
            grows.append(more)
            return nodes.RecursiveRef(f"b{len(read)}", n.schema.columns, node.ref.level, len(read))
        kind = n.kind if isinstance(n, nodes.Join) else "INNER"
        # An outer join fills up what had no row. A row of a UNION ALL that had one would be there again.
        still = more and (kind == "INNER" or (kind == "SEMI" and node.distinct))
        return n.with_inputs(tuple(cut(i, still if node.ref not in i.walk() else more) for i in n.inputs))

    step = cut(node.step, True)
    inputs = (job.lower(node.anchor), *map(job.lower, read))
    ref = node.ref
    return Recursion(inputs, ref.name, step, node.distinct, tuple(grows), Schema(ref.columns), job.recursion_limit)


class Step:
    """The step as a query over the tables of a DuckDB database; `table(i)`: that of the answer (0) and of input i."""

    def __init__(self, node: Recursion, time_zone: str) -> None:
        self._connection = duck.connect(1, time_zone)
        self._schema = node.output.arrow()
        self._schemas = [node.output, *(n.schema for n in node.inputs[1:])]
        refs = {n.number: n for n in node.step.walk() if isinstance(n, nodes.RecursiveRef)}
        for i, schema in enumerate(self._schemas):
            columns = ", ".join(f"c{j} {c.type.duckdb()}" for j, c in enumerate(schema))
            self._connection.execute(f"CREATE TABLE {self.table(i)} ({columns})")
        self._sql = []
        self._new = [duck.Given(self._connection, f"d{i}") for i in range(len(self._schemas))]
        for new in range(len(self._schemas)):
            renderer = BatchRenderer(no_scans, zone=time_zone)
            renderer.tables.update({ref: f"d{n}" if n == new else self.table(n) for n, ref in refs.items()})
            self._sql.append(renderer.sql(node.step))
            duck.prepare_functions(self._connection, renderer.used)

    @staticmethod
    def table(i: int) -> str:
        """The name of a table."""
        return f"b{i}" if i else "r"

    def add(self, i: int, rows: pa.RecordBatch) -> None:
        """More rows of a table."""
        if rows.num_rows:
            self._connection.register("more", pa.Table.from_batches([rows]))
            self._connection.execute(f"INSERT INTO {self.table(i)} SELECT * FROM more")

    def replace(self, i: int, rows: pa.RecordBatch) -> None:
        """Other rows of a table."""
        self._connection.execute(f"TRUNCATE {self.table(i)}")
        self.add(i, rows)

    def run(self, new: int, rows: pa.RecordBatch) -> pa.RecordBatch:
        """What follows when table `new` has these rows, and the others have theirs."""
        try:
            found = self._new[new].run(self._sql[new], rows)
        except Exception as e:
            raise duck.translate(e) from None
        return as_schema(one_batch(found), self._schema)

    def close(self) -> None:
        """Its database is gone."""
        self._connection.close()


class RecursionOperator(Operator):
    """The running half."""

    def __init__(self, node: Recursion, context: OperatorContext) -> None:
        super().__init__(context)
        self.node, self.schema = node, node.output.arrow()
        rows, kept = node.layouts()
        self.rows = RowStore(rows, context.state(rows.spec()))
        self.inputs = [None if k is None else RowStore(k, context.state(k.spec())) for k in kept]
        self.query = Step(node, context.time_zone)

    def open(self) -> None:
        self.query.add(0, _all(self.rows))
        for i, store in enumerate(self.inputs):
            if i and store is not None:
                self.query.add(i, _all(store))

    def step(self, inputs: list[Delta]) -> Delta:
        node = self.node
        changes = [
            Change.of(d.batches, n.schema.arrow(), n.traits.append_only)
            for d, n in zip(inputs, node.inputs, strict=True)
        ]
        anew = any(
            c.minus.num_rows or (c.plus.num_rows and not grows) for c, grows in zip(changes, node.grows, strict=True)
        )
        out = self._anew(changes) if anew else self._more(changes)
        return Delta([b for b in out if b.num_rows], meet([d.time for d in inputs]))

    # ---- rows come

    def _more(self, changes: list[Change]) -> list[pa.RecordBatch]:
        """Takes in rows that come; those that follow."""
        seeds = []
        for i, c in enumerate(changes):
            if not c.plus.num_rows:
                continue
            rows, _ = repeated(c.plus, c.plus_counts)
            seeds.append(self.query.run(i, rows) if i else _as(rows, self.schema))
            self._keep(i, c)
            if i:
                self.query.add(i, rows)
        come = concat(list(self._closure(seeds, self._absorbed)))
        if come is None:
            return []
        if len(changes) > 1:  # what new rows of a relation make of the answer is asked of it
            self.query.add(0, come)
        return [come if self.node.traits.append_only else with_operations(come, np.zeros(come.num_rows, np.int8))]

    def _closure(self, seeds: list[pa.RecordBatch], absorbed: Any) -> Iterator[pa.RecordBatch]:
        """`seeds` and all that follows, as far as `absorbed` says that it is new, step by step."""
        steps = 0
        while (rows := concat(seeds)) is not None:
            new = absorbed(rows)
            if not new.num_rows:
                return
            yield new
            steps += 1
            if steps > self.node.limit:
                raise DataError(
                    f"WITH RECURSIVE {self.node.label} has not come to an end after {self.node.limit:,} steps ({OPTION})",
                    hint="a condition in its step must end it; UNION, in place of UNION ALL, ends what goes round in circles; "
                    f"or SET '{OPTION}' to more",
                )
            seeds = [self.query.run(0, new)]

    def _absorbed(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Keeps rows of the answer; those of them that are new."""
        if not self.node.distinct:
            self.rows.add(*net(rows, len(self.schema)))
            return rows
        _, first = distinct(rows.columns, rows.num_rows)
        rows = rows.filter(pa.array(first))
        rows = rows.filter(pa.array(self.rows.find(rows) < 0))
        self.rows.add(rows)
        return rows

    def _keep(self, i: int, c: Change) -> None:
        """The change of an input, kept."""
        store = self.inputs[i]
        if store is None:
            return
        gone = EMPTY
        if c.minus.num_rows:
            slots = store.find(c.minus)
            there = slots >= 0
            if not there.all():
                self.context.lost(int(c.minus_counts[~there].sum()))
            slots = slots[there]
            gone = slots[store.remove(slots, c.minus_counts[there])]
        added = store.add(c.plus, c.plus_counts) if c.plus.num_rows else EMPTY
        store.delete(gone[~among(gone, added)])

    # ---- rows go

    def _anew(self, changes: list[Change]) -> list[pa.RecordBatch]:
        """Computes the answer from the inputs, and gives the difference."""
        for i, c in enumerate(changes):
            self._keep(i, c)
            store = self.inputs[i]
            if i and store is not None:
                if c.minus.num_rows:
                    self.query.replace(i, _all(store))
                elif c.plus.num_rows:
                    self.query.add(i, repeated(c.plus, c.plus_counts)[0])
        first = self.inputs[0]
        assert first is not None
        index = HashIndex([f.type for f in self.schema])

        def absorbed(rows: pa.RecordBatch) -> pa.RecordBatch:
            return rows.filter(pa.array(index.upsert(rows.columns, rows.num_rows)[1])) if self.node.distinct else rows

        found = concat(list(self._closure([_as(_all(first), self.schema)], absorbed)))
        if found is None:
            found = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in self.schema], schema=self.schema)
        self.query.replace(0, found)
        return self._difference(*net(found, len(self.schema)))

    def _difference(self, rows: pa.RecordBatch, counts: Array) -> list[pa.RecordBatch]:
        """Keeps these rows in place of the answer so far."""
        store = self.rows
        slots = store.find(rows)
        there = slots >= 0
        had = np.where(there, store.copies(np.maximum(slots, 0)), 0)
        old = store.table.slots()
        old = old[~among(old, slots[there])]
        out = [self._told(store.rows(old), -store.copies(old)), self._told(rows, counts - had)]
        less, more = counts < had, counts > had
        store.remove(slots[less], (had - counts)[less])
        store.delete(old)
        if more.any():
            store.add(rows.filter(pa.array(more)), (counts - had)[more])
        return out

    def _told(self, rows: pa.RecordBatch, counts: Array) -> pa.RecordBatch:
        some = counts != 0
        rows, sign = repeated(rows.filter(pa.array(some)), counts[some])
        return with_operations(rows, operations(sign))

    def close(self) -> None:
        self.query.close()


def _all(store: RowStore) -> pa.RecordBatch:
    """All rows, as often as they are there."""
    slots = store.table.slots()
    return repeated(store.rows(slots), store.copies(slots))[0]


def _as(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(rows.columns, schema=schema)
