"""Where a job listens: a Unix socket in its directory, which its owner alone may use.

A path longer than the system takes for a socket, or a file system without sockets, gives the job a short path instead: in
XDG_RUNTIME_DIR, else in a directory of the user's own below the system's one for temporary files. Who has the job's lock
has the socket: one that is there already was left by a process that is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import socket
import stat
import struct
import tempfile
from pathlib import Path

from sqlstream.own_files import OwnDirectory

NAME = "control.sock"
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class ControlSocket:
    """Listens from `open` to `close`. `path`: where, "" where it does not. `failure`: why not."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = ""
        self.failure = ""
        self.socket: socket.socket | None = None
        self._place: tuple[int, int] | None = None

    def open(self) -> bool:
        """Listens anew; False when no place allows it."""
        self.close()
        for path in places(self.directory):
            try:
                self.socket = _listen(path)
                self.path, self._place, self.failure = str(path), _identity(path), ""
                return True
            except OSError as e:
                self.failure = e.strerror or str(e)
        return False

    @property
    def reachable(self) -> bool:
        """Whether the path still leads here: somebody may have deleted it, or put something in its place."""
        return self.socket is not None and self._place == _identity(Path(self.path))

    def close(self) -> None:
        """Listens no longer. The path goes if it leads here."""
        if self.socket is None:
            return
        if self.reachable:
            with contextlib.suppress(OSError):
                _remove(Path(self.path))
        self.socket.close()
        self.socket, self.path = None, ""


def places(directory: Path) -> list[Path]:
    """Where the socket of a job may be, the best one first."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(directory))).hexdigest()[:16]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    below = [Path(runtime)] if runtime and os.path.isabs(runtime) else []
    below.append(Path(tempfile.gettempdir()))
    return [directory / NAME, *(b / f"sqlstream-{os.geteuid()}" / f"{name}.sock" for b in below)]


def peer(connection: socket.socket) -> tuple[int, int] | None:
    """Process and user at the other end; None where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return pid, uid


def trusted(connection: socket.socket) -> bool:
    """Whether the other end is this user's, or the administrator's, as far as the system tells."""
    found = peer(connection)
    return found is None or found[1] in (os.geteuid(), 0)


def gone(connection: socket.socket) -> bool:
    """Whether the other end is closed, both ways."""
    poll = select.poll()
    poll.register(connection, 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


def _listen(path: Path) -> socket.socket:
    if path.name != NAME:
        _private(path.parent)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        _remove(path)
        with contextlib.suppress(OSError):  # Linux gives the file the socket's rights; elsewhere chmod must do
            os.fchmod(made.fileno(), 0o600)
        try:
            made.bind(os.fspath(path))
        except OSError as e:  # "AF_UNIX path too long" is one without a number
            raise OSError(e.errno, e.strerror or str(e)) from None
        os.chmod(path, 0o600)
        made.listen(16)
        return made
    except BaseException:
        made.close()
        raise


def _remove(path: Path) -> None:
    OwnDirectory(str(path.parent)).remove(path.name)


def _private(directory: Path) -> None:
    """A directory of the user's own: in a place that all may write to, somebody else may have made it."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(0, f"{directory} is not this user's own")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None
