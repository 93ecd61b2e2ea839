"""Counters over the last minutes: by hand."""

from __future__ import annotations

import random

import pytest

from sqlstream.metrics.recent import Recent
from sqlstream.metrics.windows import PARTS, Rate, Window


def test_sum_and_range_of_a_counter() -> None:
    w = Window(60)
    for second, value in [(0, 0), (10, 2), (20, 2), (30, 7)]:
        w.add(second, value)
    assert (w.sum(30), w.range(30)) == (7, 7)
    # 61 s later than the first look: it is out. What the counter grew by from there on is in the sum, not in the range
    assert (w.sum(61), w.range(61)) == (7, 5)
    assert (w.sum(75), w.range(75)) == (5, 5)
    assert (w.sum(85), w.range(85)) == (5, 0)
    assert (w.sum(91), w.range(91), w.max(91)) == (0, 0, None)


def test_a_counter_that_begins_anew_takes_nothing_away() -> None:
    w = Window(60)
    for second, value in [(0, 10), (1, 12), (2, 3), (3, 5)]:
        w.add(second, value)
    assert w.sum(3) == 4 and w.range(3) == 9


def test_a_number_that_is_no_counter() -> None:
    w = Window(300)
    for second, value in [(0, 50.0), (100, 900.0), (200, 20.0), (299, 30.0)]:
        w.add(second, value)
    assert (w.max(299), w.range(299)) == (900.0, 880.0)
    assert (w.max(450), w.range(450)) == (30.0, 10.0)


@pytest.mark.parametrize("seed", range(20))
def test_a_window_is_what_all_looks_come_to(seed: int) -> None:
    """To a part of it, and it keeps no more than its parts however often it is looked at."""
    rng = random.Random(seed)
    seconds = rng.choice([1.0, 60.0, 300.0, 86_400.0])
    w, now, value, looks = Window(seconds), rng.uniform(0, 1e6), 0, []
    for look in range(2000):
        grown = rng.choice([0, 0, 1, 5])
        now, value = now + rng.expovariate(500 / seconds), value + grown
        w.add(now, value)
        looks.append((now, grown if look else 0))  # what it had before is nobody's
        assert len(w._parts) <= PARTS
        least = sum(g for t, g in looks if t > now - seconds * (1 - 1 / PARTS))
        assert least <= w.sum(now) <= sum(g for t, g in looks if t > now - seconds)
    assert w.range(now) <= w.sum(now)


def test_a_rate_is_over_a_minute() -> None:
    r = Rate(100.0)
    assert r.at(100.0, 0) == 0
    for second in range(101, 300):
        r.add(second, (second - 100) * 7)
        assert r.at(second, (second - 100) * 7) == pytest.approx(7)
    for second in range(300, 400):
        r.add(second, 199 * 7)
    assert r.at(399, 199 * 7) == 0
    assert len(r._seen) <= 14


def test_what_is_recent() -> None:
    recent = Recent(300_000_000)
    recent.add(0, {"failed": 0}, {"lag": None})
    recent.add(10, {"failed": 3}, {"lag": 5.0})
    assert recent.grown(10, "failed") == 3 and recent.grown(10, "unknown") == 0
    figures = recent.figures(10)
    assert figures["failed"].window == "5 min" and figures["failed"].values == {"sum": 3, "range": 3}
    assert figures["lag"].values == {"max": 5.0, "range": 0.0}
    assert "lag" not in recent.figures(400) and recent.figures(400)["failed"].values == {"sum": 0, "range": 0}
