"""Checkpoints that were damaged after their output was published: the job goes back, and repeats and loses nothing."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import kill
import pytest
from harness.seed import SEED, random_of

ARGUMENTS = [
    "run", "job.sql", "-D", "pipeline.name=kill", "-D", "execution.checkpointing.interval=10 ms",
    "-D", "execution.epoch.max-rows=150",
]  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> kill.Bench:
    return kill.Bench(tmp_path_factory.mktemp("damage"), 3_000, SEED)


def killed(bench: kill.Bench, name: str, point: str) -> tuple[Path, Path]:
    """A job killed at a fault point, and where its checkpoints are."""
    bench.prepare(name)
    place = bench.place(name)
    status, said = kill.run(
        place, [*ARGUMENTS[:-1], "execution.epoch.max-rows=40", "-D", "parallelism.default=2"], point
    )
    assert status == -signal.SIGKILL, said
    (run,) = (place / ".sqlstream/kill/runs").iterdir()
    return place, run


def newest(run: Path) -> Path:
    return max(run.glob("chk-*"), key=lambda p: int(p.name.split("-")[1]))


def damage_state(run: Path, how: str) -> None:
    """Every file that only the newest checkpoint names."""
    manifests = sorted(run.glob("chk-*/manifest.json"), key=lambda p: int(p.parent.name.split("-")[1]))
    named = [{f["name"] for o in json.loads(m.read_text())["operators"].values() for t in o["tasks"] for f in t["files"]}
             for m in manifests]  # fmt: skip
    own = named[-1] - named[-2]
    assert own
    for name in own:
        data = (run / name).read_bytes()
        (run / name).unlink()
        if how == "flip":
            (run / name).write_bytes(data[:40] + bytes([data[40] ^ 255]) + data[41:])
        elif how == "cut":
            (run / name).write_bytes(data[:-7])


@pytest.mark.share(3)
@pytest.mark.parametrize(
    "name, point, how",
    [
        ("changes", "after-publish:4", "flip"),
        ("append", "mid-publish:20", "cut"),
        ("changes", "before-publish:4", "gone"),
    ],
)
def test_state_files(bench: kill.Bench, name: str, point: str, how: str) -> None:
    place, run = killed(bench, name, point)
    last = newest(run).name.split("-")[1]
    with bench.watcher(name, place) as watcher:
        watcher.look()
        damage_state(run, how)
        # The replay is cut short twice: it begins anew.
        for point in ("restored:1", "republished:1"):
            assert kill.run(place, ARGUMENTS, point)[0] == -signal.SIGKILL
        status, said = kill.run(place, [*ARGUMENTS, "-D", "parallelism.default=3"])
        assert status == 0, said
        assert f"warning: checkpoint {last} cannot be used: shared/" in said
        assert f"is computed again, and not written again up to where checkpoint {last}" in said
    assert not watcher.problems, watcher.problems
    bench.check(name, place)


@pytest.fixture(scope="module")
def stored(bench: kill.Bench) -> Path:
    """Where a job was killed whose checkpoints name files of stores."""
    bench.prepare("changes")
    place = bench.place("changes")
    small = [*ARGUMENTS[:-1], "execution.epoch.max-rows=60", *kill.COLD]
    status, said = kill.run(place, small, "after-publish:14")
    assert status == -signal.SIGKILL, said
    return place


@pytest.mark.share(3)
@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
@pytest.mark.parametrize("kind", ["sst", "store", "delta", "manifest.json"])
def test_each_file_of_a_store(bench: kill.Bench, stored: Path, kind: str, how: str) -> None:
    """Of those that only the newest checkpoint names. The next life is one on another backend, too."""
    place = stored.with_name(f"{stored.name}-{kind}-{how}")
    shutil.copytree(stored, place, ignore=shutil.ignore_patterns("*.sock"))
    (run,) = (place / ".sqlstream/kill/runs").iterdir()
    last, before = (
        json.loads((run / f"chk-{n}/manifest.json").read_text()) for n in (numbers(run)[-1], numbers(run)[-2])
    )
    kinds, older = files_of(last), files_of(before)
    of_kind = sorted(name for name in kinds if kinds[name] == kind and name not in older)
    assert of_kind or kind == "manifest.json"
    path = run / of_kind[0] if of_kind else newest(run) / "manifest.json"
    data = path.read_bytes()
    path.unlink()
    if how != "gone":
        half = len(data) // 2
        path.write_bytes(data[:half] if how == "cut" else data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :])
    backend = random_of("stored", kind, how).choice(kill.BACKENDS)
    with bench.watcher("changes", place) as watcher:
        status, said = kill.run(place, [*ARGUMENTS, *backend, "-D", "parallelism.default=2"])
        assert status == 0, said
        assert ("was damaged or gone" if kind == "manifest.json" else "cannot be used: shared/") in said
        # of a table only whether it is there is asked at once
        assert ("the job starts again" in said) == ((kind, how) == ("sst", "flip"))
    assert not watcher.problems, watcher.problems
    bench.check("changes", place)


def numbers(run: Path) -> list[int]:
    return sorted(int(p.parent.name.split("-")[1]) for p in run.glob("chk-*/manifest.json"))


def files_of(manifest: dict[str, Any]) -> dict[str, str]:
    return {f["name"]: f["kind"] for o in manifest["operators"].values() for t in o["tasks"] for f in t["files"]}


def test_stopped_while_it_catches_up(bench: kill.Bench) -> None:
    """A stop on the way takes no checkpoint of the half way."""
    place, run = killed(bench, "changes", "after-publish:4")
    damage_state(run, "gone")
    with bench.watcher("changes", place) as watcher:
        for seconds in (0.1, 0.15, 0.2):
            life = kill.start(place, [*ARGUMENTS[:-1], "execution.epoch.max-rows=1"])
            life.process.join(seconds)
            life.signal(signal.SIGTERM)
            assert life.wait() in (143, -signal.SIGTERM), life.text()
        status, said = kill.run(place, ARGUMENTS)
        assert status == 0, said
    assert not watcher.problems, watcher.problems
    bench.check("changes", place)


@pytest.mark.share(3)
@pytest.mark.parametrize("how", ["cut", "gone", "directory"])
def test_manifest(bench: kill.Bench, how: str) -> None:
    """The job has a copy of the newest one."""
    place, run = killed(bench, "append", "after-publish:4")
    manifest = newest(run) / "manifest.json"
    if how == "cut":
        manifest.write_text(manifest.read_text()[:-100])
    elif how == "gone":
        manifest.unlink()
    else:
        shutil.rmtree(manifest.parent)
    with bench.watcher("append", place) as watcher:
        status, said = kill.run(place, ARGUMENTS)
        assert status == 0, said
        assert f"the manifest of checkpoint {manifest.parent.name.split('-')[1]} was damaged or gone" in said
    assert not watcher.problems, watcher.problems
    bench.check("append", place)


@pytest.mark.share(3)
@pytest.mark.parametrize("how", ["cut", "gone", "all"])
def test_manifest_and_its_copy(bench: kill.Bench, how: str) -> None:
    """Nobody knows how far the published output goes: refused, rather than repeated."""
    place, run = killed(bench, "append", "after-publish:4")
    manifest = newest(run) / "manifest.json"
    (place / ".sqlstream/kill/manifest.json").unlink()
    if how == "cut":
        manifest.write_text(manifest.read_text()[:-100])
    elif how == "gone":
        manifest.unlink()
    else:
        shutil.rmtree(run)
    before = sorted(place.glob("out/*/*"))
    status, said = kill.run(place, ARGUMENTS)
    assert status == 1 and "was published by a checkpoint that is lost" in said, said
    assert "hint: restore the checkpoint's directory from a backup" in said
    assert sorted(place.glob("out/*/*")) == before


def test_manifest_before_anything_of_it_is_published(bench: kill.Bench) -> None:
    """The one before is taken, and its output is whole."""
    place, run = killed(bench, "append", "before-publish:4")
    manifest = newest(run) / "manifest.json"
    (place / ".sqlstream/kill/manifest.json").unlink()
    manifest.write_text(manifest.read_text()[:-100])
    status, said = kill.run(place, ARGUMENTS)
    assert status == 0, said
    assert "warning: checkpoint" in said and "not a checkpoint manifest" in said
    bench.check("append", place)


def test_all_checkpoints(bench: kill.Bench) -> None:
    place, run = killed(bench, "append", "after-publish:4")
    for file in (run / "shared").iterdir():
        file.write_bytes(b"")
    status, said = kill.run(place, ARGUMENTS)
    assert status == 1 and "no checkpoint in" in said and "has 0 bytes instead of" in said, said
