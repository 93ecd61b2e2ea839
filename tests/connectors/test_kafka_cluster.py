"""Connector 'kafka' where brokers come and go, and where they ask who is there: leaders that change, SASL over TLS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from harness.servers import Kafka, KafkaCluster, wanted
from harness.servers.base import LOOPBACK, free_port
from harness.topics import Topics

import sqlstream

CHANGES = int(os.environ.get("SQLSTREAM_LEADER_CHANGES", "1"))  # of both brokers


def _until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_leaders_change_under_a_job(tmp_path: Path) -> None:
    """One broker of two is killed and comes back, then the other one: each row is written once."""
    wanted(Kafka)
    with KafkaCluster(2) as cluster:
        topics = Topics(cluster.bootstrap)
        source, out = topics.new(2, replicas=2), topics.new(2, replicas=2)
        of = f"'connector' = 'kafka', 'properties.bootstrap.servers' = '{cluster.bootstrap}', 'format' = 'json'"
        script = tmp_path / "job.sql"
        script.write_text(f"""
            SET 'execution.checkpointing.interval' = '200ms'; SET 'execution.runtime-mode' = 'streaming';
            SET 'pipeline.name' = 'copy'; SET 'parallelism.default' = '2'; SET 'table.dml-sync' = 'true';
            CREATE TABLE s (n BIGINT) WITH ({of}, 'topic' = '{source}', 'scan.startup.mode' = 'earliest-offset');
            CREATE TABLE o (n BIGINT) WITH ({of}, 'topic' = '{out}', 'sink.delivery-guarantee' = 'exactly-once',
                                            'sink.transactional-id-prefix' = '{out}');
            INSERT INTO o SELECT n FROM s;""")
        job = subprocess.Popen(
            [sys.executable, "-m", "sqlstream", "run", str(script)], cwd=tmp_path, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        feed = Feed(topics, source)
        try:
            feed.start()
            _change_leaders(cluster, topics, source, out, job)
            rows = feed.end()
            _until(lambda: len(topics.values(out)) >= rows)
            job.send_signal(signal.SIGINT)
            _, said = job.communicate(timeout=60)
        finally:
            feed.end()
            job.kill()
            job.communicate()
        assert sorted(json.loads(v or b"")["n"] for v in topics.values(out)) == list(range(rows)), said


def _change_leaders(cluster: KafkaCluster, topics: Topics, source: str, out: str, job: subprocess.Popen[str]) -> None:
    def there() -> int:
        assert job.poll() is None, job.communicate()[1]
        return len(topics.values(out))

    _until(lambda: there() > 200)
    for _ in range(CHANGES):
        for broker in (cluster.brokers[1], cluster.brokers[0]):
            broker.kill()
            before = there()
            _until(lambda before=before: there() > before + 200)  # the other one leads all partitions
            broker.start()
            _until(lambda: _in_step(topics, source, out))


class Feed(threading.Thread):
    """Some rows each tenth of a second, as long as leaders change."""

    def __init__(self, topics: Topics, topic: str) -> None:
        super().__init__(daemon=True)
        self.topics, self.topic, self.rows = topics, topic, 0
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.wait(0.1):
            numbers = range(self.rows, self.rows + 100)
            self.topics.put(self.topic, (json.dumps({"n": n}) for n in numbers), partition=self.rows // 100 % 2)
            self.rows += 100

    def end(self) -> int:
        """No more; how many rows there are."""
        self.ending.set()
        if self.is_alive():
            self.join()
        return self.rows


def _in_step(topics: Topics, *names: str) -> bool:
    """Whether both brokers have all of these topics' messages."""
    found = topics.admin.list_topics(timeout=10).topics
    return all(len(p.isrs) == 2 for n in names for p in found[n].partitions.values())


class Guarded(Kafka):
    """A broker with a second listener, to which one comes by TLS and a password."""

    def prepare(self) -> None:
        super().prepare()
        authority, self.guarded = trustme.CA(), f"{LOOPBACK}:{free_port()}"
        self.authority = self.directory / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        own = self.directory / "broker.pem"
        made = authority.issue_cert(LOOPBACK)
        key = load_pem_private_key(made.private_key_pem.bytes(), None)  # Java reads PKCS#8 only
        own.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        with open(own, "ab") as file:
            file.writelines(c.bytes() for c in made.cert_chain_pems)
        login = "org.apache.kafka.common.security.{}LoginModule required"
        listeners = self.properties.read_text().partition("listeners=")[2].partition("\n")[0]
        self.properties.write_text(
            self.properties.read_text()
            + f"""
listeners={listeners},SASL_SSL://{self.guarded}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
inter.broker.listener.name=PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={own}
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config={login.format("plain.Plain")} user_alice="s3cret;" ;
"""
        )


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    wanted(Kafka)
    with Guarded() as server:
        yield server


def table(server: Guarded, name: str, topic: str, **more: str) -> str:
    options = {
        "connector": "kafka", "topic": topic, "properties.bootstrap.servers": server.guarded, "format": "json",
        "properties.security.protocol": "SASL_SSL", "properties.ssl.ca.location": str(server.authority), **more,
    }  # fmt: skip
    said = ", ".join(f"'{k}' = '{v}'" for k, v in options.items() if v)
    return f"CREATE TABLE {name} (n BIGINT) WITH ({said})"


JAAS = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="${env:KAFKA_WORD}";'
READ = {"scan.startup.mode": "earliest-offset", "scan.bounded.mode": "latest-offset"}


def test_by_tls_and_password(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Java's clients are told, and as librdkafka is; the clients of transactions, too."""
    monkeypatch.setenv("KAFKA_WORD", "s3cret;")
    topic = Topics(guarded.bootstrap).new(1)
    java = {"properties.sasl.mechanism": "PLAIN", "properties.sasl.jaas.config": JAAS}
    own = {"properties.sasl.mechanism": "PLAIN", "properties.sasl.username": "alice",
           "properties.sasl.password": "${env:KAFKA_WORD}"}  # fmt: skip
    with sqlstream.connect() as c:
        c.execute(table(guarded, "o", topic, **java, **{
            "sink.delivery-guarantee": "exactly-once", "sink.transactional-id-prefix": topic
        }))  # fmt: skip
        c.execute(table(guarded, "s", topic, **own, **READ))
        c.execute("SET 'table.dml-sync' = 'true'")
        c.execute("SET 'execution.runtime-mode' = 'streaming'")
        c.execute("INSERT INTO o VALUES (1), (2)")
        assert c.execute("SELECT n FROM s WHERE n > 1").fetchall() == [(2,)]
        shown = str(c.execute("SHOW CREATE TABLE o").fetchall())
        assert "properties.sasl.jaas.config" in shown and "s3cret" not in shown


@pytest.mark.parametrize("wrong", ["password", "authority"])
def test_who_is_not_let_in_is_told(guarded: Guarded, wrong: str, tmp_path: Path) -> None:
    topic = Topics(guarded.bootstrap).new(1)
    options = {"properties.sasl.mechanism": "PLAIN", "properties.sasl.username": "alice", **READ}
    options["properties.sasl.password"] = "guessed4" if wrong == "password" else "s3cret;"
    if wrong == "authority":
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
        options["properties.ssl.ca.location"] = str(tmp_path / "other.pem")
    with sqlstream.connect() as c:
        c.execute(table(guarded, "s", topic, **options))
        began = time.monotonic()
        with pytest.raises(sqlstream.Error) as raised:
            c.execute("SELECT * FROM s").fetchall()
        said = str(raised.value)
        assert time.monotonic() - began < 10
        assert "table s" in said and "guessed4" not in said and "s3cret" not in said, said
        assert ("uthentication" if wrong == "password" else "certificate") in said, said
