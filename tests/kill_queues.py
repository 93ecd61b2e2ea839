"""Kills jobs that read queues and write to them, and their servers, at random moments until all is through.

    python tests/kill_queues.py --kills 40 --seed 7 [--only nats,redis,rabbitmq,stream,mqtt]

Messages go from one place to another, where each must be in the end: once (nats and redis, staged; queues of rabbitmq by
correlation ids and its streams, into files), or at least once (mqtt). While the job lives more come.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from connectors import test_mqtt, test_nats, test_rabbitmq, test_redis
from harness.queues import Job, declared, until
from harness.servers import NATS, Mosquitto, RabbitMQ, Redis, Server

BATCH = 200  # messages that come with each life of the job


def _written(directory: Path) -> list[int]:
    return [json.loads(x)["id"] for f in (directory / "o").glob("part*") for x in f.read_text().splitlines()]


def _files(directory: Path) -> str:
    return f"CREATE TEMPORARY TABLE o (id BIGINT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{directory}/o')"


class Way:
    """Where messages come from and go to: `tables`, `put`, and `got` at the end."""

    def __init__(
        self, tables: list[str], put: Callable[[list[int]], None], got: Callable[[], list[int]], once: bool = True
    ) -> None:
        self.tables, self.put, self.got, self.once = tables, put, got, once


def nats(server: Any, directory: Path) -> Way:
    s = test_nats.Streams(server)
    source, out = s.new(), s.new()
    tables = [
        declared("t", "id BIGINT", "nats", s.options, stream=source),
        declared("o", "id BIGINT", "nats", s.options, subject=f"{out}.x", sink_delivery__guarantee="exactly-once"),
    ]
    return Way(
        tables,
        lambda ids: s.put(source, [{"id": i} for i in ids]),
        lambda: [json.loads(m.data)["id"] for m in s.all(out)],
    )


def redis(server: Any, directory: Path) -> Way:
    k = test_redis.Keys(server)
    of = {**k.options, "data-type": "stream"}
    tables = [
        declared("t", "id BIGINT", "redis", of, key=f"{k.prefix}:s"),
        declared("o", "id BIGINT", "redis", of, key=f"{k.prefix}:o", sink_delivery__guarantee="exactly-once"),
    ]
    return Way(tables, lambda ids: k.add([{"id": i} for i in ids]), lambda: [int(e["id"]) for e in k.entries()])


def _rabbitmq(server: Any, directory: Path, kind: str, **more: str) -> Way:
    q = test_rabbitmq.Queues(server)
    queue = q.new(kind)

    def put(ids: list[int]) -> None:
        q.connect()
        q.put(queue, [{"id": i} for i in ids], delivery_mode=2)

    tables = [declared("t", "id BIGINT", "rabbitmq", q.options, queue=queue, **more), _files(directory)]
    return Way(tables, put, lambda: _written(directory))


def rabbitmq(server: Any, directory: Path) -> Way:
    return _rabbitmq(server, directory, "quorum", use__correlation__id="true")


def stream(server: Any, directory: Path) -> Way:
    return _rabbitmq(server, directory, "stream", queue_type="stream")


def mqtt(server: Any, directory: Path) -> Way:
    t = test_mqtt.Topics(server, listens=False)
    tables = [
        declared("t", "id BIGINT", "mqtt", t.options, topic=f"{t.prefix}/in/#", client__id=t.prefix),
        _files(directory),
    ]

    def put(ids: list[int]) -> None:
        until(t._client.is_connected)
        t.put([{"id": i} for i in ids])

    return Way(tables, put, lambda: _written(directory), once=False)


WAYS: dict[str, tuple[type[Server], Callable[[Any, Path], Way]]] = {
    "nats": (NATS, nats), "redis": (Redis, redis), "rabbitmq": (RabbitMQ, rabbitmq), "stream": (RabbitMQ, stream), "mqtt": (Mosquitto, mqtt),
}  # fmt: skip


def one(name: str, kills: int, rng: random.Random, directory: Path, servers: bool) -> str:
    """Kills one job so often. What came of it."""
    kind, made = WAYS[name]
    with kind() as server:
        way = made(server, directory)
        interval = rng.choice(["50ms", "150ms"])
        job = Job(directory, *way.tables, "INSERT INTO o SELECT id FROM t", execution_checkpointing_interval=interval)
        sent, restarts = 0, 0
        if not way.once:  # the session begins with the first connection
            with job.running():
                time.sleep(6)
        for _ in range(kills):
            process = job.start()
            way.put(list(range(sent, sent + BATCH)))
            sent += BATCH
            time.sleep(rng.uniform(1.0, 4.0))
            if servers and rng.random() < 0.3:
                server.restart()
                restarts += 1
                time.sleep(rng.uniform(0.0, 2.0))
            process.send_signal(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT]))
            process.communicate(timeout=60)
        with job.running():
            until(lambda: set(way.got()) == set(range(sent)), 120)
            time.sleep(1.0)
        got = way.got()
    twice = len(got) - len(set(got))
    assert set(got) == set(range(sent)), f"{name}: lost {sorted(set(range(sent)) - set(got))[:10]}"
    assert not (way.once and twice), f"{name}: {twice} came twice"
    return f"{name}: {sent} messages, {kills} kills, {restarts} restarts of the server, {twice} came twice"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", default=",".join(WAYS))
    parser.add_argument("--no-servers", action="store_true", help="only jobs are killed")
    given = parser.parse_args()
    for name in given.only.split(","):
        with tempfile.TemporaryDirectory() as directory:
            print(
                one(name, given.kills, random.Random(f"{given.seed} {name}"), Path(directory), not given.no_servers),
                flush=True,
            )


if __name__ == "__main__":
    main()
