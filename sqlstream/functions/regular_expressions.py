"""SQL text of what takes a pattern: REGEXP, REGEXP_EXTRACT, REGEXP_REPLACE, LIKE, SIMILAR TO.

A constant pattern goes to DuckDB wherever RE2 can say what Java means by it (re2_patterns.py); anything else goes to
Python (java_matching.py). A constant that is wrong is refused when the query is planned.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlstream.errors import BindError, NotSupported
from sqlstream.functions import literal_patterns, user
from sqlstream.functions.java_matching import replacement_parts
from sqlstream.functions.java_patterns import parse
from sqlstream.functions.pattern_tree import Pattern, PatternError, group_of, width
from sqlstream.functions.python_patterns import compiled
from sqlstream.functions.re2_patterns import NotRe2, needed, re2
from sqlstream.functions.sql_patterns import like_pattern, similar_pattern
from sqlstream.literals import quoted
from sqlstream.types import BOOLEAN, INT, STRING, Type, array

_TEXTS = (STRING, STRING, STRING)
# What goes to Python, by the function of java_matching.py.
PYTHON = {
    name: user.UserFunction(f"sqlstream.functions.java_matching.{name}", takes, gives, deterministic=True, arrow=True)
    for name, takes, gives in (
        ("matches", _TEXTS[:2], BOOLEAN),
        ("similar", _TEXTS[:2], BOOLEAN),
        ("like", _TEXTS[:2], BOOLEAN),
        ("like_escape", _TEXTS, BOOLEAN),
        ("extract", (STRING, STRING, INT), STRING),
        ("replace", _TEXTS, STRING),
        ("count", _TEXTS[:2], INT),
        ("extract_all", (STRING, STRING, INT), array(STRING)),
        ("first_at", _TEXTS[:2], INT),
    )
}
# A text without what every match has is not given to RE2, which takes five to ten times as long as the search for it.
_WORTH = 2  # characters of it
_COLUMN = re.compile(r"\w+(?:\.\w+)*")  # is read twice at no cost
_MOST_GROUPS = 9  # that RE2's replacements can name

_OF_PATTERNS = "patterns are Java's; a \\ before ( ) [ ] . * + ? takes the character as it is"


def constant(sql: str) -> str | None:
    """The text of a string literal, None for any other expression."""
    if re.fullmatch(r"'(?:[^']|'')*'", sql, re.DOTALL) is None:
        return None
    return sql[1:-1].replace("''", "'")


def calls(*names: str) -> tuple[user.UserFunction, ...]:
    """The functions of java_matching.py that a text may call."""
    return tuple(PYTHON[n] for n in names)


def by_python(name: str, args: list[str]) -> str:
    """A call of a function of java_matching.py."""
    return PYTHON[name].called(args)


def _parsed(text: str, what: str) -> Pattern:
    try:
        return parse(text)
    except PatternError as e:
        raise BindError(f"{what}: the pattern {e}", hint=_OF_PATTERNS) from None


def _or_python(text: str, what: str, by_re2: Callable[[], str], name: str, args: list[str]) -> str:
    """`by_re2`, or Python's way when RE2 cannot; refused when neither can."""
    try:
        return by_re2()
    except NotRe2:
        pass
    try:
        compiled(text)
    except PatternError as e:
        raise NotSupported(f"{what}: {e} is not supported") from None
    return by_python(name, args)


def matches(args: list[str], types: list[Type] | None = None, result: Type | None = None) -> str:
    """REGEXP: whether the pattern is somewhere in the text. In Flink the empty pattern is nowhere."""
    text = constant(args[1])
    if text is None:
        return by_python("matches", args)
    if text == "":
        return f"({args[0]} <> {args[0]})"
    pattern = _parsed(text, "REGEXP")

    quick = literal_patterns.matches(pattern, args[0]) if _COLUMN.fullmatch(args[0]) else None
    if quick is not None:
        return quick

    def by_re2() -> str:
        found, literal = f"regexp_matches({args[0]}, {quoted(re2(pattern))})", needed(pattern)
        if len(literal) < _WORTH or "\0" in literal or not _COLUMN.fullmatch(args[0]):
            return found
        return f"CASE WHEN NOT contains({args[0]}, {quoted(literal)}) THEN FALSE ELSE {found} END"

    return _or_python(text, "REGEXP", by_re2, "matches", args)


def extract(args: list[str], types: list[Type], result: Type) -> str:
    """REGEXP_EXTRACT: NULL without a match, of a group that takes no part in it, and of one that there is not."""
    return _extract("REGEXP_EXTRACT", args)


def _extract(what: str, args: list[str]) -> str:
    text, group = constant(args[1]), args[2] if len(args) > 2 else "0"
    if text is None or not group.isdigit():
        return by_python("extract", [args[0], args[1], group])
    pattern, number = _parsed(text, what), int(group)
    if number > pattern.groups:
        return f"CASE WHEN FALSE THEN {args[0]} END"

    def by_re2() -> str:
        inner, always = (pattern.root, True) if number == 0 else group_of(pattern.root, number) or (pattern.root, False)
        found = f"regexp_extract({args[0]}, {quoted(re2(pattern, (number,)))}, 1)"
        if width(inner)[0] > 0:
            return f"nullif({found}, '')"  # DuckDB gives '' for what has not matched
        if not always:
            raise NotRe2("an empty group, or none")
        return f"CASE WHEN regexp_matches({args[0]}, {quoted(re2(pattern))}) THEN {found} END"

    found = _or_python(text, what, by_re2, "extract", [args[0], args[1], group])
    quick = literal_patterns.extract(pattern, number, args[0], found) if _COLUMN.fullmatch(args[0]) else None
    return quick or found


def extracts_nothing(args: list[str], types: list[Type], result: Type) -> str:
    """REGEXP_EXTRACT(…) IS NULL: whether it matches at all, where the group takes part in every match."""
    text, group = constant(args[1]), args[2] if len(args) > 2 else "0"
    if text and group.isdigit():
        pattern, number = _parsed(text, "REGEXP_EXTRACT"), int(group)
        if number == 0 or (group_of(pattern.root, number) or (None, False))[1]:
            return f"(NOT coalesce({matches(args[:2])}, FALSE))"
    return f"({extract(args, types, result)} IS NULL)"


def replace(args: list[str], types: list[Type], result: Type) -> str:
    """REGEXP_REPLACE: every match, by a replacement with Java's $1."""
    text, replacement = constant(args[1]), constant(args[2])
    if text is None or replacement is None:
        return by_python("replace", args)
    pattern = _parsed(text, "REGEXP_REPLACE")
    try:
        parts = replacement_parts(replacement, pattern.groups)
    except PatternError as e:
        raise BindError(f"REGEXP_REPLACE: {e}") from None

    def by_re2() -> str:
        named = tuple(sorted({p for p in parts if isinstance(p, int)}))
        if width(pattern.root)[0] == 0 or len(named) > _MOST_GROUPS:
            raise NotRe2("RE2 skips an empty match behind another")
        if re2(pattern).endswith(r")?\z"):
            raise NotRe2("what stands behind $ would be replaced")
        by = "".join(f"\\{named.index(p) + 1}" if isinstance(p, int) else "\\\\" if p == "\\" else p for p in parts)
        return f"regexp_replace({args[0]}, {quoted(re2(pattern, named))}, {quoted(by)}, 'g')"

    return _or_python(text, "REGEXP_REPLACE", by_re2, "replace", args)


def count(args: list[str], types: list[Type], result: Type) -> str:
    """REGEXP_COUNT."""

    def by_re2(pattern: Pattern) -> str:
        return f"CAST(len(regexp_extract_all({args[0]}, {quoted(re2(pattern))})) AS INTEGER)"

    return _of_matches("REGEXP_COUNT", by_re2, "count", args)


def extract_all(args: list[str], types: list[Type], result: Type) -> str:
    """REGEXP_EXTRACT_ALL: of a group, the first one where none is named."""
    group = args[2] if len(args) > 2 else "1"

    def by_re2(pattern: Pattern) -> str:
        number = int(group) if group.isdigit() else -1
        if number != 0 and not (group_of(pattern.root, number) or (None, False))[1]:
            raise NotRe2("a group that takes no part in some matches is NULL")
        return (
            f"regexp_extract_all({args[0]}, {quoted(re2(pattern, (number,) if number else ()))}, {1 if number else 0})"
        )

    return _of_matches("REGEXP_EXTRACT_ALL", by_re2, "extract_all", [args[0], args[1], group])


def first_at(args: list[str], types: list[Type], result: Type) -> str:
    """REGEXP_INSTR."""

    def by_re2(pattern: Pattern) -> str:
        before = quoted(rf"\A((?s:.*?))(?:{re2(pattern)})")
        return (
            f"CASE WHEN regexp_matches({args[0]}, {quoted(re2(pattern))}) "
            f"THEN CAST(length(regexp_extract({args[0]}, {before}, 1)) + 1 AS INTEGER) "
            f"WHEN {args[0]} IS NOT NULL THEN 0 END"
        )

    return _of_matches("REGEXP_INSTR", by_re2, "first_at", args)


def substring(args: list[str], types: list[Type], result: Type) -> str:
    """REGEXP_SUBSTR: the first match."""
    return _extract("REGEXP_SUBSTR", args)


def _of_matches(what: str, by_re2: Callable[[Pattern], str], name: str, args: list[str]) -> str:
    """A function of matches that gives NULL for a pattern that is wrong."""
    text = constant(args[1])
    if not text:
        return by_python(name, args)
    pattern = _parsed(text, what)
    if width(pattern.root)[0] == 0:
        return by_python(name, args)  # RE2 skips an empty match behind another
    return _or_python(text, what, lambda: by_re2(pattern), name, args)


def like(args: list[str], types: list[Type], result: Type) -> str:
    """LIKE, perhaps with ESCAPE. DuckDB's _ would also take the end of a line."""
    text, escape = constant(args[1]), constant(args[2]) if len(args) > 2 else ""
    if text is None or escape is None:
        return by_python("like" if len(args) == 2 else "like_escape", args)
    whole = _whole(text, lambda: like_pattern(text, escape), "LIKE", args)
    quick = f"({args[0]} LIKE {args[1]}{f' ESCAPE {args[2]}' if escape else ''})"
    return f"CASE WHEN {quick} THEN {whole} WHEN {args[0]} IS NOT NULL THEN FALSE END" if "_" in text else quick


def similar(args: list[str], types: list[Type], result: Type) -> str:
    """SIMILAR TO, perhaps with ESCAPE."""
    text, escape = constant(args[1]), constant(args[2]) if len(args) > 2 else ""
    if escape is None:
        raise NotSupported("SIMILAR TO: the ESCAPE must be a constant")
    if text is None:
        if escape:
            raise NotSupported("SIMILAR TO: with an ESCAPE the pattern must be a constant")
        return by_python("similar", args)
    return _whole(text, lambda: similar_pattern(text, escape), "SIMILAR TO", args)


def _whole(text: str, made: Callable[[], str], what: str, args: list[str]) -> str:
    try:
        pattern = parse(made())
    except PatternError as e:
        raise BindError(f"{what}: the pattern {e}", hint=_OF_PATTERNS) from None
    try:
        return f"regexp_full_match({args[0]}, {quoted(re2(pattern))})"
    except NotRe2:
        raise NotSupported(f"{what}: the pattern '{text}' is not supported") from None
