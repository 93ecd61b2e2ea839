"""How long rows wait before sinks send them: by the meaning of Flink's `sink.buffer-flush.*`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sqlstream.batches import Kind
from sqlstream.connectors.kafka.connector import UpsertKafkaConnector
from sqlstream.connectors.kafka.sink import KafkaWriter, ReducingWriter
from sqlstream.connectors.upsert import WaitingUpsertWriter
from sqlstream.connectors.waiting import Limits
from sqlstream.errors import OptionError
from sqlstream.testing.connectors import table


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def rows(*values: tuple[str, int]) -> pa.RecordBatch:
    return pa.record_batch({"k": [v[0] for v in values], "n": pa.array([v[1] for v in values], pa.int64())})


class Writer(WaitingUpsertWriter):
    def __init__(self, limits: Limits, clock: Clock) -> None:
        super().__init__(("k",), limits, clock)
        self.sends: list[list[tuple[Any, ...]]] = []

    def upsert(self, rows: pa.RecordBatch) -> None:
        self.sends.append([tuple(r.values()) for r in rows.to_pylist()])

    def delete(self, keys: pa.RecordBatch) -> None:
        self.sends.append([tuple(r.values()) for r in keys.to_pylist()])


def test_rows_wait_until_they_are_old_enough() -> None:
    clock = Clock()
    w = Writer(Limits(rows=3, interval=2_000_000), clock)
    w.write(rows(("a", 1)), None)
    w.flush()
    clock.now += 1.9
    w.write(rows(("a", 2)), None)
    w.flush()
    assert w.sends == []
    clock.now += 0.1  # the first one has waited two seconds, over the ends of two epochs
    w.flush()
    assert w.sends == [[("a", 2)]]
    clock.now += 9
    w.flush()
    assert len(w.sends) == 1


def test_rows_wait_until_there_are_enough_and_never_over_a_checkpoint() -> None:
    w = Writer(Limits(rows=3, interval=3_600_000_000), Clock())
    w.write(rows(("a", 1), ("b", 1)), None)
    w.flush()
    assert w.sends == []
    w.write(rows(("a", 2)), np.array([Kind.DELETE], np.int8))
    assert w.sends == [[("b", 1)], [("a",)]]
    w.write(rows(("c", 1)), None)
    assert w.prepare(1) == [] and w.sends[2:] == [[("c", 1)]]


def test_without_an_interval_rows_wait_for_the_end_of_the_epoch() -> None:
    w = Writer(Limits(), Clock())
    w.write(rows(("a", 1)), None)
    assert w.sends == []
    w.flush()
    assert w.sends == [[("a", 1)]]


def test_bytes_that_wait_are_bounded() -> None:
    w = Writer(Limits(interval=3_600_000_000, bytes=100), Clock())
    w.write(rows(("a", 1)), None)
    assert w.sends == []
    w.write(rows(("b" * 200, 1)), None)
    assert len(w.sends) == 1


class Sent(KafkaWriter):
    """Of a KafkaWriter what a ReducingWriter needs."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, int, int]] = []
        self.done: list[str] = []

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        assert kinds is not None
        self.messages += zip(*batch.to_pydict().values(), kinds.tolist(), strict=True)
        self.sent(10 * batch.num_rows)

    def flush(self) -> None:
        self.done.append("flush")

    def prepare(self, checkpoint: int) -> list[Any]:
        self.done.append(f"prepare {len(self.messages)}")
        return [{"transaction": "x"}]

    def close(self) -> None:
        self.done.append("close")


def test_of_messages_that_wait_the_last_of_each_key_is_sent() -> None:
    """As Flink's ReducingUpsertWriter; with transactions, too, since a checkpoint takes what waits."""
    clock, sent = Clock(), Sent()
    w = ReducingWriter(sent, ("k",), Limits(4, 1_000_000), clock)
    w.write(rows(("a", 1), ("b", 1)), None)
    w.write(rows(("a", 2)), np.array([Kind.UPDATE_AFTER], np.int8))
    w.flush()
    assert sent.messages == [] and sent.done == ["flush"]
    w.write(rows(("b", 1)), np.array([Kind.DELETE], np.int8))
    assert sent.messages == [("a", 2, Kind.UPDATE_AFTER), ("b", 1, Kind.DELETE)] and w.bytes_sent == 20
    w.write(rows(("c", 1)), None)
    clock.now += 1
    w.flush()
    assert sent.messages[2:] == [("c", 1, Kind.INSERT)]
    w.write(rows(("c", 2)), None)
    assert w.prepare(7) == [{"transaction": "x"}] and sent.done[-1] == "prepare 4"
    w.close()
    assert sent.done[-1] == "close"


@pytest.mark.parametrize(
    ("given", "alone"),
    [({"max-rows": "10"}, "max-rows"), ({"interval": "1 s"}, "interval"), ({"max-rows": "0", "interval": "1 s"}, "interval")],
)  # fmt: skip
def test_both_options_of_upsert_kafka_go_together(given: dict[str, str], alone: str) -> None:
    """Flink: "must be set to be greater than zero together to enable sink buffer flushing"."""
    options = {"topic": "t", "properties.bootstrap.servers": "127.0.0.1:9", "key.format": "raw", "value.format": "json"}
    options |= {f"sink.buffer-flush.{k}": v for k, v in given.items()}
    connector = UpsertKafkaConnector()
    with pytest.raises(OptionError, match=f"option 'sink.buffer-flush.{alone}' goes with") as e:
        connector.sink(table(connector, "k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED", options))
    assert "or neither" in (e.value.hint or "")
