"""What a filter keeps from being read, seen from a job: partitions and row groups, what of it is told, and the same answers."""

from __future__ import annotations

import gzip
import json
import re
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sqlstream.errors import DataError, RunError
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")
ROWS = 100  # of a day


def write(place: Path, form: str) -> None:
    """A file in each partition; that of the second day is no file of the format."""
    for n, day in enumerate(DAYS):
        directory = place / f"dt={day}"
        directory.mkdir(parents=True)
        rows = [{"k": i % 3, "v": n * ROWS + i} for i in range(ROWS)]
        if form == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), directory / "f.parquet", row_group_size=10)
        elif form == "csv":
            (directory / "f.csv").write_text("".join(f"{r['k']},{r['v']}\n" for r in rows))
        else:
            text = "".join(json.dumps(r) + "\n" for r in rows)
            name, data = ("f.json.gz", gzip.compress(text.encode())) if form == "json.gz" else ("f.json", text.encode())
            (directory / name).write_bytes(data)
    (broken,) = (place / f"dt={DAYS[1]}").iterdir()
    broken.write_bytes(b"no such file\x00\n" * 9)


def table(form: str, more: str = "") -> str:
    return (
        "CREATE TABLE t (k INT, v INT, dt DATE) PARTITIONED BY (dt) WITH ('connector' = 'filesystem', 'path' = 'in', "
        f"'format' = '{form.removesuffix('.gz')}'{more});"
    )


def rows_of(session: Session, sql: str) -> list[tuple[object, ...]]:
    *_, result = session.execute(sql)
    return sorted(tuple(r.values()) for b, _ in result.batches() for r in b.to_pylist())


@pytest.mark.parametrize("form", ["json", "json.gz", "csv", "parquet"])
@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_partitions_that_cannot_match_are_not_opened(tmp_path: Path, form: str, mode: str) -> None:
    write(tmp_path / "in", form)
    for parallelism in ("1", "2"):
        session = Session(
            options={"execution.runtime-mode": mode, "parallelism.default": parallelism},
            working_directory=str(tmp_path),
        )
        for _ in session.execute(table(form)):
            pass
        query = "SELECT COUNT(*), MIN(v) FROM t WHERE "
        assert rows_of(session, f"{query} dt = DATE '2024-01-03'")[-1] == (ROWS, 200)
        assert rows_of(session, f"{query} dt <> DATE '2024-01-02' AND v >= 50")[-1] == (150, 50)
        assert rows_of(session, f"{query} dt > DATE '2024-02-01'")[-1] == (0, None)
        with pytest.raises((DataError, RunError)):
            rows_of(session, f"{query} dt >= DATE '2024-01-02'")
        with pytest.raises((DataError, RunError)):  # by the filter as a whole they may match
            rows_of(session, f"{query} dt = DATE '2024-01-03' OR v > 5")


def explained(session: Session, sql: str) -> str:
    *_, result = session.execute(f"EXPLAIN ANALYZE {sql}")
    return "".join(
        str(r["result"]) if "result" in r else str(next(iter(r.values())))
        for b, _ in result.batches()
        for r in b.to_pylist()
    )


def test_what_was_not_read_is_told(tmp_path: Path) -> None:
    write(tmp_path / "in", "parquet")
    session = Session(options={"execution.runtime-mode": "streaming"}, working_directory=str(tmp_path))
    for _ in session.execute(table("parquet")):
        pass
    text = explained(session, "SELECT v FROM t WHERE dt <> DATE '2024-01-02' AND v < 15")
    assert "skipped of table t: 18 row groups, 1 files" in text
    assert re.search(r"^ *20 +15 .*Source\(table=t", text, re.M)  # rows in: those that were read
    (tmp_path / "in" / f"dt={DAYS[1]}" / "f.parquet").unlink()
    assert "skipped" not in explained(session, "SELECT v FROM t WHERE v >= 0")


def test_a_name_and_a_time_of_files_decide_too(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for n in range(3):
        (tmp_path / "in" / f"{n}.json").write_text(json.dumps({"v": n}) + "\n" if n != 1 else "no JSON\n")
    session = Session(options={"execution.runtime-mode": "streaming"}, working_directory=str(tmp_path))
    columns = "v INT, name STRING METADATA FROM 'file.name', at TIMESTAMP_LTZ(3) METADATA FROM 'file.modification-time'"
    for _ in session.execute(
        f"CREATE TABLE t ({columns}) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json')"
    ):
        pass
    assert rows_of(session, "SELECT v FROM t WHERE name IN ('0.json', '2.json')") == [(0,), (2,)]
    assert rows_of(session, "SELECT v FROM t WHERE at > TIMESTAMP '2999-01-01 00:00:00'") == []


WINDOWS = "SELECT window_start AS s, COUNT(*) AS n FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND) WHERE "
TIMED = (
    "CREATE TABLE t (v INT, ts TIMESTAMP(3), dt STRING, WATERMARK FOR ts AS ts) PARTITIONED BY (dt) WITH ("
    "'connector' = 'filesystem', 'path' = 'in', 'format' = '{form}'{more});"
)


def timed(place: Path, form: str) -> None:
    for n in range(2):
        (place / f"dt={n}").mkdir(parents=True)
        rows = [{"v": i, "ts": f"2024-01-01 00:00:{(i * 7) % 60:02}"} for i in range(60)]
        t = pa.Table.from_pylist(rows)
        t = t.set_column(1, "ts", t["ts"].cast(pa.timestamp("ms")))
        if form == "parquet":
            pq.write_table(t, place / f"dt={n}" / "f.parquet", row_group_size=5)
        else:
            (place / f"dt={n}" / "f.json").write_text("".join(json.dumps(r) + "\n" for r in rows))


@pytest.mark.parametrize("where", ["dt = '1' AND v < 33", "v BETWEEN 20 AND 31", "v > 100", "dt = '0'"])
def test_a_file_that_the_watermark_goes_by_counts_for_it(tmp_path: Path, where: str) -> None:
    """Of Parquet its end says how far it goes, JSON is read: what is late is the same."""
    answers = []
    for form in ("json", "parquet"):
        timed(tmp_path / form / "in", form)
        session = Session(options={"execution.runtime-mode": "streaming"}, working_directory=str(tmp_path / form))
        for _ in session.execute(TIMED.format(form=form, more="")):
            pass
        *_, result = session.execute(f"{WINDOWS} {where} GROUP BY window_start, window_end")
        rows = sorted(str(r) for b, _ in result.batches() for r in b.to_pylist())
        assert result.progress is not None
        answers.append((rows, result.progress.late_rows))
    assert answers[0] == answers[1]


def test_a_changed_job_reads_what_the_one_before_had_left(tmp_path: Path) -> None:
    """The state of what is new is made of all rows up to those that the checkpoint has read, which may lie within a row
    group that the scan of the new job would not read."""
    (tmp_path / "in").mkdir()
    rows = pa.Table.from_pylist([{"k": i % 3, "v": i} for i in range(900)])
    pq.write_table(rows, tmp_path / "in" / "f.parquet", row_group_size=100)
    sink = "'connector' = 'filesystem', 'format' = 'debezium-json', 'path' = "
    tables = f"""
        CREATE TABLE t (k INT, v INT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'parquet');
        CREATE TABLE o (k INT, n BIGINT, s BIGINT) WITH ({sink}'o');
        CREATE TABLE p (k INT, n BIGINT, s BIGINT) WITH ({sink}'p');"""

    def insert(into: str, where: str) -> str:
        return f"INSERT INTO {into} SELECT k, COUNT(*), SUM(v) FROM t WHERE {where} GROUP BY k;"

    def run(script: str, stop_after: int | None) -> Progress:
        epochs = 0

        def watch(progress: Progress) -> None:
            nonlocal epochs
            epochs += 1
            if epochs == stop_after:
                assert session.current_job is not None
                session.current_job.stop()

        options = {
            "execution.runtime-mode": "streaming", "pipeline.name": "j", "execution.epoch.max-rows": "70",
            "execution.checkpointing.interval": "0",
        }  # fmt: skip
        session = Session(options=options, working_directory=str(tmp_path), on_progress=watch)
        *_, result = session.execute(tables + f"EXECUTE STATEMENT SET BEGIN {script} END")
        assert result.progress is not None
        return result.progress

    assert run(insert("o", "v >= 420"), 3).state == "CANCELED"
    assert run(insert("o", "v >= 420") + insert("p", "v < 30 OR v >= 888"), None).state == "FINISHED"

    def held(place: Path) -> dict[int, tuple[int, int]]:
        out = {}
        for part in sorted(place.glob("part-*"), key=lambda p: [int(x) for x in re.findall(r"\d+", p.name)][-2:]):
            for line in part.read_text().splitlines():
                after = json.loads(line)["after"]
                if after:
                    out[after["k"]] = (after["n"], after["s"])
        return out

    def wanted(*ranges: range) -> dict[int, tuple[int, int]]:
        return {k: (len(v), sum(v)) for k in range(3) if (v := [x for r in ranges for x in r if x % 3 == k])}

    assert held(tmp_path / "o") == wanted(range(420, 900))
    assert held(tmp_path / "p") == wanted(range(30), range(888, 900))


@pytest.mark.parametrize("form", ["json", "json.gz", "parquet"])
def test_of_a_table_that_is_watched(tmp_path: Path, form: str) -> None:
    """Files that wait until they are whole are passed over like those of a bounded table, once; such as grow are read."""

    def add(name: str) -> None:
        for day in DAYS[:2]:
            path = tmp_path / "in" / f"dt={day}" / f"{name}.{form}"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [{"k": i, "v": len(name)} for i in range(ROWS)]
            if form == "parquet":
                pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=10)
            else:
                text = "".join(json.dumps(r) + "\n" for r in rows).encode()
                path.write_bytes(gzip.compress(text) if form == "json.gz" else text)

    def run(out: int) -> Progress:
        def watch(progress: Progress) -> None:
            if progress.rows_out == out or time.monotonic() > give_up:
                assert session.current_job is not None
                session.current_job.stop()

        give_up = time.monotonic() + 20
        options = {"execution.runtime-mode": "streaming", "pipeline.name": "j", "execution.checkpointing.interval": "0"}
        session = Session(options=options, working_directory=str(tmp_path), on_progress=watch)
        *_, result = session.execute(
            table(form, ", 'source.monitor-interval' = '10 ms'")
            + "CREATE TABLE o (k INT, v INT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');"
            f"INSERT INTO o SELECT k, v FROM t WHERE dt = DATE '{DAYS[1]}' AND k < 50"
        )
        assert result.progress is not None
        return result.progress

    for n, name in enumerate(("a", "bb"), 1):
        add(name)
        progress = run(n * 50)
        assert progress.rows_out == n * 50  # of both runs
        assert form == "json" or progress.rows_in == n * {"json.gz": ROWS, "parquet": 50}[form]
    found = [json.loads(x) for p in (tmp_path / "out").glob("part-*") for x in p.read_text().splitlines()]
    assert sorted((r["v"], r["k"]) for r in found) == [(n, k) for n in (1, 2) for k in range(50)]
