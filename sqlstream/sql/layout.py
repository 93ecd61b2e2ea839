"""Text that is broken into lines only where it does not fit: documents of groups, as Wadler's pretty printer has them.

A `Group` stands on one line where that fits, else its `Line`s are ends of lines. Comments end their line, whatever stands
around them: so no text can get behind a `--`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Text:
    """Characters as they are; line ends in them (strings of several lines) stay."""

    text: str


@dataclass(frozen=True)
class Line:
    """An end of a line, or `flat` where the group stands on one. `hard`: always an end."""

    flat: str = " "
    hard: bool = False


@dataclass(frozen=True)
class Comment:
    """Text behind which the line ends. `own`: it stands on a line of its own."""

    text: str
    own: bool


@dataclass(frozen=True)
class Nest:
    """Its lines are indented by two more."""

    inside: Doc


@dataclass(frozen=True)
class Group:
    """On one line, or broken at each of its own `Line`s."""

    inside: Doc

    @cached_property
    def broken(self) -> bool:
        """Whether it cannot stand on one line."""
        return _broken(self.inside)


Doc = Text | Line | Comment | Nest | Group | tuple["Doc", ...]


def _broken(doc: Doc) -> bool:
    match doc:
        case Group():
            return doc.broken
        case Nest():
            return _broken(doc.inside)
        case Line():
            return doc.hard
        case tuple():
            return any(map(_broken, doc))
    return isinstance(doc, Comment)


def joined(docs: Sequence[Doc], between: Doc) -> Doc:
    """Documents with another between each two."""
    out: list[Doc] = []
    for i, doc in enumerate(docs):
        out += (between, doc) if i else (doc,)
    return tuple(out)


_Entry = tuple[int, bool, Doc]  # indentation, on one line, what


def rendered(doc: Doc, width: int) -> str:
    """The text, in lines of at most `width` characters where that can be."""
    return _Printer(width).run(doc)


class _Printer:
    def __init__(self, width: int) -> None:
        self._width = width
        self._out: list[str] = []
        self._column = 0
        self._newline: int | None = None  # the indentation of a line that begins with the next text
        self._gap = ""  # a blank before the next text
        self._ended = False  # behind a comment: the next text begins a line

    def run(self, doc: Doc) -> str:
        stack: list[_Entry] = [(0, False, doc)]
        while stack:
            indent, flat, now = stack.pop()
            match now:
                case Text():
                    self._text(now.text, indent)
                case Comment():
                    if now.own and self._newline is None and self._column:
                        self._newline = indent
                    elif not now.own:
                        self._gap = " "
                    self._text(now.text, indent)
                    self._ended = True
                case Line():
                    if flat and not now.hard:
                        self._gap = now.flat
                    else:
                        self._newline, self._gap = indent, ""
                case Nest():
                    stack.append((indent + 2, flat, now.inside))
                case Group():
                    fits = flat or (not now.broken and self._fits([*stack, (indent, True, now.inside)]))
                    stack.append((indent, fits, now.inside))
                case tuple():
                    stack += [(indent, flat, part) for part in reversed(now)]
        return "".join(self._out)

    def _text(self, text: str, indent: int) -> None:
        if text == " ":  # between two others: never at the end of a line
            self._gap = text
            return
        if self._newline is None and self._ended:
            self._newline = indent
        if self._newline is not None:
            head = "\n" + " " * self._newline if self._out else ""
            self._column = self._newline
        else:
            head = self._gap if self._column else ""
            self._column += len(head)
        self._newline, self._gap, self._ended = None, "", False
        self._out.append(head + text)
        _, line_end, last = text.rpartition("\n")
        self._column = len(last) if line_end else self._column + len(text)

    def _fits(self, stack: list[_Entry]) -> bool:
        """Whether what is on top goes onto this line, with all that follows up to the next possible end of one."""
        left = self._width - (self._column if self._newline is None else self._newline) - len(self._gap)
        stack = list(stack)
        while stack and left >= 0:
            indent, flat, now = stack.pop()
            match now:
                case Text():
                    first, line_end, _ = now.text.partition("\n")
                    left -= len(first)
                    if line_end:
                        return left >= 0
                case Comment():
                    return left >= 0
                case Line():
                    if not flat or now.hard:
                        return True
                    left -= len(now.flat)
                case Nest() | Group():
                    stack.append((indent, flat, now.inside))
                case tuple():
                    stack += [(indent, flat, part) for part in reversed(now)]
        return left >= 0
