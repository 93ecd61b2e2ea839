"""Scripts to statements: where they are cut, and how variables are filled in."""

import pytest

from sqlstream.errors import ParseError, Position
from sqlstream.sql import is_complete, substitute
from sqlstream.sql.source import Source
from sqlstream.sql.splitter import split

SCRIPTS = [
    ("", []),
    (" \n ;; ; -- nothing\n /* nor ; here */ ;", []),
    ("SELECT 1", ["SELECT 1"]),
    ("SELECT 1;", ["SELECT 1"]),
    ("a;b;;c", ["a", "b", "c"]),
    ("SELECT ';' ; b", ["SELECT ';'", "b"]),
    ("SELECT 'it''s; here'; b", ["SELECT 'it''s; here'", "b"]),
    ("SELECT `a;``b`; b", ["SELECT `a;``b`", "b"]),
    ('SELECT "a;b"; b', ['SELECT "a;b"', "b"]),
    ("AS $$ a; b 'c $$; d", ["AS $$ a; b 'c $$", "d"]),
    ("a -- ; no\n b; c", ["a -- ; no\n b", "c"]),
    ("a /* ; ' */ b; c", ["a /* ; ' */ b", "c"]),
    ("a /*+ OPTIONS('k'=';') */ b; c", ["a /*+ OPTIONS('k'=';') */ b", "c"]),
    ("/* first */ a /* last */; b", ["a", "b"]),
    (
        "EXECUTE STATEMENT SET BEGIN INSERT a; INSERT b; END; c",
        ["EXECUTE STATEMENT SET BEGIN INSERT a; INSERT b; END", "c"],
    ),
    ("BEGIN STATEMENT SET; INSERT a; END; c", ["BEGIN STATEMENT SET; INSERT a; END", "c"]),
    ("EXPLAIN STATEMENT SET BEGIN a; END; c", ["EXPLAIN STATEMENT SET BEGIN a; END", "c"]),
    (
        "execute statement set begin a CASE x WHEN 1 THEN 2 END; b CASE WHEN c THEN d END FROM t; end; e",
        ["execute statement set begin a CASE x WHEN 1 THEN 2 END; b CASE WHEN c THEN d END FROM t; end", "e"],
    ),
    (
        "EXECUTE STATEMENT SET BEGIN a t.end; b `end`; END; c",
        ["EXECUTE STATEMENT SET BEGIN a t.end; b `end`; END", "c"],
    ),
    ("EXECUTE STATEMENT SET BEGIN a END; b", ["EXECUTE STATEMENT SET BEGIN a END", "b"]),
    ("SELECT CASE WHEN a THEN b END; c", ["SELECT CASE WHEN a THEN b END", "c"]),
    ("\ufeffSELECT 1; b", ["SELECT 1", "b"]),
]


@pytest.mark.parametrize(("script", "statements"), SCRIPTS, ids=range(len(SCRIPTS)))
def test_split(script, statements):
    assert [piece.text for piece in split(Source(script))] == statements


def test_positions_count_from_the_first_token():
    pieces = split(Source("-- comment\n\n  /* more */ SELECT 1;\r\n\tb ; 'é😀' c;d"))
    assert [p.position for p in pieces] == [Position(3, 14), Position(4, 2), Position(4, 6), Position(4, 13)]


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("SELECT 1;", True),
        ("SELECT 1; -- done", True),
        ("SELECT 1", False),
        ("SELECT 1; SELECT", False),
        ("SELECT ';", False),
        ("SELECT /* ;", False),
        ("EXECUTE STATEMENT SET BEGIN INSERT a;", False),
        ("EXECUTE STATEMENT SET BEGIN INSERT a; END;", True),
        ("", False),
        ("-- only a comment;", False),
    ],
)
def test_is_complete(text, complete):
    assert is_complete(text) is complete


SUBSTITUTIONS = [
    ("a ${x} b ${ y }", "a 1 b two's"),
    ("'${y}'", "'two''s'"),
    ("`${y}` `${z}`", "`two's` `a``b`"),
    ("'it''s ${y}'", "'it''s two''s'"),
    ("-- ${nothing}\n${x}", "-- ${nothing}\n1"),
    ("/* ${nothing} */${x}", "/* ${nothing} */1"),
    ("'-- ${x}' '/* ${x}'", "'-- 1' '/* 1'"),
    ("t /*+ OPTIONS('k' = '${x}') */", "t /*+ OPTIONS('k' = '1') */"),
    ("$x {x} $ {x} ${", "$x {x} $ {x} ${"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "result"), SUBSTITUTIONS)
def test_substitute(text, result):
    assert substitute(text, {"x": "1", "y": "two's", "z": "a`b"}) == result


def test_unknown_variable():
    with pytest.raises(ParseError) as error:
        substitute("SELECT 1;\nSELECT '${EVENT}'", {"EVENTS": "x"}, "job.sql")
    assert str(error.value) == (
        "job.sql:2:9: unknown variable ${EVENT}\n  SELECT '${EVENT}'\n          ^\nhint: did you mean EVENTS?"
    )
