"""Connector 'nats' against a real server with JetStream. What must come is reasoned from what NATS documents."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from harness.queues import Job, both_ways, declared, error_of, page_of, until
from harness.servers import NATS

import sqlstream
from sqlstream.connectors.nats.connector import NatsConnector
from sqlstream.connectors.nats.staging import StagingCommitter
from sqlstream.contracts import SinkTask
from sqlstream.testing.connectors import stage, table

nats_library = pytest.importorskip("nats")
TASK = SinkTask("job", "run", 0)


class Streams:
    """What tests do with a server, by nats-py itself."""

    def __init__(self, server: NATS) -> None:
        self.options = {"url": f"nats://{server.address}", "format": "json"}
        self._server = server

    def do(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            connection = await nats_library.connect(f"nats://{self._server.address}", token=self._server.token or None)
            try:
                return await work(connection.jetstream())
            finally:
                await connection.close()

        return asyncio.run(run())

    @property
    def version(self) -> tuple[int, ...]:
        async def known(js: Any) -> str:
            return str(js._nc._server_info["version"])

        return tuple(int(n) for n in self.do(known).split(".")[:2])

    def new(self, values: list[Any] | None = None, **config: Any) -> str:
        """A stream, whose subjects begin with its name."""
        name = f"s{uuid.uuid4().hex[:10]}"
        self.do(lambda js: js.add_stream(name=name, subjects=[f"{name}.>"], **config))
        self.put(name, values or [])
        return name

    def put(self, stream: str, values: list[Any], subject: str = "a", headers: dict[str, str] | None = None) -> None:
        async def put(js: Any) -> None:
            for v in values:
                data = v if isinstance(v, bytes) else v.encode() if isinstance(v, str) else json.dumps(v).encode()
                await js.publish(f"{stream}.{subject}", data, headers=headers)

        self.do(put)

    def all(self, stream: str) -> list[Any]:
        async def read(js: Any) -> list[Any]:
            state = (await js.stream_info(stream)).state
            out = []
            for n in range(max(state.first_seq, 1), state.last_seq + 1):
                out.append(await js.get_msg(stream, n))
            return out

        return list(self.do(read))


@pytest.fixture
def streams(nats: NATS) -> Streams:
    return Streams(nats)


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        c.execute("SET 'table.dml-sync' = 'true'")
        yield c


def test_rows_and_what_is_known_of_their_messages(connection: Any, streams: Streams) -> None:
    name = streams.new([{"id": i} for i in range(300)])
    streams.put(name, ['{"id": 1000,\n "name": "ü"}'], subject="b.c", headers={"h": "x", "Nats-Msg-Id": "m1"})
    streams.put(name, [""])  # no row
    columns = """id BIGINT, name STRING, subject STRING METADATA, n BIGINT METADATA FROM 'sequence' VIRTUAL,
        t TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, headers MAP<STRING, STRING> METADATA, m STRING METADATA FROM 'message-id'"""
    connection.execute(
        declared("t", columns, "nats", streams.options, stream=name, subject=f"{name}.>", scan_bounded_mode="latest")
    )
    assert both_ways(connection, "SELECT COUNT(*), SUM(id), MIN(n), MAX(n) FROM t") == [(301, 44850 + 1000, 1, 301)]
    assert both_ways(
        connection,
        f"SELECT name, subject = '{name}.b.c', n, headers['h'], m, TIMESTAMPDIFF(MINUTE, t, CURRENT_TIMESTAMP) FROM t WHERE id >= 299",
    ) == [("ü", True, 301, "x", "m1", 0), (None, False, 300, None, None, 0)]
    connection.execute(
        declared("u", "id BIGINT", "nats", streams.options, subject=f"{name}.b.*", scan_bounded_mode="latest")
    )
    assert both_ways(connection, "SELECT id FROM u") == [(1000,)]
    connection.execute(
        declared(
            "v", "id BIGINT", "nats", streams.options, subject=f"{name}.b.*;{name}.none", scan_bounded_mode="latest"
        )
    )
    if streams.version >= (2, 10):
        assert both_ways(connection, "SELECT id FROM v") == [(1000,)]
    else:
        assert "servers before 2.10 read one subject" in error_of(connection, "SELECT id FROM v")
    streams.do(lambda js: js.purge_stream(name))
    assert both_ways(connection, "SELECT COUNT(*) FROM t") == [(0,)]


def test_where_reading_begins(connection: Any, streams: Streams) -> None:
    name = streams.new([{"id": i} for i in range(3)])
    time.sleep(0.05)
    now = int(time.time() * 1000)
    time.sleep(0.05)
    streams.put(name, [{"id": 3}, {"id": 4}])
    for n, (expected, more) in enumerate([
        ([0, 1, 2, 3, 4], {}),
        ([2, 3, 4], {"scan_startup_mode": "sequence", "scan_startup_sequence": "3"}),
        ([3, 4], {"scan_startup_mode": "timestamp", "scan_startup_timestamp__millis": str(now)}),
        ([], {"scan_startup_mode": "latest"}),
    ]):  # fmt: skip
        connection.execute(
            declared(f"t{n}", "id BIGINT", "nats", streams.options, stream=name, scan_bounded_mode="latest", **more)
        )
        assert both_ways(connection, f"SELECT id FROM t{n}") == [(i,) for i in expected]


def test_a_message_larger_than_a_request(connection: Any, streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlstream.connectors.nats.reader.MOST_BYTES", 1000)
    name = streams.new([{"id": 1}, {"id": 2, "name": "x" * 5000}, {"id": 3}])
    connection.execute(declared("t", "id BIGINT", "nats", streams.options, stream=name, scan_bounded_mode="latest"))
    assert both_ways(connection, "SELECT id FROM t") == [(1,), (2,), (3,)]


def test_mistakes_are_explained(connection: Any, streams: Streams) -> None:
    name = streams.new(["{}"])

    def said(columns: str = "id BIGINT", write: bool = False, **more: str) -> str:
        t = f"e{time.monotonic_ns()}"
        of = {"stream": name, "scan_bounded_mode": "latest", **more}
        statements = declared(t, columns, "nats", {k: v for k, v in streams.options.items() if k not in more}, **of)
        return error_of(connection, statements, f"INSERT INTO {t} (id) VALUES ('x')" if write else f"SELECT * FROM {t}")

    assert "there is no stream 'nowhere'" in said(stream="nowhere")
    assert "no stream has subject 'nowhere'" in said(stream="", subject="nowhere")
    assert "option 'scan.startup.sequence' is missing" in said(scan_startup_mode="sequence")
    assert "is not of the form nats://host:4222" in said(url="localhost:4222")
    assert "the servers nats://127.0.0.1:1 do not answer" in said(url="nats://127.0.0.1:1")
    assert "'durable' is for a table that is read for ever" in said(durable="d")
    assert "option 'tls.ca-file' is for a connection with TLS" in said(**{"tls.ca__file": "x"})
    assert "does not write METADATA 'sequence'" in said("id STRING, sequence BIGINT METADATA", True, subject="x")
    assert "option 'subject' is missing" in said("id STRING", True)
    assert "no stream takes it" in said("id STRING", True, subject=f"none{name}")
    assert "is no subject that a message can be published to" in said("id STRING", True, subject=f"{name}.>")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlstream.connectors.nats.sink.PATIENCE", 1.0)


@pytest.mark.parametrize("fault", ["before-publish:2", "mid-publish:2"])
def test_each_row_is_there_once_wherever_the_job_dies(streams: Streams, tmp_path: Path, fault: str) -> None:
    source, out = streams.new([{"id": i} for i in range(500)]), streams.new()
    job = Job(
        tmp_path,
        declared("t", "id BIGINT", "nats", streams.options, stream=source, scan_bounded_mode="latest"),
        declared(
            "o", "id BIGINT", "nats", streams.options, subject=f"{out}.x", sink_delivery__guarantee="exactly-once"
        ),
        "INSERT INTO o SELECT id FROM t",
    )
    assert job.run(fault) < 0
    assert job.run() == 0, job.said
    assert [json.loads(m.data)["id"] for m in streams.all(out)] == list(range(500))


def test_publishing_again_after_half_of_it_does_nothing_twice(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = streams.new()
    options = {**streams.options, "subject": f"{out}.x", "sink.delivery-guarantee": "exactly-once"}
    rows = pa.record_batch({"a": pa.array(range(2500), pa.int64())})
    made = NatsConnector().sink(table(NatsConnector(), "a BIGINT", options))
    commit = stage(made, TASK, rows)
    whole = StagingCommitter._parts

    class Died(Exception):
        pass

    async def dies(js: Any, *a: Any, **k: Any) -> bool:
        raise Died

    monkeypatch.setattr("nats.js.manager.JetStreamManager.purge_stream", dies)
    with pytest.raises(Died):
        commit()
    monkeypatch.undo()
    assert StagingCommitter._parts is whole
    commit()
    commit()
    assert [json.loads(m.data)["a"] for m in streams.all(out)] == list(range(2500))


def test_a_work_queue_is_taken_with_checkpoints(streams: Streams, tmp_path: Path) -> None:
    source, out = streams.new([{"id": i} for i in range(500)], retention="workqueue"), streams.new()
    job = Job(
        tmp_path,
        declared("t", "id BIGINT", "nats", streams.options, stream=source, durable="own"),
        declared(
            "o", "id BIGINT", "nats", streams.options, subject=f"{out}.x", sink_delivery__guarantee="exactly-once"
        ),
        "INSERT INTO o SELECT id FROM t",
        execution_checkpointing_interval="100ms",
    )
    assert job.run("before-publish:3") < 0
    left = streams.do(lambda js: js.stream_info(source)).state.messages
    assert 0 < left <= 500
    with job.running():
        until(lambda: not streams.do(lambda js: js.stream_info(source)).state.messages)
    assert [json.loads(m.data)["id"] for m in streams.all(out)] == list(range(500))


def test_a_work_queue_without_checkpoints_is_taken_as_it_is_read(connection: Any, streams: Streams) -> None:
    source = streams.new([{"id": i} for i in range(5)], retention="workqueue")
    connection.execute(declared("t", "id BIGINT", "nats", streams.options, stream=source, durable="own"))
    rows = connection.execute("SELECT id FROM t LIMIT 5").fetchall()
    assert [r[-1] for r in rows] == list(range(5))
    until(lambda: not streams.do(lambda js: js.stream_info(source)).state.messages)


def test_messages_may_have_headers_as_the_server_has(connection: Any, streams: Streams) -> None:
    """Status and Description are what it says of a request; whoever publishes may say so, too."""
    name = streams.new()
    for status in ("100", "404", "409", "busy"):
        streams.put(name, [{"id": 1}], headers={"Status": status, "Description": "consumer deleted"})
    streams.put(name, [{"id": 2}])
    connection.execute(
        declared(
            "t",
            "id BIGINT, headers MAP<STRING, STRING> METADATA",
            "nats",
            streams.options,
            stream=name,
            scan_bounded_mode="latest",
        )
    )
    assert both_ways(connection, "SELECT id, headers['Status'] FROM t") == [
        (1, "100"),
        (1, "404"),
        (1, "409"),
        (1, "busy"),
        (2, None),
    ]


def copying(streams: Streams, source: str, tmp_path: Path) -> Job:
    """Of a stream's rows into files."""
    files = f"WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{tmp_path / 'o'}')"
    return Job(
        tmp_path,
        declared("t", "id BIGINT", "nats", streams.options, stream=source, scan_bounded_mode="latest"),
        f"CREATE TABLE o (id BIGINT) {files}",
        "INSERT INTO o SELECT id FROM t",
    )


def test_a_stream_that_was_made_anew_is_not_gone_on_with(streams: Streams, tmp_path: Path) -> None:
    """It counts from 1: all that came up to the number of the checkpoint would be missed."""
    source = streams.new([{"id": i} for i in range(500)])
    job = copying(streams, source, tmp_path)
    assert job.run("after-publish:2") < 0
    streams.do(lambda js: js.delete_stream(source))
    streams.do(lambda js: js.add_stream(name=source, subjects=[f"{source}.>"]))
    streams.put(source, [{"id": 1}])
    assert job.run() != 0
    assert "it was made anew" in job.said


def test_a_work_queue_is_read_from_its_beginning(connection: Any, streams: Streams) -> None:
    """What is passed over would be acknowledged with what is read, and go."""
    source = streams.new([{"id": 1}], retention="workqueue")
    for n, more in enumerate(
        ({"scan_startup_mode": "latest"}, {"scan_startup_mode": "timestamp", "scan_startup_timestamp__millis": "1"})
    ):
        connection.execute(
            declared(f"t{n}", "id BIGINT", "nats", streams.options, stream=source, durable="own", **more)
        )
        assert "is a work queue, and what is passed over would go" in error_of(
            connection, f"SELECT id FROM t{n} LIMIT 1"
        )


def test_what_was_deleted_is_missed(streams: Streams, tmp_path: Path) -> None:
    source = streams.new([{"id": i} for i in range(500)])
    job = copying(streams, source, tmp_path)
    assert job.run("after-publish:2") < 0
    streams.put(source, [{"id": i} for i in range(500, 600)])  # of which it has read none, however fast it was
    streams.do(lambda js: js.purge_stream(source, seq=550))
    assert job.run() != 0
    assert "is not there: the first one is 550" in job.said


def test_what_was_deleted_of_others_is_not_missed(streams: Streams, tmp_path: Path) -> None:
    """The messages behind the last one that was read were of another subject, and are deleted: none of the table's is missing."""
    source, target = streams.new(), streams.new()
    streams.put(source, [{"id": i} for i in range(5)])
    streams.put(source, [{"id": -1}] * 10, subject="b")
    job = Job(
        tmp_path,
        declared("t", "id BIGINT", "nats", streams.options, stream=source, subject=f"{source}.a"),
        declared("o", "id BIGINT", "nats", streams.options, subject=f"{target}.out"),
        "INSERT INTO o SELECT id FROM t",
        execution_checkpointing_interval="100ms",
    )
    with job.running():
        until(lambda: len(streams.all(target)) == 5)
        time.sleep(0.5)  # a checkpoint has them
    streams.do(lambda js: js.purge_stream(source, seq=16))
    streams.put(source, [{"id": 5}])
    with job.running():
        until(lambda: len(streams.all(target)) == 6)
        time.sleep(1.2)  # what a source has to say is asked for once a second
    assert [json.loads(m.data)["id"] for m in streams.all(target)] == list(range(6))
    assert (
        "messages 6 to 15 were deleted" in job.said and "nobody knows whether any had the table's subject" in job.said
    )


def test_the_page_is_as_shown(nats: NATS, streams: Streams, tmp_path: Path) -> None:
    for name in ("orders", "alerts"):
        streams.do(lambda js, name=name: js.add_stream(name=name, subjects=[f"{name}.*"]))
    streams.put("orders", ['{"id": 1, "amount": 5}', '{"id": 2, "amount": 250}'], subject="eu")
    try:
        out, shown = page_of("nats", tmp_path, {"localhost:4222": nats.address})
    finally:
        for name in ("orders", "alerts"):
            streams.do(lambda js, name=name: js.delete_stream(name))
    assert out == shown
