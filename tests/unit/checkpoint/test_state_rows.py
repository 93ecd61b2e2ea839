"""All rows of a state, out of a checkpoint's files, whatever wrote them: the same from all, and under the users' names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from harness import ways

from sqlstream.checkpoint import chain
from sqlstream.checkpoint.coordinator import CheckpointCoordinator
from sqlstream.checkpoint.manifest import Manifest
from sqlstream.checkpoint.state_rows import TaskRows, shown
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.errors import CheckpointError
from sqlstream.state import clusters

ROWS = 300
SETUP = (
    "CREATE TABLE t (auction BIGINT, who ROW<name STRING, id INT>, price DECIMAL(10, 2), at TIMESTAMP(3)) "
    "WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'json', 'json.timestamp-format.standard' = 'SQL')",
    "CREATE TABLE u (auction BIGINT, item STRING) WITH ('connector' = 'filesystem', 'path' = 'u.json', 'format' = 'json')",
)
GROUPS = "SELECT auction, who, COUNT(*) AS n, MAX(price) AS top FROM t GROUP BY auction, who"
JOIN = "SELECT t.auction, price, item FROM t JOIN u ON t.auction = u.auction"


def stopped(place: Path, sql: str, **options: str) -> tuple[CheckpointStorage, Manifest]:
    """The last checkpoint of a job that has read all of its input but for the last rows."""
    rows = [
        {"auction": i % 50, "who": {"name": f"n{i % 3}", "id": i % 3}, "price": i / 4, "at": f"2026-01-01 00:00:{i % 60:02}"}
        for i in range(ROWS)
    ]  # fmt: skip
    (place / "in.json").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (place / "u.json").write_text("".join(json.dumps({"auction": i, "item": f"i{i}"}) + "\n" for i in range(50)))
    case = ways.Case(SETUP, sql, ROWS)
    options = {"execution.runtime-mode": "streaming", "pipeline.name": "job", **options}
    progress, _ = ways.insert(case, place, {"execution.epoch.max-rows": "60"} | options, 4)
    assert progress.state == "CANCELED"
    (run,) = (place / ".sqlstream" / "job" / "runs").iterdir()
    storage = CheckpointStorage(run)
    coordinator = CheckpointCoordinator(storage, f"job/{run.name}")
    return storage, coordinator.manifest(coordinator.checkpoints()[-1])


def rows_of(storage: CheckpointStorage, manifest: Manifest, work: Path, state: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for operator in manifest.operators.values():
        for s in operator.states:
            for task in operator.tasks if s.name == state else ():
                with TaskRows(storage, operator, task, work / "rows") as rows:
                    found += [r for some in rows.of(s) for r in shown(s, some).to_pylist()]
    return found


def below(place: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in place.rglob("*") if p.is_file()}


WAYS = [
    {"state.backend.type": "hashmap"},
    {"state.backend.type": "hashmap", "parallelism.default": "3", "execution.checkpointing.interval": "1 ms"},
    {"execution.checkpointing.interval": "1 ms"},
    {"state.changelog.enabled": "false", "parallelism.default": "2", "execution.checkpointing.interval": "1 ms"},
    {"state.changelog.periodic-materialize.interval": "1 ms", "execution.checkpointing.interval": "1 ms",
     "state.backend.hot-rows": "3"},
]  # fmt: skip


@pytest.mark.parametrize("options", WAYS, ids=range(len(WAYS)))
@pytest.mark.parametrize("few", [False, True])
def test_rows_of_a_group_by(
    tmp_path: Path, options: dict[str, str], few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if few:  # in files of so many rows, by key groups
        monkeypatch.setattr(chain, "ROWS_A_PASS", 1)
        monkeypatch.setattr(clusters, "ROWS_A_CLUSTER", 5)
    storage, manifest = stopped(tmp_path, GROUPS, **options)
    before = below(Path(storage.root))
    read = manifest.metrics["rows_in"]
    expected: dict[tuple[int, str, int], int] = {}
    for i in range(read):
        key = (i % 50, f"n{i % 3}", i % 3)
        expected[key] = expected.get(key, 0) + 1
    rows = rows_of(storage, manifest, tmp_path, "groups")
    assert read and len(rows) == len(expected)
    assert {(r["auction"], r["who"]["name"], r["who"]["id"]): r["count"] for r in rows} == expected
    assert {n for n in rows[0] if "price" in n}, rows[0]  # what is kept of MAX(price)
    assert below(Path(storage.root)) == before and not (tmp_path / "rows").exists()


@pytest.mark.parametrize("options", WAYS, ids=range(len(WAYS)))
def test_rows_of_a_join(tmp_path: Path, options: dict[str, str]) -> None:
    """They are a log, whose rows stay."""
    storage, manifest = stopped(tmp_path, JOIN, **options)
    rows = rows_of(storage, manifest, tmp_path, "left") + rows_of(storage, manifest, tmp_path, "right")
    assert len(rows) == manifest.metrics["rows_in"] > 0
    for r in rows:
        assert r["item"] == f"i{r['auction']}" if "item" in r else float(r["price"]) * 4 % 50 == r["auction"]


@pytest.mark.parametrize("options", [WAYS[0], WAYS[4]], ids=["hashmap", "rocksdb"])
def test_damaged_files_are_named(tmp_path: Path, options: dict[str, str]) -> None:
    storage, manifest = stopped(tmp_path, GROUPS, **options)
    for entry in manifest.files().values():
        path = Path(storage.place(entry.name))
        whole = path.read_bytes()
        for damage in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), None):
            path.unlink()
            if damage is not None:
                path.write_bytes(damage)
            with pytest.raises(CheckpointError, match=entry.sha256):
                rows_of(CheckpointStorage(storage.root), manifest, tmp_path, "groups")
            path.write_bytes(whole)
            shutil.copystat(path, path)
    assert rows_of(CheckpointStorage(storage.root), manifest, tmp_path, "groups")
