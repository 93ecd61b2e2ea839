"""Connector 'webhook': requests that others make are rows. A request is answered when its rows are safe: when a checkpoint that has them
is complete, or, if the job takes none, when they were taken. Who does not get that answer sends again: at least once."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlstream.connectors.http.bodies import kind_of, messages_in
from sqlstream.connectors.messages.arrays import Known, microseconds
from sqlstream.connectors.messages.clients import library, path_of, tls_context
from sqlstream.connectors.messages.connector import FORMAT_OPTIONS, MessageConnector
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.loop import Loop
from sqlstream.connectors.messages.pushed import Client, Delivery, Inbox, PushedSource
from sqlstream.contracts import Source, TableContext
from sqlstream.errors import DataError, OptionError, RunError
from sqlstream.options import Option
from sqlstream.types import STRING, map_of, timestamp_ltz

RECEIVED, CHECKPOINT = "received", "checkpoint"

KNOWN: Known = {
    "path": (STRING.null(False), lambda r: r.path),
    "query": (STRING.null(False), lambda r: r.query),
    "remote": (STRING, lambda r: r.remote),
    "headers": (map_of(STRING.null(False), STRING).null(False), lambda r: r.headers),
    "received": (timestamp_ltz(3).null(False), lambda r: microseconds(r.received)),
}


@dataclass(frozen=True, slots=True)
class _Request:
    path: str
    query: str
    remote: str | None
    headers: list[tuple[str, str]]
    received: float


@dataclass(frozen=True)
class Listening:
    """Where, and who may send: with a `token`, or with the signature (HMAC-SHA256) of `secret` in header `signature`. `kind`: of bodies;
    `patience`: s that a checkpoint may take until a request is told to come again."""

    host: str
    port: int
    path: str
    token: str | None
    secret: str | None
    signature: str
    kind: str
    field: tuple[str, ...]
    largest: int
    acknowledge: str
    patience: float
    tls: tuple[str, str | None, str | None] | None


class WebhookSource(PushedSource):
    """Listens."""

    known = KNOWN

    def __init__(self, table: TableContext, listening: Listening, value: PartFormat, bad_records: str) -> None:
        super().__init__(table, value, bad_records)
        self.listening = listening

    @property
    def where(self) -> str:
        return f"table {self.table.name}: port {self.listening.port}"

    def open(self, durable: bool) -> Client:
        return Listener(self)


class Listener(Client):
    """A tag is the answer that waits for it: of the last message of a request."""

    def __init__(self, source: WebhookSource) -> None:
        self.inbox, self._source, self._at = Inbox(), source, source.listening
        self._web = library("aiohttp.web", "webhook", "http")
        self._loop = Loop("webhook")
        try:
            self._runner: Any = self._loop.run(self._begun(), 10.0)
        except OSError as e:
            self._loop.close()
            raise RunError(
                f"{source.where} of {self._at.host} cannot be listened on: {e.strerror or e}",
                hint="another program has it, or it is not ours to have",
            ) from e

    async def _begun(self) -> Any:
        application = self._web.Application(client_max_size=self._at.largest)
        application.router.add_post(self._at.path, self._on_request)
        runner = self._web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        context = None
        if self._at.tls is not None:
            certificate, key, word = self._at.tls
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate, key, word)
        await self._web.TCPSite(runner, self._at.host, self._at.port, ssl_context=context).start()
        return runner

    async def _on_request(self, request: Any) -> Any:
        at, answer = self._at, self._web.json_response
        if not self._may_ask(request):  # before its body is taken
            return answer({"error": "who are you?"}, status=401)
        body = await request.read()
        if not self._signed(request, body):
            return answer({"error": "who are you?"}, status=401)
        if self.inbox.full:
            return answer({"error": "busy"}, status=503, headers={"Retry-After": "1"})
        try:
            found = messages_in(body, at.kind, at.field, self._source.where, request.charset)
        except DataError as e:
            return answer({"error": e.message.removeprefix(f"{self._source.where}: ")}, status=400)
        if not found:
            return answer({"rows": 0})
        message = _Request(
            request.path, request.query_string, request.remote, [(k, _text(v)) for k, v in request.headers.items()], time.time()
        )  # fmt: skip
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for i, value in enumerate(found):
            tag = done if i == len(found) - 1 else None
            # there was room before: that one request may go beyond it keeps the loop from waiting
            self.inbox.put(Delivery(value, message, tag), waits=False)
        if at.acknowledge == RECEIVED:
            return answer({"rows": len(found)}, status=202)
        try:
            await asyncio.wait_for(done, at.patience)
        except TimeoutError:
            return answer({"error": "no checkpoint was complete in time"}, status=503, headers={"Retry-After": "5"})
        return answer({"rows": len(found)})

    def _may_ask(self, request: Any) -> bool:
        if self._at.token is None:
            return True
        said = _text(request.headers.get("Authorization", "")).removeprefix("Bearer ")
        return hmac.compare_digest(said.encode(), self._at.token.encode())

    def _signed(self, request: Any, body: bytes) -> bool:
        if self._at.secret is None:
            return True
        want = hmac.new(self._at.secret.encode(), body, hashlib.sha256).hexdigest()
        said = _text(request.headers.get(self._at.signature, "")).rpartition("=")[2].strip().lower()
        return hmac.compare_digest(said.encode(), want.encode())

    def acknowledge(self, tags: Sequence[Any]) -> None:
        def answered() -> None:
            for done in tags:
                if done is not None and not done.done():
                    done.set_result(None)

        self._loop.call(answered)

    def close(self) -> None:
        async def closed() -> None:
            await self._runner.cleanup()

        try:
            self._loop.run(closed(), 0.7)
        except TimeoutError:
            self._loop.close()
            return
        self._loop.close()


def _text(header: str) -> str:
    """Without what is no UTF-8, for which aiohttp has surrogates."""
    return header.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class WebhookConnector(MessageConnector):
    """`'connector' = 'webhook'`: for reading only."""

    name = "webhook"
    options = (
        Option("port", "int", required=True, doc="that is listened on", minimum=1, maximum=65_535, compared="nothing"),
        Option("host", "string", "127.0.0.1", "the address that is listened on: 0.0.0.0 is reached from other machines", compared="nothing"),
        Option("path", "string", "/", "of requests (POST)", compared="nothing"),
        Option("response.path", doc="where the rows stand in a body of JSON: data.items"),
        Option("acknowledge", "enum", CHECKPOINT,
               "when a request is answered: with 200, when a checkpoint that has its rows is complete, or, in a job without checkpoints, when they "
               "were taken: at least once; or with 202, as soon as it is received: at most once", (CHECKPOINT, RECEIVED), compared="nothing"),
        Option("acknowledge.timeout", "duration", 60_000_000, "after what time without a checkpoint a request is answered with 503, to come again; its rows "
               "come twice then", minimum=1000, compared="nothing"),
        Option("token", doc="what requests have to have in the header Authorization, behind Bearer", compared="nothing"),
        Option("signature.secret", doc="what requests have to be signed with (HMAC-SHA256 of the body)", compared="nothing"),
        Option("signature.header", "string", "X-Hub-Signature-256", "the header that has the signature, in hexadecimal, maybe behind sha256=", compared="nothing"),
        Option("max-body-size", "memory", 16 * 2**20, "a request may have so much; others are refused with 413", minimum=1, compared="nothing"),
        Option("tls.certificate-file", "path", doc="the server's certificate, as PEM; without it there is no TLS", compared="nothing"),
        Option("tls.key-file", "path", doc="the key of that certificate, as PEM", compared="nothing"),
        Option("tls.key-password", doc="what that key is encrypted with", compared="nothing"),
        *FORMAT_OPTIONS,
    )  # fmt: skip

    def known(self, table: TableContext) -> Known:
        return KNOWN

    def source(self, table: TableContext) -> Source:
        options, value, bad = self._read(table)
        library("aiohttp.web", "webhook", "http")
        if not options["path"].startswith("/"):
            raise OptionError(
                f"table {table.name}: option 'path' = '{options['path']}' does not begin with /", subject="path"
            )
        if any(c in options["path"] for c in "{}?#"):
            raise OptionError(
                f"table {table.name}: option 'path' = '{options['path']}' is more than a path",
                hint="requests to this very path are taken, whatever their query: METADATA 'query' has it",
                subject="path",
            )
        tls = None
        if options["tls.certificate-file"] is not None:
            more = {"tls.ca-file": None, "tls.verify": True}
            tls_context(table, {**options, **more}, True)  # says now what is wrong with it
            files = [path_of(table, options[k]) for k in ("tls.certificate-file", "tls.key-file")]
            tls = (files[0] or "", files[1], options["tls.key-password"])
        listening = Listening(
            options["host"], options["port"], options["path"], options["token"], options["signature.secret"],
            options["signature.header"], kind_of(value.format.name),
            tuple(p for p in (options["response.path"] or "").split(".") if p), options["max-body-size"], options["acknowledge"],
            options["acknowledge.timeout"] / 1e6, tls,
        )  # fmt: skip
        return WebhookSource(table, listening, value, bad)
