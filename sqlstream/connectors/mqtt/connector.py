"""What `'connector' = 'mqtt'` means: its options, checked, and the sources and sinks that these make."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlstream.connectors.messages.arrays import Known
from sqlstream.connectors.messages.clients import TLS_OPTIONS, tls_context
from sqlstream.connectors.messages.connector import FORMAT_OPTIONS, MessageConnector
from sqlstream.contracts import Sink, Source, TableContext
from sqlstream.errors import OptionError
from sqlstream.options import Option

if TYPE_CHECKING:
    from sqlstream.connectors.mqtt.client import Address


class MqttConnector(MessageConnector):
    """`'connector' = 'mqtt'`."""

    name = "mqtt"
    written = frozenset({"topic", "retained"})
    options = (
        Option("url", required=True, doc="the broker: mqtt://host:1883, mqtts://host:8883, ws://… or wss://…", compared="nothing"),
        Option("topic", doc="what is read: topics, which may have + and #, with ';' between. What is written: the topic of rows whose METADATA "
               "'topic' is NULL, or that have none"),
        Option("qos", "enum", "1", "the quality of service of subscriptions, or of messages that are written", ("0", "1", "2"), compared="nothing"),
        Option("client-id", doc="the name of the session that the broker keeps for a table that is read, while the job is down too; no other client "
               "may have it. Without it what comes while the job is down is lost", compared="nothing"),
        Option("session-expiry", "duration", 7 * 86_400_000_000, "how long the broker keeps the session of 'client-id' while nobody is connected",
               minimum=1_000_000, compared="nothing"),
        Option("protocol-version", "enum", "5", "of MQTT", ("5", "3.1.1"), compared="nothing"),
        Option("sink.retain", "bool", False, "whether the broker keeps the last message of a topic for those that subscribe later"),
        Option("username", doc="who asks, unless it is in the URL", compared="nothing"),
        Option("password", doc="of this user", compared="nothing"),
        *TLS_OPTIONS,
        *FORMAT_OPTIONS,
    )  # fmt: skip

    def known(self, table: TableContext) -> Known:
        from sqlstream.connectors.mqtt.source import KNOWN

        return KNOWN

    def source(self, table: TableContext) -> Source:
        # here: not before a table of it is read
        from sqlstream.connectors.mqtt.source import MqttSource

        options, value, bad = self._read(table)
        filters = tuple(t.strip() for t in (options["topic"] or "").split(";") if t.strip())
        if not filters:
            raise OptionError(
                f"table {table.name}: option 'topic' is missing", hint="it says what is read: 'sensors/+/state'"
            )
        for f in filters:
            levels = f.split("/")
            if "#" in f and (f.count("#") > 1 or levels[-1] != "#") or any("+" in x and x != "+" for x in levels):
                raise OptionError(
                    f"table {table.name}: option 'topic': '{f}' is no filter of topics",
                    hint="+ stands for one level, # for all that are left, at the end",
                )
        return MqttSource(table, self._address(table, options), filters, int(options["qos"]), value, bad)

    def sink(self, table: TableContext) -> Sink:
        from sqlstream.connectors.mqtt.sink import MqttSink, Target

        options, value, _ = self._read(table)
        columns = self._metadata_columns(table)
        if not options["topic"] and "topic" not in columns:
            raise OptionError(
                f"table {table.name}: option 'topic' is missing",
                hint="it says what messages are published to; or a column METADATA FROM 'topic' does for each row",
            )
        address = self._address(table, {**options, "client-id": None})
        qos, retain = int(options["qos"]), options["sink.retain"]
        target = Target(table.name, address, options["topic"], qos, retain, self._encoder(table, value), columns)
        return MqttSink(target, value.format.changelog)

    def _address(self, table: TableContext, options: Mapping[str, Any]) -> Address:
        from sqlstream.connectors.mqtt.client import Address, check_url

        secured = check_url(table.name, options["url"])
        tls_context(table, options, secured)  # says now what is wrong with it
        if options["password"] is not None and options["username"] is None:
            raise OptionError(f"table {table.name}: option 'password' without 'username'", subject="password")
        if "session-expiry" in table.options and "client-id" not in table.options:
            raise OptionError(
                f"table {table.name}: option 'session-expiry' is for a session with a name",
                hint="'client-id' gives it one",
                subject="session-expiry",
            )
        name = options["client-id"] or ""
        session = options["session-expiry"] // 1_000_000 if name else 0
        return Address(
            options["url"], options["protocol-version"], options["username"], options["password"],
            partial(tls_context, table, options, secured), name, session,
        )  # fmt: skip
