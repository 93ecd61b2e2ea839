"""table.exec.state.ttl and hint STATE_TTL in jobs whose clock the tests drive: an epoch takes one row, and row n (from 0)
of the one file comes n * 10 s after the first, however often the job was stopped in between."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqlstream.clock import SystemClock
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

STEP = 10  # seconds
ONE = {"execution.runtime-mode": "streaming", "execution.epoch.max-rows": "1"}


class RowClock(SystemClock):
    """It is STEP later with each row that was read (`watch`)."""

    def __init__(self, step: float = STEP) -> None:
        super().__init__()
        self.step, self.rows_in = step, 0

    def now(self) -> int:
        return 1_700_000_000_000_000 + int(self.rows_in * self.step * 1_000_000)

    def rows(self, split: int, first: int, count: int) -> np.ndarray:
        return np.full(count, self.now(), np.int64)

    def watch(self, progress: Progress) -> None:
        self.rows_in = progress.rows_in


def session(place: Path, options: dict[str, str], clock: RowClock | None = None, **more: Any) -> Session:
    clock = clock or RowClock()
    return Session(None, ONE | options, str(place), clock, **({"on_progress": clock.watch} | more))


def run(s: Session, sql: str) -> Any:
    *_, last = list(s.execute(sql))
    return last


def table(place: Path, columns: str, rows: Sequence[Any], format: str = "json") -> str:
    """One file, and the statement that makes a table of it."""
    (place / "in").mkdir(exist_ok=True)
    (place / "in" / "rows.json").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return (
        f"CREATE TABLE t ({columns}) WITH ('connector' = 'filesystem', 'path' = '{place}/in', 'format' = '{format}');"
    )


def changes(result: Any) -> list[tuple[Any, ...]]:
    out = []
    for b, kinds in result.batches():
        rows = [tuple(r.values()) for r in b.to_pylist()]
        given = ["+I"] * len(rows) if kinds is None else [("+I", "-U", "+U", "-D")[k] for k in kinds]
        out += [(k, *r) for k, r in zip(given, rows, strict=True)]
    return out


def written(place: Path) -> list[tuple[Any, ...]]:
    """What a debezium-json sink holds, by checkpoint, task and file."""
    files = sorted(place.glob("part-*"), key=lambda f: [int(f.stem.split("-")[i]) for i in (-2, -3, -1)])
    records = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [(r["op"], *(r["after"] or r["before"]).values()) for r in records]


KEYS = [{"k": k, "v": v} for k, v in [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5), ("a", 6), ("a", 7)]]
# a at 0, 20, 50, 60 s; b at 10, 40; c at 30


@pytest.mark.parametrize("parallelism", ["1", "3"])
def test_groups_begin_anew(tmp_path: Path, parallelism: str) -> None:
    s = session(tmp_path, {"table.exec.state.ttl": "30 s", "parallelism.default": parallelism})
    run(s, table(tmp_path, "k STRING, v INT", KEYS))
    assert changes(run(s, "SELECT k, SUM(v) FROM t GROUP BY k")) == [
        ("+I", "a", 1), ("+I", "b", 2), ("-U", "a", 1), ("+U", "a", 4), ("+I", "c", 4),
        ("+I", "b", 5),  # 30 s after it was written
        ("+I", "a", 6), ("-U", "a", 6), ("+U", "a", 13),  # 30 s after 20
    ]  # fmt: skip


def test_a_hint_wins_over_the_option(tmp_path: Path) -> None:
    s = session(tmp_path, {"table.exec.state.ttl": "1 ms"}, clock := RowClock())
    run(s, table(tmp_path, "k STRING, v INT", KEYS))
    hinted = changes(run(s, "SELECT /*+ STATE_TTL('t' = '31 s') */ k, COUNT(*) FROM t GROUP BY k"))
    assert [c for c in hinted if c[1] == "b"] == [("+I", "b", 1), ("-U", "b", 1), ("+U", "b", 2)]
    clock.rows_in = 0
    for_ever = changes(run(s, "SELECT /*+ STATE_TTL('x' = '0 s') */ k, COUNT(*) FROM t AS x GROUP BY k"))
    assert for_ever[-1] == ("+U", "a", 4)
    clock.rows_in = 0
    assert {c[0] for c in changes(run(s, "SELECT k, COUNT(*) FROM t GROUP BY k"))} == {"+I"}


def test_batch_knows_none(tmp_path: Path) -> None:
    s = session(tmp_path, {"table.exec.state.ttl": "1 ms", "execution.runtime-mode": "batch"})
    run(s, table(tmp_path, "k STRING, v INT", KEYS))
    rows = changes(run(s, "SELECT /*+ STATE_TTL('t' = '1 ms') */ k, COUNT(*) FROM t GROUP BY k"))
    assert sorted(rows) == [("+I", "a", 4), ("+I", "b", 2), ("+I", "c", 1)]


CHANGES = [
    {"op": "c", "before": None, "after": {"k": "a", "v": 1}},
    {"op": "c", "before": None, "after": {"k": "b", "v": 1}},
    {"op": "c", "before": None, "after": {"k": "c", "v": 1}},
    {"op": "u", "before": {"k": "a", "v": 1}, "after": {"k": "a", "v": 5}},  # an epoch
    {"op": "d", "before": {"k": "b", "v": 1}, "after": None},
    {"op": "d", "before": {"k": "a", "v": 5}, "after": None},
]


def test_what_is_taken_back_too_late_is_dropped_counted_and_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    s = session(tmp_path, {"table.exec.state.ttl": "25 s"}, on_message=said.append)
    run(s, table(tmp_path, "k STRING, v INT", CHANGES, "debezium-json"))
    result = run(s, "SELECT k, SUM(v) FROM t GROUP BY k")
    assert changes(result) == [("+I", "a", 1), ("+I", "b", 1), ("+I", "c", 1), ("+I", "a", 5), ("-D", "a", 5)]
    assert result.progress.lost_changes == 2
    assert len([m for m in said if "taken back whose state is over" in m]) == 1


AGAIN = [{"k": k, "v": v} for k, v in [(None, 1), ("a", 2), (None, 3), ("a", 4)]]  # the least of each is as it was


@pytest.mark.parametrize(
    "query",
    [
        "SELECT t.k, t.v FROM t LEFT JOIN n ON t.k = n.k",
        "SELECT t.k, t.v FROM n RIGHT JOIN t ON t.k = n.k",
        "SELECT t.k, t.v FROM t FULL JOIN n ON t.k = n.k",
        "SELECT t.k, t.v FROM t WHERE NOT EXISTS (SELECT 1 FROM n WHERE n.k = t.k)",
        "SELECT t.k, t.v FROM t LEFT JOIN n ON t.k IS NOT DISTINCT FROM n.k",
    ],
)
def test_a_row_without_a_key_that_is_said_again_does_not_come_twice(tmp_path: Path, query: str) -> None:
    """The row (NULL, 1) equals no row of the other side, so that no join keeps it; `n` has no rows."""
    s = session(tmp_path, {"table.exec.state.ttl": "1000 d"})
    run(s, table(tmp_path, "k STRING, v INT", AGAIN).replace("TABLE t", "TABLE r"))
    run(s, "CREATE VIEW t AS SELECT k, MIN(v) AS v FROM r GROUP BY k")
    run(s, "CREATE VIEW n AS SELECT k FROM r WHERE v > 10")
    left: Counter[tuple[Any, ...]] = Counter()
    for kind, *row in changes(run(s, query)):
        left[tuple(row)] += 1 if kind in ("+I", "+U") else -1
    assert +left == Counter([(None, 1), ("a", 2)])
    assert -left == Counter()


def job(
    clock: RowClock, place: Path, sql: str, options: dict[str, str], after: int | None = None, **more: Any
) -> Progress:
    """One run of a job, stopped after so many rows; it resumes in the next run."""

    def watch(progress: Progress) -> None:
        clock.watch(progress)
        if after is not None and progress.rows_in >= after:
            assert s.current_job is not None
            s.current_job.stop()

    options = {"pipeline.name": "job", "execution.checkpointing.interval": "0"} | options
    s = session(place, options, clock, on_progress=watch, **more)
    progress: Progress = run(s, sql).progress
    return progress


def grouping(place: Path, rows: Sequence[Any]) -> str:
    out = f"'connector' = 'filesystem', 'path' = '{place}/out', 'format' = 'debezium-json'"
    return (
        table(place, "k STRING, v INT", rows)
        + f"""
        CREATE TABLE o (k STRING, n BIGINT) WITH ({out});
        INSERT INTO o SELECT k, SUM(v) FROM t GROUP BY k;"""
    )


@pytest.mark.parametrize("interval", ["0", "1 ms"])
def test_the_time_of_the_last_write_survives_a_restart(tmp_path: Path, interval: str) -> None:
    more = [{"k": "x", "v": 1}] * 3
    rows = [
        {"k": "b", "v": 1},
        *more,
        {"k": "b", "v": 2},
        *more,
        {"k": "x", "v": 1},
        {"k": "b", "v": 4},
        {"k": "b", "v": 5},
    ]
    options = {"table.exec.state.ttl": "50 s", "execution.checkpointing.interval": interval}
    sql, clock = grouping(tmp_path, rows), RowClock()
    assert job(clock, tmp_path, sql, options, after=6).state == "CANCELED"
    assert job(clock, tmp_path, sql, options | {"parallelism.default": "2"}).state == "FINISHED"
    totals = sorted(r[2] for r in written(tmp_path / "out") if r[1] == "b" and r[0] == "c")
    assert totals == [1, 3, 4, 9]  # at 0, at 40; at 90 it begins anew, and goes on at 100


def test_another_time_is_taken_up(tmp_path: Path) -> None:
    rows = [{"k": "b", "v": 1}, *[{"k": "x", "v": 0}] * 5, {"k": "b", "v": 2}]
    sql, clock = grouping(tmp_path, rows), RowClock()
    job(clock, tmp_path, sql, {"table.exec.state.ttl": "1 d"}, after=2)
    job(clock, tmp_path, sql, {"table.exec.state.ttl": "20 s"})
    assert [r for r in written(tmp_path / "out") if r[1] == "b"] == [("c", "b", 1), ("c", "b", 2)]


BACKENDS = [
    {"state.backend.type": "hashmap"},
    {"state.backend.type": "rocksdb"},
    {"state.backend.type": "rocksdb", "state.backend.hot-rows": "1", "state.changelog.enabled": "false"},
    {"state.backend.type": "rocksdb", "execution.checkpointing.incremental": "false"},
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("parallelism", ["1", "2"])
def test_rows_without_a_time_get_one(tmp_path: Path, backend: dict[str, str], parallelism: str) -> None:
    """They count as written when the job is restored, at 20 s: b comes again at 40 and at 50, c at 60."""
    keys = ["b", "c", "x", "x", "b", "a", "c"]
    sql, clock, said = grouping(tmp_path, [{"k": k, "v": 1} for k in keys]), RowClock(), []
    job(clock, tmp_path, sql, backend, after=2)
    more = {"table.exec.state.ttl": "35 s", "parallelism.default": parallelism}
    job(clock, tmp_path, sql, backend | more, on_message=said.append)
    assert [r for r in written(tmp_path / "out") if r[1] == "b"] == [("c", "b", 1), ("d", "b", 1), ("c", "b", 2)]
    assert [r for r in written(tmp_path / "out") if r[1] == "c"] == [("c", "c", 1), ("c", "c", 1)]
    assert len([m for m in said if "live for a time from now on" in m]) == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("parallelism", ["1", "2"])
def test_rows_with_a_time_lose_it(tmp_path: Path, backend: dict[str, str], parallelism: str) -> None:
    """What is over by then is gone: b, written at 0. c goes on for ever."""
    keys = ["b", "c", "x", "x", "x", "b", "x", "x", "x", "c"]
    sql, clock, said = grouping(tmp_path, [{"k": k, "v": 1} for k in keys]), RowClock(), []
    job(clock, tmp_path, sql, backend | {"table.exec.state.ttl": "25 s"}, after=3)
    assert clock.rows_in == 3
    job(clock, tmp_path, sql, backend | {"parallelism.default": parallelism}, on_message=said.append)
    assert [r for r in written(tmp_path / "out") if r[1] == "c"] == [("c", "c", 1), ("d", "c", 1), ("c", "c", 2)]
    assert len([m for m in said if "live for ever from now on" in m]) == 1


def test_a_hint_comes_and_goes(tmp_path: Path) -> None:
    """Of one input of a join, whose rows lie in a log that stays without it."""
    rows = [{"k": k, "v": i} for i, k in enumerate("abcaxxxxxa")]

    def sql(hint: str) -> str:
        made = table(tmp_path, "k STRING, v INT", rows)
        out = f"'connector' = 'filesystem', 'path' = '{tmp_path}/out', 'format' = 'json'"
        query = f"SELECT {hint} p.v, q.v FROM t AS p JOIN t AS q ON p.k = q.k AND p.v < q.v"
        return f"{made} CREATE TABLE o (a INT, b INT) WITH ({out}); INSERT INTO o {query};"

    clock, forgets = RowClock(), "/*+ STATE_TTL('p' = '35 s') */"
    job(clock, tmp_path, sql(""), {}, after=2)
    job(clock, tmp_path, sql(forgets), {}, after=6)  # a of 0 s counts as written at 20 s; that of 30 s is over at 65 s
    job(clock, tmp_path, sql(""), {})
    lines = [line for f in sorted((tmp_path / "out").glob("part-*")) for line in f.read_text().splitlines()]
    pairs = [tuple(json.loads(line).values()) for line in lines]
    assert [x for x in pairs if x[0] in (0, 3)] == [(0, 3), (3, 9)]


QUERIES = {
    "group": ("SELECT k, SUM(v) AS n FROM t GROUP BY k", "k STRING, n INT"),
    "distinct values": ("SELECT k, COUNT(DISTINCT v) AS n FROM t GROUP BY k", "k STRING, n BIGINT"),
    "join": ("SELECT a.k, b.v AS n FROM t a JOIN t b ON a.k = b.k WHERE a.v < b.v", "k STRING, n INT"),
    "left join": ("SELECT a.k, b.v AS n FROM t a LEFT JOIN t b ON a.k = b.k AND a.v + 1 = b.v", "k STRING, n INT"),
    "first": (
        "SELECT k, v AS n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY p) AS r FROM t) WHERE r = 1",
        "k STRING, n INT",
    ),
    "top": (
        "SELECT k, v AS n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) AS r FROM t) WHERE r <= 2",
        "k STRING, n INT",
    ),
    "over": ("SELECT k, COUNT(*) OVER (PARTITION BY k ORDER BY p) AS n FROM t", "k STRING, n BIGINT"),
    "group of groups": (
        "SELECT CAST(n AS STRING) AS k, COUNT(*) AS n FROM (SELECT k, COUNT(*) AS n FROM t GROUP BY k) GROUP BY n",
        "k STRING, n BIGINT",
    ),
}


def into_file(place: Path, made: str, name: str) -> str:
    """A script: one of QUERIES over the table that is `made`, into a changelog in the directory `place`."""
    query, columns = QUERIES[name]
    out = f"'connector' = 'filesystem', 'path' = '{place}/out', 'format' = 'debezium-json'"
    return f"{made} CREATE TABLE o ({columns}) WITH ({out}); INSERT INTO o {query};"


def said(place: Path) -> Counter[tuple[Any, ...]]:
    """How often each row was added to that and not taken back."""
    left: Counter[tuple[Any, ...]] = Counter()
    for op, *row in written(place / "out"):
        left[tuple(row)] += 1 if op == "c" else -1
    return +left


@pytest.mark.parametrize("name", QUERIES)
def test_a_job_that_was_stopped_and_goes_on_elsewhere_says_the_same(tmp_path: Path, name: str) -> None:
    """At other parallelisms, over 60 rows of keys that come again soon or late, with next to no row in memory."""
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    rows = [{"k": rng.choice("aaabbcdefgh"), "v": rng.randrange(5)} for _ in range(60)]
    options = {"table.exec.state.ttl": "35 s"}

    def sql(place: Path) -> str:
        return into_file(place, table(tmp_path, "k STRING, v INT, p AS PROCTIME()", rows), name)

    whole, broken, clock = tmp_path / "whole", tmp_path / "broken", RowClock()
    for place in (whole, broken):
        place.mkdir()
    job(RowClock(), whole, sql(whole), options)
    options |= {"state.backend.hot-rows": "1", "execution.checkpointing.interval": "1 ms",
                "state.changelog.periodic-materialize.interval": "1 ms"}  # fmt: skip
    for after in (rng.randrange(1, 30), rng.randrange(30, 60), None):
        job(clock, broken, sql(broken), options | {"parallelism.default": rng.choice(["1", "2", "3"])}, after)
    assert said(broken) == said(whole), seed


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
@pytest.mark.parametrize("name", QUERIES)
def test_a_time_that_comes_and_goes_loses_nothing(tmp_path: Path, name: str, backend: str) -> None:
    """One so long that nothing is over: with it or without, the answer is that without."""
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    rows = [{"k": rng.choice("aaabbcdefgh"), "v": rng.randrange(5)} for _ in range(50)]

    def sql(place: Path) -> str:
        return into_file(place, table(tmp_path, "k STRING, v INT, p AS PROCTIME()", rows), name)

    whole, broken, clock = tmp_path / "whole", tmp_path / "broken", RowClock()
    for place in (whole, broken):
        place.mkdir()
    job(RowClock(), whole, sql(whole), {})
    options = {"state.backend.type": backend, "execution.checkpointing.interval": "1 ms"}
    if backend == "rocksdb":
        options |= {"state.backend.hot-rows": "1", "state.changelog.periodic-materialize.interval": "1 ms"}
    for after, ttl in ((11, "0"), (22, "1 d"), (33, "2 d"), (44, "0"), (None, "1 d")):
        job(
            clock,
            broken,
            sql(broken),
            options | {"table.exec.state.ttl": ttl, "parallelism.default": rng.choice("12")},
            after,
        )
    assert said(broken) == said(whole), seed


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_a_job_that_is_started_again_and_again_forgets_what_is_over(tmp_path: Path, backend: str) -> None:
    """Ever new keys, of which a time to live has six; each run of the job has five of them, and one checkpoint."""
    sql, clock = grouping(tmp_path, [{"k": f"key {i}", "v": 1} for i in range(60)]), RowClock()
    options = {
        "table.exec.state.ttl": "60 s",
        "state.backend.type": backend,
        "state.changelog.enabled": "false",
        "execution.checkpointing.interval": "0",
    }
    for after in range(5, 60, 5):
        job(clock, tmp_path, sql, options, after)
    ((_, kept),) = changes(run(session(tmp_path, {}), "SELECT `rows` FROM sqlstream.state('job')"))
    assert kept < 24  # those of twice the time, and what came since the last sweep


def test_state_stays_flat_under_ever_new_keys(tmp_path: Path) -> None:
    """60,000 keys, of which a time to live has 2,000."""
    clock, sizes = RowClock(step=0.001), []

    def watch(progress: Progress) -> None:
        clock.watch(progress)
        assert s.current_job is not None
        (worker,) = s.current_job._workers
        sizes.append(sum(t.capacity for o in worker.tables.values() for t in o.tables.values()))

    options = {"table.exec.state.ttl": "2 s", "execution.epoch.max-rows": "500"}
    s = session(tmp_path, options, clock, on_progress=watch)
    sequence = "'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '60000'"
    run(s, f"""CREATE TABLE g (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '60000', {sequence});
               CREATE TABLE nothing (id BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
               INSERT INTO nothing SELECT id, COUNT(*) FROM g GROUP BY id""")  # fmt: skip
    assert len(sizes) > 100 and max(sizes) == max(sizes[: len(sizes) // 4]) <= 4096
