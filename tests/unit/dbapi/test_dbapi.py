"""PEP 249 over batch results, streams and jobs."""

from __future__ import annotations

import datetime
import enum
import json
import os
import signal
import threading
import time
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sqlstream
from sqlstream import dbapi

ENDLESS = "CREATE TABLE n (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = '200', 'fields.a.min' = '1', 'fields.a.max' = '3')"

_VALUES = "(VALUES " + ", ".join(f"({i})" for i in range(100)) + ")"
ENDLESS_IN_DUCKDB = "SELECT SUM(x0 + x1 + x2 + x3 + x4 + x5 * x6) FROM " + ", ".join(
    f"{_VALUES} AS t{i}(x{i})" for i in range(7)
)


@pytest.fixture
def connection() -> Iterator[sqlstream.Connection]:
    with sqlstream.connect() as made:
        yield made


def interrupt_after(seconds: float) -> list[float]:
    """Ctrl-C in so many seconds; the list gets the time at which it came."""
    at: list[float] = []

    def press() -> None:
        at.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(seconds, press).start()
    return at


def test_globals() -> None:
    assert (sqlstream.apilevel, sqlstream.threadsafety, sqlstream.paramstyle) == ("2.0", 1, "qmark")
    assert all(getattr(sqlstream, name) is not None for name in sqlstream.__all__)
    assert set(sqlstream.__all__) <= set(dir(sqlstream))
    with pytest.raises(AttributeError, match="conect"):
        _ = sqlstream.conect  # type: ignore[attr-defined]


VALUES: list[tuple[str, Any]] = [
    ("CAST(NULL AS INT)", None),
    ("1", 1),
    ("1.50", Decimal("1.50")),
    ("1.5E0", 1.5),
    ("'x'", "x"),
    ("TRUE", True),
    ("x'00ff'", b"\x00\xff"),
    ("DATE '2024-02-29'", datetime.date(2024, 2, 29)),
    ("TIME '01:02:03'", datetime.time(1, 2, 3)),
    ("TIMESTAMP '2024-01-02 03:04:05.678'", datetime.datetime(2024, 1, 2, 3, 4, 5, 678000)),
    (
        "CAST(TIMESTAMP '2024-01-02 03:04:05' AS TIMESTAMP_LTZ(3))",
        datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
    ),
    ("INTERVAL '26' HOUR", datetime.timedelta(hours=26)),
    ("INTERVAL '14' MONTH", 14),
    ("ARRAY[1, 2]", [1, 2]),
    ("MAP['k', 1]", {"k": 1}),
    ("CAST(ROW(1, 'x') AS ROW<a INT, b STRING>)", {"a": 1, "b": "x"}),
]


@pytest.mark.parametrize(("sql", "value"), VALUES, ids=[v[0] for v in VALUES])
def test_values(sql: str, value: Any, connection: sqlstream.Connection) -> None:
    (got,) = connection.execute(f"SELECT {sql}").fetchone() or ()
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    "value",
    [None, True, -5, 2**40, 1.25, float("inf"), Decimal("-1.50"), "it's ? -- x", "", b"\x00'", datetime.date(2024, 1, 2),
     datetime.datetime(2024, 1, 2, 3, 4, 5, 678901), datetime.time(1, 2, 3)],
    ids=repr,
)  # fmt: skip
def test_parameters_come_back(value: Any, connection: sqlstream.Connection) -> None:
    sql = "SELECT CAST(? AS INT), '?', 2 /* ? */ -- ?" if value is None else "SELECT ?, '?', 2 /* ? */ -- ?"
    assert connection.execute(sql, [value]).fetchall() == [(value, "?", 2)]


@pytest.mark.parametrize(
    "parameters",
    [
        [],
        [1, 2],
        "x",
        {"a": 1},
        [object()],
        [[]],
        [datetime.time(1, tzinfo=datetime.UTC)],
        [Decimal("NaN")],
        {1, 2},
        [{}],
        [{None: 1}],
    ],
)
def test_parameters_that_do_not_fit(parameters: Any, connection: sqlstream.Connection) -> None:
    with pytest.raises(sqlstream.ProgrammingError):
        connection.execute("SELECT ?", parameters)


class Colour(enum.Enum):
    RED = "red"


ZONE = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
FOREIGN: list[tuple[Any, Any]] = [
    (np.float64(1.5), 1.5),
    (np.float32(0.5), 0.5),
    (np.float64("nan"), None),
    (np.float64("-inf"), float("-inf")),
    (np.int64(7), 7),
    (np.uint8(200), 200),
    (np.bool_(True), True),
    (np.str_("x'y"), "x'y"),
    (np.bytes_(b"\x00a"), b"\x00a"),
    (np.datetime64("2024-01-02"), datetime.date(2024, 1, 2)),
    (np.datetime64("2024-01-02T03:04:05.678901234"), datetime.datetime(2024, 1, 2, 3, 4, 5, 678901)),
    (np.timedelta64(90, "m"), datetime.timedelta(minutes=90)),
    (np.array([1, 2]), [1, 2]),
    ([1, None, 3], [1, None, 3]),
    (("a", "b"), ["a", "b"]),
    (Colour.RED, "red"),
    (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (datetime.timedelta(days=-100, microseconds=1), datetime.timedelta(days=-100, microseconds=1)),
    (bytearray(b"ab"), b"ab"),
    (datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)),
    (datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, ZONE), datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, ZONE)),
    (datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
     datetime.datetime(2024, 10, 27, 1, 30, tzinfo=datetime.UTC)),
]  # fmt: skip


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
@pytest.mark.parametrize(("given", "value"), FOREIGN, ids=[f"{i} {type(v[0]).__name__}" for i, v in enumerate(FOREIGN)])
def test_parameters_of_other_libraries(given: Any, value: Any, zone: str) -> None:
    with sqlstream.connect(**{"table.local-time-zone": zone}) as connection:
        (got,) = connection.execute("SELECT ?", [given]).fetchone() or ()
    if value is None:
        assert got != got
    else:
        assert got == value and isinstance(got, type(value))


def test_missing_values_are_null(connection: sqlstream.Connection) -> None:
    for missing in (np.datetime64("NaT", "ms"), np.timedelta64("NaT", "ms"), None):
        assert connection.execute("SELECT CAST(? AS INT)", [missing]).fetchall() == [(None,)]


@pytest.mark.parametrize("text", ["SELECT ?1", "SELECT ?x", "SELECT ?_ FROM t"])
def test_numbered_parameters_are_refused(text: str, connection: sqlstream.Connection) -> None:
    with pytest.raises(sqlstream.ProgrammingError, match=r"write \? for each value"):
        connection.execute(text, [5])


def test_the_parameter_that_does_not_fit_is_named(connection: sqlstream.Connection) -> None:
    with pytest.raises(sqlstream.ProgrammingError, match="parameter 2: it cannot be a object"):
        connection.execute("SELECT ?, ?", [1, object()])


def test_description(connection: sqlstream.Connection) -> None:
    cursor = connection.cursor()
    assert cursor.description is None
    cursor.execute("SELECT 1 AS a, 'x' AS a, 1.50 AS d, DATE '2024-01-01' AS t, x'00' AS b")
    assert cursor.description is not None and cursor.rowcount == -1
    names, types, *_ = zip(*cursor.description, strict=True)
    assert names == ("a", "a0", "d", "t", "b")
    groups = (sqlstream.NUMBER, sqlstream.STRING, sqlstream.NUMBER, sqlstream.DATETIME, sqlstream.BINARY)
    assert types == groups and types[0] != sqlstream.STRING
    assert cursor.description[2][4:] == (3, 2, False)
    cursor.execute("CREATE VIEW v AS SELECT 1 AS x")
    assert cursor.description is None


def test_fetching(connection: sqlstream.Connection) -> None:
    cursor = connection.execute("SELECT a FROM (VALUES (1), (2), (3), (4), (5), (6)) AS t(a) ORDER BY a")
    assert cursor.fetchone() == (1,)
    assert cursor.fetchmany() == [(2,)]
    assert cursor.fetchmany(2) == [(3,), (4,)]
    assert next(cursor) == (5,)
    batch = cursor.fetch_record_batch()
    assert batch is not None and batch.to_pydict() == {"a": [6]}
    assert cursor.fetch_record_batch() is None
    assert (cursor.fetchone(), cursor.fetchmany(3), cursor.fetchall(), list(cursor)) == (None, [], [], [])


def test_many_batches(connection: sqlstream.Connection) -> None:
    connection.execute("CREATE TABLE b (a BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '200000')")
    assert len(connection.execute("SELECT a FROM b").fetchall()) == 200_000
    table = connection.execute("SELECT a, a AS a FROM b").fetch_arrow_table()
    assert (table.num_rows, table.column_names) == (200_000, ["a", "a0"])
    cursor = connection.execute("SELECT a FROM b")
    rest = 200_000 - len(cursor.fetchmany(70_000))
    assert sum(1 for _ in cursor) == rest
    assert connection.execute("SELECT a FROM b WHERE a IS NULL").fetch_arrow_table().num_rows == 0


def test_insert_and_scripts(connection: sqlstream.Connection, capfd: pytest.CaptureFixture[str]) -> None:
    cursor = connection.cursor()
    cursor.executescript("CREATE TABLE p (a INT) WITH ('connector' = 'print'); INSERT INTO p VALUES (1), (2)")
    assert cursor.rowcount == 2
    assert capfd.readouterr().out == "+I[1]\n+I[2]\n"
    assert cursor.executescript("SELECT 1; SELECT 2").fetchall() == [(2,)]
    assert cursor.executescript("  -- nothing").description is None
    with pytest.raises(sqlstream.ProgrammingError, match="no query"):
        cursor.execute("CREATE VIEW v AS SELECT 1 AS x").fetchone()


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT 1 +", sqlstream.ProgrammingError),
        ("SELECT 1; SELECT 2", sqlstream.ProgrammingError),
        ("", sqlstream.ProgrammingError),
        ("SELECT x FROM y", sqlstream.ProgrammingError),
        ("SET 'pipeline.nam' = 'x'", sqlstream.ProgrammingError),
        ("CREATE CATALOG c", sqlstream.NotSupportedError),
        ("SELECT CAST('x' AS INT)", sqlstream.DataError),
    ],
)
def test_errors(sql: str, error: type[Exception], connection: sqlstream.Connection) -> None:
    with pytest.raises(error) as raised:
        connection.execute(sql).fetchall()
    assert isinstance(raised.value, sqlstream.DatabaseError)
    assert raised.value.__cause__ is not None
    # the connection goes on
    assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_an_error_shows_its_place_and_hint(connection: sqlstream.Connection) -> None:
    connection.execute("CREATE VIEW orders AS SELECT 1 AS id")
    with pytest.raises(sqlstream.ProgrammingError, match="did you mean orders") as raised:
        connection.execute("SELECT *\nFROM ordres")
    assert raised.value.hint == "did you mean orders?"
    assert str(raised.value).splitlines()[1:3] == ["  FROM ordres", "       ^"]


def test_the_tree_of_errors() -> None:
    assert issubclass(sqlstream.Error, Exception) and issubclass(sqlstream.Warning, Exception)
    for name in ("DataError", "OperationalError", "IntegrityError", "InternalError", "ProgrammingError"):
        assert issubclass(getattr(sqlstream, name), sqlstream.DatabaseError)
        assert getattr(dbapi.Connection, name) is getattr(sqlstream, name)
    assert issubclass(sqlstream.DatabaseError, sqlstream.Error) and issubclass(
        sqlstream.InterfaceError, sqlstream.Error
    )


def test_what_is_closed(connection: sqlstream.Connection) -> None:
    cursor = connection.execute("SELECT 1")
    cursor.close()
    cursor.close()
    with pytest.raises(sqlstream.InterfaceError, match="the cursor is closed"):
        cursor.fetchone()
    other = connection.execute("SELECT 1")
    connection.commit()
    connection.close()
    connection.close()
    for use in (other.fetchone, connection.cursor, connection.commit, lambda: other.execute("SELECT 1")):
        with pytest.raises(sqlstream.InterfaceError, match="closed"):
            use()


def test_what_is_not_supported(connection: sqlstream.Connection) -> None:
    with pytest.raises(sqlstream.NotSupportedError, match="hint: "):
        connection.rollback()
    with pytest.raises(sqlstream.NotSupportedError, match="execute runs any other statement"):
        connection.cursor().executemany("SELECT ?", [[1]])


def test_options_and_a_catalog_that_stays(tmp_path: Path) -> None:
    with pytest.raises(sqlstream.ProgrammingError, match="did you mean pipeline.name"):
        sqlstream.connect(**{"pipeline.nam": "x"})
    with sqlstream.connect(tmp_path / "c", **{"parallelism.default": 2}) as first:
        assert ("parallelism.default", "2") in first.execute("SET").fetchall()
        first.execute("CREATE VIEW v AS SELECT 7 AS x")
    with sqlstream.connect(str(tmp_path / "c")) as second:
        assert second.execute("SELECT x FROM v").fetchall() == [(7,)]


# ---- streams


def test_a_stream_returns_at_once_and_close_ends_it(connection: sqlstream.Connection) -> None:
    connection.execute(ENDLESS)
    cursor = connection.execute("SELECT a, COUNT(*) AS c FROM n GROUP BY a")
    assert [d[0] for d in cursor.description or ()] == ["op", "a", "c"]
    row = cursor.fetchone()
    assert row is not None and row[0] == cursor.row_kind == "+I" and row[2] >= 1
    assert len(cursor.fetchmany(50)) == 50
    batch = cursor.fetch_record_batch()
    assert batch is not None and batch.schema.names == ["op", "a", "c"]
    before = threading.active_count()
    cursor.close()
    assert threading.active_count() < before


@pytest.mark.parametrize("method", ["fetchall", "fetch_arrow_table"])
def test_all_of_a_stream_is_refused(method: str, connection: sqlstream.Connection) -> None:
    connection.execute(ENDLESS)
    cursor = connection.execute("SELECT a FROM n")
    with pytest.raises(sqlstream.NotSupportedError, match="LIMIT"):
        getattr(cursor, method)()
    assert cursor.fetchone() is not None
    assert len(connection.execute("SELECT a FROM n LIMIT 5").fetchall()) == 5


def test_fetchmany_does_not_wait_for_all(connection: sqlstream.Connection) -> None:
    connection.execute(ENDLESS)
    cursor = connection.execute("SELECT a FROM n")
    started = time.monotonic()
    rows = cursor.fetchmany(1_000_000)
    assert 0 < len(rows) < 1_000_000
    assert time.monotonic() - started < 30


def test_two_cursors_and_execute_again(connection: sqlstream.Connection) -> None:
    connection.execute(ENDLESS)
    one, two = connection.execute("SELECT a FROM n"), connection.execute("SELECT a + 10 FROM n")
    first, second = one.fetchone(), two.fetchone()
    assert first is not None and first[0] < 10 and second is not None and second[0] > 10
    assert one.execute("SELECT 'again'").fetchall() == [("again",)]
    assert two.fetchone() is not None


@pytest.mark.parametrize("query", ["SELECT a FROM n WHERE a > 5", "SELECT COUNT(*) FROM slow WHERE wait(x) > 0"])
def test_ctrl_c_while_waiting_for_a_row(
    query: str, connection: sqlstream.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "waiting.py").write_text("import time\ndef wait(x: int) -> int:\n    time.sleep(0.8)\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    connection.execute(ENDLESS)
    connection.execute("CREATE TEMPORARY FUNCTION wait AS 'waiting.wait' LANGUAGE PYTHON")
    connection.execute("CREATE VIEW slow AS SELECT x FROM (VALUES (1), (2), (3)) AS t(x)")
    cursor = connection.execute(query)
    at = interrupt_after(0.5)
    with pytest.raises(KeyboardInterrupt):
        cursor.fetchone()
    assert time.monotonic() - at[0] < 0.4  # 0.2 s and some for a busy machine
    cursor.close()
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_ctrl_c_stops_an_insert_with_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect(**{"pipeline.name": "j"}) as connection:
        connection.execute(ENDLESS)
        connection.execute("CREATE TABLE o (a INT) WITH ('connector' = 'blackhole')")
        for resumes in (False, True):
            interrupt_after(2.0)
            with pytest.raises(KeyboardInterrupt):
                connection.execute("INSERT INTO o SELECT a FROM n")
            assert json.loads((tmp_path / ".sqlstream/j/job.json").read_text())["state"] == "CANCELED"
            assert list(tmp_path.glob(".sqlstream/j/runs/*/chk-*/manifest.json"))
            assert any("resumes" in text for _, text in connection.messages) is resumes
            assert connection.execute("SELECT 1").fetchone() == (1,)
            connection._session.environment.jobs = 0  # the same job again, as another process would run it


# ---- from another thread


def outcome(work: Callable[[], object], started: Callable[[], bool], end: Callable[[], object]) -> BaseException | None:
    """What `work` raises on a thread of its own when `end` is called here, after it has `started`."""
    raised: list[BaseException | None] = []

    def body() -> None:
        try:
            work()
            raised.append(None)
        except BaseException as e:
            raised.append(e)

    thread = threading.Thread(target=body)
    thread.start()
    until(started)
    end()
    thread.join(timeout=30)
    assert not thread.is_alive(), "it still waits"
    return raised[0]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("cursor.cancel", sqlstream.QueryCanceled),
        ("connection.cancel", sqlstream.QueryCanceled),
        ("cursor.close", sqlstream.InterfaceError),
        ("connection.close", sqlstream.InterfaceError),
    ],
)
def test_a_fetch_is_ended_from_another_thread(
    end: str, error: type[Exception], connection: sqlstream.Connection
) -> None:
    connection.execute(ENDLESS)
    cursor = connection.execute("SELECT a FROM n WHERE a > 5")
    of, method = end.split(".")
    call = getattr({"cursor": cursor, "connection": connection}[of], method)
    raised = outcome(cursor.fetchone, lambda: cursor._pump is not None and cursor._pump._thread is not None, call)
    assert isinstance(raised, error), raised
    if end == "connection.cancel":
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_a_continuous_insert_is_ended_from_another_thread(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect(**{"pipeline.name": "j"}) as connection:
        connection.execute(ENDLESS)
        connection.execute("CREATE TABLE o (a INT) WITH ('connector' = 'blackhole')")

        def reads() -> bool:
            job = connection._session.current_job
            return job is not None and job.progress.rows_in > 0

        raised = outcome(lambda: connection.execute("INSERT INTO o SELECT a FROM n"), reads, getattr(connection, end))
        assert isinstance(raised, sqlstream.QueryCanceled)
        assert list(tmp_path.glob(".sqlstream/j/runs/*/chk-*/manifest.json"))
        if end == "cancel":
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_cancel_where_nothing_runs(connection: sqlstream.Connection) -> None:
    connection.cancel()
    cursor = connection.cursor()
    cursor.cancel()
    cursor.execute("SELECT 1")
    assert cursor.fetchall() == [(1,)]
    cursor.cancel()
    assert cursor.execute("SELECT 2").fetchall() == [(2,)]


@pytest.mark.parametrize("query", ["SELECT a FROM n WHERE a > 5", ENDLESS_IN_DUCKDB, "SHOW TABLES"])
def test_cancel_before_the_first_fetch(query: str, connection: sqlstream.Connection) -> None:
    connection.execute(ENDLESS)
    cursor = connection.execute(query)
    cursor.cancel()
    with pytest.raises(sqlstream.QueryCanceled):
        cursor.fetchone()


def test_cancel_as_soon_as_a_fetch_has_begun(connection: sqlstream.Connection) -> None:
    for _ in range(20):
        cursor = connection.execute(ENDLESS_IN_DUCKDB)
        pump = cursor._pump
        assert pump is not None
        raised = outcome(cursor.fetchone, lambda pump=pump: pump._thread is not None, cursor.cancel)
        assert isinstance(raised, sqlstream.QueryCanceled), raised


@pytest.mark.parametrize("statement", [5, None, b"SELECT 1"])
def test_a_statement_is_text(statement: object) -> None:
    with sqlstream.connect() as connection, pytest.raises(sqlstream.ProgrammingError, match="a statement is a str"):
        connection.cursor().execute(statement)  # type: ignore[arg-type]


def test_forgotten_parameters() -> None:
    with (
        sqlstream.connect() as connection,
        pytest.raises(sqlstream.ProgrammingError, match="1 parameters, 0 were given"),
    ):
        connection.cursor().execute("SELECT ?")


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_insert_of_null(mode: str, tmp_path: Path) -> None:
    """NULL in all rows of VALUES has no type of its own: as text, and as a parameter."""
    connection = sqlstream.connect(**{"execution.runtime-mode": mode})
    out = f"'connector' = 'filesystem', 'path' = '{tmp_path}/out', 'format' = 'json'"
    connection.execute(f"CREATE TABLE t (a STRING, b INT, c ROW<x INT, y ARRAY<INT>>) WITH ({out})")
    connection.execute("INSERT INTO t VALUES (NULL, 1, NULL)")
    connection.execute("INSERT INTO t VALUES (?, ?, ROW(NULL, ARRAY[NULL]))", [None, 2])
    lines = sorted(x for f in (tmp_path / "out").glob("part-*") for x in f.read_text().splitlines())
    assert lines == ['{"a":null,"b":1,"c":null}', '{"a":null,"b":2,"c":{"x":null,"y":[null]}}']


@pytest.mark.parametrize(
    "dialect", ["bigquery", "clickhouse", "duckdb", "mysql", "postgres", "snowflake", "spark", "trino"]
)
@pytest.mark.parametrize("text", ["a", "a\\", "\\n", "C:\\new", "it's", "\\' OR 1 = 1 -- ", "x\n?"])
def test_a_text_is_one_value_in_every_dialect(text: str, dialect: str, connection: sqlstream.Connection) -> None:
    """A string ends elsewhere there: what is given as a parameter never becomes a part of the statement."""
    connection.execute(f"SET 'table.sql-dialect' = '{dialect}'")
    try:
        rows = connection.execute("SELECT ?, '?', ? -- ?", (text, 2)).fetchall()
    except sqlstream.ProgrammingError as e:
        assert "'" in text and "cannot be given in the dialect" in str(e)
    else:
        assert rows == [(text, "?", 2)]


def test_what_no_dialect_shares_is_no_parameter_there(connection: sqlstream.Connection) -> None:
    connection.execute("SET 'table.sql-dialect' = 'mysql'")
    assert connection.execute('SELECT "a?", ?, ? # ?', (1.5, None)).fetchall() == [("a?", 1.5, None)]
    with pytest.raises(sqlstream.ProgrammingError, match="cannot be a date in the dialect mysql"):
        connection.execute("SELECT ?", (datetime.date(2024, 1, 1),))
    with pytest.raises(sqlstream.ProgrammingError, match="SET begins no query"):
        connection.execute("SET 'a' = ?", ("a\\b",))


def test_half_a_surrogate_pair_is_no_text(connection: sqlstream.Connection) -> None:
    with pytest.raises(sqlstream.ProgrammingError, match="parameter 1: it has half a surrogate pair"):
        connection.execute("SELECT ?", ("a\ud800",))
