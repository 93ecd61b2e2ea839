"""Regular expressions evaluated by Python's `re`, which backtracks as Java does: what RE2 cannot say, and patterns that
are no constants. Functions over Arrow arrays, called by DuckDB like a user's.

A pattern is worked on text by text: there is nothing to vectorise. A microsecond or so a row; RE2 takes a tenth of it.
A pattern that is wrong in a row gives NULL, as in Flink; REGEXP and LIKE raise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

import pyarrow as pa

from sqlstream.errors import DataError
from sqlstream.functions.pattern_tree import PatternError
from sqlstream.functions.python_patterns import compiled
from sqlstream.functions.sql_patterns import like_pattern, similar_pattern


def _rows(*columns: pa.Array) -> Iterable[tuple[object, ...]]:
    return zip(*(c.to_pylist() for c in columns), strict=True)


def _tested(test: Callable[[str, str], bool], texts: pa.Array, patterns: pa.Array) -> pa.Array:
    try:
        found = [None if s is None or p is None else test(s, p) for s, p in _rows(texts, patterns)]  # type: ignore[arg-type]
    except PatternError as e:
        raise DataError(f"regular expression {e}") from None
    return pa.array(found, pa.bool_())


def matches(texts: pa.Array, patterns: pa.Array) -> pa.Array:
    """REGEXP: whether the pattern is somewhere in the text. The empty pattern is nowhere."""
    return _tested(lambda s, p: p != "" and compiled(p).search(s) is not None, texts, patterns)


def similar(texts: pa.Array, patterns: pa.Array) -> pa.Array:
    """SIMILAR TO: whether the whole text has SQL's pattern."""
    return _tested(lambda s, p: compiled(similar_pattern(p)).fullmatch(s) is not None, texts, patterns)


def like(texts: pa.Array, patterns: pa.Array) -> pa.Array:
    """LIKE: % is any text, _ a character that ends no line."""
    return _tested(lambda s, p: compiled(like_pattern(p, "")).fullmatch(s) is not None, texts, patterns)


def like_escape(texts: pa.Array, patterns: pa.Array, escapes: pa.Array) -> pa.Array:
    """LIKE with ESCAPE, where one of them is no constant."""
    out: list[bool | None] = []
    for s, p, e in _rows(texts, patterns, escapes):
        if s is None or p is None or e is None:
            out.append(None)
            continue
        try:
            out.append(compiled(like_pattern(str(p), str(e))).fullmatch(str(s)) is not None)
        except PatternError as error:
            raise DataError(f"LIKE {error}") from None
    return pa.array(out, pa.bool_())


def extract(texts: pa.Array, patterns: pa.Array, groups: pa.Array) -> pa.Array:
    """REGEXP_EXTRACT: a group of the first match; NULL without a match, and where the group took no part in it."""
    return pa.array([_group(s, p, g) for s, p, g in _rows(texts, patterns, groups)], pa.string())  # type: ignore[arg-type]


def _group(text: str | None, pattern: str | None, group: int | None) -> str | None:
    if text is None or pattern is None or group is None:
        return None
    try:
        found = compiled(pattern).search(text)
    except PatternError:
        return None
    return None if found is None or not 0 <= group <= found.re.groups else found[group]


def replace(texts: pa.Array, patterns: pa.Array, replacements: pa.Array) -> pa.Array:
    """REGEXP_REPLACE: every match; $1 is what group 1 matched, a backslash takes the next character as it is."""
    return pa.array([_replaced(s, p, r) for s, p, r in _rows(texts, patterns, replacements)], pa.string())  # type: ignore[arg-type]


def _replaced(text: str | None, pattern: str | None, replacement: str | None) -> str | None:
    if text is None or pattern is None or replacement is None:
        return None
    try:
        regex = compiled(pattern)
        parts = replacement_parts(replacement, regex.groups)
    except PatternError:
        return None
    return regex.sub(lambda m: "".join(p if isinstance(p, str) else m[p] or "" for p in parts), text)


def _found(f: Callable[..., object], kind: pa.DataType, *columns: pa.Array) -> pa.Array:
    """`f` of the compiled pattern, the text and what else there is; NULL where one is, or the pattern is wrong."""
    out: list[object] = []
    for text, pattern, *more in _rows(*columns):
        try:
            out.append(None if text is None or pattern is None or None in more else f(compiled(pattern), text, *more))
        except PatternError:
            out.append(None)
    return pa.array(out, kind)


def count(texts: pa.Array, patterns: pa.Array) -> pa.Array:
    """REGEXP_COUNT: how many matches there are."""
    return _found(lambda p, s: sum(1 for _ in p.finditer(s)), pa.int32(), texts, patterns)


def extract_all(texts: pa.Array, patterns: pa.Array, groups: pa.Array) -> pa.Array:
    """REGEXP_EXTRACT_ALL: a group of every match; NULL of a group that the pattern has not."""

    def every(p: re.Pattern[str], s: str, g: int) -> list[str | None] | None:
        return [m[g] for m in p.finditer(s)] if 0 <= g <= p.groups else None

    return _found(every, pa.list_(pa.string()), texts, patterns, groups)


def first_at(texts: pa.Array, patterns: pa.Array) -> pa.Array:
    """REGEXP_INSTR: where the first match begins, from 1 on; 0 without one."""

    def at(p: re.Pattern[str], s: str) -> int:
        m = p.search(s)
        return 0 if m is None else m.start() + 1

    return _found(at, pa.int32(), texts, patterns)


@lru_cache(maxsize=512)
def replacement_parts(text: str, groups: int) -> tuple[str | int, ...]:
    """A replacement as Java reads it: texts, and numbers of groups (as many digits as there are groups for)."""
    out: list[str | int] = []
    at = 0
    while at < len(text):
        c = text[at]
        if c == "\\":
            if at + 1 == len(text):
                raise PatternError(f"replacement '{text}': nothing behind the last backslash")
            out.append(text[at + 1])
            at += 2
        elif c == "$":
            m = re.compile(r"\$(\d)", re.ASCII).match(text, at)
            if m is None:
                raise PatternError(f"replacement '{text}': no group's number behind $ (\\$ is a dollar)")
            number, at = int(m[1]), m.end()
            if number > groups:
                raise PatternError(f"replacement '{text}': the pattern has no group {number}")
            while text[at : at + 1].isdigit() and number * 10 + int(text[at]) <= groups:
                number = number * 10 + int(text[at])
                at += 1
            out.append(number)
        else:
            out.append(c)
            at += 1
    return tuple(out)
