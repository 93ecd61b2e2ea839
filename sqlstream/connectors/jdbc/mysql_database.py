"""MySQL and MariaDB as databases of connector 'jdbc': by PyMySQL (`mysql.py`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from sqlstream.connectors.jdbc.database import Database, DbConnection, Placed, Staging, Writing
from sqlstream.connectors.jdbc.keys import texts_of
from sqlstream.connectors.jdbc.mysql import Connection, quoted, text
from sqlstream.connectors.jdbc.mysql_target import MysqlTarget, one_of
from sqlstream.connectors.jdbc.mysql_types import (
    BINARIES,
    CHARACTERS,
    DECIMALS,
    FLOATS,
    INTEGERS,
    UNSIGNED,
    in_quotes,
    reading,
    type_of,
    writing,
)
from sqlstream.connectors.jdbc.places import Ordering, in_order
from sqlstream.connectors.jdbc.query import Query
from sqlstream.connectors.jdbc.readings import Reading
from sqlstream.connectors.jdbc.tables import DbColumn, DbTable, meanings, nearest, whole_numbers
from sqlstream.connectors.jdbc.target import Target
from sqlstream.connectors.jdbc.url import Address, Parts
from sqlstream.contracts import Split
from sqlstream.errors import OptionError, did_you_mean
from sqlstream.expressions import Literal
from sqlstream.literals import literal_text
from sqlstream.types import DOUBLE, Schema, Type

BLOCK = 100_000  # rows a statement, which are taken before the next
_WHOLE = (*INTEGERS, *UNSIGNED)
_SSL = {
    "disabled": "disabled", "disable": "disabled", "false": "disabled", "preferred": "preferred", "required": "required",
    "trust": "required", "true": "required", "verify_ca": "verify_ca", "verify-ca": "verify_ca", "verify_identity": "verify_identity",
    "verify-full": "verify_identity",
}  # fmt: skip
_ZERO = {"exception": "", "converttonull": "null", "convert_to_null": "null"}
# Of the Java drivers: about how they do what is done in another way here.
_NO_EFFECT = (
    "useunicode", "characterencoding", "rewritebatchedstatements", "usecursorfetch", "useserverprepstmts", "cacheprepstmts",
    "prepstmtcachesize", "prepstmtcachesqllimit", "allowpublickeyretrieval", "tinyint1isbit", "autoreconnect", "failoverreadonly",
    "uselegacydatetimecode", "defaultfetchsize", "usebulkstmts", "maxreconnects", "permitmysqlscheme", "allowmultiqueries",
)  # fmt: skip
_KNOWN = (
    "user", "password", "sslMode", "useSSL", "requireSSL", "verifyServerCertificate", "ssl_ca", "ssl_cert", "ssl_key",
    "ssl_key_password", "serverSslCert", "connectTimeout", "connectionTimeZone", "serverTimezone", "zeroDateTimeBehavior",
)  # fmt: skip


@dataclass(frozen=True)
class MySQL(Database):
    """Tried with MariaDB 10.11. `zone`: of TIMESTAMP columns that are TIMESTAMP here. `zero_is_null`: '0000-00-00' is."""

    zone: str = "UTC"
    zero_is_null: bool = False

    kind = "mysql"
    drivers = ("com.mysql.cj.jdbc.Driver", "com.mysql.jdbc.Driver", "org.mariadb.jdbc.Driver")
    staging = Staging(
        (
            "CREATE TABLE IF NOT EXISTS sqlstream_staged (owner VARCHAR(600) COLLATE utf8mb4_bin, batch CHAR(32) COLLATE utf8mb4_bin, "
            "part INT, `rows` LONGBLOB, PRIMARY KEY (owner, batch, part)) ENGINE = InnoDB CHARACTER SET utf8mb4",
            "CREATE TABLE IF NOT EXISTS sqlstream_checkpoints (owner VARCHAR(600) COLLATE utf8mb4_bin PRIMARY KEY, "
            "checkpoint BIGINT, `at` TIMESTAMP NULL) ENGINE = InnoDB CHARACTER SET utf8mb4",
        ),
        mine=" ON DUPLICATE KEY UPDATE owner = owner",
        lock=" FOR UPDATE",
    )
    alike = {
        **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "BIGINT"), _WHOLE), "DECIMAL": (*_WHOLE, *DECIMALS), "DATE": ("date",),
        "TIMESTAMP": ("datetime",), "TIMESTAMP_LTZ": ("timestamp",),
        **dict.fromkeys(("CHAR", "VARCHAR"), (*CHARACTERS, "enum")),
    }  # fmt: skip
    numbers = (*_WHOLE, *DECIMALS, *FLOATS)
    decimals = DECIMALS
    lengths = ("char", "varchar")
    ranges = {
        f"{n}{sign}": bounds
        for sign, by in (("", 1), (" unsigned", -1))
        for n, bounds in whole_numbers(
            tinyint=8 * by, smallint=16 * by, mediumint=24 * by, int=32 * by, bigint=64 * by
        ).items()
    }

    def address(self, parts: Parts, connect_timeout: int, where: str) -> Address:
        if not parts.database:
            raise OptionError(f"{where}: option 'url' names no database", hint="…//host:port/database")
        found = {"connect_timeout": str(connect_timeout), **parameters_of(parts.parameters, where)}
        return Address(parts.kind, parts.hosts, parts.database, parts.user, parts.password, found)

    def connect(self, address: Address, where: str) -> Connection:
        return Connection(address, where)

    def at(self, address: Address) -> MySQL:
        return MySQL(address.parameters.get("time_zone", "UTC"), address.parameters.get("zero") == "null")

    def quoted(self, name: str) -> str:
        return quoted(name)

    def text(self, value: str) -> str:
        return text(value)

    def find_table(self, connection: DbConnection, name: str) -> DbTable:
        (own,) = connection.rows("SELECT DATABASE()")[0]
        found = None
        for schema, table in [*meanings(name, "`"), *meanings(name)]:
            found = found or _found(connection, schema or own, table)
        if found is None:
            listed = connection.rows(
                f"SELECT table_name FROM information_schema.tables WHERE table_schema = {text(own)}"
            )
            raise OptionError(
                f"{connection.where}: the database has no table '{name}'",
                hint=did_you_mean(name, [n for (n,) in listed if not n.startswith("sqlstream_")], "tables"),
                subject=name,
            )
        return described(connection, *found)

    def has_table(self, connection: DbConnection, name: str) -> bool:
        where = f"table_schema = DATABASE() AND table_name = {text(name)}"
        return bool(connection.rows(f"SELECT 1 FROM information_schema.tables WHERE {where}"))

    def type_of(self, column: DbColumn) -> Type:
        return type_of(column)

    def reading(self, column: DbColumn, t: Type, where: str) -> Reading:
        return reading(column, t, where, self.zone, self.zero_is_null)

    def constant(self, e: Literal, t: Type, column: DbColumn) -> str | None:
        _, _, quoted_part = literal_text(e.value, e.type).partition(" ")  # DATE '…', TIMESTAMP_LTZ '… … UTC'
        return quoted_part.replace(" UTC'", "'") if quoted_part.startswith("'") else None

    def batches(
        self,
        connection: DbConnection,
        query: Query,
        split: Split,
        position: Any,
        key: tuple[str, ...],
        snapshot: str | None,
    ) -> Placed:
        """By the primary key, some rows a statement, all of one moment. Without a key in one statement."""
        connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        there = query.there
        columns = [there.column(k, query.where) for k in there.key or key]
        return in_order(connection, query, [ordering(c) for c in columns], position, BLOCK)

    def check_key(self, column: DbColumn, t: Type, where: str) -> None:
        inexact = t.kind == "BOOLEAN" or column.base in FLOATS  # any number but 0 is true
        super().check_key(column, DOUBLE if inexact else t, where)

    def asked(self, columns: Sequence[DbColumn], types: Sequence[Type], keys: Sequence[pa.Array]) -> str | None:
        constants = []
        for k in keys:
            texts = texts_of(k).cast(pa.binary())
            number = pa.types.is_integer(k.type) or pa.types.is_decimal(k.type)
            constants.append(texts if number else in_quotes(texts, b"'"))
        sides = [
            f"CAST(t.{quoted(c.name)} AS CHAR)"
            if t.is_string and c.base in ("json", *self.numbers)
            else f"t.{quoted(c.name)}"
            for c, t in zip(columns, types, strict=True)
        ]
        return one_of(sides, constants).decode()

    def writing(self, column: DbColumn, t: Type, where: str) -> Writing:
        return writing(column, t, where, self.zone)

    def target(self, connection: DbConnection, name: str, schema: Schema, key: tuple[str, ...]) -> Target:
        assert isinstance(connection, Connection)
        return MysqlTarget(self, connection, name, schema, key)

    def parameter(self, n: int) -> str:
        return "%s"


DATABASE = MySQL()


def ordering(column: DbColumn) -> Ordering:
    """How rows are put in order by a column, and gone on behind one."""
    name = f"t.{quoted(column.name)}"
    if column.base in BINARIES:
        return Ordering(name, f"HEX({name})", _hexadecimal)
    if column.base in ("enum", "set", "bit"):  # these have the order of their numbers
        return Ordering(f"({name} + 0)", f"({name} + 0)", _number)
    if column.base in FLOATS:
        return Ordering(f"({name} + 0e0)", f"({name} + 0e0)", _number)
    if column.base in (*_WHOLE, *DECIMALS):
        return Ordering(name, name, _number)
    return Ordering(name, f"CAST({name} AS CHAR)", text)


def _number(value: str) -> str:
    return str(value) if re.fullmatch(r"[-+.\de]+", value) else text(value)


def _hexadecimal(value: str) -> str:
    return f"x{text(value)}"


def _found(connection: DbConnection, schema: str, table: str) -> tuple[str, str] | None:
    def like(column: str, value: str) -> str:
        return f"LOWER({column}) = LOWER({text(value)})"

    rows = connection.rows(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE "
        f"{like('table_schema', schema)} AND {like('table_name', table)}"
    )
    whole = nearest(f"{schema}.{table}", [f"{s}.{t}" for s, t in rows], connection.where)
    return next(((str(s), str(t)) for s, t in rows if f"{s}.{t}" == whole), None)


def described(connection: DbConnection, schema: str, table: str) -> DbTable:
    """A table that is there."""
    of = f"table_schema = {text(schema)} AND table_name = {text(table)}"
    listed = connection.rows(
        "SELECT column_name, data_type, column_type, numeric_scale, datetime_precision, is_nullable, extra "
        f"FROM information_schema.columns WHERE {of} ORDER BY ordinal_position"
    )
    columns = {}
    for name, base, declared, scale, digits, nullable, extra in listed:
        declared = declared.decode() if isinstance(declared, bytes) else str(declared)
        # of what stands behind the type: an ENUM may have such a word
        of_numbers = str(base).lower() in (*INTEGERS, *DECIMALS, *FLOATS)
        family = f"{base} unsigned" if of_numbers and re.search("unsigned|zerofill", declared, re.I) else str(base)
        digits = scale if scale is not None and digits is None else digits
        given = "GENERATED" in str(extra).upper().replace("DEFAULT_GENERATED", "")
        columns[str(name)] = DbColumn(
            str(name),
            family.lower(),
            declared.lower(),
            None if digits is None else int(digits),
            nullable == "NO",
            given,
        )
    parts = connection.rows(
        "SELECT index_name, column_name, sub_part FROM information_schema.statistics "
        f"WHERE {of} AND non_unique = 0 ORDER BY index_name, seq_in_index"
    )
    indexes: dict[str, list[str | None]] = {}
    for index, column, prefix in parts:
        indexes.setdefault(str(index), []).append(None if column is None or prefix is not None else str(column))
    unique = tuple(frozenset(c) for c in indexes.values() if None not in c)
    key = tuple(c for c in indexes.get("PRIMARY", ()) if c is not None)
    if len(key) < len(indexes.get("PRIMARY", ())):
        key = ()
    return DbTable(schema, table, f"{quoted(schema)}.{quoted(table)}", columns, unique, key)  # type: ignore[arg-type]


def parameters_of(given: Mapping[str, str], where: str) -> dict[str, str]:
    """A URL's parameters, by the names of both Java drivers or of PyMySQL; those that mean nothing are refused by name."""
    out: dict[str, str] = {}
    for key, value in given.items():
        lower = key.lower()
        if lower in ("sslmode", "usessl", "requiressl"):
            if value.lower() not in _SSL:
                raise OptionError(
                    f"{where}: option 'url': {key} is {', '.join(dict.fromkeys(_SSL.values()))}, and not '{value}'"
                )
            if lower != "requiressl" or value.lower() == "true":
                out["ssl_mode"] = _SSL[value.lower()]
        elif lower == "verifyservercertificate":
            if value.lower() == "true":
                out["ssl_mode"] = "verify_ca"
        elif lower in ("ssl_ca", "ssl_cert", "ssl_key", "ssl_key_password"):
            out[lower] = value
        elif lower == "serversslcert":
            out["ssl_ca"] = value
        elif lower == "connecttimeout":  # ms
            if not (value.isascii() and value.isdigit()):
                raise OptionError(
                    f"{where}: option 'url': {key} is a number of milliseconds, and not '{value}'", subject=key
                )
            out["connect_timeout"] = str(min(max(1, int(value) // 1000), 31_536_000))
        elif lower in ("servertimezone", "connectiontimezone"):
            out["time_zone"] = _zone(value, where)
        elif lower == "zerodatetimebehavior" and value.lower() in _ZERO:
            out["zero"] = _ZERO[value.lower()]
        elif lower not in _NO_EFFECT:
            raise OptionError(
                f"{where}: option 'url': parameter '{key}' means nothing here",
                hint=did_you_mean(key, _KNOWN, "parameters"),
                subject=key,
            )
    return out


def _zone(name: str, where: str) -> str:
    """A time zone's name. OptionError when there is none of it."""
    if name.upper() in ("UTC", "GMT", "Z", "+00:00"):
        return "UTC"
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError, ModuleNotFoundError) as e:
        raise OptionError(f"{where}: option 'url': there is no time zone '{name}'", hint="Europe/Berlin") from e
    return name
