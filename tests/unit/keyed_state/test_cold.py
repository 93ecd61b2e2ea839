"""Values and what is added to leave memory for a store, and are what they were when their key comes again."""

from __future__ import annotations

import operator
import random
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tasks import KEY

from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.checkpoint.store_shard import Folding, StoreShard
from sqlstream.keyed_state.descriptors import (
    AggregateFunction,
    AggregatingStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from sqlstream.keyed_state.states import KeyedStates
from sqlstream.state.table import StateTable


class Now:
    """Work is done when it is given."""

    def submit(self, work: Any, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(work(*args))
        return future


class Last(AggregateFunction):
    """The last two values, as a list."""

    def create_accumulator(self, *count: int) -> Any:
        return []

    def add(self, value: Any, accumulator: Any) -> Any:
        return [*accumulator, value][-2:]

    def get_result(self, accumulator: Any) -> Any:
        return accumulator


@pytest.mark.parametrize("ttl", [None, timedelta(microseconds=6)])
def test_against_dicts(ttl: timedelta | None, tmp_path: Path) -> None:
    """`ttl`: a key that nobody wrote in six epochs is gone, in memory or not."""
    declared = (
        ValueStateDescriptor("value", "ROW<n BIGINT, s STRING>", ttl=ttl),
        ReducingStateDescriptor("sum", operator.add, "BIGINT", ttl=ttl),
        AggregatingStateDescriptor("last", Last(), "ARRAY<BIGINT>", ttl=ttl),
    )
    tables = {d.name: StateTable(d.spec(KEY)) for d in declared}
    specs = tuple(t.spec for t in tables.values())
    assert all(s.cold for s in specs)
    storage = CheckpointStorage(tmp_path / "checkpoints")
    shard = StoreShard(storage, tmp_path / "files", specs, tmp_path / "store", Now(), Folding())  # type: ignore[arg-type]
    shard.attach(tables, all_away=False)
    states, r = KeyedStates(declared, KEY, lambda spec: tables[spec.name]), random.Random(5)
    want: dict[str, tuple[int, Any, Any, Any]] = {}
    left = 0
    for now in range(1, 60):
        for table in tables.values():
            table.begin(now)
        if ttl is not None:
            want = {k: w for k, w in want.items() if w[0] > now - 6}
        keys = sorted({f"key {r.randrange(40)}" for _ in range(r.choice((2, 10)))})
        states.begin([pa.array(keys)], len(keys))
        views: dict[str, Any] = dict(states.views)
        for i, k in enumerate(keys):
            states.key.at = i
            _, value, total, last = want.get(k, (0, None, None, None))
            assert (views["value"].value(), views["sum"].get(), views["last"].get()) == (value, total, last), (now, k)
            if r.random() < 0.1:
                states.clear()
                want.pop(k, None)
                continue
            value, total, last = {"n": now, "s": k}, (total or 0) + now, [*(last or []), now][-2:]
            views["value"].update(value)
            views["sum"].add(now)
            views["last"].add(now)
            want[k] = now, value, total, last
        states.flush()
        shard.prepare({n: t.changes() for n, t in tables.items()}, False, False)
        shard.fold_soon()
        if r.random() < 0.7:
            left += sum(t.leave(shard.folded, 0.0) for t in tables.values())
    assert left > 200
    shard.close()
