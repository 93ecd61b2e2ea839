"""Stateful queries whose job is stopped with a savepoint, which is moved, and from which another job goes on: under another
name, in another place, at another parallelism, on the other backend. Together they write what an undisturbed run writes."""

from __future__ import annotations

import shutil
import signal
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import kill
import pytest
from harness import slt
from harness.seed import random_of
from harness.small_disk import small_disk
from test_former_formats import SAVEPOINTS, SINKS, output
from test_sql import FILES, Setting, check

STATEFUL = (
    "changelog_with_key", "cumulate", "deduplicate", "distinct", "group_aggregate", "hop", "interval_join", "join_anti",
    "join_full", "join_inner", "join_left", "join_semi", "joins_three_way", "late_rows", "late_rows_of_sessions", "over",
    "process_table_functions", "session", "set_operations", "temporal_join", "top_n", "tumble", "types", "window_join",
)  # fmt: skip
QUERIES = [q for f in FILES if f.stem in STATEFUL for q in slt.load(f) if q.error is None and q.only != "batch"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("savepoints")


@pytest.mark.share(3)
@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.id)
def test_a_job_goes_on_from_a_moved_savepoint(query: slt.Query, directory: Path) -> None:
    check(query, directory, random_of("moved", query.id), Setting("UTC", False), ("moved",))


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("GroupAggregate", "group_aggregate"), ("Join", "join_inner"), ("IntervalJoin", "interval_join"),
        ("WindowJoin", "window_join"), ("WindowAggregate", "tumble"), ("SessionWindowAggregate", "session"),
        ("OverAggregate", "over"), ("TopN", "top_n"), ("Deduplicate", "deduplicate"), ("TemporalJoin", "temporal_join"),
        ("ProcessTableFunction", "process_table_functions"),
    ],
)  # fmt: skip
def test_there_are_savepoints_with_rows(kind: str, file: str, tmp_path: Path) -> None:
    """Of this kind of operator: else the tests above have shown nothing."""
    for query in (q for q in QUERIES if q.file == file):
        check(query, tmp_path, random_of("moved", query.id), Setting("UTC", False), ("moved",))
        if kind in {p.parent.parent.name.partition("-")[0] for p in tmp_path.glob("saved-*/*/*/part-*.parquet")}:
            return
    raise AssertionError(f"no savepoint of {file}.slt has rows of {kind}")


# ---- by processes that are killed, and on disks that are full


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Jobs that were stopped with a savepoint."""
    place = tmp_path_factory.mktemp("stopped")
    with tarfile.open(SAVEPOINTS / "format-1.tar.gz") as archive:
        archive.extractall(place, filter="data")
    for job in SINKS:
        shutil.copytree(place / job, place / f"{job}-anew", ignore=shutil.ignore_patterns("saved", "out"))
        assert kill.run(place / f"{job}-anew", ["run", "job.sql"])[0] == 0
    return place


@pytest.mark.share(4)
@pytest.mark.parametrize(
    "point", ["mid-recovery:1", "mid-recovery:7", "after-recovery:1", "job-recorded:1", "job-recorded:2", "restored:1"]
)
@pytest.mark.parametrize("job", SINKS)
def test_killed_while_it_begins(stopped: Path, tmp_path: Path, job: str, point: str) -> None:
    place = tmp_path / job
    shutil.copytree(stopped / job, place)
    (saved,) = (place / "saved").iterdir()
    begin = ["run", "job.sql", "-D", "pipeline.name=other", "-D", f"execution.state-recovery.path={saved}"]
    small = ["-D", "execution.epoch.max-rows=100", "-D", "execution.checkpointing.interval=10 ms"]
    assert kill.run(place, [*begin, *small], point)[0] == -signal.SIGKILL
    assert kill.run(place, [*begin, *small], "after-publish:1")[0] == -signal.SIGKILL
    shutil.rmtree(saved)  # it goes on from its own checkpoint now
    status, said = kill.run(place, [*begin, "-D", "parallelism.default=3"])
    assert status == 0, said
    for name in sorted(p.name for p in (place / "out").iterdir()):
        changelog = SINKS[job].get(name, False)
        assert output(place, name, changelog) == output(stopped / f"{job}-anew", name, changelog) != Counter(), name


def test_checkpoints_of_the_runs_before_go(stopped: Path, tmp_path: Path) -> None:
    """With the first of the run that began from the savepoint, as with that of any other new run."""
    place = tmp_path / "changes"
    shutil.copytree(stopped / "changes", place)
    (saved,) = (place / "saved").iterdir()
    command = ["run", "job.sql", "-D", "pipeline.name=other", "-D", "execution.epoch.max-rows=100"]
    assert kill.run(place, command, "after-publish:2")[0] == -signal.SIGKILL
    (before,) = (place / ".sqlstream/other/runs").iterdir()
    begin = [*command, "--fresh", "-D", f"execution.state-recovery.path={saved}"]
    assert kill.run(place, begin, "after-publish:2")[0] == -signal.SIGKILL
    (now,) = (place / ".sqlstream/other/runs").iterdir()
    assert now != before


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk on which there is room for a directory, and not for a savepoint."""
    with small_disk(tmp_path / "full", "16k") as path:
        yield path


def test_a_full_disk(stopped: Path, tmp_path: Path, full: Path) -> None:
    """The job says why there are no savepoints, and goes on to its end."""
    place = tmp_path / "changes"
    shutil.copytree(stopped / "changes", place, ignore=shutil.ignore_patterns("saved", "out"))
    options = [
        "pipeline.name=j", "execution.epoch.max-rows=60", "execution.checkpointing.interval=1 ms",
        f"execution.checkpointing.savepoint-dir={full}", "execution.checkpointing.savepoint.interval=1 ms",
    ]  # fmt: skip
    status, said = kill.run(place, ["run", "job.sql", *(a for o in options for a in ("-D", o))], "before-finished:9")
    assert status == 0 and f"warning: the savepoint in {full} failed: cannot write " in said, said
    assert "No space left on device" in said and not list(full.iterdir())
    for name, changelog in SINKS["changes"].items():
        assert output(place, name, changelog) == output(stopped / "changes-anew", name, changelog) != Counter(), name
