"""What a process and the directory of its job hold, over time, and whether that grows."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np


@dataclass
class Measured:
    """At one time (seconds): bytes, or numbers. `tables`: SST files of the running stores."""

    time: float
    memory: float
    disk: float
    handles: float
    threads: float
    tables: float
    files: float
    directories: float

    def text(self) -> str:
        """In one line."""
        return (
            f"memory {self.memory / 2**20:,.0f} MiB, disk {self.disk / 2**20:,.1f} MiB, {self.handles:.0f} handles, "
            f"{self.threads:.0f} threads, {self.tables:.0f} tables, {self.files:.0f} files in {self.directories:.0f} "
            "directories"
        )


WHAT = tuple(f.name for f in fields(Measured) if f.name != "time")
# How much may be added over the time that is looked at: a share, and an amount that is noise.
SHARE = 0.1
ROOM = {
    "memory": 48 << 20,
    "disk": 64 << 20,
    "handles": 24,
    "threads": 2,
    "tables": 64,  # they go up to 120 and down to 25 as folds and compactions come
    "files": 160,
    "directories": 16,
}


def measured(pid: int, directory: Path, time: float) -> Measured | None:
    """None where the process has gone."""
    process = Path(f"/proc/{pid}")
    try:
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        memory, threads = int(status["RssAnon"].split()[0]) * 1024, int(status["Threads"])
        handles = len(os.listdir(process / "fd"))
    except (OSError, KeyError):
        return None
    sizes: dict[int, int] = {}
    tables = files = directories = 0
    for parent, _, names in os.walk(directory):
        directories += 1
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                stat = os.stat(Path(parent) / name)
                sizes[stat.st_ino] = stat.st_blocks * 512
                files += 1
                tables += name.endswith(".sst") and parent.endswith("store")
    return Measured(time, memory, sum(sizes.values()), handles, threads, tables, files, directories)


@dataclass
class Line:
    """A straight line through what was measured: `median`, and what is `added` from the first to the last moment."""

    what: str
    median: float
    added: float

    @property
    def grows(self) -> bool:
        """Whether more is added than noise explains."""
        return self.added > self.median * SHARE + ROOM[self.what]


def lines(seen: Sequence[Measured]) -> list[Line]:
    """One for each thing that is measured, by least squares."""
    times = np.array([m.time for m in seen])
    out = []
    for what in WHAT:
        values = np.array([getattr(m, what) for m in seen], dtype=float)
        slope = np.polyfit(times - times[0], values, 1)[0]
        out.append(Line(what, statistics.median(values), float(slope * (times[-1] - times[0]))))
    return out


def table(name: str, first: Sequence[Measured], then: Sequence[Measured]) -> str:
    """Medians of two times, and the line through the second."""
    minutes = (then[-1].time - then[0].time) / 60
    rows = [f"{name:12}{'median before':>16}{'median':>16}{'a minute':>14}{'in all':>14}{'allowed':>14}"]
    for line in lines(then):
        before = statistics.median(getattr(m, line.what) for m in first)
        allowed = line.median * SHARE + ROOM[line.what]
        unit, form = (2**20, ",.2f") if line.what in ("memory", "disk") else (1, ",.1f")
        name = f"{line.what}{' MiB' if unit > 1 else ''}"
        numbers = (before / unit, line.median / unit)
        moves = (line.added / minutes / unit, line.added / unit, allowed / unit)
        rows.append(f"{name:12}" + "".join(f"{n:16{form}}" for n in numbers) + "".join(f"{n:14{form}}" for n in moves))
    return "\n".join(rows)
