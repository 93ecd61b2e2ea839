"""Jobs that run beside the program, and the module's own connection."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import sqlstream

SETUP = """
CREATE TABLE n (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = '200');
CREATE TABLE o (a INT) WITH ('connector' = 'blackhole');
"""
INSERT = "INSERT INTO o SELECT a FROM n"


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlstream.Connection]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect(**{"pipeline.name": "j"}) as made:
        made.cursor().executescript(SETUP)
        yield made


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def test_several_jobs_run_at_once(connection: sqlstream.Connection) -> None:
    one, two = connection.submit(INSERT), connection.submit("INSERT INTO o SELECT a + ? FROM n", [1])
    assert connection.jobs == [one, two] and (one.name, two.name) == ("j", "j-2")
    until(lambda: one.progress.rows_in > 0 and two.metrics()["rows_in"] > 0)
    assert (one.status, two.status, one.done, one.error) == ("RUNNING", "RUNNING", False, None)
    assert connection.execute("SELECT 1").fetchall() == [(1,)]  # the connection goes on
    with pytest.raises(sqlstream.FetchTimeout, match="job j still runs"):
        one.wait(timeout=0.01)
    assert one.stop() is None and one.status == "CANCELED" and one.done
    assert two.status == "RUNNING"
    connection.close()
    assert two.status == "CANCELED" and "job j-2 was stopped" in connection.messages[-1][1]


def test_savepoints(connection: sqlstream.Connection, tmp_path: Path) -> None:
    job = connection.submit(INSERT)
    until(lambda: job.progress.rows_in > 0)
    first = job.savepoint("saved")
    assert Path(first).is_dir() and not job.done
    last = job.stop(savepoint="saved", drain=True)
    assert last is not None and Path(last).is_dir() and last != first
    assert job.status == "FINISHED"


def test_a_job_that_is_stopped_goes_on(connection: sqlstream.Connection, tmp_path: Path) -> None:
    job = connection.submit(INSERT)
    until(lambda: job.progress.rows_in > 0)
    job.stop()
    assert list(tmp_path.glob(".sqlstream/j/runs/*/chk-*/manifest.json"))
    with sqlstream.connect(**{"pipeline.name": "j"}) as again:
        again.cursor().executescript(SETUP)
        more = again.submit(INSERT)
        until(lambda: more.progress.rows_in > job.progress.rows_in)
        assert any("resumes" in text for _, text in again.messages)


def test_a_job_that_ends_by_itself(connection: sqlstream.Connection) -> None:
    seen: list[int] = []
    numbers = pa.table({"a": range(5)})  # noqa: F841  the query reads it
    connection.register_sink("s", lambda batch: seen.extend(batch.column(0).to_pylist()), "a BIGINT")
    assert connection.submit("INSERT INTO s SELECT a FROM numbers").wait() == "FINISHED"
    assert sorted(seen) == list(range(5))


def test_a_job_that_fails(connection: sqlstream.Connection) -> None:
    connection.execute("SET 'restart-strategy.type' = 'none'")
    connection.register_sink("s", lambda batch: 1 / 0, "a INT")
    job = connection.submit("INSERT INTO s SELECT a FROM n")
    with pytest.raises(sqlstream.OperationalError, match="ZeroDivisionError"):
        job.wait(60)
    assert job.status == "FAILED" and isinstance(job.error, sqlstream.OperationalError)


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT 1", sqlstream.NotSupportedError),
        ("INSERT INTO nowhere SELECT 1", sqlstream.ProgrammingError),
        ("INSERT INTO o SELECT b FROM n", sqlstream.ProgrammingError),
        ("INSERT INTO o SELECT ? FROM n", sqlstream.ProgrammingError),
        ("INSERT INTO", sqlstream.ProgrammingError),
    ],
)
def test_a_statement_that_is_wrong_is_refused_at_once(
    sql: str, error: type[Exception], connection: sqlstream.Connection
) -> None:
    with pytest.raises(error):
        connection.submit(sql)
    assert connection.jobs == []


def test_the_end_of_the_program_stops_jobs_and_says_so(tmp_path: Path) -> None:
    code = f"import sqlstream\nc = sqlstream.connect()\nc.cursor().executescript({SETUP!r})\nc.submit({INSERT!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0
    assert "sqlstream: job insert was stopped at the end of the program" in done.stderr


# ---- sqlstream.sql


def test_sql(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    frame = pa.table({"a": [1, 2], "b": ["x", None]})  # noqa: F841  the query reads it
    relation = sqlstream.sql("SELECT a, b FROM frame WHERE a < ? ORDER BY a", [5])
    assert relation is not None and relation.columns == ["a", "b"]
    assert relation.fetchall() == list(relation) == [(1, "x"), (2, None)]
    assert relation.df().shape == relation.pl().shape == (2, 2)
    assert pa.table(relation).equals(relation.arrow())
    relation.show(1)
    assert capsys.readouterr().out == "a | b\n--+--\n1 | x\n…\n"
    assert repr(relation) == "a | b\n--+-----\n1 | x\n2 | NULL"
    assert sqlstream.sql("CREATE TEMPORARY VIEW of_test_sql AS SELECT 1 AS x") is None
    assert sqlstream.default_connection().execute("SELECT x FROM of_test_sql").fetchall() == [(1,)]
    sqlstream.default_connection().close()
    assert not sqlstream.default_connection().closed


def test_sql_without_end(capsys: pytest.CaptureFixture[str], connection: sqlstream.Connection) -> None:
    relation = connection.sql("SELECT 7 AS a FROM n")
    assert relation is not None and repr(relation) == "Relation(a), without end"
    relation.show(2)
    assert capsys.readouterr().out == "a\n-\n7\n7\n…\n"
    assert next(iter(relation)) == (7,)
    with pytest.raises(sqlstream.NotSupportedError, match="never ends"):
        relation.arrow()
