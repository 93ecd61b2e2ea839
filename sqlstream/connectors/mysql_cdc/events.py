"""Events of the binary log: their headers, tables, and what statements and transactions they say."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlstream.connectors.mysql_cdc import charsets
from sqlstream.errors import RunError

QUERY, ROTATE, FORMAT, XID, TABLE_MAP, HEARTBEAT, GTID, ANONYMOUS, MARIADB_GTID = 2, 4, 15, 16, 19, 27, 33, 34, 162
INSERTS, UPDATES, DELETES = (23, 30), (24, 31), (25, 32)
ROWS = (*INSERTS, *UPDATES, *DELETES)
SECOND = (30, 31, 32)  # events of the second version, which have more in their headers
# What a file begins with, and what the server says in between: it may come again when reading begins behind it.
ABOUT_THE_FILE = (FORMAT, HEARTBEAT, 35, 41, 161, 163, 164)
PREPARED, PARTIAL, PAYLOAD, COMPRESSED = 38, 39, 40, (165, 166, 167, 168, 169, 170, 171)
_HEADER = struct.Struct("<IBIIIH")

# Types of columns.
TINY, SHORT, LONG, FLOAT, DOUBLE, TIMESTAMP, LONGLONG, INT24, DATE, TIME, DATETIME, YEAR = (
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
)
BLOB_COMPRESSED, VARCHAR_COMPRESSED, VECTOR = 140, 141, 242  # MariaDB's two, and MySQL's: passed over
VARCHAR, BIT, TIMESTAMP2, DATETIME2, TIME2, JSON, NEWDECIMAL = 15, 16, 17, 18, 19, 245, 246
ENUM, SET, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB, VAR_STRING, STRING, GEOMETRY = (
    247,
    248,
    249,
    250,
    251,
    252,
    253,
    254,
    255,
)
_NUMERIC = (TINY, SHORT, LONG, FLOAT, DOUBLE, LONGLONG, INT24, YEAR, NEWDECIMAL)
_OF_WIDTH = {
    TINY: 1,
    SHORT: 2,
    INT24: 3,
    LONG: 4,
    FLOAT: 4,
    DOUBLE: 8,
    LONGLONG: 8,
    YEAR: 1,
    DATE: 3,
    TIME: 3,
    TIMESTAMP: 4,
    DATETIME: 8,
}
_DIGITS = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)  # bytes of so many digits of a decimal
_INSIDE = re.compile(
    r"\s*(BEGIN|START\s+TRANSACTION|SAVEPOINT|ROLLBACK\s+TO|RELEASE\s+SAVEPOINT|XA\s+(START|END))\b", re.I
)
_COMMENT = re.compile(r"/\*(?!!).*?\*/", re.S)
_WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE|LOAD\s+DATA|WITH)\b", re.I)
STATEMENT = "a statement"
# What ends a table as it was, and how one says it. Behind ALTER TABLE what is done stands behind the name.
_ENDS = (
    (re.compile(r"\s*TRUNCATE(?:\s+TABLE)?\s", re.I), "truncated"),
    (re.compile(r"\s*DROP\s+TABLES?(?:\s+IF\s+EXISTS)?\s", re.I), "dropped"),
    (re.compile(r"\s*RENAME\s+TABLES?(?:\s+IF\s+EXISTS)?\s", re.I), "renamed"),
    (re.compile(r"\s*CREATE\s+OR\s+REPLACE\s+TABLE\s", re.I), "replaced"),
    (re.compile(r"\s*ALTER\s+(?:ONLINE\s+)?(?:IGNORE\s+)?TABLE(?:\s+IF\s+EXISTS)?\s", re.I), ""),
)
_DATABASE_ENDS = re.compile(r"\s*DROP\s+(?:DATABASE|SCHEMA)(?:\s+IF\s+EXISTS)?\s", re.I)
_ALTERED = (
    (re.compile(r"\bRENAME\s+(?!COLUMN\b|INDEX\b|KEY\b)", re.I), "renamed"),
    (re.compile(r"\b(?:TRUNCATE|DROP)\s+PARTITION\b", re.I), "robbed of a partition"),
    (re.compile(r"\bEXCHANGE\s+PARTITION\b|\bCONVERT\s+(?:PARTITION|TABLE)\b", re.I), "given or robbed of a partition"),
    (re.compile(r"\b(?:DISCARD|IMPORT)\s+(?:PARTITION\b.*)?TABLESPACE\b", re.I), "given another file"),
)
_LITERAL = re.compile(r"'(?:[^'\\]|''|\\.)*'|\"(?:[^\"\\]|\"\"|\\.)*\"|`(?:[^`]|``)*`", re.S)
_NAME = re.compile(r"(?:(?:`((?:[^`]|``)+)`|([\w$]+))\s*\.\s*)?(?:`((?:[^`]|``)+)`|([\w$]+))")


@dataclass(frozen=True)
class Event:
    """One of the log. `time`: seconds. `server`: whose. `ends`: where it ends in its file; 0: it is in none. `body`: behind the header."""

    time: int
    type: int
    server: int
    ends: int
    body: bytes

    @staticmethod
    def of(packet: bytes, checksum: int) -> Event:
        """Of a packet behind its OK. `checksum`: bytes of one at the end, which is TCP's business."""
        time, type_, server, _, ends, _ = _HEADER.unpack_from(packet, 1)
        return Event(time, type_, server, ends, packet[20 : len(packet) - checksum])


@dataclass(frozen=True)
class BinlogColumn:
    """A column as the log has it. `width`: bytes of a value, or below 0 those of its length. `digits`: of seconds, or behind the point.
    `charset`: of characters; "binary": none. `words`: of ENUM and SET. `length`: of what is padded."""

    name: str
    type: int
    width: int
    unsigned: bool = False
    precision: int = 0
    digits: int = 0
    charset: str = ""
    words: tuple[str, ...] = ()
    length: int = 0


@dataclass(frozen=True)
class BinlogTable:
    """A table as the log says it is: rows that follow have these columns."""

    database: str
    name: str
    columns: tuple[BinlogColumn, ...]


def table_of(body: bytes, charsets: Mapping[int, str], where: str) -> tuple[int, BinlogTable]:
    """The number and the table of a TABLE_MAP. RunError where the names of its columns are not there."""
    number = int.from_bytes(body[:6], "little")
    at = 8
    names = []
    for _ in range(2):
        n = body[at]
        names.append(body[at + 1 : at + 1 + n].decode())
        at += n + 2
    count, at = _number(body, at)
    types, at = list(body[at : at + count]), at + count
    size, at = _number(body, at)
    columns: list[dict[str, Any]] = []
    meta = at
    for t in types:
        told, meta = _column(t, body, meta, f"{where}: {names[0]}.{names[1]}")
        columns.append(told)
    at += size + (count + 7) // 8
    _with_more(columns, dict(_optional(body, at)), charsets)
    if columns and "name" not in columns[0]:
        raise RunError(
            f"{where}: changes of {names[0]}.{names[1]} do not say which columns they have: binlog_row_metadata was not FULL",
            hint="SET GLOBAL binlog_row_metadata = 'FULL', and start anew with --fresh",
        )
    return number, BinlogTable(names[0], names[1], tuple(BinlogColumn(**c) for c in columns))


def _column(t: int, body: bytes, at: int, where: str) -> tuple[dict[str, Any], int]:
    """What the log says of a column of a type, and where that of the next one is. RunError for a type that is not known."""
    if t in (STRING, VAR_STRING):
        first, second = body[at], body[at + 1]
        if first in (ENUM, SET):
            return {"type": first, "width": second}, at + 2
        length = ((((first << 8 | second) >> 4) & 0x300) ^ 0x300) + second
        return {"type": STRING, "width": -2 if length > 255 else -1, "length": length}, at + 2
    if t in (VARCHAR, VARCHAR_COMPRESSED):
        (length,) = struct.unpack_from("<H", body, at)
        return {"type": t, "width": -2 if length > 255 else -1}, at + 2
    if t in (BLOB, GEOMETRY, JSON, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB_COMPRESSED, VECTOR):
        return {"type": t, "width": -body[at]}, at + 1
    if t == NEWDECIMAL:
        precision, digits = body[at], body[at + 1]
        return {
            "type": t,
            "width": width_of_decimal(precision, digits),
            "precision": precision,
            "digits": digits,
        }, at + 2
    if t == BIT:
        bits = body[at] + 8 * body[at + 1]
        return {"type": t, "width": (bits + 7) // 8, "precision": bits}, at + 2
    if t in (TIMESTAMP2, DATETIME2, TIME2):
        digits = body[at]
        return {
            "type": t,
            "width": {TIMESTAMP2: 4, DATETIME2: 5, TIME2: 3}[t] + (digits + 1) // 2,
            "digits": digits,
        }, at + 1
    if t in (FLOAT, DOUBLE):
        return {"type": t, "width": _OF_WIDTH[t]}, at + 1
    if t not in _OF_WIDTH:
        raise RunError(
            f"{where} has a column of a type that is not known, and whose length in the log is not either: number {t}",
            hint="a view, or another table without it",
        )
    return {"type": t, "width": _OF_WIDTH[t]}, at


def width_of_decimal(precision: int, digits: int) -> int:
    """Bytes of a DECIMAL: nine digits are four bytes."""
    whole = precision - digits
    return whole // 9 * 4 + _DIGITS[whole % 9] + digits // 9 * 4 + _DIGITS[digits % 9]


def _optional(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + 2 <= len(body):
        kind = body[at]
        size, at = _number(body, at + 1)
        yield kind, body[at : at + size]
        at += size


def _with_more(columns: list[dict[str, Any]], more: Mapping[int, bytes], charsets: Mapping[int, str]) -> None:
    """What binlog_row_metadata adds: signs, names, words, and the charsets of characters."""
    if (names := more.get(4)) is not None:
        for c, name in zip(columns, _texts(names), strict=False):
            c["name"] = name.decode()
    signs = more.get(1, b"")
    for n, c in enumerate(c for c in columns if c["type"] in _NUMERIC):
        c["unsigned"] = n // 8 < len(signs) and bool(signs[n // 8] & (0x80 >> n % 8))
    characters = [
        c
        for c in columns
        if c["type"] in (STRING, VARCHAR, VAR_STRING, BLOB, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, GEOMETRY)
    ]
    words = [c for c in columns if c["type"] in (ENUM, SET)]
    for some, default, each in ((characters, 2, 3), (words, 10, 11)):
        for c, collation in zip(some, _collations(more, default, each, len(some)), strict=False):
            c["charset"] = charsets.get(collation, "utf8mb4")
    for kind, t in ((5, SET), (6, ENUM)):
        for c, listed in zip((c for c in columns if c["type"] == t), _lists(more.get(kind, b"")), strict=False):
            c["words"] = _words(listed, c.get("charset", "utf8mb4"))


def _words(listed: list[bytes], charset: str) -> tuple[str, ...]:
    """Of an ENUM or SET, which are in its charset."""
    try:
        return tuple(map(charsets.decoder(charset), listed))
    except (LookupError, UnicodeDecodeError):
        return tuple(w.decode("utf-8", "replace") for w in listed)


def _collations(more: Mapping[int, bytes], default: int, each: int, count: int) -> list[int]:
    if each in more:
        return _numbers(more[each])
    if default not in more:
        return []
    first, *others = _numbers(more[default])
    out = [first] * count
    for n, collation in zip(others[::2], others[1::2], strict=False):
        if n < count:
            out[n] = collation
    return out


def _number(body: bytes, at: int) -> tuple[int, int]:
    """A number whose first byte says how long it is, and where the next thing is."""
    first = body[at]
    width = {252: 2, 253: 3, 254: 8}.get(first, 0)
    return (int.from_bytes(body[at + 1 : at + 1 + width], "little") if width else first), at + 1 + width


def _numbers(body: bytes) -> list[int]:
    out, at = [], 0
    while at < len(body):
        n, at = _number(body, at)
        out.append(n)
    return out


def _texts(body: bytes) -> list[bytes]:
    out, at = [], 0
    while at < len(body):
        n, at = _number(body, at)
        out.append(body[at : at + n])
        at += n
    return out


def _lists(body: bytes) -> list[list[bytes]]:
    out, at = [], 0
    while at < len(body):
        count, at = _number(body, at)
        listed = []
        for _ in range(count):
            n, at = _number(body, at)
            listed.append(body[at : at + n])
            at += n
        out.append(listed)
    return out


@dataclass(frozen=True)
class Statement:
    """A statement in the log, and the database that was in use."""

    database: str
    text: str

    @staticmethod
    def of(body: bytes) -> Statement:
        """Of a QUERY."""
        size, variables = body[8], struct.unpack_from("<H", body, 11)[0]
        at = 13 + variables
        return Statement(
            body[at : at + size].decode("utf-8", "replace"), body[at + size + 1 :].decode("utf-8", "replace")
        )

    @property
    def ends(self) -> bool:
        """Whether a transaction has ended with it: a COMMIT, or a statement that is one by itself."""
        return _INSIDE.match(self.text) is None

    @property
    def writes(self) -> bool:
        """Whether it changes rows, which are not in the log then."""
        return _WRITES.match(_bare(self.text)) is not None

    def tables(self) -> list[tuple[str, str, str]]:
        """Of what leaves tables that are not what they were (TRUNCATE, DROP, RENAME, …): what became of them, and which (database, name; "":
        all of the database). Of what writes: STATEMENT, and all names that may be a table's."""
        said = _bare(self.text)
        if self.writes:
            return [(STATEMENT, *self._name(n)) for n in _NAME.findall(said)]
        if (found := _DATABASE_ENDS.match(said)) is not None:
            names = _NAME.findall(said[found.end() :])
            return [("dropped", self._name(n)[1], "") for n in names[:1]]
        for pattern, word in _ENDS:
            if (found := pattern.match(said)) is not None:
                rest = said[found.end() :]
                if not word:
                    done = _LITERAL.sub("``", rest)
                    words = [w for p, w in _ALTERED if p.search(done)]
                    return [(words[0], *self._name(n)) for n in _NAME.findall(rest)[:1]] if words else []
                if word == "replaced":
                    return [(word, *self._name(n)) for n in _NAME.findall(rest)[:1]]
                return [(word, *self._name(n)) for part in rest.split(",") for n in _NAME.findall(part)[:1]]
        return []

    def _name(self, found: tuple[str, str, str, str]) -> tuple[str, str]:
        """Of _NAME: database and table."""
        quoted_database, database, quoted_table, table = found
        return quoted_database.replace("``", "`") or database or self.database, quoted_table.replace("``", "`") or table


def _bare(text: str) -> str:
    return _COMMENT.sub(" ", text)


def gtid_of(event: Event) -> str:
    """The id of the transaction that begins; "": it has none."""
    if event.type == GTID:
        sid, number = event.body[1:17].hex(), int.from_bytes(event.body[17:25], "little")
        return f"{sid[:8]}-{sid[8:12]}-{sid[12:16]}-{sid[16:20]}-{sid[20:]}:{number}"
    if event.type == MARIADB_GTID:
        number, domain = struct.unpack_from("<QI", event.body)
        return f"{domain}-{event.server}-{number}"
    return ""
