"""Permission lost, and a full disk, under the stores and under the checkpoints of a running job: said with the place, the
reason and what to do; nothing is lost when that is done."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.small_disk import small_disk
from test_backends import expected, run, totals

from sqlstream import faults
from sqlstream.errors import RunError

SOON = {
    "state.changelog.periodic-materialize.interval": "1 ms",
    "execution.checkpointing.interval": "1 ms",
    "execution.epoch.max-rows": "40",
}
COLD = {"state.backend.hot-rows": "10", **SOON}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    with small_disk(tmp_path / "disk", "8m") as path:
        yield path


def at(monkeypatch: pytest.MonkeyPatch, point: str, nth: int, do: Callable[[], object]) -> None:
    """At the n-th passing of a fault point something happens to the process's surroundings."""
    passed, real = [0], faults.point

    def look(name: str) -> None:
        passed[0] += name == point
        if name == point and passed[0] == nth:
            do()
        real(name)

    monkeypatch.setattr(faults, "point", look)


# ---- rights: in a process of their own, to which rights matter even when it is root's


def child(place: str, options: str, directory: str, point: str) -> None:
    """Runs the job; at the second passing of `point` nothing can be made in `directory` (a pattern) any more."""

    def forbid() -> None:
        for path in [*Path(place).glob(directory), *Path(place).glob(f"{directory}/**/")]:
            path.chmod(0o555)

    with pytest.MonkeyPatch.context() as monkeypatch:
        at(monkeypatch, point, 2, forbid)
        try:
            print("\n".join(run(Path(place), json.loads(options))))
        except RunError as e:
            print("ended:", e)


def deprived(place: Path, options: dict[str, str], directory: str, point: str) -> str:
    """What a job said in which that happened. Afterwards all is allowed again."""
    given: list[str] = []
    if os.getuid() == 0:
        if (setpriv := shutil.which("setpriv")) is None:
            pytest.skip("rights do not matter to root, and there is no setpriv to make them")
        given = [setpriv, "--bounding-set=-dac_override,-dac_read_search"]
    (place / "stores").mkdir()
    program = "import sys, test_rights_and_room as t; t.child(*sys.argv[1:])"
    out = subprocess.run(
        [*given, sys.executable, "-c", program, str(place), json.dumps(options), directory, point],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    for path in [p for p in place.rglob("*") if p.is_dir()]:
        path.chmod(0o755)
    assert not out.returncode and "Traceback" not in out.stderr, out.stderr
    return out.stdout


@pytest.mark.parametrize("short", [False, True])
def test_no_right_to_write_the_store(tmp_path: Path, short: bool) -> None:
    """Said, while memory lasts: checkpoints have the changelog. Else the end, with the reason."""
    options = {**(COLD if short else SOON), "state.backend.rocksdb.localdir": str(tmp_path / "stores")}
    said = deprived(tmp_path, options, "stores/**/store", "before-fold")
    assert "Permission denied" in said, said
    if short:
        ended = said[said.index("ended:") :]
        assert f"the memory for state is used up, and no row can leave it for the store in {tmp_path}/stores" in ended
        assert "let this user write there" in ended and "taskmanager.memory.managed.size" in ended
        run(tmp_path, options)
    else:
        assert said.count("state was not folded into") == 1 and "ended:" not in said
    assert totals(tmp_path) == expected()


def test_no_right_to_write_checkpoints(tmp_path: Path) -> None:
    run(tmp_path, COLD, fault="after-publish:2:raise")
    said = deprived(tmp_path, COLD, "cp/bids/runs/*", "after-delta")
    assert f"cannot write {tmp_path}/cp/bids/runs/" in said and "Permission denied" in said, said
    assert "give this user the right to write there" in said
    run(tmp_path, COLD)
    assert totals(tmp_path) == expected()


# ---- room


def test_no_room_for_the_store(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill() -> None:
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))

    options = {**COLD, "state.backend.rocksdb.localdir": str(disk)}
    at(monkeypatch, "before-fold", 2, fill)
    with pytest.raises(RunError, match=rf"the memory for state is used up, .*{disk}/.*No space left on device") as e:
        run(tmp_path, options)
    assert "free space on that disk" in str(e.value) and "state.backend.rocksdb.localdir" in str(e.value)
    monkeypatch.undo()
    (disk / "filler").unlink()
    run(tmp_path, options)
    assert totals(tmp_path) == expected()
