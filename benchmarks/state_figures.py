"""What the parts of `state.py` are told and what they give."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import reports


class Failed(Exception):
    """A run that gave no figures, in words for the report."""


@dataclass(frozen=True)
class Sizes:
    """`scale` 1 is what the goals are about. Memory shrinks with state, but for what an empty job needs anyway."""

    scale: float
    checkpoint_seconds: float
    fold_seconds: float
    timeout: float

    def of(self, full: int) -> int:
        """So many, at this scale."""
        return max(int(full * self.scale), 1000)

    @property
    def managed_mb(self) -> int:
        """`taskmanager.memory.managed.size` of jobs whose state does not fit."""
        return max(int(512 * self.scale), 1)

    @property
    def group_bytes(self) -> int:
        """What the control group of such a job may use."""
        return 400_000_000 + int(800_000_000 * self.scale)


@dataclass(frozen=True)
class Setting:
    """Where one run takes place: a backend, and a directory of its own that is removed afterwards."""

    backend: str
    scratch: Path
    sizes: Sizes

    def options(self, checkpoint_seconds: float, fold_seconds: float | None = None) -> dict[str, str]:
        """Session options of a durable job whose files are in the scratch directory.

        `fold_seconds`: how often RocksDB takes the changelog in, where that matters to the figure.
        """
        given = {
            "execution.checkpointing.interval": f"{checkpoint_seconds * 1000:.0f} ms",
            "execution.checkpointing.dir": str(self.scratch),
            "pipeline.name": "measured",
            "state.backend.type": self.backend,
        }
        if fold_seconds is not None and self.backend == "rocksdb":
            given["state.changelog.periodic-materialize.interval"] = f"{fold_seconds * 1000:.0f} ms"
        return given

    def inside(self, name: str) -> Setting:
        """The same in a new directory below this one's."""
        place = self.scratch / name
        place.mkdir()
        return replace(self, scratch=place)


@dataclass(frozen=True)
class Figure:
    """One measured value; a run may give several of a name. `goal`: what it should be at least, or (`most`) at most."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    most: bool = False

    def met(self, value: float) -> bool | None:
        """Whether `value` reaches the goal; None without one."""
        return None if self.goal is None else value <= self.goal if self.most else value >= self.goal


@dataclass
class Part:
    """The figures of all runs of a part, by backend; `failures`: what went wrong, by backend."""

    runs: dict[str, list[list[Figure]]]
    failures: dict[str, str]

    def medians(self) -> dict[str, dict[str, tuple[Figure, float]]]:
        """By figure, in the order in which they were measured, and backend: one of the figures and the median."""
        found: dict[str, dict[str, list[Figure]]] = {}
        for backend, runs in self.runs.items():
            for figure in (f for run in runs for f in run):
                found.setdefault(figure.name, {}).setdefault(backend, []).append(figure)
        return {
            name: {b: (fs[0], statistics.median(f.value for f in fs)) for b, fs in by.items()}
            for name, by in found.items()
        }


def table(part: Part, backends: Sequence[str], peers: Sequence[str] = ()) -> str:
    """A line a figure: its value on each backend and of each peer, the goal, and whether the last backend that has it
    reaches it."""
    if not any(part.runs.values()):
        return "nothing was measured"
    rows = []
    for name, by in part.medians().items():
        some = next(iter(by.values()))[0]
        cells = [shown(by[b][1]) if b in by else "-" for b in (*backends, *peers)]
        last = next((by[b] for b in reversed(backends) if b in by), None)
        met = last and last[0].met(last[1])
        goal = "" if some.goal is None else f"{'≤' if some.most else '≥'} {shown(some.goal)}"
        rows.append([name, some.unit, *cells, goal, "" if met is None else "met" if met else "missed"])
    return reports.table(["", "unit", *backends, *peers, "goal", "which is"], rows)


def shown(value: float) -> str:
    """Three digits, or all those before the point."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 or value == 0 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed. Failed: there is none."""
    if not values:
        raise Failed("nothing was measured: the run was too short")
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
