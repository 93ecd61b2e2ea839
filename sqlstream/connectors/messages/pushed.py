"""Messages that a server pushes and forgets when they are acknowledged: gathered, numbered, and acknowledged behind a checkpoint.

A position is {"offset": how many were taken since the table was first read}: it says nothing about where to go on, for the server sends
again what was not acknowledged. With ids it is {"offset", "ids"}: those of messages that the checkpoint has and of which it is not known
that the server has learnt so. When they come again they are passed over, and each message is a row once.

A message keeps the number that it got when it came first: those that a lost connection brings back are of the checkpoint that has this
number, and of no earlier one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any, overload

from sqlstream.connectors.messages.arrays import Known, messages_of, wanted
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.messages import Messages
from sqlstream.connectors.messages.reader import WAIT, Feed, MessageReader
from sqlstream.connectors.messages.source import MessageSource
from sqlstream.contracts import ScanRequest, Split, SplitReader, TableContext
from sqlstream.errors import InternalError
from sqlstream.threads import condition

MOST, MOST_BYTES = 16_384, 32 * 2**20  # messages that are taken at once, and bytes that wait to be taken
REMEMBERED = 100_000  # ids of lost connections, of messages that did not come again
BEFORE_ALL = -1  # the number of messages that the checkpoint has which the run went on from


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message. `message`: as the library has it; `tag`: by which it is acknowledged; `id`: by which it is known when it comes again."""

    value: bytes
    message: Any
    tag: Any = None
    id: str | None = None


class Inbox:
    """Deliveries that wait to be taken: MOST_BYTES of them, then `put` waits."""

    def __init__(self) -> None:
        self._changed = condition()
        self._waiting: deque[Delivery] = deque()
        self._bytes = 0
        self._closed = False
        self._error: Exception | None = None

    def put(self, delivery: Delivery, waits: bool = True) -> bool:
        """From the client's thread. False: nobody takes it any more. `waits`: until there is room."""
        with self._changed:
            self._changed.wait_for(lambda: not waits or self._closed or self._bytes < MOST_BYTES)
            if self._closed:
                return False
            self._waiting.append(delivery)
            self._bytes += len(delivery.value) + 100
            if len(self._waiting) == 1:
                self._changed.notify_all()
            return True

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether `put` would wait."""
        with self._changed:
            return self._bytes >= MOST_BYTES

    def fail(self, error: Exception) -> None:
        """It comes behind what waits."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def take(self, seconds: float) -> list[Delivery]:
        """Up to MOST of those that are there, or come in time. Raises the client's error behind the last one."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._error or self._closed, seconds)
            if not self._waiting and self._error is not None:
                raise self._error
            found = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
            self._bytes -= sum(len(d.value) + 100 for d in found)
            self._changed.notify_all()
            return found

    def clear(self) -> None:
        """Those that wait will come again."""
        with self._changed:
            self._waiting.clear()
            self._bytes = 0
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing is taken any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Client:
    """What pushes messages into `inbox`."""

    inbox: Inbox
    left: int | None = (
        None  # messages that the server has beside those that it pushed, as it said last; None: it does not say
    )
    taken_back: Callable[[], None] | None = (
        None  # to be called when the server will send again all that it was not told of
    )

    def acknowledge(self, tags: Sequence[Any]) -> None:
        """The server may forget these. From any thread. Where it cannot be told it sends them again."""

    def noted(self, then: Callable[[], None]) -> None:
        """`then` is called when the server has taken note of what was acknowledged; never, if the connection is lost before."""
        then()

    def close(self) -> None:
        """What was not acknowledged is the server's again."""


class _Marks(Sequence[dict[str, Any]]):
    """The positions before each message: made when they are asked for."""

    def __init__(self, first: int, count: int, ids: Callable[[int], list[str]] | None) -> None:
        self._first, self._count, self._ids = first, count, ids

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, i: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, i: int | slice) -> Any:
        if isinstance(i, slice):
            return [self[n] for n in range(*i.indices(self._count))]
        offset = self._first + i
        return {"offset": offset} | ({} if self._ids is None else {"ids": self._ids(offset)})


class PushedFeed(Feed):
    """`durable`: checkpoints say when messages are acknowledged; else they are when they are taken. `ids`: messages are known by them.
    `keys`: METADATA that is wanted."""

    def __init__(
        self,
        client: Client,
        keys: Sequence[str],
        known: Known,
        position: Mapping[str, Any] | None,
        durable: bool,
        ids: bool,
    ) -> None:
        self._client, self._keys, self._known, self._durable, self._ids = client, keys, known, durable, ids
        self._next = int((position or {}).get("offset", 0))
        self._lock = threading.Lock()
        # As they came: number, tag, id. Servers that are told of one take those before it for told as well.
        self._unacknowledged: deque[tuple[int, Any, str | None]] = deque()
        # Which may come again, and their numbers: of an earlier run, or connection; and those that were acknowledged, and the server has
        # not said that it knows.
        self._before: dict[str, int] = dict.fromkeys((position or {}).get("ids", ()), BEFORE_ALL) if ids else {}
        self._told: dict[str, int] = {}
        self._connections = 0  # that were lost
        client.taken_back = self._taken_back

    @property
    def left(self) -> int | None:
        return None if self._client.left is None else self._client.left + len(self._client.inbox)

    @property
    def following(self) -> dict[str, Any]:
        return {"offset": self._next} | ({"ids": self._ids_upto(self._next)} if self._ids else {})

    def take(self) -> Messages | None:
        connection = self._connections
        got = self._client.inbox.take(WAIT)
        first, found = self._next, []
        with self._lock:
            for d in got:
                number = self._before.pop(d.id, None) if d.id is not None else None
                if number is None:
                    number = self._next
                    self._next += 1
                    found.append(d)
                if self._ids and connection != self._connections and d.id is not None:
                    self._before[d.id] = number  # its connection was lost while it was taken: it may come again
                if self._durable:
                    self._unacknowledged.append((number, d.tag, d.id))
        if got and not self._durable:
            self._client.acknowledge([d.tag for d in got])
        if not found:
            return None
        marks = _Marks(first, len(found), self._ids_upto if self._ids else None)
        places = range(first, self._next)
        return messages_of([d.message for d in found], [d.value for d in found], places, self._keys, self._known, marks)

    def _ids_upto(self, offset: int) -> list[str]:
        with self._lock:
            own = {i: number for number, _, i in self._unacknowledged if i is not None}
            return [i for i, number in (self._before | self._told | own).items() if number < offset]

    def acknowledge(self, upto: int) -> None:
        """A checkpoint has those before this number. From another thread than the reader's."""
        tags, told = [], dict[str, int]()

        def known() -> None:
            with self._lock:
                for i in told:
                    self._told.pop(i, None)

        with self._lock:
            while self._unacknowledged and self._unacknowledged[0][0] < upto:
                number, tag, id_ = self._unacknowledged.popleft()
                tags.append(tag)
                if id_ is not None:
                    told[id_] = number
            self._told |= told
        if tags:
            self._client.acknowledge(tags)
        if told:
            self._client.noted(known)

    def _taken_back(self) -> None:
        """From the client's thread. Messages without ids are rows once more."""
        with self._lock:
            self._connections += 1
            if self._ids:
                self._before |= self._told | {i: number for number, _, i in self._unacknowledged if i is not None}
                for i in list(islice(self._before, max(0, len(self._before) - REMEMBERED))):
                    del self._before[i]
            self._told = {}
            self._unacknowledged.clear()

    def close(self) -> None:
        self._client.inbox.close()
        self._client.close()


class PushedSource(MessageSource):
    """A table that a client's messages are pushed into: one split, without an end. Override `open`. `ids`: messages have such, by
    which those that come again are known."""

    bounded = False
    known: Known = MappingProxyType({})  # the METADATA of the client's messages

    def __init__(self, table: TableContext, value: PartFormat, bad_records: str, ids: bool = False) -> None:
        super().__init__(table, value, bad_records)
        self._ids, self._durable = ids, False
        self._feed: PushedFeed | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_feed": None}

    @property
    def where(self) -> str:
        """What errors begin with: the table, and what is read."""
        raise InternalError("PushedSource.where")

    def open(self, durable: bool) -> Client:
        """A client that pushes. `durable`: messages are acknowledged behind checkpoints."""
        raise InternalError("PushedSource.open")

    def begins(self, durable: bool) -> None:
        self._durable = durable

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        return f"{self.where}: messages come once"

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        decoder = self.decoder(request, self.where)
        client = self.open(self._durable)
        feed = self._feed = PushedFeed(client, wanted(request), self.known, position, self._durable, self._ids)
        # a message of which some rows were taken comes again as a whole
        return MessageReader(feed, decoder, None, first_row)

    def checkpointed(self, positions: Mapping[str, Any]) -> None:
        for position in positions.values():
            if position is not None and self._feed is not None:
                self._feed.acknowledge(position["offset"])
