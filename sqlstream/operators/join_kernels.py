"""Compiled loops of joins and top-N; see `state/kernels.py` for what is common."""

from __future__ import annotations

from sqlstream.state.kernels import I64, kernel, r, w


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
