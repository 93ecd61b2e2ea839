"""Connector 'nexmark': the events of the Nexmark benchmark, generated; `nexmark_generator.py` says how.

A table without columns has the benchmark's (event_type, person, auction, bid, `dateTime` and its watermark). Split i
of k has the events n with n mod k = i, so that time advances alike in all of them; the position is {"n": next event
number}. With 'rate.limited' an event appears when the clock has reached its time, counted from the start of the run;
with 'base-time' = 'now' event time is the wall clock's, so that an event is as old as the delay since it was due. What
was due while the job stood still is then there at once when it resumes.

`python -m sqlstream.connectors.nexmark --events N --files K --output DIR` writes events as JSON lines.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.derive import Derivation
from sqlstream.connectors.nexmark_generator import TABLE, EventBatch, NexmarkConfig
from sqlstream.connectors.nexmark_strings import StringPools
from sqlstream.contracts import Connector, ScanRequest, Source, SourceBatch, Split, SplitReader, TableContext
from sqlstream.errors import DataError, OptionError, did_you_mean
from sqlstream.formats.json_encode import JsonEncoder
from sqlstream.options import Option, read
from sqlstream.types import Column, Schema

BATCH = 65_536
NOW = "now"


class NexmarkConnector(Connector):
    """`'connector' = 'nexmark'`: for reading only."""

    name = "nexmark"
    options = (
        Option("events.num", "int", 1_000_000, "number of events; 0: without end", minimum=0),
        Option("seed", "int", 0, "another seed gives other events"),
        Option("splits", "int", 1, "number of splits, read in parallel", minimum=1),
        Option("base-time", "string", "2015-07-15 00:00:00", "event time of the first event; now: of the job's start"),
        Option("first-event.rate", "int", 10_000, "events a second of event time", minimum=1),
        Option("next-event.rate", "int", None, "rate of each second half of a period; default: the first", minimum=1),
        Option("rate.period", "duration", 600_000_000, "time after which the first rate comes again", minimum=2_000_000),
        Option("rate.limited", "bool", False, "whether events appear by the clock, at their rate"),
        Option("person.proportion", "int", 1, "persons among the events", minimum=1),
        Option("auction.proportion", "int", 3, "auctions among the events", minimum=1),
        Option("bid.proportion", "int", 46, "bids among the events", minimum=0),
        Option("person.avg-size", "memory", 200, "average size of a person"),
        Option("auction.avg-size", "memory", 500, "average size of an auction"),
        Option("bid.avg-size", "memory", 100, "average size of a bid"),
        Option("bid.hot-ratio.auctions", "int", 2, "of so many bids one is not for a hot auction", minimum=1),
        Option("bid.hot-ratio.bidders", "int", 4, "of so many bids one is not by a hot bidder", minimum=1),
        Option("auction.hot-ratio.sellers", "int", 4, "of so many auctions one is not by a hot seller", minimum=1),
        Option("num.active-people", "int", 1000, "persons who bid and sell", minimum=1),
        Option("num.inflight-auctions", "int", 100, "auctions that are bid for", minimum=1),
        Option("out-of-order.group-size", "int", 1, "events shuffled among each other; 1: in order", minimum=1),
    )  # fmt: skip

    def ddl_columns(self, table: TableContext) -> str | None:
        columns = ", ".join(f"`{name}` {t}" for name, t in TABLE.items())
        return (
            f"{columns}, `dateTime` AS CASE event_type WHEN 0 THEN person.`dateTime` "
            "WHEN 1 THEN auction.`dateTime` ELSE bid.`dateTime` END, "
            "WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND"
        )

    def source(self, table: TableContext) -> Source:
        options = read(table.options, self.options, f"table {table.name}")
        for c in table.schema:
            _check_column(table, c)
        return NexmarkSource(options, config_of(options, f"table {table.name}"), table.seconds)


def _check_column(table: TableContext, c: Column) -> None:
    if c.name not in TABLE:
        raise DataError(
            f"table {table.name}: nexmark has no column '{c.name}'", hint=did_you_mean(c.name, TABLE, "columns")
        )
    known = {f.name: f.type for f in TABLE[c.name].fields}
    for f in c.type.fields:
        if f.name not in known or f.type.text() != known[f.name].text():
            raise DataError(
                f"table {table.name}: nexmark has no {c.name}.{f.name} of type {f.type}",
                hint="leave the columns out: the table then has all of them",
            )
    if not c.type.fields and c.type.text() != TABLE[c.name].text():
        raise DataError(f"table {table.name}: nexmark's column {c.name} is {TABLE[c.name]}, not {c.type}")


def config_of(options: Mapping[str, Any], where: str) -> NexmarkConfig:
    """What options say of the events. OptionError, which begins with `where`, for a time that is none."""
    try:
        text = "1970-01-01" if options["base-time"] == NOW else options["base-time"]
        base = np.datetime64(text.strip().replace(" ", "T"), "us").astype(np.int64)
    except ValueError:
        raise OptionError(
            f"{where}: option 'base-time': expected a time such as '2015-07-15 00:00:00', or '{NOW}'"
        ) from None
    return NexmarkConfig(
        seed=options["seed"],
        base_time=int(base),
        first_rate=options["first-event.rate"],
        next_rate=options["next-event.rate"] or options["first-event.rate"],
        rate_period=options["rate.period"],
        person_proportion=options["person.proportion"],
        auction_proportion=options["auction.proportion"],
        bid_proportion=options["bid.proportion"],
        person_size=options["person.avg-size"],
        auction_size=options["auction.avg-size"],
        bid_size=options["bid.avg-size"],
        hot_auctions=options["bid.hot-ratio.auctions"],
        hot_bidders=options["bid.hot-ratio.bidders"],
        hot_sellers=options["auction.hot-ratio.sellers"],
        active_people=options["num.active-people"],
        inflight_auctions=options["num.inflight-auctions"],
        out_of_order_group=options["out-of-order.group-size"],
    )


class NexmarkSource(Source):
    """`clock`: seconds, for 'rate.limited'; with 'base-time' = 'now' the wall clock, whose time splits carry."""

    def __init__(self, options: Mapping[str, Any], config: NexmarkConfig, seconds: Callable[[], float]) -> None:
        self._events: int | None = options["events.num"] or None
        self._splits: int = options["splits"]
        self._limited: bool = options["rate.limited"]
        self._now: bool = options["base-time"] == NOW
        self._config = config
        self.bounded = self._events is not None
        self.clock: Callable[[], float] = time.time if self._now else seconds
        self._hurried = False

    def hurry(self, hurried: bool) -> None:
        self._hurried = hurried

    def splits(self, known: tuple[Split, ...] = (), *checkpoint: Any) -> list[Split]:
        if known:
            return list(known)
        base = {"base": int(self.clock() * 1000) * 1000} if self._now else {}
        return [
            Split(f"{i}/{self._splits}", {"first": i, "step": self._splits, **base}, i) for i in range(self._splits)
        ]

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        first, step = int(split.info["first"]), int(split.info["step"])
        start = int(position["n"]) if position else first + step * first_row
        config, zero = self._config, None
        if "base" in split.info:
            config = replace(config, base_time=int(split.info["base"]))
            zero = config.base_time / 1e6
        clock = self.clock if self._limited and not self._hurried else None
        return NexmarkReader(config, self._events, first, step, start, request, clock, zero)


class NexmarkReader(SplitReader):
    """Events start, start + step, … below `events`. Without a `clock` as many as are asked for.

    `zero`: the clock's time at which event 0 is due; None: such that the next event is due now.
    """

    def __init__(
        self,
        config: NexmarkConfig,
        events: int | None,
        first: int,
        step: int,
        start: int,
        request: ScanRequest,
        clock: Callable[[], float] | None = None,
        zero: float | None = None,
    ) -> None:
        self._config, self._request, self._clock = config, request, clock
        self._end = events
        self._first, self._step, self._next = first, step, start
        self._pools = StringPools(config.seed)
        self._derivation = Derivation(request)
        self._zero = 0.0
        if clock is not None:
            self._zero = clock() - self._due(start) if zero is None else zero

    def poll(self, max_rows: int) -> SourceBatch | None:
        count = most = min(max_rows, BATCH)
        if self._end is not None:
            count = min(count, -(-(self._end - self._next) // self._step))
        if self._clock is not None:
            count = self._ready(count, self._clock() - self._zero)
        if count <= 0:
            return None
        numbers = np.arange(self._next, self._next + count * self._step, self._step, dtype=np.int64)
        row = (self._next - self._first) // self._step
        self._next += count * self._step
        return SourceBatch(self._batch(numbers), row, {"n": self._next}, count < most and not self.finished)

    @property
    def finished(self) -> bool:
        return self._end is not None and self._next >= self._end

    def _batch(self, numbers: np.ndarray) -> pa.RecordBatch:
        events = EventBatch(self._config, self._pools, numbers)
        schema = self._request.arrow_schema()
        arrays = []
        for c, f in zip(self._request.columns, schema, strict=True):
            arrays.append(_cut(events.column(c.path), c.path, c.type.fields, f.type))
        if not arrays:
            schema, arrays = pa.schema([("one", pa.int32())]), [pa.array(np.ones(len(numbers), np.int32))]
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        return self._derivation.of(batch)

    def _due(self, number: int) -> float:
        """Seconds after the start at which an event is due."""
        return (int(self._config.times(np.array([number]))[0]) - self._config.base_time) / 1_000_000

    def _ready(self, count: int, elapsed: float) -> int:
        """How many of the next `count` events are due, by halving: times never decrease."""
        low, high = 0, count
        while low < high:
            middle = (low + high + 1) // 2
            if self._due(self._next + (middle - 1) * self._step) <= elapsed:
                low = middle
            else:
                high = middle - 1
        return low


def _cut(array: pa.Array, path: tuple[str, ...], fields: tuple[Any, ...], want: pa.DataType) -> pa.Array:
    """A whole ROW column in the fields that the table declares, which may be fewer or in another order."""
    if len(path) != 1 or not fields:
        return array
    names = [f.name for f in TABLE[path[0]].fields]
    if [f.name for f in fields] == names:
        return array
    arrays = [array.field(names.index(f.name)) for f in fields]
    return pa.StructArray.from_arrays(arrays, fields=list(want), mask=array.is_null())


def write_json(directory: str, events: int, files: int = 1, order: str = "interleaved", **config: Any) -> list[str]:
    """Write `events` events as JSON lines into `files` files and give their paths.

    `order`: 'interleaved': file i of k gets the events n with n mod k = i, so time advances alike in all;
    'consecutive': one range after the other. `config`: fields of NexmarkConfig.
    """
    settings = NexmarkConfig(**config)
    pools = StringPools(settings.seed)
    schema = Schema(tuple(Column(name, t) for name, t in TABLE.items()))
    encoder = JsonEncoder(schema)
    os.makedirs(directory, exist_ok=True)
    paths = []
    size = -(-events // files)
    for i in range(files):
        interleaved = order == "interleaved"
        numbers = np.arange(i, events, files) if interleaved else np.arange(i * size, min((i + 1) * size, events))
        path = os.path.join(directory, f"events-{i:03d}.json")
        paths.append(path)
        with open(path, "wb") as out:
            for begin in range(0, len(numbers), BATCH):
                batch = EventBatch(settings, pools, numbers[begin : begin + BATCH])
                arrays = [batch.column((name,)) for name in TABLE]
                record = pa.RecordBatch.from_arrays(arrays, schema=schema.arrow())
                for buffer in encoder.encode(record, None):
                    out.write(memoryview(buffer))
    return paths


def main(arguments: list[str] | None = None) -> None:
    """The command: writes JSON files, and prints their paths."""
    parser = argparse.ArgumentParser(prog="python -m sqlstream.connectors.nexmark", description="Write Nexmark events")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--order", choices=("interleaved", "consecutive"), default="interleaved")
    parser.add_argument("--rate", type=int, default=10_000, help="events a second of event time")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    for path in write_json(given.output, given.events, given.files, given.order, seed=given.seed,
                           first_rate=given.rate, next_rate=given.rate):  # fmt: skip
        print(path)


if __name__ == "__main__":
    main()
