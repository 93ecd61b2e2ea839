"""Connectors 'opensearch' and 'elasticsearch-7' against a server that speaks their bulk protocol, and (-m slow) OpenSearch itself. What must come is what
their documentation says."""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from harness.bulk import Bulk
from harness.queues import ROOT, declared, error_of
from harness.servers import OpenSearch, wanted
from harness.web import Answer

import sqlstream
from sqlstream.batches import Kind
from sqlstream.connectors.messages.clients import Unreachable
from sqlstream.connectors.opensearch.connector import OpenSearchConnector
from sqlstream.connectors.opensearch.index import Index
from sqlstream.contracts import SinkTask
from sqlstream.errors import DataError, RunError
from sqlstream.testing.connectors import table
from sqlstream.types import BIGINT, DATE, STRING, Column, Schema, Type, timestamp, timestamp_ltz


@pytest.fixture
def server() -> Iterator[Bulk]:
    made = Bulk()
    yield made
    made.close()


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        c.execute("SET 'execution.runtime-mode' = 'streaming'")
        yield c


KEYED = "k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED"
QUICK = {"sink.bulk-flush.backoff.delay": "1 ms"}


def options(server: Bulk, **more: str) -> dict[str, str]:
    return {"hosts": server.url, "index": "totals", **QUICK, **more}


@pytest.mark.parametrize("name", ["opensearch", "elasticsearch-7"])
def test_rows_are_documents_of_their_keys(connection: Any, server: Bulk, name: str) -> None:
    server.documents = {"totals": {"a": {"n": 0, "other": "kept"}, "gone": {"n": 1}}}
    connection.execute(
        declared(
            "o",
            "k STRING, n BIGINT, `at` TIMESTAMP(3), r ROW<x INT>, PRIMARY KEY (k) NOT ENFORCED",
            name,
            options(server),
        )
    )
    connection.execute(
        """INSERT INTO o SELECT k, SUM(n), MAX(TIMESTAMP '2026-01-02 03:04:05'), CAST(NULL AS ROW<x INT>)
           FROM (VALUES ('a', 1), ('b"\\', 2), ('a', 3)) AS v (k, n) GROUP BY k"""
    )
    common = {"at": "2026-01-02 03:04:05", "r": None}
    assert server.documents["totals"] == {
        "a": {"k": "a", "n": 4, "other": "kept", **common}, "gone": {"n": 1}, 'b"\\': {"k": 'b"\\', "n": 2, **common},
    }  # fmt: skip


def writer(server: Bulk, columns: str = KEYED, **more: str) -> Any:
    given = {"sink.bulk-flush.interval": "0 s", **options(server)}
    given |= {k.replace("__", "-").replace("_", "."): v for k, v in more.items()}
    return OpenSearchConnector().sink(table(OpenSearchConnector(), columns, given)).writer(SinkTask("job", "run", 0))


def rows(*values: tuple[str, int]) -> pa.RecordBatch:
    return pa.record_batch({"k": [v[0] for v in values], "n": pa.array([v[1] for v in values], pa.int64())})


def test_rows_that_go_take_their_documents_along(server: Bulk) -> None:
    w = writer(server)
    w.write(rows(("a", 1), ("b", 2), ("c", 3)), None)
    w.flush()
    kinds = np.array([Kind.DELETE, Kind.UPDATE_AFTER, Kind.DELETE, Kind.INSERT], np.int8)
    w.write(rows(("a", 1), ("b", 5), ("none", 0), ("d", 4)), kinds)
    w.flush()
    w.close()
    assert server.documents["totals"] == {"b": {"k": "b", "n": 5}, "c": {"k": "c", "n": 3}, "d": {"k": "d", "n": 4}}
    assert server.sizes == [3, 2, 2]


def test_without_a_key_rows_are_documents_more(connection: Any, server: Bulk) -> None:
    connection.execute(declared("o", "d DATE, n BIGINT", "opensearch", options(server, index="logs-{d|yyyy.MM}")))
    connection.execute("INSERT INTO o VALUES (DATE '2026-01-31', 1), (DATE '2026-02-01', 2), (DATE '2026-02-01', 2)")
    assert {k: list(v.values()) for k, v in server.documents.items()} == {
        "logs-2026.01": [{"d": "2026-01-31", "n": 1}], "logs-2026.02": [{"d": "2026-02-01", "n": 2}, {"d": "2026-02-01", "n": 2}],
    }  # fmt: skip


def test_requests_have_bounds(server: Bulk) -> None:
    w = writer(server, "k STRING, n BIGINT", sink_bulk__flush_max__actions="4")
    w.write(rows(*(("x", i) for i in range(10))), None)
    w.close()
    assert server.sizes == [4, 4, 2]
    assert w.bytes_sent == sum(len(a.body) for a in server.web.asked)
    w = writer(server, sink_bulk__flush_max__size="300 b")
    w.write(rows(("a", 1), ("b", 2), ("c" * 500, 3), ("d", 4)), None)
    w.flush()
    w.close()
    assert server.sizes[3:] == [2, 1, 1]


def test_rows_wait_for_one_another(server: Bulk) -> None:
    """Over the ends of epochs, not over a checkpoint; '0' of a bound: any number."""
    given = {
        "sink_bulk__flush_interval": "1 h",
        "sink_bulk__flush_max__actions": "0",
        "sink_bulk__flush_max__size": "0",
    }
    for columns in (KEYED, "k STRING, n BIGINT"):
        w = writer(server, columns, **given)
        for n in range(1200):
            w.write(rows((str(n), n)), None)
        w.flush()
        assert server.sizes == []
        w.prepare(1)
        w.close()
        assert server.sizes == [1200]
        server.sizes.clear()


def test_what_was_refused_for_now_is_sent_again(server: Bulk) -> None:
    """A request that is answered 429 as a whole, one that is hung up on, and operations of which some are: those alone are sent again."""
    w = writer(server)
    tries = {"b": 2, "d": 1}

    def refuse(kind: str, of: dict[str, Any], document: Any) -> tuple[int, str] | None:
        if tries.get(of["_id"], 0):
            tries[of["_id"]] -= 1
            return 429, "rejected execution"
        return None

    server.refuse = refuse
    server.away = [Answer(429, b"slow down"), Answer(503)]
    w.write(rows(("a", 1), ("b", 2), ("c", 3), ("d", 4)), None)
    w.flush()
    w.close()
    assert server.sizes == [4, 2, 1]
    assert server.documents["totals"].keys() == {"a", "b", "c", "d"}
    server.refuse = lambda kind, of, document: (429, "rejected execution")
    w = writer(server, sink_bulk__flush_backoff_strategy="DISABLED")
    w.write(rows(("x", 1)), None)
    with pytest.raises(Unreachable, match="1 documents are not taken: some_exception: rejected execution"):
        w.flush()
    w.close()


def test_a_document_that_is_refused_for_good_is_named(server: Bulk) -> None:
    server.refuse = lambda kind, of, d: (400, "failed to parse field [n] of type [date]") if of["_id"] in "bc" else None
    w = writer(server)
    w.write(rows(("a", 1), ("b", 2), ("c", 3)), None)
    with pytest.raises(
        DataError, match=r"document 'b' of index totals, and 1 more: some_exception: failed to parse field \[n\]"
    ) as e:
        w.flush()
    assert "mapping" in str(e.value.hint)
    w.close()


def test_another_host_is_asked_where_one_is_gone(server: Bulk) -> None:
    w = writer(server, hosts=f"http://127.0.0.1:9; {server.url}/")
    w.write(rows(("a", 1)), None)
    w.flush()
    w.close()
    assert server.documents["totals"] == {"a": {"k": "a", "n": 1}}


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"errors": null}'])
def test_an_answer_that_says_nothing_of_documents_is_no_yes(server: Bulk, body: bytes) -> None:
    """Of a proxy, say: nobody has them."""
    w = writer(server)
    server.away = [Answer(200, body)]
    w.write(rows(("a", 1)), None)
    with pytest.raises(RunError, match="is it OpenSearch, or Elasticsearch"):
        w.flush()
    w.close()


def test_who_asks_and_what_stands_before_paths(server: Bulk) -> None:
    server.away = [Answer(401, b"Unauthorized")]
    with pytest.raises(Exception, match="answers 401: Unauthorized"):
        writer(server)
    w = writer(server, username="ann", password="very hidden", connection_path__prefix="/")
    w.close()
    assert server.web.asked[-1].headers["Authorization"] == "Basic YW5uOnZlcnkgaGlkZGVu"


@pytest.mark.parametrize(
    ("text", "t", "value", "name"),
    [
        ("logs-{c}", STRING, "x", "logs-x"),
        ("{c}-logs", BIGINT, 7, "7-logs"),
        ("logs-{c|yyyy-MM-dd}", DATE, dt.date(2026, 1, 2), "logs-2026-01-02"),
        ("logs-{c|yyyy'y'HHmmss}", timestamp(3), dt.datetime(2026, 1, 2, 3, 4, 5, 678000), "logs-2026y030405"),
        (
            "logs-{c|yyyy-MM-dd-HH}",
            timestamp_ltz(3),
            dt.datetime(2026, 1, 1, 23, 30, tzinfo=dt.UTC),
            "logs-2026-01-02-00",
        ),
        ("logs-{c|HH}", Type("TIME", 3), dt.time(7, 8), "logs-07"),
        ("logs-{c}", DATE, dt.date(2026, 1, 2), "logs-2026_01_02"),
        ("plain", STRING, "x", "plain"),
    ],
)
def test_names_of_indexes(text: str, t: Type, value: Any, name: str) -> None:
    index = Index.of(text, Schema((Column("c", t),)), "Europe/Berlin", "t")
    assert index.names(pa.record_batch({"c": pa.array([value, value], t.arrow())}), "t").to_pylist() == [name] * 2


def test_an_index_of_now() -> None:
    index = Index.of("logs-{now()|yyyy}", Schema((Column("c", STRING),)), "UTC", "t")
    assert index.names(pa.record_batch({"c": ["x"]}), "t").to_pylist() == [f"logs-{dt.datetime.now(dt.UTC).year}"]
    with pytest.raises(DataError, match="column c is NULL, and the index is named by it"):
        Index.of("{c}", Schema((Column("c", STRING),)), "UTC", "t").names(
            pa.record_batch({"c": pa.nulls(1, pa.string())}), "t"
        )


def test_what_is_wrong_is_told(connection: Any, server: Bulk) -> None:
    for wrong, columns, message in (
        ({"index": "logs-{day}"}, KEYED, "there is no column 'day'"),
        ({"index": "logs-{n|yyyy}"}, "n BIGINT", "column 'n' is BIGINT, which is not written as 'yyyy'"),
        ({"index": "logs-{d|QQ}"}, "d DATE", "'QQ' has the letters QQ"),
        ({"index": "logs-{n}"}, KEYED, "has n, which is not in the PRIMARY KEY"),
        ({"hosts": "localhost:9200"}, KEYED, "it is not of the form http://host/path"),
        ({"hosts": "http://a;https://b"}, KEYED, "option 'hosts' has http and https"),
        ({"format": "csv"}, KEYED, "documents are JSON"),
        ({"username": "ann"}, KEYED, "options 'username' and 'password' go together"),
        ({}, "d DOUBLE, PRIMARY KEY (d) NOT ENFORCED", "column 'd' (DOUBLE) cannot stand in the id of a document"),
        ({"hosts": "http://127.0.0.1:9", "sink.bulk-flush.backoff.strategy": "DISABLED"}, KEYED, "does not answer"),
    ):  # fmt: skip
        connection.execute("DROP TEMPORARY TABLE IF EXISTS w")
        connection.execute("DROP TEMPORARY VIEW IF EXISTS v")
        connection.execute(declared("w", columns, "opensearch", {**options(server), **wrong}))
        names = [c.split()[0] for c in columns.split(", ") if not c.startswith("PRIMARY")]
        types = {
            "k": "'a'",
            "n": "CAST(1 AS BIGINT)",
            "d": "DATE '2026-01-01'" if "DATE" in columns else "CAST(1 AS DOUBLE)",
        }
        said = error_of(connection, f"INSERT INTO w SELECT {', '.join(types[n] for n in names)}")
        assert message in said, said
    assert "cannot be read from" in error_of(connection, "SELECT * FROM w")


def test_the_page_is_as_shown(server: Bulk, tmp_path: Path) -> None:
    page = (ROOT / "docs/connectors/opensearch.md").read_text()
    script = (
        "\n".join(re.findall(r"```sql\n(.*?)```", page, re.S))
        .replace("https://localhost:9200", server.url)
        .replace("'tls.ca-file' = 'ca.pem',", "")
    )
    (tmp_path / "page.sql").write_text(script)
    done = subprocess.run(
        [sys.executable, "-m", "sqlstream", "run", "page.sql"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    shown = [json.loads(x) for x in re.findall(r"^(\{.*\})$", page, re.M)]
    found = [
        {"_index": i, "_id": n, "_source": d}
        for i, of in sorted(server.documents.items())
        for n, d in sorted(of.items())
    ]
    assert found == shown


# ---- OpenSearch itself


@pytest.mark.slow
def test_opensearch_itself_takes_what_is_sent() -> None:
    """Upserts, deletions, documents more, an index that a day names, and a document that the mapping refuses."""
    wanted(OpenSearch)
    with OpenSearch() as real:

        def asked(method: str, path: str, body: Any = None) -> Any:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(real.url + path, data, {"Content-Type": "application/json"}, method=method)
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)

        server: Any = SimpleNamespace(url=real.url)
        w = writer(server)
        w.write(rows(("a", 1), ('b"\\', 2), ("c", 3)), None)
        w.flush()
        asked("POST", "/totals/_update/a", {"doc": {"other": "kept"}})
        kinds = np.array([Kind.UPDATE_AFTER, Kind.DELETE, Kind.DELETE], np.int8)
        w.write(rows(("a", 5), ("c", 3), ("none", 0)), kinds)
        w.flush()
        w.close()
        asked("POST", "/totals/_refresh")
        hits = asked("GET", "/totals/_search")["hits"]["hits"]
        found = {h["_id"]: h["_source"] for h in hits}
        assert found == {"a": {"k": "a", "n": 5, "other": "kept"}, 'b"\\': {"k": 'b"\\', "n": 2}}
        w = writer(server, "d DATE, n BIGINT", index="logs-{d|yyyy.MM}", sink_bulk__flush_max__actions="3")
        days = [dt.date(2026, 1, 31), *[dt.date(2026, 2, 1)] * 7]
        w.write(pa.record_batch({"d": pa.array(days), "n": pa.array(range(8), pa.int64())}), None)
        w.flush()
        w.close()
        asked("POST", "/logs-*/_refresh")
        assert [asked("GET", f"/logs-2026.0{m}/_count")["count"] for m in (1, 2)] == [1, 7]
        asked("PUT", "/strict", {"mappings": {"properties": {"n": {"type": "date", "format": "yyyy-MM-dd"}}}})
        w = writer(server, index="strict")
        w.write(rows(("a", 1)), None)
        with pytest.raises(
            DataError, match=r"document 'a' of index strict: mapper_parsing_exception: failed to parse field \[n\]"
        ):
            w.flush()
        w.close()
