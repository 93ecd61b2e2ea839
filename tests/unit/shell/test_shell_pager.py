"""Results that are longer than the screen are shown by $PAGER, on a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from screen import Screen

from sqlstream.shell.pager import pager

LONG = "SELECT x AS long FROM (VALUES " + ", ".join(f"({i})" for i in range(100, 130)) + ") AS t(x);"
# counts what it is given, and waits for a key
PAGER = "echo paged $(wc -l) lines; read key < /dev/tty; echo left\n"


def test_a_long_result(tmp_path: Path) -> None:
    (tmp_path / "pager.sh").write_text(PAGER)
    with Screen(tmp_path, lines=24, PAGER="sh pager.sh") as s:
        s.prompt()
        s.enter("SELECT 1 AS short;")
        s.until("1 row in")
        s.prompt()
        s.enter(LONG)
        s.until("paged 35 lines")  # with its box
        s.enter("")
        s.until(lambda t: "left" in t and "30 rows in" in t)
        s.prompt()
        s.enter("\\c")
        s.until(lambda t: t.strip() == "sqlstream>")
        s.enter(LONG)
        s.until("paged 35 lines")
        s.interrupt()  # ends the pager, and nothing else
        text = s.until(lambda t: "30 rows in" in t and t.endswith("sqlstream>"))
        assert "left" not in text and "cancel" not in text
        for off in (".pager off", "\\pset pager off"):
            s.enter("\\pset pager on")
            s.until(lambda t: t.endswith("by $PAGER\nsqlstream>"))
            s.enter(off)
            s.until(lambda t: t.endswith("nothing is shown by $PAGER\nsqlstream>"))
        s.enter(LONG)
        s.until(lambda t: "129" in t and "30 rows in" in t and t.endswith("sqlstream>"))
        s.enter("\\pset format csv")
        s.until("rows are shown as csv")
        s.enter(LONG)
        s.until(lambda t: "\n129\n" in t and t.endswith("sqlstream>"))


@pytest.mark.parametrize(("arguments", "command"), [(("--no-pager",), "sh pager.sh"), ((), ""), ((), "no-such-pager")])
def test_without_one(arguments: tuple[str, ...], command: str, tmp_path: Path) -> None:
    (tmp_path / "pager.sh").write_text(PAGER)
    with Screen(tmp_path, *arguments, lines=24, PAGER=command) as s:
        s.prompt()
        s.enter(LONG)
        text = s.until(lambda t: "129" in t and "30 rows in" in t and t.endswith("sqlstream>"))
        assert "paged" not in text


def test_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "sh -c 'cat'")
    assert pager() == ["sh", "-c", "cat"]
    for none in ("", "no-such-pager -x"):
        monkeypatch.setenv("PAGER", none)
        assert pager() is None


def test_the_statement_before_is_watched(tmp_path: Path) -> None:
    with Screen(tmp_path, lines=40) as s:
        s.prompt()
        s.enter("SELECT 1 AS before;")
        s.until("1 row in")
        s.prompt()
        s.enter("CREATE TABLE seen (a INT) WITH ('connector' = 'blackhole');")
        s.until("table seen created")
        s.enter("SHOW TABLES;")
        s.until("│ seen")
        s.prompt()
        s.enter("\\c")
        s.until(lambda t: t.strip() == "sqlstream>")
        s.enter("\\watch 0.1")
        s.until(lambda t: t.count("│ seen") > 1)
        s.interrupt_what_runs()
        assert "before" not in s.prompt()


def test_values_do_not_move_the_cursor_as_csv(tmp_path: Path) -> None:
    with Screen(tmp_path, lines=24) as s:
        s.prompt()
        s.enter(".mode csv")
        s.until("rows are shown as csv")
        s.enter("SELECT CONCAT('a', CHR(27), '[2J', CHR(9), 'b') AS v;")
        assert "a\\x1b[2J" in s.until(lambda t: "1 row in" in t and t.endswith("sqlstream>"))
