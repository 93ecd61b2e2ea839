"""Speed of the parts of keyed state, without SQL: `python benchmarks/tables.py`. Rows a second are the best of several
batches.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.checkpoint.arrow_shard import ArrowShard
from sqlstream.checkpoint.manifest import OperatorState, TaskState
from sqlstream.checkpoint.restore import restore_task
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.state.keys import key_groups
from sqlstream.state.multimap import MultiMap
from sqlstream.state.table import StateSpec, StateTable

BATCH, BATCHES = 100_000, 20


def best(f: Callable[[int], object], repeat: int = BATCHES) -> float:
    """Seconds of the fastest call."""
    times = []
    for i in range(repeat):
        start = time.perf_counter()
        f(i)
        times.append(time.perf_counter() - start)
    return min(times)


def line(what: str, seconds: float, rows: int = BATCH) -> None:
    print(f"{what:<58}{rows / seconds / 1e6:8.1f} M rows/s{seconds * 1e3:10.2f} ms")


def spec(*types: pa.DataType) -> StateSpec:
    value = pa.schema([("n", pa.int64()), ("x", pa.float64()), ("s", pa.string())])
    return StateSpec("s", pa.schema([(f"k{i}", t) for i, t in enumerate(types)]), value)


def indexes(rng: np.random.Generator) -> None:
    for distinct in (10_000, 1_000_000):
        ints = [pa.array(rng.integers(0, distinct, BATCH)) for _ in range(BATCHES)]
        texts = [pc.binary_join_element_wise("user-", a.cast(pa.string()), "") for a in ints]
        for name, types, columns in (
            ("BIGINT", [pa.int64()], [[a] for a in ints]),
            ("BIGINT, BIGINT", [pa.int64(), pa.int64()], [[a, a] for a in ints]),
            ("STRING", [pa.string()], [[a] for a in texts]),
            ("STRING, BIGINT", [pa.string(), pa.int64()], [[a, b] for a, b in zip(texts, ints, strict=True)]),
        ):
            table = StateTable(spec(*types))
            start = time.perf_counter()
            for c in columns:
                table.upsert(c)
            made = time.perf_counter() - start
            what = f"{name}, {distinct:,} keys"
            line(f"upsert into an empty table, {what}", made, BATCH * BATCHES)
            line(f"upsert again, {what}", best(lambda i, t=table, c=columns: t.upsert(c[i])))
            line(f"find, {what}", best(lambda i, t=table, c=columns: t.find(c[i])))
        line("key groups of BIGINT", best(lambda i, a=ints: key_groups([a[i]], BATCH)))
        line("key groups of STRING", best(lambda i, a=texts: key_groups([a[i]], BATCH)))


def columns(rng: np.random.Generator) -> None:
    table = StateTable(spec(pa.int64()))
    slots, _ = table.upsert([pa.array(np.arange(1_000_000))])
    values = [
        pa.array(rng.integers(0, 1000, len(slots))),
        pa.array(rng.random(len(slots))),
        pc.binary_join_element_wise("value-", pa.array(rng.integers(0, 10**9, len(slots))).cast(pa.string()), ""),
    ]
    table.put(slots, values)
    picks = [rng.integers(0, len(slots), BATCH) for _ in range(BATCHES)]
    for name, value in zip(("n", "x", "s"), values, strict=True):
        c = table.column(name)
        line(f"get {c.type} at random slots", best(lambda i, c=c: c.get(picks[i])))
        line(f"set {c.type} at random slots", best(lambda i, c=c, v=value: c.set(picks[i], v.slice(0, BATCH))))
    line("touch", best(lambda i: table.touch(picks[i])))
    m = MultiMap()
    rows = np.arange(1_000_000)
    keys = rng.integers(0, 100_000, len(rows))
    line("multi-map add", best(lambda _: m.add(keys, rows), 1), len(rows))
    probes = [rng.integers(0, 100_000, 10_000) for _ in range(BATCHES)]
    line("multi-map probe, pairs", best(lambda i: m.probe(probes[i])), 10 * 10_000)
    line("multi-map remove", best(lambda _: m.remove(keys, rows), 1), len(rows))


def checkpoints(rng: np.random.Generator) -> None:
    n = 1_000_000
    with tempfile.TemporaryDirectory() as place:
        for name, key in (
            ("BIGINT", pa.array(np.arange(n))),
            ("STRING", pc.binary_join_element_wise("user-", pa.array(np.arange(n)).cast(pa.string()), "")),
        ):
            s = spec(key.type)
            table = StateTable(s)
            slots, _ = table.upsert([key])
            table.put(slots, [pa.array(rng.integers(0, 10**6, n)), pa.array(rng.random(n)), key.cast(pa.string())])
            storage = CheckpointStorage(f"{place}/{name}")
            shard = ArrowShard(storage, Path(place) / f"work-{name}", (s,))
            for what, part in (("full", n), ("1 %", n // 100)):
                table.touch(rng.choice(n, part, replace=False))
                start = time.perf_counter()
                changes = table.changes()
                copied = time.perf_counter()
                files = shard.prepare({"s": changes}).run()
                line(f"{what} checkpoint of 1 M {name} keys: at the barrier", copied - start, part)
                line(f"{what} checkpoint of 1 M {name} keys: behind", time.perf_counter() - copied, part)
                print(f"{'':<58}{files[-1].size:12,} bytes")
            operator = OperatorState("op", shard.schemas(), (TaskState(0, (0, 128), files),))
            start = time.perf_counter()
            restored = restore_task(storage, operator, (s,), (0, 128), Path(place) / f"restore-{name}")
            line(f"restore 1 M {name} keys", time.perf_counter() - start, n)
            assert restored.tables["s"].size == n


def main() -> None:
    rng = np.random.default_rng(1)
    indexes(rng)
    columns(rng)
    checkpoints(rng)


if __name__ == "__main__":
    main()
