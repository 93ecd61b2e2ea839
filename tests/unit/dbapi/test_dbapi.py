"""PEP 249 over batch results, streams and jobs."""

from __future__ import annotations

import datetime
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import sqlstream
from sqlstream import dbapi

ENDLESS = "CREATE TABLE n (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = '200', 'fields.a.min' = '1', 'fields.a.max' = '3')"


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


@pytest.mark.parametrize("parameters", [[], [1, 2], "x", {"a": 1}, [object()], [datetime.datetime.now(datetime.UTC)]])
def test_parameters_that_do_not_fit(parameters: Any, connection: sqlstream.Connection) -> None:
    with pytest.raises(sqlstream.ProgrammingError):
        connection.execute("SELECT ?", parameters)


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
    assert issubclass(sqlstream.DatabaseError, sqlstream.Error) and issubclass(sqlstream.InterfaceError, sqlstream.Error)


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
    with pytest.raises(sqlstream.NotSupportedError, match="hint: "):
        connection.cursor().executemany("INSERT INTO t VALUES (?)", [[1]])


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
    assert row is not None and row[0] == cursor.row_kind == "+I" and row[2] == 1
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
            connection._session._jobs = 0  # the same job again, as another process would run it


@pytest.mark.parametrize("statement", [5, None, b"SELECT 1"])
def test_a_statement_is_text(statement: object) -> None:
    with sqlstream.connect() as connection, pytest.raises(sqlstream.ProgrammingError, match="a statement is a str"):
        connection.cursor().execute(statement)  # type: ignore[arg-type]


def test_forgotten_parameters() -> None:
    with sqlstream.connect() as connection, pytest.raises(sqlstream.ProgrammingError, match="1 parameters, 0 were given"):
        connection.cursor().execute("SELECT ?")
