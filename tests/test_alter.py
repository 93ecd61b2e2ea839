"""ALTER TABLE, ALTER VIEW and CREATE OR REPLACE: the definition that is there afterwards, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlstream.errors import SqlStreamError
from sqlstream.session import Session

TABLE = """
CREATE TABLE t (
  id INT, name STRING, price DOUBLE, ts TIMESTAMP(3), doubled AS price * 2,
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND, CONSTRAINT pk PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'debezium-json');
CREATE VIEW v AS SELECT id, name FROM t;
"""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    made = Session(tmp_path / "db", working_directory=str(tmp_path))
    run(made, TABLE)
    return made


def run(session: Session, sql: str) -> list[dict[str, object]]:
    last = list(session.execute(sql))[-1]
    return [row for batch, _ in last.batches() for row in batch.to_pylist()]


def columns(session: Session) -> list[str]:
    table = session.environment.catalog.relation(("t",))
    return [c.name for c in table.columns]


def shown(session: Session) -> str:
    (row,) = run(session, "SHOW CREATE TABLE t;")
    return str(*row.values())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("ADD city STRING", ["id", "name", "price", "ts", "doubled", "city"]),
        ("ADD (a INT FIRST, b INT AFTER a, c AS id + 1)", ["a", "b", "id", "name", "price", "ts", "doubled", "c"]),
        ("ADD city STRING AFTER name", ["id", "name", "city", "price", "ts", "doubled"]),
        ("MODIFY name VARCHAR(10) FIRST", ["name", "id", "price", "ts", "doubled"]),
        ("MODIFY (name BIGINT, price DECIMAL(8, 2) AFTER ts)", ["id", "name", "ts", "price", "doubled"]),
        ("DROP name", ["id", "price", "ts", "doubled"]),
        ("DROP (name, doubled)", ["id", "price", "ts"]),
        ("RENAME name TO title", ["id", "title", "price", "ts", "doubled"]),
        ("RENAME id TO `key`", ["key", "name", "price", "ts", "doubled"]),
    ],
)
def test_columns(session: Session, change: str, expected: list[str]) -> None:
    run(session, f"ALTER TABLE t {change};")
    assert columns(session) == expected


@pytest.mark.parametrize(
    ("change", "there", "gone"),
    [
        ("MODIFY name BIGINT", "`name` BIGINT", "`name` STRING"),
        ("RENAME id TO `key`", "PRIMARY KEY (`key`)", "`id`"),
        ("DROP PRIMARY KEY", "`id` INT", "PRIMARY KEY"),
        ("DROP CONSTRAINT pk", "`id` INT", "PRIMARY KEY"),
        ("DROP WATERMARK", "`ts`", "WATERMARK"),
        ("MODIFY WATERMARK FOR ts AS ts", "WATERMARK FOR `ts` AS ts,", "INTERVAL"),
        ("SET ('format' = 'json', 'source.monitor-interval' = '1 s')", "'format' = 'json'", "debezium"),
        ("MODIFY CONSTRAINT k2 PRIMARY KEY (name) NOT ENFORCED", "CONSTRAINT `k2` PRIMARY KEY (`name`)", "(`id`)"),
    ],
)
def test_the_rest_of_a_definition(session: Session, change: str, there: str, gone: str) -> None:
    run(session, f"ALTER TABLE t {change};")
    text = shown(session) + "\n"
    assert there in text and gone not in text, text


def test_what_was_dropped_is_added_again(session: Session) -> None:
    run(session, "ALTER TABLE t DROP WATERMARK; ALTER TABLE t ADD WATERMARK FOR ts AS ts - INTERVAL '9' SECOND;")
    run(session, "ALTER TABLE t DROP PRIMARY KEY; ALTER TABLE t ADD PRIMARY KEY (name) NOT ENFORCED;")
    run(
        session,
        "ALTER TABLE t SET ('source.monitor-interval' = '1 s'); ALTER TABLE t RESET ('source.monitor-interval');",
    )
    text = shown(session)
    assert "INTERVAL '9' SECOND" in text and "PRIMARY KEY (`name`)" in text and "monitor" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("ALTER TABLE t DROP price", "column 'price' cannot be dropped: column 'doubled' is computed from it"),
        ("ALTER TABLE t DROP ts", "column 'ts' cannot be dropped: the WATERMARK is of it"),
        ("ALTER TABLE t DROP id", "column 'id' cannot be dropped: it is in the PRIMARY KEY"),
        (
            "ALTER TABLE t RENAME price TO cost",
            "column 'price' cannot be renamed: column 'doubled' is computed from it",
        ),
        ("ALTER TABLE t RENAME ts TO at", "column 'ts' cannot be renamed: the WATERMARK is of it"),
        ("ALTER TABLE t RENAME name TO id", "table t has a column 'id' already"),
        ("ALTER TABLE t DROP (id, name, price, ts, doubled)", "table t would have no column left"),
        ("ALTER TABLE t MODIFY city INT", "table t has no column 'city'"),
        ("ALTER TABLE t ADD city INT AFTER town", "table t has no column 'town'"),
        ("ALTER TABLE t ADD name INT", "table t has a column 'name' already"),
        ("ALTER TABLE t ADD WATERMARK FOR ts AS ts", "table t has a WATERMARK already"),
        ("ALTER TABLE t ADD PRIMARY KEY (name) NOT ENFORCED", "table t has a PRIMARY KEY already"),
        ("ALTER TABLE t DROP CONSTRAINT other", "table t has no constraint 'other'"),
        ("ALTER TABLE t RESET ('connector')", "'connector' cannot be reset"),
        ("ALTER TABLE t RESET ('codec')", "table t has no option 'codec'"),
        ("ALTER TABLE t RESET ('format')", "option 'format' is missing"),
        ("ALTER TABLE t SET ('format' = 'jsn')", "unknown format 'jsn'"),
        ("ALTER TABLE t ADD x AS nothing + 1", "nothing"),
        ("ALTER TABLE t RENAME TO v", "'v' exists already"),
        ("ALTER TABLE u DROP a", "there is no table or view 'u'"),
        ("ALTER TABLE v DROP id", "'v' is a view"),
        ("ALTER VIEW t AS SELECT 1", "'t' is a table"),
        ("ALTER VIEW v AS SELECT nothing FROM t", "nothing"),
        ("ALTER VIEW v AS SELECT id FROM v", "view v would read itself: v → v"),
        ("CREATE OR REPLACE VIEW v AS SELECT * FROM (SELECT id FROM v)", "view v would read itself: v → v"),
        ("ALTER TABLE t RENAME TO t", "'t' is its name"),
        ("ALTER TABLE t MODIFY name INT AFTER name", "column 'name' cannot stand behind itself"),
        ("ALTER TABLE t ADD COLUMN x INT", "ADD COLUMN is not Flink's"),
        ("ALTER TABLE t ADD IF NOT EXISTS x INT", "ADD IF NOT EXISTS is for partitions"),
        ("ALTER TABLE t MODIFY ts STRING", "1:1"),
        ("CREATE OR REPLACE TABLE v (a INT) WITH ('connector' = 'datagen')", "'v' exists already"),
        ("CREATE OR REPLACE VIEW v AS SELECT nothing FROM t", "nothing"),
    ],
)
def test_mistakes_change_nothing(session: Session, change: str, message: str) -> None:
    before = shown(session)
    with pytest.raises(SqlStreamError) as raised:
        run(session, change + ";")
    assert message in str(raised.value), str(raised.value)
    assert shown(session) == before and columns(session) == ["id", "name", "price", "ts", "doubled"]
    assert [list(row.values()) for row in run(session, "SHOW VIEWS;")] == [["v"]]


def test_names(session: Session, tmp_path: Path) -> None:
    run(session, "ALTER TABLE t RENAME TO u; ALTER VIEW v AS SELECT price FROM u; ALTER VIEW v RENAME TO w;")
    run(session, "ALTER TABLE IF EXISTS nothing DROP a;")
    again = Session(tmp_path / "db", working_directory=str(tmp_path))  # as it was kept
    assert [list(row.values())[0] for row in run(again, "SHOW TABLES;")] == ["u", "w"]
    assert [list(row.values())[0] for row in run(again, "DESCRIBE w;")] == ["price"]


def test_the_altered_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,x\n2,y\n")
    session = Session(working_directory=str(tmp_path))
    run(session, "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = 'a.csv', 'format' = 'csv');")
    run(session, "ALTER TABLE t ADD (b STRING, c AS a * 10);")
    assert run(session, "SELECT * FROM t;") == [{"a": 1, "b": "x", "c": 10}, {"a": 2, "b": "y", "c": 20}]


def test_replaced(session: Session, tmp_path: Path) -> None:
    run(session, "CREATE OR REPLACE VIEW v AS SELECT 7 AS seven;")
    assert run(session, "SELECT * FROM v;") == [{"seven": 7}]
    out = "WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json')"
    run(session, f"CREATE OR REPLACE TABLE t {out} AS SELECT seven FROM v;")
    assert run(session, "SELECT * FROM t;") == [{"seven": 7}] and columns(session) == ["seven"]
    with pytest.raises(SqlStreamError):  # the query fails: the table that was there is there
        run(session, f"CREATE OR REPLACE TABLE t {out} AS SELECT CAST('x' AS INT) AS other FROM v;")
    assert columns(session) == ["seven"]


def test_views_do_not_read_themselves_in_a_circle(session: Session) -> None:
    run(session, "CREATE VIEW w AS SELECT id FROM v;")
    with pytest.raises(SqlStreamError, match="view v would read itself: v → w → v"):
        run(session, "ALTER VIEW v AS SELECT id FROM w;")
    run(session, "ALTER VIEW v AS WITH v AS (SELECT 1 AS id) SELECT id FROM v;")  # its own WITH is another
    assert run(session, "SELECT * FROM w;") == [{"id": 1}]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t DROP name",
        "DROP TABLE t",
        "ALTER TABLE t RENAME TO u",
        "CREATE OR REPLACE TABLE t (c INT) WITH ('connector' = 'blackhole')",
        "CREATE TEMPORARY VIEW x AS SELECT 1 AS id, 'a' AS name; ALTER VIEW v AS SELECT name FROM x",
    ],
)
def test_a_catalog_whose_view_lost_what_it_reads_is_opened(session: Session, tmp_path: Path, change: str) -> None:
    run(session, change + ";")
    again = Session(tmp_path / "db", working_directory=str(tmp_path))
    with pytest.raises(SqlStreamError, match="in view v: |there is no table or view 'x'"):
        run(again, "SELECT * FROM v;")
    run(again, "ALTER VIEW v AS SELECT 1 AS id;")  # and mended
    assert run(again, "SELECT * FROM v;") == [{"id": 1}]


def test_views_are_kept_whatever_the_order_that_they_were_made_in(session: Session, tmp_path: Path) -> None:
    run(session, "CREATE VIEW last AS SELECT 2 AS a; ALTER VIEW v AS SELECT a FROM last;")
    assert run(Session(tmp_path / "db", working_directory=str(tmp_path)), "SELECT * FROM v;") == [{"a": 2}]
