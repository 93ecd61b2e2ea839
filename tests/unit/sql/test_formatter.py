"""Formatted scripts mean what they meant, keep their comments, and stay as they are when they are formatted again."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlstream.errors import ParseError, SqlStreamError
from sqlstream.sql.formatter import formatted
from sqlstream.sql.lexer import Token, tokenize
from sqlstream.sql.parser import parse_each
from sqlstream.sql.source import Source

ROOT = Path(__file__).parents[3]
_COMMENT = re.compile(r"--[^\r\n]*|/\*(?!\+).*?\*/", re.DOTALL)
_DIRECTIVE = re.compile(r"(zone|late|only|clock|statement|query)\b")


def of_slt(path: Path) -> Iterator[str]:
    """The statements of a file of tests/sql, as they stand there."""
    for record in re.split(r"\n\s*\n", path.read_text()):
        lines = [line for line in record.splitlines() if not line.startswith("#")]
        if lines and lines[0].startswith("input"):
            continue
        while lines and _DIRECTIVE.match(lines[0]):
            lines.pop(0)
        sql = "\n".join(lines).partition("\n----")[0]
        if sql.strip():
            yield sql


def corpus() -> dict[str, list[str]]:
    files = [*(ROOT / "queries").rglob("*.sql"), *(ROOT / "catalog").rglob("*.sql")]
    found = {str(p.relative_to(ROOT)): [p.read_text()] for p in files}
    found |= {p.name: list(of_slt(p)) for p in (ROOT / "tests" / "sql").glob("*.slt")}
    pages = {
        p.name: re.findall(r"^```sql\n(.*?)^```$", p.read_text(), re.M | re.S) for p in (ROOT / "docs").glob("*.md")
    }
    return dict(sorted((found | pages).items()))


CORPUS = corpus()


def comments(text: str) -> list[str]:
    out, at = [], 0
    for token in tokenize(Source(text)):
        out += [c.rstrip() for c in _COMMENT.findall(text, at, token.start)]
        at = token.end
    return out


def words(text: str) -> list[tuple[str, str]]:
    """Tokens; reserved words are told by their key."""
    return [(t.kind, t.key if t.kind == "WORD" else t.text) for t in tokenize(Source(text)) if t.key != ";"]


def trees(text: str) -> list[str]:
    """What the statements of a text are: dataclasses and trees, without places and texts."""
    out = []
    for parsed in parse_each(Source(text), "default", "default"):
        if isinstance(parsed.statement, SqlStreamError):
            out.append(parsed.statement.message)
            continue
        shown = re.sub(
            r"(text|query_text|computed_text)='.*?(?<!\\)'|(text|query_text|computed_text)=\".*?\"",
            "",
            repr(parsed.statement),
        )
        out.append(re.sub(r"position=(Position\([^)]*\)|None)", "", shown))
    return out


@pytest.mark.parametrize("name", CORPUS)
def test_all_sql_there_is(name: str) -> None:
    for text in CORPUS[name]:
        try:
            found = formatted(text, name)
        except ParseError as e:
            assert re.search("does not end|is not closed|closes nothing", e.message), e  # of tests/sql/errors.slt
            continue
        assert formatted(found) == found
        assert words(found) == words(text)
        assert comments(found) == comments(text)
        if "SET" not in text:  # of a bare value the text counts
            assert trees(found) == trees(text)
        assert [line for line in found.splitlines() if line != line.rstrip() and "'" not in line] == []


@pytest.mark.parametrize("seed", range(4))
def test_comments_anywhere(seed: int) -> None:
    """Between any two tokens: none is lost, none swallows what follows it, and they stay where they are the next time."""
    r = random.Random(seed)
    texts = [t for name in CORPUS for t in CORPUS[name] if "SET '" not in t]
    for text in r.sample(texts, 40):
        try:
            tokens = tokenize(Source(text))
        except ParseError:
            continue
        for at in reversed([t.start for t in outside_hints(tokens) if r.random() < 0.15]):
            comment = r.choice(
                (" -- c{}\n", "\n-- c{}\n", " /* c{} */ ", "\n/* of\n   two lines {} */\n", "/*c{}*/")
            ).format(at)
            text = text[:at] + comment + text[at:]
        try:
            found = formatted(text)
        except ParseError:
            continue
        assert words(found) == words(text)
        assert sorted(comments(found)) == sorted(comments(text))
        assert formatted(found) == found


def outside_hints(tokens: list[Token]) -> list[Token]:
    out, inside = [], False
    for t in tokens:
        if not inside:
            out.append(t)
        inside = (inside or t.key == "/*+") and t.key != "*/"
    return out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select  a,b from t", "SELECT a, b FROM t\n"),
        ("SELECT 1;SELECT 2 ;", "SELECT 1;\nSELECT 2;\n"),
        ("SELECT 1;\n\n\n\nSELECT 2", "SELECT 1;\n\nSELECT 2\n"),
        ("SELECT a -- one\n, b\n;-- two\n-- three", "SELECT\n  a, -- one\n  b; -- two\n-- three\n"),
        ("SELECT - 1, a-1, a - -1, (-b), -c*-d, a BETWEEN -1 AND + 2", "SELECT -1, a - 1, a - -1, (-b), -c * -d, a BETWEEN -1 AND +2\n"),
        ("select count( * ) , t . * , `from` from t", "SELECT count(*), t.*, `from` FROM t\n"),
        ("select key, first from t order by key desc", "SELECT key, first FROM t ORDER BY key DESC\n"),
        ("select a from t order by a desc nulls last", "SELECT a FROM t ORDER BY a DESC NULLS LAST\n"),
        ("select a from t_${ x } where b = ${y} and c='${z}' limit ${limit}", "SELECT a FROM t_${ x } WHERE b = ${y} AND c = '${z}' LIMIT ${limit}\n"),
        ("set x.y-z = 10 s; set 'a'='b'", "SET x.y-z = 10 s;\nSET 'a' = 'b'\n"),
        ("select cast(a as array<row<order_ int,b map<int,string>>>) from t", "SELECT CAST(a AS ARRAY<ROW<order_ int, b map<int, string>>>) FROM t\n"),
        ("select /*+  STATE_TTL( 'a'='1 d' ) */ a from t /*+ OPTIONS('x'='y') */", "SELECT /*+ STATE_TTL( 'a'='1 d' ) */ a FROM t /*+ OPTIONS('x'='y') */\n"),
        ("select 'a\nb' , x'00', u&'\\0041'", "SELECT 'a\nb', x'00', u&'\\0041'\n"),
        ("selec 1 from", "selec 1 FROM\n"),
        ("", ""),
        ("-- only\n", "-- only\n"),
    ],
)  # fmt: skip
def test_layout(text: str, expected: str) -> None:
    assert formatted(text) == expected


def test_what_does_not_fit() -> None:
    text = """create temporary view v (x, y) as select a, case when a>1 and b between 1 and 2 then 'a very long string' when a<-1
    then 'another rather long string' end as y -- trailing
    from t left join u on t.id=u.id where a in (select x from y) and (b or c) -- about b
    group by grouping sets ((a), (b)) union all select 1,2 order by 1 limit 10;
    create table t (
      id bigint not null, -- the id
      -- when
      ts timestamp(3), watermark for ts as ts - interval '5' second, primary key (id) not enforced) with ('connector'='datagen');
    execute statement set begin
    insert into p select a from n; -- first
    insert into q partition (d='x') (a, b) select a,b from n; end;"""
    assert (
        formatted(text, width=80)
        == """\
CREATE TEMPORARY VIEW v (x, y) AS
SELECT
  a,
  CASE
    WHEN a > 1 AND b BETWEEN 1 AND 2 THEN 'a very long string'
    WHEN a < -1 THEN 'another rather long string'
  END AS y -- trailing
FROM t
LEFT JOIN u ON t.id = u.id
WHERE a IN (SELECT x FROM y) AND (b OR c) -- about b
GROUP BY GROUPING SETS ((a), (b))
UNION ALL
SELECT 1, 2
ORDER BY 1
LIMIT 10;
CREATE TABLE t (
  id bigint NOT NULL, -- the id
  -- when
  ts timestamp(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' second,
  PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'datagen');
EXECUTE STATEMENT SET BEGIN
  INSERT INTO p
  SELECT a
  FROM n; -- first
  INSERT INTO q PARTITION (d = 'x') (a, b) SELECT a, b FROM n;
END;
"""
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("SELECT (a", "x.sql:1:8: this ( is not closed"),
        ("SELECT a)", "x.sql:1:9: this ) closes nothing"),
        ("SELECT [1)", "x.sql:1:10: this ) closes nothing"),
        ("SELECT CASE WHEN a", "x.sql:1:8: this CASE is not closed"),
        ("SELECT 'a", "x.sql:1:8: this string does not end"),
    ],
)
def test_what_is_not_closed(text: str, says: str) -> None:
    with pytest.raises(ParseError) as caught:
        formatted(text, "x.sql")
    assert str(caught.value).startswith(says)
