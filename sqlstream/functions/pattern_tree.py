"""A pattern as a tree: every character and class is a set of ranges, and every flag is applied."""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.functions.character_sets import CharSet


class PatternError(ValueError):
    """The pattern is wrong, or needs what neither engine has."""


@dataclass(frozen=True)
class Node:
    """A part of a pattern."""


@dataclass(frozen=True)
class One(Node):
    """One character of a set."""

    chars: CharSet


@dataclass(frozen=True)
class Sequence(Node):
    """One after the other; without parts the empty string."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Either(Node):
    """The first option that lets the rest match."""

    options: tuple[Node, ...]


@dataclass(frozen=True)
class Group(Node):
    """A capturing group; numbers count from 1."""

    number: int
    inner: Node


@dataclass(frozen=True)
class Repeat(Node):
    """`mode`: '' greedy, '?' lazy, '+' possessive. `most` None: any number."""

    inner: Node
    least: int
    most: int | None
    mode: str

    @property
    def counts(self) -> str:
        """What stands behind that which is repeated, in Java as in the engines."""
        sign = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((self.least, self.most))
        if sign is None:
            sign = f"{{{self.least},{'' if self.most is None else self.most}}}"
        return sign + self.mode


@dataclass(frozen=True)
class Look(Node):
    """(?=, (?!, (?<=, (?<!: `sign` is what stands before the inner pattern."""

    inner: Node
    sign: str


@dataclass(frozen=True)
class Atomic(Node):
    """(?>: what `inner` matched first stays, also when the rest does not match then."""

    inner: Node


@dataclass(frozen=True)
class Back(Node):
    """What group `number` matched."""

    number: int
    any_case: bool


@dataclass(frozen=True)
class Anchor(Node):
    """begin, end, end or before the last line end, begin and end of a line, \\b, \\B."""

    kind: str


@dataclass(frozen=True)
class Pattern:
    """A parsed pattern: its tree, and the names of its groups."""

    root: Node
    groups: int
    names: tuple[tuple[str, int], ...] = ()


def width(node: Node) -> tuple[int, int | None]:
    """The least and most characters that it matches; most None: any number."""
    if isinstance(node, One):
        return 1, 1
    if isinstance(node, (Group, Atomic)):
        return width(node.inner)
    if isinstance(node, (Look, Anchor)):
        return 0, 0
    if isinstance(node, Back):
        return 0, None
    if isinstance(node, Repeat):
        low, high = width(node.inner)
        return low * node.least, None if high is None or node.most is None and high else high * (node.most or 0)
    assert isinstance(node, (Sequence, Either))
    parts = [width(p) for p in (node.parts if isinstance(node, Sequence) else node.options)]
    lows, highs = [p[0] for p in parts], [p[1] for p in parts]
    if isinstance(node, Sequence):
        return sum(lows), None if None in highs else sum(h or 0 for h in highs)
    return min(lows), None if None in highs else max(h or 0 for h in highs)


def group_of(node: Node, number: int) -> tuple[Node, bool] | None:
    """The inside of a group, and whether it takes part in every match; None when it is not below `node`."""
    if isinstance(node, Group) and node.number == number:
        return node.inner, True
    if isinstance(node, (Group, Atomic)):
        return group_of(node.inner, number)
    if isinstance(node, Look):
        found = group_of(node.inner, number)
        return None if found is None else (found[0], found[1] and "!" not in node.sign)
    if isinstance(node, Repeat):
        found = group_of(node.inner, number)
        return None if found is None else (found[0], found[1] and node.least > 0)
    for part in node.parts if isinstance(node, Sequence) else node.options if isinstance(node, Either) else ():
        found = group_of(part, number)
        if found is not None:
            return found[0], found[1] and not isinstance(node, Either)
    return None
