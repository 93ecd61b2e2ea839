"""MariaDB with a binary log of rows, global transaction ids, and one superuser `root` with a password."""

from __future__ import annotations

import uuid

from .base import LOOPBACK, Server, asked, program


class MariaDB(Server):
    """`settings`: more of its configuration, `max_allowed_packet="64M"`. A test takes a database of its own: `server.database()`."""

    name = "mariadb"
    packages = ("mariadb-server",)
    user = "mysql"
    password = "s3cret"

    def __init__(self, **settings: str) -> None:
        self.settings = settings
        super().__init__()

    @classmethod
    def missing(cls) -> str | None:
        return None if program("mariadbd") and program("mariadb-install-db") else cls.not_installed()

    def prepare(self) -> None:
        settings = {
            "datadir": self.directory / "data",
            "socket": self.socket,
            "pid-file": self.directory / "pid",
            "bind-address": LOOPBACK,
            "port": self.port,
            "server-id": 1,
            "log-bin": "binlog",
            "binlog-format": "ROW",
            "binlog-row-image": "FULL",
            "binlog-row-metadata": "FULL",  # names of columns, which readers of changes want
            "gtid-strict-mode": "ON",
            "character-set-server": "utf8mb4",
            "default-time-zone": "+00:00",
            # A small machine, and one that does not fail: a process that is killed has written what it says.
            "innodb-buffer-pool-size": "32M",
            "innodb-log-file-size": "16M",
            "innodb-flush-log-at-trx-commit": 2,
            "innodb-flush-method": "nosync",
            "key-buffer-size": "1M",
            **self.settings,
        }
        configuration = self.directory / "my.cnf"
        configuration.write_text(
            "[mariadbd]\n" + "".join(f"{k.replace('_', '-')} = {v}\n" for k, v in settings.items())
        )
        install = program("mariadb-install-db") or ""
        quick = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        self.run(install, f"--defaults-file={configuration}", *quick)
        # The password comes with the first start: accounts are changed by SQL alone.
        first = self.directory / "first.sql"
        host = "GRANT ALL ON *.* TO root@'127.0.0.1' IDENTIFIED BY '{0}' WITH GRANT OPTION;\n"
        first.write_text(
            f"SET sql_log_bin = 0;\nALTER USER root@localhost IDENTIFIED BY '{self.password}';\n"
            + host.format(self.password)
        )

    @property
    def socket(self) -> str:
        """The path of its unix socket."""
        return str(self.directory / "socket")

    def command(self) -> list[str]:
        files = [f"--defaults-file={self.directory / 'my.cnf'}", f"--init-file={self.directory / 'first.sql'}"]
        return [program("mariadbd") or "", *files]

    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.directory)}

    def answers(self) -> bool:
        # Its greeting: size and number of the packet, protocol 10. An error packet has 255 there.
        return asked(self.port, b"", 5)[4:5] == b"\x0a"

    def sql(self, sql: str, database: str = "mysql") -> str:
        """What SQL prints, rows by lines, values parted by tabs."""
        where = ["--no-defaults", "-h", LOOPBACK, "-P", str(self.port), "-u", "root", f"-p{self.password}"]
        return self.run(program("mariadb") or "", *where, "-N", "-B", "-e", sql, database)

    def database(self) -> str:
        """The name of a new, empty database."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name}")
        return name
