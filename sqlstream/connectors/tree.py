"""Local files below a directory, and those that match a glob, each directory once.

Links to directories are followed, but none that leads up, and none to a directory that was met before: with them a tree
would have no end, or each file many names. So a file has the name without links where it has one. Names that begin with
`_` or `.` are passed over where they are not spelled out.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

_ANY_DEPTH = "**"


@dataclass(frozen=True)
class Names:
    """What is in a directory: names with their inodes of files and of what is none (pipes, links that lead nowhere); names of
    directories, and of links to directories."""

    files: Mapping[str, int]
    others: Mapping[str, int]
    directories: Sequence[str]
    links: Sequence[str]

    def all(self) -> list[str]:
        """Whatever they name."""
        return [*self.files, *self.others, *self.directories, *self.links]

    def like(self, pattern: str) -> Names:
        """Those that match a pattern of a shell's."""
        files, others, directories, links = (
            [n for n in names if fnmatch.fnmatchcase(n, pattern)]
            for names in (self.files, self.others, self.directories, self.links)
        )
        return Names({n: self.files[n] for n in files}, {n: self.others[n] for n in others}, directories, links)


Look = Callable[[str], Names | None]


def hidden(name: str) -> bool:
    """Whether files and directories of this name are passed over."""
    return name.startswith(("_", "."))


def fixed_part(path: str) -> str:
    """The directory that a path begins with, before its first wildcard; the path itself where it has none."""
    before = re.split(r"[*?\[]", path, maxsplit=1)[0]
    return path if before == path else before.rpartition("/")[0] or path[:1]


def names_in(directory: str) -> Names:
    """What is in a directory now. OSError where that cannot be told."""
    files: dict[str, int] = {}
    others: dict[str, int] = {}
    directories: list[str] = []
    links: list[str] = []
    with os.scandir(directory) as entries:
        for e in sorted(entries, key=lambda e: e.name):
            if hidden(e.name):
                continue
            if e.is_dir():
                (links if e.is_symlink() else directories).append(e.name)
            else:
                (files if e.is_file() else others)[e.name] = e.inode()
    return Names(files, others, directories, links)


def walk(roots: Iterable[str], base: str, look: Look = names_in) -> Iterator[tuple[str, Names]]:
    """The directories `roots` (at or below `base`) and all in them, each once, with what `look` says is in it (None: it
    cannot be read). Links come last, so that what has a name of its own has that."""
    met = _above(base)
    first, then = _by_link(roots, base)
    own, linked = deque(first), deque(then)
    while own or linked:
        directory = own.popleft() if own else linked.popleft()
        if (place := _place(directory)) in met:
            continue
        met.add(place)
        if (names := look(directory)) is not None:
            yield directory, names
            own.extend(os.path.join(directory, n) for n in names.directories)
            links = (os.path.join(directory, n) for n in names.links)
            linked.extend(link for link in links if not _leads_up(link))


def matches(pattern: str, look: Look = names_in) -> set[str]:
    """The files and directories that match an absolute glob, as of a shell; `**` is any number of directories."""
    base = fixed_part(pattern)
    found = {base} if os.path.isdir(base) else set()
    for part in os.path.relpath(pattern, base).split("/"):
        directories = _once({p for p in found if os.path.isdir(p)}, base)
        if part == _ANY_DEPTH:
            found = {directory for directory, _ in walk(directories, base, look)}
        elif glob.has_magic(part):
            found = {
                os.path.join(d, n)
                for d in directories
                if (names := look(d)) is not None
                for n in names.like(part).all()
            }
        else:
            found = {p for d in directories if os.path.lexists(p := os.path.join(d, part))}
    return found


def _once(directories: Iterable[str], base: str) -> list[str]:
    """Without those that are another's, or lead up."""
    met, out = _above(base), []
    for group in _by_link(directories, base):
        for directory in group:
            if (place := _place(directory)) not in met:
                met.add(place)
                out.append(directory)
    return out


def _by_link(directories: Iterable[str], base: str) -> tuple[list[str], list[str]]:
    """Those that are below `base` without a link, and the others but for such that lead up."""
    real = os.path.realpath(base)
    own: list[str] = []
    linked: list[str] = []
    for d in sorted(directories):
        here = os.path.normpath(os.path.join(real, os.path.relpath(d, base)))
        if os.path.realpath(d) == here:
            own.append(d)
        elif not _leads_up(d):
            linked.append(d)
    return own, linked


def _leads_up(link: str) -> bool:
    """Whether it is a name of a directory that it is in."""
    place, to = os.path.realpath(os.path.dirname(link)), os.path.realpath(link)
    return os.path.join(place, "").startswith(os.path.join(to, ""))


def _above(directory: str) -> set[tuple[int, int] | str]:
    """The directories that this one is in."""
    out: set[tuple[int, int] | str] = set()
    at = os.path.realpath(directory)
    while at != (at := os.path.dirname(at)):
        out.add(_place(at))
    return out


def _place(directory: str) -> tuple[int, int] | str:
    """What tells whether two names are one directory's; the name where it cannot be asked."""
    try:
        status = os.stat(directory)
    except OSError:
        return directory
    return status.st_dev, status.st_ino
