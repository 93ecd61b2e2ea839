"""Patterns that are texts, for which a search will do: `(&|^)channel_id=([^&]*)` is found where `&channel_id=` is, or
`channel_id=` at the beginning, and its group goes on to the next `&`.

DuckDB's search for a text takes a fifth to a tenth of what RE2 takes, and patterns of this kind (a field of a URL or of
a log's line) are most of those that people write.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from sqlstream.functions.pattern_tree import Anchor, Either, Group, Node, One, Pattern, Repeat, Sequence
from sqlstream.literals import quoted

_MOST = 4  # texts: each is a search of its own
_MOST_STOPS = 3


@dataclass(frozen=True)
class Text:
    """A text that a match begins with; `first`: at the beginning of the input only."""

    text: str
    first: bool = False

    def found(self, x: str) -> str:
        """SQL: whether it is in `x`."""
        return f"{'starts_with' if self.first else 'contains'}({x}, {quoted(self.text)})"

    def behind(self, x: str) -> str:
        """SQL: what follows it, at least to the next place where it is, given that it is there."""
        if self.first:
            return f"substr({x}, {len(self.text) + 1})"
        return f"split_part({x}, {quoted(self.text)}, 2)"


def matches(pattern: Pattern, x: str) -> str | None:
    """SQL: whether the pattern is found in `x`; None if that takes more than to look for texts."""
    texts, rest = _beginning(pattern)
    if not texts or not all(_may_be_empty(node) for node in rest):
        return None
    return f"({' OR '.join(t.found(x) for t in texts)})"


def extract(pattern: Pattern, number: int, x: str, otherwise: str) -> str | None:
    """SQL: group `number` of the first match, NULL without one; `otherwise`: the same by an engine, for inputs that take more
    than to look for texts. None where all do.

    The group must be what is before the next of a few characters, behind the texts: `[^&]*` or `[^&]+`.
    """
    texts, rest = _beginning(pattern)
    if not texts or not rest or not all(_may_be_empty(node) for node in rest[1:]):
        return None
    match rest[0]:
        case Group(n, Repeat(One(chars), (0 | 1) as least, None, "" | "+")) if n == number and not chars.scripts:
            ranges = (~chars).ranges
        case _:
            return None
    stops = "".join(chr(low) for low, high in ranges if low == high)
    if not 0 < len(ranges) == len(stops) <= _MOST_STOPS or _is_no_text(stops):
        return None
    # What is behind a text ends where the text comes again: no matter where that begins with what ends the group.
    if any(t.text[0] not in stops for t in texts if not t.first):
        return None
    # At the beginning a match of one text must not be one of another, which the pattern may prefer.
    if any(a is not b and a.text.startswith(b.text) for a, b in product(texts, texts)):
        return None
    found = "CASE"
    for i, t in enumerate(texts):
        value = t.behind(x)
        for c in stops:
            value = f"split_part({value}, {quoted(c)}, 1)"
        # Of two that are there it would take to see which comes first.
        others = [] if t.first else [o.found(x) for o in texts[i + 1 :]]
        if others:
            value = f"CASE WHEN {' OR '.join(others)} THEN {otherwise} ELSE {value} END"
        found += f" WHEN {t.found(x)} THEN {value}"
    found += " END"
    # An empty one of [^&]+ is no match; there may be one further on.
    anywhere = " OR ".join(t.found(x) for t in texts)
    return found if least == 0 else f"CASE WHEN {anywhere} THEN coalesce(nullif({found}, ''), {otherwise}) END"


def _beginning(pattern: Pattern) -> tuple[tuple[Text, ...], tuple[Node, ...]]:
    """The texts that a match begins with, those at the beginning of the input first, and the parts behind them; without
    texts if they are too many, or there is nothing to look for."""
    parts = pattern.root.parts if isinstance(pattern.root, Sequence) else (pattern.root,)
    texts: tuple[Text, ...] = (Text(""),)
    taken = 0
    for part in parts:
        more = _texts(part)
        if more is None:
            break
        joined = [_joined(a, b) for a, b in product(texts, more)]
        if None in joined or len(joined) > _MOST:
            return (), parts
        texts, taken = tuple(t for t in joined if t is not None), taken + 1
    if any(t.text == "" or _is_no_text(t.text) for t in texts):
        return (), parts
    return tuple(sorted(texts, key=lambda t: not t.first)), parts[taken:]


def _is_no_text(text: str) -> bool:
    """Whether it has characters that no text of DuckDB's has, or that its functions end at."""
    return any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)


def _joined(a: Text, b: Text) -> Text | None:
    """One behind the other; None where the second would have to be at the beginning behind something."""
    return None if b.first and a.text else Text(a.text + b.text, a.first or b.first)


def _texts(node: Node) -> tuple[Text, ...] | None:
    """All that it matches; None if that is no short list of texts."""
    match node:
        case One(chars):
            singles = [chr(low) for low, high in chars.ranges if low == high]
            if chars.scripts or not 0 < len(chars.ranges) == len(singles) <= _MOST:
                return None
            return tuple(Text(c) for c in singles)
        case Anchor("begin"):
            return (Text("", first=True),)
        case Group(_, inner):
            return _texts(inner)
        case Either(options):
            found = [_texts(o) for o in options]
            return None if None in found else tuple(t for texts in found for t in texts or ())
        case Sequence(parts):
            texts: tuple[Text, ...] = (Text(""),)
            for part in parts:
                joined = [_joined(a, b) for a, b in product(texts, _texts(part) or ())]
                if not joined or None in joined or len(joined) > _MOST:
                    return None
                texts = tuple(t for t in joined if t is not None)
            return texts
    return None


def _may_be_empty(node: Node) -> bool:
    """Whether it matches nothing at all wherever it is, should it match nothing else."""
    match node:
        case Repeat(_, 0, _, _):
            return True
        case Group(_, inner):
            return _may_be_empty(inner)
        case Sequence(parts):
            return all(_may_be_empty(p) for p in parts)
        case Either(options):
            return any(_may_be_empty(o) for o in options)
    return False
