"""PostgreSQL: a connection whose answers are Arrow's columns (ADBC over libpq), and what its errors mean.

Answers come by COPY in binary form and become columns outside Python; rows go in the same way. Whoever waits for the server
lets go of the interpreter meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

import pyarrow as pa

from sqlstream.connectors.jdbc.database import DbConnection, Disconnected, Passing
from sqlstream.connectors.jdbc.readings import Reading
from sqlstream.connectors.jdbc.url import Address
from sqlstream.distribution import install
from sqlstream.errors import DataError, InternalError, OptionError, RunError, SqlStreamError

# Classes of SQLSTATE after which the same may go well another time: connections, resources, operator intervention, the
# system; and serialization failures, deadlocks, locks that were not had, a server that begins or ends.
_PASSING = ("08", "53", "57", "58")
PASSING_STATES = ("40001", "40P01", "55P03", "55006", "25006", "25P03")
_OF_DATA = ("22", "23")
_OF_NAMES = ("42", "3F", "3D", "0A")
_DENIED = "42501"
_REFUSED = re.compile(r'authentication failed|no password supplied|no pg_hba\.conf entry|role "[^"]*" does not exist')


def _driver() -> Any:
    try:
        import adbc_driver_postgresql.dbapi as driver
    except ImportError as e:
        raise OptionError(
            f"connector 'jdbc' with PostgreSQL needs a package that is not installed: {e}", hint=install("postgres")
        ) from e
    return driver


@lru_cache(maxsize=16)
def _database(uri: str) -> Any:
    """What the driver knows of a database beside its connections: it asks for the numbers of all types first, which takes ten
    times as long as connecting. Those that we read are the same everywhere."""
    import adbc_driver_postgresql

    return adbc_driver_postgresql.connect(uri)


class Denied(RunError):
    """The user has not the right to do that; somebody may give it meanwhile."""


class _Kept:
    """Stands for the above in a connection, and stays when that is closed."""

    def close(self) -> None:
        """Nothing."""


def uri(address: Address) -> str:
    """For libpq."""
    who = "" if address.user is None else quote(address.user, safe="")
    if address.password is not None:
        who += ":" + quote(address.password, safe="")
    query = urlencode(address.parameters, quote_via=quote)
    base = f"postgresql://{who}{'@' if who else ''}{address.hosts}/{quote(address.database, safe='')}"
    return f"{base}?{query}" if query else base


def quoted(name: str) -> str:
    """An identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A string constant, whatever is in it and whatever the server's settings."""
    if "\\" in value:
        return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    return "'" + value.replace("'", "''") + "'"


class Connection(DbConnection):
    """One session. Parameters: $1, $2, …"""

    def __init__(self, address: Address, where: str) -> None:
        driver = _driver()
        import adbc_driver_manager

        self.where = where
        self._error: type[Exception] = driver.Error
        self.closed = False
        try:
            low = adbc_driver_manager.AdbcConnection(_database(uri(address)))
            self._connection = driver.Connection(_Kept(), low, autocommit=True)
        except driver.Error as e:
            told = f"{where}: cannot connect to {address.kind} at {address.hosts or 'the local server'}: {_message(e)}"
            error = unconnected(told, _message(e))
            raise error from (ConnectionError(_message(e)) if error.transient else None)

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        with self._told(), self._connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)

    def table(self, sql: str) -> pa.Table:
        """All rows of an answer."""
        with self._told(), self._connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        columns = [c.to_pylist() for c in self.table(sql).columns]
        return list(zip(*columns, strict=True))

    def stream(self, sql: str, readings: Sequence[Reading] = ()) -> Iterator[pa.RecordBatch]:
        with self._told(), self._connection.cursor() as cursor:
            cursor.execute(sql)
            with cursor.fetch_record_batch() as found:
                yield from found

    def ingest(self, table: str, schema: str | None, rows: pa.RecordBatch) -> None:
        """Appends rows whose columns have names, and in binary form the types, of the table's. No schema: a temporary one."""
        with self._told(), self._connection.cursor() as cursor:
            cursor.adbc_ingest(table, rows, mode="append", db_schema_name=schema, temporary=schema is None)

    def cancel(self) -> None:
        with suppress(Exception):
            self._connection.adbc_cancel()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            with suppress(Exception):  # what it says about what was left unfinished
                self._connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        if self.closed:
            raise InternalError("a connection that is closed")
        try:
            yield
        except (self._error, pa.ArrowInvalid, OSError) as e:
            told = self.translated(e)
            raise told from (ConnectionError(_message(e)) if told.transient else e)

    def translated(self, e: Exception) -> SqlStreamError:
        """What an error of the driver is here."""
        message, state = _message(e), getattr(e, "sqlstate", None) or _state(str(e))
        told = f"{self.where}: {message}"
        if state is None:  # the server says ERROR, the driver that there is no server
            return RunError(told) if "ERROR:" in str(e) else Disconnected(told)
        if state.startswith(_PASSING) or state in PASSING_STATES:
            return (Disconnected if state.startswith(("08", "57P")) else Passing)(told)
        if state.startswith(_OF_DATA):
            return DataError(told)
        if state == _DENIED:
            return Denied(told)
        if state.startswith(_OF_NAMES):
            return OptionError(told)
        return RunError(told)


def unconnected(told: str, said: str) -> RunError:
    """What it is that there is no connection. libpq has no code for it: who is refused in another language than English is taken to be so
    for a while, and is asked again."""
    if _REFUSED.search(said):
        return RunError(told, hint="'username' and 'password' say who asks")
    return Disconnected(told)


def _state(message: str) -> str | None:
    found = re.search(r"SQLSTATE:? (\w{5})\b", message)
    return found[1] if found else None


def _message(e: Exception) -> str:
    """What the server said, without what the driver says around it."""
    said = str(e)
    said = re.split(r"\n*Query was: ", said)[0]
    said = re.sub(r"\.? SQLSTATE: \w{5}\s*$", "", said)
    found = re.search(r"\b(?:ERROR|FATAL|PANIC):\s+(.*)", said, re.DOTALL)
    if found is None:
        found = re.search(r"(?:Failed to connect|\[libpq\] [^:]*|Failed to [\w ]*): (.*)", said, re.DOTALL)
    lines = [line.strip() for line in (found[1] if found else said).splitlines()]
    return "; ".join(line for line in lines if line and not re.fullmatch(r"\^|LINE \d+:.*", line))
