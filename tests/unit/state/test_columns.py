"""Columns by slot against a dictionary: arenas with and without shared values, numbers that need no memory."""

from __future__ import annotations

import random
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from harness.seed import SEED

from sqlstream.errors import RunError
from sqlstream.state import columns, meta
from sqlstream.state.columns import BytesColumn, DenseColumn, NumberColumn


def texts(chance: random.Random, n: int, kinds: int) -> list[str | None]:
    made = [None, "", "x", "é" * 40, *(f"value {k} " * (k % 9 + 1) for k in range(kinds))]
    return [chance.choice(made) for _ in range(n)]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kinds", [3, 100_000])
def test_bytes_are_what_was_set(shared: bool, kinds: int) -> None:
    chance = random.Random(SEED)
    column, capacity = BytesColumn(pa.string(), 256, shared), 256
    known: dict[int, str | None] = {}
    for step in range(60):
        if step % 12 == 11:
            capacity *= 2
            column.grow(capacity)
        if chance.random() < 0.2 and known:
            gone = chance.sample(sorted(known), len(known) // 2)
            column.clear(np.array(gone, np.int64))
            known |= dict.fromkeys(gone)
        slots = chance.sample(range(capacity), chance.randrange(capacity))
        values = texts(chance, len(slots), kinds)
        column.set(np.array(slots, np.int64), pa.array(values, pa.string()))
        known |= dict(zip(slots, values, strict=True))
        at = sorted(known)
        assert column.get(np.array(at, np.int64)).to_pylist() == [known[s] for s in at], f"SQLSTREAM_SEED={SEED}"
        lengths = sum(-(-len((v or "").encode()) // 8) * 8 for v in known.values())
        assert column.meta[meta.USED] - column.meta[meta.GARBAGE] == lengths


def test_equal_values_are_kept_once() -> None:
    column, n = BytesColumn(pa.string(), 200_000, shared=True), 100_000
    values = pa.array([f"a name of some length {i % 50}" for i in range(n)])
    column.set(slice(0, n), values)
    assert column.meta[meta.USED] == 50 * 24
    column.set(slice(n, 2 * n), pa.array([f"{i:30}" for i in range(n)]))
    assert len(column.arena) > 32 * n
    column.clear(np.arange(n, 2 * n))  # compacts, and what was shared stays so
    column._make_room(0)
    assert column.meta[meta.USED] == 50 * 24
    assert column.get(slice(0, n)) == values


def test_an_arena_that_is_full_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "LARGEST_ARENA", 1 << 17)
    column = BytesColumn(pa.string(), 256)
    with pytest.raises(RunError, match="of strings in one column of one task"):
        column.set(slice(0, 2), pa.array(["x" * 100_000] * 2))


def test_what_fits_an_arena_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "LARGEST_ARENA", 1 << 17)
    column, chance = BytesColumn(pa.string(), 256), random.Random(SEED)
    column.set(slice(0, 100), pa.array(["x" * 1000] * 100))
    for n in range(200):  # 100,000 bytes are live; what was cleared makes room
        slots = np.array(chance.sample(range(100), 10))
        column.clear(slots)
        column.set(slots, pa.array([f"{n:1000}"] * 10))
    assert len(column.arena) <= 1 << 17 and column.get(slots).to_pylist() == [f"{n:1000}"] * 10


def test_a_column_of_a_log_knows_its_nulls() -> None:
    column = DenseColumn(pa.int32(), 4)
    column.set(slice(0, 3), pa.array([1, 2, 3], pa.int32()))
    assert column.get(slice(1, 3)) == pa.array([2, 3], pa.int32()) and column._null is None
    column.set(slice(3, 4), pa.array([None], pa.int32()))
    column.grow(8)
    column.set(np.array([4, 1]), pa.array([5, None], pa.int32()))
    column.set(np.array([3]), pa.array([6], pa.int32()))
    assert column.get(np.arange(5)).to_pylist() == [1, None, 3, 6, 5]
    assert column.valid.tolist()[:5] == [True, False, True, True, True]
    with pytest.raises(ValueError, match="read-only"):
        column.valid[0] = False
    pairs = DenseColumn(pa.decimal128(20, 2), 2)
    pairs.set(slice(0, 2), pa.array([None, Decimal(7)], pa.decimal128(20, 2)))
    assert [str(x) for x in pairs.get(np.array([1, 0])).to_pylist()] == ["7.00", "None"]


def test_numbers_are_kept_once_they_are_out_of_step() -> None:
    column = NumberColumn(16)
    column.set(slice(0, 4), pa.array([7, 8, 9, 10]))
    column.set(np.array([4, 5]), pa.array([11, 12]))
    assert column._kept is None
    assert column.get(slice(1, 6)).to_pylist() == [8, 9, 10, 11, 12]
    column.grow(32)
    column.set(np.array([1, 20]), pa.array([13, 27]))  # a slot that was freed
    assert column._kept is not None
    assert column.get(np.array([0, 1, 2, 5, 20])).to_pylist() == [7, 13, 9, 12, 27]
    column.set(slice(21, 23), pa.array([28, 29]))
    assert column.get(slice(20, 23)).to_pylist() == [27, 28, 29]
