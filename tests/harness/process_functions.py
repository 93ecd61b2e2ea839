"""Process table functions that tests call by SQL."""

from __future__ import annotations

import datetime
import operator
from collections.abc import Iterator
from typing import Any

from sqlstream import (
    AggregateFunction,
    AggregatingStateDescriptor,
    ArgumentTrait,
    Context,
    ListStateDescriptor,
    MapStateDescriptor,
    ProcessTableFunction,
    ReducingStateDescriptor,
    Row,
    ValueStateDescriptor,
)

SET, ROW = ArgumentTrait.SET_SEMANTIC_TABLE, ArgumentTrait.ROW_SEMANTIC_TABLE


class Greeting(ProcessTableFunction):
    """The first example of Flink's documentation: row semantics, one column without a name."""

    result_type = "STRING"
    traits = (ROW,)

    def eval(self, ctx: Context, input: Row, word: str = "Hello") -> Iterator[str]:
        yield f"{word} {input.name}!"


class GreetingWithMemory(ProcessTableFunction):
    """Another of them: how often a name was greeted."""

    result_type = "STRING"
    counter = ValueStateDescriptor("counter", "BIGINT")

    def eval(self, ctx: Context, input: Row) -> Iterator[str]:
        n = (self.counter.value() or 0) + 1
        self.counter.update(n)
        yield f"Hello {input.name}, your {n} time?"


class Running(ProcessTableFunction):
    """Numbers rows of a key, and what they come to so far."""

    result_type = "ROW<n BIGINT, total BIGINT, mean DOUBLE, seen ARRAY<INT>, places MAP<STRING, BIGINT>>"
    traits = (SET, ArgumentTrait.OPTIONAL_PARTITION_BY)
    count = ValueStateDescriptor("count", "BIGINT")
    total = ReducingStateDescriptor("total", operator.add, "BIGINT")
    seen = ListStateDescriptor("seen", "INT")
    places = MapStateDescriptor("places", "STRING", "BIGINT")

    class Mean(AggregateFunction):
        """Of numbers."""

        def create_accumulator(self, *count: int) -> Any:
            return (0, 0)

        def add(self, value: Any, accumulator: Any) -> Any:
            n, total = accumulator.values() if isinstance(accumulator, dict) else accumulator
            return (n + 1, total + value)

        def get_result(self, accumulator: Any) -> Any:
            n, total = accumulator.values() if isinstance(accumulator, dict) else accumulator
            return total / n

    mean = AggregatingStateDescriptor("mean", Mean(), "ROW<n BIGINT, total BIGINT>")

    def eval(self, ctx: Context, input: Row, first: int = 1) -> None:
        n = (self.count.value() or first - 1) + 1
        self.count.update(n)
        self.total.add(input.amount)
        self.mean.add(input.amount)
        self.seen.add(input.id)
        self.places.put(input.place, (self.places.get(input.place) or 0) + 1)
        ctx.collect((n, self.total.get(), self.mean.get(), self.seen.get(), self.places.entries()))


class Sessions(ProcessTableFunction):
    """What came of a key without a gap, when the gap is over."""

    result_type = "ROW<ids ARRAY<INT>, began TIMESTAMP(3)>"
    traits = (SET, ArgumentTrait.REQUIRE_ON_TIME)
    ids = ListStateDescriptor("ids", "INT")
    began = ValueStateDescriptor("began", "TIMESTAMP(3)")

    def eval(self, ctx: Context, input: Row, gap: datetime.timedelta) -> None:
        time = ctx.time()
        assert time is not None
        self.ids.add(input.id)
        self.began.update(min(self.began.value() or time, time))
        ctx.timer_service().register_event_time_timer(time + gap, "session")

    def on_timer(self, ctx: Context) -> Iterator[Any]:
        assert ctx.current_timer() == "session"
        yield {"ids": self.ids.get(), "began": self.began.value()}
        ctx.clear_all()


class Reminders(ProcessTableFunction):
    """Two timers a row, one with a name and one without; `stop` takes those of the key back."""

    result_type = "ROW<what STRING, at TIMESTAMP(3)>"
    traits = (SET, ArgumentTrait.REQUIRE_ON_TIME)

    def eval(self, ctx: Context, input: Row) -> Iterator[Any]:
        timers, time = ctx.timer_service(), ctx.time()
        assert time is not None
        if input.what == "stop":
            ctx.clear_all_timers()
        elif input.what == "forget":
            timers.delete_event_time_timer(name="late")
        else:
            timers.register_event_time_timer(time + datetime.timedelta(seconds=2))
            timers.register_event_time_timer(time + datetime.timedelta(seconds=10), "late")
        yield input.what, timers.current_watermark()

    def on_timer(self, ctx: Context) -> Iterator[Any]:
        yield f"timer {ctx.current_timer()} of {ctx.partition_key()[0]}", ctx.time()


class Passing(ProcessTableFunction):
    """All columns, and whether the row is the first of its key."""

    result_type = "ROW<first BOOLEAN>"
    traits = (SET, ArgumentTrait.PASS_COLUMNS_THROUGH)
    known = ValueStateDescriptor("known", "BOOLEAN")

    def eval(self, ctx: Context, input: Row) -> list[Any]:
        known, _ = self.known.value(), self.known.update(True)
        return [(known is None,)]


class Balance(ProcessTableFunction):
    """What the rows of a key come to, and what each change of them adds to it."""

    result_type = "ROW<delta BIGINT, total BIGINT>"
    traits = (SET, ArgumentTrait.SUPPORT_UPDATES)
    total = ReducingStateDescriptor("total", operator.add, "BIGINT")

    def eval(self, ctx: Context, input: Row) -> Iterator[Any]:
        delta = input.n if ctx.row_kind() in ("+I", "+U") else -input.n
        self.total.add(delta)
        yield delta, self.total.get()


class Typed(ProcessTableFunction):
    """Values of all types, there and back."""

    result_type = (
        "ROW<a BOOLEAN, b TINYINT, c DECIMAL(10, 2), d DOUBLE, e STRING, f BYTES, g DATE, h TIME, i TIMESTAMP(3), "
        "j TIMESTAMP_LTZ(3), k ARRAY<ROW<x INT, y STRING>>, l MAP<STRING, ROW<z DATE>>, m ROW<n ROW<o BIGINT>>>"
    )
    traits = (SET, ArgumentTrait.OPTIONAL_PARTITION_BY)
    last = ValueStateDescriptor("last", result_type)

    def eval(self, ctx: Context, input: Row) -> Iterator[Any]:
        before = self.last.value()
        self.last.update(input)
        if before is not None:
            yield before


class Waiting(ProcessTableFunction):
    """A timer of processing time."""

    result_type = "ROW<what STRING>"
    rows = ValueStateDescriptor("rows", "BIGINT")

    def eval(self, ctx: Context, input: Row, wait: datetime.timedelta) -> Iterator[Any]:
        timers = ctx.timer_service()
        self.rows.update((self.rows.value() or 0) + 1)
        timers.register_processing_time_timer(timers.current_processing_time() + wait, "alarm")
        yield (f"row {self.rows.value()}",)

    def on_timer(self, ctx: Context) -> Iterator[Any]:
        yield (f"alarm after {self.rows.value()}",)
