"""Copy on write against dicts: whatever the epoch does while rows wait to be copied, a checkpoint has them as they were."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from harness.seed import random_of, said

from sqlstream.state import arena_kernels, columns, index, waiting
from sqlstream.state.changes import StateChanges
from sqlstream.state.spec import StateSpec
from sqlstream.state.table import StateTable
from sqlstream.state.waiting import Turns, Waiting

# Values that stay where they are, and values that move when others are set; keys that are words, bytes, and several.
NUMBERS = StateSpec("numbers", pa.schema([("k", pa.int64())]), pa.schema([("n", pa.int64()), ("x", pa.float64())]))
TEXTS = StateSpec("texts", pa.schema([("k", pa.string())]), pa.schema([("n", pa.int64()), ("t", pa.string())]))
NESTED = StateSpec(
    "nested",
    pa.schema([("k", pa.string()), ("f", pa.float64()), ("i", pa.int64())]),
    pa.schema([("n", pa.int64()), ("l", pa.list_(pa.string()))]),
)
TTL = 50
Row = tuple[Any, ...]
Model = dict[Row, Row]


def cold(spec: StateSpec, ttl: int = 0) -> StateSpec:
    return StateSpec(spec.name, spec.key, spec.value, cold=True).living(ttl)


def key_of(spec: StateSpec, i: int) -> Row:
    return {"numbers": (i,), "texts": (f"key {i}" * (i % 5),), "nested": (f"key {i % 7}", float(i % 11), i or None)}[
        spec.name
    ]


def value_of(spec: StateSpec, n: int) -> Any:
    """The second value beside the count `n`."""
    return {"numbers": n / 2, "texts": "text " * (n % 90), "nested": [f"item {n}"] * (n % 4)}[spec.name]


class Run:
    """A table, what it must have, and what its checkpoints came to, which a thread writes."""

    def __init__(self, spec: StateSpec, rng: random.Random) -> None:
        self.spec, self.rng = spec, rng
        self.table = StateTable(spec)
        self.model: Model = {}
        self.written: dict[Row, int] = {}
        self.disk: Model = {}
        self.now = 0
        self.thread = ThreadPoolExecutor(1)
        self.writing: Future[None] | None = None
        self.then: Model = {}

    # ---- the epoch

    def epoch(self) -> None:
        rng, table = self.rng, self.table
        self.now += rng.randrange(10)
        table.begin(self.now)
        with table.held():
            table.expire()
            if self.spec.ttl:
                for k in [k for k, at in self.written.items() if at <= self.now - TTL]:
                    del self.model[k], self.written[k]
            for _ in range(rng.randrange(1, 5)):
                rng.choice([self.add, self.add, self.put, self.remove, self.look])()

    def some(self, least: int = 1) -> list[int]:
        wide = self.rng.choice([20, 400])
        return [self.rng.randrange(wide) for _ in range(self.rng.randrange(least, 60))]

    def arrays(self, ids: list[int]) -> list[pa.Array]:
        columns = zip(*(key_of(self.spec, i) for i in ids), strict=True)
        return [pa.array(c, t) for c, t in zip(columns, self.spec.key.types, strict=True)]

    def add(self) -> None:
        """Raw arrays written as operators do, before the rows are touched or after it."""
        ids, table = self.some(), self.table
        slots, _ = table.upsert(self.arrays(ids))
        first = self.rng.random() < 0.5
        if first:
            table.touch(slots)
        n = table.fixed("n")
        n.valid[slots] = True
        np.add.at(n.data, slots, 1)
        other, value = self.spec.value.field(1), value_of(self.spec, self.now)
        table.column(other.name).set(slots, pa.array([value] * len(slots), other.type))
        if not first:
            table.touch(slots)
        for i in ids:
            k = key_of(self.spec, i)
            count, _ = self.model.get(k, (0, None))
            self.model[k], self.written[k] = (count + 1, value), self.now

    def put(self) -> None:
        ids = self.some()
        slots, _ = self.table.upsert(self.arrays(ids))
        types = self.spec.value.types
        values = [self.rng.randrange(1000) for _ in ids]
        self.table.put(slots, [pa.array(values), pa.array([value_of(self.spec, v) for v in values], types[1])])
        for i, v in zip(ids, values, strict=True):
            k = key_of(self.spec, i)
            self.model[k], self.written[k] = (v, value_of(self.spec, v)), self.now

    def remove(self) -> None:
        ids = self.some()
        slots = self.table.find(self.arrays(ids))
        self.table.delete(slots)
        for i in ids:
            self.model.pop(key_of(self.spec, i), None)
            self.written.pop(key_of(self.spec, i), None)

    def look(self) -> None:
        ids = self.some()
        slots = self.table.find(self.arrays(ids))
        there = slots >= 0
        assert there.tolist() == [key_of(self.spec, i) in self.model for i in ids]
        found = self.table.values(slots[there]).to_pylist()
        want = [self.model[key_of(self.spec, i)] for i, t in zip(ids, there, strict=True) if t]
        assert [tuple(row.values())[:2] for row in found] == want

    # ---- checkpoints

    def barrier(self) -> None:
        """Also while the one before is being written: what that has left is copied now."""
        changes = self.table.changes(full=self.rng.random() < 0.05)
        before, self.then = self.writing, dict(self.model)
        assert changes.live == len(self.model)
        if changes.full:
            self.disk_of(before)
            self.disk = {}
            self.write(changes)
            self.writing = None
            assert self.disk == self.then
            return
        self.writing = self.thread.submit(self.write, changes)

    def disk_of(self, writing: Future[None] | None) -> None:
        if writing is not None:
            writing.result(60)

    def write(self, changes: StateChanges) -> None:
        pieces = list(changes.upserts)
        if not changes.full and self.rng.random() < 0.3:  # a file that failed is written again
            assert [len(p) for p in changes.upserts] == [len(p) for p in pieces]
        named: set[Row] = set()
        for rows in changes.deleted:
            for k in zip(*(c.to_pylist() for c in rows.keys), strict=True):
                self.disk.pop(k, None)
        for rows in pieces:
            keys = [*zip(*(c.to_pylist() for c in rows.keys), strict=True)]
            values = zip(*(c.to_pylist() for c in rows.values[:2]), strict=True)
            assert not named & {*keys} and len({*keys}) == len(keys), "a row is in a checkpoint once"
            named |= {*keys}
            self.disk |= dict(zip(keys, values, strict=True))

    def check(self) -> None:
        self.disk_of(self.writing)
        assert self.disk == self.then


@pytest.fixture
def slow_copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[random.Random]:
    """Few rows at once, and a pause now and then in which the epoch goes on."""
    rng = random_of("pauses")
    copy_some = Waiting.copy_some

    def slow(self: Waiting, copies: Any) -> bool:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(rng.choice([0, 0, 0, 0.0005, 0.003]))
        return copy_some(self, copies)

    gather_bytes = arena_kernels.gather_bytes

    def slow_gather(*arrays: Any) -> None:
        """What a compaction meanwhile would move is not to be moved."""
        if threading.current_thread() is not threading.main_thread():
            time.sleep(rng.choice([0, 0.001]))
        gather_bytes(*arrays)

    monkeypatch.setattr(arena_kernels, "gather_bytes", slow_gather)
    monkeypatch.setattr(columns, "SMALL_ARENA", 1 << 9)
    monkeypatch.setattr(index, "SMALL_ARENA", 1 << 9)
    monkeypatch.setattr(waiting, "SLOTS_AT_ONCE", 16)
    monkeypatch.setattr(waiting, "FEW_ROWS", 40)
    monkeypatch.setattr(Waiting, "copy_some", slow)
    yield rng


@pytest.mark.parametrize("ttl", [0, TTL])
@pytest.mark.parametrize("spec", [NUMBERS, TEXTS, NESTED], ids=lambda s: s.name)
@pytest.mark.usefixtures("slow_copies")
def test_any_history(spec: StateSpec, ttl: int) -> None:
    run = Run(cold(spec, ttl), random_of("waiting", spec.name, ttl))
    saved = 0
    try:
        for _ in range(150):
            saved += bool(run.table._waiting)
            run.epoch()
            if run.rng.random() < 0.2:
                run.table.copy_some(time.perf_counter() + run.rng.choice([0, 0.0002]))
            if run.writing is None or run.writing.done() or run.rng.random() < 0.05:
                if run.rng.random() < 0.5:
                    run.check()
                if run.rng.random() < 0.6:
                    run.barrier()
        run.check()
        slots = run.table.slots()
        keys = zip(*(c.to_pylist() for c in run.table.keys(slots)), strict=True)
        values = zip(*(c.to_pylist() for c in run.table.values(slots).columns[:2]), strict=True)
        assert dict(zip(keys, values, strict=True)) == run.model
        assert saved > 15, "epochs went on while rows waited"
    except AssertionError as e:
        raise AssertionError(said(str(e))) from e
    finally:
        run.thread.shutdown()


def test_nothing_is_copied_at_the_barrier() -> None:
    table = StateTable(cold(NUMBERS))
    slots, _ = table.upsert([pa.array(range(100_000))])
    table.put(slots, [pa.array(range(100_000)), pa.nulls(100_000, pa.float64())])
    changes = table.changes()
    assert int(table._marks.waiting.sum()) == 100_000
    again, _ = table.upsert([pa.array([5, 5, 7])])
    table.fixed("n").data[again] = -1
    assert int(table._marks.waiting.sum()) == 99_998
    pieces = list(changes.upserts)
    assert sum(map(len, pieces)) == 100_000 and not table._marks.waiting.any()
    stored = {k: n for p in pieces for k, n in zip(p.keys[0].to_pylist(), p.values[0].to_pylist(), strict=True)}
    assert stored == {i: i for i in range(100_000)}
    assert table.changes().num_rows == 0  # nobody touched what was given out


def test_slots_of_an_epoch_before_are_copied_when_they_are_to_be_written() -> None:
    table = StateTable(NUMBERS)
    slots, _ = table.upsert([pa.array([1, 2, 3])])
    table.put(slots, [pa.array([1, 2, 3]), pa.nulls(3, pa.float64())])
    changes = table.changes()
    table.writing(slots[:2])
    table.fixed("n").data[slots[:2]] = 0
    assert int(table._marks.waiting.sum()) == 1
    assert sorted(n for rows in changes.upserts for n in rows.values[0].to_pylist()) == [1, 2, 3]


LOG = StateSpec(
    "log",
    pa.schema([("k", pa.string()), ("id", pa.int64())]),
    pa.schema([("n", pa.int64()), ("t", pa.string())]),
    1,
    log=True,
)


@pytest.mark.parametrize("ttl", [0, TTL])
def test_rows_of_a_log_that_change_and_go(ttl: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators keep their slots, write into them, delete them; new rows take slots that were freed."""
    monkeypatch.setattr(waiting, "SLOTS_AT_ONCE", 16)
    rng = random_of("log", ttl)
    table, model, ids = StateTable(LOG.living(ttl)), dict[int, tuple[Any, ...]](), 0  # by slot: id, n, text, written
    disk: dict[int, tuple[Any, ...]] = {}
    with ThreadPoolExecutor(1) as thread:
        writing: Future[None] | None = None
        for epoch in range(400):
            table.begin(epoch)
            with table.held():
                over = table.expired()
                assert {model.pop(s)[3] <= epoch - TTL for s in over.tolist()} <= {True}
                table.delete(over)
                n = rng.randrange(30)
                texts = [f"text {i}" * rng.randrange(9) for i in range(n)]
                slots = table.append([pa.array(texts, pa.string()), pa.array(np.arange(ids, ids + n))], n)
                table.put(slots, [pa.array(np.arange(n)), pa.array(texts, pa.string())])
                model |= {s: (ids + i, i, texts[i], epoch) for i, s in enumerate(slots.tolist())}
                ids += n
                some = np.array(rng.sample(sorted(model), min(len(model), rng.randrange(20))), np.int64)
                table.writing(some)
                table.fixed("n").data[some] += 1
                table.touch(some)
                model |= {s: (model[s][0], model[s][1] + 1, model[s][2], epoch) for s in some.tolist()}
                gone = rng.sample(sorted(model), min(len(model), rng.randrange(25)))
                table.delete(np.array(gone, np.int64))
                for s in gone:
                    del model[s]
            if writing is None or writing.done() or rng.random() < 0.1:
                if writing is not None:
                    writing.result()
                writing = thread.submit(_write_log, table.changes(), disk, {r[0]: r for r in model.values()}, ttl)
        assert writing is not None
        writing.result()
        assert len(disk) > 20


def _write_log(
    changes: StateChanges, disk: dict[int, tuple[Any, ...]], expected: dict[int, tuple[Any, ...]], ttl: int
) -> None:
    for gone in changes.deleted:
        for id_ in gone.keys[1].to_pylist():
            disk.pop(id_, None)
    for rows in changes.upserts:
        time.sleep(0.0005)
        written = rows.values[2].to_pylist() if ttl else [None] * len(rows)
        columns = (rows.keys[1].to_pylist(), rows.values[0].to_pylist(), rows.values[1].to_pylist(), written)
        disk |= {row[0]: row for row in zip(*columns, strict=True)}
    assert disk == {i: r if ttl else (*r[:3], None) for i, r in expected.items()}


class NotedGate:
    """The gate of Turns, which notes how many had their turn when the owner had shut it."""

    def __init__(self, taken: list[int]) -> None:
        self._lock, self._taken, self._owner = threading.Lock(), taken, threading.get_ident()
        self.shut_at = 0

    def __enter__(self) -> None:
        self._lock.acquire()
        if threading.get_ident() == self._owner:
            self.shut_at = self._taken[0]

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_the_owner_waits_for_one_turn_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others that come again at once do not come before it."""
    turns, stop, taken = Turns(), threading.Event(), [0]
    gate = NotedGate(taken)
    monkeypatch.setattr(turns, "_gate", gate)

    def greedy() -> None:
        while not stop.is_set():
            with turns.after_the_owner():
                taken[0] += 1
                time.sleep(0.001)

    with ThreadPoolExecutor(2) as threads:
        others = [threads.submit(greedy) for _ in range(2)]
        try:
            while taken[0] < 3:
                time.sleep(0.001)
            for _ in range(50):
                with turns:
                    assert taken[0] - gate.shut_at <= 2  # both had passed the gate, and neither comes again
        finally:
            stop.set()
        for o in others:
            o.result(60)
