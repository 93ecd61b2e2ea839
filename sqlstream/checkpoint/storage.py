"""Where checkpoints are: a directory on any fsspec file system.

Names are relative, with "/". On the local file system a write is a temporary file, fsync and rename, so a name
is either absent or whole, also after a crash; object stores give that with a plain put. Every failure is a
CheckpointError that names the place and the system's reason; `transient` when trying again may help.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from sqlstream import stores as remote
from sqlstream.errors import CheckpointError, OptionError, RunError
from sqlstream.own_files import LARGE, OwnDirectory, make_below, read_bytes, sync_directory
from sqlstream.stores import ENVIRONMENT, Stores

CHUNK = 1 << 22
TRANSFERS = 4
TRANSIENT = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ESTALE,
    errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE, errno.ENETUNREACH,
    errno.EHOSTUNREACH, errno.EMFILE, errno.ENFILE,
}  # fmt: skip
HINTS = {
    errno.ENOSPC: "free space on that disk, or set execution.checkpointing.dir to another",
    errno.EDQUOT: "the disk quota is used up: free space, or set execution.checkpointing.dir to another disk",
    errno.EFBIG: "a file size limit (ulimit -f) or the file system forbids files this large",
    errno.EACCES: "give this user the right to write there, or set execution.checkpointing.dir to another directory",
    errno.EPERM: "give this user the right to write there, or set execution.checkpointing.dir to another directory",
    errno.EMFILE: "let the process open more files (ulimit -n)",
    errno.EROFS: "the file system is read-only: set execution.checkpointing.dir to another directory",
    errno.ENOTDIR: "a file stands where a directory is needed",
}


@dataclass(frozen=True)
class Stored:
    """A file in the storage. `modified`: seconds since 1970 by the store's clock, if it says."""

    name: str
    size: int
    modified: float | None


@contextlib.contextmanager
def failing_as(doing: str, place: str) -> Iterator[None]:
    """Turns what file systems raise into CheckpointErrors: "cannot <doing> <place>: <reason>"."""
    try:
        with remote.os_errors():
            yield
    except (CheckpointError, RunError):
        raise
    except OSError as e:
        hint = remote.hint(e, place) or HINTS.get(e.errno or 0)
        error = CheckpointError(f"cannot {doing} {place}: {remote.reason(e)}", hint=hint)
        error.transient = e.errno in TRANSIENT or isinstance(e, ConnectionError | TimeoutError)
        raise error from e
    except Exception as e:  # fsspec's implementations raise their client libraries' errors
        error = CheckpointError(f"cannot {doing} {place}: {type(e).__name__}: {e}")
        error.transient = isinstance(e, TimeoutError)
        raise error from e


class CheckpointStorage:
    """The files below `url`: a path, or a URL that fsspec knows. `transfers`: how many files go there, or come from
    there, at the same time. `hashes`: of local files that were verified."""

    def __init__(self, url: str | os.PathLike[str], stores: Stores = ENVIRONMENT, transfers: int = TRANSFERS) -> None:
        self.url, self.transfers = str(url), transfers
        self.hashes = Hashes()
        try:
            self.fs, self.root = stores.filesystem(self.url)
        except OptionError as e:
            raise CheckpointError(f"cannot use {self.url} for checkpoints: {e.message}", hint=e.hint) from e
        except Exception as e:  # some connect at once
            raise CheckpointError(f"cannot use {self.url} for checkpoints: {getattr(e, 'strerror', None) or e}") from e
        self.is_local = isinstance(self.fs, LocalFileSystem)
        if self.is_local:
            self.root = os.path.abspath(self.root)
        self._own = OwnDirectory(self.root, None if self.is_local else self.fs)
        self._made = False

    def place(self, name: str) -> str:
        """The full name, for the file system."""
        return f"{self.root.rstrip('/')}/{name}" if name else self.root

    def shown(self, name: str) -> str:
        """The full name, for messages."""
        return self.place(name) if self.is_local else f"{self.url.rstrip('/')}/{name}"

    def local_path(self, name: str) -> Path | None:
        """The file itself when the storage is local, else None."""
        return Path(self.place(name)) if self.is_local else None

    def put(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; replaces one of that name."""
        with failing_as("write", self.shown(name)):
            place = self._own.place(name)
            if not self.is_local:
                self.fs.pipe_file(place, data)
                return
            self._make_parent(place)
            handle, temporary = tempfile.mkstemp(dir=os.path.dirname(place), prefix=".tmp-")
            try:
                with os.fdopen(handle, "wb") as f:
                    f.write(data)
                    f.flush()
                    os.fsync(f.fileno())
                os.replace(temporary, place)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
            sync_directory(os.path.dirname(place))

    def put_file(self, name: str, local: Path) -> None:
        """Upload a file that will not change any more. On one disk it becomes a second name of the same file."""
        with failing_as("write", self.shown(name)):
            place = self._own.place(name)
            if not self.is_local:
                self.fs.put_file(str(local), place)
                return
            self._make_parent(place)
            temporary = f"{os.path.dirname(place)}/.tmp-{os.getpid()}-{os.path.basename(place)}"
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
                try:
                    os.link(local, temporary)
                except OSError:
                    shutil.copyfile(local, temporary)
                with open(temporary, "rb") as f:
                    os.fsync(f.fileno())
                os.replace(temporary, place)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)  # renaming a file onto itself does nothing
            sync_directory(os.path.dirname(place))

    def _make_parent(self, place: str) -> None:
        """The directory of a local file. The root is made once: were it made again after somebody moved it away, it could
        not be moved back."""
        if not self._made:
            os.makedirs(self.root, exist_ok=True)
            self._made = True
        try:
            make_below(self.root, os.path.dirname(place))
        except FileNotFoundError:
            raise OSError(errno.ESTALE, f"the directory {self.root} is gone") from None

    def read(self, name: str, limit: int = LARGE) -> bytes:
        """A whole file of at most `limit` bytes."""
        place = self.place(name)
        with failing_as("read", self.shown(name)):
            if self.is_local:
                return read_bytes(place, limit)
            data: bytes = self.fs.cat_file(place, end=limit + 1)
            if len(data) > limit:
                raise ValueError(f"it has more than {limit:,} bytes")
            return data

    def fetch(self, name: str, to: Path) -> None:
        """Download to a local file, which appears when it is whole."""
        place, temporary = self.place(name), to.with_name(f".tmp-{os.getpid()}-{to.name}")
        with failing_as("read", self.shown(name)):
            to.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.fs.get_file(place, str(temporary))
                os.replace(temporary, to)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    def retain(self, names: set[str]) -> None:
        """Kept checkpoints name these files, and no others: copies of others may go, where there are any."""

    def stat(self, name: str) -> Stored | None:
        """None when there is no such file."""
        place = self.place(name)
        with failing_as("read", self.shown(name)):
            self.fs.invalidate_cache()
            try:
                info = self.fs.info(place)
            except FileNotFoundError:
                return None
            return Stored(name, int(info["size"]), _modified(info)) if info["type"] == "file" else None

    def files(self, name: str = "") -> list[Stored]:
        """All files below a directory, by name; [] when there is no such directory. Temporary files are not seen."""
        place = self.place(name)
        with failing_as("list", self.shown(name)):
            self.fs.invalidate_cache()
            try:
                found = self.fs.find(place, detail=True)
            except FileNotFoundError:
                return []
            if not found and self.is_local and os.path.isdir(place):
                os.listdir(place)  # fsspec takes a directory that we may not read for an empty one
            start = len(self.place("").rstrip("/")) + 1
            out = [Stored(p[start:], int(i["size"]), _modified(i)) for p, i in found.items()]
            return sorted((s for s in out if not _is_temporary(s.name)), key=lambda s: s.name)

    def delete(self, names: Iterable[str]) -> None:
        """Files that are gone already do not matter. Directories left empty go too."""
        for name in names:
            with failing_as("delete", self.shown(name)):
                self._own.remove(name)
                if self.is_local and "/" in name:
                    self._own.remove_directory(name.rpartition("/")[0])

    def sha256(self, name: str) -> str:
        """The hash of a file as it lies there, in hex; all of it is read, unless that of a local file is known."""
        place = self.place(name)
        if self.is_local:
            return self.hashes.of(Path(place))
        with failing_as("read", self.shown(name)), self.fs.open(place, "rb", block_size=CHUNK) as f:
            digest = hashlib.sha256()
            while chunk := f.read(CHUNK):
                digest.update(chunk)
            return digest.hexdigest()

    def check_writable(self) -> None:
        """CheckpointError now, rather than at the first checkpoint, when nothing can be written here."""
        probe = f".tmp-probe-{os.getpid()}"
        self.put(probe, b"")
        self.delete([probe])


def sha256_of(path: Path) -> str:
    """The hash of a local file, in hex. CheckpointError when it cannot be read."""
    with failing_as("read", str(path)), open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class Hashes:
    """Of local files. One that is asked for again is read again only when it is another: by inode, size, or the time of
    its last change. From any thread."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], str] = {}

    def of(self, path: Path) -> str:
        """As `sha256_of`."""
        with failing_as("read", str(path)):
            s = path.stat()
        file = (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns)
        if file not in self._known:
            self._known[file] = sha256_of(path)
        return self._known[file]


def _is_temporary(name: str) -> bool:
    return name.rsplit("/", 1)[-1].startswith(".tmp-")


def _modified(info: dict[str, Any]) -> float | None:
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                return datetime.fromisoformat(value).timestamp()
    return None
