"""What goes wrong with topics, tasks and transactions, against a real broker: nothing waits for ever, and nobody's rows are lost."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import KafkaError as Error
from confluent_kafka import KafkaException, Producer
from harness.servers import Kafka
from harness.topics import Topics

import sqlstream
from sqlstream.connectors.kafka.brokers import Brokers
from sqlstream.connectors.kafka.connector import KafkaConnector, UpsertKafkaConnector
from sqlstream.connectors.kafka.coordinator import Coordinator
from sqlstream.connectors.kafka.library import KafkaError, library
from sqlstream.connectors.kafka.sink import KafkaSink, TransactionWriter
from sqlstream.connectors.kafka.source import KafkaSource
from sqlstream.contracts import SinkTask
from sqlstream.errors import NotSupported
from sqlstream.operators import source_scan
from sqlstream.testing.connectors import stage, table, whole

ROWS = pa.record_batch({"id": pa.array([1, 2], pa.int64())})
TASK = SinkTask("job", "run", 0)


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    return Topics(kafka.bootstrap)


def declared(topics: Topics, topic: str, **more: str) -> str:
    options = {
        "connector": "kafka", "topic": topic, "properties.bootstrap.servers": topics.bootstrap, "format": "json",
        "scan.startup.mode": "earliest-offset", **{k.replace("__", "-").replace("_", "."): v for k, v in more.items()},
    }  # fmt: skip
    said = ", ".join(f"'{k}' = '{v}'" for k, v in options.items())
    return f"CREATE TEMPORARY TABLE t (id BIGINT) WITH ({said})"


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_a_broker_that_is_not_there_is_said_to_be(guarantee: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the library has seen: a minute of silence and "not with the brokers" would leave everybody guessing."""
    monkeypatch.setattr("sqlstream.connectors.kafka.sink.SECONDS", 1.5)
    options = {"topic": "t", "properties.bootstrap.servers": "127.0.0.1:1", "format": "json",
               "sink.delivery-guarantee": guarantee, "sink.transactional-id-prefix": "p"}  # fmt: skip
    writer = KafkaConnector().sink(table(KafkaConnector(), "id BIGINT", options)).writer(TASK)
    with pytest.raises(KafkaError, match=r"Connect to ipv4#127\.0\.0\.1:1 failed: Connection refused"):
        try:
            writer.write(ROWS, None)
            writer.prepare(1)
        finally:
            writer.close()


def streamed(topics: Topics, topic: str, then: list[tuple[int, str]], wanted: int) -> list[int]:
    """So many rows of an unbounded query; `then`: what comes when it has waited for a while, each in a partition."""

    def put() -> None:
        time.sleep(1.0)
        for partition, value in then:
            topics.put(topic, [value], partition)

    found: list[int] = []
    with sqlstream.connect() as c:
        for sql in (
            "SET 'execution.runtime-mode' = 'streaming'",
            "SET 'parallelism.default' = '1'",
            declared(topics, topic),
        ):
            c.execute(sql)
        for row in c.execute("SELECT id FROM t"):
            if not found:
                threading.Thread(target=put, daemon=True).start()
            found.append(row[-1])
            if len(found) == wanted:
                break
    return found


@pytest.mark.timeout(30)
def test_a_malformed_message_ends_a_job_that_waits(topics: Topics) -> None:
    topic = topics.new()
    topics.put(topic, ['{"id": 1}'])
    with pytest.raises(Exception, match="offset 1: malformed record"):
        streamed(topics, topic, [(0, '{"id": "x"}')], 2)


@pytest.mark.timeout(30)
def test_partitions_that_wait_are_read_on_however_many(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_scan, "OPEN", 1)
    topic = topics.new(4)
    topics.put(topic, ['{"id": 9}'])
    assert sorted(streamed(topics, topic, [(p, f'{{"id": {p}}}') for p in range(4)], 5)) == [0, 1, 2, 3, 9]


def test_a_partition_that_has_no_leader_yet_is_asked_about_again(topics: Topics) -> None:
    """So it is for a moment after a topic was made."""
    brokers = Brokers({"bootstrap.servers": topics.bootstrap}, "t")
    refused = [5, 6]

    def ask(timeout: float) -> str:
        if refused:
            raise KafkaException(Error(refused.pop()))
        return "answer"

    assert brokers._asked(ask) == "answer"
    refused[:] = [29]  # TOPIC_AUTHORIZATION_FAILED
    with pytest.raises(KafkaError, match="authoriz"):
        brokers._asked(ask)
    brokers.close()


def test_offsets_of_some_partitions(topics: Topics) -> None:
    """Flink's SpecifiedOffsetsInitializer: of the others what the group has committed, else their start."""
    topic = topics.new(2)
    for p in (0, 1):
        topics.put(topic, [f'{{"id": {10 * p + i}}}' for i in range(3)], partition=p)
    for expected, more in (
        ([2, 10, 11, 12], {"scan_startup_mode": "specific-offsets", "scan_startup_specific__offsets": "partition:0,offset:2",
                           "scan_bounded_mode": "latest-offset"}),
        ([0, 1], {"scan_bounded_mode": "specific-offsets", "scan_bounded_specific__offsets": "partition:0,offset:2"}),
    ):  # fmt: skip
        with sqlstream.connect() as c:
            c.execute(declared(topics, topic, **more))
            assert c.execute("SELECT id FROM t ORDER BY id").fetchall() == [(i,) for i in expected]


def test_values_have_columns(topics: Topics) -> None:
    options = {"topic": "t", "properties.bootstrap.servers": topics.bootstrap, "key.format": "json", "value.format": "json",
               "value.fields-include": "EXCEPT_KEY"}  # fmt: skip
    connector = UpsertKafkaConnector()
    t = table(connector, "id BIGINT, PRIMARY KEY (id) NOT ENFORCED", options)
    with pytest.raises(NotSupported, match="no column is left for the values"):
        connector.sink(t)


def test_many_partitions_are_not_read_further_ahead_than_a_few(topics: Topics) -> None:
    """librdkafka's limit is of a queue, and each partition has one."""
    topic, value = topics.new(64), b"x" * 100_000
    topics.put(topic, [value] * 300)
    options = {
        "topic": topic,
        "properties.bootstrap.servers": topics.bootstrap,
        "format": "raw",
        "scan.startup.mode": "earliest-offset",
    }
    t = table(KafkaConnector(), "x BYTES", options)
    source = KafkaConnector().source(t)
    assert isinstance(source, KafkaSource)
    source.splits()
    queue, length = source._shared().open(topic, 0, 0), library().rd_kafka_queue_length
    length.restype, length.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    waiting, last = 0, -1
    while not waiting or waiting != last:
        time.sleep(0.5)
        waiting, last = length(queue._queue), waiting
    queue.close()
    source._release()
    assert 0 < waiting < 150


def test_text_that_an_encoding_has_not_is_written_as_java_does(topics: Topics) -> None:
    topic = topics.new()
    with sqlstream.connect() as c:
        c.execute("SET 'table.dml-sync' = 'true'")
        c.execute(declared(topics, topic, format="raw", raw_charset="ISO-8859-1").replace("id BIGINT", "x STRING"))
        c.execute("INSERT INTO t VALUES ('ü€')")
    assert topics.values(topic) == [b"\xfc?"]


def test_the_position_goes_on_without_rows(topics: Topics) -> None:
    """Behind marks of transactions and messages without rows: else they must not be deleted before the job goes on."""
    topic = topics.new()
    producer = Producer({"bootstrap.servers": topics.bootstrap, "transactional.id": topic, "log_level": 0})
    producer.init_transactions()
    producer.begin_transaction()
    for value in (b'{"id": 1}', None):
        producer.produce(topic, value)
    producer.commit_transaction()
    options = {
        "topic": topic,
        "properties.bootstrap.servers": topics.bootstrap,
        "format": "json",
        "scan.startup.mode": "earliest-offset",
    }
    t = table(KafkaConnector(), "id BIGINT", options)
    source = KafkaConnector().source(t)
    (split,) = source.splits()
    for position in (None, {"offset": 1}):
        reader = source.reader(split, position, whole(t.schema))
        until, rows = time.monotonic() + 20, 0
        while position != {"offset": 3}:
            assert time.monotonic() < until, position
            if (got := reader.poll(10)) is not None:
                position, rows = got.position, rows + got.batch.num_rows
        assert reader.poll(10) is None
        reader.close()
    assert rows == 0


# ---- transactions


def sink(topics: Topics, topic: str, prefix: str) -> KafkaSink:
    options = {"topic": topic, "properties.bootstrap.servers": topics.bootstrap, "format": "json",
               "sink.delivery-guarantee": "exactly-once", "sink.transactional-id-prefix": prefix}  # fmt: skip
    made = KafkaConnector().sink(table(KafkaConnector(), "id BIGINT", options))
    assert isinstance(made, KafkaSink)
    return made


def writing(made: KafkaSink) -> Any:
    """A writer whose transaction has rows at the brokers."""
    writer = made.writer(TASK)
    assert isinstance(writer, TransactionWriter)
    writer.write(ROWS, None)
    assert writer._current is not None
    writer._current.flush(20)
    return writer


def open_of(made: KafkaSink) -> list[Any]:
    coordinator = Coordinator(made.target.settings, "t")
    try:
        return list(coordinator.open(made.target.transactional_ids))
    finally:
        coordinator.close()


def test_a_prefix_that_begins_like_another_is_another(topics: Topics) -> None:
    topic = topics.new()
    commit = stage(sink(topics, topic, f"{topic}-b"), TASK, ROWS)
    sink(topics, topic, topic).committer(TASK).abort()
    commit()
    assert len(topics.values(topic)) == 2


def test_what_is_given_up_holds_no_reader_back(topics: Topics) -> None:
    topic = topics.new()
    made = sink(topics, topic, topic)
    writer = writing(made)
    assert len(open_of(made)) == 1
    writer.close()
    assert not open_of(made)
    assert topics.values(topic) == []


def test_a_transaction_that_brokers_aborted_is_in_no_checkpoint(topics: Topics) -> None:
    """Its rows are read again then, where a checkpoint that has it could never be committed."""
    made = sink(topics, topics.new(), "of_" + topics.new())
    writer = writing(made)
    made.committer(TASK).abort()
    with pytest.raises(KafkaError, match="was aborted by the brokers"):
        writer.prepare(1)
    writer.close()


def test_producers_are_used_again(topics: Topics) -> None:
    made = sink(topics, topics.new(), "of_" + topics.new())
    writer, committer = made.writer(TASK), made.committer(TASK)
    names = set()
    for checkpoint in range(4):
        writer.write(ROWS, np.zeros(2, np.int8))
        prepared = writer.prepare(checkpoint)
        names |= {c["transaction"] for c in prepared}
        committer.commit(prepared)
    writer.close()
    assert len(names) == 1


def test_a_job_that_begins_from_a_checkpoint_commits_what_that_has(topics: Topics, tmp_path: Path) -> None:
    """Also where it takes the place of the job that died before it could."""
    source, out = topics.new(), topics.new()
    topics.put(source, (f'{{"id": {i}}}' for i in range(300)))
    exactly = {"sink_delivery__guarantee": "exactly-once", "sink_transactional__id__prefix": out}
    script = tmp_path / "job.sql"

    def run(fault: dict[str, str], *more: str) -> int:
        script.write_text("; ".join([
            "SET 'pipeline.name' = 'copy'", "SET 'execution.runtime-mode' = 'streaming'", "SET 'execution.epoch.max-rows' = '100'",
            *more, declared(topics, source, scan_bounded_mode="latest-offset"),
            declared(topics, out, **exactly).replace("TABLE t", "TABLE o"), "INSERT INTO o SELECT id FROM t",
        ]) + ";")  # fmt: skip
        command = [sys.executable, "-m", "sqlstream", "run", str(script), *(["--fresh"] if more else [])]
        return subprocess.run(command, cwd=tmp_path, env={**os.environ, **fault}, timeout=60).returncode

    assert run({"SQLSTREAM_FAULT": "before-publish:2"}) == -signal.SIGKILL
    (last,) = tmp_path.glob(".sqlstream/copy/runs/*/chk-2")
    assert run({}, f"SET 'execution.state-recovery.path' = '{last}'") == 0
    assert sorted(json.loads(v or b"")["id"] for v in topics.values(out)) == list(range(300))
