"""Formats of messages, and what they know beside columns, against a real broker. Expected rows are those of Flink's documentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.kafka_tables import both_ways, declare
from harness.servers import Kafka
from harness.topics import Topics

import sqlstream


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    return Topics(kafka.bootstrap)


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        yield c


def test_what_debezium_json_knows(connection: Any, topics: Topics) -> None:
    topic = topics.new()
    source = {
        "ts_ms": 1_589_361_987_000,
        "db": "shop",
        "schema": None,
        "table": "products",
        "snapshot": True,
        "pos": 154,
    }
    change = {"before": None, "after": {"id": 1, "name": "a"}, "op": "c", "ts_ms": 1_589_362_330_904, "source": source}
    topics.put(topic, [json.dumps(change), json.dumps({**change, "source": None})])
    columns = """id BIGINT, origin TIMESTAMP(3) METADATA FROM 'value.ingestion-timestamp' VIRTUAL,
        changed TIMESTAMP_LTZ(3) METADATA FROM 'value.source.timestamp' VIRTUAL, db STRING METADATA FROM 'value.source.database' VIRTUAL,
        s STRING METADATA FROM 'value.source.schema' VIRTUAL, t STRING METADATA FROM 'value.source.table' VIRTUAL,
        p MAP<STRING, STRING> METADATA FROM 'value.source.properties' VIRTUAL, schema_ STRING METADATA FROM 'value.schema' VIRTUAL,
        o BIGINT METADATA FROM 'offset' VIRTUAL"""
    connection.execute("SET 'table.local-time-zone' = 'Asia/Tokyo'")
    declare(connection, topics, topic, columns, format="debezium-json")
    shown = "o, CAST(origin AS STRING), CAST(changed AS STRING), db, s, t, p['pos'], p['snapshot'], schema_"
    ingested, at = "2020-05-13 18:32:10.904", "2020-05-13 18:26:27.000"
    assert both_ways(connection, f"SELECT {shown} FROM t") == [
        (0, ingested, at, "shop", None, "products", "154", "true", None),
        (1, ingested, None, None, None, None, None, None, None),
    ]
    # without the map, which has all of them, they are found by their paths
    assert both_ways(connection, "SELECT o, db, CAST(changed AS STRING) FROM t WHERE t = 'products'") == [
        (0, "shop", at)
    ]
    wrapped = topics.new()
    topics.put(wrapped, [json.dumps({"schema": {"type": "struct", "name": "x"}, "payload": change})])
    declare(
        connection, topics, wrapped, columns, name="w", format="debezium-json", debezium__json_schema__include="true"
    )
    assert both_ways(connection, "SELECT id, schema_, db FROM w") == [(1, '{"type":"struct","name":"x"}', "shop")]


def test_what_canal_json_knows(connection: Any, topics: Topics) -> None:
    topic = topics.new()
    change = {"data": [{"id": "1", "name": "a"}], "database": "shop", "es": 1_598_944_132_000, "isDdl": False, "old": None,
              "pkNames": ["id"], "sqlType": {"id": 4, "name": 12}, "table": "products", "ts": 1_598_944_146_308, "type": "INSERT"}  # fmt: skip
    topics.put(topic, [json.dumps(change), json.dumps({**change, "table": "users", "data": [{"id": "no number"}]})])
    columns = """id BIGINT, database_ STRING METADATA FROM 'value.database' VIRTUAL, table_ STRING METADATA FROM 'value.table' VIRTUAL,
        types MAP<STRING, INT> METADATA FROM 'value.sql-type' VIRTUAL, ks ARRAY<STRING> METADATA FROM 'value.pk-names' VIRTUAL,
        ingested TIMESTAMP_LTZ(3) METADATA FROM 'value.ingestion-timestamp' VIRTUAL,
        happened TIMESTAMP(3) METADATA FROM 'value.event-timestamp' VIRTUAL, WATERMARK FOR happened AS happened"""
    declare(
        connection,
        topics,
        topic,
        columns,
        value_format="canal-json",
        format="",
        value_canal__json_table_include="product.*",
    )
    shown = "id, database_, table_, types['name'], ks[1], CAST(ingested AS STRING), CAST(happened AS STRING)"
    assert both_ways(connection, f"SELECT {shown} FROM t") == [
        (1, "shop", "products", 12, "id", "2020-09-01 07:09:06.308", "2020-09-01 07:08:52.000")
    ]


def test_what_maxwell_json_and_ogg_json_know(connection: Any, topics: Topics) -> None:
    topic = topics.new()
    change = {
        "database": "shop",
        "table": "products",
        "type": "insert",
        "ts": 1_596_684_883,
        "data": {"id": 1},
        "primary_key_columns": ["id"],
    }
    topics.put(topic, [json.dumps(change)])
    columns = """id BIGINT, d STRING METADATA FROM 'value.database' VIRTUAL, t STRING METADATA FROM 'value.table' VIRTUAL,
        ks ARRAY<STRING> METADATA FROM 'value.primary-key-columns' VIRTUAL, ts TIMESTAMP_LTZ(3) METADATA FROM 'value.ingestion-timestamp' VIRTUAL"""
    declare(connection, topics, topic, columns, format="maxwell-json")
    assert both_ways(connection, "SELECT id, d, t, ks[1], CAST(ts AS STRING) FROM t") == [
        (1, "shop", "products", "id", "2020-08-06 03:34:43.000")
    ]
    gate = topics.new()
    topics.put(gate, [json.dumps({"table": "SHOP.PRODUCTS", "op_type": "I", "op_ts": "2020-05-13 15:40:06.000001", "primary_keys": ["id"],
                                  "current_ts": "2020-05-13T15:40:07", "after": {"id": 1}}), '{"op_type": "I", "op_ts": "x", "after": {"id": 2}}'])  # fmt: skip
    columns = """id BIGINT, t STRING METADATA FROM 'value.table' VIRTUAL, ks ARRAY<STRING> METADATA FROM 'value.primary-keys' VIRTUAL,
        ingested TIMESTAMP_LTZ(6) METADATA FROM 'value.ingestion-timestamp' VIRTUAL,
        happened TIMESTAMP_LTZ(6) METADATA FROM 'value.event-timestamp' VIRTUAL"""
    declare(connection, topics, gate, columns, name="g", format="ogg-json", source_bad__records="skip")
    assert both_ways(connection, "SELECT id, t, ks[1], CAST(ingested AS STRING), CAST(happened AS STRING) FROM g") == [
        (1, "SHOP.PRODUCTS", "id", "2020-05-13 15:40:07.000000", "2020-05-13 15:40:06.000001")
    ]


def test_changes_go_through_topics(connection: Any, topics: Topics) -> None:
    """Each format's writer, and its reader."""
    connection.execute("SET 'table.dml-sync' = 'true'")
    source = topics.new()
    topics.put(source, [json.dumps({"op": "c", "after": {"id": i % 3, "name": "x"}}) for i in range(7)])
    declare(connection, topics, source, name="s", format="debezium-json")
    for i, format in enumerate(("canal-json", "maxwell-json", "ogg-json", "debezium-json")):
        topic = topics.new()
        declare(connection, topics, topic, "id BIGINT, n BIGINT", name=f"o{i}", format=format)
        connection.execute("SET 'execution.runtime-mode' = 'streaming'")
        connection.execute("SET 'execution.epoch.max-rows' = '2'")
        connection.execute(f"INSERT INTO o{i} SELECT id, COUNT(*) FROM s GROUP BY id")
        assert both_ways(connection, f"SELECT * FROM o{i}") == [(0, 3), (1, 2), (2, 2)]


def test_metadata_of_another_type_is_refused(connection: Any, topics: Topics) -> None:
    for column, error in (
        ("x ARRAY<INT> METADATA FROM 'value.database'", r"METADATA column x, of type STRING: .*ARRAY"),
        ("x STRING METADATA FROM 'value.databse'", r"did you mean value\.database"),
    ):
        with pytest.raises(Exception, match=error):
            declare(connection, topics, "none", f"id BIGINT, {column} VIRTUAL", format="canal-json")


def test_the_page_is_as_shown(topics: Topics, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "connectors" / "formats.md").read_text()
    shown = re.findall(r"```sql\n(.*?)```(.*?)```\n(\+--.*?)```", page, re.S)
    assert shown
    with sqlstream.connect() as c:
        for script in re.findall(r"```sql\n(CREATE.*?;)\n", page, re.S):
            c.execute(script)
    for n, (script, said, rows) in enumerate(shown):
        topic = topics.new()
        topics.put(topic, re.findall(r"`(\{.*?\})`", said))
        path = tmp_path / f"{n}.sql"
        path.write_text(
            re.sub(r"'topic' = '\w+'", f"'topic' = '{topic}'", script).replace("localhost:9092", topics.bootstrap)
        )
        done = subprocess.run(
            [sys.executable, "-m", "sqlstream", "run", str(path)], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == rows.strip()
