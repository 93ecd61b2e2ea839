"""The options of the connector: what they make of librdkafka's settings, and where partitions are read from and to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlstream.connectors.messages.options import KEY_OPTIONS, VALUE_OPTIONS
from sqlstream.contracts import TableContext
from sqlstream.errors import OptionError
from sqlstream.options import Option
from sqlstream.secrets import learn

PROPERTIES = "properties."
SERVERS, GROUP = "bootstrap.servers", "group.id"
EARLIEST, LATEST, OF_GROUP, AT_TIME, SPECIFIC = (
    "earliest-offset", "latest-offset", "group-offsets", "timestamp", "specific-offsets",
)  # fmt: skip
UNBOUNDED = "unbounded"
_OFFSETS = re.compile(r"\s*partition:(\d+)\s*,\s*offset:(\d+)\s*")

COMMON = (
    Option("topic", doc="the topic; for a table that is read several, with ';' between"),
    Option(f"{PROPERTIES}{SERVERS}", required=True, doc="the brokers, host:port, with ',' between", compared="nothing"),
    Option(f"{PROPERTIES}*", "string", doc="a property of librdkafka, as it is called there", compared="nothing"),
)  # fmt: skip
READ = (
    Option("topic-pattern", doc="a regular expression (Java's, of whole names) that says which topics are read, instead of 'topic'"),
    Option("scan.startup.mode", "enum", OF_GROUP,
           "where reading begins: at the offsets that were committed for the group 'properties.group.id', else as "
           "'properties.auto.offset.reset' says; at the earliest or the latest offset; at a time; at given offsets",
           (EARLIEST, LATEST, OF_GROUP, AT_TIME, SPECIFIC)),
    Option("scan.startup.specific-offsets", doc="partition:0,offset:42;partition:1,offset:300"),
    Option("scan.startup.timestamp-millis", "int", doc="ms since 1970, for 'scan.startup.mode' = 'timestamp'", minimum=0),
    Option("scan.bounded.mode", "enum", UNBOUNDED,
           "where reading ends: never, or where the topic ends when the job starts, or at the offsets of the group, at a time, or at "
           "given offsets", (UNBOUNDED, LATEST, OF_GROUP, AT_TIME, SPECIFIC)),
    Option("scan.bounded.specific-offsets", doc="partition:0,offset:42;partition:1,offset:300: the first that are not read"),
    Option("scan.bounded.timestamp-millis", "int", doc="ms since 1970, for 'scan.bounded.mode' = 'timestamp'", minimum=0),
    Option("scan.topic-partition-discovery.interval", "duration", 300_000_000,
           "how often new partitions and topics are looked for; 0: never", compared="nothing"),
)  # fmt: skip
WRITE = (
    Option("sink.delivery-guarantee", "enum", "at-least-once",
           "at-least-once: rows are sent as they come, and after a failure some again; exactly-once: with each checkpoint, in a "
           "transaction that readers with isolation.level = read_committed see whole or not; none: nobody waits until the brokers "
           "have them", ("at-least-once", "exactly-once", "none"), compared="nothing"),
    Option("sink.transactional-id-prefix", doc="what the ids of transactions begin with: of this table in this job alone, for those "
           "with the prefix that no checkpoint knows are aborted when the job starts. Needed for exactly-once"),
    Option("sink.partitioner", "enum", "default",
           "default: by the key, as Kafka's own clients do it, without one anywhere; fixed: each task has one partition; round-robin: "
           "the partitions in turn", ("default", "fixed", "round-robin"), compared="nothing"),
)  # fmt: skip
OPTIONS = (*COMMON, *READ, *WRITE, *VALUE_OPTIONS, *KEY_OPTIONS)
BUFFER = (
    Option("sink.buffer-flush.max-rows", "int", 0, "rows that wait, at most, before what they come to is sent: the last one of each key. With "
           "sink.buffer-flush.interval; 0: none waits", minimum=0, compared="nothing"),
    Option("sink.buffer-flush.interval", "duration", 0, "how long they wait, at most, and never over a checkpoint. With "
           "sink.buffer-flush.max-rows; 0: not at all", minimum=0, compared="nothing"),
)  # fmt: skip
_UPSERT = ("value.fields-include", "key.fields-prefix")
UPSERT_OPTIONS = (
    *COMMON, *(o for o in READ if o.key.startswith(("scan.bounded", "scan.topic"))),
    *(o for o in WRITE if o.key != "sink.partitioner"), *BUFFER, *(o for o in VALUE_OPTIONS if o.key != "format"),
    Option("key.format", required=True, doc="the format of keys, which have the columns of the PRIMARY KEY"),
    *(o for o in KEY_OPTIONS if o.key in _UPSERT),
)  # fmt: skip

# Properties of Java's client that are called otherwise here, and those that have nothing to act on.
_RENAMED = {"ssl.truststore.certificates": "ssl.ca.pem", "ssl.keystore.certificate.chain": "ssl.certificate.pem",
            "ssl.keystore.key": "ssl.key.pem", "max.partition.fetch.bytes": "fetch.message.max.bytes"}  # fmt: skip
_WITHOUT_EFFECT = frozenset({
    "key.deserializer", "value.deserializer", "key.serializer", "value.serializer", "max.poll.records",
    "enable.auto.commit", "commit.offsets.on.checkpoint", "partition.discovery.interval.ms", "client.id.prefix",
})  # fmt: skip
_JAAS = re.compile(r"""(username|password)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")


@dataclass(frozen=True)
class Place:
    """Where reading begins or ends. `time`: ms; `offsets`: by partition."""

    mode: str
    time: int = 0
    offsets: tuple[tuple[int, int], ...] = ()


def begin(table: TableContext, options: Mapping[str, Any]) -> Place:
    """Where reading begins. OptionError where what the mode needs is missing, or there is more."""
    mode = options["scan.startup.mode"]
    time, offsets = options["scan.startup.timestamp-millis"], options["scan.startup.specific-offsets"]
    return _place(table, "scan.startup", mode, time, offsets)


def end(table: TableContext, options: Mapping[str, Any]) -> Place:
    """Where it ends. OptionError as `begin`."""
    mode = options["scan.bounded.mode"]
    time, offsets = options["scan.bounded.timestamp-millis"], options["scan.bounded.specific-offsets"]
    return _place(table, "scan.bounded", mode, time, offsets)


def _place(table: TableContext, which: str, mode: str, time: int | None, text: str | None) -> Place:
    for of, key, value in ((AT_TIME, "timestamp-millis", time), (SPECIFIC, "specific-offsets", text)):
        if (value is not None) != (of == mode):
            missing = f"option '{which}.{key}' is missing"
            said = missing if of == mode else f"option '{which}.{key}' is for '{which}.mode' = '{of}'"
            raise OptionError(f"table {table.name}: {said}", subject=f"{which}.{key}" if of != mode else None)
    if time is not None:
        return Place(mode, time=time)
    if text is None:
        return Place(mode)
    found = []
    for part in text.strip().rstrip(";").split(";"):
        m = _OFFSETS.fullmatch(part)
        if m is None:
            raise OptionError(
                f"table {table.name}: option '{which}.specific-offsets' = '{text}' is not of the form partition:0,offset:42;partition:1,offset:300",
                subject=text,
            )
        found.append((int(m[1]), int(m[2])))
    return Place(mode, offsets=tuple(found))


def settings(options: Mapping[str, Any]) -> dict[str, str]:
    """librdkafka's, of the options `properties.*`: also those that Java's client calls otherwise."""
    out = {SERVERS: options["properties.bootstrap.servers"]}
    for key, value in options.items():
        name = key.removeprefix(PROPERTIES)
        if name == key or name == "*" or value is None or name in _WITHOUT_EFFECT:
            continue
        if name == "sasl.jaas.config":
            found = list(_JAAS.finditer(value))
            if {m[1] for m in found} != {"username", "password"}:
                raise OptionError(
                    'option \'properties.sasl.jaas.config\' has no username="…" and password="…"',
                    hint="'properties.sasl.username' and 'properties.sasl.password' say them, too; Kerberos and OAuth are set up by "
                    "librdkafka's own properties",
                )
            for m in found:
                said = out[f"sasl.{m[1]}"] = re.sub(r"\\(.)", r"\1", m[2] if m[2] is not None else m[3])
                learn(f"sasl.{m[1]}", said)
            continue
        if name == "ssl.endpoint.identification.algorithm" and not value.strip():
            value = "none"
        out[_RENAMED.get(name, name)] = value
    return out
