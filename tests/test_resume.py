"""What a job may be resumed after, and what it refuses: nothing is lost, repeated, mixed or deleted without a word."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import kill
import pytest

ROWS = 3_000
SCRIPT = """
SET 'execution.runtime-mode' = 'MODE';
CREATE TABLE t (k INT, v INT) WITH ('connector' = 'filesystem', 'path' = 'in/${day}', 'format' = 'json');
CREATE TABLE o (k INT, v INT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
INSERT INTO o SELECT k, v + 1 FROM t;
"""
RUN = ["run", "job.sql", "-D", "pipeline.name=j", "-D", "execution.checkpointing.interval=1 ms"]
SMALL = ["-D", "execution.epoch.max-rows=10"]
MONDAY = ["--var", "day=monday"]
EXPECTED = Counter({(i, i + 1): 1 for i in range(ROWS)})


def place_of(directory: Path, mode: str = "streaming") -> Path:
    """A project: a script and two days of input."""
    for day, first in (("monday", 0), ("tuesday", 100_000)):
        (directory / "in" / day).mkdir(parents=True)
        rows = (json.dumps({"k": i, "v": i}) for i in range(first, first + ROWS))
        (directory / "in" / day / "rows.json").write_text("\n".join(rows) + "\n")
    (directory / "job.sql").write_text(SCRIPT.replace("MODE", mode))
    return directory


def rows_of(directory: Path) -> Counter[tuple[int, int]]:
    found = [json.loads(line) for p in kill.published(directory) for line in p.read_text().splitlines()]
    return Counter((r["k"], r["v"]) for r in found)


def killed(place: Path, point: str, *more: str) -> None:
    status, said = kill.run(place, [*RUN, *SMALL, *MONDAY, *more], point)
    assert status == -signal.SIGKILL, said


def begun(place: Path, finished: bool) -> None:
    """A job in the middle, or at its end."""
    if not finished:
        killed(place, "after-publish:2")
        return
    status, said = kill.run(place, [*RUN, *MONDAY])
    assert status == 0, said


# ---- AT_LEAST_ONCE

AT_LEAST_ONCE = ["-D", "execution.checkpointing.mode=AT_LEAST_ONCE"]


@pytest.mark.parametrize("more", [[], SMALL, ["-D", "pipeline.name=j"], ["-D", "parallelism.default=3"]])
def test_at_least_once_loses_nothing(tmp_path: Path, more: list[str]) -> None:
    """Epochs and checkpoints do not share names of parts."""
    place = place_of(tmp_path)
    status, said = kill.run(place, ["run", "job.sql", *MONDAY, *AT_LEAST_ONCE, *more])
    assert status == 0, said
    assert rows_of(place / "out") == EXPECTED  # nothing went wrong: nothing twice either


@pytest.mark.share(3)
@pytest.mark.parametrize(
    "point",
    ["after-prepare:7", "mid-publish:5", "after-manifest:2", "before-manifest:3", "after-upload:1", "before-finished"],
)
def test_at_least_once_loses_nothing_when_killed(tmp_path: Path, point: str) -> None:
    place = place_of(tmp_path)
    for parallelism in (2, 1):
        status, said = kill.run(
            place, [*RUN, *SMALL, *MONDAY, *AT_LEAST_ONCE, "-D", f"parallelism.default={parallelism}"], point
        )
        assert status in (0, -signal.SIGKILL), said
    status, said = kill.run(place, [*RUN, *MONDAY, *AT_LEAST_ONCE])
    assert status == 0, said
    got = rows_of(place / "out")
    assert not EXPECTED - got and got.keys() == EXPECTED.keys()


# ---- the record of the job


@pytest.mark.parametrize("mode, finished", [("streaming", False), ("streaming", True), ("batch", True)])
def test_a_lost_record_is_no_new_job(tmp_path: Path, mode: str, finished: bool) -> None:
    place = place_of(tmp_path, mode)
    begun(place, finished)
    record = place / ".sqlstream/j/job.json"
    kept, before = record.read_text(), rows_of(place / "out")
    record.unlink()
    status, said = kill.run(place, [*RUN, *MONDAY])
    assert status == 1 and "the job's state is gone, but it has checkpoints" in said, said
    assert rows_of(place / "out") == before
    record.write_text(kept)
    status, said = kill.run(place, [*RUN, *MONDAY])
    assert status == 0, said
    assert rows_of(place / "out") == EXPECTED


def test_fresh_goes_on_without_the_record(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    begun(place, True)
    (place / ".sqlstream/j/job.json").unlink()
    status, said = kill.run(place, [*RUN, *MONDAY, "--fresh"])
    assert status == 0, said
    assert rows_of(place / "out") == EXPECTED + EXPECTED


@pytest.mark.parametrize("mode", ["streaming", "batch"])
def test_fresh_names_what_earlier_runs_have_published(tmp_path: Path, mode: str) -> None:
    place = place_of(tmp_path, mode)
    begun(place, True)
    (old,) = kill.published(place / "out")
    status, said = kill.run(place, [*RUN, *MONDAY, "--fresh"])
    assert status == 0, said
    assert "warning: the sink holds output of earlier runs of job j" in said and old.name in said
    status, said = kill.run(place, [*RUN, *MONDAY])
    assert status == 0 and "warning" not in said, said


# ---- copied and moved


@pytest.mark.parametrize("point", ["after-publish:2", "mid-publish:2", "after-manifest:2"])
def test_a_copied_project_writes_into_itself_and_a_moved_one_resumes(tmp_path: Path, point: str) -> None:
    place = place_of(tmp_path / "project")
    killed(place, point)
    copy = tmp_path / "copy"
    shutil.copytree(place, copy, ignore=shutil.ignore_patterns("*.sock"))
    before = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
    status, said = kill.run(copy, [*RUN, *MONDAY])
    assert status == 0 and "resumes from checkpoint" in said, said
    assert rows_of(copy / "out") == EXPECTED
    assert {p: p.read_bytes() for p in place.rglob("*") if p.is_file()} == before
    moved = tmp_path / "moved"
    place.rename(moved)
    status, said = kill.run(moved, [*RUN, *MONDAY])
    assert status == 0 and "resumes from checkpoint" in said, said
    assert rows_of(moved / "out") == EXPECTED
    assert not place.exists()


@pytest.mark.parametrize(
    "path", ["../given/${day}", "../given/*/rows.json", "../given/${day}/rows.json", "${here}/given/${day}"]
)
@pytest.mark.parametrize("more", ["", ", 'source.monitor-interval' = '100 ms'"])
def test_inputs_beside_the_project_are_where_the_table_says(tmp_path: Path, path: str, more: str) -> None:
    """Both are moved, and what is left in the old place is another file; or a copy of the project reads the same input."""
    place = place_of(tmp_path / "old/project")
    (place / "in").rename(tmp_path / "old/given")
    shutil.rmtree(tmp_path / "old/given/tuesday")
    script = SCRIPT.replace("'in/${day}'", f"'{path}'").replace("'json'", f"'json'{more}", 1)
    (place / "job.sql").write_text(script.replace("MODE", "streaming"))
    here = ["--var", f"here={tmp_path}/old"]
    killed(place, "after-publish:2", *here)
    if "here" in path:
        shutil.copytree(place, tmp_path / "new/project", ignore=shutil.ignore_patterns("*.sock"))
    else:
        (tmp_path / "old").rename(tmp_path / "new")
        other = tmp_path / "old/given/monday/rows.json"
        other.parent.mkdir(parents=True)
        other.write_text('{"k": -1, "v": -1}\n' * ROWS)
    moved, stop = tmp_path / "new/project", ["-D", "execution.epoch.max-rows=100"]
    if more:  # it does not end by itself
        killed(moved, "after-publish:40", *here, *stop)
    else:
        status, said = kill.run(moved, [*RUN, *MONDAY, *here])
        assert status == 0 and "resumes from checkpoint" in said, said
    found = rows_of(moved / "out")
    assert found == EXPECTED if not more else (found & EXPECTED == found and len(found) > 300)


def test_staged_files_that_somebody_removed(tmp_path: Path) -> None:
    """Those of no checkpoint are written again; a checkpoint whose rows are gone is said, and what to do."""
    place = place_of(tmp_path)
    killed(place, "after-publish:2")
    shutil.rmtree(place / "out/_staging")
    killed(place, "after-manifest:2")
    shutil.rmtree(place / "out/_staging")
    before = rows_of(place / "out")
    status, said = kill.run(place, [*RUN, *MONDAY])
    assert status == 1 and "is not published, and gone from" in said and "--fresh" in said, said
    assert rows_of(place / "out") == before


def test_a_finished_project_that_was_moved_has_finished(tmp_path: Path) -> None:
    place = place_of(tmp_path / "project")
    begun(place, True)
    place.rename(tmp_path / "moved")
    status, said = kill.run(tmp_path / "moved", [*RUN, *MONDAY])
    assert status == 0 and "has finished: nothing to do" in said, said
    assert rows_of(tmp_path / "moved/out") == EXPECTED


# ---- other tables


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    "old, new, said_of_it",
    [
        ("in/${day}", "in/tuesday", "table t: 'path' was 'in/monday', and is 'in/tuesday' now"),
        ("'out', 'format' = 'json'", "'out', 'format' = 'csv'", "table o: 'format' was 'json', and is 'csv' now"),
        (
            "'in/${day}', 'format' = 'json'",
            "'in/${day}', 'format' = 'json', 'json.fail-on-missing-field' = 'true'",
            "table t: 'json.fail-on-missing-field' was not set, and is 'true' now",
        ),
    ],
)  # fmt: skip
def test_another_table_under_the_same_name_is_refused(
    tmp_path: Path, finished: bool, old: str, new: str, said_of_it: str
) -> None:
    place = place_of(tmp_path)
    begun(place, finished)
    before = rows_of(place / "out")
    script = (place / "job.sql").read_text()
    assert old in script
    (place / "job.sql").write_text(script.replace(old, new))
    status, said = kill.run(place, [*RUN, *MONDAY])
    assert status == 1 and said_of_it in said and "pipeline.name" in said, said
    assert rows_of(place / "out") == before and not (place / "elsewhere").exists()
    state = json.loads((place / ".sqlstream/j/job.json").read_text())["state"]
    assert state == ("FINISHED" if finished else "RUNNING")  # what is refused changes no record
    (place / "job.sql").write_text(script)
    status, said = kill.run(place, [*RUN, *MONDAY])
    assert status == 0, said
    assert rows_of(place / "out") == EXPECTED


@pytest.mark.parametrize("finished", [False, True])
def test_a_sink_with_another_path_gets_all_rows(tmp_path: Path, finished: bool) -> None:
    place = place_of(tmp_path)
    begun(place, finished)
    before = rows_of(place / "out")
    script = (place / "job.sql").read_text()
    (place / "job.sql").write_text(script.replace("'path' = 'out'", "'path' = 'elsewhere'"))
    status, said = kill.run(place, [*RUN, *MONDAY])
    assert status == 0 and "all rows from the start" in said, said
    assert rows_of(place / "out") == before
    assert rows_of(place / "elsewhere") == EXPECTED


def test_a_batch_job_compares_its_tables_too(tmp_path: Path) -> None:
    place = place_of(tmp_path, "batch")
    begun(place, True)
    status, said = kill.run(place, [*RUN, "--var", "day=tuesday"])
    assert status == 1 and "'path' was 'in/monday', and is 'in/tuesday' now" in said, said
    assert rows_of(place / "out") == EXPECTED


def test_options_that_say_nothing_about_rows_may_change(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    killed(place, "after-publish:2")
    script = (place / "job.sql").read_text()
    script = script.replace("'in/${day}',", "'in/${day}', 'json.ignore-parse-errors' = 'true',")
    (place / "job.sql").write_text(script.replace("'out',", "'out', 'sink.rolling-policy.file-size' = '1 mb',"))
    status, said = kill.run(place, [*RUN, *MONDAY])
    assert status == 0 and "resumes" in said, said
    assert rows_of(place / "out") == EXPECTED


# ---- a reader that takes published files away


@pytest.mark.parametrize("point", ["after-publish:3", "mid-publish:2", "mid-publish:3", "before-finished"])
def test_published_files_may_be_taken_away(tmp_path: Path, point: str) -> None:
    place = place_of(tmp_path)
    taken = tmp_path / "taken"
    taken.mkdir()
    for fault in (point, "republished:1", "after-publish:2", None):
        status, said = kill.run(place, [*RUN, *SMALL, *MONDAY], fault)
        assert status == 0 or (fault is not None and status == -signal.SIGKILL), said
        for p in kill.published(place / "out"):
            p.rename(taken / p.name)
    assert rows_of(taken) == EXPECTED
    assert not [p for p in (place / "out/_staging").rglob("*") if p.is_file()]


def test_what_was_staged_and_is_gone_is_said(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    killed(place, "after-manifest:2")
    shutil.rmtree(place / "out/_staging")
    status, said = kill.run(place, [*RUN, *MONDAY])
    assert status == 1 and "is not published, and gone from" in said and "--fresh" in said, said


# ---- hostile files


def newest(job: Path, name: str) -> Path:
    """A file of the job's directory; RUN stands for its run, CHK for the newest checkpoint of it."""
    run = next((job / "runs").iterdir())
    manifest = max(run.glob("chk-*"), key=lambda p: int(p.name.split("-")[1]))
    return job / name.replace("RUN", run.name).replace("CHK", manifest.name)


def plant_text(name: str, text: str) -> Callable[[Path, Path], None]:
    def plant(job: Path, victim: Path) -> None:
        newest(job, name).write_text(text.replace("VICTIM", str(victim)))

    return plant


def plant_fields(**fields: object) -> Callable[[Path, Path], None]:
    """Other values in job.json; VICTIM is the directory outside."""

    def plant(job: Path, victim: Path) -> None:
        texts = {k: v.replace("VICTIM", str(victim)) if isinstance(v, str) else v for k, v in fields.items()}
        (job / "job.json").write_text(json.dumps({**json.loads((job / "job.json").read_text()), **texts}))

    return plant


def plant_bytes(name: str, data: bytes) -> Callable[[Path, Path], None]:
    def plant(job: Path, victim: Path) -> None:
        newest(job, name).write_bytes(data)

    return plant


def plant_huge(name: str) -> Callable[[Path, Path], None]:
    def plant(job: Path, victim: Path) -> None:
        with open(newest(job, name), "wb") as f:
            f.truncate(40 << 30)  # a hole: no such memory, no such disk

    return plant


def plant_pipe(name: str) -> Callable[[Path, Path], None]:
    def plant(job: Path, victim: Path) -> None:
        newest(job, name).unlink(missing_ok=True)
        os.mkfifo(newest(job, name))

    return plant


def plant_link(name: str, to: str = "") -> Callable[[Path, Path], None]:
    """A link to the victim (or what `to` names below it) in the place of what was there."""

    def plant(job: Path, victim: Path) -> None:
        place = newest(job, name)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.symlink_to(victim / to)

    return plant


HOSTILE: dict[str, Callable[[Path, Path], None]] = {
    "run leads up": plant_fields(run="../../../../victim"),
    "run is absolute": plant_fields(run="VICTIM"),
    "run is empty": plant_fields(run=""),
    "run is a number": plant_fields(run=7),
    "run is dots": plant_fields(run=".."),
    "checkpoints elsewhere": plant_fields(checkpoints="VICTIM"),
    "checkpoints elsewhere, run in it": plant_fields(checkpoints="VICTIM/runs/0123abcd", run="0123abcd"),
    "checkpoints is a list": plant_fields(checkpoints=["VICTIM"]),
    "another job's": plant_fields(job="../victim"),
    "state unknown": plant_fields(state="EXPLODED"),
    "published is negative": plant_fields(published=-1),
    "published is text": plant_fields(published="5"),
    "unknown field": plant_fields(surprise="VICTIM"),
    "no object": plant_text("job.json", "[]"),
    "no JSON": plant_text("job.json", "{"),
    "nested": plant_text("job.json", "[" * 200_000),
    "no UTF-8": plant_bytes("job.json", b'{"job": "\xff\xfe"}'),
    "huge": plant_huge("job.json"),
    "a pipe": plant_pipe("job.json"),
    "record is a link": plant_link("job.json", "data.txt"),
    "temporary record is a link": plant_link("job.json.tmp", "data.txt"),
    "copy of the manifest is huge": plant_huge("manifest.json"),
    "copy of the manifest is a pipe": plant_pipe("manifest.json"),
    "copy of the manifest is no UTF-8": plant_bytes("manifest.json", b"\xff"),
    "copy of the manifest is a list": plant_text("manifest.json", "[1, 2]"),
    "temporary copy is a link": plant_link("manifest.json.tmp", "data.txt"),
    "work is a link": plant_link("work"),
    "runs is a link": plant_link("runs"),
    "the run is a link": plant_link("runs/RUN"),
    "shared is a link": plant_link("runs/RUN/shared"),
    "a manifest is huge": plant_huge("runs/RUN/CHK/manifest.json"),
    "a manifest is a pipe": plant_pipe("runs/RUN/CHK/manifest.json"),
    "a manifest is a list": plant_text("runs/RUN/CHK/manifest.json", "[]"),
    "a manifest is no UTF-8": plant_bytes("runs/RUN/CHK/manifest.json", b"\xff"),
    "a manifest is a link": plant_link("runs/RUN/CHK/manifest.json", "data.txt"),
    "a checkpoint is a link": plant_link("runs/RUN/CHK"),
    "the lock is a link": plant_link("lock", "data.txt"),
    "the lock is a pipe": plant_pipe("lock"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_lead_nowhere(tmp_path: Path, name: str) -> None:
    """Whatever stands in the job's directory: what lies outside stays as it is, and there is no traceback."""
    place = place_of(tmp_path / "project")
    killed(place, "after-publish:2")
    victim = tmp_path / "victim"
    for below in ("", "shared", "chk-1", "0123abcd", "runs/0123abcd/chk-1", "runs/89abcdef"):
        (victim / below).mkdir(parents=True, exist_ok=True)
        (victim / below / "data.txt").write_text("mine")
    before = {p: p.read_bytes() for p in victim.rglob("*") if p.is_file()}
    HOSTILE[name](place / ".sqlstream/j", victim)
    for more in ([], ["--fresh"], []):
        status, said = kill.run(place, [*RUN, *MONDAY, *more])  # fails on a traceback
        assert status in (0, 1), said
        assert status == 0 or "error: " in said
        assert {p: p.read_bytes() for p in victim.rglob("*") if p.is_file()} == before, said
        assert not EXPECTED.keys() - rows_of(place / "out").keys() or status == 1


def test_fresh_gets_over_a_broken_record(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    killed(place, "after-publish:2")
    (place / ".sqlstream/j/job.json").write_bytes(b"\xff")
    status, said = kill.run(place, [*RUN, *MONDAY])
    assert status == 1 and "cannot be read" in said and "--fresh" in said, said
    status, said = kill.run(place, [*RUN, *MONDAY, "--fresh"])
    assert status == 0, said


def test_a_bounded_input_that_was_replaced_is_refused(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    killed(place, "after-publish:2")
    file, before = place / "in/monday/rows.json", rows_of(place / "out")
    kept = file.read_bytes()
    file.write_bytes((place / "in/tuesday/rows.json").read_bytes())
    status, said = kill.run(place, [*RUN, *MONDAY])
    assert status == 1 and "rows.json" in said and "--fresh" in said, said
    assert rows_of(place / "out") == before
    file.write_bytes(kept)
    status, said = kill.run(place, [*RUN, *MONDAY])
    assert status == 0, said
    assert rows_of(place / "out") == EXPECTED
