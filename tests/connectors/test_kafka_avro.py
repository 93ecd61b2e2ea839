"""Avro on topics, with a registry of schemas and without, against a real broker. What is written is read by fastavro, and the other way
round. The registry is one of the tests; the same on a real one (Apicurio, which speaks its protocol) is slow."""

from __future__ import annotations

import datetime as dt
import io
import json
import struct
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest
from harness.kafka_tables import both_ways, declare
from harness.schema_registry import SchemaRegistry
from harness.servers import Apicurio, Kafka, wanted
from harness.topics import Topics

import sqlstream
from sqlstream.formats.confluent import client


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    return Topics(kafka.bootstrap)


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as found:
        yield found


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        c.execute("SET 'table.dml-sync' = 'true'")
        yield c


def framed(number: int, schema: Any, *rows: Any) -> list[bytes]:
    out = []
    for r in rows:
        one = io.BytesIO()
        fastavro.schemaless_writer(one, fastavro.parse_schema(json.loads(json.dumps(schema))), r)
        out.append(b"\0" + struct.pack(">I", number) + one.getvalue())
    return out


def record(*fields: tuple[str, Any], name: str = "r") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}


def test_avro_without_a_registry(connection: Any, topics: Topics) -> None:
    """By Flink's schema of the table, which both sides have to know."""
    topic = topics.new()
    columns = "id BIGINT NOT NULL, name STRING, at_ TIMESTAMP(3), amount DECIMAL(10, 2), tags ARRAY<STRING>, r ROW<x INT, m MAP<STRING, DOUBLE>>"
    declare(connection, topics, topic, columns, format="avro")
    connection.execute(
        """INSERT INTO t VALUES (1, 'a', TIMESTAMP '2024-01-02 03:04:05.678', 1.25, ARRAY['x', 'y'], ROW(7, MAP['k', 0.5e0])),
        (2, CAST(NULL AS STRING), CAST(NULL AS TIMESTAMP(3)), CAST(NULL AS DECIMAL(10, 2)), CAST(NULL AS ARRAY<STRING>),
         CAST(NULL AS ROW<x INT, m MAP<STRING, DOUBLE>>))"""
    )
    optional: Any = lambda t: ["null", t]  # noqa: E731
    inner = record(
        ("x", optional("int")), ("m", optional({"type": "map", "values": optional("double")})), name="record_r"
    )
    schema = record(
        ("id", "long"), ("name", optional("string")), ("at_", optional({"type": "long", "logicalType": "timestamp-millis"})),
        ("amount", optional({"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2})),
        ("tags", optional({"type": "array", "items": optional("string")})), ("r", optional(inner)), name="record",
    )  # fmt: skip
    found = [
        fastavro.schemaless_reader(io.BytesIO(v or b""), fastavro.parse_schema(schema), None)
        for v in topics.values(topic)
    ]
    at = dt.datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=dt.UTC)
    first = {
        "id": 1,
        "name": "a",
        "at_": at,
        "amount": Decimal("1.25"),
        "tags": ["x", "y"],
        "r": {"x": 7, "m": {"k": 0.5}},
    }
    assert sorted(found, key=lambda r: r["id"]) == [
        first, {"id": 2, "name": None, "at_": None, "amount": None, "tags": None, "r": None},
    ]  # fmt: skip
    shown = "id, name, CAST(at_ AS STRING), amount, tags[2], r.x, r.m['k']"
    assert both_ways(connection, f"SELECT {shown} FROM t") == [
        (1, "a", "2024-01-02 03:04:05.678", Decimal("1.25"), "y", 7, 0.5), (2, None, None, None, None, None, None),
    ]  # fmt: skip
    assert both_ways(connection, "SELECT COUNT(*) FROM t") == [(2,)]


def test_messages_of_several_schemas(connection: Any, topics: Topics, registry: SchemaRegistry) -> None:
    """As a producer's schema grows: each message is read by the one that it names."""
    topic = topics.new()
    old = record(("id", "int"), ("gone", "string"), ("name", "string"))
    new = record(("name", ["null", "string"]), ("id", "long"), ("price", "double"))
    a, b = registry.add(old), registry.add(new, first=70_000)
    messages = [
        *framed(a, old, {"id": 1, "gone": "x", "name": "one"}), *framed(b, new, {"name": None, "id": 2**40, "price": 1.5}),
        *framed(a, old, {"id": 3, "gone": "", "name": "three"}), None, *framed(b, new, {"name": "four", "id": 4, "price": 2.5}),
    ]  # fmt: skip
    topics.put(topic, messages)
    columns = "id BIGINT, name STRING, price DOUBLE, o BIGINT METADATA FROM 'offset' VIRTUAL"
    declare(connection, topics, topic, columns, format="avro-confluent", avro__confluent_url=registry.url)
    assert both_ways(connection, "SELECT o, id, name, price FROM t") == [
        (0, 1, "one", None), (1, 2**40, None, 1.5), (2, 3, "three", None), (4, 4, "four", 2.5),
    ]  # fmt: skip
    assert sorted(registry.asked) == [f"GET /schemas/ids/{a}", f"GET /schemas/ids/{b}"], "each is asked for once"


def test_malformed_messages(connection: Any, topics: Topics, registry: SchemaRegistry) -> None:
    topic = topics.new()
    schema = record(("id", "long"))
    n = registry.add(schema)
    good = framed(n, schema, {"id": 7})[0]
    bad = [b"{}xxxx", b"\0\0\0", b"\0" + struct.pack(">I", n + 5) + b"\x02", b"\0" + struct.pack(">I", n)]
    topics.put(topic, [good, *bad, good])
    declare(
        connection,
        topics,
        topic,
        "id BIGINT",
        format="avro-confluent",
        avro__confluent_url=registry.url,
        source_bad__records="skip",
    )
    assert both_ways(connection, "SELECT id FROM t") == [(7,), (7,)]
    reasons = [
        "its first byte is not 0",
        "it is shorter than",
        f"does not know schema {n + 5}",
        "it ends before its values do",
    ]
    for i, (message, reason) in enumerate(zip(bad, reasons, strict=True)):
        one = topics.new()
        topics.put(one, [good, message])
        declare(
            connection,
            topics,
            one,
            "id BIGINT",
            name=f"t{i}",
            format="avro-confluent",
            avro__confluent_url=registry.url,
        )
        shown = f"0x{message.hex()}(.|\n)*hint: 'source.bad-records' = 'skip'"
        with pytest.raises(Exception, match=f"offset 1: malformed record: .*{reason}.*{shown}"):
            connection.execute(f"SELECT id FROM t{i}").fetchall()


def written_and_read(connection: Any, topics: Topics, url: str) -> str:
    """Keys and values of rows by a registry, and what comes back; the topic."""
    topic = topics.new()
    more = {"key_format": "avro-confluent", "key_fields": "id", "key_avro__confluent_url": url, "value_format": "avro-confluent", "format": "",
            "value_avro__confluent_url": url}  # fmt: skip
    declare(connection, topics, topic, "id BIGINT, name STRING, r ROW<x ARRAY<INT>>", **more)
    connection.execute(
        "INSERT INTO t VALUES (1, 'a', ROW(ARRAY[1, 2])), (2, CAST(NULL AS STRING), CAST(NULL AS ROW<x ARRAY<INT>>))"
    )
    assert both_ways(connection, "SELECT id, name, r.x[2] FROM t") == [(1, "a", 2), (2, None, None)]
    return topic


def test_schemas_are_registered(connection: Any, topics: Topics, registry: SchemaRegistry) -> None:
    topic = written_and_read(connection, topics, registry.url)
    assert set(registry.subjects) == {f"{topic}-key", f"{topic}-value"}
    (number,) = registry.subjects[f"{topic}-value"]
    schema = json.loads(registry.schemas[number - 1])
    assert schema["name"] == "record" and schema["namespace"] == "org.apache.flink.avro.generated"
    assert schema["fields"][0] == {"name": "id", "type": ["null", "long"], "default": None}
    messages = topics.all(topic)
    rows = []
    for _, key, value in messages:
        assert value is not None and value[:5] == b"\0" + struct.pack(">I", number)
        rows.append(fastavro.schemaless_reader(io.BytesIO(value[5:]), fastavro.parse_schema(schema), None))
        assert key is not None and key[:1] == b"\0" and key[5:] == b"\x02" + bytes([2 * rows[-1]["id"]])
    assert sorted(rows, key=lambda r: r["id"]) == [
        {"id": 1, "name": "a", "r": {"x": [1, 2]}},
        {"id": 2, "name": None, "r": None},
    ]
    registry.asked.clear()
    more = {
        "avro__confluent_url": registry.url,
        "avro__confluent_subject": "mine",
        "avro__confluent_auto_register_schemas": "false",
    }
    declare(connection, topics, topic, "id BIGINT", name="u", format="avro-confluent", **more)
    with pytest.raises(Exception, match="does not know subject 'mine': the table's schema is not registered there"):
        connection.execute("INSERT INTO u VALUES (1)")
    assert registry.asked and set(registry.asked) == {"POST /subjects/mine"}
    registry.incompatible.add("mine")
    declare(
        connection,
        topics,
        topic,
        "id BIGINT",
        name="v",
        format="avro-confluent",
        avro__confluent_url=registry.url,
        avro__confluent_subject="mine",
    )
    with pytest.raises(Exception, match="refuses subject 'mine': HTTP 409: .*incompatible"):
        connection.execute("INSERT INTO v VALUES (1)")


def test_a_schema_that_is_given(connection: Any, topics: Topics, registry: SchemaRegistry) -> None:
    topic = topics.new()
    schema = record(
        ("at_", {"type": "long", "logicalType": "timestamp-micros"}), ("id", ["int", "null"]), name="com.x.Mine"
    )
    more = {"avro__confluent_url": registry.url, "avro__confluent_schema": json.dumps(schema)}
    declare(connection, topics, topic, "id INT, at_ TIMESTAMP_LTZ(6)", format="avro-confluent", **more)
    connection.execute("INSERT INTO t VALUES (5, TO_TIMESTAMP_LTZ(1234567, 3))")
    (value,) = topics.values(topic)
    assert value is not None and json.loads(registry.schemas[-1]) == schema
    assert value[5:] == fastavro_bytes(
        schema, {"at_": dt.datetime(1970, 1, 1, 0, 20, 34, 567000, tzinfo=dt.UTC), "id": 5}
    )
    declare(connection, topics, topic, "id INT, other INT", name="u", format="avro-confluent", **more)
    with pytest.raises(
        Exception,
        match="option 'avro-confluent.schema': it has the fields at_, id, and the table's columns are id, other",
    ):
        connection.execute("INSERT INTO u VALUES (1, 2)")
    declare(
        connection,
        topics,
        topic,
        "at_ TIMESTAMP_LTZ(6)",
        name="w",
        format="avro-confluent",
        avro__confluent_url=registry.url,
    )
    with pytest.raises(Exception, match=r"column at_: Avro has no form for TIMESTAMP_LTZ\(6\)"):
        connection.execute("INSERT INTO w VALUES (TO_TIMESTAMP_LTZ(1, 3))")


def fastavro_bytes(schema: Any, row: Any) -> bytes:
    return framed(0, schema, row)[0][5:]


def test_the_registry_is_waited_for(
    connection: Any, topics: Topics, registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAUSES", (0.01, 0.01, 0.01))
    topic, schema = topics.new(), record(("id", "long"))
    topics.put(topic, framed(registry.add(schema), schema, {"id": 7}))
    registry.broken = 3
    declare(connection, topics, topic, "id BIGINT", format="avro-confluent", avro__confluent_url=registry.url)
    assert connection.execute("SELECT SUM(id) FROM t").fetchall()[-1][-1] == 7
    assert registry.asked == ["GET /schemas/ids/1"] * 4


def test_a_registry_that_is_not_there(connection: Any, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAUSES", (0.01,))
    topic = topics.new()
    topics.put(topic, [b"\0\0\0\0\x09\x02"])
    declare(
        connection,
        topics,
        topic,
        "id BIGINT",
        format="avro-confluent",
        avro__confluent_url="http://someone:hidden@127.0.0.1:1",
    )
    connection.execute("SET 'execution.runtime-mode' = 'batch'")
    with pytest.raises(
        Exception, match="schema registry http://127.0.0.1:1 does not answer for schema 9: .*refused"
    ) as e:
        connection.execute("SELECT id FROM t").fetchall()
    assert "hidden" not in str(e.value)


@pytest.mark.parametrize(
    ("user", "token", "more"),
    [
        (
            "ann:pass-word",
            "",
            {"basic__auth_credentials__source": "USER_INFO", "basic__auth_user__info": "ann:pass-word"},
        ),
        ("ann:pass-word", "", {"properties_basic_auth_user_info": "ann:pass-word"}),
        ("ann:pass-word", "", {}),  # in the URL
        ("", "tok-en", {"bearer__auth_credentials__source": "STATIC_TOKEN", "bearer__auth_token": "tok-en"}),
    ],
)
def test_who_asks(user: str, token: str, more: dict[str, str], connection: Any, topics: Topics) -> None:
    with SchemaRegistry(user, token) as registry:
        topic, schema = topics.new(), record(("id", "long"))
        topics.put(topic, framed(registry.add(schema, first=40), schema, {"id": 7}))
        url = registry.url if more else registry.url.replace("http://", f"http://{user}@")
        options = {"url": url, **more}
        declare(
            connection,
            topics,
            topic,
            "id BIGINT",
            format="avro-confluent",
            **{f"avro__confluent_{k}": v for k, v in options.items()},
        )
        assert both_ways(connection, "SELECT id FROM t") == [(7,)]
        shown = connection.execute("SHOW CREATE TABLE t").fetchall()[0][0]
        assert "pass-word" not in shown and "tok-en" not in shown
        wrong = {"url": registry.url, "basic__auth_user__info": "bob:hidden-one"}
        declare(
            connection,
            topics,
            topic,
            "id BIGINT",
            name="u",
            format="avro-confluent",
            **{f"avro__confluent_{k}": v for k, v in wrong.items()},
        )
        with pytest.raises(Exception, match="refuses schema 40: HTTP 401") as e:
            connection.execute("SELECT id FROM u").fetchall()
        assert "hidden-one" not in str(e.value)


ENVELOPE = record(
    ("before", ["null", record(("id", "long"), ("name", ["null", "string"]), name="Value")]), ("after", ["null", "Value"]),
    ("source", record(("db", "string"), ("ts_ms", "long"), name="Source")), ("op", "string"), ("ts_ms", ["null", "long"]), name="Envelope",
)  # fmt: skip


def change(op: str, before: Any, after: Any) -> dict[str, Any]:
    return {"before": before, "after": after, "source": {"db": "x", "ts_ms": 1}, "op": op, "ts_ms": None}


def test_debezium_avro_is_read(connection: Any, topics: Topics, registry: SchemaRegistry) -> None:
    """A schema as Debezium's connectors register one."""
    topic, n = topics.new(), registry.add(ENVELOPE)
    a, b, c = ({"id": i, "name": x} for i, x in ((1, "a"), (2, "b"), (2, None)))
    changes = [change("r", None, a), change("c", None, b), change("u", b, c), change("d", a, None)]
    topics.put(topic, [*framed(n, ENVELOPE, *changes), None])
    more = {"format": "debezium-avro-confluent", "debezium__avro__confluent_url": registry.url}
    declare(connection, topics, topic, "name STRING, id BIGINT", **more)
    assert both_ways(connection, "SELECT id, name FROM t") == [(2, None)]
    assert both_ways(connection, "SELECT COUNT(*) FROM t") == [(1,)]
    keyed = topics.new()
    topics.put(
        keyed,
        framed(
            n,
            ENVELOPE,
            change("c", None, a),
            change("u", None, {"id": 1, "name": "z"}),
            change("u", a, {"id": 3, "name": "y"}),
        ),
    )
    declare(connection, topics, keyed, "id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED", name="k", **more)
    assert both_ways(connection, "SELECT id, name FROM k") == [(3, "y")]
    for i, (wrong, reason) in enumerate([(change("x", None, a), "'op' is none of c, r, u, d"), (change("u", None, a), "has no 'before'"),
                                         (change("c", a, None), "has no 'after'")]):  # fmt: skip
        one = topics.new()
        topics.put(one, framed(n, ENVELOPE, change("c", None, b), wrong))
        declare(connection, topics, one, "id BIGINT, name STRING", name=f"t{i}", **more)
        with pytest.raises(Exception, match=f"offset 1: malformed record: .*{reason}"):
            connection.execute(f"SELECT id FROM t{i}").fetchall()
        declare(connection, topics, one, "id BIGINT, name STRING", name=f"s{i}", source_bad__records="skip", **more)
        assert both_ways(connection, f"SELECT id FROM s{i}") == [(2,)]


def debezium_avro_there_and_back(connection: Any, topics: Topics, url: str) -> str:
    """Counts by a key, which change, through a topic; the topic."""
    source, topic = topics.new(), topics.new()
    topics.put(source, [json.dumps({"id": i % 3}) for i in range(7)])
    declare(connection, topics, source, "id BIGINT", name="s")
    more = {"format": "debezium-avro-confluent", "debezium__avro__confluent_url": url}
    declare(connection, topics, topic, "id BIGINT, n BIGINT NOT NULL", **more)
    connection.execute("SET 'execution.runtime-mode' = 'streaming'")
    connection.execute("SET 'execution.epoch.max-rows' = '2'")
    connection.execute("INSERT INTO t SELECT id, COUNT(*) FROM s GROUP BY id")
    assert both_ways(connection, "SELECT id, n FROM t") == [(0, 3), (1, 2), (2, 2)]
    return topic


def test_debezium_avro_is_written(connection: Any, topics: Topics, registry: SchemaRegistry) -> None:
    """As Flink does: a record or null, of before, after and op."""
    topic = debezium_avro_there_and_back(connection, topics, registry.url)
    (number,) = registry.subjects[f"{topic}-value"]
    null, schema = json.loads(registry.schemas[number - 1])
    assert null == "null" and [f["name"] for f in schema["fields"]] == ["before", "after", "op"]
    assert (
        schema["fields"][0]["type"][1]["name"] == "record_before"
        and schema["fields"][1]["type"][1]["name"] == "record_after"
    )
    parsed = fastavro.parse_schema(["null", schema])
    changes = [fastavro.schemaless_reader(io.BytesIO((v or b"")[5:]), parsed, None) for v in topics.values(topic)]
    assert {c["op"] for c in changes} == {"c", "d"}
    left = [c["after"] for c in changes if c["op"] == "c"]
    for c in changes:
        assert (c["before"] is None) == (c["op"] == "c") and (c["after"] is None) == (c["op"] == "d")
        if c["op"] == "d":
            left.remove(c["before"])
    assert sorted(left, key=lambda r: r["id"]) == [{"id": i, "n": n} for i, n in ((0, 3), (1, 2), (2, 2))]


def test_mistakes_are_explained(connection: Any, topics: Topics, tmp_path: Path) -> None:
    (tmp_path / "store.jks").write_bytes(b"\xfe\xed\xfe\xed....")

    def error(**more: str) -> str:
        options = {"format": "avro-confluent", **{f"avro__confluent_{k}": v for k, v in more.items()}}
        with pytest.raises(Exception) as e:
            declare(connection, topics, "x", "id BIGINT", name="e", **options)
            connection.execute("SELECT * FROM e").fetchall()
        connection.execute("DROP TEMPORARY TABLE IF EXISTS e")
        return str(e.value)

    assert "option 'avro-confluent.url' is missing" in error()
    assert "option 'avro-confluent.url' = 'x:1' is no URL" in error(url="x:1")
    assert "did you mean basic.auth.user.info" in error(url="http://x", properties_basic_auth_user_inf="a:b")
    assert "is a keystore of Java's" in error(url="https://x", ssl_truststore_location="store.jks")
    assert "cannot be read: No such file" in error(url="https://x", ssl_truststore_location="no.pem")
    assert "USER_INFO and URL alone are there" in error(url="http://x", basic__auth_credentials__source="SASL_INHERIT")
    assert "option 'avro-confluent.basic-auth.user-info' is missing" in error(
        url="http://x", basic__auth_credentials__source="USER_INFO"
    )
    assert "option 'avro-confluent.schema': there is no type 'log' in it" in error(url="http://x", schema='["log"]')
    declare(connection, topics, "x", "id TIMESTAMP_LTZ(3)", name="a", format="avro")
    with pytest.raises(
        Exception, match=r"column id: Avro has no form for TIMESTAMP_LTZ\(3\)(.|\n)*avro.timestamp_mapping.legacy"
    ):
        connection.execute("SELECT * FROM a").fetchall()
    declare(connection, topics, "x", "id BIGINT", name="j", format="avro", avro_encoding="json")
    with pytest.raises(Exception, match="'avro.encoding' = 'json': Avro's records as JSON are not there"):
        connection.execute("SELECT * FROM j").fetchall()
    # Flink's former names
    former = {"format": "avro-confluent", "avro__confluent_schema__registry_url": "http://127.0.0.1:1"}
    declare(connection, topics, topics.new(), "id BIGINT", name="f", **former)
    assert connection.execute("SELECT * FROM f").fetchall() == []


@pytest.mark.slow
def test_on_a_real_registry(connection: Any, topics: Topics) -> None:
    wanted(Apicurio)
    with Apicurio() as server:
        written_and_read(connection, topics, server.url)
        connection.execute("DROP TEMPORARY TABLE t")
        debezium_avro_there_and_back(connection, topics, server.url)
        more = {
            "avro__confluent_url": server.url,
            "avro__confluent_subject": "mine",
            "avro__confluent_auto_register_schemas": "false",
        }
        declare(connection, topics, topics.new(), "id BIGINT", name="u", format="avro-confluent", **more)
        with pytest.raises(Exception, match="does not know subject 'mine': the table's schema is not registered there"):
            connection.execute("INSERT INTO u VALUES (1)")
        unknown = topics.new()
        topics.put(unknown, [b"\0\0\0\x27\x0f\x02"])
        declare(
            connection, topics, unknown, "id BIGINT", name="n", format="avro-confluent", avro__confluent_url=server.url
        )
        with pytest.raises(Exception, match="does not know schema 9999"):
            connection.execute("SELECT * FROM n").fetchall()
