"""NATS with JetStream, whose streams are files."""

from __future__ import annotations

from .base import LOOPBACK, Server, asked, program


class NATS(Server):
    """`token`: what clients have to give; "": nothing."""

    name = "nats"
    packages = ("nats-server",)
    client = "nats"

    def __init__(self, token: str = "") -> None:
        self.token = token
        super().__init__()

    @classmethod
    def missing(cls) -> str | None:
        return None if program("nats-server") else cls.not_installed()

    def command(self) -> list[str]:
        word = ["--auth", self.token] if self.token else []
        store = ["-js", "-sd", str(self.directory / "data")]
        return [program("nats-server") or "", "-a", LOOPBACK, "-p", str(self.port), *store, *word]

    def answers(self) -> bool:
        return asked(self.port, b"") == b"INFO"
