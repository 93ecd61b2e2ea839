"""Operators whose state lives for a time: what comes when it is over is as in Flink (its documentation of Idle State
Retention Time, StateTtlConfig with OnCreateAndWrite and NeverReturnExpired, and what its operators do with a value that
is not there). Times are processing times of epochs, in µs; the time to live is 100."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from aggregate_oracle import EVERYTHING, every_call, random_row
from driver import Row, Run, schema, source

from sqlstream.expressions import Call, Column
from sqlstream.operators.changelog_normalize import ChangelogNormalize
from sqlstream.operators.deduplicate import Deduplicate
from sqlstream.operators.group_aggregate import GroupAggregate
from sqlstream.operators.join import Join
from sqlstream.operators.over_aggregate import OverAggregate
from sqlstream.operators.over_changelog import OverChangelog
from sqlstream.operators.top_n import TopN
from sqlstream.plan.nodes import AggCall, Frame, OverCall, SortKey
from sqlstream.types import BIGINT, BOOLEAN, PROCTIME, STRING, Schema, timestamp, timestamp_ltz
from sqlstream.types import Column as SchemaColumn

TTL = 100
KV = schema(k=STRING, v=BIGINT)


def agg(function: str, *args: int, **more: Any) -> AggCall:
    return AggCall(function, args, SchemaColumn(function, BIGINT), **more)


def group_by(
    *calls: AggCall, changelog: bool = False, keys: tuple[int, ...] = (0,), before: bool = True
) -> GroupAggregate:
    given = source(KV, changelog=changelog)
    output = Schema((*(KV[k] for k in keys), *(c.column for c in calls)))
    return GroupAggregate((given,), keys, calls, output, before, ttl=TTL)


# ---- GROUP BY


@pytest.mark.parametrize("parallelism", [1, 3])
def test_a_group_begins_anew_when_nobody_wrote_it(parallelism: int) -> None:
    run = Run(group_by(agg("COUNT"), agg("SUM", 1)), parallelism)
    assert run.epoch([("a", 1), ("b", 1)], proctime=1000) == [("+I", "a", 1, 1), ("+I", "b", 1, 1)]
    assert run.epoch([("a", 2)], proctime=1099) == [("+U", "a", 2, 3), ("-U", "a", 1, 1)]
    run.restart()
    assert run.epoch([("a", 4), ("b", 5)], proctime=1100) == [  # b was written 100 ago, a 1
        ("+I", "b", 1, 5), ("+U", "a", 3, 7), ("-U", "a", 2, 3)]  # fmt: skip
    run.restart(2)
    assert run.state_rows == 2
    run.epoch([("c", 0)], proctime=1250)
    assert run.state_rows == 1


def test_a_group_without_keys_begins_anew_with_the_next_row() -> None:
    run = Run(group_by(agg("COUNT"), keys=()))
    assert run.epoch([], proctime=0) == [("+I", 0)]
    assert run.epoch([("a", 1)], proctime=10) == [("+U", 1), ("-U", 0)]
    assert run.epoch([], proctime=500) == []
    run.restart()
    assert run.epoch([("a", 1), ("b", 1)], proctime=501) == [("+I", 2)]


def test_a_result_that_stays_is_said_again_so_that_it_lives_on_below() -> None:
    """Flink: "if state cleaning is enabled, we have to emit messages to prevent too early state eviction"."""
    run = Run(group_by(agg("MAX", 1)))
    run.epoch([("a", 5)], proctime=0)
    assert run.epoch([("a", 1)], proctime=1) == [("+U", "a", 5), ("-U", "a", 5)]
    run = Run(group_by(agg("MAX", 1), before=False))
    run.epoch([("a", 5)], proctime=0)
    assert run.epoch([("a", 1)], proctime=1) == [("+U", "a", 5)]


def test_what_is_taken_back_of_a_group_that_is_over_is_dropped() -> None:
    run = Run(group_by(agg("COUNT"), agg("SUM", 1), changelog=True))
    run.epoch([("+I", "a", 1), ("+I", "b", 1)], proctime=0)
    run.folded.clear()  # nobody takes back what was said of the groups that are over
    assert run.epoch([("-D", "a", 1)], proctime=100) == []
    assert run.lost == 1
    # -U finds nothing, +U begins the group
    assert run.epoch([("-U", "a", 1), ("+U", "a", 7)], proctime=101) == [("+I", "a", 1, 7)]
    assert run.lost == 2
    assert run.epoch([("-U", "b", 1), ("+U", "b", 1)], proctime=102) == [("+I", "b", 1, 1)]
    assert run.epoch([("+I", "c", 1), ("-D", "c", 1)], proctime=103) == []
    assert run.lost == 3
    assert run.epoch([("-D", "a", 7)], proctime=104) == [("-D", "a", 1, 7)]
    assert run.rows == [("b", 1, 1)]


@pytest.mark.parametrize("changelog", [False, True])
def test_each_value_of_distinct_lives_by_itself(changelog: bool) -> None:
    """A value that is over counts again when it comes again, in a group that lives on: MapState in Flink, whose
    DistinctAggCodeGen writes a bit of each value of rows that only come, and counts the others."""
    run = Run(group_by(agg("COUNT", 1, distinct=True), changelog=changelog))

    def given(*values: int) -> list[Row]:
        return [("+I", "a", v) if changelog else ("a", v) for v in values]

    run.epoch(given(1, 2), proctime=0)
    run.epoch(given(2), proctime=60)
    run.restart()
    two = 2 if changelog else 3
    assert run.epoch(given(2), proctime=120) == [("+U", "a", two), ("-U", "a", 2)]
    assert run.epoch(given(1), proctime=121) == [("+U", "a", two + 1), ("-U", "a", two)]


def test_a_list_lives_with_its_group() -> None:
    """LISTAGG of rows that only come is one text in Flink."""
    rows = schema(k=STRING, v=STRING)
    call = AggCall("LISTAGG", (1,), SchemaColumn("l", STRING))
    run = Run(GroupAggregate((source(rows, arrival=True),), (0,), (call,), Schema((rows[0], call.column)), ttl=TTL))
    run.epoch([("a", "x", 1)], proctime=0)
    run.epoch([("a", "y", 2)], proctime=60)
    assert run.epoch([("a", "z", 3)], proctime=120) == [("+U", "a", "x,y,z"), ("-U", "a", "x,y")]
    run.restart(2)
    assert run.epoch([("a", "u", 4)], proctime=220) == [("+I", "a", "u")]
    assert run.state_rows == 2


def test_the_greatest_is_kept_when_its_value_is_over_and_looked_for_when_it_is_taken_back() -> None:
    run = Run(group_by(agg("MAX", 1), changelog=True))
    run.epoch([("+I", "a", 9), ("+I", "a", 3)], proctime=0)
    run.epoch([("+I", "a", 3)], proctime=50)
    run.epoch([("+I", "a", 1)], proctime=90)
    assert run.epoch([("+I", "a", 2)], proctime=120) == [("+U", "a", 9), ("-U", "a", 9)]  # 9 is over, MAX says it
    assert run.epoch([("-D", "a", 3)], proctime=130) == [("+U", "a", 9), ("-U", "a", 9)]
    run.restart(2)
    run.epoch([("+I", "a", 9)], proctime=140)
    assert run.epoch([("-D", "a", 9)], proctime=141) == [("+U", "a", 3), ("-U", "a", 9)]


def test_values_of_a_group_that_was_taken_back_go_with_it() -> None:
    """Else whoever takes its slot would have them: 5 is over, so that taking it back leaves -1 of it."""
    run = Run(group_by(agg("MIN", 1), changelog=True))
    run.epoch([("+I", "a", 5)], proctime=0)
    run.epoch([("+I", "a", 7)], proctime=60)
    run.epoch([("-D", "a", 7)], proctime=120)
    assert run.epoch([("-D", "a", 5)], proctime=130) == [("-D", "a", 5)]
    assert run.state_rows == 0
    run.epoch([("+I", "z", 8), ("+I", "z", 9)], proctime=140)
    assert run.epoch([("-D", "z", 8)], proctime=141) == [("+U", "z", 9), ("-U", "z", 8)]


def test_distinct_rows_come_again_and_live_on_with_those_that_are_dropped() -> None:
    run = Run(group_by(keys=(0, 1)))
    assert run.epoch([("a", 1), ("b", 1)], proctime=0) == [("a", 1), ("b", 1)]
    assert run.epoch([("a", 1)], proctime=60) == []
    run.restart(2)
    assert run.epoch([("a", 1), ("b", 1)], proctime=120) == [("b", 1)]


@pytest.mark.parametrize("changelog", [False, True])
def test_any_history_of_groups_as_flink_goes_through_it(changelog: bool) -> None:
    """Row by row: GroupAggFunction with COUNT(*), SUM, COUNT(DISTINCT), as it is written there."""
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    run = Run(
        group_by(agg("COUNT"), agg("SUM", 1), agg("COUNT", 1, distinct=True), changelog=changelog), rng.choice([1, 2])
    )
    groups: dict[str, list[int]] = {}  # rows, sum, distinct values, last write
    values: dict[tuple[str, int], list[int]] = {}  # times, last write
    live: Counter[Row] = Counter()
    now = 1000
    for _ in range(120):
        now += rng.choice([1, 10, 30, 60, 130])
        groups = {k: g for k, g in groups.items() if g[3] + TTL > now}
        values = {k: v for k, v in values.items() if v[1] + TTL > now}
        feed: list[Row] = []
        for _ in range(rng.choice([0, 1, 1, 2])):
            row = (rng.choice("abc"), rng.randrange(4))
            if changelog and feed:  # the order of an epoch's changes says nothing here, and much there
                break
            gone = changelog and rng.random() < 0.4 and live and rng.choice(sorted(live))
            if gone and ("+I", *gone) not in feed:
                live -= Counter([gone])
                feed.append(("-D", *gone))
            elif ("-D", *row) not in feed:
                live[row] += 1
                feed.append(("+I", *row) if changelog else row)
        run.epoch(feed, proctime=now)
        for r in feed:
            sign, (k, v) = (-1 if r[0] == "-D" else 1), r[-2:]
            if k not in groups:
                if sign < 0:
                    continue
                groups[k] = [0, 0, 0, now]
            g, n = groups[k], values.setdefault((k, v), [0, now])
            before = n[0]
            n[:] = before + sign, now if changelog or not before else n[1]
            g[2] += (before <= 0 < n[0]) - (n[0] <= 0 < before)
            if n[0] == 0:
                del values[k, v]
            g[:] = g[0] + sign, g[1] + sign * v, g[2], now
            if g[0] == 0:
                del groups[k]
                values = {x: n for x, n in values.items() if x[0] != k}
        if rng.random() < 0.2:
            run.restart(rng.choice([1, 2, 3]))
        state = {r[0]: r[1:] for r in _groups(run)}
        assert state == {k: (g[0], g[3]) for k, g in groups.items()}, seed
        assert _values(run) == {k: tuple(v) for k, v in values.items()}, seed


def _groups(run: Run) -> list[Row]:
    """Key, rows and last write of the groups that are kept."""
    return _stored(run, "groups", ("count", "_written"))


def _values(run: Run) -> dict[tuple[str, int], Row]:
    return {r[:2]: r[2:] for r in _stored(run, "values_c1", ("n", "_written"))}


def _stored(run: Run, name: str, columns: tuple[str, ...]) -> list[Row]:
    out: list[Row] = []
    for t in run.tasks:
        table = t.tables[name]
        slots = table.slots()
        arrays = [*table.keys(slots), *(table.column(c).get(slots) for c in columns)]
        out += zip(*(a.to_pylist() for a in arrays), strict=True)
    return out


# ---- deduplication, top-n, normalisation


S = schema(k=STRING, t=timestamp(3), v=STRING)


def test_the_first_row_comes_again() -> None:
    run = Run(Deduplicate((source(S, arrival=True),), (0,), (SortKey(1),), "first", S, ttl=TTL))
    assert run.epoch([("a", 5, "x", 1)], proctime=0) == [("+I", "a", 5, "x")]
    assert run.epoch([("a", 6, "y", 2)], proctime=99) == []  # only looked at
    run.restart(2)
    assert run.epoch([("a", 7, "z", 3)], proctime=100) == [("+I", "a", 7, "z")]
    assert run.epoch([("a", 6, "w", 4)], proctime=150) == [("-U", "a", 7, "z"), ("+U", "a", 6, "w")][::-1]


def test_the_last_row_lives_on_with_each_that_replaces_it() -> None:
    run = Run(Deduplicate((source(S, arrival=True),), (0,), (SortKey(1, False, False),), "last", S, ttl=TTL))
    run.epoch([("a", 5, "x", 1)], proctime=0)
    assert run.epoch([("a", 6, "y", 2)], proctime=60) == [("+U", "a", 6, "y"), ("-U", "a", 5, "x")]
    assert run.epoch([("a", 6, "y", 3)], proctime=120) == [("+U", "a", 6, "y"), ("-U", "a", 6, "y")]
    assert run.epoch([("a", 1, "old", 4)], proctime=230) == [("+I", "a", 1, "old")]


def top(n: int, changelog: bool = False, key: tuple[int, ...] = (), rank: bool = False) -> TopN:
    given = source(KV, changelog=changelog, key=key)
    output = Schema((*KV.columns, *([SchemaColumn("rn", BIGINT)] if rank else [])))
    return TopN((given,), (0,), (SortKey(1),), 1, n, "ROW_NUMBER", rank, output, ttl=TTL)


def test_rows_of_a_top_n_make_room_without_a_word() -> None:
    """Each by itself where rows only come: AppendOnlyTopNFunction keeps those of the top alone."""
    run = Run(top(2, rank=True))
    run.epoch([("a", 1), ("a", 2)], proctime=0)
    assert run.epoch([("a", 3)], proctime=50) == []
    run.restart(2)
    assert run.epoch([("a", 9)], proctime=100) == [("+I", "a", 9, 1)]
    assert run.epoch([("a", 8)], proctime=101) == [("+I", "a", 9, 2), ("+U", "a", 8, 1), ("-U", "a", 9, 1)]
    run.epoch([("a", 1)], proctime=300)
    assert run.state_rows == 1


def test_rows_of_equal_order_live_on_together() -> None:
    """AppendOnlyTopNFunction keeps those of a sort key as one list."""
    run = Run(top(3))
    run.epoch([("a", 1), ("a", 2)], proctime=0)
    run.epoch([("a", 1)], proctime=60)
    assert run.epoch([("a", 1)], proctime=120) == [("+I", "a", 1)]  # two are there, 2 is not
    assert run.epoch([("a", 1)], proctime=121) == []


def test_rows_of_a_changing_top_n_live_as_long_as_their_partition() -> None:
    """RetractableTopNFunction keeps the order of a partition as one value, written with each row that comes or goes."""
    run = Run(top(2, changelog=True, rank=True))
    run.epoch([("+I", "a", 1), ("+I", "a", 2), ("+I", "b", 1)], proctime=0)
    run.epoch([("+I", "a", 9)], proctime=60)
    run.restart(2)
    assert run.epoch([("-D", "a", 9)], proctime=120) == []
    run.restart(3)
    assert run.epoch([("+I", "a", 0)], proctime=219) and run.rows == [("a", 0, 1), ("a", 1, 2), ("b", 1, 1)]
    assert run.state_rows == 3  # b's is over
    assert run.epoch([("-U", "a", 1), ("+U", "a", 1)], proctime=318) == []
    assert run.epoch([("-D", "b", 1), ("+I", "a", 3)], proctime=417) == [] and run.lost == 1
    run.epoch([("+I", "c", 3)], proctime=517)
    assert run.state_rows == 1
    assert run.epoch([("-U", "a", 8), ("+U", "a", 8)], proctime=518) == [("+I", "a", 8, 1)]


def test_a_key_that_comes_again_is_the_row_that_it_was() -> None:
    node = ChangelogNormalize((source(KV, changelog=True, arrival=True),), (0,), ttl=TTL)
    run = Run(node)
    assert run.epoch([("+I", "a", 1, 1), ("+I", "b", 1, 2)], proctime=0) == [("+I", "a", 1), ("+I", "b", 1)]
    # said again, so that readers keep it
    assert run.epoch([("+U", "a", 1, 3)], proctime=60) == [("+U", "a", 1), ("-U", "a", 1)]
    run.restart(2)
    assert run.epoch([("+U", "a", 2, 4), ("-D", "b", 1, 5)], proctime=120) == [("+U", "a", 2), ("-U", "a", 1)]
    assert run.epoch([("+U", "b", 3, 6)], proctime=121) == [("+I", "b", 3)]


# ---- joins

L, R = schema(l=STRING, k=BIGINT), schema(r=STRING, k=BIGINT)


def join(
    kind: str,
    changelog: bool = False,
    ttl: tuple[int, int] = (TTL, TTL),
    key: tuple[int, ...] = (),
    residual: Any = None,
) -> Join:
    left, right = source(L, changelog=changelog, key=key), source(R, changelog=changelog, key=key)
    output = L if kind in ("SEMI", "ANTI") else Schema((*L.columns, *R.columns))
    return Join((left, right), kind, (1,), (1,), (False,), residual, output, ttl=ttl)


def test_each_side_of_a_join_lives_by_itself() -> None:
    run = Run(join("INNER", ttl=(TTL, 10 * TTL)))
    run.epoch([("l1", 1)], [("r1", 1)], proctime=0)
    run.restart(2)
    assert run.epoch([("l2", 1)], [], proctime=100) == [("l2", 1, "r1", 1)]
    assert run.epoch([], [("r2", 1)], proctime=101) == [("l2", 1, "r2", 1)]  # l1 is over
    assert run.epoch([("l3", 1)], [], proctime=1000) == [("l3", 1, "r2", 1)]  # r1 is over
    assert run.epoch([], [("r3", 1)], proctime=2000) == []
    assert run.state_rows == 1


def test_one_side_may_live_for_ever() -> None:
    run = Run(join("INNER", ttl=(0, TTL)))
    run.epoch([("l1", 1)], [("r1", 1)], proctime=0)
    run.restart()
    assert run.epoch([("l2", 1)], [("r2", 1)], proctime=10**6) == [("l1", 1, "r2", 1), ("l2", 1, "r2", 1)]


def test_reading_a_row_of_a_join_does_not_prolong_it() -> None:
    run = Run(join("INNER"))
    run.epoch([("l1", 1)], [], proctime=0)
    assert run.epoch([], [("r1", 1)], proctime=99) == [("l1", 1, "r1", 1)]
    assert run.epoch([], [("r2", 1)], proctime=100) == []


def test_a_padded_row_lives_on_with_each_row_that_it_meets() -> None:
    """The number of its matches is state that is written."""
    run = Run(join("LEFT"))
    assert run.epoch([("l1", 1)], [], proctime=0) == [("+I", "l1", 1, None, None)]
    assert run.epoch([], [("r1", 1)], proctime=60) == [("+I", "l1", 1, "r1", 1), ("-D", "l1", 1, None, None)]
    run.restart(2)
    assert run.epoch([], [("r2", 1)], proctime=120) == [("+I", "l1", 1, "r2", 1)]
    assert run.epoch([], [("r3", 1)], proctime=220) == []


def test_rows_that_go_are_not_padded() -> None:
    run = Run(join("LEFT", ttl=(10 * TTL, TTL)))
    run.epoch([("l1", 1)], [("r1", 1)], proctime=0)
    assert run.epoch([], [], proctime=500) == []
    assert run.rows == [("l1", 1, "r1", 1)]
    assert run.epoch([("l2", 1)], [], proctime=501) == [("+I", "l2", 1, None, None)]


@pytest.mark.parametrize("key", [(), (0,)])
def test_what_is_taken_back_when_its_time_is_over_takes_its_pairs_along(key: tuple[int, ...]) -> None:
    """StreamingJoinOperator joins a retraction whether the row is in its state or not."""
    run = Run(join("LEFT", True, (10 * TTL, TTL), key))
    run.epoch([("+I", "l1", 1)], [("+I", "r1", 1)], proctime=0)
    run.restart()
    assert run.epoch([], [("-D", "r1", 1)], proctime=200) == [("+I", "l1", 1, None, None), ("-D", "l1", 1, "r1", 1)]
    assert run.lost == 1
    assert run.epoch([("-D", "l1", 1)], [], proctime=201) == [("-D", "l1", 1, None, None)]
    assert run.rows == [] and run.state_rows == 0


def test_a_padded_row_that_is_over_is_taken_back_as_it_was() -> None:
    run = Run(join("LEFT", True))
    run.epoch([("+I", "l1", 1)], [], proctime=0)
    assert run.epoch([("-D", "l1", 1)], [], proctime=100) == [("-D", "l1", 1, None, None)]


def test_a_row_that_is_said_again_lives_on_and_so_do_its_pairs() -> None:
    run = Run(join("INNER", True))
    run.epoch([("+I", "l1", 1)], [("+I", "r1", 1)], proctime=0)
    assert run.epoch([("-U", "l1", 1), ("+U", "l1", 1)], [], proctime=60) == [
        ("+I", "l1", 1, "r1", 1), ("-D", "l1", 1, "r1", 1)]  # fmt: skip
    assert run.epoch([], [("+I", "r2", 1)], proctime=120) == [("+I", "l1", 1, "r2", 1)]
    assert run.state_rows == 2


RESIDUAL = Call(BOOLEAN, "<>", (Column(STRING, 0, "l"), Column(STRING, 2, "r")))


@pytest.mark.parametrize("residual", [None, RESIDUAL])
@pytest.mark.parametrize("changelog", [False, True])
def test_semi_and_anti_joins_forget(changelog: bool, residual: Any) -> None:
    def given(*rows: Row) -> list[Row]:
        return [("+I", *r) if changelog else r for r in rows]

    semi = Run(join("SEMI", changelog, (10 * TTL, TTL), residual=residual))
    semi.epoch([], given(("r1", 1)), proctime=0)
    semi.epoch([], given(("r2", 1)), proctime=60)
    semi.restart(2)
    assert semi.epoch(given(("l1", 1)), [], proctime=120) == given(("l1", 1))  # r2 is there
    assert semi.epoch(given(("l2", 1)), [], proctime=160) == []
    assert semi.epoch([], given(("r3", 1)), proctime=161) == given(("l2", 1))

    anti = Run(join("ANTI", changelog, residual=residual))
    anti.epoch([], given(("r1", 1)), proctime=0)
    assert anti.epoch(given(("l1", 1)), [], proctime=50) == []
    # l1's matches are written with r2, so it is there when r3 is taken back … and nothing is said of it
    assert anti.epoch(given(("l2", 1)), given(("r2", 1)), proctime=149) == []
    assert anti.epoch(given(("l3", 1)), [], proctime=249) == [("+I", "l3", 1)]
    anti.epoch([], [], proctime=1000)
    assert anti.state_rows == 0


def test_rows_left_of_a_semi_join_live_on_with_each_row_of_their_key() -> None:
    run = Run(join("ANTI", True))
    run.epoch([], [("+I", "r1", 1)], proctime=0)
    run.epoch([("+I", "l1", 1)], [], proctime=10)
    run.epoch([], [("+I", "r2", 1)], proctime=90)
    run.epoch([], [("-D", "r1", 1)], proctime=150)
    assert run.epoch([], [("-D", "r2", 1)], proctime=185) == [("+I", "l1", 1)]


# ---- OVER


def over(function: str, *args: int, frame: Frame) -> OverCall:
    return OverCall(function, args, SchemaColumn(function, BIGINT), frame)


@pytest.mark.parametrize("distinct", [False, True])
def test_running_values_over_processing_time_begin_anew(distinct: bool) -> None:
    """Of calls that run, and (distinct) of those that keep their rows."""
    rows = schema(k=STRING, v=BIGINT, p=(timestamp_ltz(3), PROCTIME))
    call = replace(over("COUNT", 1, frame=Frame("ROWS", None)), distinct=distinct)
    output = Schema((*rows.columns, call.column))
    node = OverAggregate((source(rows),), (0,), (SortKey(2),), (call,), PROCTIME, output, ttl=TTL)
    run = Run(node)
    run.epoch([("a", 1, 1000), ("b", 1, 1000)], proctime=1000)
    assert run.epoch([("a", 2, 1060)], proctime=1060) == [("a", 1, 1000, 1), ("b", 1, 1000, 1)]
    assert run.epoch([], proctime=1070) == [("a", 2, 1060, 2)]
    run.restart(2)
    run.epoch([("a", 3, 1165), ("b", 2, 1165)], proctime=1165)
    assert run.epoch([], proctime=1166) == [("a", 3, 1165, 3), ("b", 2, 1165, 1)]
    run.epoch([], proctime=1300)
    assert run.state_rows == 0


def test_rows_that_wait_for_their_time_do_not_go() -> None:
    rows = schema(k=STRING, v=BIGINT, p=(timestamp_ltz(3), PROCTIME))
    call = over("COUNT", 1, frame=Frame("ROWS", 2))
    node = OverAggregate(
        (source(rows),), (0,), (SortKey(2),), (call,), PROCTIME, Schema((*rows.columns, call.column)), ttl=1
    )
    run = Run(node)
    run.epoch([("a", 1, 1000)], proctime=1000)
    assert run.epoch([("a", 2, 2000)], proctime=2000) == [("a", 1, 1000, 1)]
    assert run.epoch([], proctime=3000) == [("a", 2, 2000, 1)]


def test_rows_of_over_that_changes_live_as_long_as_their_partition() -> None:
    call = over("SUM", 1, frame=Frame("ROWS", None))
    output = Schema((*KV.columns, call.column))
    run = Run(OverChangelog((source(KV, changelog=True),), (0,), (SortKey(1),), (call,), output, ttl=TTL))
    run.epoch([("+I", "a", 1), ("+I", "a", 2), ("+I", "b", 1)], proctime=0)
    run.epoch([("+I", "a", 3)], proctime=60)
    run.restart(2)
    assert run.epoch([("+I", "a", 4)], proctime=120) == [("+I", "a", 4, 10)]
    assert run.state_rows == 4
    assert run.epoch([("-D", "b", 1)], proctime=121) == [] and run.lost == 1
    run.restart()
    assert run.epoch([("+I", "a", 5)], proctime=220) == [("+I", "a", 5, 5)]


# ---- memory


@pytest.mark.parametrize(
    "node",
    [
        group_by(agg("COUNT"), agg("COUNT", 1, distinct=True)),
        group_by(keys=(0, 1)),
        Deduplicate((source(KV, arrival=True),), (0,), (SortKey(1),), "first", KV, ttl=TTL),
        top(2),
        join("INNER"),
        join("FULL"),
        join("SEMI"),
        join("ANTI", residual=RESIDUAL),
    ],
    ids=lambda n: type(n).__name__,
)  # fmt: skip
def test_memory_stays_flat_under_ever_new_keys(node: Any) -> None:
    run = Run(node)
    capacity = 0
    for epoch in range(400):
        arrival = [epoch * 50 + i for i in range(50)]
        rows: list[Row] = [(f"k{n}", n, *([n] if node.inputs[0].traits.arrival else [])) for n in arrival]
        run.epoch(*[rows] * len(node.inputs), proctime=1000 + epoch * 5)
        if epoch == 100:
            capacity = sum(t.capacity for t in run.tasks[0].tables.values())
            rows_then = run.state_rows
    assert run.state_rows == rows_then
    assert sum(t.capacity for t in run.tasks[0].tables.values()) == capacity


# ---- every aggregate


@pytest.mark.parametrize("changelog", [False, True])
def test_nothing_is_left_of_a_group_that_is_over(changelog: bool) -> None:
    """Of any aggregate, whoever takes its place: what it says is what a job says that begins then."""
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    given, calls = source(EVERYTHING, changelog=changelog), tuple(every_call())
    output = Schema((EVERYTHING[0], *(c.column for c in calls)))
    run = Run(GroupAggregate((given,), (0,), calls, output, ttl=TTL))
    for now in range(0, 10 * TTL, 2 * TTL):
        fresh = Run(GroupAggregate((given,), (0,), calls, output))
        run.folded.clear()
        rows = [random_row(rng) for _ in range(60)]
        first, second = rows[:40], rows[40:]
        feeds = (
            [[("+I", *r) for r in first], [("-D", *first[3]), *(("+I", *r) for r in second)]]
            if changelog
            else [first, second]
        )
        for at, feed in enumerate(feeds):
            run.epoch(feed, proctime=now + at * (TTL // 2))
            fresh.epoch(feed, proctime=now + at * (TTL // 2))
            if rng.random() < 0.5:
                run.restart(rng.choice([1, 2]))
        assert [repr(r) for r in run.rows] == [repr(r) for r in fresh.rows], seed
        run.epoch([], proctime=now + TTL + TTL // 2)
        assert run.state_rows == 0, seed
        fresh.close()
