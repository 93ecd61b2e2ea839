"""Timers: times by key, of event time or of processing time, with a name or without.

A key has one timer of a name: registering it again replaces it. Without a name it has one at each time.

A timer fires when time (the watermark, or the clock) has come to it. One that is registered for an event time that the
watermark has passed fires when the watermark moves next, as in Flink: at its `due`, the least watermark at which it
fires.
"""

from __future__ import annotations

import datetime
import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.batches import NO_WATERMARK
from sqlstream.errors import DataError
from sqlstream.keyed_state.current import CurrentKey
from sqlstream.keyed_state.prefixes import Prefixes
from sqlstream.python_values import micros, moment
from sqlstream.state.arrays import Array, fixed
from sqlstream.state.spec import StateSpec
from sqlstream.state.table import StateTable
from sqlstream.state.time_index import TimeIndex

EVENT, PROCESSING = 0, 1
DOMAINS = (EVENT, PROCESSING)


def timers_spec(name: str, key: pa.Schema) -> StateSpec:
    """The table that keeps timers, for the columns `key` by which an operator's rows are gathered."""
    fields = [("_domain", pa.int8()), ("_name", pa.string()), ("_at", pa.int64())]
    identity = pa.schema([*key, *(pa.field(*f) for f in fields)])
    value = pa.schema([("time", pa.int64()), ("due", pa.int64()), ("order", pa.int64())])
    return StateSpec(name, identity, value, len(key))


@dataclass(frozen=True)
class Timers:
    """Timers as columns: keys, domains, names (NULL: none), times and dues in µs, and the order of registration."""

    keys: list[pa.Array]
    domains: Array
    names: pa.Array
    times: Array
    due: Array
    order: Array

    def __len__(self) -> int:
        return len(self.times)


class TimerTable:
    """Timers of many keys at once."""

    def __init__(self, table: StateTable) -> None:
        self._table, self._width = table, len(table.spec.key) - 3
        slots = table.slots()
        order = table.fixed("order").data[slots]
        self._next = int(order.max()) + 1 if len(order) else 0
        self._rows = Prefixes(table, self._width, slots[np.argsort(order)])
        self._due = {d: TimeIndex() for d in DOMAINS}
        self._index(slots, fixed(table.keys(slots)[self._width]))

    def register(self, keys: list[pa.Array], domain: int, names: pa.Array, times: Array, due: Array) -> None:
        """Timers of keys, in that order. Of several of one name the last holds."""
        n = len(times)
        table, columns = self._table, self._columns(keys, domain, names, times)
        slots, fresh = table.upsert(columns, n)
        order = np.arange(self._next, self._next + n)
        self._next += n
        table.put(slots, [pa.array(times), pa.array(due), pa.array(order)])
        self._rows.add([k.filter(pa.array(fresh)) for k in keys], slots[fresh])
        slots = np.unique(slots)
        self._due[domain].add(table.fixed("due").data[slots], slots)

    def delete(self, keys: list[pa.Array], domain: int, names: pa.Array, times: Array) -> None:
        """Takes timers back, those that are there; the times of those with a name do not count."""
        slots = self._table.find(self._columns(keys, domain, names, times), len(times))
        self._rows.delete(np.unique(slots[slots >= 0]))

    def clear(self, keys: list[pa.Array], n: int) -> None:
        """Takes all timers of n keys back."""
        self._rows.delete(self._rows.probe(keys, n)[1])

    def take(self, domain: int, upto: int) -> Timers:
        """Those that fire when time has come to `upto`, in the order in which they do; they are timers no more."""
        table, slots = self._table, self._due[domain].take(upto)
        due = table.fixed("due")
        slots = slots[due.valid[slots] & (due.data[slots] <= upto)]  # what has gone or moved since is skipped
        slots = slots[fixed(table.keys(slots)[self._width]) == domain]
        slots = slots[np.lexsort((table.fixed("order").data[slots], due.data[slots]))]
        taken = self._timers(slots)
        self._rows.delete(slots)
        return taken

    def least(self, domain: int) -> int | None:
        """No timer of the domain fires before; None when there is none."""
        return self._due[domain].least

    def _columns(self, keys: list[pa.Array], domain: int, names: pa.Array, times: Array) -> list[pa.Array]:
        unnamed = names.is_null().to_numpy(zero_copy_only=False)
        domains = pa.array(np.full(len(times), domain, np.int8))
        return [*keys, domains, names, pa.array(np.where(unnamed, times, 0).astype(np.int64))]

    def _timers(self, slots: Array) -> Timers:
        table = self._table
        *keys, domains, names, _ = table.keys(slots)
        time, due, order = (table.fixed(c).data[slots] for c in ("time", "due", "order"))
        return Timers(keys, fixed(domains), names, time, due, order)

    def _index(self, slots: Array, domains: Array) -> None:
        due = self._table.fixed("due").data[slots]
        for d, index in self._due.items():
            index.add(due[domains == d], slots[domains == d])


# Domain, name, and time where there is no name.
Identity = tuple[int, str | None, int]


@dataclass(frozen=True, order=True)
class Firing:
    """A timer of the key with a number, as it comes in order."""

    due: int
    order: int
    key: int
    time: int
    name: str | None
    domain: int = EVENT

    @property
    def identity(self) -> Identity:
        """What another timer of the key replaces it by."""
        return self.domain, self.name, 0 if self.name is not None else self.time


class TimerService:
    """The timers of the key at hand; times are datetimes (`utc`: event times are instants; None: there are none), event
    times in steps of `unit` µs.

    `watermark` and `clock` (µs) are set by who goes through rows and timers.
    """

    def __init__(self, table: TimerTable, key: CurrentKey, utc: bool | None, unit: int = 1) -> None:
        self._table, self._key, self._utc, self._unit = table, key, utc, unit
        self.watermark, self.clock = NO_WATERMARK, 0
        self._upto = NO_WATERMARK
        self._known: dict[int, dict[Identity, Firing | None]] = {}  # by key; None: it is no more
        self._cleared: set[int] = set()  # keys of which nothing counts that the table has
        self._heap: list[Firing] = []
        self._order = 0

    # ---- for functions

    def current_watermark(self) -> datetime.datetime | None:
        """How far event time has come; None as long as nothing is known of it."""
        if self._utc is None or self.watermark == NO_WATERMARK:
            return None
        return moment(self.watermark, self._utc)

    def current_processing_time(self) -> datetime.datetime:
        """The clock's time at the beginning of the epoch, in UTC."""
        return moment(self.clock, True)

    def register_event_time_timer(self, time: datetime.datetime, name: str | None = None) -> None:
        """`on_timer` is to be called when the watermark has come to `time`."""
        at = self._event(time)
        self._register(EVENT, at, name, max(at, self.watermark + 1))

    def register_processing_time_timer(self, time: datetime.datetime, name: str | None = None) -> None:
        """`on_timer` is to be called when the clock has come to `time`."""
        at = self._processing(time)
        self._register(PROCESSING, at, name, at)

    def delete_event_time_timer(self, time: datetime.datetime | None = None, name: str | None = None) -> None:
        """Takes back the timer of a name, or that without one at a time, if it is there."""
        self._delete(EVENT, None if time is None else self._event(time), name)

    def delete_processing_time_timer(self, time: datetime.datetime | None = None, name: str | None = None) -> None:
        """Takes back the timer of a name, or that without one at a time, if it is there."""
        self._delete(PROCESSING, None if time is None else self._processing(time), name)

    def clear_all_timers(self) -> None:
        """Takes back all timers of the key."""
        self._cleared.add(self._key.at)
        self._known.pop(self._key.at, None)

    # ---- for who runs them

    def begin(self, taken: Timers, keys: Array, upto: int) -> None:
        """An epoch at whose end the watermark is `upto`: event timers that were `taken`, of the keys with numbers."""
        self._upto = upto
        names = taken.names.to_pylist()
        for time, due, key, name in zip(taken.times.tolist(), taken.due.tolist(), keys.tolist(), names, strict=True):
            self._put(Firing(due, self._count(), key, time, name))

    @property
    def registered(self) -> int:
        """The `order` of the last that was registered in the job's life."""
        return self._order

    def due(self, watermark: int) -> Iterator[Firing]:
        """Event timers that fire when the watermark comes to `watermark`, in order; those too that are registered
        meanwhile."""
        while self._heap and self._heap[0].due <= watermark:
            firing = heapq.heappop(self._heap)
            known = self._known.get(firing.key, {})
            if known.get(firing.identity) is firing:
                known[firing.identity] = None
                yield firing

    def flush(self) -> None:
        """Writes what changed; the keys at hand may be others then."""
        if self._cleared:
            cleared = sorted(self._cleared)
            self._table.clear(self._key.take(cleared), len(cleared))
        for domain in DOMAINS:
            mine = [(key, i, f) for key, known in self._known.items() for i, f in known.items() if i[0] == domain]
            gone = [(key, i) for key, i, f in mine if f is None]
            if gone:
                names = pa.array([name for _, (_, name, _) in gone], pa.string())
                times = np.array([time for _, (_, _, time) in gone], np.int64)
                self._table.delete(self._key.take([key for key, _ in gone]), domain, names, times)
            made = sorted((f for *_, f in mine if f is not None), key=lambda f: f.order)
            if made:
                names = pa.array([f.name for f in made], pa.string())
                times, due = (np.array(x, np.int64) for x in ([f.time for f in made], [f.due for f in made]))
                self._table.register(self._key.take([f.key for f in made]), domain, names, times, due)
        self._known.clear()
        self._cleared.clear()
        self._heap.clear()

    def _register(self, domain: int, time: int, name: str | None, due: int) -> None:
        if name is not None and not isinstance(name, str):
            raise DataError(f"the name of a timer is a str, not {name!r}")
        self._put(Firing(due, self._count(), self._key.at, time, name, domain))

    def _delete(self, domain: int, time: int | None, name: str | None) -> None:
        if (time is None) == (name is None):
            raise DataError("a timer is deleted by its name or, if it has none, by its time")
        self._known.setdefault(self._key.at, {})[domain, name, time or 0] = None

    def _put(self, firing: Firing) -> None:
        self._known.setdefault(firing.key, {})[firing.identity] = firing
        if firing.domain == EVENT and firing.due <= self._upto:
            heapq.heappush(self._heap, firing)

    def _count(self) -> int:
        self._order += 1
        return self._order

    def _event(self, time: datetime.datetime) -> int:
        if self._utc is None:
            raise DataError(
                "there is no event time here: a timer of it needs `on_time`",
                hint="… , on_time => DESCRIPTOR(ts)), ts being a column with a watermark; or a processing-time timer",
            )
        at = self._micros(time, self._utc)
        return at - at % self._unit

    def _processing(self, time: datetime.datetime) -> int:
        return self._micros(time, True)

    def _micros(self, time: datetime.datetime, utc: bool) -> int:
        if not isinstance(time, datetime.datetime) or (time.tzinfo is None) == utc:
            want = "a datetime with a time zone" if utc else "a datetime without a time zone"
            raise DataError(f"the time of a timer is {want}, not {time!r}")
        return micros(time)
