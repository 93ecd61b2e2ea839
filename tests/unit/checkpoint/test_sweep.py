"""Rows that live for a time, in a store: those that left memory and that nobody asks for go with the folds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.checkpoint.store_shard import Folding, StoreShard
from sqlstream.state.rocks import Store
from sqlstream.state.spec import StateSpec
from sqlstream.state.stored import StoredState
from sqlstream.state.table import Rows, StateTable

from .test_stores import Now

TTL = 1000
SPEC = StateSpec("s", pa.schema([("k", pa.int64())]), pa.schema([("v", pa.string())]), cold=True).living(TTL)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store")
    yield made
    made.close()


def rows(keys: list[int], written: int) -> Rows:
    values = [pa.array([f"v{k}" for k in keys]), pa.array([written] * len(keys))]
    return Rows(len(keys), [pa.array(keys, pa.int64())], values)


def kept(state: StoredState, store: Store) -> set[int]:
    return {k for r in state.rows(store) for k in r.keys[0].to_pylist()}


def test_all_rows_are_looked_at_once_in_their_time(store: Store) -> None:
    state, other = StoredState(SPEC, 1), StoredState(SPEC, 2)
    state.write(store, rows([*range(500)], 0))
    state.write(store, rows([*range(500, 1000)], 900))
    other.write(store, rows([1, 2, 3], 0))
    assert state.sweep(store, TTL) == 0  # it begins
    gone = 0
    for now in range(TTL, 2 * TTL + 1, 100):  # a tenth of the key groups each
        n = state.sweep(store, now)
        assert n < 300
        gone += n
    # those of 900 that were looked at after 1900 are gone, too
    assert not kept(state, store) & set(range(500)) and gone == 1000 - len(kept(state, store))
    state.sweep(store, 3 * TTL)
    assert kept(state, store) == set() and kept(other, store) == {1, 2, 3}


def test_a_long_pause_is_one_sweep(store: Store) -> None:
    state = StoredState(SPEC, 0)
    state.sweep(store, 0)
    state.write(store, rows([*range(100)], 50))
    assert state.sweep(store, 10**9) == 100
    state.write(store, rows([7], 10**9))
    assert state.sweep(store, 10**9 + TTL // 2) == 0 and kept(state, store) == {7}


def test_without_a_time_nothing_goes(store: Store) -> None:
    state = StoredState(StateSpec("s", SPEC.key, pa.schema([("v", pa.string())]), cold=True), 0)
    state.write(store, Rows(1, [pa.array([1])], [pa.array(["x"])]))
    assert state.sweep(store, 10**9) == 0 and kept(state, store) == {1}


def test_folds_sweep_what_left_memory(tmp_path: Path) -> None:
    """Ever new keys, of which memory has few: the store has those of about one time to live, and all that live are seen."""
    shard = StoreShard(
        CheckpointStorage(tmp_path / "cp"),
        tmp_path / "files",
        (SPEC,),
        tmp_path / "store",
        Now(),
        Folding(changelog=False, hot_rows=64),
    )
    table = StateTable(SPEC)
    shard.attach({"s": table}, all_away=False)
    most = 0
    for epoch in range(60):
        now = epoch * 100
        table.begin(now)
        table.expire()
        keys = np.arange(epoch * 100, (epoch + 1) * 100)
        slots, fresh = table.upsert([pa.array(keys)])
        assert fresh.all()
        table.put(slots, [pa.array([f"v{k}" for k in keys])])
        shard.prepare({"s": table.changes()}).run()
        if table.pressed():
            table.leave(shard.folded)
        if epoch >= 9:
            alive = pa.array(np.arange((epoch - 9) * 100, (epoch + 1) * 100))
            assert (table.find([alive]) >= 0).all()
            assert (table.find([pa.array(np.arange(max(0, epoch - 30) * 100, (epoch - 9) * 100))]) < 0).all()
        most = max(most, sum(map(len, shard.stored[0].rows(shard.store()))))
    assert most <= 2500  # of 6,000
    shard.close()


def test_it_goes_on_where_it_was_in_another_process(tmp_path: Path) -> None:
    """One that never lives as long as a key group takes, with a clock that is set back in between."""
    for now in [0, *range(TTL, 2 * TTL + 5, 4), TTL // 2, 2 * TTL + 5]:
        store, state = Store(tmp_path / "store"), StoredState(SPEC, 1)
        if not now:
            state.write(store, rows([*range(500)], 0))
        state.sweep(store, now)
        store.flush()
        left = kept(state, store)
        store.close()
    assert left == set()
