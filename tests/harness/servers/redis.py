"""Redis: data in memory, and in an append-only file when `durable`."""

from __future__ import annotations

from .base import LOOPBACK, Server, asked, program


class Redis(Server):
    """`password`: what clients have to give (AUTH); "": nothing."""

    name = "redis"
    packages = ("redis-server",)
    client = "redis"

    def __init__(self, durable: bool = True, password: str = "") -> None:
        self.durable, self.password = durable, password
        super().__init__()

    @classmethod
    def missing(cls) -> str | None:
        return None if program("redis-server") else cls.not_installed()

    def command(self) -> list[str]:
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": str(self.directory),
            "save": "",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
        }
        if self.password:
            settings["requirepass"] = self.password
        return [program("redis-server") or "", *(word for k, v in settings.items() for word in (f"--{k}", v))]

    def answers(self) -> bool:
        # -LOADING while it reads its file, -NOAUTH when it wants a password: the latter is an answer
        return asked(self.port, b"PING\r\n", 7) in (b"+PONG\r\n", b"-NOAUTH")
