"""Local copies of what checkpoints in a remote store consist of: a restart on the same machine fetches nothing.

A file's name says its hash, so a copy is believed only when that is its content; else it goes, and the store's is
fetched. Copies are never needed: a disk that is full, or a directory that is gone, costs a fetch.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.errors import RunError
from sqlstream.own_files import OwnDirectory
from sqlstream.stores import Stores

COPIES = "copies"
_NAME = re.compile(r"shared/(([0-9a-f]{64})\.[a-z]+)")


class CopyingStorage(CheckpointStorage):
    """`directories`: of the job alone; a file is in one of them, by its name. `say`: takes a warning."""

    def __init__(
        self, url: str, stores: Stores, transfers: int, directories: tuple[Path, ...], say: Callable[[str], object]
    ) -> None:
        super().__init__(url, stores, transfers)
        self._directories, self._say = [OwnDirectory(str(d)) for d in directories], say
        self._failed = False

    def put_file(self, name: str, local: Path) -> None:
        """And keeps a copy, by a second name where that can be."""
        super().put_file(name, local)
        self._keep(name, local)

    def fetch(self, name: str, to: Path) -> None:
        """From the copy, if there is a good one."""
        if not self._take(name, to):
            super().fetch(name, to)
            named = _NAME.fullmatch(name)
            if named is not None and self.hashes.of(to) == named[2]:
                self._keep(name, to)

    def retain(self, names: set[str]) -> None:
        """All copies but those of these files go."""
        kept = {n.rpartition("/")[2] for n in names}
        for directory in self._directories:
            with self._trying(f"delete copies of state files in {directory.root}"):
                for name in os.listdir(directory.root):
                    if name not in kept:
                        directory.remove(name)

    def _keep(self, name: str, local: Path) -> None:
        if (place := self._place(name)) is None:
            return
        directory, file = place
        temporary = f".tmp-{threading.get_ident()}-{file}"
        with self._trying(f"keep a copy of a state file in {directory.root}"):
            os.makedirs(directory.root, exist_ok=True)
            path = directory.place(temporary)
            try:
                directory.remove(temporary)
                try:
                    os.link(local, path)
                except OSError:
                    shutil.copyfile(local, path)
                os.replace(path, directory.place(file))
            finally:
                directory.remove(temporary)  # also where it was the file itself: then replacing does nothing

    def _take(self, name: str, to: Path) -> bool:
        if (place := self._place(name)) is None:
            return False
        directory, file = place
        with self._trying(f"use a copy of a state file in {directory.root}"):
            path = Path(directory.place(file))
            if not path.exists():
                return False
            if self.hashes.of(path) != Path(file).stem:
                directory.remove(file)
                self._say(f"warning: {path}, a copy of a state file, is damaged: fetched again")
                return False
            to.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, to)
            except OSError:
                shutil.copyfile(path, to)
            return True
        return False

    def _place(self, name: str) -> tuple[OwnDirectory, str] | None:
        named = _NAME.fullmatch(name)
        if named is None:
            return None
        return self._directories[int(named[2][:8], 16) % len(self._directories)], named[1]

    @contextlib.contextmanager
    def _trying(self, doing: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            pass
        except (OSError, RunError) as e:
            if not self._failed:
                self._say(f"warning: cannot {doing}: {e}; restarts fetch such files from {self.url}")
            self._failed = True


def copies_of(directory: Path, named: str | None) -> tuple[Path, ...]:
    """Where the copies of a job are: in its directory, or in those that `execution.checkpointing.local-backup.dirs` names."""
    given = [d.strip() for d in (named or "").split(",") if d.strip()]
    mine = f"sqlstream-{hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:16]}"
    return tuple(Path(d) / mine / COPIES for d in dict.fromkeys(given)) or (directory / COPIES,)
