"""Every error that sqlstream raises on purpose.

    SqlStreamError
    ├── UserError                   the SQL, an option or an input is wrong (exit status 1)
    │   ├── ParseError              the text is not SQL; carries line, column and a caret
    │   ├── BindError               a name, type or argument is wrong
    │   ├── NotSupported            correct SQL that cannot be run so; always with a hint
    │   ├── OptionError             unknown option or bad value
    │   └── DataError               a record, file or value is malformed
    ├── RunError                    the run failed: I/O, a full disk, a lost file (may be transient)
    │   ├── CheckpointError         a checkpoint cannot be written or read
    │   │   └── OutputLost          what it has prepared can be published no more
    │   ├── JobLocked               another process runs this job
    │   └── Canceled                the user ended it
    └── InternalError               a bug in sqlstream

`sqlstream.dbapi` maps these to PEP 249's classes. A message says what is wrong; `hint` says what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from sqlstream.secrets import redacted


@dataclass(frozen=True)
class Position:
    """A place in SQL text; `line` and `column` count from 1."""

    line: int
    column: int


class SqlStreamError(Exception):
    """Base of all errors here. `str()` gives message, place and hint, ready to print."""

    transient = False

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        position: Position | None = None,
        sql: str | None = None,
        source: str | None = None,
        subject: str | None = None,
    ) -> None:
        message = redacted(message)
        super().__init__(message)
        self.message = message
        self.hint = None if hint is None else redacted(hint)
        self.position = position
        self.sql = sql
        self.source = source
        self.subject = subject  # the word of the statement that it is about: whoever knows the text finds its place

    def located(self, sql: str, source: str | None = None) -> SqlStreamError:
        """Add the SQL text (and file name) that `position` refers to, unless already known."""
        self.sql = self.sql if self.sql is not None else sql
        self.source = self.source if self.source is not None else source
        return self

    def __str__(self) -> str:
        lines = []
        place = ""
        if self.position is not None and self.sql is not None:
            place = f"{self.source or 'line'}{':' if self.source else ' '}{self.position.line}:{self.position.column}: "
        elif self.source is not None:
            place = f"{self.source}: "
        lines.append(f"{place}{self.message}")
        if self.position is not None and self.sql is not None:
            text = self.sql.splitlines()
            if 1 <= self.position.line <= len(text):
                row = redacted(text[self.position.line - 1].replace("\t", " "), aligned=True)
                start = max(0, self.position.column - 80)
                lines.append("  " + row[start : start + 120])
                lines.append("  " + " " * (self.position.column - 1 - start) + "^")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class UserError(SqlStreamError):
    """The SQL, an option or an input is wrong."""


class ParseError(UserError):
    """The text is not SQL."""


class BindError(UserError):
    """A name, a type or an argument is wrong."""


class NotSupported(UserError):
    """Correct SQL that cannot be run so; always with a hint."""


class OptionError(UserError):
    """An unknown option, or a bad value."""


class DataError(UserError):
    """A record, file or value is malformed."""


class RunError(SqlStreamError):
    """The run failed."""


class CheckpointError(RunError):
    """A checkpoint cannot be written or read."""


class OutputLost(CheckpointError):
    """What a checkpoint has prepared, and nobody can publish any more."""


class JobLocked(RunError):
    """Another process runs this job."""


class Canceled(RunError):
    """The user stopped it."""


class InternalError(SqlStreamError):
    """A bug in sqlstream."""


def did_you_mean(name: str, known: Iterable[str], what: str = "known") -> str:
    """A hint for a misspelt `name`: the nearest known names, else all of them when they are few."""
    names = sorted(set(known))
    by_fold = {n.casefold(): n for n in names}
    near = difflib.get_close_matches(name.casefold(), list(by_fold), n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(by_fold[n] for n in near) + "?"
    if not names:
        return "there are none" if what == "known" else f"there are no {what}"
    if len(names) <= 20:
        return f"{what}: " + ", ".join(names)
    return f"{what}: " + ", ".join(names[:20]) + f", and {len(names) - 20} more"
