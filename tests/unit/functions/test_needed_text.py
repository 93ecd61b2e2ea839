"""What every match of a pattern has in it: a text without it is not given to RE2."""

from __future__ import annotations

import random
import re

import pytest

from sqlstream.functions.java_patterns import parse
from sqlstream.functions.re2_patterns import needed

CASES = {
    "(&|^)channel_id=([^&]*)": "channel_id=",
    "abc": "abc",
    "^abc$": "abc",
    "a(b)c": "abc",
    "ab|cd": "",
    "x(ab|cd)yz": "yz",
    "a+bc": "bc",
    "(abc)+d": "abc",
    "(abc)*d": "d",
    "(abc){0,2}": "",
    "(?i)abc1": "1",
    "(?i-i:)abc": "abc",  # on and off in the same breath
    "[a]b": "ab",
    "[ab]c": "c",
    r"\Qa.b\E": "a.b",
    r"a\bb": "ab",
    "a(?=xyz)b": "ab",
    "a(?!xyz)b": "ab",
    r"(a)\1bcd": "bcd",
    r"\p{L}x": "x",
    "a?": "",
    "": "",
    ".": "",
}


@pytest.mark.parametrize("pattern", CASES)
def test_needed(pattern: str) -> None:
    assert needed(parse(pattern)) == CASES[pattern]


PARTS = ["a", "b", "ab", "a?", "b*", "(ab)", "(a|b)", "(?:ab)+", "[ab]", "(?:^|b)", "."]


def test_no_match_is_without_it() -> None:
    """Random patterns over random texts, as Python has them."""
    draw = random.Random(11)
    tried = 0
    for _ in range(4_000):
        pattern = "".join(draw.choice(PARTS) for _ in range(4))
        text = "".join(draw.choice("ab\nc") for _ in range(draw.randrange(12)))
        literal = needed(parse(pattern))
        if literal and re.search(pattern, text) is not None:
            tried += 1
            assert literal in text, pattern
    assert tried > 100
