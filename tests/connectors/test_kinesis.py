"""Connector 'kinesis' against moto's server. What must come is reasoned from what AWS documents of its operations."""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pytest
from harness.queues import Job, both_ways, declared, error_of, fetching, page_of, until
from moto.server import ThreadedMotoServer

import sqlstream
from sqlstream.connectors.kinesis import client as kinesis_client
from sqlstream.connectors.kinesis.connector import KinesisConnector
from sqlstream.connectors.kinesis.shards import Shard, ready
from sqlstream.connectors.messages.clients import Unreachable
from sqlstream.contracts import SinkTask, TableContext
from sqlstream.errors import DataError
from sqlstream.testing.connectors import SourceContract, table

COLUMNS = "id BIGINT, k STRING"
numbers = itertools.count()


class Streams:
    """A server, and what tests do with it by boto3 itself."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self._port = 0
        self.start()
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self.client = boto3.client(
            "kinesis", endpoint_url=self.endpoint, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
        )  # fmt: skip

    def start(self) -> None:
        """Again at the same address, with what it had."""
        self._server = ThreadedMotoServer("127.0.0.1", self._port, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()

    def stop(self) -> None:
        self._server.stop()

    def close(self) -> None:
        self.client.close()
        self.stop()

    def new(self, shards: int = 1, name: str = "") -> dict[str, str]:
        """The options of a new stream."""
        name = name or f"s{next(numbers)}"
        self.client.create_stream(StreamName=name, ShardCount=shards)
        arn = self.client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
        return {
            "stream.arn": arn, "format": "json", "aws.endpoint": self.endpoint, "aws.credentials.basic.accesskeyid": "k",
            "aws.credentials.basic.secretkey": "hidden",
        }  # fmt: skip

    def put(self, options: dict[str, str], rows: list[tuple[int, str]]) -> None:
        for i, k in rows:
            self.client.put_record(
                StreamARN=options["stream.arn"], Data=f'{{"id": {i}, "k": "{k}"}}'.encode(), PartitionKey=k
            )

    def shards(self, options: dict[str, str]) -> list[str]:
        return [s["ShardId"] for s in self.client.list_shards(StreamARN=options["stream.arn"])["Shards"]]

    def records(self, options: dict[str, str]) -> list[dict[str, Any]]:
        found = []
        for shard in self.shards(options):
            it = self.client.get_shard_iterator(
                StreamARN=options["stream.arn"], ShardId=shard, ShardIteratorType="TRIM_HORIZON"
            )
            got = self.client.get_records(StreamARN=options["stream.arn"], ShardIterator=it["ShardIterator"])["Records"]
            found += [{"shard": shard, **r} for r in got]
        return found

    def split(self, options: dict[str, str], shard: str) -> None:
        (said,) = (
            s for s in self.client.list_shards(StreamARN=options["stream.arn"])["Shards"] if s["ShardId"] == shard
        )
        low, high = (int(said["HashKeyRange"][k]) for k in ("StartingHashKey", "EndingHashKey"))
        self.client.split_shard(
            StreamARN=options["stream.arn"], ShardToSplit=shard, NewStartingHashKey=str((low + high) // 2)
        )


@pytest.fixture(scope="module")
def streams() -> Iterator[Streams]:
    made = Streams()
    yield made
    made.close()


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        c.execute("SET 'execution.runtime-mode' = 'streaming'")
        yield c


BOUNDED = {"source.init.position": "TRIM_HORIZON", "scan.bounded.mode": "latest"}
ROWS = [(i, f"k{i % 3}") for i in range(20)]


def test_all_shards_are_read_with_what_is_known_of_records(connection: Any, streams: Streams) -> None:
    options = streams.new(2)
    streams.put(options, ROWS)
    columns = (
        f"{COLUMNS}, `timestamp` TIMESTAMP_LTZ(3) NOT NULL METADATA VIRTUAL, `sequence-number` STRING NOT NULL METADATA VIRTUAL, "
        "`shard-id` STRING NOT NULL METADATA VIRTUAL, pk STRING METADATA FROM 'partition-key' VIRTUAL"
    )
    connection.execute(declared("t", columns, "kinesis", {**options, **BOUNDED}))
    assert sorted(both_ways(connection, "SELECT id, k FROM t")) == ROWS
    found = both_ways(connection, "SELECT id, `sequence-number`, `shard-id`, pk, `timestamp` FROM t")
    there = {(r["shard"], r["SequenceNumber"]): r for r in streams.records(options)}
    assert {(f[2], f[1]) for f in found} == there.keys()
    for i, sequence, shard, key, at in found:
        record = there[(shard, sequence)]
        assert key == f"k{i % 3}" == record["PartitionKey"]
        assert abs((at - record["ApproximateArrivalTimestamp"]).total_seconds()) < 0.001


class TestContract(SourceContract):
    connector, columns = KinesisConnector, COLUMNS

    @pytest.fixture(autouse=True)
    def _stream(self, streams: Streams) -> None:
        options = streams.new(2)
        streams.put(options, ROWS)
        self.options = {**options, **BOUNDED}

    def made(self) -> TableContext:
        return table(self.connector(), self.columns, self.options)


def test_a_closed_shard_is_read_before_its_children(connection: Any, streams: Streams) -> None:
    options = streams.new()
    streams.put(options, [(i, f"k{i}") for i in range(5)])
    connection.execute("SET 'parallelism.default' = '2'")
    connection.execute(
        declared(
            "t",
            COLUMNS,
            "kinesis",
            {**options, "source.init.position": "TRIM_HORIZON", "source.shard.discovery.interval": "20 ms"},
        )
    )
    cursor = connection.execute("SELECT id, k FROM t")
    found = [cursor.fetchone()[-2] for _ in range(3)]
    streams.put(options, [(5, "k5")])
    streams.split(options, streams.shards(options)[0])
    streams.put(options, [(i, f"k{i}") for i in range(6, 30)])
    found += [cursor.fetchone()[-2] for _ in range(27)]
    cursor.close()
    assert found[:6] == list(range(6)) and sorted(found) == list(range(30))
    parent = streams.shards(options)[0]
    assert {r["PartitionKey"] for r in streams.records(options)} == {f"k{i}" for i in range(30)}
    assert len(streams.shards(options)) == 3 and parent < streams.shards(options)[1]


def test_whose_turn_it_is() -> None:
    """Parents are read to their ends, or gone; what was closed before reading began is not read."""
    there = {
        s.id: s
        for s in (
            Shard("a", (), False), Shard("b", ("gone",), False), Shard("c", ("a",), False), Shard("d", ("c", "b"), True), Shard("e", ("a",), True),
        )
    }  # fmt: skip

    def turn(known: str, done: str = "", ignored: str = "") -> str:
        return "".join(s.id for s in ready(there, set(known), set(done), set(ignored)))

    assert turn("") == "ab"
    assert turn("ab") == ""
    assert turn("ab", done="a") == "ce"
    assert turn("abce", done="ac") == "" and turn("abce", done="abc") == "d"
    assert turn("", ignored="abc") == "de"


@pytest.mark.parametrize("position", ["LATEST", "AT_TIMESTAMP"])
def test_reading_begins_where_it_is_said(connection: Any, streams: Streams, position: str) -> None:
    options = {**streams.new(), "source.init.position": position}
    streams.put(options, [(1, "a")])
    time.sleep(0.05)
    if position == "AT_TIMESTAMP":
        options["source.init.timestamp"] = str(time.time())
    connection.execute(declared("t", COLUMNS, "kinesis", options))
    found = fetching(connection, "SELECT id FROM t LIMIT 1")
    while not found.done():  # LATEST is when the job has begun
        streams.put(options, [(2, "a")])
        time.sleep(0.1)
    assert [r[-1] for r in found.result()] == [2]


def test_a_job_that_died_goes_on(tmp_path: Path, streams: Streams) -> None:
    """It is killed behind a checkpoint: each record is a row once in what is published."""
    options = streams.new(2)
    streams.put(options, [(i, f"k{i}") for i in range(300)])
    source = declared("t", COLUMNS, "kinesis", {**options, **BOUNDED}).replace("TEMPORARY ", "")
    sink = f"CREATE TABLE o ({COLUMNS}) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv')"
    job = Job(
        tmp_path, source, sink, "INSERT INTO o SELECT id, k FROM t", execution_checkpointing_dir=str(tmp_path / "cp"),
        execution_checkpointing_interval="1 ms",
    )  # fmt: skip
    assert job.run("before-publish:2") != 0, job.said
    assert job.run() == 0, job.said
    lines = [line for p in (tmp_path / "out").glob("part-*") for line in p.read_text().splitlines()]
    assert Counter(lines) == Counter(f"{i},k{i}" for i in range(300))


def test_rows_are_written_and_read_again(connection: Any, streams: Streams) -> None:
    options = streams.new(2)
    connection.execute(
        declared("o", f"{COLUMNS}, r ROW<x INT>", "kinesis", {**options, **BOUNDED, "sink.batch.max-size": "7"})
    )
    values = ", ".join(f"({i}, 'k{i}', ROW({i}))" for i in range(20))
    connection.execute(f"INSERT INTO o VALUES {values}")
    assert sorted(both_ways(connection, "SELECT id, k, o.r.x FROM o")) == [(i, f"k{i}", i) for i in range(20)]
    assert len({r["PartitionKey"] for r in streams.records(options)}) == 20


def test_partitioned_by_says_the_keys(connection: Any, streams: Streams) -> None:
    options = streams.new()
    sql = declared("o", COLUMNS, "kinesis", {**options, "sink.partitioner-field-delimiter": "/"}).replace(
        ") WITH", ") PARTITIONED BY (k, id) WITH"
    )
    connection.execute(sql)
    connection.execute("INSERT INTO o VALUES (1, 'a'), (2, 'b'), (3, CAST(NULL AS STRING))")
    assert sorted(r["PartitionKey"] for r in streams.records(options)) == ["/3", "a/1", "b/2"]


def sink_writer(options: dict[str, str], **more: str) -> Any:
    made = table(
        KinesisConnector(), COLUMNS, {**options, **{k.replace("__", "-").replace("_", "."): v for k, v in more.items()}}
    )
    return KinesisConnector().sink(made).writer(SinkTask("job", "run", 3))


def rows(n: int) -> pa.RecordBatch:
    return pa.record_batch({"id": pa.array(range(n), pa.int64()), "k": [f"k{i}" for i in range(n)]})


def test_records_that_a_shard_did_not_take_are_sent_again(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    """PutRecords answers for each record; those that were refused, and no others, are in the next request."""
    options = streams.new()
    writer = sink_writer(options, sink_partitioner="fixed")
    sent: list[int] = []
    do = kinesis_client.Client.do

    def refusing(self: Any, operation: str, **arguments: Any) -> Any:
        if operation != "put_records":
            return do(self, operation, **arguments)
        records = arguments["Records"]
        sent.append(len(records))
        if len(sent) == 1:
            raise Unreachable("busy")
        taken = records[::2] if len(records) > 1 else records
        do(self, operation, Records=taken)
        refused = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"}
        answers = [{} if any(r is t for t in taken) else refused for r in records]
        return {"FailedRecordCount": len(records) - len(taken), "Records": answers}

    monkeypatch.setattr(kinesis_client.Client, "do", refusing)
    writer.write(rows(8), None)
    writer.flush()
    writer.close()
    assert sent == [8, 8, 4, 2, 1]
    found = streams.records(options)
    assert Counter(r["Data"] for r in found) == Counter(f'{{"id":{i},"k":"k{i}"}}'.encode() for i in range(8))
    assert {r["PartitionKey"] for r in found} == {"job-3"}
    writer = sink_writer(options, sink_max__retries="0")
    writer.write(rows(2), np.zeros(2, np.int8))
    with pytest.raises(Unreachable, match="takes 1 records not: ProvisionedThroughputExceededException: Rate exceeded"):
        writer.flush()


def test_what_kinesis_would_not_take_is_told(streams: Streams) -> None:
    writer = sink_writer(streams.new())
    writer.write(pa.record_batch({"id": pa.array([1], pa.int64()), "k": ["x" * 2**20]}), None)
    with pytest.raises(DataError, match=r"a record has 1,0\d\d,\d\d\d bytes with its key, and 1,048,576 is the most"):
        writer.flush()


def test_what_is_wrong_is_told(connection: Any, streams: Streams) -> None:
    options = streams.new()
    away = {**options, "stream.arn": options["stream.arn"] + "x"}
    connection.execute(declared("away", COLUMNS, "kinesis", {**away, **BOUNDED}))
    said = error_of(connection, "SELECT * FROM away")
    assert "table away: stream" in said and "not found" in said and "'stream.arn' names it" in said
    assert "not found" in error_of(connection, "INSERT INTO away VALUES (1, 'a')")
    connection.execute(
        declared("silent", COLUMNS, "kinesis", {**options, **BOUNDED, "aws.endpoint": "http://127.0.0.1:9"})
    )
    said = error_of(connection, "SELECT * FROM silent")
    assert "does not answer" in said and "'aws.endpoint'" in said and "hidden" not in said
    for wrong, message in (
        ({"stream.arn": "orders"}, "'orders' is no ARN of a stream"),
        ({"scan.bounded.mode": "latest"}, "ends where 'source.init.position' = 'LATEST' begins"),
        ({"source.init.position": "AT_TIMESTAMP"}, "option 'source.init.timestamp' is missing"),
        ({"source.init.timestamp": "1"}, "is for 'source.init.position' = 'AT_TIMESTAMP'"),
        ({"source.init.position": "AT_TIMESTAMP", "source.init.timestamp": "soon"}, "'soon' is no time"),
        ({"aws.credentials.provider": "PROFILE"}, "'aws.credentials.*' are not complete"),
        ({"stream.name": "x"}, "unknown option 'stream.name'"),
    ):
        connection.execute("DROP TEMPORARY TABLE IF EXISTS w")
        assert message in error_of(
            connection, declared("w", COLUMNS, "kinesis", {**options, **wrong}), "SELECT * FROM w"
        )
    connection.execute("DROP TEMPORARY TABLE IF EXISTS w")
    connection.execute(declared("w", COLUMNS, "kinesis", {**options, "sink.partitioner-field-delimiter": "/"}))
    assert "the table has no PARTITIONED BY" in error_of(connection, "INSERT INTO w VALUES (1, 'a')")


def test_malformed_and_aggregated_records(connection: Any, streams: Streams) -> None:
    options = streams.new()
    streams.put(options, [(1, "a")])
    streams.client.put_record(StreamARN=options["stream.arn"], Data=b"no json", PartitionKey="x")
    streams.put(options, [(2, "b")])
    connection.execute(declared("t", COLUMNS, "kinesis", {**options, **BOUNDED}))
    assert "malformed record" in error_of(connection, "SELECT id FROM t")
    connection.execute(declared("s", COLUMNS, "kinesis", {**options, **BOUNDED, "source.bad-records": "skip"}))
    assert both_ways(connection, "SELECT id FROM s") == [(1,), (2,)]
    streams.client.put_record(StreamARN=options["stream.arn"], Data=b"\xf3\x89\x9a\xc2...", PartitionKey="x")
    assert "aggregated by the Kinesis Producer Library" in error_of(connection, "SELECT id FROM s")


def test_a_stream_that_does_not_answer_is_waited_for(
    connection: Any, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = streams.new()
    do, failing = kinesis_client.Client.do, [3]

    def away(self: Any, operation: str, **arguments: Any) -> Any:
        if operation == "get_records" and failing[0]:
            failing[0] -= 1
            if failing[0] == 1:
                raise kinesis_client.Expired
            raise Unreachable("away")
        return do(self, operation, **arguments)

    monkeypatch.setattr(kinesis_client.Client, "do", away)
    streams.put(options, ROWS)
    connection.execute(declared("t", COLUMNS, "kinesis", {**options, **BOUNDED}))
    assert sorted(r[-1] for r in connection.execute("SELECT id FROM t").fetchall()) == list(range(20))
    until(lambda: failing[0] == 0)


def test_the_page_is_as_shown(streams: Streams, tmp_path: Path) -> None:
    orders = streams.new(2, "orders")
    streams.new(1, "large")
    arn = orders["stream.arn"].removesuffix("orders")
    for i, amount in ((1, 5), (2, 250)):
        data = f'{{"id": {i}, "amount": {amount}}}'.encode()
        streams.client.put_record(StreamARN=orders["stream.arn"], Data=data, PartitionKey=str(i))
    replaced = {"arn:aws:kinesis:eu-central-1:123456789012:stream/": arn, "'aws.region' = 'eu-central-1'": f"""
      'aws.endpoint' = '{streams.endpoint}', 'aws.credentials.basic.accesskeyid' = 'k', 'aws.credentials.basic.secretkey' = 's'
    """}  # fmt: skip
    out, shown = page_of("kinesis", tmp_path, replaced)
    assert out == shown
