"""URLs of databases: Java's (`jdbc:postgresql://host:port/db?user=…`) and their own (`postgresql://user:password@host/db?…`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote

from sqlstream.errors import OptionError


@dataclass(frozen=True)
class Address:
    """Where a database is, and as whom. `hosts`: as in the URL, `host:port,…`; "": the default. Of a database that is a
    file `database` is its path. Shown without secrets."""

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


@dataclass(frozen=True)
class Parts:
    """A URL behind its scheme. `java`: it is for Java's driver, with whose names for parameters. `path`: what no host stands
    before, as it is written. `directory`: where names of files begin."""

    kind: str
    java: bool
    hosts: str
    database: str
    path: str
    directory: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)

    def said(self, given: Mapping[str, str | None], where: str) -> Parts:
        """With what two options say of `user` and `password`. OptionError where the URL says something else."""
        parameters = dict(self.parameters)
        found: dict[str, str | None] = {}
        for key, option in (("user", "username"), ("password", "password")):
            said = [v for v in (getattr(self, key), parameters.pop(key, None), given[key]) if v is not None]
            if len(set(said)) > 1:
                raise OptionError(f"{where}: option '{option}' and the {key} in 'url' are not the same", subject=option)
            found[key] = said[0] if said else None
        return replace(self, user=found["user"], password=found["password"], parameters=parameters)


def taken_apart(rest: str, kind: str, java: bool, directory: str) -> Parts:
    """Of what stands behind the scheme and its colon."""
    head, _, query = rest.partition("?")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    if not head.startswith("//"):
        return Parts(kind, java, "", unquote(head.removeprefix("/")), unquote(head), directory, parameters=parameters)
    hosts, _, database = head[2:].partition("/")
    user = password = None
    if "@" in hosts:
        who, _, hosts = hosts.rpartition("@")
        user, colon, word = who.partition(":")
        user, password = unquote(user), unquote(word) if colon else None
    return Parts(kind, java, hosts, unquote(database), unquote(head), directory, user, password, parameters)


def check_hosts(parts: Parts, where: str) -> None:
    """OptionError for a port that is no number: it may be the beginning of a password with a / in it, and is not shown."""
    ports = [h.rpartition(":")[2] for h in parts.hosts.split(",") if ":" in h]
    if any(p and not p.endswith("]") and not (p.isascii() and p.isdigit()) for p in ports):  # [::1]
        raise OptionError(
            f"{where}: option 'url': a port in it is no number",
            hint="host:port; in a user's name or password / is %2F, ? is %3F, or they are options 'username' and 'password'",
            subject="url",
        )
