"""Connector 'kafka' as a source, against a real broker. What rows there must be is reasoned from Flink's documentation."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness.kafka_tables import both_ways, declare
from harness.servers import Kafka
from harness.topics import Topics

import sqlstream
from sqlstream.connectors.kafka.connector import KafkaConnector
from sqlstream.errors import SqlStreamError
from sqlstream.testing.connectors import table, whole

COLUMNS = "id BIGINT, name STRING"  # of `declare`


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    return Topics(kafka.bootstrap)


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        yield c


def test_rows_and_what_is_known_of_their_messages(connection: Any, topics: Topics) -> None:
    topic = topics.new(2)
    topics.put(topic, ['{"id": 1, "name": "a"}', None, "", '{"id": 2,\n "name": "ü"}'], timestamp=1_700_000_000_123)
    topics.put(topic, ['{"name": null, "id": 3}'], partition=1, headers=[("h", b"x"), ("n", None)], timestamp=5)
    columns = f"""{COLUMNS}, p INT METADATA FROM 'partition' VIRTUAL, o BIGINT METADATA FROM 'offset' VIRTUAL,
        topic STRING METADATA VIRTUAL, t TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', kind STRING METADATA FROM 'timestamp-type' VIRTUAL,
        headers MAP<STRING, BYTES> METADATA, e INT METADATA FROM 'leader-epoch' VIRTUAL"""
    declare(connection, topics, topic, columns)
    got = both_ways(connection, "SELECT id, name, p, o, topic = '" + topic + "', EXTRACT(EPOCH FROM t), kind, e FROM t")
    assert [r[:7] for r in got] == [
        (1, "a", 0, 0, True, 1_700_000_000, "CreateTime"),
        (2, "ü", 0, 3, True, 1_700_000_000, "CreateTime"),
        (3, None, 1, 0, True, 0, "CreateTime"),
    ]
    assert both_ways(
        connection, "SELECT CARDINALITY(headers), headers['h'] = x'78', headers['n'] IS NULL FROM t WHERE p = 1"
    ) == [(2, True, True)]
    assert both_ways(connection, "SELECT COUNT(*) FROM t") == [(3,)]


def test_a_csv_message_is_one_record(connection: Any, topics: Topics) -> None:
    topic = topics.new()
    topics.put(topic, ["1,a", '2,"x\ny"', '3,"open', '4,"closed"', "5,e\n6,f", "7,g"])
    declare(connection, topics, topic, format="csv", csv_ignore__parse__errors="true")
    assert both_ways(connection, "SELECT id, name FROM t") == [(1, "a"), (2, "x\ny"), (4, "closed"), (5, "e"), (7, "g")]


def test_a_malformed_message_is_named(connection: Any, topics: Topics) -> None:
    topic = topics.new()
    topics.put(topic, [*(f'{{"id": {i}}}' for i in range(100)), '{"id": "x"}', '{"id": 100}', "{"])
    declare(connection, topics, topic)
    for mode in ("batch", "streaming"):
        connection.execute(f"SET 'execution.runtime-mode' = '{mode}'")
        with pytest.raises(Exception, match=f"topic {topic}, partition 0, offset 100: malformed record: .*x"):
            connection.execute("SELECT SUM(id) FROM t").fetchall()
    declare(connection, topics, topic, name="s", source_bad__records="skip")
    assert both_ways(connection, "SELECT SUM(id), COUNT(*) FROM s") == [(5050, 101)]


def test_malformed_messages_go_to_a_table(connection: Any, topics: Topics, tmp_path: Path) -> None:
    topic, out = topics.new(), tmp_path / "bad"
    topics.put(topic, ['{"id": 1}', "x", '{"id": 2}', "\xff"])
    declare(connection, topics, topic, source_bad__records="bad")
    connection.execute(
        f"CREATE TABLE bad (bad_file STRING, bad_line BIGINT, bad_record STRING) WITH ('connector' = 'filesystem', "
        f"'path' = '{out}', 'format' = 'json')"
    )
    connection.execute(
        f"CREATE TABLE o (id BIGINT) WITH ('connector' = 'filesystem', 'path' = '{tmp_path}/o', 'format' = 'json')"
    )
    connection.execute("SET 'execution.runtime-mode' = 'streaming'")
    connection.execute("SET 'table.dml-sync' = 'true'")
    connection.execute("INSERT INTO o SELECT id FROM t")
    found = [json.loads(line) for f in out.glob("part*") for line in f.read_text().splitlines()]
    assert sorted((r["bad_line"], r["bad_record"]) for r in found) == [(1, "x"), (3, "\xff")]


def test_where_reading_begins_and_ends(connection: Any, topics: Topics) -> None:
    topic = topics.new(2)
    for i in range(6):
        topics.put(topic, [f'{{"id": {i}}}'], partition=i % 2, timestamp=1000 * (i + 1))
    group = f"g{topic}"
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": topics.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, 2), TopicPartition(topic, 1, 1)], asynchronous=False)
    consumer.close()
    cases: list[tuple[dict[str, str], list[int]]] = [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"scan_startup_mode": "latest-offset"}, []),
        ({"scan_startup_mode": "timestamp", "scan_startup_timestamp__millis": "4000"}, [3, 4, 5]),
        ({"scan_startup_mode": "specific-offsets", "scan_startup_specific__offsets": "partition:0,offset:1;partition:1,offset:2"},
         [2, 4, 5]),
        ({"scan_startup_mode": "group-offsets", "properties_group_id": group}, [3, 4, 5]),
        ({"scan_startup_mode": "group-offsets", "properties_group_id": "none", "properties_auto_offset_reset": "earliest"},
         [0, 1, 2, 3, 4, 5]),
        ({"scan_bounded_mode": "timestamp", "scan_bounded_timestamp__millis": "3000"}, [0, 1]),
        ({"scan_bounded_mode": "specific-offsets", "scan_bounded_specific__offsets": "partition:0,offset:1;partition:1,offset:0"}, [0]),
        ({"scan_bounded_mode": "group-offsets", "properties_group_id": group}, [0, 1, 2]),
    ]  # fmt: skip
    for n, (more, expected) in enumerate(cases):
        declare(connection, topics, topic, name=f"t{n}", **more)
        assert both_ways(connection, f"SELECT id FROM t{n}") == [(i,) for i in expected], more


def test_columns_of_keys(connection: Any, topics: Topics) -> None:
    topic = topics.new()
    topics.put(topic, [(b"\x00\x00\x00\x07", '{"id": 1}'), (None, '{"id": 2}'), (b"\x00\x00\x01\x00", '{"id": 3}')])
    keyed = {"key_format": "raw", "key_fields": "k_x", "key_fields__prefix": "k_", "value_fields__include": "EXCEPT_KEY",
             "value_format": "json", "format": ""}  # fmt: skip
    keyed = {k.replace("fields__prefix", "fields__prefix"): v for k, v in keyed.items()}
    declare(connection, topics, topic, "k_x INT, id BIGINT", **keyed)
    assert both_ways(connection, "SELECT k_x, id FROM t") == [(256, 3), (7, 1), (None, 2)]
    assert both_ways(connection, "SELECT id FROM t") == [(1,), (2,), (3,)]


def test_changes_of_debezium(connection: Any, topics: Topics) -> None:
    topic = topics.new()
    change = ['{"before": null, "after": {"id": 1, "name": "a"}, "op": "c"}',
              '{"before": {"id": 1, "name": "a"}, "after": {"id": 1, "name": "b"}, "op": "u"}',
              None,
              '{"before": null, "after": {"id": 2, "name": "c"}, "op": "r"}',
              '{"before": {"id": 2, "name": "c"}, "after": null, "op": "d"}']  # fmt: skip
    topics.put(topic, change)
    declare(connection, topics, topic, f"{COLUMNS}, o BIGINT METADATA FROM 'offset' VIRTUAL", format="debezium-json")
    assert both_ways(connection, "SELECT COUNT(*), MAX(name) FROM t") == [(1, "b")]


def test_the_last_message_of_a_key_is_its_row(connection: Any, topics: Topics) -> None:
    topic = topics.new(1, cleanup_policy="compact")
    rows = [('{"id": 1}', '{"id": 1, "name": "a"}'), ('{"id": 2}', '{"id": 2, "name": "b"}'), ('{"id": 1}', '{"id": 1, "name": "c"}'),
            ('{"id": 2}', None), ('{"id": 3}', None)]  # fmt: skip
    topics.put(topic, rows)
    declare(
        connection, topics, topic, f"{COLUMNS}, PRIMARY KEY (id) NOT ENFORCED", connector="upsert-kafka", format="",
        key_format="json", value_format="json", scan_startup_mode="",
    )  # fmt: skip
    assert both_ways(connection, "SELECT COUNT(*), MAX(name), SUM(id) FROM t") == [(1, "c", 1)]


def test_raw_values(connection: Any, topics: Topics) -> None:
    topic = topics.new()
    topics.put(topic, ["a\nb", None, b"", "ü".encode("latin-1")])
    declare(connection, topics, topic, "x STRING", format="raw", raw_charset="ISO-8859-1")
    assert both_ways(connection, "SELECT x FROM t") == [("",), ("a\nb",), ("ü",), (None,)]
    declare(connection, topics, topic, "x STRING", name="u", format="raw")
    with pytest.raises(Exception, match="offset 3: malformed record: field x: it is no text in utf-8"):
        connection.execute("SELECT x FROM u").fetchall()


def test_mistakes_are_explained(connection: Any, topics: Topics, kafka: Kafka) -> None:
    topic = topics.new()

    def error(columns: str = COLUMNS, of: str = topic, **more: str) -> str:
        name = f"e{time.monotonic_ns()}"
        with pytest.raises(Exception) as e:
            declare(connection, topics, of, columns, name, **more)
            connection.execute(f"SELECT * FROM {name}").fetchall()
        cause = e.value.__cause__ or e.value
        return str(cause if isinstance(cause, SqlStreamError) else e.value)

    assert "did you mean properties.fetch.min.bytes" in error(properties_fetch_min_byte="1")
    assert "topic 'nowhere' cannot be read" in error(of="nowhere")
    assert "format 'parquet' is one of files" in error(format="parquet")
    assert "option 'scan.startup.timestamp-millis' is missing" in error(scan_startup_mode="timestamp")
    assert "'group-offsets', and option 'properties.group.id' is missing" in error(scan_startup_mode="group-offsets")
    assert "option 'key.format' without 'key.fields'" in error(key_format="raw")
    assert "format 'raw' is of one column" in error(format="raw")
    assert "needs a PRIMARY KEY" in error(connector="upsert-kafka", format="", value_format="json", key_format="json",
                                          scan_startup_mode="")  # fmt: skip
    assert "has no username" in error(properties_sasl_jaas_config="x.PlainLoginModule required;")
    assert "unknown option 'scan.startup.modus'" in error(scan_startup_modus="x")


def test_no_broker_answers(connection: Any, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlstream.connectors.kafka.brokers.SECONDS", 1.0)
    declare(connection, topics, "x", properties_bootstrap_servers="127.0.0.1:1")
    with pytest.raises(Exception, match=r"the brokers 127.0.0.1:1 do not answer"):
        connection.execute("SELECT * FROM t").fetchall()


def test_a_poll_for_what_is_to_come_gives_up_soon(topics: Topics) -> None:
    """The end is waited for, but a job can be stopped meanwhile."""
    topic = topics.new()
    topics.put(topic, ['{"id": 1}'])
    options = {
        "topic": topic, "properties.bootstrap.servers": topics.bootstrap, "format": "json",
        "scan.startup.mode": "earliest-offset", "scan.bounded.mode": "specific-offsets",
        "scan.bounded.specific-offsets": "partition:0,offset:2",
    }  # fmt: skip
    given = table(KafkaConnector(), "id BIGINT", options)
    source = KafkaConnector().source(given)
    (split,) = source.splits()
    reader = source.reader(split, None, whole(given.schema))
    polled = ThreadPoolExecutor(1)
    try:
        rows = 0
        while not rows:
            got = polled.submit(reader.poll, 10).result(timeout=10)
            rows += 0 if got is None else got.batch.num_rows
        assert polled.submit(reader.poll, 10).result(timeout=5) is None and not reader.finished
        topics.put(topic, ['{"id": 2}'])
        while not reader.finished:
            polled.submit(reader.poll, 10).result(timeout=10)
    finally:
        reader.close()
        polled.shutdown(wait=False)
