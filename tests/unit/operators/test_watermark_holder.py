"""Who holds the watermark is said, once, after a while, and only while others are ahead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sqlstream.contracts import Split
from sqlstream.operators.split_queue import SplitQueue
from sqlstream.operators.split_state import Positions, SplitState
from sqlstream.runtime.splits import HELD_SECONDS, Splits


def test_who_holds_the_watermark_is_said() -> None:
    now = [1000.0]
    positions = Positions("0")
    queue = SplitQueue(positions, 0, lambda: now[0], True)
    states = [SplitState(Split(f"s{i}", {"path": f"in/{i}.json"}, i)) for i in range(2)]
    for s in states:
        positions.add(s)
        queue.add(s)
    worker: Any = SimpleNamespace(scans={0: SimpleNamespace(queue=queue)})
    graph: Any = SimpleNamespace(nodes=[], ids=[])
    said: list[str] = []
    splits = Splits(graph, [worker], lambda: now[0], said.append)
    scan: Any = SimpleNamespace(watermark=object(), table="events")

    def after(seconds: float) -> list[str]:
        now[0] += seconds
        splits._watch_holder(0, scan)
        return said

    def gave(state: SplitState, watermark: int) -> None:
        state.watermark = watermark
        queue.moved(state)

    assert after(0) == after(2 * HELD_SECONDS) == []  # none is ahead of the other
    gave(states[1], 50)
    assert after(1) == after(HELD_SECONDS - 1) == []
    gave(states[0], 10)
    assert after(2) == after(HELD_SECONDS - 1) == []  # it moves, though slowly
    (text,) = after(2)
    assert "table events: in/0.json holds the watermark" in text and "idle-timeout" in text
    assert splits.holder == "in/0.json"
    gave(states[1], 90)
    assert len(after(10 * HELD_SECONDS)) == 1
    gave(states[0], 95)
    after(1)
    assert splits.holder is None
