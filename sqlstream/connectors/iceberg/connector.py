"""Connector 'iceberg': Flink-Iceberg's name and options for tables of Apache Iceberg."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlstream.contracts import Connector, Sink, Source, TableContext
from sqlstream.errors import NotSupported, OptionError
from sqlstream.literals import quoted
from sqlstream.options import Option, read

DATABASE = "default"
TYPES = ("sql", "rest", "hive", "glue", "dynamodb", "hadoop")
SCAN_FIRST, FROM_LATEST, FROM_EARLIEST, FROM_ID, FROM_TIME = (
    "TABLE_SCAN_THEN_INCREMENTAL",
    "INCREMENTAL_FROM_LATEST_SNAPSHOT",
    "INCREMENTAL_FROM_EARLIEST_SNAPSHOT",
    "INCREMENTAL_FROM_SNAPSHOT_ID",
    "INCREMENTAL_FROM_SNAPSHOT_TIMESTAMP",
)
# Flink names catalogs by classes, too.
_IMPLEMENTATIONS = {
    "org.apache.iceberg.jdbc.JdbcCatalog": "sql",
    "org.apache.iceberg.rest.RESTCatalog": "rest",
    "org.apache.iceberg.hive.HiveCatalog": "hive",
    "org.apache.iceberg.aws.glue.GlueCatalog": "glue",
    "org.apache.iceberg.aws.dynamodb.DynamoDbCatalog": "dynamodb",
}
_OF_A_VERSION = ("snapshot-id", "as-of-timestamp", "tag")
_OF_STREAMING = ("monitor-interval", "starting-strategy", "start-snapshot-timestamp", "streaming-skip-overwrite-snapshots",
                 "streaming-skip-delete-snapshots")  # fmt: skip
# Properties of a catalog and of its files, and of a table, that are handed on as they are: families, by their first words.
CATALOG = ("s3", "gcs", "adls", "hdfs", "client", "rest", "header", "hive", "glue", "dynamodb", "hf", "oss")
TABLE = ("write", "read", "commit", "history", "schema")


class IcebergConnector(Connector):
    """`'connector' = 'iceberg'`: read at a snapshot or followed, and written."""

    name = "iceberg"
    options = (
        Option("catalog-name", required=True, doc="the catalog's name"),
        Option("catalog-type", "enum", "hive", "sql (tables of a database, of SQLite too), rest, hive, glue or dynamodb; hadoop "
               "has no catalog in Python, and is refused", choices=TYPES),
        Option("catalog-impl", doc="in place of 'catalog-type': a class of Java's that Flink knows a catalog by, such as "
               "org.apache.iceberg.jdbc.JdbcCatalog"),
        Option("catalog-database", "string", DATABASE, "the database (namespace) in the catalog; levels with a dot between"),
        Option("catalog-table", doc="the table there; default: the name of this one"),
        Option("uri", doc="of the catalog: https://…, thrift://…, sqlite:///catalog.db, postgresql+psycopg2://…"),
        Option("warehouse", doc="where tables are made; relative to the working directory, or a URL"),
        Option("credential", doc="of a REST catalog: id:secret", compared="nothing"),
        Option("token", doc="of a REST catalog", compared="nothing"),
        Option("scope", doc="of a REST catalog", compared="nothing"),
        Option("oauth2-server-uri", doc="of a REST catalog", compared="nothing"),
        Option("prefix", doc="of a REST catalog: of its paths"),
        Option("io-impl", doc="no effect: files are read and written by Arrow's file systems and fsspec", compared="nothing"),
        Option("clients", "int", None, "no effect: a connection to a Hive metastore is made when it is wanted",
               compared="nothing"),
        Option("property-version", "int", None, "no effect: nothing in Flink has one, either", compared="nothing"),
        *(Option(f"{f}.*", doc="a property of the catalog, or of how its files are reached, as pyiceberg has it",
                 compared="nothing") for f in CATALOG),
        *(Option(f"{f}.*", doc="a property of the table, for when an INSERT makes it", compared="nothing") for f in TABLE),
        Option("format-version", "int", doc="of the table, for when an INSERT makes it: 1, 2 or 3", minimum=1,
               compared="nothing"),
        Option("write-parallelism", "int", None, "no effect: tasks that have rows write", minimum=1, compared="nothing"),
        Option("streaming", "bool", False, "whether the table is followed: what its snapshots add is read as it comes"),
        Option("monitor-interval", "duration", 60_000_000, "with 'streaming': how often the catalog is asked", minimum=1,
               compared="nothing"),
        Option("starting-strategy", "enum", FROM_LATEST,
               "with 'streaming', where to begin: with all that is there (TABLE_SCAN_THEN_INCREMENTAL), with what the latest "
               "snapshot added, the earliest one, or that of 'start-snapshot-id' or the first since 'start-snapshot-timestamp'",
               choices=(SCAN_FIRST, FROM_LATEST, FROM_EARLIEST, FROM_ID, FROM_TIME), compared="nothing"),
        Option("start-snapshot-id", "int", None, "with 'streaming': the first snapshot whose rows are read; without: what came "
               "after it", compared="nothing"),
        Option("start-snapshot-timestamp", "int", None, "with 'streaming': ms since 1970 UTC", compared="nothing"),
        Option("end-snapshot-id", "int", None, "without 'streaming', with 'start-snapshot-id': the last snapshot that is read",
               compared="nothing"),
        Option("streaming-skip-overwrite-snapshots", "bool", False, "go on when a snapshot changes rows, without what it adds",
               compared="nothing"),
        Option("streaming-skip-delete-snapshots", "bool", False, "go on when a snapshot deletes rows", compared="nothing"),
        Option("snapshot-id", "int", None, "without 'streaming': the snapshot that is read"),
        Option("as-of-timestamp", "int", None, "without 'streaming': the snapshot that was current then, in ms since 1970 UTC"),
        Option("tag", doc="without 'streaming': the snapshot of this tag"),
        Option("branch", "string", "main", "the branch that is read, or written to"),
    )  # fmt: skip

    def source(self, table: TableContext) -> Source:
        from sqlstream.connectors.iceberg.source import Begin, IcebergSource

        options = self._read(table)
        follows = options["streaming"]
        wrong = next((k for k in (_OF_A_VERSION if follows else _OF_STREAMING) if k in table.options), None)
        if wrong is not None:
            raise OptionError(
                f"table {table.name}: option '{wrong}' is for 'streaming' = '{str(not follows).lower()}'",
                hint="leave it out, or set 'streaming'",
                subject=wrong,
            )
        given = [k for k in _OF_A_VERSION if options[k] is not None]
        if len(given) > 1:
            raise OptionError(
                f"table {table.name}: options '{given[0]}' and '{given[1]}' are both set",
                hint="one says which snapshot",
            )
        strategy = options["starting-strategy"]
        if follows and "starting-strategy" not in table.options:  # Flink's, too, where only one of these is given
            strategy = FROM_ID if options["start-snapshot-id"] is not None else strategy
            strategy = FROM_TIME if options["start-snapshot-timestamp"] is not None else strategy
        for said, key in ((FROM_ID, "start-snapshot-id"), (FROM_TIME, "start-snapshot-timestamp")):
            if follows and (strategy == said) != (options[key] is not None):
                raise OptionError(
                    f"table {table.name}: option '{key}' goes with 'starting-strategy' = '{said}'", subject=key
                )
        if options["end-snapshot-id"] is not None and (follows or options["start-snapshot-id"] is None):
            raise OptionError(
                f"table {table.name}: option 'end-snapshot-id' goes with 'start-snapshot-id', and without 'streaming'",
                subject="end-snapshot-id",
            )
        if options["start-snapshot-id"] is not None and given:
            raise OptionError(
                f"table {table.name}: options 'start-snapshot-id' and '{given[0]}' are both set",
                hint="the first is for what came after a snapshot, the second for what there was",
            )
        begin = Begin(
            options["branch"],
            options["snapshot-id"],
            options["as-of-timestamp"],
            options["tag"],
            strategy,
            options["start-snapshot-id"],
            options["start-snapshot-timestamp"],
            options["end-snapshot-id"],
            options["streaming-skip-overwrite-snapshots"],
            options["streaming-skip-delete-snapshots"],
        )
        interval = options["monitor-interval"] / 1e6 if follows else None
        return IcebergSource(table, self._place(table, options), begin, interval)

    def sink(self, table: TableContext) -> Sink:
        from sqlstream.connectors.iceberg.schema import check_types
        from sqlstream.connectors.iceberg.sink import IcebergSink

        options = self._read(table)
        check_types(table)
        properties = _handed_on(table.options, "write.", "read.", "commit.", "history.", "schema.", "format-version")
        form = properties.get("write.format.default", "parquet").lower()
        if form != "parquet":
            raise NotSupported(
                f"table {table.name}: option 'write.format.default' = {quoted(form)}: files are written as parquet",
                hint="leave it out; a table may have files of several formats",
            )
        upserts = {"true": True, "false": False, None: None}.get(properties.get("write.upsert.enabled"))
        if upserts and not table.primary_key:
            raise OptionError(
                f"table {table.name}: 'write.upsert.enabled' needs a PRIMARY KEY, by which rows are known",
                hint="PRIMARY KEY (…) NOT ENFORCED in CREATE TABLE",
            )
        key = () if upserts is False else table.primary_key
        return IcebergSink(table, self._place(table, options), options["branch"], key, properties)

    def ddl_columns(self, table: TableContext) -> str | None:
        from sqlstream.connectors.iceberg.schema import columns_of

        return columns_of(self._place(table, self._read(table)).open())

    def _place(self, table: TableContext, options: Mapping[str, Any]) -> Any:
        from sqlstream.connectors.iceberg.catalog import place

        kind = options["catalog-type"]
        if (implementation := options["catalog-impl"]) is not None:
            if implementation not in _IMPLEMENTATIONS:
                raise NotSupported(
                    f"table {table.name}: option 'catalog-impl': {quoted(implementation)} is Java's",
                    hint=f"one of {', '.join(_IMPLEMENTATIONS)}; or 'catalog-type'",
                )
            kind = _IMPLEMENTATIONS[implementation]
        if kind == "hadoop":
            raise NotSupported(
                f"table {table.name}: 'catalog-type' = 'hadoop': pyiceberg has no catalog of directories",
                hint="'catalog-type' = 'sql' with 'uri' = 'sqlite:///catalog.db' needs no server either",
            )
        given = _handed_on(
            table.options, "s3.", "gcs.", "adls.", "hdfs.", "client.", "rest.", "header.", "hive.", "glue.", "dynamodb.", "hf.",
            "oss.",
        )  # fmt: skip
        for key, value in (
            ("credential", options["credential"]), ("token", options["token"]), ("scope", options["scope"]),
            ("oauth2-server-uri", options["oauth2-server-uri"]), ("prefix", options["prefix"]),
        ):  # fmt: skip
            given |= {key: value} if value else {}
        return place(table, kind, options, given)

    def _read(self, table: TableContext) -> dict[str, Any]:
        options = read(table.options, self.options, f"table {table.name}")
        for key in ("catalog-name", "catalog-database"):
            if not options[key].strip():
                raise OptionError(f"table {table.name}: option '{key}' is empty", subject=key)
        return options


def _handed_on(options: Mapping[str, str], *beginnings: str) -> dict[str, str]:
    return {k: v for k, v in options.items() if k.startswith(beginnings)}
