"""What readers of a job's output see, at any time."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


def published(directory: Path) -> list[Path]:
    """The part files that a reader takes, also of partitions, in (checkpoint, subtask, n) order."""
    found = [p for p in _shown(directory) if not p.name.startswith("_")]
    return sorted(found, key=_order)


def successes(directory: Path) -> list[Path]:
    """The success files of partitions."""
    return [p for p in _shown(directory) if p.name == "_SUCCESS"]


def _shown(directory: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(directory):
        folders[:] = [f for f in folders if not f.startswith(("_", "."))]
        found += [Path(parent) / n for n in names if not n.startswith(".")]
    return found


def checkpoint_of(path: Path) -> int:
    """The checkpoint that published a part file."""
    return _order(path)[0]


def _order(path: Path) -> tuple[int, int, int]:
    subtask, checkpoint, n = path.name.split(".")[0].rsplit("-", 3)[1:]
    return int(checkpoint), int(subtask), int(n)


def lines(directory: Path) -> list[str]:
    """All rows; those of a partition behind its name."""
    return [line for p in published(directory) for line in _lines(directory, p, p.read_text())]


def _lines(directory: Path, path: Path, text: str) -> list[str]:
    where = "" if path.parent == directory else f"{path.parent.relative_to(directory)} "
    return [where + line for line in text.splitlines()]


def fold(changes: list[str], where: str = "") -> Counter[str]:
    """The rows that debezium-json lines leave; each delete must meet its row."""
    rows: Counter[str] = Counter()
    for text in changes:
        change = json.loads(text)
        if change["op"] == "c":
            rows[json.dumps(change["after"])] += 1
            continue
        row = json.dumps(change["before"])
        assert rows[row] > 0, f"{where}: {text} takes back a row that is not there"
        rows[row] -= 1
        if not rows[row]:
            del rows[row]
    return rows


@dataclass
class Watcher:
    """Looks at the sinks' directories all the time: what was seen once stays, whole, and is never seen again. A partition
    with a success file has all of its rows."""

    directory: Path
    expected: dict[str, Counter[str]]  # append-only sinks: all rows that there may be
    problems: list[str] = field(default_factory=list)
    _seen: dict[Path, tuple[int, int, str]] = field(default_factory=dict)
    _rows: dict[str, Counter[str]] = field(default_factory=dict)
    _complete: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        self.look()
        for path, (_, _, text) in self._seen.items():
            if path.exists() and path.read_text() != text:
                self.problems.append(f"{path} has changed")

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.look()

    def look(self) -> None:
        there = set()
        complete = [p for name in self.expected for p in successes(self.directory / name) if p not in self._complete]
        for path in [p for d in self.directory.glob("*") for p in published(d)]:
            status = path.stat()
            there.add(path)
            before = self._seen.get(path)
            if before is None:
                self._new(path, status)
            elif (status.st_ino, status.st_size) != before[:2]:
                self.problems.append(f"{path} has changed")
        self.problems += [f"{path} has gone" for path in self._seen.keys() - there]
        for path in complete:
            self._whole(path)

    def _new(self, path: Path, status: os.stat_result) -> None:
        text = path.read_text()
        self._seen[path] = (status.st_ino, status.st_size, text)
        if not text.endswith("\n"):
            self.problems.append(f"{path} was seen before it was whole")
        name = path.relative_to(self.directory).parts[0]
        if name not in self.expected:
            return
        rows = self._rows.setdefault(name, Counter())
        rows.update(_lines(self.directory / name, path, text))
        extra = rows - self.expected[name]
        if extra:
            self.problems.append(f"{path}: rows that should not be there (again): {list(extra)[:3]}")

    def _whole(self, success: Path) -> None:
        """A success file is there, and was before the rows were read that have been seen."""
        self._complete.add(success)
        name, *partition = success.relative_to(self.directory).parts[:-1]
        begin = f"{'/'.join(partition)} "
        wanted, seen = (
            Counter({row: n for row, n in rows.items() if row.startswith(begin)})
            for rows in (self.expected[name], self._rows.get(name, Counter()))
        )
        if wanted - seen:
            self.problems.append(
                f"{success.parent} is said to be complete, and has {seen.total()} of {wanted.total()} rows"
            )
