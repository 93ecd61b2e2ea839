"""IntervalJoin: by hand, then against DuckDB at every epoch."""

from __future__ import annotations

import random

import pytest

from sqlstream import expressions
from sqlstream.expressions import Call
from sqlstream.operators import pairs
from sqlstream.operators.interval_join import IntervalJoin
from sqlstream.types import BIGINT, BOOLEAN, INT, PROCTIME, ROWTIME, Column, Schema, timestamp
from tests.unit.operators.driver import END, Run, query, schema, source

T = (timestamp(3), ROWTIME)
L, R = schema(k=INT, t=T, a=BIGINT), schema(k=INT, s=T, b=BIGINT)
BOTH = Schema((*L.columns, *R.columns))


def join(kind, lower, upper, residual=None, row_wm=True, keys=((0,), (0,)), domain=ROWTIME, null_safe=()):
    left, right = source(L, row_wm=row_wm), source(R, row_wm=row_wm)
    null_safe = null_safe or (False,) * len(keys[0])
    return IntervalJoin((left, right), kind, *keys, null_safe, residual, 1, 1, lower, upper, domain, BOTH)


def test_left_join_waits_for_the_bound() -> None:
    # A left row at t matches right rows from t - 5 to t + 2.
    run = Run(join("LEFT", -2, 5))
    assert run.epoch([(1, 100, 1, 0), (2, 100, 2, 0)], [(1, 95, 10, 0)], watermark=90) == [(1, 100, 1, 1, 95, 10)]
    assert run.time.watermark == 84
    run.restart(2)
    assert run.epoch([], [(1, 102, 11, 90), (1, 103, 12, 90)], watermark=102) == [(1, 100, 1, 1, 102, 11)]
    assert run.state_rows == 4  # the left rows until 102 has passed, the right rows 102 and 103
    assert run.epoch(watermark=103) == [(2, 100, 2, None, None, None)]
    assert run.state_rows == 2
    assert run.end() == [] and run.state_rows == 0 and run.time.watermark == END
    assert all(t.operator.index.index.size == 0 for t in run.tasks)


def test_a_row_behind_the_watermark_meets_who_is_still_there() -> None:
    # A left row at t is there until its watermark is past t, a right row at s until it is past s + 10.
    run = Run(join("FULL", 0, 10))
    run.epoch([], [(1, 95, 10, 0), (1, 85, 11, 0)], watermark=0)
    # Both are behind 100. The first meets 95, which is there until 105, and no more 85, which was there until 95.
    assert run.epoch([(1, 95, 1, 100), (1, 70, 2, 100)], watermark=[50, 0]) == [(1, 95, 1, 1, 95, 10)]
    run.restart(2)
    # By 90 the left row at 95 is there, by 96 it is not: what the right row's own split had says so.
    assert run.epoch([], [(1, 94, 12, 90), (1, 94, 13, 96)]) == [(1, 95, 1, 1, 94, 12)]
    run.end()
    assert run.late == []
    assert run.rows == [
        (1, 70, 2, None, None, None),
        (1, 95, 1, 1, 94, 12),
        (1, 95, 1, 1, 95, 10),
        (None, None, None, 1, 85, 11),
        (None, None, None, 1, 94, 13),
    ]


def test_what_comes_too_late_for_every_partner_is_padded_at_once() -> None:
    run = Run(join("LEFT", 0, 10))
    assert run.epoch([(1, 60, 1, 100)], [(1, 60, 2, 100)], watermark=100) == [(1, 60, 1, None, None, None)]
    assert run.time.watermark == 89 and run.state_rows == 0


def test_nulls_match_nothing_and_are_not_kept() -> None:
    run = Run(join("FULL", 0, 10))
    assert run.epoch([(None, 100, 1, 0)], [(1, None, 2, 0)]) == [
        (None, 100, 1, None, None, None), (None, None, None, 1, None, 2)]  # fmt: skip
    assert run.state_rows == 0


def test_rows_that_cannot_match_are_not_stored() -> None:
    run = Run(join("INNER", 0, 10))
    run.epoch([(1, t, t, 0) for t in range(100)], [(1, t, t, 0) for t in range(100)], watermark=90)
    assert run.state_rows == 10 + 20


def test_without_row_marks_rows_may_be_a_millisecond_behind() -> None:
    run = Run(join("LEFT", 0, 0, row_wm=False))
    assert run.epoch([(1, 5000, 1)], watermark=5999) == []
    assert run.epoch([], [(1, 5000, 2)], watermark=6000) == [(1, 5000, 1, 1, 5000, 2)]
    assert run.state_rows == 2 and run.time.watermark == 4999
    assert run.epoch(watermark=6001) == [] and run.state_rows == 0


def test_processing_time() -> None:
    run = Run(join("LEFT", -5, 0, domain=PROCTIME, row_wm=False))
    assert run.epoch([(1, 100, 1)], proctime=100) == []
    assert run.epoch([], [(1, 105, 2)], proctime=105) == [(1, 100, 1, 1, 105, 2)]
    assert run.epoch(proctime=106) == [] and run.state_rows == 0


@pytest.mark.parametrize("kind", ["INNER", "LEFT", "RIGHT", "FULL"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("bounds", [(0, 10), (-7, 4), (3, 3), (-20, -5), (5, 1)])
def test_every_epoch_equals_duckdb(kind: str, residual: bool, bounds: tuple[int, int], monkeypatch) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    monkeypatch.setattr(pairs, "PAIRS_A_PIECE", rng.choice([3, 1 << 20]))
    print("seed", seed)
    lower, upper = bounds
    keyed, null_safe = rng.random() < 0.7, rng.random() < 0.3
    node = join(
        kind, lower, upper, Call(BOOLEAN, "<", (expressions.Column(BIGINT, 2), expressions.Column(BIGINT, 5))) if residual else None,
        keys=((0,), (0,)) if keyed else ((), ()), null_safe=(null_safe,) if keyed else (),
    )  # fmt: skip
    run = Run(node, rng.choice([1, 3]))
    on = ["true"] if not keyed else ["l.k IS NOT DISTINCT FROM r.k" if null_safe else "l.k = r.k"]
    on += [f"epoch_us(t) - epoch_us(s) BETWEEN {lower} AND {upper}"] + (["a < b"] if residual else [])
    # Neither row had left by the watermark that the other came with.
    on += [f"epoch_us(s) + {upper} >= lw", f"epoch_us(t) - {lower} >= rw"]
    condition = " AND ".join(on)
    sides: list[list] = [[], []]
    marks = [-100, -100]
    for epoch in range(12):
        end = epoch == 11
        feeds = []
        for i in (0, 1):
            feed = []
            for _ in range(0 if end else rng.randrange(10)):
                wm = marks[i]
                t = None if rng.random() < 0.05 else max(wm, 0) + rng.randrange(-12, 12)
                row = (rng.choice([None, 1, 2]), t, rng.randrange(9))
                feed.append((*row, wm))
                marks[i] = max(marks[i], (t or 0) - rng.choice([0, 3]))
            feeds.append(feed)
            sides[i] += feed
        w = END if end else min(marks)
        run.epoch(*feeds, watermark=END if end else list(marks))
        # `m` and `n` tell a padded row from one of a row of NULLs.
        text = f"""SELECT l.k, t, a, r.k, s, b FROM (SELECT *, 1 m FROM l) l {kind} JOIN (SELECT *, 1 n FROM r) r
            ON {condition} WHERE CASE WHEN m IS NULL THEN s IS NULL OR epoch_us(s) + {upper} < {w}
                {outsider(keyed, null_safe, "r.k")}
            WHEN n IS NULL THEN t IS NULL OR epoch_us(t) - {lower} < {w} {outsider(keyed, null_safe, "l.k")}
            ELSE true END"""
        given = {
            "l": (Schema((*L.columns, Column("lw", BIGINT))), sides[0]),
            "r": (Schema((*R.columns, Column("rw", BIGINT))), sides[1]),
        }
        assert run.rows == query(text, **given), f"seed {seed} epoch {epoch}"
        if rng.random() < 0.25:
            run.restart(rng.choice([1, 2, 3]))
    assert run.state_rows == 0
    run.close()


def outsider(keyed: bool, null_safe: bool, column: str) -> str:
    """A row whose key is NULL does not wait for its bound."""
    return f"OR {column} IS NULL" if keyed and not null_safe else ""
