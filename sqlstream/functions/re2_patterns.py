"""Patterns as RE2's text, for DuckDB, where RE2 has all of what they mean."""

from __future__ import annotations

from sqlstream.functions.character_sets import text_of
from sqlstream.functions.pattern_tree import (
    Anchor,
    Atomic,
    Either,
    Group,
    Look,
    Node,
    One,
    Pattern,
    Repeat,
    Sequence,
    width,
)

MOST_REPEATS = 1000  # RE2's, of repetitions within each other together
MOST_RANGES = 50_000  # as repetitions are written out; RE2 takes about four times as many


class NotRe2(Exception):
    """RE2 cannot say this."""


_BREAK = r"(?:\r\n|[\n\r\x{85}\x{2028}\x{2029}])?\z"


def re2(pattern: Pattern, captures: tuple[int, ...] = ()) -> str:
    """RE2's text of it; `captures`: the groups asked for (0: the whole match), ascending: they become 1, 2, ….

    NotRe2 when it has no such. The last `$` may stand before a line end, which RE2 cannot look at: the text then goes
    on to the end, and a whole match is a group.
    """
    root, tail = pattern.root, ""
    repeats, ranges = _extent(root)
    if repeats > MOST_REPEATS or ranges > MOST_RANGES:
        raise NotRe2("too large")
    parts = root.parts if isinstance(root, Sequence) else (root,)
    if parts and parts[-1] == Anchor("last"):
        root, tail = Sequence(parts[:-1]), _BREAK
    text = _re2(root, captures)
    if captures[:1] == (0,):
        text = f"({text})"
    elif isinstance(root, Either) and tail:
        text = f"(?:{text})"
    return text + tail


def needed(pattern: Pattern) -> str:
    """The longest text that it is plain to see in every text that the pattern is found in; '' when there is none."""
    runs = [""]
    _needed(pattern.root, runs)
    return max(runs, key=len)


def _needed(node: Node, runs: list[str]) -> None:
    """Goes on with the last of `runs` by what every match of the node has next, and begins a new one behind what varies."""
    if isinstance(node, One):
        chars = node.chars
        if len(chars.ranges) == 1 and chars.ranges[0][0] == chars.ranges[0][1] and not chars.scripts:
            runs[-1] += chr(chars.ranges[0][0])
        else:
            runs.append("")
    elif isinstance(node, Sequence):
        for part in node.parts:
            _needed(part, runs)
    elif isinstance(node, (Group, Atomic)):
        _needed(node.inner, runs)
    elif not isinstance(node, (Anchor, Look)):  # they take no character
        runs.append("")
        if isinstance(node, Repeat) and node.least:
            _needed(node.inner, runs)
            runs.append("")


def _re2(node: Node, captures: tuple[int, ...]) -> str:
    if isinstance(node, One):
        return text_of(node.chars, "\\x{{{:x}}}")
    if isinstance(node, Sequence):
        return "".join(f"(?:{_re2(p, captures)})" if isinstance(p, Either) else _re2(p, captures) for p in node.parts)
    if isinstance(node, Either):
        return "|".join(_re2(p, captures) for p in node.options)
    if isinstance(node, Group):
        return f"({'' if node.number in captures else '?:'}{_re2(node.inner, captures)})"
    if isinstance(node, Repeat) and node.mode != "+":
        if node.most not in (0, 1) and width(node.inner)[0] == 0:
            raise NotRe2("RE2 does not end a repetition with an empty one, of which Java keeps the group")
        inner = _re2(node.inner, captures)
        return f"{inner if isinstance(node.inner, (One, Group)) else f'(?:{inner})'}{node.counts}"
    if isinstance(node, Anchor) and node.kind in _RE2_ANCHORS:
        return _RE2_ANCHORS[node.kind]
    raise NotRe2(type(node).__name__)


def _extent(node: Node) -> tuple[int, int]:
    """How often a part is repeated at most, and the ranges of all characters when repetitions are written out."""
    if isinstance(node, One):
        return 1, max(1, len(node.chars.ranges))
    if isinstance(node, (Sequence, Either)):
        parts = [_extent(p) for p in (node.parts if isinstance(node, Sequence) else node.options)]
        return max((p[0] for p in parts), default=1), sum(p[1] for p in parts)
    if isinstance(node, (Group, Atomic, Look)):
        return _extent(node.inner)
    if isinstance(node, Repeat):
        times = max(node.least, node.most or 0, 1)
        repeats, ranges = _extent(node.inner)
        return times * repeats, times * ranges
    return 1, 1


_RE2_ANCHORS = {"begin": r"\A", "end": r"\z", "word": r"\b", "no word": r"\B"}
