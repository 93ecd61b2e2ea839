"""Connectors of message systems without their servers: what the libraries do at the edges stands in for them."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from sqlstream.connectors.messages.clients import Notes
from sqlstream.connectors.mqtt.connector import MqttConnector
from sqlstream.connectors.mqtt.source import Subscriber
from sqlstream.connectors.nats.connector import NatsConnector
from sqlstream.connectors.nats.sink import Message, Publisher
from sqlstream.connectors.rabbitmq.connector import RabbitConnector
from sqlstream.connectors.rabbitmq.source import KNOWN
from sqlstream.connectors.redis.channel import _pattern
from sqlstream.connectors.redis.connector import RedisConnector
from sqlstream.connectors.redis.fields import fields_of, object_of
from sqlstream.contracts import SinkTask
from sqlstream.errors import DataError, OptionError, RunError
from sqlstream.testing.connectors import table

TASK = SinkTask("job", "run", 0)


# ---- MQTT


class Broker:
    """In the place of a connection. `answers`: what the library says when it is given messages, and then nothing is wrong."""

    def __init__(self, *given: Any) -> None:
        self.client = self
        self.acknowledged: list[int] = []
        self.published: list[Any] = []
        self.answers: list[int] = []
        self.on_publish: Any = None

    def ack(self, number: int, qos: int) -> None:
        self.acknowledged.append(number)

    def publish(self, topic: str, value: bytes, qos: int, retain: bool) -> Any:
        self.published.append(
            SimpleNamespace(mid=len(self.published) + 1, rc=self.answers.pop(0) if self.answers else 0)
        )
        return self.published[-1]

    def subscribe(self, topics: Any) -> None:
        """They are."""


def arrived(number: int, text: bytes, again: bool = False) -> Any:
    return SimpleNamespace(mid=number, qos=1, dup=again, topic="t", payload=text)


def test_mqtt_a_session_that_the_broker_lost_has_numbers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that came back without the session gives the number 1 to another message: what a checkpoint acknowledges is the old one."""
    monkeypatch.setattr("sqlstream.connectors.mqtt.source.Connection", Broker)
    source: Any = SimpleNamespace(address=None, table=SimpleNamespace(name="t"), noted=Notes(), filters=["t"], qos=1)
    s = Subscriber(source)
    broker: Any = s._connection
    s._made(broker, False)
    s._got(broker, arrived(1, b"old"))
    (old,) = s.inbox.take(0)
    s._made(broker, False)
    s._got(broker, arrived(1, b"new"))
    (new,) = s.inbox.take(0)
    s.acknowledge([old.tag])
    assert broker.acknowledged == []
    s.acknowledge([new.tag])
    assert broker.acknowledged == [1]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr("sqlstream.connectors.mqtt.sink.Connection", lambda *given: made)
    monkeypatch.setattr("sqlstream.connectors.mqtt.sink.PATIENCE", 1.0)
    return made


def mqtt_writer(**options: str) -> Any:
    given = {"url": "mqtt://h:1883", "format": "json", "topic": "t", **options}
    return MqttConnector().sink(table(MqttConnector(), "a BIGINT", given)).writer(TASK)


ROW = pa.record_batch({"a": pa.array([1], pa.int64())})


def test_mqtt_a_message_that_met_a_lost_connection_is_written_when_there_is_one(broker: Broker) -> None:
    """paho sends it then, and says so by its callback; the object that it gave keeps the error."""
    broker.answers = [4]
    writer = mqtt_writer(qos="1")
    writer.write(ROW, None)
    writer._on_publish(broker, None, 1, SimpleNamespace(is_failure=False), None)
    writer.flush()
    assert len(broker.published) == 1


def test_mqtt_without_acknowledgements_a_message_is_given_again(broker: Broker) -> None:
    """Of QoS 0 paho keeps nothing: neither what met no connection, nor what it was writing when it was lost."""
    broker.answers = [4, 4]
    writer = mqtt_writer(qos="0")
    writer.write(ROW, None)
    assert len(broker.published) == 3
    broker.published[-1].rc = 7
    writer.flush()


def test_mqtt_topics_that_are_none(broker: Broker) -> None:
    for topic in ("a/+", "#", "x" * 65_536):
        with pytest.raises(DataError, match="no topic that a message can be published to"):
            mqtt_writer(topic=topic).write(ROW, None)


# ---- RabbitMQ


def test_rabbitmq_what_amqp_has_no_room_for_is_an_error_of_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sqlstream.connectors.rabbitmq.sink.Connection", lambda *given: SimpleNamespace(call=lambda f: None)
    )
    known = (("priority", "priority"), ("k", "routing-key"), ("m", "message-id"), ("headers", "headers"))
    given = {"url": "amqp://h", "format": "json", "queue": "q"}
    writer = RabbitConnector().sink(replace(table(RabbitConnector(), "a BIGINT", given), metadata=known)).writer(TASK)
    for column, value, said in (
        ("priority", 300, "'priority' is 300"), ("k", "é" * 128, "'routing-key' has 256 bytes"), ("m", "x" * 256, "'message-id' has 256 bytes"),
        ("headers", [("x" * 256, "v")], "a name in METADATA 'headers'"),
    ):  # fmt: skip
        kinds = {
            "a": pa.int64(),
            "priority": pa.int32(),
            "k": pa.string(),
            "m": pa.string(),
            "headers": pa.map_(pa.string(), pa.string()),
        }
        row = pa.record_batch({c: pa.array([value if c == column else None], t) for c, t in kinds.items()})
        with pytest.raises(DataError, match=said):
            writer.write(row, None)


def test_rabbitmq_what_the_library_stumbles_over_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pika = pytest.importorskip("pika")

    class Stumbles:
        is_open = is_closing = True

        def __init__(self, *given: Any, **named: Any) -> None:
            raise ValueError("a frame that is none")

    monkeypatch.setattr(pika, "SelectConnection", Stumbles)
    given = {"url": "amqp://h", "format": "json", "queue": "q"}
    begun = time.monotonic()
    with pytest.raises(RunError, match="a frame that is none"):
        RabbitConnector().sink(table(RabbitConnector(), "a BIGINT", given)).writer(TASK)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "seconds, expected", [(None, None), (5, 5_000_000), (2**64 - 1, None), (1_700_000_000_000, None)]
)
def test_rabbitmq_times_that_are_none(seconds: int | None, expected: int | None) -> None:
    assert KNOWN["timestamp"][1](SimpleNamespace(properties=SimpleNamespace(timestamp=seconds))) == expected


# ---- NATS


def test_nats_headers_and_subjects_that_are_none() -> None:
    known = (("subject", "subject"), ("headers", "headers"), ("m", "message-id"))
    t = table(NatsConnector(), "a BIGINT", {"url": "nats://h:1", "format": "json"})
    sink: Any = NatsConnector().sink(replace(t, metadata=known))
    kinds = {"a": pa.int64(), "subject": pa.string(), "headers": pa.map_(pa.string(), pa.string()), "m": pa.string()}

    def messages(**values: Any) -> Any:
        values = {"a": 1, "subject": "s", "headers": None, "m": None, **values}
        return sink.target.messages(pa.record_batch({c: pa.array([values[c]], t) for c, t in kinds.items()}), None)

    assert messages(headers=[("h", "x")], m="1")[0].headers == {"h": "x", "Nats-Msg-Id": "1"}
    for wrong in (
        {"headers": [("h", "x\r\nNats-Msg-Id: 1")]},
        {"headers": [("h\n", "x")]},
        {"headers": [("", "x")]},
        {"m": "1\n2"},
    ):
        with pytest.raises(DataError, match="is no header"):
            messages(**wrong)
    for subject in ("", "a..b", ".a", "a.", "a b", "a.*"):
        with pytest.raises(DataError, match="is no subject"):
            messages(subject=subject)


def test_nats_while_there_is_no_connection_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """nats-py keeps a place for each message that it could not even gather, and has no more after some thousand."""
    there = iter([False, False, True])

    class Away:
        sent = 0

        @property
        def connection(self) -> Any:
            return SimpleNamespace(is_connected=next(there))

        def run(self, work: Any, seconds: float) -> Any:
            work.close()
            self.sent += 1
            return [SimpleNamespace(seq=7)]

    client: Any = Away()
    assert Publisher(client, "t").publish([Message("s", b"", {})]) == [7] and client.sent == 1
    monkeypatch.setattr("sqlstream.connectors.nats.sink.PATIENCE", 0.0)
    there = iter([False] * 9)
    with pytest.raises(RunError, match="there is no connection"):
        Publisher(client, "t").publish([Message("s", b"", {})])


# ---- Redis


def test_redis_a_field_that_is_no_json_changes_nothing_beside_it() -> None:
    assert object_of({"id": "1", "xs": '[1], "id": 9'}, frozenset({"xs"})) == b'{"id": "1", "xs": "[1], \\"id\\": 9"}'
    assert object_of({"xs": "[1,\n2.50]"}, frozenset({"xs"})) == b'{"xs": [1, 2.50]}'


def test_redis_values_are_written_as_they_are() -> None:
    """Numbers inside of arrays are numbers, and keep their digits."""
    assert fields_of(b'{"a": 1.50, "b": "x\\"", "c": [1.50, {"d": 12345678901234567890.5}], "e": null, "f": true}') == {
        "a": "1.50", "b": 'x"', "c": '[1.50, {"d": 12345678901234567890.5}]', "e": None, "f": "true",
    }  # fmt: skip


def test_redis_names_of_channels_mean_themselves_but_for_the_star() -> None:
    assert _pattern("a[1]?*\\") == "a\\[1\\]\\?*\\\\"


@pytest.mark.parametrize("given", ["²", "1-2-3", "-", "x"])
def test_redis_ids_that_are_none(given: str) -> None:
    options = {
        "url": "redis://h",
        "data-type": "stream",
        "key": "k",
        "scan.startup.mode": "id",
        "scan.startup.id": given,
    }
    with pytest.raises(OptionError, match="is no id"):
        RedisConnector().source(table(RedisConnector(), "a BIGINT", options))


@pytest.mark.parametrize("connector, more", [
    (NatsConnector, {"url": "nats://h:1", "stream": "s"}), (RabbitConnector, {"url": "amqp://h", "queue": "q", "queue.type": "stream"}),
    (RedisConnector, {"url": "redis://h", "key": "k", "data-type": "stream"}),
])  # fmt: skip
def test_times_behind_all_times_are_refused(connector: Any, more: dict[str, str]) -> None:
    options = {"format": "json", "scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": "9" * 18, **more}
    with pytest.raises(OptionError, match="scan.startup.timestamp-millis"):
        connector().source(table(connector(), "a BIGINT", options))
