"""SinkMaterializer: Flink's examples, and lists of rows in Python at every epoch."""

from __future__ import annotations

import random

import pytest

from sqlstream.errors import DataError, InternalError
from sqlstream.operators.sink_materializer import SinkMaterializer
from sqlstream.types import BIGINT, STRING, array
from tests.unit.operators.driver import Row, Run, ordered, schema, source

# Flink's example: rows of the query are known by `id`, those of the table by `pk`.
S = schema(id=BIGINT, pk=BIGINT, v=STRING)


def made(conflict: str, key: tuple[int, ...] = (0,), ttl: int = 0) -> SinkMaterializer:
    return SinkMaterializer((source(S, changelog=True, key=key),), (1,), conflict, "t", ("pk",), ttl=ttl)


@pytest.mark.parametrize("conflict", ["NOTHING", "ERROR"])
def test_as_flink_compacts(conflict: str) -> None:
    """WatermarkCompactingSinkMaterializerTest, an epoch for what comes between two watermarks."""
    run = Run(made(conflict))
    assert run.epoch([("+I", 1, 1, "a1")]) == [("+I", 1, 1, "a1")]
    assert run.epoch([("-U", 1, 1, "a1"), ("+U", 1, 1, "a2")]) == ordered([("-U", 1, 1, "a1"), ("+U", 1, 1, "a2")])
    assert run.epoch([("-U", 1, 1, "a2"), ("+U", 1, 1, "a2")]) == []
    assert run.epoch([("-D", 1, 1, "a2")]) == [("-D", 1, 1, "a2")]
    assert run.epoch([("+I", 1, 1, "a"), ("-D", 1, 1, "a")]) == []
    # the row of another key comes before the first one goes: they do not meet
    assert run.epoch([("+U", 2, 1, "b1"), ("+I", 1, 1, "a1"), ("-U", 1, 1, "a1")]) == [("+I", 2, 1, "b1")]
    assert run.epoch([("+I", 1, 1, "c"), ("-D", 2, 1, "b1")]) == ordered([("-U", 2, 1, "b1"), ("+U", 1, 1, "c")])
    assert run.state_rows == 1


def test_nothing_keeps_the_first() -> None:
    run = Run(made("NOTHING"))
    assert run.epoch([("+I", 1, 1, "first"), ("+I", 2, 1, "second")]) == [("+I", 1, 1, "first")]
    run.restart(2)
    assert run.epoch([("+I", 3, 1, "third"), ("-D", 2, 1, "second")]) == []
    assert run.epoch([("-U", 1, 1, "first"), ("+U", 1, 1, "newer"), ("+I", 4, 1, "fourth")]) == ordered([
        ("-U", 1, 1, "first"), ("+U", 1, 1, "newer")])  # fmt: skip
    # what was left out is not remembered
    assert run.epoch([("-D", 1, 1, "newer")]) == [("-D", 1, 1, "newer")]
    assert run.epoch([("-U", 3, 1, "third"), ("+U", 3, 1, "x")]) == [("+I", 3, 1, "x")]
    # the first one of another key takes the place of one that goes
    assert run.epoch([("-D", 3, 1, "x"), ("+I", 6, 1, "s"), ("+I", 5, 1, "r")]) == ordered([
        ("-U", 3, 1, "x"), ("+U", 6, 1, "s")])  # fmt: skip


def test_error_names_the_key() -> None:
    run = Run(made("ERROR"))
    run.epoch([("+I", 1, 1, "a"), ("+I", 2, 2, "b")])
    with pytest.raises(DataError, match=r"PRIMARY KEY \[pk=2\]"):
        run.epoch([("+I", 3, 2, "c")])
    run = Run(made("ERROR"))
    with pytest.raises(DataError, match=r"\[pk=1\]"):
        run.epoch([("+I", 1, 1, "a"), ("+I", 2, 1, "a")])


def test_rows_without_a_key_meet_also_where_they_are_equal() -> None:
    run = Run(made("ERROR", ()))
    run.epoch([("+I", 1, 1, "a")])
    assert run.epoch([("-U", 1, 1, "a"), ("+U", 2, 1, "b")]) == ordered([("-U", 1, 1, "a"), ("+U", 2, 1, "b")])
    with pytest.raises(DataError):
        run.epoch([("+I", 2, 1, "b")])
    with pytest.raises(DataError):
        Run(made("ERROR", ())).epoch([("+I", 1, 1, "a"), ("+I", 1, 1, "a")])
    run = Run(made("NOTHING", ()))
    assert run.epoch([("+I", 1, 1, "a"), ("+I", 1, 1, "a")]) == [("+I", 1, 1, "a")]
    assert run.epoch([("+I", 1, 1, "b")]) == []
    assert run.epoch([("-D", 1, 1, "a")]) == [("-D", 1, 1, "a")]


def test_rows_that_only_come() -> None:
    below = source(S)
    run = Run(SinkMaterializer((below,), (1,), "NOTHING", "t", ("pk",)))
    assert run.node.traits.append_only
    assert run.epoch([(1, 1, "a"), (2, 1, "b"), (3, 2, "c")]) == [(1, 1, "a"), (3, 2, "c")]
    run.restart(3)
    assert run.epoch([(4, 1, "d"), (5, 3, "e"), (5, 3, "e")]) == [(5, 3, "e")]
    run = Run(SinkMaterializer((below,), (1,), "ERROR", "t", ("pk",)))
    run.epoch([(1, 1, "a"), (3, 2, "c")])
    with pytest.raises(DataError, match=r"\[pk=2\]"):
        run.epoch([(3, 2, "c")])
    run = Run(SinkMaterializer((below,), (1,), "DEDUPLICATE", "t", ("pk",)))
    assert run.epoch([(1, 1, "a"), (2, 1, "b"), (3, 2, "c")]) == [("+I", 2, 1, "b"), ("+I", 3, 2, "c")]
    run.restart(2)
    assert run.epoch([(1, 1, "a")]) == ordered([("-U", 2, 1, "b"), ("+U", 1, 1, "a")])


def test_deduplicate_goes_back() -> None:
    """Flink's example: the order that is deleted gives its product back to the one before."""
    run = Run(made("DEDUPLICATE"))
    assert run.epoch([("+I", 1, 7, "laptop"), ("+I", 2, 8, "phone"), ("+I", 3, 7, "laptop")]) == [
        ("+I", 2, 8, "phone"), ("+I", 3, 7, "laptop")]  # fmt: skip
    run.restart(2)
    assert run.epoch([("-D", 3, 7, "laptop")]) == ordered([("-U", 3, 7, "laptop"), ("+U", 1, 7, "laptop")])
    # an update comes last
    run.epoch([("+I", 4, 7, "other")])
    assert run.epoch([("-U", 1, 7, "laptop"), ("+U", 1, 7, "new")]) == ordered([
        ("-U", 4, 7, "other"), ("+U", 1, 7, "new")])  # fmt: skip
    assert run.epoch([("-D", 4, 7, "other")]) == []
    assert run.epoch([("-D", 1, 7, "new")]) == [("-D", 1, 7, "new")]
    assert run.epoch([("-U", 2, 8, "phone"), ("+U", 2, 7, "phone")]) == ordered([
        ("-D", 2, 8, "phone"), ("+I", 2, 7, "phone")])  # fmt: skip
    assert run.state_rows == 1


def test_without_the_row_before_an_update() -> None:
    for conflict in ("NOTHING", "DEDUPLICATE"):
        node = made(conflict).without_before()
        assert not node.traits.before
        operator = Run(node).tasks[0].operator
        kinds = []
        for rows in ([("+I", 1, 1, "a")], [("-U", 1, 1, "a"), ("+U", 1, 1, "b")]):
            from sqlstream.batches import Delta
            from tests.unit.operators.driver import batch

            kinds += operator.step([Delta([batch(node.inputs[0], rows)])]).batches[0].column(3).to_pylist()
        assert kinds == [0, 2], conflict


def test_what_it_does_not_take() -> None:
    with pytest.raises(InternalError):
        made("UPDATE")
    with pytest.raises(InternalError):
        SinkMaterializer((source(S, changelog=True),), (), "NOTHING", "t")


def test_nested_values() -> None:
    s = schema(pk=STRING, id=BIGINT, l=array(STRING))
    for conflict, last in (("NOTHING", [("z", 1, ("q",))]), ("DEDUPLICATE", [("z", 2, ("p",))])):
        run = Run(SinkMaterializer((source(s, changelog=True, key=(1,)),), (0,), conflict, "t"))
        run.epoch([("+I", "z", 1, ["p", None]), ("+I", "y", 9, None)])
        run.restart(3)
        run.epoch([("-U", "z", 1, ["p", None]), ("+U", "z", 1, ["q"]), ("-D", "y", 9, None), ("+I", "z", 2, ["p"])])
        assert run.rows == last


class Lists:
    """Flink's SinkUpsertMaterializer and WatermarkCompactingSinkMaterializer in lists, an epoch at once."""

    def __init__(self, conflict: str, keyed: bool) -> None:
        self.conflict, self.keyed = conflict, keyed
        self.rows: dict[int, list[Row]] = {}

    def same(self, a: Row, b: Row) -> bool:
        return a[0] == b[0] if self.keyed else a == b

    def epoch(self, minus: list[Row], plus: list[Row]) -> None:
        touched = {r[1] for r in [*minus, *plus]}
        before = {pk: self.rows.get(pk, [])[:1] for pk in touched}
        for r in minus:
            rows = self.rows.get(r[1], [])
            at = next((i for i, x in enumerate(rows) if self.same(x, r)), None)
            if at is not None:
                del rows[at]
        for r in plus:
            rows = self.rows.setdefault(r[1], [])
            if self.conflict == "NOTHING" and self.keyed and any(self.same(b, r) for b in before[r[1]]):
                rows.insert(0, r)
            else:
                rows.append(r)
        for pk in touched:
            if self.conflict == "NOTHING":
                self.rows[pk] = self.rows.get(pk, [])[:1]

    def table(self) -> list[Row]:
        at = 0 if self.conflict == "NOTHING" else -1
        return ordered(rows[at] for rows in self.rows.values() if rows)


@pytest.mark.parametrize("ttl", [0, 10**12])
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("conflict", ["NOTHING", "DEDUPLICATE"])
def test_against_lists(conflict: str, keyed: bool, ttl: int) -> None:
    for seed in range(30):
        rng = random.Random(f"{conflict} {keyed} {seed}")
        run = Run(made(conflict, (0,) if keyed else (), ttl), rng.randint(1, 3))
        lists, live = Lists(conflict, keyed), list[Row]()
        for _ in range(8):
            minus, plus, told = list[Row](), list[Row](), list[Row]()
            for row in rng.sample(live, min(len(live), rng.randint(0, 4))):
                live.remove(row)
                minus.append(row)
                told.append(("-D", *row))
            for _ in range(rng.randint(0, 5)):
                row = (rng.randrange(6), rng.randrange(3), rng.choice("ab"))
                if keyed and any(r[0] == row[0] for r in [*live, *plus]) or row in minus:
                    continue  # a key has one row, and what cancels within an epoch is no change
                plus.append(row)
                told.append(("+I", *row))
            live += plus
            lists.epoch(minus, plus)
            run.epoch(told)
            assert run.rows == lists.table(), seed
            if rng.random() < 0.3:
                run.restart(rng.randint(1, 3))
        if conflict == "DEDUPLICATE":
            assert run.state_rows == len(live if keyed else set(live))
