"""Rows that live for a time: exactly so long, and found without looking at the others."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from sqlstream.errors import InternalError
from sqlstream.state.spec import WRITTEN, StateSpec
from sqlstream.state.table import StateTable
from sqlstream.state.ttl import Expiry, expired

KEY, VALUE = pa.schema([("k", pa.int64())]), pa.schema([("v", pa.int64())])


def table(ttl: int, log: bool = False) -> StateTable:
    return StateTable(StateSpec("s", KEY, VALUE, log=log).living(ttl))


def put(t: StateTable, keys: list[int]) -> None:
    slots, _ = t.upsert([pa.array(keys, pa.int64())])
    t.put(slots, [pa.array(keys, pa.int64())])


def there(t: StateTable) -> set[int]:
    return set(t.keys(t.slots())[0].to_pylist())


def test_a_row_goes_when_its_time_is_over_and_not_before() -> None:
    t = table(ttl=100)
    t.begin(1000)
    put(t, [1, 2])
    t.begin(1050)
    put(t, [2])
    t.find([pa.array([1])])  # reading does not prolong it
    t.begin(1099)
    assert not len(t.expire())
    t.begin(1100)
    assert len(t.expire()) == 1 and there(t) == {2}
    t.begin(1150)
    t.expire()
    assert there(t) == set()


def test_expired_is_at_the_end_of_the_time() -> None:
    assert expired(np.array([0, 1, 2]), 11, 10).tolist() == [True, True, False]


def test_without_a_time_to_live_there_is_no_column_and_nothing_goes() -> None:
    t = table(0)
    assert t.spec == StateSpec("s", KEY, VALUE) and WRITTEN not in t.spec.value.names
    t.begin(0)
    put(t, [1])
    t.begin(2**62)
    assert not len(t.expire()) and there(t) == {1}


def test_rows_that_stay_cannot_live_for_a_time() -> None:
    with pytest.raises(InternalError, match="live for a time"):
        StateSpec("s", KEY, VALUE, log=True, stays=True).living(1)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("ttl", [1, 7, 640, 6400])
def test_any_history_against_a_dict(ttl: int, log: bool) -> None:
    """Writes, deletes, restarts, at times that jump: what is there is what was written less than ttl ago."""
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    t, now, number = table(ttl, log), 10**6, 0
    written: dict[int, int] = {}
    slot_of: dict[int, int] = {}
    for _ in range(400):
        now += rng.choice([0, 1, ttl // 50, ttl // 3, ttl if rng.random() < 0.1 else 0])
        t.begin(now)
        t.expire()
        written = {k: w for k, w in written.items() if w + ttl > now}
        assert there(t) == set(written), seed
        if log:
            keys = [number + i for i in range(rng.randrange(5))]
            number += len(keys)
            slots = t.append([pa.array(keys, pa.int64())], len(keys))
            t.put(slots, [pa.array(keys, pa.int64())])
            slot_of |= dict(zip(keys, slots.tolist(), strict=True))
            again = [k for k in written if rng.random() < 0.1]
            t.touch(np.array([slot_of[k] for k in again], np.int64))
            keys += again
        else:
            keys = [rng.randrange(40) for _ in range(rng.randrange(6))]
            put(t, keys)
        written |= dict.fromkeys(keys, now)
        gone = [k for k in written if rng.random() < 0.05]
        at = [slot_of[k] for k in gone] if log else t.find([pa.array(gone, pa.int64())]).tolist()
        t.delete(np.array(at, np.int64))
        for k in gone:
            del written[k]
        if rng.random() < 0.05:
            fresh = table(ttl, log)
            for rows in t.changes(full=True).upserts:
                fresh.load(rows)
            t = fresh
            slot_of = dict(zip(t.keys(t.slots())[0].to_pylist(), t.slots().tolist(), strict=True))
    t.begin(now + ttl)
    t.expire()
    assert t.size == 0, seed


def test_a_row_is_looked_at_about_once_in_its_time() -> None:
    """However often it is written: a slot waits once."""
    ttl, n = 64_000, 1000
    e, written, live = Expiry(ttl, n), np.zeros(n, np.int64), np.ones(n, np.bool_)
    looked = 0
    for now in range(0, 10 * ttl, 50):
        e.begin(now)
        before = sum(len(s) for runs in e._generations.values() for s in runs) + len(e._due[1])
        assert not len(e.take(written, live))
        assert before == (n if now else 0)
        turned = len(e._due[1])
        looked += turned
        written[:] = now
        e.add(np.arange(n))
    assert looked <= 12 * n  # in ten times of life


def test_the_time_of_the_last_write_is_kept() -> None:
    t = table(100)
    t.begin(5)
    put(t, [1])
    t.changes()
    t.begin(50)
    put(t, [1])
    (rows,) = t.changes().upserts
    assert [c.to_pylist() for c in rows.values] == [[1], [50]]
    again = table(100)
    again.load(rows)
    again.begin(149)
    assert not len(again.expire())
    again.begin(150)
    assert len(again.expire()) == 1


def test_time_does_not_go_back() -> None:
    t = table(100)
    t.begin(1000)
    put(t, [1])
    t.begin(900)
    put(t, [2])
    t.begin(1050)
    assert not len(t.expire())
    t.begin(1100)
    assert len(t.expire()) == 2
