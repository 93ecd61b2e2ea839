"""Text that wants to break the parser: a clear error or an answer, soon, and never a Python error."""

import random

import pytest
from sql_samples import QUERIES

from sqlstream.errors import ParseError, UserError
from sqlstream.sql import parse_script, parse_type, substitute
from sqlstream.sql.foreign.translate import flink_of
from sqlstream.sql.printing import sql_of

NESTED = {
    "parentheses": "SELECT {0}1{1}|(|)",
    "functions": "SELECT {0}1{1}|f(|)",
    "named arguments": "SELECT {0}1{1}|f(a => |)",
    "subqueries": "SELECT * FROM {0}t{1}|(SELECT * FROM |)",
    "scalar subqueries": "SELECT {0}1{1}|(SELECT |)",
    "EXISTS": "SELECT {0}1{1}|EXISTS(SELECT |)",
    "IN": "SELECT {0}1{1}|a IN (SELECT |)",
    "WITH": "{0}SELECT 1{1}|WITH a AS (|) SELECT * FROM a",
    "joins": "SELECT * FROM {0}t{1}|(| JOIN u ON TRUE)",
    "CASE": "SELECT {0}TRUE{1}|CASE WHEN | THEN 1 END",
    "NOT": "SELECT {0}TRUE{1}|NOT |",
    "signs": "SELECT {0}1{1}|- |",
    "elements": "SELECT {0}1{1}|a[|]",
    "arrays": "SELECT {0}1{1}|ARRAY[|]",
    "types": "SELECT CAST(a AS {0}INT{1})|ARRAY<|>",
    "rows": "SELECT CAST(a AS {0}INT{1})|ROW<a |>",
    "grouping sets": "SELECT a FROM t GROUP BY {0}a{1}|GROUPING SETS (|)",
    "lateral": "SELECT * FROM {0}t{1}|a, LATERAL (SELECT * FROM |)",
    "mixed": "SELECT {0}TRUE{1}|f((1 + CASE WHEN a[1] IN (| ) THEN 1 END))",
}


@pytest.mark.parametrize("template", NESTED.values(), ids=NESTED)
@pytest.mark.parametrize("depth", [10, 500, 5000])
def test_nesting(template, depth):
    text, opened, closed = template.split("|")
    text = text.format(opened * depth, closed * depth)
    if depth == 10:
        (statement,) = parse_script(text)
        assert sql_of(statement.query)
        return
    with pytest.raises(ParseError, match="nested more than"):
        parse_script(text)


@pytest.mark.parametrize("chain", ["1 + ~1", "a || ~b", "a.~b", "SELECT 1 UNION ~SELECT 1", "(1) = ~(1)"])
def test_long_chains(chain):
    part, last = chain.split("~")
    select = "" if part.startswith("SELECT") else "SELECT "
    parse_script(select + part * 50 + last)
    with pytest.raises(ParseError, match="more than 200 operators deep"):
        parse_script(select + part * 3000 + last)


@pytest.mark.parametrize(
    "text", ["SELECT " + "a OR " * 5000 + "b", "SELECT a IN (" + "1, " * 5000 + "1)", "SELECT " + "?, " * 5000 + "1"]
)
def test_long_and_flat(text):
    assert len(parse_script(text)) == 1


MEGABYTES = {
    "string": ("SELECT '" + "x" * 1_000_000 + "'", None),
    "quotes": ("SELECT '" + "''" * 500_000, "this string does not end"),
    "name": ("SELECT " + "x" * 1_000_000, None),
    "comment": ("SELECT 1 /*" + "* / " * 250_000 + "*/", None),
    "open comment": ("SELECT 1 /*" + "* / " * 250_000, "this comment does not end"),
    "rows": ("INSERT INTO t VALUES " + ", ".join(["(1, '" + "x" * 500 + "', 2.5)"] * 2000), None),
    "parentheses": ("(" * 200_000, "nested more than"),
    "dollars": ("$" * 1_000_001, ""),
    "empty statements": (";" * 100_000, None),
    "spaces": (" " * 1_000_000, None),
    "digits": ("SELECT " + "1" * 1_000_000, None),
}


@pytest.mark.parametrize(("text", "message"), MEGABYTES.values(), ids=MEGABYTES)
def test_a_megabyte(text, message):
    if message is None:
        parse_script(text)
        return
    with pytest.raises(ParseError) as error:
        parse_script(text)
    assert message in error.value.message
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "\0",
        "SELECT \0 FROM t",
        "SELECT ` \0",
        "😀",
        "SELECT 1 \\ 2",
        "#",
        "SELECT @x",
        "{{ x }}",
        "{# SELECT 1 #}",
        "\x1b[31m",
    ],
)
def test_characters_that_begin_nothing(text):
    with pytest.raises(ParseError) as error:
        parse_script(text)
    assert error.value.position is not None


@pytest.mark.parametrize(
    "text",
    ["SELECT '\0'", "SELECT '😀', `😀`", "SELECT ñandú, 变量 FROM Ω", "\u00a0SELECT\u30001", "SELECT 'a\nb\r\n'"],
)
def test_characters_that_are_welcome(text):
    assert len(parse_script(text)) == 1


def test_damaged_queries_are_user_errors():
    """Tokens of the samples dropped, doubled and swapped: whatever comes of it, it is no Python error."""
    chance = random.Random(20261121)
    for sql in QUERIES:
        for _ in range(12):
            words = sql.replace("(", " ( ").replace(")", " ) ").replace(",", " , ").split(" ")
            at, other = chance.randrange(len(words)), chance.randrange(len(words))
            words[at : at + 1] = chance.choice([[], [words[at]] * 2, [words[other]], ["'"], ["SELECT"], [";"]])
            try:
                for statement in parse_script(" ".join(words)):
                    sql_of(statement.query)
            except UserError as error:
                assert str(error)


@pytest.mark.parametrize("end", range(0, 300, 7))
def test_every_beginning_of_a_statement(end):
    script = "CREATE TABLE t (a ROW<b INT>, c AS a.b, WATERMARK FOR c AS c - INTERVAL '1' SECOND, PRIMARY KEY (c) NOT ENFORCED) WITH ('k' = 'v') LIKE s (EXCLUDING ALL); INSERT INTO t SELECT CASE WHEN EXTRACT(DAY FROM x) IN (1) THEN ARRAY[1] END FROM u FOR SYSTEM_TIME AS OF u.p AS v ORDER BY 1 LIMIT 5;"
    try:
        parse_script(script[:end])
    except UserError as error:
        assert error.position is not None and str(error)


@pytest.mark.parametrize(
    "text", ["${" * 10_000, "${a}" * 1000, "'" + "${a}" * 1000, "--${" * 1000, "/*" * 1000 + "${a}"]
)
def test_substitution(text):
    try:
        substitute(text, {"a": "'"})
    except ParseError as error:
        assert error.position is not None


def test_type_text():
    for text in ("\0", "'", "ROW<" * 1000, "(" * 1000, "INT;", "INT -- c", "DECIMAL(1, 2, 3)"):
        try:
            parse_type(text)
        except UserError:
            continue
        assert text == "INT -- c"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT " + "(" * 3000 + "1" + ")" * 3000,
        "SELECT " + "NOT " * 3000 + "TRUE",
        "SELECT " + " || ".join(["a"] * 3000),
    ],
    ids=["brackets", "not", "chain"],
)
def test_depth_in_another_dialect(text):
    with pytest.raises(ParseError, match="an expression here is too deep"):
        flink_of(text, "postgres")


def test_what_another_dialects_parser_says_has_no_names_of_its_own():
    with pytest.raises(ParseError) as e:
        flink_of("SELECT 1 FROM", "mysql")
    assert e.value.message == "not read as mysql: Expected table name"
