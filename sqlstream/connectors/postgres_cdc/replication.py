"""A connection that streams a slot's changes: COPY in both directions, by psycopg's door to libpq.

A thread takes messages in and says what is confirmed, also while nobody polls: a server that hears nothing for long hangs
up. Messages wait in bounded number; from the first transaction on the server waits, too.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sqlstream.connectors.changes import WAITING_BYTES, ChangeStream, Place
from sqlstream.connectors.jdbc.database import Disconnected, Passing
from sqlstream.connectors.jdbc.postgres import PASSING_STATES, unconnected, uri
from sqlstream.connectors.jdbc.postgres import text as quoted_text
from sqlstream.connectors.jdbc.url import Address
from sqlstream.connectors.postgres_cdc.changes import Relation
from sqlstream.connectors.postgres_cdc.texts import SETTINGS
from sqlstream.connectors.sockets import readable
from sqlstream.distribution import install
from sqlstream.errors import DataError, OptionError, RunError, SqlStreamError

EPOCH = 946_684_800_000_000  # µs from 1970 to 2000, from which PostgreSQL counts
TOGETHER = 20_000  # messages of a transaction that are handed on together, at most
STATUS = 5.0  # seconds between two words to the server
STILL_ACTIVE = 20.0  # seconds in which the slot of a process that died is let go of


@dataclass
class Part:
    """Messages of one transaction and relation that follow each other. `ends`: the transaction does, at this place. `time`: of
    its commit, µs. `place` without messages: the stream has come so far, and nothing of the table was in between."""

    messages: list[bytes] = field(default_factory=list)
    relation: Relation | None = None
    time: int = 0
    ends: Place | None = None

    @property
    def bytes(self) -> int:
        """About how many."""
        return sum(map(len, self.messages))


def text_of(lsn: int) -> str:
    """As PostgreSQL writes a place."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def number_of(text: str) -> int:
    """Of a place as PostgreSQL writes it."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


class Replication:
    """A connection for replication. Errors are ours, and begin with `where`."""

    def __init__(self, address: Address, where: str) -> None:
        try:
            from psycopg import pq
        except ImportError as e:
            raise OptionError(
                f"connector 'postgres-cdc' needs a package that is not installed: {e}", hint=install("postgres")
            ) from e
        self._pq, self.where = pq, where
        settings = " ".join(f"-c {k}={v}" for k, v in SETTINGS.items())
        given = address.parameters.get("options", "")
        parameters = {**address.parameters, "replication": "database", "options": f"{given} {settings}".strip()}
        to = uri(replace(address, parameters=parameters))
        self._connection = pq.PGconn.connect(to.encode())
        if self._connection.status != pq.ConnStatus.OK:
            said = self._said()
            self._connection.finish()
            error = unconnected(f"{where}: cannot connect to postgresql at {address.hosts}: {said}", said)
            raise error from (ConnectionError(said) if error.transient else None)

    def _said(self) -> str:
        message = self._connection.error_message.decode(errors="replace") if self._connection.error_message else ""
        return "; ".join(line.strip() for line in message.splitlines() if line.strip())

    def run(self, command: str) -> list[tuple[str, ...]]:
        """The rows of a command's answer, as texts."""
        result = self._connection.exec_(command.encode())
        pq = self._pq
        if result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            return [
                tuple((result.get_value(i, j) or b"").decode() for j in range(result.nfields))
                for i in range(result.ntuples)
            ]
        raise self._failed(result)

    def _failed(self, result: Any) -> SqlStreamError:
        pq = self._pq
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        said = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode() or self._said()
        told = f"{self.where}: {said}"
        if not state or state.startswith("08") or state.startswith("57P"):
            return Disconnected(told)
        if state in PASSING_STATES or state[:2] in ("53", "57", "58"):
            return Passing(told)
        return RunError(told)

    def begin(self, slot: str, lsn: int, publication: str) -> None:
        """Starts streaming: transactions that were committed behind `lsn`. Waits while another process still has the slot."""
        options = f"proto_version '1', publication_names {quoted_text(_identifier(publication))}"
        command = f'START_REPLICATION SLOT "{slot}" LOGICAL {text_of(lsn)} ({options})'
        end = time.monotonic() + STILL_ACTIVE
        while True:
            result = self._connection.exec_(command.encode())
            if result.status == self._pq.ExecStatus.COPY_BOTH:
                return
            error = self._failed(result)
            if not isinstance(error, Passing) or time.monotonic() > end:
                raise error
            time.sleep(0.1)

    def messages(self, seconds: float) -> list[bytes]:
        """Those that are there, or come within so many seconds. Disconnected, and what the server says, when it has hung up."""
        found: list[bytes] = []
        size = 0
        while size < WAITING_BYTES // 4:
            length, data = self._connection.get_copy_data(1)
            if length > 0:
                found.append(bytes(data))
                size += length
                continue
            if length < 0:
                result = self._connection.get_result()
                raise (
                    self._failed(result) if result is not None else Disconnected(f"{self.where}: the stream has ended")
                )
            if found:
                break
            if not readable(self._connection.socket, seconds):
                break
            try:
                self._connection.consume_input()
            except Exception as e:
                raise Disconnected(f"{self.where}: {self._said()}") from ConnectionError(str(e))
            seconds = 0
        return found

    def confirm(self, received: int, confirmed: int) -> None:
        """Tells the server how far messages have come, and up to where it need not keep anything."""
        now = time.time_ns() // 1000 - EPOCH
        self._connection.put_copy_data(struct.pack(">cqqqqb", b"r", received, confirmed, confirmed, now, 0))
        self._connection.flush()

    def close(self) -> None:
        """Also in the middle."""
        self._connection.finish()


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class Stream(ChangeStream):
    """`confirmed`: asked for the place up to which a checkpoint is complete."""

    def __init__(
        self, connection: Replication, start: int, schema: str, table: str, confirmed: Callable[[], int]
    ) -> None:
        self._connection, self._confirmed = connection, confirmed
        self._schema, self._table = schema, table
        self._relations: dict[int, Relation] = {}
        self._received = self._start = start
        self._open: Part | None = None  # of the transaction that is coming in
        self._time = 0
        super().__init__("sqlstream-replication")

    def work(self) -> None:
        told = time.monotonic()
        while not self.closed:
            if self.has_room():
                for message in self._connection.messages(0.1):
                    self._take(message)
                self._hand_over()
            else:
                time.sleep(0.02)
            if time.monotonic() - told > STATUS or self._asked:
                self._tell()
                told = time.monotonic()
        self._tell()

    def hang_up(self) -> None:
        self._connection.close()

    _asked = False

    def _tell(self) -> None:
        self._asked = False
        self._connection.confirm(max(self._received, self._start), self._confirmed())

    def _take(self, message: bytes) -> None:
        if message[:1] == b"k":
            (end, _, reply) = struct.unpack(">qqb", message[1:18])
            self._asked = self._asked or bool(reply)
            if self._open is None:
                self._reached(end)
            return
        (begin,) = struct.unpack_from(">q", message, 1)
        self._received = max(self._received, begin)
        self._change(message[25:])

    def _reached(self, place: int) -> None:
        """All that was committed before `place` has come, and nothing of it was of the table."""
        self._received = max(self._received, place)
        if place > self._start:
            self.put(Part(ends={"lsn": place}))

    def _change(self, payload: bytes) -> None:
        tag = payload[:1]
        if tag in (b"I", b"U", b"D"):
            relation = self._relations[struct.unpack_from(">i", payload, 1)[0]]
            if (relation.schema, relation.name) != (self._schema, self._table):
                return
            if self._open is None or self._open.relation is not relation or len(self._open.messages) == TOGETHER:
                self._hand_over()
                self._open = Part(relation=relation, time=self._time)
            self._open.messages.append(payload)
        elif tag == b"R":
            relation = Relation.of(payload)
            self._relations[relation.number] = relation
        elif tag == b"B":
            self._time = struct.unpack_from(">q", payload, 9)[0] + EPOCH
            self._open = Part(time=self._time)
        elif tag == b"C":
            part = self._open or Part(time=self._time)
            part.ends = {"lsn": struct.unpack_from(">q", payload, 10)[0]}
            self._open = part
            self._hand_over()
            self._open = None
        elif tag == b"T":
            count = struct.unpack_from(">i", payload, 1)[0]
            numbers = struct.unpack_from(f">{count}i", payload, 6)
            if any(
                (r := self._relations.get(n)) and (r.schema, r.name) == (self._schema, self._table) for n in numbers
            ):
                raise DataError(
                    f"{self._connection.where}: it was truncated, which is no change of rows",
                    hint="DELETE FROM is; or start anew with --fresh",
                )

    def _hand_over(self) -> None:
        """What is there of the transaction that comes in may be taken, its end or not."""
        part = self._open
        if part is None or not (part.messages or part.ends is not None):
            return
        self._open = Part(relation=part.relation, time=part.time) if part.ends is None else None
        self.put(part)
