"""Aggregation: the calls of one aggregate over groups that are slots of a state table.

Made twice: in the plan half, to say which value columns and which further tables it needs, and in the running half.
It keeps what the calls' streaming halves ask for (`sqlstream.aggregates.streaming`): parts, which calls share, and
value indexes, one an argument.

    a part of          append-only input      changelog input
    any rows           rows                   rows with signs; where it cannot take back: values that appear and vanish
    different values   values that appear     values that appear and vanish
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.overflow import overflow
from sqlstream.aggregates.registry import aggregate
from sqlstream.aggregates.streaming.count import Count
from sqlstream.aggregates.streaming.half import Call, Half, Ordering, P
from sqlstream.aggregates.streaming.part import EVERY, Columns, Overflow, Part, Rows, Scratch
from sqlstream.aggregates.streaming.value_index import Indexed, ValueIndex
from sqlstream.plan.nodes import AggCall
from sqlstream.state.arrays import Array, validity
from sqlstream.state.table import StateSpec, StateTable
from sqlstream.types import BIGINT, Schema

# A part: its kind, argument, the argument beside it, filter, and whether it is fed by a value index.
Key = tuple[type[Part], int | tuple[int, ...] | None, int | None, int | None, bool]


class Batch(Protocol):
    """A record batch, or what stands for one."""

    def column(self, i: int) -> pa.Array:
        """Column i, by position."""


class Aggregation:
    """append_only, arrival: of the input. counted: also counts rows (`rows_of`). freed: `free` will be called. merging: `merge`
    will be. ttl: how long values live without being written, each by itself; the group table's rows must live as long."""

    def __init__(
        self,
        calls: Sequence[AggCall],
        schema: Schema,
        *,
        append_only: bool,
        arrival: bool,
        counted: bool = False,
        freed: bool = False,
        merging: bool = False,
        ttl: int = 0,
    ) -> None:
        self.schema, self.append_only, self.freed, self.ttl = schema, append_only, freed, ttl
        self.merging = merging
        self.arrival = arrival and append_only
        self.parts: dict[Key, Part] = {}
        self.indexes: dict[Indexed, ValueIndex] = {}
        self._read: dict[Part, Any] = {}
        self._of: dict[Part, Call] = {}  # the call that first asked for it, for messages
        self.counted = self.part(Count, None, Call("COUNT", (), (), BIGINT, "COUNT(*)")) if counted else None
        self._halves = [self._half(c) for c in calls]

    def _half(self, call: AggCall) -> Half:
        types = tuple(self.schema[a].type for a in call.args)
        order = tuple(Ordering(k.column, k.ascending, k.nulls_first) for k in call.order)
        made = Call(
            call.function,
            call.args,
            types,
            call.column.type,
            call.column.name,
            call.distinct,
            call.filter,
            call.constants,
            order,
        )
        return aggregate(call.function).half()(made, self)

    # --- what it needs -----------------------------------------------------------------------------------

    def fields(self) -> list[pa.Field]:
        """Value columns of the group table."""
        return [f for p in self.parts.values() for f in p.fields()]

    def specs(self, keys: pa.Schema, distribution: int) -> list[StateSpec]:
        """Further tables; `keys` is the group table's key."""
        return [spec for _, spec in self._tables(keys, distribution)]

    def _tables(self, keys: pa.Schema, distribution: int) -> Iterator[tuple[Part | ValueIndex, StateSpec]]:
        for index in self.indexes.values():
            # What LISTAGG says of rows that only come is one value in Flink: its rows go with their group.
            whole = index.listed and self.append_only
            yield index, index.spec(keys, distribution).living(0 if whole else self.ttl)
        for part in self.parts.values():
            spec = part.spec(keys, distribution)
            if spec is not None:
                yield part, spec

    def part(
        self,
        kind: type[P],
        argument: int | tuple[int, ...] | None,
        call: Call,
        distinct: bool = False,
        beside: int | None = None,
    ) -> P:
        """See `Groups.part`."""
        by_value = distinct or not (self.append_only or kind.takes_back)
        key = (kind, argument, beside, call.filter, by_value)
        if key not in self.parts:
            name = kind.__name__.lower()
            arguments = argument if isinstance(argument, tuple) else () if argument is None else (argument,)
            name += "".join(f"_c{a}" for a in arguments)
            name += "" if beside is None else f"_with_c{beside}"
            name += "" if call.filter is None else f"_if_c{call.filter}"
            name += "_distinct" if by_value else ""
            t = self.schema[argument].type.arrow() if isinstance(argument, int) else None
            made = self.parts[key] = kind(name, t)
            self._of[made] = call
            if by_value:
                assert isinstance(argument, int)
                self.index(Indexed((argument,), (argument,)), call).feed(call.filter, made)
        part = self.parts[key]
        assert isinstance(part, kind)
        return part

    def index(self, of: Indexed, call: Call) -> ValueIndex:
        """See `Groups.index`."""
        if of not in self.indexes:
            types = [self.schema[c].type.arrow() for c in of.columns]
            self.indexes[of] = ValueIndex(of, types, self.freed, self.append_only)
        self.indexes[of].use(call.filter)
        return self.indexes[of]

    def read(self, part: Part, slots: Array) -> Any:
        """See `Groups.read`."""
        if part not in self._read:
            self._read[part] = part.read(slots)
        return self._read[part]

    # --- running -----------------------------------------------------------------------------------------

    def open(self, table: Columns, state: Callable[[StateSpec], StateTable] | None = None) -> None:
        """`table`: the group table, or Scratch. `state` gives the tables of `specs`."""
        for part in self.parts.values():
            part.open(table)
        if state is not None:
            assert isinstance(table, StateTable)
            for keeper, spec in self._tables(table.spec.key, table.spec.distribution):
                keeper.open_table(state(spec), table)

    def start(self, slots: Array) -> None:
        """New groups."""
        for part in self.parts.values():
            part.start(slots)

    def add(
        self,
        slots: Array,
        signs: Array,
        batch: Batch,
        keys: list[pa.Array],
        order: Array | None = None,
    ) -> None:
        """Rows of an epoch into their groups. signs: EVERY, or one a row. keys: their group key columns."""
        with self._named():
            self._add(Selection(slots, signs, batch, order), slots, signs, batch, keys, order)

    def _add(
        self, chosen: Selection, slots: Array, signs: Array, batch: Batch, keys: list[pa.Array], order: Array | None
    ) -> None:
        for (_, argument, beside, filter, by_value), part in self.parts.items():
            if by_value:
                continue
            if isinstance(argument, tuple):
                part.add(chosen.columns(argument, filter))
            else:
                part.add(chosen.rows(argument, filter, beside))
        for of, index in self.indexes.items():
            masks = {f: chosen.mask((), f) for f in index.filters}
            keep = chosen.mask(of.given, None)
            if None not in masks:
                some = np.logical_or.reduce([m for m in masks.values() if m is not None])
                keep = some if keep is None else keep & some
            values = [batch.column(c) for c in of.columns]
            if keep is None:
                index.update(keys, slots, signs, values, order, masks)
            elif keep.any():
                mask = pa.array(keep)
                index.update(
                    [k.filter(mask) for k in keys],
                    slots[keep],
                    signs[keep] if len(signs) else signs,
                    [v.filter(mask) for v in values],
                    None if order is None else order[keep],
                    {f: None if m is None else m[keep] for f, m in masks.items()},
                )

    @property
    def merges(self) -> bool:
        """Whether partial results are rows, which can be sent and merged: of changing input too, then."""
        return not self.indexes and all(p.merges for p in self.parts.values())

    def partials(self, slots: Array) -> list[pa.Array]:
        """What the parts hold: the columns of `fields`."""
        return [c.get(slots) for p in self.parts.values() for c in p.columns]

    def open_scratch(self, n: int) -> tuple[Array, list[pa.Array]]:
        """Opens it over n new groups in memory, for merging: their slots, and their keys, which are numbers."""
        numbers = pa.array(np.arange(n))
        if not self.indexes:
            self.open(Scratch(self.fields(), n))
            slots: Array = np.arange(n)
        else:
            table = StateTable(StateSpec("merged", pa.schema([("group", pa.int64())]), pa.schema(self.fields())))
            slots, _ = table.upsert([numbers], n)
            self.open(table, StateTable)
        self.start(slots)
        return slots, [numbers]

    def merge(self, into: Array, other: Aggregation, slots: Array, keys: list[pa.Array]) -> None:
        """Partial results in `slots` of `other` into `into` of this one, whose group keys are `keys` (read where values
        are kept). Over appended input only."""
        with self._named():
            for key, part in self.parts.items():
                if not key[-1]:  # else the index tells it
                    part.merge(into, other.parts[key], slots)
            for at, index in self.indexes.items():
                index.merge(keys, into, other.indexes[at], slots)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What overflows is told by the call that it is of."""
        try:
            yield
        except Overflow as e:
            assert e.part is not None
            call = self._of[e.part]
            raise overflow(call.text, call.result) from None

    def result(self, slots: Array) -> list[pa.Array]:
        """One column a call."""
        self._read = {}
        return [self._result(h, slots) for h in self._halves]

    @staticmethod
    def _result(half: Half, slots: Array) -> pa.Array:
        try:
            return half.result(slots)
        except Overflow:
            raise overflow(half.call.text, half.call.result) from None

    @property
    def counts_rows(self) -> bool:
        """Whether each row changes its group's result, for certain."""
        return self.append_only and any(h.grows for h in self._halves)

    def rows_of(self, slots: Array) -> Array:
        """How many rows each group has."""
        assert self.counted is not None
        return np.asarray(self.counted.read(slots))

    def expire(self, table: StateTable) -> None:
        """Forgets the values and the groups whose time is over. A value goes without a word: what it added stays, and it
        adds it again when it comes again."""
        for index in self.indexes.values():
            index.expire()
        slots = table.expired()
        if len(slots):
            self.free(slots)
            table.delete(slots)

    def free(self, slots: Array) -> None:
        """Forget groups: what is kept of them outside the group table."""
        for index in self.indexes.values():
            if index.linked:
                index.free(slots)
        for part in self.parts.values():
            part.free(slots)


class Selection:
    """Rows of a batch by argument (not NULL) and filter (true), each made once."""

    def __init__(self, slots: Array, signs: Array, batch: Batch, order: Array | None) -> None:
        self._slots, self._signs, self._batch, self._order = slots, signs, batch, order
        self._rows: dict[tuple[int | None, int | None, int | None], Rows] = {}
        self._masks: dict[tuple[tuple[int, ...], int | None], Array | None] = {}

    def mask(self, given: tuple[int, ...], filter: int | None) -> Array | None:
        """Which rows: those where these columns are not NULL; None: all."""
        key = (given, filter)
        if key not in self._masks:
            mask: Array | None = None
            if filter is not None:
                mask = self._batch.column(filter).fill_null(False).to_numpy(zero_copy_only=False)
            for column in given:
                valid = validity(self._batch.column(column))
                if valid.size:
                    mask = valid if mask is None else mask & valid
            self._masks[key] = mask
        return self._masks[key]

    def rows(self, argument: int | None, filter: int | None, beside: int | None = None) -> Rows:
        """The rows for a part over column `argument` (None: it has none) under column `filter` (None: all rows)."""
        key = (argument, filter, beside)
        if key not in self._rows:
            values, others = (None if c is None else self._batch.column(c) for c in (argument, beside))
            mask = self.mask(tuple(c for c in (argument, beside) if c is not None), filter)
            if mask is None:
                self._rows[key] = Rows(self._slots, self._signs, values, self._order, others)
            else:
                given = pa.array(mask)
                self._rows[key] = Rows(
                    self._slots[mask],
                    self._signs[mask] if len(self._signs) else EVERY,
                    None if values is None else values.filter(given),
                    None if self._order is None else self._order[mask],
                    None if others is None else others.filter(given),
                )
        return self._rows[key]

    def columns(self, arguments: tuple[int, ...], filter: int | None) -> Rows:
        """The rows for a part over several columns, those with NULLs too."""
        mask, values = self.mask((), filter), [self._batch.column(a) for a in arguments]
        if mask is None:
            return Rows(self._slots, self._signs, order=self._order, columns=values)
        given = pa.array(mask)
        return Rows(
            self._slots[mask],
            self._signs[mask] if len(self._signs) else EVERY,
            order=None if self._order is None else self._order[mask],
            columns=[v.filter(given) for v in values],
        )
