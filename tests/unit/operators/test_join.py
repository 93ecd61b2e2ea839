"""Join: by hand, then against DuckDB at every epoch."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sqlstream.expressions import Call, Column
from sqlstream.operators import join_sides, pairs, unlinked
from sqlstream.operators.join import Join
from sqlstream.types import BIGINT, BOOLEAN, INT, STRING, Schema
from tests.unit.operators.driver import Input, Run, query, schema, source

L, R = schema(a=BIGINT, k=INT, s=STRING), schema(b=BIGINT, k=INT, x=STRING)
KINDS = ("INNER", "LEFT", "RIGHT", "FULL", "SEMI", "ANTI")
SMALLER = Call(BOOLEAN, "<", (Column(BIGINT, 0, "a"), Column(BIGINT, 3, "b")))


def output(kind: str) -> Schema:
    return L if kind in ("SEMI", "ANTI") else Schema((*L.columns, *R.columns))


def join(kind: str, left: Input, right: Input, residual=None, null_safe=(False,), keys=((1,), (1,))) -> Join:
    return Join((left, right), kind, *keys, null_safe, residual, output(kind))


def test_left_join_pads_and_takes_back() -> None:
    run = Run(join("LEFT", source(L, True, (0,)), source(R, True, (0,))))
    assert run.node.traits.key == (0, 3) and not run.node.traits.append_only
    assert run.epoch([("+I", 1, 7, "x"), ("+I", 2, None, "y")]) == [
        ("+I", 1, 7, "x", None, None, None), ("+I", 2, None, "y", None, None, None)]  # fmt: skip
    assert run.epoch([], [("+I", 10, 7, "r"), ("+I", 11, None, "n")]) == [
        ("+I", 1, 7, "x", 10, 7, "r"), ("-D", 1, 7, "x", None, None, None)]  # fmt: skip
    run.restart()
    assert run.epoch([], [("-D", 10, 7, "r")]) == [
        ("+I", 1, 7, "x", None, None, None), ("-D", 1, 7, "x", 10, 7, "r")]  # fmt: skip
    # An update of both sides in one epoch shows no state in between.
    run.epoch([], [("+I", 10, 7, "r")])
    assert run.epoch(
        [("+U", 1, 7, "z"), ("-U", 1, 7, "x")], [("-U", 10, 7, "r"), ("+U", 10, 7, "q")]
    ) == [("+I", 1, 7, "z", 10, 7, "q"), ("-D", 1, 7, "x", 10, 7, "r")]  # fmt: skip
    assert run.epoch([("-D", 1, 7, "z"), ("-D", 2, None, "y")], [("-D", 10, 7, "q"), ("-D", 11, None, "n")]) == [
        ("-D", 1, 7, "z", 10, 7, "q"), ("-D", 2, None, "y", None, None, None)]  # fmt: skip
    assert run.rows == [] and run.state_rows == 0 and run.tasks[0].operator.index.index.size == 0


def test_changes_that_cancel_say_nothing() -> None:
    run = Run(join("FULL", source(L, True), source(R, True)))
    row = (1, 7, "x")
    assert run.epoch([("-D", *row), ("+I", *row)], [("+I", *row), ("-D", *row)]) == []
    assert run.epoch([("+I", *row), ("+I", *row)]) == [("+I", *row, None, None, None)] * 2
    assert run.epoch([("+I", *row), ("-D", *row)]) == []
    assert run.state_rows == 1


def test_append_only_inner_stays_append_only() -> None:
    run = Run(join("INNER", source(L), source(R)))
    assert run.node.traits.append_only
    assert run.epoch([(1, 7, "x"), (1, 7, "x")], [(5, 7, "r"), (6, None, "n")]) == [(1, 7, "x", 5, 7, "r")] * 2
    run.restart(2)
    assert run.epoch([(2, 7, "y"), (3, None, "z")], [(8, 7, "q")]) == [
        (1, 7, "x", 8, 7, "q"), (1, 7, "x", 8, 7, "q"), (2, 7, "y", 5, 7, "r"), (2, 7, "y", 8, 7, "q")]  # fmt: skip
    assert run.state_rows == 5


def test_rows_are_in_the_index_only_when_that_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(join("INNER", source(L), source(R)))
    left = run.tasks[0].operator.left
    monkeypatch.setattr(unlinked, "CALL", 0.0)
    run.epoch([(i, i % 5, "x") for i in range(100)], [(1, 3, "r")])
    assert len(left.map) == 0 and len(run.rows) == 20
    run.epoch([(i, 7, "y") for i in range(10)], [(2, 7, "r"), (3, None, "r"), (4, 9, "r")])
    assert len(left.map) == 0 and len(run.rows) == 30
    run.epoch([], [(i, 4, "r") for i in range(100)])  # too many to look for each
    assert len(left.map) == 110 and len(run.rows) == 30 + 2000 and not left.unlinked
    run.epoch([(5, 3, "z")])  # right rows stay in the index, or are looked through
    assert len(run.rows) == 2031
    run.restart(parallelism=2)
    run.epoch([(6, 3, "z")], [(9, 7, "q")])
    assert len(run.rows) == 2031 + 1 + 10

    run = Run(join("INNER", source(L), source(R)))
    left = run.tasks[0].operator.left
    monkeypatch.setattr(unlinked, "LINK", 3 * (unlinked.LOOK + unlinked.SEARCH))
    run.epoch([(1, 3, "x"), (2, 3, "y")])
    for n in range(3):
        assert len(left.map) == 0
        run.epoch([], [(n, 3, "r")])
    run.epoch([(9, 3, "new")], [(3, 4, "r")])  # what was looked through three times is put there; the new row is not
    assert len(left.map) == 2 and len(run.rows) == 6 + 3


def test_streams_of_a_row_an_epoch_are_soon_in_the_index() -> None:
    run = Run(join("INNER", source(L), source(R)))
    operator = run.tasks[0].operator
    for n in range(50):
        run.epoch([(n, n % 3, "x")], [(n, n % 3, "r")])
        assert len(operator.left.unlinked._runs) <= 2
    assert len(operator.left.map) >= 48 and len(run.rows) == 17 * 17 + 17 * 17 + 16 * 16


@pytest.mark.parametrize("residual", [None, SMALLER])
def test_append_only_semi_join_forgets_what_it_showed(residual) -> None:
    run = Run(join("SEMI", source(L), source(R), residual))
    assert run.node.traits.append_only
    assert run.epoch([(1, 7, "x"), (2, 8, "y")], [(5, 7, "r")]) == [(1, 7, "x")]
    assert run.state_rows == 2
    assert run.epoch([(3, 7, "x")], [(5, 8, "r"), (6, 8, "r")]) == [(2, 8, "y"), (3, 7, "x")]
    assert run.state_rows == (2 if residual is None else 3)
    assert run.epoch([], [(5, 8, "r"), (6, 8, "r")]) == []


def test_exists_without_keys() -> None:
    run = Run(join("SEMI", source(L), source(R, True), keys=((), ()), null_safe=()))
    assert run.epoch([(1, 7, "x"), (2, None, "y")]) == []
    assert run.epoch([], [("+I", 1, 1, "r"), ("+I", 2, 1, "r")]) == [("+I", 1, 7, "x"), ("+I", 2, None, "y")]
    assert run.epoch([], [("-D", 1, 1, "r")]) == []
    run.restart()
    assert run.epoch([(3, 3, "z")], [("-D", 2, 1, "r")]) == [("-D", 1, 7, "x"), ("-D", 2, None, "y")]


def test_null_safe_key() -> None:
    run = Run(join("INNER", source(L), source(R), null_safe=(True,)))
    assert run.epoch([(1, None, "x")], [(5, None, "r")]) == [(1, None, "x", 5, None, "r")]


def oracle(kind: str, left: Counter, right: Counter, residual: bool, null_safe: bool, keyed: bool) -> list:
    on = "true" if not keyed else "l.k IS NOT DISTINCT FROM r.k" if null_safe else "l.k = r.k"
    on += " AND a < b" if residual else ""
    if kind in ("SEMI", "ANTI"):
        sql = f"SELECT * FROM l WHERE {'NOT' if kind == 'ANTI' else ''} EXISTS (SELECT 1 FROM r WHERE {on})"
    else:
        sql = f"SELECT * FROM l {kind} JOIN r ON {on}"
    return query(sql, l=(L, list(left.elements())), r=(R, list(right.elements())))


def change(rng: random.Random, live: Counter, changelog: bool, keyed: bool, n: int) -> list:
    """Random changes of a side, in random order; `keyed`: column 0 is unique."""
    out = []
    for _ in range(n):
        if changelog and live and rng.random() < 0.4:
            row = rng.choice(list(live.elements()))
            live[row] -= 1
            live += Counter()
            out.append(("-D", *row))
            if live[row] == 0:
                del live[row]
        else:
            row = (rng.randrange(12), rng.choice([None, 1, 2, 3]), rng.choice(["x", "y", None]))
            if keyed and any(r[0] == row[0] for r in live):
                continue
            live[row] += 1
            out.append(("+I", *row) if changelog else row)
    rng.shuffle(out)
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("mode", ["append", "changelog", "keyed", "mixed"])
def test_every_epoch_equals_duckdb(kind: str, residual: bool, mode: str, monkeypatch) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    monkeypatch.setattr(pairs, "PAIRS_A_PIECE", rng.choice([3, 1 << 20]))
    monkeypatch.setattr(join_sides, "FEW", rng.choice([0, 2, 4, 64]))
    monkeypatch.setattr(unlinked, "LINK", rng.choice([1.0, 30.0, 200.0]))
    monkeypatch.setattr(unlinked, "CALL", rng.choice([0.0, 15_000.0]))
    monkeypatch.setattr(unlinked, "BLOCK", rng.choice([2, 1 << 18]))
    print("seed", seed)
    null_safe, has_key = rng.random() < 0.3, rng.random() < 0.85
    left_changes, right_changes = mode in ("changelog", "keyed"), mode != "append"
    key = (0,) if mode == "keyed" else ()
    node = join(
        kind, source(L, left_changes, key), source(R, right_changes, key), SMALLER if residual else None,
        (null_safe,) if has_key else (), ((1,), (1,)) if has_key else ((), ()),
    )  # fmt: skip
    run, left, right = Run(node, rng.choice([1, 3])), Counter(), Counter()
    for _ in range(12):
        run.epoch(
            change(rng, left, left_changes, bool(key), rng.randrange(8)),
            change(rng, right, right_changes, bool(key), rng.randrange(8)),
        )
        assert run.rows == oracle(kind, left, right, residual, null_safe, has_key), f"seed {seed}"
        if rng.random() < 0.2:
            run.restart(rng.choice([1, 2, 3]))
        elif rng.random() < 0.3:
            run.checkpoint()
    run.close()
