"""The files of a growing source, each known by what it is and not by its name.

A file is a device and inode (where there is one), and the digests of its first bytes and of those before the position
to which it was read. So what happens to names costs no rows and doubles none:

- renamed (logrotate): it is the same file; what stands under the old name from now on is a new one;
- cut to nothing and written anew (copytruncate), or replaced by a shorter or another one: the old content has ended, a
  new file begins. Where a new file goes on from what was read of the old one (the copy of copytruncate, an editor's new
  version, a compressed one), it takes its place and is read on from there;
- deleted: it has ended. What was not read of it is lost, and that is said.

A file that cannot grow (an archive, parquet) is the same as long as its size and samples of it are: inodes are used
again. A link is what it leads to, and is asked where it leads.

A new file that begins as one that is still there is left alone for one look, and while it is still being written as a
copy of it, since it may be about to take its place.
`look` is called by whoever needs something, from any thread; it does its work once an interval, at most.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlstream import stores as remote
from sqlstream.connectors.fingerprint import WINDOW, Mark, digest, is_whole, piece, sample
from sqlstream.connectors.listing import Changes, Listing
from sqlstream.connectors.paths import FileEntry, Root, compression_of, find_files, is_local
from sqlstream.contracts import Split
from sqlstream.errors import DataError
from sqlstream.stores import Stores
from sqlstream.threads import lock

PATIENCE = 3  # looks for which a file that vanished may turn up elsewhere
FRESH = 60.0  # seconds after a change in which a file is looked at each time
ROUND = 30.0  # seconds in which all others are looked at once
QUIET = 10.0  # seconds without a change after which a file is no copy that is still being written
SHARE = 0.03  # of the time that looking may take: with very many files it is done less often than asked for

Key = tuple[int, int] | None
T = TypeVar("T")


@dataclass(eq=False)
class WatchedFile:
    """A file as its reader sees it. `version` grows with each change; `path` is None while nobody knows where it is."""

    split: Split
    path: str | None
    key: Key = None
    size: int = 0
    modified: int = 0  # ns; for remote ones with what else tells versions apart
    tag: str = ""
    mark: Mark = Mark()
    version: int = 0
    read_whole: bool = False  # it was one that cannot grow, and was read
    restored: bool = False  # a checkpoint knows it, and it was not found yet
    ended: bool = False  # no more comes than there is
    missed: int = 0  # looks since it vanished
    changed: float = 0.0  # when it was last seen to change
    wake: Callable[[], None] | None = None

    def tell(self) -> None:
        """Something about it is new."""
        self.version += 1
        if self.wake is not None:
            self.wake()


@dataclass
class _Held:
    """A new file that may be about to take another's place: its state when it was found."""

    status: FileEntry
    key: Key
    looks: int = 1
    changed: float | None = None  # when it was last seen to change
    complete: bool = False  # an archive that is whole


class Watch:
    """`root`: the table's files. `interval`: seconds between looks. `clock`: seconds. `appendable`: files of the format may grow.
    `supersedes`: a file holds back no watermark when a later one was begun. `stats`
    counts files that were asked for their state."""

    def __init__(
        self,
        root: Root,
        stores: Stores,
        interval: float,
        clock: Callable[[], float],
        appendable: bool = True,
        supersedes: bool = True,
    ) -> None:
        self._root, self._path, self._stores = root, root.path, stores
        self._interval, self._clock, self._appendable = interval, clock, appendable
        self._lock = lock()
        self._notes: list[str] = []
        self._new: list[Split] = []
        self._listing = Listing(root.path, self._notes.append)
        self._listed: dict[str, FileEntry] = {}  # of a remote path
        self.files: dict[str, WatchedFile] = {}  # by split id
        self._by_path: dict[str, WatchedFile] = {}
        self._by_key: dict[Key, WatchedFile] = {}
        self._names: dict[Key, set[str]] = {}  # further names (hard links) of files
        self._heads: dict[tuple[int, str], int] = {}  # how many files begin so
        self._lengths: dict[int, int] = {}
        self._held: dict[str, _Held] = {}
        self._gone: dict[str, tuple[WatchedFile, tuple[int, str]]] = {}  # by split id, with its head
        self._gone_heads: dict[tuple[int, str], dict[str, WatchedFile]] = {}
        self._restored: dict[str, WatchedFile] = {}  # by path, until they are found
        self._refused: set[str] = set()
        self._dangling: set[str] = set()  # listed, and there is no file: links that lead nowhere, for now
        self._suspects: list[WatchedFile] = []
        self._fresh: dict[str, WatchedFile] = {}
        self._others: deque[WatchedFile] = deque()
        self._next_number = 0
        self._newest = (-1, -1)  # modification time, when it was found, and number of the file that was begun last
        self._supersedes = supersedes
        self._current: dict[str, WatchedFile] = {}  # files that are not superseded
        self._forgotten: list[str] = []
        self._due: float | None = None
        self._last_round = 0.0
        self.stats = 0

    def begin(self, known: Iterable[Split], positions: Mapping[str, Any], finished: Collection[str]) -> None:
        """The files of a checkpoint, each to be found again, wherever it is now; what is not is `new`. Then a look."""
        for split in known:
            info = split.info
            key = (int(info["device"]), int(info["inode"])) if "inode" in info else None
            file = WatchedFile(split, None, key, mark=Mark.of(positions.get(split.id)))
            file.size = max(file.mark.size, 0 if file.mark.byte else int(info["size"]))
            file.restored, file.read_whole = True, split.id in finished
            self.files[split.id] = file
            self._restored[self._root.placed(split)] = file
            self._miss(file)
            self._next_number = max(self._next_number, split.number + 1)
            self._newest = max(self._newest, (int(info["modified"]), split.number))
            self._count_head(file.mark, 1)
            if key is not None:
                self._by_key[key] = file
        self.look()
        self._restored = {}

    def new(self) -> list[Split]:
        """Splits found since this was last called."""
        with self._lock:
            out, self._new = self._new, []
        return out

    def notes(self) -> list[str]:
        """What there is to say since this was last called."""
        with self._lock:
            out = list(self._notes)
            self._notes.clear()
        return out

    def read(self, file: WatchedFile, mark: Mark) -> None:
        """Its reader has come so far."""
        with self._lock:
            self._count_head(file.mark, -1)
            file.mark = mark
            self._count_head(mark, 1)

    def grows(self, path: str) -> bool:
        """Whether rows can be appended to the file: not to an archive, nor to parquet."""
        return self._appendable and compression_of(path) is None

    def opened(self, file: WatchedFile) -> Mark:
        """One that cannot grow is about to be read: the mark of what it is."""
        with self._lock:
            found = None if file.path is None else self._status(file.path)
            if found is not None:
                status = found[0]
                file.mark = replace(
                    file.mark, size=status.size, whole=self._content(status.path, status.size, status.tag)
                )
            return file.mark

    def suspect(self, file: WatchedFile) -> None:
        """Its reader finds other bytes than those that were read."""
        with self._lock:
            self._suspects.append(file)

    def done(self, file: WatchedFile) -> None:
        """Its reader has finished: all is read, or it has ended, and is forgotten."""
        with self._lock:
            file.read_whole = True
            if file.ended:
                self._forget(file)

    def superseded(self, file: WatchedFile) -> bool:
        """Whether a later file was begun since this one was last written to: it does not look as if it went on."""
        modified, number = self._newest
        return self._supersedes and number != file.split.number and file.modified <= modified

    def forgotten(self) -> list[str]:
        """Split ids of files that have ended and were read, since this was last called."""
        with self._lock:
            out, self._forgotten = self._forgotten, []
        return out

    def _forget(self, f: WatchedFile) -> None:
        if self.files.pop(f.split.id, None) is not None:
            self._count_head(f.mark, -1)
            self._current.pop(f.split.id, None)
            self._forgotten.append(f.split.id)

    def look(self) -> None:
        """Once an interval: what is new, what changed, what vanished."""
        if self._due is not None and self._clock() < self._due:
            return
        with self._lock:
            begun = self._clock()
            if self._due is not None and begun < self._due:
                return
            started = time.thread_time()
            with remote.os_errors():
                self._look(begun)
            spent = time.thread_time() - started
            self._due = begun + max(self._interval, spent / SHARE)

    # ---- one look

    def _look(self, now: float) -> None:
        changes = self._changes()
        vanished = [f for p in changes.vanished if (f := self._by_path.get(p)) is not None]
        for path in changes.vanished:
            self._held.pop(path, None)
            for names in [n for n in self._names.values() if path in n]:
                names.discard(path)
        self._dangling.difference_update(changes.vanished)
        asked = sorted({*changes.appeared, *self._refused, *self._dangling} - set(changes.vanished))
        appeared = [(p, s) for p in asked if (s := self._status(p)) is not None]
        for f in vanished:
            self._lose_place(f)
        for path, (_, key) in appeared:
            there = self._by_path.get(path)
            if there is not None and there.key != key:
                self._lose_place(there)
        # Names that files have now, before anything is new: of two that changed places neither is.
        unknown = [
            (path, status, key) for path, (status, key) in appeared if not self._recognised(path, status, key, now)
        ]
        for f in self._suspects:
            self._replace(f, now)
        self._suspects = []
        self._examine(now)
        for path, held in list(self._held.items()):
            if not self._is_being_written(path, held, now):
                held.looks -= 1
            unknown.append((path, held.status, held.key))
        for path, status, key in sorted(unknown, key=lambda u: u[0]):
            self._take_in(path, status, key, now)
        self._give_up()

    def _changes(self) -> Changes:
        if is_local(self._path):
            return self._listing.look()
        try:
            found = {f.path: f for f in find_files(self._path, self._stores)}
        except DataError:
            found = {}
        before, self._listed = self._listed, found
        for path in found.keys() & before.keys():
            f = self._by_path.get(path)
            if f is not None and found[path] != before[path]:
                self._update(f, found[path], self._clock())
        return Changes(sorted(found.keys() - before.keys()), sorted(before.keys() - found.keys()))

    def _status(self, path: str) -> tuple[FileEntry, Key] | None:
        if not is_local(path):
            return self._listed[path], None
        self.stats += 1
        try:
            s = os.stat(path)
            if not stat.S_ISREG(s.st_mode):
                raise FileNotFoundError(
                    path
                )  # a link to a pipe, or to a directory that was not there when it was listed
        except FileNotFoundError:
            self._refused.discard(path)
            self._dangling.add(path)
            return None
        except PermissionError as e:
            if path not in self._refused:
                self._notes.append(f"warning: {path} cannot be read: {remote.reason(e)}; it is left out until it can")
                self._refused.add(path)
            return None
        self._refused.discard(path)
        self._dangling.discard(path)
        return FileEntry(path, s.st_size, s.st_mtime_ns // 1000), (s.st_dev, s.st_ino)

    def _recognised(self, path: str, status: FileEntry, key: Key, now: float) -> bool:
        """Whether the file under a new name is one that is known, under another name or as one of the checkpoint."""
        f = self._by_key.get(key) if key is not None else None
        if f is None:
            return False
        if f.path is not None and f.path != path:
            if (there := self._status(f.path)) is not None and there[1] == key:
                self._names.setdefault(key, set()).add(path)  # one more name of it
                return True
            self._lose_place(f)
        if not self._still(f, path, status):
            self._by_key.pop(key, None)  # the number was given to a new file
            return False
        self._put(f, path, key)
        self._update(f, status, now, force=True)
        return True

    def _still(self, f: WatchedFile, path: str, status: FileEntry) -> bool:
        """Whether what was read of `f` still stands at the beginning of the file at `path`."""
        if not self.grows(path):
            if not f.mark.whole:
                known = (int(f.split.info["size"]), int(f.split.info["modified"]))
                return not f.read_whole or known == (status.size, status.modified)
            if status.size < f.mark.size or self._content(path, f.mark.size, status.tag) != f.mark.whole:
                return False
            if status.size > f.mark.size and f.read_whole and (status.size, status.modified) != (f.size, f.modified):
                self._notes.append(
                    f"warning: {path} grew after it was read: files that are compressed, or of a format with an end, are "
                    "read once, and what was appended to it is left out"
                )
            return True
        try:
            return status.size >= f.mark.byte and (
                not f.mark.size_of_head or f.mark.begins(piece(path, 0, WINDOW, self._stores))
            )
        except FileNotFoundError:
            return False
        except PermissionError:
            return True  # its reader will say so

    def _content(self, path: str, size: int, tag: str) -> str:
        """What tells the content of a file that cannot grow from another's of its size."""
        try:
            return sample(path, size, self._stores) or tag
        except (FileNotFoundError, PermissionError):
            return ""  # its reader will say so

    def _examine(self, now: float) -> None:
        """Asks files for their state: those that changed lately, and of the others those whose turn it is."""
        if not is_local(self._path):
            return
        turn = len(self._others)
        if now - self._last_round < ROUND:
            turn = int(len(self._others) * (now - self._last_round) / ROUND) + 1 if self._others else 0
        self._last_round = now
        others = [self._others.popleft() for _ in range(min(turn, len(self._others)))]
        for f in [*self._fresh.values(), *others]:
            if f.path is None or f.ended or self.files.get(f.split.id) is not f:
                self._fresh.pop(f.split.id, None)
                continue
            found = self._status(f.path)
            if found is not None and found[1] == f.key:
                self._update(f, found[0], now)
            elif (
                f.path not in self._refused
            ):  # replaced just now; or a link that leads elsewhere, which no listing tells
                self._dangling.add(f.path)
                self._lose_place(f)
            if now - f.changed >= FRESH and f.split.id in self._fresh:
                del self._fresh[f.split.id]
                self._others.append(f)
        self._others.extend(f for f in others if f.path is not None and f.split.id not in self._fresh)

    def _update(self, f: WatchedFile, status: FileEntry, now: float, force: bool = False) -> None:
        if not force and (f.size, f.modified, f.tag) == (status.size, status.modified, status.tag):
            return
        assert f.path is not None
        if not self._still(f, f.path, status):
            self._replace(f, now)
            return
        f.size, f.modified, f.tag, f.changed = status.size, status.modified, status.tag, now
        self._fresh[f.split.id] = f
        if not self.superseded(f):
            self._current[f.split.id] = f
        f.tell()

    def _replace(self, f: WatchedFile, now: float) -> None:
        """Its content has ended; what stands in its place is a new file."""
        path, key = f.path, f.key
        if path is None or f.ended:
            return
        self._lose_place(f)
        self._by_key.pop(key, None)
        if (found := self._status(path)) is not None:
            self._held.setdefault(path, _Held(*found, looks=2))

    # ---- what is new

    def _take_in(self, path: str, status: FileEntry, key: Key, now: float) -> None:
        if path in self._by_path:
            return
        try:
            if (heir := self._continues(path, status)) is not None:
                self._held.pop(path, None)
                self._by_key.pop(heir.key, None)
                self._put(heir, path, key)
                self._update(heir, status, now, force=True)
                return
            if self._waits(path, status, key):
                return
        except FileNotFoundError:
            self._held.pop(path, None)
            return
        except PermissionError:
            pass  # its reader will say so
        found = self._status(path)
        self._held.pop(path, None)
        if found is None:
            return
        status, key = found
        number, self._next_number = self._next_number, self._next_number + 1
        split_id = f"{self._root.name(path)}#{number}"  # the name alone may be used again
        info: dict[str, Any] = {**self._root.kept(path), "size": status.size, "modified": status.modified}
        if key is not None:
            info |= {"device": key[0], "inode": key[1]}
        f = WatchedFile(Split(split_id, info, number), None, key)
        self.files[split_id] = f
        self._put(f, path, key)
        self._update(f, status, now, force=True)
        self._new.append(f.split)
        self._newest = max(self._newest, (status.modified, number))
        for other in [c for c in self._current.values() if self.superseded(c)]:
            del self._current[other.split.id]
            other.tell()

    def _continues(self, path: str, status: FileEntry) -> WatchedFile | None:
        """The file that ended, from whose position this one goes on."""
        restored = self._restored.get(path)
        unread = restored is not None and restored.restored and not (self.grows(path) and restored.mark.byte)
        if restored is not None and unread and self._still(restored, path, status):
            return restored
        if not self._gone:
            return None
        try:
            start = piece(path, 0, WINDOW, self._stores)
            for n in sorted({n for n, _ in self._gone_heads}, reverse=True):
                for f in self._gone_heads.get((n, digest(start[:n])), {}).values():
                    if f.mark.stands_in(path, self._stores):
                        return f
        except OSError as e:
            if isinstance(e, FileNotFoundError | PermissionError):
                raise
        return None  # also of an archive that is not whole yet

    def _waits(self, path: str, status: FileEntry, key: Key) -> bool:
        """Whether it is too early to tell whether a file is new: it begins as one that is there or just vanished."""
        held = self._held.get(path)
        if held is not None and held.looks <= 0:
            return False
        if held is None:
            if not self._lengths or (not is_local(path) and not self._gone):
                return False
            try:
                start = piece(path, 0, WINDOW, self._stores)
            except OSError as e:
                if isinstance(e, FileNotFoundError | PermissionError):
                    raise
                start = b""  # an archive that is not whole yet
            alike = any(len(start) >= n and (n, digest(start[:n])) in self._heads for n in self._lengths)
            if status.size and not alike:
                return False
            self._held[path] = _Held(status, key)
        return True

    def _is_being_written(self, path: str, held: _Held, now: float) -> bool:
        """Whether a file that is held is a copy of another that is not complete: an archive that is not whole, or so
        far the beginning of a file that is there. What was not written to for QUIET seconds is as it is."""
        found = self._status(path)
        if found is None:
            return False
        changed = (found[0].size, found[0].modified) != (held.status.size, held.status.modified)
        if changed or held.changed is None:
            held.status, held.key, held.changed, held.complete = *found, now, False
        if held.complete or now - held.changed >= QUIET:
            return False
        try:
            if self.grows(path):
                return self._is_beginning(path, held.status.size, changed)
            held.complete = held.status.size > 0 and is_whole(path, self._stores)
            return True  # if it is whole now, what it was made of goes just now: one more look
        except OSError:
            return False  # one of the files has just gone: the next look sees it

    def _is_beginning(self, path: str, size: int, or_all: bool) -> bool:
        """Whether the file begins as another, and ends (at `size`) as that does there. `or_all`: it may be all."""
        start, end = piece(path, 0, WINDOW, self._stores), piece(path, max(0, size - WINDOW), size, self._stores)
        for f in self.files.values():
            if f.path is None or f.path == path or not self.grows(f.path) or f.size < size + (not or_all):
                continue
            begins = f.mark.size_of_head > 0 and f.mark.begins(start)
            if begins and piece(f.path, max(0, size - WINDOW), size, self._stores) == end:
                return True
        return False

    # ---- where files are

    def _put(self, f: WatchedFile, path: str, key: Key) -> None:
        self._found(f)
        f.path, f.key, f.missed, f.ended, f.restored = path, key, 0, False, False
        self._by_path[path] = f
        if key is not None:
            self._by_key[key] = f

    def _lose_place(self, f: WatchedFile) -> None:
        if f.path is None:
            return
        if self._by_path.get(f.path) is f:
            del self._by_path[f.path]
        f.path = None
        for other in sorted(self._names.pop(f.key, set())):
            if (there := self._status(other)) is not None and there[1] == f.key:
                self._put(f, other, f.key)
                f.tell()
                return
        self._miss(f)

    def _miss(self, f: WatchedFile) -> None:
        head = (f.mark.size_of_head, f.mark.head)
        self._gone[f.split.id] = (f, head)
        if f.mark.byte:
            self._gone_heads.setdefault(head, {})[f.split.id] = f

    def _found(self, f: WatchedFile) -> None:
        _, head = self._gone.pop(f.split.id, (f, (0, "")))
        same = self._gone_heads.get(head, {})
        if same.pop(f.split.id, None) is not None and not same:
            del self._gone_heads[head]

    def _give_up(self) -> None:
        """Files that vanished and turned up nowhere have ended."""
        for f, _ in list(self._gone.values()):
            f.missed += 1
            if f.missed < PATIENCE:
                continue
            self._found(f)
            f.ended = True
            if self._by_key.get(f.key) is f:
                del self._by_key[f.key]
            self._say_lost(f)
            f.tell()
            if f.read_whole:
                self._forget(f)

    def _say_lost(self, f: WatchedFile) -> None:
        """What was not read of a file that has ended."""
        name = self._root.placed(f.split)
        what = f"warning: {name} was deleted or replaced before it was read"
        if not self.grows(name):
            if not f.read_whole:
                self._notes.append(f"{what}: its rows are lost")
        elif f.size > f.mark.byte:
            lost = f"{f.size - f.mark.byte:,} of its {f.size:,} bytes"
            self._notes.append(f"{what} to its end: the last {lost} are lost")

    def _count_head(self, mark: Mark, by: int) -> None:
        if mark.size_of_head:
            _count(self._heads, (mark.size_of_head, mark.head), by)
            _count(self._lengths, mark.size_of_head, by)


def _count(counts: dict[T, int], key: T, by: int) -> None:
    counts[key] = counts.get(key, 0) + by
    if not counts[key]:
        del counts[key]
