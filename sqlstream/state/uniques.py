"""Distinct slots of a batch."""

from __future__ import annotations

import numpy as np

from sqlstream.state.arrays import Array, grown
from sqlstream.state.kernel import I64, kernel, r, w


@kernel(I64, r(I64), w(I64), w(I64), w(I64))
def unique_slots(slots, mark, touched, local):  # type: ignore[no-untyped-def]
    """Distinct slots as they first appear, and each row's position among them. `mark`: -1 at every slot."""
    n = 0
    for i in range(len(slots)):
        s = slots[i]
        m = mark[s]
        if m < 0:
            m = n
            mark[s] = n
            touched[n] = s
            n += 1
        local[i] = m
    for i in range(n):
        mark[touched[i]] = -1
    return n


class Uniques:
    """Distinct slots of a batch, without sorting."""

    def __init__(self) -> None:
        self._mark: Array = np.full(256, -1, np.int64)

    def of(self, slots: Array, capacity: int) -> tuple[Array, Array]:
        """Distinct slots in order of appearance, and each row's position among them."""
        if capacity > len(self._mark):
            self._mark = grown(self._mark, capacity, -1)
        touched, local = np.empty(len(slots), np.int64), np.empty(len(slots), np.int64)
        n = unique_slots(slots, self._mark, touched, local)
        return touched[:n].copy(), local
