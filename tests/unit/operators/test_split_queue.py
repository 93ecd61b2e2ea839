"""Splits by the tens of thousands: order, rest, idleness, and what a step costs, counted in steps and not in seconds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sqlstream.batches import NO_WATERMARK
from sqlstream.contracts import Split
from sqlstream.operators.split_queue import SplitQueue
from sqlstream.operators.split_state import PACK, PACKED, Positions, SplitState, unpacked


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def made(count: int, idle_timeout: int = 0) -> tuple[SplitQueue, Positions, Clock, list[SplitState]]:
    positions, clock = Positions("0"), Clock()
    queue = SplitQueue(positions, idle_timeout, clock, True)
    states = [SplitState(Split(f"s{i}", {"size": i}, i)) for i in range(count)]
    for s in states:
        positions.add(s)
        queue.add(s)
    return queue, positions, clock, states


def gave(queue: SplitQueue, state: SplitState, watermark: int) -> None:
    queue.rouse(state, NO_WATERMARK)
    state.watermark, state.rows = watermark, state.rows + 1
    queue.moved(state)


def settle_all(queue: SplitQueue, superseded: bool = True) -> int:
    """All are asked once and have nothing; how many were asked."""
    queue.begin()
    asked = 0
    while queue.first() is not None:
        s = queue.take()
        asked += 1
        queue.quiet(s, superseded)
        queue.rests(s)
    queue.end()
    return asked


def test_the_lowest_watermark_first_and_none_is_left_out() -> None:
    queue, _, _, states = made(2000)
    for rounds in range(2):
        queue.begin()
        seen = []
        for _ in range(2000):
            s = queue.take()
            seen.append(s.split.number)
            gave(queue, s, 10 * (rounds + 1) + s.split.number % 3)
            queue.has_more(s)
        assert sorted(seen) == list(range(2000))
    assert queue.lowest() is not None and queue.lowest().watermark == 20  # type: ignore[union-attr]


def test_rounds_that_end_early_reach_every_split() -> None:
    """What stalled with 1,400 files: each round began at the first one, and its time was over before the last."""
    queue, _, _, _ = made(1500)
    asked: set[int] = set()
    for _ in range(150):
        queue.begin()
        for _ in range(10):
            s = queue.take()
            asked.add(s.split.number)
            queue.quiet(s, False)
            queue.rests(s)
        queue.end()
    assert len(asked) == 1500


def test_what_rests_is_asked_when_it_is_woken_only() -> None:
    queue, _, _, states = made(10_000)
    assert settle_all(queue) == 10_000
    assert settle_all(queue) == 0
    queue.wake(states[77])
    queue.wake(states[77])
    assert settle_all(queue) == 1


def test_idle_by_time_that_was_waited() -> None:
    queue, _, clock, states = made(2, idle_timeout=3_000_000)
    queue.begin()
    for _ in range(2):
        s = queue.take()
        gave(queue, s, 5 + s.split.number)
        queue.had_no_more(s)
    queue.end()
    for step in range(4):
        clock.now += 100.0 if step == 1 else 1.0  # other work is no waiting: it counts for one second
        queue.begin()
        while queue.first() is not None:
            s = queue.take()
            if s.split.number == 1 and step == 2:
                gave(queue, s, 9)
                queue.had_no_more(s)
                continue
            queue.quiet(s, False)
            queue.had_no_more(s)
        queue.end()
        assert states[0].idle == (step == 3) and not states[1].idle
    assert queue.lowest() is states[1]
    gave(queue, states[0], 6)
    assert not states[0].idle and queue.lowest() is states[0]


def test_all_idle_gives_the_greatest() -> None:
    queue, _, _, states = made(3)
    queue.begin()
    for mark in (4, 8, 6):
        gave(queue, queue.take(), mark)
    for s in states:
        queue.quiet(s, True)
        queue.rests(s)
    assert queue.lowest() is None and queue.idle_mark == 8


def test_the_heap_of_watermarks_stays_small() -> None:
    queue, _, _, states = made(3)
    for i in range(20_000):
        queue.begin()
        gave(queue, states[1], i)
    assert queue.lowest() is states[0]
    assert len(queue._live) < 2000


def steps(monkeypatch: pytest.MonkeyPatch, positions: Positions) -> int:
    """How many splits are written out for a checkpoint."""
    count = 0
    original = SplitState.to_json

    def counting(self: SplitState) -> dict[str, Any]:
        nonlocal count
        count += 1
        return original(self)

    with monkeypatch.context() as m:
        m.setattr(SplitState, "to_json", counting)
        positions.to_json()
    return count


def test_a_checkpoint_costs_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, positions, _, states = made(20_000)
    settle_all(queue)
    assert steps(monkeypatch, positions) == 20_000
    assert steps(monkeypatch, positions) < PACK
    queue.wake(states[5])
    settle_all(queue)
    assert steps(monkeypatch, positions) < PACK + 2


@pytest.mark.parametrize("changed", [3, 3000])
def test_what_was_packed_is_read_back(changed: int) -> None:
    queue, positions, _, states = made(4000)
    settle_all(queue)
    positions.to_json()
    for s in states[:changed]:
        queue.wake(s)
    queue.begin()
    for s in states[:changed]:
        gave(queue, s, 100 + s.split.number)
        s.position = {"row": s.split.number}
    for s in states[10:20]:
        s.finished = True
        positions.forget(s)
    value = json.loads(json.dumps(positions.to_json()))
    assert any(PACKED in v for v in value.values())
    back = unpacked(value)
    assert {s.id for s in positions.states.values()} <= back.keys()
    for s in positions.states.values():
        read = SplitState.from_json(s.id, back[s.id])
        assert (read.split, read.position, read.rows, read.watermark, read.idle) == (
            s.split, s.position, s.rows, s.watermark, s.idle,
        )  # fmt: skip
