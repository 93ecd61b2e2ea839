"""Numbers over the last seconds: what was counted in them, and what they were between. Bounded, whatever is looked at."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

PARTS = 60  # of a window
SPAN, STEP = 60.0, 5.0  # seconds, of a rate, as Flink's meters


@dataclass
class _Part:
    """Of a window: by its number. `grown`: what the counter has grown by in it."""

    number: int
    grown: float
    low: float
    high: float


class Window:
    """A number that is looked at now and then: over the last `seconds`, to a sixtieth of them.

    `sum`: what it has grown by, of a counter. `range`: its greatest value in the window less its least one; a counter's
    growth before the first look in the window is in the sum, and not in the range.
    """

    def __init__(self, seconds: float) -> None:
        self._width = seconds / PARTS
        self._parts: deque[_Part] = deque()
        self._last: float | None = None

    def add(self, now: float, value: float) -> None:
        """What it is now, by a clock that is never set back. A counter that is less than it was grows from there."""
        grown = 0.0 if self._last is None else max(value - self._last, 0.0)
        self._last = value
        number = int(now / self._width)
        self._forget(now)
        if self._parts and self._parts[-1].number == number:
            part = self._parts[-1]
            part.grown += grown
            part.low, part.high = min(part.low, value), max(part.high, value)
        else:
            self._parts.append(_Part(number, grown, value, value))

    def sum(self, now: float) -> float:
        """What the counter has grown by."""
        self._forget(now)
        return sum(p.grown for p in self._parts)

    def range(self, now: float) -> float:
        """The greatest value less the least one; 0 when it was not looked at."""
        self._forget(now)
        return max(p.high for p in self._parts) - min(p.low for p in self._parts) if self._parts else 0.0

    def max(self, now: float) -> float | None:
        """The greatest value; None when it was not looked at."""
        self._forget(now)
        return max((p.high for p in self._parts), default=None)

    def _forget(self, now: float) -> None:
        oldest = int(now / self._width) - PARTS
        while self._parts and self._parts[0].number <= oldest:
            self._parts.popleft()


class Rate:
    """How fast a counter grows: a second, over the last minute or since the time `began`, when it was 0."""

    def __init__(self, began: float) -> None:
        self._seen: deque[tuple[float, float]] = deque([(began, 0.0)])

    def add(self, now: float, value: float) -> None:
        """What it is now; looks that follow another one soon are left out."""
        if now - self._seen[-1][0] < STEP:
            return
        self._seen.append((now, value))
        while now - self._seen[0][0] > SPAN:
            self._seen.popleft()

    def at(self, now: float, value: float) -> float:
        """The rate now, where the counter is `value`."""
        then, before = self._seen[0]
        return (value - before) / (now - then) if now > then else 0.0
