"""Connector 'mongodb' against mongomock, and (-m slow) a server that MONGODB_URI names. What must come is what Flink and MongoDB document."""

from __future__ import annotations

import datetime as dt
import os
import re
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from harness.queues import ROOT, both_ways, declared, error_of

import sqlstream
from sqlstream.batches import Kind
from sqlstream.cli.main import main
from sqlstream.connectors.messages.clients import Unreachable
from sqlstream.connectors.mongodb import client as mongo_client
from sqlstream.connectors.mongodb.connector import MongoConnector
from sqlstream.connectors.mongodb.source import behind
from sqlstream.contracts import SinkTask, TableContext
from sqlstream.errors import DataError
from sqlstream.testing.connectors import SourceContract, table

pymongo = pytest.importorskip("pymongo")
mongomock = pytest.importorskip("mongomock")
pytest.importorskip("mongomock.filtering")
bson = pytest.importorskip("bson")

LONG = pytest.param("server", marks=pytest.mark.slow)
TASK = SinkTask("job", "run", 0)


@pytest.fixture(params=["mock", LONG])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """One of its own."""
    name = f"t{uuid.uuid4().hex[:8]}"
    if request.param == "server":
        if "MONGODB_URI" not in os.environ:
            pytest.skip("MONGODB_URI names no server")
        client: Any = pymongo.MongoClient(os.environ["MONGODB_URI"])
        yield client[name]
        client.drop_database(name)
        client.close()
        return
    builder = mongomock.collection.BulkOperationBuilder
    for method in ("add_update", "add_replace"):  # which it has not learnt yet
        known = getattr(builder, method)
        monkeypatch.setattr(builder, method, lambda self, *a, sort=None, known=known, **more: known(self, *a, **more))
    for kind, is_of in mongomock.filtering.TYPE_MAP.items():
        if is_of is None:  # no test has a value of these
            monkeypatch.setitem(mongomock.filtering.TYPE_MAP, kind, lambda value: False)
    client = mongomock.MongoClient()
    client.close = lambda: None
    monkeypatch.setattr(mongo_client, "connected", lambda uri: client)
    yield client[name]


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        c.execute("SET 'execution.runtime-mode' = 'streaming'")
        yield c


def options(database: Any, collection: str = "c", **more: str) -> dict[str, str]:
    uri = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")
    return {
        "uri": uri,
        "database": database.name,
        "collection": collection,
        "sink.retry.interval": "1 ms",
        "lookup.retry.interval": "1 ms",
        **more,
    }


ID = bson.ObjectId("65a000000000000000000001")
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678000)


def test_documents_are_rows(connection: Any, database: Any) -> None:
    database.c.insert_many([
        {"_id": ID, "n": 5, "big": bson.int64.Int64(2**40), "d": bson.decimal128.Decimal128("12.50"), "x": 0.5, "b": True, "at": NOW, "z": NOW, "day": NOW,
         "raw": b"\x00\x01", "r": {"x": 1, "y": "q", "more": 1}, "tags": ["a", None], "m": {"k": 7}, "s": {"json": [1, "x"]}},
        {"_id": bson.ObjectId(), "n": 5.0, "d": 3},
    ])  # fmt: skip
    columns = (
        "`_id` STRING, n INT, big BIGINT, d DECIMAL(10, 3), x DOUBLE, b BOOLEAN, `at` TIMESTAMP(3), z TIMESTAMP_LTZ(3), `day` DATE, raw BYTES, "
        "r ROW<x BIGINT, y STRING, z INT>, tags ARRAY<STRING>, m MAP<STRING, INT>, s STRING"
    )
    connection.execute(declared("t", columns, "mongodb", options(database)))
    first, second = sorted(both_ways(connection, "SELECT * FROM t"), key=lambda r: r[2] is None)
    assert first[:10] == (
        str(ID),
        5,
        2**40,
        Decimal("12.500"),
        0.5,
        True,
        NOW,
        NOW.replace(tzinfo=dt.UTC),
        NOW.date(),
        b"\x00\x01",
    )
    assert first[11:] == (["a", None], [("k", 7)], '{"json": [1, "x"]}') or first[12] == {"k": 7}
    assert second[1:4] == (5, None, Decimal("3.000")) and set(second[4:]) == {None}
    assert both_ways(connection, "SELECT t.r.y, t.r.x FROM t WHERE b") == [("q", 1)]
    assert both_ways(connection, "SELECT COUNT(*) FROM t") == [(2,)]


class TestContract(SourceContract):
    connector, columns = MongoConnector, "a BIGINT, b STRING"

    @pytest.fixture(autouse=True)
    def _collection(self, database: Any) -> None:
        database.c.insert_many([{"_id": i, "a": i * i, "b": None if i % 3 else f"x{i}"} for i in range(20)])
        self.options = options(database)

    def made(self) -> TableContext:
        return table(self.connector(), self.columns, self.options)


def test_reading_goes_on_behind_any_id() -> None:
    """Types sort one after the other, and a comparison is within one."""
    types = [c["_id"]["$type"] for c in behind("x")["$or"][1:]]
    assert types == ["object", "binData", "objectId", "bool", "date", "timestamp", "regex"]
    assert behind(bson.int64.Int64(5))["$or"][:2] == [{"_id": {"$gt": 5}}, {"_id": {"$type": "string"}}]
    assert behind(ID)["$or"][1] == {"_id": {"$type": "bool"}} and behind(True)["$or"][1] == {"_id": {"$type": "date"}}


def test_a_value_of_another_type_is_named(connection: Any, database: Any) -> None:
    database.c.insert_one({"_id": 7, "n": "five", "i": 2.5, "big": 2**40})
    for column, said in (("n INT", "field n: 'five' is no INT"), ("i BIGINT", "field i: 2.5 is no BIGINT"), ("big INT", f"field big: {2**40} is no INT"),
                         ("none INT NOT NULL", "field none is NULL but its column is NOT NULL")):  # fmt: skip
        connection.execute("DROP TEMPORARY TABLE IF EXISTS t")
        connection.execute(declared("t", column, "mongodb", options(database)))
        found = error_of(connection, f"SELECT {column.split()[0]} FROM t")
        assert f"document 7: {said}" in found, found


def test_lookups(connection: Any, database: Any) -> None:
    database.c.insert_many(
        [{"_id": ID, "k": "a", "n": 1}, {"_id": "65", "k": "b", "n": 2}, {"_id": 3, "k": "b", "n": 3}]
    )
    Path("src.csv").write_text(f"1,a,{ID},1\n2,b,65,3\n3,none,x,1\n")
    connection.execute(
        "CREATE TEMPORARY TABLE src (id BIGINT, k STRING, i STRING, n INT, now AS PROCTIME()) WITH ('connector' = 'filesystem', 'format' = 'csv', "
        "'path' = 'src.csv')"
    )
    connection.execute(
        declared("d", "`_id` STRING, k STRING, n BIGINT", "mongodb", options(database, **{"lookup.cache": "PARTIAL"}))
    )

    def joined(on: str) -> list[Any]:
        rows = connection.execute(
            f"SELECT src.id, d.n FROM src LEFT JOIN d FOR SYSTEM_TIME AS OF src.now ON {on}"
        ).fetchall()
        return sorted((r[-2:] for r in rows), key=str)

    assert joined("src.k = d.k") == [(1, 1), (2, 2), (2, 3), (3, None)]
    assert joined("src.i = d.`_id`") == [(1, 1), (2, 2), (3, None)]
    assert joined("src.k = d.k AND src.n = d.n") == [(1, 1), (2, 3), (3, None)]


def writer(database: Any, columns: str, **more: str) -> Any:
    given = {"sink.buffer-flush.interval": "0 s", **options(database)}
    given |= {k.replace("__", "-").replace("_", "."): v for k, v in more.items()}
    return MongoConnector().sink(table(MongoConnector(), columns, given)).writer(TASK)


def rows(*values: tuple[str, int]) -> pa.RecordBatch:
    return pa.record_batch({"k": [v[0] for v in values], "n": pa.array([v[1] for v in values], pa.int64())})


def test_rows_are_documents_of_their_keys(database: Any) -> None:
    database.c.insert_one({"_id": "a", "other": "kept"})
    w = writer(database, "k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED")
    w.write(rows(("a", 1), ("b", 2), (str(ID), 3)), None)
    w.flush()
    kinds = np.array([Kind.UPDATE_AFTER, Kind.DELETE, Kind.DELETE], np.int8)
    w.write(rows(("a", 5), ("b", 2), ("none", 0)), kinds)
    w.flush()
    w.close()
    found = {d["_id"]: d for d in database.c.find()}
    assert found == {"a": {"_id": "a", "other": "kept", "k": "a", "n": 5}, ID: {"_id": ID, "k": str(ID), "n": 3}}


def test_keys_of_several_columns_and_of_the_id(database: Any) -> None:
    w = writer(database, "k STRING, n BIGINT, v INT, PRIMARY KEY (k, n) NOT ENFORCED")
    batch = pa.record_batch({**dict(zip("kn", rows(("a", 1)).columns, strict=True)), "v": pa.array([7], pa.int32())})
    w.write(batch, None)
    w.flush()
    w.close()
    assert list(database.c.find()) == [{"_id": {"k": "a", "n": 1}, "k": "a", "n": 1, "v": 7}]
    w = writer(database, "`_id` STRING, PRIMARY KEY (`_id`) NOT ENFORCED", collection="only")
    w.write(pa.record_batch({"_id": ["x", str(ID)]}), None)
    w.flush()
    w.close()
    assert sorted((d["_id"] for d in database.only.find()), key=str) == [ID, "x"]


def test_values_are_written_and_read_again(connection: Any, database: Any) -> None:
    columns = (
        "n SMALLINT, big BIGINT, d DECIMAL(10, 2), `at` TIMESTAMP(3), z TIMESTAMP_LTZ(3), `day` DATE, r ROW<x INT, s ARRAY<STRING>>, m MAP<STRING, DOUBLE>, "
        "raw BYTES"
    )
    connection.execute(declared("o", columns, "mongodb", options(database)))
    connection.execute(
        """INSERT INTO o VALUES (1, 2, 12.50, TIMESTAMP '2026-01-02 03:04:05.678', TO_TIMESTAMP_LTZ(1767323045678, 3), DATE '2026-01-02',
             ROW(7, ARRAY['a']), MAP['k', 0.5e0], x'0001'),
           (CAST(NULL AS SMALLINT), CAST(NULL AS BIGINT), CAST(NULL AS DECIMAL(10, 2)), CAST(NULL AS TIMESTAMP(3)), CAST(NULL AS TIMESTAMP_LTZ(3)),
            CAST(NULL AS DATE), CAST(NULL AS ROW<x INT, s ARRAY<STRING>>), CAST(NULL AS MAP<STRING, DOUBLE>), CAST(NULL AS BYTES))"""
    )
    (full,) = database.c.find({"n": 1})
    assert isinstance(full.pop("_id"), bson.ObjectId)
    assert full == {
        "n": 1, "big": 2, "d": bson.decimal128.Decimal128("12.50"), "at": NOW, "z": NOW, "day": dt.datetime(2026, 1, 2), "r": {"x": 7, "s": ["a"]}, "m": {"k": 0.5},
        "raw": b"\x00\x01",
    }  # fmt: skip
    assert both_ways(connection, "SELECT n, d, `at`, `day`, o.r.x, raw FROM o WHERE n = 1") == [
        (1, Decimal("12.50"), NOW, NOW.date(), 7, b"\x00\x01")
    ]
    assert both_ways(connection, "SELECT COUNT(*) FROM o WHERE n IS NULL AND r IS NULL AND m IS NULL") == [(1,)]


@pytest.mark.parametrize("key", ["", ", PRIMARY KEY (k) NOT ENFORCED"])
def test_rows_wait_for_one_another(database: Any, key: str) -> None:
    """Over the ends of epochs, not over a checkpoint, and until there are so many."""
    w = writer(
        database, f"k STRING, n BIGINT{key}", sink_buffer__flush_interval="1 h", sink_buffer__flush_max__rows="3"
    )
    w.write(rows(("a", 1), ("b", 2)), None)
    w.flush()
    assert list(database.c.find()) == []
    w.write(rows(("c", 3)), None)
    assert sorted(d["n"] for d in database.c.find()) == [1, 2, 3]
    w.write(rows(("d", 4)), None)
    w.flush()
    assert w.prepare(1) == [] and sorted(d["n"] for d in database.c.find()) == [1, 2, 3, 4]
    w.close()


def test_a_server_that_is_gone_is_asked_again(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    w = writer(database, "k STRING, n BIGINT", sink_buffer__flush_max__rows="2")
    errors, left = pymongo.errors, [2]
    write = type(w._writing.client.collection).bulk_write

    def failing(self: Any, *args: Any, **more: Any) -> Any:
        done = write(self, *args, **more)
        if left[0]:
            left[0] -= 1
            raise errors.AutoReconnect("connection closed")  # after it was done
        return done

    monkeypatch.setattr(type(w._writing.client.collection), "bulk_write", failing)
    w.write(rows(("a", 1), ("b", 2), ("c", 3)), None)
    w.flush()
    assert sorted(d["k"] for d in database.c.find()) == ["a", "b", "c"]
    left[0] = 9
    w.write(rows(("d", 4)), None)
    with pytest.raises(Unreachable, match="does not answer: connection closed"):
        w.flush()
    w.close()


def test_a_document_that_is_refused_is_named(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    w = writer(database, "k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED")

    def refusing(self: Any, *args: Any, **more: Any) -> Any:
        raise pymongo.errors.BulkWriteError(
            {"writeErrors": [{"errmsg": "Document failed validation", "op": {"q": {"_id": "a"}}}, {}]}
        )

    monkeypatch.setattr(type(w._writing.client.collection), "bulk_write", refusing)
    w.write(rows(("a", 1)), None)
    with pytest.raises(
        DataError, match=r"a document is refused, and 1 more: Document failed validation; it is {'_id': 'a'}"
    ):
        w.flush()
    w.close()


def test_what_is_wrong_is_told(connection: Any) -> None:
    for wrong, columns, message in (
        ({"uri": "localhost:27017"}, "n INT", "is not of the form mongodb://host:27017"),
        ({}, "`at` TIMESTAMP(6)", "MongoDB's dates have milliseconds"),
        ({}, "t TIME", "MongoDB has no TIME(0)"),
        ({}, "m MAP<INT, INT>", "the names of fields are texts"),
        ({"lookup.cache.ttl": "1 s"}, "n INT", "is for 'lookup.cache' = 'PARTIAL'"),
        ({"database": ""}, "n INT", "database"),
    ):
        given = {
            "uri": "mongodb://ann:very%20hidden@127.0.0.1:9/?serverSelectionTimeoutMS=50",
            "database": "d",
            "collection": "c",
            **wrong,
        }
        connection.execute("DROP TEMPORARY TABLE IF EXISTS t")
        connection.execute(declared("t", columns, "mongodb", given))
        said = error_of(connection, "SELECT * FROM t")
        assert message in said and "hidden" not in said, said
    connection.execute("DROP TEMPORARY TABLE IF EXISTS t")
    connection.execute(declared("t", "n INT", "mongodb", {**given, "database": "d", "uri": "mongodb://127.0.0.1:9/"}))


@pytest.mark.parametrize("name", ["a.b", "$set"])
def test_names_that_are_paths_or_operators_are_refused(connection: Any, database: Any, name: str) -> None:
    """An update would set a part of another field, and a scan would find NULL."""
    connection.execute(declared("t", f"k STRING, `{name}` INT", "mongodb", options(database)))
    assert "cannot be a field" in error_of(connection, "SELECT * FROM t")
    assert "cannot be a field" in error_of(connection, "INSERT INTO t VALUES ('a', 1)")


def test_the_page_is_as_shown(
    database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs/connectors/mongodb.md").read_text()
    (script,) = re.findall(r"^```sql\n(.*?)^```$", page, re.M | re.S)
    (shown,) = re.findall(r"^```\n(\+.*?)^```$", page, re.M | re.S)
    script = script.replace("'shop'", f"'{database.name}'").replace(
        "mongodb://localhost:27017", options(database)["uri"]
    )
    database.customers.insert_many([{"_id": 1, "name": "Ann", "city": {"name": "Bonn"}}, {"_id": 2, "name": "Bob"}])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.sql").write_text(script)
    assert main(["run", "page.sql"]) == 0
    assert capfd.readouterr().out.strip() == shown.strip()
