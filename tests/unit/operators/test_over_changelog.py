"""OverChangelog: by hand, then against DuckDB at every epoch."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sqlstream.operators.over_changelog import OverChangelog
from sqlstream.plan.nodes import Frame, OverCall, SortKey
from sqlstream.types import BIGINT, INT, STRING, Column, Schema
from tests.unit.operators.driver import Run, query, schema, source

S = schema(p=INT, x=INT, v=BIGINT, s=STRING)
BY_X = (SortKey(1),)
CALLS = {
    "rn": (OverCall("ROW_NUMBER", (), Column("rn", BIGINT)), "row_number() OVER row_"),
    "rank": (OverCall("RANK", (), Column("r", BIGINT)), "rank() OVER peer"),
    "dense": (OverCall("DENSE_RANK", (), Column("r", BIGINT)), "dense_rank() OVER peer"),
    "lag": (OverCall("LAG", (2,), Column("l", BIGINT), None, (1, None)), "lag(v) OVER row_"),
    "lead": (OverCall("LEAD", (2,), Column("l", BIGINT), None, (2, 7)), "lead(v, 2, 7) OVER row_"),
    "sum": (OverCall("SUM", (2,), Column("t", BIGINT), Frame("RANGE", None, 0)), "CAST(sum(v) OVER peer AS BIGINT)"),
    "avg": (
        OverCall("AVG", (2,), Column("m", BIGINT), Frame("ROWS", 2, 0)),
        "trunc(avg(v) OVER (row_ ROWS BETWEEN 2 PRECEDING AND CURRENT ROW))::BIGINT",
    ),
    "count": (OverCall("COUNT", (), Column("n", BIGINT), Frame("RANGE", None, None)), "count(*) OVER whole"),
}


def over(input_, calls: list[str], order=BY_X, partition=(0,)) -> OverChangelog:
    chosen = tuple(CALLS[c][0] for c in calls)
    return OverChangelog((input_,), partition, order, chosen, Schema((*S.columns, *(c.column for c in chosen))))


def test_only_rows_that_change_are_said() -> None:
    run = Run(over(source(S, True, (2,)), ["rn", "lag"]))
    assert run.node.traits.key == (2,)
    run.epoch([("+I", 1, 5, 1, "a"), ("+I", 1, 6, 2, "b"), ("+I", 2, 1, 3, "c"), ("+I", 1, 9, 4, "d")])
    run.restart(2)
    assert run.epoch([("-D", 1, 6, 2, "b")]) == [
        ("+U", 1, 9, 4, "d", 2, 1), ("-D", 1, 6, 2, "b", 2, 1), ("-U", 1, 9, 4, "d", 3, 2)]  # fmt: skip
    run.epoch([("-D", 1, 5, 1, "a"), ("-D", 1, 9, 4, "d"), ("-D", 2, 1, 3, "c")])
    assert run.rows == [] and run.state_rows == 0 and all(t.operator.index.index.size == 0 for t in run.tasks)


def test_ties_by_arrival() -> None:
    run = Run(over(source(S, arrival=True), ["rn"]))
    run.epoch([(1, 5, 1, "a", 9), (1, 5, 2, "b", 3)])
    assert run.rows == [(1, 5, 1, "a", 2), (1, 5, 2, "b", 1)]


@pytest.mark.parametrize("mode", ["append", "changelog", "keyed"])
@pytest.mark.parametrize("calls", [["rn", "lead"], ["rank", "dense"], ["avg", "lag"], ["sum", "count"]], ids=str)
def test_every_epoch_equals_duckdb(mode: str, calls: list[str]) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    print("seed", seed)
    changes = mode != "append"
    ascending, nulls_first, partitioned = rng.random() < 0.5, rng.random() < 0.5, rng.random() < 0.7
    order = (SortKey(1, ascending, nulls_first),)
    node = over(
        source(S, changes, (2,) if mode == "keyed" else ()), calls, order, (0,) if partitioned else ()
    )  # fmt: skip
    text = f"x {'ASC' if ascending else 'DESC'} NULLS {'FIRST' if nulls_first else 'LAST'}"
    by = "PARTITION BY p" if partitioned else ""
    sql = f"""SELECT p, x, v, s, {", ".join(f"{CALLS[c][1]} AS c{i}" for i, c in enumerate(calls))} FROM t WINDOW
        whole AS ({by}), peer AS ({by} ORDER BY {text}), row_ AS ({by} ORDER BY {text}, p, x, v, s)"""
    run, live, number = Run(node, rng.choice([1, 2])), Counter(), 0
    for _ in range(10):
        rows = []
        for _ in range(rng.randrange(9)):
            if changes and live and rng.random() < 0.4:
                row = rng.choice(list(live))
                live[row] -= 1
                if not live[row]:
                    del live[row]
                rows.append(("-D", *row))
                continue
            number += 1
            row = (
                rng.choice([None, 1, 2]),
                rng.choice([None, 1, 2, 3]),
                number if mode == "keyed" else rng.randrange(4),
                rng.choice(["a", None]),
            )
            live[row] += 1
            rows.append(("+I", *row) if changes else row)
        rng.shuffle(rows)
        run.epoch(rows)
        assert run.rows == query(sql, t=(S, list(live.elements()))), f"seed {seed}"
        if rng.random() < 0.25:
            run.restart(rng.choice([1, 2, 3]))
    run.close()
