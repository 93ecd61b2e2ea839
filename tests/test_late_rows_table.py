"""Late rows in a table ('table.exec.late-rows.sink'): exactly those that are late, once, with what is known of them.

Which rows are late is said by `test_late_rows.py`, from each row's watermark in its split, and not by the engine.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import kill
import pytest
from harness.seed import random_of, said
from test_late_rows import QUERIES, Input, Late, by_time, by_window, make, table

from sqlstream.errors import BindError, CheckpointError, SqlStreamError
from sqlstream.runtime.allowed import Allowed
from sqlstream.runtime.job import Job
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

OPTION = "table.exec.late-rows.sink"
OUT = "'connector' = 'filesystem', 'path' = 'out/{}', 'format' = 'json'"


def sink(name: str, columns: str) -> str:
    return f"CREATE TABLE {name} ({columns}) WITH ({OUT.format(name)});\n"


LATE = sink("late", "id INT, k INT, ts TIMESTAMP(3), late_watermark TIMESTAMP(3)")


def session(place: Path, options: dict[str, str] | None = None, **more: Any) -> Session:
    given = {"execution.runtime-mode": "streaming", OPTION: "late", **(options or {})}
    return Session(options=given, working_directory=str(place), **more)


def run(place: Path, script: str, options: dict[str, str] | None = None, **more: Any) -> Progress:
    """Runs a script; what its last job did."""
    progress = None
    for result in session(place, options, **more).execute(script):
        progress = result.progress or progress
    assert progress is not None
    return progress


def rows_of(place: Path, name: str = "late") -> list[dict[str, Any]]:
    found = kill.published(place / "out" / name) if (place / "out" / name).exists() else []
    return [json.loads(line) for p in found for line in p.read_text().splitlines()]


def ids(place: Path, name: str = "late") -> Counter[int]:
    return Counter(r["id"] for r in rows_of(place, name))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Input, Path]:
    directory = tmp_path_factory.mktemp("late")
    made = make(random_of("late table"))
    made.write(directory / "t")
    return made, directory


def insert(query: Late, directory: Path, late: str = LATE) -> str:
    """The query as a job; how its own columns are called does not matter."""
    return f"{table(directory / 't')};\n{late}{sink('o', OUTPUTS[query.name])}INSERT INTO o {query.sql};"


OUTPUTS = {
    "tumble": "k INT, e TIMESTAMP(3), n BIGINT, s INT",
    "cumulate": "k INT, e TIMESTAMP(3), n BIGINT, s INT",
    "session": "k INT, b TIMESTAMP(3), e TIMESTAMP(3), n BIGINT, s INT",
    "over": "id INT, n BIGINT",
    "bounded over": "id INT, s INT",
    "temporal join": "id INT, k INT, version INT",
}


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
def test_the_late_rows_are_in_the_table(query: Late, given: tuple[Input, Path], tmp_path: Path) -> None:
    made, directory = given
    expected = made.late(query)
    by_id = {r.id: r for r in made.rows}
    assert len(expected) > 20
    for n, (parallelism, epoch) in enumerate(((1, 1000), (3, 500))):
        place = tmp_path / str(n)
        place.mkdir()
        options = {"parallelism.default": str(parallelism), "execution.epoch.max-rows": str(epoch)}
        progress = run(place, insert(query, directory), options)
        assert progress.late_rows == len(expected)
        assert ids(place) == Counter(expected), said(query.name)
        for r in rows_of(place):
            was = by_id[r["id"]]
            assert seconds(r["ts"]) == was.ts and r["k"] == was.k
            assert seconds(r["late_watermark"]) == was.wm, "the watermark that it came after, in its split"


def seconds(text: str) -> float:
    from datetime import datetime

    return (datetime.fromisoformat(text) - datetime(2024, 1, 1)).total_seconds()


@pytest.mark.parametrize("backend", ["rocksdb", "hashmap"])
@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
def test_stopped_and_restored(query: Late, backend: str, given: tuple[Input, Path], tmp_path: Path) -> None:
    """By a stop, by a savepoint, and canceled; at other parallelism each time."""
    made, directory = given
    r = random_of("late table", query.name, backend)
    epochs = 0

    def watch(progress: Progress) -> None:
        nonlocal epochs
        epochs += 1
        if epochs == limit:
            job = running.current_job
            assert isinstance(job, Job)
            end(job)

    ends = (Job.stop, lambda job: job.stop("saved"), Job.cancel, None)
    for parallelism, end in zip((1, 3, 2, 3), ends, strict=True):
        epochs, limit = 0, r.randint(2, 4) if end is not None else -1
        options = {"pipeline.name": "j", "parallelism.default": str(parallelism), "state.backend.type": backend,
                   "execution.epoch.max-rows": "500", "execution.checkpointing.interval": "10 ms"}  # fmt: skip
        running = session(tmp_path, options, on_progress=watch)
        (*_, last) = running.execute(insert(query, directory))
        progress = last.progress
    assert progress is not None and progress.state == "FINISHED"
    assert ids(tmp_path) == Counter(made.late(query)), said(f"{query.name}, {backend}")
    assert progress.late_rows == len(made.late(query))


SET = """{table};
{late}
CREATE TABLE o (k INT, n BIGINT) WITH (%s);
CREATE TABLE p (id INT, n BIGINT) WITH (%s);
EXECUTE STATEMENT SET BEGIN
INSERT INTO o SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY k, window_start, window_end;
INSERT INTO p SELECT id, COUNT(*) OVER (PARTITION BY k ORDER BY ts) FROM t;
END;""" % (OUT.format("o"), OUT.format("p"))  # noqa: UP031  the braces are for what differs


@pytest.mark.parametrize("parallelism", [1, 3])
def test_of_a_statement_set(parallelism: int, given: tuple[Input, Path], tmp_path: Path) -> None:
    """A row may be late for several operators: it is there for each. The window does not read `id`."""
    made, directory = given
    late = sink("late", "id INT, k INT, ts TIMESTAMP(3), late_operator STRING, late_kind STRING")
    run(tmp_path, SET.format(table=table(directory / "t"), late=late), {"parallelism.default": str(parallelism)})
    by_operator: dict[str, list[dict[str, Any]]] = {}
    for r in rows_of(tmp_path):
        assert r["late_kind"] == "+I"
        by_operator.setdefault(r["late_operator"].rsplit("-", 1)[0], []).append(r)
    windows, over = by_operator["WindowAggregate"], by_operator["OverAggregate"]
    assert by_operator.keys() == {"WindowAggregate", "OverAggregate"}
    in_windows = by_window(5)(made.rows)
    wanted = Counter((r.k, r.ts) for r in made.rows if r.id in in_windows)
    assert Counter((r["k"], seconds(r["ts"])) for r in windows) == wanted
    assert Counter(r["id"] for r in over) == Counter(by_time(made.rows))


# ---- small inputs, looked at row by row


def write(place: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (place / name).mkdir(parents=True)
    (place / name / "0.json").write_text("".join(json.dumps(r) + "\n" for r in rows))


def source(name: str, columns: str, format_: str = "json") -> str:
    return f"CREATE TABLE {name} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{name}', 'format' = '{format_}');\n"


TIMED = "ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND"


def at(second: int) -> str:
    return f"2024-01-01 00:00:{second:02d}"


def test_both_inputs_of_a_window_join(tmp_path: Path) -> None:
    """By 18 s the windows up to 10 s have closed, in either table."""
    write(tmp_path, "l", [{"a": 1, "ts": at(20)}, {"a": 2, "ts": at(9)}, {"a": 3, "ts": at(10)}])
    write(tmp_path, "r", [{"b": 1, "ts": at(20)}, {"b": 5, "ts": at(11)}, {"b": 6, "ts": at(3)}, {"b": 7, "ts": at(4)}])
    window = "(SELECT * FROM TABLE(TUMBLE(TABLE {}, DESCRIPTOR(ts), INTERVAL '10' SECOND)))"
    script = (
        source("l", f"a INT, {TIMED}")
        + source("r", f"b INT, {TIMED}")
        + sink(
            "late", "a INT, b INT, window_end TIMESTAMP(3), late_watermark TIMESTAMP(3), late_event_time TIMESTAMP(3)"
        )
        + sink("o", "a INT, b INT")
        + f"INSERT INTO o SELECT l.a, r.b FROM {window.format('l')} l JOIN {window.format('r')} r ON l.a = r.b "
        "AND l.window_start = r.window_start AND l.window_end = r.window_end;"
    )
    progress = run(tmp_path, script)
    assert progress.late_rows == 3
    found = sorted((r["a"] or 0, r["b"] or 0, r["late_event_time"]) for r in rows_of(tmp_path))
    assert found == [(0, 6, at(3)), (0, 7, at(4)), (2, 0, at(9))]
    assert {(r["window_end"], r["late_watermark"]) for r in rows_of(tmp_path)} == {(at(10), at(18))}


def changes_in_windows(late: str) -> str:
    return (
        "CREATE TABLE t (id INT, v INT, " + TIMED + ") WITH ('connector' = 'filesystem', 'path' = 't', "
        "'format' = 'debezium-json');\n"
        + late
        + sink("o", "e TIMESTAMP(3), n BIGINT")
        + "INSERT INTO o SELECT window_end, SUM(v) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) "
        "GROUP BY window_start, window_end;"
    )


def test_changes_that_are_late_say_what_they_are(tmp_path: Path) -> None:
    """The update of a row in a closed window takes one row back and gives another: both are late."""
    old, new = {"id": 1, "v": 1, "ts": at(1)}, {"id": 1, "v": 5, "ts": at(1)}
    ahead = {"id": 2, "v": 2, "ts": at(30)}
    write(tmp_path, "t", [
        {"before": None, "after": old, "op": "c"}, {"before": None, "after": ahead, "op": "c"},
        {"before": old, "after": new, "op": "u"},
    ])  # fmt: skip
    run(tmp_path, changes_in_windows(sink("late", "v BIGINT, late_kind STRING")))
    assert Counter((r["late_kind"], r["v"]) for r in rows_of(tmp_path)) == Counter([("-U", 1), ("+U", 5)])
    assert sorted((r["e"], r["n"]) for r in rows_of(tmp_path, "o")) == [(at(10), 1), (at(40), 2)]


def test_changes_need_a_column_that_tells_them_apart(tmp_path: Path) -> None:
    write(tmp_path, "t", [])
    with pytest.raises(BindError, match="take others back") as e:
        run(tmp_path, changes_in_windows(sink("late", "v BIGINT")))
    assert "late_kind STRING" in (e.value.hint or "")


def test_an_own_column_of_that_name_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "t", [{"late_operator": "x", "ts": at(30)}, {"late_operator": "y", "ts": at(1)}])
    script = (
        source("t", f"late_operator STRING, {TIMED}")
        + sink("late", "late_operator STRING")
        + sink("o", "s STRING, n BIGINT")
        + "INSERT INTO o SELECT late_operator, COUNT(*) OVER (ORDER BY ts) FROM t;"
    )
    run(tmp_path, script)
    assert rows_of(tmp_path) == [{"late_operator": "y"}]


def test_local_time_and_partitions(tmp_path: Path) -> None:
    """TIMESTAMP_LTZ: watermarks are instants. The table of late rows may be partitioned, as any other."""
    write(tmp_path, "t", [{"k": "a", "ts": at(30)}, {"k": "b", "ts": at(1)}, {"k": "c", "ts": at(2)}])
    columns = "k STRING, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND"
    script = (
        f"CREATE TABLE t ({columns}) WITH ('connector' = 'filesystem', 'path' = 't', 'format' = 'json', "
        "'json.timestamp-format.standard' = 'SQL');\n"
        "CREATE TABLE late (late_watermark TIMESTAMP_LTZ(3), late_event_time TIMESTAMP_LTZ(3), k STRING) PARTITIONED BY (k) "
        f"WITH ({OUT.format('late')});\n"
        + sink("o", "k STRING, n BIGINT")
        + "INSERT INTO o SELECT k, COUNT(*) OVER (ORDER BY ts) FROM t;"
    )
    # JSON has TIMESTAMP_LTZ in UTC, with a Z
    text = (tmp_path / "t/0.json").read_text().replace('"}', 'Z"}')
    (tmp_path / "t/0.json").write_text(text)
    run(tmp_path, script, {"table.local-time-zone": "America/Los_Angeles"})
    found = {p.parent.name: json.loads(p.read_text()) for p in (tmp_path / "out/late").glob("k=*/part-*")}
    assert found.keys() == {"k=b", "k=c"}
    assert found["k=b"]["late_watermark"].startswith("2024-01-01 00:00:28")
    assert found["k=b"]["late_event_time"].startswith("2024-01-01 00:00:01")


def test_batch_has_no_late_rows(tmp_path: Path) -> None:
    """It has seen all rows before it looks at a window, as Flink's batch."""
    write(tmp_path, "t", [{"id": 1, "ts": at(30)}, {"id": 2, "ts": at(1)}])
    script = (
        source("t", f"id INT, {TIMED}")
        + sink("late", "id INT")
        + sink("o", "e TIMESTAMP(3), n BIGINT")
        + "INSERT INTO o SELECT window_end, COUNT(id) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) "
        "GROUP BY window_start, window_end;"
    )
    run(tmp_path, script, {"execution.runtime-mode": "batch"})
    assert rows_of(tmp_path) == []
    assert sorted((r["e"], r["n"]) for r in rows_of(tmp_path, "o")) == [(at(10), 1), (at(40), 1)]
    shutil.rmtree(tmp_path / "out")
    run(tmp_path, script)
    assert ids(tmp_path) == Counter([2])


# ---- what is refused


@pytest.mark.parametrize(
    "late, option, message, hint",
    [
        ("", "late", "there is no table or view 'late'", "tables and views: o, t"),
        (sink("late_rows", "id INT"), "late_row", "there is no table or view 'late_row'", "late_rows"),
        ("CREATE VIEW late AS SELECT 1 AS x;", "late", "'late' is a view", None),
        (sink("late", "id INT, kk INT"), "late", "column 'kk' is in no row that may be late", "did you mean k"),
        (sink("late", "id DATE"), "late", "column 'id' is DATE, and in OverAggregate(id, k, ts) it is INT", "INT"),
        (sink("late", "id INT, late_watermark BIGINT"), "late", "column 'late_watermark' is BIGINT", "TIMESTAMP(3)"),
        ("CREATE TABLE late (id INT) WITH ('connector' = 'nexmark');", "late", "", None),
        ("", "t", "this job reads table t: its late rows would come again", "a job of its own"),
    ],
)  # fmt: skip
def test_what_the_planner_refuses(tmp_path: Path, late: str, option: str, message: str, hint: str | None) -> None:
    write(tmp_path, "t", [])
    query = "INSERT INTO o SELECT id, COUNT(*) OVER (PARTITION BY k ORDER BY ts) FROM t"
    script = source("t", f"id INT, k INT, {TIMED}") + late + sink("o", "id INT, n BIGINT")
    for text in (f"{query};", f"EXPLAIN {query};"):
        with pytest.raises(SqlStreamError) as e:
            run(tmp_path, script + text, {OPTION: option})
        assert message in e.value.message
        assert hint is None or hint in (e.value.hint or "")
    assert not (tmp_path / "out").exists()


def test_a_column_that_not_all_have_is_nullable(given: tuple[Input, Path], tmp_path: Path) -> None:
    late = sink("late", "id INT NOT NULL, k INT")
    with pytest.raises(BindError, match="column 'id' is NOT NULL, and WindowAggregate.* has none of that name"):
        run(tmp_path, SET.format(table=table(given[1] / "t"), late=late))


def test_a_query_for_rows_needs_no_table(tmp_path: Path) -> None:
    write(tmp_path, "t", [{"id": 1, "ts": at(30)}, {"id": 2, "ts": at(1)}])
    for _ in (s := session(tmp_path)).execute(source("t", f"id INT, {TIMED}")):
        pass
    (result,) = s.execute("SELECT id, COUNT(*) OVER (ORDER BY ts) FROM t")
    assert sum(b.num_rows for b, _ in result.batches()) == 1
    assert result.progress is not None and result.progress.late_rows == 1


# ---- a job that changes


def changed(place: Path, script: str, options: dict[str, str], rows: int | None = None, **more: Any) -> list[str]:
    """Runs a job, canceled at so many rows; what was said."""
    heard: list[str] = []

    def look(progress: Progress) -> None:
        if rows is not None and progress.rows_in >= rows:
            running.cancel()

    given = {"pipeline.name": "j", "execution.epoch.max-rows": "500", **options}
    running = session(place, given, on_progress=look, on_message=heard.append, **more)
    for _ in running.execute(script):
        pass
    return heard


@pytest.mark.parametrize("backend", ["rocksdb", "hashmap"])
@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
def test_the_option_is_added_to_a_job(query: Late, backend: str, given: tuple[Input, Path], tmp_path: Path) -> None:
    """All state stays. The new table gets what was late from the start, as any new output of a job."""
    made, directory = given
    script, options = insert(query, directory), {"state.backend.type": backend}
    without = {**options, OPTION: ""}
    changed(tmp_path, script, without, 3000)
    heard = [line.strip() for line in changed(tmp_path, script, options, 6000)]
    assert any(line.startswith("rebuilt  the output to table late") for line in heard), heard
    assert not any(
        line.startswith(("rebuilt  Over", "rebuilt  Window", "rebuilt  Session", "dropped")) for line in heard
    )
    changed(tmp_path, script, options)
    assert ids(tmp_path) == Counter(made.late(query)), said(query.name)


def test_what_follows_only(given: tuple[Input, Path], tmp_path: Path) -> None:
    """--keep-output late: the rows that come from now on."""
    made, directory = given
    query = QUERIES[0]
    script = insert(query, directory)
    changed(tmp_path, script, {OPTION: ""}, 4500)
    changed(tmp_path, script, {}, allowed=Allowed(keep_output=frozenset({"late"})))
    late = Counter(made.late(query))
    assert Counter() < ids(tmp_path) < late


def test_the_option_goes(given: tuple[Input, Path], tmp_path: Path) -> None:
    """The output stays as it is, and so does the state."""
    made, directory = given
    script = insert(QUERIES[0], directory)
    changed(tmp_path, script, {}, 4500)
    before = ids(tmp_path)
    run(tmp_path, script, {"pipeline.name": "j", OPTION: "", "execution.checkpointing.interval": "10 ms"})
    assert ids(tmp_path) == before < Counter(made.late(QUERIES[0]))


def test_a_window_more_says_what_becomes_of_the_late_rows(given: tuple[Input, Path], tmp_path: Path) -> None:
    """The new window's are not written without being asked for: the table may have them from before."""
    made, directory = given
    late = sink("late", "k INT, ts TIMESTAMP(3), late_operator STRING")
    both = SET.format(table=table(directory / "t"), late=late)
    over = both.replace(both[both.index("INSERT INTO o") : both.index("INSERT INTO p")], "")
    changed(tmp_path, over, {}, 4500)
    with pytest.raises(CheckpointError, match="the output to table late") as e:
        changed(tmp_path, both, {})
    assert "--keep-output late" in (e.value.hint or "")
    changed(tmp_path, both, {}, allowed=Allowed(keep_output=frozenset({"late"})))
    names = Counter(r["late_operator"].rsplit("-", 1)[0] for r in rows_of(tmp_path))
    assert names["OverAggregate"] == len(by_time(made.rows))
    assert 0 < names["WindowAggregate"] < len(by_window(5)(made.rows))
