"""Connector 'jdbc': Flink's name and options for tables of databases. There is no Java in it: a URL names a native driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlstream.connectors.jdbc.url import Address
from sqlstream.connectors.lookup_options import LOOKUP_OPTIONS, caches
from sqlstream.contracts import Connector, Sink, Source, TableContext
from sqlstream.errors import OptionError
from sqlstream.literals import quoted
from sqlstream.options import Option, read

_PARTITION = tuple(f"scan.partition.{k}" for k in ("column", "num", "lower-bound", "upper-bound"))
_EXACTLY_ONCE = "exactly-once"


class JdbcConnector(Connector):
    """`'connector' = 'jdbc'`: read whole, looked up by key, and written."""

    name = "jdbc"
    options = (
        Option("url", required=True,
               doc="jdbc:postgresql://host:port/database, or postgresql://user:password@host:port/database?sslmode=…: as "
               "Java's driver and as PostgreSQL's own tools write it; jdbc:mysql://host:port/database, "
               "jdbc:mariadb://…, mysql://…; jdbc:sqlite:path, jdbc:duckdb:path"),
        Option("table-name", required=True, doc="the table in the database: t, schema.t, \"My Schema\".\"T\""),
        Option("username", doc="unless it is in the URL"),
        Option("password", doc="unless it is in the URL", compared="nothing"),
        Option("driver",
               doc="the class of Java's driver, as Flink wants it: looked at only to see that it fits the URL",
               compared="nothing"),
        Option("connection.max-retry-timeout", "duration", 60_000_000, "how long to wait for a connection",
               minimum=1_000_000, compared="nothing"),
        Option("scan.partition.column", doc="a column of numbers, by whose ranges the table is read in parts"),
        Option("scan.partition.num", "int", doc="how many parts", minimum=1),
        Option("scan.partition.lower-bound", "int", doc="the least value of the first part; rows below are not read"),
        Option("scan.partition.upper-bound", "int", doc="the greatest value of the last part; rows above are not read"),
        Option("scan.fetch-size", "int", 0, "rows that are handed on together, at most; 0: as they come", minimum=0,
               compared="nothing"),
        Option("scan.auto-commit", "bool", True,
               "no effect: a scan is one transaction that only reads, and its rows come as they are found, either way",
               compared="nothing"),
        *LOOKUP_OPTIONS,
        Option("sink.delivery-guarantee", "enum", "at-least-once",
               "at-least-once: rows are written as they come, and again after a failure; exactly-once: with checkpoints, in "
               "one transaction for all tables of the database", choices=("at-least-once", _EXACTLY_ONCE),
               compared="nothing"),
        Option("sink.buffer-flush.max-rows", "int", 100, "rows that wait, at most, before they are written; 0: no limit",
               minimum=0, compared="nothing"),
        Option("sink.buffer-flush.interval", "duration", 1_000_000,
               "how long rows wait before they are written; 0: until the epoch ends", compared="nothing"),
        Option("sink.max-retries", "int", 3, "tries after one that failed for a reason that may pass", minimum=0,
               compared="nothing"),
    )  # fmt: skip

    def source(self, table: TableContext) -> Source:
        from sqlstream.connectors.jdbc.scan import JdbcSource

        options, address = self._read(table)
        ranges = _ranges(table, options)
        whole, keyed = caches(table, options)
        name, size, retries = options["table-name"], options["scan.fetch-size"], options["lookup.max-retries"]
        return JdbcSource(table, address, name, ranges, size, whole, keyed, retries)

    def sink(self, table: TableContext) -> Sink:
        from sqlstream.connectors.jdbc.sink import JdbcSink, Writes

        options, address = self._read(table)
        exactly_once = options["sink.delivery-guarantee"] == _EXACTLY_ONCE
        useless = [k for k in table.options if k.startswith("sink.buffer-flush.")]
        if exactly_once and useless:
            raise OptionError(
                f"table {table.name}: option '{useless[0]}': with 'sink.delivery-guarantee' = 'exactly-once' rows appear "
                "with checkpoints",
                hint="leave it out; 'execution.checkpointing.interval' says how often",
                subject=useless[0],
            )
        writes = Writes(
            exactly_once,
            options["sink.buffer-flush.max-rows"],
            options["sink.buffer-flush.interval"],
            options["sink.max-retries"],
        )
        return JdbcSink(table, address, options["table-name"], writes)

    def ddl_columns(self, table: TableContext) -> str | None:
        from sqlstream.connectors.jdbc.databases import database

        options, address = self._read(table)
        kind = database(address.kind)
        connection = kind.connect(address, f"table {table.name}")
        try:
            there = kind.find_table(connection, options["table-name"])
        finally:
            connection.close()
        columns = [f"{_name(c.name)} {kind.type_of(c)}" for c in there.columns.values()]
        if there.key:
            columns.append(f"PRIMARY KEY ({', '.join(map(_name, there.key))}) NOT ENFORCED")
        return ", ".join(columns)

    def _read(self, table: TableContext) -> tuple[dict[str, Any], Address]:
        from sqlstream.connectors.jdbc.databases import database, parsed

        where = f"table {table.name}"
        options = read(table.options, self.options, where)
        if not options["table-name"].strip():
            raise OptionError(f"{where}: option 'table-name' is empty")
        timeout = options["connection.max-retry-timeout"] // 1_000_000
        address = parsed(
            options["url"], options["username"], options["password"], timeout, where, table.working_directory
        )
        drivers = database(address.kind).drivers
        if options["driver"] is not None and options["driver"] not in drivers:
            raise OptionError(
                f"{where}: option 'driver': {quoted(options['driver'])} is no driver of {address.kind}",
                hint=f"leave it out, or {drivers[0]}",
                subject="driver",
            )
        return options, address


def _name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _ranges(table: TableContext, options: Mapping[str, Any]) -> Any:
    from sqlstream.connectors.jdbc.scan import Ranges

    given = [k for k in _PARTITION if options[k] is not None]
    if not given:
        return None
    if len(given) < len(_PARTITION):
        lacking = next(k for k in _PARTITION if k not in given)
        raise OptionError(
            f"table {table.name}: option '{given[0]}' goes with '{lacking}'",
            hint=f"all of {', '.join(_PARTITION)}, or none",
            subject=given[0],
        )
    low, high = options["scan.partition.lower-bound"], options["scan.partition.upper-bound"]
    if low > high:
        raise OptionError(f"table {table.name}: option 'scan.partition.lower-bound' is above the upper one, {high}")
    return Ranges(options["scan.partition.column"], options["scan.partition.num"], low, high)
