"""Connector 'socket': what a server sends over a TCP connection, records with a byte between them, as Flink's documentation has one. What is
sent while nobody is connected is lost: at most once."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlstream.connectors.messages.clients import Backoff, Unreachable
from sqlstream.connectors.messages.connector import FORMAT_OPTIONS, MessageConnector
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.pushed import Client, Delivery, Inbox, PushedSource
from sqlstream.contracts import Source, TableContext
from sqlstream.errors import DataError
from sqlstream.options import Option
from sqlstream.threads import start

SECONDS = 5.0  # that a connection may take to be made
STEP = 0.2  # s that is waited for bytes
PIECE = 2**18


@dataclass(frozen=True)
class Peer:
    """Who is connected to; `largest`: bytes of a record."""

    host: str
    port: int
    delimiter: bytes
    largest: int


class SocketSource(PushedSource):
    """Connects."""

    def __init__(self, table: TableContext, peer: Peer, value: PartFormat, bad_records: str) -> None:
        super().__init__(table, value, bad_records)
        self.peer = peer

    @property
    def where(self) -> str:
        return f"table {self.table.name}: {self.peer.host}:{self.peer.port}"

    def open(self, durable: bool) -> Client:
        return SocketClient(self)


class SocketClient(Client):
    """Connects again when the other side hangs up, as Flink's does."""

    def __init__(self, source: SocketSource) -> None:
        self.inbox, self._source, self._peer = Inbox(), source, source.peer
        self._closing = False
        self._socket = self._connected()
        self._thread = start("sqlstream-socket", self._run)

    def _connected(self) -> socket.socket:
        try:
            made = socket.create_connection((self._peer.host, self._peer.port), SECONDS)
        except OSError as e:
            raise Unreachable(
                f"{self._source.where} does not answer: {e.strerror or e}",
                hint="is somebody listening there? nc -lk 9999 does",
            ) from e
        made.settimeout(STEP)
        return made

    def _run(self) -> None:
        backoff = Backoff()
        while not self._closing:
            try:
                with self._socket:
                    if self._read():
                        backoff.succeeded()
            except DataError as e:
                self.inbox.fail(e)
                return
            except OSError as e:
                self._source.noted.reconnect(f"warning: {self._source.where}: {e.strerror or e}")
            while not self._closing:
                time.sleep(min(backoff.rest(), 1.0))
                try:
                    self._socket = self._connected()
                    break
                except Unreachable as e:
                    self._source.noted.reconnect(f"warning: {e.message}; it is tried again")

    def _read(self) -> bool:
        """Until the other side hangs up; whether anything came. What has no delimiter behind it then is a record as well."""
        left, came = bytearray(), False
        while not self._closing:
            try:
                data = self._socket.recv(PIECE)
            except TimeoutError:
                continue
            if not data:
                if left:
                    self.inbox.put(Delivery(bytes(left), None))
                return came
            left += data
            came = True
            *records, rest = bytes(left).split(self._peer.delimiter)
            left = bytearray(rest)
            if len(left) > self._peer.largest:
                raise DataError(
                    f"{self._source.where}: a record is longer than {self._peer.largest:,} bytes",
                    hint="'byte-delimiter' says what ends one (10: a line end), 'max-record-size' how long one may be",
                )
            for record in records:
                if not self.inbox.put(Delivery(record, None)):
                    return came
        return came

    def acknowledge(self, tags: Sequence[Any]) -> None:
        """There is nobody who remembers."""

    def close(self) -> None:
        self._closing = True
        self._thread.join(SECONDS)
        self._socket.close()  # which may have been made just now, and nobody reads


class SocketConnector(MessageConnector):
    """`'connector' = 'socket'`: for reading only."""

    name = "socket"
    options = (
        Option("hostname", required=True, doc="who is connected to", compared="nothing"),
        Option("port", "int", required=True, doc="where", minimum=1, maximum=65_535, compared="nothing"),
        Option("byte-delimiter", "int", 10, "the byte behind a record, as a number; 10: a line end", minimum=0, maximum=255),
        Option("max-record-size", "memory", 16 * 2**20, "a record may have so much; a longer one ends the job", minimum=1, compared="nothing"),
        *FORMAT_OPTIONS,
    )  # fmt: skip

    def source(self, table: TableContext) -> Source:
        options, value, bad = self._read(table)
        peer = Peer(
            options["hostname"], options["port"], bytes([options["byte-delimiter"]]), options["max-record-size"]
        )
        return SocketSource(table, peer, value, bad)
