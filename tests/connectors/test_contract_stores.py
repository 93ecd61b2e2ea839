"""The contract of connectors (`sqlstream.testing.connectors`), kept by sinks that speak HTTP to stores, and by Kinesis: against servers that speak
their protocols."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from harness.bulk import Bulk
from harness.clickhouse import ClickHouse, Table
from harness.web import Answer, Web
from moto.kinesis.models import Shard as MotoShard
from test_kinesis import Streams

from sqlstream.connectors.clickhouse.connector import ClickHouseConnector
from sqlstream.connectors.kinesis.connector import KinesisConnector
from sqlstream.connectors.opensearch.connector import OpenSearchConnector
from sqlstream.testing.connectors import DeliveryContract, Row, StreamContract

KEYED = "id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED"


class TestOpenSearch(DeliveryContract):
    connector, columns = OpenSearchConnector, KEYED

    @pytest.fixture(autouse=True)
    def server(self) -> Iterator[None]:
        self.bulk = Bulk()
        yield
        self.bulk.close()

    def server_stops(self) -> None:
        self.bulk.close()

    def server_starts(self) -> None:
        self.bulk.again()

    def made(self) -> Mapping[str, str]:
        self.index = f"i{uuid.uuid4().hex[:8]}"
        return {"hosts": self.bulk.url, "index": self.index, "sink.bulk-flush.backoff.delay": "10 ms"}

    def seen(self) -> Sequence[Row]:
        return [(d["id"], d["name"]) for d in list(self.bulk.documents.get(self.index, {}).values())]

    @contextmanager
    def refused(self) -> Iterator[tuple[Mapping[str, str], str]]:
        with Web(lambda asked: Answer(401, {"error": "unable to authenticate"})) as web:
            yield {"hosts": web.url, "index": "i", "username": "u", "password": "a wr0ng word"}, "wr0ng"


class TestClickHouse(DeliveryContract):
    """Exactly once, by the tokens of inserts."""

    connector = ClickHouseConnector

    @pytest.fixture(autouse=True)
    def server(self) -> Iterator[None]:
        self.house = ClickHouse({})
        yield
        self.house.close()

    def server_stops(self) -> None:
        self.house.close()

    def server_starts(self) -> None:
        self.house.again()

    def made(self) -> Mapping[str, str]:
        self.name = f"t{uuid.uuid4().hex[:8]}"
        full = "MergeTree ORDER BY tuple() SETTINGS non_replicated_deduplication_window = 100"
        self.house.tables[self.name] = Table({"id": "Int64", "name": "String"}, full=full)
        return {"url": self.house.url, "table-name": self.name, "sink.delivery-guarantee": "exactly-once"}

    def seen(self) -> Sequence[Row]:
        return [(r["id"], r["name"]) for r in list(self.house.tables[self.name].rows)]

    @contextmanager
    def refused(self) -> Iterator[tuple[Mapping[str, str], str]]:
        with Web(lambda asked: Answer(403, b"Code: 516. DB::Exception: u: Authentication failed")) as web:
            yield {"url": web.url, "table-name": "t", "username": "u", "password": "a wr0ng word"}, "wr0ng"


class OnKinesis:
    """moto lets everybody in, and keeps its streams over restarts."""

    connector, largest = KinesisConnector, 900_000  # of a record 1 MB is taken
    unable: Mapping[str, str] = {"credentials": "moto lets everybody in; what AWS answers: test_kinesis.py"}

    @pytest.fixture(autouse=True)
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        put, lock = MotoShard.put_record, threading.Lock()

        def put_alone(shard: MotoShard, *of: Any) -> str:
            """Of two at once moto lets one take the other's number, and with it its place."""
            with lock:
                return put(shard, *of)

        monkeypatch.setattr(MotoShard, "put_record", put_alone)
        self.streams = Streams()
        yield
        self.streams.close()

    def made(self) -> Mapping[str, str]:
        self.options = self.streams.new(2)
        return {**self.options, "source.init.position": "TRIM_HORIZON", "source.shard.discovery.interval": "100 ms"}

    def server_stops(self) -> None:
        self.streams.stop()
        time.sleep(0.5)  # a shard is asked five times a second at most

    def server_starts(self) -> None:
        self.streams.start()


class TestKinesisSource(OnKinesis, StreamContract):
    tells = frozenset({"bytes"})

    def put(self, rows: Sequence[Row]) -> None:
        records = [{"Data": json.dumps({"id": i, "name": name}).encode(), "PartitionKey": str(i)} for i, name in rows]
        for first in range(0, len(records), 500):  # as many as one request may have
            self.streams.client.put_records(StreamARN=self.options["stream.arn"], Records=records[first : first + 500])

    def put_bad(self) -> str:
        self.streams.client.put_record(StreamARN=self.options["stream.arn"], Data=b'{"id": "bad"}', PartitionKey="x")
        return '{"id": "bad"}'


class TestKinesisSink(OnKinesis, DeliveryContract):
    once = False

    def seen(self) -> Sequence[Row]:
        found = [json.loads(r["Data"]) for r in self.streams.records(self.options)]
        return [(r["id"], r["name"]) for r in found]
