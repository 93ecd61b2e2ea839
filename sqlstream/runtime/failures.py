"""Failures that pass, and those that come again: which a job is started again after.

Told by the chain of causes, outermost first, by the first rule that fits. What a file system or a network says passes (a
disk is emptied, a store comes back, a right is given); a path that cannot be one, the records, the statement and a bug
stay as they are.

That is a guess where nobody outside says so: a damaged file, more than an operator can hold. Such a failure that comes again
and again while the job does not get any further (`Repetition`) is one that stays.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from sqlstream.errors import Canceled, CheckpointError, InternalError, JobLocked, RunError, UserError

# What says that a path itself is wrong: a file where a directory is to be, a name that is too long or is taken. What
# is not there (ENOENT) may come: a file system that is mounted later.
WRONG_PATH = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)


def passes(error: BaseException) -> bool:
    """Whether another attempt may do better than the one that ended with this."""
    chain = list(causes(error))
    of_the_system = any(isinstance(e, (OSError, MemoryError)) for e in chain)
    for e in chain:
        if isinstance(e, (Canceled, KeyboardInterrupt, SystemExit, JobLocked, InternalError)):
            return False
        if getattr(e, "transient", False):
            return True
        if isinstance(e, RunError) and isinstance(e.__cause__, OSError) and e.__cause__.errno in WRONG_PATH:
            return False
        if isinstance(e, (UserError, CheckpointError)):
            # A file that cannot be read is no wrong record, and a store that is away no damaged checkpoint.
            return of_the_system
        if isinstance(e, (RunError, OSError, MemoryError)):
            return True
    return False


def from_outside(error: BaseException) -> bool:
    """Whether the system, a network or a store says it: then it may pass at any time, however often it came."""
    chain = list(causes(error))
    return getattr(chain[-1], "transient", False) or any(
        isinstance(e, (ConnectionError, TimeoutError, MemoryError)) or (isinstance(e, OSError) and e.errno is not None)
        for e in chain
    )


class Repetition:
    """How often a job has failed in the same way, in a row, without a checkpoint in between."""

    def __init__(self) -> None:
        self._last: tuple[object, ...] | None = None
        self.count = 0

    def failed(self, kind: str, message: str, checkpoint: int | None) -> int:
        """It failed once more; how often it has now."""
        this = (kind, message, checkpoint)
        self.count = self.count + 1 if this == self._last else 1
        self._last = this
        return self.count


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it came from, and so on."""
    seen: set[int] = set()
    e: BaseException | None = error
    while e is not None and id(e) not in seen:
        seen.add(id(e))
        yield e
        e = e.__cause__ or (None if e.__suppress_context__ else e.__context__)
