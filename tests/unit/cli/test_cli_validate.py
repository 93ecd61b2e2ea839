"""`sqlstream validate` and `sqlstream explain`: all mistakes at once, plans, and nothing that runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cli_driver import ROOT, Done, sqlstream

from sqlstream.cli.main import main
from sqlstream.session import Session
from sqlstream.validation import validate

TABLES = """CREATE TABLE n (a INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
CREATE TABLE p (a INT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Done:
    status = main(arguments)
    out, err = capsys.readouterr()
    return Done(status, out, err)


def places(sql: str, variables: dict[str, str] | None = None) -> list[tuple[int, int, str]]:
    found = validate(Session(dry=True), sql, "x.sql", variables)
    return [(e.position.line, e.position.column, e.message) for e in found.errors if e.position is not None]


def test_all_mistakes_are_told() -> None:
    sql = """CREATE VIEW v AS SELECT 1 AS a;
SELECT b FROM v;
SELEC 1;
SELECT a +;
INSERT INTO nowhere SELECT a FROM v;
SET 'pipeline.nam' = 'x';
SELECT a FROM v;
SELECT 'open;
"""
    assert places(sql) == [
        (2, 8, "there is no column 'b'"),
        (3, 1, "SELEC begins no statement"),
        (4, 11, "expected an expression, found the end of the statement"),
        (5, 13, "there is no table or view 'nowhere'"),
        (6, 5, "unknown option 'pipeline.nam'"),
        (8, 8, "this string does not end"),
    ]


def test_what_hangs_on_a_mistake_is_not_another_one() -> None:
    sql = """CREATE TABLE t (a STRIN) WITH ('connector' = 'datagen');
CREATE VIEW v AS SELECT a FROM t;
SELECT a FROM v; SELECT x FROM (VALUES (1)) w(y);
CREATE TEMPORARY FUNCTION f AS 'nowhere.f' LANGUAGE PYTHON; SELECT f(1);
"""
    found = validate(Session(dry=True), sql)
    assert [e.message for e in found.errors][:2] == ["there is no type STRIN", "there is no column 'x'"]
    assert (found.statements, found.unchecked, len(found.errors)) == (6, 3, 3)


def test_variables() -> None:
    sql = "CREATE VIEW v AS SELECT ${a} AS a;\nSELECT '${b}', a FROM v -- ${c}\n;SELECT ${a};"
    assert places(sql) == [
        (1, 25, "unknown variable ${a}"),
        (2, 9, "unknown variable ${b}"),
        (3, 9, "unknown variable ${a}"),
    ]
    assert places(sql, {"a": "1", "b": "it's"}) == []


def test_a_statement_behind_an_endless_one() -> None:
    sql = TABLES + "INSERT INTO p SELECT a FROM n;\nSELECT 1;"
    assert places(sql) == [(4, 1, "the statement before this one reads unbounded input and never ends")]


def test_what_a_plan_refuses_is_found() -> None:
    ordered = TABLES + "SELECT a FROM n ORDER BY a;"
    assert len(places(ordered)) == 1
    assert len(places(TABLES + "SET 'execution.runtime-mode' = 'batch'; SELECT a FROM n;")) == 1
    assert places("SET 'execution.runtime-mode' = 'streaming'; SELECT COUNT(*) FROM (VALUES (1)) t(x) GROUP BY x") == []


def test_places_text_and_status(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "q.sql").write_text("CREATE VIEW orders AS SELECT 1 AS id;\n\nSELECT id FROM ordres;\n")
    done = run(capsys, "validate", "q.sql")
    assert done == Done(
        1,
        "error: q.sql:3:16: there is no table or view 'ordres'\n  SELECT id FROM ordres;\n"
        "                 ^\nhint: did you mean orders?\n",
        "1 error in 1 of 1 script, 2 statements\n",
    )
    done = run(capsys, "validate", "q.sql", "--output", "json")
    assert json.loads(done.out) == {
        "file": "q.sql", "line": 3, "column": 16, "severity": "error", "kind": "BindError",
        "message": "there is no table or view 'ordres'", "hint": "did you mean orders?",
    }  # fmt: skip
    done = run(capsys, "validate", "-c", "SELECT 1", "-q")
    assert done == Done(0, "", "")


def test_a_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in {
        "tables.sql": TABLES,
        "q/b.sql": "SELECT a FROM n;",
        "q/deep/c.sql": "SELECT b FROM n;",
        "q/.hidden/d.sql": "wrong",
        "q/notes.txt": "wrong",
    }.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text)
    done = run(capsys, "validate", "q")
    assert done.status == 1 and done.err == "2 errors in 2 of 2 scripts, 2 statements\n"
    assert "q/b.sql:1:15: there is no table" in done.out and "q/deep/c.sql:1:15: there is no table" in done.out
    done = run(capsys, "validate", "q", "--with", "tables.sql")
    assert done.out.startswith("error: q/deep/c.sql:1:8: there is no column 'b'") and done.out.count("error:") == 1
    (here / "empty").mkdir()
    for arguments in (
        ["empty"],
        ["nowhere.sql"],
        [],
        ["q", "-c", "SELECT 1"],
        ["q", "-D", "x=y"],
        ["q", "--with", "no.sql"],
    ):
        done = run(capsys, "validate", *arguments)
        assert done.status == 2 and done.err.startswith("error: "), arguments


def test_nothing_runs_and_nothing_is_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "kept").mkdir()
    (here / "kept" / "catalog.sql").write_text("CREATE VIEW one AS SELECT 1 AS x;\n")
    (here / "sqlstream.toml").write_text('table.catalog-store.file.path = "kept"\n"pipeline.name" = "job"\n')
    (here / "q.sql").write_text(
        TABLES.replace("'path' = 'out'", "'path' = '/proc/nowhere'")
        + """CREATE VIEW two AS SELECT 2 AS x FROM one; CREATE VIEW three AS SELECT 3 AS x FROM one; DROP VIEW three;
        STOP JOB 'x'; CREATE SAVEPOINT FOR JOB 'x' 'y'; DESCRIBE JOB 'x'; EXPLAIN ANALYZE SELECT 1;
        CREATE TABLE c WITH ('connector' = 'filesystem', 'path' = 'c', 'format' = 'csv') AS SELECT 1 AS k;
        SELECT k FROM c; EXECUTE STATEMENT SET BEGIN INSERT INTO p SELECT x FROM two; END;"""
    )
    before = sorted((p, p.stat().st_mtime_ns, p.stat().st_ino) for p in here.rglob("*"))
    for command in ("validate", "explain"):
        done = run(capsys, command, "q.sql")
        assert done.status == 0, done.out + done.err
        assert sorted((p, p.stat().st_mtime_ns, p.stat().st_ino) for p in here.rglob("*")) == before


def test_functions_beside_the_script(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "sub").mkdir()
    (here / "sub" / "of_validated.py").write_text("def twice(x: int) -> int:\n    return 2 * x\n")
    (here / "sub" / "q.sql").write_text(
        "CREATE TEMPORARY FUNCTION twice AS 'of_validated.twice' LANGUAGE PYTHON; SELECT twice('x');"
    )
    done = run(capsys, "validate", "sub")
    assert done.status == 1 and "sub/q.sql:1:81: " in done.out


def test_standard_input(tmp_path: Path) -> None:
    done = sqlstream("validate", "-", cwd=tmp_path, stdin=b"SELECT a")
    assert (done.status, done.out.splitlines()[0]) == (1, "error: <stdin>:1:8: there is no column 'a'")


# What queries/connectors has from the environment. Nothing is asked of a server.
SERVED = {
    "KAFKA_SERVERS": "localhost:9092", "NATS_URL": "nats://localhost:4222", "LAKE": "/nowhere/lake", "SHOP": "/nowhere/shop",
    "MYSQL_URL": "mysql://ann:s3cret@localhost:3306/shop", "POSTGRES_URL": "postgresql://ann:s3cret@localhost:5432/shop",
    "POSTGRES_HOST": "localhost", "POSTGRES_PORT": "5432", "POSTGRES_USER": "ann", "POSTGRES_PASSWORD": "s3cret",
    "POSTGRES_DATABASE": "shop",
}  # fmt: skip


def test_what_comes_with_it_is_valid(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name, value in SERVED.items():
        monkeypatch.setenv(name, value)
    done = run(capsys, "validate", "queries")
    assert done.status == 0, done.out
    assert not os.path.exists(".sqlstream")


def test_explain(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = TABLES + "SELECT COUNT(*) AS c FROM n;\nINSERT INTO p SELECT a FROM n;"
    (here / "q.sql").write_text(sql)
    done = run(capsys, "explain", "q.sql")
    assert done.status == 0
    assert done.out.startswith("-- q.sql:3: SELECT COUNT(*) AS c FROM n\n== Physical Plan (streaming, 1 task) ==\n")
    assert (
        "\n\n-- q.sql:4: INSERT INTO p SELECT a FROM n\n== Physical Plan (streaming, 1 task) ==\nSink(table=p"
        in done.out
    )
    done = run(capsys, "explain", "-c", "SELECT 1 AS x", "--output", "json", "--detail", "SYNTAX_TREE")
    told = json.loads(done.out)
    assert (told["file"], told["line"], told["statement"]) == (None, 1, "SELECT 1 AS x")
    assert told["plan"].startswith("== Optimized Logical Plan (batch") and "== Abstract Syntax Tree ==" in told["plan"]
    assert run(capsys, "explain", "-c", "SET") == Done(0, "", "there is no query, INSERT or statement set\n")
    done = run(capsys, "explain", "-c", "SELECT a", "--with", "q.sql")
    assert (done.status, done.err.splitlines()[0]) == (1, "error: line 1:8: there is no column 'a'")
