"""Which letters go to Python: all whose full mapping has several letters, and those that depend on their place."""

import re
import sys

from sqlstream import duck
from sqlstream.functions import unicode

LETTERS = [chr(i) for i in range(1, sys.maxunicode + 1) if not 0xD800 <= i <= 0xDFFF]


def test_letters_that_become_several() -> None:
    several = {c for c in LETTERS if len(c.upper()) > 1}
    assert several <= set(re.findall(f"[{unicode.UPPER}]", "".join(LETTERS)))
    assert {c for c in LETTERS if len(c.lower()) > 1} <= set(unicode.LOWER)


def test_others_are_mapped_alike() -> None:
    """As far as both know the letter: versions of Unicode add some."""
    con = duck.connect()
    try:
        rows = con.execute(
            "SELECT chr(i::INT), upper(chr(i::INT)), lower(chr(i::INT)) FROM range(1, 1114112) AS r(i) "
            "WHERE i NOT BETWEEN 55296 AND 57343"
        ).fetchall()
    finally:
        con.close()
    special = re.compile(f"[{unicode.UPPER}{unicode.LOWER}]")
    wrong = [
        c
        for c, up, low in rows
        if not special.match(c)
        and (up not in (c, c.upper()) and c.upper() != c or low not in (c, c.lower()) and c.lower() != c)
    ]
    assert not wrong
