"""What a job counted over its last minutes: the windows that status and the endpoint show."""

from __future__ import annotations

from collections.abc import Mapping

from sqlstream.metrics.figures import WindowFigures
from sqlstream.metrics.windows import Window
from sqlstream.options import duration_text


class Recent:
    """`window`: µs, of option metrics.window."""

    def __init__(self, window: int) -> None:
        self.text = duration_text(window)
        self._seconds = window / 1e6
        self._counted: dict[str, Window] = {}
        self._others: dict[str, Window] = {}

    def add(self, now: float, counted: Mapping[str, float], others: Mapping[str, float | None]) -> None:
        """What the numbers are now: counters, and others, which are left out while there are none."""
        for of, values in ((self._counted, counted), (self._others, others)):
            for name, value in values.items():
                if value is not None:
                    of.setdefault(name, Window(self._seconds)).add(now, value)

    def grown(self, now: float, name: str) -> int:
        """By how much a counter has grown in the window."""
        return round(self._counted[name].sum(now)) if name in self._counted else 0

    def figures(self, now: float) -> dict[str, WindowFigures]:
        """By name: sum and range of counters, max and range of others."""
        out = {}
        for name, w in self._counted.items():
            out[name] = WindowFigures(self.text, {"sum": w.sum(now), "range": w.range(now)})
        for name, w in self._others.items():
            if (most := w.max(now)) is not None:
                out[name] = WindowFigures(self.text, {"max": most, "range": w.range(now)})
        return out
