"""Connectors 'http', 'webhook', 'websocket', 'sse' and 'socket' against servers of the standard library. What must come is reasoned from
the standards of the web."""

from __future__ import annotations

import asyncio
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
from sqlstream.connectors.http.connector import HttpConnector
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
        connections.append((await ws.receive()).data)
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
