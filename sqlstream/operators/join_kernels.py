"""Compiled loops of joins and top-N; see `state/words.py` for what is common."""

from __future__ import annotations

import numpy as np

from sqlstream.state.kernel import I64, VOID, helper, kernel, r, w
from sqlstream.state.words import least


@kernel(I64, r(I64), r(I64, 2), w(I64), w(I64))
def first_of(slots, keys, best, first):  # type: ignore[no-untyped-def]
    """The least row of each slot by `keys` (n, m): its number into best[slot], which is -1 before.

    The first row seen of each slot goes into `first`; returns how many slots there are.
    """
    found = 0
    width = keys.shape[1]
    for i in range(slots.size):
        slot = slots[i]
        other = best[slot]
        if other < 0:
            best[slot] = i
            first[found] = i
            found += 1
            continue
        for j in range(width):
            a, b = keys[i, j], keys[other, j]
            if a != b:
                if a < b:
                    best[slot] = i
                break
    return found


@helper
def after(keys, i, j):  # type: ignore[no-untyped-def]
    """Whether row i comes after row j."""
    for k in range(keys.shape[1]):
        a, b = keys[i, k], keys[j, k]
        if a != b:
            return a > b
    return False


@kernel(VOID, r(I64), r(I64, 2), w(I64), w(I64), w(I64))
def sort_groups(group, keys, start, order, other):  # type: ignore[no-untyped-def]
    """`order`: the rows by group (dense numbers), then by `keys` (n, m); rows that are equal keep their order.

    A counting sort by group, then a merge sort of each. `start` (groups + 1) is 0 before; `other` is for merging.
    """
    n = group.size
    for i in range(n):
        start[group[i] + 1] += 1
    for g in range(1, start.size):
        start[g] += start[g - 1]
    for i in range(n):
        order[start[group[i]]] = i
        start[group[i]] += 1
    end = np.int64(0)
    for g in range(start.size - 1):
        begin, end = end, start[g]
        for low in range(begin, end, 16):
            for i in range(low + 1, least(low + 16, end)):
                row, j = order[i], i
                while j > low and after(keys, order[j - 1], row):
                    order[j] = order[j - 1]
                    j -= 1
                order[j] = row
        width = 16
        while width < end - begin:
            for low in range(begin, end, 2 * width):
                middle, high = least(low + width, end), least(low + 2 * width, end)
                i, j = low, middle
                for k in range(low, high):
                    if j >= high or (i < middle and not after(keys, order[i], order[j])):
                        other[k] = order[i]
                        i += 1
                    else:
                        other[k] = order[j]
                        j += 1
            for k in range(begin, end):
                order[k] = other[k]
            width *= 2
