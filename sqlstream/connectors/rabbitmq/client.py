"""A connection to RabbitMQ on a thread of its own, with one channel; it is made again when it was lost."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlstream.connectors.messages.clients import Backoff, Unreachable, library
from sqlstream.errors import OptionError, RunError, SqlStreamError
from sqlstream.threads import start

SECONDS = 10.0  # that a server may take to answer
HEARTBEAT = 120  # s
CLOSING = 1.0  # s that a connection may take to be closed
PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True)
class Address:
    """Where the server is, and who asks."""

    url: str
    username: str | None
    password: str | None
    tls: Callable[[], ssl.SSLContext | None]

    @property
    def text(self) -> str:
        """Without who asks."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or PORTS[parts.scheme]}{parts.path}"


class Connection:
    """`ready` is called on the connection's thread with a channel, each time that there is one, and calls `began` when it has done with
    it what it wants; `lost` when it is gone. `failed`: with an
    error that does not pass. The constructor waits until it `began`, and raises why not."""

    def __init__(
        self,
        address: Address,
        table: str,
        warn: Callable[[str], None],
        ready: Callable[[Connection, Any], None],
        lost: Callable[[], None],
        failed: Callable[[SqlStreamError], None],
    ) -> None:
        self._pika = library("pika", "rabbitmq", "rabbitmq")
        self._errors = library("pika.exceptions", "rabbitmq", "rabbitmq")
        self._address, self._table, self._warn = address, table, warn
        self._ready, self._lost, self._failed = ready, lost, failed
        self._changed = threading.Condition()
        self._connection: Any = None
        self._open = self._closing = False
        self._began = False  # there was a channel
        self._error: SqlStreamError | None = None
        self._backoff = Backoff()
        self._thread = start("sqlstream-rabbitmq", self._run)
        with self._changed:
            there = self._changed.wait_for(lambda: self._open or self._error, SECONDS)
            error = self._error
        if error is not None or not there:
            self.close()
            raise error or Unreachable(f"{self.where} does not answer in {SECONDS:.0f} s")

    @property
    def where(self) -> str:
        """What errors begin with."""
        return f"table {self._table}: {self._address.text}"

    # ---- on its thread

    def _parameters(self) -> Any:
        parts = urlsplit(self._address.url)
        a = self._address
        user = a.username if a.username is not None else unquote(parts.username or "guest")
        word = a.password if a.password is not None else unquote(parts.password or "guest")
        context = a.tls()
        return self._pika.ConnectionParameters(
            host=parts.hostname, port=parts.port or PORTS[parts.scheme], virtual_host=unquote(parts.path[1:]) or "/",
            credentials=self._pika.PlainCredentials(user, word), heartbeat=HEARTBEAT,
            socket_timeout=SECONDS / 2, stack_timeout=SECONDS, client_properties={"connection_name": "sqlstream"},
            ssl_options=None if context is None else self._pika.SSLOptions(context, parts.hostname),
        )  # fmt: skip

    def _run(self) -> None:
        while not self._closing:
            try:
                self._connection = self._pika.SelectConnection(
                    self._parameters(), on_open_callback=self._on_open, on_open_error_callback=self._on_error,
                    on_close_callback=self._on_error,
                )  # fmt: skip
                self._connection.ioloop.start()
                self._connection.ioloop.close()
            except SqlStreamError as e:
                self._fail(e)
                return
            except Exception as e:  # of what was read, or written: nobody else would hear of it
                self._fail(RunError(f"{self.where}: what came, or was to be sent, is not as AMQP has it: {e!r}"))
                return
            with self._changed:
                was_open, self._open = self._open, False
                if self._error is not None or self._closing:
                    break
            if was_open:
                self._lost()
            with self._changed:
                self._changed.wait_for(lambda: self._closing, self._backoff.rest())

    def _on_open(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        self.channel = channel
        try:
            self._ready(self, channel)
        except SqlStreamError as e:
            self._fail(e)

    def began(self) -> None:
        """What was to be done with the channel is done."""
        with self._changed:
            self._open, self._began = True, True
            self._changed.notify_all()
        self._backoff.succeeded()

    def _on_channel_closed(self, channel: Any, reason: Any) -> None:
        """By the server: it does not take what was asked for."""
        if self._closing or not isinstance(reason, self._errors.ChannelClosedByBroker):
            return
        self._fail(self._refused(reason))

    def _refused(self, reason: Any) -> SqlStreamError:
        text = str(reason.reply_text)
        hint = None
        if reason.reply_code == 404:
            hint = "'queue.declare' = 'true' makes a queue that is not there; an exchange must be"
        elif reason.reply_code == 406 and ("inequivalent" in text or "x-stream-offset" in text):
            hint = "'queue.type' must be what the queue is"
        return (OptionError if reason.reply_code in (404, 406) else RunError)(f"{self.where}: {text}", hint=hint)

    def _on_error(self, connection: Any, error: Any) -> None:
        names = ("ProbableAuthenticationError", "AuthenticationError", "ProbableAccessDeniedError")
        refused = tuple(getattr(self._errors, n) for n in names)
        causes = list(_causes(error))
        if any(isinstance(e, refused) or getattr(e, "reply_code", None) in (403, 530) for e in causes):
            self._fail(
                RunError(
                    f"{self.where} does not let us in",
                    hint="'username' and 'password' say who asks, and the path of 'url' the virtual host",
                )
            )
        elif not self._closing and self._error is None:
            said = _brief(causes[-1])
            if self._began:
                self._warn(f"warning: {self.where}: the connection is lost ({said}), and is made again")
            else:
                self._fail(
                    Unreachable(
                        f"{self.where} does not answer: {said}",
                        hint="is RabbitMQ there, and can it be reached from here?",
                    )
                )
        connection.ioloop.stop()

    def _fail(self, error: SqlStreamError) -> None:
        with self._changed:
            first = self._error is None
            self._error = self._error or error
            self._changed.notify_all()
        if first and self._began:
            self._failed(error)
        self._stop()

    def _stop(self) -> None:
        if self._connection is None:
            return
        if self._connection.is_open:
            self._connection.close()
        elif not self._connection.is_closing:
            self._connection.ioloop.stop()

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """On its thread, after a while; not at all where the connection is another one by then."""
        self._connection.ioloop.call_later(seconds, function)

    # ---- from any thread

    def call(self, function: Callable[[], None]) -> None:
        """On the connection's thread, soon. Nothing is done when there is none."""
        connection = self._connection
        if connection is not None and not self._closing:
            with suppress(Exception):  # the loop is over: there is a new one soon
                connection.ioloop.add_callback_threadsafe(function)

    def close(self) -> None:
        """In good order, where that is possible at once."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._connection is not None:
            with suppress(Exception):  # the loop is over already
                self._connection.ioloop.add_callback_threadsafe(self._stop)
        self._thread.join(CLOSING)


def _causes(error: Any) -> Iterator[Any]:
    """pika's errors have errors in them."""
    yield error
    inside = (*getattr(error, "args", ()), *getattr(error, "exceptions", ()), getattr(error, "exception", None))
    for e in inside:
        if isinstance(e, BaseException):
            yield from _causes(e)


def _brief(error: Any) -> str:
    return str(getattr(error, "strerror", None) or getattr(error, "reply_text", None) or error or type(error).__name__)


def check_url(table: str, url: str) -> bool:
    """Whether it asks for TLS. OptionError where it is no address of RabbitMQ."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in PORTS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    if not fine:
        raise OptionError(
            f"table {table}: option 'url': '{url}' is not of the form amqp://host:5672/virtual-host",
            hint="amqps://host:5671/… is secured",
        )
    return parts.scheme == "amqps"
