"""Catalogs, databases, and names that are qualified by them, in statements that are no queries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sqlstream.errors import BindError, NotSupported, SqlStreamError
from sqlstream.session import Session

T = "(a INT, b STRING) WITH ('connector' = 'filesystem', 'path' = 'rows', 'format' = 'json')"


def rows(session: Session, sql: str) -> list[tuple[Any, ...]]:
    """The rows of the last statement."""
    found: list[tuple[Any, ...]] = []
    for result in session.execute(sql):
        found = [tuple(row.values()) for batch, _ in result.batches() for row in batch.to_pylist()]
    return found


def heading(session: Session, sql: str) -> list[str]:
    (result,) = session.execute(sql)
    return list(result.schema.names)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SHOW CATALOGS", ["default_catalog"]),
        ("SHOW CATALOGS LIKE 'other%'", []),
        ("SHOW CATALOGS NOT LIKE 'other%'", ["default_catalog"]),
        ("SHOW DATABASES", ["default_database"]),
        ("SHOW DATABASES FROM default_catalog", ["default_database"]),
        ("SHOW DATABASES IN `default_catalog` LIKE 'default%'", ["default_database"]),
        ("SHOW DATABASES LIKE 'DEFAULT%'", []),
        ("SHOW DATABASES ILIKE 'DEFAULT%'", ["default_database"]),
        ("SHOW DATABASES NOT ILIKE 'DEFAULT%'", []),
        ("SHOW CURRENT CATALOG", ["default_catalog"]),
        ("SHOW CURRENT DATABASE", ["default_database"]),
        ("USE CATALOG default_catalog; SHOW CURRENT CATALOG", ["default_catalog"]),
        ("USE default_database; SHOW CURRENT DATABASE", ["default_database"]),
        ("USE `default_catalog`.`default_database`; SHOW CURRENT DATABASE", ["default_database"]),
        (f"CREATE TABLE t {T}; SHOW TABLES FROM default_database", ["t"]),
        (f"CREATE TABLE t {T}; SHOW TABLES IN default_catalog.default_database LIKE 'u%'", []),
        ("CREATE VIEW v AS SELECT 1 AS x; SHOW VIEWS FROM default_database", ["v"]),
        ("SHOW TABLES FROM information_schema LIKE 't%'", ["table_constraints", "tables"]),
        ("DESCRIBE information_schema.schemata", ["catalog_name", "schema_name", "schema_comment"]),
        ("SHOW COLUMNS FROM INFORMATION_SCHEMA.Schemata LIKE '%name'", ["catalog_name", "schema_name"]),
        ("USE information_schema; SELECT schema_name FROM schemata", ["default_database"]),
    ],
)
def test_what_is_listed(sql: str, expected: list[str]) -> None:
    assert [row[0] for row in rows(Session(), sql)] == expected


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SHOW CATALOGS", "catalog name"),
        ("SHOW DATABASES", "database name"),
        ("SHOW CURRENT CATALOG", "current catalog name"),
        ("SHOW CURRENT DATABASE", "current database name"),
    ],
)
def test_columns_are_called_as_in_flink(sql: str, name: str) -> None:
    assert heading(Session(), sql) == [name]


def test_options_of_information_schema_cannot_be_changed() -> None:
    with pytest.raises(NotSupported, match="nothing is made, changed or dropped in it"):
        rows(Session(), "ALTER DATABASE information_schema SET ('a' = 'b')")


def test_a_view_without_its_tables_has_no_columns_in_information_schema() -> None:
    session = Session()
    rows(session, f"CREATE TABLE t {T}; CREATE VIEW v AS SELECT a FROM t; DROP TABLE t")
    assert rows(session, "SELECT table_name FROM information_schema.tables") == [("v",)]
    assert rows(session, "SELECT column_name FROM information_schema.columns") == []


def test_a_database_is_described() -> None:
    expected = [("catalog", "default_catalog"), ("name", "default_database"), ("comment", None)]
    for name in ("default_database", "default_catalog.default_database", "`default_database`"):
        assert rows(Session(), f"DESCRIBE DATABASE {name}") == expected
        assert rows(Session(), f"DESC DATABASE EXTENDED {name}") == expected


def test_tables_of_these_names_can_be_described() -> None:
    session = Session()
    rows(session, f"CREATE TABLE database {T}; CREATE TABLE extended {T}")
    assert [r[0] for r in rows(session, "DESCRIBE database")] == ["a", "b"]
    assert [r[0] for r in rows(session, "DESCRIBE EXTENDED database")] == ["a", "b"]
    assert [r[0] for r in rows(session, "DESCRIBE default_database.database")] == ["a", "b"]


@pytest.mark.parametrize("q", ["default_database.", "default_catalog.default_database.", "`default_database`."])
def test_statements_take_qualified_names(q: str, tmp_path: Path) -> None:
    session = Session(options={"execution.runtime-mode": "batch"}, working_directory=str(tmp_path))
    rows(session, f"CREATE TABLE {q}t {T}; CREATE TABLE IF NOT EXISTS {q}t {T}")
    rows(session, f"CREATE VIEW {q}v AS SELECT a FROM {q}t; CREATE TABLE {q}u WITH ('path' = 'others') LIKE {q}t")
    assert rows(session, "SHOW TABLES") == [("t",), ("u",), ("v",)]
    assert [r[:2] for r in rows(session, f"DESCRIBE {q}u")] == [("a", "INT"), ("b", "STRING")]
    assert [r[0] for r in rows(session, f"SHOW COLUMNS FROM {q}v")] == ["a"]
    assert rows(session, f"SHOW CREATE TABLE {q}t")[0][0].startswith("CREATE TABLE `t` (")
    assert rows(session, f"SHOW CREATE VIEW {q}v")[0][0].startswith("CREATE VIEW `v` AS")
    rows(session, f"INSERT INTO {q}t VALUES (1, 'x')")
    rows(session, f"EXECUTE STATEMENT SET BEGIN INSERT INTO {q}u SELECT * FROM {q}t; END")
    assert rows(session, f"SELECT {q}u.a FROM {q}u") == [(1,)]
    rows(
        session,
        f"CREATE TABLE {q}w WITH ('connector' = 'filesystem', 'path' = 'w', 'format' = 'json') AS SELECT a FROM {q}t",
    )
    assert rows(session, "SELECT a FROM w") == [(1,)]
    rows(session, f"ALTER TABLE {q}u ADD c INT; ALTER TABLE {q}u RENAME TO u2; ALTER TABLE {q}u2 RENAME TO {q}u3")
    rows(session, f"ALTER VIEW {q}v AS SELECT b FROM {q}t; ALTER VIEW {q}v RENAME TO v2")
    assert rows(session, "SHOW TABLES") == [("t",), ("u3",), ("v2",), ("w",)]
    rows(session, f"CREATE FUNCTION {q}loud AS 'sqlstream.literals.quoted'")
    assert rows(session, f"SELECT {q}loud('x'), {q}LOUD('y'), loud('z')") == [("'x'", "'y'", "'z'")]
    rows(
        session, f"DROP TABLE {q}t; DROP TABLE IF EXISTS {q}u3; DROP TABLE {q}w; DROP VIEW {q}v2; DROP FUNCTION {q}loud"
    )
    assert rows(session, "SHOW TABLES") == rows(session, "SHOW USER FUNCTIONS") == []


@pytest.mark.parametrize(
    ("sql", "message", "hint"),
    [
        ("USE defualt_database", "there is no database 'defualt_database'", "did you mean default_database?"),
        ("USE mine", "there is no database 'mine'", "databases: default_database"),
        ("USE other.default_database", "there is no catalog 'other'", "there is one catalog, default_catalog"),
        ("USE CATALOG defualt_catalog", "there is no catalog 'defualt_catalog'", "did you mean default_catalog?"),
        ("SHOW DATABASES FROM hive", "there is no catalog 'hive'", "there is one catalog, default_catalog"),
        ("SHOW TABLES FROM mine", "there is no database 'mine'", "databases: default_database"),
        ("SHOW FUNCTIONS IN mine", "there is no database 'mine'", "databases: default_database"),
        ("DESCRIBE DATABASE mine", "there is no database 'mine'", "databases: default_database"),
        ("USE a.b.c", "'a.b.c' is no database", "default_catalog.default_database"),
        (f"CREATE TABLE mine.t {T}", "there is no database 'mine'", "databases: default_database"),
        ("CREATE VIEW mine.v AS SELECT 1", "there is no database 'mine'", "databases: default_database"),
        ("CREATE FUNCTION mine.f AS 'sqlstream.secrets.redacted'", "there is no database 'mine'", "databases"),
        ("DROP TABLE mine.t", "there is no database 'mine'", "databases: default_database"),
        ("ALTER TABLE mine.t ADD c INT", "there is no database 'mine'", "databases: default_database"),
        ("INSERT INTO mine.t VALUES (1)", "there is no database 'mine'", "databases: default_database"),
        ("DESCRIBE mine.t", "there is no database 'mine'", "databases: default_database"),
        ("SHOW CREATE TABLE mine.t", "there is no database 'mine'", "databases: default_database"),
        (f"CREATE TABLE t {T}; SELECT /*+ STATE_TTL('mine.t' = '1 d') */ DISTINCT a FROM t", "no table 'mine.t'", "tables: t"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_said(sql: str, message: str, hint: str) -> None:
    with pytest.raises(BindError) as e:
        rows(Session(), sql)
    assert message in e.value.message
    assert hint in (e.value.hint or "")


def test_the_place_is_the_part_that_is_wrong() -> None:
    with pytest.raises(SqlStreamError, match=r"1:32|line 1:32") as e:
        rows(Session(), "SHOW TABLES IN default_catalog.mien LIKE 'x'")
    assert e.value.position is not None and e.value.position.column == 32


def test_what_may_not_be_there_need_not_have_a_database() -> None:
    session = Session()
    rows(session, "DROP TABLE IF EXISTS mine.t; DROP VIEW IF EXISTS mine.v; DROP FUNCTION IF EXISTS mine.f")
    rows(session, "ALTER TABLE IF EXISTS mine.t ADD c INT")


def test_there_is_one_catalog() -> None:
    for sql in ("CREATE CATALOG c WITH ('type' = 'hive')", "DROP CATALOG c"):
        with pytest.raises(NotSupported, match="CATALOG is not supported") as e:
            rows(Session(), sql)
        assert "there is one catalog, default_catalog" in (e.value.hint or "")


# ---- databases of one's own


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CREATE DATABASE d; SHOW DATABASES", ["d", "default_database"]),
        ("CREATE DATABASE default_catalog.d; SHOW DATABASES LIKE 'd'", ["d"]),
        ("CREATE DATABASE d; CREATE DATABASE IF NOT EXISTS d; SHOW DATABASES LIKE 'd'", ["d"]),
        ("CREATE DATABASE d; DROP DATABASE d; SHOW DATABASES", ["default_database"]),
        ("CREATE DATABASE d; DROP DATABASE d RESTRICT; SHOW DATABASES", ["default_database"]),
        ("DROP DATABASE IF EXISTS d; SHOW DATABASES", ["default_database"]),
        ("CREATE DATABASE d; USE d; SHOW CURRENT DATABASE", ["d"]),
        ("CREATE DATABASE d; USE d; USE CATALOG default_catalog; SHOW CURRENT DATABASE", ["d"]),
        ("CREATE DATABASE d; USE d; CREATE VIEW v AS SELECT 1; SHOW TABLES", ["v"]),
        ("CREATE DATABASE d; CREATE VIEW d.v AS SELECT 1; SHOW TABLES", []),
        ("CREATE DATABASE d; CREATE VIEW d.v AS SELECT 1; SHOW VIEWS IN d", ["v"]),
        ("CREATE DATABASE d; CREATE VIEW d.v AS SELECT 1; DROP DATABASE d CASCADE; CREATE DATABASE d; SHOW TABLES IN d", []),
        ("CREATE DATABASE d; CREATE TEMPORARY VIEW d.v AS SELECT 1; DROP TEMPORARY VIEW d.v; SHOW TABLES IN d", []),
        ("CREATE DATABASE d; CREATE FUNCTION d.f AS 'sqlstream.literals.quoted'; SHOW USER FUNCTIONS", []),
        ("CREATE DATABASE d; CREATE FUNCTION d.f AS 'sqlstream.literals.quoted'; SHOW USER FUNCTIONS IN d", ["f"]),
        (
            "CREATE TEMPORARY SYSTEM FUNCTION f AS 'sqlstream.literals.quoted'; CREATE DATABASE d; USE d; SELECT f('x')",
            ["'x'"],
        ),
        (
            "CREATE FUNCTION f AS 'sqlstream.literals.quoted'; CREATE VIEW v AS SELECT f('x') AS x; CREATE DATABASE d; USE d; "
            "SELECT x FROM default_database.v",
            ["'x'"],
        ),
    ],
)  # fmt: skip
def test_databases(sql: str, expected: list[str]) -> None:
    assert [row[0] for row in rows(Session(), sql)] == expected


@pytest.mark.parametrize(
    ("sql", "message", "hint"),
    [
        ("CREATE DATABASE default_database", "database 'default_database' exists already", "IF NOT EXISTS"),
        ("CREATE DATABASE hive.d", "there is no catalog 'hive'", "there is one catalog, default_catalog"),
        ("CREATE DATABASE a.b.c", "there is no catalog 'a'", "there is one catalog"),
        ("DROP DATABASE d", "there is no database 'd'", "databases: default_database"),
        ("ALTER DATABASE d SET ('a' = 'b')", "there is no database 'd'", "databases: default_database"),
        ("DROP DATABASE default_database CASCADE", "database 'default_database' is the default one", "it stays"),
        ("CREATE DATABASE d; USE d; DROP DATABASE d", "database 'd' is the current one", "USE default_database"),
        ("CREATE DATABASE d; CREATE VIEW d.v AS SELECT 1; DROP DATABASE d", "database 'd' is not empty", "CASCADE"),
        ("CREATE DATABASE d; CREATE VIEW d.v AS SELECT 1; DROP DATABASE d RESTRICT", "database 'd' is not empty", "CASCADE"),
        (
            "CREATE DATABASE d; USE d; CREATE VIEW default_database.v AS SELECT 1; USE default_database; DROP DATABASE d CASCADE",
            "database 'd' was current when v was made",
            "drop that first",
        ),
        ("CREATE DATABASE d; CREATE VIEW v AS SELECT 1; ALTER VIEW v RENAME TO d.v", "cannot be moved", "LIKE"),
        ("CREATE DATABASE d; CREATE VIEW d.v AS SELECT 1; SELECT * FROM v", "there is no table or view 'v'", "there is d.v"),
        ("CREATE DATABASE d; CREATE VIEW d.v AS SELECT 1; CREATE VIEW `d.v` AS SELECT 2", "cannot be told", "without a dot"),
        ("CREATE TEMPORARY SYSTEM FUNCTION d.f AS 'x.y'", "a SYSTEM function is of no database", "leave the qualifiers"),
    ],
)  # fmt: skip
def test_what_databases_refuse(sql: str, message: str, hint: str) -> None:
    with pytest.raises(SqlStreamError) as e:
        rows(Session(), sql)
    assert message in e.value.message
    assert hint in (e.value.hint or "")


KEPT = """
CREATE DATABASE sales COMMENT 'it''s' WITH ('owner' = 'ada');
ALTER DATABASE sales SET ('since' = '2024');
ALTER DATABASE default_database SET ('owner' = 'eva');
CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'number-of-rows' = '1', 'fields.a.kind' = 'sequence', 'fields.a.start' = '1', 'fields.a.end' = '1');
CREATE TABLE sales.t (a INT) WITH ('connector' = 'datagen', 'number-of-rows' = '1', 'fields.a.kind' = 'sequence', 'fields.a.start' = '7', 'fields.a.end' = '7');
CREATE VIEW default_v AS SELECT a FROM t;
USE sales;
CREATE FUNCTION f AS 'sqlstream.literals.quoted';
CREATE TABLE u (b STRING, c AS f(b)) WITH ('connector' = 'datagen', 'number-of-rows' = '1', 'fields.b.length' = '1');
CREATE VIEW v AS SELECT a, f('x') AS x FROM t;
CREATE VIEW default_database.w AS SELECT a FROM v;
"""


def test_what_is_kept_means_the_same_again(tmp_path: Path) -> None:
    rows(Session(tmp_path), KEPT)
    text = (tmp_path / "catalog.sql").read_text()
    session = Session(tmp_path)
    assert rows(session, "SHOW CURRENT DATABASE") == [("default_database",)]
    assert rows(session, "SHOW TABLES") == [("default_v",), ("t",), ("w",)]
    assert rows(session, "SHOW TABLES FROM sales") == [("t",), ("u",), ("v",)]
    assert rows(session, "DESCRIBE DATABASE EXTENDED sales")[2:] == [
        ("comment", "it's"),
        ("owner", "ada"),
        ("since", "2024"),
    ]
    assert rows(session, "DESCRIBE DATABASE EXTENDED default_database")[3:] == [("owner", "eva")]
    assert rows(session, "SELECT * FROM default_v") == [(1,)]
    assert rows(session, "SELECT * FROM sales.v") == [(7, "'x'")]
    assert rows(session, "SELECT * FROM w") == [(7,)]
    ((b, c),) = rows(session, "SELECT * FROM sales.u")
    assert c == f"'{b}'"
    rows(
        session, "CREATE VIEW one_more AS SELECT 1 AS x; DROP VIEW one_more; CREATE TEMPORARY VIEW sales.x AS SELECT 1"
    )
    assert (tmp_path / "catalog.sql").read_text() == text


def test_a_catalog_of_the_version_before_opens_and_stays(tmp_path: Path) -> None:
    text = (
        "CREATE FUNCTION `f` AS 'sqlstream.literals.quoted' LANGUAGE PYTHON;\n\n"
        "CREATE TABLE `t` (\n  `a` INT\n)\nWITH (\n  'connector' = 'datagen'\n);\n\n"
        "CREATE VIEW `v` AS\nSELECT a FROM default_database.t;\n\n"
    )
    (tmp_path / "catalog.sql").write_text(text)
    session = Session(tmp_path)
    assert rows(session, "SHOW TABLES FROM default_database") == [("t",), ("v",)]
    rows(session, "CREATE VIEW w AS SELECT 1 AS x; DROP VIEW w")
    assert (tmp_path / "catalog.sql").read_text() == text


def test_a_session_of_the_same_catalog_has_its_own_current_database() -> None:
    first, second = Session(), Session()
    second.share(first)
    rows(first, "CREATE DATABASE d; USE d; CREATE VIEW v AS SELECT 1 AS x")
    assert rows(second, "SHOW CURRENT DATABASE") == [("default_database",)]
    assert rows(second, "SELECT x FROM d.v") == [(1,)]
    rows(second, "USE d")
    rows(first, "USE default_database; DROP DATABASE d CASCADE")
    with pytest.raises(BindError, match="there is no database 'd'"):
        rows(second, "SELECT x FROM v")


def test_operators_and_sources_of_the_default_database_have_the_names_that_they_had() -> None:
    session = Session(options={"execution.runtime-mode": "streaming"})
    table = "(a INT) WITH ('connector' = 'datagen', 'number-of-rows' = '1')"
    rows(session, f"CREATE DATABASE d; CREATE TABLE d.t {table}; CREATE TABLE t {table}")

    def plan(query: str) -> str:
        return "\n".join(row[0] for row in rows(session, f"EXPLAIN {query}"))

    plain = plan("SELECT a, COUNT(*) FROM t GROUP BY a")
    assert "table=t," in plain
    assert plan("SELECT a, COUNT(*) FROM default_catalog.default_database.t GROUP BY a") == plain
    assert "table=d.t," in plan("SELECT a, COUNT(*) FROM d.t GROUP BY a")
    both = plan("SELECT x.a FROM t AS x JOIN d.t AS y ON x.a = y.a")
    assert "table=t," in both and "table=d.t," in both
