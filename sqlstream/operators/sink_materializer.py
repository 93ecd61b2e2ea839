"""SinkMaterializer: before a table that knows rows by its PRIMARY KEY, where rows of several keys of the query can meet in one.

In: an epoch's changes, whose rows are told from one another by the query's key (its upsert key), or by all columns where
it has none. Out: what the table's row of each key is: +I, -U (where it is wanted) and +U, -D. It acts on what an epoch's
changes come to: a row that comes before another one is gone meets nobody where both are in one epoch.

ERROR, NOTHING   `FirstRows`: one row a key is kept, the one that came first; where others meet it the job fails, or they
                 are left out and not remembered
DEDUPLICATE      `LastRows`: all rows of a key are kept, in the order in which they came; the last one is the table's, and
                 when it goes the one before it is
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import OP, Delta, Kind, concat, meet, visible
from sqlstream.errors import DataError, InternalError, NotSupported
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.changelog import takes_away
from sqlstream.operators.distribution import Spread
from sqlstream.operators.group_aggregate import changelog, different, interleaved, kept
from sqlstream.operators.partition_lives import PartitionLives
from sqlstream.operators.row_store import EMPTY, Change, Layout, RowStore
from sqlstream.operators.target import Target
from sqlstream.plan.nodes import TUNING
from sqlstream.state.arrays import Array, grown
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.sets import among, ascending, numbered
from sqlstream.state.spec import StateSpec

NOTHING, ERROR, DEDUPLICATE = "NOTHING", "ERROR", "DEDUPLICATE"
SEQUENCE = "_seq"


@dataclass(frozen=True)
class SinkMaterializer(PhysicalNode):
    """`key`: the columns of the PRIMARY KEY of `table`, and how they are `called` there; `conflict`: NOTHING, ERROR or
    DEDUPLICATE. before: whether -U are wanted."""

    key: tuple[int, ...]
    conflict: str
    table: str
    called: tuple[str, ...] = field(default=(), compare=False)
    before: bool = True
    ttl: int = field(default=0, kw_only=True, metadata=TUNING)
    name = "SinkMaterializer"
    changes = "rows of several keys meet in one of the table"

    def __post_init__(self) -> None:
        (input_,) = self.inputs
        if not self.key or self.conflict not in (NOTHING, ERROR, DEDUPLICATE):
            raise InternalError(f"SinkMaterializer: {self.conflict} by {self.key}")
        if not input_.traits.before:
            raise InternalError("SinkMaterializer takes changes with the row before an update")
        once = input_.traits.append_only and self.conflict != DEDUPLICATE
        self.derive(input_.schema, Traits(once, self.key, paired=not once, before=self.before))

    def meaning(self) -> tuple[Any, ...]:
        return replace(self, before=True).identity()

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.key,)

    def spread(self) -> Spread | None:
        return self.placed(0)

    def details(self) -> str:
        return f"key=[{', '.join(self.schema[k].name for k in self.key)}], onConflict={self.conflict}"

    @property
    def values(self) -> tuple[int, ...]:
        """Of the first rows: the columns that are kept besides the key. None where no row can go or change."""
        rest = () if self.inputs[0].traits.append_only else range(len(self.schema))
        return tuple(i for i in rest if i not in self.key)

    def layout(self) -> Layout:
        """How all rows of the keys are kept, where the last one counts."""
        return Layout.of("rows", self.inputs[0], self.key, ((SEQUENCE, pa.int64()),))

    def states(self) -> tuple[StateSpec, ...]:
        if self.conflict == DEDUPLICATE:
            return (self.layout().spec().living(self.ttl),)
        columns = self.schema.arrow()
        key, value = (pa.schema([columns.field(i) for i in some]) for some in (self.key, self.values))
        return (StateSpec("rows", key, value, cold=True).living(self.ttl),)

    def lifetimes(self) -> tuple[tuple[str, int], ...]:
        return (("sinkMaterializeState", self.ttl),)

    def without_before(self) -> PhysicalNode:
        return replace(self, before=False)

    def operator(self, context: OperatorContext) -> Operator:
        return LastRows(self, context) if self.conflict == DEDUPLICATE else FirstRows(self, context)


@dataclass(frozen=True)
class Conflicts:
    """What the options say: `materialize` is table.exec.sink.upsert-materialize, `required` table.exec.sink.require-on-conflict."""

    materialize: str = "AUTO"
    required: bool = True


def conflicts_resolved(node: PhysicalNode, target: Target, options: Conflicts, ttl: int) -> PhysicalNode:
    """`node`, with a SinkMaterializer on it where the table's key wants one. NotSupported where rows can meet and nobody said
    what is to become of them."""
    wanted = () if target.sink is None else target.sink.primary_key
    if not wanted or options.materialize == "NONE":
        return node
    names = target.output.names
    key, of_rows = tuple(names.index(n) for n in wanted), {names[i] for i in node.traits.key}
    conflict = target.conflict
    meets = set(wanted) != of_rows
    if node.traits.append_only:
        # Rows that only come take one another's place in the table itself.
        needed = meets and conflict in (NOTHING, ERROR)
    else:
        needed = meets
        if meets and conflict is None:
            if options.required:
                raise _undecided(target, wanted, of_rows)
            conflict = DEDUPLICATE
    if not needed and options.materialize != "FORCE":
        return node
    return SinkMaterializer((node,), key, conflict or DEDUPLICATE, target.table, wanted, ttl=ttl)


def changes_key(node: PhysicalNode, target: Target, options: Conflicts) -> tuple[int, ...]:
    """The columns by which the changes of `node` are put in order: its key, or, where rows can meet in one of the table and
    nobody looks, the table's, so that what comes is told after what goes."""
    wanted = () if target.sink is None else target.sink.primary_key
    if wanted and options.materialize == "NONE":
        return tuple(target.output.names.index(n) for n in wanted)
    return node.traits.key


def _undecided(target: Target, wanted: tuple[str, ...], have: set[str]) -> NotSupported:
    known = f"are known by ({', '.join(sorted(have))})" if have else "have no key that is known"
    return NotSupported(
        f"table {target.table} has PRIMARY KEY ({', '.join(wanted)}), and rows of this query change and {known}",
        hint=f"GROUP BY {', '.join(wanted)}, or keep one row of each: ROW_NUMBER() OVER (PARTITION BY "
        f"{', '.join(wanted)} ORDER BY …) = 1; or say what becomes of rows that meet in a key, behind the query: "
        "ON CONFLICT DO ERROR, DO NOTHING (the first one stays) or DO DEDUPLICATE (the last one counts)",
    )


class Rows(Operator):
    """What both running halves do: changes of the table's rows in the order that a Changelog gives."""

    def __init__(self, node: SinkMaterializer, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        self.width = len(node.schema)
        self.columns = node.schema.arrow()
        self.append_only = node.inputs[0].traits.append_only

    def step(self, inputs: list[Delta]) -> Delta:
        out, batch = Delta([], meet([d.time for d in inputs])), concat(inputs[0].batches)
        if batch is not None:
            made = self._changes(batch)
            if made is not None:
                out.batches.append(made)
        return out

    def _changes(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        raise InternalError("Rows._changes")

    def _told(
        self, goes: list[pa.Array], old: list[pa.Array], new: list[pa.Array], comes: list[pa.Array]
    ) -> pa.RecordBatch | None:
        """Rows that go, rows before and after an update, and rows that come, as a batch of changes."""
        parts = [(Kind.DELETE, goes)]
        if self.node.before:
            parts.append((Kind.UPDATE_BEFORE, [interleaved(a, b) for a, b in zip(old, new, strict=True)]))
        else:
            parts.append((Kind.UPDATE_AFTER, new))
        return changelog([*parts, (Kind.INSERT, comes)], self.columns.append(pa.field(OP, pa.int8())))


class FirstRows(Rows):
    """One row a key: what came first stays, with its changes, until it goes."""

    def __init__(self, node: SinkMaterializer, context: OperatorContext) -> None:
        super().__init__(node, context)
        self.table = context.state(node.states()[0])
        key = node.inputs[0].traits.key
        self.keyed = bool(key)
        self.identity = list(key) if key else list(range(self.width))

    def _changes(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        self.table.expire()
        return self._appended(visible(batch, self.width)) if self.append_only else self._changed(batch)

    def _appended(self, rows: pa.RecordBatch) -> pa.RecordBatch | None:
        """Of rows that only come: those that are the first of their key."""
        slots, fresh = self.table.upsert(self._key(rows))
        self.table.touch(slots)
        if self.node.conflict == ERROR and not fresh.all():
            self._fail(rows, int(np.flatnonzero(~fresh)[0]))
        return rows.filter(pa.array(fresh)) if fresh.any() else None

    def _changed(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        change, table = Change.of([batch], self.columns, False), self.table
        if self.node.ttl and change.same.num_rows:
            same = table.find(self._key(change.same))
            table.touch(same[same >= 0])
        minus, plus = change.minus, change.plus
        going = table.find(self._key(minus)) if minus.num_rows else EMPTY
        there = going >= 0
        minus, going = minus.filter(pa.array(there)), going[there]
        coming, fresh = table.upsert(self._key(plus)) if plus.num_rows else (EMPTY, np.empty(0, np.bool_))

        slots, place = numbered(np.concatenate([going, coming]))
        minus_at, plus_at = place[: len(going)], place[len(going) :]
        had = np.ones(len(slots), np.bool_)
        had[plus_at[fresh]] = False
        of_minus, of_plus = had[minus_at], had[plus_at]  # a key that is new has no row that could go
        stays = had.copy()
        stays[minus_at[of_minus][self._same(minus, going, of_minus)]] = False
        # The place in `plus` of the newest form of the row that stays, and of the first one that came: -1 for none.
        newer, first = np.full((2, len(slots)), -1, np.int64)
        meets = np.ones(plus.num_rows, np.bool_)
        if self.keyed and of_plus.any():
            same = np.flatnonzero(of_plus)[self._same(plus, coming, of_plus)]
            newer[plus_at[same]] = same
            stays[plus_at[same]] = True
            meets[same] = False
        others = np.flatnonzero(meets)
        first[plus_at[others[::-1]]] = others[::-1]
        if self.node.conflict == ERROR:
            many = np.bincount(plus_at[others], weights=change.plus_counts[others], minlength=len(slots)) + stays
            if (many > 1).any():
                self._fail(plus, int(np.flatnonzero((many > 1)[plus_at])[0]))
        return self._kept(slots, had, stays, np.where(stays, newer, first), plus)

    def _kept(self, slots: Array, had: Array, stays: Array, now: Array, plus: pa.RecordBatch) -> pa.RecordBatch | None:
        """Keeps and tells what the rows of the keys are. `now`: the place in `plus` of each, -1 for what was there, or none."""
        updated = had & (now >= 0)
        goes, comes = had & ~stays & (now < 0), ~had & (now >= 0)
        old, new = self._stored(slots[updated]), plus.take(pa.array(now[updated])).columns
        changed = different(old, new, int(np.count_nonzero(updated)))
        out = self._told(
            self._stored(slots[goes]), kept(old, changed), kept(new, changed), plus.take(pa.array(now[comes])).columns
        )
        written = now >= 0
        rows = plus.take(pa.array(now[written]))
        self.table.put(slots[written], [rows.column(i) for i in self.node.values])
        self.table.delete(slots[goes])
        return out

    def _same(self, rows: pa.RecordBatch, slots: Array, which: Array) -> Array:
        """Whether `rows`, where `which`, are (forms of) those that are kept in `slots`."""
        some = rows.filter(pa.array(which))
        stored = self._stored(slots[which])
        return ~different([some.column(i) for i in self.identity], [stored[i] for i in self.identity], some.num_rows)

    def _key(self, rows: pa.RecordBatch) -> list[pa.Array]:
        return [rows.column(k) for k in self.node.key]

    def _stored(self, slots: Array) -> list[pa.Array]:
        """All columns of the rows that are kept in `slots`."""
        keys, node = self.table.keys(slots), self.node
        return [
            keys[node.key.index(i)] if i in node.key else self.table.column(f"c{i}").get(slots)
            for i in range(self.width)
        ]

    def _fail(self, rows: pa.RecordBatch, at: int) -> None:
        key = zip(self.node.called, self.node.key, strict=True)
        found = ", ".join(f"{name}={rows.column(k)[at].as_py()}" for name, k in key)
        raise DataError(
            f"table {self.node.table}: several rows of the query have the PRIMARY KEY [{found}] (ON CONFLICT DO ERROR)",
            hint="ON CONFLICT DO NOTHING keeps the first one, DO DEDUPLICATE the last",
        )


class LastRows(Rows):
    """All rows of a key, in the order in which they came: the last one is the table's.

    `top`: the last row of each key, by the number that the key has in `index`. In memory only, as are `rows`.
    """

    def __init__(self, node: SinkMaterializer, context: OperatorContext) -> None:
        super().__init__(node, context)
        layout = node.layout()
        self.store = RowStore(layout, context.state(node.states()[0]))
        self.index = HashIndex([layout.columns.field(k).type for k in node.key])
        self.rows = MultiMap()
        self.lives = PartitionLives(self.store.table)
        self.top: Array = np.full(256, -1, np.int64)
        self.next = 0

    def open(self) -> None:
        slots = self.store.table.slots()
        if not len(slots):
            return
        keys = self._numbers(self.store.partition(slots), len(slots))
        self.rows.add(keys, slots)
        self.lives.restored(keys, slots)
        self.next = int(self._sequence(slots).max()) + 1
        self._find_last(ascending(keys))

    def _changes(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        self._expire()
        change = Change.of([batch], self.columns, self.append_only)
        minus, plus, counts = change.minus, change.plus, change.plus_counts
        if (counts > 1).any():
            order = self._order(plus, batch)
            plus, counts = plus.take(pa.array(order)), counts[order]
        same = self._numbers(self._key(change.same), change.same.num_rows) if self.node.ttl else EMPTY
        going = self._numbers(self._key(minus), minus.num_rows)
        coming = self._numbers(self._key(plus), plus.num_rows)
        keys = ascending(np.concatenate([going, coming]))
        was = self.top[keys]
        old = self.store.columns(was[was >= 0], list(range(self.width)))

        gone = self._remove(minus, change.minus_counts)
        if plus.num_rows:
            numbers = pa.array(np.arange(self.next, self.next + plus.num_rows))
            self.next += plus.num_rows
            slots = self.store.add(plus, counts, [numbers])
            if self.store.layout.counted:  # a row that was there comes last now
                self.store.table.column(SEQUENCE).set(slots, numbers)
            gone = gone[~among(gone, slots)]  # an update of a row with a key takes its slot again
            self.rows.add(coming, slots)
            self.top[coming] = slots  # of a repeated key the last one holds
        lost = keys[among(self.top[keys], gone)]
        self._find_last(lost)
        out = self._what_is_told(keys, was, old)
        self.store.delete(gone)
        if self.node.ttl:
            self._write(ascending(np.concatenate([same, keys])))
        self._forget(keys)
        return out

    def _order(self, plus: pa.RecordBatch, batch: pa.RecordBatch) -> Array:
        """The order of distinct rows by when they came last in the epoch: each stands where it came first."""
        index = HashIndex([c.type for c in plus.columns])
        index.upsert(plus.columns, plus.num_rows)
        comes = np.flatnonzero(~takes_away(batch))
        at = index.find([c.take(pa.array(comes)) for c in batch.columns[: self.width]], len(comes))
        last = np.zeros(plus.num_rows, np.int64)
        last[at[at >= 0]] = comes[
            at >= 0
        ]  # a new index numbers its keys in order; of a repeated one the last place holds
        return np.argsort(last, kind="stable")

    def _what_is_told(self, keys: Array, was: Array, old: list[pa.Array]) -> pa.RecordBatch | None:
        """`old`: the rows that were the last ones of those keys that had one."""
        now = self.top[keys]
        had, has = was >= 0, now >= 0
        new = self.store.columns(now[has], list(range(self.width)))
        before, after = kept(old, has[had]), kept(new, had[has])
        changed = different(before, after, int(np.count_nonzero(had & has)))
        return self._told(kept(old, ~has[had]), kept(before, changed), kept(after, changed), kept(new, ~had[has]))

    def _remove(self, minus: pa.RecordBatch, counts: Array) -> Array:
        """Takes rows away; the slots that are empty now. They are there until they are deleted."""
        if not minus.num_rows:
            return EMPTY
        slots = self.store.find(minus)
        counts = np.minimum(counts, self.store.copies(np.maximum(slots, 0)))
        there = (slots >= 0) & (counts > 0)
        if self.node.ttl:
            self.context.lost(int(np.count_nonzero(~there)))
        gone = slots[there][self.store.remove(slots[there], counts[there])]
        self.rows.remove(gone, gone)
        return gone

    def _find_last(self, keys: Array) -> None:
        """Looks for the last row of these keys among all that they have."""
        if not len(keys):
            return
        self.top[keys] = -1
        place, slots = self.rows.probe(keys)
        order = np.argsort(self._sequence(slots), kind="stable")
        self.top[keys[place[order]]] = slots[order]

    def _sequence(self, slots: Array) -> Array:
        return np.asarray(self.store.table.fixed(SEQUENCE).data[slots])

    def _numbers(self, keys: list[pa.Array], n: int) -> Array:
        if not n:
            return EMPTY
        numbers, _ = self.index.upsert(keys, n)
        if self.index.index.capacity > len(self.top):
            self.top = grown(self.top, self.index.index.capacity, -1)
        return numbers

    def _key(self, rows: pa.RecordBatch) -> list[pa.Array]:
        return [rows.column(k) for k in self.node.key]

    def _expire(self) -> None:
        """Forgets the keys whose time is over, without a word."""
        slots = self.store.table.expired()
        if len(slots):
            slots = self.lives.over(slots, self.index.find(self.store.partition(slots), len(slots)))
        if not len(slots):
            return
        keys = ascending(self.index.find(self.store.partition(slots), len(slots)))
        self.rows.remove(slots, slots)
        self.store.delete(slots)
        self._find_last(keys)
        self._forget(keys)

    def _write(self, keys: Array) -> None:
        """Rows of these keys came or went."""
        self.lives.write(keys, self.top[keys][self.top[keys] >= 0])

    def _forget(self, keys: Array) -> None:
        """Keys without rows give their numbers back."""
        empty = keys[(self.top[keys] < 0) & self.index.index.live[keys]]
        self.index.delete(empty)
