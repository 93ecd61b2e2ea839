"""The shell on a terminal: a tour, as somebody would take it."""

from __future__ import annotations

from pathlib import Path

from screen import Screen

NUMBERS = (
    "CREATE TABLE n (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = '20', 'fields.a.min' = '1', "
    "'fields.a.max' = '3');"
)


def test_statements_errors_and_the_end(tmp_path: Path) -> None:
    with Screen(tmp_path) as s:
        s.prompt()
        s.enter("SELECT 1 AS a, 'x' AS b, CAST(NULL AS INT) AS c, ROW(1, 'y') AS r;")
        s.until("row in")
        text = s.prompt()
        assert "│   1 │ x       │ NULL │ (1, y)" in text and "│ INT │ CHAR(1) │ INT  │" in text
        s.enter("SELECT")
        s.until("->")
        s.enter("  nonsense FROM")
        s.enter("  VALUES (1);")
        assert "hint:" in s.until(lambda t: "hint:" in t and t.endswith("sqlstream>"))
        assert "Traceback" not in s.text
        s.enter("\\dx")
        s.until("unknown command \\dx")
        s.prompt()
        s.type("SELECT 1 +")
        s.until("1 +")
        s.interrupt()  # takes the text away
        s.until(lambda t: t.endswith("sqlstream>") and "1 +" in t)
        s.enter("CREATE TABLE wide (v STRING) WITH ('connector' = 'print');")
        s.until("table wide created")
        s.prompt()
        s.type("\x04")
        assert s.ended() == 0


def test_a_view_that_moves(tmp_path: Path) -> None:
    with Screen(tmp_path) as s:
        s.prompt()
        s.enter(NUMBERS)
        s.until("table n created")
        s.enter("SELECT a, COUNT(*) AS c FROM n GROUP BY a;")
        text = s.until("3 rows")
        assert "SQL Query Result (Table)" in text and "│ INT │ BIGINT │" in text and "Q Quit" in text
        s.type("o")
        s.until("Q Back")
        s.type("q")
        s.until("Q Quit")
        s.type("+")
        s.until("Refresh: 0.2 s")
        s.type("s")
        s.until("Sorted: a ↑")
        s.type("s")
        s.until("Sorted: a ↓")
        s.resize(60, 16)
        s.until(lambda t: len(t.splitlines()) == 16 and "Sorted: a" in t)
        s.type("q")
        text = s.until("changes in")
        s.prompt()
        assert "changes in" in text
        s.interrupt()
        s.enter("SELECT 2 AS still_here;")
        s.until("still_here")
        s.prompt()


def test_a_changelog_and_rows_that_go_by(tmp_path: Path) -> None:
    with Screen(tmp_path, "shell", "-D", "sql-client.execution.result-mode=changelog") as s:
        s.prompt()
        s.enter(NUMBERS)
        s.until("table n created")
        s.enter("SELECT a, COUNT(*) AS c FROM n GROUP BY a;")
        text = s.until(lambda t: "│ -U │" in t and "│ +U │" in t)
        assert "SQL Query Result (Changelog)" in text and "│ op │" in text
        s.interrupt()
        s.until("the query was stopped")
        s.prompt()
        s.enter(".mode tableau")
        s.prompt()
        s.enter("SELECT a, COUNT(*) AS c FROM n GROUP BY a;")
        s.until("│ +U │")
        s.interrupt_what_runs()
        s.until("canceled")
        s.prompt()
        s.enter("SELECT a FROM n LIMIT 2;")
        s.until("Received a total of 2 rows")


def test_ctrl_c_ends_what_runs(tmp_path: Path) -> None:
    with Screen(tmp_path) as s:
        s.prompt()
        s.enter("SELECT COUNT(*) FROM (VALUES (1), (2)) AS t(a);")
        s.until("row in")
        long = "CREATE TABLE l (a BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '3000000000');"
        s.enter(long)
        s.until("table l created")
        s.prompt()
        s.enter("SELECT SUM(a), COUNT(DISTINCT a) FROM l;")
        s.until("FROM l;")
        s.interrupt_what_runs()
        s.until("canceled")
        s.prompt()
        s.enter(NUMBERS)
        s.enter("CREATE TABLE k (a INT) WITH ('connector' = 'blackhole');")
        s.enter("SET 'table.dml-sync' = 'true';")
        s.until("table.dml-sync = true")
        s.enter("INSERT INTO k SELECT a FROM n;")
        s.until("rows in")
        s.interrupt_what_runs()
        s.until("canceled")
        s.prompt()
        s.enter("\\! sleep 1000")
        s.until("sleep 1000")
        s.interrupt_what_runs()
        s.prompt()
        s.enter("SELECT 'alive' AS still;")
        s.until("│ alive ")


def test_jobs_go_on(tmp_path: Path) -> None:
    with Screen(tmp_path, columns=120) as s:
        s.prompt()
        s.enter(NUMBERS)
        s.enter("CREATE VIEW twice AS SELECT a * 2 AS a FROM n;")
        s.enter("CREATE TABLE k (a INT, c BIGINT) WITH ('connector' = 'blackhole');")
        s.enter("INSERT INTO k SELECT a, nothing FROM twice;")
        s.until(lambda t: "error:" in t and t.endswith("sqlstream>"))
        s.enter("INSERT INTO k SELECT a, COUNT(*) FROM twice GROUP BY a;")
        s.until("job insert-into_k runs: process")
        s.enter("SHOW JOBS;")
        s.until(lambda t: "│ insert-into_k │ RUNNING │" in t)
        s.enter("\\q")
        s.until("job insert-into_k goes on")
        assert s.ended() == 0
    with Screen(tmp_path, columns=120, lines=50) as s:
        s.prompt()
        s.enter("STOP JOB 'insert-into_k';")
        s.until("job insert-into_k: CANCELED")
        s.enter("DESCRIBE JOB 'insert-into_k';")
        s.until("│ CANCELED")


def test_history_completion_and_the_editor(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "SELECT \'from the editor\' AS v;" > "$1"\n')
    editor.chmod(0o755)
    with Screen(tmp_path) as s:
        s.prompt()
        s.enter("SELECT 'first' AS v;")
        s.until("│ first ")
        s.prompt()
    with Screen(tmp_path, EDITOR=str(editor)) as s:
        s.prompt()
        s.type("\x1b[A")  # up
        s.until("sqlstream> SELECT 'first' AS v;")
        s.enter("")
        s.until("│ first ")
        s.prompt()
        s.type("\x12fir")  # Ctrl-R
        s.until("I-search backward: fir")
        s.type("\r")
        s.until(lambda t: t.endswith("sqlstream> SELECT 'first' AS v;"))
        s.interrupt()
        s.until(lambda t: t.endswith("sqlstream>"))
        s.enter("CREATE TABLE customers (id INT, city STRING) WITH ('connector' = 'datagen');")
        s.until("table customers created")
        s.prompt()
        s.type("SELECT * FROM cust\t")
        s.until("SELECT * FROM customers")
        s.type(" c WHERE c.c\t")
        s.until("WHERE c.city")
        s.interrupt()
        s.type("SET 'sql-client.execution.result-mode' = '\t")
        s.until(lambda t: "changelog" in t and "markdown" in t)
        s.interrupt()
        s.prompt()
        s.enter("\\e")
        s.until("│ from the editor ")


def test_files_that_come_first_and_forms(tmp_path: Path) -> None:
    (tmp_path / "config" / "sqlstream").mkdir(parents=True)
    (tmp_path / "config" / "sqlstream" / "rc.sql").write_text("CREATE VIEW mine AS SELECT 1 AS a, 'x' AS b;\n")
    (tmp_path / "first.sql").write_text("-- a comment\n.mode vertical\nSELECT * FROM mine;\n")
    with Screen(tmp_path, "shell", "-i", "first.sql") as s:
        s.until("-[ RECORD 1 ]")
        s.prompt()
        s.enter(".mode markdown")
        s.enter("TABLE mine;")
        s.until("|--:|---|")
        s.enter("\\o rows.txt")
        s.prompt()
        s.enter("TABLE mine;")
        s.prompt()
        s.enter("\\o")
        s.enter("\\i nowhere.sql")
        s.until("nowhere.sql cannot be read: No such file or directory")
        s.enter("HELP SHOW JOBS;")
        s.until("SHOW JOBS [LIKE 'pattern']")
    assert (tmp_path / "rows.txt").read_text().splitlines()[0].startswith("| a | b")


def test_watching_ends_with_the_view_that_is_left(tmp_path: Path) -> None:
    with Screen(tmp_path, SQLSTREAM_EXECUTION_RUNTIME_MODE="streaming") as s:
        s.prompt()
        s.enter(NUMBERS)
        s.until("table n created")
        s.enter("SELECT a AS first_one FROM n;")
        s.until("Q Quit")
        s.type("q")
        s.until("the query was stopped")
        s.prompt()
        s.enter("\\c")
        s.until(lambda t: t.strip() == "sqlstream>")
        s.enter("\\watch 1")
        s.until("Q Quit")
        s.interrupt()
        s.until(lambda t: "the query was stopped" in t and t.endswith("sqlstream>"))
        s.enter("SELECT 40 + 2;")  # which a view would take for keys
        s.until(" 42 ")


def test_completions_come_while_typing_where_the_option_says_so(tmp_path: Path) -> None:
    with Screen(tmp_path) as s:
        s.prompt()
        s.type("SHOW CREATE VI")
        s.until("SHOW CREATE VI")
        s.type("E")  # the screen has caught up with what is typed, and shows nothing more
        assert s.until("SHOW CREATE VIE").count("VIEW") == 0
        s.interrupt()
        s.prompt()
        s.enter("SET 'sql-client.complete-while-typing' = 'true';")
        s.until("complete-while-typing")
        s.prompt()
        s.type("SELECT REGEXP_EX")
        text = s.until("REGEXP_EXTRACT_ALL")
        assert "REGEXP_EXTRACT" in text
