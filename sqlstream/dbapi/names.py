"""PEP 249's names that need no connection: exceptions, type objects, constructors."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator

from sqlstream import errors
from sqlstream.types import BYTES, NUMERIC, STRINGS, TIMES

Date, Time, Timestamp, Binary = datetime.date, datetime.time, datetime.datetime, bytes
DateFromTicks = datetime.date.fromtimestamp
TimestampFromTicks = datetime.datetime.fromtimestamp


def TimeFromTicks(ticks: float) -> datetime.time:
    """The local time of seconds since 1970."""
    return datetime.datetime.fromtimestamp(ticks).time()


class TypeObject:
    """Equal to the type codes (`sqlstream.types.Type`) of its group."""

    def __init__(self, name: str, *kinds: str) -> None:
        self.name = name
        self.kinds = frozenset(kinds)

    def __eq__(self, other: object) -> bool:
        kind = getattr(other, "kind", None)
        return other is self or (isinstance(kind, str) and kind in self.kinds)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"sqlstream.{self.name}"


STRING = TypeObject("STRING", *STRINGS)
BINARY = TypeObject("BINARY", *BYTES)
NUMBER = TypeObject("NUMBER", *NUMERIC)
DATETIME = TypeObject("DATETIME", *TIMES)
ROWID = TypeObject("ROWID")


class Warning(Exception):
    """Something that may be lost, such as truncated data."""


class Error(Exception):
    """`hint` says what to do, where there is something; the text has it too."""

    hint: str | None = None


class InterfaceError(Error):
    """The module is used wrongly."""


class DatabaseError(Error):
    """Something about the statement or its run."""


class DataError(DatabaseError):
    """A value or record is malformed."""


class OperationalError(DatabaseError):
    """The run failed: I/O, a full disk, a lost file."""


class QueryCanceled(OperationalError):
    """`cancel` ended it; a durable job resumes when its statement is run again."""


class FetchTimeout(OperationalError):
    """No row came in time. The query goes on: fetch again for the next one."""


class IntegrityError(DatabaseError):
    """A constraint does not hold."""


class InternalError(DatabaseError):
    """A bug in sqlstream."""


class ProgrammingError(DatabaseError):
    """The statement is wrong."""


class NotSupportedError(DatabaseError):
    """The statement is right and cannot be run so."""


# The first one that fits.
_MAPPING: tuple[tuple[type[errors.SqlStreamError], type[Error]], ...] = (
    (errors.NotSupported, NotSupportedError),
    (errors.DataError, DataError),
    (errors.UserError, ProgrammingError),
    (errors.RunError, OperationalError),
    (errors.SqlStreamError, InternalError),
)


@contextlib.contextmanager
def mapped() -> Iterator[None]:
    """Errors of the engine as PEP 249's; the original is the cause."""
    try:
        yield
    except errors.SqlStreamError as e:
        made = next(ours for theirs, ours in _MAPPING if isinstance(e, theirs))(str(e))
        made.hint = e.hint
        raise made from e


def not_supported(message: str, hint: str) -> NotSupportedError:
    """An error to raise, its hint in the text."""
    made = NotSupportedError(f"{message}\nhint: {hint}")
    made.hint = hint
    return made
