"""A job that goes on while the files of its checkpoint are still compared with their hashes: found late, damage is found
before anything is published."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from test_backends import expected, files, manifests, run, totals

from sqlstream.checkpoint.coordinator import CheckpointCoordinator
from sqlstream.checkpoint.manifest import STORE, TABLE, FileEntry
from sqlstream.checkpoint.store_shard import StoreShard
from sqlstream.checkpoint.verification import Damaged, Verification
from sqlstream.errors import CheckpointError
from sqlstream.runtime.loop import Loop
from sqlstream.state.arrays import Array
from sqlstream.state.encoding import Packed

ENTRY = FileEntry(f"shared/{'0' * 64}.{TABLE}", 1, "0" * 64, TABLE, 0, "000001.sst")
AGAIN = "the job starts again, since its checkpoint is found to be damaged: shared/"


def published(place: Path) -> set[str]:
    return {p.name for p in (place / "totals").glob("[!_.]*")}


def begun(place: Path) -> list[Path]:
    """A job in its middle, all of its state in stores. Gives the tables that only its newest checkpoint names."""
    run(place, {"state.changelog.enabled": "false"}, "after-publish:5:raise")
    before, last = (files(m) for m in manifests(place)[-2:])
    assert {f["kind"] for f in last} == {TABLE, STORE}
    old = {f["name"] for f in before}
    (directory,) = (place / "cp/bids/runs").iterdir()
    own = [directory / str(f["name"]) for f in last if f["kind"] == TABLE and f["name"] not in old]
    assert own
    return own


class Held:
    """The verdict waits until the job has gone through some epochs. `seen`: checkpoints and published files at that
    time. `bad`: names of files that are found to be damaged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: Path, epochs: int, bad: set[str]) -> None:
        self.seen: tuple[int, set[str]] | None = None
        enough, done = threading.Event(), [0]
        verify, report = CheckpointCoordinator._verify, Loop._report

        def held(coordinator: CheckpointCoordinator, entry: FileEntry) -> None:
            if entry.kind == TABLE and self.seen is None:
                assert enough.wait(60)
                self.seen = len(manifests(place)), published(place)
            if Path(entry.name).name in bad:
                raise CheckpointError(f"{entry.name} is damaged: its sha256 is another")
            verify(coordinator, entry)

        def reported(loop: Loop, *given: Any) -> None:
            report(loop, *given)
            done[0] += 1
            if done[0] == epochs:
                enough.set()

        monkeypatch.setattr(CheckpointCoordinator, "_verify", held)
        monkeypatch.setattr(Loop, "_report", reported)


@pytest.mark.parametrize("damaged", [True, False])
def test_nothing_is_published_before_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    own = begun(tmp_path)
    bad = {p.name for p in own} if damaged else set()
    before = len(manifests(tmp_path)), published(tmp_path)
    held = Held(monkeypatch, tmp_path, 5, bad)
    said = run(tmp_path, {"execution.checkpointing.interval": "1 ms"})
    assert held.seen == before
    assert any(AGAIN in text for text in said) == damaged
    assert any("cannot be used: shared/" in text for text in said) == damaged
    assert totals(tmp_path) == expected()


def test_an_epoch_that_reads_damage_first_waits_for_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in begun(tmp_path):
        data = bytearray(path.read_bytes())
        data[: len(data) // 2] = bytes(b ^ 1 for b in data[: len(data) // 2])  # the rows
        path.unlink()
        path.write_bytes(data)
    failed, verify, get = threading.Event(), CheckpointCoordinator._verify, StoreShard.get

    def reading(shard: StoreShard, keys: Packed) -> tuple[Array, Packed]:
        try:
            return get(shard, keys)
        except CheckpointError as e:
            assert "Corruption" in e.message
            failed.set()
            raise

    def late(coordinator: CheckpointCoordinator, entry: FileEntry) -> None:
        assert entry.kind != TABLE or failed.wait(60)
        verify(coordinator, entry)

    monkeypatch.setattr(StoreShard, "get", reading)
    monkeypatch.setattr(CheckpointCoordinator, "_verify", late)
    said = run(tmp_path, {})
    assert any(AGAIN in text for text in said)
    assert totals(tmp_path) == expected()


@pytest.mark.parametrize("transient", [True, False])
def test_a_file_that_cannot_be_read_is_damaged_unless_that_may_pass(transient: bool) -> None:
    def verify(entry: FileEntry) -> None:
        error = CheckpointError("cannot read it")
        error.transient = transient
        raise error

    with pytest.raises(CheckpointError, match="cannot read it") as e:
        Verification(verify, [ENTRY]).wait()
    assert isinstance(e.value, Damaged) is not transient


def test_one_that_is_stopped_says_so() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def verify(entry: FileEntry) -> None:
        begun.set()
        assert go_on.wait(60)

    verification = Verification(verify, [ENTRY, ENTRY])
    assert begun.wait(60)
    verification.stop()
    with pytest.raises(CheckpointError, match="stopped before") as e:
        verification.wait()
    assert not isinstance(e.value, Damaged)
    go_on.set()
