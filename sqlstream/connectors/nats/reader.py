"""A stream as a feed of messages, by a pull consumer that goes by sequence numbers. A position is {"offset": the next one}.

One request is open at a time, for so many bytes; the server sends what there is for it, and what comes meanwhile. A consumer that is
gone (the server began anew, or nobody has asked it for long) is made again behind the last message that was taken, so that nothing is
lost and nothing comes twice.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlstream.connectors.messages.arrays import Known, messages_of, microseconds
from sqlstream.connectors.messages.clients import Backoff, Notes, Unreachable
from sqlstream.connectors.messages.messages import Messages
from sqlstream.connectors.messages.reader import WAIT, Feed
from sqlstream.connectors.nats.client import Client
from sqlstream.errors import DataError, OptionError
from sqlstream.types import BIGINT, STRING, map_of, timestamp_ltz

MOST, MOST_BYTES = 8192, 8 * 2**20  # messages, and bytes of them, that are asked for at once
EXPIRES, HEARTBEAT = 30.0, 2.0  # s that a request stands, and between two signs of life meanwhile
SILENCE = 3 * HEARTBEAT  # s without one, after which the consumer is taken for gone
FORGOTTEN = 3600.0  # s after which the server forgets a consumer that nobody asks
UNACKNOWLEDGED = (
    7 * 86_400.0
)  # s until it sends a message again that was not acknowledged: a restart makes the consumer anew
TOO_LARGE = "message size exceeds"
ACK = "$JS.ACK."  # what the places begin with where messages of streams are acknowledged


@dataclass(frozen=True)
class Found:
    """A message. `reply`: where it is acknowledged, which says its numbers: $JS.ACK, then maybe domain and account, stream, consumer, how
    often, its sequence, the consumer's, its time in ns, and how many are left."""

    subject: str
    data: bytes
    reply: str
    headers: dict[str, str] | None
    sequence: int
    nanoseconds: int
    left: int


KNOWN: Known = {
    "subject": (STRING.null(False), lambda m: m.subject),
    "sequence": (BIGINT.null(False), lambda m: m.sequence),
    "timestamp": (timestamp_ltz(3).null(False), lambda m: microseconds(m.nanoseconds / 1e9)),
    "headers": (map_of(STRING.null(False), STRING), lambda m: None if m.headers is None else list(m.headers.items())),
    "message-id": (STRING, lambda m: (m.headers or {}).get("Nats-Msg-Id")),
}


@dataclass(frozen=True)
class Reading:
    """What is read of a stream: `subjects`, and by a `durable` consumer if it has a name, whose messages are acknowledged `at_once` when
    they were taken, or else by who calls `acknowledge`."""

    stream: str
    subjects: tuple[str, ...] = ()
    durable: str | None = None
    at_once: bool = False


class StreamFeed(Feed):
    """From sequence `begin` on, or from a time on (`since`: as RFC 3339). `stop`: the first sequence that is not read. `resumed`: what
    stood from `begin` on must still be there. `keys`: METADATA that is wanted."""

    def __init__(
        self,
        connect: Callable[[Callable[[], None]], Client],
        table: str,
        reading: Reading,
        begin: int,
        since: str | None,
        stop: int | None,
        resumed: bool,
        keys: Sequence[str],
        notes: Notes,
    ) -> None:
        self._table, self._reading, self._stop, self._keys, self._notes = table, reading, stop, keys, notes
        self._next, self._since, self._resumed = begin, since, resumed
        self._taken = False  # some were
        self.at_end = stop is not None and begin >= stop
        self._changed = threading.Condition()
        self._found: list[Found] = []
        self._asked = self._too_large = self._none = (
            False  # a request stands; its answer was too large for it; there is nothing
        )
        self._left = 0  # messages that it is still good for
        self._broken = True  # there is no consumer
        self._heard = 0.0
        self._pending: int | None = None  # messages that the server has behind the last one that came
        self._numbers = 0  # the consumer's, of the last message
        self._backoff, self._try_at = Backoff(), 0.0
        self._subscription: Any = None
        self._name = ""
        self._unacknowledged: deque[tuple[int, str]] = deque()
        self._client = connect(self._break)

    @property
    def left(self) -> int | None:
        with self._changed:
            return None if self._pending is None else self._pending + len(self._found)

    @property
    def following(self) -> dict[str, Any]:
        return {"offset": self._next}

    # ---- on the loop's thread

    def _break(self) -> None:
        with self._changed:
            self._broken = True
            self._changed.notify_all()

    async def _on_message(self, message: Any) -> None:
        # a message may have a header of that name, too
        status = None if message.reply.startswith(ACK) else (message.headers or {}).get("Status", "")
        with self._changed:
            self._heard = time.monotonic()
            if status is None:
                parts = (
                    message.reply.rsplit(".", 5) if message.reply.count(".") < 10 else message.reply.split(".")[6:11]
                )
                sequence, number, nanoseconds, left = (int(p) for p in parts[-4:])
                if number != self._numbers + 1:  # one is missing: it was lost on the way
                    self._broken = True
                self._numbers = number
                if not self._broken:
                    found = Found(
                        message.subject, message.data, message.reply, message.headers, sequence, nanoseconds, left
                    )
                    self._found.append(found)
                    self._pending = left
                    self._left -= 1
                    self._asked = self._left > 0
            elif status == "100":  # a sign of life
                return
            elif status in ("404", "408", "409"):
                said = str((message.headers or {}).get("Description", "")).lower()
                self._asked, self._none = False, status == "404"
                self._too_large = TOO_LARGE in said
                self._broken |= "consumer" in said or "server" in said or "leadership" in said
            else:  # 503: nobody is there who answers for the consumer
                self._broken = True
            self._changed.notify_all()

    # ---- on the reader's

    def take(self) -> Messages | None:
        if self._broken and not self._consume():
            return None
        if not self._asked and not self._ask():
            return None
        with self._changed:
            self._changed.wait_for(lambda: self._found or not self._asked or self._broken, WAIT)
            found, self._found = self._found, []
            if not found and self._asked and time.monotonic() - self._heard > SILENCE:
                self._broken = True
            self.at_end = self._stop is not None and self._none and not found
        if self._reading.durable is not None:
            with self._changed:
                self._unacknowledged += [(f.sequence, f.reply) for f in found]
            found = [f for f in found if f.sequence >= self._next]  # others were taken before, and are not known to be
        if not found:
            return None
        last, self._taken = found[-1], True
        if self._stop is not None and last.sequence >= self._stop:
            found = [f for f in found if f.sequence < self._stop]
            self._next, self.at_end = self._stop, True
        else:
            self._next = last.sequence + 1
            self.at_end = self._stop is not None and (self._next >= self._stop or not last.left)
        if self._reading.at_once:
            self.acknowledge(self._next)
        return messages_of(found, [f.data for f in found], [f.sequence for f in found], self._keys, KNOWN)

    def _consume(self) -> bool:
        """A consumer from `_next` on; whether there is one now."""
        if time.monotonic() < self._try_at:
            time.sleep(WAIT)
            return False
        try:
            left = self._client.run(self._made())
        except Unreachable as e:
            self._notes.reconnect(f"warning: {e.message}; it is tried again")
            self._try_at = time.monotonic() + self._backoff.rest()
            return False
        self._backoff.succeeded()
        with self._changed:  # of those that came meanwhile the last one says it
            self._pending = left if self._pending is None or not self._found else self._pending
        if self._stop is not None and not left:
            self.at_end = True
        return not self.at_end

    async def _made(self) -> int:
        """How many messages it has."""
        client, reading = self._client, self._reading
        api = client.api
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._subscription = None
        info = await stream_of(client, self._table, reading.stream)
        resumed = self._resumed or self._taken
        if resumed and info.state.last_seq + 1 < self._next:
            raise DataError(
                f"table {self._table}: stream {reading.stream}: message {self._next - 1} was read, and the last one is "
                f"{info.state.last_seq}",
                hint="it was made anew, and counts from the start: start anew with --fresh",
            )
        gone = resumed and info.state.first_seq > max(self._next, 1) and info.config.retention != "workqueue"
        if gone and reading.subjects and list(reading.subjects) != list(info.config.subjects or ()):
            # what went may have been of other subjects alone: the server does not know any more
            self._notes.add(
                f"warning: table {self._table}: stream {reading.stream}: messages {self._next} to {info.state.first_seq - 1} were deleted "
                "(the stream's limits), and nobody knows whether any had the table's subject: if so, it is lost"
            )
        elif gone:
            raise DataError(
                f"table {self._table}: stream {reading.stream}: message {self._next} is not there: the first one is "
                f"{info.state.first_seq}",
                hint="it was deleted (the stream's limits): what was not read is lost. Start anew with --fresh",
            )
        if reading.durable is not None and info.config.retention == "interest":
            raise OptionError(
                f"table {self._table}: stream {reading.stream} keeps messages only as long as a consumer wants them, and the one of a "
                "job that begins anew is a new one: they would be lost",
                hint="a stream with retention 'limits' or 'workqueue'",
            )
        by_time = self._since is not None and not self._next
        all_there = info.config.retention == "workqueue"
        policy = (
            api.DeliverPolicy.ALL
            if all_there
            else api.DeliverPolicy.BY_START_TIME
            if by_time
            else api.DeliverPolicy.BY_START_SEQUENCE
        )
        config = api.ConsumerConfig(
            deliver_policy=policy,
            opt_start_seq=None if by_time or all_there else max(self._next, 1),
            opt_start_time=self._since if by_time and not all_there else None,
            ack_policy=api.AckPolicy.NONE if reading.durable is None else api.AckPolicy.EXPLICIT,
            inactive_threshold=FORGOTTEN if reading.durable is None else None,
            mem_storage=reading.durable is None,
            num_replicas=1 if reading.durable is None else None,
        )
        if reading.durable is not None:
            config.durable_name, config.ack_wait, config.max_ack_pending = reading.durable, UNACKNOWLEDGED, -1
        if len(reading.subjects) == 1:
            config.filter_subject = reading.subjects[0]
        elif reading.subjects:
            config.filter_subjects = list(reading.subjects)
        self._name = reading.durable or f"sqlstream-{time.time_ns():x}"
        config.name = self._name
        if reading.durable is not None:
            with suppress(client.stream_errors.NotFoundError):  # it is the first time
                await client.stream.delete_consumer(reading.stream, reading.durable)
        try:
            made = await client.stream.add_consumer(reading.stream, config)
        except client.stream_errors.APIError as e:
            raise refused(self._table, reading, e) from e
        if (
            len(reading.subjects) > 1 and not made.config.filter_subjects
        ):  # an older server reads over what it does not know
            raise OptionError(
                f"table {self._table}: option 'subject': servers before 2.10 read one subject of a stream",
                hint="one with * or >, and WHERE for the rest; or no 'subject', which reads all of the stream",
            )
        with self._changed:
            self._found, self._numbers, self._asked, self._broken = [], 0, False, False
            self._unacknowledged.clear()
        self._inbox = client.connection.new_inbox()
        self._subscription = await client.connection.subscribe(self._inbox, cb=self._on_message)
        return int(made.num_pending or 0)

    def _ask(self) -> bool:
        """A request; whether it could be sent. Of a stream that ends for what is there now."""
        with self._changed:
            self._left = 1 if self._too_large else MOST
            request: dict[str, Any] = {"batch": self._left}
            if not self._too_large:
                request["max_bytes"] = MOST_BYTES
            if self._stop is None:
                request |= {"expires": int(EXPIRES * 1e9), "idle_heartbeat": int(HEARTBEAT * 1e9)}
            else:
                request["no_wait"] = True
            self._asked, self._too_large, self._none = True, False, False
            self._heard = time.monotonic()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._reading.stream}.{self._name}"
        try:
            self._client.run(self._client.connection.publish(subject, json.dumps(request).encode(), self._inbox))
        except Unreachable as e:
            self._notes.reconnect(f"warning: {e.message}; it is tried again")
            self._broken = True
            return False
        return True

    def acknowledge(self, upto: int) -> None:
        """What stands before this sequence: a checkpoint knows it. From any thread."""
        replies = []
        with self._changed:
            while self._unacknowledged and self._unacknowledged[0][0] < upto:
                replies.append(self._unacknowledged.popleft()[1])

        async def acknowledged() -> None:
            for reply in replies:
                await self._client.connection.publish(reply, b"+ACK")

        if replies:
            try:
                self._client.run(acknowledged())
            except Unreachable as e:  # the server has them still, and a restart passes them over
                self._notes.add(f"warning: {e.message}: messages of a checkpoint were not acknowledged")

    def close(self) -> None:
        self._client.close()


async def stream_of(client: Client, table: str, name: str) -> Any:
    """What there is to know of a stream. OptionError where it is not there."""
    try:
        return await client.stream.stream_info(name)
    except client.stream_errors.NotFoundError as e:
        raise OptionError(
            f"table {table}: there is no stream '{name}'",
            hint="nats stream add makes one, and says which subjects it takes",
        ) from e


def refused(table: str, reading: Reading, error: Any) -> OptionError:
    """The server does not make the consumer."""
    return OptionError(
        f"table {table}: stream {reading.stream} cannot be read so: {error.description or error}",
        hint="'durable' = 'a name' reads a stream whose messages go when they were taken (workqueue)"
        if "workqueue" in str(error.description).lower() or "work queue" in str(error.description).lower()
        else "'subject' must be among those of the stream",
    )
