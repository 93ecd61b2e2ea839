"""The terminal, or what stands in its place: rows on standard output, everything else on standard error.

Result rows, messages and the progress line come from different threads; all go through one `Terminal`, which takes
the progress line away before anything else is written. Nothing here fails on an encoding that lacks a character.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO, cast

from sqlstream.errors import RunError
from sqlstream.secrets import redacted

# Messages quote names and records: what would move the cursor or turn the writing direction is shown as an escape.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CLEAR = "\r\x1b[K"
_RED, _PLAIN = "\x1b[31;1m", "\x1b[0m"


class Terminal:
    """Writes to the `sys.stdout` and `sys.stderr` of the time when it was made."""

    read = True  # whether somebody reads the rows of queries
    most_rows: int | None = 40  # of a bounded result that a terminal shows; None: all, and whole values

    def __init__(self) -> None:
        # a process that was started without one has None
        self.out: TextIO = sys.stdout or cast(TextIO, _Closed())
        self.err: TextIO = sys.stderr or cast(TextIO, _Closed())
        self.interactive = _is_terminal(self.err)  # whether a progress line makes sense
        self.draws = _is_terminal(self.out)  # whether rows are seen by somebody, on a screen
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._colours = self.interactive and wanted
        self.paints = self.draws and wanted
        self._lock = threading.RLock()
        self._line = False
        for stream in (self.out, self.err):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")

    def write(self, data: bytes | memoryview) -> None:
        """Bytes of result rows, at once. BrokenPipeError when nobody reads them, RunError for what else is wrong."""
        try:
            self._write(data)
        except BrokenPipeError:
            raise
        except OSError as e:
            raise RunError(f"standard output cannot be written: {e.strerror or e}") from e

    def _write(self, data: bytes | memoryview) -> None:
        with self._cleared():
            buffer = getattr(self.out, "buffer", None)
            if buffer is None:  # a stream of text in the place of standard output
                self.out.write(bytes(data).decode())
            else:
                self.out.flush()
                left = memoryview(data)
                while left:  # with PYTHONUNBUFFERED this is the file itself, which may write a part
                    left = left[buffer.write(left) or 0 :]
            self.out.flush()

    def text(self, text: str) -> None:
        """Text of result rows, in standard output's encoding."""
        encoding = getattr(self.out, "encoding", None) or "utf-8"
        if getattr(self.out, "buffer", None) is None:
            encoding = "utf-8"
        self.write(text.encode(encoding, "backslashreplace"))

    def say(self, text: str) -> None:
        """A message: one line on standard error. A standard error that is closed is nobody's problem."""
        self._say("", text)

    def error(self, text: str) -> None:
        """An error: one message on standard error, which says that it is one."""
        prefix = f"{_RED}error:{_PLAIN} " if self._colours else "error: "
        self._say(prefix, text)

    def _say(self, prefix: str, text: str) -> None:
        with self._cleared(), contextlib.suppress(OSError, ValueError):
            self.err.write(prefix + _CONTROL.sub(lambda m: repr(m.group())[1:-1], redacted(text)) + "\n")
            self.err.flush()

    def progress(self, text: str) -> None:
        """Draws the progress line anew, cut to the width of the terminal; "" takes it away."""
        if not self.interactive:
            return
        width = self.width()
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._clear()
            if text:
                self.err.write(text[: width - 1])
                self.err.flush()
                self._line = True

    def width(self) -> int:
        """Columns of the terminal."""
        try:
            return os.get_terminal_size(self.err.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def screen(self) -> tuple[int, int]:
        """Columns and lines of the terminal that rows go to."""
        try:
            found = os.get_terminal_size(self.out.fileno())
            return found.columns or 80, found.lines or 24
        except (OSError, ValueError):
            return 80, 24

    @property
    def speaks_unicode(self) -> bool:
        """Whether lines of boxes can be drawn."""
        return (getattr(self.out, "encoding", None) or "").lower().replace("-", "").startswith("utf")

    @contextlib.contextmanager
    def guarding_stdout(self) -> Iterator[None]:
        """While it lasts, what others print to `sys.stdout` (connector 'print') takes the line away first as well."""
        if not (self.interactive and _is_terminal(self.out)):
            yield
            return
        sys.stdout = _Guarded(self, self.out)
        try:
            yield
        finally:
            sys.stdout = self.out

    @contextlib.contextmanager
    def _cleared(self) -> Iterator[None]:
        with self._lock:
            self._clear()
            yield

    def _clear(self) -> None:
        if self._line:
            self._line = False
            with contextlib.suppress(OSError, ValueError):
                self.err.write(_CLEAR)
                self.err.flush()


class _Closed(io.TextIOBase):
    """In the place of a stream that was closed when the process began."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "standard output is closed")

    def fileno(self) -> int:
        raise OSError(errno.EBADF, "standard output is closed")


class _Guarded:
    """A text stream that writes through the terminal's lock; all else is the stream's own."""

    def __init__(self, terminal: Terminal, stream: TextIO) -> None:
        self._terminal = terminal
        self._stream = stream

    def write(self, text: str) -> int:
        with self._terminal._cleared():
            written = self._stream.write(text)
            self._stream.flush()
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
