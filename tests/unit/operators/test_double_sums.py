"""Sums of doubles that come and go: exact, whatever came and went, and wherever epochs end."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from driver import Run, schema, source

from sqlstream.aggregates.streaming.double_sums import limbs, shifted, whole
from sqlstream.operators.group_aggregate import GroupAggregate
from sqlstream.plan.nodes import AggCall
from sqlstream.types import DOUBLE, INT, Column, Schema

SOME = [1e308, -1e308, 1.7e308, 5e-324, -5e-324, 2.5e-310, 1e16, 1e16 + 2, 0.1, -0.1, -0.0, 0.0, 3.0, 1e-170, 1e150]
ODD = [math.inf, -math.inf, math.nan]


def run() -> Run:
    given = source(schema(k=INT, x=DOUBLE), changelog=True)
    names = ("SUM", "AVG", "VAR_POP", "STDDEV_SAMP")
    calls = tuple(AggCall(f, (1,), Column(f, DOUBLE)) for f in names)
    return Run(GroupAggregate((given,), (0,), calls, Schema((given.schema[0], *(c.column for c in calls)))))


def expected(values: list[float]) -> tuple[Any, ...]:
    """SUM, AVG, VAR_POP, STDDEV_SAMP by exact fractions, with Java's infinities and NaN."""
    n = len(values)
    odd = {str(v) for v in values if not math.isfinite(v)}
    if odd:
        total = math.inf if odd == {"inf"} else -math.inf if odd == {"-inf"} else math.nan
        return total, total, math.nan, math.nan if n > 1 else None
    exact = [Fraction(v) for v in values]
    sums, squares = sum(exact), sum(v * v for v in exact)
    total = double(sums)
    if double(squares) == math.inf:
        return total, total / n, math.nan, math.nan if n > 1 else None
    rest = squares - sums * sums / n
    return total, total / n, double(rest / n), math.sqrt(double(rest / (n - 1))) if n > 1 else None


def double(x: Fraction) -> float:
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def alike(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    a = math.nan if a == "NaN" else a
    return math.isclose(a, b, rel_tol=1e-9) or (math.isnan(a) and math.isnan(b))


@pytest.mark.parametrize("seed", range(12))
def test_random_changes(seed: int) -> None:
    rng = random.Random(seed)
    job, live = run(), []
    for _ in range(12):
        changes: list[tuple[Any, ...]] = []
        for _ in range(rng.choice([1, 1, 5])):
            k = rng.randrange(3)
            x = rng.choice(ODD) if rng.random() < 0.1 else rng.choice(SOME) if seed % 2 else rng.uniform(-1e3, 1e3)
            live.append((k, x))
            changes.append(("+I", k, x))
        for _ in range(rng.randrange(len(live))):
            changes.append(("-D", *live.pop(rng.randrange(len(live)))))
        job.epoch(changes)
        if rng.random() < 0.3:
            job.restart(rng.choice([1, 2]))
        groups: dict[int, list[float]] = {}
        for k, x in live:
            groups.setdefault(k, []).append(x)
        assert {r[0] for r in job.rows} == groups.keys()
        for k, *got in job.rows:
            want = expected(groups[k])
            assert all(map(alike, got, want)), f"seed {seed}: {got} is not {want}: {groups[k]}"
    job.epoch([("-D", *r) for r in live])
    assert job.rows == [] and job.state_rows == 0


def test_a_double_is_a_whole_number_in_its_place() -> None:
    x = np.array([1.0, -1.0, 0.1, 5e-324, 1.7976931348623157e308, -3e-310])
    m, q = whole(x)
    assert [Fraction(int(a)) * Fraction(2) ** int(b) for a, b in zip(m, q, strict=True)] == [*map(Fraction, x.tolist())]
    pairs = shifted(m, q % 32)
    values = [(int(high) << 64) + int(np.uint64(low)) for low, high in pairs.view(np.int64)]
    assert values == [int(a) << int(b % 32) for a, b in zip(m, q, strict=True)]
    places = [2**96, 2**64, 2**32, 1]
    assert [sum(int(v) * p for v, p in zip(r, places, strict=True)) for r in limbs(pairs)] == values
