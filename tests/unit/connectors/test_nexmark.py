"""The Nexmark generator: a function of (seed, n), whatever batches, splits and restarts; shapes; files of it."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from connector_cases import file_table, read, read_from, read_positions, relation, schema, source_of, table, whole

from sqlstream.connectors.nexmark import write_json
from sqlstream.connectors.nexmark_generator import TABLE
from sqlstream.connectors.registry import connector
from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.errors import DataError, OptionError
from sqlstream.types import BIGINT, INT, STRING, row, timestamp

EVENTS = schema(*TABLE.items())
LEAVES = ScanRequest(
    (
        ScanColumn(("event_type",), INT),
        ScanColumn(("bid", "auction"), BIGINT),
        ScanColumn(("bid", "extra"), STRING),
        ScanColumn(("auction", "expires"), timestamp(3)),
        ScanColumn(("person", "name"), STRING),
    ),
    (("d", "c1 + 1"),),
)


def nexmark(**options: str) -> Any:
    options.setdefault("events_num", "1000")
    return table(EVENTS, connector="nexmark", **options)


def test_batches_do_not_matter() -> None:
    rnd = random.Random(1)
    rows = read(nexmark())[0]
    assert len(rows) == 1000
    assert read(nexmark(), batch=lambda: rnd.randrange(1, 90))[0] == rows
    assert relation(nexmark()) == rows
    assert read(nexmark(events_num="400"))[0] == rows[:400]
    assert read(nexmark(seed="7"))[0] != rows


def test_only_what_is_asked_for_is_the_same() -> None:
    rows = read(nexmark())[0]
    leaves = read(nexmark(), LEAVES)[0]
    for (kind, person, auction, bid), leaf in zip(rows, leaves, strict=True):
        assert leaf[0] == kind
        assert leaf[1] == (bid and bid["f0"]) and leaf[2] == (bid and bid["f6"])
        assert leaf[3] == (auction and auction["f6"]) and leaf[4] == (person and person["f1"])
        assert leaf[5] == (bid and bid["f0"] + 1)
        assert [person is not None, auction is not None, bid is not None].index(True) == kind


def test_splits_are_the_same_events() -> None:
    rows = read(nexmark())[0]
    source = source_of(nexmark(splits="3"))
    splits = source.splits()
    assert len(splits) == 3 and source.splits(tuple(splits)) == splits
    for i, split in enumerate(splits):
        reader = source.reader(split, None, whole(EVENTS))
        got: list[Any] = []
        while not reader.finished:
            b = reader.poll(50)
            assert b is not None and b.first_row == len(got)
            got += [tuple(r.values()) for r in b.batch.to_pylist()]
        assert got == rows[i::3]


def test_resume_from_every_position() -> None:
    rows = read(nexmark())[0]
    for position, first, part in read_positions(nexmark(), 37):
        assert read_from(nexmark(), position) == rows[first + len(part) :]


def test_shapes() -> None:
    rows = read(nexmark(events_num="50000"), batch=65_536)[0]
    assert Counter(r[0] for r in rows) == {0: 1000, 1: 3000, 2: 46000}
    assert [r[1]["f0"] for r in rows if r[1]] == list(range(1000, 2000))
    assert [r[2]["f0"] for r in rows if r[2]] == list(range(1000, 4000))
    times = [(r[1] or r[2] or r[3])["f6" if r[1] else "f5"] for r in rows]
    assert times == sorted(times) and (times[-1] - times[0]).total_seconds() == pytest.approx(5, abs=0.01)
    bids = [r[3] for r in rows if r[3]]
    hot = sum(b["f0"] % 100 == 0 for b in bids) / len(bids)
    assert 0.48 < hot < 0.53
    assert 0.74 < sum(b["f1"] % 100 == 1 for b in bids) / len(bids) < 0.78
    assert all(100 <= b["f2"] <= 100_000_000 for b in bids)
    channels = Counter(b["f3"] for b in bids)
    assert {c for c, _ in channels.most_common(4)} == {"Google", "Facebook", "Baidu", "Apple"}
    assert 0.85 < sum("channel_id" in b["f4"] for b in bids) / sum(b["f3"].startswith("ch") for b in bids) < 0.95
    assert 60 < sum(len(b["f6"]) for b in bids) / len(bids) < 75
    auctions = [r[2] for r in rows if r[2]]
    assert all(a["f4"] > a["f3"] and a["f6"] > a["f5"] and 10 <= a["f8"] < 15 for a in auctions)
    people = {r[1]["f0"] for r in rows if r[1]}
    known = sum(b["f1"] in people for b in bids) / len(bids)
    assert known > 0.95
    assert len({b["f6"] for b in bids}) > 40_000


def test_out_of_order_is_a_permutation() -> None:
    rows = read(nexmark())[0]
    shuffled = read(nexmark(out__of__order_group__size="100"))[0]
    assert shuffled != rows and sorted(map(str, shuffled)) == sorted(map(str, rows))
    for i in range(0, 1000, 100):
        assert sorted(map(str, shuffled[i : i + 100])) == sorted(map(str, rows[i : i + 100]))


def test_two_rates() -> None:
    options = {"first__event_rate": "100", "next__event_rate": "1000", "rate_period": "2 s"}
    rows = read(nexmark(events_num="2201", **options))[0]
    times = [(r[1] or r[2] or r[3])["f6" if r[1] else "f5"] for r in rows]
    seconds = [(t - times[0]).total_seconds() for t in times]
    assert seconds[100] == 1.0 and seconds[1100] == 2.0 and seconds[1200] == 3.0 and seconds[2200] == 4.0
    assert seconds == sorted(seconds)


def test_paced_by_the_clock() -> None:
    source: Any = source_of(nexmark(rate_limited="true", first__event_rate="100", events_num="0"))
    assert not source.bounded
    now = [5.0]
    source.clock = lambda: now[0]
    (split,) = source.splits()
    reader = source.reader(split, None, LEAVES)

    def count() -> int:
        n = 0
        while (b := reader.poll(1000)) is not None:
            n += b.batch.num_rows
        return n

    assert count() == 1  # event 0 is due at once
    now[0] += 0.105
    assert count() == 10
    assert count() == 0
    now[0] += 10
    assert count() == 1000
    assert not reader.finished
    reader = source.reader(split, {"n": 1011}, LEAVES)  # after a restart the pace begins anew
    assert count() == 1


def test_declared_columns() -> None:
    some = schema(("bid", row(("price", BIGINT), ("auction", BIGINT))), ("event_type", INT))
    t = table(some, connector="nexmark", events_num="100")
    rows = read(nexmark(events_num="100"))[0]
    assert read(t)[0] == [(bid and {"f0": bid["f2"], "f1": bid["f0"]}, kind) for kind, _, _, bid in rows]
    with pytest.raises(DataError, match="no column 'bids'"):
        source_of(table(schema(("bids", INT)), connector="nexmark"))
    with pytest.raises(DataError, match=r"bid\.price"):
        source_of(table(schema(("bid", row(("price", INT)))), connector="nexmark"))
    with pytest.raises(OptionError, match="base-time"):
        source_of(nexmark(base__time="soon"))


def test_ddl() -> None:
    t = table(schema())
    ddl = connector(t, "nexmark").ddl_columns(t)
    assert ddl is not None
    assert ddl.startswith("`event_type` INT, `person` ROW<`id` BIGINT, `name` STRING, ")
    assert ddl.endswith("WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND")


@pytest.mark.parametrize("order", ["interleaved", "consecutive"])
def test_files(order: str, tmp_path: Path) -> None:
    paths = write_json(str(tmp_path), 1000, 3, order)
    rows = read(nexmark())[0]
    whole_files = [read(file_table(p, EVENTS, format="json"))[0] for p in paths]
    if order == "interleaved":
        assert whole_files == [rows[i::3] for i in range(3)]
    else:
        assert whole_files == [rows[:334], rows[334:668], rows[668:]]


def test_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sqlstream.connectors.nexmark", "--events", "100", "--files", "2"]
    out = subprocess.run([*command, "--output", str(tmp_path)], capture_output=True, text=True, check=True)
    assert out.stderr == "" and len(out.stdout.splitlines()) == 2
    assert sum(len(p.read_text().splitlines()) for p in tmp_path.glob("*.json")) == 100


def test_arrow_types() -> None:
    source = source_of(nexmark())
    reader = source.reader(source.splits()[0], None, whole(EVENTS))
    got = reader.poll(100)
    assert got is not None and got.batch.schema == whole(EVENTS).arrow_schema()
    got.batch.validate(full=True)
    assert isinstance(got.batch, pa.RecordBatch)


def test_event_time_is_the_clock_s_and_stays_so_over_a_restart() -> None:
    options = {"rate_limited": "true", "first__event_rate": "100", "base__time": "now", "events_num": "0"}
    made: Any = source_of(nexmark(**options))
    now = [1_000_000.5004]
    made.clock = lambda: now[0]
    (split,) = made.splits()

    def rows(position: Any) -> tuple[list[float], Any]:
        """Seconds since the job's start at which the events say they were due, and where they end."""
        b = made.reader(split, position, whole(EVENTS)).poll(1000)
        events = [tuple(r.values()) for r in b.batch.to_pylist()]
        times = [(p or a or b)["f6" if p else "f5"] for _, p, a, b in events]
        assert b.drained
        return [round((t - datetime(1970, 1, 1)).total_seconds() - 1_000_000.5, 3) for t in times], b.position

    now[0] += 0.02
    first, position = rows(None)
    assert first == [0, 0.01, 0.02]
    now[0] += 0.03  # while nobody reads
    assert rows(position)[0] == [0.03, 0.04, 0.05]
