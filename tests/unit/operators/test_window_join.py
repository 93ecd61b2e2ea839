"""WindowJoin: by hand, then against DuckDB at every epoch."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sqlstream.expressions import Call, Column
from sqlstream.operators import pairs
from sqlstream.operators.window_join import WindowJoin
from sqlstream.types import BIGINT, BOOLEAN, INT, PROC_WINDOW_END, PROCTIME, ROWTIME, WINDOW_END, Schema, timestamp
from tests.unit.operators.driver import END, Run, query, schema, source

E = (timestamp(3).null(False), WINDOW_END)
L, R = schema(k=INT, e=E, a=BIGINT), schema(k=INT, f=E, b=BIGINT)


def join(kind, left, right, residual=None, null_safe=(False, False), domain=ROWTIME) -> WindowJoin:
    output = L if kind in ("SEMI", "ANTI") else Schema((*L.columns, *R.columns))
    return WindowJoin((left, right), kind, (0, 1), (0, 1), null_safe, residual, (1, 1), domain, output)


def test_a_window_is_joined_when_it_closes() -> None:
    run = Run(join("FULL", source(L, row_wm=True), source(R)))
    assert run.node.traits.append_only
    assert run.epoch([(1, 10, 1, 0), (2, 10, 2, 0), (1, 20, 3, 0)], [(1, 10, 5)], watermark=9) == []
    run.restart(2)
    assert run.epoch([(1, 10, 4, 9), (1, 10, 9, 10)], [(3, 10, 6)], watermark=[10, 12]) == [
        (1, 10, 1, 1, 10, 5), (1, 10, 4, 1, 10, 5), (2, 10, 2, None, None, None), (None, None, None, 3, 10, 6)]  # fmt: skip
    assert run.late == [(1, 10, 9)] and run.state_rows == 1
    run.restart()
    assert run.epoch([], [(1, 10, 7)]) == [] and run.late[1:] == [(1, 10, 7)]
    assert run.end() == [(1, 20, 3, None, None, None)] and run.state_rows == 0


def test_a_changing_input_counts_as_it_is_at_the_end() -> None:
    run = Run(join("INNER", source(L, True), source(R, True, (0, 1))))
    run.epoch([("+I", 1, 10, 1), ("+I", 1, 10, 1), ("+I", 2, 10, 2)], [("+I", 1, 10, 5), ("+I", 2, 10, 6)])
    run.restart()
    run.epoch([("-D", 1, 10, 1)], [("-U", 1, 10, 5), ("+U", 1, 10, 7), ("-D", 2, 10, 6)])
    assert run.epoch(watermark=10) == [("+I", 1, 10, 1, 1, 10, 7)]


def test_processing_time() -> None:
    e = (timestamp(3).null(False), PROC_WINDOW_END)
    left = source(schema(k=INT, e=e, a=BIGINT), row_wm=True)
    run = Run(join("SEMI", left, source(schema(k=INT, f=e, b=BIGINT)), domain=PROCTIME))
    assert run.epoch([(1, 10, 1, 99)], [(1, 10, 5)], proctime=5, watermark=99) == []
    assert run.epoch(proctime=10) == [(1, 10, 1)]


@pytest.mark.parametrize("kind", ["INNER", "LEFT", "RIGHT", "FULL", "SEMI", "ANTI"])
@pytest.mark.parametrize("changelog", [False, True])
def test_every_epoch_equals_duckdb(kind: str, changelog: bool, monkeypatch) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    monkeypatch.setattr(pairs, "PAIRS_A_PIECE", rng.choice([3, 1 << 20]))
    print("seed", seed)
    residual, null_safe = rng.random() < 0.5, rng.random() < 0.5
    node = join(
        kind, source(L, changelog), source(R, changelog),
        Call(BOOLEAN, "<", (Column(BIGINT, 2), Column(BIGINT, 5))) if residual else None, (null_safe, False),
    )  # fmt: skip
    run, sides, w = Run(node, rng.choice([1, 2])), [Counter(), Counter()], 0
    on = f"l.k {'IS NOT DISTINCT FROM' if null_safe else '='} r.k AND e = f" + (" AND a < b" if residual else "")
    if kind in ("SEMI", "ANTI"):
        text = f"SELECT * FROM l WHERE {'NOT' if kind == 'ANTI' else ''} EXISTS (SELECT 1 FROM r WHERE {on})"
        end = "e"
    else:
        text, end = f"SELECT l.k, e, a, r.k AS kr, f, b FROM l {kind} JOIN r ON {on}", "coalesce(e, f)"
    for _ in range(10):
        feeds = []
        for side in sides:
            feed = []
            for _ in range(rng.randrange(8)):
                open_ = [r for r in side if r[1] > w]
                if changelog and open_ and rng.random() < 0.4:
                    row = rng.choice(open_)
                    side[row] -= 1
                    if not side[row]:
                        del side[row]
                    feed.append(("-D", *row))
                    continue
                row = (rng.choice([None, 1, 2]), (w // 10 + rng.choice([1, 1, 2])) * 10, rng.randrange(5))
                side[row] += 1
                feed.append(("+I", *row) if changelog else row)
            rng.shuffle(feed)
            feeds.append(feed)
        w = END if len(sides[0]) > 25 else w + rng.randrange(8)
        run.epoch(*feeds, watermark=w)
        want = query(f"SELECT * FROM ({text}) WHERE epoch_us({end}) <= {w}",
                     l=(L, list(sides[0].elements())), r=(R, list(sides[1].elements())))  # fmt: skip
        assert run.rows == want, f"seed {seed}"
        if w == END:
            break
        if rng.random() < 0.3:
            run.restart(rng.choice([1, 2, 3]))
    run.close()
