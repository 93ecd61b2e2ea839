"""What HELP tells: the statements, each with its syntax and an example; the keys."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """One statement: how it is written, what it does, an example."""

    name: str
    syntax: str
    does: str
    example: str

    def text(self) -> str:
        """As HELP prints it."""
        example = self.example.replace("\n", "\n  ")
        return f"{self.name}: {self.does}\n\n  {self.syntax}\n\nfor example:\n  {example}\n"


# The examples run one after the other, in a session that has none of these names (tests/unit/shell/test_help.py).
STATEMENTS: tuple[Statement, ...] = (
    Statement(
        "CREATE TABLE",
        "CREATE [TEMPORARY] TABLE [IF NOT EXISTS] name (column TYPE, …, WATERMARK FOR c AS c - INTERVAL '5' SECOND,\n"
        "    PRIMARY KEY (column, …) NOT ENFORCED) [PARTITIONED BY (column, …)] WITH ('connector' = '…', …)\n"
        "  CREATE TABLE name LIKE other; CREATE TABLE name WITH (…) AS SELECT …",
        "names files, a generator or a sink as a table",
        "CREATE TABLE clicks (who INT, price DOUBLE, at_time TIMESTAMP(3), WATERMARK FOR at_time AS at_time)\n"
        "  WITH ('connector' = 'datagen', 'number-of-rows' = '100', 'fields.who.min' = '1', 'fields.who.max' = '5');",
    ),
    Statement(
        "CREATE VIEW",
        "CREATE [TEMPORARY] VIEW [IF NOT EXISTS] name [(column, …)] AS SELECT …",
        "gives a query a name",
        "CREATE VIEW dear AS SELECT * FROM clicks WHERE price > 10;",
    ),
    Statement(
        "CREATE FUNCTION",
        "CREATE [TEMPORARY] FUNCTION [IF NOT EXISTS] name AS 'module.function' LANGUAGE PYTHON, "
        "CREATE … FUNCTION … name(argument TYPE, …) RETURNS TYPE LANGUAGE PYTHON AS $$ body $$",
        "makes a Python function one of SQL",
        "-- words.py beside the shell:  def loud(text: str) -> str: return text.upper()\n"
        "CREATE FUNCTION loud AS 'words.loud' LANGUAGE PYTHON;",
    ),
    Statement(
        "SELECT",
        "[WITH name AS (…)] SELECT … FROM … [JOIN …] [WHERE …] [GROUP BY …] [HAVING …] [ORDER BY …] [LIMIT n]",
        "a query; over a table that grows its result moves",
        "SELECT who, COUNT(*) AS clicks FROM clicks GROUP BY who;",
    ),
    Statement(
        "WITH", "WITH name AS (SELECT …), … SELECT …", "a query with named parts",
        "WITH few AS (SELECT who FROM clicks) SELECT COUNT(DISTINCT who) FROM few;",
    ),
    Statement("VALUES", "VALUES (value, …), …", "rows of constants", "VALUES (1, 'a'), (2, 'b');"),
    Statement("TABLE", "TABLE name", "all rows of a table", "TABLE dear;"),
    Statement(
        "INSERT",
        "INSERT {INTO | OVERWRITE} table [PARTITION (column = value)] [(column, …)] {SELECT … | VALUES …}",
        "writes a query's rows; on a terminal it is a job of its own, which goes on when the shell is left",
        "CREATE TABLE counts (who INT, n BIGINT) WITH ('connector' = 'blackhole');\n"
        "INSERT INTO counts SELECT who, COUNT(*) FROM clicks GROUP BY who;",
    ),
    Statement(
        "EXECUTE STATEMENT SET",
        "EXECUTE STATEMENT SET BEGIN INSERT …; INSERT …; END",
        "several INSERTs as one job, which reads each table once",
        "EXECUTE STATEMENT SET BEGIN\n  INSERT INTO counts SELECT who, 1 FROM clicks;\n"
        "  INSERT INTO counts SELECT who, 2 FROM dear;\nEND;",
    ),
    Statement(
        "BEGIN STATEMENT SET", "BEGIN STATEMENT SET; INSERT …; END", "the same, in Flink's older form",
        "BEGIN STATEMENT SET;\n  INSERT INTO counts SELECT who, 3 FROM clicks;\nEND;",
    ),
    Statement(
        "EXPLAIN",
        "EXPLAIN [PLAN FOR | CHANGELOG_MODE | JSON_EXECUTION_PLAN | SYNTAX_TREE | OPTIMIZER_TRACE | ANALYZE] statement",
        "how a statement would run; ANALYZE runs it, and shows rows and time of each operator",
        "EXPLAIN SELECT who, SUM(price) FROM clicks GROUP BY who;",
    ),
    Statement(
        "SHOW TABLES", "SHOW TABLES [FROM database] [LIKE 'pattern']", "tables and views", "SHOW TABLES LIKE 'c%';"
    ),
    Statement("SHOW VIEWS", "SHOW VIEWS [FROM database] [LIKE 'pattern']", "views", "SHOW VIEWS;"),
    Statement(
        "SHOW FUNCTIONS", "SHOW [USER] FUNCTIONS [FROM database] [LIKE 'pattern']", "functions; \\df shows all with examples",
        "SHOW USER FUNCTIONS;",
    ),
    Statement(
        "SHOW COLUMNS", "SHOW COLUMNS FROM table [LIKE 'pattern']", "columns of a table", "SHOW COLUMNS FROM clicks;"
    ),
    Statement(
        "SHOW CREATE", "SHOW CREATE {TABLE | VIEW} name", "the statement that makes it", "SHOW CREATE TABLE clicks;"
    ),
    Statement("SHOW JOBS", "SHOW JOBS [LIKE 'pattern']", "jobs, those of other processes too", "SHOW JOBS;"),
    Statement("SHOW CATALOGS", "SHOW CATALOGS", "the catalogs, of which there is one", "SHOW CATALOGS;"),
    Statement("SHOW DATABASES", "SHOW DATABASES [FROM catalog] [LIKE 'pattern']", "databases", "SHOW DATABASES;"),
    Statement(
        "SHOW CURRENT", "SHOW CURRENT {CATALOG | DATABASE}", "which names mean that say none", "SHOW CURRENT DATABASE;"
    ),
    Statement(
        "CREATE DATABASE", "CREATE DATABASE [IF NOT EXISTS] name [COMMENT 'text'] [WITH ('key' = 'value', …)]",
        "a space of names for tables, views and functions", "CREATE DATABASE sales;",
    ),
    Statement("ALTER DATABASE", "ALTER DATABASE name SET ('key' = 'value')", "what is kept with it",
              "ALTER DATABASE sales SET ('owner' = 'ada');"),
    Statement("DROP DATABASE", "DROP DATABASE [IF EXISTS] name [RESTRICT | CASCADE]", "CASCADE: with all that is in it",
              "DROP DATABASE sales CASCADE;"),
    Statement(
        "USE", "USE [catalog.]database; USE CATALOG name", "the database that names mean which say none",
        "USE default_database;",
    ),
    Statement(
        "DESCRIBE", "DESCRIBE table; DESCRIBE {DATABASE | FUNCTION} [EXTENDED] name; DESCRIBE JOB 'name'",
        "the columns of a table; what is known of a database, a function; how a job is", "DESCRIBE clicks;",
    ),
    Statement("DESC", "DESC table", "the same as DESCRIBE", "DESC dear;"),
    Statement(
        "ALTER TABLE",
        "ALTER TABLE name {ADD | MODIFY} column TYPE [FIRST | AFTER c]; DROP column; RENAME column TO other; RENAME TO other; "
        "SET ('key' = 'value'); RESET ('key')",
        "another definition; data stays as it is", "ALTER TABLE clicks ADD page STRING AFTER who;",
    ),
    Statement(
        "ALTER VIEW", "ALTER VIEW name AS query; ALTER VIEW name RENAME TO other", "another query, or name",
        "ALTER VIEW dear AS SELECT who, price FROM clicks WHERE price > 90;",
    ),
    Statement(
        "DROP", "DROP [TEMPORARY] {TABLE | VIEW | FUNCTION} [IF EXISTS] name", "forgets it; data stays",
        "DROP VIEW dear;",
    ),
    Statement(
        "SET", "SET 'key' = 'value'; SET lists all", "an option of the session", "SET 'parallelism.default' = '2';"
    ),
    Statement("RESET", "RESET 'key'; RESET alone resets all", "an option as it was", "RESET 'parallelism.default';"),
    Statement(
        "CREATE SAVEPOINT", "CREATE SAVEPOINT [FOR JOB 'name'] ['directory']", "the state of a job, to begin others from",
        "CREATE SAVEPOINT FOR JOB 'insert-into_counts' 'saved';",
    ),
    Statement(
        "STOP JOB", "STOP JOB 'name' [WITH SAVEPOINT [WITH DRAIN]]", "ends a job", "STOP JOB 'insert-into_counts';"
    ),
    Statement("HELP", "HELP [statement]", "this", "HELP SELECT;"),
    Statement("SOURCE", "SOURCE 'file'; RUN SCRIPT 'file'", "runs the statements of a file", "SOURCE 'tables.sql';"),
    Statement("CLEAR", "CLEAR", "an empty screen", "CLEAR;"),
    Statement("QUIT", "QUIT; EXIT", "leaves; jobs go on", "QUIT;"),
)  # fmt: skip

KEYS = """\
  Enter             runs a text that is whole; else begins a line
  Alt-Enter         runs a text as it is
  Tab               completes; again for the next one
  Up, Down, Ctrl-R  earlier statements
  F2, \\e            the text in $VISUAL or $EDITOR
  Ctrl-C            takes the text away; ends what runs, and the job behind it;
                    twice: leaves it behind
  Ctrl-D            leaves
"""


def find(name: str) -> list[Statement]:
    """The statements of that name, or that begin with it."""
    wanted = " ".join(name.upper().split())
    exact = [s for s in STATEMENTS if s.name == wanted]
    return exact or [s for s in STATEMENTS if s.name.startswith(wanted + " ")]
