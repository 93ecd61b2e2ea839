"""The disk of a simulated machine: real files, whose changes are effects that fail, and that a loss of power takes back.

A crash of the process leaves what the system was told. A loss of power leaves what was synced: of files that were not, the
end may be missing; names that were given, moved or taken away may be as before where their directory was not synced.
Times of files are the scheduler's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulated.scheduler import START, Scheduler

FINE, FLAKY, FULL = WEATHERS = ("fine", "flaky", "full")
INPUTS = "in"  # written by the world, which syncs


@dataclass
class _Change:
    """Of names. `before`: what stood where it went, or was taken away."""

    kind: str
    source: str
    target: str
    before: bytes | None


class Disk:
    """All below `root`, for as long as `patched` lasts."""

    def __init__(self, scheduler: Scheduler, root: Path) -> None:
        self.scheduler, self.root = scheduler, root
        self.weather = FINE
        self._copy = root.with_name(root.name + "-copy")
        self._changes: list[_Change] = []
        # By inode: size and time of what was synced. The system gives an inode again, to another file with another time.
        self._synced: dict[int, tuple[int, int]] = {}
        self._real = {n: getattr(os, n) for n in ("replace", "rename", "link", "unlink", "fsync")}

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """os.replace, os.rename, os.link, os.unlink and os.fsync are ours."""
        ours: dict[str, Any] = {
            "replace": self._replace,
            "rename": self._rename,
            "link": self._link,
            "unlink": self._unlink,
            "fsync": self._fsync,
        }
        for name, function in ours.items():
            setattr(os, name, function)
        try:
            yield
        finally:
            for name, function in self._real.items():
                setattr(os, name, function)

    # ---- what the process does

    def _ours(self, path: Any) -> str | None:
        """The path, if the process acts on a file that lasts."""
        s = self.scheduler
        task = s._current
        if task is None or task.outside or task.thread is not threading.current_thread():
            return None
        if not isinstance(path, str | os.PathLike):
            return None
        text = os.path.abspath(os.fspath(path))
        below = text.removeprefix(f"{self.root}/")
        if below == text or "/work/" in below or below.startswith(f"{INPUTS}/"):
            return None
        return text

    def _meet(self, what: str, path: str) -> None:
        s = self.scheduler
        name = os.path.basename(path)
        directory = os.path.basename(os.path.dirname(path))
        shown = f"{directory}/*" if directory == "shared" or name.startswith(".tmp") else f"{directory}/{name}"
        s.effect(f"disk {what} {shown}")
        if self.weather == FULL and what in ("replace", "link", "fsync"):
            s.note(f"disk {what} {shown}: full")
            raise OSError(errno.ENOSPC, "No space left on device", path)
        if self.weather == FLAKY and s.random.random() < 0.05:
            s.note(f"disk {what} {shown}: fails")
            raise OSError(errno.EIO, "Input/output error", path)

    def _stamp(self, path: Any, synced: bool = False) -> None:
        with contextlib.suppress(OSError):
            before = os.stat(path)
            t = int((START + self.scheduler.time) * 1e9)
            os.utime(path, ns=(t, t))
            if synced or self._is_synced(before):
                self._synced[before.st_ino] = (before.st_size, t)

    def _is_synced(self, status: os.stat_result) -> bool:
        return self._synced.get(status.st_ino) == (status.st_size, status.st_mtime_ns)

    def _moved(self, kind: str, source: Any, target: Any, more: dict[str, Any]) -> None:
        real = self._real[kind]
        ours = self._ours(target)
        if ours is None or more:
            real(source, target, **more)
            return
        self._meet(kind, ours)
        before = _bytes(ours)
        real(source, target)
        self._changes.append(_Change(kind, os.path.abspath(os.fspath(source)), ours, before))
        self._stamp(target)

    def _replace(self, source: Any, target: Any, **more: Any) -> None:
        self._moved("replace", source, target, more)

    def _rename(self, source: Any, target: Any, **more: Any) -> None:
        self._moved("rename", source, target, more)

    def _link(self, source: Any, target: Any, **more: Any) -> None:
        self._moved("link", source, target, more)

    def _unlink(self, path: Any, **more: Any) -> None:
        ours = self._ours(path)
        if ours is None or more:
            self._real["unlink"](path, **more)
            return
        name = os.path.basename(ours)
        if not os.path.lexists(ours) or name.startswith(".tmp") or name.endswith(".tmp"):
            self._real["unlink"](path)
            return
        self._meet("unlink", ours)
        before = _bytes(ours)
        self._real["unlink"](path)
        self._changes.append(_Change("unlink", ours, ours, before))

    def _fsync(self, handle: int) -> None:
        ours = self._ours(f"{os.readlink(f'/proc/self/fd/{handle}')}")
        if ours is None:
            return
        status = os.fstat(handle)
        self._meet("fsync", ours)
        if stat.S_ISDIR(status.st_mode):
            self._changes = [c for c in self._changes if os.path.dirname(c.target) != ours]
        else:
            self._stamp(handle, synced=True)

    # ---- what becomes of it

    def set_aside(self, power: bool) -> None:
        """What the next process finds. `power`: it was lost."""
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self.root, self._copy, symlinks=True, ignore=self._not_copied)
        if power:
            self._lose()

    def _not_copied(self, directory: str, names: list[str]) -> list[str]:
        return [INPUTS] if directory == str(self.root) else []

    def _lose(self) -> None:
        random = self.scheduler.random
        for path in sorted(self.root.rglob("*")):
            below = path.relative_to(self.root)
            if not path.is_file() or below.parts[0] == INPUTS or "work" in below.parts:
                continue
            status = path.stat()
            if not self._is_synced(status) and random.random() < 0.5:
                length = random.choice([0, random.randint(0, status.st_size)])
                with open(self._copy / below, "r+b") as file:
                    file.truncate(length)
                self._stamp(self._copy / below)
                self.scheduler.note(f"power: {_shown(below)} was not synced")
        first = random.randint(0, len(self._changes))
        for change in reversed(self._changes[first:]):
            source, target = self._copied(change.source), self._copied(change.target)
            self.scheduler.note(f"power: {change.kind} of {_shown(target.relative_to(self._copy))} is taken back")
            source.parent.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            if change.kind != "unlink" and target.exists():
                if change.kind == "link" or "/work/" in change.source or ".tmp" in source.name:
                    self._real["unlink"](target)
                else:
                    self._real["replace"](target, source)
            if change.before is not None:
                target.write_bytes(change.before)
                self._stamp(target)

    def _copied(self, path: str) -> Path:
        return self._copy / os.path.relpath(path, self.root)

    def put_back(self) -> None:
        """The process is over: the disk is as it was set aside."""
        for path in self.root.iterdir():
            if path.name != INPUTS:
                shutil.rmtree(path)
        for path in self._copy.iterdir():
            self._real["rename"](path, self.root / path.name)
        self._copy.rmdir()
        self._changes, self._synced = [], {}
        for path in self.root.rglob("*"):
            if path.is_file():
                status = path.stat()
                self._synced[status.st_ino] = (status.st_size, status.st_mtime_ns)


def _shown(path: Path) -> str:
    return f"{path.parent}/*" if path.parent.name == "shared" or path.name.startswith(".tmp") else str(path)


def _bytes(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None
