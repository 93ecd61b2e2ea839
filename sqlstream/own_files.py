"""Files that a job keeps for itself: read with care, written whole, deleted only within the job's own directories.

Whoever can write into such a directory can put anything there. So what is read has a bounded size and is a regular
file, what is written never goes through a link, and `OwnDirectory` is the one way by which anything is deleted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from sqlstream.errors import RunError
from sqlstream.stores import os_errors

SMALL = 1 << 20  # bytes; records of a job
LARGE = 1 << 29  # manifests, which name every split and state file; catalogs


def read_bytes(path: str | os.PathLike[str], limit: int = SMALL) -> bytes:
    """A regular file of at most `limit` bytes. OSError as the system says, ValueError for what else is wrong."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        data = file.read(limit + 1)
        if len(data) > limit:
            raise ValueError(f"it has more than {limit:,} bytes")
        return data


def read_text(path: str | os.PathLike[str], limit: int = SMALL) -> str:
    """`read_bytes`, in UTF-8."""
    try:
        return read_bytes(path, limit).decode()
    except UnicodeDecodeError as e:
        raise ValueError(f"it is not UTF-8 (byte {e.start})") from None


def sync_directory(path: str | os.PathLike[str]) -> None:
    """The names that files in a local directory have got are safe against a crash of the machine."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_below(root: str, directory: str) -> None:
    """Makes a directory in `root`, or in a directory there, if it is not there. FileNotFoundError without `root`."""
    if os.path.isdir(directory):
        return
    if directory == root:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), root)
    make_below(root, os.path.dirname(directory))
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory)


def replace_text(path: Path, text: str, *, sync: bool = True, mode: int = 0o666) -> None:
    """Writes a file, whole or not at all, in the place of one that is there; with `sync` safe against a crash of the
    machine. OSError as the system says."""
    temporary = path.with_name(f"{path.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if sync:
                os.fsync(handle)
        os.replace(temporary, path)
        if sync:
            sync_directory(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # half of it takes the room that is missing
        raise


def from_json(kind: Any, value: Any, where: str = "it") -> Any:
    """What `json.loads` gave as a value of `kind`: a dataclass, containers of such, str, int, float, bool, None, Any.

    ValueError that names the place where it is something else. A bool is no int.
    """
    if kind is Any:
        return value
    origin, inside = get_origin(kind), get_args(kind)
    if origin is UnionType:
        kinds = [k for k in inside if k is not NoneType]
        return None if value is None and NoneType in inside else from_json(kinds[0], value, where)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is no object")
        hints = get_type_hints(kind)
        if unknown := value.keys() - hints.keys():
            raise ValueError(f"{where} has an unknown field {min(unknown)!r}")
        for f in fields(kind):
            if f.name not in value and f.default is MISSING and f.default_factory is MISSING:
                raise ValueError(f"{where} has no field {f.name!r}")
        made: Any = kind
        return made(**{k: from_json(hints[k], v, f"{where}: {k}") for k, v in value.items()})
    if origin is dict and isinstance(value, dict):
        return {k: from_json(inside[1], v, f"{where}: {k!r}") for k, v in value.items()}
    if origin is list and isinstance(value, list):
        return [from_json(inside[0], v, where) for v in value]
    if origin is tuple and isinstance(value, list):
        kinds = [inside[0]] * len(value) if inside[-1] is Ellipsis else list(inside)
        if len(kinds) != len(value):
            raise ValueError(f"{where} has {len(value)} members, not {len(kinds)}")
        return tuple(from_json(k, v, where) for k, v in zip(kinds, value, strict=True))
    if origin is not None or not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where} is no {getattr(origin or kind, '__name__', kind)}")
    return value


def is_name(name: object) -> bool:
    """Whether it is a relative name, with "/", that stays below the directory it is relative to."""
    if not isinstance(name, str) or "\0" in name or "\\" in name:
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


@dataclass(frozen=True)
class OwnDirectory:
    """A directory that belongs to a job. `root`: its path; `fs`: an fsspec file system, None for the local one."""

    root: str
    fs: Any = None

    def place(self, name: str) -> str:
        """The full path of a name below. RunError when it leads out of the directory, by its text or by a link."""
        if not is_name(name):
            raise self._outside(name)
        path = f"{self.root.rstrip('/')}/{name}"
        if self.fs is None:
            root = os.path.realpath(self.root)
            parent = os.path.realpath(os.path.dirname(path))
            if parent != root and not parent.startswith(root.rstrip("/") + "/"):
                raise self._outside(name)
        return path

    def remove(self, name: str) -> None:
        """Deletes a file; one that is gone already does not matter. Of a link the link itself goes."""
        path = self.place(name)
        with contextlib.suppress(FileNotFoundError), os_errors():
            os.unlink(path) if self.fs is None else self.fs.rm_file(path)

    def remove_directory(self, name: str) -> None:
        """Deletes a local directory if it is empty."""
        path = self.place(name)
        with contextlib.suppress(OSError):
            os.rmdir(path)

    def remove_tree(self, name: str) -> None:
        """Deletes a local directory with all in it. Links in it are deleted, not followed."""
        path = self.place(name)
        with contextlib.suppress(FileNotFoundError):
            if os.path.islink(path) or not os.path.isdir(path):
                os.unlink(path)
            else:
                shutil.rmtree(path)

    def _outside(self, name: object) -> RunError:
        return RunError(
            f"{name!r} is not in {self.root}: nothing is deleted or replaced outside a job's own directories",
            hint="somebody changed the job's files, or put a link among them",
        )
