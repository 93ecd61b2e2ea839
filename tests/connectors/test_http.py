"""Connectors 'http', 'webhook', 'websocket', 'sse' and 'socket' against servers of the standard library. What must come is reasoned from
the standards of the web."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import json
import signal
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import trustme
from harness.queues import Job, both_ways, declared, error_of, fetching, page_of, rows_of, until
from harness.servers.base import free_port
from harness.web import Answer, Asked, Web

import sqlstream
from sqlstream.connectors.http.bodies import messages_in
from sqlstream.connectors.http.client import passes, rest_of, same_host
from sqlstream.connectors.http.connector import HttpConnector
from sqlstream.connectors.http.polling import _order
from sqlstream.connectors.http.sse import Event, Events
from sqlstream.errors import DataError
from sqlstream.testing.connectors import SourceContract

aiohttp_web = pytest.importorskip("aiohttp.web")
JSON = {"format": "json"}


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        yield c


# ---- polled


def test_answers_are_rows(connection: Any) -> None:
    bodies = {
        "/array": b'[{"id": 1, "x": 12345678901234567.25}, {"id": 2}]', "/object": b'{"id": 3}', "/nested": b'{"data": {"items": [{"id": 4}]}}',
        "/empty": b"", "/null": b"null",
    }  # fmt: skip
    with Web(lambda asked: Answer(body=bodies[asked.path])) as web:
        for path, rows in (("/array", [1, 2]), ("/object", [3]), ("/nested", [4]), ("/empty", []), ("/null", [])):
            more = {"response_path": "data.items"} if path == "/nested" else {}
            connection.execute(
                declared(
                    path[1:] + "_",
                    "id BIGINT, x DECIMAL(20, 2)",
                    "http",
                    JSON,
                    url=web.url + path,
                    scan_bounded_mode="latest",
                    **more,
                )
            )
            assert both_ways(connection, f"SELECT id FROM {path[1:]}_") == [(i,) for i in rows]
        assert both_ways(connection, "SELECT x FROM array_ WHERE id = 1") == [(Decimal("12345678901234567.25"),)]


def test_lines_and_what_is_known_of_an_answer(connection: Any) -> None:
    with Web(
        lambda asked: Answer(body=b"1,a\r\n2,b\n\n", headers={"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"})
    ) as web:
        columns = "id BIGINT, n STRING, url STRING METADATA VIRTUAL, status INT METADATA VIRTUAL, m STRING METADATA FROM 'last-modified' VIRTUAL"
        connection.execute(
            declared(
                "t",
                columns,
                "http",
                {"format": "csv"},
                url=f"{web.url}/x?y=1",
                scan_bounded_mode="latest",
                token="the secret",
            )
        )
        known = (f"{web.url}/x?y=1", 200, "Mon, 01 Jan 2024 00:00:00 GMT")
        assert both_ways(connection, "SELECT * FROM t") == [(1, "a", *known), (2, "b", *known)]
        assert web.asked[0].headers["Authorization"] == "Bearer the secret"
        assert "the secret" not in connection.execute("SHOW CREATE TABLE t").fetchall()[0][0]


def test_pages_are_followed_and_no_other_host(connection: Any) -> None:
    def answer(asked: Asked) -> Answer:
        page = int(parse_qs(urlsplit(asked.path).query).get("page", ["0"])[0])
        link = {"Link": f'<{web.url}/x?page={page + 1}>; rel="next"'} if page < 2 else {}
        if asked.path.startswith("/away"):
            link = {"Link": '<http://127.0.0.2/>; rel="next"'}
        if asked.path.startswith("/body"):
            more = {"next": f"/body?page={page + 1}"} if page < 2 else {}
            return Answer(body={"rows": [{"id": page}], **more})
        return Answer(body=[{"id": page}], headers=link)

    with Web(answer) as web:
        for t, path, more in (
            ("t", "/x", {}),
            ("b", "/body", {"response_path": "rows", "scan_next__page_path": "next"}),
            ("a", "/away", {}),
        ):
            connection.execute(
                declared(t, "id BIGINT", "http", JSON, url=web.url + path, scan_bounded_mode="latest", **more)
            )
        assert both_ways(connection, "SELECT id FROM t") == [(0,), (1,), (2,)]
        assert both_ways(connection, "SELECT id FROM b") == [(0,), (1,), (2,)]
        assert "the next page is on another host" in error_of(connection, "SELECT id FROM a")


def test_a_cursor_says_what_is_known_and_a_tag_that_nothing_is_new(tmp_path: Path) -> None:
    """In checkpoints, too: a job that died goes on behind what a checkpoint has."""
    there = [{"id": i, "at": f"2024-01-{i + 1:02}"} for i in range(5)]

    def answer(asked: Asked) -> Answer:
        since = parse_qs(urlsplit(asked.path).query).get("since", [""])[0]
        rows = [r for r in there if str(r["at"]) > since]
        tag = f'"{len(there)}-{since}"'
        if asked.headers.get("If-None-Match") == tag:
            return Answer(304)
        return Answer(body=rows, headers={"ETag": tag})

    with Web(answer) as web:
        files = f"WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{tmp_path}/o')"
        job = Job(
            tmp_path,
            declared(
                "t",
                "id BIGINT",
                "http",
                JSON,
                url=f"{web.url}/x",
                scan_interval="50 ms",
                scan_cursor_parameter="since",
                scan_cursor_field="at",
            ),
            f"CREATE TABLE o (id BIGINT) {files}",
            "INSERT INTO o SELECT id FROM t",
            execution_checkpointing_interval="100ms",
        )
        assert job.run("after-publish:1") < 0
        there += [{"id": i, "at": f"2024-01-{i + 1:02}"} for i in range(5, 8)]

        def got() -> list[int]:
            return sorted(
                json.loads(x)["id"] for f in (tmp_path / "o").glob("part*") for x in f.read_text().splitlines()
            )

        with job.running() as process:
            until(lambda: len(got()) >= 8)
            time.sleep(0.3)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.wait(10)
            assert time.monotonic() - begun < 3
        assert got() == list(range(8))
        assert any(a.headers.get("If-None-Match") for a in web.asked)


def test_a_server_that_is_busy_is_asked_again(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[int] = []

    def answer(asked: Asked) -> Answer:
        said.append(1)
        if len(said) in (2, 3):
            return Answer(503, headers={"Retry-After": "0"})
        if len(said) == 4:
            raise ConnectionAbortedError
        return Answer(body=[{"id": len(said)}])

    with Web(answer) as web:
        connection.execute(declared("t", "id BIGINT", "http", JSON, url=web.url, scan_interval="10 ms"))
        rows = connection.execute("SELECT id FROM t LIMIT 2").fetchall()
    assert [r[-1] for r in rows] == [1, 5]


class TestPolled(SourceContract):
    connector, columns = HttpConnector, "a BIGINT, b STRING"

    @pytest.fixture(autouse=True)
    def served(self) -> Iterator[None]:
        rows = [{"a": i, "b": None if i % 3 else f"x{i}"} for i in range(7)]
        with Web(lambda asked: Answer(body=rows)) as web:
            self.options = {"url": web.url, "format": "json", "scan.bounded.mode": "latest"}
            yield


def test_certificates_are_looked_at(connection: Any, tmp_path: Path) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Web(lambda asked: Answer(body={"id": 1}), tls=tls) as web:
        of = {"url": web.url, "scan_bounded_mode": "latest"}
        connection.execute(declared("t", "id BIGINT", "http", JSON, **of, **{"tls.ca__file": "ca.pem"}))
        connection.execute(declared("w", "id BIGINT", "http", JSON, **of))
        connection.execute(declared("n", "id BIGINT", "http", JSON, **of, tls_verify="false"))
        connection.execute(declared("m", "id BIGINT", "http", JSON, **of, **{"tls.ca__file": "none.pem"}))
        assert both_ways(connection, "SELECT id FROM t") == both_ways(connection, "SELECT id FROM n") == [(1,)]
        assert "CERTIFICATE_VERIFY_FAILED" in error_of(connection, "SELECT id FROM w")
        assert "options 'tls.*': a file cannot be used" in error_of(connection, "SELECT id FROM m")


# ---- by key


def test_rows_of_keys_are_asked_for(connection: Any) -> None:
    users = {"a/b?": {"name": "Ann", "age": 30}, "b": {"name": "Bob"}}
    failed: set[str] = set()

    def answer(asked: Asked) -> Answer:
        key = asked.json["user"] if asked.method == "POST" else unquote(asked.path.removeprefix("/users/"))
        if key == "b" and key not in failed:
            failed.add(key)
            return Answer(500)
        return Answer(body=users[key]) if key in users else Answer(404)

    with Web(answer) as web:
        Path("src.csv").write_text("1,a/b?\n2,b\n3,c\n4,b\n")
        connection.execute("SET 'execution.runtime-mode' = 'streaming'")
        connection.execute(
            "CREATE TABLE src (id BIGINT, k STRING, now AS PROCTIME()) WITH ('connector' = 'filesystem', 'format' = 'csv', 'path' = 'src.csv')"
        )
        columns = "k STRING, name STRING, age INT"
        connection.execute(declared("g", columns, "http", JSON, url=web.url + "/users/{k}", lookup_cache="PARTIAL"))
        connection.execute(
            declared(
                "p", columns, "http", JSON, url=web.url + "/{k}", lookup_method="POST", lookup_body='{{"user": "{k}"}}'
            )
        )
        expected = [(1, "a/b?", "Ann", 30), (2, "b", "Bob", None), (3, None, None, None), (4, "b", "Bob", None)]
        for t in ("g", "p"):
            sql = f"SELECT id, u.k, name, age FROM src LEFT JOIN {t} FOR SYSTEM_TIME AS OF src.now AS u ON src.k = u.k"
            assert rows_of(connection.execute(sql)) == expected
        assert sum(a.path == "/users/b" for a in web.asked) == 2  # it is one key, and failed once
        assert "asked for the rows of keys" in error_of(connection, "SELECT * FROM g")


def test_a_lookup_join_in_a_batch_says_what_to_do(connection: Any) -> None:
    connection.execute(declared("u", "k STRING, n INT", "http", JSON, url="http://127.0.0.1:1/{k}"))
    connection.execute("SET 'execution.runtime-mode' = 'batch'")
    assert "runs as a stream only" in error_of(connection, "SELECT * FROM u")


# ---- written


def test_rows_are_sent_many_together_and_again(connection: Any) -> None:
    seen: list[Asked] = []

    def answer(asked: Asked) -> Answer:
        seen.append(asked)
        return Answer(503 if len(seen) == 2 else 201)

    with Web(answer) as web:
        connection.execute(
            declared(
                "o",
                "id BIGINT",
                "http",
                JSON,
                url=web.url,
                sink_batch_max__rows="2",
                **{"headers.X__Own": "the secret"},
            )
        )
        connection.execute("INSERT INTO o VALUES (1), (2), (3), (4), (5)")
        assert [a.json for a in seen] == [
            [{"id": 1}, {"id": 2}],
            [{"id": 3}, {"id": 4}],
            [{"id": 3}, {"id": 4}],
            [{"id": 5}],
        ]
        keys = [a.headers["Idempotency-Key"] for a in seen]
        assert keys[1] == keys[2] and len(set(keys)) == 3
        assert {a.headers["Content-Type"] for a in seen} == {"application/json"} and seen[0].headers[
            "X-Own"
        ] == "the secret"
        seen.clear()
        for t, kind, bodies in (("l", "lines", [b'{"id":1}\n{"id":2}\n']), ("r", "row", [b'{"id":1}', b'{"id":2}'])):
            connection.execute(declared(t, "id BIGINT", "http", JSON, url=web.url, sink_body=kind, sink_method="PUT"))
            seen[:] = [Asked("", "", {}, b"")] * 2
            connection.execute(f"INSERT INTO {t} VALUES (1), (2)")
            assert [a.body for a in seen[2:]] == bodies
        shown = connection.execute("SHOW CREATE TABLE o").fetchall()[0][0]
    assert "secret" not in shown


def test_what_is_refused_is_an_error(connection: Any) -> None:
    status = {"/no": 400, "/who": 401, "/busy": 503}
    with Web(lambda asked: Answer(status[asked.path.partition("?")[0]], b"because of it")) as web:
        for path, said in (
            ("/no?key=hidden", "/no answers 400: because of it"),
            ("/who", "'token', 'username' and 'password'"),
            ("/busy", "answers 503"),
        ):
            t = f"o{path[1:3]}"
            connection.execute(declared(t, "id BIGINT", "http", JSON, url=web.url + path, sink_max__retries="1"))
            found = error_of(connection, f"INSERT INTO {t} VALUES (1)")
            assert said in found and "hidden" not in found
    connection.execute(declared("gone", "id BIGINT", "http", JSON, url=web.url, scan_bounded_mode="latest"))
    assert f"{web.url} does not answer" in error_of(connection, "SELECT * FROM gone")


def test_mistakes_are_explained(connection: Any) -> None:
    def said(write: bool = False, **more: str) -> str:
        t = f"e{time.monotonic_ns()}"
        made = declared(
            t, "id BIGINT, x DOUBLE", "http", {}, **{"format": "json", "url": "http://127.0.0.1:1/", **more}
        )
        return error_of(connection, made, f"INSERT INTO {t} VALUES (1, 1)" if write else f"SELECT * FROM {t} LIMIT 1")

    assert "it is not of the form https://host/path" in said(url="127.0.0.1")
    assert "there is no column 'y'" in said(url="http://h/{y}")
    assert "column 'x' (DOUBLE) cannot stand in a question" in said(url="http://h/{x}")
    assert "option 'scan.interval' is for a table that is polled" in said(url="http://h/{id}", scan_interval="1 s")
    assert "option 'lookup.method' is for a table that is asked for keys" in said(lookup_method="POST")
    assert "'scan.cursor.parameter' and 'scan.cursor.field' go together" in said(scan_cursor_field="id")
    assert "requests with rows go to one URL" in said(True, url="http://h/{id}")
    assert "'token' and 'headers.Authorization' both say who asks" in said(token="x", headers_Authorization="y")


# ---- listened for


def post(url: str, body: bytes, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, body, {k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as got:
            return got.status, json.loads(got.read())
    except urllib.error.HTTPError as e:
        with e:
            return e.code, json.loads(e.read() or b"null")


def listening(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_a_request_is_answered_when_a_checkpoint_has_it(tmp_path: Path) -> None:
    """Who is not answered sends again, and so nothing is lost whenever the job dies."""
    port = free_port()
    files = f"WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{tmp_path}/o')"
    job = Job(
        tmp_path,
        declared(
            "t",
            "id BIGINT, path STRING METADATA VIRTUAL",
            "webhook",
            JSON,
            port=str(port),
            path="/in",
            token="the secret",
        ),
        f"CREATE TABLE o (id BIGINT) {files}",
        "INSERT INTO o SELECT id FROM t",
        execution_checkpointing_interval="100ms",
    )

    def sent(i: int) -> int:
        while True:
            try:
                return post(
                    f"http://127.0.0.1:{port}/in",
                    json.dumps([{"id": 2 * i}, {"id": 2 * i + 1}]).encode(),
                    Authorization="Bearer the secret",
                )[0]
            except (OSError, ValueError):
                time.sleep(0.05)

    with ThreadPoolExecutor(4) as pool:
        first = job.start("before-publish:3")
        until(lambda: listening(port))
        answered = [pool.submit(sent, i) for i in range(20)]
        first.communicate(timeout=30)
        assert first.returncode < 0
        with job.running():
            assert {a.result(30) for a in answered} == {200}
            assert post(f"http://127.0.0.1:{port}/in", b"[]", Authorization="Bearer wrong")[0] == 401
            assert post(f"http://127.0.0.1:{port}/in", b"{", Authorization="Bearer the secret")[0] == 400
    got = {json.loads(x)["id"] for f in (tmp_path / "o").glob("part*") for x in f.read_text().splitlines()}
    assert got == set(range(40))


def test_signed_requests_without_checkpoints(connection: Any) -> None:
    port = free_port()
    connection.execute(declared("t", "id BIGINT, q STRING METADATA FROM 'query' VIRTUAL, a STRING", "webhook", JSON, port=str(port), signature_secret="the secret",
                                max__body__size="1 kb"))  # fmt: skip
    found = fetching(connection, "SELECT id, q FROM t LIMIT 2")
    until(lambda: listening(port))
    body, url = b'[{"id": 1}, {"id": 2}]', f"http://127.0.0.1:{port}/?x=1"
    sign = hmac.new(b"the secret", body, hashlib.sha256).hexdigest()
    assert post(url, body, X_Hub_Signature_256="sha256=00")[0] == 401
    with pytest.raises((urllib.error.URLError, ValueError)) as large:
        assert post(url, b"x" * 2000)[0] == 413
        raise ValueError
    del large
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, url, body, X_Hub_Signature_256=f"sha256={sign}")
        assert [r[-2:] for r in found.result(30)] == [(1, "x=1"), (2, "x=1")]
        assert answer.result(20) == (200, {"rows": 2})


# ---- pushed


def test_a_websocket_is_read_and_connected_to_again(connection: Any) -> None:
    connections: list[str] = []
    port = free_port()

    async def serve(request: Any) -> Any:
        if request.headers.get("Authorization") != "Bearer the secret":
            return aiohttp_web.Response(status=401)
        ws = aiohttp_web.WebSocketResponse()
        await ws.prepare(request)
        if (said := (await ws.receive()).data) is None:  # the query has its rows, and closes the next connection
            return ws
        connections.append(said)
        n = len(connections)
        await ws.send_str(f'{{"id": {n}}}')
        await ws.send_bytes(f'{{"id": {10 * n}}}'.encode())
        await ws.close()
        return ws

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> Any:
        application = aiohttp_web.Application()
        application.router.add_get("/", serve)
        runner = aiohttp_web.AppRunner(application)
        await runner.setup()
        await aiohttp_web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
    try:
        more = {"url": f"ws://127.0.0.1:{port}/", "subscribe_message": '{"want": "all"}'}
        connection.execute(declared("t", "id BIGINT", "websocket", JSON, **more, token="the secret"))
        assert [r[-1] for r in connection.execute("SELECT id FROM t LIMIT 4").fetchall()] == [1, 10, 2, 20]
        assert set(connections) == {'{"want": "all"}'}
        connection.execute(declared("w", "id BIGINT", "websocket", JSON, **more))
        assert "answers 401" in error_of(connection, "SELECT id FROM w LIMIT 1")
        assert "want" not in connection.execute("SHOW CREATE TABLE t").fetchall()[0][0]
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_events_go_on_behind_the_last_id(connection: Any, tmp_path: Path) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.path == "/none":
            return Answer(body=b"x", headers={"Content-Type": "text/plain"})
        after = int(asked.headers.get("Last-Event-ID", "0"))
        events = [
            f'retry: 10\nid: {i}\nevent: {"odd" if i % 2 else "even"}\r\ndata: {{"id":\ndata:  {i}}}\r\n\r\n'.encode()
            for i in range(after + 1, after + 4)
        ]
        data = b": a comment\n\n" + b"".join(events)
        return Answer(
            headers={"Content-Type": "text/event-stream; charset=utf-8"},
            chunks=[data[i : i + 7] for i in range(0, len(data), 7)],
        )

    with Web(answer) as web:
        connection.execute(
            declared("t", "id BIGINT, event STRING METADATA, i STRING METADATA FROM 'id'", "sse", JSON, url=web.url)
        )
        rows = connection.execute("SELECT id, event, i FROM t LIMIT 7").fetchall()
        assert [r[-3:] for r in rows] == [(i, "odd" if i % 2 else "even", str(i)) for i in range(1, 8)]
        connection.execute(declared("o", "id BIGINT", "sse", JSON, url=web.url, event="odd"))
        assert [r[-1] for r in connection.execute("SELECT id FROM o LIMIT 3").fetchall()] == [1, 3, 5]
        connection.execute(declared("n", "id BIGINT", "sse", JSON, url=f"{web.url}/none"))
        assert "is text/plain and no stream of events" in error_of(connection, "SELECT id FROM n LIMIT 1")
        files = f"WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{tmp_path}/o')"
        job = Job(tmp_path, declared("t", "id BIGINT", "sse", JSON, url=web.url), f"CREATE TABLE o (id BIGINT) {files}", "INSERT INTO o SELECT id FROM t",
                  execution_checkpointing_interval="100ms")  # fmt: skip
        for _ in range(2):
            assert job.run("after-publish:2") < 0
        got = [json.loads(x)["id"] for f in sorted((tmp_path / "o").glob("part*")) for x in f.read_text().splitlines()]
        assert sorted(got) == list(range(1, len(got) + 1)) and len(got) > 3


def test_a_socket_is_read_and_connected_to_again(connection: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            for records in (b"1;2;", b"3;4"):
                peer, _ = server.accept()
                with peer:
                    peer.sendall(records)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        connection.execute(
            declared(
                "t",
                "id BIGINT",
                "socket",
                {"format": "csv"},
                hostname="127.0.0.1",
                port=str(port),
                byte__delimiter="59",
            )
        )
        assert [r[-1] for r in connection.execute("SELECT id FROM t LIMIT 4").fetchall()] == [1, 2, 3, 4]
        thread.join()
    connection.execute(declared("n", "id BIGINT", "socket", JSON, hostname="127.0.0.1", port="1"))
    assert "127.0.0.1:1 does not answer" in error_of(connection, "SELECT id FROM n LIMIT 1")


# ---- the edges of the web


def reading(connection: Any, url: str, columns: str = "id BIGINT", connector: str = "http", **more: str) -> str:
    """A table of its own, whose name is given."""
    name = f"t{time.monotonic_ns()}"
    bounded = {"scan_bounded_mode": "latest"} if connector == "http" else {}
    given = {} if "format" in more else JSON
    connection.execute(declared(name, columns, connector, given, url=url, **bounded, **more))
    return name


def test_rows_are_not_lost_where_the_server_says_that_it_is_elsewhere(connection: Any) -> None:
    """A POST that becomes a question, as clients have it for 301 and 302, is answered with 200 by whoever has that page, and the rows are
    nowhere. 307 and 308 keep it."""

    def answer(asked: Asked) -> Answer:
        status = int(asked.path[1:4])
        return Answer(status, headers={"Location": "/200?key=hidden"}) if status > 200 else Answer()

    with Web(answer) as web:
        for status in (301, 302):
            connection.execute(declared(f"o{status}", "id BIGINT", "http", JSON, url=f"{web.url}/{status}"))
            said = error_of(connection, f"INSERT INTO o{status} VALUES (1)")
            assert f"/{status} answers {status}: it is at {web.url}/200" in said and "hidden" not in said
        assert all(a.method == "POST" for a in web.asked) and len(web.asked) == 2
        for status in (307, 308):
            connection.execute(declared(f"o{status}", "id BIGINT", "http", JSON, url=f"{web.url}/{status}"))
            connection.execute(f"INSERT INTO o{status} VALUES (1)")
            assert (web.asked[-1].method, web.asked[-1].path, web.asked[-1].json) == (
                "POST",
                "/200?key=hidden",
                [{"id": 1}],
            )
        assert both_ways(connection, f"SELECT * FROM {reading(connection, f'{web.url}/301')}") == []


def test_who_asks_is_told_to_no_other_host(connection: Any) -> None:
    with Web(lambda asked: Answer(body=[{"id": 1}])) as other:
        with Web(lambda asked: Answer(302, headers={"Location": other.url})) as web:
            t = reading(connection, web.url, **{"headers.X__Api__Key": "the secret", "token": "the secret"})
            assert both_ways(connection, f"SELECT * FROM {t}") == [(1,)]
            connection.execute(declared("o", "id BIGINT", "http", JSON, url=web.url, sink_method="PUT"))
            assert "what is sent is not sent elsewhere" in error_of(connection, "INSERT INTO o VALUES (1)")
        assert len(other.asked) == 2 and all("secret" not in str(a.headers) for a in other.asked)
        assert all(a.headers["X-Api-Key"] == "the secret" for a in web.asked if a.method == "GET")
    with Web(lambda asked: Answer(302, headers={"Location": "/again"})) as web:
        assert "leads round in a circle" in error_of(connection, f"SELECT * FROM {reading(connection, web.url)}")


@pytest.mark.parametrize(
    "said, rest", [("3", 3.0), ("a, b", 0.0), ("²", 0.0), ("", 0.0), ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0)]
)
def test_how_long_a_server_wants_to_be_left_alone(said: str, rest: float) -> None:
    assert rest_of({"Retry-After": said}) == rest


def test_answers_that_another_try_may_not_have() -> None:
    assert [s for s in (400, 404, 408, 409, 425, 429, 500, 501, 502, 503, 504, 505, 507, 520, 529) if passes(s)] == [
        408, 409, 425, 429, 500, 502, 503, 504, 507, 520, 529,
    ]  # fmt: skip


def test_which_servers_are_the_same() -> None:
    assert (
        same_host("https://h/a", "https://h:443/b")
        and same_host("http://h/a", "https://h/a")
        and same_host("http://h:1/", "http://H:1/x")
    )
    for to in ("https://i/", "http://h/", "https://h:8443/", "ftp://h/", "https://h.example/"):
        assert not same_host("https://h/", to), to


def test_texts_of_other_charsets(connection: Any) -> None:
    bodies = {
        "/json": ('[{"s": "ü"}]'.encode("latin-1"), "application/json; charset=iso-8859-1"), "/utf16": ('[{"s": "ü"}]'.encode("utf-16"), "application/json"),
        "/marked": (b'\xef\xbb\xbf[{"s": "\xc3\xbc"}]', "application/json; charset=utf-8"),
        "/csv": ("ü\n".encode("latin-1"), "text/csv; charset=iso-8859-1"), "/markedcsv": ("\ufeffü\n".encode(), "text/csv"),
        "/none": (b"[]", "application/json; charset=nobodys"), "/bad": (b'[{"s": "\xff"}]', "application/json"),
    }  # fmt: skip
    with Web(lambda asked: Answer(body=bodies[asked.path][0], headers={"Content-Type": bodies[asked.path][1]})) as web:
        for path in ("/json", "/utf16", "/marked", "/csv", "/markedcsv"):
            t = reading(connection, web.url + path, "s STRING", format="csv" if "csv" in path else "json")
            assert both_ways(connection, f"SELECT * FROM {t}") == [("ü",)], path
        assert "nobody knows charset nobodys" in error_of(
            connection, f"SELECT * FROM {reading(connection, web.url + '/none')}"
        )
        assert "what came is no JSON" in error_of(connection, f"SELECT * FROM {reading(connection, web.url + '/bad')}")


def test_messages_are_what_stands_in_the_body() -> None:
    """Numbers keep their digits, inside of a value too, and line ends between values are none."""
    body = b' { "data" : {"x": [ {"a": 1.50, "b": {"c": 2.50}},\n {"a":\r\n 12345678901234567890123} , "t", null, [ ] ]} , "z": 0 }\n'
    assert messages_in(body, "json", ("data", "x"), "") == [
        b'{"a": 1.50, "b": {"c": 2.50}}', b'{"a":   12345678901234567890123}', b'"t"', b"null", b"[ ]",
    ]  # fmt: skip
    assert messages_in(body, "json", ("data", "x", "1", "a"), "") == [b"12345678901234567890123"]
    assert messages_in(body, "json", ("z",), "") == [b"0"]
    with pytest.raises(DataError, match="nothing at 'data.y'"):
        messages_in(body, "json", ("data", "y"), "")
    for wrong in (b"[1] 2", b"[1", b"{", b"[1 2]", b"\xff", b"[" * 100_000):
        with pytest.raises(DataError, match="is no JSON"):
            messages_in(wrong, "json", (), "")


def test_the_next_page_by_a_url_with_commas(connection: Any) -> None:
    def answer(asked: Asked) -> Answer:
        more = (
            {}
            if "ids=1,2" in asked.path
            else {"Link": '</x?a=b>; rel="prev", </x?ids=1,2>; title="a, b"; rel="NEXT last"'}
        )
        return Answer(body=[{"id": len(asked.path)}], headers=more)

    with Web(answer) as web:
        assert both_ways(connection, f"SELECT * FROM {reading(connection, web.url + '/x')}") == [
            (10,),
            (2,),
        ]


def test_the_greatest_of_values() -> None:
    """Ids of 19 digits are told from one another."""
    assert max([9007199254740992, 9007199254740993, "9007199254740992.5"], key=_order) == 9007199254740993
    assert max(["9", "10"], key=_order) == "10" and max(["2024-01-02", "2024-01-10", 5, "nan"], key=_order) == "nan"


def test_a_key_that_would_ask_for_something_else_has_no_row(connection: Any) -> None:
    with Web(lambda asked: Answer(body={"name": asked.path})) as web:
        Path("src.csv").write_text("..\n.\na..b\n%2e%2e\na+b&c=d#e é\n")
        connection.execute("SET 'execution.runtime-mode' = 'streaming'")
        connection.execute(
            "CREATE TABLE src (k STRING, now AS PROCTIME()) WITH ('connector' = 'filesystem', 'format' = 'csv', 'path' = 'src.csv')"
        )
        connection.execute(declared("u", "k STRING, name STRING", "http", JSON, url=web.url + "/users/{k}"))
        found = dict(
            rows_of(
                connection.execute(
                    "SELECT src.k, name FROM src LEFT JOIN u FOR SYSTEM_TIME AS OF src.now AS u ON src.k = u.k"
                )
            )
        )
    assert found.pop("..") is None and found.pop(".") is None
    assert {k: unquote(p.removeprefix("/users/")) for k, p in found.items()} == {
        k: k for k in ("a..b", "%2e%2e", "a+b&c=d#e é")
    }
    assert all(a.path.startswith("/users/") for a in web.asked)


def test_an_event_counts_when_it_is_whole() -> None:
    """As the HTML standard has it: its id is the last one behind the empty line, and what a lost connection leaves of it is none."""
    events = Events("1")
    assert [events.line(x) for x in ("id: 2", "data: half")] == [None, None] and events.last == "1"
    events.begin()
    assert events.line("data: whole") is None
    assert events.line("") == (Event("message", "1"), "whole")
    assert [events.line(x) for x in ("id: 3", "")] == [None, None] and events.last == "3"
    assert [events.line(x) for x in ("id: 4\0", "id", "retry: ²", "data", "")][-1] == (Event("message", ""), "")
    assert events.rest is None


def test_events_after_a_lost_connection_and_marked_and_many_at_once(connection: Any) -> None:
    kind = {"Content-Type": "text/event-stream"}

    def answer(asked: Asked) -> Answer:
        if asked.path == "/many":
            return Answer(headers=kind, chunks=[b"".join(b'data: {"id": %d}\n\n' % i for i in range(100))])
        if "Last-Event-ID" in asked.headers:
            return Answer(
                headers=kind, chunks=[f'id: 2\ndata: {{"id": {asked.headers["Last-Event-ID"]}2}}\n\n'.encode()]
            )
        return Answer(headers=kind, chunks=[b'\xef\xbb\xbfretry: 10\nid: 1\ndata: {"id": 1}\n\nid: 2\ndata: {"id":'])

    with Web(answer) as web:
        rows = connection.execute(f"SELECT id FROM {reading(connection, web.url, connector='sse')} LIMIT 2").fetchall()
        assert [r[-1] for r in rows] == [1, 12]
        t = reading(connection, f"{web.url}/many", connector="sse", max__message__size="100 bytes")
        assert len(connection.execute(f"SELECT id FROM {t} LIMIT 100").fetchall()) == 100
        t = reading(connection, f"{web.url}/many", connector="sse", max__message__size="5 bytes")
        assert "an event is longer than 5 bytes" in error_of(connection, f"SELECT id FROM {t} LIMIT 1")


@pytest.mark.parametrize("connector", ["http", "sse", "websocket"])
def test_a_server_that_says_nothing(connection: Any, connector: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        scheme = "ws" if connector == "websocket" else "http"
        t = reading(
            connection, f"{scheme}://127.0.0.1:{server.getsockname()[1]}", connector=connector, request_timeout="200 ms"
        )
        begun = time.monotonic()
        assert "does not answer" in error_of(connection, f"SELECT id FROM {t} LIMIT 1")
        assert time.monotonic() - begun < 10


def test_a_request_with_bytes_that_are_no_text(connection: Any) -> None:
    """Headers may have any bytes: they neither end the job nor let anybody in."""
    port = free_port()
    columns = "id BIGINT, h MAP<STRING, STRING> METADATA FROM 'headers' VIRTUAL"
    connection.execute(declared("t", columns, "webhook", JSON, port=str(port), token="the secret"))
    found = fetching(connection, "SELECT id, h['X-Odd'] FROM t LIMIT 1")
    until(lambda: listening(port))

    def asked(authorization: bytes, size: int = 9) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 10) as s:
            lines = [
                b"POST / HTTP/1.1",
                b"Host: h",
                b"Authorization: Bearer " + authorization,
                b"X-Odd: a\xffb",
                b"Content-Length: %d" % size,
            ]
            s.sendall(b"\r\n".join([*lines, b"", b'{"id": 1}']))
            return s.recv(1000).split(b"\r\n")[0]

    assert b" 401 " in asked(b"\xff\xfe")
    assert b" 401 " in asked(b"wrong", 10_000_000), "who may not ask is told so before all of it is there"
    assert b" 200 " in asked(b"the secret")
    assert found.result(20)[0][-2:] == (1, "a\ufffdb")
    for n, path in enumerate(("/a/{b}", "/a{", "/a?b")):
        connection.execute(declared(f"p{n}", "id BIGINT", "webhook", JSON, port=str(port), path=path))
        assert "is more than a path" in error_of(connection, f"SELECT * FROM p{n} LIMIT 1")


def test_who_hangs_up_at_once_is_left_alone_for_longer_each_time(connection: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        came: list[float] = []

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                came.append(time.monotonic())
                with peer:
                    if len(came) == 4:
                        peer.sendall(b'{"id": 1}\n')

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        connection.execute(
            declared("t", "id BIGINT", "socket", JSON, hostname="127.0.0.1", port=str(server.getsockname()[1]))
        )
        assert len(connection.execute("SELECT id FROM t LIMIT 1").fetchall()) == 1
        assert came[3] - came[0] > 0.69, "0.1 and 0.2 and 0.4 s"


# ---- servers that do not answer, answer elsewhere, or answer too much


@pytest.fixture
def hanging() -> Iterator[tuple[str, list[Any]]]:
    """The host and port of a server that takes connections and says nothing, and the connections."""
    peers: list[Any] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                peers.append(server.accept()[0])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.getsockname()[1]}", peers
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    for p in peers:
        p.close()


@pytest.mark.parametrize("what", ["http", "http in batch", "sse", "websocket", "lookup"])
def test_ctrl_c_does_not_wait_for_an_answer(tmp_path: Path, hanging: tuple[str, list[Any]], what: str) -> None:
    host, peers = hanging
    connector = what.split()[0]
    scheme = "ws" if what == "websocket" else "http"
    query, more = "SELECT id FROM t", {}
    if what == "http in batch":
        more = {"scan_bounded_mode": "latest"}
    url = f"{scheme}://{host}/"
    declarations = [declared("t", "id BIGINT", connector, JSON, url=url, **more)]
    if what == "lookup":
        given = declared("g", "id BIGINT, at AS PROCTIME()", "datagen", {}, rows__per__second="5")
        declarations = [given, declared("t", "id BIGINT, n STRING", "http", JSON, url=url + "{id}")]
        query = "SELECT n FROM g JOIN t FOR SYSTEM_TIME AS OF g.at ON g.id = t.id"
    mode = "batch" if "batch" in what else "streaming"
    job = Job(tmp_path, *declarations, query, execution_runtime__mode=mode)
    process = job.start()
    try:
        until(lambda: peers)
        time.sleep(0.2)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=20)
        assert time.monotonic() - begun < 2.5, said
        assert process.returncode == 130 and "error" not in said, said
    finally:
        process.kill()
        process.wait()


def test_rows_that_a_server_does_not_answer_are_not_lost_silently(
    tmp_path: Path, hanging: tuple[str, list[Any]]
) -> None:
    host, peers = hanging
    given = declared("g", "id BIGINT", "datagen", {}, rows__per__second="5")
    job = Job(
        tmp_path,
        given,
        declared("o", "id BIGINT", "http", JSON, url=f"http://{host}/"),
        "INSERT INTO o SELECT id FROM g",
    )
    process = job.start()
    try:
        until(lambda: peers)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=20)
        assert process.returncode == 1 and "did not answer in 5 s after the job was to end" in said, said
    finally:
        process.kill()
        process.wait()


def test_a_websocket_is_not_followed_to_another_host(connection: Any) -> None:
    with (
        Web(lambda asked: Answer(404)) as other,
        Web(lambda asked: Answer(302, headers={"Location": f"{other.url}/?key=hidden"})) as web,
    ):
        more = {"headers.X__Api__Key": "the secret", "token": "the secret", "connector": "websocket"}
        t = reading(connection, web.url.replace("http", "ws"), **more)
        said = error_of(connection, f"SELECT * FROM {t} LIMIT 1")
        assert f"answers 302: it is at {other.url}/" in said and "who asks is told to no other host" in said
        assert "hidden" not in said and other.asked == [] and web.asked[0].headers["X-Api-Key"] == "the secret"
    with Web(
        lambda asked: Answer(404) if asked.path == "/there" else Answer(302, headers={"Location": "/there"})
    ) as web:
        t = reading(connection, web.url.replace("http", "ws"), connector="websocket", token="the secret")
        assert "answers 404" in error_of(connection, f"SELECT * FROM {t} LIMIT 1")
        assert [a.headers["Authorization"] for a in web.asked] == ["Bearer the secret"] * 2


def test_an_answer_that_is_too_long(connection: Any) -> None:
    """Also where its length is not said, and where it is short until it is unpacked."""
    long = b"[" + b", ".join(b'{"id": 1}' for _ in range(1000)) + b"]"

    def answer(asked: Asked) -> Answer:
        if asked.path == "/packed":
            return Answer(body=gzip.compress(long), headers={"Content-Encoding": "gzip"})
        return Answer(chunks=[long[:5000], long[5000:]]) if asked.path == "/parts" else Answer(body=long)

    with Web(answer) as web:
        for path in ("/whole", "/parts", "/packed"):
            t = reading(connection, web.url + path, max__body__size="10000 bytes")
            said = error_of(connection, f"SELECT * FROM {t}")
            assert f"{web.url}{path}: an answer is longer than 10,000 bytes" in said and "'max-body-size'" in said
            t = reading(connection, web.url + path, max__body__size=f"{len(long)} bytes")
            assert len(connection.execute(f"SELECT * FROM {t}").fetchall()) == 1000
        more = {"url": web.url + "/{id}", "max__body__size": "10000 bytes"}
        connection.execute(declared("l", "id BIGINT, x BIGINT", "http", JSON, **more))
        connection.execute(declared("g", "id BIGINT, at AS PROCTIME()", "datagen", {"number-of-rows": "1"}))
        said = error_of(connection, "SELECT x FROM g JOIN l FOR SYSTEM_TIME AS OF g.at ON g.id = l.id")
        assert "an answer is longer than 10,000 bytes" in said


def test_the_page_is_as_shown(tmp_path: Path) -> None:
    prices = [{"id": 1, "product": "tea", "price": 2.5}, {"id": 2, "product": "milk", "price": 1.2}]
    names = {"tea": "Tea, green", "milk": "Milk"}

    def answer(asked: Asked) -> Answer:
        if asked.path == "/prices":
            return Answer(body={"items": prices})
        if asked.path.startswith("/products/"):
            return Answer(body={"name": names[asked.path.removeprefix("/products/")]})
        return Answer(201)

    with Web(answer) as web:
        out, shown = page_of("http", tmp_path, {"https://shop.example": web.url})
        assert out == shown
        assert [a.json for a in web.asked if a.path == "/labels"] == [
            [{"product": "tea", "label": "Tea, green: 2.50"}, {"product": "milk", "label": "Milk: 1.20"}]
        ]
