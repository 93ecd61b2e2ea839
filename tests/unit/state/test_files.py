"""State files: rows come back as they were, for every type; a chain comes to what a dict would; damage is an error."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqlstream.errors import CheckpointError
from sqlstream.state.files import Newest, StateRows, in_turn, read_file, write_file
from sqlstream.state.table import Rows, StateSpec, StateTable

from .strategies import arrays

slow = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLAIN = StateSpec("totals", pa.schema([("k", pa.int64())]), pa.schema([("v", pa.string())]))


def rows_of(items: dict[int, str]) -> Rows:
    return Rows(len(items), [pa.array(list(items), pa.int64())], [pa.array(list(items.values()), pa.string())])


def keys_of(keys: list[int]) -> Rows:
    return Rows(len(keys), [pa.array(keys, pa.int64())], [])


def same(a: pa.Array, b: pa.Array) -> bool:
    """Equal, with NaN as itself and signs of zero told apart."""
    return a.type == b.type and repr(a.to_pylist()) == repr(b.to_pylist())


@slow
@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.lists(arrays(n), max_size=3), st.lists(arrays(n), max_size=3))))
def test_a_table_comes_back(tmp_path: Path, case: tuple[list[pa.Array], list[pa.Array]]) -> None:
    keys, columns = case
    if not keys:
        columns = [c.slice(0, 1) for c in columns]
    spec = StateSpec(
        "s",
        pa.schema([(f"k{i}", a.type) for i, a in enumerate(keys)]),
        pa.schema([(f"v{i}", a.type) for i, a in enumerate(columns)]),
        len(keys) // 2,
    )
    table = StateTable(spec)
    n = len(keys[0]) if keys else 1
    slots, _ = table.upsert(keys, n)
    table.put(slots, columns)
    path = tmp_path / "f.arrow"
    assert write_file(path, [StateRows(7, spec, r) for r in table.changes().upserts]) == table.size
    other = StateTable(spec)
    for part in Newest([path], {7: spec}):
        assert part.spec is spec and part.number == 7 and not part.deleted
        other.load(part.rows)
    assert other.size == table.size and other.changes().num_rows == 0
    there = other.find(keys, n)
    assert (there >= 0).all()
    for a, b in zip(table.keys(slots), other.keys(there), strict=True):
        assert same(a, b)
    for a, b in zip(table.values(slots).columns, other.values(there).columns, strict=True):
        assert same(a, b)


def test_a_chain_comes_to_what_a_dict_would(tmp_path: Path) -> None:
    rng, expected, chain = random.Random(11), dict[int, str](), list[Path]()
    for n in range(12):
        keys = rng.sample(range(60), rng.randint(1, 30))
        cut = rng.randint(0, len(keys))
        come, gone = {k: f"{k} in {n}" for k in keys[:cut]}, keys[cut:]
        chain.append(tmp_path / f"{n}.arrow")
        write_file(chain[-1], [StateRows(0, PLAIN, keys_of(gone), True), StateRows(0, PLAIN, rows_of(come))])
        expected = {k: v for k, v in {**expected, **come}.items() if k not in gone}
    found = [
        row
        for part in Newest(chain, {0: PLAIN})
        if not part.deleted
        for row in zip(part.rows.keys[0].to_pylist(), part.rows.values[0].to_pylist(), strict=True)
    ]
    assert len(found) == len(expected) and dict(found) == expected


def test_several_states_in_one_file(tmp_path: Path) -> None:
    single = StateSpec("count", pa.schema([]), pa.schema([("n", pa.int64())]))
    empty = StateSpec("nothing", pa.schema([]), pa.schema([]))
    parts = [
        StateRows(0, PLAIN, rows_of({1: "a"})),
        StateRows(0, PLAIN, rows_of({2: "b"})),
        StateRows(1, single, Rows(1, [], [pa.array([5])])),
        StateRows(2, empty, Rows(1, [], [])),
        StateRows(1, single, Rows(1, [], []), deleted=True),
    ]
    path = tmp_path / "f.arrow"
    assert write_file(path, parts) == 5
    read = list(read_file(path, {0: PLAIN, 1: single, 2: empty}))
    assert [(p.number, p.deleted, len(p.rows)) for p in read] == [(p.number, p.deleted, len(p.rows)) for p in parts]
    assert read[2].rows.values[0].to_pylist() == [5]


def test_anyone_can_read_them(tmp_path: Path) -> None:
    write_file(tmp_path / "f.arrow", [StateRows(0, PLAIN, rows_of({1: "a", 2: "b"}))])
    table = pa.ipc.open_stream((tmp_path / "f.arrow").read_bytes()).read_all()
    assert table.schema.metadata[b"state"] == b"totals"
    with duckdb.connect() as connection:
        connection.register("state", table)
        assert connection.execute('SELECT max("value.v") FROM state').fetchall() == [("b",)]


def test_without_rows_there_is_no_file(tmp_path: Path) -> None:
    assert write_file(tmp_path / "a", []) == write_file(tmp_path / "a", [StateRows(0, PLAIN, rows_of({}))]) == 0
    assert not (tmp_path / "a").exists()


def test_damage_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f.arrow"
    write_file(path, [StateRows(0, PLAIN, rows_of({i: str(i) for i in range(100)}))])
    good = path.read_bytes()
    for cut in (1, 10, len(good) // 2, len(good) - 20):
        path.write_bytes(good[:cut])
        with pytest.raises(CheckpointError, match="f.arrow"):
            list(read_file(path, {0: PLAIN}))
    path.write_bytes(good)
    with pytest.raises(CheckpointError, match="number 0, which the checkpoint's manifest does not name"):
        list(read_file(path, {1: PLAIN}))
    other = StateSpec("totals", PLAIN.key, pa.schema([("v", pa.int64())]))
    with pytest.raises(CheckpointError, match="not in the form of its schema"):
        list(read_file(path, {0: other}))
    stream = pa.ipc.open_stream(good)
    with pa.OSFile(str(path), "wb") as f, pa.ipc.new_stream(f, stream.schema.with_metadata({"format": "9"})):
        pass
    with pytest.raises(CheckpointError, match="format 9, this version reads format 2"):
        list(read_file(path, {0: PLAIN}))
    with pytest.raises(CheckpointError, match="cannot read state file"):
        list(read_file(tmp_path / "none", {0: PLAIN}))


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot write state file"):
        write_file(tmp_path / "none" / "f", [StateRows(0, PLAIN, rows_of({1: "a"}))])


def test_a_full_disk_is_transient(tmp_path: Path) -> None:
    path = tmp_path / "f.arrow"
    path.symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match="No space left") as e:
        write_file(path, [StateRows(0, PLAIN, rows_of({i: str(np.float64(i)) for i in range(100_000)}))])
    assert e.value.transient and "free space" in (e.value.hint or "") and not path.is_symlink()


@pytest.mark.parametrize(
    "few, rows_a_pass, runs",
    [(3, 1 << 21, [6]), (100, 1, [1] * 6), (0, 1 << 21, [6]), (0, 90, [2, 2, 2]), (1, 130, [3, 3]), (0, 1, [1] * 6)],
)
def test_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int, rows_a_pass: int, runs: list[int]) -> None:
    """Taken one after another, rows leave what their chain comes to; however they are read. `runs`: files of each run in
    which a key comes once."""
    monkeypatch.setattr("sqlstream.state.files.FEW_FILES", few)
    monkeypatch.setattr("sqlstream.state.files.ROWS_A_PASS", rows_a_pass)
    rng = random.Random(5)
    chain, model, named = [], {}, []
    for i in range(6):
        come = {k: f"{i}-{rng.random()}" for k in rng.sample(range(100), 30)}
        gone = rng.sample(sorted(set(range(100)) - come.keys()), 10)
        model = {k: v for k, v in (model | come).items() if k not in gone}
        path = tmp_path / f"{i}.arrow"
        chain.append(
            (path, write_file(path, [StateRows(0, PLAIN, keys_of(gone), True), StateRows(0, PLAIN, rows_of(come))]))
        )
        named.append(come.keys() | gone)
    got: dict = {}
    taken = 0
    for part in in_turn(chain, {0: PLAIN}):
        taken += len(part.rows)
        keys = part.rows.keys[0].to_pylist()
        if part.deleted:
            got = {k: v for k, v in got.items() if k not in keys}
        else:
            got.update(zip(keys, part.rows.values[0].to_pylist(), strict=True))
    assert got == model
    starts = [sum(runs[:i]) for i in range(len(runs))]
    each = [named[a : a + n] for a, n in zip(starts, runs, strict=True)]
    assert taken == sum(len(set().union(*run)) if len(run) > few else 40 * len(run) for run in each)
    assert not list(in_turn(chain, {0: PLAIN}, set()))
