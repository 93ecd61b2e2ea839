"""A connection to an MQTT broker, version 5 or 3.1.1, on the library's own thread; it is made again when it was lost."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlstream.connectors.messages.clients import Unreachable, library
from sqlstream.errors import OptionError, RunError

SECONDS = 5.0  # that a broker may take to answer
KEEPALIVE = 60  # s
PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
LET_NOBODY_IN = frozenset({4, 5, 134, 135, 138, 140})  # reasons of a refused connection that trying again does not mend
TAKEN_OVER = 142  # the reason that a broker of version 5 may give for it
SHORT, TIMES, WITHIN = (
    5.0,
    5,
    60.0,
)  # s of a connection that was a short one, and how many such, in how many s, are no chance
RECEIVE_MAXIMUM = 65_535  # messages that wait for being acknowledged


@dataclass(frozen=True)
class Address:
    """Where the broker is, who asks, and by which session. `session`: seconds that the broker keeps it while nobody is connected (by
    version 5; by 3.1.1 for ever, if it is not 0)."""

    url: str
    version: str
    username: str | None
    password: str | None
    tls: Callable[[], Any]
    client_id: str = ""
    session: int = 0


class Connection:
    """`made` is called on the library's thread when a connection is there (with whether the broker has kept the session), also again;
    `got` for each message; `failed` with an error that does not pass."""

    def __init__(
        self,
        address: Address,
        table: str,
        warn: Callable[[str], None],
        made: Callable[[Any, bool], None],
        got: Callable[[Any, Any], None] = lambda client, message: None,
        failed: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        mqtt = library("paho.mqtt.client", "mqtt", "mqtt")
        enums = library("paho.mqtt.enums", "mqtt", "mqtt")
        self._address, self._table, self._warn, self._made, self._failed = address, table, warn, made, failed
        self._five = address.version == "5"
        parts = urlsplit(address.url)
        self.client = mqtt.Client(
            enums.CallbackAPIVersion.VERSION2, client_id=address.client_id, manual_ack=True,
            protocol=mqtt.MQTTv5 if self._five else mqtt.MQTTv311,
            transport="websockets" if parts.scheme in ("ws", "wss") else "tcp",
            **({} if self._five else {"clean_session": not address.session}),
        )  # fmt: skip
        self.client.max_queued_messages_set(0)
        self.client.max_inflight_messages_set(1000)
        self.client.reconnect_delay_set(1, 10)
        if parts.scheme in ("ws", "wss"):
            self.client.ws_set_options(path=parts.path or "/")
        if (context := address.tls()) is not None:
            self.client.tls_set_context(context)
        user = address.username if address.username is not None else parts.username and unquote(parts.username)
        if user is not None:
            said = address.password if address.password is not None else parts.password and unquote(parts.password)
            self.client.username_pw_set(user, said)
        self._taken_over: deque[float] = deque(maxlen=TIMES)  # when it was, or may have been
        self._connected = 0.0
        self._answered = threading.Event()
        self._error: Exception | None = None
        self.client.on_connect, self.client.on_disconnect = self._on_connect, self._on_disconnect
        self.client.on_message = lambda client, data, message: got(client, message)
        self._open(parts.hostname or "", parts.port or PORTS[parts.scheme])

    @property
    def where(self) -> str:
        """What errors begin with."""
        return f"table {self._table}: {self._address.url}"

    def _open(self, host: str, port: int) -> None:
        more = {}
        if self._five:
            properties = library("paho.mqtt.properties", "mqtt", "mqtt")
            packets = library("paho.mqtt.packettypes", "mqtt", "mqtt")
            found = properties.Properties(packets.PacketTypes.CONNECT)
            found.ReceiveMaximum = RECEIVE_MAXIMUM
            if self._address.session:
                found.SessionExpiryInterval = min(self._address.session, 2**32 - 1)
            more = {"clean_start": not self._address.session, "properties": found}
        self.client.connect_timeout = SECONDS
        try:
            self.client.connect(host, port, KEEPALIVE, **more)
        except (OSError, ValueError) as e:
            reason = getattr(e, "strerror", None) or e
            raise Unreachable(
                f"{self.where} does not answer: {reason}", hint="is a broker there, and can it be reached from here?"
            ) from e
        self.client.loop_start()
        if not self._answered.wait(SECONDS) or self._error is not None:
            self.close()
            raise self._error or Unreachable(f"{self.where} does not answer in {SECONDS:.0f} s")

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            code = int(reason.value)
            if code in LET_NOBODY_IN:
                self._error = RunError(
                    f"{self.where} does not let us in: {reason}", hint="'username' and 'password' say who asks"
                )
                self._failed(self._error)
            else:
                self._error = Unreachable(f"{self.where} refuses the connection: {reason}")
        else:
            self._error, self._connected = None, time.monotonic()
            try:
                self._made(client, bool(flags.session_present))
            except Exception as e:
                self._error = e
                self._failed(e)
        self._answered.set()

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if not reason.is_failure or not self._answered.is_set():
            return
        if self._address.client_id and self._put_out(int(reason.value)):
            self.client.disconnect()  # the other one is left alone
            kind = RunError if int(reason.value) == TAKEN_OVER else Unreachable
            self._failed(
                kind(
                    f"{self.where} ended {len(self._taken_over)} connections of client id '{self._address.client_id}' within seconds, as it "
                    "does where another client has that id, too",
                    hint="each table, in each job, needs a 'client-id' of its own; is the job started twice?",
                )
            )
        else:
            self._warn(f"warning: {self.where}: the connection is lost ({reason}), and is made again")

    def _put_out(self, code: int) -> bool:
        """Whether that goes on for too long. Clients with one id put each other out, and come again, for ever."""
        now = time.monotonic()
        if code == TAKEN_OVER or now - self._connected < SHORT:
            self._taken_over.append(now)
        else:
            self._taken_over.clear()
        return len(self._taken_over) == self._taken_over.maxlen and now - self._taken_over[0] < WITHIN

    def close(self) -> None:
        """In good order, where that is possible at once."""
        self.client.disconnect()
        self.client.loop_stop()
        self.client.__del__()  # closes the sockets by which it wakes its thread; the collector, left to it, takes these first


def check_url(table: str, url: str) -> bool:
    """Whether it asks for TLS. OptionError where it is no address of a broker."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in PORTS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    if not fine:
        raise OptionError(
            f"table {table}: option 'url': '{url}' is not of the form mqtt://host:1883",
            hint="mqtts://host:8883 is secured; ws:// and wss:// go through WebSockets",
        )
    return parts.scheme in ("mqtts", "wss")
