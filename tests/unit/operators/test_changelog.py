"""Changelog: the net change of an epoch, in an order that can be applied row by row."""

from __future__ import annotations

import random
from collections import Counter

from sqlstream.batches import KIND_TEXT, Delta
from sqlstream.operators.changelog import Changelog, consolidate
from sqlstream.types import BIGINT, STRING
from tests.unit.operators.driver import Run, batch, schema, source, tuples

S = schema(k=BIGINT, v=STRING)


def kinds(run: Run, rows: list) -> list:
    """The output in its order."""
    delta = run.tasks[0].operator.step([Delta([batch(run.node.inputs[0], rows)])])
    return [(KIND_TEXT[r[-1]], *r[:-1]) for b in delta.batches for r in tuples(b)]


def test_pairs_updates_of_a_key() -> None:
    run = Run(Changelog((source(S, True, (0,)),), (0,)))
    assert kinds(run, [("+I", 1, "a"), ("+I", 2, "b")]) == [("+I", 1, "a"), ("+I", 2, "b")]
    assert kinds(
        run, [("+I", 4, "n"), ("+I", 1, "x"), ("-D", 2, "b"), ("-D", 1, "a"), ("+I", 3, "y"), ("-D", 3, "y")]
    ) == [("-D", 2, "b"), ("-U", 1, "a"), ("+U", 1, "x"), ("+I", 4, "n")]  # fmt: skip


def test_without_a_key_nothing_is_paired() -> None:
    run = Run(Changelog((source(S, True),), ()))
    assert kinds(run, [("+I", 1, "x"), ("+I", 1, "x"), ("-U", 1, "a"), ("+I", None, None)]) == [
        ("-D", 1, "a"), ("+I", 1, "x"), ("+I", 1, "x"), ("+I", None, None)]  # fmt: skip


def test_the_row_before_an_update_is_left_out_where_nobody_wants_it() -> None:
    run = Run(Changelog((source(S, True, (0,)),), (0,)).without_before())
    kinds(run, [("+I", 1, "a"), ("+I", 2, "b")])
    assert kinds(run, [("-U", 1, "a"), ("+U", 1, "x"), ("-D", 2, "b"), ("+I", 3, "c")]) == [
        ("-D", 2, "b"), ("+U", 1, "x"), ("+I", 3, "c")]  # fmt: skip


def test_a_few_rows_that_go_among_many_that_come() -> None:
    many = [("+I", k, "m") for k in range(100, 120)]
    for key, update in (((0,), ("-U", "+U")), ((), ("-D", "+I"))):
        run = Run(Changelog((source(S, True, key),), key))
        kinds(run, [("+I", 1, "a"), ("+I", 2, "b")])
        node = run.node.inputs[0]
        first = batch(node, [("+U", 1, "x"), *many[:9], ("+I", 2, "b"), ("+I", None, None)])
        second = batch(node, [("-U", 1, "a"), *many[9:], ("-D", 2, "b")])
        delta = run.tasks[0].operator.step([Delta([first, second])])
        out = [(KIND_TEXT[r[-1]], *r[:-1]) for b in delta.batches for r in tuples(b)]
        # 2 b went and came: nothing is said of it
        assert out[:2] == [(update[0], 1, "a"), (update[1], 1, "x")]
        assert sorted(out[2:], key=str) == sorted([*many, ("+I", None, None)], key=str)


def test_append_only_drops_hidden_columns() -> None:
    run = Run(Changelog((source(S, row_wm=True, arrival=True),)))
    assert run.epoch([(1, "a", 5, 6)]) == [(1, "a")]


def test_consolidate() -> None:
    b = batch(source(S, True), [("+I", 1, "a"), ("-D", 2, "b"), ("+U", 1, "a"), ("-U", 1, "a"), ("+I", 2, "b")])
    assert tuples(consolidate(b, 2)) == [(1, "a", 0)]


def test_rows_wider_than_a_key() -> None:
    wide = schema(**{f"x{i}": BIGINT for i in range(150)})
    run = Run(Changelog((source(wide, True),)))
    a, b = tuple(range(150)), (*range(149), None)
    assert run.epoch([("+I", *a), ("+I", *b), ("+I", *a), ("-D", *a)]) == [("+I", *a), ("+I", *b)]


def test_random_epochs_fold_to_the_same() -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    run, live = Run(Changelog((source(S, True, (0,)),), (0,)), 2), Counter()
    for _ in range(60):
        rows = []
        for _ in range(rng.randrange(30)):
            k = rng.randrange(8)
            old = next((r for r in live if r[0] == k), None)
            if old:
                rows.append(("-D", *old))
                del live[old]
            if rng.random() < 0.7:
                live[(k, rng.choice("abc"))] = 1
                rows.append(("+I", *next(r for r in live if r[0] == k)))
        rng.shuffle(rows)
        run.epoch(rows)
        assert run.folded == live, f"seed {seed}"
