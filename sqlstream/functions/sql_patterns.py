"""SQL's own patterns, LIKE and SIMILAR TO, as Java's regular expressions: Flink evaluates them so.

In both, % is any text and _ one character that ends no line (Java's dot).
"""

from __future__ import annotations

import re

from sqlstream.functions.pattern_tree import PatternError

_SPECIAL = frozenset("[]()|^-+*?{}$\\.")
_ANY, _CHARACTER = "(?s:.*)", "."
_NAMED = {
    "ALPHA": r"\p{Alpha}", "UPPER": r"\p{Upper}", "LOWER": r"\p{Lower}", "DIGIT": r"\d", "ALNUM": r"\p{Alnum}",
    "SPACE": " ", "WHITESPACE": r"\s",
}  # fmt: skip


def _plain(c: str) -> str:
    return "\\" + c if c in _SPECIAL else c


def like_pattern(text: str, escape: str) -> str:
    """Java's pattern of a LIKE; `escape` '': none. PatternError where the escape stands before another character."""
    if len(escape) > 1:
        raise PatternError(f"'{escape}' is no escape character: it must be one character")
    out, at = [], 0
    while at < len(text):
        c = text[at]
        if c == escape:
            after = text[at + 1 : at + 2]
            if after not in ("_", "%", escape) or not after:
                raise PatternError(f"'{text}': the escape '{escape}' must stand before %, _ or itself")
            out.append(_plain(after))
            at += 1
        else:
            out.append(_ANY if c == "%" else _CHARACTER if c == "_" else _plain(c))
        at += 1
    return "".join(out)


def similar_pattern(text: str, escape: str = "") -> str:
    """Java's pattern of a SIMILAR TO: its operators | * + ? {n} ( ) [ ] are Java's, [:ALPHA:] and such are named."""
    if len(escape) > 1:
        raise PatternError(f"'{escape}' is no escape character: it must be one character")
    out, at, inside = [], 0, False
    while at < len(text):
        c = text[at]
        if c == escape:
            if at + 1 == len(text):
                raise PatternError(f"'{text}': nothing behind the escape '{escape}'")
            at += 1
            out.append(_plain(text[at]))
        elif inside and (m := re.compile(r"\[:(\w+):\]").match(text, at)) is not None:
            if m[1].upper() not in _NAMED:
                raise PatternError(f"'{text}': there is no class [:{m[1]}:]; there are {', '.join(_NAMED)}")
            out.append(_NAMED[m[1].upper()])
            at = m.end() - 1
        elif inside:
            inside = c != "]"
            out.append(c if c in "]-" or c == "^" and out[-1] == "[" else _plain(c))
        elif c in "%_":
            out.append(_ANY if c == "%" else _CHARACTER)
        elif c == "[":
            inside = True
            out.append(c)
        else:
            out.append(c if c in "|*+?{}()" else _plain(c))
        at += 1
    return "".join(out)
