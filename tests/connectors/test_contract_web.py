"""The contract of connectors (`sqlstream.testing.connectors`), kept by those of the web."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from harness.queues import until
from harness.servers.base import free_port
from harness.web import Answer, Asked, Web
from test_http import listening, post

from sqlstream.connectors.http.connector import HttpConnector
from sqlstream.connectors.http.sse import SseConnector
from sqlstream.connectors.http.webhook import WebhookConnector
from sqlstream.connectors.http.websocket import WebSocketConnector
from sqlstream.connectors.socket_stream import SocketConnector
from sqlstream.testing.connectors import DeliveryContract, Row, StreamContract

aiohttp_web = pytest.importorskip("aiohttp.web")
ASKED_NOBODY = {"credentials": "nobody asks for any"}


def message(row: Row) -> str:
    return json.dumps({"id": row[0], "name": row[1]})


class Refusing:
    @contextmanager
    def refused(self) -> Iterator[tuple[Mapping[str, str], str]]:
        with Web(lambda asked: Answer(401)) as web:
            url = web.url.replace("http", "ws") if self.connector is WebSocketConnector else web.url  # type: ignore[attr-defined]
            yield {"url": url, "format": "json", "token": "a wr0ng word"}, "wr0ng"


class OnWeb(Refusing):
    """A web server whose rows are in `there`, by their numbers."""

    @pytest.fixture(autouse=True)
    def web(self) -> Iterator[None]:
        self.there: list[Any] = []
        self._web = Web(self.answer)
        yield
        self._web.close()

    def server_stops(self) -> None:
        self._web.close()

    def server_starts(self) -> None:
        self._web = Web(self.answer, self._web.port)

    def answer(self, asked: Asked) -> Answer:
        raise AssertionError("OnWeb.answer is to be overridden")

    def put(self, rows: Sequence[Row]) -> None:
        self.there += [{"n": len(self.there) + k, "id": i, "name": name} for k, (i, name) in enumerate(rows)]

    def put_bad(self) -> str:
        self.there.append({"n": len(self.there), "id": "bad"})
        return f'{{"n": {len(self.there) - 1}, "id": "bad"}}'


class TestPolled(OnWeb, StreamContract):
    connector, tells = HttpConnector, frozenset({"bytes"})

    def made(self) -> Mapping[str, str]:
        self.there.clear()
        of = {"scan.interval": "20 ms", "scan.cursor.parameter": "since", "scan.cursor.field": "n"}
        return {"url": self._web.url, "format": "json", **of}

    def answer(self, asked: Asked) -> Answer:
        since = int(parse_qs(urlsplit(asked.path).query).get("since", ["-1"])[0])
        rows = [r for r in list(self.there) if r["n"] > since]
        return Answer(body=json.dumps(rows).encode(), headers={"Connection": "close"})


class TestSse(OnWeb, StreamContract):
    connector, tells = SseConnector, frozenset({"bytes"})

    def made(self) -> Mapping[str, str]:
        self.there.clear()
        return {"url": self._web.url, "format": "json"}

    def answer(self, asked: Asked) -> Answer:
        at = int(asked.headers.get("Last-Event-ID", "-1")) + 1
        rows = list(self.there)[at:]
        events = [f"id: {at + k}\ndata: {json.dumps(r)}\n\n".encode() for k, r in enumerate(rows)]
        return Answer(headers={"Content-Type": "text/event-stream"}, chunks=[b"retry: 10\n\n", *events])


class TestPosted(Refusing, DeliveryContract):
    connector, once = HttpConnector, False

    @pytest.fixture(autouse=True)
    def web(self) -> Iterator[None]:
        self.got: list[Row] = []
        self._web = Web(self.answer)
        yield
        self._web.close()

    def answer(self, asked: Asked) -> Answer:
        self.got += [(r["id"], r["name"]) for r in asked.json]
        return Answer(201, headers={"Connection": "close"})

    def server_stops(self) -> None:
        self._web.close()

    def server_starts(self) -> None:
        self._web = Web(self.answer, self._web.port)

    def made(self) -> Mapping[str, str]:
        return {"url": self._web.url, "format": "json"}

    def seen(self) -> Sequence[Row]:
        return list(self.got)


class TestWebhook(StreamContract):
    connector, keeps, once, tells = WebhookConnector, False, False, frozenset({"bytes"})
    settings = {"parallelism.default": "1"}
    unable: Mapping[str, str] = {
        "server": "it is one itself",
        "credentials": "it asks for them: test_http.py",
        "bad records": "they are refused: who sends them gets 400",
    }

    def made(self) -> Mapping[str, str]:
        self.port = free_port()
        return {"port": str(self.port), "format": "json"}

    def put(self, rows: Sequence[Row]) -> None:
        until(lambda: listening(self.port))
        for at in range(0, len(rows), 100):
            some = "[" + ",".join(map(message, rows[at : at + 100])) + "]"
            while post(f"http://127.0.0.1:{self.port}/", some.encode())[0] == 503:
                time.sleep(0.05)


class TestSocket(StreamContract):
    connector, keeps, once, tells = SocketConnector, False, False, frozenset({"bytes"})
    settings = {"parallelism.default": "1"}
    unable: Mapping[str, str] = ASKED_NOBODY

    @pytest.fixture(autouse=True)
    def peer(self) -> Iterator[None]:
        self.port, self.peers = free_port(), list[socket.socket]()
        self.server_starts()
        yield
        self.server_stops()

    def server_starts(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        try:
            while True:
                self.peers.append(self.listener.accept()[0])
        except OSError:
            return

    def server_stops(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for peer in self.peers:
            peer.close()
        self.peers.clear()
        self.thread.join()

    def made(self) -> Mapping[str, str]:
        return {"hostname": "127.0.0.1", "port": str(self.port), "format": "json"}

    def _listens(self) -> bool:
        """Whether somebody has connected last, and has not hung up."""
        try:
            return bool(self.peers and self.peers[-1].recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _send(self, text: str) -> None:
        until(self._listens)
        self.peers[-1].sendall(text.encode())

    def put(self, rows: Sequence[Row]) -> None:
        self._send("".join(message(r) + "\n" for r in rows))

    def put_bad(self) -> str:
        self._send("{bad\n")
        return "{bad"


class TestWebSocket(Refusing, StreamContract):
    connector, keeps, once, tells = WebSocketConnector, False, False, frozenset({"bytes"})
    settings = {"parallelism.default": "1"}

    @pytest.fixture(autouse=True)
    def peer(self) -> Iterator[None]:
        self.port, self.peers = free_port(), list[Any]()
        self.loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        thread.start()
        self.server_starts()
        yield
        self.server_stops()
        self.loop.call_soon_threadsafe(self.loop.stop)
        thread.join()
        self.loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    async def _serve(self, request: Any) -> Any:
        peer = aiohttp_web.WebSocketResponse()
        await peer.prepare(request)
        self.peers.append(peer)
        try:
            async for _ in peer:
                continue
        finally:
            self.peers.remove(peer)
        return peer

    def server_starts(self) -> None:
        async def begin() -> Any:
            application = aiohttp_web.Application()
            application.router.add_get("/", self._serve)
            runner = aiohttp_web.AppRunner(application, shutdown_timeout=0.1)
            await runner.setup()
            await aiohttp_web.TCPSite(runner, "127.0.0.1", self.port).start()
            return runner

        self.runner = self._do(begin())

    def server_stops(self) -> None:
        async def end() -> None:
            for peer in list(self.peers):
                await peer.close()
            await self.runner.cleanup()

        self._do(end())

    def made(self) -> Mapping[str, str]:
        return {"url": f"ws://127.0.0.1:{self.port}/", "format": "json"}

    def _send(self, texts: Sequence[str]) -> None:
        until(lambda: self.peers)

        async def sent() -> None:
            for text in texts:
                await self.peers[-1].send_str(text)

        self._do(sent())

    def put(self, rows: Sequence[Row]) -> None:
        self._send([message(r) for r in rows])

    def put_bad(self) -> str:
        self._send(["{bad"])
        return "{bad"
