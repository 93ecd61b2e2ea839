"""The contract of connectors (`sqlstream.testing.connectors`), kept by message systems as sources and sinks of jobs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from harness.queues import until
from harness.servers import NATS, Kafka, Mosquitto, RabbitMQ, Redis, wanted
from harness.topics import Topics
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from test_mqtt import Topics as MqttTopics
from test_nats import Streams
from test_rabbitmq import Queues
from test_redis import Keys

from sqlstream.connectors.kafka.connector import KafkaConnector
from sqlstream.connectors.mqtt.connector import MqttConnector
from sqlstream.connectors.nats.connector import NatsConnector
from sqlstream.connectors.rabbitmq.connector import RabbitConnector
from sqlstream.connectors.redis.connector import RedisConnector
from sqlstream.testing.connectors import DeliveryContract, Row, StreamContract

EXACTLY_ONCE = {"sink.delivery-guarantee": "exactly-once"}


def message(row: Row) -> str:
    return json.dumps({"id": row[0], "name": row[1]}, ensure_ascii=False)


def rows_of(values: Sequence[Any]) -> list[Row]:
    return [(v["id"], v["name"]) for v in map(json.loads, values)]


# ---- Kafka

OF_KAFKA = {
    "server": "test_kafka_cluster.py stops brokers of a cluster",
    "credentials": "test_kafka_cluster.py has brokers that want some",
}


class OnKafka:
    connector, unable, largest = KafkaConnector, OF_KAFKA, 900_000  # brokers take 1 MB

    @pytest.fixture(autouse=True)
    def broker(self, kafka: Kafka) -> None:
        self.topics = Topics(kafka.bootstrap)

    def made(self) -> Mapping[str, str]:
        self.topic = self.topics.new(2)
        return {
            "properties.bootstrap.servers": self.topics.bootstrap, "topic": self.topic, "format": "json",
            "scan.startup.mode": "earliest-offset", "sink.transactional-id-prefix": self.topic, **EXACTLY_ONCE,
        }  # fmt: skip


class TestKafkaSource(OnKafka, StreamContract):
    tells = frozenset({"bytes", "pending records"})

    def put(self, rows: Sequence[Row]) -> None:
        for p in (0, 1):
            self.topics.put(self.topic, [message(r) for r in rows if r[0] % 2 == p], p)

    def put_bad(self) -> str:
        self.topics.put(self.topic, ['{"id": "bad"}'])
        return '{"id": "bad"}'


class TestKafkaSink(OnKafka, DeliveryContract):
    def seen(self) -> Sequence[Row]:
        return rows_of(self.topics.values(self.topic))


# ---- NATS


class OnNats:
    connector, largest = NatsConnector, 900_000  # servers take 1 MB

    @pytest.fixture(autouse=True)
    def server(self, nats: NATS) -> None:
        self.streams, self.own = Streams(nats), nats

    @contextmanager
    def alone(self) -> Iterator[None]:
        with NATS() as self.own:
            self.streams = Streams(self.own)
            yield

    def server_stops(self) -> None:
        self.own.kill()

    def server_starts(self) -> None:
        self.own.start()

    @contextmanager
    def refused(self) -> Iterator[tuple[Mapping[str, str], str]]:
        wanted(NATS)
        with NATS(token="the right word") as server:
            yield (
                {"url": f"nats://{server.address}", "subject": "x", "format": "json", "token": "a wr0ng word"},
                "wr0ng",
            )


class TestNatsSource(OnNats, StreamContract):
    tells = frozenset({"bytes", "pending records"})

    def made(self) -> Mapping[str, str]:
        self.stream = self.streams.new()
        return {**self.streams.options, "stream": self.stream}

    def put(self, rows: Sequence[Row]) -> None:
        self.streams.put(self.stream, [message(r) for r in rows])

    def put_bad(self) -> str:
        self.streams.put(self.stream, ["{bad"])
        return "{bad"


class TestNatsSink(OnNats, DeliveryContract):
    def made(self) -> Mapping[str, str]:
        self.stream = self.streams.new()
        return {**self.streams.options, "subject": f"{self.stream}.x", **EXACTLY_ONCE}

    def seen(self) -> Sequence[Row]:
        return rows_of([m.data for m in self.streams.all(self.stream)])


# ---- Redis


class OnRedis:
    connector = RedisConnector

    @pytest.fixture(autouse=True)
    def server(self, redis: Redis) -> Iterator[None]:
        self.keys, self.own = Keys(redis), redis
        yield
        self.keys.server.close()

    def made(self) -> Mapping[str, str]:
        self.key = uuid.uuid4().hex
        return {**self.keys.options, "data-type": "stream", "key": f"{self.keys.prefix}:{self.key}"}

    @contextmanager
    def alone(self) -> Iterator[None]:
        shared = self.keys
        with Redis() as self.own:
            self.keys = Keys(self.own)
            yield
            self.keys.server.close()
        self.keys = shared

    def server_stops(self) -> None:
        self.own.stop()

    def server_starts(self) -> None:
        self.own.start()

    @contextmanager
    def refused(self) -> Iterator[tuple[Mapping[str, str], str]]:
        wanted(Redis)
        with Redis(password="the right word") as server:
            yield (
                {"url": f"redis://{server.address}", "data-type": "stream", "key": "k", "password": "a wr0ng word"},
                "wr0ng",
            )


class TestRedisSource(OnRedis, StreamContract):
    tells = frozenset({"bytes", "pending records"})

    def put(self, rows: Sequence[Row]) -> None:
        pipeline = self.keys.server.pipeline(transaction=False)
        for i, name in rows:
            pipeline.xadd(f"{self.keys.prefix}:{self.key}", {"id": i, "name": name})
        pipeline.execute()

    def put_bad(self) -> str:
        self.keys.add([{"id": "bad"}], self.key)
        return '{"id": "bad"}'


class TestRedisSink(OnRedis, DeliveryContract):
    def made(self) -> Mapping[str, str]:
        return {**super().made(), **EXACTLY_ONCE}

    def seen(self) -> Sequence[Row]:
        return [(int(e["id"]), e["name"]) for e in self.keys.entries(self.key)]


# ---- RabbitMQ


class OnRabbit:
    connector = RabbitConnector
    unable: Mapping[str, str] = {"server": "test_rabbitmq.py has a server of its own, which takes seconds to start"}

    @pytest.fixture(autouse=True)
    def server(self, rabbitmq: RabbitMQ) -> Iterator[None]:
        self.queues = Queues(rabbitmq)
        yield
        self.queues.close()

    @contextmanager
    def refused(self) -> Iterator[tuple[Mapping[str, str], str]]:
        yield (
            {**self.queues.options, "queue": self.queues.new(), "username": "guest", "password": "a wr0ng word"},
            "wr0ng",
        )


class TestRabbitSource(OnRabbit, StreamContract):
    tells = frozenset({"bytes", "pending records"})

    def made(self) -> Mapping[str, str]:
        self.queue = self.queues.new()
        return {**self.queues.options, "queue": self.queue, "use-correlation-id": "true"}

    def put(self, rows: Sequence[Row]) -> None:
        self.queues.put(self.queue, [message(r) for r in rows])

    def put_bad(self) -> str:
        self.queues.put(self.queue, ["{bad"])
        return "{bad"


class TestRabbitSink(OnRabbit, DeliveryContract):
    once = False

    def made(self) -> Mapping[str, str]:
        self.queue, self.got = self.queues.new(), list[Row]()
        return {**self.queues.options, "queue": self.queue}

    def seen(self) -> Sequence[Row]:
        while (found := self.queues.channel.basic_get(self.queue, auto_ack=True))[0] is not None:
            self.got += rows_of([found[2]])
        return self.got


# ---- MQTT


class OnMqtt:
    connector, once, settings = MqttConnector, False, {"parallelism.default": "1"}

    @pytest.fixture(autouse=True)
    def server(self, mosquitto: Mosquitto) -> Iterator[None]:
        self.topics, self.own = MqttTopics(mosquitto), mosquitto
        yield
        self.topics.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        shared = self.topics
        with Mosquitto() as self.own:
            self.topics = MqttTopics(self.own)
            yield
            self.topics.close()
        self.topics = shared

    def server_stops(self) -> None:
        self.own.stop()

    def server_starts(self) -> None:
        self.own.start()
        until(self.topics._client.is_connected)

    @contextmanager
    def refused(self) -> Iterator[tuple[Mapping[str, str], str]]:
        wanted(Mosquitto)
        with Mosquitto(users={"ann": "the right word"}) as server:
            url = f"mqtt://{server.address}"
            yield {"url": url, "topic": "x", "format": "json", "username": "ann", "password": "a wr0ng word"}, "wr0ng"


class TestMqttSource(OnMqtt, StreamContract):
    """Its session is there before the job: the broker keeps what comes meanwhile."""

    tells = frozenset({"bytes"})

    def made(self) -> Mapping[str, str]:
        self.name = uuid.uuid4().hex
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=self.name, protocol=mqtt.MQTTv5)
        there: list[int] = []
        client.on_subscribe = lambda *_: there.append(1)
        lasting = Properties(PacketTypes.CONNECT)
        lasting.SessionExpiryInterval = 600
        client.connect("127.0.0.1", self.own.port, clean_start=False, properties=lasting)
        client.subscribe(f"{self.topics.prefix}/{self.name}", 1)
        while not there:
            client.loop(0.1)
        client.disconnect()
        client.loop(0.1)
        return {**self.topics.options, "topic": f"{self.topics.prefix}/{self.name}", "client-id": self.name}

    def put(self, rows: Sequence[Row]) -> None:
        self.topics.put([message(r) for r in rows], self.name)

    def put_bad(self) -> str:
        self.topics.put(["{bad"], self.name)
        return "{bad"


class TestMqttSink(OnMqtt, DeliveryContract):
    def made(self) -> Mapping[str, str]:
        self.name = uuid.uuid4().hex
        return {**self.topics.options, "topic": f"{self.topics.prefix}/out/{self.name}"}

    def seen(self) -> Sequence[Row]:
        return rows_of([m.payload for m in list(self.topics.got) if m.topic.endswith(self.name)])
