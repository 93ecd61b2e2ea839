"""WindowTopN: by hand, then against DuckDB at every epoch."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sqlstream.operators import window_top_n
from sqlstream.operators.window_top_n import WindowTopN
from sqlstream.plan.nodes import SortKey
from sqlstream.types import BIGINT, INT, PROC_WINDOW_END, PROCTIME, ROWTIME, WINDOW_END, Column, Schema, timestamp
from tests.unit.operators.driver import END, Run, query, schema, source

E = (timestamp(3).null(False), WINDOW_END)
S = schema(k=INT, e=E, v=BIGINT)
UP = (SortKey(2),)


def top_n(
    input_, order=UP, first=1, last=1, function="ROW_NUMBER", rank=True, keys=(1,), domain=ROWTIME, last_first=False
):
    more = (Column("rn", BIGINT.null(False)),) if rank else ()
    output = Schema((*input_.schema.columns, *more))
    return WindowTopN((input_,), keys, order, 1, domain, first, last, function, rank, last_first, output)


def test_a_window_is_ranked_when_it_closes() -> None:
    run = Run(top_n(source(S, row_wm=True), last=2))
    assert run.node.traits.append_only
    assert run.epoch([(1, 10, 7, 0), (2, 10, 5, 0), (1, 20, 3, 0)], watermark=9) == []
    run.restart(2)
    assert run.epoch([(3, 10, 6, 9), (1, 10, 1, 10)], watermark=12) == [(2, 10, 5, 1), (3, 10, 6, 2)]
    assert run.late == [(1, 10, 1)] and run.state_rows == 1
    run.restart()
    assert run.epoch([(9, 10, 1, 0)]) == [] and run.late[1:] == [(9, 10, 1)]
    assert run.end() == [(1, 20, 3, 1)] and run.state_rows == 0


def test_ties() -> None:
    run = Run(top_n(source(S), function="RANK", last=2))
    run.epoch([(1, 10, 5), (2, 10, 5), (3, 10, 6)])
    assert run.epoch(watermark=10) == [(1, 10, 5, 1), (2, 10, 5, 1)]
    run = Run(top_n(source(S), function="DENSE_RANK", first=2, last=2))
    run.epoch([(1, 10, 5), (2, 10, 5), (3, 10, 6)])
    assert run.epoch(watermark=10) == [(3, 10, 6, 2)]


@pytest.mark.parametrize(("last_first", "kept"), [(False, 2), (True, 1)])
def test_of_equal_rows_the_first_to_arrive_or_the_last(last_first: bool, kept: int) -> None:
    run = Run(top_n(source(S, arrival=True), rank=False, last_first=last_first))
    run.epoch([(1, 10, 5, 8), (2, 10, 5, 7)])  # the last number says when
    assert run.epoch(watermark=10) == [(kept, 10, 5)]


def test_a_changing_input_counts_as_it_is_at_the_end() -> None:
    run = Run(top_n(source(S, True)))
    run.epoch([("+I", 1, 10, 1), ("+I", 1, 10, 1), ("+I", 2, 10, 2)])
    run.restart()
    run.epoch([("-D", 1, 10, 1), ("-D", 1, 10, 1)])
    assert run.epoch(watermark=10) == [(2, 10, 2, 1)] and run.state_rows == 0


def test_processing_time() -> None:
    e = (timestamp(3).null(False), PROC_WINDOW_END)
    run = Run(top_n(source(schema(k=INT, e=e, v=BIGINT), row_wm=True), domain=PROCTIME))
    assert run.epoch([(1, 10, 1, 99)], proctime=5, watermark=99) == []
    assert run.epoch(proctime=10) == [(1, 10, 1, 1)]


def test_rows_that_cannot_win_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_top_n, "FEW", 10)
    run = Run(top_n(source(S), last=2, keys=(0, 1)))
    for n in range(30):
        run.epoch([(k, 10 * w, 1000 - n) for k in (1, 2) for w in (1, 2)])
        assert run.state_rows <= 20
    run.restart(2)
    assert sorted(run.epoch(watermark=10)) == [(1, 10, 971, 1), (1, 10, 972, 2), (2, 10, 971, 1), (2, 10, 972, 2)]
    assert len(run.end()) == 4 and run.state_rows == 0


@pytest.mark.parametrize("function", ["ROW_NUMBER", "RANK", "DENSE_RANK"])
@pytest.mark.parametrize("changelog", [False, True])
@pytest.mark.parametrize("keys", [(1,), (0, 1)])
def test_every_epoch_equals_duckdb(
    function: str, changelog: bool, keys: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed := random.randrange(10**6))
    print("seed", seed)
    monkeypatch.setattr(window_top_n, "FEW", rng.choice([2, 5, 1 << 16]))
    first, last = rng.choice([(1, 1), (1, 2), (2, 3)])
    ascending = rng.random() < 0.5
    run = Run(
        top_n(source(S, changelog), (SortKey(2, ascending),), first, last, function, keys=keys), rng.choice([1, 2])
    )
    rows: Counter[tuple[int | None, int, int]] = Counter()
    w = 0
    ties = ", k, e, v" if function == "ROW_NUMBER" else ""
    partition = ", ".join(S.names[i] for i in keys)
    text = (
        f"SELECT * FROM (SELECT *, {function}() OVER (PARTITION BY {partition} ORDER BY v {'ASC' if ascending else 'DESC'}{ties}) AS rn "
        f"FROM t) WHERE rn BETWEEN {first} AND {last}"
    )
    for _ in range(12):
        feed = []
        for _ in range(rng.randrange(9)):
            open_ = [r for r in rows if r[1] > w]
            if changelog and open_ and rng.random() < 0.4:
                row = rng.choice(open_)
                rows[row] -= 1
                if not rows[row]:
                    del rows[row]
                feed.append(("-D", *row))
                continue
            row = (rng.choice([None, 1, 2]), (w // 10 + rng.choice([1, 1, 2])) * 10, rng.randrange(5))
            rows[row] += 1
            feed.append(("+I", *row) if changelog else row)
        rng.shuffle(feed)
        w = END if sum(rows.values()) > 40 else w + rng.randrange(8)
        run.epoch(feed, watermark=w)
        want = query(f"SELECT * FROM ({text}) WHERE epoch_us(e) <= {w}", t=(S, list(rows.elements())))
        assert run.rows == want, f"seed {seed}"
        if w == END:
            break
        if rng.random() < 0.3:
            run.restart(rng.choice([1, 2, 3]))
    run.close()
