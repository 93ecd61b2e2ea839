"""Java's regular expressions, parsed, and written for the engines that evaluate them.

`parse` reads what java.util.regex.Pattern reads, into a tree in which every character and class is a set of ranges and
every flag is applied. `re2` writes it for DuckDB where RE2 has all of it; `python` for Python's `re`, which backtracks
as Java does: look-around, back references, possessive quantifiers, anchors of lines. What neither has is refused by
name.

RE2 and Java agree on which match they prefer (leftmost, the first alternative). They do not on: `.` and `$` before
line ends, \\s, \\b, letters that fold to ASCII ones; all of these are spelled out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

from sqlstream.functions import character_sets as sets
from sqlstream.functions.character_sets import CharSet, UnknownSet

MOST_REPEATS = 1000  # RE2's, of repetitions within each other together
MOST_RANGES = 50_000  # as repetitions are written out; RE2 takes about four times as many
_VARIANTS = 200  # of a look-behind's text


class PatternError(ValueError):
    """The pattern is wrong, or needs what neither engine has."""


class NotRe2(Exception):
    """RE2 cannot say this."""


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


@dataclass(frozen=True)
class _Flags:
    i: bool = False
    s: bool = False
    m: bool = False
    x: bool = False
    u: bool = False
    d: bool = False


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.flags = _Flags()
        self.groups = 0
        self.names: dict[str, int] = {}

    def fail(self, what: str) -> PatternError:
        return PatternError(f"'{self.text}': {what}, at character {min(self.at, len(self.text)) + 1}")

    def peek(self) -> str:
        if self.flags.x:
            while self.at < len(self.text) and (self.text[self.at] in " \t\n\x0b\f\r" or self.text[self.at] == "#"):
                if self.text[self.at] == "#":
                    end = self.text.find("\n", self.at)
                    self.at = len(self.text) if end < 0 else end
                else:
                    self.at += 1
        return self.text[self.at : self.at + 1]

    def take(self, text: str) -> bool:
        if self.text.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def next(self) -> str:
        c = self.text[self.at : self.at + 1]
        if not c:
            raise self.fail("the pattern ends too early")
        self.at += 1
        return c

    # ---- structure

    def pattern(self) -> Pattern:
        root = self.either()
        if self.peek():
            raise self.fail("a ) without (")
        return Pattern(root, self.groups, tuple(self.names.items()))

    def either(self) -> Node:
        before = self.flags
        options = [self.sequence()]
        while self.peek() == "|":
            self.at += 1
            options.append(self.sequence())
        self.flags = before
        return options[0] if len(options) == 1 else Either(tuple(options))

    def sequence(self) -> Node:
        parts: list[Node] = []
        while (c := self.peek()) and c not in "|)":
            parts += self.repeated()
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def repeated(self) -> list[Node]:
        atoms = self.atoms()
        if not atoms:
            return []
        *before, node = atoms
        while (c := self.peek()) in ("*", "+", "?", "{") and c:
            self.at += 1
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(c) or self.counts()
            mode = ""
            if self.peek() in ("?", "+"):
                mode = self.next()
            node = Repeat(node, least, most, mode)
        return [*before, node]

    def counts(self) -> tuple[int, int | None]:
        m = re.compile(r"(\d+)(,(\d*))?\}", re.ASCII).match(self.text, self.at)
        if m is None:
            raise self.fail("illegal repetition")
        self.at = m.end()
        least = int(m[1])
        most = least if m[2] is None else int(m[3]) if m[3] else None
        if most is not None and most < least:
            raise self.fail("illegal repetition range")
        return least, most

    def atoms(self) -> list[Node]:
        """What a quantifier may follow, behind characters that it does not count for (of \\Q…\\E)."""
        c = self.next()
        if c == "[":
            return [self.one(self.members())]
        if c == "(":
            return self.group()
        if c == "\\":
            return self.escape()
        if c == ".":
            ends = sets.of("\n") if self.flags.d else sets.TERMINATORS
            return [One(sets.ALL if self.flags.s else ~ends)]
        if c == "^":
            return [Anchor("line begin" if self.flags.m else "begin")]
        if c == "$":
            return [Anchor("line end" if self.flags.m else "last")]
        if c in "*+?":
            self.at -= 1
            raise self.fail(f"nothing before '{c}'")
        return [self.one(sets.of(c))]

    def one(self, chars: CharSet) -> One:
        return One(chars.folded(self.flags.u) if self.flags.i else chars)

    def group(self) -> list[Node]:
        if not self.take("?"):
            self.groups += 1
            return [self.closed(lambda n: Group(n, self.either()), self.groups)]
        for sign in ("<=", "<!", "=", "!"):
            if self.take(sign):
                return [self.closed(lambda _, sign=sign: Look(self.either(), sign))]
        if self.take(">"):
            return [self.closed(lambda _: Atomic(self.either()))]
        if self.take("<"):
            m = re.compile(r"([A-Za-z][A-Za-z0-9]*)>").match(self.text, self.at)
            if m is None:
                raise self.fail("a group's name is letters and digits")
            if m[1] in self.names:
                raise self.fail(f"the group '{m[1]}' is there twice")
            self.at = m.end()
            self.groups += 1
            self.names[m[1]] = self.groups
            return [self.closed(lambda n: Group(n, self.either()), self.groups)]
        before = self.flags
        m = re.compile(r"([idmsuxU]*)(?:-([idmsuxU]*))?([:)])").match(self.text, self.at)
        if m is None:
            raise self.fail("unknown group")
        if "U" in m[1]:
            raise self.fail("the flag U (classes by Unicode) is not supported")
        self.at = m.end()
        off = (m[2] or "").replace("U", "")  # also what is on in the same breath
        self.flags = replace(self.flags, **(dict.fromkeys(m[1], True) | dict.fromkeys(off, False)))
        if m[3] == ")":
            return []  # until the end of the group around it
        inner = self.closed(lambda _: self.either())
        self.flags = before
        return [inner if isinstance(inner, (One, Group)) else Sequence((inner,))]

    def closed(self, make: object, number: int = 0) -> Node:
        flags = self.flags
        node: Node = make(number)  # type: ignore[operator]
        if not self.take(")"):
            raise self.fail("a group is not closed")
        self.flags = flags
        return node

    # ---- escapes

    def escape(self) -> list[Node]:
        c = self.next()
        if c == "Q":
            end = self.text.find("\\E", self.at)
            quoted = self.text[self.at :] if end < 0 else self.text[self.at : end]
            self.at = len(self.text) if end < 0 else end + 2
            return [self.one(sets.of(x)) for x in quoted]
        if c in "bB":
            return [Anchor("word" if c == "b" else "no word")]
        if c in "AZz":
            return [Anchor({"A": "begin", "Z": "last", "z": "end"}[c])]
        if c == "R":
            return [Either((Sequence((One(sets.of("\r")), One(sets.of("\n")))), One(sets.VERTICAL)))]
        if c == "k":
            m = re.compile(r"<([A-Za-z][A-Za-z0-9]*)>").match(self.text, self.at)
            if m is None or m[1] not in self.names:
                raise self.fail("\\k of a group that is not there")
            self.at = m.end()
            return [Back(self.names[m[1]], self.flags.i)]
        if c in "123456789":
            number = int(c)
            while self.text[self.at : self.at + 1].isdigit() and number * 10 + int(self.text[self.at]) <= self.groups:
                number = number * 10 + int(self.next())
            if number > self.groups:
                raise self.fail(f"there is no group {number} before \\{number}")
            return [Back(number, self.flags.i)]
        if c in "GXN":
            raise self.fail(f"\\{c} is not supported")
        return [self.one(self.escaped(c))]

    def escaped(self, c: str) -> CharSet:
        """The set that backslash and `c` stand for, in a class or out of one."""
        classes = {"d": sets.DIGIT, "w": sets.WORD, "s": sets.SPACE, "h": sets.HORIZONTAL, "v": sets.VERTICAL}
        if c.lower() in classes:
            return classes[c] if c in classes else ~classes[c.lower()]
        if c in "pP":
            m = re.compile(r"\{([^}]*)\}|(.)").match(self.text, self.at)
            if m is None:
                raise self.fail("a property needs a name")
            self.at = m.end()
            try:
                found = sets.named(m[1] or m[2])
                return found if c == "p" else ~found
            except UnknownSet as e:
                raise self.fail(f"{e} is not known") from None
        simple = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "a": "\a", "e": "\x1b"}
        if c in simple:
            return sets.of(simple[c])
        if c in "xu0c":
            return sets.of(self.coded(c))
        if c.isascii() and c.isalpha():
            self.at -= 1
            raise self.fail(f"unknown escape \\{c}")
        return sets.of(c)

    def coded(self, c: str) -> str:
        shape = {
            "x": r"\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{2})", "u": r"([0-9a-fA-F]{4})", "0": r"([0-3]?[0-7]{1,2})", "c": r"(.)",
        }[c]  # fmt: skip
        m = re.compile(shape).match(self.text, self.at)
        if m is None:
            raise self.fail(f"illegal \\{c}")
        self.at = m.end()
        digits = m[m.lastindex or 1]
        code = ord(digits) ^ 64 if c == "c" else int(digits, 8 if c == "0" else 16)
        if c == "u" and 0xD800 <= code < 0xDC00:  # with the other half it is one character
            low = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})").match(self.text, self.at)
            if low is not None:
                self.at = low.end()
                code = 0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00
        if code > sets.LAST:
            raise self.fail(f"no character {digits}")
        return chr(code)

    def members(self) -> CharSet:
        """The rest of a class behind its [."""
        negated = self.take("^")
        whole: CharSet | None = None
        part, empty = CharSet(()), True
        while True:
            c = self.peek()
            if not c:
                raise self.fail("a class is not closed")
            if c == "]" and (not empty or whole is not None):
                self.at += 1
                break
            if self.take("&&"):
                whole, part, empty = (
                    part if whole is None and not empty else self.met(whole, part, empty),
                    CharSet(()),
                    True,
                )
                continue
            if self.take("["):
                part |= self.members()
            elif self.take("\\Q"):
                end = self.text.find("\\E", self.at)
                part |= sets.of(self.text[self.at :] if end < 0 else self.text[self.at : end])
                self.at = len(self.text) if end < 0 else end + 2
            else:
                part |= self.member()
            empty = False
        try:
            found = self.met(whole, part, empty)
            if found is None:
                raise self.fail("a class without members")
            if self.flags.i:  # before it is negated: (?i)[^a] takes neither a nor A
                found = found.folded(self.flags.u)
            return ~found if negated else found
        except UnknownSet as e:
            raise self.fail(f"{e} is not supported") from None

    @staticmethod
    def met(whole: CharSet | None, part: CharSet, empty: bool) -> CharSet | None:
        if empty:
            return whole
        return part if whole is None else whole & part

    def member(self) -> CharSet:
        """A character, a range, or a class by its escape."""
        first = self.edge()
        after = self.text[self.at + 1 : self.at + 2]
        if first.single is None or self.peek() != "-" or not after or after in "[]":
            return first
        self.at += 1
        last = self.edge()
        if last.single is None:
            return first | sets.of("-") | last
        if last.single < first.single:
            raise self.fail("illegal range of characters")
        return sets.of((first.single, last.single))

    def edge(self) -> CharSet:
        c = self.next()
        return self.escaped(self.next()) if c == "\\" else sets.of(c)


@lru_cache(maxsize=512)
def parse(text: str) -> Pattern:
    """The pattern; PatternError says what is wrong with it or not supported, and where."""
    try:
        return _Parser(text).pattern()
    except RecursionError:
        raise PatternError("the pattern is nested too deeply") from None


# ---- what is known of a pattern


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
    parts = [width(p) for p in (node.parts if isinstance(node, Sequence) else node.options)]  # type: ignore[attr-defined]
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


# ---- RE2

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
        return _chars(node.chars, "\\x{{{:x}}}")
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
        return f"{inner if isinstance(node.inner, (One, Group)) else f'(?:{inner})'}{_counts(node)}"
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


def _counts(node: Repeat) -> str:
    sign = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((node.least, node.most))
    if sign is None:
        sign = f"{{{node.least},{'' if node.most is None else node.most}}}"
    return sign + node.mode


def _chars(chars: CharSet, code: str) -> str:
    """A character, or a class of ranges."""
    if chars.single is not None:
        return _char(ord(chars.single), code)
    negated = not chars.scripts and bool(chars.ranges) and chars.ranges[0][0] == 0 and chars.ranges[-1][1] == sets.LAST
    ranges = (~chars).ranges if negated else chars.ranges
    if not ranges and not chars.scripts:
        first, last = _char(0, code), _char(sets.LAST, code)
        return f"[{first}-{last}]" if negated else f"[^{first}-{last}]"
    body = "".join(_char(a, code) if a == b else f"{_char(a, code)}-{_char(b, code)}" for a, b in ranges) + "".join(
        f"\\{'P' if no else 'p'}{{{name}}}" for name, no in chars.scripts
    )
    return f"[{'^' if negated else ''}{body}]"


def _char(c: int, code: str) -> str:
    return chr(c) if c < 128 and chr(c).isalnum() else code.format(c)


# ---- Python


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
        return _chars(node.chars, "\\U{:08x}")
    if isinstance(node, Sequence):
        return "".join(f"(?:{_python(p)})" if isinstance(p, Either) else _python(p) for p in node.parts)
    if isinstance(node, Either):
        return "|".join(_python(p) for p in node.options)
    if isinstance(node, Group):
        return f"({_python(node.inner)})"
    if isinstance(node, Atomic):
        return f"(?>{_python(node.inner)})"
    if isinstance(node, Repeat):
        return f"(?:{_python(node.inner)}){_counts(node)}"
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
