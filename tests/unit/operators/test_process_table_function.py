"""ProcessTableFunction: rows and timers through a class, epoch by epoch and after restarts."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from driver import END, Run, batch, schema, source, tuples

from sqlstream import (
    ArgumentTrait,
    Context,
    ListStateDescriptor,
    MapStateDescriptor,
    ProcessTableFunction,
    Row,
    ValueStateDescriptor,
)
from sqlstream.batches import Delta, Time
from sqlstream.clock import PositionClock
from sqlstream.errors import DataError
from sqlstream.expressions import Literal
from sqlstream.operators import process_table_function as ptf
from sqlstream.plan import nodes
from sqlstream.process_functions.signature import resolve
from sqlstream.types import BIGINT, INTERVAL_DAY, ROWTIME, STRING, timestamp

HERE = __name__
SECOND = 1_000_000


class Fails(ProcessTableFunction):
    """Raises, or gives what is wrong, by what the row says."""

    result_type = "ROW<n BIGINT NOT NULL>"
    count = ValueStateDescriptor("count", "BIGINT")

    def eval(self, ctx: Context, input: Row) -> Any:
        if input.v == "raise":
            raise ValueError("no such thing")
        if input.v == "column":
            return [(input.w,)]
        if input.v == "state":
            self.count.update("many")
            self.count.update(self.count.value())
        if input.v == "timer":
            ctx.timer_service().register_event_time_timer(datetime.datetime(2024, 1, 1))
        return {"tuple": (1,), "text": [("x",)], "none": [None], "null": [(None,)], "wide": [(1, 2)]}.get(input.v)


class Periodic(ProcessTableFunction):
    """Never ends."""

    result_type = "BIGINT"

    def eval(self, ctx: Context, input: Row) -> None:
        time = ctx.time()
        assert time is not None
        ctx.timer_service().register_event_time_timer(time)

    def on_timer(self, ctx: Context) -> Iterator[int]:
        time = ctx.time()
        assert time is not None
        ctx.timer_service().register_event_time_timer(time + datetime.timedelta(minutes=1))
        yield 1


class Alarm(ProcessTableFunction):
    """Rings so many microseconds of the clock after the last row of a key."""

    result_type = "ROW<what STRING, rows BIGINT>"
    rows = ValueStateDescriptor("rows", "BIGINT")

    def eval(self, ctx: Context, input: Row, wait: datetime.timedelta) -> Iterator[Any]:
        self.rows.update((self.rows.value() or 0) + 1)
        timers = ctx.timer_service()
        timers.register_processing_time_timer(timers.current_processing_time() + wait, "alarm")
        yield "row", self.rows.value()

    def on_timer(self, ctx: Context) -> Iterator[Any]:
        yield ctx.current_timer(), self.rows.value()


class Journal(ProcessTableFunction):
    """All that happens to a key, in order: rows, timers, what is kept. Each row says when to be reminded."""

    result_type = "ROW<step BIGINT, what STRING, watermark BIGINT, kept ARRAY<STRING>, counts MAP<STRING, BIGINT>>"
    traits = (ArgumentTrait.SET_SEMANTIC_TABLE,)
    step = ValueStateDescriptor("step", "BIGINT")
    kept = ListStateDescriptor("kept", "STRING")
    counts = MapStateDescriptor("counts", "STRING", "BIGINT")

    def entry(self, ctx: Context, what: str) -> Any:
        step = (self.step.value() or 0) + 1
        self.step.update(step)
        self.kept.add(what)
        kind = what[:1]
        self.counts.put(kind, (self.counts.get(kind) or 0) + 1)
        mark = ctx.timer_service().current_watermark()
        number = None if mark is None else (mark - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)
        return step, what, number, self.kept.get(), self.counts.entries()

    def eval(self, ctx: Context, input: Row) -> Iterator[Any]:
        timers, time = ctx.timer_service(), ctx.time()
        assert time is not None
        at = time + datetime.timedelta(microseconds=input.wait)
        if input.wait // 60 % 5 == 4:
            timers.delete_event_time_timer(name="named")
        elif input.wait // 60 % 7 == 6:
            ctx.clear_all()
        else:
            timers.register_event_time_timer(at, "named" if input.wait // 60 % 2 else None)
        yield self.entry(ctx, f"row {input.wait}")

    def on_timer(self, ctx: Context) -> Iterator[Any]:
        yield self.entry(ctx, f"timer {ctx.current_timer()}")
        if (self.step.value() or 0) % 9 == 0:
            self.kept.update(self.kept.get()[-2:])
            self.counts.remove("r")


def test_state_lives_as_the_option_says() -> None:
    """Where a state says nothing of it: ten microseconds of processing time after its last write."""
    call = replace(node(Alarm, schema(k=STRING), arguments=(("wait", Literal(INTERVAL_DAY, 1000)),)), ttl=10)
    run = Run(call, clock=PositionClock(100))
    assert dict(call.lifetimes()) == {"rows": 10}
    assert run.epoch([("a",), ("b",)], proctime=100) == [("a", "row", 1), ("b", "row", 1)]
    assert run.epoch([("a",)], proctime=109) == [("a", "row", 2)]
    run.restart(2)
    assert run.epoch([("a",), ("b",)], proctime=110) == [("a", "row", 3), ("b", "row", 1)]


def node(
    function: type[ProcessTableFunction],
    columns: Any,
    partition: tuple[int, ...] | None = (0,),
    on_time: int | None = None,
    arguments: tuple[tuple[str, Literal], ...] = (),
    **traits: Any,
) -> ptf.ProcessTableFunction:
    path = f"{HERE}.{function.__name__}"
    below = source(columns, **traits)
    call = nodes.ProcessTableFunction(
        nodes.Values(columns, ()), path, columns.names, arguments, tuple(resolve(path).fields()), partition, on_time,
        False, None, "f",
    )  # fmt: skip
    return ptf.ProcessTableFunction(
        (below,), path, call.names, arguments, call.results, partition, on_time, False, call.kept, call.schema, "f"
    )


ROWS = schema(k=STRING, v=STRING, w=STRING)
TIMED = schema(k=STRING, wait=BIGINT, t=(timestamp(6), ROWTIME))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a", "raise", None), r"Fails: ValueError: no such thing \(.*test_process_table_function.py:\d+\), "
         r"in eval, Row\(k='a', v='raise', w=None\), partition \('a',\)"),
        (("a", "tuple", None), r"TypeError: eval returned \(1,\): rows are yielded, or given to ctx.collect"),
        (("a", "text", None), r"Fails: 'x' \(str\) is no BIGINT.* \(partition \('a',\)\)"),
        (("a", "none", None), "Fails: None is no ROW"),
        (("a", "null", None), "Fails: None is no BIGINT NOT NULL"),
        (("a", "wide", None), r"Fails: \(1, 2\) has 2 values, not 1 \(n\)"),
        (("a", "state", None), r"Fails: state count: 'many' \(str\) is no BIGINT \(.*:\d+\), in eval"),
        (("a", "timer", None), "this function has no timers"),
    ],
)  # fmt: skip
def test_mistakes_name_function_row_and_place(row: Any, message: str) -> None:
    run = Run(node(Fails, ROWS))
    with pytest.raises(DataError, match=message):
        run.epoch([row])


def test_a_missing_column_is_named() -> None:
    assert Fails.eval  # Row has no attribute of another name
    row = type("R", (Row,), {"names": ("a",), "_places": {"a": 0}})((1,))
    with pytest.raises(AttributeError, match=r"no column 'b' \(columns: a\)"):
        row.b  # noqa: B018
    with pytest.raises(KeyError, match="columns: a"):
        row["b"]
    assert (row["a"], row[0], row.as_dict()) == (1, 1, {"a": 1})


def test_timers_without_end_are_an_error() -> None:
    run = Run(node(Periodic, TIMED, on_time=2, row_wm=True))
    assert run.epoch([("a", 0, 0, -1)], watermark=3 * 60 * SECOND) == [
        ("a", 1, at) for at in (0, 60 * SECOND, 120 * SECOND, 180 * SECOND)
    ]
    with pytest.raises(DataError, match=r"input has ended, and on_timer registers a timer each time"):
        run.end()


@pytest.mark.parametrize("parallelism", [1, 3])
def test_processing_time(parallelism: int) -> None:
    wait = (("wait", Literal(INTERVAL_DAY, 10)),)
    run = Run(node(Alarm, schema(k=STRING), arguments=wait), clock=PositionClock(100))
    assert run.epoch([("a",), ("b",), ("a",)], proctime=100) == [("a", "row", 1), ("a", "row", 2), ("b", "row", 1)]
    run.restart(parallelism)
    assert run.epoch([("b",)], proctime=105) == [("b", "row", 2)]
    assert run.epoch(proctime=109) == []
    # Timers come before the rows of the epoch: the clock had come to them when it began.
    assert run.epoch([("a",)], proctime=110) == [("a", "alarm", 2), ("a", "row", 3)]
    run.restart(1)
    assert run.epoch(proctime=116) == [("b", "alarm", 2)]
    assert run.epoch(watermark=END, proctime=END) == []  # what is left when input ends does not fire


class Kinds(ProcessTableFunction):
    """What each row does."""

    result_type = "ROW<kind STRING, n BIGINT>"
    traits = (ArgumentTrait.SET_SEMANTIC_TABLE, ArgumentTrait.SUPPORT_UPDATES)

    def eval(self, ctx: Context, input: Row) -> Iterator[Any]:
        yield ctx.row_kind(), input.n


def test_net_changes_come_in_order() -> None:
    """What goes comes before what comes, an update as -U and +U one behind the other, and what cancels not at all."""
    run = Run(node(Kinds, schema(k=STRING, id=BIGINT, n=BIGINT), changelog=True, key=(1,)))
    given = [("+I", "a", 1, 10), ("+I", "a", 2, 20), ("+I", "b", 3, 30)]
    assert run.epoch(given) == [("a", "+I", 10), ("a", "+I", 20), ("b", "+I", 30)]
    changes = [("+I", "a", 1, 11), ("+I", "a", 4, 40), ("-D", "a", 1, 10), ("-D", "a", 2, 20), ("+I", "a", 5, 5),
               ("-D", "a", 5, 5)]  # fmt: skip
    (b,) = run.tasks[0].operator.step([Delta([batch(run.node.inputs[0], changes)], Time())]).batches
    assert [r[1:] for r in tuples(b)] == [("-D", 20), ("-U", 10), ("+U", 11), ("+I", 40)]


def happens(rows: list[tuple[str, int, int]], lag: int) -> list[list[tuple[str, int, int, int, int]]]:
    """Splits of rows as sources give them: with the watermark before each, and the place."""
    splits, r = [], random.Random(len(rows))
    parts: list[list[tuple[str, int, int]]] = [[], []]
    for row in rows:
        r.choice(parts).append(row)
    for s, part in enumerate(parts):
        mark, out = -(2**63), []
        for place, (k, wait, t) in enumerate(part):
            out.append((k, wait, t, mark, (s << 40) + place))
            mark = max(mark, t - lag)
        splits.append(out)
    return splits


@pytest.mark.parametrize("seed", range(12))
def test_the_journal_is_the_same_whatever_the_epochs(seed: int) -> None:
    """Two splits, read at any pace, in any number of tasks, with restarts: what happens to a key is one story. It is the
    one of a run in which every row is there at once."""
    r = random.Random(seed)
    rows = [(r.choice("abc"), r.randrange(40) * 60, 60 * (4 * i + r.randrange(10))) for i in range(60)]
    splits = happens(rows, lag=300)
    call = node(Journal, TIMED, on_time=2, row_wm=True, arrival=True)
    once = Run(call)
    once.epoch([*splits[0], *splits[1]], watermark=END)
    assert any("timer named" in row for row in map(str, once.rows)), "a story without timers proves little"

    run = Run(call, parallelism=r.randint(1, 3))
    at, marks = [0, 0], [-(2**63)] * 2
    while at != [len(s) for s in splits]:
        taken = []
        for s in (0, 1):
            n = r.choice((0, 1, 2, 7))
            part = splits[s][at[s] : at[s] + n]
            at[s] += len(part)
            marks[s] = max([marks[s], *(t - 300 for _, _, t, *_ in part)])
            taken += part
        # At first rows of a split without a watermark come as they are read.
        run.epoch(taken, watermark=min(marks))
        if r.random() < 0.3:
            run.restart(r.randint(1, 3))
    run.end()
    assert run.rows == once.rows
    if seed == 0:
        assert len(run.rows) > len(rows)


def test_rows_ahead_of_time_wait() -> None:
    run = Run(node(Journal, TIMED, on_time=2, row_wm=True))
    assert run.epoch([("a", 0, 5, 3), ("a", 60, 20, 5)], watermark=4) == [
        ("a", 1, "row 0", 3, ("row 0",), (("r", 1),), 5),
    ]
    run.restart(2)
    assert [r[1:4] for r in run.epoch(watermark=5)] == [(2, "timer None", 5)]
    run.restart(3)
    assert [r[1:4] for r in run.epoch(watermark=6)] == [(3, "row 60", 5)]
    assert [r[2] for r in run.end()] == ["timer named"]
