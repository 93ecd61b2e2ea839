"""Which files a `path` option means: a file, a glob, or a directory read in depth, local or any fsspec URL.

Names that begin with `_` or `.` are skipped below the path (staged and hidden files), and files come sorted by
path, so that the order of splits is the same everywhere.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from typing import Any

from sqlstream import stores as remote
from sqlstream.errors import DataError, RunError
from sqlstream.stores import ENVIRONMENT, Stores

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}
READ_AHEAD = 8 * 2**20  # bytes of a remote file that are fetched at once, beyond what was asked for


@dataclass(frozen=True)
class FileEntry:
    """A file: absolute local path or URL, bytes, and modification time in µs since 1970 UTC (0: unknown)."""

    path: str
    size: int
    modified: int


def is_local(path: str) -> bool:
    return "://" not in path


def absolute(path: str, working_directory: str) -> str:
    """A local path made absolute (`file://` taken off), or the URL as it is."""
    if path.startswith("file://"):
        path = path[len("file://") :]
    if not is_local(path):
        return path
    return os.path.normpath(os.path.join(os.path.abspath(working_directory), os.path.expanduser(path)))


def compression_of(path: str) -> str | None:
    return COMPRESSIONS.get(os.path.splitext(path)[1].lower())


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
    if not os.path.isdir(near):
        hint = f"there is no directory '{near}'; {hint}"
    return DataError(f"path '{path}' does not exist", hint=hint)


def _local_entry(path: str) -> FileEntry:
    status = os.stat(path)
    return FileEntry(path, status.st_size, status.st_mtime_ns // 1000)


def _find_local(path: str) -> list[FileEntry]:
    if os.path.isdir(path):
        return [_local_entry(p) for p in sorted(_walk(path))]
    if os.path.exists(path) or not glob.has_magic(path):
        with open(path, "rb"):  # says at once, and as an error of its own, that it may not be read
            return [_local_entry(path)]
    found: set[str] = set()
    for p in glob.glob(path, recursive=True):
        if os.path.basename(p).startswith(("_", ".")):
            continue
        found.update(_walk(p) if os.path.isdir(p) else [p])
    if not found:
        raise missing(path)
    return [_local_entry(p) for p in sorted(found)]


def _walk(directory: str) -> list[str]:
    out = []
    with os.scandir(directory) as entries:
        for e in entries:
            if e.name.startswith(("_", ".")):
                continue
            if e.is_dir():
                out += _walk(e.path)
            elif e.is_file():
                out.append(e.path)
    return out


def _find_remote(path: str, stores: Stores) -> list[FileEntry]:
    fs, inner = stores.filesystem(path)
    fs.invalidate_cache()
    scheme = path.split("://")[0]
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
        if info.get("type") == "directory" or any(part.startswith(("_", ".")) for part in below.split("/")):
            continue
        out.append(_remote_entry(f"{scheme}://{name.lstrip('/')}", info))
    if not out and glob.has_magic(inner):
        raise missing(path)
    return out


def _remote_entry(path: str, info: dict[str, Any]) -> FileEntry:
    modified: Any = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or info.get("created")
    if hasattr(modified, "timestamp"):
        modified = modified.timestamp()
    return FileEntry(path, int(info.get("size") or 0), int(float(modified or 0) * 1_000_000))


def open_binary(path: str, stores: Stores = ENVIRONMENT) -> Any:
    """A readable binary file, local or remote, not decompressed. It has the bytes that the file has now."""
    if is_local(path):
        return open(path, "rb")
    fs, inner = stores.filesystem(path)
    fs.invalidate_cache()
    return fs.open(inner, "rb", block_size=READ_AHEAD)
