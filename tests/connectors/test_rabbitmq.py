"""Connector 'rabbitmq' against a real server. What must come is reasoned from AMQP and from what Flink's RMQSource promises."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from harness.queues import Job, declared, error_of, fetching, page_of, until
from harness.servers import RabbitMQ, wanted

import sqlstream

pika = pytest.importorskip("pika")


class Queues:
    """What tests do with a server, by pika itself."""

    def __init__(self, server: RabbitMQ) -> None:
        self.options = {"url": f"amqp://{server.address}", "format": "json"}
        self._parameters = pika.ConnectionParameters("127.0.0.1", server.port)
        self.connect()

    def connect(self) -> None:
        if hasattr(self, "channel"):
            with suppress(Exception):
                self.close()
        self.channel = pika.BlockingConnection(self._parameters).channel()
        self.channel.confirm_delivery()

    def new(self, kind: str = "classic") -> str:
        name = f"q{uuid.uuid4().hex[:10]}"
        self.channel.queue_declare(name, durable=True, arguments={"x-queue-type": kind})
        return name

    def put(self, queue: str, values: list[Any], ids: bool = True, **more: Any) -> None:
        for v in values:
            own = {"correlation_id": uuid.uuid4().hex} if ids else {}
            data = v if isinstance(v, str) else json.dumps(v)
            self.channel.basic_publish("", queue, data, pika.BasicProperties(**own, **more))

    def count(self, queue: str) -> int:
        """Messages that nobody has."""
        found: int = self.channel.queue_declare(queue, passive=True).method.message_count
        return found

    def all(self, queue: str) -> list[Any]:
        """All that are in a queue, taken."""
        out = []
        for method, properties, body in self.channel.consume(queue, auto_ack=True, inactivity_timeout=1.0):
            if method is None:
                break
            out.append((method, properties, body))
        self.channel.cancel()
        return out

    def close(self) -> None:
        self.channel.connection.close()


@pytest.fixture
def queues(rabbitmq: RabbitMQ) -> Iterator[Queues]:
    made = Queues(rabbitmq)
    yield made
    made.close()


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        yield c


def test_rows_and_what_is_known_of_their_messages(connection: Any, queues: Queues) -> None:
    queue = queues.new()
    queues.put(
        queue, [{"id": 1}], ids=False, message_id="m", headers={"h": 5, "x": "y"}, timestamp=1_700_000_000, priority=3
    )
    queues.put(queue, ['{"id":\n 2}'], ids=False)
    columns = """id BIGINT, k STRING METADATA FROM 'routing-key' VIRTUAL, m STRING METADATA FROM 'message-id', c STRING METADATA FROM 'correlation-id',
        h MAP<STRING, STRING> METADATA FROM 'headers', t TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, priority INT METADATA,
        r BOOLEAN METADATA FROM 'redelivered' VIRTUAL, o BIGINT METADATA FROM 'offset' VIRTUAL"""
    connection.execute(declared("t", columns, "rabbitmq", queues.options, queue=queue))
    rows = connection.execute(
        f"SELECT id, k = '{queue}', m, c, h['h'], EXTRACT(EPOCH FROM t), priority, r, o FROM t LIMIT 2"
    ).fetchall()
    assert [r[-9:] for r in rows] == [
        (1, True, "m", None, "5", 1_700_000_000, 3, False, None),
        (2, True, None, None, None, None, None, False, None),
    ]
    assert queues.count(queue) == 0


def test_writing(connection: Any, queues: Queues) -> None:
    queue, other = queues.new("quorum"), queues.new()
    columns = "id BIGINT, k STRING METADATA FROM 'routing-key', c STRING METADATA FROM 'correlation-id', headers MAP<STRING, STRING> METADATA"
    connection.execute(declared("o", columns, "rabbitmq", queues.options, queue=queue))
    connection.execute("CREATE TABLE g (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '12000', "
                       "'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '11999')")  # fmt: skip
    connection.execute(
        f"INSERT INTO o SELECT id, CASE WHEN id = 5 THEN '{other}' END, CAST(id AS STRING), MAP['a', CAST(id AS STRING)] FROM g"
    )
    got = queues.all(queue)
    assert [json.loads(m[2])["id"] for m in got] == [i for i in range(12_000) if i != 5]
    (own,) = queues.all(other)
    assert (json.loads(own[2]), own[1].correlation_id, own[1].headers, own[1].delivery_mode) == (
        {"id": 5},
        "5",
        {"a": "5"},
        2,
    )


def copy(queues: Queues, source: str, out: str, **more: str) -> list[str]:
    return [
        declared("t", "id BIGINT", "rabbitmq", queues.options, queue=source, **more),
        f"CREATE TEMPORARY TABLE o (id BIGINT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{out}')",
        "INSERT INTO o SELECT id FROM t",
    ]


def written(tmp_path: Path) -> list[int]:
    return sorted(json.loads(x)["id"] for f in (tmp_path / "o").glob("part*") for x in f.read_text().splitlines())


@pytest.mark.parametrize("kind", ["classic", "quorum", "stream"])
def test_each_message_is_a_row_once_wherever_the_job_dies(queues: Queues, tmp_path: Path, kind: str) -> None:
    queue = queues.new(kind)
    queues.put(queue, [{"id": i} for i in range(500)])
    more = {"queue_type": kind} if kind == "stream" else {"use__correlation__id": "true"}
    job = Job(tmp_path, *copy(queues, queue, "o", **more), execution_checkpointing_interval="100ms")
    assert job.run("before-publish:2") < 0
    assert job.run("after-publish:2") < 0
    queues.put(queue, [{"id": i} for i in range(500, 510)])
    with job.running() as process:
        until(lambda: len(written(tmp_path)) >= 510)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(20)
        assert time.monotonic() - begun < 3
    assert written(tmp_path) == list(range(510))
    if kind != "stream":
        assert queues.count(queue) == 0


def test_a_job_outlives_its_server(tmp_path: Path) -> None:
    wanted(RabbitMQ)
    with RabbitMQ() as server:
        queues = Queues(server)
        source, out = queues.new(), queues.new()
        job = Job(
            tmp_path,
            declared("t", "id BIGINT", "rabbitmq", queues.options, queue=source, use__correlation__id="true"),
            declared("o", "id BIGINT", "rabbitmq", queues.options, queue=out),
            "INSERT INTO o SELECT id FROM t",
        )
        queues.put(source, [{"id": i} for i in range(50)], delivery_mode=2)
        with job.running():
            until(lambda: queues.count(out) == 50)
            queues.close()
            server.restart()
            queues.connect()
            queues.put(source, [{"id": i} for i in range(50, 60)], delivery_mode=2)
            until(lambda: queues.count(out) >= 60)
            time.sleep(0.3)
        assert sorted(json.loads(m[2])["id"] for m in queues.all(out)) == list(range(60))
        queues.close()


def test_where_reading_of_a_stream_begins(connection: Any, queues: Queues) -> None:
    stream = queues.new("stream")
    queues.put(stream, [{"id": i} for i in range(5)])
    for n, (expected, more) in enumerate([
        ([0, 1, 2, 3, 4], {}), ([3, 4], {"scan_startup_mode": "offset", "scan_startup_offset": "3"}),
        ([0, 1, 2, 3, 4], {"scan_startup_mode": "timestamp", "scan_startup_timestamp__millis": "1000"}),
    ]):  # fmt: skip
        columns = "id BIGINT, o BIGINT METADATA FROM 'offset' VIRTUAL"
        connection.execute(
            declared(f"t{n}", columns, "rabbitmq", queues.options, queue=stream, queue_type="stream", **more)
        )
        rows = connection.execute(f"SELECT id, o FROM t{n} LIMIT {len(expected)}").fetchall()
        assert [r[-2:] for r in rows] == [(i, i) for i in expected]
    connection.execute(
        declared(
            "l", "id BIGINT", "rabbitmq", queues.options, queue=stream, queue_type="stream", scan_startup_mode="latest"
        )
    )
    found = fetching(connection, "SELECT id FROM l LIMIT 1")
    until(lambda: queues.put(stream, [{"id": 9}]) or found.done())
    assert found.result()[0][-1] == 9


def test_mistakes_are_explained(connection: Any, queues: Queues) -> None:
    queue = queues.new()
    queues.put(queue, ["{"], ids=False)

    def said(columns: str = "id BIGINT", write: bool = False, **more: str) -> str:
        t = f"e{time.monotonic_ns()}"
        given = {k: v for k, v in queues.options.items() if k not in more}
        made = declared(t, columns, "rabbitmq", given, **more)
        return error_of(connection, made, f"INSERT INTO {t} (id) VALUES (1)" if write else f"SELECT * FROM {t} LIMIT 1")

    assert "option 'queue' is missing" in said()
    assert "option 'queue' is missing" in said(write=True)
    assert "no queue 'nowhere'" in said(queue="nowhere")
    assert "no queue gets messages of the default exchange with routing key 'nowhere'" in said(
        queue="nowhere", write=True
    )
    assert "no exchange 'nowhere'" in said(exchange="nowhere", write=True)
    assert "is not of the form amqp://host:5672" in said(queue=queue, url="127.0.0.1:1")
    assert "amqp://127.0.0.1:1 does not answer" in said(queue=queue, url="amqp://127.0.0.1:1")
    assert "option 'use-correlation-id' is for a queue whose messages go" in said(
        queue=queue, queue_type="stream", use__correlation__id="true"
    )
    assert "a message has no correlation id" in said(queue=queue, use__correlation__id="true")
    assert "'queue.type' must be what the queue is" in said(queue=queue, queue_type="stream")
    assert "offset 0: malformed record" in said(queue=queue)
    wrong = said(queue=queue, username="guest", password="wrong secret")
    assert "does not let us in" in wrong and "wrong secret" not in wrong


def test_the_page_is_as_shown(rabbitmq: RabbitMQ, queues: Queues, tmp_path: Path) -> None:
    out, shown = page_of("rabbitmq", tmp_path, {"localhost:5672": rabbitmq.address})
    for queue in ("orders", "large"):
        queues.channel.queue_delete(queue)
    assert out == shown
