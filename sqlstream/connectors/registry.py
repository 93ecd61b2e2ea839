"""The connectors there are, by name. Adding one is a file and a line here; other packages have theirs as entry points."""

from __future__ import annotations

from sqlstream import extensions
from sqlstream.connectors.alert.connector import AlertConnector
from sqlstream.connectors.blackhole import BlackholeConnector
from sqlstream.connectors.clickhouse.connector import ClickHouseConnector
from sqlstream.connectors.datagen import DatagenConnector
from sqlstream.connectors.delta.connector import DeltaConnector
from sqlstream.connectors.filesystem import FilesystemConnector
from sqlstream.connectors.http.connector import HttpConnector
from sqlstream.connectors.http.sse import SseConnector
from sqlstream.connectors.http.webhook import WebhookConnector
from sqlstream.connectors.http.websocket import WebSocketConnector
from sqlstream.connectors.iceberg.connector import IcebergConnector
from sqlstream.connectors.jdbc.connector import JdbcConnector
from sqlstream.connectors.kafka.connector import KafkaConnector, UpsertKafkaConnector
from sqlstream.connectors.kinesis.connector import KinesisConnector
from sqlstream.connectors.mongodb.connector import MongoConnector
from sqlstream.connectors.mqtt.connector import MqttConnector
from sqlstream.connectors.mysql_cdc.connector import MysqlCdcConnector
from sqlstream.connectors.nats.connector import NatsConnector
from sqlstream.connectors.nexmark import NexmarkConnector
from sqlstream.connectors.opensearch.connector import ElasticsearchConnector, OpenSearchConnector
from sqlstream.connectors.postgres_cdc.connector import PostgresCdcConnector
from sqlstream.connectors.print import PrintConnector
from sqlstream.connectors.python import PythonConnector
from sqlstream.connectors.rabbitmq.connector import RabbitConnector
from sqlstream.connectors.redis.connector import RedisConnector
from sqlstream.connectors.socket_stream import SocketConnector
from sqlstream.contracts import Connector, TableContext
from sqlstream.errors import OptionError, did_you_mean
from sqlstream.options import read
from sqlstream.sink_options import OPTIONS as OF_SINKS
from sqlstream.watermark_options import OPTIONS as WATERMARKS

CONNECTORS: dict[str, type[Connector]] = {
    "alert": AlertConnector,
    "blackhole": BlackholeConnector,
    "clickhouse": ClickHouseConnector,
    "datagen": DatagenConnector,
    "delta": DeltaConnector,
    "elasticsearch-7": ElasticsearchConnector,
    "filesystem": FilesystemConnector,
    "iceberg": IcebergConnector,
    "http": HttpConnector,
    "jdbc": JdbcConnector,
    "kafka": KafkaConnector,
    "kinesis": KinesisConnector,
    "mongodb": MongoConnector,
    "mqtt": MqttConnector,
    "nats": NatsConnector,
    "mysql-cdc": MysqlCdcConnector,
    "nexmark": NexmarkConnector,
    "opensearch": OpenSearchConnector,
    "postgres-cdc": PostgresCdcConnector,
    "print": PrintConnector,
    "python": PythonConnector,
    "rabbitmq": RabbitConnector,
    "redis": RedisConnector,
    "socket": SocketConnector,
    "sse": SseConnector,
    "upsert-kafka": UpsertKafkaConnector,
    "webhook": WebhookConnector,
    "websocket": WebSocketConnector,
}


def names() -> list[str]:
    """Of all connectors, also those of other packages."""
    return sorted({*CONNECTORS, *extensions.names(extensions.CONNECTORS)})


def connector_class(name: str) -> type[Connector] | None:
    """What a name stands for; None: nothing. RunError where another package's cannot be loaded."""
    return CONNECTORS.get(name) or extensions.extension(extensions.CONNECTORS, name, Connector)


def connector(table: TableContext, name: str | None) -> Connector:
    """The connector that a table's option 'connector' names, its other options checked (names, values, required)."""
    if name is None:
        near = did_you_mean(next(iter(table.options), ""), ["connector"])
        raise OptionError(
            f"table {table.name}: option 'connector' is missing",
            hint=near
            if near.startswith("did you mean")
            else f"WITH ('connector' = 'filesystem', …); connectors: {', '.join(names())}",
            subject=next(iter(table.options), None) if near.startswith("did you mean") else None,
        )
    known = connector_class(name)
    if known is None:
        raise OptionError(
            f"table {table.name}: unknown connector '{name}' (there are: {', '.join(names())})",
            hint=did_you_mean(name, names(), "connectors"),
            subject=name,
        )
    found = known()
    read(table.options, (*found.known_options(table.options), *OF_SINKS, *WATERMARKS), f"table {table.name}")
    return found
