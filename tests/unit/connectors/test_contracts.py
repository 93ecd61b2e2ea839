"""Every registered connector and format keeps the contract of `contracts.py`. A new connector has its case here."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from connector_cases import connector_of, relation, schema, sink_of, source_of, table
from deltalake import write_deltalake
from harness.servers import NATS, Kafka, PostgreSQL, Redis
from harness.topics import Topics
from pyiceberg.catalog.sql import SqlCatalog

from sqlstream.connectors.python import OBJECTS
from sqlstream.connectors.python_source import TableObject
from sqlstream.connectors.registry import CONNECTORS
from sqlstream.contracts import Connector, SinkTask, TableContext
from sqlstream.errors import NotSupported
from sqlstream.formats.registry import FORMATS
from sqlstream.testing.connectors import SourceContract
from sqlstream.testing.connectors import stage as staged
from sqlstream.types import BIGINT, INT, STRING, Schema

AB = schema(("a", BIGINT), ("b", STRING))


@dataclass(frozen=True)
class Case:
    """A table of a connector whose rows are the same each time: its columns, its options, and files that it reads.

    `server`: the fixture of what it needs, and `made`: options of a new table there, or in the directory, with rows."""

    columns: Schema
    options: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    server: str = ""
    made: Callable[[Any], Mapping[str, str]] = lambda server: {}


def postgresql_table(server: PostgreSQL) -> Mapping[str, str]:
    name = f"t{uuid.uuid4().hex}"
    server.psql(f"CREATE TABLE {name} AS SELECT i::int8 AS a, 'x' || i AS b FROM generate_series(1, 5) i")
    return {"url": server.url(), "table__name": name}


def kafka_topic(server: Kafka) -> Mapping[str, str]:
    topics = Topics(server.bootstrap)
    name = topics.new(2)
    for p in (0, 1):
        topics.put(name, [f'{{"a": {i}, "b": "x{i}"}}' for i in range(3 * p, 3 + 2 * p)], partition=p)
    return {"properties.bootstrap.servers": server.bootstrap, "topic": name, "sink_transactional__id__prefix": name}


def nats_stream(server: NATS) -> Mapping[str, str]:
    import nats

    name = f"t{uuid.uuid4().hex}"

    async def fill() -> None:
        connection = await nats.connect(f"nats://{server.address}")
        await connection.jetstream().add_stream(name=name, subjects=[f"{name}.*"])
        for i in range(8):
            await connection.jetstream().publish(f"{name}.x", f'{{"a": {i}, "b": "x{i}"}}'.encode())
        await connection.close()

    asyncio.run(fill())
    return {"url": f"nats://{server.address}", "stream": name, "subject": f"{name}.x"}


def delta_table(directory: Path) -> Mapping[str, str]:
    for begin in (1, 4):
        rows = pa.table({"a": pa.array(range(begin, begin + 3), pa.int64()), "b": ["x", None, "z"]})
        write_deltalake(str(directory / "delta"), rows, mode="append")
    return {"table__path": str(directory / "delta")}


def iceberg_table(directory: Path) -> Mapping[str, str]:
    options = {"uri": f"sqlite:///{directory}/catalog.db", "warehouse": str(directory / "warehouse")}
    catalog = SqlCatalog("lake", **options)
    catalog.create_namespace("default")
    rows = pa.table({"a": pa.array(range(1, 4), pa.int64()), "b": ["x", None, "z"]})
    made = catalog.create_table(("default", "t"), rows.schema)
    for _ in range(2):
        made.append(rows)
    catalog.close()
    return {"catalog__name": "lake", "catalog__type": "sql", **options}


def redis_stream(server: Redis) -> Mapping[str, str]:
    from redis import Redis as Client

    name = f"t{uuid.uuid4().hex}"
    with Client(port=server.port) as client:
        for i in range(8):
            client.xadd(name, {"a": i, "b": f"x{i}"})
    return {"url": f"redis://{server.address}", "key": name}


CASES = {
    "blackhole": Case(AB, {}),
    "datagen": Case(AB, {"number__of__rows": "20", "fields_b_null__rate": "0.5"}),
    "delta": Case(AB, {}, made=delta_table),
    "filesystem": Case(AB, {"path": "{directory}"}),
    "iceberg": Case(AB, {}, made=iceberg_table),
    "jdbc": Case(AB, {"sink_delivery__guarantee": "exactly-once"}, server="postgresql", made=postgresql_table),
    "kafka": Case(
        AB,
        {
            "format": "json",
            "scan_startup_mode": "earliest-offset",
            "scan_bounded_mode": "latest-offset",
            "sink_delivery__guarantee": "exactly-once",
        },
        server="kafka",
        made=kafka_topic,
    ),
    "nats": Case(
        AB,
        {"format": "json", "scan_bounded_mode": "latest", "sink_delivery__guarantee": "exactly-once"},
        server="nats",
        made=nats_stream,
    ),
    "nexmark": Case(schema(("event_type", INT)), {"events_num": "60"}),
    "print": Case(AB, {}),
    "redis": Case(
        AB,
        {"data__type": "stream", "scan_bounded_mode": "latest", "sink_delivery__guarantee": "exactly-once"},
        server="redis",
        made=redis_stream,
    ),
    "python": Case(AB, {"object": "of test_contracts"}),
}


@dataclass(frozen=True)
class Kind:
    """A connector, with a format if it takes one."""

    connector: str
    format: str | None = None

    def __str__(self) -> str:
        return self.connector if self.format is None else f"{self.connector}-{self.format}"

    def table(self, directory: Path, request: pytest.FixtureRequest) -> TableContext:
        """Its table; files of two splits are there, and a server if it needs one."""
        assert self.connector in CASES, f"connector '{self.connector}' has no case in test_contracts.py"
        case = CASES[self.connector]
        options = {k: v.format(directory=directory) for k, v in case.options.items()}
        options.update(case.made(request.getfixturevalue(case.server) if case.server else directory))
        for name, text in case.files.items():
            (directory / name).write_text(text)
        if self.format is None:
            return table(case.columns, connector=self.connector, **options)
        t = table(case.columns, connector=self.connector, format=self.format, **options)
        for subtask, rows in enumerate(([(1, "x"), (2, "-"), (3, "y")], [(4, "z")])):
            stage(t, SinkTask("earlier", "run", subtask), rows)()
        return t


OBJECTS.add("of test_contracts", TableObject(pa.table({"a": range(5), "b": ["x", None, "z", "", "y"]})))
# Rows have a key, or come without end: see tests/connectors, and test_postgres_cdc.py.
SERVED = {
    "upsert-kafka",
    "postgres-cdc",
    "mqtt",
    "rabbitmq",
    "mongodb",
    "clickhouse",
    "elasticsearch-7",
    "opensearch",
    "kinesis",
    "http",
    "webhook",
    "websocket",
    "sse",
    "socket",
    "alert",
    "mysql-cdc",
}
FILES = sorted(n for n, f in FORMATS.items() if f.files)
KINDS = [Kind(c, f) for c in sorted(CONNECTORS.keys() - SERVED) for f in (FILES if c == "filesystem" else [None])]
READ = [k for k in KINDS if CONNECTORS[k.connector].source is not Connector.source]
# the object of 'python' is read here: one that is written is a function (unit/dbapi/test_registered.py)
WRITTEN = [k for k in KINDS if CONNECTORS[k.connector].sink is not Connector.sink and k.connector != "python"]


def stage(t: TableContext, task: SinkTask, rows: list[tuple[int, str]]) -> Callable[[], None]:
    a, b = zip(*rows, strict=True)
    return staged(sink_of(t), task, pa.record_batch({"a": pa.array(a, pa.int64()), "b": pa.array(b)}))


@pytest.mark.parametrize("promise", [n for n in dir(SourceContract) if n.startswith("test_")])
@pytest.mark.parametrize("kind", READ, ids=str)
def test_a_source_keeps(kind: Kind, promise: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    t = kind.table(tmp_path, request)
    found, own = connector_of(t)
    getattr(Tried(type(found), own), promise)()


class Tried(SourceContract):
    def __init__(self, connector: type[Connector], t: TableContext) -> None:
        self.connector, self._table = connector, t

    def made(self) -> TableContext:
        return self._table


@pytest.mark.parametrize("kind", WRITTEN, ids=str)
def test_what_is_committed_is_there_once(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    t = kind.table(tmp_path, request)
    before = [r[:2] for r in relation(t)] if kind in READ else []
    rows = [(7, "p"), (8, "q")]
    commit = stage(t, SinkTask("job", "run", 0), rows)
    assert kind not in READ or [r[:2] for r in relation(t)] == before
    for _ in range(2):
        commit()
    assert kind not in READ or sorted(r[:2] for r in relation(t)) == sorted([*before, *rows])


def test_cases_are_of_connectors() -> None:
    assert CASES.keys() | SERVED == CONNECTORS.keys(), "connectors/registry.py has others than there are cases here"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_a_connector_cannot_do_is_refused(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    t = kind.table(tmp_path, request)
    for does, made, what in ((READ, source_of, "read from"), (WRITTEN, sink_of, "written to")):
        if kind not in does:
            with pytest.raises(NotSupported, match=f"table t: connector '{kind.connector}' cannot be {what}"):
                made(t)
