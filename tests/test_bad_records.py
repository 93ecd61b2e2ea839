"""Malformed records in a table ('source.bad-records'): each once, whatever the blocks, epochs, tasks and restarts."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import kill
import pytest
from harness.seed import random_of, said

from sqlstream.clock import SystemClock
from sqlstream.connectors import blocks, growing
from sqlstream.connectors.filesystem import FileSource, FilesystemConnector
from sqlstream.contracts import BadRecord, ScanColumn, ScanRequest, TableContext
from sqlstream.errors import DataError, SqlStreamError
from sqlstream.operators.source_scan import ScanTask, SourceScan
from sqlstream.operators.split_state import SplitState
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session
from sqlstream.types import INT, Column, Schema

BAD = (
    "CREATE TABLE bad (bad_file STRING, bad_line BIGINT, bad_reason STRING, bad_record STRING) WITH ("
    "'connector' = 'filesystem', 'path' = 'out/bad', 'format' = 'json');\n"
)
COUNTED = (
    "CREATE TABLE o (k INT, v INT) WITH ('connector' = 'filesystem', 'path' = 'out/o', 'format' = 'json');\n"
    "INSERT INTO o SELECT k, v FROM t;"
)


def table(more: str = "", format_: str = "json", columns: str = "k INT, v INT") -> str:
    return (
        f"CREATE TABLE t ({columns}) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = '{format_}', "
        f"'source.bad-records' = 'bad'{more});\n"
    )


def run(place: Path, script: str, options: dict[str, str] | None = None, **more: Any) -> Progress:
    given = {"execution.runtime-mode": "streaming", **(options or {})}
    progress = None
    for result in Session(options=given, working_directory=str(place), **more).execute(script):
        progress = result.progress or progress
    assert progress is not None
    return progress


def rows(place: Path, name: str) -> list[dict[str, Any]]:
    found = kill.published(place / "out" / name) if (place / "out" / name).exists() else []
    return [json.loads(line) for p in found for line in p.read_text().splitlines()]


def bad(place: Path) -> Counter[tuple[str, int, str]]:
    return Counter((Path(r["bad_file"]).name, r["bad_line"], r["bad_record"]) for r in rows(place, "bad"))


def write(path: Path, count: int, r: random.Random) -> tuple[list[int], Counter[tuple[str, int, str]]]:
    """A file with good and malformed lines: the numbers of the good ones, and the others as the table has them."""
    good, wrong, lines = [], Counter[tuple[str, int, str]](), []
    for n in range(1, count + 1):
        kind = r.random()
        if kind < 0.8:
            good.append(n)
            line = json.dumps({"k": n, "v": n % 7})
        elif kind < 0.84:
            line = ""  # blank: no record
        else:
            line = r.choice(("no json", '{"k": 1, "v": "x"}', '{"k": 1', "[1]", '{"k": 99999999999, "v": 1}', "\u00e4"))
            wrong[path.name, n, line] += 1
        lines.append(line)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines))
    return good, wrong


@pytest.mark.parametrize("mode, tasks, epoch", [("streaming", 1, 1000), ("streaming", 3, 30), ("batch", 1, 0)])
def test_each_is_in_the_table(tmp_path: Path, mode: str, tasks: int, epoch: int) -> None:
    r, good, wrong = random_of("bad"), [], Counter[tuple[str, int, str]]()
    for n in range(3):
        more, others = write(tmp_path / "in" / f"{n}.json", 200, r)
        good, wrong = good + more, wrong + others
    options = {"execution.runtime-mode": mode, "parallelism.default": str(tasks)}
    progress = run(
        tmp_path, table() + BAD + COUNTED, options | ({"execution.epoch.max-rows": str(epoch)} if epoch else {})
    )
    assert bad(tmp_path) == wrong
    assert sorted(x["k"] for x in rows(tmp_path, "o")) == sorted(good)
    assert progress.skipped_records == wrong.total()


CSV = b'k,v\n1,10\n2,"open\n3,30,3\n\xff,1\n"4"x,4\n5,50\n6,sixty\n'
DEBEZIUM = [
    '{"before": null, "after": {"k": 1, "v": 10}, "op": "c"}',
    '{"before": {"k": 1, "v": 10}, "after": {"k": 1, "v": 11}, "op": "u"}',
    '{"before": null, "after": {"k": 2, "v": "x"}, "op": "c"}',
    "op",
    '{"before": null, "after": {"k": 3, "v": 30}, "op": "c"}',
]


@pytest.mark.parametrize("mode", ["streaming", "batch"])
def test_records_of_csv(tmp_path: Path, mode: str) -> None:
    """A quote that nobody closes takes the rest of the file. What is no UTF-8 is there as bytes, and escaped as text."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_bytes(CSV.replace(b'"open', b'"shut"'))
    (tmp_path / "in/b.csv").write_bytes(b'k,v\n7,70\n8,"open\n9,90\n')
    columns = BAD.replace(
        "bad_record STRING", "bad_record STRING, bad_bytes BYTES, bad_time TIMESTAMP_LTZ(3), bad_table STRING"
    )
    run(tmp_path, table(", 'csv.header' = 'true'", "csv") + columns + COUNTED, {"execution.runtime-mode": mode})
    found = {(Path(r["bad_file"]).name, r["bad_line"]): r for r in rows(tmp_path, "bad")}
    assert {k: r["bad_record"] for k, r in found.items()} == {
        ("a.csv", 3): '2,"shut"', ("a.csv", 4): "3,30,3", ("a.csv", 5): "\\xff,1", ("a.csv", 6): '"4"x,4',
        ("a.csv", 8): "6,sixty", ("b.csv", 3): '8,"open\n9,90',
    }  # fmt: skip
    assert found["a.csv", 4]["bad_reason"] == "it has 3 fields, the table 2 columns"
    assert found["a.csv", 5]["bad_bytes"] == "/ywx"  # base64 of ff 2c 31
    assert {r["bad_table"] for r in found.values()} == {"t"} and all(r["bad_time"] for r in found.values())
    assert sorted((r["k"], r["v"]) for r in rows(tmp_path, "o")) == [(1, 10), (5, 50), (7, 70)]


def test_records_of_changes(tmp_path: Path) -> None:
    """An update is one record and two rows."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.json").write_text("\n".join(DEBEZIUM) + "\n")
    script = table("", "debezium-json") + BAD + COUNTED.replace("'format' = 'json'", "'format' = 'debezium-json'")
    for epoch in ("1", "2", "100"):
        place = tmp_path / epoch
        place.mkdir()
        (place / "in").symlink_to(tmp_path / "in")
        run(place, script, {"execution.epoch.max-rows": epoch})
        assert bad(place) == Counter({("a.json", 3, DEBEZIUM[2]): 1, ("a.json", 4, "op"): 1})
        left = kill.fold([line for p in kill.published(place / "out/o") for line in p.read_text().splitlines()])
        assert left == Counter(['{"k": 1, "v": 11}', '{"k": 3, "v": 30}'])


def test_records_nested_beyond_reasons(tmp_path: Path) -> None:
    """Where no single expression says what is wrong, blocks are halved down to the lines that do not decode."""
    (tmp_path / "in").mkdir()
    lines = ['{"k": 1, "v": [1]}', '{"k": 2, "v": ["x"]}', '{"k": 3, "v": [3]}', '{"k": 4, "v": ["y"]}']
    (tmp_path / "in/a.json").write_text("\n".join(lines) + "\n")
    script = table(columns="k INT, v ARRAY<INT>") + BAD + COUNTED.replace("v INT)", "v ARRAY<INT>)")
    run(tmp_path, script, {"execution.epoch.max-rows": "1"})
    assert bad(tmp_path) == Counter({("a.json", 2, lines[1]): 1, ("a.json", 4, lines[3]): 1})
    assert sorted(r["k"] for r in rows(tmp_path, "o")) == [1, 3]


# ---- readers: what comes with which rows


def source_of(place: Path, **options: str) -> FileSource:
    given = {"path": str(place), "format": "json", "source.bad-records": "bad", **options}
    schema = Schema((Column("k", INT), Column("v", INT)))
    source = FilesystemConnector().source(TableContext("t", schema, given, working_directory=str(place.parent)))
    assert isinstance(source, FileSource)
    return source


REQUEST = ScanRequest((ScanColumn(("k",), INT), ScanColumn(("v",), INT)))


@pytest.mark.parametrize("grows", [False, True])
@pytest.mark.parametrize("block", [1, 40, 400, 1 << 20])
def test_a_reader_begins_again_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, grows: bool
) -> None:
    """Each poll by another reader, from the position of the one before: all rows and malformed records, once."""
    r = random_of("bad", str(block), str(grows))
    good, wrong = write(tmp_path / "in/0.json", 150, r)
    for module in (blocks, growing):
        monkeypatch.setattr(module, "BLOCK", block)
    source = source_of(tmp_path / "in", **({"source.monitor-interval": "1 ms"} if grows else {}))
    (split,) = source.splits()
    position, first, keys, found = None, 0, list[int](), list[BadRecord]()
    for _ in range(2000):
        reader = source.reader(split, json.loads(json.dumps(position)), REQUEST, first)
        try:
            for _ in range(r.choice((1, 1, 2))):
                if (got := reader.poll(r.choice((1, 1, 2, 7)))) is None:
                    break
                keys += got.batch.column(0).to_pylist()
                found += got.bad
                position, first = got.position, got.first_row + got.batch.num_rows
            if reader.finished or (grows and len(keys) == len(good) and len(found) == wrong.total()):
                break
        finally:
            reader.close()
    assert keys == good, said("rows")
    assert Counter((Path(b.file).name, b.line, b.record.decode()) for b in found) == wrong
    assert [b.line for b in found] == sorted(b.line for b in found)


def test_up_to_a_goal(tmp_path: Path) -> None:
    """Going back behind what is published stops where that stands, between two malformed records."""
    (tmp_path / "in").mkdir()
    good = '{"k": %d, "v": 1}'
    (tmp_path / "in/0.json").write_text("\n".join(["x1", good % 1, "x2", "x3", good % 2, "x4"]) + "\n")
    source = source_of(tmp_path / "in")
    (split,) = source.splits()
    node = SourceScan((), "t", source, REQUEST.columns, ("k", "v"))
    task = ScanTask(node, SystemClock(), complete=True)

    def read() -> tuple[int, list[bytes]]:
        task.begin()
        rows = 0
        while task.queue.first() is not None:
            rows += task.read(100)
        task.queue.end()
        return rows, [b.record for b in task.take_bad()]

    for goal_rows, goal_bad, expected in ((0, 1, [b"x1"]), (1, 2, [b"x1", b"x2"]), (1, 3, [b"x1", b"x2", b"x3"])):
        task = ScanTask(node, SystemClock(), complete=True)
        task.add([state := SplitState(split, limit=goal_rows, bad_limit=goal_bad)])
        assert read() == (goal_rows, expected)
        state.limit = state.bad_limit = None
        task.requeue()
        assert read() == (2 - goal_rows, [b for b in (b"x1", b"x2", b"x3", b"x4") if b not in expected])
        task.close()


# ---- jobs


@pytest.mark.parametrize("backend", ["rocksdb", "hashmap"])
def test_a_job_that_is_stopped_and_killed(tmp_path: Path, backend: str) -> None:
    """Ended in each way at any epoch; at other parallelism each time."""
    r, wrong = random_of("bad", backend), Counter[tuple[str, int, str]]()
    good: list[int] = []
    for n in range(3):
        more, others = write(tmp_path / "in" / f"{n}.json", 400, r)
        good, wrong = good + more, wrong + others
    (tmp_path / "job.sql").write_text("SET 'execution.runtime-mode' = 'streaming';\n" + table() + BAD + COUNTED)
    arguments = ["run", "job.sql", "-D", "pipeline.name=j", "-D", f"state.backend.type={backend}",
                 "-D", "execution.epoch.max-rows=40", "-D", "execution.checkpointing.interval=1 ms"]  # fmt: skip
    for point in ("after-prepare:2", "before-manifest:3", "after-manifest:2", "mid-publish:2", "after-publish:3"):
        status, text = kill.run(tmp_path, [*arguments, "-D", f"parallelism.default={r.randint(1, 3)}"], f"{point}:kill")
        assert status in (-9, 0), text
    status, text = kill.run(tmp_path, arguments)
    assert status == 0, text
    assert bad(tmp_path) == wrong
    assert sorted(x["k"] for x in rows(tmp_path, "o")) == sorted(good)


def test_lines_that_come_to_a_file(tmp_path: Path) -> None:
    """A malformed record that is appended alone comes without a row. The job is stopped or canceled each time."""
    path = tmp_path / "in/0.json"
    path.parent.mkdir()
    path.write_text("")
    script = table(", 'source.monitor-interval' = '5 ms'") + BAD + COUNTED
    options = {"execution.runtime-mode": "streaming", "pipeline.name": "j", "execution.checkpointing.interval": "1 ms"}
    expected, written = Counter[tuple[str, int, str]](), 0

    def until(progress: Progress) -> None:
        if enough(progress):
            job = session.current_job
            assert job is not None
            (job.stop, job.cancel)[turn % 2]()

    def enough(progress: Progress) -> bool:
        if turn == 6:
            return bad(tmp_path) == expected
        return progress.rows_in > turn

    for turn in range(7):
        with path.open("a") as file:
            for text in (f"wrong {turn}", f'{{"k": {turn}, "v": 1}}', *([f"alone {turn}"] if turn % 3 else []))[
                : 9 if turn < 6 else 1
            ]:
                written += 1
                file.write(text + "\n")
                if not text.startswith("{"):
                    expected["0.json", written, text] += 1
        session = Session(options=options, working_directory=str(tmp_path), on_progress=until)
        for _ in session.execute(script):
            pass
        assert bad(tmp_path) <= expected
    assert bad(tmp_path) == expected
    assert sorted(r["k"] for r in rows(tmp_path, "o")) == list(range(6))


def test_the_option_is_added_to_a_job(tmp_path: Path) -> None:
    """Records that were skipped so far come too, as all rows of a new output."""
    r = random_of("bad added")
    good, wrong = write(tmp_path / "in/0.json", 400, r)
    skips = table().replace("'bad'", "'skip'")

    def look(progress: Progress) -> None:
        if progress.rows_in >= 150:
            session.cancel()

    options = {"execution.runtime-mode": "streaming", "pipeline.name": "j", "execution.epoch.max-rows": "40",
               "execution.checkpointing.interval": "1 ms"}  # fmt: skip
    session = Session(options=options, working_directory=str(tmp_path), on_progress=look)
    for _ in session.execute(skips + BAD + COUNTED):
        pass
    assert 0 < len(rows(tmp_path, "o")) < len(good) and not bad(tmp_path)
    run(tmp_path, table() + BAD + COUNTED, options)
    assert bad(tmp_path) == wrong
    assert [x["k"] for x in rows(tmp_path, "o")] == good


@pytest.mark.parametrize("mode", ["streaming", "batch"])
def test_a_set_writes_each_once(tmp_path: Path, mode: str) -> None:
    """Two statements read the table, and other columns of it."""
    (tmp_path / "in").mkdir()
    lines = ["wrong", '{"k": 1, "v": 1}', '{"k": 2, "v": "x"}', '{"k": "y", "v": 3}']
    (tmp_path / "in/0.json").write_text("\n".join(lines) + "\n")
    script = (
        table() + BAD + "CREATE TABLE p (n INT) WITH ('connector' = 'filesystem', 'path' = 'out/p', 'format' = 'json');\n"
        + COUNTED.replace("INSERT", "EXECUTE STATEMENT SET BEGIN INSERT") + " INSERT INTO p SELECT k FROM t; END;"
    )  # fmt: skip
    run(tmp_path, script, {"execution.runtime-mode": mode})
    assert bad(tmp_path) == Counter({("0.json", n, lines[n - 1]): 1 for n in (1, 3, 4)})


# ---- what is refused, and what else the option says


@pytest.mark.parametrize(
    "ddl, message, hint",
    [
        (table(), "option 'source.bad-records': there is no table or view 'bad'", "tables and views"),
        (table() + "CREATE VIEW bad AS SELECT 1 AS x;", "'bad' is a view", None),
        (table() + BAD.replace("bad_line", "line"), "has column 'line', which is not known", "bad_line"),
        (table() + BAD.replace("bad_line BIGINT", "bad_line DATE"), "column 'bad_line' is DATE, the query gives BIGINT", None),
        (table().replace("'bad'", "'t'"), "a table cannot take its own malformed records", None),
        (table().replace("'bad'", "''"), "option 'source.bad-records' is empty", "fail, skip"),
        (table(", 'json.ignore-parse-errors' = 'true'") + BAD, "skips malformed records, and", "leave"),
        (table(format_="parquet") + BAD, "no record of a parquet file is malformed by itself", "leave it out"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, ddl: str, message: str, hint: str | None) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/0.json").write_text('{"k": 1, "v": 1}\n')
    for mode in ("streaming", "batch"):
        with pytest.raises(SqlStreamError) as e:
            run(tmp_path, ddl + COUNTED, {"execution.runtime-mode": mode})
        assert message in e.value.message
        assert hint is None or hint in (e.value.hint or "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", ["streaming", "batch"])
def test_a_table_that_is_looked_up_has_none(tmp_path: Path, mode: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/0.json").write_text('{"k": 1, "v": 1}\n')
    script = table() + BAD + (
        "CREATE TABLE s (k INT, p AS PROCTIME()) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json');\n"
    ) + COUNTED.replace("FROM t", "FROM s JOIN t FOR SYSTEM_TIME AS OF s.p ON s.k = t.k").replace("k, v", "s.k, t.v")  # fmt: skip
    script = script.replace("o (s.k, t.v", "o (k, v").replace(
        "CREATE TABLE o (s.k INT, t.v INT)", "CREATE TABLE o (k INT, v INT)"
    )
    with pytest.raises(SqlStreamError, match="it is looked up, and so read again and again"):
        run(tmp_path, script, {"execution.runtime-mode": mode})


@pytest.mark.parametrize("mode", ["streaming", "batch"])
@pytest.mark.parametrize("given", ["'source.bad-records' = 'skip'", "'json.ignore-parse-errors' = 'true'"])
def test_skip_is_flinks_option(tmp_path: Path, mode: str, given: str) -> None:
    _, wrong = write(tmp_path / "in/0.json", 50, random_of("skip"))
    ddl = table().replace("'source.bad-records' = 'bad'", given)
    progress = run(tmp_path, ddl + COUNTED, {"execution.runtime-mode": mode})
    assert progress.skipped_records == wrong.total() > 0


def test_fail_names_the_table_as_a_way(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/0.json").write_text("wrong\n")
    with pytest.raises(DataError) as e:
        run(tmp_path, table().replace("'bad'", "'fail'") + COUNTED)
    assert "'source.bad-records'" in (e.value.hint or "")


@pytest.mark.parametrize("mode", ["streaming", "batch"])
def test_a_query_for_rows_counts_them(tmp_path: Path, mode: str) -> None:
    good, wrong = write(tmp_path / "in/0.json", 50, random_of("select"))
    session = Session(options={"execution.runtime-mode": mode}, working_directory=str(tmp_path))
    for _ in session.execute(table() + BAD):
        pass
    (result,) = session.execute("SELECT k FROM t WHERE v >= 0")
    assert sum(b.num_rows for b, _ in result.batches()) == len(good)
    assert result.progress is not None and result.progress.skipped_records == wrong.total()
    assert not (tmp_path / "out").exists()
