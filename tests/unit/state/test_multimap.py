"""MultiMap against a dict of lists."""

from __future__ import annotations

import numpy as np

from sqlstream.state.multimap import MultiMap


def test_against_a_dict() -> None:
    rng = np.random.default_rng(3)
    m, model, owner = MultiMap(), {}, {}
    for _ in range(200):
        rows = np.unique(rng.integers(0, 2000, 50))
        rng.shuffle(rows)
        keys = rng.integers(0, 300, len(rows))
        m.add(keys, rows)
        for k, r in zip(keys.tolist(), rows.tolist(), strict=True):
            if r not in owner:
                owner[r] = k
                model.setdefault(k, []).append(r)
        gone = rng.integers(0, 3000, 40)
        m.remove(np.zeros(40, np.int64), gone)
        for r in gone.tolist():
            if r in owner:
                model[owner.pop(r)].remove(r)
        probe = rng.integers(-1, 400, 30)
        index, found = m.probe(probe)
        want = [(i, r) for i, k in enumerate(probe.tolist()) for r in model.get(k, [])]
        assert list(zip(index.tolist(), found.tolist(), strict=True)) == want
        assert m.counts(probe).tolist() == [len(model.get(k, [])) for k in probe.tolist()]
        assert m.size == len(owner)


def test_empty() -> None:
    m = MultiMap()
    empty = np.empty(0, np.int64)
    m.add(empty, empty)
    m.remove(empty, empty)
    index, rows = m.probe(np.array([-1, 0, 10**6]))
    assert len(index) == len(rows) == 0
