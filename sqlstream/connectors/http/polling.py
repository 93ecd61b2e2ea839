"""A URL that is asked now and then, as a source: what each answer has are rows. A position is how many answers were taken, what the next
question says of them (a cursor, a tag), and how many messages of the answer at hand.

An answer that was taken in part by a checkpoint is asked for again: if it is the same, reading goes on in it, else it is read anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from sqlstream.connectors.http.bodies import JSON, at_path, messages_in, parsed
from sqlstream.connectors.http.client import Answer, Request, Web, same_host
from sqlstream.connectors.messages.arrays import Known, messages_of, microseconds, wanted
from sqlstream.connectors.messages.clients import Backoff, Unreachable
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.loop import Patience
from sqlstream.connectors.messages.messages import Messages
from sqlstream.connectors.messages.reader import WAIT, Feed, MessageReader
from sqlstream.connectors.messages.source import MessageSource
from sqlstream.contracts import ScanRequest, Split, SplitReader, TableContext
from sqlstream.errors import DataError
from sqlstream.types import INT, STRING, timestamp_ltz

MOST = 16_384  # messages that are decoded together

KNOWN: Known = {
    "url": (STRING.null(False), lambda a: a.url),
    "status": (INT.null(False), lambda a: a.status),
    "received": (timestamp_ltz(3).null(False), lambda a: microseconds(a.received)),
    "last-modified": (STRING, lambda a: a.headers.get("Last-Modified")),
}


@dataclass(frozen=True)
class Polled:
    """What is asked, and how. `interval`: s between two answers; `kind`: of bodies; `path`: where the rows stand in them; `next_path`: where the
    URL of the page behind it stands, if that is in the body. `parameter`: of the query, that says from where on; `field`: of a message, whose
    greatest value it gets; `start`: the first one."""

    url: str
    method: str
    body: str | None
    interval: float
    bounded: bool
    kind: str
    path: tuple[str, ...]
    next_path: tuple[str, ...]
    parameter: str | None
    field: tuple[str, ...]
    start: str | None


@dataclass(frozen=True)
class _Taken:
    """An answer, as METADATA says it."""

    url: str
    status: int
    received: float
    headers: Mapping[str, str]


class PollingSource(MessageSource):
    """One split."""

    def __init__(
        self, table: TableContext, request: Request, polled: Polled, value: PartFormat, bad_records: str
    ) -> None:
        super().__init__(table, value, bad_records)
        self.request, self.polled, self.bounded = request, polled, polled.bounded
        self.patience = Patience()

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        return f"table {self.table.name}: what was answered then is not kept"

    def cancel(self) -> None:
        self.patience.give_up()

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        feed = PollingFeed(self, position, wanted(request))
        decoder = self.decoder(request, feed.where)
        return MessageReader(feed, decoder, position, first_row, self.bounded)


class PollingFeed(Feed):
    """The first question is asked when messages are wanted first."""

    def __init__(self, source: PollingSource, position: Mapping[str, Any] | None, keys: Sequence[str]) -> None:
        self._source, self._polled, self._keys = source, source.polled, keys
        at = position or {}
        self._answers = int(at.get("answers", 0))
        self._cursor: Any = at.get("cursor", source.polled.start)
        self._tags: dict[str, str] = dict(at.get("tags", {}))
        self._page: str | None = at.get("page")
        self._part: tuple[int, str] | None = (at["taken"], at["hash"]) if at.get("taken") else None
        self._offset = int(at.get("offset", 0))
        self._answer: _Taken | None = None
        self._messages: list[bytes] = []
        self._taken, self._hash = 0, ""
        self._after: dict[str, Any] = {}  # what is known when all of the answer is taken
        self._due, self._backoff = 0.0, Backoff(0.5)
        self.at_end = source.bounded and self._answers > 0 and self._page is None and self._part is None
        self._patience = Patience(source.patience)
        self._web = Web(source.request)
        self.where = self._web.where(source.polled.url)

    def _state(self, taken: int, offset: int) -> dict[str, Any]:
        """The position behind so many messages of the answer."""
        at: dict[str, Any] = {"answers": self._answers, "offset": offset}
        at |= {k: v for k, v in (("cursor", self._cursor), ("tags", self._tags), ("page", self._page)) if v}
        return at | ({"taken": taken, "hash": self._hash} if taken else {})

    @property
    def following(self) -> dict[str, Any]:
        return self._state(self._taken, self._offset)

    def take(self) -> Messages | None:
        if self._answer is None and not self._asked():
            return None
        assert self._answer is not None
        first, some = self._taken, self._messages[self._taken : self._taken + MOST]
        begin = self._offset
        marks = [self._state(first + i, begin + i) for i in range(len(some))]
        answer = self._answer
        self._taken += len(some)
        self._offset += len(some)
        if self._taken == len(self._messages):
            self._done()
        places = range(begin, begin + len(some))
        return messages_of([answer] * len(some), some, places, self._keys, KNOWN, marks)

    def _done(self) -> None:
        """All of the answer is taken."""
        self._answers += 1
        self._cursor, self._tags, self._page = self._after["cursor"], self._after["tags"], self._after["page"]
        self._answer, self._messages, self._taken, self._hash = None, [], 0, ""
        self._due = time.monotonic() + (0.0 if self._page is not None else self._polled.interval)
        self.at_end = self._source.bounded and self._page is None

    def _asked(self) -> bool:
        """Whether there is an answer now."""
        if (left := self._due - time.monotonic()) > 0:
            time.sleep(min(left, WAIT))
            return False
        headers = dict(self._tags) if self._page is None and self._part is None else {}
        try:
            question = self._web.once(self._polled.method, self._url(), self._body(), headers)
            answer = self._patience.run(self._web.loop, question)
        except Unreachable as e:
            if not self._answers and self._offset == 0 and self._source.bounded:
                raise
            self._source.noted.reconnect(f"warning: {e.message}; it is asked again")
            self._due = time.monotonic() + max(self._backoff.rest(), e.rest)
            return False
        self._backoff.succeeded()
        if answer.status == 304:
            self._due = time.monotonic() + self._polled.interval
            self.at_end = self._source.bounded
            return False
        self._taken_in(answer)
        return self._answer is not None

    def _taken_in(self, answer: Answer) -> None:
        p = self._polled
        self._messages = messages_in(answer.body, p.kind, p.path, self.where, answer.charset)
        self._answer = _Taken(answer.url, answer.status, time.time(), answer.headers)
        self._hash = hashlib.sha256(answer.body).hexdigest()[:20]
        tags = {"If-None-Match": answer.headers.get("ETag"), "If-Modified-Since": answer.headers.get("Last-Modified")}
        page = self._next_page(answer)
        self._after = {
            "cursor": self._greatest(),
            "page": page,
            # of the first page: the others are asked for when it has changed
            "tags": {k: v for k, v in tags.items() if v} if self._page is None and page is None else {},
        }
        taken, part = 0, self._part
        if part is not None and part[1] == self._hash:
            taken = min(part[0], len(self._messages))
        elif part is not None:
            self._source.noted.add(
                f"warning: {self.where}: the answer that a checkpoint had in part is another one now, and is read anew"
            )
        self._part, self._taken = None, taken
        if taken and taken == len(self._messages):
            self._done()

    def _url(self) -> str:
        if self._page is not None:
            return self._page
        if self._polled.parameter is None or self._cursor is None:
            return self._polled.url
        parts = urlsplit(self._polled.url)
        more = urlencode({self._polled.parameter: self._cursor})
        return urlunsplit(parts._replace(query=f"{parts.query}&{more}" if parts.query else more))

    def _body(self) -> bytes | None:
        return None if self._polled.body is None else self._polled.body.encode()

    def _next_page(self, answer: Answer) -> str | None:
        """By the header Link, or where the body has it. On the same host: else headers would go elsewhere."""
        found: Any = answer.next
        if self._polled.next_path and answer.body.strip():
            try:
                found = at_path(parsed(answer.body, self.where, answer.charset), self._polled.next_path, self.where)
            except DataError:
                return None  # the last page has none
        if not isinstance(found, str) or not found:
            return None
        to = urljoin(answer.url, found)
        if not same_host(self._polled.url, to):
            raise DataError(
                f"{self.where}: the next page is on another host", hint="headers that say who asks are not sent there"
            )
        return to

    def _greatest(self) -> Any:
        """The cursor behind the messages at hand: numbers are compared as such, all else as text."""
        if self._polled.parameter is None or self._polled.kind != JSON:
            return self._cursor
        found = [at_path(json.loads(m, parse_float=str), self._polled.field, self.where) for m in self._messages]
        values = [v for v in (*found, self._cursor) if v is not None]
        if any(isinstance(v, (dict, list, bool)) for v in values):
            raise DataError(f"{self.where}: what stands at 'scan.cursor.field' is no number or text")
        return max(values, key=_order, default=None)

    def stop_waiting(self) -> None:
        self._patience.give_up()

    def close(self) -> None:
        self._web.close()


def _order(value: Any) -> tuple[int, Decimal, str]:
    """Ids of 19 digits are told from one another, which no float does."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return 1, Decimal(0), str(value)
    return (1, Decimal(0), str(value)) if number.is_nan() else (0, number, "")
