"""A connection that streams the binary log, and the thread that takes it in: transactions of the tables that are followed.

PyMySQL logs in; the log comes as packets, of which the library that reads it (mysql-replication) would make an object for each value. Here
events of rows are handed on as they are, many at a time.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from sqlstream.connectors.changes import ChangeStream, Place
from sqlstream.connectors.jdbc.database import Disconnected
from sqlstream.connectors.jdbc.mysql import connected, translated
from sqlstream.connectors.jdbc.url import Address
from sqlstream.connectors.mysql_cdc import events, gtids
from sqlstream.connectors.mysql_cdc.events import BinlogTable, Event, Statement
from sqlstream.errors import CheckpointError, DataError, RunError

TOGETHER = 4 << 20  # bytes of events of a transaction that are handed on together, about
MOST_MAPS = 1000  # forms of tables that are remembered
_BINLOG_DUMP, _REGISTER, _DUMP_GTID = 0x12, 0x15, 0x1E
_GONE = 1236  # the log that is wanted is not there
_WHOLE = 0xFFFFFF
_START = 4  # where the first event of a file is
_WRAP = (
    1 << 32
)  # positions in a file of the log are 64-bit numbers, of which events and the command that asks for them have the lower half
SILENCE = 60.0  # seconds without a word, after which a server is gone: it says each second that it is there


@dataclass
class Part:
    """Events of rows of one transaction and table that follow each other: their types and bodies. `time`: of the commit or, where that is
    not known yet, of the event, µs."""

    messages: list[tuple[int, bytes]] = field(default_factory=list)
    table: BinlogTable | None = None
    time: int = 0
    ends: Place | None = None
    size: int = 0

    @property
    def bytes(self) -> int:
        """About how many."""
        return self.size


@dataclass(frozen=True)
class Followed:
    """Which tables: both patterns are of whole names, whatever their case."""

    databases: str
    tables: str

    def has(self, database: str, table: str) -> bool:
        """Whether it is one of them."""
        return self.has_any(database) and re.fullmatch(self.tables, table, re.IGNORECASE) is not None

    def has_any(self, database: str) -> bool:
        """Whether they may be in a database."""
        return re.fullmatch(self.databases, database, re.IGNORECASE) is not None


class Binlog:
    """The connection. Errors are ours, and begin with `where`. `heartbeat`: seconds after which the server says that it is there."""

    def __init__(self, address: Address, where: str, server: int, kind: str, heartbeat: float = 1.0) -> None:
        self.where, self._server, self.kind = where, server, kind
        self._connection = connected(address, where)
        settings = {
            "master_binlog_checksum": "@@global.binlog_checksum", "source_binlog_checksum": "@@global.binlog_checksum",
            "mariadb_slave_capability": "4", "master_heartbeat_period": str(int(heartbeat * 1e9)),
            "source_heartbeat_period": str(int(heartbeat * 1e9)),
        }  # fmt: skip
        self._run("SET " + ", ".join(f"@{k} = {v}" for k, v in settings.items()))
        self._run("SET SESSION net_write_timeout = 28800")  # who has no room for more does not read
        self._run("SELECT @@global.binlog_checksum")
        self.checksums = str(self._connection._result.rows[0][0]).upper() not in ("NONE", "")
        self._rest = b""

    def _run(self, sql: str) -> None:
        try:
            self._connection.query(sql)
        except Exception as e:
            raise translated(e, self.where) from e

    def begin(self, place: Place) -> None:
        """Events from a place on, or from one before it in the same file, where that is too far in it to be named (`first_asked`): behind its
        `gtid`, where it has no `file`."""
        if place.get("file"):
            body = struct.pack("<IHI", first_asked(place), 0, self._server) + str(place["file"]).encode()
            command = _BINLOG_DUMP
        elif self.kind == gtids.MARIADB:
            known = gtids.Gtids(self.kind, str(place["gtid"]))
            self._run(
                f"SET @slave_connect_state = '{known}', @slave_gtid_strict_mode = 1, @slave_gtid_ignore_duplicates = 0"
            )
            body, command = struct.pack("<IHI", 4, 0, self._server), _BINLOG_DUMP
        else:
            encoded = gtids.Gtids(self.kind, str(place["gtid"])).encoded()
            body = struct.pack("<HII", 4, self._server, 0) + struct.pack("<QI", 4, len(encoded)) + encoded
            command = _DUMP_GTID
        try:
            self._connection._execute_command(command, body)
            self._connection._sock.settimeout(SILENCE)
        except Exception as e:
            raise translated(e, self.where) from e

    def packets(self) -> list[bytes]:
        """Those that are there, or come next."""
        found: list[bytes] = []
        while not found:
            try:
                got = self._connection._rfile.read1(1 << 20)
            except (OSError, ValueError) as e:  # ValueError: closed meanwhile
                raise Disconnected(f"{self.where}: the stream has ended: {e}") from ConnectionError(str(e))
            if not got:
                raise Disconnected(f"{self.where}: the server has hung up") from ConnectionError("hung up")
            data = self._rest + got
            at = 0
            while (end := _end(data, at)) is not None:
                parts = []
                while at < end:
                    size = int.from_bytes(data[at : at + 3], "little")
                    parts.append(data[at + 4 : at + 4 + size])
                    at += 4 + size
                found.append(parts[0] if len(parts) == 1 else b"".join(parts))
            self._rest = data[at:]
        return found

    def failed(self, packet: bytes) -> Exception:
        """What a packet says that is no event."""
        number = int.from_bytes(packet[1:3], "little")
        told = packet[9:].decode("utf-8", "replace") if packet[3:4] == b"#" else packet[3:].decode("utf-8", "replace")
        if number == _GONE and re.search(r"same server[_ ]?(uu)?id", told, re.I):
            return Disconnected(
                f"{self.where}: another reader of the log has the number {self._server}, and the server lets one be: {told}",
                hint="'server-id' = a number, or a range, that no other has",
            )
        if number == _GONE and "max_allowed_packet" in told:
            return RunError(
                f"{self.where}: the server does not send an event of its log, which is too large: {told}",
                hint="SET GLOBAL max_allowed_packet = 1073741824, and slave_max_allowed_packet",
            )
        if number == _GONE:
            return CheckpointError(
                f"{self.where}: the server does not have the binary log from there on any more, or never had it: {told}",
                hint="start anew with --fresh; binlog_expire_logs_seconds says how long the server keeps its log",
            )
        return (
            Disconnected(f"{self.where}: {told}") if number in (1053, 1927, 1317) else RunError(f"{self.where}: {told}")
        )

    def hang_up(self) -> None:
        """From any thread: who waits for packets is woken."""
        with suppress(Exception):
            self._connection._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Also in the middle."""
        with suppress(Exception):
            self._connection._force_close()


def first_asked(place: Place) -> int:
    """The position in its file that the server is asked for: one that 32 bits hold."""
    return int(place["pos"]) if int(place["pos"]) < _WRAP else int(place.get("low", _START))


class Positions:
    """64-bit positions of the events of a file, of which events have the lower half. `at`: where the last one has ended."""

    def __init__(self, at: int) -> None:
        self.at = at

    def ends(self, low: int) -> int:
        """Where the next event ends, which is shorter than 2 GiB (`max_allowed_packet` is 1 GiB at most)."""
        further = (low - self.at) % _WRAP
        if further < _WRAP // 2:
            self.at += further
        return self.at


def _end(data: bytes, at: int) -> int | None:
    """Where the message that begins there ends, which may be of several packets; None: it is not all there."""
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 3], "little")
        at += 4 + size
        if at > len(data):
            return None
        if size < _WHOLE:
            return at
    return None


class Stream(ChangeStream):
    """The transactions of tables, from a place on. `since`: µs before which they are passed over."""

    def __init__(
        self, binlog: Binlog, place: Place, followed: Followed, charsets: Mapping[int, str], since: int, server: str
    ) -> None:
        self._binlog, self._followed, self._charsets, self._since = binlog, followed, charsets, since
        self.where, self._server = binlog.where, server
        self._file = str(place.get("file") or "")
        # What is before it has been read, and comes where the server cannot be asked for the place itself.
        self._known = int(place["pos"]) if self._file else 0
        self._low = first_asked(place) if self._file else _START
        self._positions = Positions(self._low)
        self._sure = bool(self._file)  # ids alone do not say how often positions of the file have begun anew
        self._gtids = gtids.Gtids(binlog.kind, str(place.get("gtid") or ""))
        self._pending = ""  # the id of the transaction that is coming in
        self._tables: dict[int, BinlogTable | None] = {}
        self._maps: dict[bytes, tuple[int, BinlogTable]] = {}  # what was taken apart already
        self._open: Part | None = None
        self._rows = False  # of the transaction: some were handed on
        super().__init__("sqlstream-binlog")

    def work(self) -> None:
        while not self.closed:
            if not self.has_room():
                time.sleep(0.02)
                continue
            for packet in self._binlog.packets():
                if packet[:1] != b"\0":
                    if packet[:1] == b"\xfe":
                        raise Disconnected(f"{self.where}: the server has ended the stream") from ConnectionError(
                            "ended"
                        )
                    raise self._binlog.failed(packet)
                event = Event.of(packet, 4 if self._binlog.checksums else 0)
                if event.type == events.FORMAT:  # what follows in this file
                    self._binlog.checksums = packet[-5:-4] == b"\x01"
                self._take(event)
            self._hand_over(None)

    def hang_up(self) -> None:
        self._binlog.close()

    def close(self) -> None:
        self.closed = True
        self._binlog.hang_up()
        super().close()

    def _take(self, event: Event) -> None:
        t = event.type
        if t == events.ROTATE:
            self._rotated(event)
        elif event.ends and t not in events.ABOUT_THE_FILE and self._positions.ends(event.ends) <= self._known:
            return
        if t in events.ROWS:
            self._changed(event)
        elif t == events.TABLE_MAP:
            self._mapped(event)
        elif t == events.XID:
            self._ended(event)
        elif t in (events.GTID, events.MARIADB_GTID):
            self._pending = events.gtid_of(event)
        elif t == events.QUERY:
            self._said(event)
        elif t == events.PREPARED and (self._open is not None or self._rows):
            raise RunError(
                f"{self.where}: a transaction of XA has changed it, of which the log does not say here whether it will be committed"
            )
        elif t == events.PARTIAL:
            raise RunError(
                f"{self.where}: an UPDATE has left parts of a JSON value out of the log",
                hint="SET GLOBAL binlog_row_value_options = '', and start anew with --fresh",
            )
        elif t == events.PAYLOAD or t in events.COMPRESSED:
            raise RunError(
                f"{self.where}: the binary log is compressed",
                hint="SET GLOBAL binlog_transaction_compression = OFF (MariaDB: log_bin_compress), and start anew with --fresh",
            )

    def _rotated(self, event: Event) -> None:
        """What follows is of this file: said when reading begins, at the end of a file, and at the beginning of the next one."""
        file, at = event.body[8:].decode(), int.from_bytes(event.body[:8], "little")
        self._sure = self._sure or bool(self._file) and file != self._file
        if file != self._file and self._file:
            self._known = 0
            self._low = _START
        if file != self._file or at > self._positions.at:
            self._positions = Positions(at)
        self._file = file
        self._tables.clear()  # numbers are of a file

    def _mapped(self, event: Event) -> None:
        body = event.body
        known = self._maps.get(body)
        if known is None:
            n = body[8]
            database, rest = body[9 : 9 + n].decode(), body[10 + n :]
            name = rest[1 : 1 + rest[0]].decode()
            if not self._followed.has(database, name):
                self._tables[int.from_bytes(body[:6], "little")] = None
                return
            if len(self._maps) >= MOST_MAPS:  # a table gets another number whenever the server opens it
                self._maps.clear()
            known = self._maps[body] = events.table_of(body, self._charsets, self.where)
        self._tables[known[0]] = known[1]

    def _changed(self, event: Event) -> None:
        table = self._tables.get(int.from_bytes(event.body[:6], "little"))
        if table is None or event.time * 1_000_000 < self._since:
            return
        if self._open is None or self._open.table is not table or self._open.size > TOGETHER:
            self._hand_over(None)
            self._open = Part(table=table, time=event.time * 1_000_000)
        self._open.messages.append((event.type, event.body))
        self._open.size += len(event.body)

    def _said(self, event: Event) -> None:
        statement = Statement.of(event.body)
        for word, database, table in statement.tables():
            followed = self._followed.has(database, table) if table else self._followed.has_any(database)
            if not followed or event.time * 1_000_000 < self._since:
                continue
            if word == events.STATEMENT:
                raise RunError(
                    f"{self.where}: a statement that changes it is in the log, and not the rows: {statement.text[:200]}",
                    hint="binlog_format = ROW in all sessions, and start anew with --fresh",
                )
            raise DataError(
                f"{self.where}: {'.'.join(filter(None, (database, table)))} was {word}, which is no change of rows",
                hint="DELETE FROM is; or start anew with --fresh",
            )
        if statement.ends:
            self._ended(event)

    def _ended(self, event: Event) -> None:
        """A transaction, at the end of this event."""
        if self._pending:
            self._gtids.add(self._pending)
            self._pending = ""
        place: Place = {"server": self._server}
        gtid, at = str(self._gtids), self._positions.at
        if gtid:
            place["gtid"] = gtid
        if at < _WRAP:
            self._low = at
        if self._sure or not gtid:
            place |= {"file": self._file, "pos": at} | ({} if at < _WRAP else {"low": self._low})
        self._hand_over(place)
        self._rows = False

    def _hand_over(self, ends: Place | None) -> None:
        """What is there of the transaction that comes in may be taken, its end or not."""
        part, self._open = self._open, None
        if part is None and ends is None:
            return
        part = part or Part()
        part.ends = ends
        self._rows = self._rows or bool(part.messages)
        self.put(part)
