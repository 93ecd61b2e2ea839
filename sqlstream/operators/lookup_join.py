"""LookupJoin: each left row meets the rows of a bounded table as it is at that moment.

A table of a database is asked for the rows of keys (`keyed_lookup.py`). Any other is read into memory when the task starts, and again before an epoch when it has changed (or as
its `LookupCache` says); every task reads all of it, so left rows need not be exchanged. No state. Changes of the table
do not change rows that left earlier. A left row that is retracted meets the table again: for a left side that is not
append-only the table is read once, and must stay as it is.

Looking whether it has changed takes at most a twentieth of the time. A table that is being replaced may be gone, or
half there, for a moment: then its last rows hold. When it cannot be read for ten seconds the job fails.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from sqlstream.batches import OP, Delta, meet
from sqlstream.contracts import KeyedReader, ScanRequest, Source, Split
from sqlstream.errors import DataError, InternalError, NotSupported
from sqlstream.expressions import Column, Expr, conjunction, conjuncts, named, substitute
from sqlstream.functions.user import UserFunction
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, RowByRow, Traits
from sqlstream.operators.calc import all_columns
from sqlstream.operators.changelog import repeated
from sqlstream.operators.changelog_normalize import last_of_keys
from sqlstream.operators.equi_join import check_keys, on_text
from sqlstream.operators.evaluate import Evaluator
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.operators.pairs import KeyTable, Probed, Residual, never_equal
from sqlstream.operators.row_store import EMPTY, BatchRows, RowSource, net
from sqlstream.plan import nodes
from sqlstream.rendering.expressions import to_duckdb
from sqlstream.types import Schema

ROWS_A_POLL = 1 << 17
REST = 20  # times what a look at the table took, before the next
PATIENCE = 10.0  # seconds in which a table that is being replaced must be readable again


@dataclass(frozen=True)
class LookupTable:
    """What to read: `request` of `source`, then `select` of rows where `where`, both over its columns.

    `key`: of a source whose rows change, the columns whose last record says what a row is; () when all columns tell
    its rows.
    """

    name: str
    source: Source
    request: ScanRequest
    select: tuple[Expr, ...]
    where: Expr | None
    schema: Schema
    key: tuple[int, ...] = ()

    def evaluator(self, time_zone: str, more: tuple[str, ...] = ()) -> Evaluator:
        """Makes the table's columns, and `more` that stay as they are, of those of `request`."""
        used = set[UserFunction]()
        select = [(f"c{i}", to_duckdb(e, used)) for i, e in enumerate(self.select)] + [(name, name) for name in more]
        return Evaluator(select, None if self.where is None else to_duckdb(self.where, used), time_zone, used)

    def keyed_reader(self, keys: tuple[int, ...]) -> KeyedReader:
        """Of the rows that have some values in columns `keys` of the table."""
        columns = [e.index if isinstance(e := self.select[k], Column) else None for k in keys]
        if None in columns:
            raise InternalError(f"table {self.name} cannot be asked for what is computed of its columns")
        request = replace(self.request, filter=self.where)
        return self.source.keyed_reader(request, tuple(c for c in columns if c is not None))

    def read(self, splits: list[Split], time_zone: str) -> pa.RecordBatch:
        """All rows as one batch."""
        net_of = not self.source.append_only and not self.key
        evaluator = self.evaluator(time_zone, (OP,) if net_of else ())
        batches = []
        for split in splits:
            reader = self.source.reader(split, None, self.request)
            try:
                while True:
                    part = reader.poll(ROWS_A_POLL)
                    if part is not None:
                        batches.append(part.batch if self.key else evaluator.run(part.batch))
                    elif reader.finished:
                        break
                    else:
                        time.sleep(0.001)
            finally:
                reader.close()
        if self.key and batches:
            batches = [evaluator.run(last_of_keys(pa.concat_batches(batches), self.key))]
        evaluator.close()
        schema = self.schema.arrow()
        if not batches:
            return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
        all_ = pa.concat_batches(batches)
        if net_of:
            rows, counts = net(all_, len(schema))
            all_, _ = repeated(rows.filter(pa.array(counts > 0)), counts[counts > 0])
        return pa.RecordBatch.from_arrays(all_.columns, schema=schema)


@dataclass(frozen=True)
class LookupJoin(RowByRow):
    """INNER or LEFT. Output: left columns, then the table's; hidden columns go through."""

    table: LookupTable
    kind: str
    left_keys: tuple[int, ...]
    right_keys: tuple[int, ...]
    null_safe: tuple[bool, ...]
    residual: Expr | None
    output: Schema

    name = "LookupJoin"

    def __post_init__(self) -> None:
        (left,) = self.inputs
        if not self.table.source.bounded:
            raise InternalError(f"lookup join with {self.table.name}, which is unbounded")
        if self.kind not in ("INNER", "LEFT"):
            raise InternalError(f"lookup join of kind {self.kind}")
        check_keys(left.schema, self.table.schema, self.left_keys, self.right_keys)
        t = left.traits
        # A left row may meet several rows of the table: its key is no key any more.
        self.derive(self.output, Traits(t.append_only, (), t.row_wm, t.arrival))

    def details(self) -> str:
        on = on_text(self.inputs[0].schema, self.table.schema, self.left_keys, self.right_keys, self.null_safe)
        text = f"{self.kind}, table={self.table.name}, {on}"
        if self.table.source.keyed is not None:
            text += ", by key"
        return (
            text
            if self.residual is None
            else text + f", where={named(self.residual, self.inputs[0].schema, self.table.schema)}"
        )

    def operator(self, context: OperatorContext) -> Operator:
        if self.table.source.keyed is not None:
            from sqlstream.operators.keyed_lookup import KeyedLookupOperator

            return KeyedLookupOperator(self, context)
        return LookupJoinOperator(self, context)


@lower.register(nodes.LookupJoin)
def _lookup_join(node: nodes.LookupJoin, job: Lowering) -> PhysicalNode:
    below: nodes.Node = node.lookup
    exprs, where, key = all_columns(below.schema), list[Expr](), tuple[int, ...]()
    while not isinstance(below, nodes.Scan):
        if isinstance(below, nodes.Project):
            selected = below.exprs
            exprs, where = tuple(substitute(e, selected) for e in exprs), [substitute(e, selected) for e in where]
            below = below.input
        elif isinstance(below, nodes.Filter) and isinstance(below.input, nodes.ChangelogNormalize):
            where += conjuncts(below.condition)
            below = below.input
        elif isinstance(below, nodes.ChangelogNormalize):
            key, below = below.key, below.input
        else:
            raise NotSupported(
                "a lookup join takes a table, or a view of plain columns of one", hint="join with the table itself"
            )
    table = LookupTable(
        below.table,
        below.source,
        ScanRequest(below.columns),
        exprs,
        conjunction([*conjuncts(below.predicate), *where]),
        node.lookup.schema,
        key,
    )
    if table.source.keyed is not None:
        _check_asked(table, node)
    return LookupJoin(
        (job.lower(node.input),), table, node.kind, node.left_keys, node.right_keys, node.null_safe, node.residual,
        node.schema,
    )  # fmt: skip


def _check_asked(table: LookupTable, node: nodes.LookupJoin) -> None:
    """NotSupported unless the table can be asked for its rows by the keys of the join."""
    hint = "'lookup.cache' = 'FULL' reads the table whole"
    if not node.right_keys or any(node.null_safe):
        raise NotSupported(
            f"a lookup join with table {table.name} asks it for the rows of keys: its condition is one or more `=` between "
            "columns",
            hint=f"… JOIN t FOR SYSTEM_TIME AS OF o.proctime AS t ON o.k = t.k; {hint}",
        )
    computed = next((k for k in node.right_keys if not isinstance(table.select[k], Column)), None)
    if computed is not None:
        raise NotSupported(
            f"a lookup join with table {table.name} asks it for its columns, not for what is computed of one "
            f"({named(table.select[computed], table.schema)})",
            hint=f"compare with the column itself; {hint}",
        )


class LookupJoinOperator(Operator):
    """The running half: the table in memory, hashed by its keys, and when to look at it next."""

    def __init__(self, node: LookupJoin, context: OperatorContext) -> None:
        super().__init__(context)
        self.node, self.schema = node, node.arrow_schema()
        left = node.inputs[0]
        self.width = len(left.schema)
        self.residual = (
            None
            if node.residual is None
            else Residual(node.residual, left.schema, node.table.schema, context.time_zone)
        )
        cache = node.table.source.lookup
        self._stays = not left.traits.append_only or cache.full and cache.reload is None
        self._reload = cache.reload or 0
        self.rows: RowSource
        self.table: Probed
        self._failing: float | None = None  # since when the table cannot be read

    def open(self) -> None:
        self._load(self.node.table.source.splits())

    def _load(self, splits: list[Split]) -> None:
        node = self.node
        rows = node.table.read(splits, self.context.time_zone)
        outside = never_equal(rows, node.right_keys, node.null_safe)
        if outside.size:
            rows = rows.filter(pa.array(~outside))
        self.rows = BatchRows(rows)
        self.table = KeyTable([rows.column(k) for k in node.right_keys], rows.num_rows)
        self._splits, self._failing = splits, None
        self._looked(self._reload)

    def _looked(self, rest: int) -> None:
        """The next look at the table is `rest` µs from now."""
        self._next = self.context.clock.now() + rest

    def _renew(self) -> None:
        """Reads the table again if it has changed."""
        started = time.perf_counter_ns()
        try:
            splits = self.node.table.source.splits()
            if splits != self._splits:
                self._load(splits)
                return
        except (DataError, OSError):
            now = self.context.clock.monotonic()
            self._failing = now if self._failing is None else self._failing
            if now - self._failing > PATIENCE:
                raise
        else:
            self._failing = None
        self._looked(max(self._reload, REST * (time.perf_counter_ns() - started) // 1000))

    def step(self, inputs: list[Delta]) -> Delta:
        if not self._stays and inputs[0].num_rows and self.context.clock.now() >= self._next:
            self._renew()
        batches = [self._joined(b) for b in inputs[0].batches if b.num_rows]
        return Delta([b for b in batches if b.num_rows], meet([d.time for d in inputs]))

    def _joined(self, b: pa.RecordBatch) -> pa.RecordBatch:
        """Rows in the order of the left ones."""
        node = self.node
        left, parts = BatchRows(b), []
        for at, found in self.table.probe([b.column(k) for k in node.left_keys], b.num_rows):
            if self.residual is not None:
                holds = self.residual.holds(left, at, self.rows, found)
                at, found = at[holds], found[holds]
            parts.append((at, found))
        at, found = (np.concatenate(x) for x in zip(*parts, strict=True)) if parts else (EMPTY, EMPTY)
        missing = None
        if node.kind == "LEFT":
            alone = np.flatnonzero(np.bincount(at, minlength=b.num_rows) == 0)
            if len(alone):
                order = np.argsort(np.concatenate([at, alone]), kind="stable")
                missing = order >= len(at)
                at = np.concatenate([at, alone])[order]
                found = np.concatenate([found, np.zeros(len(alone), np.int64)])[order]
        whole = missing is None and len(at) == b.num_rows and (at == np.arange(len(at))).all()
        rows = b if whole else b.take(pa.array(at))
        index = pa.array(found, mask=missing)
        columns = [*rows.columns[: self.width], *self._right(index), *rows.columns[self.width :]]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _right(self, index: pa.Array) -> list[pa.Array]:
        """The table's columns in the rows at `index`, NULL where that is."""
        assert isinstance(self.rows, BatchRows)
        return [c.take(index) for c in self.rows.batch.columns]

    def close(self) -> None:
        if self.residual is not None:
            self.residual.close()
