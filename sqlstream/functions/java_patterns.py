"""Java's regular expressions, parsed.

`parse` reads what java.util.regex.Pattern reads into a tree (`pattern_tree`), which is written for the engines that evaluate it: for DuckDB
by `re2_patterns` where RE2 has all of it; for Python's `re` by `python_patterns`, which backtracks as Java does: look-around, back references,
possessive quantifiers, anchors of lines. What neither has is refused by name.

RE2 and Java agree on which match they prefer (leftmost, the first alternative). They do not on: `.` and `$` before line ends, \\s, \\b, letters
that fold to ASCII ones; all of these are spelled out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from sqlstream.functions import character_sets as sets
from sqlstream.functions.character_sets import CharSet, UnknownSet
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
)  # fmt: skip


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
