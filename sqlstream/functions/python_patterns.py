"""Patterns as text of Python's `re`, which backtracks as Java does."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product

from sqlstream.functions.character_sets import text_of
from sqlstream.functions.java_patterns import parse
from sqlstream.functions.pattern_tree import (
    Anchor,
    Atomic,
    Back,
    Either,
    Group,
    Look,
    Node,
    One,
    Pattern,
    PatternError,
    Repeat,
    Sequence,
    width,
)  # fmt: skip

_VARIANTS = 200  # of a look-behind's text


@lru_cache(maxsize=512)
def compiled(text: str) -> re.Pattern[str]:
    """Python's pattern of a Java one. PatternError as `parse`, or for what Python has not."""
    pattern = parse(text)
    written = python(pattern)
    try:
        return re.compile(written)
    except (re.error, RecursionError, OverflowError) as e:
        raise PatternError(f"'{text}': {e}") from None


def python(pattern: Pattern) -> str:
    """Python's text of it, with all groups."""
    return _python(pattern.root)


def _python(node: Node) -> str:
    if isinstance(node, One):
        if node.chars.scripts:
            raise PatternError(
                f"\\p{{Is{node.chars.scripts[0][0]}}} together with look-around, back references or the like"
            )
        return text_of(node.chars, "\\U{:08x}")
    if isinstance(node, Sequence):
        return "".join(f"(?:{_python(p)})" if isinstance(p, Either) else _python(p) for p in node.parts)
    if isinstance(node, Either):
        return "|".join(_python(p) for p in node.options)
    if isinstance(node, Group):
        return f"({_python(node.inner)})"
    if isinstance(node, Atomic):
        return f"(?>{_python(node.inner)})"
    if isinstance(node, Repeat):
        return f"(?:{_python(node.inner)}){node.counts}"
    if isinstance(node, Back):
        return f"(?{'i' if node.any_case else ''}:\\{node.number})"
    if isinstance(node, Look):
        if not node.sign.startswith("<"):
            return f"(?{node.sign}{_python(node.inner)})"
        looks = [f"(?{node.sign}{_python(v)})" for v in _variants(node.inner)]
        return "".join(looks) if node.sign == "<!" else f"(?:{'|'.join(looks)})"
    assert isinstance(node, Anchor)
    return _PYTHON_ANCHORS[node.kind]


_ENDS = "\\n\\r\\x85\\u2028\\u2029"
_W = "[A-Za-z0-9_]"
_PYTHON_ANCHORS = {
    "begin": r"\A",
    "end": r"\Z",
    "last": r"(?:(?=\r\n\Z)|(?<!\r)(?=\n\Z)|(?=[\r\x85\u2028\u2029]\Z)|\Z)",
    "line begin": r"(?:\A|(?<=[\n\x85\u2028\u2029])(?!\Z)|(?<=\r)(?!\n|\Z))",
    "line end": r"(?:(?<!\r)(?=\n)|(?=[\r\x85\u2028\u2029])|\Z)",
    "word": rf"(?:(?<={_W})(?!{_W})|(?<!{_W})(?={_W}))",
    "no word": rf"(?:(?<={_W})(?={_W})|(?<!{_W})(?!{_W}))",
}


def _variants(node: Node) -> list[Node]:
    """Patterns of one width each that together are `node`: Python looks back by so many characters at a time."""
    low, high = width(node)
    if high is None:
        raise PatternError("a look-behind has no obvious maximum length")
    if low == high:
        return [node]
    if isinstance(node, Either):
        found = [v for o in node.options for v in _variants(o)]
    elif isinstance(node, Sequence):
        found = [Sequence(parts) for parts in product(*(_variants(p) for p in node.parts))]
    elif isinstance(node, Repeat) and node.most is not None:
        inner = _variants(node.inner)
        found = [Sequence(parts) for n in range(node.least, node.most + 1) for parts in product(inner, repeat=n)]
    else:
        raise PatternError("a look-behind with a group of several lengths")
    if len(found) > _VARIANTS:
        raise PatternError("a look-behind of too many lengths")
    return found
