"""OpenSearch of Maven Central: its server as a library, in one node with the HTTP plugin, data in its directory. Without security."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from .base import LOOPBACK, Server, ServerError, asked, free_port, program
from .kafka import cache as kafka_cache

VERSION = "2.19.0"
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>tests</groupId><artifactId>node</artifactId><version>1</version><dependencies>{}</dependencies></project>"""
_ARTIFACTS = (
    ("org.opensearch", "opensearch", VERSION),
    ("org.opensearch.plugin", "transport-netty4-client", VERSION),
    ("org.apache.logging.log4j", "log4j-core", "2.21.0"),
)
_JAVA = """
import java.nio.file.*;
import java.util.*;
import org.opensearch.common.settings.Settings;
import org.opensearch.node.*;
import org.opensearch.plugins.Plugin;
public class OneNode extends Node {
  OneNode(Settings s) {
    super(InternalSettingsPreparer.prepareEnvironment(s, Map.of(), null, () -> "one"),
      List.<Class<? extends Plugin>>of(org.opensearch.transport.Netty4Plugin.class), false);
  }
  public static void main(String[] args) throws Exception {
    Settings.Builder settings = Settings.builder();
    for (String a : args) settings.put(a.split("=", 2)[0], a.split("=", 2)[1]);
    Node node = new OneNode(settings.build());
    Runtime.getRuntime().addShutdownHook(new Thread(() -> { try { node.close(); } catch (Exception e) { } }));
    node.start();
    Thread.sleep(Long.MAX_VALUE);
  }
}
"""


def cache() -> Path:
    """Where its files are kept between runs."""
    return kafka_cache().parent / f"opensearch-{VERSION}"


class OpenSearch(Server):
    """Its documents stay when it is started again."""

    name = "opensearch"
    packages = ("openjdk-17-jdk-headless", "maven")

    @classmethod
    def missing(cls) -> str | None:
        return None if program("java") and (cache() / "OneNode.class").exists() else cls.not_installed()

    @classmethod
    def install(cls) -> None:
        if cls.missing() is None:
            return
        if program("mvn") is None or program("javac") is None:
            raise ServerError(
                "opensearch: it comes from Maven Central by mvn, and is compiled by javac: one is not installed"
            )
        cache().parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=cache().parent))
        each = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
        (made / "pom.xml").write_text(_POM.format("".join(each.format(*a) for a in _ARTIFACTS)))
        (made / "OneNode.java").write_text(_JAVA)
        for command in (
            ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"],
            ["javac", "-cp", "lib/*", "OneNode.java"],
        ):
            done = subprocess.run(command, cwd=made, capture_output=True, text=True)
            if done.returncode:
                shutil.rmtree(made)
                raise ServerError(f"opensearch {VERSION} could not be made:\n{done.stdout}{done.stderr}")
        shutil.rmtree(cache(), ignore_errors=True)
        made.rename(cache())

    def prepare(self) -> None:
        (self.directory / "config").mkdir()

    def command(self) -> list[str]:
        settings = {
            "path.home": self.directory,
            "node.name": "one",
            "cluster.name": "tests",
            "discovery.type": "single-node",
            "network.host": LOOPBACK,
            "http.port": self.port,
            "transport.port": free_port(),
            "cluster.routing.allocation.disk.threshold_enabled": "false",
        }
        tuned = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx400m", f"-Dopensearch.path.home={self.directory}"]
        classes = f"{cache()}/lib/*:{cache()}"
        return [program("java") or "", *tuned, "-cp", classes, "OneNode", *(f"{k}={v}" for k, v in settings.items())]

    def answers(self) -> bool:
        return asked(self.port, b"GET /_cluster/health HTTP/1.0\r\n\r\n", 12).endswith(b" 200")

    @property
    def url(self) -> str:
        """Of its HTTP interface."""
        return f"http://{self.address}"
