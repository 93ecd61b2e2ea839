"""Connector 'postgres-cdc': Flink CDC's name and options for a table of PostgreSQL and its changes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlstream.connectors.jdbc.databases import POSTGRESQL
from sqlstream.connectors.jdbc.url import Address
from sqlstream.connectors.postgres_cdc.changes import METADATA
from sqlstream.contracts import Connector, Source, TableContext
from sqlstream.errors import OptionError
from sqlstream.options import Option, read
from sqlstream.types import Type


class PostgresCdcConnector(Connector):
    """`'connector' = 'postgres-cdc'`: read only."""

    name = "postgres-cdc"
    options = (
        Option("hostname", required=True, doc="of the server; several with `,` between"),
        Option("port", "int", 5432, "of the server", minimum=1, maximum=65535),
        Option("username", required=True, doc="who may replicate (REPLICATION) and read the table", compared="nothing"),
        Option("password", required=True, doc="of the user", compared="nothing"),
        Option("database-name", required=True, doc="the database"),
        Option("schema-name", required=True, doc="the table's schema"),
        Option("table-name", required=True, doc="the table"),
        Option("slot.name", required=True,
               doc="the replication slot, which the job makes when it begins; each table of a job has its own"),
        Option("decoding.plugin.name", "enum", "pgoutput", "no effect: changes come by pgoutput, which every server has", choices=("pgoutput",)),
        Option("scan.startup.mode", "enum", "initial",
               "initial: what the table has, and then its changes; latest-offset: changes from when the job begins",
               choices=("initial", "latest-offset"), compared="nothing"),
        Option("scan.incremental.snapshot.enabled", "bool", True,
               "no effect: what the table has is read by its blocks, and a job goes on in the middle, either way",
               compared="nothing"),
        Option("heartbeat.interval.ms", "duration", 30_000_000,
               "how often the place of a stream without changes of the table is passed on to checkpoints, so that the server "
               "does not keep its log for them", minimum=1, compared="nothing"),
        Option("connect.timeout", "duration", 30_000_000, "how long to wait for a connection", minimum=1_000_000,
               compared="nothing"),
        Option("debezium.publication.name", default="dbz_publication", doc="the publication that has the table"),
        Option("debezium.publication.autocreate.mode", "enum", "filtered",
               "a publication that is not there is made, for the table (filtered) or for all_tables; or not (disabled)",
               choices=("filtered", "all_tables", "disabled"), compared="nothing"),
    )  # fmt: skip

    def metadata(self, table: TableContext) -> Mapping[str, Type]:
        return METADATA

    def source(self, table: TableContext) -> Source:
        from sqlstream.connectors.postgres_cdc.source import CdcSource, Slot

        o = read(table.options, self.options, f"table {table.name}")
        if re.fullmatch("[a-z0-9_]{1,63}", o["slot.name"]) is None:
            raise OptionError(
                f"table {table.name}: option 'slot.name' = '{o['slot.name']}': PostgreSQL's slots have names of small letters, digits and _",
                subject=o["slot.name"],
            )
        hosts = ",".join(f"{h.strip()}:{o['port']}" for h in o["hostname"].split(","))
        parameters = {
            "connect_timeout": str(o["connect.timeout"] // 1_000_000),
            "application_name": "sqlstream",
            "keepalives_idle": "30",
            "tcp_user_timeout": "60000",
            "client_encoding": "UTF8",
        }
        address = Address(POSTGRESQL, hosts, o["database-name"], o["username"], o["password"], parameters)
        slot = Slot(
            o["slot.name"],
            o["debezium.publication.name"],
            o["debezium.publication.autocreate.mode"],
            o["scan.startup.mode"] == "initial",
            o["heartbeat.interval.ms"],
        )
        return CdcSource(table, address, o["schema-name"], o["table-name"], slot)
