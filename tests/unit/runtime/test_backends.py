"""Options of state backends do what they say: sizes, places, threads, checkpoints that are complete by themselves."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from sqlstream import faults
from sqlstream.checkpoint import chain
from sqlstream.checkpoint.arrow_shard import ArrowShard
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.checkpoint.store_shard import Folding, StoreShard
from sqlstream.errors import RunError
from sqlstream.options import SessionOptions
from sqlstream.runtime.task_state import store_settings
from sqlstream.session import Session
from sqlstream.state import clusters
from sqlstream.state.files import read_file
from sqlstream.state.rocks import StoreSettings
from sqlstream.state.table import StateSpec, StateTable
from sqlstream.threads import Threads

ROWS = [(i * 7919 % 211, i) for i in range(4000)]
TABLES = """
CREATE TABLE bids (auction INT, price INT) WITH ('connector' = 'filesystem', 'path' = '{place}/bids.json', 'format' = 'json');
CREATE TABLE totals (auction INT, n BIGINT, total BIGINT)
  WITH ('connector' = 'filesystem', 'path' = '{place}/totals', 'format' = 'debezium-json');
INSERT INTO totals SELECT auction, COUNT(*), SUM(price) FROM bids GROUP BY auction;
"""


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    faults.arm(None)


def run(place: Path, options: dict[str, str], fault: str | None = None) -> list[str]:
    """Runs the job, to its end or to the fault. What it said."""
    (place / "bids.json").write_text("".join(f'{{"auction":{a},"price":{p}}}\n' for a, p in ROWS))
    said: list[str] = []
    given = {
        "pipeline.name": "bids",
        "execution.runtime-mode": "streaming",
        "execution.checkpointing.dir": str(place / "cp"),
        "execution.epoch.max-rows": "300",
        "restart-strategy.type": "none",
        **options,
    }
    session = Session(options=given, on_message=said.append)
    faults.arm(fault)
    try:
        for result in session.execute(TABLES.format(place=place)):
            list(result.batches())
    except RunError:
        if fault is None:
            raise
    finally:
        faults.arm(None)
    return said


def totals(place: Path) -> dict[int, tuple[int, int]]:
    """What the sink's changes come to."""
    order = lambda p: [int(n) for n in p.name.split(".")[0].rsplit("-", 3)[1:]][1]  # noqa: E731
    out: dict[int, tuple[int, int]] = {}
    for path in sorted((place / "totals").glob("[!_.]*"), key=order):
        for line in path.read_text().splitlines():
            change = json.loads(line)
            if change["op"] in ("d", "u") and change["before"] is not None:
                out.pop(change["before"]["auction"], None)
            if change["op"] != "d":
                row = change["after"]
                out[row["auction"]] = (row["n"], row["total"])
    return out


def expected() -> dict[int, tuple[int, int]]:
    out: dict[int, tuple[int, int]] = {}
    for a, p in ROWS:
        n, total = out.get(a, (0, 0))
        out[a] = (n + 1, total + p)
    return out


def manifests(place: Path) -> list[dict[str, object]]:
    found = (place / "cp/bids/runs").glob("*/chk-*/manifest.json")
    return [json.loads(p.read_text()) for p in sorted(found, key=lambda p: int(p.parent.name[4:]))]


def files(manifest: dict[str, object]) -> list[dict[str, object]]:
    operators: dict[str, dict[str, list[dict[str, list[dict[str, object]]]]]] = manifest["operators"]  # type: ignore[assignment]
    return [f for o in operators.values() for t in o["tasks"] for f in t["files"]]


def test_settings_of_stores() -> None:
    assert store_settings(SessionOptions()) == StoreSettings()
    options = SessionOptions.of(
        {
            "state.backend.rocksdb.block.blocksize": "16 kb",
            "state.backend.rocksdb.compression.per.level": "NO_COMPRESSION;BZLIB2_COMPRESSION;LZ4HC_COMPRESSION",
            "state.backend.rocksdb.bloom-filter.bits-per-key": "12.4",
            "state.backend.rocksdb.writebuffer.size": "2 mb",
            "state.backend.rocksdb.writebuffer.count": "3",
            "state.backend.rocksdb.compaction.level.target-file-size-base": "1 mb",
            "state.backend.rocksdb.compaction.level.max-size-level-base": "8 mb",
            "state.backend.rocksdb.thread.num": "1",
            "state.backend.rocksdb.files.open": "100",
        }
    )
    assert store_settings(options) == StoreSettings(
        1 << 14, ("none", "bz2", "lz4hc"), 12, 2 << 20, 3, 1 << 20, 8 << 20, 1, open_files=100
    )
    without = SessionOptions.of({"state.backend.rocksdb.use-bloom-filter": "false"})
    assert store_settings(without).filter_bits == 0


SETTINGS = {
    "state.backend.rocksdb.block.blocksize": "32 kb",
    "state.backend.rocksdb.compression.per.level": "NO_COMPRESSION;ZSTD_COMPRESSION",
    "state.backend.rocksdb.use-bloom-filter": "false",
    "state.backend.rocksdb.memory.write-buffer-ratio": "0.5",
    "state.backend.rocksdb.files.open": "20",
    "state.backend.rocksdb.checkpoint.transfer.thread.num": "2",
}


@pytest.mark.parametrize("memory", [{}, {"state.backend.rocksdb.memory.managed": "false"}])
def test_a_job_with_other_settings_goes_on(tmp_path: Path, memory: dict[str, str]) -> None:
    """And rows that are out of memory are read with them."""
    options = {**SETTINGS, **memory, "state.changelog.enabled": "false", "state.backend.hot-rows": "10"}
    run(tmp_path, options, fault="after-publish:4:raise")
    assert any(f["kind"] == "sst" for f in files(manifests(tmp_path)[-1]))
    run(tmp_path, {"state.backend.hot-rows": "10"}, fault="after-publish:3:raise")
    run(tmp_path, options)
    assert totals(tmp_path) == expected()


def test_stores_lie_where_localdir_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks take the directories in turn; what a killed process left is gone, and what the job made, too."""
    places = [tmp_path / "a", tmp_path / "b/c"]
    seen: set[str] = set()
    point = faults.point

    def look(name: str) -> None:
        if name == "after-fold":
            seen.update(str(p.relative_to(tmp_path)) for d in places for p in d.rglob("store"))
            assert not list(tmp_path.glob("a/sqlstream-*/rest"))
        point(name)

    monkeypatch.setattr("sqlstream.checkpoint.store_shard.faults.point", look)
    options = {
        "state.backend.rocksdb.localdir": f"{places[0]}, {places[1]}",
        "state.changelog.enabled": "false",
        "state.backend.hot-rows": "10",
        "parallelism.default": "2",
    }
    run(tmp_path, options, fault="after-publish:3:raise")
    assert len(seen) == 2 and {s.split("/sqlstream-")[0] for s in seen} == {"a", "b/c"}
    assert [*places[0].iterdir(), *places[1].iterdir()] == []
    (name,) = {s.split("sqlstream-")[1][:16] for s in seen}
    (places[0] / f"sqlstream-{name}").mkdir()
    (places[0] / f"sqlstream-{name}/rest").touch()
    (places[0] / "of another").touch()
    run(tmp_path, options)
    assert totals(tmp_path) == expected()
    assert os.listdir(places[0]) == ["of another"]


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot make the directory .*file/x"):
        run(tmp_path, {"state.backend.rocksdb.localdir": str(tmp_path / "file/x")})


MEMORY_IS_SHORT = {"state.backend.hot-rows": "10", "taskmanager.memory.managed.size": "1 mb"}
BACKENDS = [
    {"state.backend.type": "hashmap"},
    {"state.backend.type": "rocksdb"},
    {"state.backend.type": "rocksdb", "state.changelog.enabled": "false", **MEMORY_IS_SHORT},
    {"state.backend.type": "rocksdb", "state.changelog.periodic-materialize.interval": "1 ms", **MEMORY_IS_SHORT},
]


@pytest.mark.parametrize("key", ["execution.checkpointing.incremental", "state.backend.incremental"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_checkpoint_that_is_complete_by_itself(
    tmp_path: Path, backend: dict[str, str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has the whole state, whatever became of the files of those before; once of states that are parted."""
    if "state" in key:
        monkeypatch.setattr(chain, "ROWS_A_PASS", 1)
        monkeypatch.setattr(clusters, "ROWS_A_CLUSTER", 5)
    options = {**backend, key: "false"}
    run(tmp_path, options, fault="after-publish:6:raise")
    older, newer = manifests(tmp_path)[-2:]
    assert {f["kind"] for f in files(newer)} == {"base"}
    names = {str(f["name"]) for f in files(newer)}
    for f in files(older):
        assert f["name"] not in names
        (next((tmp_path / "cp/bids/runs").iterdir()) / str(f["name"])).unlink()
    run(tmp_path, options, fault="after-publish:2:raise")
    assert {f["kind"] for f in files(manifests(tmp_path)[-1])} == {"base"}
    run(tmp_path, options)
    assert totals(tmp_path) == expected()


@pytest.mark.parametrize("first", BACKENDS)
@pytest.mark.parametrize("then", BACKENDS)
def test_either_kind_of_checkpoint_serves_the_other(
    tmp_path: Path, first: dict[str, str], then: dict[str, str]
) -> None:
    whole = {"execution.checkpointing.incremental": "false"}
    run(tmp_path, {**first, **whole}, fault="after-publish:4:raise")
    run(tmp_path, {**then, "parallelism.default": "1"}, fault="after-publish:3:raise")
    assert any(f["kind"] != "base" for f in files(manifests(tmp_path)[-1]))
    run(tmp_path, {**first, **whole, "parallelism.default": "2"}, fault="after-publish:2:raise")
    assert {f["kind"] for f in files(manifests(tmp_path)[-1])} == {"base"}
    run(tmp_path, then)
    assert totals(tmp_path) == expected()


def test_whole_checkpoints_of_a_state_that_rests(tmp_path: Path) -> None:
    """They name the files of the one before: what is the same is stored once."""
    spec = StateSpec("seen", pa.schema([("id", pa.int64())]), pa.schema([("n", pa.int64())]), cold=True)
    storage = CheckpointStorage(tmp_path / "cp")
    with Threads(1, "fold") as threads:
        place = tmp_path / "work"
        shard = StoreShard(storage, place, (spec,), tmp_path / "store", threads, Folding(incremental=False))
        table = StateTable(spec)
        shard.attach({"seen": table}, all_away=False)
        table.put(table.upsert([pa.array(range(100))])[0], [pa.array(range(100))])
        first = shard.prepare({"seen": table.changes()}).run()
        assert [f.rows for f in first] == [100] and shard.uploaded > 0
        assert shard.prepare({"seen": table.changes()}).run() == first and shard.uploaded == 0
        table.delete(table.find([pa.array(range(40))]))
        second = shard.prepare({"seen": table.changes()}).run()
        assert [f.rows for f in second] == [60] and second != first
        shard.close()


def test_whole_checkpoints_of_arrays_are_written_beside_epochs(tmp_path: Path) -> None:
    """At the barrier no file is; the checkpoint then has the rows of that moment, in files that no other one names."""
    spec = StateSpec("seen", pa.schema([("id", pa.int64())]), pa.schema([("n", pa.int64())]))
    shard = ArrowShard(CheckpointStorage(tmp_path / "cp"), tmp_path / "work", (spec,), incremental=False)
    table, named = StateTable(spec), set[str]()
    for n in range(3):
        table.put(table.upsert([pa.array(range(n, 100))])[0], [pa.array(range(n, 100))])
        table.delete(table.find([pa.array([n])]))
        before = [*(tmp_path / "work").iterdir()]
        pending = shard.prepare({"seen": table.changes()})
        assert [*(tmp_path / "work").iterdir()] == before
        table.put(table.upsert([pa.array([1000 + n])])[0], [pa.array([0])])  # of the next one
        made = pending.run()
        assert [(f.kind, f.rows) for f in made] == [("base", 99 - n + n)] and not named & {f.name for f in made}
        named |= {f.name for f in made}
    assert shard.prepare({"seen": table.changes()}).run() != made
    assert shard.prepare({"seen": table.changes()}).run() and shard.uploaded == 0


def test_a_whole_checkpoint_has_nothing_of_later_epochs(tmp_path: Path) -> None:
    """Also when later changes are in the store before it is written."""
    spec = StateSpec("seen", pa.schema([("id", pa.int64())]), pa.schema([("n", pa.int64())]), cold=True)
    storage = CheckpointStorage(tmp_path / "cp")
    with Threads(1, "fold") as threads:
        shard = StoreShard(storage, tmp_path / "work", (spec,), tmp_path / "store", threads, Folding(incremental=False))
        table = StateTable(spec)
        shard.attach({"seen": table}, all_away=False)
        table.put(table.upsert([pa.array([1, 2])])[0], [pa.array([10, 20])])
        pending = shard.prepare({"seen": table.changes()})
        table.put(table.upsert([pa.array([2, 3])])[0], [pa.array([21, 30])])
        shard.prepare({"seen": table.changes()}, asked=False)
        assert shard.fold_soon()
        shard.wait()
        assert shard.folded == 2
        (entry,) = pending.run()
        rows = [
            r for part in read_file(tmp_path / "cp" / entry.name, {0: spec}) for r in part.rows.values[0].to_pylist()
        ]
        assert sorted(rows) == [10, 20]
        (entry,) = shard.prepare({"seen": table.changes()}).run()
        rows = [
            r for part in read_file(tmp_path / "cp" / entry.name, {0: spec}) for r in part.rows.values[0].to_pylist()
        ]
        assert sorted(rows) == [10, 21, 30]
        shard.close()
