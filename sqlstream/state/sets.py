"""Sets of integers without sorting: slots, places, groups. They lie close together, so that a mark for each number between
the least and the greatest takes less time than what NumPy does (600,000 slots of a window: 2 ms for 390, of 5 M numbers: 4 ms)."""

from __future__ import annotations

import numpy as np

from sqlstream.state.arrays import Array

FEW = 64  # NumPy is as fast
SPARSE = 64  # a mark for each of so many numbers a value, at most


def ascending(values: Array) -> Array:
    """The distinct values, ascending; `values` itself where it is that."""
    if len(values) < FEW:
        return np.unique(values)
    if (values[1:] > values[:-1]).all():
        return np.ascontiguousarray(values)
    low, high = int(values.min()), int(values.max())
    if high - low >= SPARSE * len(values):
        return np.unique(values)
    return np.flatnonzero(_marks(values, low, high)) + low


def numbered(values: Array) -> tuple[Array, Array]:
    """The distinct values, ascending, and for each of `values` its place among them."""
    if len(values) < FEW:
        return np.unique(values, return_inverse=True)
    found = ascending(values)
    if found is values:
        return values, np.arange(len(values))
    low, high = int(found[0]), int(found[-1])
    if high - low >= SPARSE * len(values):
        return found, np.searchsorted(found, values)
    places = np.empty(high - low + 1, np.int64)
    places[found - low] = np.arange(len(found))
    return found, places[values - low]


def among(values: Array, others: Array) -> Array:
    """Which values are among the others, as bool."""
    if len(values) + len(others) < FEW or not len(values) or not len(others):
        return np.isin(values, others)
    low, high = int(others.min()), int(others.max())
    if high - low >= SPARSE * (len(values) + len(others)):
        return np.isin(values, others)
    marks = _marks(others, low, high)
    inside = (values >= low) & (values <= high)
    if inside.all():
        return np.asarray(marks[values - low])
    found = np.zeros(len(values), np.bool_)
    found[inside] = marks[values[inside] - low]
    return found


def _marks(values: Array, low: int, high: int) -> Array:
    """Whether each number from low to high is there."""
    marks = np.zeros(high - low + 1, np.bool_)
    marks[values - low] = True
    return marks
