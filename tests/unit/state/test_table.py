"""StateTable against a dict, and what a checkpoint would see."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from sqlstream.errors import InternalError
from sqlstream.state.table import StateChanges, StateSpec, StateTable


def spec(key: list[pa.DataType], value: list[pa.DataType], distribution: int = -1) -> StateSpec:
    return StateSpec(
        "s",
        pa.schema([(f"k{i}", t) for i, t in enumerate(key)]),
        pa.schema([(f"v{i}", t) for i, t in enumerate(value)]),
        distribution,
    )


def rows(arrays: list[pa.Array]) -> list[tuple]:
    return list(zip(*(a.to_pylist() for a in arrays), strict=True))


TYPES = {
    pa.int64(): [1, -1, None, 2**63 - 1, -(2**63), 0],
    pa.int8(): [1, -1, None, 127, -128],
    pa.bool_(): [True, False, None],
    pa.float64(): [0.0, None, 1.5, float("inf"), float("-inf")],
    pa.float32(): [0.0, None, 1.5],
    pa.string(): ["", "a", None, "longer than eight bytes", "é"],
    pa.binary(): [b"", b"\0", b"\0\0", None, b"12345678", b"123456789"],
    pa.date32(): [0, 1, None, -1],
    pa.timestamp("us"): [0, None, -1, 10**15],
    pa.decimal128(10, 2): [Decimal(1), None, Decimal(2)],
    pa.decimal128(38, 2): [
        Decimal("1.00"),
        None,
        Decimal("-1.00"),
        Decimal("123456789012345678901234567890.12"),
    ],
    pa.list_(pa.int32()): [[1], None, []],
    pa.list_(pa.int64()): [[], [1], [1, 2], None, [None]],
    pa.struct([("f0", pa.int64()), ("f1", pa.string())]): [
        {"f0": 1, "f1": "a"},
        None,
        {"f0": None, "f1": None},
        {"f0": 1, "f1": None},
    ],
    pa.null(): [None],
}


@pytest.mark.parametrize("t", TYPES, ids=str)
def test_keys_of_every_type(t: pa.DataType) -> None:
    values = pa.array(TYPES[t], t)
    twice = pa.concat_arrays([values, values])
    table = StateTable(spec([t], [pa.int64()]))
    slots, fresh = table.upsert([twice])
    n = len(values)
    assert fresh.tolist() == [True] * n + [False] * n
    assert slots[:n].tolist() == slots[n:].tolist() == list(range(n))
    assert table.find([values]).tolist() == slots[:n].tolist()
    assert table.keys(slots[:n])[0].equals(values)
    pairs = StateTable(spec([t, pa.string(), pa.int64()], [pa.int64()], 2))
    other, word = pa.array(["x"] * 2 * n), pa.array([7] * 2 * n)
    slots2, fresh2 = pairs.upsert([twice, other, word])
    assert fresh2.tolist() == fresh.tolist() and slots2.tolist() == slots.tolist()
    assert pairs.keys(slots2)[0].equals(twice)
    assert pairs.find([values, pa.array(["y"] * n), word[:n]]).tolist() == [-1] * n
    pairs.delete(slots2)
    assert pairs.size == 0 and pairs.find([values, other[:n], word[:n]]).tolist() == [-1] * n


@pytest.mark.parametrize("t", TYPES, ids=str)
def test_values_of_every_type(t: pa.DataType) -> None:
    if t == pa.null():
        return
    values = pa.array(TYPES[t], t)
    n = len(values)
    table = StateTable(spec([pa.int64()], [t]))
    slots, _ = table.upsert([pa.array(range(1000))])
    assert table.values(slots[:2]).column(0).to_pylist() == [None, None]
    table.put(slots[:n], [values])
    assert table.values(slots[:n]).column(0).equals(values)
    assert table.column("v0").valid[:n].tolist() == values.is_valid().to_pylist()
    table.put(slots[:n], [values[::-1].take(pa.array(range(n)))])
    assert table.values(slots[:n]).column(0).to_pylist() == values.to_pylist()[::-1]
    for i in range(200):  # the last of a repeated slot holds; arenas and chunks are compacted
        table.put(slots[np.arange(i, i + n) % 50], [values])
    table.put(slots[[3, 3, 3]], [values.take(pa.array([0, 1 % n, n - 1]))])
    assert table.values(slots[[3]]).column(0).to_pylist() == values.to_pylist()[-1:]


def test_same_keys() -> None:
    nan = np.array([0x7FF8000000000000, 0x7FF8000000000001, 0xFFF8000000000000], np.uint64).view(np.float64)
    table = StateTable(spec([pa.float64()], []))
    slots, _ = table.upsert([pa.array([-0.0, 0.0, *nan, None, None])])
    assert slots.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert str(table.keys(slots[:1])[0].to_pylist()) == "[-0.0]"  # as it first came
    m = pa.map_(pa.string(), pa.float64())
    maps = StateTable(spec([m], []))
    slots, _ = maps.upsert([pa.array([[("a", 0.0), ("b", 1.0)], [("b", 1.0), ("a", -0.0)], [("a", 0.0)]], m)])
    assert slots.tolist() == [0, 0, 1]


def test_a_null_after_many_rows() -> None:
    table = StateTable(spec([pa.int64(), pa.int64()], []))
    table.upsert([pa.array(range(1000)), pa.array(range(1000))])
    assert table.find([pa.array([None], pa.int64()), pa.array([0])]).tolist() == [-1]
    slots, fresh = table.upsert([pa.array([5, None, 0]), pa.array([5, 0, None])])
    assert slots.tolist() == [5, 1000, 1001] and fresh.tolist() == [False, True, True]
    assert rows(table.keys(slots)) == [(5, 5), (None, 0), (0, None)]


def test_no_key_columns() -> None:
    table = StateTable(spec([], [pa.int64()], 0))
    slots, fresh = table.upsert([], 3)
    assert slots.tolist() == [0, 0, 0] and fresh.tolist() == [True, False, False]
    assert table.find([], 1).tolist() == [0] and table.keys(slots) == []
    table.put(slots[:1], [pa.array([7])])
    (piece,) = table.changes().upserts
    other = StateTable(table.spec)
    other.load(piece)
    assert other.values(other.slots()).to_pylist() == [{"v0": 7}]


@pytest.mark.parametrize("types", [[pa.int64()], [pa.string()], [pa.string(), pa.int32()], [pa.int64(), pa.int64()]])
def test_against_a_dict(types: list[pa.DataType]) -> None:
    rng = np.random.default_rng(7)
    table, model = StateTable(spec(types, [pa.int64(), pa.string()])), {}
    restored: dict = {}
    for step in range(60):
        picks = rng.integers(0, 3000, 400)
        columns = [
            pa.array([None if x % 11 == 3 else f"key-{x % 500 * 10 ** (x % 9)}" for x in picks.tolist()])
            if t == pa.string()
            else pa.array([None if x % 13 == 5 else x - 7 for x in picks.tolist()], t)
            for t in types
        ]
        slots, fresh = table.upsert(columns)
        keys = rows(columns)
        seen = set(model)
        for key, slot, new in zip(keys, slots.tolist(), fresh.tolist(), strict=True):
            assert new == (key not in seen)
            seen.add(key)
            model.setdefault(key, slot)
        assert rows(table.keys(slots)) == keys
        table.put(slots, [pa.array(picks + step), pa.array([f"v{x}" * (x % 5) for x in picks.tolist()])])
        values = table.values(slots)
        expect = dict(zip(keys, (picks + step).tolist(), strict=True))
        assert values.column(0).to_pylist() == [expect[k] for k in keys]
        gone = np.unique(slots[rng.random(len(slots)) < 0.5])
        for key in rows(table.keys(gone)):
            del model[key]
        table.delete(np.concatenate([gone, gone[:3]]))
        assert table.size == len(model) == len(table.slots())
        found = table.find(columns)
        assert [k in model for k in keys] == (found >= 0).tolist()
        if step % 3 == 2:
            changes = table.changes(full=step % 12 == 11)
            if changes.full:
                restored = {}
            for piece in changes.deleted:
                for key in rows(piece.keys):
                    del restored[key]
            for piece in changes.upserts:
                restored.update(zip(rows(piece.keys), rows(piece.values), strict=True))
            live = table.slots()
            assert restored == dict(zip(rows(table.keys(live)), rows(table.values(live).columns), strict=True))


def test_changes() -> None:
    table = StateTable(spec([pa.int64()], [pa.int64()]))
    slots, _ = table.upsert([pa.array([1, 2, 3])])
    table.delete(slots[:1])  # never stored: no tombstone
    first = table.changes()
    assert [len(r) for r in first.upserts] == [2] and first.deleted == []
    assert table.changes().num_rows == 0
    table.touch(slots[1:2])
    table.delete(slots[2:3])
    second = table.changes()
    assert rows(next(iter(second.upserts)).keys) == [(2,)] and rows(second.deleted[0].keys) == [(3,)]
    table.delete(slots[1:2])
    table.upsert([pa.array([2])])  # came back before the checkpoint: written, not deleted
    third = table.changes()
    assert rows(next(iter(third.upserts)).keys) == [(2,)] and third.deleted == []
    assert table.values(table.slots()).column(0).to_pylist() == [None]


def test_key_groups_of_slots_are_those_of_arrays() -> None:
    from sqlstream.state.keys import key_groups

    for types in (
        [pa.string()],
        [pa.int64(), pa.string()],
        [pa.decimal128(10, 2), pa.int64()],
        [pa.list_(pa.int32())],
    ):
        columns = [pa.array(TYPES.get(t, [None, None, None])[:3], t) for t in types]
        for d in range(-1, len(types) + 1):
            table = StateTable(spec(types, [], d))
            slots, _ = table.upsert(columns)
            leading = columns if d < 0 else columns[:d]
            assert table.key_groups(slots).tolist() == key_groups(leading, 3).tolist()


def test_plans_do_not_import_numba() -> None:
    import subprocess
    import sys

    code = (
        "import sys, sqlstream.state.spec, sqlstream.checkpoint.manifest, sqlstream.checkpoint.coordinator;"
        "print('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_large_state_is_copied_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlstream.state.rows.BYTES_A_PIECE", 1000)
    monkeypatch.setattr("sqlstream.state.waiting.BYTES_A_PIECE", 1000)
    monkeypatch.setattr("sqlstream.state.columns.LARGE_CHUNK", 1000)
    lists = pa.list_(pa.int64())
    table = StateTable(spec([pa.string(), pa.int64()], [pa.string(), lists]))
    keys = [pa.array([f"key {i}" for i in range(3000)]), pa.array(range(3000))]
    for _ in range(4):
        slots, _ = table.upsert(keys)
        table.put(slots, [keys[0], pa.array([[i] * 3 for i in range(3000)])])
    changes = table.changes()
    assert len(list(changes.upserts)) > 100 and changes.num_rows == 3000
    assert [k for r in changes.upserts for k in r.keys[0].to_pylist()] == keys[0].to_pylist()
    assert table.values(slots).column(1).to_pylist() == [[i] * 3 for i in range(3000)]
    table.delete(np.array([-1, 5, 5]))
    assert table.size == 2999


def test_specs_that_are_wrong() -> None:
    from sqlstream.errors import InternalError

    with pytest.raises(InternalError, match="distribution 2 of 1"):
        spec([pa.int64()], [], 2)
    with pytest.raises(InternalError, match="not unique"):
        StateSpec("s", pa.schema([]), pa.schema([("a", pa.int64()), ("a", pa.int64())]))
    with pytest.raises(InternalError, match="number of rows"):
        StateTable(spec([], [])).upsert([])
    with pytest.raises(InternalError, match="BytesColumn"):
        StateTable(spec([], [pa.string()])).fixed("v0")


def test_rows_that_stay_are_copied_when_they_are_written() -> None:
    spec = StateSpec(
        "s", pa.schema([("k", pa.int64()), ("_id", pa.int64())]), pa.schema([("v", pa.string())]), 1, True, True
    )
    table, n = StateTable(spec), 0

    def add(count: int) -> list[tuple[int, int, str | None]]:
        nonlocal n
        rows = [(i % 7, i, None if i % 5 == 0 else f"value {i % 11}") for i in range(n, n + count)]
        k, number, v = (list(c) for c in zip(*rows, strict=True))
        slots = table.append([pa.array(k), pa.array(number)], count)
        table.put(slots, [pa.array(v, pa.string())])
        n += count
        return rows

    def written(changes: StateChanges) -> list[tuple[int, int, str | None]]:
        return [
            row for r in changes.upserts for row in zip(*(c.to_pylist() for c in (*r.keys, *r.values)), strict=True)
        ]

    first = add(100)
    taken = table.changes()
    second = add(100_000)  # arrays and arena grow
    again = table.changes()
    assert written(taken) == first and written(again) == second
    assert written(taken) == first  # a checkpoint that failed writes them again
    assert written(table.changes()) == [] and written(table.changes(full=True)) == first + second
    loaded = StateTable(spec)
    for rows in again.upserts:
        loaded.load(rows)
    assert written(loaded.changes()) == [] and loaded.size == 100_000
    with pytest.raises(InternalError, match="rows of state s stay"):
        table.delete(np.array([1]))
