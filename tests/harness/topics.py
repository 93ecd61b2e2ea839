"""Topics of a broker as tests see them: written and read by confluent-kafka's own API, and none of ours."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

EARLIEST = -2
_names = itertools.count()


class Topics:
    """Topics with names of their own on the broker `bootstrap`."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def new(self, partitions: int = 1, replicas: int = 1, **config: str) -> str:
        name = f"t{next(_names)}_{uuid.uuid4().hex[:8]}"
        made = NewTopic(name, partitions, replicas, config={k.replace("_", "."): v for k, v in config.items()})
        self.admin.create_topics([made])[name].result()
        return name

    def grow(self, topic: str, partitions: int) -> None:
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result()

    def put(self, topic: str, values: Iterable[Any], partition: int = 0, key: Any = None, **more: Any) -> None:
        """`values`: bytes, text or None; or pairs of a key and such."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 2, "log_level": 0})
        failed: list[Any] = []
        for v in values:
            k, value = v if isinstance(v, tuple) else (key, v)
            producer.produce(
                topic, value, k, partition, on_delivery=lambda e, m: failed.append(e) if e else None, **more
            )
            producer.poll(0)
        producer.flush(20)
        assert not failed, failed

    def all(self, topic: str, committed: bool = True) -> list[tuple[int, bytes | None, bytes | None]]:
        """(partition, key, value) of all messages, partition by partition. `committed`: of transactions that are."""
        return [(m.partition(), m.key(), m.value()) for m in self.messages(topic, committed)]

    def messages(self, topic: str, committed: bool = True) -> list[Any]:
        """All messages, as confluent-kafka has them, partition by partition."""
        level = "read_committed" if committed else "read_uncommitted"
        consumer = Consumer({
            "bootstrap.servers": self.bootstrap, "group.id": "test", "isolation.level": level, "log_level": 0,
            "enable.partition.eof": True, "enable.auto.commit": False,
        })  # fmt: skip
        partitions = consumer.list_topics(topic).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, EARLIEST) for p in partitions])
        out, ended, until = [], set(), time.monotonic() + 30
        while len(ended) < len(partitions):
            assert time.monotonic() < until, "the end of the topic does not come: a transaction is open"
            for m in consumer.consume(10_000, 0.2):
                if m.error():
                    assert m.error().name() == "_PARTITION_EOF", m.error()
                    ended.add(m.partition())
                else:
                    out.append(m)
        consumer.close()
        return sorted(out, key=lambda m: m.partition())

    def values(self, topic: str, committed: bool = True) -> list[bytes | None]:
        return [m[2] for m in self.all(topic, committed)]
