"""Files below a sink's path, local or on an object store: made, published, removed.

Everything is named relative to the path, and checked: names come back out of manifests.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from typing import IO, Any

from sqlstream import stores as remote
from sqlstream.connectors.paths import is_local
from sqlstream.connectors.tree import hidden
from sqlstream.errors import RunError
from sqlstream.own_files import OwnDirectory, sync_directory
from sqlstream.stores import ENVIRONMENT, Stores

STAGING = "_staging"


@contextlib.contextmanager
def reported(path: str, what: str) -> Iterator[None]:
    """I/O errors become RunErrors with path and reason."""
    try:
        with remote.os_errors():
            yield
    except OSError as e:
        hints = {
            errno.ENOSPC: "free space on the disk; the job continues from its last checkpoint",
            errno.EDQUOT: "the disk quota is used up",
            errno.EACCES: "check the permissions of the directory",
            errno.EROFS: "the file system is read-only",
            errno.ENOTDIR: "'path' of a sink is a directory",
            errno.EEXIST: "'path' of a sink is a directory, not a file",
        }
        hint = remote.hint(e, path) or hints.get(e.errno or 0)
        raise RunError(f"{path}: cannot {what}: {remote.reason(e)}", hint=hint) from e


class Store:
    """The few operations on files that a sink needs, on a local path or an fsspec URL."""

    def __init__(self, root: str, stores: Stores = ENVIRONMENT) -> None:
        self.root = root.rstrip("/") or "/"
        self.local = is_local(root)
        with reported(root, "open"):  # some connect at once
            self._fs: Any = None if self.local else stores.filesystem(root)[0]
        self._own = OwnDirectory(self.root, self._fs)

    def path(self, *names: str) -> str:
        """The full path of a name below the root."""
        return "/".join((self.root, *names))

    def create(self, name: str) -> IO[bytes]:
        """A new file. FileExistsError on a local disk when there is one."""
        path = self._own.place(name)
        if self.local:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return open(path, "xb")
        return self._fs.open(path, "wb")  # type: ignore[no-any-return]

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        path = self.path(name)
        return os.path.lexists(path) if self.local else bool(self._fs.exists(path))

    def remove(self, name: str) -> None:
        """Deletes a file; gone already is fine."""
        self._own.remove(name)

    def publish(self, staged: str, final: str) -> None:
        """Make `staged` appear as `final`; done already is fine.

        FileNotFoundError when neither is there, FileExistsError when another file has the name: a published file is
        never overwritten, and a staged one never dropped for it.
        """
        source, target = self._own.place(staged), self._own.place(final)
        if self.exists(final):
            if self.exists(staged):
                # a copy within an object store may have been made before the staged object went
                if self.local or self._fs.info(source)["size"] != self._fs.info(target)["size"]:
                    raise FileExistsError(errno.EEXIST, "another file has its name", target)
                self.remove(staged)
        elif self.local:
            if not os.path.lexists(source):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)
            self._make_directory(os.path.dirname(target))
            os.rename(source, target)
            sync_directory(os.path.dirname(target))
        else:
            self._fs.cp_file(source, target)
            self.remove(staged)

    def touch(self, name: str) -> None:
        """An empty file, which now counts as changed; nothing where its directory is gone."""
        path = self._own.place(name)
        if not self.local:
            self._fs.pipe_file(path, b"")
            return
        with contextlib.suppress(FileNotFoundError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))
            os.utime(path)
            sync_directory(os.path.dirname(path))

    def is_link(self, name: str) -> bool:
        """Whether a file, or a directory on the way to it, is a symbolic link."""
        parts = name.split("/")
        return self.local and any(os.path.islink(self.path(*parts[: i + 1])) for i in range(len(parts)))

    def files(self, name: str = "") -> list[str]:
        """The files that a reader takes for the table's, at any depth below the directory: their names below the root,
        sorted. Links to directories are given, not followed. [] when there is none."""
        directory = self.path(name) if name else self.root
        if self.local:
            found = _files(directory, name)
        else:
            self._fs.invalidate_cache()
            found = self._remote_files(directory)
        return sorted(found)

    def _remote_files(self, directory: str) -> Iterator[str]:
        root = self._fs._strip_protocol(self.root).rstrip("/") + "/"
        inner = self._fs._strip_protocol(directory).rstrip("/")
        try:
            paths = self._fs.find(inner)
        except FileNotFoundError:
            return
        for path in paths:
            below = path[len(root) :] if path.startswith(root) else path
            if below and path != inner and not any(map(hidden, below.split("/"))):
                yield below

    def names(self, name: str = "") -> list[str]:
        """What a directory holds, by name; [] when there is none."""
        directory = self.path(name) if name else self.root
        try:
            if self.local:
                return sorted(os.listdir(directory))
            self._fs.invalidate_cache()
            return sorted(n.rstrip("/").rpartition("/")[2] for n in self._fs.ls(directory, detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _make_directory(self, directory: str) -> None:
        """With those above it, each of them durable."""
        if os.path.isdir(directory):
            return
        self._make_directory(os.path.dirname(directory))
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory)
            sync_directory(os.path.dirname(directory))


def _files(directory: str, name: str) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(directory), key=lambda e: e.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for e in entries:
        if hidden(e.name):
            continue
        below = f"{name}/{e.name}" if name else e.name
        if e.is_dir(follow_symlinks=False):
            yield from _files(e.path, below)
        else:
            yield below


def safe(name: str) -> str:
    """`name` as a part of a file name; different names stay different."""
    return re.sub(r"[^A-Za-z0-9.]", lambda m: "_" if m.group() == "_" else f"~{ord(m.group()):x}", name)
