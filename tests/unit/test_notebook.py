"""Results in notebooks, and the magic: in IPython's shell, and in a real kernel where there is one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sqlstream

pytest.importorskip("IPython")

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from sqlstream import notebook

CLICKS = """
    CREATE TABLE clicks (n INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000',
        'fields.n.min' = '7', 'fields.n.max' = '7')
"""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    made.run_line_magic("load_ext", "sqlstream")
    made.user_ns["connection"] = sqlstream.connect()
    yield made
    made.user_ns["connection"].close()
    sqlstream.default_connection().close()
    InteractiveShell.clear_instance()


def test_results_as_html() -> None:
    with sqlstream.connect() as connection:
        relation = connection.sql("SELECT '<b>' AS `a&b`, 1.5 AS n, CAST(NULL AS INT) AS x, REPEAT('y', 100) AS y")
        assert relation is not None
        html = relation._repr_html_()
        assert "<td>&lt;b&gt;</td>" in html and "a&amp;b<br>" in html
        assert '<td style="text-align: right">1.5</td>' in html and "<i>NULL</i>" in html
        assert "DECIMAL(2, 1)" in html and "y" * 59 + "…" in html and "y" * 60 not in html
        assert html.endswith("<small>1 row</small>")
        many = connection.sql("SELECT a FROM (VALUES " + ", ".join(f"({i})" for i in range(25)) + ") AS t(a)")
        assert many is not None and "25 rows, the first 20 shown" in many._repr_html_()


def test_a_cursors_rows_stay_to_be_fetched() -> None:
    with sqlstream.connect() as connection:
        cursor = connection.execute("SELECT a FROM (VALUES (5), (6)) AS t(a)")
        html = cursor._repr_html_()
        assert html is not None and ">5<" in html and ">6<" in html
        assert sorted(cursor.fetchall()) == [(5,), (6,)]
        connection.execute(CLICKS)
        endless = connection.execute("SELECT n FROM clicks")
        assert "without end" in (endless._repr_html_() or "")
        endless.close()
        assert endless._repr_html_() is None


def test_line_and_cell(shell: Any) -> None:
    shell.run_cell("x = %sqlstream SELECT 'a  b' AS t")
    assert shell.user_ns["x"].fetchall() == [("a  b",)]
    shown = shell.run_cell("%%sqlstream\nCREATE VIEW v AS SELECT 2 AS a;\nSELECT a FROM v;").result
    assert shown.fetchall() == [(2,)]
    assert shell.run_cell("%%sqlstream -o y\nSELECT a + 1 AS b FROM v").result is None
    assert shell.user_ns["y"].fetchall() == [(3,)]
    assert shell.run_cell("%%sqlstream -c connection\nSELECT 4 AS a").result.fetchall() == [(4,)]


def test_variables_of_the_notebook_are_tables(shell: Any) -> None:
    pd = pytest.importorskip("pandas")
    shell.user_ns["frame"] = pd.DataFrame({"a": [1, 2]})
    assert shell.run_cell("%sqlstream SELECT SUM(a) AS s FROM frame").result.fetchall() == [(3,)]


@pytest.mark.parametrize(
    ("cell", "message"),
    [("%sqlstream SELEC 1", "SELEC"), ("%%sqlstream -c nothing\nSELECT 1", "nothing is no variable with a connection")],
)
def test_errors_have_no_frames(shell: Any, cell: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not shell.run_cell(cell).success
    printed = capsys.readouterr().out
    assert message in printed and "File " not in printed


class Screen:
    """Draws nothing, and is the stop button once there are three rows."""

    def __init__(self) -> None:
        self.pictures: list[tuple[bool, str, str]] = []

    def show(self, view: notebook.LiveView) -> None:
        self.pictures.append((view.running, repr(view), view._repr_html_()))
        if view.running and view.changes >= 3:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    made = Screen()
    monkeypatch.setattr(notebook, "_Picture", lambda shell: made)
    return made


def test_a_live_view_until_it_is_stopped(shell: Any, screen: Screen) -> None:
    shell.run_cell(f"%%sqlstream\n{CLICKS}")
    done = shell.run_cell("%%sqlstream -o view -n 3\nSELECT n FROM clicks")
    assert done.success
    view = shell.user_ns["view"]
    assert view.rows == [(7,)] * 3 and view.changes >= 3 and not view.running
    running, text, _ = screen.pictures[-1]
    assert not running and text.splitlines()[0] == "n" and text.endswith("rows; stopped)")
    assert any(now and "the stop button ends it" in html for now, _, html in screen.pictures)


def test_a_live_view_of_rows_that_change(shell: Any, screen: Screen) -> None:
    shell.run_cell(f"%%sqlstream\n{CLICKS}")
    shell.run_cell("%%sqlstream -o view\nSELECT n, COUNT(*) AS c FROM clicks GROUP BY n")
    view = shell.user_ns["view"]
    ((n, c),) = view.rows  # the last count alone
    assert n == 7 and c > 0 and view.columns == ["n", "c"]


def test_a_live_view_for_some_time(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """In a terminal it is drawn once, at its end."""
    shell.run_cell(f"%%sqlstream\n{CLICKS}")
    shell.run_cell("%%sqlstream -s 0.3\nSELECT n FROM clicks WHERE n < 0")
    assert capsys.readouterr().out.count("(0 rows; stopped)") == 1


def test_a_real_kernel() -> None:
    """The view is refreshed in one place, and the kernel's stop button ends it. ipykernel is not among the tests' libraries."""
    pytest.importorskip("ipykernel")
    client = pytest.importorskip("jupyter_client.manager")
    manager, kernel = client.start_new_kernel(kernel_name="python3")
    try:
        kernel.execute_interactive("%load_ext sqlstream", timeout=120)
        kernel.execute_interactive(f"%%sqlstream\n{CLICKS}", timeout=120)
        updates = 0
        replies: list[Any] = []

        def on_output(message: Any) -> None:
            nonlocal updates
            replies.append(message)
            if message["msg_type"] == "update_display_data":
                updates += 1
                if updates == 3:
                    manager.interrupt_kernel()

        reply = kernel.execute_interactive("%%sqlstream\nSELECT n FROM clicks", timeout=120, output_hook=on_output)
        assert reply["content"]["status"] == "ok"
        drawn = [m for m in replies if m["msg_type"] in ("display_data", "update_display_data")]
        assert len({m["content"]["transient"]["display_id"] for m in drawn}) == 1
        assert "stopped" in drawn[-1]["content"]["data"]["text/html"]
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
