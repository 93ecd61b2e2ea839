"""What of a source's splits is there and unread, in one task: sums that are kept as splits are opened and closed, so that looking costs
nothing for those, however many, that nobody has open."""

from __future__ import annotations

from collections.abc import Sequence

from sqlstream.contracts import UNKNOWN, Pending


class Unread:
    """`put` a split that is not open, `take` it when it is."""

    def __init__(self) -> None:
        self._of: dict[str, Pending] = {}
        self._records = self._bytes = 0
        self._no_records = self._no_bytes = 0  # splits of which it is not known
        self._ever = UNKNOWN  # 0 where it was known once: of all splits, when all were read, nothing is left

    def put(self, split: str, pending: Pending) -> None:
        """It was met, or closed with so much behind it."""
        self._of[split] = pending
        self._count(pending, 1)

    def take(self, split: str) -> None:
        """Its reader says itself what is left, or it has gone."""
        if (pending := self._of.pop(split, None)) is not None:
            self._count(pending, -1)

    def total(self, readers: Sequence[Pending]) -> Pending:
        """Of all splits; `readers`: of those that are open."""
        for found in readers:
            self._note(found)
        if not self._of and not readers:
            return self._ever
        closed = Pending(None if self._no_records else self._records, None if self._no_bytes else self._bytes)
        return sum(readers, closed)

    def _count(self, pending: Pending, n: int) -> None:
        self._note(pending)
        self._records += n * (pending.records or 0)
        self._bytes += n * (pending.bytes or 0)
        self._no_records += n * (pending.records is None)
        self._no_bytes += n * (pending.bytes is None)

    def _note(self, pending: Pending) -> None:
        self._ever = Pending(
            0 if pending.records is not None else self._ever.records,
            0 if pending.bytes is not None else self._ever.bytes,
        )
