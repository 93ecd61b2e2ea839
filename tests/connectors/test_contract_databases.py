"""The contract of connectors (`sqlstream.testing.connectors`), kept by databases: their changes as sources, their tables as sinks of jobs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import pytest
from harness.servers import MariaDB, PostgreSQL, wanted

from sqlstream.connectors.jdbc.connector import JdbcConnector
from sqlstream.connectors.mysql_cdc.connector import MysqlCdcConnector
from sqlstream.connectors.postgres_cdc.connector import PostgresCdcConnector
from sqlstream.testing.connectors import DeliveryContract, Row, StreamContract

KEYED = "id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED"
NO_RECORDS = "what a database has is well-formed"


def values(rows: Sequence[Row]) -> str:
    """Of an INSERT, for both servers; long names are made there."""
    texts = [f"REPEAT('{n[0]}', {len(n)})" if len(n) > 1000 and len(set(n)) == 1 else f"'{n}'" for _, n in rows]
    return ", ".join(f"({i}, {text})" for (i, _), text in zip(rows, texts, strict=True))


def rows_of(text: str, mark: str) -> list[Row]:
    return [(int(i), name) for i, _, name in (line.partition(mark) for line in text.splitlines())]


@pytest.fixture(scope="module")
def spare_postgresql() -> Iterator[PostgreSQL]:
    """One that may be stopped."""
    wanted(PostgreSQL)
    with PostgreSQL() as server:
        yield server


@pytest.fixture(scope="module")
def spare_mariadb() -> Iterator[MariaDB]:
    """One that may be stopped."""
    wanted(MariaDB)
    with MariaDB() as server:
        yield server


class OnPostgreSQL:
    @pytest.fixture(autouse=True)
    def server(self, postgresql: PostgreSQL, request: pytest.FixtureRequest) -> None:
        self.own, self.request = postgresql, request

    def new(self) -> str:
        self.name = f"t{uuid.uuid4().hex[:12]}"
        self.own.psql(f"CREATE TABLE {self.name} (id int8 PRIMARY KEY, name text)")
        return self.name

    @contextmanager
    def alone(self) -> Iterator[None]:
        shared, self.own = self.own, self.request.getfixturevalue("spare_postgresql")
        yield
        self.own = shared

    def server_stops(self) -> None:
        self.own.kill()

    def server_starts(self) -> None:
        self.own.start()


class OnMariaDB:
    @pytest.fixture(autouse=True)
    def server(self, mariadb: MariaDB, request: pytest.FixtureRequest) -> None:
        self.own, self.request = mariadb, request
        self.database = self.own.database()

    def new(self) -> str:
        self.name = f"t{uuid.uuid4().hex[:12]}"
        self.own.sql(f"CREATE TABLE {self.name} (id bigint PRIMARY KEY, name longtext)", self.database)
        return self.name

    @contextmanager
    def alone(self) -> Iterator[None]:
        shared, self.own = self.own, self.request.getfixturevalue("spare_mariadb")
        self.database = self.own.database()
        yield
        self.own = shared

    def server_stops(self) -> None:
        self.own.kill()

    def server_starts(self) -> None:
        self.own.start()


class Cdc(StreamContract):
    changes, columns = True, KEYED
    tells = frozenset({"pending bytes"})  # and bytes of changes, of which there are none while the table is read
    unable: Mapping[str, str] = {"bad records": NO_RECORDS}

    @contextmanager
    def refused(self) -> Iterator[tuple[Mapping[str, str], str]]:
        yield {**self.made(), "password": "a wr0ng word"}, "wr0ng"


class TestPostgresCdc(OnPostgreSQL, Cdc):
    connector = PostgresCdcConnector

    @pytest.fixture(autouse=True)
    def slots(self, server: None) -> Iterator[None]:
        self.names: list[str] = []
        yield
        with suppress(Exception):  # the test's own server is gone
            for name in self.names:
                self.own.psql(
                    f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{name}'"
                )

    def made(self) -> Mapping[str, str]:
        name = self.new()
        self.names.append(name)
        return {
            "hostname": "127.0.0.1", "port": str(self.own.port), "username": "postgres", "password": self.own.password,
            "database-name": "postgres", "schema-name": "public", "table-name": name, "slot.name": name,
            "debezium.publication.name": name,
        }  # fmt: skip

    def put(self, rows: Sequence[Row]) -> None:
        self.own.psql(f"INSERT INTO {self.name} VALUES {values(rows)}")


class TestMysqlCdc(OnMariaDB, Cdc):
    connector = MysqlCdcConnector

    def made(self) -> Mapping[str, str]:
        return {
            "hostname": "127.0.0.1", "port": str(self.own.port), "username": "root", "password": self.own.password,
            "database-name": self.database, "table-name": self.new(),
        }  # fmt: skip

    def put(self, rows: Sequence[Row]) -> None:
        self.own.sql(f"INSERT INTO {self.name} VALUES {values(rows)}", self.database)


class Tables(DeliveryContract):
    connector, tells = JdbcConnector, False

    @contextmanager
    def refused(self) -> Iterator[tuple[Mapping[str, str], str]]:
        yield {**self.made(), "password": "a wr0ng word"}, "wr0ng"


class TestPostgresTables(OnPostgreSQL, Tables):
    def made(self) -> Mapping[str, str]:
        url = f"jdbc:postgresql://127.0.0.1:{self.own.port}/postgres"
        who = {"username": "postgres", "password": self.own.password}
        return {"url": url, "table-name": self.new(), **who, "sink.delivery-guarantee": "exactly-once"}

    def seen(self) -> Sequence[Row]:
        return rows_of(self.own.psql(f"SELECT * FROM {self.name}"), "|")


class TestMariaTables(OnMariaDB, Tables):
    def made(self) -> Mapping[str, str]:
        url = f"jdbc:mysql://127.0.0.1:{self.own.port}/{self.database}"
        who = {"username": "root", "password": self.own.password}
        return {"url": url, "table-name": self.new(), **who, "sink.delivery-guarantee": "exactly-once"}

    def seen(self) -> Sequence[Row]:
        return rows_of(self.own.sql(f"SELECT * FROM {self.name}", self.database), "\t")
