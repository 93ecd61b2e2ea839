"""Apache Kafka of Maven Central, in KRaft mode: one process is broker and controller, more brokers if wanted.

`install` resolves the jars and their dependencies into a cache directory, and there makes an archive of the loaded classes,
with which a broker answers about a second after it is begun.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from .base import LOOPBACK, Server, ServerError, asked, free_port, program

VERSION = "4.4.0"  # https://kafka.apache.org: with transactions of version 2
CLUSTER = "c3Fsc3RyZWFtLXRlc3RzMA"  # 16 bytes in base64, any

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>sqlstream</groupId><artifactId>kafka-server</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.5</version></dependency>
</dependencies></project>
"""
_LOGGING = """status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
"""
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
# An ApiVersions request: size, key 18, version 0, correlation id, no client id. A broker answers it when it takes requests.
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)


def cache() -> Path:
    """Where jars are kept between runs: SQLSTREAM_TEST_CACHE, or below ~/.cache."""
    return (
        Path(os.environ.get("SQLSTREAM_TEST_CACHE") or Path.home() / ".cache" / "sqlstream-tests") / f"kafka-{VERSION}"
    )


class Kafka(Server):
    """`settings`: more of server.properties, with _ for the dots (`transaction_max_timeout_ms="60000"`).

    `role`: "broker,controller", all in one; or one of them, in a `KafkaCluster`, whose controller listens on `voter`.
    """

    name = "kafka"
    packages = ("openjdk-17-jre-headless", "maven")

    def __init__(self, role: str = "broker,controller", node: int = 1, voter: str = "", **settings: Any) -> None:
        self.settings, self.role, self.node, self.voter = settings, role, node, voter
        super().__init__()

    @classmethod
    def missing(cls) -> str | None:
        return None if program("java") and (cache() / "classpath").exists() else cls.not_installed()

    @classmethod
    def install(cls) -> None:
        if (cache() / "classpath").exists():
            return
        if program("mvn") is None or program("java") is None:
            raise ServerError("kafka: its jars come from Maven Central by mvn, which is not installed (nor java?)")
        cache().parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=cache().parent))
        (made / "pom.xml").write_text(_POM.format(version=VERSION))
        (made / "log4j2.properties").write_text(_LOGGING)
        mvn = ["mvn", "-q", "-B", _COPY, "-DoutputDirectory=jars", "-DincludeScope=runtime"]
        done = subprocess.run(mvn, cwd=made, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(made)
            raise ServerError(f"kafka {VERSION} could not be had by mvn:\n{done.stdout}{done.stderr}")
        shutil.rmtree(cache(), ignore_errors=True)
        made.rename(cache())
        # The archive knows the jars by their paths: it is made where they stay. What says that all is there is written last.
        jars = sorted(str(p) for p in (cache() / "jars").iterdir())
        (cache() / "classpath.new").write_text(os.pathsep.join(jars))
        (cache() / "classpath.new").rename(cache() / "classpath")
        _Recorded().record()

    def prepare(self) -> None:
        if not self.voter:
            self.voter = f"{self.node}@{self.address if self.role == 'controller' else f'{LOOPBACK}:{free_port()}'}"
        listeners = [f"PLAINTEXT://{self.address}"] if "broker" in self.role else []
        if "controller" in self.role:
            listeners.append(f"CONTROLLER://{self.voter.partition('@')[2]}")
        settings = {
            "process.roles": self.role,
            "node.id": self.node,
            "controller.quorum.voters": self.voter,
            "listeners": ",".join(listeners),
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.directory / "data",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false",
            # A small machine: few threads, and files that are not laid out in full.
            "num.network.threads": 2,
            "num.io.threads": 2,
            "log.index.size.max.bytes": 1 << 20,
            "log.cleaner.dedupe.buffer.size": 4 << 20,
            # A broker that was killed is missed soon.
            "broker.session.timeout.ms": 2000,
            "broker.heartbeat.interval.ms": 500,
            **{k.replace("_", "."): v for k, v in self.settings.items()},
        }
        self.properties.write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        self.run(*self.java(), "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self.properties))

    @property
    def properties(self) -> Path:
        """Its configuration; may be changed while it is stopped."""
        return self.directory / "server.properties"

    def java(self) -> list[str]:
        """The beginning of a command that runs a class of Kafka's."""
        archive = cache() / "classes.jsa"
        tuned = [
            f"-XX:SharedArchiveFile={archive}" if archive.exists() else "-Xshare:auto",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Xms64m",
            "-Xmx512m",
            f"-Dlog4j2.configurationFile={cache() / 'log4j2.properties'}",
        ]
        return [program("java") or "", *tuned, "-cp", (cache() / "classpath").read_text()]

    def command(self) -> list[str]:
        return [*self.java(), "kafka.Kafka", str(self.properties)]

    def answers(self) -> bool:
        return asked(self.port, _API_VERSIONS) != b""

    @property
    def bootstrap(self) -> str:
        """`bootstrap.servers`, of this broker."""
        return self.address


class _Recorded(Kafka):
    """A broker whose classes become the archive: begun once, and stopped."""

    def command(self) -> list[str]:
        java, *rest = super().command()
        return [java, f"-XX:ArchiveClassesAtExit={cache() / 'classes.new'}", *rest]

    def record(self) -> None:
        """Makes the archive. A broker does without one, only slower."""
        with self:
            self.stop()
        (cache() / "classes.new").rename(cache() / "classes.jsa")


class KafkaCluster:
    """Brokers, and a controller beside them: each broker may be stopped, killed and started again.

    with KafkaCluster(2) as cluster: cluster.bootstrap; cluster.brokers[1].kill()
    """

    def __init__(self, brokers: int = 2, **settings: Any) -> None:
        self._stack = ExitStack()
        self.controller = Kafka(role="controller", node=100)
        replicated = {
            "offsets_topic_replication_factor": brokers,
            "transaction_state_log_replication_factor": brokers,
            "default_replication_factor": brokers,
        }
        self.brokers = [
            Kafka(role="broker", node=n + 1, voter=self.controller.voter, **{**replicated, **settings})
            for n in range(brokers)
        ]

    @property
    def bootstrap(self) -> str:
        """`bootstrap.servers`, of all brokers."""
        return ",".join(b.address for b in self.brokers)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in (self.controller, *self.brokers):
                stack.enter_context(server)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()  # the brokers first: they tell the controller that they go
