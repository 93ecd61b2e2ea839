"""The contract of connectors (`sqlstream.testing.connectors`), kept by stores of documents as sinks of jobs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from sqlstream.connectors.mongodb.connector import MongoConnector
from sqlstream.testing.connectors import DeliveryContract, Row

pytest.importorskip("pymongo")
pytest.importorskip("mongomock")
from harness.mongo import MongoServer


class OnMongoDB(DeliveryContract):
    """A server of each test's own: it is one of this process, and there at once."""

    connector, tells = MongoConnector, False

    @pytest.fixture(autouse=True)
    def server(self) -> Iterator[None]:
        self.own = MongoServer()
        yield
        self.own.stop()

    def made(self) -> Mapping[str, str]:
        self.collection = f"c{uuid.uuid4().hex[:12]}"
        return {"uri": f"mongodb://127.0.0.1:{self.own.port}", "database": "d", "collection": self.collection}

    def seen(self) -> Sequence[Row]:
        return [(d["id"], d["name"]) for d in self.own.commands.documents("d", self.collection)]

    def server_stops(self) -> None:
        self.own.stop()

    def server_starts(self) -> None:
        self.own.start()

    @contextmanager
    def refused(self) -> Iterator[tuple[Mapping[str, str], str]]:
        yield {**self.made(), "uri": f"mongodb://ann:a%20wr0ng%20word@127.0.0.1:{self.own.port}"}, "wr0ng"


class TestMongoDB(OnMongoDB):
    columns = "id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED"


class TestMongoDBWithoutKeys(OnMongoDB):
    """Documents that are added: another way to write them, on the same client."""

    once = False
    unable: Mapping[str, str] = {
        "credentials": "TestMongoDB has them, by the same client",
        "huge": "TestMongoDB has it",
    }
