"""Exit statuses, and what goes where: rows to standard output, everything else to standard error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_driver import environment, sqlstream

import sqlstream as package


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["-c", "SELECT 1"], 0, ""),
        (["--version"], 0, ""),
        (["--help"], 0, ""),
        (["run", "--help"], 0, ""),
        ([], 0, ""),  # a shell of what comes on standard input: nothing
        (["fly"], 2, "there is no command 'fly'"),
        (["-c", "SELECT 1", "run", "x.sql"], 2, "do not go together"),
        (["run"], 2, "FILE.sql"),
        (["run", "nowhere.sql"], 2, "error: nowhere.sql: the script cannot be read: No such file or directory"),
        (["run", "latin1.sql"], 2, "it is not UTF-8 (byte 8)"),
        (["-c", "SELECT 1", "--output", "xml"], 2, "invalid choice: 'xml'"),
        (["-c", "SELECT 1", "--var", "x"], 2, "expected name=value, not 'x'"),
        (["-c", "SELECT 1", "-D", "=x"], 2, "expected name=value"),
        (["-c", "SELECT 1", "-D", "pipeline.nam=x"], 2, "did you mean pipeline.name?"),
        (["-c", "SELECT 1", "-D", "parallelism.default=many"], 2, "expected a whole number, not 'many'"),
        (["-c", "SELECT 1 +"], 1, "error: line 1:"),
        (["-c", "SELECT ${x}"], 1, "unknown variable ${x}"),
        (["-c", "SELECT CAST('x' AS INT)"], 1, "error: "),
    ],
    ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else "",
)
def test_status(arguments: list[str], status: int, says: str, tmp_path: Path) -> None:
    (tmp_path / "latin1.sql").write_bytes(b"SELECT '\xe9'")
    done = sqlstream(*arguments, cwd=tmp_path)
    assert (done.status, says in done.err) == (status, True), done.err
    assert "Traceback" not in done.err
    if status:
        assert done.out == ""


def test_version(tmp_path: Path) -> None:
    assert sqlstream("--version", cwd=tmp_path).out == f"sqlstream {package.__version__}\n"


def test_an_error_shows_file_place_and_hint(tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("CREATE VIEW orders AS SELECT 1 AS id;\n\nSELECT id FROM ordres;\n")
    done = sqlstream("run", "q.sql", cwd=tmp_path)
    assert done.status == 1
    assert done.err == (
        "error: q.sql:3:16: there is no table or view 'ordres'\n"
        "  SELECT id FROM ordres;\n"
        "                 ^\n"
        "hint: did you mean orders?\n"
    )


def test_a_place_is_right_behind_a_variable(tmp_path: Path) -> None:
    done = sqlstream("-c", "SELECT '${long}', x", "--var", "long=" + "y" * 20, cwd=tmp_path)
    first, second, third, *_ = done.err.splitlines()
    assert second.index("x") == third.index("^")


def test_rows_before_the_error_are_there(tmp_path: Path) -> None:
    done = sqlstream("-c", "SELECT 1 AS a; SELECT b", "--output", "csv", cwd=tmp_path)
    assert (done.status, done.out) == (1, "a\n1\n")


def test_an_unexpected_error_is_one_line_unless_debug(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def f(x: int) -> int:\n    return x\n")
    (tmp_path / "q.sql").write_text("SELECT 1;")
    (tmp_path / "sitecustomize.py").write_text(
        "import sqlstream.session as s\ndef fail(*a, **k): raise RuntimeError('boom')\ns.Session.execute = fail\n"
    )
    path = f"{tmp_path}:{Path(__file__).parents[3]}"
    done = sqlstream("run", "q.sql", cwd=tmp_path, PYTHONPATH=path)
    assert done.status == 1
    assert done.err == "error: internal error: RuntimeError: boom; run with --debug for the traceback\n"
    assert "Traceback" in sqlstream("run", "q.sql", "--debug", cwd=tmp_path, PYTHONPATH=path).err


def test_standard_input_and_options_before_the_command(tmp_path: Path) -> None:
    script = b"\xef\xbb\xbfSET; SELECT '${who}' AS who;"
    done = sqlstream(
        "-D", "parallelism.default=2", "--output", "csv", "run", "-", "--var", "who=you", "-D", "pipeline.name=p",
        cwd=tmp_path, stdin=script,
    )  # fmt: skip
    assert done.out.startswith("key,value\n") and done.out.endswith("who\nyou\n")
    shown = dict(line.split(",", 1) for line in done.out.splitlines() if "," in line)
    assert (shown["parallelism.default"], shown["pipeline.name"]) == ("2", "p")
    assert shown["execution.checkpointing.interval"] == "10 s" and shown["restart-strategy.type"] == ""


def test_set_wins_over_options(tmp_path: Path) -> None:
    done = sqlstream("-c", "SET 'pipeline.name' = 'b'; SET", "-D", "pipeline.name=a", "--output", "csv", cwd=tmp_path)
    assert "pipeline.name,b\n" in done.out


def test_an_insert_says_what_it_did_and_ddl_nothing(tmp_path: Path) -> None:
    sql = """CREATE TABLE p (a INT) WITH ('connector' = 'print'); INSERT INTO p VALUES (1), (2)"""
    done = sqlstream("-c", sql, cwd=tmp_path)
    assert done.out == "+I[1]\n+I[2]\n"
    assert done.err.startswith("2 rows into p in ") and done.err.endswith(" s (FINISHED)\n")
    assert "table p created\n" in sqlstream("-c", sql, "--verbose", cwd=tmp_path).err


def test_python_functions_beside_the_script(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.py").write_text("def twice(x: int) -> int:\n    return 2 * x\n")
    (tmp_path / "sub" / "q.sql").write_text(
        "CREATE TEMPORARY FUNCTION twice AS 'mine.twice' LANGUAGE PYTHON; SELECT twice(21) AS a;"
    )
    done = sqlstream("run", "sub/q.sql", "--output", "csv", cwd=tmp_path)
    assert (done.out, done.err) == ("a\n42\n", "")


def test_a_statement_behind_an_endless_one_is_an_error_before_anything_runs(tmp_path: Path) -> None:
    done = sqlstream(
        "-c",
        """CREATE TABLE n (a INT) WITH ('connector' = 'datagen');
        CREATE TABLE p (a INT) WITH ('connector' = 'print');
        INSERT INTO p SELECT a FROM n; SELECT 1""",
        cwd=tmp_path,
    )
    assert (done.status, done.out) == (1, "")
    assert "EXECUTE STATEMENT SET" in done.err


def test_a_select_ends_at_its_limit(tmp_path: Path) -> None:
    done = sqlstream(
        "-c",
        "CREATE TABLE n (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = '100'); SELECT a FROM n LIMIT 3",
        "--output",
        "json",
        cwd=tmp_path,
    )
    assert done.status == 0 and len(done.out.splitlines()) == 3


def test_rows_that_were_left_out_are_told(tmp_path: Path) -> None:
    rows = ("00:00:01", "00:01:01", "00:00:02", "what")
    (tmp_path / "t.json").write_text("".join(f'{{"ts":"2024-01-01 {r}"}}\n' for r in rows))
    done = sqlstream(
        "-c",
        """CREATE TABLE t (ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem',
          'path' = 't.json', 'format' = 'json', 'json.ignore-parse-errors' = 'true');
        SELECT window_start, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))
        GROUP BY window_start, window_end""",
        "-D",
        "execution.runtime-mode=streaming",
        cwd=tmp_path,
    )
    assert done.status == 0
    assert done.err == (
        "warning: dropped as too late for their windows: 1 row\nwarning: skipped as malformed: 1 record\n"
    )


def test_a_batch_query_tells_what_it_skipped(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"a":1,"b":1}\nwhat\n{"a":2,"b":"x"}\n{"a":3,"b":3}\n')
    table = """CREATE TABLE t (a INT, b INT) WITH ('connector' = 'filesystem', 'path' = 't.json', 'format' = 'json',
        'json.ignore-parse-errors' = 'true');"""
    sink = "CREATE TABLE o (a INT, b INT) WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');"
    inserts = "INSERT INTO o SELECT * FROM t; INSERT INTO o SELECT b, a FROM t;"
    for sql in (
        "SELECT x.a, y.b FROM t x JOIN t y ON x.a = y.a",
        f"{sink} EXECUTE STATEMENT SET BEGIN {inserts} END",
    ):
        done = sqlstream("-c", table + sql, "-D", "execution.runtime-mode=batch", cwd=tmp_path)
        assert done.status == 0, done.err
        assert done.err.endswith("warning: skipped as malformed: 2 records\n")


@pytest.mark.parametrize(
    ("closed", "sql", "status", "says"),
    [
        (">&-", "SELECT 1", 1, "error: standard output cannot be written: standard output is closed"),
        (">&-", "CREATE TABLE o (a INT) WITH ('connector'='print'); INSERT INTO o SELECT 1", 1,
         "error: table o: standard output is closed"),
        (">&-", "CREATE TABLE o (a INT) WITH ('connector'='blackhole'); INSERT INTO o SELECT 1", 0, "1 rows into o"),
        (">&- 2>&-", "CREATE TABLE o (a INT) WITH ('connector'='blackhole'); INSERT INTO o SELECT 1", 0, ""),
        ("2>&-", "SELEC", 1, ""),
        ("<&-", "SELECT 1", 0, ""),
    ],
)  # fmt: skip
def test_a_standard_stream_that_is_closed(tmp_path: Path, closed: str, sql: str, status: int, says: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m sqlstream -c "$1" {closed}', sys.executable, sql],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == status and says in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
