"""Rows of a chain on their way into a store (`state/clusters.py`)."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from sqlstream.errors import CheckpointError
from sqlstream.state import clusters, files
from sqlstream.state.clusters import clustered
from sqlstream.state.files import StateRows, write_file
from sqlstream.state.keys import key_groups
from sqlstream.state.rows import Rows
from sqlstream.state.spec import StateSpec

TOTALS = StateSpec("totals", pa.schema([("k", pa.int64())]), pa.schema([("v", pa.string())]))
NAMES = StateSpec("names", pa.schema([("k", pa.string())]), pa.schema([("v", pa.int64())]))
STAYING = StateSpec("log", pa.schema([("k", pa.int64())]), pa.schema([("v", pa.int64())]), log=True, stays=True)
SPECS = {0: TOTALS, 1: STAYING, 2: NAMES}


def chain_of(directory: Path, count: int = 6) -> tuple[list[tuple[Path, int]], dict[int, dict], list[int]]:
    """Files, what their rows come to by state, and the values of the log."""
    rng = random.Random(7)
    chain: list[tuple[Path, int]] = []
    left: dict[int, dict] = {0: {}, 2: {}}
    log: list[int] = []
    for i in range(count):
        parts = []
        for number, spec in ((0, TOTALS), (2, NAMES)):
            keys = rng.sample(range(200), 80)
            come, gone = keys[:60], keys[60:]
            as_key = (lambda k: k) if number == 0 else str
            as_value = str if number == 0 else (lambda v: v)
            left[number] |= {as_key(k): as_value(i * 1000 + k) for k in come}
            for k in gone:
                left[number].pop(as_key(k), None)
            types = spec.key.types[0], spec.value.types[0]
            values = pa.array([as_value(i * 1000 + k) for k in come], types[1])
            parts += [
                StateRows(number, spec, Rows(20, [pa.array(map(as_key, gone), types[0])], []), True),
                StateRows(number, spec, Rows(60, [pa.array(map(as_key, come), types[0])], [values])),
            ]
        log += [i * 10, i * 10 + 1]
        appended = pa.array(log[-2:], pa.int64())
        parts.append(StateRows(1, STAYING, Rows(2, [appended], [appended])))
        path = directory / f"{i}.arrow"
        chain.append((path, write_file(path, parts)))
    return chain, left, log


@pytest.fixture(params=[1, 100, 1 << 30])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Rows of a cluster; the last is so large that there is but one."""
    monkeypatch.setattr(clusters, "ROWS_A_PASS", 100)
    monkeypatch.setattr(clusters, "ROWS_A_CLUSTER", request.param)
    return request.param


def test_what_a_chain_comes_to(tmp_path: Path, few: int) -> None:
    chain, left, log = chain_of(tmp_path)
    got: dict[int, dict] = {0: {}, 2: {}}
    appended: list[int] = []
    met = set()
    last = -1
    for part in clustered(chain, SPECS, tmp_path / "work"):
        keys = part.rows.keys[0].to_pylist()
        if part.number == 1:
            appended += part.rows.values[0].to_pylist()
            continue
        assert not met & {(part.number, k) for k in keys}
        met |= {(part.number, k) for k in keys}
        groups = key_groups(part.rows.keys, len(keys))
        if part.number == 0 and not part.deleted:  # in the order of their key groups
            assert groups.min() > last
            last = groups.max()
        if not part.deleted:
            got[part.number] |= dict(zip(keys, part.rows.values[0].to_pylist(), strict=True))
    assert got == left and appended == log
    assert not (tmp_path / "work").exists()


def test_small_chains_need_no_files(tmp_path: Path) -> None:
    chain, left, _ = chain_of(tmp_path)
    (tmp_path / "work").touch()  # no directory can be made there
    rows = [p for p in clustered(chain, SPECS, tmp_path / "work") if p.number == 2 and not p.deleted]
    assert {k for p in rows for k in p.rows.keys[0].to_pylist()} >= left[2].keys()


def test_what_was_begun_goes(tmp_path: Path, few: int) -> None:
    chain, _, _ = chain_of(tmp_path)
    parts = clustered(chain, {0: TOTALS, 1: STAYING, 2: NAMES}, tmp_path / "work")
    while next(parts).number == 1:
        pass
    parts.close()
    assert not (tmp_path / "work").exists()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path, few: int) -> None:
    chain, _, _ = chain_of(tmp_path)
    (tmp_path / "work").touch()
    with pytest.raises(CheckpointError, match=r"cannot write state file .*work"):
        list(clustered(chain, {0: TOTALS, 1: STAYING, 2: NAMES}, tmp_path / "work"))


def test_a_damaged_file_of_the_chain_is_named(tmp_path: Path, few: int) -> None:
    chain, _, _ = chain_of(tmp_path)
    chain[3][0].write_bytes(chain[3][0].read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"3\.arrow"):
        list(clustered(chain, SPECS, tmp_path / "work"))
    assert not (tmp_path / "work").exists()


def test_no_rows_for_a_full_disk(tmp_path: Path, few: int) -> None:
    chain, _, _ = chain_of(tmp_path)

    class Full(files.StateWriter):
        def write(self, part: StateRows) -> None:
            raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patched, pytest.raises(CheckpointError) as e:
        patched.setattr(clusters, "StateWriter", Full)
        list(clustered(chain, SPECS, tmp_path / "work"))
    assert e.value.transient and not (tmp_path / "work").exists()
