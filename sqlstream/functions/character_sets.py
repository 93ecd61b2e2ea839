"""Sets of characters as ranges of code points, and those that Java's regular expressions have names for.

Everything is decided here, so that both engines get plain ranges: RE2 knows neither intersections nor Java's names.
Scripts alone (\\p{IsLatin}) go by name: RE2 has tables of them, Python has none.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

Ranges = tuple[tuple[int, int], ...]
LAST = 0x10FFFF


class UnknownSet(ValueError):
    """There is no such set, or it cannot be had; the text says which."""


@dataclass(frozen=True)
class CharSet:
    """`ranges`: sorted, apart from each other. `scripts`: of RE2's, (name, negated), added to them."""

    ranges: Ranges
    scripts: tuple[tuple[str, bool], ...] = ()

    def __or__(self, other: CharSet) -> CharSet:
        return CharSet(_merged((*self.ranges, *other.ranges)), (*self.scripts, *other.scripts))

    def __and__(self, other: CharSet) -> CharSet:
        return ~(~self | ~other)

    def __invert__(self) -> CharSet:
        if self.scripts:
            if self.ranges or len(self.scripts) > 1:
                raise UnknownSet(f"\\p{{Is{self.scripts[0][0]}}} within a negated or intersected class")
            ((name, negated),) = self.scripts
            return CharSet((), ((name, not negated),))
        out, at = [], 0
        for low, high in self.ranges:
            if at < low:
                out.append((at, low - 1))
            at = high + 1
        if at <= LAST:
            out.append((at, LAST))
        return CharSet(tuple(out))

    @property
    def single(self) -> str | None:
        """The only character, if there is just one."""
        (low, high), *more = self.ranges or ((0, 1),)
        return chr(low) if low == high and not more and not self.scripts else None

    def folded(self, unicode: bool) -> CharSet:
        """With the other case of its letters: of ASCII's only, unless `unicode`."""
        added = []
        for low, high in self.ranges:
            for a, b, shift in ((65, 90, 32), (97, 122, -32)):
                if max(low, a) <= min(high, b):
                    added.append((max(low, a) + shift, min(high, b) + shift))
            if unicode and high > 127 and high - low < 4096:
                for c in map(chr, range(max(low, 128), high + 1)):
                    added += [(ord(x), ord(x)) for x in (c.lower(), c.upper(), c.upper().lower()) if len(x) == 1]
        return CharSet(_merged((*self.ranges, *added)), self.scripts)


def of(*parts: str | tuple[str, str]) -> CharSet:
    """Of characters, and (first, last) pairs."""
    pairs = [
        (p[0], p[1]) if isinstance(p, tuple) else (p, p)
        for part in parts
        for p in ([part] if isinstance(part, tuple) else part)
    ]
    return CharSet(_merged([(ord(a), ord(b)) for a, b in pairs]))


def _merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return tuple(out)


def _where(holds: Callable[[str], bool]) -> CharSet:
    out: list[tuple[int, int]] = []
    start = -1
    for i in range(sys.maxunicode + 2):
        inside = i <= sys.maxunicode and holds(chr(i))
        if inside and start < 0:
            start = i
        elif not inside and start >= 0:
            out.append((start, i - 1))
            start = -1
    return CharSet(tuple(out))


@cache
def _category(name: str) -> CharSet:
    if name == "LC":
        return _category("Lu") | _category("Ll") | _category("Lt")
    found = _where(lambda c: unicodedata.category(c).startswith(name))
    if not found.ranges:
        raise UnknownSet(f"\\p{{{name}}}")
    return found


ALL = CharSet(((0, LAST),))
TERMINATORS = of("\n\r\x85\u2028\u2029")
DIGIT, LOWER, UPPER = of(("0", "9")), of(("a", "z")), of(("A", "Z"))
ALPHA = LOWER | UPPER
WORD = ALPHA | DIGIT | of("_")
SPACE = of(" \t\n\x0b\f\r")
PUNCT = of("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
HORIZONTAL = of(" \t\xa0\u1680\u180e\u202f\u205f\u3000", ("\u2000", "\u200a"))
VERTICAL = of("\n\x0b\f\r\x85\u2028\u2029")

_POSIX = {
    "Lower": LOWER, "Upper": UPPER, "ASCII": of(("\0", "\x7f")), "Alpha": ALPHA, "Digit": DIGIT, "Alnum": ALPHA | DIGIT,
    "Punct": PUNCT, "Graph": of(("!", "~")), "Print": of((" ", "~")), "Blank": of(" \t"),
    "Cntrl": of(("\0", "\x1f"), "\x7f"), "XDigit": DIGIT | of(("a", "f"), ("A", "F")), "Space": SPACE,
    "L1": of(("\0", "\xff")), "all": ALL,
}  # fmt: skip
_COMPUTED: dict[str, Callable[[], CharSet]] = {
    "javaLowerCase": lambda: _where(str.islower),
    "javaUpperCase": lambda: _where(str.isupper),
    "javaTitleCase": lambda: _category("Lt"),
    "javaDigit": lambda: _category("Nd"),
    "javaLetter": lambda: _category("L"),
    "javaLetterOrDigit": lambda: _category("L") | _category("Nd"),
    "javaSpaceChar": lambda: _category("Z"),
    "javaWhitespace": lambda: _category("Z") & ~of("\xa0\u2007\u202f") | of(("\t", "\r"), ("\x1c", "\x1f")),
    "javaISOControl": lambda: of(("\0", "\x1f"), ("\x7f", "\x9f")),
    "javaMirrored": lambda: _where(lambda c: unicodedata.mirrored(c) == 1),
    "IsLetter": lambda: _category("L"),
    "IsDigit": lambda: _category("Nd"),
    "IsLowercase": lambda: _where(str.islower),
    "IsUppercase": lambda: _where(str.isupper),
    "IsTitlecase": lambda: _category("Lt"),
    "IsPunctuation": lambda: _category("P"),
    "IsControl": lambda: _category("Cc"),
    "IsWhite_Space": lambda: _category("Z") | of(("\t", "\r"), "\x85"),
    "IsAssigned": lambda: ~_category("Cn"),
}
_SCRIPTS = frozenset(
    [
        "Adlam",
        "Arabic",
        "Armenian",
        "Bengali",
        "Bopomofo",
        "Braille",
        "Cherokee",
        "Common",
        "Coptic",
        "Cyrillic",
        "Devanagari",
        "Ethiopic",
        "Georgian",
        "Greek",
        "Gujarati",
        "Gurmukhi",
        "Han",
        "Hangul",
        "Hebrew",
        "Hiragana",
        "Inherited",
        "Kannada",
        "Katakana",
        "Khmer",
        "Lao",
        "Latin",
        "Malayalam",
        "Mongolian",
        "Myanmar",
        "Oriya",
        "Runic",
        "Sinhala",
        "Syriac",
        "Tamil",
        "Telugu",
        "Thaana",
        "Thai",
        "Tibetan",
        "Yi",
    ]
)


@cache
def named(name: str) -> CharSet:
    """The set of \\p{name}. UnknownSet when there is none."""
    for prefix in ("gc=", "general_category="):
        name = name.removeprefix(prefix)
    for prefix in ("sc=", "script="):
        if name.startswith(prefix):
            name = "Is" + name.removeprefix(prefix)
    if name in _POSIX:
        return _POSIX[name]
    if name in _COMPUTED:
        return _COMPUTED[name]()
    short = name.removeprefix("Is")
    if name.startswith("Is") and short.capitalize() in _SCRIPTS:
        return CharSet((), ((short.capitalize(), False),))
    if len(short) <= 2 and short.isalpha():
        return _category(short)
    raise UnknownSet(f"\\p{{{name}}}")


def text_of(chars: CharSet, code: str) -> str:
    """A character, or a class of ranges, as engines read it. `code`: how they write one by its number."""
    if chars.single is not None:
        return _char(ord(chars.single), code)
    negated = not chars.scripts and bool(chars.ranges) and chars.ranges[0][0] == 0 and chars.ranges[-1][1] == LAST
    ranges = (~chars).ranges if negated else chars.ranges
    if not ranges and not chars.scripts:
        first, last = _char(0, code), _char(LAST, code)
        return f"[{first}-{last}]" if negated else f"[^{first}-{last}]"
    body = "".join(_char(a, code) if a == b else f"{_char(a, code)}-{_char(b, code)}" for a, b in ranges) + "".join(
        f"\\{'P' if no else 'p'}{{{name}}}" for name, no in chars.scripts
    )
    return f"[{'^' if negated else ''}{body}]"


def _char(c: int, code: str) -> str:
    return chr(c) if c < 128 and chr(c).isalnum() else code.format(c)
