"""Which files a `path` option means: a file, a glob, or a directory read in depth, local or any fsspec URL.

Names that begin with `_` or `.` are skipped below the path (staged and hidden files; `tree.py`), and files come sorted
by path, so that the order of splits is the same everywhere.
"""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlstream import stores as remote
from sqlstream.connectors.streams import Stream, check_ends, is_stream
from sqlstream.connectors.tree import fixed_part, hidden, matches, walk
from sqlstream.contracts import Split
from sqlstream.errors import DataError, OptionError, RunError, did_you_mean
from sqlstream.secrets import shown_value
from sqlstream.stores import ENVIRONMENT, Stores

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}
BLOCK = 8 * 2**20  # bytes that are read at once
READ_AHEAD = 8 * 2**20  # bytes of a remote file that are fetched at once, beyond what was asked for


@dataclass(frozen=True)
class FileEntry:
    """A file: absolute local path or URL, bytes, and modification time in µs since 1970 UTC (0: unknown).

    `tag`: what a store says of its content (an ETag), or ''.
    """

    path: str
    size: int
    modified: int
    tag: str = ""


def is_local(path: str) -> bool:
    """Whether it is a path of this machine, and not a URL."""
    return "://" not in path


def opens_by_name(path: str) -> bool:
    """Whether DuckDB can open the file by its name: a local one whose name is UTF-8."""
    return is_local(path) and not any("\ud800" <= c <= "\udfff" for c in path)


def absolute(path: str, working_directory: str) -> str:
    """A local path made absolute (`file://` taken off), or the URL as it is."""
    if "\0" in path:
        raise OptionError(f"path {path!r} holds a NUL character, which no file's name has")
    if path.startswith("file://"):
        path = path[len("file://") :]
    if not is_local(path):
        return path
    return os.path.normpath(os.path.join(os.path.abspath(working_directory), os.path.expanduser(path)))


@dataclass(frozen=True)
class Root:
    """Where a table's files are: `path` as `absolute` gave it. A checkpoint says of a file where it is below that, and is
    understood wherever the table's path leads when the job goes on: of a project that was moved, to its own files."""

    path: str
    working_directory: str

    def name(self, path: str) -> str:
        """A file's name for people and for splits: relative where it is below the working directory; a URL without its
        secrets."""
        base = os.path.join(os.path.abspath(self.working_directory), "")
        if not is_local(path):
            return shown_value("", path)
        return path[len(base) :] if path.startswith(base) else path

    def kept(self, path: str) -> dict[str, str]:
        """What a split says of where its file is."""
        out, top = {"path": self.name(path)}, os.path.join(fixed_part(self.path), "")
        if is_local(path) and (path == self.path or path.startswith(top)):
            out["below"] = path[len(top) :]
        return out

    def placed(self, split: Split) -> str:
        """Where that file is now. Splits of former versions have the name alone."""
        name, below = str(split.info.get("path", split.id)), split.info.get("below")
        if below is not None:
            return os.path.join(fixed_part(self.path), below) if below else self.path
        if is_local(name):
            return os.path.join(os.path.abspath(self.working_directory), name)
        shown = shown_value("", self.path)
        return self.path + name[len(shown) :] if name.startswith(shown) else name


def compression_of(path: str) -> str | None:
    """How the file is compressed, by the end of its name; None when it is not."""
    return COMPRESSIONS.get(os.path.splitext(path)[1].lower())


def damaged_hint(path: str) -> str | None:
    """What to do about a file that could not be decompressed."""
    compression = compression_of(path)
    if compression is None:
        return None
    return f"it is no {compression} file, or damaged: replace it, or take it away; its name says how it is read"


def find_files(path: str, stores: Stores = ENVIRONMENT) -> list[FileEntry]:
    """The files of `path` (as `absolute` gave it), sorted. DataError when there is nothing of that name."""
    try:
        if is_local(path):
            return _find_local(path)
        with remote.os_errors():
            return _find_remote(path, stores)
    except PermissionError as e:
        hint = remote.hint(e, path) or "check its permissions"
        raise DataError(f"path '{path}' cannot be read: {remote.reason(e)}", hint=hint) from e
    except FileNotFoundError as e:
        raise missing(path, e) from e
    except OSError as e:
        raise RunError(f"path '{path}' cannot be listed: {remote.reason(e)}", hint=remote.hint(e, path)) from e


def missing(path: str, e: FileNotFoundError | None = None) -> DataError:
    """`e`: what the file system said."""
    if e is not None and (hint := remote.hint(e, path)) is not None:
        return DataError(f"path '{path}' does not exist: {remote.reason(e)}", hint=hint)
    if glob.has_magic(path):
        return DataError(f"no file matches '{path}'", hint="the path may be a file, a directory or a glob")
    if not is_local(path):
        return DataError(f"path '{path}' does not exist", hint="the path may be a file, a directory or a glob")
    near = os.path.dirname(path)
    hint = "relative paths start at the directory the session was started in"
    there = os.listdir(near) if os.path.isdir(near) and os.access(near, os.R_OK) else []
    if (meant := did_you_mean(os.path.basename(path), there)).startswith("did you mean"):
        hint = f"{meant} {hint}"
    elif not os.path.isdir(near):
        hint = f"there is no directory '{near}'; {hint}"
    return DataError(f"path '{path}' does not exist", hint=hint)


def _local_entry(path: str) -> FileEntry:
    status = os.stat(path)
    return FileEntry(path, status.st_size, status.st_mtime_ns // 1000)


def _find_local(path: str) -> list[FileEntry]:
    if os.path.isdir(path):
        return [_local_entry(p) for p in sorted(_below([path], path))]
    if os.path.exists(path) or not glob.has_magic(path):
        if is_stream(path):
            check_ends(path)
            return [_local_entry(path)]
        with open(path, "rb"):  # says at once, and as an error of its own, that it may not be read
            return [_local_entry(path)]
    there = matches(path)
    found = {p for p in there if not os.path.isdir(p)}
    found.update(_below(there - found, fixed_part(path)))
    if not found:
        raise missing(path)
    return [_local_entry(p) for p in sorted(found)]


def _below(directories: Iterable[str], base: str) -> list[str]:
    return [os.path.join(d, name) for d, names in walk(directories, base) for name in names.files]


def _find_remote(path: str, stores: Stores) -> list[FileEntry]:
    fs, inner = stores.filesystem(path)
    fs.invalidate_cache()
    root = inner.rstrip("/")
    if glob.has_magic(inner) and not fs.exists(inner):
        infos = fs.glob(inner, detail=True)
        root = inner[: min(inner.index(c) for c in "*?[" if c in inner)].rpartition("/")[0]
    elif fs.isdir(inner):
        infos = fs.find(inner, detail=True)
    else:
        return [_remote_entry(path, fs.info(inner))]
    out = []
    for name, info in sorted(infos.items()):
        below = name[len(root) :].strip("/") if name.startswith(root) else name
        if info.get("type") == "directory" or any(map(hidden, below.split("/"))):
            continue
        out.append(_remote_entry(_url(path, name), info))
    if not out and glob.has_magic(inner):
        raise missing(path)
    return out


def _url(path: str, name: str) -> str:
    """Of a file that a file system calls `name`, found at the URL `path`: Azure's have the account behind the container, which is no
    part of names."""
    scheme, _, rest = path.partition("://")
    container, at, account = rest.partition("/")[0].partition("@")
    name = name.lstrip("/")
    if at and name.startswith(f"{container}/"):
        name = f"{container}@{account}{name[len(container) :]}"
    return f"{scheme}://{name}"


def _remote_entry(path: str, info: dict[str, Any]) -> FileEntry:
    modified: Any = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or info.get("created")
    if hasattr(modified, "timestamp"):
        modified = modified.timestamp()
    tag = str(info.get("ETag") or info.get("etag") or "")
    return FileEntry(path, int(info.get("size") or 0), int(float(modified or 0) * 1_000_000), tag)


def open_binary(path: str, stores: Stores = ENVIRONMENT) -> Any:
    """A readable binary file, local or remote, not decompressed. It has the bytes that the file has now."""
    if is_local(path):
        return open(path, "rb")
    fs, inner = stores.filesystem(path)
    fs.invalidate_cache()
    return fs.open(inner, "rb", block_size=READ_AHEAD)


class opened:
    """`with opened(path, byte, stores) as file`: a binary file, decompressed, standing at `byte`.

    `canceled`: it is a stream, and reading it ends when this is set.
    """

    def __init__(
        self, path: str, byte: int, stores: Stores = ENVIRONMENT, canceled: threading.Event | None = None
    ) -> None:
        self._raw = Stream(path, canceled) if canceled is not None else open_binary(path, stores)
        compression = compression_of(path)
        self._file: Any = self._raw
        if compression:
            self._file = pa.CompressedInputStream(pa.PythonFile(self._raw, "r"), compression)
            while byte > 0 and (got := len(self._file.read(min(byte, BLOCK)))):
                byte -= got
        elif byte:
            self._raw.seek(byte)

    def __enter__(self) -> Any:
        return self._file

    def __exit__(self, *exc: object) -> None:
        self._raw.close()
