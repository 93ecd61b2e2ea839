"""Which files a `path` option means: a file, a glob, or a directory read in depth, local or any fsspec URL.

Names that begin with `_` or `.` are skipped below the path (staged and hidden files), and files come sorted by
path, so that the order of splits is the same everywhere.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from sqlstream.errors import DataError, OptionError, RunError

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}


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


def filesystem(path: str) -> tuple[Any, str]:
    """The fsspec filesystem of a URL and the path within it."""
    try:
        return url_to_fs(path)  # type: ignore[no-any-return]
    except (ImportError, ValueError) as e:
        raise OptionError(
            f"path '{path}': {e}", hint="install the package that serves this scheme, e.g. s3fs for s3://"
        ) from e
    except OSError as e:  # some connect at once
        raise RunError(f"path '{path}' cannot be reached: {e.strerror or e}") from e


def find_files(path: str) -> list[FileEntry]:
    """The files of `path` (as `absolute` gave it), sorted. DataError when there is nothing of that name."""
    try:
        return _find_local(path) if is_local(path) else _find_remote(path)
    except PermissionError as e:
        raise DataError(f"path '{path}' cannot be read: {e.strerror or e}", hint="check its permissions") from e
    except FileNotFoundError as e:
        raise missing(path) from e
    except OSError as e:
        raise RunError(f"path '{path}' cannot be listed: {e.strerror or e}") from e


def missing(path: str) -> DataError:
    if glob.has_magic(path):
        return DataError(f"no file matches '{path}'", hint="the path may be a file, a directory or a glob")
    near = os.path.dirname(path)
    hint = "relative paths start at the directory the session was started in"
    if is_local(path) and not os.path.isdir(near):
        hint = f"there is no directory '{near}'; {hint}"
    return DataError(f"path '{path}' does not exist", hint=hint)


def entry(path: str) -> FileEntry:
    """The file's size and time now. FileNotFoundError when it is gone."""
    if is_local(path):
        status = os.stat(path)
        return FileEntry(path, status.st_size, status.st_mtime_ns // 1000)
    fs, inner = filesystem(path)
    return _remote_entry(path, fs.info(inner))


def _find_local(path: str) -> list[FileEntry]:
    if os.path.isdir(path):
        return [entry(p) for p in sorted(_walk(path))]
    if os.path.exists(path) or not glob.has_magic(path):
        with open(path, "rb"):  # says at once, and as an error of its own, that it may not be read
            return [entry(path)]
    found: set[str] = set()
    for p in glob.glob(path, recursive=True):
        if os.path.basename(p).startswith(("_", ".")):
            continue
        found.update(_walk(p) if os.path.isdir(p) else [p])
    if not found:
        raise missing(path)
    return [entry(p) for p in sorted(found)]


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


def _find_remote(path: str) -> list[FileEntry]:
    fs, inner = filesystem(path)
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


def open_binary(path: str) -> Any:
    """A readable binary file, local or remote, not decompressed."""
    return open(path, "rb") if is_local(path) else fsspec.open(path, "rb").open()
