"""Protobuf on topics, against a real broker; what is written is read by Google's library, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from harness.kafka_tables import both_ways, declare
from harness.servers import Kafka
from harness.topics import Topics

import sqlstream

SHOP = """name: 'shop.proto' package: 'shop' syntax: 'proto3'
    enum_type { name: 'Status' value { name: 'OPEN' number: 0 } value { name: 'SENT' number: 1 } }
    message_type { name: 'Shipment'
        field { name: 'id' number: 1 type: TYPE_INT64 label: LABEL_OPTIONAL }
        field { name: 'status' number: 2 type: TYPE_ENUM type_name: '.shop.Status' label: LABEL_OPTIONAL }
        field { name: 'parcels' number: 3 type: TYPE_MESSAGE type_name: '.shop.Shipment.Parcel' label: LABEL_REPEATED }
        nested_type { name: 'Parcel'
            field { name: 'weight' number: 1 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
            field { name: 'labels' number: 2 type: TYPE_MESSAGE type_name: '.shop.Shipment.Parcel.LabelsEntry' label: LABEL_REPEATED }
            nested_type { name: 'LabelsEntry' options { map_entry: true }
                field { name: 'key' number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
                field { name: 'value' number: 2 type: TYPE_STRING label: LABEL_OPTIONAL } } } }"""
COLUMNS = "id BIGINT, status STRING, parcels ARRAY<ROW<weight DOUBLE, labels MAP<STRING, STRING>>>"


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    return Topics(kafka.bootstrap)


@pytest.fixture
def shipment(tmp_path: Path) -> Any:
    """Google's class; its descriptor file is shop.desc."""
    files, pool = descriptor_pb2.FileDescriptorSet(), descriptor_pool.DescriptorPool()
    text_format.Parse(SHOP, files.file.add())
    pool.Add(files.file[0])
    (tmp_path / "shop.desc").write_bytes(files.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Shipment"))


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        c.execute("SET 'table.dml-sync' = 'true'")
        yield c


def of_shipments(
    connection: Any, topics: Topics, topic: str, name: str = "t", columns: str = COLUMNS, **more: str
) -> None:
    given = {
        "format": "protobuf",
        "protobuf_message__class__name": "shop.Shipment",
        "protobuf_descriptor__file": "shop.desc",
        **more,
    }
    declare(connection, topics, topic, columns, name, **given)


def test_messages_are_rows(connection: Any, topics: Topics, shipment: Any) -> None:
    topic = topics.new()
    first = shipment(id=1, status=1, parcels=[{"weight": 2.5, "labels": {"to": "ü\n"}}, {"labels": {}}])
    topics.put(topic, [first.SerializeToString(), None, shipment(id=2).SerializeToString(), b"\x08"])
    of_shipments(connection, topics, topic, protobuf_ignore__parse__errors="true")
    shown = "id, status, CARDINALITY(parcels), parcels[1].weight, parcels[1].labels['to'], parcels[2].labels IS NULL"
    assert both_ways(connection, f"SELECT {shown} FROM t") == [
        (1, "SENT", 2, 2.5, "ü\n", True),
        (2, "OPEN", None, None, None, True),
    ]
    assert both_ways(connection, "SELECT COUNT(*) FROM t") == [(2,)]
    of_shipments(connection, topics, topic, name="strict")
    with pytest.raises(Exception, match="offset 3: malformed record: it ends before its values do"):
        connection.execute("SELECT id FROM strict").fetchall()


def test_rows_are_messages(connection: Any, topics: Topics, shipment: Any) -> None:
    """Keys, too, which are a message of their own columns."""
    topic = topics.new()
    key = {"key_format": "protobuf", "key_fields": "id", "key_protobuf_message__class__name": "shop.Shipment",
           "key_protobuf_descriptor__file": "shop.desc"}  # fmt: skip
    of_shipments(connection, topics, topic, **key)
    connection.execute(
        "INSERT INTO t VALUES (1, 'SENT', ARRAY[ROW(0.5e0, MAP['a', 'b']), ROW(CAST(NULL AS DOUBLE), CAST(NULL AS MAP<STRING, STRING>))]), "
        "(2, 'OPEN', CAST(NULL AS ARRAY<ROW<weight DOUBLE, labels MAP<STRING, STRING>>>))"
    )
    found = {k: shipment.FromString(v or b"") for _, k, v in topics.all(topic)}
    assert found == {
        b"\x08\x01": shipment(id=1, status=1, parcels=[{"weight": 0.5, "labels": {"a": "b"}}, {}]), b"\x08\x02": shipment(id=2),
    }  # fmt: skip
    assert both_ways(connection, "SELECT id, status, parcels[1].labels['a'] FROM t") == [
        (1, "SENT", "b"),
        (2, "OPEN", None),
    ]


def test_mistakes_are_explained(connection: Any, topics: Topics, shipment: Any) -> None:
    for columns, more, error in (
        (
            COLUMNS,
            {"protobuf_message__class__name": "shop.Shipmen"},
            "has no message 'shop.Shipmen'(.|\n)*did you mean shop.Shipment",
        ),
        (COLUMNS, {"protobuf_descriptor__file": ""}, "option 'protobuf.descriptor-file' is missing"),
        ("ide BIGINT", {}, "message shop.Shipment has no such field(.|\n)*did you mean id"),
        ("status DOUBLE", {}, "column status is DOUBLE, and the message's field is enum"),
    ):
        with pytest.raises(Exception, match=error):
            of_shipments(connection, topics, "none", "e", columns, **more)
            connection.execute("SELECT * FROM e").fetchall()
        connection.execute("DROP TEMPORARY TABLE IF EXISTS e")
