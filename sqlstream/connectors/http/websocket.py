"""Connector 'websocket': what comes over a WebSocket, a message a record. What is sent while nobody is connected is lost: at most once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urljoin

from sqlstream.connectors.http.client import (
    ENDING,
    REQUEST_OPTIONS,
    Request,
    check_url,
    request_of,
    same_host,
    shown,
)
from sqlstream.connectors.messages.arrays import Known, microseconds
from sqlstream.connectors.messages.clients import Backoff, Unreachable, library, tls_context
from sqlstream.connectors.messages.connector import FORMAT_OPTIONS, MessageConnector
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.loop import Loop, Patience
from sqlstream.connectors.messages.pushed import Client, Delivery, Inbox, PushedSource
from sqlstream.contracts import Source, TableContext
from sqlstream.errors import RunError, SqlStreamError
from sqlstream.options import Option
from sqlstream.secrets import learn
from sqlstream.types import timestamp_ltz

STEP = 0.05  # s between two looks at whether there is room

KNOWN: Known = {"received": (timestamp_ltz(3).null(False), lambda seconds: microseconds(seconds))}


@dataclass(frozen=True)
class Connecting:
    """`said`: what is sent when a connection is made; `heartbeat`: s between two pings; `largest`: bytes of a message."""

    url: str
    request: Request
    said: tuple[str, ...]
    heartbeat: float
    largest: int


class WebSocketSource(PushedSource):
    """Connects."""

    known = KNOWN

    def __init__(self, table: TableContext, connecting: Connecting, value: PartFormat, bad_records: str) -> None:
        super().__init__(table, value, bad_records)
        self.connecting, self.patience = connecting, Patience()

    def give_up(self) -> None:
        self.patience.give_up(ENDING)

    @property
    def where(self) -> str:
        return f"table {self.table.name}: {shown(self.connecting.url)}"

    def open(self, durable: bool) -> Client:
        return WebSocketClient(self)


class WebSocketClient(Client):
    """Connects again, after a rest, when the connection is lost."""

    def __init__(self, source: WebSocketSource) -> None:
        self.inbox, self._source, self._at = Inbox(), source, source.connecting
        self._aiohttp = library("aiohttp", "websocket", "http")
        self._loop = Loop("websocket")
        try:
            socket = source.patience.run(self._loop, self._connected())
        except BaseException:
            self.close()
            raise
        self._loop.begin(self._read(socket))

    async def _connected(self) -> Any:
        aiohttp, at, where = self._aiohttp, self._at, self._source.where
        context = at.request.tls()
        follows = aiohttp.TraceConfig()
        follows.on_request_redirect.append(self._redirected)
        headers = {"User-Agent": "sqlstream", **at.request.headers}
        self._session = aiohttp.ClientSession(headers=headers, trace_configs=[follows])
        try:
            async with asyncio.timeout(at.request.timeout):
                socket = await self._session.ws_connect(
                    at.url, heartbeat=at.heartbeat, max_msg_size=at.largest, ssl=True if context is None else context
                )
            for text in at.said:
                await socket.send_str(text)
        except aiohttp.WSServerHandshakeError as e:
            await self._session.close()
            hint = (
                "'token', 'username' and 'password', or a header of 'headers.*' say who asks"
                if e.status in (401, 403)
                else None
            )
            kind = Unreachable if e.status >= 500 or e.status == 429 else RunError
            raise kind(f"{where} answers {e.status}: {e.message}", hint=hint) from None
        except (aiohttp.ClientError, OSError) as e:
            await self._session.close()
            said = getattr(e, "strerror", None) or e or type(e).__name__
            raise Unreachable(
                f"{where} does not answer: {said}", hint="is a server there, and can it be reached from here?"
            ) from e
        except BaseException:  # it is refused, or canceled as the table is closed
            await self._session.close()
            raise
        return socket

    async def _redirected(self, session: Any, context: Any, said: Any) -> None:
        """Elsewhere on its host a connection is looked for, but on no other one: headers, and what is sent first, say who asks."""
        to = urljoin(str(said.response.url), said.response.headers.get("Location", ""))
        if not same_host(_over_http(self._at.url), _over_http(to)):
            raise RunError(
                f"{self._source.where} answers {said.response.status}: it is at {shown(to)}",
                hint="'url' must say where it is: who asks is told to no other host",
            )

    async def _read(self, socket: Any) -> None:
        backoff, where = Backoff(), self._source.where
        while True:
            if socket is not None:
                if await self._messages(socket):
                    backoff.succeeded()
                code = socket.close_code
                await self._session.close()
                if code == 1009:
                    self.inbox.fail(
                        RunError(
                            f"{where}: a message is longer than {self._at.largest:,} bytes",
                            hint="'max-message-size' says how long one may be",
                        )
                    )
                    return
                self._source.noted.reconnect(
                    f"warning: {where}: the connection is lost ({code}) and is made again; what was sent meanwhile is lost"
                )
            await asyncio.sleep(backoff.rest())
            try:
                socket = await self._connected()
            except Unreachable as e:
                socket = None
                self._source.noted.reconnect(f"warning: {e.message}; it is tried again")
            except SqlStreamError as e:
                self.inbox.fail(e)
                return

    async def _messages(self, socket: Any) -> bool:
        """Whether any came, until the connection was over."""
        kinds, came = self._aiohttp.WSMsgType, False
        async for message in socket:
            if message.type not in (kinds.TEXT, kinds.BINARY):
                continue
            while self.inbox.full:  # the server's buffers fill up meanwhile
                await asyncio.sleep(STEP)
            data = message.data.encode("utf-8", "surrogatepass") if message.type == kinds.TEXT else message.data
            self.inbox.put(Delivery(data, time.time()), waits=False)
            came = True
        return came

    def acknowledge(self, tags: Sequence[Any]) -> None:
        """There is nobody who remembers."""

    def close(self) -> None:
        async def closed() -> None:
            await self._session.close()

        with suppress(Exception):
            self._loop.run(closed(), 0.5)
        self._loop.close()


def _over_http(url: str) -> str:
    """Schemes ws and wss have the ports of these."""
    return f"http{url[2:]}" if url.startswith(("ws:", "wss:")) else url


class WebSocketConnector(MessageConnector):
    """`'connector' = 'websocket'`: for reading only."""

    name = "websocket"
    options = (
        Option("url", required=True, doc="ws://host/path or wss://host/path", compared="nothing"),
        Option("subscribe.message", doc="what is sent when a connection is made, to say what is wanted; with line ends between several", compared="nothing"),
        Option("heartbeat", "duration", 30_000_000, "how long until a server that says nothing is asked whether it is there", minimum=100_000, compared="nothing"),
        Option("max-message-size", "memory", 16 * 2**20, "a message may have so much; a longer one ends the job", minimum=1, compared="nothing"),
        *REQUEST_OPTIONS,
        *FORMAT_OPTIONS,
    )  # fmt: skip

    def known(self, table: TableContext) -> Known:
        return KNOWN

    def source(self, table: TableContext) -> Source:
        options, value, bad = self._read(table)
        secured = check_url(table.name, "url", options["url"], ("wss", "ws"))
        tls_context(table, options, secured)  # says now what is wrong with it
        request = request_of(table, options, partial(tls_context, table, options, secured))
        said = tuple(line for line in (options["subscribe.message"] or "").splitlines() if line.strip())
        for text in said:
            learn("subscribe.secret", text)
        connecting = Connecting(options["url"], request, said, options["heartbeat"] / 1e6, options["max-message-size"])
        return WebSocketSource(table, connecting, value, bad)
