"""Which files stand below a path now, told by what changed since the last look: cheap where nothing did.

A directory is listed again only when its modification time says so, and no file is asked for its state: a listing gives
names and their numbers (inodes) alone. What is passed over says `tree.py`.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sqlstream import stores as remote
from sqlstream.connectors.tree import Names, fixed_part, matches, names_in, walk

RECENT = 2_000_000_000  # ns: a directory changed so shortly before it was listed may change again unseen


@dataclass
class Changes:
    """`appeared`: paths that are new, or name another file than before. `vanished`: paths that are there no more."""

    appeared: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)


@dataclass
class _Directory:
    modified: int
    listed: int
    names: Names
    files: dict[str, int]


class Listing:
    """Of a local `path`: a file, a directory read in depth, or a glob. `say` is told once what cannot be read.

    `entries` counts the names that were looked at (tests and benchmarks count, they do not measure time).
    """

    def __init__(self, path: str, say: Callable[[str], None]) -> None:
        self._path, self._say = path, say
        self._directories: dict[str, _Directory] = {}
        self._loose: dict[str, int] = {}  # files that are looked for by name
        self._unreadable: set[str] = set()
        self.entries = 0

    def look(self) -> Changes:
        """What changed since the last look; the first time all files appear."""
        changes = Changes()
        if os.path.isdir(self._path):
            self._walk({self._path}, self._path, changes)
        elif glob.has_magic(self._path) and not os.path.exists(self._path):
            self._match(changes)
        else:
            self._walk((), self._path, changes)
            self._compare_loose({self._path}, changes)
        changes.appeared.sort()
        return changes

    def _match(self, changes: Changes) -> None:
        above, pattern = os.path.split(self._path)
        if not glob.has_magic(above) and "**" not in pattern:
            self._walk({above}, above, changes, pattern)
            return
        found = matches(self._path, self._names)
        directories = {p for p in found if os.path.isdir(p)}
        self._walk(directories, fixed_part(self._path), changes)
        self._compare_loose({p for p in found - directories if os.path.dirname(p) not in self._directories}, changes)

    def _compare_loose(self, found: set[str], changes: Changes) -> None:
        now: dict[str, int] = {}
        for p in found:
            self.entries += 1
            try:
                now[p] = os.stat(p).st_ino
            except FileNotFoundError:
                continue
        self._compare("", self._loose, now, changes)
        self._loose = now

    def _walk(self, roots: Iterable[str], base: str, changes: Changes, pattern: str | None = None) -> None:
        """Look at the directories `roots`, and in depth. `pattern`: of the names in `base`."""
        reached: set[str] = set()

        def look(directory: str) -> Names | None:
            reached.add(directory)
            found = self._directory(directory, changes, pattern if directory == base else None)
            return None if found is None else found.names

        for _ in walk(roots, base, look):
            continue
        closed = tuple(os.path.join(d, "") for d in self._unreadable)
        for gone in [d for d in self._directories if d not in reached and not os.path.join(d, "").startswith(closed)]:
            self._compare(gone, self._directories.pop(gone).files, {}, changes)

    def _directory(self, path: str, changes: Changes, pattern: str | None) -> _Directory | None:
        """The directory as it is now; None where it cannot be read, or is gone."""
        known = self._directories.get(path)
        try:
            modified = os.stat(path).st_mtime_ns
        except FileNotFoundError:
            return None
        except PermissionError as e:
            self._closed(path, e)
            return None
        if known is None or known.modified != modified or known.listed - known.modified < RECENT:
            listed = time.time_ns()
            names = self._names(path)
            if names is None:
                return None
            names = names if pattern is None else names.like(pattern)
            # a link may lead somewhere later
            nowhere = {n: i for n, i in names.others.items() if not os.path.exists(os.path.join(path, n))}
            now = _Directory(modified, listed, names, {**names.files, **nowhere})
            self._compare(path, {} if known is None else known.files, now.files, changes)
            self._directories[path] = known = now
        return known

    def _names(self, directory: str) -> Names | None:
        try:
            names = names_in(directory)
        except FileNotFoundError:
            return None
        except PermissionError as e:
            self._closed(directory, e)
            return None
        self._unreadable.discard(directory)
        self.entries += len(names.all())
        return names

    def _closed(self, directory: str, e: PermissionError) -> None:
        if directory not in self._unreadable:
            self._unreadable.add(directory)
            reason = remote.reason(e)
            self._say(f"warning: {directory} cannot be read: {reason}; its files are left out until it can")

    def _compare(self, directory: str, before: dict[str, int], now: dict[str, int], changes: Changes) -> None:
        new = now.items() - before.items()
        changes.appeared += [os.path.join(directory, name) for name, _ in new]
        changes.vanished += [os.path.join(directory, name) for name in before.keys() - now.keys()]
