"""What may come next in a text."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlstream.session import Session
from sqlstream.shell.completion import complete

TABLES = """
CREATE TABLE orders (id INT, amount DOUBLE, `order time` TIMESTAMP(3)) WITH ('connector' = 'datagen');
CREATE TABLE customers (id INT, city STRING) WITH ('connector' = 'datagen');
CREATE VIEW big AS SELECT id AS big_id, amount FROM orders WHERE amount > 10;
CREATE FUNCTION hide AS 'sqlstream.secrets.redacted' LANGUAGE PYTHON;
"""


@pytest.fixture(scope="module")
def session() -> Session:
    made = Session()
    for _ in made.execute(TABLES):
        pass
    return made


def found(text: str, session: Session | None) -> list[str]:
    return [f.text for f in complete(text, session)[1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SEL", ["SELECT"]),
        ("sel", ["select"]),
        ("SELECT 1; exp", ["explain"]),
        ("SELECT * FROM or", ["orders"]),
        ("SELECT * FROM orders JOIN cus", ["customers"]),
        ("INSERT INTO cust", ["customers"]),
        ("DESCRIBE b", ["big"]),
        ("SHOW CREATE TABLE ord", ["orders"]),
        ("DROP VIEW bi", ["big"]),
        ("SELECT * FROM orders o WHERE o.am", ["amount"]),
        ("SELECT * FROM orders AS o JOIN customers c ON c.ci", ["city"]),
        ("SELECT * FROM big WHERE big_", ["big_id"]),
        ("SELECT * FROM infor", ["information_schema"]),
        ("SELECT * FROM information_schema.tab", ["table_constraints", "tables"]),
        ("SELECT * FROM information_schema.views WHERE view_", ["view_definition"]),
        ("SELECT hi", ["hide"]),
        ("SELECT REGEXP_REPL", ["REGEXP_REPLACE"]),
        ("SHOW JO", ["JOBS"]),
        ("CREATE V", ["VIEW"]),
        ("SET 'sql-client.execution.result-m", ["sql-client.execution.result-mode"]),
        ("SET 'sql-client.execution.result-mode' = 'tab", ["table", "tableau"]),
        ("SET 'table.dml-sync' = '", ["true", "false"]),
        ("RESET 'table.dml", ["table.dml-sync"]),
        ("CREATE TABLE t (a INT) WITH ('connector' = 'data", ["datagen"]),
        ("CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'rows-per", ["rows-per-second"]),
        ("CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'forma", []),
        ("CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'forma", ["format"]),
        ("CREATE TABLE t (a INT) WITH ('format' = 'debe", ["debezium-avro-confluent", "debezium-json"]),
        ("SELECT * FROM orders /*+ OPTIONS('rows-per", ["rows-per-second"]),
        ("HELP INS", ["INSERT"]),
        (".tab", [".tables"]),
        (".mode verti", ["vertical"]),
        ("\\pset ", ["format", "pager", "expanded", "x"]),
        ("\\pset pag", ["pager"]),
        ("\\pset format js", ["json", "jsonl"]),
        ("\\pset x o", ["on", "off"]),
        ("\\d cust", ["customers"]),
        ("\\h SELE", ["SELECT"]),
    ],
)
def test_completions(text: str, expected: list[str], session: Session) -> None:
    assert found(text, session) == expected


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "orders.json").write_text("")
    (tmp_path / "job.sql").write_text("")
    assert found("SELECT * FROM 'da", session) == ["data/"]
    assert found("SELECT * FROM 'data/o", session) == ["data/orders.json"]
    assert found("CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = 'data/", session) == [
        "data/orders.json"
    ]
    assert found("\\i jo", session) == ["job.sql"]


def test_without_a_session_there_are_keywords() -> None:
    assert "SELECT" in found("SEL", None) and found("SELECT * FROM or", None) == []


def test_options_come_with_their_help(session: Session) -> None:
    (option,) = complete("SET 'parallelism", session)[1]
    assert "number of parallel tasks" in option.what and "default 1" in option.what


def test_within_comments_and_names_nothing_is_a_string(session: Session) -> None:
    assert found("-- it's\nSEL", session) == ["SELECT"]
    assert found("SELECT `it's`, cou", session)[:1] == ["count"]


def test_tables_of_other_databases_are_qualified() -> None:
    made = Session()
    for _ in made.execute(
        "CREATE DATABASE sales; CREATE VIEW sales.sold AS SELECT 1 AS n; CREATE VIEW mine AS SELECT 1 AS m"
    ):
        pass
    assert {"mine", "sales.sold"} <= set(found("SELECT * FROM ", made))
    assert found("SELECT * FROM sales.", made) == ["sold"]
    assert found("DESCRIBE sales.so", made) == ["sold"]
    assert "n" in found("SELECT * FROM sales.sold WHERE ", made)
    assert found("SELECT * FROM sales.sold AS s WHERE s.", made) == ["n"]
    assert found("USE ", made) == ["default_database", "sales"]
    assert found("SHOW TABLES FROM sa", made) == ["sales"]
    for _ in made.execute("USE sales"):
        pass
    assert {"sold", "default_database.mine"} <= set(found("SELECT * FROM ", made))
    assert found("SELECT * FROM so", made)[0] == "sold"
