"""The databases there are, by the schemes of their URLs. Adding one is a module and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from sqlstream.connectors.jdbc.database import Database
from sqlstream.connectors.jdbc.url import Address, check_hosts, taken_apart
from sqlstream.errors import OptionError

POSTGRESQL, MYSQL, SQLITE, DUCKDB = "postgresql", "mysql", "sqlite", "duckdb"
# Each is imported when it is used: most jobs know one.
_MODULES = {
    POSTGRESQL: "postgres_database", MYSQL: "mysql_database", SQLITE: "sqlite_database", DUCKDB: "duckdb_database",
}  # fmt: skip
_SCHEMES = {
    "jdbc:postgresql": POSTGRESQL, "postgresql": POSTGRESQL, "postgres": POSTGRESQL, "jdbc:mysql": MYSQL,
    "jdbc:mariadb": MYSQL, "mysql": MYSQL, "mariadb": MYSQL, "jdbc:sqlite": SQLITE,
    "jdbc:duckdb": DUCKDB,
}  # fmt: skip
_FILES = (SQLITE, DUCKDB)
_HINT = "jdbc:postgresql://host:port/database, jdbc:mysql://host:port/database, jdbc:sqlite:file or jdbc:duckdb:file"


def database(kind: str) -> Database:
    """What a URL's scheme stands for."""
    found: Database = import_module(f"sqlstream.connectors.jdbc.{_MODULES[kind]}").DATABASE
    return found


def database_at(address: Address) -> Database:
    """The one that an address is of, as its URL says that it is to be read."""
    return database(address.kind).at(address)


def parsed(
    url: str, username: str | None, password: str | None, connect_timeout: int, where: str, directory: str = "."
) -> Address:
    """The address that a URL and two options come to. `connect_timeout`: seconds, unless the URL has one. `directory`: where names of
    files begin. OptionError, which says `where`, when there is no such database, or two answers to one question."""
    scheme = max((s for s in _SCHEMES if url.lower().startswith(f"{s}:")), key=len, default=None)
    if scheme is None:
        said = ":".join(url.split(":")[: 2 if url.startswith("jdbc:") else 1])
        raise OptionError(
            f"{where}: option 'url': '{said}:' is no database that there is a connector for", hint=_HINT, subject=url
        )
    kind = _SCHEMES[scheme]
    parts = taken_apart(url[len(scheme) + 1 :], kind, scheme.startswith("jdbc:"), directory)
    if kind not in _FILES:
        check_hosts(parts, where)
    given: Mapping[str, str | None] = {"user": username, "password": password}
    return database(kind).address(parts.said(given, where), connect_timeout, where)
