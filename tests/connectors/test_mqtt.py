"""Connector 'mqtt' against a real broker. What must come is reasoned from what MQTT promises."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.queues import Job, declared, error_of, fetching, page_of, until
from harness.servers import Mosquitto

import sqlstream

mqtt = pytest.importorskip("paho.mqtt.client")


class Topics:
    """What tests do with a broker, by paho itself: `put`, and all that was published below `prefix` since (`got`)."""

    def __init__(self, server: Mosquitto, listens: bool = True) -> None:
        self.options = {"url": f"mqtt://{server.address}", "format": "json"}
        self.prefix = f"t{uuid.uuid4().hex[:8]}"
        self.got: list[Any] = []
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=uuid.uuid4().hex, clean_session=False)
        for user, word in server.users.items():
            self._client.username_pw_set(user, word)
        ready: list[int] = []
        self._client.on_message = lambda client, data, m: self.got.append(m)
        self._client.on_subscribe = lambda *_: ready.append(1)
        self._client.connect("127.0.0.1", server.port)
        self._client.loop_start()
        if listens:
            self._client.subscribe(f"{self.prefix}/out/#", 1)
            until(lambda: ready)

    def put(self, values: list[Any], topic: str = "in/a", qos: int = 1, retain: bool = False) -> None:
        infos = [
            self._client.publish(f"{self.prefix}/{topic}", v if isinstance(v, str) else json.dumps(v), qos, retain)
            for v in values
        ]
        for info in infos:
            info.wait_for_publish(20)

    @property
    def ids(self) -> list[int]:
        return [json.loads(m.payload)["id"] for m in list(self.got)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def topics(mosquitto: Mosquitto) -> Iterator[Topics]:
    made = Topics(mosquitto)
    yield made
    made.close()


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        yield c


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_rows_and_what_is_known_of_their_messages(connection: Any, topics: Topics, version: str) -> None:
    topics.put([{"id": 1}], topic="in/kept", retain=True)
    columns = "id BIGINT, topic STRING METADATA, qos INT METADATA VIRTUAL, retained BOOLEAN METADATA, duplicate BOOLEAN METADATA VIRTUAL"
    connection.execute(
        declared("t", columns, "mqtt", topics.options, topic=f"{topics.prefix}/in/#", protocol__version=version)
    )
    cursor = connection.execute("SELECT id, topic, qos, retained, duplicate FROM t LIMIT 4")
    rows = [cursor.fetchone()]
    topics.put(['{"id":\n 2}'], topic="in/b/c", qos=0)
    topics.put([{"id": i} for i in (3, 4)], topic="in/x")
    rows += cursor.fetchall()
    p = topics.prefix
    assert [r[-5:] for r in rows] == [
        (1, f"{p}/in/kept", 1, True, False), (2, f"{p}/in/b/c", 0, False, False), (3, f"{p}/in/x", 1, False, False),
        (4, f"{p}/in/x", 1, False, False),
    ]  # fmt: skip
    topics.put([""], topic="in/kept", retain=True)


def test_writing(connection: Any, topics: Topics) -> None:
    columns = "id BIGINT, topic STRING METADATA, retained BOOLEAN METADATA"
    more = {"topic": f"{topics.prefix}/out/all"}
    connection.execute(declared("o", columns, "mqtt", topics.options, **more))
    connection.execute("CREATE TABLE g (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '12000', "
                       "'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '11999')")  # fmt: skip
    own = f"{topics.prefix}/out/own"
    connection.execute(
        f"INSERT INTO o SELECT id, CASE WHEN id = 5 THEN '{own}' END, CASE WHEN id = 5 THEN TRUE END FROM g"
    )
    until(lambda: len(topics.got) == 12_000)
    assert topics.ids == list(range(12_000))
    assert [m.topic for m in topics.got if json.loads(m.payload)["id"] in (4, 5)] == [more["topic"], own]
    connection.execute(declared("r", columns, "mqtt", topics.options, topic=own))
    assert [r[-3:] for r in connection.execute("SELECT * FROM r LIMIT 1").fetchall()] == [(5, own, True)]
    topics.put([""], topic="out/own", retain=True)


def copy(topics: Topics, **more: str) -> list[str]:
    return [
        declared("t", "id BIGINT", "mqtt", topics.options, topic=f"{topics.prefix}/in/#", **more),
        declared("o", "id BIGINT", "mqtt", topics.options, topic=f"{topics.prefix}/out/x"),
        "INSERT INTO o SELECT id FROM t",
    ]


def test_what_no_checkpoint_has_comes_again(topics: Topics, tmp_path: Path) -> None:
    """Also what comes while the job is down; and nothing after one that ended in good order."""
    job = Job(tmp_path, *copy(topics, client__id=topics.prefix), execution_checkpointing_interval="100ms")
    with job.running() as process:
        until(lambda: topics.put([{"id": -1}]) or topics.got)
        topics.put([{"id": i} for i in range(200)])
        until(lambda: 199 in topics.ids)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.returncode = 0
    topics.put([{"id": i} for i in range(200, 300)])
    with job.running() as process:
        until(lambda: 299 in topics.ids)
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert {i for i in topics.ids if i >= 0} == set(range(300))
    topics.got.clear()
    topics.put([{"id": 300}])
    with job.running() as process:
        until(lambda: topics.got)
        time.sleep(0.3)
    assert topics.ids == [300]


def test_mistakes_are_explained(connection: Any, topics: Topics) -> None:
    def said(columns: str = "id BIGINT", write: bool = False, **more: str) -> str:
        t = f"e{time.monotonic_ns()}"
        given = {k: v for k, v in topics.options.items() if k not in more}
        made = declared(t, columns, "mqtt", given, **more)
        return error_of(connection, made, f"INSERT INTO {t} (id) VALUES (1)" if write else f"SELECT * FROM {t} LIMIT 1")

    assert "option 'topic' is missing" in said()
    assert "option 'topic' is missing" in said(write=True)
    assert "'a/b+' is no filter of topics" in said(topic="a/b+")
    assert "is no topic that a message can be published to" in said(topic="a/#", write=True)
    assert "is not of the form mqtt://host:1883" in said(topic="a", url="127.0.0.1:1")
    assert "mqtt://127.0.0.1:1 does not answer" in said(topic="a", url="mqtt://127.0.0.1:1")
    assert "option 'session-expiry' is for a session with a name" in said(topic="a", session__expiry="1 d")
    assert "does not write METADATA 'qos'" in said("id BIGINT, qos INT METADATA", True, topic="a")
    topics.put(["{"], retain=True)
    assert "offset 0: malformed record" in said(topic=f"{topics.prefix}/in/#")
    topics.put([""], retain=True)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_two_clients_with_one_id_do_not_put_each_other_out_for_ever(
    connection: Any, topics: Topics, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr("sqlstream.connectors.mqtt.client.TIMES", 2)
    name = uuid.uuid4().hex
    more = {"topic": f"{topics.prefix}/in/a", "client__id": name, "protocol__version": version}
    connection.execute(declared("t", "id BIGINT", "mqtt", topics.options, **more))
    five = version == "5"
    protocol = mqtt.MQTTv5 if five else mqtt.MQTTv311
    other = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=name,
        protocol=protocol,
        **({} if five else {"clean_session": False}),
    )
    other.reconnect_delay_set(1, 1)
    found = fetching(connection, "SELECT id FROM t LIMIT 1")
    time.sleep(1)
    other.connect("127.0.0.1", int(topics.options["url"].rpartition(":")[2]))
    other.loop_start()
    try:
        with pytest.raises(sqlstream.Error) as error:
            found.result(30)
        said = f"{error.value}"
        assert f"ended 2 connections of client id '{name}'" in said and "'client-id' of its own" in said, said
    finally:
        other.disconnect()
        other.loop_stop()


def test_the_page_is_as_shown(mosquitto: Mosquitto, tmp_path: Path) -> None:
    topics = Topics(mosquitto, listens=False)
    topics.prefix = "sensors"
    topics.put(['{"celsius": 21.5}'], topic="cellar/temperature", retain=True)
    topics.put(['{"celsius": 41.5}'], topic="attic/temperature", retain=True)
    out, shown = page_of("mqtt", tmp_path, {"localhost:1883": mosquitto.address})
    assert sorted(out.splitlines()) == sorted(shown.splitlines())
    seen: list[Any] = []
    topics._client.on_message = lambda client, data, m: seen.append((m.topic, m.payload, m.retain))
    topics._client.subscribe("alarms/#", 1)
    until(lambda: seen)
    assert seen == [("alarms/attic", b'{"celsius":41.5}', True)]
    for topic in ("cellar/temperature", "attic/temperature"):
        topics.put([""], topic=topic, retain=True)
    topics.close()
