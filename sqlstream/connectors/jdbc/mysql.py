"""MySQL and MariaDB: a connection by PyMySQL, whose rows become Arrow's columns in a compiled loop, and what its errors mean.

PyMySQL connects, logs in and sends statements. The rows of an answer are texts in packets, which it would take apart in Python, ten times
slower: they are read from its socket and taken apart here (`mysql_rows.py`).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa

from sqlstream.connectors.jdbc.database import DbConnection, Disconnected, Passing
from sqlstream.connectors.jdbc.mysql_rows import rows_of_answer
from sqlstream.connectors.jdbc.readings import Reading
from sqlstream.connectors.jdbc.url import Address
from sqlstream.connectors.sockets import keep_alive
from sqlstream.distribution import install
from sqlstream.errors import Canceled, DataError, InternalError, OptionError, RunError, SqlStreamError

# Numbers of errors after which the same may go well another time. Of connections:
_GONE = {
    1053,
    1077,
    1078,
    1079,
    1129,
    1152,
    1158,
    1159,
    1160,
    1161,
    1184,
    1927,
    2002,
    2003,
    2005,
    2006,
    2013,
    2055,
    4031,
}
# and: too many connections or statements, no memory, a lock that was not had, a deadlock, a server that only reads for now.
_PASSING = {1037, 1040, 1041, 1203, 1205, 1213, 1226, 1290, 1637, 1792, 1836, 3101, 3572, 3058}
_OF_DATA = {1048, 1062, 1264, 1265, 1292, 1364, 1366, 1367, 1406, 1411, 1451, 1452, 1690, 3140, 3141, 3819, 4025}
_OF_NAMES = {1049, 1054, 1064, 1146, 1305, 1273, 1115}
_INTERRUPTED, _LARGE = 1317, (1153, 1301)
# Ours is what a session means: texts in UTF-8, times in UTC, values that do not fit are errors, and 0 is 0.
_SETTINGS = (
    "SET NAMES utf8mb4",
    "SET SESSION time_zone = '+00:00', "
    "sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO', net_write_timeout = 3600",
)
HOSTS_PORT = 3306


def library() -> Any:
    """PyMySQL. OptionError where it is not installed."""
    try:
        import pymysql
    except ImportError as e:
        raise OptionError(
            f"connector 'jdbc' with MySQL needs a package that is not installed: {e}", hint=install("mysql")
        ) from e
    return pymysql


def quoted(name: str) -> str:
    """An identifier, whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """A string constant, whatever is in it, as sessions of ours read it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def connected(address: Address, where: str, **more: Any) -> Any:
    """PyMySQL's connection to the first of the hosts that answers. Errors are ours."""
    pymysql = library()
    hosts = [h for h in address.hosts.split(",") if h] or ["localhost"]
    refused: Exception | None = None
    try:
        security = _security(address)
    except OSError as e:  # SSLError is one
        raise OptionError(
            f"{where}: the certificates for {address.kind} cannot be read: {e}",
            hint="ssl_ca, ssl_cert and ssl_key are files in PEM",
        ) from e
    for host in hosts:
        name, port = _host_and_port(host)
        try:
            made = pymysql.connect(
                host=name,
                port=port,
                user=address.user,
                password=address.password or "",
                database=address.database or None,
                charset="utf8mb4",
                autocommit=True,
                program_name="sqlstream",
                connect_timeout=int(address.parameters["connect_timeout"]),
                **security,
                **more,
            )
            keep_alive(made._sock)
            return made
        except (pymysql.err.Error, OSError) as e:
            if isinstance(e, pymysql.err.Error) and e.args and e.args[0] not in _GONE | _PASSING:
                raise _refused(e, where, address) from e
            refused = e
        except RuntimeError as e:  # a package that a way to log in needs
            raise OptionError(f"{where}: cannot connect to {address.kind} at {host}: {e}", hint=install("mysql")) from e
    told = _said(refused) if refused is not None else ""
    raise Disconnected(f"{where}: cannot connect to {address.kind} at {address.hosts or 'localhost'}: {told}") from (
        ConnectionError(told)
    )


def _refused(e: Exception, where: str, address: Address) -> SqlStreamError:
    told = f"{where}: cannot connect to {address.kind} at {address.hosts or 'localhost'}: {_said(e)}"
    return OptionError(told, subject="url") if e.args[0] in _OF_NAMES else RunError(told)


def _host_and_port(host: str) -> tuple[str, int]:
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):  # [::1]
        name, port = host, str(HOSTS_PORT)
    return name.strip("[]"), int(port) if port.isdigit() else HOSTS_PORT


def _security(address: Address) -> dict[str, Any]:
    p = address.parameters
    mode = p.get("ssl_mode", "preferred" if "ssl_ca" not in p else "verify_ca")
    if mode == "disabled":
        return {"ssl_disabled": True}
    if mode == "preferred" and "ssl_cert" not in p:
        return {}  # as the server has it
    context = ssl.create_default_context(cafile=p.get("ssl_ca"))
    context.check_hostname = mode == "verify_identity"
    context.verify_mode = ssl.CERT_REQUIRED if mode.startswith("verify") else ssl.CERT_NONE
    # Certificates that MySQL makes for itself are not strict ones.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if "ssl_cert" in p:
        context.load_cert_chain(p["ssl_cert"], p.get("ssl_key"), p.get("ssl_key_password"))
    return {"ssl": context}


class Connection(DbConnection):
    """One session. Parameters: %s"""

    def __init__(self, address: Address, where: str) -> None:
        self.where, self._address = where, address
        self._pymysql = library()
        self._connection = connected(address, where)
        try:
            for statement in _SETTINGS:
                self.execute(statement)
            ((packet,),) = self.rows("SELECT @@max_allowed_packet")
        except BaseException:
            self.close()
            raise
        self.largest = int(packet)  # bytes of a statement

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        with self._told(), self._connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)

    def run(self, statement: bytes) -> None:
        """A statement that is in UTF-8 already. RunError where it is larger than the server takes, which would hang up."""
        if len(statement) >= self.largest:
            raise RunError(
                f"{self.where}: a statement of {len(statement)} bytes is larger than the server takes (max_allowed_packet = {self.largest})",
                hint="SET GLOBAL max_allowed_packet = 1073741824, and in its configuration",
            )
        with self._told():
            self._connection.query(statement)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self._told(), self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def stream(self, sql: str, readings: Sequence[Reading] = ()) -> Iterator[pa.RecordBatch]:
        with self._told():
            self._connection.query(sql, unbuffered=True)
            yield from rows_of_answer(self._connection, [r.wire for r in readings])

    def cancel(self) -> None:
        with suppress(Exception):
            other = connected(self._address, self.where)
            try:
                other.query(f"KILL QUERY {self._connection.thread_id()}")
            finally:
                other.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            with suppress(Exception):
                self._connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        if self.closed:
            raise InternalError("a connection that is closed")
        try:
            yield
        except (self._pymysql.err.Error, OSError) as e:
            told = translated(e, self.where)
            raise told from (ConnectionError(_said(e)) if told.transient else e)


def translated(e: Exception, where: str) -> SqlStreamError:
    """What an error of the driver is here."""
    number = e.args[0] if e.args and isinstance(e.args[0], int) else 0
    told = f"{where}: {_said(e)}"
    if isinstance(e, OSError) or number in _GONE or number == 0:
        return Disconnected(told)
    if number == _INTERRUPTED:
        return Canceled(told)
    if number in _PASSING:
        return Passing(told)
    if number in _LARGE:
        return RunError(
            told, hint="a statement or value is larger than the server takes: raise max_allowed_packet there"
        )
    state = getattr(e, "sqlstate", None) or ""
    if number in _OF_DATA or state[:2] in ("22", "23"):
        return DataError(told)
    if number in _OF_NAMES:
        return OptionError(told)
    return RunError(told)


def _said(e: Exception) -> str:
    return str(e.args[1]) if len(e.args) > 1 else str(e) or type(e).__name__
