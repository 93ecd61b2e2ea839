"""Wrong SQL: what the message says, where the caret stands, what the hint advises."""

import pytest

from sqlstream.errors import NotSupported, ParseError, Position
from sqlstream.sql import parse_query, parse_script, parse_statement

END = "the end of the statement"
# the marker ^ stands before the token that the error is about
ERRORS = [
    ("STOP JOB ^x", "expected a job's name in single quotes", None),
    ("STOP JOB 'x' ^WITH DRAIN", "WITH DRAIN could only be used after WITH SAVEPOINT", None),
    ("CREATE SAVEPOINT ^FOR 'x'", "expected a directory in single quotes", None),
    ("CREATE TEMPORARY ^SAVEPOINT", "expected TABLE, VIEW or FUNCTION", None),
    ("^SELEC 1", "SELEC begins no statement", "did you mean SELECT?"),
    ("^FROM t SELECT a", "FROM begins no statement", "a query begins with SELECT"),
    ("^1 + 1", "expected a statement, found 1", None),
    ("SELECT a FROM^", f"expected a table's name, found {END}", None),
    ("SELECT ^FROM t", "expected an expression, found FROM", None),
    ("SELECT LISTAGG(x) WITHIN GROUP (^y) FROM t", "expected ORDER BY, found y", "write WITHIN GROUP (ORDER BY a)"),
    ("SELECT a, ^FROM t", "expected an expression, found FROM", "a comma too many"),
    ("SELECT a b ^c FROM t", f"expected {END}, found c", None),
    ("SELECT (1 + 2 ^FROM t", "expected ), found FROM", None),
    ("SELECT a FROM t^)", f"expected {END}, found )", None),
    ("SELECT a FROM (SELECT b FROM t^", f"expected ), found {END}", None),
    ("SELECT f(a^", f"expected ), found {END}", None),
    ("SELECT COUNT(^FROM t", "expected an expression, found FROM", None),
    ("SELECT a[1 ^FROM t", "expected ], found FROM", None),
    ("SELECT a.^.b", "expected a name behind the dot, found .", None),
    ('SELECT ^"x" FROM t', "double quotes mean nothing in Flink SQL", "write `x` for a name, 'x' for a string"),
    ('SELECT a AS ^"x y"', "double quotes mean nothing", "`x y`"),
    ("SELECT ^'abc FROM t", "this string does not end", None),
    ("SELECT ^'abc'' FROM t", "this string does not end", None),
    ("SELECT ^`abc FROM t", "this quoted name does not end", None),
    ("SELECT 1 ^/* abc", "this comment does not end", None),
    ("SELECT ^/*+ FOO FROM t", "this hint does not end", "/*+ NAME('key' = 'value') */"),
    ("SELECT a^::INT", f"expected {END}, found ::", "CAST(x AS type)"),
    ("SELECT a ^== b", f"expected {END}, found ==", "equality is written ="),
    ("SELECT a ILIKE ^'x'", f"expected {END}, found 'x'", "LOWER(x) LIKE LOWER(pattern)"),
    ("SELECT a ^-> 'x'", "expected", "JSON_VALUE"),
    ("SELECT 1 MINUS ^SELECT 2", "expected", "write EXCEPT"),
    ("SELECT ^order FROM t", "expected an expression, found order", "`order`"),
    ("SELECT a AS ^table", "expected an alias, found table", "`table`"),
    ("SELECT a AS ^'x'", "expected an alias, found 'x'", "`x`"),
    ("SELECT ^`` FROM t", "a name cannot be empty", None),
    ("SELECT a FROM t WHERE^", f"expected an expression, found {END}", None),
    ("SELECT a FROM t GROUP ^a", "expected BY, found a", None),
    ("SELECT a FROM t LIMIT ^x", "expected a whole number, found x", None),
    ("SELECT a FROM t LIMIT ^1.5", "expected a whole number, found 1.5", None),
    ("SELECT a FROM t LIMIT 1^, 2", "expected OFFSET, found ,", "LIMIT count OFFSET start"),
    ("SELECT a FROM t ORDER BY a ^UNION SELECT b FROM t", f"expected {END}, found UNION", None),
    ("SELECT a FROM t JOIN u^", f"expected ON or USING, found {END}", "CROSS JOIN"),
    ("SELECT a FROM t ^CROSS JOIN u ON TRUE", "a CROSS JOIN has no condition", None),
    ("SELECT a FROM t LEFT ^SEMI JOIN u ON TRUE", "expected JOIN, found SEMI", "EXISTS"),
    ("SELECT a FROM ^a.b.c.d", "[catalog.][database.]name", None),
    ("SELECT a FROM TABLE(t^)", "expected ( behind the function's name, found )", None),
    ("SELECT a FROM t FOR SYSTEM_TIME ^OF x", "expected AS, found OF", None),
    ("SELECT CASE a WHEN 1^, 2 THEN 3 END", "expected THEN, found ,", "one WHEN for each"),
    ("SELECT CASE ^END", "expected an expression, found END", None),
    ("SELECT CASE a ^END", "expected WHEN, found END", None),
    ("SELECT CAST(a ^, INT)", "expected AS, found ,", None),
    ("SELECT CAST(a AS ^NUMBR)", "there is no type NUMBR", "did you mean NUMERIC?"),
    ("SELECT SUM(x) OVER ^FROM t", "expected a window's name or (, found FROM", None),
    ("SELECT SUM(x) OVER (ORDER BY y ROWS 5^)", "expected PRECEDING or FOLLOWING, found )", None),
    ("SELECT a ^NOT 5", f"expected {END}, found NOT", None),
    ("SELECT a IS ^5", "expected NULL, TRUE, FALSE", None),
    ("SELECT a LIKE^", f"expected an expression, found {END}", None),
    ("SELECT ^MAP['a']", "a value for each key", None),
    ("SELECT ^X'0'", "even number of hexadecimal digits", None),
    ("SELECT ^X'zz'", "even number of hexadecimal digits", None),
    ("SELECT * ^EXCEPT (a) FROM t", "expected FROM, found EXCEPT", "no * EXCEPT"),
    ("SELECT a.b.c.d.^*", "a star has at most three names before it", None),
    ("SELECT ^😀", "unexpected character '😀'", None),
    ("SELECT a, ^\0", r"unexpected character '\x00'", None),
    ("SELECT ^${x}", "the variable ${x} has no value", None),
    ("CREATE ^TABL t (a INT)", "expected TABLE, VIEW or FUNCTION, found TABL", "did you mean TABLE?"),
    ("CREATE TABLE t (a INT, ^a STRING)", "the column a is there twice", None),
    ("CREATE TABLE t (a^)", "expected a type, found )", None),
    ("CREATE TABLE t (a INT ^UNIQUE)", "expected , or ), found UNIQUE", None),
    ("CREATE TABLE t (a INT CONSTRAINT c^)", "expected PRIMARY KEY, found )", None),
    ("CREATE TABLE t (a INT^", "expected , or ), found the end", None),
    ("CREATE TABLE t (^)", "expected a column's name, found )", None),
    ("CREATE TABLE t (a INT ^PRIMARY KEY)", "a PRIMARY KEY must be NOT ENFORCED", "NOT ENFORCED"),
    ("CREATE TABLE t (a INT, ^PRIMARY KEY (a) ENFORCED)", "a PRIMARY KEY must be NOT ENFORCED", None),
    ("CREATE TABLE t (a INT PRIMARY KEY NOT ENFORCED, ^PRIMARY KEY (a) NOT ENFORCED)", "one PRIMARY KEY at most", None),
    ("CREATE TABLE t (PRIMARY KEY (a, ^a) NOT ENFORCED)", "the key column a is there twice", None),
    ("CREATE TABLE t (WATERMARK FOR a AS a, ^WATERMARK FOR a AS a)", "one WATERMARK at most", None),
    ("CREATE TABLE t (WATERMARK FOR ^a.b AS a)", "one of the table's own", "computed column"),
    ("CREATE TABLE t (a INT) WITH ('k' = 'v', ^'k' = 'w')", "the option 'k' is there twice", None),
    ("CREATE TABLE t (a INT) WITH ('k' = ^1)", "expected the value of 'k' in single quotes, found 1", "strings"),
    ("CREATE TABLE t (a INT) WITH (^k = 'v')", "expected an option's key in single quotes, found k", None),
    ("CREATE TABLE t LIKE s (^OVERWRITING ALL)", "OVERWRITING ALL does not exist", None),
    ("CREATE TABLE t LIKE s (EXCLUDING OPTIONS ^INCLUDING OPTIONS)", "OPTIONS is there twice", None),
    ("CREATE VIEW v AS ^INSERT INTO t SELECT 1", "expected a query", None),
    ("CREATE FUNCTION f AS ^m.f", "expected 'module.function', found m", None),
    ("CREATE FUNCTION f AS ^$$ return 1 $$", "a body needs the types of the arguments and of the result", "RETURNS STRING"),
    ("CREATE FUNCTION f(x INT) AS ^$$ return 1 $$", "a body needs the types of the arguments and of the result", "RETURNS"),
    ("CREATE FUNCTION f(x INT) RETURNS INT AS ^'m.f'", "expected a body in $$, found 'm.f'", "says its types there"),
    ("CREATE FUNCTION f(x ^INTT) RETURNS INT AS $$ return 1 $$", "INTT", None),
    ("CREATE FUNCTION f(x INT) RETURNS INT AS ^$$ return 1", "this $$ text does not end", "$$ ends it"),
    ("DROP TABLE^", f"expected a table's name, found {END}", None),
    ("INSERT ^t SELECT 1", "expected INTO or OVERWRITE, found t", None),
    ("INSERT INTO t^", f"expected a query (SELECT, VALUES or WITH), found {END}", None),
    ("INSERT INTO t (a, ^a) SELECT 1, 2", "the column a is there twice", None),
    ("EXECUTE STATEMENT SET BEGIN ^SELECT 1; END", "expected INSERT or END, found SELECT", None),
    ("EXECUTE STATEMENT SET BEGIN ^END", "a statement set needs an INSERT", None),
    ("EXECUTE STATEMENT SET BEGIN INSERT INTO t SELECT 1^", "expected ; or END, found the end", None),
    ("SET x^", f"expected =, found {END}", "SET 'key' = 'value'"),
    ("SET ^= 1", "expected a key, found =", "SET 'key' = 'value'"),
    ("SHOW ^TABLE", "expected TABLES, VIEWS, FUNCTIONS, COLUMNS, PARTITIONS, JOBS, CATALOGS or DATABASES, found TABLE", "did you mean TABLES?"),
    ("SHOW COLUMNS^", "expected FROM or IN", None),
    ("DROP DATABASE d ^ALL", "expected RESTRICT or CASCADE, found ALL", None),
    ("ALTER DATABASE d ^RESET ('a')", "expected SET, found RESET", None),
    ("SHOW CURRENT ^TABLE", "expected CATALOG or DATABASE, found TABLE", None),
    ("SHOW JOBS ^FROM x", f"expected {END}, found FROM", None),
    ("USE ^'d'", "expected a database's name, found 'd'", "`d`"),
    ("EXPLAIN ^CREATE TABLE t (a INT)", "of CREATE only CREATE TABLE … AS SELECT … has a plan", "EXPLAIN SELECT …"),
    ("SELECT 1; SELECT 2;\nSELECT\n  3 ^4", f"expected {END}, found 4", None),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "message", "hint"), ERRORS, ids=[e[0][:50] for e in ERRORS])
def test_errors(sql, message, hint):
    before, _, after = sql.partition("^")
    with pytest.raises(ParseError) as error:
        parse_script(before + after)
    found = error.value
    assert message in found.message
    assert hint is None or hint in (found.hint or "")
    lines = before.split("\n")
    assert found.position == Position(len(lines), len(lines[-1]) + 1)
    assert found.sql == before + after


UNSUPPORTED = [
    ("^USE MODULES core", "USE MODULES is not supported"),
    ("^CREATE CATALOG c", "CREATE CATALOG is not supported"),
    ("^REPLACE TABLE t AS SELECT 1", "REPLACE TABLE is not supported"),
    ("^CREATE MATERIALIZED TABLE t AS SELECT 1", "CREATE MATERIALIZED TABLE is not supported"),
    ("^CREATE MODEL m", "CREATE MODEL is not supported"),
    ("^SHOW CREATE CATALOG c", "SHOW CREATE CATALOG is not supported"),
    ("^LOAD MODULE hive", "LOAD MODULE is not supported"),
    ("^UPDATE t SET a = 1", "UPDATE is not supported"),
    ("^DELETE FROM t", "DELETE is not supported"),
    ("^EXECUTE PLAN 'x'", "EXECUTE PLAN is not supported"),
    ("^QUIT", "QUIT is not supported"),
    ("SELECT * FROM t ^MATCH_RECOGNIZE (PARTITION BY a)", "MATCH_RECOGNIZE is not supported"),
    ("SELECT * FROM t AS x ^MATCH_RECOGNIZE (PARTITION BY a)", "MATCH_RECOGNIZE is not supported"),
    ("SELECT * FROM t ^TABLESAMPLE BERNOULLI(10)", "TABLESAMPLE is not supported"),
    ("SELECT * FROM ML_PREDICT(TABLE t, ^MODEL m, DESCRIPTOR(a))", "models are not supported"),
    ("SELECT ^MULTISET[1]", "MULTISET[…] is not supported"),
    ("SELECT ^ARRAY(SELECT 1)", "ARRAY(query) is not supported"),
    ("SELECT CAST(a AS TIMESTAMP(^9))", "finer than a microsecond"),
    ("CREATE TABLE t (a INT) ^DISTRIBUTED BY HASH(a) INTO 4 BUCKETS", "DISTRIBUTED is not supported"),
    ("CREATE TABLE t (a INT ^DEFAULT 5)", "DEFAULT is not supported"),
    ("CREATE TABLE t (^UNIQUE (a))", "UNIQUE constraints are not supported"),
    ("CREATE FUNCTION f AS 'x.y' LANGUAGE ^JAVA", "functions in JAVA are not supported"),
    ("CREATE FUNCTION f AS 'x.y' ^USING JAR 'x'", "USING is not supported"),
    ("INSERT INTO t PARTITION (a^) SELECT 1", "PARTITION (a) without a value is not supported"),
    ("INSERT INTO t ^/*+ OPTIONS('a'='b') */ SELECT 1", "hints on the target of INSERT are not supported"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "message"), UNSUPPORTED, ids=[u[0][:50] for u in UNSUPPORTED])
def test_unsupported(sql, message):
    before, _, after = sql.partition("^")
    with pytest.raises(NotSupported) as error:
        parse_statement(before + after)
    assert message in error.value.message
    assert error.value.hint
    assert error.value.position == Position(1, len(before) + 1)


def test_an_error_as_the_user_sees_it():
    with pytest.raises(ParseError) as error:
        parse_script("SET 'a' = 'b';\n\nSELECT name,\n\tSUM(price\nFROM bid;", "job.sql")
    assert str(error.value) == "job.sql:5:1: expected ), found FROM\n  FROM bid;\n  ^\nhint: the ( at 4:5 is not closed"


def test_the_caret_stands_under_the_text_behind_a_tab():
    with pytest.raises(ParseError) as error:
        parse_query("SELECT\n\ta a a")
    shown = str(error.value).partition("\nhint: it is written SELECT … FROM")[0]
    assert shown == "line 2:6: expected the end of the statement, found a\n   a a a\n       ^"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028"])
def test_lines_are_counted_as_the_message_prints_them(end):
    with pytest.raises(ParseError) as error:
        parse_query(f"SELECT 'x',{end}{end}  ,")
    assert error.value.position == Position(3, 3)
    assert str(error.value).splitlines()[1:3] == ["    ,", "    ^"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no statement"),
        ("-- c\n;", "there is no statement"),
        ("SELECT 1; SELECT 2", "expected one statement"),
    ],
)
def test_one_statement(text, message):
    with pytest.raises(ParseError, match=message):
        parse_statement(text)
