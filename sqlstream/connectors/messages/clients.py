"""What the connectors of message systems have in common beside messages: the client's library, its failures, how it is secured, and
what there is to say."""

from __future__ import annotations

import importlib
import logging
import os
import ssl
import threading
from collections.abc import Mapping
from typing import Any

from sqlstream.contracts import TableContext
from sqlstream.distribution import install
from sqlstream.errors import OptionError, RunError
from sqlstream.options import Option

NOTES = 20  # that are kept until somebody asks
LONGEST_REST = 10.0  # seconds between two tries
LAST_TIME = 253_402_300_799_999  # ms since 1970, of the end of the year 9999

TLS_OPTIONS = (
    Option("tls.ca-file", "path", doc="the certificates that are trusted, as PEM; else the system's", compared="nothing"),
    Option("tls.certificate-file", "path", doc="the client's own certificate, as PEM", compared="nothing"),
    Option("tls.key-file", "path", doc="the key of that certificate, as PEM, unless it stands in its file", compared="nothing"),
    Option("tls.key-password", doc="what that key is encrypted with", compared="nothing"),
    Option("tls.verify", "bool", True, "whether the server's certificate has to be valid and of its name", compared="nothing"),
)  # fmt: skip


class Unreachable(RunError):
    """The server does not answer, or could not do it now: another attempt may find it. `rest`: seconds that it wants to be left alone."""

    transient = True
    rest = 0.0


def library(module: str, connector: str, extra: str) -> Any:
    """A module of the client's library, what it logs kept from the terminal. OptionError, which says what to install, where it is not there."""
    logging.getLogger(module.partition(".")[0]).addHandler(logging.NullHandler())
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise OptionError(
            f"connector '{connector}' needs a package that is not installed: {e}", hint=install(extra)
        ) from e


def tls_context(table: TableContext, options: Mapping[str, Any], wanted: bool) -> ssl.SSLContext | None:
    """How connections are secured, by TLS_OPTIONS; None: they are not. `wanted`: the URL asks for it. OptionError where options do not
    fit, or a file is not what it should be."""
    given = [o.key for o in TLS_OPTIONS if o.key in table.options]
    if not wanted:
        if given:
            raise OptionError(
                f"table {table.name}: option '{given[0]}' is for a connection with TLS, and 'url' asks for none",
                hint="its scheme says so: tls://, mqtts://, amqps://, rediss://, https://, wss://",
                subject=given[0],
            )
        return None
    files = {
        "ca-file": path_of(table, options["tls.ca-file"]),
        "certificate-file": path_of(table, options["tls.certificate-file"]),
        "key-file": path_of(table, options["tls.key-file"]),
    }
    try:
        context = ssl.create_default_context(cafile=files["ca-file"])
        if files["certificate-file"] is not None:
            context.load_cert_chain(files["certificate-file"], files["key-file"], options["tls.key-password"])
    except (OSError, ssl.SSLError) as e:
        raise OptionError(f"table {table.name}: options 'tls.*': a file cannot be used: {e.strerror or e}") from e
    if not options["tls.verify"]:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def path_of(table: TableContext, path: str | None) -> str | None:
    """Where a file is that an option names."""
    return None if path is None else os.path.join(table.working_directory, os.path.expanduser(path))


class Notes:
    """What a source has to say, until somebody asks (`Source.notes`). From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: list[str] = []
        self.reconnects = 0  # so far

    def add(self, text: str) -> None:
        """Once, however often it is said meanwhile."""
        with self._lock:
            if text not in self._said and len(self._said) < NOTES:
                self._said.append(text)

    def reconnect(self, text: str) -> None:
        """A connection was lost, or could not be made, and is tried again."""
        with self._lock:
            self.reconnects += 1
        self.add(text)

    def take(self) -> list[str]:
        """All of them."""
        with self._lock:
            said, self._said = self._said, []
        return said

    def __reduce__(self) -> tuple[Any, ...]:
        return Notes, ()


class Backoff:
    """How long to rest before the next try: longer each time, until one has succeeded."""

    def __init__(self, first: float = 0.1) -> None:
        self._first = self._next = first

    def rest(self) -> float:
        """Seconds."""
        now, self._next = self._next, min(self._next * 2, LONGEST_REST)
        return now

    def succeeded(self) -> None:
        """From the beginning."""
        self._next = self._first
