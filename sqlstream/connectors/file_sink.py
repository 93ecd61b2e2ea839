"""Rows as files, exactly once.

A task writes part files under `<path>/_staging/<job>/`, which readers skip. `prepare` closes and syncs them; the
committables name each staged file and where it will be published: `<path>/part-<job>-<run>-<subtask>-<checkpoint>-<n>`.
`commit` publishes by rename (on object stores by copy, then delete) and may be called again: what is published
already is left alone. Nobody ever changes a published file. `clean` removes this run's staged leftovers, and not those
of its job: jobs of one name may write here from several places.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa

from sqlstream import stores as remote
from sqlstream.connectors.base import Sink, SinkCommitter, SinkTask, SinkWriter, TableContext
from sqlstream.connectors.paths import is_local
from sqlstream.errors import RunError
from sqlstream.formats.base import Encoder, Format, Part
from sqlstream.secrets import redacted
from sqlstream.stores import ENVIRONMENT, Stores

STAGING = "_staging"
ENCODE_ROWS = 32_768  # rows gathered before they are encoded: small batches cost as much as large ones


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
        self._fs: Any = None if self.local else stores.filesystem(root)[0]

    def path(self, *names: str) -> str:
        return "/".join((self.root, *names))

    def create(self, path: str) -> IO[bytes]:
        if self.local:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return open(path, "xb")
        return self._fs.open(path, "wb")  # type: ignore[no-any-return]

    def exists(self, path: str) -> bool:
        return os.path.exists(path) if self.local else bool(self._fs.exists(path))

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path) if self.local else self._fs.rm_file(path)

    def publish(self, staged: str, final: str) -> None:
        """Make `staged` appear as `final`; done already is fine. FileNotFoundError when neither is there."""
        if self.exists(final):
            self.remove(staged)
        elif self.local:
            os.rename(staged, final)
            self._sync_directory(os.path.dirname(final))
        else:
            self._fs.cp_file(staged, final)
            self.remove(staged)

    def names(self, directory: str) -> list[str]:
        try:
            if self.local:
                return sorted(os.listdir(directory))
            self._fs.invalidate_cache()
            return sorted(n.rstrip("/").rpartition("/")[2] for n in self._fs.ls(directory, detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _sync_directory(self, directory: str) -> None:
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@dataclass(frozen=True)
class FileSink(Sink):
    table: TableContext
    options: Mapping[str, Any]
    path: str
    format: Format

    @property
    def changelog(self) -> bool:  # type: ignore[override]
        return self.format.changelog

    def writer(self, task: SinkTask) -> SinkWriter:
        return FileWriter(self, task)

    def committer(self, task: SinkTask) -> SinkCommitter:
        return FileCommitter(self, task)


class FileWriter(SinkWriter):
    def __init__(self, sink: FileSink, task: SinkTask) -> None:
        self._task = task
        self._store = Store(sink.path, sink.table.stores)
        self._encoder: Encoder = sink.format.encoder(sink.table, sink.options)
        self._extension = sink.format.extension
        self._limit: int = sink.options["sink.rolling-policy.file-size"]
        self._number = 0
        self._file: IO[bytes] | None = None
        self._part: Part | None = None
        self._staged = ""
        self._closed: list[str] = []
        self._batches: list[pa.RecordBatch] = []
        self._kinds: list[np.ndarray | None] = []
        self._rows = 0

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        if not batch.num_rows:
            return
        self._batches.append(batch)
        self._kinds.append(kinds)
        self._rows += batch.num_rows
        if self._rows >= ENCODE_ROWS:
            self._encode()

    def prepare(self, checkpoint: int) -> list[dict[str, Any]]:
        self._encode()
        self._finish_part()
        out = []
        for n, staged in enumerate(self._closed):
            name = f"part-{safe(self._task.job)}-{safe(self._task.run)}-{self._task.subtask}-{checkpoint}-{n}"
            final = self._store.path(f"{name}.{self._extension}")
            out.append({"staged": redacted(staged), "final": redacted(final)})
        self._closed = []
        return out

    def close(self) -> None:
        """Staged parts that no checkpoint knows are removed."""
        self._batches, self._kinds, self._rows = [], [], 0
        self._discard_part()
        for staged in self._closed:
            with contextlib.suppress(OSError):
                self._store.remove(staged)
        self._closed = []

    def _encode(self) -> None:
        if not self._rows:
            return
        batch = self._batches[0] if len(self._batches) == 1 else pa.concat_batches(self._batches)
        kinds = None
        if any(k is not None for k in self._kinds):
            kinds = np.concatenate(
                [
                    np.zeros(b.num_rows, np.int8) if k is None else k
                    for b, k in zip(self._batches, self._kinds, strict=True)
                ]
            )
        self._batches, self._kinds, self._rows = [], [], 0
        try:
            with reported(self._staged or self._store.root, "write"):
                if self._part is None:
                    self._open_part()
                assert self._part is not None and self._file is not None
                self._part.write(batch, kinds)
                full = self._file.tell() >= self._limit
        except RunError:
            self._discard_part()
            raise
        if full:
            self._finish_part()

    def _open_part(self) -> None:
        name = f"part-{safe(self._task.run)}-{self._task.subtask}-{self._number}.{self._extension}"
        self._number += 1
        self._staged = self._store.path(STAGING, safe(self._task.job), name)
        self._file = self._store.create(self._staged)
        self._part = self._encoder.part(self._file)

    def _finish_part(self) -> None:
        if self._part is None or self._file is None:
            return
        try:
            with reported(self._staged, "write"):
                self._part.finish()
                self._file.flush()
                if self._store.local:
                    os.fsync(self._file.fileno())
                self._file.close()
        except RunError:
            self._discard_part()
            raise
        self._closed.append(self._staged)
        self._part = self._file = None

    def _discard_part(self) -> None:
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._store.remove(self._staged)
        self._part = self._file = None


class FileCommitter(SinkCommitter):
    def __init__(self, sink: FileSink, task: SinkTask) -> None:
        self._task = task
        self._store = Store(sink.path, sink.table.stores)
        self._staging = self._store.path(STAGING, safe(task.job))
        self._prefix = f"part-{safe(task.run)}"

    def commit(self, committables: list[dict[str, Any]]) -> None:
        for c in committables:
            try:
                with reported(c["final"], "publish the file"):
                    self._store.publish(self._own(c["staged"]), self._own(c["final"]))
            except RunError as e:
                if isinstance(e.__cause__, FileNotFoundError):
                    raise RunError(
                        f"{c['staged']} is gone, and {c['final']} is not published",
                        hint="somebody removed files under _staging; the rows of this checkpoint are lost in the sink",
                    ) from e
                raise

    def _own(self, path: str) -> str:
        """A path of a committable, which goes into manifests, with the password that the sink's own path has."""
        shown = redacted(self._store.root)
        return self._store.root + path[len(shown) :] if path.startswith(shown) else path

    def published(self, after: int) -> list[str]:
        name = re.compile(re.escape(f"part-{safe(self._task.job)}-{safe(self._task.run)}-") + r"\d+-(\d+)-\d+\..*")
        with reported(self._store.root, "list the directory"):
            found = [(m, n) for n in self._store.names(self._store.root) if (m := name.fullmatch(n))]
        return [self._store.path(n) for m, n in found if int(m[1]) > after]

    def clean(self, keep: list[dict[str, Any]]) -> None:
        kept = {self._own(c["staged"]) for c in keep}
        with reported(self._staging, "remove staged files"):
            for name in self._store.names(self._staging):
                path = f"{self._staging}/{name}"
                if path not in kept and name.startswith(self._prefix):
                    self._store.remove(path)


def safe(name: str) -> str:
    """`name` as a part of a file name; different names stay different."""
    return re.sub(r"[^A-Za-z0-9.]", lambda m: "_" if m.group() == "_" else f"~{ord(m.group()):x}", name)
