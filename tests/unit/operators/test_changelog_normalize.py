"""ChangelogNormalize: by hand, and against a fold in Python at every epoch."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sqlstream.errors import InternalError
from sqlstream.operators.changelog_normalize import ChangelogNormalize, last_of_keys
from sqlstream.operators.source_scan import POSITION_BITS
from sqlstream.types import BIGINT, STRING, array, row
from tests.unit.operators.driver import Input, Row, Run, batch, ordered, schema, source

S = schema(k=BIGINT, v=STRING)
SPLIT = 1 << POSITION_BITS


def input_of(columns: object = S, row_wm: bool = False) -> Input:
    """Changes with their places."""
    return source(columns, changelog=True, row_wm=row_wm, arrival=True)  # type: ignore[arg-type]


def test_each_kind() -> None:
    run = Run(ChangelogNormalize((input_of(),), (0,)))
    # of one epoch the last record of a key counts; that of a key that is not there says nothing
    assert run.epoch([("+I", 1, "a", 0), ("+U", 1, "b", 1), ("+I", 2, "c", 2), ("-D", 3, None, 3)]) == [
        ("+I", 1, "b"), ("+I", 2, "c")]  # fmt: skip
    # what the row was before comes from the state, whatever the record says
    assert run.epoch([("-U", 1, None, 4), ("+U", 1, "d", 5), ("-D", 2, None, 6)]) == [
        ("+U", 1, "d"), ("-D", 2, "c"), ("-U", 1, "b")]  # fmt: skip
    assert run.epoch([("+U", 1, "d", 7), ("-D", 2, "c", 8), ("-U", 1, "d", 9)]) == []
    assert run.epoch([("-D", 1, None, 10), ("+I", 1, "d", 11)]) == []
    assert run.epoch([("+I", 2, None, 12)]) == [("+I", 2, None)]
    assert run.epoch([("+U", 2, "x", 13), ("-D", 2, None, 14)]) == [("-D", 2, None)]
    assert run.rows == [(1, "d")]
    assert run.state_rows == 1


def test_without_the_row_before_an_update() -> None:
    node = ChangelogNormalize((input_of(),), (0,)).without_before()
    run = Run(node)
    assert node.traits.before is False
    run.epoch([("+I", 1, "a", 0), ("+I", 2, "b", 1)])
    assert [*run.tasks[0].operator.step([_delta(run, [("+U", 1, "c", 2), ("-D", 2, None, 3)])]).batches[0].column(2)
            .to_pylist()] == [3, 2]  # fmt: skip


def _delta(run: Run, rows: list[Row]) -> object:
    from sqlstream.batches import Delta

    return Delta([batch(run.node.inputs[0], rows)])


def test_a_record_that_stands_before_the_last_one_known() -> None:
    run = Run(ChangelogNormalize((input_of(),), (0,)))
    run.epoch([("+U", 1, "late", SPLIT + 7), ("-D", 2, None, SPLIT + 8), ("-D", 3, None, 5)])
    assert run.state_rows == 2  # a deleted key is known where another split may have an older record of it
    run.restart(2)
    assert run.epoch([("+I", 1, "early", 0), ("+I", 2, "early", 1), ("-D", 1, None, 2)]) == []
    assert run.rows == [(1, "late")]
    assert run.epoch([("+I", 2, "again", SPLIT + 9), ("+I", 3, "other", SPLIT + 10)]) == [
        ("+I", 2, "again"), ("+I", 3, "other")]  # fmt: skip


def test_nested_values_and_a_key_that_is_not_first() -> None:
    s = schema(r=row(("x", BIGINT), ("y", STRING)), l=array(STRING), b=STRING, a=BIGINT)
    run = Run(ChangelogNormalize((input_of(s),), (3, 2)))
    one, other = {"f0": 1, "f1": "y"}, {"f0": 1, "f1": None}
    run.epoch([("+I", one, ["p", None], "k", 1, 0), ("+I", None, None, None, 1, 1)])
    run.restart(3)
    assert run.epoch([("+U", one, ["p", None], "k", 1, 2), ("+U", None, None, None, 1, 3)]) == []
    assert len(run.epoch([("+U", other, ["p", None], "k", 1, 4)])) == 2
    assert len(run.epoch([("+U", other, ["p"], "k", 1, 5)])) == 2
    assert len(run.epoch([("+U", None, ["p"], "k", 1, 6), ("-D", None, None, None, 1, 7)])) == 3


def test_with_marks_each_record_is_a_change() -> None:
    """A row that is taken back has the mark of what takes it, or its own if that is later (it was late itself)."""
    run = Run(ChangelogNormalize((input_of(row_wm=True),), (0,)))
    assert run.node.arrow_schema().names == ["c0", "c1", "_op", "_wm"]
    delta = _delta(run, [("+I", 1, "a", 10, 0), ("+U", 1, "b", 20, 1), ("-D", 1, None, 30, 2), ("+I", 2, "c", 40, 3)])
    assert _with_marks(run, delta) == Counter(
        [("+", 1, "a", 10), ("-", 1, "a", 20), ("+", 1, "b", 20), ("-", 1, "b", 30), ("+", 2, "c", 40)]
    )
    assert _with_marks(run, _delta(run, [("+U", 2, "d", 5, SPLIT)])) == Counter([("-", 2, "c", 40), ("+", 2, "d", 5)])


def _with_marks(run: Run, delta: object) -> Counter[Row]:
    out: Counter[Row] = Counter()
    for b in run.tasks[0].operator.step([delta]).batches:  # type: ignore[list-item]
        for *values, op, mark in zip(*(c.to_pylist() for c in b.columns), strict=True):
            out[("+" if op in (0, 2) else "-", *values, mark)] += 1
    return out


def test_what_it_does_not_take() -> None:
    for below in (source(S, arrival=True), source(S, changelog=True)):
        with pytest.raises(InternalError):
            ChangelogNormalize((below,), (0,))


def changes(rng: random.Random, n: int) -> list[Row]:
    """Records with their places: of keys that may be known, in up to three splits."""
    places = [0, SPLIT, 2 * SPLIT][: rng.randint(1, 3)]
    out: list[Row] = []
    for _ in range(n):
        split = rng.randrange(len(places))
        kind = rng.choice(["+I", "+U", "+U", "-U", "-D"])
        out.append((kind, rng.randint(0, 9), None if kind == "-D" else rng.choice(["x", "y", None]), places[split]))
        places[split] += 1
    return out


def fold(records: list[Row]) -> list[Row]:
    """The rows that the records leave, in the order of their places."""
    rows: dict[int, Row] = {}
    for kind, k, v, _ in sorted(records, key=lambda r: r[3]):
        if kind == "-D":
            rows.pop(k, None)
        elif kind != "-U":
            rows[k] = (k, v)
    return ordered(rows.values())


@pytest.mark.parametrize("number", range(20))
def test_every_epoch_equals_a_fold(number: int) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    run = Run(ChangelogNormalize((input_of(),), (0,)), rng.choice([1, 3]))
    records = changes(rng, 120)
    done = 0
    while done < len(records):
        size = rng.choice([1, 2, 9, 30])
        epoch = records[done : done + size]
        rng.shuffle(epoch)  # rows of several tasks come in any order
        run.epoch(epoch)
        done += size
        assert run.rows == fold(records[:done]), f"seed {seed}"
        if rng.random() < 0.3:
            run.restart(rng.choice([1, 2, 3]))
    run.close()
    whole = batch(input_of(), sorted(records, key=lambda r: r[3]))
    left = last_of_keys(whole, (0,))
    assert ordered(zip(*(left.column(i).to_pylist() for i in (0, 1)), strict=True)) == fold(records), f"seed {seed}"


@pytest.mark.parametrize("number", range(10))
def test_with_marks_epochs_do_not_matter(number: int) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    records = [(kind, k, v, 3 * i, i) for i, (kind, k, v, _) in enumerate(changes(rng, 60))]
    answers = []
    for sizes in ([60], [1], [2, 7, 20]):
        run = Run(ChangelogNormalize((input_of(row_wm=True),), (0,)))
        got: Counter[Row] = Counter()
        done = 0
        while done < len(records):
            size = rng.choice(sizes)
            got += _with_marks(run, _delta(run, records[done : done + size]))
            done += size
        answers.append(got)
    assert answers[0] == answers[1] == answers[2], f"seed {seed}"
