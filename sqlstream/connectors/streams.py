"""Pipes and devices as files: what comes out of them comes once, and may be waited for.

`cat a.csv | sqlstream … /dev/stdin`, named pipes, terminals. A stream is a bounded file: it ends when its writers have
closed it. Streaming reads it as it comes. A batch query, which may scan a table more than once, has it copied to a
file.
"""

from __future__ import annotations

import io
import os
import select
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlstream.errors import Canceled, DataError

STDIN = "/dev/stdin"
PATIENCE = 50  # ms between two looks at whether reading was canceled
PIECE = 2**20
LONGEST_LOOK = 0.5  # s: so long is a stream without pauses looked at


def is_stream(path: str) -> bool:
    """Whether what is read from the local path is gone afterwards."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def check_ends(path: str) -> None:
    """DataError where the stream is a device that has no end, or none to be found: of devices only terminals (which
    Ctrl-D ends) and /dev/null are read, and pipes."""
    status = os.stat(path)
    if stat.S_ISFIFO(status.st_mode) or (stat.S_ISCHR(status.st_mode) and _ends(path, status.st_rdev)):
        return
    kind = "a socket" if stat.S_ISSOCK(status.st_mode) else "a device"
    raise DataError(
        f"path '{path}' is {kind}, which is read for ever or not at all",
        hint="a table is a file, a directory, a glob, a pipe or stdin: head -c 1000 /dev/… | sqlstream -c '… FROM stdin'",
    )


def _ends(path: str, device: int) -> bool:
    if device == os.stat(os.devnull).st_rdev:
        return True
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return os.isatty(descriptor)
    finally:
        os.close(descriptor)


@dataclass
class _Peeked:
    """What was read of a stream to look at, and where the rest comes from."""

    descriptor: int
    head: bytes = b""
    ended: bool = False


_peeked: dict[str, _Peeked] = {}
_lock = threading.Lock()


def peek(path: str, size: int, canceled: Callable[[], bool]) -> tuple[bytes, bool]:
    """What a stream begins with: whole lines up to a pause, `size` bytes at most or one line; and whether this is all.

    Who reads the stream then gets them again. Waits for two lines, or one of a JSON object. Canceled when `canceled`
    says so meanwhile.
    """
    with _lock:
        if path not in _peeked:
            _peeked[path] = _Peeked(_open(path))
        stream = _peeked[path]
    poll = select.poll()
    poll.register(stream.descriptor, select.POLLIN | select.POLLHUP | select.POLLERR)
    pauses_since: float | None = None
    while not stream.ended and (len(stream.head) < size or b"\n" not in stream.head):
        if canceled():
            raise Canceled("the query was canceled")
        if _says_enough(stream.head):
            pauses_since = pauses_since or time.monotonic()
            if time.monotonic() - pauses_since > LONGEST_LOOK:
                break
        if poll.poll(PATIENCE):
            try:
                data = os.read(stream.descriptor, PIECE)
            except BlockingIOError:
                continue
            stream.head += data
            stream.ended = not data
        elif pauses_since is not None:
            break
    if stream.ended:
        return stream.head, True
    return stream.head[: stream.head.rfind(b"\n") + 1], False


def _says_enough(head: bytes) -> bool:
    return head.count(b"\n") >= (1 if head.lstrip()[:1] == b"{" else 2)


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


class Stream(io.RawIOBase):
    """Reads what there is, and waits for more until the writers have closed it. `canceled` ends a read with Canceled.

    Opening does not wait for a writer. What was peeked at comes first.
    """

    def __init__(self, path: str, canceled: threading.Event) -> None:
        self._canceled = canceled
        with _lock:
            peeked = _peeked.pop(path, None)
        self._head = peeked.head if peeked is not None else b""
        self._descriptor = peeked.descriptor if peeked is not None else _open(path)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN | select.POLLHUP | select.POLLERR)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Bytes that were read; 0: the end."""
        view = memoryview(buffer)
        if self._head:
            data, self._head = self._head[: len(view)], self._head[len(view) :]
            view[: len(data)] = data
            return len(data)
        while not self._canceled.is_set():
            if self._poll.poll(PATIENCE):
                try:
                    data = os.read(self._descriptor, min(len(view), PIECE))
                except BlockingIOError:
                    continue
                view[: len(data)] = data
                return len(data)
        raise Canceled("the query was canceled")

    def close(self) -> None:
        """Also more than once."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def spooled(path: str, canceled: threading.Event) -> Any:
    """A temporary file (deleted when it is closed) with all that comes from the stream."""
    file = tempfile.NamedTemporaryFile(prefix="sqlstream-", suffix=os.path.splitext(path)[1])  # noqa: SIM115  lent out
    with Stream(path, canceled) as stream:
        shutil.copyfileobj(stream, file, PIECE)
    file.flush()
    return file
