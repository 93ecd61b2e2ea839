"""JSON and Protobuf with a registry of schemas, on a real broker, keys and values. The registry is one of the tests; the same on a real
one (Apicurio, which speaks its protocol) is slow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, text_format
from harness.kafka_tables import both_ways, declare
from harness.schema_registry import SchemaRegistry
from harness.servers import Apicurio, Kafka, wanted
from harness.topics import Topics

import sqlstream

COLUMNS = "id BIGINT NOT NULL, name STRING, at_ TIMESTAMP(3), price DECIMAL(10, 2), tags ARRAY<STRING>"
ROWS = """(1, 'ü', TIMESTAMP '2024-01-02 03:04:05.678', -1.25, ARRAY['x', 'y']),
    (10, CAST(NULL AS STRING), CAST(NULL AS TIMESTAMP(3)), CAST(NULL AS DECIMAL(10, 2)), CAST(NULL AS ARRAY<STRING>))"""
FORMATS = ("json-confluent", "protobuf-confluent")
INNER = "name: 'inner.proto' package: 'shop' syntax: 'proto3' message_type { name: 'Inner' field { name: 'x' number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL } }"
OUTER = """name: 'outer.proto' package: 'shop' syntax: 'proto3' dependency: 'inner.proto' message_type { name: 'Other' } message_type { name: 'Outer'
    field { name: 'part' number: 1 type: TYPE_MESSAGE type_name: '.shop.Inner' label: LABEL_OPTIONAL } }"""


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    return Topics(kafka.bootstrap)


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        c.execute("SET 'table.dml-sync' = 'true'")
        yield c


def written_and_read(connection: Any, topics: Topics, form: str, url: str) -> str:
    """Keys and values by a registry, and what comes back; the topic."""
    topic, option = topics.new(), form.replace("-", "__")
    more = {"format": "", "key_format": form, "key_fields": "id", "value_format": form, "value_fields__include": "EXCEPT_KEY",
            f"key_{option}_url": url, f"value_{option}_url": url}  # fmt: skip
    declare(connection, topics, topic, COLUMNS, **more)
    connection.execute(f"INSERT INTO t VALUES {ROWS}")
    assert both_ways(connection, "SELECT id, name, CAST(at_ AS STRING), CAST(price AS STRING), tags[2] FROM t") == [
        (1, "ü", "2024-01-02 03:04:05.678", "-1.25", "y"), (10, None, None, None, None),
    ]  # fmt: skip
    assert both_ways(connection, "SELECT COUNT(*) FROM t") == [(2,)]
    return topic


@pytest.mark.parametrize("form", FORMATS)
def test_there_and_back(form: str, connection: Any, topics: Topics) -> None:
    if form == "protobuf-confluent":
        pytest.importorskip("grpc_tools")
    with SchemaRegistry() as registry:
        registry.add("{}", first=9)  # so that numbers have a line end in them
        topic = written_and_read(connection, topics, form, registry.url)
        assert set(registry.subjects) == {f"{topic}-key", f"{topic}-value"}
        kind = {"schemaType": form.partition("-")[0].upper()}
        assert [registry.more[n - 1] for (n,) in registry.subjects.values()] == [kind, kind]
        asked = [a for a in registry.asked if a.startswith("GET")]
        assert len(asked) == (0 if form == "json-confluent" else 2), "JSON is read without the registry"
        key_number, number = (registry.subjects[f"{topic}-{part}"][0] for part in ("key", "value"))
        found = {k: v for _, k, v in topics.all(topic)}
        if form == "json-confluent":
            before = b"\0\0\0\0" + bytes([key_number])
            assert set(found) == {before + b'{"id":1}', before + b'{"id":10}'}
            value = found[before + b'{"id":1}'] or b""
            assert value[:5] == b"\0\0\0\0" + bytes([number])
            assert json.loads(value[5:]) == {
                "name": "ü", "at_": "2024-01-02 03:04:05.678", "price": -1.25, "tags": ["x", "y"],
            }  # fmt: skip
        else:
            before = b"\0\0\0\0" + bytes([key_number]) + b"\0"
            assert set(found) == {before + b"\x08\x01", before + b"\x08\x0a"}
            assert found[before + b"\x08\x0a"] == b"\0\0\0\0" + bytes([number]) + b"\0", "of NULL alone"


def test_malformed_messages(connection: Any, topics: Topics) -> None:
    topic = topics.new()
    topics.put(topic, [b'\0\0\0\0\x0a{"id": 1}', b'{"id": 2}', b'\0\0\0\0\x0a{"id": "x"}'])
    declare(connection, topics, topic, "id BIGINT", format="json-confluent")
    hint = "format 'json' reads messages without the number of a schema"
    with pytest.raises(
        Exception, match=rf'offset 1: malformed record: .*first byte is not 0: {{"id": 2}}(.|\n)*{hint}'
    ):
        connection.execute("SELECT id FROM t").fetchall()
    declare(
        connection,
        topics,
        topic,
        "id BIGINT",
        "s",
        format="json-confluent",
        json__confluent_ignore__parse__errors="true",
    )
    assert both_ways(connection, "SELECT id FROM s") == [(1,)]


@pytest.mark.slow
def test_on_a_real_registry(connection: Any, topics: Topics, tmp_path: Path) -> None:
    """It has schemas as they were registered: as text, and of a descriptor file in base64, with what that imports."""
    wanted(Apicurio)
    files = descriptor_pb2.FileDescriptorSet()
    for text in (INNER, OUTER):
        text_format.Parse(text, files.file.add())
    (tmp_path / "all.desc").write_bytes(files.SerializeToString())
    with Apicurio() as server:
        for form in FORMATS:
            written_and_read(connection, topics, form, server.url)
            connection.execute("DROP TEMPORARY TABLE t")
        more = {"message__class__name": "shop.Outer", "descriptor__file": "all.desc", "url": server.url}
        given = {f"protobuf__confluent_{k}": v for k, v in more.items()}
        declare(connection, topics, topics.new(), "part ROW<x INT>", format="protobuf-confluent", **given)
        connection.execute("INSERT INTO t VALUES (ROW(5)), (CAST(NULL AS ROW<x INT>))")
        assert both_ways(connection, "SELECT part.x FROM t") == [(5,), (None,)]
