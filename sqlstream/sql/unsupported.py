"""What people write that is no statement here, each with what to do in its place; and how statements are written."""

from __future__ import annotations

_CATALOGS = (
    "there is one catalog, default_catalog: CREATE DATABASE keeps names apart, and a table's WITH (…) says what it is"
)
_MATERIALIZED = "write INSERT INTO table SELECT …, which runs until it is stopped"
_MODELS = "call a Python function in its place"
_MODULES = "all functions are always there"
_ROWS = "streams only grow: deduplicate or filter in a query"
_JARS = "install Python packages with pip"
_SHELL = "it is a command of the shell (sqlstream shell), not a statement"

# what a statement's name may go on with
OBJECTS = frozenset(
    (
        "TABLE",
        "VIEW",
        "CATALOG",
        "DATABASE",
        "FUNCTION",
        "MATERIALIZED",
        "MODEL",
        "MODULE",
        "MODULES",
        "JOB",
        "JAR",
    )
)

UNSUPPORTED: dict[tuple[str, ...], str] = {
    ("USE", "MODULES"): _MODULES,
    ("CREATE", "CATALOG"): _CATALOGS,
    ("DROP", "CATALOG"): _CATALOGS,
    ("DESCRIBE", "CATALOG"): _CATALOGS,
    ("DESC", "CATALOG"): _CATALOGS,
    ("SHOW", "CREATE", "CATALOG"): _CATALOGS,
    ("REPLACE",): "CREATE OR REPLACE TABLE",
    ("CREATE", "OR", "ALTER"): _MATERIALIZED,
    ("CREATE", "MATERIALIZED"): _MATERIALIZED,
    ("DROP", "MATERIALIZED"): _MATERIALIZED,
    ("SHOW", "MATERIALIZED"): _MATERIALIZED,
    ("SHOW", "CREATE", "MATERIALIZED"): _MATERIALIZED,
    ("CREATE", "MODEL"): _MODELS,
    ("CREATE", "TEMPORARY", "MODEL"): _MODELS,
    ("DROP", "MODEL"): _MODELS,
    ("DROP", "TEMPORARY", "MODEL"): _MODELS,
    ("SHOW", "MODELS"): _MODELS,
    ("SHOW", "CREATE", "MODEL"): _MODELS,
    ("DESCRIBE", "MODEL"): _MODELS,
    ("DESC", "MODEL"): _MODELS,
    ("CREATE", "CONNECTION"): "put the options into each table's WITH (…)",
    ("SHOW", "PROCEDURES"): "there are no procedures",
    ("SHOW", "JARS"): _JARS,
    ("SHOW", "MODULES"): _MODULES,
    ("SHOW", "FULL"): _MODULES,
    ("ALTER", "CATALOG"): _CATALOGS,
    ("ALTER", "MATERIALIZED"): _MATERIALIZED,
    ("ALTER", "MODEL"): _MODELS,
    ("ALTER", "FUNCTION"): "DROP FUNCTION, and CREATE it anew",
    ("LOAD",): _MODULES,
    ("UNLOAD",): _MODULES,
    ("ADD",): _JARS,
    ("REMOVE",): _JARS,
    ("CALL",): "there are no procedures",
    ("ANALYZE",): "plans do not need statistics",
    ("TRUNCATE",): _ROWS,
    ("UPDATE",): _ROWS,
    ("DELETE",): _ROWS,
    ("MERGE",): _ROWS,
    ("COMPILE",): "plans are kept with each job's checkpoints",
    ("EXECUTE", "PLAN"): "run the SQL itself: plans are kept with each job's checkpoints",
    ("COMMIT",): "there are no transactions",
    ("ROLLBACK",): "there are no transactions",
    ("HELP",): _SHELL,
    ("QUIT",): _SHELL,
    ("EXIT",): _SHELL,
    ("CLEAR",): _SHELL,
    ("SOURCE",): _SHELL,
}

OF_SHELLS = (
    "what begins with . or \\ or ! is a command of the shell (sqlstream shell); in scripts: SHOW TABLES, DESCRIBE t"
)
# First words of other systems' statements, and what to write.
FOREIGN_STATEMENTS = {
    "FROM": "a query begins with SELECT: SELECT * FROM t",
    "COPY": "write INSERT INTO t SELECT …; t is declared with 'connector' = 'filesystem'",
    "EXPORT": "write INSERT INTO t SELECT …; t is declared with 'connector' = 'filesystem'",
    "IMPORT": "a file is a table: SELECT * FROM 'x.csv'",
    "KILL": "STOP JOB 'name' ends a job; SHOW JOBS lists them",
    "LIST": "SHOW TABLES, SHOW VIEWS, SHOW JOBS",
    "PRINT": "SELECT * FROM t",
    "PRAGMA": "SET 'key' = 'value'; SET alone lists the options",
    "ATTACH": "a file is a table: SELECT * FROM 'x.parquet'",
    "DETACH": "there is one catalog, default_catalog",
    "INSTALL": "connectors come with Python packages: pip install",
    "GRANT": "there are no users: files have their own permissions",
    "REVOKE": "there are no users: files have their own permissions",
    "VACUUM": "tables are files of others: there is nothing to clean",
    "REFRESH": "what a view shows is computed when it is read",
    "DECLARE": "variables of scripts are ${name}, given with --var name=value",
    "LET": "variables of scripts are ${name}, given with --var name=value",
    "TERMINATE": "STOP JOB 'name'",
    "PAUSE": "STOP JOB 'name' WITH SAVEPOINT; run it again to go on",
    "WATCH": "a query over a stream goes on by itself",
    "UPSERT": "INSERT INTO t SELECT …, t having a PRIMARY KEY",
    "SUMMARIZE": "SELECT COUNT(*), MIN(x), MAX(x), AVG(x) FROM t",
}
# What a statement looks like, by its first word.
_QUERY = "SELECT … FROM … [WHERE …] [GROUP BY …] [HAVING …] [ORDER BY …] [LIMIT n]"
FORMS = {
    "SELECT": _QUERY,
    "WITH": f"WITH name AS (SELECT …) {_QUERY}",
    "VALUES": "VALUES (1, 'a'), (2, 'b')",
    "TABLE": "TABLE name, for SELECT * FROM name",
    "INSERT": "INSERT INTO table [(column, …)] SELECT … or VALUES (…), (…)",
    "CREATE": "CREATE TABLE name (column TYPE, …, WATERMARK FOR ts AS ts) WITH ('connector' = '…', 'key' = 'value'), "
    "CREATE VIEW name AS SELECT …, CREATE FUNCTION name AS 'module.function', "
    "CREATE FUNCTION name(argument TYPE, …) RETURNS TYPE LANGUAGE PYTHON AS $$ … $$, CREATE DATABASE name",
    "ALTER": "ALTER TABLE t ADD | MODIFY column TYPE [FIRST | AFTER c], DROP column, RENAME column TO other, RENAME TO other, "
    "SET ('key' = 'value'), RESET ('key'); ALTER VIEW v AS SELECT …, ALTER VIEW v RENAME TO w; "
    "ALTER DATABASE d SET ('key' = 'value')",
    "DROP": "DROP TABLE | VIEW | FUNCTION [IF EXISTS] name, DROP DATABASE [IF EXISTS] name [RESTRICT | CASCADE]",
    "EXECUTE": "EXECUTE STATEMENT SET BEGIN INSERT …; INSERT …; END",
    "BEGIN": "BEGIN STATEMENT SET; INSERT …; INSERT …; END",
    "SET": "SET 'key' = 'value'",
    "RESET": "RESET 'key'",
    "STOP": "STOP JOB 'name' [WITH SAVEPOINT [WITH DRAIN]]",
    "USE": "USE [catalog.]database, or USE CATALOG name",
    "SHOW": "SHOW TABLES | VIEWS | FUNCTIONS [FROM database] [LIKE 'a%'], SHOW JOBS | CATALOGS | DATABASES [LIKE 'a%'], "
    "SHOW CURRENT CATALOG | DATABASE, SHOW COLUMNS FROM table, SHOW PARTITIONS table [PARTITION (c = 'x')], "
    "SHOW CREATE TABLE | VIEW name",
    "DESCRIBE": "DESCRIBE table, DESCRIBE DATABASE | FUNCTION [EXTENDED] name, or DESCRIBE JOB 'name'",
    "DESC": "DESCRIBE table, DESCRIBE DATABASE | FUNCTION [EXTENDED] name, or DESCRIBE JOB 'name'",
    "EXPLAIN": "EXPLAIN [ANALYZE | PLAN FOR] SELECT … or INSERT …",
}
# The same of parts of statements, by the word that is nearest to what is wrong.
CONSTRUCTS = {
    "BETWEEN": "x BETWEEN 1 AND 2",
    "CASE": "CASE WHEN condition THEN a ELSE b END",
    "CAST": "CAST(x AS type)",
    "TRY_CAST": "TRY_CAST(x AS type)",
    "DISTINCT": "SELECT DISTINCT a, b; the first row of each: ROW_NUMBER() OVER (PARTITION BY a ORDER BY ts) = 1",
    "EXISTS": "EXISTS (SELECT …)",
    "EXTRACT": "EXTRACT(DAY FROM time)",
    "FETCH": "FETCH FIRST 10 ROWS ONLY, or LIMIT 10",
    "FULL": "FULL JOIN t ON a.x = t.y",
    "GROUP": "GROUP BY a, b",
    "IN": "x IN (1, 2), or x IN (SELECT …)",
    "INTERVAL": "INTERVAL '1' DAY, with a unit from SECOND to YEAR",
    "IS": "x IS [NOT] NULL; values are compared with = and <>",
    "LEFT": "LEFT JOIN t ON a.x = t.y",
    "LIKE": "x LIKE 'a%'",
    "LIMIT": "LIMIT 10, a number",
    "ORDER": "ORDER BY a DESC, b",
    "OVER": "f(x) OVER (PARTITION BY k ORDER BY ts)",
    "PARTITION": "PARTITION BY a, b",
    "PRIMARY": "PRIMARY KEY (a) NOT ENFORCED",
    "RIGHT": "RIGHT JOIN t ON a.x = t.y",
    "TIMESTAMPADD": "TIMESTAMPADD(DAY, 1, time)",
    "TIMESTAMPDIFF": "TIMESTAMPDIFF(DAY, a, b)",
    "UNNEST": "CROSS JOIN UNNEST(array) AS t (x)",
    "WATERMARK": "WATERMARK FOR ts AS ts - INTERVAL '5' SECOND",
    "WINDOW": "FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' MINUTE) GROUP BY window_start, window_end",
}
OF_TABLES = {
    "WITH": "WITH ('key' = 'value', …)",
    "TABLE": "CREATE TABLE name (a INT, b STRING, …) WITH ('key' = 'value', …)",
}
