"""Mosquitto: an MQTT broker that keeps sessions and retained messages over a restart."""

from __future__ import annotations

from .base import LOOPBACK, Server, asked, program

# CONNECT of MQTT 3.1.1: a clean session, no client id; CONNACK with return code 0 comes back.
_CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00"


class Mosquitto(Server):
    """`settings`: more lines of its configuration. `users`: names and their passwords; {}: everybody may come."""

    name = "mosquitto"
    packages = ("mosquitto",)
    client = "paho"
    user = "mosquitto"

    def __init__(self, users: dict[str, str] | None = None, **settings: str) -> None:
        self.users, self.settings = users or {}, settings
        super().__init__()

    @classmethod
    def missing(cls) -> str | None:
        return None if program("mosquitto") else cls.not_installed()

    def prepare(self) -> None:
        lines = {
            "listener": f"{self.port} {LOOPBACK}",
            "allow_anonymous": "false" if self.users else "true",
            "persistence": "true",
            "persistence_location": f"{self.directory}/",
            "autosave_interval": "1",
            "max_queued_messages": "0",  # no limit
            **self.settings,
        }
        if self.users:
            known = self.directory / "users"
            known.write_text("".join(f"{name}:{word}\n" for name, word in self.users.items()))
            known.chmod(0o600)
            self.give(known)
            self.run(program("mosquitto_passwd") or "", "-U", str(known))
            lines["password_file"] = str(known)
        (self.directory / "mosquitto.conf").write_text("".join(f"{k} {v}\n" for k, v in lines.items()))

    def command(self) -> list[str]:
        return [program("mosquitto") or "", "-c", str(self.directory / "mosquitto.conf")]

    def answers(self) -> bool:
        return asked(self.port, _CONNECT)[:2] == b"\x20\x02"
