"""A script's text and the places in it: offsets count from 0, lines and columns from 1."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from sqlstream.errors import NotSupported, ParseError, Position


class Source:
    """SQL text with its file name. All positions of one script refer to one `Source`."""

    def __init__(self, text: str, name: str | None = None) -> None:
        self.text = text
        self.name = name
        # splitlines() and not "\n": SqlStreamError finds the caret's line by it, and the two must agree
        lengths = [len(line) for line in text.splitlines(keepends=True)]
        self._starts = list(accumulate(lengths[:-1], initial=0))

    def position(self, offset: int) -> Position:
        """The line and column of the character at `offset`."""
        line = bisect_right(self._starts, offset) - 1
        return Position(line + 1, offset - self._starts[line] + 1)

    def offset(self, position: Position) -> int:
        """Where in the text a place is: the other way round."""
        return self._starts[position.line - 1] + position.column - 1

    def error(self, message: str, offset: int, hint: str | None = None) -> ParseError:
        """A ParseError with its place and text, to be raised by the caller."""
        return ParseError(message, hint=hint, position=self.position(offset), sql=self.text, source=self.name)

    def unsupported(self, message: str, offset: int, hint: str) -> NotSupported:
        """A NotSupported with its place and text, to be raised by the caller."""
        return NotSupported(message, hint=hint, position=self.position(offset), sql=self.text, source=self.name)
