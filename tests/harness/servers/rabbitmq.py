"""RabbitMQ, with streams if wanted. User guest, password guest."""

from __future__ import annotations

import glob

from .base import LOOPBACK, Server, asked, free_port, program

_LAUNCHER = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # not Debian's, which becomes another user


class RabbitMQ(Server):
    """`plugins`: such as "rabbitmq_stream", which listens on `stream_port`."""

    name = "rabbitmq"
    packages = ("rabbitmq-server",)
    client = "pika"

    def __init__(self, plugins: tuple[str, ...] = ()) -> None:
        self.plugins = plugins
        self.stream_port, self._distribution, self._names = free_port(), free_port(), free_port()
        super().__init__()

    @classmethod
    def missing(cls) -> str | None:
        return None if glob.glob(_LAUNCHER) and program("epmd") else cls.not_installed()

    def prepare(self) -> None:
        lines = [f"listeners.tcp.default = {LOOPBACK}:{self.port}", "log.console = true", "log.file = false"]
        if "rabbitmq_stream" in self.plugins:
            lines.append(f"stream.listeners.tcp.1 = {LOOPBACK}:{self.stream_port}")
        (self.directory / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.directory / "plugins").write_text(f"[{','.join(self.plugins)}].\n")

    def command(self) -> list[str]:
        # Erlang's name server as a child: else the node starts one that stays for ever.
        both = f"epmd -port {self._names} -address {LOOPBACK} & exec {_LAUNCHER}"
        return ["sh", "-c", both]

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.directory),
            "ERL_EPMD_PORT": str(self._names),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_ALLOW_INPUT": "1",  # the launcher becomes the node, and does not wait for it
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput -kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory / "logs"),
        }

    def answers(self) -> bool:
        return asked(self.port, b"AMQP\x00\x00\x09\x01", 1) == b"\x01"  # a method: connection.start
