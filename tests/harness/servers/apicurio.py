"""Apicurio Registry of Maven Central: a registry of schemas that speaks Confluent's protocol, in memory."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from .base import Server, ServerError, asked, program
from .kafka import cache as kafka_cache

VERSION = "2.6.13.Final"
_ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
_GET, _COPY = (f"org.apache.maven.plugins:maven-dependency-plugin:3.6.1:{goal}" for goal in ("get", "copy"))


def cache() -> Path:
    """Where its files are kept between runs."""
    return kafka_cache().parent / f"apicurio-{VERSION}"


class Apicurio(Server):
    """What it holds is gone when it stops."""

    name = "apicurio"
    packages = ("openjdk-17-jre-headless", "maven")

    @classmethod
    def missing(cls) -> str | None:
        return None if program("java") and (cache() / "lib").exists() else cls.not_installed()

    @classmethod
    def install(cls) -> None:
        if (cache() / "lib").exists():
            return
        if program("mvn") is None:
            raise ServerError("apicurio: it comes from Maven Central by mvn, which is not installed")
        cache().parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=cache().parent))
        for goal, more in ((_GET, ["-Dtransitive=false"]), (_COPY, [f"-DoutputDirectory={made}"])):
            done = subprocess.run(
                ["mvn", "-q", "-B", goal, f"-Dartifact={_ARTIFACT}", *more], cwd=made, capture_output=True, text=True
            )
            if done.returncode:
                shutil.rmtree(made)
                raise ServerError(f"apicurio {VERSION} could not be had by mvn:\n{done.stdout}{done.stderr}")
        (archive,) = made.glob("*.tar.gz")
        with tarfile.open(archive) as found:
            found.extractall(made, filter="data")
        archive.unlink()
        shutil.rmtree(cache(), ignore_errors=True)
        made.rename(cache())

    def command(self) -> list[str]:
        (jar,) = cache().glob("*-runner.jar")
        tuned = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx300m"]
        settings: dict[str, Any] = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.port,
            "quarkus.log.level": "WARN",
        }
        return [program("java") or "", *tuned, *(f"-D{k}={v}" for k, v in settings.items()), "-jar", str(jar)]

    def answers(self) -> bool:
        return asked(self.port, b"GET /apis/ccompat/v7/subjects HTTP/1.0\r\n\r\n", 12).endswith(b" 200")

    @property
    def url(self) -> str:
        """Of Confluent's protocol."""
        return f"http://{self.address}/apis/ccompat/v7"
