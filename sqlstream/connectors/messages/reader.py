"""One split of messages, read ahead and decoded on a thread of its own. A position is where the next message stands, such as
{"offset": 7}, and {"skip": how many of its rows were taken}."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sqlstream.connectors.decode_ahead import DecodeAhead
from sqlstream.connectors.messages.decoder import MessageDecoder, Piece
from sqlstream.connectors.messages.messages import Messages
from sqlstream.contracts import UNKNOWN, BadRecord, Pending, SourceBatch, SplitReader
from sqlstream.errors import InternalError

WAIT = 0.1  # s that a thread waits for messages before it looks whether it is still wanted
SOON = 0.02  # s that a poll waits for what is being decoded
# s that it waits where the end is waited for: no longer, for somebody may want to stop while no broker answers.
AWHILE = 0.1


class Feed:
    """Where the messages of a split come from. But for `stop_waiting` for one thread at a time.

    `at_end`: nothing more will be taken; of a split that ends alone.
    """

    at_end: bool = False

    @property
    def following(self) -> dict[str, Any]:
        """Where reading goes on behind what was taken, JSON-able."""
        raise InternalError("Feed.following")

    @property
    def left(self) -> int | None:
        """How many messages are there behind what was taken, as the server has said it last; None: it does not say. From any thread."""
        return None

    def take(self) -> Messages | None:
        """Messages that are there, or come within WAIT seconds; None: there are none. Of none at all where only `following`
        went on. Raises what ends the job."""
        raise InternalError("Feed.take")

    def stop_waiting(self) -> None:
        """From any thread: `take` gives what it has."""

    def close(self) -> None:
        """It is read no further."""


@dataclass
class _Rows:
    """Rows that nobody has taken yet: those of `piece` from `taken` on. `end`: the split is at its end behind them; `error`: what
    stands in place of rows."""

    piece: Piece | None
    following: dict[str, Any]
    fetched: int = 0  # when, µs since 1970
    taken: int = 0
    refused: int = 0  # malformed messages that were handed over
    end: bool = False
    error: Exception | None = None

    @property
    def left(self) -> int:
        """How many."""
        return 0 if self.piece is None else self.piece.batch.num_rows - self.taken


class MessageReader(SplitReader):
    """`ends`: the split has an end, which is waited for. `close_client` is called when it is done with."""

    def __init__(
        self,
        feed: Feed,
        decoder: MessageDecoder,
        position: Any,
        first_row: int,
        ends: bool = False,
        close_client: Callable[[], None] = lambda: None,
    ) -> None:
        self._feed, self._decoder, self._close_client = feed, decoder, close_client
        self._row, self._skip = first_row, int((position or {}).get("skip", 0))
        self._patience = AWHILE if ends else SOON
        self._closing = self._finished = False
        self._now: _Rows | None = None
        self._wake: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._bytes = self._fetched = self._given = (
            0  # of messages whose rows were given; how many came, and were given
        )
        self._ahead: DecodeAhead[_Rows] = DecodeAhead(self._decoded(), depth=2)

    # ---- on the thread

    def _decoded(self) -> Iterator[_Rows]:
        """An error is handed over as rows are: who rests is woken by it, too."""
        try:
            for rows in self._taken_in():
                yield rows
                self._woken()  # what was yielded can be taken now
        except Exception as e:
            yield _Rows(None, self._feed.following, error=e)
            self._woken()

    def _taken_in(self) -> Iterator[_Rows]:
        feed = self._feed
        if feed.at_end:
            yield _Rows(None, feed.following, end=True)
            return
        while not self._closing:
            messages = feed.take()
            if messages is not None or feed.at_end:
                now = time.time_ns() // 1000
                piece = None if messages is None else self._decoder.decode(messages)
                self._fetched += 0 if messages is None else len(messages)
                yield _Rows(piece, feed.following, now, end=feed.at_end)
            if feed.at_end:
                return

    def _woken(self) -> None:
        with self._lock:
            wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    # ---- on the task's

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def skipped_records(self) -> int:
        return self._decoder.skipped

    @property
    def bytes_read(self) -> int:
        return self._bytes

    @property
    def pending(self) -> Pending:
        left = self._feed.left
        return UNKNOWN if left is None else Pending(left + self._fetched - self._given)

    def rest(self, wake: Callable[[], None]) -> bool:
        if self._now is not None or self._finished:
            return False
        with self._lock:
            self._wake = wake
        if self._ahead.waiting:
            self._woken()
        return True

    def poll(self, max_rows: int) -> SourceBatch | None:
        if self._finished:
            return None
        if self._now is None:
            self._now = self._next()
            if self._now is None:
                return None
        return self._taken(self._now, max_rows)

    def _next(self) -> _Rows | None:
        """What comes next, which may be a place further on without rows; the end is taken note of."""
        while (rows := self._ahead.next(self._patience)) is not None:
            if rows.error is not None:
                raise rows.error
            self._skipped(rows)
            if rows.piece is not None:
                return rows
            if rows.end:
                self._finished = True
                return None
        return None

    def _skipped(self, rows: _Rows) -> None:
        """Rows of the first message that an earlier reader has taken."""
        if self._skip and rows.piece is not None and rows.left:
            rows.taken = min(self._skip, int(np.searchsorted(rows.piece.of, rows.piece.of[0], "right")))
            self._skip = 0

    def _taken(self, rows: _Rows, most: int) -> SourceBatch:
        piece = rows.piece
        assert piece is not None
        n = min(most, rows.left)
        begin, end = rows.taken, rows.taken + n
        rows.taken = end
        bad = self._bad(rows, piece, end)
        whole = end == piece.batch.num_rows
        if whole:
            self._now = None
            self._finished = rows.end
            position: Any = rows.following
            self._bytes += piece.messages.size
            self._given += len(piece.messages)
        else:
            position = _position(piece.messages, piece.of, end)
        first = self._row
        self._row += n
        drained = whole and not self._ahead.waiting and not rows.end
        return SourceBatch(piece.batch.slice(begin, n), first, position, drained, bad, fetched=rows.fetched)

    def _bad(self, rows: _Rows, piece: Piece, end: int) -> list[BadRecord]:
        """The malformed messages before the next row that was not taken."""
        upto = len(piece.messages) if end == piece.batch.num_rows else int(piece.of[end])
        found = [b for b, message in piece.bad[rows.refused :] if message < upto]
        rows.refused += len(found)
        return found

    def close(self) -> None:
        self._closing = True
        self._feed.stop_waiting()
        self._ahead.close()
        try:
            self._feed.close()
        finally:
            self._close_client()


def _position(messages: Messages, of: np.ndarray, row: int) -> dict[str, Any]:
    """Where row `row` begins."""
    message = int(of[row])
    skip = row - int(np.searchsorted(of, message, "left"))
    at = messages.at(message)
    return at | ({"skip": skip} if skip else {})
