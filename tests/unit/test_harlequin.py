"""The adapter of harlequin, which is not among the tests' libraries: it is large, and keeps others at versions of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("harlequin", reason="harlequin is not installed")

from harlequin.exception import HarlequinConfigError, HarlequinQueryError

from sqlstream.harlequin import SqlStreamAdapter, SqlStreamConnection

CLICKS = """
    CREATE TABLE clicks (n INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000',
        'fields.n.min' = '7', 'fields.n.max' = '7')
"""


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[SqlStreamConnection]:
    made = SqlStreamAdapter((str(tmp_path),), seconds="0.5").connect()
    yield made
    made.close()


def test_rows(connection: SqlStreamConnection) -> None:
    assert connection.execute("CREATE VIEW v AS SELECT 1 AS a, 'x' AS b, ARRAY[1] AS c") is None
    cursor = connection.execute("SELECT * FROM v")
    assert cursor is not None
    assert cursor.columns() == [("a", "##"), ("b", "s"), ("c", "[]")]
    assert cursor.fetchall().to_pylist() == [{"a": 1, "b": "x", "c": [1]}]
    assert connection.execute("SELECT a FROM v WHERE a > 1").fetchall() is None


def test_a_query_without_end_is_ended(connection: SqlStreamConnection) -> None:
    connection.execute(CLICKS)
    assert connection.execute("SELECT n FROM clicks WHERE n < 0").fetchall() is None
    patient = SqlStreamAdapter((), seconds="300").connect()
    patient.execute(CLICKS)
    assert patient.execute("SELECT n FROM clicks").set_limit(5).fetchall().num_rows == 5
    patient.close()


def test_cancel(connection: SqlStreamConnection) -> None:
    connection.execute(CLICKS)
    connection.execute("CREATE TABLE sink (n INT) WITH ('connector' = 'blackhole')")
    errors: list[Any] = []

    def insert() -> None:
        with pytest.raises(HarlequinQueryError) as caught:
            connection.execute("INSERT INTO sink SELECT n FROM clicks")
        errors.append(caught.value)

    thread = threading.Thread(target=insert)
    thread.start()
    while thread.is_alive():
        connection.cancel()
        time.sleep(0.01)
    assert "canceled" in str(errors)


def test_catalog(connection: SqlStreamConnection) -> None:
    connection.execute(CLICKS)
    connection.execute("CREATE VIEW v AS SELECT CAST(n AS STRING) AS s FROM clicks")
    (database,) = connection.get_catalog().items
    assert [(i.label, i.type_label) for i in database.children] == [("clicks", "t"), ("v", "v")]
    assert [(c.label, c.type_label) for c in database.children[1].children] == [("s", "s")]
    assert any(c.label == "UPPER" for c in connection.get_completions())


def test_mistakes(connection: SqlStreamConnection) -> None:
    with pytest.raises(HarlequinQueryError, match="SELEC"):
        connection.execute("SELEC 1")
    with pytest.raises(HarlequinConfigError, match="one directory"):
        SqlStreamAdapter(("a", "b"))
    with pytest.raises(HarlequinConfigError, match="is a number"):
        SqlStreamAdapter((), seconds="soon")


def test_in_the_editor(tmp_path: Path) -> None:
    from harlequin import Harlequin

    async def tour() -> tuple[int, list[str]]:
        app = Harlequin(SqlStreamAdapter((str(tmp_path),)), connection_hash="t")
        async with app.run_test(size=(120, 36)) as pilot:
            deadline = time.monotonic() + 60
            while app.connection is None or app.editor is None:
                await pilot.pause(0.05)
                assert time.monotonic() < deadline
            app.editor.text = "SELECT 41 + 1 AS answer"
            await pilot.press("ctrl+j")
            while not app.results_viewer.query("ResultsTable"):
                await pilot.pause(0.05)
                assert time.monotonic() < deadline
            table = app.results_viewer.get_visible_table()
            return table.source_row_count, [str(c.label) for c in table.ordered_columns]

    rows, names = asyncio.run(tour())
    assert rows == 1 and "answer" in names[0]
