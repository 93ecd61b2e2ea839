"""State beyond its memory: arrays in mapped files, as good as those in memory."""

from __future__ import annotations

import gc
import os
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sqlstream.errors import CheckpointError
from sqlstream.state import memory
from sqlstream.state.memory import Memory, default_limit
from sqlstream.state.table import StateSpec, StateTable


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Memory:
    """The process's budget, of 64 KiB."""
    budget = Memory(1 << 16, (str(tmp_path),), smallest=1024)
    monkeypatch.setattr(memory, "MEMORY", budget)
    return budget


def test_arrays_beyond_the_limit_are_mapped(tmp_path: Path) -> None:
    m = Memory(10_000, (str(tmp_path / "a"), str(tmp_path / "b")), smallest=100)
    tiny, one, two = m.zeros(10, np.int8), m.zeros(8_000, np.int8), m.zeros((1_000, 2), np.int64)
    assert [m.is_mapped(a) for a in (tiny, one, two)] == [False, False, True]
    assert m.used == 8_000 and m.mapped == 16_000
    assert two.shape == (1_000, 2) and not two.any()
    two[:] = 7
    two = m.grown(two, 2_000)
    assert m.is_mapped(two) and (two[:1_000] == 7).all() and not two[1_000:].any()
    assert (m.grown(tiny, 5_000, -1)[10:] == -1).all()
    assert not any((tmp_path / "a").iterdir()), "files of state have no name"
    del one, two
    gc.collect()
    assert m.used == 0 and m.mapped == 0


def test_memory_given_back_is_used_again() -> None:
    m = Memory(1_000, smallest=1)
    for _ in range(100):
        assert not m.is_mapped(m.zeros(900, np.int8))


def test_memory_that_the_system_refuses_is_not_counted() -> None:
    m = Memory(1 << 62, smallest=1)
    with pytest.raises(MemoryError):
        m.zeros(1 << 60, np.int8)
    assert m.used == 0


def test_a_disk_without_room_is_an_error(tmp_path: Path) -> None:
    m = Memory(0, (str(tmp_path),), smallest=1)
    with pytest.raises(CheckpointError, match="cannot take .* bytes of disk for state") as e:
        m.zeros(1 << 50, np.int8)
    assert "io.tmp.dirs" in (e.value.hint or "")
    assert m.mapped == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointError, match="cannot make a file for state"):
        Memory(0, (str(tmp_path),), smallest=1).zeros(10, np.int8)


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(CheckpointError, match="cannot make a file for state in"):
        Memory(0, (str(tmp_path / "x"),), smallest=1).zeros(10, np.int8)


def test_the_default_is_a_part_of_the_machine() -> None:
    assert 1 << 26 < default_limit() < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


KEYS = {
    "number": pa.int64(),
    "text": pa.string(),
    "both": pa.struct([("f0", pa.int64()), ("f1", pa.string())]),
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_table_far_beyond_the_limit(kind: str, small: Memory) -> None:
    """Against a dict, with deletions, NULLs and growth; then what a checkpoint sees of it."""
    t = KEYS[kind]
    spec = StateSpec(
        "s",
        pa.schema([("k0", t), ("k1", pa.int64())]),
        pa.schema([("n", pa.int64()), ("name", pa.string()), ("list", pa.list_(pa.int64()))]),
    )
    table, expected, rng = StateTable(spec), dict[object, tuple[object, ...]](), random.Random(5)

    def key(i: int) -> object:
        text = None if i % 7 == 0 else f"the key of {i}"
        return {"number": i, "text": text, "both": {"f0": i, "f1": text}}[kind]

    for _ in range(8):
        numbers = rng.sample(range(20_000), 4_000)
        slots, _ = table.upsert([pa.array([key(i) for i in numbers], t), pa.array([i % 1000 for i in numbers])])
        rows = [(i * 3, f"value {i}" * (i % 5), [i] * (i % 3)) for i in numbers]
        table.put(slots, [pa.array(list(c), f.type) for c, f in zip(zip(*rows, strict=True), spec.value, strict=True)])
        expected |= {(str(key(i)), i % 1000): r for i, r in zip(numbers, rows, strict=True)}
        gone = rng.sample(numbers, 500)
        found = table.find([pa.array([key(i) for i in gone], t), pa.array([i % 1000 for i in gone])])
        table.delete(found)
        for i in gone:
            expected.pop((str(key(i)), i % 1000), None)
    assert small.mapped > 4 * small.limit and small.used <= small.limit

    def seen(key_columns: list[pa.Array], value_columns: list[pa.Array]) -> dict[object, tuple[object, ...]]:
        keys = zip(*(c.to_pylist() for c in key_columns), strict=True)
        values = zip(*(c.to_pylist() for c in value_columns), strict=True)
        return {(str(a), b): v for (a, b), v in zip(keys, values, strict=True)}

    slots = table.slots()
    assert seen(table.keys(slots), table.values(slots).columns) == expected
    copied: dict[object, tuple[object, ...]] = {}
    for rows_of in table.changes(full=True).upserts:
        copied |= seen(rows_of.keys, rows_of.values)
    assert copied == expected
