"""Statements around queries: what each becomes."""

import pytest

from sqlstream.errors import Position
from sqlstream.sql import parse_expression, parse_query, parse_script, parse_statement
from sqlstream.sql.ast import exp
from sqlstream.sql.statements import (
    Added,
    AlterTable,
    AlterView,
    ChangedOptions,
    ColumnDef,
    CreateFunction,
    CreateSavepoint,
    CreateTable,
    CreateView,
    Describe,
    DescribeJob,
    Drop,
    Dropped,
    Explain,
    Insert,
    LikeDef,
    RenamedColumn,
    ResetOption,
    Select,
    SetOption,
    Show,
    StatementSet,
    StopJob,
    WatermarkDef,
)
from sqlstream.types import BIGINT, INT, STRING, array, row, timestamp, timestamp_ltz

A = (ColumnDef("a", INT),)
SELECT_1 = parse_query("SELECT 1")
INSERT = Insert(("t",), SELECT_1)

TABLES = [
    ("CREATE TABLE t (a INT)", CreateTable(("t",), A)),
    ("create temporary table if not exists c.d.`t t` (a INT)",
     CreateTable(("c", "d", "t t"), A, temporary=True, if_not_exists=True)),
    ("CREATE TABLE t (a INT) COMMENT 'it''s' PARTITIONED BY (a) WITH ('x' = '1', 'a.b' = '')",
     CreateTable(("t",), A, comment="it's", partitioned_by=("a",), options=(("x", "1"), ("a.b", "")))),
    ("CREATE TABLE t (a INT) WITH ()", CreateTable(("t",), A)),
    ("CREATE TABLE t (a INT NOT NULL, b ARRAY<ROW<c STRING>> COMMENT 'list')",
     CreateTable(("t",), (ColumnDef("a", INT.null(False)),
                          ColumnDef("b", array(row(("c", STRING))), comment="list")))),
    ("CREATE TABLE t (k STRING METADATA, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL COMMENT 'c')",
     CreateTable(("t",), (ColumnDef("k", STRING, metadata="k"),
                          ColumnDef("ts", timestamp_ltz(3), metadata="timestamp", virtual=True, comment="c")))),
    ("CREATE TABLE t (p AS PROCTIME(), b AS  a.x + 1 COMMENT 'sum', a INT)",
     CreateTable(("t",), (ColumnDef("p", computed=parse_expression("PROCTIME()"), computed_text="PROCTIME()"),
                          ColumnDef("b", computed=parse_expression("a.x + 1"), computed_text="a.x + 1", comment="sum"),
                          *A))),
    ("CREATE TABLE t (WATERMARK FOR ts AS ts - INTERVAL '4' SECOND, ts TIMESTAMP(3))",
     CreateTable(("t",), (ColumnDef("ts", timestamp(3)),),
                 WatermarkDef("ts", parse_expression("ts - INTERVAL '4' SECOND"), "ts - INTERVAL '4' SECOND"))),
    ("CREATE TABLE t (a INT PRIMARY KEY NOT ENFORCED)", CreateTable(("t",), A, primary_key=("a",))),
    ("CREATE TABLE t (a INT CONSTRAINT pk PRIMARY KEY NOT ENFORCED COMMENT 'x')",
     CreateTable(("t",), (ColumnDef("a", INT, comment="x"),), primary_key=("a",), constraint="pk")),
    ("CREATE TABLE t (PRIMARY KEY (a, b) NOT ENFORCED, a INT, b BIGINT)",
     CreateTable(("t",), (*A, ColumnDef("b", BIGINT)), primary_key=("a", "b"))),
    ("CREATE TABLE t (a INT, CONSTRAINT `p k` PRIMARY KEY (a) NOT ENFORCED)",
     CreateTable(("t",), A, primary_key=("a",), constraint="p k")),
    ("CREATE TABLE t (watermark INT, primary INT, constraint STRING)",
     CreateTable(("t",), (ColumnDef("watermark", INT), ColumnDef("primary", INT), ColumnDef("constraint", STRING)))),
    ("CREATE TABLE t LIKE d.s", CreateTable(("t",), like=LikeDef(("d", "s")))),
    ("CREATE TABLE t (a INT) WITH ('k' = 'v') LIKE s (EXCLUDING ALL INCLUDING WATERMARKS OVERWRITING OPTIONS)",
     CreateTable(("t",), A, options=(("k", "v"),), like=LikeDef(("s",), (
         ("EXCLUDING", "ALL"), ("INCLUDING", "WATERMARKS"), ("OVERWRITING", "OPTIONS"))))),
    ("CREATE TABLE t WITH ('k' = 'v') AS SELECT 1", CreateTable(("t",), options=(("k", "v"),), query=SELECT_1)),
    ("CREATE TABLE t (b, a) AS SELECT 1", CreateTable(("t",), (ColumnDef("b"), ColumnDef("a")), query=SELECT_1)),
    ("CREATE TABLE t (a INT) AS SELECT 1", CreateTable(("t",), A, query=SELECT_1)),
    ("CREATE TABLE t AS WITH x AS (SELECT 1) SELECT * FROM x",
     CreateTable(("t",), query=parse_query("WITH x AS (SELECT 1) SELECT * FROM x"))),
]  # fmt: skip

OTHERS = [
    ("CREATE VIEW v AS SELECT 1", CreateView(("v",), SELECT_1, "SELECT 1")),
    ("CREATE TEMPORARY VIEW IF NOT EXISTS d.v (a, `b`) COMMENT 'c' AS (SELECT  1)",
     CreateView(("d", "v"), SELECT_1, "(SELECT  1)", ("a", "b"), "c", temporary=True, if_not_exists=True)),
    ("CREATE FUNCTION f AS 'pkg.mod.f'", CreateFunction(("f",), "pkg.mod.f")),
    ("CREATE TEMPORARY FUNCTION IF NOT EXISTS d.f AS 'm.f' LANGUAGE PYTHON",
     CreateFunction(("d", "f"), "m.f", temporary=True, if_not_exists=True)),
    ("CREATE TEMPORARY SYSTEM FUNCTION IF NOT EXISTS f AS 'm.f' LANGUAGE PYTHON",
     CreateFunction(("f",), "m.f", temporary=True, if_not_exists=True, system=True)),
    ("CREATE FUNCTION f LANGUAGE PYTHON AS 'm.f'", CreateFunction(("f",), "m.f")),
    ("CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1",
     CreateView(("v",), SELECT_1, "SELECT 1", temporary=True, or_replace=True)),
    ("CREATE OR REPLACE TABLE t AS SELECT 1", CreateTable(("t",), query=SELECT_1, or_replace=True)),
    ("ALTER TABLE IF EXISTS d.t RENAME TO u", AlterTable(("d", "t"), rename=("d", "u"), if_exists=True)),
    ("ALTER TABLE t RENAME a TO `b`", AlterTable(("t",), RenamedColumn("a", "b"))),
    ("ALTER TABLE t SET ('a' = '1', 'b' = '2')", AlterTable(("t",), ChangedOptions((("a", "1"), ("b", "2"))))),
    ("ALTER TABLE t RESET ('a', 'b')", AlterTable(("t",), ChangedOptions(reset=("a", "b")))),
    ("ALTER TABLE t ADD a INT", AlterTable(("t",), Added(((ColumnDef("a", INT), None),)))),
    ("ALTER TABLE t ADD (a INT FIRST, b STRING COMMENT 'c' AFTER a, PRIMARY KEY (a) NOT ENFORCED)", AlterTable(("t",), Added(
        ((ColumnDef("a", INT), ""), (ColumnDef("b", STRING, comment="c"), "a")), primary_key=("a",)))),
    ("ALTER TABLE t MODIFY a INT AFTER b", AlterTable(("t",), Added(((ColumnDef("a", INT), "b"),), modify=True))),
    ("ALTER TABLE t DROP a", AlterTable(("t",), Dropped(("a",)))),
    ("ALTER TABLE t DROP (a, b)", AlterTable(("t",), Dropped(("a", "b")))),
    ("ALTER TABLE t DROP PRIMARY KEY", AlterTable(("t",), Dropped(primary_key=True))),
    ("ALTER TABLE t DROP CONSTRAINT c", AlterTable(("t",), Dropped(constraint="c"))),
    ("ALTER TABLE t DROP WATERMARK", AlterTable(("t",), Dropped(watermark=True))),
    ("ALTER VIEW v RENAME TO w", AlterView(("v",), rename=("w",))),
    ("ALTER VIEW v AS SELECT 1", AlterView(("v",), query=SELECT_1, query_text="SELECT 1")),
    ("DROP TABLE t", Drop("TABLE", ("t",))),
    ("DROP TEMPORARY VIEW IF EXISTS d.v", Drop("VIEW", ("d", "v"), if_exists=True, temporary=True)),
    ("DROP TEMPORARY SYSTEM FUNCTION f", Drop("FUNCTION", ("f",), temporary=True, system=True)),
    ("INSERT INTO t SELECT 1", INSERT),
    ("insert overwrite d.t (a, `b`) select 1", Insert(("d", "t"), SELECT_1, ("a", "b"), True)),
    ("INSERT INTO t (SELECT 1)", INSERT),
    ("INSERT INTO t PARTITION (a = 1, `b` = 'x') (c) SELECT 1",
     Insert(("t",), SELECT_1, ("c",), partition=(("a", exp.Literal.number("1")), ("b", exp.Literal.string("x"))))),
    ("INSERT INTO t (a) (SELECT 1)", Insert(("t",), SELECT_1, ("a",))),
    ("EXECUTE INSERT INTO t SELECT 1", INSERT),
    ("EXECUTE SELECT 1", Select(SELECT_1)),
    ("INSERT INTO t VALUES (1, 'a')", Insert(("t",), parse_query("VALUES (1, 'a')"))),
    ("INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x",
     Insert(("t",), parse_query("WITH x AS (SELECT 1) SELECT * FROM x"))),
    ("EXECUTE STATEMENT SET BEGIN INSERT INTO t SELECT 1; INSERT INTO t SELECT 1; END",
     StatementSet((INSERT, INSERT))),
    ("BEGIN STATEMENT SET; INSERT INTO t SELECT 1; END", StatementSet((INSERT,))),
    ("EXECUTE STATEMENT SET BEGIN INSERT INTO t SELECT CASE WHEN a THEN 1 END FROM t; END",
     StatementSet((Insert(("t",), parse_query("SELECT CASE WHEN a THEN 1 END FROM t")),))),
    ("EXECUTE STATEMENT SET BEGIN INSERT INTO t SELECT 1 END", StatementSet((INSERT,))),
    ("SET", SetOption()),
    ("SET 'a.b' = 'c d'", SetOption("a.b", "c d")),
    ("SET table.exec.mini-batch.enabled = true", SetOption("table.exec.mini-batch.enabled", "true")),
    ("SET parallelism.default=4", SetOption("parallelism.default", "4")),
    ("SET execution.checkpointing.interval = 10 s", SetOption("execution.checkpointing.interval", "10 s")),
    ("SET 'k' = ''", SetOption("k", "")),
    ("RESET", ResetOption()),
    ("RESET 'a.b'", ResetOption("a.b")),
    ("RESET a.b-c", ResetOption("a.b-c")),
    ("SHOW TABLES", Show("TABLES")),
    ("SHOW TABLES FROM d NOT LIKE 'a%'", Show("TABLES", ("d",), "a%", negated=True)),
    ("SHOW VIEWS ILIKE 'a_'", Show("VIEWS", like="a_", case_insensitive=True)),
    ("SHOW USER FUNCTIONS", Show("FUNCTIONS", user=True)),
    ("SHOW COLUMNS IN d.t LIKE 'x'", Show("COLUMNS", ("d", "t"), "x")),
    ("SHOW CREATE TABLE t", Show("CREATE TABLE", ("t",))),
    ("SHOW CREATE VIEW v", Show("CREATE VIEW", ("v",))),
    ("DESCRIBE c.d.t", Describe(("c", "d", "t"))),
    ("CREATE SAVEPOINT", CreateSavepoint()),
    ("CREATE SAVEPOINT FOR JOB 'a'", CreateSavepoint("a")),
    ("CREATE SAVEPOINT FOR JOB 'a' 's3://b/c'", CreateSavepoint("a", "s3://b/c")),
    ("CREATE SAVEPOINT 'c'", CreateSavepoint(None, "c")),
    ("STOP JOB 'a'", StopJob("a")),
    ("STOP JOB 'a' WITH SAVEPOINT", StopJob("a", True)),
    ("STOP JOB 'a' WITH SAVEPOINT WITH DRAIN", StopJob("a", True, True)),
    ("DESC EXTENDED t", Describe(("t",))),
    ("DESC job", Describe(("job",))),
    ("SHOW JOBS LIKE 'c%'", Show("JOBS", like="c%")),
    ("DESCRIBE JOB 'counts'", DescribeJob("counts")),
    ("DESC JOB '名''s'", DescribeJob("名's")),
    ("EXPLAIN SELECT 1", Explain(Select(SELECT_1))),
    ("EXPLAIN PLAN FOR INSERT INTO t SELECT 1", Explain(INSERT)),
    ("EXPLAIN ANALYZE INSERT INTO t SELECT 1", Explain(INSERT, analyze=True)),
    ("EXPLAIN CHANGELOG_MODE, ESTIMATED_COST WITH x AS (SELECT 1) SELECT * FROM x",
     Explain(Select(parse_query("WITH x AS (SELECT 1) SELECT * FROM x")), ("CHANGELOG_MODE", "ESTIMATED_COST"))),
    ("EXPLAIN STATEMENT SET BEGIN INSERT INTO t SELECT 1; END", Explain(StatementSet((INSERT,)))),
    ("EXPLAIN EXECUTE STATEMENT SET BEGIN INSERT INTO t SELECT 1; END", Explain(StatementSet((INSERT,)))),
    ("(SELECT 1)", Select(SELECT_1)),
    ("VALUES (1)", Select(parse_query("VALUES (1)"))),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "statement"), TABLES + OTHERS, ids=[s[:60] for s, _ in TABLES + OTHERS])
def test_statements(sql, statement):
    assert parse_statement(sql) == statement
    assert parse_statement(f"-- c\n{sql}\n;\n") == statement


def test_text_and_position_of_each_statement():
    script = (
        "-- first\n  SELECT 1 ; /* c */\n\nSET 'a' = 'b';EXECUTE STATEMENT SET BEGIN\n INSERT INTO t SELECT 1;\nEND;"
    )
    select, option, together = parse_script(script)
    assert (select.text, select.position) == ("SELECT 1", Position(2, 3))
    assert (option.text, option.position) == ("SET 'a' = 'b'", Position(4, 1))
    assert together.position == Position(4, 15)
    assert (together.inserts[0].text, together.inserts[0].position) == ("INSERT INTO t SELECT 1", Position(5, 2))


def test_positions_of_columns_and_the_watermark():
    table = parse_statement("\nCREATE TABLE t (\n  a INT,\n  `b` AS a + 1,\n  WATERMARK FOR b AS b\n)")
    assert [c.position for c in table.columns] == [Position(3, 3), Position(4, 3)]
    assert table.watermark.position == Position(5, 17)


def test_explained_statements_have_text_and_position():
    explain = parse_statement("EXPLAIN PLAN FOR\n SELECT 1")
    assert (explain.statement.text, explain.statement.position) == ("SELECT 1", Position(2, 2))


def test_variables():
    (option,) = parse_script("SET 'a' = '${v}' -- ${unknown}", variables={"v": "it's"})
    assert option == SetOption("a", "it's")
    assert parse_script("SET 'a' = '${v}'") == [SetOption("a", "${v}")]


def test_statements_are_values():
    first, second = (parse_statement("CREATE VIEW v AS SELECT a FROM t") for _ in range(2))
    assert first == second and hash(first) == hash(second)
    assert first != parse_statement("CREATE VIEW v AS SELECT A FROM t")
