"""PostgreSQL with logical replication and prepared transactions, one superuser `postgres` with a password."""

from __future__ import annotations

import glob
import os
import signal
import uuid
from pathlib import Path

from .base import LOOPBACK, Server, program


class PostgreSQL(Server):
    """`settings`: more lines of its configuration. A test takes a database of its own: `server.database()`."""

    name = "postgresql"
    packages = ("postgresql",)
    user = "postgres"  # the server refuses to be root
    stop_signal = signal.SIGINT  # fast: it does not wait for clients
    password = "s3cret"

    def __init__(self, **settings: str) -> None:
        self.settings = settings
        super().__init__()

    @classmethod
    def _program(cls, name: str) -> str | None:
        newest = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: float(p.split("/")[-2]), reverse=True)
        return program(name, *newest)

    @classmethod
    def missing(cls) -> str | None:
        return None if cls._program("postgres") and cls._program("initdb") else cls.not_installed()

    def prepare(self) -> None:
        password = self.directory / "password"
        password.write_text(self.password)
        self.give(password)
        initdb = self._program("initdb") or ""
        who = ["--username=postgres", f"--pwfile={password}", "--auth=scram-sha-256"]
        self.run(initdb, "--no-sync", "--locale=C.UTF-8", "--encoding=UTF8", *who, str(self.directory / "data"))
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "wal_level": "logical",
            "max_replication_slots": "50",
            "max_wal_senders": "50",
            "max_prepared_transactions": "50",
            # A process that is killed has written what it says, the machine does not fail here: fsync is only slow.
            "fsync": "off",
            "shared_buffers": "64MB",
            "max_connections": "100",
            "timezone": "UTC",
            **self.settings,
        }
        with open(self.directory / "data" / "postgresql.conf", "a") as configuration:
            configuration.writelines(f"{k} = '{v}'\n" for k, v in settings.items())

    def command(self) -> list[str]:
        return [self._program("postgres") or "", "-D", str(self.directory / "data")]

    def environment(self) -> dict[str, str]:
        return {"LC_ALL": "C.UTF-8", "PGCLIENTENCODING": "UTF8", "HOME": str(self.directory)}

    def answers(self) -> bool:
        is_ready = [self._program("pg_isready") or "", "-q", "-h", LOOPBACK, "-p", str(self.port)]
        return os.spawnv(os.P_WAIT, is_ready[0], is_ready) == 0

    def psql(self, sql: str, database: str = "postgres") -> str:
        """What SQL prints, rows by lines, values parted by |."""
        return self.run(
            str(self._program("psql")), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", sql
        )

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """postgresql://user:password@127.0.0.1:port/database."""
        return f"postgresql://{user}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def database(self) -> str:
        """The name of a new, empty database."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.psql(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.directory / "data"
