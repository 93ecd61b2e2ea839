"""Where the rows of an edge lie when a job has several tasks: what a shuffle makes, and what makes one needless."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Rows lie in the task that has the key group of some columns. No columns: all rows in the task of group 0.

    `columns[i]`: the positions that hold the i-th of these values; there are several where a join made them equal.
    """

    columns: tuple[frozenset[int], ...]

    @staticmethod
    def by(keys: tuple[int, ...]) -> Spread:
        """What an exchange by `keys` makes."""
        return Spread(tuple(frozenset((k,)) for k in keys))

    def meets(self, keys: tuple[int, ...]) -> bool:
        """Whether an exchange by `keys` would leave every row where it is. (The key group of two columns depends on
        their order, and so does the state of who reads them.)"""
        return len(keys) == len(self.columns) and all(k in c for k, c in zip(keys, self.columns, strict=True))

    def moved(self, places: Callable[[int], Iterable[int]]) -> Spread | None:
        """After columns moved: `places` gives all new positions of one. None when a value is in no column any more."""
        columns = tuple(frozenset(p for c in same for p in places(c)) for same in self.columns)
        return Spread(columns) if all(columns) else None

    def joined(self, other: Spread) -> Spread:
        """Of rows whose columns are equal here and there."""
        return Spread(tuple(a | b for a, b in zip(self.columns, other.columns, strict=True)))

    def common(self, other: Spread) -> Spread | None:
        """Of the rows of two edges together."""
        if len(self.columns) != len(other.columns):
            return None
        columns = tuple(a & b for a, b in zip(self.columns, other.columns, strict=True))
        return Spread(columns) if all(columns) else None


def places_in(columns: Iterable[int | None]) -> Callable[[int], list[int]]:
    """For `moved`: output column i is the input column `columns[i]` (None or below 0: a new one)."""
    where: dict[int, list[int]] = {}
    for i, c in enumerate(columns):
        if c is not None:
            where.setdefault(c, []).append(i)
    return lambda c: where.get(c, [])
