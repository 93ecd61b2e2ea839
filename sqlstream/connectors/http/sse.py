"""Connector 'sse': Server-Sent Events, an event a record. Events with ids are positions: a server that keeps some goes on behind the last
one (Last-Event-ID), so that each is a row once as far as it does; of a server without ids what is sent meanwhile is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlstream.connectors.http.client import (
    ENDING,
    LET_NOBODY_IN,
    REQUEST_OPTIONS,
    Busy,
    Refused,
    Request,
    Web,
    check_url,
    passes,
    request_of,
    rest_of,
)
from sqlstream.connectors.messages.arrays import Known, messages_of, wanted
from sqlstream.connectors.messages.clients import Backoff, Unreachable, library, tls_context
from sqlstream.connectors.messages.connector import FORMAT_OPTIONS, MessageConnector
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.loop import Patience
from sqlstream.connectors.messages.messages import Messages
from sqlstream.connectors.messages.pushed import Delivery, Inbox
from sqlstream.connectors.messages.reader import WAIT, Feed, MessageReader
from sqlstream.connectors.messages.source import MessageSource
from sqlstream.contracts import ScanRequest, Source, Split, SplitReader, TableContext
from sqlstream.errors import Canceled, DataError, SqlStreamError
from sqlstream.options import Option
from sqlstream.types import STRING

STEP = 0.05  # s between two looks at whether there is room


@dataclass(frozen=True, slots=True)
class Event:
    """`id`: the last one that was said, with this event or before it."""

    name: str
    id: str | None


KNOWN: Known = {
    "event": (STRING.null(False), lambda e: e.name),
    "id": (STRING, lambda e: e.id),
}


class Events:
    """Lines of the stream to events, as the HTML standard has it. `last`: the id of the last event that is whole; `rest`: s that the server
    wants between two connections, if it has said so; `size`: characters of the event that has begun."""

    def __init__(self, last: str | None = None) -> None:
        self.last = last
        self.rest: float | None = None
        self.begin()

    def begin(self) -> None:
        """A connection: what the one before has left of an event is none."""
        self._id = self.last
        self._next()

    def _next(self) -> None:
        self._name, self._data, self.size = "", list[str](), 0

    def line(self, line: str) -> tuple[Event, str] | None:
        """An event and its data, where the line ends one."""
        if not line:
            name, data, self.last = self._name, self._data, self._id
            self._next()
            return (Event(name or "message", self.last), "\n".join(data)) if data else None
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
            self.size += len(value)
        elif field == "event":
            self._name = value
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdecimal():
            self.rest = int(value) / 1000
        return None


class SseSource(MessageSource):
    """One split, without an end. `events`: the names of those that are read; (): all. A position is {"id": the last one, "offset": how many
    events were taken}."""

    bounded = False

    def __init__(
        self,
        table: TableContext,
        url: str,
        request: Request,
        events: tuple[str, ...],
        largest: int,
        value: PartFormat,
        bad_records: str,
    ) -> None:
        super().__init__(table, value, bad_records)
        self.url, self.request, self.events, self.largest = url, request, events, largest
        self.patience = Patience()

    def give_up(self) -> None:
        self.patience.give_up(ENDING)

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        return f"table {self.table.name}: events come once"

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        feed = SseFeed(self, position or {}, wanted(request))
        decoder = self.decoder(request, feed.where)
        return MessageReader(feed, decoder, position, first_row)


class SseFeed(Feed):
    """Reads on the loop, and asks again when the connection is lost."""

    def __init__(self, source: SseSource, position: Mapping[str, Any], keys: Sequence[str]) -> None:
        self._source, self._keys = source, keys
        self._inbox = Inbox()
        self._last: str | None = position.get("id")
        self._next = int(position.get("offset", 0))
        self._web = Web(source.request)
        self.where = self._web.where(source.url)
        self._begun = threading.Event()
        self._error: SqlStreamError | None = None
        self._web.loop.begin(self._read())
        until = time.monotonic() + source.request.timeout + 1
        while not self._begun.wait(STEP) and time.monotonic() < until and self._error is None:
            if source.patience.over:
                self._error = Canceled("the answer is not waited for")
        if self._error is not None:
            self.close()
            raise self._error

    @property
    def following(self) -> dict[str, Any]:
        return {"offset": self._next} | ({} if self._last is None else {"id": self._last})

    async def _read(self) -> None:
        events, backoff = Events(self._last), Backoff(0.5)
        while True:
            try:
                await self._connection(events, backoff)
            except Unreachable as e:
                if not self._begun.is_set():
                    self._error = self._error or e  # it was given up, and this is what came of that
                    self._begun.set()
                    return
                self._source.noted.reconnect(f"warning: {e.message}; it is asked again")
                rest = max(backoff.rest(), e.rest)
                await asyncio.sleep(max(rest, events.rest or 0.0))
            except SqlStreamError as e:
                self._error = self._error or e
                self._begun.set()
                self._inbox.fail(e)
                return

    async def _connection(self, events: Events, backoff: Backoff) -> None:
        web, aiohttp, where = self._web, self._web.aiohttp, self.where
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        events.begin()
        if events.last:
            headers["Last-Event-ID"] = events.last
        seconds = self._source.request.timeout
        try:
            async with asyncio.timeout(seconds):
                opened = await web.opened("GET", self._source.url, None, headers)
        except TimeoutError as e:
            raise Unreachable(f"{where} does not answer in {seconds:g} s") from e
        except (aiohttp.ClientError, OSError) as e:
            raise self._gone(e) from e
        try:
            async with opened as got:
                if got.status != 200:
                    said = f"{where} answers {got.status}"
                    if passes(got.status):
                        raise Busy(said, rest_of(got.headers))
                    hint = "'token', 'username' and 'password', or a header of 'headers.*' say who asks"
                    raise Refused(said, got.status, hint if got.status in LET_NOBODY_IN else None)
                if got.content_type != "text/event-stream":
                    raise DataError(
                        f"{where}: what comes is {got.content_type} and no stream of events",
                        hint="connector 'http' asks now and then",
                    )
                backoff.succeeded()
                self._begun.set()
                await self._lines(got.content, events)
        except (aiohttp.ClientError, OSError) as e:
            raise self._gone(e) from e
        raise Unreachable(f"{where}: the connection is over")

    def _gone(self, e: Exception) -> Unreachable:
        said = str(getattr(e, "strerror", None) or e or type(e).__name__)
        return Unreachable(
            f"{self.where} does not answer: {said}", hint="is a server there, and can it be reached from here?"
        )

    async def _lines(self, content: Any, events: Events) -> None:
        left, begun = bytearray(), False
        async for data in content.iter_any():
            left += data
            held = b"\r" if left.endswith(b"\r") else b""  # half of a line end, maybe
            *lines, rest = bytes(left).removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            left = bytearray(rest + held)
            for line in lines:
                line, begun = line if begun else line.removeprefix(b"\xef\xbb\xbf"), True
                found = events.line(line.decode("utf-8", "replace"))
                if events.size > self._source.largest:
                    raise self._long()
                if found is None or self._source.events and found[0].name not in self._source.events:
                    continue
                while self._inbox.full:
                    await asyncio.sleep(STEP)
                self._inbox.put(Delivery(found[1].encode(), found[0]), waits=False)
            if len(left) + events.size > self._source.largest:
                raise self._long()

    def _long(self) -> DataError:
        return DataError(
            f"{self.where}: an event is longer than {self._source.largest:,} bytes",
            hint="'max-message-size' says how long one may be",
        )

    def take(self) -> Messages | None:
        found = self._inbox.take(WAIT)
        if not found:
            return None
        before, first = self._last, self._next
        self._next += len(found)
        marks: list[dict[str, Any]] = []
        for i, d in enumerate(found):
            marks.append({"offset": first + i} | ({} if before is None else {"id": before}))
            before = d.message.id
        self._last = before
        return messages_of(
            [d.message for d in found], [d.value for d in found], range(first, self._next), self._keys, KNOWN, marks
        )

    def close(self) -> None:
        self._inbox.close()
        self._web.close()


class SseConnector(MessageConnector):
    """`'connector' = 'sse'`: for reading only."""

    name = "sse"
    options = (
        Option("url", required=True, doc="https://host/path", compared="nothing"),
        Option("event", doc="the names of the events that are read, with ';' between; all, if it is left out"),
        Option("max-message-size", "memory", 16 * 2**20, "an event may have so much; a longer one ends the job", minimum=1, compared="nothing"),
        *REQUEST_OPTIONS,
        *FORMAT_OPTIONS,
    )  # fmt: skip

    def known(self, table: TableContext) -> Known:
        return KNOWN

    def source(self, table: TableContext) -> Source:
        options, value, bad = self._read(table)
        library("aiohttp", "sse", "http")
        secured = check_url(table.name, "url", options["url"], ("https", "http"))
        tls_context(table, options, secured)  # says now what is wrong with it
        request = request_of(table, options, partial(tls_context, table, options, secured))
        events = tuple(e.strip() for e in (options["event"] or "").split(";") if e.strip())
        return SseSource(table, options["url"], request, events, options["max-message-size"], value, bad)
