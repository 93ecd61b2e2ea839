"""The ways to run a query. Each gives a `Fold`: the final rows, every change checked on the way.

batch       DuckDB
streaming   epochs of random sizes
parallel    the same in three tasks, with no memory for state: what outgrows its first 256 rows lies in mapped files
restored    an INSERT job into a debezium-json sink, stopped at a checkpoint after some epochs and restored
            at another parallelism and with another state backend, perhaps twice; the sink's files read back in the order of
            their checkpoints. Between two checkpoints only rows change whose slots were given out
moved       the same, but that it is stopped with a savepoint, which is moved, and another job goes on from it elsewhere
"""

from __future__ import annotations

import json
import random
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from harness.copies import held_to_given
from harness.decoding import switched
from harness.rows import Fold, Row, rows_of, value
from sqlstream import duck
from sqlstream.batches import Kind
from sqlstream.clock import Clock, PositionClock, SystemClock
from sqlstream.errors import SqlStreamError
from sqlstream.optimize import optimize
from sqlstream.plan.columns import unique_names
from sqlstream.rendering.relations import BatchRenderer
from sqlstream.rendering.scans import source_sql
from sqlstream.results import Result
from sqlstream.runtime.job import Job
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script
from sqlstream.state.memory import MEMORY
from sqlstream.types import Schema

START = 1_700_000_000_000_000  # PositionClock's, µs


@dataclass(frozen=True)
class Case:
    """One query: `setup` statements (tables among them), the SELECT without `;`, rows of input about.

    zone: the session's, unless `setup` sets another. single: every epoch takes one row.
    """

    setup: Sequence[str]
    sql: str
    rows: int = 100
    step_ms: int | None = None  # PositionClock's step; None: the system's clock
    zone: str = "UTC"
    single: bool = False

    def clock(self) -> Clock:
        return SystemClock() if self.step_ms is None else PositionClock(START, self.step_ms * 1000)

    def session(self, directory: Path, options: dict[str, str], **more: object) -> Session:
        options = {"table.local-time-zone": self.zone} | options
        session = Session(None, options, str(directory), self.clock(), **more)  # type: ignore[arg-type]
        for text in self.setup:
            for _ in session.execute(text):
                pass
        return session


@dataclass(frozen=True)
class Answer:
    fold: Fold
    late: int = 0
    epochs: int = 0

    @property
    def schema(self) -> Schema:
        return self.fold.schema


def batch(case: Case, directory: Path) -> tuple[Answer, list[Row]]:
    """DuckDB's answer, and its rows in order."""
    session = case.session(directory, {"execution.runtime-mode": "batch"})
    if case.step_ms is not None:
        return _batch_by_position(session, case)
    result = _only(session, case.sql)
    assert result.schema is not None
    fold = Fold(result.schema)
    rows: list[Row] = []
    for b, _ in result.batches():
        rows += rows_of(b, result.schema)
    fold.apply(rows, None)
    return Answer(fold), rows


def _batch_by_position(session: Session, case: Case) -> tuple[Answer, list[Row]]:
    """The batch renderer's SQL, with PROCTIME() as PositionClock has it: by the row's place in its one file."""
    (statement,) = parse_script(case.sql)
    assert isinstance(statement, st.Select) and case.step_ms is not None
    plan = session.environment.bind(statement.query)
    zone = session.settings.time_zone
    con = duck.connect(1, zone)
    try:
        now = f"({START} + (row_number() OVER () - 1) * {case.step_ms * 1000})"
        sql = BatchRenderer(source_sql(con, now, zone), zone=zone).sql(optimize(plan))  # type: ignore[arg-type]
        fold = Fold(plan.schema)
        rows: list[Row] = []
        for b in con.sql(sql).to_arrow_reader(65536):
            rows += rows_of(b, plan.schema)
        fold.apply(rows, None)
        return Answer(fold), rows
    finally:
        con.close()


def parallel(case: Case, directory: Path, rng: random.Random) -> Answer:
    """Every array of state that grows goes to a file at once, instead of those that exceed the budget."""
    smallest, MEMORY.smallest = MEMORY.smallest, 1
    try:
        return streaming(case, directory, rng, 3, {"taskmanager.memory.managed.size": "0"})
    finally:
        MEMORY.smallest = smallest


def streaming(
    case: Case, directory: Path, rng: random.Random, parallelism: int = 1, options: dict[str, str] | None = None
) -> Answer:
    """JSON and CSV are read by their scanners in one task, and without them in several."""
    with switched("on" if parallelism == 1 else "off"):
        return _streaming(case, directory, _options(case, rng, parallelism) | _chosen(rng) | (options or {}))


def _streaming(case: Case, directory: Path, options: dict[str, str]) -> Answer:
    session = case.session(directory, options)
    result = _only(session, case.sql)
    assert result.schema is not None
    fold = Fold(result.schema)
    try:
        for b, kinds in result.batches():
            assert kinds is not None or result.append_only, "rows without kinds from a query whose rows can change"
            assert kinds is None or not result.append_only or not kinds.any(), "changes from an append-only query"
            fold.add(b, kinds)
    finally:
        result.close()
    progress = result.progress
    return Answer(fold, 0 if progress is None else progress.late_rows, 0 if progress is None else progress.epoch)


# Where the state of a run is: with rocksdb mostly out of memory, and folded all the time.
BACKENDS: tuple[dict[str, str], ...] = (
    {"state.backend.type": "hashmap"},
    {"state.backend.hot-rows": "0", "state.changelog.periodic-materialize.interval": "1 ms"},
    {"state.backend.hot-rows": "3", "state.changelog.enabled": "false"},
    {"state.backend.hot-rows": "1", "taskmanager.memory.managed.size": "1mb"},
)


def restored(case: Case, directory: Path, rng: random.Random) -> Answer:
    """The answer of a job that was stopped and restored, from its sink. What one run has read without a scanner another goes
    on from with it."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        place = Path(name)
        runs = 3 if rng.random() < 0.3 else 2
        parallelism = rng.choice([1, 2, 3])
        schema: Schema | None = None
        ttl = _chosen(rng)
        for run in range(runs):
            last = run == runs - 1
            options = (
                _options(case, rng, parallelism)
                | ttl
                | {
                    "execution.runtime-mode": "streaming",
                    "pipeline.name": "job",
                    "execution.checkpointing.interval": rng.choice(["0", "1 ms"]),
                    **rng.choice(BACKENDS),
                }
            )
            after = None if last else rng.randint(1, 5)
            with held_to_given(), switched("on" if run % 2 else "off"):
                progress, schema = insert(case, place, options, after)
            assert progress.state == "FINISHED" if last else progress.state in ("FINISHED", "CANCELED"), progress.state
            parallelism = rng.choice([p for p in (1, 2, 3) if p != parallelism])
        assert schema is not None
        return Answer(read_sink(place / "out", schema), progress.late_rows, progress.epoch)


def moved(case: Case, directory: Path, rng: random.Random) -> Answer:
    """The answer of a job, and of another one that went on from its savepoint, from their sink. In `directory`/saved-… the
    savepoint stays."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        place = Path(name)
        ttl, backends = _chosen(rng), rng.sample(BACKENDS, 2)
        first, second = rng.sample([1, 2, 3], 2)
        options = {"execution.runtime-mode": "streaming", "pipeline.name": "job"}
        before = {**options, **ttl, **backends[0], "execution.checkpointing.interval": rng.choice(["0", "1 ms"])}
        progress, schema = insert(
            case,
            place / "a",
            _options(case, rng, first) | before,
            rng.randint(1, 5),
            lambda job: job.stop(savepoint="saved"),
            out=place / "out",
        )
        assert progress.state == "FINISHED"
        saved = list((place / "a" / "saved").glob("savepoint-job-*")) if (place / "a" / "saved").exists() else []
        if saved:
            elsewhere = directory / f"saved-{place.name}"
            shutil.move(saved[0], elsewhere)
            shutil.rmtree(place / "a")
            after = {
                **options,
                **ttl,
                **backends[1],
                "pipeline.name": "other",
                "execution.state-recovery.path": str(elsewhere),
            }
            progress, schema = insert(case, place / "b", _options(case, rng, second) | after, out=place / "out")
            assert progress.state == "FINISHED"
        return Answer(read_sink(place / "out", schema), progress.late_rows, progress.epoch)


def insert(
    case: Case,
    place: Path,
    options: dict[str, str],
    stop_after: int | None = None,
    stop: Callable[[Job], object] = Job.stop,
    out: Path | None = None,
    **more: object,
) -> tuple[Progress, Schema]:
    """Runs the query as INSERT into `out` (`place`/out); asks it to stop after so many epochs, by `stop`."""
    epochs, out = 0, out or place / "out"

    def watch(progress: Progress) -> None:
        nonlocal epochs
        epochs += 1
        if epochs == stop_after:
            assert session.current_job is not None
            stop(session.current_job)

    place.mkdir(exist_ok=True)
    session = case.session(place, options, on_progress=watch, **more)
    (statement,) = parse_script(case.sql)
    assert isinstance(statement, st.Select)
    schema = session.environment.bind(statement.query).schema
    names = unique_names(schema)
    columns = ", ".join(f"`{n.replace('`', '``')}` {c.type}" for n, c in zip(names, schema, strict=True))
    sink = f"'connector' = 'filesystem', 'path' = '{out}', 'format' = 'debezium-json'"
    for _ in session.execute(f"CREATE TABLE sink_of_the_test ({columns}) WITH ({sink})"):
        pass
    result = _only(session, f"INSERT INTO sink_of_the_test {case.sql}")
    assert result.progress is not None
    return result.progress, schema


_PART = re.compile(r"part-.*-(\d+)-(\d+)-(\d+)(\.\w+)*")  # …-<task>-<checkpoint>-<n>


def read_sink(path: Path, schema: Schema) -> Fold:
    """Folds the files of a debezium-json sink: by checkpoint, within one task by task."""
    found = []
    for file in path.glob("*") if path.exists() else ():
        if file.name.startswith((".", "_")):
            continue
        m = _PART.fullmatch(file.name)
        assert m is not None, file.name
        task, checkpoint, n = (int(g) for g in m.groups()[:3])
        found.append((checkpoint, task, n, file))
    fold = Fold(schema)
    for *_, file in sorted(found, key=lambda f: f[:3]):
        rows, kinds = [], []
        for line in file.read_text().splitlines():
            record = json.loads(line, parse_float=Decimal)
            gone = record["op"] == "d"
            image = record["before" if gone else "after"]
            rows.append(tuple(value(v, c.type) for v, c in zip(image.values(), schema, strict=True)))
            kinds.append(int(Kind.DELETE if gone else Kind.INSERT))
        fold.apply(rows, kinds)
    return fold


def _options(case: Case, rng: random.Random, parallelism: int) -> dict[str, str]:
    """Epochs of random sizes, small enough that there are a few; aggregates in one phase or in two, between which a job may
    change."""
    return {
        "execution.runtime-mode": "streaming",
        "parallelism.default": str(parallelism),
        "execution.epoch.random-seed": str(rng.randrange(1, 2**31)),
        "execution.epoch.max-rows": "1" if case.single else str(max(2, case.rows // 4)),
        "table.optimizer.agg-phase-strategy": rng.choice(["ONE_PHASE", "TWO_PHASE", "TWO_PHASE"]),
    }


def _chosen(rng: random.Random) -> dict[str, str]:
    """Now and then rows of state live for a time that nothing reaches, or joins are one: then operators go other ways to the
    same answer. Of all runs of a job alike."""
    ttl = {"table.exec.state.ttl": "1000 d"} if rng.random() < 0.25 else {}
    return ttl | ({"table.optimizer.multi-join.enabled": rng.choice(["true", "false"])} if rng.random() < 0.5 else {})


def _only(session: Session, sql: str) -> Result:
    (result,) = session.execute(sql)
    return result


def failure(run: Callable[[], object]) -> SqlStreamError | None:
    """The error that `run` gives."""
    try:
        run()
    except SqlStreamError as e:
        return e
    return None
