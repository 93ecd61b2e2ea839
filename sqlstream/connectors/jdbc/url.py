"""URLs of databases: Java's (`jdbc:postgresql://host:port/db?user=…`) and libpq's (`postgresql://user:password@host/db?…`).

A Java URL's parameters are named as its driver names them, and become libpq's; those that mean nothing here are refused
by name. libpq's own are handed on as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode

from sqlstream.errors import OptionError, did_you_mean

POSTGRESQL = "postgresql"
_SCHEMES = {"jdbc:postgresql": POSTGRESQL, "postgresql": POSTGRESQL, "postgres": POSTGRESQL}
# Of PostgreSQL's Java driver: what a parameter is to libpq.
_JAVA = {
    "user": "user",
    "password": "password",
    "ApplicationName": "application_name",
    "connectTimeout": "connect_timeout",
    "loginTimeout": "connect_timeout",
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "sslpassword": "sslpassword",
    "options": "options",
    "gssEncMode": "gssencmode",
    "channelBinding": "channel_binding",
}
_ANY, _PRIMARY = "any", "primary"
_SERVERS = {
    "any": _ANY, "primary": _PRIMARY, "master": _PRIMARY, "secondary": "standby", "slave": "standby",
    "preferSecondary": "prefer-standby", "preferSlave": "prefer-standby",
}  # fmt: skip


@dataclass(frozen=True)
class Address:
    """Where a database is, and as whom. `hosts`: as in the URL, `host:port,…`; "": libpq's default. Shown without secrets."""

    kind: str
    hosts: str
    database: str
    user: str | None
    password: str | None = field(default=None, repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def place(self) -> str:
        """What tells the database from others, for who connects so."""
        return f"{self.kind}://{self.user or ''}@{self.hosts}/{self.database}"

    def uri(self) -> str:
        """For libpq."""
        who = "" if self.user is None else quote(self.user, safe="")
        if self.password is not None:
            who += ":" + quote(self.password, safe="")
        query = urlencode(self.parameters, quote_via=quote)
        return f"postgresql://{who}{'@' if who else ''}{self.hosts}/{quote(self.database, safe='')}" + (
            f"?{query}" if query else ""
        )


def parsed(url: str, username: str | None, password: str | None, connect_timeout: int, where: str) -> Address:
    """The address that a URL and two options come to. `connect_timeout`: seconds, unless the URL has one. OptionError, which
    says `where`, when there is no such database, or two answers to one question."""
    java = url.startswith("jdbc:")
    head, mark, query = url.partition("?")
    found = re.fullmatch(r"(jdbc:[\w+.-]+|[\w+.-]+):(?://([^/]*)/?(.*)|/?(.*))", head, re.DOTALL)
    kind = None if found is None else _SCHEMES.get(found[1].lower())
    if found is None or kind is None:
        scheme = found[1] if found is not None else url.partition(":")[0]
        raise OptionError(
            f"{where}: option 'url': '{scheme}:' is no database that there is a connector for",
            hint="jdbc:postgresql://host:port/database, or postgresql://host:port/database",
            subject=url,
        )
    hosts, database = found[2] or "", unquote(found[3] or found[4] or "")
    in_url: dict[str, str | None] = {"user": None, "password": None}
    if "@" in hosts:
        who, _, hosts = hosts.rpartition("@")
        user, colon, word = who.partition(":")
        in_url = {"user": unquote(user), "password": unquote(word) if colon else None}
    parameters = dict(parse_qsl(query, keep_blank_values=True)) if mark else {}
    if java:
        parameters = _from_java(parameters, where)
    for key, option, given in (("user", "username", username), ("password", "password", password)):
        also = parameters.pop(key, None)
        said = [v for v in (in_url[key], also, given) if v is not None]
        if len(set(said)) > 1:
            raise OptionError(f"{where}: option '{option}' and the {key} in 'url' are not the same", subject=option)
        in_url[key] = said[0] if said else None
    if not database:
        raise OptionError(f"{where}: option 'url' names no database", hint="…//host:port/database")
    defaults = {
        "client_encoding": "UTF8",  # names and values go through in it, whatever the database has
        "connect_timeout": str(connect_timeout),
        "application_name": "sqlstream",
        # A server that has vanished without a word is missed, and not waited for.
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "60000",
    }
    parameters.pop("client_encoding", None)
    return Address(kind, hosts, database, in_url["user"], in_url["password"], {**defaults, **parameters})


def _from_java(given: Mapping[str, str], where: str) -> dict[str, str]:
    """Parameters of PostgreSQL's Java driver as libpq's."""
    out: dict[str, str] = {}
    options: list[str] = []
    for key, value in given.items():
        if key == "currentSchema":
            options.append(f"-csearch_path={value.replace(' ', '')}")
        elif key == "ssl":
            if value.lower() in ("", "true"):  # the driver then verifies the host
                out.setdefault("sslmode", "verify-full")
        elif key == "targetServerType" and value in _SERVERS:
            out["target_session_attrs"] = _SERVERS[value]
        elif key == "options":
            options.append(value)
        elif key in _JAVA:
            out[_JAVA[key]] = value
        else:
            known = [*_JAVA, "currentSchema", "ssl", "targetServerType"]
            raise OptionError(
                f"{where}: option 'url': parameter '{key}' means nothing here",
                hint=did_you_mean(key, known, "parameters"),
                subject=key,
            )
    if options:
        out["options"] = " ".join(options)
    return out
