"""Savepoints of running and of stopped jobs: what they are as files, what is refused, what fails without harm."""

from __future__ import annotations

import errno
import json
import random
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pyarrow.parquet as pq
import pytest
from harness import ways

from sqlstream import faults
from sqlstream.errors import BindError, CheckpointError, OptionError, RunError, SqlStreamError
from sqlstream.options import SessionOptions
from sqlstream.runtime.directory import JobDirectory
from sqlstream.runtime.job import Job
from sqlstream.runtime.progress import Progress
from sqlstream.runtime.savepoints import savepoint_of
from sqlstream.savepoint import writer
from sqlstream.savepoint.reader import SavedRows
from sqlstream.savepoint.record import Savepoint
from sqlstream.session import Session

ROWS = 400
GROUPS = "SELECT auction, COUNT(*) AS n, MAX(price) AS top, LAST_VALUE(`at`) AS last FROM t GROUP BY auction"
WINDOWS = (
    "SELECT window_start, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(`at`), INTERVAL '1' HOUR)) "
    "GROUP BY window_start, window_end"
)
MOST = {"execution.epoch.max-rows": "20", "execution.checkpointing.interval": "1 ms"}


class Project:
    """Input and output, and jobs between them, each in a directory of its own."""

    def __init__(self, place: Path) -> None:
        self.place, self.out = place, place / "out"
        rows = (
            {"auction": i % 37, "price": i / 4, "at": f"2026-01-01 {i // 60:02}:{i % 60:02}:00"} for i in range(ROWS)
        )
        (place / "in.json").write_text("".join(json.dumps(r) + "\n" for r in rows))
        self.setup = (
            "CREATE TABLE t (auction BIGINT, price DECIMAL(10, 2), `at` TIMESTAMP(3), WATERMARK FOR `at` AS `at`) WITH "
            f"('connector' = 'filesystem', 'path' = '{place}/in.json', 'format' = 'json', "
            "'json.timestamp-format.standard' = 'SQL')",
        )
        self.said: list[str] = []

    def run(
        self, name: str, sql: str, at: int | None = None, do: Callable[[Job], object] = Job.stop, **options: str
    ) -> str:
        """The state that the job ends in. After `at` epochs something is done with it."""
        options = {"execution.runtime-mode": "streaming", "pipeline.name": name, **MOST, **options}
        case = ways.Case(self.setup, sql, ROWS)
        progress, self.schema = ways.insert(
            case, self.place / name, options, at, do, self.out, on_message=self.said.append
        )
        return progress.state

    def rows(self) -> Counter[Any]:
        """What all jobs together have written."""
        return ways.read_sink(self.out, self.schema).rows

    def expected(self, sql: str) -> Counter[Any]:
        answer, _ = ways.batch(ways.Case(self.setup, sql, ROWS), self.place)
        return answer.fold.rows


NEVER = "before-finished:1000000:raise"  # while a fault is armed, each epoch's checkpoint is waited for


@pytest.fixture(autouse=True)
def step_by_step() -> Iterator[None]:
    faults.arm(NEVER)
    yield
    faults.arm(None)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def saved(project: Project, sql: str = GROUPS, epochs: int = 8, **options: str) -> Path:
    """The savepoint that a job was stopped with."""
    assert project.run("a", sql, epochs, lambda job: job.stop(savepoint="saved"), **options) == "FINISHED"
    (made,) = (project.place / "a" / "saved").iterdir()
    return made


def begins(path: Path | str, **options: str) -> dict[str, str]:
    return {"execution.state-recovery.path": str(path), **options}


# ---- as files


@pytest.mark.parametrize("options", [{"state.backend.type": "hashmap"}, {"parallelism.default": "2"}], ids=str)
def test_anybody_reads_it(project: Project, options: dict[str, str]) -> None:
    path = saved(project, **options)
    metadata = json.loads((path / "_metadata").read_text())
    (operator,) = [o for o in metadata["operators"].values() if o["states"]]
    (groups,) = operator["states"]
    read = metadata["metrics"]["rows_in"]
    columns = pq.read_schema(next(path.rglob("*.parquet"))).names
    assert columns[0] == "auction" and any("price" in c for c in columns) and any("at" in c for c in columns), columns
    got = duckdb.sql(f"SELECT auction, \"count\" FROM read_parquet('{path}/*/groups/*.parquet')").fetchall()
    assert sorted(got) == sorted(Counter(i % 37 for i in range(read)).items()) and 0 < read < ROWS
    names = [p["name"] for p in groups["pieces"]]
    assert names and all((path / n).is_file() for n in names) and sum(p["rows"] for p in groups["pieces"]) == len(got)
    files = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}
    assert files == {*names, "_metadata"}
    assert str(project.place) not in json.dumps({k: v for k, v in metadata.items() if k not in ("tables", "sources")})


def test_a_store_that_cannot_rename(project: Project) -> None:
    """The same on an object store, from which a job begins, too."""
    memory = fsspec.filesystem("memory")
    made: list[Future[Savepoint]] = []
    project.run("a", GROUPS, 8, lambda job: made.append(job.stop(savepoint="memory://bucket/saved")))  # type: ignore[arg-type]
    path = made[0].result().path
    assert path.startswith("memory://bucket/saved/savepoint-a-")
    assert [f for f in memory.find("/bucket/saved") if f.endswith("_metadata")]
    assert project.run("b", GROUPS, **begins(path)) == "FINISHED"
    assert project.rows() == project.expected(GROUPS)
    memory.rm("/bucket", recursive=True)


def files_of(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file())


@pytest.mark.parametrize("how", ["flip", "cut", "grow", "delete"])
def test_damaged_files_are_named(project: Project, how: str) -> None:
    path = saved(project, **{"parallelism.default": "3"})
    r = random.Random(how)
    for n, file in enumerate(files_of(path)):
        whole = file.read_bytes()
        at = r.randrange(len(whole))
        changed = {
            "flip": whole[:at] + bytes([whole[at] ^ 1 << r.randrange(8)]) + whole[at + 1 :],
            "cut": whole[:at],
            "grow": whole + b" ",
        }
        file.unlink()
        if how != "delete":
            file.write_bytes(changed[how])
        before = sorted(project.out.iterdir())
        with pytest.raises(CheckpointError) as e:
            project.run(f"b{n}", GROUPS, **begins(path))
        assert str(file) in str(e.value) or (file.name == "_metadata" and str(path) in str(e.value)), e.value
        assert sorted(project.out.iterdir()) == before
        file.write_bytes(whole)
        # and when it is whole again, the same job begins as if nothing had been
    assert project.run("b0", GROUPS, **begins(path)) == "FINISHED"
    assert project.rows() == project.expected(GROUPS)


@pytest.mark.parametrize("target", [".sqlstream/a/runs", ".sqlstream/a/work/x", ".sqlstream/a/runs/0a/shared"])
def test_nothing_deletes_it(project: Project, target: str) -> None:
    """So it is not where the engine clears away what it does not need."""
    refused: list[OptionError] = []

    def ask(job: Job) -> None:
        with pytest.raises(OptionError, match="would be deleted") as e:
            job.savepoint(target)
        refused.append(e.value)

    assert project.run("a", GROUPS, 5, ask) == "FINISHED" and refused


# ---- of a running job


def test_a_job_goes_on_beside_its_savepoint(project: Project) -> None:
    made: list[Future[Savepoint]] = []
    state = project.run("a", GROUPS, 5, lambda job: made.append(job.savepoint(str(project.place / "saved"))))
    assert state == "FINISHED" and project.rows() == project.expected(GROUPS)
    savepoint = made[0].result()
    assert 0 < savepoint.record.metrics["rows_in"] < ROWS
    for file in project.out.glob("part-*"):  # what came behind it is the other job's to write
        if int(file.name.split("-")[-2]) > savepoint.checkpoint_id:
            file.unlink()
    assert project.run("b", GROUPS, **begins(savepoint.path)) == "FINISHED"
    assert project.rows() == project.expected(GROUPS)


def test_many_at_the_same_time(project: Project) -> None:
    made: list[Future[Savepoint]] = []

    def ask(job: Job) -> None:
        made.extend(job.savepoint(f"saved{i % 2}") for i in range(4))

    assert project.run("a", GROUPS, 5, ask) == "FINISHED"
    assert len({m.result().path for m in made}) == 4 and len({m.result().checkpoint_id for m in made}) == 1


def test_where_to(project: Project) -> None:
    errors: list[SqlStreamError] = []

    def ask(job: Job) -> None:
        for call in (job.savepoint, lambda: job.stop(savepoint=""), lambda: job.stop(drain=True)):
            try:
                call()
            except SqlStreamError as e:
                errors.append(e)

    assert project.run("a", GROUPS, 5, ask) == "FINISHED"
    assert [type(e) for e in errors] == [OptionError] * 3
    assert "execution.checkpointing.savepoint-dir" in str(errors[0])
    there = {"execution.checkpointing.savepoint-dir": str(project.place / "there")}
    assert project.run("b", GROUPS, 5, lambda job: job.stop(savepoint=""), **there) == "FINISHED"
    assert [p.name[:12] for p in (project.place / "there").iterdir()] == ["savepoint-b-"]


def test_what_was_not_taken_fails_with_the_reason(project: Project) -> None:
    made: list[Future[Savepoint]] = []

    def ask(job: Job) -> None:
        job.stop()
        made.append(job.savepoint("saved"))

    assert project.run("a", GROUPS, 5, ask) == "CANCELED"
    assert made[0].result().record.metrics["rows_in"] < ROWS  # the last checkpoint is as good as any


def test_drain(project: Project) -> None:
    assert project.run("a", WINDOWS, 8, lambda job: job.stop(savepoint="saved", drain=True)) == "FINISHED"
    (path,) = (project.place / "a" / "saved").iterdir()
    record = SavedRows(str(path), project.place).record
    read = record.metrics["rows_in"]
    hours = Counter(i // 60 for i in range(read))
    assert record.drained and 0 < read < ROWS and read % 60
    assert sorted(n for row, n in _by_count(project)) == sorted(hours.values())
    # it has come to its end, and is no place to begin
    assert project.run("a", WINDOWS) == "FINISHED" and "has finished: nothing to do" in project.said[-1]
    with pytest.raises(CheckpointError, match="WITH DRAIN"):
        project.run("b", WINDOWS, **begins(path))


def _by_count(project: Project) -> list[tuple[Any, int]]:
    rows = project.rows()
    assert set(rows.values()) == {1}
    return [(row[0], int(row[1])) for row in rows]


DRAINED = {
    "tumble": WINDOWS,
    "hop": WINDOWS.replace("TUMBLE", "HOP").replace("INTERVAL '1' HOUR", "INTERVAL '20' MINUTE, INTERVAL '1' HOUR"),
    "session": "SELECT auction, window_start, COUNT(*) AS n FROM TABLE(SESSION(TABLE t PARTITION BY auction, "
    "DESCRIPTOR(`at`), INTERVAL '2' HOUR)) GROUP BY auction, window_start, window_end",
    "over": "SELECT auction, `at`, SUM(price) OVER (PARTITION BY auction ORDER BY `at` RANGE BETWEEN INTERVAL '1' HOUR "
    "PRECEDING AND CURRENT ROW) AS s FROM t",
    "interval join": "SELECT a.auction, a.price, b.price AS other FROM t AS a LEFT JOIN t AS b ON a.auction = b.auction "
    "AND b.`at` BETWEEN a.`at` + INTERVAL '30' MINUTE AND a.`at` + INTERVAL '2' HOUR",
    "group by": GROUPS,
}


@pytest.mark.parametrize("parallelism", ["1", "3"])
@pytest.mark.parametrize("query", DRAINED)
def test_what_was_drained_is_the_answer_for_what_was_read(project: Project, query: str, parallelism: str) -> None:
    sql, options = DRAINED[query], {"parallelism.default": parallelism}
    stop = lambda job: job.stop(savepoint="saved", drain=True)  # noqa: E731
    assert project.run("a", sql, 9, stop, **options) == "FINISHED"
    (path,) = (project.place / "a" / "saved").iterdir()
    read = SavedRows(str(path), project.place).record.metrics["rows_in"]
    lines = (project.place / "in.json").read_text().splitlines(keepends=True)
    assert 0 < read < len(lines)
    (project.place / "in.json").write_text("".join(lines[:read]))
    assert project.rows() == project.expected(sql)


def test_without_drain_windows_stay_open(project: Project) -> None:
    path = saved(project, WINDOWS)
    record = SavedRows(str(path), project.place).record
    assert len(project.rows()) == (record.metrics["rows_in"] - 1) // 60
    assert project.run("a", WINDOWS) == "FINISHED"  # the same job goes on from its own checkpoint
    assert project.rows() == project.expected(WINDOWS)


# ---- failures


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("stop", [False, True])
def test_a_full_disk(project: Project, monkeypatch: pytest.MonkeyPatch, stop: bool) -> None:
    monkeypatch.setattr(writer.pq, "ParquetWriter", full)
    made: list[Future[Savepoint]] = []
    there = str(project.place / "saved")
    state = project.run(
        "a",
        GROUPS,
        5,
        lambda job: made.append(job.stop(savepoint=there) if stop else job.savepoint(there)),  # type: ignore[arg-type]
    )
    assert state == "FINISHED" and project.rows() == project.expected(GROUPS)
    with pytest.raises(CheckpointError, match="No space left on device") as e:
        made[0].result()
    assert "free space" in (e.value.hint or "") and not list(Path(there).iterdir())
    assert any("the savepoint in" in text and "No space left" in text for text in project.said)
    assert any("was not stopped" in text for text in project.said) == stop


def test_a_job_that_is_canceled_gives_its_savepoint_up(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Job] = []
    made: list[Future[Savepoint]] = []

    class Writer(pq.ParquetWriter):  # the job is canceled while the first rows are written
        def write_table(self, *table: Any, **options: Any) -> None:
            super().write_table(*table, **options)
            jobs[0].cancel()

    monkeypatch.setattr(writer.pq, "ParquetWriter", Writer)

    def ask(job: Job) -> None:
        jobs.append(job)
        made.append(job.savepoint("saved"))

    assert project.run("a", GROUPS, 5, ask, **{"parallelism.default": "3"}) == "CANCELED"
    with pytest.raises(RunError, match="job a was canceled"):
        made[0].result()
    assert not list((project.place / "a" / "saved").iterdir())


def test_a_fault_in_the_middle_leaves_nothing(project: Project) -> None:
    for point in ("mid-savepoint", "before-metadata"):
        made: list[Future[Savepoint]] = []
        faults.arm(f"{point}:1:raise")
        try:
            project.run(f"a-{point}", GROUPS, 5, lambda job, to=made: to.append(job.savepoint("saved")))
        finally:
            faults.arm(NEVER)
        with pytest.raises(RunError, match="fault"):
            made[0].result()
        assert not list((project.place / f"a-{point}" / "saved").iterdir())


def test_what_a_killed_process_left_goes_with_the_next(project: Project) -> None:
    path = saved(project)
    run = SavedRows(str(path), project.place).record.run_id
    left = path.parent / f".savepoint-a-{run}-0123456789ab"
    others = path.parent / ".savepoint-a-00000000-0123456789ab"
    for place in (left, others):
        place.mkdir()
        (place / "part").write_text("x")
    project.run("a", GROUPS, 3, lambda job: job.stop(savepoint="saved"))
    assert not left.exists() and others.exists() and path.exists() and len(list(path.parent.iterdir())) == 3


# ---- of a job that does not run


def job_directory(project: Project, name: str) -> JobDirectory:
    place = project.place / name / ".sqlstream" / name
    return JobDirectory(name, place, str(place.resolve()), root=str(project.place))


def test_the_last_checkpoint_of_a_stopped_job(project: Project) -> None:
    assert project.run("a", GROUPS, 6) == "CANCELED"
    made = savepoint_of(job_directory(project, "a"), "saved", SessionOptions())
    assert made.path.startswith(str(project.place / "saved" / "savepoint-a-"))
    assert project.run("b", GROUPS, **begins(made.path)) == "FINISHED"
    assert project.rows() == project.expected(GROUPS)


def test_no_savepoint_of_a_job_that_has_none_to_give(project: Project) -> None:
    with pytest.raises(CheckpointError, match="has never run"):
        savepoint_of(job_directory(project, "none"), "saved", SessionOptions())
    assert project.run("a", GROUPS) == "FINISHED"
    with pytest.raises(CheckpointError, match="has finished"):
        savepoint_of(job_directory(project, "a"), "saved", SessionOptions())
    faults.arm("before-publish:3:raise")
    with pytest.raises(RunError, match="fault"):
        project.run("c", GROUPS, **{"restart-strategy.type": "none"})
    directory = job_directory(project, "c")
    with pytest.raises(CheckpointError, match="may not be published"):
        savepoint_of(directory, "saved", SessionOptions())


# ---- to begin from one


@pytest.mark.parametrize("mode", ["NO_CLAIM", "CLAIM"])
def test_whom_it_belongs_to(project: Project, mode: str) -> None:
    path = saved(project)
    seen: list[bool] = []
    options = begins(path, **{"execution.state-recovery.claim-mode": mode})
    assert project.run("b", GROUPS, 1, lambda job: (seen.append(path.exists()), job.stop()), **options) == "CANCELED"
    assert seen == [True]
    if mode == "NO_CLAIM":
        assert path.exists()
        shutil.rmtree(path)  # nothing of the run is in it
    assert project.run("b", GROUPS, **options) == "FINISHED"
    assert not path.exists() and project.rows() == project.expected(GROUPS)


def test_state_of_other_operators_is_refused_with_a_list(project: Project) -> None:
    path = saved(project)
    other = "SELECT auction, SUM(price) AS total FROM t GROUP BY auction"
    with pytest.raises(CheckpointError) as e:
        project.run("b", other, **begins(path))
    assert (
        "GroupAggregate" in str(e.value)
        and "groups: 37 rows" in str(e.value)
        and "ignore-unclaimed" in (e.value.hint or "")
    )
    project.out = project.place / "other"
    ignore = {"execution.state-recovery.ignore-unclaimed-state": "true"}
    assert project.run("b", other, **begins(path, **ignore)) == "FINISHED"
    assert any("is dropped" in text for text in project.said)
    assert project.rows() == project.expected(other)  # computed from its table


def test_a_checkpoint_of_another_run(project: Project) -> None:
    assert project.run("a", GROUPS, 6) == "CANCELED"
    (run,) = (project.place / "a" / ".sqlstream" / "a" / "runs").iterdir()
    newest = max(run.glob("chk-*"), key=lambda p: int(p.name[4:]))
    before = files_of(run)
    assert project.run("b", GROUPS, 3, **begins(newest)) == "CANCELED"
    assert files_of(run) == before
    shutil.rmtree(run)  # copied, not referred to
    assert project.run("b", GROUPS, **begins(newest)) == "FINISHED"
    assert project.rows() == project.expected(GROUPS)


@pytest.mark.parametrize("place", ["nowhere", "nowhere/chk-7", "in.json"])
def test_nothing_to_begin_from(project: Project, place: str) -> None:
    with pytest.raises(CheckpointError, match="is no savepoint|there is no checkpoint 7|a file stands|Not a directory"):
        project.run("b", GROUPS, **begins(project.place / place))


def test_a_nameless_job_begins_anew(project: Project) -> None:
    with pytest.raises(OptionError, match="durable"):
        session = ways.Case(project.setup, GROUPS, ROWS).session(
            project.place, begins("x") | {"execution.runtime-mode": "streaming"}
        )
        for text in (
            "CREATE TABLE p (auction BIGINT) WITH ('connector' = 'blackhole')",
            "INSERT INTO p SELECT auction FROM t",
        ):
            list(session.execute(text))


@pytest.mark.parametrize("nth", [1, 2])
def test_a_fault_while_it_is_brought_here(project: Project, nth: int) -> None:
    path = saved(project, **{"parallelism.default": "2"})
    faults.arm(f"mid-recovery:{nth}:raise")
    try:
        with pytest.raises(RunError, match="fault"):
            project.run("b", GROUPS, **begins(path))
    finally:
        faults.arm(NEVER)
    assert project.run("b", GROUPS, **begins(path)) == "FINISHED"
    assert project.rows() == project.expected(GROUPS)


# ---- by themselves


def test_periodic_ones(project: Project) -> None:
    there = project.place / "saved"
    by_hand: list[Future[Savepoint]] = []
    options = {
        "execution.checkpointing.savepoint-dir": str(there),
        "execution.checkpointing.savepoint.interval": "1 ms",
        "execution.checkpointing.savepoint.num-retained": "2",
    }
    assert project.run("a", GROUPS, 3, lambda job: by_hand.append(job.savepoint()), **options) == "FINISHED"
    records = [SavedRows(str(p), project.place).record for p in there.iterdir()]
    assert Counter(r.origin for r in records) == {"PERIODIC": 2, "MANUAL": 1}
    assert Path(by_hand[0].result().path).exists()


# ---- by statement


def rows_of(session: Session, text: str) -> list[dict[str, Any]]:
    (result,) = session.execute(text)
    return [row for batch, _ in result.batches() for row in batch.to_pylist()] if result.schema is not None else []


def test_statements_about_a_job_that_does_not_run(project: Project) -> None:
    assert project.run("a", GROUPS, 6) == "CANCELED"
    session = Session(working_directory=str(project.place / "a"))
    with pytest.raises(BindError, match="of which job"):
        rows_of(session, "CREATE SAVEPOINT 'saved'")
    with pytest.raises(OptionError, match="where is the savepoint"):
        rows_of(session, "CREATE SAVEPOINT FOR JOB 'a'")
    with pytest.raises(RunError, match="job a is not running"):
        rows_of(session, "STOP JOB 'a'")
    with pytest.raises(OptionError, match="no job 'ab'"):
        rows_of(session, "STOP JOB 'ab' WITH SAVEPOINT")
    rows_of(session, "SET 'pipeline.name' = 'a'")
    rows_of(session, "SET 'execution.checkpointing.savepoint-dir' = 'there'")
    made = [rows_of(session, text) for text in ("CREATE SAVEPOINT 'saved'", "CREATE SAVEPOINT FOR JOB 'a'")]
    paths = [Path(row["savepoint path"]) for (row,) in made]
    assert [p.parent for p in paths] == [project.place / "a" / "saved", project.place / "a" / "there"]
    assert project.run("b", GROUPS, **begins(paths[0])) == "FINISHED"
    assert project.rows() == project.expected(GROUPS)


@pytest.mark.parametrize("drain", [False, True])
def test_statements_about_a_job_that_runs(project: Project, drain: bool) -> None:
    """In a thread of this process; it is asked as it would be from another one."""
    faults.arm(None)
    (project.place / "in").mkdir()
    shutil.move(project.place / "in.json", project.place / "in" / "1.json")
    project.setup = (
        project.setup[0]
        .replace("in.json", "in")
        .replace("'format'", "'source.monitor-interval' = '10 ms', 'format'", 1),
    )
    running, states = threading.Event(), list[str]()

    def run() -> None:
        more = {"execution.checkpointing.savepoint-dir": str(project.place / "there")}
        states.append(project.run("a", WINDOWS, 3, lambda job: running.set(), **more))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert running.wait(60)
        session = Session(working_directory=str(project.place / "a"))
        (made,) = rows_of(session, "CREATE SAVEPOINT FOR JOB 'a' 'saved'")
        assert Path(made["savepoint path"]).parent == project.place / "a" / "saved"
        assert thread.is_alive()
    finally:
        (last,) = rows_of(session, f"STOP JOB 'a' WITH SAVEPOINT {'WITH DRAIN' if drain else ''}")
        thread.join(60)
    assert states == ["FINISHED"] and Path(last["savepoint path"]).parent == project.place / "there"
    assert SavedRows(last["savepoint path"], project.place).record.drained == drain


# ---- state as tables


def session_at(project: Project, name: str, **options: str) -> Session:
    return Session(working_directory=str(project.place / name), options=options)


@pytest.mark.parametrize("options", [{"state.backend.type": "hashmap"}, {"parallelism.default": "2"}], ids=str)
@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_the_state_of_a_job_in_a_query(project: Project, options: dict[str, str], mode: str) -> None:
    path = saved(project, **options)
    read = SavedRows(str(path), project.place).record.metrics["rows_in"]
    expected = sorted(Counter(i % 37 for i in range(read)).items())
    session = session_at(project, "a", **{"execution.runtime-mode": mode})
    for named in ("a", f"{path}", f"saved/{path.name}"):
        (listed,) = rows_of(session, f"SELECT * FROM sqlstream.state('{named}')")
        assert (listed["name"], listed["state"], listed["rows"]) == ("GroupAggregate", "groups", len(expected))
        assert listed["operator"].startswith("GroupAggregate-") and listed["columns"].startswith(
            "auction BIGINT, count BIGINT"
        )
        assert listed["bytes"] > 0 and listed["oldest"] is None
        for operator in ("GroupAggregate", listed["operator"]):
            text = f"SELECT auction, `count` FROM sqlstream.state('{named}', '{operator}') WHERE auction >= 5 ORDER BY auction"
            if mode == "streaming":
                text = text.removesuffix(" ORDER BY auction")
            rows = rows_of(session, text)
            assert sorted((r["auction"], r["count"]) for r in rows) == [e for e in expected if e[0] >= 5]
        (sums,) = rows_of(
            session, f"SELECT COUNT(*) AS n, SUM(`count`) AS s FROM sqlstream.state('{named}', 'GroupAggregate') AS g"
        )[-1:]
        assert (sums["n"], sums["s"]) == (len(expected), read)


def test_checkpoints_before(project: Project) -> None:
    assert project.run("a", GROUPS, 9, **{"execution.checkpointing.num-retained": "4"}) == "CANCELED"
    session = session_at(project, "a")
    with pytest.raises(CheckpointError, match=r"checkpoint 99 of job a is not kept: there are (\d+, ){3}\d+\n") as e:
        rows_of(session, "SELECT * FROM sqlstream.state('a', checkpoint => 99)")
    numbers = [int(n) for n in re.findall(r"\d+", e.value.message.split("there are")[1])]
    sums = []
    for n in numbers:
        (row,) = rows_of(
            session, f"SELECT SUM(`count`) AS s FROM sqlstream.state('a', 'GroupAggregate', checkpoint => {n})"
        )
        sums.append(row["s"])
    assert sums == sorted(sums) and sums[0] < sums[-1] < ROWS


def test_several_states(project: Project) -> None:
    join = "SELECT a.auction, b.price FROM t AS a JOIN t AS b ON a.auction = b.auction"
    assert project.run("a", join, 5) == "CANCELED"
    session = session_at(project, "a")
    listed = rows_of(session, "SELECT * FROM sqlstream.state('a')")
    assert [(r["name"], r["state"]) for r in listed] == [("Join", "left"), ("Join", "right")]
    with pytest.raises(BindError, match="several states: left, right"):
        rows_of(session, "SELECT * FROM sqlstream.state('a', 'Join')")
    (left,) = rows_of(session, "SELECT COUNT(*) AS n FROM sqlstream.state('a', 'Join', 'left')")
    assert left["n"] == listed[0]["rows"] > 0


@pytest.mark.parametrize(
    "call, message",
    [
        ("'none'", "no job 'none'"),
        ("'a', 'Joni'", "has no operator 'Joni' with state"),
        ("'a', 'GroupAggregate', 'x'", "has no state 'x'"),
        ("", "of which job"),
        ("'a', checkpoint => 'x'", "CHECKPOINT is a number"),
        ("1", "JOB is a string"),
        ("'a', what => 1", "has no argument WHAT"),
        ("'a', state => 'groups'", "a state is an operator's"),
    ],
)
def test_wrong_calls(project: Project, call: str, message: str) -> None:
    assert project.run("a", GROUPS, 3) == "CANCELED"
    with pytest.raises(SqlStreamError, match=re.escape(message)):
        rows_of(session_at(project, "a"), f"SELECT * FROM sqlstream.state({call})")


def test_the_oldest_row(project: Project) -> None:
    before = time.time()
    assert project.run("a", GROUPS, 5, **{"table.exec.state.ttl": "1 h"}) == "CANCELED"
    (listed,) = rows_of(session_at(project, "a"), "SELECT oldest FROM sqlstream.state('a')")
    assert before - 1 <= listed["oldest"].timestamp() <= time.time()


@pytest.mark.parametrize("savepoint", [True, False])
def test_partitions_that_are_not_complete_yet(project: Project, savepoint: bool) -> None:
    """Those in which the first job has written get their success files from the second one."""
    out = project.place / "days"
    sink = (
        "CREATE TABLE days (price DECIMAL(10, 2), hour STRING) PARTITIONED BY (hour) WITH ('connector' = 'filesystem', "
        f"'path' = '{out}', 'format' = 'json', 'sink.partition-commit.policy.kind' = 'success-file', "
        "'sink.partition-commit.trigger' = 'partition-time', 'sink.partition-commit.delay' = '1 h', "
        "'partition.time-extractor.timestamp-pattern' = '2026-01-01 $hour:00:00')"
    )
    insert = "INSERT INTO days SELECT price, DATE_FORMAT(`at`, 'HH') FROM t"

    def run(name: str, at: int | None, **options: str) -> None:
        def watch(progress: Progress) -> None:
            assert session.current_job is not None
            if progress.epoch == at:
                session.current_job.stop(savepoint="saved" if savepoint else None)

        (project.place / name).mkdir()
        settings = {"execution.runtime-mode": "streaming", "pipeline.name": name, **MOST, **options}
        session = Session(options=settings, working_directory=str(project.place / name), on_progress=watch)
        for text in (*project.setup, sink, insert):
            list(session.execute(text))

    run("a", 3)  # all rows of the first hour, and none of the next
    partitions = {p.name for p in out.glob("hour=*")}
    assert partitions == {"hour=00"} and not list(out.glob("*/_SUCCESS"))
    if savepoint:
        (begin,) = (project.place / "a" / "saved").iterdir()
    else:
        found = (project.place / "a" / ".sqlstream" / "a" / "runs").glob("*/chk-*")
        begin = max(found, key=lambda p: int(p.name[4:]))
    run("b", 9, **begins(begin))
    assert (out / "hour=00" / "_SUCCESS").exists()
    assert {p.parent.name for p in out.glob("*/_SUCCESS")} < {p.name for p in out.glob("hour=*")}
