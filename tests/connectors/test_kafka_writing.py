"""Connector 'kafka' as a sink, against a real broker; what was written is read by confluent-kafka."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from harness.servers import Kafka, wanted
from harness.topics import Topics

import sqlstream


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    return Topics(kafka.bootstrap)


def table(name: str, columns: str, topics: Topics, topic: str, **more: str) -> str:
    options = {
        "connector": "kafka", "topic": topic, "properties.bootstrap.servers": topics.bootstrap, "format": "json",
        **{k.replace("__", "-").replace("_", "."): v for k, v in more.items()},
    }  # fmt: skip
    said = ", ".join(f"'{k}' = '{v}'" for k, v in options.items() if v)
    return f"CREATE TABLE {name} ({columns}) WITH ({said})"


def write(sql: str, *tables: str, mode: str = "streaming") -> None:
    with sqlstream.connect() as c:
        for t in [*tables, "SET 'table.dml-sync' = 'true'", f"SET 'execution.runtime-mode' = '{mode}'"]:
            c.execute(t)
        c.execute(sql)


@pytest.mark.parametrize("mode", ["batch", "streaming"])
@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_rows_become_messages(topics: Topics, mode: str, guarantee: str) -> None:
    topic = topics.new(2)
    more = {"sink_delivery__guarantee": guarantee, "key_format": "raw", "key_fields": "k"}
    more |= {"sink_transactional__id__prefix": f"p{topic}"} if guarantee == "exactly-once" else {}
    t = table("t", "k STRING, n BIGINT", topics, topic, **more)
    write("INSERT INTO t VALUES ('a', 1), ('b', 2), (CAST(NULL AS STRING), 3), ('a', 4)", t, mode=mode)
    got = topics.all(topic)
    assert sorted((k or b"", json.loads(v or b"")["n"]) for _, k, v in got) == [
        (b"", 3),
        (b"a", 1),
        (b"a", 4),
        (b"b", 2),
    ]
    assert len({p for p, k, _ in got if k == b"a"}) == 1, "a key has one partition"


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_a_topic_that_is_not_there_is_told_before_the_job_runs(topics: Topics, guarantee: str) -> None:
    """Brokers refuse the messages themselves half a minute later, when a job was said to run; one without rows would never tell."""
    topic = f"{topics.new()}-not"
    more = {"sink_delivery__guarantee": guarantee, "sink_transactional__id__prefix": topic}
    t = table("t", "n BIGINT", topics, topic, **more)
    begun = time.monotonic()
    with pytest.raises(sqlstream.Error, match=f"table t: topic '{topic}' cannot be written: .*Unknown topic") as e:
        write("INSERT INTO t SELECT * FROM (VALUES (1)) AS v(n) WHERE n > 1", t)
    assert "kafka-topics.sh --create" in str(e.value) and time.monotonic() - begun < 20


def test_a_topic_that_brokers_make_is_there_before_the_first_row() -> None:
    settings = {"auto.create.topics.enable": "true"}
    with Kafka(**settings) as server:
        made = Topics(server.bootstrap)
        write("INSERT INTO t VALUES (1), (2)", table("t", "n BIGINT", made, "anew"))
        assert [v for _, _, v in made.all("anew")] == [b'{"n":1}', b'{"n":2}']


def test_keys_are_where_javas_clients_put_them(topics: Topics) -> None:
    """murmur2 of the key, as `org.apache.kafka.clients.producer.internals.BuiltInPartitioner` has it."""
    topic = topics.new(3)
    keys = ["foobar", "a-little-bit-long-string", "a", "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"]
    hashes = [-790332482, -985981536, 1009084850, -58897971]  # of Kafka's own UtilsTest.testMurmur2 (0.10 and later)
    hashes[2] = _murmur2(b"a")
    t = table("t", "k STRING, n BIGINT", topics, topic, key_format="raw", key_fields="k")
    rows = ", ".join(f"('{k}', 1)" for k in keys)
    write(f"INSERT INTO t VALUES {rows}", t)
    expected = {k.encode(): (h & 0x7FFFFFFF) % 3 for k, h in zip(keys, hashes, strict=True)}
    assert {k: p for p, k, _ in topics.all(topic)} == expected


def _murmur2(data: bytes) -> int:
    m, h = 0x5BD1E995, 0x9747B28C ^ len(data)
    for i in range(0, len(data) // 4 * 4, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & 0xFFFFFFFF
        h = (h * m & 0xFFFFFFFF) ^ ((k ^ k >> 24) * m & 0xFFFFFFFF)
    rest = data[len(data) // 4 * 4 :]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & 0xFFFFFFFF
    h = (h ^ h >> 13) * m & 0xFFFFFFFF
    return h ^ h >> 15


def test_partitions_take_turns_or_are_fixed(topics: Topics) -> None:
    for partitioner, expected in (("round-robin", [3, 3, 2]), ("fixed", [8])):
        topic = topics.new(3)
        t = table("t", "n BIGINT", topics, topic, sink_partitioner=partitioner)
        write(f"INSERT INTO t VALUES {', '.join(f'({i})' for i in range(8))}", t)
        counts = [sum(1 for p, _, _ in topics.all(topic) if p == q) for q in range(3)]
        assert [n for n in counts if n] == expected


def test_rows_of_a_key_become_upserts(topics: Topics) -> None:
    topic = topics.new(1)
    t = table("t", "k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED", topics, topic, connector="upsert-kafka", format="",
              key_format="raw", value_format="json", value_fields__include="EXCEPT_KEY")  # fmt: skip
    source = table("s", "k STRING, n BIGINT", topics, topics.new(1), format="debezium-json", scan_startup_mode="earliest-offset",
                   scan_bounded_mode="latest-offset")  # fmt: skip
    change = ['{"before": null, "after": {"k": "a", "n": 1}, "op": "c"}', '{"before": null, "after": {"k": "b", "n": 2}, "op": "c"}',
              '{"before": {"k": "a", "n": 1}, "after": null, "op": "d"}']  # fmt: skip
    name = source.split("'topic' = '")[1].split("'")[0]
    topics.put(name, change)
    write("INSERT INTO t SELECT k, SUM(n) FROM s GROUP BY k", t, source)
    last = {k: v for _, k, v in topics.all(topic)}
    assert {k: v and json.loads(v) for k, v in last.items()} in ({b"a": None, b"b": {"n": 2}}, {b"b": {"n": 2}})


def test_a_message_that_is_too_long_is_an_error(topics: Topics) -> None:
    t = table("t", "x STRING", topics, topics.new(1), format="raw", properties_message_max_bytes="2000")
    with pytest.raises(Exception, match=r"MSG_SIZE_TOO_LARGE.*5,000 bytes"):
        write("INSERT INTO t VALUES (REPEAT('x', 5000))", t)


def test_a_sink_waits_for_a_broker_that_comes_back(tmp_path: Path) -> None:
    wanted(Kafka)
    with Kafka() as server:
        topics = Topics(server.bootstrap)
        topic = topics.new(1)
        t = table("t", "n BIGINT", topics, topic)
        g = "CREATE TABLE g (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100', 'fields.n.kind' = 'sequence', "
        g += "'fields.n.start' = '1', 'fields.n.end' = '300')"
        script = tmp_path / "job.sql"
        mode = "SET 'execution.runtime-mode' = 'streaming'; SET 'execution.checkpointing.interval' = '200ms'"
        script.write_text(f"{g}; {t}; {mode}; INSERT INTO t SELECT n FROM g;")
        job = subprocess.Popen(
            [sys.executable, "-m", "sqlstream", "run", str(script)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        _until(lambda: job.poll() is not None or len(topics.values(topic)) > 20)
        server.kill()
        time.sleep(0.5)
        server.start()
        _, said = job.communicate(timeout=60)
        assert job.returncode == 0, said
        assert sorted({json.loads(v or b"")["n"] for v in topics.values(topic)}) == list(range(1, 301))


def _until(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


KILLS = int(os.environ.get("SQLSTREAM_KILLS", "6"))


def second(n: int) -> str:
    """Of 2026."""
    return f"2026-01-01 00:{n // 60:02}:{n % 60:02}"


def test_each_row_is_seen_once_however_often_the_job_is_killed(kafka: Kafka, tmp_path: Path) -> None:
    """Read, then copied, counted by windows and joined, and written: SIGKILL at random moments. Readers of committed messages
    see each row once."""
    topics, rng = Topics(kafka.bootstrap), random.Random(7)
    source, names, copies, counts, joined = (topics.new(2) for _ in range(5))
    rows, keys = 40_000 + 10_000 * (KILLS // 40), 100
    read = {"scan_startup_mode": "earliest-offset", "scan_bounded_mode": "latest-offset"}
    once = {"sink_delivery__guarantee": "exactly-once"}
    columns = "n BIGINT, k BIGINT, ts TIMESTAMP(3)"
    script = tmp_path / "job.sql"
    script.write_text("; ".join([
        "SET 'pipeline.name' = 'copy'", "SET 'execution.checkpointing.interval' = '50ms'", "SET 'execution.runtime-mode' = 'streaming'",
        "SET 'parallelism.default' = '2'", "SET 'execution.epoch.max-rows' = '1000'",
        table("s", f"{columns}, WATERMARK FOR ts AS ts", topics, source, **read),
        table("d", "k BIGINT, name STRING", topics, names, **read),
        table("o", columns, topics, copies, **once, sink_transactional__id__prefix=copies),
        table("w", "k BIGINT, till TIMESTAMP(3), n BIGINT, total BIGINT", topics, counts, **once, sink_transactional__id__prefix=counts),
        table("j", "n BIGINT, name STRING", topics, joined, **once, sink_transactional__id__prefix=joined),
        "EXECUTE STATEMENT SET BEGIN INSERT INTO o SELECT n, k, ts FROM s",
        "INSERT INTO w SELECT k, window_end, COUNT(*), SUM(n) FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '10' SECOND)) "
        "GROUP BY k, window_start, window_end",
        "INSERT INTO j SELECT s.n, d.name FROM s JOIN d ON s.k = d.k WHERE MOD(s.n, 7) = 0", "END",
    ]) + ";")  # fmt: skip
    for p in (0, 1):
        made = (
            json.dumps({"n": i, "k": i % keys, "ts": second(i // 1000) + f".{i % 1000:03}"})  # a row a millisecond
            for i in range(p, rows, 2)
        )
        topics.put(source, made, partition=p)
    topics.put(names, (json.dumps({"k": k, "name": f"of {k}"}) for k in range(0, keys, 3)))
    kills, done = 0, False
    while not done:
        job = subprocess.Popen(
            [sys.executable, "-m", "sqlstream", "run", str(script)], cwd=tmp_path, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            _, said = job.communicate(timeout=rng.uniform(1.0, 2.4) if kills < KILLS else 120)
            assert job.returncode == 0, said
            done = True
        except subprocess.TimeoutExpired:
            job.send_signal(signal.SIGKILL)
            job.communicate()
            kills += 1
    got = {t: [json.loads(v or b"") for v in topics.values(t)] for t in (copies, counts, joined)}
    after = f"after {kills} kills"
    print(after)
    assert sorted(r["n"] for r in got[copies]) == list(range(rows)), after
    windows = [
        (k, second(till), len(of), sum(of))
        for till in range(10, rows // 1000 + 1, 10)
        for k in range(keys)
        for of in [range((till - 10) * 1000 + k, till * 1000, keys)]
    ]
    seen = sorted((r["k"], r["till"].removesuffix(".000"), r["n"], r["total"]) for r in got[counts])
    assert seen == sorted(windows), after
    pairs = sorted((n, f"of {n % keys}") for n in range(0, rows, 7) if n % keys % 3 == 0)
    assert sorted((r["n"], r["name"]) for r in got[joined]) == pairs, after
    assert kills >= min(KILLS, 3), "it was over before it could be killed"


def test_the_page_is_as_shown(topics: Topics, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "connectors" / "kafka.md").read_text()
    script, secured = re.findall(r"```sql\n(.*?)```", page, re.S)
    (shown,) = re.findall(r"```\n(\+--.*?)```", page, re.S)
    orders, totals = topics.new(2), topics.new(2, cleanup_policy="compact")
    topics.put(orders, re.findall(r"`(\{.*?\})`", page))
    for name, given in (("orders", orders), ("totals", totals)):
        script = script.replace(f"'topic' = '{name}'", f"'topic' = '{given}'")
    path = tmp_path / "page.sql"
    path.write_text(script.replace("localhost:9092", topics.bootstrap) + secured)
    done = subprocess.run(
        [sys.executable, "-m", "sqlstream", "run", str(path)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == shown.strip()


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_times_and_headers_are_written(topics: Topics, guarantee: str) -> None:
    """METADATA columns that are not VIRTUAL; NULL is the time of writing, and no headers."""
    topic = topics.new(1)
    columns = """k STRING, n BIGINT, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', headers MAP<STRING, BYTES> METADATA,
        o BIGINT METADATA FROM 'offset' VIRTUAL"""
    more = {"sink_delivery__guarantee": guarantee, "key_format": "raw", "key_fields": "k"}
    more |= {"sink_transactional__id__prefix": f"p{topic}"} if guarantee == "exactly-once" else {}
    begun = time.time_ns() // 1_000_000
    write(
        """INSERT INTO t VALUES ('a', 1, TO_TIMESTAMP_LTZ(1700000000123, 3), MAP['x', X'01ff', 'y', CAST(NULL AS BYTES)]),
        (CAST(NULL AS STRING), 2, CAST(NULL AS TIMESTAMP_LTZ(3)), CAST(NULL AS MAP<STRING, BYTES>)),
        ('b', 3, TO_TIMESTAMP_LTZ(5, 3), MAP['ü', X''])""",
        table("t", columns, topics, topic, **more),
    )
    found = topics.messages(topic)
    assert [m.key() for m in found] == [b"a", None, b"b"] and [json.loads(m.value())["n"] for m in found] == [1, 2, 3]
    assert all(json.loads(m.value()).keys() == {"k", "n"} for m in found)
    assert [m.headers() for m in found] == [[("x", b"\x01\xff"), ("y", None)], None, [("ü", b"")]]
    times = [m.timestamp()[1] for m in found]
    assert times[0] == 1_700_000_000_123 and times[2] == 5 and begun <= times[1] <= time.time_ns() // 1_000_000


def test_many_messages_with_headers(topics: Topics) -> None:
    """More than librdkafka's queue takes at once."""
    topic = topics.new(2)
    t = table("t", "n BIGINT, h MAP<STRING, BYTES> METADATA FROM 'headers'", topics, topic, properties_queue_buffering_max_messages="1000",
              sink_partitioner="round-robin")  # fmt: skip
    g = "CREATE TABLE g (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '20000', 'fields.n.kind' = 'sequence', "
    g += "'fields.n.start' = '1', 'fields.n.end' = '20000')"
    write("INSERT INTO t SELECT n, MAP['n', ENCODE(CAST(n AS STRING), 'UTF-8')] FROM g", t, g)
    found = topics.messages(topic)
    assert sorted(json.loads(m.value())["n"] for m in found) == list(range(1, 20_001))
    assert all(m.headers() == [("n", str(json.loads(m.value())["n"]).encode())] for m in found)


def test_metadata_of_other_types(topics: Topics) -> None:
    """A time without a zone is one of the session's; keys that are only read are VIRTUAL."""
    topic = topics.new(1)
    with sqlstream.connect() as c:
        for statement in (
            "SET 'table.local-time-zone' = 'Asia/Tokyo'", "SET 'table.dml-sync' = 'true'",
            table("t", "n BIGINT, ts TIMESTAMP(3) METADATA FROM 'timestamp'", topics, topic),
            "INSERT INTO t VALUES (1, TIMESTAMP '1970-01-01 09:00:00.007')",
        ):  # fmt: skip
            c.execute(statement)
    assert [m.timestamp()[1] for m in topics.messages(topic)] == [7]
    for column, error in (
        ("x BIGINT METADATA FROM 'offset'", "column 'x': connector 'kafka' does not write METADATA 'offset'"),
        ("x STRING METADATA FROM 'timestamp'", "METADATA column 'x' is no time"),
        ("x STRING METADATA FROM 'headers'", "METADATA column 'x' has no headers"),
    ):
        with pytest.raises(Exception, match=error):
            write("INSERT INTO t (n) VALUES (1)", table("t", f"n BIGINT, {column}", topics, topics.new(1)))
