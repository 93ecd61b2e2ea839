"""Jobs that former versions were killed in go on, and end as if nothing had happened.

`data/checkpoints/format-<n>.tar.gz` holds the project directories of the two jobs of `kill.py`, with their inputs, as the
last version left them that wrote manifests of format n: killed when their third checkpoint was published. Kept for good.
Inputs lie within the directories: of what lies elsewhere a checkpoint keeps the absolute path, which is not everywhere.
"""

from __future__ import annotations

import shutil
import tarfile
from collections import Counter
from pathlib import Path

import kill
import pytest

DATA = Path(__file__).parent / "data" / "checkpoints"
SAVEPOINTS = Path(__file__).parent / "data" / "savepoints"
# The jobs as they were then.
SINKS = {
    "append": {"filtered": False, "tumbled": False, "joined": False},
    "changes": dict.fromkeys(("grouped", "top", "outer_joined", "two_levels", "by_key"), True),
}


def output(place: Path, name: str, changelog: bool) -> Counter[str]:
    lines = kill.lines(place / "out" / name)
    return kill.fold(lines, name) if changelog else Counter(lines)


@pytest.mark.share(3)
@pytest.mark.parametrize("backend", ["rocksdb", "hashmap"])
@pytest.mark.parametrize("parallelism", [1, 2, 3])
@pytest.mark.parametrize("job", SINKS)
@pytest.mark.parametrize("version", [3])
def test_a_job_goes_on(tmp_path: Path, version: int, job: str, parallelism: int, backend: str) -> None:
    with tarfile.open(DATA / f"format-{version}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    place, anew = tmp_path / job, tmp_path / "anew"
    shutil.copytree(place, anew, ignore=shutil.ignore_patterns(".sqlstream", "out"))
    assert kill.run(anew, ["run", "job.sql"])[0] == 0
    options = [f"parallelism.default={parallelism}", f"state.backend.type={backend}", "pipeline.name=kill"]
    status, said = kill.run(place, ["run", "job.sql", *(a for o in options for a in ("-D", o))])
    assert status == 0 and "resumes from checkpoint 3" in said, said
    for name, changelog in SINKS[job].items():
        assert output(place, name, changelog) == output(anew, name, changelog) != Counter(), name


@pytest.mark.share(3)
@pytest.mark.parametrize("backend", ["rocksdb", "hashmap"])
@pytest.mark.parametrize("parallelism", [1, 2, 3])
@pytest.mark.parametrize("job", SINKS)
@pytest.mark.parametrize("version", [1])
def test_a_job_begins_from_a_savepoint(tmp_path: Path, version: int, job: str, parallelism: int, backend: str) -> None:
    """`data/savepoints/format-<n>.tar.gz` holds the same jobs, which the last version that wrote savepoints of format n has
    stopped with one in the middle, at parallelism 2."""
    with tarfile.open(SAVEPOINTS / f"format-{version}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    place, anew = tmp_path / job, tmp_path / "anew"
    shutil.copytree(place, anew, ignore=shutil.ignore_patterns("saved", "out"))
    assert kill.run(anew, ["run", "job.sql"])[0] == 0
    (saved,) = (place / "saved").iterdir()
    options = [
        f"parallelism.default={parallelism}", f"state.backend.type={backend}", "pipeline.name=other",
        f"execution.state-recovery.path={saved}",
    ]  # fmt: skip
    status, said = kill.run(place, ["run", "job.sql", *(a for o in options for a in ("-D", o))])
    assert status == 0 and f"job other begins from savepoint {saved}" in said, said
    for name in sorted(p.name for p in (anew / "out").iterdir()):
        changelog = SINKS[job].get(name, False)
        assert output(place, name, changelog) == output(anew, name, changelog) != Counter(), name
