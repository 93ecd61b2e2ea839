"""Which of a source's splits is read next, which rest, which are idle, and where the watermark stands.

The split with the lowest watermark is read first, so that none runs far ahead; without watermarks one after the other,
so that few files are open at once. No step looks at all splits: what a job does with a source of a hundred thousand
files that rest costs as much as with one of ten.

A split is idle when it was quiet for the timeout, or when its reader says that a later one has taken its place; the
time that counts is spent waiting, and not with other work.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

from sqlstream.batches import NO_WATERMARK
from sqlstream.operators.split_state import Positions, SplitState

Entry = tuple[int, int, SplitState]
SLACK = 1024
LONGEST_GAP = 1.0  # seconds between two looks that count as waiting, at most


class SplitQueue:
    """`idle_timeout`: µs, 0: never. `monotonic`: seconds. `marked`: the splits have watermarks."""

    def __init__(self, positions: Positions, idle_timeout: int, monotonic: Callable[[], float], marked: bool) -> None:
        self._positions = positions
        self._timeout, self._monotonic, self._marked = idle_timeout / 1e6, monotonic, marked
        self._ready: list[Entry] = []
        self._live: list[Entry] = []  # of what is open and not idle; outdated entries are dropped when they come up
        self._empty: list[SplitState] = []  # had nothing in this round
        self._woken: deque[SplitState] = deque()
        self._quiet: deque[tuple[float, SplitState]] = deque()
        self._waited = 0.0  # seconds spent waiting
        self._looked: float | None = None
        self.limited = False  # some splits are read up to a limit only
        self.open = self.resting = 0
        self.greatest = NO_WATERMARK  # watermark of all
        self.idle_mark = NO_WATERMARK  # the greatest watermark of what became idle

    def add(self, state: SplitState) -> None:
        """One more split."""
        self.limited |= state.limit is not None
        if not state.finished:
            self.open += 1
            self._enqueue(state)
            self._enliven(state)
        else:
            self._positions.settle(state)

    def begin(self) -> None:
        """A round of reading: all that may have something is ready."""
        now = self._monotonic()
        if self._looked is not None:
            self._waited += min(now - self._looked, LONGEST_GAP)
        self._looked = now
        empty, self._empty = self._empty, []
        for s in empty:
            self._enqueue(s)
        while self._woken:
            s = self._woken.popleft()
            if s.resting:
                s.resting = False
                self.resting -= 1
                self._positions.touch(s)
                self._enqueue(s)

    def first(self) -> SplitState | None:
        """The one to be read next."""
        while self._ready and not self._ready[0][2].queued:
            heapq.heappop(self._ready)
        return self._ready[0][2] if self._ready else None

    def take(self) -> SplitState:
        """`first`, taken out; it comes back by one of the next four."""
        state = heapq.heappop(self._ready)[2]
        state.queued = False
        return state

    def has_more(self, state: SplitState) -> None:
        """It gave rows, and may have more."""
        self._enqueue(state)

    def had_no_more(self, state: SplitState) -> None:
        """It has nothing more in this round."""
        self._empty.append(state)

    def rests(self, state: SplitState) -> None:
        """It has nothing until `wake`."""
        state.resting = True
        self.resting += 1
        if state.idle or not self._marked:
            self._positions.settle(state)

    def ended(self, state: SplitState) -> None:
        """It has given everything."""
        state.finished = True
        self.open -= 1
        self._positions.settle(state)

    def wake(self, state: SplitState) -> None:
        """From any thread: a resting split has something."""
        self._woken.append(state)

    def rouse(self, state: SplitState, floor: int) -> None:
        """Rows came. `floor`: the source's watermark, which went on without it if it was idle."""
        state.quiet_since = None
        if state.idle:
            state.idle = False
            state.watermark = max(state.watermark, floor)

    def moved(self, state: SplitState) -> None:
        """Its watermark may have moved."""
        self.greatest = max(self.greatest, state.watermark)
        self._enliven(state)

    def quiet(self, state: SplitState, superseded: bool) -> None:
        """A poll gave nothing. `superseded`: a later split has taken its place."""
        if superseded:
            self._idle(state)
        elif self._timeout and state.quiet_since is None and not state.idle:
            state.quiet_since = self._waited
            self._quiet.append((self._waited, state))

    def end(self) -> None:
        """The round is over: what was quiet for long enough is idle. What was not asked in it is asked first."""
        later = []
        while self._quiet and self._waited - self._quiet[0][0] >= self._timeout:
            since, s = self._quiet.popleft()
            if s.quiet_since != since or s.finished or s.idle:
                continue
            if s.queued:
                later.append((since, s))
                continue
            self._idle(s)
            if s.resting:
                self._positions.settle(s)
        self._quiet.extendleft(reversed(later))

    def requeue(self, states: list[SplitState]) -> None:
        """After limits, watermarks and idleness of splits were changed from outside."""
        self._ready, self._live, self._empty = [], [], []
        self._quiet.clear()
        self._woken.clear()
        self.open = self.resting = 0
        self.limited = False
        for s in states:
            s.queued = s.resting = False
            s.quiet_since = None
            self._positions.touch(s)
            self.add(s)

    def lowest(self) -> SplitState | None:
        """The open split that holds the watermark; None when all are idle."""
        while self._live:
            mark, _, s = self._live[0]
            if self._holds(s, mark):
                return s
            heapq.heappop(self._live)
        return None

    def _enqueue(self, state: SplitState) -> None:
        if state.readable:
            state.queued = True
            heapq.heappush(self._ready, (state.watermark, state.split.number, state))
        elif not state.finished:
            self._empty.append(state)  # as far as it may be read for now

    def _enliven(self, state: SplitState) -> None:
        if state.idle:
            self.idle_mark = max(self.idle_mark, state.watermark)
        elif self._marked:
            heapq.heappush(self._live, (state.watermark, state.split.number, state))
            if len(self._live) > 2 * self.open + SLACK:  # outdated entries below one that stays
                states = {s.split.number: s for mark, _, s in self._live if self._holds(s, mark)}
                self._live = [(s.watermark, number, s) for number, s in states.items()]
                heapq.heapify(self._live)

    @staticmethod
    def _holds(state: SplitState, mark: int) -> bool:
        return not state.finished and not state.idle and state.watermark == mark

    def _idle(self, state: SplitState) -> None:
        state.idle = True
        self.idle_mark = max(self.idle_mark, state.watermark)
