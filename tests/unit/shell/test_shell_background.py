"""What another process is given of a session."""

from __future__ import annotations

from sqlstream.session import Session
from sqlstream.shell.background import script_of

TABLES = """
CREATE TABLE a (x INT) WITH ('connector' = 'datagen');
CREATE TABLE b (x INT) WITH ('connector' = 'datagen');
CREATE TABLE bad (record STRING) WITH ('connector' = 'blackhole');
CREATE TABLE f (x INT) WITH ('connector' = 'filesystem', 'path' = 'f', 'format' = 'json', 'source.bad-records' = 'bad');
CREATE VIEW v AS SELECT x FROM a;
CREATE VIEW w AS SELECT x FROM v;
CREATE TABLE k (x INT) WITH ('connector' = 'blackhole');
CREATE FUNCTION hide AS 'sqlstream.secrets.redacted' LANGUAGE PYTHON;
"""


def script(statement: str, options: dict[str, str] | None = None) -> str:
    session = Session()
    for _ in session.execute(TABLES):
        pass
    return script_of(options or {}, session.catalog, statement)


def test_what_a_statement_names_goes_along() -> None:
    text = script("INSERT INTO k SELECT x FROM w")
    order = [text.index(n) for n in ("TABLE `a`", "VIEW `v`", "VIEW `w`", "INSERT INTO k")]
    assert order == sorted(order) and "`b`" not in text and "hide" not in text
    assert "CREATE TEMPORARY TABLE" in text and "CREATE TABLE" not in text


def test_names_in_strings_too() -> None:
    text = script("INSERT INTO k SELECT x FROM f")
    assert text.index("TABLE `bad`") and "TABLE `f`" in text
    assert "FUNCTION `hide`" in script("INSERT INTO k SELECT CHAR_LENGTH(hide('a'))")
    assert "TABLE `bad`" in script("INSERT INTO k SELECT x FROM a", {"table.exec.late-rows.sink": "bad"})


def test_it_is_a_script_that_another_session_runs() -> None:
    text = script("EXECUTE STATEMENT SET BEGIN INSERT INTO k SELECT x FROM w; INSERT INTO k SELECT x FROM b; END",
                  {"parallelism.default": "2", "table.dml-sync": "true"})  # fmt: skip
    assert "SET 'parallelism.default' = '2'" in text
    session = Session()
    for _ in session.execute(text.replace("EXECUTE STATEMENT SET", "EXPLAIN STATEMENT SET")):
        pass


def test_options_of_the_shell_stay() -> None:
    options = {
        "sql-client.verbose": "true",
        "table.dml-sync": "false",
        "pipeline.name": "p",
        "parallelism.default": "3",
    }
    assert script("INSERT INTO k SELECT x FROM a", options).count("SET ") == 1


def test_databases_go_along_with_what_is_in_them() -> None:
    session = Session()
    own = (
        "CREATE DATABASE sales; CREATE DATABASE other; CREATE VIEW sales.v AS SELECT x * 2 AS x FROM a; USE sales; "
        "CREATE VIEW w AS SELECT x FROM v; CREATE FUNCTION loud AS 'sqlstream.literals.quoted'"
    )
    for _ in session.execute(TABLES + own):
        pass
    text = script_of({}, session.catalog, "INSERT INTO default_database.k SELECT CHAR_LENGTH(loud('x')) FROM w")
    assert "other" not in text
    other = Session(options={"execution.runtime-mode": "streaming"}, dry=True)
    results = list(other.execute(text))
    assert results[-1].message == "planned: k"
    assert other.catalog.current == "sales" and other.catalog.databases() == ["default_database", "sales"]
    assert all(o.temporary for o in other.catalog.objects())
