"""Columns of text on a screen of so many characters: what is cut, what is left out, and the lines of a box.

Pure functions over text: a value takes as many columns as a terminal gives it (`width`), whatever its length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

MORE = "…"
LEAST = 12  # of a column of text that is cut
GAP = -1  # in the place of columns that are left out
# What would move a terminal's cursor or turn the writing direction; shown as an escape.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def escaped(value: str) -> str:
    """Control characters as \\n, \\t, \\x1b, so that a value cannot move the cursor."""
    return _CONTROL.sub(lambda m: repr(m.group())[1:-1], value)


def escaped_text(value: str) -> str:
    """As `escaped`, of lines: their ends and tabs stay."""
    return _CONTROL.sub(lambda m: m.group() if m.group() in "\n\t" else repr(m.group())[1:-1], value)


@lru_cache(65_536)
def width(value: str) -> int:
    """How many columns of a terminal `value` takes: East Asian wide characters two, combining ones none."""
    if value.isascii():
        return len(value)
    return sum(_character_widths(value))


def _character_widths(value: str) -> Iterator[int]:
    for c in value:
        if unicodedata.combining(c) or c in "\u200b\u200c\u200d\ufe0e\ufe0f":
            yield 0
        else:
            yield 2 if unicodedata.east_asian_width(c) in "WF" else 1


def cut(value: str, room: int) -> str:
    """`value`, or as much of its beginning as `room` columns hold beside a mark that there is more."""
    if width(value) <= room:
        return value
    taken, left = [], room - 1
    for c, size in zip(value, _character_widths(value), strict=True):
        if size > left:
            break
        taken.append(c)
        left -= size
    return "".join(taken) + MORE


def padded(value: str, room: int, side: str = "<") -> str:
    """`value` cut or filled up to `room` columns; `side`: <, > or ^ as in format strings."""
    value = cut(value, room)
    free = room - width(value)
    left = {"<": 0, ">": free, "^": free // 2}[side]
    return " " * left + value + " " * (free - left)


@dataclass(frozen=True)
class Head:
    """The head of a column; `right`: its values end at its right edge."""

    name: str
    type: str = ""
    right: bool = False
    rigid: bool = False  # a part of a value would be another value


@dataclass(frozen=True)
class Fitted:
    """Which columns are shown (`GAP` where some are left out), and how wide each is."""

    shown: tuple[int, ...]
    widths: tuple[int, ...]

    @property
    def total(self) -> int:
        """Columns of the screen that a row takes, with its borders."""
        return sum(w + 3 for w in self.widths) + 1

    @property
    def hidden(self) -> bool:
        """Whether columns are left out."""
        return GAP in self.shown


def fit(wanted: Sequence[int], screen: int, rigid: Sequence[bool] = ()) -> Fitted:
    """Columns as wide as they want to be, while they fit a screen; else the widest are cut, down to `LEAST`; and if that is
    not enough, those in the middle are left out. One is always shown.

    `rigid`: numbers and times, of which a part would be another value: they are cut when nothing else is left to give.
    """
    firm = [bool(rigid) and rigid[i] for i in range(len(wanted))]
    least = [w if f else min(w, LEAST) for w, f in zip(wanted, firm, strict=True)]
    kept = list(range(len(wanted)))
    hidden = False
    while len(kept) > 1 and sum(least[i] for i in kept) > screen - _borders(len(kept), hidden):
        del kept[len(kept) // 2]
        hidden = True
    room = max(screen - _borders(len(kept), hidden), len(kept))
    widths = {i: wanted[i] for i in kept if firm[i]}
    widths.update(_shared({i: wanted[i] for i in kept if not firm[i]}, room - sum(widths.values())))
    if sum(widths.values()) > room:
        widths = _shared({i: wanted[i] for i in kept}, room)
    shown = [(i, widths[i]) for i in kept]
    if hidden:
        shown.insert((len(kept) + 1) // 2, (GAP, 1))
    return Fitted(tuple(i for i, _ in shown), tuple(w for _, w in shown))


def _borders(columns: int, hidden: bool) -> int:
    return 1 + 3 * columns + (4 if hidden else 0)


def _shared(wanted: dict[int, int], room: int) -> dict[int, int]:
    """`room` for columns that want so much: the widest give, all to the same width."""
    out: dict[int, int] = {}
    for n, i in enumerate(sorted(wanted, key=wanted.__getitem__)):
        out[i] = min(wanted[i], max(room, 0) // (len(wanted) - n))
        room -= out[i]
    return out


@dataclass(frozen=True)
class Border:
    """What a box is drawn with: the corners and joints of its rules from left to right, and its lines."""

    top: str
    middle: str
    bottom: str
    closing: str  # between rows and the foot
    line: str
    bar: str


UNICODE = Border("┌┬┐", "├┼┤", "└┴┘", "├┴┤", "─", "│")
ASCII = Border("+++", "+++", "+++", "+++", "-", "|")


@dataclass(frozen=True)
class Paint:
    """Escape sequences around parts of a box; none by default."""

    border: tuple[str, str] = ("", "")
    name: tuple[str, str] = ("", "")
    type: tuple[str, str] = ("", "")
    null: tuple[str, str] = ("", "")
    cells: tuple[tuple[str, tuple[str, str]], ...] = ()  # of whole values, such as +I


PLAIN = Paint()
_END = "\x1b[0m"
COLOURED = Paint(
    border=("\x1b[2m", _END),
    name=("\x1b[1m", _END),
    type=("\x1b[2m", _END),
    null=("\x1b[2m", _END),
    cells=(
        ("+I", ("\x1b[32m", _END)),
        ("+U", ("\x1b[33m", _END)),
        ("-U", ("\x1b[2;33m", _END)),
        ("-D", ("\x1b[31m", _END)),
    ),
)


@dataclass(frozen=True)
class Box:
    """Lines of a table with these heads, fitted so. `changes`: the first column says how a row changes."""

    heads: tuple[Head, ...]
    fitted: Fitted
    border: Border = UNICODE
    paint: Paint = PLAIN
    changes: bool = False

    def head(self) -> list[str]:
        """The lines above the rows: names, and types where they are known."""
        lines = [self._rule(self.border.top), self._titles([h.name for h in self.heads], self.paint.name)]
        if any(h.type for h in self.heads):
            lines.append(self._titles([h.type for h in self.heads], self.paint.type))
        return [*lines, self._rule(self.border.middle)]

    def row(self, cells: Sequence[str | None]) -> str:
        """One row; None is NULL."""
        parts = []
        for i, w in zip(self.fitted.shown, self.fitted.widths, strict=True):
            if i == GAP:
                parts.append(MORE)
                continue
            value = cells[i]
            text = padded("NULL" if value is None else value, w, ">" if self.heads[i].right else "<")
            if value is None:
                text = _painted(text, self.paint.null)
            elif i == 0 and self.changes:
                text = next((_painted(text, p) for v, p in self.paint.cells if v == value), text)
            parts.append(text)
        return self._joined(parts)

    def dots(self) -> list[str]:
        """Three rows of points, where rows are left out."""
        return [self._joined([padded("·", w, "^") for w in self.fitted.widths])] * 3

    def end(self, foot: str = "") -> list[str]:
        """The lines below the rows, with `foot` in them where there is one."""
        if not foot:
            return [self._rule(self.border.bottom)]
        room = self.fitted.total - 4
        flat = self.border.bottom[0] + self.border.line * (room + 2) + self.border.bottom[2]
        bar = _painted(self.border.bar, self.paint.border)
        return [
            self._rule(self.border.closing),
            f"{bar} {padded(foot, room)} {bar}",
            _painted(flat, self.paint.border),
        ]

    def _titles(self, texts: Sequence[str], paint: tuple[str, str]) -> str:
        parts = [
            MORE if i == GAP else _painted(padded(texts[i], w, "^"), paint)
            for i, w in zip(self.fitted.shown, self.fitted.widths, strict=True)
        ]
        return self._joined(parts)

    def _joined(self, parts: Sequence[str]) -> str:
        bar = _painted(self.border.bar, self.paint.border)
        return f"{bar} " + f" {bar} ".join(parts) + f" {bar}"

    def _rule(self, joints: str) -> str:
        parts = [self.border.line * (w + 2) for w in self.fitted.widths]
        return _painted(joints[0] + joints[1].join(parts) + joints[2], self.paint.border)


def _painted(text: str, paint: tuple[str, str]) -> str:
    return paint[0] + text + paint[1]
