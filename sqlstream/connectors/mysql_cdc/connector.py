"""Connector 'mysql-cdc': Flink CDC's name and options for tables of MySQL and MariaDB and their changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlstream.contracts import Connector, Source, TableContext
from sqlstream.errors import OptionError
from sqlstream.options import Option, read
from sqlstream.types import Type

_MODES = ("initial", "earliest-offset", "latest-offset", "specific-offset", "timestamp", "snapshot")
_OFFSET = "scan.startup.specific-offset."
_SERVERS = (1 << 20, (1 << 31) - 1)  # where nobody puts servers
_JDBC = "jdbc.properties."
_NO_EFFECT = (
    ("scan.incremental.snapshot.enabled", "bool", True, "what the tables have is read by blocks, and a job goes on in the middle, either way"),
    ("scan.incremental.snapshot.chunk.size", "int", 8096, "blocks have their own size"),
    ("scan.incremental.snapshot.chunk.key-column", "string", None, "rows come by the primary key"),
    ("scan.incremental.snapshot.unbounded-chunk-first.enabled", "bool", False, "rows come by the primary key"),
    ("scan.incremental.snapshot.backfill.skip", "bool", False, "there is no backfill: all rows are of one moment"),
    ("scan.incremental.close-idle-reader.enabled", "bool", False, "there is one reader"),
    ("scan.snapshot.fetch.size", "int", 1024, "blocks have their own size"),
    ("scan.parse.online.schema.changes.enabled", "bool", False, "a table's columns come with its changes"),
    ("connection.pool.size", "int", 20, "there is no pool"),
    ("connect.max-retries", "int", 3, "restart-strategy.type says what is tried again"),
    ("chunk-meta.group.size", "int", 1000, "there are no chunks"),
    ("debezium.min.row.count.to.stream.result", "int", 1000, "answers come in blocks"),
)  # fmt: skip


class MysqlCdcConnector(Connector):
    """`'connector' = 'mysql-cdc'`: read only."""

    name = "mysql-cdc"
    options = (
        Option("hostname", required=True, doc="of the server; several with `,` between, of which the first that answers is taken",
               compared="nothing"),
        Option("port", "int", 3306, "of the server", minimum=1, maximum=65535, compared="nothing"),
        Option("username", required=True,
               doc="who may read the tables and be a replica (REPLICATION SLAVE, REPLICATION CLIENT; MySQL: LOCK TABLES)",
               compared="nothing"),
        Option("password", required=True, doc="of the user", compared="nothing"),
        Option("database-name", required=True, doc="the database, or a regular expression of the names of several"),
        Option("table-name", required=True, doc="the table, or a regular expression of the names of several, which have the same columns"),
        Option("server-id", doc="the number to be a replica by, which no other has, or a range of such: 5400-5408; drawn if it is not given",
               compared="nothing"),
        Option("scan.startup.mode", "enum", "initial",
               "initial: what the tables have, and then their changes; snapshot: what they have; earliest-offset: changes from where the log begins; "
               "latest-offset: from when the job begins; specific-offset: from scan.startup.specific-offset.*; timestamp: those since "
               "scan.startup.timestamp-millis", choices=_MODES, compared="nothing"),
        Option(f"{_OFFSET}file", doc="a file of the log", compared="nothing"),
        Option(f"{_OFFSET}pos", "int", None, "a position in it", minimum=4, compared="nothing"),
        Option(f"{_OFFSET}gtid-set", doc="the global transaction ids behind which to begin: MySQL's uuid:1-7,… or MariaDB's 0-1-42",
               compared="nothing"),
        Option(f"{_OFFSET}skip-rows", "int", 0, "rows behind that place to pass over", minimum=0, compared="nothing"),
        Option("scan.startup.timestamp-millis", "int", None, "ms since 1970", minimum=0, compared="nothing"),
        Option("scan.read-changelog-as-append-only.enabled", "bool", False,
               "whether each change is a row, inserted: METADATA column row_kind says what it was"),
        Option("server-time-zone", doc="the zone of TIMESTAMP columns that are declared TIMESTAMP here; the session's if it is not given"),
        Option("heartbeat.interval", "duration", 30_000_000,
               "how often the place of a log without changes of the tables is passed on to checkpoints", minimum=1, compared="nothing"),
        Option("connect.timeout", "duration", 30_000_000, "how long to wait for a connection", minimum=1_000_000, compared="nothing"),
        *(Option(name, kind, default, f"no effect: {why}", compared="nothing") for name, kind, default, why in _NO_EFFECT),
    )  # fmt: skip

    def known_options(self, given: Mapping[str, str]) -> tuple[Option, ...]:
        # of Debezium's those that are given, to be refused with what there is in place of them
        names = {o.key for o in self.options}
        more = [k for k in given if k.startswith(("debezium.", _JDBC)) and k not in names]
        return (*self.options, *(Option(k, doc="", compared="nothing") for k in more))

    def metadata(self, table: TableContext) -> Mapping[str, Type]:
        from sqlstream.connectors.mysql_cdc.rows import METADATA

        return METADATA

    def source(self, table: TableContext) -> Source:
        from sqlstream.connectors.jdbc.databases import MYSQL
        from sqlstream.connectors.jdbc.mysql_database import parameters_of
        from sqlstream.connectors.jdbc.url import Address
        from sqlstream.connectors.mysql_cdc.binlog import Followed
        from sqlstream.connectors.mysql_cdc.source import Following, MysqlCdcSource

        where = f"table {table.name}"
        o = read(table.options, self.known_options(table.options), where)
        known = {k.key for k in self.options}
        for key in table.options:
            if key.startswith("debezium.") and key not in known:
                raise OptionError(
                    f"{where}: option '{key}': there is no Debezium here",
                    hint=f"leave it out; for connections there is '{_JDBC}…', for where to begin 'scan.startup.mode'",
                    subject=key,
                )
        for key in ("database-name", "table-name"):
            try:
                re.compile(o[key])
            except re.error as e:
                raise OptionError(f"{where}: option '{key}' is no regular expression: {e}", subject=key) from e
        properties = {k.removeprefix(_JDBC): v for k, v in table.options.items() if k.startswith(_JDBC)}
        parameters = {"connect_timeout": str(o["connect.timeout"] // 1_000_000), **parameters_of(properties, where)}
        hosts = ",".join(f"{h.strip()}:{o['port']}" for h in o["hostname"].split(","))
        place = _place(o, where)
        if o["scan.startup.mode"] == "timestamp" and o["scan.startup.timestamp-millis"] is None:
            raise OptionError(f"{where}: 'scan.startup.mode' = 'timestamp' needs 'scan.startup.timestamp-millis'")
        following = Following(
            Followed(o["database-name"], o["table-name"]),
            _servers(o["server-id"], where),
            o["scan.startup.mode"],
            place,
            (o["scan.startup.timestamp-millis"] or 0) // 1000 * 1_000_000,  # the log has seconds
            o["server-time-zone"] or table.time_zone,
            o["heartbeat.interval"],
            o["scan.read-changelog-as-append-only.enabled"],
        )
        return MysqlCdcSource(table, Address(MYSQL, hosts, "", o["username"], o["password"], parameters), following)


def _servers(given: str | None, where: str) -> tuple[int, int]:
    if given is None:
        return _SERVERS
    found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", given)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 0 < first <= last < 1 << 32:
        raise OptionError(
            f"{where}: option 'server-id': '{given}' is no number and no range",
            hint="5400, or 5400-5408",
            subject=given,
        )
    return first, last


def _place(o: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Of scan.startup.specific-offset.*"""
    file, pos = o["scan.startup.specific-offset.file"], o["scan.startup.specific-offset.pos"]
    gtid = o["scan.startup.specific-offset.gtid-set"]
    given = [k for k, v in (("file", file), ("pos", pos), ("gtid-set", gtid)) if v is not None]
    if o["scan.startup.mode"] != "specific-offset":
        if given:
            raise OptionError(
                f"{where}: option '{_OFFSET}{given[0]}' is for 'scan.startup.mode' = 'specific-offset'",
                subject=given[0],
            )
        return {}
    if (file is None) != (pos is None) or (file is None and gtid is None):
        raise OptionError(
            f"{where}: 'scan.startup.mode' = 'specific-offset' needs '{_OFFSET}file' and '{_OFFSET}pos', or '{_OFFSET}gtid-set'"
        )
    place: dict[str, Any] = {"skip": o["scan.startup.specific-offset.skip-rows"]}
    if file is not None:
        place.update(file=file, pos=pos)
    return place if gtid is None else {**place, "gtid": gtid}
